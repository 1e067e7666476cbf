"""Lines of a pipe, a block at a time: read in a thread, and no faster than they are used."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from typing import Any

from misoflow.singer.messages import TapError

BLOCK = 64 * 1024
WAITING = 16
"""Blocks that wait to be used, at most."""
LONGEST = 64 * 1024 * 1024
TICK_SECONDS = 0.1


async def blocks(pipe: Any, stopping: asyncio.Event) -> AsyncIterator[list[bytes]]:
    """Whole lines of a binary file such as ``sys.stdin.buffer``, as they come; [] when nothing came for a moment.

    Ends with the file, or when told to stop. Raises TapError for a line that is too long.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    room = threading.Semaphore(WAITING)

    def read() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody reads any more
            while True:
                room.acquire()
                data = pipe.read1(BLOCK)
                loop.call_soon_threadsafe(queue.put_nowait, data)
                if not data:
                    return

    threading.Thread(target=read, name="stdin", daemon=True).start()
    rest: list[bytes] = []
    held = 0
    while not stopping.is_set():
        try:
            data = await asyncio.wait_for(queue.get(), TICK_SECONDS)
        except TimeoutError:
            yield []
            continue
        room.release()
        if not data:
            break
        *whole, last = data.split(b"\n")
        if whole:
            whole[0] = b"".join([*rest, whole[0]])
            rest, held = [], 0
            yield whole
        rest.append(last)
        held += len(last)
        if held > LONGEST:
            raise TapError(f"a line of the tap is longer than {LONGEST // 2**20} MiB")
    if not stopping.is_set() and (text := b"".join(rest)):
        yield [text]
