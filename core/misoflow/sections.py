"""A table of plugins.toml as a checked value, and its errors with their TOML path."""

from __future__ import annotations

import difflib
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from misoflow.errors import ConfigError

M = TypeVar("M", bound=BaseModel)


class Section(BaseModel):
    """A table of plugins.toml: closed, frozen, and never printing what it was given."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def near(key: str, known: tuple[str, ...] | list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f" (known: {', '.join(sorted(known))})"


def section(model: type[M], table: Any, where: str) -> M:
    """The table as a model; the first thing wrong as a ConfigError with its TOML path, never its value."""
    if not isinstance(table, dict):
        raise ConfigError(where, "must be a table")
    try:
        return model.model_validate(table)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        path = ".".join(str(step) for step in (where, *first["loc"]) if not _branch(step)).lstrip(".")
        text = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            text = f"unknown key{near(str(first['loc'][-1]), list(model.model_fields))}"
        raise ConfigError(path, text) from None


def _branch(step: int | str) -> bool:
    """pydantic names the branch of a union in the path; a person does not know it."""
    return isinstance(step, str) and ("[" in step or step in ("str", "SecretStr", "constrained-str"))
