"""Raw bytes on the socket: sizes, slow clients, smuggling, and anything hypothesis thinks of."""

from __future__ import annotations

import os
import re
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from misoflow_webhooks.protocol import Deadlines

KIB = 1024
HEAD = b"POST /hooks/web HTTP/1.1\r\nhost: x\r\n"
SHORT = Deadlines(head=0.6, body=1.5, idle=1.0, rate=1024, rate_after=0.5)


def closed_after(connection: socket.socket, limit: float = 8) -> bool:
    """Whether the server closes the connection; what it says before does not matter."""
    connection.settimeout(limit)
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


def connect(server: Any) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def memory_kib() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    raise LookupError("VmRSS")


def flood(server: Any, head: bytes, chunk: bytes, most: int) -> tuple[bytes, int]:
    """Send until the server closes; its answer, and how many bytes it let us send."""
    sent = 0
    answer = b""
    with connect(server) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * KIB)
        connection.sendall(head)
        try:
            while sent < most:
                connection.sendall(chunk)
                sent += len(chunk)
        except (BrokenPipeError, ConnectionResetError):
            pass
        connection.settimeout(2)
        try:
            while part := connection.recv(65536):
                answer += part
        except (ConnectionResetError, TimeoutError):
            pass
    return answer, sent


def test_a_declared_length_over_the_limit_is_413_at_once(server: Any) -> None:
    assert server.raw_once(HEAD + b"content-length: 65537\r\n\r\n").startswith(b"HTTP/1.1 413")
    assert server.raw_once(HEAD + b"content-length: %s\r\n\r\n" % (b"9" * 18)).startswith(b"HTTP/1.1 413")


def test_chunked_bodies_are_cut_off_soon_after_the_limit(server: Any) -> None:
    before = memory_kib()
    chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    answer, sent = flood(server, HEAD + b"transfer-encoding: chunked\r\n\r\n", chunk, 64 << 20)
    assert sent < 16 << 20  # the kernels' buffers hold some of it; the server took 128 KiB
    assert answer[:12] in (b"", b"HTTP/1.1 413")
    assert memory_kib() - before < 20 * KIB
    assert server.stored() == []


def test_an_answered_413_lets_a_short_rest_arrive(server: Any) -> None:
    """The sender gets to read the answer although it still sends, and may use the connection again."""
    with connect(server) as connection:
        connection.sendall(HEAD + b"content-length: 70000\r\n\r\n" + b"x" * 60_000)
        time.sleep(0.1)
        assert connection.recv(65536).startswith(b"HTTP/1.1 413")
        connection.sendall(b"x" * 10_000 + b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"200 OK" in connection.recv(65536)


def test_exactly_the_limit_is_taken(server: Any) -> None:
    assert server.post("/hooks/web", b"x" * 64 * KIB).status == 200
    assert server.post("/hooks/web", b"x" * (64 * KIB + 1)).status == 413


def test_a_body_that_ends_early_is_not_stored(start: Any) -> None:
    server = start(deadlines=SHORT)
    with connect(server) as connection:
        connection.sendall(HEAD + b"content-length: 10\r\n\r\n{}")
        assert closed_after(connection)
    with connect(server) as connection:
        connection.sendall(HEAD + b"content-length: 10\r\n\r\n{}")
        connection.close()
    assert server.stored() == []


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"POST",
        HEAD,
        HEAD + b"x-a: b",
    ],
)
def test_slow_heads_are_closed(start: Any, head: bytes) -> None:
    server = start(deadlines=SHORT)
    with connect(server) as connection:
        connection.sendall(head)
        assert closed_after(connection)
    assert server.request("GET", "/healthz").status == 200


def drip(connection: socket.socket, byte: bytes) -> bool:
    """One byte every 0.1 s; whether the server has closed within a few seconds."""
    for _ in range(60):
        try:
            connection.sendall(byte)
        except OSError:
            return True
        time.sleep(0.1)
    return False


def test_dripping_heads_and_bodies_are_closed(start: Any) -> None:
    server = start(deadlines=SHORT)
    with connect(server) as connection:
        connection.sendall(HEAD + b"x-a: ")
        assert drip(connection, b"b")
    with connect(server) as connection:
        connection.sendall(HEAD + b"content-length: 1000\r\n\r\n")
        assert drip(connection, b"b")


def test_a_fast_body_still_has_a_total_deadline(start: Any) -> None:
    server = start(deadlines=SHORT)
    with connect(server) as connection:
        connection.sendall(HEAD + b"content-length: 60000\r\n\r\n")
        assert drip(connection, b"b" * 300)


def test_idle_connections_are_closed_and_good_ones_kept(start: Any) -> None:
    server = start(deadlines=SHORT)
    with connect(server) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"200" in connection.recv(65536)
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"200" in connection.recv(65536)
        assert closed_after(connection)


def test_many_held_connections_do_not_stop_good_traffic(server: Any) -> None:
    held = [connect(server) for _ in range(300)]
    try:
        for number, connection in enumerate(held):
            connection.sendall(HEAD if number % 2 else HEAD + b"content-length: 100\r\n\r\nx")
        for _ in range(20):
            assert server.post("/hooks/web", b"{}").status == 200
    finally:
        for connection in held:
            connection.close()


