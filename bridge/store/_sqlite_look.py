"""What is kept in a SQLite file, for view, and what of it is forgotten? Each function is a part of one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from bridge.store import rows
from bridge.store.base import Depth, StoredDelivery, StoredEvent, Tally

SEEN_OF = """
    SELECT 1 FROM seen s LEFT JOIN events e ON e.id = s.event_id
    WHERE s.source = ? AND s.key = ? AND coalesce(e.state, '') <> 'unreadable'
"""

# Forgetting runs on the loop, between two webhooks: each of these reads what it deletes, and looks through no table.
OLD_DELIVERIES = "SELECT id FROM deliveries WHERE settled_at < ? LIMIT ?"
PURGE_ATTEMPTS = "DELETE FROM attempts WHERE delivery_id = ?"
PURGE_DELIVERY = "DELETE FROM deliveries WHERE id = ?"
PURGE_EVENTS = """
    DELETE FROM events WHERE id IN (
        SELECT e.id FROM events e WHERE e.received_at < ? AND e.state <> 'stuck'
          AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.event_id = e.id) LIMIT ?)
"""
PURGE_RUNS = """
    DELETE FROM runs WHERE key IN (
        SELECT r.key FROM runs r WHERE r.updated_at < ?
          AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.run_key = r.key) LIMIT ?)
"""
PURGE_PLACES = "DELETE FROM places WHERE key IN (SELECT key FROM places WHERE updated_at < ? LIMIT ?)"
PURGE_TRACKS = "DELETE FROM tracks WHERE key IN (SELECT key FROM tracks WHERE updated_at < ? LIMIT ?)"
PURGE_SEEN = "DELETE FROM seen WHERE (source, key) IN (SELECT source, key FROM seen WHERE at < ? LIMIT ?)"
PURGE_MUTES = "DELETE FROM mutes WHERE id IN (SELECT id FROM mutes WHERE until < ? LIMIT ?)"
PURGE_TALLIES = """
    DELETE FROM tallies WHERE (day, source, answer, repository) IN (
        SELECT day, source, answer, repository FROM tallies WHERE day < ? LIMIT ?)
"""

# By the index on received_at, which knows the ids too; most events are passed over without being parsed.
RESULTS = """
    SELECT id, received_at, event FROM events
    WHERE (received_at, id) > (?, ?) AND received_at < ? AND state IN ('routed', 'unrouted') AND instr(event, ?) > 0
    ORDER BY received_at, id LIMIT ?
"""

# Since when the oldest waits that is due, or was tried, and is the first in its lane.
OLDEST = f"""
    SELECT min(since) FROM (
        SELECT min(created_at) AS since FROM deliveries WHERE destination = ?1 AND state = 'sending'
        UNION ALL
        SELECT * FROM (
            SELECT {rows.OWED_SINCE} FROM deliveries d
            WHERE d.destination = ?1 AND d.state = 'pending'
              AND (d.attempts > 0 OR d.due_at <= CAST(strftime('%s', 'now') AS REAL))
              AND NOT EXISTS (SELECT 1 FROM deliveries p
                              WHERE p.lane = d.lane AND p.id < d.id AND p.state IN ('pending', 'sending'))
            ORDER BY d.id LIMIT 1))
"""  # noqa: S608 - made of our own words

TALLY = """
    INSERT INTO tallies (day, source, answer, repository, times, last_at, last_event) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (day, source, answer, repository) DO UPDATE SET
        times = times + excluded.times, last_at = max(last_at, excluded.last_at),
        last_event = max(last_event, excluded.last_event)
"""
TALLIES = """
    SELECT source, answer, repository, sum(times), max(last_at), max(last_event) FROM tallies WHERE day >= ?
    GROUP BY source, answer, repository
"""


def events(db: sqlite3.Connection, limit: int, where: dict[str, Any]) -> list[StoredEvent]:
    clause, values = rows.where(where, rows.EVENT_KEYS)
    body = "body" if "id" in where else "NULL"
    query = f"SELECT {rows.EVENT_COLUMNS}, {body} FROM events {clause} ORDER BY id DESC LIMIT ?"  # noqa: S608
    return [rows.stored_event(row) for row in db.execute(query, (*values, limit)).fetchall()]


def results(db: sqlite3.Connection, begin: tuple[float, int], until: datetime) -> list[Any]:
    """Return the rows after `begin`, a time and a number."""
    return db.execute(RESULTS, (*begin, until.timestamp(), rows.CHANGE, rows.SLICE)).fetchall()


def seen(db: sqlite3.Connection, source: str, keys: Sequence[str]) -> set[str]:
    return {key for key in keys if db.execute(SEEN_OF, (source, key)).fetchone() is not None}


def deliveries(db: sqlite3.Connection, limit: int, where: dict[str, Any]) -> list[StoredDelivery]:
    clause, values = rows.where(rows.chosen_deliveries(where), rows.DELIVERY_KEYS)
    query = (
        f"SELECT {rows.DELIVERY_COLUMNS} FROM deliveries d JOIN events e ON e.id = d.event_id {clause} "  # noqa: S608
        "ORDER BY d.id DESC LIMIT ?"
    )
    whole = "id" in where or "event_id" in where
    found = db.execute(query, (*values, limit)).fetchall()
    return [rows.stored_delivery(row, _history(db, row[0]) if whole else ()) for row in found]


def _history(db: sqlite3.Connection, number: int) -> list[Any]:
    query = f"SELECT {rows.ATTEMPT_COLUMNS} FROM attempts WHERE delivery_id = ? ORDER BY id"  # noqa: S608
    return db.execute(query, (number,)).fetchall()


def depths(db: sqlite3.Connection) -> dict[str, Depth]:
    counted = db.execute(
        "SELECT destination, count(*) FROM deliveries WHERE state IN ('pending', 'sending') GROUP BY destination"
    ).fetchall()
    waiting = [(name, count, db.execute(OLDEST, (name,)).fetchone()[0]) for name, count in counted]
    dead = db.execute("SELECT destination, count(*) FROM deliveries WHERE state IN ('dead', 'dropped') GROUP BY 1")
    return rows.depths(waiting, dead.fetchall())


def tally(db: sqlite3.Connection, tallies: Sequence[Tally]) -> None:
    db.executemany(TALLY, map(rows.tally_row, tallies))


def tallies(db: sqlite3.Connection, since: datetime) -> list[Tally]:
    return [rows.tally(row) for row in db.execute(TALLIES, (rows.day(since),))]


def purge(db: sqlite3.Connection, before: datetime, limit: int) -> int:
    at = before.timestamp()
    total = _purge_deliveries(db, at, limit)  # first: an event is kept as long as one of its deliveries is
    for statement, when in (
        (PURGE_EVENTS, at),
        (PURGE_RUNS, at),
        (PURGE_PLACES, at),
        (PURGE_MUTES, at),
        (PURGE_TRACKS, at - rows.TRACKS_FOR.total_seconds()),
        (PURGE_SEEN, at - rows.SEEN_FOR.total_seconds()),
        (PURGE_TALLIES, rows.day(before) - rows.SEEN_FOR.days),
    ):
        total += db.execute(statement, (when, limit)).rowcount
    return total


def _purge_deliveries(db: sqlite3.Connection, at: float, limit: int) -> int:
    """Forget deliveries with their attempts; return how many rows of both."""
    gone = db.execute(OLD_DELIVERIES, (at, limit)).fetchall()
    return sum(db.executemany(statement, gone).rowcount for statement in (PURGE_ATTEMPTS, PURGE_DELIVERY) if gone)
