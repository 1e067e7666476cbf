"""The command on a distribution in a folder: its contract is run, and what it tells is judged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from misoflow.cli import app
from typer.testing import CliRunner

ROOT = Path(__file__).resolve().parents[2]
GOOD = ROOT / "tests" / "kit" / "good"
GUIDE = """# Acme

## Install

## Settings

`shop`, `signing_secrets`, `token`

## What becomes of an event

| topic | Miso |
|---|---|
| product.saved | product |
| product.removed | remove_product |
| cart.added | add_to_cart |
| customer.saved | user |

## Personal data
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The kit's good toy as a distribution that is not installed."""
    tests = tmp_path / "tests"
    shutil.copytree(GOOD / "samples", tests / "samples")
    shutil.copy(GOOD / "acme.py", tmp_path / "acme.py")
    shutil.copy(GOOD / "test_acme.py", tests / "test_acme.py")
    (tmp_path / "README.md").write_text(GUIDE)
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "misoflow-acme"\nversion = "1.2"\n'
        '[project.entry-points."misoflow.connectors"]\nacme = "acme:Acme"\n'
        "[tool.pytest.ini_options]\nasyncio_default_fixture_loop_scope = 'function'\n"
    )
    return tmp_path


def run(folder: Path, *args: str) -> Any:
    return CliRunner().invoke(app, ["connectors", "--tier", "--dir", str(folder), *args])


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_a_good_connector_is_bronze_until_its_samples_say_where_they_are_from(project: Path) -> None:
    done = run(project, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["name"], told["version"], told["distribution"]) == ("acme", "1.2", "misoflow-acme")
    assert (told["tier"], told["next"]) == ("Bronze", "Silver")
    states = {one["rule"]: one["state"] for one in told["rules"]}
    assert states["contract"] == states["mapping"] == states["count"] == states["rotation"] == "met"
    assert states["samples"] == states["cassette"] == states["check"] == "lacking"
    assert states["install"] == "not asked"
    assert told["passed"] >= 50


def test_a_red_test_leaves_no_tier(project: Path) -> None:
    change(project / "acme.py", "yield RemoveProduct", "yield Skip('no') or RemoveProduct")
    done = run(project)
    assert done.exit_code == 1
    assert "acme 1.2: none" in done.stdout
    assert "Bronze lacks contract" in done.stdout
    assert "test_translates_as_recorded[catalogue]" in done.stdout


def test_a_file_that_cannot_be_imported_is_named(project: Path) -> None:
    (project / "tests" / "test_more.py").write_text("from misoflow.testing import ConnectorContract\nimport gone\n")
    done = run(project)
    assert done.exit_code == 1
    assert "tests that cannot be collected: tests/test_more.py: ModuleNotFoundError: No module named 'gone'" in (
        done.stdout.replace("\n", " ")
    )


def test_a_connector_that_cannot_be_loaded_is_told(project: Path) -> None:
    (project / "acme.py").write_text("import gone\n")
    done = run(project)
    assert done.exit_code == 2
    assert "its contract tests cannot be run" in done.stderr
    assert "gone" in done.stderr


def test_expected_failures_and_skips_are_told_and_other_tests_are_not_run(project: Path) -> None:
    change(
        project / "tests" / "test_acme.py",
        "    def sign(",
        '    @pytest.mark.xfail(reason="it answers 403 when it is tired")\n'
        "    def test_failures_are_classified(self, failure):\n        assert failure != '403'\n\n    def sign(",
    )
    change(project / "tests" / "test_acme.py", "import httpx\n", "import httpx\nimport pytest\n")
    change(project / "tests" / "test_acme.py", '["a-newer-secret", "a-signing-secret"]}', "X}")
    change(project / "tests" / "test_acme.py", 'rotated = {"signing_secrets": X}\n', "\n")
    with (project / "tests" / "test_acme.py").open("a") as file:
        file.write("\n\ndef test_of_our_own_that_is_no_contract():\n    raise AssertionError\n")
    told = json.loads(run(project, "--json").stdout)
    assert told["tier"] == "Bronze"
    assert told["notes"] == [
        "expected to fail: TestAcme::test_failures_are_classified[403]: it answers 403 when it is tired"
    ]
    details = {one["rule"]: one["detail"] for one in told["rules"] if one["state"] == "lacking"}
    assert "give `rotated`" in details["whole"]
    assert "TestAcme" in details["rotation"]


CHECK = """
    async def check(self):
        answer = await self.http.get(f"https://{self.config.shop}/events", classify=False)
        return [Problem("fail", TEXT, "mend it")] if answer.status >= 400 else []
"""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("'the shop does not answer as it should'", "the same of an outage (500) as of a bad credential"),
        ("f'the shop answered {answer.status}'", ""),
    ],
)
def test_check_is_asked_of_a_refusal_and_of_an_outage(project: Path, text: str, says: str) -> None:
    change(project / "acme.py", "    def sample(", CHECK.replace("TEXT", text) + "\n    def sample(")
    change(project / "acme.py", "    Page,\n", "    Page,\n    Problem,\n")
    rules = {one["rule"]: one for one in json.loads(run(project, "--json").stdout)["rules"]}
    assert rules["check"]["state"] == ("lacking" if says else "met")
    assert says in (rules["check"]["detail"] or "")
