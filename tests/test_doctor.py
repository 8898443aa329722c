"""Does `bridge doctor` ask without posting, and does `--post` say what came of one message?"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from bridge.cli.doctor import letter
from bridge.destinations import DESTINATIONS
from tests.destinations.chats import CHATS, Chat
from tests.fakes.slack import FakeSlack
from tests.running import ROOT

CONFIG = """
version: 1
sources: {{github: {{type: github, secret: made-up}}}}
destinations:
  builds: {{type: slack, url: "{url}"}}
  oncall: {{type: slack, url: "{url}"}}
  terminal: {{type: console}}
rules: [{{name: all, to: [builds, oncall, terminal]}}]
"""


@pytest.fixture
async def slack(tmp_path: Path) -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as chat:
        (tmp_path / "config.yaml").write_text(CONFIG.format(url=chat.webhook_url))
        yield chat


async def doctor(folder: Path, *words: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bridge", "doctor", *words),
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_without_post_nothing_is_posted(slack: FakeSlack, tmp_path: Path) -> None:
    code, out, _ = await doctor(tmp_path)
    assert (code, slack.messages) == (0, {})
    assert "source github: github, 1 secret(s)" in out
    assert "destination builds: ?, " in out


async def test_post_sends_one_message_to_each_and_says_what_came_of_it(slack: FakeSlack, tmp_path: Path) -> None:
    slack.faults.append(slack.dead())
    code, out, _ = await doctor(tmp_path, "--post")
    (posted,) = slack.messages.values()
    assert "This is a test" in json.dumps(posted.body)
    first, second, third = out.splitlines()[-3:]
    told = sorted(line.partition(": ")[2] for line in (first, second))
    assert told[0].startswith("NO, not posted: ")
    assert told[1] == "ok, a test message was posted"
    assert (third, code) == ("destination terminal: ok, a test message was posted", 1)


async def test_only_those_that_are_named_are_asked(slack: FakeSlack, tmp_path: Path) -> None:
    code, out, _ = await doctor(tmp_path, "--post", "oncall")
    assert (code, out) == (0, "destination oncall: ok, a test message was posted\n")
    assert len(slack.messages) == 1


async def test_a_name_that_is_wrong_is_said_with_the_right_one(slack: FakeSlack, tmp_path: Path) -> None:
    code, _, err = await doctor(tmp_path, "--post", "oncal")
    assert (code, slack.messages) == (2, {})
    assert "did you mean 'oncall'" in err


async def test_what_a_console_prints_is_not_in_the_json(slack: FakeSlack, tmp_path: Path) -> None:
    _, out, err = await doctor(tmp_path, "--post", "--json", "terminal")
    assert json.loads(out) == [{"destination": "terminal", "ok": True, "text": "a test message was posted"}]
    assert "bridge can post here" in err


@pytest.mark.parametrize("chat", CHATS, ids=lambda chat: chat.name)
async def test_every_chat_takes_the_test_message(chat: Chat, capsys: pytest.CaptureFixture[str]) -> None:
    async with chat.fake() as fake, aiohttp.ClientSession() as session:
        place = DESTINATIONS[chat.type].open("builds", chat.made(fake), session)
        await place.send(letter("builds"), channel=None, thread=None, key="doctor-1")
        said = capsys.readouterr().out + json.dumps([one.body for one in fake.messages.values()], default=str)
        assert "bridge can post here" in said
        assert "This is a test" in said or chat.name == "webhook-cdevents"
        assert fake.invalid == []
