"""When is it time? The moments of "on these days, at 09:00 by the clocks of Oslo", with daylight saving right.

A time that the clocks of that day leave out is told when they have passed it; one that they show twice, the first time:
each day has exactly one moment. Pure: never looks at the clock. The zones are those of the machine.
https://docs.python.org/3/library/zoneinfo.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WORDS = {"day": "mon-sun", "weekday": "mon-fri", "week": "mon"}
EVERY_DAY = frozenset(range(7))
WORKDAYS = frozenset(range(5))
_LOOK = 8  # days; the same weekday comes again within seven, and a zone may leave one out


@dataclass(frozen=True, slots=True)
class Schedule:
    """`at` this time of the clocks of `zone`, on these `days` of the week: 0 is Monday."""

    days: frozenset[int] = EVERY_DAY
    at: time = time(9)
    zone: str = "UTC"

    def __str__(self) -> str:
        names = (DAYS[day] for day in sorted(self.days))
        word = {EVERY_DAY: "day", WORKDAYS: "weekday"}.get(self.days) or ", ".join(names)
        return f"every {word} at {self.at:%H:%M} ({self.zone})"


def next_time(schedule: Schedule, now: datetime) -> datetime:
    """Return the first moment after `now`, in UTC."""
    return next(moment for moment in _moments(schedule, now, range(-1, _LOOK + 1)) if moment > now)


def last_time(schedule: Schedule, now: datetime) -> datetime:
    """Return the newest moment that is not after `now`, in UTC."""
    return next(moment for moment in _moments(schedule, now, range(1, -_LOOK - 1, -1)) if moment <= now)


def time_before(schedule: Schedule, moment: datetime) -> datetime:
    """Return the moment before one of the schedule's own: when the period began that ends with it."""
    return last_time(schedule, moment - timedelta(microseconds=1))


def times_between(schedule: Schedule, after: datetime, until: datetime) -> Iterator[datetime]:
    """Yield the moments after one time and not after the other, in UTC."""
    moment = next_time(schedule, after)
    while moment <= until:
        yield moment
        moment = next_time(schedule, moment)


def _moments(schedule: Schedule, now: datetime, days: Iterable[int]) -> Iterator[datetime]:
    zone = ZoneInfo(schedule.zone)
    today = now.astimezone(zone).date()
    for day in days:
        date = today + timedelta(days=day)
        if date.weekday() in schedule.days:
            yield datetime.combine(date, schedule.at, tzinfo=zone).astimezone(UTC)


# -- as people write it


def parse_days(texts: Iterable[str]) -> frozenset[int]:
    """Return the days of ``mon``, ``friday``, ``mon-fri``, ``day``, ``week``; raise ValueError in words."""
    return frozenset(day for text in texts for day in _days(WORDS.get(text.strip().lower(), text)))


def _days(text: str) -> Iterator[int]:
    first, dash, last = (part.strip() for part in text.partition("-"))
    begin = _day(first, text)
    end = _day(last, text) if dash else begin
    yield from ((begin + step) % 7 for step in range((end - begin) % 7 + 1))


def _day(word: str, text: str) -> int:
    short = word.lower()[:3]
    full = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
    if short not in DAYS or not full[DAYS.index(short)].startswith(word.lower()):
        raise ValueError(f"'{text}' is no day, write day, weekday, week, mon, mon-fri or a list of them")
    return DAYS.index(short)


def parse_clock(text: str) -> time:
    """Return ``09:00``; raise ValueError in words."""
    found = re.fullmatch(r"\s*([01]?[0-9]|2[0-3]):([0-5][0-9])\s*", text)
    if not found:
        raise ValueError(f"'{text}' is no time of day, write for example 09:00")
    return time(int(found[1]), int(found[2]))
