"""What does the writer of a SQLite file know already, and what has its transaction yet to write?"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any, TypeVar

from bridge import codec
from bridge.event import Event, Run, Track
from bridge.store import rows
from bridge.store.accepting import Seen

T = TypeVar("T")
Values = tuple[Any, ...]

REMEMBERED = 500  # runs, tracks and events whose newest state is in memory, too

SEEN = """
    SELECT s.event_id, s.sent_at, e.state = 'unreadable' FROM seen s LEFT JOIN events e ON e.id = s.event_id
    WHERE s.source = ? AND s.key = ?
"""
EVENT = """
    INSERT INTO events (id, source, received_at, state, event, problem, rules, headers, body)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
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
SEE = """
    INSERT INTO seen (source, key, event_id, sent_at, at) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (source, key) DO UPDATE SET event_id = excluded.event_id, sent_at = excluded.sent_at, at = excluded.at
"""


class Memory:
    """The newest states, so that they need not be read and parsed again; and what this transaction has yet to write.

    Only the connection that writes asks it: within its transaction nobody else writes, and what others have written
    since its last one shows in ``data_version``. What many arrivals write goes to the engine at once, table by table:
    that takes half the time, and of a run that moved twice only the last state is written.
    https://www.sqlite.org/pragma.html#pragma_data_version
    """

    def __init__(self) -> None:
        self.runs: Newest[Run] = Newest()
        self.tracks: Newest[Track] = Newest()
        self.events: Newest[Event] = Newest()
        self.hands = Hands()
        self._version = -1
        self._last_event = 0
        self._events: list[Values] = []
        self._seen: dict[tuple[str, str], tuple[Seen, float]] = {}
        self._runs: dict[str, Values] = {}
        self._tracks: dict[str, Values] = {}
        self._owed: list[Values] = []

    def begin(self, db: sqlite3.Connection) -> None:
        """A transaction begins: is what is remembered still true?"""
        if self.still_true(db):
            return
        self.forget()
        version = db.execute("PRAGMA data_version").fetchone()[0]
        row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
        self._last_event = row[0] if row else 0
        self._version = version

    def still_true(self, db: sqlite3.Connection) -> bool:
        """Return whether nobody else has written since; also between two transactions."""
        return bool(db.execute("PRAGMA data_version").fetchone()[0] == self._version)

    def forget(self) -> None:
        self._version = -1
        for kept in (self.runs, self.tracks, self.events, self._events, self._seen, self._runs, self._tracks):
            kept.clear()
        self._owed.clear()
        self.hands.clear()

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

    def owe(self, destination: str, row: Values) -> None:
        self._owed.append(row)
        self.hands.wait(destination, 1)

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
            event = rows.event(text, number)
            self.events.put(number, event)
        return event


class Hands:
    """How many deliveries wait for each destination, and which ones are being sent. What is not there is not known.

    So nobody is asked for what is due where nothing waits, nor for leases that have ended where none has.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, int] = {}
        self._held: dict[str, dict[int, float]] = {}  # until when, by the delivery's number

    def clear(self) -> None:
        self._waiting.clear()
        self._held.clear()

    def forget(self, destination: str) -> None:
        self._waiting.pop(destination, None)
        self._held.pop(destination, None)

    def wait(self, destination: str, number: int) -> None:
        """So many more wait than before, or fewer."""
        if destination in self._waiting:
            self._waiting[destination] += number

    def none_waits(self, destination: str) -> None:
        self._waiting[destination] = 0

    def are_held(self, destination: str, held: Iterable[tuple[int, float]]) -> None:
        """Exactly these are being sent."""
        self._held[destination] = dict(held)

    def hold(self, destination: str, number: int, until: float) -> None:
        if destination in self._held:
            self._held[destination][number] = until

    def let_go(self, destination: str, number: int) -> None:
        self._held.get(destination, {}).pop(number, None)

    def overdue(self, destination: str, first: float, last: float) -> bool:
        """Return whether a lease may lie outside of these moments."""
        held = self._held.get(destination)
        return held is None or any(not first <= until <= last for until in held.values())

    def idle(self, destination: str) -> bool:
        """Return whether certainly nothing waits, and all that is being sent is known."""
        return self._waiting.get(destination) == 0 and destination in self._held

    def next_end(self, destination: str) -> float | None:
        """Return when the first known lease ends."""
        return min(self._held.get(destination, {}).values(), default=None)


class Newest(dict[Any, T]):
    """So many of the newest."""

    def put(self, key: Any, value: T) -> None:
        self.pop(key, None)
        self[key] = value
        if len(self) > REMEMBERED:
            del self[next(iter(self))]
