"""Matrix through a socket: what every answer means, its options, keys, edits, threads, and what doctor says."""

from __future__ import annotations

import html
import json
import logging
import re
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bridge.config import load
from bridge.destinations import _matrix_html, matrix
from bridge.errors import ConfigError, Dead, DeliveryError, Gone, RateLimited, Rejected, Transient, Unsure
from bridge.message import Button, Code, Message, Paragraph, Span
from bridge.receive import Deciding
from bridge.units import Rate
from tests.altered import replace
from tests.arrivals import event, rule
from tests.couriers import Work
from tests.fakes import matrix_reader
from tests.fakes.base import accepted_then_connection_lost, status
from tests.fakes.matrix import ALIAS, ROOM, TOKEN, USER, FakeMatrix, error

MESSAGE = Message(
    title=(Span("CI broke on main", bold=True),),
    body=(Paragraph((Span("octocat"),)),),
    buttons=(Button("Open run", "https://ci.example.com/1"),),
    mentions=("@octocat:example.org",),
)
FIXED = Message(title=(Span("CI is fixed"),))
OTHER = "!other:example.org"


@pytest.fixture
async def fake() -> AsyncIterator[FakeMatrix]:
    async with FakeMatrix() as fake:
        yield fake
        assert fake.invalid == []


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def options(url: str = "https://matrix.example.org", **more: Any) -> matrix.Options:
    return matrix.Options.model_validate({"homeserver": url, "token": TOKEN, "room": ROOM, "timeout": "1s"} | more)


def made(fake: FakeMatrix, session: aiohttp.ClientSession, name: str = "lobby", **more: Any) -> matrix.Bot:
    return matrix.open(name, options(fake.url, **more), session)


@pytest.fixture
def bot(fake: FakeMatrix, session: aiohttp.ClientSession) -> matrix.Bot:
    return made(fake, session)


async def post(bot: matrix.Bot, message: Message = MESSAGE, key: str | None = "d1-1", **more: Any) -> dict[str, str]:
    return await bot.send(message, **({"channel": None, "thread": None} | more), key=key)


def puts(fake: FakeMatrix) -> list[str]:
    return [call.path.rsplit("/", 1)[-1] for call in fake.calls if call.method == "PUT"]


# -- options


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"homeserver": "matrix.example.org"}, "is no address"),
        ({"homeserver": "https://matrix.example.org?x"}, "is no address"),
        ({"homeserver": "https://matrix.example.org/_matrix/client"}, "before /_matrix"),
        ({"homeserver": "http://matrix.example.org"}, "use https://"),
        ({"token": "two words"}, "docs/destinations/matrix.md"),
        ({"token": ""}, "docs/destinations/matrix.md"),
        ({"room": "builds"}, "Internal room ID"),
        ({"room": "#builds"}, "Internal room ID"),
        ({"room": "!a b:example.org"}, "Internal room ID"),
    ],
)
def test_what_cannot_be_right_is_refused_with_what_to_do(given: dict[str, str], word: str) -> None:
    with pytest.raises(ValidationError, match=word) as refused:
        options(**{"url": given.get("homeserver", "https://matrix.example.org")} | given)
    assert TOKEN not in str(refused.value)


@pytest.mark.parametrize(
    "room", [ROOM, ALIAS, "!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM", "#a/b:[2001:db8::1]:8448"]
)
def test_rooms_have_ids_old_and_new_and_addresses(room: str) -> None:
    assert options(room=room).room == room


def test_a_slash_at_the_end_and_a_pasted_bearer_do_no_harm() -> None:
    assert options("https://matrix.example.org/").homeserver == "https://matrix.example.org"
    assert options(token=f"Bearer {TOKEN}\n").token.get_secret_value() == TOKEN
    assert options("http://127.0.0.1:8008").homeserver == "http://127.0.0.1:8008"


PEOPLE = """version: 1
sources: {ci: {type: github, secret: "${SECRET}"}}
destinations: {t: {type: console}}
rules: [{name: all, to: t}]
people: {octocat: {matrix: "%s"}}
"""


@pytest.mark.parametrize(
    ("person", "good"),
    [("@octocat:example.org", True), ("@a.b=c/d:127.0.0.1:8448", True)]
    + [(wrong, False) for wrong in ("octocat", "@octocat", "@octocat:", "@room", "octocat:example.org")],
)
def test_a_person_has_the_whole_id(tmp_path: Path, person: str, good: bool) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(PEOPLE % person)
    said = ""
    try:
        load(str(file), {"SECRET": "s"})
    except ConfigError as error:
        said = str(error)
    assert ("is no Matrix ID, write the whole ID" in said) == (not good)
    assert said == "" or not good


