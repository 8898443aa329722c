"""What runs on GitLab: pipelines with all their jobs, jobs one by one, deployments with their approvals.

Each function reads one webhook. A pipeline's hook comes at each change of its status and brings the newest jobs; a
job's hook comes at each change of that job and names its pipeline, so that both are one run. GitLab counts no attempts:
a retry leaves the pipeline's id and makes new jobs, and the times tell that it is later. Nothing but Unreadable leaves
it.

https://docs.gitlab.com/user/project/integrations/webhook_events/
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from bridge.codec import decode, first_line
from bridge.event import Event, Kind, RunRef, Status, Task
from bridge.sources import _gitlab_words as words
from bridge.sources._values import address, between, facts, first, identifier, inside, items, key, seconds, text, whole

# -- pipelines ---------------------------------------------------------------------------------------------------------


class _Pipeline(msgspec.Struct):
    """`Any` throughout, so that an odd value costs only itself."""

    object_attributes: Any = None
    merge_request: Any = None
    user: Any = None
    project: Any = None
    commit: Any = None
    builds: Any = None
    source_pipeline: Any = None


def pipeline(source: str, body: bytes) -> Event:
    hook = decode(body, _Pipeline)
    run = hook.object_attributes
    run_id = key(inside(run, "id"), "object_attributes.id")
    place = words.place(source, hook.project)
    tasks = tuple(_build(build, place) for build in items(hook.builds) if whole(inside(build, "id")) is not None)
    status = words.state(inside(run, "status"))
    created = words.moment(inside(run, "created_at"))
    finished = words.moment(inside(run, "finished_at")) if status.finished else None  # a retry keeps that of the end
    url = address(inside(run, "url")) or words.page(place, f"pipelines/{run_id}")
    ref = _pipeline_ref(run, hook.merge_request)
    fork = _fork(hook.merge_request, ref["pull_request"])
    # A push of a branch with an open merge request may begin a pipeline for each.
    twin = fork is False and ref["branch"] is not None and inside(run, "source") in ("push", "merge_request_event")
    return Event(
        **place,
        **ref,
        **words.commit(hook.commit, inside(run, "sha")),
        kind=Kind.PIPELINE,
        status=status,
        fork=fork,
        title=first(inside(hook.merge_request, "title")) or words.title(hook.commit),
        author=words.author(hook.user, inside(hook.commit, "author", "name")),
        pusher=None if inside(run, "source") == "schedule" else words.author(hook.user),
        pipeline=_named(run, hook) + (_CHILD if inside(run, "source") == "parent_pipeline" else ""),
        run=RunRef(id=run_id, number=whole(inside(run, "iid")), url=url, twin=twin),
        tasks=tasks,
        url=url,
        description=_said(run, items(hook.builds), status),
        trigger=_trigger(inside(run, "source")),
        started_at=created,
        finished_at=finished,
        duration=seconds(inside(run, "duration")) if status.finished else None,
        changed_at=_latest(created, finished, *(task.changed_at for task in tasks)),
        facts=_parent(hook, place),
    )


def _pipeline_ref(run: Any, merge_request: Any) -> words.Ref:
    ref = words.ref(inside(run, "ref"), inside(run, "tag"))
    asked = whole(inside(merge_request, "iid"))
    if asked is None:
        return ref
    # The ref is the source branch, or one that GitLab made of the merge request.
    return {"branch": text(inside(merge_request, "source_branch")) or ref["branch"], "tag": None, "pull_request": asked}


def _fork(merge_request: Any, pull_request: int | None) -> bool | None:
    """Return whether the code comes from a fork. What is no merge request's is this project's own."""
    source, target = inside(merge_request, "source_project_id"), inside(merge_request, "target_project_id")
    if whole(source) is None or whole(target) is None:
        return False if pull_request is None else None
    return bool(whole(source) != whole(target))


_UNNAMED = "GitLab CI"
_CHILD = " (child)"  # on a track of its own: it must not mend what its parent broke


def _named(run: Any, hook: _Pipeline) -> str:
    """Return the pipeline's name. `workflow:name` may name the run as well (its commit, its merge request): results are
    compared by this name, so one that is new each time is none.
    """
    name = text(inside(run, "name"))
    own = [words.title(hook.commit), text(inside(hook.merge_request, "title")), (text(inside(run, "sha")) or "")[:8]]
    return name if name and not any(part and part in name for part in own) else _UNNAMED


def _trigger(word: Any) -> str | None:
    return "pull_request" if word == "merge_request_event" else text(word, 100)


_PLAIN = frozenset({"passed", "canceled", "waiting for resource"})


def _said(run: Any, builds: Sequence[Any], status: Status) -> str | None:
    """Return what the status alone does not say. Older servers do not tell of warnings: the jobs do."""
    detailed = text(inside(run, "detailed_status"), 100)
    if detailed and detailed not in _PLAIN and detailed not in words.STATUS:
        return detailed
    if status is Status.SUCCESS and any(_allowed_failure(build) for build in builds):
        return "passed with warnings"
    return words.nuance(inside(run, "status"))


def _allowed_failure(build: Any) -> bool:
    return inside(build, "status") == "failed" and inside(build, "allow_failure") is True


def _parent(hook: _Pipeline, place: words.Place) -> tuple[tuple[str, str], ...]:
    """Which pipeline began this one, of this project or of another."""
    upstream = whole(inside(hook.source_pipeline, "pipeline_id"))
    project = text(inside(hook.source_pipeline, "project", "path_with_namespace"))
    if upstream is None:
        return ()
    elsewhere = f" of {project}" if project and project != place["repository"] else ""
    return facts(("started by", f"pipeline {upstream}{elsewhere}"))


def _latest(*moments: datetime | None) -> datetime | None:
    """Return when a pipeline took its status, as far as one can know: GitLab does not say it."""
    return max((moment for moment in moments if moment), default=None)


# -- jobs --------------------------------------------------------------------------------------------------------------


def _build(build: Any, place: words.Place) -> Task:
    """A job as a pipeline's hook brings it."""
    return _task(
        place,
        task_id=key(inside(build, "id"), "builds.id"),
        name=inside(build, "name"),
        status=inside(build, "status"),
        reason=inside(build, "failure_reason"),
        allowed=inside(build, "allow_failure"),
        times=(inside(build, "created_at"), inside(build, "started_at"), inside(build, "finished_at")),
        duration=inside(build, "duration"),
    )


