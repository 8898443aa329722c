"""The real program as a process of its own, real senders' bodies, and a fake Slack beside it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from bridge.sources import SOURCES

ROOT = Path(__file__).parents[1]
GITHUB_SECRET = "made-up-github-secret"
CIRRUS_SECRET = "made-up-cirrus-secret"
SECRETS = {"github": GITHUB_SECRET, "cirrus": CIRRUS_SECRET}
WITHIN = 20.0  # seconds: a guard for slow machines, never a measure

SOURCES_TEXT = f"""
version: 1
sources:
  github: {{type: github, secret: {GITHUB_SECRET}}}
  cirrus: {{type: cirrus, secret: {CIRRUS_SECRET}, api_url: "http://127.0.0.1:9/graphql"}}
"""


def write_config(folder: Path, rest: str) -> Path:
    """Write a configuration with both sources; `rest` brings destinations and rules."""
    path = folder / "config.yaml"
    path.write_text(SOURCES_TEXT + rest)
    return path


class Server:
    """One `bridge serve` on a free port of loopback (or on `port`, to start again where another one was)."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.out: list[str] = []
        self.err: list[str] = []
        self.port = 0
        self._news = asyncio.Event()
        self._reading = [
            asyncio.create_task(self._read(process.stdout, self.out)),
            asyncio.create_task(self._read(process.stderr, self.err)),
        ]

    @classmethod
    async def start(
        cls,
        config: Path,
        *arguments: str,
        environ: Mapping[str, str] | None = None,
        port: int = 0,
        listens: bool = True,
    ) -> Server:
        known = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bridge", "serve", "--config", str(config)),
            *("--host", "127.0.0.1", "--port", str(port), *arguments),
            cwd=config.parent,
            env=known | {"PYTHONPATH": str(ROOT), "DATABASE_URL": "sqlite:///bridge.db"} | dict(environ or {}),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=2**22,
        )
        server = cls(process)
        if listens:
            line = await server.said("listens on http://")
            server.port = int(line.rsplit(":", 1)[1])
        return server

    async def _read(self, stream: asyncio.StreamReader | None, lines: list[str]) -> None:
        assert stream is not None
        async for line in stream:
            lines.append(line.decode().rstrip("\n"))
            self._news.set()
        self._news.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def all_text(self) -> str:
        return "\n".join([*self.out, *self.err])

    async def said(self, text: str, *, after: int = 0) -> str:
        """Return the first line of output or log with `text`; `after` leaves out so many lines of the log."""

        def found() -> str | None:
            return next((line for line in [*self.out, *self.err[after:]] if text in line), None)

        async with asyncio.timeout(WITHIN):
            while (line := found()) is None:
                if all(task.done() for task in self._reading):
                    raise AssertionError(f"the server ended without saying {text!r}:\n{self.all_text}")
                self._news.clear()
                await self._news.wait()
        return line

    async def ended(self) -> int:
        async with asyncio.timeout(WITHIN):
            await asyncio.gather(*self._reading)
            return await self.process.wait()

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal (if it still runs) and return the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await self.ended()

    async def kill(self) -> None:
        await self.stop(signal.SIGKILL)


@asynccontextmanager
async def serving(config: Path, *arguments: str, **more: Any) -> AsyncIterator[Server]:
    """``async with serving(config) as server``: started, and gone at the end however the test ends."""
    server = await Server.start(config, *arguments, **more)
    try:
        yield server
    finally:
        await server.kill()


def github_run(
    run: int, status: str, conclusion: str | None = None, *, title: str = "", number: int | None = None
) -> bytes:
    """A ``workflow_run`` webhook: `status` is queued, in_progress or completed."""
    return json.dumps(
        {
            "action": "completed" if status == "completed" else status,
            "workflow_run": {
                "id": run,
                "name": "CI",
                "event": "push",
                "status": status,
                "conclusion": conclusion,
                "run_number": number or run,
                "run_attempt": 1,
                "head_branch": "main",
                "head_sha": f"{run:040x}",
                "head_commit": {"message": title or f"run {run} {status}"},
                "actor": {"login": "octocat"},
                "html_url": f"https://github.com/acme/app/actions/runs/{run}",
            },
            "repository": {"full_name": "acme/app", "html_url": "https://github.com/acme/app"},
        }
    ).encode()


def cirrus_build(build: int, status: str, *, title: str = "") -> bytes:
    """A ``build`` webhook."""
    return json.dumps(
        {
            "action": "updated",
            "repository": {"id": 7, "owner": "acme", "name": "app"},
            "build": {
                "id": build,
                "branch": "main",
                "changeIdInRepo": f"{build:040x}",
                "changeMessageTitle": title or f"build {build} {status}",
                "status": status,
            },
            "task": {},
        }
    ).encode()


def signed(source: str, body: bytes, *, delivery: str | None = None) -> dict[str, str]:
    return SOURCES[source].sign(body, SECRETS[source], delivery=delivery or str(uuid.uuid4()))


async def post(session: aiohttp.ClientSession, url: str, source: str, body: bytes, **more: str) -> tuple[int, Any]:
    """Send a signed body; return the status and the answer."""
    headers = signed(source, body, **more)
    async with session.post(f"{url}/webhooks/{source}", data=body, headers=headers) as answer:
        return answer.status, await answer.json(content_type=None)


async def get(session: aiohttp.ClientSession, url: str) -> tuple[int, str]:
    async with session.get(url) as answer:
        return answer.status, await answer.text()


async def until(true: Callable[[], Any], within: float = WITHIN, *, every: float = 0.02) -> None:
    """Return as soon as `true()` holds: for what another process does, which tells nobody."""
    async with asyncio.timeout(within):
        while not true():
            await asyncio.sleep(every)
