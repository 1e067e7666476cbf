"""What changed in a cart since its last webhook, for shops without a pixel. The state remembers the newest carts."""

from __future__ import annotations

from datetime import UTC, datetime

from misoflow import Event, Reject
from msgspec import Struct

from misoflow_shopify.link import Link

MOST = 100
"""Carts a drawer; there are 256 drawers, by the first byte of the cart's hash."""
Lines = dict[str, int]


class Seen(Struct):
    """A cart at ``at`` (ms), and before that: a comparison that a crash lost is made again."""

    at: int
    lines: Lines
    before: Lines


async def compared(link: Link, shop: str, ref: str) -> list[Event]:
    """``<hash>@<ms>@<variant>:<quantity>,…`` against what is remembered: ``cart_changed``, or nothing."""
    cart, at, lines = _parsed(ref)
    name = f"carts/{cart[:2]}"
    drawer: dict[str, Seen] = await link.remembered(name, dict[str, Seen]) or {}
    seen = drawer.get(cart) or Seen(0, {}, {})
    if at < seen.at:
        return []  # an older one that comes late
    before = seen.before if at == seen.at else seen.lines
    drawer.pop(cart, None)
    drawer[cart] = Seen(at, lines, before)
    while len(drawer) > MOST:
        drawer.pop(next(iter(drawer)))
    await link.remember(name, drawer)
    changes = {variant: lines.get(variant, 0) - before.get(variant, 0) for variant in sorted({*lines, *before})}
    data = {
        "shop": shop,
        "cart": cart,
        "at": f"{datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec='milliseconds')[:-6]}Z",
        "added": [[variant, None, count] for variant, count in changes.items() if count > 0],
        "removed": [[variant, None, -count] for variant, count in changes.items() if count < 0],
        "customer": None,
    }
    return [Event(f"cart_changed/{cart}@{at}", "cart_changed", data)] if any(changes.values()) else []


def _parsed(ref: str) -> tuple[str, int, Lines]:
    cart, _, rest = ref.partition("@")
    at, _, items = rest.partition("@")
    try:
        pairs = (item.split(":") for item in items.split(",") if item)
        return cart, int(at), {variant: int(count) for variant, count in pairs}
    except ValueError:
        raise Reject("that is no cart to compare") from None
