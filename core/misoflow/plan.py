"""Which records of a sealed batch go into which request: half-open index ranges, and how they change. Pure."""

from __future__ import annotations

from collections.abc import Iterable

Request = list[tuple[int, int]]
"""Half-open ranges of record indices, ascending."""


def size(request: Request) -> int:
    return sum(b - a for a, b in request)


def indices(request: Request) -> list[int]:
    """Every record index of the request, in the order in which it is sent."""
    return [index for a, b in request for index in range(a, b)]


def ranges(wanted: Iterable[int]) -> Request:
    """Ascending indices as ranges."""
    request: Request = []
    for index in wanted:
        if request and request[-1][1] == index:
            request[-1] = (request[-1][0], index + 1)
        else:
            request.append((index, index + 1))
    return request


def without(request: Request, gone: set[int]) -> Request:
    """The request without some records."""
    return ranges(index for index in indices(request) if index not in gone)


def joined(request: Request, more: Iterable[int]) -> Request:
    """The request with some records put back."""
    return ranges(sorted({*indices(request), *more}))


def halves(request: Request) -> tuple[Request, Request]:
    """Two requests with half of the records each; the first is the larger by at most one."""
    every = indices(request)
    middle = (len(every) + 1) // 2
    return ranges(every[:middle]), ranges(every[middle:])


def body(records: list[bytes], request: Request) -> bytes:
    """The bytes of an upload: the same for the same request, whenever it is built."""
    return b'{"data":[' + b",".join(b",".join(records[a:b]) for a, b in request) + b"]}"
