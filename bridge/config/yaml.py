"""What does this YAML text say, and where does each piece of it stand?

Text in, a small tree with places out: no file, no environment, no meaning of any key. The meaning is YAML 1.2's core
schema (``on``, ``no``, ``09:30`` and dates are text), and a scalar keeps the characters as written, so that ``1.10``
is text wherever text is wanted. https://yaml.org/spec/1.2.2/#103-core-schema

libyaml delivers events and the tree is built here: its composer crashes on 200,000 brackets, keeps no duplicate keys
and expands aliases without end. PyYAML's events: https://pyyaml.org/wiki/PyYAMLDocumentation#events
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from bridge.config.report import Place, Report, under

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 50
MAX_NODES = 100_000

_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]{1,18}")
_OTHER_INT = re.compile(r"0o[0-7]{1,18}|0x[0-9a-fA-F]{1,15}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]{1,40}|[0-9]{1,40}(?:\.[0-9]{0,40})?)(?:[eE][-+]?[0-9]{1,3})?")
# What YAML allows in no text. Named one by one: the same as a complement takes 5 ms to compile, at every start.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value. `raw` is what the file says where `text` was filled from ``${}``; `broken`: that did not work."""

    place: Place
    text: str
    quoted: bool = False
    raw: str | None = None
    broken: bool = False

    @property
    def value(self) -> bool | int | float | str | None:
        """What the core schema makes of it."""
        return self.text if self.quoted else _resolve(self.text)

    @property
    def written(self) -> str:
        """What stands in the file: safe to show, as the environment's part is not in it."""
        return self.text if self.raw is None else self.raw


@dataclass(frozen=True, slots=True)
class Sequence:
    place: Place
    items: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """A key's place and its value."""

    place: Place
    node: Node


@dataclass(frozen=True, slots=True)
class Mapping:
    place: Place
    entries: dict[str, Entry]


Node = Scalar | Sequence | Mapping


def _resolve(text: str) -> bool | int | float | str | None:
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if _INT.fullmatch(text):
        return int(text)
    if _OTHER_INT.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


EMPTY = "the file is empty, `bridge init` writes one to start from"


def read(data: bytes, report: Report, *, empty: str = EMPTY) -> Node:
    """Return the tree of one YAML document; raise ConfigError where the text is no YAML.

    Duplicate keys are only reported: the rest of the file still has a meaning to check.
    """
    text = _decode(data, report)
    if not re.sub(r"(?m)^\s*(?:#.*|---.*|\.\.\.)?$", "", text).strip():
        raise report.stop(Place(), "", empty)
    composer = _Composer(text, report)
    try:
        return composer.document()
    except yaml.MarkedYAMLError as error:
        raise report.stop(*_syntax(error, text.splitlines(), composer.open)) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise report.stop(Place(), "", "this is no YAML") from error


