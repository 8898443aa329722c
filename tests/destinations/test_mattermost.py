"""What is Mattermost's alone: its words, its channels, its options. The rest is in `test_every_chat` and `_look`."""

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
from bridge.destinations import mattermost
from bridge.destinations._markdown import Room, facts, units
from bridge.errors import Dead, DeliveryError, Gone, RateLimited, Rejected, Transient, Unsure
from bridge.message import Bullets, Button, Code, Message, Paragraph, Quote, Span
from bridge.units import Rate
from tests.fakes.base import accepted_then_connection_lost, status
from tests.fakes.mattermost import (
    ARCHIVED,
    CHANNEL,
    OTHER_TEAM,
    TOKEN,
    WEBHOOK_PATH,
    FakeMattermost,
    check,
    error,
)
from tests.fakes.mattermost_reader import STRANGE, effects, form, read, texts
from tests.hostile import HOSTILE

HELLO = Message(title=(Span("hello"),))
HOOK = "https://chat.example.com/hooks/madeupsecret"
BOT = {"site": "https://chat.example.com", "token": "made-up", "channel": "acme/builds"}


@pytest.fixture
async def fake() -> AsyncIterator[FakeMattermost]:
    async with FakeMattermost() as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


def bot(fake: FakeMattermost, session: Any, **more: Any) -> mattermost.Bot:
    given = {"site": fake.base, "token": TOKEN, "channel": CHANNEL} | more
    place = mattermost.open("crew", mattermost.Options.model_validate(given), session)
    assert isinstance(place, mattermost.Bot)
    return place


def webhook(fake: FakeMattermost, session: Any, **more: Any) -> mattermost.Webhook:
    options = mattermost.Options.model_validate({"url": fake.webhook_url} | more)
    place = mattermost.open("crew", options, session)
    assert isinstance(place, mattermost.Webhook)
    return place


async def post(place: Any, **more: Any) -> dict[str, str]:
    receipt: dict[str, str] = await place.send(HELLO, **({"channel": None, "thread": None} | more))
    return receipt


# -- where a post goes


@pytest.mark.parametrize("channel", [CHANNEL, "acme/builds", "#builds", "~builds", "builds"])
async def test_a_channel_is_an_id_or_a_name(fake: FakeMattermost, session: Any, channel: str) -> None:
    place = bot(fake, session, channel=channel)
    assert (await post(place))["channel"] == CHANNEL
    asked = len(fake.calls)
    await post(place)
    assert len(fake.calls) == asked + 1, "a name is looked up once"
    assert {one.place for one in fake.messages.values()} == {CHANNEL}


async def test_a_rule_s_channel_comes_first(fake: FakeMattermost, session: Any) -> None:
    other = "chanother00000000000000001"
    fake.channels[OTHER_TEAM, "other"] = other
    fake.members.add(other)
    assert (await post(bot(fake, session), channel="other/other"))["channel"] == other
    await post(webhook(fake, session, channel="#a"), channel="~b")
    assert fake.calls[-1].body["channel"] == "b"


async def test_a_name_in_two_teams_asks_for_the_team(fake: FakeMattermost, session: Any) -> None:
    fake.channels[OTHER_TEAM, "builds"] = "chanother00000000000000001"
    with pytest.raises(Dead, match="write team/builds as channel"):
        await post(bot(fake, session, channel="builds"))


@pytest.mark.parametrize("channel", ["nowhere", "acme/nowhere", "nobody/builds"])
async def test_a_channel_that_is_not_there_is_dead(fake: FakeMattermost, session: Any, channel: str) -> None:
    with pytest.raises(Dead, match="channel"):
        await post(bot(fake, session, channel=channel))


async def test_while_a_name_is_looked_up_nothing_can_have_arrived(fake: FakeMattermost, session: Any) -> None:
    for channel in ("builds", "acme/builds"):
        fake.faults.append(accepted_then_connection_lost())
        fake.faults.append(accepted_then_connection_lost())  # aiohttp repeats a GET
        with pytest.raises(Transient):
            await post(bot(fake, session, channel=channel))
        fake.faults.clear()


# -- posts and edits


async def test_a_delivery_that_is_sent_again_is_there_once(fake: FakeMattermost, session: Any) -> None:
    place = bot(fake, session)
    assert await post(place, key="d1") == await post(place, key="d1")
    await post(place, key="d2")
    assert len(fake.messages) == 2
    one, again, other = (call.body["pending_post_id"] for call in fake.calls)
    assert one == again != other
    assert TOKEN not in one


