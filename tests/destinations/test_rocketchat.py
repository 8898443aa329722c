"""What is Rocket.Chat's alone: its words, rooms and ids, its options. The rest is in `test_every_chat` and `_look`."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bridge.config import load
from bridge.destinations import rocketchat
from bridge.errors import Dead, DeliveryError, Gone, RateLimited, Rejected, Transient, Unsure
from bridge.message import Bullets, Button, Code, Message, Paragraph, Quote, Span
from bridge.units import Rate
from tests.fakes.base import Fault, accepted_then_connection_lost, status
from tests.fakes.rocketchat import (
    ARCHIVED,
    READ_ONLY,
    ROOM,
    TOKEN,
    USER,
    WEBHOOK_PATH,
    FakeRocketChat,
    check,
    error,
)
from tests.fakes.rocketchat_reader import effects, form, read

HELLO = Message(title=(Span("hello"),))
HOOK = "https://chat.example.com/hooks/madeUpHook/made-up-secret"
BOT = {"site": "https://chat.example.com", "token": "made-up", "channel": "#builds"}


@pytest.fixture
async def fake() -> AsyncIterator[FakeRocketChat]:
    async with FakeRocketChat() as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


def bot(fake: FakeRocketChat, session: Any, **more: Any) -> rocketchat.Bot:
    given = {"site": fake.base, "token": TOKEN, "user_id": USER, "channel": ROOM} | more
    place = rocketchat.open("hub", rocketchat.Options.model_validate(given), session)
    assert isinstance(place, rocketchat.Bot)
    return place


def webhook(fake: FakeRocketChat, session: Any, **more: Any) -> rocketchat.Webhook:
    options = rocketchat.Options.model_validate({"url": fake.webhook_url} | more)
    place = rocketchat.open("hub", options, session)
    assert isinstance(place, rocketchat.Webhook)
    return place


async def post(place: Any, **more: Any) -> dict[str, str]:
    receipt: dict[str, str] = await place.send(HELLO, **({"channel": None, "thread": None} | more))
    return receipt


# -- where a message goes


@pytest.mark.parametrize("channel", [ROOM, "#builds", "builds"])
async def test_a_room_is_an_id_or_a_name(fake: FakeRocketChat, session: Any, channel: str) -> None:
    place = bot(fake, session, channel=channel)
    assert (await post(place))["room"] == ROOM
    asked = len(fake.calls)
    await post(place)
    assert len(fake.calls) == asked + 1, "a name is looked up once"


async def test_a_rule_s_channel_comes_first(fake: FakeRocketChat, session: Any) -> None:
    assert (await post(bot(fake, session), channel="#notices"))["room"] == READ_ONLY
    await post(webhook(fake, session, channel="#a"), channel="#b")
    assert fake.calls[-1].body["channel"] == "#b"


async def test_a_room_that_is_not_there_is_dead(fake: FakeRocketChat, session: Any) -> None:
    with pytest.raises(Dead, match="no such room"):
        await post(bot(fake, session, channel="#nowhere"))


async def test_while_a_name_is_looked_up_nothing_can_have_arrived(fake: FakeRocketChat, session: Any) -> None:
    fake.faults += [accepted_then_connection_lost()] * 2  # aiohttp repeats a GET
    with pytest.raises(Transient):
        await post(bot(fake, session, channel="#builds"))


# -- there once


async def test_a_delivery_that_is_sent_again_is_there_once(fake: FakeRocketChat, session: Any) -> None:
    place = bot(fake, session)
    assert await post(place, key="d1") == await post(place, key="d1")
    await post(place, key="d2")
    assert len(fake.messages) == 2
    assert all(TOKEN not in one and re.fullmatch("[0-9a-f]{24}", one) for one in fake.messages)


async def test_what_is_refused_and_not_there_is_refused(fake: FakeRocketChat, session: Any) -> None:
    fake.faults.append(fake.refused())
    with pytest.raises(Rejected):
        await post(bot(fake, session), key="d1")
    assert [call.method for call in fake.calls] == ["chat.sendMessage", "chat.getMessage"]


async def test_while_it_is_unknown_whether_it_is_there_it_is_tried_again(fake: FakeRocketChat, session: Any) -> None:
    fake.spared.clear()
    for fault in (status(502), accepted_then_connection_lost(), status(200)):
        fake.faults += [fake.refused(), fault, fault]
        with pytest.raises(Transient):
            await post(bot(fake, session), key="d1")
        fake.faults.clear()


async def test_a_message_of_another_room_is_not_the_one(fake: FakeRocketChat, session: Any) -> None:
    place = bot(fake, session)
    await post(place, key="d1", channel="#notices")
    with pytest.raises(Rejected):
        await post(place, key="d1")


# -- edits and threads


async def test_an_edit_shows_the_new_text(fake: FakeRocketChat, session: Any) -> None:
    place = bot(fake, session)
    receipt = await post(place)
    assert await place.edit(Message(title=(Span("bye"),)), receipt) == receipt
    (posted,) = fake.messages.values()
    assert posted.body == {"msg": "bye"}


@pytest.mark.parametrize("word", ["error-action-not-allowed", "error-not-allowed", "error-message-editing-blocked"])
async def test_an_edit_that_is_not_allowed_makes_a_new_message(fake: FakeRocketChat, session: Any, word: str) -> None:
    place = bot(fake, session)
    receipt = await post(place)
    fake.faults.append(error(400, word))
    with pytest.raises(Gone):
        await place.edit(HELLO, receipt)


async def test_a_deleted_message_is_gone_and_a_dead_token_is_not(fake: FakeRocketChat, session: Any) -> None:
    place = bot(fake, session)
    receipt = await post(place)
    fake.faults.append(fake.dead())
    with pytest.raises(Dead):
        await place.edit(HELLO, receipt)
    fake.messages.clear()
    with pytest.raises(Gone):
        await place.edit(HELLO, receipt)


@pytest.mark.parametrize("receipt", [{}, {"id": ""}, {"id": "../x", "room": "r"}, {"id": "abc"}])
async def test_without_a_message_s_id_there_is_nothing_to_edit(
    fake: FakeRocketChat, session: Any, receipt: dict[str, str]
) -> None:
    with pytest.raises(Gone):
        await bot(fake, session).edit(HELLO, receipt)
    with pytest.raises(Gone):
        await webhook(fake, session).edit(HELLO, receipt)
    assert fake.calls == []


async def test_an_answer_to_a_thread_that_is_gone_is_never_sent(fake: FakeRocketChat, session: Any) -> None:
    """Rocket.Chat would take it, and show it to nobody."""
    place = bot(fake, session)
    root = await post(place)
    assert (await post(place, thread=root))["room"] == ROOM
    fake.messages.clear()
    with pytest.raises(Gone):
        await post(place, thread=root)
    assert fake.messages == {}


async def test_an_answer_that_names_no_message_leaves_it_unsure(fake: FakeRocketChat, session: Any) -> None:
    for message in (None, {}, {"_id": 7}):
        fake.faults.append(Fault("answer", body={"success": True, "message": message}))
        with pytest.raises(Unsure):
            await post(bot(fake, session))


# -- how it is


async def test_doctor_says_who_the_bot_is_and_where(fake: FakeRocketChat, session: Any) -> None:
    health = await bot(fake, session, channel="#builds").check()
    assert (health.ok, health.text) == (True, "token valid, bot bridge, room builds")
    assert fake.messages == {}


@pytest.mark.parametrize(
    ("more", "ok", "text"),
    [
        ({"token": "wrong"}, False, "the token or user_id is wrong"),
        ({"user_id": None}, False, "the token or user_id is wrong"),
        ({"channel": "#nowhere"}, False, "/invite @bridge"),
        ({"channel": ARCHIVED}, False, "archived is archived"),
        ({"channel": "#notices"}, True, "notices is read-only"),
    ],
)
async def test_doctor_says_what_is_wrong(
    fake: FakeRocketChat, session: Any, more: dict[str, Any], ok: bool, text: str
) -> None:
    health = await bot(fake, session, **more).check()
    assert health.ok is ok
    assert text in health.text


async def test_doctor_says_when_nobody_is_there_or_it_is_no_rocketchat(fake: FakeRocketChat, session: Any) -> None:
    health = await bot(fake, session, site=f"{fake.base}/elsewhere").check()
    assert (health.ok, "is not one of rocket.chat's" in health.text) == (False, True)
    await fake.stop()
    health = await bot(fake, session).check()
    assert (health.ok, "no connection" in health.text) == (False, True)
    assert (await webhook(fake, session).check()).ok is None


async def test_each_method_has_a_limit_that_names_no_secret(fake: FakeRocketChat, session: Any) -> None:
    place = bot(fake, session)
    (posts,) = place.buckets(edit=False, channel=None)
    (edits,) = place.buckets(edit=True, channel="#x")
    assert (posts.rate, posts.burst, edits.rate) == (Rate(10 / 60), 10, Rate(10 / 60))
    assert posts.key != edits.key
    assert TOKEN not in posts.key
    assert bot(fake, None, rate="1/s").buckets(edit=True, channel=None)[0].rate == Rate(1)
    (hook,) = webhook(fake, None).buckets(edit=False, channel=None)
    assert "secret" not in hook.key
    fake.faults.append(fake.limited(7))
    with pytest.raises(RateLimited) as caught:
        await post(place)
    assert (caught.value.bucket, caught.value.after) == (posts.key, 7)


FAULTS = [status(502), error(401, "error-x"), accepted_then_connection_lost(), error(400, "error-x"), status(200)]


@pytest.mark.parametrize("fault", FAULTS)
async def test_no_error_and_no_log_tells_the_address_or_token(
    fake: FakeRocketChat, session: Any, fault: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for place in (bot(fake, session), webhook(fake, session)):
        fake.faults.append(fault)
        with pytest.raises(DeliveryError) as caught:
            await post(place)
        told = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(place._options)
        assert TOKEN not in told
        assert WEBHOOK_PATH not in told


# -- what an answer means


@pytest.mark.parametrize("word", rocketchat._CODES)
def test_every_word_has_its_class_and_says_what_to_do(word: str) -> None:
    kind, text = rocketchat._CODES[word]
    for answer in (
        {"success": False, "errorType": word, "error": "our secret words"},
        {"success": False, "error": word},
    ):
        judged = rocketchat.judge(400, {}, answer)
        assert type(judged) is kind
        assert word in str(judged)
        assert text in str(judged)
        assert "secret" not in str(judged)


@pytest.mark.parametrize(
    ("http", "answer", "kind"),
    [
        (200, {"success": False}, Transient),
        (200, {"success": False, "error": "x [error-room-not-found]"}, Dead),
        (200, {}, Unsure),
        (200, None, Unsure),
        (400, {"success": False, "error": "secret words"}, Rejected),
        (400, {"success": False, "error": 'No message found with the id of "x".'}, Gone),
        (401, {"status": "error", "message": "You must be logged in to do this."}, Dead),
        (401, {"success": False, "error": "Invalid integration id or token provided."}, Dead),
        (404, {"success": False, "error": "Invalid integration id or token provided."}, Dead),
        (403, {"success": False, "error": "unauthorized"}, Dead),
        (403, None, Transient),
        (413, None, Rejected),
        (500, {"success": False, "errorType": "error-room-not-found"}, Transient),
        (502, None, Transient),
        (302, None, Transient),
        (429, None, RateLimited),
        (400, {"success": False, "errorType": "error-too-many-requests"}, RateLimited),
    ],
)
def test_the_status_speaks_where_no_word_does(http: int, answer: Any, kind: type[DeliveryError]) -> None:
    judged = rocketchat.judge(http, {}, answer)
    assert type(judged) is kind
    assert "secret" not in str(judged)


def test_good_is_what_says_so() -> None:
    assert rocketchat.judge(200, {}, {"success": True}) is None


@pytest.mark.parametrize(
    ("said", "headers", "after"),
    [
        ("You must wait 35 seconds before", {}, 35),
        ("You must wait 35 seconds before", {"Retry-After": "2"}, 35),
        ("slow down", {"Retry-After": "1.5"}, 1.5),
        (None, {}, 30),
        (7, {"Retry-After": "soon"}, 30),
    ],
)
def test_how_long_to_wait(said: Any, headers: dict[str, str], after: float) -> None:
    judged = rocketchat.judge(429, headers, {"success": False, "error": said})
    assert isinstance(judged, RateLimited)
    assert judged.after == after


# -- options


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, "give url (an incoming webhook), or site, token and channel"),
        ({"token": "made-up"}, "site and channel missing"),
        ({"url": HOOK, "token": "made-up"}, "not both"),
        ({"url": "chat/hooks/a/made-up-secret"}, "url is no address"),
        ({"url": "https://chat.example.com/channel/made-up-secret"}, "url is no incoming webhook"),
        ({"url": HOOK + "?x=1"}, "url is no incoming webhook"),
        (BOT | {"site": "chat.example.com"}, "site is no address"),
        (BOT | {"site": "https://chat.example.com/api/v1"}, "site is the server alone"),
        (BOT | {"channel": "two words"}, "channel is no room"),
        (BOT | {"channel": "@octocat"}, "a bot posts to rooms"),
        (BOT | {"token": "made up"}, "copy it again"),
        (BOT | {"user_id": "a b"}, "user_id"),
    ],
)
def test_options_that_are_refused_say_why_and_not_themselves(given: dict[str, str], text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        rocketchat.Options.model_validate(given)
    assert text in str(caught.value)
    assert "made-up-secret" not in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        {"url": HOOK},
        {"url": f" {HOOK}/ ", "channel": "@octocat"},
        BOT,
        BOT | {"site": "http://chat.internal:3000/sub/", "user_id": USER},
    ],
)
def test_options_that_are_taken(given: dict[str, str]) -> None:
    assert rocketchat.Options.model_validate(given)


# -- how a text is written

OPTIONS = rocketchat.Options.model_validate(BOT)
STRANGERS = st.text("<>@#&!(){}*_~|`\\:/-+=.1$ ehw", min_size=1, max_size=40).map(str.strip).filter(bool)


def told(message: Message) -> str:
    body = rocketchat.payload(message, OPTIONS)
    check(body)
    return str(body["msg"])


@given(value=STRANGERS)
@settings(max_examples=150, deadline=None, database=None)
def test_what_is_written_looks_as_it_was(value: str) -> None:
    text = told(Message(title=(Span(value),)))
    assert form({"msg": text}) == [[]]
    assert read(text) == re.sub(" +", " ", value)
    assert effects({"msg": text}) == set()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("[ci] fix", "(ci) fix"),
        ("my_repo of snake_case", "my_repo of snake_case"),
        ("_x_ a.b_c_1 d_", "ˍxˍ a.\u2060bˍcˍ1 dˍ"),
        ("setup.py v1.2.3 1.2.3.4", "setup.\u2060py v1.2.3 1.2.3.\u20604"),
        ("see 12:30", "see 12:\u206030"),
        ("a < b | c", "a < b ∣ c"),
        ("<evil.com|x>", "<\u2060evil.\u2060com∣x>"),
    ],
)
def test_what_stands_for_what(value: str, shown: str) -> None:
    assert told(Message(title=(Span(value),))) == shown


def test_blocks_have_their_forms() -> None:
    text = told(
        Message(
            title=(Span("t"),),
            body=(
                Paragraph((Span("p "), Span("b", bold=True, italic=True), Span("s", strike=True))),
                Bullets(((Span("1"),), (Span("2\n3"),)), ordered=True),
                Quote((Span("q\nr"),)),
                Code("a\n```\nb"),
                Paragraph((Span("e", code=True, link="https://x.example"), Span("f", bold=True))),
            ),
            facts=(("Region", (Span("eu"),)), ("", (Span("plain"),))),
            footer=(Span("foot"),),
            buttons=(Button("Open", "https://x.example/1"), Button("Bad", "javascript:x")),
        )
    )
    assert text == (
        "t\np *_b_*\u2060~s~\n1. 1\n2. 2\n  3\n\n> q\n> r\n```\na\nˋˋˋ\nb\n```\n[`e`](https://x.example)*f*"
        "\n*Region:* eu · plain\nfoot\n[Open](https://x.example/1)"
    )


def test_a_webhook_s_message_has_the_colour_of_the_state() -> None:
    options = rocketchat.Options.model_validate({"url": HOOK})
    message = Message(title=(Span("t"),), footer=(Span("f"),), colour="#cf222e", mentions=("octocat",))
    assert rocketchat.payload(message, options) == {
        "text": "t @octocat",
        "attachments": [{"color": "#cf222e", "text": "f"}],
        "parseUrls": False,
    }


@pytest.mark.parametrize(
    "address", ["https://x.example/a_(b)*c*", "https://x.example/@all", "https://x.example/\ud800"]
)
def test_a_link_ends_where_its_address_ends(address: str) -> None:
    text = told(Message(title=(Span("a", link=address), Span(" (b)"))))
    (found,) = effects({"msg": text})
    assert found.startswith("leads to https://x.example/")
    assert text.endswith(") (b)")


def test_only_names_are_mentioned_each_once() -> None:
    assert told(Message(title=(Span("a"),), mentions=("@x", "a b", "", "octo.cat", "octo.cat"))) == "a @octo.cat"


def test_many_long_names_leave_room_for_the_message() -> None:
    names = tuple(f"{number}{'n' * 60}" for number in range(30))
    assert told(Message(title=(Span("a"),), mentions=names)).count("@") == 6
    assert told(Message(title=(Span("a"),), mentions=tuple(map(str, range(30))))).count("@") == 10


def test_the_last_links_go_first_when_there_is_no_room() -> None:
    buttons = tuple(Button(str(number), f"https://x.example/{number}" + "a" * 400) for number in range(4))
    assert re.findall(r"\[(\d)\]", told(Message(title=(Span("t"),), buttons=buttons))) == ["0", "1"]


# -- the page

PAGE = (Path(__file__).parents[2] / "docs/destinations/rocketchat.md").read_text("utf-8")


@pytest.mark.parametrize("example", re.findall(r"(?s)```yaml\n(.*?)```", PAGE))
def test_the_page_s_examples_are_right(tmp_path: Path, example: str) -> None:
    (tmp_path / "config.yaml").write_text(example)
    load(str(tmp_path / "config.yaml"), {"ROCKETCHAT_WEBHOOK_URL": HOOK, "ROCKETCHAT_TOKEN": "made-up"})


def test_the_page_says_what_becomes_of_every_word() -> None:
    assert [word for word in rocketchat._CODES if f"`{word}`" not in PAGE] == []
