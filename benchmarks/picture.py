"""The figures as a picture: every goal and how far it is, and what others deliver and lose. Pure; a small SVG.

One column, so that it can be read on a telephone; light or dark as the reader's system is.
https://developer.mozilla.org/docs/Web/SVG https://developer.mozilla.org/docs/Web/CSS/@media/prefers-color-scheme
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

Rows = Sequence[Mapping[str, Any]]

WIDTH, MARGIN, LINE, BAR = 420, 14, 34, 9
INNER = WIDTH - 2 * MARGIN
AHEAD = 2.0  # a bar ends at so many times its goal
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.head { font-size: 15px; font-weight: 600 } .soft { fill: #59636e } .number { text-anchor: end }
.page { fill: #ffffff } .track { fill: #e9edf1 } .goal { stroke: #1f2328; stroke-width: 1.5 }
.met { fill: #1a7f37 } .missed { fill: #bc4c00 } .lost { fill: #cf222e }
.ours { fill: #0969da } .other { fill: #8c959f }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .soft { fill: #9198a1 } .page { fill: #0d1117 } .track { fill: #262c36 }
  .goal { stroke: #e6edf3 } .met { fill: #3fb950 } .missed { fill: #db6d28 } .ours { fill: #4493f8 }
  .other { fill: #656c76 } .lost { fill: #f85149 }
}
"""


class Page:
    """Lines from top to bottom."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._y = float(MARGIN)

    def head(self, text: str, soft: str) -> None:
        self._y += 26 if self._parts else 14
        self._text(MARGIN, self._y, text, "head")
        self._y += 16
        self._text(MARGIN, self._y, soft, "soft")
        self._y += 10

    def bar(self, what: str, told: str, part: float, kind: str, *, goal_at: float | None = None) -> None:
        """Draw a line of text and below it a bar that fills `part` of the width."""
        self._y += 14
        self._text(MARGIN, self._y, what, "")
        self._text(WIDTH - MARGIN, self._y, told, "soft number")
        y = self._y + 5
        self._rect(y, INNER, "track")
        if part > 0:
            self._rect(y, max(2.0, INNER * min(1.0, part)), kind)
        if goal_at is not None:
            x = MARGIN + INNER * goal_at
            self._parts.append(f'<line class="goal" x1="{x:.1f}" x2="{x:.1f}" y1="{y:.1f}" y2="{y + BAR + 2:.1f}"/>')
        self._y += LINE - 14

    def _rect(self, y: float, width: float, kind: str) -> None:
        self._parts.append(f'<rect class="{kind}" x="{MARGIN}" y="{y:.1f}" width="{width:.1f}" height="{BAR}" rx="2"/>')

    def _text(self, x: float, y: float, text: str, kind: str) -> None:
        named = f' class="{kind}"' if kind else ""
        self._parts.append(f'<text x="{x:g}" y="{y:.1f}"{named}>{escape(text)}</text>')

    def svg(self, title: str) -> str:
        height = self._y + MARGIN
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" role="img">\n'
            f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n"
            f'<rect class="page" width="{WIDTH}" height="{height:.0f}" rx="6"/>\n'
            + "\n".join(self._parts)
            + "\n</svg>\n"
        )


def drawn(measured: Mapping[str, Any]) -> str:
    """Return the picture of a run."""
    page = Page()
    rows = [row for part in measured["parts"].values() for row in part]
    _goals(page, [row for row in rows if row["met"] is not None])
    delivered = [row for row in measured["parts"].get("deliveries", []) if row["unit"] == "/s" and row["value"]]
    if delivered:
        _delivered(page, delivered)
    if lost := [row for row in measured["parts"].get("loss", []) if row["value"] is not None]:
        _lost(page, lost)
    return page.svg("What make bench measured, beside its goals")


def _goals(page: Page, rows: Rows) -> None:
    met = sum(row["met"] for row in rows)
    page.head(f"{met} of {len(rows)} goals", "The mark is the goal. More is better, whatever is measured.")
    for row in rows:
        told = f"{row['short']} ({row['goal']})"
        page.bar(
            row["title"],
            told,
            _reached(row) / AHEAD,
            "met" if row["met"] else "missed",
            goal_at=1 / AHEAD,
        )


def _reached(row: Mapping[str, Any]) -> float:
    """Return how much of its goal a row reaches; 1 is the goal."""
    value, goal = row["value"], row["goal_value"]
    if row["at_least"]:
        return float(value / goal) if goal else AHEAD
    if value <= 0:
        return AHEAD
    return float(goal / value)


def _delivered(page: Page, rows: Rows) -> None:
    most = max(row["value"] for row in rows)
    page.head("Messages per second", "From webhook to chat, on one core. Only bridge stores first.")
    for row in rows:
        kind = "ours" if row["key"] == "deliveries.bridge" else "other"
        page.bar(row["what"].strip(), f"{row['value']:,.0f}/s", row["value"] / most, kind)


def _lost(page: Page, rows: Rows) -> None:
    page.head("Never seen in the chat", "Of 50 events: lost after they were accepted, or refused.")
    for row in rows:
        page.bar(row["what"].strip(), f"{row['value']:.0f}", row["value"] / 50, "lost")
