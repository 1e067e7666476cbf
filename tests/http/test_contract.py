"""The connector keeps the contract of all connectors: calls of Miso's API, and JSON in all its proofs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from misoflow.testing import ConnectorContract
from misoflow_http import Http, HttpConfig
from misoflow_http.proof import KEY_HEADER
from misoflow_http.samples import proof
from misoflow_http.upload import DELETES

from tests.http.kit import KEY, PAGE_KEY, RULES, SECRET


class Uploads(ConnectorContract):
    """Calls of Miso's API; a key proves the sender only."""

    connector = Http
    config: Mapping[str, Any] = {"api_key": KEY, "publishable_key": PAGE_KEY}
    signature_headers = (KEY_HEADER,)
    signs_body = False
    rotated: Mapping[str, Any] = {"api_key": ["another-key-than-before", KEY]}

    def sign(self, body: bytes, at: float) -> dict[str, str]:
        return {KEY_HEADER: KEY}

    @pytest.mark.xfail(
        reason="Miso's own records go on as they are: what they hold is the sender's choice, as in files"
    )
    def test_unknown_fields_stay_out(self, sample: str) -> None:
        super().test_unknown_fields_stay_out(sample)


class TestInteractions(Uploads):
    topics = ("interactions", "dry_run")


class TestWhatIsKept(Uploads):
    """Products, users and deletes: each call is new, as its content may come back after another one."""

    samples = "samples_kept"
    topics = ("products", "users", *DELETES.values())

    @pytest.mark.xfail(reason="a product that changes back is the same call again, and must not be taken for a repeat")
    def test_event_ids_are_stable_and_distinct(self, delivery: str) -> None:
        super().test_event_ids_are_stable_and_distinct(delivery)


class Json(ConnectorContract):
    """JSON of one shape, in whatever way it is proven."""

    connector = Http
    samples = "samples_json"
    rules = RULES
    topics = ("json",)

    def sign(self, body: bytes, at: float) -> dict[str, str]:
        return proof(HttpConfig.model_validate(self.config), body, at)


PATHS = {"secret": SECRET, "list_path": "items", "id_path": "id", "time_path": "at"}
ROTATED = {"secret": ["another-secret-than-before", SECRET]}


class TestHmac(Json):
    config: Mapping[str, Any] = {
        **PATHS,
        "auth": "hmac",
        "timestamp_header": "x-time",
        "signed_content": "{timestamp}.{body}",
        "signature_prefix": "v1=",
    }
    signature_headers = ("x-signature", "x-time")
    tolerance = 300
    rotated: Mapping[str, Any] = ROTATED


class TestStandardWebhooks(Json):
    """With the example of its specification."""

    config: Mapping[str, Any] = {
        **{"auth": "standard-webhooks", "secret": SECRET},
        **{"event_path": "type", "time_path": "timestamp"},
    }
    rules = (
        {"match": "contact.created", "type": "custom", "custom_action_name": "contact_created"}
        | {"anonymous_id": "$.data.id"},
    )
    samples = "samples_standard"
    signature_headers = ("webhook-id", "webhook-timestamp", "webhook-signature")
    tolerance = 300
    rotated: Mapping[str, Any] = ROTATED


class TestBearer(Json):
    config: Mapping[str, Any] = {**PATHS, "auth": "bearer"}
    signature_headers = ("authorization",)
    signs_body = False
    rotated: Mapping[str, Any] = ROTATED


class TestBasic(Json):
    config: Mapping[str, Any] = {**PATHS, "auth": "basic", "username": "misoflow"}
    signature_headers = ("authorization",)
    signs_body = False
    rotated: Mapping[str, Any] = ROTATED
