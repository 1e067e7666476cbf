"""What became of one delivery: it is split again, so its events are found by their ids, and a repeat's too."""

from __future__ import annotations

from misoflow.config import Settings
from misoflow.connector import Fate
from misoflow.inbox import InboxReader
from misoflow.instances import Instance
from misoflow.pipeline import event_hash, split
from misoflow.status import snapshot
from misoflow.store import events
from misoflow.vault import Vault


def fates(settings: Settings, vault: Vault, instance: Instance, number: int) -> tuple[Fate, ...] | None:
    """The fate of each event of a delivery, in their order; None when the inbox holds none of that number.

    What the store does not know yet is pending. A delivery that cannot be split is one dead event.
    """
    inbox = InboxReader(settings.data, vault)
    try:
        found = [one for one in inbox.get([number]) if one.instance == instance.name and one.request is not None]
    finally:
        inbox.close()
    if not found or found[0].request is None:
        return None
    made = found[0].events
    if made is None:
        made, why = split(instance, found[0].request)
        if why is not None:
            return (Fate("dead", why[0], why[1]),)
    hashes = [event_hash(instance.name, event.id) for event in made]
    with snapshot(settings, vault) as tx:
        known = {} if tx is None else events.fates(tx, instance.name, hashes)
    return tuple(Fate(*known.get(digest, ("pending",))) for digest in hashes)
