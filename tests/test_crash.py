"""Is anything lost, told twice or shown backwards when the server is killed at any moment? The real one, really killed.

Senders that never give up post numbered steps of numbered runs; the server is killed with SIGKILL again and again and
started again on the same file; a fake Slack, which survives, writes down whatever it has accepted. At the end its book
is compared with what the senders were promised:

* `living`: one message per run, edited. The newest step of every run is shown, and no run ever goes back.
* `resend`: a message per step. Every step is there; a second time only as often as something was in flight.
* `drop`: the same with ``when_unsure: drop``. No step is there twice; what is missing is counted as dropped.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from bridge.deliver import AT_ONCE
from bridge.store import open_store
from bridge.store.base import Store
from tests.fakes.slack import TOKEN
from tests.running import ROOT, WITHIN, Server, cirrus_build, github_run, post, write_config

MARK = re.compile(r"r(\d+)s(\d+)e")
STEPS = 6
SENDERS = ("github", "cirrus", "github", "cirrus", "cirrus")
Step = tuple[int, int]  # run, step


def rules(api_url: str) -> str:
    def place(name: str, more: str = "") -> str:
        options = f'token: {TOKEN}, channel: "#{name}", api_url: "{api_url}", rate: "500/s"'
        return f"  {name}: {{type: slack, {options}{more}}}\n"

    return (
        "destinations:\n"
        + place("living")
        + place("resend")
        + place("drop", ", when_unsure: drop")
        + """
rules:
  - {name: living, match: {source: github, kind: pipeline}, to: living, live: true}
  - {name: each, match: {source: cirrus, kind: pipeline}, to: [resend, drop]}
