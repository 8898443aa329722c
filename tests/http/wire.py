"""A plain socket to a bridge on loopback, and what its senders send."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bridge.app import Bridge
from bridge.config import Config, load
from bridge.sources import SOURCES
from tests.altered import replace

SECRET = "a-secret-of-the-tests"
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
MAX_BODY = 64 * 1024  # the limit of the tests, but for those that say otherwise
FIXTURES = Path(__file__).parents[1] / "sources"

CONFIG = """
version: 1
server: {{max_body: {max_body}}}
sources:
  github: {{type: github, secret: ["{secret}", "the-one-before-it"]}}
  cirrus: {{type: cirrus, secret: "{secret}"}}
destinations:
  out: {{type: console}}
rules:
  - {{name: everything, match: {{kind: [pipeline, task, deployment, push, change_request, release, audit]}}, to: out}}
"""


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)  # lower-case names
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> tuple[int, str]:
        """The status and the detail of a well-formed RFC 9457 answer."""
        assert self.headers["content-type"].startswith("application/problem+json"), self
        said = self.json
        assert set(said) == {"type", "title", "status", "detail"}, self
        assert said["status"] == self.status
        assert said["title"]
        assert said["detail"]
        return self.status, said["detail"]


class Wire:
    """One TCP connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        try:
            await self.writer.drain()
        except ConnectionError:
            pass  # the answer may have come, and the door closed, before all was sent

    async def answer(self, *, head: bool = False) -> Answer | None:
        """Return the next answer, or None when the server closed without one."""
        try:
            async with asyncio.timeout(5):
                return await self._answer(head)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def _answer(self, head: bool) -> Answer:
        first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        status = int(first.split(" ")[1])
        if status < 200:
            return Answer(status, headers)
        body = b"" if head else await self.reader.readexactly(int(headers.get("content-length", 0)))
        return Answer(status, headers, body)

    async def closed(self) -> bool:
        """Return whether the server has closed, or closes within a few seconds."""
        try:
            async with asyncio.timeout(5):
                return await self.reader.read() == b""
        except ConnectionError:
            return True

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            pass


@dataclass(frozen=True)
class Request:
    """What to send. `headers` replace those of the source's signature."""

    body: bytes
    to: str = "github"
    headers: dict[str, str | None] = field(default_factory=dict)


class Client:
    """Sends to one bridge, signed as its senders sign."""

    def __init__(self, bridge: Bridge) -> None:
        self.bridge = bridge
        self._wires: list[Wire] = []
        self._count = 0

    async def wire(self) -> Wire:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.bridge.port, limit=1024 * 1024)
        self._wires.append(Wire(reader, writer))
        return self._wires[-1]

    async def raw(self, data: bytes, *, head: bool = False) -> Answer | None:
        """Send bytes on a connection of their own; return the first answer."""
        wire = await self.wire()
        await wire.send(data)
        answer = await wire.answer(head=head)
        await wire.close()
        return answer

    async def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        given = {"Host": "bridge", "Content-Length": str(len(body)), "Connection": "close"} | dict(headers or {})
        answer = await self.raw(_head(f"{method} {path} HTTP/1.1", given) + body, head=method == "HEAD")
        assert answer is not None, f"{method} {path}: no answer"
        return answer

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.request("GET", path, {name.replace("_", "-"): value for name, value in headers.items()})

    async def post(
        self, body: bytes, *, to: str = "github", secret: str = SECRET, delivery: str = "", **headers: str | None
    ) -> Answer:
        """Send `body` signed as the source `to` signs; `headers` replaces (a value) or leaves out (None)."""
        return await self.request("POST", f"/webhooks/{to}", self.signed(body, to, secret, delivery, headers), body)

    def signed(
        self,
        body: bytes,
        to: str = "github",
        secret: str = SECRET,
        delivery: str = "",
        headers: Mapping[str, str | None] | None = None,
    ) -> dict[str, str]:
        self._count += 1
        given: dict[str, str | None] = dict(
            SOURCES[to.partition("/")[0]].sign(body, secret, delivery=delivery or f"delivery-{self._count}")
        )
        for name, value in (headers or {}).items():
            given[name.replace("_", "-")] = value
        return {name: value for name, value in given.items() if value is not None}

    async def all(self, requests: Iterable[Request], *, at_once: int = 16) -> AsyncIterator[tuple[Request, Answer]]:
        """Send many requests over a few connections that are kept open; yield each with its answer."""
        waiting = iter(requests)
        answers: asyncio.Queue[tuple[Request, Answer] | None] = asyncio.Queue()

        async def talk() -> None:
            wire = await self.wire()
            for request in waiting:
                headers = self.signed(request.body, request.to, headers=request.headers)
                given = {"Host": "bridge", "Content-Length": str(len(request.body))} | headers
                await wire.send(_head(f"POST /webhooks/{request.to} HTTP/1.1", given) + request.body)
                answer = await wire.answer()
                assert answer is not None, request
                answers.put_nowait((request, answer))
            await wire.close()

        async with asyncio.TaskGroup() as group:
            talks = [group.create_task(talk()) for _ in range(at_once)]
            asyncio.gather(*talks, return_exceptions=True).add_done_callback(lambda _: answers.put_nowait(None))
            while (item := await answers.get()) is not None:
                yield item

    async def stop(self) -> None:
        for wire in self._wires:
            await wire.close()
        await self.bridge.stop()


def _head(first: str, headers: Mapping[str, str]) -> bytes:
    lines = [first, *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def config_of(folder: Path, *, max_body: int = MAX_BODY) -> Config:
    path = folder / "config.yaml"
    path.write_text(CONFIG.format(secret=SECRET, max_body=max_body))
    return replace(load(str(path), {}), templates={})  # nothing is rendered here, and compiling them takes its time


async def running(
    folder: Path,
    *,
    max_body: int = MAX_BODY,
    token: str = "",
    read_within: timedelta = timedelta(seconds=5),
    headers_within: timedelta = timedelta(seconds=30),
) -> Client:
    """Return a client of a new bridge that listens on loopback and keeps its database in `folder`."""
    bridge = Bridge(
        config_of(folder, max_body=max_body),
        environ={"DATABASE_URL": f"sqlite:///{folder}/bridge.db", "BRIDGE_ADMIN_TOKEN": token},
        role="web",  # nothing is delivered: what is answered is the matter here
        now=lambda: NOW,
        headers_within=headers_within,
        read_within=read_within,
    )
    await bridge.start("127.0.0.1", 0)
    return Client(bridge)


def github(name: str = "workflow_run.push_failed") -> bytes:
    return (FIXTURES / "github" / f"{name}.json").read_bytes()


def cirrus(name: str = "build_created") -> tuple[bytes, dict[str, str]]:
    """Return a saved request: its body, and its headers without the signature."""
    head, body = (FIXTURES / "cirrus" / f"{name}.http").read_text().split("\n\n", 1)
    return body.encode(), dict(line.split(": ", 1) for line in head.splitlines())
