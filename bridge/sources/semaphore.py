"""What does a webhook of Semaphore 2.0 say?

Semaphore tells a pipeline's end, with all its jobs, and nothing before it. A pipeline that is run again, or promoted,
is a new one, so every run is its first attempt. Nothing here asks Semaphore's API.

Signature: ``X-Semaphore-Signature-256``, lower-case hex HMAC-SHA256 of the raw body, once the organization has a secret
called WEBHOOK_SECRET. ``X-Semaphore-Webhook-Id`` names the delivery and is not signed.

https://docs.semaphoreci.com/using-semaphore/notifications
https://github.com/semaphoreio/semaphore/tree/main/notifications
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import msgspec

from bridge.codec import decode, web_url
from bridge.event import Event, Identity, Ignored, Inbound, Kind, RunRef, Status, Task
from bridge.sources import _values as values
from bridge.sources._values import inside, text
from bridge.verify import hmac_hex, require_hmac_hex

LABEL = "Semaphore"
SETUP = (
    "In Semaphore make an organization secret called WEBHOOK_SECRET whose environment variable WEBHOOK_SECRET is the "
    "source's secret. Then open Settings > Notifications > New Notification and give {url} as the webhook's endpoint, "
    "with the secret named there. Raise the webhook's timeout to a few seconds: it is half a second."
)
CONTENT_TYPES = frozenset({"application/json"})
SIGNS = True
TOKEN_HEADERS: tuple[str, ...] = ()
STATUS: Mapping[str, Status] = {
    # state, before the result
    "initializing": Status.QUEUED,
    "pending": Status.QUEUED,
    "queuing": Status.QUEUED,
    "running": Status.RUNNING,
    "stopping": Status.RUNNING,
    # result
    "passed": Status.SUCCESS,
    "failed": Status.FAILURE,
    "stopped": Status.CANCELLED,
    "canceled": Status.CANCELLED,
}
REASONS: Mapping[str, Status] = {  # result_reason, where it says more than the result
    "internal": Status.ERROR,
    "malformed": Status.ERROR,
    "stuck": Status.ERROR,
    "timeout": Status.TIMEOUT,
    "skipped": Status.SKIPPED,
}

_DELIVERY = re.compile(r"[!-~]{1,200}")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


class _Pipeline(msgspec.Struct):
    id: Any = None
    name: Any = None
    state: Any = None
    result: Any = None
    result_reason: Any = None
    error_description: Any = None
    created_at: Any = None
    running_at: Any = None
    done_at: Any = None


class _Body(msgspec.Struct):
    pipeline: _Pipeline | None = None
    workflow: Any = None
    revision: Any = None
    repository: Any = None
    project: Any = None
    organization: Any = None
    blocks: Any = None


def verify(inbound: Inbound, secrets: Sequence[str]) -> None:
    """Return if one of `secrets` signed the raw body, else raise Unauthorized."""
    require_hmac_hex(inbound.body, inbound.headers.get("x-semaphore-signature-256"), secrets)


def identify(inbound: Inbound) -> Identity:
    """Return the delivery's id, which stays the same when Semaphore sends again; older servers send none."""
    delivery = inbound.headers.get("x-semaphore-webhook-id", "")
    if _DELIVERY.fullmatch(delivery):
        return Identity(delivery)
    return Identity("sha256:" + hashlib.sha256(inbound.body).hexdigest())


def sign(body: bytes, secret: str, *, delivery: str) -> dict[str, str]:
    """Return the headers with which Semaphore would send `body`."""
    return {
        "Content-Type": "application/json",
        "X-Semaphore-Webhook-Id": delivery,
        "X-Semaphore-Signature-256": hmac_hex(body, secret),
    }


def normalise(inbound: Inbound) -> Event | Ignored:
    """Return the request in our words, or why it has nothing for chat; raise Unreadable."""
    body = decode(inbound.body, _Body)
    pipeline = body.pipeline
    if pipeline is None:
        return Ignored("a body without a pipeline, so this is no notification of Semaphore")
    status = _status(pipeline.state, pipeline.result, pipeline.result_reason)
    run = values.key(pipeline.id, "pipeline.id")
    url = _page(body, run)
    started = values.moment(pipeline.running_at) or values.moment(pipeline.created_at)
    finished = values.moment(pipeline.done_at) if status.finished else None
    return Event(
        **_commit(body),
        source=inbound.source,
        type="semaphore",
        kind=Kind.PIPELINE,
        status=status,
        pipeline=text(pipeline.name),
        run=RunRef(id=run, attempt=1, url=url),
        tasks=_tasks(body.blocks),
        url=url,
        description=values.first(pipeline.error_description) or _nuance(pipeline),
        started_at=started,
        finished_at=finished,
        duration=values.between(started, finished),
        changed_at=finished or started,
        facts=_facts(body),
    )


