"""What has GitLab sent by a webhook in the last seven days? Its log, or else the pipelines themselves.

Since 17.3 the API has the log of a webhook, bodies and all; whoever may see it must be a maintainer. For older servers
and lesser tokens the pipelines of a project are made into the webhooks that they would have sent last: pipelines only,
without the states in between. E-mail addresses are redacted in the log.

https://docs.gitlab.com/api/project_webhooks/
https://docs.gitlab.com/api/group_webhooks/
https://docs.gitlab.com/api/pipelines/
https://docs.gitlab.com/api/jobs/
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import msgspec

from bridge.codec import dump
from bridge.history import Hook, Sent
from bridge.history.asking import Asker, Refused, posts_to, segment
from bridge.sources._gitlab_words import moment
from bridge.sources._values import inside

if TYPE_CHECKING:
    import aiohttp

API_URL = "https://gitlab.com/api/v4"
PLACE = "GROUP/PROJECT"
NEEDS = "the scope api (or read_api) and the role Maintainer; with Developer its pipelines can be read"

_NAME = "GitLab's API"
_EVENTS = 10  # a page; the bodies of 20, which is the most, may be more than one answer is read of
_PIPELINES = 50
_JOBS = 100
_PIPELINE = "pipelines/"
_TOO_LONG = re.compile(rb'\{\s*"oversize"\s*:\s*true\s*\}')
_REDACTED = "[REDACTED]"
_HOOK = re.compile(r"/?((?:projects|groups)/[^/\s]+)/hooks/([0-9]{1,18})/?")
_OF_REQUEST = re.compile(r"refs/merge-requests/([1-9][0-9]{0,17})/[a-z]+")
_LEVELS = {"private": 0, "internal": 10, "public": 20}


class _Hook(msgspec.Struct):
    id: int
    url: str | None = None


class _Event(msgspec.Struct):
    id: int
    request_headers: dict[str, Any] | None = None
    request_data: msgspec.Raw = msgspec.Raw(b"null")
    created_at: Any = None


class _Listed(msgspec.Struct):
    """A pipeline in the list: enough to know whether this state of it was seen."""

    id: int
    status: str | None = None
    updated_at: str | None = None


def asker(session: aiohttp.ClientSession, api_url: str | None, token: str) -> Asker:
    base = (api_url or API_URL).rstrip("/")
    if not urlsplit(base).path:  # the address of the server itself
        base += "/api/v4"
    return Asker(_NAME, session, base, {"Accept": "application/json", "Authorization": f"Bearer {token}"})


def named(path: str) -> Hook | None:
    """``projects/42/hooks/7``, ``projects/acme%2Fapp/hooks/7`` or ``groups/acme/hooks/7``."""
    found = _HOOK.fullmatch(path)
    return Hook(unquote(found[1].partition("/")[2]), f"/{found[1]}/hooks/{found[2]}") if found else None


async def hooks(ask: Asker, place: str, source: str) -> list[Hook]:
    """Those of the project, else of the groups that it is in; where they may not be seen, its pipelines."""
    try:
        found = await _hooks(ask, place, f"/projects/{segment(place)}", source)
    except Refused:
        return [Hook(place, f"/projects/{segment(place)}/pipelines")]
    return found or await _hooks_above(ask, place, source)


async def _hooks(ask: Asker, place: str, path: str, source: str) -> list[Hook]:
    listed = await ask.get(f"{path}/hooks", list[_Hook], per_page=100)
    return [Hook(place, f"{path}/hooks/{hook.id}") for hook in listed if posts_to(hook.url or "", source)]


async def _hooks_above(ask: Asker, place: str, source: str) -> list[Hook]:
    """A group's webhooks are of paid plans and for its owners: who may not see them sees none."""
    above = place.split("/")[:-1][:20]
    for depth in range(len(above), 0, -1):
        group = "/".join(above[:depth])
        try:
            if found := await _hooks(ask, group, f"/groups/{segment(group)}", source):
                return found
        except Refused:
            continue
    return []


async def sent(ask: Asker, hook: Hook, since: datetime) -> AsyncIterator[list[Sent]]:
    if not hook.path.endswith("/pipelines"):
        try:
            async for page in _events(ask, hook, since):
                yield page
            return
        except Refused:  # a server before 17.3
            if not hook.path.startswith("/projects/"):
                raise
    async for page in _pipelines(ask, _project(hook), since):
        yield page


def _project(hook: Hook) -> str:
    return "/".join(hook.path.split("/")[:3])


# -- the log of a webhook ----------------------------------------------------------------------------------------------


async def _events(ask: Asker, hook: Hook, since: datetime) -> AsyncIterator[list[Sent]]:
    number, more = 1, True
    while more:
        listed = await ask.get(f"{hook.path}/events", list[_Event], per_page=_EVENTS, page=number)
        young = [one for one in listed if _since(one, since)]
        yield [_sent(one) for one in young]
        number, more = number + 1, len(listed) == _EVENTS == len(young)


