"""One shop: its things, what the app has there, and what is asked about them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from msgspec import Struct, field

from misoflow_sandbox.shopify.catalog import Catalog, collections_of, product_of_variant
from misoflow_sandbox.shopify.history import History
from misoflow_sandbox.shopify.state import Clock
from misoflow_sandbox.shopify.things import ITEM_OFFSET, Collection, Customer, Order, Product, Variant
from misoflow_sandbox.shopify.tokens import Tokens
from misoflow_sandbox.shopify.world import RATES, ShopSpec

SHOP_ID = 548_380_009
ALL_ORDERS_MS = 60 * 86_400_000
"""What an app sees of orders without ``read_all_orders``: https://shopify.dev/docs/api/usage/access-scopes"""


class Subscription(Struct, kw_only=True):
    """To a topic of one shop, made by ``webhookSubscriptionCreate``. ``failures``: attempts in a row that failed."""

    id: int
    topic: str
    """As in ``products/update``."""
    uri: str
    api_version: str
    created_at: int
    include_fields: list[str] = field(default_factory=list)
    filter: str | None = None
    failures: int = 0


class Pixel(Struct):
    """The app's web pixel: https://shopify.dev/docs/api/admin-graphql/latest/objects/WebPixel"""

    id: int
    settings: dict[str, str]


class Shop:
    """A shop that has been set up; ``installed_at`` is None while the app is not installed."""

    def __init__(self, spec: ShopSpec, clock: Clock, number: int = 0) -> None:
        now = clock.now()
        self.spec, self.clock = spec, clock
        self.id = SHOP_ID + number
        self.lock = threading.RLock()
        catalog = Catalog(spec, now)
        history = History(spec, now, catalog)
        self.products = catalog.entities()
        self.customers = history.customers()
        self.orders = history.orders()
        self.collections: dict[int, Collection] = collections_of(spec, now)
        self.tokens = Tokens(spec.domain, clock)
        self.installed_at: int | None = None
        self.scopes: tuple[str, ...] = ()
        self.subscriptions: dict[int, Subscription] = {}
        self.pixel: Pixel | None = None
        self.frozen: int | None = None
        """402 or 423: what every call of the Admin API is answered with."""
        self._points, self._at = float(self.bucket), now

    @property
    def domain(self) -> str:
        """The permanent one."""
        return self.spec.domain

    @property
    def host(self) -> str:
        """Of the storefront."""
        return self.spec.host

    @property
    def rate(self) -> int:
        """Points a second."""
        return RATES[self.spec.plan]

    @property
    def bucket(self) -> int:
        return self.rate * 20

    def points(self) -> float:
        """What is in the bucket now."""
        now = self.clock.now()
        self._points = min(self.bucket, self._points + (now - self._at) * self.rate / 1000)
        self._at = now
        return self._points

    def take(self, points: float) -> None:
        """Take points out, or put them back if negative; the bucket may be emptied below nothing by nobody."""
        self._points = min(self.bucket, self.points() - points)

    def variant(self, id_: int) -> tuple[Product, Variant] | None:
        """A variant and its product, while they are there."""
        product = self.products.get(product_of_variant(id_))
        found = [one for one in product.variants if one.id == id_] if product else []
        return (product, found[0]) if product and found else None

    def item(self, id_: int) -> tuple[Product, Variant] | None:
        """The variant of an inventory item, and its product."""
        return self.variant(id_ - ITEM_OFFSET)

    def collections_of(self, product: Product) -> list[Collection]:
        """In order of id: manual ones that it was put into, smart ones whose tag it has."""
        return [one for one in list(self.collections.values()) if is_member(product, one)]

    def members(self, collection: Collection) -> Iterator[Product]:
        return (product for product in self.products if is_member(product, collection))

    def url(self, product: Product) -> str | None:
        """On the storefront; None unless it is published there."""
        if not product.published or product.status not in ("ACTIVE", "UNLISTED"):
            return None
        return f"https://{self.host}/products/{product.handle}"

    def seen_orders(self, scopes: tuple[str, ...]) -> int:
        """From when on an app with these scopes sees orders, in ms."""
        return 0 if "read_all_orders" in scopes else self.clock.now() - ALL_ORDERS_MS

    def customer_of(self, order: Order) -> Customer | None:
        return None if order.customer is None else self.customers.get(order.customer)


def is_member(product: Product, collection: Collection) -> bool:
    return collection.id in product.collections if collection.tag is None else collection.tag in product.tags
