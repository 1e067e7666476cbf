"""Progress of long commands: bars on a terminal, a plain line now and then elsewhere, nothing with --json."""

from __future__ import annotations

import sys
from typing import Any

from misoflow.cli.output import Output, moment, plural, printable

PLAIN_SECONDS = 5.0
SAME_SECONDS = 60.0
"""A plain line that says nothing new is said again after this long, as a sign of life."""
RATE_SECONDS = 10.0
STEADY_SECONDS = 60.0
"""What is left is told by the rate of this long, so that it does not jump with every page."""


class Bars:
    """One bar for each job. Use as a context manager; ``show`` as often as you like."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._live: Any = None
        self._tasks: dict[int, Any] = {}
        self._seen: dict[int, list[tuple[float, int]]] = {}
        self._looked = 0.0
        self._said: dict[int, tuple[float, str]] = {}

    def __enter__(self) -> Bars:
        if sys.stderr.isatty() and not self._out.as_json:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn
            from rich.table import Column

            columns = [TextColumn("{task.description}"), BarColumn(20), TextColumn("{task.percentage:>3.0f}%")]
            text = TextColumn("{task.fields[text]}", markup=False, table_column=Column(overflow="fold"))
            self._live = Progress(*columns, text, console=Console(stderr=True))
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, rows: list[dict[str, Any]], now: float) -> None:
        """The present state of each job; ``now`` in seconds."""
        texts = {row["job"]: _text(row, *self._rates(row, now)) for row in rows}
        if self._live is not None:
            for row in rows:
                if row["job"] not in self._tasks:
                    self._tasks[row["job"]] = self._live.add_task(_name(row), total=1.0, text="")
                self._live.update(self._tasks[row["job"]], completed=row["share"], text=printable(texts[row["job"]]))
        elif not self._out.as_json and (not self._said or now - self._looked >= PLAIN_SECONDS):
            self._looked = now
            for row in rows:
                self._plain(row["job"], f"{_name(row)}  {row['share']:.0%}  {texts[row['job']]}", now)

    def _plain(self, job: int, line: str, now: float) -> None:
        at, before = self._said.get(job, (0.0, ""))
        if line != before or now - at >= SAME_SECONDS:
            self._said[job] = (now, line)
            self._out.say(line)

    def _rates(self, row: dict[str, Any], now: float) -> tuple[float, float]:
        """Events a second of a job: over the last seconds, and over the last minute."""
        before = self._seen.get(row["job"], [])
        seen = [(at, n) for at, n in before if now - at <= STEADY_SECONDS and n <= row["read"]] + [(now, row["read"])]
        while len(seen) > 1 and seen[0][1] == seen[1][1]:  # it had not begun, or waited
            del seen[0]
        self._seen[row["job"]] = seen
        return _rate([one for one in seen if now - one[0] <= RATE_SECONDS]), _rate(seen)


def _rate(seen: list[tuple[float, int]]) -> float:
    (first, n), (last, m) = seen[0], seen[-1]
    return (m - n) / (last - first) if last > first else 0.0


def _name(row: dict[str, Any]) -> str:
    again = {"again": " (again)", "repull": " (late ones)"}.get(row["purpose"], "")
    return f"{row['instance']} {row['stream']}{again}"


def _text(row: dict[str, Any], rate: float, steady: float) -> str:
    noun = row.get("noun", "event")
    if row["state"] != "open":
        return f"{plural(row['read'], noun)}  {row['state']}"
    parts = [plural(row["read"], noun)]
    if rate >= 1:
        parts.append(f"{rate:,.0f}/s")
    left = seconds_left(row, steady)
    if left is not None:
        parts.append(f"about {clock(left)} left")
    if row["now"]:
        parts.append(f"{moment(row['now'][0])[:10]} … {moment(row['now'][1])[:10]}")
    if row["waits"] or row["error"]:
        parts.append(why(row))
    elif row["share"] >= 1:
        parts.append("waiting for Miso")
    return "  ".join(parts)


def why(row: dict[str, Any]) -> str:
    """What a job waits for, or what went wrong and when it is tried again; "" when all is well."""
    if row["waits"] or not row["error"]:
        return row["waits"] or ""
    at = f" at {moment(row['due'])[11:]}" if row["due"] else ""
    return f"tried again{at}: {row['error']}"


def seconds_left(row: dict[str, Any], rate: float) -> float | None:
    """How long the rest takes at this rate, if it is like what has come whole; None when nothing has."""
    if not 0 < row["share"] < 1 or rate <= 0:
        return None
    started = int(row.get("started", 0))
    rest = (row["read"] - started) / row["share"] * (1 - row["share"]) - started
    return float(rest / rate) if rest > 0 else None


def clock(seconds: float) -> str:
    """Hours, minutes and seconds; a day is 24 hours."""
    minutes, second = divmod(int(seconds), 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{second:02}"
