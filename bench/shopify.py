"""Shopify's bulk files and mapping on one core, against the floor of only parsing each line.

``files``: a catalogue and a history of orders as a bulk operation gives them, the lines mixed among some thousands,
so that a child comes long before its parent. Ours splits the chunks into lines, spools them by root and gives whole
objects; the floor is ``orjson.loads`` of each line. ``mapping``: events to records that may be sent (``translate``,
``encode``); the floor is ``orjson.loads`` and ``orjson.dumps`` of the events' data. Rounds are interleaved, figures are
medians. ``python -m bench.shopify``.
"""

from __future__ import annotations

import argparse
import gc
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from misoflow.connector import Event, Request
from misoflow.effects import Effect, Group, Known, Latest, Once
from misoflow.encode import encode
from misoflow.records import Record, Record_
from misoflow_shopify import Shopify, nodes
from misoflow_shopify.config import ShopifyConfig
from misoflow_shopify.domains import pixel_key
from misoflow_shopify.jsonl import Lines, Spool

LINES_GOAL = 50_000
"""Lines a second from chunks to whole objects."""
LINES_RATIO = 0.2
"""Of the floor: each line is looked at twice and is on disk in between."""
EVENTS_GOAL = 20_000
"""Events a second that become records, of the mix of a shop."""
CHUNK = 65_536
MIX = 4096
SHOP = "bench.myshopify.com"
READ_AT = 1_793_000_000_000
RECEIVED = datetime(2026, 11, 20, 10, 2, tzinfo=UTC)
Json = dict[str, Any]
Whole = tuple[Json, list[Json]]
Work = Callable[[], None]


def product(number: int) -> Iterator[Json]:
    """A product with five variants and two collections."""
    key = f"gid://shopify/Product/{8_000_000 + number}"
    yield {
        "__typename": "Product",
        "id": key,
        "title": f"Lamp number {number}",
        "descriptionHtml": "<p>A lamp of <b>oak</b> and linen.</p><ul><li>E27</li><li>40 W</li></ul>" * 5,
        "vendor": "Acme",
        "productType": "Lamps",
        "handle": f"lamp-{number}",
        "status": "ACTIVE",
        "publishedAt": "2026-01-03T00:00:00Z",
        "createdAt": "2026-01-01T00:00:00Z",
        "updatedAt": "2026-11-01T12:00:00Z",
        "tags": ["new", "oak", "warm light"],
        "onlineStoreUrl": f"https://shop.example/products/lamp-{number}",
        "isGiftCard": False,
        "category": {"fullName": "Home & Garden > Lighting > Lamps"},
        "featuredMedia": {"preview": {"image": {"url": f"https://cdn.example/lamp-{number}.jpg"}}},
        "variantsCount": {"count": 5},
    }
    for collection in (number % 40, 40 + number % 7):
        own = {"__typename": "Collection", "id": f"gid://shopify/Collection/{collection}", "__parentId": key}
        yield {**own, "handle": f"c-{collection}", "title": f"Collection {collection}"}
    for size in range(5):
        yield {
            "__typename": "ProductVariant",
            "id": f"gid://shopify/ProductVariant/{40_000_000 + number * 5 + size}",
            "title": f"{size} / oak",
            "sku": f"LAMP-{number}-{size}",
            "barcode": None,
            "price": f"{20 + size}.90",
            "compareAtPrice": None,
            "availableForSale": size != 3,
            "createdAt": "2026-01-01T00:00:00Z",
            "updatedAt": "2026-11-01T12:00:00Z",
            "image": None,
            "selectedOptions": [{"name": "Size", "value": str(size)}, {"name": "Material", "value": "oak"}],
            "inventoryItem": {"id": f"gid://shopify/InventoryItem/{number * 5 + size}", "unitCost": {"amount": "9.10"}},
            "__parentId": key,
        }


