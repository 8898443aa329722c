"""What do all processes on one PostgreSQL share beside events and deliveries, and how does everything move house?

Rate limits are rows, and the database's own clock is the only one that counts: N workers together ask a chat no faster
than one would. How destinations are, how the sources were answered on a day, and what is muted, is a row each. One
process at a time leads: it holds an advisory lock of its session, which ends when the session does. Moving is one
snapshot out, or one transaction in.
https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
https://www.postgresql.org/docs/current/sql-select.html#SQL-FOR-UPDATE-SHARE
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, TypeVar

import asyncpg

from bridge.errors import StoreUnavailable
from bridge.store._postgres_keys import LEADING, SHARED, fit, fit_key, fit_lane
from bridge.store._postgres_wire import alone
from bridge.store.base import Condition, Limit, Mute, Row, Tally
from bridge.store.moving import (
    CHUNK,
    COUNTED,
    COUNTERS,
    MUST_BE_EMPTY,
    TABLES,
    Unfit,
    chunks,
    counter,
    fitting,
    not_empty,
)
from bridge.store.rows import MUTE_COLUMNS, condition, day, lane, mute_number, mute_row, tally_row
from bridge.store.rows import mute as read_mute
from bridge.store.rows import tally as read_tally

if TYPE_CHECKING:
    from bridge.store._postgres_wire import Connection

T = TypeVar("T")

# -- rate limits -------------------------------------------------------------------------------------------------------

# A limit is the time at which it would be unused again (`tat`: https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm).
# A request costs `step` seconds of it, and may reach `room` = burst * step beyond now. The rows are locked in the order
# of their keys, so nobody waits for each other in a circle; the clock is read when all are held; and either all rows
# are written or none. It is not synced: a server that crashed comes back later than any limit could tell.
TAKE = """
    WITH wanted AS (
        SELECT * FROM unnest($1::text[], $2::float8[], $3::float8[]) AS w (key, step, room)
    ), held AS MATERIALIZED (
        SELECT key, tat, paused_until FROM limits WHERE key = ANY ($1) ORDER BY key FOR UPDATE
    ), asked AS MATERIALIZED (
        SELECT count(*) AS found, extract(epoch FROM clock_timestamp())::float8 AS at,
               set_config('synchronous_commit', 'off', true) AS unsynced
        FROM held
    ), verdict AS MATERIALIZED (
        SELECT found, at, coalesce(
            (SELECT max(greatest(held.tat + wanted.step - wanted.room - at, held.paused_until - at, 0))
             FROM held JOIN wanted USING (key)), 0) AS seconds
        FROM asked
    ), taken AS (
        UPDATE limits SET tat = greatest(limits.tat, verdict.at) + wanted.step
        FROM wanted, verdict
        WHERE limits.key = wanted.key AND verdict.seconds <= 0 AND verdict.found = cardinality($1)
    )
    SELECT found, seconds FROM verdict
"""
MAKE = """
    INSERT INTO limits (key, tat, paused_until) SELECT key, 0, 0 FROM unnest($1::text[]) AS w (key) ORDER BY key
    ON CONFLICT (key) DO NOTHING
"""
PAUSE = """
    INSERT INTO limits (key, tat, paused_until)
    SELECT key, 0, extract(epoch FROM clock_timestamp())::float8 + $2::float8 FROM unnest($1::text[]) AS w (key)
    ORDER BY key
    ON CONFLICT (key) DO UPDATE SET paused_until = greatest(limits.paused_until, excluded.paused_until)
"""

# -- how destinations are ----------------------------------------------------------------------------------------------

REPORT = """
    INSERT INTO health (destination, ok, text, at, failures, rest_until) VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (destination) DO UPDATE SET ok = excluded.ok, text = excluded.text, at = excluded.at,
                                            failures = excluded.failures, rest_until = excluded.rest_until
