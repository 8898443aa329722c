"""What does GitLab's REST API know about a pipeline beyond its webhooks? Asks, never changes anything there.

Only what is missing is asked for: the jobs that failed where the webhooks did not bring them, the end of a failed job's
log, with the command that failed, and the merge request of a pipeline that is one's. A log is a stream for a terminal:
colours, carriage returns and marks of sections, which `bridge.lookups._gitlab_log` removes.

https://docs.gitlab.com/api/jobs/#list-pipeline-jobs
https://docs.gitlab.com/api/jobs/#get-a-log-file
https://docs.gitlab.com/api/commits/#list-merge-requests-associated-with-a-commit
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from bridge.errors import LookupFailed
from bridge.event import Event, Kind, Run, Status, Task
from bridge.fold import newest_task
from bridge.lookups import _gitlab_log as log
from bridge.lookups._http import Api, in_turn, require_home, segment
from bridge.sources._gitlab_runs import listed_job
from bridge.sources._values import address, flag, text, whole

if TYPE_CHECKING:
    import aiohttp

API_URL = "https://gitlab.com/api/v4"
NEEDS_TOKEN = True  # logs are not shown without one

_EXPLAINED = 2  # failed jobs whose logs are asked for
_LOG_END = 32 * 1024  # bytes


class _Job(msgspec.Struct):
    """`Any` throughout, so that an odd value costs only itself."""

    id: Any = None
    name: Any = None
    status: Any = None
    failure_reason: Any = None
    allow_failure: Any = None
    created_at: Any = None
    started_at: Any = None
    finished_at: Any = None
    duration: Any = None
    web_url: Any = None


class _MergeRequest(msgspec.Struct):
    iid: Any = None
    state: Any = None
    title: Any = None
    draft: Any = None
    source_branch: Any = None
    sha: Any = None
    source_project_id: Any = None
    target_project_id: Any = None


async def look_up(run: Run, session: aiohttp.ClientSession, api_url: str, token: str | None) -> Run:
    """Return `run` with what the API adds; what the webhooks said is never replaced. Raises LookupFailed."""
    if not token or run.event.run is None or run.event.kind is not Kind.PIPELINE:
        return run
    parts = [part for wanted, part in _PARTS if wanted(run)]
    if not parts:
        return run
    return await in_turn(run, connected(run.event, session, api_url, token), parts)


def connected(event: Event, session: aiohttp.ClientSession, api_url: str, token: str) -> Api:
    """Return the API of the event's project; raise LookupFailed where that is another server's."""
    if api_url.rstrip("/") == API_URL:
        require_home(event, "gitlab.com")
    return Api("GitLab's API", session, api_url, {"PRIVATE-TOKEN": token})


def project(event: Event) -> str:
    """A project is asked for by its whole path, as one segment."""
    return f"/projects/{segment(event.repository)}"


# -- the jobs that failed ----------------------------------------------------------------------------------------------


def _lacks_jobs(run: Run) -> bool:
    failed = _failed(run.tasks)
    return run.status.unsuccessful and (not failed or any(task.url is None for task in failed))


async def _with_jobs(api: Api, run: Run) -> Run:
    path = f"{project(run.event)}/pipelines/{segment(run.event.run.id if run.event.run else None)}/jobs"
    query: dict[str, str | int] = {"scope[]": "failed", "per_page": 100}
    jobs = await api.get(path, list[_Job], **query)
    found = {task.id: task for job in jobs if (task := _task(job, run.event))}
    ours = {task.id: newest_task(task, found.get(task.id, task)) for task in run.tasks}
    return run.with_(tasks=tuple((ours | {key: task for key, task in found.items() if key not in ours}).values()))


def _task(job: _Job, event: Event) -> Task | None:
    if whole(job.id) is None:
        return None
    task = listed_job(msgspec.structs.asdict(job), event.repository_url)
    return task.with_(url=address(job.web_url) or task.url)


def _failed(tasks: Sequence[Task]) -> list[Task]:
    return [task for task in tasks if task.status.unsuccessful]


# -- how their logs end ------------------------------------------------------------------------------------------------


def _failed_run(run: Run) -> bool:
    return run.status.unsuccessful


def _unexplained(task: Task) -> bool:
    """Of a job with a note the reason is known (no runner, a timeout), or it is allowed to fail."""
    return task.status is Status.FAILURE and not task.note


async def _with_logs(api: Api, run: Run) -> Run:
    ends: dict[str, log.End] = {}
    for task in [task for task in run.tasks if _unexplained(task)][:_EXPLAINED]:
        try:
            trace = await api.tail(f"{project(run.event)}/jobs/{segment(task.id)}/trace", _LOG_END)
        except LookupFailed:
            if not ends:
                raise
            break  # the first job's end is worth showing without the second's
        ends[task.id] = log.read(trace, cut=len(trace) >= _LOG_END)
    return run.with_(tasks=tuple(_explained(task, ends.get(task.id)) for task in run.tasks))


def _explained(task: Task, end: log.End | None) -> Task:
    if end is None:
        return task
    return task.with_(step=task.step or end.command, note=task.note or "\n".join(end.lines) or None)


# -- the merge request -------------------------------------------------------------------------------------------------


def _lacks_merge_request(run: Run) -> bool:
    """Only of a merge request's own pipeline: a branch's speaks for the branch, even where one is open."""
    event = run.event
    return event.trigger == "pull_request" and event.pull_request is None and bool(event.sha)


async def _with_merge_request(api: Api, run: Run) -> Run:
    event = run.event
    path = f"{project(event)}/repository/commits/{segment(event.sha)}/merge_requests"
    asked = [one for one in await api.get(path, list[_MergeRequest]) if _is_of(one, event)]
    one = next((one for one in asked if one.sha == event.sha), asked[0] if len(asked) == 1 else None)
    if one is None:
        return run
    source, target = whole(one.source_project_id), whole(one.target_project_id)
    fork = None if source is None or target is None else source != target
    return run.with_(
        event=event.with_(
            pull_request=whole(one.iid),
            title=event.title or text(one.title),
            draft=flag(one.draft) if event.draft is None else event.draft,
            fork=fork if event.fork is None else event.fork,
        )
    )


def _is_of(one: _MergeRequest, event: Event) -> bool:
    """Merge requests that were merged long ago contain the commit as well."""
    if whole(one.iid) is None or one.state != "opened":
        return False
    return event.branch is None or one.source_branch == event.branch


_PARTS = (
    (_lacks_jobs, _with_jobs),
    (_failed_run, _with_logs),
    (_lacks_merge_request, _with_merge_request),
)
