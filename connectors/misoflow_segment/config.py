"""Settings of one Segment source, and the checks that stop an open door from being configured by accident."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from misoflow import Config, values
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator, model_validator

from misoflow_segment.keys import PERSONAL
from misoflow_segment.suppressed import ids_in


def _filled(value: object) -> object:
    """Refuse blank secrets: an unset variable must not become a key that everybody knows."""
    for secret in value if isinstance(value, list | tuple) else []:
        text = secret.get_secret_value() if isinstance(secret, SecretStr) else secret
        if isinstance(text, str) and not text.strip():
            raise ValueError("must not be blank")
    return value


Secrets = Annotated[tuple[SecretStr, ...], BeforeValidator(_filled)]
TOKEN_LENGTH = 22
"""Characters of base64 that hold at least 128 bits."""


class PageRule(BaseModel):
    """One page or screen that stands for a product, a category, a promotion or an article."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(
        default="",
        description="Path to match, with {id}, {category} or {category...} for the rest; * is any one segment.",
        examples=["/products/{id}", "/c/{category...}"],
    )
    name: str = Field(default="", description="Name of the page or screen to match, in any spelling.")
    type: Literal["product_detail_page_view", "category_page_view", "promo_page_view", "read", "home_page_view"] = (
        Field(description="The Miso interaction that a match becomes.")
    )
    id_property: str = Field(default="", description="Property that holds the product id, instead of the path.")

    @model_validator(mode="after")
    def _has_a_condition(self) -> Self:
        if not self.path and not self.name:
            raise ValueError("a page rule needs a path or a name")
        captures = "{id}" in self.path or "{id...}" in self.path or bool(self.id_property)
        if self.type in ("product_detail_page_view", "read") and not captures:
            raise ValueError(f"a page rule for {self.type} needs {{id}} in its path, or id_property")
        if self.type == "category_page_view" and "{category" not in self.path and not self.name:
            raise ValueError("a page rule for category_page_view needs {category} or {category...} in its path")
        return self


class SegmentConfig(Config):
    """Settings for one Segment source (or one website that uses a Segment library with misoflow as its host)."""

    shared_secret: Secrets = Field(
        default=(),
        description="Shared secret of the webhook destination; a list while it is being rotated.",
    )
    write_key: Secrets = Field(
        default=(),
        description="Write keys that Segment libraries may use to send straight to misoflow; opens /v1/….",
    )
    batch_token: Secrets = Field(
        default=(),
        description="Second factor of batches: sent as Authorization, or as /t/<token> at the end of the URL.",
    )
    batch_auth: Literal["require_second_factor", "allow_weak"] = Field(
        default="require_second_factor",
        description="Segment signs only a batch's first event; allow_weak trusts the others without batch_token.",
    )
    allow_unsigned: bool = Field(
        default=False, description="Take webhooks without any proof of their sender. For trials only."
    )

    product_id_path: tuple[str, ...] = Field(
        default=("product_id", "id", "sku"),
        min_length=1,
        description="Where a product's id stands, in this order. Dotted paths are allowed.",
        examples=[["sku"], ["variant.id", "product_id"]],
    )
    product_id_template: str = Field(
        default="",
        description="Builds the id from several properties of the product, instead of product_id_path.",
        examples=["{sku}-{variant}"],
    )
    product_id_lowercase: bool = Field(default=False, description="Write product ids in lower case.")
    product_group_id_path: tuple[str, ...] = Field(
        default=(), description="Where the id of a product's group stands, if the catalogue has groups."
    )

    unmapped: Literal["custom_if_product", "custom", "drop"] = Field(
        default="custom_if_product", description="What a track call without a rule becomes."
    )
    checkout_on: Literal["completed", "started"] = Field(
        default="completed", description="Which event is the checkout: Order Completed or Checkout Started."
    )
    once_per_order: bool = Field(
        default=True, description="Send one checkout for each order_id, whoever reports the order."
    )
    order_cancelled: Literal["refund", "custom"] = Field(default="refund", description="What Order Cancelled becomes.")
    list_filtered: Literal["search", "category_page_view"] = Field(
        default="search", description="What Product List Filtered becomes."
    )
    only_currency: str = Field(
        default="", description="Leave the revenue out when an order is in another currency.", examples=["USD"]
    )
    rating_scale: float = Field(default=5, gt=0, description="The best rating a review can give on the site.")
    video_complete: bool = Field(
        default=False, description="Add a complete interaction to the watch of a video seen to its end."
    )

    home_paths: tuple[str, ...] = Field(
        default=("/",), description="Paths of the home page.", examples=[["/", "/en", "/de"]]
    )
    pages: tuple[PageRule, ...] = Field(
        default=(), description="Pages and screens that stand for products, categories, promotions or articles."
    )

    link: Literal["always", "identify_only", "never"] = Field(
        default="always",
        description="When user id and anonymous id are sent together, which links them at Miso.",
    )
    sentinel_ids: tuple[str, ...] = Field(
        default=("null", "undefined", "none", "nan", "nil", "(null)", "[object object]", "0", "-1"),
        description="Ids that mean nobody, in any case.",
    )
    underscore_prefix: str = Field(
        default="", description="Put before user ids that begin with _, which Miso does not take.", examples=["u"]
    )
    traits: tuple[str, ...] = Field(
        default=("plan",),
        description="Traits that become custom attributes of the user, beside Miso's own fields.",
        examples=[["plan", "loyalty_tier"]],
    )
    properties: tuple[str, ...] = Field(
        default=(), description="More event properties to keep in custom_context.", examples=[["store_id"]]
    )
    url_query_keys: tuple[str, ...] = Field(
        default=("q", "miso_id", "page"),
        description="Query parameters that stay in URLs beside utm_*; all others are cut.",
    )
    required_consent: tuple[str, ...] = Field(
        default=(),
        description="Consent categories without which an event is skipped, if it carries consent at all.",
        examples=[["Advertising"]],
    )

    suppress_file: str = Field(
        default="",
        description="File of user ids, one a line, whose events are skipped; read at the start.",
        examples=["suppressed.txt"],
    )

    archive: str = Field(
        default="",
        description="Folder or bucket with the source's archived calls, for history.",
        examples=["s3://bucket/segment-logs/SOURCE_ID"],
    )
    archive_destinations: tuple[str, ...] = Field(
        default=("Miso", "Webhooks", "Webhooks (Actions)", "Extensible Webhooks"),
        description="Names under which a call's integrations object may leave Miso out.",
    )

    @field_validator("properties", "url_query_keys")
    @classmethod
    def _no_personal_keys(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return values.not_personal(names)

    @field_validator("traits")
    @classmethod
    def _no_personal_traits(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return values.not_personal(names, PERSONAL)

    @field_validator("suppress_file")
    @classmethod
    def _can_be_read(cls, path: str) -> str:
        if path:
            ids_in(path)
        return path

    @model_validator(mode="after")
    def _is_closed(self) -> Self:
        if not (self.shared_secret or self.write_key or self.batch_token or self.allow_unsigned or self.archive):
            raise ValueError(
                "set shared_secret (webhooks), write_key (Segment libraries) or batch_token (a bearer token), "
                "archive (history only), or allow_unsigned = true for a trial"
            )
        for token in self.batch_token:
            if len(token.get_secret_value().strip()) < TOKEN_LENGTH:
                raise ValueError(f"batch_token needs at least {TOKEN_LENGTH} random characters (128 bits)")
        return self
