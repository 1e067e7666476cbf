"""What a connector's guide must hold: sections, and mapping tables that say what its samples show."""

from __future__ import annotations

import re
from collections.abc import Iterable

SECTIONS = {
    "how it is set up": r"\binstall|set.?up|connect|commands|\bstart",
    "its settings": r"settings",
    "what becomes of what": r"mapping|becomes|events|rules",
    "personal data": r"personal data|privacy",
}
"""Subject -> a word of its heading."""
HEADING = re.compile(r"^#{2,} +(.+)$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def missing_sections(text: str) -> list[str]:
    """The subjects that no heading below the title names."""
    headings = HEADING.findall(FENCE.sub("", text))
    return [
        subject
        for subject, word in SECTIONS.items()
        if not any(re.search(word, heading, re.IGNORECASE) for heading in headings)
    ]


def mentions_removal(text: str) -> bool:
    return any(re.search("uninstall|remov", heading, re.IGNORECASE) for heading in HEADING.findall(text))


def differences(text: str, made: dict[str, set[str]]) -> list[str]:
    """Where the tables of the guide and what the samples show are not the same; ``made``: topic -> what it becomes.

    A row is about a topic when one of its cells names it, alone or in a list. Where most rows of a table start
    with a topic, the others must as well.
    """
    rows = [row for table in _tables(text) for row in table]
    wrong = []
    for topic, kinds in made.items():
        own = [row for row in rows if _names(row, topic)]
        if not own:
            wrong.append(f"no row for {topic}")
            continue
        words = {word for row in own for cell in row for word in re.findall(r"\w+", cell)}
        wrong += [f"the row of {topic} does not say {kind}" for kind in sorted(kinds - words)]
    return [*wrong, *_gone(text, set(made))]


def _gone(text: str, topics: set[str]) -> Iterable[str]:
    """First cells that are no topic (any more)."""
    for table in _tables(text):
        firsts = [_items(row[0]) for row in table]
        known = [bool(items & topics) for items in firsts]
        if sum(known) > len(known) / 2:
            yield from (
                f"{', '.join(sorted(items))} is no topic" for items, ok in zip(firsts, known, strict=True) if not ok
            )


def _names(row: list[str], topic: str) -> bool:
    return any(topic in _items(cell) for cell in row)


def _items(cell: str) -> set[str]:
    return {item.strip(" `*") for item in cell.split(",")}


def _tables(text: str) -> list[list[list[str]]]:
    """The body rows of each table, as cells."""
    tables: list[list[list[str]]] = []
    inside = False
    for line in FENCE.sub("", text).splitlines():
        if not line.lstrip().startswith("|"):
            inside = False
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not inside:
            tables.append([])
            inside = True
        elif not re.fullmatch(r"[\s|:-]+", line):
            tables[-1].append(cells)
    return [table for table in tables if table]
