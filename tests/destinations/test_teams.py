"""Teams alone: its card, its addresses, what its answers mean, and a good day through a socket."""

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
from bridge.destinations import teams
from bridge.errors import ConfigError, Dead, DeliveryError, Gone, RateLimited, Rejected, Transient, Unsure
from bridge.event import Status
from bridge.message import Bullets, Button, Code, Heading, Message, Paragraph, Quote, Span
from bridge.units import Rate
from tests.fakes.base import Fault, redirect, status, text_plain
from tests.fakes.teams import PATH, SIGNED, FakeTeams, error
from tests.fakes.teams_validator import SHARED_SCHEMA, Invalid, check

GOOD = f"https://prod-00.westeurope.logic.azure.com:443{PATH}?{SIGNED}"
OPTIONS = teams.Options.model_validate({"url": GOOD})
PERSON, OTHER = "octocat@acme.example", "4f2a9c10-0000-4000-8000-00000000beef"
MESSAGE = Message(title=(Span("CI broke on main"),), mentions=(PERSON,))


def built(message: Message) -> dict[str, Any]:
    body = teams.payload(message, OPTIONS)
    check(body)
    card: dict[str, Any] = body["attachments"][0]["content"]
    return card


def told(*blocks: Any) -> list[str]:
    """The lines of a body, as they are read."""
    return ["".join(run["text"] for run in one["inlines"]) for one in built(Message(title=(), body=blocks))["body"][1:]]


# -- the card


@pytest.mark.skipif(not SHARED_SCHEMA.exists(), reason="no ../shared")
@pytest.mark.parametrize(
    ("key", "value"), [("style", "red"), ("items", [{"type": "RichTextBlock", "inlines": [{"text": 7}]}]), ("x", 1)]
)
def test_the_published_schema_is_asked(key: str, value: Any) -> None:
    body = teams.payload(MESSAGE, OPTIONS)
    body["attachments"][0]["content"]["body"][0][key] = value
    with pytest.raises(Invalid):
        check(body)


@pytest.mark.parametrize(
    ("state", "style"),
    [
        ("success", "good"),
        ("failure", "attention"),
        ("waiting", "warning"),
        ("running", "accent"),
        ("skipped", "emphasis"),
    ],
)
def test_the_title_s_box_has_the_state_s_colour(state: str, style: str) -> None:
    assert built(Message(title=(Span("x"),), status=Status(state)))["body"][0]["style"] == style


def test_every_state_has_a_colour_that_the_schema_knows() -> None:
    for state in Status:
        built(Message(title=(Span("x"),), status=state))


def test_whom_a_rule_mentions_stands_in_the_text_and_beside_it() -> None:
    card = built(Message(title=(Span("x"),), mentions=(PERSON, OTHER, PERSON)))
    assert card["body"][1]["text"] == "<at>octocat</at> <at>4f2a9c10-0000-4000-8000-00000000beef</at>"
    assert [one["mentioned"]["id"] for one in card["msteams"]["entities"]] == [PERSON, OTHER]


def test_two_people_of_one_name_are_told_apart() -> None:
    card = built(Message(title=(Span("x"),), mentions=("jo_doe@acme.example", "jo_doe@b.example", "*@b.example")))
    names = [one["mentioned"]["name"] for one in card["msteams"]["entities"]]
    assert names == ["jo doe", "jo doe b.example", "person"]


def test_only_people_are_mentioned() -> None:
    odd = ("channel", "everyone", "<at>x</at>", "a@b", "a b@c.example", "U024BE7LH", "a@b.example\n", "ä@b.example")
    card = built(Message(title=(Span("x"),), mentions=odd))
    assert "entities" not in card["msteams"]
    assert len(card["body"]) == 1


@pytest.mark.parametrize("text", ["<at>octocat</at>", "<AT >x", "{{DATE(2026-11-24T06:08:39Z)}}"])
def test_what_teams_reads_in_a_text_run_is_parted(text: str) -> None:
    (line,) = told(Paragraph((Span(text),)))
    assert line != text
    assert line.replace("\u2060", "") == text


def test_markdown_needs_no_escape_and_reads_as_it_was() -> None:
    text = "**a** [b](https://x.example) `c` _d_ # e \\ <b>f</b> &amp;"
    assert told(Paragraph((Span(text),))) == [text]
    (fact,) = built(Message(title=(Span("t"),), facts=(("*n*", (Span(text),)),)))["body"][1:]
    assert [run["text"] for run in fact["inlines"]] == ["*n*: ", text]


