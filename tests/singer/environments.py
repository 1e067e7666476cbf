"""Environments of their own for software of others, from hashed locks; kept between runs by the lock's hash."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import venv
from pathlib import Path

import pytest

from tests.conftest import ROOT


def environment(request: pytest.FixtureRequest, lock: str) -> Path:
    """Its folder of programs, with all of ``requirements/<lock>.txt`` in it."""
    requirements = ROOT / "requirements" / f"{lock}.txt"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    folder: Path = request.config.cache.mkdir(f"{lock}-{digest}")  # type: ignore[union-attr]
    programs = folder / "bin"
    if not (folder / "installed").exists():
        shutil.rmtree(folder)
        venv.create(folder, with_pip=True)
        pip = [programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--require-hashes", "-r", requirements], check=True)
        (folder / "installed").touch()
    return programs
