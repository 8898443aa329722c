"""One command that measures all of it and prints a table: ``python -m benchmarks``, or ``make bench``.

A part that fails or is not here never stops the others: the table says why it is missing.
"""

from __future__ import annotations

import argparse
import importlib
import json
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from benchmarks import machine, report
from benchmarks.context import Context
from benchmarks.row import Row
from benchmarks.servers import Absent
from benchmarks.syncs import Syncs

PARTS = ("accept", "deliveries", "latency", "loss", "rules", "backlog", "memory", "start", "engines")
SECONDS, ROUNDS = 4.0, 3
QUICK_SECONDS, QUICK_ROUNDS = 1.0, 1


def main() -> None:
    given = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended, too
    if given.write_docs and given.only:
        raise SystemExit("--write-docs needs all parts: the page would lose the others")
    measured = json.loads(Path(given.again).read_text()) if given.again else _measure_all(given)
    if given.json:
        Path(given.json).parent.mkdir(parents=True, exist_ok=True)
        Path(given.json).write_text(json.dumps(measured, indent=1, ensure_ascii=False) + "\n")
    report.show(measured)
    if given.write_docs:
        report.write_docs(measured, Path(__file__).parents[1] / "docs")


def _measure_all(given: argparse.Namespace) -> dict[str, Any]:
    wanted = given.only.split(",") if given.only else list(PARTS)
    if unknown := set(wanted) - set(PARTS):
        raise SystemExit(f"no part named {', '.join(sorted(unknown))}: there are {', '.join(PARTS)}")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bridge-bench-", dir=given.folder, ignore_cleanup_errors=True) as folder:
        cores = machine.Cores.found()
        context = Context(
            folder=Path(folder),
            cores=cores,
            syncs=Syncs.built(Path(folder)),
            seconds=given.seconds or (QUICK_SECONDS if given.quick else SECONDS),
            rounds=given.rounds or (QUICK_ROUNDS if given.quick else ROUNDS),
            quick=given.quick,
        )
        described = machine.describe(cores, context.folder)
        parts = {part: [row.plain() for row in _measure(part, context)] for part in PARTS if part in wanted}
    described["seconds"] = round(time.monotonic() - begun)
    return {"machine": described, "quick": given.quick, "parts": parts}


def _measure(part: str, context: Context) -> list[Row]:
    begun = time.monotonic()
    print(part, file=sys.stderr, flush=True)
    try:
        rows: list[Row] = importlib.import_module(f"benchmarks.{part}").measure(context)
    except Absent as error:
        rows = [Row(part, part, missing=str(error))]
    except Exception as error:  # one part that fails must not hide what the others found
        rows = [Row(part, part, missing=f"{type(error).__name__}: {error}")]
        traceback.print_exc()
    print(f"  {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    return rows


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", metavar="PART,...", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="short rounds, small backlogs: does it work at all")
    parser.add_argument("--seconds", type=float, help=f"how long one round takes (default {SECONDS:g})")
    parser.add_argument("--rounds", type=int, help=f"default {ROUNDS}")
    parser.add_argument("--folder", help="where the databases are made: the disk that counts (default: the system's)")
    parser.add_argument("--json", metavar="FILE", help="write all figures there, too")
    parser.add_argument("--again", metavar="FILE", help="measure nothing, show the figures of such a file")
    parser.add_argument("--write-docs", action="store_true", help="write docs/benchmarks.svg and the page's results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
