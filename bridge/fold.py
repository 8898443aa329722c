"""What is known of a run, once this event is added to it; and what the result means on its track.

Senders deliver late, twice and in any order. A run never goes back within an attempt: a final state stays, the newer
attempt wins, and among states that are not final the sender's own clock decides, else the natural order queued,
waiting, running. Two steps, because the track is only known once the event is merged with what the run knew:
`fold_run`, then `fold_track` (or `fold_failing_task`, for a task that failed). `tell_once` keeps the second of two
runs of one push from saying what the first has said. Pure; the truth tables stand in ``docs/changes.md`` and in the
tests.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import takewhile

import msgspec

from bridge.event import TASK_NAME, Change, Event, Kind, Result, Run, Status, Target, Task, Told, Track

STATEFUL = frozenset({Kind.PIPELINE, Kind.DEPLOYMENT, Kind.TASK})
"""Kinds whose events report the state of a run. The others report something that happened once."""

RANK = {Status.UNKNOWN: -1, Status.QUEUED: 0, Status.WAITING: 1, Status.RUNNING: 2}
SEVERITY = (
    Status.SKIPPED,
    Status.CANCELLED,
    Status.SUCCESS,
    Status.FAILURE,
    Status.TIMEOUT,
    Status.ERROR,
)
"""Which of two different final states of one attempt is kept when no clock decides: the last of these."""

COMPARED = frozenset({Status.SUCCESS, Status.FAILURE, Status.ERROR, Status.TIMEOUT})
"""Results that count on a track. Cancelled and skipped runs are passed over."""

TRACK_LENGTH = 25
MARKS = 50
MAX_TASKS = 1_000
MAX_FAILED = 50  # names of tasks that a result keeps
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class FoldedRun(msgspec.Struct, frozen=True):
    """An event merged with its run.

    `news`: rules should hear of it. `moved`: the run looks different now, so its living messages must be edited.
    `track` is the key of the track that has to be asked: for a result, for the news of a task that failed, and for all
    news of a run that may have a twin.
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
    repository = "" if event.run.unique else (event.repository or "").lower()
    return "|".join((event.source, kind, repository, event.run.id))


def track_key(event: Event) -> str:
    """Return what the results of `event`'s run are compared with: contract section 4, `change`."""
    if event.pull_request is not None and not _shares_branch(event):
        ref = f"pull/{event.pull_request}"
    elif event.tag is not None:
        ref = f"tag/{tag_family(event.tag)}"
    elif event.fork:
        ref = f"fork/{event.author or ''}/{event.branch or ''}"  # a fork's "main" is not our main
    elif event.on_pull_request and not _shares_branch(event):
        ref = f"pull of branch/{event.branch or ''}"  # GitHub leaves the number out once it is closed
    else:
        ref = f"branch/{event.branch or ''}"
    pipeline = "" if event.run and event.run.of_tasks else event.pipeline or ""  # all builds of a commit are one run
    parts = (event.source, event.kind, (event.repository or "").lower(), pipeline, event.environment or "")
    return "|".join((*parts, ref))


def _shares_branch(event: Event) -> bool:
    return event.run is not None and event.run.twin and event.branch is not None


