"""Contract tests of installs: which install a delivery belongs to, and what a browser with a forged link gets."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from misoflow.connector import Connector
from misoflow.errors import Reject, Unauthorized
from misoflow.installable import Installable, Reply, Visit
from misoflow.testing.base import Given, fail, only_if
from misoflow.testing.deliveries import genuine, has_deliveries
from misoflow.testing.samples import named
from misoflow.testing.subject import make

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
PATHS = ("", "callback", "no-such-page", "../callback")
FIELDS = ("shop", "tenant", "code", "state", "hmac", "host", "timestamp", "id_token", "error", "embedded")
"""What platforms put into their links; a field that is not looked at does no harm."""
FORGED: dict[str, str] = {
    "empty": "",
    "words": "this is no proof",
    "number": "9" * 400,
    "sign": "-1",
    "not_ascii": "Ünterschrift €\x00\r\n",
    "surrogate": "\udcff",
    "endless": "a" * 100_000,
    "host": "evil.example/.myshopify.com?@x:443#",
    "token": "eyJhbGciOiJub25lIn0.eyJpc3MiOjV9.",
}


def tells_tenants(contract: type[Given]) -> bool:
    return has_deliveries(contract) and contract.connector.tenant is not Connector.tenant


def is_installed(contract: type[Given]) -> bool:
    return issubclass(contract.connector, Installable)


class InstallingContract(Given):
    """An install gets its own deliveries, and nobody is installed by a link that anybody can write."""

    @only_if(tells_tenants)
    def test_tenants_are_stable(self, delivery: str) -> None:
        """``tenant`` gives the same text for a delivery each time, by whichever object."""
        found = []
        for connector in (make(self), make(self)):
            request = genuine(self, connector, named(self, delivery))
            found += [connector.tenant(request), connector.tenant(request)]
        if not all(isinstance(one, str) for one in found) or len(set(found)) > 1:
            fail(f"`tenant` gave {found} for the same delivery {delivery!r}: it must come from what the platform sends")

    @only_if(is_installed)
    @pytest.mark.parametrize("forged", FORGED)
    def test_forged_visits_are_refused(self, forged: str) -> None:
        """Whatever a link holds, ``visit`` replies or raises Unauthorized or Reject, and grants nothing."""
        connector = make(self)
        assert isinstance(connector, Installable)
        given = tuple((name, FORGED[forged]) for name in FIELDS)
        for path in PATHS:
            for query in (given, given * 2, given[:1], ()):
                visit = Visit(path, query, "https://misoflow.example/install/acme", NOW)
                where = f"`visit` of {path or 'the app itself'!r} with a forged query ({forged}, {len(query)} fields)"
                try:
                    reply = connector.visit(visit)
                except (Unauthorized, Reject):
                    continue
                except Exception as error:
                    fail(f"{where} raised {type(error).__name__}: raise Unauthorized or Reject with a sentence")
                if not isinstance(reply, Reply):
                    fail(f"{where} gave {type(reply).__name__}: give a Reply")
                if reply.grant is not None:
                    fail(f"{where} gave a grant: anybody could install with it. Verify what the platform signed first")
