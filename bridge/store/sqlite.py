"""The memory on one machine: SQLite, one file, one writer.

All writes go through one thread that owns the writing connection and takes whatever waits as one transaction (group
commit): a hundred events share one sync. ``synchronous=FULL`` in WAL mode: when `accept` returns, the event is on the
disk. Readers have a connection of their own and never wait for the writer.
https://www.sqlite.org/wal.html https://www.sqlite.org/pragma.html#pragma_synchronous
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import queue
import re
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import zstandard

from bridge import codec
from bridge.errors import StoreUnavailable
from bridge.event import Event, Run, Target, Track
from bridge.observe import log
from bridge.store.base import (
    Accepted,
    Arrival,
    Claimed,
    Decider,
    Decision,
    Depth,
    Settlement,
    StoredAttempt,
    StoredDelivery,
    StoredEvent,
)

T = TypeVar("T")

BATCH = 256
BUSY_TIMEOUT = timedelta(seconds=3)  # another process may hold the write lock so long; senders wait 10 s, two turns
LONGEST_DELAY = timedelta(hours=1)  # nothing is ever due later: a delivery that seems to be was dated by a wrong clock
TRACKS_FOR = timedelta(days=365)  # how long a branch or pull request may rest before its results are forgotten
SEEN_FOR = timedelta(days=90)  # how long a delivery is remembered at least, so that it cannot be played again

# A delivery is claimed when it is due and the oldest that waits in its lane: deliveries of a run never overtake.
CLAIM = """
    SELECT d.id FROM deliveries d
    WHERE d.destination = ? AND d.state = 'pending' AND (d.due_at <= ? OR d.due_at > ?)
      AND NOT EXISTS (SELECT 1 FROM deliveries p
                      WHERE p.lane = d.lane AND p.id < d.id AND p.state IN ('pending', 'sending'))
    ORDER BY d.id LIMIT ?
"""
LEASE = "UPDATE deliveries SET state = 'sending', leased_until = ? WHERE id = ?"
EXPIRE = """
    UPDATE deliveries SET state = 'pending', leased_until = NULL, unsure = 1
    WHERE destination = ? AND state = 'sending' AND (leased_until < ? OR leased_until > ?)
"""
HASTEN = "UPDATE deliveries SET due_at = ? WHERE destination = ? AND state = 'pending' AND due_at > ? AND attempts > 0"
RECOVER = "UPDATE deliveries SET state = 'pending', leased_until = NULL, unsure = 1 WHERE state = 'sending'"
BURY = "UPDATE deliveries SET state = 'dead', leased_until = NULL, settled_at = ?, text = ? WHERE id = ?"
LOAD = """
    SELECT d.id, d.event_id, d.target, d.version, d.created_at, d.attempts, d.unsure, d.plain, d.replayed, d.tries,
           d.run_key, d.lane, e.event, r.run
    FROM deliveries d JOIN events e ON e.id = d.event_id LEFT JOIN runs r ON r.key = d.run_key
    WHERE d.id = ?
"""
# What a living message has shown only grows: an edit that shows version 7 settles every older wish for that message.
FOLD = """
    UPDATE deliveries SET state = 'folded', settled_at = ?, text = ?
    WHERE lane = ? AND live = 1 AND message = ? AND state = 'pending' AND id > ? AND version <= ?
"""
NEXT_DUE = """
    SELECT min(due_at) FROM deliveries d WHERE d.destination = ? AND d.state = 'pending'
      AND NOT EXISTS (SELECT 1 FROM deliveries p
                      WHERE p.lane = d.lane AND p.id < d.id AND p.state IN ('pending', 'sending'))
