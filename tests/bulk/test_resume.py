"""Ends of an upload at any moment, and the same command again: nothing lost, nothing confirmed sent twice."""

from __future__ import annotations

import gzip
import random
import signal
import subprocess
import time

import msgspec
import pytest

from tests.bulk.kit import Place, interaction, lines

RECORDS = 300


def resumed(place: Place, name: str) -> None:
    """Run the command again, and hold the sandbox's ledger against what the journal had confirmed."""
    before = place.journal()
    confirmed = {line["done"] for line in before if "done" in line}
    confirmed_bytes = {line["sha256"] for line in before if line.get("seal") in confirmed}
    unknown_bytes = {line["sha256"] for line in before if "seal" in line} - confirmed_bytes
    seen = len(place.posts())
    found = place.json("upload", "interactions", name)
    again = [one.sha256 for one in place.posts()[seen:]]
    assert not confirmed_bytes & set(again), "confirmed, and sent again"
    assert found["resumed"]
    assert (found["read"], found["delivered"], found["bad"]) == (RECORDS, RECORDS, 0)
    held = place.held()
    assert set(held) == {f"n{number}" for number in range(RECORDS)}, "lost"
    twice = [one for one in again if one in {post.sha256 for post in place.posts()[:seen]}]
    assert set(twice) <= unknown_bytes, "other bytes than those whose fate was unknown"


@pytest.mark.parametrize("moment", ["sealed:3", "before:1", "before:7", "answered:1", "answered:5", "bad:4", "done:4"])
def test_killed_at_a_point_it_goes_on(place: Place, moment: str) -> None:
    place.file("i.jsonl", [interaction(number) for number in range(RECORDS)])
    place.misoflow("upload", "interactions", "i.jsonl", code=-signal.SIGKILL, crash=f"upload.{moment}")
    resumed(place, "i.jsonl")


def test_killed_at_random_moments_it_goes_on(place: Place) -> None:
    place.file("i.jsonl", [interaction(number) for number in range(RECORDS)])
    place.fault(delay=0.15, times=-1)
    rng = random.Random(5)
    for _ in range(4):
        count = len(place.posts())
        process = place.start("upload", "interactions", "i.jsonl")
        while len(place.posts()) == count and process.poll() is None:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.3))
        process.kill()
        process.communicate()
    place.sandbox.faults.rules.clear()
    resumed(place, "i.jsonl")


def test_ctrl_c_ends_it_without_a_loss(place: Place) -> None:
    place.file("i.jsonl", [interaction(number) for number in range(RECORDS)])
    place.fault(delay=0.2, times=-1)
    process = place.start("upload", "interactions", "i.jsonl")
    while not place.posts():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "The same command goes on" in errors
    assert 0 < place.held().total() < RECORDS
    place.sandbox.faults.rules.clear()
    resumed(place, "i.jsonl")
    assert set(place.held().values()) == {1}


def test_ctrl_c_does_not_wait_for_a_pipe(place: Place) -> None:
    process = place.start("upload", "interactions", "-", stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(lines([interaction(number) for number in range(RECORDS)]).decode())
    process.stdin.flush()
    while not place.posts():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=20)  # while the pipe is open
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "sends all of a pipe again" in errors


def test_a_second_ctrl_c_does_not_wait_for_miso(place: Place) -> None:
    place.file("i.jsonl", [interaction(number) for number in range(RECORDS)])
    place.fault(delay=600, times=-1)
    process = place.start("upload", "interactions", "i.jsonl")
    while not any("seal" in line for line in place.journal(absent=[])):
        time.sleep(0.01)
    assert process.stderr is not None
    process.send_signal(signal.SIGINT)
    while "once more ends it" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    place.sandbox.faults.rules.clear()
    resumed(place, "i.jsonl")


def test_what_sent_nothing_stands_in_nobodys_way(place: Place) -> None:
    place.file("i.jsonl", [])
    place.file("cut.json", b"[")
    place.misoflow("upload", "interactions", "cut.json", code=1)
    place.file("cut.json", b"[%s]" % msgspec.json.encode(interaction(1)))
    assert place.json("upload", "interactions", "cut.json")["delivered"] == 1


def test_two_files_share_batches_and_go_on_together(place: Place) -> None:
    for number in range(6):
        place.file(f"{number}.jsonl", [interaction(number * 50 + n) for n in range(50)])
    place.misoflow("upload", "interactions", "*.jsonl", code=-signal.SIGKILL, crash="upload.done:5")
    resumed(place, "*.jsonl")


def test_what_is_finished_is_not_sent_again(place: Place) -> None:
    place.file("i.jsonl", [interaction(1), {"type": "like"}])
    place.misoflow("upload", "interactions", "i.jsonl", code=1)
    done = place.misoflow("upload", "interactions", "i.jsonl", code=1)
    assert "--restart sends them again" in done.stderr
    assert "2 read, 1 delivered, 1 bad" in done.stdout
    assert len(place.posts()) == 1
    place.misoflow("upload", "interactions", "i.jsonl", "--restart", code=1)
    assert place.held() == {"n1": 2}


