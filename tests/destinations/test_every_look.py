"""Every shipped template in every chat: how it looks, and that nothing in it was written by a stranger but plain text.

What is sent is read the way the chat reads it (`form`, `effects`), and has the same form as for the text ``x``. Golden
files: ``tests/destinations/TYPE/*.json``; ``BRIDGE_GOLDEN=write`` writes them anew.
"""

from __future__ import annotations

import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.event import Change, Kind, Status
from bridge.message import COLLECTED, REMINDER, Bullets, Button, Code, Heading, Message, Paragraph, Quote, Span
from bridge.render import DEFAULT_TEMPLATE, UNMUTED, Renderer, View, plain
from bridge.render.samples import full
from tests.altered import replace
from tests.destinations.chats import CHATS, Chat
from tests.hostile import HOSTILE, TEMPLATES, bare, view, with_bad_addresses

RENDERER = Renderer(TEMPLATES)
LOOKS = [chat for chat in CHATS if chat.looks]
SHORT = 100  # of what is longer, pieces are cut off, and the form is another
INVISIBLE = " \n\u3000\u200b\u2060\u2028\u2029\x85"
WAYS = [(kind, Status.FAILURE, False) for kind in Kind] + [(Kind.PIPELINE, Status.RUNNING, True)]

every_chat = pytest.mark.parametrize("chat", LOOKS, ids=lambda chat: chat.name)


@cache
def rendered(kind: Kind, status: Status, live: bool, value: str) -> Message:
    """A message with `value` in every field. No shipped template is for one chat alone, so it is the same for all."""
    return RENDERER.render(DEFAULT_TEMPLATE[kind], view(kind, status, value, live=live), "console")


def test_no_shipped_template_is_for_one_chat_alone() -> None:
    assert not [name for name in TEMPLATES if "/" in name]


def sent(chat: Chat, message: Message) -> Any:
    return chat.sent(replace(message, mentions=(chat.person,)))


# -- how it looks

FAILED = full(Kind.TASK, Status.FAILURE, None)
ORDINARY = {
    "run-broken": full(Kind.PIPELINE, Status.FAILURE, Change.BROKEN),
    "run-fixed": full(Kind.PIPELINE, Status.SUCCESS, Change.FIXED),
    "run-live": full(Kind.PIPELINE, Status.RUNNING, None, live=True),
    "task": full(Kind.TASK, Status.FAILURE, None),
    "deployment": full(Kind.DEPLOYMENT, Status.SUCCESS, None),
    "push": full(Kind.PUSH, Status.UNKNOWN, None),
    "change_request": full(Kind.CHANGE_REQUEST, Status.UNKNOWN, None),
    "release": full(Kind.RELEASE, Status.UNKNOWN, None),
    "alert": full(Kind.ALERT, Status.FAILURE, None),
    "audit": full(Kind.AUDIT, Status.UNKNOWN, None),
    "digest": full(Kind.DIGEST, Status.UNKNOWN, None),
    "unmuted": full(Kind.DIGEST, Status.UNKNOWN, None),
    "tasks": replace(FAILED, together=tuple(FAILED.event.with_(id=str(number)) for number in range(3))),
    COLLECTED: replace(FAILED, together=(FAILED.event, full(Kind.RELEASE, Status.UNKNOWN, None).event)),
    REMINDER: full(Kind.PIPELINE, Status.FAILURE, Change.STILL_FAILING),
}


