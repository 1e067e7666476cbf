"""The parts of the kit, and what it says to an author who has not given enough."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import misoflow.cli.explaining
import misoflow.testing.needed
import pytest
from misoflow.testing import guarded, vcr_config
from misoflow.testing.miso import complaint
from misoflow.testing.mutations import KINDS, mutations, objects, path_text
from misoflow.testing.subject import no_waiting

from tests.kit.plants import CODE, TEST, Plant
from tests.kit.test_plants import plant

pytest_plugins = "pytester"


def test_every_field_is_mutated_in_every_way_one_at_a_time() -> None:
    value = {"a": 1, "b": [{"c": "x"}, {"c": "y"}], "d": {"e": None}}
    found = list(mutations(value))
    assert value == {"a": 1, "b": [{"c": "x"}, {"c": "y"}], "d": {"e": None}}
    assert {one.path for one in found} == {"$.a", "$.b", "$.b[0]", "$.b[0].c", "$.b[1]", "$.b[1].c", "$.d", "$.d.e"}
    assert {one.kind for one in found if one.path == "$.b[0].c"} == set(KINDS)
    assert {one.kind for one in found if one.path == "$.b[0]"} == set(KINDS) - {"dropped"}
    assert {one.kind for one in found if one.path == "$.d.e"} == set(KINDS) - {"null"}
    assert next(one.value for one in found if one.path == "$.b[1].c" and one.kind == "number") == {
        "a": 1,
        "b": [{"c": "x"}, {"c": 990017}],
        "d": {"e": None},
    }
    assert [path_text(steps) for steps in objects(value)] == ["$", "$.b[0]", "$.b[1]", "$.d"]


def test_long_lists_are_mutated_at_their_beginning() -> None:
    assert {one.path for one in mutations(list(range(100)))} == {"$[0]", "$[1]", "$[2]"}


@pytest.mark.parametrize(
    ("reach", "says"),
    [
        (lambda: os.open(os.devnull, os.O_RDONLY), "open("),
        (lambda: Path(__file__).read_text(), "open("),
        (lambda: os.listdir("."), "os.listdir("),
        (lambda: os.open(__file__, os.O_RDONLY), "open("),
        (lambda: socket.create_connection(("127.0.0.1", 1)), "socket."),
        (lambda: os.system("true"), "os.system("),
        (lambda: __import__("sqlite3").connect(":memory:"), "sqlite3.connect("),
        (lambda: httpx.get("http://127.0.0.1:1", trust_env=False), ""),
    ],
)
def test_pure_code_that_reaches_out_is_seen(reach: Callable[[], object], says: str) -> None:
    result, error, place = guarded.reached(reach)
    assert (result, error) == (None, None)
    assert place
    assert place.startswith(says)


@pytest.mark.parametrize(
    "harmless",
    [
        lambda: 1 + 1,
        uuid.uuid4,
        lambda: __import__("wave"),
        lambda: __import__("zoneinfo").ZoneInfo.no_cache("Europe/Berlin").utcoffset(None),
        lambda: json.dumps({"a": time.time()}),
    ],
)
def test_pure_code_that_does_not_is_let_be(harmless: Callable[[], object]) -> None:
    _, error, place = guarded.reached(harmless)
    assert (error, place) == (None, "")


def test_other_threads_are_let_be_and_so_is_what_comes_after() -> None:
    found: list[str] = []
    inside, done = threading.Event(), threading.Event()

    def other() -> None:
        inside.wait(10)
        found.append(Path(__file__).read_text()[:3])
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    guarded.reached(lambda: (inside.set(), done.wait(10)))
    thread.join()
    assert found == ['"""']
    assert Path(__file__).read_text()


def test_an_exception_of_the_code_is_handed_back() -> None:
    result, error, place = guarded.reached(lambda: {}["a"])  # type: ignore[var-annotated]
    assert (result, place) == (None, "")
    assert isinstance(error, KeyError)


