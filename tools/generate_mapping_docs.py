"""Writes the mapping and settings tables of docs/connectors/*.md, between their markers, from the code.

python -m tools.generate_mapping_docs
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import msgspec
from misoflow.bulk.cells import OPEN, converted
from misoflow.records import INTERACTIONS, Product, User
from misoflow_files import FilesConfig
from misoflow_http import HttpConfig
from misoflow_mixpanel import mapping as mixpanel
from misoflow_mixpanel import profiles
from misoflow_mixpanel.config import Cohorts, MixpanelConfig, Zone
from misoflow_mixpanel.names import IDENTITY, PRESETS
from misoflow_segment.archive import NOT_FOR_US, UNREADABLE
from misoflow_segment.config import PageRule, SegmentConfig
from misoflow_segment.mapping import CALLS, MALFORMED, TRACKS, Row
from misoflow_segment.names import BEYOND, SPEC, VIDEO, spellings
from misoflow_shopify import mapping as shopify
from misoflow_shopify.config import ShopifyConfig
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

DOCS = Path(__file__).parent.parent / "docs" / "connectors"
BLOCK = "<!-- {0}: python -m tools.generate_mapping_docs -->\n{1}<!-- end of {0} -->"


JSONS: list[Any] = [{}, [["x"]], [{"id": "x"}], [{"lat": 1, "lon": 1}]]


def mapping_table(names: Any, rows: dict[str, Row]) -> str:
    lines = ["| Segment | also as | Miso | notes |", "|---|---|---|---|"]
    for topic in names:
        row = rows[topic]
        other = [name for name in spellings(topic) if name != topic] if topic in SPEC | VIDEO | BEYOND else []
        shown = "track, with any other name" if topic == "track" else topic
        lines.append(f"| {shown} | {', '.join(other)} | {row.becomes} | {row.note} |")
    return "\n".join(lines) + "\n"


def settings_table(model: type[BaseModel]) -> str:
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    for name, field in model.model_fields.items():
        lines.append(f"| `{name}` | {_default(field)} | {field.description}{_choices(field)} |")
    return "\n".join(lines) + "\n"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if value is None or isinstance(value, SecretStr) or value in ("", ()):
        return "none"
    return f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{_toml(value)}`"


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _choices(field: FieldInfo) -> str:
    texts = [f"`{choice}`" for choice in get_args(field.annotation) if isinstance(choice, str)]
    return f" One of {', '.join(texts)}." if texts else ""


def names_table() -> str:
    lines = ["| Miso | usual names of the event |", "|---|---|"]
    lines += [f"| {kind} | {', '.join(names)} |" for kind, names in PRESETS.items()]
    return "\n".join(lines) + "\n"


DEAD = "a dead letter"
SEGMENT_TOPICS = {
    MALFORMED: (DEAD, "what is no call"),
    UNREADABLE: (DEAD, "a line of an archive that is cut off or no JSON"),
    NOT_FOR_US: ("nothing", "a call of an archive whose integrations object leaves Miso out"),
}
MIXPANEL_TOPICS = {
    "event": ("nothing, or custom by `unmapped`", "an event whose name is none of these"),
    "identity": ("nothing", f"{', '.join(f'`{name}`' for name in IDENTITY)}: they say which ids are one person"),
    "system": ("nothing", "Mixpanel's own bookkeeping"),
    "profile": ("user", "a user profile"),
    "cohort": ("user", "a member of a cohort, or a page of its list"),
    "malformed": (DEAD, "a line of an export that is no event"),
}
FILES_TOPICS = {
    "interactions": (", ".join(INTERACTIONS), "a row, by its `type` or by a rule"),
    "products": ("product", 'a row, with `kind = "products"`'),
    "users": ("user", 'a row, with `kind = "users"`'),
    "unreadable": (DEAD, "a row that is cut off or no object"),
}
FIELDS: dict[str, tuple[str, ...]] = {
    "products, with their quantities": mixpanel.ITEMS,
    "`product_ids`, where there is no such list": MixpanelConfig.model_fields["product_id_path"].default,
    "`quantities`": mixpanel.QUANTITY,
    "`revenue` (checkout)": mixpanel.REVENUE,
    "`search.keywords` (search)": mixpanel.KEYWORDS,
    "`category`": mixpanel.CATEGORY,
    "`rating` (rate)": mixpanel.RATING,
    "`duration`, in seconds": mixpanel.DURATION,
    "the order, for one checkout each": mixpanel.ORDER,
}


def fields_table() -> str:
    """What an interaction takes from which property; the first that has a value counts."""
    rows = dict(FIELDS)
    rows |= {f"`context.campaign.{field}`": (name,) for field, name in mixpanel.UTM.items()}
    rows |= {f"`context.custom_context.{field}`": (name,) for name, field in mixpanel.CONTEXT.items()}
    rows["`context.custom_context`, as they are"] = mixpanel.KEPT
    lines = ["| Miso | from the event's properties |", "|---|---|"]
    lines += [f"| {field} | {', '.join(f'`{name}`' for name in names)} |" for field, names in rows.items()]
    return "\n".join(lines) + "\n"


def profiles_table() -> str:
    rows = {"user_id": "$distinct_id"} | {field: name for name, field in (profiles.FIELDS | profiles.TIMES).items()}
    rows |= {"gender": "gender", "age": "age", "custom_attributes": "what `profile_attributes` lists"}
    lines = ["| Miso | from the profile |", "|---|---|"]
    lines += [f"| `{field}` | {name if ' ' in name else f'`{name}`'} |" for field, name in rows.items()]
    return "\n".join(lines) + "\n"


def topics_table(rows: dict[str, tuple[str, str]]) -> str:
    """Topic -> (what it becomes, what it is)."""
    lines = ["| topic | Miso | what it is |", "|---|---|---|"]
    lines += [f"| {topic} | {becomes} | {what} |" for topic, (becomes, what) in rows.items()]
    return "\n".join(lines) + "\n"


def mixpanel_blocks() -> dict[str, str]:
    return {
        "names": names_table(),
        "topics": topics_table(MIXPANEL_TOPICS),
        "fields": fields_table(),
        "profiles": profiles_table(),
        "settings": settings_table(MixpanelConfig),
        "cohort settings": settings_table(Cohorts),
        "zone settings": settings_table(Zone),
    }


def files_blocks() -> dict[str, str]:
    return {"topics": topics_table(FILES_TOPICS), "settings": settings_table(FilesConfig), "cells": cells_table()}


def http_blocks() -> dict[str, str]:
    return {"settings": settings_table(HttpConfig)}


def shopify_table(head: str, rows: dict[str, shopify.Row]) -> str:
    lines = [f"| {head} | topic | Miso | notes |", "|---|---|---|---|"]
    lines += [f"| {row.source} | {topic} | {row.becomes} | {row.note} |" for topic, row in rows.items()]
    return "\n".join(lines) + "\n"


def shopify_blocks() -> dict[str, str]:
    return {
        "webhooks": shopify_table("Shopify", shopify.THIN),
        "objects": shopify_table("Shopify", shopify.OBJECTS),
        "pixel": shopify_table("pixel", shopify.PIXEL),
        "settings": settings_table(ShopifyConfig),
    }


def segment_blocks() -> dict[str, str]:
    """Marker -> the Markdown that belongs between it and its end."""
    return {
        "commerce": mapping_table(SPEC, TRACKS),
        "video": mapping_table(VIDEO, TRACKS),
        "beyond": mapping_table([*BEYOND, "track"], TRACKS),
        "calls": mapping_table(CALLS, CALLS),
        "others": topics_table(SEGMENT_TOPICS),
        "settings": settings_table(SegmentConfig),
        "page rules": settings_table(PageRule),
    }


def cells_table() -> str:
    """What the cells of a CSV file become, column by column."""
    columns: dict[str, set[str]] = {}
    for cls in (Product, User, *INTERACTIONS.values()):
        for field in msgspec.structs.fields(cls):
            if field.encode_name not in OPEN:
                columns.setdefault(cell_of(field.type), set()).add(field.encode_name)
    columns["text"].add("type")
    lines = ["| a cell is | in the columns |", "|---|---|"]
    lines += [f"| {kind} | {', '.join(f'`{name}`' for name in sorted(columns[kind]))} |" for kind in sorted(columns)]
    return "\n".join(lines) + "\n"


def cell_of(wanted: Any) -> str:
    """How a text is taken in a column of this type."""
    if converted("true", wanted) is True:
        return "`true` or `false`"
    if converted("7", wanted) == 7:
        return "a number"
    if converted("x", wanted) == ["x"]:
        return "a list, as JSON; any other text is its only item"
    return "JSON" if any(accepts(wanted, value) for value in JSONS) else "text"


def accepts(wanted: Any, value: Any) -> bool:
    try:
        msgspec.convert(value, wanted)
    except msgspec.ValidationError:
        return False
    return True


PAGES: dict[Path, Callable[[], dict[str, str]]] = {
    DOCS / "segment.md": segment_blocks,
    DOCS / "mixpanel.md": mixpanel_blocks,
    DOCS / "files.md": files_blocks,
    DOCS / "http.md": http_blocks,
    DOCS / "shopify.md": shopify_blocks,
}


def filled(page: Path) -> str:
    """The page with every block written anew; LookupError when one is missing."""
    text = page.read_text()
    for name, table in PAGES[page]().items():
        block = re.compile(BLOCK.format(re.escape(name), ".*?"), re.DOTALL)
        before, found, after = text.partition(next(iter(block.findall(text)), "\0"))
        if not found:
            raise LookupError(f"docs/connectors/{page.name} has no block {name!r}")
        text = before + BLOCK.format(name, table) + after
    return text


if __name__ == "__main__":
    for one in PAGES:
        one.write_text(filled(one))
