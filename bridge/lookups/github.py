"""What does GitHub's REST API know about a run beyond its webhooks? Asks, never changes anything there.

Only what is missing is asked for: the jobs of a run that failed and the step of each, the lines that a failed job
complains of (its annotations), the pull request of a run that a fork's pull request triggered, which its webhooks leave
out, and the login of a commit's author. A log itself is never asked for: GitHub redirects to another server.

https://docs.github.com/en/rest/actions/workflow-jobs#list-jobs-for-a-workflow-run-attempt
https://docs.github.com/en/rest/checks/runs#list-check-run-annotations
https://docs.github.com/en/rest/pulls/pulls#list-pull-requests
https://docs.github.com/en/rest/commits/commits#get-a-commit
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from bridge.codec import first_line
from bridge.errors import LookupFailed
from bridge.event import Event, Kind, Run, Task
from bridge.fold import newest_task
from bridge.lookups._http import Api, in_turn, require_home, segment
from bridge.sources import _github_shapes as shapes
from bridge.sources import _github_words as words
from bridge.sources._github_runs import job_task

if TYPE_CHECKING:
    import aiohttp

API_URL = "https://api.github.com"
NEEDS_TOKEN = True  # without one GitHub answers sixty questions an hour, and none about what is private

_HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
_JOB_PAGES = 2  # of a hundred jobs each
_EXPLAINED = 2  # failed jobs whose lines are asked for
_LINES = 3  # of one job


class _Jobs(msgspec.Struct):
    jobs: list[shapes.WorkflowJob]


class _Annotation(msgspec.Struct):
    path: str | None = None
    start_line: int | None = None
    annotation_level: str | None = None
    title: str | None = None
    message: str | None = None


class _Base(msgspec.Struct):
    repo: shapes.Repository | None = None


class _Pull(msgspec.Struct):
    """A pull request as the list of them shows it."""

    number: shapes.Number
    state: str | None = None
    title: str | None = None
    draft: bool | None = None
    head: shapes.PullHead | None = None
    base: _Base | None = None
    labels: list[shapes.Label] | None = None


class _GitCommit(msgspec.Struct):
    author: shapes.Signature | None = None


class _Commit(msgspec.Struct):
    """`author` is the account, where GitHub knows whose the commit's address is."""

    author: shapes.User | None = None
    commit: _GitCommit | None = None


async def look_up(run: Run, session: aiohttp.ClientSession, api_url: str, token: str | None) -> Run:
    """Return `run` with what the API adds; what the webhooks said is never replaced. Raises LookupFailed."""
    if not token or run.event.run is None or run.event.kind is not Kind.PIPELINE:
        return run
    parts = [part for wanted, part in _PARTS if wanted(run)]
    if not parts:
        return run
    return await in_turn(run, connected(run.event, session, api_url, token), parts)


def connected(event: Event, session: aiohttp.ClientSession, api_url: str, token: str) -> Api:
    """Return the API of the event's repository; raise LookupFailed where that is another server's."""
    if api_url.rstrip("/") == API_URL:
        require_home(event, "github.com")
    return Api("GitHub's API", session, api_url, _HEADERS | {"Authorization": f"Bearer {token}"})


def place(event: Event) -> str:
    """Return the path of the event's repository."""
    owner, _, name = (event.repository or "").partition("/")
    return f"/repos/{segment(owner)}/{segment(name)}"


def _run_id(run: Run) -> str:
    return run.event.run.id if run.event.run else ""


# -- the jobs, and which step of them failed ---------------------------------------------------------------------------


def _lacks_steps(run: Run) -> bool:
    """Whether a run of Actions failed and its jobs' webhooks, if they are sent at all, do not say by which step."""
    if not run.status.unsuccessful or not _run_id(run).isdecimal():
        return False
    failed = _failed(run.tasks)
    return not failed or any(task.step is None for task in failed)


async def _with_jobs(api: Api, run: Run) -> Run:
    path = f"{place(run.event)}/actions/runs/{_run_id(run)}/attempts/{run.attempt}/jobs"
    pages = await api.pages(path, _Jobs, at_most=_JOB_PAGES, per_page=100)
    found = {task.id: task for page in pages for task in map(job_task, page.jobs)}
    ours = {task.id: newest_task(task, found.get(task.id, task)) for task in run.tasks}
    return run.with_(tasks=tuple((ours | {key: task for key, task in found.items() if key not in ours}).values()))


def _failed(tasks: Sequence[Task]) -> list[Task]:
    return [task for task in tasks if task.status.unsuccessful]


# -- what they complain of ---------------------------------------------------------------------------------------------


def _failed_run(run: Run) -> bool:
    return run.status.unsuccessful and _run_id(run).isdecimal()


