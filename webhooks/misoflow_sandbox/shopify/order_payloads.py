"""Bodies of webhooks about orders, refunds, carts and checkouts. There is no checkout id, only tokens.

https://shopify.dev/changelog/removed-checkout-id-from-checkouts-and-orders-webhooks
"""

from __future__ import annotations

from typing import Any

from misoflow_sandbox.shopify import payloads
from misoflow_sandbox.shopify.history import line_total, total
from misoflow_sandbox.shopify.payloads import Body
from misoflow_sandbox.shopify.shop import Shop
from misoflow_sandbox.shopify.state import local
from misoflow_sandbox.shopify.things import Line, Order, Refund
from misoflow_sandbox.shopify.world import cents, money

AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/141.0 Safari/537.36"
ADDRESS = "203.0.113.77"


def order(shop: Shop, given: Order) -> Body:
    """orders/create, /updated, /cancelled and /paid."""
    spec, zone = shop.spec, shop.spec.timezone
    lines = sum(line_total(line) for line in given.lines)
    person = shop.customer_of(given)
    return {
        "id": given.id,
        "admin_graphql_api_id": f"gid://shopify/Order/{given.id}",
        "app_id": 580111,
        "browser_ip": ADDRESS,
        "cancel_reason": None if given.cancelled_at is None else "customer",
        "cancelled_at": None if given.cancelled_at is None else local(given.cancelled_at, zone),
        "cart_token": given.cart_token,
        "checkout_token": given.checkout_token,
        "client_details": {"accept_language": given.locale, "browser_ip": ADDRESS, "user_agent": AGENT},
        "confirmed": True,
        "contact_email": given.email,
        "created_at": local(given.created_at, zone),
        "currency": spec.currency,
        "current_total_price": money(total(given) - _refunded(given), spec.currency),
        "customer_locale": given.locale,
        "email": given.email,
        "financial_status": "refunded" if given.cancelled_at else "partially_refunded" if given.refunds else "paid",
        "fulfillment_status": None,
        "landing_site": given.landing_site,
        "name": f"#{given.number}",
        "note": None,
        "note_attributes": [{"name": name, "value": value} for name, value in given.attributes],
        "number": given.number - 1000,
        "order_number": given.number,
        "payment_gateway_names": ["bogus"] if given.test else ["shopify_payments"],
        "phone": None,
        "presentment_currency": spec.currency,
        "processed_at": local(given.processed_at, zone),
        "referring_site": None,
        "source_name": given.source,
        "subtotal_price": money(lines, spec.currency),
        "tags": "",
        "taxes_included": True,
        "test": given.test,
        "token": f"{given.id:032x}",
        "total_discounts": money(sum(cents(line.discount) for line in given.lines), spec.currency),
        "total_price": money(total(given), spec.currency),
        "total_price_set": amounts(shop, total(given)),
        "total_tax": money(0, spec.currency),
        "updated_at": local(given.updated_at, zone),
        "billing_address": None if person is None else payloads.address(person),
        "shipping_address": None if person is None else payloads.address(person),
        "customer": None if person is None else payloads.customer(shop, person),
        "line_items": [line(shop, given, one) for one in given.lines],
        "refunds": [refund(shop, given, one) for one in given.refunds],
        "shipping_lines": [{"id": given.id + 1, "price": given.shipping, "title": "Standard"}],
    }


def amounts(shop: Shop, hundredths: int) -> dict[str, Any]:
    """A price in the shop's money and in the shopper's, which are one here."""
    amount = {"amount": money(hundredths, shop.spec.currency), "currency_code": shop.spec.currency}
    return {"shop_money": amount, "presentment_money": amount}


