"""Settings of one HTTP source, and the checks that stop an open door from being configured by accident."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Literal, Self

from misoflow import Config, values
from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator

BODY = "{body}"
TIMESTAMP = "{timestamp}"
LEAST_TOKEN = 16
"""Characters of a key that is the whole proof of its sender."""
SIGNED = ("hmac", "standard-webhooks", "bearer", "basic")


def _secrets(value: object) -> object:
    """One text stands for a list of one, so that a second can be added for rotation; blank ones are refused."""
    many = list(value) if isinstance(value, list | tuple) else [value]
    for secret in many:
        text = secret.get_secret_value() if isinstance(secret, SecretStr) else secret
        if isinstance(text, str) and not text.strip():
            raise ValueError("must not be blank")
    return many


Secrets = Annotated[tuple[SecretStr, ...], BeforeValidator(_secrets)]


class HttpConfig(Config):
    """Settings for one sender of Miso's own uploads, or of JSON of any shape."""

    api_key: Secrets = Field(
        default=(),
        description="Keys of yours for servers that speak Miso's upload API; opens /v1/…. A list while one is changed.",
    )
    publishable_key: Secrets = Field(
        default=(),
        description="Keys that may stand in a page: they open POST /v1/interactions only.",
    )

    auth: Literal["hmac", "standard-webhooks", "bearer", "basic", "none"] | None = Field(
        default=None,
        description="What proves the sender of any JSON: `hmac`, `standard-webhooks`, `bearer`, `basic`, or `none`.",
    )
    secret: Secrets = Field(
        default=(), description="The secret, token or password that `auth` needs; a list while it is being changed."
    )
    username: str = Field(default="", description="User name of `basic`.")
    signature_header: str = Field(
        default="x-signature",
        min_length=1,
        description="Header with the HMAC.",
        examples=["x-hub-signature-256"],
    )
    signature_prefix: str = Field(
        default="", description="What stands before the HMAC in its header.", examples=["sha256="]
    )
    digest: Literal["sha1", "sha256", "sha512"] = Field(default="sha256", description="Hash of the HMAC.")
    encoding: Literal["hex", "base64"] = Field(default="hex", description="How the HMAC is written.")
    signed_content: str = Field(
        default=BODY,
        description="What the HMAC is over: {body}, and {timestamp} where the time is signed too.",
        examples=["{timestamp}.{body}"],
    )
    timestamp_header: str = Field(
        default="", description="Header with the time of sending, in Unix seconds.", examples=["x-timestamp"]
    )
    tolerance: int = Field(default=300, ge=1, le=86400, description="Seconds by which a signed time may be off.")

    list_path: str = Field(
        default="",
        description="Where a delivery's list of events stands; without one the body is an event or a list of them.",
        examples=["data.items"],
    )
    event_path: str = Field(default="event", description="Where an event's name stands, which rules match.")
    id_path: str = Field(
        default="", description="Where an event's own id stands, by which a repeat is known.", examples=["id"]
    )
    time_path: str = Field(
        default="",
        description="Where an event's time stands: RFC 3339, or Unix seconds or milliseconds.",
        examples=["created_at"],
    )

    @field_validator("list_path", "event_path", "id_path", "time_path")
    @classmethod
    def _is_a_path(cls, path: str) -> str:
        values.path_getter(path)
        return path

    @model_validator(mode="after")
    def _is_closed(self) -> Self:
        if not (self.api_key or self.publishable_key or self.auth):
            raise ValueError(
                "nothing proves a sender: set api_key for Miso's upload API, or auth "
                '(hmac, standard-webhooks, bearer, basic) with secret for any JSON; auth = "none" takes it from anybody'
            )
        if self.auth in SIGNED and not self.secret:
            raise ValueError(f'auth = "{self.auth}" needs secret')
        if self.auth == "basic" and not self.username:
            raise ValueError('auth = "basic" needs username')
        return self

    @model_validator(mode="after")
    def _keys_are_keys(self) -> Self:
        alone = {"api_key": self.api_key, "secret": self.secret if self.auth == "bearer" else ()}
        for name, secrets in alone.items():
            if any(len(secret.get_secret_value()) < LEAST_TOKEN for secret in secrets):
                raise ValueError(f"{name} needs at least {LEAST_TOKEN} random characters")
        if {key.get_secret_value() for key in self.api_key} & {key.get_secret_value() for key in self.publishable_key}:
            raise ValueError("a key is either an api_key or a publishable_key: whoever reads a page has the latter")
        if self.auth == "standard-webhooks" and not all(_is_webhook_secret(one) for one in self.secret):
            raise ValueError("a secret of standard-webhooks that begins with whsec_ or whpk_ goes on in base64")
        return self

    @model_validator(mode="after")
    def _time_is_signed(self) -> Self:
        if BODY not in self.signed_content:
            raise ValueError("signed_content needs {body}, or anybody could change what was sent")
        if bool(self.timestamp_header) != (TIMESTAMP in self.signed_content):
            raise ValueError(
                "timestamp_header and {timestamp} in signed_content go together: only a signed time counts"
            )
        return self


def _is_webhook_secret(secret: SecretStr) -> bool:
    prefix, mark, rest = secret.get_secret_value().partition("_")
    if not mark or prefix not in ("whsec", "whpk"):
        return True
    try:
        return bool(base64.b64decode(rest, validate=True))
    except (binascii.Error, ValueError):
        return False
