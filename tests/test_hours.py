"""`hours`: which moments are within them, when they begin again, and what becomes of what is wanted outside."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bridge import hours
from bridge.event import Change, Event, Kind, Status
from bridge.hours import Hours
from bridge.receive import Deciding
from bridge.route import Goal, Rule, condition, route
from tests import arrivals

OSLO = ZoneInfo("Europe/Oslo")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")  # half an hour of summer time


def made(days: str = "mon-sun", start: str = "08:00", end: str = "18:00", **more: Any) -> Hours:
    return Hours(days=hours.days(days), start=hours.minutes(start), end=hours.minutes(end), **({"zone": OSLO} | more))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


WEEK = made("mon-fri")
NIGHT = made("mon-fri", "22:00", "06:00")


@pytest.mark.parametrize(
    ("when", "window", "within"),
    [
        ("2026-01-05 07:00", WEEK, True),  # Monday 08:00
        ("2026-01-05 06:59:59", WEEK, False),
        ("2026-01-05 17:00", WEEK, False),  # 18:00: the end is outside
        ("2026-01-05 16:59:59", WEEK, True),
        ("2026-07-06 06:00", WEEK, True),  # in summer 08:00 comes an hour earlier
        ("2026-01-10 11:00", WEEK, False),  # Saturday
        ("2026-01-09 21:30", NIGHT, True),  # Friday 22:30
        ("2026-01-10 04:30", NIGHT, True),  # Saturday 05:30: the night of Friday
        ("2026-01-10 21:30", NIGHT, False),  # Saturday 22:30
        ("2026-01-05 04:30", NIGHT, False),  # Monday 05:30: the night of Sunday
        ("2026-01-10 11:00", made("mon-sun", "00:00", "24:00"), True),
        ("2026-01-10 11:00", made("sat", "12:00", "12:00"), True),  # a whole day from noon
        ("2026-01-11 10:59", made("sat", "12:00", "12:00"), True),
        ("2026-01-11 11:00", made("sat", "12:00", "12:00"), False),
    ],
)
def test_the_hours_are_those_of_the_zone_and_belong_to_the_day_on_which_they_begin(
    when: str, window: Hours, within: bool
) -> None:
    assert window.holds(utc(when)) is within


@pytest.mark.parametrize(
    ("when", "window", "begins"),
    [
        ("2026-01-09 17:00", WEEK, "2026-01-12 07:00"),  # over the weekend
        ("2026-01-12 06:00", WEEK, "2026-01-12 07:00"),
        ("2026-03-27 20:00", WEEK, "2026-03-30 06:00"),  # the weekend on which summer time begins
        ("2026-10-23 20:00", WEEK, "2026-10-26 07:00"),  # and on which it ends
        # Clocks leap from 02:00 to 03:00: what begins at 02:30 begins with the leap.
        ("2026-03-28 23:00", made("sun", "02:30", "05:00"), "2026-03-29 01:00"),
        ("2026-10-03 14:00", made("sun", "02:10", "05:00", zone=LORD_HOWE), "2026-10-03 15:30"),
        # They go back from 03:00 to 02:00: it begins at the first of the two.
        ("2026-10-24 23:00", made("sun", "02:30", "05:00"), "2026-10-25 00:30"),
        # A window that is leapt over whole does not happen that week.
        ("2026-03-28 23:00", made("sun", "02:10", "02:50"), "2026-04-05 00:10"),
    ],
)
def test_they_begin_when_clocks_in_the_zone_show_it(when: str, window: Hours, begins: str) -> None:
    assert window.begins(utc(when)) == utc(begins)
    assert window.holds(utc(begins))
    assert not window.holds(utc(begins) - timedelta(seconds=1))


def _length(window: Hours, after: str) -> timedelta:
    at = begins = window.begins(utc(after))
    while window.holds(at):
        at += timedelta(minutes=10)
    return at - begins


def test_a_night_over_the_hour_that_comes_twice_has_both() -> None:
    sunday = made("sat", "22:00", "06:00")
    assert _length(sunday, "2026-10-24 10:00") == timedelta(hours=9)
    assert _length(sunday, "2026-03-28 10:00") == timedelta(hours=7)
    assert _length(sunday, "2026-05-02 10:00") == timedelta(hours=8)
    assert _length(made("sat", "22:00", "02:30"), "2026-10-24 10:00") == timedelta(hours=5, minutes=30)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("mon-fri", {0, 1, 2, 3, 4}), ("mon, wed", {0, 2}), ("fri-mon", {4, 5, 6, 0}), ("Sunday", {6}), ("tue-tue", {1})],
)
def test_days_are_written_as_people_do(text: str, numbers: set[int]) -> None:
    assert hours.days(text) == numbers


@pytest.mark.parametrize(
    ("read", "text"),
    [
        *((hours.days, text) for text in ("mon-fry", "", "mon-")),
        *((hours.minutes, text) for text in ("8", "24:30")),
        *((hours.zone, text) for text in ("Europe", "../etc", "\0", "x" * 5_000)),
    ],
)
def test_what_is_no_day_time_or_zone_says_what_would_be(read: Any, text: str) -> None:
    with pytest.raises(ValueError, match="write for example"):
        read(text)


def test_a_machine_without_time_zones_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hours, "available_timezones", set)
    with pytest.raises(ValueError, match="tzdata"):
        hours.zone("Europe/Atlantis")


# -- in a rule ---------------------------------------------------------------------------------------------------------

SATURDAY, MONDAY = utc("2026-01-10 11:00"), utc("2026-01-12 07:00")


def event(at: datetime = SATURDAY, **said: Any) -> Event:
    return arrivals.event(7, "failure", change=Change.BROKEN, received_at=at, **said)


def rule(outside: Any, **more: Any) -> Rule:
    goal = Goal(destination="builds", **({"mention": ("octocat",)} | more))
    named = condition("kind", ["pipeline", "task"])
    return Rule(name=f"{outside} it", conditions=(named,), to=(goal,), hours=made("mon-fri", outside=outside))


def test_within_the_hours_a_rule_speaks_as_ever() -> None:
    for outside in hours.OUTSIDE:
        (target,) = route([rule(outside)], event(MONDAY)).targets
        assert (target.until, target.queue, target.template, target.why) == (None, "", "run", "")


def test_what_is_dropped_was_not_wanted_and_explain_says_why() -> None:
    routing = route([rule("drop"), rule("hold")], event())
    assert str(routing.verdicts[0]) == (
        "drop it: no: hours: mon, tue, wed, thu, fri, 08:00 to 18:00 Europe/Oslo; saw Sat 12:00 Europe/Oslo"
    )
    assert routing.matched == ("hold it",)


def test_what_is_held_goes_out_one_by_one_when_they_begin_beside_what_goes_out_now() -> None:
    (target,) = route([rule("hold")], event()).targets
    assert (target.until, target.queue, target.gathers) == (MONDAY, "run:held", False)
    assert (target.template, target.mention) == ("run", ("octocat",))
    assert target.why == "held until Mon 08:00 Europe/Oslo"


def test_what_is_collected_is_one_message_for_all_runs_and_names_nobody() -> None:
    first, second = (route([rule("digest")], event(pipeline=name)).targets[0] for name in ("build", "docs"))
    assert (first.until, first.template, first.gathers, first.mention) == (MONDAY, "collected", True, ())
    assert (first.key, first.queue) == (second.key, second.queue) == ("builds||collected", second.queue)
    assert first.why == "collected until Mon 08:00 Europe/Oslo"


def test_what_another_rule_wants_at_once_is_not_held() -> None:
    now = Rule(name="now", to=(Goal(destination="builds"),))
    (target,) = route([rule("hold"), now], event()).targets
    assert (target.until, target.queue, target.rules) == (None, "", ("hold it", "now"))


def test_a_living_message_that_was_opened_within_the_hours_is_edited_out_of_them() -> None:
    decider = Deciding([rule("hold", live=True, mention=())])
    first = decider.first(
        arrivals.event(7, "running", received_at=utc("2026-01-09 16:00")), None, repeat=False, sent_at=None
    )
    opened = decider.told(first, None, None)
    assert [one.until for one in opened.targets] == [None]
    then = decider.first(arrivals.event(7, "failure", received_at=SATURDAY), opened.run, repeat=False, sent_at=None)
    assert [(one.until, one.queue) for one in decider.told(then, None, None).targets] == [(None, "")]


def test_one_that_would_begin_out_of_them_begins_and_is_edited_when_they_begin() -> None:
    decider = Deciding([rule("hold", live=True, mention=())])
    run = None
    for word in ("running", "failure"):
        first = decider.first(arrivals.event(7, word, received_at=SATURDAY), run, repeat=False, sent_at=None)
        decision = decider.told(first, None, None)
        run = decision.run
        assert [(one.until, one.queue) for one in decision.targets] == [(MONDAY, "run:held")]


def test_what_has_no_time_is_told_as_ever() -> None:
    bare = Event(source="a", type="github", kind=Kind.PIPELINE, status=Status.FAILURE)
    assert [one.until for one in route([rule("drop")], bare).targets] == [None]
