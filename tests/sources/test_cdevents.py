"""CDEvents: golden events of the bodies in ``cdevents/``, both modes of CloudEvents, and what no body may do."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.event import Ignored
from bridge.fold import run_key
from bridge.sources import cdevents
from tests.sources import common, thin

SENDER = common.Sender("cdevents", cdevents, "x-event")


@pytest.mark.parametrize("name", SENDER.bodies)
def test_each_body_becomes_its_golden_event(name: str) -> None:
    thin.becomes_its_golden(SENDER, name)


def test_the_page_has_every_word() -> None:
    assert thin.page_table("cdevents") == {word: status.value for word, status in cdevents.STATUS.items()}


def test_nothing_is_signed_so_no_secret_lets_anything_in() -> None:
    thin.signs_nothing(SENDER)


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        ("success", "success"),
        ("failure", "failure"),
        ("error", "error"),
        ("cancel", "cancelled"),
        ("melted", "unknown"),
        (None, "unknown"),
    ],
)
def test_what_is_finished_has_the_status_of_its_outcome(outcome: str | None, status: str) -> None:
    for name in ("pipelinerun.finished", "taskrun.finished"):
        event = SENDER.event_of(name, lambda body: body["subject"]["content"].update(outcome=outcome, errors=None))
        assert event.status == status
        told = None if status != "unknown" else outcome or "finished, the outcome was not sent"
        assert event.description == told


@pytest.mark.parametrize(
    ("type_", "kind", "status"),
    [
        ("pipelinerun.queued", "pipeline", "queued"),
        ("build.started", "pipeline", "running"),
        ("testsuiterun.started", "pipeline", "running"),
        ("service.deployed", "deployment", "success"),
        ("service.rolledback", "deployment", "success"),
        ("service.removed", "deployment", "success"),
        ("incident.reported", "alert", "failure"),
        ("incident.resolved", "alert", "success"),
        ("pipelinerun.melted", "pipeline", "unknown"),
        ("service.melted", "deployment", "unknown"),
    ],
)
def test_every_predicate_has_its_word(type_: str, kind: str, status: str) -> None:
    event = SENDER.event_of(
        "pipelinerun.queued", lambda body: body["context"].update(type=f"dev.cdevents.{type_}.9.9.9-draft")
    )
    assert (event.kind, event.status) == (kind, status)


@pytest.mark.parametrize("type_", ["dev.cdevents.branch.created.0.3.0", "dev.tekton.x.y", "dev.cdevents", "", None, 7])
def test_what_is_no_cdevent_or_nothing_for_chat_is_ignored(type_: object) -> None:
    assert isinstance(SENDER.read("pipelinerun.queued", lambda body: body["context"].update(type=type_)), Ignored)


def test_both_modes_and_base64_give_the_same_event_and_key() -> None:
    structured = json.loads(SENDER.bodies["structured.finished"].read_bytes())
    inner = json.dumps(structured["data"]).encode()
    encoded = structured | {"data_base64": base64.b64encode(inner).decode()}
    encoded.pop("data")
    requests = [SENDER.sent(body) for body in (inner, json.dumps(structured).encode(), json.dumps(encoded).encode())]
    assert [request.headers["content-type"].partition("+")[0] for request in requests] == [
        "application/json",
        "application/cloudevents",
        "application/cloudevents",
    ]
    assert requests[0].headers["ce-type"] == "dev.cdevents.pipelinerun.finished.0.2.0"
    assert len({cdevents.identify(request).key for request in requests}) == 1
    assert cdevents.normalise(requests[0]) == cdevents.normalise(requests[1]) == cdevents.normalise(requests[2])


def test_a_pipeline_and_its_task_are_one_run_though_one_event_alone_names_the_repository() -> None:
    run = thin.folded(SENDER, "pipelinerun.queued", "pipelinerun.started", "taskrun.finished", "pipelinerun.finished")
    assert run.state == ("failure", 1)
    assert run.tasks == {"/ci/acme task-7": "failure"}
    assert run.run is not None
    assert (run.run.event.repository, run.run.event.branch) == ("acme/app", "main")


def test_an_id_is_told_apart_by_its_source_and_type() -> None:
    def key(**said: str) -> str:
        body = json.loads(SENDER.bodies["pipelinerun.queued"].read_bytes())
        body["context"] |= said
        return cdevents.identify(SENDER.sent(json.dumps(body).encode())).key

    assert key() == key(timestamp="2026-03-02T12:00:09Z")
    others = ({}, {"id": "b"}, {"source": "/ci/other"}, {"type": "dev.cdevents.pipelinerun.started.0.2.0"})
    assert len({key(**said) for said in others}) == 4


def test_a_service_that_is_upgraded_twice_speaks_twice() -> None:
    first, second = (
        SENDER.event_of("service.upgraded", lambda body, key=key: body["context"].update(id=key)) for key in ("a", "b")
    )
    assert run_key(first) != run_key(second)


def test_an_incident_is_one_run_to_its_end() -> None:
    later = {"type": "dev.cdevents.incident.resolved.0.2.0", "timestamp": "2026-03-02T13:00:00Z"}
    over = SENDER.event_of("incident.detected", lambda body: body["context"].update(later))
    assert thin.Folding(SENDER.event_of("incident.detected"), over).state == ("success", 1)


def test_a_test_case_alone_is_a_task_and_no_run() -> None:
    event = SENDER.event_of("testcaserun.skipped", lambda body: body["subject"]["content"].pop("testSuiteRun"))
    assert event.kind == "task"
    alone = SENDER.event_of("taskrun.finished", lambda body: body["subject"]["content"].pop("pipelineRun"))
    assert (alone.kind, alone.pipeline) == ("pipeline", "lint")


NEEDED = frozenset({"context", "type", "subject", "id", "data"})


@pytest.mark.parametrize("name", SENDER.bodies)
def test_a_wrong_value_costs_only_its_field(name: str) -> None:
    common.takes_odd_values(SENDER, name, NEEDED)


@settings(max_examples=200, deadline=None, database=None, derandomize=True)
@given(data=st.data())
def test_nothing_but_ingest_errors_leaves_the_source(data: st.DataObject) -> None:
    common.takes_any_json(SENDER, data)


REAL = {
    "approval_created.json": {
        "status": "waiting",
        "author": "urn:user:alice",
        "url": "https://approvals.example.com/approval-123",
    },
    "change_created.json": {"repository": "TestRepo/TestOrg"},
    "pipelinerun_finished.json": {"status": "failure", "url": "https://www.example.com/mySubject123"},
    "pipelinerun_queued.json": {"status": "queued", "url": "https://www.example.com/mySubject123"},
    "pipelinerun_started.json": {"status": "running", "url": "https://www.example.com/mySubject123"},
    "service_deployed.json": {"status": "success"},
    "service_rolledback.json": {"status": "success"},
    "taskrun_started.json": {"status": "running", "url": "https://www.example.com/mySubject123"},
    "testcaserun_finished.json": {"status": "success"},
    "testsuiterun_finished.json": {"status": "failure"},
}


@common.needs_shared
def test_every_real_body_tells_what_stands_in_it() -> None:
    assert common.real("cdevents") == set(REAL)
    for file, expected in REAL.items():
        thin.reads(SENDER, file, expected)


@common.needs_shared
def test_real_bodies_that_share_an_id_are_still_told_apart() -> None:
    paths = [common.SHARED / "fixtures/cdevents" / file for file in REAL]
    assert len({cdevents.identify(SENDER.sent(path.read_bytes())).key for path in paths}) == len(REAL)
