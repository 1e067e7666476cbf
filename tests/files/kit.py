"""What the tests of files share."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from misoflow.errors import MisoflowError
from misoflow.files import BadRow, Block, Row, Source, expand, parsed

Reader = Callable[..., Iterator[Block]]


def pieces(data: bytes, seed: int) -> list[bytes]:
    """The data cut at random places, some of the pieces empty."""
    chance = random.Random(seed)
    cuts = sorted(chance.randint(0, len(data)) for _ in range(chance.randint(0, 12)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def flat(blocks: Iterable[Block]) -> list[Row | BadRow]:
    return [row for block in blocks for row in block]


def values(blocks: Iterable[Block]) -> list[tuple[int, Any]]:
    """(number, object or the reason why there is none) of each row."""
    return [
        (row.number, value.reason if isinstance(value, BadRow) else value)
        for row in flat(blocks)
        for value in [parsed(row)]
    ]


def on_disk(folder: Path, name: str, data: bytes) -> Source:
    (folder / name).write_bytes(data)
    return expand([str(folder / name)])[0]


def until_trouble(items: Iterable[Any]) -> tuple[list[Any], Exception | None]:
    """What came, and what was raised behind it."""
    got: list[Any] = []
    try:
        for item in items:
            got.append(item)
    except MisoflowError as error:
        return got, error
    return got, None
