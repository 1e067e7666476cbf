"""Customers as users, without name, e-mail, phone and address; and how they, and whole shops, are forgotten.

https://shopify.dev/docs/apps/build/privacy-law-compliance
"""

from __future__ import annotations

from datetime import datetime

from misoflow import Disconnect, Effect, Erase, ForgetUser, Record, Reject, Skip, User, merge

from misoflow_shopify.config import ShopifyConfig
from misoflow_shopify.fields import Json, amount_of, moment_of, ms_of

Outputs = list[Record | Effect]
SOURCE = "customer"


def customer(config: ShopifyConfig, data: Json) -> Outputs:
    """One version of a customer; figures that this one lacks stay as they were."""
    if not config.users:
        return [Skip("customers are not sent as users here (users)")]
    moment = moment_of(data["updated_at"])
    if moment is None:
        raise Reject("the customer has no time", "$.updated_at")
    spent = amount_of(data["amount_spent"])
    custom = {"orders_count": data["orders_count"], "amount_spent": None if spent is None else float(spent)}
    user = User(
        user_id=data["id"],
        created_at=data["created_at"],
        updated_at=data["updated_at"],
        country=data["country"],
        state=data["state"],
        custom_attributes={key: value for key, value in custom.items() if value is not None} or None,
    )
    moved = tuple(field for field in ("country", "state") if data[field] is None)
    return [merge(f"customer:{data['id']}", SOURCE, user, version=ms_of(moment), remove=moved)]


def forgotten(data: Json) -> Outputs:
    """A customer was deleted, or asked to be: the user and all of the user's interactions go."""
    if data["customer"] is None:
        return [Skip("the request names no customer by id, and nothing here is kept by e-mail address")]
    return [ForgetUser(user_id=data["customer"])]


def requested(data: Json) -> Outputs:
    """A customer asks what is stored: a person has to answer, so it stays among the dead letters until then."""
    raise Reject(
        "a customer asks for their data: send the shop what Miso holds of the user, then discard this", "$.customer"
    )


def uninstalled(data: Json, received: datetime | None) -> Outputs:
    return [Disconnect("the app was uninstalled", moment_of(data["at"]) or received)]


def redact_shop(data: Json, received: datetime | None) -> Outputs:
    """48 hours after an app was uninstalled; a shop that has installed it again since keeps what it has."""
    at = moment_of(data["at"]) or received
    if at is None:
        raise Reject("the request has no time", "$.at")
    return [Erase(at)]
