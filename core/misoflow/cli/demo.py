"""How ``misoflow demo`` shows what it did."""

from __future__ import annotations

import sys
from typing import Any

from misoflow.cli.app import OK, PART, UNAVAILABLE, fail
from misoflow.cli.output import Output
from misoflow.demo import STATES, Result, play
from misoflow.demo_history import DAYS
from misoflow.demo_shopify import play as play_shopify
from misoflow.errors import MisoflowError


def show(out: Output) -> int:
    """Play the session and print each event's fate; 0 only if all adds up."""
    out.say("starting the sandboxes and the engine on free ports, in a temporary folder")
    try:
        result = play(quiet=out.as_json or out.is_quiet)
    except MisoflowError as error:
        fail(str(error), UNAVAILABLE)
    if out.as_json:
        out.json(_facts(result))
    else:
        _tables(out, result)
    for what, held in result.checks:
        if not held:
            out.say(f"does not add up: {what}")
    return OK if result.good else PART


def show_shopify(out: Output, *, by_itself: bool) -> int:
    """Play a shop's life and say what held; 0 only if all did."""
    out.say("starting the sandboxes of Shopify and Miso and the engine on free ports, in a temporary folder")
    try:
        shown = play_shopify(say=out.say, by_itself=by_itself, look=lambda text: _look(out, text, wait=not by_itself))
    except MisoflowError as error:
        fail(str(error), UNAVAILABLE)
    checks = [{"what": what, "holds": held} for what, held in shown.checks]
    if out.as_json:
        facts = {"shop": shown.shop, "counts": shown.counts, "by_type": shown.by_type}
        out.json({**facts, "products": shown.products, "users": shown.users, "checks": checks})
    else:
        held = [f"{number} {kind}" for kind, number in shown.by_type.items()]
        counts = ", ".join(f"{number:,} {state}" for state, number in shown.counts.items())
        out.text(f"events of {shown.shop}: {counts}")
        out.text(f"before it left, Miso held {shown.products} products, {shown.users} users, {', '.join(held)}")
        out.table(["", "what should hold"], [["yes" if held else "NO", what] for what, held in shown.checks])
        out.text("everything adds up" if shown.good else "it does not add up")
    return OK if shown.good else PART


def _look(out: Output, text: str, *, wait: bool) -> None:
    out.say(text)
    if wait:
        out.say("press Enter to uninstall the app and have the shop erased")
        sys.stdin.readline()


def _facts(result: Result) -> dict[str, Any]:
    events = [
        {
            "what": fate.step.what,
            "id": fate.step.body["messageId"],
            "topic": fate.topic,
            "answer": fate.answer,
            "state": fate.state,
            "reason": fate.reason or None,
        }
        for fate in result.fates
    ]
    checks = [{"what": what, "holds": held} for what, held in result.checks]
    seen = result.history
    history = {"counts": seen.counts, "slices": len(seen.slices), "uploaded": seen.uploaded, "held": seen.held}
    return {"history": history, "events": events, "counts": result.counts, "sandbox": result.held, "checks": checks}


def _tables(out: Output, result: Result) -> None:
    rows = [
        [fate.step.what, fate.topic, fate.state, fate.reason or ", ".join(fate.step.records)] for fate in result.fates
    ]
    out.table(["the visitor …", "topic", "state", "became, or why not"], rows)
    counts = result.counts
    parts = " + ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    out.text()
    out.text(f"{len(result.fates)} deliveries: {counts['accepted']} events accepted = {parts}")
    out.text(f"and {counts['duplicates']} duplicate, which Segment had sent before")
    held = [f"{number} {kind}" for kind, number in result.held["by_type"].items()]
    out.text(f"the sandbox holds: {', '.join(held)}, {len(result.held['users'])} user")
    seen = result.history
    parts = " + ".join(f"{seen.counts[state]:,} {state}" for state in STATES if seen.counts[state])
    out.text()
    out.text(f"{DAYS} days of Mixpanel in {len(seen.slices)} slices: {seen.counts['accepted']:,} events = {parts}")
    out.text(f"a file of {seen.uploaded:,} interactions was uploaded; the sandbox holds {seen.held:,} of both")
    out.text("everything adds up" if result.good else "it does not add up")
