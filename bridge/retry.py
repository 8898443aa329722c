"""What to do after a try: when again, or never; and how fast a chat may be asked. Pure: time and dice are arguments.

Only our own queue retries: no library and no chat client does.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from bridge.errors import Dead, DeliveryError, Gone, RateLimited, Rejected, Transient, Unsure

FIRST_DELAY = timedelta(seconds=1)
LONGEST_DELAY = timedelta(minutes=10)
LONGEST_PAUSE = timedelta(minutes=30)  # whatever a Retry-After says
LONGEST_REST = timedelta(seconds=30)  # between tries at a destination that is down


@dataclass(frozen=True, slots=True)
class Policy:
    """How long and how often a delivery is tried, and what to do when it may have arrived."""

    give_up_after: timedelta
    attempts: int | None = None
    when_unsure: Literal["resend", "drop"] = "resend"


class Verdict(msgspec.Struct, frozen=True):
    """What becomes of a delivery after a failed try.

    `pending` with `due_at` is a new try, `counts` whether this one used up an attempt, `forget` that the message it
    wanted to edit (or its thread) is gone, `plain` that the plain message goes next.
    """

    state: Literal["pending", "dead", "dropped"]
    outcome: str
    text: str
    due_at: datetime | None = None
    counts: bool = False
    forget: bool = False
    plain: bool = False


def decide(
    error: DeliveryError,
    *,
    now: datetime,
    created_at: datetime,
    attempts: int,
    policy: Policy,
    edit: bool,
    plain: bool,
    dice: float,
) -> Verdict:
    """Return what to do after `error`. `attempts` counts those before; `dice` is in [0, 1)."""
    text = str(error)
    match error:
        case RateLimited():
            due_at = now + timedelta(seconds=min(max(0.0, error.after), LONGEST_PAUSE.total_seconds()))
            if due_at - created_at > policy.give_up_after:
                return Verdict("dead", "limited", f"{text}; given up after {policy.give_up_after}")
            return Verdict("pending", "limited", text, due_at)
        case Dead():
            return Verdict("dead", "dead", text)
        case Rejected() if plain:
            return Verdict("dead", "rejected", text)
        case Rejected():
            return Verdict("pending", "rejected", text, now, plain=True)
        case Gone() if edit:
            return Verdict("pending", "gone", text, now, forget=True)
        case Gone():
            return (
                Verdict("pending", "gone", text, now, counts=True, forget=True)
                if attempts < 3
                else Verdict("dead", "gone", text)
            )
        case Unsure() if not edit and policy.when_unsure == "drop":
            return Verdict("dropped", "unsure", f"{text}; it may have arrived, and when_unsure is drop")
    outcome = "unsure" if isinstance(error, Unsure) else "transient"
    due_at = now + backoff(attempts, dice)
    if policy.attempts is not None and attempts + 1 >= policy.attempts:
        return Verdict("dead", outcome, f"{text}; given up after {attempts + 1} attempts", counts=True)
    if due_at - created_at > policy.give_up_after:
        return Verdict("dead", outcome, f"{text}; given up after {policy.give_up_after}", counts=True)
    return Verdict("pending", outcome, text, due_at, counts=True)


def backoff(attempts: int, dice: float) -> timedelta:
    """Return how long to wait after `attempts` earlier ones: doubling from a second, with half of it by chance."""
    longest = min(LONGEST_DELAY, FIRST_DELAY * (1 << min(attempts, 20)))
    return timedelta(seconds=longest.total_seconds() * (0.5 + dice / 2))


def rest(failures: int) -> timedelta:
    """Return how long a whole destination rests after so many failures in a row."""
    return min(LONGEST_REST, timedelta(seconds=0.25) * (1 << min(failures, 10)))


class Pace:
    """One rate limit: a bucket of `burst` tokens that fills with `per_second`. Seconds are of any steady clock."""

    def __init__(self, per_second: float, burst: int) -> None:
        self.per_second = per_second
        self.burst = burst
        self._tokens = float(burst)
        self._at = 0.0
        self._paused_until = 0.0

    def wait(self, now: float) -> float:
        """Return how many seconds until one more request is allowed; 0 when it is now."""
        self._fill(now)
        missing = max(0.0, 1.0 - self._tokens) / self.per_second
        return max(missing, self._paused_until - now, 0.0)

    def take(self, now: float) -> None:
        """Count one request."""
        self._fill(now)
        self._tokens -= 1.0

    def pause(self, until: float) -> None:
        """Allow nothing before `until`."""
        self._paused_until = max(self._paused_until, until)

    def _fill(self, now: float) -> None:
        self._tokens = min(float(self.burst), self._tokens + max(0.0, now - self._at) * self.per_second)
        self._at = now


def cause(error: DeliveryError) -> str:
    """Return the metric's word for an error."""
    match error:
        case RateLimited():
            return "rateLimited"
        case Dead() | Rejected() | Gone():
            return "clientError"
        case Unsure():
            return "unsure"
        case Transient():
            return "serverError"
    return "other"
