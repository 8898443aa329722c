"""What a chat would show, read back from what it would get: what is bold, who is called, where links lead."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge import preview
from bridge.destinations import DESTINATIONS
from bridge.event import Kind, Status
from bridge.message import DEFAULT_TEMPLATE, Message
from bridge.preview import READERS, Line, Part, Piece, cards, texts
from bridge.preview.shown import Shown
from bridge.render import Renderer
from tests.destinations.chats import CHATS, Chat
from tests.hostile import HOSTILE, TEMPLATES, view

GOLDEN = Path(__file__).parent / "destinations"
CHATTED = [chat for chat in CHATS if chat.type in READERS]
TALKING = [chat for chat in CHATTED if chat.type not in ("webhook", "apprise")]  # not as plain text to a program
RENDERER = Renderer(TEMPLATES)
TITLE = "CI broke on #12"
every_chat = pytest.mark.parametrize("chat", CHATTED, ids=lambda chat: chat.name)


def name(one: str) -> str:
    """The name of the one person of these tests."""
    return "octocat" if one in {chat.person for chat in CHATS} else one


def read(kind: str, body: dict[str, Any]) -> str:
    return preview.text(READERS[kind](body, name), colour=False)


def pieces(shown: Shown) -> list[Piece]:
    return [piece for part in shown for line in part.lines for piece in line.pieces]


def golden(chat: Chat) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GOLDEN / chat.type / "run-broken.json").read_text())
    return found


def test_every_chat_has_a_reader_but_the_terminal() -> None:
    assert {*READERS, "console"} == set(DESTINATIONS)


@pytest.mark.parametrize("chat", TALKING, ids=lambda chat: chat.name)
def test_title_calls_links_and_form_are_seen(chat: Chat) -> None:
    shown = READERS[chat.type](golden(chat), name)
    seen = pieces(shown)
    run, request = "https://github.com/acme/app/actions/runs/41", "https://github.com/acme/app/pull/12"
    assert TITLE in "".join(one.text for one in seen)
    assert [one.calls for one in seen if one.calls] == ["octocat"]
    assert {run, request, f"{run}/job/7"} == {one.link for one in seen if one.link}
    assert any(one.bold and "test" in one.text for one in seen)
    assert any(one.italic and one.text == "Run pytest" for one in seen)
    assert [line.mark for part in shown for line in part.lines if line.kind == "item"] == (
        ["•", "•"] if chat.type not in ("teams", "google_chat", "telegram") else []
    )


@pytest.mark.parametrize(("kind", "template"), [*DEFAULT_TEMPLATE.items(), (Kind.DIGEST, "unmuted")])
def test_a_name_that_nobody_can_see_breaks_no_template(kind: Kind, template: str) -> None:
    RENDERER.render(template, view(kind, Status.FAILURE, "\r"), "")


@pytest.mark.parametrize("chat", CHATTED, ids=lambda chat: chat.name)
@given(value=st.sampled_from(HOSTILE) | st.text(min_size=1, max_size=60), kind=st.sampled_from(Kind))
@settings(max_examples=30, deadline=None, database=None)
def test_any_message_is_read_and_drives_no_terminal(chat: Chat, value: str, kind: Kind) -> None:
    message = RENDERER.render("run" if kind is Kind.PIPELINE else kind.value, view(kind, Status.FAILURE, value), "")
    body = chat.sent(message)
    shown = READERS[chat.type](body, lambda one: value)
    for colour in (False, True):
        text = preview.text(shown, colour=colour)
        assert not re.search("[\x00-\x09\x0b-\x1a\x1c-\x1f\x7f-\x9f\u202e]", text)
        assert re.fullmatch(r"(?:[^\x1b]|\x1b\[[0-9;]*m)*", text)


@every_chat
def test_the_shortest_message_is_read(chat: Chat) -> None:
    text = preview.text(READERS[chat.type](chat.sent(Message(title=())), name), colour=False)
    assert text or chat.type == "apprise"


# -- marks and what is behind them


@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [
        ("mattermost", {"text": "**a _b_** ~~c~~ `d`"}, "**a** **_b_** ~~c~~ `d`"),
        ("mattermost", {"text": "hi @octocat, `@octocat`"}, "hi @octocat, `@octocat`"),
        ("mattermost", {"text": "1. a\n2. b\n\n> q\n\n```\nx\ny\n```"}, "1. a\n2. b\n│ q\n    x\n    y"),
        ("rocketchat", {"text": "*a _b_* ~c~ `*d*`"}, "**a** **_b_** ~~c~~ `*d*`"),
        ("rocketchat", {"text": "[x](https://a.example) a_b_c"}, "x <https://a.example> a_b_c"),
        ("rocketchat", {"text": "1. a\n> q\n```\nx\n```\nz"}, "1. a\n│ q\n    x\nz"),
        ("google_chat", {"text": "<users/1> <https://a.example|x> *b*"}, "@1 x <https://a.example> **b**"),
        ("slack", {"text": "&lt;b&gt; <!here> <https://a.example>"}, "<b> @here https://a.example <https://a.example>"),
        ("telegram", {"text": "<b>a</b>\n&lt;i&gt; <pre>x\ny</pre>"}, "**a**\n<i> \n    x\n    y"),
        ("matrix", {"formatted_body": "<ol><li>a</li><li>b<br>c</li></ol><del>d</del>"}, "1. a\n2. b\n  c\n~~d~~"),
        ("zulip", {"content": "@**Mona|1234** &#42;x&#42; @*team*"}, "@octocat *x* @_team_"),
        ("discord", {"content": "\\*x\\* <@80351110224678912> <@&7>"}, "*x* @octocat @7"),
    ],
)
def test_a_chats_own_marks_are_read(kind: str, body: dict[str, Any], text: str) -> None:
    assert read(kind, body) == text


def test_what_is_not_known_is_said_by_its_type() -> None:
    card = {"type": "AdaptiveCard", "body": [{"type": "Chart.Pie"}]}
    widgets = [{"grid": {}}]
    assert read("slack", {"blocks": [{"type": "video"}]}) == "(video)"
    assert read("teams", {"attachments": [{"content": card}]}) == "(Chart.Pie)"
    assert read("google_chat", {"cardsV2": [{"card": {"sections": [{"widgets": widgets}]}}]}) == "┃ (grid)"


def test_a_name_without_its_entity_calls_nobody_in_teams() -> None:
    card = {"body": [{"type": "TextBlock", "text": "<at>octocat</at>"}]}
    assert [one.calls for one in pieces(cards.teams({"attachments": [{"content": card}]}, name))] == [None]


def test_on_a_terminal_form_is_colour() -> None:
    line = Line((Piece("a", bold=True), Piece(" b ", link="https://a.example"), Piece("c", calls="c")))
    shown = (Part((line, Line((), "gap"), Line((Piece("d"),), "small")), colour="#ff0000"),)
    bar = "\033[38;2;255;0;0m▌\033[0m "
    assert preview.text(shown, colour=True).split("\n") == [
        f"{bar}\033[1ma\033[0m \033[4mb\033[0m <https://a.example> \033[7mc\033[0m",
        f"{bar}\033[2md\033[0m",
    ]


def test_a_mail_shows_its_head() -> None:
    body = {"subject": "s", "to": ["a@x.example"], "cc": ["octocat@example.com", "b@x.example"], "html": "<p>t</p>"}
    shown = preview.text(texts.email(body, name), colour=False)
    assert shown == "s\nTo: a@x.example\nCc: @octocat, @b@x.example\nt"
