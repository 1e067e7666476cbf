"""``misoflow dev``: what it prints, and the samples it sends."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import replace

from misoflow.cli import sampling
from misoflow.cli.explaining import explain
from misoflow.cli.output import Output, plural
from misoflow.cli.trial import explained
from misoflow.cli.workbench import Workbench, curl, in_words
from misoflow.config import Settings
from misoflow.connector import Request
from misoflow.simulate import send

HOOK = "/hooks/"
LAST_WORDS_SECONDS = 2.0
"""For what is still to be printed at the end; the code under work may hang."""


class Session:
    """Shows each delivery's fate in the order in which they came, without keeping the sender waiting."""

    def __init__(self, bench: Workbench, out: Output, send_topic: str | None, save: Path | None) -> None:
        """``save`` is a folder that takes a sample file of each accepted delivery."""
        self._bench = bench
        self._out = out
        self._topic = send_topic
        self._save = save
        self._own: set[bytes] = set()
        self._url = ""
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._printer = threading.Thread(target=self._print, name="printer", daemon=True)

    def __enter__(self) -> Session:
        logging.getLogger("misoflow.serve").addHandler(logging.NullHandler())
        logging.getLogger("misoflow.serve").propagate = False  # what it says of refusals is said here already
        self._printer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._tasks.put(None)
        self._printer.join(LAST_WORDS_SECONDS)

    def _print(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                task()
            except BaseException as error:  # the code under work may do anything; the session goes on
                self._out.text(f"the connector failed: {in_words(error)}")

    def ready(self, url: str, admin: str) -> None:
        """The receiver listens."""
        self._url = url
        self._tasks.put(self._say_ready)
        self._send()

    def took(self, name: str, request: Request) -> None:
        self._tasks.put(lambda: self._took(request))

    def refused(self, path: str, status: int, why: str) -> None:
        self._tasks.put(lambda: self._refused(path, status, why))

    def renewed(self) -> Settings | None:
        """New settings when the code has changed and can be used; says what is wrong when it cannot."""
        try:
            return self._bench.renewed()
        except BaseException as error:  # also a module that calls sys.exit
            why = in_words(error)
            self._tasks.put(lambda: self._reloaded(why))
            return None

    def used(self) -> None:
        """The new code takes deliveries."""
        self._tasks.put(lambda: self._reloaded(""))
        self._send()

    @property
    def _hook(self) -> str:
        return f"{HOOK}{self._bench.source.name}"

    def _say_ready(self) -> None:
        url = f"{self._url}{self._hook}"
        stand_ins = self._bench.stand_ins
        if self._out.as_json:
            self._out.json({"ready": {"url": url, "settings": stand_ins}})
            return
        self._out.text(f"ready {url}")
        for key, value in stand_ins.items():
            self._out.say(f"{key} = {value}  (stands in; another with --set {key}=…)")
        sample = self._sample()
        if sample is not None:
            self._out.say(f"a sample: {curl(url, sample)}")
        self._out.say("save a file and its code is used from then on; Ctrl-C ends it")

    def _sample(self) -> Request | None:
        """Of the topic that is asked for, else of the first that has one."""
        connector = self._bench.instance.connector
        for topic in [self._topic] if self._topic else connector.topics:
            try:
                found: Request = connector.sample(topic)
            except Exception:  # noqa: S112 (under work: no sample, or none yet)
                continue
            return found
        return None

    def _send(self) -> None:
        """Send the asked-for sample, from a thread of its own: the receiver's must stay free to take it."""
        if self._topic is not None:
            threading.Thread(target=self._send_sample, name="sender", daemon=True).start()

    def _send_sample(self) -> None:
        sample = self._sample()
        if sample is None:
            self._tasks.put(lambda: self._out.say(f"the connector has no sample of {self._topic!r} any more"))
            return
        self._own.add(sample.body)
        try:
            send(self._url, self._bench.source.name, sample)
        except OSError as error:
            why = error.strerror or str(error)
            self._tasks.put(lambda: self._out.say(f"the sample could not be sent: {why}"))

    def _took(self, request: Request) -> None:
        received = replace(request, received_at=_now())
        instance = self._bench.instance
        found = explain(instance.connector, received, instance)
        self._keep(received)
        path = f"{self._hook}/{request.path}".rstrip("/")
        if self._out.as_json:
            fate = {"outcome": "accepted", "path": path, "bytes": len(request.body)}
            self._out.json({"delivery": fate, **found})
            return
        self._out.text(f"{_now():%H:%M:%S}  accepted  {path}  {plural(len(request.body), 'byte')}")
        explained(self._out, found)

    def _keep(self, request: Request) -> None:
        if self._save is None:
            return
        source = "invented: the connector's own sample" if request.body in self._own else "recorded by misoflow dev"
        try:
            file = sampling.save(sampling.from_delivery(request, self._bench.instance.connector, source), self._save)
        except OSError as error:
            self._out.say(f"{self._save}: {error.strerror}")
        else:
            self._out.say(f"saved {file}" if file else f"{self._save} has a sample of this body already")

    def _refused(self, path: str, status: int, why: str) -> None:
        if self._out.as_json:
            fate = {"outcome": "refused", "path": path, "status": status, "why": why}
            self._out.json({"delivery": fate, "events": []})
        else:
            self._out.text(f"{_now():%H:%M:%S}  refused   {path}  {status} {why}")

    def _reloaded(self, why: str) -> None:
        if self._out.as_json:
            self._out.json({"reloaded": not why, "why": why or None})
        elif why:
            self._out.text(f"{_now():%H:%M:%S}  not reloaded, the code before goes on: {why}")
        else:
            self._out.text(f"{_now():%H:%M:%S}  reloaded")


def _now() -> datetime:
    return datetime.now(UTC)


def run(session: Session, bench: Workbench, port: int, server: Callable[..., int]) -> int:
    """Receive until a signal; the exit code. OSError when the port is taken."""
    with session:
        return server(bench.settings, port=port, bench=session)
