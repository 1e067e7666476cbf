"""The client of one Miso environment: each call's answer as one decision.

Success is decided by status, never by an ``errors`` field alone: the documented 401, 403 and 500 bodies have
none. Source: https://docs.miso.ai/api-reference (Data APIs).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import quote

from pydantic import SecretStr

from misoflow.errors import Halt, Reject, Retry
from misoflow.http import Http, Response
from misoflow.miso_lines import BadRecord, read_detail, read_lines
from misoflow.retry import retry_after

UploadKind = Literal["interactions", "products", "users"]


@dataclass(frozen=True, slots=True)
class Done:
    """Taken. Products and users: accepted only, ``task_id`` says how to ask on. ``bad`` was not taken."""

    task_id: str | None = None
    bad: list[BadRecord] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Bad:
    """422, nothing taken: what Miso names, and how many lines named no record."""

    bad: list[BadRecord]
    unread: int = 0


@dataclass(frozen=True, slots=True)
class Envelope:
    """Miso refuses the request itself, not a record of it."""

    reason: str


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The request is too large for Miso."""


@dataclass(frozen=True, slots=True)
class Later:
    """Not now. ``outcome_unknown``: it may have been taken, so only the same bytes may be sent again."""

    reason: str
    after: float | None = None
    outcome_unknown: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """Nothing will be taken until a person acts."""

    reason: str
    fix: str


@dataclass(frozen=True, slots=True)
class TaskPending:
    """Miso works on it."""


@dataclass(frozen=True, slots=True)
class TaskDone:
    """Finished; ``bad`` are records of the request that were not taken."""

    bad: list[BadRecord]


@dataclass(frozen=True, slots=True)
class TaskFailed:
    reason: str


@dataclass(frozen=True, slots=True)
class TaskGone:
    """Miso does not know the task (any more)."""


Answer = Done | Bad | Envelope | TooLarge | Later | Stop
TaskState = TaskPending | TaskDone | TaskFailed | TaskGone | Later | Stop


class Miso:
    """One environment, by its secret key. Calls never raise for what the network or Miso does."""

    def __init__(self, api_url: str, api_key: SecretStr, timeout: float = 60.0) -> None:
        self._url = api_url
        self._key = api_key
        self._timeout = timeout
        self._http: Http | None = None

    def _client(self) -> Http:
        if self._http is None:
            headers: dict[str, SecretStr | str] = {"X-API-KEY": self._key, "Content-Type": "application/json"}
            self._http = Http(timeout=self._timeout, headers=headers)
        return self._http

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()

    async def upload(self, kind: UploadKind, body: bytes, *, dry_run: bool = False) -> Answer:
        """POST records; ``body`` is ``{"data":[…]}``."""
        answer = await self._call("POST", f"/v1/{kind}{'?dry_run=1' if dry_run else ''}", body)
        return answer if not isinstance(answer, Response) else _upload_answer(answer)

    async def delete(self, kind: str, ids: list[str]) -> Answer:
        """Delete products, users, or the interactions of users, by id."""
        if kind == "interactions":
            answer = await self._call("DELETE", "/v1/interactions", json.dumps({"user_ids": ids}).encode())
        else:
            body = json.dumps({"data": {f"{kind[:-1]}_ids": ids}}).encode()
            answer = await self._call("POST", f"/v1/{kind}/_delete", body)
        if isinstance(answer, Response) and answer.status == 404:
            return Done()
        return answer if not isinstance(answer, Response) else _upload_answer(answer)

    async def task(self, kind: str, task_id: str) -> TaskState:
        """How an upload of products or users stands. Its body is undocumented: done when ``errors`` is there."""
        answer = await self._call("GET", f"/v1/{kind}/_status/{quote(task_id, safe='')}", None)
        if not isinstance(answer, Response):
            return answer
        if answer.status == 404:
            return TaskGone()
        if answer.status != 200:
            return Later(f"Miso answered {answer.status} for a task")
        shape = _shape(answer)
        if shape is None or "errors" not in shape:
            return TaskPending()
        lines = _lines(shape)
        bad, unread = read_lines(lines)
        if shape["errors"] and (unread or not lines):
            return TaskFailed("Miso reports errors that name no record")
        return TaskDone(bad)

    async def ids(self, kind: str) -> list[str] | Later | Stop:
        """All ids of a data set; none when it does not exist yet."""
        answer = await self._call("GET", f"/v1/{kind}/_ids", None)
        if not isinstance(answer, Response):
            return answer
        if answer.status == 404:
            return []
        data = (_shape(answer) or {}).get("data")
        ids = data.get("ids") if isinstance(data, dict) else None
        if answer.status != 200 or not isinstance(ids, list):
            return Later(f"Miso answered {answer.status} where ids were asked for")
        return [str(one) for one in ids]

    async def check(self) -> Stop | Later | None:
        """Whether the key is taken; None when all is well."""
        found = await self.ids("products")
        if not isinstance(found, list):
            return found
        answer = await self.upload("interactions", b'{"data":[]}', dry_run=True)
        return answer if isinstance(answer, Stop | Later) else None

    async def _call(self, method: str, path: str, body: bytes | None) -> Response | Later | Stop:
        try:
            answer = await self._client().request(method, self._url + path, content=body, classify=False)
        except Retry as error:
            return Later(error.reason, error.after, outcome_unknown=error.outcome_unknown)
        except (Reject, Halt) as error:
            return Later(str(error), None, outcome_unknown=True)
        return _refused(answer) or answer