"""
CONDITIONS = "SELECT destination, ok, text, at, failures, rest_until FROM health"

# -- how the sources were answered -------------------------------------------------------------------------------------

# In the order of the key: two processes that write the same rows never wait for each other in a circle.
TALLY = """
    INSERT INTO tallies (day, source, answer, repository, times, last_at, last_event)
    SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::float8[], $7::bigint[])
        AS t (day, source, answer, repository, times, last_at, last_event)
    ORDER BY day, source COLLATE "C", answer COLLATE "C", repository COLLATE "C"
    ON CONFLICT (day, source, answer, repository) DO UPDATE SET
        times = tallies.times + excluded.times, last_at = greatest(tallies.last_at, excluded.last_at),
        last_event = greatest(tallies.last_event, excluded.last_event)
"""
TALLIES = """
    SELECT source, answer, repository, sum(times)::bigint, max(last_at), max(last_event) FROM tallies WHERE day >= $1
    GROUP BY source, answer, repository
"""

ASK_PID = "SELECT pg_backend_pid()"
ROUNDS = 3
POOLED = (
    "DATABASE_URL leads to a pooler that gives every transaction another session: LISTEN and session locks do not work "
    "through it. Use the direct address (Neon: the host without -pooler; Supabase: port 5432), or set the pooler to "
    "pool_mode = session"
)


class Runs(Protocol):
    """Runs something on a connection of the pool; raises StoreUnavailable."""

    async def __call__(self, work: Callable[[Connection], Awaitable[T]]) -> T: ...


class PostgresLimits:
    """`Limits` as rows: all processes on one database share them."""

    def __init__(self, run: Runs) -> None:
        self._run = run
        self._known: dict[str, Limit] = {}

    async def take(self, limits: Sequence[Limit]) -> float:
        wanted = {limit.key: self._slowest(limit) for limit in limits}
        return await self._run(lambda connection: _take(connection, wanted)) if wanted else 0.0

    async def pause(self, limits: Sequence[Limit], seconds: float) -> None:
        keys = [limit.key for limit in limits]
        await self._run(lambda connection: connection.execute(PAUSE, keys, seconds))

    def _slowest(self, limit: Limit) -> Limit:
        """Two destinations may share a limit and be configured differently: the slower one holds for both."""
        known = self._known.get(limit.key, limit)
        slowest = Limit(limit.key, min(known.per_second, limit.per_second), min(known.burst, limit.burst))
        self._known[limit.key] = slowest
        return slowest


async def _take(connection: Connection, wanted: dict[str, Limit]) -> float:
    steps = [1 / limit.per_second for limit in wanted.values()]
    rooms = [limit.burst / limit.per_second for limit in wanted.values()]
    while True:
        ((found, seconds),) = await connection.fetch(TAKE, list(wanted), steps, rooms)
        if found == len(wanted):
            return float(seconds)
        await connection.execute(MAKE, list(wanted))  # the first time


# -- how destinations are ----------------------------------------------------------------------------------------------


async def report(connection: Connection, destination: str, condition: Condition) -> None:
    rest_until = condition.rest_until
    await connection.execute(
        REPORT,
        destination,
        int(condition.ok),
        fit(condition.text),
        condition.at.timestamp(),
        condition.failures,
        rest_until.timestamp() if rest_until is not None else None,
    )


async def conditions(connection: Connection) -> dict[str, Condition]:
    return dict(condition(tuple(row)) for row in await connection.fetch(CONDITIONS))


# -- how the sources were answered -------------------------------------------------------------------------------------


async def tally(connection: Connection, tallies: Sequence[Tally]) -> None:
    if tallies:
        await connection.execute(TALLY, *map(list, zip(*map(tally_row, tallies), strict=True)))


async def tallies(connection: Connection, since: datetime) -> list[Tally]:
    return [read_tally(tuple(row)) for row in await connection.fetch(TALLIES, day(since))]


# -- what is muted -----------------------------------------------------------------------------------------------------

# Two mutes of the same words: the later one says until when.
MUTE_AGAIN = "UPDATE mutes SET until = $4 WHERE rule = $1 AND repository = $2 AND branch = $3 AND until > $4"
MUTE = """
    INSERT INTO mutes (rule, repository, branch, since, until, reason) VALUES ($1, $2, $3, $4, $5, $6) RETURNING id
