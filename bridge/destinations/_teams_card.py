"""How does a message look as an Adaptive Card in Teams, within every limit?

A container in the state's colour with the title, below it the text, the facts, the footer; buttons that are links. What
an event said stands only in text runs, which know no Markdown: there is nothing to escape but `<at>`, for an `<at>`
without its entity makes the post fail. Whom a rule mentions stands in a text block of its own, with its entities.

Teams takes a card that it cannot show and fails later, unseen. So a card is never too large and never has an empty
text: what is too long is shortened, and what has no room is left out, the last first. Pure; never raises on any text.

https://adaptivecards.io/explorer/RichTextBlock.html
https://learn.microsoft.com/microsoftteams/platform/task-modules-and-cards/cards/cards-format
"""

from __future__ import annotations

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

# Teams takes 28,672 bytes as it counts, which is more than is sent: 24,453 were too many. The parts are of WHOLE.
WHOLE = 20_000
FRAME, TITLE, CALLS, FOOTER, BUTTONS = 800, 1_800, 3_000, 800, 3_500
TITLE_UNITS, FOOTER_UNITS, LABEL_UNITS, BUTTON_UNITS = 250, 250, 80, 60
MAX_BUTTONS, MAX_MENTIONS, MAX_ITEMS, MAX_FACTS, MAX_LINES, MAX_RUNS = 6, 20, 30, 25, 150, 40
LEAST = 200  # bytes, in which something can be said
GAP = "\u2060"  # takes no room and no meaning, and parts what a parser would read together

STYLES = {
    Status.SUCCESS: "good",
    Status.FAILURE: "attention",
    Status.ERROR: "attention",
    Status.TIMEOUT: "attention",
    Status.QUEUED: "accent",
    Status.RUNNING: "accent",
    Status.WAITING: "warning",
}
PERSON = re.compile(
    r"[\w.!#$%&'*+/=^~-]{1,100}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
    re.ASCII,
)
_ADDRESS = re.compile(r"https?://[\w.~%:@\[\]-]+(?:[/?#][!-~]*)?", re.ASCII)
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_AT = re.compile(r"<(?=\s*/?\s*at\b)", re.IGNORECASE)
_DATE = re.compile(r"\{(?=\{\s*(?:DATE|TIME)\b)", re.IGNORECASE)  # {{DATE(...)}} is shown as a date, also in a run
_COSTLY = re.compile("[<>&'+]")  # some programs on the way write these as six characters


def build(message: Message) -> Json:
    """Return the one attachment of a message, and nothing else: a workflow reads no other key."""
    return {
        "type": "message",
        "attachments": [
            {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": _card(message)}
        ],
    }


def size(body: Any) -> int:
    """Return how many bytes something is at most, however it is written on its way."""
    written = json.dumps(body)
    return len(written) + 5 * len(_COSTLY.findall(written))


def _card(message: Message) -> Json:
    return (_own_card(message) if message.native else None) or _common_card(message)


def _common_card(message: Message) -> Json:
    title = _title(message)
    calls, entities = _calls(message.mentions)
    footer = list(_line(message.footer, _Room(FOOTER), FOOTER_UNITS, {"isSubtle": True, "size": "Small"}))
    buttons = _buttons(message.buttons)
    room = _Room(WHOLE - FRAME - sum(map(size, (title, calls, entities, footer, buttons))))
    body = [*_blocks(message.body, room), *_facts(message.facts, room)]
    return _framed([title, *calls, *body, *footer], buttons, entities)


def _framed(body: list[Json], buttons: list[Json], entities: list[Json], version: str = "1.4") -> Json:
    return {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": version,
        "body": body,
        **({"actions": buttons} if buttons else {}),
        "msteams": {"width": "Full", **({"entities": entities} if entities else {})},
    }


def _title(message: Message) -> Json:
    look = {"size": "Medium", "weight": "Bolder"}
    lines = list(_line(_one_line(message.title), _Room(TITLE), TITLE_UNITS, look))
    style = STYLES.get(message.status, "emphasis")
    return {"type": "Container", "style": style, "bleed": True, "items": lines or [_text([_run("(no text)", look)])]}


def _calls(people: tuple[str, ...]) -> tuple[list[Json], list[Json]]:
    """Return the line that calls, and the entities without which it would be words, each of them once."""
    known = list(dict.fromkeys(one for one in people if PERSON.fullmatch(one)))[:MAX_MENTIONS]
    entities: list[Json] = []
    room = CALLS
    for one in known:
        name = _name(one, {entity["mentioned"]["name"] for entity in entities})
        entity = {"type": "mention", "text": f"<at>{name}</at>", "mentioned": {"id": one, "name": name}}
        room -= size(entity) + size(entity["text"])
        if room < 0:
            break
        entities.append(entity)
    text = " ".join(entity["text"] for entity in entities)
    return ([{"type": "TextBlock", "text": text, "wrap": True}] if text else []), entities


def _name(person: str, taken: set[str]) -> str:
    """Return what Teams shows of a person: bridge knows no name, but the address begins with one.

    A text block is Markdown, so that nothing but letters, digits, dots and dashes is left.
    """
    before, _, site = person.partition("@")
    name = re.sub(r"[^\w.-]|_", " ", before, flags=re.ASCII).strip(" .-") or "person"
    more = f"{name} {site}" if site else name
    return next(one for one in (name, more, *(f"{more} {n}" for n in range(2, MAX_MENTIONS + 2))) if one not in taken)


def _buttons(buttons: tuple[Button, ...]) -> list[Json]:
    actions: list[Json] = []
    left = BUTTONS
    for button in buttons:
        address = _target(button.url)
        label = shorten(_clean(re.sub(r"\s+", " ", button.text)).strip(), BUTTON_UNITS)
        action = {"type": "Action.OpenUrl", "title": label, "url": address}
        if not label or not address or size(action) > left:
            continue
        left -= size(action)
        actions.append(action)
    return actions[:MAX_BUTTONS]


def _target(address: str | None) -> str | None:
    """Return an address that every program takes for one: a card with a bad one would fail unseen."""
    known = web_url(address)
    target = quote(known.encode("utf-8", "replace"), safe="!#$%&'()*+,-./:;=?@[]_~") if known else ""
    return target if _ADDRESS.fullmatch(target) else None


# -- text


class _Room:
    """The bytes that are left for a part of the card."""

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, element: Json) -> bool:
        """Return whether there was room."""
        cost = size(element) + 2
        if cost > self.left:
            return False
        self.left -= cost
        return True

    def run(self, text: str, look: Json) -> Json | None:
        """Return a text run with as much of `text` as fits."""
        keep = self.left
        while keep > 0:
            run = _run(shorten(text, keep), look)
            over = size(run) + 2 - self.left
            if over <= 0:
                self.left -= size(run) + 2
                return run if run["text"] else None
            keep = min(keep, _units(text)) - max(1, over // 6)  # no character costs more than 6
        return None


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "replace")) // 2


