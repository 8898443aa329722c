"""Which modules of one form are there? Their names at once, each module when it is first asked for.

Two dozen senders and a dozen chats would cost a start 100 ms and 10 MB that a configuration with two of them has no use
for. So listing the names, or asking whether one is there, imports nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any, TypeVar

Form = TypeVar("Form")


class Registry(Mapping[str, Form]):
    """The modules of a package by name; ``[name]`` imports. A module is called as its type is in the configuration."""

    def __init__(self, package: str, *names: str) -> None:
        self._package = package
        self._names = dict.fromkeys(names)
        self._imported: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Form:
        if name not in self._imported:
            if name not in self._names:
                raise KeyError(name)
            self._imported[name] = import_module(f"{self._package}.{name}")
        found: Form = self._imported[name]
        return found

    def load(self, names: Iterable[str]) -> None:
        """Import now, while nobody waits, what is here of `names`."""
        for name in names:
            self.get(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
