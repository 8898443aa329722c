"""After a try: when again, or never? Pure, so every case is a line."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import Dead, DeliveryError, Gone, RateLimited, Rejected, Transient, Unsure
from bridge.retry import LONGEST_DELAY, LONGEST_PAUSE, LONGEST_REST, Pace, Policy, Verdict, backoff, cause, decide, rest
from tests.arrivals import NOON, after

DAY = Policy(timedelta(hours=24))
DROP = Policy(timedelta(hours=24), when_unsure="drop")


def judged(error: DeliveryError, policy: Policy = DAY, **more: Any) -> Verdict:
    given = {"now": NOON, "created_at": NOON, "attempts": 0, "edit": False, "plain": False, "dice": 0.0} | more
    return decide(error, policy=policy, **given)


def test_a_rate_limit_does_not_use_up_an_attempt() -> None:
    verdict = judged(RateLimited("wait", 20), Policy(timedelta(hours=24), attempts=1))
    assert (verdict.state, verdict.counts, verdict.due_at) == ("pending", False, after(20))


@pytest.mark.parametrize("seconds", [1e9, 1e300, -5, 0])
def test_a_rate_limit_never_waits_longer_than_the_longest_pause(seconds: float) -> None:
    due_at = judged(RateLimited("wait", seconds)).due_at
    assert due_at is not None
    assert NOON <= due_at <= NOON + LONGEST_PAUSE


def test_a_rate_limit_that_never_ends_is_given_up_too() -> None:
    verdict = judged(RateLimited("wait", 20), created_at=NOON - timedelta(hours=24))
    assert (verdict.state, verdict.outcome) == ("dead", "limited")


@pytest.mark.parametrize("error", [Transient("down"), Unsure("lost")])
def test_what_may_work_later_counts_and_is_tried_later(error: DeliveryError) -> None:
    verdict = judged(error, attempts=3)
    assert (verdict.state, verdict.counts, verdict.due_at) == ("pending", True, after(4))


def test_the_last_attempt_is_the_last() -> None:
    three = Policy(timedelta(hours=24), attempts=3)
    assert [judged(Transient("down"), three, attempts=done).state for done in range(4)] == [
        "pending",
        "pending",
        "dead",
        "dead",
    ]


def test_nothing_is_tried_after_give_up_after() -> None:
    late = {"created_at": NOON - timedelta(hours=24), "attempts": 5}
    assert judged(Transient("down"), **late).state == "dead"
    assert judged(Unsure("lost"), **late).state == "dead"
    assert "given up after 1 day" in judged(Transient("down"), **late).text


def test_a_bad_destination_is_dead_at_once() -> None:
    assert judged(Dead("revoked")) == Verdict("dead", "dead", "revoked")


def test_a_refused_message_goes_plain_once_and_then_is_dead() -> None:
    first = judged(Rejected("bad block"))
    assert (first.state, first.plain, first.counts, first.due_at) == ("pending", True, False, NOON)
    assert judged(Rejected("bad block"), plain=True).state == "dead"


def test_a_message_that_is_gone_is_forgotten_and_posted_anew() -> None:
    verdict = judged(Gone("deleted"), edit=True)
    assert (verdict.state, verdict.forget, verdict.counts) == ("pending", True, False)


def test_a_post_that_finds_its_place_gone_again_and_again_is_dead() -> None:
    assert [judged(Gone("gone"), attempts=done).state for done in range(4)] == ["pending"] * 3 + ["dead"]
    assert judged(Gone("gone")).forget


def test_what_may_have_arrived_is_dropped_only_where_asked_and_never_for_an_edit() -> None:
    assert judged(Unsure("lost"), DROP).state == "dropped"
    assert judged(Unsure("lost"), DROP, edit=True).state == "pending"
    assert judged(Unsure("lost"), DAY).state == "pending"
    assert judged(Transient("down"), DROP).state == "pending"


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_backoff_doubles_from_a_second_and_half_of_it_is_chance(attempts: int, dice: float) -> None:
    waits = backoff(attempts, dice)
    whole = min(LONGEST_DELAY, timedelta(seconds=2.0 ** min(attempts, 30)))
    assert whole / 2 <= waits <= whole


@given(st.integers(1, 10_000))
def test_a_destination_rests_longer_the_longer_it_is_down_but_not_for_ever(failures: int) -> None:
    assert rest(failures) <= rest(failures + 1) <= LONGEST_REST


@given(
    st.floats(0.01, 100),
    st.integers(1, 20),
    st.lists(st.floats(0, 10), max_size=60),
)
def test_a_pace_allows_its_burst_and_then_its_rate(per_second: float, burst: int, steps: list[float]) -> None:
    pace = Pace(per_second, burst)
    now, taken = 0.0, 0
    for step in steps:
        now += step
        if pace.wait(now) == 0:
            pace.take(now)
            taken += 1
        assert taken <= burst + now * per_second + 1e-6


def test_a_pace_tells_how_long_to_wait() -> None:
    pace = Pace(0.5, 2)
    assert pace.wait(100) == 0
    pace.take(100)
    pace.take(100)
    assert pace.wait(100) == pytest.approx(2)
    assert pace.wait(101) == pytest.approx(1)
    assert pace.wait(102) == 0


def test_a_pause_holds_whatever_the_bucket_has_and_is_not_shortened() -> None:
    pace = Pace(10, 10)
    pace.pause(30)
    pace.pause(20)
    assert pace.wait(5) == 25
    assert pace.wait(30) == 0


def test_a_clock_that_stands_or_goes_back_gives_nothing_for_free() -> None:
    pace = Pace(1, 1)
    pace.take(10)
    assert pace.wait(5) == pytest.approx(1)
    assert not math.isinf(pace.wait(0))


def test_every_error_has_its_word_in_the_metrics() -> None:
    errors = [RateLimited("", 1), Dead(), Rejected(), Gone(), Unsure(), Transient(), DeliveryError()]
    words = ["rateLimited", "clientError", "clientError", "clientError", "unsure", "serverError", "other"]
    assert [cause(error) for error in errors] == words
