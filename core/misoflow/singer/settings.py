"""The ``config.json`` of Singer: read, checked, and turned into the settings that the engine knows."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
from pydantic import Field, field_validator

from misoflow.config import RESERVED, Settings, from_tree, load
from misoflow.errors import ConfigError
from misoflow.registry import load_connector, look_in
from misoflow.sections import Section, section
from misoflow.singer.connector import Singer, SingerConfig, StreamMap

OWN, TAP = "singer", "tap"
"""The instance of a run that has no plugins.toml."""
TEMPLATES = (
    "templates are not run here: name what each stream is in `streams` (kind and fields), or write `rules`; "
    "without them records are taken as Miso-shaped"
)
Reference = str | dict[str, str]


class Shared(Section):
    """What both kinds of target settings have."""

    validate_records: bool = Field(default=True, description="Hold each record against its stream's schema.")
    dead_letters: Literal["fail", "report"] = Field(
        default="fail", description="Whether dead letters make the exit code 1, or are only reported."
    )
    patience_seconds: float = Field(default=900, gt=0, description="How long Miso may take nothing before it ends.")


class OfInstance(Shared):
    """Records go through an instance of plugins.toml, and through the running work, if there is one."""

    plugins_toml: str = Field(description="The settings file, relative to config.json.")
    instance: str = Field(description='Its instance with connector = "singer".')


class TargetConfig(Shared):
    """Everything in config.json; what is on its way lies in a folder of its own."""

    api_key: Reference = Field(description='Miso\'s secret API key, or {"env": "NAME"} or {"file": "/path"}.')
    api_server: str = Field(default="https://api.askmiso.com", description="Miso's API, or a sandbox's.")
    use_async: bool = Field(default=True, description="Of target-miso; uploads are always followed to their end.")
    template_folder: str | None = Field(default=None, description="Of target-miso; refused.")
    user_ids: Literal["plain", "hmac"] = Field(default="plain", description="Send user ids as they are, or hashed.")
    user_id_key: Reference | None = Field(default=None, description="The kept key of hashed user ids.")
    data: str = Field(default="misoflow-singer", description="Folder of the store, relative to where it is run.")
    key: Reference | None = Field(default=None, description="Key of the stored payloads; else a file is made.")
    streams: dict[str, str | StreamMap] = Field(default={}, description="What each stream is; see the guide.")
    rules: list[dict[str, Any]] = Field(default=[], description="Rules as in plugins.toml; match is a stream's name.")
    drop: list[str] = Field(default=[], description="Interaction types that are not sent.")
    dedup: int | None = Field(default=None, description="Days for which interactions are known again.")


class TapOptions(Section):
    """What a tap takes beside its connector's own settings."""

    start_date: date | datetime | None = Field(default=None, description="How far back; default 90 days.")
    end_date: date | datetime | None = Field(default=None, description="Up to where; default now.")
    pull: list[str] | None = Field(default=None, description="The connector's streams to read; default all of them.")
    data: str | None = Field(
        default=None, description="Folder that keeps parts of users and products between runs; default none is kept."
    )
    user_ids: Literal["plain", "hmac"] = Field(default="plain", description="Give user ids as they are, or hashed.")
    user_id_key: Reference | None = Field(default=None, description="The kept key of hashed user ids.")
    rules: list[dict[str, Any]] = Field(default=[], description="Rules as in plugins.toml.")
    drop: list[str] = Field(default=[], description="Interaction types that are not given.")
    hook: str | None = Field(default=None, description="Python hook, module:function.")
    backfill: dict[str, dict[str, Any]] = Field(
        default={}, description="By stream: from, to and lag, as in plugins.toml."
    )

    @field_validator("start_date", "end_date", mode="before")
    @classmethod
    def _date(cls, value: Any) -> Any:
        try:
            return None if value is None else datetime.fromisoformat(value)
        except (TypeError, ValueError):
            raise ValueError("must be a date such as 2026-09-01") from None


def read(path: Path) -> dict[str, Any]:
    """A JSON object from a file; ConfigError when it is none."""
    try:
        found = msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise ConfigError(str(path), f"is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ConfigError(str(path), "must be an object")
    return found


def target_settings(path: Path) -> tuple[Settings, str, Shared]:
    """The engine's settings, the instance's name, and the run's own. ConfigError says what is wrong."""
    tree = read(path)
    if "plugins_toml" in tree:
        chosen = section(OfInstance, tree, "")
        settings = load(path.parent / chosen.plugins_toml)
        name = chosen.instance
        if name in settings.broken:
            raise settings.broken[name]
        found = settings.instances.get(name)
        if found is None or not isinstance(found.config, SingerConfig):
            raise ConfigError("instance", f'{chosen.plugins_toml} has no instance {name!r} with connector = "singer"')
        return settings, name, chosen
    own = section(TargetConfig, tree, "")
    if own.template_folder is not None:
        raise ConfigError("template_folder", TEMPLATES)
    miso = {"api_key": own.api_key, "api_url": own.api_server, "user_ids": own.user_ids, "user_id_key": own.user_id_key}
    engine = {"data": str(Path.cwd() / own.data), "key": own.key}
    instance = {
        "connector": OWN,
        "streams": {name: _plain(one) for name, one in own.streams.items()},
        "rules": own.rules,
        "drop": own.drop,
        "dedup": own.dedup,
    }
    return engine_settings(path, miso, engine, OWN, instance), OWN, own


def tap_settings(connector: str, path: Path, tree: dict[str, Any], folder: Path) -> tuple[Settings, TapOptions]:
    """Settings of one instance of the connector, and the run's own. ConfigError says what is wrong."""
    look_in(path.parent)
    streams = load_connector(connector, "the connector").streams
    ours = section(TapOptions, {key: tree[key] for key in tree if key in TapOptions.model_fields}, "")
    dates = {"from": tree.get("start_date"), "to": tree.get("end_date")}
    # a connector whose streams follow from its settings has none here; its dates go into `backfill` by name
    backfill = {name: {**_given(dates), **ours.backfill.get(name, {})} for name in {*streams, *ours.backfill}}
    miso = {"api_key": "none", "user_ids": ours.user_ids, "user_id_key": ours.user_id_key}
    own = {key: value for key, value in tree.items() if key not in TapOptions.model_fields}
    for key in own:
        if key in RESERVED:
            raise ConfigError(key, "has no use in a tap")
    kept = {"rules": ours.rules, "drop": ours.drop, "hook": ours.hook, "backfill": backfill}
    return engine_settings(path, miso, {"data": str(folder)}, TAP, {"connector": connector, **own, **kept}), ours


def _plain(one: str | StreamMap) -> Any:
    return one if isinstance(one, str) else one.model_dump()


def engine_settings(
    path: Path, miso: dict[str, Any], engine: dict[str, Any], name: str, instance: dict[str, Any]
) -> Settings:
    """Settings of one instance; errors carry the key as it stands in config.json."""
    tables = {"miso": _given(miso), "engine": _given(engine), "instances": {name: _given(instance)}}
    try:
        return from_tree(tables, path, strict=True)
    except ConfigError as error:
        where = error.where
        for table in ("miso", "engine", f"instances.{name}"):
            where = where.removeprefix(table).removeprefix(".") if where.startswith(table) else where
        raise ConfigError(where.replace("api_url", "api_server"), error.problem) from None


def _given(table: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if value is not None}


def connector_of(settings: Settings, name: str) -> Singer:
    """The instance's connector, to ask what its streams are."""
    found = settings.instances[name]
    assert isinstance(found.config, SingerConfig)
    connector = Singer(found.config)
    connector.rules = found.rules
    return connector
