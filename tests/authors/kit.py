"""An author's environment: a venv of its own that sees our packages, without a network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

OFFLINE = """
import socket


def refused(self, address):
    raise AssertionError(f"a test went out to {address}")


socket.socket.connect = socket.socket.connect_ex = refused
"""


class Author:
    """Runs commands as an author would, with the venv's programs first on the path."""

    def __init__(self, folder: Path) -> None:
        self.venv = folder / "venv"
        venv.create(self.venv, with_pip=False, symlinks=True)
        packages = next((self.venv / "lib").glob("python*")) / "site-packages"
        (packages / "ours.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
        (packages / "offline_plugin.py").write_text(OFFLINE)
        for name, module in (("misoflow", "misoflow"), ("pytest", "pytest")):
            program = self.venv / "bin" / name
            program.write_text(f'#!/bin/sh\nexec "{self.venv}/bin/python" -m {module} "$@"\n')
            program.chmod(0o755)
        self.env = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "PYTHON", "COV"))},
            "PATH": f"{self.venv / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "COLUMNS": "120",
            "NO_COLOR": "1",
        }

    def run(self, *command: str, cwd: Path, code: int | None = 0) -> str:
        """The command's output, both streams; it must end with ``code`` (None: as it likes)."""
        done = subprocess.run(
            command, cwd=cwd, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300
        )
        assert code is None or done.returncode == code, f"{command} ended with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def install(self, folder: Path) -> str:
        """``pip install -e .``, with what it needs already there."""
        flags = ("--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
        pip = (sys.executable, "-m", "pip", "--python", str(self.venv / "bin" / "python"))
        return self.run(*pip, "install", *flags, "-e", ".", cwd=folder)

    def pytest(self, folder: Path, *more: str, code: int = 0) -> dict[str, int]:
        """How many tests passed, failed or were skipped; none may reach for the network."""
        out = self.run("pytest", "-p", "offline_plugin", "-p", "no:cacheprovider", *more, cwd=folder, code=code)
        return counts(out)


def counts(output: str) -> dict[str, int]:
    """``{"passed": 48}`` of pytest's last line."""
    last = output.strip().splitlines()[-1]
    return {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped|xfailed|errors?)", last)}
