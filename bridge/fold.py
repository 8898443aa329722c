"""What is known of a run, once this event is added to it; and what the result means on its track.

Senders deliver late, twice and in any order. A run never goes back within an attempt: a final state stays, the newer
attempt wins, and among states that are not final the sender's own clock decides, else the natural order queued,
waiting, running. Two steps, because the track is only known once the event is merged with what the run knew:
`fold_run`, then `fold_track`. Pure; the truth table of `change` stands in ``docs/changes.md`` and in the tests.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from bridge.event import Change, Event, Kind, Result, Run, Status, Task, Track

STATEFUL = frozenset({Kind.PIPELINE, Kind.DEPLOYMENT, Kind.TASK})
"""Kinds whose events report the state of a run. The others report something that happened once."""

RANK = {Status.UNKNOWN: 0, Status.QUEUED: 0, Status.WAITING: 1, Status.RUNNING: 2}
SEVERITY = (
    Status.SKIPPED,
    Status.CANCELLED,
    Status.SUCCESS,
    Status.FAILURE,
    Status.TIMEOUT,
    Status.ERROR,
)
"""Which of two different final states of one attempt is kept when no clock decides: the worse one."""

COMPARED = frozenset({Status.SUCCESS, Status.FAILURE, Status.ERROR, Status.TIMEOUT})
"""Results that count on a track. Cancelled and skipped runs are passed over."""

TRACK_LENGTH = 100
MARKS = 50
MAX_TASKS = 1_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class FoldedRun:
    """An event merged with its run.

    `news`: rules should hear of it. `moved`: the run looks different now, so its living messages must be edited.
    `track` is the key of the track that the event's result belongs to, or None when it is no result.
    """

    event: Event
    run: Run | None
    news: bool
    moved: bool = False
    track: str | None = None


def run_key(event: Event) -> str | None:
    """Return the key of the run that `event` belongs to."""
    if event.run is None:
        return None
    kind = Kind.PIPELINE if event.kind is Kind.TASK else event.kind
    return "|".join((event.source, kind, (event.repository or "").lower(), event.run.id))


def track_key(event: Event) -> str:
    """Return what the results of `event`'s run are compared with: contract section 4, `change`."""
    if event.pull_request is not None:
        ref = f"pull/{event.pull_request}"
    elif event.tag is not None:
        ref = f"tag/{tag_family(event.tag)}"
    else:
        ref = f"branch/{event.branch or ''}"
        if event.fork:
            ref += f"@{event.author or 'fork'}"  # a fork's "main" is not our main
    parts = (event.source, event.kind, (event.repository or "").lower(), event.pipeline or "", event.environment or "")
    return "|".join((*parts, ref))


def tag_family(tag: str) -> str:
    """Return the tag with its numbers left out: v1.2.3 and v1.3.0 are one family, v1.3.0-rc1 another."""
    return re.sub(r"\d+(?:\.\d+)*", "*", tag)


def fold_run(event: Event, run: Run | None, *, repeat: bool = False, sent_at: datetime | None = None) -> FoldedRun:
    """Return `event` merged with `run` and the run as it is now.

    `repeat`: these very bytes were seen before (`Identity.repeatable`); then only a real change of state is news.
    `sent_at` is when the sender says it sent them, unsigned: it may only hold an event back.
    """
    key = run_key(event)
    if key is None:
        return FoldedRun(event, None, news=not repeat)
    if event.kind not in STATEFUL:
        return _fold_once(event, run, key, repeat=repeat)
    if event.kind is Kind.TASK:
        return _fold_task(event, run, key)
    return _fold_state(event, run, key, repeat=repeat, sent_at=sent_at)


# -- things that happen once -------------------------------------------------------------------------------------------


