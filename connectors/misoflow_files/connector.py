"""Files and objects on a schedule: what is new or changed since the last run, Miso-shaped or mapped by rules."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any, Literal

import msgspec
from misoflow import (
    INTERACTIONS,
    Config,
    Connector,
    Effect,
    Event,
    Page,
    Problem,
    Record,
    Reject,
    Retry,
    Skip,
    Slice,
    Stream,
    files,
    values,
)
from pydantic import Field

PAGE = 2000
MOST_PROBLEMS = 3
"""Named in one message."""
UNREADABLE = "unreadable"
TEXTS = ("csv",)


class FilesConfig(Config):
    """Settings for one set of files."""

    paths: tuple[str, ...] = Field(
        min_length=1,
        description="Files, folders, globs or object stores.",
        examples=[["/data/orders/*.jsonl.gz", "s3://bucket/events/"]],
    )
    kind: Literal["interactions", "products", "users"] = Field(
        default="interactions", description="What the rows are, where no rule maps them."
    )
    format: Literal["auto", "jsonl", "json", "csv", "parquet"] = Field(
        default="auto", description="Format of the files; auto goes by their names."
    )
    event_field: str = Field(default="event", description="Column with the name that rules match.")
    id_field: str = Field(
        default="", description="Column that tells rows apart; without one, equal rows are one event."
    )
    unmapped: Literal["record", "drop"] = Field(
        default="record", description="Rows that no rule maps: take them as Miso records, or leave them out."
    )


class Done(msgspec.Struct, omit_defaults=True):
    """The cursor: files that were read to their end as they are, and the row reached in one that was not."""

    files: set[str] = set()
    file: str = ""
    row: int = 0


class Files(Connector[FilesConfig]):
    """Rows of files as interactions, products or users."""

    topics = ("interactions", "products", "users", UNREADABLE)
    dedup_days = 400
    """A file that is appended to is read from its start at each change; its old rows must still be known then."""
    streams = {"files": Stream(timedelta(days=1), poll=True)}  # noqa: RUF012 (read only)

    def backfill(self, part: Slice) -> Iterator[Page]:
        """Every file that is new or changed. One that is cut off or damaged does not hold up the others.

        Raises Retry at the end when one of them did not come whole, or a path that is no folder has no file.
        """
        done = msgspec.json.decode(part.cursor, type=Done) if part.cursor else Done()
        sources, problems = self._listed()
        versions = {_version(source): source for source in sources}
        done.files &= versions.keys()
        found: list[Event] = []
        for version, source in versions.items():
            if version in done.files:
                continue
            try:
                for events in self._file(source, version, done):
                    found += events
                    if len(found) >= PAGE:
                        yield Page(found, _cursor(done))
                        found = []
            except (Retry, Reject) as error:
                problems.append(error.reason)
        yield Page(found, _cursor(done))
        if problems:
            raise Retry("; ".join(problems[:MOST_PROBLEMS]))

    def _listed(self) -> tuple[list[files.Source], list[str]]:
        """The files, by path, and what is wrong with the paths; a folder or a glob may be empty."""
        found: dict[str, files.Source] = {}
        problems = []
        for path in self.config.paths:
            try:
                found |= {source.path: source for source in files.expand([path])}
            except Reject as error:
                if not (path.endswith("/") or any(sign in path for sign in "*?[") or os.path.isdir(path)):
                    problems.append(error.reason)
        return [found[path] for path in sorted(found)], problems

    def _file(self, source: files.Source, version: str, done: Done) -> Iterator[list[Event]]:
        """A block's events at a time; ``done`` says up to where."""
        done.file, done.row = version, done.row if done.file == version else 0
        kind = None if self.config.format == "auto" else self.config.format
        texts = (kind or files.format_of(source.path)) in TEXTS
        for block in files.read(source, kind, after=done.row):
            done.row = block[-1].number
            yield [self._event(source, row, texts) for row in block]
        done.files.add(version)
        done.file, done.row = "", 0

    def _event(self, source: files.Source, row: files.Row | files.BadRow, texts: bool) -> Event:
        """An interaction is known by what it says; a product or user by where it stands, as it may change back."""
        value = files.parsed(row)
        if isinstance(value, files.BadRow):
            where = {"file": source.name, "line": value.number, "reason": value.reason}
            return Event(_digest(json.dumps(where).encode()), UNREADABLE, where)
        kind = self.config.kind
        data = {"row": value, "file": source.name, "line": row.number, "texts": texts}
        own = value.get(self.config.id_field) if self.config.id_field else None
        if kind != "interactions":
            key = f"{source.path}\0{source.version}\0{row.number}".encode()
        elif own not in (None, ""):
            key = str(own).encode()
        else:
            key = msgspec.json.encode(value, order="deterministic")
        return Event(_digest(kind.encode() + b"\0" + key), kind, data)

    def translate(self, event: Event) -> Iterable[Record | Effect]:
        """The first rule that matches the row, else the row itself as a record."""
        data = event.data
        where = f"{data['file']}:{data['line']}"
        if event.topic == UNREADABLE:
            raise Reject(data["reason"], where)
        row: dict[str, Any] = data["row"]
        try:
            if len(self.rules):
                name = str(row.get(self.config.event_field) or row.get("type") or "")
                made = self.rules.apply(name, row)
                if made is not None:
                    return [_made(fields) for fields in made] or [Skip("a rule of this instance drops it")]
                if self.config.unmapped == "drop":
                    return [Skip("unmapped: no rule knows this row")]
            raw = files.Row(data["line"], msgspec.json.encode(row))
            return [files.record_of(raw, self.config.kind, texts=data["texts"])]
        except Reject as error:
            raise Reject(error.reason, f"{where} {error.path}") from None

    async def check(self) -> list[Problem]:
        """Whether the paths lead to files that can be read. Raises Halt or Retry when a store says why not."""
        sources, problems = await asyncio.to_thread(self._listed)
        found = [Problem("fail", problem, "correct `paths`") for problem in problems]
        if self.config.format == "auto":
            nameless = [source.name for source in sources if files.format_of(source.path) is None]
            fix = "set `format`, or name only such files in `paths`"
            found += [Problem("fail", f"{name}: its name does not say which format it has", fix) for name in nameless]
        if not sources and not problems:
            found.append(Problem("warn", "there are no files yet", "correct `paths` if there should be some"))
        return found[:MOST_PROBLEMS]


def _made(fields: dict[str, Any]) -> Record:
    own = {key: values.tidied(key, value) for key, value in fields.items()}
    return INTERACTIONS[own.pop("type")](**own)


def _version(source: files.Source) -> str:
    """Stands for a file with this content in the cursor."""
    return hashlib.blake2b(f"{source.path}\0{source.version}".encode(), digest_size=12).hexdigest()


def _cursor(done: Done) -> str:
    return msgspec.json.encode(done).decode()


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
