"""`settle`: what happens to one run within the window is said once. By a real courier, on a real store."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.event import Event, Target
from bridge.receive import Deciding
from bridge.render import Renderer, View
from bridge.route import Goal, Rule, condition, route
from bridge.store import open_store
from tests import arrivals, postgres
from tests.altered import replace
from tests.arrivals import LEASE, NOON, after, arrival, settled
from tests.couriers import SHIPPED, Work, bot, texts
from tests.fakes.slack import FakeSlack

pytestmark = pytest.mark.usefixtures("no_lease_ends")


def rule(*to: Goal, name: str = "tasks", **match: object) -> Rule:
    wanted = match or {"kind": "task", "status": "failure"}
    return Rule(name=name, conditions=tuple(condition(key, value) for key, value in wanted.items()), to=to)


def settling(seconds: float = 20.0, **more: object) -> Goal:
    return Goal(destination="builds", settle=seconds, **more)  # type: ignore[arg-type]


TASKS = Deciding([rule(settling())])


async def test_a_matrix_of_forty_failing_jobs_is_one_message_that_lists_them(tmp_path: Path) -> None:
    store = await open_store(f"sqlite:///{tmp_path}/bridge.db", worker=True)
    for number in range(40):
        job = arrivals.task(1, f"test ({number})", "failure")
        await store.accept(arrival(job, f"k{number}", number / 4), TASKS)
    assert await store.claim("builds", after(19), LEASE, 4) == []
    (claimed,) = await store.claim("builds", after(20), LEASE, 4)
    assert len(claimed.behind) == 39
    events = (claimed.event, *(one.event for one in claimed.behind))
    view = View(event=events[-1], now=NOON, together=events)
    message = Renderer(SHIPPED).render("task", view, "slack")
    told = "".join(span.text for span in message.title)
    assert told == "🔴 40 tasks failed on main · acme/app"
    listed = [span.text for block in message.body for item in getattr(block, "items", ()) for span in item]
    assert listed == [f"test ({number})" for number in range(12)] + ["and 28 more"]
    await store.close()


@pytest.fixture
async def slack():
    async with FakeSlack() as fake:
        yield fake


async def test_what_is_said_with_another_is_settled_with_it(slack: FakeSlack, tmp_path: Path) -> None:
    async with Work(tmp_path, builds=bot(slack)) as work:
        patient = Deciding([rule(settling(240.0))])
        await work.accept(patient, arrivals.task(1, "lint", "failure"), arrivals.task(1, "test", "failure"))
        await work.accept(patient, arrivals.task(2, "lint", "failure"))
        found = await work.drained()
    assert [(one.state, one.text) for one in found] == [("done", ""), ("folded", "said together with d1"), ("done", "")]
    assert sorted(texts(slack)) == ["🔴 2 tasks failed on main · acme/app", "🔴 lint failed on main · acme/app"]
    assert all(one.settled_at and (one.settled_at - one.created_at).total_seconds() > 100 for one in found[:1])


async def test_of_a_run_the_newest_state_within_the_window_is_said(slack: FakeSlack, tmp_path: Path) -> None:
    async with Work(tmp_path, builds=bot(slack)) as work:
        patient = Deciding([rule(settling(240.0), kind="pipeline")])
        await work.accept(patient, *(arrivals.event(1, word) for word in ("queued", "running", "failure")))
        await work.drained()
    assert texts(slack) == ["🔴 build broke on main · acme/app"]


async def test_a_mute_of_one_rule_keeps_only_its_own_quiet(slack: FakeSlack, tmp_path: Path) -> None:
    from datetime import timedelta

    from bridge.store.base import Mute

    async with Work(tmp_path, builds=bot(slack)) as work:
        await work.store.mute(Mute(rule="lints", since=NOON, until=NOON + timedelta(days=1)))
        patient = Deciding(
            [
                rule(settling(240.0), name="lints", kind="task", task="lint*"),
                rule(settling(240.0), name="tests", kind="task", task="test*"),
            ]
        )
        jobs = (arrivals.task(1, name, "failure") for name in ("test a", "lint", "test b"))
        await work.accept(patient, *jobs)
        found = await work.drained()
    assert texts(slack) == ["🔴 2 tasks failed on main · acme/app"]
    assert [one.state for one in found] == ["done", "muted", "folded"]


async def test_a_replay_of_what_was_said_with_others_says_it_alone_and_at_once(
    slack: FakeSlack, tmp_path: Path
) -> None:
    async with Work(tmp_path, builds=bot(slack)) as work:
        patient = Deciding([rule(settling(240.0))])
        await work.accept(patient, arrivals.task(1, "lint", "failure"), arrivals.task(1, "test", "failure"))
        await work.drained()
        await work.store.replay(["d2"], work.clock.now())
        found = await work.drained()
    assert texts(slack)[1:] == ["🔴 test failed on main · acme/app"]
    assert (found[2].settled_at or NOON) - found[2].created_at < (found[0].settled_at or NOON) - found[0].created_at


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_after_a_crash_what_may_have_been_said_together_is_said_or_dropped_together(
    engine: str, tmp_path: Path
) -> None:
    """What came since waits for its own turn: nobody has said that."""
    url, drop = postgres.fresh() if engine == "postgres" else (f"sqlite:///{tmp_path}/bridge.db", lambda: None)
    store = await open_store(url, worker=True)
    for number, name in enumerate(("lint", "test")):
        await store.accept(arrival(arrivals.task(1, name, "failure"), f"k{number}", number), TASKS)
    assert [len(one.behind) for one in await store.claim("builds", after(30), LEASE, 4, durable=True)] == [1]
    await store.close()
    store = await open_store(url, worker=True)
    await store.accept(arrival(arrivals.task(1, "docs", "failure"), "k3", 31), TASKS)
    (again,) = await store.claim("builds", after(40), LEASE, 4)
    assert (again.unsure, [one.event.title for one in again.behind]) == (True, ["run 1 failure"])
    assert [one.target.key for one in again.behind] == [again.target.key]
    await store.settle(settled(again, "dropped", 41))
    (docs,) = await store.claim("builds", after(60), LEASE, 4)
    assert [docs.event.task and docs.event.task.name, len(docs.behind)] == ["test", 1], (
        "a drop settles only whom it names"
    )
    await store.close()
    drop()


def test_two_rules_that_want_one_message_wait_as_long_as_the_more_hurried() -> None:
    def waits(*rules: Rule) -> list[tuple[float, bool, tuple[str, ...]]]:
        found = route(rules, arrivals.task(1, "lint", "failure")).targets
        return [(one.wait, one.gathers, one.rules) for one in found]

    slow, quick = rule(settling(240.0), name="slow"), rule(settling(20.0), name="quick")
    at_once = rule(Goal(destination="builds"), name="at once")
    assert waits(slow, quick) == [(20.0, True, ("slow", "quick"))]
    assert waits(slow, at_once) == [(0.0, False, ("slow", "at once"))]


def test_a_living_message_is_edited_at_most_every_so_often() -> None:
    decider = Deciding([rule(settling(20.0, live=True), kind="pipeline")])
    first = decider.first(arrivals.event(1, "running"), None, repeat=False, sent_at=None)
    run = decider.told(first, None, None).run
    later = decider.first(arrivals.task(1, "lint", "failure"), run, repeat=False, sent_at=None)
    (edit,) = decider.told(later, None, None).targets
    assert (edit.live, edit.wait, edit.gathers) == (True, 20.0, False)


def test_what_waits_says_for_how_long() -> None:
    (target,) = route([rule(settling(90.0))], arrivals.task(1, "lint", "failure")).targets
    assert isinstance(target, Target)
    assert target.why == "waits 1 min 30 s for more of the same run"


# -- with flaky: ignore ------------------------------------------------------------------------------------------------


def _re_run(attempt: int, status: str) -> Event:
    event = arrivals.event(1, status)
    return event.with_(run=event.run and event.run.with_(attempt=attempt))


async def _told_of_a_re_run(slack: FakeSlack, tmp_path: Path, *ends: str) -> list[tuple[str, str]]:
    quiet = replace(rule(settling(240.0), change=["broken", "fixed", "still_failing"]), ignores_flaky=True)
    async with Work(tmp_path, builds=bot(slack)) as work:
        await work.accept(Deciding([quiet]), *(_re_run(number, end) for number, end in enumerate(ends, 1)))
        return [(one.state, one.text) for one in await work.drained()]


async def test_what_passes_when_it_is_run_again_within_the_window_is_not_told(slack: FakeSlack, tmp_path: Path) -> None:
    found = await _told_of_a_re_run(slack, tmp_path, "failure", "failure", "success")
    assert found == [("folded", "flaky: it has passed when it was run again")] * 2
    assert texts(slack) == []


async def test_what_fails_again_is_told_though_flaky_is_ignored(slack: FakeSlack, tmp_path: Path) -> None:
    await _told_of_a_re_run(slack, tmp_path, "failure", "failure")
    assert texts(slack) == ["🔴 build is failing on main for the 2nd time · acme/app"]


async def test_a_failure_that_was_flaky_is_not_said_with_another(slack: FakeSlack, tmp_path: Path) -> None:
    all_ends = replace(rule(settling(240.0, mention=("octocat",)), status=["running", "finished"]), ignores_flaky=True)
    async with Work(tmp_path, builds=bot(slack)) as work:
        events = _re_run(1, "running"), _re_run(1, "failure"), _re_run(2, "success")
        await work.accept(Deciding([all_ends]), *events)
        found = await work.drained()
    assert [one.state for one in found] == ["done", "folded", "folded"]
    assert found[1].text == "flaky: it has passed when it was run again"
    assert texts(slack) == ["✅ build is fixed on main, it passed when run again (flaky) · acme/app"]


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_a_crash_before_its_turn_makes_nothing_unsure(engine: str, tmp_path: Path) -> None:
    """Else `when_unsure: drop` would drop what was never sent."""
    url, drop = postgres.fresh() if engine == "postgres" else (f"sqlite:///{tmp_path}/bridge.db", lambda: None)
    store = await open_store(url, worker=True)
    await store.accept(arrival(arrivals.task(1, "lint", "failure"), "k1", 0), TASKS)
    await store.redate("builds", after(1), LEASE)  # as at a start
    assert len(await store.claim("builds", after(1), LEASE, 4)) == 1
    await store.close()
    store = await open_store(url, worker=True)
    (lost,) = await store.claim("builds", after(2), LEASE, 4)
    assert lost.unsure
    await store.settle(settled(lost, "pending", 2, outcome="waits", due_at=after(20)))
    (claimed,) = await store.claim("builds", after(20), LEASE, 4)
    assert (claimed.unsure, claimed.attempts) == (False, 0)
    await store.close()
    drop()
