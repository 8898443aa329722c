"""What can be told of JSON whose form is not known? Reads the names that many senders share, and guesses no more.

Two sources use it: `standard`, whose body may be anything, and `cdevents`, whose `customData` may be. A value counts
only under a name that says what it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.event import Status
from bridge.sources import _values as values

STATUS: Mapping[str, Status] = {  # words that mean the same wherever they stand, in lower case
    "created": Status.QUEUED,
    "queued": Status.QUEUED,
    "pending": Status.QUEUED,
    "scheduled": Status.QUEUED,
    "waiting": Status.WAITING,
    "blocked": Status.WAITING,
    "needs_approval": Status.WAITING,
    "started": Status.RUNNING,
    "starting": Status.RUNNING,
    "running": Status.RUNNING,
    "in_progress": Status.RUNNING,
    "processing": Status.RUNNING,
    "building": Status.RUNNING,
    "success": Status.SUCCESS,
    "successful": Status.SUCCESS,
    "succeeded": Status.SUCCESS,
    "passed": Status.SUCCESS,
    "ready": Status.SUCCESS,
    "resolved": Status.SUCCESS,
    "failure": Status.FAILURE,
    "failed": Status.FAILURE,
    "firing": Status.FAILURE,
    "error": Status.ERROR,
    "errored": Status.ERROR,
    "timeout": Status.TIMEOUT,
    "timed_out": Status.TIMEOUT,
    "cancel": Status.CANCELLED,
    "canceled": Status.CANCELLED,
    "cancelled": Status.CANCELLED,
    "aborted": Status.CANCELLED,
    "skipped": Status.SKIPPED,
}

_STATES = ("conclusion", "result", "outcome", "status", "state")


def word(thing: Any) -> str | None:
    """Return the status that an object gives itself; a result is told before a state."""
    found = values.first(*(values.inside(thing, name) for name in _STATES))
    return found[:100].lower().replace(" ", "_").replace("-", "_") if found else None


def fields(thing: Any) -> dict[str, Any]:
    """Return what an object says under common names, as fields of an Event. What it does not say is left out."""

    def text(*names: str) -> str | None:
        return values.first(*(values.inside(thing, *name.split(".")) for name in names))

    begun = values.moment(text("started_at", "startedAt", "start_time", "startTime", "created_at", "createdAt"))
    ended = values.moment(text("finished_at", "finishedAt", "completed_at", "completedAt", "end_time", "endTime"))
    home = text("repository.html_url", "repository.url", "repository_url", "repositoryUrl", "repo_url", "repository")
    number = values.inside(thing, "pull_request", "number") or values.inside(thing, "pull_request")
    found: dict[str, Any] = {
        **(values.place(home) if home and "://" in home else {}),
        **_ref(text("ref", "branch", "branch.name", "git.branch", "gitBranch"), text("tag", "git.tag", "gitTag")),
        "pull_request": values.pull_request(number or values.inside(thing, "pullRequest")),
        "sha": text("sha", "commit.sha", "commit.id", "commit", "commit_sha", "commitSha", "revision", "git.commit"),
        "title": text("title", "subject", "summary", "commit.message", "commit_message", "commitMessage"),
        "author": text("author.login", "author.username", "author.name", "author", "user.login", "user.name", "user"),
        "author_email": text("author.email", "user.email"),
        "pipeline": text("pipeline.name", "pipeline", "workflow.name", "workflow", "project.name", "project", "name"),
        "environment": text("environment.name", "environment.id", "environment", "env", "target"),
        "url": values.address(text("html_url", "web_url", "url", "uri", "link", "links.html")),
        "description": text("description", "message", "reason", "error.message", "error"),
        "started_at": begun,
        "finished_at": ended,
        "duration": values.seconds(values.inside(thing, "duration")) or values.between(begun, ended),
    }
    named = text("repository.full_name", "repository.fullName", "repository.slug", "repository", "repo")
    if named and "://" not in named and "/" in named:
        found["repository"] = named
    return {name: value for name, value in found.items() if value is not None}


def _ref(name: str | None, tag: str | None) -> values.Ref:
    return {"branch": None, "tag": tag} if tag else values.ref(name)
