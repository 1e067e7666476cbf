"""Products at Miso as they are at the source: what a sync covers, what of it is gone, and how much may go. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from misoflow.bulk.check import Checked, Checker
from misoflow.errors import Reject


@dataclass(frozen=True)
class Scope:
    """Which of Miso's products the files are all of: those with an id prefix, those of a type, or every one."""

    prefix: str = ""
    type: str | None = None

    def __str__(self) -> str:
        if self.type is not None:
            return f"products of type {self.type!r}"
        return f"products whose id begins with {self.prefix!r}" if self.prefix else "all products"

    def gone(self, held: list[str], here: set[str]) -> list[str]:
        """Of the ids that Miso holds those to delete; ``held`` are of the scope's type already."""
        return [key for key in held if key.startswith(self.prefix) and key not in here]

    def size(self, held: list[str]) -> int:
        return sum(key.startswith(self.prefix) for key in held)

    def within(self, check: Checker) -> Checker:
        """The same check, but a product outside of the scope is bad: the next sync would never take it away."""
        if not self.prefix and self.type is None:
            return check

        def checked(raw: bytes) -> Checked:
            bodies, ids = check(raw)
            if not all(key.startswith(self.prefix) for key in ids):
                raise Reject(f"does not begin with the prefix {self.prefix!r} of this sync", "$.product_id")
            if self.type is not None and any(_type(body) != self.type for body in bodies):
                raise Reject(f"is not the type {self.type!r} of this sync", "$.type")
            return bodies, ids

        return checked


class _Typed(msgspec.Struct):
    type: str | None = None


def _type(body: bytes) -> str | None:
    return msgspec.json.decode(body, type=_Typed).type


def allowed(most: str, size: int) -> int:
    """How many may be deleted of ``size``: ``most`` is a share such as ``20%``, or a number. Raises ValueError."""
    if most.endswith("%"):
        share = float(most[:-1])
        if not 0 <= share <= 100:
            raise ValueError(most)
        return int(size * share / 100)
    number = int(most)
    if number < 0:
        raise ValueError(most)
    return number
