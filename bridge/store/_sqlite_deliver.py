"""How is a delivery claimed, settled and replayed in a SQLite file? Each function is a part of one transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec.structs import replace

from bridge import codec
from bridge.event import Target, Track
from bridge.observe import log
from bridge.store import rows
from bridge.store._sqlite_memory import OWE, Hands, Memory
from bridge.store.base import UNTRIED, Behind, Claimed, Settlement

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
LEASES = "SELECT id, leased_until FROM deliveries WHERE destination = ? AND state = 'sending'"
REDATE = "UPDATE deliveries SET due_at = ? WHERE destination = ? AND state = 'pending' AND due_at > ?"
END_LEASES = """
    UPDATE deliveries SET leased_until = ?1, due_at = min(due_at, ?1)
    WHERE destination = ?2 AND state = 'sending' AND leased_until > ?3
"""
HASTEN = "UPDATE deliveries SET due_at = ? WHERE destination = ? AND state = 'pending' AND due_at > ? AND attempts > 0"
MANY = 2**62
BURY = "UPDATE deliveries SET state = 'dead', leased_until = NULL, settled_at = ?, text = ? WHERE id = ?"
LOAD = f"SELECT {rows.CLAIM_COLUMNS} FROM deliveries WHERE id = ?"  # noqa: S608 - made of our own words
SENDING = """
    SELECT lane, run_key, target, live, leased_until, destination, event_id, version FROM deliveries
    WHERE id = ? AND state = 'sending'
"""
# Said twice, `state IN ...` lets SQLite see that the index of lanes, which is a partial one, has them all.
LATER = """
    SELECT target FROM deliveries
    WHERE lane = ? AND message = ? AND state = 'pending' AND state IN ('pending', 'sending') AND id > ?
"""
# What waits behind one that gathers, to be said with it.
BEHIND = """
    SELECT id, target, created_at, event_id FROM deliveries
    WHERE lane = ? AND message = ? AND state = 'pending' AND state IN ('pending', 'sending') AND id > ? AND id <= ?
      AND replayed = 0
    ORDER BY id LIMIT ?
"""
ALONG = """
    UPDATE deliveries SET state = ?, settled_at = ?, text = ? WHERE id = ? AND lane = ? AND state = 'pending'
"""
# What a living message has shown only grows: an edit that shows version 7 settles every older wish for that message.
FOLD = """
    UPDATE deliveries SET state = 'folded', settled_at = ?, text = ?
    WHERE lane = ? AND live = 1 AND message = ? AND state = 'pending' AND state IN ('pending', 'sending')
      AND id > ? AND version <= ?