async def test_an_edit_shows_the_new_state_and_takes_the_old_attachment_away(
    fake: FakeMattermost, session: Any
) -> None:
    place = bot(fake, session)
    receipt = await place.send(Message(title=(Span("a"),), footer=(Span("f"),)), channel=None, thread=None)
    assert await place.edit(HELLO, receipt) == receipt
    (posted,) = fake.messages.values()
    assert posted.body == {"message": "hello", "props": {"attachments": []}}


async def test_a_post_that_may_not_be_edited_is_gone(fake: FakeMattermost, session: Any) -> None:
    """Of a post that is not there, Mattermost says that one may not edit it."""
    place = bot(fake, session)
    receipt = await post(place)
    fake.messages.clear()
    with pytest.raises(Gone):
        await place.edit(HELLO, receipt)


@pytest.mark.parametrize("receipt", [{}, {"id": ""}, {"id": "../../x"}, {"ts": "1700000000.1", "channel": "C1"}])
async def test_without_a_post_s_id_there_is_nothing_to_edit(
    fake: FakeMattermost, session: Any, receipt: dict[str, str]
) -> None:
    with pytest.raises(Gone):
        await bot(fake, session).edit(HELLO, receipt)
    with pytest.raises(Gone):
        await webhook(fake, session).edit(HELLO, receipt)
    assert fake.calls == []


async def test_an_answer_that_names_no_post_leaves_it_unsure(fake: FakeMattermost, session: Any) -> None:
    for body in ({"id": "x"}, {"id": None}, {}):
        fake.faults.append(error(201, "x"))
        fake.faults[-1] = type(fake.faults[-1])("answer", status=201, body=body)
        with pytest.raises(Unsure):
            await post(bot(fake, session))


# -- how it is


async def test_doctor_says_who_the_bot_is_and_where(fake: FakeMattermost, session: Any) -> None:
    health = await bot(fake, session, channel="builds").check()
    assert (health.ok, health.text) == (True, "token valid, bot bridge, channel builds")
    assert fake.messages == {}


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"token": "wrong"}, "make a new one for the bot"),
        ({"channel": "nowhere"}, "no channel nowhere in the bot's teams"),
        ({"channel": "chanprivate000000000000001"}, "private one that the bot is not in"),
        ({"channel": ARCHIVED}, "the channel is archived"),
    ],
)
async def test_doctor_says_what_is_wrong(fake: FakeMattermost, session: Any, more: dict[str, str], text: str) -> None:
    health = await bot(fake, session, **more).check()
    assert health.ok is False
    assert text in health.text


async def test_doctor_says_how_to_let_the_bot_in(fake: FakeMattermost, session: Any) -> None:
    fake.members.clear()
    health = await bot(fake, session).check()
    assert (health.ok, "/invite @bridge" in health.text) == (False, True)


async def test_doctor_says_when_nobody_is_there_or_it_is_no_mattermost(fake: FakeMattermost, session: Any) -> None:
    health = await bot(fake, session, site=f"{fake.base}/elsewhere").check()
    assert (health.ok, "is not one of mattermost's" in health.text) == (False, True)
    await fake.stop()
    health = await bot(fake, session).check()
    assert (health.ok, "no connection" in health.text) == (False, True)
    assert (await webhook(fake, session).check()).ok is None


async def test_posts_and_edits_share_a_limit_that_names_no_secret(fake: FakeMattermost) -> None:
    place, hook = bot(fake, None), webhook(fake, None, rate="2/s")
    (bucket,) = place.buckets(edit=False, channel=None)
    assert place.buckets(edit=True, channel="x") == (bucket,)
    assert (bucket.rate, bucket.burst) == (Rate(10), 10)
    (own,) = hook.buckets(edit=False, channel=None)
    assert own.rate == Rate(2)
    assert own.key != bucket.key
    assert TOKEN not in bucket.key
    assert "hooks" not in own.key


FAULTS = [status(502), error(401, "x.y"), accepted_then_connection_lost(), error(400, "a.b"), status(200)]


