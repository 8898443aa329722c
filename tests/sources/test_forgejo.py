"""Forgejo's webhooks: its own headers before Gitea's, and runs that tell how the one before ended."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import Unauthorized
from bridge.event import Change, Event, Status
from bridge.sources import forgejo
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
from tests.test_deciding import Decisions

FORGEJO = Sender("forgejo", forgejo, "x-forgejo-event")
BODY = FORGEJO.bodies["action_run_failure.main"].read_bytes()
NAMED = frozenset({"repository", "run", "id", "ref", "sha", "context", "number", "pull_request", "full_name"})


@pytest.mark.parametrize("name", FORGEJO.bodies)
def test_each_body_becomes_its_golden_event(name: str) -> None:
    assert said(FORGEJO.read(name)) == FORGEJO.golden(name)


@pytest.mark.parametrize("name", FORGEJO.bodies)
def test_a_saved_body_can_be_sent_again_as_forgejo_would(name: str) -> None:
    body = FORGEJO.bodies[name].read_bytes()
    for sent in (body, form(body)):
        request = FORGEJO.sent(sent)
        forgejo.verify(request, ["s3cret"])
        assert request.headers["x-forgejo-event"] == request.headers["x-gitea-event"] == FORGEJO.event(name)
        assert forgejo.identify(request).key == "d-1"
        assert forgejo.normalise(request) == FORGEJO.read(name)


# -- runs --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "ours", "description"),
    [
        ("success", Status.SUCCESS, None),
        ("failure", Status.FAILURE, None),
        ("cancelled", Status.CANCELLED, None),
        ("skipped", Status.SKIPPED, None),
        ("waiting", Status.QUEUED, None),
        ("running", Status.RUNNING, None),
        ("blocked", Status.WAITING, None),
        ("unknown", Status.UNKNOWN, "unknown"),
        ("brand_new", Status.UNKNOWN, "brand_new"),
        (None, Status.UNKNOWN, None),
    ],
)
@pytest.mark.parametrize("action", ["success", "failure", "recover"])
def test_the_state_is_the_runs_own_and_not_the_actions(
    said: str | None, ours: Status, description: str | None, action: str
) -> None:
    def change(body: Any) -> None:
        body["run"]["status"], body["action"] = said, action

    event = FORGEJO.event_of("action_run_failure.main", change)
    assert (event.status, event.description) == (ours, description)
    assert (event.finished_at is not None) is ours.finished


def test_a_recovery_that_is_told_as_a_success_too_speaks_once() -> None:
    folding = Folding(FORGEJO.event_of("action_run_recover.main"), FORGEJO.event_of("action_run_success.main"))
    assert folding.news == [True, False]
    assert folding.state == ("success", 1)


def test_a_failure_breaks_its_branch_and_the_next_success_fixes_it() -> None:
    decisions = Decisions()
    changes = [
        decisions.add(FORGEJO.event_of(name)).event.change
        for name in ("action_run_failure.main", "action_run_recover.main")
    ]
    assert changes == [Change.BROKEN, Change.FIXED]


@pytest.mark.parametrize(
    ("name", "event", "branch", "tag", "pull"),
    [
        ("main", "push", "main", None, None),
        ("#8", "pull_request", None, None, 8),
        ("v1.4.0", "push", None, "v1.4.0", None),
        ("nightly", "release", None, "nightly", None),
        ("refs/heads/main", "push", "main", None, None),
        ("refs/tags/nightly", "push", None, "nightly", None),
        ("refs/pull/8/head", "pull_request", None, None, 8),
        ("#", "pull_request", None, None, None),
        (None, None, None, None, None),
    ],
)
def test_a_pretty_ref_is_a_branch_a_tag_or_a_pull_request(
    name: str | None, event: str | None, branch: str | None, tag: str | None, pull: int | None
) -> None:
    def change(body: Any) -> None:
        body["run"] |= {"prettyref": name, "event": event}

    found = FORGEJO.event_of("action_run_failure.main", change)
    assert (found.branch, found.tag, found.pull_request) == (branch, tag, pull)


def test_the_run_before_is_told_where_forgejo_tells_it() -> None:
    assert FORGEJO.event_of("action_run_recover.main").facts == (("run before", "#41 failure"),)
    assert FORGEJO.event_of("action_run_recover.main", lambda body: body.pop("last_run")).facts == ()


# -- who sent it -------------------------------------------------------------------------------------------------------


def test_only_what_a_secret_signed_is_taken() -> None:
    refuses_forgeries(FORGEJO, BODY, "x-forgejo-signature")
    refuses_forgeries(FORGEJO, form(BODY), "x-forgejo-signature")


def test_an_old_version_that_sends_giteas_headers_only_is_taken() -> None:
    sent = FORGEJO.sent(BODY)
    headers = {name: value for name, value in sent.headers.items() if "forgejo" not in name}
    request = FORGEJO.inbound(None, BODY, **headers)
    forgejo.verify(request, ["s3cret"])
    assert forgejo.identify(request).key == "d-1"
    assert isinstance(forgejo.normalise(request), Event)


def test_a_wrong_signature_of_its_own_is_not_saved_by_giteas() -> None:
    good = FORGEJO.sent(BODY).headers["x-gitea-signature"]
    request = FORGEJO.inbound("push", BODY, x_forgejo_signature="0" * 64, x_gitea_signature=good)
    with pytest.raises(Unauthorized):
        forgejo.verify(request, ["s3cret"])


# -- odd and real bodies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORGEJO.bodies)
def test_an_odd_value_costs_at_most_its_field(name: str) -> None:
    takes_odd_values(FORGEJO, name, NAMED)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_nothing_but_ingest_errors_leaves_the_module(data: st.DataObject) -> None:
    takes_any_json(FORGEJO, data)


REAL: dict[str, dict[str, Any] | str] = {
    "pull_request.wp-HookPullRequestUpdated.json": "synchronized",
    "push.wp-HookPushBranch.json": {
        "repository": "meisam/woodpecktester",
        "branch": "fdsafdsa",
        "sha": "28c3613ae62640216bea5e7dc71aa65356e4298b",
        "author": "6543",
        "url": "https://codeberg.org/meisam/woodpecktester/compare/main...28c3613ae62640216bea5e7dc71aa65356e4298b",
    },
    "push.wp-HookPushMulti.json": {
        "repository": "Test-CI/multi-line-secrets",
        "branch": "main",
        "sha": "29be01c073851cf0db0c6a466e396b725a670453",
        "author": "test-user",
        "url": "http://127.0.0.1:3000/Test-CI/multi-line-secrets/compare/"
        "6efcf5b7c98f3e7a491675164b7a2e7acac27941...29be01c073851cf0db0c6a466e396b725a670453",
    },
}


@needs_shared
@pytest.mark.parametrize("file", REAL)
def test_a_real_body_gives_the_event_that_it_tells(file: str) -> None:
    tells(FORGEJO, "forgejo", file, file.split(".")[0], REAL[file])


@needs_shared
def test_every_real_body_is_in_the_table() -> None:
    assert real("forgejo") == set(REAL)


def test_the_page_explains_every_event_of_its_own() -> None:
    page = (PAGES / "forgejo.md").read_text(encoding="utf-8")
    assert not [word for word in (*forgejo.STATUS, *forgejo._READERS) if f"`{word}`" not in page]
    assert "{url}" in forgejo.SETUP
