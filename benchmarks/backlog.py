"""Does a million waiting deliveries slow down what comes in, or what goes out, or fill the memory?

One event is accepted for a destination that does not answer, and then copied, with its run, by SQL until so many wait.
Accepting is measured in the server, in turns with one whose database is empty; claiming in the store itself, beside a
thousand waiting.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.accept import CONNECTIONS, UNREACHABLE, WARM_UP
from benchmarks.bodies import cirrus_tasks, github_runs
from benchmarks.context import Context
from benchmarks.load import run, saturate
from benchmarks.row import Row, at_least, at_most, middle
from benchmarks.servers import Absent, Server, configuration
from bridge.store import open_store

SIZES = (1_000, 10_000, 100_000, 1_000_000)
QUICK_SIZES = SIZES[:2]
SLICE = 50_000
CLAIMS, WARM_UP_CLAIMS = 200, 20
AT_ONCE = 4
DESTINATION = "down"


def owing() -> dict[str, Any]:
    """Return a configuration in which one repository's events are owed to a chat that nobody answers for."""
    place = {"type": "slack", "url": f"{UNREACHABLE}/nobody", "rate": "100000/s"}
    match = {"repository": "acme/app", "kind": ["task", "pipeline"]}
    rule = {"name": "owed", "match": match, "to": DESTINATION}
    return configuration(extra={"destinations": {DESTINATION: place}, "rules": [rule]})


def owe_one(context: Context, server: Server) -> None:
    sent = run(saturate(server.port, cirrus_tasks(numbers=context.numbers), 0.0, 1))
    if not sent.accepted:
        raise Absent(f"bridge accepted nothing: {sent.first_refusal!r}")


def measure(context: Context) -> list[Row]:
    folder = context.new_folder("backlog")
    database, configured = folder / "bridge.db", owing()
    with context.bridge(configured, folder=folder) as server:
        owe_one(context, server)
    rows: list[Row] = []
    sizes = QUICK_SIZES if context.quick else SIZES
    thousand = folder / "thousand.db"
    with context.bridge(configuration()) as empty:
        for size in sizes:
            begun = time.monotonic()
            _fill(database, size)
            context.say(f"{size:,} wait, made in {time.monotonic() - begun:.1f} s")
            if size == sizes[0]:
                shutil.copy(database, thousand)
            else:
                rows.append(_claim(folder, thousand, database, size, last=size == sizes[-1]))
            with context.bridge(configured, folder=folder) as server:
                rows += _beside(context, size, server, empty, last=size == sizes[-1])
    rows.append(Row("backlog.disk", "the database with them", (_size_mb(database),), "MB"))
    return rows


def _claim(folder: Path, thousand: Path, database: Path, size: int, *, last: bool) -> Row:
    few = shutil.copy(thousand, folder / f"beside-{size}.db")  # what is claimed stays claimed: a new one each time
    few_us, many_us = run(claims_us(f"sqlite:///{few}", f"sqlite:///{database}"))
    beside = f"{many_us:.0f} µs for {AT_ONCE}, {few_us:.0f} with {SIZES[0]:,}"
    what, goal = f"{size:,} waiting: claim", at_least(0.9) if last else None
    return Row(f"backlog.{size}.claim", what, (few_us / many_us,), f"of {SIZES[0]:,}", goal, beside)


def _beside(context: Context, size: int, server: Server, empty: Server, *, last: bool) -> list[Row]:
    requests = github_runs(numbers=context.numbers)
    rates: dict[str, list[float]] = {"server": [], "empty": []}
    seconds = context.seconds if last else context.seconds / 2
    for number in range(context.rounds + 1):
        for name, each in (("empty", empty), ("server", server)):
            sent = run(saturate(each.port, requests, seconds if number else WARM_UP, CONNECTIONS))
            if number:
                rates[name].append(sent.per_second)
    ratios = tuple(mine / theirs for mine, theirs in zip(rates["server"], rates["empty"], strict=True))
    beside = f"{middle(rates['server']):,.0f} of {middle(rates['empty']):,.0f}/s"
    more = server.memory_mb - empty.memory_mb
    memory = f"{server.memory_mb:.0f} MB, {empty.memory_mb:.0f} MB with none"
    what = f"{size:,} waiting"
    return [
        Row(f"backlog.{size}.accept", f"{what}: accept", ratios, "of none", at_least(0.9) if last else None, beside),
        Row(f"backlog.{size}.memory", f"{what}: memory", (more,), "MB more", at_most(16) if last else None, memory),
    ]


