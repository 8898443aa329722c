"""What goes wrong, when, and how it is put right again. The plan is made by dice before anything runs.

Each fault is a function of the scene; what it breaks is free again when it returns. Faults overlap wherever they break
different things. A plan speaks of the progress of the round (the share of its events that are accepted), not of
seconds, so that a seed repeats it on a slower machine.
"""

from __future__ import annotations

import asyncio
import random
import signal
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.database import Database
from tests.chaos.fleet import Fleet, Neighbour, Slot
from tests.chaos.skewed import LEASE_BEYOND_TIMEOUT

BEYOND_LEASE = LEASE_BEYOND_TIMEOUT.total_seconds() + 1.0 + 1.5  # the request's timeout, and a margin
OUTAGE_AT = "EACH-0"  # the channel that the long outage is for


@dataclass(frozen=True)
class Fault:
    """What was done, from when to when, by the clock of the book. `what` is a process for those that hit one."""

    kind: str
    start: float
    end: float
    what: str = ""


@dataclass(frozen=True)
class Planned:
    """A fault to come: at which progress, for how long, and a number in [0, 1) for whatever else is left to chance."""

    at: float
    kind: str
    seconds: float
    chance: float


@dataclass
class Scene:
    """All that can be broken."""

    fleet: Fleet
    chat: Neighbour
    network: Neighbour
    database: Database
    clock: Path
    configure: Callable[
        [int], None
    ]  # write a good configuration, one that differs by the number; or, below 0, a bad one
    done: list[Fault] = field(default_factory=list)
    busy: dict[str, asyncio.Lock] = field(default_factory=dict)
    edition: int = 0

    @asynccontextmanager
    async def breaking(self, part: str, kind: str, what: str = "") -> AsyncIterator[None]:
        """Have `part` for oneself, and note how long it was broken."""
        async with self.busy.setdefault(part, asyncio.Lock()):
            start = time.time()
            try:
                yield
            finally:
                self.done.append(Fault(kind, start, time.time(), what))

    def slot(self, chance: float, slots: list[Slot] | None = None) -> Slot:
        slots = slots if slots is not None else self.fleet.slots
        return slots[int(chance * len(slots))]


Break = Callable[[Scene, Planned], Awaitable[None]]


# -- the network between bridge and the chat


def network(command: str) -> Break:
    async def fault(scene: Scene, plan: Planned) -> None:
        async with scene.breaking("network", plan.kind):
            await scene.network.say(command)
            await asyncio.sleep(plan.seconds)
            await scene.network.say("pass")

    return fault


# -- the chat


async def limited(scene: Scene, plan: Planned) -> None:
    async with scene.breaking("limits", plan.kind):
        await scene.chat.say("limited 0.8 1")
        await asyncio.sleep(plan.seconds)
        await scene.chat.say("limited 0 1")


async def broken(scene: Scene, plan: Planned) -> None:
    async with scene.breaking("chat", plan.kind):
        await scene.chat.say("broken all")
        await asyncio.sleep(plan.seconds)
        await scene.chat.say("broken none")


async def long_outage(scene: Scene, plan: Planned) -> None:
    """One channel answers 500 for a long while; the others are to notice nothing."""
    async with scene.breaking("chat", plan.kind):
        await scene.chat.say(f"broken {OUTAGE_AT}")
        await asyncio.sleep(plan.seconds)
        await scene.chat.say("broken none")


# -- clocks


def jump(least: float, most: float) -> Break:
    async def fault(scene: Scene, plan: Planned) -> None:
        """Set the wall clock of all processes, and back: two jumps."""
        async with scene.breaking("clock", plan.kind):
            _set_clock(scene, least + plan.chance * (most - least))
            await asyncio.sleep(plan.seconds)
            _set_clock(scene, 0.0)

    return fault


def _set_clock(scene: Scene, offset: float) -> None:
    with scene.clock.open("r+b") as file:  # in place: it is mapped into every process
        file.write(struct.pack("d", offset))


# -- the database


async def disk_full(scene: Scene, plan: Planned) -> None:
    async with scene.breaking("database", plan.kind):
        scene.database.disk.fill()
        await asyncio.sleep(plan.seconds)
        await scene.database.heal()


async def database_restarted(scene: Scene, plan: Planned) -> None:
    async with scene.breaking("database", plan.kind):
        await scene.database.restart(plan.seconds)


async def connections_cut(scene: Scene, plan: Planned) -> None:
    async with scene.breaking("database", plan.kind):
        await scene.database.disconnect()


# -- processes


