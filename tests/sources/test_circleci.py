"""CircleCI's webhooks: both shapes, ends only. `circleci/NAME.json` is a body, `NAME.event.json` what it becomes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import Unauthorized, Unreadable
from bridge.event import Event, Ignored, Inbound, Kind, Status
from bridge.sources import circleci
from tests.events import Folding
from tests.sources import common
from tests.sources.common import PAGES, SHARED, Sender, needs_shared

CIRCLECI = Sender("circleci", circleci, "circleci-event-type")
STATUSES = {
    "success": Status.SUCCESS,
    "failed": Status.FAILURE,
    "error": Status.ERROR,
    "canceled": Status.CANCELLED,
    "unauthorized": Status.ERROR,
}


@pytest.mark.parametrize("name", CIRCLECI.bodies)
def test_each_body_becomes_its_golden_event(name: str) -> None:
    assert common.said(CIRCLECI.read(name)) == CIRCLECI.golden(name)


@pytest.mark.parametrize("name", CIRCLECI.bodies)
def test_a_saved_body_can_be_sent_again_as_circleci_would(name: str) -> None:
    body = CIRCLECI.bodies[name].read_bytes()
    request = CIRCLECI.sent(body)
    circleci.verify(request, ["s3cret"])
    assert request.headers["circleci-event-type"] == json.loads(body)["type"]
    assert common.said(circleci.normalise(request)) == CIRCLECI.golden(name)


# -- statuses


@pytest.mark.parametrize(("word", "status"), STATUSES.items())
def test_every_word_has_its_status_in_workflows_and_jobs(word: str, status: Status) -> None:
    event = CIRCLECI.event_of("workflow.failed", lambda body: body["workflow"].update(status=word))
    job = CIRCLECI.event_of("job.failed", lambda body: body["job"].update(status=word))
    assert (event.status, job.status, job.task and job.task.status) == (status, status, status)
    assert circleci.STATUS == STATUSES


@pytest.mark.parametrize("word", ["running", "on_hold", "SUCCESS", "", None, 7, ["success"]])
def test_an_unknown_word_is_shown_and_never_success(word: Any) -> None:
    event = CIRCLECI.event_of("workflow.failed", lambda body: body["workflow"].update(status=word))
    shown = word if isinstance(word, str) and word else None
    assert (event.status, event.description) == (Status.UNKNOWN, shown)


def test_the_state_of_a_job_is_its_own_and_the_workflow_has_none_in_it() -> None:
    event = CIRCLECI.event_of("job.failed", lambda body: body["workflow"].update(status="success"))
    assert (event.kind, event.status) == (Kind.TASK, Status.FAILURE)


def test_the_page_has_every_word() -> None:
    page = (PAGES / "circleci.md").read_text()
    assert all(f"`{word}`" in page for word in circleci.STATUS)


# -- runs


def test_a_jobs_end_opens_its_workflows_run_and_the_workflows_end_closes_it() -> None:
    run = Folding(CIRCLECI.event_of("job.failed"), CIRCLECI.event_of("workflow.failed"))
    assert (run.state, list(run.tasks.values()), run.news) == (("failure", 1), ["failure"], [True, True])


def test_a_rerun_is_a_workflow_of_its_own() -> None:
    first = CIRCLECI.event_of("workflow.failed")
    again = CIRCLECI.event_of("workflow.failed", lambda body: body["workflow"].update(id="other"))
    assert first.run
    assert again.run
    assert first.run.id != again.run.id
    assert first.run.number == again.run.number == 41


def test_where_no_address_names_the_repository_the_project_does() -> None:
    def without(slug: str) -> str | None:
        def change(body: Any) -> None:
            body["pipeline"]["vcs"] = {}
            body["project"]["slug"] = slug

        return CIRCLECI.event_of("workflow.failed", change).repository

    assert without("gh/acme/tool") == "acme/tool"
    assert without("circleci/AbC1/DeF2") == "acme/app"


def test_a_run_on_a_tag_has_no_branch_in_either_shape() -> None:
    event = CIRCLECI.event_of("workflow.tag", lambda body: body["pipeline"]["vcs"].update(branch="main"))
    assert (event.tag, event.branch) == ("v1.4.0", None)

    def both(body: Any) -> None:
        body["pipeline"]["trigger_parameters"]["git"].update(branch="main", tag="v1.4.0")

    event = CIRCLECI.event_of("workflow.github_app", both)
    assert (event.tag, event.branch) == ("v1.4.0", None)


@pytest.mark.parametrize("name", ["workflow.failed", "job.failed"])
def test_without_its_workflows_id_a_body_is_unreadable(name: str) -> None:
    with pytest.raises(Unreadable, match=r"workflow\.id"):
        CIRCLECI.read(name, lambda body: body.pop("workflow"))


@pytest.mark.parametrize("name", ["pipeline-completed", None])
def test_what_is_neither_a_workflow_nor_a_job_is_ignored_with_words(name: str | None) -> None:
    found = CIRCLECI.read("workflow.failed", lambda body: body.update(type=name))
    assert isinstance(found, Ignored)
    assert found.reason.startswith(name or "workflow: ")


# -- who sent it


def test_forged_signatures_are_refused_and_rotated_secrets_hold() -> None:
    common.refuses_forgeries(CIRCLECI, CIRCLECI.bodies["job.failed"].read_bytes(), "circleci-signature", "v1=")


def test_other_versions_of_the_signature_are_passed_over() -> None:
    request = CIRCLECI.sent(b"{}")
    good = request.headers["circleci-signature"]
    for line in (f"v2=zz,{good}", f"{good}, v2=zz", f"v0=x,{good},v1=00"):
        circleci.verify(_with(request, line), ["s3cret"])
    for line in (f"v2={good[3:]}", f"v1=00,{good}", good[3:], f"v1 ={good[3:]}"):
        with pytest.raises(Unauthorized):
            circleci.verify(_with(request, line), ["s3cret"])


def _with(request: Inbound, line: str) -> Inbound:
    return Inbound(request.source, {"circleci-signature": line}, request.body, request.received_at)


def test_a_repetition_is_known_by_the_signed_id_and_else_by_the_digest() -> None:
    body = json.loads(CIRCLECI.bodies["job.failed"].read_bytes())
    same = json.dumps(body, indent=1).encode()
    other = json.dumps(body | {"id": "another"}).encode()
    key = circleci.identify(CIRCLECI.inbound(None, json.dumps(body).encode())).key
    assert circleci.identify(CIRCLECI.inbound(None, same)).key == key == body["id"]
    assert circleci.identify(CIRCLECI.inbound(None, other)).key == "another"
    for odd in (b"{}", b'{"id": []}', b"no json"):
        assert circleci.identify(CIRCLECI.inbound(None, odd)).key.startswith("sha256:")


@needs_shared
def test_published_signatures_are_accepted_or_refused_as_they_say() -> None:
    vectors = common.vectors("circleci")
    assert vectors
    for vector in vectors:
        request = Inbound("ci", vector["headers"], vector["body"].encode(), common.NOW)
        if vector["valid"]:
            circleci.verify(request, ["other", vector["secret"]])
        else:
            with pytest.raises(Unauthorized):
                circleci.verify(request, [vector["secret"]])


# -- odd input


@pytest.mark.parametrize("name", ["workflow.failed", "workflow.gitlab_tag", "job.failed"])
def test_a_wrong_value_costs_its_field_only(name: str) -> None:
    common.takes_odd_values(CIRCLECI, name, frozenset({"workflow", "job", "id"}))


@settings(max_examples=150, deadline=None, database=None, derandomize=True)
@given(data=st.data())
def test_nothing_but_ingest_errors_leaves_the_module(data: st.DataObject) -> None:
    common.takes_any_json(CIRCLECI, data)


# -- real bodies

_APP = "https://app.circleci.com/pipelines"
REAL: dict[str, Any] = {
    "job-completed.github.success.json": {
        "repository": "zulip-testing/circleci-webhook-test",
        "branch": "main",
        "sha": "a5e30a908224e46626a796d058289475f6d387b5",
        "status": "success",
        "author": "Hari Prashant Bhimaraju",
        "url": f"{_APP}/github/zulip-testing/circleci-webhook-test/4/workflows/"
        "7381218b-d04c-4aa3-b8b8-8c00a9319d1f/jobs/6",
    },
    "workflow-completed.github_tag.success.json": {  # the tag's name is not in it
        "repository": "prah23/circleci-webhook-test",
        "sha": "0e6e66c14e61fbcd95db716b0f30d67dbcce7814",
        "status": "success",
        "url": f"{_APP}/github/prah23/circleci-webhook-test/20/workflows/045c6271-78e2-4802-8a62-f4fa6d25d0c9",
    },
    "workflow-completed.gitlab.success.json": {
        "repository": "zulip-testing/circleci-webhook-test",
        "branch": "main",
        "sha": "c31f86994c54672f97b5bd5e544315b7bd40e4c1",
        "status": "success",
        "author": "hariprashant1",
        "url": f"{_APP}/circleci/89xcrx7UvWQfzcUPAEmu5Q/63AY3yf3XeUQojmQcGZTtB/3/workflows/"
        "b23ceb64-127a-4075-a27c-d204a7a0a3b3",
    },
    "ping.json": "ping",
}


@needs_shared
@pytest.mark.parametrize("file", REAL)
def test_a_real_body_says_what_stands_in_it(file: str) -> None:
    common.tells(CIRCLECI, "circleci", file, file.split(".")[0], REAL[file])


@needs_shared
def test_every_real_body_is_in_the_table() -> None:
    assert common.real("circleci") == set(REAL)


@needs_shared
def test_times_and_number_of_a_real_workflow() -> None:
    body = (SHARED / "fixtures/circleci/workflow-completed.gitlab.success.json").read_bytes()
    event = circleci.normalise(CIRCLECI.inbound(None, body))
    assert isinstance(event, Event)
    assert event.run
    assert (event.run.number, event.duration, event.title) == (3, 14.088, "app: Enhance message within hello().")
