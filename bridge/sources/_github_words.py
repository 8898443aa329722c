"""GitHub's words in ours: statuses, refs, commits, people, times. What the readers of several webhooks share.

Pure and forgiving: what is missing or odd becomes None. Nothing here knows a whole webhook.

https://docs.github.com/en/rest/checks/runs (statuses and conclusions)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TypedDict

from bridge.codec import clean, first_line, web_url
from bridge.event import Status
from bridge.sources import _github_shapes as shapes

STATUS: Mapping[str, Status] = {
    # status of a run, job, check or deployment
    "requested": Status.QUEUED,
    "queued": Status.QUEUED,
    "pending": Status.QUEUED,
    "waiting": Status.WAITING,
    "in_progress": Status.RUNNING,
    # conclusion, once the status is "completed"; state of a commit status or deployment
    "success": Status.SUCCESS,
    "neutral": Status.SUCCESS,
    "failure": Status.FAILURE,
    "error": Status.ERROR,
    "startup_failure": Status.ERROR,
    "timed_out": Status.TIMEOUT,
    "cancelled": Status.CANCELLED,
    "stale": Status.CANCELLED,
    "skipped": Status.SKIPPED,
    "action_required": Status.WAITING,
}

_NUANCED = frozenset({"neutral", "startup_failure", "stale", "action_required"})
"""Words that say more than ours for them: they are kept as the event's description."""


def state(status: str | None, conclusion: str | None) -> Status:
    """Return our word. A conclusion counts only once the status says that it is final."""
    return STATUS.get(_word(status, conclusion) or "", Status.UNKNOWN)


def nuance(status: str | None, conclusion: str | None) -> str | None:
    """Return GitHub's own word where ours says less, or where we have none."""
    word = _word(status, conclusion)
    if word is None or (word in STATUS and word not in _NUANCED):
        return None
    return first_line(word.replace("_", " "), 100)


def _word(status: str | None, conclusion: str | None) -> str | None:
    return conclusion if status in ("completed", None) else status


class _Place(TypedDict):
    source: str
    type: str
    repository: str | None
    repository_url: str | None
    default_branch: str | None
    private: bool | None


def place(source: str, repository: shapes.Repository) -> _Place:
    return {
        "source": source,
        "type": "github",
        "repository": full_name(repository),
        "repository_url": web_url(repository.html_url),
        "default_branch": first_line(repository.default_branch),
        "private": repository.private,
    }


def full_name(repository: shapes.Repository) -> str | None:
    if name := first_line(repository.full_name):
        return name
    owner = repository.owner and repository.owner.login
    return first_line(f"{owner}/{repository.name}") if owner and repository.name else None


class _Ref(TypedDict):
    branch: str | None
    tag: str | None


_VERSION = re.compile(r"v?[0-9]+\.[0-9]+\.[0-9]+([-+.][0-9A-Za-z.+-]+)?")
_SHA = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


def ref(name: str | None, *, trigger: str | None = None, path: str | None = None) -> _Ref:
    """Return the branch or the tag that `name` is.

    Runs and jobs give the bare name of either and nothing says which: the run of a release is on its tag, the
    workflow's path may hold the whole ref, and a pushed name that reads as a version is taken for a tag.
    """
    ref = first_line(name)
    if ref is None or _SHA.fullmatch(ref) or ref.startswith("refs/pull/"):
        return {"branch": None, "tag": None}
    if ref.startswith("refs/tags/"):
        return {"branch": None, "tag": ref.removeprefix("refs/tags/")}
    if ref.startswith("refs/heads/"):
        return {"branch": ref.removeprefix("refs/heads/"), "tag": None}
    named = trigger == "release" or "@refs/tags/" in (path or "")
    if named or (trigger in (None, "push") and _VERSION.fullmatch(ref)):
        return {"branch": None, "tag": ref}
    return {"branch": ref, "tag": None}


class _Commit(TypedDict):
    message: str | None
    author_name: str | None
    author_email: str | None
    committer: str | None
    committer_email: str | None
    committed_at: datetime | None


def commit(commit: shapes.Commit | None) -> _Commit:
    found = commit or shapes.Commit()
    author, committer = found.author or shapes.Signature(), found.committer or shapes.Signature()
    return {
        "message": clean(found.message),
        "author_name": first_line(author.name),
        "author_email": first_line(author.email),
        "committer": first(committer.username, committer.name),
        "committer_email": first_line(committer.email),
        "committed_at": utc(found.timestamp) or utc(committer.date) or utc(author.date),
    }


def name_of(commit: shapes.Commit | None) -> str | None:
    return commit.author.name if commit and commit.author else None


def username_of(commit: shapes.Commit | None) -> str | None:
    return commit.author.username if commit and commit.author else None


def logins(*users: shapes.User | None) -> tuple[str | None, ...]:
    return tuple(user and user.login for user in users)


def reviewers(pull: shapes.PullRequest, repository: shapes.Repository) -> tuple[str, ...]:
    """Return who is asked to review: logins, and teams with the organization that owns the repository."""
    owner = (full_name(repository) or "").partition("/")[0]
    people = logins(*(pull.requested_reviewers or ()))
    teams = [f"{owner}/{team.slug}" for team in pull.requested_teams or () if team.slug and owner]
    return tuple(line for name in (*people, *teams) if name and (line := first_line(name)))


def first(*texts: str | None) -> str | None:
    """Return the first text that has something in it, as one line."""
    for text in texts:
        if text and (line := first_line(text)):
            return line
    return None


def facts(*pairs: tuple[str, str | None]) -> tuple[tuple[str, str], ...]:
    """Return the pairs that say something, each side as one line."""
    said = ((first_line(label), first_line(text)) for label, text in pairs if text)
    return tuple((label, text) for label, text in said if label and text)


def fork(head: shapes.Repository | None, base: shapes.Repository) -> bool | None:
    """Return whether the code comes from a fork; None where the fork is gone or not named."""
    ours, theirs = full_name(base), full_name(head) if head is not None else None
    return theirs != ours if theirs and ours else None


def number(pulls: Iterable[shapes.PullRef] | None, repository: shapes.Repository) -> int | None:
    """Return the first pull request into this repository: GitHub also lists those that go to others."""
    return next((pull.number for pull in pulls or () if _into(pull, repository)), None)


def _into(pull: shapes.PullRef, repository: shapes.Repository) -> bool:
    base = pull.base and pull.base.repo
    return base is None or None in (base.id, repository.id) or base.id == repository.id


def page(repository_url: str | None, path: str) -> str | None:
    return web_url(repository_url + path) if repository_url else None


def utc(moment: shapes.Moment) -> datetime | None:
    """Return a time of GitHub's, or None for what is none."""
    try:
        if isinstance(moment, str):
            parsed = datetime.fromisoformat(moment)
            # Without a zone GitHub means UTC.
            return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
        return None if moment is None else datetime.fromtimestamp(moment, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def seconds(start: datetime | None, end: datetime | None) -> float | None:
    """Return how long it took; None where the clocks disagree (skipped jobs end before they start)."""
    if start is None or end is None or end < start:
        return None
    return (end - start).total_seconds()
