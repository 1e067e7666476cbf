"""A dead letter as a sample: scrubbed, explained as it died, and a failing test until the mapping is mended."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from misoflow import Event, Request
from misoflow.cli.letters import _sample
from misoflow.cli.output import Output
from misoflow.cli.sampling import from_letter, is_sample
from misoflow.cli.scrub import scrubbed
from misoflow.config import load
from misoflow.pipeline import Packed, pack_event, pack_request, unpack

from tests.authors.kit import Author

ROOT = Path(__file__).resolve().parents[2]
CAME = datetime(2026, 9, 1, 10, 5, tzinfo=UTC)
TOY = """
from misoflow import Config, Connector, RemoveProduct


class ToyConfig(Config):
    \"\"\"None.\"\"\"


class Toy(Connector[ToyConfig]):
    def translate(self, event):
        yield RemoveProduct(product_id=event.data["sku"])
"""
WHY = "$.qty: 'qty' is missing"


def letter(data: Any, **more: Any) -> Packed:
    return unpack(pack_event(Event(more.get("id", "e9"), more.get("topic", "cart.added"), data, CAME)))


def test_an_event_becomes_a_sample_that_wants_it_translated() -> None:
    made = from_letter(letter({"sku": "lamp", "visitor": "v1"}), WHY)
    assert made == {
        "source": "dead letter, personal data replaced",
        "note": f"died of: {WHY}",
        "event": {"id": "e9", "topic": "cart.added", "data": {"sku": "lamp", "visitor": "v1"}},
        "received_at": "2026-09-01T10:05:00Z",
        "events": [{"id": "e9", "topic": "cart.added", "outcome": "translated"}],
    }
    assert is_sample(made)


def test_the_page_on_dead_letters_shows_what_is_made() -> None:
    page = (ROOT / "docs" / "authors" / "dead-letters.md").read_text()
    (shown,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    told = json.loads(shown)
    died = letter(told["event"]["data"])
    assert from_letter(died, told["note"].removeprefix("died of: ")) == told


def test_a_delivery_that_could_not_be_split_becomes_one_with_its_request() -> None:
    request = Request(
        b'{"email": "jo@shop.example"}', {"x-kind": "order"}, path="orders", query={"for": "jo@shop.example"}
    )
    made = from_letter(unpack(pack_request(request, b"\1" * 16)), "no id")
    assert (made["body"], made["path"], made["headers"]) == ({"email": "removed"}, "orders", {"x-kind": "order"})
    assert made["query"] == {"for": "someone-1@example.com"}
    assert made["events"] == [{"topic": "delivery", "outcome": "translated"}]
    assert is_sample(made)
    text = from_letter(unpack(pack_request(Request(b"no json"), b"\1" * 16)), "no JSON")
    assert text["body"] == "no json"


def test_who_is_who_stays_visible_and_nobody_is() -> None:
    found = scrubbed(
        {
            "path": "/users/u-773451/orders",  # known for whose only further on
            "user_id": "u-773451",
            "link": "https://shop.example/x?u=1",
            "from": "jo@shop.example",
            "to": "jo@shop.example, al@shop.example",
            "ean": "4006381333931",
            "text": "call +49 151 2345678",
        }
    )
    assert found["path"] == f"/users/{found['user_id']}/orders"
    first, second = found["to"].split(", ")
    assert found["from"] == first != second
    assert found["link"] == "https://shop.example/x"
    assert found["ean"] == "4006381333931"
    assert "151" not in found["text"]


@pytest.mark.parametrize(
    ("content", "is_one"),
    [
        ({"type": "track", "event": "Product Viewed", "messageId": "m"}, False),
        ({"event": "Product Viewed", "received_at": "2026-09-01T10:00:00Z"}, False),
        ({"event": {"id": "1", "topic": "t", "data": {}}, "received_at": "2026-09-01T10:00:00Z"}, True),
        ({"body": {}, "received_at": "2026-09-01T10:00:00Z"}, True),
        ({"body": {}, "received_at": "2026-09-01T10:00:00Z", "more": 1}, False),
        ([], False),
    ],
)
def test_a_sample_is_told_from_a_payload(content: Any, is_one: bool) -> None:
    assert is_sample(content) is is_one


def test_it_fails_until_the_mapping_is_mended(tmp_path: Path) -> None:
    author = Author(tmp_path)
    author.run("misoflow", "new", "acme", "--webhook", cwd=tmp_path)
    folder = tmp_path / "misoflow-acme"
    author.install(folder)
    item = {"id": "e9", "topic": "cart.added", "at": "2026-09-01T10:05:00Z", "sku": "lamp", "visitor": "v1"}
    sample = folder / "tests" / "samples" / "no-quantity.json"
    sample.write_text(json.dumps(from_letter(letter(item), WHY)))
    told = author.run("misoflow", "explain", "acme", str(sample), cwd=folder)
    assert "e9  rejected" in told
    recorded = ("-k", "translates_as_recorded")
    assert author.pytest(folder, *recorded, code=1) == {"failed": 1, "passed": 2}
    code = folder / "misoflow_acme" / "__init__.py"
    code.write_text(code.read_text().replace('[item["qty"]]', '[item.get("qty", 1)]'))
    assert "e9  translated" in author.run("misoflow", "explain", "acme", str(sample), cwd=folder)
    author.pytest(folder, *recorded, "--update-samples")
    (event,) = json.loads(sample.read_text())["events"]
    assert event["records"][0]["record"]["quantities"] == [1]
    assert author.pytest(folder).keys() == {"passed"}


@pytest.mark.parametrize(("reason", "told"), [("KeyError 'sku' at old.py:3", False), ("another one", True)])
def test_it_is_said_when_a_sample_does_not_show_the_fault(
    reason: str, told: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The place in the code may be another than it was; the reason may not."""
    (tmp_path / "letter_toy.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    config = tmp_path / "plugins.toml"
    config.write_text('[miso]\napi_key = "k"\n[instances.shop]\nconnector = "letter_toy:Toy"\n')
    died = SimpleNamespace(instance="shop", kind="reject", reason=reason, path="$")
    _sample(Output(), died, letter({"visitor": "v1"}), load(config))
    out, err = capsys.readouterr()
    assert json.loads(out)["event"]["data"] == {"visitor": "v1"}
    assert ("do not show this fault any more" in err) is told
