"""What runs on Gitea and Forgejo: workflow runs and their jobs, commit statuses, Forgejo's finished runs.

Each function reads one webhook. The state is the object's own and never the hook's `action`. Nothing here asks an API,
and nothing but Unreadable leaves it.

https://github.com/go-gitea/gitea/blob/main/modules/structs/repo_actions.go
https://codeberg.org/forgejo/forgejo/src/branch/forgejo/modules/structs/hook.go
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from bridge.codec import decode
from bridge.event import Event, Ignored, Kind, RunRef, Status, Task
from bridge.sources import _gitea_words as words
from bridge.sources._values import (
    Ref,
    address,
    between,
    facts,
    first,
    flag,
    inside,
    items,
    key,
    moment,
    pull_request,
    seconds,
    text,
    unknown,
    whole,
    whole_text,
)


class _Hook(msgspec.Struct, kw_only=True):
    """The fields that bridge reads. `Any`: each is looked at by hand, so that an odd value costs only itself."""

    repository: Any = None
    sender: Any = None


class _WorkflowRunHook(_Hook, kw_only=True):
    workflow: Any = None
    workflow_run: Any = None
    pull_request: Any = None


class _WorkflowJobHook(_Hook, kw_only=True):
    workflow_job: Any = None


class _StatusHook(_Hook, kw_only=True):
    """The status is the hook itself."""

    sha: Any = None
    context: Any = None
    state: Any = None
    description: Any = None
    target_url: Any = None
    commit: Any = None
    created_at: Any = None
    updated_at: Any = None


class _ActionRunHook(msgspec.Struct, kw_only=True):
    run: Any = None
    last_run: Any = None
    prior_status: Any = None


# -- Gitea Actions -----------------------------------------------------------------------------------------------------


def workflow_run(source: str, body: bytes) -> Event:
    hook = decode(body, _WorkflowRunHook)
    run = hook.workflow_run
    said = words.word(inside(run, "status"), inside(run, "conclusion"))
    status = words.state(said)
    started, completed = moment(inside(run, "started_at")), moment(inside(run, "completed_at"))
    finished = completed if status.finished else None
    file, _, whole_ref = (text(inside(run, "path")) or "").partition("@")
    pull = hook.pull_request or next(iter(items(inside(run, "pull_requests"))), None)
    actor, again = inside(run, "actor"), inside(run, "trigger_actor") or inside(run, "triggering_actor")
    url = address(inside(run, "html_url"))
    return Event(
        **words.place(source, hook.repository),
        **_run_ref(run, whole_ref, pull),
        kind=Kind.PIPELINE,
        status=status,
        pull_request=words.pull_of(whole_ref) or (whole(inside(pull, "number")) if _for_pull(run) else None) or None,
        draft=flag(inside(pull, "draft")),
        fork=words.fork(inside(run, "head_repository"), hook.repository),
        sha=text(inside(run, "head_sha"), 100),
        title=text(inside(run, "display_title")),
        author=words.login(actor, again, hook.sender),
        author_name=text(inside(actor, "full_name")),
        author_email=text(inside(actor, "email")),
        pusher=None if inside(run, "event") == "schedule" else words.login(actor, again),
        reviewers=words.reviewers(pull, hook.repository),
        pipeline=first(inside(hook.workflow, "name"), file),
        run=RunRef(
            id=key(inside(run, "id"), "workflow_run.id"),
            number=whole(inside(run, "run_number")) or None,
            attempt=whole(inside(run, "run_attempt")) or None,  # 0 in the versions that do not count
            url=url,
        ),
        url=url,
        description=words.nuance(said),
        trigger=text(inside(run, "event")),
        started_at=started,
        finished_at=finished,
        duration=between(started, finished),
        changed_at=finished or (started if status is Status.RUNNING else None),
        facts=facts(("re-run by", _other(words.login(again), words.login(actor)))),
    )


def _for_pull(run: Any) -> bool:
    """A push to a branch stays on the branch's track, also while a pull request of it is open."""
    return (text(inside(run, "event")) or "").startswith("pull_request")


