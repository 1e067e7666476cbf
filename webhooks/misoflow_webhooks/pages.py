"""The page of an install, and pages of one sentence, in words for whoever owns the shop.

Loaded with the first of them: a receiver of plain hooks needs no templates.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

if TYPE_CHECKING:
    from misoflow.standing import Pulling, Standing

STATES = {
    "connecting": (
        "Connecting",
        "Your shop is being connected. This takes a minute at most, and goes on without this page.",
    ),
    "pulling": (
        "Connected, bringing in your history",
        "What happens in your shop from now on arrives at once. What happened before is being brought in; "
        "that goes on without this page.",
    ),
    "live": ("Live", "Everything is connected. What happens in your shop arrives within moments."),
    "degraded": ("Needs attention", "Your shop is connected, but something is missing. Below is what you can do."),
    "failed": ("Not connected", "Your shop could not be connected. Nothing is taken from it."),
    "uninstalled": ("Uninstalled", "The app was removed from your shop, and nothing is taken from it any more."),
}
"""State → its name and what it means."""
STREAM_STATES = {"waiting": "waits its turn", "pulling": "being read", "done": "complete", "off": "not read"}
COUNTS = {
    "delivered": "Arrived in Miso",
    "pending": "On their way",
    "skipped": "Not needed by Miso",
    "suppressed": "Of people who asked to be forgotten",
    "erased": "Erased on request",
    "dead": "Could not be delivered",
}
ALWAYS = ("delivered", "pending", "skipped")
MINUTE, HOUR, DAY = 60, 3600, 86_400


@dataclass(frozen=True, slots=True)
class Moment:
    """A time as people say it, and as it is."""

    ago: str
    exact: str
    iso: str


@dataclass(frozen=True, slots=True)
class View:
    """A standing in words."""

    state: str
    title: str
    meaning: str
    tenant: str
    installed: Moment | None
    last_event: Moment | None
    problems: list[tuple[str, str, str]]
    """(level, what is wrong, what to do)"""
    streams: list[dict[str, Any]]
    counts: list[tuple[str, str]]
    accepted: str


def view(standing: Standing | None, tenant: str, now_ms: int) -> View:
    """What the page says of a Standing; None: the engine has not taken it up yet."""
    if standing is None:
        return View("connecting", *STATES["connecting"], tenant, None, None, [], [], [], "0")
    title, meaning = STATES.get(standing.state, (standing.state.capitalize(), ""))
    rows = [
        (label, standing.counts.get(state, 0))
        for state, label in COUNTS.items()
        if state in ALWAYS or standing.counts.get(state)
    ]
    return View(
        state=standing.state,
        title=title,
        meaning=meaning,
        tenant=tenant,
        installed=moment(standing.installed_at, now_ms),
        last_event=moment(standing.last_event, now_ms),
        problems=_problems(standing),
        streams=[_stream(one) for one in standing.streams],
        counts=[(label, f"{number:,}") for label, number in rows] if any(number for _, number in rows) else [],
        accepted=f"{standing.counts.get('accepted', 0):,}",
    )


def _problems(standing: Standing) -> list[tuple[str, str, str]]:
    found = [(one.level, sentence(one.text), one.fix) for one in standing.problems]
    told = any(sentence(standing.reason) == text for _, text, _ in found)
    if standing.reason and not told and standing.state != "uninstalled":  # that is what its title says
        found.insert(0, ("fail", sentence(standing.reason), standing.fix))
    missing = standing.counts.get("accepted", 0) - sum(standing.counts.get(state, 0) for state in COUNTS)
    if missing:
        text = f"The figures below do not add up: {missing:,} events are in no state."
        found.append(("fail", text, "Tell whoever runs this connection; misoflow repair counts anew."))
    return found


def _stream(one: Pulling) -> dict[str, Any]:
    """``percent`` is None where nobody knows how much there is."""
    percent = None if one.share is None else round(100 * min(max(one.share, 0.0), 1.0))
    told = STREAM_STATES.get(one.state, one.state)
    parts = [f"{one.read:,} read" if one.read else "", told]
    if one.state == "pulling" and percent is not None:
        parts.append(f"{percent}%")
    return {
        "name": one.name.replace("_", " ").capitalize(),
        "state": one.state,
        "text": " · ".join(part for part in parts if part),
        "percent": 100 if one.state == "done" else percent,
        "note": one.note,
    }


def sentence(text: str) -> str:
    """What an error says, as people write it."""
    text = text[:1].upper() + text[1:]
    return text if not text or text[-1] in ".!?" else f"{text}."


def moment(ms: int | None, now_ms: int) -> Moment | None:
    """How long ago it is, to the minute: what changes each second would be read aloud each second."""
    if ms is None:
        return None
    past = max(0, now_ms - ms) // 1000
    text = "less than a minute ago"
    for unit, seconds in (("day", DAY), ("hour", HOUR), ("minute", MINUTE)):
        if past >= seconds:
            number = past // seconds
            text = f"{number} {unit}{'s' if number > 1 else ''} ago"
            break
    when = datetime.fromtimestamp(ms / 1000, UTC)
    return Moment(text, f"{when:%Y-%m-%d %H:%M} UTC", when.isoformat(timespec="seconds"))


def install_page(seen: View, *, base: str, address: str, token: str) -> str:
    """The whole page. ``base`` is the path before /install, ``address`` that of /install/<instance>."""
    return _template("install.html").render(
        seen=seen, title=page_title(seen), base=base, address=address, token=token, versions=_versions()
    )


def page_title(seen: View) -> str:
    """What the browser's tab says."""
    return f"{seen.title} · {seen.tenant}"


def standing_part(seen: View) -> str:
    """The part of the page that changes."""
    return _template("standing.html").render(seen=seen)


def message_page(title: str, text: str, *, base: str) -> str:
    """A page of one sentence."""
    return _template("message.html").render(title=title, text=sentence(text), base=base, versions=_versions())


def static(name: str) -> tuple[bytes, bytes] | None:
    """Content and type of a file that pages load."""
    kind = {"install.css": b"text/css; charset=utf-8", "install.js": b"text/javascript; charset=utf-8"}.get(name)
    return None if kind is None else (_file(name), kind)


@cache
def _file(name: str) -> bytes:
    return (files("misoflow_webhooks") / "static" / name).read_bytes()


@cache
def _versions() -> dict[str, str]:
    """A page and the files that it loads always belong together, however long a browser keeps them."""
    names = {"css": "install.css", "js": "install.js"}
    return {key: hashlib.sha256(_file(name)).hexdigest()[:12] for key, name in names.items()}


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("misoflow_webhooks"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _template(name: str) -> Template:
    return _environment().get_template(name)
