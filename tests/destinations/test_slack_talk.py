"""Slack through slack_sdk and a socket: a good day, and each of the bad ones."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from pydantic import ValidationError

from bridge.destinations import slack
from bridge.destinations.base import Health
from bridge.errors import Dead, DeliveryError, Gone, RateLimited, Rejected, Transient, Unsure
from bridge.message import Message, Span
from bridge.units import Rate
from tests.fakes.slack import (
    TOKEN,
    WEBHOOK_PATH,
    FakeSlack,
    Fault,
    accepted_then_connection_lost,
    error,
    lost_before_accept,
    ratelimited,
    redirect,
    slow,
    status,
    text_plain,
)

MESSAGE = Message(title=(Span("CI broke on main", bold=True),))
FIXED = Message(title=(Span("CI is fixed"),))


@pytest.fixture
async def fake() -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as fake:
        yield fake
        assert fake.invalid == []


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def bot(fake: FakeSlack, session: aiohttp.ClientSession) -> slack.Bot:
    made = slack.open("builds", bot_options(fake), session)
    assert isinstance(made, slack.Bot)
    return made


@pytest.fixture
def webhook(fake: FakeSlack, session: aiohttp.ClientSession) -> slack.Webhook:
    made = slack.open("legacy", slack.Options(url=fake.webhook_url, timeout="1s"), session)
    assert isinstance(made, slack.Webhook)
    return made


def bot_options(fake: FakeSlack, **more: Any) -> slack.Options:
    return slack.Options(**{"token": fake.token, "channel": "#builds", "api_url": fake.api_url, "timeout": "1s"} | more)


async def post(place: slack.Bot | slack.Webhook) -> dict[str, str]:
    return await place.send(MESSAGE, channel=None, thread=None)


# -- a good day


async def test_a_post_answers_where_it_is(fake: FakeSlack, bot: slack.Bot) -> None:
    receipt = await post(bot)
    assert receipt == {"channel": "CBUILDS", "ts": "1700000000.000000"}
    (call,) = fake.calls
    assert call.method == "chat.postMessage"
    assert call.headers["Authorization"] == f"Bearer {TOKEN}"
    assert (call.body["channel"], call.body["text"]) == ("#builds", "CI broke on main")


async def test_an_edit_replaces_the_message(fake: FakeSlack, bot: slack.Bot) -> None:
    receipt = await post(bot)
    assert await bot.edit(FIXED, receipt) == receipt
    (posted,) = fake.in_channel("#builds")
    assert [one["text"] for one in posted.history] == ["CI broke on main", "CI is fixed"]
    assert "unfurl_links" not in posted.body


async def test_an_edit_clears_what_is_no_more(fake: FakeSlack, bot: slack.Bot) -> None:
    receipt = await post(bot)
    await bot.edit(FIXED, receipt)
    assert fake.calls[-1].body["attachments"] == []


async def test_a_reply_goes_to_the_thread_of_its_message(fake: FakeSlack, bot: slack.Bot) -> None:
    receipt = await bot.send(MESSAGE, channel="#other", thread=None)
    await bot.send(FIXED, channel=None, thread=receipt)
    assert [(one.place, one.thread) for one in fake.in_channel("#other")] == [
        ("COTHER", None),
        ("COTHER", receipt["ts"]),
    ]


async def test_a_rule_may_name_another_channel(fake: FakeSlack, bot: slack.Bot) -> None:
    await bot.send(MESSAGE, channel="#other", thread=None)
    assert len(fake.in_channel("#other")) == 1


async def test_a_webhook_has_no_receipt_and_no_edits(fake: FakeSlack, webhook: slack.Webhook) -> None:
    assert await post(webhook) == {}
    assert (webhook.can_edit, webhook.can_thread) == (False, False)
    assert [one["text"] for one in (posted.body for posted in fake.messages.values())] == ["CI broke on main"]
    with pytest.raises(Gone):
        await webhook.edit(FIXED, {})


# -- bad days


FAULTS: list[tuple[Fault, type[DeliveryError]]] = [
    (ratelimited(7), RateLimited),
    (error("channel_not_found", status=200), Dead),
    (error("invalid_blocks"), Rejected),
    (status(502), Transient),
    (status(500, ""), Transient),
    (text_plain(), Unsure),
    (text_plain(code=503), Transient),
    (status(200), Unsure),
    (Fault("answer", body="[1]", headers={"Content-Type": "application/json"}), Unsure),
    (Fault("answer", body="{", headers={"Content-Type": "application/json"}), Unsure),
    (Fault("answer", body='"x"', status=503, headers={"Content-Type": "application/json"}), Transient),
    (Fault("answer", body="[" * 200_000, headers={"Content-Type": "application/json"}), Unsure),
    (Fault("answer", body="x" * 5_000_000, headers={"Content-Type": "application/json"}), Unsure),
    (Fault("answer", body="\xff", status=500, headers={"Content-Type": "text/html; charset=no-such"}), Transient),
    (redirect("/landing"), Transient),
    (accepted_then_connection_lost(), Unsure),
    (lost_before_accept(), Unsure),
]


@pytest.mark.parametrize(("fault", "kind"), FAULTS)
async def test_a_bots_bad_day_is_one_request_and_one_error(
    fake: FakeSlack, bot: slack.Bot, fault: Fault, kind: type[DeliveryError]
) -> None:
    receipt = await post(bot)
    for act in (post(bot), bot.edit(FIXED, receipt)):
        fake.faults.append(fault)
        with pytest.raises(kind):
            await act
    assert len(fake.calls) == 3  # nobody but our queue repeats a request, and nobody follows a redirect


@pytest.mark.parametrize(("fault", "kind"), [(fault, kind) for fault, kind in FAULTS if "error" not in str(fault.body)])
async def test_a_webhooks_bad_day_is_one_request_and_one_error(
    fake: FakeSlack, webhook: slack.Webhook, fault: Fault, kind: type[DeliveryError]
) -> None:
    fake.faults.append(fault)
    with pytest.raises(kind):
        await post(webhook)
    assert len(fake.calls) == 1


async def test_an_answer_that_does_not_come_leaves_us_unsure(fake: FakeSlack, session: aiohttp.ClientSession) -> None:
    never = asyncio.Event()
    places = [
        slack.open("a", bot_options(fake, timeout="50ms"), session),
        slack.open("b", slack.Options(url=fake.webhook_url, timeout="50ms"), session),
    ]
    for place in places:
        fake.faults.append(slow(never))
        with pytest.raises(Unsure, match=r"within 0\.05 s"):
            await post(place)
    never.set()


async def test_no_connection_means_nothing_was_sent(session: aiohttp.ClientSession) -> None:
    with socket.socket() as unused:  # bound, not listening: refuses
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        for options in ({"token": "xoxb-1", "channel": "#c", "api_url": address}, {"url": f"{address}/services/x"}):
            with pytest.raises(Transient, match="no connection"):
                await post(slack.open("a", slack.Options(**options), session))


async def test_a_name_that_does_not_resolve_means_nothing_was_sent(session: aiohttp.ClientSession) -> None:
    options = slack.Options(url="http://slack.invalid/services/secret-part")
    with pytest.raises(Transient, match="no connection") as caught:
        await post(slack.open("a", options, session))
    assert "secret-part" not in str(caught.value)


async def test_a_closed_session_is_no_reason_to_open_another(fake: FakeSlack) -> None:
    session = aiohttp.ClientSession()
    await session.close()
    with pytest.raises(Transient, match="shutting down"):
        await post(slack.open("a", bot_options(fake), session))
    assert fake.calls == []


async def test_rate_limit_makes_only_its_own_bucket_wait(fake: FakeSlack, bot: slack.Bot) -> None:
    receipt = await post(bot)
    fake.faults += [ratelimited(2), ratelimited(3)]
    with pytest.raises(RateLimited) as posted:
        await post(bot)
    with pytest.raises(RateLimited) as edited:
        await bot.edit(FIXED, receipt)
    assert (posted.value.after, posted.value.bucket) == (2, bot.buckets(edit=False, channel=None)[0].key)
    assert (edited.value.after, edited.value.bucket) == (3, bot.buckets(edit=True, channel=None)[0].key)


async def test_an_edit_without_its_message_is_gone(fake: FakeSlack, bot: slack.Bot) -> None:
    for receipt in ({}, {"channel": "CBUILDS"}, {"channel": "CBUILDS", "ts": "1.1"}):
        with pytest.raises(Gone):
            await bot.edit(FIXED, receipt)


async def test_a_reply_without_its_thread_is_gone(fake: FakeSlack, bot: slack.Bot) -> None:
    with pytest.raises(Gone):
        await bot.send(FIXED, channel=None, thread={"channel": "CBUILDS", "ts": "1.1"})


async def test_a_post_that_does_not_say_where_it_is_leaves_us_unsure(fake: FakeSlack, bot: slack.Bot) -> None:
    fake.faults.append(Fault("answer", body={"ok": True}))
    with pytest.raises(Unsure):
        await post(bot)


async def test_cancelling_is_not_swallowed(fake: FakeSlack, bot: slack.Bot) -> None:
    never = asyncio.Event()
    fake.faults.append(slow(never))
    task = asyncio.create_task(post(bot))
    await fake.until(lambda: fake.calls)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    never.set()


async def test_proxies_of_the_environment_are_left_to_the_session(
    fake: FakeSlack, bot: slack.Bot, webhook: slack.Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    await post(bot)
    await post(webhook)
    assert len(fake.messages) == 2


# -- secrets


async def test_no_secret_in_any_error_or_log(
    fake: FakeSlack, bot: slack.Bot, webhook: slack.Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("slack_sdk", "slack_sdk.web.async_client", "slack_sdk.webhook.async_client", "aiohttp", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)
    shown: list[str] = []
    for place in (bot, webhook):
        for fault, _ in [*FAULTS, (None, None)]:
            fake.faults += [fault] if fault else []
            try:
                await post(place)
            except DeliveryError as failed:
                shown += [str(failed), repr(failed), str(failed.__cause__)]
            shown.append(str(await place.check()) if not fake.faults else "")
    shown += [repr(bot_options(fake)), repr(slack.Options(url=fake.webhook_url)), caplog.text]
    for text in shown:
        assert TOKEN not in text
        assert WEBHOOK_PATH not in text


# -- health


async def test_check_asks_without_posting(fake: FakeSlack, bot: slack.Bot, webhook: slack.Webhook) -> None:
    said = "token valid, team acme, bot bridge; whether it is in #builds is told for a channel's id (C...)"
    assert await bot.check() == Health(True, said)
    assert await webhook.check() == Health(None, "incoming webhooks cannot be asked without posting")
    assert [call.method for call in fake.calls] == ["auth.test"]


@pytest.mark.parametrize(
    ("scopes", "channel", "faults", "ok", "text"),
    [
        ("chat:write,channels:read", {}, [], True, "bot bridge, channel #builds"),
        ("chat:write", {"is_member": False}, [], False, "it is not in #builds: type /invite @bridge there"),
        ("chat:write,chat:write.public", {"is_member": False}, [], True, "channel #builds"),
        ("chat:write,chat:write.public", {"is_member": False, "is_private": True}, [], False, "/invite @bridge"),
        ("chat:write", {"is_archived": True}, [], False, "#builds is archived"),
        ("chat:write", {}, [error("missing_scope")], True, "with the scope channels:read"),
        ("chat:write", {}, [error("channel_not_found")], False, "slack says channel_not_found"),
        (
            "chat:write",
            {},
            [accepted_then_connection_lost()] * 2,
            False,
            "connection was lost (ServerDisconnectedError)",
        ),
    ],
)
async def test_check_says_whether_the_bot_is_in_the_channel(
    fake: FakeSlack,
    session: aiohttp.ClientSession,
    scopes: str,
    channel: dict[str, Any],
    faults: list[Fault],
    ok: bool,
    text: str,
) -> None:
    fake.channel |= channel
    answer = {"ok": True, "team": "acme", "user": "bridge"}
    fake.faults += [Fault("answer", body=answer, headers={"X-OAuth-Scopes": scopes}), *faults]
    health = await slack.open("a", bot_options(fake, channel="C024BE7LH"), session).check()
    assert health.ok is ok
    assert health.text.endswith(text) or text in health.text
    assert "may have arrived" not in health.text, "nothing was posted"
    assert {call.method for call in fake.calls} == {"auth.test", "conversations.info"}


async def test_check_says_what_is_wrong(fake: FakeSlack, session: aiohttp.ClientSession) -> None:
    health = await slack.open("a", bot_options(fake, token="xoxb-other"), session).check()
    assert health == Health(
        False, "slack says invalid_auth: the token is wrong, copy it again from OAuth & Permissions of the Slack app"
    )


async def test_check_sees_a_missing_scope(fake: FakeSlack, bot: slack.Bot) -> None:
    fake.faults.append(
        Fault("answer", body={"ok": True}, headers={"X-OAuth-Scopes": "channels:read,chat:write.public"})
    )
    health = await bot.check()
    assert health.ok is False
    assert "add the scope chat:write under OAuth & Permissions" in health.text


# -- limits and options


def test_posts_are_limited_per_channel_and_edits_per_workspace(bot: slack.Bot, webhook: slack.Webhook) -> None:
    (builds,), (other,) = (bot.buckets(edit=False, channel=name) for name in (None, "#other"))
    (edit,), (edit_other,) = (bot.buckets(edit=True, channel=name) for name in (None, "#other"))
    assert (builds.rate, builds.burst) == (Rate(1), 5)
    assert builds.key != other.key
    assert edit == edit_other
    assert (edit.rate, edit.burst) == (Rate(50 / 60), 10)
    assert webhook.buckets(edit=False, channel=None)[0].rate == Rate(1)
    assert TOKEN not in builds.key


def test_two_destinations_with_one_token_share_their_limits(fake: FakeSlack, session: aiohttp.ClientSession) -> None:
    a, b = (slack.open(name, bot_options(fake), session) for name in "ab")
    assert a.buckets(edit=True, channel=None) == b.buckets(edit=True, channel=None)


def test_rate_replaces_the_limit_of_posts(fake: FakeSlack, session: aiohttp.ClientSession) -> None:
    place = slack.open("a", bot_options(fake, rate="20/min"), session)
    assert place.buckets(edit=False, channel=None)[0].rate == Rate(20 / 60)
    assert place.buckets(edit=True, channel=None)[0].rate == Rate(50 / 60)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "give url"),
        ({"url": "https://hooks.slack.com/services/a", "token": "xoxb-1", "channel": "#c"}, "not both"),
        ({"token": "xoxb-1"}, "needs a channel"),
        ({"token": "xoxb-1", "channel": None}, "bare #"),
        ({"token": "xapp-1", "channel": "#c"}, "app-level"),
        ({"token": "xoxb 1", "channel": "#c"}, "copy it again"),
        ({"url": "hooks.slack.com/services/a"}, "url is no address"),
        ({"url": "https://hooks.slack.com/triggers/T0/1/a"}, "starts a workflow"),
        ({"url": "https://hooks.slack.com/services/a", "channel": "#c"}, "leave channel out"),
        ({"token": "xoxb-1", "channel": "#c", "api_url": "slack"}, "api_url is no address"),
        ({"token": "xoxb-1", "channel": "#c", "chanel": "#c"}, "chanel"),
    ],
)
def test_options_that_cannot_work_are_refused_in_plain_words(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        slack.Options(**given)
    assert words in str(caught.value)
    assert "xoxb 1" not in str(caught.value)
    assert "services/a" not in str(caught.value)
