"""A small connector that keeps every promise: the plants change it by a line or two."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

from misoflow import (
    AddToCart,
    Config,
    Connector,
    Effect,
    Event,
    Page,
    Product,
    Record,
    Reject,
    RemoveProduct,
    Request,
    Route,
    Skip,
    Slice,
    Unauthorized,
    User,
    check_hmac,
    sign_hmac,
)
from pydantic import Field, SecretStr

TOLERANCE = 300


class AcmeConfig(Config):
    """Settings for one Acme shop."""

    shop: str = Field(description="The shop's domain.", examples=["demo.acme.example"])
    signing_secrets: tuple[SecretStr, ...] = Field(description="Shown when the webhook is made; two to replace one.")
    token: SecretStr = Field(description="Of a private app that may read events.")


class Acme(Connector[AcmeConfig]):
    """Products, customers and carts of one Acme shop."""

    topics = ("product.saved", "product.removed", "cart.added", "customer.saved")
    streams = {"events": timedelta(days=7)}
    routes = (Route(keep=("x-acme-delivery",)),)

    def verify(self, request: Request) -> None:
        moment = request.header("x-acme-time")
        if not (moment.isascii() and moment.isdigit() and len(moment) < 12):
            raise Unauthorized("the time is missing or malformed")
        if abs(time.time() - int(moment)) > TOLERANCE:
            raise Unauthorized("the delivery is too old")
        signed = moment.encode() + b"." + request.body
        check_hmac(signed, request.header("x-acme-signature"), self.config.signing_secrets)

    def events(self, request: Request) -> Iterator[Event]:
        for item in request.json()["events"]:
            yield self._event(item)

    def _event(self, item: dict[str, Any]) -> Event:
        return Event(str(item["id"]), item["topic"], item)

    def translate(self, event: Event) -> Iterator[Record | Effect]:
        item = event.data
        match event.topic:
            case "product.saved":
                if not item["published"]:
                    yield Skip("the product is not published")
                    return
                yield Product(product_id=item["sku"], title=item["title"], tags=item.get("tags"))
            case "product.removed":
                yield RemoveProduct(product_id=item["sku"])
            case "cart.added":
                lines = item["lines"]
                yield AddToCart(
                    product_ids=[line["sku"] for line in lines],
                    quantities=[line["qty"] for line in lines],
                    anonymous_id=item["visitor"],
                    timestamp=item["at"],
                )
            case "customer.saved":
                if type(item["customer"]) is not int:
                    raise Reject("a customer is known by a number", "$.customer")
                yield User(user_id=str(item["customer"]), custom_attributes={"plan": item["plan"]})

    async def backfill(self, part: Slice) -> AsyncIterator[Page]:
        cursor = part.cursor or ""
        headers = {"authorization": f"Bearer {self.config.token.get_secret_value()}"}
        while cursor != "end":
            params = {"from": part.start.isoformat(), "to": part.end.isoformat(), "after": cursor}
            answer = await self.http.get(f"https://{self.config.shop}/events", params=params, headers=headers)
            if answer.status != 200:
                raise Reject(f"the shop has no events ({answer.status})")
            body = answer.json()
            cursor = body["next"] or "end"
            yield Page([self._event(item) for item in body["events"]], cursor)

    def sample(self, topic: str) -> Request:
        bodies = {"product.removed": b'{"events":[{"id":9,"topic":"product.removed","sku":"lamp-9"}]}'}
        body, moment = bodies[topic], str(int(time.time()))
        signature = sign_hmac(moment.encode() + b"." + body, self.config.signing_secrets[0])
        return Request(body, {"x-acme-time": moment, "x-acme-signature": signature})
