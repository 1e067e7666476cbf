"""A Mixpanel stand-in, written from Mixpanel's documentation and from what its exports are known to do wrong."""

from __future__ import annotations

from misoflow_sandbox.mixpanel.app import MixpanelSandbox
from misoflow_sandbox.mixpanel.events import LedgerEvent
from misoflow_sandbox.mixpanel.faults import Action, Rule
from misoflow_sandbox.mixpanel.serving import mixpanel_process, run, served_mixpanel
from misoflow_sandbox.mixpanel.state import Call, Options
from misoflow_sandbox.mixpanel.world import MixpanelWorld

__all__ = [
    "Action",
    "Call",
    "LedgerEvent",
    "MixpanelSandbox",
    "MixpanelWorld",
    "Options",
    "Rule",
    "mixpanel_process",
    "run",
    "served_mixpanel",
]
