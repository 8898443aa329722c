"""Durations, rates and sizes as people write them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.units import Rate, parse_duration, parse_rate, parse_size, span


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("20s", 20),
        ("5m", 300),
        ("5min", 300),
        ("5 min", 300),
        ("24h", 86400),
        ("7d", 7 * 86400),
        ("2w", 14 * 86400),
        ("1h30m", 5400),
        ("1h 30min", 5400),
        ("1.5h", 5400),
        ("250ms", 0.25),
        ("0s", 0),
        (" 20s ", 20),
    ],
)
def test_a_duration(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)
    assert parse_duration(timedelta(seconds=seconds)) == timedelta(seconds=seconds)


@pytest.mark.parametrize("value", ["", "20", 20, "s", "-5m", "5 years", "1h x", "1h, 2m", None, True, "5M"])
def test_what_is_no_duration_is_refused_with_an_example(value: Any) -> None:
    with pytest.raises(ValueError, match="write for example 20s, 5m or 24h"):
        parse_duration(value)


@pytest.mark.parametrize("text", ["9" * 12 + "w", "9" * 400 + "s"])
def test_a_duration_that_no_calendar_holds_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="too long"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "per_second"),
    [("1/s", 1), ("20/min", 1 / 3), ("50/m", 50 / 60), ("0.5/s", 0.5), ("3600/hour", 1), ("1 / h", 1 / 3600)],
)
def test_a_rate(text: str, per_second: float) -> None:
    assert parse_rate(text) == Rate(pytest.approx(per_second))
    assert parse_rate(Rate(1.0)) == Rate(1.0)
    assert parse_rate(None) is None


@pytest.mark.parametrize("value", ["", "1", "0/s", "-1/s", "1/day", "x/s", 5, True])
def test_what_is_no_rate_is_refused_with_an_example(value: Any) -> None:
    with pytest.raises(ValueError, match="write for example 1/s or 20/min"):
        parse_rate(value)


@pytest.mark.parametrize(
    ("text", "size"), [("25MiB", 25 * 1024**2), ("25mb", 25_000_000), ("1.5 KiB", 1536), ("10B", 10), (4096, 4096)]
)
def test_a_size(text: Any, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("value", ["", "25", "MiB", "-1KB", "1TB", True, None])
def test_what_is_no_size_is_refused_with_an_example(value: Any) -> None:
    with pytest.raises(ValueError, match="write for example 25MiB"):
        parse_size(value)


def test_a_size_beyond_all_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="too large"):
        parse_size("9" * 400 + "MiB")


@given(st.text(max_size=12) | st.integers() | st.none() | st.floats())
def test_any_value_is_read_or_refused_in_words(value: Any) -> None:
    for parse in (parse_duration, parse_rate, parse_size):
        try:
            parse(value)
        except ValueError as error:
            assert str(error)  # noqa: PT017 - either is right


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (-3, "0 s"),
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (134, "2 min 14 s"),
        (3599.7, "1 h"),
        (3600, "1 h"),
        (3 * 3600 + 300, "3 h 5 min"),
        (86400, "1 d"),
        (86400 + 5 * 3600, "1 d 5 h"),
        (9 * 86400 + 5 * 3600, "9 d"),
    ],
)
def test_a_duration_as_people_say_it(seconds: float, words: str) -> None:
    assert span(timedelta(seconds=seconds)) == words
