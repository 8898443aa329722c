"""Every test of this folder works in an empty folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.config import Config, load
from bridge.errors import ConfigError

ENVIRON = {"SECRET": "s3cret-value", "URL": "https://hooks.example/T1", "EMPTY": "", "TOKEN": "bot-token-value"}

HEAD = """\
version: 1
sources: {github: {type: github, secret: "${SECRET}"}}
destinations: {team: {type: slack, url: "${URL}"}, bot: {type: slack, token: "${TOKEN}", channel: "#builds"}}
people: {octocat: {slack: U024BE7LH}}
rules:
  - {name: all, to: [team, bot]}
"""

Loading = Callable[..., Config]
Lines = Callable[..., list[str]]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def loading(folder: Path) -> Loading:
    """Write a text to config.yaml and load it."""

    def loading(text: str | bytes, environ: dict[str, str] = ENVIRON) -> Config:
        (folder / "config.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
        return load(None, environ)

    return loading


@pytest.fixture
def lines(loading: Loading) -> Lines:
    """Return every problem and warning of a text, as `bridge check` prints them."""

    def lines(text: str | bytes, environ: dict[str, str] = ENVIRON) -> list[str]:
        try:
            return [str(problem) for problem in loading(text, environ).warnings]
        except ConfigError as error:
            return str(error).splitlines()

    return lines


@pytest.fixture
def rule(lines: Lines) -> Lines:
    """Return the problems of one more rule in a right configuration, whose lines begin with 7."""
    return lambda text: lines(f"{HEAD}  - name: mine\n{text}")
