"""Access and refresh tokens of one shop's install, with the lives and the rotation that Shopify documents.

https://shopify.dev/docs/apps/build/authentication-authorization/access-tokens/offline-access-tokens
"""

from __future__ import annotations

from itertools import count

from msgspec import Struct

from misoflow_sandbox.shopify.state import Clock

ACCESS_SECONDS = 3600
CUSTOM_SECONDS = 86_399
"""Of client credentials."""
REFRESH_SECONDS = 90 * 86_400
AGAIN_MS = 30 * 86_400_000
"""How long a refresh token that was used can be used again, unless its successor is used first:
https://shopify.dev/changelog/more-resilient-refreshes-for-expiring-offline-access-tokens"""


class Access(Struct):
    """``until`` None: it does not expire. ``secret``: the client secret that it was minted with."""

    token: str
    until: int | None
    scopes: tuple[str, ...]
    secret: str


class Refresh(Struct):
    token: str
    until: int
    secret: str
    parent: str | None
    used: int | None = None
    """When it was used first."""


class Tokens:
    """All that are good for one shop."""

    def __init__(self, shop: str, clock: Clock) -> None:
        self._shop = shop.partition(".")[0]
        self._clock = clock
        self._count = count(1)
        self.access: dict[str, Access] = {}
        self.refresh: dict[str, Refresh] = {}

    def mint(self, scopes: tuple[str, ...], secret: str, seconds: int | None) -> Access:
        """A new access token."""
        until = None if seconds is None else self._clock.now() + seconds * 1000
        token = f"shpat_{self._shop}_{next(self._count):06d}"
        self.access[token] = Access(token, until, scopes, secret)
        return self.access[token]

    def expiring(self, scopes: tuple[str, ...], secret: str, parent: Refresh | None = None) -> dict[str, object]:
        """An expiring token and its refresh token, as OAuth answers them."""
        access, now = self.mint(scopes, secret, ACCESS_SECONDS), self._clock.now()
        refresh = Refresh(f"shprt_{self._shop}_{next(self._count):06d}", now + REFRESH_SECONDS * 1000, secret, None)
        refresh.parent = parent.token if parent else None
        self.refresh[refresh.token] = refresh
        return {
            "access_token": access.token,
            "scope": ",".join(scopes),
            "expires_in": ACCESS_SECONDS,
            "refresh_token": refresh.token,
            "refresh_token_expires_in": REFRESH_SECONDS,
        }

    def good(self, token: str) -> Access | None:
        """The access token, while it lasts."""
        found = self.access.get(token)
        return found if found and (found.until is None or self._clock.now() < found.until) else None

    def use(self, token: str) -> Refresh | None:
        """Take a refresh token: those before it are dead from now on. None: it is dead or too old."""
        found, now = self.refresh.get(token), self._clock.now()
        if found is None or now >= found.until:
            return None
        if found.used is not None and now >= found.used + AGAIN_MS:
            return None
        found.used = now if found.used is None else found.used
        parent = found.parent
        while parent is not None:
            dead = self.refresh.pop(parent, None)
            parent = dead.parent if dead else None
        return found

    def revoke(self, secret: str | None = None) -> None:
        """End all tokens, or those of a secret."""
        self.access = {key: one for key, one in self.access.items() if secret not in (None, one.secret)}
        self.refresh = {key: one for key, one in self.refresh.items() if secret not in (None, one.secret)}

    def expire_access(self) -> None:
        """Let the access tokens be over now."""
        for one in self.access.values():
            one.until = self._clock.now()
