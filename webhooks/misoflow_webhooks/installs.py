"""``/install/<instance>`` of the public listener: a browser that a platform sent here, and the page of its install.

The connector says what a visit means (``Installable.visit``); here that becomes redirects, cookies, pages, and a
stored grant. A grant is on the disk before the browser hears of it, as every delivery is. Queries hold codes and
signatures: nothing of them is ever logged.
"""

from __future__ import annotations

import asyncio
import logging
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import msgspec
from misoflow import crash
from misoflow.clock import now_ms
from misoflow.config import Settings
from misoflow.connector import Request
from misoflow.errors import Reject, Unauthorized
from misoflow.inbox import Inbox, InboxFull, InboxUnavailable
from misoflow.inbox.payload import from_ms, to_ms
from misoflow.installable import Cookie, Installable, Reply, Visit
from misoflow.registry import fault
from misoflow.vault import Vault
from starlette.requests import cookie_parser

from misoflow_webhooks import answers
from misoflow_webhooks.answers import Answer, Header
from misoflow_webhooks.limits import Rates
from misoflow_webhooks.metrics import Metrics
from misoflow_webhooks.nonces import TOKEN_SECONDS, Nonces, Tokens
from misoflow_webhooks.replies import checked, html, redirect, security, set_cookie
from misoflow_webhooks.routes import Hook, Routes

if TYPE_CHECKING:
    from misoflow.standing import Standing

log = logging.getLogger("misoflow.serve")

PREFIX = "/install/"
STATIC = "_static"
PAGE = "page"
STATE = "state"
PAGE_COOKIE = "misoflow_page"
CHANNEL = "install"
MAX_QUERY_FIELDS = 200
MOST_CLICKS = 10_000
"""The latest of so many installs are remembered, until the engine has taken them up."""
PER_ADDRESS = 50.0
"""Requests a second by one sender's address; a page asks every two seconds."""
LOOPBACK_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?", re.ASCII | re.IGNORECASE)
NOT_INSTALLED = ("uninstalled", "failed")
"""States in which a click installs again instead of showing the page."""
NO_ADDRESS = (
    "misoflow does not know its public address. Whoever runs it sets public_url in the [engine] table of plugins.toml."
)
BROKEN = "This connection cannot start with its present settings. Whoever runs it must mend them; try again later."
OURS = "Something went wrong on our side, and nothing was changed. Try again in a minute."
NOT_STORED = "Your installation could not be stored. Nothing is lost: reload this page in a minute."
TOO_OLD = "This page was open for too long, or your browser keeps no cookies. Open the app again to see how it stands."
FOREVER = (b"cache-control", b"public, max-age=31536000, immutable")


class Refused(Exception):
    """Ends a visit with a page of one sentence."""

    def __init__(self, status: int, title: str, text: str, outcome: str = "refused") -> None:
        super().__init__(status)
        self.status = status
        self.title = title
        self.text = text
        self.outcome = outcome


