"""What passed when it was run again, what fails anew, what a row of failures is: the tables are docs/changes.md's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge import codec, fold
from bridge.event import Change, Event, Kind, Result, RunRef, Status, Task, Track
from bridge.receive import Deciding
from bridge.route import Goal, Rule, changes, condition, expression, judge, route, seen_by
from bridge.store.base import Decision
from bridge.turn import unsaid
from tests.events import build_event, clock, run_event, status_event, task_event

PAGE = (Path(__file__).parents[1] / "docs" / "changes.md").read_text("utf-8")


class Deciders:
    """Events decided one after the other, tracks written down and read back in between."""

    def __init__(self, *rules: Rule) -> None:
        self.decider = Deciding(rules)
        self.runs: dict[str, Any] = {}
        self.tracks: dict[str, Track] = {}
        self.asked: list[str] = []

    def add(self, event: Event) -> Decision:
        first = self.decider.first(event, self.runs.get(fold.run_key(event) or ""), repeat=False, sent_at=None)
        if first.track is not None:
            self.asked.append(first.track)
        decision = self.decider.second(first, self.tracks.get(first.track or ""))
        if decision.run is not None:
            self.runs[decision.run.key] = codec.load(codec.dump(decision.run), type(decision.run))
        if decision.track is not None:
            self.tracks[decision.track.key] = codec.load(codec.dump(decision.track), Track)
        return decision

    def ends(self, number: int, status: str, *, attempt: int = 1, tasks: tuple[str, ...] = (), **said: Any) -> Event:
        end = clock(10 * number + attempt)
        failed = tuple(Task(id=name, name=name, status=Status.FAILURE) for name in tasks)
        said = {"id": f"r{number}", "number": number, "finished_at": end, "received_at": end, "tasks": failed} | said
        return self.add(run_event(status, 10 * number + attempt, attempt=attempt, **said)).event


# -- the tables of the page --------------------------------------------------------------------------------------------


def _rows(heading: str) -> list[tuple[str, ...]]:
    section = PAGE.split(f"\n## {heading}")[1].split("\n## ")[0]
    lines = [line.strip().strip("|") for line in section.splitlines() if line.startswith("|")]
    rows = [tuple(cell.strip().strip("`") for cell in line.split("|")) for line in lines]
    return [row for row in rows if len(row) == 4 and row[1].startswith("#")]


_RESULT = re.compile(r"#(\d+)(?:\.(\d+))? (\w+)(?: of (\w+))?(?: in ([\w, ]+))?")


def _told(results: Deciders, text: str, mark: str) -> Event:
    """Tell results, ``#1.2 failure of a in lint, test``; return the last."""
    for one in text.split(mark):
        found = _RESULT.fullmatch(one.strip())
        assert found, one
        number, attempt, status, sha, tasks = found.groups()
        names = tuple(tasks.split(", ")) if tasks else ()
        event = results.ends(int(number), status, attempt=int(attempt or 1), sha=sha, tasks=names)
    return event


def _last(row: tuple[str, ...], mark: str = ", ") -> Event:
    results = Deciders()
    if row[0] != "none":
        _told(results, row[0], mark)
    return _told(results, row[1], mark)


FLAKY, NEW, AFTER = _rows("flaky"), _rows("What is new"), _rows("A row of failures")


def test_the_page_has_its_tables() -> None:
    assert (len(FLAKY), len(NEW), len(AFTER)) == (15, 13, 13)


@pytest.mark.parametrize("row", FLAKY, ids=lambda row: f"{row[0]} then {row[1]}")
def test_the_truth_table_of_flaky(row: tuple[str, ...]) -> None:
    event = _last(row)
    assert (str(event.change), "yes" if event.flaky else "no") == row[2:]


@pytest.mark.parametrize("row", NEW, ids=lambda row: f"{row[0]} then {row[1]}")
def test_the_truth_table_of_newly_failing(row: tuple[str, ...]) -> None:
    event = _last(row, "; ")
    assert (str(event.change), ", ".join(event.newly_failing) or "none") == row[2:]
    assert ("newly_failing" in changes(event)) == (row[2] == "broken" or row[3] != "none")


RULE = Rule(name="a row", to=(Goal(destination="oncall"),), after=3)


