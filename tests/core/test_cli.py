"""The command line: what is printed where, exit codes, JSON shapes, and that the docs name every command."""

from __future__ import annotations

import hmac
import importlib.util
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import typer
from misoflow.cli import app
from misoflow.cli.scrub import scrubbed
from typer.testing import CliRunner, Result

ROOT = Path(__file__).parent.parent.parent

ACME = '''
from collections.abc import Iterator

from misoflow import (
    AddToCart, Alias, Config, Connector, Event, ForgetUser, Product, Record, RemoveProduct, Reject, Request, Skip,
    User, latest, once,
)
from pydantic import Field, SecretStr


class AcmeConfig(Config):
    """Settings of Acme."""

    signing_secret: SecretStr = Field(description="Shown once.")
    currency: str = Field(default="USD", description="The shop's.")
    shops: int = Field(default=1, description="How many.")


class Acme(Connector[AcmeConfig]):
    """Carts and products."""

    topics = ("cart.added", "product.saved")

    def events(self, request: Request) -> Iterator[Event]:
        for item in request.json()["events"]:
            yield Event(item["id"], item["topic"], item)

    def translate(self, event: Event) -> Iterator[Record]:
        item = event.data
        match event.topic:
            case "cart.added":
                yield AddToCart(product_ids=[item["sku"]], quantities=[1], anonymous_id=item["visitor"],
                                timestamp="2026-01-01T00:00:00Z")
            case "product.saved":
                title = self.config.currency * self.config.shops
                yield latest(item["sku"], 1, Product(product_id=item["sku"], title=title))
            case "product.gone":
                yield RemoveProduct(product_id=item["sku"])
            case "user.saved":
                yield once("u", User(user_id="u1"))
            case "user.gone":
                yield ForgetUser(user_id="u1")
            case "alias":
                yield Alias("cart", "v1")
            case "refused":
                raise Reject("no good", "$.sku")
            case "ignored":
                yield Skip("not for Miso")
            case "invalid":
                yield AddToCart(product_ids=["p"], timestamp="2026-01-01T00:00:00Z")

    def sample(self, topic: str) -> Request:
        if topic not in self.topics:
            raise LookupError(topic)
        return Request(b'{"events":[{"id":"s","topic":"cart.added","sku":"p","visitor":"v"}]}')
'''