def _line(event: Event) -> str:
    """Return what an event's result is compared with on a track that a branch and its pull requests share."""
    return f"pull/{event.pull_request}" if event.pull_request is not None and _shares_branch(event) else ""


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
    if sent_at and event.received_at:
        sent_at = min(sent_at, event.received_at)  # a forged time to come would hold back whatever comes after it
    if event.kind not in STATEFUL:
        return _fold_once(event, run, key, repeat=repeat)
    if event.kind is Kind.TASK:
        return _fold_task(event, run, key)
    if event.run is not None and event.run.of_tasks and event.tasks:
        return _fold_part(event, run, key, event.tasks[0])
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
    run = run.with_(
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
    fresh = attempt > run.attempt
    if attempt < run.attempt or not (fresh or _believed(event, run, repeat=repeat, sent_at=sent_at)):
        return _enrich(event, event, run, attempt)
    merged = _numbered(fill(event, run.event, other_attempt=fresh), attempt)
    news = fresh or not run.seen or merged.status != run.event.status
    if not news:  # the same result told once more, with newer words: what it means is known already
        merged = merged.with_(**{name: getattr(run.event, name) for name in _MEANING})
    run = run.with_(
        event=merged.with_(task=None, tasks=()),
        seen=True,
        attempt=attempt,
        version=run.version + 1,
        tasks=_with_list(_begun_tasks(event, run) if fresh else run.tasks, event.tasks),
        sent_at=max(filter(None, (sent_at, run.sent_at)), default=None),
    )
    asked = merged.status.finished or _shares_branch(merged)
    return FoldedRun(merged, run, news, moved=True, track=track_key(merged) if news and asked else None)


_MEANING = ("change", "failing_since", "failures", "overtaken_by", "counted", "newly_failing", "flaky", "flaky_tasks")


def _enrich(event: Event, said: Event, run: Run, attempt: int) -> FoldedRun:
    """Fold in an event that is late: its state is history, what else it `said` of the run may be new."""
    late = attempt < run.attempt
    known = fill(run.event, said, other_attempt=late)
    enriched = _moved(run, run.with_(event=known, tasks=run.tasks if late else _with_list(run.tasks, said.tasks)))
    return FoldedRun(event, enriched, news=False, moved=enriched is not run)


def _attempt(event: Event, run: Run, *, repeat: bool, sent_at: datetime | None) -> int:
    """Return which attempt `event` speaks of: the sender's count, else ours.

    A sender that does not count begins a new attempt when the run leaves a final state.
    """
    if event.run is not None and event.run.attempt is not None:
        return max(1, event.run.attempt)
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


def _believed(event: Event, run: Run, *, repeat: bool, sent_at: datetime | None) -> bool:
    """Return whether `event` tells the state of the present attempt, and not one that is history."""
    if _stale(sent_at, run):
        return False
    if run.seen:
        return _supersedes(event, run.event, repeat=repeat)
    # Known from tasks only. Bytes seen before are then those of an earlier attempt, unless they fit the tasks.
    ended = event.status.finished and all(task.status.finished for task in run.tasks)
    return not repeat or event.restarted or ended


def _supersedes(new: Event, old: Event, *, repeat: bool) -> bool:
    """Return whether `new` is newer than what is known of the same attempt."""
    counted = new.run is not None and new.run.attempt is not None
    clocks = bool(new.changed_at and old.changed_at)
    after = _after(new.changed_at, old.changed_at)
    if old.status.finished and new.status.finished:
        if after is not None:
            return after
        return (counted or clocks) and SEVERITY.index(new.status) > SEVERITY.index(old.status)
    if old.status.finished:
        return False
    if new.status.finished:
        return counted or after is not False  # of a sender that does not count, an older end is an earlier attempt's
    if not clocks and new.status != old.status and Status.UNKNOWN in (new.status, old.status):
        return not repeat  # nobody knows where the word stands: the last one is shown
    return _later(new.changed_at, new.status, old.changed_at, old.status)


def _after(new: datetime | None, old: datetime | None) -> bool | None:
    """Return whether `new` is the later time; None where clocks do not decide."""
    return new > old if new and old and new != old else None


def _later(new_at: datetime | None, new: Status, old_at: datetime | None, old: Status) -> bool:
    """Return whether one state that is not final comes after another: by the sender's clock, else by rank."""
    after = _after(new_at, old_at)
    return RANK[new] > RANK[old] if after is None else after


def _stale(sent_at: datetime | None, run: Run) -> bool:
    """An unsigned clock may hold an event back, but never push it forward."""
    return bool(sent_at and run.sent_at and sent_at < run.sent_at)


_FILLED = (
    "repository",
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
    "committer",
    "committer_email",
    "pusher",
    "reviewers",
    "pipeline",
    "environment",
    "labels",
    "url",
    "trigger",
    "committed_at",
)
_OF_ONE_ATTEMPT = ("started_at", "facts")


def fill(event: Event, known: Event, *, other_attempt: bool = False) -> Event:
    """Return `event` with what `known` adds. The state itself (status, times of its end) is never filled in."""
    names = _FILLED if other_attempt else (*_FILLED, *_OF_ONE_ATTEMPT)
    added = {name: getattr(known, name) for name in names if getattr(event, name) in (None, "", ())}
    if event.branch is None and event.tag is None:
        added |= {"branch": known.branch, "tag": known.tag}
    if event.run and known.run:
        added["run"] = event.run.with_(
            number=event.run.number if event.run.number is not None else known.run.number,
            url=event.run.url or known.run.url,
        )
    return event.with_(**added)


# -- tasks -------------------------------------------------------------------------------------------------------------


def _fold_task(event: Event, run: Run | None, key: str) -> FoldedRun:
    task = event.task
    if task is None:
        return FoldedRun(event, run, news=False)
    if run is None:
        run = Run(key=key, event=_unsaid(event, Status.UNKNOWN), first_at=event.received_at)
    before = run
    counted = event.run is not None and event.run.attempt is not None
    attempt = _attempt(event, run, repeat=False, sent_at=None) if counted else run.attempt + _rerun(event, run)
    said = _unsaid(event, run.event.status)
    if attempt < run.attempt:
        return _enrich(event, said, run, attempt)
    if attempt > run.attempt:  # the tasks of a re-run are here before the run itself says so
        page, environment = run.event.url, run.event.environment
        known = _unsaid(run.event, Status.QUEUED).with_(facts=(), url=page, environment=environment)
        run = run.with_(attempt=attempt, tasks=(), seen=False, event=known)
    old = next((known for known in run.tasks if known.id == task.id), None)
    tasks = _with_tasks(run.tasks, (task,))
    if not counted:
        tasks = tuple(one for one in tasks if not any(_done_over(one, other) for other in tasks))
    new = next((known for known in tasks if known.id == task.id), task)
    known = fill(run.event, said)
    if not counted:  # who does not count attempts tells no start of the run either: its first task began it
        started = [when for when in (known.started_at, task.created_at) if when]
        known = known.with_(started_at=min(started, default=None))
    told = [when for when in (run.task_at, task.changed_at, task.created_at) if when]
    run = _moved(before, run.with_(tasks=tasks, task_at=max(told, default=None), event=_numbered(known, attempt)))
    news = (old is None or old.status != new.status) and new in run.tasks
    # What is late stays as it was said: the newest state of the task is not its.
    merged = fill(event, run.event).with_(
        task=new if new.status == task.status else task, started_at=event.started_at, url=event.url or new.url
    )
    track = track_key(run.event) if news and _failing(merged.task) else None
    return FoldedRun(_numbered(merged, attempt), run, news=news, moved=run is not before, track=track)


def _failing(task: Task | None) -> bool:
    return task is not None and task.status.unsuccessful and not task.allowed


def _numbered(event: Event, attempt: int) -> Event:
    """Return `event` with the attempt that it belongs to: ours, where the sender counts none."""
    return event.with_(run=event.run.with_(attempt=attempt)) if event.run is not None else event


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
        newly_failing=(),
        flaky=False,
        flaky_tasks=(),
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


def _begun_tasks(event: Event, run: Run) -> tuple[Task, ...]:
    """Return the tasks that belong to the attempt that begins. Who counts attempts has told by now; else the clock."""
    ended = run.event.changed_at
    if ended is None or (event.run is not None and event.run.attempt is not None):
        return ()
    return tuple(task for task in run.tasks if task.changed_at and task.changed_at > ended)


def _with_tasks(known: tuple[Task, ...], news: tuple[Task, ...]) -> tuple[Task, ...]:
    """Return `known` with `news` folded in, in the order of their first sight."""
    if not news:
        return known
    tasks = {task.id: task for task in known}
    for task in news:
        old = tasks.get(task.id)
        if old is None and len(tasks) < MAX_TASKS:
            tasks[task.id] = task
        elif old is not None:
            tasks[task.id] = _newer_task(old, task)
    return tuple(tasks.values())


def _with_list(known: tuple[Task, ...], listed: tuple[Task, ...]) -> tuple[Task, ...]:
    """Return `known` with a run's own list of its newest tasks folded in.

    Of two tasks of one name, one listed and one not, the one that was made later replaced the other: the list leaves
    out what was retried, and a late list still has it.
    """
    tasks = _with_tasks(known, listed)
    if not listed:
        return tasks
    ids = {task.id for task in listed}
    made: dict[tuple[str, bool], datetime] = {}
    for task in tasks:
        if task.created_at:
            place = (task.name, task.id in ids)
            made[place] = max(task.created_at, made.get(place, task.created_at))
    return tuple(
        task
        for task in tasks
        if not (task.created_at and made.get((task.name, task.id not in ids), task.created_at) > task.created_at)
    )


def _fold_part(event: Event, run: Run | None, key: str, task: Task) -> FoldedRun:
    """A task of a run of which nothing else is told: its state is theirs together, in whatever order they come.

    Nobody counts attempts: one begins when a task that had ended takes the whole run out of its result.
    """
    before = run = run or Run(key=key, event=event, first_at=event.received_at)
    old = next((known for known in run.tasks if known.id == task.id), None)
    if old is not None and not _follows(task, old):
        run = _moved(run, run.with_(event=fill(run.event, event)))
        return FoldedRun(_numbered(event, run.attempt), run, news=False, moved=run is not before)
    task = fill_task(task, old) if old else task
    tasks = tuple(task if known.id == task.id else known for known in run.tasks)
    if old is None and len(tasks) < MAX_TASKS:
        tasks = (*tasks, task)
    status = _together(tasks)
    left = run.seen and run.event.status.finished and status != run.event.status
    fresh = bool(left and old and old.status.finished)
    run = run.with_(attempt=run.attempt + fresh, tasks=tasks, seen=True, version=run.version + 1)
    merged = _of_parts(fill(event, before.event, other_attempt=fresh), run, status)
    if fresh:
        merged = merged.with_(started_at=task.started_at)
    news = not before.seen or status != before.event.status
    if not news:
        merged = merged.with_(**{name: getattr(before.event, name) for name in _MEANING})
    run = run.with_(event=merged.with_(task=None, tasks=()))
    track = track_key(merged) if news and status.finished else None
    return FoldedRun(merged, run, news, moved=True, track=track)


def _follows(new: Task, old: Task) -> bool:
    """Return whether `new` is a later state of the same task, which may well have begun anew."""
    after = _after(new.changed_at, old.changed_at)
    return _newer_task(old, new).status != old.status if after is None else after


def _together(tasks: Sequence[Task]) -> Status:
    """Return the state of all: one failure is the whole run's, one that is under way keeps it from having succeeded."""
    states = [task.status for task in tasks]
    failed = [status for status in states if status.unsuccessful]
    under_way = [status for status in states if not status.finished]
    if under_way and not failed:
        return max(under_way, key=RANK.__getitem__)
    return max(failed or states, key=SEVERITY.index)


def _of_parts(event: Event, run: Run, status: Status) -> Event:
    """Return what is said of the whole run. A number, a name and a page are those of its task, if it has only one."""
    ended = [task.finished_at for task in run.tasks if task.finished_at]
    changed = [task.changed_at for task in run.tasks if task.changed_at]
    started = [when for when in (event.started_at, *(task.started_at for task in run.tasks)) if when]
    event = _numbered(event, run.attempt).with_(
        status=status,
        tasks=run.tasks,
        started_at=min(started, default=None),
        finished_at=max(ended, default=None) if status.finished else None,
        changed_at=max(changed, default=None),
    )
    if len(run.tasks) == 1 or event.run is None:
        return event
    page = event.run.url or event.url
    return event.with_(run=event.run.with_(number=None), url=page, pipeline=None, description=None)


def _done_over(old: Task, new: Task) -> bool:
    """Return whether `new` is `old` once more, where nobody counts: of the same name, made after `old` had ended."""
    return bool(
        old.name == new.name
        and old.status.finished
        and old.changed_at
        and new.created_at
        and new.created_at > old.changed_at
    )


def _newer_task(old: Task, new: Task) -> Task:
    if old.status.finished != new.status.finished:
        return fill_task(new, old) if new.status.finished else fill_task(old, new)
    after = _after(new.changed_at, old.changed_at)
    if after is None and new.status.finished:
        after = SEVERITY.index(new.status) > SEVERITY.index(old.status)
    elif after is None:
        after = RANK[new.status] > RANK[old.status]
    return fill_task(new, old) if after else fill_task(old, new)


def newest_task(task: Task, told: Task) -> Task:
    """Return `task` with what an API told of it, and as it ended by that where its own webhook is still on its way."""
    if told.status.finished and not task.status.finished:
        return fill_task(told, task)
    return fill_task(task, told)


def fill_task(task: Task, known: Task) -> Task:
    # What is said of one state (how it ended, a word we do not know) does not hold for another.
    of_the_state = ("step", "finished_at", "duration", "changed_at", "note") if task.status == known.status else ()
    names = ("url", "created_at", "started_at", "attempt", *of_the_state)
    added = {name: getattr(known, name) for name in names if getattr(task, name) is None}
    return task.with_(**added) if added else task


def _moved(before: Run, after: Run) -> Run:
    """Return `after` as a new version, or `before` itself when nothing of it can be seen."""
    if _looks(after) != _looks(before):
        return after.with_(version=before.version + 1)
    return before if after.task_at == before.task_at else before.with_(task_at=after.task_at)


def _seen(run: Run) -> Run:
    return run.with_(event=_visible(run.event), task_at=None)


def _looks(run: Run) -> Run:
    return run.with_(event=_visible(run.event), task_at=None)


def _visible(event: Event) -> Event:
    return event.with_(id=None, received_at=None, restarted=False)


# -- the track ---------------------------------------------------------------------------------------------------------


def fold_track(event: Event, run: Run, track: Track | None, key: str) -> tuple[Event, Run, Track | None]:
    """Return a finished `event` with its `change`, its run with the same, and the track with the result.

    Compared with the previous result in the order of run numbers (start times where there are none), not of arrival.
    """
    run_id = event.run.id if event.run else run.key
    line = _line(event)
    known = track.results if track else ()
    known = tuple(result for result in known if not (result.run == run_id and result.order[1] == run.attempt))
    if event.status not in COMPARED:
        return event, run, track.with_(results=known) if track else None
    results = [result for result in known if result.line == line]
    order = _order(event, run, results, run_id)
    place = bisect_right([result.order for result in results], order)
    before = results[:place]
    row = _row(before)
    since, failures = _since(row, whole=len(row) < len(before))
    at = event.finished_at or event.changed_at or event.received_at or EPOCH
    number = event.run.number if event.run else None
    result = Result(order=order, status=event.status, run=run_id, at=at, number=number, line=line)
    if event.status.unsuccessful:
        change = Change.STILL_FAILING if failures else Change.BROKEN
        since, failures = since or at, failures + 1
        failed = _failed(run.tasks)
        result = result.with_(failing_since=since, failures=failures, sha=event.sha, failed=failed)
        if failed:
            event = event.with_(newly_failing=_new(failed, before))
    else:
        change = Change.FIXED if failures else Change.STILL_PASSING
    overtaken_by = _named(results[-1]) if place < len(results) else None
    event = event.with_(change=change, failing_since=since, failures=failures, overtaken_by=overtaken_by, counted=None)
    counted = max((one.failures for one in row), default=0)
    if counted != event.counted_before:
        event = event.with_(counted=counted)
    if change is Change.FIXED and _of_this_commit(row, event, run_id):
        names = dict.fromkeys(name for one in row for name in one.failed)
        event = event.with_(flaky=True, flaky_tasks=tuple(names)[:MAX_FAILED])
    results.insert(place, result)
    run = run.with_(event=event.with_(task=None, tasks=()))
    others = [result for result in known if result.line != line][-TRACK_LENGTH:]
    kept = (*others, *results[-TRACK_LENGTH:])
    return event, run, Track(key=key, results=kept, told=track.told if track else ())


def _row(results: Sequence[Result]) -> list[Result]:
    """Return the row of failures in which `results` end, oldest first."""
    return list(takewhile(lambda result: result.status.unsuccessful, reversed(results)))[::-1]


def _since(row: Sequence[Result], *, whole: bool) -> tuple[datetime | None, int]:
    """Return since when, and how many times in a row, it failed.

    Counted anew each time, for a late result may have come in between. What was before the oldest one that is kept,
    only that one still knows: unless the row is `whole`.
    """
    if not row:
        return None, 0
    if whole:
        return row[0].at, len(row)
    return row[0].failing_since or row[0].at, len(row) - 1 + max(1, row[0].failures)


def _of_this_commit(row: Sequence[Result], event: Event, run_id: str) -> bool:
    """Return whether nothing but what `event` succeeded at had failed: the same run, or another run of its commit."""
    if event.failures > len(row):  # who knows what failed before the oldest result that is kept
        return False
    return all(result.run == run_id or (event.sha and result.sha == event.sha) for result in row)


def _failed(tasks: Iterable[Task]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_short(task) for task in tasks if _failing(task)))[:MAX_FAILED]


