"""A template's own JSON in chats that have a native form: what an event says has no effect in any place of it.

``tests/destinations/TYPE/native.json.j2`` puts it in every place. What each text of it does is read as the chat reads
it, and is the same as for the text ``x``. Slack's and Discord's have tests of their own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.destinations import DESTINATIONS
from bridge.event import Kind, Status
from bridge.message import Button, Message, Paragraph, Span
from bridge.render import Renderer
from bridge.render.foreign import hide
from bridge.render.native import PLATFORMS
from bridge.render.samples import full
from tests.altered import replace
from tests.destinations.chats import CHATS, Chat
from tests.fakes import mattermost_reader, rocketchat_reader
from tests.hostile import HOSTILE, TEMPLATES, view, with_bad_addresses

HERE = Path(__file__).parent
OWN = [chat for chat in CHATS if chat.type in PLATFORMS and chat.type not in ("slack", "discord")]
INVISIBLE = " \n\u3000\u200b\u2060\u2028\u2029\x85"
every_chat = pytest.mark.parametrize("chat", OWN, ids=lambda chat: chat.name)
RENDERERS = {
    kind: Renderer(TEMPLATES | {f"{kind}/run.json.j2": (HERE / kind / "native.json.j2").read_text("utf-8")})
    for kind in {chat.type for chat in OWN}
}


def message(chat: Chat, seen: Any) -> Message:
    return replace(RENDERERS[chat.type].render("run", seen, chat.type), mentions=(chat.person,))


def strings(node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(node, str):
        yield path, node
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from strings(value, f"{path}.{key}")


# -- how each chat reads a text


def _mattermost(path: str, text: str) -> list[str]:
    text = mattermost_reader._of_slack(text)
    found = [f"{one.type} {one.attrs.get('href', '')}" for one in mattermost_reader.tokens(text)]
    plain = ("text", "text_special", "softbreak", "hardbreak", "inline", "entity", "paragraph")
    return [one for one in found if not one.startswith(plain)] + sorted(mattermost_reader._effects(text))


def _rocketchat(path: str, text: str) -> list[str]:
    return rocketchat_reader._form(text) + sorted(rocketchat_reader._effects(text))


def _teams(path: str, text: str) -> list[str]:
    lively = re.findall(r"(?i)<\s*/?\s*at\b|\{\{\s*(?:DATE|TIME)\b", text)
    read = re.search(r"body\.[01]\.text$|facts\.\d+\.(?:title|value)$", path)
    return lively + (_mattermost(path, text) if read else [])


def _google_chat(path: str, text: str) -> list[str]:
    if path == ".text":
        return re.findall(
            r"<(?=[^\s\u2060])[^>]*>|[*~`|\n]|(?<!\w)_|_(?!\w)|@\w", re.sub(r"<(https:[^|>]*)\|", r"<\1>", text)
        )
    if re.search(r"textParagraph\.text$|decoratedText\.text$|sections\.\d+\.header$", path):
        return re.findall(r"<[^>]*>?", text) + re.findall(r"&(?!(?:amp|lt|gt|quot|#x27|#39);)", text)
    return re.findall(r"<[\w/!?]|&[\w#]", text)


READS: dict[str, Callable[[str, str], list[str]]] = {
    "google_chat": _google_chat,
    "mattermost": _mattermost,
    "rocketchat": _rocketchat,
    "teams": _teams,
}


def read(chat: Chat, value: str) -> tuple[dict[str, list[str]], Any]:
    body = chat.sent(message(chat, view(Kind.PIPELINE, Status.FAILURE, value)))
    return {path: READS[chat.type](path, text) for path, text in strings(body)}, body


def harmless(chat: Chat, value: str) -> None:
    found, body = read(chat, value)
    usual, _ = read(chat, "x")
    assert found == usual, repr(value)
    assert "\ud800" not in json.dumps(body, ensure_ascii=False)


@every_chat
def test_no_text_of_an_event_has_an_effect_in_own_json(chat: Chat) -> None:
    for value in (*HOSTILE, *chat.strange):
        if len(value) < 100 and value.strip(INVISIBLE):
            harmless(chat, value)


@pytest.mark.parametrize("chat", OWN, ids=lambda chat: chat.name)
@given(value=st.text(min_size=1, max_size=40) | st.text("<>@#&![](){}*_~|`\\:/-.1 \nehrt+=$", max_size=40))
@settings(max_examples=60, deadline=None, database=None)
def test_no_text_at_all_has_an_effect_in_own_json(chat: Chat, value: str) -> None:
    harmless(chat, f"x{value}y")
    if value.strip(INVISIBLE + "\x00"):
        harmless(chat, f"{value}y")


@every_chat
def test_what_the_template_wrote_keeps_its_meaning(chat: Chat) -> None:
    body = chat.sent(message(chat, full(Kind.PIPELINE, Status.FAILURE, None)))
    whole = json.dumps(body, ensure_ascii=False)
    assert "own" in whole
    assert "Fix the parser" in whole
    assert "https://github.com/acme/app/actions/runs/41" in whole
    assert chat.person in whole, "whom the rule mentions is called"
    assert body != chat.sent(replace(message(chat, full(Kind.PIPELINE, Status.FAILURE, None)), native=None))


@every_chat
def test_bad_addresses_lead_nowhere_in_own_json(chat: Chat) -> None:
    for value in ("javascript:alert(1)", 'x" onclick="y', "https://evil.example/) [x](https://other.example", "x"):
        body = chat.sent(message(chat, with_bad_addresses(value)))
        whole = json.dumps(body, ensure_ascii=False)
        assert "javascript:" not in whole
        assert "](https://other" not in whole
        assert 'onclick=\\"' not in whole


@every_chat
@pytest.mark.parametrize(
    "native", [{}, {"x": 7}, {"text": " "}, {"body": 7, "cardsV2": "x", "attachments": {}}, {"card": []}]
)
def test_own_json_that_says_nothing_gives_way_to_the_ordinary_message(chat: Chat, native: dict[str, Any]) -> None:
    ordinary = Message(title=(Span("title"),), body=(Paragraph((Span("words"),)),), native=None)
    assert chat.sent(replace(ordinary, native=native)) == chat.sent(ordinary)


LONG = "words " * 20_000
ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "x", "Container", "TextBlock", "\ud800", LONG]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                "type text body items actions attachments content card cardsV2 sections widgets textParagraph title "
                "fields value header url onClick openLink color inlines facts".split()
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=15,
)


@pytest.mark.parametrize("chat", OWN, ids=lambda chat: chat.name)
@given(
    native=st.dictionaries(st.sampled_from("type text msg message body attachments card cardsV2 sections".split()), ODD)
)
@settings(max_examples=60, deadline=None, database=None)
def test_no_json_is_too_odd_to_be_sent(chat: Chat, native: dict[str, Any]) -> None:
    plain = Message(title=(Span("title"),), buttons=(Button("x", "https://x.example"),), native=native)
    filled = replace(plain, native=PLATFORMS[chat.type](native, None))
    body = DESTINATIONS[chat.type].payload(filled, chat.made(chat.fake()))
    sent = json.dumps(body, ensure_ascii=False)
    assert len(sent) < 30_000
    sent.encode()


@pytest.mark.parametrize("kind", ["mattermost", "rocketchat", "google_chat"])
def test_a_link_of_the_template_s_to_no_address_is_its_words(kind: str) -> None:
    target = hide("javascript:alert(1)")
    own = f"<{target}|words>" if kind == "google_chat" else f"[words]({target})"
    assert PLATFORMS[kind]({"text": own}, None)["text"] == "words"


@pytest.mark.parametrize("kind", ["mattermost", "rocketchat", "google_chat"])
def test_not_even_a_template_s_own_words_call(kind: str) -> None:
    """Letters of an event could follow them: whom a message calls is the rule's to say."""
    text = PLATFORMS[kind]({"text": "<!channel> <users/all> @all <@octocat>"}, None)["text"]
    assert not re.search(r"@\w|<users|" + ("<[!@]" if kind == "mattermost" else "<users"), text)
