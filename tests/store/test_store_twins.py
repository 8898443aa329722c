"""What one of two runs of a push has said is remembered by every engine, also across a restart."""

from __future__ import annotations

from bridge.event import Event, RunRef
from bridge.receive import Deciding
from tests.arrivals import arrival, rule
from tests.events import run_event
from tests.store.conftest import OpenStore


def of_push(number: int, status: str, minute: float, pull_request: int | None = None) -> Event:
    event = run_event(status, minute, sha="c0ffee", branch="parcels", pull_request=pull_request)
    return event.with_(run=RunRef(id=str(number), number=number, twin=True))


async def test_two_runs_of_one_push_are_told_once(reopen: OpenStore) -> None:
    deciding = Deciding([rule("builds")])
    store = await reopen()
    told = [
        await store.accept(arrival(of_push(41, "running", 1), "a"), deciding),
        await store.accept(arrival(of_push(42, "running", 1, 7), "b"), deciding),
        await store.accept(arrival(of_push(41, "failure", 2), "c"), deciding),
    ]
    await store.close()
    told.append(await (await reopen()).accept(arrival(of_push(42, "failure", 3, 7), "d"), deciding))
    assert [len(accepted.destinations) for accepted in told] == [1, 0, 1, 0]
