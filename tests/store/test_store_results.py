"""Are the results of a period read back in the order of their arrival, and nothing else, in every engine?"""

from __future__ import annotations

import sqlite3
from datetime import timedelta

import asyncpg

from bridge.event import Kind
from bridge.store import _sqlite_look, rows
from bridge.store import postgres as engine
from bridge.store.base import Store
from tests.arrivals import ALL, NOON, after, arrival, event, task
from tests.store.conftest import OpenStore

DAY = timedelta(days=1)


async def accept(store: Store, *told: tuple[int, str, float]) -> None:
    """Runs with a status, so many seconds after noon."""
    for run, status, at in told:
        await store.accept(arrival(event(run, status), f"{run}-{status}", at), ALL)


async def test_only_results_are_read_and_the_oldest_arrival_first(store: Store) -> None:
    await accept(store, (1, "running", 0), (1, "failure", 5), (2, "running", 6), (2, "cancelled", 7), (3, "success", 3))
    await store.accept(arrival(task(4, "t", "failure"), "task", 8), ALL)
    await store.accept(arrival(event(5, kind=Kind.PUSH, title='"change":"x"'), "push", 9), ALL)
    found = await store.results(NOON, NOON + DAY, 100)
    assert [one.id for one in found] == ["e5", "e2"]
    assert [one.event.status for one in found if one.event] == ["success", "failure"]


async def test_a_period_has_its_first_moment_and_not_its_last(store: Store) -> None:
    await accept(store, *((run, "success", float(run)) for run in range(5)))
    found = await store.results(after(1), after(3), 100)
    assert [one.received_at for one in found] == [after(1), after(2)]


async def test_slices_leave_out_nothing_and_tell_nothing_twice(store: Store) -> None:
    await accept(store, *((run, "success", float(run // 4)) for run in range(10)))  # several in one moment
    found = await store.results(NOON, NOON + DAY, 3)
    ids = [one.id for one in found]
    while found:
        found = await store.results(NOON, NOON + DAY, 3, after=found[-1])
        ids += [one.id for one in found]
    assert ids == [f"e{number}" for number in range(1, 11)]


async def test_one_that_told_nothing_new_is_no_second_result(store: Store) -> None:
    await accept(store, (1, "failure", 1))
    await store.accept(arrival(event(1, "failure"), "again", 2), ALL)
    assert [one.id for one in await store.results(NOON, NOON + DAY, 100)] == ["e1"]


async def test_the_period_is_found_by_its_index(reopen: OpenStore, url: str) -> None:
    await reopen()
    given = (NOON.timestamp(), 0, (NOON + DAY).timestamp(), rows.CHANGE, 10)
    if url.startswith("postgresql:"):
        connection = await asyncpg.connect(url)
        try:
            await connection.execute("SET enable_seqscan = off")
            plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {engine.RESULTS}", *given))
        finally:
            await connection.close()
    else:
        db = sqlite3.connect(url.removeprefix("sqlite:///"))
        plan = "\n".join(row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {_sqlite_look.RESULTS}", given))
        db.close()
    assert "events_received" in plan
    assert "TEMP B-TREE" not in plan
