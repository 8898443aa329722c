"""How does a worker get what is due, and how is its word kept, while other workers do the same?

Only heads of lanes are claimed: the oldest that waits of each. Two workers skip what the other one is taking. Whoever
ends a delivery makes the next one of its lane the head, under the lock of the run, so that what arrives at the same
moment is not overlooked. https://www.postgresql.org/docs/current/sql-select.html#SQL-FOR-UPDATE-SHARE
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from bridge import codec
from bridge.event import Run, Target
from bridge.observe import log
from bridge.store._postgres_keys import fit, fit_key, in_turn, lane_lock
from bridge.store.base import UNTRIED, Along, Behind, Claimed, Settlement
from bridge.store.rows import (
    GATHERED,
    LONGEST_DELAY,
    Place,
    behind,
    claimed,
    delay,
    event,
    message_place,
    number,
    place,
    thread_place,
    with_mentions,
)

if TYPE_CHECKING:
    from bridge.store._postgres_wire import Connection

# What is due ($2) for a destination ($1) that does not rest (for a minute at most, or a clock was wrong); what seems to
# be due later than anything can be ($3), because a clock was wrong; and what was leased and not answered ($4: no lease
# is that long). At most $5, the oldest first, until $6. What is locked here and not taken is free again at once.
HEADS = """
        SELECT id FROM deliveries
        WHERE destination = $1 AND state = 'pending' AND head AND tries {tries} AND due_at {due}
        ORDER BY due_at, id LIMIT $5 FOR UPDATE SKIP LOCKED
"""
CLAIM = f"""
    WITH lost AS (
        SELECT id FROM deliveries
        WHERE destination = $1 AND state = 'sending' AND (leased_until < $2 OR leased_until > $4)
        ORDER BY leased_until LIMIT $5 FOR UPDATE SKIP LOCKED
    ), again AS ({HEADS.format(tries="> 0", due="<= $2")}
    ), due AS ({HEADS.format(tries="= 0", due="<= $2")}
    ), misdated AS ({HEADS.format(tries="= 0", due="> $3")}
    ), misdated_again AS ({HEADS.format(tries="> 0", due="> $3")}
    ), taken AS (
        SELECT id FROM (SELECT id FROM lost UNION ALL SELECT id FROM again UNION ALL SELECT id FROM due
                        UNION ALL SELECT id FROM misdated UNION ALL SELECT id FROM misdated_again) AS found
        WHERE NOT EXISTS (SELECT 1 FROM health WHERE destination = $1 AND rest_until > $2 AND rest_until < $2 + 60)
        ORDER BY id LIMIT $5
    )
    UPDATE deliveries d
    SET state = 'sending', leased_until = $6, unsure = CASE WHEN d.state = 'sending' THEN 1 ELSE d.unsure END
    FROM taken WHERE d.id = taken.id
    RETURNING d.id, d.run_key, d.event_id, d.lane, set_config('synchronous_commit', $7, true)
"""  # noqa: S608 - all of it stands here
# Not synced: should the server crash within half a second, it is claimed again, and a settlement syncs all before it.
LOAD = """
    SELECT d.id, e.event, r.run, m.receipt, m.shown,
           CASE WHEN d.live = 1 THEN ARRAY(SELECT l.target FROM deliveries l
                                           WHERE l.lane = d.lane AND l.message = d.message AND l.state = 'pending'
                                             AND (l.lane, l.id) > (d.lane, d.id) ORDER BY l.lane, l.id) END AS later,
           d.event_id, d.target, d.version, d.created_at, d.attempts, d.unsure, d.plain, d.replayed, d.tries, d.run_key,
           d.lane, d.message
    FROM deliveries d
    LEFT JOIN events e ON e.id = d.event_id
    LEFT JOIN runs r ON r.key = d.run_key
    LEFT JOIN places m ON d.live = 1 AND m.key = 'm|' || d.run_key || '|' || d.message
    WHERE d.id = ANY ($1::bigint[]) ORDER BY d.id
