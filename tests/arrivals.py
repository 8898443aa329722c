"""What comes into a store in the tests: made-up arrivals, real fold and route, and a clock that stands."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from bridge.event import Change, Event, Identity, Kind, Run, RunRef, Status, Task, Track
from bridge.receive import Deciding
from bridge.route import Goal, Rule, condition
from bridge.store.base import Arrival, Claimed, Decision, DeliveryState, First, Settlement

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LEASE = timedelta(seconds=100)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def event(run: int | str, status: str = "running", **said: Any) -> Event:
    """A run of acme/app as a sender tells it that counts runs and attempts and tells no times."""
    said = {"kind": Kind.PIPELINE, "pipeline": "build", "branch": "main", "attempt": 1, "number": None} | said
    attempt, number = said.pop("attempt"), said.pop("number")
    return Event(
        source=said.pop("source", "github"),
        type="github",
        status=Status(status),
        repository="acme/app",
        run=RunRef(id=str(run), number=number or (run if isinstance(run, int) else None), attempt=attempt),
        title=said.pop("title", f"run {run} {status}"),
        **said,
    )


def task(run: int, task_id: str, status: str) -> Event:
    """A job of a run: every one makes a new version of it."""
    return event(run, status, kind=Kind.TASK, task=Task(id=task_id, name=task_id, status=Status(status)))


def arrival(
    what: Event | None, key: str, at: float = 0, *, repeatable: bool = False, sent: float | None = None, **more: Any
) -> Arrival:
    received_at = after(at)
    return Arrival(
        source=what.source if what else "github",
        received_at=received_at,
        headers={"content-type": "application/json"},
        body=b'{"made": "up"}',
        identity=Identity(key, repeatable, after(sent) if sent is not None else None),
        event=what.with_(received_at=received_at) if what else None,
        **more,
    )


def rule(
    *to: str,
    name: str = "all",
    live: bool = False,
    thread: bool = False,
    mention: Iterable[str] = (),
    mention_when: Iterable[Change] = (Change.BROKEN,),
    **match: Any,
) -> Rule:
    goals = tuple(
        Goal(destination=place, live=live, thread=thread, mention=tuple(mention), mention_when=tuple(mention_when))
        for place in to
    )
    conditions = tuple(condition(key, value) for key, value in ({"kind": "pipeline"} | match).items())
    return Rule(name=name, conditions=conditions, to=goals)


ALL = Deciding([rule("builds")])
LIVING = Deciding([rule("builds", live=True)])


class Failing:
    """A bug in fold: what `Deciding` would raise if it had one."""

    def run_key(self, event: Event) -> str | None:
        return None

    def first(self, event: Event, run: Run | None, *, repeat: bool, sent_at: datetime | None) -> First:
        raise ZeroDivisionError("a bug in fold")

    def second(self, first: First, track: Track | None) -> Decision:
        raise AssertionError("never asked")


def settled(
    claimed: Claimed, state: DeliveryState = "done", at: float = 0, *, outcome: str = "delivered", **more: Any
) -> Settlement:
    """What a worker says that still believes to hold `claimed`."""
    return Settlement(claimed.id, state, after(at), outcome, leased_until=claimed.leased_until, **more)
