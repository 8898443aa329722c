"""The chat: a Slack Web API in as few steps as possible, as a process that outlives every fault, and keeps a book.

``python -m tests.chaos.chat BOOK`` prints its port. A line of the book is ``time method channel ts run step``, written
before the answer: what stands there was shown to people. It understands what bridge sends (keep-alive, Content-Length)
and nothing else; `tests/fakes/slack.py` is the one that looks at messages closely. Commands on stdin, a line each:

    limited SHARE AFTER   so many of the requests get 429 with Retry-After
    broken CHANNEL        500 for every request of one channel; ``all`` for all, ``none`` for none

https://docs.slack.dev/reference/methods/chat.postMessage · chat.update
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import BinaryIO

MARK = re.compile(rb"r(\d+)s(\d+)e")
CHANNEL = re.compile(rb'"channel": ?"#?([\w-]+)"')
TS = re.compile(rb'"ts": ?"(\d+)\.0"')
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Book:
    """What was accepted, and how the chat feels."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._channels: list[bytes] = []  # of each message: its index is its ts
        self.limited, self.after = 0.0, b"1"
        self.broken = b"NONE"  # a channel, or ALL

    async def command(self, line: str) -> None:
        match line.split():
            case ["limited", share, after]:
                self.limited, self.after = float(share), after.encode()
            case ["broken", channel]:
                self.broken = channel.upper().encode()

    def answer(self, path: bytes, body: bytes) -> bytes:
        if path.endswith(b"auth.test"):
            return _json({"ok": True, "team": "acme", "user": "bridge"})
        found = CHANNEL.search(body)
        channel = found[1].upper() if found else b""
        if self.limited and random.random() < self.limited:
            return _http(b"429 Too Many Requests", b"{}", b"Retry-After: " + self.after + b"\r\n")
        if self.broken in (b"ALL", channel):
            return _http(b"500 Internal Server Error", b"oh no")
        return self._update(channel, body) if path.endswith(b"chat.update") else self._post(channel, body)

    def _post(self, channel: bytes, body: bytes) -> bytes:
        number = len(self._channels)
        self._channels.append(channel)
        self._write(b"post", channel, number, body)
        return _json({"ok": True, "channel": channel.decode(), "ts": f"{number}.0"})

    def _update(self, channel: bytes, body: bytes) -> bytes:
        found = TS.search(body)
        number = int(found[1]) if found else -1
        if not 0 <= number < len(self._channels) or self._channels[number] != channel:
            return _json({"ok": False, "error": "message_not_found"})
        self._write(b"edit", channel, number, body)
        return _json({"ok": True, "channel": channel.decode(), "ts": f"{number}.0"})

    def _write(self, method: bytes, channel: bytes, number: int, body: bytes) -> None:
        run, step = max(((int(run), int(step)) for run, step in MARK.findall(body)), default=(0, 0))
        self._file.write(b"%.4f %s %s %d %d %d\n" % (time.time(), method, channel, number, run, step))
        self._file.flush()


def _json(data: object) -> bytes:
    return _http(b"200 OK", json.dumps(data).encode())


def _http(status: bytes, body: bytes, more: bytes = b"") -> bytes:
    head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n"
    return head % (status, more, len(body)) + body


class Connection(asyncio.Protocol):
    def __init__(self, book: Book) -> None:
        self._book = book
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            found = LENGTH.search(head)
            size = end + 4 + (int(found[1]) if found else 0)
            if len(self._buffer) < size:
                return
            body, self._buffer = self._buffer[end + 4 : size], self._buffer[size:]
            self._transport.write(self._book.answer(head.split(b" ", 2)[1], body))


async def serve(path: Path) -> None:
    loop = asyncio.get_running_loop()
    with path.open("ab") as file:
        book = Book(file)
        server = await loop.create_server(lambda: Connection(book), "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await follow(book.command)


async def follow(command: Callable[[str], Awaitable[None]]) -> None:
    """Obey the lines of stdin, each answered by an empty line, until it ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async for line in reader:
        await command(line.decode())
        print(flush=True)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
