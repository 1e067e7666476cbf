"""plugins.toml: what is wrong is named by its TOML path and never by its value."""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from misoflow.config import RESERVED, load, masked
from misoflow.connector import Config, Connector, Event, Request
from misoflow.errors import ConfigError
from misoflow.registry import config_type, installed, load_connector
from misoflow.schema import schema
from pydantic import Field, SecretStr, ValidationError

from tests.conftest import ROOT

CANARY = "canary-secret-81"
GOOD = f"""
[miso]
api_key = "{CANARY}"

[instances.web]
connector = "segment"
shared_secret = "{CANARY}"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "plugins.toml"
    path.write_text(text)
    return path


def test_the_smallest_file(tmp_path: Path) -> None:
    settings = load(write(tmp_path, GOOD), strict=True)
    assert settings.data == tmp_path / "var"
    assert settings.miso["default"].api_url == "https://api.askmiso.com"
    assert settings.instances["web"].connector == "segment"
    assert {where for where, _ in settings.warnings} == {"miso.api_key", "instances.web.shared_secret"}
    assert CANARY not in repr(settings) + json.dumps(masked(settings)) + str(settings.warnings)


WRONG = [
    ("nonsense [", "plugins.toml"),
    ("[mist]\napi_key='x'", "mist"),
    ("[miso]\n", "miso.api_key"),
    ("[miso]\napi_key='x'\napi_kee='y'", "miso.api_kee"),
    ("[miso]\napi_key='x'\napi_url='http://example.com'", "miso.api_url"),
    ("[miso]\napi_key='x'\napi_url='ftp://127.0.0.1'", "miso.api_url"),
    ("[miso]\napi_key='x'\napi_url='https://u:p@example.com'", "miso.api_url"),
    ("[miso]\napi_key='x'\nuser_ids='hmac'", "miso"),
    ("[miso]\napi_key='x'\nuser_ids='md5'", "miso.user_ids"),
    ("[miso]\napi_key={ env = 'MISOFLOW_NOT_SET' }", "miso.api_key"),
    ("[miso]\napi_key={ file = 'not-there' }", "miso.api_key"),
    ("[miso.Prod]\napi_key='x'", "miso.Prod"),
    ("[miso]\napi_key='x'\n[engine]\nport = 70000", "engine.port"),
    ("[miso]\napi_key='x'\n[engine]\nporrt = 1", "engine.porrt"),
    ("[miso]\napi_key='x'\n[engine]\nport = 'a'", "engine.port"),
    ("instances = 3\n[miso]\napi_key='x'", "instances"),
    ("[miso]\napi_key='x'\n[instances.Web]\nconnector='segment'", "instances.Web"),
    ("[miso]\napi_key='x'\n[instances.web]\n", "instances.web.connector"),
    ("[miso]\napi_key='x'\n[instances.web]\nconnector='segmnt'", "instances.web.connector"),
    ("[miso]\napi_key='x'\n[instances.web]\nconnector='nowhere:X'", "instances.web.connector"),
    ("[miso]\napi_key='x'\n[instances.web]\nconnector='json:loads'", "instances.web.connector"),
    (GOOD + "shred_secret = 'y'", "instances.web.shred_secret"),
    (GOOD + "miso = 'staging'", "instances.web.miso"),
    (GOOD + "drop = ['nonsense']", "instances.web.drop.0"),
    (GOOD + "dedup = 0", "instances.web.dedup"),
    (GOOD + "hook = 'no function'", "instances.web.hook"),
    (GOOD + "limits = { per_second = -1 }", "instances.web.limits.per_second"),
    (GOOD + "[[instances.web.rules]]\nmatch='x'\ntype='y'", "instances.web.rules[0].type"),
]


@pytest.mark.parametrize(("text", "where"), WRONG, ids=[where for _, where in WRONG])
def test_what_is_wrong_is_named_by_its_path(tmp_path: Path, text: str, where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text), strict=True)
    assert caught.value.where.endswith(where)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("[miso]\napi_key='x'\napi_kee='y'", "did you mean 'api_key'"),
        ("[miso]\napi_key='x'\n[instances.web]\nconnector='segmnt'", "did you mean 'segment'"),
        (GOOD + "shred_secret = 'y'", "did you mean 'shared_secret'"),
        ("[mist]\n", "did you mean 'miso'"),
    ],
)
def test_a_near_miss_is_named(tmp_path: Path, text: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        load(write(tmp_path, text), strict=True)


def test_references(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret"
    secret.write_text(CANARY + "\n")
    secret.chmod(0o600)
    monkeypatch.setenv("MISOFLOW_TEST_KEY", 'with "quotes" and { braces }')
    text = """
