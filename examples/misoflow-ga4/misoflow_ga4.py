"""Google Analytics 4 for misoflow: a shop's history, from files of the BigQuery export."""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from misoflow import (
    INTERACTIONS,
    Checkout,
    Config,
    Connector,
    Effect,
    Event,
    Page,
    Record,
    Reject,
    Search,
    Skip,
    Slice,
    Stream,
    files,
    once,
    privacy,
    values,
)
from pydantic import Field

# https://support.google.com/analytics/answer/7029846: rows have no id, and these fields together tell them apart
IDENTITY = ("stream_id", "user_pseudo_id", "event_timestamp", "event_name", "event_bundle_sequence_id")
BATCH = ("batch_page_id", "batch_ordering_id", "batch_event_index")
NOT_SET = ("", "(not set)", None)
WHOLE = -1

# https://developers.google.com/analytics/devguides/collection/ga4/ecommerce
KINDS = {"view_item": "product_detail_page_view", "view_item_list": "impression", "select_item": "click"}
KINDS |= {name: name for name in ("add_to_cart", "remove_from_cart", "refund")}
RECORDS: dict[str, Any] = dict(INTERACTIONS)


class Ga4Config(Config):
    """Settings for the export of one property."""

    paths: tuple[str, ...] = Field(min_length=1, description="Exported files, folders, globs or object stores.")


class Ga4(Connector[Ga4Config]):
    """Product views, carts, purchases and searches of one property."""

    topics = (*KINDS, "purchase", "search", "view_search_results", "other", "unreadable")
    streams = {"events": Stream(timedelta(days=1), poll=True)}  # noqa: RUF012 (read only)
    dedup_days = 400  # a day's table is exported again while late events come, and by hand much later

    def backfill(self, part: Slice) -> Iterator[Page]:
        """Every file that is new or changed, block by block; the cursor says how far each of them is read."""
        before = json.loads(part.cursor or "{}")
        sources = {f"{source.name} {source.version}": source for source in files.expand(self.config.paths)}
        done = {key: before.get(key, 0) for key in sources}
        for key, source in sources.items():
            if done[key] == WHOLE:
                continue
            for block in files.read(source, after=done[key]):
                done[key] = block[-1].number
                yield Page([_event(source.name, row) for row in block], json.dumps(done))
            done[key] = WHOLE
        yield Page([], json.dumps(done))

    def translate(self, event: Event) -> Iterator[Record | Effect]:
        row = event.data
        match event.topic:
            case "unreadable":
                raise Reject(row["reason"], row["where"])
            case "other":
                yield Skip("this event has no use in Miso")
            case _ if row.get("user_id") in NOT_SET and row.get("user_pseudo_id") in NOT_SET:
                yield Skip("the visitor did not consent to be recognised")
            case "search" | "view_search_results":
                yield Search(search={"keywords": _searched(row)}, **_common(row))
            case "purchase":
                order, revenue = (
                    row["ecommerce"]["transaction_id"],
                    values.money_of(row["ecommerce"]["purchase_revenue"]),
                )
                key = event.id if order in NOT_SET else order
                yield once(f"checkout:{key}", Checkout(revenue=revenue, **_items(row), **_common(row)))
            case "add_to_cart":
                yield RECORDS[event.topic](**_items(row), **_common(row))
            case topic:
                yield RECORDS[KINDS[topic]](product_ids=_items(row)["product_ids"], **_common(row))


def _event(file: str, row: files.Row | files.BadRow) -> Event:
    value = files.parsed(row)
    if isinstance(value, files.BadRow):
        where = f"{file}:{value.number}"
        return Event(hashlib.sha256(where.encode()).hexdigest(), "unreadable", {"reason": value.reason, "where": where})
    name, topic = json.dumps([str(value.get(key)) for key in IDENTITY + BATCH]), value.get("event_name")
    return Event(hashlib.sha256(name.encode()).hexdigest(), topic if topic in Ga4.topics else "other", value)


def _common(row: dict[str, Any]) -> dict[str, Any]:
    """Who and when. Some sites set a mail address as the user's id; then the browser's has to do."""
    user = None if privacy.has_mail(row.get("user_id") or "") else row.get("user_id")
    at = datetime.fromtimestamp(int(row["event_timestamp"]) / 1e6, UTC)  # JSON exports write integers as texts
    return {"user_id": user or None, "anonymous_id": row.get("user_pseudo_id") or None, "timestamp": at}


def _items(row: dict[str, Any]) -> dict[str, Any]:
    wanted = [item for item in row["items"] if item["item_id"] not in NOT_SET]
    ids = [values.product_id_of(item["item_id"]) for item in wanted]
    if None in ids or not ids:
        raise Reject("an item has no usable item_id" if ids else "no item has an item_id", "$.items")
    return {"product_ids": ids, "quantities": [values.number_of(item.get("quantity")) or 1 for item in wanted]}


def _searched(row: dict[str, Any]) -> str:
    value = {one["key"]: one["value"] for one in row["event_params"]}["search_term"]
    text = value["string_value"] or str(int(value["int_value"]))  # who searches for 2026 gives an integer
    return privacy.without_contacts(text)
