"""How do a hundred arrivals become one transaction, right though other processes take webhooks of the same runs?

Two round trips bring what is known, under locks on the runs and deliveries; two more if a track has to be asked; one
statement writes everything. Runs and keys are locked before tracks and each in the order of their numbers, so that two
batches never wait for each other in a circle. What an arrival of a batch has changed, the next ones know.
https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bridge import codec
from bridge.event import Run, Track
from bridge.store._postgres_batch import Waiting
from bridge.store._postgres_keys import (
    SHARED,
    fit,
    fit_key,
    fit_lane,
    lock_number,
    lock_statement,
    run_lock,
    seen_lock,
    track_lock,
)
from bridge.store.accepting import Accepting, Duplicate, Entry, Known, Seen, accepting
from bridge.store.base import Accepted, Arrival, Decider
from bridge.store.rows import compress, delay, lane_of

if TYPE_CHECKING:
    from bridge.store._postgres_wire import Connection

Asked = tuple[Arrival, Decider]
Waiter = Waiting[Asked, Accepted]
SeenKey = tuple[str, str]

# What is known of the runs ($1) and of the deliveries seen before ($2, $3), and numbers for $4 new events.
READ = """
    SELECT 'run' AS what, key, NULL AS source, 0::bigint AS number, NULL::float8 AS sent_at, false AS unreadable, run
    FROM runs WHERE key = ANY ($1::text[])
    UNION ALL
    SELECT 'seen', s.key, s.source, s.event_id, s.sent_at, coalesce(e.state = 'unreadable', false), NULL
    FROM unnest($2::text[], $3::text[]) AS q (source, key)
    JOIN seen s ON s.source = q.source AND s.key = q.key LEFT JOIN events e ON e.id = s.event_id
    UNION ALL
    SELECT 'number', NULL, NULL, nextval('events_id_seq'), NULL, false, NULL FROM generate_series(1, $4::integer)
"""
RUN = "SELECT key, run FROM runs WHERE key = $1"
TRACKS = "SELECT key, track FROM tracks WHERE key = ANY ($1::text[])"

# A delivery is the head of its lane when none of it waits and it is the first of this batch. That is certain under the
# lock of its run. The sequence is asked in the order of the arrivals. By the database's clock it is due at the latest:
# that of the process that took it in may be ahead of those that deliver.
OWED = """
    INSERT INTO deliveries (event_id, lane, run_key, destination, message, target, live, version, state, due_at,
                            created_at, head)
    SELECT o.event_id, o.lane, o.run_key, o.destination, o.message, o.target, o.live, o.version, 'pending',
           least(o.at, extract(epoch FROM clock_timestamp())) + o.wait,
           CASE WHEN o.wait > 0 THEN least(o.at, extract(epoch FROM clock_timestamp())) ELSE o.at END,
           o.first AND NOT EXISTS (SELECT 1 FROM deliveries p
                                   WHERE p.lane = o.lane AND p.state IN ('pending', 'sending'))
    FROM unnest({owed}) WITH ORDINALITY
         AS o (event_id, lane, run_key, destination, message, target, live, version, at, wait, first, place)
    ORDER BY o.place
"""
OWED_TYPES = ("bigint", "text", "text", "text", "text", "text", "smallint", "bigint", "float8", "float8", "boolean")
RUNS = """
    INSERT INTO runs (key, run, updated_at) SELECT * FROM unnest({runs})
    ON CONFLICT (key) DO UPDATE SET run = excluded.run, updated_at = excluded.updated_at
"""
RUNS_TYPES = ("text", "bytea", "float8")
TRACKED = """
    INSERT INTO tracks (key, track, updated_at) SELECT * FROM unnest({tracks})
    ON CONFLICT (key) DO UPDATE SET track = excluded.track, updated_at = excluded.updated_at
"""
TRACKED_TYPES = ("text", "bytea", "float8")
EVENTS = """
    INSERT INTO events (id, source, received_at, state, event, problem, rules, headers, body)
    SELECT * FROM unnest({events})
