"""Connections: pages of a list, by cursors that survive changes of the list.

https://shopify.dev/docs/api/usage/pagination-graphql
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from graphql import GraphQLError
from msgspec import Struct

MOST = 250
"""Of one page; of the variants of a single product 2,000: https://shopify.dev/changelog (2025-01)."""
MOST_VARIANTS = 2000

Keyed = tuple[list[Any], Any]
"""What an item is ordered by (ids last), and the item."""


class Connection(Struct):
    """All items of a list, lazily, in order; ``descending`` says in which. Bulk operations read it whole."""

    items: Callable[[], Iterable[Keyed]]
    descending: bool = False

    def __iter__(self) -> Iterator[Any]:
        return (item for _, item in self.items())


class Page(Struct):
    """One page of a connection."""

    items: list[Keyed]
    more: bool
    before: bool

    def fields(self) -> dict[str, Any]:
        cursors = [cursor(key) for key, _ in self.items]
        nodes = [item for _, item in self.items]
        info = {
            "hasNextPage": self.more,
            "hasPreviousPage": self.before,
            "startCursor": cursors[0] if cursors else None,
            "endCursor": cursors[-1] if cursors else None,
        }
        edges = [{"cursor": one, "node": node} for one, node in zip(cursors, nodes, strict=True)]
        return {"nodes": nodes, "edges": edges, "pageInfo": info}


def numbered(items: Iterable[Any]) -> Connection:
    """A short list, by position."""
    return Connection(lambda: [([n], item) for n, item in enumerate(items)])


def page(given: Connection, arguments: Mapping[str, Any], most: int = MOST) -> Page:
    """The page that the arguments ask for. Raises GraphQLError."""
    first, last = arguments.get("first"), arguments.get("last")
    if first is None and last is None:
        raise GraphQLError("you must provide one of first or last", extensions={"code": "BAD_REQUEST"})
    if not 0 <= (first if first is not None else last or 0) <= most:
        raise GraphQLError(f"The maximum page size is {most}", extensions={"code": "BAD_REQUEST"})
    after, before = _key(arguments.get("after")), _key(arguments.get("before"))
    rest: Iterator[Keyed] = iter(given.items())
    if after is not None:
        rest = (one for one in rest if _later(one[0], after, given.descending))
    if before is not None:
        rest = (one for one in rest if _later(before, one[0], given.descending))
    if first is not None:
        found = list(islice(rest, first + 1))
        return Page(found[:first], len(found) > first, after is not None)
    found = list(rest)
    return Page(found[-(last or 0) :] if last else [], before is not None, len(found) > (last or 0))


def cursor(key: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def _key(text: str | None) -> list[Any] | None:
    if text is None:
        return None
    try:
        found = json.loads(base64.urlsafe_b64decode(text))
    except (ValueError, binascii.Error) as error:
        raise GraphQLError("Invalid cursor for current pagination sort.") from error
    return found if isinstance(found, list) else None


def _later(one: list[Any], other: list[Any], descending: bool) -> bool:
    return one < other if descending else one > other