def test_blocks_have_their_forms() -> None:
    card = built(
        Message(
            title=(Span("t", link="https://x.example/1"),),
            body=(
                Heading((Span("h"),)),
                Paragraph((Span("b", bold=True), Span("i", italic=True), Span("s", strike=True), Span("c", code=True))),
                Bullets(((Span("1"),), (Span("2\n3"),)), ordered=True),
                Quote((Span("q"),)),
                Code("if x:\n    y"),
            ),
        )
    )
    title, heading, marked, first, second, more, quote, code = card["body"]
    assert title["items"][0]["inlines"][0]["selectAction"] == {"type": "Action.OpenUrl", "url": "https://x.example/1"}
    assert heading["inlines"][0]["weight"] == "Bolder"
    keys = ("weight", "italic", "strikethrough", "fontType")
    assert [[key for key in keys if key in run] for run in marked["inlines"]] == [[key] for key in keys]
    lines = ["".join(run["text"] for run in one["inlines"]) for one in (first, second, more, quote)]
    assert lines == ["1. 1", "2. 2", "\u20033", "q"]
    assert [run["text"] for one in code["items"] for run in one["inlines"]] == ["if x:", "\u00a0\u00a0\u00a0\u00a0y"]


def test_a_space_between_two_spans_stays() -> None:
    assert told(Paragraph((Span("a", bold=True), Span(" "), Span("b", bold=True)))) == ["a b"]


def test_buttons_are_links_and_bad_addresses_none() -> None:
    buttons = (
        Button("Open", "https://x.example/1"),
        Button("Inside", "http://jenkins:8080/a b"),
        Button("Bad", "javascript:x"),
        Button("Ünïcode", "https://x.example/ü?q=%2F"),
        *(Button(str(number), "https://x.example") for number in range(9)),
    )
    actions = built(Message(title=(Span("t"),), buttons=buttons))["actions"]
    assert [one["title"] for one in actions] == ["Open", "Ünïcode", "0", "1", "2", "3"]
    assert actions[1]["url"] == "https://x.example/%C3%BC?q=%2F"


@pytest.mark.parametrize("char", ["x", "<", "🎉", "\u05d0", '"', "\\"])
def test_a_card_is_never_too_large_however_it_is_written(char: str) -> None:
    spans = (Span(char * 50_000, link="https://x.example/1"),)
    body = (Paragraph(spans), Bullets((spans,) * 50), Code(char * 50_000))
    buttons = (Button(char * 200, "https://x.example/" + "a" * 900),) * 9
    many = tuple(f"{'p' * 90}{number}@{'.'.join(['a' * 60] * 8)}.example" for number in range(99))
    message = Message(
        title=spans, body=body, facts=((char * 99, spans),) * 40, footer=spans, buttons=buttons, mentions=many
    )
    whole = teams.payload(message, OPTIONS)
    check(whole)
    escaped = "".join(f"\\u{ord(one):04x}" if one in "<>&'+" else one for one in json.dumps(whole))
    assert len(escaped) <= 20_000
    assert len(escaped) > 12_000, "and not shorter than it has to be"


def test_the_last_facts_are_left_out_first() -> None:
    facts = tuple((f"n{number}", (Span("x" * 2_000),)) for number in range(20))
    names = [one["inlines"][0]["text"] for one in built(Message(title=(Span("t"),), facts=facts))["body"][1:]]
    assert names == [f"n{number}: " for number in range(len(names))]
    assert 3 < len(names) < 12


def test_a_text_is_worth_more_than_a_link_for_which_there_is_no_room() -> None:
    items = tuple((Span(f"item{number}", link=f"https://x.example/{'a' * 1_500}"),) for number in range(20))
    lines = built(Message(title=(), body=(Bullets(items),)))["body"][1:]
    assert [one["inlines"][1]["text"] for one in lines] == [f"item{number}" for number in range(20)]
    assert 6 < sum("selectAction" in one["inlines"][1] for one in lines) < 13


def test_long_lists_say_how_many_are_left_out() -> None:
    assert told(Bullets(tuple((Span(str(number)),) for number in range(100))))[-1] == "• … and 70 more"


