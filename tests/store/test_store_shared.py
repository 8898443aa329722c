"""What do several processes on one store share, and do they keep to it? Limits, conditions, leadership."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from bridge.errors import StoreUnavailable
from bridge.store import open_store
from bridge.store.base import Condition, Limit, Limits, Store
from bridge.store.postgres import PostgresStore
from tests.arrivals import ALL, LEASE, NOON, after, arrival, event
from tests.store.conftest import OpenStore
from tests.store.pooler import pgbouncer


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[tuple[PostgresStore, PostgresStore]]:
    """Two processes' stores on one database."""
    one = await PostgresStore.open(postgres_url, worker=True)
    other = await PostgresStore.open(postgres_url, worker=True)
    yield one, other
    await one.close()
    await other.close()


def limits(store: Store) -> Limits:
    assert store.limits is not None
    return store.limits


# -- limits


async def test_workers_share_one_burst_and_then_one_pace(both: tuple[Store, Store]) -> None:
    slow = [Limit("slack:post", 1 / 60, 4)]
    taken = [await limits(both[number % 2]).take(slow) for number in range(6)]
    assert taken[:4] == [0.0] * 4
    assert all(59 < seconds <= 60 for seconds in taken[4:]), "and what had to wait counted nothing"


async def test_workers_together_are_no_faster_than_one(both: tuple[Store, Store]) -> None:
    quick = [Limit("quick", 200, 1)]
    allowed: list[float] = []

    async def hurry(store: Store, until: float) -> None:
        while time.monotonic() < until:
            if await limits(store).take(quick) <= 0:
                allowed.append(time.monotonic())

    began = time.monotonic()
    await asyncio.gather(*(hurry(store, began + 0.5) for store in both for _ in range(2)))
    took = time.monotonic() - began
    assert 5 < len(allowed) <= 200 * took + 2


async def test_a_pause_that_one_heard_holds_for_all_and_ends(both: tuple[Store, Store]) -> None:
    one, other = map(limits, both)
    edits = [Limit("slack:edit", 1000, 10)]
    await one.pause(edits, 0.2)
    assert 0 < await other.take(edits) <= 0.2
    await one.pause(edits, 0.01)
    assert await other.take(edits) > 0.05, "a shorter pause ends no longer one"
    while (seconds := await other.take(edits)) > 0:
        await asyncio.sleep(seconds)


async def test_all_limits_are_taken_or_none(both: tuple[Store, Store]) -> None:
    one, other = map(limits, both)
    wide, narrow = Limit("workspace", 0.001, 3), Limit("channel", 0.001, 1)
    assert await one.take([wide, narrow]) == 0.0
    assert [await other.take([narrow, wide]) > 0 for _ in range(5)] == [True] * 5
    assert [await one.take([wide]) > 0 for _ in range(3)] == [False, False, True]


async def test_no_limit_is_no_wait(both: tuple[Store, Store]) -> None:
    assert await limits(both[0]).take([]) == 0.0


async def test_of_two_that_share_a_limit_the_slower_holds(both: tuple[Store, Store]) -> None:
    one = limits(both[0])
    quick, slow = Limit("one", 1000, 5), Limit("one", 0.001, 2)
    assert [await one.take([slow]), await one.take([quick])] == [0.0, 0.0]
    assert await one.take([quick]) > 100


