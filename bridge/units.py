"""Durations, rates and sizes as people write them: ``20s``, ``1/s``, ``25MiB``. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|min|s|m|h|d|w)")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*(s|sec|second|min|m|minute|h|hour)")
_PER = {"s": 1, "sec": 1, "second": 1, "min": 60, "m": 60, "minute": 60, "h": 3600, "hour": 3600}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KB|KiB|MB|MiB)", re.IGNORECASE)
_BYTES = {"b": 1, "kb": 1000, "kib": 1024, "mb": 1000**2, "mib": 1024**2}


@dataclass(frozen=True, slots=True)
class Rate:
    """So many per second."""

    per_second: float


def parse_duration(value: Any) -> Any:
    """Return ``90s``, ``5m``, ``24h``, ``7d`` (also ``1h30m``) as a timedelta; raise ValueError with an example."""
    if isinstance(value, timedelta):
        return value
    text = str(value).strip()
    parts = _DURATION.findall(text)
    if not parts or _DURATION.sub("", text).strip():
        raise ValueError(f"{text!r} is no duration, write for example 20s, 5m or 24h")
    try:
        return timedelta(seconds=sum(float(number) * _SECONDS[unit] for number, unit in parts))
    except OverflowError as error:
        raise ValueError(f"{text!r} is too long a duration") from error


def parse_rate(value: Any) -> Any:
    """Return ``1/s`` or ``20/min`` as a Rate; raise ValueError with an example."""
    if value is None or isinstance(value, Rate):
        return value
    found = _RATE.fullmatch(str(value).strip())
    if not found or not float(found[1]):
        raise ValueError(f"{value!r} is no rate, write for example 1/s or 20/min")
    return Rate(float(found[1]) / _PER[found[2]])


def parse_size(value: Any) -> Any:
    """Return ``25MiB`` as bytes; raise ValueError with an example."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = _SIZE.fullmatch(str(value).strip())
    if not found:
        raise ValueError(f"{value!r} is no size, write for example 25MiB")
    try:
        return int(float(found[1]) * _BYTES[found[2].lower()])
    except OverflowError as error:
        raise ValueError(f"{value!r} is too large a size") from error


def span(duration: timedelta) -> str:
    """Return a duration as people say it: ``45 s``, ``2 min 14 s``, ``3 h 5 min``, ``4 d``."""
    total = max(0, round(duration.total_seconds()))
    if total < 60:
        return f"{total} s"
    if total < 3600:
        minutes, seconds = divmod(total, 60)
        return f"{minutes} min {seconds} s" if seconds else f"{minutes} min"
    if total < 86400:
        hours, rest = divmod(total, 3600)
        return f"{hours} h {rest // 60} min" if rest // 60 else f"{hours} h"
    days, rest = divmod(total, 86400)
    return f"{days} d {rest // 3600} h" if rest // 3600 and days < 7 else f"{days} d"


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
