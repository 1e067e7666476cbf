"""An engine and the receiver's application over one inbox, for syncs that really come in by HTTP."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
from misoflow_webhooks.metrics import Metrics
from misoflow_webhooks.receiver import Receiver
from misoflow_webhooks.routes import Routes, load_hooks

from tests.core.site import Site, site

URL = "http://receiver/hooks/mix/cohorts"
USER, PASSWORD, OLD = "miso", "a-password-of-the-tests", "the-password-before-it"
AUTH = (USER, PASSWORD)
SETTINGS = f"""
[instances.mix]
connector = "mixpanel"
project_id = 1234567
username = "misoflow.sandbox"
secret = "sandbox-secret"
{{more}}
[instances.mix.cohorts]
user = "{USER}"
passwords = ["{PASSWORD}", "{OLD}"]
{{cohorts}}
"""


class Hooked:
    """``client`` speaks to the receiver."""

    def __init__(self, made: Site, client: httpx.AsyncClient, receiver: Receiver) -> None:
        self.site, self.client, self.receiver = made, client, receiver

    def cohorts(self, attribute: str = "mixpanel_cohorts") -> dict[str, list[str]]:
        """Of each user in some cohort, the cohorts that Miso holds."""
        users = self.site.users()
        found = {user: record.get("custom_attributes", {}).get(attribute) for user, record in users.items()}
        return {user: names for user, names in found.items() if names}


@contextlib.asynccontextmanager
async def hooked(tmp_path: Path, more: str = "", cohorts: str = "") -> AsyncIterator[Hooked]:
    async with site(tmp_path, more=SETTINGS.format(more=more, cohorts=cohorts)) as made:
        receiver = Receiver(Routes(load_hooks(made.settings)), made.inbox, Metrics())
        transport = httpx.ASGITransport(receiver)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport) as client:
            yield Hooked(made, client, receiver)
