"""Google Chat alone: its card, its addresses, what its answers mean, threads and messages that come twice."""

from __future__ import annotations

import json
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
from bridge.destinations import google_chat
from bridge.errors import ConfigError, Dead, DeliveryError, Gone, RateLimited, Rejected, Transient, Unsure
from bridge.event import Status
from bridge.message import Bullets, Button, Code, Heading, Message, Paragraph, Quote, Span
from bridge.units import Rate
from tests.altered import replace
from tests.fakes.base import Fault, accepted_then_connection_lost, redirect, status
from tests.fakes.google_chat import KEY, PATH, TOKEN, FakeGoogleChat, error
from tests.fakes.google_chat_validator import buttons, check, texts

GOOD = f"https://chat.googleapis.com{PATH}?key={KEY}&token={TOKEN}"
OPTIONS = google_chat.Options.model_validate({"url": GOOD})
PERSON = "123456789012345678901"
MESSAGE = Message(title=(Span("CI broke on main"),), mentions=(PERSON,), status=Status.FAILURE, colour="#cf222e")


def built(message: Message) -> dict[str, Any]:
    body = google_chat.payload(message, OPTIONS)
    check(body)
    return body


def told(*blocks: Any) -> str:
    _, text = texts(built(Message(title=(Span("t"),), body=blocks)))
    return text


# -- the card


def test_mentions_are_all_that_stands_in_the_text() -> None:
    odd = ("all", "users/all", "0", "12", "1" * 40, "octocat@example.com", "１２３４５６", "123456\n", PERSON)
    assert built(replace(MESSAGE, mentions=(PERSON, *odd)))["text"] == f"<users/{PERSON}>"
    assert "text" not in built(replace(MESSAGE, mentions=odd[:-1]))


def test_the_title_has_the_state_s_colour_and_leads_to_the_page() -> None:
    message = Message(title=(Span("CI", link="https://x.example/1?a=b&c"),), status=Status.SUCCESS, colour="#1a7f37")
    assert texts(built(message)) == [
        '<a href="https://x.example/1?a=b&amp;c"><font color="#1a7f37"><b>CI</b></font></a>'
    ]
    for more in ({"colour": '"><b>'}, {"status": Status.UNKNOWN}):
        assert "<font" not in texts(built(replace(message, **more)))[0]


@pytest.mark.parametrize("text", ["<b>x</b>", "&lt;b&gt;", "a < b & c", "<users/all>"])
def test_html_reads_as_it_was_written(text: str) -> None:
    assert told(Paragraph((Span(text),))) == text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def test_where_nothing_is_read_tags_and_mentions_are_parted() -> None:
    body = built(Message(title=(Span("<users/all> &lt;"),), buttons=(Button("<b>x", "https://x.example"),)))
    assert body["fallbackText"] == "<\u2060users/all> &\u2060lt;"
    assert buttons(body)[0]["text"] == "<\u2060b>x"


def test_blocks_have_their_forms() -> None:
    text = told(
        Heading((Span("h"),)),
        Paragraph((Span("b", bold=True), Span("i", italic=True), Span("s", strike=True), Span("c\nd", code=True))),
        Bullets(((Span("1"),), (Span("2"),)), ordered=True),
        Bullets(((Span("3"),),)),
        Quote((Span("q"),)),
        Code("if x:\n    y"),
    )
    assert text == (
        '<b>h</b><br><b>b</b><i>i</i><s>s</s><font color="#57606a">c<br>d</font><br>1. 1<br>2. 2<br>• 3<br><i>q</i><br>'
        '<font color="#57606a">if x:<br>\u00a0\u00a0\u00a0\u00a0y</font>'
    )


def test_buttons_are_links_and_bad_addresses_none() -> None:
    links = (
        Button("Open", "https://x.example/1"),
        Button("Bad", "javascript:x"),
        Button("Quote", "https://x.example/'ü"),
        *(Button(str(number), "https://x.example") for number in range(9)),
    )
    shown = buttons(built(Message(title=(Span("t"),), buttons=links)))
    assert [one["text"] for one in shown] == ["Open", "Quote", "0", "1", "2", "3"]
    assert shown[1]["onClick"]["openLink"]["url"] == "https://x.example/%27%C3%BC"