"""
EVENTS_TYPES = ("bigint", "text", "float8", "text", "bytea", "text", "text", "text", "bytea")
SEEN = """
    INSERT INTO seen (source, key, event_id, sent_at, at) SELECT * FROM unnest({seen})
    ON CONFLICT (source, key) DO UPDATE SET event_id = excluded.event_id, sent_at = excluded.sent_at, at = excluded.at
"""
SEEN_TYPES = ("text", "text", "bigint", "float8", "float8")


def _marks(types: Sequence[str], first: int) -> str:
    return ", ".join(f"${number}::{name}[]" for number, name in enumerate(types, first))


def _write_statement() -> str:
    """Return one statement that writes everything: its parts touch different tables, and see none of each other."""
    marks, first = {}, 1
    for name, types in (
        ("events", EVENTS_TYPES),
        ("seen", SEEN_TYPES),
        ("runs", RUNS_TYPES),
        ("tracks", TRACKED_TYPES),
        ("owed", OWED_TYPES),
    ):
        marks[name] = _marks(types, first)
        first += len(types)
    return f"WITH e AS ({EVENTS}), s AS ({SEEN}), r AS ({RUNS}), t AS ({TRACKED}) {OWED}".format(**marks)


WRITE = _write_statement()
ROUTED = "UPDATE events SET state = $2, event = $3, rules = $4, problem = '' WHERE id = $1 AND state = 'stuck'"


@dataclass(slots=True)
class Talk:
    """An arrival on its way through the transaction."""

    waiter: Waiter | None  # who is answered, if anybody waits
    arrival: Arrival
    steps: Accepting
    run_key: str | None  # as a column takes it
    seen_key: SeenKey
    number: int = 0
    asks: str | None = None  # the track that it has to know
    entry: Entry | Duplicate | None = None

    @classmethod
    def begin(cls, waiter: Waiter) -> Talk:
        arrival, decider = waiter.work
        steps = accepting(arrival, decider)
        run_key = next(steps)
        seen_key = (arrival.source, fit_key(arrival.identity.key))
        return cls(waiter, arrival, steps, fit_key(run_key) if run_key else None, seen_key)

    def say(self, answer: Any) -> None:
        """Tell it what it asked for; it ends, or asks for a track."""
        try:
            self.asks = self.steps.send(answer)
        except StopIteration as end:
            self.entry, self.asks = end.value, None

    def fail(self, error: ValueError) -> None:
        """Tell it that what it asked for cannot be read back: it ends."""
        try:
            self.steps.throw(error)
        except StopIteration as end:
            self.entry, self.asks = end.value, None

    def answer(self) -> None:
        """Tell who waits, after the commit."""
        match self.entry, self.waiter:
            case Entry() as entry, Waiting() as waiter:
                waiter.answer(Accepted(f"e{self.number}", state=entry.state, destinations=entry.destinations))
            case Duplicate() as duplicate, Waiting() as waiter:
                waiter.answer(Accepted(f"e{duplicate.event_id}", duplicate=True))


@dataclass(slots=True)
class Memory:
    """What is known within one transaction: what was read, and what earlier arrivals of the batch have changed."""

    runs: dict[str, bytes | Run] = field(default_factory=dict)
    tracks: dict[str, bytes | Track] = field(default_factory=dict)
    seen: dict[SeenKey, Seen] = field(default_factory=dict)
    numbers: list[int] = field(default_factory=list)

    def known(self, talk: Talk) -> Known:
        seen, found = self.seen.get(talk.seen_key), self.runs.get(talk.run_key) if talk.run_key else None
        try:
            return Known(seen, codec.load(found, Run) if isinstance(found, bytes) else found)
        except ValueError as error:
            return Known(seen, fault=error)

    def track(self, key: str) -> Track | None:
        found = self.tracks.get(key)
        return codec.load(found, Track) if isinstance(found, bytes) else found

    def learn(self, talk: Talk) -> None:
        """Know from now on what `talk` has decided."""
        entry = talk.entry
        if not isinstance(entry, Entry):
            return
        if entry.remember:
            self.seen[talk.seen_key] = Seen(talk.number, _sent_at(talk.arrival), entry.state == "unreadable")
        if entry.run is not None:
            self.runs[fit_key(entry.run.key)] = entry.run
        if entry.track is not None:
            self.tracks[fit_key(entry.track.key)] = entry.track


async def accept(connection: Connection, batch: list[Waiter], patience: str = "") -> tuple[list[Talk], list[Waiter]]:
    """Decide and write a batch in an open transaction; return those that are done and those for the next batch.

    Nothing is answered yet: that is for after the commit. `patience`: how long a lock is waited for, else as ever.
    """
    talks = [Talk.begin(waiter) for waiter in batch]
    locks = {seen_lock(*talk.seen_key) for talk in talks} | {
        run_lock(talk.run_key, 0) for talk in talks if talk.run_key
    }
    waiting = f"SET LOCAL lock_timeout = '{patience}'; " if patience else ""
    await connection.execute(f"BEGIN; {waiting}{lock_statement(locks)}")
    memory = await _read(connection, talks)
    paused, later = _drive(talks, memory)
    await _ask_tracks(connection, paused, memory)
    done = [talk for talk in talks if talk.entry is not None]
    await write(connection, [(talk.number, talk.arrival, talk.entry) for talk in done if isinstance(talk.entry, Entry)])
    return done, later


async def _read(connection: Connection, talks: list[Talk]) -> Memory:
    memory = Memory()
    rows = await connection.fetch(
        READ,
        list({talk.run_key for talk in talks if talk.run_key}),
        *_columns(list({talk.seen_key for talk in talks}), 2),
        len(talks),
    )
    for what, key, source, number, sent_at, unreadable, run in rows:
        match what:
            case "run":
                memory.runs[key] = run
            case "seen":
                memory.seen[source, key] = Seen(number, sent_at, unreadable)
            case _:
                memory.numbers.append(number)
    memory.numbers.sort()
    return memory


def _drive(talks: list[Talk], memory: Memory) -> tuple[list[Talk], list[Waiter]]:
    """Take all as far as they get without a track; return those that need one, and those that must wait for these."""
    paused: list[Talk] = []
    later: list[Waiter] = []
    busy: set[str | SeenKey | None] = set()
    for talk, number in zip(talks, memory.numbers, strict=True):
        talk.number = number
        if not busy.isdisjoint((talk.run_key, talk.seen_key)):
            if talk.waiter is not None:
                later.append(talk.waiter)
        else:
            talk.say(memory.known(talk))
            if talk.asks is None:
                memory.learn(talk)
                continue
            paused.append(talk)
        busy |= {talk.seen_key} | ({talk.run_key} if talk.run_key else set())
    return paused, later


async def _ask_tracks(connection: Connection, paused: list[Talk], memory: Memory) -> None:
    if not paused:
        return
    keys = {fit_key(talk.asks) for talk in paused if talk.asks}
    await connection.execute(lock_statement(track_lock(key) for key in keys))
    # A statement of its own: it sees what those have committed who held the locks.
    memory.tracks.update(dict(map(tuple, await connection.fetch(TRACKS, list(keys)))))
    for talk in paused:
        try:
            track = memory.track(fit_key(talk.asks or ""))
        except ValueError as error:
            talk.fail(error)
        else:
            talk.say(track)
        memory.learn(talk)


# -- writing -----------------------------------------------------------------------------------------------------------


async def write(connection: Connection, entries: list[tuple[int, Arrival, Entry]], *, again: bool = False) -> None:
    """Write what was decided; `again`: the events are there already, and only what follows from them is written."""
    if not entries:
        return
    owed = _owed(entries)
    if shared := [lock_number("lane", row[1]) for row in owed if row[1].startswith(SHARED)]:
        await connection.execute(lock_statement(shared))
    given = [
        *_columns([] if again else [_event(*one) for one in entries], len(EVENTS_TYPES)),
        *_columns([] if again else _seen(entries), len(SEEN_TYPES)),
        *_columns(_runs(entries), len(RUNS_TYPES)),
        *_columns(_tracks(entries), len(TRACKED_TYPES)),
        *_columns(owed, len(OWED_TYPES)),
    ]
    await connection.execute(WRITE, *given)


def _columns(rows: Sequence[Sequence[Any]], width: int) -> list[list[Any]]:
    """Return rows as lists of columns, as `unnest` takes them."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


