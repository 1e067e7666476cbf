"""One event is one line of JSON, whatever text is in it, and no registered secret is in any line."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from misoflow import logs

SECRET = "canary-1f6d2b"
NASTY = ["a\nb", "a\r\nb", "\x1b[31mred\x1b[0m\x1b]0;title\x07", "a\u2028b\u2029c\u0085d", "\x00\x7f\x9b", "\u202eabc"]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    root = logging.getLogger()
    before = (root.handlers, root.level)
    monkeypatch.setattr(logs, "_secrets", set())
    logs.register_secret(SECRET)
    yield lambda: capsys.readouterr().err
    root.handlers = before[0]
    root.setLevel(before[1])


def breaks(text: str) -> list[str]:
    """Characters of one line that end a line, move a cursor or turn the text around."""
    return [character for character in text if not character.isprintable()]


def one(lines: Any) -> dict[str, Any]:
    text = lines()
    assert text.endswith("\n")
    assert breaks(text[:-1]) == []
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.mark.parametrize("text", NASTY)
def test_a_message_an_argument_a_name_and_a_field_stay_on_one_line(text: str, lines: Any) -> None:
    logs.setup("json")
    logging.getLogger(f"misoflow.{text}").warning(f"{text} %s", text, extra={"field": text})
    found = one(lines)
    assert found["event"] == f"{logs.one_line(text)} {logs.one_line(text)}"
    assert found["level"] == "warning"


@pytest.mark.parametrize("text", NASTY)
def test_a_traceback_is_one_line_without_the_values_of_its_frames(text: str, lines: Any) -> None:
    logs.setup("json")
    local = "a local value " + SECRET
    try:
        raise ValueError(text + SECRET + local[:7])
    except ValueError:
        logging.getLogger("misoflow.x").exception("it failed: %s", text)
    found = one(lines)
    assert "ValueError" in found["exception"]
    assert SECRET not in json.dumps(found)


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_secret_is_masked_wherever_it_stands(form: Any, lines: Any) -> None:
    logs.setup(form)
    log = logging.getLogger("misoflow.x")
    log.warning("key %s", SECRET)
    log.warning("sent", extra={"api_key": "whatever", "note": f"x{SECRET}y"})
    log.warning("GET https://api.example/v1?api_key=abcdefgh&x=1 Authorization: Bearer abcdefghijkl")
    text = lines()
    assert SECRET not in text
    assert "abcdefgh" not in text
    assert text.count("\n") == 3


def test_libraries_say_what_matters_only(lines: Any) -> None:
    logs.setup("json")
    logging.getLogger("httpx").info("HTTP Request: GET https://api.example/?api_key=%s", SECRET)
    logging.getLogger("uvicorn.access").info("GET /hooks/web?token=1")
    assert lines() == ""


@given(st.text())
def test_any_text_is_one_printable_line(text: str) -> None:
    assert breaks(logs.one_line(text)) == []
