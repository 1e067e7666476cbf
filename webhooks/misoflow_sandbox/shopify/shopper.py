"""One visitor of a storefront: what they do reaches the shop, and the app's web pixel where it is set up.

The pixel's events have the wire format of the extension in ``deploy/shopify``.
https://shopify.dev/docs/api/web-pixels-api/standard-events
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import orjson

from misoflow_sandbox.shopify import order_payloads, payloads
from misoflow_sandbox.shopify.catalog import product_of_variant
from misoflow_sandbox.shopify.history import line_total
from misoflow_sandbox.shopify.hooks import Hooks
from misoflow_sandbox.shopify.merchant import Merchant
from misoflow_sandbox.shopify.order_payloads import AGENT
from misoflow_sandbox.shopify.shop import Shop
from misoflow_sandbox.shopify.state import iso
from misoflow_sandbox.shopify.things import Order, Product
from misoflow_sandbox.shopify.world import cents, money

CONSENT = {"analytics": True, "marketing": True, "preferences": True, "sale": True}
PIXEL_SECONDS = 10.0
MOST_ITEMS = 50
Post = Callable[[str, bytes, dict[str, str], float], int]


class Shopper:
    """A visitor. ``customer``: signed in as. ``heard`` holds the status of every pixel event that was sent, by name."""

    def __init__(
        self,
        shop: Shop,
        hooks: Hooks,
        post: Post,
        number: int = 1,
        *,
        customer: int | None = None,
        consent: dict[str, bool] | None = None,
        agent: str = AGENT,
    ) -> None:
        self.shop, self._hooks, self._post = shop, hooks, post
        self._merchant = Merchant(shop, hooks)
        self.customer, self.agent = customer, agent
        self.consent = CONSENT if consent is None else consent
        self.client_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"shopper/{shop.domain}/{number}"))
        self.heard: list[tuple[str, int]] = []
        self.sent: list[dict[str, Any]] = []
        """The pixel events as they were sent."""
        self._number, self._carts = number, 0
        self._new_cart()
        self._seq = 0
        self._place("/", "Home")

    def _new_cart(self) -> None:
        self._carts += 1
        own = uuid.uuid5(uuid.NAMESPACE_URL, f"cart/{self.client_id}/{self._carts}").hex
        self.cart_token, self.checkout_token = f"Z2NwLX{own[:26]}", own[::-1]
        self.cart: dict[int, int] = {}
        self._cart_at: int | None = None

    def home(self) -> None:
        """page_viewed of the front page, come from a campaign."""
        self._place("/", "Home", "?utm_source=news&utm_medium=email&utm_campaign=autumn")
        self._event("page_viewed", {})

    def view(self, variant: int) -> None:
        """product_viewed."""
        product = self._product(variant)
        self._place(f"/products/{product.handle}", product.title, f"?variant={variant}")
        self._event("page_viewed", {})
        self._event("product_viewed", self._item(variant))

    def collection(self, collection: int) -> None:
        """collection_viewed, of what is listed there."""
        found = self.shop.collections[collection]
        items = [self._first(one) for one in self.shop.members(found) if self.shop.url(one)][:MOST_ITEMS]
        self._place(f"/collections/{found.handle}", found.title)
        self._event("page_viewed", {})
        self._event("collection_viewed", {"collection": str(collection), "title": found.title, "items": items})

    def search(self, query: str) -> None:
        """search_submitted: products with the text in their title."""
        found = [one for one in self.shop.products if self.shop.url(one) and query.lower() in one.title.lower()]
        self._place("/search", "Search", f"?q={query.replace(' ', '+')}")
        items = [self._first(one) for one in found[:MOST_ITEMS]]
        self._event("search_submitted", {"query": query, "items": items})

    def add(self, variant: int, quantity: int = 1) -> None:
        """product_added_to_cart, and carts/create or carts/update."""
        self.cart[variant] = self.cart.get(variant, 0) + quantity
        self._event("product_added_to_cart", {**self._item(variant), "quantity": quantity})
        self._cart_changed()

    def remove(self, variant: int, quantity: int | None = None) -> None:
        """product_removed_from_cart. ``quantity`` None: all of it."""
        taken = min(self.cart[variant], quantity or self.cart[variant])
        self.cart[variant] -= taken
        if not self.cart[variant]:
            del self.cart[variant]
        self._event("product_removed_from_cart", {**self._item(variant), "quantity": taken})
        self._cart_changed()

    def view_cart(self) -> None:
        self._place("/cart", "Cart")
        self._event("cart_viewed", {"cart": self.cart_token})

    def checkout(self) -> None:
        """checkout_started and its steps, and checkouts/create."""
        self._place("/checkouts/cn/:token", "Checkout")
        self._event("checkout_started", self._checkout(None))
        for step in ("contact_info", "address_info", "shipping_info"):
            self._event(f"checkout_{step}_submitted", self._checkout(None))
        self._event("payment_info_submitted", self._checkout(None))
        now = self.shop.clock.now()
        lines = list(self.cart.items())
        cart = order_payloads.cart(self.shop, self.cart_token, lines, self._cart_at or now, now)
        body = order_payloads.checkout(self.shop, self.checkout_token, self.cart_token, self.customer, cart)
        self._hooks.tell(self.shop, self._hooks.event(self.shop), "checkouts/create", body)

    def buy(self, *, completed: bool = True, **fields: Any) -> Order:
        """Place the order of the cart: orders/create, and checkout_completed unless its page did not load.

        ``fields`` are those of ``Order``: test, source, cart_token, attributes …
        """
        with self.shop.lock:
            order = self._order(fields)
            self._tell_order(order)
        if completed:
            self._place("/checkouts/cn/:token/thank-you", "Thank you")
            self._event("checkout_completed", self._checkout(order))
        self._new_cart()
        return order

    def publish(self, name: str, data: dict[str, Any]) -> None:
        """A custom event of the theme, such as ``miso:impression``."""
        self._event(name, data)

    def _order(self, fields: dict[str, Any]) -> Order:
        shop, now, id_ = self.shop, self.shop.clock.now() // 1000 * 1000, self.shop.orders.next_id()
        person = None if self.customer is None else shop.customers.keep(self.customer)
        order = Order(
            id=id_,
            number=1001 + (shop.orders.number(id_ - 1) or 0) + 1,
            created_at=now,
            processed_at=now,
            updated_at=now,
            customer=self.customer,
            email="guest.canary@example.com" if person is None else person.email,
            cart_token=self.cart_token,
            checkout_token=self.checkout_token,
            locale=f"{shop.spec.locale}-{shop.spec.country}",
            landing_site="/?utm_source=news&utm_medium=email&utm_campaign=autumn",
            shipping=money(500, shop.spec.currency),
            lines=[],
        )
        for name, value in fields.items():
            getattr(order, name)
            setattr(order, name, value)
        for variant, quantity in self.cart.items():
            self._merchant.line(order, variant, quantity)
        if person is not None and not order.test:
            person.orders_count, person.updated_at = person.orders_count + 1, now
            spent = cents(person.amount_spent) + sum(line_total(line) for line in order.lines) + cents(order.shipping)
            person.amount_spent = money(spent, shop.spec.currency)
        return shop.orders.add(order)

    def _tell_order(self, order: Order) -> None:
        shop, event = self.shop, self._hooks.event(self.shop)
        self._hooks.tell(shop, event, "orders/create", order_payloads.order(shop, order))
        self._hooks.tell(shop, event, "orders/paid", order_payloads.order(shop, order))
        person = shop.customer_of(order)
        if person is not None:
            self._hooks.tell(shop, event, "customers/update", payloads.customer(shop, person))
        for line in order.lines:
            found = None if line.variant is None else shop.variant(line.variant)
            if found and found[1].tracked:
                self._merchant.set_inventory(found[1].id, found[1].quantity - line.quantity)

    def _cart_changed(self) -> None:
        now = self.shop.clock.now()
        topic = "carts/create" if self._cart_at is None else "carts/update"
        self._cart_at = self._cart_at or now
        body = order_payloads.cart(self.shop, self.cart_token, list(self.cart.items()), self._cart_at, now)
        self._hooks.tell(self.shop, self._hooks.event(self.shop), topic, body)

    def _product(self, variant: int) -> Product:
        found = self.shop.products.get(product_of_variant(variant))
        if found is None:
            raise KeyError(variant)
        return found

    def _item(self, variant: int) -> dict[str, Any]:
        return {"variant": str(variant), "product": str(product_of_variant(variant)), "quantity": 1}

    def _first(self, product: Product) -> dict[str, str]:
        return {"variant": str(product.variants[0].id), "product": str(product.id)}

    def _checkout(self, order: Order | None) -> dict[str, Any]:
        person = None if self.customer is None else str(self.customer)
        return {
            "checkout": self.checkout_token,
            "cart": self.cart_token,
            "order": None if order is None else str(order.id),
            "customer": person,
        }

    def _place(self, path: str, title: str, query: str = "") -> None:
        referrer = getattr(self, "page", {}).get("url")
        self.page = {"url": f"https://{self.shop.host}{path}{query}", "referrer": referrer, "title": title}

    def _event(self, name: str, data: dict[str, Any]) -> None:
        """Send one, as the pixel does: not without a pixel, not without consent to analytics."""
        self._seq += 1
        event = {
            "id": f"sh-{uuid.uuid5(uuid.NAMESPACE_URL, f'{self.client_id}/{self._seq}')}",
            "name": name,
            "clientId": self.client_id,
            "seq": self._seq,
            "timestamp": iso(self.shop.clock.now())[:-1] + f".{self.shop.clock.now() % 1000:03d}Z",
            "customer": None if self.customer is None else str(self.customer),
            "page": self.page,
            "locale": self.shop.spec.locale,
            "userAgent": self.agent,
            "data": data,
        }
        if self.shop.pixel is not None and self.consent.get("analytics"):
            self.send(event)

    def send(self, event: dict[str, Any]) -> int:
        """Post an event to the pixel's endpoint, also one that was sent before. There must be a pixel."""
        assert self.shop.pixel is not None
        settings = self.shop.pixel.settings
        url = f"{settings['endpoint'].rstrip('/')}/pixel/{settings['accountID']}"
        body = orjson.dumps({"v": 1, "consent": self.consent, "event": event})
        headers = {"Content-Type": "text/plain;charset=UTF-8", "User-Agent": self.agent, "Origin": "null"}
        status = self._post(url, body, headers, PIXEL_SECONDS)
        self.sent.append(event)
        self.heard.append((event["name"], status))
        return status
