"""How does a message look as a card in Google Chat, within every limit?

One card of text paragraphs, whose HTML is a handful of tags: the title in the state's colour, the text, the facts, the
footer; link buttons below. What an event said is escaped there; where nothing is read (buttons, `fallbackText`), what
could mean something is parted all the same. `text` holds nothing but whom a rule mentions: it alone is looked through
for mentions. Too long is shortened, never refused. Pure; never raises on any text.

https://developers.google.com/workspace/chat/format-messages#card-formatting
https://developers.google.com/workspace/chat/api/reference/rest/v1/cards
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from bridge.codec import web_url
from bridge.destinations import _own
from bridge.event import Status
from bridge.message import Block, Bullets, Button, Code, Heading, Message, Quote, Span, Spans, shorten, text_of

Json = dict[str, Any]

# Google Chat takes 32,000 bytes of text and cards; counted here as if every letter that is not ASCII cost six.
BODY, FACTS, TITLE, FOOTER, BUTTONS = 14_000, 6_000, 2_500, 1_500, 4_000
TITLE_UNITS, FOOTER_UNITS, LABEL_UNITS, BUTTON_UNITS, FALLBACK_UNITS = 250, 250, 80, 60, 200
MAX_BUTTONS, MAX_MENTIONS, MAX_ITEMS, MAX_FACTS, MAX_BLOCKS = 6, 20, 30, 25, 60
GAP = "\u2060"  # takes no room and no meaning, and parts what a parser would read together
QUIET, CODE = "#6e7781", "#57606a"

PERSON = re.compile(r"[1-9][0-9]{4,29}", re.ASCII)
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_ADDRESS = re.compile(r"https?://[\w.~%:@\[\]-]+(?:[/?#][!-~]*)?", re.ASCII)
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_LIVELY = re.compile(r"[<&](?=\S)")


def build(message: Message) -> Json:
    """Return ``cardsV2``, ``fallbackText`` and, where somebody is mentioned, ``text``."""
    calls = " ".join(f"<users/{one}>" for one in _mentions(message))
    title = shorten(_one_line(text_of(message.title[:40])), FALLBACK_UNITS).strip() or "(no text)"
    said, card = _own_parts(message)
    whole = " ".join(part for part in (said, calls) if part)
    cards = [{"cardId": "bridge", "card": card}] if card else []
    if not said and not card:
        cards = [{"cardId": "bridge", "card": {"sections": list(_sections(message))}}]
    return {
        **({"text": whole} if whole else {}),
        "fallbackText": _shown(title),
        **({"cardsV2": cards} if cards else {}),
    }


def size(text: Any) -> int:
    """Return how many bytes something is at most as JSON."""
    return len(json.dumps(text))


def _mentions(message: Message) -> list[str]:
    return list(dict.fromkeys(one for one in message.mentions if PERSON.fullmatch(one)))[:MAX_MENTIONS]


def _sections(message: Message) -> Iterator[Json]:
    said = [_title(message), _body(message.body), _facts(message.facts), _footer(message.footer)]
    widgets: list[Json] = [{"textParagraph": {"text": text}} for text in said if text]
    buttons = _buttons(message.buttons)
    yield {"widgets": [*widgets, *([{"buttonList": {"buttons": buttons}}] if buttons else [])]}


def _title(message: Message) -> str:
    colour = message.colour if _COLOUR.fullmatch(message.colour) and message.status is not Status.UNKNOWN else ""
    spans = tuple(_with(span, re.sub(r"\s+", " ", span.text), bold=True) for span in message.title)
    text = _line(_cut(spans, TITLE_UNITS), _Room(TITLE), colour).strip()
    return text or "<b>(no text)</b>"


def _footer(spans: Spans) -> str:
    plain = (Span(re.sub(r"\s+", " ", text_of(spans))),)
    return _line(_cut(plain, FOOTER_UNITS), _Room(FOOTER), QUIET).strip()


def _facts(facts: tuple[tuple[str, Spans], ...]) -> str:
    """Return a line per fact. A widget made for that has a label that is cut without a word."""
    room = _Room(FACTS)
    lines = []
    for label, value in facts[:MAX_FACTS]:
        name = shorten(_one_line(label), LABEL_UNITS).strip()
        spans = tuple(_with(span, re.sub(r"\s+", " ", span.text)) for span in value)
        if not _clean(text_of(spans)).strip() or not room.has(100):
            continue
        bold = (Span(f"{name}:", bold=True), Span(" ")) if name else ()
        lines.append(_line((*bold, *spans), room))
    return "<br>".join(lines)


def _buttons(buttons: tuple[Button, ...]) -> list[Json]:
    shown: list[Json] = []
    left = BUTTONS
    for button in buttons:
        address, label = _target(button.url), _shown(shorten(_one_line(button.text), BUTTON_UNITS).strip())
        one = {"text": label, "onClick": {"openLink": {"url": address}}}
        if not label or not address or size(one) > left:
            continue
        left -= size(one)
        shown.append(one)
    return shown[:MAX_BUTTONS]


def _target(address: str | None) -> str | None:
    """Return an address that every program takes for one: the whole message is refused for a bad one."""
    known = web_url(address)
    target = quote(known.encode("utf-8", "replace"), safe="!#$%&()*+,-./:;=?@[]_~") if known else ""
    return target if _ADDRESS.fullmatch(target) else None


# -- text


def _clean(text: str) -> str:
    """Return text that can be encoded and does not turn the order of a line."""
    return _CONTROL.sub("", text.encode("utf-16-le", "replace").decode("utf-16-le", "replace"))


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", _clean(text)).strip()


def _shown(text: str) -> str:
    """Return plain text for where nothing is read: not even a second reading finds a tag or a mention."""
    return _LIVELY.sub(lambda found: found[0] + GAP, text)


def _with(span: Span, text: str, *, bold: bool = False) -> Span:
    return Span(text, bold or span.bold, span.italic, span.strike, span.code, span.link)


def _cut(spans: Spans, units: int) -> Spans:
    """Return the spans in at most so many characters."""
    kept = []
    for span in spans:
        text = shorten(_clean(span.text[: 4 * units]), max(0, units))
        units -= len(text.encode("utf-16-le")) // 2
        kept.append(_with(span, text))
    return tuple(kept)


class _Room:
    """The bytes that are left for a part of the card."""

    def __init__(self, left: int) -> None:
        self.left = left

    def has(self, some: int) -> bool:
        return self.left > some

    def take(self, text: str, before: str, after: str) -> str:
        """Return as much of `text` as fits between its tags: what is cut is the text, never the markup."""
        around = size(before + after)
        keep = self.left
        while keep > 0:
            part = shorten(text, keep)
            written = html.escape(part, quote=False).replace("\n", "<br>")
            over = size(written) + around - self.left
            if over <= 0:
                self.left -= size(written) + around
                return before + written + after if part else ""
            keep = min(keep, len(text.encode("utf-16-le")) // 2) - max(1, over // 8)  # no character costs more
        return ""


def _line(spans: Spans, room: _Room, colour: str = "") -> str:
    return "".join(_piece(span, room, colour) for span in spans)


def _piece(span: Span, room: _Room, colour: str) -> str:
    text = re.sub(r"[ \t]*\n[ \t\n]*", "\n", _clean(span.text[: max(0, room.left)]))
    address = _target(span.link)
    if address and size(address) > room.left // 2:
        address = None
    shade = CODE if span.code else colour
    marks = [
        *([("a", f' href="{html.escape(address)}"')] if address else []),
        *([("font", f' color="{shade}"')] if shade else []),
        *([("b", "")] if span.bold else []),
        *([("i", "")] if span.italic else []),
        *([("s", "")] if span.strike else []),
    ]
    before = "".join(f"<{tag}{more}>" for tag, more in marks)
    return room.take(text, before, "".join(f"</{tag}>" for tag, _ in reversed(marks)))


# -- blocks


def _body(blocks: tuple[Block, ...]) -> str:
    room = _Room(BODY)
    whole = ""
    for block in blocks[:MAX_BLOCKS]:
        room.left -= 10
        text = _block(block, room) if room.has(100) else ""
        if re.sub(r"<[^>]*>", "", text).strip():
            whole += ("<br>" if whole else "") + text
    return whole


def _block(block: Block, room: _Room) -> str:
    match block:
        case Bullets():
            return "<br>".join(_bullets(block, room))
        case Code():
            # Spaces that open a line would be left out: they are made to stay.
            kept = re.sub(r"(?m)^ +|\t", lambda found: "\u00a0" * len(found[0]), block.text[:BODY].strip("\n"))
            return _line((Span(kept, code=True),), room)
        case Quote():
            return _line(
                tuple(Span(one.text, one.bold, True, one.strike, one.code, one.link) for one in block.spans), room
            )
        case Heading():
            return _line(tuple(_with(one, one.text, bold=True) for one in block.spans), room)
        case _:
            return _line(block.spans, room)


def _bullets(block: Bullets, room: _Room) -> Iterator[str]:
    shown = 0
    for number, item in enumerate(block.items[:MAX_ITEMS], 1):
        room.left -= 12
        line = _line(item, room) if room.has(60) else ""
        if re.sub(r"<[^>]*>", "", line).strip():
            shown += 1
            yield f"{number}. {line}" if block.ordered else f"• {line}"
    more = len(block.items) - shown
    if more > 0 and shown:
        yield f"• … and {more} more"


# -- a template's own JSON: its shape is kept

OWN_TEXT, OWN_CARD = 4_000, 24_000


def _own_parts(message: Message) -> tuple[str, Json]:
    """Return the template's ``text`` and its first card, each empty where there is none."""
    native = message.native or {}
    card: Any = native if "sections" in native else native.get("card")
    if card is None:
        card = next((one.get("card") for one in _own.listed(native.get("cardsV2"))), None)
    card = card if isinstance(card, dict) else {}
    head = _own.sound(card.get("header"), lambda part: bool(part.get("title")))
    sections = list(_own.fitting(_own.sound(_own.listed(card.get("sections")), _says), OWN_CARD))
    kept = {**({"header": head} if head else {}), "sections": sections} if sections else {}
    return _own.text(native.get("text"), OWN_TEXT), kept


_NEEDS = {"textParagraph": "text", "decoratedText": "text", "buttonList": "buttons", "image": "imageUrl"}


def _says(part: Json) -> bool:
    """Return whether a part of a card says anything: the whole message is refused for an empty one."""
    if not part or any(part.get(key) == "" for key in ("text", "url", "imageUrl")):
        return False
    if "header" in part and "widgets" not in part:
        return False
    return all(_NEEDS[key] in inner for key, inner in part.items() if key in _NEEDS and isinstance(inner, dict))
