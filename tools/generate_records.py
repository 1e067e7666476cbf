"""Writes the record types and the sandbox's schema from Miso's published OpenAPI document.

    python tools/generate_records.py PATH/openapi-ingest.json [--check]

``--check`` changes nothing and exits with 1 when a file differs from what would be written.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RECORDS = ROOT / "core/misoflow/records.py"
SCHEMA = ROOT / "webhooks/misoflow_sandbox/schema.json"
ANNOTATIONS = ("description", "example", "examples", "title", "deprecated")
RENAMED = {"WebBasedContext": "Context", "Page": "PageContext", "ProductRecord": "Product", "UserRecord": "User"}
OPEN_OBJECTS = ("Campaign", "PageContext", "Context", "SearchInformation", "LocationInformation", "ChildrenObject")

Schema = dict[str, Any]

HEAD = '''"""Miso's records: 29 interaction types, products, users, and what removes them.

Generated from Miso's OpenAPI document, version {version}, by tools/generate_records.py: do not edit.
A record is a struct: ``AddToCart(product_ids=["p1"], quantities=[2], user_id="u", timestamp=…)``. A field left
out or None is not sent. Times are aware datetimes or RFC 3339 texts with a zone. An unknown field is a
TypeError at once; everything else is checked when the record is encoded (``misoflow.encode``).
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict

from msgspec import Meta, Struct

if TYPE_CHECKING:
    DateTime = datetime | str
    DateOrTime = datetime | str
else:
    DateTime = Annotated[
        str, Meta(pattern=r"^\\d{{4}}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(\\.\\d+)?(Z|[+-]\\d\\d:\\d\\d)\\Z")
    ]
    DateOrTime = Annotated[
        str, Meta(pattern=r"^\\d{{4}}-\\d\\d-\\d\\d(T\\d\\d:\\d\\d:\\d\\d(\\.\\d+)?(Z|[+-]\\d\\d:\\d\\d))?\\Z")
    ]
Uri = Annotated[
    str, Meta(min_length=1, max_length=65536, pattern=r"^[A-Za-z][A-Za-z0-9+.-]*:[!#-;=?-Z_a-z~]+\\Z")
]
Uuid = Annotated[
    str, Meta(pattern=r"^[0-9A-Fa-f]{{8}}-[0-9A-Fa-f]{{4}}-[0-9A-Fa-f]{{4}}-[0-9A-Fa-f]{{4}}-[0-9A-Fa-f]{{12}}\\Z")
]
Number = int | float
Scalar = bool | int | float | str
Flat = dict[str, Scalar]
# one member of a union may be a list and one an object, so nested values are told apart in misoflow.encode
CustomValue = Scalar | list[Any] | dict[str, Any]


class Record_(Struct, omit_defaults=True, forbid_unknown_fields=True):
    """What every record has in common: nothing but how it is written."""

'''

TAIL = '''
class ForgetUser(Record_, kw_only=True):
    """Delete a user and the user's interactions at Miso, and erase what is unsent here."""

    user_id: Annotated[str, Meta(min_length=1, max_length=512)]


class RemoveProduct(Record_, kw_only=True):
    """Take this source's part of a product away; Miso's record goes with the last part."""

    product_id: Annotated[str, Meta(min_length=1, max_length=512)]


class RemoveUser(Record_, kw_only=True):
    """Take this source's part of a user's record away; Miso's record goes with the last part, interactions stay."""

    user_id: Annotated[str, Meta(min_length=1, max_length=512)]


'''


def main() -> int:
    document = json.loads(Path(sys.argv[1]).read_text())
    files = {RECORDS: formatted(records(document)), SCHEMA: sandbox_schema(document)}
    if "--check" in sys.argv[2:]:
        stale = [path.name for path, text in files.items() if not path.exists() or path.read_text() != text]
        print("\n".join(f"{name} differs from what {sys.argv[1]} says" for name in stale) or "up to date")
        return bool(stale)
    for path, text in files.items():
        path.write_text(text)
    return 0


def formatted(source: str) -> str:
    ruff = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(RECORDS), "-"]
    done = subprocess.run(ruff, input=source, capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout


def interaction_names(document: Schema) -> list[str]:
    members = document["components"]["schemas"]["InteractionBulkIn"]["properties"]["data"]["items"]["anyOf"]
    return [member["$ref"].rsplit("/", 1)[1] for member in members]


def records(document: Schema) -> str:
    """The text of records.py."""
    schemas = document["components"]["schemas"]
    parts = [HEAD.format(version=document["info"]["version"])]
    for name in ("Campaign", "Page", "WebBasedContext", "SearchInformation", "LocationInformation", "ChildrenObject"):
        parts.append(typed_dict(RENAMED.get(name, name), schemas[name]))
    names = interaction_names(document)
    parts += [interaction(name, schemas[name]) for name in names]
    parts += [struct("Product", schemas["ProductRecord"]), struct("User", schemas["UserRecord"]), TAIL]
    parts.append("Interaction = (\n    " + "\n    | ".join(names) + "\n)\n")
    parts.append("Record = Interaction | Product | User | ForgetUser | RemoveProduct | RemoveUser\n\n")
    rows = "".join(f'    "{tag(schemas[name])}": {name},\n' for name in names)
    parts.append(f'INTERACTIONS: dict[str, type[Interaction]] = {{\n{rows}}}\n"""Miso\'s type → its class."""\n')
    parts.append(KIND)
    return "".join(parts)


KIND = '''
Kind = Literal["interaction", "product", "user", "forget_user", "remove_product", "remove_user"]
_KINDS: dict[type, Kind] = {
    Product: "product",
    User: "user",
    ForgetUser: "forget_user",
    RemoveProduct: "remove_product",
    RemoveUser: "remove_user",
}


