"""Has the turn of a message come, and is it still to be said? Asked by the courier, and by whoever rehearses.

What a rule lets wait (`settle`, `hours`, `repeat`, `escalate`) is owed at once and said later, so all of it is decided
when the turn comes, by what is known then. Pure: never looks at a clock or a store. See docs/quiet.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from bridge.event import Event, Kind, Run, Target
from bridge.fold import run_key

CLOCKS_DIFFER = timedelta(minutes=1)


def ready_at(target: Target, owed_at: datetime) -> datetime:
    """Return when the turn of what was owed at `owed_at` comes."""
    waited = owed_at + timedelta(seconds=target.wait)
    return max(waited, target.until) if target.until is not None else waited


def waits_until(target: Target, owed_at: datetime, now: datetime) -> datetime | None:
    """Return until when it waits; None once its turn has come.

    What seems to be owed in the future was dated by a clock that was set back since: nobody waits for that.
    """
    if target.until is None and (not target.wait or owed_at > now + CLOCKS_DIFFER):
        return None
    ready = ready_at(target, min(owed_at, now))
    return ready if ready > now else None


def newest_of_each(events: Iterable[Event]) -> tuple[Event, ...]:
    """Return of each run (of tasks, of each task) the last of `events`, in the order of their first sight."""
    found: dict[object, Event] = {}
    for event in events:
        found[run_key(event) or event.id, event.task.id if event.task and event.kind is Kind.TASK else None] = event
    return tuple(found.values())


def unsaid(target: Target, event: Event, run: Run | None) -> str:
    """Return why nobody wants it said any more, or nothing: with `flaky: ignore`, when its run has passed since.

    `run` may be another one than that of `event`, where messages of several are told together.
    """
    if target.quiet_if_flaky and run is not None and run.event.flaky and run_key(event) == run.key:
        return "flaky: it has passed when it was run again"
    return ""
