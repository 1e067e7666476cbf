"""Property keys: ``productId``, ``Product ID`` and ``product_id`` are one property; the exact key wins.

The keys of the events of one source repeat, so what has to be renamed is worked out once for each set of keys.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from misoflow_segment.names import key_of

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
WIDE = 200
"""More keys than this are not remembered."""


class Keys:
    """The wanted keys of one kind of object, in any spelling."""

    def __init__(self, wanted: tuple[str, ...] | list[str], keep: frozenset[str] = frozenset()) -> None:
        self._wanted = {key_of(name): name for name in wanted}
        self._keep = keep
        self._cached = lru_cache(maxsize=1024)(self._plan)

    def _plan(self, keys: tuple[str, ...]) -> tuple[dict[str, str], tuple[str, ...]]:
        """(spelling -> wanted key) of the keys to rename, and those of the result that ``keep`` names."""
        renames: dict[str, str] = {}
        present = set(keys)
        for key in keys:
            wanted = self._wanted.get(key_of(key))
            if wanted is not None and wanted not in present:
                renames[key] = wanted
                present.add(wanted)
        final = [renames.get(key, key) for key in keys]
        return renames, tuple(key for key in final if key in self._keep)

    def plan(self, data: Json) -> tuple[dict[str, str], tuple[str, ...]]:
        keys = tuple(data)
        return self._cached(keys) if len(keys) <= WIDE else self._plan(keys)

    def canonical(self, data: Json) -> Json:
        """The object with the wanted keys in their usual spelling: itself when there is nothing to rename."""
        renames, _ = self.plan(data)
        return renamed(data, renames) if renames else data


def renamed(data: Json, renames: dict[str, str]) -> Json:
    return {renames.get(key, key): value for key, value in data.items()}