class Installs:
    """Answers browsers."""

    def __init__(self, settings: Settings, vault: Vault, inbox: Inbox, metrics: Metrics) -> None:
        self._settings = settings
        self._vault = vault
        self._inbox = inbox
        self._metrics = metrics
        self._tokens = Tokens(vault)
        self._nonces = Nonces()
        self._rates = Rates()
        self._clicks: dict[str, int] = {}

    async def answer(
        self, routes: Routes, method: str, path: str, query: bytes, headers: dict[str, str], sender: str
    ) -> Answer:
        """The answer to a request below /install. ``headers`` have lower-case names."""
        name, _, rest = path[len(PREFIX) :].partition("/")
        hook = routes.hook(name)
        if name != STATIC and (hook is None or not _may_be_installed(hook)):
            return answers.NOT_FOUND
        base = self._public_url(headers)
        if method not in ("GET", "HEAD"):
            return answers.WRONG_METHOD_PAGE.with_headers(security(base or ""))
        if not self._rates.take(sender, PER_ADDRESS):
            return answers.TOO_FAST_SENDER.with_headers(security(base or ""))
        if hook is None:
            return await asyncio.to_thread(_static, rest)
        browser = _Browser(hook, method, rest.rstrip("/"), query, headers, base or "")
        try:
            if base is None:
                raise Refused(503, "Not set up yet", NO_ADDRESS, "failed")
            answer = await self._visited(browser)
        except Refused as refused:
            answer = await asyncio.to_thread(_sentence, browser, refused)
        self._metrics.visited(hook.name, answer.outcome)
        return answer

    def _public_url(self, headers: dict[str, str]) -> str | None:
        """Of misoflow. A Host header is believed for this machine alone: it comes from whoever asks."""
        if self._settings.engine.public_url:
            return self._settings.engine.public_url.rstrip("/")
        host = headers.get("host", "")
        return f"http://{host.lower()}" if LOOPBACK_HOST.fullmatch(host) else None

    async def _visited(self, browser: _Browser) -> Answer:
        if browser.hook.connector is None:
            raise Refused(503, "Not available", BROKEN, "failed")
        if browser.path == STATE:
            return await self._state(browser)
        if browser.path == PAGE:
            return await self._own_page(browser)
        reply = await self._settled(browser, _visit(browser))
        cookies = [set_cookie(cookie, browser.address) for cookie in reply.cookies]
        # only looking (HEAD: a preview, a scanner) uses nothing up
        if browser.method == "GET":
            await self._take(browser, reply)
        extra = [*cookies, *security(browser.base, reply.frames)]
        outcome = "granted" if reply.grant is not None else "redirect" if reply.location else "page"
        if reply.location:
            return redirect(reply.location, outcome, extra)
        if not reply.tenant:
            text = await asyncio.to_thread(_message, browser, "misoflow", reply.text)
            return html(reply.status, text, outcome, extra)
        token = self._tokens.make(browser.hook.name, reply.tenant)
        if reply.frames:  # no cookie reaches us from a frame, so this is the page itself
            text = await asyncio.to_thread(self._page, browser, reply.tenant, token)
            return html(reply.status, text, outcome, extra)
        # away from an address with a code and a signature in it, to one that can be loaded again
        page = set_cookie(Cookie(PAGE_COOKIE, token, TOKEN_SECONDS), browser.address)
        return redirect(f"{urlsplit(browser.address).path}/{PAGE}", outcome, [page, *extra])

    async def _settled(self, browser: _Browser, reply: Reply) -> Reply:
        """The reply that counts, with everything in it checked."""
        try:
            other = checked(reply).unless_installed
            if other is None:
                return reply
            known = await asyncio.to_thread(self._read, f"{browser.hook.name}/{reply.tenant}")
            installed = known is not None and known.state not in NOT_INSTALLED and not known.again
            return reply if installed else checked(other)
        except (ValueError, TypeError, AttributeError) as error:
            log.error("instance %s: visit() gave a reply that cannot be sent: %s", browser.hook.name, error)
            raise Refused(503, "Not available", OURS, "failed") from None

    async def _take(self, browser: _Browser, reply: Reply) -> None:
        """Use up the nonce and store the grant, before the browser is answered."""
        nonce = (browser.hook.name, reply.once)
        if reply.once and not self._nonces.take(nonce):
            raise Refused(403, "This link was used already", "It works once. Open the app again to get a new one.")
        if reply.grant is None:
            return
        body = msgspec.json.encode(dict(reply.grant))
        now = from_ms(now_ms())
        request = Request(body, {"content-type": "application/json"}, CHANNEL, method="GET", received_at=now)
        name = f"{browser.hook.name}/{reply.tenant}"
        try:
            await self._inbox.append([(name, request)])
        except (InboxFull, InboxUnavailable) as error:
            log.error("instance %s: an install could not be stored: %s", browser.hook.name, error)
            self._nonces.give_back(nonce)
            raise Refused(503, "Please try again", NOT_STORED, "failed") from None
        crash.point("serve.before_answer")
        self._clicks.pop(name, None)
        self._clicks[name] = to_ms(now)
        if len(self._clicks) > MOST_CLICKS:
            del self._clicks[next(iter(self._clicks))]

    async def _own_page(self, browser: _Browser) -> Answer:
        tenant = self._tokens.tenant(browser.hook.name, browser.cookies.get(PAGE_COOKIE, ""))
        if tenant is None:
            raise Refused(403, "Open the app again", TOO_OLD)
        token = self._tokens.make(browser.hook.name, tenant)
        text = await asyncio.to_thread(self._page, browser, tenant, token)
        return html(200, text, "page", security(browser.base))

    async def _state(self, browser: _Browser) -> Answer:
        tenant = self._tokens.tenant(browser.hook.name, browser.headers.get("x-install-token", ""))
        if tenant is None:
            return answers.TOO_OLD.with_headers(security(browser.base))
        content = await asyncio.to_thread(self._changed, browser, tenant)
        return Answer(200, msgspec.json.encode(content), "state", *security(browser.base))

    def _page(self, browser: _Browser, tenant: str, token: str) -> str:
        from misoflow_webhooks import pages

        seen = pages.view(self._read(f"{browser.hook.name}/{tenant}"), tenant, now_ms())
        return pages.install_page(
            seen, base=urlsplit(browser.base).path, address=urlsplit(browser.address).path, token=token
        )

    def _changed(self, browser: _Browser, tenant: str) -> dict[str, str]:
        from misoflow_webhooks import pages

        seen = pages.view(self._read(f"{browser.hook.name}/{tenant}"), tenant, now_ms())
        return {
            "state": seen.state,
            "title": pages.page_title(seen),
            "html": pages.standing_part(seen),
            "token": self._tokens.make(browser.hook.name, tenant),
        }

    def _read(self, name: str) -> Standing | None:
        from misoflow.standing import standing  # needs the store, which `serve` does not otherwise load

        try:
            found = standing(self._settings, self._vault, name)
        except Exception as error:
            log.error("the standing of an install of %s cannot be read: %s", name.partition("/")[0], fault(error))
            raise Refused(503, "Please try again", "How it stands cannot be read at the moment.", "failed") from None
        # until the engine has taken up the click, what it knows is how an earlier install ended
        return None if found is None or found.asked < self._clicks.get(name, 0) else found


