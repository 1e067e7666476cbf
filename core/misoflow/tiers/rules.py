"""The rules of the tiers, and what each finds lacking. ``docs/authors/tiers.md`` has a row for each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from misoflow.tiers import guides, samples
from misoflow.tiers.facts import Facts, Ran
from misoflow.tiers.places import Place, Unusable

TIERS = ("Bronze", "Silver", "Gold")
NONE = "none"
MOST_NAMED = 5
"""Things named in one line."""
REJECTIONS = 3

Answer = str | None
"""What is lacking and what to do; "" when nothing is; None when the rule does not concern this connector."""


class Source(NamedTuple):
    """All that the rules look at."""

    place: Place
    facts: Facts
    samples: list[samples.Sample]
    guide: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: the tier that asks for it, and what is lacking."""

    tier: str
    lacking: Callable[[Source], Answer]
    exemptible: bool = True


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one rule."""

    rule: str
    tier: str
    state: Literal["met", "lacking", "exempt", "not asked"]
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """A connector's tier and why."""

    place: Place
    tier: str
    """Bronze, Silver, Gold or none."""
    outcomes: list[Outcome]
    passed: int
    notes: list[str] = field(default_factory=list)
    """What does not change the tier and should be known: expected failures, exemptions that are not needed."""

    @property
    def next(self) -> str:
        """The tier that comes next; "" after the last."""
        place = TIERS.index(self.tier) + 1 if self.tier in TIERS else 0
        return TIERS[place] if place < len(TIERS) else ""


def _contract(source: Source) -> Answer:
    facts = source.facts
    if facts.errors:
        return f"tests that cannot be collected: {_some(facts.errors)}"
    if not facts.contracts:
        return f"no ConnectorContract in {source.place.folder / 'tests'} has connector = {source.place.value}"
    failed = [_named(test) for test in facts.tests if test.outcome == "failed"]
    return f"{len(failed)} of {len(facts.tests)} contract tests fail: {_some(failed)}" if failed else ""


def _guide(source: Source) -> Answer:
    if source.place.guide is None:
        return f"there is neither README.md nor docs/connectors/{source.place.name}.md"
    lacks = [f"a section on {topic}" for topic in guides.missing_sections(source.guide)]
    lacks += [f"the setting `{name}`" for name in source.facts.settings if f"`{name}`" not in source.guide]
    return f"{source.place.guide.name} lacks {_some(lacks)}" if lacks else ""


def _whole(source: Source) -> Answer:
    skipped = [f"{_named(test)} ({test.reason})" for test in source.facts.tests if test.outcome == "skipped"]
    return f"contract tests that had nothing to do: {_some(skipped)}" if skipped else ""


def _samples(source: Source) -> Answer:
    topics = _topics(source)
    told = {topic for sample in source.samples if sample.source for topic in sample.topics}
    only_rejected = {topic for topic in topics if samples.is_rejected(source.samples, topic)}
    bare = [topic for topic in topics if topic not in told | only_rejected]
    if not bare:
        return ""
    return f"no sample says in `source` where it was recorded or documented, of: {_some(bare)}"


def _cassette(source: Source) -> Answer:
    asking = [one for one in source.facts.contracts if one.streams and one.asks]
    if not asking:
        return None
    return "" if any(one.cassette for one in asking) else "no contract with history has a cassette"


def _check(source: Source) -> Answer:
    asking = [one for one in source.facts.contracts if one.asks]
    if not asking:
        return None
    if "check" not in source.facts.overrides:
        return "check() is not written: nobody learns of a bad credential before history is pulled"
    for one in asking:
        if not one.refused.startswith("fail"):
            return f"check() does not fail when the platform answers 401 ({one.refused or 'it finds nothing'})"
        if one.outage == one.refused or not one.outage:
            return f"check() says the same of an outage (500) as of a bad credential: {one.outage or 'nothing'}"
    return ""


def _install(source: Source) -> Answer:
    own = [name for name in ("install", "uninstall") if name in source.facts.overrides]
    if not own:
        return None
    if len(own) == 1:
        return f"{own[0]}() is written without its counterpart"
    return "" if guides.mentions_removal(source.guide) else "the guide has no section on uninstalling"


