"""Bulk operations of one shop: run beside the rest, up to five at once, into files that can be fetched for a week.

https://shopify.dev/docs/api/usage/bulk-operations/queries
"""

from __future__ import annotations

import random
import tempfile
import threading
from collections.abc import Iterator, Mapping
from typing import IO, Any

import orjson
from graphql import GraphQLError, GraphQLSchema
from msgspec import Struct, field

from misoflow_sandbox.shopify import proofs
from misoflow_sandbox.shopify.asking import Asked, Fields, at, gid
from misoflow_sandbox.shopify.connections import Connection
from misoflow_sandbox.shopify.fields import FIELDS, TYPES
from misoflow_sandbox.shopify.hooks import Hooks
from misoflow_sandbox.shopify.plan import Line, Planner, Refused, Selection, lines
from misoflow_sandbox.shopify.search import read
from misoflow_sandbox.shopify.shop import Shop
from misoflow_sandbox.shopify.state import Options, local

RUNNING = ("CREATED", "RUNNING", "CANCELING")
MIX = 4096
"""Lines among which a shuffled result is mixed: memory stays flat, and a child can come long before its parent."""
EXPIRES_MS = 10 * 86_400_000


class BulkRule(Struct, forbid_unknown_fields=True, kw_only=True):
    """What goes wrong with the next operations whose query contains a text, in a shop or in any.

    ``status``: FAILED (with ``error_code``), CANCELED, EXPIRED or RUNNING (for ever). ``partial``: so many lines are in
    ``partialDataUrl``, which appears ``partial_after`` seconds after the end. ``miscount``: objectCount is wrong by so
    much. ``truncate``: the last line is half. ``duplicates``: so many lines come twice; ``orphans``: so many children
    of a parent that is not there; objectCount counts both. ``seconds``: it takes that long. ``link_seconds``: its link
    works so long.
    """

    contains: str = ""
    shop: str | None = None
    status: str | None = None
    error_code: str | None = None
    partial: int | None = None
    partial_after: float = 0.0
    miscount: int = 0
    truncate: bool = False
    duplicates: int = 0
    orphans: int = 0
    seconds: float | None = None
    link_seconds: float | None = None
    times: int = 1
    fired: int = 0

    def takes(self, shop: str, query: str) -> bool:
        """Whether it is the turn of this operation; counts it."""
        if self.contains not in query or self.shop not in (None, shop) or 0 <= self.times <= self.fired:
            return False
        self.fired += 1
        return True


class Operation(Struct, kw_only=True):
    """One operation; ``size`` and the counts grow while it runs."""

    id: int
    query: str
    status: str = "CREATED"
    error_code: str | None = None
    created_at: int
    completed_at: int | None = None
    ready_at: int
    group: bool
    objects: int = 0
    roots: int = 0
    size: int = 0
    file: IO[bytes] | None = None
    """It has no name on disk, so that it is gone with this process however that ends."""
    written: bool = False
    denied: bool = False
    rule: BulkRule = field(default_factory=BulkRule)


