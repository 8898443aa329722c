"""One run with its tasks: never backwards within an attempt, in whatever order and however often events arrive."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge import codec, fold
from bridge.event import Change, Event, Kind, Run, RunRef, Status, Task
from bridge.fold import fold_run, run_key
from tests.events import (
    Folding,
    build_event,
    build_task,
    clock,
    comparable,
    fold_all,
    run_event,
    status_event,
    task_event,
)

# -- in whatever order, however often ----------------------------------------------------------------------------------

FACTS: dict[str, Any] = {
    "title": "Count retries once",
    "author": "octocat",
    "pull_request": 7,
    "sha": "77aa",
    "labels": ("bug",),
    "default_branch": "main",
    "url": "https://ci.example.com/runs/7001",
}
FINAL = ["success", "failure", "error", "timeout", "cancelled", "skipped"]


@st.composite
def _stories(draw: st.DrawFn, kind: Kind = Kind.PIPELINE) -> list[Event]:
    """What happens to one run, in the order in which it happens, with tasks if it is a pipeline."""
    story: list[Event] = []
    minute = 0
    for attempt in range(1, draw(st.integers(1, 3)) + 1):
        states = draw(st.lists(st.sampled_from(["queued", "waiting", "running", "unknown"]), max_size=4))
        # A result can be told again, and once in a while it is another one.
        states += draw(st.lists(st.sampled_from(FINAL), max_size=2))
        events = [(None, state) for state in states]
        if kind is Kind.PIPELINE:
            for name in draw(st.sets(st.sampled_from(["lint", "test"]))):
                told = draw(st.lists(st.sampled_from(["queued", "running", "success", "failure"]), max_size=3))
                events += [(f"{name}/{attempt}", state) for state in told]
        for task, state in events:
            minute += 1
            bits = draw(st.integers(0, 2 ** len(FACTS) - 1))  # which facts this event happens to tell
            said = {name: FACTS[name] for i, name in enumerate(FACTS) if bits >> i & 1}
            if task is None:
                story.append(run_event(state, minute, attempt=attempt, kind=kind, action=f"at {minute}", **said))
            else:
                story.append(task_event(task, state, minute, attempt=attempt, **said))
    return story


@st.composite
def _arrivals(draw: st.DrawFn, story: list[Event]) -> list[Event]:
    again = draw(st.lists(st.sampled_from(story), max_size=6))
    return draw(st.permutations(story + again))


@pytest.mark.parametrize("kind", [Kind.PIPELINE, Kind.DEPLOYMENT])
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_run_ends_the_same_in_whatever_order_its_events_arrive(kind: Kind, data: st.DataObject) -> None:
    story = data.draw(_stories(kind).filter(bool))
    arrivals = data.draw(_arrivals(story))
    assert comparable(fold_all(arrivals)) == comparable(fold_all(story))


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_a_state_of_one_attempt_never_goes_back(data: st.DataObject) -> None:
    folding = Folding()
    for event in data.draw(_arrivals(data.draw(_stories().filter(bool)))):
        before = folding.run
        folding.add(event)
        after = folding.run
        if before is None or after is None:
            continue
        assert after.attempt >= before.attempt
        if after.attempt == before.attempt and before.status.finished:
            assert after.status.finished
        visible = (before.event.with_(id=None), before.tasks) != (after.event.with_(id=None), after.tasks)
        assert (after.version > before.version) or not visible


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_the_same_event_once_more_is_no_news_and_moves_nothing(data: st.DataObject) -> None:
    folding = Folding()
    for event in data.draw(_arrivals(data.draw(_stories().filter(bool)))):
        folding.add(event)
        known = folding.run
        again = folding.add(event)
        assert again is not None
        assert (again.news, again.moved, again.run) == (False, False, known)


@pytest.mark.parametrize("kind", [Kind.PUSH, Kind.RELEASE, Kind.CHANGE_REQUEST, Kind.ALERT, Kind.AUDIT])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_what_happens_once_is_told_once_and_the_newest_is_kept(kind: Kind, data: st.DataObject) -> None:
    actions = data.draw(st.lists(st.sampled_from(["opened", "closed", "labeled"]), min_size=1, max_size=6))
    story = [run_event("unknown", i, kind=kind, action=action, title=f"at {i}") for i, action in enumerate(actions)]
    arrivals = data.draw(_arrivals(story))
    folding = Folding(*arrivals)
    assert comparable(folding.run) == comparable(fold_all(story))
    assert folding.news.count(True) == len(story)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_what_is_known_of_a_run_survives_the_store(data: st.DataObject) -> None:
    run = fold_all(data.draw(_stories().filter(bool)))
    assert codec.load(codec.dump(run), Run) == run


# -- who counts attempts and tells times -------------------------------------------------------------------------------


def _states(*events: Event) -> list[tuple[str, int, bool]]:
    folding = Folding()
    seen = []
    for event in events:
        folding.add(event)
        seen.append((*folding.state, folding.news[-1]))
    return seen


def test_a_queued_that_comes_after_running_is_history() -> None:
    assert _states(run_event("running", 2), run_event("queued", 1))[-1] == ("running", 1, False)


def test_running_after_success_is_history_whatever_its_time() -> None:
    assert _states(run_event("success", 2), run_event("running", 1))[-1] == ("success", 1, False)
    assert _states(run_event("success", 2), run_event("running", 3))[-1] == ("success", 1, False)


def test_who_counts_attempts_has_ended_whatever_the_clock_says() -> None:
    assert _states(run_event("running", 5), run_event("success", 3))[-1] == ("success", 1, True)


def test_of_two_results_of_one_attempt_the_later_counts() -> None:
    success, failure = run_event("success", 2), run_event("failure", 3)
    assert _states(success, failure) == [("success", 1, True), ("failure", 1, True)]
    assert _states(failure, success) == [("failure", 1, True), ("failure", 1, False)]


@pytest.mark.parametrize(("worse", "better"), [("error", "timeout"), ("failure", "success"), ("success", "cancelled")])
def test_of_two_results_without_a_clock_between_them_the_worse_counts(worse: str, better: str) -> None:
    for minute in (None, 5):
        one, other = run_event(worse, minute), run_event(better, minute)
        assert fold_all([one, other]).status == fold_all([other, one]).status == worse  # type: ignore[union-attr]


def test_the_same_result_with_newer_words_is_shown_and_is_no_news() -> None:
    folding = Folding(run_event("success", 2, description="84 % covered"))
    assert folding.run is not None
    folding.run = folding.run.with_(event=folding.run.event.with_(change=Change.FIXED, failures=2))
    folding.add(run_event("success", 3, description="85 % covered"))
    assert folding.last is not None
    assert (folding.last.news, folding.last.moved, folding.last.run) == (False, True, folding.run)
    assert folding.last.track is None, "and it is not compared again"
    assert folding.run.event.description == "85 % covered"
    assert (folding.run.event.change, folding.run.event.failures) == (Change.FIXED, 2)


def test_progress_of_a_running_run_is_shown_and_is_no_news() -> None:
    folding = Folding(run_event("running", 1, description="10 %"), run_event("running", 2, description="20 %"))
    assert folding.news == [True, False]
    assert folding.run is not None
    assert folding.run.event.description == "20 %"


def test_a_second_attempt_begins_and_the_first_is_history_from_then_on() -> None:
    first = [run_event("running", 1), run_event("failure", 2)]
    second = [run_event("queued", 3, attempt=2), run_event("success", 5, attempt=2)]
    assert _states(*first, *second) == [
        ("running", 1, True),
        ("failure", 1, True),
        ("queued", 2, True),
        ("success", 2, True),
    ]
    assert _states(*second, *first)[2:] == [("success", 2, False), ("success", 2, False)]


def test_a_replaced_attempt_still_tells_what_does_not_belong_to_the_attempt() -> None:
    facts = (("re-run by", "hubot"),)
    late = run_event("failure", 2, title="Count retries once", facts=facts, started_at=clock(1))
    folding = Folding(run_event("running", 5, attempt=2), late)
    assert folding.run is not None
    assert folding.run.event.title == "Count retries once"
    assert (folding.run.event.facts, folding.run.event.started_at) == ((), None)


def test_tasks_that_a_replaced_attempt_brings_late_are_history() -> None:
    tasks = (task_event("1", "failure", 1).task,)
    assert Folding(run_event("running", 5, attempt=2), run_event("failure", 2, tasks=tasks)).tasks == {}


def test_the_beginning_of_an_attempt_is_kept_for_its_end() -> None:
    folding = Folding(run_event("running", 1, started_at=clock(0)), run_event("success", 2))
    assert folding.run is not None
    assert folding.run.event.started_at == clock(0)


def test_who_pressed_rerun_is_forgotten_with_the_attempt() -> None:
    folding = Folding(run_event("failure", 1, facts=(("re-run by", "hubot"),)), run_event("queued", 2, attempt=2))
    assert folding.run is not None
    assert folding.run.event.facts == ()


@pytest.mark.parametrize("odd", [0, -5])
def test_an_odd_count_of_attempts_is_the_first(odd: int) -> None:
    assert _states(run_event("queued", 1, attempt=odd), run_event("success", 2, attempt=odd))[-1] == (
        "success",
        1,
        True,
    )


def test_a_run_may_wait_in_the_middle() -> None:
    story = [run_event(status, minute) for minute, status in enumerate(["running", "waiting", "running", "success"])]
    assert [state for state, _, news in _states(*story) if news] == ["running", "waiting", "running", "success"]
    assert _states(story[0], story[2], story[1])[-1] == ("running", 1, False)


def test_in_one_second_the_natural_order_decides() -> None:
    story = [run_event(status, 1) for status in ("queued", "waiting", "running", "success")]
    assert fold_all(story).status == fold_all(reversed(story)).status == "success"  # type: ignore[union-attr]
    assert fold_all(reversed(story[:3])).status == "running"  # type: ignore[union-attr]


def test_a_word_that_we_do_not_know_is_shown_and_never_replaces_a_result() -> None:
    odd = run_event("unknown", 2, description="hibernating")
    assert _states(run_event("running", 1), odd)[-1] == ("unknown", 1, True)
    assert _states(run_event("success", 1), odd)[-1] == ("success", 1, False)
    assert _states(odd, run_event("running", 3))[-1] == ("running", 1, True)


def test_a_late_fact_makes_a_new_version_without_news() -> None:
    folding = Folding(run_event("success", 2))
    assert folding.run is not None
    version = folding.run.version
    last = folding.add(run_event("running", 1, pull_request=7))
    assert last is not None
    assert (last.news, last.moved) == (False, True)
    assert (folding.run.event.pull_request, folding.run.version) == (7, version + 1)
    assert folding.run.status is Status.SUCCESS


def test_what_is_known_is_never_overwritten_by_a_late_event() -> None:
    folding = Folding(run_event("success", 2, title="new"), run_event("running", 1, title="old"))
    assert folding.run is not None
    assert folding.run.event.title == "new"


def test_times_and_sentence_of_a_state_are_not_carried_into_the_next() -> None:
    done = run_event("failure", 2, finished_at=clock(2), duration=60.0, description="two tests failed")
    folding = Folding(done, run_event("queued", 3, attempt=2))
    assert folding.run is not None
    event = folding.run.event
    assert (event.finished_at, event.duration, event.description) == (None, None, None)


def test_the_event_that_rules_see_has_all_that_is_known_of_its_run() -> None:
    folding = Folding(run_event("running", 1, title="Count retries once", number=41))
    folding.add(run_event("success", 2, number=None))
    assert folding.last is not None
    assert folding.last.event.title == "Count retries once"
    assert folding.last.event.run == RunRef(id="7001", number=41, attempt=1)


# -- who tells times and counts nothing --------------------------------------------------------------------------------


def test_pending_after_success_is_a_new_attempt() -> None:
    assert _states(status_event("running", 1), status_event("success", 2), status_event("running", 3)) == [
        ("running", 1, True),
        ("success", 1, True),
        ("running", 2, True),
    ]


def test_another_result_later_is_a_new_attempt() -> None:
    assert _states(status_event("success", 2), status_event("failure", 3))[-1] == ("failure", 2, True)


def test_the_same_result_later_is_the_same_result() -> None:
    assert _states(status_event("failure", 2), status_event("failure", 3))[-1] == ("failure", 1, False)


def test_late_pending_and_late_results_of_it_are_history() -> None:
    assert _states(status_event("success", 2), status_event("running", 1))[-1] == ("success", 1, False)
    assert _states(status_event("running", 3), status_event("failure", 2))[-1] == ("running", 1, False)
    assert _states(status_event("success", 3), status_event("failure", 2))[-1] == ("success", 1, False)


def test_tasks_told_since_the_last_end_belong_to_the_attempt_that_begins() -> None:
    """A check suite's checks come before it says that it was run again."""
    folding = Folding(
        task_event("old", "failure", 1, attempt=None, id="suite/9"),
        status_event("failure", 2, id="suite/9"),
        task_event("new", "success", 4, attempt=None, id="suite/9"),
        status_event("success", 5, id="suite/9"),
    )
    assert folding.state == ("success", 2)
    assert folding.tasks == {"new": "success"}


