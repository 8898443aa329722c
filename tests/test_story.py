"""The main job, whole: signed webhooks in over HTTP, the right calls to Slack out. Nothing in between is faked."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bridge import config as configuration
from bridge.app import Bridge
from bridge.sources import SOURCES
from tests.fakes.slack import FakeSlack

CONFIG = """
version: 1
server: {public_url: https://bridge.example.com}
sources:
  cirrus: {type: cirrus, secret: "${CIRRUS_SECRET}", api_url: "http://127.0.0.1:9/graphql"}
  github: {type: github, secret: ["${GITHUB_SECRET}", "${GITHUB_SECRET_OLD}"]}
destinations:
  builds: {type: slack, token: "${SLACK_BOT_TOKEN}", channel: "#builds", api_url: "${SLACK_API}"}
  legacy: {type: slack, url: "${SLACK_WEBHOOK_URL}"}
people:
  octocat: {slack: U024BE7LH, email: octocat@example.com}
rules:
  - name: main is broken or fixed
    match:
      repository: [acme/*, {not: acme/sandbox}]
      branch: [main, release/**]
      change: [broken, fixed]
    to: [builds, legacy]
    mention: author
  - name: every run, one living message
    match: {source: github, kind: pipeline, author: {not: "*[bot]"}}
    to: builds
    live: true
"""

Post = Callable[..., Awaitable[tuple[int, dict[str, Any]]]]


@asynccontextmanager
async def running(tmp_path: Path, slack: FakeSlack, text: str = CONFIG) -> AsyncIterator[Post]:
    """A bridge on loopback, and how to post a body to it as its sender would."""
    path = tmp_path / "config.yaml"
    path.write_text(text, "utf-8")
    environ = {
        "CIRRUS_SECRET": "cirrus-made-up",
        "GITHUB_SECRET": "github-made-up",
        "GITHUB_SECRET_OLD": "github-made-up-old",
        "SLACK_BOT_TOKEN": slack.token,
        "SLACK_API": slack.api_url,
        "SLACK_WEBHOOK_URL": slack.webhook_url,
        "DATABASE_URL": f"sqlite:///{tmp_path}/bridge.db",
    }
    bridge = Bridge(configuration.load(str(path), environ), config_path=str(path), environ=environ)
    await bridge.start("127.0.0.1", 0)
    delivery = 0
    async with aiohttp.ClientSession() as session:

        async def post(
            source: str, body: dict[str, Any], secret: str = "", **headers: str
        ) -> tuple[int, dict[str, Any]]:
            nonlocal delivery
            delivery += 1
            raw = json.dumps(body).encode()
            signed = SOURCES[source].sign(raw, secret or f"{source}-made-up", delivery=f"delivery-{delivery}")
            signed |= {name.replace("_", "-"): value for name, value in headers.items()}
            url = f"http://127.0.0.1:{bridge.port}/webhooks/{source}"
            async with session.post(url, data=raw, headers=signed) as answer:
                return answer.status, await answer.json()

        try:
            yield post
        finally:
            await bridge.stop()


def run(status: str, conclusion: str | None = None, **more: Any) -> dict[str, Any]:
    """A workflow_run of acme/app on main by octocat."""
    number = more.pop("number", 42)
    minute = {"queued": 0, "in_progress": 1, "completed": 5}[status]
    return {
        "action": status,
        "workflow_run": {
            "id": 7000 + number,
            "name": "CI",
            "run_number": number,
            "run_attempt": 1,
            "head_branch": "main",
            "head_sha": "9a1b2c3d4e5f60718293a4b5c6d7e8f901234567",
            "event": "push",
            "status": status,
            "conclusion": conclusion,
            "html_url": f"https://github.com/acme/app/actions/runs/{7000 + number}",
            "display_title": "Read settings",
            "head_commit": {"message": "Read settings", "author": {"name": "Octo", "email": "octocat@example.com"}},
            "actor": {"login": "octocat"},
            "run_started_at": "2026-11-20T09:00:00Z",
            "updated_at": f"2026-11-20T09:{minute:02}:00Z",
            **more,
        },
        "repository": {"full_name": "acme/app", "html_url": "https://github.com/acme/app", "default_branch": "main"},
    }


def build(status: str, old_status: str, **more: Any) -> dict[str, Any]:
    """A build of acme/app on main, as Cirrus CI really sends it."""
    return {
        "old_status": old_status,
        "action": "updated",
        "repository": {"id": 1, "owner": "acme", "name": "app", "isPrivate": False},
        "build": {
            "id": 5200000000000042,
            "branch": "main",
            "durationInSeconds": 18,
            "changeIdInRepo": "9a1b2c3d4e5f60718293a4b5c6d7e8f901234567",
            "changeTimestamp": 1795165200000,
            "changeMessageTitle": "Read settings",
            "status": status,
            "user": {"id": 1, "username": "octocat"},
            **more,
        },
        "task": {},
    }


def methods(slack: FakeSlack) -> list[str]:
    return [call.method for call in slack.calls if call.method != "auth.test"]


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as fake:
        yield fake
        assert fake.invalid == []


async def test_a_run_is_one_message_edited_to_its_end(tmp_path: Path, slack: FakeSlack) -> None:
    async with running(tmp_path, slack) as post:
        for number, body in enumerate((run("queued"), run("in_progress"), run("completed", "success")), 1):
            assert (await post("github", body))[0] == 202
            await slack.until(lambda wanted=number: len(methods(slack)) == wanted)
    assert methods(slack) == ["chat.postMessage", "chat.update", "chat.update"]
    (message,) = slack.messages.values()
    assert "passed" in message.body["text"]


async def test_main_broken_names_the_author_once_in_each_place(tmp_path: Path, slack: FakeSlack) -> None:
    async with running(tmp_path, slack) as post:
        status, answer = await post("github", run("completed", "failure"))
        assert (status, answer["status"]) == (202, "accepted")
        await slack.until(lambda: len(methods(slack)) == 2)
    assert sorted(methods(slack)) == ["chat.postMessage", "webhook"]  # two rules, two places, one message each
    bot = next(call for call in slack.calls if call.method == "chat.postMessage")
    assert bot.body["channel"] == "#builds"
    assert json.dumps(bot.body).count("U024BE7LH") == 2  # the mention itself, and in the notification's text


async def test_cirrus_broken_then_fixed_by_a_rerun(tmp_path: Path, slack: FakeSlack) -> None:
    async with running(tmp_path, slack) as post:
        await post("cirrus", build("EXECUTING", "TRIGGERED"))
        await post("cirrus", build("FAILED", "EXECUTING"))
        await post("cirrus", build("EXECUTING", "FAILED"))
        await post("cirrus", build("COMPLETED", "EXECUTING"))
        await slack.until(lambda: len(methods(slack)) == 4)
    texts = [call.body["text"] for call in slack.calls if call.method == "chat.postMessage"]
    assert ["broke" in text or "fail" in text for text in texts] == [True, False]
    assert "fixed" in texts[1]


async def test_the_same_delivery_twice_speaks_once(tmp_path: Path, slack: FakeSlack) -> None:
    async with running(tmp_path, slack) as post:
        first = await post("github", run("completed", "failure"), X_GitHub_Delivery="one")
        again = await post("github", run("completed", "failure"), X_GitHub_Delivery="one")
        assert first[1]["status"] == "accepted"
        assert again == (200, {"status": "duplicate", "id": first[1]["id"]})
        await slack.until(lambda: len(methods(slack)) == 2)
    assert len(methods(slack)) == 2


async def test_cirrus_may_repeat_bytes_as_news_but_not_as_a_redelivery(tmp_path: Path, slack: FakeSlack) -> None:
    failed, restarted = build("FAILED", "EXECUTING"), build("EXECUTING", "FAILED")
    async with running(tmp_path, slack) as post:
        assert (await post("cirrus", failed, X_Cirrus_Timestamp="1795165201000"))[1]["status"] == "accepted"
        assert (await post("cirrus", failed, X_Cirrus_Timestamp="1795165201000"))[1]["status"] == "duplicate"
        assert (await post("cirrus", failed, X_Cirrus_Timestamp="1795165209000"))[1]["status"] == "duplicate"
        assert (await post("cirrus", restarted, X_Cirrus_Timestamp="1795165301000"))[1]["status"] == "accepted"
        assert (await post("cirrus", failed, X_Cirrus_Timestamp="1795165201000"))[1]["status"] == "duplicate"
        assert (await post("cirrus", failed, X_Cirrus_Timestamp="1795165401000"))[1]["status"] == "accepted"


async def test_a_secret_that_is_being_rotated_still_signs(tmp_path: Path, slack: FakeSlack) -> None:
    async with running(tmp_path, slack) as post:
        assert (await post("github", run("queued"), secret="github-made-up-old"))[0] == 202
        status, answer = await post("github", run("in_progress"), secret="somebody else's")
        assert status == 401
        assert answer["status"] == 401


async def test_a_bot_is_left_out_of_the_living_messages(tmp_path: Path, slack: FakeSlack) -> None:
    bot = {"actor": {"login": "dependabot[bot]"}, "triggering_actor": {"login": "dependabot[bot]"}}
    async with running(tmp_path, slack) as post:
        await post("github", run("queued", **bot))
        await post("github", run("queued", number=43))
        await slack.until(lambda: len(methods(slack)) == 1)
    assert methods(slack) == ["chat.postMessage"]
