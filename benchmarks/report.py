"""How the figures are shown: as a table in the terminal. Measures nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.row import Row

MARKS = {True: "yes", False: "no", None: ""}


def show(rows: Mapping[str, Sequence[Row]], machine: Mapping[str, Any]) -> None:
    print(f"\n{told(machine)}\n")
    print(f"{'':46} {'median (min-max)':30} {'goal':>9}  {'met':4} beside")
    for part, found in rows.items():
        print(f"\n{part}")
        for row in found:
            if row.missing:
                print(f"  {row.what:44} left out: {row.missing}")
                continue
            goal = str(row.goal) if row.goal else ""
            print(f"  {row.what:44} {row.measured():30} {goal:>9}  {MARKS[row.met]:4} {row.beside}")


def told(machine: Mapping[str, Any]) -> str:
    """Return what the machine is, in a sentence."""
    pinned = ", the server on one core, load and chat on another" if machine["pinned"] else ", nothing pinned"
    return (
        f"{machine['cpus']} cores ({machine['cpu']}){pinned}. {machine['system']}, Python {machine['python']}, SQLite "
        f"{machine['sqlite']}. One sync of the disk takes {machine['sync_ms']:.2f} ms. {machine['date']}, "
        f"commit {machine['commit'] or '?'}, {machine['seconds']:,} s in all."
    )
