"""Sends what is due: from threads of its own once started, or when asked to."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from misoflow_sandbox.shopify.hooks import Delivery, Hooks
from misoflow_sandbox.shopify.shop import Shop

THREADS = 8
TICK_SECONDS = 0.02
"""How often the queue is looked at, since the clock can be moved."""


class Sender:
    """Posts deliveries. ``also`` is called at every look at the queue, for what else is due by the clock."""

    def __init__(self, hooks: Hooks, shops: Mapping[str, Shop], also: Callable[[], None]) -> None:
        self.hooks, self._shops, self._also = hooks, dict(shops), also
        self._lock = threading.Lock()
        self._seen = 0
        self._waiting: list[Delivery] = []
        self._busy: set[int] = set()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._pool: ThreadPoolExecutor | None = None

    def start(self) -> None:
        self._stop.clear()
        self._pool = ThreadPoolExecutor(THREADS, "shopify webhooks")
        self._thread = threading.Thread(target=self._run, name="shopify sandbox", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send nothing more."""
        self._stop.set()
        if self._thread is not None and self._pool is not None:
            self._thread.join()
            self._pool.shutdown(cancel_futures=True)
            self._thread = self._pool = None

    def forget(self) -> None:
        """After the deliveries were cleared."""
        with self._lock:
            self._seen, self._waiting = 0, []

    def _run(self) -> None:
        while not self._stop.wait(TICK_SECONDS):
            self._also()
            for given in self._due():
                if self._pool is not None:
                    self._pool.submit(self._deliver, given)

    def settle(self, timeout: float = 30.0) -> None:
        """Return once nothing is due and nothing is on its way. Raises TimeoutError."""
        until = time.monotonic() + timeout
        while True:
            if self._thread is None:
                self._also()
                due = self._due()
                for given in due:
                    self._deliver(given)
                if not due:
                    return
            elif not self._pending():
                return
            if time.monotonic() > until:
                raise TimeoutError("the webhooks that are due were not all sent")
            time.sleep(0 if self._thread is None else TICK_SECONDS / 4)

    def _take_new(self) -> None:
        fresh = self.hooks.deliveries[self._seen :]
        self._seen += len(fresh)
        self._waiting += fresh

    def _pending(self) -> bool:
        with self._lock:
            self._take_new()
            now = self.hooks.clock.now()
            return bool(self._busy) or any(one.state == "waiting" and one.due <= now for one in self._waiting)

    def _due(self) -> list[Delivery]:
        """What is to be sent now, in the order in which it fell due; it is under way from here on."""
        with self._lock:
            self._take_new()
            now = self.hooks.clock.now()
            self._waiting = [one for one in self._waiting if one.state == "waiting"]
            found = [one for one in self._waiting if one.due <= now and one.n not in self._busy]
            self._busy |= {one.n for one in found}
            return sorted(found, key=lambda one: (one.due, one.n))

    def _deliver(self, given: Delivery) -> None:
        status = 0
        try:
            seconds = self.hooks.options.answer_seconds
            status = post(given.uri, given.body, self.hooks.headers(given), seconds)
        finally:
            with self._lock:
                self.hooks.settle(given, status, self._shops)
                self._busy.discard(given.n)


def post(url: str, body: bytes, headers: Mapping[str, str], seconds: float) -> int:
    """The status of the answer, which is not followed if it redirects; 0 where there is none in time."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=seconds)
    try:
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        connection.request("POST", target, body, dict(headers))
        return connection.getresponse().status
    except (TimeoutError, OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
