"""How is text of an event written in a template's own JSON, for chats whose marks know no sure escape?

Text of a stranger comes hidden (`bridge.render.foreign`), so that it is told apart from what the template wrote. A
character that would mean something gives way to a look-alike, or is parted from its neighbour by one that takes no
room: that is right whether a client reads Markdown, Markdown without escapes, or nothing at all. What a template wrote
keeps its meaning, but for an ``@``: letters of an event may follow it, and whom a message calls is the rule's to say.

Never shortens (the destination does) and never raises.
https://spec.commonmark.org/0.31.2/
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from bridge.codec import web_url
from bridge.render.foreign import BASE, reveal

GAP = "\u200b"  # after an @: nobody is called
JOINER = "\u2060"  # takes no room and no meaning, and parts what a parser would read together

Json = dict[str, Any]
Write = Callable[[str, str, Json], str]
"""From a text, its key and the object that it stands in to what is sent."""


def _at(chars: str) -> str:
    """The hidden form of characters, for a regular expression."""
    return "".join(chr(BASE + ord(char)) for char in chars)


_DOT, _LINE, _LEFT, _RIGHT = _at("."), _at("_"), _at("["), _at("]")
_LOOK_ALIKE = str.maketrans(
    {_at(char): other for char, other in zip("*~`|$\n\t", ("∗", "∼", "ˋ", "∣", "﹩", " ", " "), strict=True)}
)
# After a space, words that are joined by underscores stay: there no underscore begins anything.
_SNAKE = re.compile(rf"(?<!\S)[A-Za-z0-9]+(?:{_LINE}[A-Za-z0-9]+)+(?![\w{_LINE}])")
_PARTED = (
    (re.compile(rf"{_at(':')}(?=\S)"), _at(":") + JOINER),  # an address, the name of an emoji
    (re.compile(rf"\b(www|mailto|tel)(?=[{_at('.:')}])", re.IGNORECASE), rf"\1{JOINER}"),
    (re.compile(rf"(?<=\S){_DOT}(?=[^\W\d_])"), _DOT + JOINER),  # a host
    (re.compile(rf"(\d{_DOT}\d{{1,3}}{_DOT}\d{{1,3}}){_DOT}(?=\d)"), rf"\1{_DOT}{JOINER}"),  # its number
    (re.compile(rf"{_RIGHT}(?=[{_at('([:')}\[(:]|$)"), _RIGHT + JOINER),  # a link
    (re.compile(rf"{_at('!')}(?=[{_LEFT}\[]|$)"), _at("!") + JOINER),  # a picture
    (re.compile(rf"([{_at('<&{+#')}])(?=\S)"), rf"\1{JOINER}"),  # a tag, an entity, a date, a telephone, a channel
    (re.compile(_at(chr(92))), _at(chr(92)) + JOINER),  # an escape
    (re.compile(rf"(?<!\S)([{_at('#>+=-')}])"), rf"{JOINER}\1"),  # what opens a line
    (re.compile(rf"(?<!\S)(\d+)([{_at('.)')}])(?!\S)"), rf"\1{JOINER}\2"),
)
_CALLS = re.compile(rf"[@{_at('@')}]")
_ROUND = str.maketrans({_LEFT: "(", _RIGHT: ")"})


def quiet(text: str) -> str:
    """Return hidden text without any effect."""
    for pattern, instead in _PARTED:
        text = pattern.sub(instead, text)
    text = _CALLS.sub(f"@{GAP}", _underscores(text))
    return reveal(text.translate(_LOOK_ALIKE))


def _underscores(text: str) -> str:
    parts, end = [], 0
    for found in _SNAKE.finditer(text):
        parts += [text[end : found.start()].replace(_LINE, "ˍ"), found[0]]
        end = found.end()
    return "".join([*parts, text[end:].replace(_LINE, "ˍ")])


# Code, and links, that the template itself wrote.
_OWN = re.compile(
    r"(?P<code>```.*?```|`[^`]+`)|\[(?P<label>[^\[\]\n]*)\]\((?P<target>[^()\s]*)\)",
    re.DOTALL,
)


def marked(text: str) -> str:
    """Return a template's Markdown with the hidden text in it quiet; a link that leads nowhere is its words."""
    parts = []
    end = 0
    for found in _OWN.finditer(text):
        parts += [quiet(text[end : found.start()]), code(found["code"]) if found["code"] else _link(found)]
        end = found.end()
    return "".join([*parts, quiet(text[end:])])


def code(text: str) -> str:
    """Return hidden text for between backticks, where it is shown as it is: it cannot end the code, nor call."""
    text = text.replace(_at("`"), "ˋ").replace(_at("|"), "∣").replace(_at("\n"), " ").replace(_RIGHT, _RIGHT + JOINER)
    return _CALLS.sub(f"@{GAP}", reveal(text.replace(_at("<"), _at("<") + JOINER)))


def _link(found: re.Match[str]) -> str:
    label = quiet(found["label"].translate(_ROUND))
    address = web_url(reveal(found["target"]))
    return f"[{label}]({target(address)})" if address else label


def target(address: str) -> str:
    """Return an address without what would end a link before its end, or could be read as a mark."""
    return quote(address.encode("utf-8", "replace"), safe="!#$%&'+,-./:;=?_")


_LIVELY = re.compile(rf"([{_at('<&{')}])(?=\S)")


def shown(text: str) -> str:
    """Return hidden text for a place where nothing is read: not even a second reading finds a tag or a call."""
    return _CALLS.sub(f"@{GAP}", reveal(_LIVELY.sub(rf"\1{JOINER}", text)))


# -- the tree

_LEADS = frozenset({"openLink", "onClick", "selectAction"})


def placed(tree: Json, write: Write, addresses: frozenset[str], url: str | None) -> Json | None:
    """Return a filled tree with each text written for its place.

    What is no address, under a key of `addresses`, is replaced by `url`, the event's page; where there is none, it is
    left out, and a button with it: None.
    """
    kept: Json = {}
    for key, value in tree.items():
        if key in addresses and isinstance(value, str):
            found: Any = web_url(reveal(value)) or url
        else:
            found = _placed(value, key, tree, write, addresses, url)
        if found is not None:
            kept[key] = found
        elif key in _LEADS or (key == "url" and len(tree) == 1) or tree.get("type") == "Action.OpenUrl":
            return None
    return kept


def _placed(value: Any, key: str, parent: Json, write: Write, addresses: frozenset[str], url: str | None) -> Any:
    if isinstance(value, dict):
        return placed(value, write, addresses, url)
    if isinstance(value, list):
        # Within a list, what counts is what the list is: "facts", "fields".
        inner = (_placed(one, key, parent, write, addresses, url) for one in value)
        return [one for one in inner if one is not None]
    return write(value, key, parent) if isinstance(value, str) else value