HOOK = """
def clean(event):
    return None if event.topic == "ignored" else event
"""
HOOKED = {
    "ignored": ("skipped", "the instance's hook dropped it"),
    "cart.added": ("skipped", "this instance drops add_to_cart"),
    "user.saved": ("translated", None),
    "user.gone": ("translated", None),
}


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a plugin that is not installed."""
    (tmp_path / "acme_plugin.py").write_text(ACME)
    monkeypatch.syspath_prepend(tmp_path)
    return "acme_plugin:Acme"


def misoflow(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(app, list(arguments), input=stdin)


def explained(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    events: list[dict[str, Any]] = json.loads(result.stdout)["events"]
    return events


def events_of(acme: str, *items: dict[str, Any], options: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    body = json.dumps({"events": [{"id": f"e{n}", **item} for n, item in enumerate(items)]})
    return explained(misoflow("explain", acme, "-", "--json", *options, stdin=body))


class TestExplain:
    def test_a_translated_event_with_its_record(self, acme: str) -> None:
        (event,) = events_of(acme, {"topic": "cart.added", "sku": "p1", "visitor": "v"})
        record = {
            "type": "add_to_cart",
            "product_ids": ["p1"],
            "quantities": [1],
            "anonymous_id": "v",
            "timestamp": "2026-01-01T00:00:00Z",
        }
        assert event == {
            "id": "e0",
            "topic": "cart.added",
            "outcome": "translated",
            "reason": None,
            "path": None,
            "records": [{"kind": "interaction", "record": record}],
            "effects": [],
        }

    def test_every_kind_of_record_and_effects_unwrapped(self, acme: str) -> None:
        topics = ["product.saved", "product.gone", "user.saved", "user.gone", "alias"]
        found = events_of(acme, *({"topic": topic, "sku": "p1"} for topic in topics))
        assert {event["outcome"] for event in found} == {"translated"}
        kinds = [[one["kind"] for one in event["records"]] for event in found]
        assert kinds == [["product"], ["remove_product"], ["user"], ["forget_user"], []]
        assert found[0]["records"][0]["record"] == {"product_id": "p1", "title": "USD"}
        assert found[2]["effects"] == ["once: the first with key 'u' wins"]

    @pytest.mark.parametrize(
        ("topic", "outcome", "reason", "path"),
        [
            ("refused", "rejected", "no good", "$.sku"),
            ("ignored", "skipped", "not for Miso", None),
            ("unknown", "skipped", "the connector makes nothing of it", None),
            ("invalid", "rejected", "an interaction needs a user_id or an anonymous_id", "$.user_id"),
        ],
    )
    def test_why_nothing_came_of_it(self, acme: str, topic: str, outcome: str, reason: str, path: str | None) -> None:
        (event,) = events_of(acme, {"topic": topic, "sku": "p"})
        assert (event["outcome"], event["reason"], event["path"]) == (outcome, reason, path)
        assert event["records"] == []

    def test_a_missing_key_is_a_rejection_that_names_it_and_no_value(self, acme: str) -> None:
        (event,) = events_of(acme, {"topic": "cart.added", "sku": "secret-value"})
        assert event["outcome"] == "rejected"
        assert "visitor" in event["reason"]
        assert "secret-value" not in event["reason"]

    def test_a_body_that_cannot_be_split(self, acme: str) -> None:
        (event,) = explained(misoflow("explain", acme, "-", "--json", stdin="{nonsense"))
        assert event["outcome"] == "rejected"
        assert "not JSON" in event["reason"]

    def test_settings_by_set_keep_their_types(self, acme: str) -> None:
        options = ("--set", "currency=EUR", "--set", "shops=2")
        (event,) = events_of(acme, {"topic": "product.saved", "sku": "p"}, options=options)
        assert event["records"][0]["record"]["title"] == "EUREUR"

    def test_a_topic_makes_the_file_one_event_s_data(self, acme: str, tmp_path: Path) -> None:
        (tmp_path / "data.json").write_text('{"sku": "p9", "visitor": "v"}')
        (event,) = explained(misoflow("explain", acme, str(tmp_path / "data.json"), "--topic", "cart.added", "--json"))
        assert event["records"][0]["record"]["product_ids"] == ["p9"]

    def test_a_topic_without_a_file_shows_the_sample(self, acme: str) -> None:
        (event,) = explained(misoflow("explain", acme, "--topic", "cart.added", "--json"))
        assert event["id"] == "s"

    def test_text_for_people(self, acme: str) -> None:
        result = misoflow("explain", acme, "--topic", "cart.added")
        assert "cart.added  s  translated" in result.stdout
        assert '"product_ids"' in result.stdout

    def test_an_instance_with_all_that_the_engine_does_around_it(
        self, acme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its hook, what it drops and the form of its user ids; from plugins.toml in the folder."""
        (tmp_path / "acme_hook.py").write_text(HOOK)
        instance = f'connector = "{acme}"\nsigning_secret = "s"\nhook = "acme_hook:clean"\ndrop = ["add_to_cart"]\n'
        miso = f'[miso]\napi_key = "k"\nuser_ids = "hmac"\nuser_id_key = "{"k" * 16}"\n'
        (tmp_path / "plugins.toml").write_text(f"{miso}[instances.shop]\n{instance}")
        monkeypatch.chdir(tmp_path)
        body = {"events": [{"id": topic, "topic": topic, "sku": "p", "visitor": "v"} for topic in HOOKED]}
        found = explained(misoflow("explain", "shop", "-", "--json", stdin=json.dumps(body)))
        assert [(event["outcome"], event["reason"]) for event in found] == list(HOOKED.values())
        hashed = hmac.new(b"k" * 16, b"u1", "sha256").hexdigest()
        assert [one["record"]["user_id"] for event in found for one in event["records"]] == [hashed, hashed]
        result = misoflow("explain", "shop", "-", "--set", "currency=EUR", stdin="{}")
        assert (result.exit_code, "plugins.toml" in result.stderr) == (2, True)

    @pytest.mark.parametrize(
        "arguments",
        [
            ("no-such-connector",),
            ("{acme}", "--topic", "no.such"),
            ("{acme}", "--set", "curency=EUR"),
            ("{acme}", "--set", "currency"),
            ("{acme}", "no-such-file.json"),
            ("{acme}",),
        ],
    )
    def test_usage_errors_are_one_line_and_exit_2(self, acme: str, arguments: tuple[str, ...]) -> None:
        result = misoflow("explain", *(argument.format(acme=acme) for argument in arguments))
        assert result.exit_code == 2
        assert result.stdout == ""
        assert len(result.stderr.strip().splitlines()) == 1

    def test_segment_without_any_settings(self) -> None:
        body = {
            "type": "track",
            "event": "Product Viewed",
            "messageId": "m1",
            "anonymousId": "a",
            "timestamp": "2026-01-01T00:00:00Z",
            "properties": {"product_id": "p1"},
        }
        (event,) = explained(misoflow("explain", "segment", "--json", stdin=json.dumps(body)))
        assert (event["id"], event["topic"], event["outcome"]) == ("m1", "Product Viewed", "translated")
        assert event["records"][0]["record"]["type"] == "product_detail_page_view"


