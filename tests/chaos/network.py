"""The network between bridge and the chat: passes everything on, until it is told to be a bad one.

``python -m tests.chaos.network PORT UPSTREAM_PORT SEED`` prints its port. It never repeats, reorders or
invents bytes, and what is held back is thrown away when its sender gives up. Commands on stdin, a line each:

    pass              again
    refuse            connections are refused, those that exist are broken off
    drop              nothing comes through, in either direction, and nobody is told
    slow SECONDS      answers take that long: below the timeout they are slow, above it they are too late
    cut SHARE         so many of the answers are replaced by a reset: the request has arrived
"""

from __future__ import annotations

import asyncio
import random
import sys

from tests.chaos.chat import follow


class Network:
    def __init__(self, port: int, upstream: int, dice: random.Random) -> None:
        self.port, self.upstream = port, upstream
        self.dice = dice
        self.mode, self.amount = "pass", 0.0
        self.near: set[Near] = set()
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Near(self), "127.0.0.1", self.port)

    async def command(self, line: str) -> None:
        mode, *amount = line.split()
        before, self.mode, self.amount = self.mode, mode, float(amount[0]) if amount else 0.0
        if mode == "refuse" and self._server is not None:
            self._server.close()
            self._server = None
        if mode != "refuse" and self._server is None:
            await self.listen()
        if "refuse" in (mode, before) or before == "drop":
            for near in list(self.near):
                near.abort()


class Near(asyncio.Protocol):
    """The side of bridge."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._far: Far | None = None
        self._waiting = b""
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.network.near.add(self)
        self._task = asyncio.create_task(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, far = await loop.create_connection(lambda: Far(self), "127.0.0.1", self.network.upstream)
        except OSError:
            self.abort()
            return
        self._far = far
        if self._waiting:
            far.transport.write(self._waiting)

    def data_received(self, data: bytes) -> None:
        if self.network.mode == "drop":
            return
        if self._far is None:
            self._waiting += data
        else:
            self._far.transport.write(data)

    def answer(self, data: bytes) -> None:
        network = self.network
        match network.mode:
            case "drop":
                return
            case "cut" if network.dice.random() < network.amount:
                self.abort()
            case "slow":
                asyncio.get_running_loop().call_later(network.amount, self.transport.write, data)
            case _:
                self.transport.write(data)

    def abort(self) -> None:
        self.transport.abort()
        if self._far is not None:
            self._far.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.network.near.discard(self)
        if self._task is not None:
            self._task.cancel()
        if self._far is not None:
            self._far.transport.close()


class Far(asyncio.Protocol):
    """The side of the chat."""

    def __init__(self, near: Near) -> None:
        self._near = near

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._near.answer(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._near.transport.close()


async def main(port: int, upstream: int, seed: int) -> None:
    network = Network(port, upstream, random.Random(seed))
    await network.listen()
    print(port, flush=True)
    await follow(network.command)


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
