"""One build that a sender reports by several events speaks once: real shapes in, messages owed out."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from bridge.event import Event, Inbound
from bridge.route import Goal
from bridge.sources import github
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