def _event(number: int, arrival: Arrival, entry: Entry) -> tuple[Any, ...]:
    return (
        number,
        arrival.source,
        arrival.received_at.timestamp(),
        entry.state,
        entry.event,
        fit(entry.problem),
        entry.rules.decode(),
        entry.headers.decode(),
        None if arrival.ignored else compress(arrival.body),
    )


def _sent_at(arrival: Arrival) -> float | None:
    sent_at = arrival.identity.sent_at
    return sent_at.timestamp() if sent_at else None


def _seen(entries: list[tuple[int, Arrival, Entry]]) -> list[tuple[Any, ...]]:
    found: dict[SeenKey, tuple[Any, ...]] = {}
    for number, arrival, entry in entries:
        if entry.remember:
            key = (arrival.source, fit_key(arrival.identity.key))
            found[key] = (*key, number, _sent_at(arrival), arrival.received_at.timestamp())
    return list(found.values())


def _runs(entries: list[tuple[int, Arrival, Entry]]) -> list[tuple[Any, ...]]:
    found = {}
    for _, arrival, entry in entries:
        if entry.run is not None:
            key = fit_key(entry.run.key)
            found[key] = (key, entry.run_json, arrival.received_at.timestamp())
    return list(found.values())


def _tracks(entries: list[tuple[int, Arrival, Entry]]) -> list[tuple[Any, ...]]:
    found = {}
    for _, arrival, entry in entries:
        if entry.track is not None:
            key = fit_key(entry.track.key)
            found[key] = (key, entry.track_json, arrival.received_at.timestamp())
    return list(found.values())


