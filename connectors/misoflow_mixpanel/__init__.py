"""Mixpanel as a platform: see docs/connectors/mixpanel.md."""

from __future__ import annotations

from misoflow_mixpanel.connector import Mixpanel

__all__ = ["Mixpanel"]
