"""What does AppVeyor say about a build that ended? Never guesses the zone of its times.

Only the end of a build is sent, and nothing is signed: the token goes into a header that one adds to the webhook. Times
are local ones without a zone ("9/9/2018 7:04 PM"), so only durations are read. The body may be a template of the
user's own; then it needs the object ``eventData``.

https://www.appveyor.com/docs/notifications/#webhooks
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from bridge.codec import decode, web_url
from bridge.errors import Unauthorized, Unreadable
from bridge.event import Event, Identity, Inbound, Kind, RunRef, Status, Task
from bridge.sources import _values as values
from bridge.verify import REFUSED

LABEL = "AppVeyor"
SETUP = (
    "In AppVeyor, open the project's Settings > Notifications, add a Webhook for {url}, tick success and failure, and "
    "add a header Authorization whose value is “Bearer ” and the source's token."
)
CONTENT_TYPES = frozenset({"application/json"})
SIGNS = False
TOKEN_HEADERS: tuple[str, ...] = ("authorization",)
STATUS: Mapping[str, Status] = {  # in lower case: theirs varies
    "queued": Status.QUEUED,
    "starting": Status.RUNNING,
    "running": Status.RUNNING,
    "cancelling": Status.RUNNING,
    "success": Status.SUCCESS,
    "failed": Status.FAILURE,
    "failure": Status.FAILURE,
    "cancelled": Status.CANCELLED,
    "canceled": Status.CANCELLED,
}

_FORGES = {"github": "https://github.com", "gitlab": "https://gitlab.com", "bitbucket": "https://bitbucket.org"}
_DURATION = re.compile(r"(?:(\d{1,4})\.)?(\d{1,2}):(\d{2}):(\d{2}(?:\.\d{1,9})?)")  # 1.02:03:04.5678901


class _Job(msgspec.Struct, rename="camel"):
    id: Any = None
    name: Any = None
    status: Any = None
    passed: Any = None
    failed: Any = None
    duration: Any = None


class _Build(msgspec.Struct, rename="camel"):
    status: Any = None
    passed: Any = None
    failed: Any = None
    duration: Any = None
    project_name: Any = None
    build_id: Any = None
    build_number: Any = None
    build_version: Any = None
    build_url: Any = None
    repository_provider: Any = None
    repository_name: Any = None
    branch: Any = None
    is_tag: Any = None
    tag: Any = None
    commit_id: Any = None
    commit_author: Any = None
    commit_author_email: Any = None
    committer_name: Any = None
    committer_email: Any = None
    commit_message: Any = None
    commit_message_extended: Any = None
    is_pull_request: Any = None
    pull_request_id: Any = None
    pull_request_head_branch: Any = None
    jobs: list[_Job] | None = None


class _Body(msgspec.Struct, rename="camel"):
    event_name: Any = None
    event_data: _Build | None = None


def verify(inbound: Inbound, secrets: Sequence[str]) -> None:
    """Raise Unauthorized: AppVeyor cannot sign."""
    raise Unauthorized(REFUSED)


def identify(inbound: Inbound) -> Identity:
    """Return the body's digest: the end of a build comes once."""
    return values.digest(inbound.body)


def normalise(inbound: Inbound) -> Event:
    """Return the result of the build; raise Unreadable."""
    body = decode(inbound.body, _Body)
    build = body.event_data
    if build is None:
        raise Unreadable("eventData is missing")
    key = values.key(build.build_id, "eventData.buildId")
    page = web_url(values.text(build.build_url))
    name = values.text(build.repository_name)
    forge = _FORGES.get((values.text(build.repository_provider) or "").lower())
    pull = values.pull_request(build.pull_request_id) if build.is_pull_request is not False else None
    tag = values.text(build.tag) if build.is_tag else None
    branch = None if tag else values.text(build.branch)
    author = values.text(build.commit_author)
    word = _word(build)
    return Event(
        source=inbound.source,
        type="appveyor",
        kind=Kind.PIPELINE,
        status=STATUS.get(word or "", Status.UNKNOWN),
        repository=name,
        repository_url=web_url(f"{forge}/{name}") if forge and name else None,
        # A pull request's `branch` is the one that it goes into.
        branch=branch if pull is None else values.text(build.pull_request_head_branch),
        tag=tag,
        pull_request=pull,
        sha=values.text(build.commit_id, 100),
        title=values.text(build.commit_message),
        message=_message(build),
        author=author,
        author_name=author,
        author_email=values.text(build.commit_author_email),
        committer=values.text(build.committer_name),
        committer_email=values.text(build.committer_email),
        pipeline=values.text(build.project_name) or LABEL,
        run=RunRef(id=key, number=values.whole(build.build_number), url=page),
        tasks=tuple(_task(job, page, place) for place, job in enumerate((build.jobs or [])[:500], 1)),
        url=page,
        description=values.unknown(word, STATUS),
        trigger="pull_request" if pull is not None else None,
        duration=_seconds(build.duration),
        facts=values.facts(("version", build.build_version), ("into", branch if pull is not None else None)),
    )


def sign(body: bytes, secret: str, *, delivery: str) -> dict[str, str]:
    """Return the headers of AppVeyor, which signs nothing."""
    return {"Content-Type": "application/json"}


def _word(thing: _Build | _Job) -> str | None:
    """The status in lower case, else what the two flags say."""
    word = values.text(thing.status, 100)
    if word is not None:
        return word.lower()
    if thing.failed is True:
        return "failed"
    return "success" if thing.passed is True else None


def _task(job: _Job, page: str | None, place: int) -> Task:
    key = values.identifier(job.id) or str(place)
    word = _word(job)
    return Task(
        id=key,
        name=values.text(job.name) or f"job {place}",
        status=STATUS.get(word or "", Status.UNKNOWN),
        url=web_url(f"{page}/job/{quote(key, safe='')}") if page and job.id else None,
        duration=_seconds(job.duration),
        note=values.unknown(word, STATUS),
    )


def _message(build: _Build) -> str | None:
    first, rest = values.whole_text(build.commit_message), values.whole_text(build.commit_message_extended)
    return f"{first}\n\n{rest}" if first and rest else first


def _seconds(value: Any) -> float | None:
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return None
    days, hours, minutes, rest = found.groups()
    return round(int(days or 0) * 86_400 + int(hours) * 3_600 + int(minutes) * 60 + float(rest), 3)
