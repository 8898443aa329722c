"""The chat that everybody posts to: a process of its own, as lean as can be, that notes what came and when.

Behaves as it is told: "ok", "500", "429" (Retry-After: 1), or "down" (nobody listens). What goes to a path that begins
with /hang is read and never answered. Every message shows the address of its run: by that its event is known.

    python -m benchmarks.chat PORT CONTROL_PORT
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import uvloop

from benchmarks.bodies import FIRST_RUN
from benchmarks.context import Context
from benchmarks.servers import Server, free_port, running

RUN = re.compile(rb"/runs/(\d+)")
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
ANSWERS = {
    "ok": OK,
    "500": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
    "429": b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
}


@dataclass
class Chat:
    """The chat as the measurements see it."""

    server: Server
    control: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def _ask(self, word: str) -> str:
        with socket.create_connection(("127.0.0.1", self.control), timeout=30) as asking:
            asking.sendall(f"{word}\n".encode())
            parts = []
            while part := asking.recv(1 << 16):
                parts.append(part)
        return b"".join(parts).decode()

    def be(self, mode: str) -> None:
        self._ask(mode)

    def count(self) -> int:
        """Return how many messages it has taken."""
        return int(self._ask("count"))

    def posts(self) -> int:
        """Return how many requests came, the refused ones with them."""
        return int(self._ask("posts"))

    def taken(self) -> dict[int, float]:
        """Return when each event was first heard of, by its number."""
        first: dict[int, float] = {}
        for number, at in json.loads(self._ask("taken")):
            first.setdefault(number, at)
        return first

    def forget(self) -> None:
        self._ask("forget")

    def await_count(self, wanted: int, seconds: float) -> None:
        """Return when so many messages came, or after so many seconds without a new one."""
        known, since = self.count(), time.monotonic()
        while known < wanted and time.monotonic() - since < seconds:
            time.sleep(0.05)
            if (count := self.count()) != known:
                known, since = count, time.monotonic()


@contextmanager
def chatting(context: Context) -> Iterator[Chat]:
    port, control = free_port(), free_port()
    command = [sys.executable, "-m", "benchmarks.chat", str(port), str(control)]
    with running("chat", command, port, context.folder, first=context.cores.onto(context.cores.load)) as server:
        yield Chat(server, control)


# -- the process -------------------------------------------------------------------------------------------------------


class Room:
    """What came, and how to answer."""

    def __init__(self, port: int) -> None:
        self.mode = "ok"
        self.posts = 0
        self.taken: list[tuple[int, float]] = []
        self.guests: set[Guest] = set()
        self._port = port
        self._listening: asyncio.Server | None = None

    async def follow(self, mode: str) -> None:
        self.mode = mode
        if mode != "down" and self._listening is None:
            loop = asyncio.get_running_loop()
            self._listening = await loop.create_server(lambda: Guest(self), "127.0.0.1", self._port)
        if mode == "down" and self._listening is not None:
            self._listening.close()
            self._listening = None
            for guest in tuple(self.guests):
                guest.leave()

    def answer(self, head: bytes, body: bytes) -> bytes | None:
        if head.startswith(b"POST /hang"):
            return None
        self.posts += 1
        found = RUN.search(body)
        if self.mode == "ok" and found:
            self.taken.append((int(found[1]) - FIRST_RUN, time.monotonic()))
        return ANSWERS[self.mode]

    async def obey(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        match word := (await reader.readline()).decode().strip():
            case "count":
                writer.write(str(len(self.taken)).encode())
            case "posts":
                writer.write(str(self.posts).encode())
            case "taken":
                writer.write(json.dumps(self.taken).encode())
            case "forget":
                self.taken, self.posts = [], 0
            case _:
                await self.follow(word)
        await writer.drain()
        writer.close()


class Guest(asyncio.Protocol):
    """One connection to the chat."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._room.guests.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._room.guests.discard(self)

    def leave(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        while (end := buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(buffer[:end])
            found = re.search(rb"content-length:\s*(\d+)", head, re.IGNORECASE)
            whole = end + 4 + (int(found[1]) if found else 0)
            if len(buffer) < whole:
                return
            body = bytes(buffer[end + 4 : whole])
            del buffer[:whole]
            answer = self._room.answer(head, body)
            if answer is not None:
                self._transport.write(answer)


async def _serve(port: int, control: int) -> None:
    room = Room(port)
    await asyncio.start_server(room.obey, "127.0.0.1", control)
    await room.follow("ok")
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(int(sys.argv[1]), int(sys.argv[2])))
