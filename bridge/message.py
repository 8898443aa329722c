"""What is to be told, before any chat's dialect: a small tree of text.

Trust is carried by structure. Every `text` here is plain, unescaped characters, whether a template or an event wrote
them; what is bold, a link or a mention is said by the node around it. A destination escapes each text for the place
where it puts it, and so nothing that came from an event can mention, link or break anything.
"""

from __future__ import annotations

from typing import Any

import msgspec

from bridge.event import Change, Event, Kind, Status

DEFAULT_TEMPLATE = {kind: "run" if kind is Kind.PIPELINE else kind.value for kind in Kind}
"""The template of an event whose rule names none, by the event's kind."""

COLLECTED = "collected"
"""The template of what was collected out of hours."""

REMINDER = "reminder"
"""The template of what is said again while something stays broken."""


class Span(msgspec.Struct, frozen=True):
    """A piece of one line. `link` is an absolute http(s) address. A "\\n" in `text` is a line break."""

    text: str
    bold: bool = False
    italic: bool = False
    strike: bool = False
    code: bool = False
    link: str | None = None


Spans = tuple[Span, ...]


class Paragraph(msgspec.Struct, frozen=True):
    spans: Spans


class Heading(msgspec.Struct, frozen=True):
    spans: Spans


class Bullets(msgspec.Struct, frozen=True):
    items: tuple[Spans, ...]
    ordered: bool = False


class Quote(msgspec.Struct, frozen=True):
    spans: Spans


class Code(msgspec.Struct, frozen=True):
    text: str


Block = Paragraph | Heading | Bullets | Quote | Code


class Button(msgspec.Struct, frozen=True):
    """A link shown as a button."""

    text: str
    url: str


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message, the same for every chat.

    `mentions` are the chat's own ids of people to notify (from the configuration, never from an event). `native` is a
    platform template's JSON (``slack/NAME.json.j2``), already escaped for its places: then only mentions, colour and
    thread are left to the destination. `event` is what the message tells of, with the newest state of its tasks, for a
    destination that is a program: everybody else is told by the words. It is kept in no database with the message.
    """

    title: Spans
    body: tuple[Block, ...] = ()
    facts: tuple[tuple[str, Spans], ...] = ()
    footer: Spans = ()
    buttons: tuple[Button, ...] = ()
    mentions: tuple[str, ...] = ()
    status: Status = Status.UNKNOWN
    change: Change | None = None
    colour: str = "#8b949e"
    emoji: str = ""
    native: dict[str, Any] | None = None
    event: Event | None = None


def text_of(spans: Spans) -> str:
    """Return the characters of `spans` without their form."""
    return "".join(span.text for span in spans)


def shorten(text: str, limit: int) -> str:
    """Return `text` in at most `limit` UTF-16 units, the most that any chat counts, with an ellipsis where it was cut.

    What comes back can be encoded: half a pair is a question mark.
    """
    units = text.encode("utf-16-le", "replace")
    if len(units) <= 2 * limit:
        return units.decode("utf-16-le", "replace")
    return units[: 2 * (limit - 1)].decode("utf-16-le", "ignore").rstrip() + "…" if limit > 0 else ""
