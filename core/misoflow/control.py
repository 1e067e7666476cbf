"""Talking to the running ``work``: JSON lines over a 0600 Unix socket in the data folder."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from misoflow.config import Settings
from misoflow.errors import MisoflowError

if TYPE_CHECKING:
    from misoflow.actions import Actions

SOCKET = "work.sock"
LIMIT = 64 * 1024 * 1024


class ActionError(MisoflowError):
    """The action could not be done; the text says why."""


class ControlServer:
    """Answers one JSON object a line: ``{"do": verb, "with": {…}}`` → ``{"ok": …}`` or ``{"error": text}``."""

    def __init__(self, data: Path, actions: Actions) -> None:
        self._path = data / SOCKET
        self._actions = actions
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._serve, socket_address(self._path), limit=LIMIT)
        finally:
            os.umask(before)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(msgspec.json.encode(await self._answer(line)) + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):
            pass
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = msgspec.json.decode(line)
            return {"ok": await self._actions.call(request["do"], request.get("with", {}))}
        except Exception as error:
            return {"error": _told(error)}


def _told(error: Exception) -> str:
    """What a person hears of it: our own words, and of any other error its kind and place without the value."""
    from misoflow.pipeline import describe

    return (isinstance(error, MisoflowError) and str(error)) or describe(error)


def socket_address(path: Path) -> str:
    """The shorter of the absolute and the relative path: a Unix socket's may have 107 bytes only."""
    return min(str(path), os.path.relpath(path), key=len)


async def running(settings: Settings) -> bool:
    """Whether a ``work`` answers on this data folder."""
    try:
        _, writer = await asyncio.open_unix_connection(socket_address(settings.data / SOCKET))
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    writer.close()
    return True


async def call(settings: Settings, verb: str, **args: Any) -> Any:
    """Have ``verb`` done by the running ``work``, or here when none runs.

    Raises ActionError with what went wrong, ConfigError when the store cannot be used.
    """
    try:
        reader, writer = await asyncio.open_unix_connection(socket_address(settings.data / SOCKET), limit=LIMIT)
    except (FileNotFoundError, ConnectionRefusedError):
        from misoflow.engine import with_engine

        try:
            return await with_engine(settings, verb, args)
        except MisoflowError:
            raise
        except Exception as error:
            raise ActionError(_told(error)) from None
    writer.write(msgspec.json.encode({"do": verb, "with": args}) + b"\n")
    await writer.drain()
    answer = msgspec.json.decode(await reader.readline() or b'{"error":"work ended before it answered"}')
    writer.close()
    if "error" in answer:
        raise ActionError(answer["error"])
    return answer["ok"]
