"""Installs of templates: who clicked, whether it is done, what is missing, and when it ended.

An install is ``connecting`` until ``Installable.install`` has come through, then ``installed``; ``failed`` when the
click has to be repeated; ``leaving`` from the moment the platform says that the app is gone until the connector
has forgotten its credentials, then ``gone``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from misoflow.store import fetches, purge
from misoflow.store.tx import STATES, Tx
from misoflow.store.values import Life

GONE = "the app is not installed any more"
State = Literal["connecting", "installed", "failed", "leaving", "gone"]
COLUMNS = "name, state, grant, asked, installed, due, tries, reason, installs.fix, ended, started, problems, without"


@dataclass(frozen=True, slots=True)
class Install:
    """One install; times in ms. ``grant`` is what the click brought, {} once it is used up."""

    name: str
    state: State
    grant: dict[str, str]
    asked: int
    installed: int | None
    due: int
    tries: int
    reason: str | None
    fix: str | None
    ended: int | None
    started: bool
    """Its history was asked for."""
    problems: list[dict[str, str]]
    """``level``, ``text`` and ``fix`` of what a person should know."""
    without: list[str]
    """Streams that cannot be pulled."""


def live(tx: Tx, instance: int, name: str, turn: Life, now: int, delivery: int) -> bool:
    """What an event, come with that delivery, says about the install itself; whether what comes next counts no more."""
    if turn.what == "connect":
        connect(tx, instance, turn.grant, turn.at)
        return False
    over = end(tx, instance, turn.reason, turn.at, now)
    if over and turn.what == "erase":
        purge.ask(tx, name, turn.at, now, delivery=delivery)
    return over and "/" in name


def connect(tx: Tx, instance: int, grant: bytes, now: int) -> None:
    """Somebody clicked: the install is made, or made again. A click older than the last one changes nothing."""
    tx.db.execute(
        "INSERT INTO installs(instance, state, grant, asked, due) VALUES(?,'connecting',?,?,0)"
        " ON CONFLICT DO UPDATE SET state='connecting', grant=excluded.grant, due=0, tries=0, reason=NULL, fix=NULL,"
        " ended=NULL, asked=excluded.asked, started=CASE WHEN state IN ('leaving', 'gone') THEN 0 ELSE started END"
        " WHERE excluded.asked >= asked",
        (instance, tx.seal(grant, b"grant"), now),
    )


def of_itself(tx: Tx, name: str, now: int) -> None:
    """An instance that is no template is installed when the engine first starts, and looked at when it starts again."""
    tx.db.execute(
        "INSERT INTO installs(instance, state, asked) VALUES(?,'connecting',?)"
        " ON CONFLICT DO UPDATE SET due=0, state=CASE WHEN state='failed' THEN 'connecting' ELSE state END",
        (tx.instances.id(tx.db, name), now),
    )


def end(tx: Tx, instance: int, reason: str, at: int, now: int) -> bool:
    """The app was uninstalled at ``at``; False, and nothing changes, where it was installed again since."""
    asked = tx.one("SELECT asked FROM installs WHERE instance=?", (instance,))
    if asked is not None and asked > at:
        return False
    tx.db.execute(
        "UPDATE installs SET state='leaving', grant=NULL, due=0, tries=0, reason=?, fix=NULL, ended=?"
        " WHERE instance=? AND state NOT IN ('leaving', 'gone')",
        (reason, now, instance),
    )
    return True


def due(tx: Tx, now: int, limit: int) -> list[Install]:
    """Installs that want something done, of instances that nobody paused."""
    rows = tx.db.execute(
        f"SELECT {COLUMNS} FROM installs JOIN instances ON instances.id = instance WHERE due <= ?"
        " AND state IN ('connecting', 'installed', 'leaving') AND (paused IS NULL OR state != 'installed')"
        " ORDER BY due LIMIT ?",
        (now, limit),
    )
    return [_install(tx, row) for row in list(rows)]


def active(tx: Tx) -> set[str]:
    """Names of the installs whose events count."""
    rows = tx.db.execute(
        "SELECT name FROM installs JOIN instances ON instances.id = instance WHERE state IN ('connecting', 'installed')"
    )
    return {name for (name,) in rows}


def everyone(tx: Tx) -> list[Install]:
    """All of them, by name."""
    rows = tx.db.execute(f"SELECT {COLUMNS} FROM installs JOIN instances ON instances.id = instance ORDER BY name")
    return [_install(tx, row) for row in list(rows)]


def of(tx: Tx, name: str) -> list[Install]:
    """The install of that name, or all of the template."""
    rows = tx.db.execute(
        f"SELECT {COLUMNS} FROM installs JOIN instances ON instances.id = instance"
        " WHERE name = ? OR (name >= ? AND name < ?) ORDER BY name",
        (name, f"{name}/", f"{name}0"),  # "0" comes after "/"
    )
    return [_install(tx, row) for row in list(rows)]


def find(tx: Tx, name: str) -> Install | None:
    """One of them, or None."""
    return next((one for one in of(tx, name) if one.name == name), None)


def done(tx: Tx, name: str, asked: int, found: dict[str, Any], now: int, again: int) -> bool:
    """``install`` came through; look again at ``again``. False when the app went or was clicked meanwhile.

    Until its history was asked for, it stays due: whoever ends in between asks for it after the next start.
    """
    row = tx.instances.find(tx.db, name)
    tx.db.execute(
        "UPDATE installs SET state='installed', grant=NULL, installed=coalesce(CASE WHEN state='installed' THEN"
        " installed END, ?), due=CASE WHEN state='installed' AND started THEN ? ELSE due END,"
        " started=(state='installed' AND started), tries=0, reason=NULL, fix=NULL, problems=?, without=?"
        " WHERE instance=? AND asked=? AND state IN ('connecting', 'installed')",
        (now, again, _text(found["problems"]), _text(found["without"]), row, asked),
    )
    return bool(tx.db.changes())


def started(tx: Tx, name: str, again: int) -> None:
    """Its history was asked for; look again at ``again``."""
    tx.db.execute(
        "UPDATE installs SET started=1, due=? WHERE instance=? AND state='installed'",
        (again, tx.instances.find(tx.db, name)),
    )


def later(tx: Tx, name: str, asked: int, reason: str, again: int) -> None:
    """It could not be done now; once more at ``again``."""
    tx.db.execute(
        "UPDATE installs SET due=?, tries=tries+1, reason=? WHERE instance=? AND asked=?",
        (again, reason, tx.instances.find(tx.db, name), asked),
    )


def failed(tx: Tx, name: str, asked: int, reason: str, fix: str) -> None:
    """Only a new click helps."""
    tx.db.execute(
        "UPDATE installs SET state='failed', grant=NULL, reason=?, fix=? WHERE instance=? AND asked=?",
        (reason, fix, tx.instances.find(tx.db, name), asked),
    )


def left(tx: Tx, name: str) -> None:
    """The credentials are forgotten; jobs of the install stand still until it is installed again."""
    row = tx.instances.find(tx.db, name)
    tx.db.execute("UPDATE installs SET state='gone' WHERE instance=? AND state='leaving'", (row,))
    tx.db.execute("UPDATE jobs SET state='stopped' WHERE instance=? AND state='open'", (row,))
    fetches.drop(tx, row, GONE)
    tx.db.execute("DELETE FROM pulls WHERE instance=?", (row,))


def overdue(tx: Tx, before: int) -> list[str]:
    """Installs that ended before that and were not erased since."""
    rows = tx.db.execute(
        "SELECT name FROM installs JOIN instances ON instances.id = instance WHERE state='gone' AND ended < ?",
        (before,),
    )
    return [name for (name,) in list(rows)]


def last_event(tx: Tx, name: str) -> int | None:
    """When the instance's latest event came in."""
    last: int | None = tx.one(
        "SELECT received FROM events WHERE instance=(SELECT id FROM instances WHERE name=?) ORDER BY id DESC LIMIT 1",
        (name,),
    )
    return last


def counts(tx: Tx, name: str) -> dict[str, int]:
    """``accepted`` and the states of an instance's events."""
    rows = dict(
        tx.db.execute("SELECT state, n FROM counts JOIN instances ON instances.id = instance WHERE name=?", (name,))
    )
    return {state: rows.get(state, 0) for state in ("accepted", *STATES)}


def _install(tx: Tx, row: tuple[Any, ...]) -> Install:
    name, state, grant, asked, installed, when, tries, reason, fix, ended, begun, problems, without = row
    given = msgspec.json.decode(tx.open(grant, b"grant")) if grant is not None else {}
    return Install(
        *(name, state, given, asked, installed, when, tries, reason, fix, ended, bool(begun)),
        msgspec.json.decode(problems),
        msgspec.json.decode(without),
    )


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
