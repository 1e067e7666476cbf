"""The worker ends by kill -9 in the middle of what effects ask for; the next one brings it to its end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from misoflow.control import call
from misoflow.store import slices
from misoflow_sandbox.miso import MisoSandbox, served

from tests.core.site import Site, item
from tests.core.test_pulls import MORE, Shop

GROUPS = [item("group", g=f"product/{n}", v=5, records={f"p{n}": "t", f"q{n}": "t"}) for n in range(15)]
NEXT = [
    item("group", g="product/3", v=7, records={"p3": "newer"}),
    item("absent", prefix="product/", v=6),
    item("late", keys=["cart", "order"]),
    item("alias", key="order", a="ann"),
    item("known", ps=["p3"], ref="3"),
    item("known", ps=["nobody"], ref="4"),
    item("once", key="order:1", also=["line:1"], p="whole"),
    item("once", key="line:1", p="line"),
    item("pull", stream="catalog"),
]
AT = [
    *("commit.inside:1", "commit.inside:2", "work.before_commit:2", "work.after_commit:2"),
    *("absent.inside:1", "absent.inside:2", "known.inside:1", "pull.begun:1"),
    *("finish.inside:1", "finish.inside:3"),
]


async def killed(s: Site, at: str, *items: dict[str, Any]) -> None:
    """A worker that ends there takes these events."""
    command = [sys.executable, "-m", "misoflow", "work", "--config", str(s.folder / "plugins.toml")]
    with subprocess.Popen(command, env={**os.environ, "MISOFLOW_CRASH_AT": at}, stdout=subprocess.PIPE) as worker:
        try:
            assert worker.stdout is not None
            await s.send(*items, instance="shop")
            assert await asyncio.to_thread(worker.wait, 60) == -signal.SIGKILL, f"{at} was not reached"
        finally:
            worker.kill()


async def nothing_left(s: Site) -> None:
    """Until every effect is done with."""
    open_rows = "SELECT (SELECT count(*) FROM pulls) + (SELECT count(*) FROM absents WHERE open=1)"
    for _ in range(1200):
        if s.task.done():
            s.task.result()
        waits = await s.engine.store.run(lambda tx: tx.one(open_rows))
        jobs = await s.engine.store.run(slices.open_jobs)
        if not waits and not jobs and "pending" not in s.counts("shop"):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(s.counts("shop"))


@pytest.mark.parametrize("at", AT)
async def test_a_kill_loses_and_doubles_nothing(tmp_path: Path, at: str) -> None:
    with served(MisoSandbox("key")) as url:
        s = Site(tmp_path, MisoSandbox("key"), url)
        s.configure(MORE)
        Shop.gate = asyncio.Event()
        Shop.gate.set()
        await s.open()
        await s.send(*GROUPS, instance="shop")
        await s.settled(len(GROUPS), "shop")
        await s.stop()
        await killed(s, at, *NEXT)
        await s.start()
        await s.until(lambda: s.counts("shop").get("accepted", 0) >= len(GROUPS) + len(NEXT))
        await nothing_left(s)
        assert {key: one["title"] for key, one in s.products().items()} == {"p3": "newer"}
        found = s.interactions()
        once = {one["context"]["custom_context"]["uuid"]: one for one in found}
        assert len(once) == len(found) or repeats(s), "a record came twice, and no request did"
        named = sorted((one["product_ids"][0], one.get("anonymous_id", "")) for one in once.values())
        pulled = [one for one in named if one == ("p", "")]
        assert pulled, "the stream was not pulled"
        rest = [one for one in named if one not in pulled and not one[0].startswith("fetched-")]
        assert rest == [("p", "ann"), ("p3", "visitor"), ("whole", "")]
        assert (await call(s.settings, "recount"))["wrong"] == []
        await s.stop()
        await s.inbox.close()


def repeats(s: Site) -> bool:
    """Whether Miso got the same bytes twice, as it does when the outcome of a request was unknown."""
    sent = [one["sha256"] for one in json.loads(s._ask("/_sandbox/wire")) if one["method"] == "POST"]
    return len(sent) != len(set(sent))
