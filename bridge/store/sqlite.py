"""The memory on one machine: SQLite, one file, one writer.

All writes go through `GroupCommit`: whatever waits is one transaction, and a hundred events share one sync. When
`accept` returns, the event is on the disk. What is claimed and settled survives the end of the process at any moment;
it is synced with the next event, or a fraction of a second later: after a power failure it is done again, not lost.
Readers have a connection of their own and never wait for the writer. https://www.sqlite.org/wal.html
"""

from __future__ import annotations

import asyncio
import fcntl
import re
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from msgspec.structs import replace

from bridge.errors import StoreUnavailable
from bridge.event import Event, Identity, Track
from bridge.store import _sqlite_deliver as delivering
from bridge.store import _sqlite_look as looking
from bridge.store import _sqlite_shared, rows
from bridge.store._commit import GroupCommit, connect, connect_in_turn
from bridge.store._sqlite_memory import SEE, Memory
from bridge.store.accepting import Duplicate, Entry, Known, Seen, accepting
from bridge.store.base import (
    Accepted,
    Arrival,
    Claimed,
    Condition,
    Decider,
    Depth,
    Mute,
    Row,
    Settlement,
    StoredDelivery,
    StoredEvent,
    Tally,
)
from bridge.store.migrating import Migration, Schema, migrations, missing

T = TypeVar("T")


SCHEMAS = """
    CREATE TABLE IF NOT EXISTS schema_versions (version INTEGER PRIMARY KEY, readable_from INTEGER NOT NULL)
"""
MIGRATED = "INSERT INTO schema_versions (version, readable_from) VALUES (?, ?)"
RECOVER = "UPDATE deliveries SET state = 'pending', leased_until = NULL, unsure = 1 WHERE state = 'sending'"
ROUTED = "UPDATE events SET state = ?, event = ?, rules = ?, problem = '' WHERE id = ?"


