"""One rule with every kind of destination, through the real program: is each told once, and does none wait?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bridge.destinations import DESTINATIONS
from tests.destinations.chats import CHATS, Chat
from tests.fakes.base import slow
from tests.running import github_run, post, serving, until, write_config

HANGS = "teams"
TITLE = "Count retries once"
PRINTED = "→ console"  # what stands above each message of the terminal


@pytest.fixture
async def fakes() -> AsyncIterator[dict[str, Any]]:
    """A chat for each destination that is not the terminal, which is the server's own output."""
    async with AsyncExitStack() as open_until_the_end:
        yield {
            chat.name: await open_until_the_end.enter_async_context(chat.fake())
            for chat in CHATS
            if chat.type != "console"
        }


def rest(fakes: dict[str, Any]) -> str:
    places = {
        chat.name: {"type": chat.type} | (chat.options(fakes[chat.name]) if chat.name in fakes else {})
        for chat in CHATS
    }
    rules = [{"name": "everywhere", "to": list(places)}]
    return f"destinations: {json.dumps(places)}\nrules: {json.dumps(rules)}\n"


def told(fakes: dict[str, Any]) -> dict[str, int]:
    """How many messages of each chat tell of the run."""
    return {
        name: sum(TITLE in json.dumps(one.body, default=str) for one in fake.messages.values())
        for name, fake in fakes.items()
    }


async def test_every_destination_is_told_once_and_none_waits_for_one_that_hangs(
    fakes: dict[str, Any], tmp_path: Path
) -> None:
    answers = asyncio.Event()
    fakes[HANGS].faults.append(slow(answers))
    async with serving(write_config(tmp_path, rest(fakes))) as server, aiohttp.ClientSession() as session:
        status, answer = await post(session, server.url, "github", github_run(1, "completed", "failure", title=TITLE))
        assert (status, answer["status"]) == (202, "accepted")

        def delivered() -> set[str]:
            names = [*fakes, "console"]
            lines = [line for line in server.err if "delivery.done" in line]
            return {name for name in names for line in lines if f'"{name}"' in line or f"={name!r}" in line}

        await until(lambda: len(delivered()) == len(CHATS) - 1)
        assert delivered() == {chat.name for chat in CHATS} - {HANGS}, "all others, while one hangs"
        answers.set()
        await until(lambda: HANGS in delivered())
        assert told(fakes) == dict.fromkeys(fakes, 1)
        assert sum(PRINTED in line for line in server.out) == 1
        assert await server.stop() == 0
    assert {name: fake.invalid for name, fake in fakes.items() if fake.invalid} == {}


def test_every_kind_of_destination_is_in_the_rule(fakes: dict[str, Any]) -> None:
    assert {chat.type for chat in CHATS if chat.name in fakes} | {"console"} == set(DESTINATIONS)


# -- another channel, named by a rule

OTHER = {
    "console": "#x",
    "email": "a@example.com, b@example.com",
    "matrix": "#other:example.org",
    "mattermost": "acme/other",
    "mattermost-webhook": "other",
    "rocketchat": "#other",
    "rocketchat-webhook": "@octocat",
    "slack": "#other",
    "telegram": "-1001234567890/45",
    "webex": "Y2lzY29zcGFyazovL3VzL1JPT00vb3RoZXI",
    "zulip": "#other",
}


@pytest.mark.parametrize("chat", CHATS, ids=lambda chat: chat.name)
def test_a_rule_names_another_channel_where_there_can_be_one(chat: Chat) -> None:
    refused = chat.made(chat.fake()).refuses(OTHER.get(chat.name, "#other"))
    assert (refused is None) == (chat.name in OTHER), refused


@pytest.mark.parametrize("chat", [one for one in CHATS if one.name in OTHER and one.type not in ("console", "slack")])
def test_what_is_no_channel_is_refused_when_the_configuration_is_read(chat: Chat) -> None:
    assert chat.made(chat.fake()).refuses("no channel/at all" + "x" * 80)
