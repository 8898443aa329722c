"""What would be said if these events came now, one after another? What `bridge test` asks.

Folds and routes with the functions that the server asks, and remembers runs, tracks and what waits in dictionaries in
place of a store. Pure: time is the events' own, nothing is sent. What is due before an event comes is said before it,
digests too: those come of the event before them. A living message is said once, where it begins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from heapq import heappop, heappush

from msgspec.structs import replace

from bridge.backtest import rendered
from bridge.config import Config
from bridge.digest import BEFORE, Summary, in_words, is_result
from bridge.event import ALL_CLEAR, ESCALATION, REMINDER, Change, Digest, Event, Run, Target, Track
from bridge.fold import run_key, track_key
from bridge.message import COLLECTED, Message
from bridge.occasions import own_event
from bridge.receive import Deciding
from bridge.render import Renderer
from bridge.route import Rule, hears, route
from bridge.schedule import Schedule, time_before, times_between
from bridge.store.rows import lane_of
from bridge.turn import after_it, newest_of_each, ready_at, still, unsaid

START = datetime(2026, 1, 5, 12, tzinfo=UTC)
"""When a test begins: a Monday at noon."""

NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(slots=True)
class Heard:
    """What came of one event: as it was folded, the rules that wanted it, and the new messages, whenever they came."""

    event: Event
    rules: tuple[str, ...]
    said: list[tuple[Target, Message]] = field(default_factory=list)


@dataclass(slots=True)
class _Owed:
    """A message that waits for its turn. `heard` is what it comes of."""

    target: Target
    heard: Heard
    at: datetime

    @property
    def ready_at(self) -> datetime:
        return ready_at(self.target, self.at)


class Rehearsal:
    """One configuration, while events are told to it. `past` gives the track of the first result on a key."""

    def __init__(self, config: Config, past: Callable[[str], Track | None] = lambda key: None) -> None:
        self._config = config
        self._past = past
        self._deciding = Deciding(config.rules)
        self._renderer = Renderer(config.templates)
        self._runs: dict[str, Run] = {}
        self._tracks: dict[str, Track] = {}
        self._lanes: dict[str, list[_Owed]] = {}
        self._turns: list[tuple[datetime, int, str]] = []  # when the first of which lane is due
        self._events = 0
        self._digests = [(rule, rule.digest) for rule in config.rules if rule.digest is not None]
        self._results: list[tuple[datetime, Event]] = []  # what a digest may tell of
        self._last: tuple[datetime, Heard] | None = None

    def hear(self, event: Event, change: Change | None = None) -> Heard:
        """Return what comes of `event`; a `change` that is told is believed, else it is found out."""
        at = event.received_at or START
        self._until(at)
        self._tell_digests(at)
        known = self._runs.get(run_key(event) or "")
        first = self._deciding.first(event, known, repeat=False, sent_at=None)
        track = self._tracks.get(first.track) or self._past(first.track) if first.track else None
        told = change or event.change
        if told is not None:
            believed = replace(first, event=first.event.with_(change=told))
            decision = self._deciding.told(believed, track, None)
        else:
            decision = self._deciding.second(first, track)
        if decision.run is not None:
            self._runs[decision.run.key] = decision.run
        if decision.track is not None:
            self._tracks[decision.track.key] = decision.track
        living = {target.key for target in known.following} if known is not None else set()
        heard = Heard(decision.event, decision.rules)
        self._events += 1
        for target in decision.targets:
            if not (target.live and target.key in living):
                self._owe(lane_of(target, run_key(event), self._events, decision.event), _Owed(target, heard, at))
        self._until(at)
        self._last = at, heard
        if self._digests and is_result(decision.event):
            self._results.append((at, decision.event))
        return heard

    def end(self) -> None:
        """Say what still waits, in its time; but nothing again, and to nobody else: that might go on for ever."""
        self._until(NEVER)

    # -- digests -------------------------------------------------------------------------------------------------------

    def _tell_digests(self, now: datetime) -> None:
        """Say every digest whose time has come since the last event."""
        if self._last is None:
            return
        before, heard = self._last
        due = [(at, rule, times) for rule, times in self._digests for at in times_between(times, before, now)]
        for at, rule, times in sorted(due, key=lambda one: one[0]):
            digest = self._digest(rule, times, at)
            if rule.tells_empty or not digest.empty:
                event = own_event(digest)
                for target in route([rule], event).targets:
                    message = rendered(self._config, self._renderer, target, event, None, at)
                    heard.said.append((target, message))

    def _digest(self, rule: Rule, times: Schedule, until: datetime) -> Digest:
        since = time_before(times, until)
        summary = Summary(since, until)
        for at, event in self._results:
            if since - BEFORE <= at:
                summary.hear(event, at, part=hears(rule, event).matched)
        return summary.digest().with_(rule=rule.name, period=in_words(since, until, times.zone))

    # -- what waits ----------------------------------------------------------------------------------------------------

    def _owe(self, lane: str, owed: _Owed) -> None:
        waiting = self._lanes.setdefault(lane, [])
        waiting.append(owed)
        if len(waiting) == 1:
            self._due(lane, owed.ready_at)

    def _due(self, lane: str, at: datetime) -> None:
        heappush(self._turns, (at, len(self._turns), lane))

    def _until(self, horizon: datetime) -> None:
        """Take every turn that comes up to then. Nothing happens meanwhile, so what has to look again looks then."""
        while self._turns and self._turns[0][0] <= horizon:
            at, _, lane = heappop(self._turns)
            waiting = self._lanes[lane]
            ends = horizon == NEVER
            if ends and waiting[0].target.role in (REMINDER, ESCALATION):
                del waiting[0]
            elif (again := self._turn(lane, waiting, at)) is not None:
                if not ends:
                    self._due(lane, max(again, horizon))
                    continue
                del waiting[0]
            if waiting:
                self._due(lane, max(at, waiting[0].ready_at))

    def _turn(self, lane: str, waiting: list[_Owed], now: datetime) -> datetime | None:
        """Say what is first in its lane, with what is said together with it; return when to ask again, if so."""
        first = waiting[0]
        target, run = first.target, self._runs.get(run_key(first.heard.event) or "")
        gathered = [one for one in waiting if one is first or (target.gathers and one.target.key == target.key)]
        event = gathered[-1].heard.event
        if target.role:
            track = track_key(first.heard.event)
            found = still(target, first.heard.event, event, self._tracks.get(track) or self._past(track), now)
            if isinstance(found, datetime):
                return found
            event = found if isinstance(found, Event) else event
            wanted = gathered if isinstance(found, Event) else []
            gathered = wanted or [first]  # what waits behind it may be of a later row of failures
        else:
            wanted = [one for one in gathered if not unsaid(one.target, one.heard.event, run)]
        if wanted:
            self._say(wanted, event if target.role else wanted[-1].heard.event, run, now)
        waiting[:] = [one for one in waiting if one not in gathered]
        if target.role and wanted and (later := after_it(target, now)) is not None:
            waiting.append(_Owed(later, first.heard, now))
        return None

    def _say(self, wanted: list[_Owed], event: Event, run: Run | None, now: datetime) -> None:
        target = wanted[0].target
        named = dict.fromkeys(word for one in wanted for word in one.target.mention)
        told = newest_of_each(one.heard.event for one in wanted)
        together = told if not target.role and (len(told) > 1 or target.template == COLLECTED) else ()
        if target.live and run is not None:
            event = run.event
        message = rendered(
            self._config,
            self._renderer,
            target.with_(mention=tuple(named)),
            event,
            run if target.role != ALL_CLEAR else None,
            now,
            together=together,
        )
        wanted[0].heard.said.append((target, message))