def line(shop: Shop, owner: Order, given: Line) -> Body:
    """A line item; ``quantity`` is as ordered."""
    deleted = given.product is not None and shop.products.get(given.product) is None
    gone = deleted or (given.variant is not None and shop.variant(given.variant) is None)
    discounts = [] if cents(given.discount) == 0 else [{"amount": given.discount, "discount_application_index": 0}]
    return {
        "id": given.id,
        "admin_graphql_api_id": f"gid://shopify/LineItem/{given.id}",
        "current_quantity": owner.left(given),
        "fulfillable_quantity": owner.left(given),
        "gift_card": given.gift_card,
        "name": given.title,
        "price": given.price,
        "price_set": amounts(shop, cents(given.price)),
        "product_exists": not gone and given.product is not None,
        "product_id": None if deleted else given.product,
        "properties": [],
        "quantity": given.quantity,
        "requires_shipping": not given.gift_card,
        "sku": given.sku,
        "taxable": True,
        "title": given.title,
        "total_discount": "0.00",
        "variant_id": None if gone else given.variant,
        "variant_title": given.variant_title,
        "vendor": None,
        "discount_allocations": discounts,
        **({} if given.plan is None else {"selling_plan_allocation": {"selling_plan": {"name": given.plan}}}),
    }


def refund(shop: Shop, owner: Order, given: Refund) -> Body:
    """refunds/create, and an entry of an order's refunds."""
    zone = shop.spec.timezone
    lines = {one.id: one for one in owner.lines}
    return {
        "id": given.id,
        "admin_graphql_api_id": f"gid://shopify/Refund/{given.id}",
        "created_at": local(given.created_at, zone),
        "processed_at": local(given.created_at, zone),
        "note": given.note,
        "order_id": owner.id,
        "restock": True,
        "user_id": None,
        "refund_line_items": [
            {
                "id": given.id * 10 + n,
                "line_item_id": one.line,
                "quantity": one.quantity,
                "restock_type": "return",
                "subtotal": float(line_total(lines[one.line]) // lines[one.line].quantity * one.quantity) / 100,
                "line_item": line(shop, owner, lines[one.line]),
            }
            for n, one in enumerate(given.lines)
        ],
        "transactions": [{"id": given.id + 7, "amount": given.amount, "kind": "refund", "status": "success"}],
        "order_adjustments": [] if given.lines else [{"id": given.id + 9, "amount": f"-{given.amount}"}],
    }


def edited(shop: Shop, owner: Order, edit: int, added: list[Line], removed: list[tuple[int, int]]) -> Body:
    """orders/edited: only what was added and removed."""
    at = local(owner.updated_at, shop.spec.timezone)
    return {
        "order_edit": {
            "id": edit,
            "app_id": None,
            "created_at": at,
            "notify_customer": False,
            "order_id": owner.id,
            "staff_note": "",
            "user_id": 1,
            "committed_at": at,
            "line_items": {
                "additions": [{"id": one.id, "delta": one.quantity} for one in added],
                "removals": [{"id": one, "delta": count} for one, count in removed],
            },
            "discounts": {"line_item": {"additions": [], "removals": []}},
        }
    }


def cart(shop: Shop, token: str, lines: list[tuple[int, int]], created: int, updated: int) -> Body:
    """carts/create and carts/update: (variant, quantity) each."""
    return {
        "id": token,
        "token": token,
        "line_items": [_cart_line(shop, variant, quantity) for variant, quantity in lines],
        "note": None,
        "updated_at": local(updated, shop.spec.timezone),
        "created_at": local(created, shop.spec.timezone),
    }


def checkout(shop: Shop, token: str, cart_token: str, customer: int | None, body: Body) -> Body:
    """checkouts/create and checkouts/update, of the cart's body."""
    person = None if customer is None else shop.customers.get(customer)
    return {
        "token": token,
        "cart_token": cart_token,
        "email": None if person is None else person.email,
        "gateway": None,
        "created_at": body["created_at"],
        "updated_at": body["updated_at"],
        "currency": shop.spec.currency,
        "line_items": body["line_items"],
        "customer": None if person is None else payloads.customer(shop, person),
        "name": f"#{token[:8]}",
        "source_name": "web",
    }


def _cart_line(shop: Shop, variant: int, quantity: int) -> Body:
    found = shop.variant(variant)
    if found is None:
        raise KeyError(variant)
    product, one = found
    return {
        "id": variant,
        "key": f"{variant}:1",
        "quantity": quantity,
        "variant_id": variant,
        "product_id": product.id,
        "title": product.title,
        "price": one.price,
        "sku": one.sku,
        "vendor": product.vendor,
        "gift_card": product.gift_card,
        "properties": None,
        "line_price": money(cents(one.price) * quantity, shop.spec.currency),
    }


def _refunded(given: Order) -> int:
    return sum(cents(one.amount) for one in given.refunds)
