"""Standard Webhooks, of any sender and of Render: signatures, golden events, and what no body may do."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import Unauthorized, Unreadable
from bridge.event import Event, Inbound
from bridge.sources import render, standard
from bridge.verify import REFUSED, standard_headers
from tests.sources import common, thin
from tests.sources.common import NOW

SENDERS = {
    "standard": common.Sender("standard", standard, "x-event"),
    "render": common.Sender("render", render, "x-event"),
}
BODIES = [(name, body) for name, sender in SENDERS.items() for body in sender.bodies]
BODY = b'{"type":"build.started"}'
SECRET = "whsec_" + base64.b64encode(b"a made-up secret of 32 bytes ...").decode()
OTHER = "whsec_" + base64.b64encode(b"another secret, of 32 bytes too.").decode()

both = pytest.mark.parametrize("module", [standard, render], ids=["standard", "render"])


def signed(body: bytes = BODY, secret: str = SECRET, *, now: datetime = NOW, prefix: str = "webhook") -> Inbound:
    return Inbound("std", standard_headers(body, secret, delivery="msg_1", now=now, prefix=prefix), body, NOW)


def changed(request: Inbound, name: str, value: str | None) -> Inbound:
    headers = {key: kept for key, kept in request.headers.items() if key != name}
    return Inbound("std", headers | ({name: value} if value is not None else {}), request.body, NOW)


def refused(request: Inbound, *secrets: str, module: Any = standard) -> None:
    with pytest.raises(Unauthorized, match=f"^{REFUSED}$"):
        module.verify(request, secrets or (SECRET,))


# -- signatures


@both
def test_what_is_signed_verifies_also_while_secrets_rotate(module: Any) -> None:
    for secrets in ([SECRET], [OTHER, SECRET], [SECRET, OTHER], ["", SECRET]):
        module.verify(signed(), secrets)
    for secrets in ([], [""], [OTHER], ["whsec_"], ["whsec_="]):
        with pytest.raises(Unauthorized):
            module.verify(signed(), secrets)


@both
def test_the_headers_that_we_send_verify_now(module: Any) -> None:
    headers = {key.lower(): value for key, value in module.sign(BODY, SECRET, delivery="msg_1").items()}
    module.verify(Inbound("std", headers, BODY, datetime.now(UTC)), [SECRET])


@both
@pytest.mark.parametrize("off", [timedelta(minutes=-5), timedelta(), timedelta(minutes=5)])
def test_a_time_within_five_minutes_is_taken(module: Any, off: timedelta) -> None:
    module.verify(signed(now=NOW + off), [SECRET])


@both
@pytest.mark.parametrize(
    "off", [timedelta(minutes=-5, seconds=-1), timedelta(minutes=5, seconds=1), timedelta(days=99)]
)
def test_an_old_time_or_one_to_come_is_refused(module: Any, off: timedelta) -> None:
    refused(signed(now=NOW + off), module=module)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize(
    "value", [None, "", " ", "x", "msg.1", "é", "\udcff", "-1", "1e9", "9" * 40, "v1,", "v1", ",", "0"]
)
def test_a_missing_empty_or_odd_header_is_refused(name: str, value: str | None) -> None:
    refused(changed(signed(), name, value))


@pytest.mark.parametrize("place", range(0, 44, 6))
def test_a_flipped_byte_is_refused(place: int) -> None:
    good = signed()
    signature = good.headers["webhook-signature"].removeprefix("v1,")
    flipped = signature[:place] + chr(ord(signature[place]) ^ 1) + signature[place + 1 :]
    refused(changed(good, "webhook-signature", f"v1,{flipped}"))
    place %= len(BODY)
    body = BODY[:place] + bytes([BODY[place] ^ 1]) + BODY[place + 1 :]
    refused(Inbound("std", good.headers, body, NOW))


def test_id_and_time_are_signed() -> None:
    refused(changed(signed(), "webhook-id", "msg_2"))
    refused(changed(signed(), "webhook-timestamp", str(int(NOW.timestamp()) + 1)))


def test_a_dot_cannot_move_between_what_is_signed() -> None:
    moved = Inbound("std", standard_headers(b"2." + BODY, SECRET, delivery="msg", now=NOW), BODY, NOW)
    refused(changed(moved, "webhook-timestamp", moved.headers["webhook-timestamp"] + ".2"))
    refused(Inbound("std", standard_headers(BODY, SECRET, delivery="msg.1", now=NOW), BODY, NOW))


def test_of_many_signatures_one_must_fit_and_other_versions_are_passed_over() -> None:
    good = signed().headers["webhook-signature"]
    wrong = "v1," + base64.b64encode(b"x" * 32).decode()
    standard.verify(changed(signed(), "webhook-signature", f"v2,abc {wrong} {good} {wrong}"), [SECRET])
    refused(changed(signed(), "webhook-signature", f"{wrong} {good.replace('v1,', 'v2,')}"))
    refused(changed(signed(), "webhook-signature", f"{wrong} " * 1_000 + good))


def test_a_secret_counts_with_or_without_its_padding_or_prefix() -> None:
    for shape in (SECRET.rstrip("="), SECRET.removeprefix("whsec_")):
        standard.verify(signed(), [shape])
    plain = "a secret that is no base64!"
    standard.verify(signed(secret=plain), [plain])


def test_svix_calls_the_headers_by_its_own_name() -> None:
    request = signed(prefix="svix")
    standard.verify(request, [SECRET])
    assert standard.identify(request).key == "msg_1"
    refused(request, module=render)


KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
PUBLIC = base64.b64encode(KEY.public_key().public_bytes_raw()).decode()


def signed_v1a(body: bytes = BODY) -> Inbound:
    stamp = str(int(NOW.timestamp()))
    signature = base64.b64encode(KEY.sign(b".".join((b"msg_1", stamp.encode(), body)))).decode()
    headers = {"webhook-id": "msg_1", "webhook-timestamp": stamp, "webhook-signature": f"v1a,{signature}"}
    return Inbound("std", headers, body, NOW)


def test_a_public_key_checks_v1a() -> None:
    for key in (f"whpk_{PUBLIC}", f"whpk_{PUBLIC}".rstrip("=")):
        standard.verify(signed_v1a(), [OTHER, key])
    refused(signed_v1a(), SECRET)
    refused(Inbound("std", signed_v1a().headers, BODY + b" ", NOW), f"whpk_{PUBLIC}")


@pytest.mark.parametrize("key", ["whpk_", "whpk_AAAA", "whpk_é", "whpk_" + "A" * 44, PUBLIC, f"whsec_{PUBLIC}"])
def test_what_is_no_public_key_checks_no_v1a(key: str) -> None:
    refused(signed_v1a(), key)


def test_a_public_key_is_never_a_shared_secret() -> None:
    refused(signed(secret=f"whsec_{PUBLIC}"), f"whpk_{PUBLIC}")
    refused(signed(secret=f"whpk_{PUBLIC}"), f"whpk_{PUBLIC}")


@pytest.mark.parametrize("signature", ["", "AAAA", "é", "A" * 88, "=" * 88])
def test_an_odd_v1a_signature_is_refused(signature: str) -> None:
    refused(changed(signed_v1a(), "webhook-signature", f"v1a,{signature}"), f"whpk_{PUBLIC}")


@common.needs_shared
def test_the_published_signatures_are_taken_or_refused_as_they_say() -> None:
    vectors = common.vectors("standard-webhooks")
    assert len(vectors) >= 4
    for vector in vectors:
        at = datetime.fromtimestamp(int(vector["headers"]["webhook-timestamp"]), UTC)
        request = Inbound("std", vector["headers"], vector["body"].encode(), at)
        secret = vector.get("secret") or vector["public_key"]
        if vector["valid"]:
            standard.verify(request, [OTHER, secret])
        else:
            refused(request, secret)
        refused(Inbound("std", vector["headers"], vector["body"].encode(), at + timedelta(minutes=6)), secret)


# -- what they say


@pytest.mark.parametrize(("sender", "name"), BODIES)
def test_each_body_becomes_its_golden_event(sender: str, name: str) -> None:
    thin.becomes_its_golden(SENDERS[sender], name)


@pytest.mark.parametrize("name", SENDERS)
def test_the_page_has_every_word(name: str) -> None:
    table = {word: status.value for word, status in SENDERS[name].module.STATUS.items()}
    assert thin.page_table(name) == table


@both
def test_the_signed_id_is_the_deliverys(module: Any) -> None:
    assert module.identify(signed()).key == "msg_1"
    assert module.identify(changed(signed(), "webhook-id", None)).key.startswith("sha256:")


def test_a_run_with_an_id_is_followed_from_its_begin_to_its_end() -> None:
    run = thin.folded(SENDERS["standard"], "build.running", "build.failed")
    assert (run.state, run.news) == (("failure", 1), [True, True])


def test_what_is_no_run_speaks_each_time() -> None:
    body = SENDERS["standard"].bodies["invoice.paid"].read_bytes()
    events = [standard.normalise(Inbound("std", {"webhook-id": key}, body, NOW)) for key in ("a", "b")]
    assert [event.run.id for event in events if event.run] == ["a", "b"]
    assert "never-read" not in str(events)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ({"type": "deploy.failed", "data": {"id": 1}}, "deployment", "failure"),
        ({"type": "deploy.failed", "data": {}}, "alert", "failure"),
        ({"type": "workflow_run.completed", "data": {"id": 1}}, "pipeline", "unknown"),
        ({"type": "release.created", "data": {"id": 1}}, "release", "unknown"),
        ({"type": "user.created", "data": {"id": 1}}, "alert", "unknown"),
        ({"type": "check.failed", "data": {"id": 1}}, "alert", "failure"),
        ({"type": "x", "data": {"id": 1, "status": "In Progress"}}, "pipeline", "running"),
        ({"type": "x", "data": {"id": 1, "state": "done", "conclusion": "timed-out"}}, "pipeline", "timeout"),
        ({"type": "x", "data": {"id": 1, "status": "paid"}}, "alert", "unknown"),
        ({}, "alert", "unknown"),
        ([1], "alert", "unknown"),
        ("text", "alert", "unknown"),
    ],
)
def test_a_kind_is_read_from_the_type_or_from_an_id_with_a_status(body: object, kind: str, status: str) -> None:
    event = standard.normalise(Inbound("std", {}, json.dumps(body).encode(), NOW))
    assert (event.kind, event.status) == (kind, status)
    assert event.title


@pytest.mark.parametrize(
    ("status", "expected"), [*render.STATUS.items(), ("melted", "unknown"), (None, "unknown"), (7, "unknown")]
)
def test_what_ended_on_render_has_the_status_that_was_sent(status: object, expected: str) -> None:
    event = SENDERS["render"].event_of("deploy_ended.failed", lambda body: body["data"].update(status=status))
    assert event.status == expected
    assert bool(event.description) == (expected == "unknown")


def test_a_server_of_render_that_fails_and_is_there_again_is_one_story() -> None:
    run = thin.folded(SENDERS["render"], "server_failed.service", "server_available.service")
    assert (run.state, run.news) == (("success", 1), [True, True])


# -- hostile input

NEEDED = {"standard": frozenset[str | int](), "render": frozenset[str | int]({"data"})}


@pytest.mark.parametrize(("sender", "name"), BODIES)
def test_a_wrong_value_costs_only_its_field(sender: str, name: str) -> None:
    common.takes_odd_values(SENDERS[sender], name, NEEDED[sender])


@pytest.mark.parametrize("name", SENDERS)
@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(data=st.data())
def test_nothing_but_ingest_errors_leaves_the_source(name: str, data: st.DataObject) -> None:
    common.takes_any_json(SENDERS[name], data)


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(value=common.JSON)
def test_any_json_is_an_event(value: object) -> None:
    try:
        found = standard.normalise(Inbound("std", {}, json.dumps(value).encode(), NOW))
    except Unreadable:
        return
    assert isinstance(found, Event)