"""
NEXT_LEASE = "SELECT min(leased_until) FROM deliveries WHERE destination = ? AND state = 'sending'"
PLACE = """
    INSERT INTO places (key, receipt, shown, updated_at) VALUES (?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET receipt = excluded.receipt, shown = max(shown, excluded.shown),
                                    updated_at = excluded.updated_at
"""
ROOT = """
    INSERT INTO places (key, receipt, shown, updated_at) VALUES (?, ?, 0, ?)
    ON CONFLICT (key) DO UPDATE SET updated_at = excluded.updated_at
"""
SEE = """
    INSERT INTO seen (source, key, event_id, sent_at, at) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (source, key) DO UPDATE SET event_id = excluded.event_id, sent_at = excluded.sent_at, at = excluded.at
"""


class SqliteStore:
    """A `Store` in one file. Open with `await SqliteStore.open(path)`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._wakes: list[Callable[[str], None]] = []
        self._reader: sqlite3.Connection | None = None
        self._reading = threading.Lock()
        self._lock_file: Any = None
        self._closed = False
        self._thread = threading.Thread(target=self._write_forever, name="bridge-store", daemon=True)

    @classmethod
    async def open(cls, path: Path, *, worker: bool = False) -> SqliteStore:
        """Open the file, bring it up to date and start the writer; raise StoreUnavailable.

        `worker`: this process will deliver. When it is the only one, what an earlier process left in the middle of
        sending is given back at once, as unsure; otherwise leases run out by themselves.
        """
        store = cls(path)
        await asyncio.to_thread(store._migrate)
        store._thread.start()
        try:
            if worker:
                await store._recover()
        except BaseException as error:
            await store.close()
            if isinstance(error, OSError):
                raise StoreUnavailable(f"cannot write beside the database {path}: {error.strerror}") from error
            raise
        return store

    # -- accepting -----------------------------------------------------------------------------------------------------

    async def accept(self, arrival: Arrival, decider: Decider) -> Accepted:
        accepted = await self._write(lambda db: _accept(db, arrival, decider))
        for destination in accepted.destinations:
            self._wake(destination)
        return accepted

    async def route_stuck(self, decider: Decider) -> int:
        """Fold and route again what could not be; return how many are done."""
        stuck = await self.events(limit=1_000, state="stuck")
        done = 0
        for stored in reversed(stuck):
            if stored.event is None:
                continue
            event = stored.event
            try:
                touched = await self._write(
                    partial(_route_again, event=event, number=_number(stored.id), decider=decider)
                )
            except StoreUnavailable:
                raise
            except Exception as error:  # a bug is still a bug; the event stays where it is
                log.error("event.stuck", event_id=stored.id, error=type(error).__name__)
                continue
            done += 1
            for destination in touched:
                self._wake(destination)
        return done

    # -- delivering ----------------------------------------------------------------------------------------------------

    async def claim(self, destination: str, now: datetime, lease: timedelta, limit: int) -> list[Claimed]:
        return await self._write(lambda db: _claim(db, destination, now, lease, limit))

    async def settle(self, settlement: Settlement) -> None:
        await self._write(lambda db: _settle(db, settlement))

    async def reload(self, claimed: Claimed) -> Claimed:
        return await self._read(
            lambda db: replace(
                _claimed(db, _number(claimed.id)), unsure=claimed.unsure, leased_until=claimed.leased_until
            )
        )

    async def hasten(self, destination: str, now: datetime) -> None:
        await self._write(lambda db: db.execute(HASTEN, (now.timestamp(), destination, now.timestamp())))

    async def next_due(self, destination: str) -> datetime | None:
        def read(db: sqlite3.Connection) -> datetime | None:
            found = [
                value
                for query in (NEXT_DUE, NEXT_LEASE)
                if (value := db.execute(query, (destination,)).fetchone()[0]) is not None
            ]
            return _time(min(found)) if found else None

        return await self._read(read)

    async def replay(self, delivery_ids: Sequence[str], now: datetime) -> list[str]:
        def write(db: sqlite3.Connection) -> list[tuple[str, str]]:
            return [row for item in delivery_ids if (row := _replay(db, _number(item), now)) is not None]

        done = await self._write(write)
        for _, destination in done:
            self._wake(destination)
        return [delivery for delivery, _ in done]

    def on_owed(self, wake: Callable[[str], None]) -> None:
        self._wakes.append(wake)

    def _wake(self, destination: str) -> None:
        for wake in self._wakes:
            wake(destination)

    # -- looking -------------------------------------------------------------------------------------------------------

    async def ready(self) -> None:
        # A real write: a full disk refuses it, and takes an empty transaction.
        await self._write(lambda db: db.execute(SEE, ("", "", 0, None, 0.0)))

    async def events(self, *, limit: int, **where: Any) -> list[StoredEvent]:
        return await self._read(lambda db: _events(db, limit, where))

    async def event(self, event_id: str) -> StoredEvent | None:
        found = await self.events(limit=1, id=_number(event_id))
        return found[0] if found else None

    async def deliveries(self, *, limit: int, **where: Any) -> list[StoredDelivery]:
        return await self._read(lambda db: _deliveries(db, limit, where))

    async def delivery(self, delivery_id: str) -> StoredDelivery | None:
        found = await self.deliveries(limit=1, id=_number(delivery_id))
        return found[0] if found else None

    async def depths(self) -> dict[str, Depth]:
        return await self._read(_depths)

    async def bury(self, known: Sequence[str], before: datetime, now: datetime) -> int:
        return await self._write(lambda db: _bury(db, known, before, now))

    async def purge(self, before: datetime, limit: int = 500) -> int:
        """Forget what was settled before `before`, at most `limit` rows of each kind; return how many rows went."""
        return await self._write(lambda db: _purge(db, before, limit))

    # -- the machinery -------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        if not self._closed:
            self._closed = True  # nothing may queue up behind the end: nobody would answer it
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join)
        with self._reading:
            if self._reader is not None:
                self._reader.close()
                self._reader = None
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None

    async def _recover(self) -> None:
        """Give back what an earlier process left in the middle of sending, if no other process delivers from this file.

        Every worker holds the lock file shared until `close`; who gets it alone, even for a moment, is alone.
        """
        if str(self.path) == ":memory:":
            return
        self._lock_file = open(f"{self.path}.lock", "wb")  # noqa: SIM115, ASYNC230 - held as long as the store is open
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pass
        else:
            await self._write(lambda db: db.execute(RECOVER))
        await asyncio.to_thread(fcntl.flock, self._lock_file, fcntl.LOCK_SH)

    def _migrate(self) -> None:
        try:
            db = _connect(self.path)
            try:
                migrate(db)
            finally:
                db.close()
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailable(f"cannot open the database {self.path}: {error}") from error

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._closed:
            raise StoreUnavailable("the store is closed")
        loop = asyncio.get_running_loop()
        job = _Job(work, loop.create_future(), loop)
        self._jobs.put(job)
        return await job.future  # type: ignore[no-any-return]

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def read() -> T:
            with self._reading:
                if self._closed:
                    raise StoreUnavailable("the store is closed")
                try:
                    if self._reader is None:
                        self._reader = _connect(self.path, check_same_thread=False)
                    return work(self._reader)
                except sqlite3.Error as error:
                    raise StoreUnavailable(f"the database cannot be read: {error}") from error

        return await asyncio.to_thread(read)

    def _write_forever(self) -> None:
        """The writer: one transaction for all that waits, one sync, then all answers at once."""
        db: sqlite3.Connection | None = None
        running = True
        while running:
            batch = [job for job in [self._jobs.get()] if job is not None]
            running = bool(batch)
            while running and len(batch) < BATCH:
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if job is None:
                    running = False
                else:
                    batch.append(job)
            if not batch:
                break
            try:
                db = db or _connect(self.path)
                answers = _transaction(db, batch)
            except Exception as error:  # whatever it is, the writer lives on: a dead one would let all callers hang
                if not isinstance(error, sqlite3.Error | OSError):
                    log.error("store.failed", error=type(error).__name__, exc_info=True)
                db = _give_up(db)
                failure = StoreUnavailable(f"the database takes no writes: {error}")
                answers = [(job, None, failure) for job in batch]
            _answer(answers)
        if db is not None:
            db.close()


