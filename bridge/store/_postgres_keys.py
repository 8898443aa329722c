"""Which texts fit into PostgreSQL's columns, and which number stands for a key in a lock? No I/O.

A text column takes no NUL and no half of a surrogate pair, and an index takes no key of more than 2,704 bytes. What
does not fit is changed, always in the same way, so that it is found again. Senders choose these texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import blake2b

SHARED = "~"  # how the name of a lane begins that several runs may share
LONGEST_KEY = 600  # bytes; the longest keys are made of three

_UNFIT = re.compile("[\x00\ud800-\udfff]")


def fit(text: str) -> str:
    """Return `text` as a column takes it."""
    return _UNFIT.sub("\ufffd", text) if _UNFIT.search(text) else text


def fit_key(key: str) -> str:
    """Return `key` as an index takes it: a long one is cut and ends with a digest of the whole."""
    if len(key) * 4 <= LONGEST_KEY and key.isascii() and "\x00" not in key:
        return key
    raw = key.encode("utf-8", "surrogatepass")
    fitting = fit(key)
    if len(raw) <= LONGEST_KEY and fitting == key:
        return key
    cut = fitting.encode()[: LONGEST_KEY - 40].decode("utf-8", "ignore")
    return f"{cut}#{blake2b(raw, digest_size=16).hexdigest()}"


def fit_lane(lane: str) -> str:
    """Return `lane` as an index takes it. One of a run is made of a key that fits already."""
    return fit_key(lane) if lane.startswith(SHARED) else lane


def lock_number(kind: str, *key: str) -> int:
    """Return the number of the advisory lock that stands for `key`; two kinds of keys never mean one lock."""
    raw = "\x00".join((kind, *key)).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(raw, digest_size=8).digest(), signed=True)


def in_turn(locks: Iterable[tuple[str, int]]) -> str:
    """Return what takes the locks of these lanes, given with their names: those of runs first, as an arrival does."""
    known = set(locks)
    own = [number for lane, number in known if not lane.startswith(SHARED)]
    shared = [number for lane, number in known if lane.startswith(SHARED)]
    return "; ".join(lock_statement(numbers) for numbers in (own, shared) if numbers) or "SELECT 1"


def lock_statement(numbers: Iterable[int]) -> str:
    """Return what takes these locks until the transaction ends, always in the same order, so that nobody waits in a
    circle. The numbers are ours: there is nothing to quote."""
    listed = ",".join(map(str, sorted(set(numbers))))
    return f"SELECT pg_advisory_xact_lock(number) FROM unnest('{{{listed}}}'::bigint[]) AS number"  # noqa: S608


# -- the locks ---------------------------------------------------------------------------------------------------------

MIGRATING = lock_number("bridge", "migrating")
WORKING = lock_number("bridge", "working")  # shared by all that deliver
LEADING = lock_number("bridge", "leading")


def seen_lock(source: str, key: str) -> int:
    return lock_number("seen", source, key)


def run_lock(run_key: str | None, event_number: int) -> int:
    """Whoever adds to the lanes of a run, or ends a delivery in them, holds this: only one knows who is the head."""
    return lock_number("run", run_key or f"e{event_number}")


def lane_lock(lane: str, run_key: str | None, event_number: int) -> int:
    """As `run_lock`, for whoever ends a delivery of `lane`: one that runs share has a lock of its own."""
    return lock_number("lane", lane) if lane.startswith(SHARED) else run_lock(run_key, event_number)


def track_lock(track_key: str) -> int:
    return lock_number("track", track_key)
