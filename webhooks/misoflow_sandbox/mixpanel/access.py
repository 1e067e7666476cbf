"""Who may call: service account or project secret, region, role, plan.

https://developer.mixpanel.com/reference/service-accounts
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping

from misoflow_sandbox.mixpanel.state import Family, Options, Refusal
from misoflow_sandbox.mixpanel.world import MixpanelWorld

REGIONS = ("us", "eu", "in")
UNKNOWN = "Unable to authenticate request"


def region_of(segments: list[str], world: MixpanelWorld) -> tuple[str, list[str]]:
    """A path may begin with a region, which stands for that region's hosts; without one it is the project's."""
    return (segments[0], segments[1:]) if segments[:1] and segments[0] in REGIONS else (world.region, segments)


def admit(
    world: MixpanelWorld, options: Options, family: Family, region: str, authorization: bytes, params: Mapping[str, str]
) -> None:
    """Let a call pass. Raises Refusal: 400 or 401 unknown or expired credentials, 402 plan, 403 project or role."""
    user, _, password = _basic(authorization).partition(b":")
    account = _equal(user, world.username) and _equal(password, world.secret)
    project = family != "app" and _equal(user, world.project_secret) and not password
    if region != world.region or not (account or project) or (account and options.expired):
        raise Refusal(options.refusal, UNKNOWN)
    given = params.get("project_id")
    if account and family != "app":
        if given is None:
            raise Refusal(400, "project_id is required if a service account authenticates the request")
        if not given.isdecimal():
            raise Refusal(400, "project_id must be an integer")
    if given is not None and given != str(world.project_id):
        raise Refusal(403, f"This account has no access to project {given}")
    if family in options.no_plan:
        raise Refusal(402, "Your plan does not allow API calls. Upgrade at mixpanel.com/pricing")
    if family in options.forbidden:
        raise Refusal(403, "The role of this account does not permit this request")


def _basic(authorization: bytes) -> bytes:
    """``user:password`` of a header, which Mixpanel takes in base64 or in plain text. Empty if there is none."""
    scheme, _, rest = authorization.strip().partition(b" ")
    if scheme.lower() != b"basic":
        return b""
    if b":" in rest:
        return rest.strip()
    try:
        return base64.b64decode(rest.strip(), validate=True)
    except binascii.Error:
        return b""


def _equal(given: bytes, expected: str) -> bool:
    return bool(expected) and hmac.compare_digest(given, expected.encode())
