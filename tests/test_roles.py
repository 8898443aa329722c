"""Do two processes that take webhooks and two that deliver, on one PostgreSQL, behave as one bridge?"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from tests import postgres
from tests.fakes.slack import TOKEN, FakeSlack, Posted
from tests.running import Server, get, github_run, post, serving, write_config

STEPS = ("queued", "in_progress", "completed")
RUNS = range(1, 5)


@pytest.fixture
def database() -> Iterator[str]:
    url, drop = postgres.fresh()
    yield url
    drop()


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as chat:
        yield chat


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


def rules(slack: FakeSlack) -> str:
    place = f'type: slack, token: {TOKEN}, api_url: "{slack.api_url}", rate: 100/s'
    return f"""
destinations:
  steps: {{{place}, channel: "#steps"}}
  live: {{{place}, channel: "#live"}}
rules:
  - name: every step
    match: {{kind: pipeline}}
    to: steps
  - name: every run
    match: {{kind: pipeline}}
    to: live
    live: true
"""


def body(run: int, step: str) -> bytes:
    return github_run(run, step, "success" if step == "completed" else None, title=f"run {run} {step}.")


async def leaders(session: aiohttp.ClientSession, servers: list[Server]) -> list[float]:
    texts = [(await get(session, f"{server.url}/metrics"))[1] for server in servers]
    return [float(re.findall(r"^bridge_leader (\S+)$", text, re.MULTILINE)[0]) for text in texts]


async def test_two_that_take_and_two_that_deliver_are_one_bridge(
    database: str, slack: FakeSlack, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    config = write_config(tmp_path, rules(slack))
    environ = {"DATABASE_URL": database}
    async with AsyncExitStack() as stack:
        roles = ("web", "web", "worker", "worker")
        starting = (stack.enter_async_context(serving(config, "--role", role, environ=environ)) for role in roles)
        servers = await asyncio.gather(*starting)
        webs, workers = servers[:2], servers[2:]
        for server, said in zip(servers, ["takes webhooks;"] * 2 + ["delivers;"] * 2, strict=True):
            assert f"{said} its memory is PostgreSQL" in await server.said("its memory is")
            assert database not in server.all_text
            assert (await get(session, f"{server.url}/health/ready"))[0] == 200
        for web in webs:
            await web.said("/webhooks/github")
        assert (await post(session, workers[0].url, "github", body(1, "queued")))[0] == 404

        async def send(run: int) -> None:
            """Each step through one or the other, and some through both at once."""
            for number, step in enumerate(STEPS):
                told = [webs[(run + number) % 2]] + ([webs[run % 2], webs[1 - run % 2]] if number == 1 else [])
                delivery = f"00000000-0000-4000-8000-{run:06}{number:06}"
                answers = await asyncio.gather(
                    *(post(session, web.url, "github", body(run, step), delivery=delivery) for web in told)
                )
                assert sorted(status for status, _ in answers) in ([202], [200, 200, 202])

        await asyncio.gather(*map(send, RUNS))
        await slack.until(lambda: len(in_channel(slack, "CSTEPS")) >= len(RUNS) * len(STEPS), 20)
        await slack.until(lambda: all("passed" in text for text in shown(slack)) and len(shown(slack)) == len(RUNS), 20)
        told = Counter(title for one in in_channel(slack, "CSTEPS") for title in titles(one.body))
        assert told == {f"run {run} {step}.": 1 for run in RUNS for step in STEPS}, "each once"
        assert len(in_channel(slack, "CLIVE")) == len(RUNS)
        for one in in_channel(slack, "CLIVE"):
            states = [STEPS.index(titles(item)[0].split()[-1].rstrip(".")) for item in [*one.history, one.body]]
            assert states == sorted(states), "an edit went back"

        assert (await leaders(session, webs), sorted(await leaders(session, workers))) == ([0, 0], [0, 1])
        leader = workers[(await leaders(session, workers)).index(1)]
        await leader.kill()
        (other,) = [worker for worker in workers if worker is not leader]
        async with asyncio.timeout(10):
            while await leaders(session, [other]) != [1]:
                await asyncio.sleep(0.1)
        assert (await post(session, webs[0].url, "github", body(9, "queued")))[0] == 202
        await slack.until(lambda: len(in_channel(slack, "CLIVE")) > len(RUNS), 20)
        for server in (*webs, other):
            assert await server.stop() == 0
        for worker in workers:
            assert "/webhooks/github" not in worker.all_text, "a worker takes none"


def in_channel(slack: FakeSlack, channel: str) -> list[Posted]:
    return [one for one in slack.messages.values() if one.place == channel]


def shown(slack: FakeSlack) -> list[str]:
    return [one.body["text"] for one in in_channel(slack, "CLIVE")]


def titles(what: object) -> list[str]:
    """The titles in a message, each once."""
    return list(dict.fromkeys(re.findall(r"run \d+ (?:queued|in_progress|completed)\.", str(what))))
