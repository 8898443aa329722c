"""Jenkins' Notification plugin: golden events of the bodies in ``jenkins/``, and what no body may do."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.event import Status
from bridge.sources import jenkins
from tests.sources import common, thin

SENDER = common.Sender("jenkins", jenkins, "x-event")
FIRST, SECOND = "build.started", "build.finalized"


@pytest.mark.parametrize("name", SENDER.bodies)
def test_each_body_becomes_its_golden_event(name: str) -> None:
    thin.becomes_its_golden(SENDER, name)


def test_nothing_is_signed_so_no_secret_lets_anything_in() -> None:
    thin.signs_nothing(SENDER)


STATES = [
    ("QUEUED", None, "queued"),
    ("STARTED", None, "running"),
    ("STARTED", "FAILURE", "running"),
    ("COMPLETED", "SUCCESS", "success"),
    ("FINALIZED", "SUCCESS", "success"),
    ("FINALIZED", "UNSTABLE", "success"),
    ("FINALIZED", "FAILURE", "failure"),
    ("FINALIZED", "ABORTED", "cancelled"),
    ("FINALIZED", "NOT_BUILT", "skipped"),
    ("NONE", "FAILURE", "failure"),
    ("FINALIZED", None, "unknown"),
    ("FINALIZED", "MELTED", "unknown"),
    ("NONE", None, "unknown"),
    ("PAUSED", "SUCCESS", "unknown"),
]


@pytest.mark.parametrize(("phase", "status", "expected"), STATES)
def test_a_result_counts_once_the_build_has_ended(phase: str, status: str | None, expected: str) -> None:
    event = SENDER.event_of(FIRST, lambda body: body["build"].update(phase=phase, status=status))
    assert event.status == expected
    if event.status is Status.UNKNOWN:
        assert event.description == (phase if phase == "PAUSED" else status or phase)


def test_an_unstable_build_says_so_with_or_without_tests() -> None:
    event = SENDER.event_of(SECOND, lambda body: body["build"].pop("test_summary"))
    assert (event.status, event.description) == ("success", "unstable: it was built, and tests or checks complain")


def test_the_page_has_every_word() -> None:
    assert thin.page_table("jenkins") == {word: status.value for word, status in jenkins.STATUS.items()}


ORDERS = list(permutations(["build.queued", "build.started", "build.completed", "build.finalized"]))


@pytest.mark.parametrize("order", ORDERS)
def test_in_whatever_order_a_build_is_one_run_with_its_result(order: tuple[str, ...]) -> None:
    run = thin.folded(SENDER, *order)
    assert run.state == ("success", 1)
    assert run.news.count(True) <= 3


def test_a_build_is_one_run_though_its_repository_is_known_only_after_the_checkout() -> None:
    before = SENDER.event_of("build.started", lambda body: body["build"].pop("scm"))
    run = thin.Folding(before, SENDER.event_of(SECOND))
    assert run.run is not None
    assert (run.run.event.repository, run.state) == ("acme/app", ("success", 1))


@pytest.mark.parametrize(
    ("branch", "expected"),
    [
        ("origin/main", ("main", None)),
        ("refs/remotes/origin/main", ("main", None)),
        ("refs/heads/a/b", ("a/b", None)),
        ("refs/tags/v1", (None, "v1")),
        ("feature/x", ("feature/x", None)),
        (None, (None, None)),
    ],
)
def test_the_remotes_name_is_no_part_of_the_branch(branch: str | None, expected: Any) -> None:
    event = SENDER.event_of(FIRST, lambda body: body["build"]["scm"].update(branch=branch))
    assert (event.branch, event.tag) == expected


def test_neither_parameters_nor_the_password_of_a_clone_reach_the_event() -> None:
    for name in SENDER.bodies:
        assert "never-read" not in str(SENDER.event_of(name))
        assert "made-up" not in str(SENDER.event_of(name))


def test_each_phase_has_a_key_of_its_own_and_the_same_bytes_the_same() -> None:
    keys = [jenkins.identify(SENDER.sent(path.read_bytes())) for path in SENDER.bodies.values()]
    assert len({key.key for key in keys}) == len(keys)
    assert not any(key.repeatable for key in keys)


def test_a_wrong_value_costs_only_its_field() -> None:
    common.takes_odd_values(SENDER, SECOND, frozenset({"build", "full_url", "scm"}))


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(data=st.data())
def test_nothing_but_ingest_errors_leaves_the_source(data: st.DataObject) -> None:
    common.takes_any_json(SENDER, data)


REAL = {
    "notification.finalized.neb-comment.json": {
        "repository": "matrix-org/synapse",
        "branch": "develop",
        "sha": "72aef114ab1201f5a5cd734220c9ec738c4e2910",
        "status": "success",
        "url": "http://localhost:9009/job/Synapse/8/",
    },
}


@common.needs_shared
def test_every_real_body_tells_what_stands_in_it() -> None:
    assert common.real("jenkins") == set(REAL)
    for file, expected in REAL.items():
        thin.reads(SENDER, file, expected)
