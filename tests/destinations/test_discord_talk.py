"""Discord through a socket: a good day, each of the bad ones, and what every answer means."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import ValidationError

from bridge.config import load
from bridge.destinations import discord
from bridge.destinations.base import Health
from bridge.errors import Dead, DeliveryError, Gone, RateLimited, Rejected, Transient, Unsure
from bridge.message import Button, Message, Paragraph, Span
from bridge.units import Rate
from tests.fakes.discord import (
    TOKEN,
    FakeDiscord,
    Fault,
    accepted_then_connection_lost,
    error,
    lost_before_accept,
    ratelimited,
    redirect,
    slow,
    status,
)
from tests.fakes.slack import FakeSlack
from tests.test_story import run, running

MESSAGE = Message(
    title=(Span("CI broke on main", bold=True),),
    body=(Paragraph((Span("octocat"),)),),
    buttons=(Button("Open run", "https://ci.example.com/1"),),
    mentions=("80351110224678912",),
)
FIXED = Message(title=(Span("CI is fixed"),))
THREAD = "1090000000000000002"


@pytest.fixture
async def fake() -> AsyncIterator[FakeDiscord]:
    async with FakeDiscord() as fake:
        yield fake
        assert fake.invalid == []


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def made(url: str, session: aiohttp.ClientSession, **more: Any) -> discord.Webhook:
    return discord.open("oncall", discord.Options.model_validate({"url": url, "timeout": "1s"} | more), session)


@pytest.fixture
def webhook(fake: FakeDiscord, session: aiohttp.ClientSession) -> discord.Webhook:
    return made(fake.url, session)


async def post(place: discord.Webhook) -> dict[str, str]:
    return await place.send(MESSAGE, channel=None, thread=None)


def titles(fake: FakeDiscord) -> list[list[str]]:
    return [[one["embeds"][0]["title"] for one in posted.history] for posted in fake.messages.values()]


# -- a good day


async def test_a_post_waits_and_answers_where_it_is(fake: FakeDiscord, webhook: discord.Webhook) -> None:
    assert await post(webhook) == {"id": "2000"}
    (call,) = fake.calls
    assert (call.method, call.query) == ("POST", {"wait": "true", "with_components": "true"})
    assert fake.messages["2000"].body["components"]


async def test_an_edit_replaces_the_message_and_clears_what_is_no_more(
    fake: FakeDiscord, webhook: discord.Webhook
) -> None:
    receipt = await post(webhook)
    assert await webhook.edit(FIXED, receipt) == receipt
    assert titles(fake) == [["CI broke on main", "CI is fixed"]]
    now = fake.messages["2000"].body
    assert (now["content"], now["components"]) == ("", [])
    assert "description" not in now["embeds"][0]


async def test_every_post_and_every_edit_names_whom_it_may_call(fake: FakeDiscord, webhook: discord.Webhook) -> None:
    await webhook.edit(FIXED, await post(webhook))
    assert [call.body["allowed_mentions"] for call in fake.calls] == [
        {"parse": [], "users": ["80351110224678912"], "roles": []},
        {"parse": [], "users": [], "roles": []},
    ]


async def test_an_edit_does_not_try_to_change_the_name(fake: FakeDiscord, webhook: discord.Webhook) -> None:
    own = Message(title=(), native={"content": "x", "username": "y", "avatar_url": "https://x.example/y.png"})
    await webhook.edit(own, await webhook.send(own, channel=None, thread=None))
    assert ["username" in call.body for call in fake.calls] == [True, False]


async def test_a_thread_is_kept_in_the_receipt(fake: FakeDiscord, session: aiohttp.ClientSession) -> None:
    fake.threads.add(THREAD)
    receipt = await post(made(fake.url, session, thread_id=THREAD))
    assert receipt == {"id": "2000", "thread_id": THREAD}
    # The configuration may have changed since; the message is where it was.
    await made(fake.url, session).edit(FIXED, receipt)
    assert [call.query.get("thread_id") for call in fake.calls] == [THREAD, THREAD]


async def test_a_thread_that_is_not_there_is_dead(fake: FakeDiscord, session: aiohttp.ClientSession) -> None:
    with pytest.raises(Dead, match="look at thread_id"):
        await post(made(fake.url, session, thread_id=THREAD))


async def test_check_asks_without_posting(fake: FakeDiscord, webhook: discord.Webhook) -> None:
    assert await webhook.check() == Health(True, "webhook bridge, channel 7")
    assert [call.method for call in fake.calls] == ["GET"]


async def test_check_says_what_to_do(fake: FakeDiscord, session: aiohttp.ClientSession) -> None:
    wrong = await made(fake.url + "x", session).check()
    assert (wrong.ok, wrong.text) == (
        False,
        "discord says 50027: the webhook's address is wrong, copy it again from Server Settings, Integrations",
    )
    fake.faults += [status(200), status(502)]
    webhook = made(fake.url, session)
    assert await webhook.check() == Health(False, "the answer (HTTP 200) is not one of discord's")
    assert await webhook.check() == Health(False, "discord answers HTTP 502")


# -- bad days

JSON = {"Content-Type": "application/json"}
FAULTS: list[tuple[Fault, type[DeliveryError]]] = [
    (ratelimited(0.25), RateLimited),
    (status(429), RateLimited),
    (error(404, 10015), Dead),
    (error(400, 50035, errors={"embeds": {"0": {}}}), Rejected),
    (status(500), Transient),
    (status(502), Transient),
    (status(403), Transient),
    (status(404), Transient),
    (status(200), Unsure),
    (Fault("answer", body="[1]", headers=JSON), Unsure),
    (Fault("answer", body='{"id": 1}', headers=JSON), Unsure),
    (Fault("answer", body="{", headers=JSON), Unsure),
    (Fault("answer", body="[" * 200_000, headers=JSON), Unsure),
    (Fault("answer", body='{"id": "' + "x" * 400_000 + '"}', headers=JSON), Unsure),
    (Fault("answer", body="\xff", status=500, headers={"Content-Type": "text/html; charset=no-such"}), Transient),
    (redirect("/elsewhere"), Transient),
    (lost_before_accept(), Unsure),
    (accepted_then_connection_lost(), Unsure),
]


@pytest.mark.parametrize(("fault", "kind"), FAULTS)
async def test_every_failure_has_its_class(
    fake: FakeDiscord, webhook: discord.Webhook, fault: Fault, kind: type[DeliveryError]
) -> None:
    fake.faults.append(fault)
    with pytest.raises(DeliveryError) as caught:
        await post(webhook)
    assert type(caught.value) is kind
    assert len(fake.calls) == 1  # asked once: only our queue repeats


async def test_a_slow_answer_is_unsure(fake: FakeDiscord, session: aiohttp.ClientSession) -> None:
    enough = asyncio.Event()
    fake.faults.append(slow(enough))
    with pytest.raises(Unsure, match=r"within 0\.05 s"):
        await post(made(fake.url, session, timeout="50ms"))
    enough.set()


async def test_an_answer_without_end_is_given_up(session: aiohttp.ClientSession) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(b"10000\r\n" + b" " * 65_536 + b"\r\n")
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/webhooks/1/x"
        with pytest.raises(Unsure, match="not one of discord's"):
            await post(made(url, session, timeout="5s"))


async def test_nobody_there_is_transient(session: aiohttp.ClientSession) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/webhooks/1/x"
        with pytest.raises(Transient, match="no connection to discord"):
            await post(made(url, session))


async def test_a_closed_session_is_transient(fake: FakeDiscord) -> None:
    session = aiohttp.ClientSession()
    await session.close()
    with pytest.raises(Transient, match="shutting down"):
        await post(made(fake.url, session))


async def test_a_deleted_message_is_gone(fake: FakeDiscord, webhook: discord.Webhook) -> None:
    receipt = await post(webhook)
    fake.messages.clear()
    with pytest.raises(Gone, match="deleted"):
        await webhook.edit(FIXED, receipt)


@pytest.mark.parametrize("receipt", [{}, {"id": ""}, {"id": "../../x"}, {"id": "1700000000.1", "channel": "C1"}])
async def test_without_a_message_s_id_there_is_nothing_to_edit(
    fake: FakeDiscord, webhook: discord.Webhook, receipt: dict[str, str]
) -> None:
    with pytest.raises(Gone):
        await webhook.edit(FIXED, receipt)
    assert fake.calls == []


async def test_a_limit_holds_for_the_webhook_or_for_all(fake: FakeDiscord, webhook: discord.Webhook) -> None:
    fake.faults += [ratelimited(0.25), ratelimited(64.57, everywhere=True)]
    (bucket,) = webhook.buckets(edit=False, channel=None)
    for after, key in ((0.25, bucket.key), (64.57, None)):
        with pytest.raises(RateLimited) as caught:
            await post(webhook)
        assert (caught.value.after, caught.value.bucket) == (after, key)


@pytest.mark.parametrize("fault", [fault for fault, _ in FAULTS])
async def test_no_error_and_no_log_tells_the_address(
    fake: FakeDiscord, session: aiohttp.ClientSession, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    webhook = made(fake.url, session)
    fake.faults.append(fault)
    with pytest.raises(DeliveryError) as caught:
        await post(webhook)
    told = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(webhook._options)
    assert TOKEN not in told
    assert "/api/webhooks/" not in told


def test_posts_and_edits_share_the_channel_s_rate() -> None:
    session: Any = None
    url = "https://discord.com/api/webhooks/1/made-up"
    place = made(url, session)
    (bucket,) = place.buckets(edit=False, channel=None)
    assert place.buckets(edit=True, channel=None) == (bucket,)
    assert (bucket.rate, bucket.burst) == (Rate(0.5), 5)
    assert "made-up" not in bucket.key
    assert made(url, session, rate="1/s").buckets(edit=True, channel=None)[0].rate == Rate(1)
    assert made(url + "2", session).buckets(edit=True, channel=None)[0].key != bucket.key


# -- what an answer means


@pytest.mark.parametrize(
    ("kind", "codes"),
    [
        (Dead, {10003, 10015, 50001, 50008, 50013, 50024, 50027, 50083, 160005, 220001}),
        (Gone, {10008, 30046, 50005}),
        (Rejected, {20009, 40005, 50006, 50035, 50109, 240000}),
        (Transient, {20016, 20028, 20029, 40062, 40333, 130000}),
    ],
)
def test_every_code_has_its_class(kind: type[DeliveryError], codes: set[int]) -> None:
    for code in codes:
        for http in (400, 403, 404):
            judged = discord.judge(http, {}, {"code": code, "message": "x"})
            assert type(judged) is kind
            assert str(code) in str(judged)
    assert {code for code, (known, _) in discord._CODES.items() if known is kind} == codes


@pytest.mark.parametrize(
    ("http", "answer", "kind"),
    [
        (404, {"code": 0, "message": "404: Not Found"}, Dead),
        (401, {"code": 0, "message": "401: Unauthorized"}, Dead),
        (403, {"code": 99_999}, Dead),
        (400, {"code": 99_999}, Rejected),
        (413, None, Rejected),
        (405, {"code": 0}, Transient),
        (400, None, Transient),
        (500, {"code": 10015}, Transient),
        (503, {"code": 130000}, Transient),
        (204, None, Unsure),
        (429, {"code": 20028, "retry_after": 2}, RateLimited),
    ],
)
def test_the_status_speaks_where_no_code_does(http: int, answer: Any, kind: type[DeliveryError]) -> None:
    assert type(discord.judge(http, {}, answer)) is kind


def test_good_is_a_message() -> None:
    assert discord.judge(200, {}, {"id": "1"}) is None


@pytest.mark.parametrize(
    ("body", "header", "after"),
    [
        ({"retry_after": 64.57}, "65", 64.57),
        ({"retry_after": 0}, None, 0.1),
        ({"retry_after": 10**9}, None, 3_600),
        ({"retry_after": "1.5"}, None, 1.5),
        ({"retry_after": True}, "2", 2),
        ({"retry_after": None}, "0.5", 0.5),
        ({}, "soon", 30),
        (None, "nan", 30),
        (None, None, 30),
    ],
)
def test_how_long_to_wait(body: Any, header: str | None, after: float) -> None:
    judged = discord.judge(429, {"Retry-After": header} if header else {}, body)
    assert isinstance(judged, RateLimited)
    assert judged.after == after


def test_a_refusal_says_which_field_and_none_of_our_words() -> None:
    errors = {
        "embeds": {
            "0": {"title": {"_errors": [{"code": "BASE_TYPE_MAX_LENGTH", "message": "secret words"}]}},
            "our words": {"_errors": [{"code": "X"}]},
        },
        "_errors": [{"code": "secret words"}, 7],
    }
    judged = discord.judge(400, {}, {"code": 50035, "errors": errors})
    assert str(judged) == "discord refuses the message (50035): a field is wrong (embeds.0.title: BASE_TYPE_MAX_LENGTH)"


# -- options

GOOD = "https://discord.com/api/webhooks/1090000000000000001/made-up_Secret"


@pytest.mark.parametrize(
    "url",
    [
        GOOD,
        f" {GOOD}/ ",
        GOOD.replace("api/", "api/v10/"),
        GOOD.replace("discord.com", "canary.discord.com"),
        GOOD.replace("discord.com", "proxy.example:8443/discord"),
        GOOD.replace("https://discord.com", "http://127.0.0.1:9"),
        GOOD.replace("https://discord.com", "http://localhost:9"),
        GOOD.replace("https://discord.com", "http://[::1]:9"),
    ],
)
def test_addresses_that_are_taken(url: str) -> None:
    assert discord.Options.model_validate({"url": url}).url.get_secret_value() == url.strip().rstrip("/")


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("", "url is no address, copy it"),
        ("discord.com/api/webhooks/1/made-up_Secret", "url is no address, copy it"),
        ("https://discord.com/channels/1/made-up_Secret", "url is no webhook of Discord, copy it"),
        ("https://discord.com/api/webhooks/x/made-up_Secret", "url is no webhook of Discord, copy it"),
        (GOOD + "/slack", "leave that out: bridge speaks Discord's own form"),
        (GOOD + "?thread_id=1", "thread_id is a key of its own"),
        (GOOD.replace("https", "http"), "use https://"),
        (GOOD.replace("https://discord.com", "http://127.0.0.1@discord.com"), "use https://"),
        (GOOD.replace("https://discord.com", "http://127.0.0.1.discord.com"), "use https://"),
        ("http://[/webhooks/1/made-up_Secret", "url is no address"),
    ],
)
def test_addresses_that_are_refused_say_why_and_not_themselves(url: str, text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        discord.Options.model_validate({"url": url})
    assert text in str(caught.value)
    assert "made-up_Secret" not in str(caught.value)


@pytest.mark.parametrize("thread", ["x", "", "0", "١", "1" * 30, "1 2"])
def test_a_thread_is_a_number(thread: str) -> None:
    with pytest.raises(ValidationError, match="Copy Thread ID"):
        discord.Options.model_validate({"url": GOOD, "thread_id": thread})


def test_there_is_no_destination_without_an_address() -> None:
    with pytest.raises(ValidationError, match="url"):
        discord.Options.model_validate({})


# -- the page

PAGE = (Path(__file__).parents[2] / "docs/destinations/discord.md").read_text("utf-8")


@pytest.mark.parametrize("example", re.findall(r"(?s)```yaml\n(.*?)```", PAGE))
def test_the_page_s_examples_are_right(tmp_path: Path, example: str) -> None:
    (tmp_path / "config.yaml").write_text(example)
    load(str(tmp_path / "config.yaml"), {"DISCORD_WEBHOOK_URL": GOOD})


def test_the_page_says_what_becomes_of_every_code() -> None:
    assert [code for code in discord._CODES if f"`{code}`" not in PAGE] == []


# -- the whole way

CONFIG = """
version: 1
sources: {github: {type: github, secret: "${GITHUB_SECRET}"}}
destinations: {oncall: {type: discord, url: "${SLACK_API}"}}
rules: [{name: every run, to: oncall, live: true}]
"""


async def test_a_run_is_one_message_edited_to_its_end(tmp_path: Path, fake: FakeDiscord) -> None:
    text = CONFIG.replace("${SLACK_API}", fake.url)
    async with FakeSlack() as nobody, running(tmp_path, nobody, text) as send:
        for number, body in enumerate((run("queued"), run("in_progress"), run("completed", "success")), 1):
            assert (await send("github", body))[0] == 202
            await fake.until(lambda wanted=number: len(fake.calls) == wanted)
    assert [call.method for call in fake.calls] == ["POST", "PATCH", "PATCH"]
    ((first, _, last),) = titles(fake)
    assert "is queued" in first
    assert "passed" in last
