"""One build that a sender reports by several events speaks once: real shapes in, messages owed out."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from bridge.event import Change, Event, Inbound
from bridge.route import Goal
from bridge.sources import github, gitlab
from tests.events import NINE
from tests.test_deciding import Decisions, owed, rule

BODIES = Path(__file__).parent / "sources"


def heard(deciding: Decisions, *events: Event | None) -> list[str]:
    """Return the messages that `events` make: a living one counts once for its run, however often it is edited."""
    spoken: list[str] = []
    living: set[tuple[str, str]] = set()
    for event in events:
        decision = deciding.add(event) if event is not None else None
        for message in owed(decision) if decision else ():
            place = (decision.run.key if decision and decision.run else "", message)
            if place not in living:
                spoken.append(message)
            if "live" in message:
                living.add(place)
    return spoken


# -- GitHub ------------------------------------------------------------------------------------------------------------


def of_github(name: str, change: Callable[[Any], None] = lambda body: None) -> Event | None:
    """Return what a body says, or None where it is ignored."""
    body = json.loads((BODIES / "github" / f"{name}.json").read_bytes())
    change(body)
    headers = {"x-github-event": name.split(".")[0], "content-type": "application/json"}
    out = github.normalise(Inbound("github", headers, json.dumps(body).encode(), NINE))
    return out.with_(received_at=NINE) if isinstance(out, Event) else None


ACTIONS = ("workflow_run.push_failed", "check_suite.of_actions", "check_run.of_actions", "status.of_actions")


@pytest.mark.parametrize("order", list(permutations(ACTIONS)))
def test_a_run_of_actions_speaks_once_whatever_else_github_sends_of_it(order: tuple[str, ...]) -> None:
    deciding = Decisions(rule("all", Goal(destination="builds")))
    assert heard(deciding, *map(of_github, order)) == ["builds run"]


def state_of(context: str, state: str, minute: int) -> Callable[[Any], None]:
    said = {"context": context, "state": state, "description": None, "updated_at": f"2026-03-02T08:0{minute}:00Z"}
    return lambda body: body.update(said)


def test_the_statuses_of_a_commit_are_one_message_with_a_line_each() -> None:
    deciding = Decisions(rule("all", Goal(destination="builds", live=True)))
    states = [("build", "pending", 1), ("lint", "pending", 2), ("build", "success", 3), ("lint", "failure", 4)]
    events = [of_github("status.failed", state_of(*state)) for state in states]
    assert heard(deciding, *events) == ["builds run live"]
    (run,) = deciding.runs.values()
    assert [(task.name, task.status.value) for task in run.tasks] == [("build", "success"), ("lint", "failure")]
    assert run.status == "failure"


@pytest.mark.parametrize(
    "target",
    ["https://github.com/acme/app/actions/runs/7001", "https://github.com/acme/app/actions/runs/7001/job/5?pr=7"],
)
def test_a_status_that_points_to_a_run_of_actions_is_left_to_that_run(target: str) -> None:
    assert of_github("status.failed", lambda body: body.update(target_url=target)) is None


@pytest.mark.parametrize(
    "target",
    ["https://ci.example.com/acme/app/actions/runs/7001", "https://github.com/acme/other/actions/runs/7", None],
)
def test_a_status_that_points_elsewhere_speaks(target: str | None) -> None:
    assert of_github("status.failed", lambda body: body.update(target_url=target)) is not None


# -- GitLab ------------------------------------------------------------------------------------------------------------


def pipeline(of: str, status: str, *, number: int, sha: str = "c0ffee", **said: Any) -> Event:
    """A pipeline that a push to the branch `parcels` began: `of` the branch, or of its merge request ``!7``."""
    asked = {"iid": 7, "source_branch": "parcels", "source_project_id": 71, "target_project_id": said.pop("into", 71)}
    body: dict[str, Any] = {
        "object_kind": "pipeline",
        "object_attributes": {
            "id": 52000 + number,
            "iid": number,
            "ref": "parcels",
            "tag": False,
            "sha": sha,
            "source": said.pop("source", "push" if of == "branch" else "merge_request_event"),
            "status": status,
            "created_at": f"2026-03-02 08:{number:02}:00 UTC",
        },
        "merge_request": None if of == "branch" else asked,
        "project": {"path_with_namespace": "acme/app", "web_url": "https://gitlab.example.com/acme/app"},
        "builds": [],
    }
    out = gitlab.normalise(Inbound("gitlab", {}, json.dumps(body).encode(), NINE))
    assert isinstance(out, Event)
    return out.with_(received_at=NINE, **said)


def pair(*states: tuple[str, str], sha: str = "c0ffee", first: int = 41) -> list[Event]:
    return [pipeline(of, status, sha=sha, number=first + (of != "branch")) for of, status in states]


BOTH_FAIL = [
    [("branch", "failed"), ("request", "failed")],
    [("request", "failed"), ("branch", "failed")],
]


@pytest.mark.parametrize("states", BOTH_FAIL)
@pytest.mark.parametrize("match", [{}, {"change": ["broken", "fixed"]}, {"status": "finished"}])
def test_two_pipelines_of_one_push_break_once(states: list[tuple[str, str]], match: dict[str, Any]) -> None:
    deciding = Decisions(rule("all", Goal(destination="builds"), **match))
    assert heard(deciding, *pair(*states)) == ["builds run"]
    assert {run.event.change for run in deciding.runs.values()} == {Change.BROKEN}, "each on a line of its own"
    mended = pair(*((of, "success") for of, _ in states), sha="f00d", first=43)
    assert heard(deciding, *mended) == ["builds run"]
    assert [run.event.change for run in deciding.runs.values()][2:] == [Change.FIXED] * 2


def test_one_living_message_speaks_for_both_pipelines_of_a_push() -> None:
    deciding = Decisions(rule("all", Goal(destination="builds", live=True)))
    story = [(of, status) for status in ("pending", "running", "success") for of in ("request", "branch")]
    assert heard(deciding, *pair(*story)) == ["builds run live"]


def test_what_only_one_of_two_pipelines_found_is_said() -> None:
    deciding = Decisions(rule("all", Goal(destination="builds")))
    assert heard(deciding, *pair(("branch", "success"), ("request", "failed"))) == ["builds run", "builds run"]
    assert (
        heard(deciding, *pair(("branch", "success"), ("request", "manual"), sha="f00d", first=43)) == ["builds run"] * 2
    )


def test_who_listens_to_merge_requests_only_hears_theirs_although_the_branch_was_first() -> None:
    deciding = Decisions(
        rule("branch", Goal(destination="builds"), pull_request=False),
        rule("request", Goal(destination="reviews"), pull_request=True),
    )
    assert heard(deciding, *pair(*BOTH_FAIL[0])) == ["builds run", "reviews run"]


def test_a_branch_that_passes_does_not_mend_what_its_merge_request_broke() -> None:
    deciding = Decisions(rule("all", Goal(destination="builds"), change=["broken", "fixed"]))
    assert heard(deciding, *pair(("branch", "success"), ("request", "failed"))) == ["builds run"]
    later = pair(("branch", "success"), ("request", "failed"), sha="f00d", first=43)
    assert heard(deciding, *later) == []
    assert [run.event.change for run in deciding.runs.values()][2:] == [Change.STILL_PASSING, Change.STILL_FAILING]


def test_another_commit_another_project_and_a_scheduled_pipeline_are_no_twins() -> None:
    for second in (
        pipeline("request", "failed", number=42, sha="f00d"),
        pipeline("request", "failed", number=42, into=99),
        pipeline("branch", "failed", number=42, source="schedule"),
    ):
        deciding = Decisions(rule("all", Goal(destination="builds")))
        assert heard(deciding, pipeline("branch", "failed", number=41), second) == ["builds run"] * 2


def test_a_pipeline_that_is_started_again_speaks_although_its_twin_has() -> None:
    deciding = Decisions(rule("all", Goal(destination="builds"), status="finished"))
    assert heard(deciding, *pair(("branch", "success"), ("request", "success"))) == ["builds run"]
    again = [
        pipeline("request", "running", number=42, changed_at=NINE.replace(month=4)),
        pipeline("request", "success", number=42, changed_at=NINE.replace(month=5)),
    ]
    assert heard(deciding, *again) == ["builds run"]


def test_only_so_much_is_remembered_of_what_twins_have_said() -> None:
    deciding = Decisions(rule("all", Goal(destination="builds")))
    for number in range(120):
        deciding.add(pipeline("branch", "failed", number=number, sha=f"{number:040x}"))
    (track,) = deciding.tracks.values()
    assert len(track.told) == 100
    assert track.told[-1].sha == f"{119:040x}"
