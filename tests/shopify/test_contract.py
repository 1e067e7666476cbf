"""Shopify under the authors' kit: webhooks with the objects that they lead to, and the pixel."""

from __future__ import annotations

from misoflow.testing import ConnectorContract
from misoflow_shopify import Shopify
from misoflow_shopify.mapping import OBJECTS, THIN
from misoflow_shopify.pixel import TOPICS

from tests.shopify.mapped import SECRET, signed

NEW_SECRET = "a-newer-client-secret-of-the-tests"
APP = {"client_id": "an-app-of-the-tests", "client_secret": SECRET}


class TestWebhooks(ConnectorContract):
    """All webhooks, and products, orders, customers and carts as they are read."""

    connector = Shopify
    config = {**APP, "carts": "webhooks", "metafields": ["custom.material", "custom.watts"], "language": "en"}
    channels = ("deliveries",)
    topics = (*OBJECTS, *THIN)
    signature_headers = ("x-shopify-hmac-sha256",)
    rotated = {"client_secret": [NEW_SECRET, SECRET]}

    def sign(self, body: bytes, at: float) -> dict[str, str]:
        return {"x-shopify-hmac-sha256": signed(body)}


class TestPixel(ConnectorContract):
    """What visitors do, which nobody signs: a key in the address says for which shop it is."""

    connector = Shopify
    config = {**APP, "steps": True, "impressions": True}
    channels = ("deliveries",)
    topics = TOPICS
    samples = "samples_pixel"
    signature_headers = ()
    signs_body = False
    rotated = {"client_secret": [NEW_SECRET, SECRET]}

    def sign(self, body: bytes, at: float) -> dict[str, str]:
        return {}
