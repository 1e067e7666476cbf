"""How far history has come, from the stored slices. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Any

from misoflow.store.slices import Job


def progress(rows: list[dict[str, Any]], jobs: list[Job]) -> list[dict[str, Any]]:
    """What `misoflow backfill` shows of each job: how far, how much, what it waits for. Times in ms.

    ``started`` is what was read of slices that have not come whole yet; ``share`` does not count them.
    """
    found = []
    for job in jobs:
        mine = [row for row in rows if row["job"] == job.id]
        done = [row for row in mine if row["state"] in ("pulled", "done")]
        span = max(1, job.end - job.start)
        now = next((row for row in mine if row["state"] == "open"), None)
        found.append(
            {
                "job": job.id,
                "instance": job.instance,
                "stream": job.stream,
                "purpose": job.purpose,
                "state": job.state,
                "from": job.start,
                "to": job.end,
                "share": min(1.0, sum(row["end"] - row["start"] for row in done) / span)
                if job.state in ("open", "stopped")
                else 1.0,
                "read": sum(row["read"] + row["open_read"] for row in mine),
                "started": sum(row["read"] + row["open_read"] for row in mine if row["state"] == "open"),
                "repeats": sum(row["repeats"] for row in mine),
                "counts": _summed(mine),
                "slices": len(mine),
                "slices_done": sum(row["state"] == "done" for row in mine),
                "failed": sum(row["state"] == "failed" for row in mine),
                "now": None if now is None else [now["start"], now["end"]],
                "error": None if now is None else now["error"],
                "due": None if now is None else now["due"],
                "waits": job.note,
                "stuck": bool(job.stuck),
            }
        )
    return found


def _summed(rows: list[dict[str, Any]]) -> dict[str, int]:
    """What became of the new events of finished slices."""
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update(row["counts"] or {})
    return dict(counts)
