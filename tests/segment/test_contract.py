"""Segment under the authors' kit: each way in which Segment, its functions and its libraries deliver."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import date
from pathlib import Path

from misoflow.testing import ConnectorContract
from misoflow_segment import Segment

ARCHIVE = str(Path(__file__).parent / "archive")
SECRET, NEW_SECRET = "a-shared-secret-of-the-tests", "a-new-secret-of-the-tests"
TOKEN, NEW_TOKEN = "a-batch-token-of-the-tests", "a-new-batch-token-of-the-tests"
WRITE_KEY, NEW_WRITE_KEY = "a-write-key-of-the-tests", "a-new-write-key-of-the-tests"
ORDER = "Order Completed"


def hex_of(body: bytes, kind: str) -> str:
    return hmac.new(SECRET.encode(), body, kind).hexdigest()


class TestWebhook(ConnectorContract):
    """A webhook destination's single events, and the archive of the same source."""

    connector = Segment
    config = {"shared_secret": SECRET, "archive": ARCHIVE}
    signature_headers = ("x-signature",)
    rotated = {"shared_secret": [NEW_SECRET, SECRET]}
    history = 7
    period = (date(2026, 2, 23), date(2026, 2, 24))

    def sign(self, body: bytes, at: float) -> dict[str, str]:
        return {"x-signature": hex_of(body, "sha1")}


class TestBatch(ConnectorContract):
    """Batches, of which Segment signs the first event only: a token proves the rest."""

    connector = Segment
    config = {"batch_token": TOKEN}
    channels = ("deliveries",)
    topics = ("Product Viewed", ORDER)
    samples = "samples_batch"
    signature_headers = ("authorization",)
    signs_body = False
    rotated = {"batch_token": [NEW_TOKEN, TOKEN]}

    def sign(self, body: bytes, at: float) -> dict[str, str]:
        return {"authorization": f"Bearer {TOKEN}"}


class TestFunction(ConnectorContract):
    """The Destination Function that ships with the connector, which signs whole bodies and their time."""

    connector = Segment
    config = {"shared_secret": SECRET}
    channels = ("deliveries",)
    topics = ("Product Viewed", ORDER)
    samples = "samples_function"
    signature_headers = ("webhook-timestamp", "webhook-signature")
    tolerance = 300
    rotated = {"shared_secret": [NEW_SECRET, SECRET]}

    def sign(self, body: bytes, at: float) -> dict[str, str]:
        stamp = str(int(at))
        signature = hmac.new(SECRET.encode(), f"v1.{stamp}.".encode() + body, hashlib.sha256).digest()
        return {"webhook-timestamp": stamp, "webhook-signature": "v1," + base64.b64encode(signature).decode()}


class TestTrackingApi(ConnectorContract):
    """Segment's HTTP API as servers use it, with the write key in the header."""

    connector = Segment
    config = {"write_key": WRITE_KEY}
    channels = ("deliveries",)
    topics = (ORDER, "page", "identify")
    samples = "samples_tracking"
    signature_headers = ("authorization",)
    signs_body = False
    rotated = {"write_key": [NEW_WRITE_KEY, WRITE_KEY]}

    def sign(self, body: bytes, at: float) -> dict[str, str]:
        return {"authorization": "Basic " + base64.b64encode(f"{WRITE_KEY}:".encode()).decode()}


class TestLibrary(ConnectorContract):
    """What a Segment library sent, with the write key in the body."""

    connector = Segment
    config = {"write_key": WRITE_KEY}
    channels = ("deliveries",)
    topics = (
        *("Content Read", "Audio Played", "Item Liked", "Item Bookmarked", "Item Disliked", "Product Image Viewed"),
        *("Product Subscribed", "Product Unsubscribed", "track"),
    )
    samples = "samples_library"
    signature_headers = ()
    signs_body = False
    rotated = {"write_key": [NEW_WRITE_KEY, WRITE_KEY]}

    def sign(self, body: bytes, at: float) -> dict[str, str]:
        return {}
