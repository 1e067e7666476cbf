"""Fields of customers, orders, lines and refunds.

https://shopify.dev/docs/api/admin-graphql/2026-10/objects/Order
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from misoflow_sandbox.shopify import listing
from misoflow_sandbox.shopify.asking import (
    Address,
    Asked,
    Fields,
    LineOf,
    RefundLineOf,
    RefundOf,
    always,
    amount,
    at,
    bag,
    gid,
    ids,
    own,
    protected,
)
from misoflow_sandbox.shopify.catalog_fields import of_product, of_variant
from misoflow_sandbox.shopify.connections import numbered
from misoflow_sandbox.shopify.history import line_total, total
from misoflow_sandbox.shopify.state import iso
from misoflow_sandbox.shopify.things import (
    Line,
    Order,
)
from misoflow_sandbox.shopify.world import cents


def seen(asked: Asked, order: Order | None) -> Order | None:
    """An order, if this app sees it."""
    return order if order and order.created_at >= asked.shop.seen_orders(asked.scopes) else None


CUSTOMER: Fields = {
    **ids("Customer"),
    "amountSpent": lambda asked, thing, arguments: amount(asked, cents(thing.amount_spent)),
    "createdAt": at("created_at"),
    "updatedAt": at("updated_at"),
    "defaultAddress": lambda asked, thing, arguments: None if thing.country is None else Address(thing),
    "displayName": lambda asked, thing, arguments: protected(asked, f"{thing.first_name} {thing.last_name}") or "",
    "email": lambda asked, thing, arguments: protected(asked, thing.email),
    "firstName": lambda asked, thing, arguments: protected(asked, thing.first_name),
    "lastName": lambda asked, thing, arguments: protected(asked, thing.last_name),
    "phone": lambda asked, thing, arguments: protected(asked, thing.phone),
    "locale": lambda asked, thing, arguments: asked.shop.spec.locale,
    "note": always(None),
    "numberOfOrders": lambda asked, thing, arguments: str(thing.orders_count),
    "orders": lambda asked, thing, arguments: listing.orders(asked.shop, arguments, asked.scopes, thing.id),
    "tags": always([]),
}

ADDRESS: Fields = {
    "id": lambda asked, thing, arguments: gid("MailingAddress", thing.customer.id + 1),
    "countryCodeV2": lambda asked, thing, arguments: thing.customer.country,
    "provinceCode": lambda asked, thing, arguments: thing.customer.province,
    "zip": lambda asked, thing, arguments: protected(asked, "10001"),
    "address1": lambda asked, thing, arguments: protected(asked, thing.customer.street),
    "city": lambda asked, thing, arguments: thing.customer.city,
    "firstName": lambda asked, thing, arguments: protected(asked, thing.customer.first_name),
    "lastName": lambda asked, thing, arguments: protected(asked, thing.customer.last_name),
    "phone": lambda asked, thing, arguments: protected(asked, thing.customer.phone),
}


def refunded(order: Order) -> int:
    return sum(cents(one.amount) for one in order.refunds)


def _state(order: Order) -> str:
    if not order.refunds:
        return "PAID"
    return "REFUNDED" if order.cancelled_at else "PARTIALLY_REFUNDED"


def _order_address(asked: Asked, thing: Order, arguments: Mapping[str, Any]) -> Address | None:
    person = asked.shop.customer_of(thing)
    return None if person is None or person.country is None else Address(person)


ORDER: Fields = {
    **ids("Order"),
    "cancelReason": lambda asked, thing, arguments: "CUSTOMER" if thing.cancelled_at else None,
    "cancelledAt": at("cancelled_at"),
    "cartToken": own("cart_token"),
    "checkoutToken": own("checkout_token"),
    "clientIp": lambda asked, thing, arguments: protected(asked, "203.0.113.77"),
    "createdAt": at("created_at"),
    "processedAt": at("processed_at"),
    "updatedAt": at("updated_at"),
    "currencyCode": lambda asked, thing, arguments: asked.shop.spec.currency,
    "presentmentCurrencyCode": lambda asked, thing, arguments: asked.shop.spec.currency,
    "currentTotalPriceSet": lambda asked, thing, arguments: bag(asked, total(thing) - refunded(thing)),
    "customAttributes": lambda asked, thing, arguments: [
        {"key": name, "value": value} for name, value in thing.attributes
    ],
    "customer": lambda asked, thing, arguments: asked.shop.customer_of(thing),
    "customerLocale": own("locale"),
    "displayFinancialStatus": lambda asked, thing, arguments: _state(thing),
    "edited": lambda asked, thing, arguments: False,
    "email": lambda asked, thing, arguments: protected(asked, thing.email),
    "phone": always(None),
    "lineItems": lambda asked, thing, arguments: numbered([LineOf(thing, one) for one in thing.lines]),
    "name": lambda asked, thing, arguments: f"#{thing.number}",
    "note": always(None),
    "originalTotalPriceSet": lambda asked, thing, arguments: bag(asked, total(thing)),
    "refunds": lambda asked, thing, arguments: [
        RefundOf(thing, one) for one in thing.refunds[: arguments.get("first") or None]
    ],
    "shippingAddress": _order_address,
    "sourceName": own("source"),
    "subtotalLineItemsQuantity": lambda asked, thing, arguments: sum(one.quantity for one in thing.lines),
    "subtotalPriceSet": lambda asked, thing, arguments: bag(asked, sum(line_total(one) for one in thing.lines)),
    "tags": always([]),
    "test": own("test"),
    "totalPriceSet": lambda asked, thing, arguments: bag(asked, total(thing)),
    "totalRefundedSet": lambda asked, thing, arguments: bag(asked, refunded(thing)),
    "totalShippingPriceSet": lambda asked, thing, arguments: bag(asked, cents(thing.shipping)),
}

LINE: Fields = {
    "id": lambda asked, thing, arguments: gid("LineItem", thing.line.id),
    "currentQuantity": lambda asked, thing, arguments: thing.order.left(thing.line),
    "refundableQuantity": lambda asked, thing, arguments: thing.order.left(thing.line),
    "customAttributes": always([]),
    "discountedTotalSet": lambda asked, thing, arguments: bag(asked, line_total(thing.line)),
    "isGiftCard": lambda asked, thing, arguments: thing.line.gift_card,
    "name": lambda asked, thing, arguments: thing.line.title,
    "originalTotalSet": lambda asked, thing, arguments: bag(asked, cents(thing.line.price) * thing.line.quantity),
    "originalUnitPriceSet": lambda asked, thing, arguments: bag(asked, cents(thing.line.price)),
    "product": lambda asked, thing, arguments: of_product(asked, thing.line.product),
    "quantity": lambda asked, thing, arguments: thing.line.quantity,
    "sellingPlan": lambda asked, thing, arguments: (
        None if thing.line.plan is None else {"name": thing.line.plan, "sellingPlanId": gid("SellingPlan", 1)}
    ),
    "sku": lambda asked, thing, arguments: thing.line.sku,
    "title": lambda asked, thing, arguments: thing.line.title,
    "totalDiscountSet": lambda asked, thing, arguments: bag(asked, cents(thing.line.discount)),
    "variant": lambda asked, thing, arguments: of_variant(asked, thing.line.variant),
    "variantTitle": lambda asked, thing, arguments: thing.line.variant_title,
    "vendor": always(None),
}

REFUND: Fields = {
    "id": lambda asked, thing, arguments: gid("Refund", thing.refund.id),
    "legacyResourceId": lambda asked, thing, arguments: str(thing.refund.id),
    "createdAt": lambda asked, thing, arguments: iso(thing.refund.created_at),
    "updatedAt": lambda asked, thing, arguments: iso(thing.refund.created_at),
    "note": lambda asked, thing, arguments: thing.refund.note,
    "order": lambda asked, thing, arguments: thing.order,
    "refundLineItems": lambda asked, thing, arguments: numbered(
        [RefundLineOf(thing.order, thing.refund, n) for n in range(len(thing.refund.lines))]
    ),
    "totalRefundedSet": lambda asked, thing, arguments: bag(asked, cents(thing.refund.amount)),
}

REFUND_LINE: Fields = {
    "id": lambda asked, thing, arguments: gid("RefundLineItem", thing.refund.id * 10 + thing.number),
    "lineItem": lambda asked, thing, arguments: LineOf(thing.order, _line_of(thing)),
    "quantity": lambda asked, thing, arguments: thing.line.quantity,
    "subtotalSet": lambda asked, thing, arguments: bag(
        asked, line_total(_line_of(thing)) // _line_of(thing).quantity * thing.line.quantity
    ),
}


def _line_of(thing: RefundLineOf) -> Line:
    return next(one for one in thing.order.lines if one.id == thing.line.line)
