"""What does a webhook of CircleCI say?

CircleCI tells of ends only: a workflow or a job is completed. The same facts come in two shapes. Projects that log in
by GitHub's OAuth or by Bitbucket Cloud have `pipeline.vcs`, those of the GitHub App, GitLab and Bitbucket Data Center
have `pipeline.trigger_parameters`. A re-run is a new workflow of the same pipeline, so every run is its first attempt.
Nothing here asks CircleCI's API.

Signature: ``circleci-signature``, a list of versions; ``v1=`` is lower-case hex HMAC-SHA256 of the raw body. No time of
sending is signed, and a request may rightly come late: CircleCI sends again what was not answered. `id` in the signed
body tells a repetition.

https://circleci.com/docs/guides/integration/outbound-webhooks/
https://circleci.com/docs/reference/outbound-webhooks-reference/
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import msgspec

from bridge.codec import clean, decode, web_url
from bridge.errors import Unreadable
from bridge.event import Event, Identity, Ignored, Inbound, Kind, RunRef, Status, Task
from bridge.sources import _values as values
from bridge.sources._values import inside, text
from bridge.verify import hmac_hex, require_hmac_hex

LABEL = "CircleCI"
SETUP = (
    "In CircleCI open the project's Project Settings > Webhooks > Add Webhook, give {url} as the Receiver URL and the "
    "source's secret as the Secret token, and tick Workflow Completed (and Job Completed for the jobs)."
)
CONTENT_TYPES = frozenset({"application/json"})
SIGNS = True
TOKEN_HEADERS: tuple[str, ...] = ()
STATUS: Mapping[str, Status] = {
    "success": Status.SUCCESS,
    "failed": Status.FAILURE,
    "error": Status.ERROR,
    "canceled": Status.CANCELLED,
    "unauthorized": Status.ERROR,  # somebody without access to a context started it
}

_SIGNATURE = "circleci-signature"
_PULL = re.compile(r"pull/([1-9][0-9]{0,8})(?:/(?:head|merge))?")


class _Workflow(msgspec.Struct):
    id: Any = None
    name: Any = None
    url: Any = None
    status: Any = None  # not in a job's webhook
    created_at: Any = None
    stopped_at: Any = None


class _Job(msgspec.Struct):
    id: Any = None
    name: Any = None
    number: Any = None
    status: Any = None
    started_at: Any = None
    stopped_at: Any = None


class _Body(msgspec.Struct):
    id: Any = None
    type: Any = None
    happened_at: Any = None
    workflow: _Workflow | None = None
    job: _Job | None = None
    pipeline: Any = None
    project: Any = None
    organization: Any = None


def verify(inbound: Inbound, secrets: Sequence[str]) -> None:
    """Return if one of `secrets` signed the raw body by `v1`, else raise Unauthorized. Other versions are not known."""
    versions = inbound.headers.get(_SIGNATURE, "")[:1_000].split(",")
    signature = next((one.strip() for one in versions if one.strip().startswith("v1=")), None)
    require_hmac_hex(inbound.body, signature, secrets, prefix="v1=")


def identify(inbound: Inbound) -> Identity:
    """Return the event's id, which is signed with the body and stays the same when CircleCI sends it again."""
    try:
        delivery = text(decode(inbound.body, _Body).id, 200)
    except Unreadable:
        delivery = None
    return Identity(delivery or "sha256:" + hashlib.sha256(inbound.body).hexdigest())


def normalise(inbound: Inbound) -> Event | Ignored:
    """Return the request in our words, or why it has nothing for chat; raise Unreadable."""
    body = decode(inbound.body, _Body)
    name = text(body.type, 60) or text(inbound.headers.get("circleci-event-type"), 60)
    match name:
        case "workflow-completed":
            return _workflow_event(body, inbound.source)
        case "job-completed":
            return _job_event(body, inbound.source)
        case "ping":
            return Ignored("ping: the webhook is set up")
        case None:
            return Ignored("a body without a type, so this is no webhook of CircleCI")
    return Ignored(f"{name}: bridge has nothing to say about it")


def sign(body: bytes, secret: str, *, delivery: str) -> dict[str, str]:
    """Return the headers of CircleCI. The delivery's id is in the body, so `delivery` is not used."""
    headers = {"Content-Type": "application/json", "Circleci-Signature": "v1=" + hmac_hex(body, secret)}
    try:
        name = text(decode(body, _Body).type, 60)
    except Unreadable:
        name = None
    return headers | ({"Circleci-Event-Type": name} if name and name.isascii() else {})


# -- the two events ----------------------------------------------------------------------------------------------------


def _workflow_event(body: _Body, source: str) -> Event:
    workflow = body.workflow or _Workflow()
    started, stopped = values.moment(workflow.created_at), values.moment(workflow.stopped_at)
    return Event(
        **_known(body, source),
        kind=Kind.PIPELINE,
        status=_status(workflow.status),
        url=web_url(text(workflow.url)),
        description=_nuance(workflow.status),
        started_at=started,
        finished_at=stopped,
        duration=values.between(started, stopped),
        changed_at=stopped or values.moment(body.happened_at),
    )


def _job_event(body: _Body, source: str) -> Event:
    job = body.job or _Job()
    started, stopped = values.moment(job.started_at), values.moment(job.stopped_at)
    key = values.key(job.id, "job.id")
    task = Task(
        id=key,
        name=text(job.name) or key,
        status=_status(job.status),
        url=_job_url(body, job),
        started_at=started,
        finished_at=stopped,
        duration=values.between(started, stopped),
        changed_at=stopped or values.moment(body.happened_at),
        note=_nuance(job.status),
    )
    return Event(
        **_known(body, source),
        kind=Kind.TASK,
        status=task.status,
        task=task,
        url=task.url,
        description=task.note,
        started_at=started,
        finished_at=stopped,
        duration=task.duration,
        changed_at=task.changed_at,
    )


