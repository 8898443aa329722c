"""What would another configuration have said of the events that came?

`compare` tells recorded events, in their order and with their times, to two configurations, and counts where they
differ. Pure: no store, no chat, no clock. What changed (`broken`, `fixed`) was decided when an event came and depends
on no rule, so it is taken as it was recorded; which rules want it, what is one living message and what two runs of one
push say only once are decided anew, by the same functions that the server asks. A living message counts once, where it
begins; its edits do not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from bridge.config import Config
from bridge.deliver import mentions
from bridge.destinations import DESTINATIONS
from bridge.errors import TemplateError
from bridge.event import OWN, Event, Run, Target, Track
from bridge.fold import EPOCH, fold_run, run_key, track_key
from bridge.message import Message
from bridge.receive import Deciding
from bridge.render import Renderer, View, plain
from bridge.store.base import First, StoredEvent

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
        before, after = one.says(event, run), other.says(event, run)
        found.running += len(before)
        found.candidate += len(after)
        if alike and before == after:
            continue
        for kind in _differences((one, before), (other, after), event, run, alike=alike):
            found.differences.setdefault(kind, Difference()).count(stored)
    return found


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


class Speaker:
    """What one configuration says while events are told to it: remembers its living messages, and what twins said."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._deciding = Deciding(config.rules)
        self._renderer = Renderer(config.templates)
        self._living: dict[str, tuple[Target, ...]] = {}
        self._tracks: dict[str, Track] = {}

    def says(self, event: Event, run: Run | None) -> Said:
        """Return the new messages that an event causes whose `change` is known, each with its place."""
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
        new = (target for target in decision.targets if not (target.live and target.key in opened))
        return [(self._where(target), target) for target in new]

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
        mentions=mentions(target.mention, event, config.people, DESTINATIONS[chat].PERSON),
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
