"""The connector behind ``singer-target``: a tap's record, by its stream, as one of Miso's records."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, field_validator

from misoflow.bulk.cells import converted
from misoflow.connector import Config, Connector, Event
from misoflow.effects import Effect, Skip
from misoflow.encode import Kind, check
from misoflow.errors import ConfigError, Reject
from misoflow.paths import Getter, compile_value
from misoflow.records import INTERACTIONS, Product, Record, RemoveProduct, User
from misoflow.singer.schemas import METADATA
from misoflow.values import tidied

DELETED = f"{METADATA}deleted_at"
"""Set by taps that read a database's log: the row is gone."""
KINDS: tuple[Kind, ...] = ("interactions", "products", "users")
IDS = ("product_id", "user_id", "anonymous_id", "product_ids", "product_group_ids", "product_group_id")
"""Texts at Miso; a database has numbers there."""


class StreamMap(BaseModel):
    """What the records of one stream are."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    kind: Literal["interactions", "products", "users", "skip"] = Field(description="What they become, or skip.")
    fields: dict[str, Any] = Field(
        default={},
        description="Miso's field → a $ path in the record, a directive, or a constant. Without: taken as they are.",
    )

    @field_validator("fields")
    @classmethod
    def _paths(cls, value: dict[str, Any]) -> dict[str, Any]:
        for spec in value.values():
            compile_value(spec, None)
        return value


class SingerConfig(Config):
    """Settings of what a Singer tap sends."""

    streams: dict[str, StreamMap] = Field(
        default={},
        description="Stream → kind, or a table with kind and fields. Streams named as a kind need no entry.",
        examples=[{"items": "products", "orders": {"kind": "interactions", "fields": {"type": "checkout"}}}],
    )

    @field_validator("streams", mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: {"kind": one} if isinstance(one, str) else one for name, one in value.items()}


class Singer(Connector[SingerConfig]):
    """Records of any Singer tap, brought by ``misoflow singer-target``."""

    dedup_days = 400
    """A tap may send a whole table again at any time; its interactions must still be known then."""

    def __init__(self, config: SingerConfig) -> None:
        super().__init__(config)
        self._makers = {name: _maker(name, one) for name, one in config.streams.items()}
        for kind in KINDS:
            self._makers.setdefault(kind, (kind, {}))

    def kind_of(self, stream: str) -> str | None:
        """A stream's kind, or ``skip``; ``rules`` where only those may know it, None where nobody does."""
        made = self._makers.get(stream)
        if made is not None:
            return made[0]
        return "rules" if len(self.rules) else None

    def translate(self, event: Event) -> Iterable[Record | Effect]:
        """By the first rule that matches, else as its stream is mapped."""
        row: dict[str, Any] = event.data
        ruled = self.rules.apply(event.topic, row)
        if ruled is not None:
            if row.get(DELETED) is not None:
                return [Skip("the row was deleted at the source")]
            return [_by_rule(fields) for fields in ruled] or [Skip("a rule of this instance drops it")]
        kind, getters = self._makers.get(event.topic, ("", {}))
        if kind == "skip":
            return [Skip("this stream is set to be skipped")]
        if kind not in KINDS:
            return [Skip("no rule matches, and the stream is not mapped")]
        fields = _mapped(row, kind, getters) if getters else _as_it_is(row)
        if row.get(DELETED) is not None:
            return [_removal(kind, fields)]
        record: Record = check(msgspec.json.encode(fields), kind)[1]
        return [record]


def _maker(name: str, one: StreamMap) -> tuple[str, dict[str, Getter]]:
    if one.fields and one.kind != "skip":
        known = _class_of(one.kind, one.fields).__struct_fields__
        for field in one.fields:
            if field != "type" and field not in known:
                raise ConfigError(f"streams.{name}.fields.{field}", f"{one.kind} have no such field")
    return one.kind, {field: compile_value(spec, None) for field, spec in one.fields.items()}


def _class_of(kind: str, fields: dict[str, Any]) -> Any:
    """The record's class; of interactions that of the type, where it is fixed."""
    if kind != "interactions":
        return Product if kind == "products" else User
    found = INTERACTIONS.get(str(fields.get("type")))
    if found is None:
        known = ", ".join(sorted(INTERACTIONS))
        raise ConfigError("streams", f"fields of interactions need a type that is one of Miso's: {known}")
    return found


@cache
def _types(cls: Any) -> dict[str, Any]:
    return {one.encode_name: one.type for one in msgspec.structs.fields(cls)}


def _mapped(row: dict[str, Any], kind: str, getters: dict[str, Getter]) -> dict[str, Any]:
    """The record's fields out of the row; what a row does not have is left out."""
    found = {field: value for field, get in getters.items() if (value := get(row)) is not None}
    types = _types(_class_of(kind, found))
    return {
        field: value if field == "type" else converted(_text_ids(field, value), types[field])
        for field, value in found.items()
    }


def _as_it_is(row: dict[str, Any]) -> dict[str, Any]:
    """A Miso-shaped row without Singer's own columns and without nulls, which mean *absent* to a tap."""
    plain = {field: value for field, value in row.items() if not field.startswith(METADATA)}
    return {field: _text_ids(field, value) for field, value in _without_nulls(plain).items()}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _text_ids(field: str, value: Any) -> Any:
    if field not in IDS:
        return value
    if isinstance(value, list):
        return [_text_ids(field, one) for one in value]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _removal(kind: str, fields: dict[str, Any]) -> Record | Effect:
    if kind != "products":
        return Skip("the row was deleted at the source; of such only products are taken away")
    if not isinstance(fields.get("product_id"), str):
        raise Reject("the deleted row names no product_id", "$.product_id")
    return RemoveProduct(product_id=fields["product_id"])


def _by_rule(fields: dict[str, Any]) -> Record:
    own = {field: tidied(field, _text_ids(field, value)) for field, value in fields.items()}
    make: Callable[..., Record] = INTERACTIONS[own.pop("type")]
    return make(**own)
