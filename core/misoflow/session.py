"""The demo's shop session: what a Segment source sends, what should come of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

LAMP = {"product_id": "lamp-01", "name": "Desk lamp", "price": 49.0, "category": "Lamps"}
BULB = {"product_id": "bulb-60", "name": "Bulb, 60 W", "price": 4.5, "category": "Lamps", "quantity": 2}
VISITOR, SHOPPER, LEAVER = "visitor-71", "shopper-4", "leaver-9"


@dataclass(frozen=True, slots=True)
class Step:
    """One delivery. ``state`` is how its event should end ("duplicate": as no event of its own);
    ``records`` are the types of what Miso should get of it."""

    what: str
    body: dict[str, Any]
    state: str = "delivered"
    records: tuple[str, ...] = ()


def visit() -> Iterator[Step]:
    """A visitor looks around, buys, registers and sends something back; another customer looks once."""
    added = _track("Product Added", 5, {**LAMP, "quantity": 1, "cart_id": "cart-1"})
    order = {"order_id": "order-1", "currency": "USD", "products": [{**LAMP, "quantity": 1}, BULB]}
    yield Step("opens the shop", _page("Home", "/", 1), records=("home_page_view",))
    yield Step("reads about the shop", _page("About us", "/about", 2), "skipped")
    yield Step("searches", _track("Products Searched", 3, {"query": "desk lamp"}), records=("search",))
    listed = {"list_id": "lamps", "category": "Lamps", "products": [LAMP, BULB]}
    yield Step(
        "looks at a list", _track("Product List Viewed", 3, listed), records=("category_page_view", "impression")
    )
    yield Step("looks at a lamp", _track("Product Viewed", 4, LAMP), records=("product_detail_page_view",))
    yield Step("puts it into the cart", added, records=("add_to_cart",))
    yield Step("the platform repeats itself", added, "duplicate")
    yield Step("a tag sends nonsense", _track("Product Viewed", 6, {"product_id": {"oops": True}}), "dead")
    yield Step("registers", _identify(7), records=("custom", "user"))
    bought = _known(_track("Order Completed", 8, {**order, "total": 58.0}))
    yield Step("orders", bought, records=("checkout",))
    back = {"order_id": "order-1", "products": [{**BULB}]}
    yield Step("sends the bulbs back", _known(_track("Order Refunded", 9, back)), records=("refund",))
    yield Step(
        "another customer looks at a lamp",
        _track("Product Viewed", 10, LAMP) | {"userId": LEAVER, "anonymousId": "visitor-72"},
        records=("product_detail_page_view",),
    )


def departure() -> Iterator[Step]:
    """The other customer asks to be forgotten."""
    yield Step("that customer asks to be forgotten", _call("delete", 11) | {"userId": LEAVER}, records=("forget_user",))


def _call(kind: str, minute: int) -> dict[str, Any]:
    moment = datetime.now(UTC) - timedelta(minutes=30 - minute)
    text = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"type": kind, "messageId": f"demo-{kind}-{moment:%H%M%S%f}", "timestamp": text}


def _seen(kind: str, minute: int) -> dict[str, Any]:
    return _call(kind, minute) | {"anonymousId": VISITOR, "context": {"locale": "en-US"}}


def _track(event: str, minute: int, properties: dict[str, Any]) -> dict[str, Any]:
    return _seen("track", minute) | {"event": event, "properties": properties}


def _page(name: str, path: str, minute: int) -> dict[str, Any]:
    properties = {"name": name, "path": path, "url": f"https://shop.example{path}", "title": name}
    return _seen("page", minute) | {"name": name, "properties": properties}


def _identify(minute: int) -> dict[str, Any]:
    traits = {"email": "sam@example.com", "plan": "gold", "createdAt": "2026-01-05T10:00:00Z"}
    return _known(_seen("identify", minute) | {"traits": traits})


def _known(call: dict[str, Any]) -> dict[str, Any]:
    return call | {"userId": SHOPPER}
