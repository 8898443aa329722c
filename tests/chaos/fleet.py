"""The processes of bridge, kept running as a platform would: what ends is started again.

A post (`Slot`) has one `bridge serve` after another. What they say goes into a file each, which is searched at the end.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from tests.running import ROOT

AGAIN_AFTER = 0.3  # seconds until a process that ended by itself is started again
STOPS_WITHIN = 10.0  # what the contract says of SIGTERM
STARTS_WITHIN = 30.0  # a guard for busy machines


def free_port(ports: Iterator[int] = count(20_000 + os.getpid() % 5_000)) -> int:  # noqa: B008 - one for all
    """Return a port below those that the system gives to callers.

    Where nobody listens for a moment, a call to such a port can end up at itself, and then nobody can listen there.
    """
    for port in ports:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("never")


async def spawn(*arguments: Any, environ: Mapping[str, str] | None = None, **more: Any) -> asyncio.subprocess.Process:
    known = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environ = known | {"PYTHONPATH": str(ROOT)} | dict(environ or {})
    return await asyncio.create_subprocess_exec(sys.executable, *map(str, arguments), env=environ, **more)


class Neighbour:
    """A process of ours that takes commands by line: the chat, the network. `port` is what it printed first."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process, self.port = process, port

    @classmethod
    async def start(cls, module: str, *arguments: Any) -> Neighbour:
        pipe = asyncio.subprocess.PIPE
        process = await spawn("-m", module, *arguments, stdin=pipe, stdout=pipe)
        assert process.stdout is not None
        return cls(process, int(await process.stdout.readline()))

    async def say(self, command: str) -> None:
        """Send a command and return when it is obeyed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(command.encode() + b"\n")
        await self.process.stdout.readline()

    async def end(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


@dataclass
class Ended:
    """A process that ended without being killed."""

    slot: str
    at: float
    code: int


@dataclass
class Plant:
    """What all processes of a round share."""

    folder: Path
    environ: dict[str, str]
    ended: list[Ended] = field(default_factory=list)
    starts: int = 0


class Slot:
    """One place for a `bridge serve`, and whoever fills it now."""

    def __init__(self, plant: Plant, role: str, name: str) -> None:
        self.role, self.name = role, name
        self.port = free_port()
        self._plant = plant
        self._process: asyncio.subprocess.Process | None = None
        self._wanted = True
        self._down = 0.0
        self._killed = False
        self._listens = False
        self._task = asyncio.create_task(self._keep())

    @property
    def pid(self) -> int | None:
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    @property
    def young(self) -> bool:
        """Whether it may not have come so far as to catch a signal."""
        return not self._listens

    @property
    def delivers(self) -> bool:
        return self.role != "web"

    async def _keep(self) -> None:
        while self._wanted:
            self._killed, self._down, self._listens = False, AGAIN_AFTER, False
            with (self._plant.folder / "logs" / f"{self.name}.txt").open("ab") as log:
                self._process = await spawn(
                    *("-m", "tests.chaos.skewed", "serve", "--config", self._plant.folder / "config.yaml"),
                    *("--host", "127.0.0.1", "--port", self.port, "--role", self.role),
                    environ=self._plant.environ,
                    cwd=self._plant.folder,
                    stdout=log,
                    stderr=log,
                )
            self._plant.starts += 1
            coming = asyncio.create_task(self._come())
            code = await self._process.wait()
            coming.cancel()
            if self._wanted and not self._killed:
                self._plant.ended.append(Ended(self.name, time.time(), code))
            if self._wanted:
                await asyncio.sleep(self._down)

    def kill(self, down: float) -> bool:
        """Kill it, to be started again after `down` seconds; return whether there was anything to kill."""
        if self.pid is None:
            return False
        self._killed, self._down = True, down
        os.kill(self.pid, signal.SIGKILL)
        return True

    async def there(self) -> None:
        """Return when there is a process, or after a while without one."""
        for _ in range(100):
            if self.pid is not None:
                return
            await asyncio.sleep(0.05)

    def signal(self, number: int) -> None:
        if self.pid is not None:
            os.kill(self.pid, number)

    async def _come(self) -> None:
        await self.listening()
        self._listens = True

    async def listening(self) -> None:
        async with asyncio.timeout(STARTS_WITHIN):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    await asyncio.sleep(0.05)
                    continue
                writer.close()
                return

    async def stop(self) -> int | None:
        """End it cleanly for good; return its exit code, None when it was killed or not there. Late is -1."""
        self._wanted = False
        process = self._process
        if process is None or self.pid is None or self._killed:
            self._task.cancel()
            return None
        young = self.young
        self.signal(signal.SIGTERM)
        try:
            code = await asyncio.wait_for(process.wait(), STOPS_WITHIN + 2)
        except TimeoutError:
            process.kill()
            return -1
        return None if self._killed or (young and code == -signal.SIGTERM) else code

    async def end(self) -> None:
        """End it at once, whatever it does."""
        self._wanted = False
        if self.pid is not None:
            self.signal(signal.SIGKILL)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


class Fleet:
    """All posts. `roles` is how many of which: one ``all``, or webs and workers."""

    def __init__(self, plant: Plant, roles: tuple[str, ...]) -> None:
        self.plant = plant
        self._count = 0
        self.slots = [self._slot(role) for role in roles]
        self.late: list[str] = []  # clean stops that were none

    def _slot(self, role: str) -> Slot:
        self._count += 1
        return Slot(self.plant, role, f"{role}-{self._count}")

    def ports(self) -> list[int]:
        return [slot.port for slot in self.slots if slot.role != "worker" and slot.pid is not None]

    async def hand_over(self, slot: Slot) -> None:
        """Start another one beside `slot`, and stop `slot` as soon as the new one listens: a deploy."""
        new = self._slot(slot.role)
        self.slots.append(new)
        await new.listening()
        self.slots.remove(slot)
        self._judge(slot, await slot.stop())

    def _judge(self, slot: Slot, code: int | None) -> None:
        if code not in (0, None):
            self.late.append(f"{slot.name} ended with {code} after SIGTERM")

    async def stop(self) -> None:
        for slot, code in zip(self.slots, await asyncio.gather(*(slot.stop() for slot in self.slots)), strict=True):
            self._judge(slot, code)

    async def end(self) -> None:
        await asyncio.gather(*(slot.end() for slot in self.slots))
