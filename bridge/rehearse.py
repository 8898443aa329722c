"""What would be said if these events came now, one after another? What `bridge test` asks.

Folds and routes with the functions that the server asks, and remembers runs and tracks in a dictionary in place of a
store. Pure: time is the events' own, nothing is sent. A living message is said once, where it begins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from bridge.backtest import rendered
from bridge.config import Config
from bridge.event import Change, Event, Run, Target, Track
from bridge.fold import run_key
from bridge.message import Message
from bridge.receive import Deciding
from bridge.render import Renderer

START = datetime(2026, 1, 5, 12, tzinfo=UTC)
"""When a test begins: a Monday at noon."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of one event: as it was folded, the rules that wanted it, and the new messages."""

    event: Event
    rules: tuple[str, ...]
    said: tuple[tuple[Target, Message], ...]


class Rehearsal:
    """One configuration, while events are told to it. `past` gives the track of the first result on a key."""

    def __init__(self, config: Config, past: Callable[[str], Track | None] = lambda key: None) -> None:
        self._config = config
        self._past = past
        self._deciding = Deciding(config.rules)
        self._renderer = Renderer(config.templates)
        self._runs: dict[str, Run] = {}
        self._tracks: dict[str, Track] = {}

    def hear(self, event: Event, change: Change | None = None) -> Heard:
        """Return what comes of `event`; a `change` that is told is believed, else it is found out."""
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
        new = [target for target in decision.targets if not (target.live and target.key in living)]
        return Heard(
            decision.event,
            decision.rules,
            tuple((target, self._rendered(target, decision.event, decision.run)) for target in new),
        )

    def _rendered(self, target: Target, event: Event, run: Run | None) -> Message:
        return rendered(self._config, self._renderer, target, event, run, event.received_at or START)
