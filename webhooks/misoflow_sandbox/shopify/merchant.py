"""What a merchant does in the admin; each change queues the webhooks that Shopify would send.

https://shopify.dev/docs/api/webhooks?reference=toml
"""

from __future__ import annotations

from typing import Any

import msgspec

from misoflow_sandbox.shopify import order_payloads, payloads
from misoflow_sandbox.shopify.catalog import MOST_VARIANTS, variant_id
from misoflow_sandbox.shopify.history import line_id, refund_id, unit
from misoflow_sandbox.shopify.hooks import Hooks
from misoflow_sandbox.shopify.shop import Shop
from misoflow_sandbox.shopify.things import (
    Collection,
    Customer,
    Line,
    Metafield,
    Order,
    Product,
    Refund,
    RefundLine,
    Variant,
)
from misoflow_sandbox.shopify.world import money


class Merchant:
    """One shop's. Every method takes ids and gives what it changed; unknown ids raise KeyError."""

    def __init__(self, shop: Shop, hooks: Hooks) -> None:
        self.shop, self._hooks = shop, hooks

    def create_product(self, title: str, price: str = "19.00", variants: int = 1, **fields: Any) -> Product:
        """An active, published product; ``fields`` are those of ``Product``."""
        shop, now = self.shop, self._now()
        id_ = shop.products.next_id()
        made = Product(
            id=id_,
            title=title,
            body_html=f"<p>{title}</p>",
            vendor="Acme",
            product_type="Mug",
            handle=f"{title.lower().replace(' ', '-')}-{id_ % 100_000}",
            status="ACTIVE",
            published_at=now,
            created_at=now,
            updated_at=now,
            tags=[],
            image=None,
            category=None,
            options=["Title"] if variants == 1 else ["Size"],
            variants=[],
        )
        for n in range(variants):
            made.variants.append(_variant(made, n, "Default Title" if variants == 1 else f"Size {n}", price, now))
        _set(made, fields)
        shop.products.add(made)
        self._tell("products/create", payloads.product(shop, made))
        return made

    def update_product(self, product: int, **fields: Any) -> Product:
        """Change fields of ``Product``: title, status, tags, collections, published_at (None: unpublished) …"""
        changed = self.shop.products.keep(product)
        _set(changed, fields)
        return self._product_changed(changed)

    def set_metafield(self, product: int, namespace: str, key: str, type_: str, value: str) -> Product:
        """Set one; products/update is sent, without it."""
        changed = self.shop.products.keep(product)
        rest = [one for one in changed.metafields if (one.namespace, one.key) != (namespace, key)]
        changed.metafields = [*rest, Metafield(namespace=namespace, key=key, type=type_, value=value, defined=False)]
        return self._product_changed(changed)

    def update_variant(self, variant: int, **fields: Any) -> Product:
        """Change fields of ``Variant``: price, compare_at_price, sku …"""
        changed, one = self._variant(variant)
        _set(one, fields)
        one.updated_at = self._now()
        return self._product_changed(changed)

    def add_variant(self, product: int, title: str, price: str = "19.00") -> Variant:
        """Its other options are the title as well."""
        changed = self.shop.products.keep(product)
        taken = {one.id - variant_id(product, 0) for one in changed.variants}
        n = next(n for n in range(max(taken, default=-1) + 1, MOST_VARIANTS) if n not in taken)
        made = _variant(changed, n, title, price, self._now())
        changed.variants.append(made)
        self._product_changed(changed)
        return made

    def delete_variant(self, variant: int) -> Product:
        changed, one = self._variant(variant)
        changed.variants.remove(one)
        return self._product_changed(changed)

    def delete_product(self, product: int) -> None:
        """products/delete has the id and nothing else."""
        self.shop.products.remove(product)
        self._tell("products/delete", {"id": product})

    def set_inventory(self, variant: int, quantity: int) -> None:
        """inventory_levels/update, and products/update as Shopify sends it for tracked stock."""
        with self.shop.lock:
            event = self._hooks.event(self.shop)
            changed, one = self._variant(variant)
            one.quantity, one.updated_at = quantity, self._now()
            self._tell("inventory_levels/update", payloads.inventory_level(self.shop, one), event)
            if one.tracked:
                self._product_changed(changed, event)

    def create_collection(self, title: str, tag: str | None = None) -> Collection:
        """A smart one of a tag, or a manual one."""
        id_ = max(self.shop.collections, default=300_000_000_000) + 1
        handle = title.lower().replace(" ", "-")
        made = Collection(id=id_, handle=handle, title=title, tag=tag, updated_at=self._now())
        self.shop.collections[id_] = made
        self._tell("collections/create", payloads.collection(self.shop, made))
        return made

    def update_collection(self, collection: int, **fields: Any) -> Collection:
        """Change its title, handle or tag."""
        changed = self.shop.collections[collection]
        _set(changed, fields)
        changed.updated_at = self._now()
        self._tell("collections/update", payloads.collection(self.shop, changed))
        return changed

    def delete_collection(self, collection: int) -> None:
        del self.shop.collections[collection]
        self._tell("collections/delete", {"id": collection})

    def refund(self, order: int, lines: dict[int, int] | None = None, amount: str = "1.00") -> Refund:
        """Refund units: line id -> how many. Without lines: ``amount`` of money only."""
        with self.shop.lock:
            changed, event = self.shop.orders.keep(order), self._hooks.event(self.shop)
            made = self._refund(changed, lines or {}, amount)
            self._tell("refunds/create", order_payloads.refund(self.shop, changed, made), event)
            self._tell("orders/updated", order_payloads.order(self.shop, changed), event)
            return made

    def cancel(self, order: int, *, refund: bool = True) -> Order:
        """Cancel; with ``refund`` what is left is refunded too, as the admin proposes."""
        with self.shop.lock:
            changed, event = self.shop.orders.keep(order), self._hooks.event(self.shop)
            changed.cancelled_at = changed.updated_at = self._now()
            left = {line.id: changed.left(line) for line in changed.lines if changed.left(line)}
            if refund and left:
                made = self._refund(changed, left, "0.00")
                self._tell("refunds/create", order_payloads.refund(self.shop, changed, made), event)
            for topic in ("orders/cancelled", "orders/updated"):
                self._tell(topic, order_payloads.order(self.shop, changed), event)
            return changed

    def edit_order(
        self, order: int, add: dict[int, int] | None = None, remove: dict[int, int] | None = None
    ) -> list[Line]:
        """Add variants (id -> units), remove units of lines (line id -> units). Removed units are a refund."""
        with self.shop.lock:
            changed, event = self.shop.orders.keep(order), self._hooks.event(self.shop)
            added = [self.line(changed, variant, quantity) for variant, quantity in (add or {}).items()]
            if remove:
                made = self._refund(changed, remove, "0.00")
                self._tell("refunds/create", order_payloads.refund(self.shop, changed, made), event)
            changed.updated_at = self._now()
            removed = list((remove or {}).items())
            body = order_payloads.edited(self.shop, changed, changed.updated_at, added, removed)
            self._tell("orders/edited", body, event)
            self._tell("orders/updated", order_payloads.order(self.shop, changed), event)
            return added

    def touch_order(self, order: int) -> Order:
        """An update that changes nothing of interest, as when it is fulfilled."""
        changed = self.shop.orders.keep(order)
        changed.updated_at = self._now()
        self._tell("orders/updated", order_payloads.order(self.shop, changed))
        return changed

    def line(self, order: Order, variant: int, quantity: int) -> Line:
        """Put a line into an order."""
        product, one = self._variant(variant)
        made = Line(
            id=line_id(order.id, len(order.lines)),
            variant=variant,
            product=product.id,
            title=product.title,
            variant_title=one.title,
            sku=one.sku,
            quantity=quantity,
            price=one.price,
            discount=money(0, self.shop.spec.currency),
            gift_card=product.gift_card,
        )
        order.lines.append(made)
        return made

    def create_customer(self, **fields: Any) -> Customer:
        """``fields`` are those of ``Customer``."""
        id_, now = self.shop.customers.next_id(), self._now()
        made = Customer(
            id=id_,
            first_name="Nora",
            last_name="Canarynew",
            email=f"nora.canary{id_ % 1000}@example.com",
            phone=None,
            street="9 Canary Row",
            city="Boston",
            province="MA",
            country="US",
            created_at=now,
            updated_at=now,
            amount_spent=money(0, self.shop.spec.currency),
        )
        _set(made, fields)
        self.shop.customers.add(made)
        self._tell("customers/create", payloads.customer(self.shop, made))
        return made

    def update_customer(self, customer: int, **fields: Any) -> Customer:
        changed = self.shop.customers.keep(customer)
        _set(changed, fields)
        changed.updated_at = self._now()
        self._tell("customers/update", payloads.customer(self.shop, changed))
        return changed

    def delete_customer(self, customer: int) -> None:
        self.shop.customers.remove(customer)
        self._tell("customers/delete", {"id": customer, "admin_graphql_api_id": f"gid://shopify/Customer/{customer}"})

    def change_shop(self, **fields: Any) -> None:
        """Change fields of ``ShopSpec``: primary_domain, currency, name, plan, timezone …"""
        self.shop.spec = msgspec.structs.replace(self.shop.spec, **fields)
        self._tell("shop/update", payloads.shop_resource(self.shop))

    def data_request(self, customer: int) -> None:
        """customers/data_request."""
        found = self.shop.customers.keep(customer)
        self._tell("customers/data_request", payloads.data_request(self.shop, found, customer % 10_000))

    def redact_customer(self, customer: int, *, only_email: bool = False) -> None:
        """customers/redact, ten days after it was asked for, of a customer who may be deleted by then.

        ``only_email``: of somebody without an account.
        """
        found = self.shop.customers.get(customer)
        orders = [] if only_email else [one.id for one in self.shop.orders if one.customer == customer]
        email, phone = (found.email, found.phone) if found else ("gone.canary@example.com", None)
        body: dict[str, Any] = payloads.redact(self.shop, customer, email, phone, orders)
        if only_email:
            body["customer"] = {"email": email}
        self._tell("customers/redact", body, after=10 * 86_400.0)

    def _refund(self, order: Order, lines: dict[int, int], amount: str) -> Refund:
        worth = sum(unit(order, line) * count for line, count in lines.items())
        order.updated_at = self._now()
        made = Refund(
            id=refund_id(order),
            created_at=order.updated_at,
            lines=[RefundLine(line=line, quantity=count) for line, count in lines.items()],
            amount=money(worth, self.shop.spec.currency) if lines else amount,
        )
        order.refunds.append(made)
        return made

    def _variant(self, variant: int) -> tuple[Product, Variant]:
        found = self.shop.variant(variant)
        if found is None:
            raise KeyError(variant)
        kept = self.shop.products.keep(found[0].id)
        return kept, next(one for one in kept.variants if one.id == variant)

    def _product_changed(self, product: Product, event: str | None = None) -> Product:
        product.updated_at = self._now()
        self._tell("products/update", payloads.product(self.shop, product), event)
        return product

    def _tell(self, topic: str, body: dict[str, Any], event: str | None = None, after: float = 0.0) -> None:
        self._hooks.tell(self.shop, event or self._hooks.event(self.shop), topic, body, after)

    def _now(self) -> int:
        return self.shop.clock.now() // 1000 * 1000


def _variant(product: Product, n: int, title: str, price: str, now: int) -> Variant:
    return Variant(
        id=variant_id(product.id, n),
        title=title,
        sku=f"SKU-{product.id % 100_000}-{n}",
        barcode=None,
        price=price,
        compare_at_price=None,
        options=[title for _ in product.options],
        quantity=10,
        created_at=now,
        updated_at=now,
    )


def _set(thing: Any, fields: dict[str, Any]) -> None:
    """Raises AttributeError for a field that there is none of."""
    for name, value in fields.items():
        getattr(thing, name)
        setattr(thing, name, value)
