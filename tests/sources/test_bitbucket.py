"""Bitbucket's webhooks, of Cloud and of Data Center: signed by whom, the same as which, and what they say.

A file's name has a ``+`` where the event has a colon.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.event import Change, Event, Ignored, Status
from bridge.route import Goal
from bridge.sources import bitbucket
from tests.events import Folding
from tests.sources.common import (
    PAGES,
    Sender,
    needs_shared,
    real,
    refuses_forgeries,
    said,
    takes_any_json,
    takes_odd_values,
    tells,
)
from tests.test_deciding import Decisions, owed, rule

BITBUCKET = Sender("bitbucket", bitbucket, "x-event-key")
RUNNING, FAILED = "repo+commit_status_created.running", "repo+commit_status_updated.failed"
BODY = BITBUCKET.bodies[FAILED].read_bytes()
NAMED: frozenset[str | int] = frozenset(
    {"repository", "full_name", "commit_status", "key", "commit", "hash", "href", "links"}
)
NAMED |= {0, "push", "changes", "new", "old", "name", "pullrequest", "id", "closed"}  # Cloud
NAMED |= {"project", "slug", "refId", "pullRequest", "toRef"}  # Data Center


@pytest.mark.parametrize("name", BITBUCKET.bodies)
def test_each_body_becomes_its_golden_event(name: str) -> None:
    assert said(BITBUCKET.read(name)) == BITBUCKET.golden(name)


@pytest.mark.parametrize(
    "name", [name for name in BITBUCKET.bodies if name not in (RUNNING, "pullrequest+updated.title")]
)
def test_a_saved_body_can_be_sent_again_as_bitbucket_would(name: str) -> None:
    request = BITBUCKET.sent(BITBUCKET.bodies[name].read_bytes())
    bitbucket.verify(request, ["s3cret"])
    assert request.headers["x-event-key"] == BITBUCKET.event(name)
    assert bitbucket.identify(request).key == "d-1"
    assert bitbucket.normalise(request) == BITBUCKET.read(name)


# -- builds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "ours", "description"),
    [
        ("INPROGRESS", Status.RUNNING, "lint"),
        ("SUCCESSFUL", Status.SUCCESS, "lint"),
        ("FAILED", Status.FAILURE, "lint"),
        ("STOPPED", Status.CANCELLED, "lint"),
        ("BRAND_NEW", Status.UNKNOWN, "BRAND_NEW"),
        ("successful", Status.UNKNOWN, "successful"),
        (None, Status.UNKNOWN, "lint"),
    ],
)
def test_a_state_becomes_our_word_whichever_event_tells_it(state: str | None, ours: Status, description: str) -> None:
    for name in (RUNNING, FAILED):
        event = BITBUCKET.event_of(name, lambda body: body["commit_status"].update(state=state, description="lint"))
        assert (event.status, event.description) == (ours, description)
        assert (event.finished_at is not None) is ours.finished
        assert event.duration is None


def test_a_build_is_one_run_from_its_beginning_to_its_end_and_lives_again_when_it_is_run_again() -> None:
    folding = Folding(BITBUCKET.event_of(RUNNING), BITBUCKET.event_of(FAILED))
    assert folding.state == ("failure", 1)
    folding.add(BITBUCKET.event_of(RUNNING), BITBUCKET.event_of(FAILED))  # tried again by Bitbucket
    assert folding.news == [True, True, False, False]

    def later(state: str, minute: int) -> Event:
        told = f"2026-03-02T10:{minute:02}:00+00:00"
        return BITBUCKET.event_of(FAILED, lambda body: body["commit_status"].update(state=state, updated_on=told))

    folding.add(later("INPROGRESS", 1))
    assert folding.state == ("running", 2)
    folding.add(later("SUCCESSFUL", 3))
    assert folding.state == ("success", 2)


def test_a_living_message_shows_a_build_from_its_beginning_and_a_broken_branch_is_told() -> None:
    decisions = Decisions(
        rule("every run", Goal(destination="builds", live=True)),
        rule("broken", Goal(destination="oncall"), change="broken"),
    )
    told = [owed(decisions.add(BITBUCKET.event_of(name))) for name in (RUNNING, FAILED)]
    assert told == [["builds run live"], ["builds run live", "oncall run"]]
    fixed = BITBUCKET.event_of(
        FAILED,
        lambda body: body["commit_status"].update(
            state="SUCCESSFUL",
            key="772",
            name="Pipeline #42 for main",
            updated_on="2026-03-02T11:00:00+00:00",
            commit={"hash": "c0ffee", "date": "2026-03-02T10:55:00+00:00"},
        ),
    )
    assert decisions.add(fixed).event.change is Change.FIXED


def test_the_builds_of_one_commit_are_one_run_with_a_line_each() -> None:
    def lint(body: Any) -> None:
        body["commit_status"] |= {"key": "lint", "name": "lint #7"}

    folding = Folding(BITBUCKET.event_of(RUNNING), BITBUCKET.event_of(RUNNING, lint), BITBUCKET.event_of(FAILED, lint))
    assert folding.tasks == {"771": "running", "lint": "failure"}
    assert folding.state == ("failure", 1)
    assert folding.run is not None
    assert [task.name for task in folding.run.tasks] == ["Pipeline", "lint"]
    assert folding.run.event.url == "https://bitbucket.org/acme/app/commits/4f1d2c3b5a69788796a5b4c3d2e1f00112233445"


@pytest.mark.parametrize(
    ("name", "url", "pipeline", "number"),
    [
        ("Pipeline #41 for main", None, "Pipeline", 41),
        ("Pipeline #41", None, "Pipeline", 41),
        ("Pipeline #41 for nightly", None, "Pipeline for nightly", 41),
        ("app » main #12", None, "app » main", 12),
        ("Unit Tests (Python)", None, "Unit Tests (Python)", None),
        ("Closes #3 and more", None, "Closes #3 and more", None),
        ("Build", "https://bitbucket.org/acme/app/pipelines/results/7", "Build", 7),
        (None, None, "771", None),
        ("#12", None, "#12", None),
    ],
)
def test_the_number_in_a_builds_name_is_the_runs(
    name: str | None, url: str | None, pipeline: str, number: int | None
) -> None:
    event = BITBUCKET.event_of(FAILED, lambda body: body["commit_status"].update(name=name, url=url))
    assert event.run is not None
    assert (event.pipeline, event.run.number) == (pipeline, number)


@pytest.mark.parametrize(
    ("author", "expected"),
    [
        ({"raw": "Mona Lisa <mona@example.com>"}, ("Mona Lisa", "Mona Lisa", "mona@example.com")),
        ({"raw": "mona"}, ("mona", "mona", None)),
        ({"raw": "<<>>"}, ("<<>>", "<<>>", None)),
        ({}, ("acme", None, None)),
        (None, ("acme", None, None)),
    ],
)
def test_without_an_account_the_commits_author_is_named_else_the_actor(author: Any, expected: Any) -> None:
    event = BITBUCKET.event_of(FAILED, lambda body: body["commit_status"]["commit"].update(author=author))
    assert (event.author, event.author_name, event.author_email) == expected


# -- pushes and pull requests ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [[], None])
def test_a_push_of_nothing_is_ignored(changes: Any) -> None:
    cloud = BITBUCKET.read("repo+push.tag", lambda body: body["push"].update(changes=changes))
    server = BITBUCKET.read("repo+refs_changed.tag_deleted", lambda body: body.update(changes=changes))
    assert isinstance(cloud, Ignored)
    assert isinstance(server, Ignored)


@pytest.mark.parametrize(
    ("flags", "action"),
    [
        ({}, "pushed"),
        ({"forced": True}, "forced"),
        ({"created": True, "old": None}, "created"),
        ({"closed": True, "new": None}, "deleted"),
    ],
)
def test_a_push_says_what_it_did_to_the_ref(flags: dict[str, Any], action: str) -> None:
    def change(body: Any) -> None:
        body["push"]["changes"][0] |= {"forced": False} | flags

    assert BITBUCKET.event_of("repo+push.forced_with_tag", change).action == action


def test_the_newest_commit_of_a_push_is_not_that_of_another_ref() -> None:
    event = BITBUCKET.event_of("repo+refs_changed.branch_and_tag", lambda body: body["toCommit"].update(id="c0ffee"))
    assert (event.title, event.author_name) == (None, "Mona Lisa")


def test_of_a_push_of_several_refs_the_first_is_told_and_the_others_are_named() -> None:
    for name in ("repo+push.forced_with_tag", "repo+refs_changed.branch_and_tag"):
        event = BITBUCKET.event_of(name)
        assert (event.branch, event.tag) == ("main", None)
        assert ("also", "v1.4.0") in event.facts


@pytest.mark.parametrize(
    ("event", "action"),
    [
        ("pullrequest:created", "opened"),
        ("pullrequest:fulfilled", "merged"),
        ("pullrequest:rejected", "declined"),
        ("pr:opened", "opened"),
        ("pr:reopened", "reopened"),
        ("pr:merged", "merged"),
        ("pr:declined", "declined"),
    ],
)
def test_the_turns_of_a_pull_request_are_told(event: str, action: str) -> None:
    name = "pr+declined.fork" if event.startswith("pr:") else "pullrequest+fulfilled.fork"
    found = bitbucket.normalise(BITBUCKET.inbound(event, BITBUCKET.bodies[name].read_bytes()))
    assert isinstance(found, Event)
    assert (found.action, found.pull_request, found.fork) == (action, 8, True)


def test_the_fork_of_a_pull_request_may_be_gone() -> None:
    event = BITBUCKET.event_of(
        "pullrequest+fulfilled.fork", lambda body: body["pullrequest"]["source"].update(repository=None)
    )
    assert event.fork is None


# -- who sent it -------------------------------------------------------------------------------------------------------


def test_only_what_a_secret_signed_is_taken() -> None:
    refuses_forgeries(BITBUCKET, BODY, "x-hub-signature", prefix="sha256=")


def test_the_request_ids_of_cloud_and_data_center_identify_a_delivery() -> None:
    both = BITBUCKET.inbound("repo:push", b"{}", x_request_uuid="cloud", x_request_id="a-proxys")
    assert bitbucket.identify(both).key == "cloud"
    assert bitbucket.identify(BITBUCKET.inbound("pr:merged", b"{}", x_request_id="server")).key == "server"
    without = bitbucket.identify(BITBUCKET.inbound("repo:push", b"{}", x_request_uuid="a b"))
    assert without.key.startswith("sha256:")


def test_a_request_without_an_event_or_with_an_unknown_one_is_ignored_with_a_reason() -> None:
    for event, reason in (
        (None, "X-Event-Key"),
        ("issue:created", "issue:created"),
        ("pr:comment:added", "pr:comment"),
    ):
        found = bitbucket.normalise(BITBUCKET.inbound(event, BODY))
        assert isinstance(found, Ignored)
        assert reason in found.reason


# -- odd and real bodies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BITBUCKET.bodies)
def test_an_odd_value_costs_at_most_its_field(name: str) -> None:
    takes_odd_values(BITBUCKET, name, NAMED)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_nothing_but_ingest_errors_leaves_the_module(data: st.DataObject) -> None:
    takes_any_json(BITBUCKET, data)


TESTREPO = {
    "repository": "automationtestharness/testrepo",
    "branch": "main",
    "sha": "bdf6fac0519ffd1562461eb82e018ff62efffbc9",
    "author": "Shivam Negi",
    "url": "https://bitbucket.org/automationtestharness/testrepo/addon/pipelines/home#!/results/4",
}
FOO = {"repository": "brydzewski/foo", "sha": "141977fedf5cf35aa290ac87d4b5177ac4cd9de1", "author": "brydzewski"}
SAMPLE = {"repository": "team_name/repo_name", "author": "emmap1"}
SAMPLE_PULL = SAMPLE | {
    "branch": "branch2",
    "sha": "d3022fc0ca3d",
    "pull_request": 1,
    "url": "https://api.bitbucket.org/pullrequest_id",
}
CLOUD: dict[str, dict[str, Any]] = {
    "pullrequest_created.gp-pull-request-created.json": SAMPLE_PULL,
    "pullrequest_fulfilled.gp-pull-request-merged.json": SAMPLE_PULL,
    "repo_commit_status_created.scm-pipeline_hook_created.json": TESTREPO | {"status": "running"},
    "repo_commit_status_updated.scm-pipeline_hook_update.json": TESTREPO | {"status": "success"},
    "repo_commit_status_updated.gp-repo-commit-status-updated.json": SAMPLE
    | {
        "status": "success",
        "sha": "9fec847784abb10b2fa567ee63b85bd238955d0e",
        "url": "https://my-build-tool.com/builds/MY-PROJECT/BUILD-792",
    },
    "repo_push.gp-repo-push.json": SAMPLE
    | {
        "branch": "name-of-branch",
        "sha": "709d658dc5b6d6afcd46049c2f332ee3f515a67d",
        "url": "https://bitbucket.org/user_name/repo_name/branches/compare/"
        "c4b2b7914156a878aa7c9da452a09fb50c2091f2..b99ea6dad8f416e57c5ca78c1ccef590600d841b",
    },
    "repo_push.scm-push.json": FOO
    | {
        "branch": "master",
        "url": "https://bitbucket.org/brydzewski/foo/branches/compare/"
        "141977fedf5cf35aa290ac87d4b5177ac4cd9de1..40e7580cf11311d84a6e5e97e2cbba6df1675750",
    },
    "repo_push.scm-push_branch_delete.json": FOO | {"branch": "develop", "url": "https://bitbucket.org/brydzewski/foo"},
    "repo_push.scm-push_tag_create.json": FOO
    | {"tag": "feature/x", "url": "https://bitbucket.org/brydzewski/foo/commits/tag/feature/x"},
}
GOPHER = {
    "repository": "~gopher/webhook-test",
    "branch": "feature/wip",
    "sha": "32a0b8a740c2963c6f56bd8baf3dc05683d299e0",
    "author": "gopher",
}
PLACE = "https://server.bitbucket.local/users/gopher/repos/webhook-test"
SERVER: dict[str, dict[str, Any]] = {
    "pr_merged.gp.json": GOPHER | {"pull_request": 5, "url": f"{PLACE}/pull-requests/5"},
    "repo_refs_changed.gp.json": GOPHER | {"url": f"{PLACE}/browse"},
}


@needs_shared
@pytest.mark.parametrize(
    ("folder", "file", "expected"),
    [("bitbucket", *entry) for entry in CLOUD.items()] + [("bitbucket-server", *entry) for entry in SERVER.items()],
)
def test_a_real_body_gives_the_event_that_it_tells(folder: str, file: str, expected: dict[str, Any]) -> None:
    tells(BITBUCKET, folder, file, file.split(".")[0].replace("_", ":", 1), expected)


@needs_shared
def test_every_real_body_is_in_the_table() -> None:
    assert real("bitbucket") == set(CLOUD)
    assert real("bitbucket-server") == set(SERVER)


def test_the_page_explains_every_word_and_every_event() -> None:
    page = (PAGES / "bitbucket.md").read_text(encoding="utf-8")
    assert not [word for word in (*bitbucket.STATUS, *bitbucket._READERS) if f"`{word}`" not in page]
    assert "{url}" in bitbucket.SETUP
