"""Do a million waiting deliveries slow PostgreSQL down? What the hot statements read, counted by the server itself."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest

from bridge.store import _postgres_accept, _postgres_deliver
from bridge.store import postgres as engine
from bridge.store._postgres_wire import SETTINGS
from bridge.store.postgres import PostgresStore
from tests import postgres
from tests.arrivals import NOON

pytestmark = pytest.mark.slow

MANY = 1_000_000
AT = NOON.timestamp()
FEW = 60  # pages of 8 KiB

EVENTS = f"""
    INSERT INTO events (source, received_at, state, event, problem, rules, headers)
    SELECT 'github', {AT}, 'routed', convert_to($1, 'UTF8'), '', '[]', '{{}}' FROM generate_series(1, 10)
"""
# $1: how many lanes; $2: how many of the heads wait for a later try.
OWED = f"""
    INSERT INTO deliveries (event_id, lane, run_key, destination, message, target, live, version, state, due_at,
                            created_at, head)
    SELECT 1, 'run ' || n % $1::integer || '|builds', 'run ' || n % $1::integer, 'builds', 'builds||run',
           '{{"destination": "builds", "template": "run"}}', 0, 1, 'pending',
           {AT} + CASE WHEN n < $2::integer THEN 600 ELSE 0 END, {AT}, n < $1::integer
    FROM generate_series(0, {MANY - 1}) AS n
"""


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    made = postgres.databases().empty()
    yield made
    postgres.databases().drop(made)


@pytest.fixture(params=[(MANY, 0), (MANY, MANY - 10), (5, 0), (50_000, 49_000)], ids=str)
async def full(request: pytest.FixtureRequest, database: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    """A database with a million waiting: in lanes of their own; all but ten resting; in five long queues; mixed."""
    lanes, resting = request.param
    await (await PostgresStore.open(database)).close()
    connection = await asyncpg.connect(database)
    await connection.execute("TRUNCATE deliveries, events RESTART IDENTITY")
    await connection.execute(EVENTS, '{"source":"github","type":"github","kind":"pipeline","status":"running"}')
    await connection.execute(OWED, lanes, resting, timeout=300)
    await connection.execute("VACUUM ANALYZE", timeout=300)
    await connection.execute(SETTINGS)
    yield connection
    await connection.close()


async def pages(connection: asyncpg.Connection[Any], statement: str, *given: Any) -> int:
    """Run a statement with the plan that it has for all values, take it back, and return how many pages it touched."""
    asked = await connection.prepare(statement)
    types = ", ".join(f"{one.name}" for one in asked.get_parameters())
    await connection.execute(f"PREPARE hot ({types}) AS {statement}")
    await connection.execute("BEGIN")
    found = await connection.fetchval(
        f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE hot ({', '.join(map(literal, given))})"
    )
    await connection.execute("ROLLBACK; DEALLOCATE hot")
    (told,) = json.loads(found)
    assert "Seq Scan" not in found, found
    plan = told["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def literal(value: Any) -> str:
    if isinstance(value, list):
        return "'{" + ", ".join("NULL" if one is None else json.dumps(one) for one in value) + "}'"
    return repr(value)


async def test_what_is_asked_all_the_time_reads_few_pages_of_a_million_rows(
    full: asyncpg.Connection[Any],
) -> None:
    asked = ("builds", AT + 1, AT + 3601, AT + 3601, 4, AT + 100, "off")
    assert await pages(full, _postgres_deliver.CLAIM, *asked) < 4 * FEW
    taken = [row[0] for row in await full.fetch(_postgres_deliver.CLAIM, *asked)]
    assert len(taken) == 4
    assert await pages(full, _postgres_deliver.CLAIM, *asked) < 4 * FEW, "with four lanes in flight"
    assert await pages(full, engine.NEXT_DUE, "builds", AT + 1) < FEW
    assert await pages(full, _postgres_deliver.LOAD, taken) < FEW
    one = [[value] for value in (taken[0], None, "done", None, AT, "", 0, 0, None, "delivered", 0)]
    assert await pages(full, _postgres_deliver.SETTLE, *one) < FEW
    tried = [[taken[0]], [AT], ["delivered"], [""], [0.0]]
    shown = [["run 3|builds"], ["builds||run"], [taken[0]], [7], [AT], [""]]
    assert await pages(full, _postgres_deliver.WRITE, *tried, *[[]] * 4, *[[]] * 6, ["run 1|builds"]) < FEW
    if await full.fetchval("SELECT count(*) FROM deliveries WHERE lane = 'run 3|builds'") < 100:
        assert await pages(full, _postgres_deliver.WRITE, *tried, *[[]] * 4, *shown, ["run 1|builds"]) < 2 * FEW
    owed = [[1], ["run 3|builds"], ["run 3"], ["builds"], ["builds||run"], ["{}"], [0], [1], [AT], [0.0], [True]]
    assert await pages(full, _postgres_accept.WRITE, *[[]] * 20, *owed) < FEW
    assert await pages(full, _postgres_accept.READ, ["run 3"], ["github"], ["key"], 1) < FEW
