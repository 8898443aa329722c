"""What does a webhook of Buildkite say?

Builds and their jobs. The state is the object's: a payload may be younger than the event that it is sent for. A build
keeps its id while it is blocked, goes on, and has jobs retried. Three forms come: the webhook, a build of the REST API,
and what Amazon EventBridge passes on (its `detail`, where an id is called `uuid`). Nothing here asks Buildkite's API.

Signature: ``X-Buildkite-Signature: timestamp=<Unix seconds>,signature=<hex>``, HMAC-SHA256 of the timestamp, a dot and
the raw body. A service that is set to send its token instead sends it in ``X-Buildkite-Token`` and signs nothing.

https://buildkite.com/docs/apis/webhooks/pipelines
https://buildkite.com/docs/apis/webhooks/pipelines/build-events
https://buildkite.com/docs/pipelines/configure/build-states
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypedDict

from bridge.codec import web_url
from bridge.errors import Unauthorized, Unreadable
from bridge.event import Event, Identity, Ignored, Inbound, Kind, RunRef, Status, Task
from bridge.sources import _values as values
from bridge.sources._buildkite_shapes import Body, Build, read
from bridge.sources._values import inside, text
from bridge.verify import REFUSED, hmac_hex, require_hmac_hex, require_recent

LABEL = "Buildkite"
SETUP = (
    "In Buildkite open Settings > Notification Services > Add > Webhook, give {url} as the Webhook URL, choose to send "
    "the token as X-Buildkite-Signature and copy the token into the source's secret (or as X-Buildkite-Token, and copy "
    "it into `token`). Tick all build and job events."
)
CONTENT_TYPES = frozenset({"application/json"})
SIGNS = True
TOKEN_HEADERS: tuple[str, ...] = ("x-buildkite-token",)
STATUS: Mapping[str, Status] = {
    # builds
    "creating": Status.QUEUED,
    "scheduled": Status.QUEUED,
    "running": Status.RUNNING,
    "started": Status.RUNNING,  # EventBridge's word
    "failing": Status.RUNNING,
    "passed": Status.SUCCESS,
    "failed": Status.FAILURE,
    "blocked": Status.WAITING,
    "canceling": Status.RUNNING,
    "canceled": Status.CANCELLED,
    "skipped": Status.SKIPPED,
    "not_run": Status.SKIPPED,
    # jobs
    "pending": Status.QUEUED,
    "waiting": Status.QUEUED,  # for the jobs before it
    "limited": Status.QUEUED,
    "reserved": Status.QUEUED,
    "assigned": Status.QUEUED,
    "accepted": Status.QUEUED,
    "timing_out": Status.RUNNING,
    "timed_out": Status.TIMEOUT,
    "broken": Status.ERROR,
    "expired": Status.ERROR,  # no agent took it
    "unblocked": Status.SUCCESS,
    "waiting_failed": Status.SKIPPED,  # what it waited for failed
}
_NUANCED = frozenset({"failing", "canceling", "timing_out", "not_run", "broken", "expired", "waiting_failed"})
"""Words that say more than ours for them: they are kept as the description."""

_EXIT_STATUS = re.compile(r"-?[0-9]{1,10}")
_SIGNATURE = re.compile(r"timestamp=([0-9]{1,11}),signature=([0-9a-f]{64})")


# -- who sent it -------------------------------------------------------------------------------------------------------


def verify(inbound: Inbound, secrets: Sequence[str]) -> None:
    """Return if one of `secrets` signed the raw body and its time, and lately; else raise Unauthorized."""
    found = _SIGNATURE.fullmatch(inbound.headers.get("x-buildkite-signature", ""))
    if found is None:
        raise Unauthorized(REFUSED)
    require_hmac_hex(_signed(found[1], inbound.body), found[2], secrets)
    require_recent(found[1], inbound.received_at)


def _signed(stamp: str, body: bytes) -> bytes:
    return b"%s.%s" % (stamp.encode(), body)


def identify(inbound: Inbound) -> Identity:
    """Return the body's digest: Buildkite sends no delivery id.

    A build that goes on after a block may be told with the bytes that told of its first start.
    """
    try:
        repeatable = read(inbound.body).job is None
    except Unreadable:
        repeatable = False
    sent_at = _sent(inbound.headers) if repeatable else None
    return Identity(values.digest(inbound.body).key, repeatable=repeatable, sent_at=sent_at)


def _sent(headers: Mapping[str, str]) -> datetime | None:
    """Return when a signed request was sent off."""
    found = _SIGNATURE.fullmatch(headers.get("x-buildkite-signature", ""))
    return values.milliseconds(int(found[1]) * 1_000) if found else None


def sign(body: bytes, secret: str, *, delivery: str) -> dict[str, str]:
    """Return the headers with which Buildkite would send `body` now. It sends no delivery id."""
    return signed_at(body, secret, datetime.now(UTC))


def signed_at(body: bytes, secret: str, now: datetime) -> dict[str, str]:
    """Return the headers with which Buildkite would send `body` at `now`."""
    stamp = str(int(now.timestamp()))
    try:
        name = _name(read(body), {})
    except Unreadable:
        name = None
    return {
        "Content-Type": "application/json",
        "X-Buildkite-Event": name if name and name.isascii() else "build.finished",
        "X-Buildkite-Signature": f"timestamp={stamp},signature={hmac_hex(_signed(stamp, body), secret)}",
    }


# -- what it says ------------------------------------------------------------------------------------------------------


def _name(body: Body, headers: Mapping[str, str]) -> str | None:
    """Return the event's name: only what is ignored goes by it."""
    named = values.first(body.event, body.detail_type, headers.get("x-buildkite-event"))
    if named or body.build is None:
        return named
    return "job.finished" if body.job is not None else "build.finished"


