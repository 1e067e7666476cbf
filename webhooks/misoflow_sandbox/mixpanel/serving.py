"""Running the Mixpanel stand-in: in this process, or as a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta

import msgspec

from misoflow_sandbox.mixpanel.app import MixpanelSandbox
from misoflow_sandbox.mixpanel.state import Options
from misoflow_sandbox.mixpanel.world import MixpanelWorld
from misoflow_sandbox.serving import process_of, serve_forever, served


@contextlib.asynccontextmanager
async def served_mixpanel(
    world: MixpanelWorld | None = None, options: Options | None = None
) -> AsyncIterator[MixpanelSandbox]:
    """Serve a stand-in from a thread of this process; its ``url`` says where.

    Raises RuntimeError when it does not start.
    """
    sandbox = MixpanelSandbox(world, options)
    running = served(sandbox, date_header=False)
    sandbox.url = await asyncio.to_thread(running.__enter__)
    try:
        yield sandbox
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)


@contextlib.contextmanager
def mixpanel_process(world: MixpanelWorld | None = None, options: Options | None = None) -> Iterator[str]:
    """Run a stand-in as a process of its own, on a free port; gives its URL.

    Raises RuntimeError when it does not start.
    """
    settings = ["--world", msgspec.json.encode(world or MixpanelWorld()).decode()]
    settings += ["--options", msgspec.json.encode(options or Options()).decode()]
    command = [sys.executable, "-m", "misoflow_sandbox.mixpanel", "--port", "0", *settings]
    with process_of(command, "the Mixpanel sandbox") as url:
        yield url


def until_yesterday(world: MixpanelWorld) -> MixpanelWorld:
    """The same project, its last day being yesterday."""
    return msgspec.structs.replace(world, start=datetime.now(UTC).date() - timedelta(days=world.days))


def serve(
    host: str, port: int, world: MixpanelWorld, options: Options, ready: Callable[[str], None] | None = None
) -> None:
    """Serve until stopped. ``ready`` takes the URL once requests are taken; without it ``ready URL`` is printed."""
    said = ready or (lambda url: print(f"ready {url}", flush=True))
    with contextlib.suppress(KeyboardInterrupt):
        serve_forever(MixpanelSandbox(world, options), host, port, said, date_header=False)


def run(
    host: str = "127.0.0.1",
    port: int = 8610,
    *,
    days: int = 30,
    per_day: int = 1000,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve a project to try history with, until stopped: its last day is yesterday, nothing is late, and no limit
    of calls is in force, so that it can be pulled again and again."""
    world = until_yesterday(MixpanelWorld(days=days, events_per_day=per_day, late_share=0.0))
    serve(host, port, world, Options(limits="off"), ready)
