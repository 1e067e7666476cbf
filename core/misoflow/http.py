"""The one HTTP client: deadlines, size caps, no redirects, and credentials that stay out of everything printed.

The only module that imports httpx (https://www.python-httpx.org), so that another client is one file away.
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import ssl
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
from pydantic import SecretStr

from misoflow.errors import Halt, Reject, Retry, Unreachable
from misoflow.retry import retry_after

MOST_BYTES = 8 * 1024 * 1024
CONNECT_SECONDS = 10.0
STREAM_READ_SECONDS = 300.0
LOOPBACK = ("127.0.0.1", "::1", "localhost")
RETRIED = (408, 409, 423, 425, 429)

for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)  # their INFO lines hold whole URLs


@dataclass(frozen=True, slots=True)
class Response:
    """An answer read in full; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON; Reject when it is not."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise Reject(f"the answer ({self.status}) is not JSON") from None


class _Credentials(httpx.Auth):
    """Adds secret headers at the last moment, so that they are in no request that is printed before."""

    def __init__(self, headers: Mapping[str, SecretStr]) -> None:
        self._headers = headers

    def auth_flow(self, request: httpx.Request) -> Any:
        for name, value in self._headers.items():
            request.headers[name] = value.get_secret_value()
        yield request


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Read once: each time costs some 30 ms, and every instance has a client."""
    return httpx.create_ssl_context(trust_env=False)


class Http:
    """An asynchronous client for one connector or one Miso environment.

    Raises Retry (no answer, 408, 409, 423, 425, 429, 5xx), Halt (401, 402, 403) and Reject (other 4xx);
    404 and 410 are returned. With ``classify=False`` every answer is returned. ``transport`` stands in for the
    network in tests.
    """

    def __init__(
        self,
        *,
        timeout: float = 30.0,
        headers: Mapping[str, SecretStr | str] | None = None,
        most: int = MOST_BYTES,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        plain = {name: value for name, value in (headers or {}).items() if isinstance(value, str)}
        secret = {name: value for name, value in (headers or {}).items() if isinstance(value, SecretStr)}
        self._timeout = timeout
        self._most = most
        self._client = httpx.AsyncClient(
            auth=_Credentials(secret),
            headers={"User-Agent": "misoflow", "Accept-Encoding": "identity", **plain},
            timeout=httpx.Timeout(timeout, connect=min(CONNECT_SECONDS, timeout)),
            follow_redirects=False,
            trust_env=False,
            verify=_certificates(),
            transport=transport,
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def get(self, url: str, **options: Any) -> Response:
        """``request("GET", url, …)``."""
        return await self.request("GET", url, **options)

    async def post(self, url: str, **options: Any) -> Response:
        """``request("POST", url, …)``."""
        return await self.request("POST", url, **options)

    async def request(
        self,
        method: str,
        url: str,
        *,
        content: bytes | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        classify: bool = True,
    ) -> Response:
        """One call, with a total deadline and a cap on the decoded body."""
        _allowed(url)
        try:
            async with asyncio.timeout(self._timeout):
                request = self._client.build_request(
                    method, url, content=content, params=params, headers=dict(headers or {})
                )
                answer = await self._client.send(request, stream=True)
                try:
                    body = await _capped(answer, self._most)
                finally:
                    await answer.aclose()
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Unreachable(f"no connection to {_host(url)}: {type(error).__name__}") from None
        except (httpx.HTTPError, TimeoutError) as error:
            raise Retry(f"no answer from {_host(url)}: {type(error).__name__}", outcome_unknown=True) from None
        found = Response(answer.status_code, dict(answer.headers), body)
        return _classified(found, _host(url)) if classify else found

    @asynccontextmanager
    async def stream(self, method: str, url: str, **options: Any) -> AsyncIterator[httpx.Response]:
        """An answer whose raw bytes the caller reads: no total deadline, no cap, a time-out between bytes.

        The caller sees the status before anything is classified.
        """
        _allowed(url)
        timeout = httpx.Timeout(STREAM_READ_SECONDS, connect=CONNECT_SECONDS)
        try:
            async with self._client.stream(method, url, timeout=timeout, **options) as answer:
                yield answer
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Unreachable(f"no connection to {_host(url)}: {type(error).__name__}") from None
        except httpx.HTTPError as error:
            raise Retry(f"the stream from {_host(url)} broke: {type(error).__name__}") from None


def _host(url: str) -> str:
    return httpx.URL(url).host


def _allowed(url: str) -> None:
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:  # its text may quote the part that is wrong
        raise Reject("the URL cannot be used") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.host in LOOPBACK):
        raise Reject("plain http is for this machine only")


async def _capped(answer: httpx.Response, most: int) -> bytes:
    """The body, inflated by us in bounded steps (httpx inflates a whole chunk however large it gets)."""
    coding = answer.headers.get("content-encoding", "identity")
    if coding not in ("identity", "gzip"):
        raise Retry("the answer is encoded in a way that was not asked for", outcome_unknown=True)
    inflate = zlib.decompressobj(31) if coding == "gzip" else None
    chunks: list[bytes] = []
    size = 0
    async for raw in answer.aiter_raw(64 * 1024):
        try:
            chunk = raw if inflate is None else inflate.decompress(raw, most - size + 1)
        except zlib.error:
            raise Retry("the answer is broken gzip", outcome_unknown=True) from None
        size += len(chunk)
        if size > most:
            raise Retry(f"the answer is larger than {most} bytes", outcome_unknown=True)
        chunks.append(chunk)
    return b"".join(chunks)


def _classified(answer: Response, host: str) -> Response:
    if answer.status < 400 or answer.status in (404, 410):
        return answer
    if answer.status in (401, 402, 403):
        raise Halt(f"{host} answered {answer.status}", "check the credentials and what they may do")
    if answer.status in RETRIED or answer.status >= 500:
        after = retry_after(answer.headers.get("retry-after"), datetime.now(UTC))
        raise Retry(f"{host} answered {answer.status}", after)
    raise Reject(f"{host} answered {answer.status}")
