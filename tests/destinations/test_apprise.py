"""Apprise: once and no more, in time, and what its words mean."""

from __future__ import annotations

import asyncio
import io
import logging
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from apprise.plugins.custom_json import NotifyJSON
from pydantic import ValidationError

from bridge.destinations import apprise
from bridge.errors import Dead, DeliveryError, Gone, RateLimited, Rejected, Transient, Unsure
from bridge.event import Status
from bridge.message import Button, Message, Paragraph, Span
from tests.fakes.apprise import FakeApprise, answers
from tests.fakes.base import accepted_then_connection_lost, redirect, slow, status

MESSAGE = Message(title=(Span("CI broke on main"),), body=(Paragraph((Span("octocat"),)),), status=Status.FAILURE)


@pytest.fixture
async def fake() -> AsyncIterator[FakeApprise]:
    async with FakeApprise() as fake:
        yield fake


def made(url: str, **more: Any) -> apprise.Service:
    options = apprise.Options.model_validate({"url": url, "timeout": "2s"} | more)
    return apprise.open("tail", options, None)  # type: ignore[arg-type] # it has connections of its own


async def send(place: apprise.Service, message: Message = MESSAGE) -> dict[str, str]:
    return await place.send(message, channel=None, thread=None, key="d1")


# -- a good day


async def test_a_message_is_one_post(fake: FakeApprise) -> None:
    assert await send(made(fake.url)) == {}
    (posted,) = fake.messages.values()
    assert posted.body == {"title": "CI broke on main", "body": "octocat", "type": "failure"}


async def test_a_title_alone_is_the_text(fake: FakeApprise) -> None:
    await send(made(fake.url), Message(title=(Span("CI broke"),)))
    await send(made(fake.url), Message(title=()))
    assert [one.body["body"] for one in fake.messages.values()] == ["CI broke", "…"]


async def test_what_is_long_is_one_message_all_the_same(fake: FakeApprise, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NotifyJSON, "body_maxlen", 100)
    long = Message(title=(Span("x" * 999),), body=(Paragraph((Span("word " * 9_999),)),) * 99)
    await send(made(fake.url + "?overflow=split"), long)
    assert len(fake.calls) == 1


@pytest.mark.parametrize("wish", ["retry=3&wait=0", "redirect=yes"])
async def test_an_address_cannot_wish_for_another_try(fake: FakeApprise, wish: str) -> None:
    fake.faults.append(status(502) if "retry" in wish else redirect())
    with pytest.raises(Transient):
        await send(made(f"{fake.url}?{wish}"))
    assert len(fake.calls) == 1


async def test_one_that_hangs_does_not_hold_the_next_one_up(fake: FakeApprise) -> None:
    late = asyncio.Event()
    fake.faults.append(slow(late))
    place = made(fake.url, timeout="0.1s")
    with pytest.raises(Unsure, match="may have arrived"):
        await send(place)
    await send(made(fake.url))
    (hanging,) = place._threads
    assert hanging.daemon, "bridge can end while it hangs"
    hanging.join(2)
    assert not hanging.is_alive(), "it gives up too"
    late.set()


async def test_a_plugin_that_never_ends_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    monkeypatch.setattr(apprise, "_notify", lambda url, body, seconds: ended.wait(9))
    place = made("json://127.0.0.1/", timeout="0.05s")
    try:
        with pytest.raises(Unsure, match=r"within 0\.05 s"):
            await asyncio.wait_for(send(place), 2)
    finally:
        ended.set()


async def test_threads_that_hang_are_counted(fake: FakeApprise, monkeypatch: pytest.MonkeyPatch) -> None:
    late = asyncio.Event()
    fake.faults += [slow(late)] * 2
    monkeypatch.setattr(apprise, "MOST_HANGING", 2)
    place = made(fake.url)
    hanging = [asyncio.create_task(send(place)) for _ in range(2)]
    await fake.until(lambda: len(fake.calls) == 2)
    with pytest.raises(Transient, match="still hang"):
        await send(place)
    late.set()
    await asyncio.gather(*hanging)
    await send(place)


async def test_nothing_can_be_edited(fake: FakeApprise) -> None:
    with pytest.raises(Gone):
        await made(fake.url).edit(MESSAGE, {})


# -- how it looks


def looks(text: str) -> str:
    return str(apprise.payload(Message(title=(Span(text),)), None)["title"])  # type: ignore[arg-type]


@pytest.mark.parametrize("plain", ["Fix snake_case_names", "a - b", "mail me", "5 + 3 = 8", "C# & F#", "it's 10:30"])
def test_ordinary_words_stay_as_they_are(plain: str) -> None:
    assert looks(plain) == plain


