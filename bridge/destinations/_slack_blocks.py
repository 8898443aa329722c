"""How does a message look as Slack's JSON, within every limit?

What an event said stands only in ``rich_text`` and ``plain_text``, where Slack reads nothing into it, and escaped in
the one-line ``text`` that notifications show. Bold, links and mentions are structure. Too long is shortened, never
refused. Pure; never raises on any text.

https://docs.slack.dev/reference/block-kit/blocks/rich-text-block
https://docs.slack.dev/messaging/formatting-message-text
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from bridge.codec import web_url
from bridge.message import Block, Bullets, Button, Code, Heading, Message, Quote, Span, Spans, shorten, text_of
from bridge.render.native import escaped, shown

Json = dict[str, Any]

# Slack counts 12,000 or so over the whole message (msg_blocks_too_long); ours are parts of that.
TEXT, TITLE, BODY, FACT, FOOTER, BUTTON = 500, 800, 7_800, 200, 400, 75
WHOLE = 12_000
MAX_ITEMS, MAX_PIECES, MAX_FACTS, MAX_BUTTONS, MAX_MENTIONS = 40, 300, 9, 5, 20

_USER = re.compile(r"[UW][A-Z0-9]{2,20}")
_GROUP = re.compile(r"S[A-Z0-9]{2,20}")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}|good|warning|danger")


def build(message: Message) -> Json:
    """Return the message as ``text``, ``blocks`` and ``attachments``, without channel and thread."""
    content = _native(message) if message.native is not None else _content(message)
    return {**content, "unfurl_links": False, "unfurl_media": False}


def _content(message: Message) -> Json:
    content: Json = {"text": _summary(message), "blocks": [_title(message)]}
    below = [block for block in (_body(message), _context(message), _actions(message.buttons)) if block]
    if below:
        content["attachments"] = [{"color": _colour(message), "blocks": below}]
    return content


def _shorten_mrkdwn(text: str, limit: int) -> str:
    """The same for mrkdwn, where half an entity or half a link would be worse than none."""
    cut = shorten(text, limit)
    return cut if cut == text else re.sub(r"(?:&[a-z]{0,3}|<[^<>]*)…$", "…", cut)


def _summary(message: Message, title: str = "") -> str:
    """The line that notifications show. `title` is mrkdwn already."""
    title = _shorten_mrkdwn(title.strip() or escaped(text_of(message.title)).strip(), TEXT) or "(no text)"
    people = [f"<@{one}>" if _USER.fullmatch(one) else f"<!subteam^{one}>" for one in _mentions(message)]
    return " ".join([title, *people])


def _mentions(message: Message) -> list[str]:
    """The ids that Slack can mention, each once."""
    known = [one for one in message.mentions if _USER.fullmatch(one) or _GROUP.fullmatch(one)]
    return list(dict.fromkeys(known))[:MAX_MENTIONS]


def _mention_pieces(message: Message) -> Iterator[Json]:
    for one in _mentions(message):
        yield {"type": "text", "text": " "}
        if _USER.fullmatch(one):
            yield {"type": "user", "user_id": one}
        else:
            yield {"type": "usergroup", "usergroup_id": one}


def _colour(message: Message) -> str:
    return message.colour if _COLOUR.fullmatch(message.colour) else "#8b949e"


# -- rich text


class _Room:
    """What is left for texts and pieces of one part of the message."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.pieces = MAX_PIECES

    def take(self, text: str, limit: int = 3_000) -> str:
        """Return as much of `text` as there is room for."""
        if self.left <= 0 or self.pieces <= 0:
            return ""
        taken = shorten(shown(text), min(self.left, limit))
        self.left -= len(taken.encode("utf-16-le")) // 2
        self.pieces -= 1
        return taken


def _title(message: Message) -> Json:
    pieces = _pieces(message.title, _Room(TITLE), lines=False) or [{"type": "text", "text": "(no text)"}]
    return _rich_text([_section([*pieces, *_mention_pieces(message)])])


def _rich_text(elements: list[Json]) -> Json:
    return {"type": "rich_text", "elements": elements}


def _section(pieces: list[Json]) -> Json:
    return {"type": "rich_text_section", "elements": pieces}


def _pieces(spans: Spans, room: _Room, *, lines: bool = True) -> list[Json]:
    return [piece for span in spans if (piece := _piece(span, room, lines))]


def _piece(span: Span, room: _Room, lines: bool) -> Json | None:
    text = room.take(span.text if lines else re.sub(r"\s+", " ", span.text))
    if not text:
        return None
    address = web_url(span.link)
    piece: Json = {"type": "link", "url": address, "text": text} if address else {"type": "text", "text": text}
    style = {name: True for name in ("bold", "italic", "strike", "code") if getattr(span, name)}
    return {**piece, "style": style} if style else piece


def _body(message: Message) -> Json | None:
    room = _Room(BODY)
    elements = [element for block in message.body for element in _elements(block, room)]
    return _rich_text(elements) if elements else None


