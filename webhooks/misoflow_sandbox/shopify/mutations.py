"""What an app can change: its web pixel, its subscriptions, its bulk operations.

https://shopify.dev/docs/api/admin-graphql/2026-10/mutations
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import count
from typing import Any
from urllib.parse import urlsplit

from misoflow_sandbox.shopify.asking import Asked, Fields, gid, may, number_of
from misoflow_sandbox.shopify.fields import FIELDS
from misoflow_sandbox.shopify.hooks import TOPIC_SCOPES
from misoflow_sandbox.shopify.shop import Pixel, Subscription

Arguments = Mapping[str, Any]
WORDS = ("app", "bulk_operations", "carts", "checkouts", "collections", "customers", "inventory_levels", "orders")
_numbers = count(1_000_001)


def topic_of(name: str) -> str:
    """``products/update`` of ``PRODUCTS_UPDATE``."""
    first = next((word for word in WORDS if name.lower().startswith(f"{word}_")), name.lower().partition("_")[0])
    return f"{first}/{name.lower()[len(first) + 1 :]}"


def create_pixel(asked: Asked, thing: Any, arguments: Arguments) -> Any:
    """One of an app and shop: a second is TAKEN."""
    settings, errors = _settings(asked, arguments["webPixel"].get("settings"))
    if not errors and asked.shop.pixel is not None:
        errors = [_error("TAKEN", "Web pixel is already set.", ["webPixel"])]
    if not errors and settings is not None:
        asked.shop.pixel = Pixel(next(_numbers), settings)
    return {"userErrors": errors, "webPixel": None if errors else asked.shop.pixel}


def update_pixel(asked: Asked, thing: Any, arguments: Arguments) -> Any:
    settings, errors = _settings(asked, arguments["webPixel"].get("settings"))
    pixel = asked.shop.pixel
    if pixel is None or arguments["id"] != gid("WebPixel", pixel.id):
        errors, pixel = [_error("NOT_FOUND", "Web pixel not found.", ["id"])], None
    if not errors and settings is not None and pixel is not None:
        pixel.settings = settings
    return {"userErrors": errors, "webPixel": None if errors else pixel}


def delete_pixel(asked: Asked, thing: Any, arguments: Arguments) -> Any:
    pixel = asked.shop.pixel
    if pixel is None or arguments["id"] != gid("WebPixel", pixel.id):
        return {"userErrors": [_error("NOT_FOUND", "Web pixel not found.", ["id"])], "deletedWebPixelId": None}
    asked.shop.pixel = None
    return {"userErrors": [], "deletedWebPixelId": arguments["id"]}


def _settings(asked: Asked, given: Any) -> tuple[dict[str, str] | None, list[dict[str, Any]]]:
    """Settings as the extension's TOML declares them: all of them, and no others."""
    field = ["webPixel", "settings"]
    try:
        settings = json.loads(given) if isinstance(given, str) else given
    except ValueError:
        return None, [_error("INVALID_CONFIGURATION_JSON", "Settings must be valid JSON", field)]
    if not isinstance(settings, dict):
        return None, [_error("INVALID_CONFIGURATION_JSON", "Settings must be a JSON object", field)]
    declared = set(asked.app.pixel_fields)
    wrong = sorted(declared ^ set(settings)) or [one for one in sorted(declared) if not settings[one]]
    if wrong:
        return None, [_error("INVALID_SETTINGS", f"Settings are invalid: {', '.join(wrong)}", field)]
    return {name: str(value) for name, value in settings.items()}, []


def subscribe(asked: Asked, thing: Any, arguments: Arguments) -> Any:
    """Of this shop only; compliance topics are in no way to be had here."""
    topic, given = topic_of(arguments["topic"]), arguments["webhookSubscription"]
    uri = given.get("uri") or ""
    scope = TOPIC_SCOPES.get(topic.partition("/")[0])
    error = None
    if scope and not may(asked, scope):
        error = f"You do not have permission to create or update webhooks with {topic} topic."
    elif urlsplit(uri).scheme not in ("https", "http", "arn", "pubsub"):
        error = "Address is invalid"
    elif any(one.topic == topic and one.uri == uri for one in asked.shop.subscriptions.values()):
        error = "Address for this topic has already been taken"
    if error:
        errors = [{"field": ["webhookSubscription", "callbackUrl"], "message": error}]
        return {"userErrors": errors, "webhookSubscription": None}
    made = Subscription(
        id=next(_numbers),
        topic=topic,
        uri=uri,
        api_version=asked.version,
        created_at=asked.shop.clock.now(),
        include_fields=list(given.get("includeFields") or []),
        filter=given.get("filter"),
    )
    asked.shop.subscriptions[made.id] = made
    return {"userErrors": [], "webhookSubscription": made}


def resubscribe(asked: Asked, thing: Any, arguments: Arguments) -> Any:
    found = asked.shop.subscriptions.get(number_of(arguments["id"], "WebhookSubscription"))
    if found is None:
        return {"userErrors": [_missing()], "webhookSubscription": None}
    given = arguments["webhookSubscription"]
    found.uri, found.api_version = given.get("uri") or found.uri, asked.version
    found.include_fields = list(given.get("includeFields") or [])
    return {"userErrors": [], "webhookSubscription": found}


def unsubscribe(asked: Asked, thing: Any, arguments: Arguments) -> Any:
    found = asked.shop.subscriptions.pop(number_of(arguments["id"], "WebhookSubscription"), None)
    if found is None:
        return {"userErrors": [_missing()], "deletedWebhookSubscriptionId": None}
    return {"userErrors": [], "deletedWebhookSubscriptionId": arguments["id"]}


def _missing() -> dict[str, Any]:
    return {"field": ["id"], "message": "Webhook subscription does not exist"}


def _error(code: str, message: str, field: list[str]) -> dict[str, Any]:
    return {"code": code, "message": message, "field": field}


MUTATIONS: Fields = {
    "bulkOperationRunQuery": lambda asked, thing, arguments: asked.operations.run(
        asked, arguments["query"], group=arguments["groupObjects"]
    ),
    "bulkOperationCancel": lambda asked, thing, arguments: asked.operations.cancel(
        number_of(arguments["id"], "BulkOperation")
    ),
    "webPixelCreate": create_pixel,
    "webPixelUpdate": update_pixel,
    "webPixelDelete": delete_pixel,
    "webhookSubscriptionCreate": subscribe,
    "webhookSubscriptionUpdate": resubscribe,
    "webhookSubscriptionDelete": unsubscribe,
}

FIELDS["Mutation"] = MUTATIONS
