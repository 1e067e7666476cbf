"""Stripe's connector under misoflow's contract."""

import hashlib
import hmac

from misoflow.testing import ConnectorContract
from misoflow_stripe import Stripe

SECRET = "whsec_of-a-test-endpoint"


class TestStripe(ConnectorContract):
    connector = Stripe
    config = {"signing_secrets": [SECRET]}
    signature_headers = ("stripe-signature",)
    tolerance = 300
    rotated = {"signing_secrets": ["whsec_of-the-next-one", SECRET]}

    def sign(self, body: bytes, at: float) -> dict[str, str]:
        signed = f"{int(at)}.".encode() + body
        old, new = (hmac.new(key.encode(), signed, hashlib.sha256).hexdigest() for key in ("whsec_rolled", SECRET))
        return {"stripe-signature": f"t={int(at)},v0=0123,v1={old},v1={new}"}
