"""Travis's webhooks: a signed form. `travis/NAME.json` is its payload, `NAME.event.json` what it becomes."""

from __future__ import annotations

import base64
import json
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.codec import form_field
from bridge.errors import Unauthorized, Unreadable
from bridge.event import Change, Event, Ignored, Inbound, Status
from bridge.sources import travis
from tests.events import Folding
from tests.sources import common
from tests.sources.common import NOW, PAGES, SHARED, Sender, needs_shared
from tests.test_deciding import LIVE, Decisions, owed, rule

TRAVIS = Sender("travis", travis, "x-travis-event")
STATES = {
    "created": Status.QUEUED,
    "received": Status.QUEUED,
    "queued": Status.QUEUED,
    "started": Status.RUNNING,
    "passed": Status.SUCCESS,
    "failed": Status.FAILURE,
    "errored": Status.ERROR,
    "canceled": Status.CANCELLED,
}
MESSAGES = {
    "Pending": Status.RUNNING,
    "Passed": Status.SUCCESS,
    "Fixed": Status.SUCCESS,
    "Broken": Status.FAILURE,
    "Failed": Status.FAILURE,
    "Still Failing": Status.FAILURE,
    "Canceled": Status.CANCELLED,
    "Errored": Status.ERROR,
}


@cache
def pair(name: str = "") -> tuple[str, str]:
    """Return a private and a public key."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private.decode(), key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def signed(body: bytes, private: str | None = None) -> Inbound:
    headers = travis.sign(body, private or pair()[0], delivery="1")
    return Inbound("ci", {name.lower(): value for name, value in headers.items()}, body, NOW)


def body_of(name: str) -> bytes:
    return common.form(TRAVIS.bodies[name].read_bytes())


@pytest.mark.parametrize("name", TRAVIS.bodies)
def test_each_body_becomes_its_golden_event_as_a_form_and_as_saved_json(name: str) -> None:
    assert common.said(TRAVIS.read(name)) == TRAVIS.golden(name)
    request = signed(body_of(name))
    travis.verify(request, [pair()[1]])
    assert request.headers["content-type"] in travis.CONTENT_TYPES
    assert common.said(travis.normalise(request)) == TRAVIS.golden(name) | {"source": "ci"}


# -- statuses


@pytest.mark.parametrize(("state", "status"), STATES.items())
def test_every_state_has_its_status(state: str, status: Status) -> None:
    event = TRAVIS.event_of("push.failed", lambda body: body.update(state=state))
    assert (event.status, event.finished_at is not None, event.description) == (status, status.finished, None)


@pytest.mark.parametrize(("message", "status"), MESSAGES.items())
def test_without_a_state_the_message_counts(message: str, status: Status) -> None:
    assert TRAVIS.event_of("push.failed", lambda body: body.update(state=None, status_message=message)).status is status
    both = TRAVIS.event_of("push.failed", lambda body: body.update(state="errored", status_message=message))
    assert both.status is Status.ERROR


def test_the_table_is_that_of_states_and_messages_and_stands_on_the_page() -> None:
    assert set(travis.STATUS) == {*STATES, *(message.lower() for message in MESSAGES)}
    page = (PAGES / "travis.md").read_text()
    assert all(f"`{word}`" in page for word in travis.STATUS)


@pytest.mark.parametrize("state", ["hibernating", "PASSED", 7, ["passed"]])
def test_an_unknown_word_is_shown_and_never_success(state: Any) -> None:
    event = TRAVIS.event_of("push.failed", lambda body: body.update(state=state, status_message="", status=0))
    assert (event.status, event.description) == (Status.UNKNOWN, state if isinstance(state, str) else None)


@pytest.mark.parametrize(
    ("job", "status"),
    [
        ({"state": "finished", "status": 0}, Status.SUCCESS),
        ({"state": "finished", "status": 1}, Status.FAILURE),
        ({"state": "finished", "status": None}, Status.UNKNOWN),
        ({"state": "finished", "status": 7}, Status.UNKNOWN),
        ({"state": "passed", "status": 1}, Status.SUCCESS),
        ({"state": "started"}, Status.RUNNING),
        ({"state": "odd"}, Status.UNKNOWN),
        ({}, Status.UNKNOWN),
    ],
)
def test_how_a_finished_job_ended_is_told_by_its_exit_status(job: dict[str, Any], status: Status) -> None:
    event = TRAVIS.event_of("push.failed", lambda body: body.update(matrix=[{"id": 1} | job]))
    assert event.tasks[0].status is status


# -- runs


def test_a_living_message_follows_a_build_from_its_start_to_its_end() -> None:
    deciding = Decisions(rule("every run", LIVE))
    told = [deciding.add(TRAVIS.event_of(name)) for name in ("push.started", "push.failed")]
    assert [owed(decision) for decision in told] == [["builds run live"]] * 2
    assert told[-1].event.change is Change.BROKEN


def test_a_restarted_build_is_the_next_attempt() -> None:
    def later(state: str) -> Any:
        times = {"started_at": "2026-03-02T09:00:00Z", "finished_at": "2026-03-02T09:05:00Z"}
        return TRAVIS.event_of("push.failed", lambda body: body.update(times | {"state": state}))

    story = Folding(TRAVIS.event_of("push.started"), TRAVIS.event_of("push.failed"), later("started"))
    assert story.state == ("running", 2)
    story.add(later("passed"))
    assert story.state == ("success", 2)
    story.add(TRAVIS.event_of("push.failed"), TRAVIS.event_of("push.started"))
    assert story.state == ("success", 2)


def test_what_is_no_build_is_ignored_and_a_build_without_an_id_unreadable() -> None:
    assert isinstance(travis.normalise(TRAVIS.inbound(None, b"payload=%7B%7D")), Ignored)
    with pytest.raises(Unreadable, match=r"^id "):
        TRAVIS.read("push.failed", lambda body: body.pop("id"))
    with pytest.raises(Unreadable, match="payload"):
        travis.normalise(TRAVIS.inbound(None, b"other=1"))


# -- who sent it


def test_either_key_verifies_while_travis_changes_it() -> None:
    request = signed(body_of("push.failed"))
    for secrets in ([pair()[1]], [pair("other")[1], pair()[1]], [pair()[1], "no key"], [pair()[0]]):
        travis.verify(request, secrets)
    for secrets in (
        [],
        [""],
        ["no key"],
        [pair("other")[1]],
        ["-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"],
    ):
        _refused(request, secrets)


def _refused(request: Inbound, secrets: list[str] | None = None) -> None:
    with pytest.raises(Unauthorized, match=r"^signature missing or wrong$"):
        travis.verify(request, [pair()[1]] if secrets is None else secrets)


def test_a_key_of_another_kind_verifies_nothing() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    _refused(signed(b"{}"), [public, private])
    assert "Signature" not in travis.sign(b"{}", private, delivery="1")


def test_a_key_on_one_line_is_a_key() -> None:
    travis.verify(signed(b"payload={}"), [pair()[1].replace("\n", "\\n")])


def test_a_flipped_byte_is_refused() -> None:
    request = signed(body_of("push.started"))
    for place in (8, len(request.body) // 2, len(request.body) - 1):
        flipped = request.body[:place] + bytes([request.body[place] ^ 1]) + request.body[place + 1 :]
        _refused(Inbound("ci", request.headers, flipped, NOW))


def test_only_the_first_payload_counts() -> None:
    """What is verified must be what is read."""
    good = signed(b"payload={}")
    travis.verify(Inbound("ci", good.headers, b"payload=%7b%7d&payload=%7B%22id%22%3A1%7D", NOW), [pair()[1]])
    two = Inbound("ci", good.headers, b"payload=%7B%22id%22%3A1%7D&payload={}", NOW)
    _refused(two)


@pytest.mark.parametrize("signature", [None, "", " ", "=", "AAAA", "é" * 10, "\udcff", "\x00", "A" * 100_000, "zz==zz"])
def test_a_missing_or_odd_signature_is_refused(signature: str | None) -> None:
    headers = {"signature": signature} if signature is not None else {}
    _refused(Inbound("ci", headers, b"payload={}", NOW))


def test_a_signature_that_is_cut_or_of_another_payload_is_refused() -> None:
    raw = base64.b64decode(signed(b"payload={}").headers["signature"])
    for odd in (raw[:-1], raw + b"\0", raw[::-1], bytes(len(raw))):
        _refused(Inbound("ci", {"signature": base64.b64encode(odd).decode()}, b"payload={}", NOW))
    _refused(Inbound("ci", {"signature": base64.b64encode(raw).decode()}, b"payload={1}", NOW))


def test_one_payload_is_one_delivery_however_the_form_writes_it() -> None:
    key = travis.identify(TRAVIS.inbound(None, b"payload=%7B%22id%22%3A1%7D")).key
    assert travis.identify(TRAVIS.inbound(None, b"x=2&payload=%7b%22id%22%3a1%7d&y")).key == key
    assert travis.identify(TRAVIS.inbound(None, b"payload=%7B%22id%22%3A2%7D")).key != key
    assert travis.identify(TRAVIS.inbound(None, b"no form")).key.startswith("sha256:")


def test_with_a_public_key_nothing_is_signed() -> None:
    assert list(travis.sign(b"payload={}", pair()[1], delivery="1")) == ["Content-Type"]
    assert list(travis.sign(b"no form", pair()[0], delivery="1")) == ["Content-Type"]


def test_the_keys_stand_in_the_answer_of_travis() -> None:
    def answer(keys: Any) -> bytes:
        return json.dumps({"config": {"host": "x", "notifications": {"webhook": {"public_key": keys}}}}).encode()

    public, other = pair()[1], pair("other")[1]
    assert travis.keys(answer(public)) == (public,)
    assert travis.keys(answer([public, "odd", 7, other])) == (public, other)
    for odd in (answer("no key"), answer(None), answer([]), answer(7), b"{}", b"[]", b"no json"):
        with pytest.raises(Unreadable):
            travis.keys(odd)


# -- odd input


@pytest.mark.parametrize("name", ["push.failed", "pull_request.passed"])
def test_a_wrong_value_costs_its_field_only(name: str) -> None:
    common.takes_odd_values(TRAVIS, name, frozenset({"id"}))


@settings(max_examples=150, deadline=None, database=None, derandomize=True)
@given(data=st.data())
def test_nothing_but_ingest_errors_leaves_the_module(data: st.DataObject) -> None:
    common.takes_any_json(TRAVIS, data)


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(body=st.binary(max_size=60), signature=st.text(max_size=40))
def test_no_form_and_no_signature_does_more_than_be_refused(body: bytes, signature: str) -> None:
    for raw in (body, b"payload=" + body):
        _refused(Inbound("ci", {"signature": signature}, raw, NOW))
        travis.identify(TRAVIS.inbound(None, raw))
        TRAVIS.survives(None, raw)


# -- real bodies

REAL = {
    "repository": "Kegsay/flow-jsdoc",
    "branch": "master",
    "tag": None,
    "sha": "3a092c3a6032ebb50384c99b445f947e9ce86e2a",
    "status": "success",
    "author": "Kegan Dougal",
    "pull_request": None,
    "url": "https://travis-ci.org/Kegsay/flow-jsdoc/builds/176075135",
}


@needs_shared
@pytest.mark.parametrize("file", ["build.passed.form-body.txt", "build.passed.json"])
def test_a_real_body_says_what_stands_in_it(file: str) -> None:
    event = travis.normalise(TRAVIS.inbound(None, (SHARED / "fixtures/travis" / file).read_bytes()))
    assert isinstance(event, Event)
    assert {name: getattr(event, name) for name in common.TOLD} == REAL


@needs_shared
def test_what_is_verified_are_the_bytes_that_travis_signed() -> None:
    form, payload = (SHARED / "fixtures/travis" / name for name in ("build.passed.form-body.txt", "build.passed.json"))
    assert form_field(form.read_bytes(), "payload") == payload.read_bytes()


@needs_shared
def test_published_signatures_are_accepted_for_their_key_and_their_body_only() -> None:
    vectors = common.vectors("travis")
    assert vectors
    for vector in vectors:
        keys = next(SHARED.glob(f"**/{vector['public_key_file']}"), None)
        if keys is None:
            pytest.skip("no public key in ../shared")
        body = (SHARED / "fixtures" / vector["body_file"]).read_bytes()
        headers = {name.lower(): value for name, value in vector["headers"].items()}
        travis.verify(Inbound("ci", headers, body, NOW), [pair()[1], keys.read_text()])
        _refused(Inbound("ci", headers, body.replace(b"master", b"mister"), NOW), [keys.read_text()])
