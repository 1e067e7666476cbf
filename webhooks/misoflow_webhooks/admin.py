"""The admin listener: health, readiness and metrics. Loopback only, unless an operator says otherwise."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from misoflow.inbox import Inbox, InboxFull, InboxUnavailable
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from misoflow_webhooks.metrics import Metrics

log = logging.getLogger("misoflow.serve")

PROBE_SECONDS = 2.0
DISK_WARNING = 0.80


def admin_app(inbox: Inbox, metrics: Metrics) -> Starlette:
    """``/healthz``: the process lives; ``/readyz``: 503 with the reasons; ``/metrics``."""

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_: Request) -> Response:
        failed, warned = await problems(inbox)
        content: dict[str, Any] = {"status": "failed" if failed else "ok", "problems": failed, "warnings": warned}
        return JSONResponse(content, status_code=503 if failed else 200)

    async def exposition(_: Request) -> Response:
        metrics.inbox_bytes = inbox.size()
        metrics.disk_free = 1 - inbox.disk_used()
        try:
            text = await asyncio.to_thread(metrics.text)
        except Exception:
            log.exception("the engine's figures cannot be read")
            return Response("the engine's figures cannot be read\n", status_code=503, media_type="text/plain")
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", exposition),
        ]
    )


async def problems(inbox: Inbox) -> tuple[list[str], list[str]]:
    """What keeps the inbox from its promise, and what soon will."""
    failed: list[str] = []
    warned: list[str] = []
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await inbox.probe()
    except (InboxFull, InboxUnavailable) as error:
        failed.append(str(error))
    except TimeoutError:
        failed.append(f"the inbox did not answer within {PROBE_SECONDS:.0f} s")
    if inbox.degraded is not None:
        failed.append(inbox.degraded)
    if inbox.disk_used() >= DISK_WARNING:
        warned.append(f"the disk of {inbox.data} is {inbox.disk_used():.0%} full; make room before 95%")
    return failed, warned
