"""Which other files does a configuration consist of: teams' rules (``include``), lists of people (``people_from``)?

Finds and reads them, each with a report of its own, so that a problem is told at its place in its file. A file that
is named so names no further ones. Nothing is filled in here, and a missing file is a problem, never an exception.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from bridge.config.people import people
from bridge.config.reader import Reader, short
from bridge.config.report import Place, Report, under
from bridge.config.yaml import MAX_BYTES, Entry, Mapping, Node, Scalar, Sequence, read
from bridge.errors import ConfigError

MOST_FILES = 500
INCLUDE = "include"
PEOPLE_FROM = "people_from"


@dataclass(frozen=True)
class Beside:
    """One such file: what it says, and who reports what is wrong in it."""

    path: Path
    reader: Reader
    tree: Node


def beside(tree: Node, key: str, folder: Path, report: Report) -> list[Beside]:
    """Return the files that `key` names, each once, in the order of their names within a pattern."""
    found: dict[Path, Beside | None] = {}
    for scalar, where in _named(tree, key):
        paths = list(_paths(scalar.text, folder))
        if not paths:
            report.error(scalar.place, where, f"there is no file '{short(scalar.text)}' beside the configuration")
        for path in paths:
            if path not in found:
                found[path] = _read(path, folder, report)
    return [one for one in found.values() if one is not None]


def named_files(tree: Node, key: str, folder: Path) -> list[Path]:
    """Return what has to be watched: the files, and those that are named and not there."""
    return [
        path
        for scalar, _ in _named(tree, key)
        if "\0" not in scalar.text
        for path in (*_paths(scalar.text, folder), *(() if glob.has_magic(scalar.text) else (folder / scalar.text,)))
    ]


def _named(tree: Node, key: str) -> Iterator[tuple[Scalar, str]]:
    """Yield the texts at a top-level key; whatever else stands there is reported by the walk."""
    if not isinstance(tree, Mapping) or key not in tree.entries:
        return
    node = tree.entries[key].node
    items = enumerate(node.items) if isinstance(node, Sequence) else [(None, node)]
    for i, item in items:
        if isinstance(item, Scalar) and item.text:
            yield item, key if i is None else under(key, i)


def _paths(pattern: str, folder: Path) -> Iterator[Path]:
    """Yield the files that fit, at most so many; a bare name fits itself."""
    try:
        names = sorted(islice(glob.iglob(pattern, root_dir=folder), MOST_FILES))
        yield from (folder / name for name in names if (folder / name).is_file())
    except (OSError, ValueError):
        return


def _read(path: Path, folder: Path, report: Report) -> Beside | None:
    """Return the file's tree, or None where it is none and that has been reported."""
    shown = os.path.join(os.path.dirname(report.file), os.path.relpath(path, folder))
    own = Report(shown)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        table = path.suffix.lower() == ".csv"
        tree = people(data, own) if table else read(data, own, empty="the file is empty, write something or remove it")
        return Beside(path, Reader(own, data.decode("utf-8-sig").splitlines()), tree)
    except OSError as error:
        own.error(Place(), "", f"cannot be read: {error.strerror}")
    except ConfigError:
        pass  # it is what `own` holds
    report.take(own)
    return None


# -- all in one --------------------------------------------------------------------------------------------------------


def without(tree: Mapping, *keys: str) -> Mapping:
    return Mapping(tree.place, {name: entry for name, entry in tree.entries.items() if name not in keys})


def with_entries(tree: Mapping, key: str, more: list[Node]) -> Mapping:
    """Return `tree` with the entries of other files' mappings beside those of its own at `key`."""
    all_of_them = [*([tree.entries[key].node] if key in tree.entries else []), *more]
    entries = {name: one for node in all_of_them if isinstance(node, Mapping) for name, one in node.entries.items()}
    return Mapping(tree.place, {**tree.entries, key: Entry(tree.place, Mapping(tree.place, entries))})


def with_items(tree: Mapping, key: str, more: list[Node]) -> Mapping:
    """Return `tree` with the items of other files' lists after those of its own list at `key`."""
    lists = [*([tree.entries[key].node] if key in tree.entries else []), *more]
    items = tuple(item for one in lists if isinstance(one, Sequence) for item in one.items)
    return Mapping(tree.place, {**tree.entries, key: Entry(tree.place, Sequence(tree.place, items))})


def written(node: Node, indent: str = "") -> str:
    """Return a tree as YAML again, with every reference as it stands; comments, anchors and ``x-`` keys are gone.

    Plain text stays plain, for it may be a number or a reference that becomes one.
    """
    deeper = indent + "  "
    if isinstance(node, Scalar):
        plain = not node.quoted and "\n" not in node.text
        return f" {node.text}" if plain else f" {_quoted(node.text)}"
    if isinstance(node, Sequence):
        return "".join(f"\n{indent}-{written(item, deeper)}" for item in node.items) or " []"
    lines = [f"\n{indent}{_quoted(key)}:{written(entry.node, deeper)}" for key, entry in node.entries.items()]
    return "".join(lines) or " {}"


def _quoted(text: str) -> str:
    r"""Return `text` in double quotes; what libyaml would take for a line's end or refuses is written as \uXXXX."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() or c == " " else f"\\U{ord(c):08X}" for c in plain) + '"'
