"""What does a SQLite store keep beside events and deliveries, and how does it move house?

How the destinations are (for view: there is one worker), what is muted, and everything as rows, out and in. Moving has
connections of its own: a long read sees one moment and holds nobody up, and a restore is one transaction or nothing.
https://www.sqlite.org/isolation.html
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import ParamSpec, TypeVar

from bridge.errors import StoreUnavailable
from bridge.store.base import Condition, Mute, Row
from bridge.store.moving import CHUNK, COUNTED, COUNTERS, MUST_BE_EMPTY, TABLES, chunks, counter, fitting, not_empty
from bridge.store.rows import MUTE_COLUMNS, condition, mute_number, mute_row
from bridge.store.rows import mute as read_mute

P = ParamSpec("P")
T = TypeVar("T")

REPORT = """
    INSERT INTO health (destination, ok, text, at, failures, rest_until) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (destination) DO UPDATE SET ok = excluded.ok, text = excluded.text, at = excluded.at,
                                            failures = excluded.failures, rest_until = excluded.rest_until
"""
CONDITIONS = "SELECT destination, ok, text, at, failures, rest_until FROM health"
# Two mutes of the same words: the later one says until when.
MUTE_AGAIN = "UPDATE mutes SET until = ?4 WHERE rule = ?1 AND repository = ?2 AND branch = ?3 AND until > ?4"
MUTE = "INSERT INTO mutes (rule, repository, branch, since, until, reason) VALUES (?, ?, ?, ?, ?, ?)"
UNMUTE = "UPDATE mutes SET until = ?1 WHERE id = ?2 AND until > ?1"
MUTES = f"SELECT {MUTE_COLUMNS} FROM mutes WHERE until > ? ORDER BY id"  # noqa: S608 - our own words
COUNT_ON = "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?"
COUNT_FIRST = """
    INSERT INTO sqlite_sequence (name, seq)
    SELECT ?, ? WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = ?)
"""


def report(db: sqlite3.Connection, destination: str, condition: Condition) -> None:
    rest_until = condition.rest_until
    db.execute(
        REPORT,
        (
            destination,
            int(condition.ok),
            condition.text.encode(errors="replace").decode(),  # half a surrogate pair is no text
            condition.at.timestamp(),
            condition.failures,
            rest_until.timestamp() if rest_until is not None else None,
        ),
    )


def conditions(db: sqlite3.Connection) -> dict[str, Condition]:
    return dict(map(condition, db.execute(CONDITIONS)))


# -- what is muted -----------------------------------------------------------------------------------------------------


def mute(db: sqlite3.Connection, given: Mute) -> str:
    row = mute_row(given)
    db.execute(MUTE_AGAIN, row[:4])
    return f"m{db.execute(MUTE, row).lastrowid}"


def unmute(db: sqlite3.Connection, mute_ids: Sequence[str], now: datetime) -> list[str]:
    at = now.timestamp()
    return [one for one in mute_ids if db.execute(UNMUTE, (at, mute_number(one))).rowcount]


def mutes(db: sqlite3.Connection, since: datetime) -> list[Mute]:
    return [read_mute(row) for row in db.execute(MUTES, (since.timestamp(),))]


# -- moving ------------------------------------------------------------------------------------------------------------


async def export(path: Path) -> AsyncIterator[tuple[str, Row]]:
    db = await _do(_open, path)
    try:
        await _do(db.execute, "BEGIN")  # from the first read on, one moment is seen
        for table in TABLES:
            cursor = await _do(db.execute, f"SELECT * FROM {table}")  # noqa: S608 - one of our own names
            names = [column[0] for column in cursor.description]
            while found := await _do(cursor.fetchmany, CHUNK):
                for values in found:
                    row: Row = dict(zip(names, values, strict=True))
                    if table != "seen" or row["source"]:  # the row without a source only tries whether writing works
                        yield table, row
        for name in COUNTED:
            yield COUNTERS, {"name": name, "last": await _do(_last, db, name)}
    finally:
        await asyncio.to_thread(db.close)


async def restore(path: Path, rows: AsyncIterator[tuple[str, Row]]) -> dict[str, int]:
    db = await _do(_open, path)
    try:
        await _do(db.execute, "BEGIN IMMEDIATE")
        columns = await _do(_prepare, db)
        counts: dict[str, int] = {}
        async for table, chunk in chunks(rows):
            if table == COUNTERS:
                await _do(_count_on, db, chunk)
                continue
            await _do(_write, db, table, chunk, columns)
            counts[table] = counts.get(table, 0) + len(chunk)
        await _do(db.execute, "COMMIT")
        return counts
    finally:
        await asyncio.to_thread(db.close)  # what was not committed is undone


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA synchronous = FULL")
    return db


def _prepare(db: sqlite3.Connection) -> dict[str, tuple[str, ...]]:
    """Make sure that nothing is there, and return the columns of each table."""
    for table in MUST_BE_EMPTY:
        if db.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone():  # noqa: S608 - one of our own names
            raise not_empty(table)
    for table in TABLES:
        db.execute(f"DELETE FROM {table}")  # noqa: S608 - what `ready` and a waiting server wrote
    return {table: tuple(row[1] for row in db.execute(f"PRAGMA table_info({table})")) for table in TABLES}


def _write(db: sqlite3.Connection, table: str, chunk: list[Row], columns: dict[str, tuple[str, ...]]) -> None:
    fit = [fitting(table, row, columns) for row in chunk]
    names = tuple(fit[0])
    marks = ", ".join("?" * len(names))
    statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})"  # noqa: S608 - names were compared
    db.executemany(statement, [tuple(row.get(name) for name in names) for row in fit])


def _last(db: sqlite3.Connection, table: str) -> int:
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    if row is None:
        row = db.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()  # noqa: S608 - one of our own names
    return int(row[0])


def _count_on(db: sqlite3.Connection, chunk: list[Row]) -> None:
    for name, last in map(counter, chunk):
        if name == "attempts":  # it has no counter here: its ids are nobody's business
            continue
        db.execute(COUNT_FIRST, (name, last, name))
        db.execute(COUNT_ON, (last, name))


async def _do(work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
    try:
        return await asyncio.to_thread(work, *given, **named)
    except (sqlite3.Error, OverflowError) as error:
        raise StoreUnavailable(f"the database cannot be moved: {error}") from error