def normalise(inbound: Inbound) -> Event | Ignored:
    """Return a build's or a job's state in our words, or why there is nothing for chat; raise Unreadable."""
    body = read(inbound.body)
    name = _name(body, inbound.headers) or "unknown event"
    if name == "ping":
        return Ignored("ping: the webhook is set up")
    if body.build is None:
        return Ignored(f"{name}: bridge tells of builds and jobs only")
    if body.job is None:
        return _build_event(body, body.build, inbound)
    if inside(body.job, "type") == "waiter":
        return Ignored(f"{name}: a wait step has nothing to say")
    return _job_event(body, body.build, inbound.source)


def _build_event(body: Body, build: Build, inbound: Inbound) -> Event:
    status = _build_status(build)
    started = _moment(build.started_at)
    finished = _moment(build.finished_at) if status.finished else None
    known = _known(body, build, inbound.source)
    return Event(
        **known,
        kind=Kind.PIPELINE,
        status=status,
        tasks=listed_jobs(build, known["run"].url),
        url=known["run"].url,
        action=text(body.event, 100),
        description=_description(build, status),
        started_at=started or _moment(build.scheduled_at) or _moment(build.created_at),
        finished_at=finished,
        duration=values.between(started, finished),
        changed_at=_changed(build, status, _sent(inbound.headers)),
        facts=_facts(build),
    )


def _build_status(build: Build) -> Status:
    """Return our word. A build that a block step holds up has passed so far, says its state."""
    status = STATUS.get(text(build.state) or "", Status.UNKNOWN)
    return Status.WAITING if status is Status.SUCCESS and build.blocked is True else status


def _description(build: Build, status: Status) -> str | None:
    if status is Status.WAITING:
        return "blocked: somebody has to unblock it"
    if status is Status.CANCELLED:
        return text(build.cancel_reason)
    return _nuance(build.state)


def _nuance(word: Any) -> str | None:
    said = word.replace("_", " ") if isinstance(word, str) and word in _NUANCED else None
    return said or values.unknown(word, STATUS)