class _Job:
    __slots__ = ("future", "loop", "work")

    def __init__(self, work: Callable[[sqlite3.Connection], Any], future: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.work = work
        self.future: asyncio.Future[Any] = future
        self.loop = loop


_Answer = tuple[_Job, Any, BaseException | None]


def _transaction(db: sqlite3.Connection, batch: list[_Job]) -> list[_Answer]:
    """Do all jobs and commit. A job that raises is undone alone; an error of the engine undoes all."""
    answers: list[_Answer] = []
    db.execute("BEGIN IMMEDIATE")
    for job in batch:
        if job.future.cancelled():
            continue  # nobody waits for it: a claim made now would be held by nobody
        db.execute("SAVEPOINT job")
        try:
            answers.append((job, job.work(db), None))
        except Exception as error:
            if _is_engines(error):
                raise
            db.execute("ROLLBACK TO job")
            answers.append((job, None, error))
        db.execute("RELEASE job")
    db.execute("COMMIT")
    return answers


def _is_engines(error: Exception) -> bool:
    """Return whether the database itself fails, and not one job that asks it for something impossible."""
    one_jobs = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, sqlite3.InterfaceError)
    return isinstance(error, sqlite3.Error) and not isinstance(error, one_jobs)


def _give_up(db: sqlite3.Connection | None) -> sqlite3.Connection | None:
    """Leave the failed transaction; a connection that cannot even do that is closed and made anew."""
    if db is None:
        return None
    try:
        if db.in_transaction:
            db.execute("ROLLBACK")
    except sqlite3.Error:
        db.close()
        return None
    return db


