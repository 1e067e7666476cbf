"""Custom attributes of products. A key has one type for ever: Miso refuses a key whose type changes.

So the type comes from where a value stands, and for metafields from the definition's type; a value that does not fit is
left out. https://shopify.dev/docs/apps/build/metafields/list-of-data-types
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from misoflow import privacy, values

from misoflow_shopify.fields import Json, decimal_of, id_of, listing, mapping

MOST_TEXT = 1000
MOST_ITEMS = 100
MOST_ATTRIBUTES = 100
KEY = re.compile(r"[^a-z0-9]+")

# names of options as shops in many languages write them, compared without case, accents and signs (values.key_of)
OPTIONS: dict[str, tuple[str, ...]] = {
    "size": (
        *("size", "sizes", "größe", "grösse", "grosse", "groesse", "taille", "talla", "tamaño", "tamano", "taglia"),
        *("misura", "tamanho", "maat", "storlek", "størrelse", "storrelse", "koko", "rozmiar", "velikost", "méret"),
        *(
            "mărime",
            "размер",
            "розмір",
            "beden",
            "サイズ",
            "尺码",
            "尺寸",
            "사이즈",
            "ukuran",
            "kíchthước",
            "ขนาด",
            "مقاس",
        ),
    ),
    "color": (
        *("color", "colour", "colors", "colours", "farbe", "couleur", "coloris", "colore", "cor", "kleur", "färg"),
        *(
            "farve",
            "farge",
            "väri",
            "kolor",
            "barva",
            "szín",
            "culoare",
            "цвет",
            "колір",
            "renk",
            "カラー",
            "色",
            "颜色",
        ),
        *("顏色", "색상", "컬러", "warna", "màusắc", "สี", "لون"),
    ),
    "material": (
        *("material", "materials", "matière", "matiere", "materiale", "materiaal", "materiál", "materiał", "materjal"),
        *(
            "matériau",
            "materiaali",
            "anyag",
            "материал",
            "матеріал",
            "malzeme",
            "素材",
            "材质",
            "材質",
            "소재",
            "bahan",
        ),
        *("chấtliệu", "วัสดุ", "خامة"),
    ),
}
FIELD_OF = {values.key_of(name): field for field, names in OPTIONS.items() for name in names}


def key_of(prefix: str, name: str) -> str | None:
    """``option_ring_size`` of ``Ring size``; None for a name without letters, or that is of a person."""
    plain = values.snake(name)
    return f"{prefix}_{plain}"[:100] if plain and not values.is_personal(name) else None


def label(value: Any) -> str | None:
    """A text of the catalogue as it is: numbers of articles look like those of telephones."""
    return privacy.plain(value)[:MOST_TEXT] or None if type(value) is str else None


def text(value: Any) -> str | None:
    """A free text, without what tells how to reach a person."""
    return privacy.text_of(" ".join(value.split()), MOST_TEXT) if type(value) is str else None


def number(value: Any) -> float | None:
    """Always with a fraction, so that 3 and 3.5 are of one type."""
    found = decimal_of(value)
    return None if found is None else float(found)


def whole(value: Any) -> int | None:
    found = decimal_of(value)
    exact = found is not None and found == found.to_integral_value() and abs(found) < values.LARGEST_EXACT
    return int(found) if found is not None and exact else None


def boolean(value: Any) -> bool | None:
    return {"true": True, "false": False}.get(str(value).lower()) if type(value) in (str, bool) else None


def reference(value: Any) -> str | None:
    """The id of another object, without its kind."""
    return id_of(value)


def rating(value: Any) -> float | None:
    """``{"value": "3.5", "scale_min": "1.0", "scale_max": "5.0"}``"""
    return number(mapping(_decoded(value)).get("value"))


def measure(value: Any) -> str | None:
    """``{"value": 2.5, "unit": "KILOGRAMS"}`` as ``2.5 kilograms``."""
    found = mapping(_decoded(value))
    amount, unit = found.get("value"), found.get("unit")
    return text(f"{amount} {unit.lower()}") if type(unit) is str and type(amount) in (int, float, str) else None


def money(value: Any) -> float | None:
    """``{"amount": "5.99", "currency_code": "CAD"}``"""
    return number(mapping(_decoded(value)).get("amount"))


def rich_text(value: Any) -> str | None:
    """The words of a tree of ``{"type": "text", "value": …}`` nodes."""
    words: list[str] = []
    waiting: list[Any] = [_decoded(value)]
    while waiting and len(words) < MOST_TEXT:
        node = mapping(waiting.pop())
        if node.get("type") == "text" and type(node.get("value")) is str:
            words.append(node["value"])
        waiting.extend(reversed(listing(node.get("children"))))
    return text(" ".join(words))


Reader = Callable[[Any], Any]
READERS: dict[str, Reader] = {
    "boolean": boolean,
    "number_integer": whole,
    "number_decimal": number,
    "rating": rating,
    "money": money,
    "rich_text_field": rich_text,
    **dict.fromkeys(("dimension", "volume", "weight"), measure),
}
LIST = "list."
REFERENCE = "_reference"


def metafield(kind: str, value: Any) -> Any:
    """The value of a metafield by its definition's type; text for a type that is not known, None where it is none."""
    if kind.startswith(LIST):
        items = _decoded(value)
        read = _reader(kind.removeprefix(LIST))
        found = [one for item in items[:MOST_ITEMS] if (one := read(item)) is not None] if type(items) is list else []
        return [str(one) if type(one) is bool else one for one in found] or None
    return _reader(kind)(value)


def _reader(kind: str) -> Reader:
    return reference if kind.endswith(REFERENCE) else READERS.get(kind, text)


def _decoded(value: Any) -> Any:
    """JSON in a text, as metafields of composed types are; anything else as it is."""
    if type(value) is not str or len(value) > 100_000:
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def metafields(wanted: tuple[str, ...], found: list[Json]) -> Json:
    """``mf_<namespace>_<key>`` of those that the settings name."""
    made: Json = {}
    for item in found:
        named = f"{item['namespace']}.{item['key']}"
        if named in wanted and (value := metafield(str(item["type"]), item["value"])) is not None:
            made[f"mf_{KEY.sub('_', named.casefold())}"[:100]] = value
    return made


def options(pairs: list[Json]) -> tuple[Json, Json]:
    """(size, color, material; the others as ``option_<name>``) of the options of a variant."""
    own: Json = {}
    others: Json = {}
    for pair in pairs:
        name, value = label(pair["name"]), label(pair["value"])
        if name is None or value is None or value == DEFAULT:
            continue
        field = FIELD_OF.get(values.key_of(name))
        if field is not None and field not in own:
            own[field] = value
        elif (key := key_of("option", name)) is not None:
            others[key] = value
    return own, others


DEFAULT = "Default Title"
"""The only variant of a product without options: https://shopify.dev/docs/api/admin-graphql/latest/objects/ProductVariant"""
