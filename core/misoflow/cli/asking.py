"""The part of ``misoflow check`` that asks Miso and the connectors."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from misoflow.budget import Unmetered
from misoflow.cli.app import CONFIG, UNAVAILABLE
from misoflow.config import DEFAULT, InstanceConfig, Settings
from misoflow.contain import cancelled
from misoflow.errors import Halt, MisoflowError, Retry
from misoflow.http import Http
from misoflow.miso import Later, Miso
from misoflow.pipeline import describe
from misoflow.registry import REPORT, load_connector, make

if TYPE_CHECKING:
    from misoflow.cli.setup import Findings

SECONDS = 15.0


async def ask(settings: Settings, instances: Iterable[InstanceConfig], wanted: set[str], findings: Findings) -> None:
    """Every Miso environment of ``wanted``, then every instance; each gives at least one finding."""
    for name in settings.miso:
        if name in wanted:
            await _miso(settings, name, findings)
    for instance in instances:
        await _instance(instance, findings)


async def _miso(settings: Settings, name: str, findings: Findings) -> None:
    where = "miso" if name == DEFAULT else f"miso.{name}"
    config = settings.miso[name]
    client = Miso(config.api_url, config.api_key, SECONDS)
    try:
        refusal = await client.check()
    finally:
        await client.close()
    if refusal is None:
        findings.add("ok", where, f"{config.api_url} takes the key")
    elif isinstance(refusal, Later):
        fix = f"look at {where}.api_url and at the network, then check again"
        findings.add("fail", f"{where}.api_url", refusal.reason, fix, UNAVAILABLE)
    else:
        findings.add("fail", f"{where}.api_key", refusal.reason, refusal.fix, CONFIG)


async def _instance(instance: InstanceConfig, findings: Findings) -> None:
    where = f"instances.{instance.name}"
    http = Http(timeout=SECONDS)
    try:
        connector = make(load_connector(instance.connector), instance.config, where)
        connector.http, connector.budget, connector.rules = http, Unmetered(), instance.rules
        async with asyncio.timeout(2 * SECONDS):
            problems: list[Any] = await connector.check()
        told = [(problem.level, where, problem.text, problem.fix, CONFIG) for problem in problems]
    except Retry as error:
        findings.add("fail", where, error.reason, "check again later", UNAVAILABLE)
        return
    except Halt as error:
        findings.add("fail", where, error.reason, error.fix, CONFIG)
        return
    except TimeoutError:
        findings.add("fail", where, f"its check took longer than {2 * SECONDS:.0f} s", "check again later", UNAVAILABLE)
        return
    except BaseException as error:  # a plugin's fault must not hide the findings about the others
        if cancelled(error):
            raise
        text = str(error) if isinstance(error, MisoflowError) else f"its check failed: {describe(error)}"
        findings.add("fail", where, text, REPORT, CONFIG)
        return
    finally:
        await http.close()
    for problem in told:
        findings.add(*problem)
    if all(level != "fail" for level, *_ in told):
        findings.add("ok", where, f"{instance.connector}, deliveries to /hooks/{instance.name}")
