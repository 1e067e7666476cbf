"""The documents keep their word: the README's commands run, links lead somewhere, every command is documented."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from misoflow import Request, Unauthorized, cli, sign_hmac
from misoflow.encode import encode

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)


def documents() -> list[Path]:
    named = [ROOT / "README.md", ROOT / "CHANGELOG.md"]
    return [*named, *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "connectors").rglob("*.md"))]


def anchors(text: str) -> set[str]:
    """The names under which a page's headings can be linked, as GitHub makes them."""
    plain = FENCE.sub("", text)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(plain)}


@pytest.mark.parametrize("page", documents(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_between_files_resolve(page: Path) -> None:
    broken = []
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            broken.append(link)
    assert broken == []


def commands(group: Any, name: str = "misoflow") -> Iterator[tuple[str, Any]]:
    """Every command of a click group with its full name, such as ``misoflow dead list``."""
    if not hasattr(group, "commands"):
        yield name, group
        return
    for part, command in group.commands.items():
        if not command.hidden:
            yield from commands(command, f"{name} {part}")


def test_every_command_and_option_is_documented() -> None:
    text = (ROOT / "docs" / "cli.md").read_text()
    missing = []
    for name, command in commands(typer.main.get_command(cli.app)):
        missing += [] if name in text else [name]
        for parameter in command.params:
            options = [option for option in parameter.opts if option.startswith("--")]
            missing += [f"{name} {option}" for option in options if f"`{option}" not in text]
    assert missing == []


def test_no_documented_command_is_gone() -> None:
    known = {name for name, _ in commands(typer.main.get_command(cli.app))}
    groups = {name.rsplit(" ", 1)[0] for name in known}
    text = "\n".join(page.read_text() for page in documents() if page.name != "decisions.md")
    used = set(re.findall(r"`(misoflow [a-z][a-z-]+(?: [a-z]+)?)", text))
    gone = {use for use in used if use not in known and use not in groups and use.rsplit(" ", 1)[0] not in known}
    assert gone == set()


# What stands for a command of the README here: the clone is a copy already, the environment is this one and stays as
# it is, a suite inside of the suite would never end, and a person would read for a while and then stop it.
SUBSTITUTES = (
    (re.compile(r"git clone \S+( \S+)?"), ":"),
    (re.compile(r"cd misoflow$"), ":"),
    (re.compile(r"^\S*/pip install -e '\.\[test\]'$"), 'export PYTHONPATH="$PWD:$PYTHONPATH"'),
    (re.compile(r"make (test|test-real|test-all|lint|bench)\b"), r"make --dry-run \1 >/dev/null"),
    (re.compile(r"^(misoflow|\S*/misoflow) (run|serve|work|sandbox)\b([^&|]*)&?$"), r"server \1 \2\3"),
    (re.compile(r"^(server \S+ sandbox)$"), r"\1 --port 8600"),
    (re.compile(r"^(server \S+ sandbox mixpanel)$"), r"\1 --port 8610"),
    (re.compile(r"^((?:\S*/)?misoflow (?:tail|dev)\b.*)$"), r"for_a_while \1"),
)
PRELUDE = r"""
set -euo pipefail
server() {
  out="$PWD/.out.${2}${3:-}"
  "$@" >"$out" &
  for _ in $(seq 200); do
    if grep -q ready "$out"; then return; fi
    kill -0 $!
    sleep 0.1
  done
  echo "no 'ready' from: $*"; exit 1
}
for_a_while() { timeout --preserve-status --signal=INT 3 "$@" || [ $? -eq 130 ]; }
trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT
set -x
"""


def free_ports() -> dict[str, str]:
    """The usual ports of the sandbox and of both listeners → ports that are free now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(4)]
        return {
            usual: str(one.getsockname()[1])
            for usual, one in zip(("8600", "8400", "8401", "8610"), sockets, strict=True)
        }


def readme_script() -> str:
    """All blocks of the README marked ``sh``, in their order, as one script."""
    lines = [PRELUDE]
    blocks = [body for kind, body in FENCE.findall((ROOT / "README.md").read_text()) if kind == "sh"]
    assert blocks, "the README shows no command"
    for line in "\n".join(blocks).replace("\\\n", " ").splitlines():
        command = re.sub(r"\s+#.*$", "", line).strip()
        for pattern, substitute in SUBSTITUTES:
            command = pattern.sub(substitute, command).strip()
        lines.append(command)
    return "\n".join(lines)


def copy_of_the_repository(folder: Path) -> None:
    """What a clone would hold, with an environment that is ready."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    for name in listed.stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").mkdir()
    (folder / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    (folder / ".venv" / ".ready").touch()


def test_the_readmes_commands_run(tmp_path: Path) -> None:
    folder = tmp_path / "misoflow"
    folder.mkdir()
    copy_of_the_repository(folder)
    roots = os.pathsep.join(str(folder / root) for root in ("core", "webhooks", "connectors"))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    script, settings = readme_script(), (folder / "plugins.toml").read_text()
    settings = settings.replace("[engine]\n", "[engine]\nport = 8400\nadmin_port = 8401\n")
    for usual, free in free_ports().items():
        script, settings = script.replace(usual, free), settings.replace(usual, free)
    (folder / "plugins.toml").write_text(settings)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": roots, "COLUMNS": "120"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-4000:]


def test_the_readmes_connector_works() -> None:
    """The example is run as it stands: verified, split, translated, and valid for Miso."""
    (code,) = [body for language, body in FENCE.findall((ROOT / "README.md").read_text()) if language == "python"]
    names: dict[str, Any] = {"__name__": "acme"}
    exec(compile(code, "README.md", "exec", dont_inherit=True), names)
    connector = names["Acme"](names["AcmeConfig"](signing_secret="secret"))
    data = {"sku": "p1", "qty": 2, "visitor": "v", "at": "2026-01-01T00:00:00Z"}
    body = json.dumps({"id": "1", "topic": "cart.added", "data": data}).encode()
    request = Request(body, {"x-acme-signature": sign_hmac(body, "secret")})
    connector.verify(request)
    with pytest.raises(Unauthorized):
        connector.verify(Request(body + b" ", request.headers))
    (event,) = connector.events(request)
    (record,) = connector.translate(event)
    assert json.loads(encode(record))["quantities"] == [2]
