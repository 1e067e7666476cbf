"""The store's promise: one state for every event, and counts that add up after every step."""

import itertools

import msgspec
import pytest
from misoflow.store import Store, batches, control, erase, events, keyed, types
from misoflow.store.values import Chunk, Late, Outcome, Part, Piece, record_digest
from misoflow.vault import Vault

NOW = 1_700_000_000_000
numbers = itertools.count(1)


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path, Vault(b"k" * 32, None))
    yield made
    made._db.close()


def made(n=None, *, pieces=1, who=b"w" * 16, delivery=1, **more):
    n = next(numbers) if n is None else n
    bodies = [msgspec.json.encode({"type": "like", "user_id": "u", "n": n, "k": k}) for k in range(pieces)]
    return Outcome(
        "web",
        "default",
        n.to_bytes(16, "big"),
        "Product Viewed",
        NOW,
        delivery,
        who=who,
        at=NOW,
        pieces=[Piece(body) for body in bodies],
        **more,
    )


def user_part(source="traits", version=1, who=b"u" * 16, **fields):
    return Part("user", who, "u1", source, version, {"user_id": "u1", **fields})


def counts(store):
    wrong = store.run_now(events.recount)
    assert wrong == [], f"counters and rows differ: {wrong}"
    rows = store.run_now(
        lambda tx: dict(tx.db.execute("SELECT state, n FROM counts JOIN instances ON instances.id=instance"))
    )
    found = {state: n for state, n in rows.items() if n}
    states = sum(n for state, n in found.items() if state not in ("accepted", "duplicates"))
    assert found.get("accepted", 0) == states
    return found


async def put(store, *outcomes, offset=None, **more):
    await store.commit(Chunk(outcomes=list(outcomes), offset=offset, now=NOW, **more))


async def seal(store):
    env = await store.run(lambda tx: tx.envs.id(tx.db, "default"))
    number = await store.run(batches.seal_interactions, env, 10_000, 2**23, NOW + 1, NOW + 1)
    await store.run(keyed.seal, env, "user", lambda kind, record: None, NOW)
    await store.run(keyed.seal, env, "product", lambda kind, record: None, NOW)
    return number


async def open_batches(store):
    env = await store.run(lambda tx: tx.envs.id(tx.db, "default"))
    return [await store.run(batches.load, number) for number, _ in await store.run(batches.open_batches, env, 99)]


async def finish_all(store):
    for batch in await open_batches(store):
        await store.run(batches.finish, batch, NOW)


async def test_an_event_is_pending_until_its_batch_is_done(store):
    await put(store, made(), made(), offset=7)
    assert counts(store) == {"accepted": 2, "pending": 2}
    await seal(store)
    (batch,) = await open_batches(store)
    assert len(batch.records) == 2
    assert counts(store) == {"accepted": 2, "pending": 2}
    await store.run(batches.finish, batch, NOW)
    assert counts(store) == {"accepted": 2, "delivered": 2}
    assert await store.run(control.meta, "offset") == 7


