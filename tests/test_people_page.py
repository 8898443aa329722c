"""docs/people.md: its examples are right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from bridge.cli import bridge
from bridge.config import load

PAGE = (Path(__file__).parents[1] / "docs" / "people.md").read_text("utf-8")
YAML = re.findall(r"(?s)```yaml\n(.*?)```", PAGE)
HEAD = """\
sources: {github: {type: github, secret: s3cret-value, api_token: t0ken-value}}
"""
PLACE = """\
destinations: {builds: {type: slack, token: t0ken, channel: "#builds", find_people: true}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'bridge.db'}")
    return tmp_path


def test_the_examples_are_one_configuration_whose_test_holds(folder: Path) -> None:
    rules, people, place, tests = YAML
    (folder / "config.yaml").write_text(HEAD + place + rules + people + tests)
    assert load("config.yaml", {"SLACK_BOT_TOKEN": "t0ken-value"}).people["mona"].ids == {"slack": "U0MONALIS"}
    done = CliRunner(env={"SLACK_BOT_TOKEN": "t0ken-value"}).invoke(bridge, ["test"], catch_exceptions=False)
    assert (done.exit_code, "1" in done.output) == (0, True), done.output


def test_what_explain_says_is_as_shown(folder: Path) -> None:
    rules, people, *_ = YAML
    (folder / "config.yaml").write_text(HEAD + PLACE + rules.replace("owners", "committer") + people)
    shown = re.search(r"(?s)```console\n\$ bridge (.*?)\n(.*?)```", PAGE)
    assert shown is not None
    done = CliRunner().invoke(bridge, shown[1].split(), catch_exceptions=False)
    expected = [line for line in shown[2].splitlines() if line != "..."]
    assert [line for line in expected if line not in done.output.splitlines()] == []