def _fold_once(event: Event, run: Run | None, key: str, *, repeat: bool) -> FoldedRun:
    """A push, release, change request, alert or audit event: told once per (action, time), in whatever order."""
    mark = _mark(event)
    if run is None:
        run = Run(key=key, event=event, seen=True, version=1, first_at=event.received_at, marks=(mark,))
        return FoldedRun(event, run, news=True, moved=True)
    if mark in run.marks or repeat:
        return FoldedRun(event, run, news=False)
    newer = not (event.changed_at and run.event.changed_at and event.changed_at < run.event.changed_at)
    run = replace(
        run,
        event=event if newer else run.event,
        version=run.version + newer,
        marks=(*run.marks, mark)[-MARKS:],
    )
    return FoldedRun(event, run, news=True, moved=newer)


def _mark(event: Event) -> str:
    when = event.changed_at.isoformat() if event.changed_at else ""
    labels = ",".join(event.labels) if event.action == "labeled" else ""
    return "|".join((event.action or "", event.status, when, labels))


# -- the state of a run ------------------------------------------------------------------------------------------------


def _fold_state(event: Event, run: Run | None, key: str, *, repeat: bool, sent_at: datetime | None) -> FoldedRun:
    if run is None:
        run = Run(key=key, event=event, first_at=event.received_at)
    attempt = _attempt(event, run, repeat=repeat, sent_at=sent_at)
    if attempt < run.attempt:
        return FoldedRun(event, run, news=False)  # an attempt that a newer one has replaced says nothing any more
    fresh = attempt > run.attempt
    if not fresh and run.seen and not _supersedes(event, run, sent_at):
        enriched = _moved(run, replace(run, event=fill(run.event, event), tasks=_with_tasks(run, event.tasks)))
        return FoldedRun(event, enriched, news=False, moved=enriched is not run)
    merged = fill(event, run.event, new_attempt=fresh)
    if merged.run is not None:
        merged = merged.with_(run=replace(merged.run, attempt=attempt))  # ours, where the sender counts none
    run = replace(
        run,
        event=merged.with_(task=None, tasks=()),
        seen=True,
        attempt=attempt,
        version=run.version + 1,
        tasks=_with_tasks(replace(run, attempt=attempt, tasks=() if fresh else run.tasks), event.tasks),
        sent_at=max(filter(None, (sent_at, run.sent_at)), default=None),
    )
    track = track_key(merged) if merged.status.finished else None
    return FoldedRun(merged, run, news=True, moved=True, track=track)


def _attempt(event: Event, run: Run, *, repeat: bool, sent_at: datetime | None) -> int:
    """Return which attempt `event` speaks of: the sender's count, else ours.

    A sender that does not count begins a new attempt when the run leaves a final state.
    """
    if event.run is not None and event.run.attempt is not None:
        return event.run.attempt
    old = run.event
    if not run.seen or not old.status.finished or _stale(sent_at, run):
        return run.attempt
    if event.changed_at and old.changed_at:  # a signed clock decides
        left = event.changed_at > old.changed_at and event.status != old.status
    elif repeat:
        # Bytes seen before may only restart a run of which nothing better is known: where tasks are told, a re-run
        # shows itself by a new task (`_rerun`), and a replay of old bytes must not speak twice.
        left = event.restarted and run.task_at is None
    else:
        left = event.restarted or (event.status.finished and event.status != old.status)
    return run.attempt + left


def _supersedes(event: Event, run: Run, sent_at: datetime | None) -> bool:
    """Return whether `event` is newer than what is known of the same attempt."""
    old, new = run.event, event
    if old.status.finished:
        if not new.status.finished or new.status == old.status or new.run is None or new.run.attempt is None:
            return False
        if new.changed_at and old.changed_at and new.changed_at != old.changed_at:
            return new.changed_at > old.changed_at
        return SEVERITY.index(new.status) > SEVERITY.index(old.status)
    if _stale(sent_at, run):
        return False
    if new.status.finished:
        return True
    return _later(new.changed_at, new.status, old.changed_at, old.status)


def _later(new_at: datetime | None, new: Status, old_at: datetime | None, old: Status) -> bool:
    """Return whether one state that is not final comes after another: by the sender's clock, else by rank."""
    if new_at and old_at and new_at != old_at:
        return new_at > old_at
    return RANK[new] > RANK[old]