def _status(state: Any, result: Any, reason: Any) -> Status:
    """Return our word: the result once the pipeline is done, made more precise by its reason."""
    word = text(result if state in ("done", "finished", None) else state) or ""
    status = STATUS.get(word, Status.UNKNOWN)
    if not status.finished or (status is Status.SUCCESS and reason != "skipped"):
        return status
    return REASONS.get(text(reason) or "", status)


def _nuance(pipeline: _Pipeline) -> str | None:
    """Return the reason where our word says less, and a word that we do not know as it came."""
    word = values.unknown(pipeline.result if pipeline.state in ("done", None) else pipeline.state, STATUS)
    reason = text(pipeline.result_reason, 100)
    return word or (f"{text(pipeline.result)}: {reason.replace('_', ' ')}" if reason and reason != "test" else None)


def _page(body: _Body, run: str) -> str | None:
    """Return the workflow's page, made of the organization's name: webhooks bring no address."""
    host, workflow = (text(inside(body.organization, "name")) or "").lower(), text(inside(body.workflow, "id"), 100)
    if not _HOST.fullmatch(host) or workflow is None:
        return None
    return web_url(f"https://{host}.semaphoreci.com/workflows/{workflow}?pipeline_id={run}")


def _facts(body: _Body) -> tuple[tuple[str, str], ...]:
    """Whose fork it comes from."""
    head = text(inside(body.revision, "pull_request", "head_repo_slug"))
    return (("fork", head),) if head and _fork(body) else ()


# -- the commit --------------------------------------------------------------------------------------------------------


class _Commit(TypedDict):
    repository: str | None
    repository_url: str | None
    branch: str | None
    tag: str | None
    pull_request: int | None
    fork: bool | None
    sha: str | None
    title: str | None
    message: str | None
    author: str | None
    author_email: str | None
    pusher: str | None
    trigger: str | None


def _commit(body: _Body) -> _Commit:
    """A pull request's run builds a merge that nobody has made: it is shown with its head."""
    revision = body.revision
    pull = inside(revision, "pull_request")
    tag = text(inside(revision, "tag", "name")) or values.ref(inside(revision, "reference"))["tag"]
    branch = values.first(inside(pull, "branch_name"), inside(revision, "branch", "name"))
    url = web_url(text(inside(body.repository, "url")))
    message = values.whole_text(inside(revision, "commit_message"))
    return {
        "repository": text(inside(body.repository, "slug")) or values.place(url)["repository"] or _project(body),
        "repository_url": url,
        "branch": None if tag else branch,
        "tag": tag,
        "pull_request": values.whole(inside(pull, "number")),
        "fork": _fork(body),
        "sha": values.first(inside(pull, "head_sha"), inside(revision, "commit_sha")),
        "title": values.first(inside(pull, "name"), message),
        "message": message,
        "author": text(inside(revision, "sender", "login")),
        "author_email": text(inside(revision, "sender", "email")),
        "pusher": text(inside(revision, "sender", "login")),
        "trigger": text(inside(revision, "reference_type")),
    }


def _project(body: _Body) -> str | None:
    """Return what old servers, which name no repository, leave to go by."""
    owner, name = text(inside(body.organization, "name"), 200), text(inside(body.project, "name"), 200)
    return f"{owner}/{name}" if owner and name else None


def _fork(body: _Body) -> bool | None:
    head = text(inside(body.revision, "pull_request", "head_repo_slug"))
    base = text(inside(body.repository, "slug"))
    return head.lower() != base.lower() if head and base else None


# -- its jobs ----------------------------------------------------------------------------------------------------------


def _tasks(blocks: Any) -> tuple[Task, ...]:
    """Return the jobs of all blocks in their order."""
    found = []
    for block in _list(blocks):
        jobs = [job for job in _list(inside(block, "jobs")) if values.identifier(inside(job, "id"))]
        jobs.sort(key=lambda job: values.whole(inside(job, "index")) or 0)
        found += [_task(job, inside(block, "result_reason")) for job in jobs]
    return tuple(found)


def _list(value: Any) -> list[Any]:
    return value[:1_000] if isinstance(value, list) else []


def _task(job: Any, reason: Any) -> Task:
    """A job tells no reason: its block does, for those of its jobs that did not pass."""
    key = values.key(inside(job, "id"), "blocks.jobs.id")
    result = inside(job, "result")
    return Task(
        id=key,
        name=text(inside(job, "name")) or key,
        status=_status(inside(job, "status"), result, reason),
        note=values.unknown(result, STATUS),
    )
