"""``python -m misoflow_sandbox.mixpanel``: Mixpanel's stand-in on its own, with every setting."""

from __future__ import annotations

import argparse

import msgspec

from misoflow_sandbox.mixpanel.serving import serve, until_yesterday
from misoflow_sandbox.mixpanel.state import Options
from misoflow_sandbox.mixpanel.world import MixpanelWorld


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser("misoflow_sandbox.mixpanel", description="A stand-in for Mixpanel.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8610, help="0: a free one, printed as `ready URL`")
    parser.add_argument(
        "--world",
        default="{}",
        help="the project's settings as JSON, see MixpanelWorld; without a start its days end yesterday",
    )
    parser.add_argument("--options", default="{}", help="the stand-in's options as JSON, see Options")
    given = parser.parse_args()
    world = msgspec.json.decode(given.world, type=MixpanelWorld)
    if "start" not in msgspec.json.decode(given.world):
        world = until_yesterday(world)
    serve(given.host, given.port, world, msgspec.json.decode(given.options, type=Options))


if __name__ == "__main__":
    main()