"""
    )


@dataclass
class Chat:
    """The fake Slack as a process, and its book."""

    port: int
    book: Path

    def lines(self, channel: str) -> list[tuple[str, str, Step]]:
        """Return (method, ts, step) of every accepted message of a channel, in order."""
        found = []
        for text in self.book.read_text().splitlines():
            line = json.loads(text)
            if line["channel"] == f"C{channel.upper()}":
                marks = MARK.findall(json.dumps(line["body"]))
                assert marks, line
                found.append((line["method"], line["ts"], (int(marks[0][0]), int(marks[0][1]))))
        return found


@asynccontextmanager
async def chatting(folder: Path) -> AsyncIterator[Chat]:
    book = folder / "slack.jsonl"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.fakes.slack", "--log", str(book)), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield Chat(int(await process.stdout.readline()), book)
    finally:
        process.kill()
        await process.wait()


@dataclass
class Senders:
    """Senders that post until they are answered, as those do that matter, and remember what they were promised."""

    session: aiohttp.ClientSession
    url: str
    accepted: dict[str, list[Step]] = field(default_factory=lambda: {"github": [], "cirrus": []})
    over: bool = False

    async def send(self, source: str, first: int) -> None:
        run = first
        while not self.over:
            run += len(SENDERS)
            for step in range(1, STEPS + 1):
                await self._until_answered(source, run, step)
                self.accepted[source].append((run, step))

    async def _until_answered(self, source: str, run: int, step: int) -> None:
        """Post the same delivery again and again: an answer that was lost leaves a duplicate behind, and no message."""
        title = f"r{run}s{step}e"
        last = step == STEPS
        if source == "github":
            status = "completed" if last else "in_progress" if step > 1 else "queued"
            body = github_run(run, status, "failure" if last else None, title=title)
            if 1 < step < STEPS:  # a state that stays tells nothing new, a job of it does
                body = _job(run, step, title)
        else:
            words = ("CREATED", "EXECUTING", "FAILED", "CREATED", "EXECUTING", "COMPLETED")
            body = cirrus_build(run * 10 + step, words[step - 1], title=title)
        while True:
            try:
                status_code, answer = await post(self.session, self.url, source, body, delivery=f"{source}-{title}")
            except (aiohttp.ClientError, TimeoutError, json.JSONDecodeError):
                await asyncio.sleep(0.01)
                continue
            assert status_code in (200, 202), answer
            assert answer["status"] in ("accepted", "duplicate"), answer
            return


def _job(run: int, step: int, title: str) -> bytes:
    """A ``workflow_job`` webhook: a job of its own for each step, named by it."""
    return json.dumps(
        {
            "action": "completed",
            "workflow_job": {
                "id": run * 100 + step,
                "run_id": run,
                "run_attempt": 1,
                "name": title,
                "status": "completed",
                "conclusion": "success",
                "head_branch": "main",
                "workflow_name": "CI",
            },
            "repository": {"full_name": "acme/app"},
        }
    ).encode()


async def kill_again_and_again(folder: Path, kills: int, seed: int) -> tuple[Chat, Senders, dict[str, int], str]:
    """Run the whole story; return the book, the promises and how many deliveries ended how in `drop`."""
    dice = random.Random(seed)
    async with chatting(folder) as chat, aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        config = write_config(folder, rules(f"http://127.0.0.1:{chat.port}/api/"))
        server = await Server.start(config)
        senders = Senders(session, server.url)
        posting = [asyncio.create_task(senders.send(source, number)) for number, source in enumerate(SENDERS)]
        log = ""
        for _ in range(kills):
            await asyncio.sleep(dice.uniform(0, 1.0))
            await server.kill()
            log += server.all_text
            # One in five is killed while it starts.
            server = await Server.start(config, port=server.port or int(senders.url.rsplit(":", 1)[1]), listens=False)
            if dice.random() < 0.2:
                await asyncio.sleep(dice.uniform(0.2, 1.0))
                continue
            await server.said("listens on http://")
        await server.said("listens on http://")
        await asyncio.sleep(0.2)
        senders.over = True
        await asyncio.wait_for(asyncio.gather(*posting), WITHIN)
        store = await open_store(f"sqlite:///{folder}/bridge.db")
        try:
            await _drained(store)
            ended = Counter(one.state for one in await store.deliveries(limit=10**6, destination="drop"))
            assert not await store.events(limit=9, state="stuck")
        finally:
            await store.close()
        assert await server.stop() == 0
        log += server.all_text
        return chat, senders, ended, log


async def _drained(store: Store) -> None:
    async with asyncio.timeout(120):
        while any(one.waiting for one in (await store.depths()).values()):
            await asyncio.sleep(0.05)


def reconcile(chat: Chat, senders: Senders, ended: dict[str, int], kills: int) -> str:
    """Assert what the docstring of this file says; return the numbers."""
    promised = senders.accepted
    assert len(promised["github"]) > 2 * kills, "too little was going on"
    living = chat.lines("living")
    newest: dict[int, int] = {}
    for method, ts, (run, step) in living:
        assert step >= newest.get(run, 0), f"run {run} went back from {newest[run]} to {step} ({method} {ts})"
        newest[run] = step
    assert newest == {run: max(s for r, s in promised["github"] if r == run) for run, _ in promised["github"]}
    posts = Counter(step[0] for method, _, step in living if method == "post")
    again = sum(posts.values()) - len(posts)
    assert again <= kills * AT_ONCE
    resent = Counter(step for _, _, step in chat.lines("resend"))
    assert resent.keys() == set(promised["cirrus"]), "something that was accepted is missing"
    twice = sum(resent.values()) - len(resent)
    assert twice <= kills * AT_ONCE
    dropped = Counter(step for _, _, step in chat.lines("drop"))
    assert set(dropped.values()) <= {1}, "told twice in spite of when_unsure: drop"
    missing = len(set(promised["cirrus"]) - dropped.keys())
    assert missing <= ended.get("dropped", 0) <= kills * AT_ONCE
    assert ended.keys() <= {"done", "dropped"}
    return (
        f"{len(promised['github'])}+{len(promised['cirrus'])} events, {len(living)} posts and edits of "
        f"{len(newest)} runs ({again} posted twice), {sum(resent.values())} resent ({twice} twice), {missing} missing "
        f"of {ended.get('dropped', 0)} dropped"
    )


async def crash(folder: Path, kills: int) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}, {kills} kills")
    began = time.monotonic()
    chat, senders, ended, log = await kill_again_and_again(folder, kills, seed)
    print(reconcile(chat, senders, ended, kills), f"in {time.monotonic() - began:.1f} s")
    assert "Traceback" not in log


async def test_nothing_is_lost_and_nothing_goes_back_when_the_server_is_killed(tmp_path: Path) -> None:
    await crash(tmp_path, 5)


@pytest.mark.slow
async def test_nothing_is_lost_and_nothing_goes_back_in_a_hundred_kills(tmp_path: Path) -> None:
    await crash(tmp_path, 110)