"""
UNMUTE = "UPDATE mutes SET until = $1 WHERE id = ANY ($2::bigint[]) AND until > $1 RETURNING id"
MUTES = f"SELECT {MUTE_COLUMNS} FROM mutes WHERE until > $1 ORDER BY id"  # noqa: S608 - our own words


async def mute(connection: Connection, given: Mute) -> str:
    row = mute_row(given)
    await connection.execute(MUTE_AGAIN, *row[:4])
    return f"m{await connection.fetchval(MUTE, *row)}"


async def unmute(connection: Connection, mute_ids: Sequence[str], now: datetime) -> list[str]:
    numbers = list(map(mute_number, mute_ids))
    ended = {f"m{row[0]}" for row in await connection.fetch(UNMUTE, now.timestamp(), numbers)}
    return [one for one in mute_ids if one in ended]


async def mutes(connection: Connection, since: datetime) -> list[Mute]:
    return [read_mute(tuple(row)) for row in await connection.fetch(MUTES, since.timestamp())]


# -- who leads ---------------------------------------------------------------------------------------------------------


class Leadership:
    """Whether this process leads. The lock belongs to a session: a connection that is lost has lost it."""

    def __init__(self) -> None:
        self._held_by: Connection | None = None

    async def ask(self, connection: Connection) -> bool:
        """Return whether it does, on `connection`; take the lock if it is free. Raises what asyncpg raises."""
        if self._held_by is connection:
            await connection.execute("SELECT 1")  # a line that is cut without a word is known by asking
            return True
        if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LEADING):
            return False
        self._held_by = connection
        return True


# -- poolers -----------------------------------------------------------------------------------------------------------


async def demand_sessions(url: str) -> None:
    """Return if each connection is a session of its own; raise StoreUnavailable behind a pooler of transactions.

    Such a pooler gives both the same session, or one of them now this, now that. asyncpg may stumble over it before:
    what was prepared in one session is unknown in the next, or there already.
    """
    try:
        async with alone(url) as one, alone(url) as other:
            pids = {(await one.fetchval(ASK_PID), await other.fetchval(ASK_PID)) for _ in range(ROUNDS)}
    except (asyncpg.DuplicatePreparedStatementError, asyncpg.InvalidSQLStatementNameError) as error:
        raise StoreUnavailable(POOLED) from error
    (first, second), *changed = pids
    if changed or first == second:
        raise StoreUnavailable(POOLED)


# -- moving ------------------------------------------------------------------------------------------------------------

KEYS = {"seen": ("key",), "runs": ("key",), "tracks": ("key",), "deliveries": ("run_key", "message")}
DERIVED = ("head",)  # columns that are made anew
NO_HURRY = "SET LOCAL idle_in_transaction_session_timeout = 0"  # the other side may be a person's pipe
COLUMNS = """
    SELECT table_name, column_name FROM information_schema.columns
    WHERE table_schema = current_schema() AND table_name = ANY ($1) AND NOT column_name = ANY ($2)
    ORDER BY ordinal_position
"""
COUNTED_TO = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {}"
COUNT_ON = "SELECT setval($1::text::regclass, greatest($2::bigint, 1), $2::bigint > 0)"
HEADS = """
    UPDATE deliveries SET head = true WHERE id IN (
        SELECT DISTINCT ON (lane) id FROM deliveries WHERE state IN ('pending', 'sending') ORDER BY lane, id)