def _answer(answers: list[_Answer]) -> None:
    """Hand the answers of one batch to their loops, one call per loop."""
    loops: dict[asyncio.AbstractEventLoop, list[_Answer]] = {}
    for answer in answers:
        loops.setdefault(answer[0].loop, []).append(answer)
    for loop, mine in loops.items():
        try:
            loop.call_soon_threadsafe(_resolve, mine)
        except RuntimeError:  # the loop is closed: nobody waits any more
            continue


def _resolve(answers: list[_Answer]) -> None:
    for job, result, error in answers:
        if job.future.done():
            continue
        if error is not None:
            job.future.set_exception(error)
        else:
            job.future.set_result(result)


def _connect(path: Path, *, check_same_thread: bool = True) -> sqlite3.Connection:
    db = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT.total_seconds(), isolation_level=None, check_same_thread=check_same_thread
    )
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
    except sqlite3.Error:
        db.close()
        raise
    return db


def migrate(db: sqlite3.Connection) -> None:
    """Bring the schema up to date: every numbered file that was not run yet, each in its own transaction."""
    folder = resources.files("bridge.store") / "migrations"
    files = sorted(item.name for item in folder.iterdir() if item.name.startswith("sqlite_"))
    for name in files:
        number = int(name.removeprefix("sqlite_").removesuffix(".sql"))
        db.execute("BEGIN IMMEDIATE")  # two processes that start together take turns
        try:
            if db.execute("PRAGMA user_version").fetchone()[0] < number:
                for statement in _statements((folder / name).read_text("utf-8")):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {number}")
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise


def _statements(script: str) -> list[str]:
    text = re.sub(r"--.*", "", script)
    return [statement for part in text.split(";") if (statement := part.strip())]


# -- inside the transaction --------------------------------------------------------------------------------------------


def _accept(db: sqlite3.Connection, arrival: Arrival, decider: Decider) -> Accepted:
    identity = arrival.identity
    event = arrival.event
    row = db.execute(
        "SELECT event_id, sent_at FROM seen WHERE source = ? AND key = ?", (arrival.source, identity.key)
    ).fetchone()
    if row is not None and event is not None and _was_unreadable(db, row[0]):
        row = None  # it can be read by now: the sender's redelivery is welcome
    if row is not None and (event is None or not identity.repeatable or _sent_before(identity.sent_at, row[1])):
        return Accepted(f"e{row[0]}", duplicate=True)
    if event is None:
        state = "ignored" if arrival.ignored else "unreadable"
        number = _insert_event(db, arrival, None, state, arrival.problem)
        if not arrival.ignored:
            _see(db, arrival, number)
        return Accepted(f"e{number}", state=state)  # type: ignore[arg-type]
    db.execute("SAVEPOINT routing")
    try:
        return _routed(db, arrival, event, decider, row)
    except Exception as error:  # a bug in fold or route must not lose the event: it is kept, shown and routed later
        if _is_engines(error):
            raise
        log.error("event.stuck", source=arrival.source, error=type(error).__name__, exc_info=True)
        db.execute("ROLLBACK TO routing")
        number = _insert_stuck(db, arrival, event, f"bridge could not route it: {type(error).__name__}")
        _see(db, arrival, number)
        return Accepted(f"e{number}", state="stuck")


def _routed(
    db: sqlite3.Connection, arrival: Arrival, event: Event, decider: Decider, seen: tuple[int, float | None] | None
) -> Accepted:
    decision = _decide(db, event, decider, repeat=seen is not None, sent_at=arrival.identity.sent_at)
    if decision is None:
        return Accepted(f"e{seen[0] if seen else 0}", duplicate=True)
    number = _insert_event(db, arrival, decision.event, decision.state, "", decision.rules)
    _see(db, arrival, number)
    destinations = _remember(db, decision, number, arrival.received_at)
    return Accepted(f"e{number}", state=decision.state, destinations=destinations)


def _insert_stuck(db: sqlite3.Connection, arrival: Arrival, event: Event, problem: str) -> int:
    try:
        return _insert_event(db, arrival, event, "stuck", problem)
    except Exception as error:  # not even the event can be written down: then its body is
        if _is_engines(error):
            raise
        return _insert_event(db, arrival, None, "stuck", problem)


