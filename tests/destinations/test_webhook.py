"""A webhook of one's own: what is signed, what an id stands for, what each answer means, and what CDEvents are told."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from bridge.cli.config import schema
from bridge.destinations import webhook
from bridge.errors import Dead, DeliveryError, Gone, RateLimited, Rejected, Transient, Unsure
from bridge.event import Change, Event, Inbound, Kind, RunRef, Status
from bridge.message import Message, Paragraph, Span
from bridge.render import plain
from bridge.render.samples import NOW, full, views
from bridge.sources import cdevents as cdevents_source
from bridge.sources import standard as standard_source
from tests.fakes import webhook_validator
from tests.fakes.base import Fault, accepted_then_connection_lost, redirect, status
from tests.fakes.webhook import SECRET, FakeWebhook, answers

BROKEN = plain(full(Kind.PIPELINE, Status.FAILURE, Change.BROKEN))


def options(**more: Any) -> webhook.Options:
    return webhook.Options.model_validate({"url": "https://ci.example.com/in", "secret": SECRET} | more)


def told(event: Event, **more: Any) -> dict[str, Any]:
    return webhook.payload(Message(title=(Span("x"),), event=event), options(**more))


@pytest.fixture
async def fake() -> AsyncIterator[FakeWebhook]:
    async with FakeWebhook() as fake:
        yield fake


@pytest.fixture
async def place(fake: FakeWebhook) -> AsyncIterator[webhook.Webhook]:
    async with aiohttp.ClientSession() as session:
        yield webhook.open("mine", options(url=fake.url, timeout="1s"), session)


async def send(place: webhook.Webhook, message: Message = BROKEN, key: str | None = "d1") -> str:
    return (await place.send(message, channel=None, thread=None, key=key))["id"]


# -- what is sent


async def test_the_reference_library_takes_the_signature(fake: FakeWebhook, place: webhook.Webhook) -> None:
    await send(place)
    (posted,) = fake.messages.values()
    assert fake.invalid == []
    assert posted.body["data"]["change"] == "broken"
    assert fake.calls[0].headers["Content-Type"] == "application/json"


async def test_a_message_has_one_id_however_often_it_is_sent(fake: FakeWebhook, place: webhook.Webhook) -> None:
    fake.faults += [accepted_then_connection_lost(), status(502)]
    for kind in (Unsure, Transient):
        with pytest.raises(kind):
            await send(place)
    await send(place)
    assert len({call.headers["webhook-id"] for call in fake.calls}) == 1
    assert len(fake.messages) == 1


async def test_two_messages_have_two_ids(place: webhook.Webhook) -> None:
    fixed = plain(full(Kind.PIPELINE, Status.SUCCESS, Change.FIXED))
    ids = [await send(place), await send(place, key="d2"), await send(place, fixed)]
    assert len(set(ids)) == 3, "of another delivery, or of another state"
    assert all("." not in one for one in ids), "a dot parts what is signed"


async def test_a_message_keeps_its_id_while_its_run_goes_on(place: webhook.Webhook) -> None:
    event = BROKEN.event
    assert event is not None
    assert await send(place) == await send(place, Message(title=(), event=event.with_(received_at=None, tasks=())))


async def test_words_without_an_event_are_a_message(fake: FakeWebhook, place: webhook.Webhook) -> None:
    words = Message(title=(Span("Hello"),), body=(Paragraph((Span("from bridge"),)),), mentions=("octocat",))
    assert await send(place, words, key=None) != await send(place, words, key=None)
    (posted, _) = fake.messages.values()
    assert posted.body == {
        "type": "message",
        "timestamp": None,
        "data": {"text": "Hello\nfrom bridge", "mentions": ["octocat"]},
    }


def test_bridge_prints_the_published_schema() -> None:
    printed = CliRunner().invoke(schema, ["event"]).output
    assert printed == resources.files("bridge").joinpath("event.schema.json").read_text("utf-8")
    known = json.loads(printed)["properties"]["data"]["properties"]
    assert known.keys() == told(full(Kind.DIGEST, Status.UNKNOWN, None).event)["data"].keys()
    assert known.keys() - {"digest"} == told(full(Kind.PIPELINE, Status.FAILURE, None).event)["data"].keys()
    assert all("description" in one for one in known.values())


def test_every_event_fits_the_schema_and_a_bridge_reads_it_again() -> None:
    for view in views():
        body = webhook.payload(plain(view), options())
        webhook_validator.check(body)
        read = standard_source.normalise(_inbound(body))
        event = view.event
        assert read.repository == event.repository
        if event.kind in (Kind.PIPELINE, Kind.DEPLOYMENT) and event.id:
            assert (read.kind, read.status, read.sha) == (event.kind, event.status, event.sha)


def test_bridge_takes_the_signature_that_it_gives() -> None:
    body = json.dumps(told(full(Kind.PIPELINE, Status.FAILURE, None).event)).encode()
    headers = standard_source.sign(body, SECRET, delivery="msg_1")
    at = datetime.now(UTC)
    standard_source.verify(Inbound(source="up", headers=headers, body=body, received_at=at), [SECRET])


def test_a_body_stays_below_the_limit_and_keeps_what_matters() -> None:
    view = full(Kind.PIPELINE, Status.FAILURE, Change.BROKEN)
    long = "🎉\n" * 5_000
    event = view.event.with_(
        tasks=tuple(view.tasks[0].with_(id=str(n), name=long) for n in range(900)),
        labels=(long,) * 900,
        facts=((long, long),) * 900,
        **dict.fromkeys(("title", "author", "branch", "environment", "description", "pipeline", "trigger"), long),
    )
    for form in ("event", "cdevents"):
        body = told(event, format=form)
        webhook_validator.check(body)
        assert "acme/app" in json.dumps(body)


# -- CDEvents


def _inbound(body: dict[str, Any]) -> Inbound:
    return Inbound(source="up", headers={}, body=json.dumps(body).encode(), received_at=NOW)


def test_every_event_is_a_cdevent() -> None:
    for view in views():
        webhook_validator.check(webhook.payload(plain(view), options(format="cdevents")))
    webhook_validator.check(webhook.payload(Message(title=()), options(format="cdevents")))


def test_the_schemas_of_cdevents_are_asked() -> None:
    if not webhook_validator.CDEVENTS.exists():
        pytest.skip("no ../shared")
    body = told(full(Kind.PIPELINE, Status.FAILURE, None).event, format="cdevents")
    body["data"]["subject"]["content"]["outcome"] = "failed"
    with pytest.raises(webhook_validator.Invalid):
        webhook_validator.check(body)


@pytest.mark.parametrize(
    ("kind", "status", "type_"),
    [
        (Kind.PIPELINE, Status.QUEUED, "dev.cdevents.pipelinerun.queued.0.3.0"),
        (Kind.PIPELINE, Status.RUNNING, "dev.cdevents.pipelinerun.started.0.3.0"),
        (Kind.PIPELINE, Status.CANCELLED, "dev.cdevents.pipelinerun.finished.0.3.0"),
        (Kind.PIPELINE, Status.WAITING, "dev.cdeventsx.bridge-pipeline.waiting.0.1.0"),
        (Kind.PIPELINE, Status.UNKNOWN, "dev.cdeventsx.bridge-pipeline.unknown.0.1.0"),
        (Kind.TASK, Status.RUNNING, "dev.cdevents.taskrun.started.0.3.0"),
        (Kind.TASK, Status.QUEUED, "dev.cdeventsx.bridge-task.queued.0.1.0"),
        (Kind.TASK, Status.TIMEOUT, "dev.cdevents.taskrun.finished.0.3.0"),
        (Kind.DEPLOYMENT, Status.SUCCESS, "dev.cdevents.service.deployed.0.3.0"),
        (Kind.DEPLOYMENT, Status.FAILURE, "dev.cdeventsx.bridge-deployment.failure.0.1.0"),
        (Kind.CHANGE_REQUEST, Status.UNKNOWN, "dev.cdeventsx.bridge-changerequest.unknown.0.1.0"),
    ],
)
def test_what_cdevents_has_no_word_for_is_an_event_of_ours(kind: Kind, status: Status, type_: str) -> None:
    assert told(full(kind, status, None).event, format="cdevents")["type"] == type_


def test_a_cdevent_looks_like_this() -> None:
    body = told(full(Kind.PIPELINE, Status.FAILURE, Change.BROKEN).event, format="cdevents")
    kept = Path(__file__).parent / "webhook" / "cdevents.json"
    assert {**body["data"], "customData": "the event"} == json.loads(kept.read_text("utf-8"))
    assert body["data"]["customData"]["change"] == "broken"


@pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING, Status.SUCCESS, Status.FAILURE, Status.ERROR])
def test_a_bridge_reads_the_run_again(status: Status) -> None:
    event = full(Kind.PIPELINE, status, None).event
    read = cdevents_source.normalise(_inbound(told(event, format="cdevents")))
    assert isinstance(read, Event)
    assert (read.kind, read.status, read.pipeline) == (event.kind, status, "CI")
    assert (read.repository, read.sha, read.url) == (event.repository, event.sha, event.url)


def test_a_run_that_is_run_again_is_another_subject() -> None:
    first, again = (
        told(Event(source="s", type="github", kind=Kind.PIPELINE, run=RunRef(id="41", attempt=n)), format="cdevents")
        for n in (1, 2)
    )
    assert (first["subject"], again["subject"]) == ("41", "41/2")


async def test_a_cdevent_says_what_it_is(fake: FakeWebhook) -> None:
    async with aiohttp.ClientSession() as session:
        place = webhook.open("mine", options(url=fake.url, format="cdevents"), session)
        await send(place)
    assert fake.calls[0].headers["Content-Type"] == "application/cloudevents+json"
    assert fake.invalid == []


# -- what an answer means


@pytest.mark.parametrize(
    ("code", "headers", "kind"),
    [
        (200, {}, None),
        (202, {}, None),
        (204, {}, None),
        (301, {}, Transient),
        (400, {}, Rejected),
        (401, {}, Dead),
        (403, {}, Dead),
        (404, {}, Transient),
        (405, {}, Transient),
        (408, {}, Transient),
        (410, {}, Dead),
        (413, {}, Rejected),
        (415, {}, Rejected),
        (422, {}, Rejected),
        (429, {}, RateLimited),
        (500, {}, Transient),
        (502, {}, Transient),
        (503, {}, Transient),
        (503, {"Retry-After": "7"}, RateLimited),
        (504, {}, Transient),
    ],
)
def test_each_status_means_one_thing(code: int, headers: dict[str, str], kind: type[DeliveryError] | None) -> None:
    found = webhook.judge(code, headers)
    assert type(found) is (kind or type(None))
    assert kind is None or str(code) in str(found) or kind is RateLimited


def test_it_waits_as_long_as_it_is_asked() -> None:
    found = webhook.judge(429, {"Retry-After": "7"})
    assert isinstance(found, RateLimited)
    assert found.after == 7


async def test_a_redirect_is_not_followed(fake: FakeWebhook, place: webhook.Webhook) -> None:
    fake.faults.append(redirect())
    with pytest.raises(Transient, match="redirects"):
        await send(place)
    assert len(fake.calls) == 1


async def test_nothing_can_be_edited(place: webhook.Webhook) -> None:
    with pytest.raises(Gone):
        await place.edit(BROKEN, {"id": "msg_1"})


async def test_no_word_has_the_address_or_the_secret_in_it(fake: FakeWebhook, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    faults = [answers(code) for code in (301, 400, 401, 404, 410, 429, 500)]
    async with aiohttp.ClientSession() as session:
        made = options(url=f"{fake.base}/hooks/very-secret", timeout="1s")
        place = webhook.open("mine", made, session)
        fake.faults += [*faults, accepted_then_connection_lost()]
        said = []
        for _ in range(len(faults) + 1):
            with pytest.raises(DeliveryError) as error:
                await send(place)
            said.append(str(error.value))
    whole = "\n".join([*said, repr(made), caplog.text])
    assert "very-secret" not in whole
    assert SECRET.removeprefix("whsec_") not in whole


def test_destinations_of_one_address_share_its_limit() -> None:
    def key(url: str) -> str:
        return webhook.open("x", options(url=url), None).buckets(edit=False, channel=None)[0].key  # type: ignore[arg-type]

    assert key("https://a.example/1") == key("https://a.example/1") != key("https://a.example/2")
    assert "a.example" not in key("https://a.example/1")


# -- asked without a message


@pytest.mark.parametrize(
    ("fault", "ok", "words"),
    [
        (None, None, "only a message shows"),
        (answers(410), False, "gone"),
        (redirect(), False, "redirects"),
        (status(502), None, "HTTP 502"),
    ],
)
async def test_check_asks_for_nothing(
    fake: FakeWebhook, place: webhook.Webhook, fault: Fault | None, ok: bool | None, words: str
) -> None:
    fake.faults += [fault] if fault else []
    health = await place.check()
    assert (health.ok, words in health.text) == (ok, True)
    assert [call.method for call in fake.calls] == ["HEAD"]


async def test_check_says_that_nobody_is_there(fake: FakeWebhook, place: webhook.Webhook) -> None:
    await fake.stop()
    health = await place.check()
    assert health.ok is False
    assert "no connection" in health.text


# -- options


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"url": "ci.example.com"}, "is no address"),
        ({"url": "ftp://ci.example.com"}, "is no address"),
        ({"url": "https://me:hunter2@ci.example.com/"}, "leave that out"),
        ({"secret": "hunter2"}, "does not begin with whsec_"),
        ({"secret": "whsec_hunter2!"}, "is no base64"),
        ({"secret": "whsec_aHVudGVyMg=="}, "is 7 bytes"),
        ({"format": "xml"}, "'event' or 'cdevents'"),
    ],
)
def test_what_is_wrong_is_said_without_the_value(given: dict[str, str], words: str) -> None:
    with pytest.raises(ValidationError) as error:
        options(**given)
    assert words in str(error.value)
    assert "hunter2" not in str(error.value)


def test_a_secret_may_come_without_its_padding() -> None:
    assert options(secret=SECRET.rstrip("=")).secret.get_secret_value() == SECRET.rstrip("=")
