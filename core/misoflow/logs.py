"""Logs on standard error: one line an event whatever is in it, and no secret in any.

JSON lines, or a readable form on a terminal. Everything goes through the standard library's logging, so
libraries' lines are cleaned the same way.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

from misoflow.errors import MisoflowError

Format = Literal["auto", "json", "console"]
SECRET_KEY = re.compile(r"(?i)api[_-]?key|secret|token|authorization|cookie|password|signature")
SECRET_TEXT = re.compile(
    r"(?i)((?:api[_-]?key|access_token|token|secret|password|write_?key)=)[^&\s\"']+"
    r"|(Bearer|Basic) [A-Za-z0-9._~+/=-]{6,}"
)
MASK = "***"
_secrets: set[str] = set()


def register_secret(value: str) -> None:
    """This very text is masked wherever it turns up in a log line."""
    if len(value) >= 4:
        _secrets.add(value)


def one_line(text: str) -> str:
    """The text with everything that could start a line or move a cursor written out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def masked(text: str) -> str:
    """The text without registered secrets and without what looks like credentials in URLs and headers."""
    for secret in _secrets:
        if secret in text:
            text = text.replace(secret, MASK)
    return SECRET_TEXT.sub(lambda match: (match[1] or f"{match[2]} ") + MASK, text)


def clean(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """structlog processor: every value one line, secrets masked by key and by content."""
    for key, value in list(event.items()):
        if key.startswith("_"):
            continue
        if SECRET_KEY.search(key):
            event[key] = MASK
        elif isinstance(value, int | float | bool) or value is None:
            continue
        else:
            lines = str(value).split("\n") if key in ("exception", "stack") else [str(value)]
            event[key] = " | ".join(one_line(masked(line)) for line in lines)
    return event


def without_values(error: BaseException | None) -> str:
    """A traceback that says where and what kind, causes first, but quotes no value.

    Python puts the value at hand into its own errors (``int("…")``, ``KeyError``), and it may be personal.
    """
    if error is None:
        return ""
    said = str(error) if isinstance(error, MisoflowError) else getattr(error, "strerror", None) or ""
    lines = [*traceback.format_tb(error.__traceback__), f"{type(error).__name__}: {said}".rstrip(": ")]
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    inner = [cause, *getattr(error, "exceptions", ())]
    return "\n".join([*(without_values(one) for one in inner if one is not None), "".join(lines)])


def setup(form: Format = "auto", level: int = logging.INFO) -> None:
    """Send every log line of this process through the cleaning, once."""
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.ExceptionRenderer(lambda info: without_values(info[1])),
        clean,
    ]
    render: Any = structlog.dev.ConsoleRenderer(colors=False) if console else structlog.processors.JSONRenderer()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in ("httpx", "httpcore", "uvicorn", "uvicorn.access", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
        logger.setLevel(logging.WARNING)