NEXT = b"0\r\n\r\nGET /healthz HTTP/1.1\r\n\r\n"
SMUGGLING = {
    "length and chunked": b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n" + NEXT,
    "chunked and length": b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n" + NEXT,
    "two lengths": b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}x",
    "same length twice": b"content-length: 2\r\ncontent-length: 2\r\n\r\n{}",
    "length list": b"content-length: 2, 2\r\n\r\n{}",
    "signed length": b"content-length: +2\r\n\r\n{}",
    "hex length": b"content-length: 0x2\r\n\r\n{}",
    "folded header": b"x-a: b\r\n c: d\r\ncontent-length: 2\r\n\r\n{}",
    "space before colon": b"content-length : 2\r\n\r\n{}",
    "odd transfer coding": b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked twice": b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "bad chunk size": b"transfer-encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n",
    "bare line feed in a chunk": b"transfer-encoding: chunked\r\n\r\n2\n{}\n0\n\n",
    "NUL in a header": b"x-a: \x00\r\ncontent-length: 2\r\n\r\n{}",
}


@pytest.mark.parametrize("name", SMUGGLING)
def test_ambiguous_framing_is_400_and_ends_the_connection(server: Any, name: str) -> None:
    answer = server.raw(HEAD + SMUGGLING[name])
    assert answer.startswith(b"HTTP/1.1 400"), answer
    assert len(re.findall(rb"HTTP/1\.1 \d", answer)) == 1, answer
    assert b'"success":false,"errors":true' in answer
    assert server.stored() == []


def test_large_heads_are_431(server: Any) -> None:
    assert server.raw_once(HEAD + b"x-a: " + b"b" * 70_000 + b"\r\n\r\n").startswith(b"HTTP/1.1 431")
    many = b"".join(b"x-%d: %s\r\n" % (n, b"b" * 100) for n in range(700))
    assert server.raw_once(HEAD + many + b"\r\n").startswith(b"HTTP/1.1 431")
    url = b"POST /hooks/web?%s HTTP/1.1\r\nhost: x\r\n\r\n" % (b"a" * 70_000)
    assert server.raw_once(url).startswith(b"HTTP/1.1 431")
    fits = HEAD + b"x-a: " + b"b" * 60_000 + b"\r\ncontent-length: 2\r\n\r\n{}"
    assert server.raw_once(fits).startswith(b"HTTP/1.1 401")


def test_a_head_that_never_ends_is_431(server: Any) -> None:
    with connect(server) as connection:
        connection.sendall(HEAD + b"x-a: ")
        try:
            for _ in range(40):
                connection.sendall(b"b" * 4096)
                time.sleep(0.002)
        except OSError:
            pass
        assert closed_after(connection)


@pytest.mark.parametrize(
    "request_line",
    [b"CONNECT x:80 HTTP/1.1", b"POST * HTTP/1.1", b"POST /hooks/\xff HTTP/1.1", b"POST http:// HTTP/1.1", b"x"],
)
def test_odd_request_lines_never_make_a_5xx(server: Any, request_line: bytes) -> None:
    answer = server.raw_once(request_line + b"\r\nhost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 4"), answer


def test_an_upgrade_offer_is_an_ordinary_request(server: Any) -> None:
    head = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
    assert server.raw_once(head).startswith(b"HTTP/1.1 200")


def test_a_client_that_expects_100_gets_it(server: Any) -> None:
    with connect(server) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        connection.recv(65536)
        connection.sendall(HEAD + b"content-length: 2\r\nexpect: 100-continue\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 100")
        connection.sendall(b"{}")
        assert connection.recv(65536).startswith(b"HTTP/1.1 401")


EXAMPLES = 10_000 if os.environ.get("MISOFLOW_FULL") else 300
token = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=':"'), min_size=1, max_size=12)
value = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40)


@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
@given(
    method=st.sampled_from(["POST", "GET", "PUT", "OPTIONS", "HEAD", "TRACE", "BREW"]),
    path=st.sampled_from(["/hooks/web", "/hooks/web/pixel/1", "/hooks/nobody", "/hooks/", "/"]),
    suffix=st.one_of(st.just(""), value),
    headers=st.lists(
        st.tuples(
            st.one_of(
                token,
                st.sampled_from(["content-encoding", "x-signature", "origin", "content-type", "expect", "x-tenant"]),
            ),
            st.one_of(value, st.sampled_from(["gzip", "100-continue", "*"])),
        ),
        max_size=5,
    ),
    body=st.one_of(st.binary(max_size=200), st.sampled_from([b"{}", b"[1", b"\x1f\x8b\x08"])),
)
def test_no_request_makes_a_5xx_or_a_3xx(
    server: Any, method: str, path: str, suffix: str, headers: list[tuple[str, str]], body: bytes
) -> None:
    lines = [f"{method} {path}{suffix} HTTP/1.1", "host: x", f"content-length: {len(body)}", "connection: close"]
    lines += [f"{name}: {text}" for name, text in headers]
    with connect(server) as connection:
        connection.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        answer = b""
        connection.settimeout(5)
        try:
            while part := connection.recv(65536):
                answer += part
        except ConnectionResetError:
            pass
    status = answer.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")[9:12]
    assert status[:1] in (b"2", b"4"), (lines, answer)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_no_bytes_make_a_5xx(server: Any, data: bytes) -> None:
    with connect(server) as connection:
        connection.sendall(data + b"\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(0.05)
        try:
            answer = connection.recv(65536)
        except (TimeoutError, ConnectionResetError):
            return
    assert answer[9:10] in (b"", b"4", b"2"), answer
