"""What was wanted out of hours, over a weekend: by a store, a courier and the template that lists it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge.destinations.console import text
from bridge.event import Change, Event, Kind, Status
from bridge.hours import Hours, days, minutes, zone
from bridge.receive import Deciding
from bridge.render import Renderer, View
from bridge.route import Goal, Rule, condition
from bridge.store import open_store
from tests import arrivals, postgres
from tests.arrivals import LEASE, settled
from tests.couriers import SHIPPED, Clock, Work, bot, texts
from tests.fakes.slack import FakeSlack

FRIDAY = datetime(2026, 1, 9, 20, tzinfo=UTC)
MONDAY = datetime(2026, 1, 12, 7, tzinfo=UTC)


def office(outside: Any) -> Deciding:
    hours = Hours(
        days=days("mon-fri"), start=minutes("08:00"), end=minutes("18:00"), zone=zone("Europe/Oslo"), outside=outside
    )
    wanted = condition("kind", ["pipeline", "task"])
    return Deciding([Rule(name="office", conditions=(wanted,), to=(Goal(destination="builds"),), hours=hours)])


def came(what: Event, key: str, at: datetime) -> Any:
    return arrivals.arrival(what, key, (at - arrivals.NOON).total_seconds())


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_a_weekend_is_waited_for_in_steps_and_said_once_on_monday(engine: str, tmp_path: Path) -> None:
    url, drop = postgres.fresh() if engine == "postgres" else (f"sqlite:///{tmp_path}/bridge.db", lambda: None)
    store = await open_store(url, worker=True)
    for run in range(1, 6):
        await store.accept(came(arrivals.event(run, "failure"), f"k{run}", FRIDAY), office("digest"))
    at, looks = FRIDAY, 0
    while at < MONDAY:
        due = await store.next_due("builds", at)
        assert due is not None
        assert due - at <= timedelta(minutes=45), "no clock has to be believed for longer"
        at = due
        if at < MONDAY:
            (claimed,) = await store.claim("builds", at, LEASE, 4)
            looks += 1
            step = min(claimed.target.until or at, at + timedelta(minutes=45))
            held = {"leased_until": claimed.leased_until}
            await store.settle(
                type(settled(claimed))(claimed.id, "pending", at, "waits", "", step, **held)  # as a courier does
            )
    assert looks < 100
    (claimed,) = await store.claim("builds", MONDAY, LEASE, 4)
    assert len(claimed.behind) == 4
    await store.close()
    drop()


async def test_runs_that_arrive_while_a_digest_is_said_wait_for_nobody(tmp_path: Path) -> None:
    """Many processes owe into one lane that another one ends: nothing is left behind in it."""
    url, drop = postgres.fresh()
    stores = [await open_store(url, worker=True) for _ in range(2)]

    async def arrive(store: Any, name: str) -> None:
        for run in range(15):
            await store.accept(
                came(arrivals.event(f"{name}{run}", "failure"), f"{name}{run}", FRIDAY), office("digest")
            )

    said: set[str] = set()

    async def tell(store: Any) -> None:
        while len(said) < 30:
            for claimed in await store.claim("builds", MONDAY, LEASE, 4):
                from bridge.store.base import Along

                along = tuple(Along(one.id, "folded", "") for one in claimed.behind)
                await store.settle(settled(claimed, along=along))
                said.update((claimed.id, *(one.id for one in along)))
            await asyncio.sleep(0)

    async with asyncio.timeout(20):
        await asyncio.gather(arrive(stores[0], "a"), arrive(stores[1], "b"), tell(stores[0]), tell(stores[1]))
    assert len(said) == 30
    for store in stores:
        await store.close()
    drop()


@pytest.mark.usefixtures("no_lease_ends")
async def test_after_a_restart_what_is_collected_still_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.couriers.NOON", MONDAY - timedelta(hours=10))
    monkeypatch.setattr(Clock, "factor", 5_000.0)
    async with FakeSlack() as slack:
        async with Work(tmp_path, builds=bot(slack)) as work:
            store: Any = work.store
            for run in (1, 2):
                await store.accept(came(arrivals.event(run, "failure"), f"k{run}", FRIDAY), office("digest"))
            await asyncio.sleep(0.1)  # some minutes of that clock
            assert texts(slack) == []
        monkeypatch.setattr("tests.couriers.NOON", MONDAY - timedelta(hours=2))
        async with Work(tmp_path, builds=bot(slack)) as work:
            found = await work.drained()
        assert texts(slack) == ["🔴 2 things happened meanwhile, 2 went wrong · acme/app"]
        assert all(one.settled_at and one.settled_at >= MONDAY for one in found)


def test_a_digest_lists_by_repository_what_went_wrong_first_and_is_cut_with_care() -> None:
    events = [
        arrivals.event(1, "success", change=Change.FIXED),
        arrivals.event(2, "failure", change=Change.BROKEN, author="octocat", branch="topic"),
        *(arrivals.task(3, f"test {number}", "failure") for number in range(12)),
        arrivals.event(4, "running", pipeline="docs").with_(repository="acme/site"),
        Event(source="github", type="github", kind=Kind.RELEASE, repository="acme/site", tag="v1", action="published"),
    ]
    view = View(event=events[-1], now=MONDAY, together=tuple(events), rule="office")
    assert text(Renderer(SHIPPED).render("collected", view, "console"), colour=False).splitlines() == GOLDEN


GOLDEN = [
    "▌ 🔴 16 things happened meanwhile, 13 went wrong",
    "▌ acme/app",
    "▌ • 🔴 build broke on topic by octocat",
    "▌ • 🔴 test 0 failed on main",
    "▌ • 🔴 test 1 failed on main",
    "▌ • 🔴 test 2 failed on main",
    "▌ • 🔴 test 3 failed on main",
    "▌ • 🔴 test 4 failed on main",
    "▌ • 🔴 test 5 failed on main",
    "▌ • 🔴 test 6 failed on main",
    "▌ • and 6 more",
    "▌ acme/site",
    "▌ • 🔵 docs is running on main",
    "▌ • 🔔 release published on v1",
    "▌ office",
]


def test_one_alone_is_listed_too() -> None:
    view = View(event=Event(source="a", type="github", kind=Kind.AUDIT, status=Status.UNKNOWN), now=MONDAY)
    message = Renderer(SHIPPED).render("collected", view, "console")
    assert text(message, colour=False).startswith("▌ 📋 1 thing happened meanwhile")
