"""What do events look like, for trying a template before the first one arrives? Made up, full and bare. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from bridge.event import Change, Event, Kind, RunRef, Status, Task
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


def full(kind: Kind, status: Status, change: Change | None, *, live: bool = False) -> View:
    """Return a view in which every field is known."""
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
    )
    return View(event=event, tasks=tasks, rule="main is broken", now=NOW, live=live)
