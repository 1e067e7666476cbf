"""Named points at which a test can end the process, as power loss or an operator's kill would.

``MISOFLOW_CRASH_AT=name`` or ``name:3`` (the third time) ends the process there by SIGKILL. Without the
variable a point costs one comparison.
"""

from __future__ import annotations

import os
import signal

_name, _, _times = os.environ.get("MISOFLOW_CRASH_AT", "").partition(":")
_left = int(_times or 1)


def point(name: str) -> None:
    """End the process here if the test says so."""
    global _left  # noqa: PLW0603
    if name != _name:
        return
    _left -= 1
    if _left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
