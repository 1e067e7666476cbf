"""One record to validated JSON bytes: the schema by a typed decode, then the rules that Miso states in prose.

A struct is encoded once and the bytes are decoded again with its own type, which costs a few microseconds
and gives errors with a JSON path. What the schema cannot say stands below, each rule with its own sentence.
Interactions are decoded with a narrower type first (``misoflow.narrow``); what does not fit is held against the full
schema, which then says what is wrong, if anything.
Source of the rules: https://docs.miso.ai/api-reference (Data APIs: interactions, products, users).
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from misoflow import narrow
from misoflow.errors import Reject
from misoflow.records import (
    INTERACTIONS,
    ForgetUser,
    Interaction,
    Product,
    Record,
    RemoveProduct,
    RemoveUser,
    User,
)

Kind = Literal["interactions", "products", "users"]


def _late(value: Any) -> str:
    """A text that is bound late (``aliased``) as its default; msgspec writes no subclass of ``str`` by itself."""
    if isinstance(value, str):
        return str(value)
    raise TypeError("not a value of a record")


_encode = msgspec.json.Encoder(enc_hook=_late).encode
_CLASSES: list[type] = [*INTERACTIONS.values(), Product, User, ForgetUser, RemoveProduct, RemoveUser]
_DECODE: dict[type, Callable[[bytes], Any]] = {cls: msgspec.json.Decoder(cls).decode for cls in _CLASSES}
_DECODE_KIND: dict[str, Callable[[bytes], Any]] = {
    "interactions": msgspec.json.Decoder(Interaction).decode,
    "products": _DECODE[Product],
    "users": _DECODE[User],
}
_INTERACTIONS = frozenset(INTERACTIONS.values())
_DECODE_NARROW = {cls: narrow.decoder(cls) for cls in _INTERACTIONS}
_WITH_PRODUCTS = frozenset(cls for cls in _INTERACTIONS if "product_ids" in cls.__struct_fields__)
_MEASURES = {
    cls: found
    for cls in _INTERACTIONS
    if (found := [name for name in ("quantities", "rating", "revenue", "duration") if name in cls.__struct_fields__])
}
PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
NO_TIME = "an interaction needs a timestamp: Miso would take its own clock's"
PUNCTUATION = "--T::."
"""Every third character of 2026-01-31T12:00:00.000Z, from the fifth on."""
_PLAIN = (str, int, bool)
TIMES = ("created_at", "published_at", "updated_at")
_MEANT = {
    "dT": "must be a time with a zone, like 2026-10-01T08:00:00.000Z",
    "(T": "must be a date, or a time with a zone, like 2026-10-01 or 2026-10-01T08:00:00Z",
    ":[!": "is not a URL",
    "{12}": "must be a UUID",
}
"""A part of each pattern in ``misoflow.records`` → what msgspec's sentence about it means."""


def encode(record: Record, *, late: bool = False) -> bytes:
    """The record's JSON; raises Reject(reason, path) when Miso would refuse or misread it.

    ``late``: its anonymous id is bound later, so it may have no identity yet.
    """
    cls = type(record)
    if cls in _INTERACTIONS:
        return _interaction(record, cls, late)
    if cls not in _DECODE:
        raise Reject(f"{cls.__name__} is not a record of Miso's")
    if cls is Product or cls is User:
        record = _with_times(record)
    body = _validated(record, cls)
    _ITEM_RULES[cls](record)
    return body


def check(body: bytes, kind: Kind) -> tuple[bytes, Any]:
    """A record that is JSON already, held against the same rules: the bytes to send, and its struct.

    The bytes are ``body`` itself, but for a null at its top, which is left out. Raises Reject(reason, path).
    """
    try:
        if not body.isascii():
            body.decode()  # what no schema describes is skipped unread
        record = _DECODE_KIND[kind](body)
    except msgspec.ValidationError as error:
        raise _misshapen(error, body) from None
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Reject(f"is not JSON: {error}") from None
    if b"null" in body:
        body = _without_nulls(body)
    if kind != "interactions":
        _ITEM_RULES[type(record)](_with_times(record))
    elif record.timestamp is None:
        raise Reject(NO_TIME, "$.timestamp")
    else:
        _real_time(record.timestamp, "$.timestamp")
        _interaction_rules(record, type(record), late=False)
        _context(record.context)
    return body, record


def _misshapen(error: msgspec.ValidationError, body: bytes) -> Reject:
    if str(error).startswith("Invalid value") and str(error).endswith("`$.type`"):
        return Reject("is not one of Miso's interaction types", "$.type")
    try:
        return _refusal(error, msgspec.json.decode(body))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _refusal(error, None)


