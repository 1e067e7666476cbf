"""What Miso's published schema says about a record, by a validator that shares nothing with misoflow's own."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

KINDS = {"interaction": "interactions", "product": "products", "user": "users"}
"""What an outcome calls a record → what the API does. Deletions have no schema."""


@cache
def _schema() -> Any:
    # by name, because core does not depend on the stand-ins: they come with the same distribution
    return importlib.import_module("misoflow_sandbox.schema").Schema()


def complaint(record: dict[str, Any]) -> str:
    """Why Miso would refuse ``{"kind", "record"}``; "" when it takes it."""
    if record["kind"] not in KINDS:
        return ""
    faults = _schema().check(KINDS[record["kind"]], [record["record"]])
    return "; ".join(one.line().removeprefix("data.0.") for one in faults[:3])
