"""The memory of many machines: PostgreSQL, with any number of processes that take webhooks and that deliver.

Arrivals that come at once are one transaction; so are settlements. All is committed and synced before it returns. What
two processes do at once is kept in order by locks on runs and tracks while a webhook is taken, and by row locks, which
are skipped, while deliveries are claimed. What fails is StoreUnavailable, and the next call finds the server again.
https://www.postgresql.org/docs/current/mvcc.html
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from bridge import codec
from bridge.errors import StoreUnavailable
from bridge.event import Event, Identity, Track
from bridge.observe import log
from bridge.store import _postgres_accept, _postgres_deliver, _postgres_shared
from bridge.store._postgres_batch import Batches, Waiting
from bridge.store._postgres_keys import MIGRATING, fit, fit_key, lock_statement, run_lock
from bridge.store._postgres_listen import TELL, Ears
from bridge.store._postgres_wire import Wire, alone, is_locked, may_try_again
from bridge.store.accepting import Entry
from bridge.store.base import (
    Accepted,
    Arrival,
    Claimed,
    Condition,
    Decider,
    Depth,
    Limits,
    Mute,
    Row,
    Settlement,
    StoredDelivery,
    StoredEvent,
    Tally,
)
from bridge.store.migrating import Migration, Schema, migrations, missing
from bridge.store.rows import (
    ATTEMPT_COLUMNS,
    CHANGE,
    CLOCKS_DIFFER,
    DELIVERY_COLUMNS,
    DELIVERY_KEYS,
    EVENT_COLUMNS,
    EVENT_KEYS,
    OWED_SINCE,
    SEEN_FOR,
    SLICE,
    TRACKS_FOR,
    chosen_deliveries,
    day,
    depths,
    lane,
    moment,
    number,
    result,
    stored_delivery,
    stored_event,
    where,
)

if TYPE_CHECKING:
    from bridge.store._postgres_accept import Talk, Waiter
    from bridge.store._postgres_wire import Connection

SCHEMA = "SELECT version, readable_from FROM schema_versions ORDER BY version DESC LIMIT 1"
SCHEMAS = """
    CREATE TABLE IF NOT EXISTS schema_versions (
        version integer PRIMARY KEY, readable_from integer NOT NULL, at timestamptz NOT NULL DEFAULT now()
    )
"""
MIGRATED = "INSERT INTO schema_versions (version, readable_from) VALUES ($1, $2)"

RECOVER = "UPDATE deliveries SET state = 'pending', leased_until = NULL, unsure = 1 WHERE state = 'sending'"
REDATE = """
    UPDATE deliveries SET due_at = $1 WHERE id IN (
        SELECT id FROM deliveries WHERE destination = $2 AND state = 'pending' AND due_at > $1 FOR UPDATE SKIP LOCKED)
"""
END_LEASES = """
    UPDATE deliveries SET leased_until = $1 WHERE id IN (
        SELECT id FROM deliveries WHERE destination = $2 AND state = 'sending' AND leased_until > $3
        FOR UPDATE SKIP LOCKED)
"""
# Due since they came, so that the oldest goes first.
HASTEN = """
    UPDATE deliveries SET due_at = least($1, created_at) WHERE id IN (
        SELECT id FROM deliveries
        WHERE destination = $2 AND state = 'pending' AND head AND tries > 0 AND due_at > $1 AND attempts > 0
        ORDER BY due_at LIMIT 2000 FOR UPDATE SKIP LOCKED)
"""
# Only heads can have been tried. What is due already and was not claimed waits for a free hand.
NEXT_DUE = """
    SELECT least(
        (SELECT min(due_at) FROM deliveries
         WHERE destination = $1 AND state = 'pending' AND head AND tries = 0 AND due_at > $2),
        (SELECT min(due_at) FROM deliveries
         WHERE destination = $1 AND state = 'pending' AND head AND tries > 0 AND due_at > $2),
        (SELECT min(leased_until) FROM deliveries WHERE destination = $1 AND state = 'sending'))
"""
# A real write: a full disk refuses it, and takes an empty transaction.
SEEN_OF = """
    SELECT s.key FROM seen s LEFT JOIN events e ON e.id = s.event_id
    WHERE s.source = $1 AND s.key = ANY($2::text[]) AND coalesce(e.state, '') <> 'unreadable'
