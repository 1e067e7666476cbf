"""validate, get, ids, delete and sync."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from tests.bulk.kit import SMALL, Place, interaction, lines


def product(key: str, **more: Any) -> dict[str, Any]:
    return {"product_id": key, "title": key.upper(), **more}


def put(place: Place, kind: str, records: list[dict[str, Any]]) -> None:
    name = "product_id" if kind == "products" else "user_id"
    raws = [msgspec.Raw(msgspec.json.encode(one)) for one in records]
    place.sandbox.held.datasets[kind].upload([one[name] for one in records], raws, records)


def products(place: Place) -> set[str]:
    return set(place.sandbox.held.datasets["products"].records)


def test_validate_needs_no_settings_and_names_the_lines(place: Place) -> None:
    (place.folder / "plugins.toml").unlink()
    place.file("i.jsonl", [interaction(1), {"type": "like"}, interaction(2)])
    done = place.misoflow("validate", "interactions", "i.jsonl", code=1)
    assert f"{place.folder}/i.jsonl:2: an interaction needs a timestamp" in done.stdout
    assert "3 read, 2 good, 1 bad" in done.stdout
    place.file("i.jsonl", [interaction(1)])
    assert place.json("validate", "interactions", "i.jsonl")["good"] == 1
    assert place.sandbox.held.wire == []


def test_get(place: Place) -> None:
    put(place, "products", [product("a b/c")])
    assert json.loads(place.misoflow("get", "products", "a b/c").stdout)["title"] == "A B/C"
    assert "no such product: d" in place.misoflow("get", "products", "d", code=1).stderr
    assert "name products or users" in place.misoflow("get", "interactions", "d", code=2).stderr


@pytest.mark.parametrize(
    "command",
    [("get", "products", "p"), ("ids", "products"), ("delete", "products", "p"), ("upload", "products", "p.csv")],
)
def test_a_wrong_key_is_said_alike(place: Place, command: tuple[str, ...]) -> None:
    place.file("p.csv", b"product_id,title\np,P\n")
    settings = place.folder / "plugins.toml"
    settings.write_text(settings.read_text().replace('"key"', '"another"'))
    done = place.misoflow(*command, code=78)
    assert "Miso refuses the API key; set miso.api_key" in done.stderr


def test_ids_and_back(place: Place) -> None:
    assert place.misoflow("ids", "products").stdout == ""
    assert place.json("ids", "products") == []
    keys = [f"p{number}" for number in range(3000)] + ['"quoted"', "two\nlines", "ü", " ] "]
    put(place, "products", [product(key, type="x" if key == "ü" else "y") for key in keys])
    assert place.json("ids", "products") == keys
    assert place.json("ids", "products", "--type", "x") == ["ü"]
    place.file("ids.txt", place.misoflow("ids", "products").stdout.encode())
    place.misoflow("delete", "products", "--ids-file", "ids.txt")
    assert products(place) == set()
    assert [one.records for one in place.posts()] == [1000, 1000, 1000, 4]


def test_a_list_of_ids_without_an_end_is_an_error(place: Place) -> None:
    place.fault(match={"path": "/v1/products/_ids"}, status=200, body={"message": "success", "data": {"ids": 5}})
    assert "has no end" in place.misoflow("ids", "products", code=69).stderr


def test_delete(place: Place) -> None:
    put(place, "users", [{"user_id": key} for key in ("a", "b", "c")])
    assert "1 user: would be deleted" in place.misoflow("delete", "users", "a", "--dry-run").stdout
    assert place.posts() == []
    place.fault(match={"method": "POST"}, task="failed", times=1)
    assert place.json("delete", "users", "a", "b", "a") == {
        "kind": "users",
        "miso": "default",
        "ids": 2,
        "deleted": True,
    }
    assert set(place.sandbox.held.datasets["users"].records) == {"c"}
    place.file("i.jsonl", [interaction(1), interaction(2)])
    place.misoflow("upload", "interactions", "i.jsonl")
    place.misoflow("delete", "interactions", "u1")
    assert set(place.held()) == {"n2"}
    assert "name the ids" in place.misoflow("delete", "users", code=2).stderr


@pytest.mark.parametrize(("answer", "left"), [("n\n", {"p"}), ("y\n", set())])
def test_a_person_is_asked_before_a_deletion(place: Place, answer: str, left: set[str]) -> None:
    put(place, "products", [product("p")])
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", SMALL, "delete", "products", "p"],
        cwd=place.folder,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.write(ours, answer.encode())
    _, errors = process.communicate(timeout=20)
    os.close(ours)
    os.close(theirs)
    assert "Delete 1 product at Miso default? This cannot be undone." in errors
    assert products(place) == left
    assert process.returncode == (1 if left else 0)


def test_sync_uploads_and_takes_away_what_is_gone_of_its_prefix(place: Place) -> None:
    put(place, "products", [product(key) for key in ("wp-1", "wp-2", "wp-3", "wp-4", "wp-5", "shop-1")])
    place.file("p.jsonl", [product(key) for key in ("wp-1", "wp-2", "wp-3", "wp-4", "wp-6")])
    found = place.json("sync", "products", "p.jsonl", "--prefix", "wp-", "--dry-run")
    assert (found["good"], found["sync"]["gone"], found["sync"]["allowed"]) == (5, 1, 1)
    assert place.posts() == []
    found = place.json("sync", "products", "p.jsonl", "--prefix", "wp-")
    assert (found["delivered"], found["sync"]["deleted"]) == (5, 1)
    assert products(place) == {"wp-1", "wp-2", "wp-3", "wp-4", "wp-6", "shop-1"}
    put(place, "products", [product("wp-1", title="changed by somebody")])
    place.misoflow("sync", "products", "p.jsonl", "--prefix", "wp-")
    held = place.sandbox.held.datasets["products"].records["wp-1"]
    assert msgspec.json.decode(bytes(held))["title"] == "WP-1", "an unchanged file is sent again"


def test_sync_by_type(place: Place) -> None:
    put(place, "products", [product("a", type="x"), product("b", type="x"), product("c", type="y")])
    place.file("p.jsonl", [product("a", type="x")])
    place.misoflow("sync", "products", "p.jsonl", "--type", "x", "--max-delete", "50%")
    assert products(place) == {"a", "c"}


def test_sync_refuses_a_mass_deletion(place: Place) -> None:
    keys = [f"p{number}" for number in range(10)]
    put(place, "products", [product(key) for key in keys])
    place.file("p.jsonl", [product(key) for key in keys[:7]])
    done = place.misoflow("sync", "products", "p.jsonl", "--all", code=1)
    assert "3 of 10 all products are gone" in done.stdout
    assert "nothing is deleted: 2 may be" in done.stderr
    assert products(place) == set(keys)
    place.misoflow("sync", "products", "p.jsonl", "--all", "--max-delete", "3")
    assert products(place) == set(keys[:7])
    place.file("p.jsonl", b"")
    done = place.misoflow("sync", "products", "p.jsonl", "--all", "--yes", code=1)
    assert "hold no records" in done.stderr
    assert products(place) == set(keys[:7]), "an export that failed empties no catalogue"
    place.file("p.jsonl", [product("p0")])
    place.misoflow("sync", "products", "p.jsonl", "--all", "--yes")
    assert products(place) == {"p0"}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:-3],
        lambda text: text.replace(b'"P1"', b"17"),
        lambda text: text.replace(b'"p1"', b'"q1"'),
    ],
    ids=["truncated", "a bad record", "a record outside of the scope"],
)
def test_sync_deletes_nothing_when_the_upload_is_not_whole(place: Place, spoil: Any) -> None:
    keys = [f"p{number}" for number in range(10)]
    put(place, "products", [product(key) for key in [*keys, "p-gone"]])
    place.file("p.json", spoil(msgspec.json.encode([product(key) for key in keys])))
    done = place.misoflow("sync", "products", "p.json", "--prefix", "p", code=1)
    assert "nothing is deleted: the upload is not whole" in done.stderr
    assert products(place) == {*keys, "p-gone"}


def test_sync_deletes_nothing_when_miso_refuses_a_record(place: Place) -> None:
    put(place, "products", [product(f"p{number}") for number in range(10)])
    place.fault(bad_ids=["p3"], times=-1)
    place.file("p.jsonl", [product(f"p{number}") for number in range(9)])
    place.misoflow("sync", "products", "p.jsonl", "--all", code=1)
    assert "p9" in products(place)


def test_sync_wants_a_scope(place: Place) -> None:
    place.file("p.jsonl", [product("a")])
    assert "--prefix P, --type T, or --all" in place.misoflow("sync", "products", "p.jsonl", code=2).stderr
    assert "only products" in place.misoflow("sync", "users", "p.jsonl", "--all", code=2).stderr
    piped = place.misoflow("sync", "products", "-", "--all", "--yes", code=2, stdin=lines([product("a")]))
    assert "give files, not a pipe" in piped.stderr
    refused = place.misoflow("sync", "products", "p.jsonl", "--all", "--max-delete", "many", code=2)
    assert "--max-delete 'many'" in refused.stderr