def _was_unreadable(db: sqlite3.Connection, number: int) -> bool:
    row = db.execute("SELECT state FROM events WHERE id = ?", (number,)).fetchone()
    return row is not None and row[0] == "unreadable"


def _decide(
    db: sqlite3.Connection, event: Event, decider: Decider, *, repeat: bool, sent_at: datetime | None
) -> Decision | None:
    """Return what `event` means, or None when it repeats what is known already."""
    key = decider.run_key(event)
    found = db.execute("SELECT run FROM runs WHERE key = ?", (key,)).fetchone() if key else None
    first = decider.first(event, codec.load(found[0], Run) if found else None, repeat=repeat, sent_at=sent_at)
    if repeat and not first.news:
        return None
    track = None
    if first.track is not None:
        found = db.execute("SELECT track FROM tracks WHERE key = ?", (first.track,)).fetchone()
        track = codec.load(found[0], Track) if found else None
    return decider.second(first, track)


def _remember(db: sqlite3.Connection, decision: Decision, number: int, now: datetime) -> tuple[str, ...]:
    """Write the new state of run and track and what is owed; return the destinations that are owed something."""
    at = now.timestamp()
    run, track = decision.run, decision.track
    if run is not None:
        db.execute(
            "INSERT INTO runs (key, run, updated_at) VALUES (?, ?, ?) "
            "ON CONFLICT (key) DO UPDATE SET run = excluded.run, updated_at = excluded.updated_at",
            (run.key, codec.dump(run), at),
        )
    if track is not None:
        db.execute(
            "INSERT INTO tracks (key, track, updated_at) VALUES (?, ?, ?) "
            "ON CONFLICT (key) DO UPDATE SET track = excluded.track, updated_at = excluded.updated_at",
            (track.key, codec.dump(track), at),
        )
    for target in decision.targets:
        lane = f"{run.key}|{target.destination}" if run else f"e{number}|{target.destination}"
        db.execute(
            "INSERT INTO deliveries (event_id, lane, run_key, destination, message, target, live, version, state, "
            "due_at, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'pending', ?, ?)",
            (
                number,
                lane,
                run.key if run else None,
                target.destination,
                target.key,
                codec.dump(target).decode(),
                int(target.live),
                run.version if run else 0,
                at,
                at,
            ),
        )
    return tuple(dict.fromkeys(target.destination for target in decision.targets))


def _route_again(db: sqlite3.Connection, event: Event, number: int, decider: Decider) -> tuple[str, ...]:
    decision = _decide(db, event, decider, repeat=False, sent_at=None)
    if decision is None:
        return ()
    db.execute(
        "UPDATE events SET state = ?, event = ?, rules = ?, problem = '' WHERE id = ?",
        (decision.state, codec.dump(decision.event), json.dumps(decision.rules), number),
    )
    return _remember(db, decision, number, event.received_at or datetime.now(UTC))


def _insert_event(
    db: sqlite3.Connection, arrival: Arrival, event: Event | None, state: str, problem: str, rules: Sequence[str] = ()
) -> int:
    cursor = db.execute(
        "INSERT INTO events (source, received_at, state, event, problem, rules, headers, body) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            arrival.source,
            arrival.received_at.timestamp(),
            state,
            codec.dump(event) if event is not None else None,
            problem,
            json.dumps(rules),
            json.dumps(arrival.headers),
            _zip(arrival.body) if state != "ignored" else None,
        ),
    )
    return int(cursor.lastrowid or 0)


def _see(db: sqlite3.Connection, arrival: Arrival, number: int) -> None:
    sent_at = arrival.identity.sent_at
    db.execute(
        SEE,
        (
            arrival.source,
            arrival.identity.key,
            number,
            sent_at.timestamp() if sent_at else None,
            arrival.received_at.timestamp(),
        ),
    )


def _sent_before(sent_at: datetime | None, known: float | None) -> bool:
    """Return whether a repeatable delivery is that earlier one: of its time, before it, or with the time left out."""
    return known is not None and (sent_at is None or sent_at.timestamp() <= known)


