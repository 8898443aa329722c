"""What does a chat show of HTML? The few tags that bridge sends, as Telegram, Matrix, Google Chat and mail draw them.

Tags that are not known here are as if they were not there. Runs nothing, fetches nothing, never raises on any text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

from bridge.preview.shown import Line, Piece, split

_FORMS = {"b": "bold", "strong": "bold", "i": "italic", "em": "italic", "s": "strike", "del": "strike", "code": "code"}
_BLOCKS = frozenset({"p", "div", "ul", "ol", "li", "blockquote", "pre", "table", "tr"})
_UNSEEN = re.compile("[\u200b\u2060]")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")

Who = Callable[[str], str | None]
"""From a link's address to whom it calls, None where it is but a link."""


def html(text: str, who: Who = lambda address: None, *, newlines: bool = False) -> tuple[Line, ...]:
    """Return what is seen of HTML. `newlines`: a line break in the text is one, as in Telegram."""
    reader = _Reader(who, newlines)
    reader.feed(text)
    reader.close()
    reader.end()
    return tuple(reader.lines)


class _Reader(HTMLParser):
    def __init__(self, who: Who, newlines: bool) -> None:
        super().__init__(convert_charrefs=True)
        self.lines: list[Line] = []
        self._who = who
        self._newlines = newlines
        self._open: list[tuple[str, Piece]] = [("", Piece(""))]
        self._pieces: list[Piece] = []
        self._count = 0
        self._mark = ""
        self._boxed = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        form = self._open[-1][1]
        if tag == "br":
            self._pieces.append(replace(form, text="\n"))
            return
        if tag in _BLOCKS:
            self.end()
        if tag == "ol":
            self._count = 0
        elif tag == "li":
            self._count += 1
            self._mark = f"{self._count}." if any(name == "ol" for name, _ in self._open) else "•"
        elif tag == "a" and "inline-block" in given.get("style", ""):
            self._boxed = True  # mail has no buttons but links in a box
        elif tag == "td" and self._pieces:
            self._pieces.append(replace(form, text="  "))
        self._open.append((tag, self._formed(tag, given, form)))

    def _formed(self, tag: str, given: dict[str, str], form: Piece) -> Piece:
        if tag in _FORMS:
            return form.formed(_FORMS[tag])
        if tag == "a" and (address := given.get("href")):
            called = self._who(address)
            return replace(form, link=address) if called is None else replace(form, calls=called)
        colour = given.get("color", given.get("data-mx-color", ""))
        return replace(form, colour=colour) if tag in ("font", "span") and _COLOUR.fullmatch(colour) else form

    def handle_endtag(self, tag: str) -> None:
        if tag in _BLOCKS:
            self.end()
        for place in range(len(self._open) - 1, 0, -1):
            if self._open[place][0] == tag:
                del self._open[place:]
                break

    def handle_data(self, data: str) -> None:
        text = _UNSEEN.sub("", data)
        if not self._newlines and not any(name == "pre" for name, _ in self._open):
            text = re.sub(r"\s*\n\s*", "", text) if not text.strip() else re.sub(r"[ \t\r\n]+", " ", text)
        if text:
            self._pieces.append(replace(self._open[-1][1], text=text))

    def end(self) -> None:
        """End the block: what was said in it becomes lines."""
        tags = {name for name, _ in self._open}
        kind = (
            "buttons"
            if self._boxed
            else "code"
            if "pre" in tags
            else "quote"
            if "blockquote" in tags
            else "item"
            if "li" in tags
            else "text"
        )
        self.lines += [one for one in split(self._pieces, kind, self._mark) if one.pieces]
        self._pieces, self._mark, self._boxed = [], "", False
