"""An app that shops install, so that each turn in the life of an install can be asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar

from misoflow import (
    Disconnect,
    Effect,
    Erase,
    Event,
    Fetch,
    Installable,
    Installed,
    Page,
    Record,
    Reply,
    Slice,
    Stream,
    Visit,
)

from tests.core.toy import TIME, Toy


class ToyApp(Toy, Installable):
    """``script`` holds what the next calls of install answer; then all is well."""

    lifecycle = ("gone", "erase")
    streams = {  # noqa: RUF012 (read only)
        "all": Stream(timedelta(days=1), poll=True),
        "range": Stream(timedelta(days=365)),
        "often": Stream(timedelta(days=1), poll=True, every=timedelta(seconds=1)),
    }
    script: ClassVar[list[Any]] = []
    grants: ClassVar[list[dict[str, str]]] = []
    left: ClassVar[list[str]] = []
    pulled: ClassVar[list[str]] = []
    history: ClassVar[list[dict[str, Any]]] = []
    """What the stream ``all`` holds beside one like."""

    def translate(self, event: Event) -> Iterable[Record | Effect]:
        if event.topic == "gone":
            yield Disconnect("uninstalled there", datetime.fromisoformat(event.data["at"]))
        elif event.topic == "erase":
            yield Erase(datetime.fromisoformat(event.data["at"]))
        elif event.topic == "thin":
            yield Fetch("thing", event.data["ref"])
        else:
            yield from super().translate(event)

    def visit(self, visit: Visit) -> Reply:
        return Reply(text="hello")

    async def install(self, grant: Mapping[str, str]) -> Installed:
        type(self).grants.append(dict(grant))
        answer = self.script.pop(0) if self.script else Installed()
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Installed)
        await self.state.put("token", b"t0ken", expected=await self.state.get("token"))
        return answer

    async def uninstall(self) -> None:
        type(self).left.append("once")
        await self.state.put("token", None, expected=await self.state.get("token"))

    async def backfill(self, part: Slice) -> AsyncIterator[Page]:  # type: ignore[override]
        type(self).pulled.append(part.stream)
        events = [Event(f"{part.stream}-{part.cursor}", "like", {"p": "h"})]
        if part.stream == "all":
            events += [Event(one["id"], one["do"], one) for one in self.history]
        yield Page(events, f"{part.stream}:{TIME}")
