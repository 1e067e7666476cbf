"""Hooks of the documentation site (mkdocs.yml): links of the repository's pages work there too.

In the repository a page may link to any file. On the site every such file outside of docs/ gets a page of its own:
Markdown as it is, everything else as code.
"""

from __future__ import annotations

import logging
import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
CHANGELOG = ROOT / "CHANGELOG.md"
BLOCKS = re.compile(r"(^ *```.*?^ *```|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(\[[^\]]+\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
PIPED = re.compile(r"`([^`\n]*\\\|[^`\n]*)`")
INSIDE = re.compile(r" {1,3}(?=\S)")
ITEM = re.compile(r" *(?:[-*]|\d+\.) ")
LANGUAGES = {".py": "python", ".toml": "toml", ".sh": "sh", ".yml": "yaml", ".yaml": "yaml", ".json": "json"}
log = logging.getLogger("mkdocs.hooks.site")

Replace = Callable[[re.Match[str]], str]


def on_files(files: Files, config: Any) -> Files:
    """Add the changelog, and a page for each file outside of docs/ that a page links to, however indirectly."""
    files.append(File.generated(config, "changelog.md", content=CHANGELOG.read_text("utf-8")))
    waiting = [CHANGELOG, *(Path(str(file.abs_src_path)) for file in files.documentation_pages() if file.abs_src_path)]
    seen = {CHANGELOG}
    while waiting:
        for target in linked(waiting.pop()) - seen:
            seen.add(target)
            waiting += [target] if target.suffix == ".md" else []
            page = File.generated(config, uri_of(target), content=shown(target), inclusion=InclusionLevel.NOT_IN_NAV)
            files.append(page)
    return files


def linked(page: Path) -> set[Path]:
    """The files outside of docs/ that this page links to."""
    found: set[Path] = set()

    def note(link: re.Match[str]) -> str:
        target = target_of(page, link[2])
        if target is not None and not target.is_relative_to(DOCS):
            found.add(target)
        return link[0]

    replaced(page.read_text("utf-8"), note)
    return found


def target_of(page: Path, link: str) -> Path | None:
    """The repository's file that a link leads to, of a folder its README; None for elsewhere and nowhere.

    MkDocs itself says where a link leads nowhere.
    """
    if re.match(r"[a-z]+:|/", link):
        return None
    target = (page.parent / link).resolve()
    target = target / "README.md" if (target / "README.md").is_file() else target
    if target.is_dir():
        log.warning("%s links to the folder %s: link to a file in it", page.relative_to(ROOT), link)
    return target if target.is_file() and target.is_relative_to(ROOT) else None


def replaced(markdown: str, replace: Replace) -> str:
    """The text with its links replaced, code left as it is."""
    parts = BLOCKS.split(markdown)
    return "".join(part if index % 2 else LINK.sub(replace, part) for index, part in enumerate(parts))


def uri_of(path: Path) -> str:
    """Where a file of the repository stands on the site, as a source."""
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    if path == CHANGELOG:
        return "changelog.md"
    inside = path.relative_to(ROOT).as_posix()
    return f"repository/{inside}" if path.suffix == ".md" else f"repository/{inside}.md"


def path_of(uri: str) -> Path:
    """The file that stands there: the reverse of ``uri_of``."""
    if uri == "changelog.md":
        return CHANGELOG
    if not uri.startswith("repository/"):
        return DOCS / uri
    path = ROOT / uri.removeprefix("repository/")
    return path if path.is_file() else path.with_suffix("")


def shown(path: Path) -> str:
    """A file of the repository as a page."""
    text = path.read_text("utf-8")
    if path.suffix == ".md":
        return text
    fence = "`" * 8
    head = "---\nsearch:\n  exclude: true\nhide: [toc]\n---\n"
    name = path.relative_to(ROOT).as_posix()
    return f"{head}# {name}\n\n{fence}{LANGUAGES.get(path.suffix, 'text')}\n{text.rstrip()}\n{fence}\n"


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Lead the links to where the files stand on the site."""
    if page.file.src_uri == "index.md":
        page.meta["hide"] = ["navigation", "toc"]  # not in the file, where the repository would show it
    source = path_of(page.file.src_uri)
    folder = posixpath.dirname(page.file.src_uri)

    def lead(link: re.Match[str]) -> str:
        target = target_of(source, link[2])
        if target is None:
            return link[0]
        anchor = link[3] if target.suffix == ".md" else ")"  # lines have none here
        return link[1] + posixpath.relpath(uri_of(target), folder) + anchor

    return as_python_markdown(replaced(markdown, lead))


def as_python_markdown(markdown: str) -> str:
    """What the repository's Markdown has in other forms: blocks in lists by four blanks, bars in the code of tables."""
    lines: list[str] = []
    fence = indent = ""
    for line in markdown.splitlines():
        inside = INSIDE.match(line)
        if fence:
            lines.append(indent + line)
            fence = "" if line.strip() == fence else fence
        elif line.lstrip().startswith("```"):
            indent = " " * (4 - len(inside[0])) if inside else ""
            fence = "`" * (len(line.lstrip()) - len(line.lstrip().lstrip("`")))
            lines.append(indent + line)
        elif inside and (ITEM.match(line) or not lines[-1].strip()):
            lines.append("    " + line.lstrip())
        else:
            lines.append(PIPED.sub(piped, line) if line.startswith("|") else line)
    return "\n".join(lines)


def piped(code: re.Match[str]) -> str:
    text = code[1].replace("\\|", "|")
    return "<code>" + "".join(one if one.isalnum() else f"&#{ord(one)};" for one in text) + "</code>"
