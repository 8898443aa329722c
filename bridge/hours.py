"""When are the hours of a rule? Days and times of day in a zone, whatever summer time does to them.

A window belongs to the day on which it begins: ``mon-fri`` from 22:00 to 06:00 ends on Saturday morning. One that would
begin in the hour that summer time leaves out begins when clocks leap over it; one that begins or ends in the hour that
comes twice has both of them. Pure: asked with a time, never looks at a clock.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

Outside = Literal["digest", "hold", "drop"]
OUTSIDE: tuple[Outside, ...] = ("digest", "hold", "drop")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EVERY_DAY = frozenset(range(7))
_DAY = timedelta(days=1)
_TIME = re.compile(r"([01]?\d|2[0-4]):([0-5]\d)")


@dataclass(frozen=True, kw_only=True)
class Hours:
    """The hours of a rule. `days` counts from Monday, 0; `start` and `end` are minutes of a day."""

    days: frozenset[int] = EVERY_DAY
    start: int = 0
    end: int = 24 * 60
    zone: ZoneInfo
    outside: Outside = "digest"

    def holds(self, at: datetime) -> bool:
        return any(begins <= at < ends for begins, ends in self._windows(at, days=1))

    def begins(self, at: datetime) -> datetime:
        """Return when the next window after `at` begins, in UTC."""
        return min(begins for begins, _ in self._windows(at, days=16) if begins > at)

    @property
    def code(self) -> str:
        """The same as one word, to be kept."""
        days = "".join(map(str, sorted(self.days)))
        return f"{days}|{self.start}|{self.end}|{self.zone.key}"

    @classmethod
    def of(cls, code: str) -> Hours:
        days, start, end, name = code.split("|")
        return cls(days=frozenset(map(int, days)), start=int(start), end=int(end), zone=ZoneInfo(name))

    def earliest(self, at: datetime) -> datetime:
        """Return `at`, or when the hours begin after it."""
        return at if self.holds(at) else self.begins(at)

    def _windows(self, at: datetime, *, days: int) -> Iterator[tuple[datetime, datetime]]:
        """Yield the windows that begin the day before `at` or within so many days from then."""
        today = at.astimezone(self.zone).date()
        for day in (today + _DAY * offset for offset in range(-1, days)):
            if day.weekday() not in self.days:
                continue
            last = day if self.end > self.start else day + _DAY
            begins, ends = self._first(day, self.start), self._last(last, self.end)
            if begins < ends:
                yield begins, ends

    def _first(self, day: date, minutes: int) -> datetime:
        """Return when clocks first show so many minutes of a day, or more than that."""
        wall = datetime.combine(day, time(), self.zone) + timedelta(minutes=minutes)
        early, late = wall.replace(fold=1).astimezone(UTC), wall.replace(fold=0).astimezone(UTC)
        if early >= late:
            return late
        return self._leap(early, late)  # clocks leap over it

    def _last(self, day: date, minutes: int) -> datetime:
        """Return when clocks last show so many minutes of a day."""
        first = self._first(day, minutes)
        wall = datetime.combine(day, time(), self.zone) + timedelta(minutes=minutes)
        return max(first, wall.replace(fold=1).astimezone(UTC))

    def _leap(self, before: datetime, after: datetime) -> datetime:
        """Return the moment between two at which clocks are put forward."""
        offset = after.astimezone(self.zone).utcoffset()
        while after - before > timedelta(seconds=1):
            middle = before + (after - before) / 2
            if middle.astimezone(self.zone).utcoffset() == offset:
                after = middle
            else:
                before = middle
        return after.replace(microsecond=0)

    def said(self, at: datetime) -> str:
        """Return a moment as people in the zone say it: ``Mon 08:00 Europe/Oslo``."""
        return f"{at.astimezone(self.zone):%a %H:%M} {self.zone.key}"

    def __str__(self) -> str:
        days = ", ".join(name for number, name in enumerate(DAYS) if number in self.days)
        return f"hours: {days}, {_clock(self.start)} to {_clock(self.end)} {self.zone.key}"


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


# -- as they are written -----------------------------------------------------------------------------------------------


def days(text: str) -> frozenset[int]:
    """Return ``mon-fri`` or ``mon, wed`` as numbers of days; raise ValueError with an example."""
    found: set[int] = set()
    for part in text.lower().replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        if first[:3] not in DAYS or (dash and last[:3] not in DAYS):
            raise ValueError(f"'{part}' is no day, write for example mon-fri, or mon, wed")
        begin, end = DAYS.index(first[:3]), DAYS.index((last if dash else first)[:3])
        found.update(day % 7 for day in range(begin, (end if end >= begin else end + 7) + 1))
    return frozenset(found)


def minutes(text: str) -> int:
    """Return ``08:00`` as minutes of the day; ``24:00`` is its end. Raises ValueError."""
    found = _TIME.fullmatch(text.strip())
    count = int(found[1]) * 60 + int(found[2]) if found else -1
    if not 0 <= count <= 24 * 60:
        raise ValueError(f"'{text}' is no time of day, write for example 08:00")
    return count


def zone(text: str) -> ZoneInfo:
    """Return the time zone of a name; raise ValueError when there is none of it on this machine."""
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # a folder of zones, "Europe", is an OSError
        if not known_zones():
            raise ValueError("this machine knows no time zones, install tzdata (of the system, or with pip)") from error
        raise ValueError(f"there is no time zone '{text}', write for example Europe/Oslo") from error


def known_zones() -> frozenset[str]:
    return frozenset(available_timezones())
