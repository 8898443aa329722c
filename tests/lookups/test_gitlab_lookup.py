"""What GitLab's API adds to a pipeline, how a log is read, and what must never be done to a run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import LookupFailed
from bridge.event import Event, Kind, Run, RunRef, Status, Task
from bridge.lookups import gitlab
from bridge.lookups._gitlab_log import End, read
from tests.fakes.gitlab_api import SHA, GitLabApi, job, merge_request
from tests.fakes.rest_api import answering, huge

HOME = "https://gitlab.com/acme/tools/app"
LOG = (
    "\x1b[0KRunning with gitlab-runner 18.0\x1b[0;m\n"
    "section_start:1795165200:get_sources\r\x1b[0K\x1b[0K\x1b[36;1mGetting source\x1b[0;m\x1b[0;m\n"
    "section_end:1795165201:get_sources\r\x1b[0K"
    'section_start:1795165201:step_script\r\x1b[0K\x1b[0K\x1b[36;1mExecuting "step_script" stage\x1b[0;m\x1b[0;m\n'
    "\x1b[32;1m$ pip install .\x1b[0;m\n"
    "Collecting app\r 10 %\r 100 %\n"
    "\x1b[32;1m$ pytest -q\x1b[0;m\n"
    "F.\n\n"
    "section_start:1795165230:details[collapsed=true]\r\x1b[0KDetails\n"
    "\x1b[31mE   assert 3 == 4\x1b[0m\n"
    "section_end:1795165231:details\r\x1b[0K\n"
    "1 failed, 1 passed in 0.12s\n"
    "section_end:1795165232:step_script\r\x1b[0K"
    "section_start:1795165232:after_script\r\x1b[0K\x1b[0KRunning after_script\n"
    "\x1b[32;1m$ rm -r build\x1b[0;m\n"
    "section_end:1795165233:after_script\r\x1b[0K"
    "section_start:1795165233:cleanup_file_variables\r\x1b[0KCleaning up project directory\n"
    "section_end:1795165234:cleanup_file_variables\r\x1b[0K\n"
    "\x1b[31;1mERROR: Job failed: exit code 1\n\x1b[0;m"
)
ENDED = ("Details", "E   assert 3 == 4", "1 failed, 1 passed in 0.12s")


@pytest.fixture
async def api() -> AsyncIterator[GitLabApi]:
    async with GitLabApi() as running:
        yield running


def run_of(*tasks: Task, **fields: Any) -> Run:
    """A failed pipeline of acme/tools/app on main."""
    said: dict[str, Any] = {
        "kind": Kind.PIPELINE,
        "status": Status.FAILURE,
        "repository": "acme/tools/app",
        "repository_url": HOME,
        "branch": "main",
        "sha": SHA,
        "run": RunRef(id="52"),
    }
    event = Event(source="code", type="gitlab", **(said | fields))
    return Run(key="code|52", event=event, seen=True, version=3, tasks=tasks)


def failed(number: int = 11, name: str = "test", **fields: Any) -> Task:
    return Task(id=str(number), name=name, **({"status": Status.FAILURE, "url": f"{HOME}/-/jobs/{number}"} | fields))


def of_request(**fields: Any) -> Run:
    """A merge request's pipeline whose webhook did not tell which."""
    return run_of(**({"status": Status.RUNNING, "branch": "fix", "trigger": "pull_request"} | fields))


async def look_up(run: Run, api: GitLabApi, session: Any) -> Run:
    return await gitlab.look_up(run, session, api.url, api.token)


# -- how a log is read


def test_the_end_of_a_log_is_the_last_command_of_the_script_and_its_last_lines() -> None:
    assert read(LOG.encode()) == End("pytest -q", ENDED)


def test_a_log_that_was_cut_anywhere_gives_what_is_left_of_the_script() -> None:
    whole = LOG.encode()
    for cut in range(whole.index(b"F."), whole.index(b"section_start:1795165230")):
        assert read(whole[cut:], cut=True) == End(None, ENDED)
    for cut in range(whole.index(b"section_start:1795165230"), whole.index(b"Details")):
        assert read(whole[cut:], cut=True) == End(None, ENDED[1:])  # half a line is none
    for cut in range(len(whole)):
        read(whole[cut:], cut=True)


def test_lines_with_times_before_them_are_read_alike() -> None:
    stamped = "\n".join(
        f"2026-11-20T09:00:{at:02}.123456Z 0{at % 2}{'E' if at % 3 else 'O'} {line}"
        for at, line in enumerate(LOG.split("\n"))
    )
    assert read(stamped.encode()) == End("pytest -q", ENDED)


def test_what_an_earlier_command_said_is_not_the_failed_ones() -> None:
    echo = "\x1b[0K\x1b[32;1m$ {}\x1b[0;m\n"
    assert read(f"{echo.format('make')}fine\n{echo.format('make test')}no rule\n".encode()) == End(
        "make test", ("no rule",)
    )
    assert read(f"fine\n{echo.format('false')}".encode()) == End("false", ())


