"""Through the real program: what no rule at all tells, and what bridge tells because of the time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from bridge import app
from bridge import config as configuration
from bridge.store import open_store
from bridge.store.base import Mute
from tests.fakes.slack import FakeSlack
from tests.running import github_run, post, serving, until, write_config

TOKEN = "made-up-admin-token"
NINE = datetime(2026, 3, 23, 9, tzinfo=UTC)


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as chat:
        yield chat
        assert chat.invalid == []


def told(slack: FakeSlack) -> list[str]:
    return [one.body["text"] for one in slack.messages.values()]


def run(number: int, conclusion: str, branch: str = "main", author: str = "octocat") -> bytes:
    body = json.loads(github_run(number, "completed", conclusion))
    body["workflow_run"] |= {"head_branch": branch, "actor": {"login": author}}
    body["repository"]["default_branch"] = "main"
    return json.dumps(body).encode()


@pytest.mark.parametrize("rules", ["", "rules: []\n"])
async def test_without_rules_broken_and_fixed_on_the_default_branch_are_told_to_the_one_destination(
    slack: FakeSlack, tmp_path: Path, rules: str
) -> None:
    place = f"destinations: {{builds: {{type: slack, url: '{slack.webhook_url}'}}}}\n"
    async with serving(write_config(tmp_path, place + rules)) as server, aiohttp.ClientSession() as session:
        for body in (
            run(1, "success"),
            run(2, "failure", "topic"),
            run(3, "failure"),
            run(4, "failure"),
            run(5, "success", author="dependabot[bot]"),  # bots' runs, too
            run(6, "success"),
        ):
            status, answer = await post(session, server.url, "github", body)
            assert (status, answer["status"]) == (202, "accepted")
        await until(lambda: len(told(slack)) == 2)
        assert await server.stop() == 0
    assert ["broke" in told(slack)[0], "is fixed" in told(slack)[1]] == [True, True]


async def test_without_rules_two_destinations_are_refused_with_what_to_write(tmp_path: Path) -> None:
    places = "destinations: {builds: {type: console}, oncall: {type: console}}\n"
    async with serving(write_config(tmp_path, places), listens=False) as server:
        assert await server.ended() == 2
    assert "rules: write rules: which of builds, oncall is told of what? for example" in server.all_text


class Place:
    """A bridge in this process whose leader looks at once, and whose clock is set by hand."""

    def __init__(self, folder: Path, slack: FakeSlack) -> None:
        self.at = NINE - timedelta(minutes=5)
        place = f"destinations: {{builds: {{type: slack, url: '{slack.webhook_url}'}}}}\n"
        rules = "[{name: red, match: {change: broken}, to: builds}, {name: day, to: builds, digest: {every: day}}]"
        self._path = str(write_config(folder, f"{place}rules: {rules}\n"))
        self._environ = {"DATABASE_URL": f"sqlite:///{folder}/bridge.db", "BRIDGE_ADMIN_TOKEN": TOKEN}
        self.bridge = self._made()

    def _made(self) -> app.Bridge:
        loaded = configuration.load(self._path, self._environ)
        return app.Bridge(loaded, config_path=self._path, environ=self._environ, now=lambda: self.at)

    async def start(self) -> None:
        await self.bridge.start("127.0.0.1", 0)

    async def restart(self) -> None:
        await self.bridge.stop()
        self.bridge = self._made()
        await self.start()

    async def came(self, body: bytes) -> None:
        async with aiohttp.ClientSession() as session:
            status, _ = await post(session, f"http://127.0.0.1:{self.bridge.port}", "github", body)
            assert status == 202

    async def mute(self, mute: Mute) -> None:
        """As `bridge mute` does it, which is another process; a new start hears of it before anything is sent."""
        store = await open_store(self._environ["DATABASE_URL"])
        await store.mute(mute)
        await store.close()
        await self.restart()

    async def kept_quiet(self) -> None:
        """Return when a message was."""
        store = await open_store(self._environ["DATABASE_URL"])
        async with asyncio.timeout(20):
            while not await store.deliveries(limit=1, state="muted"):
                await asyncio.sleep(0.01)
        await store.close()


@pytest.fixture
async def place(slack: FakeSlack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    monkeypatch.setattr(app, "LEAD_EVERY", timedelta(milliseconds=10))
    monkeypatch.setattr(app, "TELL_EVERY", 0.0)
    made = Place(tmp_path, slack)
    await made.start()
    yield made
    await made.bridge.stop()


async def test_a_digest_is_told_at_its_time_and_not_again_after_a_restart(place: Place, slack: FakeSlack) -> None:
    await place.came(run(1, "failure"))
    await until(lambda: len(told(slack)) == 1)
    place.at = NINE
    await until(lambda: len(told(slack)) == 2)
    assert "1 broke" in told(slack)[1]
    await place.restart()
    await place.came(run(2, "failure", "topic"))
    await until(lambda: len(told(slack)) == 3)
    place.at += timedelta(days=1)
    await until(lambda: len(told(slack)) == 4)
    assert ["day" in one for one in told(slack)] == [False, True, False, True]


async def test_the_end_of_a_mute_is_told_where_the_message_would_have_been(place: Place, slack: FakeSlack) -> None:
    await place.mute(Mute(since=place.at, until=NINE - timedelta(minutes=2), reason="we move house"))
    await place.came(run(1, "failure"))
    await place.kept_quiet()
    place.at = NINE - timedelta(minutes=1)
    await until(lambda: len(told(slack)) == 1)
    assert "The mute of everything is over: 1 message was kept quiet" in told(slack)[0]


async def test_the_page_shows_what_is_muted_while_it_holds(place: Place) -> None:
    await place.mute(Mute(repository="acme/app", since=place.at, until=NINE, reason="we move house"))

    async def page() -> str:
        address, headers = f"http://127.0.0.1:{place.bridge.port}/", {"Authorization": f"Bearer {TOKEN}"}
        async with aiohttp.ClientSession() as session, session.get(address, headers=headers) as answer:
            return await answer.text()

    assert "<strong>acme/app</strong> is muted until 2026-03-23 09:00 UTC" in await page()
    place.at = NINE
    assert "acme/app" not in await page()
