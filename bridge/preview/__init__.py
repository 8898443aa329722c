"""What would each chat show of this message? Read back from the JSON that it would get, for `bridge explain`.

The other direction of `bridge.destinations`, one step further: there a message becomes JSON, here that becomes what a
person sees. So a mistake on the way, a mark that is not one there or a name that calls nobody, is seen before it is
sent. Pure. A chat that has no reader here, a stranger's, is shown as the terminal shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from bridge.destinations import console
from bridge.destinations.console import visible
from bridge.preview import cards, texts
from bridge.preview.shown import Line, Names, Part, Piece, Shown

__all__ = ["READERS", "Line", "Part", "Piece", "Shown", "text"]

READERS: dict[str, Callable[[dict[str, Any], Names], Shown]] = {
    "apprise": texts.apprise,
    "discord": cards.discord,
    "email": texts.email,
    "google_chat": cards.google_chat,
    "matrix": texts.matrix,
    "mattermost": texts.mattermost,
    "rocketchat": texts.rocketchat,
    "slack": cards.slack,
    "teams": cards.teams,
    "telegram": texts.telegram,
    "webex": texts.webex,
    "webhook": texts.program,
    "zulip": texts.zulip,
}

_RESET = "\033[0m"


def text(shown: Shown, *, colour: bool) -> str:
    """Return the message in lines. Without colour, marks say what is **bold**, _italic_, ~~struck~~ and `code`.

    What an event said cannot drive the terminal.
    """
    return "\n".join(line for part in shown for line in _part(part, colour))


def _part(part: Part, colour: bool) -> Iterator[str]:
    bar = ""
    if part.colour:
        bar = (console.shaded("▌", part.colour) if colour else "▌") + " "
    elif part.tint:
        bar = f"{part.tint[:9]} ┃ " if part.tint not in ("default", "card", "emphasis") else "┃ "
    for line in part.lines:
        if line.kind != "gap":
            yield bar + _line(line, colour)


def _line(line: Line, colour: bool) -> str:
    parts = [_piece(one, line, colour) for one in line.pieces]
    match line.kind:
        case "buttons":
            return "  ".join(parts)
        case "field":
            return f"{parts[0]} {''.join(parts[1:])}"
        case "item":
            return f"{line.mark or ' '} {''.join(parts)}"
        case "quote":
            return "│ " + "".join(parts)
        case "code":
            return "    " + "".join(parts)
        case "small" if colour:
            return f"\033[2m{''.join(parts)}{_RESET}"
    return "".join(parts)


def _piece(one: Piece, line: Line, colour: bool) -> str:
    said = visible(one.text)
    where = visible(one.link or "")
    if line.kind == "buttons":
        return f"[{said}] <{where}>" if where else f"[{said}]"
    core = said.strip()
    if not core:
        return said
    styled = _ansi(core, one, line) if colour else _marked(core, one, line)
    if where:
        styled = f"{styled} <{where}>"
    if one.calls and one.calls not in one.text:  # Telegram calls by a bell
        styled = f"{styled} (@{visible(one.calls)})"
    return said.replace(core, styled, 1)


def _marked(core: str, one: Piece, line: Line) -> str:
    if one.code and line.kind != "code":
        core = f"`{core}`"
    for mark, on in (("~~", one.strike), ("_", one.italic), ("**", one.bold)):
        core = f"{mark}{core}{mark}" if on else core
    return core


def _ansi(core: str, one: Piece, line: Line) -> str:
    wanted = (
        ("1", one.bold or line.kind == "heading"),
        ("3", one.italic),
        ("4", one.link is not None),
        ("9", one.strike),
        ("36", one.code),
        ("7", one.calls is not None),
    )
    codes = [code for code, on in wanted if on]
    return f"\033[{';'.join(codes)}m{core}{_RESET}" if codes else core
