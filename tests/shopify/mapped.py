"""What the tests of Shopify's mapping share: deliveries as Shopify signs them, events of the pixel, outputs as JSON."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from misoflow import Absent, Alias, Disconnect, Erase, Event, Fetch, Group, LateId, Pull, Request, Skip
from misoflow.effects import Known, Latest, Merge, Once
from misoflow.encode import encode
from misoflow_shopify import Shopify
from misoflow_shopify.config import ShopifyConfig
from misoflow_shopify.domains import pixel_key

SECRET, OLD_SECRET = "a-client-secret-of-the-tests", "an-old-client-secret-of-the-tests"
SHOP = "demo-shop.myshopify.com"
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
CLIENT = "5d2c0a4e-1111-4222-8333-0123456789ab"


def shopify(**settings: Any) -> Shopify:
    return Shopify(ShopifyConfig(**{"client_id": "app", "client_secret": (SECRET,), **settings}))


def signed(body: bytes, secret: str = SECRET) -> str:
    """As https://shopify.dev/docs/apps/build/webhooks says it; written apart from what is tested."""
    return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()


def webhook(topic: str, body: Any, *, webhook_id: str = "w-1", family: str = "x-shopify-", **headers: str) -> Request:
    """A signed webhook of either family of headers; ``headers`` without the family's prefix."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    own = {
        "topic": topic,
        "shop-domain": SHOP,
        "webhook-id": webhook_id,
        "event-id": "e-1",
        "api-version": "2026-10",
        "triggered-at": "2026-11-20T11:59:58.123456789Z",
        "hmac-sha256": signed(raw),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    named = {family + name: value for name, value in own.items()}
    return Request(raw, {"content-type": "application/json", **named}, received_at=NOW)


def wire(name: str, data: Any = None, /, **event: Any) -> dict[str, Any]:
    """A body of the pixel; ``event`` changes the event's fields."""
    own = {
        "id": "sh-1",
        "name": name,
        "clientId": CLIENT,
        "seq": 1,
        "timestamp": "2026-11-20T11:59:30.500Z",
        "customer": None,
        "page": {"url": "https://shop.example/", "referrer": "", "title": "Demo"},
        "locale": "en-US",
        "userAgent": "Mozilla/5.0 (X11; Linux x86_64)",
        "data": {} if data is None else data,
        **event,
    }
    consent = {"analytics": True, "marketing": False, "preferences": False, "sale": False}
    return {"v": 1, "consent": consent, "event": own}


