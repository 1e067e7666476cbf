"""The products of one event: their ids, and how many of each."""

from __future__ import annotations

from misoflow import Reject, values

from misoflow_segment.call import Call
from misoflow_segment.keys import Json


def listed(call: Call) -> list[Json]:
    """The objects in ``products``; else the properties themselves, if they name a product (never by ``id``)."""
    items = call.plan.items(call.properties)
    if not items and call.plan.order_product_id(call.properties) is not None:
        properties = dict(call.properties)
        properties.pop("id", None)
        return [properties]
    return items


def single(call: Call) -> list[Json]:
    """The properties as the one product that they describe; else ``products``, which some sites send here too."""
    if call.plan.product_id(call.properties) is not None:
        return [call.properties]
    return call.plan.items(call.properties)


def ids_of(call: Call, items: list[Json]) -> list[str]:
    """Each product once, in order; items without a usable id are left out."""
    product_id = call.plan.product_id
    return list(dict.fromkeys([found for item in items if (found := product_id(item)) is not None]))


def some(call: Call, items: list[Json]) -> Json:
    """``product_ids`` (and groups) if there are any, else nothing."""
    ids = ids_of(call, items)
    if not ids:
        return {}
    made: Json = {"product_ids": ids}
    return made | call.groups(items) if call.plan.has_groups else made


def required(call: Call, items: list[Json]) -> Json:
    """``product_ids`` (and groups); Reject when there are none."""
    found = some(call, items)
    if not found:
        raise Reject("no_product_id: the event names no usable product", "$.properties.products")
    return found


def with_quantities(call: Call, items: list[Json]) -> Json:
    """``product_ids`` and ``quantities`` of equal length: one product twice is added up, none or less is left out."""
    counts: dict[str, int | float] = {}
    refused = False
    for item in items:
        found = call.plan.product_id(item)
        if found is None:
            continue
        quantity = quantity_of(item)
        if quantity <= 0:
            refused = True
        else:
            counts[found] = counts.get(found, 0) + quantity
    if not counts:
        reason = "every product has a quantity of zero or less" if refused else "the event names no usable product"
        raise Reject(f"no_product_id: {reason}", "$.properties.products")
    made: Json = {"product_ids": list(counts), "quantities": list(counts.values())}
    return made | call.groups(items) if call.plan.has_groups else made


def quantity_of(item: Json) -> int | float:
    """1 where there is none, or none that can be read."""
    quantity = values.number_of(item["quantity"]) if "quantity" in item else 1
    return 1 if quantity is None else quantity


def agreed_miso_id(items: list[Json]) -> str | None:
    """The miso_id of all the products, if they have one and the same."""
    first = items[0].get("miso_id") if items else None
    if type(first) is not str or not values.UUID.match(first):
        return None
    return first if all(item.get("miso_id") == first for item in items) else None
