"""Stripe for misoflow: paid checkouts, refunds, subscriptions and products, by webhooks."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from misoflow import (
    Checkout,
    Config,
    Connector,
    Effect,
    Event,
    Product,
    Record,
    Refund,
    Reject,
    RemoveProduct,
    Request,
    Skip,
    Subscribe,
    Unauthorized,
    Unsubscribe,
    check_hmac,
    latest,
    once,
    values,
)
from pydantic import Field, SecretStr

# https://docs.stripe.com/currencies: amounts are in the smallest unit, a hundredth of most currencies
WHOLE = ("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf")
DECIMALS = dict.fromkeys(WHOLE, 0) | dict.fromkeys(("bhd", "jod", "kwd", "omr", "tnd"), 3)


class StripeConfig(Config):
    """Settings for one Stripe account."""

    signing_secrets: tuple[SecretStr, ...] = Field(description="The endpoint's whsec_… secret; two while it is rolled.")
    tolerance: int = Field(default=300, ge=1, le=86_400, description="Seconds that a signed time may be off.")
    products_key: str = Field(default="product_ids", description="Metadata key that names products, commas between.")


class Stripe(Connector[StripeConfig]):
    """What is sold, refunded and subscribed to in one Stripe account, and its products."""

    topics = (
        *("checkout.session.completed", "checkout.session.async_payment_succeeded", "charge.refunded"),
        *("customer.subscription.created", "customer.subscription.updated", "customer.subscription.deleted"),
        *("product.created", "product.updated", "product.deleted", "other"),
    )

    def verify(self, request: Request) -> None:
        # https://docs.stripe.com/webhooks/signature: t=seconds,v1=hex and one more v1 while a secret is rolled
        pairs = [part.strip().partition("=") for part in request.header("stripe-signature").split(",")]
        moment = next((value for key, _, value in pairs if key == "t"), "")
        if not (moment.isascii() and moment.isdigit() and len(moment) < 12):
            raise Unauthorized("the signature has no time")
        if abs(time.time() - int(moment)) > self.config.tolerance:
            raise Unauthorized("the delivery is too old, or from the future")
        given = [value for key, _, value in pairs if key == "v1"]
        check_hmac(moment.encode() + b"." + request.body, given, self.config.signing_secrets)

    def events(self, request: Request) -> Iterator[Event]:
        event = request.json()
        yield Event(event["id"], event["type"] if event["type"] in self.topics else "other", event)

    def translate(self, event: Event) -> Iterator[Record | Effect]:
        thing, created = event.data["data"]["object"], event.data["created"]
        at = datetime.fromtimestamp(created, UTC)
        match event.topic:
            case "checkout.session.completed" | "checkout.session.async_payment_succeeded":
                yield self._checkout(thing, at)
            case "charge.refunded" if thing["refunded"]:
                yield Refund(product_ids=self._named(thing), timestamp=at, **_who(thing))
            case "charge.refunded":  # which products it was for is not said
                yield Skip("only a part of the charge is refunded")
            case "customer.subscription.created" | "customer.subscription.updated":
                begun = Subscribe(product_ids=_items(thing), user_id=thing["customer"], timestamp=at)
                active = thing["status"] in ("active", "trialing")  # an update of any kind says so again
                yield once(f"subscribe:{thing['id']}", begun) if active else Skip("the subscription is not active")
            case "customer.subscription.deleted":
                yield Unsubscribe(product_ids=_items(thing), user_id=thing["customer"], timestamp=at)
            case "product.created" | "product.updated":
                product = Product(
                    product_id=thing["id"],
                    title=thing["name"],
                    description=thing["description"],
                    url=thing["url"],
                    cover_image=next(iter(thing["images"]), None),
                    availability="IN_STOCK" if thing["active"] else "OUT_OF_STOCK",
                )
                yield latest(thing["id"], created, product)
            case "product.deleted":
                yield latest(thing["id"], created, RemoveProduct(product_id=thing["id"]))
            case _:
                yield Skip("this type of event has no use in Miso")

    def _checkout(self, session: dict[str, Any], at: datetime) -> Effect:
        if session["payment_status"] == "unpaid":  # a bank debit; async_payment_succeeded tells days later
            return Skip("the session is not paid yet")
        revenue = session["amount_total"] / 10 ** DECIMALS.get(session["currency"], 2)
        record = Checkout(product_ids=self._named(session), revenue=revenue, timestamp=at, **_who(session))
        return once(f"checkout:{session['id']}", record)

    def _named(self, thing: dict[str, Any]) -> list[str]:
        # events hold no line items; https://docs.stripe.com/metadata is what the shop itself says
        key = self.config.products_key
        found = [values.product_id_of(one) for one in thing["metadata"].get(key, "").split(",")]
        if not any(found):
            raise Reject(f"it names no products; fill metadata.{key} in the checkout", "$.data.object.metadata")
        return [one for one in found if one]


def _who(thing: dict[str, Any]) -> dict[str, Any]:
    return {"user_id": thing["customer"]} if thing["customer"] else {"anonymous_id": thing["id"]}  # a guest


def _items(subscription: dict[str, Any]) -> list[str]:
    return [item["price"]["product"] for item in subscription["items"]["data"]]