def _claim(db: sqlite3.Connection, destination: str, now: datetime, lease: timedelta, limit: int) -> list[Claimed]:
    at = now.timestamp()
    never = at + LONGEST_DELAY.total_seconds()
    until = now + lease
    db.execute(EXPIRE, (destination, at, max(never, until.timestamp())))
    rows = db.execute(CLAIM, (destination, at, never, limit)).fetchall()
    claimed = []
    for (number,) in rows:
        db.execute(LEASE, (until.timestamp(), number))
        try:
            claimed.append(_promised(db, replace(_claimed(db, number), leased_until=until)))
        except sqlite3.Error:
            raise
        except Exception as error:  # what cannot be read back is kept to be seen, and holds nobody up
            log.error("delivery.unreadable", delivery_id=f"d{number}", error=type(error).__name__)
            db.execute(BURY, (at, f"bridge cannot read it back ({type(error).__name__})", number))
    return claimed


def _promised(db: sqlite3.Connection, claimed: Claimed) -> Claimed:
    """Note which version a living message will show now: should the answer be lost, that one may have been seen."""
    if claimed.target.live and claimed.run is not None:
        values = (claimed.run.version, _number(claimed.id))
        db.execute("UPDATE deliveries SET version = max(version, ?) WHERE id = ?", values)
    return claimed


def _claimed(db: sqlite3.Connection, number: int) -> Claimed:
    row = db.execute(LOAD, (number,)).fetchone()
    event_id, target_text, version, created_at, attempts, unsure, plain, replayed, tries, run_key, lane, event, run = (
        row[1:]
    )
    target = codec.load(target_text, Target)
    if target.live:
        target = _with_mentions(db, target, lane, number)
    place = _place(db, f"m|{run_key}|{target.key}") if run_key and target.live else None
    root = _place(db, _thread_key(run_key, target)) if run_key and target.thread else None
    return Claimed(
        id=f"d{number}",
        event=codec.load(event, Event).with_(id=f"e{event_id}"),
        run=codec.load(run, Run) if run else None,
        target=target,
        created_at=_time(created_at),
        attempts=attempts,
        version=version,
        receipt=place[0] if place else None,
        shown=place[1] if place else 0,
        root=root[0] if root else None,
        unsure=bool(unsure),
        plain=bool(plain),
        replayed=bool(replayed),
        history=tries,
    )


def _with_mentions(db: sqlite3.Connection, target: Target, lane: str, number: int) -> Target:
    """Return a living target with whom the younger wishes, which it will settle too, wanted to mention."""
    later = db.execute(
        "SELECT target FROM deliveries WHERE lane = ? AND message = ? AND state = 'pending' AND id > ?",
        (lane, target.key, number),
    )
    named = [who for (text,) in later for who in codec.load(text, Target).mention]
    return replace(target, mention=tuple(dict.fromkeys((*target.mention, *named))))


def _place(db: sqlite3.Connection, key: str) -> tuple[dict[str, str], int] | None:
    row = db.execute("SELECT receipt, shown FROM places WHERE key = ?", (key,)).fetchone()
    return (json.loads(row[0]), row[1]) if row else None


def _thread_key(run_key: str, target: Target) -> str:
    return f"t|{run_key}|{target.destination}|{target.channel or ''}"


def _settle(db: sqlite3.Connection, settlement: Settlement) -> None:
    number = _number(settlement.id)
    row = db.execute(
        "SELECT lane, run_key, target, live, leased_until FROM deliveries WHERE id = ? AND state = 'sending'", (number,)
    ).fetchone()
    held = settlement.leased_until
    if row is None or (held is not None and held.timestamp() != row[4]):
        return  # the lease was lost: the word of him who holds it, or has settled it, counts
    lane, run_key, target_text, live, _ = row
    at = settlement.at.timestamp()
    waits = settlement.state == "pending"
    db.execute(
        "UPDATE deliveries SET state = ?, leased_until = NULL, due_at = coalesce(?, due_at), settled_at = ?, text = ?, "
        "attempts = attempts + ?, tries = tries + 1, plain = plain OR ?, sent = coalesce(?, sent), "
        "unsure = CASE WHEN ? = 'released' THEN unsure ELSE ? END WHERE id = ?",
        (
            settlement.state,
            settlement.due_at.timestamp() if settlement.due_at else None,
            None if waits else at,
            settlement.text,
            int(settlement.counts),
            int(settlement.plain),
            settlement.sent,
            settlement.outcome,
            int(waits and settlement.outcome == "unsure"),
            number,
        ),
    )
    if settlement.outcome == "released":  # handed back unsent
        return
    db.execute(
        "INSERT INTO attempts (delivery_id, at, outcome, text, seconds) VALUES (?, ?, ?, ?, ?)",
        (number, at, settlement.outcome, settlement.text, settlement.seconds),
    )
    if not run_key:
        return
    target = codec.load(target_text, Target)
    message, thread = f"m|{run_key}|{target.key}", _thread_key(run_key, target)
    if settlement.forget:
        db.execute("DELETE FROM places WHERE key IN (?, ?)", (message, thread))
    if settlement.receipt is not None:
        receipt = json.dumps(settlement.receipt)
        if live:
            db.execute(PLACE, (message, receipt, settlement.shown or 0, at))
        db.execute(ROOT, (thread, receipt, at))
    if live and settlement.shown is not None:
        db.execute(FOLD, (at, f"shown by {settlement.id}", lane, target.key, number, settlement.shown))


