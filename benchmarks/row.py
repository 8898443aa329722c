"""What was measured, and what was hoped for: one line of the table. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Goal:
    """`at_least` or not: then at most."""

    value: float
    at_least: bool

    def met(self, measured: float) -> bool:
        return measured >= self.value if self.at_least else measured <= self.value

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {number(self.value)}"


def at_least(value: float) -> Goal:
    return Goal(value, at_least=True)


def at_most(value: float) -> Goal:
    return Goal(value, at_least=False)


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that was measured, once a round. `key` names it for programs, `what` for people.

    `missing` says why there are no samples. `beside` is what belongs to the figure: the rates behind a ratio.
    """

    key: str
    what: str
    samples: tuple[float, ...] = ()
    unit: str = ""
    goal: Goal | None = None
    beside: str = ""
    missing: str = ""
    title: str = ""  # what it is called where it stands alone; otherwise `what`

    @property
    def value(self) -> float | None:
        return statistics.median(self.samples) if self.samples else None

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None where there is none, or nothing was measured."""
        return self.goal.met(self.value) if self.goal is not None and self.value is not None else None

    def measured(self) -> str:
        """Return the median, with the range of the rounds when there were some, and the unit."""
        if self.value is None:
            return "-"
        text = number(self.value)
        if len(self.samples) > 1:
            text += f" ({number(min(self.samples))}-{number(max(self.samples))})"
        return f"{text} {self.unit}".rstrip()

    def plain(self) -> dict[str, Any]:
        """Return the row as JSON can hold it, with all that a report shows."""
        value = self.value
        return {
            "key": self.key,
            "what": self.what,
            "title": self.title or self.what.strip(),
            "value": value,
            "samples": list(self.samples),
            "unit": self.unit,
            "measured": self.measured(),
            "short": f"{number(value)} {self.unit}".strip() if value is not None else "",
            "goal": str(self.goal) if self.goal else "",
            "goal_value": self.goal.value if self.goal else None,
            "at_least": self.goal.at_least if self.goal else None,
            "met": self.met,
            "beside": self.beside,
            "missing": self.missing,
        }


def number(value: float) -> str:
    """Return a figure with as many digits as it deserves: 0.52, 9.41, 87.2, 3,145."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{round(value, digits) + 0.0:,.{digits}f}"  # no minus before a zero


def middle(values: Sequence[float]) -> float:
    """Return the median; 0 of nothing."""
    return statistics.median(values) if values else 0.0


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that `percent` of `values` do not exceed; 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0