# -- who tells neither -------------------------------------------------------------------------------------------------

CREATED = build_event("queued")
EXECUTING = build_event("running", "queued")
COMPLETED = build_event("success", "running")
AGAIN = build_event("running", "success")


def _story_of_a_rerun() -> list[tuple[Event, bool]]:
    """(event, whether these very bytes came before)"""
    return [(CREATED, False), (EXECUTING, False), (COMPLETED, False), (AGAIN, False), (COMPLETED, True)]


def test_a_rerun_with_the_very_bytes_of_the_first_run_is_news() -> None:
    folding = Folding()
    states = []
    for event, repeat in _story_of_a_rerun():
        folding.add(event, repeat=repeat)
        states.append(folding.state)
    assert folding.news == [True] * 5
    assert states == [("queued", 1), ("running", 1), ("success", 1), ("running", 2), ("success", 2)]


@pytest.mark.parametrize(
    ("after", "event"),
    [(after, event) for after in range(1, 6) for event in dict.fromkeys(e for e, _ in _story_of_a_rerun()[:after])],
)
def test_bytes_seen_before_speak_only_as_the_end_of_a_running_attempt(after: int, event: Event) -> None:
    story = _story_of_a_rerun()[:after]
    folding = Folding()
    for told, repeat in story:
        folding.add(told, repeat=repeat)
    folding.add(event, repeat=True)
    # With nothing else known, the end of the second attempt and the beginning of a third look exactly so.
    assert folding.news[-1] == ((after, event) in [(4, COMPLETED), (5, AGAIN)])


