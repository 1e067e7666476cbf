"""The examples as a stranger gets them: wheels, in an environment of their own, tested from their own folder there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.real
ROOT = Path(__file__).resolve().parents[2]
NAMES = ("misoflow-ga4", "misoflow-stripe")


def run(*command: Any, cwd: Path) -> str:
    """The command's standard output, with nothing of this checkout on its path; the test fails when it fails."""
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=cwd, env=env)
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment: our wheel and the examples', and for all else the packages that are locked."""
    folder = tmp_path_factory.mktemp("clean")
    wheels, home = folder / "wheels", folder / "env"
    for source in (ROOT, *(ROOT / "examples" / name for name in NAMES)):
        run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", wheels, cwd=source)
    run(sys.executable, "-m", "venv", "--without-pip", home, cwd=folder)
    python = home / "bin" / "python"
    options = ("--quiet", "--disable-pip-version-check", "--no-deps", "--no-index", "--find-links", wheels)
    run(sys.executable, "-m", "pip", "--python", python, "install", *options, "misoflow", *NAMES, cwd=folder)
    # a path in a .pth file is searched last, and .pth files in it (that of an editable misoflow) are not read
    (site,) = home.glob("lib/python*/site-packages")
    (site / "locked.pth").write_text(sysconfig.get_paths()["purelib"])
    return python


def test_everything_of_ours_comes_from_the_wheels(clean: Path, tmp_path: Path) -> None:
    code = "import misoflow, misoflow_pytest, misoflow.testing as kit, misoflow_ga4, misoflow_stripe, json;" + (
        "print(json.dumps([one.__file__ for one in (misoflow, misoflow_pytest, kit, misoflow_ga4, misoflow_stripe)]))"
    )
    files = json.loads(run(clean, "-c", code, cwd=tmp_path))
    assert all(Path(file).is_relative_to(clean.parents[1]) for file in files), files


def test_the_examples_are_listed_and_explain_their_samples(clean: Path, tmp_path: Path) -> None:
    listed = [
        json.loads(line)
        for line in run(clean, "-m", "misoflow", "connectors", "--json", cwd=tmp_path).split("\n")
        if line
    ]
    assert {one["name"]: one["distribution"] for one in listed if one["name"] in ("ga4", "stripe")} == {
        "ga4": "misoflow-ga4",
        "stripe": "misoflow-stripe",
    }
    sample = json.loads((ROOT / "examples/misoflow-stripe/tests/samples/checkout_paid.json").read_text())
    (tmp_path / "body.json").write_text(json.dumps(sample["body"]))
    (found,) = json.loads(run(clean, "-m", "misoflow", "explain", "stripe", "body.json", "--json", cwd=tmp_path))[
        "events"
    ]
    assert found["records"] == sample["events"][0]["records"]


@pytest.mark.parametrize("name", NAMES)
def test_an_example_passes_the_kit_from_its_wheel(clean: Path, tmp_path: Path, name: str) -> None:
    module = f"{name.replace('-', '_')}.py"
    here = tmp_path / name
    shutil.copytree(ROOT / "examples" / name, here, ignore=shutil.ignore_patterns(module, "__pycache__"))
    assert not (here / module).exists()
    out = run(clean, "-m", "pytest", "tests", "-p", "no:cacheprovider", cwd=here)
    found = re.search(r"(\d+) passed", out)
    assert found is not None
    assert int(found[1]) >= 60
    assert "skipped" not in out.splitlines()[-1]
    print(f"\n{name}: {found[1]} tests from the wheel")


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_silver_as_misoflow_itself_computes_it(clean: Path, tmp_path: Path, name: str) -> None:
    here = tmp_path / name
    module = f"{name.replace('-', '_')}.py"
    shutil.copytree(ROOT / "examples" / name, here, ignore=shutil.ignore_patterns(module, "__pycache__"))
    connector = name.removeprefix("misoflow-")
    out = run(clean, "-m", "misoflow", "connectors", "--tier", connector, "--dir", here, cwd=tmp_path)
    assert out.startswith(f"{connector} 0.1.0: Silver"), out
