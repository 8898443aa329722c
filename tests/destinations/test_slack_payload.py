"""What Slack gets to read: its form, its limits, and a template's own JSON. The rest is in `test_every_look`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bridge.destinations import slack
from bridge.event import Kind, Status, Task
from bridge.message import Bullets, Button, Code, Heading, Message, Paragraph, Quote, Span
from bridge.render import DEFAULT_TEMPLATE, Renderer, View
from bridge.render.samples import full
from tests.altered import replace
from tests.fakes.slack_reader import form
from tests.fakes.slack_validator import SHARED_LIMITS, check, nodes, texts
from tests.hostile import HOSTILE, TEMPLATES, view, with_bad_addresses

GOLDEN = Path(__file__).parent / "slack"
RENDERER = Renderer(TEMPLATES)
OPTIONS = slack.Options(token="xoxb-made-up", channel="#builds")
NATIVE = (Path(__file__).parent / "slack" / "native.json.j2").read_text()


def built(message: Message) -> dict[str, Any]:
    body = slack.payload(message, OPTIONS)
    check(body, update=True)  # an edit's limits are the narrower ones
    return body


def shown(kind: Kind, seen: View) -> dict[str, Any]:
    return built(RENDERER.render(DEFAULT_TEMPLATE[kind], seen, "slack"))


# -- hostile: what is true of every chat is in test_every_look


@pytest.mark.parametrize("value", HOSTILE)
def test_bad_addresses_are_no_links(value: str) -> None:
    body = shown(Kind.PIPELINE, with_bad_addresses(value))
    links = {node["url"] for node in nodes(body) if node.get("type") in ("link", "button")}
    # The one that is an address is where this sender says that the run is.
    page = value.startswith("https://")
    assert links == ({value} if page else set())


def test_a_strangers_words_stay_readable() -> None:
    body = shown(Kind.PIPELINE, view(Kind.PIPELINE, Status.FAILURE, "*bold* & `code` [x](https://evil.example)"))
    assert any("*bold* & `code` [x](https://evil.example)" in text for text in texts(body["attachments"]))


# -- structure


def test_bold_links_and_mentions_are_structure() -> None:
    message = Message(
        title=(Span("a", bold=True, link="https://example.com"), Span("b")), mentions=("U1AB", "S1AB", "x")
    )
    section = built(message)["blocks"][0]["elements"][0]["elements"]
    assert section == [
        {"type": "link", "url": "https://example.com", "text": "a", "style": {"bold": True}},
        {"type": "text", "text": "b"},
        {"type": "text", "text": " "},
        {"type": "user", "user_id": "U1AB"},
        {"type": "text", "text": " "},
        {"type": "usergroup", "usergroup_id": "S1AB"},
    ]
    assert built(message)["text"] == "ab <@U1AB> <!subteam^S1AB>"


def test_only_ids_are_mentioned() -> None:
    body = built(Message(title=(Span("a"),), mentions=("here", "<!channel>", "!channel", "@octocat", "U1AB>")))
    assert body["text"] == "a"


def test_links_are_not_unfolded() -> None:
    body = built(Message(title=(Span("a"),)))
    assert (body["unfurl_links"], body["unfurl_media"]) == (False, False)


def test_blocks_have_their_forms() -> None:
    body = built(
        Message(
            title=(Span("t"),),
            body=(
                Heading((Span("h"),)),
                Paragraph((Span("p"),)),
                Bullets(((Span("1"),), (Span("2"),)), ordered=True),
                Quote((Span("q"),)),
                Code("c"),
            ),
            facts=(("Branch", (Span("main"),)),),
            footer=(Span("foot"),),
            buttons=(Button("Open", "https://example.com"), Button("Bad", "javascript:x")),
            colour="#cf222e",
        )
    )
    (attachment,) = body["attachments"]
    rich, context, actions = attachment["blocks"]
    assert attachment["color"] == "#cf222e"
    assert [one["type"].removeprefix("rich_text_") for one in rich["elements"]] == [
        "section",
        "section",
        "list",
        "quote",
        "preformatted",
    ]
    assert [one["text"] for one in context["elements"]] == ["Branch: main", "foot"]
    assert [one["url"] for one in actions["elements"]] == ["https://example.com"]


# -- limits


def test_two_hundred_tasks_with_long_names_fit() -> None:
    tasks = tuple(
        Task(id=str(number), name="n" * 1_000, step="s" * 1_000, note="🎉" * 1_000, status=Status.FAILURE)
        for number in range(200)
    )
    for live in (True, False):
        shown(Kind.PIPELINE, replace(full(Kind.PIPELINE, Status.RUNNING, None, live=live), tasks=tasks))


def test_everything_too_long_is_shortened() -> None:
    long = "🎉" * 20_000
    body = built(
        Message(
            title=(Span(long, link="https://example.com"),),
            body=(Paragraph((Span(long),)), Bullets(((Span(long),),) * 200), Code(long), Quote((Span(long),))) * 9,
            facts=((long, (Span(long),)),) * 50,
            footer=(Span(long),),
            buttons=tuple(Button(long, f"https://example.com/{number}") for number in range(30)),
            mentions=tuple(f"U{number:03d}" for number in range(100)),
        )
    )
    assert sum(len(text.encode("utf-16-le")) // 2 for text in texts(body)) <= 12_500


def test_text_is_cut_between_characters_and_entities() -> None:
    assert built(Message(title=(Span("&" * 1_000),)))["text"].endswith("&amp;…")
    assert "\ufffd" not in built(Message(title=(Span("x" + "🎉" * 1_000),)))["text"]


def test_an_empty_message_still_has_a_text() -> None:
    assert built(Message(title=()))["text"] == "(no text)"
    built(Message(title=(Span(""),), body=(Paragraph((Span(""),)), Code(""), Bullets(()), Bullets(((),)))))


def test_long_lists_say_how_many_are_left_out() -> None:
    body = built(Message(title=(Span("t"),), body=(Bullets(tuple((Span(str(n)),) for n in range(100))),)))
    assert list(texts(body))[-1] == "… and 60 more"


@pytest.mark.skipif(not SHARED_LIMITS.exists(), reason="no ../shared")
def test_limits_agree_with_the_published_list() -> None:
    limits = json.loads(SHARED_LIMITS.read_text())
    blocks = slack._slack_blocks
    assert limits["button"]["text"]["max_length"] == blocks.BUTTON == blocks._TEXT_LIMITS["button"]
    assert limits["header"]["text"]["max_length"] == blocks._TEXT_LIMITS["header"]
    assert limits["section"]["fields"]["item_max_length"] == blocks._TEXT_LIMITS["fields"]
    assert limits["section"]["fields"]["max_items"] == blocks._COUNTS["fields"]
    assert limits["context"]["elements"]["max_items"] == blocks._COUNTS["context"] == blocks.MAX_FACTS + 1
    assert limits["actions"]["elements"]["max_items"] == blocks._COUNTS["actions"]
    assert limits["image"]["alt_text"]["max_length"] == blocks._KEY_LIMITS["alt_text"]


# -- a template's own JSON


OWN = Renderer(TEMPLATES | {"slack/run.json.j2": NATIVE})


def own(seen: View) -> dict[str, Any]:
    return built(OWN.render("run", seen, "slack"))


def with_native(native: dict[str, Any], **more: Any) -> dict[str, Any]:
    return slack.payload(Message(title=(Span("title"),), native=native, **more), OPTIONS)


@pytest.mark.parametrize("value", HOSTILE)
def test_own_json_is_valid_and_harmless_whatever_an_event_says(value: str) -> None:
    body = own(view(Kind.PIPELINE, Status.FAILURE, value))
    for node in nodes(body):
        if node.get("type") == "mrkdwn" or node is body:
            written = re.sub(r"<https://(ci\.example\.com|github\.com/acme/app)[^|<>]*\|[^<>]*>", "", node["text"])
            assert not re.search(r"[<>*~`\n]|://", written.replace("*of the template*", ""))
        if "url" in node:
            assert re.match(r"https://(github\.com/acme/app|ci\.example\.com)/", node["url"])
    assert form(body) == form(own(view(Kind.PIPELINE, Status.FAILURE, "x")))


def test_own_json_keeps_what_the_template_wrote() -> None:
    body = own(full(Kind.PIPELINE, Status.FAILURE, None))
    section = next(node for node in nodes(body) if node.get("type") == "section")
    assert section["text"]["text"].startswith(
        "*of the template* <https://github.com/acme/app/actions/runs/41|Fix the parser>"
    )


def test_own_json_gets_mentions_colour_and_text() -> None:
    body = with_native(
        {"blocks": [{"type": "divider"}], "attachments": [{"blocks": [{"type": "divider"}]}]},
        mentions=("U1AB",),
        colour="#cf222e",
    )
    check(body)
    assert body["text"] == "title <@U1AB>"
    assert body["blocks"][-1]["elements"][0]["elements"] == [{"type": "user", "user_id": "U1AB"}]
    assert body["attachments"][0]["color"] == "#cf222e"


def test_own_json_is_cut_to_the_limits() -> None:
    long = "&amp;" * 20_000
    body = with_native(
        {
            "text": long,
            "blocks": [
                {"type": "header", "text": {"type": "plain_text", "text": long}},
                {
                    "type": "section",
                    "text": {"type": "mrkdwn", "text": long},
                    "fields": [{"type": "mrkdwn", "text": long}] * 20,
                },
                {"type": "context", "elements": [{"type": "mrkdwn", "text": "x"}] * 30},
                {
                    "type": "actions",
                    "elements": [
                        {
                            "type": "button",
                            "action_id": f"a{n}",
                            "text": {"type": "plain_text", "text": long},
                            "url": "https://x.example",
                        }
                        for n in range(40)
                    ],
                },
                *[{"type": "divider"}] * 100,
            ],
        }
    )
    check(body)
    assert len(body["blocks"]) == 50
    assert body["text"].endswith("&amp;…")


def test_own_json_loses_what_is_empty_or_no_block() -> None:
    body = with_native(
        {
            "text": " ",
            "channel": "#elsewhere",
            "link_names": True,
            "blocks": [
                {"type": "section", "text": {"type": "mrkdwn", "text": ""}},
                {"type": "context", "elements": []},
                {
                    "type": "rich_text",
                    "elements": [{"type": "rich_text_section", "elements": [{"type": "text", "text": ""}]}],
                },
                "x",
                7,
            ],
            "attachments": "x",
        }
    )
    check(body)
    assert body == {"text": "title", "unfurl_links": False, "unfurl_media": False}
