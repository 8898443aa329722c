"""A copy of something with changes, whether it is a Struct or a dataclass."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def replace(thing: T, **changes: Any) -> T:
    """Return `thing` with `changes`."""
    if isinstance(thing, msgspec.Struct):
        return msgspec.structs.replace(thing, **changes)
    return dataclasses.replace(thing, **changes)  # type: ignore[type-var]