"""
READY = """
    INSERT INTO seen (source, key, event_id, sent_at, at) VALUES ('', '', 0, NULL, 0)
    ON CONFLICT (source, key) DO UPDATE SET at = excluded.at
"""
RESULTS = """
    SELECT id, received_at, event FROM events
    WHERE (received_at, id) > ($1, $2) AND received_at < $3 AND state IN ('routed', 'unrouted')
      AND position($4::bytea in event) > 0
    ORDER BY received_at, id LIMIT $5
"""
WAITING = "SELECT destination, count(*) FROM deliveries WHERE state IN ('pending', 'sending') GROUP BY destination"
# Since when the oldest waits that is due, or was tried, and is the first in its lane: from the indexes of heads.
OLDEST = f"""
    SELECT least(
        (SELECT min(due_at) FROM deliveries
         WHERE destination = $1 AND state = 'pending' AND head AND tries = 0
           AND due_at <= extract(epoch FROM clock_timestamp())),
        (SELECT min({OWED_SINCE}) FROM deliveries d
         WHERE destination = $1 AND state = 'pending' AND head AND tries > 0
           AND (attempts > 0 OR due_at <= extract(epoch FROM clock_timestamp()))),
        (SELECT min(created_at) FROM deliveries WHERE destination = $1 AND state = 'sending'))
"""  # noqa: S608 - made of our own words
ENDED = "SELECT destination, count(*) FROM deliveries WHERE state IN ('dead', 'dropped') GROUP BY destination"
HISTORY = f"SELECT {ATTEMPT_COLUMNS} FROM attempts WHERE delivery_id = $1 ORDER BY id"  # noqa: S608

TRACK = "SELECT track FROM tracks WHERE key = $1"
OLD = "SELECT event_id, run_key, destination FROM deliveries WHERE id = $1"
REPLAY = """
    INSERT INTO deliveries (event_id, lane, run_key, destination, message, target, live, version, state, due_at,
                            created_at, replayed, head)
    SELECT event_id, $3, run_key, destination, message, target, live, version, 'pending', $2, $2, 1,
           NOT EXISTS (SELECT 1 FROM deliveries p WHERE p.lane = $3 AND p.state IN ('pending', 'sending'))
    FROM deliveries d WHERE id = $1 AND state NOT IN ('pending', 'sending')
    RETURNING id, destination
"""
REPLAYED = """
    UPDATE deliveries SET state = 'folded', text = text || '; replayed as d' || $2::bigint
    WHERE id = $1 AND state IN ('dead', 'dropped')
"""

# So many at a time as there is room for in the server's lock table.
ORPHANS = """
    SELECT id FROM deliveries WHERE state = 'pending' AND created_at < $1 AND destination <> ALL ($2::text[]) LIMIT 500
"""
BURY = """
    UPDATE deliveries SET state = 'dead', settled_at = $1, head = false,
        text = 'the configuration has no destination of this name any more'
    WHERE id = ANY ($2::bigint[]) AND state = 'pending'
    RETURNING lane
"""

# Each slice passes over what somebody holds: forgetting never waits, and nobody waits long for it.
# Deliveries first, with their attempts: an event is kept as long as one of its deliveries is.
PURGE = (
    """
    WITH gone AS (
        DELETE FROM deliveries
        WHERE id IN (SELECT id FROM deliveries WHERE settled_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)
        RETURNING id
    ), tried AS (DELETE FROM attempts WHERE delivery_id IN (SELECT id FROM gone) RETURNING 1)
    SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM tried)
    """,
    """
    WITH gone AS (
        DELETE FROM events WHERE id IN (
            SELECT e.id FROM events e WHERE e.received_at < $1 AND e.state <> 'stuck'
              AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.event_id = e.id)
            ORDER BY e.received_at LIMIT $2 FOR UPDATE SKIP LOCKED)
        RETURNING 1
    ) SELECT count(*) FROM gone
    """,
    """
    WITH gone AS (
        DELETE FROM runs WHERE key IN (
            SELECT r.key FROM runs r WHERE r.updated_at < $1
              AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.run_key = r.key)
            ORDER BY r.updated_at LIMIT $2 FOR UPDATE SKIP LOCKED)
        RETURNING 1
    ) SELECT count(*) FROM gone
    """,
    """
    WITH gone AS (
        DELETE FROM places WHERE key IN (
            SELECT key FROM places WHERE updated_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)
        RETURNING 1
    ) SELECT count(*) FROM gone
    """,
)
PURGE_MUTES = """
    WITH gone AS (
        DELETE FROM mutes WHERE id IN (SELECT id FROM mutes WHERE until < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)
        RETURNING 1
    ) SELECT count(*) FROM gone
