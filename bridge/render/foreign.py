"""How does text that came from an event stay text, whatever a template does with it?

Every such text is *hidden* before a template sees it: each character that means something to Markdown, JSON or a chat
(ASCII punctuation, newline, tab) becomes a private-use character, U+E000 plus its code. So neither a Markdown nor a
JSON parser ever meets a special character that a stranger wrote, and length and shortening stay right. After parsing,
`reveal` turns the text back. A text that is already private-use (nobody's business in a build) becomes U+FFFD first.

Never decides where text goes; that is `bridge.render.markdown`'s and `bridge.render.native`'s part.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from bridge.codec import clean

BASE = 0xE000
SHORT = 100
HIDDEN = re.compile("[\ue000-\ue07f]")

_HIDE = {ord(char): BASE + ord(char) for char in string.punctuation + "\n\t"}
_REVEAL = {hidden: char for char, hidden in _HIDE.items()}
_PRIVATE = re.compile("[\ue000-\uf8ff]")
# Marks that turn the order of the text around them: a title could make its line read as another one.
_REORDER = re.compile("[\u202a-\u202e\u2066-\u2069]")
_SPACE = re.compile(r"\s+")


def hide(text: str) -> str:
    """Return `text` without any character that a parser could take for form."""
    return _hide_short(text) if len(text) <= SHORT else text.translate(_HIDE)


@lru_cache(maxsize=4_000)
def _hide_short(text: str) -> str:
    """Most texts are names, and come again with the next event."""
    return text.translate(_HIDE)


def reveal(text: str) -> str:
    """Return the text as its reader sees it. Undoes `hide`; plain text stays as it is."""
    return str.translate(text, _REVEAL)


def tidy(text: str, limit: int, *, lines: bool = False) -> str:
    """Return foreign text fit to be shown: no control or reordering characters, one line unless `lines`, shortened."""
    if len(text) <= limit and text.isascii() and text.isprintable() and "  " not in text:  # as most are
        return text.strip()
    # Cut first, so that a text of megabytes costs no more than its beginning.
    text = clean(_PRIVATE.sub("\ufffd", text[: 4 * limit + 4]), 4 * limit + 4) or ""
    text = _REORDER.sub("", text)
    text = text.replace("\r\n", "\n").replace("\r", "\n") if lines else _SPACE.sub(" ", text)
    text = text.strip()
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


class Foreign(str):
    """Hidden text that compares, hashes, searches and splits like the text it stands for.

    So ``{% if branch == "release/1.x" %}`` means what it says, and what is made of it stays hidden.
    """

    __slots__ = ()

    def __str__(self) -> str:  # keeps `str(x)`, which Jinja's filters use, from losing the class
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and reveal(self) == reveal(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __lt__(self, other: str) -> bool:
        return reveal(self) < reveal(other)

    def __le__(self, other: str) -> bool:
        return reveal(self) <= reveal(other)

    def __gt__(self, other: str) -> bool:
        return reveal(self) > reveal(other)

    def __ge__(self, other: str) -> bool:
        return reveal(self) >= reveal(other)

    def __hash__(self) -> int:
        return hash(reveal(self))

    def __contains__(self, part: object) -> bool:
        return isinstance(part, str) and reveal(part) in reveal(self)


def foreign(text: str) -> Foreign:
    """Return tidied text, hidden."""
    return Foreign(hide(text))


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        return reveal(value)
    return tuple(_shown(one) for one in value) if isinstance(value, tuple) else value


def _hidden(value: Any) -> Any:
    if isinstance(value, str):
        return foreign(value)
    return type(value)(_hidden(one) for one in value) if isinstance(value, list | tuple) else value


def _as_shown(name: str) -> Callable[..., Any]:
    """Return the method of str that works on what the reader sees, and hides what it makes of it."""
    plain = getattr(str, name)

    def method(self: Foreign, *args: Any, **options: Any) -> Any:
        return _hidden(plain(reveal(self), *map(_shown, args), **options))

    method.__name__ = name
    return method


# What a template may call on a text. `format`, `center` and the like are missing: they make gigabytes out of a line.
_METHODS = (
    "capitalize casefold count endswith find index isalnum isalpha isascii isdecimal isdigit islower isnumeric "
    "isspace istitle isupper lower lstrip partition removeprefix removesuffix replace rfind rindex rpartition rsplit "
    "rstrip split splitlines startswith strip swapcase title upper"
)
METHODS = frozenset(_METHODS.split())

for _name in [*METHODS, "__getitem__"]:
    setattr(Foreign, _name, _as_shown(_name))
