"""Orders: one checkout each, what was added later, and each unit refunded once.

An order is seen many times, by webhooks and by reading it, in any order. So every record has a key of what it is about
and the first one counts. https://shopify.dev/docs/api/admin-graphql/latest/objects/Order
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from misoflow import Checkout, Effect, Record, Refund, Reject, Skip, Subscribe, once, privacy

from misoflow_shopify.config import ShopifyConfig
from misoflow_shopify.fields import Json, amount_of, with_ms
from misoflow_shopify.identity import hash_of, of_order

Outputs = list[Record | Effect]
MOST_UNITS = 500
"""Units of one refund that have a key each, so that a refund told twice in different pieces is noticed."""


class Bought(NamedTuple):
    """Products of an order, with the quantity of each."""

    counts: dict[str, int]
    groups: list[str]

    def fields(self, *, quantities: bool) -> Json:
        """As an interaction has them; ``quantities`` in the order of ``product_ids``."""
        found: Json = {"product_ids": list(self.counts)}
        if self.groups:
            found["product_group_ids"] = self.groups
        if quantities:
            found["quantities"] = list(self.counts.values())
        return found


def order(config: ShopifyConfig, data: Json) -> Outputs:
    """What was bought: the one checkout of the order, and a subscription for lines of a selling plan."""
    if (why := _unwanted(config, data)) is not None:
        return [Skip(why)]
    bought = _bought(config, data["lines"])
    if not bought.counts:
        return [Skip("none of the order's lines is of a product that still exists")]
    common = _common(data, data["processed_at"], data["lines"])
    record = Checkout(**bought.fields(quantities=True), revenue=amount_of(data["total"]), **common)
    lines = tuple(_line_key(data, line) for line in data["lines"])
    made: Outputs = [once(f"order:{data['id']}", record, also=lines)]
    planned = [line for line in data["lines"] if line["plan"]]
    plans = _bought(config, planned)
    if plans.counts:
        common = _common(data, data["processed_at"], planned)
        made.append(once(f"subscribe:{data['id']}", Subscribe(**plans.fields(quantities=False), **common)))
    return made


def order_state(config: ShopifyConfig, data: Json) -> Outputs:
    """How the order stands: lines that the checkout did not have, and what was taken back."""
    if (why := _unwanted(config, data)) is not None:
        return [Skip(why)]
    return [*_added(config, data), *_taken_back(config, data)] or [Skip("nothing was added or taken back")]


def _unwanted(config: ShopifyConfig, data: Json) -> str | None:
    """Why the order is none that Miso should learn from."""
    if data["test"]:
        return "a test order"
    if data["source"] in config.skip_order_sources:
        return "an order of a source that is left out (skip_order_sources)"
    return None


def _added(config: ShopifyConfig, data: Json) -> Iterator[Effect]:
    """A checkout for each line; those that the order's own checkout had have their key taken already."""
    for line in data["lines"]:
        bought = _bought(config, [line])
        if bought.counts:
            fields = bought.fields(quantities=True)
            record = Checkout(**fields, revenue=amount_of(line["total"]), **_common(data, data["updated_at"], [line]))
            yield once(_line_key(data, line), record)


def _taken_back(config: ShopifyConfig, data: Json) -> Iterator[Effect]:
    """The units of each line in the order in which they were refunded; a cancellation takes back what is left.

    Whether a cancellation or its refund is told first, the same units have the same keys.
    """
    lines = {line["id"]: line for line in data["lines"]}
    done = dict.fromkeys(lines, 0)
    for refund in data["refunds"]:
        for part in refund["lines"]:
            yield from _refund(config, data, lines.get(part["line"]), part["quantity"], refund["created_at"], done)
    if data["cancelled_at"] is not None:
        for line in lines.values():
            yield from _refund(config, data, line, line["quantity"], data["cancelled_at"], done)


def _refund(
    config: ShopifyConfig, data: Json, line: Json | None, quantity: int, moment: str | None, done: dict[str, int]
) -> Iterator[Effect]:
    """``quantity`` units of a line, as far as it has as many left. ``done`` is counted on."""
    if line is None:
        return
    first = done[line["id"]]
    units = min(quantity, line["quantity"] - first)
    bought = _bought(config, [line])
    if units < 1:
        return
    done[line["id"]] = first + units
    if bought.counts:
        keys = [f"refund:{data['id']}:{line['id']}:{unit}" for unit in range(first, first + min(units, MOST_UNITS))]
        record = Refund(**bought.fields(quantities=False), **_common(data, moment or data["updated_at"], [line]))
        yield once(keys[0], record, also=tuple(keys[1:]))


def _bought(config: ShopifyConfig, lines: list[Json]) -> Bought:
    """Lines of a product that was deleted, or that is none, are left out; one product on two lines is added up."""
    counts: dict[str, int] = {}
    groups: dict[str, None] = {}
    for line in lines:
        whole = config.group_mode == "product"
        product = line["product"] if whole else line["variant"]
        if product is None or line["quantity"] < 1:
            continue
        counts[product] = counts.get(product, 0) + line["quantity"]
        if not whole and line["product"] is not None:
            groups[line["product"]] = None
    return Bought(counts, list(groups))


def _line_key(data: Json, line: Json) -> str:
    return f"line:{data['id']}:{line['id']}"


def _common(data: Json, moment: str | None, lines: list[Json]) -> Json:
    """The fields of everything that is about an order; ``moment`` is when it was made where nothing else is known."""
    moment = moment or data["created_at"] or data["processed_at"]
    if moment is None:
        raise Reject("the order has no time", "$.created_at")
    custom = {
        "shop": data["shop"],
        "order_id": data["id"],
        "currency": data["currency"],
        "source": privacy.text_of(data["source"]),
        "cart": hash_of(data["shop"], data["cart_token"]),
        "gift_cards": [line["variant"] for line in lines if line["gift_card"] and line["variant"]] or None,
    }
    context: Json = {"custom_context": {key: value for key, value in custom.items() if value is not None}}
    if (locale := privacy.text_of(data["locale"], 20)) is not None:
        context["locale"] = locale
    return {**of_order(data), "timestamp": with_ms(moment), "context": context}
