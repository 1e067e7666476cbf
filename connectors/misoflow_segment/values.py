"""Numbers, money and product ids as they come in events: any of several types and spellings, or nothing."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

from misoflow_segment.privacy import plain

MAX_PRODUCT_ID = 512
LARGEST_EXACT = 2**53
_DIGITS = frozenset("0123456789.,-+")


def number_of(value: Any) -> int | float | None:
    """A finite number, from a number or a text such as ``"3"``, ``"€ 1.234,50"``; None for everything else."""
    kind = type(value)
    if kind is int:
        return value if -LARGEST_EXACT <= value <= LARGEST_EXACT else None
    if kind is float:
        return value if math.isfinite(value) else None
    return _from_text(value) if kind is str else None


def _from_text(text: str) -> int | float | None:
    if len(text) > 40:
        return None
    try:
        number = float(text)
    except ValueError:
        number = _from_money(text)
    if not math.isfinite(number) or abs(number) > LARGEST_EXACT:
        return None
    return int(number) if number.is_integer() else number


def _from_money(text: str) -> float:
    """The last of ``.`` and ``,`` is the decimal mark; a lone comma before three digits marks thousands."""
    digits = "".join(char for char in text if char in _DIGITS)
    letters = sum(char.isalpha() for char in text)
    if not digits or letters > 3:  # a currency has three letters; anything longer is a sentence
        return math.nan
    point, comma = digits.rfind("."), digits.rfind(",")
    if comma > point:
        thousands = point < 0 and (digits.count(",") > 1 or len(digits) - comma == 4)
        digits = digits.replace(",", "") if thousands else digits.replace(".", "").replace(",", ".")
    else:
        digits = digits.replace(",", "")
        if digits.count(".") > 1:
            digits = digits.replace(".", "")
    try:
        return float(digits)
    except ValueError:
        return math.nan


def money_of(value: Any) -> int | float | None:
    """A number that is not negative."""
    number = number_of(value)
    return number if number is not None and number >= 0 else None


def product_id_of(value: Any) -> str | None:
    """A product id as Miso takes it, or None: no blanks around it, no comma, no leading ``_``, at most 512 long."""
    kind = type(value)
    if kind is str:
        return _product_id(value) if len(value) <= 2 * MAX_PRODUCT_ID else None
    if kind is int:
        return str(value) if -(10**80) < value < 10**80 else None
    return str(int(value)) if kind is float and value.is_integer() else None


@lru_cache(maxsize=16384)
def _product_id(value: str) -> str | None:
    text = plain(value)
    if not text or len(text) > MAX_PRODUCT_ID or "," in text or text[0] == "_":
        return None
    return text


def first_number(data: dict[str, Any], *keys: str) -> int | float | None:
    """The first of the keys that holds a number that is not negative."""
    for key in keys:
        if key in data:
            number = money_of(data[key])
            if number is not None:
                return number
    return None
