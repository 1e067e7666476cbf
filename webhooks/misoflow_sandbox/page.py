"""``GET /``: what the sandbox holds, on one page without outside resources."""

from __future__ import annotations

from html import escape

from misoflow_sandbox.answers import Answer
from misoflow_sandbox.state import Holdings

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}"
    "td,th{padding:.2rem 1.5rem .2rem 0;text-align:left}td.n{text-align:right}"
    "code{overflow-wrap:anywhere;font-size:.85rem}"
)
POLICY = (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
SHOWN = 600


def page(held: Holdings) -> Answer:
    """Counts by type and the newest records; everything shown is escaped."""
    counts = {
        **held.interactions.by_type(),
        "products": len(held.datasets["products"].records),
        "users": len(held.datasets["users"].records),
    }
    rows = "".join(f"<tr><td>{escape(name)}</td><td class=n>{n:,}</td></tr>" for name, n in counts.items())
    newest = "".join(
        f"<tr><td>{escape(kind)}</td><td><code>{escape(bytes(raw).decode()[:SHOWN])}</code></td></tr>"
        for kind, raw in reversed(held.recent)
    )
    html = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="5">'
        f"<title>Miso sandbox</title><style>{STYLE}</style><h1>Miso sandbox</h1>"
        f"<p>A stand-in for Miso's ingest API. {len(held.wire):,} requests, "
        f"{held.interactions.total():,} interactions, {held.pending_tasks():,} tasks waiting.</p>"
        f"<h2>What it holds</h2><table>{rows}</table>"
        f"<h2>Newest records</h2><table>{newest or '<tr><td>None yet.</td></tr>'}</table></html>"
    )
    return Answer(200, html.encode(), [POLICY], b"text/html; charset=utf-8")
