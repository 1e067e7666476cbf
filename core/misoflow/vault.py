"""Encryption of payload columns, and keyed hashes of people's ids.

AES-256-GCM with a random 96-bit nonce. Two keys may be live: everything is sealed with the first and opened
with either, so that a key can be changed. Hashes stay those of the older one: they name rows of the store.
Layout of a sealed value: one byte for the version, 12 bytes nonce, ciphertext with its 16-byte tag.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from misoflow.errors import ConfigError, MisoflowError

if TYPE_CHECKING:
    from misoflow.config import Settings

VERSION = b"\x01"
NONCE = 12
TAG = 16
MIN_TEXT = 32
"""Characters that ``[engine] key`` must have."""
DATABASES = ("inbox.db", "store.db")


class VaultError(MisoflowError):
    """A sealed value does not open: another key, another context, or damage."""


def _derive(key: bytes, purpose: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt=None, info=b"misoflow/" + purpose).derive(key)


class _Key:
    """One key, split by purpose so that a hash never tells anything about a cipher."""

    def __init__(self, key: bytes) -> None:
        self.cipher = AESGCM(_derive(key, b"seal"))
        self.check = _derive(key, b"check")[:16]
        self._hash = hashlib.blake2b(digest_size=16, key=_derive(key, b"hash"))

    def hash(self, data: bytes) -> bytes:
        # keyed BLAKE2 is a MAC by itself, at a fifth of HMAC's time: each event of history needs one or two
        made = self._hash.copy()
        made.update(data)
        return made.digest()


class Vault:
    """Seals and opens payloads; safe to use from several threads."""

    def __init__(self, key: bytes, old: bytes | None = None) -> None:
        self._key = _Key(key)
        self._keys = [self._key] if old is None else [self._key, _Key(old)]

    def __repr__(self) -> str:
        return "Vault(…)"

    def seal(self, plain: bytes, context: bytes) -> bytes:
        """Encrypt; ``context`` (the column's name, say) must be given again to open it."""
        nonce = os.urandom(NONCE)
        return VERSION + nonce + self._key.cipher.encrypt(nonce, plain, context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """Decrypt with either key; raises VaultError."""
        if sealed[:1] != VERSION or len(sealed) < 1 + NONCE + TAG:
            raise VaultError("a sealed value is damaged or of another version")
        nonce, rest = sealed[1 : 1 + NONCE], sealed[1 + NONCE :]
        for key in self._keys:
            with contextlib.suppress(InvalidTag):
                return key.cipher.decrypt(nonce, rest, context)
        raise VaultError("a sealed value does not open: it is damaged, or engine.key is another one")

    def keyed_hash(self, data: bytes) -> bytes:
        """16 bytes that stand for ``data`` and tell nothing without the key; the same after a change of key.

        Were they others, a product that is known would be taken for two, and the first of them removed at Miso.
        """
        return self._keys[-1].hash(data)

    def keyed_hashes(self, data: bytes) -> list[bytes]:
        """The hash under each live key, today's first: what to look for after a change of key."""
        return [key.hash(data) for key in self._keys]

    def check_value(self) -> bytes:
        """16 bytes to keep with the data: they show later whether the same key is at hand."""
        return self._key.check

    def knows(self, check: bytes) -> bool:
        """Whether ``check`` is the check value of one of the live keys."""
        return any(secrets.compare_digest(key.check, check) for key in self._keys)

    @classmethod
    def from_settings(cls, settings: Settings) -> Vault:
        """Keys of ``[engine]``, else the file ``key`` in the data folder, made at the first start.

        Raises ConfigError: a key that is too short, or a key file that is gone, damaged or unreadable.
        """
        key, old = _plain(settings.engine.key), _plain(settings.engine.old_key)
        former = None if old is None else key_from_text(old, "engine.old_key")
        if key is not None:
            return cls(key_from_text(key, "engine.key"), former)
        return cls(_key_of_file(Path(settings.data)), former)


def key_from_text(text: str, where: str) -> bytes:
    """Key material of a setting: base64 of 32 bytes, or any text of at least 32 characters."""
    text = text.strip()
    if len(text) < MIN_TEXT:
        raise ConfigError(where, f"needs at least {MIN_TEXT} characters; make one with: openssl rand -base64 32")
    with contextlib.suppress(binascii.Error, ValueError):
        raw = base64.b64decode(text, validate=True)
        if len(raw) == 32:
            return raw
    return text.encode()


def key_path(data: Path) -> Path:
    """Where the key lies when plugins.toml names none; a backup needs this file too."""
    return data / "key"


def _plain(value: Any) -> str | None:
    """The text of a setting that may be a SecretStr."""
    reveal = getattr(value, "get_secret_value", None)
    text = reveal() if reveal is not None else value
    return None if text is None else str(text)


def _key_of_file(data: Path) -> bytes:
    path = key_path(data)
    try:
        text = _read(path)
        if text is None and any((data / name).exists() for name in DATABASES):
            text = _read(path)  # another process of ours may have made it just now
            if text is None:
                problem = f"{path} is gone, but {data} holds data sealed with it; restore that file"
                raise ConfigError("engine.key", problem)
        if text is None:
            _make(path)
            text = _read(path)
    except OSError as error:
        raise ConfigError("engine.key", f"cannot read or make {path}: {error.strerror}") from None
    return key_from_text(text or "", str(path))


def _read(path: Path) -> str | None:
    try:
        return path.read_text("ascii")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise ConfigError("engine.key", f"{path} is damaged; restore that file") from None


def _make(path: Path) -> None:
    """Whole and fsynced before it has its name; the first of several processes wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".key.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        try:
            os.write(handle, base64.b64encode(secrets.token_bytes(32)) + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.unlink(draft)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make new names in ``folder`` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
