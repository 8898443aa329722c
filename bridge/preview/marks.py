"""What does a chat show of a text with marks? Markdown as most chats read it, and the shorter marks of three of them.

Whom a text calls is written differently in each chat: that pattern comes with the text. Characters that take no room
are left out, as nobody sees them. Never raises on any text.

https://spec.commonmark.org/0.31.2/
https://docs.rocket.chat/docs/rich-messaging-features
https://developers.google.com/workspace/chat/format-messages
https://docs.slack.dev/messaging/formatting-message-text
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from bridge.preview.shown import Line, Names, Piece, split

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

_UNSEEN = re.compile("[\u200b\u2060]")
# A call stands as one letter while the rest is read, so that its own marks are not.
_FIRST, _LAST = 0xE200, 0xE7FF
_CALL = re.compile("([\ue200-\ue7ff])")
_FORMS = {"strong": "bold", "em": "italic", "s": "strike"}


class Calls:
    """The calls of one text. `pattern` has a group ``who``; without one nothing calls."""

    def __init__(self, pattern: re.Pattern[str] | None, names: Names) -> None:
        self._pattern = pattern
        self._names = names
        self._found: list[tuple[str, str]] = []

    def hide(self, text: str) -> str:
        text = _CALL.sub("\ufffd", text)
        return self._pattern.sub(self._put, text) if self._pattern else text

    def _put(self, found: re.Match[str]) -> str:
        if len(self._found) > _LAST - _FIRST:
            return found[0]
        self._found.append((found[0], self._names(found["who"])))
        return chr(_FIRST + len(self._found) - 1)

    def shown(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Yield the pieces with the calls in them as pieces of their own; within code there are none."""
        for piece in pieces:
            for part in _CALL.split(piece.text):
                found = self._found[ord(part) - _FIRST] if _CALL.fullmatch(part) else None
                if found and not piece.code:
                    yield replace(piece, text=f"@{found[1]}", calls=found[1])
                elif found or _UNSEEN.sub("", part):
                    yield replace(piece, text=_UNSEEN.sub("", found[0] if found else part))


# -- Markdown


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False, "linkify": False, "typographer": False})
    return parser.enable("strikethrough").disable(["code", "html_block", "html_inline"])


def markdown(text: str, calls: re.Pattern[str] | None, names: Names) -> tuple[Line, ...]:
    """Return what is seen of Markdown. A line break is one, as in every chat."""
    hidden = Calls(calls, names)
    lines: list[Line] = []
    kinds: list[str] = []
    for token in _parser().parse(hidden.hide(text)):
        if token.nesting == 1 and token.type in ("paragraph_open", "heading_open") and not kinds and lines:
            lines.append(Line((), "gap"))
        elif token.type in ("bullet_list_open", "ordered_list_open", "blockquote_open"):
            kinds.append("quote" if token.type == "blockquote_open" else "•" if token.type[0] == "b" else "1.")
        elif token.type in ("bullet_list_close", "ordered_list_close", "blockquote_close"):
            kinds.pop()
        elif token.type == "list_item_open" and token.info:
            kinds[-1] = f"{token.info}."
        elif token.type in ("fence", "code_block"):
            lines += split(hidden.shown((Piece(token.content.rstrip("\n"), code=True),)), "code")
        elif token.type == "inline":
            kind, mark = _place(kinds)
            lines += split(hidden.shown(_pieces(token.children or [])), kind, mark)
    return tuple(lines)


def _place(kinds: list[str]) -> tuple[str, str]:
    if not kinds:
        return "text", ""
    return ("quote", "") if kinds[-1] == "quote" else ("item", kinds[-1])


def _pieces(tokens: list[Token]) -> Iterator[Piece]:
    form = Piece("")
    for token in tokens:
        name = token.type.removesuffix("_open").removesuffix("_close")
        if name in _FORMS:
            form = form.formed(_FORMS[name], token.nesting == 1)
        elif name == "link":
            form = replace(form, link=str(token.attrs.get("href", "")) if token.nesting == 1 else None)
        elif name in ("softbreak", "hardbreak"):
            yield replace(form, text="\n")
        elif token.content:
            yield replace(form, text=token.content, code=name == "code_inline")


# -- the shorter marks: *bold* _italic_ ~struck~ `code`

_FENCE = re.compile(r"```[ ]*\w*\n?(?P<code>.*?)\n?```", re.DOTALL)
_OPENS = re.compile(r"(?P<quote>&gt; ?|> ?)|(?P<item>[-•] )|(?P<number>\d+\.) ")
_SHORT = re.compile(
    r"`(?P<code>[^`\n]+)`|\[(?P<label>[^\]\n]+)\]\((?P<target>\S+?)\)|<(?P<address>https?://[^|>\n]+)(?:\|(?P<text>[^>\n]*))?>"
    r"|(?<!\w)(?:\*(?P<bold>[^*\n]+)\*|_(?P<italic>[^\n]+?)_|~(?P<strike>[^~\n]+)~)(?!\w)"
)


def short(text: str, calls: re.Pattern[str] | None, names: Names, *, entities: bool = False) -> tuple[Line, ...]:
    """Return what is seen of a text with the shorter marks; `entities`: ``&lt;`` stands for ``<``."""
    hidden = Calls(calls, names)
    lines: list[Line] = []
    end = 0
    text = hidden.hide(text)
    for found in _FENCE.finditer(text):
        lines += _short_lines(text[end : found.start()].removesuffix("\n"), hidden, entities)
        lines += split(hidden.shown((Piece(_plain(found["code"], entities), code=True),)), "code")
        end = found.end()
    return (*lines, *_short_lines(text[end:].removeprefix("\n") if end else text, hidden, entities))


def _short_lines(text: str, hidden: Calls, entities: bool) -> Iterator[Line]:
    for number, line in enumerate(text.split("\n")):
        if not line.strip():
            if number and text.strip():
                yield Line((), "gap")
            continue
        found = _OPENS.match(line)
        kind, mark = "text", ""
        if found:
            line = line[found.end() :]
            kind, mark = ("quote", "") if found["quote"] else ("item", found["number"] or "•")
        yield Line(tuple(hidden.shown(_short(line, Piece(""), entities))), kind, mark)


def _short(text: str, form: Piece, entities: bool) -> Iterator[Piece]:
    end = 0
    for found in _SHORT.finditer(text):
        if before := text[end : found.start()]:
            yield replace(form, text=_plain(before, entities))
        end = found.end()
        if found["code"]:
            yield replace(form, text=_plain(found["code"], entities), code=True)
        elif address := found["target"] or found["address"]:
            inner = replace(form, link=_plain(address, entities))
            yield from _short(found["label"] or found["text"] or address, inner, entities)
        else:
            name = str(found.lastgroup)
            yield from _short(found[name], form.formed(name), entities)
    if text[end:]:
        yield replace(form, text=_plain(text[end:], entities))


def _plain(text: str, entities: bool) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") if entities else text