def _run(text: str, look: Json) -> Json:
    return {"type": "TextRun", "text": text, **look}


def _text(runs: list[Json], spacing: str = "Default") -> Json:
    return {"type": "RichTextBlock", "inlines": runs, **({"spacing": spacing} if spacing != "Default" else {})}


def _clean(text: str) -> str:
    """Return text that neither turns the order of a line nor is an order to Teams."""
    text = _CONTROL.sub("", text.encode("utf-16-le", "replace").decode("utf-16-le", "replace"))
    return _DATE.sub("{" + GAP, _AT.sub("<" + GAP, text))


def _one_line(spans: Spans) -> Spans:
    return tuple(_with(span, re.sub(r"\s+", " ", span.text)) for span in spans)


def _with(span: Span, text: str) -> Span:
    return Span(text, span.bold, span.italic, span.strike, span.code, span.link)


def _lines(spans: Spans) -> Iterator[list[Span]]:
    """Yield the spans line by line: a text run knows no line break."""
    line: list[Span] = []
    for span in spans:
        for number, text in enumerate(_clean(span.text[:WHOLE]).split("\n")):
            if number:
                yield line
                line = []
            if text:
                line.append(_with(span, text))
    yield line


def _line(
    spans: Spans,
    room: _Room,
    longest: int = WHOLE,
    look: Json | None = None,
    before: tuple[str, str] = ("", ""),
    spacing: str = "Default",
) -> Iterator[Json]:
    """Yield a rich text block per line, the later ones close below. `before` opens the first and the others."""
    left = longest
    shown = 0
    for line in _lines(spans):
        block = _text([], "None" if shown else spacing)
        if shown >= MAX_LINES or left <= 0 or not "".join(span.text for span in line).strip() or not room.take(block):
            continue
        runs: list[Json] = [_run(before[shown > 0], {})] if before[shown > 0] else []
        room.left -= size(runs)
        for span in line[:MAX_RUNS]:
            run = _formed(span, room, left, look or {})
            if run:
                left -= _units(run["text"])
                runs.append(run)
        if runs:
            yield {**block, "inlines": runs}
            shown += 1


def _formed(span: Span, room: _Room, longest: int, look: Json) -> Json | None:
    own: Json = {
        **look,
        **({"weight": "Bolder"} if span.bold else {}),
        **({"italic": True} if span.italic else {}),
        **({"strikethrough": True} if span.strike else {}),
        **({"fontType": "Monospace"} if span.code else {}),
    }
    address = _target(span.link)
    if address and size(address) < room.left // 2:
        own["selectAction"] = {"type": "Action.OpenUrl", "url": address}
    return room.run(shorten(span.text, longest), own)


