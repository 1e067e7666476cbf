"""Bounds on how fast deliveries come: by an instance, by an install, by a sender's address.

All are token buckets of one second: a second's worth may come at once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Hashable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

log = logging.getLogger("misoflow.serve")

MOST_KEYS = 50_000
"""Senders remembered at a time, about 10 MB; the one not heard of for the longest goes first."""
IPV6_SENDER = 64
"""Bits of an IPv6 address that stand for one sender: whoever has one address there has them all."""


class Rate:
    """A bound on deliveries a second."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._most = max(1.0, per_second)
        self._left = self._most
        self._seen = time.monotonic()

    def take(self) -> bool:
        """Whether one more may come in now."""
        now = time.monotonic()
        self._left = min(self._most, self._left + (now - self._seen) * self._per_second)
        self._seen = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Rates:
    """A bound for each of many senders, in bounded memory."""

    def __init__(self, most: int = MOST_KEYS) -> None:
        self._most = most
        self._rates: dict[Hashable, Rate] = {}

    def __len__(self) -> int:
        return len(self._rates)

    def take(self, key: Hashable, per_second: float) -> bool:
        """Whether one more of ``key`` may come in now."""
        rate = self._rates.pop(key, None) or Rate(per_second)
        self._rates[key] = rate  # behind all others: the first is the one not heard of for the longest
        if len(self._rates) > self._most:
            del self._rates[next(iter(self._rates))]
        return rate.take()


class Senders:
    """Where requests come from. X-Forwarded-For counts only where one of our own proxies wrote it."""

    def __init__(self, trusted_proxies: tuple[str, ...] = ()) -> None:
        self._trusted = [ip_network(one) for one in trusted_proxies]
        self._warned = False

    def address(self, peer: str, forwarded: str) -> str:
        """The address nearest to us that is no proxy of ours; IPv6 as its network. "" where there is none.

        ``forwarded`` is the header: each proxy adds the address that it saw at the right end, so what stands left
        of a stranger's address is what that stranger claims.
        """
        found = _parsed(peer)
        left = forwarded.split(",") if forwarded else []
        self._warn(found, left)
        while left and found is not None and self._is_ours(found):
            nearer = _parsed(left.pop())
            if nearer is None:
                break
            found = nearer
        if isinstance(found, IPv6Address):
            return str(IPv6Network((found, IPV6_SENDER), strict=False))
        return str(found or "")

    def _warn(self, peer: IPv4Address | IPv6Address | None, forwarded: list[str]) -> None:
        """Once: behind a proxy that is not named here everybody would share one sender's bound."""
        if forwarded and not self._warned and peer is not None and peer.is_private and not self._is_ours(peer):
            self._warned = True
            log.warning(
                "requests come through a proxy at %s, and all count as one sender; "
                'name it in plugins.toml: [engine] trusted_proxies = ["%s"]',
                peer,
                peer,
            )

    def _is_ours(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._trusted)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    """An address as proxies write it: with a port or without, IPv4 inside of IPv6 as what it is."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text)
    except ValueError:
        return None
    if isinstance(found, IPv6Address):
        return found.ipv4_mapped or found
    return found
