"""Zulip through a socket, and what it alone does. The rest is in `test_every_look` and `test_every_chat`."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bridge.config import load
from bridge.destinations import _zulip_topic, zulip
from bridge.destinations.base import Health
from bridge.errors import Dead, DeliveryError, Gone, RateLimited, Rejected, Transient, Unsure
from bridge.event import Event, Kind, Status
from bridge.message import Bullets, Code, Message, Paragraph, Quote, Span
from bridge.render.samples import full
from bridge.units import Rate
from tests.altered import replace
from tests.fakes.base import Fault, accepted_then_connection_lost, redirect, status
from tests.fakes.zulip import CHANNEL, EMAIL, KEY, FakeZulip, error, ratelimited
from tests.fakes.zulip_reader import check, read

EVENT = full(Kind.PIPELINE, Status.FAILURE, None).event.with_(pull_request=None)
MESSAGE = Message(title=(Span("CI broke on main", bold=True),), mentions=("1234",), event=EVENT)
FIXED = Message(title=(Span("CI is fixed"),), event=EVENT)
GIVEN = {"site": "https://acme.example", "email": EMAIL, "api_key": KEY, "channel": CHANNEL}
OPTIONS = zulip.Options.model_validate(GIVEN)


@pytest.fixture
async def fake() -> AsyncIterator[FakeZulip]:
    async with FakeZulip() as fake:
        yield fake
        assert fake.invalid == []


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def made(fake: FakeZulip, session: aiohttp.ClientSession, **more: Any) -> zulip.Bot:
    return zulip.open("builds", zulip.Options.model_validate(fake.options | {"timeout": "1s"} | more), session)


@pytest.fixture
def bot(fake: FakeZulip, session: aiohttp.ClientSession) -> zulip.Bot:
    return made(fake, session)


async def post(place: zulip.Bot, **more: Any) -> dict[str, str]:
    return await place.send(MESSAGE, **({"channel": None, "thread": None} | more))


def text(*blocks: Any, **more: Any) -> str:
    body = zulip.payload(Message(title=(Span("t"),), body=blocks, **more), OPTIONS)
    check(body)
    return str(body["content"])


# -- a good day


async def test_a_post_says_where_it_is_and_an_edit_leaves_it_in_its_topic(fake: FakeZulip, bot: zulip.Bot) -> None:
    receipt = await post(bot)
    assert receipt == {"id": "900"}
    assert await bot.edit(replace(FIXED, event=None), receipt) == receipt
    posted = fake.messages["900"]
    assert (posted.place, len(posted.history)) == ("acme/app · main", 2)
    assert list(parse_qs(fake.calls[-1].raw.decode())) == ["content"]


async def test_a_rule_may_name_another_channel(fake: FakeZulip, bot: zulip.Bot) -> None:
    await post(bot, channel="#builds")
    with pytest.raises(Dead, match="no such channel for this bot"):
        await post(bot, channel="elsewhere")


async def test_what_may_not_be_edited_any_more_is_gone(fake: FakeZulip, bot: zulip.Bot) -> None:
    receipt = await post(bot)
    fake.too_late = True
    with pytest.raises(Gone, match="too late"):
        await bot.edit(FIXED, receipt)
    fake.messages.clear()
    with pytest.raises(Gone, match="deleted"):
        await bot.edit(FIXED, receipt)


async def test_an_edit_that_is_refused_in_words_we_do_not_know_is_posted_anew(fake: FakeZulip, bot: zulip.Bot) -> None:
    receipt = await post(bot)
    fake.faults += [error(400, "News of tomorrow"), error(400, "News of tomorrow")]
    with pytest.raises(Gone):
        await bot.edit(FIXED, receipt)
    with pytest.raises(Rejected):
        await post(bot)


@pytest.mark.parametrize("receipt", [{}, {"id": ""}, {"id": "../../users"}, {"id": "0"}])
async def test_without_a_message_s_id_there_is_nothing_to_edit(
    fake: FakeZulip, bot: zulip.Bot, receipt: dict[str, str]
) -> None:
    with pytest.raises(Gone):
        await bot.edit(FIXED, receipt)
    assert fake.calls == []


async def test_check_asks_without_posting(fake: FakeZulip, session: aiohttp.ClientSession) -> None:
    bot = made(fake, session)
    assert await bot.check() == Health(True, "bot Builds, channel builds")
    assert fake.messages == {}
    fake.me["is_active"] = False
    assert "was deactivated" in (await bot.check()).text


async def test_check_says_what_to_click(fake: FakeZulip, session: aiohttp.ClientSession) -> None:
    wrong = await made(fake, session, api_key=KEY + "x").check()
    words = "zulip says INVALID_API_KEY: copy email and api_key again from Personal settings, Bots"
    assert wrong == Health(False, words)
    assert "subscribe the bot to it" in (await made(fake, session, channel="elsewhere").check()).text
    fake.faults += [status(200), status(502)]
    bot = made(fake, session)
    assert await bot.check() == Health(False, "the answer (HTTP 200) is not one of zulip's")
    assert await bot.check() == Health(False, "zulip answers HTTP 502")


# -- bad days


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (ratelimited(0.5), RateLimited),
        (status(429), RateLimited),
        (error(401, "Invalid API key", "INVALID_API_KEY"), Dead),
        (error(500, "made up"), Transient),
        (Fault("answer", body={"result": "success"}), Unsure),
        (Fault("answer", body={"result": "success", "id": "7"}), Unsure),
        (redirect(), Transient),
        (accepted_then_connection_lost(), Unsure),
    ],
)
async def test_every_failure_has_its_class_and_tells_no_secret(
    fake: FakeZulip, bot: zulip.Bot, fault: Fault, kind: type[DeliveryError], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    fake.faults.append(fault)
    with pytest.raises(DeliveryError) as caught:
        await post(bot)
    assert type(caught.value) is kind
    assert len(fake.calls) == 1
    assert KEY not in "".join(traceback.format_exception(caught.value)) + caplog.text + repr(bot._options)


async def test_a_limit_may_be_a_fraction_and_holds_for_the_bot(fake: FakeZulip, bot: zulip.Bot) -> None:
    fake.faults.append(ratelimited(0.5))
    with pytest.raises(RateLimited) as caught:
        await post(bot)
    (bucket,) = bot.buckets(edit=True, channel=None)
    assert (caught.value.after, caught.value.bucket) == (0.5, bucket.key)
    assert bot.buckets(edit=False, channel="elsewhere") == (bucket,)
    assert bucket.rate == Rate(3)
    assert EMAIL not in bucket.key


# -- what an answer means


@pytest.mark.parametrize(("code", "kind"), [(code, kind) for code, (kind, _) in zulip._CODES.items()])
def test_every_code_has_its_class(code: str, kind: type[DeliveryError]) -> None:
    judged = zulip.judge(400, {}, {"result": "error", "code": code, "msg": "our secret words"})
    assert type(judged) is kind
    assert code in str(judged)
    assert "secret" not in str(judged)


@pytest.mark.parametrize(("words", "kind", "told"), zulip._WORDS)
def test_every_sentence_has_its_class(words: str, kind: type[DeliveryError], told: str) -> None:
    answer = {"result": "error", "code": "BAD_REQUEST", "msg": f"{words.capitalize()} our secret words"}
    judged = zulip.judge(400, {}, answer)
    assert type(judged) is kind
    assert told in str(judged)
    assert "secret" not in str(judged)


@pytest.mark.parametrize(
    ("http", "answer", "edit", "kind"),
    [
        (400, {"result": "error", "msg": "News"}, False, Rejected),
        (400, {"result": "error", "msg": "News"}, True, Gone),
        (401, {"result": "error", "msg": "News"}, False, Dead),
        (403, {"result": "error", "msg": "News"}, False, Dead),
        (404, {"result": "error", "msg": "News"}, False, Dead),
        (405, {"result": "error", "msg": "News"}, False, Transient),
        (503, {"result": "error", "msg": "Invalid API key", "code": "INVALID_API_KEY"}, False, Transient),
        (200, {"result": "partially_completed"}, False, Unsure),
        (400, None, True, Transient),
        (413, None, False, Rejected),
        (400, {"code": "RATE_LIMIT_HIT"}, False, RateLimited),
    ],
)
def test_the_status_speaks_where_no_word_is_known(
    http: int, answer: Any, edit: bool, kind: type[DeliveryError]
) -> None:
    assert type(zulip.judge(http, {}, answer, edit=edit)) is kind


@pytest.mark.parametrize(
    ("body", "header", "after"),
    [
        ({"retry-after": 0.5}, "9", 0.5),
        ({"retry-after": True}, "0.25", 0.25),
        ({}, "soon", 30),
        (None, None, 30),
    ],
)
def test_how_long_to_wait(body: Any, header: str | None, after: float) -> None:
    judged = zulip.judge(429, {"Retry-After": header} if header else {}, body)
    assert isinstance(judged, RateLimited)
    assert judged.after == after


# -- how it looks

MARKUP = st.text("<>@#&![]()*_~|`\\:/-+.1$^= ehrt;'\"", min_size=1, max_size=40).map(lambda one: " ".join(one.split()))


@given(value=MARKUP.filter(bool))
@settings(max_examples=200, deadline=None, database=None)
def test_what_is_escaped_reads_as_it_was(value: str) -> None:
    seen = read(text(Paragraph((Span(value),))))
    assert seen.forms == ["p", "/p"]
    assert seen.text == f"t\n{value}"


@pytest.mark.parametrize("value", ["@**all**", "a ` b", "`` x ``", "\\", "@_**Mona|1234** @*on-call*"])
def test_code_cannot_end_and_calls_nobody(value: str) -> None:
    for block in (Paragraph((Span(value, code=True),)), Code(value)):
        seen = read(text(block))
        assert {one.strip("/") for one in seen.forms} <= {"p", "code", "pre"}
        assert not re.search(r"@[*_]", text(block))


def test_people_and_groups_are_called_by_configuration_alone() -> None:
    told = text(
        Paragraph((Span("@**all** @*on-call*"),)), mentions=("1234", "*on-call*", "1234", "all", "**all**", "0")
    )
    assert told.split("\n")[0] == "t @**|1234** @*on-call*"
    assert [one for one in read(told).forms if "calls" in one] == ["span calls **|1234**", "span calls *on-call*"]


def test_lists_quotes_and_code_stand_alone() -> None:
    item = (Span("a"),)
    told = text(
        Bullets((item, item)), Quote(item), Code("x"), Paragraph((Span("    b"),)), Bullets((item,), ordered=True)
    )
    assert told == "t\n\n- a\n- a\n\n> a\n\n```text\nx\n```\n\nb\n\n1. a"


def test_a_form_over_several_lines_is_left_out_and_code_in_a_link_too() -> None:
    assert text(Paragraph((Span("a\nb", bold=True),))) == "t\na\nb"
    linked = Span("a", code=True, link="https://x.example/1")
    assert text(Paragraph((linked,))) == "t\n[a](https://x.example/1)"


@pytest.mark.parametrize(
    "address", ["https://x.example/a'b'", "https://x.example/$$a$$?b&lt;c", "https://x.example/(a)"]
)
def test_a_link_ends_where_its_address_ends(address: str) -> None:
    seen = read(text(Paragraph((Span("a", link=address), Span(" (b)")))))
    (link,) = (one for one in seen.forms if one.startswith("a "))
    assert unquote(link.removeprefix("a ")) == address
    assert seen.text == "t\na (b)"


# -- topics


@pytest.mark.parametrize(
    ("template", "more", "wanted"),
    [
        (_zulip_topic.USUAL, {}, "acme/app · main"),
        (_zulip_topic.USUAL, {"branch": None, "tag": "v1.4.0"}, "acme/app · v1.4.0"),
        (_zulip_topic.USUAL, {"branch": "x" * 200}, "acme/app · " + "x" * 48 + "…"),
        (_zulip_topic.USUAL, {"branch": "a\nb\x00\u202ec @**all** {{ x }}"}, "acme/app · a bc @**all** {{ x }}"),
        ("{{ pipeline }} #{{ number }}", {}, "CI #41"),
        ("builds", {}, "builds"),
        ("{{ environment or ' ' }}", {"environment": None}, "builds"),
    ],
)
def test_a_topic_is_one_line_of_what_the_template_says(template: str, more: dict[str, Any], wanted: str) -> None:
    assert _zulip_topic.topic(template, EVENT.with_(**more)) == wanted


def test_a_pull_request_has_a_topic_of_its_own() -> None:
    event = full(Kind.PIPELINE, Status.FAILURE, None).event
    assert _zulip_topic.topic(_zulip_topic.USUAL, event) == "acme/app · #12"


def test_without_an_event_or_with_a_template_that_fails_there_is_a_topic() -> None:
    bare = Event(source="github", type="github", kind=Kind.PUSH, status=Status.UNKNOWN)
    assert _zulip_topic.topic(_zulip_topic.USUAL, None) == "builds"
    assert _zulip_topic.topic(_zulip_topic.USUAL, bare) == "builds"
    assert _zulip_topic.topic("{{ nobody }}", EVENT) == "acme/app"


# -- options


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"site": "acme.zulipchat.com"}, "site is no address"),
        ({"email": "builds"}, "email is the bot's"),
        ({"api_key": "made up"}, "copy it again"),
        ({"channel": "#"}, "channel is the name"),
        ({"topic": "{{ brnach }}"}, "topic is a template that does not work: "),
        ({"topic": "{% if %}"}, "topic is a template that does not work: "),
        ({"topic": "{{ labels.x.y }}"}, "topic is a template that does not work: "),
    ],
)
def test_what_is_wrong_is_refused_with_what_to_do(more: dict[str, str], words: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(words)) as caught:
        zulip.Options.model_validate(GIVEN | more)
    assert "made up" not in str(caught.value)


def test_a_site_may_end_as_its_api_does_and_a_channel_begin_as_it_is_shown() -> None:
    options = zulip.Options.model_validate(GIVEN | {"site": "https://acme.example/api/v1/", "channel": "#builds"})
    assert (options.site, options.channel) == ("https://acme.example", "builds")


@pytest.mark.parametrize("needed", GIVEN)
def test_every_key_but_the_topic_is_needed(needed: str) -> None:
    with pytest.raises(ValidationError, match=needed):
        zulip.Options.model_validate({key: value for key, value in GIVEN.items() if key != needed})


@pytest.mark.parametrize(
    ("written", "good"), [("1234", True), ("*on-call*", True), ("octocat", False), ("**all**", False)]
)
def test_people_are_checked_when_the_configuration_is_read(tmp_path: Path, written: str, good: bool) -> None:
    (tmp_path / "config.yaml").write_text(
        f'version: 1\ndestinations: {{out: {{type: console}}}}\npeople: {{octocat: {{zulip: "{written}"}}}}\n'
    )
    try:
        load(str(tmp_path / "config.yaml"), {})
        said = ""
    except Exception as error:
        said = str(error)
    assert ("no Zulip id" in said) == (not good)


# -- the page

PAGE = (Path(__file__).parents[2] / "docs/destinations/zulip.md").read_text("utf-8")


@pytest.mark.parametrize("example", re.findall(r"(?s)```yaml\n(.*?)```", PAGE))
def test_the_page_s_examples_are_right(tmp_path: Path, example: str) -> None:
    (tmp_path / "config.yaml").write_text(example)
    load(str(tmp_path / "config.yaml"), {"ZULIP_API_KEY": KEY})


def test_the_page_says_what_becomes_of_every_word() -> None:
    words = [*zulip._CODES, *(one for one, _, _ in zulip._WORDS)]
    assert [one for one in words if f"`{one}`" not in PAGE] == []
