"""What a legitimate connector may do otherwise than the toy: the contract stays green, so nobody learns to waive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from misoflow.testing.exercising import Seen
from misoflow.testing.judging import Judge
from misoflow.testing.mutations import Mutation
from misoflow.testing.samples import Sample

from tests.kit.plants import ATTRIBUTES, CODE, EVENT, GET, PAGE, PRODUCT, REMOVED, TEST, Plant
from tests.kit.test_plants import plant

pytest_plugins = "pytester"

IMPORTS = "from misoflow import (\n"
CART = 'anonymous_id=item["visitor"],\n                    timestamp=item["at"],\n                )'
VARIANTS: dict[str, list[tuple[str, str, str]]] = {
    "a product's name is its title": [
        (CODE, PRODUCT, PRODUCT.replace('item["title"]', 'item.get("name", item["title"])'))
    ],
    "product ids with a prefix": [
        (CODE, PRODUCT, PRODUCT.replace('item["sku"]', '"acme-" + item["sku"]')),
        (CODE, '[line["sku"] for line in lines]', '["acme-" + line["sku"] for line in lines]'),
    ],
    "product ids in upper case": [(CODE, PRODUCT, PRODUCT.replace('item["sku"]', 'item["sku"].upper()'))],
    "products and users are keyed": [
        (CODE, IMPORTS, f"{IMPORTS}    latest,\n    merge,\n"),
        (CODE, PRODUCT, f"yield latest(item['sku'], item['id'], {PRODUCT.removeprefix('yield ')})"),
        (
            CODE,
            f'yield User(user_id=str(item["customer"]), {ATTRIBUTES})',
            f'yield merge(str(item["customer"]), "acme", User(user_id=str(item["customer"]), {ATTRIBUTES}), version=1)',
        ),
    ],
    "a thin event": [
        (CODE, IMPORTS, f"{IMPORTS}    Fetch,\n"),
        (CODE, REMOVED, 'yield Fetch("product", item["sku"])'),
    ],
    "an identity that comes late": [
        (CODE, IMPORTS, f"{IMPORTS}    aliased,\n    once,\n"),
        (CODE, "yield AddToCart(", "yield once(str(item['id']), AddToCart("),
        (CODE, CART, CART.replace('item["visitor"]', 'aliased(item["visitor"])') + ")"),
    ],
    "time zones and late imports": [
        (
            CODE,
            'timestamp=item["at"],',
            'timestamp=__import__("datetime").datetime.fromisoformat(item["at"].replace("Z", "+00:00"))'
            '.astimezone(__import__("zoneinfo").ZoneInfo("Asia/Tokyo")),',
        )
    ],
    "the event's own clock": [
        (CODE, 'timestamp=item["at"],', 'timestamp=event.received_at if item["at"] else item["at"],'),
    ],
    "pages that prove nothing until the last": [
        (CODE, PAGE, 'yield Page([self._event(item) for item in body["events"]], part.cursor)'),
        (CODE, 'cursor = part.cursor or ""', 'cursor = ""'),
        (CODE, "    def sample(", '        yield Page([], "whole")\n\n    def sample('),
    ],
    "history that the platform cannot be asked for by time": [
        (CODE, '"from": part.start.isoformat(), "to": part.end.isoformat(), ', ""),
        (
            CODE,
            PAGE,
            PAGE.replace('body["events"]]', 'body["events"] if part.start <= self._at(item) < part.end]'),
        ),
        (
            CODE,
            "    def sample(",
            "    def _at(self, item):\n        from datetime import datetime\n\n"
            '        return datetime.fromisoformat(item.get("at", "2026-09-01T00:00:00Z"))\n\n    def sample(',
        ),
    ],
    "history that is polled": [
        (CODE, IMPORTS, f"{IMPORTS}    Stream,\n"),
        (CODE, '{"events": timedelta(days=7)}', '{"events": Stream(timedelta(days=7), poll=True)}'),
        (CODE, '"from": part.start.isoformat(), "to": part.end.isoformat(), ', ""),
    ],
    "a platform that is slow": [
        (CODE, GET, f"await __import__('asyncio').sleep(3600)\n            {GET}"),
    ],
    "calls within a budget, and a state": [
        (
            CODE,
            GET,
            f'await self.state.put("at", b"1", expected=await self.state.get("at"))\n'
            f'            async with self.budget.call("acme", per_hour=1):\n                {GET}',
        ),
    ],
    "the platform's answers are compressed": [
        (TEST, "from datetime import date", "import gzip, json\nfrom datetime import date"),
        (
            TEST,
            "return httpx.Response(200, json=",
            'return httpx.Response(200, headers={"content-encoding": "gzip"}, content=packed(',
        ),
        (TEST, 'more else ""})', 'more else ""}))'),
        (
            TEST,
            "PAGE = 2\n",
            "PAGE = 2\n\n\ndef packed(body):\n    return gzip.compress(json.dumps(body).encode())\n",
        ),
    ],
    "an upstream that is awaited": [(TEST, "    def upstream(", "    async def upstream(")],
    "settings made when they are asked for": [
        (TEST, "    config = {", "    @property\n    def config(self):\n        return {"),
    ],
    "a cursor of None at the end": [
        (CODE, 'body["events"]], cursor)', 'body["events"]], cursor if cursor != "end" else None)'),
    ],
    "ids of several parts": [(CODE, EVENT, EVENT.replace('str(item["id"])', "f\"{item['topic']}:{item['id']}\""))],
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_legitimate_connector_passes(variant: str, toy: Path, pytester: pytest.Pytester) -> None:
    for file, old, new in VARIANTS[variant]:
        plant(toy, Plant(variant, "", "", old, new, file))
    if "ids of several" in variant:
        sample = toy / "samples" / "customer.json"
        sample.write_text(sample.read_text().replace('"4"', '"customer.saved:4"'))
    outcomes = pytester.runpytest_inprocess("--update-samples").parseoutcomes()
    assert outcomes.keys() == {"passed"}


@pytest.mark.parametrize(
    ("sku", "product_id", "invented"),
    [
        ("lamp-1", "lamp-1", False),
        ("gid://acme/Product/77", "77", False),
        ("Lamp 1", "lamp-1", False),
        (990017, "990017", False),
        (None, "None", True),
        (None, "acme-", True),
        ({"mutated": 1}, "{'mutated': 1}", True),
        (["a mutated text"], "['a mutated text']", True),
        (True, "True", True),
        ("lamp-1", "5f4dcc3b5aa765d61d8327deb882cf99", True),
    ],
)
def test_product_ids_that_an_event_names(sku: Any, product_id: str, invented: bool) -> None:
    """The sample's own id has a prefix that stands nowhere in its event."""
    judge = Judge.__new__(Judge)
    judge._sample = Sample(Path("x.json"), {"path": "acme", "query": {}})
    judge._constants, judge._ids = {"acme"}, {"acme-lamp-1"}
    kind = {dict: "object", list: "list"}.get(type(sku), "text")
    assert judge._invented(product_id, Mutation("$.sku", kind, {"sku": sku}, False, "lamp-1")) is invented


def test_every_exception_that_stands_behind_another_is_searched() -> None:
    seen = Seen(secrets={"a secret/7"})
    try:
        try:
            raise ValueError("a secret/7")
        except ValueError as error:
            raise ExceptionGroup("several", [RuntimeError("one"), KeyError("two")]) from error
    except ExceptionGroup as group:
        seen.raised(group)
    assert len(seen.errors) == 4
    assert seen.leak(seen.errors) == "<the secret> ValueError('<the secret>')"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("all is well", None),
        ("token=a secret/7", "token=<the secret>"),
        ("https://x.test/?t=a%20secret%2F7", "https://x.test/?t=<the secret>"),
        ("YSBzZWNyZXQvNw==", "<the secret>=="),
    ],
)
def test_the_forms_in_which_a_secret_is_found(text: str, found: str | None) -> None:
    assert Seen(secrets={"a secret/7"}).leak(["nothing", text]) == found
