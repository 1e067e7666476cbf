"""Values of Shopify's payloads as the neutral shapes have them: any field may be null, absent or of another type.

Ids are decimal texts, money is decimal text, times are RFC 3339 in UTC; what is none of these is None.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

Json = dict[str, Any]
ID = re.compile(r"[0-9]{1,20}", re.ASCII)
AMOUNT = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,9})?", re.ASCII)
MOST_TEXT = 512
MOST_ITEMS = 2048
"""Of a list in one payload: Shopify's own limit of variants, and far beyond the lines of an order."""
MOST_TOKEN = 255
MOST_UNITS = 10**9
EARLIEST = "2000"


def mapping(value: Any) -> Json:
    """The value if it is an object, else an empty one."""
    return value if type(value) is dict else {}


def listing(value: Any) -> list[Json]:
    """The objects of a list; what is no list has none."""
    return [item for item in value[:MOST_ITEMS] if type(item) is dict] if type(value) is list else []


def id_of(value: Any) -> str | None:
    """The decimal text of an id: a number, a text, or the last segment of a GID such as gid://shopify/Product/1.

    https://shopify.dev/docs/api/usage/gids
    """
    if type(value) is int:
        value = str(value) if 0 < value < 10**20 else ""
    if type(value) is not str:
        return None
    last = value.rpartition("/")[2].partition("?")[0]
    return last if ID.fullmatch(last) and last.strip("0") else None


def text_of(value: Any, most: int = MOST_TEXT) -> str | None:
    """A text that is not blank, cut to ``most`` characters."""
    return value.strip()[:most] or None if type(value) is str else None


def money_of(value: Any) -> str | None:
    """An amount as decimal text, exactly as many digits as were sent: currencies have none, two or three."""
    if type(value) is int or type(value) is float:
        value = str(value)
    return value.strip() if type(value) is str and AMOUNT.fullmatch(value.strip()) else None


def decimal_of(value: Any) -> Decimal | None:
    """``money_of`` as a number to calculate with."""
    text = money_of(value)
    try:
        return None if text is None else Decimal(text)
    except InvalidOperation:
        return None


def amount_of(text: Any) -> int | float | None:
    """Decimal text as the number that Miso gets; None where it is none or negative."""
    value = decimal_of(text)
    if value is None or value < 0:
        return None
    return int(value) if value == value.to_integral_value() else float(value)


def count_of(value: Any) -> int | None:
    """A whole number that is not negative."""
    return value if type(value) is int and 0 <= value <= MOST_UNITS else None


def moment_of(value: Any) -> datetime | None:
    """A time with a zone, in UTC; None for what is none, or is before 2000."""
    if type(value) is not str or not EARLIEST <= value < "A":
        return None
    try:
        moment = datetime.fromisoformat(value)
        return None if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def time_of(value: Any) -> str | None:
    """RFC 3339 in UTC, in seconds or milliseconds as given."""
    moment = moment_of(value)
    return None if moment is None else written(moment)


def written(moment: datetime) -> str:
    """RFC 3339 in UTC; milliseconds where there are any."""
    utc = moment.astimezone(UTC)
    return utc.isoformat(timespec="milliseconds" if utc.microsecond >= 1000 else "seconds").replace("+00:00", "Z")


def with_ms(time: str) -> str:
    """A time in UTC with milliseconds, the form that is checked fastest."""
    return f"{time[:-1]}.000Z" if len(time) == len("2026-01-31T12:00:00Z") else time


def ms_of(moment: datetime) -> int:
    """Milliseconds since 1970."""
    return int(moment.timestamp() * 1000)


def token_of(value: Any) -> str | None:
    """The token of a cart or checkout, from a text or the last segment of a GID, without what follows a ``?``.

    https://shopify.dev/docs/api/storefront/latest/objects/Cart#field-Cart.fields.id
    """
    if type(value) is int:
        value = str(value)
    if type(value) is not str or len(value) > 2 * MOST_TOKEN:
        return None
    last = value.strip().partition("?")[0].rpartition("/")[2]
    return last if 0 < len(last) <= MOST_TOKEN and last.isascii() and last.isprintable() else None


def hashed(shop: str, token: str) -> str:
    """What stands for a cart's token outside: who holds the token itself can open the cart."""
    return hashlib.blake2b(f"{shop}\0{token}".encode("utf-8", "replace"), digest_size=16).hexdigest()


def order_state_id(data: Json, otherwise: str = "") -> str:
    """The event id of how a neutral order stands: the same however it came, another one whenever that changed.

    ``updated_at`` has seconds, in which an order can be refunded and cancelled, so what was taken back counts too.
    ``otherwise`` stands for it where it is null.
    """
    units = sum(line["quantity"] or 0 for refund in data["refunds"] for line in refund["lines"])
    taken = f"{units or ''}{'c' if data['cancelled_at'] else ''}"
    return f"order_state/{data['id']}@{data['updated_at'] or otherwise}" + (f"/{taken}" if taken else "")


def customer_id(data: Json, otherwise: str = "") -> str:
    """The event id of one version of a neutral customer: the same however it came.

    ``updated_at`` has seconds, so what may change within one counts too. ``otherwise`` stands for it where it is null.
    """
    told = "\0".join(str(data[field]) for field in ("country", "state", "orders_count"))
    told += f"\0{amount_of(data['amount_spent'])}"
    digest = hashlib.blake2b(told.encode("utf-8", "replace"), digest_size=4).hexdigest()
    return f"customer/{data['id']}@{data['updated_at'] or otherwise}/{digest}"
