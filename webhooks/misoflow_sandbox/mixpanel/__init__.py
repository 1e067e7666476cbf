"""A Mixpanel stand-in, written from Mixpanel's documentation and from what its exports are known to do wrong."""

from __future__ import annotations

from misoflow_sandbox.mixpanel.app import MixpanelSandbox, run
from misoflow_sandbox.mixpanel.world import Happening, World

__all__ = ["Happening", "MixpanelSandbox", "World", "run"]
