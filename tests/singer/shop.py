"""A connector with history, for the tests of taps: a platform that is a JSON file beside config.json.

``{"days": {"2026-11-01": [[event, …], …pages]}, "news": [event, …], "trouble": […]}``; an event is
``{"id", "do", …}``. Each page that is read takes the first of ``trouble`` and does what it says.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from misoflow import (
    Config,
    Connector,
    Effect,
    Event,
    Fetch,
    Halt,
    Like,
    Page,
    Product,
    Record,
    RemoveProduct,
    Retry,
    Skip,
    Slice,
    Stream,
    User,
    latest,
    merge,
    once,
)
from pydantic import Field

TIME = "2026-11-01T00:00:00.000Z"


class ShopConfig(Config):
    """Settings of a shop."""

    file: str = Field(description="Where it is.")


class Shop(Connector[ShopConfig]):
    """Days of a shop, its people, and its news."""

    topics = ("like", "user", "product")
    streams = {  # noqa: RUF012 (read only)
        "people": Stream(timedelta(days=1), step=timedelta(days=1), after=("days",)),
        "days": Stream(timedelta(days=1), step=timedelta(days=1)),
        "news": Stream(timedelta(days=1), poll=True),
    }

    def backfill(self, part: Slice) -> Iterator[Page]:
        """By position; a page of which ``proves`` is false keeps the cursor."""
        shop = self._read()
        if part.stream == "news":
            first = int(part.cursor or 0)
            yield Page([_event(one) for one in shop.get("news", [])[first:]], str(len(shop.get("news", []))))
            return
        days = sorted(shop.get(part.stream, {}).items())
        wanted = [
            page for day, found in days if f"{part.start:%Y-%m-%d}" <= day < f"{part.end:%Y-%m-%d}" for page in found
        ]
        for number, page in enumerate(wanted):
            if number < int(part.cursor or 0):
                continue
            self._trouble()
            cursor = part.cursor if shop.get("unproven") else str(number + 1)
            yield Page([_event(one) for one in page], cursor)

    def _read(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(Path(self.config.file).read_text())
        return found

    def _trouble(self) -> None:
        shop = self._read()
        trouble = shop.get("trouble", [])
        if trouble:
            Path(self.config.file).write_text(json.dumps({**shop, "trouble": trouble[1:]}))
        match trouble[:1]:
            case ["retry"]:
                raise Retry("the shop is busy", 0)
            case ["halt"]:
                raise Halt("the shop has closed", "open it")

    def translate(self, event: Event) -> Iterable[Record | Effect]:
        """What the event says."""
        item = event.data
        match item["do"]:
            case "like":
                yield Like(product_ids=[item["p"]], user_id=item.get("u", "u"), timestamp=item.get("at", TIME))
            case "once":
                yield once(item["key"], Like(product_ids=[item["p"]], user_id="u", timestamp=TIME))
            case "user":
                yield merge(item["u"], item["source"], User(user_id=item["u"], **item["fields"]), version=item["v"])
            case "product":
                yield latest(item["p"], item["v"], Product(product_id=item["p"], title=item["title"]))
            case "gone":
                yield RemoveProduct(product_id=item["p"])
            case "thin":
                yield Fetch("like", item["ref"])
            case _:
                yield Skip("of no use")

    async def fetch(self, kind: str, ref: str) -> list[Event]:
        return [_event({"id": f"fetched-{ref}", "do": kind, "p": ref})]


def _event(item: dict[str, Any]) -> Event:
    return Event(item["id"], item["do"], item)