async def test_limits_in_any_order_never_wait_for_each_other_in_a_circle(both: tuple[Store, Store]) -> None:
    names = [Limit(f"limit {number}", 1e6, 1000) for number in range(4)]

    async def take(store: Store, seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(40):
            await limits(store).take(dice.sample(names, 3))
            await limits(store).pause(dice.sample(names, 2), 0.0)

    await asyncio.gather(*(take(both[seed % 2], seed) for seed in range(8)))


async def test_taking_waits_for_no_sync(both: tuple[PostgresStore, PostgresStore], postgres_url: str) -> None:
    """A million messages would cost a million syncs. What a crash forgets is over before the server is back."""
    one, *_ = both
    quick = [Limit("quick", 1e6, 1000)]
    await one.limits.take(quick)  # type: ignore[union-attr] # makes the row
    connection = await asyncpg.connect(postgres_url)
    try:
        unsynced = 0
        for _ in range(50):
            await one.limits.take(quick)  # type: ignore[union-attr]
            unsynced += await connection.fetchval("SELECT pg_current_wal_insert_lsn() > pg_current_wal_flush_lsn()")
        assert unsynced > 5, "it returned before its record was flushed"
        settings = await one._wire.ask(lambda line: line.fetchval("SHOW synchronous_commit"))
        assert settings == "on", "for everything else"
    finally:
        await connection.close()


# -- conditions


def condition(ok: bool, at: float = 0, **more: object) -> Condition:
    return Condition(ok=ok, text="made up", at=after(at), **more)  # type: ignore[arg-type]


async def test_a_condition_is_kept_as_it_was_told_last(store: Store, reopen: OpenStore) -> None:
    assert await store.conditions() == {}
    down = condition(False, failures=3, rest_until=after(30))
    await store.report("builds", down)
    await store.report("other", condition(True))
    assert await (await reopen()).conditions() == {"builds": down, "other": condition(True)}
    await store.report("builds", condition(True, 5))
    assert (await store.conditions())["builds"] == condition(True, 5)


async def test_a_condition_may_say_anything(store: Store) -> None:
    await store.report("builds", Condition(ok=False, text="'; \0 \ud800 naïve", at=NOON))
    assert "naïve" in (await store.conditions())["builds"].text


async def test_nothing_is_claimed_anywhere_while_a_destination_rests(both: tuple[Store, Store]) -> None:
    one, other = both
    await one.accept(arrival(event(1), "a"), ALL)
    await one.report("builds", condition(False, failures=1, rest_until=after(30)))
    assert await other.claim("builds", after(29), LEASE, 9) == []
    assert len(await other.claim("builds", after(31), LEASE, 9)) == 1


async def test_a_rest_that_a_wrong_clock_has_dated_stops_nobody_for_ever(both: tuple[Store, Store]) -> None:
    one, other = both
    await one.accept(arrival(event(1), "a"), ALL)
    await one.report("builds", condition(False, failures=1, rest_until=after(10_000_000)))
    assert len(await other.claim("builds", after(1), LEASE, 9)) == 1


# -- who leads


async def test_one_process_leads_and_another_takes_over_when_it_is_gone(both: tuple[Store, Store]) -> None:
    one, other = both
    assert [await one.lead(), await other.lead(), await one.lead(), await other.lead()] == [True, False, True, False]
    await one.close()
    assert await other.lead() is True


async def test_who_loses_his_connection_leads_no_longer(
    both: tuple[PostgresStore, PostgresStore], postgres_url: str
) -> None:
    one, other = both
    assert await one.lead() is True
    pid = await one._ears.ask(lambda connection: connection.fetchval("SELECT pg_backend_pid()"))
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("SELECT pg_terminate_backend($1, 5000)", pid)
    await connection.close()
    assert await other.lead() is True
    with pytest.raises(StoreUnavailable):
        await one.lead()


async def test_a_file_has_one_worker_and_it_leads(tmp_path: Path) -> None:
    store = await open_store(f"sqlite:///{tmp_path}/bridge.db")
    assert (await store.lead(), store.limits) == (True, None)
    await store.close()


# -- poolers


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["transaction", "statement"])
async def test_a_pooler_of_transactions_is_refused_with_what_to_do(
    postgres_url: str, tmp_path: Path, mode: str
) -> None:
    with pgbouncer(tmp_path, postgres_url, mode) as url:
        with pytest.raises(StoreUnavailable, match="pool_mode = session"):
            await open_store(url)
        busy = [await asyncpg.connect(postgres_url) for _ in range(3)]
        with pytest.raises(StoreUnavailable, match="pool_mode = session"):
            await open_store(url)
        for connection in busy:
            await connection.close()


@pytest.mark.slow
async def test_a_pooler_of_sessions_is_fine(postgres_url: str, tmp_path: Path) -> None:
    with pgbouncer(tmp_path, postgres_url, "session") as url:
        store = await open_store(url, worker=True)
        accepted = await store.accept(arrival(event(1), "a"), ALL)
        assert accepted.destinations == ("builds",)
        assert await store.lead() is True
        await store.close()