def test_a_third_attempt_begins_with_the_bytes_of_the_second_where_no_tasks_are_told() -> None:
    folding = Folding()
    for event, repeat in [*_story_of_a_rerun(), (AGAIN, True), (COMPLETED, True)]:
        folding.add(event, repeat=repeat)
    assert folding.state == ("success", 3)


def test_where_tasks_are_told_only_a_new_task_begins_a_third_attempt() -> None:
    folding = Folding(CREATED, build_task("1", "success", 2, created=1), COMPLETED, AGAIN)
    folding.add(build_task("2", "success", 5, created=4))
    folding.add(COMPLETED, repeat=True)
    assert folding.state == ("success", 2)
    folding.add(AGAIN, repeat=True)
    assert (folding.state, folding.news[-1]) == (("success", 2), False)
    folding.add(build_task("3", "queued", 7, created=7))
    assert folding.state == ("queued", 3)
    folding.add(AGAIN, repeat=True)
    assert (folding.state, folding.news[-1]) == (("running", 3), True)


def test_old_bytes_do_not_end_a_rerun_whose_tasks_still_run() -> None:
    folding = Folding(CREATED, build_task("1", "failure", 2, created=1), build_event("failure", "running"))
    folding.add(build_task("2", "queued", 4, created=4))
    for old in (CREATED, build_event("failure", "running")):
        folding.add(old, repeat=True)
        assert (folding.state, folding.news[-1]) == (("queued", 2), False)
    folding.add(build_task("2", "failure", 6, created=4))
    folding.add(build_event("failure", "running"), repeat=True)  # that it began again was lost on the way
    assert (folding.state, folding.news[-1]) == (("failure", 2), True)


