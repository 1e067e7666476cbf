"""Cassettes: a platform's answers as recorded by vcrpy (https://vcrpy.readthedocs.io), without what is secret."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

SCRUBBED = "SCRUBBED"
NAMES = (
    "access_token",
    "api_key",
    "api_secret",
    "apikey",
    "auth",
    "client_id",
    "client_secret",
    "code",
    "hmac",
    "key",
    "password",
    "refresh_token",
    "secret",
    "sig",
    "signature",
    "token",
)
"""Parameters of queries and of posted forms and JSON whose values never stay in a cassette."""
HEADERS = (
    "authorization",
    "cookie",
    "host",
    "proxy-authorization",
    "user-agent",
    "x-access-token",
    "x-api-key",
    "x-auth-token",
)
KEPT = ("content-type", "date", "etag", "link", "location", "retry-after")
"""Headers of answers that stay; others tell of accounts and sessions."""
EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
MATCHED = ("method", "scheme", "host", "port", "path", "query", "body")
OLD = timedelta(days=180)


class Lost(httpx.ReadError, ConnectionResetError):
    """A lost connection, for whatever client is looking."""


def vcr_config(secrets: Iterable[str] = (), *, record: bool = False) -> dict[str, Any]:
    """Arguments for ``vcr.VCR``: nothing secret and no e-mail address is written.

    ``secrets`` are struck out wherever they stand, beside what is known by name. Without ``record`` a request that is
    not in the cassette is an error; with it every request goes out and the cassette is written anew.
    """
    forms = sorted({form for secret in secrets for form in forms_of(secret)}, key=len, reverse=True)
    return {
        "record_mode": "all" if record else "none",
        "match_on": MATCHED,
        "decode_compressed_response": True,
        "filter_headers": list(HEADERS),
        "filter_query_parameters": [(name, SCRUBBED) for name in NAMES],
        "filter_post_data_parameters": [(name, SCRUBBED) for name in NAMES],
        "filter_nested_post_data_parameters": True,
        "drop_unused_requests": record,
        "before_record_request": _request_scrubber(forms),
        "before_record_response": _response_scrubber(forms),
    }


def forms_of(secret: str) -> Iterator[str]:
    """The forms in which a secret travels: as it is, in a URL, in base64."""
    yield secret
    yield quote(secret, safe="")
    yield base64.b64encode(secret.encode()).decode().rstrip("=")


@contextlib.contextmanager
def playing(
    path: Path, secrets: Iterable[str], *, record: bool, answer: Callable[[Any], dict[str, Any] | None]
) -> Iterator[None]:
    """Requests of any client are answered from the cassette; ``answer`` sees each first and may give another answer."""
    import vcr

    recorder = vcr.VCR(**vcr_config(secrets, record=record))
    with recorder.use_cassette(path) as cassette:
        play = cassette.play_response
        cassette.play_response = lambda request: answer(request) or play(request)
        yield


def as_request(request: Any) -> httpx.Request:
    """vcrpy's request as ours."""
    headers = {str(name): str(value) for name, value in dict(request.headers).items()}
    return httpx.Request(request.method, request.uri, headers=headers)


def as_answer(status: int, headers: dict[str, str], body: bytes) -> dict[str, Any]:
    """An answer in vcrpy's form."""
    lists = {name: [value] for name, value in headers.items()}
    return {"status": {"code": status, "message": ""}, "headers": lists, "body": {"string": body}}


def recorded_at(path: Path) -> datetime | None:
    """When the newest answer of a cassette was given, by its ``Date``; None where none says."""
    import yaml

    found = []
    for exchange in yaml.safe_load(path.read_text(encoding="utf-8"))["interactions"]:
        for name, values in exchange["response"]["headers"].items():
            if name.lower() == "date":
                with contextlib.suppress(ValueError, TypeError):
                    found.append(parsedate_to_datetime(values[0] if isinstance(values, list) else values))
    return max(found, default=None)


def age(path: Path) -> str:
    """What to say about a cassette that is old; "" for one that is not."""
    then = recorded_at(path)
    if then is None:
        return f"{path.name} does not say when it was recorded: keep the header Date of the answers"
    days = (datetime.now(UTC) - then).days
    return f"{path.name} was recorded {days} days ago: record it anew" if days > OLD.days else ""


def _request_scrubber(forms: list[str]) -> Callable[[Any], Any]:
    def scrub(request: Any) -> Any:
        request.uri = _struck(request.uri, forms)
        if isinstance(request.body, bytes):
            request.body = _struck(request.body.decode("utf-8", "surrogateescape"), forms).encode(
                "utf-8", "surrogateescape"
            )
        for name, value in list(request.headers.items()):
            request.headers[name] = _struck(str(value), forms)
        return request

    return scrub


def _response_scrubber(forms: list[str]) -> Callable[[Any], Any]:
    def scrub(response: Any) -> Any:
        response["headers"] = {name: value for name, value in response["headers"].items() if name.lower() in KEPT}
        body = response["body"]["string"]
        if isinstance(body, bytes):
            text = _struck(body.decode("utf-8", "surrogateescape"), forms)
            response["body"]["string"] = EMAIL.sub(_nobody, text).encode("utf-8", "surrogateescape")
        return response

    return scrub


def _struck(text: str, forms: list[str]) -> str:
    for form in forms:
        text = text.replace(form, SCRUBBED)
    return text


def _nobody(found: re.Match[str]) -> str:
    """The same address becomes the same stand-in."""
    return f"person-{hashlib.blake2b(found[0].encode(), digest_size=4).hexdigest()}@example.com"