def listed_job(job: dict[str, Any], repository_url: str | None) -> Task:
    """A job as the API lists it, which is as a hook brings it."""
    return _build(job, words.place("", {"web_url": repository_url}))


def _task(
    place: words.Place,
    *,
    task_id: str,
    name: Any,
    status: Any,
    reason: Any,
    allowed: Any,
    times: tuple[Any, Any, Any],
    duration: Any,
    attempt: int | None = None,
) -> Task:
    ours = words.state(status, reason)
    created, started, ended = (words.moment(value) for value in times)
    finished = ended if ours.finished else None
    return Task(
        id=task_id,
        name=text(name) or task_id,
        status=ours,
        url=words.page(place, f"jobs/{task_id}"),
        attempt=attempt,
        created_at=created,
        started_at=started,
        finished_at=finished,
        duration=(seconds(duration) or between(started, finished)) if ours.finished else None,
        changed_at=finished or started or created,
        note=_note(ours, status, reason, allowed),
        allowed=ours.unsuccessful and allowed is True,
    )


def _note(ours: Status, status: Any, reason: Any, allowed: Any) -> str | None:
    if not ours.unsuccessful:  # GitLab tells a reason, "unknown failure", also of what did not fail
        return words.nuance(status)
    why = (text(reason, 100) or "").replace("_", " ") if reason != "script_failure" else ""  # which `failed` says
    return first_line(", ".join(filter(None, (why, "allowed to fail" if allowed is True else None))))


class _Job(msgspec.Struct):
    ref: Any = None
    tag: Any = None
    sha: Any = None
    build_id: Any = None
    build_name: Any = None
    build_status: Any = None
    build_created_at: Any = None
    build_started_at: Any = None
    build_finished_at: Any = None
    build_duration: Any = None
    build_allow_failure: Any = None
    build_failure_reason: Any = None
    retries_count: Any = None
    pipeline_id: Any = None
    user: Any = None
    commit: Any = None
    project: Any = None
    repository: Any = None
    environment: Any = None