def test_a_late_task_of_the_first_attempt_is_no_rerun() -> None:
    folding = Folding(CREATED, build_task("1", "success", 5, created=1), COMPLETED)
    folding.add(build_task("2", "running", 4, created=1))
    assert folding.state == ("success", 1)
    folding.add(build_task("1", "running", 3, created=1))
    assert (folding.state, folding.tasks["1"]) == (("success", 1), "success")


def test_an_unknown_word_is_no_restart() -> None:
    folding = Folding(CREATED, COMPLETED, build_event("unknown", "success"))
    assert folding.state == ("success", 1)


def test_an_unknown_word_of_a_sender_without_clocks_is_shown_until_the_next_known_one() -> None:
    folding = Folding(CREATED, EXECUTING, build_event("unknown", "running", description="REHEATING"))
    assert (folding.state, folding.news[-1]) == (("unknown", 1), True)
    folding.add(EXECUTING, repeat=True)
    assert folding.state == ("unknown", 1)
    folding.add(COMPLETED)
    assert folding.state == ("success", 1)


def test_another_result_whose_restart_was_lost_is_a_new_attempt() -> None:
    folding = Folding(CREATED, build_event("failure", "running"), COMPLETED)
    assert folding.state == ("success", 2)


def test_old_bytes_of_a_worse_result_change_no_later_one() -> None:
    failed = build_event("failure", "running")
    folding = Folding(CREATED, failed, COMPLETED)
    folding.add(failed, repeat=True)
    assert (folding.state, folding.news[-1]) == (("success", 2), False)


