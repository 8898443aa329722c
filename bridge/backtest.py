"""What would another configuration have said of the events that came?

`compare` tells recorded events, in their order and with their times, to two configurations, and counts where they
differ. Pure: no store, no chat, no clock. What changed (`broken`, `fixed`) was decided when an event came and depends
on no rule, so it is taken as it was recorded; which rules want it, what is one living message and what two runs of one
push say only once are decided anew, by the same functions that the server asks. A living message counts once, where it
begins; its edits do not. What is gathered counts once, where that begins; what is said again or escalated counts with
the failure that it is of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from heapq import heappop, heappush
from typing import Literal

from bridge.config import Config
from bridge.errors import TemplateError
from bridge.event import ESCALATION, OWN, Event, Run, Target, Track
from bridge.fold import EPOCH, fold_run, run_key, track_key
from bridge.message import Message
from bridge.receive import Deciding
from bridge.render import Renderer, View, plain
from bridge.store import rows
from bridge.store.base import First, StoredEvent
from bridge.store.rows import lane_of
from bridge.turn import LONGEST, after_it, ready_at
from bridge.whom import ids, of_target

How = Literal["added", "dropped", "moved", "worded"]
EXAMPLES = 3
NEWS = ("routed", "unrouted")
"""The states of events that rules were asked about; "unchanged" ones only add to what is known of their run."""


@dataclass(frozen=True, slots=True)
class Where:
    """A place in a chat. `channel`: the one that a rule names, else the destination's own, where it has a name."""

    destination: str
    type: str
    channel: str | None = None

    def __str__(self) -> str:
        return f"{self.destination} in {self.channel}" if self.channel else self.destination


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of difference: the messages of `rules` at `before` (None: they were not) that are now at `after`."""

    how: How
    rules: tuple[str, ...]
    before: Where | None
    after: Where | None


@dataclass(slots=True)
class Difference:
    """How often a kind of difference occurs, by day (UTC, ``2026-01-31``), and the first events that show it."""

    days: Counter[str] = field(default_factory=Counter)
    events: list[str] = field(default_factory=list)

    def count(self, stored: StoredEvent) -> None:
        self.days[stored.received_at.date().isoformat()] += 1
        if len(self.events) < EXAMPLES:
            self.events.append(stored.id)


@dataclass(slots=True)
class Comparison:
    """What two configurations say of the same events: how many messages each, and where they differ."""

    events: int = 0
    running: int = 0
    candidate: int = 0
    differences: dict[Kind, Difference] = field(default_factory=dict)


def compare(running: Config, candidate: Config, events: Iterable[StoredEvent]) -> Comparison:
    """Return how `candidate` differs from `running` over `events`, which come oldest first."""
    found = Comparison()
    one, other = Speaker(running), Speaker(candidate)
    alike = running.templates == candidate.templates and running.people == candidate.people
    runs: dict[str, Run] = {}
    for stored in events:
        if stored.event is None or stored.event.source == OWN or stored.state not in (*NEWS, "unchanged"):
            continue
        found.events += 1
        event = stored.event.with_(received_at=stored.received_at)
        run = _known(runs, event)
        if stored.state not in NEWS:
            continue
        before, after = one.says(event, run, stored), other.says(event, run, stored)
        found.running += len(before)
        found.candidate += len(after)
        if alike and before == after:
            continue
        for kind in _differences((one, before), (other, after), event, run, alike=alike):
            found.differences.setdefault(kind, Difference()).count(stored)
    _compare_later(found, one, other)
    return found


def _compare_later(found: Comparison, one: Speaker, other: Speaker) -> None:
    """Add what was said later, because something stayed broken."""
    for cause in {**one.later, **other.later}:
        stored, _ = one.later.get(cause) or other.later[cause]
        before, after = (speaker.later.get(cause, (stored, []))[1] for speaker in (one, other))
        found.running += len(before)
        found.candidate += len(after)
        event = stored.event
        if before == after or event is None:
            continue
        for kind in _differences((one, before), (other, after), event, None, alike=True):
            found.differences.setdefault(kind, Difference()).count(stored)


def _known(runs: dict[str, Run], event: Event) -> Run | None:
    """Return the run of `event` as far as the events so far tell it, for the tasks that a message lists."""
    key = run_key(event)
    if key is None:
        return None
    run = fold_run(event, runs.get(key)).run
    if run is not None:
        runs[key] = run
    return run


Said = list[tuple[Where, Target]]


@dataclass(slots=True)
class _Chased:
    """What is said later if it still fails: because of which event, in which row of failures of its track."""

    target: Target
    event: Event
    stored: StoredEvent
    row: int = 0

    @property
    def track(self) -> str:
        return track_key(self.event)

    @property
    def place(self) -> tuple[str, str, int]:
        """One of a track, a message and a row is said for all of them."""
        return self.track, self.target.key, self.row


class Speaker:
    """What one configuration says while events are told to it: remembers its living messages, and what twins said."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._deciding = Deciding(config.rules)
        self._renderer = Renderer(config.templates)
        self._living: dict[str, tuple[Target, ...]] = {}
        self._tracks: dict[str, Track] = {}
        self._gathering: dict[str, datetime] = {}  # until when a message gathers, by its lane and itself
        self._chasing = any(rule.escalate or any(goal.repeat for goal in rule.to) for rule in config.rules)
        self._waiting: list[tuple[datetime, int, _Chased]] = []
        self._waits = 0
        self._places: set[tuple[str, str, int]] = set()  # of what waits
        self._rows: dict[str, tuple[int, bool]] = {}  # of a track: how many successes ended its rows, whether it fails
        self._told: dict[str, list[_Chased]] = {}  # what was escalated of a row that lasts, by the track
        self.later: dict[str, tuple[StoredEvent, Said]] = {}  # by the event's id

    def says(self, event: Event, run: Run | None, stored: StoredEvent) -> Said:
        """Return the new messages that an event causes whose `change` is known, each with its place.

        What is said later because of it is found in `later`, once that time has come.
        """
        if self._chasing:
            self._chase(stored.received_at)
            self._follow(event)
        if event.source not in self.config.sources:
            return []  # it would not have been taken in
        track = track_key(event) if event.run is not None and event.run.twin else None
        living = self._living.get(run.key, ()) if run is not None else ()
        first = First(event, run.with_(following=living) if run is not None else None, True, False, track)
        decision = self._deciding.told(first, self._tracks.get(track or ""), None)
        if decision.track is not None:
            self._tracks[decision.track.key] = decision.track
        if decision.run is not None and decision.run.following:
            self._living[decision.run.key] = decision.run.following
        opened = {target.key for target in living}
        new = [target for target in decision.targets if not (target.live and target.key in opened)]
        for target in new:
            if target.role:
                self._wait(_Chased(target, event, stored), stored.received_at)
        said = (target for target in new if not target.role and self._begins(target, event, run, stored))
        return [(self._where(target), target) for target in said]

    def _begins(self, target: Target, event: Event, run: Run | None, stored: StoredEvent) -> bool:
        """Return whether a message begins, and is not said together with one that waits."""
        if not target.gathers:
            return True
        lane = lane_of(target, run.key if run is not None else None, rows.number(stored.id), event)
        place, at = f"{lane}|{target.key}", stored.received_at
        if at <= self._gathering.get(place, EPOCH):
            return False
        self._gathering[place] = ready_at(target, at)
        return True

    def _wait(self, chased: _Chased, at: datetime) -> None:
        chased.row = self._rows.get(chased.track, (0, False))[0]
        if chased.place not in self._places:
            self._places.add(chased.place)
            self._waits += 1
            heappush(self._waiting, (ready_at(chased.target, at), self._waits, chased))

    def _chase(self, until: datetime) -> None:
        """Say what came due up to then, where it still fails."""
        while self._waiting and self._waiting[0][0] <= until:
            at, _, chased = heappop(self._waiting)
            self._places.discard(chased.place)
            long_ago = at - chased.stored.received_at > LONGEST
            if self._rows.get(chased.track) != (chased.row, True) or long_ago:
                continue
            self._say_later(chased)
            if chased.target.role == ESCALATION:
                self._told.setdefault(chased.track, []).append(chased)
            elif (again := after_it(chased.target, at)) is not None:
                self._wait(_Chased(again, chased.event, chased.stored), at)

    def _follow(self, event: Event) -> None:
        """Note whether a track fails; tell those to whom it was escalated that it is fixed."""
        if event.change is None or event.overtaken_by:
            return
        track = track_key(event)
        row, _ = self._rows.get(track, (0, False))
        if event.status.unsuccessful:
            self._rows[track] = (row, True)
            return
        self._rows[track] = (row + 1, False)
        for chased in self._told.pop(track, ()):
            self._say_later(_Chased(after_it(chased.target, EPOCH) or chased.target, chased.event, chased.stored))

    def _say_later(self, chased: _Chased) -> None:
        _, said = self.later.setdefault(chased.stored.id, (chased.stored, []))
        said.append((self._where(chased.target), chased.target))

    def _where(self, target: Target) -> Where:
        destination = self.config.destinations[target.destination]
        own = (getattr(destination.options, name, None) for name in ("channel", "room", "chat"))
        channel = target.channel or next(filter(None, own), None)
        return Where(target.destination, destination.type, str(channel) if channel is not None else None)

    def wording(self, target: Target, event: Event, run: Run | None) -> Message:
        """Return the message as it would be rendered at the time of the event."""
        return rendered(self.config, self._renderer, target, event, run, event.received_at or EPOCH)


