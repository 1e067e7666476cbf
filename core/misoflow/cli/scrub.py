"""A sample out of a real event: its shape and its fault stay, what may tell of a person is replaced.

Equal values are replaced by equal ones, so that what belongs together still does.
"""

from __future__ import annotations

import re
from typing import Any

from misoflow.privacy import MAIL, PHONE

IPV4 = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])")
IPV6 = re.compile(r"(?<![0-9A-Fa-f:])(?:[0-9A-Fa-f]{1,4}:){3,7}[0-9A-Fa-f:]{1,4}(?![0-9A-Fa-f:])")
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
URL = re.compile(r"(https?://[^\s?#]+)[?#][^\s]*")
IDENTITIES = {
    "userid": "user",
    "anonymousid": "visitor",
    "previousid": "former",
    "groupid": "group",
    "customerid": "customer",
    "externalid": "external",
    "distinctid": "visitor",
    "deviceid": "device",
    "advertisingid": "advertiser",
    "sessionid": "session",
}
PERSONAL = frozenset(
    """email emailaddress mail tel telephone msisdn whatsapp
    name firstname lastname fullname middlename nickname username displayname login phone phonenumber
    mobile address street street1 street2 address1 address2 line1 line2 postalcode zip zipcode city birthday birthdate
    dateofbirth dob ssn avatar photo ip ipaddress useragent latitude longitude company employer recipient recipients
    sharemessage reviewbody message comment note notes password secret token apikey writekey authorization signature
    cardnumber iban""".split()  # noqa: SIM905 (a word list reads better than its quotes)
)
CATALOGUE = frozenset(("products", "product", "items", "lineitems", "campaign", "library", "app", "os"))
"""Below these, ``name`` is a product's, a campaign's or a program's."""


LONG = 6
"""A shorter identity is found by chance inside of other texts."""


def scrubbed(value: Any) -> Any:
    """The same JSON with personal-looking values replaced, equal values by equal ones, types kept."""
    scrubber = _Scrubber()
    scrubber.value(value, "", "")  # who is in it; then also where they stand inside of other texts
    return scrubber.value(value, "", "")


class _Scrubber:
    def __init__(self) -> None:
        self._stand_ins: dict[tuple[str, str], str] = {}

    def value(self, value: Any, key: str, parent: str) -> Any:
        if isinstance(value, dict):
            return {self._text(name): self.value(item, _plain(name), key) for name, item in value.items()}
        if isinstance(value, list):
            return [self.value(item, key, parent) for item in value]
        if key in IDENTITIES and isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            return self._stand_in(IDENTITIES[key], value)
        if key in PERSONAL and not (key == "name" and parent in CATALOGUE):
            return _blank(value)
        return self._text(value) if isinstance(value, str) else value

    def _stand_in(self, word: str, value: str | int) -> str | int:
        """The same for the same value wherever it stands, so that links between records stay visible."""
        count = sum(one == word for one, _ in self._stand_ins)
        known = self._stand_ins.setdefault((word, str(value)), f"{word}-{count + 1}")
        return int(known.rpartition("-")[2]) if isinstance(value, int) else known

    def _text(self, text: str) -> str:
        text = MAIL.sub(lambda found: f"{self._stand_in('someone', found[0])}@example.com", text)
        for (_, value), stand_in in self._stand_ins.items():
            if len(value) >= LONG:
                text = text.replace(value, stand_in)
        text = URL.sub(r"\1", text)
        text = IPV6.sub("2001:db8::1", IPV4.sub("192.0.2.1", text))
        return text if DATE.match(text) else PHONE.sub("+15550100", text)


def _blank(value: Any) -> Any:
    if isinstance(value, bool) or value is None or value == "":
        return value
    return 0 if isinstance(value, int | float) else "removed"


def _plain(key: str) -> str:
    return "".join(c for c in key.casefold() if c.isalnum())
