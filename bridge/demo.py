"""`bridge demo`: a whole story through the real program, on this machine, without an account.

The real server, the real database (in a folder that is thrown away), real signatures and the shipped templates; only
the chat is a terminal and a page. Two senders tell of two branches: GitHub Actions of a feature branch that passes, and
of main, which breaks, is re-run and fixed; Cirrus CI of main, where one task fails and its re-run passes.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import click

from bridge import config as configuration
from bridge import observe
from bridge.app import Bridge
from bridge.sources import SOURCES
from bridge.store import open_store

CONFIG = """
version: 1

sources:
  github: {type: github, secret: "${DEMO_SECRET}"}
  cirrus: {type: cirrus, secret: "${DEMO_SECRET}", api_url: "http://127.0.0.1:9/"}

destinations:
  builds: {type: console}
  oncall: {type: console}

people:
  octocat: {email: octocat@example.com}

rules:
  - name: every run, one living message
    match: {kind: pipeline, author: {not: "*[bot]"}}
    to: builds
    live: true
  - name: main is broken or fixed
    match: {branch: main, change: [broken, fixed]}
    to: oncall
    mention: author
"""

PAUSE = 1.0  # seconds between events, so that one can read along
PAUSE_ONCE = 0.12
DRAIN_WITHIN = 30.0  # seconds
JOBS = ("lint", "test", "docs")
STORY_BEGAN = timedelta(minutes=15)  # ago: its clock runs faster than ours


@dataclass(frozen=True)
class Step:
    """One webhook of the story, and what a bystander would say happens."""

    source: str
    says: str
    body: dict[str, Any]


async def run(host: str, port: int, *, once: bool) -> int:
    """Tell the story; return the exit code."""
    with tempfile.TemporaryDirectory(prefix="bridge-demo-") as folder:
        path = _write_config(folder)
        secret = secrets.token_hex(16)
        database = f"sqlite:///{folder}/bridge.db"
        environ = {
            "DEMO_SECRET": secret,
            "DATABASE_URL": database,
            "LOG_FORMAT": os.environ.get("LOG_FORMAT", "console"),
        }
        observe.configure(environ["LOG_FORMAT"], os.environ.get("LOG_LEVEL", "error"), [secret])
        bridge = Bridge(configuration.load(str(path), environ), config_path=str(path), environ=environ, unlocked=True)
        await _start(bridge, host, port)
        try:
            return await _tell(bridge, host, secret, database, once=once)
        finally:
            await bridge.stop()


def _write_config(folder: str) -> Path:
    path = Path(folder, "config.yaml")
    path.write_text(CONFIG, "utf-8")
    return path


async def _start(bridge: Bridge, host: str, port: int) -> None:
    try:
        await bridge.start(host, port)
    except OSError:
        await bridge.stop()
        click.echo(f"port {port} is taken, another one will do", err=True)
        await bridge.start(host, 0)


async def _tell(bridge: Bridge, host: str, secret: str, database: str, *, once: bool) -> int:
    base = f"http://{host}:{bridge.port}"
    click.echo(f"bridge listens on {base}/  (open it: the same messages, live)\n")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    accepted = True
    async with aiohttp.ClientSession() as session:
        for step in story(datetime.now(UTC) - STORY_BEGAN):
            if stop.is_set():
                return 0
            accepted &= await _post(session, base, step, secret)
            await _pause(stop, PAUSE_ONCE if once else PAUSE)
    drained = await _drained(database, stop)
    told = len(bridge.feed.recent())
    click.echo(f"\nThe story is told: {told} messages; the living ones were edited as their runs went on.")
    if once or stop.is_set():
        return 0 if accepted and drained else 1
    click.echo(f"The page stays at {base}/ until Ctrl-C. Your own: bridge init, bridge check, bridge serve.")
    await stop.wait()
    return 0


async def _post(session: aiohttp.ClientSession, base: str, step: Step, secret: str) -> bool:
    body = json.dumps(step.body).encode()
    headers = SOURCES[step.source].sign(body, secret, delivery=secrets.token_hex(16))
    async with session.post(f"{base}/webhooks/{step.source}", data=body, headers=headers) as answer:
        said = await answer.json()
        click.secho(f"-> {step.source}: {step.says}  [{answer.status} {said.get('status', '')}]", dim=True)
        return answer.status == 202


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass


async def _drained(database: str, stop: asyncio.Event) -> bool:
    """Wait until nothing is owed any more; return whether that came."""
    store = await open_store(database)
    try:
        async with asyncio.timeout(DRAIN_WITHIN):
            while any(depth.waiting for depth in (await store.depths()).values()):
                await _pause(stop, 0.1)
                if stop.is_set():
                    break
        return True
    except TimeoutError:
        return False
    finally:
        await store.close()


# -- the story ---------------------------------------------------------------------------------------------------------


def story(now: datetime) -> Iterator[Step]:
    """Yield the webhooks, in their order. Their clock begins at `now` and runs faster than ours."""
    clock = _Clock(now)
    feature = _Actions(
        clock, number=41, branch="faster-cache", sha="3f9c1d7", title="Cache the dependency graph", author="hubot"
    )
    main = _Actions(
        clock, number=42, branch="main", sha="9a1b2c3", title="Read settings from the environment", author="octocat"
    )
    yield feature.run("is queued", "queued")
    for name in JOBS[:2]:
        yield feature.job(f"{name} is queued", name, "queued")
    yield feature.run("is running", "in_progress")
    yield main.run("is queued", "queued")
    for name in JOBS:
        yield main.job(f"{name} is queued", name, "queued")
    yield feature.job("lint passes", "lint", "success")
    yield main.run("is running", "in_progress")
    yield main.job("lint passes", "lint", "success")
    yield feature.job("test passes", "test", "success")
    yield feature.run("passes", "completed", "success")
    yield main.job("test fails", "test", "failure", failed_step="Run pytest")
    yield main.job("docs pass", "docs", "success")
    yield main.run("fails", "completed", "failure")
    cirrus = _Cirrus(clock)
    yield cirrus.build("begins", "EXECUTING", "CREATED")
    yield cirrus.task("FreeBSD is running", 1, "freebsd", "EXECUTING")
    yield cirrus.task("macOS is running", 2, "macos", "EXECUTING")
    yield cirrus.task("macOS passes", 2, "macos", "COMPLETED")
    yield cirrus.task("FreeBSD fails", 1, "freebsd", "FAILED")
    yield cirrus.build("fails", "FAILED", "EXECUTING")
    again = main.again()
    yield again.run("is re-run", "queued")
    for name in JOBS:
        yield again.job(f"{name} is queued", name, "queued")
    yield again.run("is running again", "in_progress")
    yield again.job("lint passes", "lint", "success")
    yield cirrus.task("FreeBSD is re-run", 3, "freebsd", "EXECUTING")
    yield cirrus.build("is running again", "EXECUTING", "FAILED")
    yield again.job("test passes", "test", "success")
    yield again.job("docs pass", "docs", "success")
    yield again.run("passes: main is fixed", "completed", "success")
    yield cirrus.task("FreeBSD passes", 3, "freebsd", "COMPLETED")
    yield cirrus.build("passes: main is fixed", "COMPLETED", "EXECUTING")


class _Clock:
    def __init__(self, now: datetime) -> None:
        self._now = now

    def tick(self) -> datetime:
        self._now += timedelta(seconds=11)
        return self._now


class _Actions:
    """A run of GitHub Actions in acme/app."""

    def __init__(
        self, clock: _Clock, *, number: int, branch: str, sha: str, title: str, author: str, attempt: int = 1
    ) -> None:
        self._clock = clock
        self._number, self._branch, self._title, self._author, self._attempt = number, branch, title, author, attempt
        self._sha = sha.ljust(40, "0")
        self._id = 7_000_000_000 + number
        self._began = clock.tick()

    def again(self) -> _Actions:
        return _Actions(
            self._clock,
            number=self._number,
            branch=self._branch,
            sha=self._sha,
            title=self._title,
            author=self._author,
            attempt=self._attempt + 1,
        )

    def run(self, says: str, status: str, conclusion: str | None = None) -> Step:
        workflow_run = {
            "id": self._id,
            "name": "CI",
            "head_branch": self._branch,
            "head_sha": self._sha,
            "path": ".github/workflows/ci.yml",
            "display_title": self._title,
            "run_number": self._number,
            "run_attempt": self._attempt,
            "event": "push",
            "status": status,
            "conclusion": conclusion,
            "html_url": f"https://github.com/acme/app/actions/runs/{self._id}",
            "pull_requests": [],
            "created_at": _iso(self._began),
            "updated_at": _iso(self._clock.tick()),
            "run_started_at": _iso(self._began),
            "actor": {"login": self._author},
            "triggering_actor": {"login": self._author},
            "head_commit": {
                "id": self._sha,
                "message": self._title,
                "author": {"name": self._author, "email": f"{self._author}@example.com"},
            },
            "repository": _REPOSITORY,
            "head_repository": _REPOSITORY,
        }
        body = {"action": status, "workflow_run": workflow_run, "workflow": {"name": "CI"}}
        return Step("github", f"#{self._number} on {self._branch} {says}", body | _SENDER)

    def job(self, says: str, name: str, state: str, failed_step: str | None = None) -> Step:
        """Return the event of a job that is queued, or ended as `state` says."""
        began, ended = self._clock.tick(), self._clock.tick()
        queued = state == "queued"
        steps = [{"name": "Set up job", "status": "completed", "conclusion": "success", "number": 1}]
        if failed_step:
            steps.append({"name": failed_step, "status": "completed", "conclusion": "failure", "number": 2})
        job_id = self._id * 100 + self._attempt * 10 + JOBS.index(name)
        workflow_job = {
            "id": job_id,
            "run_id": self._id,
            "run_attempt": self._attempt,
            "workflow_name": "CI",
            "head_branch": self._branch,
            "head_sha": self._sha,
            "name": name,
            "status": "queued" if queued else "completed",
            "conclusion": None if queued else state,
            "html_url": f"https://github.com/acme/app/actions/runs/{self._id}/job/{job_id}",
            "created_at": _iso(began),
            "started_at": _iso(began),
            "completed_at": None if queued else _iso(ended),
            "steps": [] if queued else steps,
        }
        body = {"action": "queued" if queued else "completed", "workflow_job": workflow_job}
        return Step("github", f"#{self._number} on {self._branch}: {says}", body | _SENDER)


_REPOSITORY = {
    "id": 1,
    "full_name": "acme/app",
    "html_url": "https://github.com/acme/app",
    "default_branch": "main",
    "private": False,
}
_SENDER = {"repository": _REPOSITORY, "sender": {"login": "octocat"}}


class _Cirrus:
    """A build of Cirrus CI in acme/app, on main."""

    def __init__(self, clock: _Clock) -> None:
        self._clock = clock
        self._began = clock.tick()
        self._build = {
            "id": 5_000_000_000_000_042,
            "branch": "main",
            "changeIdInRepo": "9a1b2c3".ljust(40, "0"),
            "changeTimestamp": _ms(self._began),
            "changeMessageTitle": "Read settings from the environment",
            "durationInSeconds": 0,
            "user": {"id": 1, "username": "octocat"},
        }

    def build(self, says: str, status: str, old_status: str) -> Step:
        seconds = round((self._clock.tick() - self._began).total_seconds())
        build = self._build | {"status": status, "durationInSeconds": seconds}
        body = {
            "old_status": old_status,
            "action": "updated",
            "repository": _CIRRUS_REPOSITORY,
            "build": build,
            "task": {},
        }
        return Step("cirrus", f"the build of main {says}", body)

    def task(self, says: str, number: int, name: str, status: str) -> Step:
        when = self._clock.tick()
        task = {
            "id": 6_000_000_000_000_000 + number,
            "name": name,
            "status": status,
            "statusTimestamp": _ms(when),
            "creationTimestamp": _ms(self._began if number < 3 else when),
            "durationInSeconds": 34,
            "uniqueLabels": [],
            "automaticReRun": False,
            "notifications": [{"level": "ERROR", "message": "2 tests failed"}] if status == "FAILED" else [],
        }
        build = self._build | {"status": "EXECUTING"}
        body = {"action": "updated", "repository": _CIRRUS_REPOSITORY, "build": build, "task": task}
        return Step("cirrus", f"the build of main: {says}", body)


_CIRRUS_REPOSITORY = {"id": 2, "owner": "acme", "name": "app", "isPrivate": False}


def _iso(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def _ms(when: datetime) -> int:
    return round(when.timestamp() * 1000)
