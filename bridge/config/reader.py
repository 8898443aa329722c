"""Is this piece of the file what a key takes: text, a flag, one of some words, a mapping of known keys?

Each question reports its own problem and returns None, so that the walk goes on and finds the others. A value that
came from ``${}`` is shown as the file has it, never filled.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from typing import TypeVar

from bridge.codec import web_url
from bridge.config.keys import SYNONYMS
from bridge.config.report import Report, under
from bridge.config.yaml import Entry, Mapping, Node, Scalar, Sequence
from bridge.route import suggest

T = TypeVar("T")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_SECRET = re.compile(
    r"\bxox[a-z]-\w|\bxapp-\w|hooks\.slack\.com/(?:services|workflows|triggers)/\w"
    r"|discord(?:app)?\.com/api/webhooks/\w|\bgh[pousr]_\w{20}|\bwhsec_\w"
)
_RANDOM = re.compile(r"(?=\S*\d)(?=\S*[A-Za-z])\S{16,}")
_WORDS = re.compile(r"\w{4,}")
LITERAL = "a secret is written in the file; put it into the environment and write ${NAME} here"


class Reader:
    """Asks the tree of one file and reports what does not fit."""

    def __init__(self, report: Report, lines: list[str]) -> None:
        self.report = report
        self._lines = lines

    def error(self, node: Node | Entry, path: str, text: str) -> None:
        """Report `text` at `node`, without what the environment put there."""
        self.report.error(node.place, path, _hide(text, node))

    def warn(self, node: Node | Entry, path: str, text: str) -> None:
        self.report.warn(node.place, path, _hide(text, node))

    # -- shapes

    def mapping(self, node: Node, path: str, known: Collection[str] | None = None) -> dict[str, Entry]:
        """Return the entries of a mapping (or of nothing at all), those with unknown keys reported and left out."""
        if isinstance(node, Scalar) and node.value is None:
            return {}
        if not isinstance(node, Mapping):
            if not (isinstance(node, Scalar) and node.broken):
                self.error(node, path, f"{_what(node)} stands here, write `key: value` lines")
            return {}
        return node.entries if known is None else self.known(node.entries, path, known)

    def known(self, entries: dict[str, Entry], path: str, known: Collection[str]) -> dict[str, Entry]:
        for key in entries.keys() - known:
            hint = near(key, known) or f", there are {', '.join(known)}"
            self.report.error(entries[key].place, under(path, short(key)), f"unknown key{hint}")
        return {key: entry for key, entry in entries.items() if key in known}

    def items(self, node: Node, path: str) -> list[tuple[Node, str]]:
        """Return a list's items with their paths; a single value is a list of one."""
        if not isinstance(node, Sequence):
            return [(node, path)]
        if not node.items:
            self.error(node, path, "the list is empty")
        return [(item, under(path, i)) for i, item in enumerate(node.items)]

    # -- values

    def text(self, node: Node, path: str) -> str | None:
        if not isinstance(node, Scalar):
            self.error(node, path, f"{_what(node)} stands here, write text")
            return None
        if node.broken:
            return None
        if not node.text or node.value is None:
            self.error(node, path, self.nothing(node))
            return None
        return node.text

    def texts(self, node: Node, path: str) -> list[tuple[Scalar, str, str]]:
        """Return the texts of a list (or of one text alone) as (where, path, text)."""
        found: list[tuple[Scalar, str, str]] = []
        for item, where in self.items(node, path):
            text = self.text(item, where)
            if text is not None and isinstance(item, Scalar):
                found.append((item, where, text))
        return found

    def flag(self, node: Node, path: str) -> bool | None:
        if isinstance(node, Scalar):
            if node.broken:
                return None
            if isinstance(node.value, bool):
                return node.value
            if node.text.lower() in ("yes", "no", "on", "off"):
                self.error(node, path, f"`{node.written}` is text in YAML 1.2, write true or false")
                return None
        self.error(node, path, "write true or false")
        return None

    def name(self, place: Entry, path: str, name: str) -> bool:
        """Return whether `name` can stand in an address, a log and a metric."""
        if _NAME.fullmatch(name):
            return True
        self.error(place, path, "a name has only letters, digits, `-`, `_` and `.`, at most 64")
        return False

    def choice(self, node: Node, path: str, words: Collection[str]) -> str | None:
        text = self.text(node, path)
        if text is None or text in words:
            return text
        self.error(node, path, f"'{short(text)}' is none of {', '.join(words)}{near(text, words)}")
        return None

    def kind_of(self, node: Node, path: str, there: Collection[str]) -> str | None:
        """Return the type of a source or destination."""
        text = self.text(node, path)
        if text is None or text in there:
            return text
        hint = near(text, there) or f", choose from {', '.join(there)}"
        self.error(node, path, f"unknown type '{short(text)}'{hint}")
        return None

    def parsed(self, node: Node, path: str, parse: Callable[[str], T]) -> T | None:
        """Return what `parse` makes of a text; its ValueError is the problem."""
        text = self.text(node, path)
        if text is None:
            return None
        try:
            return parse(text)
        except (ValueError, OverflowError) as error:
            self.error(node, path, short(str(error), 200) or "this is out of range")
            return None

    def address(self, node: Node, path: str) -> str | None:
        """Return an http(s) address without the slash at its end."""
        text = self.text(node, path)
        if text is None or web_url(text):
            return text and text.rstrip("/")
        self.error(node, path, "write an address that begins with https:// or http://")
        return None

    def optional(self, node: Node, path: str) -> str | None:
        """Return a text that may be left empty, as in ``${NAME:-}``."""
        if isinstance(node, Scalar) and may_be_empty(node):
            return None
        return self.text(node, path)

    def secret(self, node: Node, path: str) -> str | None:
        """Return a secret; one that is written out in the file is warned about."""
        if isinstance(node, Scalar):
            self.literal(node, path, secret=True)
        return self.text(node, path)

    # -- traps

    def literal(self, scalar: Scalar, path: str, *, secret: bool = False) -> None:
        """Warn of what looks like a secret; where one belongs, whatever is long and random does."""
        filled = "${" in (scalar.raw or "")
        if _SECRET.search(scalar.written) or (secret and not filled and _RANDOM.fullmatch(scalar.text)):
            self.report.warn(scalar.place, path, LITERAL)

    def nothing(self, scalar: Scalar) -> str:
        """Say why nothing is written at a place where something has to be."""
        if scalar.raw is not None:
            return f"{scalar.raw} is empty"
        line = self._lines[scalar.place.line - 1 : scalar.place.line]
        comment = re.search(r"(?:^|\s)(#[^\s\],}]+)", line[0][scalar.place.column - 1 :]) if line else None
        if comment and not scalar.text:
            shown = short(comment[1])
            return f'nothing is written here: did `{shown}` become a comment? put it in quotes: "{shown}"'
        return "nothing is written here"

    def literals(self, node: Node, path: str = "") -> None:
        """Warn of everything in the file that looks like a secret."""
        if isinstance(node, Scalar):
            self.literal(node, path)
        elif isinstance(node, Sequence):
            for i, item in enumerate(node.items):
                self.literals(item, under(path, i))
        else:
            for key, entry in node.entries.items():
                self.literals(entry.node, under(path, key))


def may_be_empty(scalar: Scalar) -> bool:
    """Return whether nothing stands here because a default says so: ``${NAME:-}``."""
    return not scalar.text and not scalar.broken and ":-" in (scalar.raw or "")


def near(word: str, known: Iterable[str]) -> str:
    """Return ``, did you mean 'x'?`` or nothing."""
    known = tuple(known)
    if SYNONYMS.get(word) in known:
        return f", did you mean '{SYNONYMS[word]}'?"
    return suggest(word[:100], known)


def short(text: str, limit: int = 60) -> str:
    """Return foreign text fit for one line of a problem."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _what(node: Node) -> str:
    if isinstance(node, Mapping):
        return "a mapping (key: value)"
    return "a list" if isinstance(node, Sequence) else "text"


def _hide(text: str, node: Node | Entry) -> str:
    if not isinstance(node, Scalar) or node.raw is None or not node.text:
        return text
    for form in (repr(node.text), f"'{short(node.text)}'", f'"{node.text}"'):
        text = text.replace(form, f"'{node.raw}'")
    if any(word in text.replace(node.raw, "") for word in _WORDS.findall(node.text)):
        return f"what {short(node.raw)} stands for does not fit here"
    return text