def order(number: int) -> Iterator[Json]:
    """An order with two lines."""
    key = f"gid://shopify/Order/{5_000_000 + number}"
    yield {
        "__typename": "Order",
        "id": key,
        "createdAt": "2026-10-20T10:00:00Z",
        "processedAt": "2026-10-20T10:00:01Z",
        "updatedAt": "2026-10-21T10:00:02Z",
        "test": False,
        "cancelledAt": None,
        "sourceName": "web",
        "cartToken": f"Z2NwLXVzLWNlbnRyYWwxOjAx{number}",
        "checkoutToken": f"c0ffee{number}",
        "customerLocale": "en-US",
        "totalPriceSet": {"shopMoney": {"amount": "45.5", "currencyCode": "USD"}},
        "customer": {"id": f"gid://shopify/Customer/{number % 5000}"},
        "customAttributes": [],
        "subtotalLineItemsQuantity": 3,
        "refunds": [],
    }
    for line in (1, 2):
        variant = 40_000_000 + number * 7 % 100_000 + line
        yield {
            "__typename": "LineItem",
            "id": f"gid://shopify/LineItem/{number * 2 + line}",
            "quantity": line,
            "isGiftCard": False,
            "variant": {"id": f"gid://shopify/ProductVariant/{variant}"},
            "product": {"id": f"gid://shopify/Product/{variant // 5}"},
            "sellingPlan": None,
            "discountedTotalSet": {"shopMoney": {"amount": "20.5"}},
            "__parentId": key,
        }


def customer(number: int) -> Json:
    return {
        "__typename": "Customer",
        "id": f"gid://shopify/Customer/{number}",
        "createdAt": "2026-01-01T00:00:00Z",
        "updatedAt": "2026-11-01T12:00:00Z",
        "numberOfOrders": "4",
        "amountSpent": {"amount": "120.4"},
        "defaultAddress": {"countryCodeV2": "US", "provinceCode": "CA"},
    }


