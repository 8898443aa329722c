"""Does `bridge explain` show, for every kind of destination, what people would read there?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bridge.cli import bridge
from tests.destinations.chats import CHATS
from tests.running import github_run, write_config

TITLE = "Count retries once"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    places = {chat.name: {"type": chat.type} | chat.options(chat.fake()) for chat in CHATS}
    rules = [{"name": "everywhere", "to": list(places)}]
    write_config(tmp_path, f"destinations: {json.dumps(places)}\nrules: {json.dumps(rules)}\n")
    (tmp_path / "run.json").write_bytes(github_run(1, "completed", "failure", title=TITLE))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'bridge.db'}")
    return tmp_path


def explained() -> dict[str, str]:
    """Return what is printed below each destination."""
    done = CliRunner().invoke(bridge, ["explain", "--source", "github", "run.json"], catch_exceptions=False)
    assert done.exit_code == 0
    return {part.partition(" ")[0]: part for part in done.stdout.split("\n  to ")[1:]}


@pytest.mark.usefixtures("folder")
def test_every_chats_message_is_printed() -> None:
    shown = explained()
    assert set(shown) == {chat.name for chat in CHATS}
    assert all("CI broke on main" in text and TITLE in text for text in shown.values())


def test_a_platforms_own_template_is_printed_as_the_json_that_it_is(folder: Path) -> None:
    own = folder / "templates" / "slack" / "run.json.j2"
    own.parent.mkdir(parents=True)
    own.write_text('{"blocks": [{"type": "divider", "block_id": "{{ author }} \u202e"}]}', "utf-8")
    shown = explained()
    text = shown["slack"].partition("\n")[2]
    assert json.loads(text) == {"blocks": [{"type": "divider", "block_id": "octocat ·"}]}, (
        "it cannot drive the terminal"
    )
    assert "CI broke on main" in shown["discord"], "and no other chat's"
