"""What does a configuration say once it is known to be right? Data only; `repr` shows no secret."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from bridge.destinations.base import DestinationOptions
from bridge.errors import Problem
from bridge.route import Rule
from bridge.sources import SOURCES, Bound, Publishes, SourceModule

MAX_BODY = 25 * 1024 * 1024
RETENTION = timedelta(days=30)


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """What holds for the whole server. `max_body` is in bytes."""

    public_url: str | None = None
    max_body: int = MAX_BODY
    retention: timedelta = RETENTION


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """Who may send to ``/webhooks/NAME``. Several secrets hold while one is rotated; any of them will do."""

    name: str
    type: str
    secrets: tuple[str, ...] = field(default=(), repr=False)
    tokens: tuple[str, ...] = field(default=(), repr=False)
    unsigned: bool = False
    api_token: str | None = field(default=None, repr=False)
    api_url: str | None = None
    options: Any = None  # of the type's own, where its module has Options

    @cached_property
    def module(self) -> SourceModule:
        """What reads this source's requests."""
        module = SOURCES[self.type]
        return module.bind(self.options) if self.options is not None and isinstance(module, Bound) else module

    @cached_property
    def publishes(self) -> Publishes | None:
        """Where this source's keys are fetched, because none is given, the module that knows how."""
        given = self.secrets or self.tokens or self.unsigned
        return self.module if not given and isinstance(self.module, Publishes) else None


@dataclass(frozen=True, kw_only=True)
class DestinationConfig:
    """One place where messages go. `options` are those of its type's module."""

    name: str
    type: str
    options: DestinationOptions


@dataclass(frozen=True, kw_only=True)
class Person:
    """Who a CI login, name or e-mail is. `ids` by chat: ``{"slack": "U024BE7LH", "email": ...}``.

    `also` are further logins, names and e-mails. Whoever wants no `mention` is not notified by any rule.
    """

    name: str
    ids: dict[str, str] = field(default_factory=dict)
    also: tuple[str, ...] = ()
    mention: bool = True

    @cached_property
    def known_as(self) -> frozenset[str]:
        """Every name of this person, in lower case."""
        return frozenset(one.lower() for one in (self.name, self.ids.get("email", ""), *self.also) if one)


@dataclass(frozen=True)
class Directory:
    """Who is who: everybody under ``people``, and the ``groups`` of them, found by any of their names."""

    people: dict[str, Person] = field(default_factory=dict)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def person(self, name: str) -> Person | None:
        """Return who answers to `name`, in upper or lower case; of several the first."""
        return self._by_name.get(name.lower().removeprefix("@"))

    def team(self, name: str) -> tuple[Person, ...]:
        """Return the members of the group that is called like a team: ``acme/api``, ``@acme/api`` or ``api``."""
        wanted = name.lower().removeprefix("@")
        members = self._groups.get(wanted) or self._groups.get(wanted.rpartition("/")[2]) or ()
        return tuple(self.people[member] for member in members if member in self.people)

    @cached_property
    def _by_name(self) -> dict[str, Person]:
        found: dict[str, Person] = {}
        for person in self.people.values():
            for name in sorted(person.known_as):
                found.setdefault(name.removeprefix("@"), person)
        return found

    @cached_property
    def _groups(self) -> dict[str, tuple[str, ...]]:
        return {name.lower().removeprefix("@"): members for name, members in self.groups.items()}


@dataclass(frozen=True, kw_only=True)
class Step:
    """One event of a test: fields of the event model, or a webhook's body in a file, `at` so long after the start."""

    event: dict[str, Any] = field(default_factory=dict)
    payload: str | None = None
    at: timedelta = timedelta()
    expect: dict[str, Any] = field(default_factory=dict)
    line: int = 0


@dataclass(frozen=True, kw_only=True)
class TestCase:
    """One entry of ``tests:``: what its events, the `steps` (with what is `given` of the past), must lead to.

    `event` and `given` have the field names of the event model; `event` holds for every step that says nothing else.
    `expect` holds what was written of ``to``, ``rules`` and ``mention`` (lists of names), ``text`` (a list),
    ``messages`` (a number) and ``none`` (True: no rule may match).
    """

    __test__ = False  # for pytest: this is no test of ours

    name: str
    event: dict[str, Any]
    given: dict[str, Any] = field(default_factory=dict)
    expect: dict[str, Any] = field(default_factory=dict)
    steps: tuple[Step, ...] = (Step(),)
    line: int = 0
    file: str = ""


@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole configuration without errors.

    `templates` maps ``run.md.j2`` to its text, the operator's before the shipped ones. `secrets` is every secret value,
    for taking them out of logs. `starter` says that no file was there and the environment alone speaks.
    """

    version: int = 1
    server: ServerConfig = ServerConfig()
    sources: dict[str, SourceConfig] = field(default_factory=dict)
    destinations: dict[str, DestinationConfig] = field(default_factory=dict)
    people: dict[str, Person] = field(default_factory=dict)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    tests: tuple[TestCase, ...] = ()
    templates: dict[str, str] = field(default_factory=dict, repr=False)
    file: str = ""
    folder: Path = Path()
    warnings: tuple[Problem, ...] = ()
    starter: bool = False
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    rule_lines: dict[str, int] = field(default_factory=dict)
    rule_files: dict[str, str] = field(default_factory=dict)  # the file of each rule, for those that are included

    @cached_property
    def directory(self) -> Directory:
        return Directory(self.people, self.groups)
