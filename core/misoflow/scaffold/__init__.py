"""``misoflow new``: the files of a connector's own distribution, from the templates beside this module.

A template is the file as it will be, with ``$name`` and the like for what differs. Lines between ``#: webhook``,
``#: backfill``, ``#: both``, ``#: only webhook`` or ``#: only backfill`` and ``#: end`` are for those alone.
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from string import Template

import misoflow
from misoflow.errors import MisoflowError
from misoflow.registry import installed

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
LONGEST = 30
TAKEN = frozenset(("Any", "AsyncIterator", "ConnectorContract", "Field", "Iterator", "SecretStr"))
"""Classes of these names would hide, or be hidden by, what the templates import."""
LAYOUT = {
    "pyproject.toml": "pyproject.toml.txt",
    "README.md": "README.md.txt",
    "$package/__init__.py": "connector.py.txt",
    "tests/test_$name.py": "test.py.txt",
    "tests/samples/product-saved.json": "samples/product-saved.json.txt",
    "tests/samples/cart-added.json": "samples/cart-added.json.txt",
}
"""File of the distribution -> its template."""


class Refused(MisoflowError):
    """Nothing was written; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Scaffold:
    """What to make: a connector's name, and where its events come from."""

    name: str
    webhook: bool
    backfill: bool

    @property
    def distribution(self) -> str:
        return f"misoflow-{self.name.replace('_', '-')}"

    @property
    def class_name(self) -> str:
        return "".join(part.capitalize() for part in self.name.split("_"))

    def files(self) -> dict[str, str]:
        """Path in the distribution -> text."""
        words = {
            "name": self.name,
            "Name": self.class_name,
            "NAME": self.name.upper(),
            "slug": self.name.replace("_", "-"),
            "package": f"misoflow_{self.name}",
            "distribution": self.distribution,
            "version": ".".join(version("misoflow").split(".")[:2]),
        }
        return {
            Template(path).substitute(words): Template(self._chosen(template)).substitute(words)
            for path, template in LAYOUT.items()
        }

    def _chosen(self, template: str) -> str:
        """The template's lines that are for this kind of connector."""
        kept, wanted = [], True
        for line in (files(__name__) / "files" / template).read_text("utf-8").splitlines():
            mark, _, kind = line.partition("#: ")
            if mark or not kind:
                kept += [line] if wanted else []
            else:
                wanted = kind == "end" or self._is(kind)
        return "\n".join(kept) + "\n"

    def _is(self, kind: str) -> bool:
        return {
            "webhook": self.webhook,
            "backfill": self.backfill,
            "both": self.webhook and self.backfill,
            "only webhook": self.webhook and not self.backfill,
            "only backfill": self.backfill and not self.webhook,
        }[kind]

    def write(self, parent: Path) -> Path:
        """Write the distribution below ``parent``; its folder. Raises Refused, then nothing was written."""
        check_name(self.name)
        folder = parent / self.distribution
        texts = self.files()
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            raise Refused(f"{folder} is there already and stays as it is; choose another name or --dir") from None
        except OSError as error:
            raise Refused(f"{folder} cannot be made: {error.strerror}; choose another --dir") from None
        for path, text in texts.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")
        return folder


def check_name(name: str) -> None:
    """Raise Refused unless a new connector may be called so."""
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        raise Refused(
            f"{name!r} cannot be a connector's name; take the platform's, in lower-case letters, digits and single "
            f"underscores, a letter first, at most {LONGEST}: {suggested(name)}"
        )
    known = installed().get(name)
    if known is not None:
        raise Refused(f"the connector {name!r} is installed already, by {known.distribution}; take another name")
    if importlib.util.find_spec(f"misoflow_{name}") is not None:
        raise Refused(f"misoflow_{name} is a package that is installed already; take another name than {name!r}")
    made = Scaffold(name, webhook=True, backfill=True).class_name
    if made in TAKEN or made in misoflow.__all__:
        raise Refused(f"{name!r} is reserved: its class {made} would hide another; take a name such as {name}_shop")


def suggested(name: str) -> str:
    """A name close to one that cannot be."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_").lstrip("0123456789_")
    return plain[:LONGEST].strip("_") or "acme"
