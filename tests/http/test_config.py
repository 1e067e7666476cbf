"""No door stands open by accident, and what is wrong is said with the next step."""

from __future__ import annotations

from typing import Any

import pytest
from misoflow.config import load
from misoflow.errors import ConfigError

from tests.http.kit import KEY, SECRET, http

HMAC = {"auth": "hmac", "secret": SECRET}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"event_path": "event"}, "nothing proves a sender"),
        ({"auth": "hmac"}, "needs secret"),
        ({"auth": "bearer"}, "needs secret"),
        ({"auth": "basic", "secret": SECRET}, "needs username"),
        ({"auth": "bearer", "secret": "short"}, "at least 16"),
        ({"secret": SECRET}, "nothing proves a sender"),
        ({"auth": "magic", "secret": SECRET}, "hmac"),
        ({"api_key": "short"}, "at least 16"),
        ({"api_key": " "}, "must not be blank"),
        ({"api_key": [KEY, ""]}, "must not be blank"),
        ({"api_key": KEY, "publishable_key": KEY}, "either an api_key or a publishable_key"),
        ({"auth": "standard-webhooks", "secret": "whsec_no base64"}, "base64"),
        ({**HMAC, "signed_content": "{timestamp}"}, "needs {body}"),
        ({**HMAC, "timestamp_header": "x-time"}, "go together"),
        ({**HMAC, "signed_content": "{timestamp}.{body}"}, "go together"),
        ({**HMAC, "digest": "md5"}, "sha256"),
        ({**HMAC, "list_path": "a..b"}, "is not a path"),
        ({**HMAC, "event_pth": "x"}, "event_pth"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as refused:
        http(**settings)
    assert said in str(refused.value)
    for secret in (SECRET, KEY):
        assert secret not in str(refused.value)


def test_an_instance_without_a_proof_says_what_to_set(tmp_path: Any) -> None:
    file = tmp_path / "plugins.toml"
    file.write_text('[miso]\napi_key = "k"\n[instances.in]\nconnector = "http"\n')
    with pytest.raises(ConfigError) as refused:
        load(file, strict=True)
    assert str(refused.value).startswith("instances.in: ")
    assert "set api_key" in str(refused.value)


PROVEN: dict[str, dict[str, Any]] = {
    "api": {"api_key": KEY},
    "hmac": HMAC,
    "standard": {"auth": "standard-webhooks", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
    "none": {"auth": "none"},
}


def test_only_what_has_a_key_is_open() -> None:
    def paths(**settings: Any) -> set[str]:
        return {route.path for route in http(**settings).routes}

    assert paths(**HMAC) == paths(auth="none") == {""}
    assert paths(publishable_key="page") == {"v1/interactions", "v1/*", "v1/*/*", "v1/*/*/*"}  # these tell where to ask
    assert "" not in paths(api_key=KEY)
    assert {"v1/products", "v1/users/_delete", "v1/users/_status/*", "v1/products/*"} < paths(api_key=KEY)


def test_browsers_may_read_answers_only_where_a_page_has_a_key() -> None:
    assert not any(route.cors for route in http(api_key=KEY, **HMAC).routes)
    cors = {route.path: route.cors for route in http(api_key=KEY, publishable_key="page", **HMAC).routes}
    assert cors["v1/interactions"]
    assert not cors[""]


@pytest.mark.parametrize(
    ("settings", "rules", "said"),
    [
        ({"api_key": KEY}, 0, []),
        ({"api_key": KEY}, 1, ["the rules are for JSON"]),
        ({**HMAC, "id_path": "id"}, 1, []),
        ({**HMAC, "time_path": "at"}, 0, ["no rule maps"]),
        (PROVEN["standard"], 1, []),
        ({"api_key": KEY, "secret": SECRET}, 0, ["secret is not used"]),
        (HMAC, 1, ["comes again cannot be told"]),
        ({"auth": "none", "id_path": "id"}, 1, ["taken from anybody"]),
    ],
)
async def test_check_warns_of_open_doors_and_of_rules_that_are_missing(
    settings: dict[str, Any], rules: int, said: list[str]
) -> None:
    found = await http([{"match": "x", "type": "none"}] * rules, **settings).check()
    assert [problem.level for problem in found] == ["warn"] * len(said)
    assert all(text in problem.text for text, problem in zip(said, found, strict=True))