def _refused(answer: Response) -> Later | Stop | None:
    """What holds for every call: the key, and whether Miso can answer at all."""
    message = _message(answer)
    match answer.status:
        case 401:
            fix = "set miso.api_key to the environment's secret key, and start misoflow again"
            return Stop("Miso refuses the API key", fix)
        case 403:
            return Stop("Miso refuses this key here, it looks like a publishable one", "use the secret API key")
        case 400 if "playground" in message.lower():
            return Stop("Miso's Playground takes no uploads", "use a Development or Production key")
        case 400 if "timeout" in message.lower():
            return Later("Miso timed out", None, outcome_unknown=True)
        case 408 | 409 | 423 | 425 | 429:
            after = retry_after(answer.headers.get("retry-after"), datetime.now(UTC))
            return Later(f"Miso answered {answer.status}", after)
        case status if status >= 500:
            after = retry_after(answer.headers.get("retry-after"), datetime.now(UTC))
            return Later(f"Miso answered {status}", after, outcome_unknown=True)
    return None


def _upload_answer(answer: Response) -> Answer:
    shape = _shape(answer)
    if answer.status == 200:
        if shape is None or not ("message" in shape or "errors" in shape):
            return Later("Miso answered 200 with something else than its documented body", None, outcome_unknown=True)
        bad, unread = read_lines(_lines(shape)) if shape.get("errors") else ([], 0)
        if unread and not bad:
            return Envelope("200 with errors that name no record")
        return Done(_task_id(shape), bad)
    if answer.status == 422:
        return _unprocessable(shape or {})
    if answer.status == 413 or "memory" in _message(answer).lower():
        return TooLarge()
    return Envelope(f"Miso answered {answer.status}")


def _unprocessable(shape: dict[str, Any]) -> Answer:
    if "detail" in shape:
        named = read_detail(shape["detail"])
        return Envelope("422 about the request, not about a record") if named is None else Bad(named)
    bad, unread = read_lines(_lines(shape))
    return Bad(bad, unread)


def _task_id(shape: dict[str, Any]) -> str | None:
    data = shape.get("data")
    data = data[0] if isinstance(data, list) and data else data
    task = data.get("task_id") if isinstance(data, dict) else None
    return task if isinstance(task, str) and task else None


def _lines(shape: dict[str, Any]) -> list[Any]:
    data = shape.get("data")
    return data if isinstance(data, list) else []


def _shape(answer: Response) -> dict[str, Any] | None:
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _message(answer: Response) -> str:
    """Miso's message; one documented body spells the key ``message:``."""
    shape = _shape(answer) or {}
    return str(shape.get("message", shape.get("message:", "")))[:200]