[miso]
api_key = { env = "MISOFLOW_TEST_KEY" }
[instances.web]
connector = "segment"
shared_secret = [{ file = "secret" }, { env = "MISOFLOW_NOT_SET", default = "fallback" }]
"""
    settings = load(write(tmp_path, text), strict=True)
    assert settings.miso["default"].api_key.get_secret_value() == 'with "quotes" and { braces }'
    config: Any = settings.instances["web"].config
    assert [one.get_secret_value() for one in config.shared_secret] == [CANARY, "fallback"]
    assert settings.warnings == []
    secret.chmod(0o644)
    assert "chmod 600" in str(load(write(tmp_path, text)).warnings)


def test_several_environments(tmp_path: Path) -> None:
    text = """
[miso.production]
api_key = "a"
[miso.staging]
api_key = "b"
api_url = "http://127.0.0.1:8600/"
[instances.web]
connector = "segment"
shared_secret = "s"
miso = "staging"
"""
    settings = load(write(tmp_path, text), strict=True)
    assert set(settings.miso) == {"production", "staging"}
    assert settings.miso["staging"].api_url == "http://127.0.0.1:8600"
    assert settings.instances["web"].miso == "staging"


def test_a_broken_instance_does_not_take_the_others_along(tmp_path: Path) -> None:
    settings = load(write(tmp_path, GOOD + "[instances.bad]\nconnector = 'nothing'\n"))
    assert list(settings.instances) == ["web"]
    assert settings.broken["bad"].where == "instances.bad.connector"


CODE = """
from misoflow import Config, Connector
{top}


class MineConfig(Config):
    '''No settings.'''


class Mine(Connector[MineConfig]):
    '''Makes nothing.'''

    def __init__(self, config):
        super().__init__(config)
        {start}

    def translate(self, event):
        return []


def clean(event):
    return event


no_function = 1
"""


@pytest.mark.parametrize(
    ("table", "start", "top", "problem"),
    [
        ("connector = '{module}:Mine'\nhook = '{module}:clean'", "", "", None),
        ("connector = '{module}:Mine'\nhook = 'nowhere_at_all:clean'", "", "", "nowhere_at_all.py beside plugins.toml"),
        ("connector = '{module}:Mine'\nhook = '{module}:cleen'", "", "", "has no 'cleen'"),
        ("connector = '{module}:Mine'\nhook = '{module}:no_function'", "", "", "is not a function"),
        ("connector = '{module}:Mine'", "raise OSError('canary')", "", "cannot start: OSError at"),
        ("connector = '{module}:Mine'", "return (", "", "was never closed"),
        ("connector = '{module}:Mine'", "", "raise OSError('canary')", "cannot be loaded: OSError at"),
    ],
)
def test_somebodys_own_code_stands_beside_the_file_and_breaks_its_own_instance_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str, start: str, top: str, problem: str | None
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    module = f"mine_{uuid.uuid4().hex}"
    (tmp_path / f"{module}.py").write_text(CODE.format(start=start, top=top))
    settings = load(write(tmp_path, f"{GOOD}[instances.mine]\n{table.format(module=module)}\n"))
    assert "web" in settings.instances
    if problem is None:
        assert settings.broken == {}
    else:
        assert problem in str(settings.broken["mine"])
        assert "canary" not in str(settings.broken["mine"])


def test_two_instances_that_may_deliver_the_same_orders_are_warned_of(tmp_path: Path) -> None:
    both = GOOD + "[instances.app]\nconnector = 'segment'\nshared_secret = 'x'\n"
    assert "checkout" in str(load(write(tmp_path, both)).warnings)
    assert "checkout" not in str(
        [w for w in load(write(tmp_path, both + "drop = ['checkout']")).warnings if "may" in w[1]]
    )


class Clashing(Config):
    """Takes a name that is the engine's."""

    rules: str = Field(default="", description="Not allowed.")


class Clash(Connector[Clashing]):
    """For the test below."""

    def translate(self, event: Event) -> Any:
        return ()


def test_a_connector_must_not_take_the_engines_names(tmp_path: Path) -> None:
    text = f"[miso]\napi_key='x'\n[instances.web]\nconnector='{__name__}:Clash'\n"
    with pytest.raises(ConfigError, match="engine's own"):
        load(write(tmp_path, text), strict=True)
    assert "rules" in RESERVED


