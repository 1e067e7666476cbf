"""Miso's own upload API, and any JSON mapped by rules: see docs/connectors/http.md."""

from misoflow_http.config import HttpConfig
from misoflow_http.connector import Http

__all__ = ["Http", "HttpConfig"]
