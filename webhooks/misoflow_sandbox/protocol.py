"""uvicorn's HTTP protocol, with a way for the application to break the connection off."""

from __future__ import annotations

import socket
import struct
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

RESET = "misoflow.reset"
"""The ASGI extension: its ``abort`` closes the connection with a TCP reset."""


class ResetProtocol(HttpToolsProtocol):
    """Offers the extension with every request."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {RESET: {"abort": self.abort}}

    def abort(self) -> None:
        """Close at once; what is not sent yet is dropped, and the other side reads a reset."""
        if self.transport.is_closing():  # the other side was faster
            return
        handle = self.transport.get_extra_info("socket")
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


async def body_of(receive: Receive) -> bytes:
    """A request's whole body, or what came of it before the other side went away."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b"".join(parts)
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


async def reset(scope: Scope, receive: Receive) -> None:
    """Break the connection of this request off, and wait until it is gone.

    Raises ConnectionResetError where the server has no such extension, as inside one process.
    """
    extension = scope.get("extensions", {}).get(RESET)
    if extension is None:
        raise ConnectionResetError("the sandbox was asked to break this connection off")
    extension["abort"]()
    while (await receive())["type"] != "http.disconnect":
        pass
