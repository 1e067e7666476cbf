"""``misoflow dev`` as a real process: deliveries and their fate, reloading on save, broken saves, the end by Ctrl-C."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from misoflow import Request, sign_hmac
from misoflow.simulate import send

ACME = '''
from collections.abc import Iterator

from misoflow import AddToCart, Config, Connector, Event, Record, Reject, Request, check_hmac, sign_hmac
from pydantic import Field, SecretStr

from {helper} import QUANTITY


class AcmeConfig(Config):
    """Settings of Acme."""

    signing_secret: SecretStr = Field(description="Shown once.")


class Acme(Connector[AcmeConfig]):
    """Carts."""

    topics = ("cart.added",)

    def verify(self, request: Request) -> None:
        check_hmac(request.body, request.header("x-acme-signature"), self.config.signing_secret)

    def events(self, request: Request) -> Iterator[Event]:
        yield Event(request.json()["id"], "cart.added", request.json())

    def translate(self, event: Event) -> Iterator[Record]:
        from {helper} import QUANTITY as again  # late: the code before must go on even so

        assert again == QUANTITY
        yield AddToCart(product_ids=[event.data["sku"]], quantities=[QUANTITY], anonymous_id="v",
                        timestamp="2026-01-01T00:00:00Z")

    def sample(self, topic: str) -> Request:
        if topic != "cart.added":
            raise LookupError(topic)
        body = b'{{"id": "s", "sku": "lamp"}}'
        return Request(body, {{"x-acme-signature": sign_hmac(body, self.config.signing_secret)}})
'''
WAIT = 30


class Dev:
    """The running command; its output as it comes."""

    def __init__(self, *arguments: str, cwd: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "misoflow", "dev", *arguments, "--port", "0", "--json"],
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"},
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def next(self) -> dict[str, Any]:
        line = self._lines.get(timeout=WAIT)
        assert line, f"it ended: {self.process.stderr and self.process.stderr.read()}"
        found: dict[str, Any] = json.loads(line)
        return found

    def start(self) -> tuple[str, str]:
        """The receiver's address and the stand-in of the secret."""
        ready = self.next()["ready"]
        base, _, self.name = ready["url"].rpartition("/hooks/")
        return base, ready["settings"]["signing_secret"]

    def quantities(self) -> list[int]:
        """Of the delivery that comes next."""
        shown = self.next()
        assert shown["delivery"]["outcome"] == "accepted", shown
        (event,) = shown["events"]
        (one,) = event["records"]
        quantities: list[int] = one["record"]["quantities"]
        return quantities


@contextmanager
def running(*arguments: str, cwd: Path) -> Iterator[Dev]:
    dev = Dev(*arguments, cwd=cwd)
    try:
        yield dev
    finally:
        dev.process.kill()
        dev.process.wait()


@pytest.fixture
def distribution(tmp_path: Path) -> Path:
    """A folder with a connector's package of two modules."""
    folder = tmp_path / "misoflow-toyshop"
    package = folder / "misoflow_toyshop"
    package.mkdir(parents=True)
    points = '[project]\nname = "misoflow-toyshop"\n[project.entry-points."misoflow.connectors"]\n'
    (folder / "pyproject.toml").write_text(points + 'toyshop = "misoflow_toyshop:Acme"\n')
    (package / "__init__.py").write_text(ACME.format(helper="misoflow_toyshop.amounts"))
    (package / "amounts.py").write_text("QUANTITY = 1\n")
    return folder


def deliver(base: str, secret: str, body: bytes = b'{"id": "1", "sku": "p"}') -> int:
    request = Request(body, {"x-acme-signature": sign_hmac(body, secret)})
    return send(base, "toyshop", request).status


