"""Does the reconciliation see what it is there for? Small books, each with one thing wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.deliver import AT_ONCE
from tests.chaos.faults import Fault
from tests.chaos.fleet import Ended
from tests.chaos.reconcile import Causes, Entry, Sums, each, endings, living, logs, shown
from tests.chaos.senders import Promises
from tests.running import GITHUB_SECRET

RUN = 24
CUT = Fault("answers cut off", 9.5, 10.5)
KILL = Fault("killed", 10.0, 10.0, "all-1")


def post(at: float, step: int, *, ts: int = 0, edit: bool = False, run: int = RUN) -> Entry:
    return Entry(at, edit, ts, run, step)


def problems_of_each(*entries: Entry, faults: tuple[Fault, ...] = (), place: str = "each-0") -> list[str]:
    sums = Sums()
    each(place, list(entries), Causes(faults), sums)
    return [problem.partition(":")[0] for problem in sums.problems]


def problems_of_living(*entries: Entry, last: int, faults: tuple[Fault, ...] = ()) -> list[str]:
    sums = Sums()
    living("living-0", list(entries), Promises(last={RUN: last}), Causes(faults), sums)
    return [problem.partition(":")[0] for problem in sums.problems]


def test_steps_in_order_are_fine() -> None:
    assert problems_of_each(post(1, 1), post(2, 2), post(3, 3)) == []


def test_a_step_that_overtakes_is_seen() -> None:
    assert problems_of_each(post(1, 2), post(2, 1)) == ["order"]


def test_a_copy_without_a_cause_is_seen() -> None:
    assert problems_of_each(post(10, 1), post(11, 1)) == ["twice without a cause"]
    assert problems_of_each(post(20, 1), post(21, 1), faults=(CUT, KILL)) == ["twice without a cause"]


def test_a_copy_whose_answer_was_cut_off_is_explained() -> None:
    assert problems_of_each(post(10, 1), post(11, 1), faults=(CUT,)) == []


def test_a_kill_explains_no_more_than_one_process_has_under_way() -> None:
    entries = [post(9.9 + copy, 1, run=RUN + number * 24) for number in range(AT_ONCE + 1) for copy in (0, 1)]
    assert problems_of_each(*entries, faults=(KILL,)) == ["twice without a cause"]
    assert problems_of_each(*entries[:-2], faults=(KILL,)) == []


def test_a_copy_after_a_later_step_is_only_explained_by_a_lost_lease() -> None:
    entries = post(10, 1), post(11, 2), post(12, 1)
    assert problems_of_each(*entries, faults=(CUT,)) == ["late copy"]
    assert problems_of_each(*entries, faults=(Fault("worker stopped", 9.5, 15, "worker-3"),)) == []


def test_dropping_never_tells_twice_whatever_happens() -> None:
    assert problems_of_each(post(10, 1), post(11, 1), faults=(CUT,), place="drop") == ["twice"]


def test_an_edit_to_an_older_state_is_seen() -> None:
    entries = post(1, 1), post(2, 3, edit=True), post(3, 2, edit=True), post(4, 6, edit=True)
    assert problems_of_living(*entries, last=6) == ["backwards"]


def test_a_message_that_stays_behind_is_seen() -> None:
    assert problems_of_living(post(1, 1), post(2, 5, edit=True), last=6) == ["stale"]
    assert problems_of_living(post(1, 1), post(2, 6, edit=True), last=6) == []


def test_a_second_living_message_without_a_cause_is_seen() -> None:
    assert problems_of_living(post(10, 6), post(11, 6, ts=1), last=6) == ["twice without a cause"]
    assert problems_of_living(post(10, 6), post(11, 6, ts=1), last=6, faults=(KILL,)) == []


@pytest.mark.parametrize(("place", "state"), [("each-0", "done"), ("living-0", "done"), ("living-0", "folded")])
def test_what_is_called_delivered_and_nobody_saw_is_lost(place: str, state: str) -> None:
    sums = Sums()
    shown({(place, RUN, 2): state, (place, RUN, 1): state}, {place: [post(1, 1)]}, sums)
    assert sums.lost == 1


def test_what_was_never_owed_and_is_shown_is_seen() -> None:
    sums = Sums()
    shown({}, {"each-0": [post(1, 1)]}, sums)
    assert sums.problems == [f"invented message: r{RUN}s1e at each-0"]


def test_tracebacks_bugs_and_secrets_in_a_log_are_seen(tmp_path: Path) -> None:
    (tmp_path / "all-1.txt").write_text(f"Traceback (most recent call last)\nfine\nkey {GITHUB_SECRET}\ndelivery.bug\n")
    sums = Sums()
    logs(tmp_path, sums)
    assert [problem.partition(":")[0] for problem in sums.problems] == ["log", "secret", "log"]


def test_a_process_may_only_end_while_what_it_needs_is_away() -> None:
    away = Fault("database restarted", 10, 12)
    for ended, problems in ((Ended("web-1", 11, 1), 0), (Ended("web-1", 30, 1), 1), (Ended("web-1", 11, -11), 1)):
        sums = Sums()
        endings([ended], [away], sums)
        assert len(sums.problems) == problems


def test_only_after_slow_answers_a_broken_connection_explains_what_was_taken_long_before() -> None:
    slow, refused = Fault("network slow", 3.8, 6.2), Fault("network refused", 6.2, 8.5)
    assert Causes([slow, refused]).of(5.9, "builds") == "network refused"
    assert Causes([refused]).of(5.9, "builds") is None