def test_an_empty_message_still_has_a_text() -> None:
    assert built(Message(title=()))["body"][0]["items"][0]["inlines"][0]["text"] == "(no text)"


# -- a good day


@pytest.fixture
async def fake() -> AsyncIterator[FakeTeams]:
    async with FakeTeams() as fake:
        yield fake
        assert fake.invalid == []


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def made(url: str, session: Any, **more: Any) -> teams.Workflow:
    return teams.open("releases", teams.Options.model_validate({"url": url, "timeout": "1s"} | more), session)


@pytest.fixture
def workflow(fake: FakeTeams, session: aiohttp.ClientSession) -> teams.Workflow:
    return made(fake.url, session)


async def post(place: teams.Workflow) -> dict[str, str]:
    return await place.send(MESSAGE, channel=None, thread=None)


async def test_the_run_s_id_is_kept(fake: FakeTeams, workflow: teams.Workflow) -> None:
    assert await post(workflow) == {"run": "08580000001"}
    (call,) = fake.calls
    assert call.headers["Content-Type"] == "application/json; charset=utf-8"


async def test_the_signed_part_of_the_address_is_sent_to_the_letter(session: aiohttp.ClientSession) -> None:
    heard: list[str] = []

    class Listening(FakeTeams):
        def name(self, request: Any) -> str:
            heard.append(request.raw_path if hasattr(request, "raw_path") else str(request.rel_url))
            return str(request.method)

    async with Listening() as fake:
        await post(made(fake.url, session))
    assert heard == [f"{PATH}?{SIGNED}"]


async def test_nothing_can_be_edited(workflow: teams.Workflow) -> None:
    with pytest.raises(Gone):
        await workflow.edit(MESSAGE, {"run": "1"})


async def test_doctor_says_that_it_cannot_ask(fake: FakeTeams, workflow: teams.Workflow) -> None:
    health = await workflow.check()
    assert (health.ok, fake.calls) == (None, [])
    assert "run history" in health.text


def test_a_workflow_has_a_bucket_of_its_own() -> None:
    (bucket,) = made(GOOD, None).buckets(edit=False, channel=None)
    assert (bucket.rate, bucket.burst) == (Rate(0.5), 5)
    assert "Secret" not in bucket.key
    assert made(GOOD + "x", None).buckets(edit=False, channel=None)[0].key != bucket.key
    assert made(GOOD, None, rate="1/s").buckets(edit=False, channel=None)[0].rate == Rate(1)


# -- bad days

FAULTS: list[tuple[Fault, type[DeliveryError]]] = [
    (error(429, "x", **{"Retry-After": "2.5"}), RateLimited),
    (status(429), RateLimited),
    (error(404, "WorkflowNotFound"), Dead),
    (error(404, "NobodyKnows"), Dead),
    (error(401, "DirectApiAuthorizationRequired"), Dead),
    (error(403), Dead),
    (error(410), Dead),
    (error(400, "WorkflowTriggerIsNotEnabled"), Dead),
    (error(409, "WorkflowDisabled"), Dead),
    (error(400, "TriggerInputSchemaMismatch"), Rejected),
    (error(400), Rejected),
    (error(413), Rejected),
    (status(413), Rejected),
    (error(504, "GatewayTimeout"), Unsure),
    (error(502, "NoResponse"), Transient),
    (error(500, "WorkflowNotFound"), Transient),
    (error(408), Transient),
    (error(405), Transient),
    (status(401), Transient),
    (status(404), Transient),
    (status(504), Transient),
    (status(200), Unsure),
    (status(202), Unsure),
    (text_plain("Webhook message delivery failed with error: made up"), Unsure),
    (redirect(), Transient),
]


