"""``misoflow check`` of a Mixpanel instance: wrong region, project, account and plan, told apart."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from misoflow import Halt, Problem, Reject, Retry

from misoflow_mixpanel.client import HOSTS, NotInPlan, TooLate

if TYPE_CHECKING:
    from misoflow_mixpanel.connector import Mixpanel

SECRET_ENDS = date(2027, 3, 3)
"""https://docs.mixpanel.com/docs/orgs-and-projects/managing-projects: project secrets are retired."""


async def problems(connector: Mixpanel) -> list[Problem]:
    """What a person should mend before history is pulled."""
    found: list[Problem] = []
    if not connector.config.username:
        text = f"the project secret stops working on {SECRET_ENDS.day} {SECRET_ENDS:%B %Y}"
        found.append(Problem("warn", text, "make a service account and set username and secret"))
    refused = await _account(connector)
    if refused is not None:
        return [*found, refused]
    return [*found, *await _export(connector), *await _query(connector)]


async def _account(connector: Mixpanel) -> Problem | None:
    """Whether the credentials are good here, elsewhere or nowhere, and whether they see the project."""
    config = connector.config
    status, body = await _asked(connector, config.region)
    if _unknown(status, body):
        return await _elsewhere(connector, body)
    if status == 200:
        projects = _projects(body)
        if config.username and projects and str(config.project_id) not in projects:
            known = ", ".join(sorted(projects)[:5])
            text = f"the account is good, but cannot see project {config.project_id} (it sees {known})"
            return Problem("fail", text, "correct project_id, or add the service account to the project")
        return None
    # a plan or a role is told by the export itself, and a proxy may pass on nothing but exports
    if status in (402, 403, 404, 405):
        return None
    return Problem("fail", f"Mixpanel answered {status} to a question about the account", "check again later")


async def _elsewhere(connector: Mixpanel, body: Any) -> Problem:
    """The credentials are unknown here: the region that does know them, or none. Each is asked once."""
    config = connector.config
    for region in () if config.api_url else HOSTS:
        if region != config.region and not _unknown(*await _asked(connector, region)):
            text = f'the credentials are good in region "{region}", not in "{config.region}"'
            return Problem("fail", text, f'set region = "{region}"')
    if not config.username:
        text = "Mixpanel knows no such project secret in any region"
        return Problem("fail", text, "copy it again (Project settings → Overview), or make a service account")
    expired = "expired" in str(body).lower()
    text = "the service account has expired" if expired else "Mixpanel knows no such account in any region"
    fix = "make a new one" if expired else "copy username and secret again; look whether the account has expired"
    return Problem("fail", text, f"Organization settings → Service accounts: {fix}")


def _unknown(status: int, body: Any) -> bool:
    """Bad credentials and a wrong region are a 401 or a 400."""
    return status == 401 or (status == 400 and "authenticate" in str(body))


async def _asked(connector: Mixpanel, region: str) -> tuple[int, Any]:
    """(status, body) of a question that only good credentials answer; a project secret opens no account."""
    client = connector.client
    day = str(_closed_day())
    account = bool(connector.config.username)
    answer = await connector.http.request(
        "GET",
        client.host(1, region) + "/api/app/me" if account else client.host(0, region) + "/api/2.0/export",
        params={} if account else {"from_date": day, "to_date": day, "limit": "1"},
        headers=client.headers(),
        classify=False,
    )
    if answer.status == 429 or answer.status >= 500:
        raise Retry(f"Mixpanel answered {answer.status}")
    try:
        return answer.status, answer.json()
    except Reject:
        return answer.status, ""


def _closed_day() -> date:
    """A day that is over in every time zone."""
    return datetime.now(UTC).date() - timedelta(days=2)


def _projects(body: Any) -> dict[str, Any]:
    results = body.get("results") if isinstance(body, dict) else None
    found = results.get("projects") if isinstance(results, dict) else None
    return found if isinstance(found, dict) else {}


async def _export(connector: Mixpanel) -> list[Problem]:
    """One event of a day: the only proof that the export is open."""
    try:
        async with connector.client.export(_closed_day(), _closed_day(), limit=1) as (_, chunks):
            async for _chunk in chunks:
                pass
    except NotInPlan:
        return [Problem("fail", "the project's plan has no raw export", "ask Mixpanel for the Data Export API")]
    except Halt as error:
        return [Problem("fail", error.reason, error.fix)]
    except TooLate:
        pass
    return []


async def _query(connector: Mixpanel) -> list[Problem]:
    """Profiles need the query API, which smaller plans do not have."""
    if not connector.config.profiles:
        return []
    try:
        await connector.client.query("/api/query/cohorts/list", {})
    except NotInPlan:
        text = "the project's plan has no query API: profiles do not come, events do"
        return [Problem("warn", text, "set profiles = false, or change the plan")]
    except (Halt, Reject) as error:
        return [Problem("warn", f"profiles cannot be read: {error.reason}", "set profiles = false, or mend it")]
    return []
