"""``misoflow upload``: what is sent, what is set aside with which reason, and what Miso's answers make of it."""

from __future__ import annotations

import gzip
from operator import itemgetter
from typing import Any

import msgspec
import pytest

from tests.bulk.kit import Place, interaction, lines

ODD = (
    b'{ "type":"like",  "user_id":"u", "context":{"custom_context":{"uuid":"n1","x":1.50}},'
    b'"timestamp":"2026-10-01T00:00:00+02:00"}'
)


def test_records_go_out_byte_for_byte(place: Place) -> None:
    place.sandbox.options.store_wire = True
    place.file("i.jsonl", ODD + b"\r\n\n" + ODD)
    found = place.json("upload", "interactions", "i.jsonl")
    assert (found["read"], found["delivered"], found["bad"], found["bad_file"]) == (2, 2, 0, None)
    assert place.sandbox.held.bodies[1] == b'{"data":[' + ODD + b"," + ODD + b"]}"


BAD: list[tuple[Any, str, str]] = [
    ({"type": "like", "user_id": "u"}, "needs a timestamp", "$.timestamp"),
    ({"type": "like", "timestamp": "2026-10-01T00:00:00Z"}, "needs a user_id or an anonymous_id", "$.user_id"),
    (interaction(0, type="liked"), "is not one of Miso's interaction types", "$.type"),
    (interaction(0, price=3), "unknown field `price`", "$"),
    (interaction(0, timestamp="2026-02-30T00:00:00Z"), "is no time that exists", "$.timestamp"),
    (interaction(0, product_ids="p"), "Expected `array | null`", "$.product_ids"),
    (interaction(0, context={"page": {"title": "t"}}), "a page needs its url", "$.context.page.url"),
    ([1], "Expected `object`", "$"),
]


def test_bad_records_are_set_aside_and_the_rest_arrives(place: Place) -> None:
    good = [interaction(number) for number in range(20)]
    place.file("i.jsonl", lines(good[:10]) + lines([one[0] for one in BAD]) + b"{nope\n\xff\n" + lines(good[10:]))
    found = place.json("upload", "interactions", "i.jsonl", "--bad", "bad.jsonl", code=1)
    assert (found["read"], found["delivered"], found["bad"]) == (30, 20, 10)
    assert sum(found["reasons"].values()) == 10
    assert place.held() == {f"n{number}": 1 for number in range(20)}
    letters = sorted(place.bad("bad.jsonl"), key=itemgetter("line"))  # blocks are checked side by side
    assert [one["line"] for one in letters] == list(range(11, 21))
    for letter, (record, reason, path) in zip(letters, BAD, strict=False):
        assert letter["record"] == record
        assert reason in letter["reason"]
        assert letter["path"] == path
    assert letters[8]["record"] == "{nope"
    assert all(one["file"].endswith("i.jsonl") for one in letters)
    assert (place.folder / "bad.jsonl").stat().st_mode & 0o077 == 0


def test_what_miso_alone_refuses_is_isolated_in_its_words(place: Place) -> None:
    place.fault(bad_ids=["n3", "n11"], times=-1)
    place.file("i.jsonl", [interaction(number) for number in range(12)])
    found = place.json("upload", "interactions", "i.jsonl", "--bad", "bad.jsonl", code=1)
    assert (found["read"], found["delivered"], found["bad"]) == (12, 10, 2)
    letters = place.bad("bad.jsonl")
    assert [one["line"] for one in letters] == [4, 12]
    assert all("is invalid" in one["reason"] for one in letters)
    assert set(place.held()) == {f"n{number}" for number in range(12)} - {"n3", "n11"}
    assert len(place.posts()) == 2


