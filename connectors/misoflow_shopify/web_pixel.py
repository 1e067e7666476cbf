"""The web pixel of a shop: there, and with the settings that lead to us.

https://shopify.dev/docs/apps/build/marketing-analytics/build-web-pixels
"""

from __future__ import annotations

from typing import Any

import msgspec
from misoflow import Problem, Reject

from misoflow_shopify import queries
from misoflow_shopify.admin import Admin, Json
from misoflow_shopify.scopes import PIXEL, covers

TAKEN = "TAKEN"
DEPLOY = "deploy the web pixel extension with the app (deploy/shopify/README.md)"


async def ensured(admin: Admin, granted: list[str], settings: dict[str, str]) -> list[Problem]:
    """Create the pixel, or correct its settings; what stands in the way."""
    if not covers(granted, PIXEL):
        return []  # said with the scopes
    try:
        found = await _existing(admin)
        if found is None:
            codes = await _created(admin, settings)
            found = await _existing(admin) if TAKEN in codes else None
            if found is None:
                return _told(codes)
        if _settings(found.get("settings")) == settings:
            return []
        return _told(await _updated(admin, str(found["id"]), settings))
    except Reject as error:
        return [Problem("fail", f"the pixel cannot be set up: {error.reason}", DEPLOY)]


async def _existing(admin: Admin) -> Json | None:
    """None too where Shopify answers with an error instead of nothing."""
    try:
        found: Json | None = (await admin.query(queries.PIXEL)).get("webPixel")
    except Reject:
        return None
    return found


async def _created(admin: Admin, settings: dict[str, str]) -> list[str]:
    data = await admin.query(queries.CREATE_PIXEL, {"settings": _text(settings)})
    return _codes(data.get("webPixelCreate"))


async def _updated(admin: Admin, id_: str, settings: dict[str, str]) -> list[str]:
    data = await admin.query(queries.UPDATE_PIXEL, {"id": id_, "settings": _text(settings)})
    return _codes(data.get("webPixelUpdate"))


def _codes(answer: Json | None) -> list[str]:
    return [str(one.get("code") or "unknown") for one in (answer or {}).get("userErrors") or ()]


def _told(codes: list[str]) -> list[Problem]:
    if not codes:
        return []
    return [Problem("fail", f"Shopify does not take the web pixel ({', '.join(codes)}): no clicks come", DEPLOY)]


def _text(settings: dict[str, str]) -> str:
    """The scalar JSON is a text: https://shopify.dev/docs/api/admin-graphql/latest/mutations/webPixelCreate"""
    return msgspec.json.encode(settings).decode()


def _settings(value: Any) -> Any:
    try:
        return msgspec.json.decode(value) if isinstance(value, str) else value
    except msgspec.DecodeError:
        return None
