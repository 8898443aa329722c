"""How do rows and our own data become each other, alike in every engine? No I/O.

Keys, ids, compressed bodies, and tuples of columns in the order in which every engine selects them. What cannot be read
back is None where a list must not fail for one of its rows, and raises ValueError where a delivery needs it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import zstandard

from bridge import codec
from bridge.event import Event, Run, Target
from bridge.fold import track_key
from bridge.observe import log
from bridge.store.base import (
    Behind,
    Claimed,
    Condition,
    DeliveryState,
    Depth,
    Mute,
    StoredAttempt,
    StoredDelivery,
    StoredEvent,
    Tally,
)

CLOCKS_DIFFER = timedelta(minutes=1)  # between machines, at most
LONGEST_DELAY = timedelta(hours=1)  # nothing is ever due later: a delivery that seems to be was dated by a wrong clock
LONGEST_STEP = timedelta(minutes=45)  # what waits longer, over a weekend, is looked at so often
TRACKS_FOR = timedelta(days=365)  # how long a branch or pull request may rest before its results are forgotten
SEEN_FOR = timedelta(days=90)  # how long a delivery is remembered at least, so that it cannot be played again
LARGEST_BODY = 64 * 1024 * 1024

EVENT_COLUMNS = "id, source, received_at, state, event, problem, rules, headers"  # and the body, or NULL
EVENT_KEYS = {"id": "id = ?", "state": "state = ?", "source": "source = ?", "since": "received_at >= ?"}
DELIVERY_COLUMNS = (
    "d.id, d.event_id, d.target, d.state, d.due_at, d.created_at, d.settled_at, d.attempts, d.text, d.sent, "
    "d.replayed, e.event"
)
DELIVERY_KEYS = {
    "id": "d.id = ?",
    "state": "d.state = ?",
    "destination": "d.destination = ?",
    "event_id": "d.event_id = ?",
    "since": "d.created_at >= ?",
    "settled": "d.settled_at >= ?",
    "like": "d.text LIKE ?",
    "unlike": "d.text NOT LIKE ?",
}
SLICE = 250  # results that are read at once
CHANGE = b'"change":"'
"""What stands in the JSON of an event that tells a result; in a text its quotes would have backslashes."""
MUTED = "muted by m"
"""How the text of a delivery begins that a mute has settled. It is kept as folded, a word that older code knows too."""
ATTEMPT_COLUMNS = "at, outcome, text, seconds"
GATHERED = 1_000  # at most so many are said together with one
CLAIM_COLUMNS = "event_id, target, version, created_at, attempts, unsure, plain, replayed, tries, run_key, lane"

compress = zstandard.ZstdCompressor(level=1).compress  # for the loop's thread: it may not be shared


def unzip(body: bytes | None) -> bytes:
    return zstandard.ZstdDecompressor().decompress(body, max_output_size=LARGEST_BODY) if body else b""


def number(public_id: Any) -> int:
    """Return the number in ``e12`` or ``d12``; 0, which is nobody's, for anything else."""
    found = re.fullmatch(r"[ed]?([0-9]{1,18})", str(public_id))
    return int(found[1]) if found else 0


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


# -- keys --------------------------------------------------------------------------------------------------------------


def lane(run_key: str | None, event_number: int, destination: str) -> str:
    """One run at one destination: its deliveries go out one by one. What belongs to no run is a lane of its own."""
    return f"{run_key}|{destination}" if run_key else f"e{event_number}|{destination}"


def lane_of(target: Target, run_key: str | None, event_number: int, event: Event | None) -> str:
    """Return the lane of a delivery; what waits long has one of its own, beside its run, for its track or for all.

    The name of one that several runs may share begins as no source is called.
    """
    scope, _, name = target.queue.partition(":")
    if scope == "all":
        return f"~{name}|{target.destination}"
    if scope == "track" and event is not None:
        return f"~{name}|{track_key(event)}|{target.destination}"
    own = lane(run_key, event_number, target.destination)
    return f"{own}|{name}" if scope else own


def delay(target: Target, owed_at: float) -> float:
    """Return after how many seconds a delivery's turn is; whether it has come is asked then, and it may wait on."""
    until = target.until.timestamp() - owed_at if target.until is not None else 0.0
    return max(0.0, min(max(target.wait, until), LONGEST_STEP.total_seconds()))


