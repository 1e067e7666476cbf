"""What Miso holds: one record, all ids, and deletion by id. https://docs.miso.ai/api-reference"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import msgspec

from misoflow.config import MisoConfig
from misoflow.encode import Kind
from misoflow.errors import Halt, Reject, Retry
from misoflow.http import Http
from misoflow.miso import Done, Later, Miso, Stop, TaskDone, TaskFailed, TaskGone
from misoflow.retry import backoff

REFUSED = ("Miso refuses the API key", "set miso.api_key to the environment's secret key")
DELETED_AT_ONCE = 1000
SECONDS = 60.0
MOST_TRIES = 5
MOST_LOOKS = 100
"""At a task, ten seconds apart in the end."""
_LIST = re.compile(rb'"ids"\s*+:\s*+\[')
_ID = re.compile(rb'[\s,]*+("[^"\\]*+(?:\\.[^"\\]*+)*+"|[^\s,\]"]++(?=[\s,\]]))', re.DOTALL)
_END = re.compile(rb"[\s,]*+\]")


@asynccontextmanager
async def client(miso: MisoConfig) -> AsyncIterator[Http]:
    http = Http(timeout=SECONDS, headers={"X-API-KEY": miso.api_key})
    try:
        yield http
    finally:
        await http.close()


async def get(miso: MisoConfig, kind: Kind, key: str) -> dict[str, Any] | None:
    """The record, or None when Miso has none. Raises Halt, Retry and Reject."""
    async with client(miso) as http:
        try:
            answer = await http.get(f"{miso.api_url}/v1/{kind}/{quote(key, safe='')}")
        except Halt:
            raise Halt(*REFUSED) from None
    if answer.status != 200:
        return None
    found = answer.json()
    data = found.get("data") if isinstance(found, dict) else None
    if not isinstance(data, dict):
        raise Reject("Miso answered with something else than a record")
    return data


async def ids(miso: MisoConfig, kind: Kind, type_: str | None = None) -> AsyncIterator[str]:
    """Every id of a data set while the one answer that holds them all comes in. Raises Halt and Retry."""
    url = f"{miso.api_url}/v1/{kind}/_ids"
    async with client(miso) as http, http.stream("GET", url, params={"type": type_} if type_ else None) as answer:
        if answer.status_code == 404:  # there is no such data set yet
            return
        if answer.status_code in (401, 403):
            raise Halt(*REFUSED)
        if answer.status_code != 200:
            raise Retry(f"Miso answered {answer.status_code} where ids were asked for")
        text, inside = b"", False
        async for chunk in answer.aiter_raw():
            text += chunk
            if not inside:
                if not (found := _LIST.search(text)):
                    continue
                text, inside = text[found.end() :], True
            at = 0
            while found := _ID.match(text, at):
                at = found.end()
                yield str(msgspec.json.decode(found[1]))
            text = text[at:]
            if _END.match(text):
                return
    raise Retry("Miso's list of ids has no end")


async def delete(
    miso: MisoConfig, kind: Kind, keys: Sequence[str], told: Callable[[int], object] = lambda done: None
) -> None:
    """Delete by id (interactions: those of these users), and wait until it is done. Raises Halt, Retry and Reject.

    ``told`` is given how many are deleted so far.
    """
    http = Miso(miso.api_url, miso.api_key, SECONDS)
    try:
        for start in range(0, len(keys), DELETED_AT_ONCE):
            some = list(keys[start : start + DELETED_AT_ONCE])
            await _deleted(http, kind, some)
            told(start + len(some))
    finally:
        await http.close()


async def _deleted(miso: Miso, kind: Kind, keys: list[str]) -> None:
    why = ""
    for attempt in range(MOST_TRIES):
        match await miso.delete(kind, keys):
            case Done(None, _):
                return
            case Done(str(task), _):
                if not (why := await _task(miso, kind, task)):
                    return
            case Later(reason, after):
                why = reason
                await asyncio.sleep(after if after is not None else backoff(attempt, random.Random()))  # noqa: S311
            case Stop(reason, fix):
                raise Halt(reason, fix)
            case refused:
                raise Reject(
                    f"Miso refuses to delete these ids: {getattr(refused, 'reason', 'one of them is invalid')}"
                )
    raise Retry(f"{why}; not everything is deleted")


async def _task(miso: Miso, kind: Kind, task: str) -> str:
    """Wait for a task; why it must be tried again, or "" when all is well."""
    wait = 0.1
    for _ in range(MOST_LOOKS):
        match await miso.task(kind, task):
            case TaskDone([]):
                return ""
            case TaskDone() | TaskFailed() | TaskGone():
                return "Miso failed or lost the task of a deletion"
            case Stop(reason, fix):
                raise Halt(reason, fix)
        await asyncio.sleep(wait)
        wait = min(wait * 2, 10.0)
    return "Miso's task of a deletion is stuck"
