from datetime import date

import httpx
from acme import Acme
from misoflow import sign_hmac
from misoflow.testing import ConnectorContract

EVENTS = [
    {"id": 1, "topic": "product.saved", "sku": "lamp-1", "title": "Desk lamp", "published": True, "tags": ["light"]},
    {
        "id": 2,
        "topic": "cart.added",
        "lines": [{"sku": "lamp-1", "qty": 2}],
        "visitor": "v-1",
        "at": "2026-09-01T10:00:00Z",
    },
    {"id": 3, "topic": "product.removed", "sku": "lamp-3"},
    {"id": 4, "topic": "customer.saved", "customer": 77, "plan": "gold"},
    {"id": 5, "topic": "product.removed", "sku": "lamp-5"},
]
PAGE = 2


class TestAcme(ConnectorContract):
    connector = Acme
    config = {"shop": "demo.acme.example", "signing_secrets": ["a-signing-secret"], "token": "a-private-token"}
    signature_headers = ("x-acme-time", "x-acme-signature")
    tolerance = 300
    rotated = {"signing_secrets": ["a-newer-secret", "a-signing-secret"]}
    history = 5
    period = (date(2026, 9, 1), date(2026, 9, 3))

    def sign(self, body: bytes, at: float) -> dict[str, str]:
        moment = str(int(at))
        signature = sign_hmac(moment.encode() + b"." + body, self.config["signing_secrets"][0])
        return {"x-acme-time": moment, "x-acme-signature": signature}

    def upstream(self, request: httpx.Request) -> httpx.Response:
        at = int(request.url.params["after"] or 0)
        more = at + PAGE < len(EVENTS)
        return httpx.Response(200, json={"events": EVENTS[at : at + PAGE], "next": str(at + PAGE) if more else ""})
