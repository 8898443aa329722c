"""Is the time of a schedule the one that the clocks on the wall show, also on the two odd days of a year?"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.schedule import (
    EVERY_DAY,
    WORKDAYS,
    Schedule,
    last_time,
    next_time,
    parse_clock,
    parse_days,
    time_before,
)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def oslo(at: str, days: frozenset[int] = EVERY_DAY) -> Schedule:
    return Schedule(days, time.fromisoformat(at), "Europe/Oslo")


@pytest.mark.parametrize(
    ("now", "following"),
    [
        ("2026-01-05T07:59:59", "2026-01-05T08:00"),
        ("2026-01-05T08:00", "2026-01-06T08:00"),  # in winter 09:00 in Oslo is 08:00
        ("2026-03-28T08:00", "2026-03-29T07:00"),  # in the night the clocks went forward
        ("2026-10-24T07:00", "2026-10-25T08:00"),  # and back
    ],
)
def test_nine_is_nine_on_the_wall(now: str, following: str) -> None:
    assert next_time(oslo("09:00"), utc(now)) == utc(following)


def test_a_time_that_the_clocks_leave_out_comes_once_when_they_have_passed_it() -> None:
    at = next_time(oslo("02:30"), utc("2026-03-28T12:00"))
    assert at == utc("2026-03-29T01:30"), "half past three by the new time"
    assert next_time(oslo("02:30"), at) == utc("2026-03-30T00:30")


def test_a_time_that_the_clocks_show_twice_comes_once_the_first_time() -> None:
    at = next_time(oslo("02:30"), utc("2026-10-24T12:00"))
    assert at == utc("2026-10-25T00:30"), "still summer time"
    assert next_time(oslo("02:30"), at) == utc("2026-10-26T01:30")


def test_on_mondays_means_the_monday_of_that_zone() -> None:
    monday = Schedule(frozenset({0}), time(9), "Pacific/Auckland")
    assert next_time(monday, utc("2026-06-20T00:00")) == utc("2026-06-21T21:00"), "a Sunday elsewhere"
    assert time_before(monday, utc("2026-06-21T21:00")) == utc("2026-06-14T21:00")


def test_the_newest_moment_is_the_one_that_was_missed() -> None:
    assert last_time(oslo("09:00"), utc("2026-01-08T07:59")) == utc("2026-01-07T08:00")
    assert last_time(oslo("09:00"), utc("2026-01-08T08:00")) == utc("2026-01-08T08:00")


@given(
    days=st.frozensets(st.integers(0, 6), min_size=1),
    minute=st.integers(0, 1_439),
    zone=st.sampled_from(["UTC", "Europe/Oslo", "America/St_Johns", "Pacific/Apia", "Australia/Lord_Howe"]),
    seconds=st.integers(0, 20 * 365 * 24 * 3_600),
)
def test_every_moment_is_found_from_both_sides(days: frozenset[int], minute: int, zone: str, seconds: int) -> None:
    now = utc("2011-01-01") + timedelta(seconds=seconds)
    schedule = Schedule(days, time(*divmod(minute, 60)), zone)
    last, following = last_time(schedule, now), next_time(schedule, now)
    assert last <= now < following <= now + timedelta(days=15)
    assert last_time(schedule, following) == following
    assert time_before(schedule, following) == last


@pytest.mark.parametrize(
    ("words", "days"),
    [
        (["day"], EVERY_DAY),
        (["week"], {0}),
        (["weekday"], {0, 1, 2, 3, 4}),
        (["mon-fri"], {0, 1, 2, 3, 4}),
        (["Sat - mon"], {5, 6, 0}),
        (["tuesday", "thu"], {1, 3}),
    ],
)
def test_days_are_written_as_people_do(words: list[str], days: set[int]) -> None:
    assert parse_days(words) == days


@pytest.mark.parametrize("word", ["", "wensday", "mon-", "-", "mon-fri-sun", "monthly", "su nday", "m"])
def test_what_is_no_day_is_told(word: str) -> None:
    with pytest.raises(ValueError, match="is no day, write day, weekday, week, mon, mon-fri"):
        parse_days([word])


@pytest.mark.parametrize("text", ["9", "24:00", "09:60", "9.30", "09:00:00", "٠٩:٠٠"])
def test_what_is_no_time_of_day_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="is no time of day, write for example 09:00"):
        parse_clock(text)


def test_a_time_of_day_may_have_one_digit() -> None:
    assert parse_clock("7:05") == time(7, 5)


def test_a_schedule_says_when() -> None:
    assert str(oslo("09:00")) == "every day at 09:00 (Europe/Oslo)"
    assert str(oslo("17:30", frozenset({4, 0}))) == "every mon, fri at 17:30 (Europe/Oslo)"
    assert str(oslo("17:30", WORKDAYS)) == "every weekday at 17:30 (Europe/Oslo)"
    assert str(oslo("17:30", frozenset({0}))) == "every mon at 17:30 (Europe/Oslo)"
