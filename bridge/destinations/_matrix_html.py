"""How does a message look in Matrix: as HTML for a room's clients, and as the plain text beside it?

The HTML has only what the specification lets clients show. Text is escaped, and an address, a user or a room in it does
not become a link: clients make links of what looks like one. Servers clean nothing. An event may have 64 KiB with
everything in it, counted in bytes, and so is each part here. Pure; never raises on any text.

https://spec.matrix.org/latest/client-server-api/#mroommessage-msgtypes
https://spec.matrix.org/latest/client-server-api/#size-limits
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from typing import Any

from bridge.codec import web_url
from bridge.destinations import _plain
from bridge.message import Block, Bullets, Button, Code, Heading, Message, Quote, Span, Spans, shorten, text_of

Json = dict[str, Any]

JOINER = "\u2060"  # takes no room and no meaning, and parts what a client would read together
TITLE, BODY, FACTS, FOOTER, LINKS, PLAIN = 1_200, 10_000, 4_000, 1_000, 5_000, 4_000  # bytes
MAX_ITEMS, MAX_FACTS, MAX_BUTTONS, MAX_MENTIONS, LABEL = 40, 25, 5, 20, 80
GREY = "#8b949e"

PERSON = re.compile(r"@[\w.=/+-]{1,120}:[A-Za-z0-9.-]{1,120}(?::[0-9]{1,5})?", re.ASCII)
_MAY_GO_ON = (":", "@", "#", "!")  # what the next piece must not make a link of
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_LOOKS_LIKE_LINK = re.compile(
    r"(?<=\w):(?=//)|(?<=www)\.|(?<=mailto):|(?<=matrix):|@(?=room)|[@#!](?=[^\s:]*:)", re.IGNORECASE
)
_NO_LINK = re.compile(r"https?://[^/]*matrix\.to(?![\w.-])", re.IGNORECASE)  # clients make a mention of it


def build(message: Message) -> Json:
    """Return the content of an ``m.room.message``."""
    people = [one for one in dict.fromkeys(message.mentions) if PERSON.fullmatch(one)][:MAX_MENTIONS]
    return {
        "msgtype": "m.notice",
        "body": _body(message, people),
        "format": "org.matrix.custom.html",
        "formatted_body": _html(message, people),
        # Present even when empty: without it some would look for names in the text.
        "m.mentions": {"user_ids": people} if people else {},
    }


def weight(text: str) -> int:
    """Return how many bytes a text has within JSON."""
    return len(text.encode("utf-8", "replace")) + sum(text.count(char) for char in '\\"\n')


def _fitted(text: str, limit: int, written: Callable[[str], str]) -> str:
    """Return what `written` makes of as much of `text` as fits: what is cut is the text, never the markup."""
    keep = min(limit, len(text) * 2)
    while keep > 0:
        part = shorten(text, keep)
        whole = written(part)
        if weight(whole) <= limit:
            return whole
        used = min(keep, len(part) * 2)
        keep = min(used - 1, used * limit // weight(whole))
    return ""


class _Room:
    """What is left for a part of the message."""

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, text: str, written: Callable[[str], str]) -> str:
        whole = _fitted(text, self.left, written)
        self.left -= weight(whole)
        return whole


# -- text


def _clean(text: str) -> str:
    return re.sub("[\u2028\u2029]", " ", _plain.tidy(text))


def _one_line(text: str) -> str:
    return " ".join(_clean(text).split())


def _inert(text: str) -> str:
    """Return the text so that no client makes a link or a mention of a part of it."""
    return _LOOKS_LIKE_LINK.sub(lambda found: found[0] + JOINER, text)


def _text(text: str) -> str:
    return html.escape(_inert(text)).replace("\n", "<br>")


def _link(written: str, address: str) -> str:
    return f'<a href="{html.escape(address)}">{written}</a>'


def _address(value: str | None) -> str | None:
    known = web_url(value)
    return known if known and not _NO_LINK.match(known) else None


# -- HTML


def _html(message: Message, people: list[str]) -> str:
    lines = [
        _bar(message.colour) + (_line(_flat(message.title), _Room(TITLE)).strip() or "(no text)"),
        " ".join(_link(html.escape(one), f"https://matrix.to/#/{one}") for one in people),
        *_body_parts(message.body),
        _facts(message.facts),
        _footer(message.footer),
        _links(message.buttons),
    ]
    return _joined(line for line in lines if line)


def _joined(parts: Iterator[str]) -> str:
    """Lines are parted by a break, lists and quotes by themselves."""
    whole = ""
    for part in parts:
        apart = whole and not whole.endswith(_ENDS) and not part.startswith(_BEGINS)
        whole += ("<br>" if apart else "") + part
    return whole


_BEGINS = ("<ul>", "<ol>", "<blockquote>", "<pre>")
_ENDS = ("</ul>", "</ol>", "</blockquote>", "</pre>")


def _bar(colour: str) -> str:
    shown = colour if _COLOUR.fullmatch(colour) else GREY
    return f'<span data-mx-color="{shown}">┃</span> '


def _flat(spans: Spans) -> Spans:
    return tuple(_with(span, re.sub(r"\s+", " ", _clean(span.text))) for span in spans)


def _with(span: Span, text: str, *, bold: bool = False) -> Span:
    return Span(text, span.bold or bold, span.italic, span.strike, span.code, span.link)


def _line(spans: Spans, room: _Room) -> str:
    whole = ""
    for span in spans:
        whole += (JOINER if whole.endswith(_MAY_GO_ON) else "") + _piece(span, room)
    return whole


def _piece(span: Span, room: _Room) -> str:
    if room.left <= 0:
        return ""
    address = _address(span.link)
    if address and weight(address) > room.left // 2:
        address = None
    text = re.sub(r"[ \t]*\n\s*", "\n", _clean(span.text[: 4 * room.left]))

    def written(part: str) -> str:
        core = part.strip()
        if not core:
            return part.replace("\n", "<br>")
        before, after = part[: part.index(core)], part[part.index(core) + len(core) :]
        return before.replace("\n", "<br>") + _formed(core, span, address) + after.replace("\n", "<br>")

    return room.take(text, written)


def _formed(text: str, span: Span, address: str | None) -> str:
    """Return text without space at its ends in its form."""
    whole = f"<code>{html.escape(' '.join(text.split()))}</code>" if span.code else _text(text)
    for tag, wanted in (("del", span.strike), ("em", span.italic), ("strong", span.bold)):
        whole = f"<{tag}>{whole}</{tag}>" if wanted else whole
    return _link(whole, address) if address else whole


def _body_parts(blocks: tuple[Block, ...]) -> Iterator[str]:
    room = _Room(BODY)
    for block in blocks:
        room.left -= len("<br>")
        part = _block(block, room)
        if part.strip():
            yield part


def _block(block: Block, room: _Room) -> str:
    match block:
        case Bullets():
            tag = "ol" if block.ordered else "ul"
            room.left -= len("<ul></ul>")
            items = "".join(_items(block, room))
            return f"<{tag}>{items}</{tag}>" if items else ""
        case Code():
            room.left -= len("<pre><code></code></pre>")
            code = room.take(_clean(block.text[: 4 * max(0, room.left)]).strip("\n"), html.escape)
            return f"<pre><code>{code}</code></pre>" if code.strip() else ""
        case Quote():
            room.left -= len("<blockquote></blockquote>")
            quote = _line(block.spans, room).strip()
            return f"<blockquote>{quote}</blockquote>" if quote else ""
        case Heading():
            return _line(tuple(_with(span, span.text, bold=True) for span in block.spans), room).strip()
        case _:
            return _line(block.spans, room).strip()


def _items(block: Bullets, room: _Room) -> Iterator[str]:
    shown = 0
    for item in block.items[:MAX_ITEMS]:
        room.left -= len("<li></li>")
        line = _line(item, room).strip()
        if line:
            shown += 1
            yield f"<li>{line}</li>"
    more = len(block.items) - shown
    if more > 0 and shown:
        yield f"<li>… and {more} more</li>"


def _facts(facts: tuple[tuple[str, Spans], ...]) -> str:
    """Return the facts on one line; what does not fit is left out, the last first."""
    room = _Room(FACTS)
    shown = [text for label, value in facts[:MAX_FACTS] if (text := _fact(label, value, room))]
    more = len(facts) - MAX_FACTS
    return " · ".join([*shown, *([f"and {more} more"] if more > 0 and shown else [])])


def _fact(label: str, value: Spans, room: _Room) -> str:
    own = _Room(min(room.left, 800))
    name = _fitted(_one_line(label), 200, _text)
    text = _line(_flat(value), own).strip()
    whole = f"<strong>{name}:</strong> {text}" if name else text
    if not text or weight(whole) > room.left:
        return ""
    room.left -= weight(whole) + len(" · ")
    return whole


def _footer(spans: Spans) -> str:
    text = _fitted(_one_line(text_of(spans)), FOOTER, _text)
    return f'<span data-mx-color="{GREY}">{text}</span>' if text else ""


def _links(buttons: tuple[Button, ...]) -> str:
    """Return the buttons as links; what does not fit is left out, the last first."""
    room = _Room(LINKS)
    links = []
    for button in buttons[:MAX_BUTTONS]:
        address, label = _address(button.url), _fitted(_one_line(button.text), LABEL, _text)
        link = _link(label, address) if address and label else ""
        if link and weight(link) <= room.left:
            room.left -= weight(link) + len(" · ")
            links.append(link)
    return " · ".join(links)


# -- the plain text, which notifications and small clients show


def _body(message: Message, people: list[str]) -> str:
    room = _Room(PLAIN)
    title = room.take(_plain.title(message), _inert).strip() or "(no text)"
    calls = " ".join(people)
    links = [link for one in message.buttons[:MAX_BUTTONS] if (link := _plain_link(one))]
    room.left -= sum(weight(line) + 2 for line in (calls, *links))
    rest = room.take("\n".join(line for line in _plain.lines(message) if line.strip())[: 4 * PLAIN], _inert)
    return "\n".join(line for line in (title, calls, rest, *links) if line.strip())


def _plain_link(button: Button) -> str:
    address, label = _address(button.url), _fitted(_one_line(button.text), LABEL, _inert)
    return f"{label}: {address}" if address and label and weight(address) <= 500 else ""
