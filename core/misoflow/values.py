"""Values as they come in events: names, numbers, money and ids in any of several types and spellings, or nothing."""

from __future__ import annotations

import math
import re
import unicodedata
from functools import lru_cache
from typing import Any

from misoflow import paths
from misoflow.privacy import cleaned, plain

MAX_PRODUCT_ID = 512
LONGEST_WITH_BLANKS = 2 * MAX_PRODUCT_ID
LARGEST_EXACT = 2**53
UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\Z", re.IGNORECASE)
Json = dict[str, Any]
_DIGITS = frozenset("0123456789.,-+")


def path_getter(path: str) -> paths.Getter:
    """A function from JSON to what stands at ``$.a.b[0]`` or ``a.b[0]`` in it, None where there is nothing.

    ValueError when it is no path. The paths of rules are the same.
    """
    return paths.path_getter(path)


def key_of(text: str) -> str:
    """NFKC, case folded, letters and digits only: the form in which names and property keys are compared."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(char for char in folded if char.isalnum())


def snake(text: str) -> str:
    """``Coupon Applied``, ``couponApplied`` and ``coupon-applied`` as ``coupon_applied``."""
    words: list[str] = []
    word = ""
    for char in unicodedata.normalize("NFKC", text):
        starts_word = char.isupper() and word and not word[-1].isupper()
        if not char.isalnum() or starts_word:
            if word:
                words.append(word)
            word = char if char.isalnum() else ""
        else:
            word += char
    return "_".join([*words, word] if word else words).lower()


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_REACHES = _words(
    "email mail emailaddress mailaddress phone phoneno phonenumber telephone telephonenumber tel mobilephone "
    "mobilenumber cellphone ip ipaddress ipaddr ipv username firstname lastname fullname middlename givenname "
    "familyname surname nickname street streetaddress streetname addressline birthday birthdate dateofbirth dob "
    "token apikey secret password passwd passphrase creditcard cardnumber iban ssn"
)
"""Personal, or a key to something, whatever stands before it."""
_OF_A_PERSON = _words("name address zip zipcode postcode postalcode avatar mobile fax")
"""Personal alone or of a person; a product and a store have them too."""
_PERSONS = _words(
    "user customer client contact recipient sender billing shipping delivery invoice person buyer shopper member guest "
    "visitor subscriber account home work"
)
_TAILS = _REACHES | {person + what for person in _PERSONS for what in _REACHES | _OF_A_PERSON}


@lru_cache(maxsize=4096)
def is_personal(name: str) -> bool:
    """Whether a property's or trait's name, in any spelling, says that it holds what Miso must not get.

    The last words count: ``customer_email`` and ``$.user.phoneNumber2`` do, ``email_template`` and ``store_name`` not.
    """
    words = [bare for word in snake(name).split("_") if (bare := word.rstrip("0123456789"))]
    tails = {"".join(words[index:]) for index in range(len(words))}
    return "".join(words) in _OF_A_PERSON or not _TAILS.isdisjoint(tails)


def not_personal(names: tuple[str, ...], also: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """For settings that list names: the names. ValueError when one is personal, or its key is in ``also``."""
    for name in names:
        if is_personal(name) or key_of(name) in also:
            raise ValueError(f"{name!r} names personal data or a secret, which Miso must not get; take it out")
    return names


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
        return _product_id(value) if len(value) <= LONGEST_WITH_BLANKS else None
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


TEXTS = frozenset({"search", "category", "context", "custom_action_name"})
"""Fields of an interaction that hold free text."""


def tidied(field: str, value: Any) -> Any:
    """A record's field as a rule found it, as Miso takes it; ids that are none are left out, texts have no contacts."""
    if field in ("product_ids", "product_group_ids"):
        many = value if type(value) is list else [value]
        return [found for one in many if (found := product_id_of(one)) is not None]
    if field in ("revenue", "duration", "rating"):
        return number_of(value)
    if field == "quantities":
        many = value if type(value) is list else [value]
        return [1 if (number := number_of(one)) is None else number for one in many]
    return cleaned(value) if field in TEXTS else value


def fitted_quantities(quantities: Any, ids: int) -> list[int | float] | None:
    """As many quantities as there are products: missing ones are 1, those too many are left out."""
    if type(quantities) is not list or not ids:
        return None
    return (quantities + [1] * ids)[:ids]


WIDE = 200
"""More keys than this are not remembered."""


class Keys:
    """The wanted keys of one kind of object, in any spelling."""

    def __init__(self, wanted: tuple[str, ...] | list[str], keep: frozenset[str] = frozenset()) -> None:
        self._wanted = {key_of(name): name for name in wanted}
        self._keep = keep
        self._cached = lru_cache(maxsize=1024)(self._plan)

    def _plan(self, keys: tuple[str, ...]) -> tuple[dict[str, str], tuple[str, ...]]:
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
        """(spelling -> wanted key) of the keys to rename, and those of the result that ``keep`` names."""
        keys = tuple(data)
        return self._cached(keys) if len(keys) <= WIDE else self._plan(keys)

    def canonical(self, data: Json) -> Json:
        """The object with the wanted keys in their usual spelling: itself when there is nothing to rename."""
        keys = tuple(data)
        renames, _ = self._cached(keys) if len(keys) <= WIDE else self._plan(keys)
        return renamed(data, renames) if renames else data


def renamed(data: Json, renames: dict[str, str]) -> Json:
    """The object with its keys renamed; those that are not in ``renames`` stay."""
    return {renames.get(key, key): value for key, value in data.items()}