def _owed(entries: list[tuple[int, Arrival, Entry]]) -> list[tuple[Any, ...]]:
    owed: list[tuple[Any, ...]] = []
    lanes: set[str] = set()
    for number, arrival, entry in entries:
        run_key, version = (fit_key(entry.run.key), entry.run.version) if entry.run else (None, 0)
        at = arrival.received_at.timestamp()
        for target, text in entry.targets:
            name = fit_lane(lane_of(target, run_key, number, entry.said or arrival.event))
            first = name not in lanes
            lanes.add(name)
            message = fit_key(target.key)
            owed.append(
                (
                    number,
                    name,
                    run_key,
                    target.destination,
                    message,
                    text,
                    int(target.live),
                    version,
                    at,
                    delay(target, at),
                    first,
                )
            )
    return owed


def destinations(talks: Iterable[Talk]) -> set[str]:
    return {name for talk in talks if isinstance(talk.entry, Entry) for name in talk.entry.destinations}


# -- once more ---------------------------------------------------------------------------------------------------------


async def route_again(connection: Connection, number: int, arrival: Arrival, decider: Decider) -> Entry | None:
    """Decide a stuck event again in an open transaction; None when it stays as it is."""
    steps = accepting(arrival, decider)
    run_key = next(steps)
    stored_key = fit_key(run_key) if run_key else None
    memory = Memory()
    if stored_key:
        await connection.execute(lock_statement([run_lock(stored_key, 0)]))
        memory.runs.update(dict(map(tuple, await connection.fetch(RUN, stored_key))))
    talk = Talk(None, arrival, steps, stored_key, (arrival.source, ""), number)
    talk.say(memory.known(talk))
    if talk.asks is not None:
        await _ask_tracks(connection, [talk], memory)
    entry = talk.entry
    if not isinstance(entry, Entry) or entry.state == "stuck":
        return None  # a bug is still a bug; the event stays where it is
    routed = await connection.execute(ROUTED, number, entry.state, entry.event, entry.rules.decode())
    if routed == "UPDATE 0":  # another process was quicker
        return None
    await write(connection, [(number, arrival, entry)], again=True)
    return entry
