"""Miso's ingest API over what the sandbox holds: https://docs.miso.ai/api-reference."""

from __future__ import annotations

import hmac
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec
import orjson
from msgspec import Raw, Struct

from misoflow_sandbox.answers import PLAYGROUND, Answer, answer, refusal, schema_errors, wrong_shape
from misoflow_sandbox.envelope import MISSING, Call, Refused, body_of, check_length, list_of, texts_of
from misoflow_sandbox.faults import Plan
from misoflow_sandbox.poison import lines_of, placed, poisoned, unnamed
from misoflow_sandbox.schema import IDS, Schema, relaxed
from misoflow_sandbox.state import INCONSISTENT, Dataset, Holdings, Options
from misoflow_sandbox.wording import Fault

Handler = Callable[[Call], Answer]


class Upload(Struct):
    data: list[Raw]


class Api:
    """Answers calls. ``api_key`` is the secret key; with ``-publishable`` or ``-playground`` behind it, those."""

    def __init__(self, api_key: str, schema: Schema, held: Holdings, options: Options) -> None:
        self.held = held
        self.options = options
        self._schema = schema
        self._keys = {kind: f"{api_key}{kind}".encode() for kind in ("", "-publishable", "-playground")}

    def answer(self, call: Call) -> Answer:
        """Miso's answer; what the call asks for is done."""
        self.held.settle()
        try:
            return self._route(call)
        except Refused as stopped:
            return stopped.answer

    def _route(self, call: Call) -> Answer:
        match call.segments:
            case ["v1", "interactions"]:
                return self._do(call, POST=self._upload_interactions, DELETE=self._forget)
            case ["v1", ("products" | "users") as kind]:
                return self._do(call, POST=partial(self._upload, kind))
            case ["v1", ("products" | "users") as kind, "_delete"]:
                return self._do(call, POST=partial(self._delete_many, kind))
            case ["v1", ("products" | "users") as kind, "_ids"]:
                return self._do(call, GET=partial(self._ids, kind))
            case ["v1", ("products" | "users") as kind, "_status", task]:
                return self._do(call, GET=partial(self._status, kind, task))
            case ["v1", ("products" | "users") as kind, key] if key:
                return self._do(call, GET=partial(self._read, kind, key), DELETE=partial(self._delete_one, kind, key))
        return answer(404, {"detail": "Not Found"})

    def _do(self, call: Call, **methods: Handler) -> Answer:
        if call.method not in methods:
            allowed = [(b"allow", ", ".join(methods).encode())]
            return Answer(405, orjson.dumps({"detail": "Method Not Allowed"}), allowed)
        self._authorize(call)
        if self.options.max_bytes is not None and len(call.body) > self.options.max_bytes:
            return refusal(413)
        return methods[call.method](call)

    def _authorize(self, call: Call) -> None:
        given = call.headers.get(b"x-api-key") or call.query.get("api_key", "").encode()
        kinds = [kind for kind, key in self._keys.items() if hmac.compare_digest(given, key)]
        if not kinds:
            raise Refused(self._refusal(401))
        if kinds[0] == "-publishable":
            uploads = call.segments == ["v1", "interactions"] and call.method == "POST"
            if not uploads or b"mozilla/" not in call.headers.get(b"user-agent", b"").lower():
                raise Refused(self._refusal(403))
        if kinds[0] == "-playground" and call.method != "GET":
            raise Refused(answer(400, PLAYGROUND))

    def _refusal(self, status: int) -> Answer:
        return refusal(status, say_errors=self.options.refusals_say_errors)

    def _upload_interactions(self, call: Call) -> Answer:
        raws, records = self._taken(call, "interactions")
        if call.query.get("dry_run") != "1":
            chosen = unnamed(call, len(records))
            self.held.interactions.add([raws[i] for i in chosen], [records[i] for i in chosen], self.options)
            self.held.recent.extend(("interaction", raws[i]) for i in chosen[-20:])
        return answer(200, {"message": "success"})

    def _upload(self, kind: str, call: Call) -> Answer:
        raws, records = self._taken(call, kind)
        if call.query.get("dry_run") == "1":
            return answer(200, {"message": "success", "errors": False, "data": []})
        chosen = unnamed(call, len(records))
        partial_task = call.plan.task == "partial"
        refused = [index for index in chosen if partial_task and index in call.plan.task_bad]
        kept = [index for index in chosen if index not in refused]

        def work() -> dict[str, Any]:
            ids = [records[index][IDS[kind]] for index in kept]
            lines = self.held.datasets[kind].upload(ids, [raws[i] for i in kept], [records[i] for i in kept])
            clashing = [placed(line, kept) for line in lines]
            scripted = [Fault(index, f".custom_attributes is invalid. {INCONSISTENT}").line() for index in refused]
            self.held.recent.extend((kind.removesuffix("s"), raws[i]) for i in kept[-20:])
            return _done(clashing + scripted)

        return answer(200, {"message": "success", "data": {"task_id": self._task(kind, call.plan, work)}})

    def _taken(self, call: Call, kind: str) -> tuple[list[Raw], list[Any]]:
        """The records of an upload, each as sent and parsed. Raises Refused when one of them is bad."""
        records = list_of(body_of(call), "data")
        call.records = len(records)
        if self.options.max_records is not None and len(records) > self.options.max_records:
            raise Refused(refusal(413))
        if self.options.null_allowed or self.options.i18n_allowed:
            nulls, i18n = self.options.null_allowed, self.options.i18n_allowed
            checked = [relaxed(record, nulls=nulls, i18n=i18n) for record in records]
        else:
            checked = records
        raws = msgspec.json.decode(call.body, type=Upload).data
        found = self._schema.check(kind, checked)
        if call.plan.bad_ids or call.plan.markers:
            found = sorted([*found, *poisoned(call.plan, kind, raws, records)], key=lambda one: one.index)
        if found:
            raise Refused(schema_errors(kind, lines_of(found, call.plan)))
        return raws, records

    def _task(self, kind: str, plan: Plan, work: Callable[[], dict[str, Any]]) -> str:
        delay = self.options.task_delay if plan.task_delay is None else plan.task_delay
        if plan.task in ("never", "404"):
            delay = math.inf
        failed = {"took": 100, "errors": True, "data": [], "code": 500, "message": "Something went wrong."}
        number = self.held.add_task(kind, delay, (lambda: failed) if plan.task == "failed" else work)
        self.held.tasks[number].gone = plan.task == "404"
        return number

    def _status(self, kind: str, number: str, _: Call) -> Answer:
        task = self.held.tasks.get(number)
        if task is None or task.kind != kind or task.gone:
            return self._refusal(404)
        return answer(200, task.result or {"took": 1, "data": [], "message": "in progress"})

    def _read(self, kind: str, key: str, _: Call) -> Answer:
        check_length(kind, key)
        found = self.held.datasets[kind].records.get(key)
        if found is None:
            return self._refusal(404)
        return answer(200, {"message": "success", "data": orjson.Fragment(bytes(found))})

    def _ids(self, kind: str, call: Call) -> Answer:
        dataset = self.held.datasets[kind]
        if not dataset.exists:
            return self._refusal(404)
        wanted = call.query.get("type") if kind == "products" else None
        ids = [key for key in dataset.records if wanted is None or dataset.types[key] == wanted]
        return answer(200, {"message": "success", "data": {"ids": ids}})

    def _delete_one(self, kind: str, key: str, call: Call) -> Answer:
        check_length(kind, key)
        return self._deleted(kind, [key], call)

    def _delete_many(self, kind: str, call: Call) -> Answer:
        data = body_of(call).get("data")
        name = f"{IDS[kind]}s"
        if not isinstance(data, dict):
            problem = ("value is not a valid dict", "type_error.dict") if data is not None else MISSING
            raise Refused(wrong_shape(["body", "data"], *problem))
        return self._deleted(kind, texts_of(data, name, ["body", "data"]), call)

    def _deleted(self, kind: str, ids: list[str], call: Call) -> Answer:
        call.records = len(ids)
        if kind == "users":
            self.held.deleted_users.update(dict.fromkeys(ids))
        work = partial(_delete, self.held.datasets[kind], ids)
        return answer(200, {"message": "deleted", "data": {"task_id": self._task(kind, call.plan, work)}})

    def _forget(self, call: Call) -> Answer:
        users = texts_of(body_of(call), "user_ids", ["body"])
        call.records = len(users)
        self.held.interactions.forget(set(users), self.options)
        self.held.deleted_users.update(dict.fromkeys(users))
        self.held.forgotten.update(dict.fromkeys(users))
        return answer(200, {"message": "success"})


def _done(lines: Sequence[str]) -> dict[str, Any]:
    """The body of ``_status``: Miso does not document it; this is what its own clients read."""
    return {"took": 100, "errors": bool(lines), "data": lines, "code": 200}


def _delete(dataset: Dataset, ids: Sequence[str]) -> dict[str, Any]:
    deleted, missing = dataset.delete(ids)
    return {**_done([]), "deleted": {"count": deleted}, "not_found": {"count": missing}}
