"""Running the Mixpanel stand-in: in this process, or as a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from misoflow_sandbox.mixpanel_state import Options
from misoflow_sandbox.mixpanel_world import MixpanelWorld
from misoflow_sandbox.serving import process_of, serve_forever, served

if TYPE_CHECKING:
    from misoflow_sandbox.mixpanel_app import MixpanelSandbox


@contextlib.asynccontextmanager
async def served_mixpanel(
    world: MixpanelWorld | None = None, options: Options | None = None
) -> AsyncIterator[MixpanelSandbox]:
    """Serve a stand-in from a thread of this process; its ``url`` says where.

    Raises RuntimeError when it does not start.
    """
    from misoflow_sandbox.mixpanel_app import MixpanelSandbox

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
    command = [sys.executable, "-m", "misoflow_sandbox.mixpanel_serving", "--port", "0", *settings]
    with process_of(command, "the Mixpanel sandbox") as url:
        yield url


def main() -> None:
    """Read the arguments and serve."""
    from misoflow_sandbox.mixpanel_app import MixpanelSandbox

    parser = argparse.ArgumentParser("misoflow_sandbox.mixpanel_serving", description="A stand-in for Mixpanel.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8601, help="0: a free one, printed as `ready URL`")
    parser.add_argument(
        "--world",
        default="{}",
        help="the project's settings as JSON, see MixpanelWorld; without a start its days end yesterday",
    )
    parser.add_argument("--options", default="{}", help="the stand-in's options as JSON, see Options")
    given = parser.parse_args()
    world = msgspec.json.decode(given.world, type=MixpanelWorld)
    if '"start"' not in given.world:
        world = msgspec.structs.replace(world, start=datetime.now(UTC).date() - timedelta(days=world.days))
    sandbox = MixpanelSandbox(world, msgspec.json.decode(given.options, type=Options))
    with contextlib.suppress(KeyboardInterrupt):
        serve_forever(sandbox, given.host, given.port, lambda url: print(f"ready {url}", flush=True), date_header=False)


if __name__ == "__main__":
    main()