def _replay(db: sqlite3.Connection, number: int, now: datetime) -> tuple[str, str] | None:
    """Owe a settled delivery again, as a new one, so that what was tried stays to be seen."""
    row = db.execute(
        "SELECT event_id, lane, run_key, destination, message, target, live, version, state FROM deliveries "
        "WHERE id = ?",
        (number,),
    ).fetchone()
    if row is None or row[8] in ("pending", "sending"):
        return None
    at = now.timestamp()
    cursor = db.execute(
        "INSERT INTO deliveries (event_id, lane, run_key, destination, message, target, live, version, state, due_at, "
        "created_at, replayed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'pending', ?, ?, 1)",
        (*row[:8], at, at),
    )
    if row[8] in ("dead", "dropped"):
        db.execute(
            "UPDATE deliveries SET state = 'folded', text = text || ? WHERE id = ?",
            (f"; replayed as d{cursor.lastrowid}", number),
        )
    return f"d{cursor.lastrowid}", row[3]


def _bury(db: sqlite3.Connection, known: Sequence[str], before: datetime, now: datetime) -> int:
    marks = ", ".join("?" * len(known))
    return db.execute(
        "UPDATE deliveries SET state = 'dead', settled_at = ?, "  # noqa: S608
        "text = 'the configuration has no destination of this name any more' "
        f"WHERE state = 'pending' AND created_at < ? AND destination NOT IN ({marks})",
        (now.timestamp(), before.timestamp(), *known),
    ).rowcount


def _purge(db: sqlite3.Connection, before: datetime, limit: int) -> int:
    at = before.timestamp()
    total = 0
    # Deliveries first: an event is kept as long as one of its deliveries is.
    for statement, when in (
        ("DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries WHERE settled_at < ? LIMIT ?)", at),
        (
            "DELETE FROM events WHERE id IN (SELECT e.id FROM events e WHERE e.received_at < ? AND e.state <> 'stuck' "
            "AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.event_id = e.id) LIMIT ?)",
            at,
        ),
        (
            "DELETE FROM attempts WHERE id IN (SELECT a.id FROM attempts a WHERE a.at < ? AND NOT EXISTS "
            "(SELECT 1 FROM deliveries d WHERE d.id = a.delivery_id) LIMIT ?)",
            at,
        ),
        (
            "DELETE FROM runs WHERE key IN (SELECT r.key FROM runs r WHERE r.updated_at < ? AND NOT EXISTS "
            "(SELECT 1 FROM deliveries d WHERE d.run_key = r.key) LIMIT ?)",
            at,
        ),
        ("DELETE FROM places WHERE key IN (SELECT key FROM places WHERE updated_at < ? LIMIT ?)", at),
        (
            "DELETE FROM tracks WHERE key IN (SELECT key FROM tracks WHERE updated_at < ? LIMIT ?)",
            at - TRACKS_FOR.total_seconds(),
        ),
        (
            "DELETE FROM seen WHERE (source, key) IN (SELECT source, key FROM seen WHERE at < ? LIMIT ?)",
            at - SEEN_FOR.total_seconds(),
        ),
    ):
        total += db.execute(statement, (when, limit)).rowcount
    return total


# -- reading -----------------------------------------------------------------------------------------------------------


