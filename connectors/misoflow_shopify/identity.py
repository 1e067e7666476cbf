"""Who did it: the customer's id, and a visitor's id that is bound late where only a token is known.

The pixel names visitors by Shopify's ``clientId`` and says which cart, checkout and order are theirs; webhooks and
history know only those tokens. https://shopify.dev/docs/api/web-pixels-api/standard-api/analytics
"""

from __future__ import annotations

import uuid
from functools import lru_cache

from misoflow import Alias, LateId, aliased, privacy

from misoflow_shopify.fields import Json, hashed, token_of

MOST_ID = 512


def keys_of(shop: str, cart: str | None, checkout: str | None, order: str | None) -> list[str]:
    """Under which keys a visitor's id is bound; tokens are hashed, so that no state holds them."""
    tokens = (("cart", hash_of(shop, cart)), ("checkout", hash_of(shop, checkout)))
    found = [f"{kind}:{token}" for kind, token in tokens if token]
    return [*found, f"order:{order}"] if order else found


@lru_cache(maxsize=4096)
def hash_of(shop: str, token: str | None) -> str | None:
    """What stands for a cart or checkout, however its token was written; None where there is none.

    Each line of an order asks for it again.
    """
    bare = token_of(token)
    return None if bare is None else hashed(shop, bare)


@lru_cache(maxsize=4096)
def stand_in(shop: str, cart: str) -> str:
    """The visitor of a hashed cart whom no pixel has named: the same in all that comes of that cart."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://{shop}/cart/{cart}"))


def of_order(data: Json) -> dict[str, str | LateId | None]:
    """``user_id`` and ``anonymous_id`` of an order, a refund and all that belongs to it.

    Never without one: Miso would make one visitor a day of all anonymous orders.
    """
    shop, order = data["shop"], data["id"]
    own = privacy.text_of(data["anonymous"], MOST_ID)
    if own is not None:
        return {"user_id": data["customer"], "anonymous_id": own}
    cart = hash_of(shop, data["cart_token"])
    default = stand_in(shop, cart) if cart else f"shopify-order-{order}"
    late = aliased(*keys_of(shop, data["cart_token"], data["checkout_token"], order), default=default)
    return {"user_id": data["customer"], "anonymous_id": late}


def of_cart(shop: str, cart: str, customer: str | None) -> dict[str, str | LateId | None]:
    """The same of a change of a cart, which is named by its hash."""
    return {"user_id": customer, "anonymous_id": aliased(f"cart:{cart}", default=stand_in(shop, cart))}


def links(event: Json) -> list[Alias]:
    """That the cart, checkout and order of a pixel's event are its visitor's."""
    tokens = event["data"]
    if tokens is None:
        return []
    keys = keys_of(event["shop"], tokens["cart"], tokens["checkout"], tokens["order"])
    return [Alias(key, event["client"]) for key in keys]
