"""Has the turn of a message come, and is it still to be said? Asked by the courier, and by whoever rehearses.

What a rule lets wait (`settle`, `hours`, `repeat`, `escalate`) is owed at once and said later, so all of it is decided
when the turn comes, by what is known then. Pure: never looks at a clock or a store. See docs/quiet.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from bridge.event import ALL_CLEAR, ESCALATION, REMINDER, Change, Event, Kind, Run, Status, Target, Track
from bridge.fold import failing, fails, run_key
from bridge.hours import Hours

CLOCKS_DIFFER = timedelta(minutes=1)
FIXED_SINCE = "fixed meanwhile"
LOOK_AGAIN = timedelta(minutes=1)  # whether what was escalated is fixed
LONGEST = timedelta(days=30)  # what is broken for longer, on a branch that is gone, is not said again


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


# -- what is said again while it fails ---------------------------------------------------------------------------------


def still(target: Target, event: Event, newest: Event, track: Track | None, now: datetime) -> Event | datetime | str:
    """Return what a target with a role has to tell of the failure `event` by what is known of its track.

    That is the `newest` failure as it stands now; or the time until which there is nothing to tell yet; or why there is
    nothing.
    """
    if event.received_at is not None and now - event.received_at > LONGEST:
        return f"not said after {LONGEST.days} days"
    row = failing(event, track)
    if target.role != ALL_CLEAR:
        return newest.with_(change=Change.STILL_FAILING, failing_since=row[0], failures=row[1]) if row else FIXED_SINCE
    if row is not None:
        return now + LOOK_AGAIN
    if track is None or fails(event, track):
        return "fixed, and broken anew"
    return all_clear(event)


def all_clear(event: Event) -> Event:
    """Return that what failed in `event` is fixed."""
    return event.with_(status=Status.SUCCESS, change=Change.FIXED, failures=0)


def after_failure(target: Target, now: datetime) -> Target | None:
    """Return what is owed once a target with a role was given up: the next reminder may go through."""
    return after_it(target, now) if target.role == REMINDER else None


def after_it(target: Target, now: datetime) -> Target | None:
    """Return what is owed once a target with a role was said."""
    if target.role == REMINDER and target.again:
        return _once_more(target, now + timedelta(seconds=target.again))
    if target.role == ESCALATION:
        wait = LOOK_AGAIN.total_seconds()
        return target.with_(role=ALL_CLEAR, mention=(), gather=False, wait=wait, until=None, why="until it is fixed")
    return None


def after_mute(target: Target, until: datetime, now: datetime) -> Target | None:
    """Return what is owed of a target with a role that is muted `until` then: somebody sees to it meanwhile."""
    if target.role == ESCALATION:
        return target.with_(wait=0.0, until=until)
    return after_it(target, now)


def _once_more(target: Target, at: datetime) -> Target:
    until = Hours.of(target.within).earliest(at) if target.within else None
    return target.with_(wait=target.again, until=until)
