"""``python -m misoflow_sandbox``: Miso's stand-in on its own."""

from __future__ import annotations

import argparse
from pathlib import Path

from misoflow_sandbox.miso import run


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser("misoflow_sandbox", description="A stand-in for Miso's ingest API.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8600, help="0: a free one, printed as `ready URL`")
    parser.add_argument("--api-key", default="sandbox")
    parser.add_argument("--schema", type=Path, help="Miso's OpenAPI document, instead of the schema that comes along")
    parser.add_argument("--store-wire", action="store_true", help="keep the bytes of every request")
    parser.add_argument("--count-only", action="store_true", help="count the interactions instead of keeping them")
    parser.add_argument("--task-delay", type=float, default=0.0, help="seconds until a task is done")
    given = parser.parse_args()
    run(
        given.host,
        given.port,
        given.api_key,
        given.schema,
        given.store_wire,
        keep=not given.count_only,
        task_delay=given.task_delay,
    )


if __name__ == "__main__":
    main()
