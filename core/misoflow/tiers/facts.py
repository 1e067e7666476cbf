"""What a run of the contract tests tells of a connector; written by the run, read by the rules."""

from __future__ import annotations

from msgspec import Struct


class Ran(Struct):
    """One contract test: passed, failed, skipped, or failed as expected (xfailed)."""

    name: str
    outcome: str
    reason: str = ""


class Contract(Struct):
    """One contract class: what it gives to the kit, and what ``check`` said of a refusal and of an outage."""

    name: str
    samples: str
    """Folder."""
    verifies: bool
    """Its connector has a ``verify`` of its own and takes deliveries in this class."""
    rotated: list[str] = []
    """Settings that take a second secret."""
    streams: list[str] = []
    counted: list[str] = []
    """Streams whose number of events at the platform is given."""
    asks: bool = False
    """Its history is asked of a platform over HTTP."""
    cassette: bool = False
    refused: str = ""
    """What ``check`` says when the platform refuses the credentials."""
    outage: str = ""
    """What ``check`` says when the platform is down."""


class Facts(Struct):
    """All contract classes of one connector together."""

    topics: list[str] = []
    streams: list[str] = []
    """Those declared on the class."""
    settings: list[str] = []
    overrides: list[str] = []
    """Methods of ``Connector`` that it has of its own."""
    contracts: list[Contract] = []
    tests: list[Ran] = []
    errors: list[str] = []
    """Why files could not be collected."""
    speeds: dict[str, float] = {}
    """Contract class -> events a second."""
