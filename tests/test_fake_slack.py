"""The fake Slack is strict: what it takes, Slack would take."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fakes.slack import TOKEN, FakeSlack
from tests.fakes.slack_validator import Invalid, check

ROOT = Path(__file__).parents[1]


def good() -> dict[str, Any]:
    return {
        "channel": "#builds",
        "text": "text",
        "blocks": [
            {
                "type": "rich_text",
                "elements": [
                    {"type": "rich_text_section", "elements": [{"type": "text", "text": "x", "style": {"bold": True}}]}
                ],
            },
            {"type": "context", "elements": [{"type": "plain_text", "text": "x", "emoji": False}]},
            {
                "type": "actions",
                "elements": [
                    {
                        "type": "button",
                        "text": {"type": "plain_text", "text": "x"},
                        "url": "https://x.example",
                        "action_id": "a",
                    }
                ],
            },
        ],
        "attachments": [{"color": "#ff0000", "blocks": [{"type": "divider"}]}],
        "unfurl_links": False,
    }


def piece(body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = body["blocks"][0]["elements"][0]["elements"][0]
    return found


BREAK: dict[str, Callable[[dict[str, Any]], object]] = {
    "no text": lambda body: body.update(text=" "),
    "long text": lambda body: body.update(text="x" * 4_001),
    "unknown key": lambda body: body.update(link_names=True),
    "too many blocks": lambda body: body.update(blocks=[{"type": "divider"}] * 51),
    "too many blocks below": lambda body: body["attachments"][0].update(blocks=[{"type": "divider"}] * 51),
    "bad colour": lambda body: body["attachments"][0].update(color="red"),
    "attachment key": lambda body: body["attachments"][0].update(text="x"),
    "modal block": lambda body: body["blocks"].append({"type": "alert", "text": {"type": "plain_text", "text": "x"}}),
    "unknown block": lambda body: body["blocks"].append({"type": "marquee"}),
    "block key": lambda body: body["blocks"][1].update(colour="x"),
    "empty text": lambda body: piece(body).update(text=""),
    "empty style": lambda body: piece(body).update(style={}),
    "bad style": lambda body: piece(body).update(style={"blink": True}),
    "unknown piece": lambda body: piece(body).update(type="broadcast"),
    "piece key": lambda body: piece(body).update(href="x"),
    "too many in context": lambda body: body["blocks"][1].update(elements=body["blocks"][1]["elements"] * 11),
    "none in context": lambda body: body["blocks"][1].update(elements=[]),
    "long button": lambda body: body["blocks"][2]["elements"][0]["text"].update(text="x" * 76),
    "long address": lambda body: body["blocks"][2]["elements"][0].update(url="https://x.example/" + "x" * 3_000),
    "action twice": lambda body: body["blocks"][2].update(elements=body["blocks"][2]["elements"] * 2),
    "block id twice": lambda body: [block.update(block_id="a") for block in body["blocks"]],
    "too much": lambda body: piece(body).update(text="x" * 12_001),
    "surrogate": lambda body: piece(body).update(text="\ud800"),
    "no list": lambda body: body.update(blocks={"type": "divider"}),
    "no object": lambda body: body.update(blocks=["x"]),
    "long section": lambda body: body["blocks"].append(
        {"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3_001}}
    ),
    "long header": lambda body: body["blocks"].append(
        {"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}
    ),
    "mrkdwn header": lambda body: body["blocks"].append({"type": "header", "text": {"type": "mrkdwn", "text": "x"}}),
}


def test_a_good_message_is_taken() -> None:
    check(good(), update=True)


@pytest.mark.parametrize("name", BREAK)
def test_a_bad_message_is_refused(name: str) -> None:
    body = good()
    BREAK[name](body)
    with pytest.raises(Invalid):
        check(body, update=True)


async def test_a_refused_message_is_answered_and_remembered() -> None:
    async with FakeSlack() as fake, aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session:
        async with session.post(
            fake.api_url + "chat.postMessage", json=good() | {"blocks": [{"type": "marquee"}]}
        ) as answer:
            assert (await answer.json())["error"] == "invalid_blocks"
        assert len(fake.invalid) == 1
        assert fake.messages == {}


async def test_a_wrong_token_is_refused() -> None:
    async with FakeSlack() as fake, aiohttp.ClientSession() as session:
        for headers, word in (({}, "not_authed"), ({"Authorization": "Bearer x"}, "invalid_auth")):
            async with session.post(fake.api_url + "auth.test", headers=headers) as answer:
                assert (await answer.json())["error"] == word


async def test_as_a_process_it_notes_every_accepted_message(tmp_path: Path) -> None:
    log = tmp_path / "slack.jsonl"
    command = [sys.executable, "-m", "tests.fakes.slack", "--port", "0", "--log", str(log), "--lose-answers", "2"]
    process = await asyncio.create_subprocess_exec(
        *command, "--rate-limit", "0.01", stdout=-1, cwd=ROOT, env=os.environ
    )
    try:
        assert process.stdout
        url = f"http://127.0.0.1:{int(await process.stdout.readline())}/api/chat.postMessage"
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session:
            async with session.post(url, json=good()) as answer:
                assert (await answer.json())["ok"]
            async with session.post(url, json=good()) as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await session.post(url, json=good() | {"channel": "#other"})
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert [(line["method"], line["channel"]) for line in lines] == [("post", "CBUILDS"), ("post", "COTHER")]
    finally:
        process.terminate()
        await process.wait()
