"""How does a message become Markdown, for a chat whose messages are one text?

Here is the form: lines, lists, quotes, links, and how much room each part has. How a chat escapes a stranger's text is
its own `Dialect`. What is cut is the text before it is escaped, never the markup. Pure; never raises on any text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

from msgspec.structs import replace

from bridge.codec import web_url
from bridge.message import Block, Bullets, Button, Code, Heading, Quote, Span, Spans, shorten

GAP = "\u200b"  # after an @: nobody is called
JOINER = "\u2060"  # takes no room and no meaning, and parts what a parser would read together
MAX_ITEMS, MAX_FACTS, MAX_BUTTONS = 40, 25, 5
LABEL = 80

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one chat writes plain text on a line, within a link, and as code; and its marks."""

    text: Callable[[str], str]
    label: Callable[[str], str]
    code: Callable[[str], str]
    bold: str
    italic: str
    strike: str


class Room:
    """What is left for a part of the message, in UTF-16 units, the most that any chat counts."""

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, text: str, written: Callable[[str], str]) -> str:
        whole = fitted(text, self.left, written)
        self.left -= units(whole)
        return whole


def units(text: str) -> int:
    return len(text.encode("utf-16-le", "replace")) // 2


def fitted(text: str, limit: int, written: Callable[[str], str]) -> str:
    """Return what `written` makes of as much of `text` as fits."""
    keep = limit
    while keep > 0:
        whole = written(shorten(text, keep))
        over = units(whole) - limit
        if over <= 0:
            return whole
        keep = min(keep, units(text)) - max(1, over // 2)
    return ""


def clean(text: str) -> str:
    """Return the text without characters that chats drop or that turn the order of a line."""
    return _CONTROL.sub("", text)


def one_line(text: str) -> str:
    return re.sub(r"\s+", " ", clean(text)).strip()


# -- lines


def line(spans: Spans, room: Room, dialect: Dialect, newline: str = "\n") -> str:
    """Return the spans, each line after the first behind `newline`."""
    whole = ""
    for span in spans:
        piece = _piece(span, room, dialect, newline)
        whole += (JOINER if _read_together(whole[-1:], piece[:1]) else "") + piece
    return whole


def title(spans: Spans, room: Room, dialect: Dialect) -> str:
    """Return the spans on one line."""
    flat = tuple(replace(span, text=re.sub(r"\s+", " ", clean(span.text))) for span in spans)
    return line(flat, room, dialect).strip() or "(no text)"


def _read_together(before: str, after: str) -> bool:
    """Marks of two neighbours must not become one mark, and some chats see no mark within a word."""
    marks = "*_~`"
    if not before or not after:
        return False
    return (before in marks and (after in marks or after.isalnum())) or (before.isalnum() and after in marks)


def _piece(span: Span, room: Room, dialect: Dialect, newline: str) -> str:
    if room.left <= 0:
        return ""
    address = web_url(span.link)
    if address and len(address) > room.left // 2:
        address = None
    text = re.sub(r"[ \t]*\n\s*", "\n", clean(span.text[: 4 * room.left]))
    wanted = ((dialect.bold, span.bold), (dialect.italic, span.italic), (dialect.strike, span.strike))
    marks = "".join(mark for mark, on in wanted if on)

    def written(part: str) -> str:
        core = part.strip()
        if not core:
            return re.sub(r"\s*\n\s*", newline, part)
        before, after = part[: part.index(core)], part[part.index(core) + len(core) :]
        whole = before + marks + _formed(core, span.code, address, dialect) + marks[::-1] + after
        return whole.replace("\n", newline)

    return room.take(text, written)


def _formed(text: str, code: bool, address: str | None, dialect: Dialect) -> str:
    if code:
        text = "`" + dialect.code(re.sub(r"\s+", " ", text)) + "`"
    elif address:
        text = dialect.label(text.replace("\n", " "))
    else:
        return dialect.text(text)
    return f"[{text}]({target(address)})" if address else text


def target(address: str) -> str:
    """Return an address without what would end the link before its end, or could be read as a mention."""
    return quote(address.encode("utf-8", "replace"), safe="!#$%&'+,-./:;=?_")


# -- blocks


def body(blocks: tuple[Block, ...], room: Room, dialect: Dialect) -> str:
    text = ""
    for block in blocks:
        room.left -= 2
        part = _block(block, room, dialect).strip("\n")
        if part.strip():
            text += (_between(text, block) if text else "") + part
    return text.strip()


def _between(text: str, block: Block) -> str:
    """A list and a quote go on until an empty line."""
    last = text.rsplit("\n", 1)[-1]
    goes_on = re.match(r"(?:- |> |  |\d+\. )", last) is not None and not isinstance(block, Code)
    return "\n\n" if goes_on else "\n"


def _block(block: Block, room: Room, dialect: Dialect) -> str:
    match block:
        case Bullets():
            return "\n".join(_bullets(block, room, dialect))
        case Code():
            room.left -= 8
            code = room.take(clean(block.text).strip("\n"), dialect.code)
            return f"```\n{code}\n```" if code.strip() else ""
        case Quote():
            room.left -= 2
            quoted = line(block.spans, room, dialect, "\n> ")
            return f"> {quoted}" if quoted.strip() else ""
        case Heading():
            return line(tuple(replace(span, bold=True) for span in block.spans), room, dialect)
        case _:
            return line(block.spans, room, dialect)


def _bullets(block: Bullets, room: Room, dialect: Dialect) -> Iterator[str]:
    shown = 0
    for number, item in enumerate(block.items[:MAX_ITEMS], 1):
        room.left -= 5
        text = line(item, room, dialect, "\n  ").strip()
        if text:
            shown += 1
            yield f"{number}. {text}" if block.ordered else f"- {text}"
    more = len(block.items) - shown
    if more > 0 and shown:
        yield f"- … and {more} more"


# -- facts and links, on a line each


def facts(given: tuple[tuple[str, Spans], ...], room: Room, dialect: Dialect) -> str:
    """Return the facts as ``**Region:** eu-north-1 · **Commits:** 3``; what does not fit is left out, last first."""
    texts: list[str] = []
    for label, value in given[:MAX_FACTS]:
        text = _fact(label, value, room, dialect)
        if text:
            texts.append(text)
            room.left -= 3
    more = len(given) - MAX_FACTS
    return " · ".join([*texts, *([f"and {more} more"] if more > 0 and texts else [])])


def _fact(label: str, value: Spans, room: Room, dialect: Dialect) -> str:
    own = Room(min(room.left, 500))
    name = own.take(one_line(label)[:200], dialect.text).strip()
    own.left -= 8  # for the marks, the colon and the space
    flat = tuple(replace(span, text=re.sub(r"\s+", " ", clean(span.text))) for span in value)
    text = line(flat, own, dialect).strip()
    if not text:
        return ""
    colon = f"{JOINER}:" if ":" in name else ":"  # two colons make an emoji of what is between them
    whole = f"{dialect.bold}{name}{colon}{dialect.bold} {text}" if name else text
    room.left -= units(whole)
    return whole


def links(buttons: tuple[Button, ...], room: Room, dialect: Dialect) -> str:
    """Return the buttons as links; what does not fit is left out, the last first."""
    texts: list[str] = []
    for button in buttons[:MAX_BUTTONS]:
        address = web_url(button.url)
        label = fitted(one_line(button.text), LABEL, dialect.label).strip()
        whole = f"[{label}]({target(address)})" if address and label else ""
        if whole and units(whole) + 3 <= room.left:
            texts.append(whole)
            room.left -= units(whole) + 3
    return " · ".join(texts)
