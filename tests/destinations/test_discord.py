"""What Discord gets to read: its form, its limits, and a template's own JSON. The rest is in `test_every_look`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.destinations import discord
from bridge.event import Kind, Status, Task
from bridge.message import Bullets, Button, Code, Heading, Message, Paragraph, Quote, Span
from bridge.render import DEFAULT_TEMPLATE, Renderer, View
from bridge.render.foreign import hide
from bridge.render.native_discord import GAP, JOINER
from bridge.render.native_discord import discord as discord_json
from bridge.render.samples import full
from tests.altered import replace
from tests.fakes.discord_reader import ADDRESS, CALLS, CODE, SPOILER, markdown_form, read, tokens, urls
from tests.fakes.discord_reader import STRANGE as THEIRS
from tests.fakes.discord_validator import SHARED_SCHEMA, Invalid, check, embed_texts
from tests.hostile import HOSTILE, TEMPLATES, view, with_bad_addresses

GOLDEN = Path(__file__).parent / "discord"
NATIVE = (GOLDEN / "native.json.j2").read_text()
RENDERER = Renderer(TEMPLATES)
OPTIONS = discord.Options.model_validate({"url": "https://discord.com/api/webhooks/1090000000000000001/made-up"})
PERSON, ROLE = "80351110224678912", "&41771983423143936"
OURS = re.compile(r"https://(github\.com/acme/app|ci\.example\.com)/")

STRANGE = [*HOSTILE, *THEIRS]


def built(message: Message) -> dict[str, Any]:
    body = discord.payload(message, OPTIONS)
    check(body)
    return body


def shown(kind: Kind, seen: View) -> dict[str, Any]:
    return built(RENDERER.render(DEFAULT_TEMPLATE[kind], seen, "discord"))


def embed(message: Message) -> dict[str, Any]:
    (one,) = built(message)["embeds"]
    return one


def told(*blocks: Any) -> str:
    return str(embed(Message(title=(Span("t"),), body=blocks))["description"])


@pytest.mark.skipif(not SHARED_SCHEMA.exists(), reason="no ../shared")
@pytest.mark.parametrize(
    "body",
    [
        {"content": "x", "allowed_mentions": {"parse": [], "users": ["x"]}},
        {"content": "x", "allowed_mentions": {"parse": []}, "components": [{"type": 1, "components": []}]},
        {"embeds": [{"title": "x", "color": "red"}], "allowed_mentions": {"parse": []}},
    ],
)
def test_the_published_schema_is_asked(body: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        check(body)


# -- hostile: what is true of every chat is in test_every_look


@pytest.mark.parametrize("char", "\\*_~|>#-[]():<+")
def test_every_character_that_means_something_is_escaped(char: str) -> None:
    assert told(Paragraph((Span(f"a{char}b"),))) == f"a\\{char}b"


def test_an_at_sign_calls_nobody() -> None:
    for one in (told(Paragraph((Span("a@b"),))), embed(Message(title=(Span("a@b"),)))["title"]):
        assert one == f"a@{GAP}b"


MARKUP = st.text("<>@#&![]()*_~|\\:/-+.1 ehrt=", min_size=1, max_size=40).map(str.strip).filter(bool)


@given(value=MARKUP)
@settings(max_examples=200, deadline=None, database=None)
def test_what_is_escaped_reads_as_it_was(value: str) -> None:
    text = told(Paragraph((Span(value),)))
    assert markdown_form(text) == ["paragraph_open ", "paragraph_close "]
    assert read(text) == value


@pytest.mark.parametrize("value", HOSTILE)
def test_bad_addresses_are_no_links(value: str) -> None:
    found = set(urls(shown(Kind.PIPELINE, with_bad_addresses(value))))
    # The one that is an address is where this sender says that the run is.
    assert found == ({value} if value.startswith("https://") else set())


@pytest.mark.parametrize(
    "address", ["https://x.example/a_(b)*c*", "https://x.example/\u3000b", "https://x.example/\ud800"]
)
def test_a_link_ends_where_its_address_ends(address: str) -> None:
    text = told(Paragraph((Span("a", link=address), Span(" (b)"))))
    (link,) = (token for token in tokens(text) if token.type == "link_open")
    assert str(link.attrs["href"]).startswith("https://x.example/")
    assert read(text) == "a (b)"


# How Discord looks for the end of a link's text: it counts brackets and knows no backslash.
LINK = re.compile(r"\[((?:\[[^\]]*\]|[^\[\]]|\](?=[^\[]*\]))*)\]\(\s*<?((?:\([^)]*\)|[^\s\\]|\\.)*?)>?\s*\)")


@pytest.mark.parametrize("value", STRANGE)
def test_a_link_leads_where_it_should_for_a_reader_that_counts_brackets(value: str) -> None:
    for target in LINK.findall(told(Paragraph((Span(value[:100], bold=True, link="https://x.example/1"),)))):
        assert target[1] == "https://x.example/1"


def test_brackets_of_a_link_s_text_stay_when_they_pair() -> None:
    assert told(Paragraph((Span("[ci] a", link="https://x.example"),))) == r"[\[ci\] a](https://x.example)"
    assert told(Paragraph((Span("[ci a", link="https://x.example"),))) == r"[\(ci a](https://x.example)"


# -- structure


def test_mentions_stand_in_the_content_and_nobody_else_is_called() -> None:
    body = built(Message(title=(Span("a"),), mentions=(PERSON, ROLE, PERSON)))
    assert body["content"] == f"<@{PERSON}> <@{ROLE}>"
    assert body["allowed_mentions"] == {"parse": [], "users": [PERSON], "roles": [ROLE[1:]]}


def test_only_ids_are_mentioned() -> None:
    odd = ("here", "@everyone", "everyone", "<@1>", "12>", "&", "&x", "1" * 30, "１２３", "0")
    body = built(Message(title=(Span("a"),), mentions=odd))
    assert "content" not in body
    assert body["allowed_mentions"] == {"parse": [], "users": [], "roles": []}


def test_the_title_leads_to_the_page() -> None:
    one = embed(Message(title=(Span("🔴 "), Span("CI", bold=True, link="https://x.example/1"), Span(" · acme/app"))))
    assert (one["title"], one["url"]) == ("🔴 CI · acme/app", "https://x.example/1")


def test_blocks_have_their_forms() -> None:
    text = told(
        Heading((Span("h"),)),
        Paragraph((Span("p "), Span("b", bold=True, italic=True), Span("s", strike=True), Span("c`d", code=True))),
        Bullets(((Span("1"),), (Span("2\n3"),)), ordered=True),
        Quote((Span("q\nr"),)),
        Code("a\n```\nb"),
        Paragraph((Span("e", code=True, link="https://x.example"),)),
    )
    assert text == (
        f"**h**\np ***b***{JOINER}~~s~~{JOINER}`cˋd`\n1. 1\n2. 2\n  3\n\n> q\n> r\n"
        "```\na\nˋˋˋ\nb\n```\n[`e`](https://x.example)"
    )


def test_space_stays_outside_of_marks() -> None:
    assert told(Paragraph((Span("a"), Span(" b ", bold=True), Span("c")))) == "a **b** c"


def test_facts_are_fields_in_a_row_while_they_are_short() -> None:
    facts = (("Branch", (Span("main"),)), ("", (Span("x" * 41),)), ("empty", (Span(" "),)))
    assert embed(Message(title=(Span("t"),), facts=facts))["fields"] == [
        {"name": "Branch", "value": "main", "inline": True},
        {"name": GAP, "value": "x" * 41, "inline": False},
    ]


def test_colour_is_a_number() -> None:
    assert embed(Message(title=(Span("t"),), colour="#cf222e"))["color"] == 0xCF222E
    assert embed(Message(title=(Span("t"),), colour="red"))["color"] == 0x8B949E


def test_buttons_are_links_and_what_no_button_takes_is_one_too() -> None:
    body = built(
        Message(
            title=(Span("t", link="http://jenkins/1"),),
            buttons=(
                Button("Open", "https://x.example/1"),
                Button("Inside", "http://jenkins:8080/1"),
                Button("Long", "https://x.example/" + "a" * 600),
                Button("Bad", "javascript:x"),
            ),
        )
    )
    assert body["components"] == [
        {"type": 1, "components": [{"type": 2, "style": 5, "label": "Open", "url": "https://x.example/1"}]}
    ]
    assert body["embeds"][0]["description"] == (
        "[Inside](http://jenkins:8080/1) [Long](https://x.example/" + "a" * 600 + ")"
    )
    # One address that Discord takes for malformed, and it refuses the whole message.
    assert "url" not in body["embeds"][0]


# -- limits


def test_two_hundred_tasks_with_long_names_fit() -> None:
    tasks = tuple(
        Task(id=str(number), name="n" * 1_000, step="*" * 1_000, note="🎉" * 1_000, status=Status.FAILURE)
        for number in range(200)
    )
    for live in (True, False):
        shown(Kind.PIPELINE, replace(full(Kind.PIPELINE, Status.RUNNING, None, live=live), tasks=tasks))


@pytest.mark.parametrize("long", ["🎉" * 20_000, "*" * 20_000, "@\n" * 20_000, "a\n\n" * 9_000])
def test_everything_too_long_is_shortened(long: str) -> None:
    built(
        Message(
            title=(Span(long, link="https://example.com"),),
            body=(Paragraph((Span(long),)), Bullets(((Span(long),),) * 200), Code(long), Quote((Span(long),))) * 9,
            facts=((long, (Span(long),)),) * 50,
            footer=(Span(long),),
            buttons=tuple(Button(long, f"https://example.com/{number}") for number in range(30)),
            mentions=tuple(str(10**19 + number) for number in range(100)),
        )
    )


def test_many_short_parts_fit_too() -> None:
    part = (Span("a", bold=True), Span("b", link="https://example.com/" + "c" * 200))
    message = Message(
        title=(Span("t"),),
        body=(Bullets((part,) * 60), Quote(part)) * 30,
        facts=(("n", part),) * 60,
        buttons=(Button("x", "http://jenkins/" + "d" * 1_500),) * 5,
    )
    assert len(embed(message)["fields"]) <= 25


def test_many_lines_fit_too() -> None:
    long = "x" * 9_000
    body = (Paragraph((Span("x"),)),) * 4_000
    built(Message(title=(Span(long),), body=body, facts=((long, (Span(long),)),) * 50, footer=(Span(long),)))


def test_a_text_is_worth_more_than_a_link_for_which_there_is_no_room() -> None:
    facts = (("page", (Span("report", link="https://x.example/" + "a" * 1_500),)),)
    assert embed(Message(title=(Span("t"),), facts=facts))["fields"][0]["value"] == "report"


@pytest.mark.parametrize("ordered", [True, False])
def test_what_says_how_many_are_left_out_fits_too(ordered: bool) -> None:
    long = "x" * 9_000
    item = (Span("x"),)
    body = (Bullets((item,) * 41, ordered),) * 30
    built(Message(title=(Span(long),), body=body, facts=((long, (Span(long),)),) * 50, footer=(Span(long),)))


def test_long_lists_say_how_many_are_left_out() -> None:
    assert told(Bullets(tuple((Span(str(n)),) for n in range(100)))).endswith("\n- 39\n- … and 60 more")
    facts = tuple((str(n), (Span("x"),)) for n in range(30))
    assert embed(Message(title=(Span("t"),), facts=facts))["fields"][-1]["value"] == "and 6 more"


def test_text_is_cut_and_never_its_markup() -> None:
    text = told(Paragraph((Span("*" * 5_000, bold=True, link="https://x.example"),)))
    assert text.endswith("\\*…](https://x.example)**")
    assert "\ufffd" not in embed(Message(title=(Span("x" + "🎉" * 1_000),)))["title"]


def test_an_empty_message_still_has_a_text() -> None:
    assert embed(Message(title=()))["title"] == "(no text)"
    built(Message(title=(Span("\x00"),), body=(Paragraph((Span(""),)), Code(""), Bullets(()), Bullets(((),)))))


# -- a template's own JSON


OWN = Renderer(TEMPLATES | {"discord/run.json.j2": NATIVE})


def own(seen: View) -> dict[str, Any]:
    return built(OWN.render("run", seen, "discord"))


def with_native(native: dict[str, Any], **more: Any) -> dict[str, Any]:
    return built(Message(title=(Span("title"),), native=native, **more))


@pytest.mark.parametrize("value", STRANGE)
def test_own_json_is_valid_and_harmless_whatever_an_event_says(value: str) -> None:
    body = own(view(Kind.PIPELINE, Status.FAILURE, value))
    same = own(view(Kind.PIPELINE, Status.FAILURE, "x"))
    (one,) = body["embeds"]
    texts = [body["content"], one["description"], one["fields"][0]["value"]]
    for text in [*texts, *embed_texts(one)]:
        assert not CALLS.search(text)
        assert not SPOILER.search(CODE.sub("", text))
    for text in texts:
        assert not ADDRESS.search(CODE.sub("", text))
    if len(value) < 120 and value.strip("\u3000\u200b\u2060"):
        others = [same["content"], same["embeds"][0]["description"], same["embeds"][0]["fields"][0]["value"]]
        assert [markdown_form(text) for text in texts] == [markdown_form(text) for text in others]
    assert markdown_form(one["title"]) == markdown_form(same["embeds"][0]["title"])
    assert all(OURS.match(address) for address in urls(body))


def test_own_json_keeps_what_the_template_wrote() -> None:
    body = own(full(Kind.PIPELINE, Status.FAILURE, None))
    (one,) = body["embeds"]
    assert body["content"] == "**of the template** acme/app #main"
    assert one["description"].startswith("> [Fix the parser](https://github.com/acme/app/actions/runs/41) `main`")
    assert (one["color"], one["author"]["name"]) == (255, "octocat")


def test_own_json_gets_mentions_colour_and_nobody_else() -> None:
    body = with_native(
        {"content": "hello", "embeds": [{"title": "x"}], "allowed_mentions": {"parse": ["everyone"]}},
        mentions=(PERSON,),
        colour="#cf222e",
    )
    assert body["content"] == f"hello <@{PERSON}>"
    assert body["embeds"][0]["color"] == 0xCF222E
    assert body["allowed_mentions"] == {"parse": [], "users": [PERSON], "roles": []}


def test_own_links_lead_to_addresses_only() -> None:
    body = OWN.render("run", with_bad_addresses("javascript:alert(1)"), "discord").native or {}
    (one,) = body["embeds"]
    assert one["description"].startswith("> Fix the parser `main`")
    assert ("url" in one, "url" in one["author"]) == (False, False)


def test_own_links_that_are_no_address_lead_to_the_event_and_pictures_nowhere() -> None:
    tree = {"embeds": [{"url": hide("x y"), "image": {"url": hide("x y")}, "author": {"icon_url": hide("x y")}}]}
    assert discord_json(tree, "https://x.example") == {
        "embeds": [{"url": "https://x.example", "image": {}, "author": {}}]
    }


def test_own_json_can_always_be_encoded() -> None:
    assert with_native({"content": "a\ud800b"})["content"] == "a?b"


def test_own_json_is_cut_to_the_limits() -> None:
    long = "🎉" * 20_000
    one = {
        "title": long,
        "description": long,
        "author": {"name": long},
        "footer": {"text": long, "url": "https://x.example"},
        "fields": [{"name": long, "value": long}] * 40,
        "image": {"url": "no address"},
    }
    body = with_native({"content": long, "username": long, "embeds": [one] * 20}, mentions=(PERSON,))
    assert body["content"].endswith(f"… <@{PERSON}>")
    assert len(body["username"].encode("utf-16-le")) <= 160


@pytest.mark.parametrize("code", ["```\n%s\n```", "`%s`"])
def test_own_code_that_is_cut_is_closed(code: str) -> None:
    text = with_native({"content": code % ("x" * 1_500 + " [x](https://evil.example) " * 50)})["content"]
    assert len(text) <= 2_000
    assert not any(token.type == "link_open" for token in tokens(text))


@pytest.mark.parametrize(
    "native", [{}, {"content": " "}, {"embeds": "x"}, {"embeds": [7, {"title": ""}, {"color": 1}]}]
)
def test_own_json_that_says_nothing_gives_way_to_the_ordinary_message(native: dict[str, Any]) -> None:
    assert with_native(native)["embeds"][0]["title"] == "title"


def test_own_json_keeps_only_what_is_its_own_to_say() -> None:
    body = with_native({"content": "x", "tts": True, "flags": 4, "thread_name": "y", "components": [{"type": 1}]})
    assert body == {
        "content": "x",
        "embeds": [],
        "components": [],
        "allowed_mentions": {"parse": [], "users": [], "roles": []},
    }


def test_the_sample_template_is_right() -> None:
    assert OWN.problems() == []