@pytest.mark.parametrize("row", AFTER, ids=lambda row: f"{row[0]} then {row[1]}")
def test_the_truth_table_of_after(row: tuple[str, ...]) -> None:
    event = _last(row)
    assert str(event.change) == row[2]
    assert str(seen_by(RULE, event).change or "nothing").lower() == row[3]
    assert judge(RULE, event).matched == (row[3] != "nothing")


# -- flaky, by sender --------------------------------------------------------------------------------------------------


def _retried() -> list[Event]:
    """A pipeline of GitLab: numbered, no attempts counted, its jobs listed in each event."""
    red, green = (Task(id=str(i), name="test", status=Status(word)) for i, word in ((1, "failure"), (2, "success")))
    said = {"attempt": None, "number": 7, "id": "700", "sha": "a"}
    return [
        run_event("failure", 1, tasks=(red,), **said),
        run_event("running", 2, tasks=(), **said),
        run_event("success", 3, tasks=(green,), **said),
    ]


RERUNS = {
    "an attempt": [run_event("failure", 1, sha="a"), run_event("success", 2, sha="a", attempt=2)],
    "the same build": [build_event("failure"), build_event("running", "failure"), build_event("success", "running")],
    "a commit's statuses": [status_event("failure", 1), status_event("success", 2)],
    "a job again": _retried(),
    "a rebuild": [run_event("failure", 1, sha="a"), run_event("success", 2, sha="a", id="7002", number=42)],
    "another workflow of one number": [run_event("failure", 1, sha="a"), run_event("success", 2, sha="a", id="7002")],
}


@pytest.mark.parametrize("story", RERUNS.values(), ids=RERUNS.keys())
def test_however_a_sender_runs_a_commit_again_it_is_flaky(story: list[Event]) -> None:
    results = Deciders()
    told = [results.add(event).event for event in story]
    assert [event.flaky for event in told] == [False] * (len(story) - 1) + [True]
    assert told[-1].change is Change.FIXED


def test_a_flaky_success_names_what_had_failed() -> None:
    results = Deciders()
    results.ends(1, "failure", tasks=("lint", "test"))
    results.ends(1, "failure", attempt=2, tasks=("test", "e2e"))
    assert results.ends(1, "success", attempt=3).flaky_tasks == ("lint", "test", "e2e")


def test_what_is_allowed_to_fail_is_not_named() -> None:
    allowed = Task(id="1", name="nightly", status=Status.FAILURE, allowed=True)
    event = Deciders().add(run_event("failure", 1, tasks=(allowed,))).event
    assert (event.change, event.newly_failing) == (Change.BROKEN, ())


def test_the_run_is_flaky_until_it_runs_again() -> None:
    results = Deciders()
    results.ends(1, "failure")
    results.ends(1, "success", attempt=2)
    (run,) = results.runs.values()
    assert run.event.flaky
    run = results.add(run_event("running", 13, attempt=3, id="r1", number=1)).run
    assert run is not None
    assert not run.event.flaky


def test_a_result_told_once_more_means_what_it_meant() -> None:
    results = Deciders()
    results.ends(1, "failure", tasks=("lint",))
    results.ends(1, "success", attempt=2)
    run = results.add(run_event("success", 13, attempt=2, id="r1", number=1, title="Count retries once")).run
    assert run is not None
    assert (run.event.title, run.event.flaky, run.event.flaky_tasks) == ("Count retries once", True, ("lint",))
    results.ends(2, "failure", tasks=("test",))
    run = results.add(run_event("failure", 25, id="r2", number=2)).run
    assert run is not None
    assert run.event.newly_failing == ("test",)


def test_a_task_of_a_third_attempt_is_not_of_a_flaky_run() -> None:
    results = Deciders()
    results.ends(1, "failure", tasks=("lint",))
    results.ends(1, "success", attempt=2)
    run = results.add(task_event("9", "running", 13, attempt=3, id="r1")).run
    assert run is not None
    assert (run.event.flaky, run.event.flaky_tasks, run.event.newly_failing) == (False, (), ())


def test_a_row_whose_beginning_is_forgotten_is_not_flaky(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold, "TRACK_LENGTH", 2)
    results = Deciders()
    results.ends(1, "failure", sha="b")
    for number in (2, 3):
        results.ends(number, "failure", sha="a")
    assert not results.ends(4, "success", sha="a").flaky