"""
PURGE_TRACKS = """
    WITH gone AS (
        DELETE FROM tracks WHERE key IN (
            SELECT key FROM tracks WHERE updated_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)
        RETURNING 1
    ) SELECT count(*) FROM gone
"""
PURGE_SEEN = """
    WITH gone AS (
        DELETE FROM seen WHERE (source, key) IN (
            SELECT source, key FROM seen WHERE at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)
        RETURNING 1
    ) SELECT count(*) FROM gone
"""
PURGE_TALLIES = """
    WITH gone AS (
        DELETE FROM tallies WHERE (day, source, answer, repository) IN (
            SELECT day, source, answer, repository FROM tallies WHERE day < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)
        RETURNING 1
    ) SELECT count(*) FROM gone
"""


class _CertainlyNot(StoreUnavailable):
    """Nothing was committed, and a new connection may do it at once."""


def _mark(place: int) -> str:
    return f"${place}"


class PostgresStore:
    """A `Store` on a server. Open with `await PostgresStore.open(url)`."""

    def __init__(self, url: str, *, worker: bool) -> None:
        self.url = url
        self._wire = Wire(url)
        self._front = Wire(url, size=1)  # those who wait for an answer never wait for a free connection
        self._ears = Ears(url, self._wake, working=worker)
        self._accepting: Batches[_postgres_accept.Asked, Accepted] = Batches(self._accept)
        self._settling: Batches[Settlement, None] = Batches(self._settle)
        self._limits = _postgres_shared.PostgresLimits(self._wire.ask)
        self._leadership = _postgres_shared.Leadership()
        self._wakes: list[Callable[[str], None]] = []
        self._locks: dict[int, tuple[str, int]] = {}  # of what this process holds
        self._to_tell: set[str] = set()
        self._telling: asyncio.Task[None] | None = None
        self._closed = False

    @classmethod
    async def open(cls, url: str, *, worker: bool = False) -> PostgresStore:
        """Reach the server and bring the database up to date; raise StoreUnavailable.

        `worker`: this process will deliver. When it is the only one, what an earlier process left in the middle of
        sending is given back at once, as unsure; otherwise leases run out by themselves.
        """
        store = cls(url, worker=worker)
        try:
            await _postgres_shared.demand_sessions(url)
            await migrate(url)
            await store._wire.open()
            await store._front.open()
            await store._ears.open(store._recover)
        except BaseException:
            await store.close()
            raise
        return store

    async def _recover(self) -> None:
        await self._wire.change(lambda connection: connection.execute(RECOVER))

    def abandon(self) -> None:
        for wire in (self._wire, self._front):
            wire.abandon()
        self._ears.abandon()

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True  # nothing may queue up behind the end: nobody would answer it
        await self._accepting.close()
        await self._settling.close()
        if self._telling is not None:
            await asyncio.wait([self._telling])
        await self._ears.close()
        await self._front.close()
        await self._wire.close()

    # -- accepting -----------------------------------------------------------------------------------------------------

    async def accept(self, arrival: Arrival, decider: Decider) -> Accepted:
        return await self._accepting.add((arrival, decider))

    async def _accept(self, batch: list[Waiter]) -> list[Waiter]:
        """Accept a batch in one transaction; an arrival that cannot be written down fails alone."""
        try:
            return await self._accept_together(batch)
        except StoreUnavailable as error:
            if len(batch) == 1 or not is_locked(error):
                raise
        except Exception as error:
            if len(batch) == 1:
                batch[0].fail(error)
                return []
        # One of them is in the way of all: a web that stands still in the middle of a run of theirs, for instance.
        for waiter in batch:
            try:
                await self._accept_together([waiter], patience="200ms")
            except Exception as error:
                waiter.fail(error)
        return []

    async def _accept_together(self, batch: list[Waiter], patience: str = "") -> list[Waiter]:
        try:
            done, later = await self._accept_once(batch, patience)
        except _CertainlyNot as error:
            log.info("store.again", error=str(error))
            done, later = await self._accept_once(batch, patience)
        for talk in done:
            talk.answer()
        self._owe(_postgres_accept.destinations(done))
        return later

    async def _accept_once(self, batch: list[Waiter], patience: str) -> tuple[list[Talk], list[Waiter]]:
        """Raises StoreUnavailable; of its kind _CertainlyNot when nothing was committed and a new try may go well.

        A commit whose answer was lost may have happened. We say that it has not: the sender comes again, and then his
        delivery is among those seen before.
        """
        committing = False
        try:
            async with self._front.line() as connection:
                done, later = await _postgres_accept.accept(connection, batch, patience)
                committing = True
                await connection.execute("COMMIT")
        except StoreUnavailable as error:
            if committing or not may_try_again(error):
                raise
            raise _CertainlyNot(str(error)) from error.__cause__
        return done, later

    def _owe(self, names: set[str]) -> None:
        """Wake our own couriers now, and tell the other processes.

        They are told after the commit, not by it: a commit that notifies holds a lock that all others need, while it
        syncs. What is lost by a crash in between is found by their next look, within two seconds.
        """
        for name in names:
            self._wake(name)
        self._to_tell |= names
        if self._to_tell and self._telling is None:
            self._telling = asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        try:
            while self._to_tell:
                names, self._to_tell = self._to_tell, set()
                async with self._wire.line() as connection:
                    await connection.execute(TELL, *self._ears.telling(names))
        except StoreUnavailable:
            pass  # they look by themselves
        finally:
            self._telling = None

    async def route_stuck(self, decider: Decider) -> int:
        """Fold and route again what could not be; return how many are done."""
        stuck = await self.events(limit=1_000, state="stuck")
        done = 0
        for stored in reversed(stuck):
            if stored.event is None:
                continue
            entry = await self._wire.change(
                lambda connection, stored=stored: _route_again(connection, stored, decider)  # type: ignore[misc]
            )
            if entry is None:
                continue
            done += 1
            self._owe(set(entry.destinations))
        return done

    # -- delivering ----------------------------------------------------------------------------------------------------

    async def claim(
        self, destination: str, now: datetime, lease: timedelta, limit: int, *, durable: bool = False
    ) -> list[Claimed]:
        async with self._wire.line() as connection:
            return await _postgres_deliver.claim(
                connection, destination, now, lease, limit, self._locks, durable=durable
            )

    async def settle(self, settlement: Settlement) -> None:
        await self._settling.add(settlement)

    async def _settle(self, batch: list[Waiting[Settlement, None]]) -> list[Waiting[Settlement, None]]:
        first: dict[str, Waiting[Settlement, None]] = {}
        later = [waiting for waiting in batch if first.setdefault(waiting.work.id, waiting) is not waiting]
        settlements = [waiting.work for waiting in first.values()]
        # Twice does no harm: what is settled is not being sent any more.
        await self._wire.ask(lambda connection: _postgres_deliver.settle(connection, settlements, self._locks))
        for waiting in first.values():
            self._locks.pop(number(waiting.work.id), None)
            waiting.answer(None)
        return later

    async def reload(self, claimed: Claimed) -> Claimed:
        found, unreadable = await self._wire.ask(
            lambda connection: _postgres_deliver.load(connection, [number(claimed.id)], again=True)
        )
        if not found:
            raise ValueError(f"{claimed.id} cannot be read back: {unreadable or 'it is gone'}")
        return replace(found[0], unsure=claimed.unsure, leased_until=claimed.leased_until)

    async def track(self, key: str) -> Track | None:
        found = await self._wire.ask(lambda connection: connection.fetchval(TRACK, fit_key(key)))
        try:
            return codec.load(found, Track) if found is not None else None
        except ValueError:  # a newer bridge has written it, say
            return None

    async def hasten(self, destination: str, now: datetime) -> None:
        at = now.timestamp()
        while await self._wire.change(lambda connection: connection.execute(HASTEN, at, destination)) != "UPDATE 0":
            pass  # slice by slice: after a long outage there are many

    async def redate(self, destination: str, now: datetime, lease: timedelta) -> None:
        at, endless = now.timestamp(), (now + lease + CLOCKS_DIFFER).timestamp()
        await self._wire.change(lambda connection: connection.execute(REDATE, at, destination))
        await self._wire.change(lambda connection: connection.execute(END_LEASES, at, destination, endless))

    async def next_due(self, destination: str, now: datetime) -> datetime | None:
        found = await self._wire.ask(lambda connection: connection.fetchval(NEXT_DUE, destination, now.timestamp()))
        return moment(found) if found is not None else None

    async def replay(self, delivery_ids: Sequence[str], now: datetime) -> list[str]:
        done = []
        for name in delivery_ids:
            new = await self._wire.change(
                lambda connection, name=name: _replay(connection, number(name), now)  # type: ignore[misc]
            )
            if new is not None:
                done.append(new)
        self._owe({destination for _, destination in done})
        return [f"d{new}" for new, _ in done]

    def on_owed(self, wake: Callable[[str], None]) -> None:
        self._wakes.append(wake)

    def _wake(self, destination: str) -> None:
        for wake in self._wakes:
            wake(destination)

    # -- looking -------------------------------------------------------------------------------------------------------

    async def ready(self) -> None:
        await self._wire.ask(lambda connection: connection.execute(READY))

    async def events(self, *, limit: int, **chosen: Any) -> list[StoredEvent]:
        clause, values = where(chosen, EVENT_KEYS, _mark)
        body = "body" if "id" in chosen else "NULL"
        rows = await self._rows(
            f"SELECT {EVENT_COLUMNS}, {body} FROM events {clause} ORDER BY id DESC LIMIT {_mark(len(values) + 1)}",  # noqa: S608
            *values,
            limit,
        )
        return [stored_event(row) for row in rows]

    async def results(self, since: datetime, until: datetime) -> AsyncIterator[Event]:
        begin = since.timestamp(), 0
        while found := await self._rows(RESULTS, *begin, until.timestamp(), CHANGE, SLICE):
            for event in filter(None, map(result, found)):
                yield event
            begin = found[-1]["received_at"], found[-1]["id"]

    async def event(self, event_id: str) -> StoredEvent | None:
        found = await self.events(limit=1, id=number(event_id))
        return found[0] if found else None

    async def seen(self, source: str, keys: Sequence[str]) -> set[str]:
        fitted = {fit_key(key): key for key in keys}
        return {fitted[row[0]] for row in await self._rows(SEEN_OF, source, list(fitted))}

    async def deliveries(self, *, limit: int, **chosen: Any) -> list[StoredDelivery]:
        clause, values = where(chosen_deliveries(chosen), DELIVERY_KEYS, _mark)
        rows = await self._rows(
            f"SELECT {DELIVERY_COLUMNS} FROM deliveries d JOIN events e ON e.id = d.event_id {clause} "  # noqa: S608
            f"ORDER BY d.id DESC LIMIT {_mark(len(values) + 1)}",
            *values,
            limit,
        )
        told = "id" in chosen or "event_id" in chosen
        return [stored_delivery(row, await self._rows(HISTORY, row[0]) if told else ()) for row in rows]

    async def delivery(self, delivery_id: str) -> StoredDelivery | None:
        found = await self.deliveries(limit=1, id=number(delivery_id))
        return found[0] if found else None

    async def _rows(self, statement: str, *given: Any) -> list[Any]:
        values = [fit(value) if isinstance(value, str) else value for value in given]
        return await self._wire.ask(lambda connection: connection.fetch(statement, *values))

    async def depths(self) -> dict[str, Depth]:
        # Both are read from an index alone: 40 ms for a million that wait.
        counted, ended = await self._rows(WAITING), await self._rows(ENDED)
        waiting = [(name, count, (await self._rows(OLDEST, name))[0][0]) for name, count in counted]
        return depths(waiting, map(tuple, ended))

    async def tally(self, tallies: Sequence[Tally]) -> None:
        await self._wire.change(lambda connection: _postgres_shared.tally(connection, tallies))

    async def tallies(self, since: datetime) -> list[Tally]:
        return await self._wire.ask(lambda connection: _postgres_shared.tallies(connection, since))

    async def mute(self, mute: Mute) -> str:
        return await self._wire.change(lambda connection: _postgres_shared.mute(connection, mute))

    async def unmute(self, mute_ids: Sequence[str], now: datetime) -> list[str]:
        return await self._wire.change(lambda connection: _postgres_shared.unmute(connection, mute_ids, now))

    async def mutes(self, since: datetime) -> list[Mute]:
        return await self._wire.ask(lambda connection: _postgres_shared.mutes(connection, since))

    # -- what several workers share ------------------------------------------------------------------------------------

    async def report(self, destination: str, condition: Condition) -> None:
        await self._wire.ask(lambda connection: _postgres_shared.report(connection, destination, condition))

    async def conditions(self) -> dict[str, Condition]:
        return await self._wire.ask(_postgres_shared.conditions)

    @property
    def limits(self) -> Limits | None:
        return self._limits

    async def lead(self) -> bool:
        return await self._ears.ask(self._leadership.ask)

    def export(self) -> AsyncIterator[tuple[str, Row]]:
        return _postgres_shared.export(self.url)

    async def restore(self, rows: AsyncIterator[tuple[str, Row]]) -> dict[str, int]:
        return await _postgres_shared.restore(self.url, rows)

    # -- forgetting ----------------------------------------------------------------------------------------------------

    async def bury(self, known: Sequence[str], before: datetime, now: datetime) -> int:
        total = 0
        while True:
            buried = await self._wire.change(
                lambda connection: _bury(connection, list(known), before.timestamp(), now.timestamp())
            )
            total += buried
            if not buried:
                return total

    async def purge(self, before: datetime, limit: int = 500) -> int:
        """Forget what was settled before `before`, at most `limit` rows of each kind; return how many rows went."""
        at = before.timestamp()
        slices: list[tuple[str, float]] = [(statement, at) for statement in (*PURGE, PURGE_MUTES)]
        slices += [(PURGE_TRACKS, at - TRACKS_FOR.total_seconds()), (PURGE_SEEN, at - SEEN_FOR.total_seconds())]
        slices.append((PURGE_TALLIES, day(before) - SEEN_FOR.days))
        total = 0
        for statement, when in slices:  # a transaction each: a short one holds nobody up
            total += await self._wire.ask(
                lambda connection, statement=statement, when=when: connection.fetchval(statement, when, limit)  # type: ignore[misc]
            )
        return total


# -- inside a transaction ----------------------------------------------------------------------------------------------


async def _route_again(connection: Connection, stored: StoredEvent, decider: Decider) -> Entry | None:
    if stored.event is None:
        return None
    arrival = Arrival(stored.source, stored.received_at, {}, b"", Identity(""), stored.event)
    return await _postgres_accept.route_again(connection, number(stored.id), arrival, decider)


async def _replay(connection: Connection, old: int, now: datetime) -> tuple[int, str] | None:
    """Owe a settled delivery again, as a new one, so that what was tried stays to be seen."""
    row = await connection.fetchrow(OLD, old)
    if row is None:
        return None
    await connection.execute(lock_statement([run_lock(row["run_key"], row["event_id"])]))
    own = lane(row["run_key"], row["event_id"], row["destination"])  # not behind what waits long
    new = await connection.fetchrow(REPLAY, old, now.timestamp(), own)
    if new is None:
        return None
    await connection.execute(REPLAYED, old, new["id"])
    return new["id"], new["destination"]


async def _bury(connection: Connection, known: list[str], before: float, now: float) -> int:
    """Give up some orphans under the locks of their runs: a worker of another configuration may still deliver."""
    orphans = [row[0] for row in await connection.fetch(ORPHANS, before, known)]
    await _postgres_deliver.lock_runs(connection, orphans)
    lanes = [row[0] for row in await connection.fetch(BURY, now, orphans)]
    await connection.execute(_postgres_deliver.PROMOTE, list(set(lanes)))
    return len(lanes)


# -- the schema --------------------------------------------------------------------------------------------------------


async def migrate(url: str, known: Sequence[Migration] | None = None) -> None:
    """Bring the schema up to date: every step in a transaction of its own, one process at a time.

    Raises StoreUnavailable; also when a newer bridge has brought the database where this one cannot follow.
    """
    steps = migrations("postgres") if known is None else known
    async with alone(url) as connection:
        while missing(await _schema(connection), steps):
            await _step(connection, steps)


async def _schema(connection: Connection) -> Schema:
    if await connection.fetchval("SELECT to_regclass('schema_versions')") is None:
        return Schema()
    row = await connection.fetchrow(SCHEMA)
    return Schema(*row) if row is not None else Schema()


async def _step(connection: Connection, steps: Sequence[Migration]) -> None:
    """Go the next step, if nobody has gone it meanwhile."""
    async with connection.transaction():
        await connection.execute("SET LOCAL lock_timeout = 0")
        await connection.execute(lock_statement([MIGRATING]))
        await connection.execute(SCHEMAS)
        todo = missing(await _schema(connection), steps)
        if todo:
            await connection.execute(todo[0].text)
            await connection.execute(MIGRATED, todo[0].version, todo[0].readable_from)
