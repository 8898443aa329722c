"""Matrix against a real homeserver: is what our fake does what a server does?"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from bridge.destinations import matrix
from bridge.errors import Dead, Gone, RateLimited
from bridge.message import Button, Message, Paragraph, Span
from tests.altered import replace
from tests.arrivals import LIVING, event
from tests.couriers import Work
from tests.destinations.test_every_look import LONG, everywhere
from tests.fakes.synapse import NAME, Synapse, is_here

pytestmark = pytest.mark.slow

MESSAGE = Message(title=(Span("CI broke on main", bold=True),), mentions=(f"@octocat:{NAME}",))
FIXED = Message(title=(Span("CI is fixed"),))


@dataclass(frozen=True)
class Server:
    """A homeserver with its people: the admin makes rooms, the bot is asked into them."""

    synapse: Synapse
    admin: str
    bot: str

    def room(self, **more: Any) -> str:
        room = self.synapse.room(self.admin, guests=[f"@bridge:{NAME}"], **more)
        self.synapse.join(self.bot, room)
        return room


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if not is_here():
        pytest.skip("no Synapse: `make slow` puts it into .venv-synapse where it can be installed")
    with Synapse(tmp_path_factory.mktemp("synapse")) as synapse:
        yield Server(synapse, synapse.register("admin", admin=True), synapse.register("bridge"))


@pytest.fixture
def room(server: Server) -> str:
    return server.room()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def options(server: Server, room: str, **more: Any) -> matrix.Options:
    given = {"homeserver": server.synapse.url, "token": server.bot, "room": room} | more
    return matrix.Options.model_validate(given)


def made(server: Server, room: str, session: aiohttp.ClientSession, **more: Any) -> matrix.Bot:
    return matrix.open("lobby", options(server, room, **more), session)


async def post(bot: matrix.Bot, message: Message = MESSAGE, key: str | None = None, **more: Any) -> dict[str, str]:
    return await bot.send(message, **({"channel": None, "thread": None} | more), key=key or secrets.token_hex(4))


async def test_a_message_is_there_once_also_after_both_sides_started_anew(server: Server, room: str) -> None:
    receipts = []
    for _ in range(2):
        async with aiohttp.ClientSession() as session:
            receipts += [await post(made(server, room, session), key="d1-1") for _ in range(2)]
        server.synapse.stop()
        server.synapse.start()
    assert receipts == receipts[:1] * 4
    (said,) = server.synapse.said(server.admin, room)
    assert said["content"] == matrix.payload(MESSAGE, options(server, room))
    assert said["content"]["m.mentions"] == {"user_ids": [f"@octocat:{NAME}"]}


async def test_what_was_sent_before_the_run_went_on_is_edited(server: Server, room: str, session: Any) -> None:
    bot = made(server, room, session)
    receipt = await post(bot, key="d1-1")
    assert await post(bot, FIXED, key="d1-1") == receipt
    newest, *_ = server.synapse.related(server.admin, room, receipt["id"], "m.replace")
    assert newest["content"]["m.new_content"]["body"] == "CI is fixed"


async def test_an_edit_is_an_edit_for_the_server_too(server: Server, room: str, session: Any) -> None:
    bot = made(server, room, session)
    receipt = await post(bot)
    for message in (FIXED, MESSAGE, FIXED):
        assert await bot.edit(message, receipt) == receipt
    edits = server.synapse.related(server.admin, room, receipt["id"], "m.replace")
    assert [one["content"]["m.new_content"]["body"].split("\n")[0] for one in edits] == [
        "CI is fixed",
        "CI broke on main",
        "CI is fixed",
    ]


async def test_an_answer_is_in_the_thread(server: Server, room: str, session: Any) -> None:
    bot = made(server, room, session)
    root = await post(bot)
    reply = await post(bot, FIXED, thread=root)
    assert [one["event_id"] for one in server.synapse.related(server.admin, room, root["id"], "m.thread")] == [
        reply["id"]
    ]


async def test_what_was_deleted_or_never_was_is_gone(server: Server, room: str, session: Any) -> None:
    bot = made(server, room, session)
    receipt = await post(bot)
    server.synapse.ask("PUT", f"rooms/{quote(room)}/redact/{quote(receipt['id'])}/1", {}, token=server.admin)
    with pytest.raises(Gone, match="deleted"):
        await bot.edit(FIXED, receipt)
    with pytest.raises(Gone):
        await bot.edit(FIXED, receipt | {"id": "$" + "x" * 43})
    with pytest.raises(Gone):
        await post(bot, thread=receipt | {"id": "$" + "x" * 43})


async def test_another_bot_posts_anew(server: Server, room: str, session: Any) -> None:
    receipt = await post(made(server, room, session))
    with pytest.raises(Gone, match="another user"):
        await made(server, room, session, token=server.admin).edit(FIXED, receipt)


async def test_the_server_limits_and_is_waited_for(server: Server, session: Any) -> None:
    token = server.synapse.register("hasty")
    room = server.synapse.room(token)
    path = f"users/@hasty:{NAME}/override_ratelimit"
    limit = {"messages_per_second": 1, "burst_count": 1}
    server.synapse.ask("POST", path, limit, token=server.admin, api="/_synapse/admin/v1/")
    bot = made(server, room, session, token=token)
    with pytest.raises(RateLimited) as limited:
        await asyncio.gather(*(post(bot) for _ in range(5)))
    assert 0 < limited.value.after <= 5


async def test_an_encrypted_room_gets_nothing(server: Server, session: Any) -> None:
    sealed = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
    room = server.room(initial_state=[sealed])
    bot = made(server, room, session)
    with pytest.raises(Dead, match="encrypted"):
        await post(bot)
    assert "encrypted" in (await bot.check()).text
    assert server.synapse.said(server.admin, room) == []


async def test_doctor_says_what_is_missing(server: Server, session: Any) -> None:
    room = server.synapse.room(server.admin, guests=[f"@bridge:{NAME}"])
    bot = made(server, room, session)
    before = await bot.check()
    with pytest.raises(Dead, match="M_FORBIDDEN"):
        await post(bot)
    server.synapse.join(server.bot, room)
    joined = await bot.check()
    path = f"rooms/{quote(room)}/state/m.room.power_levels"
    levels = server.synapse.ask("GET", path, token=server.admin)
    server.synapse.ask("PUT", path, levels | {"events_default": 50}, token=server.admin)
    muted = await bot.check()
    assert (before.ok, joined.ok, muted.ok) == (False, True, False)
    assert "let it join" in before.text
    assert "Send messages" in muted.text
    with pytest.raises(Dead, match="M_FORBIDDEN"):
        await post(bot)


async def test_a_token_that_was_logged_out_is_dead(server: Server, session: Any) -> None:
    token = server.synapse.register("brief")
    room = server.synapse.room(token)
    server.synapse.ask("POST", "logout", {}, token=token)
    bot = made(server, room, session, token=token)
    with pytest.raises(Dead, match="M_UNKNOWN_TOKEN"):
        await post(bot)
    assert "log the bot in again" in (await bot.check()).text


async def test_a_room_s_address_will_do(server: Server, session: Any) -> None:
    room = server.room(room_alias_name="builds")
    bot = made(server, f"#builds:{NAME}", session)
    assert (await post(bot))["room"] == room
    assert (await bot.check()).ok
    with pytest.raises(Dead, match="compare"):
        await post(made(server, f"#nobody:{NAME}", session))


@pytest.mark.parametrize("long", LONG, ids=["emoji", "marks", "lines", "entities", "paragraphs"])
async def test_the_longest_message_is_taken_and_edited(server: Server, room: str, session: Any, long: str) -> None:
    message = everywhere(long)
    message = replace(
        message,
        body=message.body * 9,
        facts=message.facts * 50,
        buttons=tuple(Button(long, f"https://example.com/{number}/{'x' * 1_900}") for number in range(9)),
        mentions=tuple(f"@{'u' * 100}{number}:{NAME}" for number in range(50)),
    )
    bot = made(server, room, session)
    receipt = await post(bot, replace(message, body=(*message.body, Paragraph((Span("x"),)))))
    await bot.edit(message, receipt)


async def test_a_run_is_told_from_start_to_end(server: Server, room: str, tmp_path: Path) -> None:
    async with Work(tmp_path, builds=options(server, room, rate="100/s")) as work:
        for state in ("queued", "running", "success"):
            await work.accept(LIVING, event(1, state, pipeline="CI"))
            await work.drained()
    first, *edits = server.synapse.said(server.admin, room)
    assert len(edits) == 2
    newest, *_ = server.synapse.related(server.admin, room, first["event_id"], "m.replace")
    assert "passed" in newest["content"]["m.new_content"]["body"]