def click(number: int) -> bytes:
    """What the pixel posts of a visitor who looks at a product, or puts it into the cart."""
    name = "product_added_to_cart" if number % 5 == 0 else "product_viewed"
    event = {
        "id": f"sh-{number}",
        "name": name,
        "clientId": f"5d2c0a4e-1111-4222-8333-{number % 3000:012d}",
        "seq": number,
        "timestamp": "2026-11-20T10:01:59.500Z",
        "customer": None,
        "page": {"url": f"https://shop.example/products/lamp-{number}", "referrer": None, "title": "A lamp"},
        "locale": "en-US",
        "userAgent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)",
        "data": {"variant": str(40_000_000 + number), "product": str(8_000_000 + number // 5), "quantity": 1},
    }
    consent = {"analytics": True, "marketing": False, "preferences": False, "sale": False}
    return orjson.dumps({"v": 1, "consent": consent, "event": event})


def mixed(made: Iterator[Json]) -> Iterator[bytes]:
    """The lines in no order, some thousands at a time."""
    rng, held = random.Random(5), []
    for node in made:
        held.append(orjson.dumps(node))
        if len(held) > MIX:
            at = rng.randrange(len(held))
            held[at], held[-1] = held[-1], held[at]
            yield held.pop()
    rng.shuffle(held)
    yield from held


def written(folder: Path, name: str, lines: int) -> Path:
    """A file of about so many lines."""
    make, size = (product, 8) if name == "catalogue" else (order, 3)
    path = folder / f"{name}.jsonl"
    with path.open("wb") as file:
        for line in mixed(node for number in range(lines // size) for node in make(number)):
            file.write(line + b"\n")
    return path


def chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def grouped(path: Path) -> Iterator[Whole]:
    """The whole objects of a file, as the connector reads one."""
    lines, spool = Lines(), Spool(path.stat().st_size)
    try:
        for chunk in chunks(path):
            spool.add(lines.feed(chunk))
        spool.add(lines.last())
        yield from spool.groups()
    finally:
        spool.close()


def file_works(path: Path) -> dict[str, Work]:
    def floor() -> None:
        with path.open("rb") as file:
            for line in file:
                orjson.loads(line)

    def ours() -> None:
        for _ in grouped(path):
            pass

    return {"floor": floor, "ours": ours}


def record_of(output: Record | Effect) -> Iterator[Record]:
    """The records of an output."""
    match output:
        case Group(records=records):
            yield from records
        case Once(record=record) | Known(record=record) | Latest(record=record):
            yield record
        case _ if isinstance(output, Record_):
            yield output


def events_of(connector: Shopify, name: str, given: Any) -> list[Event]:
    """Of one object as it was read, or of one delivery."""
    match name:
        case "products":
            root, children = given
            variants, collections = (
                [one for one in children if one["__typename"] == kind] for kind in ("ProductVariant", "Collection")
            )
            settings: Json = {"shop": SHOP, "domain": "shop.example", "read_at": READ_AT, "config": connector.config}
            found = [nodes.product(root, variants, collections, [], **settings)]
        case "orders":
            root, lines = given
            found = nodes.order(root, lines, [], shop=SHOP)
        case "customers":
            found = [nodes.customer(given, shop=SHOP)]
        case _:
            found = list(connector.events(given))
    return [Event(event.id, event.topic, event.data, RECEIVED) for event in found]


def mapping_works(connector: Shopify, events: list[Event]) -> dict[str, Work]:
    """``translate`` and ``encode`` of events, and the floor."""
    raw = [orjson.dumps(event.data) for event in events]

    def floor() -> None:
        for one in raw:
            orjson.dumps(orjson.loads(one))

    def ours() -> None:
        for event in events:
            for output in connector.translate(event):
                for record in record_of(output):
                    encode(record, late=True)

    return {"floor": floor, "ours": ours}


def seconds(work: Work) -> float:
    """Of processor time."""
    gc.collect()
    started = time.process_time()
    work()
    return time.process_time() - started


def compared(works: dict[str, Work], rounds: int) -> tuple[float, float]:
    """Our median seconds, and the median ratio of the floor's to ours."""
    found = []
    for number in range(rounds):
        names = list(works) if number % 2 == 0 else list(reversed(works))
        took = {name: seconds(works[name]) for name in names}
        found.append(took)
    ratio = statistics.median(one["floor"] / one["ours"] for one in found)
    return statistics.median(one["ours"] for one in found), ratio


def files(folder: Path, lines: int, rounds: int) -> bool:
    """Whether both files are read fast enough."""
    good = True
    for name in ("catalogue", "orders"):
        path = written(folder, name, lines)
        count = sum(1 for _ in path.open("rb"))
        took, ratio = compared(file_works(path), rounds)
        good &= count / took >= LINES_GOAL and ratio >= LINES_RATIO
        print(
            f"  {name:10} {count:,} lines of {path.stat().st_size / count:,.0f} bytes: {count / took:10,.0f} lines/s, "
            f"{ratio:.2f} of orjson.loads (goals {LINES_GOAL:,}, {LINES_RATIO})"
        )
    return good


def mapping(count: int, rounds: int) -> bool:
    """Whether a shop's events become records fast enough: a product for ten clicks, five orders and a customer."""
    connector = Shopify(ShopifyConfig.model_validate({"client_id": "bench", "client_secret": "bench"}))
    key = f"pixel/{pixel_key(connector.config, SHOP)}"
    some = range(count // 10)
    objects: dict[str, list[Any]] = {
        "products": [(first, rest) for first, *rest in map(product, some)],
        "orders": [(first, rest) for first, *rest in map(order, range(count // 2))],
        "customers": [customer(number) for number in some],
        "pixel": [Request(click(n), {}, "pixel", key, received_at=RECEIVED) for n in range(count)],
    }
    total, events = 0.0, 0
    for name, given in objects.items():
        found = [event for one in given for event in events_of(connector, name, one)]
        took, ratio = compared(mapping_works(connector, found), rounds)
        total, events = total + took, events + len(found)
        print(f"  {name:10} {len(found) / took:10,.0f} events/s, {ratio:.2f} of orjson's loads and dumps")
    print(f"  all        {events / total:10,.0f} events/s (goal {EVENTS_GOAL:,})")
    return events / total >= EVENTS_GOAL


def main() -> int:
    """Exit code 0 when all goals are reached."""
    parser = argparse.ArgumentParser(prog="python -m bench.shopify", description=__doc__)
    parser.add_argument("--lines", type=int, default=200_000)
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print("bulk files, from chunks to whole objects")
        good = files(Path(folder), options.lines, options.rounds)
    print("mapping, from events to records that may be sent")
    return 0 if mapping(options.events, options.rounds) and good else 1


if __name__ == "__main__":
    sys.exit(main())
