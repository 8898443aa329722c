"""What does a person see of a message? Lines of pieces, below each other, some of them behind a coloured bar.

It is read back from the very JSON that a chat would get, so it says what that chat makes of it: what is bold, where a
link leads, who is called. Every `text` here is plain. Nothing is sent and nothing is escaped from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

Names = Callable[[str], str]
"""From a chat's id of a person to what that chat shows of them."""

KINDS = ("text", "heading", "item", "quote", "code", "field", "small", "buttons", "gap")


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a line. `calls`: the name of whom it notifies. `colour` is ``#rrggbb``."""

    text: str
    bold: bool = False
    italic: bool = False
    strike: bool = False
    code: bool = False
    link: str | None = None
    calls: str | None = None
    colour: str | None = None

    def formed(self, name: str, on: bool = True) -> Piece:
        """Return the same with a form, ``bold`` for one, or without it."""
        form: dict[str, Any] = {name: on}
        return replace(self, **form)


Pieces = tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """`mark` opens an item of a list. A `gap` has no pieces: there the chat leaves some room."""

    pieces: Pieces
    kind: str = "text"
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """Lines that stand together. `colour` is that of the bar beside them, `tint` the name of what lies behind them."""

    lines: tuple[Line, ...]
    colour: str | None = None
    tint: str | None = None


Shown = tuple[Part, ...]


def split(pieces: Iterable[Piece], kind: str = "text", mark: str = "") -> Iterator[Line]:
    """Yield the lines of pieces that have line breaks in them."""
    line: list[Piece] = []
    for piece in pieces:
        for number, text in enumerate(piece.text.split("\n")):
            if number:
                yield Line(tuple(line), kind, mark)
                line, mark = [], ""
            if text:
                line.append(replace(piece, text=text))
    if line:
        yield Line(tuple(line), kind, mark)


def words(text: str, kind: str = "text") -> tuple[Line, ...]:
    """Return plain text, line by line."""
    return tuple(split((Piece(text),), kind))


def buttons(given: Iterable[tuple[str, str]]) -> tuple[Line, ...]:
    """Return one line of buttons, each a text and where it leads; none where there are none."""
    pieces = tuple(Piece(text, link=address) for text, address in given)
    return (Line(pieces, "buttons"),) if pieces else ()
