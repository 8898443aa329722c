"""Every answer of the HTTP contract, by name."""

from __future__ import annotations

import asyncio
import base64
from datetime import timedelta
from typing import Any

import pytest

from bridge.errors import StoreUnavailable
from bridge.store.base import Accepted, Condition
from bridge.store.sqlite import SqliteStore
from bridge.verify import shows_token
from tests.http.conftest import Open
from tests.http.wire import NOW, Client, cirrus, github

ROUTES = ("/health/live", "/health/ready", "/metrics", "/webhooks/github")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")


# -- taken -------------------------------------------------------------------------------------------------------------


async def test_an_event_is_accepted_with_202_and_its_id(client: Client) -> None:
    answer = await client.post(github())
    assert answer.status == 202
    assert set(answer.json) == {"id", "status"}
    assert answer.json["status"] == "accepted"
    assert answer.headers["content-type"].startswith("application/json")


async def test_the_id_is_answered_after_the_event_is_in_the_store(client: Client) -> None:
    answer = await client.post(github())
    store = client.bridge._require_store()
    kept = await store.event(answer.json["id"])
    assert kept is not None
    assert kept.body == github()
    assert kept.event is not None
    assert kept.event.repository == "acme/app"


async def test_a_secret_that_is_being_rotated_out_still_holds(client: Client) -> None:
    assert (await client.post(github(), secret="the-one-before-it")).status == 202


@pytest.mark.parametrize("name", ["ping.hook", "create.tag"])
async def test_what_carries_nothing_for_chat_is_ignored_with_a_reason(client: Client, name: str) -> None:
    answer = await client.post(github(name))
    assert answer.status == 200
    assert set(answer.json) == {"status", "reason"}
    assert answer.json["status"] == "ignored"
    assert answer.json["reason"]


async def test_a_signed_body_that_cannot_be_parsed_is_kept_and_answered_202(client: Client) -> None:
    answer = await client.post(b'{"workflow_run": ', X_GitHub_Event="workflow_run")
    assert (answer.status, answer.json["status"]) == (202, "unreadable")
    kept = await client.bridge._require_store().event(answer.json["id"])
    assert kept is not None
    assert (kept.state, kept.body) == ("unreadable", b'{"workflow_run": ')
    assert kept.problem
    shown = (await client.get("/metrics")).body.decode()
    assert 'bridge_events_received_total{source="github",status="unreadable"}' in shown


async def test_a_form_is_read_like_its_json(client: Client) -> None:
    body = b"payload=%7B%22zen%22%3A%22Be%20kind.%22%7D"
    answer = await client.post(body)
    assert (answer.status, answer.json["status"]) == (200, "ignored")


async def test_a_slash_at_the_end_of_the_address_does_no_harm(client: Client) -> None:
    body = github()
    answer = await client.request("POST", "/webhooks/github/", client.signed(body), body)
    assert (answer.status, answer.json["status"]) == (202, "accepted")


# -- seen before -------------------------------------------------------------------------------------------------------


async def test_a_delivery_seen_before_is_a_duplicate_with_the_first_id(client: Client) -> None:
    first = await client.post(github(), delivery="one")
    again = await client.post(github(), delivery="one")
    assert first.status == 202
    assert (again.status, again.json) == (200, {"status": "duplicate", "id": first.json["id"]})


async def test_an_unreadable_delivery_is_a_duplicate_the_second_time(client: Client) -> None:
    first = await client.post(b"[", delivery="one", X_GitHub_Event="push")
    again = await client.post(b"[", delivery="one", X_GitHub_Event="push")
    assert (again.status, again.json) == (200, {"status": "duplicate", "id": first.json["id"]})


async def test_of_twenty_equal_deliveries_at_once_one_is_accepted(client: Client) -> None:
    body = github()
    answers = await asyncio.gather(*(client.post(body, delivery="one") for _ in range(20)))
    said = sorted(answer.json["status"] for answer in answers)
    assert said == ["accepted"] + ["duplicate"] * 19
    assert len({answer.json["id"] for answer in answers}) == 1


# -- Cirrus: no delivery id, and a re-run may send the very bytes of the run before ------------------------------------


