"""After a storm: what Miso holds against what the shop is, in the shop's own words."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import msgspec
from misoflow import Event, Group
from misoflow.budget import Unmetered
from misoflow.effects import Merge
from misoflow.encode import encode
from misoflow.http import Http
from misoflow_sandbox.shopify import counted_orders, units, variants_on_sale
from misoflow_sandbox.shopify.things import Order
from misoflow_shopify import Shopify, nodes, queries
from misoflow_shopify.config import ShopifyConfig
from misoflow_shopify.facts import SCOPES
from misoflow_shopify.tokens import TOKENS, Tokens

from tests.shopify.fake import MemoryState
from tests.shopify.storm import Storm

SIXTY_DAYS = 60 * 86_400_000
EVER = "updated_at:>='2000-01-01T00:00:00Z'"
Found = Iterator[str]


def judge(storm: Storm) -> list[str]:
    """What does not add up; empty is good."""
    held, records = storm.held(), storm.interactions()
    fresh = asyncio.run(Fresh(storm).read())
    once = _distinct(records)
    return [
        *_counts(storm),
        *_sent_once(storm, records),
        *_compared("product", held["products"], fresh["products"]),
        *_compared("user", held["users"], fresh["users"]),
        *_sets("product", held["products"], variants_on_sale(storm.shop)),
        *_sets("user", held["users"], {str(one.id) for one in storm.shop.customers}),
        *_orders(storm, once),
        *_clicks(storm, once),
    ]


def _distinct(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without what was sent a second time, byte for byte, because its answer was lost."""
    return [json.loads(text) for text in dict.fromkeys(json.dumps(one, sort_keys=True) for one in records)]


def _counts(storm: Storm) -> Found:
    counts = storm.counts()
    states = sum(counts[name] for name in ("delivered", "skipped", "suppressed", "erased", "dead", "pending"))
    if counts["accepted"] != states or counts["pending"] or counts["dead"]:
        yield f"the counts: {counts}"
    if wrong := storm.recount()["wrong"]:
        yield f"the recount: {wrong}"


def _sent_once(storm: Storm, records: list[dict[str, Any]]) -> Found:
    """A record comes twice only where a whole request was sent again, byte for byte."""
    bodies: dict[str, Counter[str]] = {}
    for one in records:
        uuid = one["context"]["custom_context"]["uuid"]
        bodies.setdefault(uuid, Counter())[json.dumps(one, sort_keys=True)] += 1
    yield from (f"one uuid, two records: {list(found)}" for found in bodies.values() if len(found) > 1)
    posts = Counter(one["sha256"] for one in storm.wire() if one["method"] == "POST" and one["records"])
    size = {one["sha256"]: one["records"] for one in storm.wire()}
    explained = sum((times - 1) * size[sha] for sha, times in posts.items())
    again = sum(times - 1 for found in bodies.values() for times in found.values())
    if again > explained:
        yield f"{again} records came again, {explained} of them in requests that were sent again"


def _sets(kind: str, held: dict[str, Any], wanted: set[str]) -> Found:
    if held.keys() != wanted:
        yield f"{kind}s: Miso lacks {sorted(wanted - held.keys())}, has {sorted(held.keys() - wanted)} too many"


def _compared(kind: str, held: dict[str, Any], fresh: dict[str, Any]) -> Found:
    for key in sorted(held.keys() & fresh.keys()):
        mine, theirs = held[key], fresh[key]
        if mine != theirs:
            fields = {name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name)}
            yield f"{kind} {key}: " + ", ".join(
                f"{f} is {mine.get(f)!r}, not {theirs.get(f)!r}" for f in sorted(fields)
            )


def _orders(storm: Storm, records: list[dict[str, Any]]) -> Found:
    """Each unit that was bought in a checkout once, each unit that came back in a refund once."""
    bought, back = _told(records, "checkout"), _told(records, "refund")
    counted = {str(one.id) for one in counted_orders(storm.shop)}
    for order in storm.shop.orders:
        key = str(order.id)
        checkouts, refunds = bought.pop(key, []), back.pop(key, [])
        if order.test or not _may_be_known(storm, order):
            if checkouts or refunds:
                yield f"order {key}, which must not count: {checkouts}, {refunds}"
            continue
        owed = key in counted and order.customer not in storm.forgotten
        most: Counter[str] = Counter()
        for line in order.lines:
            most[str(line.variant)] += line.quantity
        least = Counter(dict(units(storm.shop, order))) if owed else Counter[str]()
        yield from _between(f"order {key} bought", _units(checkouts), least, most)
        yield from _refunds(storm, order, refunds, owed=owed)
        if len(checkouts) > len(order.lines) or (owed and least and not checkouts):
            yield f"order {key} has {len(checkouts)} checkouts"
    if bought or back:
        yield f"of no order: {bought}, {back}"


