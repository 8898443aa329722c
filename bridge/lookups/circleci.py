"""What does CircleCI's API know about a workflow beyond its webhooks? Asks, never changes anything there.

The webhooks do not say who started a workflow, nor its jobs where Job Completed is not ticked; those of a tag's
pipeline may name neither tag nor commit. The workflow knows its pipeline, and the pipeline who or what started it.

https://circleci.com/docs/api/v2/#operation/listWorkflowJobs
https://circleci.com/docs/api/v2/#operation/getWorkflowById
https://circleci.com/docs/api/v2/#operation/getPipelineById
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from bridge.codec import web_url
from bridge.event import Event, Kind, Run, Status, Task
from bridge.fold import fill_task
from bridge.lookups._http import Api, in_turn, segment
from bridge.sources import _values as values
from bridge.sources._values import inside, text
from bridge.sources.circleci import STATUS

if TYPE_CHECKING:
    import aiohttp

API_URL = "https://circleci.com/api/v2"
NEEDS_TOKEN = True

JOB_STATUS: Mapping[str, Status] = {
    **STATUS,
    "queued": Status.QUEUED,
    "not_running": Status.QUEUED,
    "blocked": Status.QUEUED,  # by a job before it
    "running": Status.RUNNING,
    "on_hold": Status.WAITING,  # for an approval
    "not_run": Status.SKIPPED,
    "timedout": Status.TIMEOUT,
    "infrastructure_fail": Status.ERROR,
}
_NUANCED = {"unauthorized": "unauthorized", "infrastructure_fail": "infrastructure failure"}
STARTED_BY = "started by"

_PAGES = 3  # of jobs


class _Jobs(msgspec.Struct):
    items: Any = None
    next_page_token: Any = None


class _Workflow(msgspec.Struct):
    pipeline_id: Any = None


class _Pipeline(msgspec.Struct):
    trigger: Any = None
    vcs: Any = None


async def look_up(run: Run, session: aiohttp.ClientSession, api_url: str, token: str | None) -> Run:
    """Return `run` with what the API adds; what the webhooks said is never replaced. Raises LookupFailed."""
    if not token or run.event.run is None or run.event.kind is not Kind.PIPELINE:
        return run
    parts = [part for wanted, part in _PARTS if wanted(run)]
    return await in_turn(run, Api("CircleCI's API", session, api_url, {"Circle-Token": token}), parts)


def _workflow(event: Event) -> str:
    return f"/workflow/{segment(event.run.id if event.run else None)}"


# -- its jobs ----------------------------------------------------------------------------------------------------------


def _lacks_jobs(run: Run) -> bool:
    return not run.tasks or (run.status.unsuccessful and not any(task.status.unsuccessful for task in run.tasks))


async def _with_jobs(api: Api, run: Run) -> Run:
    listed = [_task(job, run.event.url) for job in await _listed(api, run.event)]
    found = {task.id: task for task in listed if task is not None}
    ours = {task.id: fill_task(task, found.get(task.id, task)) for task in run.tasks}
    return run.with_(tasks=tuple((found | ours).values()))


async def _listed(api: Api, event: Event) -> list[Any]:
    """Return the jobs of the first pages."""
    jobs: list[Any] = []
    query: dict[str, str | int] = {}
    for _ in range(_PAGES):
        page = await api.get(f"{_workflow(event)}/job", _Jobs, **query)
        jobs += values.items(page.items)
        following = text(page.next_page_token)
        if following is None:
            break
        query = {"page-token": following}
    return jobs


def _task(job: Any, workflow: str | None) -> Task | None:
    key = values.identifier(inside(job, "id"))
    if key is None:
        return None
    word, number = inside(job, "status"), values.whole(inside(job, "job_number"))
    status = JOB_STATUS.get(text(word) or "", Status.UNKNOWN)
    started = values.moment(inside(job, "started_at"))
    stopped = values.moment(inside(job, "stopped_at")) if status.finished else None
    return Task(
        id=key,
        name=text(inside(job, "name")) or key,
        status=status,
        url=web_url(f"{workflow}/jobs/{number}") if workflow and number is not None else workflow,
        started_at=started,
        finished_at=stopped,
        duration=values.between(started, stopped),
        changed_at=stopped or started,
        note=_NUANCED.get(text(word) or "") or values.unknown(word, JOB_STATUS),
    )


# -- who started it ----------------------------------------------------------------------------------------------------


def _lacks_starter(run: Run) -> bool:
    return STARTED_BY not in dict(run.event.facts)


async def _with_starter(api: Api, run: Run) -> Run:
    workflow = await api.get(_workflow(run.event), _Workflow)
    pipeline = await api.get(f"/pipeline/{segment(values.identifier(workflow.pipeline_id))}", _Pipeline)
    event = _with_commit(run.event, pipeline.vcs)
    who = text(inside(pipeline.trigger, "actor", "login"), 200)
    known = {(name or "").casefold() for name in (event.author, event.author_name)}
    facts = values.facts((STARTED_BY, who)) if who and who.casefold() not in known and event.author else ()
    return run.with_(
        event=event.with_(
            author=event.author or who,
            trigger=event.trigger or text(inside(pipeline.trigger, "type"), 100),
            facts=event.facts + facts,
        )
    )


def _with_commit(event: Event, vcs: Any) -> Event:
    """Return `event` with what the pipeline knows of its commit: the webhooks of a tag may leave out all of it."""
    subject = text(inside(vcs, "commit", "subject"))
    nowhere = event.branch is None and event.tag is None
    tag = text(inside(vcs, "tag")) if nowhere else event.tag
    return event.with_(
        tag=tag,
        branch=text(inside(vcs, "branch")) if nowhere and tag is None else event.branch,
        sha=event.sha or text(inside(vcs, "revision"), 100),
        title=event.title or subject,
        pull_request=event.pull_request or values.pull_request(inside(vcs, "review_id")),
    )


_PARTS = (
    (_lacks_jobs, _with_jobs),
    (_lacks_starter, _with_starter),
)
