"""Gogs' webhooks: what people do, told a little otherwise than Gitea tells it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.event import Event, Ignored
from bridge.sources import gogs
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

GOGS = Sender("gogs", gogs, "x-gogs-event")
BODY = GOGS.bodies["push.branch"].read_bytes()
NAMED = frozenset({"repository", "id", "ref", "number", "pull_request", "release", "full_name"})


@pytest.mark.parametrize("name", GOGS.bodies)
def test_each_body_becomes_its_golden_event(name: str) -> None:
    assert said(GOGS.read(name)) == GOGS.golden(name)


@pytest.mark.parametrize("name", GOGS.bodies)
def test_a_saved_body_can_be_sent_again_as_gogs_would(name: str) -> None:
    body = GOGS.bodies[name].read_bytes()
    for sent in (body, form(body)):
        request = GOGS.sent(sent)
        gogs.verify(request, ["s3cret"])
        assert request.headers["x-gogs-event"] == GOGS.event(name)
        assert gogs.identify(request).key == "d-1"
        assert gogs.normalise(request) == GOGS.read(name)


def test_only_what_a_secret_signed_is_taken() -> None:
    refuses_forgeries(GOGS, BODY, "x-gogs-signature")
    refuses_forgeries(GOGS, form(BODY), "x-gogs-signature")


def test_a_tag_is_told_by_create_and_a_branch_by_its_push() -> None:
    assert GOGS.event_of("create.tag").tag == "v1.4.0"
    assert isinstance(GOGS.read("create.branch"), Ignored)


@pytest.mark.parametrize(("kind", "branch", "tag"), [("branch", "twice", None), ("tag", None, "twice")])
def test_a_branch_or_tag_is_deleted_without_a_push(kind: str, branch: str | None, tag: str | None) -> None:
    event = GOGS.event_of("delete.branch", lambda body: body.update(ref_type=kind))
    assert (event.branch, event.tag, event.action) == (branch, tag, "deleted")


def test_the_title_is_the_newest_commits_though_there_is_no_head_commit() -> None:
    body = json.loads(BODY)
    assert GOGS.event_of("push.branch").title == "Count parcels twice"
    assert GOGS.event_of("push.branch", lambda body: body["commits"].reverse()).title == "Count parcels twice"
    assert "head_commit" not in body


def test_what_gogs_does_not_tell_is_ignored() -> None:
    for event in ("fork", "issues", "workflow_run", "status"):
        assert isinstance(gogs.normalise(GOGS.inbound(event, BODY)), Ignored)
    assert isinstance(gogs.normalise(GOGS.inbound(None, BODY, x_github_event="push")), Ignored)


@pytest.mark.parametrize("name", GOGS.bodies)
def test_an_odd_value_costs_at_most_its_field(name: str) -> None:
    takes_odd_values(GOGS, name, NAMED)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_nothing_but_ingest_errors_leaves_the_module(data: st.DataObject) -> None:
    takes_any_json(GOGS, data)


REAL: dict[str, dict[str, Any]] = {
    "push.argocd.json": {
        "repository": "john/repo-test",
        "branch": "master",
        "sha": "0a05129851238652bf806a400af89fa974ade739",
        "author": "john",
        "url": "http://gogs-server/john/repo-test/commit/0a05129851238652bf806a400af89fa974ade739",
    }
}


@needs_shared
@pytest.mark.parametrize("file", REAL)
def test_a_real_body_gives_the_event_that_it_tells(file: str) -> None:
    tells(GOGS, "gogs", file, "push", REAL[file])


@needs_shared
def test_every_real_body_is_in_the_table() -> None:
    assert real("gogs") == set(REAL)


def test_the_page_explains_every_event() -> None:
    page = (PAGES / "gogs.md").read_text(encoding="utf-8")
    assert not [word for word in gogs._READERS if f"`{word}`" not in page]
    assert "{url}" in gogs.SETUP
    assert isinstance(GOGS.read("push.first"), Event)