async def _with_lines(api: Api, run: Run) -> Run:
    """A job is a check run of the same id, and what it complains of are that check run's annotations."""
    notes: dict[str, str | None] = {}
    for task in [task for task in _failed(run.tasks) if not task.note and task.id.isdecimal()][:_EXPLAINED]:
        try:
            path = f"{place(run.event)}/check-runs/{task.id}/annotations"
            notes[task.id] = _note(await api.get(path, list[_Annotation], per_page=50))
        except LookupFailed:
            if not notes:
                raise
            break  # what the first job complains of is worth showing without the second
    return run.with_(tasks=tuple(task.with_(note=task.note or notes.get(task.id)) for task in run.tasks))


_EXIT_CODE = re.compile(r"Process completed with exit code \d+\.?")


def _note(annotations: Sequence[_Annotation]) -> str | None:
    """Return the first failures, each on a line. That the process failed is only said where nothing else is."""
    failures = [one for one in annotations if one.annotation_level == "failure"]
    telling = [one for one in failures if not _EXIT_CODE.fullmatch((one.message or "").strip())]
    lines = dict.fromkeys(filter(None, map(_line, telling or failures)))
    return "\n".join(list(lines)[:_LINES]) or None


def _line(annotation: _Annotation) -> str | None:
    """Return `src/app.py:12: what is wrong`. What has no file is said to be in `.github`."""
    said = first_line(annotation.message or annotation.title, 200)
    if not said or not annotation.path or annotation.path == ".github":
        return said
    return first_line(f"{annotation.path}:{annotation.start_line or 1}: {said}", 300)


# -- the pull request of a fork ----------------------------------------------------------------------------------------


def _lacks_pull_request(run: Run) -> bool:
    event = run.event
    if not event.fork or event.pull_request is not None or not event.branch:
        return False
    return (event.trigger or "").startswith("pull_request") and "/" in _fork(event)


def _fork(event: Event) -> str:
    """Return the fork's full name, which `bridge.sources.github` tells beside the run."""
    return dict(event.facts).get("fork", "")


async def _with_pull_request(api: Api, run: Run) -> Run:
    """Ask by the fork's branch: of a commit that only a fork has GitHub knows no pull requests."""
    event, fork = run.event, _fork(run.event)
    head = f"{fork.partition('/')[0]}:{event.branch}"
    pulls = await api.get(f"{place(event)}/pulls", list[_Pull], head=head, state="all", per_page=30)
    pull = _the_one([pull for pull in pulls if _is_from(pull, fork, event)], event.sha)
    if pull is None:
        return run
    labels = tuple(name for label in pull.labels or () if (name := first_line(label.name)))
    return run.with_(
        event=event.with_(
            pull_request=pull.number,
            draft=pull.draft if event.draft is None else event.draft,
            title=event.title or first_line(pull.title),
            labels=event.labels or labels,
        )
    )


def _is_from(pull: _Pull, fork: str, event: Event) -> bool:
    """GitHub leaves out a condition that it does not understand and lists all: so each is looked at."""
    head, base = pull.head or shapes.PullHead(), pull.base or _Base()
    return head.ref == event.branch and _same(head.repo, fork) and _same(base.repo, event.repository)


def _same(repository: shapes.Repository | None, name: str | None) -> bool:
    found = words.full_name(repository) if repository is not None else None
    return found is not None and name is not None and found.lower() == name.lower()


def _the_one(pulls: Sequence[_Pull], sha: str | None) -> _Pull | None:
    """Return the one with this very commit; else, for more may have been pushed since, the only one that is open."""
    exact = [pull for pull in pulls if sha and pull.head and pull.head.sha == sha]
    if exact:
        return exact[0]
    still_open = [pull for pull in pulls if pull.state == "open"]
    return still_open[0] if len(still_open) == 1 else None


# -- who ---------------------------------------------------------------------------------------------------------------


def _lacks_login(run: Run) -> bool:
    """Other apps' checks only name the commit's author; of their runs Actions tell the login of who began them."""
    event = run.event
    unknown = event.author is None or event.author == event.author_name
    return unknown and bool(event.sha) and (_run_id(run).startswith("suite/") or _run_id(run).isdecimal())


async def _with_login(api: Api, run: Run) -> Run:
    event = run.event
    # A commit comes with its files, and these in pages: one is enough.
    commit = await api.get(f"{place(event)}/commits/{segment(event.sha)}", _Commit, per_page=1)
    author = (commit.commit and commit.commit.author) or shapes.Signature()
    return run.with_(
        event=event.with_(
            author=first_line(commit.author and commit.author.login) or event.author,
            author_name=event.author_name or first_line(author.name),
            author_email=event.author_email or first_line(author.email),
        )
    )


_PARTS = (
    (_lacks_steps, _with_jobs),
    (_failed_run, _with_lines),
    (_lacks_pull_request, _with_pull_request),
    (_lacks_login, _with_login),
)
