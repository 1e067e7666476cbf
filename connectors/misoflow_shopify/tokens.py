"""The access token of a shop: kept in the instance's state, and renewed by one at a time before it ends.

Offline tokens live an hour and their refresh tokens 90 days; a refresh gives a new pair, and the pair before stays
good until the new one is used: https://shopify.dev/changelog/more-resilient-refreshes-for-expiring-offline-access-tokens
"""

from __future__ import annotations

import asyncio
import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Protocol

import msgspec
from misoflow import Halt, Reject
from msgspec import Struct

from misoflow_shopify.domains import is_shop
from misoflow_shopify.link import Link
from misoflow_shopify.token_calls import EXCHANGE, ROTATE, Minted, Refused, ask, mark

SOON = 300.0
"""Seconds before its end at which a token is renewed."""
IDLE = 30 * 86_400.0
"""A refresh token ends after 90 days without use, so each is used at least that often."""
CLAIM_SECONDS = 90.0
"""Longer than a call may take: then whoever renews has crashed."""
LOOK_SECONDS = 0.2
TOKENS = "tokens"
CLAIM = "renewing"


class TokenProvider(Protocol):
    """Where the access token of a shop comes from."""

    async def token(self, refused: str = "") -> str:
        """A good token; another one than ``refused``, which Shopify answered with 401. Raises Halt, Retry."""
        ...

    async def keep(self) -> None:
        """Called every 15 minutes: renews what would lapse."""
        ...


class Tokens(Struct, omit_defaults=True):
    """What is kept of a shop's access. Times are seconds since 1970."""

    access_token: str
    shop: str
    minted_at: float
    scope: str = ""
    expires_at: float | None = None
    refresh_token: str | None = None
    refresh_expires_at: float | None = None
    url: str = ""
    """The public address of our install page."""
    secret: str = ""
    """Mark of the client secret it was made with: a token ends with its secret."""
    grant: str = ""
    """Mark of the code or id token it was got for."""
    dead: bool = False


class _Claim(Struct):
    by: str
    until: float


