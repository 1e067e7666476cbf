"""A mapping proposed from a sample: it loads as it stands, and does what the presets would do."""

from __future__ import annotations

import asyncio
import json
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from misoflow.cli import app
from misoflow.rules import Rules
from misoflow_mixpanel.config import MixpanelConfig
from misoflow_mixpanel.suggesting import Sample, _suggestion
from misoflow_sandbox.mixpanel import MixpanelSandbox, MixpanelWorld, Options
from misoflow_sandbox.serving import served
from typer.testing import CliRunner

from tests.mixpanel.kit import audited, mix

WORLD = MixpanelWorld(start=datetime.now(UTC).date() - timedelta(days=8), days=7, events_per_day=300)
SETTINGS = """
[miso]
api_key = "key"
[instances.mix]
connector = "mixpanel"
project_id = {world.project_id}
username = "{world.username}"
secret = "{world.secret}"
api_url = "{url}"
"""


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[MixpanelSandbox]:
    sandbox = MixpanelSandbox(WORLD, Options(limits="off"))
    with served(sandbox, date_header=False) as url:
        (tmp_path / "plugins.toml").write_text(SETTINGS.format(world=WORLD, url=url))
        yield sandbox


def run(tmp_path: Path, *arguments: str) -> Any:
    return CliRunner().invoke(app, ["suggest-mapping", "mix", "--config", str(tmp_path / "plugins.toml"), *arguments])


def test_what_it_writes_loads_and_names_counts_and_shares(sandbox: MixpanelSandbox, tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.count('match = ["Product Viewed"]') == 1
    rules = {rule["match"][0]: rule for rule in tomllib.loads(done.stdout)["instances"]["mix"]["rules"]}
    assert rules["Product Viewed"]["product_ids"] == ["$.properties.product_id"]
    assert rules["Products Searched"]["search"] == {"keywords": "$.properties.query"}
    order = rules["Order Completed"]
    assert order["product_ids"] == [{"@arrayPath": ["$.properties.products", "$.product_id"]}]
    assert order["revenue"] == "$.properties.total"
    assert "Newsletter Opened" not in rules
    assert '# match = ["Newsletter Opened"]' in done.stdout
    assert "# properties: issue 100 %" in done.stdout
    assert "product id product_id: in 100 % of them" in done.stdout
    assert not any(name.startswith("$") for name in rules)
    assert len(sandbox.calls) == 8, "one export a day and the names"


def test_a_file_is_never_written_over_and_the_settings_stay(sandbox: MixpanelSandbox, tmp_path: Path) -> None:
    before = (tmp_path / "plugins.toml").read_text()
    target = tmp_path / "rules.toml"
    assert run(tmp_path, "--out", str(target)).exit_code == 0
    text = target.read_text()
    assert tomllib.loads(text)["instances"]["mix"]["rules"]
    again = run(tmp_path, "--out", str(target))
    assert again.exit_code == 2
    assert "exists already" in again.stderr
    assert target.read_text() == text
    assert (tmp_path / "plugins.toml").read_text() == before


def test_for_machines_and_without_the_query_api(sandbox: MixpanelSandbox, tmp_path: Path) -> None:
    sandbox.change(no_plan=["query"])
    done = run(tmp_path, "--json")
    assert done.exit_code == 0
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    found = {row["name"]: row for row in rows}
    assert len(found) == len(rows)
    assert found["Product Added"]["type"] == "add_to_cart"
    assert found["Newsletter Opened"]["type"] is None
    sandbox.change(expired=True)
    assert run(tmp_path).exit_code == 78


def test_a_connector_with_fixed_names_says_so(tmp_path: Path) -> None:
    (tmp_path / "plugins.toml").write_text(
        '[miso]\napi_key = "key"\n[instances.mix]\nconnector = "segment"\nshared_secret = "a-long-enough-secret-12"\n'
    )
    done = run(tmp_path)
    assert done.exit_code == 2
    assert "its event names are fixed" in done.stderr


async def test_the_proposal_in_use_gives_what_the_presets_give(tmp_path: Path) -> None:
    sandbox = MixpanelSandbox(WORLD, Options(limits="off"))
    with served(sandbox, date_header=False) as url:
        (tmp_path / "plugins.toml").write_text(SETTINGS.format(world=WORLD, url=url))
        rules = (await asyncio.to_thread(run, tmp_path)).stdout
    async with mix(tmp_path, WORLD, f"presets = false\n{rules}") as m:
        audited(await m.pull())
        await m.judge()


def proposed(name: str, *properties: dict[str, Any], **settings: Any) -> Any:
    sample = Sample()
    for one in properties:
        sample.add(one)
    config = MixpanelConfig(project_id=1, secret="s", **settings)  # type: ignore[arg-type]
    return _suggestion(config, name, sample)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Product Viewed", "product_detail_page_view"),
        ("PDP Opened", "product_detail_page_view"),
        ("item_detail_seen", "product_detail_page_view"),
        ("Cart: Item Removed", "remove_from_cart"),
        ("itemAddedToCart", "add_to_cart"),
        ("Payment Success", "checkout"),
        ("Catalog Search", "search"),
        ("Podcast Play", "listen"),
        ("App Opened", ""),
        ("Order Viewed", ""),
    ],
)
def test_types_by_name(name: str, kind: str) -> None:
    assert proposed(name).type == kind