def message_place(run_key: str, message: str) -> str:
    """Where a run's living message is."""
    return f"m|{run_key}|{message}"


def thread_place(run_key: str, destination: str, channel: str | None) -> str:
    """Where the thread of a run begins."""
    return f"t|{run_key}|{destination}|{channel or ''}"


# -- what is read ------------------------------------------------------------------------------------------------------


def where(
    given: dict[str, Any], known: dict[str, str], mark: Callable[[int], str] = lambda _: "?"
) -> tuple[str, list[Any]]:
    """Return a WHERE clause for what is `given` and its values; `mark` names the nth placeholder, counted from 1."""
    chosen = {name: value for name, value in given.items() if value is not None}
    values = [value.timestamp() if isinstance(value, datetime) else value for value in chosen.values()]
    clause = " AND ".join(known[name].replace("?", mark(place)) for place, name in enumerate(chosen, 1))
    return (f"WHERE {clause}" if clause else ""), values


def readable_event(text: bytes | None, event_number: int) -> Event | None:
    """Return a stored event; None also for one that cannot be read back: a list must not fail for one of its rows."""
    if not text:
        return None
    try:
        return event(text, event_number)
    except ValueError:  # msgspec's errors are
        log.error("event.unreadable", event_id=f"e{event_number}")
        return None


def event(text: bytes, event_number: int) -> Event:
    """Return a stored event. Raises ValueError."""
    return codec.load(text, Event).with_(id=f"e{event_number}")


def result(row: Sequence[Any]) -> Event | None:
    """Return what the columns id, received_at and event say; None for what cannot be read back."""
    found = readable_event(row[2], row[0])
    return found.with_(received_at=moment(row[1])) if found is not None else None


def stored_event(row: Sequence[Any]) -> StoredEvent:
    """Return what `EVENT_COLUMNS` and the body say."""
    return StoredEvent(
        id=f"e{row[0]}",
        source=row[1],
        received_at=moment(row[2]),
        state=row[3],
        event=readable_event(row[4], row[0]),
        problem=row[5],
        rules=tuple(json.loads(row[6])),
        headers=json.loads(row[7]),
        body=unzip(row[8]),
    )


def shown_state(state: DeliveryState, text: str) -> DeliveryState:
    return "muted" if state == "folded" and text.startswith(MUTED) else state


def chosen_deliveries(given: dict[str, Any]) -> dict[str, Any]:
    """Return what is asked of deliveries in the words of `DELIVERY_KEYS`: a muted one is kept as folded."""
    match given.get("state"):
        case "muted":
            return given | {"state": "folded", "like": f"{MUTED}%"}
        case "folded":
            return given | {"unlike": f"{MUTED}%"}
    return given


def stored_delivery(row: Sequence[Any], history: Iterable[Sequence[Any]] = ()) -> StoredDelivery:
    """Return what `DELIVERY_COLUMNS` say, and the rows of its attempts."""
    return StoredDelivery(
        id=f"d{row[0]}",
        event_id=f"e{row[1]}",
        target=codec.load(row[2], Target),
        state=shown_state(row[3], row[8]),
        due_at=moment(row[4]),
        created_at=moment(row[5]),
        settled_at=moment(row[6]) if row[6] is not None else None,
        attempts=row[7],
        text=row[8],
        sent=row[9],
        replayed=bool(row[10]),
        event=readable_event(row[11], row[1]),
        history=tuple(
            StoredAttempt(at=moment(at), outcome=outcome, text=text, seconds=seconds)
            for at, outcome, text, seconds in history
        ),
    )


def condition(row: Sequence[Any]) -> tuple[str, Condition]:
    """Return a destination's name and how it is, from a row of `health`."""
    name, ok, text, at, failures, rest_until = row
    rest = moment(rest_until) if rest_until is not None else None
    return name, Condition(ok=bool(ok), text=text, at=moment(at), failures=failures, rest_until=rest)


# Since when a delivery could have been sent. What waits because a rule says so has its time from then on.
OWED_SINCE = "CASE WHEN d.tries = 0 OR d.lane LIKE '~%' OR d.lane LIKE '%|held' THEN d.due_at ELSE d.created_at END"