def clicked(body: Any, connector: Shopify | None = None, key: str | None = None) -> Request:
    """A request of the pixel."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    key = pixel_key((connector or shopify()).config, SHOP) if key is None else key
    return Request(raw, {"content-type": "text/plain"}, "pixel", f"pixel/{key}", received_at=NOW)


def plain(output: Any) -> dict[str, Any]:
    """One output as JSON: a record as Miso would get it, an effect with its record inside; the encoder checks each."""
    match output:
        case Skip(reason):
            return {"skip": reason}
        case Once(key, record, _, also):
            return {"once": key, "also": list(also), "record": plain(record)}
        case Latest(key, version, record):
            return {"latest": key, "version": version, "record": plain(record)}
        case Merge(key, source, part, version, remove):
            return {"merge": key, "source": source, "version": version, "remove": list(remove), "part": plain(part)}
        case Known(record, fetch):
            return {"known": plain(record), "fetch": [fetch.kind, fetch.id]}
        case Group(name, version, records):
            return {"group": name, "version": version, "records": [plain(record) for record in records]}
        case Absent(prefix, version):
            return {"absent": prefix, "version": version}
        case Fetch(kind, ref, after):
            return {"fetch": [kind, ref], "after": after}
        case Pull(stream, after):
            return {"pull": stream, "after": after}
        case Alias(key, anonymous_id):
            return {"alias": key, "is": anonymous_id}
        case Disconnect(reason, at):
            return {"disconnect": reason, "at": str(at)}
        case Erase(at):
            return {"erase": str(at)}
    return unbound(output)


def unbound(record: Any) -> dict[str, Any]:
    """A record as it goes out when nothing is bound to its late texts: each is its default."""
    late = {}
    for name in ("anonymous_id", "category"):
        value = getattr(record, name, None)
        if isinstance(value, LateId):
            late[name] = str(value) or None
        elif isinstance(value, list) and any(isinstance(one, LateId) for one in value):
            late[name] = [str(one) for one in value]
    made: dict[str, Any] = msgspec.json.decode(encode(msgspec.structs.replace(record, **late)))
    return made


def outputs(connector: Shopify, event: Event) -> list[dict[str, Any]]:
    return [plain(output) for output in connector.translate(event)]


def split(request: Request, connector: Shopify | None = None) -> list[Event]:
    """The events of a delivery, stamped as the engine does."""
    found = (connector or shopify()).events(request)
    return [Event(event.id, event.topic, event.data, event.received_at or request.received_at) for event in found]


def translate(request: Request, **settings: Any) -> list[dict[str, Any]]:
    """All outputs of all events of a delivery, which is verified first."""
    connector = shopify(**settings)
    connector.verify(request)
    return [output for event in split(request, connector) for output in outputs(connector, event)]


def visit(name: str, data: Any = None, *, settings: dict[str, Any] | None = None, **event: Any) -> list[dict[str, Any]]:
    """What becomes of an event of the pixel."""
    return translate(clicked(wire(name, data, **event)), **(settings or {}))


def read(topic: str, data: dict[str, Any], **settings: Any) -> list[dict[str, Any]]:
    """What becomes of an object that was read."""
    return outputs(shopify(**settings), Event(f"{topic}/1", topic, data, NOW))


def variant(variant_id: str = "11", **own: Any) -> dict[str, Any]:
    """A variant in its neutral shape."""
    return {
        "id": variant_id,
        "title": "Default Title",
        "sku": None,
        "barcode": None,
        "price": "10.00",
        "compare_at_price": None,
        "available": True,
        "image": None,
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-02T00:00:00Z",
        "cost": None,
        "inventory_item": "91",
        "options": [],
        **own,
    }


def product(*variants: dict[str, Any], **own: Any) -> dict[str, Any]:
    """A product in its neutral shape, on sale."""
    return {
        "shop": SHOP,
        "id": "1",
        "read_at": 1_790_000_000_000,
        "gone": False,
        "title": "Lamp",
        "html": "<p>Warm <b>light</b></p>",
        "vendor": "Acme",
        "product_type": "Lamps",
        "handle": "lamp",
        "status": "ACTIVE",
        "published": True,
        "published_at": "2026-01-03T00:00:00Z",
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T12:00:00Z",
        "tags": ["new"],
        "url": "https://shop.example/products/lamp",
        "domain": "shop.example",
        "image": "https://cdn.example/lamp.jpg",
        "category": "Home & Garden > Lighting > Lamps",
        "gift_card": False,
        "collections": [{"id": "5", "handle": "light", "title": "Light"}],
        "metafields": [],
        "variants": list(variants) or [variant()],
        **own,
    }


def order(**own: Any) -> dict[str, Any]:
    """An order in its neutral shape: two of variant 11 and one of 21."""
    return {
        "shop": SHOP,
        "id": "7001",
        "created_at": "2026-11-20T10:00:00Z",
        "processed_at": "2026-11-20T10:00:01Z",
        "updated_at": "2026-11-20T10:00:02Z",
        "test": False,
        "cancelled_at": None,
        "source": "web",
        "currency": "EUR",
        "total": "45.50",
        "customer": "900",
        "cart_token": "cart-token-of-shopper-2",
        "checkout_token": "c0ffee",
        "anonymous": None,
        "locale": "de-DE",
        "lines": [line("101", "11", "1", 2, "20.00"), line("102", "21", "2", 1, "20.50")],
        "refunds": [],
        **own,
    }


def line(line_id: str, variant_id: str | None, product_id: str | None, quantity: int, total: str) -> dict[str, Any]:
    return {
        "id": line_id,
        "variant": variant_id,
        "product": product_id,
        "quantity": quantity,
        "total": total,
        "gift_card": False,
        "plan": False,
    }


def ago(**back: float) -> str:
    """A time that long before the tests' now."""
    return (NOW - timedelta(**back)).isoformat().replace("+00:00", "Z")