"""
# What waits behind those that gather, to be said with them, up to a number each.
BEHIND = """
    SELECT h.id, p.id, p.target, p.created_at, p.event_id, e.event
    FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[]) AS h (id, lane, message, last)
    CROSS JOIN LATERAL (SELECT * FROM deliveries w
                        WHERE w.lane = h.lane AND (w.lane, w.id) > (h.lane, h.id) AND w.id <= h.last
                          AND w.state IN ('pending', 'sending') AND w.state = 'pending' AND w.message = h.message
                          AND w.replayed = 0
                        ORDER BY w.lane, w.id LIMIT $5) AS p
    JOIN events e ON e.id = p.event_id
    ORDER BY p.id
"""
PLACES = "SELECT key, receipt, shown FROM places WHERE key = ANY ($1::text[])"
# Which version a living message will show now, or which is the last that is said with one that gathers: should the
# answer be lost, that may have been seen, and no more.
PROMISE = """
    UPDATE deliveries d SET version = CASE WHEN d.live = 1 THEN greatest(d.version, p.version) ELSE p.version END
    FROM unnest($1::bigint[], $2::bigint[]) AS p (id, version) WHERE d.id = p.id
"""
BURY = """
    UPDATE deliveries d SET state = 'dead', leased_until = NULL, settled_at = $2, text = b.text, head = false
    FROM unnest($1::bigint[], $3::text[]) AS b (id, text) WHERE d.id = b.id
    RETURNING d.lane
"""
# The oldest that waits of each lane becomes its head.
PROMOTING = """
    UPDATE deliveries d SET head = true
    FROM unnest({lanes}::text[]) AS ended (lane)
    CROSS JOIN LATERAL (SELECT p.id FROM deliveries p
                        WHERE p.lane = ended.lane AND p.state IN ('pending', 'sending') {but}
                        ORDER BY p.lane, p.id LIMIT 1) AS next
    WHERE d.id = next.id AND NOT d.head
"""
PROMOTE = PROMOTING.format(lanes="$1", but="")

RUNS_OF = "SELECT run_key, event_id, id, lane FROM deliveries WHERE id = ANY ($1::bigint[])"
SETTLE = """
    UPDATE deliveries d
    SET state = s.state, leased_until = NULL, due_at = coalesce(s.due_at, d.due_at), settled_at = s.settled_at,
        text = s.text, attempts = d.attempts + s.counts, tries = d.tries + 1, plain = greatest(d.plain, s.plain),
        sent = coalesce(s.sent, d.sent), unsure = CASE WHEN s.outcome = 'released' THEN d.unsure ELSE s.unsure END,
        head = d.head AND s.state = 'pending'
    FROM unnest($1::bigint[], $2::float8[], $3::text[], $4::float8[], $5::float8[], $6::text[], $7::integer[],
                $8::smallint[], $9::bytea[], $10::text[], $11::smallint[])
         AS s (id, held, state, due_at, settled_at, text, counts, plain, sent, outcome, unsure)
    WHERE d.id = s.id AND d.state = 'sending' AND (s.held IS NULL OR d.leased_until = s.held)
    RETURNING d.id, d.lane, d.run_key, d.target, d.message, d.live
"""
# What was gathered by one that is settled, as far as it still waits: it is in that one's lane, so nobody takes it.
ALONG = """
    UPDATE deliveries d SET state = a.state, settled_at = a.at, text = a.text, head = false
    FROM unnest($1::bigint[], $2::text[], $3::text[], $4::float8[], $5::text[]) AS a (id, lane, state, at, text)
    WHERE d.id = a.id AND d.lane = a.lane AND d.state = 'pending'
"""
OWED_AGAIN = """
    INSERT INTO deliveries (event_id, lane, run_key, destination, message, target, live, version, state, due_at,
                            created_at, head)
    SELECT d.event_id, d.lane, d.run_key, d.destination, o.message, o.target, o.live, d.version, 'pending', o.due_at,
           o.at, NOT EXISTS (SELECT 1 FROM deliveries p WHERE p.lane = d.lane AND p.state IN ('pending', 'sending'))
    FROM unnest($1::bigint[], $2::text[], $3::text[], $4::smallint[], $5::float8[], $6::float8[])
         AS o (id, message, target, live, due_at, at)
    JOIN deliveries d ON d.id = o.id