def golden(chat: Chat, name: str, text: str) -> None:
    path = Path(__file__).parent / chat.type / f"{name}.json"
    if os.environ.get("BRIDGE_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


@every_chat
@pytest.mark.parametrize("name", ORDINARY)
def test_golden(chat: Chat, name: str) -> None:
    seen = ORDINARY[name]
    template = name if name in (UNMUTED, COLLECTED, REMINDER) else DEFAULT_TEMPLATE[seen.event.kind]
    body = sent(chat, RENDERER.render(template, seen, chat.type))
    golden(chat, name, json.dumps(body, ensure_ascii=False, indent=1) + "\n")


def everywhere(value: str) -> Message:
    """A message with `value` in each place that a text can have."""
    page = "https://ci.example.com/run/41"
    return Message(
        title=(Span(value, bold=True, link=page), Span(value)),
        body=(
            Heading((Span(value),)),
            Paragraph((Span(value), Span(value, italic=True), Span(value, code=True), Span(value, strike=True))),
            Bullets(((Span(value),), (Span(value, link=page),))),
            Quote((Span(value),)),
            Code(value),
        ),
        facts=((value, (Span(value),)),),
        footer=(Span(value),),
        buttons=(Button(value, page),),
    )


@every_chat
def test_golden_of_hostile_texts(chat: Chat) -> None:
    """One line for each text: how it is written where texts are."""
    texts = [value for value in (*HOSTILE, *chat.strange) if len(value) < SHORT]
    page = "https://ci.example.com/run/41"
    lines = []
    for value in texts:
        body = (Paragraph((Span(value), Span(value, code=True), Span(value, link=page))),)
        facts = ((value, (Span(value),)),)
        message = Message(title=(Span(value),), body=body, facts=facts, buttons=(Button(value, page),))
        lines.append(f"{json.dumps(value)}: {json.dumps(chat.sent(message))}")
    golden(chat, "hostile", "{\n" + ",\n".join(lines) + "\n}\n")


# -- nothing of it was written by a stranger but plain text


@cache
def usual(name: str, kind: Kind, status: Status, live: bool) -> tuple[list[Any], set[str]]:
    """How a chat reads the message whose every text is x, or x and y on two lines: a template may tell them apart."""
    chat = next(one for one in LOOKS if one.name == name)
    bodies = [sent(chat, rendered(kind, status, live, value)) for value in ("x", "x\ny")]
    return [chat.form(body) for body in bodies], chat.effects(bodies[0])


def harmless(chat: Chat, kind: Kind, status: Status, live: bool, value: str, *, same_form: bool) -> None:
    body = sent(chat, rendered(kind, status, live, value))
    forms, effects = usual(chat.name, kind, status, live)
    assert chat.effects(body) <= effects, repr(value)
    if same_form:
        assert chat.form(body) in forms, repr(value)


@every_chat
@pytest.mark.parametrize(("kind", "status", "live"), WAYS)
def test_no_text_of_an_event_has_an_effect(chat: Chat, kind: Kind, status: Status, live: bool) -> None:
    for value in (*HOSTILE, *chat.strange):
        same_form = len(value) < SHORT and value.strip(INVISIBLE) != ""
        harmless(chat, kind, status, live, value, same_form=same_form)


@pytest.mark.parametrize("chat", LOOKS, ids=lambda chat: chat.name)
@given(value=st.text(min_size=1, max_size=60) | st.text("<>@#&![](){}*_~|`\\:/-.1 \nehrt", max_size=60))
@settings(max_examples=40, deadline=None, database=None)
def test_no_text_at_all_has_an_effect(chat: Chat, value: str) -> None:
    for kind in (Kind.PIPELINE, Kind.PUSH):
        harmless(chat, kind, Status.FAILURE, False, f"x{value}y", same_form=True)  # never a commit


def harmless_in_every_place(chat: Chat, value: str, *, same_form: bool) -> None:
    """In code, quotes and lists, too, where no shipped template puts a text of an event, and an operator's may."""
    body, usual = (sent(chat, apart(one)) for one in (value, "x"))
    assert chat.effects(body) <= chat.effects(usual), repr(value)
    if same_form:
        assert chat.form(body) == chat.form(usual), repr(value)


def apart(value: str) -> Message:
    """A message with `value` in each place, where it has no neighbour that it could be read with."""
    page = "https://ci.example.com/run/41"
    forms = (Span(value, bold=True), Span(value, italic=True), Span(value, strike=True), Span(value, code=True))
    links = (Span(value, link=page), Span(value, code=True, link=page))
    return Message(
        title=(Span(value, bold=True, link=page),),
        body=(
            *(Paragraph((one,)) for one in (*forms, *links)),
            Bullets(((forms[3],),)),
            Quote((forms[3],)),
            Code(value),
        ),
        facts=((value, (forms[3],)),),
        footer=(Span(value),),
        buttons=(Button(value, page),),
    )


@every_chat
def test_no_text_in_any_place_of_a_message_has_an_effect(chat: Chat) -> None:
    for value in (*HOSTILE, *chat.strange):
        value = value.strip()  # as every text of an event is
        one_line = len(value) < SHORT and value.strip(INVISIBLE) != "" and not re.search("[\n\u2028\u2029\x85]", value)
        harmless_in_every_place(chat, value, same_form=one_line)


@pytest.mark.parametrize("chat", LOOKS, ids=lambda chat: chat.name)
@given(value=st.text("<>@#&![](){}*_~|`\\:/-.1 ehrt\"'$;", max_size=40))
@settings(max_examples=40, deadline=None, database=None)
def test_no_text_at_all_has_an_effect_in_any_place(chat: Chat, value: str) -> None:
    harmless_in_every_place(chat, f"x{value}y", same_form=True)


ODD_ADDRESS = "https://ci.example.com/a'b$d;e&f(k)*m*_n_~o~@q?g=h&i=j#r"


@every_chat
def test_an_odd_address_is_one_link_and_nothing_else(chat: Chat) -> None:
    def linked(address: str) -> Any:
        buttons = (Button("open", address),)
        return chat.sent(Message(title=(Span("x", link=address), Span(" y")), buttons=buttons))

    def but_links(body: Any) -> set[str]:
        return {one for one in chat.effects(body) if not one.startswith("leads to ")}

    odd, usual = linked(ODD_ADDRESS), linked("https://ci.example.com/a")
    assert but_links(odd) == but_links(usual)
    assert len(chat.effects(odd)) == len(chat.effects(usual))


@every_chat
def test_the_one_who_is_to_be_called_is_called(chat: Chat) -> None:
    """Else the tests above could not see whom a text calls."""
    message = rendered(Kind.PIPELINE, Status.FAILURE, False, "x")
    told, untold = sent(chat, message), chat.sent(message)
    assert chat.person in json.dumps(told)
    assert chat.person not in json.dumps(untold)
    assert chat.effects(told) != chat.effects(untold) or chat.type == "console", "on a terminal it is a name"


@every_chat
@pytest.mark.parametrize("template", ["task", COLLECTED, REMINDER])
def test_no_text_of_many_events_is_more_than_text(chat: Chat, template: str) -> None:
    """With `together`, what is listed comes from strangers as well."""

    def told(text: str) -> Any:
        one = view(Kind.TASK, Status.FAILURE, text)
        return sent(chat, RENDERER.render(template, replace(one, together=(one.event,) * 3), "console"))

    def leads(body: Any) -> set[str]:
        return {effect for effect in chat.effects(body) if not effect.startswith("leads to ")}

    usual = leads(told("x")) | leads(told("x\ny"))
    for value in (*HOSTILE, *chat.strange):
        assert leads(told(value)) <= usual, repr(value)


@every_chat
def test_bad_addresses_are_no_links(chat: Chat) -> None:
    for value in (one for one in (*HOSTILE, *chat.strange) if not one.startswith(("https://", "http://"))):
        message = RENDERER.render("run", with_bad_addresses(value), "console")
        found = {one for one in chat.effects(chat.sent(message)) if one.startswith("leads to ")}
        assert found == set(), repr(value)


@every_chat
@pytest.mark.parametrize("kind", Kind)
def test_a_bare_event_is_a_valid_message(chat: Chat, kind: Kind) -> None:
    seen: View = bare(kind)
    chat.sent(RENDERER.render(DEFAULT_TEMPLATE[kind], seen, chat.type))
    chat.sent(plain(seen))


# -- limits


LONG = ["🎉" * 20_000, "*" * 20_000, "@\n" * 20_000, "&<" * 20_000, "a\n\n" * 9_000]


@every_chat
@pytest.mark.parametrize("long", LONG, ids=["emoji", "marks", "lines", "entities", "paragraphs"])
def test_everything_too_long_is_shortened(chat: Chat, long: str) -> None:
    message = everywhere(long)
    buttons = tuple(Button(long, f"https://example.com/{number}") for number in range(30))
    people = (chat.person,) * 100
    chat.sent(replace(message, body=message.body * 9, facts=message.facts * 50, buttons=buttons, mentions=people))


@every_chat
def test_many_short_parts_fit_too(chat: Chat) -> None:
    part = (Span("a", bold=True), Span("b", link="https://example.com/" + "c" * 200))
    message = Message(
        title=(Span("t"),),
        body=(Bullets((part,) * 60), Quote(part)) * 30,
        facts=(("n", part),) * 60,
        buttons=(Button("x", "https://example.com/" + "d" * 1_500),) * 30,
    )
    chat.sent(message)
    chat.sent(replace(message, body=(Paragraph((Span("x"),)),) * 4_000))


@every_chat
def test_an_empty_message_can_be_sent(chat: Chat) -> None:
    chat.sent(Message(title=()))
    chat.sent(Message(title=(Span("\x00"),), body=(Paragraph((Span(""),)), Code(""), Bullets(()), Bullets(((),)))))


PIECES = st.builds(
    Span,
    st.text(max_size=20),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.none() | st.just("https://x.example/1"),
)
SPANS = st.lists(PIECES, max_size=3).map(tuple)
BLOCKS = (
    st.builds(Paragraph, SPANS)
    | st.builds(Heading, SPANS)
    | st.builds(Quote, SPANS)
    | st.builds(Code, st.text(max_size=20))
    | st.builds(Bullets, st.lists(SPANS, max_size=3).map(tuple), st.booleans())
)


@pytest.mark.parametrize("chat", LOOKS, ids=lambda chat: chat.name)
@given(title=SPANS, body=st.lists(BLOCKS, max_size=4).map(tuple), facts=st.lists(st.tuples(st.text(max_size=9), SPANS)))
@settings(max_examples=40, deadline=None, database=None)
def test_any_message_can_be_sent(chat: Chat, title: Any, body: Any, facts: Any) -> None:
    chat.sent(Message(title=title, body=body, facts=tuple(facts), footer=title))