def test_the_best_product_id_is_taken() -> None:
    rows = [
        {"distinct_id": f"u{n}", "id": f"u{n}", "Article Slug": f"a{n}", "user_id": f"u{n}", "code": 1}
        for n in range(9)
    ]
    found = proposed("Article Opened", *rows)
    assert found.fields["product_ids"] == ["$.properties.Article Slug"]
    assert found.sure
    assert any("in 100 % of them, 9 different" in note for note in found.notes)
    both = [{"video_code": f"v{n}"} | ({} if n > 6 else {"item_id_x": 1, "track id": n}) for n in range(9)]
    assert proposed("Video Watched", {"video_code": "v"}, *both).fields["product_ids"] == ["$.properties.video_code"]
    alike = [{"track sku": n if n < 7 else None, "item code": 1} for n in range(9)]
    assert proposed("Song Played", *alike).fields["product_ids"] == ["$.properties.item code"], "it is always there"
    assert not proposed("Product Viewed", {"product.id": "p"}).sure, "no rule can name it"
    rare = proposed("Article Opened", {"article_id": "a"}, {}, {})
    assert not rare.sure, "two thirds of the events do not have it"
    listed = proposed("Purchase", {"Cart Items": [{"Item ID": 5, "qty": 2}], "sku": "x", "Total Charge": 9})
    assert listed.fields["product_ids"] == [{"@arrayPath": ["$.properties.Cart Items", "$.Item ID"]}]
    assert listed.fields["quantities"] == {"@arrayPath": ["$.properties.Cart Items", "$.qty"]}
    assert listed.fields["revenue"] == "$.properties.Total Charge"


def test_whatever_the_names_hold_the_text_loads() -> None:
    from misoflow.suggest import written

    names = [
        'a "quoted" \\ name',
        "two\nlines",
        "del\x7f",
        "\u2028",
        "😀 Viewed",
        "half \ud83d",
        "[[x]]",
        "#",
        "Product Viewed",
    ]
    found = [proposed(name, {'sku "1"': "x", "product_id": "p", "new\nline": 1}) for name in names]
    text = written("mix-1 ü", found)
    rules = tomllib.loads(text)["instances"]["mix-1 ü"]["rules"]
    Rules.compile(rules, where="rules")
    assert {rule["match"][0] for rule in rules} == {"Product Viewed"}
    lines = [line.removeprefix("# ") for line in text.split("\n")]
    uncommented = "\n".join(line for line in lines if line.startswith(("match =", "[[inst")))
    matched = [one["match"][0] for one in tomllib.loads(uncommented)["instances"]["mix-1 ü"]["rules"]]
    assert set(matched) == {name.encode("utf-8", "replace").decode() for name in names}
