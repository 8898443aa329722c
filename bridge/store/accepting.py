"""What has to be written because of an arrival? Decided before anything is, and alike for every engine. No I/O.

`accepting` is a conversation: it asks for what the engine remembers of a run, then of a track, and ends with what to
write. So the engine chooses how to look things up (one by one, or a whole batch in one round trip under locks), an
arrival that fails has written nothing yet, and the rules of "seen before" and "kept although routing failed" stand here
once.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import msgspec

from bridge import codec
from bridge.errors import StoreUnavailable
from bridge.event import Event, Run, Target, Track
from bridge.observe import log
from bridge.store.base import Arrival, Decider, Decision, EventState


class Seen(msgspec.Struct, frozen=True):
    """A delivery of the same key, kept as `event_id`. `sent_at`: by the sender's clock, seconds since 1970."""

    event_id: int
    sent_at: float | None
    unreadable: bool


class Known(msgspec.Struct, frozen=True):
    """The answer to the first question: whether the delivery was seen before, and the run as it is.

    `fault`: there is a run, but it cannot be read back; a newer bridge has written it, say.
    """

    seen: Seen | None = None
    run: Run | None = None
    fault: ValueError | None = None


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What an arrival adds to the memory. `event`, `rules` and `headers` are JSON."""

    state: EventState
    event: bytes | None = None
    said: Event | None = None  # the same, unwritten
    problem: str = ""
    rules: bytes = b"[]"
    headers: bytes = b"{}"
    remember: bool = True  # as seen
    run: Run | None = None
    run_json: bytes = b""
    track: Track | None = None
    track_json: bytes = b""
    targets: tuple[tuple[Target, str], ...] = ()  # each with its JSON

    @property
    def destinations(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(target.destination for target, _ in self.targets))


class Duplicate(msgspec.Struct, frozen=True):
    """The arrival repeats what is kept as `event_id`; nothing is written."""

    event_id: int


Accepting = Generator[str | None, Any, Entry | Duplicate]


def accepting(arrival: Arrival, decider: Decider) -> Accepting:
    """Yield the key of the arrival's run (or None), be sent `Known`; yield the key of a track if there is one to ask
    for, be sent the Track or None, or be thrown what reading it back raised; return what to write.

    A bug in fold or route must not lose the event: what it raises ends in an Entry whose state is "stuck".
    """
    event = arrival.event
    if event is None:
        known: Known = yield None
        return _without_event(arrival, known)
    try:
        key = decider.run_key(event)
    except Exception as error:
        known = yield None
        return _repeats(arrival, known) or _stuck(arrival, event, error)
    known = yield key
    repeated = _repeats(arrival, known)
    if repeated is not None:
        return repeated
    if known.fault is not None:
        return _stuck(arrival, event, known.fault)
    repeat = known.seen is not None and not known.seen.unreadable
    try:
        first = decider.first(event, known.run, repeat=repeat, sent_at=arrival.identity.sent_at)
        if repeat and known.seen is not None and not first.news:
            return Duplicate(known.seen.event_id)
        track: Track | None = None
        if first.track is not None:
            track = yield first.track
        return _entry(arrival, decider.second(first, track))
    except StoreUnavailable:
        raise  # the engine's own, thrown in where it was asked
    except Exception as error:
        return _stuck(arrival, event, error)


def _without_event(arrival: Arrival, known: Known) -> Entry | Duplicate:
    if known.seen is not None:
        return Duplicate(known.seen.event_id)
    return Entry(
        state="ignored" if arrival.ignored else "unreadable",
        problem=arrival.problem,
        headers=codec.dump(arrival.headers),
        remember=not arrival.ignored,
    )


def _repeats(arrival: Arrival, known: Known) -> Duplicate | None:
    """Return the earlier delivery that this one is, if it is certain before the run is asked."""
    seen = known.seen
    if seen is None or seen.unreadable:  # it can be read by now: the sender's redelivery is welcome
        return None
    sent_at = arrival.identity.sent_at
    if not arrival.identity.repeatable:
        return Duplicate(seen.event_id)
    # A repeatable one is that earlier one when it is of its time, before it, or with the time left out.
    earlier = seen.sent_at is not None and (sent_at is None or sent_at.timestamp() <= seen.sent_at)
    return Duplicate(seen.event_id) if earlier else None


def _entry(arrival: Arrival, decision: Decision) -> Entry:
    run, track = decision.run, decision.track
    return Entry(
        state=decision.state,
        event=codec.dump(decision.event),
        said=decision.event,
        rules=codec.dump(decision.rules),
        headers=codec.dump(arrival.headers),
        run=run,
        run_json=codec.dump(run) if run is not None else b"",
        track=track,
        track_json=codec.dump(track) if track is not None else b"",
        targets=tuple((target, codec.dump(target).decode()) for target in decision.targets),
    )


def _stuck(arrival: Arrival, event: Event, error: Exception) -> Entry:
    log.error("event.stuck", source=arrival.source, error=type(error).__name__, exc_info=error)
    try:
        written: bytes | None = codec.dump(event)
    except (msgspec.MsgspecError, TypeError, ValueError):
        written = None  # not even the event can be written down: then its body is
    return Entry(
        state="stuck",
        event=written,
        problem=f"bridge could not route it: {type(error).__name__}",
        headers=codec.dump(arrival.headers),
    )
