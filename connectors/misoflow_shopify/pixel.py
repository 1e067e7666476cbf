"""What a storefront's pixel sends: who may, what is kept, and the event that it becomes.

Anybody can send here, as the key stands in the page. So nothing is believed that is not needed, and all that is kept is
on a list. The pixel's own side is deploy/shopify/extensions/miso-pixel.
https://shopify.dev/docs/api/web-pixels-api/standard-events
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from misoflow import Event, Reject, Request, Unauthorized, Unwanted, privacy, values

from misoflow_shopify.config import ShopifyConfig
from misoflow_shopify.domains import shop_named, shop_of_key
from misoflow_shopify.fields import Json, count_of, id_of, mapping, text_of, time_of, token_of

CHANNEL = "pixel"
WIRE_VERSION = 1
MOST_ID = 128
MOST_ITEMS = 50
STEP = "checkout_step"
NAMES = {
    **{
        name: name
        for name in (
            *("page_viewed", "product_viewed", "collection_viewed", "search_submitted", "cart_viewed"),
            *("product_added_to_cart", "product_removed_from_cart", "checkout_started", "checkout_completed"),
        )
    },
    **dict.fromkeys(
        (
            *("checkout_contact_info_submitted", "checkout_address_info_submitted"),
            *("checkout_shipping_info_submitted", "payment_info_submitted"),
        ),
        STEP,
    ),
    "miso:impression": "miso_impression",
    "miso:click": "miso_click",
}
"""Name of the pixel's event -> what our topic of it ends with."""
TOPICS = tuple(f"pixel_{name}" for name in dict.fromkeys(NAMES.values()))
# Cubot makes telephones
BOTS = re.compile(
    r"(?<!cu)bot\b|crawl|spider|slurp|headless|lighthouse|pingdom|monitor|preview|facebookexternalhit|python-|curl/"
    r"|wget|httpclient|scrapy|phantomjs|puppeteer|playwright",
    re.IGNORECASE,
)


def check(request: Request, config: ShopifyConfig) -> None:
    """Unauthorized for a key that is none of ours, Reject for what is no event, Unwanted for what must not be kept."""
    shop = shop_of(request, config)
    if not shop:
        raise Unauthorized("the pixel's key is not one of this app's")
    event, consent = _event(request)
    if consent.get("analytics") is not True:
        raise Unwanted("no consent to analytics")
    agent = event.get("userAgent")
    if type(agent) is str and BOTS.search(agent[:1000]):
        raise Unwanted("a bot")
    if text_of(event.get("name")) not in NAMES:
        raise Unwanted("an event of no use")


def shop_of(request: Request, config: ShopifyConfig) -> str:
    """The shop whose public key ends the path; "" where none does, or where it is not the only one taken here."""
    shop = shop_of_key(config, _key(request)) or ""
    return shop if config.shop in (None, shop) else ""


def _key(request: Request) -> str:
    return request.path.rpartition("/")[2]


def _event(request: Request) -> tuple[Json, Json]:
    """The event and the consent of one request; Reject where the form is not the pixel's."""
    body = request.json()
    if type(body) is not dict or body.get("v") != WIRE_VERSION or type(body.get("event")) is not dict:
        raise Reject("this is no event of the pixel")
    event = body["event"]
    if _name(event.get("id")) is None:
        raise Reject("the event has no id", "$.event.id")
    if _name(event.get("clientId")) is None:
        raise Reject("the event names no visitor", "$.event.clientId")
    return event, mapping(body.get("consent"))


def _name(value: Any) -> str | None:
    """A short printable text, or None."""
    good = type(value) is str and 0 < len(value) <= MOST_ID and value.isprintable() and not privacy.has_mail(value)
    return value.strip() or None if good else None


def events(request: Request) -> list[Event]:
    """The one event of a request that ``check`` let in."""
    event, _ = _event(request)
    name = NAMES.get(text_of(event.get("name")) or "")
    if name is None:
        raise Reject("the event's name is not one of the pixel's", "$.event.name")
    page = mapping(event.get("page"))
    data: Json = {
        "shop": shop_named(_key(request)),  # verified when it came; since then the secret may have changed
        "id": _name(event["id"]),
        "name": text_of(event["name"]),
        "client": _name(event["clientId"]),
        "at": time_of(event.get("timestamp")),
        "customer": id_of(event.get("customer")),
        "page": {key: text_of(page.get(key), privacy.MAX_URL) for key in ("url", "referrer", "title")},
        "locale": text_of(event.get("locale"), 20),
        "agent": text_of(event.get("userAgent")),
        "data": _data(name, event.get("data")),
    }
    return [Event(_event_id(data["id"] or ""), f"pixel_{name}", data)]


def _event_id(given: str) -> str:
    """As sent; ids that could hold anything are hashed, because event ids are shown."""
    if re.fullmatch(r"[\w.-]+", given, re.ASCII):
        return f"pixel/{given}"
    return "pixel/" + hashlib.blake2b(given.encode("utf-8", "replace"), digest_size=16).hexdigest()


def _data(name: str, given: Any) -> Json | None:
    """What is kept of an event's own data; null stays null, as for a cart line that Shopify could not tell."""
    if type(given) is not dict:
        return None
    if name in ("product_viewed", "product_added_to_cart", "product_removed_from_cart"):
        return {**_item(given), "quantity": count_of(given.get("quantity"))}
    if name.startswith("checkout_") or name == "cart_viewed":
        return {**{key: token_of(given.get(key)) for key in ("cart", "checkout")}, "order": id_of(given.get("order"))}
    kept: Json = {"items": [_item(item) for item in _items(given.get("items"))]}
    if name == "collection_viewed":
        kept["collection"] = id_of(given.get("collection"))
    if name == "search_submitted":
        kept["query"] = text_of(given.get("query"))
    if name.startswith("miso_"):
        miso_id = given.get("miso_id")
        kept["miso_id"] = miso_id if type(miso_id) is str and values.UUID.match(miso_id) else None
    return kept


def _items(given: Any) -> list[Json]:
    """The first 50 products of a list: that is as many as the pixel sends."""
    return [item for item in given[:MOST_ITEMS] if type(item) is dict] if type(given) is list else []


def _item(given: Json) -> Json:
    return {"variant": id_of(given.get("variant")), "product": id_of(given.get("product"))}
