"""Code that is not ours, kept in its place: what a connector or hook raises may end its own instance's work only.

``except Exception`` lets SystemExit, KeyboardInterrupt and CancelledError by, and an event loop ends itself for the
first two. So everything is caught around such code, and only what this process or task itself is told goes on up.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from types import FrameType
from typing import Any


class Interrupts:
    """A context in which Ctrl-C by a person can be told from a KeyboardInterrupt that somebody's code raises."""

    def __init__(self) -> None:
        self._came = False
        self._before: Any = None

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread() and callable(signal.getsignal(signal.SIGINT)):
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._came = True
        self._before(number, frame)

    def meant(self, error: BaseException) -> bool:
        """Whether a person stops the command, so that the error has to go on up."""
        return isinstance(error, KeyboardInterrupt) and self._came


def cancelled(error: BaseException) -> bool:
    """Whether it is the running task that is to end; what a connector makes up by itself is its own fault."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    if isinstance(error, asyncio.CancelledError):
        return task is not None and task.cancelling() > 0
    return isinstance(error, GeneratorExit) and task is None