def _job_url(body: _Body, job: _Job) -> str | None:
    """Return the job's page, which stands under its workflow's: webhooks leave it out."""
    workflow, number = web_url(text(body.workflow.url)) if body.workflow else None, values.whole(job.number)
    return web_url(f"{workflow}/jobs/{number}") if workflow and number is not None else workflow


def _status(word: Any) -> Status:
    return STATUS.get(text(word) or "", Status.UNKNOWN)


def _nuance(word: Any) -> str | None:
    return "unauthorized" if word == "unauthorized" else values.unknown(word, STATUS)


# -- what both say -----------------------------------------------------------------------------------------------------


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
    author_name: str | None
    author_email: str | None
    committer: str | None
    committer_email: str | None
    pusher: str | None


class _Known(_Commit):
    source: str
    type: str
    pipeline: str | None
    run: RunRef
    default_branch: str | None
    trigger: str | None
    committed_at: Any


def _known(body: _Body, source: str) -> _Known:
    """Return what a workflow and its jobs have in common; raise Unreadable without the workflow's id."""
    workflow = body.workflow or _Workflow()
    vcs, parameters = inside(body.pipeline, "vcs"), inside(body.pipeline, "trigger_parameters")
    forge = _forge(parameters)
    said = _by_vcs(vcs) if isinstance(vcs, dict) else _by_trigger(parameters, forge)
    said["repository"] = said["repository"] or _named(body)
    committed = inside(vcs, "commit", "committed_at") or inside(forge, "commit_timestamp")
    return {
        **said,
        "source": source,
        "type": "circleci",
        "pipeline": text(workflow.name),
        "run": RunRef(
            id=values.key(workflow.id, "workflow.id"),
            number=values.whole(inside(body.pipeline, "number")),
            attempt=1,
            url=web_url(text(workflow.url)),
        ),
        "default_branch": text(inside(forge, "default_branch")),
        "trigger": values.first(inside(parameters, "circleci", "event_type"), inside(body.pipeline, "trigger", "type")),
        "committed_at": values.moment(committed),
    }


def _by_vcs(vcs: dict[str, Any]) -> _Commit:
    """The shape of GitHub's OAuth and of Bitbucket Cloud. A tag's pipeline may have nulls for all that it knows."""
    origin = values.place(vcs.get("origin_repository_url"))
    target = values.place(vcs.get("target_repository_url"))
    fork = origin != target if origin["repository"] and target["repository"] else None
    subject, rest = text(inside(vcs, "commit", "subject")), values.whole_text(inside(vcs, "commit", "body"))
    name = text(inside(vcs, "commit", "author", "name"))
    branch, tag = text(vcs.get("branch")), text(vcs.get("tag"))
    return {
        **(target if target["repository"] else origin),
        "branch": None if tag else branch,
        "tag": tag,
        "pull_request": _pull_request(branch),
        "fork": fork,
        "sha": text(vcs.get("revision"), 100),
        "title": subject,
        "message": clean(f"{subject}\n\n{rest}") if subject and rest else subject,
        "author": name,
        "author_name": name,
        "author_email": text(inside(vcs, "commit", "author", "email")),
        "committer": text(inside(vcs, "commit", "committer", "name")),
        "committer_email": text(inside(vcs, "commit", "committer", "email")),
        "pusher": None,
    }


def _by_trigger(parameters: Any, forge: Any) -> _Commit:
    """The shape of the GitHub App, of GitLab and of Bitbucket Data Center."""
    git = inside(parameters, "git")
    clone = values.first(inside(forge, "web_url"), inside(forge, "repo_url"), inside(git, "checkout_url"))
    of_ref = values.ref(values.first(inside(git, "ref"), inside(forge, "ref")))
    branch = values.first(inside(git, "branch"), inside(forge, "branch"))
    tag = values.first(inside(git, "tag"), inside(forge, "tag"), of_ref["tag"])
    message = values.whole_text(inside(forge, "commit_message"))
    name = text(inside(forge, "commit_author_name"))
    return {
        **values.place(clone),
        "branch": None if tag else branch,
        "tag": tag,
        "pull_request": _pull_request(branch),
        "fork": values.flag(inside(forge, "is_fork_merge_request")),
        "sha": values.first(inside(git, "checkout_sha"), inside(forge, "checkout_sha"), inside(forge, "commit_sha")),
        "title": values.first(inside(forge, "commit_title"), message),
        "message": message,
        "author": values.first(inside(forge, "user_username"), name, inside(forge, "user_name")),
        "author_name": name,
        "author_email": text(inside(forge, "commit_author_email")),
        "committer": None,
        "committer_email": None,
        "pusher": values.first(inside(forge, "user_username"), inside(forge, "user_name")),
    }


def _forge(parameters: Any) -> Any:
    """Return what the forge said of the commit: it stands under the forge's name (`gitlab`, `github_app`, ...)."""
    if not isinstance(parameters, dict):
        return None
    return next((said for name, said in parameters.items() if name not in ("git", "circleci")), None)


def _pull_request(branch: str | None) -> int | None:
    """Return the number in a branch called ``pull/12``, as those of forks are; no other place tells it."""
    found = _PULL.fullmatch(branch or "")
    return int(found[1]) if found else None


def _named(body: _Body) -> str | None:
    """Return the repository by the project's names: the slug is ``github/acme/app`` or opaque ``circleci/ID/ID``."""
    host, _, path = (text(inside(body.project, "slug")) or "").partition("/")
    if path and host != "circleci":
        return path
    owner, name = text(inside(body.organization, "name"), 200), text(inside(body.project, "name"), 200)
    return f"{owner}/{name}" if owner and name else None
