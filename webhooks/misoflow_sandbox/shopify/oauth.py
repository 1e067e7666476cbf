"""OAuth of a shop: the merchant's page, and the four grants of the token endpoint.

https://shopify.dev/docs/apps/build/authentication-authorization/access-tokens
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from misoflow_sandbox.answers import Answer, answer
from misoflow_sandbox.shopify import pages, proofs
from misoflow_sandbox.shopify.installing import Installs
from misoflow_sandbox.shopify.shop import Shop
from misoflow_sandbox.shopify.tokens import CUSTOM_SECONDS

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"  # noqa: S105 (a name)
OFFLINE = "urn:shopify:params:oauth:token-type:offline-access-token"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
Values = Mapping[str, str]


class OAuth:
    """Answers below ``/{shop}/admin/oauth``."""

    def __init__(self, installs: Installs) -> None:
        self._installs = installs
        self._app = installs.app
        self._grants: dict[str, Callable[[Shop, Values, str], Answer]] = {
            "authorization_code": self._code,
            EXCHANGE: self._exchange,
            "refresh_token": self._refresh,
            "client_credentials": self._credentials,
        }

    def authorize(self, shop: Shop, values: Values, action: str) -> Answer:
        """GET: the merchant's page. A POST of its form is ``agree``."""
        wrong = self._wrong_request(values)
        if wrong:
            return pages.refused(wrong)
        return pages.grant(shop, self._asked(shop, values), values, action)

    def agree(self, shop: Shop, values: Values) -> Answer:
        """The merchant's click: back to the app with a code."""
        wrong = self._wrong_request(values)
        if wrong:
            return pages.refused(wrong)
        code = self._installs.code(shop, self._asked(shop, values))
        given = {"code": code, **self.query(shop), "state": values.get("state", "")}
        return found(proofs.signed(values["redirect_uri"], given, self._app.secrets[-1]))

    def open_app(self, shop: Shop) -> Answer:
        """The *Install* link of the app store, and the app's entry in the admin: to the app's URL."""
        if self._app.app_url is None:
            return pages.refused("the app has no URL yet: POST it to /_sandbox/app")
        return found(self.app_link(shop))

    def app_link(self, shop: Shop) -> str:
        """The app's URL as a merchant's browser opens it; with an ID token where the app is embedded or managed."""
        values = self.query(shop)
        if self._installs.options.embedded or self._app.managed:
            values |= {"embedded": "1", "locale": shop.spec.locale, "session": f"{shop.id:x}"}
            values["id_token"] = self.id_token(shop)
        return proofs.signed(self._app.app_url or "", values, self._app.secrets[-1])

    def id_token(self, shop: Shop, **claims: Any) -> str:
        """An ID token of a merchant who looks at the app now."""
        now = self._installs.clock.now() // 1000
        return proofs.id_token(shop.domain, self._app.client_id, self._app.secrets[-1], now, **claims)

    def query(self, shop: Shop) -> dict[str, str]:
        """What Shopify puts into the app's URLs."""
        now = self._installs.clock.now() // 1000
        return {"host": proofs.host_value(shop.domain), "shop": shop.domain, "timestamp": str(now)}

    def token(self, shop: Shop, values: Values) -> Answer:
        """POST access_token."""
        if values.get("client_id") != self._app.client_id or values.get("client_secret") not in self._app.secrets:
            return error("invalid_client", "The client credentials are not good", 401)
        kind = values.get("grant_type", "authorization_code")
        grant = self._grants.get(kind)
        if grant is None:
            return error("unsupported_grant_type", f"no such grant: {kind}")
        return grant(shop, values, values["client_secret"])

    def _code(self, shop: Shop, values: Values, secret: str) -> Answer:
        scopes = self._installs.redeem(shop, values.get("code", ""))
        if scopes is None:
            return error("invalid_request", "The authorization code was not found or was already used")
        self._installs.installed(shop, scopes)
        return self._minted(shop, values, secret)

    def _exchange(self, shop: Shop, values: Values, secret: str) -> Answer:
        kind, token = values.get("subject_token_type"), values.get("subject_token", "")
        if values.get("requested_token_type") != OFFLINE:
            return error("invalid_request", "requested_token_type is not supported here")
        if kind == OFFLINE:
            old = shop.tokens.good(token)
            if old is None or old.until is not None:
                return error("invalid_subject_token", "The token is not a lasting offline token of this shop")
            del shop.tokens.access[token]
            return self._minted(shop, values, secret)
        now = self._installs.clock.now() // 1000
        claims = proofs.claims_of(token, self._app.client_id, self._app.secrets, now) if kind == ID_TOKEN else None
        if claims is None or urlsplit(claims["dest"]).hostname != shop.domain:
            return error("invalid_subject_token", "The ID token is not good or too old")
        if shop.installed_at is None and not self._app.managed:
            return error("invalid_subject_token", "The app is not installed")
        if shop.installed_at is None:
            self._installs.install(shop.domain)
        return self._minted(shop, values, secret)

    def _refresh(self, shop: Shop, values: Values, secret: str) -> Answer:
        used = shop.tokens.use(values.get("refresh_token", ""))
        if used is None or shop.installed_at is None:
            return error("invalid_grant", "This refresh token has expired or was revoked")
        return answer(200, shop.tokens.expiring(shop.scopes, secret, used))

    def _credentials(self, shop: Shop, values: Values, secret: str) -> Answer:
        if not self._app.custom or shop.installed_at is None:
            return error("shop_not_permitted", "Client credentials cannot be performed on this shop.")
        access = shop.tokens.mint(shop.scopes, secret, CUSTOM_SECONDS)
        scope = ",".join(shop.scopes)
        return answer(200, {"access_token": access.token, "scope": scope, "expires_in": CUSTOM_SECONDS})

    def _minted(self, shop: Shop, values: Values, secret: str) -> Answer:
        """An expiring token if it was asked for, else one that lasts."""
        if str(values.get("expiring", "0")).lower() in ("1", "true"):
            return answer(200, shop.tokens.expiring(shop.scopes, secret))
        access = shop.tokens.mint(shop.scopes, secret, None)
        return answer(200, {"access_token": access.token, "scope": ",".join(shop.scopes)})

    def _wrong_request(self, values: Values) -> str | None:
        """Why a request to authorize is refused."""
        if values.get("client_id") != self._app.client_id:
            return "invalid_request: Could not find Shopify API application with api_key"
        uri = values.get("redirect_uri", "")
        known = self._app.redirect_urls
        if uri not in known if known else urlsplit(uri).hostname not in LOOPBACK:
            return "invalid_request: The redirect_uri is not whitelisted"
        return None

    def _asked(self, shop: Shop, values: Values) -> tuple[str, ...]:
        asked = values.get("scope", "").replace(" ", ",").split(",") if values.get("scope") else self._app.scopes
        return self._installs.granted(shop, asked)


def error(code: str, text: str, status: int = 400) -> Answer:
    return answer(status, {"error": code, "error_description": text})


def found(url: str) -> Answer:
    """A redirect."""
    return Answer(302, b"", [(b"location", url.encode())], b"text/html; charset=utf-8")
