"""The contract is whole: none of its tests was taken away, replaced or skipped in silence."""

from __future__ import annotations

import difflib
from typing import Any

from misoflow.testing.base import Given, applies, fail

GUARD = "test_the_contract_is_whole"
BLANKET = ("skip", "skipif", "xfail")
HOW = 'If the rule is wrong for this platform, keep the test and mark it @pytest.mark.xfail(reason="…")'


class WholeContract(Given):
    """The guard of the others. That it is there itself is seen to by the plugin."""

    def test_the_contract_is_whole(self) -> None:
        """No contract test is removed or replaced but by one marked ``xfail(reason=…)``; no attribute is misspelt."""
        wrong = [*faults(type(self)), *_misspelt(type(self))]
        if wrong:
            fail("\n".join(wrong))


def contract_tests(contract: type[Given]) -> dict[str, Any]:
    """Name → function of every test that a contract class has to have, in the order of the contract."""
    found: dict[str, Any] = {}
    for owner in reversed(_kit(contract)):
        found |= {name: test for name, test in vars(owner).items() if name.startswith("test_")}
    return {name: test for name, test in found.items() if applies(test, contract)}


def faults(contract: type[Given], *, own_guard: bool = False) -> list[str]:
    """What was taken away from a contract class; with ``own_guard`` only what the guard could not say itself."""
    if not any(GUARD in vars(owner) for owner in _kit(contract)):
        return []  # a mixin of the kit, or of an author, on its own
    name = contract.__name__
    wrong = [
        f"{name} is marked {mark.name} as a whole, so none of its tests counts. Mark single tests. {HOW}"
        for mark in _marks(contract)
        if mark.name in BLANKET
    ]
    tests = {GUARD: None} if own_guard else contract_tests(contract)
    for test in tests:
        given, ours = getattr(contract, test, None), original(contract, test)
        if given is ours or _excused(given):
            continue
        done = "removed" if not callable(given) else "replaced"
        wrong.append(f"{name}.{test} was {done}. {HOW}")
    hooks = "pytest_generate_tests"
    if getattr(contract, hooks, None) is not original(contract, hooks):
        wrong.append(f"{name}.{hooks} was replaced: the contract needs its own")
    return wrong


def missing(contract: type[Given]) -> list[str]:
    """What no test of a contract class can do without."""
    if hasattr(contract, "connector"):
        return []
    return [f"{contract.__name__} names no connector: write `connector = …`, the class under test"]


def _kit(contract: type[Given]) -> list[type]:
    """The classes of the kit that a contract class inherits from, itself not included."""
    return [owner for owner in contract.__mro__ if owner.__module__.startswith("misoflow.testing")]


def original(contract: type[Given], name: str) -> Any:
    """The kit's own attribute, whatever a contract class has made of it."""
    return next((vars(owner)[name] for owner in _kit(contract) if name in vars(owner)), None)


def _excused(test: Any) -> bool:
    marks = getattr(test, "pytestmark", [])
    return callable(test) and any(mark.name == "xfail" and mark.kwargs.get("reason", "").strip() for mark in marks)


def _marks(contract: type) -> list[Any]:
    given = getattr(contract, "pytestmark", [])
    return given if isinstance(given, list) else [given]


def _misspelt(contract: type[Given]) -> list[str]:
    """Attributes that look like one of the kit's and are not."""
    known = [name for name in {*Given.__annotations__, "sign", "upstream"} if not name.startswith("_")]
    own = {name for owner in contract.__mro__ if owner not in (*_kit(contract), object) for name in vars(owner)}
    return [
        f"{contract.__name__}.{name}: did you mean {near[0]!r}? The kit knows no {name!r}"
        for name in sorted(own - {*known})
        if not name.startswith(("_", "test_", "pytest"))
        and (near := difflib.get_close_matches(name, known, n=1, cutoff=0.85))
    ]