# -- what an answer means


@pytest.mark.parametrize(
    ("http", "answer", "kind", "word"),
    [
        (200, {"event_id": "$1"}, None, ""),
        (200, {}, Unsure, "may have arrived"),
        (200, None, Unsure, "may have arrived"),
        (401, {"errcode": "M_UNKNOWN_TOKEN"}, Dead, "log the bot in again"),
        (401, {"errcode": "M_MISSING_TOKEN"}, Dead, "log the bot in again"),
        (401, {"errcode": "M_NEW"}, Dead, "log the bot in again"),
        (401, {"errcode": "M_USER_LOCKED"}, Dead, "locked"),
        (403, {"errcode": "M_USER_DEACTIVATED"}, Dead, "closed"),
        (403, {"errcode": "M_USER_SUSPENDED"}, Dead, "suspended"),
        (403, {"errcode": "M_FORBIDDEN"}, Dead, "invite"),
        (403, {"errcode": "M_CONSENT_NOT_GIVEN"}, Dead, "terms"),
        (403, {"errcode": "M_GUEST_ACCESS_FORBIDDEN"}, Dead, "guest"),
        (404, {"errcode": "M_NOT_FOUND"}, Dead, "compare"),
        (404, {"errcode": "M_UNRECOGNIZED"}, Dead, "well-known"),
        (413, {"errcode": "M_TOO_LARGE"}, Rejected, "too large"),
        (413, None, Rejected, "too large"),
        (400, {"errcode": "M_BAD_JSON"}, Rejected, "M_BAD_JSON"),
        (400, {"errcode": "M_NOT_JSON"}, Rejected, "M_NOT_JSON"),
        (400, {"errcode": "M_INVALID_PARAM"}, Rejected, "M_INVALID_PARAM"),
        (400, {"errcode": "M_MISSING_PARAM"}, Rejected, "M_MISSING_PARAM"),
        (400, {"errcode": "M_UNKNOWN"}, Rejected, "M_UNKNOWN"),
        (400, {"errcode": "ORG.EXAMPLE_NEW"}, Rejected, "ORG.EXAMPLE_NEW"),
        (403, {"errcode": "M_RESOURCE_LIMIT_EXCEEDED"}, Transient, "admins"),
        (403, {"errcode": "M_NEW"}, Transient, "M_NEW"),
        (500, {"errcode": "M_UNKNOWN"}, Transient, "500"),
        (404, None, Transient, "404"),
        (502, None, Transient, "502"),
        (302, None, Transient, "redirects"),
        (400, {"errcode": "<b>"}, Transient, "HTTP 400"),
        (400, {"errcode": 7}, Transient, "HTTP 400"),
    ],
)
def test_every_answer_has_its_meaning(http: int, answer: Any, kind: type[DeliveryError] | None, word: str) -> None:
    found = matrix.judge(http, {}, answer)
    assert type(found) is (kind or type(None))
    assert word in str(found or "")
    assert "<b>" not in str(found)


@pytest.mark.parametrize(
    ("http", "answer", "headers", "after"),
    [
        (429, {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 3_812}, {"Retry-After": "4"}, 3.812),
        (429, {"errcode": "M_LIMIT_EXCEEDED"}, {"retry-after": "4"}, 4.0),
        (429, None, {}, 30.0),
        (429, {"retry_after_ms": True}, {}, 30.0),
        (429, {"retry_after_ms": 10**400}, {}, 30.0),
        (400, {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 100}, {}, 0.1),
    ],
)
def test_it_waits_as_long_as_it_is_asked_to(http: int, answer: Any, headers: dict[str, str], after: float) -> None:
    found = matrix.judge(http, headers, answer)
    assert isinstance(found, RateLimited)
    assert found.after == pytest.approx(after)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["errcode", "retry_after_ms"]), inner),
    max_leaves=6,
)


@given(http=st.integers(200, 599), answer=JSON)
@settings(max_examples=80, deadline=None, database=None)
def test_no_answer_breaks_it(http: int, answer: Any) -> None:
    matrix.judge(http, {}, answer)


# -- keys


