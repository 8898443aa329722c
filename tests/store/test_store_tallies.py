"""Are the counts of what sources were answered added up, kept, forgotten, and read without reading everything?"""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from bridge.store import _postgres_shared, _sqlite_look, open_store, sqlite
from bridge.store import postgres as engine
from bridge.store.base import NO_SOURCE, Store, Tally
from bridge.store.migrating import migrations
from bridge.store.rows import SEEN_FOR
from tests import postgres
from tests.arrivals import ALL, NOON, after, arrival, event
from tests.store.conftest import OpenStore

DAY = timedelta(days=1)


def tally(answer: str = "routed", times: int = 1, at: float = 0, **more: object) -> Tally:
    said = {"source": "github", "repository": "acme/app" if answer == "routed" else "", "last_event": 0} | more
    return Tally(answer=answer, times=times, last_at=after(at), **said)  # type: ignore[arg-type]


async def test_what_is_counted_twice_is_added_up_and_the_last_stays_the_last(store: Store, reopen: OpenStore) -> None:
    await store.tally([tally(times=2, at=9, last_event=7), tally("signature", 5)])
    await store.tally([tally(times=3, at=1, last_event=4)])
    found = await (await reopen()).tallies(NOON)
    assert sorted(found, key=lambda one: one.answer) == [
        tally(times=5, at=9, last_event=7),
        tally("signature", 5),
    ]


async def test_sources_answers_and_repositories_are_told_apart(store: Store) -> None:
    told = [tally(), tally(source="cirrus"), tally(repository="acme/other"), tally("size"), tally(source=NO_SOURCE)]
    await store.tally(told)
    assert set(await store.tallies(NOON)) == set(told)


async def test_days_are_added_up_from_the_asked_one_on(store: Store) -> None:
    await store.tally([tally(times=1, at=-86_400, last_event=1)])
    await store.tally([tally(times=10, last_event=2)])
    assert await store.tallies(NOON + DAY) == []
    assert await store.tallies(NOON + timedelta(hours=11)) == [tally(times=10, last_event=2)], "of the whole day"
    assert await store.tallies(NOON - DAY) == [tally(times=11, last_event=2)]


async def test_nothing_to_count_is_no_error(store: Store) -> None:
    await store.tally([])
    assert await store.tallies(NOON - 9_999 * DAY) == []


async def test_counts_are_kept_as_long_as_what_was_seen(store: Store) -> None:
    await store.tally([tally(answer) for answer in ("routed", "size", "type")])
    assert await store.purge(NOON + SEEN_FOR, 500) == 0
    assert await store.purge(NOON + SEEN_FOR + DAY, 2) == 2, "slice by slice"
    assert await store.purge(NOON + SEEN_FOR + DAY, 2) == 1
    assert await store.tallies(NOON) == []


async def test_two_processes_count_into_the_same_rows_in_any_order(reopen: OpenStore) -> None:
    stores = [await reopen(), await reopen()]
    names = [f"acme/{number}" for number in range(40)]
    orders = [names, names[::-1]]
    for _ in range(5):
        await asyncio.gather(
            *(one.tally([tally(repository=name) for name in order]) for one, order in zip(stores, orders, strict=True))
        )
    assert {one.times for one in await stores[0].tallies(NOON)} == {10}


# -- a database from before


async def test_an_older_sqlite_file_begins_with_what_its_events_say(tmp_path: Path) -> None:
    path = tmp_path / "bridge.db"
    store = await open_store(f"sqlite:///{path}")
    await store.accept(arrival(event(1), "a"), ALL)
    await store.accept(arrival(event(2), "b", 5), ALL)
    await store.accept(arrival(None, "c", 6, problem="no JSON"), ALL)
    await store.close()
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("DROP TABLE tallies")
    db.execute("DROP TABLE mutes")
    db.execute("DELETE FROM schema_versions WHERE version >= 4")
    db.execute("PRAGMA user_version = 3")
    sqlite.migrate(db)
    db.close()
    store = await open_store(f"sqlite:///{path}")
    found = await store.tallies(NOON)
    await store.close()
    assert set(found) == {tally(times=2, at=5, repository="", last_event=2), tally("unreadable", at=6, last_event=3)}


async def test_an_older_postgresql_database_begins_with_what_its_events_say(postgres_url: str) -> None:
    store = await open_store(postgres_url)
    await store.accept(arrival(event(1), "a"), ALL)
    await store.accept(arrival(event(2), "b", 5), ALL)
    postgres.execute(postgres_url, "DROP TABLE tallies, mutes", "DELETE FROM schema_versions WHERE version >= 2")
    await engine.migrate(postgres_url)
    found = await store.tallies(NOON)
    await store.close()
    assert found == [tally(times=2, at=5, repository="", last_event=2)]


@pytest.mark.parametrize(("name", "version"), [("sqlite", 4), ("postgres", 2)])
def test_older_code_may_go_on_beside_the_new_table(name: str, version: int) -> None:
    (step,) = [one for one in migrations(name) if one.version == version]
    assert step.readable_from == 1


# -- plans


async def test_sqlite_reads_only_the_days_that_are_asked(tmp_path: Path) -> None:
    await (await open_store(f"sqlite:///{tmp_path}/bridge.db")).close()
    db = sqlite3.connect(tmp_path / "bridge.db")
    steps = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {_sqlite_look.TALLIES}", (0,))]
    db.close()
    assert any(step.startswith("SEARCH tallies USING PRIMARY KEY (day>?)") for step in steps), steps
    assert not [step for step in steps if step.startswith("SCAN")], steps


async def test_postgresql_reads_only_the_days_that_are_asked_and_forgets_without_a_look_through_the_rest(
    postgres_url: str,
) -> None:
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("BEGIN")  # and never commit: the next test finds the table empty
    await connection.execute(
        "INSERT INTO tallies SELECT day, 'github', 'routed', 'acme/' || n, 1, day * 86400.0, 0 "
        "FROM generate_series(1, 90) AS day, generate_series(1, 50) AS n"
    )
    await connection.execute("ANALYZE tallies")
    plans = [
        "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {statement}", *values))
        for statement, values in ((_postgres_shared.TALLIES, (89,)), (engine.PURGE_TALLIES, (2, 10)))
    ]
    await connection.close()
    for plan in plans:
        assert "tallies_pkey" in plan, plan
        assert "Seq Scan" not in plan, plan


async def test_postgresql_locks_the_rows_in_the_order_of_their_keys(postgres_url: str) -> None:
    """Two processes that lock the same rows in two orders wait for each other until one is taken back."""
    store = await open_store(postgres_url)
    await store.tally([tally(source=source, repository=name) for source in "ZaB" for name in ("z", "B", "a")])
    await store.close()
    connection = await asyncpg.connect(postgres_url)
    written = [tuple(row) for row in await connection.fetch("SELECT source, repository FROM tallies ORDER BY ctid")]
    await connection.close()
    assert written == sorted(written)