def _short(task: Task) -> str:
    return task.name[:TASK_NAME]


def _new(failed: tuple[str, ...], before: Sequence[Result]) -> tuple[str, ...]:
    """Return what of `failed` did not fail in the last result `before`; nothing where that is not known."""
    if not before or not before[-1].status.unsuccessful:
        return failed
    known = before[-1].failed
    if not known or len(known) == MAX_FAILED:
        return ()
    return tuple(name for name in failed if name not in known)


def fold_failing_task(event: Event, run: Run, track: Track | None) -> tuple[Event, Run, Track | None]:
    """Return a failed task's event with whether it fails anew, its run, and the track if the task completes a result.

    Compared with the newest result before its run. Of a run that has ended already the result learns what failed.
    """
    task = event.task
    if task is None:
        return event, run, None
    run_id = event.run.id if event.run else run.key
    line = _line(run.event)
    results = [result for result in (track.results if track else ()) if result.line == line]
    place = next((i for i, one in enumerate(results) if one.run == run_id and one.order[1] == run.attempt), None)
    if track is None or place is None:
        orders = [result.order for result in results]
        place = bisect_right(orders, _order(run.event, run, results, run_id))
        return event.with_(newly_failing=_new((_short(task),), results[:place])), run, None
    mine = results[place]
    new = _new((_short(task),), results[:place])
    event = event.with_(newly_failing=new)
    if not mine.status.unsuccessful or _short(task) in mine.failed:
        return event, run, None
    known = dict.fromkeys((*run.event.newly_failing, *new))
    run = run.with_(event=run.event.with_(newly_failing=tuple(known)[:MAX_FAILED]))
    told = mine.with_(failed=(*mine.failed, _short(task))[:MAX_FAILED])
    return event, run, track.with_(results=tuple(told if one is mine else one for one in track.results))


