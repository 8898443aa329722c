"""Which configuration holds, and is it right?

Finds the text (a file, the environment, or a starter made from a few variables), reads it with its templates, and
returns a `Config` or raises ConfigError with every problem. The environment is an argument; nothing is written, and
only the configuration, its templates and the files it names in ``${file:}`` are read.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bridge.config.beside import (
    INCLUDE,
    PEOPLE_FROM,
    Beside,
    beside,
    named_files,
    with_entries,
    with_items,
    without,
    written,
)
from bridge.config.build import build
from bridge.config.fill import files, fill
from bridge.config.model import Config
from bridge.config.reader import Reader
from bridge.config.report import Place, Report
from bridge.config.rules import ON_DEFAULT_BRANCH
from bridge.config.templates import FOLDER, templates
from bridge.config.yaml import MAX_BYTES, read
from bridge.config.yaml import Mapping as Tree
from bridge.destinations import DESTINATIONS
from bridge.errors import ConfigError

DEFAULT_FILE = "config.yaml"
STARTER = "starter configuration"
STARTERS = {"slack": "SLACK_WEBHOOK_URL", "discord": "DISCORD_WEBHOOK_URL"}
_STARTER = """\
sources:
  github: {{type: github, secret: "${{WEBHOOK_SECRET}}"}}
  cirrus: {{type: cirrus, secret: "${{WEBHOOK_SECRET}}"}}
destinations:
{destinations}
rules:
  - name: broken or fixed on the default branch
    match: {{change: [broken, fixed], if: {condition}}}
    to: [{names}]
"""
_GZIP = "H4sI"  # how base64 of gzip begins


@dataclass(frozen=True)
class Found:
    """A configuration's text and what to call it. `path` is None where it came from the environment."""

    data: bytes
    file: str
    path: Path | None = None
    starter: bool = False
    warning: str = ""

    @property
    def folder(self) -> Path:
        """What relative paths are relative to."""
        return self.path.parent if self.path else Path()


def load(path: str | None, environ: Mapping[str, str]) -> Config:
    """Return the configuration at `path`, or the one that `environ` and the current folder lead to.

    Raises ConfigError, and nothing else, whatever the file holds.
    """
    found = find(path, environ)
    report = Report(found.file)
    if found.warning:
        report.warn(Place(), "", found.warning)
    text = read(found.data, report)
    reader = Reader(report, found.data.decode("utf-8-sig").splitlines())
    reader.literals(text)
    tree = fill(text, environ, found.folder, report)
    files = [_filled(one, "rules", environ, found.folder) for one in beside(text, INCLUDE, found.folder, report)]
    lists = [_filled(one, "people", environ, found.folder) for one in beside(text, PEOPLE_FROM, found.folder, report)]
    config = build(reader, tree, templates(found.folder, report), files, lists)
    if report.failed:
        raise report.as_error()
    return replace(config, folder=found.folder, starter=found.starter, warnings=tuple(report.problems))


def _filled(one: Beside, path: str, environ: Mapping[str, str], folder: Path) -> Beside:
    one.reader.literals(one.tree, path)
    return replace(one, tree=fill(one.tree, environ, folder, one.reader.report, path))


def whole(found: Found) -> bytes:
    """Return the text with what it includes, for where no files are; raise ConfigError where that cannot be read."""
    report = Report(found.file)
    tree = read(found.data, report)
    if not isinstance(tree, Tree) or not {INCLUDE, PEOPLE_FROM} & tree.entries.keys():
        return found.data
    rules = [one.tree for one in beside(tree, INCLUDE, found.folder, report)]
    people = [one.tree for one in beside(tree, PEOPLE_FROM, found.folder, report)]
    if report.failed:
        raise report.as_error()
    alone = with_entries(with_items(without(tree, INCLUDE, PEOPLE_FROM), "rules", rules), "people", people)
    return written(alone).lstrip("\n").encode()


# -- where it is -------------------------------------------------------------------------------------------------------


