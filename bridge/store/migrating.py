"""Which steps lead from the schema that a database has to ours, and may we run on a newer one? No I/O but our files.

A step is a numbered file. Its first line may be ``-- readable from N``: code that knows the schema only up to N may go
on running on it. So an old and a new process overlap in a deploy. Without that line older code is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from bridge.errors import StoreUnavailable


@dataclass(frozen=True, slots=True)
class Migration:
    """One step. Code that knows at least version `readable_from` may run on what it leaves."""

    version: int
    readable_from: int
    text: str


@dataclass(frozen=True, slots=True)
class Schema:
    """What a database says of itself: the last step that it went, and the oldest code that it may be read by."""

    version: int = 0
    readable_from: int = 0


def migration(version: int, text: str) -> Migration:
    found = re.match(r"-- readable from ([0-9]+)\s", text)
    return Migration(version, int(found[1]) if found else version, text)


def migrations(engine: str) -> list[Migration]:
    """Return the steps of `engine` ("sqlite", "postgres"), the first one first."""
    folder = resources.files("bridge.store") / "migrations"
    names = sorted(item.name for item in folder.iterdir() if item.name.startswith(f"{engine}_"))
    return [
        migration(int(name.removeprefix(f"{engine}_").removesuffix(".sql")), (folder / name).read_text("utf-8"))
        for name in names
    ]


def missing(schema: Schema, known: Sequence[Migration]) -> list[Migration]:
    """Return the steps that a database still has to go; none when it is as new as ours, or newer and readable.

    Raises StoreUnavailable when it was brought further than our code can follow.
    """
    ours = known[-1].version
    if schema.readable_from > ours:
        raise StoreUnavailable(
            f"the database was brought forward by a newer bridge to version {schema.version}, which needs code that "
            f"knows version {schema.readable_from}, and this bridge knows {ours}: start the newer bridge again"
        )
    return [step for step in known if step.version > schema.version]
