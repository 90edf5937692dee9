"""`make bench`: every benchmark, ours beside theirs in one run, medians of interleaved repeats.

    python -m benchmarks [--repeats N] [NAME...]

Prints a table and writes `benchmarks/results/<date>-<name>.json` with versions and machine. Not a test: machines are shared.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.machine import describe
from components.engines.base.paths import write_json

NAMES = ("training", "loaders", "memory", "shards", "orchestration", "captioned", "gate", "typing", "alignment")
# On request: takes 18 GB of memory; take twenty minutes and more; needs PDFs that are not in the project; ten minutes.
ON_REQUEST = ("published", "keys", "watchers", "documents", "indices")
RESULTS = Path(__file__).parent / "results"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"default: {', '.join(NAMES)}; on request: {', '.join(ON_REQUEST)}"
    )
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    unknown = set(arguments.names) - {*NAMES, *ON_REQUEST}
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join([*NAMES, *ON_REQUEST])}")
    for name in arguments.names or NAMES:
        rows = importlib.import_module(f"benchmarks.{name}").run(repeats=arguments.repeats)
        _print(name, rows)
        stamp = datetime.now(UTC).strftime("%Y-%m-%d")
        write_json(RESULTS / f"{stamp}-{name}.json", {"rows": rows, "repeats": arguments.repeats, **describe()})
    return 0


def _print(name: str, rows: list[dict[str, Any]]) -> None:
    print(f"\n{name}\n{'':60} {'ours':>12} {'theirs':>12} {'ratio':>7} {'bar':>7}  range")
    for row in rows:
        cells = [
            f"{row[key]:>{width}.4g}" if isinstance(row.get(key), int | float) else f"{row.get(key) or '':>{width}}"
            for key, width in (("ours", 12), ("theirs", 12), ("ratio", 7), ("bar", 7))
        ]
        between = "–".join(f"{end:.3f}" for end in row.get("range", ()))
        print(f"{row['name'][:60]:60} {' '.join(cells)}  {between}".rstrip())
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