def _run_ref(run: Any, whole_ref: str, pull: Any) -> Ref:
    """Return the branch or tag: the path holds the whole ref, `head_branch` only a bare name."""
    if _for_pull(run) and (head := text(inside(pull, "head", "ref"))):
        return {"branch": head, "tag": None}
    return words.ref_of(whole_ref or inside(run, "head_branch"))


def _other(one: str | None, other: str | None) -> str | None:
    return one if one != other else None


def workflow_job(source: str, body: bytes) -> Event:
    hook = decode(body, _WorkflowJobHook)
    job = hook.workflow_job
    said = words.word(inside(job, "status"), inside(job, "conclusion"))
    attempt = whole(inside(job, "run_attempt")) or 1  # 0 until a runner takes it
    task = _task(job, words.state(said), attempt)
    return Event(
        **words.place(source, hook.repository),
        **words.ref_of(inside(job, "head_branch")),
        kind=Kind.TASK,
        status=task.status,
        sha=text(inside(job, "head_sha"), 100),
        author=words.login(hook.sender),
        pipeline=text(inside(job, "workflow_name")),
        run=RunRef(
            id=key(inside(job, "run_id"), "workflow_job.run_id"),
            attempt=attempt,
            url=address((task.url or "").partition("/jobs/")[0]),
        ),
        task=task,
        url=task.url,
        description=words.nuance(said),
        duration=task.duration,
        changed_at=task.changed_at,
    )


def _task(job: Any, status: Status, attempt: int) -> Task:
    name = key(inside(job, "id"), "workflow_job.id")
    created, started = moment(inside(job, "created_at")), moment(inside(job, "started_at"))
    completed = moment(inside(job, "completed_at")) if status.finished else None
    return Task(
        id=name,
        name=text(inside(job, "name")) or name,
        status=status,
        url=address(inside(job, "html_url")),
        step=next(
            (text(inside(step, "name")) for step in items(inside(job, "steps")) if _failed(inside(step, "conclusion"))),
            None,
        ),
        attempt=attempt,
        created_at=created,
        started_at=started,
        finished_at=completed,
        duration=between(started, completed),
        changed_at=completed or started or created,
    )


def _failed(conclusion: Any) -> bool:
    return words.state(text(conclusion)).unsuccessful


# -- commit statuses ---------------------------------------------------------------------------------------------------

_OF_ACTIONS = re.compile(r"/[^/\s]+/[^/\s]+/actions/runs/[0-9]+(/jobs/[0-9]+)?")


def status(source: str, body: bytes) -> Event | Ignored:
    """What other systems say about a commit: it is the run, and each context a task of it."""
    hook = decode(body, _StatusHook)
    place = words.place(source, hook.repository)
    target = text(hook.target_url)
    if target and _OF_ACTIONS.fullmatch(target.removeprefix(_site(place["repository_url"], place["repository"]))):
        return Ignored("Actions report this by workflow_run and workflow_job: tick those in the webhook")
    said = text(hook.state, 100)
    found = Status.RUNNING if said == "pending" else words.state(said)
    sha, context = key(hook.sha, "sha"), key(hook.context, "context")
    made, changed = moment(hook.created_at), moment(hook.updated_at) or moment(hook.created_at)
    url = address(target)
    task = Task(
        id=context,
        name=context,
        status=found,
        url=url,
        # Every status is an object of its own: only the pending one was made when the run began.
        started_at=made if found is Status.RUNNING else None,
        finished_at=changed if found.finished else None,
        changed_at=changed,
        note=": ".join(part for part in (words.nuance(said), text(hook.description)) if part) or None,
    )
    return Event(
        **place,
        kind=Kind.PIPELINE,
        status=found,
        sha=sha,
        title=text(inside(hook.commit, "message")),
        message=whole_text(inside(hook.commit, "message")),
        author=first(
            inside(hook.commit, "author", "username"), inside(hook.commit, "author", "name"), words.login(hook.sender)
        ),
        author_name=text(inside(hook.commit, "author", "name")),
        author_email=text(inside(hook.commit, "author", "email")),
        **words.committer(hook.commit),
        pipeline=context,
        run=RunRef(id=f"commit/{sha}", url=address(inside(hook.commit, "url")) or url, of_tasks=True),
        tasks=(task,),
        url=url or address(inside(hook.commit, "url")),
        description=task.note,
        committed_at=moment(inside(hook.commit, "timestamp")),
        started_at=task.started_at,
        finished_at=task.finished_at,
        changed_at=changed,
    )


