"""Sealed payloads, two live keys, and the key file of the first start."""

from __future__ import annotations

import base64
import stat
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from misoflow.errors import ConfigError
from misoflow.vault import Vault, VaultError
from pydantic import SecretStr

KEY, OTHER = b"k" * 32, b"o" * 32


def settings(data: Path, key: str | None = None, old_key: str | None = None) -> Any:
    secret = lambda text: None if text is None else SecretStr(text)  # noqa: E731
    return SimpleNamespace(data=data, engine=SimpleNamespace(key=secret(key), old_key=secret(old_key)))


def test_what_is_sealed_opens_again_and_says_nothing() -> None:
    vault = Vault(KEY)
    sealed = vault.seal(b"canary", b"column")
    assert vault.open(sealed, b"column") == b"canary"
    assert b"canary" not in sealed
    assert vault.seal(b"canary", b"column") != sealed
    assert len(sealed) == len(b"canary") + 29
    assert "k" * 4 not in repr(vault)


def test_any_change_of_bytes_context_or_key_is_an_error() -> None:
    vault = Vault(KEY)
    sealed = vault.seal(b"text", b"column")
    broken = [sealed[:-1], sealed + b"x", b"", b"\x01", b"\x02" + sealed[1:]]
    broken += [sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :] for at in range(len(sealed))]
    for value in broken:
        with pytest.raises(VaultError):
            vault.open(value, b"column")
    with pytest.raises(VaultError):
        vault.open(sealed, b"other column")
    with pytest.raises(VaultError):
        Vault(OTHER).open(sealed, b"column")


def test_rotation_reads_the_old_and_writes_the_new() -> None:
    before, during, after = Vault(KEY), Vault(OTHER, KEY), Vault(OTHER)
    sealed = before.seal(b"text", b"")
    assert during.open(sealed, b"") == b"text"
    assert after.open(during.seal(b"new", b""), b"") == b"new"
    assert during.knows(before.check_value())
    assert not after.knows(before.check_value())
    assert during.check_value() == after.check_value() != before.check_value()
    assert during.keyed_hash(b"user") == before.keyed_hash(b"user")
    assert during.keyed_hashes(b"user") == [after.keyed_hash(b"user"), before.keyed_hash(b"user")]


def test_hashes_are_keyed_short_and_apart_from_the_cipher() -> None:
    vault = Vault(KEY)
    assert vault.keyed_hash(b"user") == Vault(KEY).keyed_hash(b"user")
    assert len(vault.keyed_hash(b"user")) == 16
    assert len({vault.keyed_hash(b"a"), vault.keyed_hash(b"b"), Vault(OTHER).keyed_hash(b"a")}) == 3


def test_a_key_from_the_settings_makes_no_file(tmp_path: Path) -> None:
    vault = Vault.from_settings(settings(tmp_path, "a" * 40, "b" * 40))
    assert vault.knows(Vault(b"a" * 40).check_value())
    assert vault.knows(Vault(b"b" * 40).check_value())
    assert list(tmp_path.iterdir()) == []


def test_base64_of_32_bytes_is_those_bytes(tmp_path: Path) -> None:
    text = base64.b64encode(KEY).decode()
    assert Vault.from_settings(settings(tmp_path, text)).check_value() == Vault(KEY).check_value()


def test_a_short_key_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"engine\.key: needs at least 32 characters") as caught:
        Vault.from_settings(settings(tmp_path, "canary"))
    assert "canary" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"engine\.old_key"):
        Vault.from_settings(settings(tmp_path, "a" * 40, "short"))


def test_the_first_start_makes_a_private_key_file(tmp_path: Path) -> None:
    data = tmp_path / "var"
    first = Vault.from_settings(settings(data))
    path = data / "key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(base64.b64decode(path.read_text())) == 32
    assert Vault.from_settings(settings(data)).check_value() == first.check_value()
    assert [entry.name for entry in data.iterdir()] == ["key"]


def test_processes_that_start_together_agree_on_the_key(tmp_path: Path) -> None:
    checks: list[bytes] = []
    gate = threading.Barrier(8)

    def start() -> None:
        gate.wait()
        checks.append(Vault.from_settings(settings(tmp_path)).check_value())

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(checks) == 8
    assert len(set(checks)) == 1


def test_a_lost_key_file_is_not_made_anew_beside_data(tmp_path: Path) -> None:
    (tmp_path / "inbox.db").write_bytes(b"x")
    with pytest.raises(ConfigError, match="is gone"):
        Vault.from_settings(settings(tmp_path))
    assert [entry.name for entry in tmp_path.iterdir()] == ["inbox.db"]


def test_a_damaged_key_file_is_named(tmp_path: Path) -> None:
    for content in (b"", b"short", b"\xff" * 44):
        (tmp_path / "key").write_bytes(content)
        with pytest.raises(ConfigError, match="key"):
            Vault.from_settings(settings(tmp_path))
