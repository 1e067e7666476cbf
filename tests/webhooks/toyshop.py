"""A platform whose installs do whatever the visit's query asks for, so that each reply can be had."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from misoflow.connector import Config, Connector, Event
from misoflow.errors import Halt, Reject, Unauthorized
from misoflow.installable import Cookie, Installable, Installed, Reply, Visit

RAISED: dict[str, BaseException] = {
    "unauthorized": Unauthorized("the signature does not fit"),
    "reject": Reject("the shop's name is none"),
    "halt": Halt("closed", "open it"),
    "bug": ZeroDivisionError("canary-secret"),
    "exit": SystemExit(3),
}


class ToyShop(Connector[Config], Installable):
    """``?reply=<JSON>`` is the reply; ``?raise=<name>`` an error; ``/echo`` says what the visit was."""

    def translate(self, event: Event) -> Iterable[Any]:
        return []

    def visit(self, visit: Visit) -> Reply:
        asked = dict(visit.query)
        if "raise" in asked:
            raise RAISED[asked["raise"]]
        if "odd" in asked:
            return asked  # type: ignore[return-value]
        if "reply" in asked:
            return made(json.loads(asked["reply"]))
        seen = [visit.path, list(visit.query), visit.url, dict(visit.cookies), visit.headers.get("x-own", "")]
        return Reply(text=json.dumps(seen))

    async def install(self, grant: Mapping[str, str]) -> Installed:
        return Installed()

    async def uninstall(self) -> None:
        return None


class OneShop(ToyShop):
    """No template: it is installed without a click."""

    template = False


def made(given: dict[str, Any]) -> Reply:
    given["cookies"] = tuple(Cookie(**one) for one in given.get("cookies", ()))
    given["frames"] = tuple(given.get("frames", ()))
    if "unless_installed" in given:
        given["unless_installed"] = made(given["unless_installed"])
    return Reply(**given)
