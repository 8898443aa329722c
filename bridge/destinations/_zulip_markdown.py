"""How does a message look in Zulip's Markdown, and how is a stranger's text written there?

Zulip knows no escape by backslash. It knows HTML's character references, and reads them after mentions, links and
addresses were looked for and before bold and emoji are: a character that is written by its number means nothing. Code
shows everything as it is; there a mention is parted by a character that takes no room. No colour, no buttons: links.
Pure; never raises on any text.

https://zulip.com/help/format-your-message-using-markdown
https://zulip.com/help/mention-a-user-or-group
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec.structs import replace

from bridge.destinations._markdown import (
    GAP,
    MAX_ITEMS,
    Dialect,
    Room,
    clean,
    facts,
    fitted,
    line,
    links,
    one_line,
    title,
)
from bridge.message import Block, Bullets, Button, Code, Heading, Message, Quote, Span, Spans, text_of

# A message has 10,000 characters.
TITLE, BODY, FACTS, FOOTER, LINKS = 1_200, 5_000, 1_200, 400, 1_600
MAX_MENTIONS = 20

PERSON = re.compile(r"[1-9][0-9]{0,19}")
GROUP = re.compile(r"\*[^*\x00-\x1f]{1,100}\*")


def build(message: Message) -> str:
    """Return the message's text."""
    calls = dict.fromkeys(_called(one) for one in message.mentions if PERSON.fullmatch(one) or GROUP.fullmatch(one))
    footer = fitted(one_line(text_of(message.footer)), FOOTER, _line).strip()
    end = "\n".join(
        part
        for part in (
            facts(tuple((label, _ready(value)) for label, value in message.facts), Room(FACTS), DIALECT),
            footer,
            links(tuple(Button(one.text, _address(one.url)) for one in message.buttons), Room(LINKS), DIALECT),
        )
        if part
    )
    head = " ".join([title(_ready(message.title), Room(TITLE), DIALECT), *list(calls)[:MAX_MENTIONS]])
    text = _body(head, message.body, Room(BODY))
    return f"{text}\n\n{end}" if end else text


def _called(one: str) -> str:
    """The server knows a person's name by the id."""
    return f"@**|{one}**" if one.isdigit() else f"@{one}"


# -- a stranger's text

_SPECIAL = re.compile(r"[\\`*~\[\]<>@$|:^&]|[.。](?=[^\W\d_])")
_FIRST = re.compile(r"^([#>+=_/-])|^(\d+)([.)])")


def _text(text: str) -> str:
    return "\n".join(_line(one) for one in text.split("\n"))


def _line(text: str) -> str:
    """Return plain text as Markdown that shows it and does nothing else, also at the beginning of a line."""
    text = _SPECIAL.sub(_number, text.replace("\t", " "))
    return _FIRST.sub(lambda found: _number(found[1]) if found[1] else found[2] + _number(found[3]), text)


def _number(found: re.Match[str] | str) -> str:
    return f"&#{ord(found if isinstance(found, str) else found[0])};"


def _code(text: str) -> str:
    """Return plain text for between backticks: it cannot end the code."""
    return re.sub(r"@(?=[*_])", f"@{GAP}", text.replace("`", "ˋ"))


DIALECT = Dialect(text=_text, label=_line, code=_code, bold="**", italic="*", strike="~~")


# -- parts


def _address(address: str | None) -> str:
    """Return an address without what Zulip would take for a title, a formula or a character within a link."""
    return re.sub(r"['$;]", lambda found: f"%{ord(found[0]):02X}", address or "")


def _ready(spans: Spans) -> Spans:
    return tuple(_shown(span) for span in spans)


def _shown(span: Span) -> Span:
    """Return the span as Zulip can show it: no code in a link, and no form over several lines."""
    one = replace(span, link=_address(span.link) or None, code=span.code and not span.link)
    return replace(one, bold=False, italic=False, strike=False) if "\n" in clean(one.text).strip() else one


def _body(text: str, blocks: tuple[Block, ...], room: Room) -> str:
    """Return `text` and the blocks. What follows a list, a quote or code would belong to it without an empty line."""
    apart = False
    for block in blocks:
        room.left -= 2
        part = _block(block, room).strip()
        if part:
            own = isinstance(block, Bullets | Quote | Code)
            text += ("\n\n" if own or apart else "\n") + part
            apart = own
    return text


def _block(block: Block, room: Room) -> str:
    match block:
        case Bullets():
            return "\n".join(_bullets(block, room))
        case Code():
            room.left -= 12
            code = room.take(clean(block.text).strip("\n"), _code)
            return f"```text\n{code}\n```" if code.strip() else ""
        case Quote():
            return _lines(line(_ready(block.spans), room, DIALECT), "> ")
        case Heading():
            return _lines(line(_ready(tuple(replace(one, bold=True) for one in block.spans)), room, DIALECT), "")
        case _:
            return _lines(line(_ready(block.spans), room, DIALECT), "")


def _lines(text: str, before: str) -> str:
    """Return the lines that have something in them, none of them indented, which would be code."""
    return "\n".join(before + one.strip() for one in text.split("\n") if one.strip())


def _bullets(block: Bullets, room: Room) -> Iterator[str]:
    shown = 0
    for number, item in enumerate(block.items[:MAX_ITEMS], 1):
        room.left -= 5
        text = _lines(line(_ready(item), room, DIALECT), "  ").strip()
        if text:
            shown += 1
            yield f"{number}. {text}" if block.ordered else f"- {text}"
    more = len(block.items) - shown
    if more > 0 and shown:
        yield f"{shown + 1}. … and {more} more" if block.ordered else f"- … and {more} more"