def test_a_task_that_the_build_itself_has_listed_is_no_rerun() -> None:
    listed = tuple(build_task(name, "running", 2, created=2).task for name in ("1", "2"))
    folding = Folding(build_task("0", "success", 1, created=1), build_event("success", "running", tasks=listed))
    folding.add(build_task("2", "running", 3, created=2))
    assert folding.state == ("success", 1)


def test_an_unsigned_clock_only_holds_back() -> None:
    folding = Folding()
    folding.add(CREATED, sent=1)
    folding.add(AGAIN, sent=5)
    folding.add(build_event("failure", "running"), sent=4)
    assert (folding.state, folding.news[-1]) == (("running", 1), False)
    folding.add(build_event("success", "running"), sent=6)
    folding.add(build_event("failure", "running"), sent=4)
    assert folding.state == ("success", 1)
    folding.add(EXECUTING, sent=99)
    assert folding.state == ("success", 1)


def test_an_older_time_of_sending_does_not_end_a_rerun_known_from_its_tasks() -> None:
    folding = Folding()
    folding.add(CREATED, build_task("1", "failure", 2, created=1), sent=1)
    folding.add(build_event("failure", "running"), sent=3)
    folding.add(build_task("2", "queued", 4, created=4))
    folding.add(build_event("success", "running"), sent=2)
    assert (folding.state, folding.news[-1]) == (("queued", 2), False)


def test_a_time_of_sending_in_the_future_holds_nothing_back() -> None:
    folding = Folding()
    folding.add(EXECUTING.with_(received_at=clock(1)), sent=10_000)
    folding.add(COMPLETED.with_(received_at=clock(2)), sent=2)
    assert folding.state == ("success", 1)