def rendered(
    config: Config,
    renderer: Renderer,
    target: Target,
    event: Event,
    run: Run | None,
    now: datetime,
    *,
    together: tuple[Event, ...] = (),
) -> Message:
    """Return what `target` says of `event`; what a template cannot say, the plain message does."""
    chat = config.destinations[target.destination].type
    view = View(
        event=event,
        tasks=run.tasks if run else (),
        rule=", ".join(target.rules),
        mentions=ids(of_target(target, event, config)),
        now=now,
        live=target.live,
        together=together,
    )
    try:
        return renderer.render(target.template, view, chat)
    except TemplateError:
        return plain(view)


def _differences(
    running: tuple[Speaker, Said], candidate: tuple[Speaker, Said], event: Event, run: Run | None, *, alike: bool
) -> Iterator[Kind]:
    """Yield how the messages about one event differ: first those at one place are compared, then those of one rule."""
    (one, dropped), (other, added) = (running[0], list(running[1])), (candidate[0], list(candidate[1]))
    for (where, old), (_, new) in _pairs(dropped, added, _same_message):
        if alike and old == new:
            continue
        if one.wording(old, event, run) != other.wording(new, event, run):
            yield Kind("worded", new.rules, where, where)
    for (where, _), (_, new) in _pairs(dropped, added, _same_place):
        yield Kind("worded", new.rules, where, where)
    for (before, _), (after, new) in _pairs(dropped, added, _same_rule):
        yield Kind("moved", new.rules, before, after)
    for where, old in dropped:
        yield Kind("dropped", old.rules, where, None)
    for where, new in added:
        yield Kind("added", new.rules, None, where)


One = tuple[Where, Target]
Fits = Callable[[One, One], bool]


def _same_message(old: One, new: One) -> bool:
    return _same_place(old, new) and old[1].template == new[1].template


def _same_place(old: One, new: One) -> bool:
    return old[0] == new[0] and old[1].reply == new[1].reply


def _same_rule(old: One, new: One) -> bool:
    return old[1].reply == new[1].reply and not set(old[1].rules).isdisjoint(new[1].rules)


def _pairs(dropped: Said, added: Said, fits: Fits) -> Sequence[tuple[One, One]]:
    """Take from both lists what fits together, and return it."""
    found = []
    for old in tuple(dropped):
        new = next((one for one in added if fits(old, one)), None)
        if new is not None:
            dropped.remove(old)
            added.remove(new)
            found.append((old, new))
    return found
