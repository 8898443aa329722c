"""Telegram through a socket, and what it alone does. The rest is in `test_every_look` and `test_every_chat`."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import ValidationError

from bridge.config import load
from bridge.destinations import telegram
from bridge.destinations.base import Health
from bridge.errors import Dead, DeliveryError, Gone, RateLimited, Rejected, Transient, Unsure
from bridge.message import Button, Code, Message, Paragraph, Quote, Span
from bridge.units import Rate
from tests.altered import replace
from tests.fakes.base import Fault, accepted_then_connection_lost, redirect, status
from tests.fakes.telegram import CHAT, NEW_CHAT, TOKEN, FakeTelegram, error, ratelimited
from tests.fakes.telegram_reader import check, effects, read

MESSAGE = Message(
    title=(Span("CI broke on main", bold=True),),
    body=(Paragraph((Span("octocat"),)),),
    buttons=(Button("Open run", "https://ci.example.com/1"),),
    mentions=("5550123",),
)
FIXED = Message(title=(Span("CI is fixed"),))
OPTIONS = telegram.Options.model_validate({"token": TOKEN, "chat": CHAT})


@pytest.fixture
async def fake() -> AsyncIterator[FakeTelegram]:
    async with FakeTelegram() as fake:
        yield fake
        assert fake.invalid == []


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def made(fake: FakeTelegram, session: aiohttp.ClientSession, **more: Any) -> telegram.Bot:
    options = fake.options | {"timeout": "1s"} | more
    return telegram.open("builds", telegram.Options.model_validate(options), session)


@pytest.fixture
def bot(fake: FakeTelegram, session: aiohttp.ClientSession) -> telegram.Bot:
    return made(fake, session)


async def post(place: telegram.Bot, **more: Any) -> dict[str, str]:
    return await place.send(MESSAGE, **({"channel": None, "thread": None} | more))


def text(*blocks: Any, **more: Any) -> str:
    body = telegram.payload(Message(title=(Span("t"),), body=blocks, **more), OPTIONS)
    check(body)
    return str(body["text"])


# -- a good day


async def test_a_post_answers_where_it_is_and_an_edit_takes_the_buttons_away(
    fake: FakeTelegram, bot: telegram.Bot
) -> None:
    receipt = await post(bot)
    assert receipt == {"chat": CHAT, "id": "40"}
    assert await bot.edit(FIXED, receipt) == receipt
    assert [("reply_markup" in one) for one in fake.messages["40"].history] == [True, False]


async def test_an_edit_that_changes_nothing_is_good(fake: FakeTelegram, bot: telegram.Bot) -> None:
    receipt = await post(bot)
    assert await bot.edit(MESSAGE, receipt) == receipt
    assert len(fake.messages["40"].history) == 1


async def test_a_topic_is_named_in_its_own_chat_alone(fake: FakeTelegram, session: aiohttp.ClientSession) -> None:
    fake.topics.add(7)
    bot = made(fake, session, topic="7")
    await post(bot)
    with pytest.raises(Dead, match="no such chat for this bot"):
        await post(bot, channel="@acme_other")
    assert [call.body.get("message_thread_id") for call in fake.calls] == [7, None]


async def test_a_rule_names_a_topic_with_its_channel(fake: FakeTelegram, session: aiohttp.ClientSession) -> None:
    fake.topics |= {7, 45}
    bot = made(fake, session, topic="7")
    chat = fake.options["chat"]
    await bot.send(MESSAGE, channel=f"{chat}/45", thread=None)
    assert [call.body.get("message_thread_id") for call in fake.calls] == [45]
    assert [call.body["chat_id"] for call in fake.calls] == [chat]
    assert bot.buckets(edit=False, channel=f"{chat}/45") == bot.buckets(edit=False, channel=None), "one chat, one limit"
    for odd in (f"{chat}/", f"{chat}/x", "/45", f"{chat}/4/5"):
        with pytest.raises(Dead, match="no such chat"):
            await bot.send(MESSAGE, channel=odd, thread=None)


async def test_a_topic_that_is_not_there_is_dead(fake: FakeTelegram, session: aiohttp.ClientSession) -> None:
    with pytest.raises(Dead, match="look at topic"):
        await post(made(fake, session, topic="8"))


async def test_an_answer_to_a_message_that_is_gone_says_so(fake: FakeTelegram, bot: telegram.Bot) -> None:
    receipt = await post(bot)
    fake.messages.clear()
    for again in (post(bot, thread=receipt), bot.edit(FIXED, receipt)):
        with pytest.raises(Gone, match="was deleted"):
            await again


@pytest.mark.parametrize("receipt", [{}, {"id": "x", "chat": CHAT}, {"id": "1", "chat": "../x"}, {"id": "1"}])
async def test_without_a_message_s_id_there_is_nothing_to_edit(
    fake: FakeTelegram, bot: telegram.Bot, receipt: dict[str, str]
) -> None:
    with pytest.raises(Gone):
        await bot.edit(FIXED, receipt)
    with pytest.raises(Gone):
        await post(bot, thread=receipt)
    assert fake.calls == []


# -- a group that becomes a supergroup


async def test_a_group_that_moved_is_followed_and_remembered(fake: FakeTelegram, bot: telegram.Bot) -> None:
    old = await post(bot)
    fake.moved = True
    assert await post(bot) == {"chat": str(NEW_CHAT), "id": "41"}
    assert await post(bot) == {"chat": str(NEW_CHAT), "id": "42"}
    wanted = [CHAT, CHAT, str(NEW_CHAT), str(NEW_CHAT)]
    assert [call.body["chat_id"] for call in fake.calls] == wanted, "it is asked of the old number once"
    with pytest.raises(Gone, match="other numbers"):
        await bot.edit(FIXED, old)
    assert await bot.check() == Health(False, f'the group became a supergroup, write chat: "{NEW_CHAT}"')


async def test_an_answer_in_a_group_that_moved_is_posted_anew(fake: FakeTelegram, bot: telegram.Bot) -> None:
    old = await post(bot)
    fake.moved = True
    with pytest.raises(Gone, match="other numbers"):
        await post(bot, thread=old)
    assert (await post(bot))["chat"] == str(NEW_CHAT)


# -- check


@pytest.mark.parametrize(
    ("chat", "member", "more", "words"),
    [
        ({}, {"status": "left"}, {}, "it is not in the chat, add it there"),
        ({}, {"status": "restricted", "can_send_messages": False}, {}, "it is restricted"),
        ({"type": "channel"}, {"status": "member"}, {}, "make it an admin of the channel"),
        ({"type": "channel"}, {"status": "administrator", "can_post_messages": False}, {}, "let it post messages"),
        ({"permissions": {"can_send_messages": False}}, {"status": "member"}, {}, "nobody but admins write"),
        ({}, {}, {"topic": "7"}, "no topics, leave topic out"),
    ],
)
async def test_check_says_what_keeps_the_bot_from_posting(
    fake: FakeTelegram, session: aiohttp.ClientSession, chat: Any, member: Any, more: Any, words: str
) -> None:
    fake.chat |= chat
    fake.member |= member
    health = await made(fake, session, **more).check()
    assert health.ok is False
    assert health.text.startswith("@acme_bridge_bot cannot post to Builds: ")
    assert words in health.text


async def test_check_asks_without_posting(fake: FakeTelegram, session: aiohttp.ClientSession) -> None:
    fake.chat["is_forum"] = True
    assert await made(fake, session, topic="7").check() == Health(True, "bot @acme_bridge_bot, chat Builds, topic 7")
    fake.member |= {"status": "administrator", "can_post_messages": True}
    fake.chat["type"] = "channel"
    assert (await made(fake, session).check()).ok
    assert fake.messages == {}


async def test_check_asks_for_no_members_of_a_person(fake: FakeTelegram, bot: telegram.Bot) -> None:
    fake.chat = {"type": "private", "username": "octocat"}
    assert await bot.check() == Health(True, "bot @acme_bridge_bot, chat octocat")
    assert [call.method for call in fake.calls] == ["getMe", "getChat"]


async def test_check_says_what_is_wrong_with_token_and_chat(fake: FakeTelegram, session: aiohttp.ClientSession) -> None:
    wrong = await made(fake, session, token=TOKEN + "x").check()
    assert wrong == Health(False, "telegram does not know the token (401), copy it again from @BotFather")
    assert "add the bot to it" in (await made(fake, session, chat="@acme_other").check()).text
    fake.faults += [status(200), status(502)]
    bot = made(fake, session)
    assert await bot.check() == Health(False, "the answer (HTTP 200) is not one of telegram's")
    assert await bot.check() == Health(False, "telegram answers HTTP 502")


# -- bad days


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (ratelimited(3), RateLimited),
        (status(429), RateLimited),
        (error(500, "Internal Server Error"), Transient),
        (Fault("answer", body={"ok": True}), Unsure),
        (Fault("answer", body={"ok": True, "result": {"message_id": "7"}}), Unsure),
        (Fault("answer", body={"ok": False}), Unsure),
        (redirect(), Transient),
        (accepted_then_connection_lost(), Unsure),
        (error(401, "Unauthorized"), Dead),
    ],
)
async def test_every_failure_has_its_class_and_tells_no_address(
    fake: FakeTelegram,
    bot: telegram.Bot,
    fault: Fault,
    kind: type[DeliveryError],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    fake.faults.append(fault)
    with pytest.raises(DeliveryError) as caught:
        await post(bot)
    assert type(caught.value) is kind
    assert len(fake.calls) == 1
    told = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(bot._options)
    assert TOKEN not in told
    assert TOKEN.split(":")[1] not in told


async def test_a_limit_holds_for_the_chat(fake: FakeTelegram, bot: telegram.Bot) -> None:
    fake.faults.append(ratelimited(3))
    with pytest.raises(RateLimited) as caught:
        await post(bot)
    chat, everywhere = bot.buckets(edit=False, channel=None)
    assert (caught.value.after, caught.value.bucket) == (3, chat.key)
    assert everywhere.key != chat.key


async def test_a_limit_of_a_group_that_moved_holds_for_all(fake: FakeTelegram, bot: telegram.Bot) -> None:
    fake.moved = True
    receipt = await post(bot)
    fake.faults.append(ratelimited(3))
    with pytest.raises(RateLimited) as caught:
        await bot.edit(FIXED, receipt)
    assert caught.value.bucket is None, "nobody counts by the new number"


def test_a_group_is_slower_than_a_person_and_a_bot_has_a_limit_of_its_own() -> None:
    session: Any = None
    bot = telegram.open("builds", OPTIONS, session)
    group, everywhere = bot.buckets(edit=True, channel=None)
    person, same = bot.buckets(edit=False, channel="5550123")
    assert (group.rate, person.rate, everywhere.rate) == (Rate(0.3), Rate(1), Rate(30))
    assert everywhere == same
    assert TOKEN not in group.key + everywhere.key
    slower = telegram.open("builds", OPTIONS.model_copy(update={"rate": Rate(0.1)}), session)
    assert slower.buckets(edit=False, channel=None)[0].rate == Rate(0.1)


# -- what an answer means


@pytest.mark.parametrize(("words", "kind", "text"), telegram._WORDS)
def test_every_description_has_its_class(words: str, kind: type[DeliveryError], text: str) -> None:
    for code in (400, 403):
        answer = {"ok": False, "error_code": code, "description": f"Bad Request: {words} and our secret words"}
        judged = telegram.judge(code, {}, answer)
        assert type(judged) is kind
        assert text in str(judged)
        assert "secret words" not in str(judged)


@pytest.mark.parametrize(
    ("http", "answer", "kind"),
    [
        (401, {"ok": False, "error_code": 401, "description": "Unauthorized"}, Dead),
        (404, {"ok": False, "error_code": 404, "description": "Not Found"}, Dead),
        (403, {"ok": False, "error_code": 403, "description": "Forbidden: news"}, Dead),
        (400, {"ok": False, "error_code": 400, "description": "Bad Request: NEWS_OF_TOMORROW"}, Rejected),
        (409, {"ok": False, "error_code": 409, "description": "Conflict"}, Transient),
        (200, {"ok": False, "error_code": 500, "description": "Internal"}, Transient),
        (404, None, Transient),
        (413, None, Rejected),
        (200, None, Unsure),
        (200, {"ok": False, "error_code": 429}, RateLimited),
    ],
)
def test_the_code_speaks_where_no_word_is_known(http: int, answer: Any, kind: type[DeliveryError]) -> None:
    assert type(telegram.judge(http, {}, answer)) is kind


def test_not_modified_is_what_was_wanted() -> None:
    answer = {"ok": False, "error_code": 400, "description": "Bad Request: message is not modified: made up"}
    assert telegram.judge(400, {}, answer) is None
    assert telegram.judge(200, {}, {"ok": True, "result": {}}) is None


@pytest.mark.parametrize(
    ("parameters", "header", "after"),
    [({"retry_after": 7}, "9", 7), ({"retry_after": True}, "9", 9), ({}, None, 30), (7, "0.5", 0.5)],
)
def test_how_long_to_wait(parameters: Any, header: str | None, after: float) -> None:
    body = {"ok": False, "error_code": 429, "parameters": parameters}
    judged = telegram.judge(429, {"Retry-After": header} if header else {}, body)
    assert isinstance(judged, RateLimited)
    assert judged.after == after


# -- how it looks


@pytest.mark.parametrize(
    "value",
    ["@octocat", "/start", "#deploy", "$USD", "https://x.example", "README.md", "a@x.example", "evil。example"],
)
def test_what_telegram_would_find_is_parted_but_not_within_code(value: str) -> None:
    told = text(Paragraph((Span(value),)), Code(value))
    plain, code = told.removeprefix("t\n").split("\n")
    assert plain != value
    assert re.sub("[\u200b\u2060]", "", plain) == value
    assert code == f"<pre>{value}</pre>"


@pytest.mark.parametrize("value", ["#12", "acme/app", "v1.4.0", "2 min 14 s", "$5", "1/2"])
def test_what_means_nothing_to_telegram_stays_as_it_is(value: str) -> None:
    assert text(Paragraph((Span(value),))) == f"t\n{value}"


def test_pieces_make_no_name_together() -> None:
    told = text(Paragraph((Span("@"), Span("octocat", bold=True), Span(" https:"), Span("//x"), Span(".example"))))
    assert "@octocat" not in read(told).text
    assert "://" not in read(told).text
    assert "x.example" not in read(told).text


def test_code_takes_no_other_form_and_gives_way_to_a_link() -> None:
    assert text(Paragraph((Span("a", bold=True, code=True),))) == "t\n<code>a</code>"
    linked = Span("a", code=True, link="https://x.example/1")
    assert text(Paragraph((linked,))) == 't\n<a href="https://x.example/1">a</a>'
    assert text(Quote((Span("a", code=True),))) == "t\n<blockquote><code>a</code></blockquote>"


def test_an_address_of_one_s_own_network_is_there_to_be_copied() -> None:
    body = telegram.payload(replace(FIXED, buttons=(Button("Open run", "http://jenkins:8080/1"),)), OPTIONS)
    assert body["text"] == "CI is fixed\nOpen run: <code>http://jenkins:8080/1</code>"
    assert "reply_markup" not in body
    told = text(Paragraph((Span("a", link="http://jenkins:8080/1"),)))
    assert told == "t\na"


def test_people_are_called_by_name_or_number_and_nobody_else_is() -> None:
    told = text(mentions=("@octocat", "5550123", "5550123", "@here!", "<b>", "0", "@1x"))
    assert told == 't @octocat <a href="tg://user?id=5550123">🔔</a>'


def test_forms_after_the_hundredth_are_text() -> None:
    told = text(*(Paragraph((Span("a", bold=True),)) for _ in range(200)))
    assert told.count("<b>") == 90
    assert told.count("a") == 200


# -- options


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"token": "made-up"}, "copy it from @BotFather"),
        ({"token": "bot110201543:made-up_Secret"}, "copy it from @BotFather"),
        ({"chat": "Builds"}, "chat is a number in quotes"),
        ({"chat": "https://t.me/acme"}, "chat is a number in quotes"),
        ({"topic": "General"}, "topic is a number"),
        ({"api_url": "api.telegram.org"}, "api_url is no address"),
    ],
)
def test_what_is_wrong_is_refused_with_what_to_do(more: dict[str, str], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        telegram.Options.model_validate({"token": TOKEN, "chat": CHAT} | more)
    assert words in str(caught.value)
    assert "made-up" not in str(caught.value)


@pytest.mark.parametrize("needed", ["token", "chat"])
def test_token_and_chat_are_needed(needed: str) -> None:
    with pytest.raises(ValidationError, match=needed):
        telegram.Options.model_validate(
            {key: value for key, value in {"token": TOKEN, "chat": CHAT}.items() if key != needed}
        )


# -- the page

PAGE = (Path(__file__).parents[2] / "docs/destinations/telegram.md").read_text("utf-8")


@pytest.mark.parametrize("example", re.findall(r"(?s)```yaml\n(.*?)```", PAGE))
def test_the_page_s_examples_are_right(tmp_path: Path, example: str) -> None:
    (tmp_path / "config.yaml").write_text(example)
    load(str(tmp_path / "config.yaml"), {"TELEGRAM_BOT_TOKEN": TOKEN})


def test_the_page_says_what_becomes_of_every_word() -> None:
    assert [words for words, _, _ in telegram._WORDS if f"`{words}`" not in PAGE] == []


@pytest.mark.parametrize(
    ("written", "good"), [("@octocat", True), ("5550123", True), ("octocat", False), ("-5", False)]
)
def test_people_are_checked_when_the_configuration_is_read(tmp_path: Path, written: str, good: bool) -> None:
    (tmp_path / "config.yaml").write_text(
        f'version: 1\ndestinations: {{out: {{type: console}}}}\npeople: {{octocat: {{telegram: "{written}"}}}}\n'
    )
    try:
        load(str(tmp_path / "config.yaml"), {})
        said = ""
    except Exception as error:
        said = str(error)
    assert ("no Telegram id" in said) == (not good)


@pytest.mark.parametrize("text", ["</b><a>", "<i>&"])
def test_a_text_after_the_hundredth_form_has_no_effect_either(text: str) -> None:
    pieces = tuple(Span(text, code=bool(number % 2), bold=not number % 2) for number in range(140))
    body = telegram.payload(Message(title=(Span("t"),), body=(Paragraph(pieces),)), OPTIONS)
    check(body)
    assert {one for one in effects(body) if not one.startswith("finds")} == set()
