"""The few pages that a merchant sees: the app in the store, what it asks for, and the admin with the app in a frame."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from misoflow_sandbox.answers import Answer
from misoflow_sandbox.shopify.shop import Shop

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:0;background:#f1f1f1;color:#303030}"
    "main{max-width:36rem;margin:3rem auto;padding:2rem;background:#fff;border-radius:12px}"
    "a.button,button{display:inline-block;padding:.6rem 1.2rem;border:0;border-radius:8px;background:#303030;"
    "color:#fff;font:inherit;text-decoration:none;cursor:pointer}iframe{width:100%;height:80vh;border:0}"
)


def store(shop: Shop) -> Answer:
    """The app's page in the app store, as this shop's merchant sees it."""
    word = "Open" if shop.installed_at else "Install"
    return page(
        "misoflow in the app store",
        f"<h1>misoflow</h1><p>Catalogue, orders and clicks for Miso. You are signed in to "
        f"<b>{escape(shop.domain)}</b>.</p><p><a class=button href='/{escape(shop.domain)}/install'>{word}</a></p>",
    )


def grant(shop: Shop, scopes: tuple[str, ...], values: Mapping[str, str], action: str) -> Answer:
    """What the app may do, and the button that lets it."""
    rows = "".join(f"<li><code>{escape(one)}</code></li>" for one in scopes)
    hidden = "".join(
        f"<input type=hidden name='{escape(name)}' value='{escape(value)}'>" for name, value in values.items()
    )
    return page(
        "Install app",
        f"<h1>Install misoflow?</h1><p>In <b>{escape(shop.spec.name)}</b> it will be able to:</p><ul>{rows}</ul>"
        f"<form method=post action='{escape(action)}'>{hidden}<button type=submit>Install app</button></form>",
    )


def admin(shop: Shop, link: str) -> Answer:
    """The admin with the app in a frame."""
    return page(
        f"{shop.spec.name} · Shopify",
        f"<h1>{escape(shop.spec.name)}</h1><iframe title='misoflow' src='{escape(link)}'></iframe>",
    )


def refused(why: str) -> Answer:
    """A request that Shopify shows an error page for."""
    return page("Error", f"<h1>Oauth error</h1><p>{escape(why)}</p>", 400)


def page(title: str, body: str, status: int = 200) -> Answer:
    text = (
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{escape(title)}</title><style>{STYLE}</style><main>{body}</main></html>"
    )
    return Answer(status, text.encode(), [(b"cache-control", b"no-store")], b"text/html; charset=utf-8")
