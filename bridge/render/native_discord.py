"""Where may text of an event stand in Discord's own JSON, and how is it written there?

Discord reads Markdown in `content`, in an embed's description and in its fields' values: there a backslash takes the
meaning from a character. Titles and names are read half as Markdown and half not, depending on the client: there the
characters that would mean something give way to look-alikes, which are right either way. Text of a stranger comes
hidden (`bridge.render.foreign`); what a template wrote keeps its meaning. A mention that notifies is never in a text:
`allowed_mentions`, which the destination sends, is the only list that counts.

Never shortens (the destination does) and never raises.

https://docs.discord.com/developers/reference#message-formatting
https://support.discord.com/hc/en-us/articles/210298617
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from bridge.codec import web_url
from bridge.render.foreign import BASE, hide, reveal

GAP = "\u200b"  # after an @: nobody is called
JOINER = "\u2060"  # takes no room and no meaning, and parts what a parser would read together


def _at(chars: str) -> str:
    """The hidden form of characters, for a regular expression."""
    return "".join(chr(BASE + ord(char)) for char in chars)


# -- where Markdown is read

_ESCAPED = {_at(char): f"\\{char}" for char in "\\*_~|>#-[]():<+"}
_MARKDOWN = str.maketrans(_ESCAPED | {_at("`"): "ˋ", _at("@"): f"@{GAP}", _at("\n"): " ", _at("\t"): " "})
_NUMBER = re.compile(rf"^([ \t]*\d+){_at('.')}", re.MULTILINE)

# Code, and links, that the template itself wrote.
_OWN = re.compile(
    r"(?P<code>```.*?```|`[^`]+`)|\[(?P<label>[^\[\]\n]*)\]\((?P<target>[^()\s]*)\)",
    re.DOTALL,
)


def markdown(text: str) -> str:
    """Return plain text as Markdown that shows it, line by line, and does nothing else."""
    return "\n".join(_markdown(hide(line)) for line in text.split("\n"))


def code(text: str) -> str:
    """Return plain text for between backticks, where a backslash would be shown: it cannot end the code."""
    return _as_it_is(hide(text).replace(_at("`"), "ˋ"))


def link(text: str, address: str) -> str:
    """Return a masked link with plain text."""
    return _link(hide(text.replace("\n", " ")), address)


def link_of_code(text: str, address: str) -> str:
    """The same with the text as code, which knows no escape for a bracket."""
    return f"[`{code(text).translate(_ROUND)}`]({_target(address)})"


def _markdown(text: str) -> str:
    return _tame(reveal(_NUMBER.sub(r"\1\\.", text).translate(_MARKDOWN)))


_LEFT, _RIGHT = _at("["), _at("]")
# Discord looks for the end of a link's text without regard to backslashes: single pairs of brackets do no harm.
_PAIRED = re.compile(f"[^{_LEFT}{_RIGHT}]*(?:{_LEFT}[^{_LEFT}{_RIGHT}]*{_RIGHT}[^{_LEFT}{_RIGHT}]*)*")
_ROUND = str.maketrans({_LEFT: _at("("), _RIGHT: _at(")"), "[": "(", "]": ")"})


def _link(label: str, address: str) -> str:
    if not _PAIRED.fullmatch(label):
        label = label.translate(_ROUND)
    return f"[{_markdown(label)}]({_target(address)})"


def _target(address: str) -> str:
    """Return an address without what would end the link before its end: parentheses and odd spaces."""
    return quote(address.encode("utf-8", "replace"), safe="!#$%&'+,-./:;=?@[]_")


def _written(text: str) -> str:
    """Return a template's Markdown with the hidden text in it escaped for where it stands."""
    parts = []
    end = 0
    for found in _OWN.finditer(text):
        parts += [_markdown(text[end : found.start()]), _own(found)]
        end = found.end()
    # Pieces may make a name together that none of them has: "@" of the template and "here" of an event.
    return _tame("".join([*parts, _markdown(text[end:])]))


def _own(found: re.Match[str]) -> str:
    if found["code"]:
        return _as_it_is(found["code"].replace(_at("`"), "ˋ"))
    address = web_url(reveal(found["target"]))
    return _link(found["label"], address) if address else _markdown(found["label"])


# -- where it is read by some clients, or by none

_WORD = r"0-9A-Za-z\u00c0-\u024f"
_PARTED = (
    (re.compile(rf"(?<![{_WORD}]){_at('_')}|{_at('_')}(?![{_WORD}])"), "ˍ"),
    (re.compile(rf"{_at('|')}(?={_at('|')})"), _at("|") + JOINER),
    (re.compile(rf"{_at(']')}(?=[{_at('([')}])"), _at("]") + JOINER),
    (re.compile(rf"{_at(':')}(?={_at('//')})"), _at(":") + JOINER),
    (re.compile(rf"{_at('<')}(?=\S)"), _at("<") + JOINER),
    (re.compile(rf"^(?=[{_at('#>+-')}]|\d+{_at('.')})"), JOINER),
)
_LOOK_ALIKE = str.maketrans(
    {
        _at("*"): "∗",
        _at("~"): "∼",
        _at("`"): "ˋ",
        _at("@"): f"@{GAP}",
        _at("\n"): " ",
        _at("\t"): " ",
    }
)


def plain(text: str) -> str:
    """Return plain text for a title or a name: on one line, and without effect on clients that read Markdown there."""
    return _plain(hide(text))


def _plain(text: str) -> str:
    for pattern, instead in _PARTED:
        text = pattern.sub(instead, text)
    return _tame(reveal(text.translate(_LOOK_ALIKE)))


def shown(text: str) -> str:
    """Return plain text for a place where nothing is read: not even a second reading finds a mention."""
    return _as_it_is(hide(text))


# A mention, an emoji, a time or a command.
_CALL = re.compile(rf"{_at('<')}(?=[{_at('@#/:')}]|(?:a|t|id){_at(':')})")
_MASS = re.compile(r"@(?=everyone|here)")


def _as_it_is(text: str) -> str:
    return _tame(reveal(_CALL.sub(f"<{JOINER}", text)))


def _tame(text: str) -> str:
    return _MASS.sub(f"@{GAP}", text)


# -- a template's own JSON

_MARKDOWN_KEYS = frozenset({"content", "description", "value"})
_URL_KEYS = frozenset({"url", "icon_url", "avatar_url", "proxy_url"})
_PICTURES = frozenset({"image", "thumbnail", "video"})


def discord(tree: dict[str, Any], url: str | None) -> dict[str, Any]:
    """Return a filled Discord message with each text written for its place.

    A link that is no address leads to `url`, the event's page; where there is none, and for pictures, it is left out.
    """
    return {key: placed for key, value in tree.items() if (placed := _placed(value, key, url)) is not None}


def _placed(value: Any, key: str, url: str | None) -> Any:
    if isinstance(value, dict):
        return discord(value, None if key in _PICTURES else url)
    if isinstance(value, list):
        # Within a list, what counts is what the list is: "embeds", "fields".
        return [placed for one in value if (placed := _placed(one, key, url)) is not None]
    if not isinstance(value, str):
        return value
    if key in _URL_KEYS:
        return web_url(reveal(value)) or (url if key == "url" else None)
    if key in _MARKDOWN_KEYS:
        return _written(value)
    return _plain(value)
