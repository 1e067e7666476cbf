"""From a path to an instance's route: trailing slashes and the case of what a route names do not matter.

What stands in the place of a ``*`` is kept as sent: ids have a case. Nothing is redirected.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from misoflow.config import Settings
from misoflow.connector import Connector, Route
from misoflow.errors import ConfigError
from misoflow.registry import load_connector, make

from misoflow_webhooks.answers import Header
from misoflow_webhooks.limits import Rate

log = logging.getLogger("misoflow.serve")

PREFIX = "/hooks/"
CORS_SECONDS = b"604800"


@dataclass(frozen=True, slots=True)
class Hook:
    """An instance as the receiver knows it; without a connector if it cannot start."""

    name: str
    connector: Connector[Any] | None
    origins: frozenset[str] = frozenset()
    plain_answer: bool = True
    """Whether the connector leaves the answer's body as it is."""
    one_tenant: bool = True
    rate: Rate | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes; ``path`` is the part below the instance."""

    hook: Hook
    route: Route
    path: str


class Routes:
    """All paths of all instances. ``methods`` and ``max_body`` are the widest of any of them."""

    def __init__(self, hooks: Iterable[Hook]) -> None:
        self._hooks = {hook.name.lower(): hook for hook in hooks}
        self._exact: dict[str, Target] = {}
        self.methods = {"POST"}
        self.max_body = Route().max_body
        self.max_inflated = Route().max_inflated
        for name, hook in self._hooks.items():
            for route in _routes(hook):
                self.methods.update(route.methods)
                self.max_body = max(self.max_body, route.max_body)
                self.max_inflated = max(self.max_inflated, route.max_inflated)
                if "*" not in route.path.split("/"):
                    path = PREFIX + name + ("/" + route.path if route.path else "")
                    self._exact.setdefault(path, Target(hook, route, route.path))

    def hook(self, name: str) -> Hook | None:
        """The instance of that name, in any case of letters."""
        return self._hooks.get(name.lower())

    def find(self, path: str) -> Target | None:
        """The target of a path as sent, or None."""
        target = self._exact.get(path)
        if target is None and path.startswith("/"):
            path = path.rstrip("/")
            target = self._exact.get(path.lower()) or self._wild(path)
        return target

    def _wild(self, path: str) -> Target | None:
        if path[: len(PREFIX)].lower() != PREFIX:
            return None
        name, _, rest = path[len(PREFIX) :].partition("/")
        hook = self._hooks.get(name.lower())
        if hook is None:
            return None
        if hook.connector is None:
            return Target(hook, Route(), rest)
        segments = rest.split("/")
        for route in _routes(hook):
            pattern = route.path.split("/")
            if _fits(pattern, segments):
                own = (got if want == "*" else want for want, got in zip(pattern, segments, strict=True))
                return Target(hook, route, "/".join(own))
        return None


def _routes(hook: Hook) -> tuple[Route, ...]:
    return (Route(),) if hook.connector is None else hook.connector.routes


def _fits(pattern: list[str], segments: list[str]) -> bool:
    return len(pattern) == len(segments) and all(
        want == got.lower() or (want == "*" and got) for want, got in zip(pattern, segments, strict=True)
    )


def load_hooks(settings: Settings) -> list[Hook]:
    """Every instance of plugins.toml; one whose connector cannot be made answers 503, the rest go on."""
    hooks = [Hook(name, None) for name in settings.broken]
    for name, config in settings.instances.items():
        try:
            connector = make(load_connector(config.connector), config.config, f"instances.{name}")
        except ConfigError as error:
            log.error("instance %s cannot start: %s; run: misoflow check %s", name, error.problem, name)
            hooks.append(Hook(name, None))
            continue
        kind = type(connector)
        hooks.append(
            Hook(
                name,
                connector,
                frozenset(origin.lower().rstrip("/") for origin in config.origins),
                plain_answer=kind.answer is Connector.answer,
                one_tenant=kind.tenant is Connector.tenant,
                rate=Rate(config.limits.per_second) if config.limits.per_second else None,
            )
        )
    return hooks


def cors_headers(target: Target, origin: str) -> list[Header] | None:
    """Headers that let a browser read the answer; None if this origin is not welcome."""
    if not target.route.cors:
        return []
    if not target.hook.origins:
        return [(b"access-control-allow-origin", b"*")]
    if not origin:
        return []
    if origin.lower().rstrip("/") not in target.hook.origins:
        return None
    return [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"origin")]


def preflight_headers(target: Target, asked: str) -> list[Header]:
    """What a browser wants to know before it sends: methods, headers, and for how long it may remember."""
    names = ", ".join(name for part in asked.split(",") if (name := part.strip()) and _is_token(name))
    return [
        (b"access-control-allow-methods", ", ".join(target.route.methods).encode()),
        (b"access-control-allow-headers", (names or "authorization, content-type").encode()),
        (b"access-control-max-age", CORS_SECONDS),
    ]


def _is_token(name: str) -> bool:
    return name.isascii() and name.replace("-", "").replace("_", "").isalnum()
