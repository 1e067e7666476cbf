"""The tutorial is followed line by line: files written, commands run, outputs compared, lines counted."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from misoflow.scaffold import Scaffold

from tests.authors.kit import Author
from tests.core.test_docs import free_ports

PAGE = Path(__file__).resolve().parents[2] / "docs" / "authors" / "tutorial.md"
BLOCK = re.compile(r"^(`{3,})(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
MOST_LINES = 100
WAIT = 30
PASSED_ALREADY = ("python3 -m venv", ". venv/bin/activate", "pip install 'misoflow[testing]'")
"""What the test has done before; its environment is offline."""


@dataclass(frozen=True)
class Block:
    kind: str
    title: str
    text: str


def blocks() -> list[Block]:
    return [Block(kind, title, text) for _, kind, title, text in BLOCK.findall(PAGE.read_text())]


class Reader:
    """Somebody who does what the page says, and nothing else."""

    def __init__(self, folder: Path) -> None:
        self.author = Author(folder)
        self.author.env["PYTHONUNBUFFERED"] = "1"
        self.folder = folder / "work"
        self.folder.mkdir()
        self.ports = free_ports()
        self.running: list[subprocess.Popen[bytes]] = []

    def write(self, block: Block) -> None:
        file = self.folder / block.title
        assert file.parent.is_dir(), file
        text = self.on_free_ports(block.text)
        if file.name == "plugins.toml":
            text += f"[engine]\nport = {self.ports['8400']}\nadmin_port = {self.ports['8401']}\nlinger_ms = 50\n"
        file.write_text(text)

    def on_free_ports(self, text: str) -> str:
        for usual, free in self.ports.items():
            text = text.replace(usual, free)
        return text

    def patch(self, block: Block) -> None:
        """A block of ``diff``: hunks between ``@@``, each of which fits one place."""
        file = self.folder / block.title
        text = file.read_text()
        for hunk in block.text.split("@@\n"):
            lines = hunk.splitlines(keepends=True)
            old = "".join(line[1:] for line in lines if line[0] in " -")
            new = "".join(line[1:] for line in lines if line[0] in " +")
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        file.write_text(text)

    def shell(self, block: Block, shown: str) -> str:
        """Run the commands of a block; what they printed."""
        return "".join(self.command(line, shown) for line in block.text.splitlines())

    def command(self, line: str, shown: str) -> str:
        if line.startswith(PASSED_ALREADY):
            return ""
        line, _, remark = line.partition("  # ")
        if line.startswith("cd "):
            self.folder /= line[3:]
            return ""
        if line.startswith("export "):
            self.author.env.update(pair.split("=", 1) for pair in shlex.split(line)[1:])
            return ""
        if line.startswith("pip install -e"):
            return self.author.install(self.folder)
        if line.startswith("misoflow dev"):
            return self.until(f"{line} --port {self.ports['8400']}", shown)
        if line.endswith(" &"):
            sandbox = f" --port {self.ports['8600']}" if "sandbox" in line else ""
            self.until(f"{line[:-2]}{sandbox}", "ready", leave=True)
            return ""
        told = self.author.run("bash", "-c", line, cwd=self.folder, code=1 if remark == "is red" else 0)
        return told if "simulate" not in line else told + self.settled()

    def settled(self) -> str:
        """A person reads for as long as the engine needs."""
        for _ in range(WAIT * 5):
            if '"pending": 0' in self.author.run("misoflow", "status", "--json", cwd=self.folder):
                break
            time.sleep(0.2)
        return ""

    def until(self, line: str, shown: str, leave: bool = False) -> str:
        """Start a command that stays, wait for what it should print, and stop it by Ctrl-C."""
        output = self.folder.parent / f"output-{len(self.running)}"
        with output.open("w") as file:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {line}"],
                cwd=self.folder,
                env=self.author.env,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        self.running.append(process)
        told = ""
        for _ in range(WAIT * 20):
            told = output.read_text()
            if not missing(self.on_free_ports(shown), told) and (leave or "saved " in told):
                break
            assert process.poll() is None, told
            time.sleep(0.05)
        if not leave:
            process.send_signal(signal.SIGINT)
            assert process.wait(WAIT) == 0, told
        return told

    def close(self) -> None:
        for process in reversed(self.running):
            if process.poll() is None:
                process.terminate()
                process.wait(WAIT)


def missing(shown: str, told: str) -> list[str]:
    """The shown lines that were not printed in this order; "…" stands for anything, and numbers of seconds differ."""
    left = told.splitlines()
    absent = []
    for line in shown.splitlines():
        pattern = re.compile(".*".join(re.escape(part.strip()) for part in line.split("…")))
        place = next((at for at, one in enumerate(left) if pattern.search(one)), None)
        if place is None:
            absent.append(line)
        else:
            left = left[place + 1 :]
    return absent


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Follows the whole page."""
    one = Reader(tmp_path_factory.mktemp("tutorial"))
    try:
        yield one
    finally:
        one.close()


def test_the_page_works_as_it_stands(reader: Reader) -> None:
    page = blocks()
    for at, block in enumerate(page):
        following = page[at + 1] if at + 1 < len(page) else None
        shown = following.text if following is not None and following.kind == "text" else ""
        if block.kind == "sh":
            told = reader.shell(block, shown)
            assert missing(reader.on_free_ports(shown), told) == [], f"{block.text}{told}"
        elif block.kind == "diff":
            reader.patch(block)
        elif block.title:
            reader.write(block)
        else:
            assert block.kind == "text", block


def test_it_takes_at_most_a_hundred_lines_by_hand(reader: Reader) -> None:
    """Lines of the finished distribution that ``misoflow new`` had not written and no command has."""
    made = Scaffold("lemon_squeezy", webhook=True, backfill=True).files()
    by_hand = 0
    for name, text in made.items():
        file = reader.folder / name
        if file.exists():
            found = Counter(line for line in file.read_text().splitlines() if line.strip())
            by_hand += (found - Counter(text.splitlines())).total()
    print(f"\n{by_hand} lines by hand")
    assert 50 < by_hand <= MOST_LINES


def test_what_it_builds_is_clean(reader: Reader) -> None:
    python = str(reader.author.venv / "bin" / "python")
    reader.author.run(python, "-m", "ruff", "check", ".", cwd=reader.folder)
    reader.author.run(python, "-m", "ruff", "format", "--check", ".", cwd=reader.folder)
    reader.author.run(python, "-m", "mypy", "--strict", ".", cwd=reader.folder)


@pytest.mark.parametrize(
    ("shown", "told", "absent"),
    [
        ("a\nb\n", "a 1\nx\nb\n", []),
        ("b\na\n", "a\nb\n", ["a"]),
        ("… passed in …\n", "3 passed in 1.2s\n", []),
        ("… passed in …\n", "3 failed\n", ["… passed in …"]),
    ],
)
def test_outputs_are_compared_loosely_and_in_order(shown: str, told: str, absent: list[str]) -> None:
    assert missing(shown, told) == absent