def test_a_build_that_needs_approval_waits_until_it_runs() -> None:
    waiting = build_event("waiting", "queued")
    folding = Folding(CREATED, waiting, EXECUTING)
    assert folding.news == [True, True, True]
    folding.add(waiting, repeat=True)
    assert (folding.state, folding.news[-1]) == (("running", 1), False)


def test_a_paused_task_waits_and_goes_on() -> None:
    folding = Folding(
        build_task("1", "waiting", 2, created=1),
        build_task("1", "queued", 3, created=1),
        build_task("1", "running", 4, created=1),
        build_task("1", "waiting", 2, created=1),
    )
    assert folding.tasks == {"1": "running"}
    assert folding.news == [True, True, True, False]


def test_the_first_task_tells_when_such_a_run_began() -> None:
    folding = Folding(CREATED, build_task("2", "queued", 3, created=3), build_task("1", "queued", 2, created=2))
    assert folding.run is not None
    assert folding.run.event.started_at == clock(2)
    folding.add(COMPLETED, AGAIN, build_task("3", "queued", 9, created=9))
    assert folding.run.event.started_at == clock(9), "the attempt's own beginning"


def test_rules_see_our_count_of_attempts_also_at_its_tasks() -> None:
    folding = Folding(CREATED, COMPLETED, AGAIN)
    last = folding.add(build_task("2", "failure", 5, created=4))
    assert last is not None
    assert last.event.run is not None
    assert last.event.run.attempt == 2


# -- tasks -------------------------------------------------------------------------------------------------------------


def test_of_one_task_the_newer_state_wins_and_a_finished_one_stays() -> None:
    folding = Folding(task_event("1", "running", 2), task_event("1", "queued", 1), task_event("1", "failure", 3))
    assert (folding.tasks, folding.news) == ({"1": "failure"}, [True, False, True])
    folding.add(task_event("1", "running", 9))
    assert (folding.tasks, folding.news[-1]) == ({"1": "failure"}, False)
    folding.add(task_event("1", "success", 10))
    assert folding.tasks == {"1": "success"}


@pytest.mark.parametrize("minute", [None, 5])
def test_of_two_results_of_a_task_without_a_clock_between_them_the_worse_counts(minute: int | None) -> None:
    one, other = task_event("1", "failure", minute), task_event("1", "success", minute)
    assert Folding(one, other).tasks == Folding(other, one).tasks == {"1": "failure"}


def test_the_step_that_failed_is_kept_and_does_not_hold_for_another_result() -> None:
    folding = Folding(task_event("1", "failure", 3, step="pytest"), task_event("1", "failure", 4))
    assert folding.run is not None
    assert folding.run.tasks[0].step == "pytest"
    folding.add(task_event("1", "success", 5))
    assert folding.run.tasks[0].step is None


def test_the_note_on_a_state_does_not_hold_for_the_next() -> None:
    folding = Folding(task_event("1", "unknown", 1, note="REHEATING"), task_event("1", "success", 2))
    assert folding.run is not None
    assert folding.run.tasks[0].note is None


def test_tasks_may_come_before_their_run() -> None:
    folding = Folding(task_event("1", "running", 1, sha="77aa"))
    assert folding.run is not None
    assert (folding.run.seen, folding.run.status, folding.run.event.kind) == (False, Status.UNKNOWN, Kind.PIPELINE)
    folding.add(run_event("running", 1, title="Count retries once"))
    assert (folding.run.seen, folding.run.status, folding.news[-1]) == (True, Status.RUNNING, True)
    assert (folding.run.event.sha, folding.tasks) == ("77aa", {"1": "running"})


def test_a_new_attempt_drops_the_tasks_of_the_old_one() -> None:
    folding = Folding(task_event("1", "failure", 1), run_event("failure", 2), run_event("queued", 3, attempt=2))
    assert folding.tasks == {}


