"""plugins.toml: read, references resolved, every value checked, every error with its TOML path.

[miso] / [miso.NAME]     where records go
[engine]                 the two processes and their files
[instances.NAME]         one connector with its settings; the keys of ``RESERVED`` are the engine's own
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator

from misoflow.connector import Config
from misoflow.contain import Interrupts
from misoflow.errors import ConfigError
from misoflow.records import INTERACTIONS
from misoflow.references import is_reference, resolve
from misoflow.registry import REPORT, config_type, fault, load_connector, load_hook, look_in, make
from misoflow.rules import Rules
from misoflow.sections import Section, near, section
from misoflow.streams import StreamConfig, stream_configs

RESERVED = ("connector", "miso", "backfill", "rules", "drop", "dedup", "limits", "origins", "hook")
DEFAULT = "default"
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def checked_url(url: str) -> str:
    """https, or http to this machine only, without credentials, query or a slash at the end."""
    parts = urlsplit(url)
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("its port is no number up to 65535") from None
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError("must be an https:// URL")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise ValueError("must be https://; plain http is for this machine only")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must not hold credentials, a query or a fragment")
    return url.rstrip("/")


class MisoConfig(Section):
    """One Miso environment."""

    name: str = Field(default=DEFAULT, exclude=True, description="Set from the table's name.")
    api_key: SecretStr = Field(description="The environment's secret API key.")
    api_url: str = Field(default="https://api.askmiso.com", description="Miso's API, or a sandbox's.")
    user_ids: Literal["plain", "hmac"] = Field(
        default="plain", description="Send user ids as they are, or as HMAC-SHA256 with user_id_key."
    )
    user_id_key: SecretStr | None = Field(
        default=None, description="Kept key for hashed user ids; a lost one cannot honour deletions."
    )

    _url = field_validator("api_url")(checked_url)

    @model_validator(mode="after")
    def _key_for_hmac(self) -> MisoConfig:
        if self.user_ids == "hmac" and (self.user_id_key is None or len(self.user_id_key.get_secret_value()) < 16):
            raise ValueError('user_ids = "hmac" needs a user_id_key of at least 16 characters')
        return self


class EngineConfig(Section):
    """The processes and their files."""

    data: str = Field(default="var", description="Folder of the stores, relative to plugins.toml.")
    public_url: str | None = Field(default=None, description="How platforms reach the receiver.")
    trusted_proxies: tuple[str, ...] = Field(
        default=(), description="Networks of your own proxies; only they are believed about X-Forwarded-For."
    )
    host: str = Field(default="127.0.0.1", description="Address of the public listener.")
    port: int = Field(default=8400, ge=0, le=65535, description="Port of the public listener; 0: a free one.")
    admin_port: int = Field(default=8401, ge=0, le=65535, description="Port of the admin listener, on loopback.")
    key: SecretStr | None = Field(default=None, description="Key of the stored payloads; else a file is made.")
    old_key: SecretStr | None = Field(default=None, description="The key before, while rotating.")
    inbox_max_bytes: int = Field(default=10 * 2**30, ge=2**20, description="Above it deliveries get 503.")
    retention_days: int = Field(default=7, ge=1, description="Raw deliveries and batches, after delivery.")
    dead_days: int = Field(default=30, ge=1, description="Dead letters.")
    linger_ms: int = Field(default=500, ge=0, le=60_000, description="How long a batch waits for more records.")
    drain_seconds: int = Field(default=20, ge=1, le=300, description="How long a stop waits for answers.")
    watchdog_seconds: int = Field(default=30, ge=5, description="A worker without progress is ended.")
    log_format: Literal["auto", "json", "console"] = Field(default="auto", description="Form of the logs.")

    @field_validator("public_url")
    @classmethod
    def _public(cls, value: str | None) -> str | None:
        return None if value is None else checked_url(value)

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            try:
                ip_network(one)
            except ValueError:
                raise ValueError("each must be an address or a network, such as 10.0.0.0/8") from None
        return value


class Limits(Section):
    """Bounds of one instance."""

    per_second: float | None = Field(default=None, gt=0, description="Deliveries a second; more get 429.")


class Common(Section):
    """What the engine itself takes from an instance's table."""

    connector: str = Field(description="Name of an installed connector, or module:Class.")
    miso: str = Field(default=DEFAULT, description="Which Miso environment its records go to.")
    drop: list[Literal[tuple(INTERACTIONS)]] = Field(  # type: ignore[valid-type]
        default=[], description="Interaction types that are not sent."
    )
    dedup: int | None = Field(default=None, ge=1, le=400, description="Days for which event ids are remembered.")
    limits: Limits = Field(default=Limits(), description="Bounds of this instance.")
    origins: list[str] = Field(default=[], description="Web origins that may call its browser routes.")
    hook: str | None = Field(default=None, pattern=r"^[\w.]+:\w+$", description="Python hook, module:function.")
    backfill: dict[str, Any] = Field(default={}, description="History by stream.")