"""
# What is due already and was not claimed waits for the one before it in its lane, or for a free hand.
NEXT_DUE = "SELECT min(due_at) FROM deliveries WHERE destination = ? AND state = 'pending' AND due_at > ?"
WAITS = "SELECT 1 FROM deliveries WHERE destination = ? AND state = 'pending' LIMIT 1"
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


def claim(
    db: sqlite3.Connection, memory: Memory, destination: str, now: datetime, lease: timedelta, limit: int
) -> list[Claimed]:
    at = now.timestamp()
    never = at + rows.LONGEST_DELAY.total_seconds()
    until = now + lease
    hands = memory.hands
    _expire(db, hands, destination, at, max(never, until.timestamp()))
    if hands.idle(destination):
        return []
    found = db.execute(CLAIM, (destination, at, never, limit)).fetchall()
    claimed = []
    for (number,) in found:
        db.execute(LEASE, (until.timestamp(), number))
        hands.wait(destination, -1)
        hands.hold(destination, number, until.timestamp())
        try:
            claimed.append(_promised(db, replace(load(db, memory, number), leased_until=until)))
        except sqlite3.Error:
            raise
        except Exception as error:  # what cannot be read back is kept to be seen, and holds nobody up
            log.error("delivery.unreadable", delivery_id=f"d{number}", error=type(error).__name__)
            db.execute(BURY, (at, f"bridge cannot read it back ({type(error).__name__})", number))
            hands.let_go(destination, number)
    return claimed


def _expire(db: sqlite3.Connection, hands: Hands, destination: str, first: float, last: float) -> None:
    """Make pending again, as unsure, what has been leased for too long, or by a clock that is far ahead."""
    if not hands.overdue(destination, first, last):
        return
    if db.execute(EXPIRE, (destination, first, last)).rowcount:
        hands.forget(destination)
    hands.are_held(destination, db.execute(LEASES, (destination,)))


def _promised(db: sqlite3.Connection, claimed: Claimed) -> Claimed:
    """Note which version a living message will show now: should the answer be lost, that one may have been seen.

    Of one that gathers, the last that is said with it: those may have been said then, and no later ones.
    """
    number = rows.number(claimed.id)
    if claimed.target.live and claimed.run is not None:
        db.execute("UPDATE deliveries SET version = max(version, ?) WHERE id = ?", (claimed.run.version, number))
    elif claimed.target.gathers:
        last = rows.number(claimed.behind[-1].id) if claimed.behind else number
        db.execute("UPDATE deliveries SET version = ? WHERE id = ?", (last, number))
    return claimed


def load(db: sqlite3.Connection, memory: Memory, number: int, *, again: bool = False) -> Claimed:
    """Return a delivery with the newest state of its run; `again`, with what it gathered when it was claimed.

    Raises ValueError when it cannot be read back.
    """
    row = db.execute(LOAD, (number,)).fetchone()
    event_id, target_text, version, _, _, unsure, _, replayed, _, run_key, lane = row
    target = codec.load(target_text, Target)
    if target.live:
        later = db.execute(LATER, (lane, target.key, number))
        target = rows.with_mentions(target, (text for (text,) in later))
    return rows.claimed(
        number,
        row,
        event=memory.event(db, event_id),
        run=memory.run(db, run_key) if run_key else None,
        target=target,
        shown_at=_place(db, rows.message_place(run_key, target.key)) if run_key and target.live else None,
        root=_place(db, _thread(run_key, target)) if run_key and target.thread else None,
        gathered=_behind(db, memory, (lane, target.key, number, version if again or unsure else MANY))
        if target.gathers and not replayed
        else (),
    )


def _behind(db: sqlite3.Connection, memory: Memory, asked: tuple[str, str, int, int]) -> list[Behind]:
    found = db.execute(BEHIND, (*asked, rows.GATHERED)).fetchall()
    return [rows.behind(row, memory.event(db, row[3])) for row in found]


def _place(db: sqlite3.Connection, key: str) -> rows.Place | None:
    return rows.place(db.execute("SELECT receipt, shown FROM places WHERE key = ?", (key,)).fetchone())


def _thread(run_key: str, target: Target) -> str:
    return rows.thread_place(run_key, target.destination, target.channel)


def settle(db: sqlite3.Connection, memory: Memory, settlement: Settlement) -> None:
    number = rows.number(settlement.id)
    row = db.execute(SENDING, (number,)).fetchone()
    held = settlement.leased_until
    if row is None or (held is not None and held.timestamp() != row[4]):
        return  # the lease was lost: the word of him who holds it, or has settled it, counts
    lane, run_key, target_text, live, _, destination, event_id, version = row
    at = settlement.at.timestamp()
    waits = settlement.state == "pending"
    memory.hands.let_go(destination, number)
    if waits:
        memory.hands.wait(destination, 1)
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
    if settlement.outcome in UNTRIED:
        return
    db.execute(
        "INSERT INTO attempts (delivery_id, at, outcome, text, seconds) VALUES (?, ?, ?, ?, ?)",
        (number, at, settlement.outcome, settlement.text, settlement.seconds),
    )
    for one in settlement.along:
        gone = db.execute(ALONG, (one.state, at, one.text, rows.number(one.id), lane)).rowcount
        memory.hands.wait(destination, -gone)
    if (owed := settlement.owe) is not None:
        text, due = codec.dump(owed).decode(), at + rows.delay(owed, at)
        values = (event_id, lane, run_key, destination, owed.key, text, int(owed.live), version, due, at)
        db.execute(OWE, values)
        memory.hands.wait(destination, 1)
    if not run_key:
        return
    target = codec.load(target_text, Target)
    message, thread = rows.message_place(run_key, target.key), _thread(run_key, target)
    if settlement.forget:
        db.execute("DELETE FROM places WHERE key IN (?, ?)", (message, thread))
    if settlement.receipt is not None:
        receipt = json.dumps(settlement.receipt)
        if live:
            db.execute(PLACE, (message, receipt, settlement.shown or 0, at))
        db.execute(ROOT, (thread, receipt, at))
    if live and settlement.shown is not None:
        folded = db.execute(FOLD, (at, f"shown by {settlement.id}", lane, target.key, number, settlement.shown))
        memory.hands.wait(destination, -folded.rowcount)


def track(db: sqlite3.Connection, memory: Memory, key: str) -> Track | None:
    try:
        return memory.track(db, key)
    except ValueError:  # a newer bridge has written it, say
        return None


def replay(db: sqlite3.Connection, memory: Memory, number: int, now: datetime) -> tuple[str, str] | None:
    """Owe a settled delivery again, as a new one, so that what was tried stays to be seen."""
    row = db.execute(
        "SELECT event_id, lane, run_key, destination, message, target, live, version, state FROM deliveries "
        "WHERE id = ?",
        (number,),
    ).fetchone()
    if row is None or row[8] in ("pending", "sending"):
        return None
    at = now.timestamp()
    own = rows.lane(row[2], row[0], row[3])  # not behind what waits long
    cursor = db.execute(
        "INSERT INTO deliveries (event_id, lane, run_key, destination, message, target, live, version, state, due_at, "
        "created_at, replayed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'pending', ?, ?, 1)",
        (row[0], own, *row[2:8], at, at),
    )
    memory.hands.wait(row[3], 1)
    if row[8] in ("dead", "dropped"):
        db.execute(
            "UPDATE deliveries SET state = 'folded', text = text || ? WHERE id = ?",
            (f"; replayed as d{cursor.lastrowid}", number),
        )
    return f"d{cursor.lastrowid}", row[3]


def bury(db: sqlite3.Connection, memory: Memory, known: Sequence[str], before: datetime, now: datetime) -> int:
    marks = ", ".join("?" * len(known))
    memory.hands.clear()
    return db.execute(
        "UPDATE deliveries SET state = 'dead', settled_at = ?, "  # noqa: S608
        "text = 'the configuration has no destination of this name any more' "
        f"WHERE state = 'pending' AND created_at < ? AND destination NOT IN ({marks})",
        (now.timestamp(), before.timestamp(), *known),
    ).rowcount


def hasten(db: sqlite3.Connection, destination: str, now: datetime) -> None:
    db.execute(HASTEN, (now.timestamp(), destination, now.timestamp()))


def redate(db: sqlite3.Connection, memory: Memory, destination: str, now: datetime, lease: timedelta) -> None:
    at = now.timestamp()
    memory.hands.forget(destination)
    db.execute(REDATE, (at, destination, at))
    db.execute(END_LEASES, (at, destination, (now + lease).timestamp() + rows.CLOCKS_DIFFER.total_seconds()))


def next_due(db: sqlite3.Connection, memory: Memory, destination: str, now: datetime) -> datetime | None:
    at = now.timestamp()
    due = None
    if not memory.hands.idle(destination):
        due = db.execute(NEXT_DUE, (destination, at)).fetchone()[0]
        if due is None and db.execute(WAITS, (destination,)).fetchone() is None:
            memory.hands.none_waits(destination)
    (ends,) = db.execute(NEXT_LEASE, (destination,)).fetchone()
    return rows.moment(min(filter(None, (due, ends)))) if due or ends else None
