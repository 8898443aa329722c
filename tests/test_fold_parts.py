"""Runs that are no more than their tasks: the statuses of a commit, told one by one and in any order."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from bridge.event import Change, Event, Kind, RunRef, Status, Task
from tests.events import Folding, clock
from tests.test_deciding import Decisions


def part(name: str, status: str, minute: float | None = None, *, sha: str = "c0ffee", **said: Any) -> Event:
    """What a sender of commit statuses says of one build."""
    state, at = Status(status), clock(minute) if minute is not None else None
    task = Task(
        id=name,
        name=name,
        status=state,
        url=f"https://ci.example.com/{name}",
        started_at=at if state is Status.RUNNING else None,
        finished_at=at if state.finished else None,
        changed_at=at,
    )
    page = f"https://bitbucket.org/acme/app/commits/{sha}"
    return Event(
        source="bitbucket",
        type="bitbucket",
        kind=Kind.PIPELINE,
        status=state,
        repository="acme/app",
        branch="main",
        pipeline=name,
        run=RunRef(id=f"commit/{sha}", number=41, url=page, of_tasks=True),
        tasks=(task,),
        url=task.url,
        started_at=task.started_at,
        finished_at=task.finished_at,
        changed_at=at,
    ).with_(**said)


@pytest.mark.parametrize(
    ("states", "together"),
    [
        (["running"], "running"),
        (["success", "running"], "running"),
        (["success", "queued"], "queued"),
        (["queued", "waiting", "running"], "running"),
        (["success", "success"], "success"),
        (["success", "skipped"], "success"),
        (["success", "cancelled"], "success"),
        (["success", "failure"], "failure"),
        (["failure", "running"], "failure"),
        (["failure", "error", "success"], "error"),
        (["success", "unknown"], "unknown"),
        (["unknown", "running"], "running"),
    ],
)
def test_the_state_of_a_commit_is_that_of_its_builds_together(states: list[str], together: str) -> None:
    events = [part(f"build {place}", status, place) for place, status in enumerate(states)]
    for order in permutations(events):
        assert Folding(*order).state == (together, 1)


def test_it_does_not_matter_in_what_order_the_states_of_two_builds_arrive() -> None:
    events = [
        part("app", "running", 1),
        part("lint", "running", 2),
        part("lint", "success", 3),
        part("app", "failure", 4),
    ]
    for order in permutations(events):
        folding = Folding(*order)
        assert folding.state == ("failure", 1)
        assert folding.tasks == {"app": "failure", "lint": "success"}
        assert folding.add(*events) is not None
        assert folding.news[4:] == [False] * 4, "told once more"


def test_without_times_a_final_state_stays() -> None:
    folding = Folding(part("app", "success"), part("app", "running"))
    assert (folding.state, folding.news) == (("success", 1), [True, False])


def test_a_commit_with_one_build_has_its_name_number_and_page_and_with_two_has_none() -> None:
    folding = Folding(part("app", "running", 1))
    assert folding.run is not None
    assert folding.run.event.run is not None
    assert (folding.run.event.pipeline, folding.run.event.run.number) == ("app", 41)
    assert folding.run.event.url == "https://ci.example.com/app"
    folding.add(part("lint", "running", 2))
    assert folding.run.event.run is not None
    assert (folding.run.event.pipeline, folding.run.event.run.number) == (None, None)
    assert folding.run.event.url == "https://bitbucket.org/acme/app/commits/c0ffee"


def test_a_commit_begins_with_its_first_build_and_ends_with_its_last() -> None:
    folding = Folding(part("app", "running", 1), part("lint", "running", 2), part("app", "success", 4))
    assert folding.run is not None
    assert (folding.run.event.started_at, folding.run.event.finished_at) == (clock(1), None)
    folding.add(part("lint", "success", 6))
    assert (folding.run.event.started_at, folding.run.event.finished_at) == (clock(1), clock(6))


def test_a_build_that_is_run_again_begins_an_attempt_and_one_that_comes_later_does_not() -> None:
    folding = Folding(part("app", "failure", 1), part("lint", "running", 2), part("lint", "success", 3))
    assert folding.state == ("failure", 1)
    folding.add(part("lint", "running", 4))  # the commit has failed as before
    assert folding.state == ("failure", 1)
    folding.add(part("app", "running", 5))
    assert folding.state == ("running", 2)
    assert folding.run is not None
    assert folding.run.event.started_at == clock(5)
    folding.add(part("lint", "success", 6), part("app", "success", 7))
    assert folding.state == ("success", 2)
    folding.add(part("docs", "running", 8))
    assert folding.state == ("running", 2)


def test_results_are_compared_from_commit_to_commit_however_many_builds_each_has() -> None:
    decisions = Decisions()
    story = [
        part("app", "running", 0),
        part("app", "failure", 1),
        part("app", "running", 2),
        part("app", "success", 3),
        part("app", "running", 11, sha="beef"),
        part("lint", "running", 11, sha="beef"),
        part("lint", "failure", 12, sha="beef"),
        part("app", "success", 13, sha="beef"),
        part("lint", "running", 20, sha="f00d"),
        part("lint", "success", 21, sha="f00d"),
    ]
    changes = [decisions.add(event).event.change for event in story]
    first = [None, Change.BROKEN, None, Change.FIXED]
    second = [None, None, Change.BROKEN, Change.BROKEN]  # failed with lint, and nothing that app says changes it
    assert changes == [*first, *second, None, Change.FIXED]


def test_commits_are_in_the_order_of_their_beginning_and_not_of_their_builds_numbers() -> None:
    decisions = Decisions()
    story = [
        part("app", "running", 1),
        part("app", "success", 2),
        part("app", "running", 11, sha="beef"),
        part("lint", "running", 11, sha="beef"),
        part("app", "failure", 12, sha="beef"),
        part("lint", "running", 20, sha="f00d", run=RunRef(id="commit/f00d", number=7, of_tasks=True)),
        part("lint", "success", 21, sha="f00d", run=RunRef(id="commit/f00d", number=7, of_tasks=True)),
    ]
    assert [decisions.add(event).event.change for event in story][-1] is Change.FIXED