def test_facts_are_lines() -> None:
    facts = (("Branch", (Span("main"),)), ("", (Span("x"),)), ("empty", (Span(" "),)))
    assert texts(built(Message(title=(Span("t"),), facts=facts)))[1] == "<b>Branch:</b> main<br>x"


@pytest.mark.parametrize("char", ["x", "<", "🎉", "\u05d0", '"', "&\n"])
def test_everything_too_long_is_shortened_and_not_more_than_it_has_to_be(char: str) -> None:
    spans = (Span(char * 50_000, bold=True, link="https://x.example/1"),)
    links = (Button(char * 200, "https://x.example/" + "a" * 900),) * 9
    body = (Paragraph(spans), Bullets((spans,) * 50), Code(char * 50_000))
    message = Message(title=spans, body=body, facts=((char * 99, spans),) * 40, footer=spans, buttons=links)
    assert 14_000 < len(json.dumps(built(message))) < 32_000
    assert "…</b></a>" in told(Paragraph(spans)), "what is cut is the text, never the markup"


def test_a_text_is_worth_more_than_a_link_for_which_there_is_no_room() -> None:
    items = tuple((Span(f"item{number}", link=f"https://x.example/{'a' * 1_500}"),) for number in range(20))
    text = told(Bullets(items))
    assert re.findall(r"item\d+", text) == [f"item{number}" for number in range(20)]
    assert 4 < text.count("<a ") < 12


def test_long_lists_say_how_many_are_left_out() -> None:
    assert told(Bullets(tuple((Span(str(number)),) for number in range(100)))).endswith("<br>• … and 70 more")


def test_an_empty_message_still_has_a_text() -> None:
    assert (texts(built(Message(title=()))), built(Message(title=()))["fallbackText"]) == (
        ["<b>(no text)</b>"],
        "(no text)",
    )


# -- a good day


@pytest.fixture
async def fake() -> AsyncIterator[FakeGoogleChat]:
    async with FakeGoogleChat() as fake:
        yield fake
        assert fake.invalid == []


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def made(url: str, session: Any, **more: Any) -> google_chat.Webhook:
    return google_chat.open(
        "standup", google_chat.Options.model_validate({"url": url, "timeout": "1s"} | more), session
    )


@pytest.fixture
def webhook(fake: FakeGoogleChat, session: aiohttp.ClientSession) -> google_chat.Webhook:
    return made(fake.url, session)


async def post(place: google_chat.Webhook, message: Message = MESSAGE, **more: Any) -> dict[str, str]:
    return await place.send(message, channel=None, **{"thread": None, "key": "d1-1700000000000", **more})


async def test_the_receipt_names_the_message_and_its_thread(fake: FakeGoogleChat, webhook: google_chat.Webhook) -> None:
    receipt = await post(webhook)
    (call,) = fake.calls
    assert receipt == {"name": "spaces/AAAAmadeup/messages/m0", "thread": call.body["thread"]["threadKey"]}
    assert call.headers["Content-Type"] == "application/json; charset=utf-8"


async def test_a_delivery_that_is_sent_again_is_there_once(fake: FakeGoogleChat, webhook: google_chat.Webhook) -> None:
    fake.faults.append(accepted_then_connection_lost())
    with pytest.raises(Unsure):
        await post(webhook)
    await post(webhook)
    assert len(fake.messages) == 1
    await post(webhook, key="d2-1700000000000")
    assert len(fake.messages) == 2


async def test_a_newer_state_is_not_taken_for_the_older_one(fake: FakeGoogleChat, webhook: google_chat.Webhook) -> None:
    for message in (MESSAGE, replace(MESSAGE, status=Status.SUCCESS), replace(MESSAGE, title=(Span("CI is fixed"),))):
        await post(webhook, message)
    assert len(fake.messages) == 3


async def test_without_a_key_every_message_is_another(fake: FakeGoogleChat, webhook: google_chat.Webhook) -> None:
    await post(webhook, key=None)
    await post(webhook, key=None)
    assert len(fake.messages) == 2


