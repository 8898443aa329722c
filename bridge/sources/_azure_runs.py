"""What runs on Azure DevOps: builds, runs with their stages and jobs, approvals.

Each function reads one event. They share the run's id, so that they are one run: `build.complete` and the end of a run
are the same result and speak once. Nothing but Unreadable leaves it.

https://learn.microsoft.com/en-us/azure/devops/service-hooks/events
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from bridge.errors import Unreadable
from bridge.event import Event, Ignored, Kind, RunRef, Task
from bridge.sources import _azure_words as words
from bridge.sources import _values as values
from bridge.sources._values import address, between, facts, first, inside, items, key, moment, text, whole

_BUILD = re.compile(r"[?&]buildId=([0-9]{1,15})\b|/_?(?:apis/)?[Pp]ipelines/[0-9]+/runs/([0-9]{1,15})\b")
_TRIGGERS = {"individualCI": "push", "batchedCI": "push", "pullRequest": "pull_request"}


def build(source: str, hook: words.Hook) -> Event:
    """A build that ended: ``build.complete``, in its old form and its new one."""
    told = hook.resource
    trigger = inside(told, "triggerInfo")
    old_ref, old_sha = words.version(inside(told, "sourceGetVersion"))
    ref = words.ref(first(inside(told, "sourceBranch"), old_ref))
    word = words.word(inside(told, "status"), inside(told, "result"))
    status = words.state(word)
    started, finished = moment(inside(told, "startTime")), moment(inside(told, "finishTime"))
    requested = next((inside(one, "requestedFor") for one in items(inside(told, "requests"))), None)
    people = (inside(told, "requestedFor"), requested, inside(told, "lastChangedBy"))
    who = next((one for one in people if words.person(one)), None)
    run = _run(hook, inside(told, "id"), told)
    asked = values.pull_request(inside(trigger, "pr.number")) or ref["pull_request"]
    return words.event(
        source,
        Kind.PIPELINE,
        **words.named(inside(told, "repository"), inside(told, "project")),
        status=status,
        branch=words.ref(inside(trigger, "pr.sourceBranch"))["branch"] if asked else ref["branch"],
        tag=ref["tag"],
        pull_request=asked,
        fork={"true": True, "false": False}.get((text(inside(trigger, "pr.isFork")) or "").lower()),
        private=words.private(inside(told, "project")),
        sha=first(inside(trigger, "pr.sourceSha"), inside(told, "sourceVersion"), old_sha),
        title=first(inside(trigger, "pr.title"), inside(trigger, "ci.message")),
        message=values.whole_text(inside(trigger, "ci.message")),
        author=words.person(who),
        author_email=words.email(who),
        pipeline=text(inside(told, "definition", "name")),
        run=run,
        labels=values.texts(inside(told, "tags")),
        url=run.url,
        description=words.said(hook, word),
        trigger=_TRIGGERS.get(text(inside(told, "reason")) or "", text(inside(told, "reason"))),
        started_at=started,
        finished_at=finished if status.finished else None,
        duration=between(started, finished),
        changed_at=finished or moment(hook.created_date),
        facts=facts(("build", inside(told, "buildNumber"))),
    )


def _run(hook: words.Hook, run_id: Any, *objects: Any) -> RunRef:
    """Return the run: its id is the build's in all events, where it has to be found in an address, too."""
    url = words.page(hook, *objects)
    number = whole(run_id) or _number(url, *(inside(one, "url") for one in objects))
    if number is None and hook.resource is not None:
        raise Unreadable("resource.run.id is missing or no number")
    if number is None:  # no resource at all: the event stands for itself
        return RunRef(id=key(hook.id, "id"), url=url, unique=True)
    return RunRef(id=str(number), number=number, url=url, unique=True)


def _number(*addresses: Any) -> int | None:
    for one in addresses:
        if found := _BUILD.search(text(one) or ""):
            return int(found[1] or found[2])
    return None


def run_state(source: str, hook: words.Hook) -> Event:
    """A run that began, is being cancelled or ended."""
    told = inside(hook.resource, "run")
    word = words.word(inside(told, "state"), inside(told, "result"))
    status = words.state(word)
    begun, ended = moment(inside(told, "createdDate")), moment(inside(told, "finishedDate"))
    finished = ended if status.finished else None
    return _of_run(source, hook, Kind.PIPELINE).with_(
        status=status,
        tasks=tuple(_task(stage, None, None) for stage in items(inside(hook.resource, "stages")) if _named(stage)),
        description=words.said(hook, word),
        started_at=begun,
        finished_at=finished,
        duration=between(begun, finished),
        changed_at=finished or moment(hook.created_date),
    )