def test_a_log_without_marks_ends_before_the_runners_own_words() -> None:
    log = (
        b"$ make\nline one\r\nline two\nCleaning up project directory and file based variables\nERROR: Job failed: exit"
    )
    assert read(log).lines == ("$ make", "line one", "line two")
    assert read(b"ERROR: Job failed: exit code 1").lines == ("ERROR: Job failed: exit code 1",)


def test_colours_links_and_what_was_overwritten_are_removed() -> None:
    line = (
        "loading 1%\rloading 99%\r\x1b[1;31mno \x1b]8;;https://evil.example/\x1b\\such\x1b]8;;\x07 file\x1b[0m\x1b[K\r"
    )
    assert read(line.encode()).lines == ("no such file",)


def test_lines_are_few_and_short() -> None:
    (one, two, three) = read(("x" * 5_000 + "\n").encode() * 9).lines
    assert max(map(len, (one, two, three))) <= 200


def test_a_log_that_says_nothing_has_no_end() -> None:
    for log in (b"", b"\n\n \r\n", b"\x1b[0K\x1b[0;m\n", b"section_end:1:step_script\r\x1b[0K"):
        assert read(log) == End(None, ())


@settings(max_examples=200)
@given(st.lists(st.sampled_from([*LOG.split("\n"), "\x1b[", "section_start:", "\r", "\n", "é", "\ud800"])), st.binary())
def test_any_bytes_can_be_a_log(parts: list[str], rest: bytes) -> None:
    end = read("".join(parts).encode("utf-8", "replace") + rest)
    assert len(end.lines) <= 3


# -- what it adds


async def test_a_failed_job_gets_its_command_and_how_its_log_ends(api: GitLabApi, session: Any) -> None:
    api.traces[11] = b"x" * 100_000 + b"\n" + LOG.encode()
    for api.ranges in (False, True):
        run = await look_up(run_of(failed(), failed(12, status=Status.SUCCESS)), api, session)
        test, lint = run.tasks
        assert (test.step, test.note) == ("pytest -q", "\n".join(ENDED))
        assert (lint.step, lint.note) == (None, None)
    assert api.paths == ["/projects/acme%2Ftools%2Fapp/jobs/11/trace"] * 2


async def test_jobs_that_no_webhook_brought_are_listed_with_their_addresses(api: GitLabApi, session: Any) -> None:
    api.jobs[52] = [
        job(11, "test"),
        job(12, "lint", "success"),
        job(13, "flaky", allow_failure=True),
        job(14, "boot", failure_reason="runner_system_failure"),
    ]
    api.traces = {11: LOG.encode(), 13: LOG.encode(), 14: LOG.encode()}
    run = await look_up(run_of(), api, session)
    assert [(task.name, task.status, task.note) for task in run.tasks] == [
        ("test", Status.FAILURE, "\n".join(ENDED)),
        ("flaky", Status.FAILURE, "allowed to fail"),
        ("boot", Status.ERROR, "runner system failure"),
    ]
    assert run.tasks[0].url == "https://gitlab.com/acme/tools/app/-/jobs/11"
    assert (run.tasks[0].duration, run.tasks[0].step) == (120.0, "pytest -q")
    assert len(api.asked) == 2  # the jobs, and the one log that explains something


async def test_a_failed_job_without_an_address_gets_it(api: GitLabApi, session: Any) -> None:
    api.jobs[52] = [job(11, "test")]
    run = await look_up(run_of(failed(url=None, note="out of disk"), repository_url=None), api, session)
    assert (run.tasks[0].url, run.tasks[0].note) == ("https://gitlab.com/acme/tools/app/-/jobs/11", "out of disk")


async def test_what_the_webhooks_said_is_never_replaced(api: GitLabApi, session: Any) -> None:
    api.traces[11] = LOG.encode()
    api.jobs[52] = [job(11, "theirs", web_url="https://x.example/")]
    api.merge_requests[SHA] = [merge_request(9, "fix", draft=True)]
    known = failed(step="make")
    run = await look_up(of_request(status=Status.FAILURE, title="Ours", draft=False, fork=True), api, session)
    assert (run.event.pull_request, run.event.title, run.event.draft, run.event.fork) == (9, "Ours", False, True)
    run = await look_up(run_of(known, failed(12, url=None)), api, session)
    assert (run.tasks[0].name, run.tasks[0].url, run.tasks[0].step) == ("test", known.url, "make")


async def test_only_two_logs_are_asked_for(api: GitLabApi, session: Any) -> None:
    api.traces = dict.fromkeys(range(20), LOG.encode())
    run = await look_up(run_of(*map(failed, range(10, 20))), api, session)
    assert sum(task.note is not None for task in run.tasks) == len(api.asked) == 2


async def test_a_merge_requests_pipeline_gets_its_number(api: GitLabApi, session: Any) -> None:
    old = merge_request(2, "fix", state="merged")
    api.merge_requests[SHA] = [old, merge_request(3, "other"), merge_request(9, "fix", source_project_id=6)]
    run = await look_up(of_request(), api, session)
    assert (run.event.pull_request, run.event.title, run.event.fork) == (9, "Count retries once", True)
    assert api.paths == [f"/projects/acme%2Ftools%2Fapp/repository/commits/{SHA}/merge_requests"]


