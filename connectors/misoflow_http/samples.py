"""Genuine deliveries for `simulate`: with a key or signature of the instance, and a time that is now."""

from __future__ import annotations

import base64
import hmac
import json
import time
import uuid
from datetime import UTC, datetime
from typing import Any

from misoflow import Request, sign_hmac
from pydantic import SecretStr

from misoflow_http.config import HttpConfig
from misoflow_http.mapped import DELIVERY_ID, TOPIC
from misoflow_http.proof import KEY_HEADER, signed_content
from misoflow_http.upload import CHANNEL, DELETES, DRY_RUN, written


def made(config: HttpConfig, topic: str) -> Request:
    """LookupError for a topic that this instance does not take in."""
    if topic == TOPIC:
        return _json(config, topic)
    now = written(datetime.now(UTC))
    viewed = {"type": "product_detail_page_view", "product_ids": ["sample-1"], "anonymous_id": "sample-visitor"}
    bodies: dict[str, tuple[str, Any]] = {
        "interactions": ("v1/interactions", {"data": [{**viewed, "timestamp": now}]}),
        "products": ("v1/products", {"data": [{"product_id": "sample-1", "title": "A sample"}]}),
        "users": ("v1/users", {"data": [{"user_id": "sample-user", "country": "NZ"}]}),
        DELETES["interactions"]: ("v1/interactions", {"user_ids": ["sample-user"]}),
        DELETES["products"]: ("v1/products/_delete", {"data": {"product_ids": ["sample-1"]}}),
        DELETES["users"]: ("v1/users/_delete", {"data": {"user_ids": ["sample-user"]}}),
        DRY_RUN: ("v1/interactions", {"data": [{**viewed, "timestamp": now}]}),
    }
    path, body = bodies[topic]
    if not config.api_key:
        raise LookupError(topic)
    headers = {"content-type": "application/json", KEY_HEADER: config.api_key[0].get_secret_value()}
    method = "DELETE" if topic == DELETES["interactions"] else "POST"
    query = {"dry_run": "1"} if topic == DRY_RUN else {}
    return Request(_written(body), headers, CHANNEL, path, method, query)


def _json(config: HttpConfig, topic: str) -> Request:
    if config.auth is None:
        raise LookupError(topic)
    event: Any = {**_placed(config.event_path, "sample"), **_placed(config.id_path, str(uuid.uuid4()))}
    event |= _placed(config.time_path, written(datetime.now(UTC)))
    body = _written(_placed(config.list_path, [event]) if config.list_path else event)
    return Request(body, {"content-type": "application/json", **proof(config, body, time.time())})


def _placed(path: str, value: Any) -> dict[str, Any]:
    """``{"a": {"b": value}}`` for ``a.b``."""
    for key in reversed(path.removeprefix("$").strip(".").split(".")):
        value = {key: value} if key else {}
    return value if isinstance(value, dict) else {}


def _written(body: Any) -> bytes:
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def proof(config: HttpConfig, body: bytes, at: float) -> dict[str, str]:
    """Headers by which a delivery sent at ``at`` (Unix seconds) is taken, made with the first secret.

    LookupError where that secret is a public key, with which nobody can sign.
    """
    secret = config.secret[0].get_secret_value() if config.secret else ""
    stamp = str(int(at))
    match config.auth:
        case "hmac":
            content = signed_content(config.signed_content, body, stamp)
            made = sign_hmac(content, SecretStr(secret), digest=config.digest, encoding=config.encoding)
            signature = {config.signature_header: config.signature_prefix + made}
            return signature | ({config.timestamp_header: stamp} if config.timestamp_header else {})
        case "standard-webhooks":
            return _standard(secret, body, stamp)
        case "bearer":
            return {"authorization": f"Bearer {secret}"}
        case "basic":
            return {"authorization": "Basic " + base64.b64encode(f"{config.username}:{secret}".encode()).decode()}
    return {}


def _standard(secret: str, body: bytes, stamp: str) -> dict[str, str]:
    """https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md"""
    if secret.startswith("whpk_"):
        raise LookupError(TOPIC)
    name = f"msg_{uuid.uuid4().hex}"
    key = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
    made = base64.b64encode(hmac.digest(key, f"{name}.{stamp}.".encode() + body, "sha256")).decode()
    return {DELIVERY_ID: name, "webhook-timestamp": stamp, "webhook-signature": f"v1,{made}"}