def _stale(sent_at: datetime | None, run: Run) -> bool:
    """An unsigned clock may hold an event back, but never push it forward."""
    return bool(sent_at and run.sent_at and sent_at < run.sent_at)


_FILLED = (
    "repository_url",
    "default_branch",
    "pull_request",
    "draft",
    "fork",
    "private",
    "sha",
    "title",
    "message",
    "author",
    "author_name",
    "author_email",
    "pipeline",
    "environment",
    "labels",
    "url",
    "trigger",
    "committed_at",
    "facts",
)


def fill(event: Event, known: Event, *, new_attempt: bool = False) -> Event:
    """Return `event` with what `known` adds. The state itself (status, times of its end) is never filled in."""
    counted = event.run is not None and event.run.attempt is not None
    names = _FILLED if new_attempt and counted else (*_FILLED, "started_at")
    added = {name: getattr(known, name) for name in names if getattr(event, name) in (None, "", ())}
    if event.branch is None and event.tag is None:
        added |= {"branch": known.branch, "tag": known.tag}
    if event.run and known.run:
        added["run"] = replace(
            event.run,
            number=event.run.number if event.run.number is not None else known.run.number,
            url=event.run.url or known.run.url,
        )
    return replace(event, **added)


# -- tasks -------------------------------------------------------------------------------------------------------------


def _fold_task(event: Event, run: Run | None, key: str) -> FoldedRun:
    task = event.task
    if task is None:
        return FoldedRun(event, run, news=False)
    if run is None:
        run = Run(key=key, event=_unsaid(event, Status.UNKNOWN), first_at=event.received_at)
    before = run
    attempt = event.run.attempt if event.run and event.run.attempt is not None else run.attempt + _rerun(event, run)
    if attempt < run.attempt:
        return FoldedRun(event, run, news=False)
    if attempt > run.attempt:  # the tasks of a re-run are here before the run itself says so
        known = _unsaid(fill(event, run.event, new_attempt=True), Status.QUEUED if run.seen else Status.UNKNOWN)
        run = replace(run, attempt=attempt, tasks=(), seen=False, event=known)
    old = next((known for known in run.tasks if known.id == task.id), None)
    tasks = _with_tasks(run, (task,))
    new = next(known for known in tasks if known.id == task.id) if tasks else task
    told = [when for when in (run.task_at, task.changed_at, task.created_at) if when]
    started = [when for when in (run.event.started_at, task.created_at) if when]
    run = replace(
        run,
        tasks=tasks,
        task_at=max(told, default=None),
        event=fill(run.event, _unsaid(event, run.event.status)).with_(
            # a sender that does not count attempts tells no start of the run either: its first task began it
            started_at=min(started, default=None) if event.run and event.run.attempt is None else run.event.started_at
        ),
    )
    run = _moved(before, run)
    news = old is None or old.status != new.status
    merged = fill(event, run.event).with_(task=new, started_at=event.started_at, url=event.url or new.url)
    return FoldedRun(merged, run, news=news, moved=run is not before)


def _unsaid(event: Event, status: Status) -> Event:
    """What a task's event says of its run: everything but the state."""
    return event.with_(
        kind=Kind.PIPELINE,
        status=status,
        task=None,
        tasks=(),
        url=event.run.url if event.run else None,
        action=None,
        description=None,
        started_at=None,
        finished_at=None,
        duration=None,
        changed_at=None,
        change=None,
        environment=None,  # a job's, not its run's
    )


def _rerun(event: Event, run: Run) -> bool:
    """Return whether a new task, by its own signed times, shows that a finished run was started again."""
    task = event.task
    return bool(
        task
        and run.seen
        and run.event.status.finished
        and not task.status.finished
        and task.created_at
        and run.task_at
        and task.created_at > run.task_at
        and all(known.id != task.id for known in run.tasks)
    )


def _with_tasks(run: Run, news: tuple[Task, ...]) -> tuple[Task, ...]:
    """Return the run's tasks with `news` folded in, in the order of their first sight."""
    if not news:
        return run.tasks
    tasks = {task.id: task for task in run.tasks}
    for task in news:
        old = tasks.get(task.id)
        if old is None and len(tasks) < MAX_TASKS:
            tasks[task.id] = task
        elif old is not None:
            tasks[task.id] = _newer_task(old, task)
    return tuple(tasks.values())