async def test_of_several_merge_requests_none_is_guessed(api: GitLabApi, session: Any) -> None:
    for rows, meant in (
        ([merge_request(8, "fix", sha="0" * 40), merge_request(9, "fix")], 9),
        ([merge_request(8, "fix", sha="0" * 40)], 8),
        ([merge_request(8, "fix", sha="0" * 40), merge_request(9, "fix", sha="1" * 40)], None),
        ([], None),
        ([{"state": "opened"}, {}], None),
    ):
        api.merge_requests[SHA] = rows
        assert (await look_up(of_request(), api, session)).event.pull_request == meant


# -- what is not asked


@pytest.mark.parametrize(
    "run",
    [
        run_of(status=Status.SUCCESS),
        run_of(status=Status.RUNNING),
        run_of(status=Status.CANCELLED),
        run_of(failed(note="stuck or timeout failure")),
        run_of(failed(status=Status.TIMEOUT)),
        run_of(kind=Kind.DEPLOYMENT),
        run_of(status=Status.SUCCESS, branch="feature"),
        of_request(pull_request=4),
        of_request(trigger="push"),
        of_request(sha=None),
        run_of(run=None),
    ],
)
async def test_nothing_is_asked_where_nothing_is_missing(api: GitLabApi, session: Any, run: Run) -> None:
    assert await look_up(run, api, session) == run
    assert api.asked == []


async def test_without_a_token_nothing_is_asked(api: GitLabApi, session: Any) -> None:
    assert gitlab.NEEDS_TOKEN
    for token in (None, ""):
        assert await gitlab.look_up(run_of(), session, api.url, token) == run_of()
    assert api.asked == []


async def test_a_server_of_ones_own_is_asked_only_where_its_address_is_configured(session: Any) -> None:
    ours = run_of(repository_url="https://git.example.com/acme/tools/app")
    with pytest.raises(LookupFailed, match=r"git\.example\.com, not at gitlab\.com: set this source's api_url"):
        await gitlab.look_up(ours, session, gitlab.API_URL + "/", "a-token")


# -- when it goes wrong


async def test_the_token_goes_along_and_a_wrong_one_is_said_without_it(api: GitLabApi, session: Any) -> None:
    with pytest.raises(LookupFailed, match="refuses the api_token") as wrong:
        await gitlab.look_up(run_of(failed()), session, api.url, "another-token")
    assert "another-token" not in str(wrong.value)
    assert [question.headers["private-token"] for question in api.asked] == ["another-token"]


async def test_a_log_that_is_gone_or_endless_costs_only_itself(api: GitLabApi, session: Any) -> None:
    api.jobs[52] = [job(11, "test")]
    run = await look_up(run_of(), api, session)  # no such log
    assert [(task.name, task.note) for task in run.tasks] == [("test", None)]
    api.faults.extend([None, huge(17 * 1024 * 1024)])  # type: ignore[list-item] # None: as it should be
    assert [task.note for task in (await look_up(run_of(), api, session)).tasks] == [None]


async def test_what_came_before_gitlab_was_asked_too_often_is_kept(api: GitLabApi, session: Any) -> None:
    api.traces[11] = LOG.encode()
    api.faults.extend([None, answering(429, "Retry later", Retry_After="30")])  # type: ignore[list-item]
    run = await look_up(run_of(failed(), failed(12)), api, session)
    assert [task.step for task in run.tasks] == ["pytest -q", None]
    api.faults.append(answering(429, "Retry later", Retry_After="30"))
    with pytest.raises(LookupFailed, match="too often") as limited:
        await look_up(run_of(failed()), api, session)
    assert (limited.value.away, limited.value.after) == (True, 30.0)


@pytest.mark.parametrize("body", [b"", b"<html>busy</html>", b"null", b"{}", b'["x"]', b"[[]]"])
async def test_an_odd_answer_fails_the_lookup_and_nothing_else(api: GitLabApi, session: Any, body: bytes) -> None:
    api.always = answering(200, body)
    with pytest.raises(LookupFailed):
        await look_up(of_request(), api, session)


async def test_odd_values_in_an_answer_cost_only_themselves(api: GitLabApi, session: Any) -> None:
    odd = {"id": 11, "name": ["x"], "status": {}, "duration": "long", "web_url": "ftp:x"}
    api.always = answering(200, [{"id": "x"}, {}, odd])
    (task,) = (await look_up(run_of(), api, session)).tasks
    assert (task.id, task.status, task.url) == ("11", Status.UNKNOWN, f"{HOME}/-/jobs/11")


@pytest.mark.parametrize("repository", [None, "", ".."])
async def test_a_project_that_no_address_can_hold_is_not_asked_for(
    api: GitLabApi, session: Any, repository: str | None
) -> None:
    with pytest.raises(LookupFailed):
        await look_up(run_of(repository=repository), api, session)
    assert api.asked == []
