"""How does a message look as Telegram's HTML, within every limit?

One text: the title, whom it calls, the text, the facts, the footer; link buttons below. Telegram counts what is left
when the markup is taken out (4,096), and forgets what has a form after the hundredth. In text without a form it
still finds names (@x), commands (/x), tags (#x, $X) and addresses, with or without https: a character that takes no
room parts them. Too long is shortened, never refused. Pure; never raises on any text.

https://core.telegram.org/bots/api#html-style · #inlinekeyboardbutton
https://core.telegram.org/api/entities
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from typing import Any

from msgspec.structs import replace

from bridge.codec import web_url
from bridge.destinations._markdown import GAP, JOINER, clean, fitted, one_line, units
from bridge.message import Block, Bullets, Button, Code, Heading, Message, Quote, Span, Spans, text_of

Json = dict[str, Any]

WHOLE, TITLE, BODY, FACTS, FACT, FOOTER = 4_096, 600, 2_200, 700, 300, 300
MAX_FORMS, MAX_ITEMS, MAX_FACTS, MAX_BUTTONS, MAX_MENTIONS = 90, 40, 20, 6, 10
ROW, BUTTON, LONGEST_URL = 2, 64, 1_000

NAME = re.compile(r"@[A-Za-z][A-Za-z0-9_]{3,31}")
NUMBER = re.compile(r"[1-9][0-9]{0,19}")


class _Room:
    """What is left for a part of the message, and for forms in all of it."""

    def __init__(self, left: int, forms: list[int]) -> None:
        self.left = left
        self._forms = forms

    def take(self, text: str) -> str:
        """Return as much of `text` as there is room for, parted but not escaped."""
        taken = fitted(text, self.left, _parted)
        self.left -= units(taken)
        return taken

    def code(self, text: str) -> str:
        """The same for code, where Telegram finds nothing."""
        taken = fitted(text, self.left, str)
        self.left -= units(taken)
        return taken

    def form(self, count: int) -> bool:
        """Return whether so many more forms are allowed, and count them."""
        if self._forms[0] < count:
            return False
        self._forms[0] -= count
        return True


def build(message: Message) -> Json:
    """Return ``text`` and, where there are any, ``reply_markup``."""
    forms = [MAX_FORMS]
    calls = list(_calls(message.mentions, forms))
    shown, left = _sorted(message.buttons)
    head = " ".join([_line(_flat(message.title), _Room(TITLE, forms)).strip() or "(no text)", *calls])
    parts = (
        head,
        _body(message.body, _Room(BODY, forms)),
        _facts(message.facts, _Room(FACTS, forms)),
        _footer(message.footer, _Room(FOOTER, forms)),
        "\n".join(_addresses(left)),
    )
    body: Json = {"text": "\n".join(part for part in parts if part)}
    rows = [shown[at : at + ROW] for at in range(0, len(shown), ROW)]
    return body | ({"reply_markup": {"inline_keyboard": rows}} if rows else {})


# -- a stranger's text

_FOUND = re.compile(
    r"(?P<at>@)|(?<!\w)(?P<slash>/)(?=\w|$)|(?P<tag>#)(?=\d*[^\W\d]|$)|(?P<cash>\$)(?=[A-Za-z]|$)"
    r"|(?P<scheme>:)(?=/|$)|(?P<dot>[.。．｡])(?=[^\W\d_]|$)",
    re.MULTILINE,
)


def _parted(text: str) -> str:
    """Return `text` so that Telegram finds no name, command, tag or address in it, also with what comes before it."""
    return _FOUND.sub(lambda found: found[0] + (GAP if found["at"] else JOINER), text)


def _link(text: str, address: str) -> str:
    return f'<a href="{escape(address)}">{text}</a>'


def _safe(address: str | None, longest: int = LONGEST_URL) -> str | None:
    """Return an address that Telegram takes. For a button to http://ci/run/1 it refuses the whole message."""
    known = web_url(address)
    fits = known and known.isascii() and len(known) <= longest and re.match(r"https?://[^/?#@]*\w\.[A-Za-z0-9]", known)
    return known if fits else None


# -- lines


def _flat(spans: Spans) -> Spans:
    return tuple(replace(span, text=re.sub(r"\s+", " ", clean(span.text))) for span in spans)


def _line(spans: Spans, room: _Room) -> str:
    return "".join(_piece(span, room) for span in spans)


