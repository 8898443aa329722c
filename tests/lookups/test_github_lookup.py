"""What GitHub's API adds to a run, for how many questions, and what it must never do to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from bridge.errors import LookupFailed
from bridge.event import Event, Kind, Run, RunRef, Status, Task
from bridge.lookups import github
from tests.fakes.github_api import SHA, GitHubApi, annotation, commit, job, pull
from tests.fakes.rest_api import answering

FORK = (("fork", "hubot/app"),)


@pytest.fixture
async def api() -> AsyncIterator[GitHubApi]:
    async with GitHubApi() as running:
        yield running


def run_of(*tasks: Task, run_id: str = "9001", attempt: int = 1, **fields: Any) -> Run:
    """A failed run of acme/app on main."""
    said: dict[str, Any] = {
        "kind": Kind.PIPELINE,
        "status": Status.FAILURE,
        "repository": "acme/app",
        "repository_url": "https://github.com/acme/app",
        "branch": "main",
        "sha": SHA,
        "author": "octocat",
    }
    event = Event(source="code", type="github", run=RunRef(id=run_id, attempt=attempt), **(said | fields))
    return Run(key="code|9001", event=event, seen=True, attempt=attempt, version=3, tasks=tasks)


def failed(number: int = 11, name: str = "test", **fields: Any) -> Task:
    return Task(id=str(number), name=name, status=Status.FAILURE, **fields)


def of_fork(**fields: Any) -> Run:
    """A run that the pull request of a fork triggered, and that goes well so far."""
    said = {"status": Status.RUNNING, "fork": True, "branch": "fix", "trigger": "pull_request", "facts": FORK}
    return run_of(**(said | fields))


async def look_up(run: Run, api: GitHubApi, session: aiohttp.ClientSession, token: str | None = "") -> Run:
    return await github.look_up(run, session, api.url, api.token if token == "" else token)


# -- what it adds


async def test_a_failed_run_gets_its_jobs_with_the_failed_step_and_its_lines(api: GitHubApi, session: Any) -> None:
    api.jobs[9001, 1] = [
        job(12, "lint", "success"),
        job(11, "test", "failure", ("Set up job", "success"), ("Run pytest", "failure"), ("Clean up", "success")),
    ]
    api.annotations[11] = [
        annotation(".github", 41, "Process completed with exit code 1."),
        annotation("src/app.py", 12, "expected 3,\ngot 4"),
        annotation("src/app.py", 9, "unused name", level="warning"),
        annotation(".github", 1, "The runner has lost its disk"),
    ]
    run = await look_up(run_of(), api, session)
    lint, test = run.tasks
    assert (lint.name, lint.status, lint.note) == ("lint", Status.SUCCESS, None)
    assert (test.name, test.status, test.step) == ("test", Status.FAILURE, "Run pytest")
    assert test.url == "https://github.com/acme/app/actions/runs/9001/job/11"
    assert test.note == "src/app.py:12: expected 3,\nThe runner has lost its disk"
    assert api.paths == [
        "/repos/acme/app/actions/runs/9001/attempts/1/jobs",
        "/repos/acme/app/check-runs/11/annotations",
    ]


async def test_the_jobs_are_those_of_this_attempt(api: GitHubApi, session: Any) -> None:
    api.jobs = {(9001, 1): [job(11, "test", "failure", ("old", "failure"))], (9001, 2): [job(21, "test", "failure")]}
    run = await look_up(run_of(attempt=2), api, session)
    assert [task.id for task in run.tasks] == ["21"]


async def test_what_the_webhooks_said_is_never_replaced(api: GitHubApi, session: Any) -> None:
    api.jobs[9001, 1] = [job(11, "other name", "failure", ("Run pytest", "failure"))]
    api.annotations[11] = [annotation("a.py", 1, "theirs")]
    known = [failed(11, step="make", note="ours", url="https://x.example/"), failed(12, "lint")]
    run = await look_up(run_of(*known), api, session)
    assert run.tasks[0].with_(created_at=None, started_at=None, attempt=None) == known[0].with_(
        finished_at=run.tasks[0].finished_at, duration=120.0, changed_at=run.tasks[0].changed_at
    )
    assert run.event == run_of().event


async def test_known_tasks_keep_their_order_and_come_first(api: GitHubApi, session: Any) -> None:
    api.jobs[9001, 1] = [job(number, f"t{number}", "success") for number in (1, 2, 3)]
    run = await look_up(run_of(failed(3), failed(9, "gone")), api, session)
    assert [task.id for task in run.tasks] == ["3", "9", "1", "2"]
    assert run.tasks[0].status is Status.FAILURE


async def test_a_job_whose_webhook_is_late_has_ended_as_github_says(api: GitHubApi, session: Any) -> None:
    api.jobs[9001, 1] = [job(11, "test", "failure", ("Run pytest", "failure")), job(12, "lint", None)]
    late = Task(id="11", name="test", status=Status.RUNNING, url="https://x.example/")
    done = Task(id="12", name="lint", status=Status.SUCCESS)
    test, lint = (await look_up(run_of(late, done), api, session)).tasks
    assert (test.status, test.step, test.url) == (Status.FAILURE, "Run pytest", api.jobs[9001, 1][0]["html_url"])
    assert lint.status is Status.SUCCESS


async def test_where_nothing_else_is_said_the_exit_code_is(api: GitHubApi, session: Any) -> None:
    api.annotations[11] = [annotation(".github", 41, "Process completed with exit code 2.")]
    run = await look_up(run_of(failed(step="make")), api, session)
    assert run.tasks[0].note == "Process completed with exit code 2."


async def test_few_lines_of_few_jobs_are_taken(api: GitHubApi, session: Any) -> None:
    for number in range(1, 6):
        api.annotations[number] = [annotation("a.py", line, "x" * 900) for line in range(1, 50)]
    run = await look_up(run_of(*(failed(number, step="make") for number in range(1, 6))), api, session)
    assert [len((task.note or "").splitlines()) for task in run.tasks] == [3, 3, 0, 0, 0]
    assert max(len(line) for task in run.tasks for line in (task.note or "").splitlines()) <= 300
    assert len(api.asked) == 2


async def test_jobs_come_in_pages_of_which_two_are_asked_for(api: GitHubApi, session: Any) -> None:
    api.jobs[9001, 1] = [job(number, f"t{number}", "success") for number in range(1, 301)]
    run = await look_up(run_of(), api, session)
    assert len(run.tasks) == 200
    assert [question.query.get("page") for question in api.asked] == [None, "2"]


async def test_a_forks_run_gets_its_pull_request_in_every_state(api: GitHubApi, session: Any) -> None:
    api.pulls = [pull(3, "mona/app", "fix"), pull(12, "hubot/app", "fix", draft=True)]
    for status in (Status.QUEUED, Status.RUNNING, Status.SUCCESS):
        run = await look_up(of_fork(status=status), api, session)
        assert (run.event.pull_request, run.event.draft, run.event.labels) == (12, True, ("bug",))
        assert run.event.title == "Count retries once"
    assert {question.query["head"] for question in api.asked} == {"hubot:fix"}
    assert len(api.asked) == 3


async def test_of_several_pull_requests_the_one_with_the_commit_is_meant(api: GitHubApi, session: Any) -> None:
    older = pull(4, "hubot/app", "fix", sha="0" * 40, state="closed")
    newer = pull(12, "hubot/app", "fix", sha="1" * 40)
    for pulls, meant in (
        ([newer, pull(5, "hubot/app", "fix", state="closed")], 5),  # it was merged while the run went on
        ([older, newer], 12),  # more was pushed since
        ([older], None),
        ([newer, pull(13, "hubot/app", "fix", sha="2" * 40)], None),  # into two branches: nobody knows
        ([], None),
    ):
        api.pulls = pulls
        assert (await look_up(of_fork(), api, session)).event.pull_request == meant


async def test_pull_requests_of_others_and_into_others_are_never_taken(api: GitHubApi, session: Any) -> None:
    gone = pull(12, "hubot/app", "fix")
    gone["head"]["repo"] = None  # the fork was deleted
    elsewhere = pull(13, "hubot/app", "fix") | {"base": {"repo": {"full_name": "hubot/app"}}}
    rows = [pull(3, "mona/app", "fix"), pull(4, "hubot/app", "other"), gone, elsewhere, {"number": 5}]
    api.always = answering(200, rows)  # GitHub lists all where it does not understand the condition
    assert (await look_up(of_fork(), api, session)).event.pull_request is None


async def test_other_apps_checks_get_the_login_of_the_commits_author(api: GitHubApi, session: Any) -> None:
    api.commits[SHA] = commit("octocat", email="mona@example.com")
    suite = run_of(run_id="suite/7", author="Mona", author_name="Mona", status=Status.SUCCESS)
    run = await look_up(suite, api, session)
    assert (run.event.author, run.event.author_name, run.event.author_email) == ("octocat", "Mona", "mona@example.com")
    assert api.paths == [f"/repos/acme/app/commits/{SHA}"]


async def test_an_author_without_an_account_keeps_the_name(api: GitHubApi, session: Any) -> None:
    api.commits[SHA] = commit(None)
    for name in ("Mona", None):
        run = await look_up(run_of(run_id="suite/7", author=name, author_name=name), api, session)
        assert (run.event.author, run.event.author_name) == (name, "Mona")


# -- what is not asked


@pytest.mark.parametrize(
    "run",
    [
        run_of(status=Status.SUCCESS),
        run_of(status=Status.RUNNING),
        run_of(status=Status.CANCELLED),
        run_of(failed(step="make", note="it broke")),
        run_of(kind=Kind.DEPLOYMENT),
        run_of(kind=Kind.PUSH),
        run_of(run_id="suite/7"),
        run_of(run_id=f"commit/{SHA}", author="Mona", author_name="Mona"),
        of_fork(pull_request=4),
        of_fork(trigger="push"),
        of_fork(branch=None),
        of_fork(facts=()),
        of_fork(fork=None),
        run_of(run_id="suite/7", author="Mona", author_name="Mona", sha=None),
        run_of().with_(event=run_of().event.with_(run=None)),
    ],
)
async def test_nothing_is_asked_where_nothing_is_missing(api: GitHubApi, session: Any, run: Run) -> None:
    assert await look_up(run, api, session) == run
    assert api.asked == []


async def test_without_a_token_nothing_is_asked(api: GitHubApi, session: Any) -> None:
    assert github.NEEDS_TOKEN
    for token in (None, ""):
        assert await github.look_up(run_of(), session, api.url, token) == run_of()
    assert api.asked == []


async def test_one_lookup_that_misses_all_asks_four_questions(api: GitHubApi, session: Any) -> None:
    api.jobs[9001, 1] = [job(number, f"t{number}", "failure", ("make", "failure")) for number in range(1, 91)]
    api.annotations = {number: [annotation("a.py", 1, "no")] for number in range(1, 91)}
    api.pulls = [pull(12, "hubot/app", "fix")]
    run = await look_up(of_fork(status=Status.FAILURE), api, session)
    assert run.event.pull_request == 12
    assert len(api.asked) == 4


async def test_a_repository_elsewhere_is_not_asked_of_github_com(session: Any) -> None:
    ours = run_of(repository_url="https://git.example.com/acme/app")
    with pytest.raises(LookupFailed, match=r"git\.example\.com, not at github\.com: set this source's api_url"):
        await github.look_up(ours, session, github.API_URL + "/", "a-token")


# -- who asks, and when it goes wrong


async def test_the_token_goes_along_as_a_bearer_with_the_version_of_the_api(api: GitHubApi, session: Any) -> None:
    api.jobs[9001, 1] = []
    await look_up(run_of(), api, session)
    headers = api.asked[0].headers
    assert headers["authorization"] == f"Bearer {api.token}"
    assert headers["accept"] == "application/vnd.github+json"
    assert headers["x-github-api-version"] == "2022-11-28"


async def test_a_wrong_token_fails_the_lookup_in_words(api: GitHubApi, session: Any) -> None:
    with pytest.raises(LookupFailed, match="refuses the api_token") as wrong:
        await look_up(run_of(), api, session, "another-token")
    assert "another-token" not in str(wrong.value)
    assert len(api.asked) == 1  # and is not shown again for the rest


async def test_a_token_that_may_not_see_the_lines_still_brings_the_step(api: GitHubApi, session: Any) -> None:
    api.jobs[9001, 1] = [job(11, "test", "failure", ("Run pytest", "failure"))]
    run = await look_up(run_of(), api, session)  # no annotations are known: 404
    assert (run.tasks[0].step, run.tasks[0].note) == ("Run pytest", None)


async def test_what_came_before_github_was_asked_too_often_is_kept(api: GitHubApi, session: Any) -> None:
    api.jobs[9001, 1] = [job(11, "test", "failure", ("Run pytest", "failure")), job(12, "lint", "failure")]
    api.annotations[11] = [annotation("a.py", 1, "no")]
    limited = answering(403, {"message": "secondary rate limit"}, Retry_After="60")
    api.faults.extend([None, None, limited])  # type: ignore[list-item] # None: as it should be
    run = await look_up(of_fork(status=Status.FAILURE), api, session)
    assert [(task.step, task.note) for task in run.tasks] == [("Run pytest", "a.py:1: no"), (None, None)]


ODD = [b"", b"<html>busy</html>", b"null", b"[]", b"{}", b'{"jobs": 5}', b'{"jobs": [{}]}', b'{"jobs": [{"id": "x"}]}']


@pytest.mark.parametrize("body", ODD)
async def test_an_odd_answer_fails_the_lookup_and_nothing_else(api: GitHubApi, session: Any, body: bytes) -> None:
    api.always = answering(200, body)
    with pytest.raises(LookupFailed):
        await look_up(run_of(), api, session)


async def test_odd_values_in_an_answer_cost_only_themselves(api: GitHubApi, session: Any) -> None:
    api.jobs[9001, 1] = [job(11, "\x00 \x1b[31mtest\n", "brand_new", started_at="soon", html_url="javascript:x")]
    (task,) = (await look_up(run_of(), api, session)).tasks
    assert (task.status, task.url, task.started_at) == (Status.UNKNOWN, None, None)


@pytest.mark.parametrize("repository", [None, "", "acme", "acme/..", "/app", "../../x"])
async def test_a_repository_that_no_address_can_hold_fails_the_lookup(
    api: GitHubApi, session: Any, repository: str | None
) -> None:
    with pytest.raises(LookupFailed):
        await look_up(run_of(repository=repository), api, session)
    assert all(path.startswith("/repos/") and ".." not in path.split("/") for path in api.paths)
