"""GitLab's webhooks: signed by whom, the same as which, and what they say.

`gitlab/NAME.json` is a body and `gitlab/NAME.event.json` what it becomes; the name begins with its object_kind.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import IngestError, Unauthorized, Unreadable
from bridge.event import Change, Event, Ignored, Inbound, Kind, Run, Status, Track
from bridge.fold import run_key
from bridge.receive import Deciding
from bridge.route import Goal, Rule, condition
from bridge.sources import gitlab
from bridge.verify import shows_token, standard_headers
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
    vectors,
)

GITLAB = Sender("gitlab", gitlab, "x-gitlab-event")
BODIES = GITLAB.bodies
HOME = "https://gitlab.example.com/acme/tools/app"


def inbound(body: bytes, **headers: str) -> Inbound:
    return Inbound("gitlab", {name.replace("_", "-"): value for name, value in headers.items()}, body, NOW)


read, event_of = GITLAB.read, GITLAB.event_of


def attributes(**told: Any) -> Callable[[Any], None]:
    return lambda body: body["object_attributes"].update(told)


# -- golden events -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BODIES)
def test_each_body_becomes_its_golden_event(name: str) -> None:
    assert said(read(name)) == GITLAB.golden(name)


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("secret", ["whsec_" + base64.b64encode(b"k" * 32).decode(), "a secret token"])
def test_a_saved_body_can_be_sent_again_as_gitlab_would(name: str, secret: str) -> None:
    body = BODIES[name].read_bytes()
    headers = {key.lower(): value for key, value in gitlab.sign(body, secret, delivery="f5e5f430-f57b").items()}
    received = Inbound("gitlab", headers, body, datetime.now(UTC))
    gitlab.verify(received, [secret])
    assert gitlab.identify(received).key == "f5e5f430-f57b"
    assert gitlab.normalise(received) == read(name)


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("pipeline.failed", "Pipeline Hook"),
        ("build.failed", "Job Hook"),
        ("tag_push.created", "Tag Push Hook"),
        ("merge_request.opened", "Merge Request Hook"),
        ("system.push", "System Hook"),
    ],
)
def test_a_body_is_sent_under_the_name_that_gitlab_gives_it(name: str, header: str) -> None:
    assert gitlab.sign(BODIES[name].read_bytes(), "", delivery="d")["X-Gitlab-Event"] == header


# -- state -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "ours", "description"),
    [
        ("created", Status.QUEUED, None),
        ("waiting_for_resource", Status.QUEUED, "waiting for resource"),
        ("waiting_for_callback", Status.QUEUED, "waiting for callback"),
        ("preparing", Status.QUEUED, None),
        ("pending", Status.QUEUED, None),
        ("scheduled", Status.QUEUED, "scheduled"),
        ("manual", Status.WAITING, "manual"),
        ("running", Status.RUNNING, None),
        ("canceling", Status.RUNNING, "canceling"),
        ("success", Status.SUCCESS, None),
        ("failed", Status.FAILURE, None),
        ("canceled", Status.CANCELLED, None),
        ("skipped", Status.SKIPPED, None),
        ("brand_new", Status.UNKNOWN, "brand new"),
        (None, Status.UNKNOWN, None),
        (7, Status.UNKNOWN, None),
    ],
)
def test_the_status_of_a_pipeline_and_of_a_job_becomes_our_word(word: Any, ours: Status, description: str) -> None:
    event = event_of("pipeline.running", attributes(status=word, detailed_status=None))
    assert (event.status, event.description) == (ours, description)
    job = event_of("build.failed", lambda body: body.update(build_status=word, build_failure_reason=None))
    assert job.status is ours


@pytest.mark.parametrize(
    ("reason", "ours"),
    [
        ("unknown_failure", Status.FAILURE),
        ("brand_new_reason", Status.FAILURE),
        ("job_execution_timeout", Status.TIMEOUT),
        ("runner_system_failure", Status.ERROR),
        ("stuck_or_timeout_failure", Status.ERROR),
        ("scheduler_failure", Status.ERROR),
        (None, Status.FAILURE),
        ([], Status.FAILURE),
    ],
)
def test_why_a_job_failed_tells_a_timeout_and_the_systems_fault_apart(reason: Any, ours: Status) -> None:
    event = event_of("build.failed", lambda body: body.update(build_failure_reason=reason))
    assert event.status is ours
    assert event.task
    assert event.task.note == (reason.replace("_", " ") if isinstance(reason, str) else None)


def test_that_the_script_failed_is_no_reason_beside_failed() -> None:
    """So that the end of its log can stand there."""
    event = event_of("build.failed", lambda body: body.update(build_failure_reason="script_failure"))
    assert event.task
    assert (event.task.status, event.task.note) == (Status.FAILURE, None)


def test_a_job_that_did_not_fail_has_no_reason_for_it() -> None:
    event = event_of("build.failed", lambda body: body.update(build_status="success"))
    assert event.task
    assert event.task.note is None


@pytest.mark.parametrize("detailed", ["passed with warnings", None, "passed", "success"])
def test_a_success_with_warnings_is_one_and_says_so(detailed: str | None) -> None:
    event = event_of("pipeline.mended", attributes(detailed_status=detailed))
    assert (event.status, event.description) == (Status.SUCCESS, "passed with warnings")


def test_a_success_without_warnings_says_nothing() -> None:
    event = event_of(
        "pipeline.mended", lambda body: body.update(builds=[]) or attributes(detailed_status="passed")(body)
    )
    assert event.description is None


@pytest.mark.parametrize(
    ("word", "ours"),
    [
        ("created", Status.QUEUED),
        ("blocked", Status.WAITING),
        ("approved", Status.QUEUED),
        ("rejected", Status.FAILURE),
        ("running", Status.RUNNING),
        ("success", Status.SUCCESS),
        ("failed", Status.FAILURE),
        ("canceled", Status.CANCELLED),
        ("skipped", Status.SKIPPED),
        ("paused", Status.UNKNOWN),
    ],
)
def test_a_deployment_has_the_status_of_its_newest_state(word: str, ours: Status) -> None:
    assert event_of("deployment.success", lambda body: body.update(status=word)).status is ours


def test_a_pipeline_that_runs_again_has_not_ended() -> None:
    event = event_of("pipeline.retried")
    assert (event.status, event.finished_at, event.duration) == (Status.RUNNING, None, None)


# -- one living message ------------------------------------------------------------------------------------------------


class Story:
    """Feeds one body after the other, as the store has it decided, and remembers what was said."""

    def __init__(self) -> None:
        kinds = condition("kind", ["pipeline", "deployment", "push"])
        self._decider = Deciding([Rule(name="all", conditions=(kinds,), to=(Goal(destination="builds", live=True),))])
        self.runs: dict[str, Run] = {}
        self.tracks: dict[str, Track] = {}
        self.changes: list[Change | None] = []

    def tell(self, *names: str) -> list[str]:
        """Return the status of what was news of `names`."""
        news = []
        for name in names:
            event = event_of(name)
            first = self._decider.first(event, self.runs.get(run_key(event) or ""), repeat=False, sent_at=None)
            decision = self._decider.second(first, self.tracks.get(first.track or ""))
            if decision.run:
                self.runs[decision.run.key] = decision.run
            if decision.track:
                self.tracks[decision.track.key] = decision.track
            if first.news and event.kind is not Kind.TASK:
                news.append(str(decision.event.status))
                self.changes.append(decision.event.change)
        return news

    @property
    def run(self) -> Run:
        (run,) = self.runs.values()
        return run


FIRST = ("pipeline.created", "pipeline.running", "pipeline.failed")
AGAIN = ("pipeline.retried", "pipeline.mended")


def test_one_run_from_the_beginning_to_the_retry_that_mends_it() -> None:
    story = Story()
    assert story.tell(*FIRST, *AGAIN) == ["queued", "running", "failure", "running", "success"]
    assert story.changes == [None, None, Change.BROKEN, None, Change.FIXED]
    assert (story.run.status, story.run.attempt) == (Status.SUCCESS, 2)
    assert [(task.name, task.status) for task in story.run.tasks] == [
        ("build", Status.SUCCESS),
        ("unit", Status.SUCCESS),
        ("lint", Status.TIMEOUT),
    ]


def test_a_job_and_its_pipeline_are_one_run_that_speaks_once() -> None:
    story = Story()
    assert story.tell("pipeline.created", "build.failed", "pipeline.running", "pipeline.failed", "build.failed") == [
        "queued",
        "running",
        "failure",
    ]
    assert {task.id: task.status for task in story.run.tasks}["902"] is Status.FAILURE


def test_late_and_repeated_deliveries_change_nothing() -> None:
    story = Story()
    story.tell(*FIRST, *AGAIN)
    assert story.tell(*FIRST, *AGAIN, *reversed(FIRST)) == []
    assert (story.run.status, story.run.attempt) == (Status.SUCCESS, 2)
    assert [task.name for task in story.run.tasks].count("unit") == 1


def test_a_job_that_is_retried_while_its_pipeline_runs_replaces_the_first_try() -> None:
    story = Story()
    assert story.tell("pipeline.running", "pipeline.mended") == ["running", "success"]
    assert [task.id for task in story.run.tasks] == ["901", "903", "907"]


def test_a_deployment_waits_is_approved_and_ends_as_one_run() -> None:
    story = Story()
    told = story.tell("deployment.blocked", "deployment.approved", "deployment.running", "deployment.success")
    assert told == ["waiting", "queued", "running", "success"]
    assert story.tell("deployment.running", "deployment.blocked") == []


def test_a_deployment_that_is_rejected_fails_once() -> None:
    story = Story()
    assert story.tell("deployment.blocked", "deployment.rejected") == ["waiting", "failure"]
    assert story.run.event.description == "rejected by mona"


def test_a_push_that_a_system_hook_tells_as_well_speaks_once() -> None:
    assert len(Story().tell("push.branch", "system.push")) == 1


def test_a_merge_request_and_a_child_do_not_mend_what_their_branch_broke() -> None:
    story = Story()
    story.tell("pipeline.failed", "pipeline.child")
    assert story.changes == [Change.BROKEN, Change.STILL_PASSING]
    assert len(story.tracks) == 2


# -- refs and names ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ref", "tag", "expected"),
    [
        ("main", False, ("main", None, None)),
        ("v1.4.0", True, (None, "v1.4.0", None)),
        ("v1.4.0", False, ("v1.4.0", None, None)),
        ("refs/heads/main", False, ("main", None, None)),
        ("refs/tags/v1", True, (None, "v1", None)),
        ("refs/merge-requests/7/head", False, (None, None, 7)),
        ("refs/merge-requests/7/merge", False, (None, None, 7)),
        ("refs/merge-requests/7/train", False, (None, None, 7)),
        ("main", "yes", ("main", None, None)),
        (None, True, (None, None, None)),
    ],
)
def test_a_job_runs_on_a_branch_a_tag_or_a_merge_request(ref: Any, tag: Any, expected: tuple[Any, ...]) -> None:
    event = event_of("build.failed", lambda body: body.update(ref=ref, tag=tag))
    assert (event.branch, event.tag, event.pull_request) == expected


@pytest.mark.parametrize(("source", "fork"), [(71, False), (88, True), (None, None)])
def test_a_merge_request_of_another_project_is_of_a_fork(source: int | None, fork: bool | None) -> None:
    pipeline = event_of("pipeline.merge_request", lambda body: body["merge_request"].update(source_project_id=source))
    assert pipeline.fork is fork
    assert event_of("merge_request.opened", attributes(source_project_id=source)).fork is fork


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Nightly", "Nightly"),
        (None, "GitLab CI"),
        ("", "GitLab CI"),
        ("Count parcels twice", "GitLab CI"),  # the commit's title: new each time
        ("Build 3a7d90c1", "GitLab CI"),
    ],
)
def test_a_name_that_is_new_each_time_names_no_pipeline(name: str | None, shown: str) -> None:
    assert event_of("pipeline.failed", attributes(name=name)).pipeline == shown


@pytest.mark.parametrize(("level", "private"), [(0, True), (10, True), (20, False), (None, None), ("odd", None)])
def test_only_a_public_project_is_not_private(level: Any, private: bool | None) -> None:
    assert event_of("push.branch", lambda body: body["project"].update(visibility_level=level)).private is private


@pytest.mark.parametrize(
    ("clone", "home", "repository"),
    [
        ("git@gitlab.example.com:acme/tools/app.git", HOME, "acme/tools/app"),
        (None, HOME, "acme/tools/app"),
        ("ssh://git@gitlab.example.com:2222/acme/app.git", None, "acme/app"),
        ("git@gitlab.example.com:acme/app.git", "https://example.com/gitlab/acme/app", "acme/app"),
        (None, None, None),
    ],
)
def test_a_job_of_an_older_server_names_its_project_by_address(clone: Any, home: Any, repository: str | None) -> None:
    def change(body: Any) -> None:
        body["repository"].update(git_ssh_url=clone, homepage=home)

    assert event_of("build.merge_request", change).repository == repository


def test_a_job_without_a_pipeline_id_finds_it_in_its_commit() -> None:
    event = event_of("build.failed", lambda body: body.pop("pipeline_id"))
    assert event.run
    assert event.run.id == "52001"


@pytest.mark.parametrize(
    ("url", "sha"),
    [
        (f"{HOME}/-/commit/3a7d90c1e5f2b8460d17c9e4ab35f6820c4d1e97", "3a7d90c1e5f2b8460d17c9e4ab35f6820c4d1e97"),
        (f"{HOME}/-/commit/b41c07e9d2583fa6c0e19d74b85a3f62e7d0c918", "3a7d90c1"),
        (None, "3a7d90c1"),
    ],
)
def test_a_deployments_whole_sha_is_in_the_address_of_its_commit(url: str | None, sha: str) -> None:
    assert event_of("deployment.running", lambda body: body.update(commit_url=url)).sha == sha


@pytest.mark.parametrize(
    ("ref", "branch", "tag"), [("main", "main", None), ("1.4.0", None, "1.4.0"), (None, None, None)]
)
def test_a_deployments_ref_that_reads_as_a_version_is_a_tag(ref: Any, branch: Any, tag: Any) -> None:
    event = event_of("deployment.running", lambda body: body.update(ref=ref))
    assert (event.branch, event.tag) == (branch, tag)


@pytest.mark.parametrize(
    "moment",
    ["2026-03-02 08:26:00 UTC", "2026-03-02 09:26:00 +0100", "2026-03-02T08:26:00Z", "2026-03-02T08:26:00.000+00:00"],
)
def test_each_way_in_which_gitlab_writes_a_time_is_read(moment: str) -> None:
    event = event_of("deployment.running", lambda body: body.update(status_changed_at=moment))
    assert event.changed_at == datetime(2026, 3, 2, 8, 26, tzinfo=UTC)


def test_an_e_mail_address_that_is_kept_back_is_none() -> None:
    event = event_of("push.branch", lambda body: body["commits"][1]["author"].update(email="[REDACTED]"))
    assert event.author_email is None


# -- what people do ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "ours"),
    [
        ("open", "opened"),
        ("close", "closed"),
        ("reopen", "reopened"),
        ("merge", "merged"),
        ("approved", "approved"),
        ("unapproved", "unapproved"),
        ("approval", None),
        ("update", None),
        ("brand_new", None),
        (None, None),
    ],
)
def test_only_the_turns_of_a_merge_request_are_told(action: str | None, ours: str | None) -> None:
    out = read("merge_request.opened", attributes(action=action))
    assert (out.action if isinstance(out, Event) else None) == ours
    if isinstance(out, Ignored):
        assert out.reason.startswith(f"merge_request {action or 'without an action'}: ")


@pytest.mark.parametrize(
    ("changes", "ours"),
    [
        ({"draft": {"previous": True, "current": False}}, "ready_for_review"),
        ({"draft": {"previous": False, "current": True}}, "converted_to_draft"),
        ({"title": {"previous": "Draft: x", "current": "x"}}, "ready_for_review"),
        ({"title": {"previous": "x", "current": "WIP: x"}}, "converted_to_draft"),
        ({"title": {"previous": "x", "current": "y"}}, None),
        ({"labels": {"previous": [], "current": [{"title": "bug"}]}}, "labeled"),
        ({"labels": {"previous": [{"title": "bug"}], "current": []}}, None),
        ({"labels": 7, "title": [], "draft": "x"}, None),
        (None, None),
    ],
)
def test_an_update_is_told_where_it_is_a_turn(changes: Any, ours: str | None) -> None:
    out = read("merge_request.new_commits", lambda body: body.update(changes=changes))
    assert (out.action if isinstance(out, Event) else None) == ours


@pytest.mark.parametrize(
    ("told", "draft"),
    [
        ({"draft": True}, True),
        ({"draft": None, "work_in_progress": True}, True),
        ({"draft": None, "work_in_progress": None, "title": "[Draft] x"}, True),
        ({"draft": None, "work_in_progress": None, "title": "x"}, False),
        ({"draft": None, "work_in_progress": None, "title": None}, None),
    ],
)
def test_a_draft_is_one_by_flag_or_by_title(told: Any, draft: bool | None) -> None:
    assert event_of("merge_request.opened", attributes(**told)).draft is draft


def test_a_merge_request_without_its_number_has_it_in_its_address() -> None:
    assert event_of("merge_request.opened", attributes(iid=None)).pull_request == 7
    with pytest.raises(Unreadable):
        read("merge_request.opened", attributes(iid=None, url=None))


@pytest.mark.parametrize("action", ["update", "delete", "", None, 7])
def test_a_release_speaks_once_when_it_is_made(action: Any) -> None:
    assert isinstance(read("release.published", lambda body: body.update(action=action)), Ignored)


def test_a_body_that_names_itself_nowhere_is_ignored_with_a_reason() -> None:
    out = gitlab.normalise(inbound(b'{"text": "a template of its own"}', x_gitlab_event="Pipeline Hook"))
    assert isinstance(out, Ignored)
    assert "object_kind" in out.reason


@pytest.mark.parametrize("kind", ["issue", "wiki_page", "feature_flag", "x" * 9000, "a\nb"])
def test_a_kind_that_we_do_not_know_is_ignored_with_its_name(kind: str) -> None:
    out = gitlab.normalise(inbound(json.dumps({"object_kind": kind}).encode()))
    assert isinstance(out, Ignored)
    assert out.reason.endswith(": bridge has nothing to say about it")
    assert len(out.reason) < 120


def test_a_system_hook_never_shows_a_key_or_an_e_mail_address() -> None:
    body = {"event_name": "key_create", "username": "mona", "key": "ssh-ed25519 AAAA", "user_email": "m@example.com"}
    out = gitlab.normalise(inbound(json.dumps(body).encode()))
    assert isinstance(out, Event)
    assert (out.kind, out.title) == (Kind.AUDIT, "key create: mona")
    assert "AAAA" not in str(out)
    assert "m@example.com" not in str(out)


# -- who sent it -------------------------------------------------------------------------------------------------------

BODY = BODIES["pipeline.failed"].read_bytes()
NEW, OLD = ("whsec_" + base64.b64encode(letter * 32).decode() for letter in (b"n", b"o"))
GOOD = standard_headers(BODY, NEW, delivery="f5e5f430", now=NOW)
SIGNATURE = GOOD["webhook-signature"]


def signed(body: bytes = BODY, *, now: datetime = NOW, **changed: str | None) -> Inbound:
    headers = GOOD | {name.replace("_", "-"): value for name, value in changed.items()}
    return Inbound("gitlab", {name: value for name, value in headers.items() if value is not None}, body, now)


@pytest.mark.parametrize("secrets", [[NEW], [NEW, OLD], [OLD, NEW], ["", NEW], ["plain", NEW]])
def test_any_of_the_secrets_may_have_signed(secrets: list[str]) -> None:
    gitlab.verify(signed(), secrets)


def test_any_of_several_signatures_may_fit() -> None:
    gitlab.verify(signed(webhook_signature=f"v1,AAAA v2,BBBB {SIGNATURE}"), [NEW])


@pytest.mark.parametrize(
    "signature",
    [
        None,
        "",
        "v1",
        "v1,",
        SIGNATURE.removeprefix("v1,"),
        "v2," + SIGNATURE.removeprefix("v1,"),
        SIGNATURE[:-1],
        SIGNATURE + "=",
        "v1,A" + SIGNATURE[4:] if SIGNATURE[3] != "A" else "v1,B" + SIGNATURE[4:],
        "v1," + "é" * 44,
        "v1,\udcff",
        "v1,!!!!",
        "v1," + "A" * 100_000,
    ],
)
def test_a_missing_empty_or_wrong_signature_is_refused(signature: str | None) -> None:
    with pytest.raises(Unauthorized):
        gitlab.verify(signed(webhook_signature=signature), [NEW])


@pytest.mark.parametrize("secrets", [[], [""], [OLD], ["whsec_"], ["whsec_!"]])
def test_a_secret_that_is_not_configured_signs_nothing(secrets: list[str]) -> None:
    with pytest.raises(Unauthorized):
        gitlab.verify(signed(), secrets)


@pytest.mark.parametrize("place", [0, len(BODY) // 2, len(BODY) - 1])
def test_a_flipped_byte_is_refused(place: int) -> None:
    with pytest.raises(Unauthorized):
        gitlab.verify(signed(BODY[:place] + bytes([BODY[place] ^ 1]) + BODY[place + 1 :]), [NEW])


@pytest.mark.parametrize("changed", [{"webhook_id": "other"}, {"webhook_timestamp": "1772452801"}])
def test_the_id_and_the_time_are_signed_with_the_body(changed: dict[str, Any]) -> None:
    with pytest.raises(Unauthorized):
        gitlab.verify(signed(**changed), [NEW])


@pytest.mark.parametrize(("minutes", "taken"), [(0, True), (4.9, True), (-4.9, True), (5.1, False), (-5.1, False)])
def test_a_signature_holds_for_five_minutes(minutes: float, taken: bool) -> None:
    request = signed(now=NOW + timedelta(minutes=minutes))
    if taken:
        gitlab.verify(request, [NEW])
    else:
        with pytest.raises(Unauthorized):
            gitlab.verify(request, [NEW])


def test_a_secret_token_is_compared_as_it_is() -> None:
    gitlab.verify(inbound(BODY, x_gitlab_token="plain"), ["other", "plain"])
    assert shows_token({"x-gitlab-token": "plain"}, None, ["plain"], gitlab.TOKEN_HEADERS)


@pytest.mark.parametrize("token", ["", "Plain", "plain ", "é", "\udcff", "p" * 100_000])
def test_another_token_is_refused(token: str) -> None:
    with pytest.raises(Unauthorized):
        gitlab.verify(inbound(BODY, x_gitlab_token=token), ["plain", ""])


def test_a_token_does_not_make_up_for_a_wrong_signature() -> None:
    with pytest.raises(Unauthorized):
        gitlab.verify(signed(b"{}", x_gitlab_token="plain"), [NEW, "plain"])


def test_a_signing_token_is_never_taken_as_a_token() -> None:
    with pytest.raises(Unauthorized):
        gitlab.verify(inbound(BODY, x_gitlab_token=NEW), [NEW])


def test_a_token_suffices_while_nothing_is_signed_yet() -> None:
    gitlab.verify(inbound(BODY, x_gitlab_token="plain"), [NEW, "plain"])


@needs_shared
def test_published_signature_vectors() -> None:
    mine = [one for one in vectors("standard-webhooks") if "v1a" not in one["name"]]
    assert mine
    for vector in mine:
        headers = {name.lower(): value for name, value in vector["headers"].items()}
        now = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
        request = Inbound("gitlab", headers, vector["body"].encode(), now)
        if vector["valid"]:
            gitlab.verify(request, [vector["secret"]])
        else:
            with pytest.raises(Unauthorized):
                gitlab.verify(request, [vector["secret"]])


# -- the same as which -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"webhook_id": "a-1", "idempotency_key": "b-2"}, "a-1"),
        ({"idempotency_key": "b-2", "x_gitlab_event_uuid": "c-3"}, "b-2"),
        ({"webhook_id": "", "idempotency_key": "b-2"}, "b-2"),
    ],
)
def test_a_delivery_is_its_id_and_never_news_twice(headers: dict[str, str], key: str) -> None:
    identity = gitlab.identify(inbound(b"{}", **headers))
    assert (identity.key, identity.repeatable) == (key, False)


@pytest.mark.parametrize("delivery", [None, "", " ", "a b", "é", "x" * 201, "line\nbreak", "\udcff"])
def test_without_a_sane_delivery_id_the_body_identifies(delivery: str | None) -> None:
    headers = {"x_gitlab_event_uuid": "shared by several"} | ({"idempotency_key": delivery} if delivery else {})
    assert gitlab.identify(inbound(b"{}", **headers)).key == "sha256:" + hashlib.sha256(b"{}").hexdigest()


# -- hostile bodies ----------------------------------------------------------------------------------------------------

NAMING = frozenset(
    ["object_kind", "event_name", "object_attributes", "id", "iid", "url", "build_id", "deployment_id", "ref", "tag"]
)


ODD = [
    "pipeline.merge_request",
    "pipeline.child",
    "build.failed",
    "deployment.approved",
    "push.branch",
    "merge_request.labeled",
    "merge_request.ready",
    "release.published",
    "system.user_add_to_team",
]


@pytest.mark.parametrize("name", ODD)
def test_a_wrong_type_anywhere_costs_only_that_field(name: str) -> None:
    takes_odd_values(GITLAB, name, NAMING)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_json_in_any_field_raises_nothing_but_ingest_errors(data: st.DataObject) -> None:
    takes_any_json(GITLAB, data)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["webhook-id", "idempotency-key", "x-gitlab-token", "webhook-signature"]), st.text()
    ),
    st.binary() | JSON.map(lambda value: json.dumps(value).encode()),
)
def test_any_request_raises_nothing_but_ingest_errors(headers: dict[str, str], body: bytes) -> None:
    request = Inbound("gitlab", headers, body, NOW)
    assert gitlab.identify(request).key
    assert gitlab.sign(body, "s", delivery="d")
    for step in (lambda: gitlab.verify(request, [NEW, "plain"]), lambda: gitlab.normalise(request)):
        try:
            step()
        except IngestError:
            pass


@pytest.mark.parametrize(
    "body", [b"", b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe{}", b"nul", b"[]", b'"text"', b"7"]
)
def test_what_is_no_object_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        gitlab.normalise(inbound(body))


@pytest.mark.parametrize("kind", ["pipeline", "build", "deployment", "push", "merge_request"])
def test_a_body_without_what_names_the_thing_is_unreadable(kind: str) -> None:
    with pytest.raises(Unreadable):
        gitlab.normalise(inbound(json.dumps({"object_kind": kind, "object_attributes": {"action": "open"}}).encode()))


# -- real bodies -------------------------------------------------------------------------------------------------------

# Written from the bodies: kind, status, repository, branch, tag, sha, author, pull request, url.
HAND = {
    "deployment_hook.approved.2026": "deployment queued pritesh-30-group/deployment-webhook-test main - "
    "2166d75e44d9b13be5d7fc739fd40e7ba8a8eece Pritesh-30 - "
    "https://gitlab.com/pritesh-30-group/deployment-webhook-test/-/jobs/15664214926",
    "deployment_hook.blocked.2026": "deployment waiting pritesh-30-group/deployment-webhook-test main - "
    "2166d75e44d9b13be5d7fc739fd40e7ba8a8eece Pritesh-30 - "
    "https://gitlab.com/pritesh-30-group/deployment-webhook-test/-/jobs/15663409982",
    "deployment_hook.failed.2025": "deployment failure vedant8600317/test master - "
    "846d8de0b7b3d694954249d2fd5d87fbe8c84e4c theofficialvedantjoshi - "
    "https://gitlab.com/vedant8600317/test/-/jobs/9905759933",
    "deployment_hook.g4j-deployment-event": "deployment success root/test-deployment-webhooks - - "
    "279484c09fbe69ededfced8c1bb6e6d24616b468 root - http://10.126.0.2:3000/root/test-deployment-webhooks/-/jobs/796",
    "deployment_hook.xanzy-deployment": "deployment success root/test-deployment-webhooks - 1.0.0 "
    "279484c09fbe69ededfced8c1bb6e6d24616b468 user1 - http://10.126.0.2:3000/root/test-deployment-webhooks/-/jobs/796",
    "job_hook.gp-build-event": "task queued gitlab-org/gitlab-test gitlab-script-trigger - "
    "2293ada6b400935a1378653304eaf6221e0fdb8f User - http://192.168.64.1:3005/gitlab-org/gitlab-test/-/jobs/1977",
    "job_hook.gp-job-event": "task queued gitlab-org/gitlab-test gitlab-script-trigger - "
    "2293ada6b400935a1378653304eaf6221e0fdb8f User - http://192.168.64.1:3005/gitlab-org/gitlab-test/-/jobs/1977",
    "job_hook.xanzy-build": "task queued gitlab-org/gitlab-test gitlab-script-trigger - "
    "2293ada6b400935a1378653304eaf6221e0fdb8f user1 - http://192.168.64.1:3005/gitlab-org/gitlab-test/-/jobs/1977",
    "job_hook.xanzy-job": "task success jsmithy2/release-tools-fake main - 95d49d1efbd941908580e79d65e4b5ecaf4a8305 "
    "jsmithy2 - https://gitlab.com/jsmithy2/release-tools-fake/-/jobs/3580121225",
    "merge_request_hook.atlantis-event-mark-as-ready": "change_request unknown sheather/test "
    "sheather-cloudfront-patch-92417 - 386f281f2c9b1a3b659fc7a244ca6781174e1836 sheather 3 "
    "https://gitlab.lan/sheather/test/-/merge_requests/3",
    "merge_request_hook.atlantis-event-update-new-commit": "ignored: merge_request update",
    "merge_request_hook.g4j-merge-request-event": "change_request unknown gitlabhq/gitlab-test ms-viewport - "
    "da1560886d4f094c3e6c9ef40349f7d38b5d27d7 root 1 http://example.com/diaspora/merge_requests/1",
    "merge_request_hook.gp-merge-request-event": "change_request unknown gitlabhq/gitlab-test ms-viewport - "
    "da1560886d4f094c3e6c9ef40349f7d38b5d27d7 root 1 http://example.com/diaspora/merge_requests/1",
    "merge_request_hook.scm-pull_request_merge": "change_request unknown gitlab-org/hello-world feature - "
    "c4c79227ed610f1151f05bbc5be33b4f340d39c8 sytses 1 https://gitlab.com/gitlab-org/hello-world/merge_requests/1",
    # its keys end in spaces: the branch is not told
    "merge_request_hook.xanzy-group_merge_request": "change_request unknown exm-namespace/example-project - - "
    "61b6a0d35dbaf915760233b637622e383d3cc9ec user1 1402 "
    "http://example.com/exm-namespace/example-project/merge_requests/1402",
    "merge_request_hook.xanzy-merge_request": "change_request unknown gitlabhq/gitlab-test ms-viewport - "
    "da1560886d4f094c3e6c9ef40349f7d38b5d27d7 user1 1 http://example.com/diaspora/merge_requests/1",
    "pipeline_hook.gp-pipeline-event": "pipeline success gitlab-org/gitlab-test test - "
    "bcbb5ec396a2c0f828686f14fac9b80b780504f2 root 1 http://192.168.64.1:3005/gitlab-org/gitlab-test/-/pipelines/31",
    "pipeline_hook.pending": "pipeline queued TomaszKolek/my-awesome-project master - "
    "6f88e719ccde3804b1b669cef9dfb236a92fbbff TomaszKolek - "
    "https://gitlab.com/TomaszKolek/my-awesome-project/-/pipelines/4414206",
    "pipeline_hook.running": "pipeline running TomaszKolek/my-awesome-project master - "
    "6f88e719ccde3804b1b669cef9dfb236a92fbbff TomaszKolek - "
    "https://gitlab.com/TomaszKolek/my-awesome-project/-/pipelines/4414206",
    "pipeline_hook.success": "pipeline success TomaszKolek/my-awesome-project master - "
    "6f88e719ccde3804b1b669cef9dfb236a92fbbff TomaszKolek - "
    "https://gitlab.com/TomaszKolek/my-awesome-project/-/pipelines/4414206",
    "pipeline_hook.scm-pipeline_hook": "pipeline success gitlab-org/gitlab-test shivamnegi94-main-patch-62619 - "
    "bcbb5ec396a2c0f828686f14fac9b80b780504f2 root 15 http://example.com/gitlab-org/gitlab-test/-/pipelines/31",
    "pipeline_hook.scm-pipeline_subgroup": "pipeline success group1/group2/group3/grp2repo "
    "shivamnegi94-main-patch-62619 - bcbb5ec396a2c0f828686f14fac9b80b780504f2 root 15 "
    "http://example.com/gitlab-org/gitlab-test/-/pipelines/31",
    "push_hook.gp-push-event": "push unknown mike/diaspora master - da1560886d4f094c3e6c9ef40349f7d38b5d27d7 "
    "John_Smith - http://example.com/mike/diaspora/-/compare/"
    "95790bf891e76fee5e1747ab589903a6a1f80f22...da1560886d4f094c3e6c9ef40349f7d38b5d27d7",
    "push_hook.scm-branch_delete": "push unknown gitlab-org/hello-world feature - "
    "c4c79227ed610f1151f05bbc5be33b4f340d39c8 sytses - https://gitlab.com/gitlab-org/hello-world",
    "push_hook.scm-push_subgroup": "push unknown group1/group2/group3/grp2repo master - "
    "2adc9465c4edfc33834e173fe89436a7cb899a1d sytses - "
    "https://gitlab.com/group1/group2/group3/grp2repo/commit/2adc9465c4edfc33834e173fe89436a7cb899a1d",
    "push_hook.xanzy-push": "push unknown mike/diaspora master - da1560886d4f094c3e6c9ef40349f7d38b5d27d7 jsmith - "
    "http://example.com/mike/diaspora/-/compare/"
    "95790bf891e76fee5e1747ab589903a6a1f80f22...da1560886d4f094c3e6c9ef40349f7d38b5d27d7",
    "release_hook.gp-release-event": "release unknown gitlab-org/release-webhook-example - v1.1 "
    "ee0a3fb31ac16e11b9dbb596ad16d4af654d08f8 Example_User - "
    "https://example.com/gitlab-org/release-webhook-example/-/releases/v1.1",
    "system_hook.gp-system-merge-request-event": "ignored: merge_request without an action",
    "system_hook.gp-system-push-event": "push unknown mike/diaspora master - da1560886d4f094c3e6c9ef40349f7d38b5d27d7 "
    "John_Smith - https://dev.gitlab.org/gitlab/gitlabhq/commit/c5feabde2d8cd023215af4d2ceeb7a64839fc428",
    "tag_push_hook.scm-tag_create": "push unknown gitlab-org/hello-world - v1.0.0 "
    "2adc9465c4edfc33834e173fe89436a7cb899a1d sytses - https://gitlab.com/gitlab-org/hello-world/-/tags/v1.0.0",
    "tag_push_hook.scm-tag_delete": "push unknown gitlab-org/hello-world - v1.0.0 "
    "2adc9465c4edfc33834e173fe89436a7cb899a1d sytses - https://gitlab.com/gitlab-org/hello-world",
    "tag_push_hook.xanzy-tag_push": "push unknown jsmith/example - v1.0.0 82b3d5ae55f7080f1e6022629cdb57bfae7cccc7 "
    "jsmith - http://example.com/jsmith/example/-/tags/v1.0.0",
}


@needs_shared
@pytest.mark.parametrize("file", HAND)
def test_a_real_body_gives_the_event_that_it_tells(file: str) -> None:
    out = gitlab.normalise(inbound((SHARED / f"fixtures/gitlab/{file}.json").read_bytes()))
    if isinstance(out, Ignored):
        assert "ignored: " + out.reason.partition(":")[0] == HAND[file]
        return
    told = [out.kind, out.status, out.repository, out.branch, out.tag, out.sha, out.author, out.pull_request, out.url]
    assert " ".join(str(value or "-").replace(" ", "_") for value in told) == HAND[file]
    assert out.run
    assert out.repository_url


@needs_shared
def test_every_real_body_is_in_the_table() -> None:
    assert real("gitlab") == {f"{file}.json" for file in HAND}


# -- the page ----------------------------------------------------------------------------------------------------------


def test_the_page_explains_every_word_and_every_kind() -> None:
    page = (Path(__file__).parents[2] / "docs/sources/gitlab.md").read_text(encoding="utf-8")
    assert not [word for word in (*gitlab.STATUS, *gitlab._READERS) if f"`{word}`" not in page]
    assert "{url}" in gitlab.SETUP
