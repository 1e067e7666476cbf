"""Channels without a signature: what must not be kept, answers without a body, bounds by install and by address."""

from __future__ import annotations

import time
from typing import Any

import pytest
from misoflow.config import EngineConfig
from misoflow.errors import ConfigError
from misoflow.sections import section
from misoflow_webhooks.limits import Rates, Senders
from misoflow_webhooks.metrics import MOST_REASONS, Metrics

from tests.webhooks.conftest import make_settings

EVENT = b'{"name":"page_viewed"}'


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands; its one number is the time."""
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    return clock


def test_a_204_has_no_body_and_is_stored(server: Any) -> None:
    answer = server.post("/hooks/shop/pixel/key", EVENT, origin="https://shop.example")
    assert (answer.status, answer.body) == (204, b"")
    assert "content-type" not in answer.headers
    assert "content-length" not in answer.headers
    assert "transfer-encoding" not in answer.headers
    assert answer.headers["access-control-allow-origin"] == "*"
    assert [delivery.request.body for delivery in server.stored()] == [EVENT]


def test_another_status_keeps_the_connectors_body(server: Any) -> None:
    answer = server.post("/hooks/shop/later", EVENT)
    assert (answer.status, answer.json) == (202, {"success": True, "bytes": len(EVENT)})
    assert server.post("/hooks/shop/later", EVENT, x_answer="bug").status == 202


def test_what_is_unwanted_is_answered_as_usual_counted_and_not_stored(server: Any) -> None:
    unwanted = server.post("/hooks/shop/pixel/key", EVENT, x_unwanted="no consent to analytics")
    assert (unwanted.status, unwanted.body) == (204, b"")
    for _ in range(2):
        answer = server.post("/hooks/shop/later", EVENT, x_unwanted="a bot")
        assert (answer.status, answer.json) == (202, {"success": True})
    assert server.stored() == []
    text = server.admin("/metrics").body.decode()
    assert 'misoflow_deliveries_total{instance="shop",outcome="unwanted"} 3.0' in text
    assert 'misoflow_unwanted_total{instance="shop",reason="no consent to analytics"} 1.0' in text
    assert 'misoflow_unwanted_total{instance="shop",reason="a bot"} 2.0' in text


def test_reasons_are_bounded() -> None:
    metrics = Metrics()
    for number in range(MOST_REASONS + 10):
        metrics.unwanted("shop", f"reason {number}")
    lines = [line for line in metrics.text().decode().splitlines() if line.startswith("misoflow_unwanted_total{")]
    assert len(lines) == MOST_REASONS + 1
    assert 'misoflow_unwanted_total{instance="shop",reason="other"} 10.0' in lines


def test_a_sender_is_bounded_before_anything_is_proved(start: Any, still: list[float], tmp_path: Any) -> None:
    server = start(make_settings(tmp_path / "var", proxies=("127.0.0.1", "10.0.0.0/8")))

    def sent(address: str, body: bytes = EVENT) -> int:
        return int(server.post("/hooks/shop/pixel/key", body, x_forwarded_for=address).status)

    assert [sent("203.0.113.5", b"{") for _ in range(3)] == [400, 400, 429]
    assert sent("198.51.100.9, 203.0.113.5") == 429  # what stands left of a stranger is that stranger's claim
    assert sent("203.0.113.5, 10.1.2.3") == 429
    assert sent("203.0.113.6") == 204
    still[0] += 0.5
    assert [sent("203.0.113.5"), sent("203.0.113.5")] == [204, 429]


def test_nobody_but_a_proxy_of_ours_is_believed(server: Any, still: list[float]) -> None:
    statuses = [server.post("/hooks/shop/pixel/key", EVENT, x_forwarded_for=f"203.0.113.{n}").status for n in range(3)]
    assert statuses == [204, 204, 429]
    refused = server.post("/hooks/shop/pixel/key", EVENT)
    assert int(refused.headers["retry-after"]) > 0
    assert server.post("/hooks/web/pixel/key", EVENT).status == 200  # a route without such a bound


def test_an_install_is_bounded_once_it_is_proved(start: Any, still: list[float], tmp_path: Any) -> None:
    server = start(make_settings(tmp_path / "var", proxies=("127.0.0.1",)))

    def sent(shop: str, sender: int, body: bytes = EVENT) -> int:
        headers = {"x_tenant": shop, "x_forwarded_for": f"203.0.113.{sender}"}
        return int(server.post("/hooks/shop/pixel/key", body, **headers).status)

    assert [sent("one.example", n, b"{") for n in range(10, 15)] == [400] * 5  # these use nothing up
    assert [sent("one.example", n) for n in range(4)] == [204, 204, 204, 429]
    assert sent("two.example", 5) == 204
    assert len(server.stored()) == 4


SENDERS = [
    ("203.0.113.5", "", "203.0.113.5"),
    ("203.0.113.5", "198.51.100.1", "203.0.113.5"),
    ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
    ("10.0.0.1", "198.51.100.1:5123", "198.51.100.1"),
    ("10.0.0.1", "1.1.1.1, 198.51.100.1, 10.0.0.9 ,10.0.0.8", "198.51.100.1"),
    ("10.0.0.1", "10.0.0.9", "10.0.0.9"),
    ("10.0.0.1", "198.51.100.1, nonsense", "10.0.0.1"),
    ("10.0.0.1", ",,", "10.0.0.1"),
    ("::1", "[2001:db8:1:2:3:4:5:6]:443", "2001:db8:1:2::/64"),
    ("::1", "2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
    ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
    ("", "198.51.100.1", ""),
]


@pytest.mark.parametrize(("peer", "forwarded", "address"), SENDERS)
def test_the_address_of_a_sender(peer: str, forwarded: str, address: str) -> None:
    assert Senders(("10.0.0.0/8", "::1")).address(peer, forwarded) == address


def test_a_proxy_that_is_not_named_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    senders = Senders(("10.0.0.1",))
    for peer, forwarded in (("10.0.0.1", "203.0.113.5"), ("10.0.0.2", ""), ("8.8.8.8", "203.0.113.5")):
        senders.address(peer, forwarded)
    assert caplog.text == ""
    for _ in range(3):
        senders.address("10.0.0.2", "203.0.113.5")
    assert caplog.text.count('trusted_proxies = ["10.0.0.2"]') == 1
    assert "203.0.113.5" not in caplog.text


def test_senders_are_remembered_in_bounded_memory(still: list[float]) -> None:
    rates = Rates(most=3)
    assert [rates.take("busy", 1.0), rates.take("busy", 1.0)] == [True, False]
    for number in range(100):
        rates.take(number, 1.0)
        assert rates.take("busy", 1.0) is False  # heard of just now, so it is not forgotten
    assert len(rates) == 3


def test_proxies_and_the_public_address_are_checked_when_the_settings_are_read() -> None:
    good = section(EngineConfig, {"trusted_proxies": ["127.0.0.1", "fd00::/8"], "public_url": "https://a.b/"}, "engine")
    assert (good.trusted_proxies, good.public_url) == (("127.0.0.1", "fd00::/8"), "https://a.b")
    for key, value in (("trusted_proxies", ["10.0.0.1/8"]), ("trusted_proxies", ["all"]), ("public_url", "http://a.b")):
        with pytest.raises(ConfigError, match=rf"^engine\.{key}"):
            section(EngineConfig, {key: value}, "engine")
