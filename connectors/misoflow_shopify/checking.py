"""``misoflow check`` of a Shopify instance: what the settings alone tell, and for a custom app what the shop says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from misoflow import Halt, Problem, Reject

from misoflow_shopify import scopes
from misoflow_shopify.config import API_VERSION
from misoflow_shopify.facts import read_facts, read_scopes

if TYPE_CHECKING:
    from misoflow_shopify.connector import Shopify


async def problems(connector: Shopify) -> list[Problem]:
    """What a person should know before the first shop comes. Retry when Shopify cannot answer."""
    config = connector.config
    found: list[Problem] = []
    if len(config.client_secret) > 1:
        text = "two client secrets are set, as they are while one is rotated"
        found.append(Problem("warn", text, "remove the older one once it is revoked in the Dev Dashboard"))
    if config.api_version < API_VERSION:
        text = f"api_version is {config.api_version}; misoflow was made for {API_VERSION}"
        found.append(Problem("warn", text, "remove the setting"))
    if config.shop is None:
        return found  # each install is looked at every 15 minutes, where its token is
    if config.public_url is None:
        text = "without public_url neither webhooks nor the pixel can be set up in the shop"
        found.append(Problem("fail", text, "set public_url"))
    return [*found, *await _shop(connector)]


async def _shop(connector: Shopify) -> list[Problem]:
    try:
        await read_facts(connector.link, connector.admin)
        granted = await read_scopes(connector.link, connector.admin)
        return scopes.problems(connector.config, granted, "the app in the shop's admin")
    except Halt as error:
        return [Problem("fail", error.reason, error.fix)]
    except Reject as error:
        return [Problem("fail", error.reason, "check shop and api_version")]
