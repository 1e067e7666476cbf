"""S9: no secret and nothing personal is in any text that a failure leaves behind (see ``leaky.Evidence``).

Log lines are taken without registered secrets, so that no mask hides what should never have been said.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import io
import json
import logging
import shutil
import socket
import sqlite3
from collections.abc import Callable, Iterator, Sized
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from misoflow import logs
from misoflow.cli import app
from misoflow.config import Settings, load
from misoflow.connector import Event, Request
from misoflow.control import ActionError, call, socket_address
from misoflow.engine import Engine
from misoflow.errors import ConfigError, Halt, MisoflowError, Reject, Retry, Unauthorized
from misoflow.http import Http
from misoflow.inbox import Inbox, InboxFull, InboxUnavailable, repair
from misoflow.instances import Instance
from misoflow.miso import Later, Miso
from misoflow.pipeline import Translator, split
from misoflow.status import history, recent, status
from misoflow.store import Store
from misoflow.vault import Vault, VaultError
from misoflow_sandbox.miso import MisoSandbox, served
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from tests.core.leaky import FAILING, PEOPLE, PERSON, RECORDS, SECRETS, SPELLINGS, TIME, Evidence, hits
from tests.core.test_http import answering, serving
from tests.webhooks.conftest import Server, _launch

NOWHERE = "http://127.0.0.1:1"
MISO = f'[miso]\napi_key = "{SECRETS["api key"]}"\n'
ENGINE = f'[engine]\nkey = "{SECRETS["vault key"]}"\nlinger_ms = 20\n'
SEGMENT = f"""
[instances.shop]
connector = "segment"
shared_secret = "{SECRETS["shared secret"]}"
write_key = "{SECRETS["write key"]}"
batch_token = "{SECRETS["batch token"]}"
"""
SHOP = '[instances.shop]\nconnector = "segment"\n'
LEAKY = '[instances.web]\nconnector = "tests.core.leaky:Leaky"\n'
ALL = f"""
[miso]
api_key = "{SECRETS["api key"]}"
api_url = "{{url}}"
[miso.hashed]
api_key = "{SECRETS["api key"]}"
api_url = "{{url}}"
user_ids = "hmac"
user_id_key = "{SECRETS["hmac key"]}"
{ENGINE}
{LEAKY}
[instances.hooked]
connector = "tests.core.leaky:Leaky"
miso = "hashed"
hook = "tests.core.leaky:hook"
{SEGMENT}
"""


@contextlib.contextmanager
def logged() -> Iterator[io.StringIO]:
    """The log lines of meanwhile, as a process of misoflow writes them but for the mask over registered secrets."""
    root = logging.getLogger()
    lines = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(root, "handlers", root.handlers)
        patch.setattr(root, "level", root.level)
        patch.setattr(logs, "_secrets", set())
        patch.setattr(logs, "register_secret", lambda value: None)
        with contextlib.redirect_stderr(lines):
            logs.setup("json")
        yield lines


@pytest.fixture
def evidence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[Evidence]:
    """What the test gathers, and after it all logs, output and files of its data folder; none may hold a canary."""
    gathered = Evidence()
    with logged() as lines:
        yield gathered
    written = capfd.readouterr()
    gathered.add("log", lines.getvalue())
    gathered.add("output", written.out, written.err)
    gathered.folder(tmp_path / "var")
    assert gathered.found() == []


def settings_of(folder: Path, text: str) -> Settings:
    (folder / "plugins.toml").write_text(text, "utf-8")
    return load(folder / "plugins.toml", strict=True)


# Configuration

CONFIGURATIONS: dict[str, str] = {
    "not toml": f'[miso]\napi_key = "{SECRETS["api key"]}\n',
    "not quoted": f"[miso]\napi_key = {SECRETS['api key']}\n",
    "twice": f"{MISO}{MISO}",
    "key twice": f'{MISO}api_key = "{SECRETS["api key"]}"\n',
    "a list for a key": f'[miso]\napi_key = ["{SECRETS["api key"]}"]\n',
    "a table for a key": f'[miso]\napi_key = {{ enviroment = "{SECRETS["api key"]}" }}\n',
    "misspelt key": f'[miso]\napi_kee = "{SECRETS["api key"]}"\n',
    "miso is no table": f'miso = "{SECRETS["api key"]}"\n',
    "credentials in the url": f'{MISO}api_url = "https://me:{SECRETS["api key"]}@api.example"\n',
    "query in the url": f'{MISO}api_url = "https://api.example?api_key={SECRETS["api key"]}"\n',
    "key for a port": f'{MISO}api_url = "https://api.example:{SECRETS["api key"]}"\n',
    "password with a slash": f'{MISO}api_url = "https://me:{SECRETS["api key"]}/x@api.example"\n',
    "key in a plain url": f'{MISO}api_url = "http://{SECRETS["api key"]}"\n',
    "key for a choice": f'{MISO}user_ids = "{SECRETS["hmac key"]}"\n',
    "short hmac key": f'{MISO}user_ids = "hmac"\nuser_id_key = "{SECRETS["hmac key"][:15]}"\n',
    "key for a number": f'{MISO}[engine]\nport = "{SECRETS["vault key"]}"\n',
    "short vault key": f'{MISO}[engine]\nkey = "{SECRETS["vault key"][:31]}"\n',
    "misspelt vault key": f'{MISO}[engine]\nkeys = "{SECRETS["vault key"]}"\n',
    "short batch token": f'{MISO}{SHOP}batch_token = "{SECRETS["batch token"][:21]}"\n',
    "one blank secret": f'{MISO}{SHOP}shared_secret = ["{SECRETS["shared secret"]}", " "]\n',
    "a number among secrets": f'{MISO}{SHOP}write_key = ["{SECRETS["write key"]}", 5]\n',
    "secret for a switch": f'{MISO}{SEGMENT}batch_auth = "{SECRETS["batch token"]}"\n',
    "unknown setting": f'{MISO}{SEGMENT}shared_secrets = "{SECRETS["shared secret"]}"\n',
    "secret for days": f'{MISO}{SEGMENT}dedup = "{SECRETS["shared secret"]}"\n',
    "page rule": f'{MISO}{SEGMENT}[[instances.shop.pages]]\npath = "/x"\ntype = "{SECRETS["shared secret"]}"\n',
    "unknown environment": f'{MISO}{SEGMENT}miso = "nowhere"\n',
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_settings_that_cannot_be_used(name: str, tmp_path: Path, evidence: Evidence) -> None:
    with pytest.raises(ConfigError) as caught:
        Vault.from_settings(settings_of(tmp_path, CONFIGURATIONS[name]))
    evidence.raised(caught.value)
    assert cli(evidence, tmp_path, "check").exit_code in (69, 78)
    cli(evidence, tmp_path, "config", "check")
    cli(evidence, tmp_path, "config", "show")
    cli(evidence, tmp_path, "status")


# Vault


def _file(folder: Path, content: bytes) -> Settings:
    (folder / "var").mkdir()
    (folder / "var" / "key").write_bytes(content)
    return settings_of(folder, MISO)


VAULTS: dict[str, Callable[[Path], Any]] = {
    "short key file": lambda folder: Vault.from_settings(_file(folder, b"short")),
    "damaged key file": lambda folder: Vault.from_settings(_file(folder, b"\xff" * 40)),
    "another key": lambda _: Vault(b"k" * 32).open(_vault().seal(json.dumps(PERSON).encode(), b"x"), b"x"),
    "another context": lambda _: _vault().open(_vault().seal(json.dumps(PERSON).encode(), b"x"), b"y"),
    "cut off": lambda _: _vault().open(_vault().seal(json.dumps(PERSON).encode(), b"x")[:-1], b"x"),
    "not sealed": lambda _: _vault().open(json.dumps(PERSON).encode(), b"x"),
}


def _vault() -> Vault:
    return Vault(SECRETS["vault key"].encode(), SECRETS["hmac key"].encode())


@pytest.mark.parametrize("name", VAULTS)
def test_a_key_or_a_value_that_does_not_open(name: str, tmp_path: Path, evidence: Evidence) -> None:
    with pytest.raises((ConfigError, VaultError)) as caught:
        VAULTS[name](tmp_path)
    evidence.raised(caught.value)
    evidence.add("repr", _vault())


# Segment's proofs

BODY = json.dumps({"type": "identify", "userId": PEOPLE["email"], "traits": PERSON, "messageId": "m"}).encode()
BATCH = b"[" + BODY + b"," + BODY + b"]"


def signature(body: bytes, secret: str = SECRETS["shared secret"]) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha1).hexdigest()


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


Sent = tuple[str, bytes, dict[str, str]]
"""path, body, headers"""
DELIVERIES: dict[str, Sent] = {
    "no signature": ("", BODY, {}),
    "another's signature": ("", BODY, {"x-signature": signature(BODY, "another")}),
    "the secret for a signature": ("", BODY, {"x-signature": SECRETS["shared secret"]}),
    "no hex": ("", BODY, {"x-signature": PEOPLE["email"]}),
    "batch without second factor": ("", BATCH, {"x-signature": signature(BODY)}),
    "batch with half a token": (
        "",
        BATCH,
        {"x-signature": signature(BODY), "authorization": "Bearer " + SECRETS["batch token"][:-1]},
    ),
    "secret for a token": ("", BATCH, {"x-signature": signature(BODY), "authorization": SECRETS["shared secret"]}),
    "token, no signature": ("", BODY, {"authorization": SECRETS["batch token"]}),
    "token in the path, no signature": (f"t/{SECRETS['batch token']}", BODY, {}),
    "function's signature": (
        "",
        BODY,
        {"webhook-signature": f"v1,{SECRETS['shared secret']}", "webhook-timestamp": "1700000000"},
    ),
    "function's time": ("", BODY, {"webhook-signature": "v1,x", "webhook-timestamp": PEOPLE["phone"]}),
    "write key of another": ("v1/t", BODY, {"authorization": basic(SECRETS["shared secret"] + ":")}),
    "write key in the body": ("v1/t", json.dumps({"writeKey": SECRETS["api key"], **PERSON}).encode(), {}),
    "write key, bad basic": ("v1/t", BODY, {"authorization": "Basic " + SECRETS["write key"]}),
    "tracking, not json": ("v1/t", BODY[:-3], {"authorization": basic(SECRETS["write key"] + ":")}),
    "tracking, a list": ("v1/t", BATCH, {"authorization": basic(SECRETS["write key"] + ":")}),
    "tracking, no batch": ("v1/batch", BODY, {"authorization": basic(SECRETS["write key"] + ":")}),
    "tracking, too large": (
        "v1/t",
        BODY[:-1] + b',"x":"' + b"x" * 33_000 + b'"}',
        {"authorization": basic(SECRETS["write key"] + ":")},
    ),
}


@pytest.mark.parametrize("name", DELIVERIES)
def test_a_delivery_that_proves_nothing(name: str, tmp_path: Path, evidence: Evidence) -> None:
    config = settings_of(tmp_path, MISO + SEGMENT).instances["shop"]
    connector = Instance("shop", config, load(tmp_path / "plugins.toml").miso["default"]).connector
    path, body, headers = DELIVERIES[name]
    channel = "tracking" if path.startswith("v1/") else "webhook"
    with pytest.raises((Unauthorized, Reject)) as caught:
        connector.verify(Request(body, headers, channel, path))
    evidence.raised(caught.value)
    evidence.add("repr", config.config, str(config.config), config)


# The listeners


@pytest.fixture
def server(tmp_path: Path, evidence: Evidence) -> Iterator[Server]:
    running = _launch(settings_of(tmp_path, ALL.format(url=NOWHERE)))
    yield running
    running.stop()


def gather(evidence: Evidence, server: Server, path: str, body: bytes, headers: dict[str, str]) -> int:
    answer = server.request("POST", quote(path), body, headers)
    evidence.add("answer", answer.headers, answer.body)
    return answer.status


REFUSALS = {
    name: (f"/hooks/shop/{path}".rstrip("/"), body, headers) for name, (path, body, headers) in DELIVERIES.items()
} | {
    "unknown instance": ("/hooks/" + SECRETS["shared secret"], BODY, {}),
    "unknown path": ("/hooks/shop/" + PEOPLE["email"], BODY, {}),
    "outside": ("/" + SECRETS["api key"], BODY, {}),
    "bad gzip": ("/hooks/shop", BODY, {"content-encoding": "gzip", "x-signature": signature(BODY)}),
    "bad coding": ("/hooks/shop", BODY, {"content-encoding": PEOPLE["email"]}),
    "bug in verify": ("/hooks/web", BODY, {"x-do": "bug"}),
    "bug in tenant": ("/hooks/web", BODY, {"x-do": "tenant"}),
}


def test_what_the_public_listener_answers_and_logs(server: Server, evidence: Evidence) -> None:
    for name, sent in REFUSALS.items():
        assert 400 <= gather(evidence, server, *sent) < 500, name
    many = "&".join(f"{n}={PEOPLE['email']}" for n in range(1100))
    assert server.request("POST", f"/hooks/web?{many}", BODY).status == 400
    evidence.add("answer", server.raw(f"POST /hooks/shop HTTP/1.1\r\n{SECRETS['api key']}\r\n\r\n".encode()))
    evidence.add("answer", server.raw(f"{SECRETS['api key']} {PEOPLE['email']}\r\n\r\n".encode()))
    assert not server.stored()
    metrics = server.admin("/metrics")
    assert b'outcome="unauthorized"' in metrics.body
    evidence.add("metrics", metrics.headers, metrics.body)


def test_a_bug_in_answer_is_logged_without_what_it_was_about(server: Server, evidence: Evidence) -> None:
    assert gather(evidence, server, "/hooks/web", json.dumps([PERSON]).encode(), {}) == 200
    assert len(server.stored()) == 1


def test_the_admin_listener_of_an_inbox_that_lost_something(server: Server, evidence: Evidence) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/" + SECRETS["api key"], "/metrics?" + SECRETS["vault key"]):
        answer = server.admin(path)
        evidence.add("answer", answer.headers, answer.body)
    headers = {"x-signature": signature(BODY)}
    assert gather(evidence, server, "/hooks/shop", BODY, headers) == 200
    database = sqlite3.connect(server.data / "inbox.db")
    with database:
        database.execute("DROP TABLE deliveries")
    database.close()
    assert gather(evidence, server, "/hooks/shop", BODY, headers) == 503
    (server.data / "store.db").write_bytes(b"no database " * 500)
    for path in ("/readyz", "/metrics"):
        answer = server.admin(path)
        evidence.add("answer", answer.headers, answer.body)
    assert answer.status == 503


# Translating

SEGMENTS: dict[str, dict[str, Any]] = {
    "type": {"type": PEOPLE["email"]},
    "no type": PERSON,
    "event": {"type": "track", "event": PERSON},
    "product id": {"type": "track", "event": "Product Added", "properties": {"product_id": PERSON}},
    "products": {"type": "track", "event": "Order Completed", "properties": {"products": PEOPLE["name"]}},
    "time": {"type": "track", "event": "Product Viewed", "timestamp": PEOPLE["email"], "properties": {"sku": "p"}},
    "user": {"type": "identify", "userId": PERSON, "traits": PERSON},
    "underscore": {"type": "identify", "userId": "_" + PEOPLE["email"], "traits": PERSON},
    "traits": {"type": "identify", "userId": "u", "traits": PEOPLE["street"]},
    "alias": {"type": "alias", "previousId": [PEOPLE["email"]], "userId": PERSON},
    "comma": {"type": "track", "event": "Product Added", "properties": {"product_id": PEOPLE["email"] + ",x"}},
    "delete": {"type": "delete", "userId": PERSON},
    "nobody": {"type": "track", "event": "Product Added", "userId": None, "properties": {"sku": "p", **PERSON}},
}
CASES = [("web", {"do": do, **PERSON}) for do in (*FAILING, "secret")]
CASES += [("web", {"do": "record", "record": record, **PERSON}) for record in RECORDS]
CASES += [("hooked", {"do": "fine", **PERSON})]
CASES += [("shop", {"anonymousId": "a", "timestamp": TIME, **sent}) for sent in SEGMENTS.values()]
TRANSLATED_ALL_THE_SAME = ("alias", "traits", "underscore", "products", "user", "nobody", "event", "time")


def case_id(case: tuple[str, dict[str, Any]]) -> str:
    return f"{case[0]}-{case[1].get('record') or case[1].get('do') or CASES.index(case)}"


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_an_event_that_cannot_be_translated(
    case: tuple[str, dict[str, Any]], tmp_path: Path, evidence: Evidence
) -> None:
    name, data = case
    settings = settings_of(tmp_path, ALL.format(url=NOWHERE))
    config = settings.instances[name]
    instance = Instance(name, config, settings.miso[config.miso])
    if name == "shop":
        (event,), _ = split(instance, Request(json.dumps({**data, "messageId": "m"}).encode()))
    else:
        event = Event("e", data["do"], data)
    made, _ = Translator(_vault()).outcome(instance, event, 1)
    assert made.state in ("dead", "pending")
    assert name == "shop" or made.state == "dead"
    evidence.add("outcome", made.reason or "", made.path or "", made.topic, made.dead_kind or "")


@pytest.mark.parametrize("body", [b"{" + BODY, json.dumps(PERSON).encode(), b"\xff" + BODY, BODY * 2, b"[" * 300])
def test_a_delivery_that_cannot_be_split(body: bytes, tmp_path: Path, evidence: Evidence) -> None:
    settings = settings_of(tmp_path, ALL.format(url=NOWHERE))
    instance = Instance("web", settings.instances["web"], settings.miso["default"])
    events, why = split(instance, Request(body))
    assert (events, why is None) == ([], False)
    evidence.add("outcome", *(why or ()))


# Miso's answers

PERSONAL = json.dumps({"message": f"{SECRETS['api key']} {PERSON}", **PERSON}).encode()
LINE = f"data.0.user_id ({PEOPLE['email']}) is invalid. The attribute is not allowed."
NESTED = f"data.0.user_id ({PEOPLE['name']} is invalid {PEOPLE['email']}) is invalid. It is not allowed."
DETAIL = {"loc": ["body", "data", 0, "user_id"], "msg": "value is not a valid text", "input": PERSON}
ANSWERS: dict[str, tuple[int, bytes]] = {
    **{str(status): (status, PERSONAL) for status in (400, 401, 403, 404, 408, 409, 413, 429, 500, 503)},
    "400 playground": (400, json.dumps({"message": f"playground {PERSON}"}).encode()),
    "400 timeout": (400, json.dumps({"message": f"timeout {PERSON}"}).encode()),
    "422 line": (422, json.dumps({"data": [LINE]}).encode()),
    "422 nested": (422, json.dumps({"data": [NESTED]}).encode()),
    "422 no line": (422, json.dumps({"data": [str(PERSON), PERSON]}).encode()),
    "422 detail": (422, json.dumps({"detail": [DETAIL]}).encode()),
    "422 envelope": (422, json.dumps({"detail": PERSON}).encode()),
    "200 with errors": (200, json.dumps({"errors": True, "data": [LINE, str(PERSON)]}).encode()),
    "200 garbage": (200, str(PERSON).encode()),
    "500 garbage": (500, b"\xff" + PERSONAL),
}


async def ask_everything(url: str, evidence: Evidence, key: str = SECRETS["api key"]) -> None:
    miso = Miso(url, SecretStr(key), 3.0)
    record = json.dumps({"data": [{"user_id": PEOPLE["email"], **PERSON}]}).encode()
    evidence.add("decision", await miso.upload("users", record), await miso.delete("users", [PEOPLE["email"]]))
    evidence.add("decision", await miso.task("users", PEOPLE["email"]), await miso.check() or "")
    found = await miso.ids("users")
    evidence.add("decision", found if isinstance(found, list) is False else "")
    await miso.close()


@pytest.mark.parametrize("name", ANSWERS)
async def test_what_miso_answers(name: str, evidence: Evidence) -> None:
    status_code, body = ANSWERS[name]
    async with serving(answering(status_code, body, "retry-after: x", f"location: /{SECRETS['api key']}")) as url:
        await ask_everything(url, evidence)


async def _hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """No answer at all."""


async def _half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n" + PERSONAL)
    await writer.drain()


async def _nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(PERSONAL + b"\r\n\r\n")
    await writer.drain()


WIRES = {
    "hang up": _hang_up,
    "half": _half,
    "nonsense": _nonsense,
    "bad gzip": answering(200, PERSONAL, "content-encoding: gzip"),
    "bad coding": answering(200, PERSONAL, f"content-encoding: {SECRETS['api key']}"),
    "too large": answering(200, PERSONAL * 100_000),
}


@pytest.mark.parametrize("name", WIRES)
async def test_a_connection_to_miso_that_breaks(name: str, evidence: Evidence) -> None:
    async with serving(WIRES[name]) as url:
        await ask_everything(url, evidence)
        async with serving(WIRES[name]) as other:
            http = Http(timeout=3.0, headers={"X-API-KEY": SecretStr(SECRETS["api key"])})
            with pytest.raises(Retry) as caught:
                await http.get(f"{other}/?key={SECRETS['api key']}")
            evidence.raised(caught.value)
            await http.close()


KEYS = {"line end": "\r\nx-other: 1", "umlaut": "ü", "emoji": "\U0001f600", "blank": " ", "null": "\0"}


@pytest.mark.parametrize("ending", KEYS)
async def test_a_key_that_no_header_can_hold(ending: str, evidence: Evidence) -> None:
    async with serving(answering(401, PERSONAL)) as url:
        await ask_everything(url, evidence, SECRETS["api key"] + KEYS[ending])


URLS = {
    "plain http": "http://shop.example/?token={secret}",
    "no host": "{secret}",
    "bad port": "https://me:{secret}/x@shop.example/",
    "line end": "https://shop.example/?token={secret}\n",
    "no scheme": "ftp://me:{secret}@shop.example/",
    "nobody there": "http://127.0.0.1:1/{secret}?token={secret}",
    "credentials": "http://me:{secret}@127.0.0.1:1/",
    "bad idna": "https://shop..example/?token={secret}",
}


@pytest.mark.parametrize("name", URLS)
async def test_an_address_that_cannot_be_called(name: str, evidence: Evidence) -> None:
    http = Http(timeout=3.0)
    with pytest.raises(MisoflowError) as caught:
        await http.get(URLS[name].format(secret=SECRETS["api key"]))
    evidence.raised(caught.value)
    with pytest.raises(MisoflowError) as caught:
        async with http.stream("GET", URLS[name].format(secret=SECRETS["api key"])):
            pass
    evidence.raised(caught.value)
    await http.close()


@pytest.mark.parametrize("code", [400, 401, 402, 403, 413, 422, 429, 500])
async def test_an_answer_that_a_connector_cannot_use(code: int, evidence: Evidence) -> None:
    http = Http(timeout=3.0, headers={"Authorization": SecretStr(SECRETS["shared secret"])})
    async with serving(answering(code, PERSONAL, f"set-cookie: {SECRETS['write key']}")) as url:
        with pytest.raises((Halt, Reject, Retry)) as caught:
            await http.post(f"{url}/{PEOPLE['email']}", content=PERSONAL, params={"token": SECRETS["write key"]})
        evidence.raised(caught.value)
    async with serving(answering(200, str(PERSON).encode())) as url:
        answer = await http.get(url)
        with pytest.raises(Reject) as unread:
            answer.json()
        evidence.raised(unread.value)
    await http.close()


def test_a_miso_that_is_not_there(evidence: Evidence) -> None:
    asyncio.run(ask_everything(NOWHERE, evidence))
    assert isinstance(asyncio.run(Miso(NOWHERE, SecretStr(SECRETS["api key"])).check()), Later)


# Everything together: what a whole run leaves behind


def cli(evidence: Evidence, folder: Path, *arguments: str, stdin: str | None = None) -> Result:
    """A command with the folder's settings, in its human form and as JSON; the result of the latter."""
    for options in ((), ("--json",)):
        given = [*arguments, *options, "--config", str(folder / "plugins.toml")]
        result = CliRunner().invoke(app, given, input=stdin)
        evidence.add(f"misoflow {arguments[0]}", result.stdout, result.stderr)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            evidence.raised(result.exception)
            raise AssertionError(f"{arguments} ended with a traceback") from result.exception
    return result


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which everything went wrong that can."""
    folder = tmp_path_factory.mktemp("used")
    sandbox = MisoSandbox(SECRETS["api key"])
    quoting = f"data.0.user_id ({PEOPLE['email']}) is invalid. '{PEOPLE['email']}' is not known here."
    refusal = {"status": 422, "body": {"errors": True, "data": [quoting]}, "match": {"path": "/v1/interactions"}}
    sandbox.faults.add(json.dumps([refusal, {"reject_marker": "refused"}]).encode())
    with logged() as lines, served(sandbox) as url:
        asyncio.run(_use(settings_of(folder, ALL.format(url=url))))
    (folder / "work.log").write_text(lines.getvalue(), "utf-8")
    return folder


async def _use(settings: Settings) -> None:
    settings.data.mkdir()
    inbox = Inbox.open(settings.data, Vault.from_settings(settings), 10**9)
    fine = [("web", {"do": do, **PERSON}) for do in ("fine", "fetch", "alias", "late", "once", "merge", "refused")]
    engine = Engine(settings)
    ready = asyncio.Event()
    task = asyncio.create_task(engine.run(ready.set))
    await ready.wait()
    await inbox.append([("web", Request(json.dumps([{"id": "first", "do": "fine", **PERSON}]).encode()))])
    await _settled(settings)  # alone in its request, so that Miso's sentence is about it
    for number, (name, data) in enumerate(CASES + fine + [("web", {"do": "skip", **PERSON})]):
        sent: Any = {"id": f"e{number}", "messageId": f"e{number}", **data}
        body = json.dumps(sent if name == "shop" else [sent]).encode()
        path = f"t/{SECRETS['batch token']}" if name == "shop" else ""
        await inbox.append([(name, Request(body, path=path, received_at=datetime.now(UTC)))])
    await inbox.append([("web", Request(b"{" + BODY, received_at=datetime.now(UTC)))])
    await call(settings, "backfill.start", instance="web", start=86_400_000, end=2 * 86_400_000)
    await _settled(settings)
    async with asyncio.timeout(20):
        while not any(one["error"] for one in history(settings, Vault.from_settings(settings))["slices"]):
            await asyncio.sleep(0.05)
    engine.stopping.set()
    await task
    await inbox.close()


async def _settled(settings: Settings) -> None:
    async with asyncio.timeout(20):
        await asyncio.sleep(0.1)
        while any(one["pending"] for one in status(settings)["instances"].values()):
            await asyncio.sleep(0.05)


@pytest.fixture
def folder(used: Path, tmp_path: Path) -> Path:
    """A copy of it to break further; Miso is not there any more."""
    shutil.copytree(used, tmp_path, dirs_exist_ok=True)
    (tmp_path / "plugins.toml").write_text(ALL.format(url=NOWHERE), "utf-8")
    return tmp_path


def test_a_whole_run_leaves_no_plain_value_in_its_files(folder: Path, evidence: Evidence) -> None:
    settings = load(folder / "plugins.toml")
    figures = status(settings)["instances"]
    assert figures["web"]["dead"] >= len(FAILING) + len(RECORDS) + 3
    evidence.add("status", json.dumps(figures, ensure_ascii=False))
    events = recent(settings, Vault.from_settings(settings), limit=1000)
    assert {"ValueError", "KeyError"} <= {str(one["reason"]).split(" ")[0] for one in events}
    assert any("is invalid. '…' is not known here." in str(one["reason"]) for one in events)
    evidence.add("events", *(json.dumps(one, ensure_ascii=False) for one in events))
    text = (folder / "work.log").read_text("utf-8")
    assert "pulling all of web failed" in text
    assert "ValueError" in text
    evidence.add("log", text)


COMMANDS: dict[str, tuple[list[str], int, str | None]] = {
    "status": (["status"], 0, None),
    "status of nobody": (["status", "nobody"], 2, None),
    "tail": (["tail", "--no-follow", "-n", "1000"], 0, None),
    "dead list": (["dead", "list"], 0, None),
    "dead show": (["dead", "show", "1"], 0, None),
    "dead show --as-sample": (["dead", "show", "1", "--as-sample"], 0, None),
    "dead show none": (["dead", "show", "9999"], 2, None),
    "dead retry": (["dead", "retry", "--all"], 1, None),
    "dead retry none": (["dead", "retry", "9999"], 2, None),
    "dead discard none": (["dead", "discard", "9999", "--yes"], 1, None),
    "replay": (["replay"], 1, None),
    "replay from never": (["replay", "--from", "never"], 2, None),
    "pause nobody": (["pause", "nobody"], 2, None),
    "resume nobody": (["resume", "--miso", "nobody"], 2, None),
    "forget": (["forget", PEOPLE["email"], "--yes"], 0, None),
    "forget nowhere": (["forget", PEOPLE["email"], "--miso", "nowhere", "--yes"], 2, None),
    "check": (["check"], 78, None),
    "config check": (["config", "check"], 0, None),
    "config show": (["config", "show"], 0, None),
    "simulate": (["simulate", "shop", "--url", NOWHERE, "--wait", "0"], 69, None),
    "simulate nothing": (["simulate", "shop", "nothing"], 2, None),
    "backfill --dry-run": (["backfill", "web", "--dry-run"], 2, None),
    "init": (["init", "--yes"], 78, None),
    "explain": (["explain", "shop", "-"], 0, json.dumps(SEGMENTS["product id"])),
    "explain garbage": (["explain", "shop", "-"], 0, "{" + BODY.decode()),
    "explain a bug": (["explain", "web", "-"], 0, json.dumps([{"id": "e", "do": "int", **PERSON}])),
    "explain an event": (["explain", "web", "-", "--topic", "key"], 0, json.dumps(PERSON)),
    "explain no json": (["explain", "web", "-", "--topic", "key"], 2, str(PERSON)),
    "explain --set": (["explain", "segment", "-", "--set", f"shared_secret={SECRETS['shared secret']}=x="], 0, "{}"),
    "explain --set short": (
        ["explain", "segment", "-", "--set", f"batch_token={SECRETS['batch token'][:15]}"],
        2,
        "{}",
    ),
    "explain --set no pair": (["explain", "segment", "-", "--set", SECRETS["shared secret"]], 2, "{}"),
    "explain --set nothing": (
        ["explain", "segment", "-", "--set", f"shared_secrets={SECRETS['shared secret']}"],
        2,
        "{}",
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command(name: str, folder: Path, evidence: Evidence) -> None:
    arguments, code, stdin = COMMANDS[name]
    assert cli(evidence, folder, *arguments, stdin=stdin).exit_code == code


def test_every_dead_letter_as_a_sample(folder: Path, evidence: Evidence) -> None:
    listed = CliRunner().invoke(app, ["dead", "list", "--json", "--config", str(folder / "plugins.toml")])
    numbers = [json.loads(line)["id"] for line in listed.stdout.splitlines()]
    assert len(numbers) > len(FAILING)
    for number in numbers[:: len(numbers) // 12]:
        cli(evidence, folder, "dead", "show", str(number), "--as-sample")


def test_another_key_and_damaged_files(folder: Path, evidence: Evidence) -> None:
    text = (folder / "plugins.toml").read_text("utf-8")
    (folder / "plugins.toml").write_text(text.replace(SECRETS["vault key"], SECRETS["vault key"][::-1]), "utf-8")
    for command in (["work"], ["serve", "--port", "0", "--admin-port", "0"], ["dead", "retry", "--all"]):
        assert cli(evidence, folder, *command).exit_code == 78
    (folder / "plugins.toml").write_text(text, "utf-8")
    raw = bytearray((folder / "var" / "inbox.db").read_bytes())
    for at in range(8192, len(raw), 997):
        raw[at] ^= 0xFF
    (folder / "var" / "inbox.db").write_bytes(raw)
    settings = load(folder / "plugins.toml")
    evidence.add("repair", repair(settings.data, Vault.from_settings(settings)).text)
    (folder / "var" / "store.db").write_bytes(b"no database " * 500)
    for command in (["work"], ["status"], ["repair"]):
        CliRunner().invoke(app, [*command, "--config", str(folder / "plugins.toml")])


async def test_an_inbox_that_takes_nothing(tmp_path: Path, evidence: Evidence) -> None:
    settings = settings_of(tmp_path, ALL.format(url=NOWHERE))
    settings.data.mkdir()
    vault = Vault.from_settings(settings)
    inbox = Inbox.open(settings.data, vault, 1)
    with pytest.raises(ConfigError) as locked:
        Inbox.open(settings.data, vault, 1)
    evidence.raised(locked.value)
    with pytest.raises(InboxFull) as full:  # noqa: PT012 (which append is refused does not matter)
        for _ in range(50):
            await inbox.append([("web", Request(BODY * 5, received_at=datetime.now(UTC)))])
    evidence.raised(full.value)
    await inbox.close()
    with pytest.raises(ConfigError) as foreign:
        Inbox.open(settings.data, Vault(b"k" * 32), 1)
    evidence.raised(foreign.value)
    with pytest.raises((InboxUnavailable, InboxFull)) as closed:
        await inbox.append([("web", Request(BODY))])
    evidence.raised(closed.value)


async def test_a_store_that_takes_nothing(tmp_path: Path, evidence: Evidence) -> None:
    settings = settings_of(tmp_path, ALL.format(url=NOWHERE))
    settings.data.mkdir()
    store = Store(settings.data, Vault.from_settings(settings))

    def failing(tx: Any) -> None:
        tx.db.execute("INSERT INTO meta VALUES(?, ?)", ("x", object()))

    with pytest.raises(TypeError) as caught:
        await store.run(failing)
    evidence.raised(caught.value)
    await store.close()
    with pytest.raises(ConfigError) as foreign:
        Store(settings.data, Vault(b"k" * 32))
    evidence.raised(foreign.value)


# The control socket

ASKED: dict[str, Any] = {
    "no json": str(PERSON),
    "no object": [PERSON],
    "a text": PEOPLE["email"],
    "no verb": {"with": PERSON},
    "arguments that are none": {"do": "forget", "with": PEOPLE["email"]},
    "no users": {"do": "forget", "with": {"users": 5, "miso": "default"}},
    "users of another type": {"do": "forget", "with": {"users": [PERSON]}},
    "numbers of another type": {"do": "dead.retry", "with": {"ids": [PEOPLE["email"]]}},
    "numbers that are objects": {"do": "dead.discard", "with": {"ids": [PERSON]}},
    "times of another type": {"do": "replay", "with": {"start": PEOPLE["phone"]}},
    "a reason of another type": {"do": "pause", "with": {"instance": "web", "reason": PERSON}},
    "history from never": {"do": "backfill.start", "with": {"instance": "shop", "start": PEOPLE["phone"]}},
    "history of nothing": {"do": "backfill.dry", "with": {"instance": "web"}},
}


async def test_what_the_control_socket_answers(folder: Path, evidence: Evidence) -> None:
    settings = load(folder / "plugins.toml")
    engine = Engine(settings)
    ready = asyncio.Event()
    task = asyncio.create_task(engine.run(ready.set))
    await ready.wait()
    for name, asked in ASKED.items():
        reader, writer = await asyncio.open_unix_connection(socket_address(settings.data / "work.sock"))
        writer.write((asked if name == "no json" else json.dumps(asked)).encode() + b"\n")
        answer = await reader.readline()
        evidence.add("answer", answer)
        assert b'"error"' in answer, name
        writer.close()
    with pytest.raises(ActionError) as caught:
        await call(settings, "pause", instance="nobody")
    evidence.raised(caught.value)
    engine.stopping.set()
    await task


# The sandbox

CALLS: dict[str, tuple[str, str, bytes, str]] = {
    "no key": ("POST", "/v1/interactions", PERSONAL, ""),
    "another key": ("POST", "/v1/interactions", PERSONAL, SECRETS["shared secret"]),
    "publishable": ("POST", "/v1/users", PERSONAL, SECRETS["api key"] + "-publishable"),
    "playground": ("POST", "/v1/users", PERSONAL, SECRETS["api key"] + "-playground"),
    "no json": ("POST", "/v1/users", str(PERSON).encode(), SECRETS["api key"]),
    "no records": ("POST", "/v1/users", PERSONAL, SECRETS["api key"]),
    "bad faults": ("POST", "/_sandbox/faults", PERSONAL, ""),
    "bad options": ("POST", "/_sandbox/options", PERSONAL, ""),
    "no such page": ("GET", "/_sandbox/nothing", b"", ""),
    "no such method": ("PUT", "/v1/users", PERSONAL, SECRETS["api key"]),
    "wire": ("GET", "/_sandbox/wire", b"", ""),
}


async def test_what_the_sandbox_refuses(evidence: Evidence) -> None:
    with served(MisoSandbox(SECRETS["api key"])) as url:
        for name, (method, path, body, key) in CALLS.items():
            http = Http(timeout=3.0, headers={"X-API-KEY": key})
            answer = await http.request(method, url + path, content=body or None, classify=False)
            evidence.add("answer", str(dict(answer.headers)), answer.body)
            assert name == "wire" or answer.status >= 400
            await http.close()


def test_ports_that_are_taken(folder: Path, evidence: Evidence) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for command in (["serve", "--port", port], ["sandbox", "--port", port, "--api-key", SECRETS["api key"]]):
            assert cli(evidence, folder, *command).exit_code == 78


# The test of the test


@pytest.mark.parametrize("what", SPELLINGS)
def test_the_search_knows_every_spelling(what: str) -> None:
    text = {**SECRETS, **PEOPLE}[what]
    raw = text.encode()
    shown = [text.upper(), repr(text), json.dumps([text]), quote(text, safe=""), raw.hex(), f"?a={text}&b"]
    shown += [base64.b64encode(b"abc"[:n] + raw + b"abc").decode() for n in range(3)]
    shown += [base64.urlsafe_b64encode(raw).decode()]
    assert [hits(one) for one in shown] == [[what]] * len(shown)
    assert hits("nothing") == []


def test_there_are_at_least_sixty_error_paths() -> None:
    groups: tuple[Sized, ...] = (
        CONFIGURATIONS,
        VAULTS,
        DELIVERIES,
        REFUSALS,
        CASES,
        ANSWERS,
        WIRES,
        KEYS,
        URLS,
        COMMANDS,
        ASKED,
        CALLS,
    )
    assert sum(len(group) for group in groups) >= 60
