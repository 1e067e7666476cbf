"""Files as a platform: see docs/connectors/files.md."""

from __future__ import annotations

from misoflow_files.connector import Files, FilesConfig

__all__ = ["Files", "FilesConfig"]
