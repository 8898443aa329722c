"""Which templates are there: the operator's ``templates/`` beside the configuration before the shipped ones?

Only finds and reads them; whether they work is for `bridge.render` to say.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from bridge.config.report import Place, Report

FOLDER = "templates"
_PACKAGE = Path(__file__).parents[1]
_SHIPPED = (_PACKAGE / "_templates", _PACKAGE.parent / FOLDER)  # in an installed package, in a checkout
_NAME = re.compile(r"[\w.-]+\.md\.j2|[a-z_]+/[\w.-]+\.json\.j2", re.ASCII)
_LARGEST = 256 * 1024
_MOST = 500


def templates(folder: Path, report: Report) -> dict[str, str]:
    """Return ``run.md.j2``, ``slack/run.json.j2``, ... with their texts; what cannot be read is reported."""
    ours = shipped()
    # In a checkout the folder beside the configuration is the shipped one itself: nothing of it is the operator's.
    own = {name: text for name, text in _read(folder / FOLDER, report).items() if ours.get(name) != text}
    # An own run.md.j2 may extend "run.md.j2": the renderer then takes the shipped one, kept under this name.
    replaced = {f"shipped/{name}": text for name, text in ours.items() if name in own}
    return ours | own | replaced


def shipped() -> dict[str, str]:
    """Return the templates that come with bridge."""
    place = next((place for place in _SHIPPED if place.is_dir()), None)
    return _read(place, Report("")) if place else {}


def shown(file: str, name: str) -> str:
    """Return how a template is called in a problem: beside the configuration that is called `file`."""
    return os.path.join(os.path.dirname(file), FOLDER, name)


def _read(folder: Path, report: Report) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        own = Report(shown(report.file, name))
        if not _NAME.fullmatch(name):
            own.warn(Place(), "", "not used: a template is called NAME.md.j2, or slack/NAME.json.j2")
        else:
            text = _text(path, own)
            if text is not None:
                found[name] = text
        report.take(own)
    return found


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.glob("**/*.j2") if path.is_file())[:_MOST]
    except OSError:
        return []


def _text(path: Path, report: Report) -> str | None:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            report.error(Place(), "", "a template has at most 256 KiB")
            return None
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        report.error(Place(), "", "this is not UTF-8, save the file as UTF-8")
    except OSError as error:
        report.error(Place(), "", f"cannot be read: {error.strerror}")
    return None
