"""What CircleCI's API adds to a workflow, and what it must never do to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge.errors import LookupFailed
from bridge.event import Event, Kind, Run, RunRef, Status, Task
from bridge.lookups import _http, circleci
from tests.fakes.circleci_api import CircleciApi, job_of, limited, pipeline_of
from tests.fakes.rest_api import Answering, answering, bad_gateway, hang_up, huge, redirect

NINE = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
PAGE = "https://app.circleci.com/pipelines/github/acme/app/25/workflows/w1"


@pytest.fixture
async def api() -> AsyncIterator[CircleciApi]:
    async with CircleciApi() as opened:
        opened.knows("w1", [job_of("build", "success"), job_of("test", "failed", job_number=42)])
        yield opened


def run_of(*tasks: Task, **fields: Any) -> Run:
    """A workflow as its webhook leaves it."""
    said = {"status": Status.FAILURE, "repository": "acme/app", "branch": "main", "sha": "77aa", "url": PAGE} | fields
    event = Event(source="ci", type="circleci", kind=Kind.PIPELINE, run=RunRef(id="w1", number=25, url=PAGE), **said)
    return Run(key="ci|w1", event=event, seen=True, version=3, tasks=tasks)


async def look_up(api: CircleciApi, session: Any, run: Run, token: str | None = "a-made-up-token") -> Run:
    return await circleci.look_up(run, session, api.url, token)


# -- what it adds


async def test_the_jobs_of_a_workflow_are_its_tasks(api: CircleciApi, session: Any) -> None:
    build, test = (await look_up(api, session, run_of())).tasks
    assert (build.id, build.name, build.status, build.url) == (
        "id-of-build",
        "build",
        Status.SUCCESS,
        f"{PAGE}/jobs/41",
    )
    assert (test.name, test.status, test.url) == ("test", Status.FAILURE, f"{PAGE}/jobs/42")
    assert (test.started_at, test.finished_at, test.duration) == (NINE, NINE + timedelta(minutes=1), 60.0)


async def test_all_pages_of_jobs_are_read_up_to_a_limit(api: CircleciApi, session: Any) -> None:
    api.knows("w1", [job_of(f"job {number}", "success") for number in range(9)])
    api.page_size = 3
    assert len((await look_up(api, session, run_of())).tasks) == 9
    api.page_size = 2
    assert len((await look_up(api, session, run_of())).tasks) == 6
    assert api.paths.count("/workflow/w1/job") == 6


@pytest.mark.parametrize(
    ("word", "status", "note"),
    [
        ("success", Status.SUCCESS, None),
        ("failed", Status.FAILURE, None),
        ("timedout", Status.TIMEOUT, None),
        ("infrastructure_fail", Status.ERROR, "infrastructure failure"),
        ("unauthorized", Status.ERROR, "unauthorized"),
        ("canceled", Status.CANCELLED, None),
        ("not_run", Status.SKIPPED, None),
        ("on_hold", Status.WAITING, None),
        ("running", Status.RUNNING, None),
        ("queued", Status.QUEUED, None),
        ("not_running", Status.QUEUED, None),
        ("blocked", Status.QUEUED, None),
        ("retried", Status.UNKNOWN, "retried"),
        ("terminated-unknown", Status.UNKNOWN, "terminated-unknown"),
        (["failed"], Status.UNKNOWN, None),
        (None, Status.UNKNOWN, None),
    ],
)
async def test_every_status_of_a_job_has_ours_and_an_unknown_one_is_shown(
    api: CircleciApi, session: Any, word: Any, status: Status, note: str | None
) -> None:
    api.knows("w1", [job_of("job", "success") | {"status": word}])
    (task,) = (await look_up(api, session, run_of())).tasks
    assert (task.status, task.note) == (status, note)


def test_every_word_for_a_job_stands_on_the_page() -> None:
    page = (Path(__file__).parents[2] / "docs/sources/circleci.md").read_text()
    assert all(f"`{word}`" in page for word in circleci.JOB_STATUS)


async def test_who_started_it_is_the_author_where_none_is_known_else_a_fact(api: CircleciApi, session: Any) -> None:
    nobody = (await look_up(api, session, run_of())).event
    assert (nobody.author, nobody.facts, nobody.trigger) == ("octocat", (), "webhook")
    other = (await look_up(api, session, run_of(author="Mona Lisa", author_name="Mona Lisa"))).event
    assert (other.author, other.facts) == ("Mona Lisa", (("started by", "octocat"),))
    same = (await look_up(api, session, run_of(author="Octocat"))).event
    assert (same.author, same.facts) == ("Octocat", ())


async def test_a_schedule_was_started_by_nobody(api: CircleciApi, session: Any) -> None:
    api.known["/pipeline/the-pipeline"] = pipeline_of(None)
    event = (await look_up(api, session, run_of())).event
    assert (event.author, event.facts) == (None, ())


async def test_a_tag_that_its_webhook_left_out_is_found_with_its_commit(api: CircleciApi, session: Any) -> None:
    api.known["/pipeline/the-pipeline"] = pipeline_of(
        branch=None, tag="v1.2", revision="77aa", commit={"subject": "Count retries once", "body": ""}
    )
    event = (await look_up(api, session, run_of(branch=None, sha=None))).event
    assert (event.branch, event.tag, event.sha, event.title) == (None, "v1.2", "77aa", "Count retries once")


async def test_a_pull_request_that_the_branch_does_not_name_is_found(api: CircleciApi, session: Any) -> None:
    api.known["/pipeline/the-pipeline"] = pipeline_of(review_id="12", review_url="https://github.com/acme/app/pull/12")
    assert (await look_up(api, session, run_of())).event.pull_request == 12


# -- what it must not do


async def test_what_the_webhooks_said_is_never_replaced(api: CircleciApi, session: Any) -> None:
    api.known["/pipeline/the-pipeline"] = pipeline_of(
        branch="dev", tag="v9", revision="99ff", review_id="9", commit={"subject": "Theirs"}
    )
    ours = Task(id="id-of-test", name="our test", status=Status.TIMEOUT, url="https://ci.example.com/1", note="ours")
    before = run_of(ours, title="Ours", author="octocat", trigger="push", pull_request=5, status=Status.CANCELLED)
    after = await look_up(api, session, before)
    assert after.event == before.event
    assert after.tasks == before.tasks


async def test_a_branch_stays_when_the_api_knows_a_tag(api: CircleciApi, session: Any) -> None:
    api.known["/pipeline/the-pipeline"] = pipeline_of(tag="v1")
    event = (await look_up(api, session, run_of())).event
    assert (event.branch, event.tag) == ("main", None)


async def test_jobs_are_not_asked_for_where_the_webhooks_told_which_failed(api: CircleciApi, session: Any) -> None:
    told = Task(id="id-of-test", name="test", status=Status.FAILURE)
    assert (await look_up(api, session, run_of(told))).tasks == (told,)
    assert api.paths == ["/workflow/w1", "/pipeline/the-pipeline"]
    passed = Task(id="id-of-build", name="ours", status=Status.SUCCESS)
    build, test = (await look_up(api, session, run_of(passed))).tasks
    assert (build.name, build.url, test.status) == (
        "ours",
        f"{PAGE}/jobs/41",
        Status.FAILURE,
    )  # its failed job was not told: asked for


async def test_nothing_is_asked_without_a_token_or_a_run(api: CircleciApi, session: Any) -> None:
    without = run_of().with_(event=run_of().event.with_(run=None))
    for run, token in ((run_of(), None), (run_of(), ""), (without, "t")):
        assert await look_up(api, session, run, token) == run
    assert api.paths == []


async def test_the_token_goes_where_circleci_wants_it_and_nowhere_else(api: CircleciApi, session: Any) -> None:
    await look_up(api, session, run_of())
    assert [question.headers["circle-token"] for question in api.asked] == [api.token] * 3
    assert not any("authorization" in question.headers for question in api.asked)


async def test_an_odd_id_stays_one_segment_of_the_path(api: CircleciApi, session: Any) -> None:
    run = run_of()
    odd = run.with_(event=run.event.with_(run=RunRef(id="../me?x#y/z")))
    with pytest.raises(LookupFailed):
        await look_up(api, session, odd)
    assert set(api.paths) == {"/workflow/..%2Fme%3Fx%23y%2Fz/job", "/workflow/..%2Fme%3Fx%23y%2Fz"}


# -- when the API has a bad day


async def test_without_the_pipeline_the_jobs_are_told_all_the_same(api: CircleciApi, session: Any) -> None:
    del api.known["/pipeline/the-pipeline"]
    assert len((await look_up(api, session, run_of())).tasks) == 2


async def test_without_the_jobs_the_starter_is_told_all_the_same(api: CircleciApi, session: Any) -> None:
    del api.known["/workflow/w1/job"]
    run = await look_up(api, session, run_of())
    assert (run.tasks, run.event.author) == ((), "octocat")


async def test_too_many_questions_leave_the_api_alone_for_as_long_as_it_says(api: CircleciApi, session: Any) -> None:
    api.always = limited(45)
    with pytest.raises(LookupFailed, match="asked too often") as caught:
        await look_up(api, session, run_of())
    assert (caught.value.away, caught.value.after) == (True, 45.0)
    assert len(api.asked) == 1


@pytest.mark.parametrize(
    "fault",
    [
        bad_gateway(),
        answering(404, {"message": "Not found"}),
        answering(401, {"message": "a-made-up-token is no token"}),
        answering(200, "<h1>Be right back</h1>"),
        answering(200, "[" * 100_000),
        answering(200, '{"items": 7, "next_page_token": {}, "pipeline_id": []}'),
        redirect("http://127.0.0.1:9/elsewhere"),
        huge(_http.ANSWER_LIMIT),
        hang_up,
    ],
)
async def test_an_api_out_of_order_is_a_look_up_that_failed_and_shows_no_token(
    api: CircleciApi, session: Any, fault: Answering
) -> None:
    api.always = fault
    with pytest.raises(LookupFailed) as caught:
        await look_up(api, session, run_of())
    assert "a-made-up-token" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)


async def test_a_wrong_token_is_told_as_such(api: CircleciApi, session: Any) -> None:
    with pytest.raises(LookupFailed, match="refuses the api_token") as caught:
        await look_up(api, session, run_of(), "another")
    assert caught.value.away


async def test_a_silent_api_holds_the_message_for_a_bounded_time(
    api: CircleciApi, session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_http, "ANSWER_WITHIN", 0.05)
    api.always = api.silence
    with pytest.raises(LookupFailed, match="in time") as caught:
        await look_up(api, session, run_of())
    assert caught.value.away
    assert len(api.asked) == 1


ODD: tuple[Any, ...] = (None, True, -1, 1.5, "", "\ud800", [], [[]], {}, {"id": {}}, [None], 10**40)


@pytest.mark.parametrize("odd", ODD)
async def test_an_odd_value_costs_only_itself(api: CircleciApi, session: Any, odd: Any) -> None:
    good = job_of("test", "failed")
    for name in good:
        if name != "id":
            api.knows("w1", [good | {name: odd}], pipeline_of() | {"vcs": odd})
            (task,) = (await look_up(api, session, run_of())).tasks
            assert task.id == "id-of-test"
    api.knows("w1", [odd, good | {"id": odd}], pipeline_of() | {"trigger": odd})
    run = await look_up(api, session, run_of(title="Ours"))
    assert run.event.title == "Ours"
