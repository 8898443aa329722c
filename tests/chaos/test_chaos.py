"""Does bridge keep its promises while everything around it breaks? The short form of `make chaos`, on both engines."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from tests.chaos.database import ENGINES
from tests.chaos.faults import FAULTS
from tests.chaos.story import Options, run_round


async def _round(options: Options) -> None:
    print(f"{options.engine}, seed {options.seed}")
    found = await run_round(options)
    assert not found.sums.problems, found.sums.problems
    assert found.sums.lost == 0
    assert found.sums.promised >= options.events
    assert found.sums.by_state.total() == found.sums.wanted
    missing = set(FAULTS) - set(found.kinds) - {what.split(" (")[0] for what in found.left_out}
    if options.others:
        assert missing <= {"database restarted", "connections cut"}, f"never happened: {missing}"
    else:
        assert found.sums.twice == Counter()


async def test_nothing_is_told_twice_when_nothing_breaks() -> None:
    await _round(Options("sqlite", seed=1, events=600, kills=0, others=0, log_level="info"))


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
async def test_every_promise_is_kept_through_every_fault(engine: str) -> None:
    seed = random.randrange(2**32)
    await _round(Options(engine, seed, events=8_000, kills=12, others=36, outage=10, log_level="info"))