"""


async def export(url: str) -> AsyncIterator[tuple[str, Row]]:
    async with alone(url) as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(NO_HURRY)
        columns = await _columns(connection)
        for table in TABLES:
            order = "ORDER BY id" if table in COUNTED else ""
            query = f"SELECT {', '.join(columns[table])} FROM {table} {order}"  # noqa: S608 - our own names
            async for record in connection.cursor(query, prefetch=CHUNK):
                if table != "seen" or record["source"]:  # the row without a source only tries whether writing works
                    yield table, dict(record)
        for name in COUNTED:
            last = await connection.fetchval(COUNTED_TO.format(await _sequence(connection, name)))
            yield COUNTERS, {"name": name, "last": last}


async def restore(url: str, rows: AsyncIterator[tuple[str, Row]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    async with alone(url) as connection, connection.transaction():
        await connection.execute(NO_HURRY)
        await _require_empty(connection)
        columns = await _columns(connection)
        named = _Named()
        async for table, chunk in chunks(rows):
            if table == COUNTERS:
                await _count_on(connection, chunk)
                continue
            await _write(connection, table, [named.again(table, fitting(table, row, columns)) for row in chunk])
            counts[table] = counts.get(table, 0) + len(chunk)
        await connection.execute(HEADS)
    return counts


async def _require_empty(connection: Connection) -> None:
    await connection.execute(f"LOCK TABLE {', '.join(TABLES)} IN SHARE ROW EXCLUSIVE MODE")
    for table in MUST_BE_EMPTY:
        if await connection.fetchval(f"SELECT 1 FROM {table} LIMIT 1"):  # noqa: S608 - one of our own names
            raise not_empty(table)
    for table in TABLES:
        await connection.execute(f"DELETE FROM {table}")  # noqa: S608 - what `ready` and a waiting server wrote


async def _write(connection: Connection, table: str, chunk: list[Row]) -> None:
    names = tuple(chunk[0])
    try:
        await connection.copy_records_to_table(
            table, records=[tuple(row.get(name) for name in names) for row in chunk], columns=names
        )
    except (
        asyncpg.DataError,
        asyncpg.IntegrityConstraintViolationError,
        TypeError,
        ValueError,
        OverflowError,
    ) as error:
        raise Unfit(f"{table} cannot hold a row of it ({type(error).__name__})") from error


def _lane(row: Row, run_key: str) -> str:
    """Return the lane of a delivery as it is called here, where its run may have another key."""
    there, destination = str(row.get("lane")), str(row.get("destination"))
    if there.startswith(SHARED):
        return fit_lane(there)
    beside = there.removeprefix(lane(str(row.get("run_key")), 0, destination))
    return lane(run_key, 0, fit(destination)) + (fit(beside) if beside != there else "")


class _Named:
    """Names things as this engine does: texts and keys that SQLite takes and a column here does not."""

    def __init__(self) -> None:
        self._runs: dict[str, str] = {}  # those that have another key here

    def again(self, table: str, row: Row) -> Row:
        named = {name: fit(value) if isinstance(value, str) else value for name, value in row.items()}
        for name in KEYS.get(table, ()):
            if isinstance(key := row.get(name), str):
                named[name] = fit_key(key)
        match table:
            case "runs":
                self._remember(str(row.get("key")), str(named.get("key")))
            case "places":
                named["key"] = fit(self._place(str(row.get("key"))))
            case "deliveries" if run_key := named.get("run_key"):
                named["lane"] = _lane(row, str(run_key))
        return named

    def _remember(self, key: str, here: str) -> None:
        if key != here:
            self._runs[key] = here

    def _place(self, key: str) -> str:
        """A place is named ``m|RUN|...`` or ``t|RUN|...``, and there may be bars in the name of a run."""
        ends = (end for end, letter in enumerate(key) if letter == "|" and end > 1)
        end = next((end for end in ends if key[2:end] in self._runs), None) if self._runs else None
        return key if end is None else f"{key[:2]}{self._runs[key[2:end]]}{key[end:]}"


async def _columns(connection: Connection) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for table, column in await connection.fetch(COLUMNS, TABLES, DERIVED):
        found.setdefault(table, []).append(column)
    return {table: tuple(names) for table, names in found.items()}


async def _sequence(connection: Connection, table: str) -> str:
    return str(await connection.fetchval("SELECT pg_get_serial_sequence($1, 'id')", table))


async def _count_on(connection: Connection, chunk: list[Row]) -> None:
    for name, last in map(counter, chunk):
        await connection.fetchval(COUNT_ON, await _sequence(connection, name), last)
