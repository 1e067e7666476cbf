"""The conformance kit for connectors: subclass ``ConnectorContract`` in a test file and run pytest.

    class TestAcme(ConnectorContract):
        connector = Acme
        config = {"shop": "demo.acme.example", "signing_secret": "a-signing-secret"}
        signature_headers = ("x-acme-signature",)

        def sign(self, body: bytes, at: float) -> dict[str, str]:
            return {"x-acme-signature": sign_hmac(body, self.config["signing_secret"])}

Needs the extra ``misoflow[testing]``.
"""

import misoflow.testing.needed  # noqa: F401 (first of all)
from misoflow.testing.contract import ConnectorContract
from misoflow.testing.samples import Sample
from misoflow.testing.tape import vcr_config

__all__ = ["ConnectorContract", "Sample", "vcr_config"]