def _order(event: Event, run: Run, results: Sequence[Result], run_id: str) -> tuple[float, int]:
    if event.run and event.run.number is not None and not event.run.of_tasks:
        return (float(max(-_HUGE, min(event.run.number, _HUGE))), run.attempt)
    # A run that is started again keeps its place: it still tests the same old commit.
    place = next((result.order[0] for result in results if result.run == run_id), None)
    if place is not None:
        return (place, run.attempt)
    start = run.event.started_at or run.event.committed_at or run.first_at or event.received_at
    return (start.timestamp() if start else 0.0, run.attempt)


def fails(event: Event, track: Track) -> bool:
    """Return whether the newest result where `event` is from is a failure."""
    results = [result for result in track.results if result.line == _line(event)]
    return bool(results) and results[-1].status.unsuccessful


def failing(event: Event, track: Track | None) -> tuple[datetime, int] | None:
    """Return since when, and how many times in a row, it fails, if the failed `event` is of the row that lasts."""
    results = [result for result in track.results if result.line == _line(event)] if track is not None else []
    row = _row(results)
    since, failures = _since(row, whole=len(row) < len(results))
    if since is None or event.run is None:
        return None
    mine = (event.run.id, event.run.attempt or 1)
    at = event.finished_at or event.changed_at or event.received_at or EPOCH
    # A row that is longer than what is kept of it has begun before.
    ours = since <= at or any((result.run, result.order[1]) == mine for result in row)
    return (since, failures) if ours else None


