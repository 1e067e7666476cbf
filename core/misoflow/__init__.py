"""misoflow: brings what happens on a site into Miso. These are the names that a connector may import."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from misoflow.connector import (
        Config,
        Connector,
        Event,
        Page,
        Problem,
        Request,
        Route,
        Slice,
    )
    from misoflow.effects import (
        Alias,
        Disconnect,
        Effect,
        Fetch,
        LateId,
        Skip,
        aliased,
        latest,
        merge,
        once,
    )
    from misoflow.errors import ConfigError, Halt, MisoflowError, Reject, Retry, Unauthorized
    from misoflow.records import *  # noqa: F403
    from misoflow.signing import check_hmac, check_standard_webhook, sign_hmac

_HOMES = {
    "connector": ("Config", "Connector", "Event", "Page", "Problem", "Request", "Route", "Slice"),
    "effects": (
        "Alias",
        "Disconnect",
        "Effect",
        "Fetch",
        "LateId",
        "Skip",
        "aliased",
        "latest",
        "merge",
        "once",
    ),
    "errors": ("ConfigError", "Halt", "MisoflowError", "Reject", "Retry", "Unauthorized"),
    "signing": ("check_hmac", "check_standard_webhook", "sign_hmac"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Public names load on first use, so that `misoflow --help` does not pay for all of them."""
    home = _HOME_OF.get(name)
    if home is None and name.startswith("_"):
        raise AttributeError(name)
    module = importlib.import_module(f"misoflow.{home or 'records'}")
    if home is None and name not in module.__all__:
        raise AttributeError(f"misoflow has no public name {name!r}")
    return getattr(module, name)
