"""Sends a connector's sample to the running receiver, as the platform would."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from misoflow.connector import Request

if TYPE_CHECKING:
    from misoflow.config import Settings

SECONDS = 10.0
STEP = 0.1
SHOWN = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What the receiver said; ``body`` is text."""

    url: str
    status: int
    body: str


def receiver_url(settings: Settings) -> str:
    """Where ``serve`` said it listens when it last started, else where plugins.toml puts it."""
    try:
        known = json.loads((settings.data / "serve.json").read_text("utf-8"))
        return _reachable(str(known["url"]))
    except (OSError, ValueError, KeyError, TypeError):
        host = settings.engine.host
        return _reachable(f"http://{f'[{host}]' if ':' in host else host}:{settings.engine.port}")


def listening(settings: Settings, url: str | None, seconds: float, say: Callable[[str], None]) -> str:
    """The receiver's address, once something listens there; after ``seconds`` whether it does or not."""
    deadline = time.monotonic() + seconds
    told = False
    while True:
        base = (url or receiver_url(settings)).rstrip("/")
        parts = urlsplit(base)
        try:
            port = parts.port or (443 if parts.scheme == "https" else 80)
            socket.create_connection((parts.hostname or "", port), timeout=SECONDS).close()
            return base
        except OSError:
            if time.monotonic() >= deadline:
                return base
        if not told:
            say(f"waiting for {base} to answer")
            told = True
        time.sleep(STEP)


def _reachable(url: str) -> str:
    """An address that stands for all of a machine's is reached over the loopback."""
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


def send(base: str, instance: str, request: Request) -> Answer:
    """POST it to ``<base>/hooks/<instance>``; OSError when nothing answers there."""
    parts = urlsplit(base)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    path = f"{parts.path}/hooks/{instance}" + (f"/{request.path}" if request.path else "")
    query = f"?{urlencode(request.query)}" if request.query else ""
    connection = kind(parts.hostname or "", parts.port, timeout=SECONDS)
    try:
        connection.request(request.method, path + query, request.body, dict(request.headers))
        answer = connection.getresponse()
        body = answer.read(SHOWN).decode("utf-8", "replace")
    except http.client.HTTPException as error:
        raise ConnectionError(f"no HTTP: {type(error).__name__}") from None
    finally:
        connection.close()
    return Answer(f"{parts.scheme}://{parts.netloc}{path}", answer.status, body)
