"""GitLab's words in ours: statuses, refs, projects, commits, times. What the readers of several webhooks share.

Pure and forgiving: what is missing or odd becomes None. Nothing here knows a whole webhook.

https://docs.gitlab.com/ci/jobs/#view-jobs-in-a-pipeline (statuses)
https://docs.gitlab.com/ci/pipelines/merge_request_pipelines/ (refs)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypedDict
from urllib.parse import quote

from bridge.codec import web_url
from bridge.event import Status
from bridge.sources import _values as values

STATUS: Mapping[str, Status] = {
    # a pipeline, a job
    "created": Status.QUEUED,
    "waiting_for_resource": Status.QUEUED,
    "waiting_for_callback": Status.QUEUED,
    "preparing": Status.QUEUED,
    "pending": Status.QUEUED,
    "scheduled": Status.QUEUED,
    "manual": Status.WAITING,
    "running": Status.RUNNING,
    "canceling": Status.RUNNING,
    "success": Status.SUCCESS,
    "failed": Status.FAILURE,
    "canceled": Status.CANCELLED,
    "skipped": Status.SKIPPED,
    # a deployment, beside these
    "blocked": Status.WAITING,
    "approved": Status.QUEUED,  # it may start now
    "rejected": Status.FAILURE,  # its job fails of it, and GitLab says so a moment later
}

_FAILURES: Mapping[str, Status] = {
    "job_execution_timeout": Status.TIMEOUT,
    "api_failure": Status.ERROR,
    "data_integrity_failure": Status.ERROR,
    "no_matching_runner": Status.ERROR,
    "runner_system_failure": Status.ERROR,
    "runner_unsupported": Status.ERROR,
    "scheduler_failure": Status.ERROR,
    "stuck_or_timeout_failure": Status.ERROR,
}
"""Why a job failed, where it was not its script."""

_NUANCED = frozenset({"waiting_for_resource", "waiting_for_callback", "scheduled", "manual", "canceling", "blocked"})
"""Words that say more than ours for them: they are kept as the description."""


def state(word: Any, reason: Any = None) -> Status:
    """Return our word for a status; `reason` is a job's failure_reason."""
    status = STATUS.get(word, Status.UNKNOWN) if isinstance(word, str) else Status.UNKNOWN
    if status is Status.FAILURE and isinstance(reason, str):
        return _FAILURES.get(reason, status)
    return status


def nuance(word: Any) -> str | None:
    """Return GitLab's own word where ours says less, or where we have none."""
    said = values.text(word, 100)
    return None if said is None or (said in STATUS and said not in _NUANCED) else said.replace("_", " ")


def moment(value: Any) -> datetime | None:
    """Return a time, which GitLab writes in three ways: ISO 8601, with a zone after a space, and with "UTC" there."""
    return values.moment(_ZONE.sub(r"\1", value) if isinstance(value, str) else value)


_ZONE = re.compile(r" (?:UTC|([+-][0-9]{4}))$")


# -- where -------------------------------------------------------------------------------------------------------------


class Place(TypedDict):
    source: str
    type: str
    repository: str | None
    repository_url: str | None
    default_branch: str | None
    private: bool | None


def place(source: str, project: Any, repository: Any = None) -> Place:
    """Return the project: the whole path of its groups and its name. Jobs of older servers bring a repository only."""
    clone = values.inside(repository, "git_ssh_url")
    home = values.first(values.inside(project, "web_url"), values.inside(repository, "homepage"))
    level = values.whole(_either("visibility_level", project, repository))
    return {
        "source": source,
        "type": "gitlab",
        "repository": values.text(values.inside(project, "path_with_namespace"))
        or values.place(clone)["repository"]
        or values.place(home)["repository"],
        "repository_url": values.address(home),
        "default_branch": values.text(values.inside(project, "default_branch")),
        "private": None if level is None else level < _PUBLIC,
    }


_PUBLIC = 20  # 0 is private; 10 is internal: seen by whoever has an account there


def _either(name: str, *objects: Any) -> Any:
    return next((found for each in objects if (found := values.inside(each, name)) is not None), None)


def page(place: Place, path: str, name: str = "") -> str | None:
    """Return a page of the project: `path`, and behind it a foreign name."""
    home = place["repository_url"]
    return web_url(f"{home.rstrip('/')}/-/{path}{quote(name, safe='/', errors='replace')}") if home else None


# -- which ref ---------------------------------------------------------------------------------------------------------


class Ref(TypedDict):
    branch: str | None
    tag: str | None
    pull_request: int | None


_MERGE_REQUEST = re.compile(r"refs/merge-requests/([1-9][0-9]{0,17})/[a-z]+")


def ref(name: Any, is_tag: Any) -> Ref:
    """Return the branch, tag or merge request that a pipeline or job runs on."""
    found = values.text(name)
    if found is None:
        return {"branch": None, "tag": None, "pull_request": None}
    if of_request := _MERGE_REQUEST.fullmatch(found):
        return {"branch": None, "tag": None, "pull_request": int(of_request[1])}
    if is_tag is True:
        found = "refs/tags/" + found.removeprefix("refs/tags/")
    return {**values.ref(found), "pull_request": None}


# -- who and what ------------------------------------------------------------------------------------------------------


class Commit(TypedDict):
    sha: str | None
    message: str | None
    author_name: str | None
    author_email: str | None
    committed_at: datetime | None


def commit(commit: Any, sha: Any = None) -> Commit:
    return {
        "sha": values.first(sha, values.inside(commit, "id")),
        "message": values.whole_text(values.inside(commit, "message")),
        "author_name": values.text(values.inside(commit, "author", "name")),
        "author_email": email(values.inside(commit, "author", "email")),
        "committed_at": moment(values.inside(commit, "timestamp")),
    }


def title(commit: Any) -> str | None:
    return values.first(values.inside(commit, "title"), values.inside(commit, "message"))


def email(value: Any) -> str | None:
    """Return an e-mail address. Those that a person keeps to himself come as "[REDACTED]"."""
    found = values.text(value)
    return found if found and "@" in found else None


def author(user: Any, *names: Any) -> str | None:
    """Return the login of `user`, else a name."""
    return values.first(values.inside(user, "username"), values.inside(user, "name"), *names)
