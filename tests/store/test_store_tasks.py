"""What a failed task adds to the result of its run is kept by every engine, also across a restart."""

from __future__ import annotations

from bridge.receive import Deciding
from tests.arrivals import arrival, rule
from tests.events import run_event, task_event
from tests.store.conftest import OpenStore


async def test_a_task_that_comes_after_its_run_is_no_news_in_the_next_one(reopen: OpenStore) -> None:
    deciding = Deciding([rule("builds", kind="task", change="newly_failing")])
    store = await reopen()
    await store.accept(arrival(run_event("failure", 1, id="r1", number=1), "a"), deciding)
    late = await store.accept(arrival(task_event("lint", "failure", 2, id="r1"), "b"), deciding)
    await store.close()
    store = await reopen()
    again = await store.accept(arrival(task_event("lint", "failure", 11, id="r2", number=2), "c"), deciding)
    other = await store.accept(arrival(task_event("test", "failure", 12, id="r2", number=2), "d"), deciding)
    assert [one.destinations for one in (late, again, other)] == [("builds",), (), ("builds",)]


async def test_tasks_that_fail_together_all_complete_the_result(reopen: OpenStore) -> None:
    deciding = Deciding([rule("builds")])
    store = await reopen()
    await store.accept(arrival(run_event("failure", 1, id="r1", number=1), "a"), deciding)
    for name in ("lint", "test", "e2e"):
        await store.accept(arrival(task_event(name, "failure", 2, id="r1"), name), deciding)
    (key,) = {deciding.first(run_event("failure", 1), None, repeat=False, sent_at=None).track}
    assert key is not None
    track = await store.track(key)
    assert track is not None
    assert [result.failed for result in track.results] == [("lint", "test", "e2e")]
