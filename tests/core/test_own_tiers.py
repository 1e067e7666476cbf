"""The tiers of our own connectors may only rise."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from misoflow.tiers import TIERS, in_folder, tier_of

ROOT = Path(__file__).resolve().parents[2]
REACHED = {"files": "Gold", "http": "Gold", "mixpanel": "Gold", "segment": "Gold", "shopify": "Gold"}
"""Every connector that ships. Never take one down: mend what `misoflow connectors --tier` names."""

NO_PLATFORM = {"singer"}
"""A part of core without deliveries or history of its own; its contract is kept by tests/singer/test_contract.py."""


def test_every_connector_that_ships_has_a_tier_to_hold() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(REACHED) | NO_PLATFORM == set(project["entry-points"]["misoflow.connectors"])


@pytest.mark.parametrize("name", REACHED)
def test_no_connector_falls_below_the_tier_that_it_had(name: str) -> None:
    (place,) = in_folder(ROOT, name)
    report = tier_of(place)
    lacking = [f"{one.tier} lacks {one.rule}: {one.detail}" for one in report.outcomes if one.state == "lacking"]
    assert report.tier in TIERS, lacking
    assert TIERS.index(report.tier) >= TIERS.index(REACHED[name]), lacking
    assert not [note for note in report.notes if "exemption" in note], "exemptions may only become fewer"
