"""The memory on one machine: SQLite, one file, one writer.

All writes go through `GroupCommit`: whatever waits is one transaction, and a hundred events share one sync. When
`accept` returns, the event is on the disk. What is claimed and settled survives the end of the process at any moment;
it is synced with the next event, or a fraction of a second later: after a power failure it is done again, not lost.
Readers have a connection of their own and never wait for the writer. https://www.sqlite.org/wal.html
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import re
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import zstandard

from bridge import codec
from bridge.errors import StoreUnavailable
from bridge.event import Event, Identity, Run, Target, Track
from bridge.observe import log
from bridge.store import _sqlite_shared
from bridge.store._commit import GroupCommit, connect
from bridge.store.accepting import Duplicate, Entry, Known, Seen, accepting
from bridge.store.base import (
    Accepted,
    Arrival,
    Claimed,
    Condition,
    Decider,
    Depth,
    Row,
    Settlement,
    StoredAttempt,
    StoredDelivery,
    StoredEvent,
)

T = TypeVar("T")
Values = tuple[Any, ...]

REMEMBERED = 500  # runs, tracks and events whose newest state is in memory, too
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
    SELECT event_id, target, version, created_at, attempts, unsure, plain, replayed, tries, run_key, lane
    FROM deliveries WHERE id = ?
"""
SEEN = """
    SELECT s.event_id, s.sent_at, e.state = 'unreadable' FROM seen s LEFT JOIN events e ON e.id = s.event_id
    WHERE s.source = ? AND s.key = ?
"""
EVENT = """
    INSERT INTO events (id, source, received_at, state, event, problem, rules, headers, body)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
ROUTED = "UPDATE events SET state = ?, event = ?, rules = ?, problem = '' WHERE id = ?"
RUN = """
    INSERT INTO runs (key, run, updated_at) VALUES (?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET run = excluded.run, updated_at = excluded.updated_at
"""
TRACK = """
    INSERT INTO tracks (key, track, updated_at) VALUES (?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET track = excluded.track, updated_at = excluded.updated_at
"""
OWE = """
    INSERT INTO deliveries (event_id, lane, run_key, destination, message, target, live, version, state, due_at,
                            created_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'pending', ?, ?)
"""
# What a living message has shown only grows: an edit that shows version 7 settles every older wish for that message.
FOLD = """
    UPDATE deliveries SET state = 'folded', settled_at = ?, text = ?
    WHERE lane = ? AND live = 1 AND message = ? AND state = 'pending' AND id > ? AND version <= ?
"""
# What is due already and was not claimed waits for the one before it in its lane, or for a free hand.
NEXT_DUE = "SELECT min(due_at) FROM deliveries WHERE destination = ? AND state = 'pending' AND due_at > ?"
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
        self._memory = _Memory()
        self._commit = GroupCommit(path, self._memory)
        self._wakes: list[Callable[[str], None]] = []
        self._reader: sqlite3.Connection | None = None
        self._reading = threading.Lock()
        self._lock_file: Any = None
        self._closed = False

    @classmethod
    async def open(cls, path: Path, *, worker: bool = False) -> SqliteStore:
        """Open the file and bring it up to date; raise StoreUnavailable.

        `worker`: this process will deliver. When it is the only one, what an earlier process left in the middle of
        sending is given back at once, as unsure; otherwise leases run out by themselves.
        """
        store = cls(path)
        try:
            await asyncio.to_thread(store._migrate)
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
        body = None if arrival.ignored else _zip(arrival.body)
        accepted = await self._commit.write(lambda db: self._accept(db, arrival, body, decider))
        for destination in accepted.destinations:
            self._wake(destination)
        return accepted

    def _accept(self, db: sqlite3.Connection, arrival: Arrival, body: bytes | None, decider: Decider) -> Accepted:
        memory = self._memory
        seen = memory.seen(db, arrival.source, arrival.identity.key)
        entry = self._decide(db, arrival, decider, seen)
        if isinstance(entry, Duplicate):
            return Accepted(f"e{entry.event_id}", duplicate=True)
        at = arrival.received_at.timestamp()
        number = memory.next_event()
        rules, headers = entry.rules.decode(), entry.headers.decode()
        memory.put_event((number, arrival.source, at, entry.state, entry.event, entry.problem, rules, headers, body))
        if entry.remember:
            sent_at = arrival.identity.sent_at
            sent = sent_at.timestamp() if sent_at else None
            unreadable = entry.state == "unreadable"
            memory.see(arrival.source, arrival.identity.key, Seen(number, sent, unreadable), at)
        self._remember(entry, number, at)
        return Accepted(f"e{number}", state=entry.state, destinations=entry.destinations)

    def _decide(
        self, db: sqlite3.Connection, arrival: Arrival, decider: Decider, seen: Seen | None
    ) -> Entry | Duplicate:
        talk = accepting(arrival, decider)
        run_key = next(talk)
        try:
            track_key = talk.send(Known(seen, self._memory.run(db, run_key) if run_key else None))
            talk.send(self._memory.track(db, track_key) if track_key else None)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        raise RuntimeError("it asked a third time")

    def _remember(self, entry: Entry, number: int, at: float) -> None:
        """Note the new state of run and track and what is owed."""
        run, track = entry.run, entry.track
        if run is not None:
            self._memory.put_run(run, entry.run_json, at)
        if track is not None:
            self._memory.put_track(track, entry.track_json, at)
        if entry.targets and entry.said is not None:
            self._memory.events.put(number, entry.said.with_(id=f"e{number}"))
        for target, text in entry.targets:
            lane = f"{run.key}|{target.destination}" if run else f"e{number}|{target.destination}"
            run_key, version = (run.key, run.version) if run else (None, 0)
            self._memory.owe(
                (number, lane, run_key, target.destination, target.key, text, int(target.live), version, at, at)
            )

    async def route_stuck(self, decider: Decider) -> int:
        """Fold and route again what could not be; return how many are done."""
        stuck = await self.events(limit=1_000, state="stuck")
        done = 0
        for stored in reversed(stuck):
            entry = await self._write(partial(self._route_again, stored=stored, decider=decider))
            if entry is None:
                continue
            done += 1
            for destination in entry.destinations:
                self._wake(destination)
        return done

    def _route_again(self, db: sqlite3.Connection, stored: StoredEvent, decider: Decider) -> Entry | None:
        if stored.event is None:
            return None
        arrival = Arrival(stored.source, stored.received_at, {}, b"", Identity(""), stored.event)
        entry = self._decide(db, arrival, decider, None)
        if isinstance(entry, Duplicate) or entry.state == "stuck":
            return None  # a bug is still a bug; the event stays where it is
        number = _number(stored.id)
        db.execute(ROUTED, (entry.state, entry.event, entry.rules.decode(), number))
        self._remember(entry, number, stored.received_at.timestamp())
        return entry

    # -- delivering ----------------------------------------------------------------------------------------------------

    async def claim(self, destination: str, now: datetime, lease: timedelta, limit: int) -> list[Claimed]:
        return await self._write(lambda db: _claim(db, self._memory, destination, now, lease, limit), durable=False)

    async def settle(self, settlement: Settlement) -> None:
        await self._write(lambda db: _settle(db, settlement), durable=False)

    async def reload(self, claimed: Claimed) -> Claimed:
        found = await self._write(lambda db: _claimed(db, self._memory, _number(claimed.id)), durable=False)
        return replace(found, unsure=claimed.unsure, leased_until=claimed.leased_until)

    async def hasten(self, destination: str, now: datetime) -> None:
        await self._write(lambda db: db.execute(HASTEN, (now.timestamp(), destination, now.timestamp())))

    async def next_due(self, destination: str, now: datetime) -> datetime | None:
        def read(db: sqlite3.Connection) -> datetime | None:
            asked = ((NEXT_DUE, (destination, now.timestamp())), (NEXT_LEASE, (destination,)))
            found = [value for query, given in asked if (value := db.execute(query, given).fetchone()[0]) is not None]
            return _time(min(found)) if found else None

        return await self._write(read, durable=False)  # a thread to read in would take ten times as long

    async def replay(self, delivery_ids: Sequence[str], now: datetime) -> list[str]:
        def write(db: sqlite3.Connection) -> list[tuple[str, str]]:
            return [row for item in delivery_ids if (row := _replay(db, _number(item), now)) is not None]

        done = await self._write(write)
        for _, destination in done:
            self._wake(destination)
        return [delivery for delivery, _ in done]

    def on_owed(self, wake: Callable[[str], None]) -> None:
        self._wakes.append(wake)

    @property
    def limits(self) -> None:
        return None

    async def lead(self) -> bool:
        return True

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

    # -- what several workers would share ------------------------------------------------------------------------------

    async def report(self, destination: str, condition: Condition) -> None:
        await self._write(lambda db: _sqlite_shared.report(db, destination, condition), durable=False)

    async def conditions(self) -> dict[str, Condition]:
        return await self._read(_sqlite_shared.conditions)

    def export(self) -> AsyncIterator[tuple[str, Row]]:
        return _sqlite_shared.export(self.path)

    async def restore(self, rows: AsyncIterator[tuple[str, Row]]) -> dict[str, int]:
        return await _sqlite_shared.restore(self.path, rows)

    # -- forgetting ----------------------------------------------------------------------------------------------------

    async def bury(self, known: Sequence[str], before: datetime, now: datetime) -> int:
        return await self._write(lambda db: _bury(db, known, before, now))

    async def purge(self, before: datetime, limit: int = 500) -> int:
        """Forget what was settled before `before`, at most `limit` rows of each kind; return how many rows went."""

        def write(db: sqlite3.Connection) -> int:
            self._memory.forget()
            return _purge(db, before, limit)

        return await self._write(write)

    # -- the machinery -------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await self._commit.close()
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
            db = connect(self.path)
            try:
                migrate(db)
            finally:
                db.close()
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailable(f"cannot open the database {self.path}: {error}") from error

    async def _write(self, work: Callable[[sqlite3.Connection], T], *, durable: bool = True) -> T:
        """Do `work` after all that this transaction has accepted so far."""

        def after(db: sqlite3.Connection) -> T:
            self._memory.flush(db)
            return work(db)

        return await self._commit.write(after, durable=durable)

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def read() -> T:
            with self._reading:
                if self._closed:
                    raise StoreUnavailable("the store is closed")
                try:
                    if self._reader is None:
                        self._reader = connect(self.path)
                    return work(self._reader)
                except sqlite3.Error as error:
                    raise StoreUnavailable(f"the database cannot be read: {error}") from error

        return await asyncio.to_thread(read)


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


class _Memory:
    """The newest states, so that they need not be read and parsed again; and what this transaction has yet to write.

    Only the connection that writes asks it: within its transaction nobody else writes, and what others have written
    since its last one shows in ``data_version``. What many arrivals write goes to the engine at once, table by table:
    that takes half the time, and of a run that moved twice only the last state is written.
    https://www.sqlite.org/pragma.html#pragma_data_version
    """

    def __init__(self) -> None:
        self.runs: _Newest[Run] = _Newest()
        self.tracks: _Newest[Track] = _Newest()
        self.events: _Newest[Event] = _Newest()
        self._version = -1
        self._last_event = 0
        self._events: list[Values] = []
        self._seen: dict[tuple[str, str], tuple[Seen, float]] = {}
        self._runs: dict[str, Values] = {}
        self._tracks: dict[str, Values] = {}
        self._owed: list[Values] = []

    def begin(self, db: sqlite3.Connection) -> None:
        """A transaction begins: is what is remembered still true?"""
        version = db.execute("PRAGMA data_version").fetchone()[0]
        if version == self._version:
            return
        self.forget()
        row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
        self._last_event = row[0] if row else 0
        self._version = version

    def forget(self) -> None:
        self._version = -1
        for kept in (self.runs, self.tracks, self.events, self._events, self._seen, self._runs, self._tracks):
            kept.clear()
        self._owed.clear()

    def flush(self, db: sqlite3.Connection) -> None:
        """Write what is still to be written, also before anything else is asked or changed in this transaction."""
        if self._events:
            db.executemany(EVENT, self._events)
            self._events.clear()
        if self._seen:
            rows = ((*key, seen.event_id, seen.sent_at, at) for key, (seen, at) in self._seen.items())
            db.executemany(SEE, rows)
            self._seen.clear()
        for statement, changed in ((RUN, self._runs), (TRACK, self._tracks)):
            if changed:
                db.executemany(statement, changed.values())
                changed.clear()
        if self._owed:
            db.executemany(OWE, self._owed)
            self._owed.clear()

    def next_event(self) -> int:
        self._last_event += 1
        return self._last_event

    def put_event(self, row: Values) -> None:
        self._events.append(row)

    def seen(self, db: sqlite3.Connection, source: str, key: str) -> Seen | None:
        if found := self._seen.get((source, key)):
            return found[0]
        row = db.execute(SEEN, (source, key)).fetchone()
        return Seen(row[0], row[1], bool(row[2])) if row is not None else None

    def see(self, source: str, key: str, seen: Seen, at: float) -> None:
        self._seen[source, key] = (seen, at)

    def put_run(self, run: Run, text: bytes, at: float) -> None:
        self.runs.put(run.key, run)
        self._runs[run.key] = (run.key, text, at)

    def put_track(self, track: Track, text: bytes, at: float) -> None:
        self.tracks.put(track.key, track)
        self._tracks[track.key] = (track.key, text, at)

    def owe(self, row: Values) -> None:
        self._owed.append(row)

    def run(self, db: sqlite3.Connection, key: str) -> Run | None:
        run = self.runs.get(key)
        if run is None:
            row = db.execute("SELECT run FROM runs WHERE key = ?", (key,)).fetchone()
            run = codec.load(row[0], Run) if row else None
            if run is not None:
                self.runs.put(key, run)
        return run

    def track(self, db: sqlite3.Connection, key: str) -> Track | None:
        track = self.tracks.get(key)
        if track is None:
            row = db.execute("SELECT track FROM tracks WHERE key = ?", (key,)).fetchone()
            track = codec.load(row[0], Track) if row else None
            if track is not None:
                self.tracks.put(key, track)
        return track

    def event(self, db: sqlite3.Connection, number: int) -> Event:
        event = self.events.get(number)
        if event is None:
            (text,) = db.execute("SELECT event FROM events WHERE id = ?", (number,)).fetchone()
            event = codec.load(text, Event).with_(id=f"e{number}")
            self.events.put(number, event)
        return event


class _Newest(dict[Any, T]):
    """So many of the newest."""

    def put(self, key: Any, value: T) -> None:
        self.pop(key, None)
        self[key] = value
        if len(self) > REMEMBERED:
            del self[next(iter(self))]


# -- inside the transaction --------------------------------------------------------------------------------------------


def _claim(
    db: sqlite3.Connection, memory: _Memory, destination: str, now: datetime, lease: timedelta, limit: int
) -> list[Claimed]:
    at = now.timestamp()
    never = at + LONGEST_DELAY.total_seconds()
    until = now + lease
    db.execute(EXPIRE, (destination, at, max(never, until.timestamp())))
    rows = db.execute(CLAIM, (destination, at, never, limit)).fetchall()
    claimed = []
    for (number,) in rows:
        db.execute(LEASE, (until.timestamp(), number))
        try:
            claimed.append(_promised(db, replace(_claimed(db, memory, number), leased_until=until)))
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


def _claimed(db: sqlite3.Connection, memory: _Memory, number: int) -> Claimed:
    row = db.execute(LOAD, (number,)).fetchone()
    event_id, target_text, version, created_at, attempts, unsure, plain, replayed, tries, run_key, lane = row
    target = codec.load(target_text, Target)
    if target.live:
        target = _with_mentions(db, target, lane, number)
    place = _place(db, f"m|{run_key}|{target.key}") if run_key and target.live else None
    root = _place(db, _thread_key(run_key, target)) if run_key and target.thread else None
    return Claimed(
        id=f"d{number}",
        event=memory.event(db, event_id),
        run=memory.run(db, run_key) if run_key else None,
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
    return target.with_(mention=tuple(dict.fromkeys((*target.mention, *named))))


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


_zip = zstandard.ZstdCompressor(level=1).compress  # of one thread, the loop's: it may not be shared


def _unzip(body: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(body, max_output_size=64 * 1024 * 1024)
