"""Cirrus CI's webhooks: golden events of the requests in ``cirrus/``, and what no request may do."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.codec import dump
from bridge.errors import IngestError, Unauthorized, Unreadable
from bridge.event import Event, Ignored, Inbound, Kind, RunRef, Status
from bridge.sources import cirrus

HERE = Path(__file__).parent / "cirrus"
SHARED = Path(__file__).parents[2] / "../shared/fixtures/cirrus"
REQUESTS = sorted(HERE.glob("*.http"))
NOW = datetime(2026, 1, 1, 9, 0, tzinfo=UTC)
SECRET = "the-new-one"
BUILD = {"action": "updated", "repository": {"owner": "acme", "name": "app"}, "task": {}}
BUILD["build"] = {"id": 7, "status": "EXECUTING", "branch": "main", "user": {"username": "octocat"}}
TASK = BUILD | {"task": {"id": 8, "name": "lint", "status": "EXECUTING", "statusTimestamp": 1767258700500}}

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared")


def inbound(body: Any, **headers: str) -> Inbound:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {f"x-cirrus-{name}": value for name, value in headers.items()}
    return Inbound(source="ci", headers=named, body=raw, received_at=NOW)


def signed(body: bytes, secret: str = SECRET) -> Inbound:
    headers = cirrus.sign(body, secret, delivery="1")
    return Inbound(source="ci", headers={k.lower(): v for k, v in headers.items()}, body=body, received_at=NOW)


def event_of(body: Any, **headers: str) -> Event:
    event = cirrus.normalise(inbound(body, **headers))
    assert isinstance(event, Event)
    return event


def read(path: Path) -> Inbound:
    head, body = path.read_text().split("\n\n", 1)
    headers = dict(line.lower().split(": ", 1) for line in head.splitlines())
    return Inbound(source="ci", headers=headers, body=body.encode(), received_at=NOW)


def build(**fields: Any) -> dict[str, Any]:
    return BUILD | {"build": BUILD["build"] | fields}


def task(**fields: Any) -> dict[str, Any]:
    return TASK | {"task": TASK["task"] | fields}


def told(value: Any) -> Any:
    """Without what was not said: golden files hold only what matters."""
    if isinstance(value, dict):
        return {key: told(each) for key, each in value.items() if each is not None and each is not False and each != []}
    return [told(each) for each in value] if isinstance(value, list) else value


# -- what arrives


@pytest.mark.parametrize("path", REQUESTS, ids=lambda path: path.stem)
def test_each_request_gives_its_golden_event(path: Path) -> None:
    event = cirrus.normalise(read(path))
    golden = json.loads(path.with_suffix(".json").read_text())
    assert told({**json.loads(dump(event)), "failures": None}) == golden


@needs_shared
def test_the_build_really_sent_is_a_rerun_on_main() -> None:
    event = event_of((SHARED / "build.json").read_bytes(), event="build")
    assert event == Event(
        source="ci",
        type="cirrus",
        kind=Kind.PIPELINE,
        status=Status.RUNNING,
        repository="edigaryev/awesome-system-calls",
        branch="main",
        private=False,
        sha="1a7a425b71fd28274b739c9d410ca966aedbcd63",
        title="Periodic update (#7)",
        author="edigaryev",
        pusher="edigaryev",
        pipeline="Cirrus CI",
        run=RunRef(id="5082236150611968", url="https://cirrus-ci.com/build/5082236150611968"),
        url="https://cirrus-ci.com/build/5082236150611968",
        action="updated",
        committed_at=datetime(2024, 7, 31, 6, 18, 10, tzinfo=UTC),
        duration=18.0,
        restarted=True,
    )


@needs_shared
def test_the_task_really_sent_speaks_for_itself_and_names_its_build() -> None:
    event = event_of((SHARED / "task.json").read_bytes(), event="task")
    assert (event.kind, event.status, event.action) == (Kind.TASK, Status.RUNNING, "created")
    assert event.run == RunRef(id="5082236150611968", url="https://cirrus-ci.com/build/5082236150611968")
    assert event.task is not None
    assert (event.task.id, event.task.name, event.task.duration) == ("6017965227769856", "Lint (cargo fmt)", 1.0)
    assert event.task.url == event.url == "https://cirrus-ci.com/task/6017965227769856"
    assert event.changed_at == datetime(2024, 7, 31, 6, 54, 29, 403000, tzinfo=UTC)
    assert event.task.created_at == datetime(2024, 7, 31, 6, 54, 25, 412000, tzinfo=UTC)
    assert event.title == "Periodic update (#7)"
    assert not event.restarted


@needs_shared
def test_the_audit_event_really_sent_says_who_did_what() -> None:
    event = event_of((SHARED / "audit_event.json").read_bytes(), event="audit_event")
    assert (event.kind, event.author, event.action) == (Kind.AUDIT, "edigaryev", "created")
    assert event.title == "GenerateNewScopedAccessToken by edigaryev"
    assert event.run == RunRef(id="bb2bde61-24e6-475c-a8a7-3f03bedcbd61")
    assert event.changed_at == datetime(2024, 8, 1, 13, 20, 6, 287000, tzinfo=UTC)
    assert (event.repository, event.task, event.url) == (None, None, None)


@needs_shared
@pytest.mark.parametrize("name", ["build", "task", "audit_event"])
def test_without_its_name_a_real_event_is_known_by_its_shape(name: str) -> None:
    body = (SHARED / f"{name}.json").read_bytes()
    assert cirrus.normalise(inbound(body)) == cirrus.normalise(inbound(body, event=name))
    assert cirrus.normalise(inbound(body, event="novelty")) == cirrus.normalise(inbound(body, event=name))
    assert cirrus.sign(body, SECRET, delivery="1")["X-Cirrus-Event"] == name


@pytest.mark.parametrize("body", [{}, {"hello": 1}, {"build": {}, "task": {}}, {"data": {}}])
def test_an_unknown_event_of_unknown_shape_is_ignored_with_its_name(body: Any) -> None:
    assert cirrus.normalise(inbound(body, event="pool")) == Ignored("unknown event 'pool'")
    assert cirrus.normalise(inbound(body)) == Ignored("neither a build, a task nor an audit event")


@pytest.mark.parametrize("name", ["build", "task", "audit_event"])
def test_a_known_event_without_its_object_is_unreadable(name: str) -> None:
    with pytest.raises(Unreadable, match=r"missing"):
        cirrus.normalise(inbound({}, event=name))


# -- statuses

BUILD_STATUS = {
    "CREATED": Status.QUEUED,
    "NEEDS_APPROVAL": Status.WAITING,
    "TRIGGERED": Status.QUEUED,
    "EXECUTING": Status.RUNNING,
    "FAILED": Status.FAILURE,
    "COMPLETED": Status.SUCCESS,
    "ABORTED": Status.CANCELLED,
    "ERRORED": Status.ERROR,
}
TASK_STATUS = {
    "CREATED": Status.QUEUED,
    "TRIGGERED": Status.QUEUED,
    "SCHEDULED": Status.QUEUED,
    "EXECUTING": Status.RUNNING,
    "ABORTED": Status.CANCELLED,
    "FAILED": Status.FAILURE,
    "COMPLETED": Status.SUCCESS,
    "SKIPPED": Status.SKIPPED,
    "PAUSED": Status.WAITING,
}


@pytest.mark.parametrize(("word", "status"), BUILD_STATUS.items())
def test_every_status_of_a_build_has_its_word(word: str, status: Status) -> None:
    event = event_of(build(status=word))
    assert (event.status, event.description) == (status, None)


@pytest.mark.parametrize(("word", "status"), TASK_STATUS.items())
def test_every_status_of_a_task_has_its_word_and_is_the_events(word: str, status: Status) -> None:
    event = event_of(task(status=word))
    assert event.task is not None
    assert (event.status, event.task.status, event.description) == (status, status, None)


@needs_shared
def test_the_table_of_statuses_is_that_of_the_published_schema() -> None:
    from graphql import build_schema

    schema = build_schema((SHARED.parents[1] / "schemas/cirrus.graphql").read_text())
    assert set(schema.type_map["BuildStatus"].values) == set(BUILD_STATUS)
    assert set(schema.type_map["TaskStatus"].values) == set(TASK_STATUS)
    assert set(cirrus.STATUS) == set(BUILD_STATUS) | set(TASK_STATUS)


def test_the_page_in_the_docs_has_every_status_with_its_word() -> None:
    page = (Path(__file__).parents[2] / "docs/sources/cirrus.md").read_text()
    rows = [row.split("|")[1:3] for row in page.splitlines() if row.startswith("| `")]
    told = {word: said.strip(" `") for words, said in rows for word in re.findall("`([A-Z_]+)`", words)}
    assert told == {word: status.value for word, status in cirrus.STATUS.items()}


def test_an_unknown_status_is_shown_as_it_came_and_never_taken_for_success() -> None:
    event = event_of(build(status="HIBERNATING"))
    assert (event.status, event.description) == (Status.UNKNOWN, "HIBERNATING")
    event = event_of(task(status="HIBERNATING"))
    assert event.task is not None
    assert (event.status, event.description, event.task.note) == (Status.UNKNOWN, "HIBERNATING", "HIBERNATING")


@pytest.mark.parametrize("old", ["FAILED", "COMPLETED", "ABORTED", "ERRORED"])
@pytest.mark.parametrize("new", ["CREATED", "TRIGGERED", "EXECUTING", "NEEDS_APPROVAL"])
def test_a_build_that_leaves_a_final_status_is_restarted(old: str, new: str) -> None:
    assert event_of(build(status=new) | {"old_status": old}).restarted
    assert event_of(build(status=new) | {"oldStatus": old}).restarted
    assert event_of(build(status=new, oldStatus=old)).restarted
    assert event_of({"action": "updated", "data": build(status=new) | {"old_status": old}}).restarted


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("EXECUTING", "FAILED"),
        ("FAILED", "COMPLETED"),
        ("COMPLETED", "HIBERNATING"),
        ("HIBERNATING", "EXECUTING"),
        (None, "EXECUTING"),
        (7, "EXECUTING"),
        (["FAILED"], "EXECUTING"),
    ],
)
def test_no_other_step_is_a_restart(old: Any, new: str) -> None:
    assert not event_of(build(status=new) | {"old_status": old}).restarted


# -- fields


def test_a_pull_requests_number_is_given_or_read_from_its_branch() -> None:
    assert event_of(build(branch="pull/123")).pull_request == 123
    assert event_of(build(branch="fix", pullRequest=9)).pull_request == 9
    assert event_of(build(branch="pull/123/merge")).pull_request is None
    assert event_of(build(branch="main", pullRequest=0)).pull_request is None


def test_ids_are_text_whether_numbers_or_strings() -> None:
    assert event_of(build(id=5129885287448576)).run == event_of(build(id="5129885287448576")).run


def test_an_id_stays_inside_its_address() -> None:
    assert event_of(build(id="../x?y=<b>")).url == "https://cirrus-ci.com/build/..%2Fx%3Fy%3D%3Cb%3E"


@pytest.mark.parametrize("bad", [None, "", " ", True, -1, 1.5, [], {}, "x" * 101, 10**40])
def test_without_a_usable_id_a_body_is_unreadable(bad: Any) -> None:
    with pytest.raises(Unreadable, match=r"build\.id"):
        cirrus.normalise(inbound(build(id=bad), event="build"))
    with pytest.raises(Unreadable, match=r"task\.id"):
        cirrus.normalise(inbound(task(id=bad), event="task"))


@pytest.mark.parametrize("odd", [-1, 0, 10**18, 10**400, "soon", True, [], {}, None, "NaN", "Infinity", "-Infinity"])
def test_an_odd_time_is_no_time(odd: Any) -> None:
    event = event_of(build(changeTimestamp=odd, buildCreatedTimestamp=odd))
    assert (event.committed_at, event.started_at) == (None, None)
    assert event_of(task(statusTimestamp=odd)).changed_at is None


@pytest.mark.parametrize("odd", [-1, 10**18, 10**400, "long", True, [], {}, None, "nan"])
def test_an_odd_duration_is_no_duration(odd: Any) -> None:
    assert event_of(build(durationInSeconds=odd)).duration is None


def test_foreign_text_is_cleaned_and_shortened() -> None:
    event = event_of(build(changeMessageTitle="a\x00b\x1b[31m" + "x" * 10_000, branch="m\nn"))
    assert event.title is not None
    assert len(event.title) <= 1_000
    assert "\x00" not in event.title
    assert "\x1b" not in event.title
    assert event.branch == "m"


def test_tasks_that_a_query_of_ones_own_lists_without_ids_are_left_out() -> None:
    assert event_of(build(tasks=[{"name": "lint"}, {"id": 4, "name": "test"}])).tasks[0].name == "test"


def test_a_repository_without_owner_is_not_guessed() -> None:
    assert event_of(BUILD | {"repository": {"name": "app"}}).repository is None


@pytest.mark.parametrize("field", ["branch", "user", "tag", "pullRequestLabels", "notifications"])
@pytest.mark.parametrize("value", [7, True, [1, None], {"a": 1}, "text", None])
def test_a_wrong_type_in_a_lesser_field_costs_only_that_field(field: str, value: Any) -> None:
    assert event_of(build(**{field: value})).status is Status.RUNNING


@pytest.mark.parametrize("field", ["build", "task", "repository"])
@pytest.mark.parametrize("value", [7, "text", [], True])
def test_an_object_that_is_none_is_unreadable(field: str, value: Any) -> None:
    with pytest.raises(Unreadable):
        cirrus.normalise(inbound(BUILD | {field: value}, event="build"))


def test_a_task_speaks_for_itself_and_not_for_its_builds_tasks() -> None:
    body = task() | {"build": BUILD["build"] | {"tasks": [{"id": 4, "name": "test"}], "durationInSeconds": 900}}
    event = event_of(body)
    assert (event.tasks, event.duration) == ((), None)


def test_the_details_of_an_audit_event_are_no_envelope() -> None:
    details = {"mutationName": "DeleteRepository", "build": {"id": 1}, "id": "other"}
    body = {"id": "a1", "type": "graphql.mutation", "actor": {"username": "octocat"}}
    for data in (details, json.dumps(details)):
        event = event_of(body | {"data": data})
        assert event.title == "DeleteRepository by octocat"
        assert event.run == RunRef(id="a1")


@pytest.mark.parametrize("data", [None, "", "not json", "[1]", '{"mutationName": 1}', "[" * 5_000, 5, []])
def test_an_audit_event_with_odd_details_is_named_by_its_type(data: Any) -> None:
    assert event_of({"id": 5, "type": "settings.changed", "data": data}).title == "settings.changed"


# -- who signed it


def test_what_is_signed_verifies() -> None:
    cirrus.verify(signed(b"{}"), [SECRET])


@pytest.mark.parametrize("position", [0, 1, 40, 63])
def test_a_flipped_byte_in_body_or_signature_is_refused(position: int) -> None:
    body = json.dumps(BUILD).encode()
    request = signed(body)
    changed = body[:position] + bytes([body[position] ^ 1]) + body[position + 1 :]
    with pytest.raises(Unauthorized):
        cirrus.verify(Inbound(source="ci", headers=request.headers, body=changed, received_at=NOW), [SECRET])
    good = request.headers["x-cirrus-signature"]
    wrong = good[:position] + chr(ord(good[position]) ^ 1) + good[position + 1 :]
    with pytest.raises(Unauthorized):
        cirrus.verify(inbound(body, signature=wrong), [SECRET])


@pytest.mark.parametrize("signature", [None, "", " ", "sha256=", "é" * 64, "\udcff" * 64, "0" * 64, "zz", "\x00"])
def test_a_missing_empty_or_odd_signature_is_refused(signature: str | None) -> None:
    request = inbound(b"{}") if signature is None else inbound(b"{}", signature=signature)
    with pytest.raises(Unauthorized):
        cirrus.verify(request, [SECRET])


def test_hex_in_capitals_is_refused_for_cirrus_never_sends_it() -> None:
    shouted = signed(b"{}").headers["x-cirrus-signature"].upper()
    with pytest.raises(Unauthorized):
        cirrus.verify(inbound(b"{}", signature=shouted), [SECRET])


def test_while_secrets_rotate_either_verifies() -> None:
    for secret in (SECRET, "the-old-one"):
        cirrus.verify(signed(b"{}", secret), [SECRET, "the-old-one"])
    with pytest.raises(Unauthorized):
        cirrus.verify(signed(b"{}", "the-oldest"), [SECRET, "the-old-one"])


@pytest.mark.parametrize("secrets", [[], [""]])
def test_without_a_secret_nothing_verifies(secrets: list[str]) -> None:
    with pytest.raises(Unauthorized):
        cirrus.verify(signed(b"{}", ""), secrets)


# -- seen before?


def test_equal_bodies_have_equal_keys_and_others_do_not() -> None:
    assert cirrus.identify(inbound(BUILD)).key == cirrus.identify(inbound(BUILD, timestamp="1")).key
    assert cirrus.identify(inbound(BUILD)).key != cirrus.identify(inbound(TASK)).key


def test_only_builds_may_rightly_come_again_with_the_same_bytes() -> None:
    sent = cirrus.identify(inbound(BUILD, event="build", timestamp="1767258005250"))
    assert sent.repeatable
    assert sent.sent_at == datetime(2026, 1, 1, 9, 0, 5, 250000, tzinfo=UTC)
    assert cirrus.identify(inbound(BUILD)).repeatable
    for body in (TASK, {"id": 1, "type": "x"}, {}, b"no json"):
        identity = cirrus.identify(inbound(body, timestamp="1767258005250"))
        assert (identity.repeatable, identity.sent_at) == (False, None)


@pytest.mark.parametrize("stamp", ["", "soon", "-5", "1e400", "nan", "9" * 400, "é", "\udcff"])
def test_a_garbled_timestamp_is_none(stamp: str) -> None:
    assert cirrus.identify(inbound(BUILD, event="build", timestamp=stamp)).sent_at is None


# -- hostile input

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
LEAVES |= st.text(max_size=10) | st.sampled_from([*cirrus.STATUS, "HIBERNATING"])
VALUES = LEAVES | st.lists(LEAVES, max_size=3) | st.dictionaries(st.sampled_from(["username", "message"]), LEAVES)


def objects(shape: type[msgspec.Struct]) -> st.SearchStrategy[dict[str, Any]]:
    """One of theirs, with an id and a few fields that hold anything."""
    names = [field.encode_name for field in msgspec.structs.fields(shape)]
    odd = st.dictionaries(st.sampled_from(names), VALUES, max_size=4)
    return odd.map(lambda fields: {"id": 7, "status": "FAILED"} | fields)


OBJECTS = {
    "build": VALUES | objects(cirrus.CirrusBuild),
    "task": VALUES | objects(cirrus.CirrusTask),
    "repository": VALUES | objects(cirrus.Repository),
}
BODIES = st.fixed_dictionaries(
    {},
    optional={
        **OBJECTS,
        "data": VALUES | st.fixed_dictionaries({}, optional=OBJECTS),
        **dict.fromkeys(("action", "old_status", "oldStatus", "id", "type", "timestamp", "actor"), VALUES),
    },
)
EVENTS = st.sampled_from(["build", "task", "audit_event", "pool", "", "\udcff"])


def nothing_but_ingest_errors(request: Inbound) -> None:
    cirrus.identify(request)
    try:
        event = cirrus.normalise(request)
    except IngestError:
        return
    if isinstance(event, Event):
        dump(event)
        assert event.changed_at is None or event.changed_at.utcoffset() == timedelta(0)


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(body=BODIES, name=EVENTS)
def test_nothing_but_ingest_errors_leaves_the_source_whatever_the_fields_hold(body: Any, name: str) -> None:
    nothing_but_ingest_errors(inbound(json.dumps(body).encode(), event=name))


@settings(max_examples=200, deadline=None, database=None, derandomize=True)
@given(body=st.binary(max_size=60), name=EVENTS, signature=st.text(max_size=70))
def test_nothing_but_ingest_errors_leaves_the_source_whatever_the_bytes_are(
    body: bytes, name: str, signature: str
) -> None:
    nothing_but_ingest_errors(inbound(body, event=name))
    cirrus.sign(body, SECRET, delivery="1")
    with pytest.raises(Unauthorized):
        cirrus.verify(inbound(body, signature=signature), [SECRET])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"7",
        b'"x"',
        b'{"build":',
        b"[" * 100_000,
        b'{"build":' * 5_000,
        b'{"id":' + b"9" * 5_000 + b"}",
        b'{"build": {"id": 1e999}}',
        b'{"build": {"user": ' + b"[" * 5_000 + b"]" * 5_000 + b"}}",
        b"\xff\xfe",
        b'"\xed"',
    ],
)
def test_a_broken_body_is_unreadable_or_ignored(body: bytes) -> None:
    nothing_but_ingest_errors(inbound(body))
    nothing_but_ingest_errors(inbound(body, event="build"))
