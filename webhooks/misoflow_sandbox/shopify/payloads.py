"""Bodies of webhooks about the catalogue, customers and the shop: REST's shapes, personal data and traps included.

https://shopify.dev/docs/api/webhooks?reference=toml
"""

from __future__ import annotations

from typing import Any

from misoflow_sandbox.shopify.shop import Shop
from misoflow_sandbox.shopify.state import iso, local
from misoflow_sandbox.shopify.things import Collection, Customer, Product, Variant
from misoflow_sandbox.shopify.world import DECIMALS

Body = dict[str, Any]
FULL_VARIANTS = 100
"""A product's webhook holds no more of them in full; ``variant_gids`` names all."""
LOCATION = 24_826_418


def product(shop: Shop, given: Product) -> Body:
    """products/create and products/update: no metafields, no collections, tags as one text."""
    zone = shop.spec.timezone
    return {
        "admin_graphql_api_id": f"gid://shopify/Product/{given.id}",
        "body_html": given.body_html,
        "created_at": local(given.created_at, zone),
        "handle": given.handle,
        "id": given.id,
        "product_type": given.product_type,
        "published_at": None if given.published_at is None else local(given.published_at, zone),
        "template_suffix": None,
        "title": given.title,
        "updated_at": local(given.updated_at, zone),
        "vendor": given.vendor,
        "status": given.status.lower(),
        "published_scope": "global",
        "tags": ", ".join(given.tags),
        "variants": [variant(shop, given, one, n) for n, one in enumerate(given.variants[:FULL_VARIANTS], 1)],
        "options": [_option(given, n, name) for n, name in enumerate(given.options)],
        "images": [] if given.image is None else [_image(given)],
        "image": None if given.image is None else _image(given),
        "media": [],
        "variant_gids": [
            {"admin_graphql_api_id": f"gid://shopify/ProductVariant/{one.id}", "updated_at": iso(one.updated_at)}
            for one in given.variants
        ],
        "has_variants_that_requires_components": False,
        "category": None if given.category is None else {"full_name": given.category},
    }


def variant(shop: Shop, owner: Product, given: Variant, position: int) -> Body:
    """One variant of a product's webhook."""
    zone = shop.spec.timezone
    options = dict.fromkeys(("option1", "option2", "option3"))
    return {
        "admin_graphql_api_id": f"gid://shopify/ProductVariant/{given.id}",
        "barcode": given.barcode,
        "compare_at_price": given.compare_at_price,
        "created_at": local(given.created_at, zone),
        "id": given.id,
        "inventory_policy": "continue" if given.oversell else "deny",
        "position": position,
        "price": given.price,
        "product_id": owner.id,
        "sku": given.sku,
        "taxable": True,
        "title": given.title,
        "updated_at": local(given.updated_at, zone),
        **options,
        **{f"option{n}": value for n, value in enumerate(given.options, 1)},
        "image_id": None,
        "inventory_item_id": given.inventory_item,
        "inventory_quantity": given.quantity,
        "old_inventory_quantity": given.quantity,
    }


def _option(given: Product, n: int, name: str) -> Body:
    values = list(dict.fromkeys(one.options[n] for one in given.variants if n < len(one.options)))
    return {"name": name, "id": given.id + n, "product_id": given.id, "position": n + 1, "values": values}


def _image(given: Product) -> Body:
    return {"id": given.id + 1, "product_id": given.id, "position": 1, "src": given.image, "variant_ids": []}


def inventory_level(shop: Shop, given: Variant) -> Body:
    """inventory_levels/update: it names neither the variant nor the product."""
    return {
        "inventory_item_id": given.inventory_item,
        "location_id": LOCATION,
        "available": given.quantity,
        "updated_at": local(given.updated_at, shop.spec.timezone),
        "admin_graphql_api_id": f"gid://shopify/InventoryLevel/{LOCATION}?inventory_item_id={given.inventory_item}",
    }


def collection(shop: Shop, given: Collection) -> Body:
    """collections/create and collections/update."""
    smart = given.tag is not None
    rules = {"rules": [{"column": "tag", "relation": "equals", "condition": given.tag}], "disjunctive": False}
    return {
        "id": given.id,
        "handle": given.handle,
        "title": given.title,
        "updated_at": local(given.updated_at, shop.spec.timezone),
        "body_html": None,
        "published_at": local(given.updated_at, shop.spec.timezone),
        "sort_order": "best-selling",
        "template_suffix": None,
        "published_scope": "web",
        "admin_graphql_api_id": f"gid://shopify/Collection/{given.id}",
        **(rules if smart else {}),
    }


def customer(shop: Shop, given: Customer) -> Body:
    """customers/create and customers/update."""
    zone = shop.spec.timezone
    return {
        "id": given.id,
        "created_at": local(given.created_at, zone),
        "updated_at": local(given.updated_at, zone),
        "first_name": given.first_name,
        "last_name": given.last_name,
        "email": given.email,
        "phone": given.phone,
        "orders_count": given.orders_count,
        "total_spent": given.amount_spent,
        "state": "enabled",
        "note": None,
        "verified_email": True,
        "tags": "",
        "currency": shop.spec.currency,
        "addresses": [] if given.country is None else [address(given)],
        "default_address": None if given.country is None else address(given),
        "admin_graphql_api_id": f"gid://shopify/Customer/{given.id}",
    }


def address(given: Customer) -> Body:
    """A customer's only one."""
    return {
        "id": given.id + 1,
        "customer_id": given.id,
        "first_name": given.first_name,
        "last_name": given.last_name,
        "name": f"{given.first_name} {given.last_name}",
        "company": None,
        "address1": given.street,
        "address2": None,
        "city": given.city,
        "province": given.province,
        "province_code": given.province,
        "country": given.country,
        "country_code": given.country,
        "zip": "10001",
        "phone": given.phone,
        "default": True,
    }


def shop_resource(shop: Shop) -> Body:
    """shop/update and app/uninstalled."""
    spec = shop.spec
    return {
        "id": shop.id,
        "name": spec.name,
        "email": f"owner.canary@{spec.host}",
        "shop_owner": "Olga Canaryowner",
        "phone": "+15550199999",
        "address1": "1 Canary Square",
        "city": "New York",
        "zip": "10001",
        "domain": spec.host,
        "myshopify_domain": spec.domain,
        "country_code": spec.country,
        "currency": spec.currency,
        "iana_timezone": spec.timezone,
        "primary_locale": spec.locale,
        "plan_name": spec.plan,
        "money_format": "${{amount}}" if spec.currency not in DECIMALS else "{{amount_no_decimals}}",
    }


def data_request(shop: Shop, given: Customer, request: int) -> Body:
    """customers/data_request: https://shopify.dev/docs/apps/build/privacy-law-compliance"""
    orders = [one.id for one in shop.orders if one.customer == given.id]
    person = {"id": given.id, "email": given.email, "phone": given.phone}
    asked = {"orders_requested": orders, "data_request": {"id": request}}
    return {**shop_redact(shop), "customer": person, **asked}


def redact(shop: Shop, customer: int, email: str | None, phone: str | None, orders: list[int]) -> Body:
    """customers/redact."""
    person = {"id": customer, "email": email, "phone": phone}
    return {**shop_redact(shop), "customer": person, "orders_to_redact": orders}


def shop_redact(shop: Shop) -> Body:
    return {"shop_id": shop.id, "shop_domain": shop.domain}