def test_a_session_from_the_first_delivery_to_ctrl_c(
    distribution: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    amounts = distribution / "misoflow_toyshop" / "amounts.py"
    with running(str(distribution), cwd=distribution.parent) as dev:
        base, secret = dev.start()
        assert deliver(base, secret) == 200
        assert dev.quantities() == [1]
        assert deliver(base, "wrong") == 401
        refused = dev.next()["delivery"]
        assert (refused["outcome"], refused["status"]) == ("refused", 401)
        assert refused["why"] == "the signature does not match"
        before = amounts.stat().st_mtime_ns
        amounts.write_text("QUANTITY = 2\n")  # a module that the connector imports: the same size, the same second
        os.utime(amounts, ns=(before + 1, before + 1))
        assert dev.next() == {"reloaded": True, "why": None}
        assert deliver(base, secret) == 200
        assert dev.quantities() == [2]
        amounts.write_text("QUANTITY = = 3\n")
        broken = dev.next()
        assert broken["reloaded"] is False
        assert "amounts.py, line 1" in broken["why"]
        assert deliver(base, secret) == 200
        assert dev.quantities() == [2]
        amounts.write_text("import sys\nsys.exit(3)\n")
        assert dev.next()["reloaded"] is False
        amounts.write_text("QUANTITY = undefined_name\n")
        assert "undefined_name" in dev.next()["why"]
        amounts.write_text("QUANTITY = 4\n")
        assert dev.next()["reloaded"] is True
        assert deliver(base, secret) == 200
        assert dev.quantities() == [4]
        dev.process.send_signal(signal.SIGINT)
        assert dev.process.wait(WAIT) == 0
        assert dev.process.stderr is not None
        assert "Traceback" not in dev.process.stderr.read()
    assert list(temporary.iterdir()) == []
    assert list(distribution.rglob("__pycache__")) == []


def test_code_that_hangs_when_it_is_imported_holds_up_nothing(distribution: Path) -> None:
    with running(str(distribution), cwd=distribution.parent) as dev:
        base, secret = dev.start()
        seen = distribution / "imported"
        (distribution / "misoflow_toyshop" / "amounts.py").write_text(
            f"import pathlib, time\npathlib.Path({str(seen)!r}).touch()\ntime.sleep(3600)\n"
        )
        for _ in range(WAIT * 20):
            if seen.exists():
                break
            time.sleep(0.05)
        assert deliver(base, secret) == 200
        dev.process.send_signal(signal.SIGINT)
        assert dev.process.wait(WAIT) == 0


def test_new_code_takes_part_in_verify(distribution: Path) -> None:
    connector = distribution / "misoflow_toyshop" / "__init__.py"
    with running(str(distribution), cwd=distribution.parent) as dev:
        base, secret = dev.start()
        connector.write_text(connector.read_text().replace("x-acme-signature", "x-other"))
        assert dev.next()["reloaded"] is True
        assert deliver(base, secret) == 401
        assert dev.next()["delivery"]["why"] == "the signature is missing or malformed"


def test_what_an_event_dies_of_is_shown(distribution: Path) -> None:
    with running(str(distribution), cwd=distribution.parent) as dev:
        base, secret = dev.start()
        assert deliver(base, secret, b'{"id": "1"}') == 200
        (event,) = dev.next()["events"]
        assert event["outcome"] == "rejected"
        assert "sku" in event["reason"]
        assert deliver(base, secret, b"no json") == 200
        (event,) = dev.next()["events"]
        assert "JSON" in event["reason"]
        assert send(base, "other", Request(b"{}")).status == 401
        assert dev.next()["delivery"]["why"] == "no instance has this path"


def test_send_sends_the_sample_again_after_each_save(distribution: Path) -> None:
    amounts = distribution / "misoflow_toyshop" / "amounts.py"
    with running(".", "--send", "cart.added", cwd=distribution) as dev:
        dev.start()
        assert dev.quantities() == [1]
        amounts.write_text("QUANTITY = 20\n")
        assert dev.next()["reloaded"] is True
        assert dev.quantities() == [20]


def test_save_keeps_each_delivery_once_and_nobody_in_it(distribution: Path) -> None:
    folder = distribution / "tests" / "samples"
    with running(".", "--save", "tests/samples", cwd=distribution) as dev:
        base, secret = dev.start()
        personal = b'{"id": "1", "sku": "p", "email": "jo@shop.example"}'
        for body in (personal, personal, b'{"id": "2", "sku": "p"}'):
            assert deliver(base, secret, body) == 200
            assert dev.quantities() == [1]
        assert deliver(base, secret, b'{"id": "3"}') == 200
        dev.next()
        dev.process.send_signal(signal.SIGINT)
        assert dev.process.wait(WAIT) == 0
    assert sorted(file.name for file in folder.iterdir()) == [
        "cart-added-2.json",
        "cart-added-3.json",
        "cart-added.json",
    ]
    first = json.loads((folder / "cart-added.json").read_text())
    assert first["source"] == "recorded by misoflow dev"
    assert first["body"] == {"id": "1", "sku": "p", "email": "removed"}
    (event,) = first["events"]
    assert event["records"][0]["record"]["product_ids"] == ["p"]
    (last,) = json.loads((folder / "cart-added-3.json").read_text())["events"]
    assert last == {
        "id": "3",
        "topic": "cart.added",
        "outcome": "rejected",
        "reason": "KeyError 'sku'",
        "path": "$",
    }


def test_a_module_file_and_a_setting_that_was_given(tmp_path: Path) -> None:
    (tmp_path / "amounts.py").write_text("QUANTITY = 1\n")
    (tmp_path / "toyshop.py").write_text(ACME.format(helper="amounts"))
    with running("toyshop.py", "--set", "signing_secret=my-own", cwd=tmp_path) as dev:
        ready = dev.next()["ready"]
        assert ready["settings"] == {}
        base = ready["url"].rpartition("/hooks/")[0]
        assert deliver(base, "my-own") == 200
        assert dev.quantities() == [1]
        (tmp_path / "amounts.py").write_text("QUANTITY = 5\n")
        assert dev.next()["reloaded"] is True
        assert deliver(base, "my-own") == 200
        assert dev.quantities() == [5]
        dev.process.send_signal(signal.SIGINT)
        assert dev.process.wait(WAIT) == 0
        assert dev.process.stderr is not None
        assert "my-own" not in dev.process.stderr.read()


def test_an_installed_connector_by_name(tmp_path: Path) -> None:
    with running("segment", "--send", "Product Viewed", cwd=tmp_path) as dev:
        dev.next()
        shown = dev.next()
        assert shown["delivery"]["outcome"] == "accepted", shown
        assert shown["events"][0]["outcome"] == "translated"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nothing-of-this-name",), "not installed"),
        (("empty",), "pyproject.toml: cannot be read"),
        (("broken.py",), "'(' was never closed"),
        (("two.py",), "has 0 connectors"),
        (("files",), "takes no deliveries"),
        (("segment", "--set", "no_such_setting=1"), "no_such_setting: unknown key"),
        (("segment", "--send", "no such topic"), "no sample of"),
        (("mixpanel",), "--set project_id=…"),
    ],
)
def test_what_cannot_be_worked_on_is_said_in_a_line(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.py").write_text("x = (\n")
    (tmp_path / "two.py").write_text("x = 1\n")
    done = subprocess.run(
        [sys.executable, "-m", "misoflow", "dev", *arguments, "--port", "0"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