def test_waiting_takes_no_time() -> None:
    with no_waiting():
        time.sleep(3600)
    assert time.sleep is not None


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"kind": "product", "record": {"product_id": "p1"}}, ""),
        ({"kind": "product", "record": {"title": "t"}}, "product_id"),
        ({"kind": "interaction", "record": {"type": "like", "product_ids": "p1"}}, "product_ids"),
        ({"kind": "interaction", "record": {"type": "gaze"}}, "type"),
        ({"kind": "remove_product", "record": {}}, ""),
    ],
)
def test_what_miso_says_of_a_record(record: dict[str, Any], says: str) -> None:
    assert says in complaint(record)
    assert bool(complaint(record)) is bool(says)


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("test", ["records_are_valid", "survives_malformed"])
def test_a_record_that_only_miso_refuses_is_seen(
    test: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What encode refuses never gets so far, so it is made blind here."""
    monkeypatch.setattr(
        misoflow.cli.explaining, "encode", lambda record, late=False: b'{"product_id":"lamp-1","title":7}'
    )
    found = pytester.runpytest_inprocess("-k", test)
    assert found.parseoutcomes()["failed"]
    assert "a record that Miso refuses: title" in found.stdout.str()


@pytest.mark.parametrize(
    ("change", "test", "outcome", "says"),
    [
        (
            ("    tolerance = 300\n    rotated", "    tolerance = 300\n    rotatex"),
            "second",
            "skipped",
            "give `rotated`",
        ),
        (
            ('"x-acme-time", "x-acme-signature")\n    tol', '"x-acme-time", "x-sign")\n    tol'),
            "missing",
            "failed",
            "no header",
        ),
        (("    def sign(", "    def sing("), "genuine_delivery", "failed", "give `sign(self, body, at)`"),
        (("    history = 5\n", ""), "is_complete", "failed", "give `history`"),
        (("    period = ", "    _period = "), "is_complete", "failed", "and `period`"),
        (("    history = 5\n", '    history = {"event": 5}\n'), "is_complete", "failed", "names the stream 'event'"),
        (('"a-private-token"', '"short"'), "takes_its_settings", "failed", "shorter than 6 characters"),
        (
            ('"token": "a-private-token"', '"tokem": "a-private-token"'),
            "takes_its_settings",
            "failed",
            "token: Field required",
        ),
        (("    def upstream(", "    def _upstream("), "is_complete", "failed", "give `upstream` or `cassette`"),
        (
            (
                '"id": 1, "topic": "product.saved", "sku": "lamp-1"',
                '"id": 1, "topic": "product.saved", "sku": "lamp-0"',
            ),
            "same_by",
            "passed",
            "",
        ),
    ],
)
def test_an_author_is_told_what_to_give(
    change: tuple[str, str], test: str, outcome: str, says: str, toy: Path, pytester: pytest.Pytester
) -> None:
    plant(toy, Plant("", "", "", *change, TEST))
    found = pytester.runpytest_inprocess("-rs", "-k", test)
    assert found.parseoutcomes()[outcome]
    assert says in found.stdout.str().replace("\n", " ")


@pytest.mark.usefixtures("toy")
def test_without_an_event_in_both_channels_the_author_is_told(pytester: pytest.Pytester, toy: Path) -> None:
    (toy / "samples" / "cart.json").unlink()
    plant(toy, Plant("", "", "", '"sku": "lamp-1", "title"', '"sku": "lamp-0", "title"', TEST))
    found = pytester.runpytest_inprocess("-rs", "-k", "same_by")
    assert found.parseoutcomes()["skipped"] == 1
    assert "hold an event that is also in a sample" in found.stdout.str()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not JSON"),
        ("[]", "must be an object"),
        ('{"received_at": "2026-09-01T00:00:00Z"}', 'needs either "body" (a delivery) or "event"'),
        ('{"body": 1, "recieved_at": "2026-09-01T00:00:00Z"}', "has unknown keys recieved_at"),
        ('{"body": {}}', 'add when it came, "received_at"'),
        ('{"body": {}, "received_at": "yesterday"}', "must be a time"),
        ('{"event": {"id": "1"}, "received_at": "2026-09-01T00:00:00Z"}', '"event" needs "id", "topic" and "data"'),
        ('{"body": {"events": []}, "received_at": "2026-09-01T00:00:00Z"}', "does not say what becomes of it"),
    ],
)
def test_a_sample_that_cannot_be_used_says_why(text: str, says: str, toy: Path, pytester: pytest.Pytester) -> None:
    (toy / "samples" / "broken.json").write_text(text)
    found = pytester.runpytest_inprocess("-k", "recorded and broken")
    found.assert_outcomes(failed=1)
    assert says in found.stdout.str()


def test_what_does_not_apply_is_not_collected(toy: Path, pytester: pytest.Pytester) -> None:
    code = toy / CODE
    text = code.read_text()
    code.write_text(text[: text.index("    async def backfill")])
    test = toy / TEST
    test.write_text(test.read_text().replace("    history = 5\n", "").replace("    tolerance = 300\n", ""))
    found = pytester.runpytest_inprocess("--collect-only", "-q").stdout.str()
    for gone in ("backfill", "failures_are", "same_by", "in_urls", "cassette", "tolerance", "own_samples"):
        assert gone not in found
    assert "test_refuses_a_changed_body" in found


def test_the_fixtures(toy: Path, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_fixtures="""
        import urllib.request
        from acme import Acme, AcmeConfig

        def test_miso(miso_sandbox):
            body = b'{"data": [{"product_id": "p1"}]}'
            call = urllib.request.Request(
                f"{miso_sandbox.url}/v1/products", body,
                {"X-API-KEY": miso_sandbox.api_key, "Content-Type": "application/json"},
            )
            assert urllib.request.urlopen(call).status == 200
            assert miso_sandbox.records("products") == [{"product_id": "p1"}]
            miso_sandbox.reset()
            assert miso_sandbox.records("products") == []

        def test_samples(misoflow_samples):
            acme = Acme(AcmeConfig(shop="s", signing_secrets=["a-secret"], token="a-token"))
            assert [event.topic for event in misoflow_samples["cart"].events(acme)] == ["cart.added"]

        def test_vcr(misoflow_vcr):
            assert misoflow_vcr.record_mode.value == "none"
            assert misoflow_vcr.cassette_library_dir.endswith("cassettes")
        """
    )
    pytester.runpytest_inprocess("test_fixtures.py").assert_outcomes(passed=3)


def test_the_plugin_alone_imports_nothing_heavy(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_nothing(pytestconfig):
            assert pytestconfig.pluginmanager.hasplugin("misoflow")
            heavy = {"misoflow", "httpx", "pydantic", "vcr", "msgspec"} & set(sys.modules)
            assert not heavy, heavy
        """
    )
    plugins = [f"-pno:{name}" for name in ("schemathesis", "hypothesispytest", "asyncio", "anyio", "xdist")]
    pytester.runpytest_subprocess(*plugins).assert_outcomes(passed=1)


def test_what_the_vcr_configuration_strikes_out() -> None:
    made = vcr_config(["s3cr3t value"])
    assert made["record_mode"] == "none"
    assert vcr_config(record=True)["record_mode"] == "all"

    class Request:
        uri = "https://x.test/a?q=s3cr3t%20value"
        body = b'{"a": "s3cr3t value"}'
        headers = {"x-own": "czNjcjN0IHZhbHVl"}  # noqa: RUF012

    seen = made["before_record_request"](Request())
    assert "s3cr3t" not in seen.uri + seen.body.decode()
    assert seen.headers == {"x-own": "SCRUBBED"}
    answer = {
        "headers": {"Set-Cookie": ["s=1"], "Content-Type": ["text/plain"]},
        "body": {"string": b"sam@shop.test and sam@shop.test and ann@shop.test: s3cr3t value"},
    }
    seen = made["before_record_response"](answer)
    assert seen["headers"] == {"Content-Type": ["text/plain"]}
    first, second, third = seen["body"]["string"].decode().removesuffix(": SCRUBBED").split(" and ")
    assert first == second != third
    assert first.endswith("@example.com")


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"'pytest': pip install 'misoflow\[testing\]'"):
        importlib.reload(misoflow.testing.needed)
