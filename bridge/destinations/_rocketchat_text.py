"""How does a message look in Rocket.Chat, and how is a stranger's text written there?

One text: title, mentions, body, facts, footer, links. An edit can change nothing but the text, so a bot has all in it;
a webhook, which cannot edit, has all but the title in an attachment with the state's colour.

Rocket.Chat's parser knows no escape: a backslash is shown. So a character that means something gives way to a
look-alike, or is parted from its neighbour by one that takes no room. It looks for the end of a link's text over
brackets of any kind: so no square bracket of a stranger is sent as one. It makes links of names with a known ending
(``setup.py``). Pure; never raises on any text.

https://docs.rocket.chat/docs/rich-messaging-features
https://github.com/RocketChat/Rocket.Chat/blob/develop/packages/message-parser/src/grammar.pegjs
"""

from __future__ import annotations

import re
from typing import Any

from bridge.destinations import _own
from bridge.destinations._markdown import GAP, JOINER, Dialect, Room, body, facts, fitted, links, one_line, title, units
from bridge.message import Message, text_of

Json = dict[str, Any]

# Message_MaxAllowedSize is 5,000 by default, markup and all.
WHOLE, TITLE, FACTS, LINKS, FOOTER = 4_900, 700, 600, 900, 200
MAX_MENTIONS, MENTIONS = 10, 400

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


def build(message: Message) -> tuple[str, str]:
    """Return the first line, with the mentions, and the rest."""
    first = " ".join([title(message.title, Room(TITLE), DIALECT), *_mentions(message)])
    below = (
        facts(message.facts, Room(FACTS), DIALECT),
        fitted(one_line(text_of(message.footer)), FOOTER, _line).strip(),
        links(message.buttons, Room(LINKS), DIALECT),
    )
    left = WHOLE - units(first) - sum(units(part) + 1 for part in below) - 1
    parts = (body(message.body, Room(left), DIALECT), *below)
    return first, "\n".join(part for part in parts if part)


_TEXTS = {"text": WHOLE, "title": 300, "author_name": 200}
_LINKS = ("title_link", "author_link", "author_icon", "image_url", "thumb_url")


def own(message: Message) -> tuple[str, list[Json]]:
    """Return what a template's own JSON says: the text with the mentions, and attachments; empty where nothing is."""
    native = message.native or {}
    calls = " ".join(_mentions(message))
    text = _own.text(native.get("text", native.get("msg")), WHOLE - len(calls) - 1)
    left = WHOLE - (units(text) + len(calls) + 1 if text else TITLE + MENTIONS + 20)
    attachments = list(_own.attachments(native.get("attachments"), _TEXTS, _LINKS, colour(message), left))
    return " ".join(part for part in (text, calls) if part) if text else "", attachments


def _mentions(message: Message) -> list[str]:
    """The names that fit, each once."""
    names = dict.fromkeys(f"@{one}" for one in message.mentions if _NAME.fullmatch(one))
    calls: list[str] = []
    for one in list(names)[:MAX_MENTIONS]:
        if sum(map(len, calls)) + len(one) <= MENTIONS:
            calls.append(one)
    return calls


def colour(message: Message) -> str:
    return message.colour if _COLOUR.fullmatch(message.colour) else "#8b949e"


# -- a stranger's text

_LOOK_ALIKE = str.maketrans({"*": "∗", "~": "∼", "`": "ˋ", "|": "∣", "$": "﹩", "[": "(", "]": ")", "\t": " "})
# After a space, words that are joined by underscores stay: there no underscore begins anything.
_SNAKE = re.compile(r"(?<![^\s(!:<])[A-Za-z0-9]+(?:_[A-Za-z0-9]+)+(?![A-Za-z0-9_])")
_PARTED = (
    (re.compile(r":(?=//|[\w+.-]+:|[\w+.-]*$)"), f":{JOINER}"),  # an address; the name of an emoji
    (re.compile(r"(?<=\S)\.(?=[^\W\d_])"), f".{JOINER}"),  # a host
    (re.compile(r"(\d\.\d{1,3}\.\d{1,3})\.(?=\d)"), rf"\1.{JOINER}"),  # its number
    (re.compile(r"#(?=[\w.-])"), f"#{JOINER}"),  # a channel
    (re.compile(r"<(?=\S)"), f"<{JOINER}"),  # a link, a time
    (re.compile(r"\+(?=[\d(])"), f"+{JOINER}"),  # a telephone
    (re.compile(r"\\(?=[(\[])"), f"\\\\{JOINER}"),  # a formula
)
_FIRST = re.compile(r"^([#>-]|\d+(?=\.))")


def _text(text: str) -> str:
    """Return plain text that is shown as it is, line by line, and does nothing else."""
    return "\n".join(_line(one.strip() if number else one) for number, one in enumerate(text.split("\n")))


def _line(text: str) -> str:
    text = text.translate(_LOOK_ALIKE)
    text = _FIRST.sub(rf"{JOINER}\1", _underscores(text))
    for pattern, instead in _PARTED:
        text = pattern.sub(instead, text)
    return text.replace("@", f"@{GAP}")


def _underscores(text: str) -> str:
    parts, end = [], 0
    for found in _SNAKE.finditer(text):
        parts += [text[end : found.start()].replace("_", "ˍ"), found[0]]
        end = found.end()
    return "".join([*parts, text[end:].replace("_", "ˍ")])


def _code(text: str) -> str:
    """Return plain text for between backticks. Mentions are looked for there, too, before anything is read."""
    text = text.replace("`", "ˋ").replace("|", "∣").replace("](", f"]{JOINER}(")
    return text.replace("@", f"@{GAP}").replace("#", f"#{JOINER}")


DIALECT = Dialect(text=_text, label=_line, code=_code, bold="*", italic="_", strike="~")
