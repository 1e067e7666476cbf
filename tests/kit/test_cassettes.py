"""A connector of a synchronous SDK is tested by a cassette: recorded once, scrubbed, then played for every failure."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

pytest_plugins = "pytester"

TOKEN = "a-token-to-be-struck-out"
SDK = '''
"""Stands for a vendor's synchronous client."""
import http.client, json
from urllib.parse import urlsplit


class Refused(Exception):
    def __init__(self, status, after):
        super().__init__(f"status {status}")
        self.status, self.after = status, after


def events(url, token, after):
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
    path = f"/events?after={after}&access_token={token}"
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 200:
        raise Refused(answer.status, answer.getheader("Retry-After"))
    return json.loads(body)
'''
CONNECTOR = '''
from collections.abc import Iterator
from datetime import timedelta

import vendor
from misoflow import Config, Connector, Event, Halt, Page, RemoveProduct, Retry, Slice
from pydantic import Field, SecretStr


class ShelfConfig(Config):
    """Settings for one shelf."""

    url: str = Field(description="Where it is.")
    token: SecretStr = Field(description="Opens it.")


class Shelf(Connector[ShelfConfig]):
    """What was taken off a shelf."""

    topics = ("removed",)
    streams = {"removed": timedelta(days=7)}

    def translate(self, event: Event) -> Iterator[RemoveProduct]:
        yield RemoveProduct(product_id=event.data["sku"])

    def backfill(self, part: Slice) -> Iterator[Page]:
        after = int(part.cursor or 0)
        while True:
            try:
                body = vendor.events(self.config.url, self.config.token.get_secret_value(), after)
            except vendor.Refused as error:
                if error.status in (401, 403):
                    raise Halt("the shelf is locked", "give a token") from None
                raise Retry("the shelf is busy", float(error.after) if error.after else None) from None
            except OSError:
                raise Retry("the shelf is away") from None
            if not body["events"]:
                return
            after = body["next"]
            yield Page([Event(item["id"], "removed", item) for item in body["events"]], str(after))
'''
TEST = """
from datetime import date

from misoflow.testing import ConnectorContract
from shelf import Shelf


class TestShelf(ConnectorContract):
    connector = Shelf
    config = {"url": "@URL@", "token": "@TOKEN@"}
    history = 5
    period = (date(2026, 9, 1), date(2026, 9, 3))
    cassette = "cassettes/history.yaml"
"""
SAMPLE = {
    "event": {"id": "e1", "topic": "removed", "data": {"id": "e1", "sku": "p1"}},
    "received_at": "2026-09-01T00:00Z",
}


class Platform(BaseHTTPRequestHandler):
    """Two events a page, with a person in each that no cassette may keep."""

    def do_GET(self) -> None:
        after = int(parse_qs(urlsplit(self.path).query)["after"][0])
        items = [
            {"id": f"e{n}", "sku": f"p{n}", "by": f"sam{n}@shop.test"} for n in range(after + 1, min(after + 3, 6))
        ]
        body = json.dumps({"events": items, "next": after + len(items), "echo": TOKEN}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Set-Cookie", "session=abc")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def platform() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Platform) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def shelf(pytester: pytest.Pytester, bare: Path, platform: str) -> Path:
    """The connector with its contract, and no cassette yet."""
    pytester.makepyfile(
        vendor=SDK, shelf=CONNECTOR, test_shelf=TEST.replace("@URL@", platform).replace("@TOKEN@", TOKEN)
    )
    (bare / "samples").mkdir()
    (bare / "samples" / "removed.json").write_text(json.dumps(SAMPLE))
    return bare


def test_recorded_once_and_played_ever_after(pytester: pytest.Pytester, shelf: Path) -> None:
    missing = pytester.runpytest_inprocess("-k", "backfill")
    assert "--record-cassettes" in missing.stdout.str()

    pytester.runpytest_inprocess("--record-cassettes", "-k", "test_backfill_is_complete").assert_outcomes(passed=1)
    text = (shelf / "cassettes" / "history.yaml").read_text()
    assert TOKEN not in text
    assert "@shop.test" not in text
    assert "session=abc" not in text
    assert len(yaml.safe_load(text)["interactions"]) == 4

    pytester.runpytest_inprocess("-k", "recorded", "--update-samples").assert_outcomes(passed=1)
    (pytester.path / "test_shelf.py").write_text(
        (pytester.path / "test_shelf.py").read_text().replace(TOKEN, "a-token-of-nobody")
    )
    played = pytester.runpytest_inprocess()
    played.stdout.fnmatch_lines(["FAILED *::test_no_secret_in_urls*"])  # as it does, by its design
    assert played.parseoutcomes()["failed"] == 1
    assert played.parseoutcomes()["passed"] >= 25


@pytest.mark.parametrize(
    ("date", "says"),
    [
        ("Tue, 06 Jan 2026 10:00:00 GMT", "days ago: record it anew"),
        ("", "does not say when it was recorded"),
    ],
)
def test_an_old_cassette_is_warned_of(pytester: pytest.Pytester, shelf: Path, date: str, says: str) -> None:
    _write(shelf, {"date": [date]} if date else {}, "{}")
    found = pytester.runpytest_inprocess("-k", "cassette_is_clean")
    found.assert_outcomes(passed=1, warnings=1)
    assert says in found.stdout.str()


@pytest.mark.parametrize("leak", [TOKEN, base64.b64encode(TOKEN.encode()).decode(), "sam@shop.test"])
def test_a_cassette_with_a_secret_or_a_person_is_refused(pytester: pytest.Pytester, shelf: Path, leak: str) -> None:
    _write(shelf, {"date": [format_datetime(datetime.now(UTC))]}, json.dumps({"x": leak}))
    found = pytester.runpytest_inprocess("-k", "cassette_is_clean")
    found.assert_outcomes(failed=1)
    assert leak not in found.stdout.str()


def test_a_request_that_the_cassette_does_not_hold_is_no_request(pytester: pytest.Pytester, shelf: Path) -> None:
    _write(shelf, {}, json.dumps({"events": [{"id": "e1", "sku": "p1"}], "next": 1}))
    found = pytester.runpytest_inprocess("-k", "backfill_is_complete")
    found.assert_outcomes(failed=1)
    found.stdout.fnmatch_lines(["*--record-cassettes*"])


def _write(folder: Path, headers: dict[str, list[str]], body: str) -> None:
    """A cassette of one exchange."""
    (url,) = re.findall(r"http://[\d.:]+", (folder / "test_shelf.py").read_text())
    request = {"method": "GET", "uri": f"{url}/events?access_token=SCRUBBED&after=0", "body": None, "headers": {}}
    response = {"status": {"code": 200, "message": "OK"}, "headers": headers, "body": {"string": body}}
    (folder / "cassettes").mkdir()
    exchange = {"interactions": [{"request": request, "response": response}], "version": 1}
    (folder / "cassettes" / "history.yaml").write_text(yaml.safe_dump(exchange))
