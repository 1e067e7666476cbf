"""Deliveries of an erased install: nothing of them stays in the inbox's files, and none looks lost."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from misoflow import inbox
from misoflow.connector import Request
from misoflow.inbox import Inbox, InboxReader
from misoflow.inbox.file import open_for_reading
from misoflow.inbox.payload import blank, row_crc
from misoflow.vault import Vault

VAULT = Vault(b"k" * 32, None)
SHOP, OTHER = "shop/acme-shop.example", "shop/b.example"


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Inbox]:
    made = Inbox.open(tmp_path, VAULT, 10**9)
    yield made
    await made.close()


def delivery(name: str, size: int) -> tuple[str, Request]:
    return name, Request(random.Random(size).randbytes(size), received_at=datetime.now(UTC))


def payloads(folder: Path, name: str) -> list[bytes]:
    db = open_for_reading(folder)
    found = [payload for (payload,) in db.execute("SELECT payload FROM deliveries WHERE instance=?", (name,))]
    db.close()
    return found


async def test_only_what_was_asked_for_goes_and_nothing_looks_lost(box: Inbox, tmp_path: Path) -> None:
    rng = random.Random(1)
    for _ in range(60):
        some = [delivery(rng.choice([SHOP, OTHER]), rng.choice([0, 50, 900, 5000, 60_000])) for _ in range(7)]
        await box.append(some)
    reader = InboxReader(tmp_path, VAULT)
    kept = [(one.id, one.request) for one in reader.read(0, 10**6, 10**9) if one.instance == OTHER or one.id > 400]
    sealed = payloads(tmp_path, SHOP)
    assert reader.erased() == 0
    await box.erase([(3, SHOP, 400), (7, "shop/nobody.example", 400)])
    assert reader.erased() == 7
    found = reader.read(0, 10**6, 10**9)
    assert [(one.id, one.request) for one in found if one.events is None] == kept
    assert all(one.events == [] and SHOP not in one.instance for one in found if (one.id, one.request) not in kept)
    assert reader.audit().problem is None
    gone = set(sealed) - set(payloads(tmp_path, SHOP))
    assert len(gone) > 150
    on_disk = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert not [one for one in gone if one[:60] in on_disk or one[-60:] in on_disk]
    await box.erase([(8, SHOP, 420)])
    on_disk = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"acme-shop" not in on_disk
    reader.close()


async def test_a_reader_that_holds_the_log_delays_the_receipt(box: Inbox, tmp_path: Path) -> None:
    await box.append([delivery(SHOP, 900)])
    slow = open_for_reading(tmp_path)
    cursor = slow.execute("BEGIN; SELECT id FROM deliveries")
    next(cursor)
    reader = InboxReader(tmp_path, VAULT)
    await box.erase([(1, SHOP, 1)])
    assert reader.erased() == 0
    slow.close()
    await box.erase([(1, SHOP, 1)])
    assert reader.erased() == 1
    reader.close()


async def test_a_rewrite_that_comes_too_late_changes_nothing(box: Inbox, tmp_path: Path) -> None:
    await box.append([delivery(SHOP, 900)])
    await box.erase([(1, SHOP, 1)])
    late = inbox.seal_delivery(VAULT, Request(b"late"))
    await box.rewrite([(1, late)])
    reader = InboxReader(tmp_path, VAULT)
    assert reader.get([1])[0].events == []
    assert reader.holds(1, late), "so that it is not asked for again"
    reader.close()


async def test_a_blanked_inbox_is_repaired_like_any_other(tmp_path: Path) -> None:
    box = Inbox.open(tmp_path, VAULT, 10**9)
    await box.append([delivery(name, 900) for name in (SHOP, OTHER) * 20])
    await box.erase([(1, SHOP, 40)])
    await box.close()
    report = inbox.repair(tmp_path, VAULT)
    assert (report.recovered, report.lost) == (40, [])


def test_without_an_inbox_nothing_is_waited_for(tmp_path: Path) -> None:
    assert InboxReader(tmp_path, VAULT).erased() > 10**9


@pytest.mark.parametrize("crc", [0x12, 0x1234, 0x123456, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_blank_row_is_as_large_as_it_was(crc: int) -> None:
    name, found, payload = blank(7, "shop/ä.example", 1_700_000_000_000, crc, 900)
    assert len(name.encode()) == len("shop/ä.example".encode())
    assert len(payload) == 900
    assert found == row_crc(7, name, 1_700_000_000_000, payload)
    sizes = [next(n for n in (1, 2, 3, 4, 6) if one < 1 << (8 * n - 1)) for one in (crc, found)]
    assert sizes[0] == sizes[1] or crc < 0x8000
