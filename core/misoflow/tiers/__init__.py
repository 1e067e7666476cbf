"""How far a connector is: Bronze, Silver or Gold, computed from its contract tests, its samples and its guide.

Nobody can claim a tier. ``docs/authors/tiers.md`` says what each rule wants and how it is computed.
"""

from __future__ import annotations

from misoflow.tiers.places import Place, Unusable, in_folder, installed_places
from misoflow.tiers.rules import RULES, TIERS, Outcome, Report, judged
from misoflow.tiers.running import facts_of

__all__ = ["RULES", "TIERS", "Outcome", "Place", "Report", "Unusable", "in_folder", "installed_places", "tier_of"]


def tier_of(place: Place) -> Report:
    """Run the contract tests of one connector and judge it. Raises Unusable when they cannot be run."""
    return judged(place, facts_of(place))
