"""``misoflow check`` tells what is wrong: region, project, account, role, plan, or the legacy secret."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from misoflow import Problem, Retry
from misoflow.budget import Unmetered
from misoflow.cli import app
from misoflow.http import Http
from misoflow_mixpanel import Mixpanel, client
from misoflow_mixpanel.config import MixpanelConfig
from misoflow_sandbox.mixpanel import Action, MixpanelSandbox, MixpanelWorld, Options
from misoflow_sandbox.serving import served
from typer.testing import CliRunner

WORLD = MixpanelWorld(region="eu")


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[MixpanelSandbox]:
    """A project in the EU; each region's hosts are paths of the one stand-in."""
    sandbox = MixpanelSandbox(WORLD, Options(limits="off"))
    with served(sandbox, date_header=False) as url:
        sandbox.url = url
        hosts = {region: (f"{url}/{region}", f"{url}/{region}") for region in client.HOSTS}
        monkeypatch.setattr("misoflow_mixpanel.client.HOSTS", hosts)
        monkeypatch.setattr("misoflow_mixpanel.checking.HOSTS", hosts)
        yield sandbox


@contextlib.asynccontextmanager
async def connector(**settings: Any) -> AsyncIterator[Mixpanel]:
    given = {"project_id": WORLD.project_id, "username": WORLD.username, "secret": WORLD.secret, "region": "eu"}
    made = Mixpanel(MixpanelConfig.model_validate(given | settings))
    made.http, made.budget = Http(), Unmetered()
    try:
        yield made
    finally:
        await made.http.close()


async def check(**settings: Any) -> list[Problem]:
    async with connector(**settings) as made:
        return await made.check()


async def test_nothing_to_say_where_all_is_well(sandbox: MixpanelSandbox) -> None:
    assert await check() == []
    assert len(sandbox.calls) == 3


@pytest.mark.parametrize("refusal", [400, 401])
async def test_the_right_region_is_named(sandbox: MixpanelSandbox, refusal: int) -> None:
    sandbox.change(refusal=refusal)
    (problem,) = await check(region="us")
    assert problem.level == "fail"
    assert 'good in region "eu", not in "us"' in problem.text
    assert problem.fix == 'set region = "eu"'
    asked = [call.path.split("/")[1] for call in sandbox.calls]
    assert sorted(asked) == sorted(set(asked)), "each region is asked once"


async def test_an_account_that_does_not_see_the_project(sandbox: MixpanelSandbox) -> None:
    (problem,) = await check(project_id=99)
    assert problem.level == "fail"
    assert "cannot see project 99" in problem.text
    assert "1234567" in problem.text
    assert "project_id" in problem.fix


@pytest.mark.parametrize("refusal", [400, 401])
async def test_wrong_credentials(sandbox: MixpanelSandbox, refusal: int) -> None:
    sandbox.change(refusal=refusal)
    for settings in ({"secret": "wrong"}, {"username": "nobody"}):
        (problem,) = await check(**settings)
        assert problem.level == "fail"
        assert "no such account in any region" in problem.text
        assert "expired" in problem.fix


async def test_an_expired_account(sandbox: MixpanelSandbox) -> None:
    sandbox.change(expired=True)
    (problem,) = await check()
    assert "expired" in problem.fix
    sandbox.change(expired=False)
    body = {"error": "Service account has expired"}
    sandbox.faults.add(*[Action(status=401, body=body)] * 3)
    (problem,) = await check()
    assert problem.text == "the service account has expired"


async def test_a_missing_plan_and_a_missing_role(sandbox: MixpanelSandbox) -> None:
    sandbox.change(no_plan=["query"])
    (problem,) = await check()
    assert (problem.level, "no query API" in problem.text) == ("warn", True)
    assert await check(profiles=False) == []
    sandbox.change(no_plan=["export", "query"])
    problems = await check()
    assert [one.level for one in problems] == ["fail", "warn"]
    assert "plan has no raw export" in problems[0].text
    sandbox.change(no_plan=[], forbidden=["export"])
    (problem,) = await check()
    assert "does not let this account read" in problem.text
    assert "role" in problem.fix
    sandbox.change(forbidden=["query"])
    (problem,) = await check()
    assert (problem.level, "profiles cannot be read" in problem.text) == ("warn", True)


async def test_the_legacy_secret_works_until_its_date(sandbox: MixpanelSandbox) -> None:
    (problem,) = await check(username="", secret=WORLD.project_secret)
    assert problem.level == "warn"
    assert "3 March 2027" in problem.text
    assert "service account" in problem.fix
    sandbox.change(no_plan=["export"])
    problems = await check(username="", secret=WORLD.project_secret)
    assert "plan has no raw export" in problems[1].text
    sandbox.change(no_plan=[])
    problems = await check(username="", secret="wrong")
    assert [one.level for one in problems] == ["warn", "fail"]
    assert "project secret" in problems[1].text
    problems = await check(username="", secret=WORLD.project_secret, region="in")
    assert problems[1].fix == 'set region = "eu"'


async def test_an_outage_is_no_verdict_on_the_credentials(sandbox: MixpanelSandbox) -> None:
    sandbox.faults.add(Action(status=503))
    with pytest.raises(Retry):
        await check()


def test_the_command_says_it(sandbox: MixpanelSandbox, tmp_path: Path) -> None:
    settings = tmp_path / "plugins.toml"
    text = f'[miso]\napi_key = "k"\napi_url = "{sandbox.url}"\n[instances.mix]\nconnector = "mixpanel"\n'
    text += f'project_id = {WORLD.project_id}\nusername = "{WORLD.username}"\nsecret = "{WORLD.secret}"\n'
    settings.write_text(text)
    done = CliRunner().invoke(app, ["check", "mix", "--config", str(settings), "--json"])
    found = [json.loads(line) for line in done.stdout.splitlines()]
    mine = [one for one in found if one["where"] == "instances.mix" and one["level"] == "fail"]
    assert [one["fix"] for one in mine] == ['set region = "eu"']
    assert WORLD.secret not in done.stdout + done.stderr
    settings.write_text(text + 'region = "eu"\n')
    done = CliRunner().invoke(app, ["check", "mix", "--config", str(settings), "--json"])
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert {"level": "ok", "where": "instances.mix"}.items() <= found[-1].items()