def test_tasks_of_the_second_attempt_may_come_before_its_run() -> None:
    page = "https://ci.example.com/runs/7001"
    folding = Folding(task_event("1", "failure", 1), run_event("failure", 2, title="Count retries once", url=page))
    folding.add(task_event("2", "queued", 3, attempt=2))
    assert folding.run is not None
    assert folding.run.event.url == page
    assert (folding.state, folding.tasks) == (("queued", 2), {"2": "queued"})
    folding.add(run_event("failure", 2), task_event("1", "failure", 1))
    assert (folding.state, folding.tasks) == (("queued", 2), {"2": "queued"}), "the first attempt is history"
    folding.add(run_event("running", 4, attempt=2))
    assert (folding.state, folding.tasks, folding.news[-1]) == (("running", 2), {"2": "queued"}, True)
    assert folding.run is not None
    assert folding.run.event.title == "Count retries once"


def test_which_task_of_a_second_attempt_arrives_first_does_not_matter() -> None:
    one, other = task_event("1", "queued", 1, attempt=2), task_event("2", "running", 2, attempt=2)
    assert Folding(one, other).state == Folding(other, one).state


def test_who_started_a_task_again_is_not_the_author_of_the_run() -> None:
    folding = Folding(run_event("failure", 1, author="octocat"))
    folding.add(task_event("2", "queued", 2, attempt=2, author="hubot"))
    assert folding.run is not None
    assert folding.run.event.author == "octocat"


def test_a_tasks_event_tells_its_own_state_and_its_runs_facts() -> None:
    folding = Folding(run_event("running", 1, title="Count retries once", started_at=clock(0)))
    last = folding.add(task_event("1", "failure", 2))
    assert last is not None
    assert (last.event.status, last.event.title, last.event.kind) == (
        Status.FAILURE,
        "Count retries once",
        Kind.TASK,
    )
    assert last.event.run == RunRef(id="7001", number=41, attempt=1)
    assert last.event.started_at is None
    assert folding.run is not None
    assert folding.run.status is Status.RUNNING, "a failed task does not end its run"


def test_a_run_keeps_so_many_tasks_and_takes_no_harm_from_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold, "MAX_TASKS", 2)
    folding = Folding(*(task_event(str(i), "running", i) for i in range(4)), task_event("1", "success", 9))
    assert folding.tasks == {"0": "running", "1": "success"}
    assert folding.news == [True, True, False, False, True]


def test_one_event_may_bring_all_tasks() -> None:
    tasks = tuple(task_event(str(i), "running", 1).task for i in range(2))
    folding = Folding(task_event("1", "success", 3))
    folding.add(run_event("running", 2, tasks=tasks))
    assert folding.tasks == {"1": "success", "0": "running"}
    assert folding.run is not None
    assert folding.run.event.tasks == ()


@pytest.mark.parametrize("late", [False, True])
def test_of_two_lists_of_a_runs_tasks_what_was_made_anew_replaces_the_first_try(late: bool) -> None:
    kept, tried, retried = (
        task_event(key, "running", made, name=name, created=made, attempt=None).task
        for key, name, made in (("1", "build", 1), ("2", "unit", 1), ("3", "unit", 2))
    )
    lists = [run_event("running", 3, attempt=None, tasks=(kept, unit)) for unit in (tried, retried)]
    assert set(Folding(*(reversed(lists) if late else lists)).tasks) == {"1", "3"}


def test_two_tasks_of_one_name_in_one_list_are_two_tasks() -> None:
    tasks = tuple(task_event(key, "running", 1, name="unit", created=int(key), attempt=None).task for key in "12")
    assert set(Folding(run_event("running", 3, attempt=None, tasks=tasks)).tasks) == {"1", "2"}


# -- what happens once -------------------------------------------------------------------------------------------------


def test_each_action_is_told_once_also_out_of_order() -> None:
    opened, closed = (
        run_event("unknown", minute, kind=Kind.CHANGE_REQUEST, id="pull/7", action=action, title=action)
        for minute, action in ((1, "opened"), (2, "closed"))
    )
    folding = Folding(closed, opened, closed, opened)
    assert folding.news == [True, True, False, False]
    assert folding.run is not None
    assert folding.run.event.title == "closed", "what is shown is the newest"