def _site(page: str | None, name: str) -> str:
    """Return what stands before ``/owner/name``, for the runs of Actions are named without it."""
    return page.removesuffix("/" + name) if page else ""


# -- Forgejo Actions ---------------------------------------------------------------------------------------------------

FORGEJO_STATUS: Mapping[str, Status] = {**words.STATUS, "running": Status.RUNNING, "blocked": Status.WAITING}

_NANOSECONDS = 1_000_000_000


def action_run(source: str, body: bytes) -> Event:
    """A run that ended. A recovery is told as a success too: both are the same run, which speaks once."""
    hook = decode(body, _ActionRunHook)
    run = hook.run
    said = text(inside(run, "status"), 100)
    status = FORGEJO_STATUS.get(said or "", Status.UNKNOWN)
    started, stopped = moment(inside(run, "started")), moment(inside(run, "stopped"))
    finished = stopped if status.finished else None
    user = inside(run, "trigger_user")
    url = address(inside(run, "html_url"))
    return Event(
        **words.place(source, inside(run, "repository")),
        **_pretty(inside(run, "prettyref"), inside(run, "event")),
        kind=Kind.PIPELINE,
        status=status,
        pull_request=_pull_of(inside(run, "prettyref")),
        fork=flag(inside(run, "is_fork_pull_request")),
        sha=text(inside(run, "commit_sha"), 100),
        title=text(inside(run, "title")),
        author=words.login(user),
        author_name=text(inside(user, "full_name")),
        author_email=text(inside(user, "email")),
        pusher=None if inside(run, "trigger_event") == "schedule" else words.login(user),
        pipeline=text(inside(run, "workflow_id")),
        run=RunRef(
            id=key(inside(run, "id"), "run.id"),
            number=whole(inside(run, "index_in_repo")) or None,
            url=url,
        ),
        url=url,
        description=unknown(said, FORGEJO_STATUS),
        trigger=first(inside(run, "trigger_event"), inside(run, "event")),
        started_at=started,
        finished_at=finished,
        duration=seconds(inside(run, "duration"), per_second=_NANOSECONDS) or between(started, finished),
        changed_at=finished or moment(inside(run, "updated")),
        facts=facts(("run before", _named(hook.last_run))),
    )


def _pretty(name: Any, event: Any) -> Ref:
    """Return the branch or tag. A bare name may be either: one that reads as a version is taken for a tag."""
    found = text(name)
    if found is None or found.startswith("#"):  # a pull request
        return {"branch": None, "tag": None}
    if event == "release" or _VERSION.fullmatch(found):
        return {"branch": None, "tag": found}
    return words.ref_of(found)


_VERSION = re.compile(r"v?[0-9]+\.[0-9]+\.[0-9]+([-+.][0-9A-Za-z.+-]+)?")


def _pull_of(name: Any) -> int | None:
    found = text(name) or ""
    return pull_request(found.removeprefix("#")) if found.startswith("#") else words.pull_of(found)


def _named(run: Any) -> str | None:
    """Return how the workflow's run before ended: ``#40 failure``."""
    said, count = text(inside(run, "status"), 100), whole(inside(run, "index_in_repo"))
    if said is None:
        return None
    return f"#{count} {said}" if count else said
