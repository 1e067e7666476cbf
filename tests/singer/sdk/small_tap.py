"""A small tap on Meltano's SDK, as somebody would write one: orders of a shop, with a bookmark."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from singer_sdk import Stream, Tap
from singer_sdk import typing as th


class Orders(Stream):
    """Numbered orders; the number is where the next run goes on."""

    name = "orders"
    primary_keys = ("id",)
    replication_key = "id"
    is_sorted = True
    schema = th.PropertiesList(
        th.Property("id", th.IntegerType, required=True),
        th.Property("buyer", th.StringType),
        th.Property("items", th.ArrayType(th.StringType)),
        th.Property("total", th.NumberType),
        th.Property("at", th.DateTimeType),
    ).to_dict()

    def get_records(self, context: Any) -> Iterator[dict[str, Any]]:
        first = self.get_starting_replication_key_value(context) or 0
        for number in range(first, self.config["orders"]):
            yield {
                "id": number,
                "buyer": f"buyer-{number % 50}",
                "items": [f"item-{number}"],
                "total": number / 4,
                "at": f"2026-09-{number % 28 + 1:02d}T10:00:00Z",
            }


class SmallTap(Tap):
    """Its command line is the SDK's."""

    name = "small-tap"
    config_jsonschema = th.PropertiesList(th.Property("orders", th.IntegerType, required=True)).to_dict()

    def discover_streams(self) -> list[Stream]:
        return [Orders(self)]


if __name__ == "__main__":
    SmallTap.cli()