@dataclass(frozen=True, slots=True)
class InstanceConfig:
    """One instance as configured; ``config`` is the connector's own settings."""

    name: str
    connector: str
    config: Config
    miso: str
    rules: Rules
    drop: tuple[str, ...]
    dedup_days: int | None
    limits: Limits
    origins: tuple[str, ...]
    hook: str | None
    backfill: dict[str, StreamConfig]


@dataclass(frozen=True, slots=True)
class Settings:
    """plugins.toml as a whole. ``broken`` instances cannot start; their deliveries get 503."""

    path: Path
    data: Path
    engine: EngineConfig
    miso: dict[str, MisoConfig]
    instances: dict[str, InstanceConfig]
    broken: dict[str, ConfigError] = field(default_factory=dict)
    warnings: list[tuple[str, str]] = field(default_factory=list)
    """(TOML path, what a person should know)."""


def load(path: Path | str, *, strict: bool = False) -> Settings:
    """Read plugins.toml. ConfigError for what concerns all; with ``strict`` for a broken instance too."""
    path = Path(path)
    return from_tree(_parse(path), path, strict=strict)


def from_tree(tree: dict[str, Any], path: Path, *, strict: bool = False) -> Settings:
    """Settings out of parsed tables as plugins.toml has them; paths in them are relative to ``path``'s folder."""
    look_in(path.parent)
    warnings: list[tuple[str, str]] = []
    _unknown(tree, ("miso", "engine", "instances"), "")
    engine = section(EngineConfig, resolve(tree.get("engine", {}), "engine", path.parent, warnings), "engine")
    miso = _environments(tree.get("miso", {}), path.parent, warnings)
    instances: dict[str, InstanceConfig] = {}
    broken: dict[str, ConfigError] = {}
    for name, table in _table(tree.get("instances", {}), "instances").items():
        try:
            instances[name] = _contained(name, table, miso, path.parent, warnings)
        except ConfigError as error:
            if strict:
                raise
            broken[name] = error
    warnings += _overlaps(instances)
    return Settings(path, path.parent / engine.data, engine, miso, instances, broken, warnings)


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}; make one with: misoflow init") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), f"is not TOML: {error}") from None


def _table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(where, "must be a table")
    return value


