"""S8 and S12 with a shop: what is secret or personal is sealed wherever it lies, and who asks for it is forgotten."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from misoflow_sandbox.shopify import visit

from tests.shopify.running import DOMAIN, Running, quick, running

OLD, NEW, WRONG = ("-".join([name] * 8) for name in ("engine-key-one", "engine-key-two", "engine-key-bad"))
CANARIES = tuple(f"canary-{number}-{uuid.UUID(int=number).hex}" for number in range(22))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)


def copies(data: Path, to: Path) -> Iterator[Path]:
    """Backups of the databases, made as an operator makes them while all runs."""
    to.mkdir(exist_ok=True)
    for name in ("store.db", "inbox.db"):
        with sqlite3.connect(data / name) as source, sqlite3.connect(to / name) as target:
            source.backup(target)
        yield to / name


def found_in(files: Iterator[Path] | list[Path], texts: list[str]) -> list[str]:
    return [f"{path.name}: {text}" for path in files for text in texts if text.encode() in path.read_bytes()]


async def test_s8_no_token_grant_or_person_is_in_clear_in_a_file(tmp_path: Path) -> None:
    async with running(tmp_path) as s:
        await s.live()
        tokens = s.shopify.shop().tokens
        secret = [*tokens.access, *tokens.refresh]
        for canary in CANARIES:
            body = {"id": 1, "customer": {"id": 5, "email": canary, "first_name": canary}, "note": canary}
            assert await s.hook("themes/publish", body, canary) == 200
        body = {"shop": DOMAIN, "code": "canary-code-of-a-click", "url": f"{s.receiver}/install/shop"}
        assert await s.hook("customers/update", {"id": 5, "email": "canary@shop.example", "state": body}, "c") == 200
        await s.connect()
        await s.quiet()
        secret += [*tokens.access, *tokens.refresh, "canary-code-of-a-click", "canary@shop.example", *CANARIES]
        assert len(set(secret)) >= 25
        files = [path for path in s.settings.data.rglob("*") if path.is_file()]
        assert {"store.db", "inbox.db"} <= {path.name for path in files}
        assert found_in(files, secret) == []
        assert found_in(list(copies(s.settings.data, tmp_path / "backup")), secret) == []
        assert found_in(files, [DOMAIN]) != []  # the search does find what is there in clear
        saved = await s.connector().tokens.stored()
        assert saved is not None
        assert saved.access_token in secret


async def test_s8_the_engines_key_is_changed_under_load(tmp_path: Path) -> None:
    async with running(tmp_path, engine=f'key = "{OLD}"') as s:
        await s.live()
        users = len(s.users())
        s.shopify.shop().tokens.expire_access()  # the new key has to open the refresh token
        stop = asyncio.Event()
        made: list[int] = []
        load = asyncio.create_task(_load(s, stop, made))
        await _restarted(s, f'key = "{NEW}"\nold_key = "{OLD}"')
        await s.look()
        await asyncio.sleep(0.5)
        stop.set()
        await load
        s.shopify.clock.advance(4 * 3600)  # what came while nobody listened comes again
        await s.quiet()
        assert made
        assert len(s.users()) == users + len(made)
        assert s.dead() == []
        assert s.state() == "live"
        number = next(iter(s.shopify.shop().products)).id
        await s.done(lambda: s.shopify.merchant().update_product(number, title="After the change"))
        await s.quiet()
        assert "After the change" in str(s.products())  # one group under either key: it does not remove itself


async def _load(s: Running, stop: asyncio.Event, made: list[int]) -> None:
    while not stop.is_set():
        customer = await s.done(lambda: s.shopify.merchant().create_customer())
        made.append(customer.id)
        await asyncio.sleep(0.05)


async def _restarted(s: Running, engine: str) -> None:
    await s.stop()
    await s.deaf()
    s.configure("", engine)
    await s.receive()
    await s.start()


async def test_s8_a_wrong_key_ends_with_78_and_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, engine=f'key = "{OLD}"') as s:
        await s.live()
        await s.stop()
        await s.deaf()
        before = {path.name: path.read_bytes() for path in s.settings.data.glob("*.db")}
        s.configure("", f'key = "{WRONG}"')
        for command in (["work"], ["serve", "--port", "0", "--admin-port", "0"]):
            given = [sys.executable, "-m", "misoflow", *command, "--config", str(tmp_path / "plugins.toml")]
            done = await asyncio.to_thread(subprocess.run, given, capture_output=True, timeout=60)
            assert done.returncode == 78, done.stderr
        assert {path.name: path.read_bytes() for path in s.settings.data.glob("*.db")} == before
        s.configure("", f'key = "{OLD}"')
        await s.receive()
        await s.start()
        await s.look()
        await s.quiet()
        assert s.state() == "live"


async def test_s12_a_customer_is_forgotten_here_and_at_miso(tmp_path: Path) -> None:
    async with running(tmp_path) as s:
        await s.live()
        customer = next(iter(s.shopify.shop().customers)).id
        order = await s.done(lambda: visit(s.shopify.shopper(3, customer=customer), 3))
        await s.quiet()
        assert _of(s, str(customer))
        assert str(customer) in s.users()
        rest = len(s.users()) - 1
        await s.done(lambda: s.shopify.merchant().redact_customer(customer))
        s.shopify.clock.advance(10 * 86_400 + 1)
        await s.quiet()
        await s.until(lambda: not _of(s, str(customer)) and str(customer) not in s.users())
        body = {"shop_domain": DOMAIN, "customer": {"id": customer}, "orders_to_redact": [order.id]}
        for number in range(10):  # asked ten times is asked once
            assert await s.hook("customers/redact", body, f"again-{number}") == 200
        await s.quiet()
        await s.until(lambda: not _of(s, str(customer)) and str(customer) not in s.users())
        assert len(s.users()) == rest
        assert s.dead() == []


def _of(s: Running, customer: str) -> list[dict[str, Any]]:
    return [one for one in s.interactions() if one.get("user_id") == customer]
