"""What the project depends on and what it holds: a hashed lock, few packages, each with its reason, no secret."""

from __future__ import annotations

import json
import math
import re
import subprocess
import tomllib
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==(\S+)", re.MULTILINE)

# what keys of the platforms look like, and values that stand beside a secret's name
TOKENS = re.compile(
    r"shp(?:at|ca|pa|ss)_[0-9a-f]{32}|\bwhsec_[A-Za-z0-9+/=]{24,}|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY|\beyJ[A-Za-z0-9_-]{15,}\.eyJ[A-Za-z0-9_-]{15,}"
)
ASSIGNED = re.compile(
    r"(?i)(?:api_?key|secret|password|token|authorization)[\"']?\s*[:=]\s*[\"']?(?:(?:Bearer|Basic)\s+)?"
    r"([A-Za-z0-9+/=_-]{20,})"
)
COUNTED_UP = "0123456789"  # marks a value as made up
PUBLISHED = {
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",  # the test vector that Standard Webhooks publishes
}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def names_of(requirements: list[str]) -> list[str]:
    return [normal(re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0]) for text in requirements]


def entropy(text: str) -> float:
    """Bits a character; hexadecimal keys come near 4, words and paths stay near 3.5 or below."""
    counts = Counter(text)
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts.values())


def secrets_in(text: str) -> list[str]:
    found = [token for token in TOKENS.findall(text) if token not in PUBLISHED]
    values = [value for value in ASSIGNED.findall(text) if value not in PUBLISHED and COUNTED_UP not in value]
    return found + [value for value in values if entropy(value) > 3.7 and re.search(r"\d", value)]


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout: nothing tells which files belong to the project")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("name", ["run.txt", "dev.txt", "docs.txt"])
def test_every_pin_of_the_lock_has_hashes(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text()
    entries = re.split(r"\n(?=[A-Za-z0-9])", "\n".join(x for x in text.splitlines() if not x.lstrip().startswith("#")))
    assert len(entries) > 20
    assert [entry.split()[0] for entry in entries if "==" not in entry or "--hash=sha256:" not in entry] == []
    assert "://" not in text
    assert "--index" not in text
    assert "--extra-index" not in text


def test_the_lock_covers_what_the_project_names() -> None:
    run = {normal(name): version for name, version in PIN.findall((ROOT / "requirements/run.txt").read_text())}
    dev = {normal(name): version for name, version in PIN.findall((ROOT / "requirements/dev.txt").read_text())}
    assert set(names_of(PROJECT["dependencies"])) <= run.keys()
    assert set(names_of(PROJECT["optional-dependencies"]["dev"])) <= dev.keys()
    assert {name for name in run if dev.get(name) != run[name]} == set(), "tests run on other versions than users do"


def test_the_sites_packages_have_a_lock_of_their_own() -> None:
    """What builds the documentation is in no environment that runs or tests misoflow."""
    wanted = names_of([line for line in (ROOT / "requirements/docs.in").read_text().splitlines() if line[:1].isalpha()])
    locked = {normal(name) for name, _ in PIN.findall((ROOT / "requirements/docs.txt").read_text())}
    dev = {normal(name) for name, _ in PIN.findall((ROOT / "requirements/dev.txt").read_text())}
    assert wanted
    assert set(wanted) <= locked
    assert not set(wanted) & dev


def test_no_document_names_a_package_index_or_a_place_on_a_machine() -> None:
    """Where packages come from is each machine's own affair; paths of the one they were written on help nobody."""
    pages = [path for path in tracked() if path.suffix in (".md", ".yml")]
    assert len(pages) > 10
    named = re.compile(r"https?://(?:pypi|registry|index|files|repo|proxy)\.[\w.-]+|(?<![\w.])/(?:work|home|root)/")
    found = {page.relative_to(ROOT).as_posix(): named.findall(page.read_text()) for page in pages}
    assert {page: texts for page, texts in found.items() if texts} == {}


def test_the_dependencies_stay_few() -> None:
    assert len(PROJECT["dependencies"]) <= 25
    assert len(PIN.findall((ROOT / "requirements/run.txt").read_text())) <= 60


def test_every_dependency_has_its_reason_written_down() -> None:
    reasons = (ROOT / "docs" / "decisions.md").read_text().partition("## Dependencies")[2]
    wanted = names_of(PROJECT["dependencies"])
    wanted += names_of(
        [line for line in (ROOT / "requirements/docs.in").read_text().splitlines() if line[:1].isalpha()]
    )
    for extra, requirements in PROJECT["optional-dependencies"].items():
        wanted += names_of(requirements) if extra != "dev" else []
    assert [name for name in wanted if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", reasons)] == []


def test_the_audit_is_strict() -> None:
    """Without --strict, pip-audit says *no known vulnerabilities* when it could not reach its list."""
    recipe = (ROOT / "Makefile").read_text().partition("\naudit:")[2].partition("\n\n")[0]
    assert "pip-audit" in recipe
    assert "--strict" in recipe
    assert "--require-hashes" in recipe
    assert "requirements/run.txt" in recipe


def test_no_file_of_the_project_holds_a_secret() -> None:
    """Samples, cassettes and examples hold made-up values only."""
    found = {}
    for path in tracked():
        if path.suffix in (".png", ".gz", ".parquet", ".zst") or path.name == "package-lock.json":
            continue
        if path.parent.name == "requirements" or path == Path(__file__):
            continue
        if secrets := secrets_in(path.read_text("utf-8", errors="replace")):
            found[path.relative_to(ROOT).as_posix()] = secrets
    assert found == {}


@pytest.mark.parametrize(
    "text",
    [
        "shpat_" + "0123456789abcdef" * 2,
        "whsec_" + "Q2FuYXJ5Q2FuYXJ5Q2FuYXJ5MTIz",
        "Authorization: Bearer " + "a8Zk2Lq9Xw7Rt5Yb3Nc1",
        "?api_key=" + "9f8e7d6c5b4a39281706f5e4d3c2b1a0",
        json.dumps({"api_key": "pK4mZx82QhT6vB1nWc7Ls0Rd"}),
    ],
)
def test_the_search_finds_what_keys_look_like(text: str) -> None:
    assert secrets_in(text)


@pytest.mark.parametrize("text", ['api_key = { env = "MISO_API_KEY" }', "secret: SecretStr | list[SecretStr]"])
def test_the_search_leaves_names_alone(text: str) -> None:
    assert secrets_in(text) == []