@pytest.mark.parametrize(("fault", "kind"), FAULTS)
async def test_every_answer_has_its_class_and_none_tells_the_address(
    fake: FakeTeams, workflow: teams.Workflow, fault: Fault, kind: type[DeliveryError], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    fake.faults.append(fault)
    with pytest.raises(DeliveryError) as caught:
        await post(workflow)
    assert type(caught.value) is kind
    assert len(fake.calls) == 1
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(workflow._options)
    assert "made-up_Secret" not in shown
    assert PATH not in shown


@pytest.mark.parametrize(
    ("http", "headers", "answer"),
    [
        (202, {}, None),
        (202, {"Content-Type": "text/plain"}, None),
        (200, {"X-Ms-Workflow-Run-Id": "1"}, None),
        (200, {}, {"posted": True}),
    ],
)
def test_good_is_a_workflow_s_answer(http: int, headers: dict[str, str], answer: Any) -> None:
    assert teams.judge(http, headers, answer) is None


async def test_a_limit_holds_for_the_workflow(fake: FakeTeams, workflow: teams.Workflow) -> None:
    fake.faults.append(fake.limited(2))
    with pytest.raises(RateLimited) as caught:
        await post(workflow)
    assert [one.key for one in workflow.buckets(edit=False, channel=None)] == [caught.value.bucket]


def test_a_limit_waits_as_long_as_it_says() -> None:
    for headers, after in (({"Retry-After": "2.5"}, 2.5), ({}, 30), ({"retry-after": "soon"}, 30)):
        judged = teams.judge(429, headers, None)
        assert isinstance(judged, RateLimited)
        assert judged.after == after


def test_a_word_that_is_none_is_not_repeated() -> None:
    assert "secret" not in str(teams.judge(400, {}, {"error": {"code": "secret words <b>"}}))


# -- options


@pytest.mark.parametrize(
    "url",
    [
        GOOD,
        GOOD.replace("prod-00.westeurope.logic.azure.com:443", "abc.0d.environment.api.powerplatform.com"),
        "https://hooks.acme.example/teams",
        GOOD.replace("https://prod-00.westeurope.logic.azure.com:443", "http://127.0.0.1:9"),
    ],
)
def test_addresses_that_are_taken_stay_to_the_letter(url: str) -> None:
    assert teams.Options.model_validate({"url": f" {url} "}).url.get_secret_value() == url


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("", "url is no address"),
        ("prod-00.logic.azure.com/made-up_Secret", "url is no address"),
        ("https://hooks.acme.example/made-up_Secret/ü", "url is no address"),
        ("https://acme.webhook.office.com/webhookb2/made-up_Secret/IncomingWebhook/1/2", "make a workflow: in Teams"),
        ("https://outlook.office.com/webhook/made-up_Secret/IncomingWebhook/1/2", "make a workflow: in Teams"),
        ("https://teams.microsoft.com/l/channel/made-up_Secret", "a page and no webhook"),
        ("https://make.powerautomate.com/environments/made-up_Secret", "a page and no webhook"),
        (GOOD.replace("https", "http"), "use https://"),
        (GOOD.replace("https://prod-00.westeurope", "http://127.0.0.1@prod-00"), "use https://"),
        (GOOD.partition("&")[0] + "&made-up_Secret", "in a shell put it into quotes"),
    ],
)
def test_addresses_that_are_refused_say_why_and_not_themselves(url: str, text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        teams.Options.model_validate({"url": url})
    assert text in str(caught.value)
    assert "made-up_Secret" not in str(caught.value)


@pytest.mark.parametrize(("person", "good"), [(PERSON, True), (OTHER, True), ("octocat", False), ("<at>x</at>", False)])
def test_people_are_sign_in_names_or_object_ids(tmp_path: Path, person: str, good: bool) -> None:
    (tmp_path / "config.yaml").write_text(
        f"destinations: {{here: {{type: console}}}}\npeople: {{x: {{teams: '{person}'}}}}"
    )
    if good:
        load(str(tmp_path / "config.yaml"), {})
    else:
        with pytest.raises(ConfigError, match="is no Teams id"):
            load(str(tmp_path / "config.yaml"), {})


# -- the page

PAGE = (Path(__file__).parents[2] / "docs/destinations/teams.md").read_text("utf-8")


@pytest.mark.parametrize("example", re.findall(r"(?s)```yaml\n(.*?)```", PAGE))
def test_the_page_s_examples_are_right(tmp_path: Path, example: str) -> None:
    (tmp_path / "config.yaml").write_text(example)
    load(str(tmp_path / "config.yaml"), {"TEAMS_WORKFLOW_URL": GOOD})


def test_the_page_says_what_becomes_of_every_word() -> None:
    assert [code for code in teams._CODES if f"`{code}`" not in PAGE] == []
    assert [code for code in teams._BY_STATUS if str(code) not in PAGE] == []
