"""How a tier is computed from what a run of the contract tests tells, and what the command says when there is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from misoflow.cli import app
from misoflow.tiers import RULES, Report, Unusable, guides, in_folder, installed_places, places
from misoflow.tiers.facts import Contract, Facts, Ran
from misoflow.tiers.rules import judged
from typer.testing import CliRunner

ROOT = Path(__file__).resolve().parents[2]
GUIDE = """# Acme

## Install
## Settings

`shop`, `key`

## What becomes of an event

| topic | Miso |
|---|---|
| cart.added | add_to_cart |
| `product.saved`, product.made | product |
| junk | a dead letter |

## Personal data
## Uninstall
"""
EXEMPT = '[tool.misoflow.exempt.acme]\n{} = "{}"\n'


def outcome(topic: str, kind: str = "interaction", **record: Any) -> dict[str, Any]:
    return {"topic": topic, "outcome": "translated", "records": [{"kind": kind, "record": record}]}


def rejected(topic: str, reason: str) -> dict[str, Any]:
    return {"topic": topic, "outcome": "rejected", "reason": reason}


SAMPLES: dict[str, Any] = {
    "cart": {"source": "https://acme.example/docs", "events": [outcome("cart.added", type="add_to_cart")]},
    "saved": {"source": "recorded at a shop of ours", "events": [outcome("product.saved", "product")]},
    "made": {"source": "dead letter", "events": [outcome("product.made", "product"), rejected("cart.added", "no sku")]},
    "junk": {"source": "dead letter", "events": [rejected("junk", "no event")]},
    "more": {"source": "dead letter", "events": [rejected("product.made", "no title")]},
}
HELD = Contract(
    "TestAcme",
    "",
    verifies=True,
    rotated=["key"],
    streams=["events"],
    counted=["events"],
    asks=True,
    cassette=True,
    refused="fail: 401",
    outage="retry: 500",
)
TOPICS = ["cart.added", "product.saved", "product.made", "junk"]


def project(folder: Path, *, guide: str = GUIDE, samples: dict[str, Any] | None = None, more: str = "") -> Path:
    """A distribution with one connector, and a contract that nobody runs here."""
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "misoflow-acme"\nversion = "1.2"\n'
        f'[project.entry-points."misoflow.connectors"]\nacme = "misoflow_acme:Acme"\n{more}'
    )
    (folder / "README.md").write_text(guide)
    (folder / "tests" / "samples").mkdir(parents=True)
    for name, sample in (SAMPLES if samples is None else samples).items():
        (folder / "tests" / "samples" / f"{name}.json").write_text(json.dumps(sample))
    return folder


def facts(folder: Path, *, contract: dict[str, Any] | None = None, **changed: Any) -> Facts:
    """Those of a connector that lacks nothing, changed."""
    held = msgspec.structs.replace(HELD, samples=str(folder / "tests" / "samples"), **(contract or {}))
    found = Facts(
        topics=TOPICS,
        streams=["events"],
        settings=["shop", "key"],
        overrides=["verify", "check", "install", "uninstall"],
        contracts=[held],
        tests=[Ran("TestAcme::test_one", "passed")],
        speeds={"TestAcme": 10_000.0},
    )
    return msgspec.structs.replace(found, **changed)


def judge(folder: Path, *, contract: dict[str, Any] | None = None, **changed: Any) -> Report:
    (place,) = in_folder(folder)
    return judged(place, facts(folder, contract=contract, **changed))


def lacking(report: Report) -> dict[str, str]:
    return {one.rule: one.detail for one in report.outcomes if one.state == "lacking"}


def test_a_connector_that_lacks_nothing_is_gold(tmp_path: Path) -> None:
    report = judge(project(tmp_path))
    assert lacking(report) == {}
    assert (report.tier, report.next, report.passed, report.notes) == ("Gold", "", 1, [])
    assert {one.state for one in report.outcomes} == {"met"}


BAD = Ran("TestAcme::test_two", "failed")
SKIPPED = Ran("TestAcme::test_three", "skipped", "give a sample")


@pytest.mark.parametrize(
    ("rule", "contract", "changed", "says"),
    [
        ("contract", {}, {"tests": [BAD]}, "1 of 1 contract tests fail: TestAcme::test_two"),
        ("contract", {}, {"errors": ["test_contract.py: ImportError"]}, "ImportError"),
        ("contract", {}, {"contracts": []}, "no ConnectorContract"),
        ("guide", {}, {"settings": ["shop", "color"]}, "the setting `color`"),
        ("whole", {}, {"tests": [SKIPPED]}, "give a sample"),
        ("samples", {}, {"topics": [*TOPICS, "cart.gone"]}, "cart.gone"),
        ("cassette", {"cassette": False}, {}, "no contract with history"),
        ("check", {}, {"overrides": []}, "check() is not written"),
        ("check", {"refused": ""}, {}, "it finds nothing"),
        ("check", {"refused": "retry: 401"}, {}, "does not fail"),
        ("check", {"outage": "fail: 401"}, {}, "says the same"),
        ("check", {"outage": ""}, {}, "nothing"),
        ("install", {}, {"overrides": ["check", "install"]}, "without its counterpart"),
        ("count", {"counted": []}, {}, "events"),
        ("count", {}, {"streams": ["events", "profiles"]}, "profiles"),
        ("rotation", {"rotated": []}, {}, "TestAcme"),
        ("mapping", {}, {"topics": [*TOPICS, "cart.gone"]}, "no row for cart.gone"),
        ("benchmark", {}, {"speeds": {}}, "TestAcme"),
    ],
)
def test_what_is_lacking_is_named(
    tmp_path: Path, rule: str, contract: dict[str, Any], changed: dict[str, Any], says: str
) -> None:
    report = judge(project(tmp_path), contract=contract, **changed)
    assert says in lacking(report)[rule]
    wanted = {"Bronze": "none", "Silver": "Bronze", "Gold": "Silver"}[RULES[rule].tier]
    assert report.tier in (wanted, "none", "Bronze")
    assert report.tier != "Gold"
    if set(lacking(report)) == {rule}:
        assert report.tier == wanted
        assert report.next == RULES[rule].tier


@pytest.mark.parametrize(
    ("rule", "contract", "changed"),
    [
        ("cassette", {"asks": False}, {}),
        ("check", {"asks": False}, {}),
        ("install", {}, {"overrides": ["verify", "check"]}),
        ("count", {"streams": [], "counted": []}, {"streams": []}),
        ("rotation", {"verifies": False, "rotated": []}, {}),
    ],
)
def test_a_rule_that_does_not_concern_a_connector_is_not_asked(
    tmp_path: Path, rule: str, contract: dict[str, Any], changed: dict[str, Any]
) -> None:
    report = judge(project(tmp_path), contract=contract, **changed)
    assert {one.rule: one.state for one in report.outcomes}[rule] == "not asked"
    assert report.tier == "Gold"


def test_samples_have_to_say_where_they_are_from(tmp_path: Path) -> None:
    made_up = {**SAMPLES, "cart": {**SAMPLES["cart"], "source": "made up"}}
    made_up["made"] = {**SAMPLES["made"], "source": ""}
    report = judge(project(tmp_path, samples=made_up))
    assert "cart.added" in lacking(report)["samples"]
    assert "product.saved" not in lacking(report)["samples"]
    assert "2 ways to be rejected" in lacking(report)["corpus"]


def test_a_topic_that_is_always_rejected_needs_no_source(tmp_path: Path) -> None:
    bare = {**SAMPLES, "junk": {"events": SAMPLES["junk"]["events"]}}
    assert "samples" not in lacking(judge(project(tmp_path, samples=bare)))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("| cart.added | add_to_cart |", "| cart.added | click |", "the row of cart.added does not say add_to_cart"),
        ("| cart.added | add_to_cart |\n", "", "no row for cart.added"),
        ("| junk |", "| junk.gone |", "junk.gone is no topic"),
        ("product.made", "product.maid", "no row for product.made"),
    ],
)
def test_the_mapping_table_says_what_the_samples_show(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in GUIDE
    assert says in lacking(judge(project(tmp_path, guide=GUIDE.replace(old, new))))["mapping"]


@pytest.mark.parametrize("heading", ["Install", "Settings", "What becomes of an event", "Personal data"])
def test_every_section_of_the_guide_is_looked_for(tmp_path: Path, heading: str) -> None:
    report = judge(project(tmp_path, guide=GUIDE.replace(f"## {heading}", "## Other")))
    assert "a section on" in lacking(report)["guide"]
    assert report.tier == "none"


def test_removal_has_a_section() -> None:
    assert guides.mentions_removal(GUIDE)
    assert not guides.mentions_removal(GUIDE.replace("Uninstall", "End"))


def test_an_exemption_counts_with_its_reason(tmp_path: Path) -> None:
    folder = project(tmp_path, more=EXEMPT.format("cassette", "their answers are secret"))
    report = judge(folder, contract={"cassette": False})
    assert report.tier == "Gold"
    (exempt,) = [one for one in report.outcomes if one.state == "exempt"]
    assert (exempt.rule, exempt.detail) == ("cassette", "their answers are secret")


def test_an_exemption_that_is_not_needed_is_named(tmp_path: Path) -> None:
    report = judge(project(tmp_path, more=EXEMPT.format("cassette", "once")))
    assert report.notes == ["the exemption from cassette is not needed (any more)"]


@pytest.mark.parametrize(
    ("rule", "reason", "says"),
    [
        ("cassette", " ", "an exemption needs its reason"),
        ("casette", "no", "there are contract, guide"),
        ("contract", "no", "xfail"),
    ],
)
def test_exemptions_that_are_none(tmp_path: Path, rule: str, reason: str, says: str) -> None:
    with pytest.raises(Unusable, match=says):
        judge(project(tmp_path, more=EXEMPT.format(rule, reason)))


def test_expected_failures_are_shown(tmp_path: Path) -> None:
    report = judge(project(tmp_path), tests=[Ran("TestAcme::test_one", "xfailed", "ids are hashed")])
    assert report.tier == "Gold"
    assert report.notes == ["expected to fail: TestAcme::test_one: ids are hashed"]


def test_every_rule_is_documented_with_its_tier() -> None:
    page = (ROOT / "docs" / "authors" / "tiers.md").read_text()
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| `")]
    told = {cells[1].strip().strip("`"): cells[2].strip() for cells in rows}
    assert told == {name: rule.tier for name, rule in RULES.items()}


# the command ------------------------------------------------------------------------------------------------------


def run(*args: str) -> Any:
    return CliRunner().invoke(app, ["connectors", *args])


def test_a_bad_name_is_answered_with_a_near_one(tmp_path: Path) -> None:
    for args in (["segmnt", "--tier"], ["acmee", "--tier", "--dir", str(project(tmp_path))], ["segmnt"]):
        done = run(*args)
        assert done.exit_code == 2, done.output
        assert f"there is no connector '{args[0]}'" in done.stderr
    assert "did you mean 'segment'?" in run("segmnt", "--tier").stderr


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "there is no pyproject.toml in it"),
        ({"pyproject.toml": "[project"}, "pyproject.toml: "),
        ({"pyproject.toml": "[project]\n"}, "names no connector under"),
    ],
)
def test_a_folder_without_a_connector(tmp_path: Path, files: dict[str, str], says: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    done = run("--tier", "--dir", str(tmp_path))
    assert done.exit_code == 2
    assert says in done.stderr


def test_a_folder_without_contract_tests(tmp_path: Path) -> None:
    done = run("acme", "--tier", "--dir", str(project(tmp_path)))
    assert done.exit_code == 2
    assert "holds a ConnectorContract; write one" in done.stderr


def test_dir_is_for_tiers(tmp_path: Path) -> None:
    done = run("--dir", str(tmp_path))
    assert (done.exit_code, done.stderr) == (2, "--dir is for --tier\n")


def test_one_connector_of_the_list() -> None:
    listed = [json.loads(line)["name"] for line in run("segment", "--json").stdout.splitlines()]
    assert listed == ["segment"]


def test_a_connector_that_was_installed_without_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_source_of", lambda point: None)
    ((name, problem),) = installed_places("segment")  # type: ignore[misc]
    assert name == "segment"
    assert "--dir FOLDER" in str(problem)


def test_without_the_kit_the_command_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("misoflow.tiers.running.KIT", ("pytest", "no_such_module"))
    done = run("acme", "--tier", "--dir", str(project(tmp_path)))
    assert done.exit_code == 2
    assert "the test kit needs no_such_module; pip install 'misoflow[testing]'" in done.stderr
