"""Does `bridge explain` show, for every kind of destination, what people would read there?"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from bridge.cli import bridge
from bridge.destinations import DESTINATIONS
from tests.destinations.chats import CHATS
from tests.running import github_run, write_config

TITLE = "Count retries once"
NOTIFIED = "    notifies octocat"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    places = {chat.name: {"type": chat.type} | chat.options(chat.fake()) for chat in CHATS}
    ids = {DESTINATIONS[chat.type].PERSON: chat.person for chat in CHATS}
    people = {"octocat": {key: value for key, value in ids.items() if key != "console"}}
    rules = [{"name": "everywhere", "to": list(places), "mention": "octocat"}]
    parts = {"destinations": places, "people": people, "rules": rules}
    write_config(tmp_path, "".join(f"{key}: {json.dumps(value)}\n" for key, value in parts.items()))
    (tmp_path / "run.json").write_bytes(github_run(1, "completed", "failure", title=TITLE))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'bridge.db'}")
    return tmp_path


def explained() -> dict[str, str]:
    """Return what is printed below each destination."""
    done = CliRunner().invoke(bridge, ["explain", "--source", "github", "run.json"], catch_exceptions=False)
    assert done.exit_code == 0
    shown = {}
    for part in done.stdout.partition("\nmessages\n")[2].split("\n\n"):
        heads = [line for line in part.split("\n") if line.startswith("  to ")]
        told = [line for line in part.split("\n") if line.startswith("    ")]
        assert {line for line in told if line == NOTIFIED} == {NOTIFIED}
        below = "\n".join(line for line in told if line != NOTIFIED)
        shown |= {head.split(" ")[3]: below for head in heads}
    return shown


@pytest.mark.usefixtures("folder")
def test_every_chats_message_is_printed() -> None:
    shown = explained()
    assert set(shown) == {chat.name for chat in CHATS}
    words = {name: re.sub(r"[*_`]|\u2060| <[^>]*>", "", text) for name, text in shown.items()}
    assert [name for name, text in words.items() if "CI broke on main" not in text or TITLE not in text] == []


@pytest.mark.usefixtures("folder")
def test_each_is_printed_as_its_chat_would_show_it() -> None:
    shown = explained()
    page = "<https://github.com/acme/app/actions/runs/1>"
    assert f"**CI broke on main** {page} · acme/app @octocat" in shown["slack"]
    assert f"    🔴 **CI broke on main** {page} · acme/app 🔔 (@octocat)\n" in shown["telegram"]
    assert "attention ┃" in shown["teams"]
    assert "builds > acme/app" in shown["zulip"]
    assert "Cc: @octocat" in shown["email"]
    assert f"[Open run] {page}" in shown["discord"]
    assert f"Open run {page}" in shown["matrix"], "a link, where there are no buttons"
    assert json.loads(shown["webhook"])["data"]["status"] == "failure", "a program is shown what it gets"


@pytest.mark.usefixtures("folder")
def test_what_looks_the_same_is_printed_once() -> None:
    done = CliRunner().invoke(bridge, ["explain", "--source", "github", "run.json"])
    bot, webhook = (done.stdout.index(f"\n  to {name} ") for name in ("slack", "slack-webhook"))
    assert done.stdout[bot + 1 : webhook].split("\n")[1:] == [NOTIFIED], "beside its name, who is notified there"
    assert explained()["slack"] == explained()["slack-webhook"]


def test_a_platforms_own_template_is_printed_as_the_json_that_it_is(folder: Path) -> None:
    own = folder / "templates" / "slack" / "run.json.j2"
    own.parent.mkdir(parents=True)
    own.write_text('{"blocks": [{"type": "divider", "block_id": "{{ author }} \u202e"}]}', "utf-8")
    shown = explained()
    text = shown["slack"]
    assert json.loads(text) == {"blocks": [{"type": "divider", "block_id": "octocat ·"}]}, (
        "it cannot drive the terminal"
    )
    assert "CI broke on main" in shown["discord"], "and no other chat's"
