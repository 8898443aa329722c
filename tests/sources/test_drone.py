"""Drone's webhooks: each state of a build with its stages. `drone/NAME.json` is a body, `NAME.event.json` its event."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import Unauthorized, Unreadable
from bridge.event import Change, Inbound, Kind, Status
from bridge.sources import drone
from tests.events import Folding
from tests.sources import common
from tests.sources.common import NOW, PAGES, Sender, needs_shared
from tests.test_deciding import LIVE, Decisions, owed, rule


def _sign(body: bytes, secret: str, *, delivery: str) -> dict[str, str]:
    return drone.signed_at(body, secret, NOW)


DRONE = Sender("drone", SimpleNamespace(**vars(drone) | {"sign": _sign}), "x-drone-event")
STATUSES = {
    "pending": Status.QUEUED,
    "waiting_on_dependencies": Status.QUEUED,
    "blocked": Status.WAITING,
    "running": Status.RUNNING,
    "started": Status.RUNNING,
    "success": Status.SUCCESS,
    "failure": Status.FAILURE,
    "error": Status.ERROR,
    "killed": Status.CANCELLED,
    "declined": Status.CANCELLED,
    "skipped": Status.SKIPPED,
}


@pytest.mark.parametrize("name", DRONE.bodies)
def test_each_body_becomes_its_golden_event(name: str) -> None:
    assert common.said(DRONE.read(name)) == DRONE.golden(name)


@pytest.mark.parametrize("name", DRONE.bodies)
def test_a_saved_body_can_be_sent_again_as_drone_would(name: str) -> None:
    body = DRONE.bodies[name].read_bytes()
    request = DRONE.sent(body)
    drone.verify(request, ["s3cret"])
    assert request.headers["x-drone-event"] == json.loads(body).get("event", "build")
    assert common.said(drone.normalise(request)) == DRONE.golden(name)


# -- statuses


@pytest.mark.parametrize(("word", "status"), STATUSES.items())
def test_every_word_has_its_status_in_builds_and_stages(word: str, status: Status) -> None:
    def change(body: Any) -> None:
        body["build"]["status"] = body["build"]["stages"][0]["status"] = word

    event = DRONE.event_of("push.3_failed", change)
    assert (event.status, event.tasks[0].status) == (status, status)
    assert (event.finished_at is not None) is status.finished
    assert drone.STATUS == STATUSES


@pytest.mark.parametrize("word", ["hibernating", "SUCCESS", "", None, 7])
def test_an_unknown_word_is_shown_and_never_success(word: Any) -> None:
    event = DRONE.event_of("push.3_failed", lambda body: body["build"].update(status=word))
    assert (event.status, event.description) == (Status.UNKNOWN, word if isinstance(word, str) and word else None)


@pytest.mark.parametrize("action", ["created", "updated", "completed", None, 7])
def test_the_state_never_comes_from_the_action(action: Any) -> None:
    assert DRONE.event_of("push.2_running", lambda body: body.update(action=action)).status is Status.RUNNING


def test_the_page_has_every_word() -> None:
    page = (PAGES / "drone.md").read_text()
    assert all(f"`{word}`" in page for word in drone.STATUS)


# -- runs


@pytest.mark.parametrize("order", [(1, 2, 3), (2, 1, 3), (3, 2, 1), (1, 3, 2)])
def test_a_build_is_one_run_with_its_stages_in_whatever_order_it_is_told(order: tuple[int, ...]) -> None:
    names = {1: "push.1_created", 2: "push.2_running", 3: "push.3_failed"}
    run = Folding(*(DRONE.event_of(names[place]) for place in order))
    assert (run.state, run.tasks) == (("failure", 1), {"501": "failure"})


def test_a_living_message_follows_a_build_to_its_end() -> None:
    deciding = Decisions(rule("every run", LIVE))
    told = [deciding.add(DRONE.event_of(name)) for name in ("push.1_created", "push.2_running", "push.3_failed")]
    assert [owed(decision) for decision in told] == [["builds run live"]] * 3
    assert told[-1].event.change is Change.BROKEN


def test_a_promotion_is_a_deployment_to_its_environment() -> None:
    event = DRONE.event_of("promote.success")
    assert (event.kind, event.environment) == (Kind.DEPLOYMENT, "production")
    assert DRONE.event_of("promote.success", lambda body: body["build"].update(event="push")).environment is None


def test_a_step_that_may_fail_is_not_the_one_that_failed() -> None:
    def only(body: Any) -> None:
        body["build"]["stages"][0]["steps"] = body["build"]["stages"][0]["steps"][:2]

    assert DRONE.event_of("push.3_failed").tasks[0].step == "test"
    assert DRONE.event_of("push.3_failed", only).tasks[0].step is None


@pytest.mark.parametrize(
    ("ref", "number"),
    [
        ("refs/pull/12/head", 12),
        ("refs/pull/12/merge", 12),
        ("refs/merge-requests/3/head", 3),
        ("refs/pull-requests/4/from", 4),
        ("refs/pull/0/head", None),
        ("refs/heads/pull/12/head", None),
    ],
)
def test_the_ref_names_the_pull_request(ref: str, number: int | None) -> None:
    assert DRONE.event_of("pull_request.blocked", lambda body: body["build"].update(ref=ref)).pull_request == number


def test_without_its_id_a_build_is_unreadable() -> None:
    with pytest.raises(Unreadable, match=r"build\.id"):
        DRONE.read("push.1_created", lambda body: body["build"].pop("id"))


# -- who sent it


def _request(body: bytes = b"{}", **changed: str | None) -> Inbound:
    headers = {name.lower(): value for name, value in drone.signed_at(body, "s3cret", NOW).items()} | changed
    return Inbound("ci", {name: value for name, value in headers.items() if value is not None}, body, NOW)


def _refused(request: Inbound) -> None:
    with pytest.raises(Unauthorized, match=r"^signature missing or wrong$"):
        drone.verify(request, ["s3cret"])


def test_forged_signatures_are_refused_and_rotated_secrets_hold() -> None:
    common.refuses_forgeries(DRONE, DRONE.bodies["push.3_failed"].read_bytes(), "signature")


def test_the_digest_is_held_against_the_body() -> None:
    """Drone signs the header only: with it, another body would pass."""
    good = _request(b'{"build":1}')
    drone.verify(good, ["s3cret"])
    _refused(Inbound("ci", good.headers, b'{"build":2}', NOW))
    other = "SHA-256=" + base64.b64encode(hashlib.sha256(b'{"build":2}').digest()).decode()
    _refused(Inbound("ci", good.headers | {"digest": other}, b'{"build":2}', NOW))


@pytest.mark.parametrize("name", ["date", "digest", "signature"])
@pytest.mark.parametrize("value", [None, "", " ", "é", "\udcff", "x" * 5_000, "SHA-256=", "Mon, 99 Foo 2026"])
def test_each_of_the_three_headers_is_needed(name: str, value: str | None) -> None:
    _refused(_request(**{name: value}))


def test_the_signature_is_also_taken_from_authorization() -> None:
    line = _request().headers["signature"]
    drone.verify(_request(signature=None, authorization=f"Signature {line}"), ["s3cret"])
    _refused(_request(signature=None, authorization=f"Bearer {line}"))
    _refused(_request(signature="", authorization=f"Signature {line}"))


def _signed(text: str, names: str, algorithm: str = "hmac-sha256", **changed: str) -> Inbound:
    """Return a request on which `text` is rightly signed, said to be the headers `names`."""
    code = base64.b64encode(hmac.digest(b"s3cret", text.encode(), "sha256")).decode()
    line = f'keyId="hmac-key",algorithm="{algorithm}",signature="{code}",headers="{names}"'
    return _request(signature=line, **changed)


def test_both_headers_must_be_signed_in_whatever_order() -> None:
    given = _request().headers
    date, digest = f"date: {given['date']}", f"digest: {given['digest']}"
    drone.verify(_signed(f"{digest}\n{date}", "digest date"), ["s3cret"])
    drone.verify(_signed(f"{date}\n{digest}", "Date Digest"), ["s3cret"])
    for text, names in [(date, "date"), (digest, "digest"), ("", ""), (f"{date}\n{date}", "date date")]:
        _refused(_signed(text, names))
    _refused(_signed(f"{date}\n{digest}\nhost: x", "date digest host"))
    _refused(_signed(f"{date}\n{digest}", "date digest", "hmac-sha1"))
    _refused(_signed(f"{date}\n{digest}", "date digest", "none"))


@pytest.mark.parametrize("seconds", [0, 300, -300])
def test_a_signed_date_within_five_minutes_is_taken(seconds: int) -> None:
    drone.verify(_dated(seconds), ["s3cret"])


@pytest.mark.parametrize("seconds", [301, -301, 86_400, -86_400])
def test_a_signed_date_further_off_is_refused(seconds: int) -> None:
    _refused(_dated(seconds))


def _dated(seconds: int) -> Inbound:
    headers = drone.signed_at(b"{}", "s3cret", NOW + timedelta(seconds=seconds))
    return Inbound("ci", {name.lower(): value for name, value in headers.items()}, b"{}", NOW)


@pytest.mark.parametrize(
    "date", ["", "soon", "1772452800", "Mon, 02 Mar 99999 12:00:00 GMT", "é", "0" * 41, ",,,,", "1 1 1 1"]
)
def test_an_odd_date_is_refused_even_when_it_is_signed(date: str) -> None:
    digest = _request().headers["digest"]
    _refused(_signed(f"date: {date}\ndigest: {digest}", "date digest", date=date))


def test_equal_bodies_are_the_same_delivery_and_each_state_is_another() -> None:
    keys = {drone.identify(DRONE.sent(path.read_bytes())).key for path in DRONE.bodies.values()}
    assert len(keys) == len(DRONE.bodies)
    body = DRONE.bodies["push.3_failed"].read_bytes()
    assert drone.identify(DRONE.sent(body)) == drone.identify(DRONE.inbound(None, body))


def test_sign_takes_the_date_from_the_clock() -> None:
    assert drone.sign(b"{}", "s3cret", delivery="1")["Date"].endswith("GMT")


# -- odd input


@pytest.mark.parametrize("name", ["push.3_failed", "pull_request.blocked", "promote.success"])
def test_a_wrong_value_costs_its_field_only(name: str) -> None:
    common.takes_odd_values(DRONE, name, frozenset({"build", "id"}))


@settings(max_examples=150, deadline=None, database=None, derandomize=True)
@given(data=st.data())
def test_nothing_but_ingest_errors_leaves_the_module(data: st.DataObject) -> None:
    common.takes_any_json(DRONE, data)


# -- real bodies

_BUILD = {
    "repository": "octocat/hello-world",
    "branch": "develop",
    "sha": "9fc1ad6ebf12462f3f9773003e26b4c6f54a772e",
    "author": "octocat",
    "url": "https://github.com/octoat/hello-world/compare/e3320539a4c0...9fc1ad6ebf12",  # no system: no other address
}
REAL: dict[str, Any] = {
    "build.created.docs.json": _BUILD | {"status": "queued"},
    "build.updated.docs.json": _BUILD | {"status": "running"},
    "build.completed.docs.json": _BUILD | {"status": "success"},
}


@needs_shared
@pytest.mark.parametrize("file", REAL)
def test_a_real_body_says_what_stands_in_it(file: str) -> None:
    common.tells(DRONE, "drone", file, "build", REAL[file])


@needs_shared
def test_every_real_body_is_in_the_table() -> None:
    assert common.real("drone") == set(REAL)