def depths(waiting: Iterable[tuple[str, int, float | None]], ended: Iterable[tuple[str, int]]) -> dict[str, Depth]:
    """Return per destination how much waits and since when (`waiting`), and how much was given up (`ended`)."""
    dead = dict(ended)
    found = {
        name: Depth(waits, moment(oldest) if oldest is not None else None, dead.pop(name, 0))
        for name, waits, oldest in waiting
    }
    return found | {name: Depth(0, None, given_up) for name, given_up in dead.items()}


# -- what is counted ---------------------------------------------------------------------------------------------------

DAY = 86_400  # seconds


def day(at: datetime) -> int:
    """Return which day since 1970 it is, UTC."""
    return int(at.timestamp() // DAY)


def tally_row(tally: Tally) -> tuple[int, str, str, str, int, float, int]:
    """Return the columns of `tallies`, the key first."""
    at = tally.last_at
    return day(at), tally.source, tally.answer, tally.repository, tally.times, at.timestamp(), tally.last_event


def tally(row: Sequence[Any]) -> Tally:
    """Return what the columns without the day say."""
    source, answer, repository, times, last_at, last_event = row
    return Tally(source, answer, repository, times, moment(last_at), last_event)


# -- what is muted -----------------------------------------------------------------------------------------------------

MUTE_COLUMNS = "id, rule, repository, branch, since, until, reason"


def mute_row(mute: Mute) -> tuple[str, str, str, float, float, str]:
    """Return `MUTE_COLUMNS` without the id; half a surrogate pair, which a shell may give, is no text."""
    words = (mute.rule, mute.repository, mute.branch, mute.reason)
    rule, repository, branch, reason = (word.encode(errors="replace").decode().replace("\0", "") for word in words)
    return rule, repository, branch, mute.since.timestamp(), mute.until.timestamp(), reason


def mute(row: Sequence[Any]) -> Mute:
    """Return what `MUTE_COLUMNS` say."""
    key, rule, repository, branch, since, until, reason = row
    return Mute(
        id=f"m{key}",
        rule=rule,
        repository=repository,
        branch=branch,
        since=moment(since),
        until=moment(until),
        reason=reason,
    )


def mute_number(mute_id: str) -> int:
    """Return the number in ``m12``; 0, which is nobody's, for anything else."""
    return number(mute_id[1:]) if mute_id.startswith("m") and mute_id[1:].isdecimal() else 0


# -- what is claimed ---------------------------------------------------------------------------------------------------

Place = tuple[dict[str, str], int]  # the receipt, and which version of the run is shown there


def place(row: Sequence[Any] | None) -> Place | None:
    """Return what the columns receipt and shown say."""
    return (json.loads(row[0]), row[1]) if row else None


def with_mentions(target: Target, later: Iterable[str]) -> Target:
    """Return a living target with whom the younger wishes, which it will settle too, wanted to mention."""
    named = [who for text in later for who in codec.load(text, Target).mention]
    return target.with_(mention=tuple(dict.fromkeys((*target.mention, *named))))


def behind(row: Sequence[Any], event: Event) -> Behind:
    """Return what the columns id, target and created_at say."""
    return Behind(f"d{row[0]}", event, codec.load(row[1], Target), moment(row[2]))


def claimed(
    delivery_number: int,
    row: Sequence[Any],
    *,
    event: Event,
    run: Run | None,
    target: Target,
    shown_at: Place | None,
    root: Place | None,
    gathered: Sequence[Behind] = (),
) -> Claimed:
    """Return what `CLAIM_COLUMNS` say, with what was found elsewhere."""
    _, _, version, created_at, attempts, unsure, plain, replayed, tries = row[:9]
    return Claimed(
        id=f"d{delivery_number}",
        event=event,
        run=run,
        target=target,
        created_at=moment(created_at),
        attempts=attempts,
        version=version,
        receipt=shown_at[0] if shown_at else None,
        shown=shown_at[1] if shown_at else 0,
        root=root[0] if root else None,
        unsure=bool(unsure),
        plain=bool(plain),
        replayed=bool(replayed),
        history=tries,
        behind=tuple(gathered),
    )
