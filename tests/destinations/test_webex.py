"""Webex: what each answer means, which options it takes, what `check` says, and what only it does to a message."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import ValidationError

from bridge.config import load
from bridge.destinations import webex
from bridge.destinations._webex_markdown import FACTS, LINKS, fitted, size
from bridge.destinations.base import Health
from bridge.errors import ConfigError, Dead, DeliveryError, Gone, RateLimited, Rejected, Transient, Unsure
from bridge.message import Bullets, Button, Code, Heading, Message, Paragraph, Quote, Span
from tests.fakes.base import status
from tests.fakes.webex import LONGEST, MOST_EDITS, ROOM, TOKEN, FakeWebex, error

OWN = {"message": "made up", "errors": [{"description": "made up"}], "trackingId": "ROUTER_6C3D"}
OPTIONS = {"token": TOKEN, "room": ROOM}
MESSAGE = Message(title=(Span("CI broke", bold=True, link="https://ci.example.com/1"), Span(" · acme/app")))
PERSON_ID = "Y2lzY29zcGFyazovL3VzL1BFT1BMRQ"
ADDRESS = "https://ci.example.com/"


@pytest.fixture
async def fake() -> AsyncIterator[FakeWebex]:
    async with FakeWebex() as fake:
        yield fake
        assert fake.invalid == []


@pytest.fixture
async def bot(fake: FakeWebex) -> AsyncIterator[webex.Bot]:
    async with aiohttp.ClientSession() as session:
        yield made(fake, session)


def made(fake: FakeWebex, session: aiohttp.ClientSession, **more: Any) -> webex.Bot:
    options = webex.Options.model_validate(OPTIONS | {"api_url": fake.api_url, "timeout": "1s"} | more)
    return webex.open("builds", options, session)


def told(*blocks: Any, **more: Any) -> str:
    body = webex.payload(Message(title=(Span("t"),), body=blocks, **more), webex.Options.model_validate(OPTIONS))
    return str(body["markdown"])


# -- what an answer means


@pytest.mark.parametrize(
    ("http", "answer", "kind", "words"),
    [
        (401, OWN, Dead, "Regenerate"),
        (403, OWN, Dead, "moderated"),
        (404, OWN, Dead, "add the bot in the space"),
        (400, OWN, Rejected, "HTTP 400, ROUTER_6C3D"),
        (415, OWN, Rejected, "HTTP 415"),
        (413, OWN, Rejected, "too large"),
        (500, OWN, Transient, "HTTP 500, ROUTER_6C3D"),
        (409, OWN, Transient, "HTTP 409"),
        (401, None, Transient, "HTTP 401"),
        (404, {"error": "nginx"}, Transient, "HTTP 404"),
        (200, OWN, Unsure, "may have arrived"),
        (200, {"id": 7}, Unsure, "may have arrived"),
        (204, None, Unsure, "may have arrived"),
        (302, None, Transient, "redirects"),
        (400, OWN | {"trackingId": "<b>https://x"}, Rejected, "(HTTP 400)"),
    ],
)
def test_every_answer_has_its_meaning(http: int, answer: Any, kind: type[DeliveryError], words: str) -> None:
    found = webex.judge(http, {}, answer)
    assert type(found) is kind
    assert words in str(found)
    assert "made up" not in str(found), "Webex's words may quote the message"


def test_a_message_that_has_an_id_is_there() -> None:
    assert webex.judge(200, {}, {"id": "x"}) is None


@pytest.mark.parametrize(("http", "after", "wait"), [(429, "7", 7), (429, "0.5", 0.5), (423, "3", 3), (429, None, 15)])
def test_it_waits_as_long_as_webex_says(http: int, after: str | None, wait: float) -> None:
    found = webex.judge(http, {"Retry-After": after} if after else {}, OWN)
    assert isinstance(found, RateLimited)
    assert found.after == wait


# -- options


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"token": "two words!"}, "My Webex Apps"),
        ({"token": ""}, "My Webex Apps"),
        ({"room": "#builds"}, "not its name"),
        ({"room": "our builds"}, "not its name"),
        ({"api_url": "webexapis.com"}, "no address"),
        ({"api_url": "http://webex.example/v1"}, "https://"),
        ({"parent": "x"}, "Extra inputs"),
    ],
)
def test_a_wrong_option_is_refused_with_what_to_do(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        webex.Options.model_validate(OPTIONS | given)
    assert words in str(caught.value)
    assert "two words!" not in str(caught.value)


def test_two_spaces_of_one_bot_share_its_limit() -> None:
    def key(**more: Any) -> tuple[str, float]:
        place = webex.open("x", webex.Options.model_validate(OPTIONS | more), None)  # type: ignore[arg-type]
        (bucket,) = place.buckets(edit=True, channel=None)
        return bucket.key, bucket.rate.per_second

    assert key() == key(room=ROOM + "xyz")
    assert key() != key(token="another-token")
    assert TOKEN not in key()[0]
    assert key(rate="6/min")[1] == 0.1


@pytest.mark.parametrize(("given", "fits"), [("octocat@example.com", True), (PERSON_ID, True), ("octocat", False)])
def test_people_are_known_by_address_or_id(given: str, fits: bool, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "version: 1\nsources: {code: {type: github, unsigned: true}}\ndestinations: {here: {type: console}}\n"
        f"people: {{octocat: {{webex: '{given}'}}}}\n"
    )
    if fits:
        assert load(str(tmp_path / "config.yaml"), {}).people["octocat"].ids == {"webex": given}
    else:
        with pytest.raises(ConfigError, match="'octocat' is nobody in Webex"):
            load(str(tmp_path / "config.yaml"), {})


# -- talking


async def test_a_run_that_is_edited_too_often_is_posted_anew(fake: FakeWebex, bot: webex.Bot) -> None:
    receipt = await bot.send(MESSAGE, channel=None, thread=None)
    for _ in range(MOST_EDITS):
        assert await bot.edit(MESSAGE, receipt) == receipt
    with pytest.raises(Gone, match="edited too often"):
        await bot.edit(MESSAGE, receipt)
    assert len(fake.messages[receipt["id"]].history) == MOST_EDITS + 1


async def test_an_edit_that_waits_or_has_a_dead_token_is_not_a_message_that_is_gone(
    fake: FakeWebex, bot: webex.Bot
) -> None:
    receipt = await bot.send(MESSAGE, channel=None, thread=None)
    fake.faults += [fake.limited(4), fake.dead(), status(404)]
    for kind in (RateLimited, Dead, Transient):
        with pytest.raises(kind):
            await bot.edit(MESSAGE, receipt)


async def test_an_edit_stays_where_the_message_was(fake: FakeWebex, bot: webex.Bot) -> None:
    other = ROOM + "-other"
    fake.rooms.add(other)
    receipt = await bot.send(MESSAGE, channel=other, thread=None)
    await bot.edit(MESSAGE, receipt)
    assert [call.body["roomId"] for call in fake.calls] == [other, other]
    with pytest.raises(Gone):
        await bot.edit(MESSAGE, {})


async def test_a_thread_of_another_space_is_left_out(fake: FakeWebex, bot: webex.Bot) -> None:
    await bot.send(MESSAGE, channel=None, thread={"id": "message-0", "room": "elsewhere"})
    assert "parentId" not in fake.calls[0].body


async def test_a_channel_that_is_no_id_is_said(bot: webex.Bot) -> None:
    with pytest.raises(Dead, match="the rule's channel is no id"):
        await bot.send(MESSAGE, channel="#builds", thread=None)


async def test_check_says_what_to_click(fake: FakeWebex, bot: webex.Bot) -> None:
    assert await bot.check() == Health(True, "token valid, bot bridge, space builds")
    fake.rooms.clear()
    missing = await bot.check()
    assert (missing.ok, "Add people" in missing.text) == (False, True)
    fake.faults.append(error(401))
    wrong = await bot.check()
    assert (wrong.ok, "Regenerate" in wrong.text) == (False, True)
    fake.faults.append(status(200))
    assert await bot.check() == Health(False, "the answer (HTTP 200) is not one of webex's")


async def test_check_says_that_a_persons_token_ends(fake: FakeWebex, bot: webex.Bot) -> None:
    fake.kind = "person"
    assert "ends after hours" in (await bot.check()).text


async def test_no_error_has_the_token_or_the_address_in_it(fake: FakeWebex, bot: webex.Bot) -> None:
    fake.faults += [status(502), fake.dead(), fake.refused()]
    for _ in range(3):
        with pytest.raises(DeliveryError) as caught:
            await bot.send(MESSAGE, channel=None, thread=None)
        assert TOKEN not in str(caught.value)
        assert "127.0.0.1" not in str(caught.value)


# -- Markdown


def test_blocks_have_their_forms() -> None:
    assert told(
        Heading((Span("h"),)),
        Paragraph((Span("p "), Span("b", bold=True, italic=True), Span(" "), Span("c`d", code=True))),
        Bullets(((Span("one\ntwo"),), (Span("x", link=ADDRESS),))),
        Bullets(((Span("first"),),), ordered=True),
        Quote((Span("q\nr"),)),
        Code("$ make\n# ok"),
    ) == (
        "t  \n**h**  \np ***b*** `cˋd`\n\n- one  \n  two\n- [x](https://ci.example.com/)\n\n1. first\n\n"
        "> q  \n> r\n\n```\n$ make\n# ok\n```"
    )


def test_only_people_of_the_configuration_s_form_are_called() -> None:
    message = Message(title=(Span("t"),), mentions=("a@b.example", "all", "x> <@all", PERSON_ID))
    body = webex.payload(message, webex.Options.model_validate(OPTIONS))
    assert body["markdown"] == "t <@personEmail:a@b.example> <@personId:Y2lzY29zcGFyazovL3VzL1BFT1BMRQ>"


def test_a_bang_before_a_link_makes_no_picture() -> None:
    assert told(Paragraph((Span("wow!"), Span("x", link=ADDRESS)))).endswith(r"wow\![x](https://ci.example.com/)")


def test_a_number_and_a_dot_of_two_pieces_make_no_list() -> None:
    assert told(Paragraph((Span("1", bold=False), Span(". x")))) == "t  \n1\\. x"


def test_links_and_facts_are_dropped_from_the_last_on() -> None:
    buttons = tuple(Button(f"b{number}", ADDRESS + "c" * 500) for number in range(5))
    facts = tuple((f"f{number}", (Span("v" * 300),)) for number in range(5))
    text = told(buttons=buttons, facts=facts)
    assert [f"b{number}" in text for number in range(5)] == [True, True, False, False, False]
    assert [f"**f{number}:**" in text for number in range(5)] == [True, True, True, False, False]
    assert size(text) < LINKS + FACTS + 100


def test_the_words_of_a_button_and_the_name_of_a_fact_are_text() -> None:
    text = told(buttons=(Button("<@all> *x*", ADDRESS),), facts=(("<@all> *x*", (Span("v"),)),))
    assert text.count(r"&lt;@all&gt; \*x\*") == 2
    assert "<@" not in text


@pytest.mark.parametrize("char", ["x", "&", "é", "語", "🎉", "*"])
def test_the_longest_of_everything_fits_in_bytes(char: str) -> None:
    long = Span(char * 9_000)
    text = told(
        Paragraph((long,)),
        facts=((long.text, (long,)),) * 9,
        footer=(long,),
        buttons=(Button(long.text, ADDRESS + "d" * 900),) * 5,
        mentions=tuple(f"{number}@{'e' * 100}.example" for number in range(40)),
    )
    assert 3_000 < size(text) <= LONGEST


def test_what_is_cut_is_the_text_and_not_the_markup() -> None:
    assert fitted("a" * 50, 12, lambda part: f"**{part}**") in {"**aaaa…**", "**aaaaa…**"}