"""
FORGET = "DELETE FROM places WHERE key = ANY ($1::text[])"
TRIED = """
    INSERT INTO attempts (delivery_id, at, outcome, text, seconds)
    SELECT id, at, outcome, text, seconds
    FROM unnest($1::bigint[], $2::float8[], $3::text[], $4::text[], $5::float8[]) WITH ORDINALITY
         AS a (id, at, outcome, text, seconds, place)
    ORDER BY place
"""
# A living message moves to where it is now, and what it has shown only grows; a thread stays where it began.
PLACED = """
    INSERT INTO places (key, receipt, shown, updated_at)
    SELECT * FROM unnest($6::text[], $7::text[], $8::bigint[], $9::float8[])
    ON CONFLICT (key) DO UPDATE
    SET receipt = CASE WHEN left(excluded.key, 2) = 't|' THEN places.receipt ELSE excluded.receipt END,
        shown = greatest(places.shown, excluded.shown), updated_at = excluded.updated_at
"""
# What a living message has shown only grows: an edit that shows version 7 settles every older wish for that message.
# Lane by lane, and compared and ordered by lane and id, here and above: so that no plan goes through all that waits.
FOLD = """
    UPDATE deliveries d SET state = 'folded', settled_at = f.at, text = f.text, head = false
    FROM unnest($10::text[], $11::text[], $12::bigint[], $13::bigint[], $14::float8[], $15::text[])
         AS f (lane, message, id, version, at, text)
    CROSS JOIN LATERAL (SELECT p.id FROM deliveries p
                        WHERE p.lane = f.lane AND (p.lane, p.id) > (f.lane, f.id) AND p.state IN ('pending', 'sending')
                          AND p.live = 1 AND p.message = f.message AND p.version <= f.version
                        ORDER BY p.lane, p.id OFFSET 0) AS wish
    WHERE d.id = wish.id AND d.state = 'pending'
