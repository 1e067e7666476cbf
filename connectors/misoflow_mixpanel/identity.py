"""Who it was: a user, a visitor, or both. The exported ``distinct_id`` alone does not say.

https://docs.mixpanel.com/docs/tracking-methods/id-management
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import msgspec

from misoflow_mixpanel.rows import as_ingested

Merge = Literal["simplified", "original"]
DEVICE = "$device:"
MAX_ID = 512
JUNK = frozenset(
    (
        *("undefined", "null", "anon", "anonymous", "nil", "none", "n/a", "na", "unknown", "<nil>"),
        *("0", "-1", "true", "false", "[]", "{}", "00000000-0000-0000-0000-000000000000", ""),
    )
)
"""https://docs.mixpanel.com/reference/import-events: ids that Mixpanel itself refuses."""
LONGEST_JUNK = max(map(len, JUNK))
_DEVICE_IDS = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|[0-9a-f]{12,16}-[0-9a-f]{12,16}-[0-9a-f]{6,16}-[0-9a-f]{4,8}-[0-9a-f]{12,16}"
    r"|[0-9a-f]{40}",
    re.IGNORECASE,
)
_MAIL = re.compile(r"[^@\s]+@[^@\s]+")
_PHONE = re.compile(r"\+?[\d\s().-]{7,20}")


class Who(NamedTuple):
    user: str | None
    anonymous: str | None


def usable(value: Any) -> str:
    """An id as text, or "" when it means nobody. Every leading ``$device:`` stays."""
    text = value.strip() if type(value) is str else str(value) if type(value) is int else ""
    bare = stripped(text)
    return "" if len(bare) <= LONGEST_JUNK and bare.lower() in JUNK else text


def stripped(text: str) -> str:
    """Without any leading ``$device:``; double ones exist."""
    while text.startswith(DEVICE):
        text = text[len(DEVICE) :]
    return text


def is_user_id(text: str) -> bool:
    """Whether a bare id is a person's rather than a device's: UUIDs, cookie ids and 40 hex digits are devices'."""
    return not text.startswith(DEVICE) and _DEVICE_IDS.fullmatch(text) is None


def who(properties: dict[str, Any], merge: Merge, resolved: str | None = None) -> Who:
    """(user id, anonymous id) of an event, either may be None. ``resolved``: the user its cluster belongs to."""
    ingested = usable(as_ingested(properties))
    device = stripped(usable(properties.get("$device_id")))
    if not device and (ingested.startswith(DEVICE) or (merge == "original" and not is_user_id(ingested))):
        device = stripped(ingested)
    user = usable(properties.get("$user_id")) or resolved or ""
    if not user and merge == "original" and ingested and ingested != device and is_user_id(ingested):
        # the exported distinct_id is the cluster's, and may be a device's
        user = ingested
    if not user:
        found = usable(properties.get("distinct_id"))
        bare = found and not found.startswith(DEVICE) and stripped(found) != device
        if bare and (merge == "simplified" or is_user_id(found)):
            user = found
        elif found and not device:
            device = stripped(found)
    if user.startswith(DEVICE):
        user, device = "", device or stripped(user)
    return Who(user or None, device or None if device != user else None)


def is_personal(text: str) -> bool:
    """An e-mail address or a phone number."""
    if "@" in text:
        return _MAIL.fullmatch(text) is not None
    return len(text) <= 20 and _PHONE.fullmatch(text) is not None and sum(map(str.isdigit, text)) > 9


def safe_id(text: str, hashing: str, salt: str) -> str:
    """An id as Miso may have it: hashed where it would name a person, and never beginning with ``_``."""
    if hashing == "always" or (hashing == "auto" and is_personal(text)):
        return hashlib.sha256(f"{salt}{text.lower()}".encode()).hexdigest()
    if len(text) > MAX_ID:
        return hashlib.sha256(text.encode()).hexdigest()
    return f"user_{text}" if text.startswith("_") else text


class Links:
    """Which ids are one person, from $identify, $create_alias and $merge. The first claim of a device counts.

    A union of all edges, as chains matter: in one shop direct edges linked 66 % of a funnel, the union 90 %.
    """

    def __init__(self, edges: Iterable[tuple[str, str]] = ()) -> None:
        self.edges: dict[tuple[str, str], None] = {}
        self._parent: dict[str, str] = {}
        self._user: dict[str, str | None] = {}
        """root -> its user; None when the cluster has two, and belongs to nobody then"""
        for edge in edges:
            self.add(*edge)

    @classmethod
    def loaded(cls, saved: bytes | None) -> Links:
        return cls(msgspec.msgpack.decode(saved, type=list[tuple[str, str]]) if saved else ())

    def saved(self) -> bytes:
        return msgspec.msgpack.encode(list(self.edges))

    def learn(self, name: str, properties: dict[str, Any]) -> None:
        """One identity event; what names no pair is nothing."""
        pair: Any = ()
        if name == "$identify":
            pair = (properties.get("$identified_id"), properties.get("$anon_id"))
        elif name == "$create_alias":
            pair = (properties.get("alias"), properties.get("distinct_id"))
        elif name == "$merge":
            pair = properties.get("$distinct_ids")
        if isinstance(pair, list | tuple) and len(pair) == 2:
            a, b = (stripped(usable(one)) for one in pair)
            if a and b and a != b:
                self.add(a, b)

    def add(self, a: str, b: str) -> None:
        """These two are one person, unless that would make one of two users."""
        if (a, b) in self.edges:
            return
        self.edges[a, b] = None
        roots = self._root(a), self._root(b)
        users = {user for root in roots if (user := self._user.get(root)) is not None}
        if len(users) > 1:
            return
        self._parent[roots[1]] = roots[0]
        self._user[roots[0]] = next(iter(users), None)

    def user_of(self, text: str) -> str | None:
        """The one user of the cluster that an id belongs to."""
        text = stripped(text)
        return self._user.get(self._root(text)) if text in self._parent else None

    def _root(self, text: str) -> str:
        if text not in self._parent:
            self._parent[text] = text
            self._user[text] = text if is_user_id(text) else None
            return text
        path = []
        while (up := self._parent[text]) != text:
            path.append(text)
            text = up
        for one in path:
            self._parent[one] = text
        return text