@pytest.mark.parametrize("spoilt", [{"unparseable_422": True}, {"shift_422": 1}, {"partial_422": 1}])
def test_a_422_that_misleads_condemns_nobody_else(place: Place, spoilt: dict[str, Any]) -> None:
    place.fault(bad_ids=["n3", "n4", "n11"], times=-1, **spoilt)
    place.file("i.jsonl", [interaction(number) for number in range(12)])
    found = place.json("upload", "interactions", "i.jsonl", "--bad", "bad.jsonl", code=1)
    assert (found["read"], found["delivered"], found["bad"]) == (12, 9, 3)
    assert [one["line"] for one in place.bad("bad.jsonl")] == [4, 5, 12]
    assert set(place.held().values()) == {1}


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "headers": {"retry-after": "0.2"}},
        {"status": 503, "headers": {"retry-after": "0.1"}},
        {"status": 500},
        {"reset": "before"},
    ],
)
def test_the_same_bytes_go_out_again(place: Place, fault: dict[str, Any]) -> None:
    place.fault(times=2, after=1, **fault)
    place.file("i.jsonl", [interaction(number) for number in range(60)])
    found = place.json("upload", "interactions", "i.jsonl")
    assert (found["read"], found["delivered"]) == (60, 60)
    assert place.held() == {f"n{number}": 1 for number in range(60)}
    failed = [one.sha256 for one in place.posts() if one.status != 200 and one.sha256]
    assert set(failed) <= {one.sha256 for one in place.posts() if one.status == 200}


def test_an_answer_that_is_lost_means_the_same_bytes_again(place: Place) -> None:
    place.sandbox.options.deduplicate = True
    place.fault(times=1, reset="after")
    place.file("i.jsonl", [interaction(number) for number in range(5)])
    assert place.json("upload", "interactions", "i.jsonl")["delivered"] == 5
    assert len({one.sha256 for one in place.posts()}) == 1
    assert place.held() == {f"n{number}": 1 for number in range(5)}


@pytest.mark.parametrize(("status", "said"), [(401, "refuses the API key"), (403, "publishable")])
def test_a_refused_key_ends_it(place: Place, status: int, said: str) -> None:
    place.fault(times=-1, status=status)
    place.file("i.jsonl", [interaction(number) for number in range(200)])
    done = place.misoflow("upload", "interactions", "i.jsonl", code=78)
    assert said in done.stderr
    assert "key" not in done.stdout
    assert len(place.posts()) <= 4
    place.sandbox.faults.rules.clear()
    assert place.json("upload", "interactions", "i.jsonl")["delivered"] == 200
    assert set(place.held().values()) == {1}


def test_miso_that_does_not_come_back_ends_it(place: Place) -> None:
    place.fault(times=-1, status=503)
    place.file("i.jsonl", [interaction(1)])
    done = place.misoflow("upload", "interactions", "i.jsonl", "--patience", "0.5", code=69)
    assert "Miso answered 503" in done.stderr


def test_a_request_that_is_too_large_is_halved(place: Place) -> None:
    place.sandbox.options.max_records = 4
    place.file("i.jsonl", [interaction(number) for number in range(15)])
    assert place.json("upload", "interactions", "i.jsonl")["delivered"] == 15
    assert place.held() == {f"n{number}": 1 for number in range(15)}


