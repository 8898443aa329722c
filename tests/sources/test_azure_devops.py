"""Azure DevOps' service hooks: who may send them, the same as which, and what they say.

`azure_devops/NAME.json` is a body and `azure_devops/NAME.event.json` what it becomes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import IngestError, Unauthorized, Unreadable
from bridge.event import Event, Ignored, Inbound, Status
from bridge.sources import azure_devops
from bridge.verify import shows_token
from tests.events import Folding
from tests.sources.common import (
    JSON,
    NOW,
    SHARED,
    Sender,
    needs_shared,
    real,
    said,
    takes_any_json,
    takes_odd_values,
)

AZURE = Sender("azure_devops", azure_devops, "x-none")
BODIES = AZURE.bodies
read, event_of = AZURE.read, AZURE.event_of


def inbound(body: bytes, **headers: str) -> Inbound:
    return Inbound("azure_devops", headers, body, NOW)


def within(*path: str, **told: Any) -> Callable[[Any], None]:
    """Return a change of what lies under `path` in the resource."""

    def change(body: Any) -> None:
        found = body["resource"]
        for name in path:
            found = found[name]
        found.update(told)

    return change


# -- golden events -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BODIES)
def test_each_body_becomes_its_golden_event(name: str) -> None:
    assert said(read(name)) == AZURE.golden(name)


@pytest.mark.parametrize("name", BODIES)
def test_a_saved_body_can_be_sent_again(name: str) -> None:
    body = BODIES[name].read_bytes()
    received = AZURE.sent(body)
    assert azure_devops.normalise(received) == read(name)
    assert azure_devops.identify(received).key.startswith(json.loads(body)["id"])


# -- state -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "result", "ours", "description"),
    [
        ("inProgress", None, Status.RUNNING, None),
        ("InProgress", None, Status.RUNNING, None),
        ("Running", None, Status.RUNNING, None),
        ("canceling", None, Status.RUNNING, "canceling"),
        ("notStarted", None, Status.QUEUED, None),
        ("waiting", None, Status.QUEUED, None),
        ("completed", "succeeded", Status.SUCCESS, None),
        ("Completed", "Succeeded", Status.SUCCESS, None),
        ("completed", "partiallySucceeded", Status.SUCCESS, "partially succeeded"),
        ("completed", "failed", Status.FAILURE, None),
        ("completed", "canceled", Status.CANCELLED, None),
        ("completed", "stopped", Status.CANCELLED, None),
        ("completed", "skipped", Status.SKIPPED, None),
        ("completed", "rejected", Status.FAILURE, "rejected"),
        ("completed", "abandoned", Status.UNKNOWN, "abandoned"),
        ("completed", None, Status.UNKNOWN, "Run 20260302.4 failed."),
        ("inProgress", "succeeded", Status.RUNNING, None),
        ("brandNew", None, Status.UNKNOWN, "brandNew"),
        (7, None, Status.UNKNOWN, "Run 20260302.4 failed."),
    ],
)
def test_state_and_result_become_our_word(state: Any, result: Any, ours: Status, description: str | None) -> None:
    event = event_of("run.failed", within("run", state=state, result=result))
    assert (event.status, event.description) == (ours, description)
    assert (event.finished_at is not None) is ours.finished
    stage = event_of("stage.failed", within("stage", state=state, result=result))
    assert stage.status is ours
    assert stage.task
    assert stage.task.status is ours


@pytest.mark.parametrize(
    ("status", "result", "ours"),
    [
        ("succeeded", None, Status.SUCCESS),
        ("partiallySucceeded", None, Status.SUCCESS),
        ("failed", None, Status.FAILURE),
        ("stopped", None, Status.CANCELLED),
        ("completed", "canceled", Status.CANCELLED),
        ("odd", "succeeded", Status.UNKNOWN),
        (None, None, Status.UNKNOWN),
    ],
)
def test_a_build_has_its_result_as_status_or_beside_it(status: Any, result: Any, ours: Status) -> None:
    assert event_of("build.failed", within(status=status, result=result)).status is ours


@pytest.mark.parametrize("status", ["skipped", "canceled", "timedOut", None, 7])
def test_an_approval_that_nobody_decided_is_ignored_with_a_reason(status: Any) -> None:
    out = read("approval.pending", within("approval", status=status))
    assert isinstance(out, Ignored)
    assert "approval" in out.reason


def test_a_hook_without_its_resource_says_what_its_message_says_and_no_status() -> None:
    event = event_of("build.without_resource")
    assert (event.status, event.description) == (Status.UNKNOWN, "Build 20260302.6 succeeded")
    assert event.run
    assert event.run.id == "420"

    def change(body: Any) -> None:
        body["message"] = {}

    alone = event_of("build.without_resource", change)
    assert alone.run
    assert alone.run.id == json.loads(BODIES["build.without_resource"].read_bytes())["id"]


# -- one living message ------------------------------------------------------------------------------------------------

WHOLE = ["run.began", "stage.running", "job.failed", "stage.failed", "run.failed", "build.failed"]


def test_one_run_from_its_beginning_to_its_end_speaks_once_for_each_state() -> None:
    folding = Folding(*(event_of(name) for name in WHOLE))
    assert folding.state == ("failure", 1)
    assert folding.news == [True, True, True, True, True, False]
    assert folding.tasks == {"Build": "failure", "Deploy": "skipped", "Build/Unit": "failure"}


@pytest.mark.parametrize("first", ["build.failed", "run.failed"])
def test_a_build_and_the_end_of_its_run_are_one_result(first: str) -> None:
    second = "run.failed" if first == "build.failed" else "build.failed"
    folding = Folding(*(event_of(name) for name in ("run.began", first, second, "run.began", "stage.running")))
    assert folding.news[:4] == [True, True, False, False]
    assert folding.state == ("failure", 1)


def test_what_an_event_leaves_out_of_a_run_is_known_from_the_others() -> None:
    folding = Folding(event_of("stage.running"), event_of("run.thin"))
    assert folding.run
    assert (folding.run.event.branch, folding.run.event.status) == ("main", Status.RUNNING)


def test_a_run_waits_for_an_approval_and_goes_on() -> None:
    folding = Folding(*(event_of(name) for name in ("run.began", "approval.pending", "approval.approved")))
    assert folding.news == [True, True, True]
    assert folding.state == ("running", 1)
    assert folding.run
    assert folding.run.event.author == "Octo Cat"


def test_a_rejected_run_fails_once() -> None:
    later = event_of("run.failed", within("run", finishedDate="2026-03-02T08:17:00Z"))
    folding = Folding(event_of("approval.pending"), event_of("approval.rejected"), later)
    assert folding.news == [True, True, False]


# -- repositories, refs, people ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "repository", "page"),
    [
        ("https://acme@dev.azure.com/acme/tools/_git/app", "tools/app", "https://dev.azure.com/acme/tools/_git/app"),
        ("https://dev.azure.com/acme/_git/app", "app/app", "https://dev.azure.com/acme/_git/app"),
        (
            "https://dev.azure.com/acme/DefaultCollection/_git/app",
            "app/app",
            "https://dev.azure.com/acme/DefaultCollection/_git/app",
        ),
        ("https://acme.visualstudio.com/tools/_git/app", "tools/app", "https://acme.visualstudio.com/tools/_git/app"),
        ("https://acme.visualstudio.com/_git/app", "app/app", "https://acme.visualstudio.com/_git/app"),
        (
            "https://tfs.example.com/tfs/Main/tools/_git/app",
            "tools/app",
            "https://tfs.example.com/tfs/Main/tools/_git/app",
        ),
        (
            "https://dev.azure.com/acme/My%20Tools/_git/app",
            "My Tools/app",
            "https://dev.azure.com/acme/My%20Tools/_git/app",
        ),
        ("https://api.github.com/repos/acme/app", "acme/app", "https://github.com/acme/app"),
        ("https://bitbucket.org/acme/app.git", "acme/app", "https://bitbucket.org/acme/app"),
        ("not an address", None, None),
        (None, None, None),
    ],
)
def test_a_repository_is_named_by_its_address(url: Any, repository: str | None, page: str | None) -> None:
    def change(body: Any) -> None:
        body["resource"]["repositories"][1]["url"] = url

    event = event_of("stage.running", change)
    assert (event.repository, event.repository_url) == (repository, page)


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        ("refs/heads/release/1", ("release/1", None, None)),
        ("refs/tags/v1", (None, "v1", None)),
        ("refs/pull/7/merge", (None, None, 7)),
        (None, (None, None, None)),
    ],
)
def test_a_run_is_of_a_branch_a_tag_or_a_pull_request(ref: Any, expected: tuple[Any, ...]) -> None:
    event = event_of("run.began", within("run", "resources", "repositories", "self", refName=ref))
    assert (event.branch, event.tag, event.pull_request) == expected


def test_who_is_named_is_not_given_somebody_elses_e_mail_address() -> None:
    event = event_of("build.classic")
    assert (event.author, event.author_email) == ("Mona Lisa", None)


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ({"id": None}, "418"),
        ({"id": None, "_links": None}, "418"),
        ({"id": None, "_links": None, "url": None}, None),
    ],
)
def test_a_runs_id_is_also_in_its_addresses(run: dict[str, Any], expected: str | None) -> None:
    def change(body: Any) -> None:
        body["resource"]["run"].update(run)
        body["resource"].pop("runId", None)
        body["message"] = None

    if expected is None:
        with pytest.raises(Unreadable):
            read("run.thin", change)
    else:
        found = event_of("run.thin", change).run
        assert found
        assert found.id == expected


@pytest.mark.parametrize(
    ("event", "status", "action"),
    [
        ("git.pullrequest.created", "active", "opened"),
        ("git.pullrequest.updated", "active", None),
        ("git.pullrequest.updated", "completed", "merged"),
        ("git.pullrequest.updated", "abandoned", "closed"),
        ("git.pullrequest.merged", "active", None),
        ("git.pullrequest.merged", "completed", "merged"),
        ("git.pullrequest.created", "completed", "merged"),
        ("git.pullrequest.updated", None, None),
    ],
)
def test_a_pull_request_is_merged_when_it_says_so_and_not_when_that_was_tried(
    event: str, status: Any, action: str | None
) -> None:
    def change(body: Any) -> None:
        body["eventType"] = event
        body["resource"]["status"] = status

    out = read("pull_request.merged", change)
    assert (out.action if isinstance(out, Event) else None) == action


def test_a_merge_that_two_events_tell_speaks_once() -> None:
    def change(body: Any) -> None:
        body["eventType"] = "git.pullrequest.merged"

    folding = Folding(event_of("pull_request.merged"), event_of("pull_request.merged", change))
    assert folding.news == [True, False]


# -- who sent it, and the same as which --------------------------------------------------------------------------------

BODY = BODIES["run.failed"].read_bytes()


@pytest.mark.parametrize("secrets", [[], [""], ["token"]])
@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer token"}, {"x-signature": ""}])
def test_azure_signs_nothing_so_no_secret_verifies(secrets: list[str], headers: dict[str, str]) -> None:
    assert azure_devops.SIGNS is False
    with pytest.raises(Unauthorized, match=r"^signature missing or wrong$"):
        azure_devops.verify(Inbound("azure_devops", headers, BODY, NOW), secrets)


def test_a_token_is_the_password_of_basic() -> None:
    assert shows_token({"authorization": "Basic YW55Ym9keTp0b2tlbg=="}, None, ["token"], azure_devops.TOKEN_HEADERS)
    assert not shows_token({"authorization": "Basic YW55Ym9keTpvdGhlcg=="}, None, ["token"], azure_devops.TOKEN_HEADERS)


@pytest.mark.parametrize("given", [None, "", "short", 7, "x" * 101, "with space in it", "é" * 12, ["id"]])
def test_without_a_sane_id_the_body_identifies(given: Any) -> None:
    body = json.dumps({"id": given}).encode()
    identity = azure_devops.identify(inbound(body))
    assert identity.key.startswith("sha256:")
    assert not identity.repeatable
    assert identity != azure_devops.identify(inbound(body + b" "))


def test_two_subscriptions_to_one_event_are_one_delivery() -> None:
    other = json.loads(BODY) | {"subscriptionId": "another", "notificationId": 99}
    assert azure_devops.identify(inbound(json.dumps(other).encode())) == azure_devops.identify(inbound(BODY))


def test_events_of_different_types_under_one_id_are_two_deliveries() -> None:
    other = json.loads(BODY) | {"eventType": "ms.vss-pipelines.stage-state-changed-event"}
    assert azure_devops.identify(inbound(json.dumps(other).encode())) != azure_devops.identify(inbound(BODY))


# -- hostile bodies ----------------------------------------------------------------------------------------------------

NAMING = frozenset(["eventType", "resource", "stage", "job", "refUpdates", "pullRequestId"])
ODD = [
    "run.began",
    "stage.running",
    "job.failed",
    "approval.approved",
    "build.failed",
    "build.partly",
    "build.without_resource",
    "push.branch",
    "pull_request.merged",
]


@pytest.mark.parametrize("name", ODD)
def test_a_wrong_type_anywhere_costs_only_that_field(name: str) -> None:
    takes_odd_values(AZURE, name, NAMING)


@pytest.mark.parametrize(
    "name", ["stage.running", "job.failed", "approval.pending", "push.branch", "pull_request.opened"]
)
def test_without_its_resource_what_is_no_run_is_ignored_with_what_to_do(name: str) -> None:
    out = read(name, lambda body: body.pop("resource"))
    assert isinstance(out, Ignored)
    assert "resource details" in out.reason


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_json_in_any_field_raises_nothing_but_ingest_errors(data: st.DataObject) -> None:
    takes_any_json(AZURE, data)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(azure_devops._READERS)), JSON)
def test_any_resource_raises_nothing_but_ingest_errors(event: str, resource: Any) -> None:
    body = json.dumps({"id": "0123456789", "eventType": event, "resource": resource}).encode()
    try:
        azure_devops.normalise(inbound(body))
    except IngestError:
        pass


@pytest.mark.parametrize("body", [b"", b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe{}", b"nul", b"[]", b"7"])
def test_what_is_no_object_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        azure_devops.normalise(inbound(body))


@pytest.mark.parametrize("event", [None, "workitem.created", "ms.vss-release.deployment-started-event", "x" * 9000, 7])
def test_an_event_that_we_do_not_know_is_ignored_with_a_reason(event: Any) -> None:
    out = azure_devops.normalise(inbound(json.dumps({"eventType": event}).encode()))
    assert isinstance(out, Ignored)
    assert len(out.reason) < 160


# -- real bodies -------------------------------------------------------------------------------------------------------

# Written from the bodies: kind, status, repository, branch, sha, author, pull request, url.
HAND = {
    "build.complete.gp": "pipeline success - master 600c52d2d5b655caa111abfd863e5a9bd304bb0e Normal_Paulk - "
    "https://dev.azure.com/fabrikam-fiber-inc/web/build.aspx?pcguid=5023c10b-bef3-41c3-bf53-686c4e34ee9e"
    "&builduri=vstfs%3a%2f%2f%2fBuild%2fBuild%2f3",
    "git.pullrequest.created.gp": "change_request unknown Fabrikam/Fabrikam mytopic "
    "53d54ac915144006c2c9e90d2c7d3880920db49c Jamal_Hartnett 1 "
    "https://dev.azure.com/fabrikam/DefaultCollection/_git/Fabrikam/pullrequest/1",
    "git.push.argocd": "push unknown alex-test/alex-test master 298a79aa1552799a70718a0ee914d153d5a1a76b "
    "Alexander_Matyushentsev - https://dev.azure.com/alexander0053/alex-test/_git/alex-test/commit/"
    "298a79aa1552799a70718a0ee914d153d5a1a76b",
    "git.push.gp": "push unknown Fabrikam-Fiber-Git/Fabrikam-Fiber-Git main 33b55f7cb7e7e245323987634f960cf4a6e6bc74 "
    "Jamal_Hartnett - https://dev.azure.com/fabrikam-fiber-inc/DefaultCollection/_git/Fabrikam-Fiber-Git/commit/"
    "33b55f7cb7e7e245323987634f960cf4a6e6bc74",
    "run-state-changed.completed.docs": "pipeline success - - - - - "
    "https://codedev.ms/org/11bb11bb-cc22-dd33-ee44-55ff55ff55ff/_build/results?buildId=11",
    "stage-state-changed.completed.docs": "task success fabrikamfiber-viva/fabrikamfiber - - Himani_Maharjan - "
    "https://codedev.ms/org/b1b1b1b1-cccc-dddd-eeee-f2f2f2f2f2f2/_build/results?buildId=2",
}


@needs_shared
@pytest.mark.parametrize("file", HAND)
def test_a_real_body_gives_the_event_that_it_tells(file: str) -> None:
    out = azure_devops.normalise(inbound((SHARED / f"fixtures/azuredevops/{file}.json").read_bytes()))
    assert isinstance(out, Event)
    told = [out.kind, out.status, out.repository, out.branch, out.sha, out.author, out.pull_request, out.url]
    assert " ".join(str(value or "-").replace(" ", "_") for value in told) == HAND[file]
    assert out.tag is None


@needs_shared
def test_every_real_body_is_in_the_table() -> None:
    assert real("azuredevops") == {f"{file}.json" for file in HAND}


# -- the page ----------------------------------------------------------------------------------------------------------


def test_the_page_explains_every_word_and_every_event() -> None:
    page = (Path(__file__).parents[2] / "docs/sources/azure_devops.md").read_text(encoding="utf-8")
    assert not [word for word in azure_devops.STATUS if f"`{word}`" not in page.lower()]
    assert not [event for event in azure_devops._READERS if f"`{event}`" not in page]
    assert "{url}" in azure_devops.SETUP
