"""Single objects of a shop, each whole: what thin events and the hourly look ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from misoflow import Event, Reject, Retry

from misoflow_shopify import carts_seen, nodes, queries
from misoflow_shopify.admin import PATIENCE, TooCostly
from misoflow_shopify.facts import Facts, read_facts, read_scopes

if TYPE_CHECKING:
    from misoflow_shopify.connector import Shopify

Json = dict[str, Any]
FIRST = 100
"""Of a connection at once; halved where that costs too much."""
REFUND_FIRST = 10
"""Most refunds have fewer lines, and a page of an order's refunds costs what all of them may hold."""
LIST_FIRST = 250
HURRY = 3.0
"""Seconds that one object may wait for its shop's budget before others have their turn."""
MOST_ITEMS = 10_000
"""Inventory items whose product is remembered."""


class Reader:
    """Reads objects of one shop."""

    def __init__(self, connector: Shopify) -> None:
        self._connector = connector
        self._admin = connector.admin
        self._link = connector.link
        self._first = FIRST
        self._items: dict[str, str] = {}

    async def fetch(self, kind: str, ref: str) -> list[Event]:
        """Events for a ``Fetch`` effect. What Shopify no longer has gives none, but for products."""
        match kind:
            case "product":
                return [await self.product(ref, patience=HURRY)]
            case "inventory_item":
                return await self._inventory_item(ref)
            case "order":
                return await self.order(ref, patience=HURRY)
            case "collection":
                return await self._collection(ref)
            case "shop":
                return await self._shop()
            case "scopes":
                await read_scopes(self._link, self._admin)
                return []
            case "cart":
                return await carts_seen.compared(self._link, await self._admin.shop(), ref)
        raise Reject(f"Shopify has nothing to fetch of the kind {kind!r}")

    async def product(self, number: str, *, patience: float = PATIENCE) -> Event:
        """A product with all its variants, or that it is gone."""
        shop, facts = await self._admin.shop(), await self.facts()
        where, begun = {"id": nodes.gid("Product", number)}, self._link.now_ms()
        data = await self._sized(queries.PRODUCT, where, patience)
        read_at = self._link.there_ms(begun)
        node = data.get("product")
        if node is None:
            return nodes.gone_product(number, shop, read_at)
        variants = await self._rest(queries.PRODUCT_VARIANTS, where, ("product", "variants"), node, patience)
        collections = await self._rest(queries.PRODUCT_COLLECTIONS, where, ("product", "collections"), node, patience)
        metafields: list[Json] = []
        if self._link.config.metafields:
            path = ("product", "metafields")
            metafields = await self._rest(queries.PRODUCT_METAFIELDS, where, path, {}, patience)
        return nodes.product(
            node,
            variants,
            collections,
            metafields,
            shop=shop,
            domain=facts.domain,
            read_at=read_at,
            config=self._link.config,
        )

    async def order(self, number: str, *, patience: float = PATIENCE) -> list[Event]:
        """An order with all its lines and refunds, and its state; nothing if it is gone."""
        shop = await self._admin.shop()
        where = {"id": nodes.gid("Order", number)}
        node = (await self._sized(queries.ORDER, where, patience)).get("order")
        if node is None:
            return []
        lines = await self._rest(queries.ORDER_LINES, where, ("order", "lineItems"), node, patience)
        return nodes.order(node, lines, await self.refunds(node, patience=patience), shop=shop)

    async def refunds(self, order: Json, *, patience: float = PATIENCE) -> list[tuple[Json, list[Json]]]:
        """The refunds of an order with their lines: a list may hold no connection in a bulk operation."""
        if not order.get("refunds"):
            return []
        where = {"id": order["id"], "first": REFUND_FIRST}
        try:
            data = await self._admin.query(queries.REFUNDS, where, patience=patience)
        except TooCostly:
            data = await self._admin.query(queries.REFUNDS, {**where, "first": 1}, patience=patience)
        node = data.get("order") or {}
        found = []
        for refund in node.get("refunds") or ():
            path = ("node", "refundLineItems")
            lines = await self._rest(queries.REFUND_LINES, {"id": refund["id"]}, path, refund, patience)
            found.append((refund, lines))
        return found

    async def listed(self, text: str, root: str, search: str = "") -> AsyncIterator[list[Json]]:
        """A list of the shop, page by page."""
        first, after = LIST_FIRST, None
        while True:
            variables = {"first": first, "after": after, **({"query": search} if search else {})}
            try:
                page = (await self._admin.query(text, variables)).get(root)
            except TooCostly:
                first = _halved(first)
                continue
            if page is None:
                raise Reject(f"Shopify denies access to {root}")
            yield page["nodes"]
            if not page["pageInfo"]["hasNextPage"]:
                return
            after = page["pageInfo"]["endCursor"]

    async def facts(self) -> Facts:
        """What is known of the shop; asked for where it is not yet."""
        found = await self._link.remembered("shop", Facts)
        if found is None:
            found = await read_facts(self._link, self._admin)
        assert isinstance(found, Facts)
        return found

    async def _sized(self, text: str, variables: Json, patience: float) -> Json:
        while True:
            try:
                return await self._admin.query(text, {**variables, "first": self._first}, patience=patience)
            except TooCostly:
                self._first = _halved(self._first)

    async def _rest(self, text: str, variables: Json, path: tuple[str, str], node: Json, patience: float) -> list[Json]:
        """All of a connection, of which ``node`` may hold the first page."""
        page = node.get(path[1])
        found: list[Json] = [] if page is None else list(page["nodes"])
        while page is None or page["pageInfo"]["hasNextPage"]:
            after = None if page is None else page["pageInfo"]["endCursor"]
            parent = (await self._sized(text, {**variables, "after": after}, patience)).get(path[0])
            page = (parent or {}).get(path[1])
            if page is None:
                raise Retry("an object changed while it was read")
            found += page["nodes"]
        return found

    async def _inventory_item(self, item: str) -> list[Event]:
        """The webhook names the item only: https://shopify.dev/docs/api/webhooks (inventory_levels/update)."""
        product = self._items.get(item)
        if product is None:
            where = {"id": nodes.gid("InventoryItem", item)}
            data = await self._admin.query(queries.INVENTORY_ITEM, where, patience=HURRY)
            variants = ((data.get("inventoryItem") or {}).get("variants") or {}).get("nodes") or []
            if not variants:
                return []
            product = nodes.id_of(variants[0]["product"]["id"])
            if len(self._items) >= MOST_ITEMS:
                self._items.pop(next(iter(self._items)))
            self._items[item] = product
        data = {"shop": await self._admin.shop(), "id": product}
        return [Event(f"product_touched/{product}/{self._link.now_ms() // 10_000}", "product_touched", data)]

    async def _collection(self, number: str) -> list[Event]:
        shop, read_at = await self._admin.shop(), self._link.there_ms()
        data = await self._admin.query(queries.COLLECTION, {"id": nodes.gid("Collection", number)}, patience=HURRY)
        node = data.get("collection")
        return [] if node is None else [nodes.collection(node, shop=shop, read_at=read_at)]

    async def _shop(self) -> list[Event]:
        """A changed domain or currency is in every product: the catalogue has to be read again."""
        facts = await read_facts(self._link, self._admin)
        if not facts.changed_at:
            return []
        shop = await self._admin.shop()
        # the same id until the next change, so that an answer that is lost by a crash comes again
        return [Event(f"shop_changed/{shop}/{facts.changed_at}", "shop_changed", {"shop": shop})]


def _halved(first: int) -> int:
    if first <= 1:
        raise Reject("even one item at a time costs more than Shopify allows")
    return first // 2