def _without_nulls(body: bytes) -> bytes:
    """Nulls at the top are left out, as None of a struct is; below it they are refused."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # in a part that no schema describes
        raise Reject(f"is not JSON: {error}") from None
    kept = {key: item for key, item in value.items() if item is not None}
    _no_null(kept, kept, "$")
    return body if len(kept) == len(value) else _encode(kept)


def _validated(record: Any, cls: type) -> bytes:
    try:
        body = _encode(record)
        _DECODE[cls](body)
    except msgspec.ValidationError as error:
        raise _refusal(error, record) from None
    except (msgspec.EncodeError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise Reject(f"cannot be written as JSON: {type(error).__name__}", "$") from None
    if b"null" in body:
        _no_null(msgspec.json.decode(body), record, "$")
    return body


def _refusal(error: msgspec.ValidationError, record: Any) -> Reject:
    """msgspec's sentence and path, without the value (it prints one for an enumeration only)."""
    head, mark, tail = str(error).rpartition(" - at `")
    text, path = (head, tail.rstrip("`")) if mark else (tail, "$")
    if text.startswith("Invalid enum value"):
        text = "is none of the values that Miso takes here"
    if text.startswith("Expected `str` matching regex "):
        text = next((meant for part, meant in _MEANT.items() if part in text), text)
    if "[...]" in path:
        path = path.replace("[...]", _null_key(record, path), 1)
    return Reject(text, path)


def _null_key(record: Any, path: str) -> str:
    """msgspec does not name the key of a free-form object; the one whose value becomes null is what it means."""
    value = record
    for step in path.partition("[...]")[0].removeprefix("$.").split("."):
        value = value.get(step) if isinstance(value, dict) else getattr(value, step, None)
    for key, item in value.items() if isinstance(value, dict) else ():
        if item is None or (isinstance(item, float) and not math.isfinite(item)):
            return f".{key}"
    return ""


def _no_null(value: Any, source: Any, path: str) -> None:
    """null stands for NaN, infinity or None here, and Miso documents none of them."""
    if value is None:
        raise Reject("is not a finite number" if isinstance(source, float) else "must not be null; leave it out", path)
    if isinstance(value, dict):
        for key, item in value.items():
            inner = source.get(key) if isinstance(source, dict) else getattr(source, key, None)
            _no_null(item, inner, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            inner = source[index] if isinstance(source, list | tuple) and index < len(source) else None
            _no_null(item, inner, f"{path}[{index}]")


def _interaction(record: Any, cls: type, late: bool) -> bytes:
    moment = record.timestamp
    if type(moment) is not str:
        record, moment = _with_text(record, moment)
    if moment[4:20:3] == PUNCTUATION and moment[23:] == "Z":
        try:
            body = _encode(record)
            _DECODE_NARROW[cls](body)
        except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError):
            pass  # the full schema knows more forms, and says what is wrong
        else:
            _interaction_rules(record, cls, late)
            _address(record.context)
            return body
    body = _validated(record, cls)
    _real_time(moment, "$.timestamp")
    _interaction_rules(record, cls, late)
    _context(record.context)
    return body


def _with_text(record: Any, moment: Any) -> tuple[Any, str]:
    """The record with its time as text, and the text; what is neither a time nor a text is left to the schema."""
    if moment is None:
        raise Reject(NO_TIME, "$.timestamp")
    if not isinstance(moment, datetime):
        return record, str(moment)
    text = _utc(moment, "$.timestamp")
    return msgspec.structs.replace(record, timestamp=text), text


def _interaction_rules(record: Any, cls: type, late: bool) -> None:
    if not (record.user_id or record.anonymous_id or late):
        raise Reject("an interaction needs a user_id or an anonymous_id", "$.user_id")
    if record.user_id is not None:
        _user_id(record.user_id)
    if cls in _WITH_PRODUCTS:
        for product_id in record.product_ids or ():
            if not product_id or product_id[0] == "_" or "," in product_id:
                _product_ids(record.product_ids)
    if cls in _MEASURES:
        for name in _MEASURES[cls]:
            value = getattr(record, name)
            if value is not None:
                _measure(name, value, record)


def _utc(moment: datetime, path: str) -> str:
    if moment.tzinfo is None:
        raise Reject("a time needs a zone", path)
    utc = moment.astimezone(UTC)
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03d}Z" if utc.year >= 1000 else utc.isoformat()


def _real_time(text: Any, path: str) -> None:
    try:
        datetime.fromisoformat(text)
    except (ValueError, TypeError):
        raise Reject("is no time that exists", path) from None


def _with_times(record: Any) -> Any:
    """The record with its datetimes as text; dates and texts are checked to exist."""
    changed = {}
    for name in TIMES:
        value = getattr(record, name, None)
        if isinstance(value, datetime):
            changed[name] = _utc(value, f"$.{name}")
        elif isinstance(value, date):
            changed[name] = value.isoformat()
        elif isinstance(value, str):
            _real_time(value, f"$.{name}")
    return msgspec.structs.replace(record, **changed) if changed else record


def _user_id(value: str, path: str = "$.user_id") -> None:
    if not value:
        raise Reject("must not be empty", path)
    if value[0] == "_":
        raise Reject("must not start with '_'", path)


