"""How the figures are shown: a table in the terminal, a page and a picture in docs/. Measures nothing.

All of it is made from what the JSON file holds, so that an earlier run can be shown again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks import picture

Measured = Mapping[str, Any]
"""What a run gives: `machine`, `quick`, and `parts`, each a list of rows as `Row.plain` makes them."""

MARKS = {True: "yes", False: "no", None: ""}
BEGIN, END = "<!-- results: written by make bench, do not edit -->", "<!-- end of results -->"


def show(measured: Measured) -> None:
    print(f"\n{told(measured)}\n")
    print(f"{'':48} {'median (min-max)':30} {'goal':>9}  {'met':4} beside")
    for part, rows in measured["parts"].items():
        print(f"\n{part}")
        for row in rows:
            if row["missing"]:
                print(f"  {row['what']:46} left out: {row['missing']}")
                continue
            print(f"  {row['what']:46} {row['measured']:30} {row['goal']:>9}  {MARKS[row['met']]:4} {row['beside']}")
    wanted = [row for row in _rows(measured) if row["goal"]]
    met, known = sum(row["met"] is True for row in wanted), sum(row["met"] is not None for row in wanted)
    print(f"\n{met} of {known} goals are met, {len(wanted) - known} could not be measured")


def told(measured: Measured) -> str:
    """Return in sentences what the machine is, and when this was."""
    machine = measured["machine"]
    pinned = ", the server on one core, load and chat on another" if machine["pinned"] else ", nothing pinned"
    quick = " A quick run: too short to mean much." if measured["quick"] else ""
    return (
        f"{machine['cpus']} cores ({machine['cpu']}){pinned}. {machine['system']}, Python {machine['python']}, SQLite "
        f"{machine['sqlite']}. One sync of the disk takes {machine['sync_ms']:.2f} ms. Other work at the start: load "
        f"{machine['load_before']:.1f}. {machine['date']}, commit {machine['commit'] or '?'}, "
        f"{machine['seconds']:,} s in all.{quick}"
    )


def write_docs(measured: Measured, docs: Path) -> None:
    """Draw the picture, and put the results between the page's two marks."""
    (docs / "benchmarks.svg").write_text(picture.drawn(measured))
    page = docs / "benchmarks.md"
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{page} has lost its marks {BEGIN!r} and {END!r}")
    page.write_text(f"{before}{BEGIN}\n\n{markdown(measured)}\n{END}{after}")


def markdown(measured: Measured) -> str:
    lines = [told(measured), ""]
    for part, rows in measured["parts"].items():
        lines += [f"### {part}", "", "| what | median (min-max) | goal | met | beside |", "|---|---|---|---|---|"]
        for row in rows:
            what = row["what"].strip().replace("|", "\\|")
            beside = (f"left out: {row['missing']}" if row["missing"] else row["beside"]).replace("|", "\\|")
            lines.append(f"| {what} | {row['measured']} | {row['goal']} | {MARKS[row['met']]} | {beside} |")
        lines.append("")
    return "\n".join(lines)


def _rows(measured: Measured) -> Iterator[Mapping[str, Any]]:
    for rows in measured["parts"].values():
        yield from rows