async def stopped(scene: Scene, plan: Planned) -> None:
    """Hold one worker beyond its leases: what it was sending is somebody else's when it goes on."""
    async with scene.breaking("process", plan.kind):
        slot = scene.slot(plan.chance, [slot for slot in scene.fleet.slots if slot.delivers])
        pid = slot.pid
        slot.signal(signal.SIGSTOP)
        await asyncio.sleep(BEYOND_LEASE)
        if slot.pid == pid:
            slot.signal(signal.SIGCONT)


async def reloaded(scene: Scene, plan: Planned) -> None:
    async with scene.breaking("configuration", plan.kind):
        scene.edition += 1
        scene.configure(scene.edition)
        _hang_up(scene, plan)


async def reloaded_badly(scene: Scene, plan: Planned) -> None:
    """A file that cannot be read: what runs goes on, what starts cannot, until it is mended."""
    async with scene.breaking("configuration", plan.kind):
        scene.configure(-1)
        _hang_up(scene, plan)
        await asyncio.sleep(plan.seconds)
        scene.configure(scene.edition)
        _hang_up(scene, plan)


def _hang_up(scene: Scene, plan: Planned) -> None:
    """Half of the time the processes have to see for themselves that the file has changed."""
    if plan.chance < 0.5:
        for slot in scene.fleet.slots:
            if not slot.young:  # before it can catch a signal, this one ends it
                slot.signal(signal.SIGHUP)


async def deployed(scene: Scene, plan: Planned) -> None:
    async with scene.breaking("deploy", plan.kind):
        await scene.fleet.hand_over(scene.slot(plan.chance))


async def killed(scene: Scene, plan: Planned) -> None:
    """`kill -9`: one process, or all of one role, or all; some of them once more while they start."""
    one = scene.slot(plan.chance * 100 % 1)
    match int(plan.chance * 10):
        case 0:
            victims = list(scene.fleet.slots)
        case 1:
            victims = [slot for slot in scene.fleet.slots if slot.role == one.role]
        case _:
            victims = [one]
    await one.there()
    _kill(scene, plan, victims)
    if plan.chance * 1_000 % 1 < KILLED_AS_IT_STARTS:
        await asyncio.sleep(plan.seconds + plan.chance * 10_000 % 1)
        _kill(scene, plan, [one])


def _kill(scene: Scene, plan: Planned, victims: list[Slot]) -> None:
    for slot in victims:
        if slot.kill(down=plan.seconds):
            scene.done.append(Fault(plan.kind, time.time(), time.time(), slot.name))


# What is planned: who breaks, and for how many seconds.
FAULTS: dict[str, tuple[Break, float, float]] = {
    "network refused": (network("refuse"), 0.5, 2.5),
    "network dropped": (network("drop"), 0.5, 2.5),
    "network slow": (network("slow 0.3"), 1.0, 3.0),
    "answers too late": (network("slow 1.6"), 1.5, 3.0),
    "answers cut off": (network("cut 0.3"), 0.5, 2.0),
    "429 storm": (limited, 1.5, 3.0),
    "500 everywhere": (broken, 1.0, 4.0),
    "clock forwards": (jump(60, 7_200), 0.5, 2.0),
    "clock backwards": (jump(-7_200, -60), 0.5, 2.0),
    "disk full": (disk_full, 0.5, 2.5),
    "database restarted": (database_restarted, 0.0, 2.0),
    "connections cut": (connections_cut, 0.0, 0.0),
    "worker stopped": (stopped, 0.0, 0.0),
    "reloaded": (reloaded, 0.0, 0.0),
    "bad configuration": (reloaded_badly, 0.5, 2.0),
    "deploy": (deployed, 0.0, 0.0),
    "killed": (killed, 0.0, 0.4),
    "long outage": (long_outage, 0.0, 0.0),
}
ENGINES_OWN = ("disk full", "database restarted", "connections cut")
NOT_DRAWN = ("killed", "long outage")
KILLED_AS_IT_STARTS = 0.2  # of the kills are followed by another within a second


def plan(dice: random.Random, kills: int, others: int, outage: float, breaks: tuple[str, ...]) -> list[Planned]:
    """Return what will go wrong, in order: every kind in its turn, at moments of chance."""
    kinds = [kind for kind in FAULTS if kind not in NOT_DRAWN and (kind not in ENGINES_OWN or kind in breaks)]
    found = [_draw(dice, dice.random() * 0.95, "killed") for _ in range(kills)]
    while others > 0:
        some = dice.sample(kinds, min(others, len(kinds)))
        found += [_draw(dice, 0.03 + dice.random() * 0.87, kind) for kind in some]
        others -= len(some)
    if outage:
        found.append(Planned(0.05, "long outage", outage, 0.0))
    return sorted(found, key=lambda one: one.at)


def _draw(dice: random.Random, at: float, kind: str) -> Planned:
    _, least, most = FAULTS[kind]
    return Planned(at, kind, dice.uniform(least, most), dice.random())