def test_a_changed_file_is_refused_until_restart(place: Place) -> None:
    records = [interaction(number) for number in range(100)]
    place.file("i.jsonl", records)
    place.misoflow("upload", "interactions", "i.jsonl", code=-signal.SIGKILL, crash="upload.done:2")
    place.file("i.jsonl", [interaction(500), *records[1:]])
    sent = len(place.posts())
    done = place.misoflow("upload", "interactions", "i.jsonl", code=1)
    assert "i.jsonl has changed in what this upload has sent already" in done.stderr
    place.file("i.jsonl", [])
    assert "has changed" in place.misoflow("upload", "interactions", "i.jsonl", code=1).stderr
    assert len(place.posts()) == sent
    place.file("i.jsonl", [*records, interaction(100)])
    assert place.json("upload", "interactions", "i.jsonl", "--restart")["delivered"] == 101


def test_a_file_that_was_cut_off_goes_on_when_it_is_whole(place: Place) -> None:
    records = [{**interaction(number), "anonymous_id": f"{number * 2654435761 % 2**32:x}"} for number in range(2000)]
    whole = gzip.compress(lines(records))
    place.file("a.jsonl.gz", whole[: len(whole) // 2])
    place.file("b.jsonl", [interaction(number) for number in range(5000, 5030)])
    place.file("c.jsonl", [])
    command = ("upload", "interactions", "a.jsonl.gz", "b.jsonl", "c.jsonl")
    done = place.misoflow(*command, code=1)
    assert "when it is whole, the same command sends the rest" in done.stderr
    assert 0 < place.held().total() < 2030
    place.file("a.jsonl.gz", whole)
    place.file("c.jsonl", [interaction(6000)])
    place.misoflow(*command, code=-signal.SIGKILL, crash="upload.sealed:3")
    found = place.json(*command)
    assert (found["read"], found["delivered"], found["resumed"]) == (2031, 2031, True)
    assert place.held() == {f"n{number}": 1 for number in [*range(2000), *range(5000, 5030), 6000]}
    sent = len(place.posts())
    assert place.json(*command)["finished_before"]
    assert len(place.posts()) == sent


def test_a_file_that_grew_goes_on(place: Place) -> None:
    records = [interaction(number) for number in range(RECORDS)]
    place.file("i.jsonl", records[:100])
    place.misoflow("upload", "interactions", "i.jsonl", code=-signal.SIGKILL, crash="upload.done:4")
    place.file("i.jsonl", records)
    resumed(place, "i.jsonl")


def test_a_new_file_of_the_same_name_is_a_new_upload(place: Place) -> None:
    place.file("i.jsonl", [interaction(1)])
    place.misoflow("upload", "interactions", "i.jsonl")
    place.file("i.jsonl", [interaction(2), interaction(3)])
    found = place.json("upload", "interactions", "i.jsonl")
    assert (found["read"], found["resumed"]) == (2, False)
    assert place.held() == {"n1": 1, "n2": 1, "n3": 1}


def test_halves_that_arrived_are_not_sent_again(place: Place) -> None:
    """Killed in the middle of a bisection: what was taken stays taken, and the bad record is still found."""
    place.file("i.jsonl", [interaction(number) for number in range(12)])
    place.fault(bad_ids=["n7"], unparseable_422=True, times=-1)
    place.misoflow("upload", "interactions", "i.jsonl", code=-signal.SIGKILL, crash="upload.before:4")
    found = place.json("upload", "interactions", "i.jsonl", code=1)
    assert (found["read"], found["delivered"], found["bad"]) == (12, 11, 1)
    assert place.held() == {f"n{number}": 1 for number in range(12) if number != 7}


def test_the_bad_file_holds_each_row_once_after_a_crash(place: Place) -> None:
    place.file("i.jsonl", [interaction(n) if n % 5 else {"type": "like", "n": n} for n in range(100)])
    place.misoflow("upload", "interactions", "i.jsonl", "--bad", "b.jsonl", code=-signal.SIGKILL, crash="upload.bad:3")
    found = place.json("upload", "interactions", "i.jsonl", "--bad", "b.jsonl", code=1)
    assert (found["read"], found["delivered"], found["bad"]) == (100, 80, 20)
    assert sorted(one["line"] for one in place.bad("b.jsonl")) == list(range(1, 101, 5))


def test_a_second_one_beside_it_is_refused(place: Place) -> None:
    place.file("i.jsonl", [interaction(number) for number in range(30)])
    place.fault(delay=600, times=-1)
    process = place.start("upload", "interactions", "i.jsonl")
    while not any("seal" in line for line in place.journal(absent=[])):
        time.sleep(0.01)
    done = place.misoflow("upload", "interactions", "i.jsonl", code=69)
    assert "another upload of these files is under way" in done.stderr
    process.kill()
    process.communicate()
    place.sandbox.faults.rules.clear()
    assert place.json("upload", "interactions", "i.jsonl")["delivered"] == 30
