"""What does a store carry when it moves to another engine? Which tables, and how their rows change. No I/O.

Rows go by the names of their columns, which are the same in every engine. Ids stay as they are: people have them in
notes and scripts, and the next ones go on after the last that was ever given.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from math import isfinite

from bridge.errors import StoreUnavailable
from bridge.store.base import Row

COUNTED = ("events", "deliveries", "attempts", "mutes")
"""Tables whose ids are given by the engine."""
TABLES = ("events", "seen", "runs", "tracks", "places", "deliveries", "attempts", "health", "tallies", "mutes")
"""What is moved. Not the rate limits: they speak of seconds, and start anew."""
MUST_BE_EMPTY = ("events", "runs", "tracks", "places", "deliveries", "attempts", "mutes")
COUNTERS = "counters"
"""Rows of no table: ``{"name": "events", "last": 12}``, the last id that was given, though the row may be gone."""
CHUNK = 500  # rows


class Unfit(StoreUnavailable):
    """What was to be restored does not fit: the store keeps nothing of it."""


def not_empty(table: str) -> Unfit:
    return Unfit(f"the database is not empty ({table} has rows): import into a new one")


def fitting(table: str, row: Mapping[str, object], columns: Mapping[str, Collection[str]]) -> Row:
    """Return `row` as it is written: what was being sent when it was read is unsure. Raises Unfit."""
    known = columns.get(table)
    if known is None:
        raise Unfit(f"there is no table {table!r}: was the file written by a newer bridge?")
    for name, value in row.items():
        if name not in known:
            raise Unfit(f"{table} has no column {name!r}: was the file written by a newer bridge?")
        if not isinstance(value, str | int | float | bytes | None) or (
            isinstance(value, float) and not isfinite(value)
        ):
            raise Unfit(f"{table}.{name} holds what no column can hold")
    fit: Row = dict(row)  # type: ignore[arg-type] # checked above
    if table == "deliveries" and fit.get("state") == "sending":
        fit |= {"state": "pending", "leased_until": None, "unsure": 1}
    return fit


def counter(row: Mapping[str, object]) -> tuple[str, int]:
    """Return a table's name and the last id that was given in it. Raises Unfit."""
    name, last = row.get("name"), row.get("last")
    if name not in COUNTED or not isinstance(last, int) or not 0 <= last < 2**62:
        raise Unfit("a counter names no table of ours, or no number")
    return str(name), last


async def chunks(rows: AsyncIterator[tuple[str, Row]]) -> AsyncIterator[tuple[str, list[Row]]]:
    """Yield neighbours of one table and one set of columns together, so many at a time."""
    table: str | None = None
    gathered: list[Row] = []
    async for name, row in rows:
        if gathered and (name != table or len(gathered) >= CHUNK or row.keys() != gathered[0].keys()):
            yield str(table), gathered
            gathered = []
        table = name
        gathered.append(row)
    if gathered:
        yield str(table), gathered
