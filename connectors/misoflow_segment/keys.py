"""Property keys: ``productId``, ``Product ID`` and ``product_id`` are one property; the exact key wins.

The keys of the events of one source repeat, so what has to be renamed is worked out once for each set of keys.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def words(text: str) -> list[str]:
    return text.split()


PROPERTIES = words(
    "product_id sku id category name title brand variant price quantity coupon position url path referrer image_url "
    "query filters sorts products list_id list_name promotion_id promotion_name creative cart_id currency value "
    "order_id checkout_id affiliation total revenue subtotal shipping tax discount step shipping_method payment_method "
    "coupon_id coupon_name reason wishlist_id wishlist_name share_via review_id rating miso_id session_id "
    "content_asset_id content_asset_ids asset_id total_length livestream duration seconds experiment_id "
    "experiment_name variation_id variation_name"
)
TRAITS = words("created_at age gender city state country description group_id address company")
CALL = words(
    "type event messageId userId anonymousId previousId groupId timestamp originalTimestamp sentAt receivedAt "
    "properties traits context integrations name category"
)

# what of an event's properties may go to Miso as it stands, in custom_context; the rest stays here
CONTEXT = frozenset(
    words(
        "order_id cart_id checkout_id list_id coupon coupon_id currency position affiliation promotion_id "
        "promotion_name creative share_via wishlist_id wishlist_name step shipping_method payment_method reason "
        "review_id session_id experiment_id experiment_name variation_id variation_name"
    )
)
# by their keys in any spelling; none of these leaves, whatever is listed, be it as a trait or inside of a property
PERSONAL = frozenset(
    words("email phone firstname lastname name username avatar birthday street postalcode ip website title")
)
