"""A merchant's browser: the app's address, Shopify's consent, the way back, and embedded pages.

https://shopify.dev/docs/apps/build/authentication-authorization/access-tokens/authorization-code-grant
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode, urlsplit

import jwt
from misoflow import Cookie, Reject, Reply, Unauthorized, Visit

from misoflow_shopify.config import ShopifyConfig
from misoflow_shopify.domains import base_url, is_shop
from misoflow_shopify.scopes import required

COOKIE = "misoflow_state"
STATE_SECONDS = 600
LINK_SECONDS = 90
"""As Shopify's own JavaScript library; its Python one takes links of a day ago, and of the future."""
LEEWAY = 10
ADMIN = "https://admin.shopify.com"
AGAIN = "Open the app in your shop's admin once more."
Pairs = Iterable[tuple[str, str]]


def reply(config: ShopifyConfig, visit: Visit) -> Reply:
    """Answer a browser. Reject: 400, Unauthorized: 403, each with a sentence for the merchant."""
    match visit.path:
        case "":
            return _opened(config, visit)
        case "callback":
            return _returned(config, visit)
        case "connect":
            return _consent(config, visit, _shop(_fields(visit)))
    raise Reject("There is no such page. " + AGAIN)


def _opened(config: ShopifyConfig, visit: Visit) -> Reply:
    """The app's own address, from an install link or the shop's admin."""
    fields = _fields(visit)
    if "id_token" in fields:
        shop = embedded_shop(config, fields["id_token"], visit.now.timestamp())
        if fields.get("shop", shop) != shop:
            raise Unauthorized("This link is of another shop. " + AGAIN)
        grant = {"shop": shop, "id_token": fields["id_token"], "url": visit.url}
        return Reply(tenant=shop, grant=grant, frames=_frames(shop))
    shop = _shop(fields)
    _signed(config, visit)
    _fresh(fields, visit)
    if fields.get("embedded") == "1":  # Shopify's consent cannot be shown in a frame
        text = f"This app is not connected yet. Open {visit.url}/connect?shop={shop} in a tab of its own."
        return Reply(tenant=shop, frames=_frames(shop), unless_installed=Reply(text=text, frames=_frames(shop)))
    return Reply(tenant=shop, unless_installed=_consent(config, visit, shop))


def _consent(config: ShopifyConfig, visit: Visit, shop: str) -> Reply:
    """Shopify asks the merchant; a cookie proves that whoever comes back is who went."""
    nonce = secrets.token_urlsafe(24)
    ends = int(visit.now.timestamp()) + STATE_SECONDS
    query = {"client_id": config.client_id, "redirect_uri": f"{visit.url}/callback", "state": nonce}
    if config.subscriptions == "shop":  # else shopify.app.toml says it
        query["scope"] = ",".join(required(config))
    key = config.client_secret[0].get_secret_value()
    cookie = Cookie(COOKIE, f"{nonce}.{ends}.{_state_code(key, shop, nonce, ends)}", STATE_SECONDS)
    location = f"{base_url(config, shop)}/admin/oauth/authorize?{urlencode(query)}"
    return Reply(status=302, location=location, cookies=(cookie,))


def _returned(config: ShopifyConfig, visit: Visit) -> Reply:
    """Back from Shopify with a code."""
    fields = _fields(visit)
    shop = _shop(fields)
    _signed(config, visit)
    nonce = fields.get("state", "")
    _same_browser(config, visit, shop, nonce)
    _fresh(fields, visit)
    if not fields.get("code"):
        raise Unauthorized("Shopify gave no code. " + AGAIN)
    grant = {"shop": shop, "code": fields["code"], "url": visit.url}
    return Reply(tenant=shop, grant=grant, once=nonce, cookies=(Cookie(COOKIE, "", 0),))


def _fields(visit: Visit) -> dict[str, str]:
    """The query's fields; one that is given twice is a forgery, but for lists."""
    names = [name for name, _ in visit.query if not name.endswith("[]")]
    if len(set(names)) != len(names):
        raise Unauthorized("This link was changed on its way. " + AGAIN)
    return dict(visit.query)


