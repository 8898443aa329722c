"""Buildkite's webhooks: builds, jobs, blocks. `buildkite/NAME.json` is a body, `NAME.event.json` what it becomes."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import Unauthorized, Unreadable
from bridge.event import Change, Event, Ignored, Inbound, Kind, Status
from bridge.sources import buildkite
from bridge.verify import hmac_hex, shows_token
from tests.events import Folding
from tests.sources import common
from tests.sources.common import NOW, PAGES, Sender, needs_shared
from tests.test_deciding import LIVE, Decisions, owed, rule


def _sign(body: bytes, secret: str, *, delivery: str) -> dict[str, str]:
    return buildkite.signed_at(body, secret, NOW)


BUILDKITE = Sender("buildkite", SimpleNamespace(**vars(buildkite) | {"sign": _sign}), "x-buildkite-event")
HEADER = "x-buildkite-signature"


def sent_at(name: str, minute: float, **build: Any) -> Event:
    """Return the event of a body that is signed as sent off at a minute after eight."""
    body = json.loads(BUILDKITE.bodies[name].read_bytes())
    body["build"] |= build
    raw = json.dumps(body).encode()
    headers = buildkite.signed_at(raw, "s3cret", NOW.replace(hour=8) + timedelta(minutes=minute))
    found = buildkite.normalise(Inbound("buildkite", {k.lower(): v for k, v in headers.items()}, raw, NOW))
    assert isinstance(found, Event)
    return found


@pytest.mark.parametrize("name", BUILDKITE.bodies)
def test_each_body_becomes_its_golden_event(name: str) -> None:
    assert common.said(BUILDKITE.read(name)) == BUILDKITE.golden(name)


@pytest.mark.parametrize("name", BUILDKITE.bodies)
def test_a_saved_body_can_be_sent_again_as_buildkite_would(name: str) -> None:
    body = BUILDKITE.bodies[name].read_bytes()
    request = BUILDKITE.sent(body)
    buildkite.verify(request, ["s3cret"])
    name_of = json.loads(body)
    assert request.headers["x-buildkite-event"] == name_of.get("event", name_of.get("detail-type"))
    assert type(buildkite.normalise(request)) is type(BUILDKITE.read(name))


def test_sign_takes_the_time_from_the_clock() -> None:
    assert buildkite.sign(b"{}", "s3cret", delivery="1")["X-Buildkite-Signature"].startswith("timestamp=")


# -- statuses

BUILD = {
    "creating": Status.QUEUED,
    "scheduled": Status.QUEUED,
    "running": Status.RUNNING,
    "started": Status.RUNNING,
    "failing": Status.RUNNING,
    "canceling": Status.RUNNING,
    "passed": Status.SUCCESS,
    "failed": Status.FAILURE,
    "blocked": Status.WAITING,
    "canceled": Status.CANCELLED,
    "skipped": Status.SKIPPED,
    "not_run": Status.SKIPPED,
}
JOB = {
    **dict.fromkeys("pending waiting limited scheduled reserved assigned accepted".split(), Status.QUEUED),
    "running": Status.RUNNING,
    "canceling": Status.RUNNING,
    "timing_out": Status.RUNNING,
    "passed": Status.SUCCESS,
    "unblocked": Status.SUCCESS,
    "failed": Status.FAILURE,
    "timed_out": Status.TIMEOUT,
    "broken": Status.ERROR,
    "expired": Status.ERROR,
    "canceled": Status.CANCELLED,
    "skipped": Status.SKIPPED,
    "waiting_failed": Status.SKIPPED,
    "blocked": Status.WAITING,
}
NEW = ["hibernating", "PASSED", "", None, 7, ["passed"]]


@pytest.mark.parametrize(("word", "status"), [*BUILD.items(), *((word, Status.UNKNOWN) for word in NEW)])
def test_every_state_of_a_build_has_its_status(word: Any, status: Status) -> None:
    event = BUILDKITE.event_of("build.5_failed", lambda body: body["build"].update(state=word))
    assert event.status is status
    assert (event.finished_at is not None) is status.finished
    if status is Status.UNKNOWN and isinstance(word, str) and word:
        assert event.description == word


@pytest.mark.parametrize(("word", "status"), [*JOB.items(), *((word, Status.UNKNOWN) for word in NEW)])
def test_every_state_of_a_job_has_its_status(word: Any, status: Status) -> None:
    event = BUILDKITE.event_of("job.1_started", lambda body: body["job"].update(state=word))
    assert event.task
    assert (event.kind, event.status, event.task.status) == (Kind.TASK, status, status)


def test_the_table_is_that_of_builds_and_jobs_and_stands_on_the_page() -> None:
    assert set(buildkite.STATUS) == {*BUILD, *JOB}
    page = (PAGES / "buildkite.md").read_text()
    assert all(f"`{word}`" in page for word in buildkite.STATUS)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"exit_status": 0}, Status.SUCCESS),
        ({"exit_status": "0"}, Status.SUCCESS),
        ({"exit_status": 0, "passed": True}, Status.SUCCESS),
        ({"exit_status": 2, "passed": False}, Status.FAILURE),
        ({"exit_status": -1}, Status.FAILURE),
        ({"passed": False}, Status.FAILURE),
        ({"passed": False, "unblocked_by": {"name": "Mona"}}, Status.SUCCESS),
        ({}, Status.UNKNOWN),
        ({"exit_status": [0], "passed": "yes"}, Status.UNKNOWN),
    ],
)
def test_how_a_finished_job_ended_is_told_beside_its_state(said: dict[str, Any], status: Status) -> None:
    def change(body: Any) -> None:
        body["job"] = {"id": "1", "state": "finished"} | said

    assert BUILDKITE.event_of("job.2_failed", change).status is status


@pytest.mark.parametrize(
    ("said", "note"),
    [
        ({"exit_status": 2}, "exit status 2"),
        ({"exit_status": "127"}, "exit status 127"),
        ({"exit_status": -1}, "exit status -1"),
        ({"exit_status": None}, None),
        ({"exit_status": ["2"]}, None),
        ({"exit_status": True}, None),
        ({"exit_status": 2, "signal_reason": "agent_stop"}, "agent_stop"),
        ({"exit_status": 2, "soft_failed": True}, "soft failed: the build goes on"),
    ],
)
def test_a_failed_job_says_its_exit_status_unless_more_is_known(said: dict[str, Any], note: str | None) -> None:
    def change(body: Any) -> None:
        body["job"] = {"id": "1", "state": "failed"} | said

    task = BUILDKITE.event_of("job.2_failed", change).task
    assert task is not None
    assert task.note == note


def test_a_build_that_has_passed_so_far_and_is_blocked_waits_and_one_that_failed_failed() -> None:
    def blocked(state: str) -> Status:
        return BUILDKITE.event_of("build.3_blocked", lambda body: body["build"].update(state=state)).status

    assert (blocked("passed"), blocked("failed"), blocked("running")) == (
        Status.WAITING,
        Status.FAILURE,
        Status.RUNNING,
    )


@pytest.mark.parametrize("name", ["build.scheduled", "build.finished", "job.finished", None, 7])
def test_the_state_never_comes_from_the_events_name(name: Any) -> None:
    event = BUILDKITE.event_of("build.2_running", lambda body: body.update(event=name))
    assert (event.kind, event.status) == (Kind.PIPELINE, Status.RUNNING)


# -- runs

STORY = ["build.1_scheduled", "build.2_running", "job.1_started", "build.3_blocked", "job.activated"]


def test_a_signed_story_is_one_living_message_through_a_block_to_its_end() -> None:
    minutes = [0.1, 0.2, 0.3, 2.1, 5]
    events = [sent_at(name, minute) for name, minute in zip(STORY, minutes, strict=True)]
    events += [sent_at("build.2_running", 5.1), sent_at("build.4_failing", 10), sent_at("job.2_failed", 10.1)]
    events += [sent_at("build.5_failed", 11.1)]
    deciding = Decisions(rule("every run", LIVE))
    decisions = [deciding.add(event) for event in events]
    assert all(owed(decision) in (["builds run live"], []) for decision in decisions)
    states = [decision.run.status.value for decision in decisions if decision.run]
    assert states == ["queued", "running", "running", "waiting", "waiting", "running", "running", "running", "failure"]
    assert decisions[-1].event.change is Change.BROKEN
    assert [run.attempt for run in deciding.runs.values()] == [1]


def test_without_a_signed_time_a_block_holds_until_the_end() -> None:
    """Nothing else in the body tells the second start from the first, late."""
    story = Folding(*(BUILDKITE.event_of(name) for name in [*STORY[:4], "build.2_running"]))
    assert story.state == ("waiting", 1)
    story.add(BUILDKITE.event_of("build.5_failed"))
    assert story.state == ("failure", 1)


def test_late_and_in_disorder_it_never_goes_back() -> None:
    events = [BUILDKITE.event_of(name) for name in ["build.5_failed", "build.2_running", "build.1_scheduled"]]
    assert Folding(*events).state == ("failure", 1)
    assert Folding(*events).news == [True, False, False]


def test_an_end_is_believed_though_what_went_before_it_was_sent_off_later_than_it_came() -> None:
    story = Folding(sent_at("build.2_running", 900), sent_at("build.4_failing", 900.1))
    assert story.state == ("running", 1)
    story.add(sent_at("build.5_failed", 900.2))
    assert story.state == ("failure", 1)


def test_a_retried_job_that_passes_makes_a_second_attempt() -> None:
    story = Folding(sent_at("build.5_failed", 11.1), sent_at("build.2_running", 12))
    assert story.state == ("running", 2)
    story.add(sent_at("build.5_failed", 14, state="passed", finished_at="2026-03-02 08:13:59 UTC"))
    assert story.state == ("success", 2)


def test_a_retried_job_takes_the_place_of_the_one_before() -> None:
    def again(body: Any) -> None:
        body["job"] |= {"id": "j2", "created_at": "2026-03-02 08:10:30 UTC", "started_at": "2026-03-02 08:10:31 UTC"}
        body["job"] |= {"parallel_group_index": 1, "parallel_group_total": 3}

    story = Folding(BUILDKITE.event_of("job.2_failed"), BUILDKITE.event_of("job.1_started", again))
    assert story.tasks == {"j2": "running"}


# -- fields


def test_a_wait_step_is_ignored_and_so_is_what_is_no_build() -> None:
    found = BUILDKITE.read("job.2_failed", lambda body: body["job"].update(type="waiter"))
    assert found == Ignored("job.finished: a wait step has nothing to say")
    assert BUILDKITE.read("build.1_scheduled", lambda body: body.pop("build")) == Ignored(
        "build.scheduled: bridge tells of builds and jobs only"
    )


def test_a_build_of_the_rest_api_brings_its_jobs_without_those_that_were_retried() -> None:
    body = json.loads(BUILDKITE.bodies["build.5_failed"].read_bytes())
    jobs = [
        {"id": "j1", "name": "Lint", "state": "failed", "retried_in_job_id": "j2"},
        {"id": "j2", "name": "Lint", "state": "passed", "retried_in_job_id": None},
        {"id": "j3", "type": "waiter", "state": "finished"},
        {"name": "no id"},
        7,
    ]
    rest = body["build"] | {"pipeline": body["pipeline"], "jobs": jobs}
    event = buildkite.normalise(BUILDKITE.inbound(None, json.dumps(rest).encode()))
    assert isinstance(event, Event)
    assert [(task.id, task.status) for task in event.tasks] == [("j2", Status.SUCCESS)]
    assert event.with_(tasks=(), action="build.finished") == BUILDKITE.event_of("build.5_failed")


@pytest.mark.parametrize(("name", "path"), [("build.2_running", "build"), ("job.2_failed", "job")])
def test_without_an_id_a_body_is_unreadable(name: str, path: str) -> None:
    with pytest.raises(Unreadable, match=rf"{path}\.id"):
        BUILDKITE.read(name, lambda body: body[path].pop("id"))


# -- who sent it


def test_forged_signatures_are_refused_and_rotated_secrets_hold() -> None:
    common.refuses_forgeries(BUILDKITE, BUILDKITE.bodies["ping"].read_bytes(), HEADER)


@pytest.mark.parametrize("seconds", [0, 299, -299, 300, -300])
def test_a_signed_time_within_five_minutes_is_taken(seconds: int) -> None:
    buildkite.verify(_signed_off(seconds), ["s3cret"])


@pytest.mark.parametrize("seconds", [301, -301, 86_400, -86_400])
def test_a_signed_time_further_off_is_refused(seconds: int) -> None:
    with pytest.raises(Unauthorized):
        buildkite.verify(_signed_off(seconds), ["s3cret"])


def _signed_off(seconds: int) -> Inbound:
    headers = buildkite.signed_at(b"{}", "s3cret", NOW + timedelta(seconds=seconds))
    return Inbound("ci", {name.lower(): value for name, value in headers.items()}, b"{}", NOW)


@pytest.mark.parametrize("stamp", ["", "-1", "1.5", "soon", "9" * 12, "9" * 11, "٣", "0"])
def test_an_odd_time_is_refused_even_when_it_is_signed(stamp: str) -> None:
    code = hmac_hex(f"{stamp}.".encode() + b"{}", "s3cret")
    line = f"timestamp={stamp},signature={code}"
    with pytest.raises(Unauthorized):
        buildkite.verify(Inbound("ci", {HEADER: line}, b"{}", NOW), ["s3cret"])


def test_another_time_than_the_signed_one_is_refused() -> None:
    good = _signed_off(0).headers[HEADER]
    stamp = str(int(NOW.timestamp()))
    line = good.replace(stamp, str(int(stamp) + 1))
    with pytest.raises(Unauthorized):
        buildkite.verify(Inbound("ci", {HEADER: line}, b"{}", NOW), ["s3cret"])


def test_a_token_is_shown_in_its_header_and_never_taken_for_a_signature() -> None:
    headers = {"x-buildkite-token": "t0ken"}
    assert shows_token(headers, None, ["t0ken"], buildkite.TOKEN_HEADERS)
    assert not shows_token(headers, None, ["other"], buildkite.TOKEN_HEADERS)
    with pytest.raises(Unauthorized):
        buildkite.verify(Inbound("ci", headers, b"{}", NOW), ["t0ken"])


def test_equal_bytes_of_a_build_may_be_news_and_those_of_a_job_are_not() -> None:
    build = BUILDKITE.sent(BUILDKITE.bodies["build.2_running"].read_bytes())
    job = BUILDKITE.sent(BUILDKITE.bodies["job.1_started"].read_bytes())
    assert (buildkite.identify(build).repeatable, buildkite.identify(build).sent_at) == (True, NOW)
    assert (buildkite.identify(job).repeatable, buildkite.identify(job).sent_at) == (False, None)
    assert buildkite.identify(build).key != buildkite.identify(job).key
    assert not buildkite.identify(BUILDKITE.inbound(None, b"no json")).repeatable


def test_a_second_start_with_the_bytes_of_the_first_is_news_and_a_replay_is_not() -> None:
    story = Folding(sent_at("build.2_running", 0.2), sent_at("build.3_blocked", 2.1))
    again = partial(story.add, repeat=True)
    again(sent_at("build.2_running", 0.2), sent=0.2)
    assert story.state == ("waiting", 1)
    again(sent_at("build.2_running", 5), sent=5)
    assert story.state == ("running", 1)


# -- odd input


@pytest.mark.parametrize("name", ["build.5_failed", "build.pull_request", "job.2_failed", "eventbridge.blocked"])
def test_a_wrong_value_costs_its_field_only(name: str) -> None:
    common.takes_odd_values(BUILDKITE, name, frozenset({"build", "job", "id", "uuid", "detail"}))


@settings(max_examples=150, deadline=None, database=None, derandomize=True)
@given(data=st.data())
def test_nothing_but_ingest_errors_leaves_the_module(data: st.DataObject) -> None:
    common.takes_any_json(BUILDKITE, data)


# -- real bodies

_MERGE = {"repository": "project", "branch": "main", "sha": "5a741616cdf07dc87c5adafe784321eeeb639e33"}
_MERGE |= {"url": "https://buildkite.com/my-org/my-pipeline/builds/123456"}
REAL: dict[str, Any] = {
    "eventbridge.build_blocked.docs.json": {
        "repository": "nithyaasworld/add-contact-chip",
        "branch": "main",
        "sha": "...",
        "status": "waiting",
        "url": "https://buildkite.com/nithya-bk/webhook-test/builds/23",
    },
    "eventbridge.build_created.docs.json": _MERGE | {"status": "queued"},
    "eventbridge.build_started.docs.json": _MERGE | {"status": "running"},
    "eventbridge.build_finished.docs.json": _MERGE | {"status": "success"},
    "eventbridge.build_failing.docs.json": {
        "repository": "...",
        "branch": "...",
        "sha": "...",
        "status": "running",
        "url": "https://buildkite.com/.../.../builds/1299",
    },
    "eventbridge.job_activated.docs.json": _MERGE
    | {"status": "success", "url": f"{_MERGE['url']}#9e6c3f19-4fdb-4e8e-b925-28cd7504e17f"},
    "eventbridge.job_promised_exit_status.docs.json": _MERGE
    | {"status": "running", "url": f"{_MERGE['url']}#01234567-89ab-cdef-0123-456789abcdef"},
    "rest_build_object.passed.1.docs.json": {
        "repository": "my-great-org/my-pipeline",
        "branch": "main",
        "sha": "abcd0b72a1e580e90712cdd9eb26d3fb41cd09c8",
        "status": "success",
        "author": "Keith Pitt",
        "url": "https://buildkite.com/my-great-org/my-pipeline/builds/2",
    },
    "ping.docs.json": "ping",
}


@needs_shared
@pytest.mark.parametrize("file", REAL)
def test_a_real_body_says_what_stands_in_it(file: str) -> None:
    common.tells(BUILDKITE, "buildkite", file, "build.finished", REAL[file])


@needs_shared
def test_every_real_body_is_in_the_table() -> None:
    assert common.real("buildkite") == set(REAL)
