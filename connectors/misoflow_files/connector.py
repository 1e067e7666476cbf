"""Files and objects on a schedule: what is new or changed since the last run, Miso-shaped or mapped by rules."""

from __future__ import annotations

import asyncio
import hashlib
import json
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
    """The cursor: versions of files read to their end, and the row reached in one that is not."""

    files: dict[str, str] = {}
    path: str = ""
    version: str = ""
    row: int = 0


class Files(Connector[FilesConfig]):
    """Rows of files as interactions, products or users."""

    topics = ("interactions", "products", "users", UNREADABLE)
    streams = {"files": Stream(timedelta(days=1), poll=True)}  # noqa: RUF012 (read only)

    def backfill(self, part: Slice) -> Iterator[Page]:
        """Every file that is new or changed. One that is cut off or damaged does not hold up the others.

        Raises Retry at the end when one of them did not come whole.
        """
        done = msgspec.json.decode(part.cursor, type=Done) if part.cursor else Done()
        problems: list[str] = []
        for source in files.expand(self.config.paths):
            if done.files.get(source.path) == source.version:
                continue
            try:
                yield from self._file(source, done)
            except (Retry, Reject) as error:
                problems.append(error.reason)
        if problems:
            raise Retry("; ".join(problems[:3]))

    def _file(self, source: files.Source, done: Done) -> Iterator[Page]:
        same = (done.path, done.version) == (source.path, source.version)
        done.path, done.version, done.row = source.path, source.version, done.row if same else 0
        kind = None if self.config.format == "auto" else self.config.format
        texts = (kind or files.format_of(source.path)) in TEXTS
        found: list[Event] = []
        for block in files.read(source, kind, after=done.row):
            found += [self._event(source, row, texts) for row in block]
            done.row = block[-1].number
            if len(found) >= PAGE:
                yield Page(found, _cursor(done))
                found = []
        done.files[source.path] = source.version
        done.path, done.version, done.row = "", "", 0
        yield Page(found, _cursor(done))

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
        """Whether there is anything to read. Raises Halt, Reject or Retry with what is wrong."""
        await asyncio.to_thread(files.expand, self.config.paths)
        return []


def _made(fields: dict[str, Any]) -> Record:
    own = {key: values.tidied(key, value) for key, value in fields.items()}
    return INTERACTIONS[own.pop("type")](**own)


def _cursor(done: Done) -> str:
    return msgspec.json.encode(done).decode()


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
