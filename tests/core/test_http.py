"""The HTTP client under bad weather, against small servers that misbehave on the wire (M3, M4, M5, S9)."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import logging
import resource
import traceback
from collections.abc import AsyncIterator, Callable

import pytest
from misoflow.errors import Halt, Reject, Retry
from misoflow.http import Http
from pydantic import SecretStr

CANARY = "canary-key-5f1b"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]


@contextlib.asynccontextmanager
async def serving(handler: Serve) -> AsyncIterator[str]:
    """A raw server that has read the request's head before ``handler`` runs."""

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            await handler(reader, writer)  # type: ignore[misc]
        writer.close()

    server = await asyncio.start_server(session, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def answering(status: int, body: bytes = b"{}", *headers: str) -> Serve:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", *headers, "", ""]
        writer.write("\r\n".join(lines).encode() + body)
        await writer.drain()

    return handler


@contextlib.asynccontextmanager
async def client(**options: object) -> AsyncIterator[Http]:
    http = Http(**{"timeout": 5.0, "headers": {"X-API-KEY": SecretStr(CANARY)}, **options})  # type: ignore[arg-type]
    try:
        yield http
    finally:
        await http.close()


@pytest.mark.parametrize(
    ("status", "error"),
    [(s, Halt) for s in (401, 402, 403)]
    + [(s, Retry) for s in (408, 409, 423, 425, 429, 500, 502, 503, 504)]
    + [(s, Reject) for s in (400, 405, 413, 422)],
)
async def test_each_status_is_one_decision(status: int, error: type[Exception]) -> None:
    async with serving(answering(status)) as url, client() as http:
        with pytest.raises(error):
            await http.get(url)
        assert (await http.get(url, classify=False)).status == status


@pytest.mark.parametrize("status", [200, 204, 304, 404, 410])
async def test_these_are_returned(status: int) -> None:
    async with serving(answering(status, b"")) as url, client() as http:
        assert (await http.get(url)).status == status


async def test_retry_after_is_carried() -> None:
    async with serving(answering(503, b"", "retry-after: 7")) as url, client() as http:
        with pytest.raises(Retry) as caught:
            await http.get(url)
        assert caught.value.after == 7


async def test_a_redirect_is_not_followed() -> None:
    async with serving(answering(200, b"elsewhere")) as elsewhere:
        async with serving(answering(302, b"", f"location: {elsewhere}")) as url, client() as http:
            assert (await http.get(url)).status == 302


async def test_the_total_deadline_holds_against_a_dripping_answer() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        for _ in range(1000):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with serving(drip) as url, client(timeout=0.4) as http:
        with pytest.raises(Retry) as caught:
            await http.get(url)
        assert caught.value.outcome_unknown


async def test_a_gzip_bomb_stops_at_the_cap() -> None:
    bomb = gzip.compress(bytes(256 * 1024 * 1024), 9)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with serving(answering(200, bomb, "content-encoding: gzip")) as url, client() as http:
        with pytest.raises(Retry):
            await http.get(url)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30 * 1024


async def test_gzip_that_was_not_asked_for_is_read_all_the_same() -> None:
    async with serving(answering(200, gzip.compress(b"hello"), "content-encoding: gzip")) as url, client() as http:
        assert (await http.get(url)).body == b"hello"


@pytest.mark.parametrize("encoding", ["br", "gzip"])
async def test_an_encoding_it_cannot_read_is_an_error(encoding: str) -> None:
    async with serving(answering(200, b"not it", f"content-encoding: {encoding}")) as url, client() as http:
        with pytest.raises(Retry):
            await http.get(url)


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n123", b"nonsense\r\n\r\n"])
async def test_a_connection_that_breaks_leaves_the_outcome_unknown(sent: bytes) -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        await writer.drain()
        writer.transport.abort()

    async with serving(reset) as url, client() as http:
        with pytest.raises(Retry) as caught:
            await http.post(url, content=b"{}")
        assert caught.value.outcome_unknown


async def test_a_refused_connection_had_no_effect() -> None:
    async with client() as http:
        with pytest.raises(Retry) as caught:
            await http.get("http://127.0.0.1:1")
        assert not caught.value.outcome_unknown


async def test_plain_http_is_for_this_machine_only() -> None:
    async with client() as http:
        for url in ("http://example.com/", "ftp://127.0.0.1/", "http://127.0.0.1.example.com/"):
            with pytest.raises(Reject):
                await http.get(url)


async def test_the_key_is_sent_and_shows_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[bytes] = []

    async def look(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        await look(reader, writer)
        writer.close()

    server = await asyncio.start_server(session, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
    texts = []
    with caplog.at_level(logging.DEBUG):
        async with client() as http:
            texts.append(repr(http.__dict__))
            for target in (url, "http://127.0.0.1:1/x"):
                try:
                    await http.get(target)
                except Retry as error:
                    texts += [str(error), repr(error), "".join(traceback.format_exception(error))]
    server.close()
    assert CANARY.encode() in seen[0]
    assert CANARY.encode() not in seen[0].split(b"\r\n")[0]
    assert CANARY not in "".join(texts) + caplog.text


async def test_a_stream_is_read_raw_and_its_status_seen_first() -> None:
    packed = gzip.compress(b"x" * 100_000)
    async with serving(answering(200, packed, "content-encoding: gzip")) as url, client() as http:
        async with http.stream("GET", url) as answer:
            assert answer.status_code == 200
            raw = b"".join([chunk async for chunk in answer.aiter_raw()])
    assert raw == packed
