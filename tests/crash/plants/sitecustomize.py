"""Loaded by every Python that starts with this folder on PYTHONPATH: puts the bug named by MISOFLOW_PLANT in.

Each plant is a mistake that such a system is prone to; tests/crash/test_planted.py shows that the tests see it.
"""

import os


def ack_before_commit():
    import asyncio

    from misoflow.inbox import Inbox

    append = Inbox.append
    tasks = set()

    async def hasty(self, items):
        task = asyncio.create_task(append(self, items))
        tasks.add(task)
        return [0] * len(items)

    Inbox.append = hasty


def normal_sync():
    import apsw

    class Lax(apsw.Connection):
        def execute(self, sql, *more, **named):
            return super().execute(sql.replace("synchronous=FULL", "synchronous=NORMAL"), *more, **named)

    apsw.Connection = Lax


def drop_on_422():
    from misoflow.delivery import Sender

    async def dropped(self, batch, request, named):
        await self._taken(batch, {})

    Sender._refused = dropped


def resend_with_a_new_timestamp():
    import random
    import re

    from misoflow import plan

    body = plan.body

    def now(_):  # another one in every process and request
        return b"T%02d:%02d:" % (random.randrange(24), random.randrange(60))

    def stamped(records, request):
        return re.sub(rb"T10:\d\d:", now, body(records, request))

    plan.body = stamped


def no_crc():
    from misoflow.inbox import inspect, payload, table

    for module in (inspect, payload, table):
        if hasattr(module, "row_crc"):
            module.row_crc = lambda *a: 0


def follow_redirects():
    import httpx

    start = httpx.AsyncClient.__init__

    def following(self, **options):
        start(self, **{**options, "follow_redirects": True})

    httpx.AsyncClient.__init__ = following


def cursor_before_its_page():
    from misoflow.store import Store, control

    commit = Store.commit

    async def early(self, chunk):
        if chunk.offset is not None:
            await self.run(control.set_meta, "offset", chunk.offset)
        await commit(self, chunk)

    Store.commit = early


def dead_letter_outside_the_transaction():
    from misoflow import delivery
    from misoflow.crash import point

    def apart(self, batch, bad):
        async def run():
            raws = await self._raws(batch, bad)
            saved = dict(bad)
            batch.todo.pop(0)
            batch.suspects = {}
            await self._store.run(lambda tx: delivery.batches.finish(tx, batch, 1))
            point("dead.written")
            await self._store.run(lambda tx: delivery.batches.refuse(tx, batch, saved, lambda e: raws.get(e, b""), 1))

        return run()

    delivery.Sender._taken = apart


def a_wrong_key_is_a_dead_letter():
    from misoflow import plan
    from misoflow.delivery import Sender
    from misoflow.miso import Stop

    act = Sender._act

    async def blamed(self, batch, request, answer):
        if isinstance(answer, Stop):
            await self._taken(batch, dict.fromkeys(plan.indices(request), (answer.reason, "$")))
        else:
            await act(self, batch, request, answer)

    Sender._act = blamed


def seen_before_the_commit():
    from misoflow.crash import point
    from misoflow.store import Store

    commit = Store.commit

    def mark(tx, outcomes):
        for made in outcomes:
            if made.row is None:
                tx.db.execute(
                    "INSERT INTO events(instance, hash, topic, received, delivery, state) VALUES(?,?,?,?,?,1)",
                    (tx.instances.id(tx.db, made.instance), made.hash, tx.words.id(tx.db, "t"), 1, 1),
                )

    def unmark(tx, outcomes):
        for made in outcomes:
            if made.row is None:
                tx.db.execute("DELETE FROM events WHERE hash=?", (made.hash,))

    async def early(self, chunk):
        await self.run(mark, chunk.outcomes)
        if chunk.outcomes:
            point("commit.inside")
        await self.run(unmark, chunk.outcomes)
        await commit(self, chunk)

    Store.commit = early


_plant = os.environ.get("MISOFLOW_PLANT")
if _plant:
    globals()[_plant]()
