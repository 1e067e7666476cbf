"""Paths to files, and files to bytes: local ones by the standard library, object stores by fsspec.

A ``Source`` is a file as it was when it was listed. Reading proves that it is still the same and that every
byte of it came. https://filesystem-spec.readthedocs.io
"""

from __future__ import annotations

import errno
import glob
import io
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from misoflow.errors import Halt, Reject, Retry
from misoflow.files.inflate import Truncated

CHUNK = 1024 * 1024
"""Bytes of one read."""
EXTRA = "pip install 'misoflow[files]'"
_URL = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
_IN_EXTRA = ("s3", "s3a", "gs", "gcs", "http", "https")
# what the cloud libraries raise when nobody is logged in; they share no base class and may not be installed
_NO_LOGIN = ("NoCredentialsError", "DefaultCredentialsError", "PartialCredentialsError")


class Changed(Retry):
    """The file is not what was listed any more: list again and read it from the start."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file as listed. ``version`` changes when its content does: an ETag, or when it was modified."""

    path: str
    size: int | None
    """Bytes as stored; None where nobody knows before the end (pipes, some web servers)."""
    version: str
    options: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """Storage options for fsspec; they may hold secrets."""

    @property
    def name(self) -> str:
        """The path as it may be shown: without a user, password or query."""
        return shown(self.path)

    @property
    def once(self) -> bool:
        """Whether nobody can say if it is the same at the next reading: pipes."""
        return self.size is None and not self.version

    def __repr__(self) -> str:
        return f"Source({self.name!r}, {self.size})"

    def open(self) -> BinaryIO:
        """The stored bytes, seekable but for pipes; raises Changed when the file is not the listed one."""
        with troubles(self.name):
            if _URL.match(self.path):
                opened, now = _open_remote(self)
            else:
                opened = cast(BinaryIO, io.FileIO(self.path))
                now = _local(self.path, os.fstat(opened.fileno()))
        if (now.size, now.version) != (self.size, self.version):
            opened.close()
            raise _changed(self.name)
        return opened

    def chunks(self, progress: Callable[[int], object] = lambda size: None) -> Iterator[bytes]:
        """The stored bytes, at most CHUNK at once; ``progress`` is told the length of each.

        Raises Truncated at the end when they were fewer than listed, Changed when there are more.
        """
        total = 0
        with self.open() as opened:
            while True:
                with troubles(self.name):
                    chunk = opened.read(CHUNK)
                if not chunk:
                    break
                total += len(chunk)
                progress(len(chunk))
                yield chunk
        if self.size is not None and total < self.size:
            raise Truncated(f"{self.name} ended after {total} of {self.size} bytes; try again")
        if self.size is not None and total > self.size:
            raise Changed(f"{self.name} grew while it was read; try again")


def expand(paths: Iterable[str], options: Mapping[str, Any] | None = None) -> list[Source]:
    """The files that files, folders, globs and URLs stand for, sorted by path, each once.

    Folders are taken with all that is below them, but for names that begin with a dot or an underscore (marks
    of other tools). ``options`` go to fsspec. Raises Reject for a path with nothing behind it, Halt when a
    library or a right is missing, Retry when a store does not answer.
    """
    found: dict[str, Source] = {}
    for path in paths:
        with troubles(shown(path)):
            sources = list(_remote(path, options or {}) if _URL.match(path) else _on_disk(path))
        if not sources:
            raise Reject(f"{shown(path)}: no such file, and no file below it or matched by it")
        found |= {source.path: source for source in sources}
    return [found[path] for path in sorted(found)]


def _changed(name: str) -> Changed:
    return Changed(f"{name} has changed since it was listed; try again")


def shown(path: str) -> str:
    """A path or URL without what may be secret in it: user, password, and the query of a web address."""
    scheme = _URL.match(path)
    if not scheme:
        return path
    path = re.sub(r"^([^/]+//)[^/@]*@", r"\1", path)
    return re.split(r"[?#]", path, maxsplit=1)[0] if scheme[1].lower().startswith("http") else path