# -- blocks


def _blocks(blocks: tuple[Block, ...], room: _Room) -> Iterator[Json]:
    for block in blocks:
        if room.left < LEAST:
            return
        match block:
            case Bullets():
                yield from _bullets(block, room)
            case Code():
                yield from _code(block.text, room)
            case Quote():
                yield from _line(block.spans, room, look={"isSubtle": True, "italic": True})
            case Heading():
                yield from _line(block.spans, room, look={"weight": "Bolder", "size": "Medium"})
            case _:
                yield from _line(block.spans, room)


def _bullets(block: Bullets, room: _Room) -> Iterator[Json]:
    shown = 0
    for number, item in enumerate(block.items[:MAX_ITEMS], 1):
        mark = f"{number}. " if block.ordered else "• "
        lines = list(_line(item, room, before=(mark, "\u2003"), spacing="Small"))
        yield from lines
        shown += bool(lines)
    more = len(block.items) - shown
    end = _text([_run(f"• … and {more} more", {})], "Small")
    if more > 0 and shown and room.take(end):
        yield end


def _code(text: str, room: _Room) -> Iterator[Json]:
    """Yield a box of lines. Spaces that open a line would be left out: they are made to stay."""
    box: Json = {"type": "Container", "style": "emphasis", "items": []}
    if not room.take(box):
        return
    kept = re.sub(r"(?m)^ +|\t", lambda found: "\u00a0" * len(found[0]), _clean(text[:WHOLE]).strip("\n"))
    lines = list(_line((Span(kept, code=True),), room, spacing="None"))
    if lines:
        yield {**box, "items": lines}


def _facts(facts: tuple[tuple[str, Spans], ...], room: _Room) -> Iterator[Json]:
    """Yield a line per fact, close together. A fact set would look much the same, and reads Markdown."""
    spacing = "Default"
    for label, value in facts[:MAX_FACTS]:
        if not text_of(value).strip() or room.left < LEAST:
            continue
        name = shorten(re.sub(r"\s+", " ", label).strip(), LABEL_UNITS)
        bold = (Span(f"{name}: ", bold=True),) if name else ()
        yield from _line((*bold, *_one_line(value)), room, spacing=spacing)
        spacing = "Small"


# -- a template's own card: its shape is kept

_LISTS = {
    "Container": "items",
    "RichTextBlock": "inlines",
    "FactSet": "facts",
    "ColumnSet": "columns",
    "Column": "items",
}
_LISTS |= {"ActionSet": "actions", "ImageSet": "images"}
_VERSIONS = frozenset({"1.2", "1.3", "1.4", "1.5"})


def _own_card(message: Message) -> Json | None:
    """Return the template's ``body`` and ``actions`` in a card of ours; None where nothing is left to say."""
    given = message.native or {}
    if given.get("type") != "AdaptiveCard":
        cards = [one.get("content") for one in _own.listed(given.get("attachments"))]
        given = next(iter(_own.listed(cards)), {})
    calls, entities = _calls(message.mentions)
    elements = _own.sound(_own.listed(given.get("body")), _says)
    body = list(_own.fitting(map(_tame, elements), WHOLE - FRAME - BUTTONS - size([calls, entities])))
    actions = _own.sound(_own.listed(given.get("actions")), _says)
    buttons = [one for one in map(_tame, actions) if one["type"] == "Action.OpenUrl"]
    if not body:
        return None
    version = given.get("version")
    known = version if version in _VERSIONS else "1.4"
    return _framed([*body, *calls], list(_own.fitting(buttons[:MAX_BUTTONS], BUTTONS)), entities, str(known))


def _says(part: Json) -> bool:
    """Return whether an element says anything: Teams fails unseen at an empty one."""
    kind = part.get("type")
    if "url" in part and _target(part["url"] if isinstance(part["url"], str) else "") != part["url"]:
        return False
    if kind in ("TextBlock", "TextRun"):
        return bool(part.get("text"))
    if isinstance(kind, str) and kind.startswith("Action."):
        return kind == "Action.OpenUrl" and "url" in part and bool(part.get("title", "x"))
    if kind is None:  # a fact
        return bool(part.get("title")) and bool(part.get("value"))
    return _LISTS.get(kind, "type") in part if isinstance(kind, str) else False


def _tame(node: Any) -> Any:
    """Return the tree without names that no entity explains, in text runs without line breaks."""
    if isinstance(node, list):
        return [_tame(one) for one in node]
    if isinstance(node, dict):
        run = node.get("type") == "TextRun"
        return {key: one.replace("\n", " ") if run and key == "text" else one for key, one in _tamed(node)}
    return _clean(node) if isinstance(node, str) else node


def _tamed(node: Json) -> Iterator[tuple[str, Any]]:
    return ((key, _tame(value)) for key, value in node.items())
