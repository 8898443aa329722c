"""What do ``${NAME}``, ``${NAME:-default}`` and ``${file:/run/secrets/x}`` stand for?

A tree goes in and the tree with its values comes out. Filling happens in single values after the YAML was read, so a
secret with a colon or a line break in it changes nothing around it and every place holds. ``$$`` is a dollar sign.
The forms are Compose's: https://docs.docker.com/reference/compose-file/interpolation/

What was filled in is never part of a problem's text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as Environment
from dataclasses import replace
from pathlib import Path

from bridge.config.report import Report, under
from bridge.config.yaml import Entry, Mapping, Node, Scalar, Sequence
from bridge.route import suggest

MAX_FILE = 64 * 1024
_REFERENCE = re.compile(r"\$(?:(\$)|\{([^}]*)(\}?))")
_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)


class _Unfilled(Exception):
    """Why a reference has no value, in words."""


def fill(node: Node, environ: Environment[str, str], folder: Path, report: Report, path: str = "") -> Node:
    """Return `node` with every reference replaced; what has no value is reported and marked as broken.

    Top-level ``x-…`` keys only hold what is used elsewhere by alias, so they are left alone.
    """
    if isinstance(node, Scalar):
        return _fill_scalar(node, environ, folder, report, path)
    if isinstance(node, Sequence):
        items = (fill(item, environ, folder, report, under(path, i)) for i, item in enumerate(node.items))
        return Sequence(node.place, tuple(items))
    entries: dict[str, Entry] = {}
    for key, entry in node.entries.items():
        if path or not key.startswith("x-"):
            entries[key] = Entry(entry.place, fill(entry.node, environ, folder, report, under(path, key)))
    return Mapping(node.place, entries)


def _fill_scalar(scalar: Scalar, environ: Environment[str, str], folder: Path, report: Report, path: str) -> Scalar:
    if "$" not in scalar.text:
        return scalar
    try:
        text = _REFERENCE.sub(lambda found: _reference(found, environ, folder), scalar.text)
    except _Unfilled as error:
        report.error(scalar.place, path, str(error))
        return replace(scalar, raw=scalar.text, broken=True)
    return replace(scalar, text=text, raw=scalar.text)


def _reference(found: re.Match[str], environ: Environment[str, str], folder: Path) -> str:
    dollar, inside, end = found.groups()
    if dollar:
        return "$"
    if not end:
        raise _Unfilled("`${` is not closed with `}`; write $${ for the characters themselves")
    if inside.startswith("file:"):
        return _file(inside.removeprefix("file:"), folder)
    name = _NAME.fullmatch(inside)
    if not name or "${" in inside:
        raise _Unfilled("write ${NAME}, ${NAME:-default} or ${file:/path}; $${ gives the characters themselves")
    value = environ.get(name[1])
    if not value and name[2] is not None:
        return name[2]
    if value is None:
        near = suggest(name[1], (known for known in environ if known[:1] == name[1][:1]))
        raise _Unfilled(f"environment variable {name[1]} is not set{near}")
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise _Unfilled(f"environment variable {name[1]} is not UTF-8 text")
    return value


def _file(written: str, folder: Path) -> str:
    """Return what a secret's file holds, without the line break at its end; relative paths are the configuration's."""
    try:
        path = folder / written
        if not path.exists():
            raise _Unfilled(f"there is no file {written}")
        if not path.is_file():
            raise _Unfilled(f"{written} is no file")
        with path.open("rb") as file:
            content = file.read(MAX_FILE + 1)
        text = content.decode()
    except UnicodeDecodeError as error:
        raise _Unfilled(f"{written} is not UTF-8 text") from error
    except (OSError, ValueError) as error:
        raise _Unfilled(f"{written} cannot be read: {getattr(error, 'strerror', None) or 'no such path'}") from error
    if len(content) > MAX_FILE:
        raise _Unfilled(f"{written} has more than {MAX_FILE // 1024} KiB, which is no secret")
    return text.rstrip("\r\n")


def files(text: str, folder: Path) -> list[Path]:
    """Return the files that a configuration's text refers to, whether they are there or not."""
    names = (found[2] for found in _REFERENCE.finditer(text) if found[2] and found[2].startswith("file:"))
    return [folder / name.removeprefix("file:") for name in dict.fromkeys(names) if "\0" not in name]
