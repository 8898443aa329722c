"""What runs on GitHub: workflow runs and their jobs, other apps' checks, commit statuses, deployments.

Each function reads one webhook. The state is the object's own and never the hook's `action`. Nothing here asks
GitHub's API, and nothing but Unreadable leaves it.

https://docs.github.com/en/webhooks/webhook-events-and-payloads
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from bridge.codec import decode, first_line, web_url
from bridge.event import Event, Ignored, Kind, RunRef, Status, Task
from bridge.sources import _github_shapes as shapes
from bridge.sources import _github_words as words


def workflow_run(source: str, body: bytes) -> Event:
    hook = decode(body, shapes.WorkflowRunHook)
    run = hook.workflow_run
    status = words.state(run.status, run.conclusion)
    started, changed = words.utc(run.run_started_at) or words.utc(run.created_at), words.utc(run.updated_at)
    finished = changed if status.finished else None
    url = web_url(run.html_url)
    return Event(
        **words.place(source, hook.repository),
        **words.ref(run.head_branch, trigger=run.event, path=run.path),
        **words.commit(run.head_commit),
        kind=Kind.PIPELINE,
        status=status,
        pull_request=_pull_request(run, hook.repository),
        fork=words.fork(run.head_repository, hook.repository),
        sha=first_line(run.head_sha),
        title=_run_title(run),
        author=words.first(*words.logins(run.actor, run.triggering_actor, hook.sender), words.name_of(run.head_commit)),
        pusher=None if run.event == "schedule" else words.first(*words.logins(run.actor, run.triggering_actor)),
        pipeline=words.first(hook.workflow and hook.workflow.name, run.name, (run.path or "").partition("@")[0]),
        run=RunRef(id=str(run.id), number=run.run_number, attempt=run.run_attempt, url=url),
        url=url,
        description=words.nuance(run.status, run.conclusion),
        trigger=first_line(run.event),
        started_at=started,
        finished_at=finished,
        duration=words.seconds(started, finished),
        changed_at=changed,
        facts=_run_facts(run, hook.repository),
    )


def _run_title(run: shapes.WorkflowRun) -> str | None:
    """A pull request's run shows its title; elsewhere the shown title may be no more than the workflow's name."""
    message = run.head_commit and run.head_commit.message
    if (run.event or "").startswith("pull_request"):
        return words.first(run.display_title, message)
    return words.first(message, run.display_title)


def _run_facts(run: shapes.WorkflowRun, repository: shapes.Repository) -> tuple[tuple[str, str], ...]:
    """Whose fork it comes from, and who pressed re-run: neither is the run's author."""
    actor, again = words.logins(run.actor, run.triggering_actor)
    fork = run.head_repository if words.fork(run.head_repository, repository) else None
    return words.facts(
        ("fork", fork and words.full_name(fork)),
        ("re-run by", again if actor and again != actor else None),
    )


_OF_A_BRANCH = frozenset({"push", "schedule", "workflow_dispatch", "repository_dispatch", "release"})
"""Triggers whose run tests a branch or tag, even where GitHub also lists the pull requests open on that branch."""


def _pull_request(run: shapes.WorkflowRun, repository: shapes.Repository) -> int | None:
    """Return the pull request that a run is for: a push to a branch stays on the branch's track."""
    if run.event in _OF_A_BRANCH:
        return None
    return words.number(run.pull_requests, repository)


def workflow_job(source: str, body: bytes) -> Event:
    hook = decode(body, shapes.WorkflowJobHook)
    job = hook.workflow_job
    place = words.place(source, hook.repository)
    task = job_task(job)
    return Event(
        **place,
        **words.ref(job.head_branch),
        kind=Kind.TASK,
        status=task.status,
        sha=first_line(job.head_sha),
        author=words.first(*words.logins(hook.sender)),
        pipeline=first_line(job.workflow_name),
        run=RunRef(
            id=str(job.run_id),
            attempt=job.run_attempt,
            url=words.page(place["repository_url"], f"/actions/runs/{job.run_id}"),
        ),
        task=task,
        url=task.url,
        description=words.nuance(job.status, job.conclusion),
        duration=task.duration,
        changed_at=task.changed_at,
    )


