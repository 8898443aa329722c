"""One round: start everything, post and break, put it right, wait until all is delivered, stop, and count.

A round that cannot be explained keeps its folder: book, logs, database, plan.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import struct
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.database import ENGINES, WAITING, Database, first, keep
from tests.chaos.faults import FAULTS, Fault, Planned, Scene, plan
from tests.chaos.fleet import Fleet, Neighbour, Plant, free_port
from tests.chaos.reconcile import Sums, reconcile
from tests.chaos.senders import PLACES, Crowd, Promises
from tests.fakes.slack import TOKEN
from tests.running import SOURCES_TEXT

HANGS_AFTER = 60.0  # seconds without any delivery while some wait and nothing is broken
STALLED_AFTER = 45.0  # seconds without an accepted event: longer than any fault
KILLS_APART = 0.1  # seconds at least


@dataclass(frozen=True)
class Options:
    """How large a round is. `per_second` 0 is as fast as the answers come."""

    engine: str
    seed: int
    events: int
    kills: int
    others: int
    outage: float = 0.0
    senders: int = 24
    per_second: float = 0.0
    until: float | None = None  # a time at which no new run is begun any more
    log_level: str = "warning"


@dataclass
class Round:
    """What happened in a round."""

    options: Options
    version: str = ""
    folder: Path | None = None  # kept, when something is not explained
    left_out: list[str] = field(default_factory=list)
    promises: Promises = field(default_factory=Promises)
    faults: list[Fault] = field(default_factory=list)
    sums: Sums = field(default_factory=Sums)
    seconds: float = 0.0
    drained: float = 0.0  # seconds from the end of the last fault until all was delivered
    starts: int = 0

    @property
    def kinds(self) -> Counter[str]:
        return Counter(fault.kind for fault in self.faults)


def configuration(port: int, edition: int) -> str:
    """Return a configuration; editions differ in a limit that nothing reaches, so that couriers are replaced."""

    def place(name: str, more: str = "") -> str:
        options = f'token: {TOKEN}, channel: "#{name}", api_url: "http://127.0.0.1:{port}/api/", timeout: 1s'
        return f"  {name}: {{type: slack, {options}, rate: {500 + edition % 2}/s{more}}}\n"

    def rule(kind: str, number: int, to: str, more: str) -> str:
        return f"  - {{name: {kind} {number}, match: {{repository: acme/{kind}-{number}{more}}}, to: {to}"

    places = [place(f"{kind}-{number}") for kind in ("living", "each") for number in range(PLACES)]
    places += [place("drop", ", when_unsure: drop"), place("brittle", ", attempts: 3")]
    others = {0: "[each-0, drop]", 1: "[each-1, brittle]"}
    rules = [
        rule("living", number, f"living-{number}", ", kind: pipeline") + ", live: true}" for number in range(PLACES)
    ]
    for number in range(PLACES):
        rules.append(rule("each", number, others.get(number, f"each-{number}"), ", kind: [pipeline, task]") + "}")
    return SOURCES_TEXT + f"# edition {edition}\ndestinations:\n{''.join(places)}rules:\n" + "\n".join(rules) + "\n"


async def run_round(options: Options, say: Callable[[str], None] = print) -> Round:
    """Run one round; `sums.problems` is empty when all is explained."""
    folder = Path(tempfile.mkdtemp(prefix=f"bridge-chaos-{options.engine}-"))
    folder.chmod(0o755)  # PostgreSQL runs as somebody else
    (folder / "logs").mkdir()
    result = Round(options)
    began = time.monotonic()
    database: Database = await asyncio.to_thread(ENGINES[options.engine], folder)
    try:
        await _broken_round(options, result, folder, database, say)
    except BaseException:
        result.folder = folder
        await asyncio.to_thread(keep, database, folder / "kept")
        say(f"  the folder is kept: {folder}")
        raise
    else:
        if result.sums.problems:
            result.folder = folder
            await asyncio.to_thread(keep, database, folder / "kept")
    finally:
        await database.close()
        result.seconds = time.monotonic() - began
        if result.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    return result


async def _broken_round(
    options: Options, result: Round, folder: Path, database: Database, say: Callable[[str], None]
) -> None:
    dice = random.Random(options.seed)
    planned = plan(dice, options.kills, options.others, options.outage, database.breaks)
    result.left_out = [] if database.disk.can_be_full else ["disk full (it takes root to mount a small disk)"]
    result.version = await database.version()
    chat = await Neighbour.start("tests.chaos.chat", folder / "book")
    network = await Neighbour.start("tests.chaos.network", free_port(), chat.port, options.seed)
    scene = _scene(options, folder, database, chat, network, dice)
    crowd = Crowd(options.senders, options.per_second or 1e9, dice, scene.fleet.ports)
    result.promises, result.faults = crowd.promises, scene.done
    try:
        await asyncio.gather(*(slot.listening() for slot in scene.fleet.slots))
        async with asyncio.TaskGroup() as group:
            group.create_task(crowd.post())
            group.create_task(_break(scene, crowd, options, planned))
            progress = group.create_task(_tell(crowd, scene, options, say))
            group.create_task(_watch(crowd, options, progress))
        healed = time.monotonic()
        await _drained(database, say)
        result.drained = time.monotonic() - healed
        await scene.fleet.stop()
        result.starts = scene.fleet.plant.starts
        result.sums = await reconcile(folder, database, crowd.promises, scene.done, scene.fleet)
    finally:
        (folder / "faults.json").write_text(json.dumps([vars(fault) for fault in scene.done], indent=1))
        await scene.fleet.end()
        await asyncio.gather(chat.end(), network.end())


def _scene(
    options: Options, folder: Path, database: Database, chat: Neighbour, network: Neighbour, dice: random.Random
) -> Scene:
    clock, path = folder / "clock", folder / "config.yaml"
    clock.write_bytes(struct.pack("d", 0.0))

    def configure(edition: int) -> None:
        text = configuration(network.port, edition) if edition >= 0 else "version: 1\nrules: [this is no rule\n"
        (folder / "config.new").write_text(text)
        (folder / "config.new").replace(path)

    configure(0)
    environ = {
        "DATABASE_URL": database.url,
        "CHAOS_CLOCK": str(clock),
        "LOG_FORMAT": "json",
        "LOG_LEVEL": options.log_level,
    }
    fleet = Fleet(Plant(folder, environ), database.roles)
    return Scene(fleet, chat, network, database, clock, configure)


async def _break(scene: Scene, crowd: Crowd, options: Options, planned: list[Planned]) -> None:
    """Carry out the plan; return when everything is right again."""
    kills = [one for one in planned if one.kind == "killed"]
    others = [one for one in planned if one.kind != "killed"]
    async with asyncio.TaskGroup() as group:
        group.create_task(_kill_in_turn(scene, crowd, options, kills))
        for one in others:
            await _reached(crowd, options, one.at)
            group.create_task(FAULTS[one.kind][0](scene, one))
    await scene.database.heal()


async def _kill_in_turn(scene: Scene, crowd: Crowd, options: Options, kills: list[Planned]) -> None:
    for one in kills:
        await _reached(crowd, options, one.at)
        await FAULTS[one.kind][0](scene, one)
        await asyncio.sleep(KILLS_APART)


async def _reached(crowd: Crowd, options: Options, at: float) -> None:
    while crowd.promises.events < at * options.events and not crowd.enough:
        await asyncio.sleep(0.02)


async def _watch(crowd: Crowd, options: Options, progress: asyncio.Task[None]) -> None:
    """Let the senders come to an end when there were enough events, or the time is over."""
    last, at = 0, time.monotonic()
    while crowd.promises.events < options.events and not (options.until and time.monotonic() > options.until):
        await asyncio.sleep(0.02)
        if crowd.promises.events > last:
            last, at = crowd.promises.events, time.monotonic()
        if time.monotonic() > at + STALLED_AFTER:
            raise AssertionError(f"nothing was accepted for {STALLED_AFTER:g} s: {crowd.promises.answers}")
    crowd.enough = True
    progress.cancel()


async def _tell(crowd: Crowd, scene: Scene, options: Options, say: Callable[[str], None]) -> None:
    began = time.monotonic()
    while True:
        await asyncio.sleep(10)
        kinds = Counter(fault.kind for fault in scene.done)
        seconds = time.monotonic() - began
        say(
            f"  {seconds:4.0f} s: {crowd.promises.events:,} of {options.events:,} events, {kinds['killed']} kills, "
            f"{kinds.total() - kinds['killed']} other faults"
        )


async def _drained(database: Database, say: Callable[[str], None]) -> None:
    """Return when nothing waits; what waits has to become less all the time."""
    least, since = 10**9, time.monotonic()
    told = since
    while waiting := await first(database, WAITING):
        now = time.monotonic()
        if waiting < least:
            least, since = waiting, now
        if now > since + HANGS_AFTER:
            raise AssertionError(f"{waiting} deliveries wait, and for {HANGS_AFTER:g} s none of them is delivered")
        if now > told + 10:
            told = now
            say(f"  {waiting:,} deliveries wait")
        await asyncio.sleep(0.2)
