"""Writes docs/authors/reference.md from the signatures and docstrings of the names that a connector may import.

python -m tools.generate_reference

The sources are read, not run: a signature then looks as it was written, and the text below a field is its docstring.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import misoflow

from tools.reference_records import records_section

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "authors" / "reference.md"
HEAD = """\
# Reference

Every name that a connector may import from `misoflow`, with its signature and what it promises. The
[guide](index.md) says when to use which. This page is written from the code by `python -m tools.generate_reference`.
"""
# heading → what it says, and the names below it: a public one, or module:name of what an author is handed
SECTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "The connector": ("What you subclass.", ("Connector", "Config")),
    "What goes in and comes out": (
        "Plain values; the engine makes deliveries and slices, you make events and pages.",
        ("Request", "Event", "Slice", "Page", "Stream", "Route", "Problem", "Fate"),
    ),
    "What a connector is handed": (
        "Not imported but found at `self`: `self.http`, `self.budget`, `self.state` and `self.rules`. None of them "
        "may be used in `events` and `translate`, but for `self.rules`.",
        ("http:Http", "http:Response", "budget:Budget", "state:State", "rules:Rules"),
    ),
    "Effects": (
        "What `translate` may yield beside a record.",
        (
            *("once", "latest", "merge", "Listing", "Group", "Absent", "known", "Fetch", "Pull"),
            *("aliased", "Alias", "LateId", "Disconnect", "Erase", "Skip", "Effect"),
        ),
    ),
    "Errors": (
        "[Errors](errors.md) says what the engine does with each.",
        ("Unauthorized", "Unwanted", "Reject", "Retry", "Halt", "ConfigError", "MisoflowError"),
    ),
    "Installs": (
        "For apps that are installed by a click at the platform: a connector subclasses `Installable` too.",
        ("Installable", "Visit", "Reply", "Cookie", "Installed"),
    ),
    "Signatures": (
        "For `verify`; all compare in constant time.",
        ("check_hmac", "check_standard_webhook", "sign_hmac"),
    ),
    "Suggestions": ("For platforms whose events have names that people choose.", ("Suggestion", "suggest:Suggests")),
}
HANDED = ("Http", "Rules")
"""Made by the engine, so nobody needs to see how."""
ENGINES = {("Http", "close")}
"""Methods of what an author is handed that are the engine's to call."""
MODULES = ("files", "privacy", "values")


@cache
def tree_of(module: str) -> ast.Module:
    path = ROOT / "core" / Path(*module.split("."))
    return ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text("utf-8"))


def home_of(name: str) -> tuple[str, str]:
    """(module, name) of a public name, or of one written ``module:name``."""
    module, colon, own = name.partition(":")
    return (f"misoflow.{module}", own) if colon else (f"misoflow.{misoflow._HOME_OF[name]}", name)


def definition(module: str, name: str) -> ast.stmt:
    """Where the module says what the name is; LookupError when it does not."""
    for node in tree_of(module).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            return node
        if isinstance(node, ast.Assign | ast.AnnAssign) and name in assigned(node):
            return node
    raise LookupError(f"{module} does not define {name}")


def assigned(node: ast.Assign | ast.AnnAssign) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def page() -> str:
    """The whole reference as Markdown."""
    parts = [HEAD]
    for heading, (text, names) in SECTIONS.items():
        parts += [f"## {heading}\n\n{text}\n", *(entry(*home_of(name), "###") for name in names)]
    parts.append(records_section())
    parts += [module_section(name) for name in MODULES]
    return "\n".join(parts)


def entry(module: str, name: str, level: str, title: str = "") -> str:
    """One name: heading, signature, docstring, and the members of a class."""
    node = definition(module, name)
    head = f"{level} {title or name}\n"
    if isinstance(node, ast.ClassDef):
        return "\n".join([head, class_entry(module, node, level, title or name)])
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return "\n".join([head, code(signature(node)), *aliases(module, node), prose(node)])
    return "\n".join([head, code(written(node))])


def class_entry(module: str, node: ast.ClassDef, level: str, title: str) -> str:
    parts = [code(shown_class(node)), prose(node)]
    # what a constructor's line shows needs no row
    rows = [field_row(*field) for field in fields(node) if not is_made_with(node) or field[3]]
    if rows:
        parts.append("\n".join(["| field | type | |", "|---|---|---|", *rows]) + "\n")
    for method in methods(node):
        parts += [f"{level}# {title}.{method.name}\n", code(signature(method)), *aliases(module, method), prose(method)]
    return "\n".join(parts)


