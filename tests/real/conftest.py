"""Real parts for these tests: JavaScript SDKs by npm, Miso's Python SDK by pip, Chromium by tools/install_browser.sh.

Where a part is missing a test is skipped and says so; with ``CI=true`` it is installed, or the test fails.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.real.browser import Browser

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
IN_CI = os.environ.get("CI") == "true"
SOURCES = (
    *("package.json", "package-lock.json", ".npmrc"),
    *("session.json", "node_shop.cjs", "browser_shop.js", "miso_page.js", "browser.cjs", "pixel_sandbox.cjs"),
)
MISO_SDK = ("miso-sdk-build.txt", "miso-sdk.txt")
"""Hashed requirements; the first are what the second, which has no wheel, is built with."""


def missing(what: str) -> None:
    """Skip the test, or fail it where everything has to be there."""
    if IN_CI:
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def sdks(request: pytest.FixtureRequest) -> Path:
    """A folder with the locked npm packages and the scripts beside them; kept between runs by the lock's hash."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        missing("needs node and npm on the PATH (Node.js 18 or newer)")
    lock = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()[:12]
    folder: Path = request.config.cache.mkdir(f"npm-{lock}")  # type: ignore[union-attr]
    for name in SOURCES:
        shutil.copy(HERE / name, folder / name)
    if not (folder / "installed").exists():
        done = subprocess.run(["npm", "ci"], cwd=folder, capture_output=True, text=True)
        if done.returncode:
            missing(f"npm ci failed: {done.stderr[-1000:]}")
        (folder / "installed").touch()
    return folder


@pytest.fixture(scope="session")
def bundle(sdks: Path) -> bytes:
    """The browser's script with Segment's library in it, as one file."""
    return _bundled(sdks, "browser_shop.js")


@pytest.fixture(scope="session")
def miso_bundle(sdks: Path) -> bytes:
    """The same with Miso's library."""
    return _bundled(sdks, "miso_page.js")


def _bundled(sdks: Path, script: str) -> bytes:
    out = sdks / f"bundle-{script}"
    esbuild = sdks / "node_modules" / ".bin" / "esbuild"
    subprocess.run([esbuild, script, "--bundle", f"--outfile={out}", "--log-level=error"], cwd=sdks, check=True)
    return out.read_bytes()


@pytest.fixture(scope="session")
def miso_python(request: pytest.FixtureRequest) -> Path:
    """The Python of an environment with Miso's own SDK; kept between runs by the hash of its requirements."""
    lock = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in MISO_SDK)).hexdigest()[:12]
    folder: Path = request.config.cache.mkdir(f"miso-sdk-{lock}")  # type: ignore[union-attr]
    python = folder / "bin" / "python"
    if (folder / "installed").exists():
        return python
    venv.create(folder, clear=True, with_pip=True)
    for name in MISO_SDK:
        pip = [python, "-m", "pip", "install", "--quiet", "--no-build-isolation", "--require-hashes", "-r", HERE / name]
        done = subprocess.run(pip, capture_output=True, text=True)
        if done.returncode:
            missing(f"pip install -r {name} failed: {done.stderr[-1000:]}")
    (folder / "installed").touch()
    return python


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's path."""
    if shutil.which("chromium") is None:
        if not IN_CI:
            pytest.skip("needs chromium on the PATH: tools/install_browser.sh installs it")
        subprocess.run([ROOT / "tools" / "install_browser.sh"], check=True)
    return shutil.which("chromium") or "chromium"


@pytest.fixture(scope="module")
def browser(sdks: Path, chromium: str) -> Iterator[Browser]:
    """A person at a browser."""
    started = Browser(sdks, chromium)
    yield started
    started.close()


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the screenshots go, for a person to look at."""
    folder = Path(os.environ.get("MISOFLOW_SHOTS") or tmp_path_factory.mktemp("shots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def browse(chromium: str, tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Opens an address in a headless Chromium of its own, which is ended with the test."""
    browsers: list[subprocess.Popen[bytes]] = []

    def open_page(url: str) -> None:
        quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"]
        profile = tmp_path / f"profile-{len(browsers)}"
        log = (tmp_path / "chromium.log").open("ab")
        with log:
            browsers.append(
                subprocess.Popen(
                    [
                        *(chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", *quiet),
                        *(f"--user-data-dir={profile}", url),
                    ],
                    stdout=log,
                    stderr=log,
                    env={**os.environ, "no_proxy": "127.0.0.1"},
                )
            )

    yield open_page
    for browser in browsers:
        browser.terminate()
        try:
            browser.wait(timeout=10)
        except subprocess.TimeoutExpired:
            browser.kill()
            browser.wait()
