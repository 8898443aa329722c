"""The long form: rounds on both engines in turn, until there were enough events, kills or minutes.

    python -m tests.chaos [--events N] [--kills N] [--minutes M] [--seed S] [--engine sqlite|postgres] [--no-page]

What ``make chaos`` runs. Each round has a seed of its own, made from the one given (or drawn, and printed); the same
seed, events and kills repeat the plan. Exit 1 when anything is not explained: then the folder of that round is kept.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections import deque
from collections.abc import Iterator
from functools import partial
from itertools import count

from tests.chaos.database import ENGINES
from tests.chaos.report import text, write
from tests.chaos.story import Options, Round, run_round

ROUND = 100_000  # events of one round at most
OUTAGE = 600.0  # seconds of the long outage, once in a run that is long enough
OUTAGE_OTHERWISE = 15.0
LONG = 1_000_000  # events from which on a run is that long


def rounds(given: argparse.Namespace, dice: random.Random) -> Iterator[Options]:
    """Yield what to run; each engine in turn, the sums as given.

    A run that is long enough begins with a round of three shares on each: the long outage fits into that one.
    """
    engines = [given.engine] if given.engine else list(ENGINES)
    number = max(len(engines), -(-given.events // ROUND))
    long = given.events >= LONG and not given.minutes
    for index in count() if given.minutes else range(number - 2 * len(engines) if long else number):
        shares = 3 if long and index < len(engines) else 1
        kills = -(-given.kills * shares // number)
        yield Options(
            engine=engines[index % len(engines)],
            seed=dice.randrange(2**32),
            events=given.events * shares // number,
            kills=kills,
            others=max(18, kills // 2),
            outage=OUTAGE if shares > 1 else OUTAGE_OTHERWISE,
        )


async def run(given: argparse.Namespace) -> list[Round]:
    """Run the engines beside each other, the rounds of one after each other."""
    seed = given.seed if given.seed is not None else random.randrange(2**32)
    print(f"seed {seed}")
    ends = time.monotonic() + given.minutes * 60 if given.minutes else None
    planned = rounds(given, random.Random(seed))
    waiting: dict[str, deque[Options]] = {engine: deque() for engine in ENGINES}

    def next_of(engine: str) -> Options | None:
        """The rounds are drawn in one order, so that a seed means the same plan however fast the engines are."""
        while not waiting[engine]:
            drawn = next(planned, None)
            if drawn is None:
                return None
            waiting[drawn.engine].append(drawn)
        return waiting[engine].popleft()

    async def all_of(engine: str) -> list[Round]:
        done: list[Round] = []
        while (ends is None or time.monotonic() < ends) and (options := next_of(engine)):
            _say(engine, f"seed {options.seed}: {options.events:,} events, {options.kills} kills")
            done.append(await run_round(options, say=partial(_say, engine)))
            _tell(done[-1])
        return done

    engines = [given.engine] if given.engine else list(ENGINES)
    return [one for done in await asyncio.gather(*map(all_of, engines)) for one in done]


def _say(engine: str, line: str) -> None:
    print(f"{engine}: {line.strip()}", flush=True)


def _tell(one: Round) -> None:
    sums = one.sums
    print(
        f"  {one.seconds:.0f} s: {sums.promised:,} events, {sums.wanted:,} deliveries ({dict(sums.by_state)}), "
        f"{one.kinds['killed']} kills, lost {sums.lost}, twice {dict(sums.twice)}, "
        f"all delivered {one.drained:.1f} s after the last fault"
    )
    for problem in sums.problems:
        print(f"  NOT EXPLAINED: {problem}")
    if one.folder is not None:
        print(f"  the folder is kept: {one.folder}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Break everything around bridge, and count.")
    parser.add_argument("--events", type=int, default=LONG)
    parser.add_argument("--kills", type=int, default=1_000)
    parser.add_argument("--minutes", type=float, default=0, help="go on for so long, whatever the sums are then")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--engine", choices=list(ENGINES))
    parser.add_argument("--no-page", action="store_true", help="leave docs/reliability.md as it is")
    given = parser.parse_args()
    done = asyncio.run(run(given))
    asked = {"EVENTS": given.events, "KILLS": given.kills, "MINUTES": given.minutes, "ENGINE": given.engine}
    said = "".join(
        f" {name}={value:g}" if name == "MINUTES" else f" {name}={value}" for name, value in asked.items() if value
    )
    results = text(done, f"make chaos{said}" + (f" SEED={given.seed}" if given.seed is not None else ""))
    print(f"\n{results}")
    if not given.no_page:
        write(results)
    return int(any(one.sums.problems for one in done))


if __name__ == "__main__":
    sys.exit(main())