class Cirrus:
    """Sends states of one build; `minute` is what X-Cirrus-Timestamp says."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def build(self, status: str, old: str | None, minute: int) -> str:
        return await self._send(_BUILD % (f'"{old}"' if old else "null", status, "{}"), "build", minute)

    async def task(self, number: int, status: str, minute: int) -> str:
        when = _milliseconds(minute)
        task = f'{{"id": {number}, "name": "test", "status": "{status}", "statusTimestamp": {when}, '
        task += f'"creationTimestamp": {_milliseconds(number)}}}'
        return await self._send(_BUILD % ("null", "EXECUTING", task), "task", minute)

    async def _send(self, body: str, event: str, minute: int) -> str:
        headers = {"X_Cirrus_Event": event, "X_Cirrus_Timestamp": str(_milliseconds(minute))}
        answer = await self.client.post(body.encode(), to="cirrus", **headers)
        return str(answer.json["status"])

    async def owed(self) -> int:
        """How many messages are owed so far."""
        return len(await self.client.bridge._require_store().deliveries(limit=1_000))


_BUILD = (
    '{"old_status": %s, "action": "updated", "repository": {"owner": "acme", "name": "app"}, '
    '"build": {"id": 7, "branch": "main", "status": "%s"}, "task": %s}'
)


def _milliseconds(minute: int) -> int:
    return round((NOW - timedelta(hours=2) + timedelta(minutes=minute)).timestamp() * 1000)


@pytest.fixture
def ci(client: Client) -> Cirrus:
    return Cirrus(client)


async def test_cirrus_sending_a_delivery_again_is_a_duplicate(ci: Cirrus) -> None:
    assert await ci.build("COMPLETED", "EXECUTING", 1) == "accepted"
    assert await ci.build("COMPLETED", "EXECUTING", 1) == "duplicate"
    assert await ci.owed() == 1


async def test_cirrus_of_twenty_equal_deliveries_at_once_one_is_accepted(ci: Cirrus) -> None:
    said = await asyncio.gather(*(ci.build("COMPLETED", "EXECUTING", 1) for _ in range(20)))
    assert sorted(said) == ["accepted"] + ["duplicate"] * 19
    assert await ci.owed() == 1


async def test_cirrus_the_same_bytes_after_a_rerun_are_news(ci: Cirrus) -> None:
    assert await ci.build("COMPLETED", "EXECUTING", 1) == "accepted"
    assert await ci.build("EXECUTING", "COMPLETED", 2) == "accepted"
    assert await ci.build("COMPLETED", "EXECUTING", 3) == "accepted"
    assert await ci.owed() == 3


async def test_cirrus_a_second_rerun_with_the_bytes_of_the_first_is_news(ci: Cirrus) -> None:
    for minute in (1, 3, 5):
        assert await ci.build("COMPLETED", "EXECUTING", minute) == "accepted"
        assert await ci.build("EXECUTING", "COMPLETED", minute + 1) == "accepted"


async def test_cirrus_an_exact_replay_at_any_later_point_says_nothing(ci: Cirrus) -> None:
    sent: list[tuple[str, str, int]] = []
    for delivery in (
        ("CREATED", "", 0),
        ("EXECUTING", "CREATED", 1),
        ("COMPLETED", "EXECUTING", 2),
        ("EXECUTING", "COMPLETED", 3),
        ("COMPLETED", "EXECUTING", 4),
        ("EXECUTING", "COMPLETED", 5),
        ("FAILED", "EXECUTING", 6),
    ):
        assert await ci.build(*delivery) == "accepted"
        sent.append(delivery)
        owed = await ci.owed()
        for earlier in sent:
            assert await ci.build(*earlier) == "duplicate", (delivery, earlier)
        assert await ci.owed() == owed


async def test_cirrus_a_replay_of_a_delivery_that_was_a_duplicate_says_nothing_either(ci: Cirrus) -> None:
    await ci.build("COMPLETED", "EXECUTING", 1)
    assert await ci.build("COMPLETED", "EXECUTING", 2) == "duplicate"
    await ci.build("EXECUTING", "COMPLETED", 3)
    assert await ci.build("COMPLETED", "EXECUTING", 2) == "duplicate"
    assert await ci.owed() == 2


async def test_cirrus_a_replay_is_a_duplicate_after_its_run_is_forgotten(ci: Cirrus) -> None:
    await ci.build("COMPLETED", "EXECUTING", 1)
    store = ci.client.bridge._require_store()
    assert isinstance(store, SqliteStore)
    await store._commit.write(lambda db: db.execute("DELETE FROM runs"))
    store._memory.forget()
    assert await ci.build("COMPLETED", "EXECUTING", 1) == "duplicate"


async def test_cirrus_a_forged_newer_time_in_a_state_that_does_not_change_is_a_duplicate(ci: Cirrus) -> None:
    await ci.build("EXECUTING", "CREATED", 1)
    assert await ci.build("EXECUTING", "CREATED", 50) == "duplicate"
    await ci.build("COMPLETED", "EXECUTING", 2)
    assert await ci.build("COMPLETED", "EXECUTING", 51) == "duplicate"
    assert await ci.build("EXECUTING", "CREATED", 52) == "duplicate"
    assert await ci.owed() == 2


async def test_cirrus_a_forged_time_far_ahead_does_not_hold_back_what_follows(ci: Cirrus) -> None:
    await ci.build("COMPLETED", "EXECUTING", 1)
    await ci.build("EXECUTING", "COMPLETED", 2)
    await ci.build("COMPLETED", "EXECUTING", 3)
    await ci.build("EXECUTING", "COMPLETED", 10_000_000)  # the bytes of minute 2 again, dated years ahead
    owed = await ci.owed()
    await ci.build("FAILED", "EXECUTING", 4)
    assert await ci.owed() == owed + 1


async def test_cirrus_where_tasks_are_known_a_replayed_restart_begins_no_attempt(ci: Cirrus) -> None:
    await ci.build("EXECUTING", "CREATED", 1)
    await ci.task(1, "EXECUTING", 2)
    await ci.task(1, "COMPLETED", 3)
    await ci.build("COMPLETED", "EXECUTING", 4)
    assert await ci.build("EXECUTING", "COMPLETED", 5) == "accepted"
    await ci.task(6, "EXECUTING", 6)
    await ci.build("COMPLETED", "EXECUTING", 7)
    owed = await ci.owed()
    assert await ci.build("EXECUTING", "COMPLETED", 5) == "duplicate"
    assert await ci.build("EXECUTING", "COMPLETED", 60) == "duplicate"
    assert await ci.owed() == owed


# -- refused -----------------------------------------------------------------------------------------------------------


WRONG = (
    None,
    "",
    "sha256=",
    "sha256=" + "0" * 64,
    "sha256=" + "0" * 63,
    "SHA256=" + "0" * 64,
    "sha1=" + "0" * 40,
    "sha256=é",
    "sha256=\xff\xfe",
    "x" * 8_000,
    ", ".join(["sha256=" + "0" * 64] * 50),
)


async def test_a_signature_that_is_missing_empty_or_wrong_is_one_401(client: Client) -> None:
    wrong = await client.post(github(), secret="another-secret")
    assert wrong.problem == (401, "signature missing or wrong")
    for signature in WRONG:
        answer = await client.post(github(), X_Hub_Signature_256=signature)
        assert (answer.status, answer.body) == (401, wrong.body), signature


async def test_cirrus_signatures_are_refused_in_the_same_words(client: Client) -> None:
    body, headers = cirrus()
    named = {name.replace("-", "_"): value for name, value in headers.items()}
    for signature in (None, "", "0" * 64, "é"):
        answer = await client.post(body, to="cirrus", **(named | {"X_Cirrus_Signature": signature}))
        assert answer.problem == (401, "signature missing or wrong")


async def test_a_refused_body_is_not_kept(client: Client) -> None:
    await client.post(github(), secret="another-secret")
    assert await client.bridge._require_store().events(limit=10) == []


async def test_an_unknown_source_is_404_signed_or_not(client: Client) -> None:
    body = github()
    for path in ("/webhooks/gitlab", "/webhooks/GitHub", "/webhooks/", "/webhooks", "/webhooks/github/a/b"):
        signed = await client.request("POST", path, client.signed(body), body)
        assert signed.problem[0] == 404
        assert (await client.request("POST", path, {}, body)).body == signed.body


@pytest.mark.parametrize("path", ROUTES)
async def test_each_route_has_its_methods_and_405_with_allow_for_the_others(client: Client, path: str) -> None:
    allowed = {"POST"} if path.startswith("/webhooks") else {"GET", "HEAD"}
    for method in METHODS:
        answer = await client.request(method, path)
        if method in allowed:
            assert answer.status in (200, 415), method
            continue
        assert answer.status == 405, method
        assert set(answer.headers["allow"].split(",")) == allowed
        if method != "HEAD":
            assert answer.problem == (405, "method not allowed")


async def test_a_body_that_never_ends_is_408_in_time(open_bridge: Open) -> None:
    client = await open_bridge(read_within=timedelta(seconds=0.1))
    wire = await client.wire()
    await wire.send(b"POST /webhooks/github HTTP/1.1\r\nHost: b\r\nContent-Type: application/json\r\n")
    await wire.send(b"Content-Length: 1000\r\n\r\n{")
    answer = await wire.answer()
    assert answer is not None
    assert answer.problem[0] == 408
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_413_signed_or_not(open_bridge: Open, chunked: bool) -> None:
    client = await open_bridge(max_body=1_000)
    for size, status in ((1_000, 401), (1_001, 413)):
        if chunked:
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (size, b" " * size)
            head = b"Transfer-Encoding: chunked"
        else:
            body = b" " * size
            head = b"Content-Length: %d" % size
        answer = await client.raw(
            b"POST /webhooks/github HTTP/1.1\r\nHost: b\r\nContent-Type: application/json\r\n%s\r\n\r\n" % head + body
        )
        assert answer is not None
        assert answer.problem[0] == status


async def test_a_length_over_the_limit_is_refused_before_the_body_is_sent(client: Client) -> None:
    head = b"Host: b\r\nContent-Type: application/json\r\nContent-Length: 27262976\r\n\r\n"
    answer = await client.raw(b"POST /webhooks/github HTTP/1.1\r\n" + head)
    assert answer is not None
    assert answer.problem[0] == 413


async def test_a_content_type_that_the_source_never_sends_is_415(client: Client) -> None:
    for given in ("text/plain", "multipart/form-data; boundary=x", "application/json2", "", None, ";", "é"):
        assert (await client.post(github(), Content_Type=given)).problem[0] == 415, given


async def test_cirrus_never_sends_forms(client: Client) -> None:
    answer = await client.post(b"payload=%7B%7D", to="cirrus", Content_Type="application/x-www-form-urlencoded")
    assert answer.problem[0] == 415


async def test_a_content_type_may_be_written_in_any_way(client: Client) -> None:
    for given in ("application/json; charset=utf-8", "Application/JSON", " application/json "):
        assert (await client.post(github(), Content_Type=given)).status == 202, given


async def test_any_content_encoding_is_415(client: Client) -> None:
    for given in ("gzip", "deflate", "br", "zstd", "GZIP", "gzip, identity", "nonsense", "é"):
        assert (await client.post(github(), Content_Encoding=given)).problem[0] == 415, given


async def test_the_identity_encoding_is_none(client: Client) -> None:
    assert (await client.post(github(), Content_Encoding="identity")).status == 202


# -- the store is away -------------------------------------------------------------------------------------------------


class Away(SqliteStore):
    """A store that can make nothing durable."""

    async def accept(self, *_: Any) -> Accepted:
        raise StoreUnavailable("the disk is full: bridge.db")

    async def ready(self) -> None:
        raise StoreUnavailable("the disk is full: bridge.db")


def take_the_store_away(client: Client) -> None:
    client.bridge._require_store().__class__ = Away  # the open store itself, so that it still closes


async def test_an_event_that_cannot_be_kept_is_503_with_retry_after(client: Client) -> None:
    take_the_store_away(client)
    answer = await client.post(github())
    assert answer.problem[0] == 503
    assert int(answer.headers["retry-after"]) > 0
    assert b"disk" not in answer.body
    assert b"bridge.db" not in answer.body


async def test_a_ping_needs_no_store(client: Client) -> None:
    take_the_store_away(client)
    assert (await client.post(github("ping.hook"))).status == 200


async def test_a_wrong_signature_is_401_with_the_store_away(client: Client) -> None:
    take_the_store_away(client)
    assert (await client.post(github(), secret="another-secret")).status == 401


async def test_ready_says_no_while_the_store_takes_no_writes_and_live_says_yes(client: Client) -> None:
    assert (await client.get("/health/ready")).status == 200
    take_the_store_away(client)
    answer = await client.get("/health/ready")
    assert answer.status == 503
    assert b"store" in answer.body
    assert (await client.get("/health/live")).status == 200


async def test_a_chat_that_is_down_is_told_by_number_and_takes_nobody_out_of_service(client: Client) -> None:
    assert (await client.get("/health/ready")).json == {"status": "ready"}
    name = next(iter(client.bridge.config.destinations))
    down = Condition(ok=False, text="the webhook was removed", at=NOW)
    for told in (name, "gone from the configuration"):
        await client.bridge._require_store().report(told, down)
    answer = await client.get("/health/ready")
    assert (answer.status, answer.json) == (200, {"status": "ready", "destinations_down": 1})


# -- the page ----------------------------------------------------------------------------------------------------------


async def test_without_a_token_there_is_no_page(client: Client) -> None:
    for path in ("/", "/live", "/login", "/logout", "/static/style.css"):
        assert (await client.get(path)).problem[0] == 404
        assert (await client.request("POST", path)).problem[0] == 404


async def test_with_a_token_the_page_asks_for_it(open_bridge: Open) -> None:
    client = await open_bridge(token="the-token-of-the-admin")
    assert (await client.get("/")).status == 401
    assert (await client.get("/", Authorization="Bearer the-token-of-the-admin")).status == 200


async def test_answers_do_not_name_the_software_below(client: Client) -> None:
    for answer in (await client.get("/health/live"), await client.get("/no"), await client.raw(b"no http\r\n\r\n")):
        assert answer is not None
        assert answer.headers["server"] == "bridge"


# -- tokens ------------------------------------------------------------------------------------------------------------

SHOWN = (
    {"x-sender-token": "right"},
    {"authorization": "Bearer right"},
    {"authorization": "bearer  right"},
    {"authorization": "Basic " + base64.b64encode(b"anybody:right").decode()},
)
NOT_SHOWN = (
    {},
    {"x-sender-token": ""},
    {"x-sender-token": "wrong"},
    {"x-other-token": "right"},
    {"x-sender-token": "right\udcff"},
    {"authorization": "right"},
    {"authorization": "Basic right"},
    {"authorization": "Basic " + base64.b64encode(b"right").decode()},
    {"authorization": "Basic " + base64.b64encode(b"right:").decode()},
)


@pytest.mark.parametrize("headers", SHOWN)
def test_a_token_is_taken_where_a_sender_can_send_it(headers: dict[str, str]) -> None:
    assert shows_token(headers, None, ["old", "right"], ["x-sender-token"])


@pytest.mark.parametrize("headers", NOT_SHOWN)
def test_nothing_else_is_a_token(headers: dict[str, str]) -> None:
    assert not shows_token(headers, None, ["right"], ["x-sender-token"])


def test_a_token_may_end_the_path_and_an_empty_one_fits_nothing() -> None:
    assert shows_token({}, "right", ["right"])
    assert not shows_token({}, "wrong", ["right"])
    assert not shows_token({"authorization": "Basic " + base64.b64encode(b"x:").decode()}, "", [""], [])


async def test_a_path_with_a_token_is_the_source_with_that_token(client: Client) -> None:
    answer = await client.post(github(), to="github/right")
    assert answer.status == 202, "the signature counts: this source has no token"
    answer = await client.post(github(), to="github/right", X_Hub_Signature_256="sha256=00")
    assert answer.status == 401