def job_task(job: shapes.WorkflowJob) -> Task:
    status = words.state(job.status, job.conclusion)
    created, completed = words.utc(job.created_at), words.utc(job.completed_at)
    # A job that waits already has a `started_at`: the time at which it was made.
    started = words.utc(job.started_at)
    begun = started if status not in (Status.QUEUED, Status.WAITING) else None
    return Task(
        id=str(job.id),
        name=first_line(job.name) or str(job.id),
        status=status,
        url=web_url(job.html_url),
        step=_failed_step(job.steps or ()),
        attempt=job.run_attempt,
        created_at=created,
        started_at=begun,
        finished_at=completed,
        duration=words.seconds(begun, completed),
        changed_at=completed or started or created,
    )


def _failed_step(steps: Iterable[shapes.Step]) -> str | None:
    return next((first_line(step.name) for step in steps if step.conclusion in ("failure", "timed_out")), None)


_ACTIONS = Ignored(
    "GitHub Actions reports this by workflow_run and workflow_job: tick Workflow runs and Workflow jobs in the webhook"
)


def check_suite(source: str, body: bytes) -> Event | Ignored:
    hook = decode(body, shapes.CheckSuiteHook)
    suite = hook.check_suite
    if _is_actions(suite.app):
        return _ACTIONS
    place = words.place(source, hook.repository)
    status, changed = words.state(suite.status, suite.conclusion), words.utc(suite.updated_at)
    page = _suite_page(place["repository_url"], suite.head_sha)
    return Event(
        **place,
        **words.commit(suite.head_commit),
        kind=Kind.PIPELINE,
        status=status,
        branch=first_line(suite.head_branch),
        pull_request=words.number(suite.pull_requests, hook.repository),
        sha=first_line(suite.head_sha),
        title=first_line(suite.head_commit and suite.head_commit.message),
        author=words.first(
            words.username_of(suite.head_commit), words.name_of(suite.head_commit), *words.logins(hook.sender)
        ),
        pipeline=_app_name(suite.app),
        run=RunRef(id=f"suite/{suite.id}", url=page),
        url=page,
        description=words.nuance(suite.status, suite.conclusion),
        # No duration: a suite keeps its creation when it is run again days later.
        started_at=words.utc(suite.created_at),
        finished_at=changed if status.finished else None,
        changed_at=changed,
    )


def check_run(source: str, body: bytes) -> Event | Ignored:
    hook = decode(body, shapes.CheckRunHook)
    check = hook.check_run
    suite = check.check_suite
    app = check.app or (suite and suite.app)
    if _is_actions(app):
        return _ACTIONS
    place = words.place(source, hook.repository)
    sha = words.first(check.head_sha, suite and suite.head_sha)
    task = _check_task(check)
    pulls = check.pull_requests or (suite and suite.pull_requests)
    return Event(
        **place,
        kind=Kind.TASK,
        status=task.status,
        branch=first_line(suite and suite.head_branch),
        pull_request=words.number(pulls, hook.repository),
        sha=sha,
        author=words.first(*words.logins(hook.sender)),
        pipeline=_app_name(app),
        run=RunRef(
            id=f"suite/{suite.id}" if suite else f"check/{check.id}",
            url=_suite_page(place["repository_url"], sha),
        ),
        task=task,
        url=task.url,
        description=words.nuance(check.status, check.conclusion),
        duration=task.duration,
        changed_at=task.changed_at,
    )


def _check_task(check: shapes.CheckRun) -> Task:
    started, completed = words.utc(check.started_at), words.utc(check.completed_at)
    return Task(
        id=str(check.id),
        name=first_line(check.name) or str(check.id),
        status=words.state(check.status, check.conclusion),
        url=web_url(check.html_url) or web_url(check.details_url),
        started_at=started,
        finished_at=completed,
        duration=words.seconds(started, completed),
        changed_at=completed or started,
        note=first_line(check.output and check.output.title),
    )


def _is_actions(app: shapes.App | None) -> bool:
    return app is not None and app.slug == "github-actions"


def _app_name(app: shapes.App | None) -> str:
    return (app and words.first(app.name, app.slug)) or "checks"


def _suite_page(repository_url: str | None, sha: str | None) -> str | None:
    """Return the page that shows a commit's checks: suites bring no address of their own."""
    return words.page(repository_url, f"/commit/{sha}/checks") if sha else repository_url


