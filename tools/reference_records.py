"""The part of the reference that shows Miso's records: their fields, once what all interactions share."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal, TypedDict, get_args, get_origin, get_type_hints, is_typeddict

import misoflow
import msgspec
from misoflow import records
from misoflow.records import INTERACTIONS

INTRO = """\
## Records

Structs, one class a type of Miso's, made with keyword arguments: `Like(user_id="u1", product_ids=["p1"],
timestamp="2026-11-01T10:00:00Z")`. A field that is left out, or `None`, is not sent. A field that does not exist is a
`TypeError` at once; everything else is checked when the record is written. Times are aware datetimes or RFC 3339
texts with a zone. An interaction needs a `user_id` or an `anonymous_id`, and a `timestamp`.
"""
LITTLE = {
    "Record": "What `translate` yields: `Interaction`, `Product`, `User`, `ForgetUser`, `RemoveProduct`, `RemoveUser`.",
    "Interaction": "Any of the interactions below, for annotations.",
    "INTERACTIONS": 'Miso\'s name of each interaction type → its class, such as `INTERACTIONS["like"]`.',
}


def shared() -> dict[str, Any]:
    """The fields that every interaction has."""
    each = [{one.encode_name: one.type for one in msgspec.structs.fields(cls)} for cls in INTERACTIONS.values()]
    return {name: kind for name, kind in each[0].items() if all(name in other for other in each)}


def kind_of(wanted: Any) -> str:
    """A field's type in words."""
    origin, args = get_origin(wanted), [one for one in get_args(wanted) if one is not type(None)]
    if wanted in (records.DateTime, records.DateOrTime):
        return "a time" if wanted == records.DateTime else "a day or time"
    if wanted in (records.Uri, records.Uuid):
        return "a URL" if wanted == records.Uri else "a UUID"
    if origin is not None and hasattr(wanted, "__metadata__"):
        return kind_of(args[0]) + limits(wanted.__metadata__)
    if origin is Literal:
        return "one of " + ", ".join(f"`{one}`" for one in args)
    if origin is list:
        return f"list of {kind_of(args[0])}"
    if origin is dict:
        return "object"
    if is_typeddict(wanted):
        return f"[{wanted.__name__}](#{wanted.__name__.lower()})"
    if args:
        kinds = dict.fromkeys(kind_of(one) for one in args)
        return ", or ".join(sorted(kinds, key=lambda kind: kind.startswith("list")))
    return {str: "text", bool: "true or false", int: "number", float: "number"}.get(wanted, "anything")


def limits(metas: Any) -> str:
    (meta,) = [one for one in metas if isinstance(one, msgspec.Meta)]
    longest = f", at most {meta.max_length:,} long" if meta.max_length else ""
    low = f", from {meta.ge:g}" if meta.ge is not None else ""
    return longest + low + (f", to {meta.le:g}" if meta.le is not None else "")


def fields_table(fields: dict[str, Any], required: Collection[str] = ()) -> str:
    rows = [f"| `{name}` | {kind_of(kind)}{', required' * (name in required)} |" for name, kind in fields.items()]
    return "\n".join(["| field | |", "|---|---|", *rows]) + "\n"


def structs_fields(cls: type) -> dict[str, Any]:
    return {one.encode_name: one.type for one in msgspec.structs.fields(cls)}


def required_of(cls: type) -> list[str]:
    return [one.encode_name for one in msgspec.structs.fields(cls) if one.required]


def interactions_table() -> str:
    common = shared()
    lines = ["| class | Miso's `type` | fields beside the shared ones |", "|---|---|---|"]
    for name, cls in INTERACTIONS.items():
        own = [f"`{field}`" for field in structs_fields(cls) if field not in common]
        lines.append(f"| `{cls.__name__}` | `{name}` | {', '.join(own) or '–'} |")
    return "\n".join(lines) + "\n"


def own_fields() -> dict[str, Any]:
    """The fields that only some interactions have."""
    found: dict[str, Any] = {}
    for cls in INTERACTIONS.values():
        found |= {name: kind for name, kind in structs_fields(cls).items() if name not in shared()}
    return found


def objects() -> list[Any]:
    """The objects that fields hold."""
    found = [one for one in vars(records).values() if is_typeddict(one) and one is not TypedDict]
    return [one for one in found if isinstance(one, type)]


def records_section() -> str:
    """The section as Markdown."""
    little = "\n".join(["| name | is |", "|---|---|", *(f"| `{name}` | {text} |" for name, text in LITTLE.items())])
    parts = [INTRO, little + "\n"]
    parts += ["### Interactions\n", interactions_table(), "Fields of every interaction:\n", fields_table(shared())]
    parts += ["Fields of some:\n", fields_table(own_fields())]
    for name in ("Product", "User", "ForgetUser", "RemoveProduct", "RemoveUser"):
        cls = getattr(misoflow, name)
        doc = (cls.__doc__ or "").replace("``", "`").strip()
        parts += [f"### {name}\n", f"{doc}\n", fields_table(structs_fields(cls), required_of(cls))]
    parts.append("### Objects in fields\n")
    for one in objects():
        doc = (one.__doc__ or "").replace("``", "`").strip()
        parts += [f"#### {one.__name__}\n", f"{doc}\n", fields_table(get_type_hints(one, include_extras=True))]
    return "\n".join(parts)