"""
# All that follows from settlements, in one round trip. The next of a lane ($16) is not one that is folded just now.
PROMOTE_UNFOLDED = PROMOTING.format(lanes="$16", but="AND p.id NOT IN (SELECT id FROM folded)")
WRITE = f"WITH tried AS ({TRIED}), placed AS ({PLACED}), folded AS ({FOLD} RETURNING d.id) {PROMOTE_UNFOLDED}"


MANY = 2**62
Locks = dict[int, tuple[str, int]]  # its lane and the lock of that, by the number of a delivery


# -- claiming ----------------------------------------------------------------------------------------------------------


async def claim(
    connection: Connection,
    destination: str,
    now: datetime,
    lease: timedelta,
    limit: int,
    locks: Locks,
    *,
    durable: bool = False,
) -> list[Claimed]:
    """Take what is due, and note its locks. What a call takes that fails comes again when the lease has ended."""
    at, until = now.timestamp(), now + lease
    never = at + LONGEST_DELAY.total_seconds()
    taken = await connection.fetch(
        CLAIM,
        destination,
        at,
        never,
        max(never, until.timestamp()),
        limit,
        until.timestamp(),
        "on" if durable else "off",
    )
    if not taken:
        return []
    locks.update({row[0]: (row[3], lane_lock(row[3], row[1], row[2])) for row in taken})
    found, unreadable = await load(connection, [row[0] for row in taken])
    if unreadable:
        await bury(connection, unreadable, at)
    promised = [
        (number(one.id), one.run.version)
        for one in found
        if one.target.live and one.run is not None and one.run.version > one.version
    ] + [(number(one.id), number(one.behind[-1].id if one.behind else one.id)) for one in found if one.target.gathers]
    if promised:
        await connection.execute(PROMISE, *map(list, zip(*promised, strict=True)))
    return [replace(one, leased_until=until) for one in found]


async def load(
    connection: Connection, numbers: Sequence[int], *, again: bool = False
) -> tuple[list[Claimed], dict[int, str]]:
    """Return deliveries with the newest state of their runs; and which cannot be read back, with the reason.

    `again`: with what they gathered when they were claimed.
    """
    rows = await connection.fetch(LOAD, numbers)
    targets: dict[int, Target] = {}
    unreadable: dict[int, str] = {}
    for row in rows:
        try:
            target = codec.load(row["target"], Target)
            targets[row["id"]] = with_mentions(target, row["later"]) if target.live else target
        except Exception as error:  # what cannot be read back is kept to be seen, and holds nobody up
            unreadable[row["id"]] = type(error).__name__
    roots = await _roots(connection, rows, targets)
    gathering = [row for row in rows if row["id"] in targets and targets[row["id"]].gathers and not row["replayed"]]
    waiting = await _behind(connection, gathering, again=again) if gathering else {}
    found = []
    for row in rows:
        if row["id"] not in targets:
            continue
        try:
            found.append(_claimed(row, targets[row["id"]], roots, waiting.get(row["id"], ())))
        except Exception as error:
            unreadable[row["id"]] = type(error).__name__
    return found, unreadable


def _root(run_key: str, target: Target) -> str:
    return thread_place(run_key, target.destination, fit_key(target.channel) if target.channel else None)


async def _roots(connection: Connection, rows: Sequence[Any], targets: dict[int, Target]) -> dict[str, Any]:
    keys = [
        _root(row["run_key"], targets[row["id"]])
        for row in rows
        if row["run_key"] and row["id"] in targets and targets[row["id"]].thread
    ]
    return {key: (receipt, shown) for key, receipt, shown in await connection.fetch(PLACES, keys)} if keys else {}


async def _behind(connection: Connection, rows: Sequence[Any], *, again: bool) -> dict[int, list[Behind]]:
    """Return what waits to be said with these, by their numbers. What cannot be read back waits for its own turn."""
    asked = [
        (row["id"], row["lane"], row["message"], row["version"] if again or row["unsure"] else MANY) for row in rows
    ]
    found: dict[int, list[Behind]] = {}
    for head, *columns, event_id, text in await connection.fetch(
        BEHIND, *map(list, zip(*asked, strict=True)), GATHERED
    ):
        try:
            found.setdefault(head, []).append(behind(columns, event(text, event_id)))
        except ValueError as error:
            log.error("delivery.unreadable", delivery_id=f"d{columns[0]}", error=type(error).__name__)
    return found


def _claimed(row: Any, target: Target, roots: dict[str, Any], gathered: Sequence[Behind]) -> Claimed:
    root: Place | None = None
    if row["run_key"] and target.thread:
        root = place(roots.get(_root(row["run_key"], target)))
    return claimed(
        row["id"],
        row[6:],
        event=event(row["event"], row["event_id"]),
        run=codec.load(row["run"], Run) if row["run"] else None,
        target=target,
        shown_at=place((row["receipt"], row["shown"])) if row["receipt"] is not None else None,
        root=root,
        gathered=gathered,
    )


async def bury(connection: Connection, unreadable: dict[int, str], at: float) -> None:
    texts = [f"bridge cannot read it back ({reason})" for reason in unreadable.values()]
    for name, reason in unreadable.items():
        log.error("delivery.unreadable", delivery_id=f"d{name}", error=reason)
    async with connection.transaction():
        await lock_runs(connection, list(unreadable))
        lanes = [row[0] for row in await connection.fetch(BURY, list(unreadable), at, texts)]
        await connection.execute(PROMOTE, lanes)


async def lock_runs(connection: Connection, numbers: Sequence[int]) -> None:
    """Hold the lanes of these deliveries until the transaction ends."""
    runs = await connection.fetch(RUNS_OF, numbers)
    await connection.execute(in_turn((row[3], lane_lock(row[3], row[0], row[1])) for row in runs))


# -- settling ----------------------------------------------------------------------------------------------------------


async def settle(connection: Connection, settlements: Sequence[Settlement], locks: Locks) -> None:
    """Keep the words of workers in one transaction. No two are of one delivery. `locks`: those that are known."""
    ends = [number(one.id) for one in settlements if one.state != "pending"]
    if unknown := [end for end in ends if end not in locks]:
        runs = await connection.fetch(RUNS_OF, unknown)
        locks = locks | {row[2]: (row[3], lane_lock(row[3], row[0], row[1])) for row in runs}
    held_locks = [locks[end] for end in ends if end in locks]
    await connection.execute("BEGIN; " + in_turn(held_locks) if held_locks else "BEGIN")
    rows = await connection.fetch(SETTLE, *map(list, zip(*map(_settlement, settlements), strict=True)))
    said = {number(one.id): one for one in settlements}
    held = [(said[row["id"]], row) for row in rows]  # the others have lost their lease: they change nothing
    tried = [(one, row) for one, row in held if one.outcome not in UNTRIED]
    if forgotten := [key for one, row in tried if one.forget and row["run_key"] for key in _places(row)]:
        await connection.execute(FORGET, forgotten)
    shown = [_shown(*one) for one in tried if one[1]["live"] and one[1]["run_key"] and one[0].shown is not None]
    ended = [row["lane"] for one, row in held if one.state != "pending"]
    if along := [_along(one, row, each) for one, row in held for each in one.along]:
        await connection.execute(ALONG, *_columns(along, 5))
    if held:
        await connection.execute(
            WRITE,
            *_columns(map(_tried, tried), 5),
            *_columns(_placed(tried), 4),
            *_columns(shown, 6),
            ended,
        )
    if owed := [_owed_again(one, row) for one, row in held if one.owe is not None]:
        await connection.execute(OWED_AGAIN, *_columns(owed, 6))
    await connection.execute("COMMIT")


def _columns(rows: Iterable[Sequence[Any]], width: int) -> list[list[Any]]:
    listed = list(rows)
    return [list(column) for column in zip(*listed, strict=True)] if listed else [[] for _ in range(width)]


def _settlement(one: Settlement) -> tuple[Any, ...]:
    waits = one.state == "pending"
    return (
        number(one.id),
        one.leased_until.timestamp() if one.leased_until is not None else None,
        one.state,
        one.due_at.timestamp() if one.due_at else None,
        None if waits else one.at.timestamp(),
        fit(one.text),
        int(one.counts),
        int(one.plain),
        one.sent,
        one.outcome,
        int(waits and one.outcome == "unsure"),
    )


def _along(one: Settlement, row: Any, other: Along) -> tuple[Any, ...]:
    return number(other.id), row["lane"], other.state, one.at.timestamp(), fit(other.text)


def _owed_again(one: Settlement, row: Any) -> tuple[Any, ...]:
    target, at = one.owe, one.at.timestamp()
    if target is None:
        raise ValueError("nothing is owed")
    text = codec.dump(target).decode()
    return row["id"], fit_key(target.key), text, int(target.live), at + delay(target, at), at


def _tried(pair: tuple[Settlement, Any]) -> tuple[Any, ...]:
    one, row = pair
    return row["id"], one.at.timestamp(), one.outcome, fit(one.text), one.seconds


def _places(row: Any) -> tuple[str, str]:
    """Return where the living message and the thread of a delivery are kept."""
    target = codec.load(row["target"], Target)
    return message_place(row["run_key"], row["message"]), _root(row["run_key"], target)


def _placed(tried: Iterable[tuple[Settlement, Any]]) -> list[tuple[Any, ...]]:
    placed: dict[str, tuple[Any, ...]] = {}
    for one, row in tried:
        if one.receipt is None or not row["run_key"]:
            continue
        message, thread = _places(row)
        receipt, at = fit(json.dumps(one.receipt)), one.at.timestamp()
        if row["live"]:
            placed[message] = (message, receipt, one.shown or 0, at)
        placed.setdefault(thread, (thread, receipt, 0, at))
    return list(placed.values())


def _shown(one: Settlement, row: Any) -> tuple[Any, ...]:
    return row["lane"], row["message"], row["id"], one.shown, one.at.timestamp(), f"shown by {one.id}"