def _count(source: Source) -> Answer:
    streams = dict.fromkeys(stream for one in source.facts.contracts for stream in one.streams)
    streams |= dict.fromkeys(source.facts.streams)
    if not streams:
        return None
    counted = {stream for one in source.facts.contracts for stream in one.counted}
    open_ones = [stream for stream in streams if stream not in counted]
    return f"no `history` says how many events the platform holds of: {_some(open_ones)}" if open_ones else ""


def _rotation(source: Source) -> Answer:
    verifying = [one for one in source.facts.contracts if one.verifies]
    if not verifying:
        return None
    single = [one.name for one in verifying if not one.rotated]
    return f"no second secret while the first is changed (`rotated`) in: {_some(single)}" if single else ""


def _mapping(source: Source) -> Answer:
    made = {topic: samples.kinds_of(source.samples, topic) for topic in _topics(source)}
    wrong = guides.differences(source.guide, made)
    return f"the mapping tables of the guide: {_some(wrong)}" if wrong else ""


def _corpus(source: Source) -> Answer:
    reasons = {reason for sample in source.samples if sample.source for reason in sample.rejections}
    if len(reasons) >= REJECTIONS:
        return ""
    return (
        f"samples with a `source` show {len(reasons)} ways to be rejected, not {REJECTIONS}; "
        "take them from dead letters: misoflow dead show N --as-sample"
    )


def _benchmark(source: Source) -> Answer:
    silent = [one.name for one in source.facts.contracts if one.name not in source.facts.speeds]
    return f"no throughput was measured for: {_some(silent)}" if silent else ""


RULES: dict[str, Rule] = {
    "contract": Rule("Bronze", _contract, exemptible=False),
    "guide": Rule("Bronze", _guide),
    "whole": Rule("Silver", _whole),
    "samples": Rule("Silver", _samples),
    "cassette": Rule("Silver", _cassette),
    "check": Rule("Silver", _check),
    "install": Rule("Silver", _install),
    "count": Rule("Gold", _count),
    "rotation": Rule("Gold", _rotation),
    "mapping": Rule("Gold", _mapping),
    "corpus": Rule("Gold", _corpus),
    "benchmark": Rule("Gold", _benchmark),
}


def judged(place: Place, facts: Facts) -> Report:
    """The connector's tier: the last one up to which no rule lacks anything."""
    _known(place)
    guide = place.guide.read_text("utf-8") if place.guide is not None else ""
    source = Source(place, facts, samples.of(one.samples for one in facts.contracts), guide)
    outcomes = [_outcome(name, rule, source) for name, rule in RULES.items()]
    lacking = {outcome.tier for outcome in outcomes if outcome.state == "lacking"}
    tier = NONE
    for step in TIERS:
        if step in lacking:
            break
        tier = step
    passed = sum(test.outcome == "passed" for test in facts.tests)
    return Report(place, tier, outcomes, passed, [*_expected(facts.tests), *_not_needed(outcomes, place)])


def _known(place: Place) -> None:
    for rule in place.exempt:
        if rule not in RULES or not RULES[rule].exemptible:
            why = "a red test is marked xfail(reason) instead" if rule in RULES else f"there are {', '.join(RULES)}"
            where = f"{place.folder / 'pyproject.toml'}: tool.misoflow.exempt.{place.name}.{rule}"
            raise Unusable(f"{where}: nothing can be exempt from that; {why}")


def _outcome(name: str, rule: Rule, source: Source) -> Outcome:
    lacking = rule.lacking(source)
    if lacking is None:
        return Outcome(name, rule.tier, "not asked")
    if lacking and name in source.place.exempt:
        return Outcome(name, rule.tier, "exempt", source.place.exempt[name])
    return Outcome(name, rule.tier, "lacking" if lacking else "met", lacking)


def _expected(tests: Iterable[Ran]) -> list[str]:
    return [f"expected to fail: {_named(test)}: {test.reason}" for test in tests if test.outcome == "xfailed"]


def _not_needed(outcomes: Iterable[Outcome], place: Place) -> list[str]:
    states = {outcome.rule: outcome.state for outcome in outcomes}
    return [f"the exemption from {rule} is not needed (any more)" for rule in place.exempt if states[rule] != "exempt"]


def _topics(source: Source) -> list[str]:
    return source.facts.topics


def _named(test: Ran) -> str:
    return test.name


def _some(things: list[str]) -> str:
    more = f" and {len(things) - MOST_NAMED} more" if len(things) > MOST_NAMED else ""
    return ", ".join(things[:MOST_NAMED]) + more
