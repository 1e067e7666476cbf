"""All benchmarks, one after the other: ``python -m bench``, or some of them: ``python -m bench translate flood``.

Each runs in a process of its own; the exit code is 1 when one of them misses its goal.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

NAMES = ("translate", "receiver", "flood", "backfill", "upload", "shopify")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", default=NAMES, help=f"of: {', '.join(NAMES)}")
    chosen = parser.parse_args().names
    if not set(chosen) <= set(NAMES):
        parser.error(f"the benchmarks are: {', '.join(NAMES)}")
    codes = {}
    for name in chosen:
        print(f"\n== {name}", flush=True)
        codes[name] = subprocess.run([sys.executable, "-m", f"bench.{name}"]).returncode
    print()
    for name, code in codes.items():
        print(f"{name}: {'goal reached' if code == 0 else f'goal missed (exit code {code})'}")
    return max(1 if code else 0 for code in codes.values())


if __name__ == "__main__":
    sys.exit(main())
