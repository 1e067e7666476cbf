"""What anybody may read of a running or stopped misoflow, without touching it: counts, waits, events, dead letters.

Reads the store's snapshot first, then the inbox: a delivery the store has not used yet counts as one accepted
and one pending until it is split.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from misoflow.backfill.progress import progress
from misoflow.clock import now_ms
from misoflow.config import Settings
from misoflow.inbox import InboxReader
from misoflow.store import budgets, control, events, installs, purge, reader, slices
from misoflow.store.installs import Install
from misoflow.store.tx import STATES, Tx
from misoflow.store.values import DeadLetter
from misoflow.vault import Vault

PAGE_BYTES = 64 * 1024 * 1024


@contextmanager
def snapshot(settings: Settings, vault: Vault) -> Iterator[Tx | None]:
    """One consistent read of the store; None while there is none."""
    tx = reader(settings.data, vault)
    if tx is None:
        yield None
        return
    try:
        tx.db.execute("BEGIN")
        yield tx
    finally:
        tx.db.close()


def status(settings: Settings, vault: Vault | None = None) -> dict[str, Any]:
    """The figures of `misoflow status --json`: ``instances``, ``miso`` and ``inbox``."""
    vault = vault or Vault.from_settings(settings)
    instances = {name: _blank() for name in settings.instances}
    miso = {name: {"state": "sending", "waiting_batches": 0, "oldest_seconds": None} for name in settings.miso}
    offset = 0
    lost = None
    planned: list[Any] = []
    jobs: list[dict[str, Any]] = []
    with snapshot(settings, vault) as tx:
        if tx is not None:
            offset = int(str(control.meta(tx, "offset")))
            lost = control.meta(tx, "lost")
            _read_instances(tx, instances)
            _read_miso(tx, miso)
            planned = budgets.schedule(tx)
            jobs = progress(slices.view(tx), slices.job_rows(tx))
    inbox = InboxReader(settings.data, vault)
    try:
        for name, waiting in inbox.waiting(offset).items():
            counts = instances.setdefault(name, _blank())
            counts["accepted"] += waiting
            counts["pending"] += waiting
    finally:
        inbox.close()
    for name, error in settings.broken.items():
        instances.setdefault(name, _blank()).update(
            state="broken", reason=f"{error.where}: {error.problem}", fix=error.fix or f"mend {settings.path.name}"
        )
    for job in jobs:
        instances.setdefault(job["instance"], _blank())["history"].append(job)
    for name, last, due, note in planned:
        one = {"job": name, "last": last, "next": due, "note": note}
        instances.setdefault(name.partition("/")[0], _blank())["schedule"].append(one)
    return {"instances": instances, "miso": miso, "store": {"degraded": lost}}


def _blank() -> dict[str, Any]:
    counts: dict[str, Any] = dict.fromkeys(("accepted", *STATES, "duplicates"), 0)
    return {
        **counts,
        "state": "live",
        "reason": None,
        "fix": None,
        "last_event": None,
        "circuits": [],
        "history": [],
        "schedule": [],
    }


def _read_instances(tx: Tx, instances: dict[str, dict[str, Any]]) -> None:
    for name, state, n in tx.db.execute("SELECT name, state, n FROM counts JOIN instances ON instances.id = instance"):
        instances.setdefault(name, _blank())[state] = n
    for name, last in tx.db.execute(
        "SELECT name, (SELECT received FROM events WHERE instance = instances.id ORDER BY id DESC LIMIT 1)"
        " FROM instances"
    ):
        instances.setdefault(name, _blank())["last_event"] = last
    for name, finished in purge.erased(tx):
        instances.setdefault(name, _blank())["state"] = "erased" if finished else "erasing"
    for stop in control.paused(tx):
        instances.setdefault(stop.name, _blank()).update(state="paused", reason=stop.reason, fix=stop.fix)
    for one in installs.everyone(tx):
        _read_install(one, instances.setdefault(one.name, _blank()))
    for name, topic, reason, since in control.circuits(tx):
        counts = instances.setdefault(name, _blank())
        counts["circuits"].append({"topic": topic, "reason": reason, "since": since})
        if counts["state"] == "live":
            counts.update(state="degraded", reason=f"{topic} is held: {reason}", fix=f"misoflow resume {name}")


def _read_install(one: Install, counts: dict[str, Any]) -> None:
    """What an install lacks, unless somebody paused it."""
    if counts["state"] != "live":
        return
    if one.state != "installed":
        state = {"leaving": "uninstalled", "gone": "uninstalled"}.get(one.state, one.state)
        counts.update(state=state, reason=one.reason, fix=one.fix)
    elif one.problems:
        counts.update(state="degraded", reason=one.problems[0]["text"], fix=one.problems[0]["fix"])


def _read_miso(tx: Tx, miso: dict[str, dict[str, Any]]) -> None:
    for name, waiting, oldest in tx.db.execute(
        "SELECT name, count(*), min(created) FROM batches JOIN envs ON envs.id = env WHERE state < 2 GROUP BY name"
    ):
        age = max(0, now_ms() - oldest) // 1000
        miso.setdefault(name, {"state": "sending"}).update(waiting_batches=waiting, oldest_seconds=age)
    for stop in control.halted(tx):
        miso.setdefault(stop.name, {}).update(state="halted", reason=stop.reason, fix=stop.fix, since=stop.since)


def history(settings: Settings, vault: Vault) -> dict[str, list[dict[str, Any]]]:
    """``jobs`` with how far they are, and their ``slices``; times in ms."""
    with snapshot(settings, vault) as tx:
        if tx is None:
            return {"jobs": [], "slices": []}
        found = slices.view(tx)
        return {"jobs": progress(found, slices.job_rows(tx)), "slices": found}


def recent(
    settings: Settings, vault: Vault, *, after: int = 0, limit: int = 100, instance: str | None = None
) -> list[dict[str, Any]]:
    """Events as `misoflow tail` shows them, oldest first: those after row ``after``, or the last ``limit``."""
    where: list[str] = ["events.id > ?"]
    values: list[int | str] = [after]
    if instance is not None:
        where.append("instances.name = ?")
        values.append(instance)
    with snapshot(settings, vault) as tx:
        if tx is None:
            return []
        rows = list(
            tx.db.execute(
                f"SELECT events.id, instances.name, topics.word, received, {events.STATE_SQL}, events.reason,"
                " reasons.word, hex(events.hash), batches.id, dead.id, dead.reason, dead.path"
                f" FROM {events.JOINED} JOIN instances ON instances.id = events.instance"
                " JOIN words AS topics ON topics.id = topic LEFT JOIN words AS reasons ON reasons.id = events.reason"
                " LEFT JOIN dead ON dead.event = events.id"
                f" WHERE {' AND '.join(where)} ORDER BY events.id DESC LIMIT ?",
                (*values, limit),
            )
        )
    return [
        {
            "row": row,
            "instance": name,
            "topic": topic,
            "received": received,
            "state": state,
            "reason": dead_reason or reason,
            "path": path,
            "event": digest.lower(),
            "batch": batch,
            "dead": dead,
        }
        for row, name, topic, received, state, _, reason, digest, batch, dead, dead_reason, path in reversed(rows)
    ]


def dead_letters(
    settings: Settings,
    vault: Vault,
    *,
    ids: list[int] | None = None,
    instance: str | None = None,
    limit: int = 100,
    after: int = 0,
) -> list[DeadLetter]:
    """Dead letters by number, or of an instance, oldest first; ``raw`` is ``misoflow.pipeline.unpack``-able."""
    with snapshot(settings, vault) as tx:
        return [] if tx is None else events.dead_letters(tx, ids=ids, instance=instance, limit=limit, after=after)
