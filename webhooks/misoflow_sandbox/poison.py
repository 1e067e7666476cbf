"""What the rules in force make of an upload: which records are bad, and what a 422 says about them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from msgspec import Raw

from misoflow_sandbox.envelope import Call
from misoflow_sandbox.faults import Plan
from misoflow_sandbox.schema import IDS
from misoflow_sandbox.wording import Fault

NAMED = re.compile(r"\s*data\.(\d+)\b")
UNKNOWN = "The attribute holds an id that is not known."
ELSEWHERE = "Un registro contiene un atributo que no es válido."


def poisoned(plan: Plan, kind: str, raws: Sequence[Raw], records: Sequence[Any]) -> list[Fault]:
    """Records that the rules in force call bad, whatever the schema says."""
    attribute = IDS.get(kind, "product_ids")
    found: list[Fault] = []
    for index, (raw, record) in enumerate(zip(raws, records, strict=True)):
        text = bytes(raw)
        if any(marker in text for marker in plan.markers) or not plan.bad_ids.isdisjoint(_ids_of(record)):
            found.append(Fault(index, f".{attribute} is invalid. {UNKNOWN}"))
    return found


def _ids_of(record: Any) -> list[str]:
    if not isinstance(record, dict):
        return []
    context = record.get("context")
    custom = context.get("custom_context") if isinstance(context, dict) else None
    products = record.get("product_ids")
    ids = [record.get("product_id"), record.get("user_id"), custom.get("uuid") if isinstance(custom, dict) else None]
    return [one for one in [*ids, *(products if isinstance(products, list) else [])] if isinstance(one, str)]


def lines_of(found: Sequence[Fault], plan: Plan) -> list[str]:
    """The lines of a 422, spoiled as the rules in force want it."""
    if plan.partial is not None:
        named = list(dict.fromkeys(one.index for one in found))[: plan.partial]
        found = [one for one in found if one.index in named]
    if plan.unparseable:
        return [ELSEWHERE] * len(found)
    return [Fault(one.index + plan.shift, one.rest).line() for one in found]


def unnamed(call: Call, records: int) -> list[int]:
    """The indices that a scripted 200 with ``errors`` does not refuse: without one, all."""
    lines = (call.plan.answer and call.plan.answer.errors_true) or []
    named = {int(match[1]) for line in lines if (match := NAMED.match(line))}
    return [index for index in range(records) if index not in named]


def placed(line: str, indices: Sequence[int]) -> str:
    """A line about the n-th of the records at ``indices``, counted within the request."""
    return NAMED.sub(lambda match: f"data.{indices[int(match[1])]}", line, count=1)
