"""What the page on publishing says: the built wheel is whole, works where nothing else is, and holds no sample."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

from tests.authors.kit import Author

FOLDER = "misoflow-acme"


def test_a_built_connector_works_from_its_wheel(tmp_path: Path) -> None:
    author = Author(tmp_path)
    author.run("misoflow", "new", "acme", "--webhook", "--backfill", cwd=tmp_path)
    folder = tmp_path / FOLDER
    author.run(sys.executable, "-m", "hatchling", "build", cwd=folder)
    (wheel,) = (folder / "dist").glob("*.whl")
    (source,) = (folder / "dist").glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as packed:
        assert {name for name in packed.namelist() if "dist-info" not in name} == {"misoflow_acme/__init__.py"}
    with tarfile.open(source) as packed_source:
        names = packed_source.getnames()
    assert "misoflow_acme-0.1.0/tests/samples/cart-added.json" in names
    pip = (sys.executable, "-m", "pip", "--python", str(author.venv / "bin" / "python"))
    author.run(*pip, "install", "--no-index", "--no-deps", str(wheel), cwd=tmp_path)
    away = tmp_path / "away"
    away.mkdir()
    (folder / "tests").rename(away / "tests")
    assert "acme" in author.run("misoflow", "connectors", cwd=away)
    assert "cart.added  sample-2  translated" in author.run(
        "misoflow", "explain", "acme", "--topic", "cart.added", cwd=away
    )
    assert author.pytest(away).keys() == {"passed"}


def test_who_installs_it_can_set_it_up(tmp_path: Path) -> None:
    author = Author(tmp_path)
    author.run("misoflow", "new", "acme", "--webhook", cwd=tmp_path)
    author.install(tmp_path / FOLDER)
    secret = 'signing_secret={ env = "ACME_SIGNING_SECRET" }'
    author.run("misoflow", "init", "--connector", "acme", "--set", secret, "--yes", cwd=tmp_path)
    author.env |= {"ACME_SIGNING_SECRET": "a-signing-secret", "MISO_API_KEY": "k"}
    author.run("misoflow", "config", "check", cwd=tmp_path)
