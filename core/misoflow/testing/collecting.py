"""What pytest is told about a contract class: which tests there are, and that none of them is missing."""

from __future__ import annotations

from typing import Any

import pytest

from misoflow.testing.base import Given, applies
from misoflow.testing.whole import faults, missing


def make_item(collector: Any, name: str, obj: object) -> list[Any] | None:
    """Hook of pytest: no item for a test that does not apply; an error for a contract class that cannot say so itself.

    None leaves the matter to pytest.
    """
    owner = getattr(collector, "obj", None)
    if isinstance(obj, type) and issubclass(obj, Given) and collector.istestclass(obj, name):
        wrong = faults(obj, own_guard=True) or missing(obj)
        if wrong:
            raise pytest.Collector.CollectError("\n".join(wrong))
    if isinstance(owner, type) and issubclass(owner, Given) and name.startswith("test_") and not applies(obj, owner):
        return []
    return None
