"""Which page is which: the configured templates of paths and names, prepared once."""

from __future__ import annotations

from typing import NamedTuple

from misoflow import values

from misoflow_segment.config import PageRule, SegmentConfig

HOME_NAMES = frozenset({"home", "homepage"})


class Match(NamedTuple):
    """A page that a rule knows, and what its path gave."""

    rule: PageRule
    captured: dict[str, list[str]]


class PageTable:
    """Home pages and page rules of one instance."""

    def __init__(self, config: SegmentConfig) -> None:
        self._home = frozenset(_trimmed(path) for path in config.home_paths)
        self._rules = [(rule, rule.path.strip("/").split("/"), values.key_of(rule.name)) for rule in config.pages]

    def is_home(self, path: str, name: str, title: str) -> bool:
        if path and _trimmed(path) in self._home:
            return True
        return values.key_of(name) in HOME_NAMES or values.key_of(title) in HOME_NAMES

    def match(self, path: str, name: str) -> Match | None:
        """The first rule whose conditions all hold."""
        for rule, template, wanted in self._rules:
            if wanted and values.key_of(name) != wanted:
                continue
            captured = _captured(template, path.strip("/").split("/")) if rule.path else {}
            if captured is not None:
                return Match(rule, captured)
        return None


def _captured(template: list[str], parts: list[str]) -> dict[str, list[str]] | None:
    """What the template's fields stand for, or None where the path does not fit."""
    captured: dict[str, list[str]] = {}
    for index, wanted in enumerate(template):
        if wanted.endswith("...}"):
            rest = [part for part in parts[index:] if part]
            return captured | {wanted[1:-4]: rest} if rest else None
        if index >= len(parts):
            return None
        if wanted.startswith("{"):
            if not parts[index]:
                return None
            captured[wanted[1:-1]] = [parts[index]]
        elif wanted not in ("*", parts[index]):
            return None
    return captured if len(parts) == len(template) else None


def _trimmed(path: str) -> str:
    return "/" + path.strip("/").lower()
