"""The documentation as a site, built as `make docs` builds it: whole, without a warning, and asking nobody else."""

from __future__ import annotations

import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.real.conftest import ROOT, missing

pytestmark = pytest.mark.real

LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src"}
LOADED |= {"embed": "src", "object": "data", "form": "action"}
NOT_LOADED = {"next", "prev", "canonical", "edit", "author", "license"}
CSS_LOADS = re.compile(r"(?:@import\s+|url\(\s*)['\"]?(?!data:|#|url\()([^)'\";\s]+)")


class Page(HTMLParser):
    """What a page loads, where it leads, and the anchors that it has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.navigation: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
            self.navigation += [given["href"]] if "md-nav__link" in given.get("class", "") else []
        if tag in LOADED and LOADED[tag] in given:
            self.loads.append(given[LOADED[tag]])
        if tag == "link" and not set(given.get("rel", "").split()) <= NOT_LOADED:
            self.loads.append(given.get("href", ""))
        self.loads += [found for found in CSS_LOADS.findall(given.get("style", "")) if found]


def make(target: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", target], cwd=ROOT, capture_output=True, text=True)


@pytest.fixture(scope="session")
def site() -> Path:
    """The built site's folder."""
    installed = make(".venv-docs/.ready")
    if installed.returncode:
        missing(f"the packages of the site cannot be installed: {installed.stderr[-1000:]}")
    built = make("docs")
    assert built.returncode == 0, built.stdout + built.stderr
    return ROOT / "site"


@pytest.fixture(scope="session")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(site.rglob("*.html"))}


def test_every_document_is_a_page_of_the_navigation(site: Path, pages: dict[Path, Page]) -> None:
    documents = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    assert len(documents) > 8
    home = site / "index.html"
    shown = {(home.parent / unquote(urlsplit(link).path)).resolve() for link in pages[home].navigation}
    assert sorted(str(one) for one in documents | {Path("changelog.html")} if site / one not in shown) == []


def local(url: str) -> bool:
    parts = urlsplit(url)
    return not (parts.scheme or parts.netloc)


def test_nothing_is_loaded_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    foreign = {f"{path.name}: {url}" for path, page in pages.items() for url in page.loads if not local(url)}
    for sheet in site.rglob("*.css"):
        foreign |= {f"{sheet.name}: {url}" for url in CSS_LOADS.findall(sheet.read_text("utf-8")) if not local(url)}
    assert foreign == set()
    assert sum(len(page.loads) for page in pages.values()) > 50


def test_every_link_leads_to_a_file_and_an_anchor_that_are_there(site: Path, pages: dict[Path, Page]) -> None:
    broken = []
    for path, page in pages.items():
        if path.name == "404.html":  # its links begin at the root of wherever the site stands
            continue
        for link in filter(local, [*page.links, *page.loads]):
            file, anchor = urlsplit(link).path, unquote(urlsplit(link).fragment)
            target = (path.parent / unquote(file)).resolve() if file else path
            target = target / "index.html" if target.is_dir() else target
            lost = anchor and target in pages and anchor not in pages[target].anchors
            broken += [f"{path.relative_to(site)}: {link}"] if not target.is_file() or lost else []
    assert broken == []


def test_the_sites_markdown_reads_pages_as_the_repository_does(site: Path) -> None:
    """Lists go on after a block of code, and a bar inside of a table's code is no backslash and bar."""
    numbered = 0
    for path in (ROOT / "docs").rglob("*.md"):
        plain = re.sub(r"^ *(```+).*?^ *\1$", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
        page = (site / path.relative_to(ROOT / "docs").with_suffix(".html")).read_text("utf-8")
        assert page.count("<ol>") == len(re.findall(r"^1\. ", plain, re.MULTILINE)), path
        assert [cell for cell in re.findall(r"<td>.*?</td>", page, re.DOTALL) if "\\|" in cell] == []
        numbered += page.count("<ol>")
    assert numbered > 1


def test_a_file_outside_of_the_documents_is_a_page(site: Path, pages: dict[Path, Page]) -> None:
    assert "repository/index.html" in pages[site / "index.html"].links
    assert "<code>" in (site / "repository/connectors/misoflow_files/connector.py.html").read_text("utf-8")


def test_no_page_names_this_machine(site: Path) -> None:
    text = "\n".join(path.read_text("utf-8") for path in site.rglob("*.html"))
    assert str(ROOT) not in text