class SqliteStore:
    """A `Store` in one file. Open with `await SqliteStore.open(path)`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._memory = Memory()
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
        body = None if arrival.ignored else rows.compress(arrival.body)
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
            track_key = talk.send(self._known(db, run_key, seen))
            try:
                track = self._memory.track(db, track_key) if track_key else None
            except ValueError as error:
                talk.throw(error)
            else:
                talk.send(track)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        raise RuntimeError("it asked a third time")

    def _known(self, db: sqlite3.Connection, run_key: str | None, seen: Seen | None) -> Known:
        try:
            return Known(seen, self._memory.run(db, run_key) if run_key else None)
        except ValueError as error:
            return Known(seen, fault=error)

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
            run_key, version = (run.key, run.version) if run else (None, 0)
            lane = rows.lane_of(target, run_key, number, entry.said)
            due = at + rows.delay(target, at)
            self._memory.owe(
                target.destination,
                (number, lane, run_key, target.destination, target.key, text, int(target.live), version, due, at),
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
        number = rows.number(stored.id)
        db.execute(ROUTED, (entry.state, entry.event, entry.rules.decode(), number))
        self._remember(entry, number, stored.received_at.timestamp())
        return entry

    # -- delivering ----------------------------------------------------------------------------------------------------

    async def claim(
        self, destination: str, now: datetime, lease: timedelta, limit: int, *, durable: bool = False
    ) -> list[Claimed]:
        if self._rests(destination, now, lease):
            return []
        found = await self._write(
            lambda db: delivering.claim(db, self._memory, destination, now, lease, limit), durable=False
        )
        if found and durable:
            await self._write(lambda _: None)  # with the next sync
        return found

    async def settle(self, settlement: Settlement) -> None:
        await self._write(lambda db: delivering.settle(db, self._memory, settlement), durable=False)

    async def reload(self, claimed: Claimed) -> Claimed:
        number = rows.number(claimed.id)
        found = await self._write(lambda db: delivering.load(db, self._memory, number, again=True), durable=False)
        return replace(found, unsure=claimed.unsure, leased_until=claimed.leased_until)

    async def track(self, key: str) -> Track | None:
        return await self._write(lambda db: delivering.track(db, self._memory, key), durable=False)

    async def hasten(self, destination: str, now: datetime) -> None:
        await self._write(lambda db: delivering.hasten(db, destination, now))

    async def redate(self, destination: str, now: datetime, lease: timedelta) -> None:
        await self._write(lambda db: delivering.redate(db, self._memory, destination, now, lease))

    async def next_due(self, destination: str, now: datetime) -> datetime | None:
        hands = self._memory.hands
        if self._commit.ask(self._memory.still_true) and hands.idle(destination):
            end = hands.next_end(destination)
            return rows.moment(end) if end is not None else None
        # A thread to read in would take ten times as long.
        return await self._write(lambda db: delivering.next_due(db, self._memory, destination, now), durable=False)

    def _rests(self, destination: str, now: datetime, lease: timedelta) -> bool:
        """Return whether certainly nothing waits, and no lease has ended: then there is nothing to ask the file for."""
        first, last = now.timestamp(), (now + max(lease, rows.LONGEST_DELAY)).timestamp()
        hands = self._memory.hands
        idle = hands.idle(destination) and not hands.overdue(destination, first, last)
        return idle and self._commit.ask(self._memory.still_true)

    async def replay(self, delivery_ids: Sequence[str], now: datetime) -> list[str]:
        def write(db: sqlite3.Connection) -> list[tuple[str, str]]:
            return [
                row
                for item in delivery_ids
                if (row := delivering.replay(db, self._memory, rows.number(item), now)) is not None
            ]

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
        return await self._read(lambda db: looking.events(db, limit, where))

    async def results(self, since: datetime, until: datetime) -> AsyncIterator[Event]:
        begin = since.timestamp(), 0
        while found := await self._read(partial(looking.results, begin=begin, until=until)):
            for event in filter(None, map(rows.result, found)):
                yield event
            begin = found[-1][1], found[-1][0]

    async def event(self, event_id: str) -> StoredEvent | None:
        found = await self.events(limit=1, id=rows.number(event_id))
        return found[0] if found else None

    async def seen(self, source: str, keys: Sequence[str]) -> set[str]:
        return await self._read(lambda db: looking.seen(db, source, keys))

    async def deliveries(self, *, limit: int, **where: Any) -> list[StoredDelivery]:
        return await self._read(lambda db: looking.deliveries(db, limit, where))

    async def delivery(self, delivery_id: str) -> StoredDelivery | None:
        found = await self.deliveries(limit=1, id=rows.number(delivery_id))
        return found[0] if found else None

    async def depths(self) -> dict[str, Depth]:
        return await self._read(looking.depths)

    async def tally(self, tallies: Sequence[Tally]) -> None:
        await self._write(lambda db: looking.tally(db, tallies), durable=False)

    async def tallies(self, since: datetime) -> list[Tally]:
        return await self._read(lambda db: looking.tallies(db, since))

    async def mute(self, mute: Mute) -> str:
        return await self._write(lambda db: _sqlite_shared.mute(db, mute))

    async def unmute(self, mute_ids: Sequence[str], now: datetime) -> list[str]:
        return await self._write(lambda db: _sqlite_shared.unmute(db, mute_ids, now))

    async def mutes(self, since: datetime) -> list[Mute]:
        return await self._read(lambda db: _sqlite_shared.mutes(db, since))

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
        return await self._write(lambda db: delivering.bury(db, self._memory, known, before, now))

    async def purge(self, before: datetime, limit: int = 500) -> int:
        """Forget what was settled before `before`, at most `limit` rows of each kind; return how many rows went."""

        def write(db: sqlite3.Connection) -> int:
            self._memory.forget()
            return looking.purge(db, before, limit)

        return await self._write(write)

    def abandon(self) -> None:
        pass  # a file does not keep anybody waiting

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
            db = connect_in_turn(self.path)
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


# -- the schema --------------------------------------------------------------------------------------------------------


def migrate(db: sqlite3.Connection, known: Sequence[Migration] | None = None) -> None:
    """Bring the schema up to date: every step in a transaction of its own. Two processes take turns.

    Raises StoreUnavailable when a newer bridge has brought the file where this one cannot follow.
    """
    steps = migrations("sqlite") if known is None else known
    while missing(_schema(db), steps):
        db.execute("BEGIN IMMEDIATE")
        try:
            _step(db, steps)
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise


def _step(db: sqlite3.Connection, steps: Sequence[Migration]) -> None:
    """Go the next step, if nobody has gone it meanwhile."""
    todo = missing(_schema(db), steps)
    if not todo:
        return
    for statement in _statements(todo[0].text):
        db.execute(statement)
    db.execute(SCHEMAS)
    db.execute(MIGRATED, (todo[0].version, todo[0].readable_from))
    db.execute(f"PRAGMA user_version = {todo[0].version}")


def _schema(db: sqlite3.Connection) -> Schema:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'schema_versions'").fetchone() is None:
        return Schema(version, version)
    row = db.execute("SELECT version, readable_from FROM schema_versions ORDER BY version DESC LIMIT 1").fetchone()
    return Schema(*row)


def _statements(script: str) -> list[str]:
    text = re.sub(r"--.*", "", script)
    return [statement for part in text.split(";") if (statement := part.strip())]
