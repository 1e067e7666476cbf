"""Settings of the Shopify connector. Most have one right value; the rest say what they change."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import urlsplit

from misoflow import Config
from pydantic import Field, SecretStr, field_validator

API_VERSION = "2026-10"
LEAST_VERSION = "2026-07"
"""Below it there is no ``Order.cartToken``: https://shopify.dev/changelog"""
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class ShopifyConfig(Config):
    """One app in the Shopify Dev Dashboard. Each shop that installs it becomes an instance of its own."""

    client_id: str = Field(description="The app's client id.", min_length=1)
    client_secret: tuple[SecretStr, ...] = Field(
        description="The app's client secret; two while it is rotated, the new one first.", min_length=1, max_length=2
    )
    shop: str | None = Field(
        default=None,
        description="Only for a custom app of one shop: its myshopify.com domain. Such an app needs no install.",
        examples=["demo-shop.myshopify.com"],
    )
    public_url: str | None = Field(
        default=None,
        description="Only with shop: the public address of misoflow, where Shopify and the pixel send to.",
        examples=["https://ingest.example.com"],
    )
    api_url: str | None = Field(
        default=None,
        description="Another address of Shopify, for tests and proxies; {shop} in it is the shop's domain.",
        examples=["http://127.0.0.1:8620/{shop}"],
    )
    api_version: str = Field(default=API_VERSION, description="Version of Shopify's Admin API.")
    subscriptions: Literal["app", "shop"] = Field(
        default="app",
        description="Who subscribes to webhooks: shopify.app.toml for all shops, or misoflow in each shop.",
    )
    group_mode: Literal["variant", "product"] = Field(
        default="variant", description="A product of Miso is a variant (grouped by its product), or a whole product."
    )
    carts: Literal["pixel", "webhooks"] = Field(
        default="pixel", description="Where add_to_cart and remove_from_cart come from; webhooks if no pixel runs."
    )
    users: bool = Field(default=True, description="Whether customers become users of Miso.")
    skip_order_sources: tuple[str, ...] = Field(
        default=(), description="Orders of these sources make no checkout.", examples=[["pos", "shopify_draft_order"]]
    )
    metafields: tuple[str, ...] = Field(
        default=(),
        description="Product metafields to send as custom attributes, as namespace.key.",
        examples=[["custom.material"]],
    )
    impressions: bool = Field(default=False, description="Also an impression of what a list or a search shows.")
    steps: bool = Field(default=False, description="Also the steps of the checkout, as custom interactions.")
    language: str | None = Field(default=None, description="Language of the catalogue, such as en.", min_length=2)

    @field_validator("shop")
    @classmethod
    def _shop(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[a-z0-9][a-z0-9-]*\.myshopify\.com", value, re.ASCII):
            raise ValueError("must be the shop's permanent domain, such as demo-shop.myshopify.com")
        return value

    @field_validator("api_url", "public_url")
    @classmethod
    def _url(cls, value: str | None) -> str | None:
        if value is not None:
            parts = urlsplit(value)
            plain = parts.scheme == "http" and parts.hostname in LOOPBACK
            if not parts.hostname or not (parts.scheme == "https" or plain):
                raise ValueError("must be an https address (plain http on this machine only)")
        return value

    @field_validator("api_version")
    @classmethod
    def _version(cls, value: str) -> str:
        if not re.fullmatch(r"20\d\d-(01|04|07|10)|unstable", value) or value < LEAST_VERSION:
            raise ValueError(f"must be a version from {LEAST_VERSION} on, such as {API_VERSION}")
        return value

    @field_validator("client_secret")
    @classmethod
    def _filled(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if not all(one.get_secret_value().strip() for one in value):
            raise ValueError("must not be blank")
        return value
