"""Running pure code where it can be seen that it is none: files and network refused, clock and chance altered."""

from __future__ import annotations

import contextlib
import random
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, tzinfo
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import time_machine

R = TypeVar("R")

REFUSED = ("open", "os.", "shutil.", "socket.", "subprocess.", "sqlite3.", "http.client.", "urllib.", "ctypes.dlopen")
"""Audit events (https://docs.python.org/3/library/audit_events.html) of code that reaches out of its arguments."""
HARMLESS = ("os.putenv", "os.unsetenv")
ZONES = ("Asia/Kathmandu", "America/St_Johns", "Pacific/Kiritimati", "UTC", "America/Anchorage")


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except ZoneInfoNotFoundError:  # a small container may have no time zones
        return UTC


MOMENTS = tuple(
    datetime(year, 3, 3, 3, 33, 33, 333_000, _zone(zone))
    for year, zone in zip((2003, 2031, 1999, 2027, 2041), ZONES, strict=True)
)
"""No sample is of these days, and no two machines are in the same zone."""

_refusing = threading.local()


class Impure(BaseException):
    """Pure code reached for a file, the network or a process. No Exception, so that no connector swallows it."""


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not getattr(_refusing, "on", False) or not event.startswith(REFUSED) or event in HARMLESS:
        return
    if _importing() or _zone_data(event, arguments):
        return
    _refusing.reached = f"{event}({', '.join(repr(one) for one in arguments[:1])})"
    raise Impure(_refusing.reached)


def _importing() -> bool:
    """A module that is imported late reads its own file; that changes nothing of what comes out."""
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_globals.get("__name__") in ("importlib._bootstrap", "importlib._bootstrap_external"):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def _zone_data(event: str, arguments: tuple[Any, ...]) -> bool:
    return event == "open" and "zoneinfo" in str(arguments[0])


_installed: list[bool] = []


def _install() -> None:
    """An audit hook cannot be taken away again, so there is one, which does nothing most of the time."""
    if not _installed:
        sys.addaudithook(_audit)
        _installed.append(True)


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """Files, network and processes raise ``Impure`` in this thread."""
    _install()
    _refusing.on, _refusing.reached = True, ""
    try:
        yield
    finally:
        _refusing.on = False


def reached(call: Callable[[], R]) -> tuple[R | None, Exception | None, str]:
    """The call's result, or what it raised, and what it reached for although it must not; "" is nothing."""
    result, error = None, None
    with refusing():
        try:
            result = call()
        except Impure:
            pass
        except Exception as raised:
            error = raised
    return result, error, _refusing.reached


def worlds() -> Iterator[None]:
    """Each step of the loop is in another time and zone, with other chance; ``uuid`` and ``secrets`` differ anyway."""
    before = random.getstate()
    try:
        for seed, moment in enumerate(MOMENTS):
            random.seed(seed)
            with time_machine.travel(moment, tick=False):
                yield
    finally:
        random.setstate(before)
