"""What proves a browser in an install: the page's token, and nonces that are good for one reply."""

from __future__ import annotations

import base64
import binascii
import hmac
import time
from collections.abc import Hashable

from misoflow.clock import now_ms
from misoflow.vault import Vault

TOKEN_SECONDS = 3600
NONCE_SECONDS = 600
MOST_NONCES = 100_000


class Tokens:
    """Tokens by which the page of an install asks for its state: signed, for one install, good for an hour.

    A cookie would not do: in a frame of the platform's admin browsers send none.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def make(self, instance: str, tenant: str) -> str:
        """A token for the install ``tenant`` of ``instance``; of characters that need no quoting anywhere."""
        name = base64.urlsafe_b64encode(tenant.encode()).decode().rstrip("=")
        until = now_ms() // 1000 + TOKEN_SECONDS
        return f"{name}.{until}.{self._vault.keyed_hash(_signed(instance, tenant, until)).hex()}"

    def tenant(self, instance: str, token: str) -> str | None:
        """Whose token it is; None if it is none of ours, or too old."""
        name, _, rest = token.partition(".")
        digits, _, code = rest.partition(".")
        if not (token.isascii() and digits.isdigit() and len(digits) <= 12 and int(digits) >= now_ms() // 1000):
            return None
        try:
            tenant = base64.urlsafe_b64decode(name + "=" * (-len(name) % 4)).decode()
        except (binascii.Error, ValueError):
            return None
        signed = self._vault.keyed_hashes(_signed(instance, tenant, int(digits)))
        good = [hmac.compare_digest(one.hex().encode(), code.encode()) for one in signed]
        return tenant if any(good) else None


class Nonces:
    """Remembers for ten minutes, in this process, what was used. When it is full nothing is good any more."""

    def __init__(self, most: int = MOST_NONCES) -> None:
        self._most = most
        self._used: dict[Hashable, float] = {}

    def take(self, nonce: Hashable) -> bool:
        """Whether it was unused; it is used now."""
        now = time.monotonic()
        while self._used and next(iter(self._used.values())) <= now - NONCE_SECONDS:
            del self._used[next(iter(self._used))]
        if nonce in self._used or len(self._used) >= self._most:
            return False
        self._used[nonce] = now
        return True

    def give_back(self, nonce: Hashable) -> None:
        """It was not used after all."""
        self._used.pop(nonce, None)


def _signed(instance: str, tenant: str, until: int) -> bytes:
    return b"\0".join((b"page of an install", instance.encode(), tenant.encode(), b"%d" % until))
