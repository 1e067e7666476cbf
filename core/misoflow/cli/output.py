"""What a command prints: data on standard output (a table or JSON), messages on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

WIDE = 500
"""Columns when nobody looks: a pipe or a file must not be wrapped."""
STYLES = {
    "live": "green",
    "delivered": "green",
    "sending": "green",
    "degraded": "yellow",
    "pending": "yellow",
    "paused": "red",
    "halted": "red",
    "broken": "red",
    "dead": "red",
    "translated": "green",
    "rejected": "red",
}


class Output:
    """The two streams of one command, as its ``--json`` and ``--quiet`` say."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self.is_quiet = quiet

    def json(self, value: Any) -> None:
        """One JSON value on one line."""
        plain = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
        print(json.dumps(value, ensure_ascii=not plain, default=str), flush=True)

    def text(self, line: str = "") -> None:
        """One line of data, with nothing in it that could steer a terminal."""
        print(printable(line), flush=True)

    def say(self, message: str) -> None:
        """A message to a person."""
        if not self.is_quiet:
            print(printable(message), file=sys.stderr, flush=True)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str | None = None) -> None:
        """Rows under headings; whole numbers stand to the right, words of state have their colour."""
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        shown = Table(box=None, pad_edge=False, title=title, title_justify="left", header_style="bold")
        for index, column in enumerate(columns):
            numbers = bool(rows) and all(isinstance(row[index], int) for row in rows)
            shown.add_column(column, justify="right" if numbers else "left", overflow="fold")
        for row in rows:
            cells = [f"{cell:,}" if isinstance(cell, int) else printable(str(cell or "–")) for cell in row]
            shown.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in cells))
        console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
        with console.capture() as drawn:
            console.print(shown)
        print("\n".join(line.rstrip() for line in drawn.get().splitlines()), flush=True)


def printable(text: str) -> str:
    """Control characters of foreign texts as escapes; line ends and tabs stay."""
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)


def moment(ms: int | None) -> str:
    """A time in ms as UTC text, to the second."""
    return "" if not ms else f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%SZ}"


def ago(ms: int | None, now: int) -> str:
    """How long ago, in the largest unit that fits."""
    if not ms:
        return ""
    return f"{span((now - ms) / 1000)} ago"


def span(seconds: float) -> str:
    """A length of time in its largest unit."""
    seconds = max(0, int(seconds))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def plural(count: int, one: str, many: str | None = None) -> str:
    """``1 event``, ``2 events``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