def _events(db: sqlite3.Connection, limit: int, where: dict[str, Any]) -> list[StoredEvent]:
    clause, values = _where(
        where, {"id": "id = ?", "state": "state = ?", "source": "source = ?", "since": "received_at >= ?"}
    )
    body = "body" if "id" in where else "NULL"
    rows = db.execute(
        f"SELECT id, source, received_at, state, event, problem, rules, headers, {body} FROM events {clause} "  # noqa: S608
        "ORDER BY id DESC LIMIT ?",
        (*values, limit),
    ).fetchall()
    return [
        StoredEvent(
            id=f"e{row[0]}",
            source=row[1],
            received_at=_time(row[2]),
            state=row[3],
            event=_event_of(row[4], row[0]),
            problem=row[5],
            rules=tuple(json.loads(row[6])),
            headers=json.loads(row[7]),
            body=_unzip(row[8]) if row[8] else b"",
        )
        for row in rows
    ]


def _event_of(text: bytes | None, number: int) -> Event | None:
    """Return a stored event; None also for one that cannot be read back: a list must not fail for one of its rows."""
    if not text:
        return None
    try:
        return codec.load(text, Event).with_(id=f"e{number}")
    except ValueError:  # msgspec's errors are
        log.error("event.unreadable", event_id=f"e{number}")
        return None


def _deliveries(db: sqlite3.Connection, limit: int, where: dict[str, Any]) -> list[StoredDelivery]:
    clause, values = _where(
        where,
        {
            "id": "d.id = ?",
            "state": "d.state = ?",
            "destination": "d.destination = ?",
            "event_id": "d.event_id = ?",
            "since": "d.created_at >= ?",
        },
    )
    rows = db.execute(
        "SELECT d.id, d.event_id, d.target, d.state, d.due_at, d.created_at, d.settled_at, d.attempts, d.text, d.sent, "  # noqa: S608
        "d.replayed, e.event "
        f"FROM deliveries d JOIN events e ON e.id = d.event_id {clause} ORDER BY d.id DESC LIMIT ?",
        (*values, limit),
    ).fetchall()
    return [
        StoredDelivery(
            id=f"d{row[0]}",
            event_id=f"e{row[1]}",
            target=codec.load(row[2], Target),
            state=row[3],
            due_at=_time(row[4]),
            created_at=_time(row[5]),
            settled_at=_time(row[6]) if row[6] is not None else None,
            attempts=row[7],
            text=row[8],
            sent=row[9],
            replayed=bool(row[10]),
            event=_event_of(row[11], row[1]),
            history=_history(db, row[0]) if "id" in where or "event_id" in where else (),
        )
        for row in rows
    ]


def _history(db: sqlite3.Connection, number: int) -> tuple[StoredAttempt, ...]:
    rows = db.execute("SELECT at, outcome, text, seconds FROM attempts WHERE delivery_id = ? ORDER BY id", (number,))
    return tuple(
        StoredAttempt(at=_time(at), outcome=outcome, text=text, seconds=took) for at, outcome, text, took in rows
    )


def _depths(db: sqlite3.Connection) -> dict[str, Depth]:
    waiting = db.execute(
        "SELECT destination, count(*), min(created_at) FROM deliveries WHERE state IN ('pending', 'sending') "
        "GROUP BY destination"
    ).fetchall()
    dead = dict(
        db.execute(
            "SELECT destination, count(*) FROM deliveries WHERE state IN ('dead', 'dropped') GROUP BY destination"
        ).fetchall()
    )
    depths = {name: Depth(count, _time(oldest), dead.pop(name, 0)) for name, count, oldest in waiting}
    return depths | {name: Depth(0, None, count) for name, count in dead.items()}


def _where(given: dict[str, Any], known: dict[str, str]) -> tuple[str, list[Any]]:
    chosen = {name: value for name, value in given.items() if value is not None}
    values = [value.timestamp() if isinstance(value, datetime) else value for value in chosen.values()]
    clause = " AND ".join(known[name] for name in chosen)
    return (f"WHERE {clause}" if clause else ""), values


def _number(public_id: Any) -> int:
    """Return the number in ``e12`` or ``d12``; 0, which is nobody's, for anything else."""
    found = re.fullmatch(r"[ed]?([0-9]{1,18})", str(public_id))
    return int(found[1]) if found else 0


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


class _Zips(threading.local):
    """A compressor per thread: none may be shared, and making one takes as long as compressing a body."""

    def __init__(self) -> None:
        self.compress = zstandard.ZstdCompressor(level=1).compress


_zips = _Zips()


def _zip(body: bytes) -> bytes:
    return _zips.compress(body)


def _unzip(body: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(body, max_output_size=64 * 1024 * 1024)