def _on_disk(path: str) -> Iterator[Source]:
    path = os.path.expanduser(path)
    if os.path.isdir(path):
        matches: Iterable[str] = _below(path)
    elif os.path.exists(path) or not glob.has_magic(path):
        matches = [path] if os.path.exists(path) else []
    else:
        matches = (name for name in glob.iglob(path, recursive=True) if not os.path.isdir(name))
    for match in matches:
        yield _local(match, os.stat(match))


def _below(folder: str) -> Iterator[str]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        yield from (str(Path(parent, name)) for name in names if not name.startswith((".", "_")))


def _local(path: str, status: os.stat_result) -> Source:
    regular = stat.S_ISREG(status.st_mode)
    return Source(
        os.path.abspath(path), status.st_size if regular else None, str(status.st_mtime_ns) if regular else ""
    )


def _remote(url: str, options: Mapping[str, Any]) -> Iterator[Source]:
    files, path = _filesystem(url, options)
    if url.lower().startswith("http"):  # a web address is one file: "?" is its query and nobody can list it
        yield Source(url, *_size_and_version(files.info(path)), options)
        return
    if files.isfile(path):
        infos = [files.info(path)]
    elif glob.has_magic(path):
        infos = list(files.glob(path, detail=True).values())
    else:
        infos = [info for name, info in files.find(path, detail=True).items() if _wanted(name, path)]
    for info in infos:
        if info["type"] == "file" and not info["name"].endswith("/"):  # some stores keep empty objects as folders
            yield Source(files.unstrip_protocol(info["name"]), *_size_and_version(info), options)


def _wanted(name: str, folder: str) -> bool:
    below = name.removeprefix(folder.rstrip("/")).strip("/")
    return not any(part.startswith((".", "_")) for part in below.split("/"))


def _open_remote(source: Source) -> tuple[BinaryIO, Source]:
    files, path = _filesystem(source.path, source.options)
    now = Source(source.path, *_size_and_version(files.info(path)), source.options)
    return files.open(path, "rb", block_size=4 * CHUNK, cache_type="readahead"), now


def _size_and_version(info: Mapping[str, Any]) -> tuple[int | None, str]:
    version = next((info[key] for key in ("ETag", "etag", "LastModified", "mtime", "created") if info.get(key)), "")
    return info.get("size"), str(version)


def _filesystem(url: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    scheme = url.partition("://")[0]
    try:
        import fsspec  # type: ignore[import-untyped]
    except ImportError:
        raise Halt(f"{scheme}:// needs the library fsspec", EXTRA) from None
    try:
        files, path = fsspec.core.url_to_fs(url, **options)
    except ImportError as error:  # fsspec's sentence names the library of a store that the extra does not hold
        raise Halt(f"{scheme}:// needs another library", EXTRA if scheme.lower() in _IN_EXTRA else str(error)) from None
    except ValueError:
        raise Reject(f"{scheme}:// is no store that fsspec knows") from None
    files.invalidate_cache()  # listings are cached for the process's life
    return files, path


@contextmanager
def troubles(name: str) -> Iterator[None]:
    """A store's errors as ours: who has to act. The libraries' own texts may hold signed URLs."""
    try:
        yield
    except (Halt, Reject, Retry):
        raise
    except FileNotFoundError:
        raise Reject(f"{name}: no such file") from None
    except PermissionError:
        raise Halt(f"{name} may not be read", "give this account the right to list and read it") from None
    except OSError as error:
        if error.errno == errno.EBUSY:  # what s3fs makes of S3's "precondition failed"
            raise _changed(name) from None
        raise Retry(
            f"{name} cannot be read now: {os.strerror(error.errno) if error.errno else type(error).__name__}"
        ) from None
    except Exception as error:
        if type(error).__module__ == "builtins":
            raise  # a mistake in a program, not a store's answer
        if type(error).__name__ in _NO_LOGIN:
            raise Halt(f"{name} needs a login", "set the store's credentials, as its own tools read them") from None
        raise Retry(f"{name} cannot be read now: {type(error).__name__}") from None
