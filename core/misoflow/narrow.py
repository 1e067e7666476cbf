"""What nearly every interaction is, as a type that is read faster than the full schema and never takes more than that.

A time is read as a time instead of being held against a pattern (msgspec leaves patterns to Python's ``re``), nothing
may be null, objects have no unknown keys, and custom_context holds scalars.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Union, get_args

import msgspec

from misoflow.records import Scalar


class _Campaign(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    name: str = ""
    source: str = ""
    medium: str = ""
    term: str = ""
    content: str = ""


class _Page(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    url: str
    referrer: str = ""
    title: str = ""


class _Context(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    campaign: _Campaign | msgspec.UnsetType = msgspec.UNSET
    truncated_ip: str = ""
    locale: str = ""
    region: str = ""
    page: _Page | msgspec.UnsetType = msgspec.UNSET
    user_agent: str = ""
    custom_context: dict[str, Scalar] | msgspec.UnsetType = msgspec.UNSET


class _Search(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    keywords: str = ""
    filters: dict[str, list[str]] | msgspec.UnsetType = msgspec.UNSET


NARROW = {"context": _Context, "search": _Search, "timestamp": Annotated[datetime, msgspec.Meta(tz=True)]}
"""The fields with open objects, and the one that the full schema reads with a pattern."""


def _without_none(kind: Any) -> Any:
    kinds = get_args(kind)
    return Union[tuple(one for one in kinds if one is not type(None))] if type(None) in kinds else kind  # noqa: UP007


def decoder(cls: type) -> Callable[[bytes], Any]:
    """Decodes what nearly all interactions of the class are: no null, a time that exists, scalars in custom_context."""
    fields = [
        (field.name, NARROW.get(field.name) or _without_none(field.type), field.default)
        for field in msgspec.structs.fields(cls)
    ]
    config = cls.__struct_config__  # type: ignore[attr-defined]
    kind = msgspec.defstruct(
        cls.__name__,
        fields,
        tag_field=config.tag_field,
        tag=config.tag,
        forbid_unknown_fields=True,
        kw_only=True,
        gc=False,
    )
    return msgspec.json.Decoder(kind).decode
