"""Installs: a click at a platform makes an instance of a template, ``<template>/<tenant>``.

The browser is sent to ``/install/<instance>`` of the public listener; ``visit`` answers it, the engine does the rest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

from msgspec import Struct

from misoflow.connector import Problem


class Visit(Struct, frozen=True):
    """A person's browser on ``/install/<instance>/<path>``, sent there by the platform."""

    path: str
    """Below ``/install/<instance>/``; "" for the app's own address."""
    query: tuple[tuple[str, str], ...]
    """Percent-decoded, in the order sent, repeated names included."""
    url: str
    """The public address of ``/install/<instance>``, without a slash at its end."""
    now: datetime
    cookies: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    """Lower-case names."""


class Cookie(Struct, frozen=True):
    """A cookie for ``/install/<instance>``: HttpOnly, SameSite=Lax, and Secure where the address is https."""

    name: str
    value: str
    seconds: int
    """0 deletes it."""


class Reply(Struct, frozen=True):
    """What the browser gets: a redirect (``location``), the page of an install (``tenant``), or a sentence.

    ``grant`` is what the click brought (a code, a token): it is stored, encrypted, as the install of ``tenant``,
    and given to ``install``. ``once`` is a nonce that may be used for one reply only; the next is a 403.
    ``frames`` are origins that may show the page in a frame; none by default. ``unless_installed`` is the reply
    instead where ``tenant`` is not installed.
    """

    status: int = 200
    text: str = ""
    location: str = ""
    tenant: str = ""
    grant: Mapping[str, str] | None = None
    once: str = ""
    frames: tuple[str, ...] = ()
    cookies: tuple[Cookie, ...] = ()
    unless_installed: Reply | None = None


class Installed(Struct, frozen=True):
    """What ``install`` found: ``problems`` a person should know of, and streams that cannot be pulled for them.

    ``gaps`` names streams to be pulled now and whole: something of them was missing for a while, or out of reach.
    """

    problems: tuple[Problem, ...] = ()
    without: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()


class Installable(ABC):
    """What a connector has beside ``Connector`` when a click at the platform makes an instance of its template.

    Each install is the instance ``<template>/<tenant>``, ``tenant`` being what ``Connector.tenant`` says of a
    delivery and ``Reply.tenant`` of a visit.
    """

    template: bool = True
    """Whether installs are made of the instance. One that is none is installed itself, when the engine starts."""
    lifecycle: ClassVar[tuple[str, ...]] = ()
    """Topics that are translated even after the app was uninstalled: erasure, for one."""

    @abstractmethod
    def visit(self, visit: Visit) -> Reply:
        """Answer a browser; pure. Unauthorized is a 403, Reject a 400, each with its text as a page."""

    @abstractmethod
    async def install(self, grant: Mapping[str, str]) -> Installed:
        """Create what is needed at the platform; idempotent, and may be broken off anywhere.

        ``grant`` is what came with the click, or {} when it is called again (every 15 minutes, and after a restart) to
        look whether all is still there. Retry: later again. Reject: the click has to be repeated. Halt: pause.
        """

    @abstractmethod
    async def uninstall(self) -> None:
        """Forget the credentials: the app is gone at the platform. Idempotent."""
