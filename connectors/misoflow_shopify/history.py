"""History: the whole catalogue and windows of orders and customers in bulk, and what changed in the last hour."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from misoflow import Event, Page, Slice
from msgspec import Struct

from misoflow_shopify import nodes, queries
from misoflow_shopify.bulk import Failed, Operation
from misoflow_shopify.facts import SCOPES, read_scopes
from misoflow_shopify.jsonl import Broken, Group
from misoflow_shopify.scopes import ALL_ORDERS, CUSTOMERS, DAYS_OF_ORDERS, ORDERS, covers

if TYPE_CHECKING:
    from misoflow_shopify.connector import Shopify

Json = dict[str, Any]
END = "end"
WINDOW_SECONDS = 2 * 3600.0
"""A window that takes longer is asked for in halves."""
SKEW_MS = 5 * 60_000
"""Between Shopify's clock and ours."""
AT_ONCE_READ = 5
"""Orders whose refunds are read beside each other."""
OVERLAP = timedelta(minutes=10)
"""What changed is findable a while later only: the search index follows behind."""
AT_ONCE = 20
"""Single objects that are read for one page."""


class Mark(Struct):
    """How far a slice is: objects of the operation that are handed over. A file gives one order only."""

    op: str
    row: int


class History:
    """One shop's streams."""

    def __init__(self, connector: Shopify) -> None:
        self._connector = connector
        self._config = connector.config
        self._bulk = connector.bulk
        self._reader = connector.reader
        self._link = connector.link

    def pages(self, part: Slice) -> AsyncIterator[Page]:
        """Pages of a slice of one of ``streams``."""
        return {
            "catalog": self.catalog,
            "orders": self.orders,
            "customers": self.customers,
            "changes": self.changes,
        }[part.stream](part)

    async def catalog(self, part: Slice) -> AsyncIterator[Page]:
        """Every product; after the last one, that those which did not come are gone."""
        shop = await self._connector.admin.shop()
        facts = await self._reader.facts()
        query = queries.all_products(bool(self._config.metafields))
        # one of an earlier day, which a crash left over, says nothing of today
        operation = await self._bulk.run(query, since=round(part.end.timestamp() * 1000) - SKEW_MS)
        mark = _mark(part.cursor, operation)
        if not mark.row:
            async for found in self._reader.listed(queries.COLLECTIONS, "collections"):
                events = [nodes.collection(node, shop=shop, read_at=operation.at) for node in found]
                yield Page(events, part.cursor)
        async for groups in self._groups(query, operation, mark):
            events = []
            for root, children in groups:
                events.append(await self._product(root, children, shop, facts.domain, operation.at))
            yield Page(events, _text(mark))
        yield Page([Event(f"catalog/{nodes.id_of(operation.id)}", "catalog_end", {"version": operation.at})], "")
        await self._bulk.done(query)

    async def _product(self, root: Json, children: list[Json], shop: str, domain: str, read_at: int) -> Event:
        variants = _of(children, "ProductVariant")
        count = (root.get("variantsCount") or {}).get("count")
        if count is not None and count != len(variants):  # nested lists end early at times, and nothing says so
            return await self._reader.product(nodes.id_of(root["id"]))
        return nodes.product(
            root,
            variants,
            _of(children, "Collection"),
            _of(children, "Metafield"),
            shop=shop,
            domain=domain,
            read_at=read_at,
            config=self._config,
        )

    async def orders(self, part: Slice) -> AsyncIterator[Page]:
        """Orders created in the slice's window; nothing where Shopify does not show them any more."""
        if part.cursor == END or await self._hidden(part.end):
            yield Page([], END)
            return
        customers = covers(await self._granted(), CUSTOMERS)
        query = queries.orders_between(nodes.utc(part.start), nodes.utc(part.end), customers=customers)
        async for page in self._window(part, query, self._order):
            yield page

    async def customers(self, part: Slice) -> AsyncIterator[Page]:
        """Customers last changed in the slice's window: one who changes meanwhile is in a later one."""
        if part.cursor == END or not self._config.users:
            yield Page([], END)
            return
        query = queries.customers_between(nodes.utc(part.start), nodes.utc(part.end))
        async for page in self._window(part, query, self._customer):
            yield page

    async def _window(self, part: Slice, query: str, events_of: Any) -> AsyncIterator[Page]:
        try:
            operation = await self._bulk.run(query, most=WINDOW_SECONDS)
        except Failed as error:
            # what came of it counts, but proves nothing: the window is asked for again, and halved by and by
            async for groups in self._bulk.partial(error.operation):
                yield Page(await _all(events_of, groups, partial=True), part.cursor)
            raise
        mark = _mark(part.cursor, operation)
        async for groups in self._groups(query, operation, mark):
            yield Page(await _all(events_of, groups), _text(mark))
        yield Page([], END)
        await self._bulk.done(query)

    async def _order(self, root: Json, lines: list[Json], *, partial: bool = False) -> list[Event]:
        units = sum(line.get("quantity") or 0 for line in lines)
        whole = root.get("subtotalLineItemsQuantity") in (None, units)
        if not whole and partial:
            return []
        if not whole:
            return await self._reader.order(nodes.id_of(root["id"]))
        refunds = await self._reader.refunds(root)
        return nodes.order(root, lines, refunds, shop=await self._connector.admin.shop())

    async def _customer(self, root: Json, _: list[Json], *, partial: bool = False) -> list[Event]:
        return [nodes.customer(root, shop=await self._connector.admin.shop())]

    async def _groups(self, query: str, operation: Operation, mark: Mark) -> AsyncIterator[list[Group]]:
        """What is not handed over yet; moves the mark. A file that is not whole makes the operation worthless."""
        seen = 0
        try:
            async for groups in self._bulk.groups(operation):
                fresh = groups[max(0, mark.row - seen) :]
                seen += len(groups)
                if fresh:
                    mark.row = seen
                    yield fresh
        except Broken:
            await self._bulk.done(query)
            raise

    async def _hidden(self, end: datetime) -> bool:
        """https://shopify.dev/docs/api/usage/access-scopes#orders-permissions"""
        limit = datetime.fromtimestamp(self._link.now(), UTC) - timedelta(days=DAYS_OF_ORDERS)
        return end <= limit and not covers(await self._granted(), [ALL_ORDERS])

    async def _granted(self) -> list[str]:
        found: list[str] | None = await self._link.remembered(SCOPES, list[str])
        return await read_scopes(self._link, self._connector.admin) if found is None else found

    async def changes(self, part: Slice) -> AsyncIterator[Page]:
        """Whatever changed since the last time, for webhooks that did not come."""
        since = datetime.fromisoformat(part.cursor) if part.cursor else part.start
        search = f"updated_at:>='{nodes.utc(since - OVERLAP)}'"
        granted = await self._granted()
        if covers(granted, ["read_products"]):
            async for some in self._numbers(queries.CHANGED_PRODUCTS, "products", search):
                yield Page([await self._reader.product(number) for number in some], part.cursor)
        if covers(granted, ORDERS):
            async for some in self._numbers(queries.CHANGED_ORDERS, "orders", search):
                found = [await self._reader.order(number) for number in some]
                yield Page([event for events in found for event in events], part.cursor)
        if self._config.users and covers(granted, CUSTOMERS):
            shop = await self._connector.admin.shop()
            async for customers in self._reader.listed(queries.CHANGED_CUSTOMERS, "customers", search):
                yield Page([nodes.customer(node, shop=shop) for node in customers], part.cursor)
        yield Page([], nodes.utc(part.end))

    async def _numbers(self, text: str, root: str, search: str) -> AsyncIterator[list[str]]:
        """The ids of what a search finds, a few at a time."""
        async for found in self._reader.listed(text, root, search):
            for at in range(0, len(found), AT_ONCE):
                yield [nodes.id_of(node["id"]) for node in found[at : at + AT_ONCE]]


async def _all(events_of: Any, groups: list[Group], **options: bool) -> list[Event]:
    """The events of all of them, in their order; a few wait for queries of their own, beside each other."""
    gate = asyncio.Semaphore(AT_ONCE_READ)

    async def made(group: Group) -> list[Event]:
        async with gate:
            found: list[Event] = await events_of(*group, **options)
            return found

    tasks = [asyncio.ensure_future(made(group)) for group in groups]
    try:
        return [event for events in await asyncio.gather(*tasks) for event in events]
    finally:
        for task in tasks:  # one failed: the page comes again, and what the others would read with it
            task.cancel()


def _mark(cursor: str | None, operation: Operation) -> Mark:
    """Where to go on; at the beginning if the cursor is of another operation."""
    if cursor and cursor.startswith("{"):
        found = msgspec.json.decode(cursor, type=Mark)
        if found.op == operation.id:
            return found
    return Mark(operation.id, 0)


def _text(mark: Mark) -> str:
    return msgspec.json.encode(mark).decode()


def _of(children: list[Json], kind: str) -> list[Json]:
    return [one for one in children if one.get("__typename") == kind]
