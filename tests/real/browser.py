"""A person at a real browser: Chromium, led by Playwright in a Node.js process of its own (browser.cjs)."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any


class Browser:
    """One page at a time; ``open`` begins with a fresh profile. What a command cannot do is an AssertionError."""

    def __init__(self, folder: Path, chromium: str) -> None:
        self._chromium = chromium
        self._driver = subprocess.Popen(
            ["node", "browser.cjs"],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "no_proxy": "127.0.0.1,localhost"},
        )

    def do(self, command: str, **given: Any) -> Any:
        """One command of browser.cjs, and what it says."""
        assert self._driver.stdin is not None
        assert self._driver.stdout is not None
        self._driver.stdin.write(json.dumps({"command": command, **given}) + "\n")
        self._driver.stdin.flush()
        answer = json.loads(self._driver.stdout.readline())
        assert "error" not in answer, f"{command}: {answer['error']}"
        return answer["value"]

    def open(self, width: int = 1280, scheme: str = "light") -> None:
        """A new window, with nothing in it and no cookie."""
        self.do("open", executable=self._chromium, width=width, height=900, scheme=scheme)

    def go(self, url: str) -> int:
        """Load an address, redirects followed; the status."""
        return int(self.do("go", url=url))

    def wait(self, selector: str, frame: str = "") -> None:
        """Until there is such an element, in a frame of the page if one is named."""
        self.do("wait", selector=selector, frame=frame)

    def text(self, selector: str, frame: str = "") -> str:
        """What a person reads there."""
        return str(self.do("text", selector=selector, frame=frame))

    def trouble(self) -> list[str]:
        """Errors and warnings on the console since it was last asked, the policy's refusals among them."""
        return list(self.do("trouble"))

    def close(self) -> None:
        """End the browser and its driver."""
        assert self._driver.stdin is not None
        self._driver.stdin.close()
        try:
            self._driver.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._driver.kill()
            self._driver.wait()
