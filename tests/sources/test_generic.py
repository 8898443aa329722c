"""A sender that nobody has heard of, described in YAML."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.config import load
from bridge.errors import ConfigError, IngestError, Unauthorized
from bridge.event import Event, Ignored, Inbound, Kind, Status
from bridge.sources.generic import FIELDS, Generic, Options

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
BODY: dict[str, Any] = {
    "project": {"path": "acme/app", "site": "https://ci.example.com/acme/app"},
    "job": {"id": 41, "name": "nightly", "result": "broken", "seconds": 93.5, "began": 1772438400},
    "commit": {"id": "4f1d2c3b", "text": "Count parcels twice\n\nand once more", "who": "octocat"},
    "ref": "refs/heads/main",
    "tags": ["slow", "nightly"],
}
FIELDS_OF = {
    "repository": "body.project.path",
    "repository_url": "body.project.site",
    "status": "body.job.result",
    "run": "body.job.id",
    "number": "body.job.id",
    "pipeline": "body.job.name",
    "duration": "body.job.seconds",
    "started_at": "body.job.began",
    "sha": "body.commit.id",
    "title": "body.commit.text|first_line",
    "message": "body.commit.text",
    "author": "body.commit.who",
    "branch": "body.ref|replace('refs/heads/', '')",
    "labels": "body.tags",
    "trigger": "headers['x-why']",
}


def source(**more: Any) -> Generic:
    return Generic(
        Options.model_validate({"fields": FIELDS_OF, "status": {"broken": "failure", "ok": "success"}} | more)
    )


def inbound(body: Any = BODY, **headers: str) -> Inbound:
    lower = {name.lower().replace("_", "-"): value for name, value in headers.items()}
    return Inbound("nightly", lower, body if isinstance(body, bytes) else json.dumps(body).encode(), NOW)


def test_fields_are_taken_where_the_expressions_say() -> None:
    event = source().normalise(inbound(x_why="schedule"))
    assert isinstance(event, Event)
    assert event.run is not None
    assert (event.source, event.type, event.kind, event.status) == (
        "nightly",
        "generic",
        Kind.PIPELINE,
        Status.FAILURE,
    )
    assert (event.repository, event.branch, event.sha, event.title) == (
        "acme/app",
        "main",
        "4f1d2c3b",
        "Count parcels twice",
    )
    assert (event.run.id, event.run.number, event.pipeline, event.duration) == ("41", 41, "nightly", 93.5)
    assert event.started_at == datetime.fromtimestamp(1772438400, UTC)
    assert (event.author, event.labels, event.trigger) == ("octocat", ("slow", "nightly"), "schedule")
    assert event.message == "Count parcels twice\n\nand once more"


@pytest.mark.parametrize(
    ("word", "status"), [("ok", Status.SUCCESS), ("odd", Status.UNKNOWN), (None, Status.UNKNOWN), (7, Status.UNKNOWN)]
)
def test_a_word_that_is_not_in_the_map_is_unknown(word: Any, status: Status) -> None:
    body = BODY | {"job": {"result": word}}
    event = source().normalise(inbound(body))
    assert isinstance(event, Event)
    assert event.status is status


def test_without_a_map_the_words_are_ours_and_true_may_be_mapped() -> None:
    plain = Generic(Options(fields={"status": "body.state"}))
    event = plain.normalise(inbound({"state": "timeout"}))
    assert isinstance(event, Event)
    assert event.status is Status.TIMEOUT
    mapped = Generic(Options(fields={"status": "body.good"}, status={"true": Status.SUCCESS, "false": Status.FAILURE}))
    event = mapped.normalise(inbound({"good": False}))
    assert isinstance(event, Event)
    assert event.status is Status.FAILURE


def test_a_task_is_a_job_of_its_run() -> None:
    event = source(fields=FIELDS_OF | {"task": "body.job.name"}).normalise(inbound())
    assert isinstance(event, Event)
    assert event.task is not None
    assert (event.kind, event.task.name, event.task.status) == (Kind.TASK, "nightly", Status.FAILURE)


def test_what_is_not_for_chat_is_ignored_with_words() -> None:
    found = source(ignore="body.job.name == 'nightly'").normalise(inbound())
    assert isinstance(found, Ignored)
    assert "ignore" in found.reason


def test_a_delivery_is_known_by_its_expression_or_its_body() -> None:
    named = source(delivery="headers['x-id']")
    assert named.identify(inbound(x_id="d1")).key == "d1"
    assert named.identify(inbound()).key.startswith("sha256:")
    assert source().identify(inbound()).key == source().identify(inbound()).key
    assert source().identify(inbound({})).key != source().identify(inbound()).key
    assert named.identify(inbound(b"no json")).key.startswith("sha256:")


# -- signatures --------------------------------------------------------------------------------------------------------

WAYS: list[dict[str, Any]] = [
    {"header": "X-Sig"},
    {"header": "X-Sig", "prefix": "sha256=", "algorithm": "sha256"},
    {"header": "X-Sig", "algorithm": "sha1", "encoding": "base64"},
    {"header": "X-Sig", "algorithm": "sha512", "timestamp": "X-Time"},
    {"header": "X-Sig", "timestamp": "X-Time", "signed": "v0:{timestamp}:{body}", "prefix": "v0="},
]


def signed(how: dict[str, Any], secret: str = "s3cret", body: bytes = b'{"a": 1}') -> tuple[Generic, Inbound]:
    made = source(signature=how)
    headers = {name.lower(): value for name, value in made.sign(body, secret, delivery="").items()}
    return made, Inbound("nightly", headers, body, datetime.now(UTC))


@pytest.mark.parametrize("how", WAYS)
def test_a_right_signature_is_taken_also_while_secrets_rotate(how: dict[str, Any]) -> None:
    made, given = signed(how)
    made.verify(given, ["s3cret"])
    made.verify(given, ["old", "s3cret"])
    for secrets in ([], ["other"], [""]):
        with pytest.raises(Unauthorized):
            made.verify(given, secrets)


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("odd", ["", "sha256=", "zz", "0", "\udcff", "v0=", "AAAA"])
def test_an_odd_signature_is_refused_in_the_same_words(how: dict[str, Any], odd: str) -> None:
    made, given = signed(how)
    for headers in (given.headers | {"x-sig": odd}, {}):
        with pytest.raises(Unauthorized):
            made.verify(Inbound("nightly", headers, given.body, given.received_at), ["s3cret"])
    with pytest.raises(Unauthorized):
        made.verify(Inbound("nightly", given.headers, given.body + b" ", given.received_at), ["s3cret"])


def test_a_signed_time_that_is_over_is_refused() -> None:
    made, given = signed(WAYS[3])
    for off, fine in ((timedelta(minutes=4), True), (timedelta(minutes=6), False), (timedelta(minutes=-6), False)):
        later = Inbound("nightly", given.headers, given.body, given.received_at + off)
        if fine:
            made.verify(later, ["s3cret"])
            continue
        with pytest.raises(Unauthorized):
            made.verify(later, ["s3cret"])


def test_without_a_described_signature_only_a_token_opens() -> None:
    with pytest.raises(Unauthorized):
        source().verify(inbound(), ["s3cret"])


# -- hostile and wrong -------------------------------------------------------------------------------------------------

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(body=st.fixed_dictionaries({}, optional=dict.fromkeys(["project", "job", "commit", "ref", "tags"], ANY_JSON)))
def test_no_body_raises_anything_but_ingest_errors(body: dict[str, Any]) -> None:
    everything = dict.fromkeys(FIELDS, "body.job.result or body.ref or body.tags")
    for made in (source(), source(fields=everything, ignore="body.job.x.y", delivery="body.tags")):
        given = inbound(json.dumps(body).encode())
        made.identify(given)
        try:
            made.normalise(given)
        except IngestError:
            continue


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("body.x * 9", "calls"),
        ("9**9**9", "calls"),
        ("body.x()", "calls"),
        ("payload.x", "unknown name 'payload'"),
        ("body['x", "no expression"),
        ("body.x|center(99999999)", "center"),
    ],
)
def test_an_expression_that_cannot_be_is_told_when_the_file_is_read(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "version: 1\nsources:\n  nightly:\n    type: generic\n    token: a-token\n"
        f"    fields:\n      status: {json.dumps(text)}\ndestinations: {{here: {{type: console}}}}\n"
    )
    with pytest.raises(ConfigError, match=r"sources\.nightly\.fields") as error:
        load(str(path), {})
    assert words in str(error.value)


def test_its_keys_are_for_its_type_alone(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("version: 1\nsources: {github: {type: github, secret: abcdef, fields: {a: body.b}}}\n")
    with pytest.raises(ConfigError, match="unknown key"):
        load(str(path), {})