def _changed(build: Build, status: Status, sent: datetime | None) -> datetime | None:
    """Return when the build took its state.

    `started_at` stays that of the first start when a build goes on after a block or a retried job. Then only the signed
    time tells that it runs again: the build ran when the request was sent off. So the end is told by that clock, too:
    else an end a second before "failing" was sent off, or saved bodies that are sent again, would never be believed.
    """
    if status.finished or status is Status.WAITING:
        return max(filter(None, (_moment(build.finished_at), sent)), default=None)
    if status is Status.RUNNING:
        return max(filter(None, (_moment(build.started_at), _moment(build.failing_at), sent)), default=None)
    return _moment(build.scheduled_at) or _moment(build.created_at)


def _facts(build: Build) -> tuple[tuple[str, str], ...]:
    rebuilt = values.whole(inside(build.rebuilt_from, "number"))
    return values.facts(("rebuild of", f"#{rebuilt}" if rebuilt is not None else None))


def _moment(value: Any) -> datetime | None:
    """Return a time; EventBridge writes ``2026-03-02 08:00:00 UTC``."""
    return values.moment(value.removesuffix(" UTC") if isinstance(value, str) else value)


# -- what both say -----------------------------------------------------------------------------------------------------


class _Known(TypedDict):
    source: str
    type: str
    repository: str | None
    repository_url: str | None
    branch: str | None
    tag: str | None
    default_branch: str | None
    pull_request: int | None
    fork: bool | None
    sha: str | None
    title: str | None
    message: str | None
    author: str | None
    author_name: str | None
    author_email: str | None
    pusher: str | None
    pipeline: str | None
    run: RunRef
    trigger: str | None


def _known(body: Body, build: Build, source: str) -> _Known:
    """Return what a build and its jobs have in common; raise Unreadable without the build's id."""
    clone = values.first(inside(body.pipeline, "repository"), inside(body.pipeline, "repo"))
    place = values.place(clone)
    tag, sha = text(build.tag), text(build.commit, 100)
    pull = build.pull_request
    who = build.author if isinstance(build.author, dict) else build.creator
    name = text(inside(who, "name"))
    return {
        "source": source,
        "type": "buildkite",
        "repository": place["repository"] or _last_part(clone),
        "repository_url": place["repository_url"],
        "branch": None if tag else _branch(build),
        "tag": tag,
        "default_branch": text(inside(body.pipeline, "default_branch")),
        "pull_request": values.pull_request(inside(pull, "id")),
        "fork": _fork(inside(pull, "repository"), place["repository"]),
        "sha": None if sha == "HEAD" else sha,  # the newest of its branch: Buildkite knows it once an agent has it
        "title": text(build.message),
        "message": values.whole_text(build.message),
        "author": text(inside(who, "username")) or name,
        "author_name": name,
        "author_email": text(inside(who, "email")),
        "pusher": text(inside(build.creator, "name")),
        "pipeline": values.first(inside(body.pipeline, "name"), inside(body.pipeline, "slug")),
        "run": RunRef(
            id=values.key(build.uuid if build.id is None else build.id, "build.id"),
            number=values.whole(build.number),
            url=_page(body, build),
        ),
        "trigger": text(build.source),
    }


def _branch(build: Build) -> str | None:
    """Return the branch. A fork's may be called ``user:branch``: git allows no colon in a branch."""
    return text((text(build.branch) or "").rpartition(":")[2])


def _last_part(clone: str | None) -> str | None:
    """Return the name in an address without an owner, such as ``git@git.example.com:app.git``."""
    return re.split("[:/]", clone)[-1].removesuffix(".git") or None if clone else None


def _fork(head: Any, base: str | None) -> bool | None:
    """Return whether a pull request's code comes from elsewhere: it names the address that its head is cloned from."""
    theirs = values.place(head)["repository"]
    return theirs.lower() != base.lower() if theirs and base else None