def job(source: str, body: bytes) -> Event:
    hook = decode(body, _Job)
    place = words.place(source, hook.project, hook.repository)
    run_id = identifier(hook.pipeline_id) or key(inside(hook.commit, "id"), "pipeline_id")
    retries = whole(hook.retries_count)
    task = _task(
        place,
        task_id=key(hook.build_id, "build_id"),
        name=hook.build_name,
        status=hook.build_status,
        reason=hook.build_failure_reason,
        allowed=hook.build_allow_failure,
        times=(hook.build_created_at, hook.build_started_at, hook.build_finished_at),
        duration=hook.build_duration,
        attempt=None if retries is None else retries + 1,
    )
    return Event(
        **place,
        **words.ref(hook.ref, hook.tag),
        **_job_commit(hook),
        kind=Kind.TASK,
        status=task.status,
        title=text(inside(hook.commit, "message")),
        author=words.author(hook.user, inside(hook.commit, "author_name")),
        run=RunRef(id=run_id, url=words.page(place, f"pipelines/{run_id}")),
        task=task,
        environment=text(inside(hook.environment, "name")),
        url=task.url,
        description=task.note,
        started_at=task.started_at,
        finished_at=task.finished_at,
        duration=task.duration,
        changed_at=task.changed_at,
    )


def _job_commit(hook: _Job) -> words.Commit:
    """A job's commit is another object than elsewhere: its id is the pipeline's."""
    return {
        "sha": first(hook.sha, inside(hook.commit, "sha")),
        "message": words.commit(hook.commit)["message"],
        "author_name": text(inside(hook.commit, "author_name")),
        "author_email": words.email(inside(hook.commit, "author_email")),
        "committed_at": None,
    }


# -- deployments -------------------------------------------------------------------------------------------------------


class _Deployment(msgspec.Struct):
    status: Any = None
    status_changed_at: Any = None
    deployment_id: Any = None
    deployable_url: Any = None
    environment: Any = None
    environment_tier: Any = None
    environment_external_url: Any = None
    project: Any = None
    short_sha: Any = None
    user: Any = None
    commit_url: Any = None
    commit_title: Any = None
    ref: Any = None
    approver: Any = None
    approval: Any = None


def deployment(source: str, body: bytes) -> Event:
    hook = decode(body, _Deployment)
    place = words.place(source, hook.project)
    status = words.state(hook.status)
    changed = words.moment(hook.status_changed_at)
    url = address(hook.deployable_url)
    return Event(
        **place,
        **_deployed_ref(hook.ref),
        kind=Kind.DEPLOYMENT,
        status=status,
        sha=_deployed_sha(hook),
        title=text(hook.commit_title),
        author=words.author(hook.user),
        pusher=words.author(hook.user),
        run=RunRef(id=key(hook.deployment_id, "deployment_id"), url=url),
        environment=text(hook.environment),
        url=url or words.page(place, "environments"),
        action=text(hook.status, 60) if hook.status in ("approved", "rejected") else None,
        description=_decided(hook) or words.nuance(hook.status),
        finished_at=changed if status.finished else None,
        changed_at=changed,
        facts=facts(
            ("environment page", address(hook.environment_external_url)),
            ("tier", text(hook.environment_tier) if hook.environment_tier != hook.environment else None),
        ),
    )


_VERSION = re.compile(r"v?[0-9]+\.[0-9]+\.[0-9]+([-+.][0-9A-Za-z.+-]+)?")


def _deployed_ref(name: Any) -> words.Ref:
    """A deployment does not say what its ref is: one that reads as a version is taken for a tag."""
    return words.ref(name, _VERSION.fullmatch(text(name) or "") is not None)


_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def _deployed_sha(hook: _Deployment) -> str | None:
    """Return the whole sha, which only the address of the commit tells."""
    short, whole = text(hook.short_sha, 100), (address(hook.commit_url) or "").rpartition("/")[2]
    return whole if _SHA.fullmatch(whole) and whole.startswith(short or "") else short


def _decided(hook: _Deployment) -> str | None:
    """Who let it pass or not, and what he said."""
    verdict = first(inside(hook.approval, "status"), hook.status if hook.approver else None)
    who = words.author(hook.approver)
    if verdict not in ("approved", "rejected") or hook.status not in ("approved", "rejected"):
        return None
    comment = text(inside(hook.approval, "comment"), 500)
    return verdict + (f" by {who}" if who else "") + (f": {comment}" if comment else "")