def test_results_of_an_older_bridge_are_read_and_compared() -> None:
    old = b'{"key":"t","results":[{"order":[1.0,1],"status":"failure","run":"r1","at":"2026-01-01T09:00:00Z"}]}'
    track = codec.load(old, Track)
    event = run_event("success", 5, id="r1", number=1, attempt=2)
    run = fold.fold_run(event, None).run
    assert run is not None
    assert fold.fold_track(event, run.with_(attempt=2), track, "t")[0].flaky
    red = run_event("failure", 5, id="r2", number=2, tasks=(Task(id="1", name="lint", status=Status.FAILURE),))
    run = fold.fold_run(red, None).run
    assert run is not None
    told = fold.fold_track(red, run, track, "t")[0]
    assert (told.change, told.newly_failing) == (Change.STILL_FAILING, ())


# -- what a track keeps of it ------------------------------------------------------------------------------------------


def test_only_a_failure_keeps_its_commit_and_its_tasks() -> None:
    results = Deciders()
    results.ends(1, "success", sha="a")
    results.ends(2, "failure", sha="b", tasks=("lint", "lint"))
    (track,) = results.tracks.values()
    assert [(one.sha, one.failed) for one in track.results] == [(None, ()), ("b", ("lint",))]


def test_so_many_names_are_kept_and_each_so_long() -> None:
    results = Deciders()
    names = tuple(f"{number:03}" + "x" * 200 for number in range(fold.MAX_FAILED + 5))
    event = results.ends(1, "failure", tasks=names)
    (track,) = results.tracks.values()
    assert event.newly_failing == track.results[0].failed == tuple(name[:100] for name in names[: fold.MAX_FAILED])
    assert results.ends(2, "failure", tasks=("other",)).newly_failing == (), "it may have been among the others"