def kind(record: Record) -> Kind:
    """Which of Miso's kinds of record this is."""
    return _KINDS.get(type(record), "interaction")
'''


def tag(schema: Schema) -> str:
    return str(schema["properties"]["type"]["enum"][0])


def interaction(name: str, schema: Schema) -> str:
    properties = {key: value for key, value in schema["properties"].items() if key != "type"}
    shape = {**schema, "properties": properties, "required": [key for key in schema["required"] if key != "type"]}
    return struct(name, shape, f', tag_field="type", tag="{tag(schema)}"', f"Miso's interaction ``{tag(schema)}``.")


def struct(name: str, schema: Schema, options: str = "", doc: str = "") -> str:
    if schema.get("additionalProperties") is not False:
        raise SystemExit(f"{name} is not closed any more: its struct would refuse what Miso accepts")
    required = schema.get("required", [])
    lines = [
        f"\nclass {name}(Record_, kw_only=True{options}):\n",
        f'    """{doc or f"Miso’s {name.lower()} record."}"""\n\n'.replace("’", "'"),
    ]
    for key, value in schema["properties"].items():
        kind = python_type(value, key)
        lines.append(f"    {key}: {kind}\n" if key in required else f"    {key}: {kind} | None = None\n")
    return "".join(lines) + "\n"


def typed_dict(name: str, schema: Schema) -> str:
    rows = "".join(f"    {key}: {python_type(value, key)}\n" for key, value in schema["properties"].items())
    required = schema.get("required", [])
    note = f" Required: {', '.join(required)}." if required else ""
    return f'\nclass {name}(TypedDict, total=False):\n    """An open object.{note}"""\n\n{rows}\n'


def python_type(schema: Schema, key: str = "") -> str:
    if key in ("custom_context", "custom_attributes"):
        return "dict[str, CustomValue]"
    if "$ref" in schema:
        name: str = schema["$ref"].rsplit("/", 1)[1]
        return RENAMED.get(name, name)
    if "allOf" in schema:
        return python_type(schema["allOf"][0])
    if "anyOf" in schema:
        return any_of(schema["anyOf"])
    match schema.get("type"):
        case "string":
            return text_type(schema)
        case "number":
            return "Number"
        case "integer":
            return "int"
        case "boolean":
            return "bool"
        case "array":
            return f"list[{python_type(schema['items'])}]"
        case "object":
            values = schema.get("additionalProperties")
            return f"dict[str, {python_type(values) if isinstance(values, dict) else 'Any'}]"
    raise SystemExit(f"no rule for {schema}")


def any_of(members: list[Schema]) -> str:
    if {member.get("format") for member in members} == {"date-time", "date"}:
        return "DateOrTime"
    return " | ".join(dict.fromkeys(python_type(member) for member in members))


def text_type(schema: Schema) -> str:
    if "enum" in schema:
        return f"Literal[{', '.join(json.dumps(value) for value in schema['enum'])}]"
    if schema.get("format") in ("date-time", "uri", "uuid"):
        return {"date-time": "DateTime", "uri": "Uri", "uuid": "Uuid"}[schema["format"]]
    limits = [
        f"{py}={schema[js]}" for py, js in (("min_length", "minLength"), ("max_length", "maxLength")) if js in schema
    ]
    return f"Annotated[str, Meta({', '.join(limits)})]" if limits else "str"


def stripped(schema: Any, inside_properties: bool = False) -> Any:
    """Without annotation keywords; a *property* of such a name stays."""
    if isinstance(schema, list):
        return [stripped(member) for member in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: stripped(value, inside_properties=key == "properties" and not inside_properties)
        for key, value in schema.items()
        if inside_properties or key not in ANNOTATIONS
    }


def sandbox_schema(document: Schema) -> str:
    """The schemas of what Miso takes, with the interactions by type, as JSON."""
    schemas = document["components"]["schemas"]
    names = interaction_names(document)
    wanted = reachable(schemas, [*names, "ProductRecord", "UserRecord"])
    definitions = {name: stripped(schemas[name]) for name in sorted(wanted)}
    text = json.dumps(
        {
            "version": document["info"]["version"],
            "interactions": {tag(schemas[name]): name for name in names},
            "product": "ProductRecord",
            "user": "UserRecord",
            "$defs": definitions,
        },
        indent=1,
        sort_keys=True,
    )
    return text.replace("#/components/schemas/", "#/$defs/") + "\n"


def reachable(schemas: Schema, start: list[str]) -> set[str]:
    found: set[str] = set()
    todo = list(start)
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += re.findall(r'"#/components/schemas/(\w+)"', json.dumps(schemas[name]))
    return found


if __name__ == "__main__":
    sys.exit(main())