def _newer_task(old: Task, new: Task) -> Task:
    if old.status.finished and not new.status.finished:
        return _fill_task(old, new)
    if new.status.finished and not old.status.finished:
        return _fill_task(new, old)
    if old.status.finished and old.status != new.status and not (new.changed_at and old.changed_at):
        later = SEVERITY.index(new.status) > SEVERITY.index(old.status)
    elif old.status.finished:
        later = bool(new.changed_at and old.changed_at and new.changed_at > old.changed_at)
    else:
        later = _later(new.changed_at, new.status, old.changed_at, old.status)
    return _fill_task(new, old) if later else _fill_task(old, new)


def _fill_task(task: Task, known: Task) -> Task:
    # How a task ended is not known from before it ended.
    names = ("url", "created_at", "started_at", "attempt", "note") + (
        ("step", "finished_at", "duration") if task.status == known.status else ()
    )
    added = {name: getattr(known, name) for name in names if getattr(task, name) is None}
    return replace(task, **added) if added else task


def _moved(before: Run, after: Run) -> Run:
    """Return `after` as a new version, or `before` itself when nothing of it can be seen."""
    same = replace(after, event=_visible(after.event), task_at=None) == replace(
        before, event=_visible(before.event), task_at=None
    )
    if not same:
        return replace(after, version=before.version + 1)
    return before if after.task_at == before.task_at else replace(before, task_at=after.task_at)


def _visible(event: Event) -> Event:
    return event.with_(id=None, received_at=None, restarted=False)


# -- the track ---------------------------------------------------------------------------------------------------------


def fold_track(event: Event, run: Run, track: Track | None, key: str) -> tuple[Event, Run, Track | None]:
    """Return a finished `event` with its `change`, its run with the same, and the track with the result.

    Compared with the previous result in the order of run numbers (start times where there are none), not of arrival.
    """
    if event.status not in COMPARED:
        return event, run, track
    order = _order(event, run)
    run_id = event.run.id if event.run else run.key
    results = [
        result
        for result in (track.results if track else ())
        if not (result.run == run_id and result.order[1] == run.attempt)
    ]
    place = bisect_right([result.order for result in results], order)
    before = results[place - 1] if place else None
    after = results[-1] if place < len(results) else None
    result, change = _compare(event, before, order, run_id)
    event = event.with_(
        change=change,
        failures=(before.failures if before and change is Change.FIXED else result.failures),
        failing_since=(before.failing_since if before and change is Change.FIXED else result.failing_since),
        overtaken_by=_named(after) if after else None,
    )
    results.insert(place, result)
    run = replace(run, event=event.with_(task=None, tasks=()))
    return event, run, Track(key=key, results=tuple(results[-TRACK_LENGTH:]))


def _compare(event: Event, before: Result | None, order: tuple[float, int], run_id: str) -> tuple[Result, Change]:
    at = event.finished_at or event.changed_at or event.received_at or EPOCH
    failed_before = before is not None and before.status.unsuccessful
    result = Result(order=order, status=event.status, run=run_id, at=at, number=event.run.number if event.run else None)
    if not event.status.unsuccessful:
        return result, Change.FIXED if failed_before else Change.STILL_PASSING
    if before is not None and failed_before:
        result = replace(result, failing_since=before.failing_since or before.at, failures=before.failures + 1)
        return result, Change.STILL_FAILING
    return replace(result, failing_since=at, failures=1), Change.BROKEN


def _order(event: Event, run: Run) -> tuple[float, int]:
    if event.run and event.run.number is not None:
        return (float(event.run.number), run.attempt)
    start = run.event.started_at or run.event.committed_at or run.first_at or event.received_at
    return (start.timestamp() if start else 0.0, run.attempt)


def _named(result: Result) -> str:
    return f"#{result.number} {result.status}" if result.number is not None else str(result.status)