@pytest.mark.parametrize("fault", FAULTS)
async def test_no_error_and_no_log_tells_the_address_or_token(
    fake: FakeMattermost, session: Any, fault: Any, caplog: pytest.LogCaptureFixture
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


@pytest.mark.parametrize("word", mattermost._CODES)
def test_every_word_has_its_class_and_says_what_to_do(word: str) -> None:
    kind, text = mattermost._CODES[word]
    judged = mattermost.judge(400, {}, {"id": word, "message": "our secret words"})
    assert type(judged) is kind
    assert word in str(judged)
    assert text in str(judged)
    assert "secret" not in str(judged)


@pytest.mark.parametrize(
    ("http", "answer", "kind"),
    [
        (400, {"id": "model.post.is_valid.props.app_error"}, Rejected),
        (400, {"id": "api.unknown.app_error"}, Rejected),
        (401, {"id": "api.unknown.app_error"}, Dead),
        (403, {"id": "api.unknown.app_error"}, Dead),
        (404, {"id": "api.unknown.app_error"}, Dead),
        (501, {"id": "api.unknown.app_error"}, Dead),
        (500, {"id": "api.unknown.app_error"}, Transient),
        (500, {"id": "api.post.deduplicate_create_post.pending"}, Transient),
        (413, None, Rejected),
        (403, None, Transient),
        (404, {"id": "SECRET words"}, Transient),
        (502, None, Transient),
        (302, None, Transient),
        (200, None, Unsure),
        (429, None, RateLimited),
    ],
)
def test_the_status_speaks_where_no_word_does(http: int, answer: Any, kind: type[DeliveryError]) -> None:
    assert type(mattermost.judge(http, {}, answer)) is kind
    assert type(mattermost.judge_webhook(http, {}, answer, "")) is kind


def test_good_is_a_post_or_a_webhook_s_ok() -> None:
    assert mattermost.judge(201, {}, {"id": CHANNEL}) is None
    assert mattermost.judge(200, {}, []) is None
    assert mattermost.judge_webhook(200, {}, None, "ok\n") is None
    assert isinstance(mattermost.judge_webhook(200, {}, {"id": "x"}, "{}"), Unsure)


@pytest.mark.parametrize(
    ("headers", "after"),
    [
        ({"X-Ratelimit-Reset": "3"}, 3),
        ({"Retry-After": "1.5", "X-Ratelimit-Reset": "3"}, 1.5),
        ({"X-Ratelimit-Reset": "soon"}, 30),
        ({}, 30),
    ],
)
def test_how_long_to_wait(headers: dict[str, str], after: float) -> None:
    judged = mattermost.judge(429, headers, None)
    assert isinstance(judged, RateLimited)
    assert judged.after == after


# -- options


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, "give url (an incoming webhook), or site, token and channel"),
        ({"token": "made-up"}, "site and channel missing"),
        ({"url": HOOK, "token": "made-up"}, "not both"),
        ({"url": HOOK, "site": "https://chat.example.com"}, "not both"),
        ({"url": "chat/hooks/madeupsecret"}, "url is no address"),
        ({"url": "https://chat.example.com/acme/channels/madeupsecret"}, "url is no incoming webhook"),
        ({"url": HOOK + "?x=1"}, "url is no incoming webhook"),
        (BOT | {"site": "chat.example.com"}, "site is no address"),
        (BOT | {"site": "https://chat.example.com/api/v4"}, "site is the server alone"),
        (BOT | {"channel": "The Builds"}, "channel is no channel"),
        (BOT | {"channel": "a/b/c"}, "channel is no channel"),
        (BOT | {"channel": "@octocat"}, "a bot posts to channels"),
        (BOT | {"token": "made up"}, "copy it again"),
    ],
)
def test_options_that_are_refused_say_why_and_not_themselves(given: dict[str, str], text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        mattermost.Options.model_validate(given)
    assert text in str(caught.value)
    assert "madeupsecret" not in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        {"url": HOOK},
        {"url": f" {HOOK}/ ", "channel": "@octocat"},
        {"url": "http://127.0.0.1:8065/sub/hooks/madeupsecret"},
        BOT,
        BOT | {"site": "http://chat.internal:8065/sub/", "channel": "#builds"},
    ],
)
def test_options_that_are_taken(given: dict[str, str]) -> None:
    assert mattermost.Options.model_validate(given)


# -- how a text is written

OPTIONS = mattermost.Options.model_validate({"url": HOOK})
STRANGERS = st.text("<>@#&![](){}*_~|`\\:/-+=.1 ehw", min_size=1, max_size=40).map(str.strip).filter(bool)


def told(*blocks: Any, **more: Any) -> str:
    body = mattermost.payload(Message(title=(Span("t"),), body=blocks, **more), OPTIONS)
    check(body)
    return str(body["attachments"][0]["text"])


@given(value=STRANGERS)
@settings(max_examples=150, deadline=None, database=None)
def test_what_is_escaped_reads_as_it_was(value: str) -> None:
    body = mattermost.payload(Message(title=(Span(value),)), OPTIONS)
    assert form(body) == [["paragraph_open ", "paragraph_close "]]
    assert read(texts(body)[0]) == re.sub(" +", " ", value)
    assert effects(body) == set()


