"""What an install makes at Shopify, and looks after every 15 minutes: each step may be repeated or broken off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from misoflow import Installed, Problem, Reject

from misoflow_shopify import scopes, subscriptions, web_pixel
from misoflow_shopify.domains import pixel_key
from misoflow_shopify.facts import read_facts, read_scopes
from misoflow_shopify.tokens import OfflineTokens, again

if TYPE_CHECKING:
    from misoflow_shopify.connector import Shopify

LIMITED = "history_limited"
SUBSCRIBED = "subscribed"
USUAL_INSTANCE = "shop"


async def installed(connector: Shopify, grant: Mapping[str, str]) -> Installed:
    """Tokens, scopes, facts, webhooks, pixel. Raises Reject when the click must be repeated, Halt, Retry."""
    tokens, link, admin = connector.tokens, connector.link, connector.admin
    if grant:
        if not isinstance(tokens, OfflineTokens):
            raise Reject("this instance is of one shop, which its settings name; it needs no install")
        await tokens.exchange(grant)
    await tokens.keep()
    await read_facts(link, admin)
    granted = await read_scopes(link, admin)
    problems = scopes.problems(connector.config, granted, await _where(connector))
    gaps = list(await _history(connector, granted))
    hooks = await hooks_url(connector)
    if hooks is None:
        problems.append(Problem("fail", "where the pixel should send to is not known", "set public_url"))
    else:
        if connector.config.subscriptions == "shop":
            gaps += await _subscribed(connector, granted, hooks, problems)
        settings = {"accountID": pixel_key(connector.config, await admin.shop()), "endpoint": hooks}
        problems += await web_pixel.ensured(admin, granted, settings)
    if admin.answered:
        text = f"Shopify no longer has API version {connector.config.api_version} and answers by {admin.answered}"
        problems.append(Problem("warn", text, "set api_version to a newer one, or update misoflow"))
    if connector.heard:
        text = f"webhooks come in API version {connector.heard}, asked was {connector.config.api_version}"
        problems.append(Problem("warn", text, "set api_version in plugins.toml and in shopify.app.toml alike"))
    closed = [*scopes.without(granted), *(() if connector.config.users else ("customers",))]
    return Installed(tuple(problems), tuple(dict.fromkeys(closed)), tuple(dict.fromkeys(gaps)))


async def hooks_url(connector: Shopify) -> str | None:
    """Our public address of this instance's deliveries; None if nothing tells it."""
    if connector.config.public_url is not None:
        url = connector.config.public_url.rstrip("/")
        return url if "/hooks/" in url else f"{url}/hooks/{USUAL_INSTANCE}"
    found = await connector.tokens.stored()
    before, slash, instance = ("" if found is None else found.url).rpartition("/install/")
    return f"{before}/hooks/{instance}" if slash and instance else None


async def _where(connector: Shopify) -> str:
    found = await connector.tokens.stored()
    return again("" if found is None else found.url, await connector.admin.shop())


async def _history(connector: Shopify, granted: list[str]) -> tuple[str, ...]:
    """Orders that were hidden and no longer are have to be pulled now."""
    limited = not scopes.covers(granted, [scopes.ALL_ORDERS])
    before = await connector.link.remembered(LIMITED, bool)
    await connector.link.remember(LIMITED, limited)
    return ("orders",) if before and not limited else ()


async def _subscribed(connector: Shopify, granted: list[str], uri: str, problems: list[Problem]) -> tuple[str, ...]:
    """Webhooks of this shop; where some were gone for a while, what they would have told is asked for."""
    topics = subscriptions.wanted(granted, connector.config.carts == "webhooks")
    created, wrong = await subscriptions.made(connector.admin, topics, uri)
    problems += wrong
    before: list[str] = await connector.link.remembered(SUBSCRIBED, list[str]) or []
    await connector.link.remember(SUBSCRIBED, sorted({*before, *created} & set(topics)))
    return ("changes",) if set(created) & set(before) else ()