async def test_the_same_delivery_is_there_once_also_after_a_restart(fake: FakeMatrix, session: Any) -> None:
    first = await post(made(fake, session))
    again = await post(made(fake, session))
    assert first == again
    assert len(fake.messages) == 1
    assert len(set(puts(fake))) == 1


async def test_other_deliveries_and_other_destinations_have_other_keys(fake: FakeMatrix, session: Any) -> None:
    for name, key in (("lobby", "d1-1"), ("lobby", "d1-2"), ("hall", "d1-1"), ("lobby", None), ("lobby", None)):
        await post(made(fake, session, name), key=key)
    assert len(set(puts(fake))) == len(fake.messages) == 5


async def test_what_was_sent_before_the_run_went_on_is_edited(fake: FakeMatrix, bot: matrix.Bot) -> None:
    fake.faults.append(accepted_then_connection_lost())
    with pytest.raises(Unsure):
        await post(bot)
    await post(bot, FIXED)
    (posted,) = fake.messages.values()
    assert [one["body"].split("\n")[0] for one in posted.history] == ["CI broke on main", "CI is fixed"]


async def test_a_message_that_cannot_be_seen_again_was_sent_all_the_same(fake: FakeMatrix, bot: matrix.Bot) -> None:
    fake._event = lambda room, event: fake.messages and _html(502)  # type: ignore[assignment,method-assign]
    assert (await post(bot))["id"] in fake.messages


def _html(http: int) -> Any:
    return status(http)


async def test_every_attempt_has_the_delivery_s_key_and_a_replay_its_own(fake: FakeMatrix, tmp_path: Path) -> None:
    async with Work(tmp_path, builds=options(fake.url)) as work:
        fake.faults += [status(502), fake.limited(1), accepted_then_connection_lost()]
        await work.accept(Deciding([rule("builds")]), event(1, "failure"))
        (told,) = await work.drained()
        assert len(set(puts(fake))) == 1
        await work.store.replay([told.id], work.clock.now())
        await work.drained()
    assert len(set(puts(fake))) == len(fake.messages) == 2


# -- edits and threads


async def test_an_edit_calls_nobody_and_keeps_who_was_called(fake: FakeMatrix, bot: matrix.Bot) -> None:
    await bot.edit(MESSAGE, await post(bot))
    body = fake.calls[-1].body
    assert body["m.mentions"] == {}
    assert body["m.new_content"]["m.mentions"] == {"user_ids": ["@octocat:example.org"]}
    assert body["m.relates_to"]["rel_type"] == "m.replace"
    assert body["body"].startswith("* ")


async def test_what_goes_back_to_how_it_was_is_an_edit_too(fake: FakeMatrix, bot: matrix.Bot) -> None:
    receipt = await post(bot)
    for message in (FIXED, MESSAGE, FIXED):
        await bot.edit(message, receipt)
    (posted,) = fake.messages.values()
    assert len(posted.history) == 4
    assert "fixed" in posted.body["body"]


@pytest.mark.parametrize("trouble", ["deleted", "redacted", "another user's", "room left", "no receipt", "refused"])
async def test_what_cannot_be_edited_is_gone(fake: FakeMatrix, bot: matrix.Bot, session: Any, trouble: str) -> None:
    receipt = await post(bot)
    match trouble:
        case "deleted":
            fake.messages.clear()
        case "redacted":
            fake.messages[receipt["id"]].history[0].clear()
        case "another user's":
            fake.user = "@bridge2:example.org"
        case "room left":
            fake.state.clear()
        case "no receipt":
            receipt = {"channel": "C1", "ts": "1.1"}
        case "refused":
            fake.faults.append(error(400, "M_UNKNOWN"))
    with pytest.raises(Gone):
        await made(fake, session).edit(FIXED, receipt)


async def test_an_answer_is_in_its_thread_and_its_room(fake: FakeMatrix, bot: matrix.Bot) -> None:
    fake.state[OTHER] = {}
    root = await post(bot, channel=OTHER)
    reply = await post(bot, FIXED, key="d2-1", thread=root)
    assert reply["room"] == OTHER
    assert fake.messages[reply["id"]].thread == root["id"]
    relation = fake.messages[reply["id"]].body["m.relates_to"]
    assert relation["is_falling_back"] is True
    assert relation["m.in_reply_to"] == {"event_id": root["id"]}