def status(source: str, body: bytes) -> Event | Ignored:
    """What Jenkins, Buildkite and others say about a commit: it is the run, and each context a task of it."""
    hook = decode(body, shapes.StatusHook)
    place = words.place(source, hook.repository)
    url = web_url(hook.target_url)
    if url and _OF_ACTIONS.fullmatch(url.removeprefix(place["repository_url"] or "")):
        return _ACTIONS
    outer = hook.commit or shapes.StatusCommit()
    status = _commit_status(hook.state, hook.description)
    made, changed = words.utc(hook.created_at), words.utc(hook.updated_at) or words.utc(hook.created_at)
    sha, context = first_line(hook.sha), first_line(hook.context) or "default"
    page = web_url(outer.html_url) or words.page(place["repository_url"], f"/commit/{sha}")
    task = Task(
        id=context,
        name=context,
        status=status,
        url=url,
        # Every status is an object of its own: only the pending one was made when the run began.
        started_at=made if status is Status.RUNNING else None,
        finished_at=changed if status.finished else None,
        changed_at=changed,
        note=first_line(hook.description),
    )
    return Event(
        **place,
        **words.commit(outer.commit),
        kind=Kind.PIPELINE,
        status=status,
        branch=_status_branch(hook),
        sha=sha,
        title=first_line(outer.commit and outer.commit.message),
        author=words.first(*words.logins(outer.author), words.name_of(outer.commit)),
        pipeline=context,
        # Nothing holds the statuses of a commit together but the commit itself.
        run=RunRef(id=f"commit/{sha}", url=page or url, of_tasks=True),
        tasks=(task,),
        url=url or page,
        description=task.note,
        started_at=task.started_at,
        finished_at=task.finished_at,
        changed_at=changed,
    )


_OF_ACTIONS = re.compile(r"/actions/runs/[0-9]+([/?#].*)?", re.DOTALL)
"""A page of this repository's own runs: a status that points there says once more what the run says."""


_CANCELLED = re.compile(r"\bcancell?ed\b", re.IGNORECASE)
_FAILED = re.compile(r"fail|error", re.IGNORECASE)


def _commit_status(state: str, description: str | None) -> Status:
    """Return our word for a commit status, which has none for cancelled: senders write it into the description."""
    if state == "pending":
        return Status.RUNNING
    status = words.STATUS.get(state, Status.UNKNOWN)
    text = description or ""
    if status.unsuccessful and _CANCELLED.search(text) and not _FAILED.search(text):
        return Status.CANCELLED
    return status


def _status_branch(hook: shapes.StatusHook) -> str | None:
    """Return the branch: of all that contain the commit the default one, else the first."""
    names = [branch.name for branch in hook.branches or () if branch.name]
    default = hook.repository.default_branch
    return first_line(default if default in names else next(iter(names), None))


def deployment(source: str, body: bytes) -> Event:
    hook = decode(body, shapes.DeploymentHook)
    deployment = hook.deployment
    return _deployed(source, hook, shapes.DeploymentStatus(state="queued", updated_at=deployment.updated_at))


def deployment_status(source: str, body: bytes) -> Event | Ignored:
    hook = decode(body, shapes.DeploymentStatusHook)
    if hook.deployment_status.state == "inactive":
        return Ignored("deployment_status inactive: a newer deployment replaced it")
    return _deployed(source, hook, hook.deployment_status)


def _deployed(source: str, hook: shapes.DeploymentHook, state: shapes.DeploymentStatus) -> Event:
    """Return a deployment in `state`."""
    deployment = hook.deployment
    place = words.place(source, hook.repository)
    status = words.STATUS.get(state.state, Status.UNKNOWN)
    started = words.utc(deployment.created_at)
    changed = words.utc(state.updated_at) or words.utc(state.created_at) or started
    finished = changed if status.finished else None
    page = web_url(state.environment_url)
    url = web_url(state.target_url) or web_url(state.log_url) or page
    return Event(
        **place,
        **words.ref(deployment.ref),
        kind=Kind.DEPLOYMENT,
        status=status,
        sha=first_line(deployment.sha),
        author=words.first(*words.logins(deployment.creator, state.creator, hook.sender)),
        pusher=words.first(*words.logins(deployment.creator)),
        pipeline=words.first(hook.workflow and hook.workflow.name, deployment.task),
        run=RunRef(id=str(deployment.id), url=url),
        environment=words.first(state.environment, deployment.environment),
        url=url or words.page(place["repository_url"], "/deployments"),
        description=words.first(state.description, deployment.description),
        started_at=started,
        finished_at=finished,
        duration=words.seconds(started, finished),
        changed_at=changed,
        facts=words.facts(("environment page", page if page != url else None)),
    )
