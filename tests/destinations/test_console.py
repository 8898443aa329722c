"""The terminal shows what happened, and no stranger drives it."""

from __future__ import annotations

import io
import re

import pytest

from bridge.destinations import console
from bridge.errors import Transient
from bridge.event import Change, Kind, Status
from bridge.message import Bullets, Button, Code, Heading, Message, Paragraph, Quote, Span
from bridge.render import DEFAULT_TEMPLATE, Renderer
from bridge.render.samples import full
from tests.hostile import HOSTILE, TEMPLATES, view

RENDERER = Renderer(TEMPLATES)
MESSAGE = Message(
    title=(Span("🔴 "), Span("CI broke", bold=True)),
    body=(
        Heading((Span("Head"),)),
        Paragraph((Span("one\ntwo"),)),
        Bullets(((Span("a"),), (Span("b"),))),
        Bullets(((Span("a"),), (Span("b"),)), ordered=True),
        Quote((Span("quoted"),)),
        Code("code"),
    ),
    facts=(("Branch", (Span("main"),)), ("", (Span("alone"),))),
    footer=(Span("4f2a9c1"),),
    buttons=(Button("Open run", "https://example.com/41"),),
    mentions=("octocat",),
    colour="#cf222e",
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_message_in_lines() -> None:
    assert console.text(MESSAGE, colour=False).splitlines() == [
        "▌ 🔴 CI broke @octocat",
        "▌ Head",
        "▌ one",
        "▌ two",
        "▌ • a",
        "▌ • b",
        "▌ 1. a",
        "▌ 2. b",
        "▌ │ quoted",
        "▌     code",
        "▌ Branch: main",
        "▌ alone",
        "▌ 4f2a9c1",
        "▌ Open run: https://example.com/41",
    ]


def test_colour_changes_no_word() -> None:
    coloured = console.text(MESSAGE, colour=True)
    assert "\033[38;2;207;34;46m▌" in coloured
    assert re.sub(r"\033\[[\d;]*m", "", coloured) == console.text(MESSAGE, colour=False)


@pytest.mark.parametrize("value", [*HOSTILE, "\x1b]0;title\x07", "a\rb", "\x9b31m"])
def test_control_characters_are_shown_not_obeyed(value: str) -> None:
    message = Message(
        title=(Span(value),), body=(Code(value), Paragraph((Span(value),))), facts=((value, (Span(value),)),)
    )
    shown = console.text(message, colour=False)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", shown)
    for kind in (Kind.PIPELINE, Kind.PUSH):
        rendered = RENDERER.render(DEFAULT_TEMPLATE[kind], view(kind, Status.FAILURE, value), "console")
        assert "\x1b" not in console.text(rendered, colour=False)


async def test_an_edit_is_printed_with_the_number_of_its_message() -> None:
    stream = io.StringIO()
    place = console.Console("terminal", console.Options(), stream)
    receipt = await place.send(MESSAGE, channel="#builds", thread=None)
    assert receipt == {"n": "1"}
    assert await place.edit(MESSAGE, receipt) == receipt
    await place.send(MESSAGE, channel=None, thread=receipt)
    heads = [line for line in stream.getvalue().splitlines() if "→" in line]
    assert heads == ["#1 #builds → terminal", "↻ #1 → terminal", "#2 in the thread of #1 → terminal"]


async def test_colour_only_on_a_terminal_that_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for stream, no_color, coloured in ((io.StringIO(), "", False), (Terminal(), "", True), (Terminal(), "1", False)):
        monkeypatch.setenv("NO_COLOR", no_color)
        await console.Console("terminal", console.Options(), stream).send(MESSAGE, channel=None, thread=None)
        assert ("\033[" in stream.getvalue()) is coloured


async def test_a_terminal_without_emoji_gets_the_message() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    await console.Console("terminal", console.Options(), stream).send(MESSAGE, channel=None, thread=None)
    assert b"CI broke" in raw.getvalue()


async def test_an_output_that_is_gone_is_tried_again() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    with pytest.raises(Transient):
        await console.Console("terminal", console.Options(), Gone()).send(MESSAGE, channel=None, thread=None)


async def test_the_console_is_always_well() -> None:
    place = console.open("terminal", console.Options(rate="1/s"), None)
    assert (await place.check()).ok
    assert (place.can_edit, place.can_thread) == (True, True)
    assert len(place.buckets(edit=False, channel=None)) == 1
    assert console.open("terminal", console.Options(), None).buckets(edit=False, channel=None) == ()


def test_payload_is_the_message() -> None:
    message = RENDERER.render("run", full(Kind.PIPELINE, Status.FAILURE, Change.BROKEN), "console")
    assert console.payload(message, console.Options())["status"] == "failure"
