"""When the turn of a message has come: what waits, how long, and what is said together."""

from __future__ import annotations

from datetime import timedelta

from bridge.event import Target
from bridge.turn import newest_of_each, ready_at, waits_until
from tests import arrivals
from tests.arrivals import after

NOW = Target(destination="builds", template="run")
SETTLING = NOW.with_(wait=20.0, gather=True)


def test_what_has_nothing_to_wait_for_is_said_at_once() -> None:
    assert waits_until(NOW, after(0), after(0)) is None
    assert ready_at(NOW, after(0)) == after(0)


def test_what_settles_waits_from_when_it_is_owed() -> None:
    assert waits_until(SETTLING, after(0), after(19)) == after(20)
    assert waits_until(SETTLING, after(0), after(20)) is None


def test_what_is_held_waits_until_its_time_whenever_it_came() -> None:
    held = NOW.with_(until=after(600))
    assert waits_until(held, after(0), after(599)) == after(600)
    assert waits_until(held, after(0), after(600)) is None
    assert ready_at(held.with_(wait=700.0), after(0)) == after(700)


def test_nobody_waits_for_a_clock_that_was_set_back() -> None:
    assert waits_until(SETTLING, after(7_200), after(0)) is None
    # A little ahead is how machines differ: then it waits no longer than it would have.
    assert waits_until(SETTLING, after(5), after(0)) == after(20)


def test_of_each_run_and_of_each_task_only_the_newest_is_told() -> None:
    runs = [arrivals.event(1, "queued"), arrivals.event(2, "running"), arrivals.event(1, "failure")]
    assert [one.title for one in newest_of_each(runs)] == ["run 1 failure", "run 2 running"]
    tasks = [
        arrivals.task(1, "lint", "running"),
        arrivals.task(1, "test", "failure"),
        arrivals.task(1, "lint", "failure"),
    ]
    assert [(one.task.name, one.status) for one in newest_of_each(tasks) if one.task] == [
        ("lint", "failure"),
        ("test", "failure"),
    ]


def test_a_living_message_gathers_nothing_for_it_shows_the_newest_state() -> None:
    assert SETTLING.gathers
    assert not SETTLING.with_(live=True).gathers


def test_when_it_is_due_does_not_depend_on_how_it_is_written_down() -> None:
    assert ready_at(SETTLING.with_(until=after(5)), after(0)) - after(0) == timedelta(seconds=20)