def _fill(database: Path, size: int) -> None:
    """Copy one delivery that waits, with its event and its run, until so many wait."""
    with closing(sqlite3.connect(database, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = OFF")
        db.execute("UPDATE deliveries SET state = 'pending', leased_until = NULL WHERE state = 'sending'")
        (waiting,) = db.execute("SELECT count(*) FROM deliveries WHERE state = 'pending'").fetchone()
        while waiting < size:
            _copy(db, min(SLICE, size - waiting), waiting)
            waiting = min(size, waiting + SLICE)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with database.open("rb+") as file:  # what is still to be written must not be the next measurement's burden
        os.fsync(file.fileno())


def _copy(db: sqlite3.Connection, count: int, known: int) -> None:
    event_id, delivery_id, run_key = db.execute(
        "SELECT event_id, id, run_key FROM deliveries WHERE state = 'pending' ORDER BY id LIMIT 1"
    ).fetchone()
    (last,) = db.execute("SELECT max(id) FROM events").fetchone()
    changes = copied(last, known)
    db.execute("BEGIN")
    for table, which, wanted in (
        ("events", "id", event_id),
        ("runs", "key", run_key),
        ("deliveries", "id", delivery_id),
    ):
        names = [column[1] for column in db.execute(f"PRAGMA table_info({table})")]
        columns = [name for name in names if (table, name) != ("deliveries", "id")]
        values = ", ".join(changes[table].get(column, f"t.{column}") for column in columns)
        db.execute(
            f"WITH RECURSIVE n(number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM n WHERE number < {count}) "
            f"INSERT INTO {table} ({', '.join(columns)}) "
            f"SELECT {values} FROM n CROSS JOIN {table} t WHERE t.{which} = ?",
            (wanted,),
        )
    db.execute("COMMIT")


def copied(last_event: int, known: int) -> dict[str, dict[str, str]]:
    """Return, by table, what differs in a copy from its row `t`, as SQL over `n.number`."""
    another = f"'|copy ' || ({known} + n.number)"
    return {
        "events": {"id": f"{last_event} + n.number"},
        "runs": {"key": f"t.key || {another}"},
        "deliveries": {
            "event_id": f"{last_event} + n.number",
            "lane": f"t.lane || {another}",
            "run_key": f"t.run_key || {another}",
            "attempts": "0",
            "tries": "0",
        },
    }


async def claims_us(few: str, many: str) -> tuple[float, float]:
    """Return what one claim takes in each of two stores, in the median; they are asked in turns."""
    stores = [await open_store(url) for url in (few, many)]
    times: list[list[float]] = [[], []]
    try:
        for number in range(CLAIMS + WARM_UP_CLAIMS):
            for store, taken in zip(stores, times, strict=True):
                begun = time.perf_counter()
                claimed = await store.claim(DESTINATION, datetime.now(UTC), timedelta(seconds=100), AT_ONCE)
                if number >= WARM_UP_CLAIMS:
                    taken.append((time.perf_counter() - begun) * 1e6)
                if len(claimed) != AT_ONCE:
                    raise Absent(f"a claim gave {len(claimed)} of {AT_ONCE} deliveries")
    finally:
        for store in stores:
            await store.close()
    return middle(times[0]), middle(times[1])


def _size_mb(database: Path) -> float:
    return database.stat().st_size / 1e6
