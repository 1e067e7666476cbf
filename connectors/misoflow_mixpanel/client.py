"""Mixpanel's HTTP APIs: hosts, credentials, limits, and what each answer means.

https://developer.mixpanel.com/reference/overview, https://developer.mixpanel.com/reference/rate-limits
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import date, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from misoflow import Halt, Reject, Retry

from misoflow_mixpanel.config import MixpanelConfig
from misoflow_mixpanel.reading import Lines

if TYPE_CHECKING:
    from misoflow_mixpanel.connector import Mixpanel

HOSTS = {
    "us": ("https://data.mixpanel.com", "https://mixpanel.com"),
    "eu": ("https://data-eu.mixpanel.com", "https://eu.mixpanel.com"),
    "in": ("https://data-in.mixpanel.com", "https://in.mixpanel.com"),
}
"""Region -> (raw export, query and app API)."""
EXPORTS_AN_HOUR = 60
QUERIES_AN_HOUR = 60
EXPORTS_A_SECOND = 3
AT_ONCE = 3
QUERIES_AT_ONCE = 5
IN_PROGRESS_SECONDS = 30.0
FULL_HOUR_SECONDS = 300.0
"""The hour's calls are used up by somebody else too: look again after a while."""
LONGEST_WAIT = 3600.0
CHUNK = 64 * 1024
ERROR_BYTES = 4096
TOO_LATE = "to_date cannot be later than today"
INTEGRATION = {"X-Mixpanel-Integration-ID": "miso"}


class NotInPlan(Reject):
    """402: the project's plan has no such API."""


class Forbidden(Halt):
    """403: the account's role does not open this API."""


class TooLate(Exception):
    """The project's today is earlier than ours; ``today`` is the one it has."""

    def __init__(self, today: date) -> None:
        super().__init__(today)
        self.today = today


class Client:
    """Calls for one connector, inside the project's limits."""

    def __init__(self, connector: Mixpanel) -> None:
        self._connector = connector
        self._config: MixpanelConfig = connector.config

    def host(self, family: int, region: str | None = None) -> str:
        """``family`` 0: raw export, 1: query and app."""
        return self._config.api_url or HOSTS[region or self._config.region][family]

    def headers(self) -> dict[str, str]:
        """Basic auth; the legacy project secret stands in place of the user, with an empty password."""
        secret = self._config.secret.get_secret_value()
        pair = f"{self._config.username}:{secret}" if self._config.username else f"{secret}:"
        return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode(), **INTEGRATION}

    def _params(self, more: Mapping[str, str]) -> dict[str, str]:
        own = {"project_id": str(self._config.project_id)} if self._config.username else {}
        return {**own, **more}

    @asynccontextmanager
    async def export(
        self, first: date, last: date, *, events: tuple[str, ...] = (), where: str = "", limit: int = 0
    ) -> AsyncIterator[tuple[Lines, AsyncIterator[bytes]]]:
        """The raw answer of an export of whole days, both included, and a reader for it.

        Raises TooLate, Retry, Halt, NotInPlan.
        """
        params = {"from_date": f"{first}", "to_date": f"{last}", "time_in_ms": "true"}
        if events:
            params["event"] = json.dumps(list(events))
        if where:
            params["where"] = where
        if limit:
            params["limit"] = str(limit)
        key = f"mixpanel/export/{self._config.project_id}"
        per_hour = EXPORTS_AN_HOUR - self._config.rate_reserve_per_hour
        headers = {**self.headers(), "Accept-Encoding": "gzip"}
        url = self.host(0) + "/api/2.0/export"
        async with (
            self._connector.budget.call(key, per_hour=per_hour, per_second=EXPORTS_A_SECOND, at_once=AT_ONCE),
            self._connector.http.stream("GET", url, params=self._params(params), headers=headers) as answer,
        ):
            if answer.status_code != 200:
                body = b""
                async for chunk in answer.aiter_raw():
                    body += chunk
                    if len(body) > ERROR_BYTES:
                        break
                await self._refused(key, answer.status_code, answer.headers, body[:ERROR_BYTES])
            gzipped = answer.headers.get("content-encoding", "identity") == "gzip"
            yield Lines(gzipped=gzipped), answer.aiter_raw(CHUNK)

    async def query(self, path: str, form: Mapping[str, str] | None = None, **params: str) -> Any:
        """A call to a query or app endpoint; the answer's JSON. Raises Retry, Halt, NotInPlan, Reject."""
        key = f"mixpanel/query/{self._config.project_id}"
        per_hour = QUERIES_AN_HOUR - self._config.rate_reserve_per_hour
        headers = {**self.headers(), "Content-Type": "application/x-www-form-urlencoded"}
        content = None if form is None else urlencode(form).encode()
        async with self._connector.budget.call(key, per_hour=per_hour, at_once=QUERIES_AT_ONCE):
            answer = await self._connector.http.request(
                "GET" if form is None else "POST",
                self.host(1) + path,
                content=content,
                params=self._params(params),
                headers=headers,
                classify=False,
            )
        if answer.status != 200:
            await self._refused(key, answer.status, answer.headers, answer.body[:ERROR_BYTES])
        return answer.json()

    async def _refused(self, key: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
        text = body.decode("utf-8", "replace")
        if status == 400 and TOO_LATE in text:
            raise TooLate(self.today(headers))
        if status == 401 or (status == 400 and "authenticate" in text):
            raise Halt(
                f"Mixpanel refuses the credentials for project {self._config.project_id}",
                "check username, secret, region and project_id, and whether the service account has expired;"
                " `misoflow check` tells which",
            )
        if status == 402:
            raise NotInPlan("the project's Mixpanel plan does not include this API")
        if status == 403:
            raise Forbidden(
                f"Mixpanel does not let this account read project {self._config.project_id}",
                "give the service account the role Analyst or higher in this project",
            )
        if status == 429:
            wait = _wait(headers.get("retry-after"), text)
            await self._connector.budget.block(key, wait)
            raise Retry("Mixpanel's rate limit is reached", wait)
        if status >= 500 or status in (408, 425):
            raise Retry(f"Mixpanel answered {status}")
        raise Reject(f"Mixpanel answered {status}")

    def today(self, headers: Mapping[str, str]) -> date:
        """The project's today by Mixpanel's clock; without a known zone, the earliest that anybody has."""
        try:
            now = parsedate_to_datetime(headers.get("date", ""))
        except ValueError:
            now = datetime.now(ZoneInfo("UTC"))
        if self._config.timezone:
            return now.astimezone(ZoneInfo(self._config.timezone)).date()
        return (now - timedelta(hours=12)).date()


def _wait(header: str | None, body: str) -> float:
    """Seconds until the next try. https://developer.mixpanel.com/reference/rate-limits"""
    try:
        asked = float(header or "")
    except ValueError:
        asked = -1.0
    if 0 <= asked <= LONGEST_WAIT:
        return asked
    return IN_PROGRESS_SECONDS if "in progress" in body else FULL_HOUR_SECONDS