def _shop(fields: dict[str, str]) -> str:
    shop = fields.get("shop", "")
    if not shop.isascii() or not is_shop(shop.lower()):
        raise Reject("The link names no shop of Shopify. " + AGAIN)
    return shop.lower()


def _signed(config: ShopifyConfig, visit: Visit) -> None:
    if not is_signed(visit.query, [one.get_secret_value() for one in config.client_secret]):
        raise Unauthorized("Shopify did not sign this link. " + AGAIN)


def is_signed(query: Pairs, client_secrets: Iterable[str]) -> bool:
    """Whether one of the secrets made the query's ``hmac``."""
    pairs = list(query)
    given = dict(pairs).get("hmac", "").encode()
    good = [hmac.compare_digest(signature(pairs, secret).encode(), given) for secret in client_secrets]
    return any(good)


def signature(query: Pairs, client_secret: str) -> str:
    """The hex HMAC of a query of Shopify's, of its decoded fields.

    https://shopify.dev/docs/apps/build/authentication-authorization/access-tokens/authorization-code-grant#step-2-verify-the-installation-request
    """
    fields: dict[str, Any] = {}
    for name, value in query:
        if name.endswith("[]"):
            fields.setdefault(name.removesuffix("[]"), []).append(value)
        elif name not in ("hmac", "signature"):
            fields[name] = value
    text = "&".join(f"{_escaped(name).replace('=', '%3D')}={_escaped(_text(fields[name]))}" for name in sorted(fields))
    return hmac.new(client_secret.encode(), text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("&", "%26")


def _fresh(fields: dict[str, str], visit: Visit) -> None:
    stamp = fields.get("timestamp", "")
    age = visit.now.timestamp() - int(stamp) if stamp.isascii() and stamp.isdigit() and len(stamp) < 16 else None
    if age is None or abs(age) > LINK_SECONDS:
        raise Unauthorized("This link is too old. " + AGAIN)


def _same_browser(config: ShopifyConfig, visit: Visit, shop: str, nonce: str) -> None:
    """The state is the one of the cookie that this browser got for this shop, a short while ago."""
    kept, _, rest = visit.cookies.get(COOKIE, "").partition(".")
    ends, _, code = rest.partition(".")
    number = int(ends) if ends.isascii() and ends.isdigit() and len(ends) < 16 else 0
    good = [
        hmac.compare_digest(_state_code(key.get_secret_value(), shop, kept, number).encode(), code.encode())
        for key in config.client_secret
    ]
    same = hmac.compare_digest(kept.encode(), nonce.encode("utf-8", "surrogatepass"))
    if not (nonce and same and any(good) and number > visit.now.timestamp()):
        raise Unauthorized("This install was begun in another browser, or too long ago. " + AGAIN)


def _state_code(secret: str, shop: str, nonce: str, ends: int) -> str:
    return hmac.new(secret.encode(), f"misoflow state\0{shop}\0{nonce}\0{ends}".encode(), hashlib.sha256).hexdigest()


def embedded_shop(config: ShopifyConfig, token: str, now: float) -> str:
    """The shop of a genuine id token, which lives a minute. Raises Unauthorized.

    https://shopify.dev/docs/apps/build/authentication-authorization/session-tokens
    """
    for secret in config.client_secret:
        try:
            claims = jwt.decode(
                token,
                secret.get_secret_value(),
                algorithms=["HS256"],
                audience=config.client_id,
                options={
                    "require": ["iss", "dest", "exp", "nbf"],
                    "verify_exp": False,  # by the visit's clock, below
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except (jwt.PyJWTError, ValueError, UnicodeError):
            continue
        shop = _host(claims["iss"])
        timely = _number(claims["nbf"]) - LEEWAY <= now < _number(claims["exp"]) + LEEWAY
        if timely and is_shop(shop) and shop == _host(claims["dest"]):
            return shop
    raise Unauthorized("Shopify did not vouch for this page. " + AGAIN)


def _host(url: Any) -> str:
    if not isinstance(url, str):
        return ""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return parts.netloc if parts.scheme == "https" else ""


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _frames(shop: str) -> tuple[str, ...]:
    """https://shopify.dev/docs/apps/build/security/set-up-iframe-protection"""
    return (f"https://{shop}", ADMIN)
