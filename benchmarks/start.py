"""How long until a new process answers its first 202, and where does that time go?

With a configuration of 200 rules: `bridge serve` on an idle core, with an empty database and with one that is there;
`bridge --help` and `bridge check`; and what the largest imports cost by themselves.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from benchmarks.bodies import github_results
from benchmarks.context import Context
from benchmarks.load import pace, run
from benchmarks.row import Row, at_most, middle
from benchmarks.servers import (
    BRIDGE,
    ROOT,
    WITHOUT_RICH,
    Absent,
    bridge_command,
    configuration,
    free_port,
    start,
    write_configuration,
)

RULES = 200
TIMES = 5
IMPORTS_SHOWN = 8
WITHIN = 20.0  # seconds


def measure(context: Context) -> list[Row]:
    folder = context.new_folder("start")
    config = write_configuration(folder, configuration(rules=RULES))
    times = range(2 if context.quick else TIMES)
    first = [_first_202(context, config, folder / f"{number}.db") for number in times]
    again = [_first_202(context, config, folder / "0.db") for _ in times]
    total, imports = _imports(context)
    return [
        Row("start.first", f"start to the first 202, {RULES} rules", tuple(first), "s", at_most(0.6)),
        Row("start.again", "the same with a database that is there", tuple(again), "s"),
        Row("start.imports", "   of that, imports", (total,), "s", None, imports),
        Row("start.help", "bridge --help", tuple(_command(context, ["--help"]) for _ in times), "s", at_most(0.15)),
        Row(
            "start.check",
            f"bridge check, {RULES} rules",
            tuple(_command(context, ["check", "--config", str(config)]) for _ in times),
            "s",
            at_most(0.4),
        ),
    ]


def _first_202(context: Context, config: Path, database: Path) -> float:
    port = free_port()
    requests = github_results(numbers=context.numbers)
    begun = time.monotonic()
    environ = {"DATABASE_URL": f"sqlite:///{database}"}
    first = context.cores.onto(context.cores.server)
    server = start("bridge", bridge_command(config, port), port, config.parent, environ=environ, first=first)
    try:
        sent = run(pace(port, requests, 1000, 0.001))
        if not sent.accepted:
            raise Absent(f"the first request was refused: {sent.first_refusal!r}")
        return min(sent.accepted.values()) - begun
    finally:
        server.stop()


def _run(context: Context, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    first = context.cores.onto(context.cores.server)
    return subprocess.run(
        arguments,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=WITHIN,
        preexec_fn=first,
    )


def _command(context: Context, arguments: list[str]) -> float:
    begun = time.monotonic()
    _run(context, [*BRIDGE, *arguments])
    return time.monotonic() - begun


def _imports(context: Context) -> tuple[float, str]:
    """Return the seconds that all imports of the server take, and the packages that take most, each without others."""
    line = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+([\w.]+)")
    found: list[Counter[str]] = []
    for _ in range(3):
        costs: Counter[str] = Counter()
        server = WITHOUT_RICH + "import bridge.app, bridge.cli.serve, bridge.store.sqlite, uvloop"
        text = _run(context, [sys.executable, "-X", "importtime", "-c", server]).stderr
        for each in line.finditer(text):
            costs[each[2].partition(".")[0]] += int(each[1])
        found.append(costs)
    total = middle([float(costs.total()) for costs in found]) / 1e6
    largest = found[-1].most_common(IMPORTS_SHOWN)
    return total, ", ".join(
        f"{name} {cost / 1000:.0f}" for name, cost in largest
    ) + " ms (importtime's own cost included)"