class TestSettingsFile:
    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            (None, "cannot be read"),
            ("[miso", "is not TOML"),
            ("[misso]\n", "misso: unknown key; did you mean 'miso'?"),
            ('[miso]\napi_key = { env = "NO_SUCH_VARIABLE" }\n', "miso.api_key: the environment variable"),
        ],
    )
    @pytest.mark.parametrize("command", ["status", "work", "serve", "tail", "check"])
    def test_a_mistake_is_one_line_with_its_place_and_exit_78(
        self, tmp_path: Path, text: str | None, problem: str, command: str
    ) -> None:
        config = tmp_path / "plugins.toml"
        if text is not None:
            config.write_text(text)
        result = misoflow(command, "--config", str(config))
        assert result.exit_code == 78
        assert result.stderr.startswith("plugins.toml: ")
        assert problem in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1

    def test_run_ends_with_the_reason_of_its_children_once(self, tmp_path: Path) -> None:
        (tmp_path / "plugins.toml").write_text("[misso]\n")
        done = subprocess.run(
            [sys.executable, "-m", "misoflow", "run", "--port", "0", "--admin-port", "0"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 78
        assert done.stdout == ""
        assert done.stderr == "plugins.toml: misso: unknown key; did you mean 'miso'?\n"

    def test_config_show_masks_secrets(self, tmp_path: Path) -> None:
        config = settings_file(tmp_path, "http://127.0.0.1:1")
        result = misoflow("config", "show", "--json", "--config", str(config))
        assert "s3cret" not in result.output
        assert json.loads(result.stdout)["instances"]["web"]["connector"] == "segment"

    def test_config_check_warns_of_a_literal_secret_and_is_content(self, tmp_path: Path) -> None:
        result = misoflow("config", "check", "--config", str(settings_file(tmp_path, "http://127.0.0.1:1")))
        assert result.exit_code == 0
        assert "warn  instances.web.shared_secret:" in result.stdout

    def test_config_check_names_every_broken_instance(self, tmp_path: Path) -> None:
        config = settings_file(tmp_path, "http://127.0.0.1:1")
        with config.open("a") as file:
            file.write('[instances.a]\nconnector = "nope"\n[instances.b]\nconnector = "nope"\n')
        result = misoflow("config", "check", "--json", "--config", str(config))
        assert result.exit_code == 78
        fails = [one["where"] for line in result.stdout.splitlines() if (one := json.loads(line))["level"] == "fail"]
        assert fails == ["instances.a.connector", "instances.b.connector"]

    @pytest.mark.parametrize(
        ("extra", "valid"),
        [
            ("", True),
            ('batch_token = ["a", { env = "B" }]\ncheckout_on = { env = "WHEN", default = "started" }', True),
            ('drop = ["checkout"]\n[[instances.web.rules]]\nmatch = "Blog *"\ntype = "read"', True),
            ('checkout_on = "sometimes"', False),
            ("no_such_setting = 1", False),
            ('drop = ["chekout"]', False),
            ("[engine2]", False),
            ('[instances.other]\nconnector = "unheard-of"', False),
            ('[instances.other]\nconnector = "my_plugin:Acme"\nanything = 1', True),
            ('[miso.production]\napi_key = { file = "key" }', True),
            ("[miso.production]\napi_kee = 1", False),
        ],
    )
    def test_the_schema_takes_what_the_settings_take(self, tmp_path: Path, extra: str, valid: bool) -> None:
        schema = json.loads(misoflow("schema", "--json").stdout)
        text = settings_file(tmp_path, "http://127.0.0.1:1").read_text() + extra
        assert jsonschema_rs.validator_for(schema).is_valid(tomllib.loads(text)) is valid

    def test_connectors_are_listed_without_importing_them(self, tmp_path: Path) -> None:
        code = (
            "import sys; from typer.testing import CliRunner; from misoflow.cli import app;"
            "print(CliRunner().invoke(app, ['connectors', '--json']).stdout, 'misoflow_segment' in sys.modules)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            cwd=settings_file(tmp_path, "http://127.0.0.1:1").parent,
        )
        *lines, imported = done.stdout.rsplit("\n", 1)[0].splitlines()
        found = {one["name"]: one for one in map(json.loads, lines)}
        assert {"files", "mixpanel", "segment"} <= found.keys()
        assert found["segment"] == {
            "name": "segment",
            "version": importlib.import_module("importlib.metadata").version("misoflow"),
            "distribution": "misoflow",
            "instances": ["web"],
        }
        assert imported.strip() == "False"


def settings_file(folder: Path, sandbox: str, key: str = "sandbox") -> Path:
    config = folder / "plugins.toml"
    config.write_text(
        f'[miso]\napi_key = "{key}"\napi_url = "{sandbox}"\n[engine]\nlinger_ms = 50\n'
        '[instances.web]\nconnector = "segment"\nshared_secret = "s3cret-s3cret-s3cret"\n'
    )
    return config


class TestInit:
    def test_it_writes_a_file_that_loads(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        config = tmp_path / "plugins.toml"
        result = misoflow("init", "--yes", "--public-url", "https://in.example", "--config", str(config))
        assert result.exit_code == 0, result.output
        assert "https://in.example/hooks/web" in result.stdout
        monkeypatch.setenv("MISO_API_KEY", "k")
        monkeypatch.setenv("SEGMENT_SHARED_SECRET", "s")
        assert misoflow("config", "check", "--config", str(config)).exit_code == 0
        assert misoflow("config", "show", "--config", str(config)).exit_code == 0

    def test_it_never_overwrites(self, tmp_path: Path) -> None:
        config = tmp_path / "plugins.toml"
        config.write_text("mine")
        result = misoflow("init", "--yes", "--config", str(config))
        assert result.exit_code == 78
        assert config.read_text() == "mine"

    def test_it_asks_nobody_who_is_not_there(self, tmp_path: Path) -> None:
        result = misoflow("init", "--config", str(tmp_path / "plugins.toml"))
        assert result.exit_code == 2
        assert "--yes" in result.stderr
        assert list(tmp_path.iterdir()) == []


class TestAllCommands:
    def reference(self) -> Any:
        spec = importlib.util.spec_from_file_location("cli_docs", ROOT / "tools" / "cli_docs.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def test_the_page_in_the_docs_is_what_the_commands_say(self) -> None:
        docs = self.reference()
        written = docs.PAGE.read_text("utf-8").partition(docs.MARKER)[2]
        assert written == "\n" + docs.reference(), "run: python -m tools.cli_docs"

    def test_every_command_takes_config_json_and_quiet(self) -> None:
        for name, command in self.reference().commands():
            options = {option for parameter in command.params for option in parameter.opts}
            assert {"--config", "--json", "--quiet"} <= options, name

    def test_every_command_and_option_has_a_help_text(self) -> None:
        for name, command in self.reference().commands():
            assert command.help, name
            for parameter in command.params:
                assert parameter.name == "help" or parameter.help, f"{name} {parameter.name}"

    def test_help_loads_nothing_heavy(self) -> None:
        code = "import json, sys, misoflow.cli; print(json.dumps(sorted(sys.modules)))"
        loaded = set(json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True).stdout))
        heavy = {"pydantic", "httpx", "apsw", "msgspec", "asyncio", "structlog", "misoflow.config", "misoflow_segment"}
        assert not heavy & loaded

    def test_an_unknown_command_is_a_usage_error(self) -> None:
        assert misoflow("fly").exit_code == 2

    def test_completion_names_instances_of_the_file(self, tmp_path: Path) -> None:
        from misoflow.cli.app import instance_names

        context = typer.Context(typer.main.get_command(app))
        context.params["config"] = settings_file(tmp_path, "http://127.0.0.1:1")
        assert instance_names(context, "w") == ["web"]
        assert instance_names(context, "x") == []


class TestTail:
    def test_an_event_is_shown_when_it_comes_and_when_its_state_changes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from misoflow.cli.watch import Feed

        rows = [{"row": 1, "state": "delivered"}, {"row": 2, "state": "pending"}]
        monkeypatch.setattr(
            "misoflow.status.recent",
            lambda settings, vault, *, after, limit, instance: [dict(r) for r in rows if r["row"] > after][-limit:],
        )
        feed = Feed(None, None, None)
        assert [one["row"] for one in feed.first(1)] == [2]
        assert feed.news() == []
        rows += [{"row": 3, "state": "pending"}]
        assert feed.news() == [{"row": 3, "state": "pending"}]
        rows[1]["state"] = "delivered"
        assert feed.news() == [{"row": 2, "state": "delivered"}]
        rows[2]["state"] = "dead"
        assert feed.news() == [{"row": 3, "state": "dead"}]
        assert feed.news() == []

    def test_with_no_lines_to_start_with_it_begins_after_the_last_event(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from misoflow.cli.watch import Feed

        rows = [{"row": 7, "state": "delivered"}]
        monkeypatch.setattr("misoflow.status.recent", lambda *_, after, **__: [r for r in rows if r["row"] > after])
        feed = Feed(None, None, None)
        assert feed.first(0) == []
        assert feed.news() == []


class TestScrub:
    def test_personal_values_go_and_the_shape_stays(self) -> None:
        event = {
            "userId": "u-77",
            "anonymousId": 12,
            "traits": {"email": "jo@shop.example", "firstName": "Jo", "age": 31, "phone": "+49 151 2345678"},
            "context": {"ip": "81.2.69.142", "page": {"url": "https://s.example/a?token=x#y"}},
            "properties": {"products": [{"product_id": {"a": 1}, "name": "Lamp", "price": 9.5}], "note": None},
            "text": "write to jo@shop.example from 81.2.69.142",
            "timestamp": "2026-01-01T00:00:00Z",
        }
        text = json.dumps(scrubbed(event))
        for secret in ("u-77", "jo@shop", "Jo", "+49 151", "81.2.69", "token"):
            assert secret not in text
        found = scrubbed(event)
        assert found["properties"] == {
            "products": [{"product_id": {"a": 1}, "name": "Lamp", "price": 9.5}],
            "note": None,
        }
        assert found["timestamp"] == "2026-01-01T00:00:00Z"
        assert isinstance(found["anonymousId"], int)

    def test_the_same_person_stays_the_same_person(self) -> None:
        first, second, other = scrubbed([{"userId": "a"}, {"user_id": "a"}, {"userId": "b"}])
        assert first["userId"] == second["user_id"] != other["userId"]
