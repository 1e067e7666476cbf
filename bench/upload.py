"""A file of interactions to Miso: ``misoflow upload`` beside Miso's own tools, on the same file and the same sink.

The sink is one local process that parses nothing; it counts the records it was sent. misoflow checks each record
against Miso's schema and keeps its journal; the others do neither. Beside it run, as far as they are installed
(``bench/peers.sh`` sets them up): miso-sdk with the call of its own documentation, target-miso with a template that
passes records through, on the same records as Singer messages, and the ``miso`` command with its throttle off,
where MISO_CLI names a checkout. The goals: faster than each, less than 200 MiB.
``python -m bench.upload [--records N]``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from misoflow_sandbox.serving import serve_forever

from bench.backfill import Run, timed
from bench.flood import started

RECORDS = 500_000
MOST_MIB = 200
MARK = b'"user_agent"'
"""Once in each record, however a tool writes it."""
TOML = '[miso]\napi_url = "{sink}"\napi_key = "bench"\n'
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"


class Sink:
    """Takes every upload, looks at none; ``GET`` tells and forgets how many records came."""

    def __init__(self) -> None:
        self._records = 0

    async def app(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        rest, more = b"", True
        while more:
            message = await receive()
            more = message.get("more_body", False)
            text = rest + message.get("body", b"")
            self._records += text.count(MARK)
            rest = text[1 - len(MARK) :]
        body = b'{"message":"success"}'
        if scope["method"] == "GET":
            body, self._records = b"%d" % self._records, 0
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": body})


def records(count: int) -> Iterator[str]:
    """Interactions of some 520 bytes each, as JSON."""
    for n in range(count):
        page = f"https://shop.example/collections/lighting/products/lamp-{n * 7919 % 50_000}?utm_source=newsletter"
        yield json.dumps(
            {
                "type": "product_detail_page_view",
                "product_ids": [f"lamp-{n * 7919 % 50_000}"],
                "user_id": f"user-{n * 104_729 % 200_000}",
                "anonymous_id": f"{n * 2_654_435_761 % 2**64:016x}-{n:08x}",
                "timestamp": f"2026-{n % 9 + 1:02}-{n % 28 + 1:02}T{n % 24:02}:{n % 60:02}:{n % 59:02}.{n % 1000:03}Z",
                "duration": n % 600 / 10,
                "context": {
                    "page": {"url": page, "title": "A lamp for the desk – Shop"},
                    "user_agent": AGENT,
                    "custom_context": {"uuid": f"{n:032x}", "session": n // 7, "list": "spring"},
                },
            },
            ensure_ascii=False,
            separators=(",", ":"),
        )


def written(folder: Path, count: int) -> tuple[Path, Path]:
    """The file as JSON Lines, and the same records as Singer messages."""
    plain, singer = folder / "records.jsonl", folder / "singer.jsonl"
    with plain.open("w") as one, singer.open("w") as other:
        for line in records(count):
            one.write(f"{line}\n")
            other.write(f'{{"type":"RECORD","stream":"views","record":{line}}}\n')
    return plain, singer


def peers(sink: str, plain: Path, singer: Path, folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Name and command of the other tools; those that are not installed are said."""
    root = Path(os.environ.get("MISOFLOW_PEERS", ""))
    script = Path(__file__).parent / "peers" / "miso_upload.py"
    target = root / "target-miso" / "bin" / "target-miso"
    (folder / "templates").mkdir()
    (folder / "templates" / "views.py").write_text("def transform(record):\n    return record\n")
    config = {"api_server": sink, "api_key": "bench", "template_folder": str(folder / "templates")}
    (folder / "target.json").write_text(json.dumps(config))
    command = Path(os.environ.get("MISO_CLI", "")) / "packages" / "server-sdk" / "cli" / "index.js"
    miso = ["node", str(command), "interactions", "upload", "-k", "bench", "--server", sink, "--rps", "1000"]
    known = {
        "miso-sdk": (root / "bin" / "python", [str(root / "bin" / "python"), str(script), sink, str(plain)]),
        "target-miso": (target, fed(singer, str(target), "--config", str(folder / "target.json"))),
        "miso (command)": (command, fed(plain, *miso)),
    }
    for name, (needed, arguments) in known.items():
        if needed.is_absolute() and needed.exists():
            yield name, arguments
        else:
            print(f"{name}: not installed (bench/peers.sh says how; MISOFLOW_PEERS and MISO_CLI name the folders)")


def fed(file: Path, *command: str) -> list[str]:
    """The command with a file as its standard input, as the same process."""
    return ["sh", "-c", 'file=$1; shift; exec "$@" < "$file"', "sh", str(file), *command]


def bench(count: int) -> bool:
    """Whether the goals were reached."""
    python = [sys.executable, "-m", "bench.upload"]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="misoflow-bench-")))
        os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])
        plain, singer = written(folder, count)
        print(f"{count:,} interactions of {plain.stat().st_size / count:.0f} bytes", flush=True)
        _, sink = stack.enter_context(started("sink", [*python, "--serve"], folder))
        (folder / "plugins.toml").write_text(TOML.format(sink=sink))
        ours = told("misoflow", [sys.executable, "-m", "misoflow", "upload", "interactions", str(plain)], folder, sink)
        good = ours is not None and arrived(sink) == count and ours.peak < MOST_MIB
        if ours is None:
            return False
        print(ours.line(count), flush=True)
        for name, command in peers(sink, plain, singer, folder):
            run = told(name, command, folder, sink)
            if run is None:
                continue
            came = arrived(sink)
            print(run.line(count) + (f"  only {came:,} arrived" if came != count else ""), flush=True)
            good &= came != count or ours.seconds < run.seconds
        return good


def told(name: str, command: list[str], folder: Path, sink: str) -> Run | None:
    """The run's figures; None, and the reason printed, when it failed."""
    arrived(sink)
    try:
        return timed(name, command, folder)
    except (SystemExit, OSError) as error:
        print(f"{name}: {str(error).splitlines()[-1]}")
        return None


def arrived(sink: str) -> int:
    """Records since the last call."""
    with urllib.request.urlopen(sink, timeout=60) as answer:
        return int(answer.read())


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.upload", description=__doc__)
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        say: Callable[[str], None] = lambda url: print(f"ready {url}", flush=True)  # noqa: E731
        serve_forever(Sink(), "127.0.0.1", 0, say)
        return 0
    return 0 if bench(given.records) else 1


if __name__ == "__main__":
    sys.exit(main())
