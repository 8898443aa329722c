"""Who owns which file of a repository, by its CODEOWNERS?

Pure: the text of the file and paths in, owners out. A name that begins with ``@`` loses it: ``octocat``, ``acme/api``
(a team) or an e-mail address. What is written wrongly owns nothing, and nothing raises. A library for GitHub's form
knows no sections of GitLab's and makes regular expressions of the patterns, which whoever writes the file could make
slow: so both forms are read here, and a pattern costs its length times the path's.

https://docs.github.com/en/repositories/managing-your-repositorys-settings-and-features/customizing-your-repository/about-code-owners
https://docs.gitlab.com/user/project/codeowners/reference/
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

MOST_LINES = 5_000
MOST_OWNERS = 50
_LONGEST_LINE = 2_000
_LONGEST_PATH = 1_000


class Form(Enum):
    """Whose rules hold for the file."""

    GITHUB = "github"
    GITLAB = "gitlab"


class _Below(Enum):
    """What of a pattern's own name and of all within a folder of that name is meant."""

    NO = 0  # the file alone
    ALSO = 1
    ONLY = 2


@dataclass(frozen=True, slots=True)
class _Pattern:
    """Which paths a line is about: a shape for each part of the path, ``**`` for any number of parts."""

    parts: tuple[str, ...]
    below: _Below = _Below.NO

    def holds(self, path: tuple[str, ...]) -> bool:
        reached = {0}  # how many parts of the path may be used up
        for wanted in self.parts:
            if wanted == "**":
                reached = set(range(min(reached), len(path) + 1))
            else:
                reached = {at + 1 for at in reached if at < len(path) and _fits(wanted, path[at])}
            if not reached:
                return False
        if self.below is _Below.ALSO:
            return True
        return min(reached) < len(path) if self.below is _Below.ONLY else len(path) in reached

    @property
    def everything(self) -> bool:
        return self.parts in (("**", "*"), ("**",), ("**", "**"))


def _fits(wanted: str, name: str) -> bool:
    """Return whether `name` has the shape `wanted`. Only the last star is ever tried anew, which is enough."""
    at = seen = 0
    star, mark = -1, 0
    while seen < len(name):
        if at < len(wanted) and wanted[at] == "*":
            star, mark, at = at, seen, at + 1
        elif at < len(wanted) and wanted[at] in ("?", name[seen]):
            at, seen = at + 1, seen + 1
        elif star >= 0:
            mark += 1
            at, seen = star + 1, mark
        else:
            return False
    return not wanted[at:].strip("*")


@dataclass(slots=True)
class _Section:
    """A part of the file that has its own owners of a path. GitHub's form is one; the last line that fits holds."""

    owners: tuple[str, ...] = ()  # of the lines that name none
    lines: list[tuple[_Pattern, tuple[str, ...]]] = field(default_factory=list)
    excluded: list[_Pattern] = field(default_factory=list)

    def owners_of(self, path: tuple[str, ...]) -> tuple[str, ...]:
        if any(pattern.holds(path) for pattern in self.excluded):
            return ()
        return next((owners for pattern, owners in reversed(self.lines) if pattern.holds(path)), ())

    def owners_of_all(self) -> tuple[str, ...]:
        return next((owners for pattern, owners in reversed(self.lines) if pattern.everything), ())


@dataclass(frozen=True, slots=True)
class Codeowners:
    """A file that was read."""

    sections: tuple[_Section, ...] = ()

    def of(self, paths: Iterable[str] | None) -> tuple[str, ...]:
        """Return the owners of `paths`, each once; where nobody knows the paths (None), those of every file."""
        if paths is None:
            found = [section.owners_of_all() for section in self.sections]
        else:
            split = [tuple(path.strip("/").split("/")) for path in paths if len(path) <= _LONGEST_PATH]
            found = [section.owners_of(path) for path in split for section in self.sections]
        return tuple(dict.fromkeys(owner for owners in found for owner in owners))[:MOST_OWNERS]


# -- reading -----------------------------------------------------------------------------------------------------------

_SPACES = re.compile(r"(?<!\\)[ \t]+")
_HEAD = re.compile(r"\^?\[([^\[\]]{1,200})\](?:\[[0-9]{1,3}\])?(?:[ \t]+(.*))?")
_OWNER = re.compile(r"@[A-Za-z0-9_][\w.-]{0,100}(?:/[\w.-]{1,100}){0,20}|[^\s@#]{1,100}@[^\s@#]{1,150}", re.ASCII)


def parse(text: str, form: Form) -> Codeowners:
    """Return what a CODEOWNERS file says."""
    sections = {"": _Section()}
    here = sections[""]
    for line in text.splitlines()[:MOST_LINES]:
        line = line.strip()
        if not line or line.startswith("#") or len(line) > _LONGEST_LINE:
            continue
        head = _HEAD.fullmatch(line) if form is Form.GITLAB else None
        if head is not None:
            here = sections.setdefault(head[1].strip().lower(), _Section())
            here.owners = _owners((head[2] or "").split()) or here.owners
        else:
            _read(line, form, here)
    return Codeowners(tuple(sections.values()))


def _read(line: str, form: Form, section: _Section) -> None:
    shape, *words = _SPACES.split(line)
    end = next((place for place, word in enumerate(words) if word.startswith("#")), len(words))
    owners = _owners(words[:end])
    if form is Form.GITLAB:
        if shape.startswith("!"):
            section.excluded.append(_gitlab_pattern(shape[1:]))
        else:
            section.lines.append((_gitlab_pattern(shape), owners or section.owners))
    elif len(owners) == end and not re.search(r"^[!\\]|\[", shape):  # GitHub leaves out a line that it does not know
        section.lines.append((_github_pattern(shape), owners))


def _owners(words: Iterable[str]) -> tuple[str, ...]:
    """Return the owners; GitLab's roles (``@@developer``) are nobody's name."""
    return tuple(word.removeprefix("@") for word in words if _OWNER.fullmatch(word))


def _github_pattern(shape: str) -> _Pattern:
    """As .gitignore: with a slash within, from the root; the name of a folder means all in it, ``docs/*`` does not."""
    parts = tuple(part for part in _plain(shape).split("/") if part)
    rooted = "/" in shape.rstrip("/")
    if not rooted:
        parts = ("**", *parts)
    if shape.endswith("/"):
        return _Pattern(parts, _Below.ONLY)
    return _Pattern(parts, _Below.NO if parts[-1:] == ("*",) and rooted else _Below.ALSO)


def _gitlab_pattern(shape: str) -> _Pattern:
    """From the root only where it begins with a slash; the files of a folder only where it ends with one."""
    parts = tuple(part for part in _plain(shape).split("/") if part)
    if not shape.startswith("/"):
        parts = ("**", *parts)
    return _Pattern(parts, _Below.ONLY if shape.endswith("/") else _Below.NO)


def _plain(shape: str) -> str:
    return re.sub(r"\\(.)", r"\1", shape)
