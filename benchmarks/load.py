"""Send as fast as the answers come, or at a steady pace, and say what came of it. Counts; judges nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import uvloop

from benchmarks.bodies import Requests
from benchmarks.row import percentile

T = TypeVar("T")

ANSWER_WITHIN = 15.0  # seconds: a sender's patience


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` on the quickest loop there is: the load must not be the brake."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


@dataclass
class Sent:
    """What became of the requests. Times are of the monotonic clock, which all processes of a machine share."""

    at: dict[int, float] = field(default_factory=dict)  # by number: when the request was sent
    accepted: dict[int, float] = field(default_factory=dict)  # by number: when a 2xx came
    refused: int = 0
    first_refusal: str = ""
    seconds: float = 0.0

    @property
    def per_second(self) -> float:
        return len(self.accepted) / self.seconds if self.seconds else 0.0

    def latency_ms(self, percent: float) -> float:
        return percentile([end - self.at[number] for number, end in self.accepted.items()], percent) * 1000


class Connection(asyncio.Protocol):
    """One connection with at most one request under way. `answered` is called with each answer; an empty one: lost."""

    def __init__(self, answered: Callable[[Connection, bytes], None]) -> None:
        self.closed = asyncio.get_running_loop().create_future()
        self.number = 0
        self._answered = answered
        self._answer = b""
        self._busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own are not subclasses

    def send(self, number: int, request: bytes) -> None:
        self.number, self._busy = number, True
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, found, body = self._answer.partition(b"\r\n\r\n")
        if not found or not _whole(head, body):
            return
        answer, self._answer, self._busy = self._answer, b"", False
        self._answered(self, answer)

    def close(self) -> None:
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)
        if self._busy:
            self._busy = False
            self._answered(self, b"")


def _whole(head: bytes, body: bytes) -> bool:
    lower = head.lower()
    begin = lower.find(b"content-length:")
    if begin < 0:
        return b"chunked" not in lower or body.endswith(b"0\r\n\r\n")
    return len(body) >= int(lower[begin + 15 :].split(b"\r\n", 1)[0])


def _note(sent: Sent, number: int, answer: bytes, now: float) -> None:
    if answer[9:10] == b"2":
        sent.accepted[number] = now
        return
    sent.refused += 1
    sent.first_refusal = sent.first_refusal or answer[:200].decode(errors="replace") or "the connection was closed"


async def saturate(port: int, requests: Requests, seconds: float, connections: int) -> Sent:
    """Keep one request under way on each connection. Numbers must not repeat."""
    sent, loop = Sent(), asyncio.get_running_loop()
    begun = time.monotonic()
    until = begun + seconds

    def send(connection: Connection) -> None:
        number, request = next(requests)
        sent.at[number] = time.monotonic()
        connection.send(number, request)

    def answered(connection: Connection, answer: bytes) -> None:
        now = time.monotonic()
        _note(sent, connection.number, answer, now)
        if now < until and answer:
            send(connection)
        else:
            connection.close()

    opening = (loop.create_connection(lambda: Connection(answered), "127.0.0.1", port) for _ in range(connections))
    opened = [connection for _, connection in await asyncio.gather(*opening)]
    for connection in opened:
        send(connection)
    await asyncio.wait([connection.closed for connection in opened], timeout=seconds + ANSWER_WITHIN)
    for connection in opened:
        connection.close()
    sent.seconds = time.monotonic() - begun
    return sent


async def pace(port: int, requests: Requests, per_second: float, seconds: float) -> Sent:
    """Send at a steady pace, whatever the answers do."""
    sent, loop = Sent(), asyncio.get_running_loop()
    free: list[Connection] = []
    opened: list[Connection] = []

    def answered(connection: Connection, answer: bytes) -> None:
        _note(sent, connection.number, answer, time.monotonic())
        if answer:
            free.append(connection)

    begun = time.monotonic()
    total = max(1, round(per_second * seconds))
    for index in range(total):
        await asyncio.sleep(max(0.0, begun + index / per_second - time.monotonic()))
        number, request = next(requests)
        connection = free.pop() if free else None
        while connection is not None and connection.closed.done():
            connection = free.pop() if free else None
        try:
            if connection is None:
                _, connection = await loop.create_connection(lambda: Connection(answered), "127.0.0.1", port)
                opened.append(connection)
        except OSError as error:
            sent.refused += 1
            sent.first_refusal = sent.first_refusal or str(error)
            continue
        sent.at[number] = time.monotonic()
        connection.send(number, request)
    patience = time.monotonic() + ANSWER_WITHIN
    while len(sent.accepted) + sent.refused < total and time.monotonic() < patience:
        await asyncio.sleep(0.02)
    for connection in opened:
        connection.close()
    sent.seconds = time.monotonic() - begun
    return sent
