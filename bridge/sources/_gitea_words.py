"""The words of Gitea and its relatives in ours: statuses, repositories, refs, people. What their readers share.

Pure and forgiving: what is missing or odd becomes None. Nothing here knows a whole webhook.

https://docs.gitea.com/usage/webhooks
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypedDict

from bridge.errors import Unreadable
from bridge.event import Status
from bridge.sources._values import Ref, address, first, flag, inside, items, ref, text, whole

STATUS: Mapping[str, Status] = {
    # status of a run or job
    "requested": Status.QUEUED,
    "queued": Status.QUEUED,
    "pending": Status.QUEUED,
    "waiting": Status.QUEUED,  # mostly for other jobs: a human is only one of the reasons, so it is shown as it came
    "in_progress": Status.RUNNING,
    # conclusion, once the status is "completed"; state of a commit status
    "success": Status.SUCCESS,
    "warning": Status.SUCCESS,
    "failure": Status.FAILURE,
    "error": Status.ERROR,
    "cancelled": Status.CANCELLED,
    "skipped": Status.SKIPPED,
}

_NUANCED = frozenset({"waiting", "warning"})
"""Words that say more than ours for them: they are kept as the event's description."""


def word(status: Any, conclusion: Any) -> str | None:
    """Return the word that counts: a conclusion only once the status says that it is final."""
    return text(conclusion if text(status) in ("completed", None) else status, 100)


def state(said: str | None) -> Status:
    return STATUS.get(said or "", Status.UNKNOWN)


def nuance(said: str | None) -> str | None:
    """Return their own word where ours says less, or where we have none."""
    if said is None or (said in STATUS and said not in _NUANCED):
        return None
    return said.replace("_", " ")


class _Place(TypedDict):
    source: str
    type: str
    repository: str
    repository_url: str | None
    default_branch: str | None
    private: bool | None


def place(source: str, repository: Any) -> _Place:
    """Return where it happened; raise Unreadable where no repository is named."""
    name = full_name(repository)
    if name is None:
        raise Unreadable("repository.full_name is missing")
    return {
        "source": source,
        "type": "gitea",
        "repository": name,
        "repository_url": address(inside(repository, "html_url")),
        "default_branch": text(inside(repository, "default_branch")),
        "private": flag(inside(repository, "private")),
    }


def full_name(repository: Any) -> str | None:
    name = text(inside(repository, "full_name"), 300)
    owner, short = login(inside(repository, "owner")), text(inside(repository, "name"), 300)
    return name or (f"{owner}/{short}" if owner and short else None)


def login(*users: Any) -> str | None:
    """Return the account of the first user that has one. Old versions say `username` for it."""
    return first(*(inside(user, name) for user in users for name in ("login", "username")))


class _Committer(TypedDict):
    committer: str | None
    committer_email: str | None


def committer(commit: Any) -> _Committer:
    """Return who committed: the account where they know it, else the name that git has."""
    told = inside(commit, "committer")
    return {
        "committer": first(inside(told, "username"), inside(told, "name")),
        "committer_email": text(inside(told, "email")),
    }


def reviewers(pull: Any, repository: Any) -> tuple[str, ...]:
    """Return who is asked to review: accounts, and teams with the organization that owns the repository."""
    owner = (full_name(repository) or "").partition("/")[0]
    people = [login(one) for one in items(inside(pull, "requested_reviewers"), 20)]
    teams = [text(inside(one, "name")) for one in items(inside(pull, "requested_reviewers_teams"), 20)]
    return tuple(filter(None, (*people, *(f"{owner}/{team}" for team in teams if team and owner))))


def fork(head: Any, base: Any) -> bool | None:
    """Return whether the code comes from a fork; None where the fork is gone or not named."""
    theirs, ours = full_name(head), full_name(base)
    return theirs.lower() != ours.lower() if theirs and ours else None


_PULL = re.compile(r"refs/pull/([0-9]{1,9})/(?:head|merge)")


def pull_of(ref: Any) -> int | None:
    """Return the number of the pull request that a whole ref names."""
    found = _PULL.fullmatch(text(ref) or "")
    return whole(found[1]) if found else None


def ref_of(name: Any) -> Ref:
    """Return the branch or tag that a whole or bare ref names; a pull request's ref is neither."""
    found = text(name)
    return ref(None if found and found.startswith("refs/") and not _NAMED.match(found) else found)


_NAMED = re.compile(r"refs/(?:heads|tags)/")