def test_blocks_have_their_forms() -> None:
    text = told(
        Paragraph((Span("p "), Span("b", bold=True, italic=True), Span("s", strike=True), Span("c`d", code=True))),
        Bullets(((Span("1"),), (Span("2\n3"),)), ordered=True),
        Quote((Span("q\nr"),)),
        Code("a\n```\nb"),
        Paragraph((Span("e", code=True, link="https://x.example"),)),
        facts=(("Region", (Span("eu"),)), ("", (Span("plain"),)), ("empty", (Span(" "),))),
        buttons=(Button("Open", "https://x.example/1"), Button("Bad", "javascript:x")),
    )
    assert text == (
        "p ***b***\u2060~~s~~\u2060`cˋd`\n1. 1\n2. 2\n  3\n\n> q\n> r\n```\na\nˋˋˋ\nb\n```\n[`e`](https://x.example)"
        "\n\n**Region:** eu · plain\n\n[Open](https://x.example/1)"
    )


@pytest.mark.parametrize("value", [*HOSTILE, *STRANGE])
def test_what_a_webhook_reads_of_slack_s_forms_finds_nothing(value: str) -> None:
    """In code too, and over the borders of the pieces of a line."""
    one = value[:60]
    spans = (Span(one), Span(one, code=True), Span(one, bold=True), Span(" | > "), Span(one, link="https://x.example"))
    body = mattermost.payload(Message(title=spans, body=(Code(one), Paragraph(spans))), OPTIONS)
    assert {effect for effect in effects(body) if not effect.startswith("form ")} == {"leads to https://x.example"}
    raw = body["text"] + body["attachments"][0]["text"]
    assert not re.search(r"<!|<@|<[^\n<|>]+\|[^\n>]+>", raw)


@pytest.mark.parametrize(
    "address", ["https://x.example/a_(b)*c*", "https://x.example/@channel", "https://x.example/\ud800"]
)
def test_a_link_ends_where_its_address_ends(address: str) -> None:
    body = mattermost.payload(Message(title=(Span("a", link=address), Span(" (b)"))), OPTIONS)
    (found,) = effects(body)
    assert found.startswith("leads to https://x.example/")
    assert read(texts(body)[0]) == "a (b)"


def test_only_names_are_mentioned_each_once() -> None:
    odd = ("@octocat", "a b", "", "<!channel>", "octo.cat", "octo.cat")
    body = mattermost.payload(Message(title=(Span("a"),), mentions=odd), OPTIONS)
    assert body == {"text": "a @octo.cat"}


def test_an_address_that_leaves_no_room_for_its_text_is_left_out() -> None:
    for length, linked in ((600, True), (1_400, False)):
        link = "https://x.example/" + "a" * length
        text = mattermost.payload(Message(title=(Span("title", link=link),)), OPTIONS)["text"]
        assert text == (f"[title]({link})" if linked else "title")


@given(label=st.text(max_size=300), value=st.text(max_size=600), count=st.integers(1, 30))
@settings(max_examples=40, deadline=None, database=None)
def test_facts_stay_in_their_room(label: str, value: str, count: int) -> None:
    text = facts(((label, (Span(value, bold=True),)),) * count, Room(900), mattermost._mattermost_text.DIALECT)
    assert units(text) <= 900 + len(" · and 5 more")


@pytest.mark.parametrize("left", range(1, 60))
def test_a_fact_takes_no_more_than_there_is(left: int) -> None:
    given = (("a:b", (Span("v" * 99),)),)
    assert units(facts(given, Room(left), mattermost._mattermost_text.DIALECT)) <= left


def test_the_last_links_go_first_when_there_is_no_room() -> None:
    buttons = tuple(Button(str(number), f"https://x.example/{number}" + "a" * 1_400) for number in range(4))
    text = told(buttons=buttons)
    assert re.findall(r"\[(\d)\]", text) == ["0", "1"]


# -- the page

PAGE = (Path(__file__).parents[2] / "docs/destinations/mattermost.md").read_text("utf-8")


@pytest.mark.parametrize("example", re.findall(r"(?s)```yaml\n(.*?)```", PAGE))
def test_the_page_s_examples_are_right(tmp_path: Path, example: str) -> None:
    (tmp_path / "config.yaml").write_text(example)
    load(str(tmp_path / "config.yaml"), {"MATTERMOST_WEBHOOK_URL": HOOK, "MATTERMOST_BOT_TOKEN": "made-up"})


def test_the_page_says_what_becomes_of_every_word() -> None:
    assert [word for word in mattermost._CODES if f"`{word}`" not in PAGE] == []


@pytest.mark.parametrize("chat", ["mattermost", "rocketchat"])
def test_a_person_is_a_user_name(tmp_path: Path, chat: str) -> None:
    (tmp_path / "config.yaml").write_text(f"people: {{octocat: {{{chat}: '@octocat'}}}}\n")
    with pytest.raises(Exception, match="without the @"):
        load(str(tmp_path / "config.yaml"), {})
