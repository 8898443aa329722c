"""Is every source of the form that `SourceModule` names? Writes what the type checker is to be asked.

`make lint` gives it to mypy, so that a new source needs one line in its registry and none for the type checker.
"""

from __future__ import annotations

import sys

from bridge.sources import SOURCES


def question() -> str:
    """Return a module in which each source is used as the form that it must have."""
    names = ", ".join(SOURCES)
    return f"from bridge.sources import Bound, SourceModule, {names}\nsources: list[SourceModule | Bound] = [{names}]\n"


if __name__ == "__main__":
    sys.stdout.write(question())