async def test_nothing_of_a_chunk_is_there_when_its_commit_fails(store, monkeypatch):
    monkeypatch.setattr("misoflow.store.keyed.put", lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await put(store, made(), made(parts=[user_part(age=3)]), offset=9)
    assert counts(store) == {}
    assert await store.run(control.meta, "offset") == 0
    await put(store, made(), offset=9)
    assert counts(store) == {"accepted": 1, "pending": 1}


async def test_a_refused_record_is_a_dead_letter_and_its_neighbours_are_delivered(store):
    outcomes = [made() for _ in range(5)]
    await put(store, *outcomes)
    await seal(store)
    (batch,) = await open_batches(store)
    await store.run(batches.refuse, batch, {2: ("it is wrong", "$.x")}, lambda row: b"raw", NOW)
    await store.run(batches.finish, batch, NOW)
    assert counts(store) == {"accepted": 5, "delivered": 4, "dead": 1}
    (letter,) = await store.run(events.dead_letters)
    assert (letter.reason, letter.path, letter.raw, letter.kind) == ("it is wrong", "$.x", b"raw", "miso")
    known = await store.run(events.known, [("web", o.hash) for o in outcomes])
    assert [k.state for k in known.values()].count("dead") == 1


async def test_a_retry_sends_only_the_records_that_miso_did_not_take(store):
    both = made(pieces=2)
    await put(store, both)
    await seal(store)
    (batch,) = await open_batches(store)
    await store.run(batches.refuse, batch, {0: ("bad", "$")}, lambda row: b"raw", NOW)
    key = ("web", both.hash)
    assert (await store.run(events.known, [key]))[key].state == "pending", "its sibling is still on its way"
    await store.run(batches.finish, batch, NOW)
    known = (await store.run(events.known, [key]))[key]
    assert known.state == "dead"
    assert known.confirmed == {record_digest(both.pieces[1].body)}
    both.row, both.state = known.row, "pending"
    both.pieces = both.pieces[:1]
    await put(store, both)
    await seal(store)
    await finish_all(store)
    assert counts(store) == {"accepted": 1, "delivered": 1}


async def test_an_event_of_several_targets_is_delivered_with_the_last(store):
    await put(store, made(pieces=1, parts=[user_part(age=30)]))
    await seal(store)
    first, second = await open_batches(store)
    await store.run(batches.finish, first, NOW)
    assert counts(store) == {"accepted": 1, "pending": 1}
    await store.run(batches.finish, second, NOW)
    assert counts(store) == {"accepted": 1, "delivered": 1}


async def test_once_the_first_producer_wins_and_a_dead_one_lets_go(store):
    first, second = made(), made()
    for outcome in (first, second):
        outcome.pieces[0].claim = b"c" * 16
    await put(store, first, second)
    assert counts(store) == {"accepted": 2, "pending": 1, "skipped": 1}
    await seal(store)
    (batch,) = await open_batches(store)
    await store.run(batches.refuse, batch, {0: ("bad", "$")}, lambda row: b"", NOW)
    await store.run(batches.finish, batch, NOW)
    third = made()
    third.pieces[0].claim = b"c" * 16
    await put(store, third)
    assert counts(store) == {"accepted": 3, "pending": 1, "skipped": 1, "dead": 1}


async def test_parts_merge_field_by_field_and_the_newest_wins(store):
    await put(store, made(pieces=0, parts=[user_part(version=5, age=30, city="Oslo")]))
    await put(store, made(pieces=0, parts=[user_part(version=3, age=29, country="NO")]))
    await put(store, made(pieces=0, parts=[user_part("profile", 9, custom_attributes={"plan": "pro"})]))
    await seal(store)
    (batch,) = await open_batches(store)
    assert msgspec.json.decode(batch.records[0]) == {
        "user_id": "u1",
        "age": 30,
        "city": "Oslo",
        "country": "NO",
        "custom_attributes": {"plan": "pro"},
    }
    await finish_all(store)
    assert counts(store) == {"accepted": 3, "delivered": 3}


async def test_an_unchanged_record_is_not_sent_again(store):
    for _ in range(2):
        await put(store, made(pieces=0, parts=[user_part(version=5, age=30)]))
        await seal(store)
        await finish_all(store)
    assert counts(store) == {"accepted": 2, "delivered": 2}
    assert await store.run(lambda tx: tx.one("SELECT count(*) FROM batches")) == 1


async def test_one_record_of_a_key_is_in_flight_at_most(store):
    await put(store, made(pieces=0, parts=[user_part(version=1, age=1)]))
    await seal(store)
    await put(store, made(pieces=0, parts=[user_part(version=2, age=2)]))
    await seal(store)
    (batch,) = await open_batches(store)
    await store.run(batches.finish, batch, NOW)
    assert counts(store) == {"accepted": 2, "delivered": 1, "pending": 1}
    await seal(store)
    await finish_all(store)
    assert counts(store) == {"accepted": 2, "delivered": 2}


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
async def test_latest_does_not_depend_on_the_order(store, order):
    for version in order:
        part = Part(
            "product",
            b"p" * 16,
            "p",
            "product:p",
            version,
            {"product_id": "p", "title": str(version)},
            whole=True,
        )
        await put(store, made(pieces=0, parts=[part]))
    await seal(store)
    (batch,) = await open_batches(store)
    assert msgspec.json.decode(batch.records[0])["title"] == "2"
    await finish_all(store)
    assert counts(store)["accepted"] == 2


async def test_a_removed_product_is_deleted_at_miso_and_stays_gone_for_older_versions(store):
    def part(version, gone=False):
        fields = {} if gone else {"product_id": "p", "title": "t"}
        return Part("product", b"p" * 16, "p", "k", version, fields, whole=True, gone=gone)

    await put(store, made(pieces=0, parts=[part(1)]))
    await seal(store)
    await finish_all(store)
    await put(store, made(pieces=0, parts=[part(5, gone=True)]))
    await put(store, made(pieces=0, parts=[part(3)]))
    await seal(store)
    (batch,) = await open_batches(store)
    assert (batch.kind, batch.records) == ("delete_products", [b"p"])
    await finish_all(store)
    assert counts(store) == {"accepted": 3, "delivered": 2, "skipped": 1}


async def test_forgetting_erases_what_is_unsent_and_keeps_replays_out(store):
    mine, other = made(who=b"m" * 16), made(who=b"o" * 16)
    await put(store, mine, other)
    await store.run(lambda tx: erase.forget(tx, tx.envs.id(tx.db, "default"), b"m" * 16, "m", at=NOW, now=NOW))
    assert counts(store) == {"accepted": 2, "erased": 1, "pending": 1}
    await put(store, made(who=b"m" * 16))
    assert counts(store) == {"accepted": 3, "erased": 1, "pending": 1, "suppressed": 1}
    await seal(store)
    first = await open_batches(store)
    assert [batch.kind for batch in first] == ["forget"], "what is newer waits for the forget"
    await finish_all(store)
    (batch,) = await open_batches(store)
    assert batch.records == [other.pieces[0].body]


async def test_a_batch_of_unknown_outcome_is_settled_before_the_forget(store):
    await put(store, made(who=b"m" * 16))
    await seal(store)
    (batch,) = await open_batches(store)
    batch.tries = batch.requests = 1
    await store.run(batches.save_plan, batch)
    await store.run(lambda tx: erase.forget(tx, tx.envs.id(tx.db, "default"), b"m" * 16, "m", at=NOW, now=NOW))
    (again,) = await open_batches(store)
    assert (again.kind, again.records) == ("interactions", batch.records)
    await store.run(batches.finish, again, NOW)
    (last,) = await open_batches(store)
    assert last.kind == "forget"


async def test_a_forgotten_user_leaves_a_sealed_batch_that_was_not_sent(store):
    mine = made(pieces=0, who=b"u" * 16, parts=[user_part(age=3)])
    other = made(pieces=0, parts=[Part("user", b"o" * 16, "o", "traits", 1, {"user_id": "o"})])
    await put(store, mine, other)
    await seal(store)
    await store.run(lambda tx: erase.forget(tx, tx.envs.id(tx.db, "default"), b"u" * 16, "u1", at=NOW, now=NOW))
    (batch,) = await open_batches(store)
    wanted = [batch.records[index] for request in batch.todo for a, b in request for index in range(a, b)]
    assert wanted == [b'{"user_id":"o"}']
    assert not any(b"u1" in record for record in batch.records)
    await finish_all(store)
    await finish_all(store)
    assert counts(store) == {"accepted": 2, "delivered": 1, "erased": 1}


async def test_a_batch_that_was_taken_to_be_sent_is_not_touched(store):
    await put(store, made(who=b"m" * 16))
    number = await seal(store)
    batch = await store.run(batches.take, number)
    await store.run(lambda tx: erase.forget(tx, tx.envs.id(tx.db, "default"), b"m" * 16, "m", at=NOW, now=NOW))
    assert (await store.run(batches.load, number)).records == batch.records


async def test_a_late_identity_is_bound_by_its_alias(store):
    outcome = made()
    outcome.pieces[0].late = (Late("anonymous_id", (b"l" * 16,)),)
    await put(store, outcome)
    assert await seal(store) is None
    await put(store, made(pieces=0, aliases=[(b"l" * 16, "visitor-1")]))
    await seal(store)
    (batch,) = await open_batches(store)
    assert msgspec.json.decode(batch.records[0])["anonymous_id"] == "visitor-1"
    await finish_all(store)
    assert counts(store) == {"accepted": 2, "delivered": 2}


async def test_held_deliveries_are_counted_until_they_are_split(store):
    await put(store, offset=3, held=[(2, "web"), (3, "web")])
    assert counts(store) == {"accepted": 2, "pending": 2}
    assert await store.run(events.held_deliveries, "web", 10) == [2, 3]
    await put(store, made(), made(), made(), released=[2, 3])
    assert counts(store) == {"accepted": 3, "pending": 3}


async def test_retention_keeps_the_counts(store):
    dead = made(state="dead", reason="r", raw=b"raw")
    await put(store, made(), made(), dead)
    await seal(store)
    await finish_all(store)
    before = counts(store)
    row = await store.run(lambda tx: tx.instances.id(tx.db, "web"))
    await store.run(events.prune, batches_before=NOW + 1, dead_before=NOW + 1, seen_before=[(row, NOW + 1)], limit=100)
    assert counts(store) == before
    for table in ("events", "dead", "parts", "batches"):
        assert await store.run(lambda tx, t=table: tx.one(f"SELECT count(*) FROM {t}")) == 0


async def test_what_retention_removed_has_left_the_files(store, tmp_path):
    for n in range(40):
        raw = bytes(f"dead letter {n} ", "ascii") * 40
        await put(store, made(), made(state="dead", reason="r", raw=raw, pieces=0))
    await seal(store)
    await finish_all(store)
    blobs = await store.run(
        lambda tx: [row[0] for row in tx.db.execute("SELECT raw FROM dead UNION ALL SELECT body FROM parts")]
    )
    assert len(blobs) == 80
    row = await store.run(lambda tx: tx.instances.id(tx.db, "web"))
    await store.run(events.prune, batches_before=NOW + 1, dead_before=NOW + 1, seen_before=[(row, NOW + 1)], limit=999)
    store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    content = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert not [blob for blob in blobs if blob[:48] in content]


async def test_compare_and_set(store):
    assert await store.run(control.put, "web", "token", b"1", None)
    assert not await store.run(control.put, "web", "token", b"2", None)
    assert await store.run(control.put, "web", "token", b"2", b"1")
    assert await store.run(control.get, "web", "token") == b"2"


async def test_progress_stops_at_what_is_pending(store, tmp_path):
    from misoflow.store import progress

    await put(store, made(delivery=4), offset=9)
    assert progress(tmp_path).done_before == 4
    await seal(store)
    assert progress(tmp_path).done_before == 4
    await finish_all(store)
    assert progress(tmp_path).done_before == 10


async def test_payloads_are_sealed_at_rest(store, tmp_path):
    secret = b"canary-9f3"
    outcome = made()
    outcome.pieces[0].body = b'{"x":"' + secret + b'"}'
    await put(store, outcome, made(state="dead", reason="r", raw=secret, pieces=0))
    await put(store, made(pieces=0, parts=[user_part(city=secret.decode())]))
    await store.run(control.put, "web", "token", secret, None)
    for file in tmp_path.iterdir():
        assert secret not in file.read_bytes(), file.name
        assert file.stat().st_mode & 0o077 == 0, f"others can read {file.name}"


@pytest.mark.parametrize(
    ("value", "wanted", "fitted"),
    [
        ("a", "text", "a"),
        (3, "text", "3"),
        (True, "text", "true"),
        ("3", "number", 3),
        ("3.5", "number", 3.5),
        ("nan", "number", None),
        ("many", "number", None),
        ("a", "list of text", ["a"]),
        ([1, 2], "list of text", ["1", "2"]),
        ([], "list of text", []),
        ({"a": 1}, "text", None),
        (True, "number", None),
        (1, "boolean", None),
    ],
)
def test_a_custom_attribute_is_fitted_to_its_type_or_left_out(value, wanted, fitted):
    assert types.fitted(value, wanted) == fitted


async def test_an_attribute_keeps_the_type_that_miso_has(store):
    await put(store, made(pieces=0, parts=[user_part(version=1, custom_attributes={"plan": "pro", "seats": 3})]))
    await seal(store)
    await finish_all(store)
    part = user_part(version=2, custom_attributes={"plan": 7, "seats": {"a": 1}})
    await put(store, made(pieces=0, parts=[part]))
    await seal(store)
    (batch,) = await open_batches(store)
    assert msgspec.json.decode(batch.records[0])["custom_attributes"] == {"plan": "7"}
