"""``misoflow run``: the parent of ``serve`` and ``work``. It starts both, starts either again, and ends both.

Standard library only: this process is there before the others and stays small. It talks with a child over
two pipes, named in ``MISOFLOW_PARENT``: on one the child says once that it is ready (or why it never will
be), the other ends with the parent, however that ends, and a child that sees this end stops too.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

VARIABLE = "MISOFLOW_PARENT"
CONFIG_EXIT = 78
RESTART_SECONDS = (0.2, 2.0)
"""Before a child is started again: at first, and at most while it ends soon after each start."""
STEADY_SECONDS = 10.0
"""A child that ran for so long did not fail at its start."""
GRACE_SECONDS = 20.0
ORPHAN_SECONDS = 2.0
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Parent:
    """The child's side: how ``serve`` and ``work`` talk to ``run``."""

    def __init__(self, ready_fd: int, life_fd: int) -> None:
        self._ready_fd = ready_fd
        self._life_fd = life_fd

    @classmethod
    def from_environment(cls) -> Parent | None:
        """None when this process was started by a person. The variable is taken away: it is for one process."""
        text = os.environ.pop(VARIABLE, "")
        ready, _, life = text.partition(",")
        return cls(int(ready), int(life)) if ready.isdigit() and life.isdigit() else None

    def ready(self, **facts: Any) -> None:
        """This child does its work from now on."""
        self._say({"ready": facts})

    def failed(self, why: str) -> None:
        """This child can never work like this; one line for a person."""
        self._say({"failed": why})

    def _say(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            os.write(self._ready_fd, json.dumps(message).encode() + b"\n")

    def watch(self) -> None:
        """Stop this process when the parent is gone: gently, and for good soon after."""
        threading.Thread(target=self._wait_for_end, name="parent", daemon=True).start()

    def _wait_for_end(self) -> None:
        while os.read(self._life_fd, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(ORPHAN_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)


class Child:
    """One child process and what it said."""

    def __init__(self, name: str, command: Callable[[], list[str]]) -> None:
        self.name = name
        self._command = command
        self.process: subprocess.Popen[bytes] | None = None
        self.ready: dict[str, Any] | None = None
        self.failed: str | None = None
        self.start_at = 0.0
        self.wait = 0.0
        """Before the last start, in seconds."""
        self.started_at = 0.0
        self.pipe = -1
        self._text = b""

    def start(self, life_fd: int) -> None:
        self.started_at = time.monotonic()
        self.failed = None
        self.pipe, theirs = os.pipe()
        os.set_blocking(self.pipe, False)
        try:
            self.process = subprocess.Popen(  # noqa: S603 (a command of ours)
                self._command(),
                env={**os.environ, VARIABLE: f"{theirs},{life_fd}"},
                pass_fds=(theirs, life_fd),
                stdin=subprocess.DEVNULL,
                stdout=2,  # standard output is the parent's one line
                process_group=0,  # Ctrl-C at a terminal must reach the parent alone, which stops them in order
            )
        finally:
            os.close(theirs)

    def listen(self) -> None:
        """Take what the child said so far."""
        if self.pipe < 0:
            return
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(self.pipe, 4096):
                self._text += piece
            self._hang_up()
        *lines, self._text = self._text.split(b"\n")
        for line in lines:
            message = json.loads(line)
            self.ready = message.get("ready", self.ready)
            self.failed = message.get("failed", self.failed)

    def ended(self) -> int | None:
        """The exit code of a process that has ended since it was started; its last words are taken first."""
        if self.process is None:
            return None
        code = self.process.poll()
        if code is not None:
            self.listen()
            self.close()
        return code

    def close(self) -> None:
        self.process = None
        self._text = b""
        self._hang_up()

    def _hang_up(self) -> None:
        if self.pipe >= 0:
            os.close(self.pipe)
            self.pipe = -1

    def send(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)


class Supervisor:
    """Keeps its children running until it is told to stop, or until one of them never can run."""

    def __init__(
        self,
        children: list[Child],
        *,
        on_ready: Callable[[], None],
        say: Callable[[str], None],
        restart_seconds: tuple[float, float] = RESTART_SECONDS,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._children = children
        self._on_ready = on_ready
        self._say = say
        self._restart_seconds = restart_seconds
        self._grace_seconds = grace_seconds
        self._stops = 0
        self._announced = False
        self._wake = -1
        self._life = os.pipe()

    def run(self) -> int:
        """0 after a stop that was asked for, 1 if a child had to be killed for it, 78 as a child said."""
        with self._signals():
            code = None
            for child in self._children:
                child.start(self._life[0])
            while code is None and not self._stops:
                self._wait(self._next_start())
                code = self._look()
            gentle = self._stop()
        for fd in self._life:
            os.close(fd)
        return code if code is not None else (0 if gentle else 1)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Signals wake the loop through a pipe; the handlers themselves only count."""
        self._wake, wake_up = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(wake_up, False)
        before_fd = signal.set_wakeup_fd(wake_up, warn_on_full_buffer=False)
        before = {number: signal.getsignal(number) for number in (*STOP_SIGNALS, signal.SIGCHLD)}
        for number in STOP_SIGNALS:
            if before[number] is not signal.SIG_IGN or number is signal.SIGTERM:
                signal.signal(number, self._count_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(before_fd)
            os.close(self._wake)
            os.close(wake_up)

    def _count_stop(self, *_: Any) -> None:
        self._stops += 1

    def _wait(self, seconds: float | None) -> None:
        """Until a signal, a child's word or the time."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake, selectors.EVENT_READ)
            for child in self._children:
                if child.pipe >= 0 and child.ready is None:
                    selector.register(child.pipe, selectors.EVENT_READ)
            selector.select(seconds)
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, 4096)

    def _next_start(self) -> float | None:
        waits = [child.start_at - time.monotonic() for child in self._children if child.process is None]
        return max(0.0, min(waits)) if waits else None

    def _look(self) -> int | None:
        """See to every child; the exit code if all has to end.

        That is only where a child says at its first start that it cannot work like this. A plugin may end a process
        with any code, and once both have worked, what stands in the way of one of them must not end the other.
        """
        for child in self._children:
            child.listen()
            code = child.ended()
            if code == CONFIG_EXIT and child.failed and child.ready is None:
                self._say(child.failed)
                return code
            if code is not None:
                how = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
                self._again(child, child.failed or how)
            elif child.process is None and time.monotonic() >= child.start_at:
                child.start(self._life[0])
        if not self._announced and all(child.ready is not None for child in self._children):
            self._announced = True
            self._on_ready()
        return None

    def _again(self, child: Child, how: str) -> None:
        """Start a child again: at once if it had run for a while, else after longer and longer waits."""
        first, longest = self._restart_seconds
        now = time.monotonic()
        child.wait = first if now - child.started_at >= STEADY_SECONDS else min(longest, 2 * child.wait or first)
        child.start_at = now + child.wait
        self._say(f"{child.name}: {how}; starting it again in {child.wait:g} s")

    def _stop(self) -> bool:
        """End the children in their order, so that what ``serve`` took in last is still worked on."""
        gentle = True
        for child in self._children:
            child.send(signal.SIGTERM)
            deadline = time.monotonic() + self._grace_seconds
            while child.process is not None and child.ended() is None:
                left = deadline - time.monotonic()
                if left <= 0 or self._stops > 1:  # asked a second time: at once
                    gentle = False
                    child.send(signal.SIGKILL)
                    child.process.wait()
                else:
                    self._wait(left)
        return gentle


def run(
    config: Path,
    *,
    host: str | None = None,
    port: int | None = None,
    admin_port: int | None = None,
    as_json: bool = False,
    quiet: bool = False,
) -> int:
    """Run ``serve`` and ``work`` until SIGTERM or SIGINT; returns the exit code.

    Standard output gets one line, ``ready <url>``, once both do their work. What is None comes from the settings.
    """
    flags = ["--config", str(config), *(["--quiet"] if quiet else [])]
    python = [sys.executable, "-m", "misoflow"]
    work = Child("work", lambda: [*python, "work", *flags])

    def serve_command() -> list[str]:
        known = serve.ready or {}  # a free port that was found stays the same after a restart
        ports = {
            "--port": urlsplit(known["url"]).port if known else port,
            "--admin-port": urlsplit(known["admin"]).port if known else admin_port,
            "--host": host,
        }
        given = [[option, str(value)] for option, value in ports.items() if value is not None]
        return [*python, "serve", *flags, *(word for pair in given for word in pair)]

    def announce() -> None:
        facts = serve.ready or {}
        print(json.dumps({"ready": facts}) if as_json else f"ready {facts['url']}", flush=True)
        if not as_json:
            say(f"admin {facts['admin']}")

    def say(text: str) -> None:
        if not quiet or text in (work.failed, serve.failed):
            print(text, file=sys.stderr, flush=True)

    serve = Child("serve", serve_command)
    return Supervisor([serve, work], on_ready=announce, say=say).run()