async def test_an_answer_goes_into_the_thread(fake: FakeGoogleChat, webhook: google_chat.Webhook) -> None:
    root = await post(webhook)
    answer = await post(webhook, thread=root, key="d2-1")
    again = await post(webhook, thread=answer, key="d3-1")
    assert [one.thread for one in fake.messages.values()] == [None, "m0", "m0"]
    assert root["thread"] == answer["thread"] == again["thread"]


async def test_where_the_thread_is_gone_there_is_a_new_one(fake: FakeGoogleChat, webhook: google_chat.Webhook) -> None:
    root = await post(webhook)
    fake.messages.clear()
    await post(webhook, thread=root, key="d2-1")
    await post(webhook, thread={"thread": "../x"}, key="d3-1")
    assert [one.thread for one in fake.messages.values()] == [None, None]
    assert "x" not in fake.calls[-1].body["thread"]["threadKey"]


async def test_the_token_is_sent_to_the_letter(session: aiohttp.ClientSession) -> None:
    heard: list[str] = []

    class Listening(FakeGoogleChat):
        def name(self, request: Any) -> str:
            heard.append(request.raw_path)
            return str(request.method)

    async with Listening() as fake:
        await post(made(fake.url, session))
    assert heard[0].startswith(f"{PATH}?key={KEY}&token={TOKEN}&requestId=")


async def test_nothing_can_be_edited(webhook: google_chat.Webhook) -> None:
    with pytest.raises(Gone):
        await webhook.edit(MESSAGE, {"name": "spaces/AAAAmadeup/messages/m0"})


@pytest.mark.parametrize(
    ("change", "ok", "text"),
    [
        (("", ""), None, "finds no fault with the webhook"),
        ((TOKEN, "other"), False, "google_chat says PERMISSION_DENIED: the webhook may not post"),
        ((KEY, "other"), False, "google_chat says API_KEY_INVALID: the key in the webhook's address is wrong"),
        (("AAAAmadeup", "BBBB"), False, "google_chat says NOT_FOUND: no such space or webhook, make a new one"),
    ],
)
async def test_doctor_asks_without_posting(
    fake: FakeGoogleChat, session: aiohttp.ClientSession, change: tuple[str, str], ok: bool | None, text: str
) -> None:
    health = await made(fake.url.replace(*change), session).check()
    assert health.ok is ok
    assert text in health.text
    assert fake.messages == {}


async def test_doctor_says_who_does_not_answer(fake: FakeGoogleChat, webhook: google_chat.Webhook) -> None:
    fake.faults += [status(502), accepted_then_connection_lost()]
    assert [(await webhook.check()).ok for _ in range(2)] == [False, False]


def test_webhooks_of_one_space_share_a_bucket() -> None:
    def bucket(url: str, **more: Any) -> Any:
        (one,) = made(url, None, **more).buckets(edit=False, channel=None)
        return one

    assert (bucket(GOOD).rate, bucket(GOOD).burst) == (Rate(1), 1)
    assert bucket(GOOD).key == bucket(GOOD + "x").key != bucket(GOOD.replace("AAAAmadeup", "BBBB")).key
    assert "AAAA" not in bucket(GOOD).key
    assert bucket(GOOD, rate="20/min").rate == Rate(20 / 60)


# -- bad days

FAULTS: list[tuple[Fault, type[DeliveryError]]] = [
    (error(429, "RESOURCE_EXHAUSTED"), RateLimited),
    (status(429), RateLimited),
    (error(404, "NOT_FOUND"), Dead),
    (error(403, "PERMISSION_DENIED"), Dead),
    (error(401, "UNAUTHENTICATED"), Dead),
    (error(400, "FAILED_PRECONDITION"), Dead),
    (error(400, "INVALID_ARGUMENT", "API_KEY_INVALID"), Dead),
    (error(400, "INVALID_ARGUMENT", "SOMETHING_ELSE"), Rejected),
    (error(400, "OUT_OF_RANGE"), Rejected),
    (status(413), Rejected),
    (error(409, "ABORTED"), Transient),
    (error(499, "CANCELLED"), Transient),
    (error(500, "INTERNAL"), Transient),
    (error(503, "UNAVAILABLE"), Transient),
    (error(504, "DEADLINE_EXCEEDED"), Unsure),
    (error(418, "NEVER_HEARD"), Transient),
    (status(403), Transient),
    (status(404), Transient),
    (status(200), Unsure),
    (error(200, "NOT_FOUND"), Unsure),
    (redirect(), Transient),
]


