"""Rate budgets: as many calls as the platform allows, by account, over restarts, shared by all jobs."""

from __future__ import annotations

import asyncio
from array import array
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from misoflow.budget import HOUR_MS, StoredBudgets, _Key, next_turn
from misoflow.clock import now_ms
from misoflow.store import Store, budgets
from misoflow.vault import Vault


def opened(tmp_path: Path) -> Store:
    return Store(tmp_path, Vault(b"k" * 40))


async def calls_until_blocked(budget: StoredBudgets, key: str, per_hour: int) -> int:
    made = 0
    for _ in range(per_hour + 5):
        try:
            async with asyncio.timeout(0.1):
                async with budget.call(key, per_hour=per_hour):
                    made += 1
        except TimeoutError:
            break
    return made


async def test_calls_are_counted_by_key_and_over_restarts(tmp_path: Path) -> None:
    store = opened(tmp_path)
    budget = StoredBudgets(store)
    async with budget.call("export/1", per_hour=5), budget.call("export/1", per_hour=5):
        pass
    await store.close()
    store = opened(tmp_path)
    budget = StoredBudgets(store)
    assert await calls_until_blocked(budget, "export/1", 5) == 3
    assert await calls_until_blocked(budget, "export/2", 5) == 5
    assert await calls_until_blocked(StoredBudgets(store), "export/1", 5) == 0
    await store.close()


async def test_what_the_platform_blocks_is_blocked_for_all_and_after_a_restart(tmp_path: Path) -> None:
    store = opened(tmp_path)
    await StoredBudgets(store).block("export/1", 60)
    assert await calls_until_blocked(StoredBudgets(store), "export/1", 5) == 0
    _, blocked = await store.run(budgets.load, "export/1")
    assert 50_000 < blocked - now_ms() <= 60_000
    await store.close()


async def test_no_more_at_once_than_allowed(tmp_path: Path) -> None:
    store = opened(tmp_path)
    budget = StoredBudgets(store)
    at_once = most = 0

    async def one() -> None:
        nonlocal at_once, most
        async with budget.call("k", per_hour=100, at_once=2):
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0.01)
            at_once -= 1

    await asyncio.gather(*(one() for _ in range(10)))
    assert most == 2
    await store.close()


@given(
    st.lists(st.integers(0, 3 * HOUR_MS), max_size=80).map(sorted),
    st.integers(1, 60),
    st.integers(1, 5),
    st.integers(0, 4 * HOUR_MS),
)
def test_a_turn_keeps_both_limits(calls: list[int], per_hour: int, per_second: int, blocked: int) -> None:
    entry = _Key()
    entry.calls, entry.blocked = array("q", calls), blocked
    now = max(calls, default=0)
    due = next_turn(entry, per_hour, per_second, now)
    assert due >= max(now, blocked)
    assert sum(due - HOUR_MS < one for one in calls) < per_hour or len(calls) < per_hour
    assert sum(due - 1000 < one for one in calls) < per_second
