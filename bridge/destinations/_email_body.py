"""How does a message read as a mail: its subject, its plain text and its HTML?

The HTML is one column with a stripe in the state's colour, in styles of its own that every mail program shows, without
pictures or scripts. What an event said is text in both: characters that mean something in HTML are entities, and bare
addresses are parted by a character without width, for mail programs make links of them. Links are the template's alone.
Text is cut before it is escaped, and all of it stays below what Gmail clips (102 kB). Pure; never raises on any text.

https://html.spec.whatwg.org/multipage/syntax.html#character-references
https://support.google.com/mail/answer/2999160
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape

from msgspec.structs import replace

from bridge.codec import web_url
from bridge.message import Block, Bullets, Button, Code, Heading, Message, Quote, Span, Spans, shorten, text_of

# In UTF-16 units of text.
SUBJECT, BODY, FACTS, FOOTER, LABEL = 200, 12_000, 4_000, 500, 80
MAX_FACTS, MAX_BUTTONS, MAX_ITEMS = 40, 8, 60
PART = 50  # what a paragraph costs beside its text

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufffe\uffff]")
_ADDRESS = re.compile(r":(?=//)|\bwww(?=\.)", re.IGNORECASE)
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
JOINER = "\u2060"  # takes no room and no meaning


def subject(message: Message) -> str:
    """Return the title on one line."""
    return shorten(one_line(text_of(message.title[:50])), SUBJECT) or "(no text)"


def one_line(text: str) -> str:
    return re.sub(r"\s+", " ", _clean(text[:4_000])).strip()


def _clean(text: str) -> str:
    return _CONTROL.sub("", text)


def _tame(text: str) -> str:
    """Return text in which no mail program finds an address to make a link of."""
    return _ADDRESS.sub(lambda found: found[0] + JOINER, text)


class _Room:
    """How much text a part of the mail may still have."""

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, text: str) -> str:
        """Return as much of `text` as fits."""
        cut = shorten(_clean(text[: max(0, 2 * self.left)]), max(0, self.left))
        self.left -= len(cut.encode("utf-16-le")) // 2
        return cut


def _cut(message: Message) -> Message:
    """Return the message with all that fits, so that text and HTML say the same."""
    room = _Room(FACTS)
    return replace(
        message,
        title=_spans(message.title[:50], _Room(2 * SUBJECT)),
        body=tuple(_blocks(message.body, _Room(BODY))),
        facts=tuple(_fact(label, value, room) for label, value in message.facts[:MAX_FACTS] if room.left > PART),
        footer=_spans(message.footer[:50], _Room(FOOTER)),
        buttons=tuple(
            Button(shorten(one_line(one.text), LABEL) or "Open", one.url)
            for one in message.buttons[:MAX_BUTTONS]
            if web_url(one.url)
        ),
    )


def _spans(spans: Spans, room: _Room) -> Spans:
    found = []
    for one in spans:
        address = web_url(one.link)
        room.left -= 10 + len(address or "")
        text = room.take(one.text)
        if text:
            found.append(replace(one, text=text, link=address))
    return tuple(found)


def _fact(label: str, value: Spans, room: _Room) -> tuple[str, Spans]:
    room.left -= PART
    return room.take(one_line(label)[:200]), _spans(value, room)


def _blocks(blocks: tuple[Block, ...], room: _Room) -> Iterator[Block]:
    for block in blocks:
        room.left -= PART
        if room.left <= 0:
            return
        match block:
            case Bullets():
                yield Bullets(tuple(_items(block, room)), block.ordered)
            case Code():
                yield Code(room.take(block.text).strip("\n"))
            case _:
                yield type(block)(_spans(block.spans, room))


def _items(block: Bullets, room: _Room) -> Iterator[Spans]:
    for item in block.items[:MAX_ITEMS]:
        room.left -= 20
        if room.left > 0:
            yield _spans(item, room)
    if len(block.items) > MAX_ITEMS:
        yield (Span(f"… and {len(block.items) - MAX_ITEMS} more"),)


# -- plain text


def text(message: Message) -> str:
    """Return the message as plain text: where its links lead stands at the end."""
    seen = _cut(message)
    lines = [_tame(text_of(seen.title)).strip() or "(no text)", ""]
    for block in seen.body:
        lines += _text_block(block)
    lines += [f"{_tame(one_line(label))}: {_plain(value)}" if label else _plain(value) for label, value in seen.facts]
    lines += ["", *(f"{_tame(one.text)}: {one.url}" for one in _links(seen))]
    lines += ["", _plain(seen.footer)]
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+$", "", "\n".join(lines), flags=re.MULTILINE)).strip() + "\n"


def _links(message: Message) -> Iterator[Button]:
    """Yield the buttons, and where the title leads if none of them leads there."""
    title = next((span.link for span in message.title if span.link), None)
    if title and title not in {one.url for one in message.buttons}:
        yield Button("Open", title)
    yield from message.buttons


def _plain(spans: Spans) -> str:
    return _tame(text_of(spans)).strip()


def _text_block(block: Block) -> Iterator[str]:
    match block:
        case Bullets():
            for number, item in enumerate(block.items, 1):
                mark = f"{number}. " if block.ordered else "- "
                if line := _plain(item):
                    yield mark + line.replace("\n", "\n" + " " * len(mark))
        case Code():
            yield "    " + _tame(block.text).replace("\n", "\n    ")
        case Quote():
            yield "> " + _plain(block.spans).replace("\n", "\n> ")
        case _:
            yield _plain(block.spans)


# -- HTML

_FRAME = "margin:0;padding:2px 0 2px 14px;max-width:640px;font:14px/1.5 'Segoe UI',Roboto,Helvetica,Arial,sans-serif"
_CODE = "background:#f3f4f6;border-radius:4px;font-family:Consolas,Menlo,monospace;font-size:13px"
_BUTTON = "display:inline-block;margin:0 8px 6px 0;padding:5px 12px;border-radius:6px;text-decoration:none"


def html(message: Message) -> str:
    """Return the message as HTML."""
    seen = _cut(message)
    colour = message.colour if _COLOUR.fullmatch(message.colour) else "#8b949e"
    parts = [
        f'<p style="margin:0 0 8px;font-size:16px">{_inline(seen.title) or "(no text)"}</p>',
        *filter(None, map(_html_block, seen.body)),
        _facts(seen.facts),
        _buttons(seen.buttons),
        f'<p style="margin:8px 0 0;font-size:12px;color:#6b7280">{_inline(seen.footer)}</p>' if seen.footer else "",
    ]
    inner = "\n".join(filter(None, parts))
    return f'<div style="{_FRAME};border-left:4px solid {colour}">\n{inner}\n</div>\n'


def _html_block(block: Block) -> str:
    match block:
        case Bullets():
            kind = "ol" if block.ordered else "ul"
            items = "".join(f"<li>{shown}</li>" for item in block.items if (shown := _inline(item)))
            return f'<{kind} style="margin:0 0 8px;padding-left:20px">{items}</{kind}>' if items else ""
        case Code():
            shown = escape(_tame(block.text), quote=False)
            return (
                f'<pre style="margin:0 0 8px;padding:8px;{_CODE};white-space:pre-wrap">{shown}</pre>' if shown else ""
            )
        case Quote():
            style = "margin:0 0 8px;padding-left:10px;border-left:2px solid #d1d5db;color:#4b5563"
            return f'<blockquote style="{style}">{shown}</blockquote>' if (shown := _inline(block.spans)) else ""
        case Heading():
            return f'<p style="margin:0 0 4px"><b>{shown}</b></p>' if (shown := _inline(block.spans)) else ""
        case _:
            return f'<p style="margin:0 0 8px">{shown}</p>' if (shown := _inline(block.spans)) else ""


def _inline(spans: Spans) -> str:
    return "".join(map(_formed, spans)).strip()


def _formed(span: Span) -> str:
    shown = escape(_tame(span.text), quote=False).replace("\n", "<br>")
    if span.code:
        shown = f'<code style="{_CODE};padding:1px 4px">{shown}</code>'
    for mark, wanted in (("b", span.bold), ("i", span.italic), ("s", span.strike)):
        shown = f"<{mark}>{shown}</{mark}>" if wanted else shown
    return f'<a href="{escape(span.link)}" style="color:#0969da">{shown}</a>' if span.link else shown


def _facts(facts: tuple[tuple[str, Spans], ...]) -> str:
    rows = "".join(
        f'<tr><td style="padding:0 12px 2px 0;color:#6b7280">{escape(_tame(one_line(label)), quote=False)}</td>'
        f'<td style="padding:0 0 2px">{_inline(value)}</td></tr>'
        for label, value in facts
    )
    return f'<table style="margin:0 0 8px;border-collapse:collapse;font-size:14px">{rows}</table>' if rows else ""


def _buttons(buttons: tuple[Button, ...]) -> str:
    links = "".join(
        f'<a href="{escape(one.url)}" style="{_BUTTON};border:1px solid #d1d5db;color:#1f2328">'
        f"{escape(_tame(one.text), quote=False)}</a>"
        for one in buttons
    )
    return f'<p style="margin:8px 0 0">{links}</p>' if links else ""