@pytest.mark.parametrize(("fault", "kind"), FAULTS)
async def test_every_answer_has_its_class_and_none_tells_the_address(
    fake: FakeGoogleChat,
    webhook: google_chat.Webhook,
    fault: Fault,
    kind: type[DeliveryError],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    fake.faults.append(fault)
    with pytest.raises(DeliveryError) as caught:
        await post(webhook)
    assert type(caught.value) is kind
    assert len(fake.calls) == 1
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(webhook._options)
    assert KEY not in shown
    assert TOKEN not in shown


def test_a_limit_holds_for_half_a_minute_where_nothing_is_said() -> None:
    for headers, after in (({}, 30), ({"Retry-After": "2.5"}, 2.5)):
        judged = google_chat.judge(429, headers, None)
        assert isinstance(judged, RateLimited)
        assert judged.after == after


async def test_a_limit_holds_for_the_space(fake: FakeGoogleChat, webhook: google_chat.Webhook) -> None:
    fake.faults.append(fake.limited(2))
    with pytest.raises(RateLimited) as caught:
        await post(webhook)
    assert [one.key for one in webhook.buckets(edit=False, channel=None)] == [caught.value.bucket]


async def test_what_is_there_already_was_sent(fake: FakeGoogleChat, webhook: google_chat.Webhook) -> None:
    fake.faults.append(error(409, "ALREADY_EXISTS"))
    assert set(await post(webhook)) == {"thread"}


# -- options


@pytest.mark.parametrize(
    "url",
    [
        GOOD,
        GOOD.replace("chat.googleapis.com", "proxy.acme.example:8443/google"),
        GOOD.replace("https://chat.googleapis.com", "http://127.0.0.1:9"),
    ],
)
def test_addresses_that_are_taken_stay_to_the_letter(url: str) -> None:
    assert google_chat.Options.model_validate({"url": f" {url} "}).url.get_secret_value() == url


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("", "url is no address"),
        (GOOD.removeprefix("https://"), "url is no address"),
        ("https://chat.google.com/room/AAAA?key=x&token=" + TOKEN, "url is no webhook of Google Chat"),
        (GOOD.replace("/messages", ""), "url is no webhook of Google Chat"),
        (GOOD + "#x", "url is no webhook of Google Chat"),
        (GOOD.partition("&")[0], "it was cut off"),
        (GOOD + "&threadKey=x", "bridge names the thread itself"),
        (GOOD.replace("https", "http"), "use https://"),
        (GOOD.replace("https://", "http://127.0.0.1@"), "use https://"),
    ],
)
def test_addresses_that_are_refused_say_why_and_not_themselves(url: str, text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        google_chat.Options.model_validate({"url": url})
    assert text in str(caught.value)
    assert KEY not in str(caught.value)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(("person", "good"), [(PERSON, True), ("all", False), ("octocat@example.com", False)])
def test_people_are_numbers(tmp_path: Path, person: str, good: bool) -> None:
    (tmp_path / "config.yaml").write_text(
        f"destinations: {{here: {{type: console}}}}\npeople: {{x: {{google_chat: '{person}'}}}}"
    )
    if good:
        load(str(tmp_path / "config.yaml"), {})
    else:
        with pytest.raises(ConfigError, match="is no Google Chat id"):
            load(str(tmp_path / "config.yaml"), {})


# -- the page

PAGE = (Path(__file__).parents[2] / "docs/destinations/google_chat.md").read_text("utf-8")


@pytest.mark.parametrize("example", re.findall(r"(?s)```yaml\n(.*?)```", PAGE))
def test_the_page_s_examples_are_right(tmp_path: Path, example: str) -> None:
    (tmp_path / "config.yaml").write_text(example)
    load(str(tmp_path / "config.yaml"), {"GOOGLE_CHAT_WEBHOOK_URL": GOOD})


def test_the_page_says_what_becomes_of_every_word() -> None:
    assert [word for word in google_chat._WORDS if f"`{word}`" not in PAGE] == []
