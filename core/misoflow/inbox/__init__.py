"""The inbox: raw deliveries, fsynced before they are answered, kept until the store has used them up.

``Inbox`` is the owner's side (the process ``serve``), ``InboxReader`` any other's. One file,
``inbox.db``, and its high-water mark, ``inbox.mark``.
"""

from misoflow.inbox.file import InboxFull, InboxUnavailable
from misoflow.inbox.inspect import Audit, audit
from misoflow.inbox.payload import Delivery, open_delivery, seal_delivery
from misoflow.inbox.reader import InboxReader
from misoflow.inbox.repair import Report, repair
from misoflow.inbox.writer import Inbox

__all__ = [
    "Audit",
    "Delivery",
    "Inbox",
    "InboxFull",
    "InboxReader",
    "InboxUnavailable",
    "Report",
    "audit",
    "open_delivery",
    "repair",
    "seal_delivery",
]
