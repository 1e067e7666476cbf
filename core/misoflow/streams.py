"""``backfill.<stream>`` of an instance: how far back, how often, what is pulled again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

from pydantic import Field, field_validator

from misoflow.backfill.plan import to_ms
from misoflow.connector import Connector, Stream
from misoflow.errors import ConfigError
from misoflow.sections import Section, near, section

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
TIME = r"^([01]\d|2[0-3]):[0-5]\d$"
LONGEST = 3660 * 86_400


def duration(value: Any) -> timedelta:
    """``"90s"``, ``"15m"``, ``"6h"``, ``"5d"``, ``"1w"`` as a timedelta; ValueError otherwise."""
    if isinstance(value, timedelta):
        return value
    text = str(value).strip().lower()
    if not text[:-1].isdigit() or text[-1:] not in UNITS or int(text[:-1]) == 0:
        raise ValueError('must be a duration such as "15m", "6h" or "5d"')
    seconds = int(text[:-1]) * UNITS[text[-1]]
    if seconds > LONGEST:
        raise ValueError("must not be longer than ten years")
    return timedelta(seconds=seconds)


class StreamConfig(Section):
    """``backfill.<stream>`` of an instance."""

    start: date | datetime | None = Field(default=None, alias="from", description="How far back; default 90 days.")
    end: date | datetime | None = Field(default=None, alias="to", description="Up to where; default now.")
    every: timedelta | None = Field(default=None, description="Pull what is new this often.")
    at: str | None = Field(default=None, pattern=TIME, description="Or once a day, HH:MM UTC.")
    cron: str | None = Field(default=None, description="Or by a crontab expression, UTC.")
    lag: timedelta = Field(default=timedelta(0), description="Leave out what is younger: it may not be there yet.")
    repull: timedelta | None = Field(default=None, description="Pull the last … again for what came late.")
    repull_every: timedelta = Field(default=timedelta(days=1), description="How often that is done.")

    _durations = field_validator("every", "lag", "repull", "repull_every", mode="before")(
        lambda value: None if value is None else duration(value)
    )

    @field_validator("start", "end", mode="before")
    @classmethod
    def _date(cls, value: Any) -> Any:
        if value is None or isinstance(value, date):
            return value
        try:
            return datetime.fromisoformat(value)
        except (TypeError, ValueError):
            raise ValueError("must be a date such as 2026-09-01") from None

    @field_validator("at", mode="before")
    @classmethod
    def _time(cls, value: Any) -> Any:
        if value is not None and not (isinstance(value, str) and re.fullmatch(TIME, value)):
            raise ValueError('must be a time such as "02:30", in quotes; it is UTC')
        return value

    @field_validator("cron")
    @classmethod
    def _cron(cls, value: str | None) -> str | None:
        if value is not None:
            from misoflow.crontab import crontab

            crontab(value)
        return value


def stream_of(connector: Connector[Any], name: str) -> Stream:
    """A stream's shape; LookupError when the connector has none of that name."""
    found = connector.streams[name]
    return found if isinstance(found, Stream) else Stream(found)


def stream_configs(
    streams: Mapping[str, timedelta | Stream], backfill: Mapping[str, Any], where: str
) -> dict[str, StreamConfig]:
    """The table, checked against the connector's streams; ConfigError with its TOML path."""
    found = {}
    for name, table in backfill.items():
        if name not in streams:
            none = "; this connector has no history" if not streams else near(name, list(streams))
            raise ConfigError(f"{where}.{name}", f"no such stream{none}")
        found[name] = section(StreamConfig, table, f"{where}.{name}")
        if sum(value is not None for value in (found[name].every, found[name].at, found[name].cron)) > 1:
            raise ConfigError(f"{where}.{name}", "give one of every, at and cron")
        start, end = found[name].start, found[name].end
        if start is not None and end is not None and to_ms(start) >= to_ms(end):
            raise ConfigError(f"{where}.{name}", "from must be before to")
    return found