def test_a_truncated_file_is_never_complete(place: Place) -> None:
    whole = gzip.compress(lines([interaction(number) for number in range(5000)]))
    place.file("cut.jsonl.gz", whole[: len(whole) // 2])
    place.file("whole.jsonl", [interaction(9999)])
    found = place.json("upload", "interactions", "cut.jsonl.gz", "whole.jsonl", code=1)
    assert [one["whole"] for one in found["files"]] == [False, True]
    assert "cut off" in found["files"][0]["problem"]
    assert found["bad"] == 0
    assert found["read"] == found["delivered"] == place.held().total() < 5001
    assert place.held()["n9999"] == 1
    sent = len(place.posts())
    again = place.json("upload", "interactions", "cut.jsonl.gz", "whole.jsonl", code=1)
    assert "cut off" in again["files"][0]["problem"]
    assert len(place.posts()) == sent
    assert place.json("validate", "interactions", "cut.jsonl.gz", code=1)["files"][0]["whole"] is False


def test_products_are_followed_to_the_end_of_their_task(place: Place) -> None:
    place.sandbox.options.task_delay = 0.3
    place.fault(task="partial", bad=[1], times=1)
    place.file("p.json", msgspec.json.encode([{"product_id": f"p{n}", "title": f"T{n}"} for n in range(250)]))
    found = place.json("upload", "products", "p.json", "--bad", "bad.jsonl", code=1)
    assert (found["read"], found["delivered"], found["bad"]) == (250, 249, 1)
    sizes = [one.records for one in place.posts()]
    assert (sum(sizes), max(sizes) <= 100) == (250, True)
    [letter] = place.bad("bad.jsonl")
    assert "is invalid" in letter["reason"]
    held = place.sandbox.held.datasets["products"].records
    assert set(held) == {f"p{n}" for n in range(250)} - {letter["record"]["product_id"]}


@pytest.mark.parametrize("task", ["failed", "404"])
def test_a_task_that_fails_is_sent_again(place: Place, task: str) -> None:
    place.fault(task=task, times=1)
    place.file("u.jsonl", [{"user_id": "u1", "age": 3}])
    assert place.json("upload", "users", "u.jsonl")["delivered"] == 1
    assert set(place.sandbox.held.datasets["users"].records) == {"u1"}
    assert len(place.posts()) == 2


def test_tasks_that_go_on_failing_end_it(place: Place) -> None:
    place.fault(task="failed", times=-1)
    place.file("u.jsonl", [{"user_id": "u1"}])
    done = place.misoflow("upload", "users", "u.jsonl", "--patience", "1", code=69)
    assert "task" in done.stderr


def test_the_last_of_a_product_stays(place: Place) -> None:
    place.sandbox.options.task_delay = 0.1
    records = [{"product_id": f"p{n % 3}", "title": str(n)} for n in range(8)]
    place.file("p.jsonl", records)
    assert place.json("upload", "products", "p.jsonl")["delivered"] == 8
    held = place.sandbox.held.datasets["products"].records
    assert {key: msgspec.json.decode(bytes(raw))["title"] for key, raw in held.items()} == {
        "p0": "6",
        "p1": "7",
        "p2": "5",
    }


def test_a_csv_takes_the_types_of_the_schema(place: Place) -> None:
    text = "product_id,title,sale_price,tags,custom_attributes.colour,created_at\n7,Shirt,19.5,new,red,2026-01-01\n"
    place.file("p.csv", text.encode() + b'8,Hat,cheap,"[""a"",""b""]",,\n')
    found = place.json("upload", "products", "p.csv", "--bad", "bad.jsonl", code=1)
    assert (found["read"], found["delivered"], found["bad"]) == (2, 1, 1)
    [raw] = place.sandbox.held.datasets["products"].records.values()
    assert msgspec.json.decode(bytes(raw)) == {
        "product_id": "7",
        "title": "Shirt",
        "sale_price": 19.5,
        "tags": ["new"],
        "custom_attributes": {"colour": "red"},
        "created_at": "2026-01-01",
    }
    [letter] = place.bad("bad.jsonl")
    assert (letter["line"], letter["path"]) == (3, "$.sale_price")


RULES = """
[[rules]]
match = "seen"
type = "product_detail_page_view"
product_ids = "$.sku"
user_id = "$.who"
timestamp = "$.at"
also = [{ type = "custom", custom_action_name = "seen", user_id = "$.who", timestamp = "$.at" }]
[[rules]]
match = "test"
type = "none"
"""


def test_rules_map_rows(place: Place) -> None:
    place.file("rules.toml", RULES.encode())
    at = "2026-10-01T00:00:00Z"
    rows = [{"event": "Seen", "sku": 7, "who": "u", "at": at}, {"event": "test"}, {"event": "seen", "sku": "8"}]
    place.file("i.jsonl", [*rows, interaction(1)])
    found = place.json("upload", "interactions", "i.jsonl", "--map", "rules.toml", code=1)
    assert (found["read"], found["delivered"], found["skipped"], found["bad"]) == (4, 2, 1, 1)
    taken = [msgspec.json.decode(bytes(raw)) for raw, *_ in place.sandbox.held.interactions.kept.values()]
    assert [one["type"] for one in taken] == ["product_detail_page_view", "custom", "like"]
    assert taken[0]["product_ids"] == ["7"]
    wrong = str(place.file("x.toml", b"[[rules]]\nmatch='a'\ntyp='b'"))
    assert "rules[0].typ" in place.misoflow("upload", "interactions", "i.jsonl", "--map", wrong, code=78).stderr


def test_user_ids_are_hashed_where_the_environment_hashes_them(place: Place) -> None:
    settings = place.folder / "plugins.toml"
    settings.write_text(settings.read_text() + 'user_ids = "hmac"\nuser_id_key = "0123456789abcdef-kept"\n')
    place.file("i.jsonl", [interaction(3)])
    place.misoflow("upload", "interactions", "i.jsonl")
    [(raw, *_)] = place.sandbox.held.interactions.kept.values()
    user = msgspec.json.decode(bytes(raw))["user_id"]
    assert len(user) == 64
    place.misoflow("delete", "interactions", "u3")
    assert list(place.sandbox.held.forgotten) == [user]


def test_a_dry_run_sends_and_keeps_nothing(place: Place) -> None:
    place.file("i.jsonl", [interaction(1), {"type": "like"}])
    found = place.json("upload", "interactions", "i.jsonl", "--dry-run", code=1)
    assert (found["read"], found["good"], found["bad"]) == (2, 1, 1)
    assert place.sandbox.held.wire == []
    assert not (place.folder / "var").exists()


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        (lines([interaction(1), interaction(2)]), (2, 2, 0)),
        (msgspec.json.encode([interaction(1)]), (1, 1, 0)),
        (gzip.compress(lines([interaction(1)])), (1, 1, 0)),
        (b"", (0, 0, 0)),
        (b"\xef\xbb\xbf" + lines([interaction(1), "x", interaction(2)]).replace(b"\n", b"\r\n\r\n"), (3, 2, 1)),
    ],
    ids=["lines", "an array", "gzip", "nothing", "with marks and blank lines"],
)
def test_standard_input(place: Place, text: bytes, counts: tuple[int, int, int]) -> None:
    found = place.json("upload", "interactions", "-", code=1 if counts[2] else 0, stdin=text)
    assert (found["read"], found["delivered"], found["bad"]) == counts
    assert place.held().total() == counts[1]


def test_nothing_in_a_file_is_said(place: Place) -> None:
    place.file("i.jsonl", b"\n \n")
    assert "this file holds no records" in place.misoflow("upload", "interactions", "i.jsonl").stderr
    assert "this file holds no records" in place.misoflow("validate", "interactions", "i.jsonl").stderr


def test_wrong_arguments_are_said(place: Place) -> None:
    place.file("a.txt", [interaction(1)])
    place.file("b.txt", [interaction(2)])
    refused = place.misoflow("upload", "interactions", "*.txt", code=2)
    assert "a.txt (and 1 more): its name does not say which format it has; say it with --format" in refused.stderr
    assert place.json("upload", "interactions", "*.txt", "--format", "jsonl")["delivered"] == 2
    path = str(place.file("i.jsonl", [interaction(1)]))
    assert "no such file" in place.misoflow("upload", "interactions", "none.jsonl", code=1).stderr
    assert "one of the files to upload" in place.misoflow("upload", "interactions", path, "--bad", path, code=1).stderr
    assert "--miso other" in place.misoflow("upload", "interactions", path, "--miso", "other", code=2).stderr
    assert "--map makes interactions" in place.misoflow("upload", "users", path, "--map", path, code=2).stderr
