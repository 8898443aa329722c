"""The sums of a whole run, printed, and written into docs/reliability.md between its two markers."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from tests.chaos.faults import BEYOND_LEASE, FAULTS
from tests.chaos.story import Round

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- results: written by make chaos -->", "<!-- end of results -->"


@dataclass
class Total:
    """What all rounds on one engine came to."""

    version: str = ""
    rounds: int = 0
    numbers: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    twice: Counter[str] = field(default_factory=Counter)
    drained: float = 0.0
    problems: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    left_out: set[str] = field(default_factory=set)

    def add(self, one: Round) -> None:
        sums = one.sums
        self.version = one.version
        self.rounds += 1
        self.seeds.append(one.options.seed)
        self.faults += one.kinds
        self.states += sums.by_state
        self.twice += sums.twice
        self.drained = max(self.drained, one.drained)
        self.problems += sums.problems
        self.left_out |= set(one.left_out)
        self.numbers.update(
            events=sums.promised,
            again=sums.again,
            refused=one.promises.answers["503"],
            wanted=sums.wanted,
            posts=sums.posts,
            edits=sums.edits,
            lost=sums.lost,
            late=sums.late,
            starts=one.starts,
            ended=sums.ended,
            seconds=int(one.seconds),
        )


def totals(rounds: Sequence[Round]) -> dict[str, Total]:
    found: dict[str, Total] = {}
    for one in rounds:
        found.setdefault(one.options.engine, Total()).add(one)
    return found


def text(rounds: Sequence[Round], command: str) -> str:
    """Return the results as Markdown."""
    by_engine = totals(rounds)
    versions = ", ".join(total.version for total in by_engine.values())
    names = list(by_engine)
    lines = [
        f"Run on {date.today().isoformat()} with `{command}`: {os.cpu_count()} cores, Python "  # noqa: DTZ011 - a day
        f"{platform.python_version()}, {versions}.",
        "",
        _row("", [f"{name} ({by_engine[name].rounds} rounds)" for name in names]),
        _row("---", ["---:"] * len(names)),
    ]
    for label, key in LABELS:
        lines.append(_row(label, [f"{by_engine[name].numbers[key]:,}" for name in names]))
        if key == "wanted":
            for state in ("done", "folded", "dead", "dropped"):
                lines.append(_row(f"· {state}", [f"{by_engine[name].states[state]:,}" for name in names]))
    lines.append(_row("told twice, with a cause", [f"{by_engine[name].twice.total():,}" for name in names]))
    for kind in sorted({kind for total in by_engine.values() for kind in total.twice}):
        lines.append(_row(f"· {kind}", [f"{by_engine[name].twice[kind]:,}" for name in names]))
    lines.append(_row("**not explained**", [f"**{len(by_engine[name].problems)}**" for name in names]))
    lines.append(_row("longest time until all was delivered", [f"{by_engine[name].drained:.1f} s" for name in names]))
    for kind in FAULTS:
        counts = [by_engine[name].faults[kind] for name in names]
        if any(counts):
            lines.append(_row(f"fault: {kind}", [f"{count:,}" for count in counts]))
    outage = max(one.options.outage for one in rounds)
    lines += ["", f"The long outage of one channel lasted {outage:g} s; a stopped worker stood for {BEYOND_LEASE:g} s."]
    for name, total in by_engine.items():
        lines.append(f"Seeds of {name}: {', '.join(map(str, total.seeds))}.")
        lines += [f"Left out on {name}: {what}." for what in sorted(total.left_out)]
    return "\n".join(lines)


LABELS = (
    ("events answered", "events"),
    ("answered “duplicate”: the first answer was lost", "again"),
    ("answered 503, and sent again", "refused"),
    ("deliveries owed for them", "wanted"),
    ("messages posted", "posts"),
    ("edits shown", "edits"),
    ("**lost**", "lost"),
    ("copies that came after a later step", "late"),
    ("processes started", "starts"),
    ("processes that ended by themselves, with words, while database or configuration was away", "ended"),
    ("seconds", "seconds"),
)


def _row(label: str, cells: Sequence[str]) -> str:
    return f"| {' | '.join([label, *cells])} |"


def write(results: str, page: Path = PAGE) -> None:
    """Put `results` between the markers of the page."""
    before, _, rest = page.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{results}\n\n{END}{after}", "utf-8")
