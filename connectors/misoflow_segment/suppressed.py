"""A list of users whose events stay here: archives and replays still hold those whom Segment only suppresses.

https://segment.com/docs/privacy/user-deletion-and-suppression/
"""

from __future__ import annotations

from pathlib import Path


def ids_in(path: str) -> frozenset[str]:
    """The user ids of a file in UTF-8, one a line; blank lines count for nothing. ValueError: it cannot be read."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise ValueError(f"the file {path} is not UTF-8") from None
    except OSError as error:
        raise ValueError(f"the file {path} cannot be read: {error.strerror}") from None
    return frozenset(text for line in lines if (text := line.strip()))