def _page(body: Body, build: Build) -> str | None:
    """Return the build's page; EventBridge leaves it out, but names what it is made of."""
    organization, pipeline = text(inside(body.organization, "slug")), text(inside(body.pipeline, "slug"))
    number = values.whole(build.number)
    made = f"https://buildkite.com/{organization}/{pipeline}/builds/{number}" if organization and pipeline else None
    return web_url(text(build.web_url)) or (web_url(made) if number is not None else None)


# -- its jobs ----------------------------------------------------------------------------------------------------------


def _job_event(body: Body, build: Build, source: str) -> Event:
    known = _known(body, build, source)
    task = _task(body.job, known["run"].url)
    return Event(
        **known,
        kind=Kind.TASK,
        status=task.status,
        task=task,
        url=task.url,
        action=text(body.event, 100),
        description=task.note,
        started_at=task.started_at,
        finished_at=task.finished_at,
        duration=task.duration,
        changed_at=task.changed_at,
    )


def listed_jobs(build: Build, page: str | None) -> tuple[Task, ...]:
    """Return the jobs that a build of the REST API lists, without those that were retried."""
    jobs = build.jobs[:1_000] if isinstance(build.jobs, list) else []
    told = [job for job in jobs if values.identifier(inside(job, "id")) and inside(job, "type") != "waiter"]
    return tuple(_task(job, page) for job in told if inside(job, "retried_in_job_id") is None)


def _task(job: Any, page: str | None) -> Task:
    given = inside(job, "uuid") if inside(job, "id") is None else inside(job, "id")
    key = values.key(given, "job.id")
    status = _job_status(job)
    started = _moment(inside(job, "started_at"))
    finished = _moment(inside(job, "finished_at")) if status.finished else None
    waited = _moment(inside(job, "runnable_at")) or _moment(inside(job, "scheduled_at"))
    created = _moment(inside(job, "created_at"))
    return Task(
        id=key,
        name=_job_name(job, key),
        status=status,
        url=web_url(text(inside(job, "web_url"))) or (web_url(f"{page}#{key}") if page else None),
        created_at=created,
        started_at=started,
        finished_at=finished,
        duration=values.between(started, finished),
        changed_at=finished or started or waited or created,
        note=_note(job, status),
        allowed=status.unsuccessful and inside(job, "soft_failed") is True,
    )


def _job_name(job: Any, key: str) -> str:
    """Return what people call a job. Parallel jobs of one step have one name and their place in the group."""
    name = values.first(*(inside(job, field) for field in ("name", "label", "step_key")))
    index, total = (values.whole(inside(job, f"parallel_group_{end}")) for end in ("index", "total"))
    return f"{name or key} {index + 1}/{total}" if index is not None and total is not None else name or key


def _job_status(job: Any) -> Status:
    """Return our word. `finished` only says that it ended: then how, is told beside it."""
    state = text(inside(job, "state")) or ""
    if state != "finished":
        return STATUS.get(state, Status.UNKNOWN)
    exit_status = inside(job, "exit_status")
    unblocked = isinstance(inside(job, "unblocked_by"), dict)
    if inside(job, "passed") is True or str(exit_status) == "0" or unblocked:
        return Status.SUCCESS
    if inside(job, "passed") is False or isinstance(exit_status, int | str):
        return Status.FAILURE
    return Status.UNKNOWN


def _note(job: Any, status: Status) -> str | None:
    """Return what explains the state: who let it go on, how it broke or ended, that it may fail."""
    who = text(inside(job, "unblocked_by", "name"))
    if status is Status.SUCCESS and who:
        return f"unblocked by {who}"
    reason = values.first(inside(job, "broken_reason"), inside(job, "signal_reason"))
    if status is Status.FAILURE and inside(job, "soft_failed") is True:
        return "soft failed: the build goes on"
    state = inside(job, "state")
    exit_status = str(inside(job, "exit_status"))
    if status is Status.FAILURE and not reason and _EXIT_STATUS.fullmatch(exit_status):
        return f"exit status {exit_status}"
    return reason or (None if state == "finished" and status is not Status.UNKNOWN else _nuance(state))
