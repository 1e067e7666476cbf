"""An instance at run time: its connector with settings, and what the engine applies around it."""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Callable
from typing import Any

from misoflow.config import InstanceConfig, MisoConfig, Settings
from misoflow.connector import Connector, Event
from misoflow.errors import ConfigError
from misoflow.registry import fault, load_connector, load_hook, make

log = logging.getLogger("misoflow.work")

DAY_MS = 24 * 3600 * 1000
NAMESPACE = hashlib.sha1(b"misoflow", usedforsecurity=False).digest()[:16]
VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""Of RFC 9562: the two high bits of that digit are 10."""


class Instance:
    """One entry of plugins.toml (or one install of a template, ``shop/<tenant>``), ready to translate."""

    def __init__(self, name: str, config: InstanceConfig, miso: MisoConfig) -> None:
        self.name = name
        self.env = miso.name
        self.is_install = "/" in name
        self.connector: Connector[Any] = make(load_connector(config.connector), config.config, f"instances.{name}")
        self.connector.rules = config.rules
        self.drop = frozenset(config.drop)
        self.dedup_ms = (config.dedup_days or self.connector.dedup_days) * DAY_MS
        self._user_key = user_key(miso)
        self._hook = load_hook(config.hook, f"instances.{name}.hook") if config.hook else None
        # finding SHA-1 anew for each record costs OpenSSL more than the hash itself
        self._seed = hashlib.sha1(NAMESPACE + f"{name}\0".encode(), usedforsecurity=False)

    def user_id(self, plain: str) -> str:
        """As Miso gets it: plain, or HMAC-SHA256 in hex with the environment's kept key."""
        return plain if self._user_key is None else hashed(self._user_key, plain)

    def uuid(self, event_id: str, kind: str, ordinal: int) -> str:
        """uuid5 of (instance, event id, record type, ordinal): the same record has it for ever."""
        digest = self._seed.copy()
        digest.update(f"{event_id}\0{kind}\0{ordinal}".encode())
        text = digest.hexdigest()
        return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{VARIANT[text[16]]}{text[17:20]}-{text[20:32]}"

    def hooked(self, event: Event) -> list[Event]:
        """The event as the instance's own hook leaves it: changed, dropped (no event), or several."""
        if self._hook is None:
            return [event]
        result = self._hook(event)
        if result is None:
            return []
        return [result] if isinstance(result, Event) else list(result)


def user_key(miso: MisoConfig) -> bytes | None:
    """The environment's kept key when its user ids are hashed."""
    if miso.user_ids != "hmac" or miso.user_id_key is None:
        return None
    return miso.user_id_key.get_secret_value().encode()


def hashed(key: bytes, plain: str) -> str:
    return hmac.new(key, plain.encode(), hashlib.sha256).hexdigest()


class Instances:
    """All instances of the settings, made when first asked for; installs of templates included.

    ``equip`` gives a new one what only a running engine has: its HTTP client and its state.
    """

    def __init__(self, settings: Settings, equip: Callable[[Instance], None] | None = None) -> None:
        self._settings = settings
        self._equip = equip
        self._made: dict[str, Instance | None] = {}

    def get(self, name: str) -> Instance | None:
        """The instance, or None when plugins.toml has none of that name that can start."""
        if name not in self._made:
            config = self._settings.instances.get(name.partition("/")[0])
            if config is None:
                return None
            self._made[name] = self._make(name, config)
        return self._made[name]

    def _make(self, name: str, config: InstanceConfig) -> Instance | None:
        """None, and said once, for a connector that could be made when the settings were read and now cannot."""
        try:
            made = Instance(name, config, self._settings.miso[config.miso])
            if self._equip is not None:
                self._equip(made)
        except Exception as error:
            told = str(error) if isinstance(error, ConfigError) else fault(error)
            log.error("instance %s cannot start, its deliveries are held: %s", name, told)
            return None
        return made

    @staticmethod
    def user_id(miso: MisoConfig, plain: str) -> str:
        """A platform's user id as this Miso environment knows it."""
        key = user_key(miso)
        return plain if key is None else hashed(key, plain)