class _Browser:
    """One request: where it goes, and what came with it."""

    def __init__(self, hook: Hook, method: str, path: str, query: bytes, headers: dict[str, str], base: str) -> None:
        self.hook = hook
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.base = base
        self.address = f"{base}{PREFIX}{hook.name}"
        self.cookies: dict[str, str] = cookie_parser(headers.get("cookie", ""))


def _may_be_installed(hook: Hook) -> bool:
    """A broken instance may: whoever clicks is told to come again, not that there is nothing."""
    return hook.connector is None or (isinstance(hook.connector, Installable) and hook.connector.template)


def _visit(browser: _Browser) -> Reply:
    """What the connector says; whatever it raises ends in a page."""
    connector = browser.hook.connector
    assert isinstance(connector, Installable)
    try:
        text = browser.query.decode("latin-1")
        query = tuple(parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS))
    except ValueError:
        raise Refused(400, "This link cannot be used", "It has too many parts.") from None
    now = datetime.now(UTC)
    try:
        return connector.visit(Visit(browser.path, query, browser.address, now, browser.cookies, browser.headers))
    except Unauthorized as error:
        raise Refused(403, "This link cannot be used", str(error)) from None
    except Reject as error:
        raise Refused(400, "This link cannot be used", error.reason) from None
    except BaseException as error:  # SystemExit too: it must not end the receiver of all the others
        log.error("instance %s: visit() failed: %s", browser.hook.name, type(error).__name__)
        raise Refused(503, "Not available", OURS, "failed") from None


def _sentence(browser: _Browser, refused: Refused) -> Answer:
    extra: list[Header] = security(browser.base)
    if refused.status == 503:
        extra.append((b"retry-after", b"%d" % answers.RETRY_AFTER))
    return html(refused.status, _message(browser, refused.title, refused.text), refused.outcome, extra)


def _message(browser: _Browser, title: str, text: str) -> str:
    from misoflow_webhooks import pages

    return pages.message_page(title, text, base=urlsplit(browser.base).path)


def _static(name: str) -> Answer:
    from misoflow_webhooks import pages

    found = pages.static(name)
    if found is None:
        return answers.NOT_FOUND
    return Answer(200, found[0], "static", (b"x-content-type-options", b"nosniff"), FOREVER, kind=found[1])