def _piece(span: Span, room: _Room) -> str:
    text = re.sub(r"[ \t]*\n\s*", "\n", clean(span.text[: 4 * max(room.left, 0)]))
    address = _safe(span.link)
    # Telegram knows no link within code, and no other form either.
    code = span.code and not address
    core = room.code(re.sub(r"\s+", " ", text)) if code else room.take(text)
    if not core.strip():
        return core
    tags = ["code"] if code else [tag for tag in ("b", "i", "s") if getattr(span, _TAGS[tag])]
    if not room.form(len(tags) + bool(address)):
        return escape(_parted(core) if code else core, quote=False)
    start = len(core) - len(core.lstrip())
    end = len(core.rstrip())
    inner = escape(core[start:end], quote=False)
    inner = _link(inner, address) if address else inner
    opened, closed = "".join(f"<{tag}>" for tag in tags), "".join(f"</{tag}>" for tag in reversed(tags))
    return core[:start] + opened + inner + closed + core[end:]


_TAGS = {"b": "bold", "i": "italic", "s": "strike"}


def _calls(mentions: tuple[str, ...], forms: list[int]) -> Iterator[str]:
    """Whom the message calls: by name, or by number where somebody has no name."""
    known = dict.fromkeys(one for one in mentions if NAME.fullmatch(one) or NUMBER.fullmatch(one))
    for one in list(known)[:MAX_MENTIONS]:
        forms[0] -= 1
        yield one if one.startswith("@") else _link("🔔", f"tg://user?id={one}")


# -- parts


def _body(blocks: tuple[Block, ...], room: _Room) -> str:
    text = ""
    for block in blocks:
        room.left -= 1
        part = _block(block, room).strip("\n")
        if part.strip():
            text += ("\n" if text else "") + part
    return text


def _block(block: Block, room: _Room) -> str:
    match block:
        case Bullets():
            return "\n".join(_bullets(block, room))
        case Code():
            code = room.code(clean(block.text).strip("\n"))
            return f"<pre>{escape(code, quote=False)}</pre>" if code.strip() and room.form(1) else ""
        case Quote():
            inner = _line(block.spans, room).strip() if room.form(1) else ""
            return f"<blockquote>{inner}</blockquote>" if inner else ""
        case Heading():
            return _line(tuple(replace(span, bold=True) for span in block.spans), room)
        case _:
            return _line(block.spans, room)


def _bullets(block: Bullets, room: _Room) -> Iterator[str]:
    shown = 0
    for number, item in enumerate(block.items[:MAX_ITEMS], 1):
        room.left -= 5
        line = _line(item, room).strip()
        if line:
            shown += 1
            yield f"{number}. {line}" if block.ordered else f"• {line}"
    more = len(block.items) - shown
    if more > 0 and shown:
        yield f"… and {more} more"


def _facts(facts: tuple[tuple[str, Spans], ...], room: _Room) -> str:
    lines = [line for label, value in facts[:MAX_FACTS] if (line := _fact(label, value, room))]
    more = len(facts) - MAX_FACTS
    return "\n".join([*lines, *([f"… and {more} more"] if more > 0 and lines else [])])


def _fact(label: str, value: Spans, room: _Room) -> str:
    """Return ``<b>Region:</b> eu-north-1``, or nothing where there is no room: a fact is whole or not there."""
    before = room.left
    room.left = own = min(before - 4, FACT)
    if own <= 0:
        return ""
    named = _line((Span(f"{one_line(label)}:", bold=True),), room) if one_line(label) else ""
    text = _line(_flat(value), room).strip()
    room.left = before - 4 - (own - room.left) if text else before
    return f"{named} {text}".strip() if text else ""


def _footer(spans: Spans, room: _Room) -> str:
    text = room.take(one_line(text_of(spans))).strip()
    return f"<i>{escape(text, quote=False)}</i>" if text and room.form(1) else ""


# -- buttons


def _sorted(buttons: tuple[Button, ...]) -> tuple[list[Json], list[Button]]:
    """Return the buttons that Telegram takes, and those with an address of one's own network."""
    shown, left = [], []
    for button in buttons[:MAX_BUTTONS]:
        label = fitted(one_line(button.text), BUTTON, str).strip()
        address = _safe(button.url)
        if label and address:
            shown.append({"text": label, "url": address})
        elif label and (known := web_url(button.url)) and len(known) <= 100:
            left.append(Button(label, known))
    return shown, left[:2]


def _addresses(buttons: list[Button]) -> Iterator[str]:
    """Telegram makes no link of an address without a dot: it is there to be copied, by a tap."""
    for button in buttons:
        yield f"{escape(_parted(button.text), quote=False)}: <code>{escape(button.url, quote=False)}</code>"
