"""`bridge explain`: of a recorded event, of one that did not happen, and the rules as a table."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bridge.cli import bridge
from bridge.config import load
from bridge.receive import Deciding
from bridge.store import open_store
from tests.arrivals import arrival, event

HEAD = """\
sources: {github: {type: github, secret: s}}
destinations:
  builds: {type: console}
  team: {type: slack, token: t, channel: "#team"}
people: {octocat: {slack: U024BE7LH}}
rules:
"""
RED = "  - {name: red, match: {branch: main, change: broken}, to: builds}\n"
MORE = """\
  - name: more
    match: {kind: push, branch: [main, {not: old/*}], if: private}
    to: [builds, {destination: team, channel: "#x", live: true, thread: true, template: run, mention: octocat}]
    stop: true
  - {name: all, to: team}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BRIDGE_CONFIG", raising=False)
    monkeypatch.delenv("BRIDGE_CONFIG_YAML", raising=False)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'bridge.db'}")
    (tmp_path / "config.yaml").write_text(HEAD + RED)
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(bridge, ["explain", *words], catch_exceptions=False)


@pytest.fixture
def kept(folder: Path) -> None:
    """Run 1 breaks main, run 2 fails again, and one body nobody understood."""

    async def fill() -> None:
        store = await open_store("sqlite:///bridge.db")
        deciding = Deciding(load("config.yaml", {}).rules)
        for number in (1, 2):
            await store.accept(arrival(event(number, "failure"), f"k{number}", number), deciding)
        await store.accept(arrival(None, "odd", 3, problem="not JSON"), deciding)
        await store.close()

    asyncio.run(fill())


# -- a recorded event --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("kept")
def test_a_recorded_event_is_told_as_it_was_routed_then_and_by_the_present_rules(folder: Path) -> None:
    (folder / "config.yaml").write_text(HEAD + RED.replace("name: red", "name: crimson").replace("builds", "team"))
    done = run("e1", "--json")
    found: Any = json.loads(done.output)
    assert done.exit_code == 0
    assert found["recorded"] == {
        "id": "e1",
        "received_at": "2026-01-01T12:00:01.000Z",
        "state": "routed",
        "rules": ["red"],
        "deliveries": [{"id": "d1", "destination": "builds", "channel": None, "state": "pending"}],
    }
    assert [(one["name"], one["matched"]) for one in found["rules"]] == [("crimson", True)]
    assert [one["destination"] for one in found["messages"]] == ["team"]
    assert run("e1").output.splitlines()[:5] == [
        "when e1 came, 2026-01-01T12:00:01.000Z: routed",
        "  yes  red",
        "  d1 to builds: pending",
        "",
        "by the present rules",
    ]


@pytest.mark.usefixtures("kept")
def test_what_a_recorded_event_changed_is_not_guessed_anew() -> None:
    done = run("e2", "--json")
    assert (json.loads(done.output)["event"]["change"], done.exit_code) == ("still_failing", 1)


@pytest.mark.usefixtures("kept")
def test_a_recorded_event_that_nobody_understood_says_why() -> None:
    done = run("e3")
    assert (done.output, done.exit_code) == ("unreadable: not JSON\n", 1)


@pytest.mark.usefixtures("kept")
def test_an_event_that_is_not_kept_is_told_in_words() -> None:
    done = run("e99")
    assert (done.exit_code, "no event is kept under e99" in done.output) == (1, True)


# -- one that did not happen -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("folder")
def test_who_would_be_told_is_asked_by_fields() -> None:
    broken = run("--event", "repository=acme/app,branch=main,change=broken", "--json")
    assert (broken.exit_code, json.loads(broken.output)["messages"][0]["destination"]) == (0, "builds")
    assert run("--event", "repository=acme/app", "--event", "branch=other,change=broken").exit_code == 1


@pytest.mark.usefixtures("folder")
def test_a_value_keeps_its_commas_numbers_are_numbers_and_labels_are_several() -> None:
    texts = "title=one, two,pull_request=7,label=a,label=b,draft=true,status=failure"
    event = json.loads(run("--event", texts, "--json").output)["event"]
    assert (event["title"], event["pull_request"], event["labels"], event["draft"]) == ("one, two", 7, ["a", "b"], True)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("brnach=main", "an event has no 'brnach', did you mean 'branch'?"),
        ("change=borken", "'borken' is none of broken,"),
        ("main", "'main': write NAME=VALUE"),
        ("branch=", "'branch=': write NAME=VALUE"),
        ("draft=maybe", "draft: write true or false"),
        ("pull_request=x", "pull_request: write a number"),
        ("source=gihtub", "no source named 'gihtub', did you mean 'github'?"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_field_that_is_none_is_wrong_usage(text: str, problem: str) -> None:
    done = run("--event", text)
    assert (done.exit_code, problem in " ".join(done.output.split())) == (2, True), done.output


@pytest.mark.parametrize("words", [(), ("--rules", "e1"), ("--event", "branch=x", "e1"), ("gone.json",)])
@pytest.mark.usefixtures("folder")
def test_one_thing_is_explained_at_a_time(words: tuple[str, ...]) -> None:
    assert run(*words).exit_code == 2


@pytest.mark.usefixtures("folder")
def test_a_file_that_is_not_there_is_wrong_usage() -> None:
    done = run("--source", "github", "gone.json")
    assert (done.exit_code, "gone.json cannot be read: No such file" in done.output) == (2, True)


# -- flaky, new, in a row ----------------------------------------------------------------------------------------------

QUIET = """\
  - {name: worse, match: {change: newly_failing}, to: builds}
  - {name: tasks, match: {kind: task, change: newly_failing}, to: builds}
  - {name: nightly, to: builds, after: {failures: 3}, flaky: ignore}
"""


@pytest.mark.parametrize(
    ("text", "wanted", "why"),
    [
        ("change=still_failing,failures=2", [], "after: 3 failures in a row, saw the 2nd"),
        ("change=still_failing,failures=3", ["nightly"], "change: newly_failing, saw still_failing"),
        ("change=still_failing,failures=3,newly_failing=lint", ["worse", "nightly"], ""),
        ("change=fixed,flaky=true,status=success", ["nightly"], "change: newly_failing, saw fixed"),
        ("task=lint,status=failure", ["tasks"], ""),
        ("task=lint,status=success", [], "change: newly_failing, saw no change"),
    ],
)
def test_what_is_new_flaky_or_in_a_row_is_judged_and_why(folder: Path, text: str, wanted: list[str], why: str) -> None:
    (folder / "config.yaml").write_text(HEAD + QUIET)
    done = run("--event", text, "--json")
    verdicts = json.loads(done.output)["rules"]
    assert [one["name"] for one in verdicts if one["matched"]] == wanted
    assert why in "; ".join(f"{one['failed']}, saw {one['saw']}" for one in verdicts if not one["matched"])


def test_the_table_says_from_which_failure_on_a_rule_speaks(folder: Path) -> None:
    (folder / "config.yaml").write_text(HEAD + QUIET)
    assert json.loads(run("--rules", "--json").output)[2]["when"] == [
        "everything that is heard unasked",
        "from the 3rd failure in a row",
        "flaky: ignore",
    ]


# -- whom it would notify

WHOM = "  - {name: who, to: team, mention: [author, committer, pusher, owners]}\n"
BROKE = "branch=main,change=broken,author=octocat,committer=ghost"


def test_whom_a_message_would_notify_is_said_and_why_nobody(folder: Path) -> None:
    (folder / "config.yaml").write_text(HEAD + WHOM)
    output = run("--event", BROKE).output
    for line in (
        "    notifies octocat (author)\n",
        "    notifies nobody for committer: ghost is nobody under people\n",
        "    notifies nobody for pusher: the event tells no pusher\n",
        "    notifies nobody for owners: no owners are told\n",
    ):
        assert line in output
    (message,) = json.loads(run("--event", BROKE, "--json").output)["messages"]
    assert message["mentions"] == ["U024BE7LH"]
    assert message["whom"][:2] == [
        {"word": "author", "name": "octocat", "id": "U024BE7LH", "why": None},
        {"word": "committer", "name": "ghost", "id": None, "why": "ghost is nobody under people"},
    ]


def test_what_is_asked_when_the_message_is_sent_is_said(folder: Path) -> None:
    asking = HEAD.replace("secret: s", "secret: s, api_token: t0ken").replace('"#team"', '"#team", find_people: true')
    (folder / "config.yaml").write_text(asking + WHOM)
    output = run("--event", "branch=main,change=broken,author=x,author_email=x@acme.example").output
    assert "nobody for author: x is nobody under people; team is asked by e-mail when it is sent" in output
    assert "nobody for owners: no owners are told; github's API is asked when it is sent" in output


# -- the rules ---------------------------------------------------------------------------------------------------------


def test_the_rules_are_drawn_as_a_table(folder: Path) -> None:
    (folder / "config.yaml").write_text(HEAD + RED + MORE)
    lines = [line.rstrip() for line in run("--rules").output.splitlines()]
    cells = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]
    assert cells == [
        ["rule", "when", "to", "how"],
        ["red", "branch: main; change: broken", "builds"],
        ["more", "kind: push; branch: main, not old/*; if private", "builds", "stops"],
        ["team in #x", "live, thread, template run, mentions octocat when broken, stops"],
        ["all", "everything that is heard unasked", "team"],
    ]


def test_the_rules_are_an_array_of_json_too(folder: Path) -> None:
    (folder / "config.yaml").write_text(HEAD + RED)
    assert json.loads(run("--rules", "--json").output) == [
        {
            "name": "red",
            "when": ["branch: main", "change: broken"],
            "to": [{"destination": "builds", "channel": None, "how": []}],
        }
    ]


WAITING = """\
  - name: office
    match: {branch: main, change: [broken, fixed]}
    to: builds
    settle: 20s
    repeat: 4h
    escalate: {after: 2h, to: team, mention: octocat}
    hours: {days: mon-sun, from: "00:00", to: "24:00", zone: Europe/Oslo, outside: hold}
"""


def test_what_waits_says_why_and_the_table_of_rules_how(folder: Path) -> None:
    (folder / "config.yaml").write_text(HEAD + WAITING)
    said = json.loads(run("--event", "repository=acme/app,branch=main,change=broken", "--json").output)
    assert [(one["destination"], one["waits"]) for one in said["messages"]] == [
        ("builds", "waits 20 s for more of the same run"),
        ("builds", "said again every 4 h while it fails"),
        ("team", "escalated after 2 h if it still fails"),
    ]
    assert json.loads(run("--rules", "--json").output)[0]["to"] == [
        {"destination": "builds", "channel": None, "how": ["gathers for 20 s", "again every 4 h while it fails"]},
        {"destination": "team", "channel": None, "how": ["after 2 h if it still fails", "mentions octocat"]},
    ]
    office = "hours: mon, tue, wed, thu, fri, sat, sun, 00:00 to 24:00 Europe/Oslo, else hold"
    assert office in run("--rules").output