def _decode(data: bytes, report: Report) -> str:
    if len(data) > MAX_BYTES:
        raise report.stop(Place(), "", "a configuration has at most 1 MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = _place_at(data[: error.start].decode("utf-8", "replace"))
        raise report.stop(place, "", "this is not UTF-8, save the file as UTF-8") from error
    found = _FORBIDDEN.search(text)
    if found:
        place = _place_at(text[: found.start()])
        raise report.stop(place, "", f"the character U+{ord(found[0]):04X} cannot stand in YAML, remove it")
    return text


def _place_at(before: str) -> Place:
    lines = before.splitlines() if before else [""]
    if before.endswith(("\n", "\r")):
        lines.append("")
    return Place(len(lines), len(lines[-1]) + 1)


# -- events to a tree --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Anchor:
    node: Node | None  # None while what it names is still being read
    size: int = 0


class _Composer:
    """Builds the tree of one document, within a depth and a number of nodes (aliases counted as often as used)."""

    def __init__(self, text: str, report: Report) -> None:
        self._events: Iterator[Event] = yaml.parse(text, Loader=yaml.CSafeLoader)
        self._report = report
        self._anchors: dict[str, _Anchor] = {}
        self._nodes = 0
        self.open: list[Place] = []  # the [ and { not closed so far

    def document(self) -> Node:
        root: Node | None = None
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                if root is not None:
                    raise self._report.stop(_place(event), "", "one file is one document, remove this `---`")
                root = self._node(next(self._events), "", 0)
            elif isinstance(event, StreamEndEvent):
                break
        return root if root is not None else Scalar(Place(), "")

    def _node(self, event: Event, path: str, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise self._report.stop(_place(event), "", f"nested more than {MAX_DEPTH} levels deep")
        if isinstance(event, AliasEvent):
            return self._alias(event, path)
        self._count(event, 1)
        before = self._nodes
        anchor = getattr(event, "anchor", None)
        if anchor:
            self._anchors[anchor] = _Anchor(None)
        node = self._content(event, path, depth)
        if anchor:
            self._anchors[anchor] = _Anchor(node, self._nodes - before + 1)
        return node

    def _content(self, event: Event, path: str, depth: int) -> Node:
        self._refuse_tag(event, path)
        match event:
            case SequenceStartEvent() | MappingStartEvent():
                return self._collection(event, path, depth)
            case ScalarEvent():
                return Scalar(_place(event), event.value, quoted=not event.implicit[0])
            case _:  # libyaml sends nothing else between a document's start and end
                raise self._report.stop(_place(event), path, "this is no YAML")

    def _collection(self, event: SequenceStartEvent | MappingStartEvent, path: str, depth: int) -> Sequence | Mapping:
        read = self._sequence if isinstance(event, SequenceStartEvent) else self._mapping
        if not event.flow_style:
            return read(event, path, depth)
        self.open.append(_place(event))
        node = read(event, path, depth)
        self.open.pop()
        return node

    def _count(self, event: Event, size: int) -> None:
        self._nodes += size
        if self._nodes > MAX_NODES:
            raise self._report.stop(_place(event), "", f"more than {MAX_NODES:,} values, aliases included")

    def _alias(self, event: AliasEvent, path: str) -> Node:
        found = self._anchors.get(event.anchor or "")
        if found is None:
            text = f'there is no anchor `&{event.anchor}`; put a value that begins with * in quotes: "*{event.anchor}"'
            raise self._report.stop(_place(event), path, text)
        if found.node is None:
            raise self._report.stop(_place(event), path, f"`*{event.anchor}` stands within itself")
        self._count(event, found.size)
        return found.node

    def _refuse_tag(self, event: Event, path: str) -> None:
        tag = getattr(event, "tag", None)
        if tag is None or (isinstance(event, ScalarEvent) and tag == "tag:yaml.org,2002:str"):
            return
        text = f"`{tag}` is a YAML tag, which means nothing here; put a value that begins with ! in quotes"
        if tag.startswith("!") and len(tag) > 1 and path.startswith("rules."):
            text += f', or write {{not: "{tag[1:]}"}} to exclude'
        raise self._report.stop(_place(event), path, text)

    def _sequence(self, start: Event, path: str, depth: int) -> Sequence:
        items: list[Node] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            items.append(self._node(event, under(path, len(items)), depth + 1))
        return Sequence(_place(start), tuple(items))

    def _mapping(self, start: Event, path: str, depth: int) -> Mapping:
        entries: dict[str, Entry] = {}
        merged: dict[str, Entry] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            key = self._key(event, path, depth)
            value = self._node(next(self._events), under(path, key.text), depth + 1)
            if key.text == "<<" and not key.quoted:
                merged = self._merge(value, path) | merged
            elif key.text in entries:
                first = entries[key.text].place.line
                self._report.error(key.place, under(path, key.text), f"duplicate key, first at line {first}")
            else:
                entries[key.text] = Entry(key.place, value)
        return Mapping(_place(start), merged | entries)

    def _key(self, event: Event, path: str, depth: int) -> Scalar:
        if isinstance(event, MappingStartEvent | SequenceStartEvent):
            text = "a key is plain text; put a value that begins with {{ or [ in quotes"
            raise self._report.stop(_place(event), path, text)
        key = self._node(event, path, depth + 1)
        if not isinstance(key, Scalar):
            raise self._report.stop(_place(event), path, "a key is plain text")
        return key

    def _merge(self, value: Node, path: str) -> dict[str, Entry]:
        """Return what ``<<`` brings in; of several mappings the earlier ones win."""
        if isinstance(value, Mapping):
            return value.entries
        if isinstance(value, Sequence) and all(isinstance(item, Mapping) for item in value.items):
            merged: dict[str, Entry] = {}
            for item in value.items:
                merged = self._merge(item, path) | merged
            return merged
        self._report.error(value.place, under(path, "<<"), "`<<` takes a mapping, or a list of mappings")
        return {}


def _place(event: Event) -> Place:
    return _mark(event.start_mark)


# -- what libyaml says, in words for who wrote the file ----------------------------------------------------------------

_QUOTE = "put quotes around a value that begins with * & ! @ ` % | > or {{"


def _syntax(error: yaml.MarkedYAMLError, lines: list[str], opened: list[Place]) -> tuple[Place, str, str]:
    """Return where a syntax error is, and what to do about it."""
    problem, context = error.problem or "", error.context or ""
    at, began = _mark(error.problem_mark), _mark(error.context_mark)
    line = _line(lines, at)
    if "\t" in line[: at.column] and not line[: at.column - 1].strip(" \t-"):
        return at, "", "a tab cannot indent YAML, use spaces"
    if re.search(r"alias|anchor|tag|block scalar", context) or "cannot start any token" in problem:
        return began if error.context_mark else at, "", _QUOTE
    if "flow" in context:
        began = opened[-1] if opened else began
        return began, "", _unclosed(_line(lines, began), began)
    if "quoted scalar" in context and "end of stream" in problem:
        return began, "", "the quote that begins here is never closed"
    if "escape" in problem:
        return at, "", "a backslash in \"double quotes\" begins an escape, use 'single quotes' for a pattern"
    if "mapping values are not allowed" in problem:
        return at, "", _colon(line, at)
    if '"' in line[: at.column] or "'" in line[: at.column]:
        return at, "", "text goes on after the closing quote; quote the whole value"
    if "sequence entries" in problem:
        return at, "", "a list that is written with - begins on a line of its own"
    if "incompatible YAML" in problem:
        return at, "", "this is YAML 1.2, remove the %YAML line"
    return at, "", "this does not fit what stands before it, look at the indentation of this line and those above"


def _mark(mark: Any) -> Place:  # yaml.Mark, of which there are two kinds, or None
    return Place(mark.line + 1, mark.column + 1) if mark else Place()


def _line(lines: list[str], place: Place) -> str:
    return lines[place.line - 1] if place.line <= len(lines) else ""


def _unclosed(line: str, began: Place) -> str:
    opened = line[began.column - 1 : began.column]
    closing = {"[": "]", "{": "}"}.get(opened, opened)
    text = f"the `{opened}` that begins here is not closed with `{closing}`"
    if re.search(r"\s#", line[began.column :]):
        return f"{text}: did `#…` become a comment? put it in quotes"
    if re.search(r"[\s\[{,:]\$\{", line[began.column - 1 :]):
        return f"{text}: ${{NAME}} needs quotes within [ ] and {{ }}"
    if "{{" in line[began.column - 1 :]:
        return f"{text}: put a value with {{{{ in quotes"
    return f"{text}, or a value in it needs quotes"


def _colon(line: str, at: Place) -> str:
    before = line[: at.column - 1]
    if re.search(r":\s", before):
        return "a second `: ` in one line: put the value in quotes"
    return "a `:` is not expected here: look at the indentation, and for a `:` without a space in the line above"