async def test_an_edit_in_a_thread_stays_there(fake: FakeMatrix, bot: matrix.Bot) -> None:
    root = await post(bot)
    reply = await post(bot, FIXED, key="d2-1", thread=root)
    await bot.edit(MESSAGE, reply)
    assert "m.relates_to" not in fake.calls[-1].body["m.new_content"]
    assert fake.messages[reply["id"]].thread == root["id"]


# -- rooms


async def test_an_address_is_asked_for_once(fake: FakeMatrix, session: Any) -> None:
    bot = made(fake, session, room=ALIAS)
    await post(bot)
    await post(bot, key="d2-1")
    assert {one.place for one in fake.messages.values()} == {ROOM}
    assert sum("/directory/" in call.path for call in fake.calls) == 1


async def test_an_unknown_address_is_dead(fake: FakeMatrix, session: Any) -> None:
    with pytest.raises(Dead, match="compare"):
        await post(made(fake, session, room="#nobody:example.org"))


async def test_a_room_that_a_rule_misspells_is_dead(fake: FakeMatrix, bot: matrix.Bot) -> None:
    with pytest.raises(Dead, match="neither"):
        await post(bot, channel="builds")
    assert fake.calls == []


async def test_an_encrypted_room_gets_nothing(fake: FakeMatrix, bot: matrix.Bot) -> None:
    fake.state[ROOM]["m.room.encryption"] = {"algorithm": "m.megolm.v1.aes-sha2"}
    with pytest.raises(Dead, match="encrypted"):
        await post(bot)
    assert puts(fake) == []


async def test_a_room_that_becomes_encrypted_gets_nothing_more(fake: FakeMatrix, bot: matrix.Bot) -> None:
    await post(bot)
    fake.state[ROOM]["m.room.encryption"] = {"algorithm": "m.megolm.v1.aes-sha2"}
    with pytest.raises(Dead, match="encrypted"):
        await post(bot, key="d2-1")


async def test_nothing_can_be_unsure_before_the_message_was_sent(fake: FakeMatrix, bot: matrix.Bot) -> None:
    fake.fault = lambda call: status(200)  # type: ignore[method-assign]
    with pytest.raises(Transient) as failed:
        await post(bot)
    assert "arrived" not in str(failed.value)
    assert puts(fake) == []


async def test_all_that_a_token_sends_counts_together(fake: FakeMatrix, session: Any) -> None:
    one, two = made(fake, session), made(fake, session, "hall", room=OTHER, rate="5/s")
    (first,), (second,) = one.buckets(edit=False, channel=None), two.buckets(edit=True, channel=ALIAS)
    assert first.key == second.key
    assert TOKEN not in first.key
    assert (first.rate, first.burst, second.rate) == (Rate(0.2), 10, Rate(5))
    fake.faults.append(fake.limited(3))
    with pytest.raises(RateLimited) as limited:
        await post(one)
    assert (limited.value.bucket, limited.value.after) == (first.key, 3.0)


# -- doctor


@pytest.mark.parametrize(
    ("state", "ok", "word"),
    [
        ({}, True, f"{USER} in {ROOM}, which is not encrypted"),
        ({"m.room.encryption": {}}, False, "make a room without"),
        ({"m.room.power_levels": {"events_default": 50}}, False, "Send messages"),
        ({"m.room.power_levels": {"events": {"m.room.message": 1}}}, False, "Send messages"),
        ({"m.room.power_levels": {"events_default": 50, "users": {USER: 50}}}, True, USER),
        ({"m.room.power_levels": {"events_default": 50, "users_default": 50}}, True, USER),
        ({"m.room.power_levels": {"events_default": 50, "events": {"m.room.message": 0}}}, True, USER),
        ({"m.room.power_levels": {"users": "x", "events": 7, "events_default": "y"}}, True, USER),
    ],
)
async def test_doctor_says_whether_the_bot_may_write(
    fake: FakeMatrix, bot: matrix.Bot, state: dict[str, Any], ok: bool, word: str
) -> None:
    fake.state[ROOM] = state
    health = await bot.check()
    assert health.ok is ok
    assert word in health.text
    assert puts(fake) == []


async def test_doctor_says_what_to_do_when_the_bot_is_not_in_the_room(fake: FakeMatrix, bot: matrix.Bot) -> None:
    fake.state.clear()
    health = await bot.check()
    assert health.ok is False
    assert "let it join" in health.text
    assert USER in health.text