def test_the_repositorys_own_file_loads_and_fits_the_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("MISO_", "SEGMENT_"))]:
        monkeypatch.delenv(name)
    settings = load(ROOT / "plugins.toml", strict=True)
    assert settings.miso["default"].api_url == "http://127.0.0.1:8600"
    validator = jsonschema_rs.validator_for(schema())
    validator.validate(tomllib.loads((ROOT / "plugins.toml").read_text()))
    assert not validator.is_valid({"miso": {"api_kee": "x"}})
    assert not validator.is_valid({"instances": {"web": {"connector": "segment", "nope": 1}}})


def test_every_setting_is_documented() -> None:
    from misoflow.config import Common, EngineConfig, MisoConfig

    text = (ROOT / "docs/configuration.md").read_text()
    missing = [
        f"{model.__name__}.{name}"
        for model in (MisoConfig, EngineConfig, Common)
        for name in model.model_fields
        if name != "name" and f"`{name}`" not in text
    ]
    assert missing == []


def test_the_registry_imports_nothing() -> None:
    import subprocess

    code = "import sys; from misoflow.registry import installed; print(*installed()); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names, modules = (line.split() for line in done.stdout.splitlines())
    assert "segment" in names
    assert not [module for module in modules if module.startswith("misoflow_")]


def test_a_missing_module_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    info = installed()["segment"]
    monkeypatch.setattr(
        "misoflow.registry.installed", lambda: {"heavy": type(info)("heavy", "misoflow", "1", "no_such_sdk.x:Y")}
    )
    with pytest.raises(ConfigError, match=r"misoflow\[heavy\]"):
        load_connector("heavy")


def test_a_name_that_two_distributions_claim_means_neither(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("alpha", "beta"):
        info = tmp_path / f"{name}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        (info / "entry_points.txt").write_text("[misoflow.connectors]\ntwin = nowhere:X\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert (installed()["twin"].distribution, installed()["twin"].rivals) == ("alpha", ("beta",))
    with pytest.raises(ConfigError, match="claimed by the distributions alpha and beta; uninstall all of them but one"):
        load_connector("twin")
    assert load_connector("segment").__name__ == "Segment"


def test_the_settings_class_of_a_connector() -> None:
    assert config_type(Clash) is Clashing

    class Bare(Connector):  # type: ignore[type-arg]
        def translate(self, event: Event) -> Any:
            return ()

    with pytest.raises(TypeError):
        config_type(Bare)


def test_secrets_do_not_show() -> None:
    assert CANARY not in repr(SecretStr(CANARY))


def test_the_examples_of_the_guide_load_and_work(tmp_path: Path) -> None:
    from misoflow.instances import Instances
    from misoflow.pipeline import Translator
    from misoflow.vault import Vault

    text = (ROOT / "docs/configuration.md").read_text()
    history, rules = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    (hook,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(hook, "configuration.md", "exec", dont_inherit=True), names)
    assert names["clean"](Event("1", "t", {"test": True})) is None
    mixpanel = '[instances.mix]\nconnector = "mixpanel"\nproject_id = 1\nsecret = "x"\n'
    planned = load(write(tmp_path, GOOD + mixpanel + history), strict=True).instances["mix"].backfill
    assert set(planned) == {"events", "profiles"}
    settings = load(write(tmp_path, GOOD + rules.replace("instances.NAME", "instances.web")), strict=True)
    instance = Instances(settings).get("web")
    assert instance is not None
    data = {
        "type": "track",
        "event": "blog: something",
        "messageId": "m1",
        "userId": "u",
        "anonymousId": "a",
        "timestamp": "2026-11-01T00:00:00.000Z",
        "properties": {"slug": "s1", "seconds": 7, "lang": "en"},
        "context": {"locale": "en-GB"},
    }
    (event,) = instance.connector.events(Request(json.dumps(data).encode(), received_at=datetime.now(UTC)))
    made, _ = Translator(Vault(b"k" * 32, None)).outcome(instance, event, 1)
    first, second = [json.loads(piece.body) for piece in made.pieces]
    assert (first["type"], first["product_ids"], first["duration"]) == ("read", ["s1"], 7)
    assert (first["user_id"], first["anonymous_id"], first["context"]["locale"]) == ("u", "a", "en-GB")
    assert first["timestamp"] == "2026-11-01T00:00:00.000Z"
    assert second["custom_action_name"] == "article_opened"


def test_one_secret_stands_for_a_list_of_one() -> None:
    class Rolled(Config):
        """Settings."""

        secrets: tuple[SecretStr, ...] = Field(description="One or two.")
        names: tuple[str, ...] = Field(default=(), description="Some.")

    assert Rolled(secrets=CANARY).secrets == Rolled(secrets=[CANARY]).secrets == (SecretStr(CANARY),)  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        Rolled(secrets=[CANARY], names="one")  # type: ignore[arg-type]
