"""Progress of long commands: bars on a terminal, a plain line now and then elsewhere, nothing with --json."""

from __future__ import annotations

import sys
import time
from typing import Any

from misoflow.cli.output import Output, moment, plural

PLAIN_SECONDS = 5.0
RATE_SECONDS = 10.0


class Bars:
    """One bar for each job. Use as a context manager; ``show`` as often as you like."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._live: Any = None
        self._tasks: dict[int, Any] = {}
        self._seen: list[tuple[float, int]] = []
        self._said = 0.0

    def __enter__(self) -> Bars:
        if sys.stderr.isatty() and not self._out.as_json:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            columns = [TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%")]
            self._live = Progress(*columns, TextColumn("{task.fields[text]}"), console=Console(stderr=True))
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, rows: list[dict[str, Any]], now: float) -> None:
        """The present state of each job."""
        rate = self._rate(sum(row["read"] for row in rows), now)
        if self._live is not None:
            for row in rows:
                if row["job"] not in self._tasks:
                    self._tasks[row["job"]] = self._live.add_task(_name(row), total=1.0, text="")
                self._live.update(self._tasks[row["job"]], completed=row["share"], text=_text(row, rate))
        elif not self._out.as_json and now - self._said >= PLAIN_SECONDS:
            self._said = now
            for row in rows:
                self._out.say(f"{_name(row)}  {row['share']:.0%}  {_text(row, rate)}")

    def _rate(self, read: int, now: float) -> float:
        """Events a second, over the last seconds."""
        self._seen = [(at, n) for at, n in self._seen if now - at <= RATE_SECONDS] + [(now, read)]
        first = self._seen[0]
        return (read - first[1]) / (now - first[0]) if now > first[0] else 0.0


def _name(row: dict[str, Any]) -> str:
    again = {"again": " (again)", "repull": " (late ones)"}.get(row["purpose"], "")
    return f"{row['instance']} {row['stream']}{again}"


def _text(row: dict[str, Any], rate: float) -> str:
    noun = row.get("noun", "event")
    if row["state"] != "open":
        return f"{plural(row['read'], noun)}  {row['state']}"
    parts = [plural(row["read"], noun)]
    if rate >= 1:
        parts.append(f"{rate:,.0f}/s")
    if 0 < row["share"] < 1 and rate:
        left = row["read"] / row["share"] * (1 - row["share"]) / rate
        parts.append(f"about {time.strftime('%H:%M:%S', time.gmtime(left))} left")
    if row["now"]:
        parts.append(f"{moment(row['now'][0])[:10]} … {moment(row['now'][1])[:10]}")
    if row["waits"] or row["error"]:
        parts.append(row["waits"] or f"again after: {row['error']}")
    elif row["share"] >= 1:
        parts.append("waiting for Miso")
    return "  ".join(parts)
