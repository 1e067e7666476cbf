"""Segment events of a shop, about 900 bytes each, as its servers send them."""

from __future__ import annotations

import random
from typing import Any

import orjson

CONTEXT: dict[str, Any] = {
    "ip": "203.0.113.77",
    "userAgent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36",
    "locale": "en-GB",
    "timezone": "Europe/London",
    "library": {"name": "analytics.js", "version": "next-1.84.3"},
    "campaign": {"name": "autumn", "source": "newsletter", "medium": "email"},
}


def event(number: int, rng: random.Random, run: str) -> dict[str, Any]:
    """One track call that becomes exactly one interaction; ``number`` and ``run`` make it unique."""
    name, properties = _what(number, rng, run)
    path = f"/products/{rng.randrange(5000)}"
    page = {
        "path": path,
        "title": "A product of the shop",
        "url": f"https://shop.example{path}?utm_source=newsletter",
        "referrer": "https://shop.example/",
    }
    second = f"{number % 60:02d}.{number % 1000:03d}Z"
    return {
        "type": "track",
        "event": name,
        "messageId": f"ajs-next-{run}-{number:08d}",
        "anonymousId": f"{rng.getrandbits(64):016x}-visitor",
        "properties": properties,
        "context": {**CONTEXT, "page": page},
        "integrations": {},
        "timestamp": f"2026-11-20T10:00:{second}",
        "originalTimestamp": f"2026-11-20T10:00:{second}",
        "sentAt": f"2026-11-20T10:01:{second}",
        "receivedAt": f"2026-11-20T10:01:{second}",
    }


def _what(number: int, rng: random.Random, run: str) -> tuple[str, dict[str, Any]]:
    dice = rng.random()
    if dice < 0.10:
        return "Products Searched", {"query": f"red shirt {rng.randrange(999)}"}
    if dice < 0.18:
        products = [_product(rng) for _ in range(2)]
        return "Order Completed", {"order_id": f"o-{run}-{number}", "total": 59.85, "products": products}
    return ("Product Viewed" if dice < 0.75 else "Product Added"), _product(rng)


def _product(rng: random.Random) -> dict[str, Any]:
    number = rng.randrange(5000)
    return {
        "product_id": f"sku-{number}",
        "name": f"Shirt number {number}",
        "price": 19.95,
        "quantity": 1 + number % 3,
        "currency": "EUR",
    }


def events(count: int, run: str, seed: int = 1) -> list[bytes]:
    """``count`` events, each as its JSON."""
    rng = random.Random(seed)
    return [orjson.dumps(event(number, rng, run)) for number in range(count)]