def _may_be_known(storm: Storm, order: Order) -> bool:
    """Of the last 60 days when the app came, or changed since."""
    since = storm.installed_at
    return order.created_at >= since - SIXTY_DAYS or order.updated_at >= since


def _refunds(storm: Storm, order: Order, told: list[dict[str, Any]], *, owed: bool) -> Found:
    """One refund for the units of a line in a refund, and one for what a cancellation left of it."""
    least, most = Counter[str](), Counter[str]()
    done: Counter[int] = Counter()
    lines = {line.id: line for line in order.lines}
    parts = [(refund.created_at, part.line, part.quantity) for refund in order.refunds for part in refund.lines]
    if order.cancelled_at is not None:
        parts += [(order.cancelled_at, line.id, line.quantity) for line in order.lines]
    for at, number, quantity in parts:
        line = lines[number]
        count = min(quantity, line.quantity - done[number])
        done[number] += max(0, count)
        if count < 1 or line.variant is None:
            continue
        most[f"{line.variant} at {at}"] += 1
        if owed and storm.shop.variant(line.variant) is not None:
            least[f"{line.variant} at {at}"] += 1
    found = Counter(f"{one['product_ids'][0]} at {_ms(one['timestamp'])}" for one in told)
    yield from _between(f"order {order.id} refunded", found, least, most)


def _between(what: str, found: Counter[str], least: Counter[str], most: Counter[str]) -> Found:
    if found - most or least - found:
        yield f"{what} {dict(found)}; at least {dict(least)}, at most {dict(most)}"


def _told(records: list[dict[str, Any]], kind: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for one in records:
        if one["type"] == kind:
            found.setdefault(one["context"]["custom_context"]["order_id"], []).append(one)
    return found


def _units(checkouts: list[dict[str, Any]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for one in checkouts:
        for variant, count in zip(one["product_ids"], one["quantities"], strict=True):
            found[variant] += count
    return found


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def _clicks(storm: Storm, records: list[dict[str, Any]]) -> Found:
    """Each event of the pixel that was taken is one interaction, if its product was always on sale.

    One whose variant is gone by the time that the product is read names nothing that is known.
    """
    found: Counter[str] = Counter(
        str(one["context"]["custom_context"].get("event_id"))
        for one in records
        if one["type"] not in ("checkout", "refund", "subscribe")
    )
    yield from (f"click {key} came {count} times" for key, count in found.items() if count > 1)
    ever = {str(one) for one in storm.hidden}
    on_sale = variants_on_sale(storm.shop)
    for shopper in storm.shoppers:
        if shopper.customer in storm.forgotten:
            continue
        for event, (name, status) in zip(shopper.sent, shopper.heard, strict=True):
            data = event["data"] or {}
            told = name in ("product_viewed", "product_added_to_cart") and status == 204
            known = data.get("variant") in on_sale and data["product"] not in ever
            if told and known and event["id"] not in found:
                yield f"{name} of {data} by {shopper.customer} is not at Miso ({event['id']})"


class Fresh:
    """What a connector that knows nothing makes of the shop as it is now."""

    def __init__(self, storm: Storm) -> None:
        self._shop, url = storm.shop, storm.shopify.url
        self._config = ShopifyConfig.model_validate(
            {"client_id": "sandbox-client", "client_secret": "sandbox-secret", "api_url": f"{url}/{{shop}}"}
        )
        self._now: Callable[[], int] = storm.clock.now

    async def read(self) -> dict[str, dict[str, Any]]:
        connector = Shopify(self._config)
        connector.http, connector.budget, connector.state = Http(), Unmetered(), MemoryState()
        connector.link.now = lambda: self._now() / 1000
        token = self._shop.tokens.mint(self._shop.scopes, "sandbox-secret", None).token
        await connector.link.remember(TOKENS, Tokens(token, self._shop.domain, self._now() / 1000))
        await connector.link.remember(SCOPES, list(self._shop.scopes))
        try:
            products, users = [], []
            for one in list(self._shop.products):
                products.append(await connector.reader.product(str(one.id)))
            async for found in connector.reader.listed(queries.CHANGED_CUSTOMERS, "customers", EVER):
                users += [nodes.customer(node, shop=self._shop.domain) for node in found]
        finally:
            await connector.http.close()
        return {"products": _made(connector, products, "product_id"), "users": _made(connector, users, "user_id")}


def _made(connector: Shopify, events: list[Event], key: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for event in events:
        for output in connector.translate(event):
            records = output.records if isinstance(output, Group) else ()
            records = (output.part,) if isinstance(output, Merge) else records
            for record in records:
                found = msgspec.json.decode(encode(record))
                made[found[key]] = found
    return made
