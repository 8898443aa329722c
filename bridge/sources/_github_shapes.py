"""Which fields of GitHub's webhooks do we read? Only those named here; everything else is skipped unparsed.

Nearly everything may be null or absent: GitHub leaves fields out on deleted users, deleted forks, old servers and old
events. Required is only what an event means nothing without. Times stay text until they are needed, so that an odd
one costs the time and not the event. Nothing here decides anything.

https://docs.github.com/en/webhooks/webhook-events-and-payloads
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""An id or a count, no larger than a database column."""

Moment = str | int | float | None
"""A time as GitHub writes it: ISO 8601 almost everywhere, Unix seconds in a push's repository."""


class Shape(msgspec.Struct):
    """A JSON object of which we read some fields."""

    def __bool__(self) -> Literal[True]:
        """Say to the type checker what holds anyway: `user and user.login` is the login or None."""
        return True


class User(Shape, kw_only=True):
    login: str | None = None


class Repository(Shape, kw_only=True):
    id: Number | None = None
    name: str | None = None
    full_name: str | None = None
    owner: User | None = None
    html_url: str | None = None
    default_branch: str | None = None
    private: bool | None = None
    pushed_at: Moment = None


class Signature(Shape, kw_only=True):
    """Who made a commit, as git knows it; `username` where GitHub could tell the account."""

    name: str | None = None
    email: str | None = None
    username: str | None = None
    date: Moment = None


class Commit(Shape, kw_only=True):
    id: str | None = None
    message: str | None = None
    timestamp: Moment = None
    author: Signature | None = None
    committer: Signature | None = None


class PullBase(Shape, kw_only=True):
    repo: Repository | None = None


class PullRef(Shape, kw_only=True):
    """A pull request as runs and checks name it."""

    number: Number
    base: PullBase | None = None


class Workflow(Shape, kw_only=True):
    name: str | None = None


class WorkflowRun(Shape, kw_only=True):
    id: Number
    name: str | None = None
    path: str | None = None
    display_title: str | None = None
    event: str | None = None
    status: str | None = None
    conclusion: str | None = None
    run_number: Number | None = None
    run_attempt: Number | None = None
    head_branch: str | None = None
    head_sha: str | None = None
    head_commit: Commit | None = None
    head_repository: Repository | None = None
    actor: User | None = None
    triggering_actor: User | None = None
    pull_requests: list[PullRef] | None = None
    created_at: Moment = None
    run_started_at: Moment = None
    updated_at: Moment = None
    html_url: str | None = None


class Hook(Shape, kw_only=True):
    """What surrounds the object in every webhook we read."""

    repository: Repository
    action: str | None = None
    sender: User | None = None


class WorkflowRunHook(Hook, kw_only=True):
    workflow_run: WorkflowRun
    workflow: Workflow | None = None


class Step(Shape, kw_only=True):
    name: str | None = None
    conclusion: str | None = None


class WorkflowJob(Shape, kw_only=True):
    id: Number
    run_id: Number
    name: str | None = None
    run_attempt: Number | None = None
    workflow_name: str | None = None
    head_branch: str | None = None
    head_sha: str | None = None
    status: str | None = None
    conclusion: str | None = None
    steps: list[Step] | None = None
    created_at: Moment = None
    started_at: Moment = None
    completed_at: Moment = None
    html_url: str | None = None


class Deployment(Shape, kw_only=True):
    id: Number
    task: str | None = None
    environment: str | None = None
    ref: str | None = None
    sha: str | None = None
    creator: User | None = None
    description: str | None = None
    created_at: Moment = None
    updated_at: Moment = None


class WorkflowJobHook(Hook, kw_only=True):
    workflow_job: WorkflowJob


class App(Shape, kw_only=True):
    slug: str | None = None
    name: str | None = None


class CheckSuite(Shape, kw_only=True):
    id: Number
    app: App | None = None
    status: str | None = None
    conclusion: str | None = None
    head_branch: str | None = None
    head_sha: str | None = None
    head_commit: Commit | None = None
    pull_requests: list[PullRef] | None = None
    created_at: Moment = None
    updated_at: Moment = None


class CheckSuiteHook(Hook, kw_only=True):
    check_suite: CheckSuite


class CheckOutput(Shape, kw_only=True):
    title: str | None = None


class CheckRun(Shape, kw_only=True):
    id: Number
    name: str | None = None
    app: App | None = None
    check_suite: CheckSuite | None = None
    status: str | None = None
    conclusion: str | None = None
    head_sha: str | None = None
    output: CheckOutput | None = None
    pull_requests: list[PullRef] | None = None
    started_at: Moment = None
    completed_at: Moment = None
    html_url: str | None = None
    details_url: str | None = None


class CheckRunHook(Hook, kw_only=True):
    check_run: CheckRun


class Branch(Shape, kw_only=True):
    name: str | None = None


class StatusCommit(Shape, kw_only=True):
    html_url: str | None = None
    author: User | None = None
    commit: Commit | None = None


class StatusHook(Hook, kw_only=True):
    """The status is the hook itself."""

    sha: str
    context: str
    state: str
    description: str | None = None
    target_url: str | None = None
    branches: list[Branch] | None = None
    commit: StatusCommit | None = None
    created_at: Moment = None
    updated_at: Moment = None


class DeploymentHook(Hook, kw_only=True):
    deployment: Deployment
    workflow: Workflow | None = None


class DeploymentStatus(Shape, kw_only=True):
    state: str
    environment: str | None = None
    description: str | None = None
    creator: User | None = None
    target_url: str | None = None
    log_url: str | None = None
    environment_url: str | None = None
    created_at: Moment = None
    updated_at: Moment = None


class DeploymentStatusHook(DeploymentHook, kw_only=True):
    deployment_status: DeploymentStatus


class Pusher(Shape, kw_only=True):
    name: str | None = None


class PushHook(Hook, kw_only=True):
    """The push is the hook itself."""

    ref: str
    before: str
    after: str
    created: bool | None = None
    deleted: bool | None = None
    forced: bool | None = None
    compare: str | None = None
    commits: list[Commit] | None = None
    head_commit: Commit | None = None
    pusher: Pusher | None = None


class Label(Shape, kw_only=True):
    name: str | None = None


class PullHead(Shape, kw_only=True):
    ref: str | None = None
    sha: str | None = None
    repo: Repository | None = None


class Team(Shape, kw_only=True):
    slug: str | None = None


class PullRequest(Shape, kw_only=True):
    number: Number
    title: str | None = None
    body: str | None = None
    user: User | None = None
    head: PullHead | None = None
    draft: bool | None = None
    merged: bool | None = None
    labels: list[Label] | None = None
    requested_reviewers: list[User] | None = None
    requested_teams: list[Team] | None = None
    updated_at: Moment = None
    html_url: str | None = None


class PullRequestHook(Hook, kw_only=True):
    pull_request: PullRequest
    label: Label | None = None


class Release(Shape, kw_only=True):
    id: Number
    tag_name: str | None = None
    name: str | None = None
    body: str | None = None
    author: User | None = None
    draft: bool | None = None
    prerelease: bool | None = None
    published_at: Moment = None
    html_url: str | None = None


class ReleaseHook(Hook, kw_only=True):
    release: Release