class Operations:
    """The bulk operations of one shop."""

    def __init__(self, shop: Shop, hooks: Hooks, options: Options, schema: GraphQLSchema) -> None:
        self.shop, self._hooks, self._options, self._schema = shop, hooks, options, schema
        self.rules: list[BulkRule] = []
        self.all: dict[int, Operation] = {}
        self.base = ""
        """URL below which the files are."""
        self._lock = threading.RLock()
        self._closed = False

    def run(self, asked: Asked, query: str, *, group: bool) -> dict[str, Any]:
        """bulkOperationRunQuery."""
        with self._lock:
            self.look()
            busy = sum(one.status in RUNNING for one in self.all.values())
            if busy >= self._options.bulk_at_once:
                return _refused("LIMIT_REACHED", "Bulk operations limit reached. Please try again later.")
            try:
                plan = Planner(self._schema, query).selection
            except Refused as refused:
                return _refused("INVALID", str(refused))
            made = self._made(query, group)
        threading.Thread(target=self._write, args=(made, asked, plan), name="shopify bulk", daemon=True).start()
        return {"bulkOperation": made, "userErrors": []}

    def _made(self, query: str, group: bool) -> Operation:
        now = self.shop.clock.now()
        rule = next((one for one in self.rules if one.takes(self.shop.domain, query)), BulkRule())
        seconds = self._options.bulk_seconds if rule.seconds is None else rule.seconds
        id_ = 720_918 + len(self.all) + (self.shop.id << 8)
        made = Operation(
            id=id_, query=query, created_at=now, ready_at=now + round(seconds * 1000), group=group, rule=rule
        )
        self.all[id_] = made
        return made

    def cancel(self, id_: int) -> dict[str, Any]:
        """bulkOperationCancel: CANCELED by the next look."""
        with self._lock:
            self.look()
            found = self.all.get(id_)
            if found is None or found.status not in RUNNING:
                error = {"field": ["id"], "message": "A bulk operation cannot be canceled when it is not running"}
                return {"bulkOperation": found, "userErrors": [error]}
            found.status = "CANCELING"
            return {"bulkOperation": found, "userErrors": []}

    def get(self, id_: int) -> Operation | None:
        self.look()
        return self.all.get(id_)

    def listed(self, arguments: Mapping[str, Any]) -> Connection:
        """bulkOperations, newest first if reversed."""
        self.look()
        search, descending = read(arguments.get("query"), self.shop.spec.timezone), bool(arguments.get("reverse"))
        status, kind = (search.values.get(name, "").upper() for name in ("status", "operation_type"))
        kind = kind or search.values.get("type", "").upper()
        low, high = search.range("created_at")
        found = [
            one
            for one in sorted(self.all.values(), key=lambda one: one.id, reverse=descending)
            if status in ("", one.status) and kind in ("", "QUERY") and low <= one.created_at < high
        ]
        return Connection(lambda: [([one.id], one) for one in found], descending)

    def look(self) -> None:
        """Bring every operation to where the clock says that it is; the app hears of those that ended."""
        now = self.shop.clock.now()
        with self._lock:
            for one in self.all.values():
                if one.status in RUNNING and self._ended(one, now):
                    one.completed_at = now
                    self._tell(one)

    def _ended(self, one: Operation, now: int) -> bool:
        if one.status == "CANCELING":
            one.status = "CANCELED"
            return True
        if one.denied:
            one.status, one.error_code = "FAILED", "ACCESS_DENIED"
            return True
        if now > one.created_at + EXPIRES_MS:
            one.status = "EXPIRED"
            return True
        one.status = "RUNNING"
        if not one.written or now < one.ready_at or one.rule.status == "RUNNING":
            return False
        one.status, one.error_code = one.rule.status or "COMPLETED", one.rule.error_code
        return True

    def _tell(self, one: Operation) -> None:
        """bulk_operations/finish: lower case, unlike GraphQL."""
        zone = self.shop.spec.timezone
        body = {
            "admin_graphql_api_id": gid("BulkOperation", one.id),
            "completed_at": local(one.completed_at or 0, zone),
            "created_at": local(one.created_at, zone),
            "error_code": None if one.error_code is None else one.error_code.lower(),
            "status": one.status.lower(),
            "type": "query",
        }
        self._hooks.tell(self.shop, self._hooks.event(self.shop), "bulk_operations/finish", body)

    def _write(self, one: Operation, asked: Asked, plan: Selection) -> None:
        """Run in a thread of its own."""
        one.file = tempfile.TemporaryFile("w+b")  # noqa: SIM115 (it is read later)
        found = lines(asked, plan)
        if not one.group and self._options.bulk_order == "shuffled":
            found = _shuffled(found, one.id)
        try:
            self._fill(one, one.file, found)
        except GraphQLError:
            one.denied = True
        one.file.flush()
        one.size = one.file.tell()
        one.written = True
        if self._closed:
            one.file.close()

    def _fill(self, one: Operation, file: IO[bytes], found: Iterator[Line]) -> None:
        rule, raw, again = one.rule, b"", 0
        most = rule.partial if rule.status in ("FAILED", "CANCELED", "EXPIRED") and rule.partial is not None else None
        for line in found:
            if one.objects == most:
                break
            raw = orjson.dumps(line.data) + b"\n"
            file.write(raw)
            one.objects, one.roots = one.objects + 1, one.roots + line.root
            if again < rule.duplicates:
                again += 1
                file.write(raw)
                one.objects += 1
        for n in range(rule.orphans):
            one.objects += 1
            file.write(b'{"id":"gid://shopify/ProductVariant/%d","__parentId":"gid://shopify/Product/1"}\n' % n)
        if rule.truncate:
            file.seek(file.tell() - len(raw) // 2)
            file.truncate()

    def link(self, one: Operation) -> str:
        """A signed link to the file, good from the end of the operation for a while."""
        seconds = one.rule.link_seconds if one.rule.link_seconds is not None else self._options.link_seconds
        until = (one.completed_at or 0) + round(seconds * 1000)
        mac = proofs.link_mac(str(one.id), until, "links")
        return f"{self.base}/{one.id}.jsonl?Expires={until}&Signature={mac}"

    def file(self, name: str, query: Mapping[str, str]) -> IO[bytes] | int:
        """The file behind a link, or the status of a link that is not good."""
        number, until = name.removesuffix(".jsonl"), query.get("Expires", "0")
        one = self.all.get(int(number)) if number.isdecimal() else None
        if one is None or one.file is None or not until.isdecimal():
            return 404
        if not proofs.equal(query.get("Signature", ""), proofs.link_mac(number, int(until), "links")):
            return 403
        return one.file if self.shop.clock.now() < int(until) else 400

    def close(self) -> None:
        """Close the files, those under way when they are done."""
        self._closed = True
        for one in self.all.values():
            if one.file is not None and one.written:
                one.file.close()
        self.all.clear()


def _shuffled(found: Iterator[Line], seed: int) -> Iterator[Line]:
    """In no order, within ``MIX`` lines."""
    dice, held = random.Random(seed), list[Line]()  # noqa: S311
    for line in found:
        if len(held) < MIX:
            held.append(line)
            continue
        place = dice.randrange(MIX)
        yield held[place]
        held[place] = line
    dice.shuffle(held)
    yield from held


def _refused(code: str, message: str) -> dict[str, Any]:
    field = ["query"] if code == "INVALID" else None
    return {"bulkOperation": None, "userErrors": [{"code": code, "field": field, "message": message}]}


def _url(asked: Asked, one: Operation, arguments: Mapping[str, Any]) -> str | None:
    """Null where there is no row: that is a success."""
    return asked.operations.link(one) if one.status == "COMPLETED" and one.size else None


def _partial(asked: Asked, one: Operation, arguments: Mapping[str, Any]) -> str | None:
    if one.status not in ("FAILED", "CANCELED", "EXPIRED") or one.rule.partial is None:
        return None
    late = (one.completed_at or 0) + one.rule.partial_after * 1000
    return asked.operations.link(one) if one.size and asked.shop.clock.now() >= late else None


BULK: Fields = {
    "id": lambda asked, one, arguments: gid("BulkOperation", one.id),
    "completedAt": at("completed_at"),
    "createdAt": at("created_at"),
    "errorCode": lambda asked, one, arguments: one.error_code,
    "fileSize": lambda asked, one, arguments: None if one.status in RUNNING or not one.size else str(one.size),
    "objectCount": lambda asked, one, arguments: str(one.objects + one.rule.miscount),
    "rootObjectCount": lambda asked, one, arguments: str(one.roots),
    "query": lambda asked, one, arguments: one.query,
    "status": lambda asked, one, arguments: one.status,
    "type": lambda asked, one, arguments: "QUERY",
    "url": _url,
    "partialDataUrl": _partial,
}

FIELDS["BulkOperation"] = BULK
TYPES[Operation] = "BulkOperation"
