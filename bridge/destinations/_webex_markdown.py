"""How does a message read as Webex's Markdown, in at most 7,439 bytes?

A title, the text, the facts, the footer, and links where other chats have buttons. Webex makes HTML of it, so what an
event said is escaped for both: a backslash for what means something in Markdown, an entity for what does in HTML.
Somebody is called by ``<@personEmail:...>`` alone, which is written for ids of the configuration and for nothing else.
Text is cut before it is escaped. Pure; never raises on any text.

https://developer.webex.com/docs/basics#formatting-messages
https://spec.commonmark.org/0.31.2/#backslash-escapes
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from urllib.parse import quote

from bridge.codec import web_url
from bridge.message import Block, Bullets, Button, Code, Heading, Message, Quote, Span, Spans, shorten, text_of

# In bytes of UTF-8. The parts and what stands between them are less than the whole, whatever is in them.
WHOLE = 7_439
TITLE, MENTIONS, BODY, FACTS, FOOTER, LINKS = 700, 1_200, 3_000, 900, 300, 1_200
MAX_FACTS, MAX_BUTTONS, MAX_ITEMS = 20, 5, 40
PERSON = re.compile(r"[\w.+'-]{1,64}@[A-Za-z0-9.-]{1,190}|[A-Za-z0-9_=-]{20,200}", re.ASCII)

JOINER = "\u2060"  # takes no room and no meaning, and parts what a client would read together
BREAK = "  \n"

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_ESCAPED = str.maketrans(
    {char: f"\\{char}" for char in "\\*_~[]()|!"} | {"`": "ˋ", "<": "&lt;", ">": "&gt;", "&": "&amp;"}
)
_ADDRESS = re.compile(r":(?=//)|\bwww(?=\.)", re.IGNORECASE)
_CALL = re.compile(r"<(?=[@/!a-zA-Z])|@(?=all\b)")
_MARKER = re.compile(r"^(\d{0,20})(?=[-+=#.)])", re.MULTILINE)


def build(message: Message) -> str:
    """Return the Markdown of `message`."""
    title = _line(message.title, _Room(TITLE), " ").strip() or "(no text)"
    calls = " ".join(_calls(message.mentions))
    parts = [
        *_body(message.body),
        _facts(message.facts),
        _footer(message.footer),
        _links(message.buttons),
    ]
    text = f"{title} {calls}".strip()
    for part in filter(None, parts):
        text += _between(text, part) + part
    return text


def _between(text: str, part: str) -> str:
    """A list, a quote and code need an empty line on either side; other lines follow each other closely."""
    last = text.rsplit("\n", 1)[-1]
    apart = re.compile(r"(?:- |> |```|\d+\. |  )")
    return "\n\n" if apart.match(part) or apart.match(last) else BREAK


def _calls(mentions: tuple[str, ...]) -> Iterator[str]:
    left = MENTIONS
    for one in dict.fromkeys(mentions):
        call = f"<@{'personEmail' if '@' in one else 'personId'}:{one}>"
        if PERSON.fullmatch(one) and len(call) < left:
            left -= len(call) + 1
            yield call


# -- text


class _Room:
    """How many bytes are left for a part of the message."""

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, text: str, written: Callable[[str], str]) -> str:
        whole = fitted(text, self.left, written)
        self.left -= size(whole)
        return whole


def size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def fitted(text: str, limit: int, written: Callable[[str], str]) -> str:
    """Return what `written` makes of as much of `text` as fits: what is cut is the text, never the markup."""
    keep = limit
    while keep > 0:
        whole = written(shorten(text, keep))
        over = size(whole) - limit
        if over <= 0:
            return whole
        keep = min(keep, len(text)) - max(1, over // 6)
    return ""


def escaped(text: str) -> str:
    """Return plain text as Markdown that shows it and does nothing else, wherever in a line it stands."""
    return _ADDRESS.sub(lambda found: found[0] + JOINER, text).translate(_ESCAPED)


def code(text: str) -> str:
    """Return plain text for between backticks, where no escape is known: it can neither end the code nor call."""
    return _CALL.sub(lambda found: found[0] + JOINER, text.replace("`", "ˋ"))


def _clean(text: str) -> str:
    return _CONTROL.sub("", text)


def _line(spans: Spans, room: _Room, newline: str = BREAK) -> str:
    """Return the spans as Markdown, each line after the first behind `newline`, none with the mark of a list."""
    whole = ""
    for span in spans:
        piece = _piece(span, room)
        # Marks of two neighbours must not become one mark.
        whole += (JOINER if whole[-1:] in ("*", "`") and piece[:1] in ("*", "`") else "") + piece
    lines = (re.sub(_MARKER, r"\1\\", line.strip()) for line in whole.split("\n"))
    return newline.join(line for line in lines if line)


def _piece(span: Span, room: _Room) -> str:
    if room.left <= 8:
        return ""
    address = web_url(span.link)
    if address and len(_target(address)) > room.left // 2:
        address = None
    text = _clean(span.text[: 4 * room.left])
    marks = "*" * (2 * span.bold + span.italic)

    def written(part: str) -> str:
        core = part.strip()
        if not core:
            return part
        before, after = part[: part.index(core)], part[part.index(core) + len(core) :]
        return before + _marked(core, marks, span.code, address) + after

    room.left -= 4  # for the marks of lines
    return room.take(text, written)


def _marked(text: str, marks: str, is_code: bool, address: str | None) -> str:
    """Return text without space at its ends in its form; what has one stands on one line."""
    if marks or is_code or address:
        text = re.sub(r"\s+", " ", text)
    return f"{marks}{_formed(text, is_code, address)}{marks}"


def _formed(text: str, is_code: bool, address: str | None) -> str:
    shown = f"`{code(text)}`" if is_code else escaped(text)
    return f"[{shown.translate(_ROUND) if is_code else shown}]({_target(address)})" if address else shown


_ROUND = str.maketrans({"[": "(", "]": ")"})


def _target(address: str) -> str:
    """Return an address without what would end the link before its end: parentheses and odd spaces."""
    return quote(address.encode("utf-8", "replace"), safe="!#$%&'+,-./:;=?@_~")


# -- parts


def _body(blocks: tuple[Block, ...]) -> Iterator[str]:
    room = _Room(BODY)
    for block in blocks:
        room.left -= 3
        if room.left > 0 and (part := _block(block, room)):
            yield part


def _block(block: Block, room: _Room) -> str:
    match block:
        case Bullets():
            return "\n".join(_bullets(block, room))
        case Code():
            room.left -= 8
            text = room.take(_clean(block.text[: 4 * BODY]).strip("\n"), code)
            return f"```\n{text}\n```" if text.strip() else ""
        case Quote():
            quoted = _line(block.spans, room, f"{BREAK}> ")
            return f"> {quoted}" if quoted else ""
        case Heading():
            return _line(
                tuple(Span(one.text, True, one.italic, False, one.code, one.link) for one in block.spans), room
            )
        case _:
            return _line(block.spans, room)


def _bullets(block: Bullets, room: _Room) -> Iterator[str]:
    shown = 0
    for number, item in enumerate(block.items[:MAX_ITEMS], 1):
        room.left -= 6
        mark = f"{number}. " if block.ordered else "- "
        line = _line(item, room, BREAK + " " * len(mark))
        if line:
            shown += 1
            yield mark + line
    more = len(block.items) - shown
    if more > 0 and shown:
        yield f"- … and {more} more"


def _facts(facts: tuple[tuple[str, Spans], ...]) -> str:
    """The first facts that fit, a line each."""
    room = _Room(FACTS)
    lines = []
    for label, value in facts[:MAX_FACTS]:
        room.left -= 4
        named = re.sub(r"\s+", " ", f"{label}:" if label else "")
        name = _line((Span(named, bold=True),), _Room(min(150, room.left // 2)))
        room.left -= size(name)
        shown = _line(tuple(Span(re.sub(r"\s+", " ", one.text), *_form(one)) for one in value), room)
        if shown:
            lines.append(f"{name} {shown}".strip())
    return BREAK.join(lines)


def _form(span: Span) -> tuple[bool, bool, bool, bool, str | None]:
    return span.bold, span.italic, span.strike, span.code, span.link


def _footer(spans: Spans) -> str:
    return _line((Span(re.sub(r"\s+", " ", text_of(spans)), italic=True),), _Room(FOOTER))


def _links(buttons: tuple[Button, ...]) -> str:
    """The first buttons that fit, as links on one line."""
    left, shown = LINKS, []
    for button in buttons[:MAX_BUTTONS]:
        if not web_url(button.url):
            continue
        label = re.sub(r"\s+", " ", _clean(button.text[:400]))
        link = _line((Span(shorten(label.strip(), 60), link=button.url),), _Room(LINKS))
        if size(link) + 5 <= left and "](" in link:
            left -= size(link) + 5
            shown.append(link)
    return " · ".join(shown)