async def test_doctor_says_what_is_wrong_with_token_room_and_server(fake: FakeMatrix, session: Any) -> None:
    for more, word in (
        ({"token": "another-token"}, "log the bot in again"),
        ({"room": "#nobody:example.org"}, "compare"),
        ({"homeserver": f"{fake.url}/elsewhere"}, "well-known"),
        ({"homeserver": "http://127.0.0.1:9"}, "no connection"),
    ):
        health = await made(fake, session, **more).check()
        assert health.ok is False, more
        assert word in health.text


# -- nothing leaks


async def test_no_error_and_no_line_has_the_token_in_it(
    fake: FakeMatrix, bot: matrix.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for fault in (fake.dead(), fake.refused(), status(502), accepted_then_connection_lost()):
        fake.faults.append(fault)
        with pytest.raises(DeliveryError) as failed:
            await post(bot)
        shown = "".join(traceback.format_exception(failed.value))
        assert TOKEN not in shown
        assert str(fake.port) not in str(failed.value)
    assert TOKEN not in caplog.text
    assert TOKEN not in repr(options())


# -- the look, at its border


def test_a_link_to_a_person_is_no_link() -> None:
    for address in ("https://matrix.to/#/@octocat:example.org", "https://a@MATRIX.TO/#/@octocat:example.org"):
        body = matrix.payload(
            replace(FIXED, title=(Span("x", link=address),), buttons=(Button("y", address),)), options()
        )
        assert "matrix.to" not in json.dumps(body).lower()
    assert matrix.payload(replace(FIXED, buttons=(Button("y", "https://matrix.tools/"),)), options())["body"].endswith(
        "/"
    )


def test_two_pieces_make_no_link_together() -> None:
    for pieces in (("https:", "//evil.example"), ("@", "room"), ("@", "octocat:example.org")):
        title = tuple(Span(piece) for piece in pieces)
        assert not {one for one in matrix_reader.effects(_sent(Message(title=title))) if one.startswith("form")}


def _sent(message: Message) -> dict[str, Any]:
    return matrix.payload(message, options())


def test_code_and_addresses_hold_no_markup() -> None:
    code, address = "</code></pre><a href='https://evil.example'>&amp;", "https://ci.example.com/?a=1&amp=2&b='"
    body = _sent(replace(FIXED, body=(Code(code),), buttons=(Button("y", address),)))
    assert matrix_reader.form(body) == [
        *matrix_reader.form(_sent(FIXED)),
        "pre []",
        "code []",
        f"a {[('href', address)]}",
    ]
    assert html.escape(code) in body["formatted_body"]


def test_only_whole_ids_are_called_each_once() -> None:
    people = ("@a:example.org", "@a:example.org", "octocat", "@room", "@b:example.org:8448", "@<b>:example.org")
    body = _sent(replace(FIXED, mentions=people))
    assert body["m.mentions"] == {"user_ids": ["@a:example.org", "@b:example.org:8448"]}
    assert len(_sent(replace(FIXED, mentions=tuple(f"@u{n}:e.org" for n in range(99))))["m.mentions"]["user_ids"]) == 20


def test_a_colour_that_is_none_is_grey() -> None:
    assert _matrix_html.GREY in _sent(replace(FIXED, colour='red"><script>'))["formatted_body"]


@pytest.mark.parametrize("text", ["x", "&", '"', "é", "🎉", "\\", "a\n"])
def test_a_part_is_as_long_as_it_may_be_and_no_longer(text: str) -> None:
    body = _sent(Message(title=(Span("t"),), body=(Paragraph((Span(text * 20_000),)),)))
    length = _matrix_html.weight(body["formatted_body"])
    assert 0.7 * _matrix_html.BODY < length <= _matrix_html.BODY + 200
    assert _matrix_html.weight(body["body"]) <= _matrix_html.PLAIN + 10


# -- the page

PAGE = (Path(__file__).parents[2] / "docs/destinations/matrix.md").read_text("utf-8")


def test_the_page_has_every_word_that_matrix_may_say() -> None:
    assert [word for word in (*matrix._CODES, "M_LIMIT_EXCEEDED") if f"`{word}`" not in PAGE] == []


@pytest.mark.parametrize("example", re.findall(r"(?s)```yaml\n(.*?)```", PAGE))
def test_the_page_s_examples_are_right(tmp_path: Path, example: str) -> None:
    (tmp_path / "config.yaml").write_text(
        "version: 1\n" + ("destinations: {t: {type: console}}\n" * ("destinations" not in example)) + example
    )
    load(str(tmp_path / "config.yaml"), {"MATRIX_TOKEN": TOKEN})
