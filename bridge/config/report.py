"""Where is what wrong? Every problem of one file, collected instead of raised at the first.

Never shows a value that came from the environment or from a secret's file: whoever adds a problem names it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bridge.errors import ConfigError, Problem


@dataclass(frozen=True, slots=True)
class Place:
    """Line and column, counted from 1 as editors do."""

    line: int = 1
    column: int = 1


MOST = 200
"""So many problems are read by nobody; a hostile file must not cost more than this."""


@dataclass(slots=True)
class Report:
    """The problems of `file` so far, each once: what stands behind an alias is read for each place that uses it."""

    file: str
    _problems: dict[Problem, None] = field(default_factory=dict)

    @property
    def problems(self) -> list[Problem]:
        return sorted(self._problems)

    def error(self, place: Place, path: str, text: str) -> None:
        self._add(Problem(self.file, place.line, place.column, path, text))

    def warn(self, place: Place, path: str, text: str) -> None:
        self._add(Problem(self.file, place.line, place.column, path, text, warning=True))

    def take(self, other: Report) -> None:
        """Add the problems of another file."""
        for problem in other.problems:
            self._add(problem)

    def _add(self, problem: Problem) -> None:
        self._problems[problem] = None
        if len(self._problems) >= MOST:
            raise self.as_error()

    @property
    def failed(self) -> bool:
        return any(not problem.warning for problem in self._problems)

    def stop(self, place: Place, path: str, text: str) -> ConfigError:
        """Return the error to raise when nothing after this problem can be read."""
        self.error(place, path, text)
        return self.as_error()

    def as_error(self) -> ConfigError:
        return ConfigError(self.problems)


def under(path: str, key: str | int) -> str:
    """Return the path of what `key` holds: ``rules.2.to``."""
    return f"{path}.{key}" if path else str(key)