def test_the_same_action_at_another_time_is_told_again() -> None:
    first, second = (run_event("unknown", minute, kind=Kind.PUSH, action="pushed") for minute in (1, 2))
    assert Folding(first, second).news == [True, True]


def test_two_labels_of_one_moment_are_two_things() -> None:
    one, two = (
        run_event("unknown", 1, kind=Kind.CHANGE_REQUEST, action="labeled", labels=labels)
        for labels in (("bug",), ("bug", "urgent"))
    )
    assert Folding(one, two).news == [True, True]


def test_bytes_seen_before_are_no_news_even_when_their_mark_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold, "MARKS", 1)
    first, second = (run_event("unknown", i, kind=Kind.AUDIT) for i in range(2))
    folding = Folding(first, second)
    folding.add(first, repeat=True)
    assert folding.news == [True, True, False]


def test_what_happened_once_remembers_only_so_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold, "MARKS", 2)
    folding = Folding(*(run_event("unknown", i, kind=Kind.PUSH, action="pushed") for i in range(4)))
    assert folding.run is not None
    assert len(folding.run.marks) == 2


def test_an_event_without_a_run_is_news_unless_its_bytes_were_seen_before() -> None:
    event = Event(source="github", type="github", kind=Kind.ALERT)
    assert run_key(event) is None
    assert fold_run(event, None).news
    assert not fold_run(event, None, repeat=True).news


def test_a_task_event_without_a_task_tells_nothing() -> None:
    assert not fold_run(task_event("1", "failure", 1).with_(task=None), None).news


# -- what a run is -----------------------------------------------------------------------------------------------------


def test_a_run_is_its_source_repository_and_id_and_its_tasks_belong_to_it() -> None:
    run, task = run_event("running", 1), task_event("1", "running", 1)
    assert run_key(run) == run_key(task) == run_key(run.with_(repository="Acme/App"))
    others = [
        run.with_(source="elsewhere"),
        run.with_(repository="acme/other"),
        run.with_(run=RunRef(id="7002")),
        run.with_(kind=Kind.DEPLOYMENT),
    ]
    assert len({run_key(other) for other in (run, *others)}) == 5


def test_a_task_that_is_done_over_within_its_run_takes_the_place_of_the_one_before() -> None:
    """Cirrus CI re-runs a flaky task by itself: a new task of the same name, made after the first had ended."""
    when = datetime(2026, 11, 20, 9, tzinfo=UTC)
    run = RunRef(id="42")
    base = Event(
        source="cirrus", type="cirrus", kind=Kind.PIPELINE, status=Status.RUNNING, repository="acme/app", run=run
    )

    def told(task: Task) -> Event:
        return base.with_(kind=Kind.TASK, status=task.status, task=task)

    failed = Task(id="1", name="test", status=Status.FAILURE, created_at=when, changed_at=when + timedelta(minutes=2))
    again = Task(id="2", name="test", status=Status.RUNNING, created_at=when + timedelta(minutes=3))
    twin = Task(id="3", name="test", status=Status.RUNNING, created_at=when)  # a matrix: same name, same time
    for order in ((failed, again, twin), (again, twin, failed), (twin, failed, again)):
        state = fold_run(base, None).run
        for task in order:
            state = fold_run(told(task), state).run
        assert state is not None
        assert {task.id for task in state.tasks} == {"2", "3"}


def test_a_run_whose_id_is_unique_stays_one_though_only_a_later_event_names_the_repository() -> None:
    queued = run_event("queued", 1).with_(repository=None, run=RunRef(id="https://ci/7", unique=True))
    failed = run_event("failure", 2).with_(run=RunRef(id="https://ci/7", unique=True))
    silent = run_event("running", 1.5).with_(repository=None, run=RunRef(id="https://ci/7", unique=True))
    for order in ((queued, failed), (queued, failed, silent), (failed, queued)):
        folding = Folding(*order)
        assert folding.run is not None
        assert (folding.state, folding.run.event.repository) == (("failure", 1), "acme/app")
    assert run_key(run_event("queued")) != run_key(run_event("queued").with_(repository="acme/other"))