def _unknown(table: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in known:
            raise ConfigError(f"{where}.{key}" if where else key, f"unknown key{near(key, known)}")


def _environments(value: Any, folder: Path, warnings: list[tuple[str, str]]) -> dict[str, MisoConfig]:
    table = _table(value, "miso")
    own = {key: item for key, item in table.items() if key in MisoConfig.model_fields or not isinstance(item, dict)}
    named = {key: item for key, item in table.items() if key not in own}
    found = {}
    for name, raw in {**({DEFAULT: own} if own or not named else {}), **named}.items():
        where = "miso" if name == DEFAULT and name not in named else f"miso.{name}"
        if not NAME.fullmatch(name):
            raise ConfigError(where, "a name may have lower-case letters, digits, '-' and '_' only")
        _literal(raw, ("api_key", "user_id_key"), where, warnings)
        resolved = resolve(raw, where, folder, warnings)
        found[name] = section(MisoConfig, {**resolved, "name": name}, where)
    return found


def _contained(
    name: str, value: Any, miso: dict[str, MisoConfig], folder: Path, warnings: list[tuple[str, str]]
) -> InstanceConfig:
    """As ``_instance``; whatever else a connector's settings class raises is a ConfigError of this instance too."""
    with Interrupts() as interrupts:
        try:
            return _instance(name, value, miso, folder, warnings)
        except ConfigError:
            raise
        except BaseException as error:
            if interrupts.meant(error):
                raise
            text = f"its connector cannot take its settings: {fault(error)}"
            raise ConfigError(f"instances.{name}", text, REPORT) from None


def _instance(
    name: str, value: Any, miso: dict[str, MisoConfig], folder: Path, warnings: list[tuple[str, str]]
) -> InstanceConfig:
    where = f"instances.{name}"
    if not NAME.fullmatch(name):
        raise ConfigError(where, "a name may have lower-case letters, digits, '-' and '_' only")
    table = _table(value, where)
    connector = load_connector(str(table.get("connector", "")), f"{where}.connector")
    try:
        model = config_type(connector)
    except TypeError as error:
        raise ConfigError(f"{where}.connector", str(error), REPORT) from None
    clash = sorted(set(model.model_fields) & set(RESERVED))
    if clash:
        raise ConfigError(where, f"the connector's setting {clash[0]!r} has a name that is the engine's own")
    secrets = tuple(key for key, info in model.model_fields.items() if "SecretStr" in str(info.annotation))
    _literal(table, secrets, where, warnings)
    resolved = resolve(table, where, folder, warnings)
    common = section(Common, {key: item for key, item in resolved.items() if key in RESERVED and key != "rules"}, where)
    config = section(model, {key: item for key, item in resolved.items() if key not in RESERVED}, where)
    if common.miso not in miso:
        raise ConfigError(f"{where}.miso", f"there is no [miso.{common.miso}]{near(common.miso, list(miso))}")
    if common.hook is not None:
        load_hook(common.hook, f"{where}.hook")
    make(connector, config, where)  # one that cannot be made is found here, before any of its deliveries is
    key = miso[common.miso].user_id_key
    return InstanceConfig(
        name,
        common.connector,
        config,
        common.miso,
        Rules.compile(
            resolved.get("rules", []),
            where=f"{where}.rules",
            hash_key=key.get_secret_value().encode() if key is not None else None,
        ),
        tuple(common.drop),
        common.dedup,
        common.limits,
        tuple(common.origins),
        common.hook,
        stream_configs(connector.streams, common.backfill, f"{where}.backfill"),
    )


def _literal(table: Any, keys: tuple[str, ...], where: str, warnings: list[tuple[str, str]]) -> None:
    """A secret written out is accepted, and a person is told."""
    for key in keys:
        value = table.get(key) if isinstance(table, dict) else None
        many = value if isinstance(value, list) else [value]
        if value is not None and not all(is_reference(one) for one in many):
            warnings.append((f"{where}.{key}", 'is written out; better: { env = "NAME" } or { file = "/path" }'))


def _overlaps(instances: dict[str, InstanceConfig]) -> list[tuple[str, str]]:
    """Two instances that both deliver orders to one environment would count each order twice."""
    by_miso: dict[str, list[InstanceConfig]] = {}
    for instance in instances.values():
        if "checkout" not in instance.drop:
            by_miso.setdefault(instance.miso, []).append(instance)
    return [
        (
            f"instances.{same[1].name}",
            f"both {same[0].name} and {same[1].name} may deliver checkouts to Miso {name}; "
            'if they see the same orders, give one of them drop = ["checkout"]',
        )
        for name, same in by_miso.items()
        if len(same) > 1
    ]


def masked(settings: Settings) -> dict[str, Any]:
    """The resolved settings with every secret as ``***``, for `misoflow config show`."""

    def plain(model: BaseModel) -> dict[str, Any]:
        return {key: _mask(item) for key, item in model}

    return {
        "miso": {name: plain(miso) for name, miso in settings.miso.items()},
        "engine": plain(settings.engine),
        "instances": {
            name: {
                "connector": one.connector,
                "miso": one.miso,
                "drop": list(one.drop),
                "dedup": one.dedup_days,
                "limits": plain(one.limits),
                "origins": list(one.origins),
                "hook": one.hook,
                "rules": len(one.rules),
                "backfill": {
                    stream: pull.model_dump(mode="json", by_alias=True, exclude_none=True)
                    for stream, pull in one.backfill.items()
                },
                **plain(one.config),
            }
            for name, one in settings.instances.items()
        },
        "broken": {name: str(error) for name, error in settings.broken.items()},
    }


def _mask(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return "***"
    if isinstance(value, BaseModel):
        return {key: _mask(item) for key, item in value}
    if isinstance(value, list | tuple):
        return [_mask(item) for item in value]
    return value
