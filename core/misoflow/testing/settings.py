"""Contract tests of the settings."""

from __future__ import annotations

import re
import typing
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError

from misoflow.config import RESERVED
from misoflow.connector import Config
from misoflow.registry import config_type
from misoflow.testing.base import Given, fail
from misoflow.testing.subject import SHORTEST, make, secrets_of, settings_of

SECRET_NAME = re.compile(
    r"(^|_)(secret|secrets|password|passwd|passphrase|token|tokens|api_?key|(private|write|access|signing|secret)_?key|credentials?)($|_)"
)
NO_SECRET = re.compile(r"_(env|file|path|url|name|header|days|seconds|field|id)$")
"""Endings of settings about a secret that are none: the file it stands in, the header it comes by."""
TYPO = "a_key_that_nobody_declared"


class SettingsContract(Given):
    """The settings are closed, described, and hide what is secret."""

    def test_the_connector_takes_its_settings(self) -> None:
        """``config`` makes a connector, whose class says in a docstring what it brings."""
        connector = make(self)
        model = config_type(self.connector)
        for owner in (type(connector), model):
            if not (owner.__dict__.get("__doc__") or "").strip():
                fail(f"{owner.__name__} has no docstring: say in one sentence what it is, it is shown to operators")
        short = [secret for secret in secrets_of(connector.config) if len(secret) < SHORTEST]
        if short:
            fail(f"a secret in `config` is shorter than {SHORTEST} characters, so a search for it would find chance")

    def test_settings_are_closed(self) -> None:
        """A key that is not declared is refused, so that a typo in plugins.toml is seen."""
        model = config_type(self.connector)
        try:
            model.model_validate({**self.config, TYPO: 1})
        except ValidationError as error:
            if any(one["type"] == "extra_forbidden" for one in error.errors()):
                return
            raise
        fail(
            f"{model.__name__} accepts keys that it does not declare, so a typo in plugins.toml stays unnoticed: "
            "subclass misoflow.Config and leave `extra` alone"
        )

    def test_settings_are_frozen(self) -> None:
        """Settings do not change while an instance runs, and use no name that plugins.toml keeps for itself."""
        model = config_type(self.connector)
        taken = sorted(set(model.model_fields) & set(RESERVED))
        if taken:
            fail(f"{model.__name__} declares {', '.join(taken)}, which every instance has already: rename")
        if not issubclass(model, Config) or not model.model_config.get("frozen"):
            fail(f"{model.__name__} can be changed while it is used: subclass misoflow.Config and leave `frozen` alone")

    def test_every_setting_is_described(self) -> None:
        """Each field has a description, nested ones too: it is what an operator reads in an editor."""
        bare = [place for place, info in _fields(config_type(self.connector)) if not (info.description or "").strip()]
        if bare:
            fail(f'settings without a description: {", ".join(bare)}. Write Field(description="…")')

    def test_secrets_are_secret(self) -> None:
        """A setting whose name says that it is secret is a ``SecretStr``, which nothing prints."""
        plain = [
            place
            for place, info in _fields(config_type(self.connector))
            if _sounds_secret(place.rsplit(".", 1)[-1]) and _has_text(info.annotation)
        ]
        if plain:
            fail(f"settings that sound secret and are plain text: {', '.join(plain)}. Make each a pydantic SecretStr")

    def test_settings_do_not_print_secrets(self) -> None:
        """No secret is in ``repr`` and ``str`` of the settings or of the connector."""
        config = settings_of(self)
        connector = make(self)
        shown = {
            "str(config)": str(config),
            "repr(config)": repr(config),
            "str(connector)": str(connector),
            "repr(connector)": repr(connector),
        }
        for what, text in shown.items():
            if any(secret in text for secret in secrets_of(config)):
                fail(f"{what} shows a secret: keep it in a SecretStr, and out of __repr__ and __str__")


def _fields(model: type[BaseModel], prefix: str = "") -> typing.Iterator[tuple[str, Any]]:
    """Each field with its dotted path, those of models inside included."""
    for name, info in model.model_fields.items():
        yield f"{prefix}{name}", info
        for inner in _models(info.annotation):
            yield from _fields(inner, f"{prefix}{name}.")


def _models(annotation: Any) -> typing.Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models(argument)


def _sounds_secret(name: str) -> bool:
    return bool(SECRET_NAME.search(name.lower())) and not NO_SECRET.search(name.lower())


def _has_text(annotation: Any) -> bool:
    """Whether plain text may stand in a field of this type."""
    if annotation is str:
        return True
    if annotation is SecretStr:
        return False
    return any(_has_text(argument) for argument in typing.get_args(annotation))
