"""Are the results of a period read back in the order of their arrival, and nothing else, in every engine?"""

from __future__ import annotations

import sqlite3
from datetime import timedelta

import asyncpg
import pytest

from bridge.event import Kind
from bridge.store import _sqlite_look, rows
from bridge.store import postgres as engine
from bridge.store.base import Store
from tests.arrivals import ALL, NOON, after, arrival, event, task
from tests.store.conftest import OpenStore, write

DAY = timedelta(days=1)


async def accept(store: Store, *told: tuple[int, str, float]) -> None:
    """Runs with a status, so many seconds after noon."""
    for run, status, at in told:
        await store.accept(arrival(event(run, status), f"{run}-{status}", at), ALL)


async def ids(store: Store, since: float = 0, until: float = 86_400) -> list[str | None]:
    return [one.id async for one in store.results(after(since), after(until))]


async def test_only_results_are_read_and_the_oldest_arrival_first(store: Store) -> None:
    await accept(store, (1, "running", 0), (1, "failure", 5), (2, "running", 6), (2, "cancelled", 7), (3, "success", 3))
    await store.accept(arrival(task(4, "t", "failure"), "task", 8), ALL)
    await store.accept(arrival(event(5, kind=Kind.PUSH, title='"change":"x"'), "push", 9), ALL)
    found = [one async for one in store.results(NOON, NOON + DAY)]
    assert [(one.id, one.status, one.received_at) for one in found] == [
        ("e5", "success", after(3)),
        ("e2", "failure", after(5)),
    ]


async def test_a_period_has_its_first_moment_and_not_its_last(store: Store) -> None:
    await accept(store, *((run, "success", float(run)) for run in range(5)))
    assert await ids(store, 1, 3) == ["e2", "e3"]


async def test_slices_leave_out_nothing_and_tell_nothing_twice(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (rows, engine):
        monkeypatch.setattr(module, "SLICE", 3)
    await accept(store, *((run, "success", float(run // 4)) for run in range(10)))  # several in one moment
    assert await ids(store) == [f"e{number}" for number in range(1, 11)]


async def test_a_slice_that_cannot_be_read_back_does_not_end_the_rest(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (rows, engine):
        monkeypatch.setattr(module, "SLICE", 2)
    await accept(store, *((run, "success", float(run)) for run in range(4)))
    write(
        url,
        'UPDATE events SET event = CAST(\'{"change":"x"\' AS BLOB) WHERE id < 3'
        if "sqlite" in url
        else ('UPDATE events SET event = \'{"change":"x"\'::bytea WHERE id < 3'),
    )
    assert await ids(store) == ["e3", "e4"]


async def test_one_that_told_nothing_new_is_no_second_result(store: Store) -> None:
    for at in (1.0, 2.0):  # the same result with newer words
        await store.accept(arrival(event(1, "failure", changed_at=after(at)), f"k{at}", at), ALL)
    assert [one.state for one in await store.events(limit=2)] == ["unchanged", "routed"]
    assert await ids(store) == ["e1"]


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
