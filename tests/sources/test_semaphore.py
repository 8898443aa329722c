"""Semaphore's webhooks: a pipeline's end. `semaphore/NAME.json` is a body, `NAME.event.json` what it becomes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import Unreadable
from bridge.event import Ignored, Inbound, Status
from bridge.sources import semaphore
from tests.events import Folding
from tests.sources import common
from tests.sources.common import PAGES, Sender, needs_shared

SEMAPHORE = Sender("semaphore", semaphore, "x-semaphore-event")


@pytest.mark.parametrize("name", SEMAPHORE.bodies)
def test_each_body_becomes_its_golden_event(name: str) -> None:
    assert common.said(SEMAPHORE.read(name)) == SEMAPHORE.golden(name)


@pytest.mark.parametrize("name", SEMAPHORE.bodies)
def test_a_saved_body_can_be_sent_again_as_semaphore_would(name: str) -> None:
    request = SEMAPHORE.sent(SEMAPHORE.bodies[name].read_bytes())
    semaphore.verify(request, ["s3cret"])
    assert common.said(semaphore.normalise(request)) == SEMAPHORE.golden(name)


# -- statuses

STATES = {
    "initializing": Status.QUEUED,
    "pending": Status.QUEUED,
    "queuing": Status.QUEUED,
    "running": Status.RUNNING,
    "stopping": Status.RUNNING,
}
RESULTS = [
    ("passed", "", Status.SUCCESS),
    ("passed", "test", Status.SUCCESS),
    ("passed", "internal", Status.SUCCESS),
    ("passed", "skipped", Status.SKIPPED),
    ("failed", "test", Status.FAILURE),
    ("failed", "strategy", Status.FAILURE),
    ("failed", "internal", Status.ERROR),
    ("failed", "malformed", Status.ERROR),
    ("failed", "stuck", Status.ERROR),
    ("failed", "timeout", Status.TIMEOUT),
    ("stopped", "user", Status.CANCELLED),
    ("stopped", "test", Status.CANCELLED),
    ("stopped", "fast_failing", Status.CANCELLED),
    ("stopped", "deleted", Status.CANCELLED),
    ("stopped", "timeout", Status.TIMEOUT),
    ("canceled", "skipped", Status.SKIPPED),
    ("canceled", "user", Status.CANCELLED),
    ("failed", "brand_new", Status.FAILURE),
    ("brand_new", "test", Status.UNKNOWN),
    (None, "test", Status.UNKNOWN),
    (["passed"], None, Status.UNKNOWN),
]


@pytest.mark.parametrize(("result", "reason", "status"), RESULTS)
def test_the_reason_makes_the_result_more_precise(result: Any, reason: Any, status: Status) -> None:
    change = {"result": result, "result_reason": reason}
    event = SEMAPHORE.event_of("branch.failed", lambda body: body["pipeline"].update(change))
    assert event.status is status
    assert (event.finished_at is not None) is status.finished


@pytest.mark.parametrize(("state", "status"), [*STATES.items(), ("brand_new", Status.UNKNOWN)])
def test_before_the_end_the_state_counts_and_no_result(state: str, status: Status) -> None:
    event = SEMAPHORE.event_of("branch.failed", lambda body: body["pipeline"].update(state=state))
    assert (event.status, event.finished_at) == (status, None)


def test_an_unknown_word_is_shown() -> None:
    event = SEMAPHORE.event_of("branch.failed", lambda body: body["pipeline"].update(result="brand_new"))
    assert event.description == "brand_new"


def test_a_reason_is_told() -> None:
    event = SEMAPHORE.event_of("branch.failed", lambda body: body["pipeline"].update(result_reason="fast_failing"))
    assert event.description == "failed: fast failing"
    change = {"error_description": "no such file: semaphore.yml", "result_reason": "malformed"}
    event = SEMAPHORE.event_of("branch.failed", lambda body: body["pipeline"].update(change))
    assert (event.status, event.description) == (Status.ERROR, "no such file: semaphore.yml")


def test_the_page_has_every_word() -> None:
    page = (PAGES / "semaphore.md").read_text()
    assert all(f"`{word}`" in page for word in {**semaphore.STATUS, **semaphore.REASONS})


# -- fields


def test_jobs_come_in_their_order_and_without_an_id_are_left_out() -> None:
    jobs = [{"id": "b", "name": "two", "index": 1, "status": "running"}, {"id": "a", "index": 0}, {"name": "no id"}, 7]
    event = SEMAPHORE.event_of("branch.failed", lambda body: body.update(blocks=[{"jobs": jobs}, None, {}]))
    assert [(task.name, task.status) for task in event.tasks] == [("a", Status.UNKNOWN), ("two", Status.RUNNING)]


def test_1970_is_no_time() -> None:
    def change(body: Any) -> None:
        body["pipeline"].update(dict.fromkeys(("created_at", "running_at", "done_at"), "1970-01-01T00:00:00Z"))

    event = SEMAPHORE.event_of("branch.failed", change)
    assert (event.started_at, event.finished_at, event.changed_at, event.duration) == (None, None, None, None)


@pytest.mark.parametrize("name", ["Acme Works", "a.b", "-a", "", None, 7])
def test_no_address_is_made_of_an_organization_that_is_no_name_of_a_host(name: Any) -> None:
    assert SEMAPHORE.event_of("branch.failed", lambda body: body["organization"].update(name=name)).url is None


def test_one_pipeline_told_twice_speaks_once() -> None:
    event = SEMAPHORE.event_of("branch.failed")
    run = Folding(event, event)
    assert (run.state, run.news, len(run.tasks)) == (("failure", 1), [True, False], 2)


def test_without_a_pipeline_it_is_ignored_and_without_an_id_unreadable() -> None:
    assert isinstance(SEMAPHORE.read("branch.failed", lambda body: body.pop("pipeline")), Ignored)
    with pytest.raises(Unreadable, match=r"pipeline\.id"):
        SEMAPHORE.read("branch.failed", lambda body: body["pipeline"].pop("id"))


# -- who sent it


def test_forged_signatures_are_refused_and_rotated_secrets_hold() -> None:
    common.refuses_forgeries(SEMAPHORE, SEMAPHORE.bodies["tag.timeout"].read_bytes(), "x-semaphore-signature-256")


def test_a_repetition_is_known_by_its_header_and_else_by_the_digest() -> None:
    one, other = (SEMAPHORE.sent(body, delivery="d-1") for body in (b"{}", b"[]"))
    assert semaphore.identify(one) == semaphore.identify(other)
    for odd in ("", "é", "a b", "x" * 201):
        key = semaphore.identify(Inbound("ci", {"x-semaphore-webhook-id": odd}, b"{}", common.NOW)).key
        assert key.startswith("sha256:")


@needs_shared
def test_published_signatures_are_accepted() -> None:
    vectors = common.vectors("semaphore")
    assert vectors
    for vector in vectors:
        headers = {name.lower(): value for name, value in vector["headers"].items()}
        semaphore.verify(Inbound("ci", headers, vector["body"].encode(), common.NOW), ["other", vector["secret"]])


# -- odd input


@pytest.mark.parametrize("name", ["branch.failed", "pull_request.of_fork"])
def test_a_wrong_value_costs_its_field_only(name: str) -> None:
    common.takes_odd_values(SEMAPHORE, name, frozenset({"pipeline", "id"}))


@settings(max_examples=150, deadline=None, database=None, derandomize=True)
@given(data=st.data())
def test_nothing_but_ingest_errors_leaves_the_module(data: st.DataObject) -> None:
    common.takes_any_json(SEMAPHORE, data)


# -- real bodies

_PAGE = "https://semaphore.semaphoreci.com/workflows"
REAL: dict[str, Any] = {
    "pipeline_done.branch.stopped.docs.json": {
        "repository": "semaphoreci/notifications",
        "branch": "rw/webhook_impl",
        "sha": "2d9f5fcec1ca7c68fa7bd44dd58ec4ff65814563",
        "status": "cancelled",
        "author": "radwo",
        "url": f"{_PAGE}/acabe58e-4bcc-4d39-be06-e98d71917703?pipeline_id=fa02c7bd-7a8b-42e0-8d6e-aa0d8a194e19",
    },
    "pipeline_done.pull_request.failed.json": {
        "repository": "renderedtext/notifications",
        "branch": "test-notifications",
        "pull_request": 3,
        "sha": "6fd84f4c2aecae7b1e6ce516b634c220d4a3e3e4",
        "status": "failure",
        "author": "radwo",
        "url": f"{_PAGE}/84383f37-d025-4811-b719-61c6acc92a1e?pipeline_id=17e8dfaf-6649-413d-b611-4a888aebc29e",
    },
    "pipeline_done.tag.stopped.json": {
        "repository": "renderedtext/notifications",
        "tag": "v1.0.1",
        "sha": "8d31831ff2a512e23a8042a76cf39246908256a1",
        "status": "cancelled",
        "author": "radwo",
        "url": f"{_PAGE}/a8704319-2422-4828-9b11-6b2afa3554e6?pipeline_id=cbe5d41a-a1a0-4a54-ba2c-ca0bab4a5db7",
    },
}


@needs_shared
@pytest.mark.parametrize("file", REAL)
def test_a_real_body_says_what_stands_in_it(file: str) -> None:
    common.tells(SEMAPHORE, "semaphore", file, "", REAL[file])


@needs_shared
def test_every_real_body_is_in_the_table() -> None:
    assert common.real("semaphore") == set(REAL)