def test_a_button_is_its_address_and_its_words_are_no_link() -> None:
    message = Message(title=(), buttons=(Button("[x](https://evil.example)", "https://ci.example.com/1?a=_b_*"),))
    assert apprise.payload(message, None)["body"].endswith(": https://ci.example.com/1?a=_b_*")  # type: ignore[arg-type]
    assert "](" not in apprise.payload(message, None)["body"]  # type: ignore[arg-type]


# -- what its words mean


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Failed to send JSON POST notification: error=400.", Rejected),
        ("Failed to send Slack notification: Unauthorized - Invalid Token, error=401.", Dead),
        ("... error=403.", Dead),
        ("... error=404.", Dead),
        ("... error=410.", Dead),
        ("... error=413.", Rejected),
        ("... error=422.", Rejected),
        ("... error=429.", RateLimited),
        ("... error=418.", Transient),
        ("... error=200.", Transient),
        ("... error=302.", Transient),
        ("... error=500.", Transient),
        ("... error=503.", Transient),
        ("A Connection error occurred sending JSON notification to x.", Unsure),
        ("Socket Exception: HTTPConnectionPool: Failed to establish a new connection: [Errno 111]", Transient),
        ("Socket Exception: NameResolutionError", Transient),
        ("Socket Exception: Read timed out. (read timeout=10)", Unsure),
        ("There is nothing to do", Transient),
        ("", Transient),
    ],
)
def test_each_word_means_one_thing(said: str, kind: type[DeliveryError]) -> None:
    assert type(apprise.judge(["Sending", said])) is kind


async def test_a_connection_that_never_came_up_carried_nothing(fake: FakeApprise) -> None:
    place = made(fake.url)
    await fake.stop()
    with pytest.raises(Transient, match="no connection"):
        await send(place)


async def test_a_plugin_that_raises_loses_nothing(fake: FakeApprise, monkeypatch: pytest.MonkeyPatch) -> None:
    place = made(fake.url)

    def broken(url: str) -> None:
        raise KeyError("made-up-secret")

    monkeypatch.setattr(apprise, "_instantiate", broken)
    with pytest.raises(Transient) as error:
        await send(place)
    assert "made-up-secret" not in str(error.value)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What reaches our own log at its most talkative; caplog also sees what loggers keep to themselves."""
    root, stream = logging.getLogger(), io.StringIO()
    handler, before = logging.StreamHandler(stream), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.setLevel(before)
    root.removeHandler(handler)


async def test_no_word_has_the_address_in_it(
    fake: FakeApprise, log: io.StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    fake.faults += [*map(answers, (400, 404, 429, 500)), accepted_then_connection_lost()]
    place, said = made(fake.url), []
    for _ in range(5):
        with pytest.raises(DeliveryError) as error:
            await send(place)
        said.append(str(error.value))
    out, err = capfd.readouterr()
    assert "made-up-secret" not in "\n".join([*said, log.getvalue(), out, err, (await place.check()).text])


# -- options and health


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("hunter2", "is no Apprise URL"),
        ("hunter2://x/y", "is none that Apprise understands"),
        ("slack://hunter2", "is none that Apprise understands"),
        ("tgram://hunter2", "is none that Apprise understands"),
    ],
)
def test_what_is_wrong_is_said_without_the_value(url: str, words: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValidationError) as error:
        apprise.Options.model_validate({"url": url})
    assert words in str(error.value)
    assert "hunter2" not in str(error.value) + "".join(capfd.readouterr())


def test_without_apprise_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(ValidationError, match=r"pip install 'bridge\[apprise\]'"):
        apprise.Options.model_validate({"url": "json://127.0.0.1/"})


def test_the_module_alone_does_not_import_apprise() -> None:
    asked = "import sys; from bridge.destinations import apprise; sys.exit('apprise' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked], timeout=30).returncode == 0


async def test_check_names_the_service_and_says_what_it_cannot_know(fake: FakeApprise) -> None:
    health = await made(fake.url).check()
    assert (health.ok, health.text) == (None, "JSON; only a message shows whether it arrives")
    assert fake.calls == []


def test_the_pace_is_the_service_s_own() -> None:
    def per_second(url: str, **more: Any) -> float:
        return made(url, **more).buckets(edit=False, channel=None)[0].rate.per_second

    assert per_second("json://127.0.0.1/") == 10
    assert per_second("mailtos://me:made-up@example.com") < 1
    assert per_second("json://127.0.0.1/", rate="3/s") == 3