def _product_id(value: str, path: str) -> None:
    if not value:
        raise Reject("must not be empty", path)
    if value[0] == "_":
        raise Reject("must not start with '_'", path)
    if "," in value:
        raise Reject("must not contain a comma", path)


def _product_ids(values: list[str]) -> None:
    for index, value in enumerate(values):
        _product_id(value, f"$.product_ids[{index}]")


def _measure(name: str, value: Any, record: Any) -> None:
    path = f"$.{name}"
    if name == "quantities":
        many = value if isinstance(value, list) else [value]
        if isinstance(value, list) and len(value) != len(record.product_ids or ()):
            raise Reject("must have one entry for each of product_ids", path)
        if not all(quantity > 0 for quantity in many):
            raise Reject("must be positive", path)
    elif value < 0:
        raise Reject("must not be negative", path)
    elif name == "rating" and value > 5:
        raise Reject("must be between 0 and 5", path)


def _context(context: dict[str, Any] | None) -> None:
    if context is None:
        return
    page = context.get("page")
    if page is not None and "url" not in page:
        raise Reject("a page needs its url", "$.context.page.url")
    _address(context)
    custom = context.get("custom_context")
    if custom:
        for key, value in custom.items():
            if type(value) not in _PLAIN:
                _custom(value, f"$.context.custom_context.{key}", bare_object=False)


def _address(context: dict[str, Any] | None) -> None:
    if context and "truncated_ip" in context and not _is_address(context["truncated_ip"]):
        raise Reject("must be an IPv4 address", "$.context.truncated_ip")


@lru_cache(maxsize=4096)
def _is_address(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _custom(value: Any, path: str, *, bare_object: bool) -> None:
    """A custom value: a scalar, numbers, texts, flat objects, and for products a bare flat object."""
    if isinstance(value, tuple | set | frozenset):  # JSON has one form for them all
        value = list(value)
    if isinstance(value, dict):
        if not bare_object:
            raise Reject("must not be an object; flatten it", path)
        _flat(value, path)
    elif isinstance(value, list):
        if all(isinstance(item, dict) for item in value):
            for index, item in enumerate(value):
                _flat(item, f"{path}[{index}]")
        elif not (
            all(isinstance(item, str) for item in value)
            or all(isinstance(item, int | float) and not isinstance(item, bool) for item in value)
        ):
            raise Reject("a list must hold only numbers, only texts or only flat objects", path)
    elif isinstance(value, float) and not math.isfinite(value):
        raise Reject("is not a finite number", path)


def _flat(value: dict[str, Any], path: str) -> None:
    for key, item in value.items():
        if not isinstance(item, bool | int | float | str):
            raise Reject("an object here may hold only texts, numbers and booleans", f"{path}.{key}")


def _product(record: Product) -> None:
    _product_id(record.product_id, "$.product_id")
    if record.parent_id == "":
        raise Reject("must not be empty", "$.parent_id")
    if record.rating is not None and not 0 <= record.rating <= 5:
        raise Reject("must be between 0 and 5", "$.rating")
    places = record.location if isinstance(record.location, list) else [record.location]
    for place in places:
        if place is None:
            continue
        if "lat" not in place or "lon" not in place:
            raise Reject("a location needs lat and lon", "$.location")
    for index, child in enumerate(record.children or ()):
        if "id" not in child:
            raise Reject("a child needs its id", f"$.children[{index}].id")
        _attributes(child.get("custom_attributes"), f"$.children[{index}].custom_attributes")
    _attributes(record.custom_attributes, "$.custom_attributes")
    for name in ("url", "cover_image"):
        _uri(getattr(record, name), f"$.{name}")


def _uri(value: str | None, path: str) -> None:
    """What the pattern cannot say: the authority's port and brackets, and what percent signs lead."""
    if value is None:
        return
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise Reject("is not a URL", path) from None
    if (parts.scheme in ("http", "https") and not parts.hostname) or parts.netloc.count("@") > 1:
        raise Reject("is not a URL", path)
    if PERCENT.search(value) or value.count("#") > 1:
        raise Reject("is not a URL", path)


def _attributes(values: dict[str, Any] | None, path: str, *, bare_object: bool = True) -> None:
    for key, value in (values or {}).items():
        _custom(value, f"{path}.{key}", bare_object=bare_object)


def _user(record: User) -> None:
    _user_id(record.user_id)
    _uri(record.profile_image, "$.profile_image")
    _attributes(record.custom_attributes, "$.custom_attributes", bare_object=False)


_ITEM_RULES: dict[type, Callable[[Any], None]] = {
    Product: _product,
    User: _user,
    ForgetUser: lambda record: _user_id(record.user_id),
    RemoveProduct: lambda record: _product_id(record.product_id, "$.product_id"),
    RemoveUser: lambda record: _user_id(record.user_id),
}
