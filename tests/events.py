"""Made-up events of the kinds of senders that there are: who counts attempts, who tells times, who tells neither."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from bridge.event import Event, Kind, Run, RunRef, Status, Task
from bridge.fold import FoldedRun, fold_run, run_key

NINE = datetime(2026, 1, 1, 9, tzinfo=UTC)


def clock(minute: float) -> datetime:
    return NINE + timedelta(minutes=minute)


def run_event(status: str, minute: float | None = None, *, attempt: int | None = 1, **said: Any) -> Event:
    """A sender that counts attempts and tells times, like GitHub Actions."""
    said = {"kind": Kind.PIPELINE, "pipeline": "build", "branch": "main"} | said
    number = said.pop("number", 41)
    return Event(
        source="github",
        type="github",
        status=Status(status),
        repository="acme/app",
        run=RunRef(id=said.pop("id", "7001"), number=number, attempt=attempt),
        changed_at=clock(minute) if minute is not None else None,
        **said,
    )


def task_event(
    task_id: str, status: str, minute: float | None = None, *, attempt: int | None = 1, **said: Any
) -> Event:
    """One of its jobs. `created` and `step` are the task's own."""
    created = said.pop("created", None)
    task = Task(
        id=task_id,
        name=said.pop("name", task_id),
        status=Status(status),
        step=said.pop("step", None),
        note=said.pop("note", None),
        attempt=attempt,
        created_at=clock(created) if created is not None else None,
        changed_at=clock(minute) if minute is not None else None,
    )
    event = run_event(status, minute, attempt=attempt, **{"kind": Kind.TASK, "number": None} | said)
    return event.with_(task=task)


def status_event(status: str, minute: float, **said: Any) -> Event:
    """A sender that tells times and counts nothing, like commit statuses."""
    return run_event(status, minute, **{"attempt": None, "number": None, "id": "c0ffee/lint"} | said)


def build_event(status: str, old: str | None = None, **said: Any) -> Event:
    """A sender that tells neither, like builds of Cirrus CI; `old` is the state that it says it left."""
    left = old is not None and Status(old).finished and status in ("queued", "waiting", "running")
    event = run_event(status, None, **{"attempt": None, "number": None, "id": "4611"} | said)
    return event.with_(source="cirrus", type="cirrus", pipeline="Cirrus CI", restarted=left)


def build_task(task_id: str, status: str, minute: float, created: float) -> Event:
    """A task of such a build: it does tell its times."""
    event = task_event(task_id, status, minute, attempt=None, created=created)
    return event.with_(source="cirrus", type="cirrus", pipeline="Cirrus CI", run=RunRef(id="4611"))


class Folding:
    """Folds one event after the other into one run, and remembers what was news."""

    def __init__(self, *events: Event) -> None:
        self.run: Run | None = None
        self.news: list[bool] = []
        self.last: FoldedRun | None = None
        self.add(*events)

    def add(self, *events: Event, repeat: bool = False, sent: float | None = None) -> FoldedRun | None:
        for event in events:
            before = self.run
            assert before is None or before.key == run_key(event)
            sent_at = clock(sent) if sent is not None else None
            self.last = fold_run(event, before, repeat=repeat, sent_at=sent_at)
            if repeat and not self.last.news:
                self.news.append(False)  # the store calls it a duplicate and keeps nothing of it
                continue
            self.run = self.last.run
            assert self.run is not None
            assert self.run.version >= (before.version if before else 0), "a version never shrinks"
            self.news.append(self.last.news)
        return self.last

    @property
    def state(self) -> tuple[str, int]:
        assert self.run is not None
        return self.run.status.value, self.run.attempt

    @property
    def tasks(self) -> dict[str, str]:
        assert self.run is not None
        return {task.id: task.status.value for task in self.run.tasks}


def comparable(run: Run | None) -> Run:
    """A run without what rightly depends on arrival: versions, first sight, the order of tasks and marks."""
    assert run is not None
    return run.with_(
        version=0,
        first_at=None,
        task_at=None,
        tasks=tuple(sorted(run.tasks, key=lambda task: task.id)),
        marks=tuple(sorted(run.marks)),
    )


def fold_all(events: Iterable[Event]) -> Run | None:
    return Folding(*events).run