def shown_class(node: ast.ClassDef) -> str:
    """The class line, or how one is made where it has a constructor with arguments."""
    init = next((one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"), None)
    if init is not None and node.name not in HANDED:
        return signature(init, node.name)
    own = [written(base) for base in node.bases]
    made = [field for field in fields(node) if is_made_with(node)]
    if made:
        texts = [f"{name}: {kind}" + (f" = {default}" if default else "") for name, kind, default, _ in made]
        return wrapped(f"class {node.name}", texts, "")
    return f"class {node.name}({', '.join(own)})" if own else f"class {node.name}"


def is_made_with(node: ast.ClassDef) -> bool:
    """Whether the fields are the constructor's arguments: dataclasses and structs."""
    bases = {written(base) for base in node.bases}
    return bool(bases & {"Struct", "msgspec.Struct", "NamedTuple"}) or any(
        "dataclass" in written(one) for one in node.decorator_list
    )


def fields(node: ast.ClassDef) -> Iterator[tuple[str, str, str, str]]:
    """(name, type, default, docstring) of each public annotated field."""
    for at, one in enumerate(node.body):
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and one.target.id[0] != "_":
            default = written(one.value) if one.value is not None else ""
            default = "{}" if "default_factory=dict" in default else default
            yield one.target.id, written(one.annotation), default, text_at(node.body, at + 1)


def text_at(body: list[ast.stmt], at: int) -> str:
    """The text that stands there as a statement of its own, or ""."""
    found = body[at] if at < len(body) else None
    is_text = isinstance(found, ast.Expr) and isinstance(found.value, ast.Constant)
    return inspect.cleandoc(str(found.value.value)) if is_text else ""  # type: ignore[union-attr]


def field_row(name: str, kind: str, default: str, text: str) -> str:
    shown = f"{text} Default: `{default}`." if default else text
    cells = (f"`{name}`", f"`{kind}`", " ".join(plain(shown).split()))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def methods(node: ast.ClassDef) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for one in node.body:
        if not isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if one.name[0] != "_" and (node.name, one.name) not in ENGINES:
            yield one


def signature(node: ast.FunctionDef | ast.AsyncFunctionDef, name: str = "") -> str:
    """As it was written; long ones with an argument a line. ``name`` is the class whose constructor it is."""
    word = "async def " if isinstance(node, ast.AsyncFunctionDef) else "def "
    given = node.args.posonlyargs + node.args.args
    without = [None] * (len(given) - len(node.args.defaults))
    texts = [argument(one, default) for one, default in zip(given, [*without, *node.args.defaults], strict=True)]
    if name:
        texts = texts[1:]
    if node.args.vararg or node.args.kwonlyargs:
        texts.append(f"*{argument(node.args.vararg) if node.args.vararg else ''}")
    texts += [argument(one, default) for one, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)]
    texts += [f"**{argument(node.args.kwarg)}"] if node.args.kwarg else []
    kept = [written(one) for one in node.decorator_list if written(one) in ("classmethod", "property")]
    decorated = "".join(f"@{one}\n" for one in kept)
    returns = f" -> {written(node.returns)}" if node.returns and not name else ""
    return decorated + wrapped(f"class {name}" if name else word + node.name, texts, returns)


def argument(node: ast.arg, default: ast.expr | None = None) -> str:
    kind = f": {written(node.annotation)}" if node.annotation else ""
    equals = " = " if kind else "="
    return node.arg + kind + (equals + written(default) if default is not None else "")


def wrapped(head: str, texts: list[str], returns: str) -> str:
    line = f"{head}({', '.join(texts)}){returns}"
    return line if len(line) <= 90 else f"{head}(\n" + "".join(f"    {text},\n" for text in texts) + f"){returns}"


def aliases(module: str, node: ast.AST) -> Iterator[str]:
    """What short names of types in a signature stand for."""
    used = {one.id for one in ast.walk(node) if isinstance(one, ast.Name)} if isinstance(node, ast.AST) else set()
    annotations = written(node.args) + written(node.returns or ast.Constant(None))  # type: ignore[attr-defined]
    for one in tree_of(module).body:
        if isinstance(one, ast.Assign) and (names := assigned(one)) and names[0] in used:
            meaning = written(one.value)
            if names[0] in re.findall(r"\w+", annotations) and re.search(r"Literal|\||dict\[|Callable", meaning):
                yield f"`{names[0]}` is `{meaning}`.\n"


def written(node: ast.AST) -> str:
    """The code as we write it, with double quotes."""
    return re.sub(r"'([^'\"\\]*)'", r'"\1"', ast.unparse(node))


def prose(node: Any) -> str:
    return plain(ast.get_docstring(node) or "") + "\n"


def plain(text: str) -> str:
    """A docstring as Markdown."""
    return re.sub(r"``(.+?)``", r"`\1`", text)


def code(text: str) -> str:
    return f"```python\n{text}\n```\n"


def public_in(module: str) -> list[tuple[str, str]]:
    """(home, name) of each public function and class of a helper module, as it lists or defines them."""
    tree = tree_of(f"misoflow.{module}")
    imported = {
        alias.name: node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    listed = getattr(getattr(misoflow, module), "__all__", None)
    if listed is not None:
        return [(imported[name], name) for name in sorted(listed, key=str.lower)]
    found = [one for one in tree.body if isinstance(one, ast.FunctionDef | ast.ClassDef) and one.name[0] != "_"]
    return [(f"misoflow.{module}", one.name) for one in found]


def constants_in(module: str) -> Iterator[str]:
    """A row for each public constant that a helper module defines."""
    body = tree_of(f"misoflow.{module}").body
    for at, node in enumerate(body):
        if isinstance(node, ast.Assign) and (name := assigned(node)[0]).isupper() and name[0] != "_":
            value = getattr(getattr(misoflow, module), name)
            shown = (
                f"`{value}`" if isinstance(value, int | str) else "a pattern" if isinstance(value, re.Pattern) else ""
            )
            if isinstance(value, frozenset):
                shown = ", ".join(f"`{one}`" for one in sorted(value))
            yield f"| `{module}.{name}` | {shown} | {' '.join(plain(text_at(body, at + 1)).split())} |"


def module_section(module: str) -> str:
    parts = [f"## misoflow.{module}\n", prose(tree_of(f"misoflow.{module}"))]
    if rows := list(constants_in(module)):
        parts.append("\n".join(["| constant | value | |", "|---|---|---|", *rows]) + "\n")
    parts += [entry(home, name, "###", f"{module}.{name}") for home, name in public_in(module)]
    return "\n".join(parts)


def main() -> None:
    PAGE.write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