def _since(event: _Event, since: datetime) -> bool:
    """Older servers do not tell when it was; they show seven days."""
    at = moment(event.created_at)
    return at is None or at >= since


def _sent(event: _Event) -> Sent:
    told = (event.request_headers or {}).items()
    headers = {name.lower(): value for name, value in told if isinstance(value, str) and value != _REDACTED}
    body = bytes(event.request_data).strip()
    # Of a long one only this much is kept: that it was.
    gone = not body.startswith(b"{") or _TOO_LONG.fullmatch(body)
    return Sent(f"events/{event.id}", headers | {"content-type": "application/json"}, None if gone else body)


# -- pipelines, where there is no log ----------------------------------------------------------------------------------


async def _pipelines(ask: Asker, project: str, since: datetime) -> AsyncIterator[list[Sent]]:
    number, more = 1, True
    while more:
        listed = await ask.get(
            f"{project}/pipelines",
            list[_Listed],
            updated_after=since.isoformat().replace("+00:00", "Z"),
            order_by="updated_at",
            sort="desc",
            per_page=_PIPELINES,
            page=number,
        )
        yield [_state(one) for one in listed]
        number, more = number + 1, len(listed) == _PIPELINES


def _state(pipeline: _Listed) -> Sent:
    """One state of a pipeline. The key that stands for GitLab's own is made of it, so that it is known again."""
    state = f"pipeline-{pipeline.id}-{pipeline.status}-{pipeline.updated_at}"
    return Sent(
        f"{_PIPELINE}{pipeline.id}", {"content-type": "application/json", "idempotency-key": state.replace(" ", "_")}
    )


async def fetch(ask: Asker, hook: Hook, sent: Sent) -> Sent:
    """Return a pipeline as its webhook would tell it. An event of the log has its body, or none that is left."""
    if sent.body is not None:
        return sent
    if not sent.id.startswith(_PIPELINE):
        raise Refused(f"{_NAME} does not have the body of this event")
    project = _project(hook)
    path = f"{project}/{sent.id}"
    pipeline = await ask.get(path, dict[str, Any])
    home = await ask.get(project, dict[str, Any])
    jobs = await ask.get(f"{path}/jobs", list[dict[str, Any]], per_page=_JOBS)
    request = await _merge_request(ask, project, pipeline)
    try:
        return replace(sent, body=dump(_webhook(pipeline, home, jobs, request)))
    except (msgspec.MsgspecError, OverflowError) as error:
        raise Refused(f"{_NAME} answered something that is not as documented") from error


async def _merge_request(ask: Asker, project: str, pipeline: dict[str, Any]) -> dict[str, Any] | None:
    ref = pipeline.get("ref")
    found = _OF_REQUEST.fullmatch(ref) if isinstance(ref, str) else None
    if found is None:
        return None
    try:
        return await ask.get(f"{project}/merge_requests/{found[1]}", dict[str, Any])
    except Refused:
        return None


_ATTRIBUTES = ("id", "iid", "name", "ref", "tag", "sha", "source", "status", "created_at", "finished_at", "duration")
_JOB = ("id", "name", "stage", "status", "created_at", "started_at", "finished_at", "duration")
_REQUEST = ("iid", "title", "source_branch", "target_branch", "source_project_id", "target_project_id")


def _webhook(
    pipeline: dict[str, Any], home: dict[str, Any], jobs: list[dict[str, Any]], request: dict[str, Any] | None
) -> dict[str, Any]:
    """Return the body, each thing under the name that it has in the webhook; what the API leaves out is left out."""
    attributes = {name: pipeline.get(name) for name in _ATTRIBUTES} | {
        "url": pipeline.get("web_url"),
        "detailed_status": inside(pipeline, "detailed_status", "text"),
    }
    level = home.get("visibility")
    project = {name: home.get(name) for name in ("id", "name", "web_url", "path_with_namespace", "default_branch")}
    return {
        "object_kind": "pipeline",
        "object_attributes": attributes,
        "merge_request": {name: request.get(name) for name in _REQUEST} if request else None,
        "user": pipeline.get("user"),
        "project": project | {"visibility_level": _LEVELS.get(level) if isinstance(level, str) else None},
        "commit": _commit(jobs[0] if jobs else None),
        "builds": [{name: job.get(name) for name in (*_JOB, "failure_reason", "allow_failure")} for job in jobs],
    }


def _commit(job: Any) -> dict[str, Any] | None:
    commit = inside(job, "commit")
    if not isinstance(commit, dict):
        return None
    author = {"name": commit.get("author_name"), "email": commit.get("author_email")}
    return {name: commit.get(name) for name in ("id", "title", "message")} | {
        "timestamp": commit.get("committed_date"),
        "url": commit.get("web_url"),
        "author": author,
    }
