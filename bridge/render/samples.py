"""What do events look like, for trying a template before the first one arrives? Made up, full and bare. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from bridge.event import (
    Change,
    Digest,
    Event,
    Flaky,
    Kind,
    Pulse,
    RunRef,
    Slow,
    Standing,
    Status,
    Task,
    Trouble,
)
from bridge.render.view import View

NOW = datetime(2026, 11, 5, 14, 3, tzinfo=UTC)
_REPOSITORY = "https://github.com/acme/app"
_STATES: tuple[tuple[Status, Change | None], ...] = (
    *((status, None) for status in Status),
    (Status.FAILURE, Change.BROKEN),
    (Status.ERROR, Change.STILL_FAILING),
    (Status.SUCCESS, Change.FIXED),
    (Status.SUCCESS, Change.STILL_PASSING),
)


def views(kinds: Iterable[Kind] = Kind) -> Iterator[View]:
    """Yield these kinds of events in every state, once with all that can be known and once with nothing more."""
    for kind in kinds:
        for status, change in _STATES:
            yield full(kind, status, change)
            yield View(event=Event(source="github", type="github", kind=kind, status=status, change=change), now=NOW)
        yield full(kind, Status.RUNNING, None, live=True)
        many = full(kind, Status.FAILURE, Change.BROKEN)
        yield replace(many, together=(many.event, Event(source="github", type="github", kind=kind)))
        yield full(kind, Status.SUCCESS, Change.FIXED, flaky=True)


def full(kind: Kind, status: Status, change: Change | None, *, live: bool = False, flaky: bool = False) -> View:
    """Return a view in which every field is known."""
    if kind is Kind.DIGEST:
        return View(event=_digest_event(status, change), rule="what happened today", now=NOW)
    task = Task(
        id="7", name="lint", status=status, url=f"{_REPOSITORY}/actions/runs/41/job/7", step="Run ruff", duration=62
    )
    tasks = (task, Task(id="8", name="test", status=Status.FAILURE, step="Run pytest", note="2 tests failed"))
    event = Event(
        source="github",
        type="github",
        kind=kind,
        status=status,
        change=change,
        repository="acme/app",
        repository_url=_REPOSITORY,
        branch="main",
        tag="v1.4.0",
        default_branch="main",
        pull_request=12,
        draft=False,
        fork=False,
        private=False,
        sha="4f2a9c1e8b7d6a5f4e3d2c1b0a9f8e7d6c5b4a39",
        title="Fix the parser",
        message="Fix the parser\n\nIt stumbled over empty lines.",
        author="octocat",
        author_name="Mona Lisa",
        author_email="octocat@example.com",
        pipeline="CI",
        run=RunRef(id="41", number=41, attempt=2, url=f"{_REPOSITORY}/actions/runs/41"),
        task=task,
        tasks=tasks,
        environment="production",
        labels=("bug", "parser"),
        url=f"{_REPOSITORY}/actions/runs/41",
        action="opened",
        description="deployed by hand",
        trigger="push",
        committed_at=NOW - timedelta(minutes=5),
        started_at=NOW - timedelta(minutes=3),
        finished_at=NOW,
        duration=134.0,
        changed_at=NOW,
        restarted=False,
        facts=(("Region", "eu-north-1"),),
        id="evt_1",
        received_at=NOW,
        failing_since=NOW - timedelta(hours=2) if change else None,
        failures=3 if change else 0,
        overtaken_by="#42 success",
        newly_failing=("test",) if change and status.unsuccessful else (),
        flaky=flaky,
        flaky_tasks=("lint",) if flaky else (),
    )
    return View(event=event, tasks=tasks, rule="main is broken", now=NOW, live=live)


def _digest_event(status: Status, change: Change | None) -> Event:
    """Return an event of bridge's own: what one digest may hold."""
    run = f"{_REPOSITORY}/actions/runs/41"
    broke = Trouble(name="CI on main", url=run, since=NOW - timedelta(hours=2), failures=3)
    still = Trouble(name="Docs on release/2", url=run, since=NOW - timedelta(days=3), failures=9)
    fixed = Trouble(name="CI on #12", url=run, since=NOW - timedelta(hours=5), until=NOW - timedelta(hours=4))
    before = Pulse(runs=260, passed=250, median=230.0)
    troubled = Standing(
        repository="acme/app",
        url=_REPOSITORY,
        broke=(broke,),
        still=(still,),
        fixed=(fixed,),
        flaky=(Flaky(name="test", times=3),),
        slowest=(Slow(name="CI on main", duration=1_450.0, url=run),),
        pulse=Pulse(runs=40, passed=34, median=254.0),
        before=before,
    )
    well = Standing(
        repository="acme/site", url="https://github.com/acme/site", pulse=Pulse(runs=9, passed=9, median=61)
    )
    digest = Digest(
        since=NOW - timedelta(days=1),
        until=NOW,
        rule="what happened today",
        period="Wed 4 Nov 14:03 to Thu 5 Nov 14:03, UTC",
        broke=1,
        still=1,
        fixed=1,
        repositories=(troubled, well),
        more=12,
        more_broken=2,
        pulse=Pulse(runs=214, passed=205, median=240.0),
        before=before,
        mute="acme/app@main",
        reason="we move house",
        quiet=12,
    )
    return Event(
        source="bridge",
        type="bridge",
        kind=Kind.DIGEST,
        status=status,
        change=change,
        title="1 broke, 1 still broken, 1 fixed",
        digest=digest,
        id="e1",
        received_at=NOW,
    )
