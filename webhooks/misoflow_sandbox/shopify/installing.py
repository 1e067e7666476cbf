"""The app in a shop: granted, installed, uninstalled; what of it Shopify tells the app.

https://shopify.dev/docs/apps/build/authentication-authorization/app-installation
"""

from __future__ import annotations

from itertools import count

from msgspec import Struct

from misoflow_sandbox.shopify import payloads
from misoflow_sandbox.shopify.hooks import Hooks
from misoflow_sandbox.shopify.shop import Shop
from misoflow_sandbox.shopify.state import App, Clock, Options, local

CODE_MS = 10 * 60_000
"""How long an authorization code is good."""


class Code(Struct):
    """An authorization code: for one shop, once."""

    shop: str
    scopes: tuple[str, ...]
    until: int


class Installs:
    """Of the app, in all shops."""

    def __init__(self, app: App, options: Options, clock: Clock, hooks: Hooks, shops: dict[str, Shop]) -> None:
        self.app, self.options, self.clock, self.hooks, self.shops = app, options, clock, hooks, shops
        self.codes: dict[str, Code] = {}
        self._numbers = count(1)

    def granted(self, shop: Shop, asked: list[str]) -> tuple[str, ...]:
        """What of the scopes that were asked for this shop's merchant and Shopify give."""
        denied = set(shop.spec.withheld) | (set() if self.app.all_orders else {"read_all_orders"})
        return tuple(one for one in dict.fromkeys(asked) if one and one not in denied)

    def code(self, shop: Shop, scopes: tuple[str, ...]) -> str:
        """The merchant agreed: a code for the app."""
        made = f"code{next(self._numbers):028x}"
        self.codes[made] = Code(shop.domain, scopes, self.clock.now() + CODE_MS)
        return made

    def redeem(self, shop: Shop, code: str) -> tuple[str, ...] | None:
        """The scopes of a code, which is used up. None: it is not good."""
        found = self.codes.pop(code, None)
        if found is None or found.shop != shop.domain or self.clock.now() >= found.until:
            return None
        return found.scopes

    def install(self, domain: str, scopes: list[str] | None = None) -> Shop:
        """Install at once, as managed installation and custom apps do."""
        shop = self.shops[domain]
        self.installed(shop, self.granted(shop, scopes or self.app.scopes))
        return shop

    def installed(self, shop: Shop, scopes: tuple[str, ...]) -> None:
        """The app is there, with these scopes, from now on."""
        shop.scopes = scopes
        if shop.installed_at is None:
            shop.installed_at = self.clock.now()

    def uninstall(self, domain: str) -> None:
        """All tokens, subscriptions and the pixel are gone; app/uninstalled now, shop/redact 48 hours later."""
        shop = self.shops[domain]
        event = self.hooks.event(shop)
        self.hooks.tell(shop, event, "app/uninstalled", payloads.shop_resource(shop))
        shop.installed_at, shop.scopes, shop.pixel = None, (), None
        shop.tokens.revoke()
        shop.subscriptions.clear()
        later = self.options.shop_redact_seconds
        self.hooks.tell(shop, self.hooks.event(shop), "shop/redact", payloads.shop_redact(shop), later)

    def set_scopes(self, domain: str, scopes: list[str]) -> None:
        """The merchant grants more or less: app/scopes_update."""
        shop = self.shops[domain]
        before, shop.scopes = shop.scopes, tuple(scopes)
        for access in shop.tokens.access.values():
            access.scopes = shop.scopes
        body = {
            "id": shop.id,
            "previous": list(before),
            "current": list(scopes),
            "updated_at": local(self.clock.now(), shop.spec.timezone),
        }
        self.hooks.tell(shop, self.hooks.event(shop), "app/scopes_update", body)

    def rotate_secret(self, secret: str) -> None:
        """A new client secret; webhooks are signed with the old one until it is revoked."""
        self.app.secrets.insert(0, secret)

    def revoke_secret(self, secret: str) -> None:
        """End a client secret, and the tokens that were minted with it. Raises ValueError."""
        self.app.secrets.remove(secret)
        for shop in self.shops.values():
            shop.tokens.revoke(secret)
