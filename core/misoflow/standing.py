"""How an install stands, for the page that its owner sees: nothing in it is secret or personal."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from misoflow.backfill.progress import progress
from misoflow.config import Settings
from misoflow.status import snapshot
from misoflow.store import control, installs, slices
from misoflow.store.installs import Install
from misoflow.store.slices import Job
from misoflow.store.tx import Tx
from misoflow.vault import Vault


class Pulling(Struct, frozen=True):
    """A stream of history: ``waiting``, ``pulling``, ``done`` or ``off``; ``share`` of its range from 0 to 1."""

    name: str
    state: str
    read: int = 0
    share: float | None = None
    note: str = ""


class Finding(Struct, frozen=True):
    """What a person should know, and the next action. ``warn`` or ``fail``."""

    level: str
    text: str
    fix: str


class Standing(Struct, frozen=True):
    """All of it; times in ms.

    ``state``: ``connecting``, ``pulling``, ``live``, ``degraded``, ``failed`` or ``uninstalled``.
    """

    state: str
    tenant: str
    reason: str = ""
    fix: str = ""
    installed_at: int | None = None
    last_event: int | None = None
    counts: dict[str, int] = {}
    """``accepted`` and the states of its events, which add up to it."""
    streams: tuple[Pulling, ...] = ()
    problems: tuple[Finding, ...] = ()
    asked: int = 0
    """When the click came that all this is about."""
    again: bool = False
    """It stands still: opening the app again may be what it needs."""


def standing(settings: Settings, vault: Vault, name: str) -> Standing | None:
    """How the install ``name`` (``<template>/<tenant>``) stands; None when nobody ever clicked. Only reads."""
    return standings(settings, vault, name).get(name)


def standings(settings: Settings, vault: Vault, name: str | None = None) -> dict[str, Standing]:
    """Every install by its name, or the one; those of a template too."""
    with snapshot(settings, vault) as tx:
        if tx is None:
            return {}
        chosen = installs.everyone(tx) if name is None else installs.of(tx, name)
        return {one.name: _standing(tx, one) for one in chosen}


def _standing(tx: Tx, one: Install) -> Standing:
    name = one.name
    streams = () if one.installed is None else _streams(tx, one)
    stop = next((stop for stop in control.paused(tx) if stop.name in (name, name.partition("/")[0])), None)
    problems = tuple(Finding(**found) for found in one.problems)
    if stop is not None:
        problems = (Finding("fail", stop.reason, stop.fix), *problems)
    return Standing(
        _state(one, streams, problems),
        name.partition("/")[2],
        one.reason or "",
        one.fix or "",
        one.installed,
        installs.last_event(tx, name),
        installs.counts(tx, name),
        streams,
        problems,
        one.asked,
        stop is not None,
    )


def _state(one: Install, streams: tuple[Pulling, ...], problems: tuple[Finding, ...]) -> str:
    if one.state != "installed":
        return {"leaving": "uninstalled", "gone": "uninstalled"}.get(one.state, one.state)
    if any(problem.level == "fail" for problem in problems):
        return "degraded"
    return "pulling" if not one.started or any(stream.state == "pulling" for stream in streams) else "live"


def _streams(tx: Tx, one: Install) -> tuple[Pulling, ...]:
    """The latest job of each stream, and those that cannot be pulled.

    A stream that is only looked at again, once it came whole, is done: its owner has nothing to wait for.
    """
    latest: dict[str, Job] = {}
    for job in slices.job_rows(tx, one.name):
        before = latest.get(job.stream)
        if before is None or before.state != "done" or job.purpose != "poll":
            latest[job.stream] = job
    jobs = list(latest.values())
    seen = {job["stream"]: job for job in progress(slices.view(tx, jobs=[job.id for job in jobs]), jobs)}
    found = [_pulling(name, job) for name, job in sorted(seen.items()) if name not in one.without]
    return tuple(found + [Pulling(name, "off") for name in sorted(one.without)])


def _pulling(name: str, job: dict[str, Any]) -> Pulling:
    state = {"open": "pulling", "stopped": "waiting"}.get(job["state"], "done")
    polls = job["purpose"] == "poll"
    return Pulling(name, state, job["read"], None if polls else job["share"], job["error"] or job["waits"] or "")