def _elements(block: Block, room: _Room) -> Iterator[Json]:
    match block:
        case Bullets():
            yield from _bullets(block, room)
        case Code():
            if text := room.take(block.text):
                yield {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": text}]}
        case Quote():
            if pieces := _pieces(block.spans, room):
                yield {"type": "rich_text_quote", "elements": pieces}
        case Heading():
            bold = tuple(Span(one.text, True, one.italic, one.strike, one.code, one.link) for one in block.spans)
            if pieces := _pieces(bold, room):
                yield _section(pieces)
        case _:
            if pieces := _pieces(block.spans, room):
                yield _section(pieces)


def _bullets(block: Bullets, room: _Room) -> Iterator[Json]:
    items = [_section(pieces) for item in block.items[:MAX_ITEMS] if (pieces := _pieces(item, room))]
    more = len(block.items) - len(items)
    if more > 0 and items:
        items.append(_section([{"type": "text", "text": f"… and {more} more"}]))
    if items:
        yield {"type": "rich_text_list", "style": "ordered" if block.ordered else "bullet", "elements": items}


# -- what stands below


def _context(message: Message) -> Json | None:
    texts = [_fact(label, text_of(value)) for label, value in message.facts]
    if len(texts) > MAX_FACTS:
        texts = [*texts[: MAX_FACTS - 1], f"and {len(texts) - MAX_FACTS + 1} more"]
    texts.append(shorten(_one_line(text_of(message.footer)), FOOTER))
    elements = [_plain_text(text) for text in texts if text]
    return {"type": "context", "elements": elements} if elements else None


def _fact(label: str, value: str) -> str:
    value = _one_line(value)
    return shorten(f"{_one_line(label)}: {value}" if label and value else value, FACT)


def _one_line(text: str) -> str:
    return shown(re.sub(r"\s+", " ", text).strip())


def _plain_text(text: str) -> Json:
    return {"type": "plain_text", "text": text, "emoji": False}


def _actions(buttons: tuple[Button, ...]) -> Json | None:
    elements = [
        {"type": "button", "text": _plain_text(text), "url": address, "action_id": f"open-{number}"}
        for number, button in enumerate(buttons[:MAX_BUTTONS], 1)
        if (text := shorten(_one_line(button.text), BUTTON)) and (address := web_url(button.url))
    ]
    return {"type": "actions", "elements": elements} if elements else None


# -- a template's own JSON: its shape is kept, its lengths are not


_TEXT_LIMITS = {"header": 150, "button": 75, "fields": 2_000}
_KEY_LIMITS = {"alt_text": 2_000, "value": 2_000, "action_id": 255, "block_id": 255, "fallback": 500}
_COUNTS = {"blocks": 50, "attachments": 20, "fields": 10, "actions": 25, "context": 10}
_NEEDS_TEXT = frozenset({"mrkdwn", "plain_text", "text", "markdown"})
_NEEDS_ONE_OF = {
    "section": ("text", "fields"),
    "header": ("text",),
    "button": ("text",),
    "context": ("elements",),
    "actions": ("elements",),
    "rich_text": ("elements",),
    "rich_text_section": ("elements",),
    "rich_text_list": ("elements",),
    "rich_text_quote": ("elements",),
    "rich_text_preformatted": ("elements",),
}


def _native(message: Message) -> Json:
    """Return the template's ``text``, ``blocks`` and ``attachments`` within the limits; other keys are not its own."""
    native = message.native or {}
    room = _Room(WHOLE - TEXT - 100)
    room.pieces = 2_000
    text = native.get("text")
    content: Json = {"text": _summary(message, text if isinstance(text, str) else "")}
    blocks, attachments = (_capped(_listed(native.get(key)), key, room) or [] for key in ("blocks", "attachments"))
    if _mentions(message):
        blocks = [*blocks[:49], _rich_text([_section(list(_mention_pieces(message))[1:])])]
    attachments = [{"color": _colour(message)} | one for one in attachments]
    return content | {key: value for key, value in (("blocks", blocks), ("attachments", attachments)) if value}


def _listed(value: Any) -> list[Json]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _capped(node: Any, where: str, room: _Room) -> Any:
    """Return a part of the template's JSON with every text and list cut to its limit; None is what becomes empty."""
    if isinstance(node, list):
        kept = [one for one in (_capped(one, where, room) for one in node) if one is not None]
        return kept[: _COUNTS.get(where, 100)] or None
    if isinstance(node, dict):
        return _capped_object(node, where, room)
    return node


def _capped_object(node: Json, where: str, room: _Room) -> Json | None:
    kind = str(node.get("type") or where)
    kept: Json = {}
    for key, value in node.items():
        if isinstance(value, str):
            text = _capped_text(value, key, kind, where, room)
            if text:
                kept[key] = text
        else:
            inner = kind if key in ("text", "elements") else key
            capped = _capped(value, inner, room)
            if capped is not None:
                kept[key] = capped
    if kind in _NEEDS_TEXT and "text" not in kept:
        return None
    if kind in _NEEDS_ONE_OF and not any(key in kept for key in _NEEDS_ONE_OF[kind]):
        return None
    return kept


def _capped_text(value: str, key: str, kind: str, where: str, room: _Room) -> str:
    if key not in ("text", "title", "pretext", "footer", "author_name"):
        return shorten(value, _KEY_LIMITS.get(key, 3_000))
    limit = min(_TEXT_LIMITS.get(where, 3_000), room.left)
    cut = _shorten_mrkdwn(value, limit) if kind == "mrkdwn" or where == "attachments" else shorten(value, limit)
    room.left -= len(cut)
    return cut if cut.strip() or kind == "text" else ""
