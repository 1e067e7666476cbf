"""Settings of one Mixpanel project."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from misoflow import Config, values
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator, model_validator

from misoflow_mixpanel.names import PRESETS

CUSTOM = "custom"
OF_DEVICES = frozenset({"iosdevices", "androiddevices", "transactions"})
"""Keys of profile properties that hold push tokens and purchases."""
Unmapped = Literal["drop", "custom", "error"]


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError("must be a time zone's name, such as America/Los_Angeles") from None
    return name


def _listed(value: object) -> object:
    """One password stands for a list of one, so that a second can be added for rotation."""
    return value if isinstance(value, list | tuple) else [value]


class Closed(BaseModel):
    """A table inside the settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Zone(Closed):
    """A time zone that the project had until a day."""

    until: date = Field(description="First day of the next zone.")
    zone: str = Field(description="Name of the zone.", examples=["Europe/Berlin"])

    _known = field_validator("zone")(_zone)


class Cohorts(Closed):
    """The webhook that Mixpanel's cohort sync calls: /hooks/<instance>/cohorts."""

    user: str = Field(description="User name of the webhook's Basic auth.")
    passwords: Annotated[tuple[SecretStr, ...], BeforeValidator(_listed)] = Field(
        min_length=1, description="Its password; two while it is changed, as a webhook cannot be edited."
    )
    attribute: str = Field(
        default="mixpanel_cohorts", pattern=r"^[A-Za-z][\w]{0,63}$", description="Custom attribute for cohort names."
    )
    identify_by: Literal["name", "id"] = Field(default="name", description="Write cohorts by name or by id.")

    @field_validator("passwords")
    @classmethod
    def _filled(cls, values: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(value.get_secret_value()) < 12 for value in values):
            raise ValueError("needs passwords of at least 12 characters")
        return values


class MixpanelConfig(Config):
    """Settings of one Mixpanel project."""

    project_id: int = Field(gt=0, description="Project settings → Overview → Project ID.")
    username: str = Field(default="", description="Name of the service account; empty with the legacy project secret.")
    secret: SecretStr = Field(description="The service account's secret (or, until 2027-03-03, the project secret).")
    region: Literal["us", "eu", "in"] = Field(default="us", description="Where the project's data is kept.")
    api_url: str = Field(default="", description="Instead of Mixpanel's hosts: a proxy, or a stand-in for tests.")

    id_merge: Literal["auto", "simplified", "original"] = Field(
        default="auto", description="The project's identity system; auto looks for $identify and $create_alias."
    )
    time_mode: Literal["auto", "utc", "project"] = Field(
        default="auto", description="Whether `time` is UTC or, in projects made before 2023, the project's wall clock."
    )
    timezone: str = Field(
        default="", description="The project's time zone; needed in project mode.", examples=["America/Los_Angeles"]
    )
    tz_history: tuple[Zone, ...] = Field(default=(), description="Zones that the project had before.")
    rate_reserve_per_hour: int = Field(
        default=10, ge=0, le=55, description="Of the 60 calls an hour, those left to your other tools."
    )

    events: tuple[str, ...] = Field(
        default=(), description="Pull only these events, by their exact names; all by default.", max_length=200
    )
    presets: bool | tuple[str, ...] = Field(
        default=True, description="Use the usual event names: all, none, or those of the named Miso types."
    )
    checkout_on: Literal["order", "checkout_started"] = Field(
        default="order", description="Which events are the checkout; never both, or orders count twice."
    )
    unmapped: Unmapped = Field(default="drop", description="What an event becomes that no rule and no preset knows.")
    once_per_order: bool = Field(default=True, description="Send one checkout for each order id.")
    product_id_path: tuple[str, ...] = Field(
        default=("product_id", "sku", "item_id", "content_id", "variant_id", "id"),
        min_length=1,
        description="Properties that hold the product's id, in this order; spelling and case do not matter.",
    )
    product_id_template: str = Field(default="{}", description="Builds Miso's id from Mixpanel's.", examples=["SKU-{}"])
    properties: tuple[str, ...] = Field(
        default=(), description="Event properties to keep in custom_context.", examples=[["store_id"]]
    )
    url_query_keys: tuple[str, ...] = Field(
        default=("q", "miso_id", "page"), description="Query parameters that stay in URLs beside utm_*."
    )
    rating_scale: float = Field(default=5, gt=0, description="The best rating that a review can give.")
    duration_unit: Literal["s", "ms"] = Field(default="s", description="Unit of durations.")

    profiles: bool = Field(default=True, description="Pull user profiles as well.")
    profile_attributes: tuple[str, ...] = Field(
        default=("plan",), description="Profile properties that become custom attributes.", examples=[["Plan", "tier"]]
    )
    user_id_property: str = Field(
        default="", description="Profile property with the user's id, where the canonical id is anonymous."
    )
    hash_ids: Literal["auto", "always", "never"] = Field(
        default="auto", description="Hash user ids: those that are e-mail addresses or phone numbers, all, or none."
    )
    id_salt: SecretStr = Field(default=SecretStr(""), description="Key for hashed ids; keep it.")
    cohorts: Cohorts | None = Field(default=None, description="Take cohort syncs.")

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        return _zone(name) if name else name

    @field_validator("api_url")
    @classmethod
    def _safe(cls, url: str) -> str:
        parts = urlsplit(url)
        local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
        if url and not (parts.hostname and (parts.scheme == "https" or local)):
            raise ValueError("must be https://, or http:// to this machine")
        if parts.username or parts.query or parts.fragment:
            raise ValueError("must not hold credentials, a query or a fragment")
        return url.rstrip("/")

    @field_validator("properties", "url_query_keys", "profile_attributes")
    @classmethod
    def _no_personal_keys(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return values.not_personal(names, OF_DEVICES)

    @field_validator("presets")
    @classmethod
    def _preset_names(cls, value: bool | tuple[str, ...]) -> bool | tuple[str, ...]:
        for name in () if isinstance(value, bool) else value:
            if name not in PRESETS:
                raise ValueError(f"{name!r} has no preset (there are: {', '.join(PRESETS)})")
        return value

    @field_validator("product_id_template")
    @classmethod
    def _one_place(cls, text: str) -> str:
        if text.count("{}") != 1:
            raise ValueError("needs {} once, where Mixpanel's id goes")
        return text

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.time_mode == "project" and not self.timezone:
            raise ValueError('time_mode = "project" needs timezone')
        if self.hash_ids == "always" and not self.id_salt.get_secret_value():
            raise ValueError('hash_ids = "always" needs id_salt')
        return self

    def zone_on(self, naive: datetime) -> ZoneInfo:
        """The project's zone on a day of its own calendar."""
        for old in sorted(self.tz_history, key=lambda one: one.until):
            if naive.date() < old.until:
                return ZoneInfo(old.zone)
        return ZoneInfo(self.timezone or "UTC")
