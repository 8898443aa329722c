"""The words, and how an event looks from outside."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bridge import codec
from bridge.event import FINISHED, UNSUCCESSFUL, Change, Event, Kind, Result, Run, RunRef, Status, Target, Task, Track

NINE = datetime(2026, 1, 1, 9, tzinfo=UTC)
EVENT = Event(source="github", type="github", kind=Kind.PIPELINE)
FULL = EVENT.with_(
    status=Status.FAILURE,
    change=Change.BROKEN,
    run=RunRef(id="7001", number=41, attempt=2, url="https://ci.example.com/7001"),
    task=Task(id="1", name="lint", status=Status.FAILURE, step="ruff"),
    tasks=(Task(id="1", name="lint"),),
    labels=("bug",),
    facts=(("fork", "octocat/app"),),
    message="whole",
    started_at=NINE,
    received_at=NINE,
)


def test_every_status_is_waiting_to_end_or_has_ended_and_unknown_has_not() -> None:
    assert UNSUCCESSFUL < FINISHED
    assert set(Status) - FINISHED == {Status.QUEUED, Status.WAITING, Status.RUNNING, Status.UNKNOWN}
    assert [status.finished for status in (Status.SUCCESS, Status.UNKNOWN)] == [True, False]
    assert [status.unsuccessful for status in (Status.ERROR, Status.CANCELLED)] == [True, False]


def test_an_event_knows_nothing_that_it_was_not_told() -> None:
    empty = {name: getattr(EVENT, name) for name in Event.__struct_fields__ if name not in ("source", "type", "kind")}
    assert set(empty.values()) == {None, (), False, Status.UNKNOWN}


def test_the_public_form_has_the_fields_of_the_contract() -> None:
    names = "id source kind repository branch tag pull_request status change pipeline run task author title url"
    assert set(names.split()) | {"received_at", "step"} <= set(EVENT.public())
    assert set(EVENT.public()) == set(FULL.public()), "the same names, whatever is known"


def test_the_public_form_is_plain_json() -> None:
    public = FULL.public()
    assert json.loads(json.dumps(public)) == public
    assert public["run"] == {"id": "7001", "number": 41, "attempt": 2, "url": "https://ci.example.com/7001"}
    assert (public["task"], public["step"], public["labels"]) == ("lint", "ruff", ["bug"])
    assert (public["status"], public["change"], public["started_at"]) == ("failure", "broken", "2026-01-01T09:00:00Z")
    assert public["facts"] == [["fork", "octocat/app"]]


def test_the_public_form_leaves_out_what_is_ours_alone() -> None:
    assert not {"tasks", "restarted", "message"} & set(FULL.public())


@pytest.mark.parametrize(
    ("said", "is_one"),
    [
        ({}, False),
        ({"pull_request": 7}, True),
        ({"fork": True}, True),
        ({"fork": False}, False),
        ({"trigger": "pull_request"}, True),
        ({"trigger": "pull_request_target"}, True),
        ({"trigger": "push"}, False),
    ],
)
def test_a_pull_request_is_one_also_without_its_number(said: dict[str, object], is_one: bool) -> None:
    assert EVENT.with_(**said).on_pull_request is is_one


def test_two_targets_are_one_message_by_destination_channel_template_and_reply() -> None:
    one = Target(destination="builds", template="run")
    same = Target(destination="builds", template="run", live=True, thread=True, mention=("author",), rules=("a",))
    others = [
        Target(destination="oncall", template="run"),
        Target(destination="builds", template="task"),
        Target(destination="builds", template="run", channel="#b"),
        Target(destination="builds", template="run", reply=True),
    ]
    assert one.key == same.key
    assert len({one.key, *(other.key for other in others)}) == 5


def test_what_is_stored_comes_back_as_it_was() -> None:
    target = Target(destination="builds", template="run", mention=("author",))
    run = Run(key="r", event=FULL, tasks=FULL.tasks, following=(target,), first_at=NINE, marks=("opened",))
    track = Track(key="t", results=(Result(order=(41.0, 2), status=Status.ERROR, run="7001", at=NINE),))
    for kept in (FULL, run, track, target):
        assert codec.load(codec.dump(kept), type(kept)) == kept


def test_a_run_is_in_the_state_of_its_event() -> None:
    assert Run(key="r", event=FULL).status is Status.FAILURE


@pytest.mark.parametrize("words", [Kind, Status, Change])
def test_the_glossary_explains_every_word(words: type[Kind | Status | Change]) -> None:
    page = (Path(__file__).parents[1] / "docs" / "glossary.md").read_text("utf-8")
    section = page.split(f"### {words.__name__}{'es' if words is Status else 's'}\n")[1].split("\n#")[0]
    explained = re.findall(r"(?m)^\| `(\w+)` \|", section)
    assert explained == [word.value for word in words]
    groups = {name: {word for word in explained if re.search(rf"`{word}`.*\b{name}", section)} for name in GROUPS}
    assert words is not Status or groups == {name: {word.value for word in group} for name, group in GROUPS.items()}


GROUPS = {"finished": FINISHED, "unsuccessful": UNSUCCESSFUL}