@st.composite
def _results(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Runs of one track in their order, each with its attempts."""
    found: list[dict[str, Any]] = []
    for number in range(1, draw(st.integers(2, 5)) + 1):
        sha = draw(st.sampled_from(["a", "b"]))
        for attempt in range(1, draw(st.integers(1, 2)) + 1):
            status = draw(st.sampled_from(["success", "failure", "error", "cancelled"]))
            tasks = draw(st.sets(st.sampled_from(["lint", "test", "e2e"]))) if status == "failure" else ()
            found.append({"number": number, "attempt": attempt, "status": status, "sha": sha, "tasks": tuple(tasks)})
    return found


def _arrive(results: Deciders, told: list[dict[str, Any]]) -> Event | None:
    event = None
    for one in told:
        event = results.ends(**one)
    return event


@settings(max_examples=150, deadline=None)
@given(told=_results(), data=st.data())
def test_the_newest_result_means_the_same_in_whatever_order_the_earlier_ones_came(
    told: list[dict[str, Any]], data: st.DataObject
) -> None:
    *earlier, last = told
    arrived = data.draw(st.permutations(earlier))
    # A first attempt that comes after the second says nothing any more: each run's own attempts stay in order.
    shuffled = list(arrived)
    for number in {one["number"] for one in earlier}:
        own = iter(sorted((one for one in earlier if one["number"] == number), key=lambda one: one["attempt"]))
        shuffled = [next(own) if one["number"] == number else one for one in shuffled]
    in_order, out_of_order = _arrive(Deciders(), told), _arrive(Deciders(), [*shuffled, last])
    assert in_order is not None
    assert out_of_order is not None
    assert in_order.with_(counted=None) == out_of_order.with_(counted=None)


# -- tasks -------------------------------------------------------------------------------------------------------------


def _job(run: int, name: str, status: str = "failure", minute: float = 1, **said: Any) -> Event:
    event = task_event(f"{run}/{name}", status, 10 * run + minute, name=name, id=f"r{run}", **said)
    return event.with_(run=RunRef(id=f"r{run}", number=run, attempt=said.get("attempt", 1)))


def test_a_task_fails_anew_unless_it_failed_in_the_newest_result_before_its_run() -> None:
    results = Deciders()
    assert results.add(_job(1, "lint")).event.newly_failing == ("lint",), "nothing was before"
    results.ends(1, "failure")
    assert results.add(_job(2, "lint")).event.newly_failing == ()
    assert results.add(_job(2, "test")).event.newly_failing == ("test",)
    results.ends(2, "failure")
    results.ends(3, "success")
    assert results.add(_job(4, "lint")).event.newly_failing == ("lint",)


def test_a_task_is_compared_at_the_place_of_its_run_also_when_later_ones_have_ended() -> None:
    results = Deciders()
    results.ends(1, "failure", tasks=("lint",))
    results.ends(2, "failure", tasks=("test",))
    results.ends(3, "success")
    late = results.add(_job(2, "lint", minute=5)).event
    assert late.newly_failing == ()
    assert results.add(_job(2, "e2e", minute=5)).event.newly_failing == ("e2e",)


def test_nothing_is_called_new_after_a_failure_of_which_no_task_is_known() -> None:
    results = Deciders()
    results.ends(1, "failure")
    assert results.add(_job(2, "lint")).event.newly_failing == ()


def test_a_task_that_comes_after_its_run_counts_for_the_next_comparison_and_is_shown() -> None:
    results = Deciders()
    results.ends(1, "success")
    results.ends(2, "failure", tasks=("test",))
    late = results.add(_job(2, "lint", minute=5))
    assert late.run is not None
    assert late.run.event.newly_failing == ("test", "lint"), "its living message names it as well"
    again = results.ends(3, "failure", tasks=("lint", "test", "e2e"))
    assert again.newly_failing == ("e2e",)


def test_a_task_told_twice_completes_a_result_once() -> None:
    results = Deciders()
    results.ends(1, "failure", tasks=("lint",))
    assert results.add(_job(1, "lint", minute=5)).track is None


def test_a_task_of_a_run_that_passed_leaves_its_result_as_it_is() -> None:
    results = Deciders()
    results.ends(1, "success")
    assert results.add(_job(1, "lint", minute=5)).track is None


@pytest.mark.parametrize("status", ["queued", "running", "success", "cancelled", "unknown"])
def test_only_a_task_that_failed_asks_for_the_track(status: str) -> None:
    results = Deciders()
    results.add(_job(1, "lint", status))
    results.add(_job(1, "test"))
    results.add(_job(1, "test", minute=2))
    assert len(results.asked) == 1, "and only where it is news"


def test_a_task_that_is_allowed_to_fail_asks_for_nothing() -> None:
    results = Deciders()
    event = _job(1, "lint")
    assert event.task is not None
    results.add(event.with_(task=event.task.with_(allowed=True)))
    assert results.asked == []


def test_a_rule_may_ask_for_tasks_that_fail_anew() -> None:
    rule = Rule(
        name="new",
        conditions=(condition("kind", "task"), condition("change", "newly_failing")),
        to=(Goal(destination="builds", mention=("author",), mention_when=("newly_failing",)),),
    )
    results = Deciders(rule)
    results.ends(1, "failure", tasks=("lint",))
    assert results.add(_job(2, "lint")).targets == ()
    (target,) = results.add(_job(2, "test")).targets
    assert target.mention == ("author",)


# -- rules -------------------------------------------------------------------------------------------------------------


def _rule(after: int = 1, *, flaky: str = "tell", **match: Any) -> Rule:
    return Rule(
        name="mine",
        conditions=tuple(condition(key, value) for key, value in match.items()),
        to=(Goal(destination="builds", mention=("author",)),),
        after=after,
        ignores_flaky=flaky == "ignore",
    )


def _result(status: str, change: str, **said: Any) -> Event:
    return run_event(status, 1, change=Change(change), **said)


PASSED_AGAIN = _result("success", "fixed", failures=1, flaky=True)


def test_for_a_rule_that_ignores_what_is_flaky_it_is_not_fixed() -> None:
    assert judge(_rule(change="fixed"), PASSED_AGAIN).matched
    told = judge(_rule(flaky="ignore", change=["broken", "fixed"]), PASSED_AGAIN)
    assert (told.matched, told.failed, told.saw) == (False, "flaky: ignore", "passed when run again")


def test_for_a_rule_that_ignores_what_is_flaky_it_is_a_success_like_others() -> None:
    assert judge(_rule(flaky="ignore", status="success"), PASSED_AGAIN).matched
    assert judge(_rule(flaky="ignore", change="still_passing"), PASSED_AGAIN).matched


def test_what_is_fixed_by_another_commit_is_told_though_flaky_is_ignored() -> None:
    assert judge(_rule(flaky="ignore", change="fixed"), _result("success", "fixed", failures=1)).matched


def test_the_next_failure_after_a_flaky_success_is_broken() -> None:
    results = Deciders(_rule(flaky="ignore", change=["broken", "fixed"]))
    told = [
        results.add(run_event(status, minute, attempt=attempt, number=number, id=str(number), sha=str(number)))
        for minute, (number, attempt, status) in enumerate(
            [(1, 1, "failure"), (1, 2, "success"), (2, 1, "failure"), (3, 1, "success")]
        )
    ]
    assert [len(one.targets) for one in told] == [1, 0, 1, 1]
    assert [one.event.change for one in told] == [Change.BROKEN, Change.FIXED, Change.BROKEN, Change.FIXED]


def test_what_waits_is_dropped_when_its_run_passes_again() -> None:
    results = Deciders(_rule(flaky="ignore", change=["broken", "fixed"]))
    first = results.add(run_event("failure", 1))
    (waits,) = first.targets
    assert waits.quiet_if_flaky
    assert not unsaid(waits, first.event, first.run)
    again = results.add(run_event("success", 2, attempt=2)).run
    assert unsaid(waits, first.event, again)
    assert not unsaid(waits.with_(quiet_if_flaky=False), first.event, again)
    assert not unsaid(waits, run_event("failure", 1, id="7002"), again), "of another run that is told with it"
    assert not unsaid(waits, first.event, None)


def test_a_message_that_another_rule_wants_told_is_not_dropped() -> None:
    event = run_event("failure", 1, change=Change.BROKEN)
    quiet, loud = _rule(flaky="ignore"), _rule()
    assert [target.quiet_if_flaky for target in route([quiet, quiet], event).targets] == [True]
    assert [target.quiet_if_flaky for target in route([quiet, loud], event).targets] == [False]


def test_before_its_row_a_rule_hears_of_no_failure_however_it_asks() -> None:
    second = _result("failure", "still_failing", failures=2)
    for rule in (_rule(3), _rule(3, status="failure"), _rule(3, change=["broken", "still_failing"])):
        told = judge(rule, second)
        assert (told.matched, told.failed, told.saw) == (False, "after: 3 failures in a row", "the 2nd")


def test_the_failure_that_makes_the_row_is_broken_for_the_rule_and_mentions() -> None:
    third = _result("failure", "still_failing", failures=3)
    assert [target.mention for target in route([_rule(3, change="broken")], third).targets] == [("author",)]
    assert not judge(_rule(3, change="still_failing"), third).matched
    assert judge(_rule(3, change="newly_failing"), third).matched
    fourth = third.with_(failures=4)
    assert [target.mention for target in route([_rule(3)], fourth).targets] == [()]


def test_what_is_fixed_before_its_row_was_told_says_after_how_many() -> None:
    told = judge(_rule(3, change="fixed"), _result("success", "fixed", failures=2))
    assert (told.matched, told.failed, told.saw) == (False, "after: 3 failures in a row", "fixed after 2")


def test_what_has_no_change_is_told_as_ever_by_a_rule_with_after() -> None:
    assert judge(_rule(3, status="running"), run_event("running", 1)).matched
    assert judge(_rule(3, kind="task"), task_event("1", "failure", 1)).matched


def test_an_if_sees_what_the_rule_sees() -> None:
    rule = Rule(name="mine", expression=expression("change == 'broken' and failures == 3"), after=3)
    assert judge(rule, _result("failure", "still_failing", failures=3)).matched
    names = Rule(name="mine", expression=expression("flaky and 'lint' in flaky_tasks and not newly_failing"))
    assert judge(names, PASSED_AGAIN.with_(flaky_tasks=("lint",))).matched


def test_another_condition_keeps_its_own_words() -> None:
    assert judge(_rule(3, branch="docs"), _result("failure", "still_failing", failures=2)).failed == "branch: docs"
    fork = PASSED_AGAIN.with_(fork=True)
    assert judge(_rule(flaky="ignore", branch="main"), fork).failed == "branch: main"


def test_a_deployment_can_be_flaky_too() -> None:
    results = Deciders()
    said = {"kind": Kind.DEPLOYMENT, "environment": "staging", "sha": "a"}
    results.add(run_event("failure", 1, id="d1", **said))
    assert results.add(run_event("success", 2, id="d2", number=42, **said)).event.flaky


def test_a_failed_task_without_a_run_on_a_track_takes_no_harm() -> None:
    event = task_event("1", "failure", 1)
    run = fold.fold_run(event, None).run
    assert run is not None
    other = Result(order=(1.0, 1), status=Status.SUCCESS, run="x", at=clock(0), line="pull/7")
    told, _, track = fold.fold_failing_task(event, run, Track(key="t", results=(other,)))
    assert (told.newly_failing, track) == (("1",), None)
    assert fold.fold_failing_task(event.with_(task=None), run, None)[2] is None