def find(path: str | None, environ: Mapping[str, str]) -> Found:
    """Return the text that holds: what is named first, then the variable, then ./config.yaml, then the starter."""
    named = path or environ.get("BRIDGE_CONFIG")
    if named:
        return _open(named)
    packed = environ.get("BRIDGE_CONFIG_YAML", "").strip()
    beside = Path(DEFAULT_FILE).exists()
    if packed:
        warning = f"both this variable and ./{DEFAULT_FILE} are there, the variable is used" if beside else ""
        return Found(_unpack(packed), "BRIDGE_CONFIG_YAML", warning=warning)
    return _open(DEFAULT_FILE) if beside else _starter(environ)


def _open(name: str) -> Found:
    try:
        path = Path(name)
        if path.is_dir():
            raise _refused(name, f"this is a folder, name the file in it: {path / DEFAULT_FILE}")
        with path.open("rb") as file:
            return Found(file.read(MAX_BYTES + 1), name, path)
    except FileNotFoundError as error:
        raise _refused(name, "there is no such file, `bridge init` writes one to start from") from error
    except (OSError, ValueError) as error:
        raise _refused(name, f"cannot be read: {getattr(error, 'strerror', None) or 'no such path'}") from error


def _refused(file: str, text: str) -> ConfigError:
    return Report(file).stop(Place(), "", text)


def _unpack(value: str) -> bytes:
    """Return the text of BRIDGE_CONFIG_YAML: as it is, or packed by ``bridge config pack``."""
    if not value.startswith(_GZIP):
        return value.encode("utf-8", "surrogatepass")
    try:
        inflate = zlib.decompressobj(wbits=31)
        data = inflate.decompress(base64.b64decode("".join(value.split()), validate=True), MAX_BYTES + 1)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise _refused("BRIDGE_CONFIG_YAML", "this is not what `bridge config pack` prints, copy all of it") from error
    if not inflate.eof and len(data) <= MAX_BYTES:
        raise _refused("BRIDGE_CONFIG_YAML", "the end is missing, copy all of what `bridge config pack` prints")
    return data


def _starter(environ: Mapping[str, str]) -> Found:
    """Return the configuration that a deploy button's few variables make."""
    chats = [chat for chat, name in STARTERS.items() if environ.get(name)]
    if not chats:
        text = "there is no configuration: `bridge init` writes one to start from, --config or BRIDGE_CONFIG names one"
        if environ.get("WEBHOOK_SECRET"):
            text += f"; or set {' or '.join(STARTERS.values())} beside WEBHOOK_SECRET"
        raise _refused(DEFAULT_FILE, text)
    for chat in chats:
        if chat not in DESTINATIONS:
            raise _refused(STARTER, f"not yet: this version cannot post to {chat}, unset {STARTERS[chat]}")
    if not environ.get("WEBHOOK_SECRET"):
        raise _refused(STARTER, "set WEBHOOK_SECRET too: the secret with which GitHub or Cirrus CI signs")
    destinations = "".join(f"  {chat}: {{type: {chat}, url: '${{{STARTERS[chat]}}}'}}\n" for chat in chats)
    text = _STARTER.format(destinations=destinations, names=", ".join(chats), condition=ON_DEFAULT_BRANCH)
    return Found(text.encode(), STARTER, starter=True)


def starter_text() -> str:
    """Return what ``bridge init`` writes."""
    return Path(__file__).with_name("starter.yaml").read_text("utf-8")


def watched_paths(path: str | None, environ: Mapping[str, str]) -> list[Path]:
    """Return the files and folders whose change calls for a reload, whether they are there or not."""
    try:
        found = find(path, environ)
    except ConfigError:
        named = path or environ.get("BRIDGE_CONFIG")
        return [Path(named)] if named else []
    watched = [found.path] if found.path else []
    text = found.data.decode("utf-8", "replace")
    return [*watched, found.folder / FOLDER, *files(text, found.folder), *_included(found, text)]


def _included(found: Found, text: str) -> list[Path]:
    if (
        INCLUDE not in text and PEOPLE_FROM not in text
    ):  # asked every second: what names no other file is not read again for that
        return []
    try:
        tree = read(found.data, Report(""))
        paths = [path for key in (INCLUDE, PEOPLE_FROM) for path in named_files(tree, key, found.folder)]
    except ConfigError:
        return []
    return [*paths, *(secret for path in paths for secret in files(_text(path), found.folder))]


def _text(path: Path) -> str:
    try:
        return path.read_bytes()[:MAX_BYTES].decode("utf-8", "replace")
    except OSError:
        return ""