_HUGE = 2**53  # whole numbers beyond it are not told apart as floats


def _named(result: Result) -> str:
    return f"#{result.number} {result.status}" if result.number is not None else str(result.status)


# -- twins -------------------------------------------------------------------------------------------------------------

TOLD = 100
_SAID_AGAIN = frozenset({Change.BROKEN, Change.STILL_FAILING, Change.FIXED})


def tell_once(
    event: Event, run: Run, track: Track | None, key: str, targets: Mapping[str, Target]
) -> tuple[dict[str, Target], Track | None]:
    """Return what of `targets` the run's twin has not said yet, and the track if there is something to remember.

    The twin runs for the same commit: what it has begun to tell in a message of one destination needs no second one,
    unless this run comes to something that the twin did not. Whoever starts a run again wants to hear of it.
    """
    if not _shares_branch(event) or not event.sha or not targets:
        return dict(targets), None
    what, line = _matters(event), _line(event)
    told = track.told if track else ()
    said = {(one.message, one.what) for one in told if one.sha == event.sha and one.line != line}
    begun = {message for message, _ in said}
    kept = {
        message: target
        for message, target in targets.items()
        if run.attempt > 1 or message not in begun or (what and (message, what) not in said)
    }
    news = (Told(sha=event.sha, line=line, message=message, what=what) for message in kept)
    told = tuple(dict.fromkeys((*told, *news)))[-TOLD:]
    return kept, (track or Track(key=key)).with_(told=told)


def _matters(event: Event) -> str:
    """Return what of an event must be heard, though the twin has spoken."""
    if event.change in _SAID_AGAIN:
        return str(event.change)
    return str(event.status) if event.status is Status.WAITING else ""
