"""What the receiver answers: small JSON bodies, built once where they are always the same.

Senders show these texts to people (Segment's Event Delivery quotes the body), so each says what is wrong. What
a stranger gets for a bad signature and for an unknown name is the same, byte for byte.
"""

from __future__ import annotations

from typing import Any

import msgspec

Header = tuple[bytes, bytes]
RETRY_AFTER = 5
"""Seconds that a sender is asked to wait when we cannot take anything in."""


class Answer:
    """Status, headers and body of one answer; ``outcome`` is its label in the metrics. ``kind`` "": no content."""

    __slots__ = ("body", "finish", "headers", "outcome", "start", "status")

    def __init__(
        self, status: int, body: bytes, outcome: str, *extra: Header, kind: bytes = b"application/json"
    ) -> None:
        self.status = status
        self.body = body
        self.outcome = outcome
        self.headers: list[Header] = [*_content(kind, body), *extra]
        self.start = {"type": "http.response.start", "status": status, "headers": self.headers}
        self.finish = {"type": "http.response.body", "body": body}

    def with_headers(self, extra: list[Header]) -> Answer:
        """The same answer with more headers."""
        if not extra:
            return self
        return Answer(self.status, self.body, self.outcome, *self.headers, *extra, kind=b"")


def _content(kind: bytes, body: bytes) -> list[Header]:
    """What says that there is a body; a 204 must not: https://www.rfc-editor.org/rfc/rfc9110#name-204-no-content"""
    return [(b"content-type", kind), (b"content-length", b"%d" % len(body))] if kind else []


def accepted(content: Any = None, status: int = 200, outcome: str = "accepted") -> Answer:
    """2xx with a connector's answer, or the plain one where that cannot be written as JSON. 204 has no body."""
    if status == 204:
        return Answer(204, b"", outcome, kind=b"")
    try:
        body = msgspec.json.encode({"success": True} if content is None else content)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        body = b'{"success":true}'
    return Answer(status, body, outcome)


def refusal(status: int, message: str, outcome: str, *extra: Header) -> Answer:
    """``errors`` is where Miso's own clients look for the outcome, some of them nowhere else."""
    return Answer(status, msgspec.json.encode({"success": False, "errors": True, "message": message}), outcome, *extra)


def message(answer: Answer) -> str:
    """What a refusal says."""
    return str(msgspec.json.decode(answer.body)["message"])


def malformed(message: str) -> Answer:
    return refusal(400, message, "malformed")


def unavailable(message: str) -> Answer:
    return refusal(503, message, "unavailable", (b"retry-after", b"%d" % RETRY_AFTER))


OK = accepted()
UNWANTED = accepted(outcome="unwanted")
ALIVE = Answer(200, b'{"status":"ok"}', "alive")
UNAUTHORIZED = refusal(401, "the signature or key does not fit this address", "unauthorized")
NOT_FOUND = refusal(404, "nothing is here", "not_found")
WRONG_ORIGIN = refusal(403, "this origin is not among the instance's origins", "unauthorized")
WRONG_METHOD = refusal(405, "send deliveries here by POST", "method", (b"allow", b"POST"))
WRONG_METHOD_PAGE = refusal(405, "open this address in a browser", "method", (b"allow", b"GET, HEAD"))
TOO_OLD = refusal(401, "the token of this page is too old, or of another install", "unauthorized")
TOO_LARGE = refusal(413, "the body is larger than this address takes", "too_large")
UNKNOWN_ENCODING = refusal(415, "content-encoding must be gzip or absent", "malformed")
UNKNOWN_DELIVERY = refusal(404, "no such delivery is known here, or not any more", "not_found")
MALFORMED_GZIP = malformed("Malformed gzip content")
TOO_MANY_FIELDS = malformed("the query has too many fields")
BUSY = unavailable("more deliveries are arriving than can be stored; send it again later")
STOPPING = unavailable("the receiver is restarting; send it again in a moment")
NOT_STORED = unavailable("the delivery could not be stored; send it again later")
TOO_FAST = refusal(429, "more deliveries a second than this instance takes", "limited", (b"retry-after", b"1"))
TOO_FAST_SENDER = refusal(429, "more deliveries a second than one sender may bring", "limited", (b"retry-after", b"1"))
BROKEN = unavailable("this instance cannot start with its present settings; its owner must mend them")
CANNOT_READ = unavailable("what became of the delivery cannot be read at this moment; ask again later")
CANNOT_JUDGE = unavailable("the signature cannot be checked at this moment; send it again later")
