"""``misoflow connectors --tier``: runs contract tests and shows which tier a connector has reached, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from misoflow.cli.app import OK, PART, USAGE, fail
from misoflow.cli.output import Output

if TYPE_CHECKING:
    from misoflow.tiers import Place, Report, Unusable


def show(name: str, folder: Path | None, out: Output) -> None:
    """The tiers of the named connector or of all, each as soon as it is known. Exit 1 when one has none."""
    from misoflow import tiers

    found: list[Any]
    try:
        found = tiers.in_folder(folder, name) if folder is not None else list(tiers.installed_places(name))
    except tiers.Unusable as error:
        fail(str(error), USAGE)
    code = OK
    for place in found:
        try:
            report = tiers.tier_of(_usable(place))
        except tiers.Unusable as error:
            if len(found) == 1:
                fail(str(error), USAGE)
            _untold(place, error, out)
            code = PART
            continue
        _as_json(report, out) if out.as_json else _as_text(report, out, whole=len(found) == 1)
        code = code if report.tier in tiers.TIERS else PART
    raise typer.Exit(code)


def _usable(place: Place | tuple[str, Unusable]) -> Place:
    if isinstance(place, tuple):
        raise place[1]
    return place


def _untold(place: Place | tuple[str, Unusable], error: Unusable, out: Output) -> None:
    """One of several whose tier cannot be computed does not keep the others from being shown."""
    name = place[0] if isinstance(place, tuple) else place.name
    if out.as_json:
        out.json({"name": name, "tier": None, "problem": str(error)})
    else:
        out.text(f"{name}: its tier cannot be computed: {error}")


def _as_json(report: Report, out: Output) -> None:
    place = report.place
    rules = [
        {"rule": one.rule, "tier": one.tier, "state": one.state, "detail": one.detail or None}
        for one in report.outcomes
    ]
    facts = {"name": place.name, "version": place.version, "distribution": place.distribution}
    counts = {"passed": report.passed, "notes": report.notes}
    out.json({**facts, "tier": report.tier, "next": report.next or None, "rules": rules, **counts})


def _as_text(report: Report, out: Output, *, whole: bool) -> None:
    """The tier and what the next one lacks; of one connector alone, every rule."""
    lacking = [one for one in report.outcomes if one.state == "lacking"]
    out.text(f"{report.place.name} {report.place.version}: {report.tier} ({report.passed} contract tests passed)")
    for one in lacking:
        out.text(f"  {one.tier} lacks {one.rule}: {one.detail}")
    for note in report.notes:
        out.text(f"  {note}")
    if whole:
        rows = [[one.tier, one.rule, one.state, one.detail if one.state == "exempt" else ""] for one in report.outcomes]
        out.table(["tier", "rule", "state", "why exempt"], rows)