def _of_run(source: str, hook: words.Hook, kind: Kind) -> Event:
    """Return what an event of a run, stage, job or approval says of the run. Older servers tell little of it."""
    told = hook.resource
    run = inside(told, "run")
    of_self = _of_self(items(inside(told, "repositories")))
    checked_out = inside(run, "resources", "repositories", "self")
    author = inside(of_self, "change", "author")
    message = inside(of_self, "change", "message")
    requested = (inside(told, "requestedFor"), inside(told, "requestedBy"))
    found = _run(hook, inside(run, "id") or inside(told, "runId"), run, inside(told, "stage"), inside(told, "job"))
    return words.event(
        source,
        kind,
        **words.repository(inside(of_self, "url")),
        **words.ref(inside(checked_out, "refName")),
        sha=first(inside(checked_out, "version"), inside(of_self, "change", "version")),
        title=text(message),
        message=values.whole_text(message),
        author=words.person(*requested, author),
        author_name=text(inside(author, "name")),
        author_email=words.email(author or requested[0]),
        committer=words.person(inside(of_self, "change", "committer")),
        committer_email=words.email(inside(of_self, "change", "committer")),
        pusher=words.person(*requested),
        pipeline=first(inside(told, "pipeline", "name"), inside(run, "pipeline", "name")),
        run=found,
        url=found.url,
        committed_at=moment(inside(author, "date")),
    )


def _of_self(repositories: list[Any]) -> Any:
    """Return the repository that the pipeline is of: ``self``, else the first."""
    return next((one for one in repositories if inside(one, "alias") == "self"), next(iter(repositories), None))


# -- stages, jobs, approvals -------------------------------------------------------------------------------------------


def stage_state(source: str, hook: words.Hook) -> Event:
    return _task_event(source, hook, inside(hook.resource, "stage"), None)


def job_state(source: str, hook: words.Hook) -> Event:
    return _task_event(source, hook, inside(hook.resource, "job"), inside(hook.resource, "stage"))


def _task_event(source: str, hook: words.Hook, told: Any, stage: Any) -> Event:
    event = _of_run(source, hook, Kind.TASK)
    if not _named(told):
        raise Unreadable("the stage or job has neither id nor name")
    task = _task(told, stage, moment(hook.created_date))
    return event.with_(
        status=task.status,
        task=task,
        url=task.url or event.url,
        description=words.said(hook, words.word(inside(told, "state"), inside(told, "result"))),
        started_at=task.started_at,
        finished_at=task.finished_at,
        duration=task.duration,
        changed_at=task.changed_at,
    )


def _named(told: Any) -> bool:
    return bool(text(inside(told, "id")) or text(inside(told, "name")))


_UNNAMED = "__default"  # the only stage of a pipeline that names none


def _task(told: Any, stage: Any, told_at: datetime | None) -> Task:
    """Return a stage, or a job of a `stage`."""
    word = words.word(inside(told, "state"), inside(told, "result"))
    status = words.state(word)
    started, ended = moment(inside(told, "startTime")), moment(inside(told, "finishTime"))
    finished = ended if status.finished else None
    within = first(inside(stage, "displayName"), inside(stage, "name"))
    name = first(inside(told, "displayName"), inside(told, "name"), inside(told, "id")) or ""
    # Ids are the same in each run of a pipeline, and a sample's are all zero: the name keeps a stage from its jobs.
    place = f"{first(inside(stage, 'name')) or ''}/{first(inside(told, 'name'), inside(told, 'id'))}"
    return Task(
        id=key(place, "name") if stage is not None else key(place.removeprefix("/"), "name"),
        name=f"{within} / {name}" if within and within != _UNNAMED else name,
        status=status,
        url=address(inside(told, "_links", "web", "href")),
        attempt=whole(inside(told, "attempt")),
        started_at=started,
        finished_at=finished,
        duration=between(started, finished),
        changed_at=finished or told_at or started,
        note=words.nuance(word),
    )


def approval(source: str, hook: words.Hook) -> Event | Ignored:
    """A stage waits for somebody, or somebody decided: the run waits, goes on, or ends by it."""
    told = inside(hook.resource, "approval")
    word = text(inside(told, "status"), 100)
    if word not in ("pending", "approved", "rejected"):
        return Ignored(f"approval {word or 'without a status'}: the run itself tells how it goes on")
    if inside(hook.resource, "run") is None:
        return Ignored("an approval that names no run: a sample of Azure DevOps?")
    on = inside(hook.resource, "resource")
    status = words.state(word)
    changed = moment(inside(told, "lastModifiedOn")) or moment(hook.created_date)
    return _of_run(source, hook, Kind.PIPELINE).with_(
        status=status,
        environment=text(inside(on, "name")) if inside(on, "type") == "environment" else None,
        description=_decided(word, told, text(inside(hook.resource, "stageName"))),
        finished_at=changed if status.finished else None,
        changed_at=changed,
    )


def _decided(word: str, told: Any, stage: str | None) -> str:
    what = f"stage {stage}" if stage else "a stage"
    if word == "pending":
        asked = text(inside(told, "instructions"), 500)
        return f"{what} waits for approval" + (f": {asked}" if asked else "")
    step = next((one for one in items(inside(told, "steps")) if inside(one, "status") == word), None)
    who = words.person(inside(step, "actualApprover"), inside(step, "assignedApprover"))
    comment = text(inside(step, "comment"), 500)
    return f"{what} {word}" + (f" by {who}" if who else "") + (f": {comment}" if comment else "")
