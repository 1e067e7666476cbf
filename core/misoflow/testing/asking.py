"""What ``check`` says to a platform that refuses everything, and to one that is down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx

from misoflow.errors import Halt, MisoflowError, Retry
from misoflow.testing.base import Given
from misoflow.testing.subject import make

SECONDS = 30


def said(contract: Given, status: int) -> str:
    """``fail: …`` (a Halt, or a Problem that fails), ``retry: …``, ``warn: …``, or "" when it finds nothing."""
    return asyncio.run(asyncio.wait_for(_asked(contract, status), SECONDS))


async def _empty() -> AsyncIterator[bytes]:
    """A body that can be read as from a socket; one given as bytes counts as read already."""
    yield b""


async def _asked(contract: Given, status: int) -> str:
    connector = make(contract, transport=httpx.MockTransport(lambda request: httpx.Response(status, content=_empty())))
    try:
        found = await connector.check()
    except Halt as error:
        return f"fail: {error.reason}"
    except Retry as error:
        return f"retry: {error.reason}"
    except MisoflowError as error:
        return f"{type(error).__name__}: {error}"
    except Exception as error:
        return f"it raises {type(error).__name__}"
    finally:
        await connector.http.close()
    return next((f"{level}: {one.text}" for level in ("fail", "warn") for one in found if one.level == level), "")
