"""Gitea's webhooks: signed by whom, the same as which, and what they say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import Unauthorized
from bridge.event import Event, Ignored, Kind, Status
from bridge.fold import run_key
from bridge.sources import gitea
from tests.events import Folding
from tests.sources.common import (
    PAGES,
    Sender,
    form,
    needs_shared,
    real,
    refuses_forgeries,
    said,
    takes_any_json,
    takes_odd_values,
    tells,
)

GITEA = Sender("gitea", gitea, "x-gitea-event")
BODY = GITEA.bodies["workflow_run.failed"].read_bytes()
NAMED = frozenset({"repository", "id", "run_id", "ref", "sha", "context", "number"})
NAMED |= {"workflow_run", "workflow_job", "pull_request", "release"}


# -- golden events -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GITEA.bodies)
def test_each_body_becomes_its_golden_event(name: str) -> None:
    assert said(GITEA.read(name)) == GITEA.golden(name)


@pytest.mark.parametrize("name", GITEA.bodies)
def test_a_saved_body_can_be_sent_again_as_gitea_would(name: str) -> None:
    body = GITEA.bodies[name].read_bytes()
    for sent in (body, form(body)):
        request = GITEA.sent(sent)
        gitea.verify(request, ["s3cret"])
        assert request.headers["x-gitea-event"] == GITEA.event(name)
        assert gitea.identify(request).key == "d-1"
        assert gitea.normalise(request) == GITEA.read(name)


# -- state -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "conclusion", "ours", "description"),
    [
        ("requested", None, Status.QUEUED, None),
        ("queued", None, Status.QUEUED, None),
        ("pending", None, Status.QUEUED, None),
        ("waiting", None, Status.QUEUED, "waiting"),
        ("in_progress", None, Status.RUNNING, None),
        ("in_progress", "failure", Status.RUNNING, None),
        ("completed", "success", Status.SUCCESS, None),
        ("completed", "failure", Status.FAILURE, None),
        ("completed", "cancelled", Status.CANCELLED, None),
        ("completed", "skipped", Status.SKIPPED, None),
        ("completed", "brand_new", Status.UNKNOWN, "brand new"),
        ("completed", "", Status.UNKNOWN, None),
        ("paused", None, Status.UNKNOWN, "paused"),
        ("", "success", Status.SUCCESS, None),
    ],
)
def test_status_and_conclusion_become_our_words(
    status: str, conclusion: str | None, ours: Status, description: str | None
) -> None:
    for name, thing in (("workflow_run.failed", "workflow_run"), ("workflow_job.failed_step", "workflow_job")):

        def change(body: Any, thing: str = thing) -> None:
            body[thing] |= {"status": status, "conclusion": conclusion}

        event = GITEA.event_of(name, change)
        assert (event.status, event.description) == (ours, description)


@pytest.mark.parametrize(
    ("state", "ours", "description"),
    [
        ("pending", Status.RUNNING, "3 hints"),
        ("success", Status.SUCCESS, "3 hints"),
        ("warning", Status.SUCCESS, "warning: 3 hints"),
        ("failure", Status.FAILURE, "3 hints"),
        ("error", Status.ERROR, "3 hints"),
        ("skipped", Status.SKIPPED, "3 hints"),
        ("odd", Status.UNKNOWN, "odd: 3 hints"),
    ],
)
def test_the_state_of_a_commit_status_becomes_our_word(state: str, ours: Status, description: str) -> None:
    event = GITEA.event_of("status.warning", lambda body: body.update(state=state))
    assert (event.status, event.description) == (ours, description)
    assert (event.started_at is not None) is (ours is Status.RUNNING)
    assert (event.finished_at is not None) is ours.finished


@pytest.mark.parametrize("name", ["workflow_run.failed", "workflow_job.failed_step"])
@pytest.mark.parametrize("action", ["requested", "in_progress", "completed", "whatever", None])
def test_the_state_never_comes_from_the_action(name: str, action: str | None) -> None:
    assert GITEA.event_of(name, lambda body: body.update(action=action)) == GITEA.event_of(name)


def test_a_time_that_go_writes_for_none_is_none() -> None:
    for none in ("0001-01-01T00:00:00Z", "1970-01-01T01:00:00+01:00", None, "yesterday"):

        def change(body: Any, none: str | None = none) -> None:
            body["workflow_run"] |= {"started_at": none, "completed_at": none}

        event = GITEA.event_of("workflow_run.failed", change)
        assert (event.started_at, event.finished_at, event.duration, event.changed_at) == (None, None, None, None)


def test_a_version_that_does_not_count_attempts_says_none() -> None:
    event = GITEA.event_of("workflow_run.failed", lambda body: body["workflow_run"].update(run_attempt=0))
    assert event.run is not None
    assert event.run.attempt is None


# -- one run -----------------------------------------------------------------------------------------------------------


def test_one_run_lives_from_its_request_to_its_end_with_its_jobs() -> None:
    story = ["requested", "running", "failed"]
    events = [GITEA.event_of(f"workflow_run.{name}") for name in story]
    jobs = [GITEA.event_of("workflow_job.waiting"), GITEA.event_of("workflow_job.failed_step")]
    folding = Folding(events[0], jobs[0], events[1], jobs[1], events[2])
    assert folding.state == ("failure", 1)
    assert folding.tasks == {"77": "failure"}
    assert folding.news == [True] * 5
    folding.add(*events)  # told once more, in whatever order
    assert folding.news[5:] == [False] * 3
    folding.add(GITEA.event_of("workflow_run.second_attempt"))
    assert folding.state == ("success", 2)


def test_a_job_belongs_to_the_run_that_workflow_run_tells_of() -> None:
    assert run_key(GITEA.event_of("workflow_job.failed_step")) == run_key(GITEA.event_of("workflow_run.failed"))


@pytest.mark.parametrize(
    "target",
    ["/acme/app/actions/runs/41/jobs/1", "https://git.example.com/acme/app/actions/runs/41", "/a/b/actions/runs/1"],
)
def test_the_commit_status_of_a_job_of_actions_does_not_speak_a_second_time(target: str) -> None:
    found = GITEA.read("status.of_actions", lambda body: body.update(target_url=target))
    assert isinstance(found, Ignored)
    assert "workflow_run" in found.reason


def test_anothers_commit_status_speaks_wherever_its_page_is() -> None:
    for target in ("https://ci.example.com/acme/app/actions/runs/41/more", "/acme/app/elsewhere/1", "", None, 7):

        def change(body: Any, target: Any = target) -> None:
            body["target_url"] = target

        assert GITEA.event_of("status.warning", change).kind is Kind.PIPELINE


# -- refs --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "bare", "branch", "tag", "pull"),
    [
        ("ci.yml@refs/heads/release/1.4", "release/1.4", "release/1.4", None, None),
        ("ci.yml@refs/tags/v1.4.0", "", None, "v1.4.0", None),
        ("ci.yml@refs/pull/8/head", "", None, None, 8),
        ("ci.yml@refs/pull/8/merge", "", None, None, 8),
        ("ci.yml", "main", "main", None, None),
        ("ci.yml", "refs/pull/8/head", None, None, None),
        (None, None, None, None, None),
    ],
)
def test_the_path_tells_what_a_run_is_on(
    path: str | None, bare: str | None, branch: str | None, tag: str | None, pull: int | None
) -> None:
    event = GITEA.event_of("workflow_run.failed", lambda body: body["workflow_run"].update(path=path, head_branch=bare))
    assert (event.branch, event.tag, event.pull_request) == (branch, tag, pull)


def test_newer_versions_list_the_pull_requests_of_a_run() -> None:
    def change(body: Any) -> None:
        body["workflow_run"]["pull_requests"] = [body.pop("pull_request")]
        body["workflow_run"]["path"] = "ci.yml"

    event = GITEA.event_of("workflow_run.pull_request", change)
    assert (event.branch, event.pull_request) == ("twice", 8)


def test_a_push_stays_on_its_branch_even_while_a_pull_request_is_open() -> None:
    listed = [{"number": 8, "head": {"ref": "twice"}}]
    event = GITEA.event_of("workflow_run.failed", lambda body: body["workflow_run"].update(pull_requests=listed))
    assert (event.branch, event.pull_request) == ("main", None)


def test_without_the_forks_repository_its_id_tells() -> None:
    def change(body: Any, head: int = 13) -> None:
        for side in ("head", "base"):
            del body["pull_request"][side]["repo"]
        body["pull_request"]["head"]["repo_id"] = head

    assert GITEA.event_of("pull_request.merged_fork", change).fork is True
    assert GITEA.event_of("pull_request.merged_fork", lambda body: change(body, 12)).fork is False


@pytest.mark.parametrize(
    ("action", "merged", "ours"),
    [
        ("opened", False, "opened"),
        ("closed", False, "closed"),
        ("closed", True, "merged"),
        ("reopened", False, "reopened"),
        ("label_updated", False, "labeled"),
        ("synchronized", False, None),
        ("edited", False, None),
        (None, False, None),
    ],
)
def test_only_the_turns_of_a_pull_request_are_told(action: str | None, merged: bool, ours: str | None) -> None:
    def change(body: Any) -> None:
        body["action"], body["pull_request"]["merged"] = action, merged

    found = GITEA.read("pull_request.merged_fork", change)
    assert (found.action if isinstance(found, Event) else None) == ours


def test_a_release_speaks_once_when_it_is_published() -> None:
    for action in ("updated", "deleted", None):

        def change(body: Any, action: str | None = action) -> None:
            body["action"] = action

        assert isinstance(GITEA.read("release.published", change), Ignored)


# -- who sent it, and which event --------------------------------------------------------------------------------------


def test_only_what_a_secret_signed_is_taken() -> None:
    refuses_forgeries(GITEA, BODY, "x-gitea-signature")


def test_a_form_is_signed_as_the_json_in_it() -> None:
    refuses_forgeries(GITEA, form(BODY), "x-gitea-signature")
    raw = GITEA.sent(BODY).headers["x-gitea-signature"]
    assert GITEA.sent(form(BODY)).headers["x-gitea-signature"] == raw


@pytest.mark.parametrize("body", [b"", b"a=1", b"payload", b"payload=", b"{}"])
def test_a_form_without_a_payload_is_refused_like_any_forgery(body: bytes) -> None:
    request = GITEA.inbound("push", body, content_type="application/x-www-form-urlencoded", x_gitea_signature="00")
    with pytest.raises(Unauthorized):
        gitea.verify(request, ["s3cret"])


def test_the_signatures_that_come_in_githubs_headers_are_never_looked_at() -> None:
    good = GITEA.sent(BODY).headers["x-gitea-signature"]
    request = GITEA.inbound("push", BODY, x_hub_signature_256=f"sha256={good}", x_gitea_signature="")
    with pytest.raises(Unauthorized):
        gitea.verify(request, ["s3cret"])


def test_githubs_headers_name_no_event() -> None:
    found = gitea.normalise(GITEA.inbound(None, BODY, x_github_event="workflow_run"))
    assert isinstance(found, Ignored)
    assert "X-Gitea-Event" in found.reason


def test_an_event_with_a_name_in_the_finer_header_only_is_read() -> None:
    body = GITEA.bodies["status.warning"].read_bytes()
    found = gitea.normalise(GITEA.inbound("", body, x_gitea_event_type="status"))
    assert found == GITEA.read("status.warning")


def test_an_event_that_we_do_not_know_is_ignored_with_its_name() -> None:
    found = gitea.normalise(GITEA.inbound("issue_comment", b"{}"))
    assert isinstance(found, Ignored)
    assert "issue_comment" in found.reason


@pytest.mark.parametrize("delivery", ["", " ", "a b", "é", "x" * 201, "\udcff"])
def test_without_a_sane_delivery_id_the_body_identifies(delivery: str) -> None:
    identity = gitea.identify(GITEA.inbound("push", BODY, x_gitea_delivery=delivery))
    assert identity == gitea.identify(GITEA.inbound("push", BODY, x_github_delivery="72d3162e"))
    assert identity.key.startswith("sha256:")
    assert not identity.repeatable


# -- odd bodies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GITEA.bodies)
def test_an_odd_value_costs_at_most_its_field(name: str) -> None:
    takes_odd_values(GITEA, name, NAMED)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_nothing_but_ingest_errors_leaves_the_module(data: st.DataObject) -> None:
    takes_any_json(GITEA, data)


def test_the_old_secret_in_the_body_is_shown_nowhere() -> None:
    event = GITEA.event_of("pull_request.merged_fork", lambda body: body.update(secret="hunter-two"))
    assert "hunter-two" not in json.dumps(said(event))


# -- real bodies -------------------------------------------------------------------------------------------------------

HELLO = {
    "repository": "jcitizen/my-repo",
    "branch": "feature",
    "sha": "2eba238e33607c1fa49253182e9fff42baafa1eb",
    "author": "jcitizen",
    "pull_request": 1,
    "url": "https://try.gitea.io/jcitizen/my-repo/pulls/1",
}
REAL: dict[str, dict[str, Any] | str] = {
    "pull_request.gp-pull-request-event.json": {
        "repository": "example/example",
        "branch": "master",
        "sha": "48e773f892a831faa47c0a160d1b7f0cd369ae2a",
        "author": "example2",
        "pull_request": 2,
        "url": "http://localhost:3000/example/example/pulls/2",
    },
    "pull_request.scm-pull_request_merged.json": HELLO,
    "pull_request.scm-pull_request_opened.json": HELLO,
    "pull_request.scm-pull_request_synchronized.json": "synchronized",
    "pull_request.wp-HookPullRequest.json": {
        "repository": "gordon/hello-world",
        "branch": "feature/changes",
        "sha": "0d1a26e67d8f5eaf1f6ba5c57fc3c7d91ac0fd1c",
        "author": "gordon",
        "pull_request": 1,
        "url": "http://gitea.golang.org/gordon/hello-world/pull/1",
    },
    "push.pac.json": {
        "repository": "gitea/webhooks",
        "branch": "develop",
        "sha": "bffeb74224043ba2feb48d137756c8a9331c449a",
        "author": "gitea",
        "url": "http://localhost:3000/gitea/webhooks/compare/"
        "28e1879d029cb852e4844d9c718537df08844e03...bffeb74224043ba2feb48d137756c8a9331c449a",
    },
    "push.scm-push.json": {
        "repository": "gogits/hello-world",
        "branch": "master",
        "sha": "4522cbcefc20728a5b72b3a86af35e608622c514",
        "author": "unknwon",
        "url": "http://try.gitea.io/gogits/hello-world/compare/"
        "9836a96a253cce25d17988fcf41b8c4205cf779f...4522cbcefc20728a5b72b3a86af35e608622c514",
    },
    "release.gp-release-event.json": {
        "repository": "example/example",
        "tag": "example",
        "author": "example",
        "url": "http://localhost:3000/example/example/releases/tag/example",
    },
}


@needs_shared
@pytest.mark.parametrize("file", REAL)
def test_a_real_body_gives_the_event_that_it_tells(file: str) -> None:
    tells(GITEA, "gitea", file, file.split(".")[0], REAL[file])


@needs_shared
def test_every_real_body_is_in_the_table() -> None:
    assert real("gitea") == set(REAL)


# -- the page ----------------------------------------------------------------------------------------------------------


def test_the_page_explains_every_word_and_every_event() -> None:
    page = (PAGES / "gitea.md").read_text(encoding="utf-8")
    assert not [word for word in (*gitea.STATUS, *gitea._READERS) if f"`{word}`" not in page]
    assert "{url}" in gitea.SETUP
