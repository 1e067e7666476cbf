"""A trouble of ours (disk full, file locked) is said once a minute, not at every try."""

from __future__ import annotations

import logging
import time

TROUBLE_SECONDS = 1.0
"""How long to wait before the store is tried again."""
SAY_EVERY_SECONDS = 60.0

log = logging.getLogger("misoflow.work")


class Trouble:
    """Remembers when it last spoke."""

    def __init__(self) -> None:
        self._said = -SAY_EVERY_SECONDS

    def say(self, error: Exception) -> None:
        now = time.monotonic()
        if now - self._said >= SAY_EVERY_SECONDS:
            self._said = now
            log.error("%s; nothing is lost, it is tried again every second", error)