class StoredTokens(ABC):
    """Tokens in the state, and their renewal by one process and task at a time."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._lock = asyncio.Lock()

    async def stored(self) -> Tokens | None:
        """What is kept, None before the install."""
        found: Tokens | None = await self._link.remembered(TOKENS, Tokens)
        return found

    async def token(self, refused: str = "") -> str:
        """See TokenProvider."""
        found = await self._usable()
        ending = found is not None and found.expires_at is not None and found.expires_at - self._link.now() < SOON
        if found is None or ending or found.access_token == refused:
            found = await self._renewed("" if found is None else found.access_token)
        return found.access_token

    async def keep(self) -> None:
        """Renew what was not renewed for long, or was made with an older client secret than the newest."""
        found = await self._usable()
        if found is None:
            await self._renewed("")
            return
        newest = mark(self._link.config.client_secret[0].get_secret_value())
        old = self._link.now() - found.minted_at > IDLE or found.secret != newest
        if old and self.renewal(found) is not None:
            await self._renewed(found.access_token)

    async def forget(self) -> None:
        """The app is gone at the shop."""
        await self._link.remember(TOKENS, None)

    async def _usable(self) -> Tokens | None:
        found = await self.stored()
        if found is None:
            if self.renewal(None) is None:
                raise Halt("the shop is not connected", "open the app in the shop's admin")
        elif found.dead:
            raise self.ended(found)
        return found

    @abstractmethod
    def renewal(self, found: Tokens | None) -> dict[str, str] | None:
        """The form that renews; None if only a click can."""

    @abstractmethod
    def shop(self, found: Tokens | None) -> str:
        """Whose token it is."""

    def ended(self, found: Tokens) -> Halt:
        """Only a click of the merchant helps."""
        return Halt("the shop has to be connected again", f"open {again(found.url, found.shop)}")

    async def _renewed(self, stale: str) -> Tokens:
        """Another token than ``stale``: made by us, or by whoever was faster."""
        async with self._lock:
            while True:
                claim = await self._claim()
                try:
                    found = await self._usable()
                    if found is not None and found.access_token != stale:
                        return found
                    if claim is not None:
                        return await self._renew(found)
                finally:
                    if claim is not None:
                        await self._link.state.put(CLAIM, None, expected=claim)
                await self._link.sleep(LOOK_SECONDS)

    async def _claim(self) -> bytes | None:
        saved = await self._link.state.get(CLAIM)
        now = self._link.now()
        if saved is not None and msgspec.json.decode(saved, type=_Claim).until > now:
            return None
        mine = msgspec.json.encode(_Claim(secrets.token_hex(8), now + CLAIM_SECONDS))
        return mine if await self._link.state.put(CLAIM, mine, expected=saved) else None

    async def _renew(self, found: Tokens | None) -> Tokens:
        form = self.renewal(found)
        if form is None:
            assert found is not None
            return await self._died(found)
        try:
            minted = await ask(self._link, self.shop(found), form)
        except Refused as error:
            if error.code == "invalid_client":
                raise Halt(
                    "Shopify does not know the app's client secret, or the app was uninstalled", ROTATE
                ) from None
            if found is None:
                raise Halt(f"Shopify gives no token ({error.code})", ROTATE) from None
            return await self._died(found)
        made = self.made(minted, self.shop(found), found)
        return await self._put(made, found)

    async def _died(self, found: Tokens) -> Tokens:
        """Remembered, so that Shopify is not asked again and again; unless a newer token is there by now."""
        dead = msgspec.structs.replace(found, dead=True)
        now = await self._put(dead, found)
        if now.dead:
            raise self.ended(now)
        return now

    async def _put(self, made: Tokens, before: Tokens | None) -> Tokens:
        """Store it in place of ``before``; what somebody else stored meanwhile counts instead."""
        state = self._link.state
        expected = None if before is None else msgspec.json.encode(before)
        if await state.put(TOKENS, msgspec.json.encode(made), expected=expected):
            return made
        found = await self._usable()
        if found is None:
            raise Halt("the shop is not connected", "open the app in the shop's admin")
        return found

    def made(self, minted: Minted, shop: str, before: Tokens | None = None) -> Tokens:
        """As it is kept."""
        now = self._link.now()
        return Tokens(
            access_token=minted.access_token,
            shop=shop,
            minted_at=now,
            scope=minted.scope,
            expires_at=None if minted.expires_in is None else now + minted.expires_in,
            refresh_token=minted.refresh_token,
            refresh_expires_at=_after(now, minted.refresh_token_expires_in),
            url="" if before is None else before.url,
            secret=minted.secret,
            grant="" if before is None else before.grant,
        )


class OfflineTokens(StoredTokens):
    """Of an installed app: got for a code or an id token, renewed with refresh tokens."""

    def renewal(self, found: Tokens | None) -> dict[str, str] | None:
        if found is None or found.refresh_token is None:
            return None
        return {"grant_type": "refresh_token", "refresh_token": found.refresh_token}

    def shop(self, found: Tokens | None) -> str:
        return "" if found is None else found.shop

    async def exchange(self, grant: Mapping[str, str]) -> None:
        """What a click brought, for tokens. Reject: the click has to be repeated. Does nothing a second time."""
        shop, proof = grant.get("shop", ""), grant.get("code") or grant.get("id_token") or ""
        if not is_shop(shop) or not proof:
            raise Reject("the click brought no shop, or no code")
        found = await self.stored()
        if found is not None and found.grant == mark(proof) and not found.dead:
            return
        form = {"code": proof, "expiring": "1"} if "code" in grant else {**EXCHANGE, "subject_token": proof}
        try:
            minted = await ask(self._link, shop, form)
        except Refused as error:
            if error.code == "invalid_client":
                raise Halt("Shopify does not know the app's client secret", ROTATE) from None
            if found is not None and not found.dead and found.shop == shop:
                return  # an id token lives a minute; what is kept is as good
            raise Reject("Shopify does not take the code of this click any more; open the app again") from None
        made = self.made(minted, shop)
        made.url, made.grant = grant.get("url", ""), mark(proof)
        await self._link.remember(TOKENS, made)


class ClientCredentials(StoredTokens):
    """Of a custom app of one shop: a token of 24 hours for the app's own credentials, no click, no refresh token.

    https://shopify.dev/docs/apps/build/authentication-authorization/access-tokens/client-credentials-grant
    """

    def renewal(self, found: Tokens | None) -> dict[str, str] | None:
        return {"grant_type": "client_credentials"}

    def shop(self, found: Tokens | None) -> str:
        return self._link.config.shop or ""

    def ended(self, found: Tokens) -> Halt:
        return Halt("Shopify gives no token for the app's credentials", ROTATE)


def again(url: str, shop: str) -> str:
    """Where a merchant agrees once more; opening an app that is connected does not ask again."""
    return f"{url}/connect?shop={shop} in a browser that is signed in to the shop" if url else "the app's install link"


def _after(now: float, seconds: float | None) -> float | None:
    return None if seconds is None else now + seconds
