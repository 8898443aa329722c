"""What Cirrus CI's API adds to a run, and what it must never do to it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from graphql import build_schema, parse, validate
from graphql_server import SCHEMA, GraphQLServer, build_of, task_of

from bridge.errors import LookupFailed
from bridge.event import Event, Kind, Run, RunRef, Status, Task
from bridge.lookups import cirrus
from bridge.lookups._http import ANSWER_LIMIT

PUBLISHED = Path(__file__).parents[2] / "../shared/schemas/cirrus.graphql"
QUERIES = {name: getattr(cirrus, name) for name in ("BUILD", "TASK", "SEARCH_BUILDS", "RECENT_BUILDS")}
NINE = datetime(2026, 1, 1, 9, 0, tzinfo=UTC)
TOKEN = "a-token-of-ours"


def run_of(*tasks: Task, build_id: str = "7", **fields: Any) -> Run:
    """A run as webhooks leave it when they say little."""
    said = {"status": Status.FAILURE, "repository": "acme/app", "branch": "main", "sha": "77aa"} | fields
    event = Event(source="ci", type="cirrus", kind=Kind.PIPELINE, run=RunRef(id=build_id), **said)
    return Run(key="ci|7", event=event, seen=True, version=3, tasks=tasks)


# -- the queries


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="no ../shared")
@pytest.mark.parametrize("name", QUERIES)
def test_every_query_is_valid_by_the_published_schema(name: str) -> None:
    assert validate(build_schema(PUBLISHED.read_text()), parse(QUERIES[name])) == []


@pytest.mark.parametrize("name", QUERIES)
def test_every_query_is_valid_by_the_schema_of_the_tests(name: str) -> None:
    assert validate(SCHEMA, parse(QUERIES[name])) == []


def test_no_query_changes_anything() -> None:
    for query in QUERIES.values():
        assert "mutation" not in query


async def test_the_server_of_the_tests_refuses_what_its_schema_does_not_have(api: GraphQLServer, session: Any) -> None:
    for query in ('{ build(id: "7") { colour } }', '{ build(number: "7") { id } }', "{ builds { id } }"):
        async with session.post(api.url, json={"query": query}) as response:
            assert response.status == 400


# -- what it adds


async def test_what_the_webhooks_left_out_is_filled_in(api: GraphQLServer, session: Any) -> None:
    failed = task_of(
        "11", "test", "FAILED", firstFailedCommand={"name": "pytest"}, notifications=[{"message": "cache not found"}]
    )
    api.builds = [build_of("7", failed, task_of("12", "lint", "COMPLETED", localGroupId=1), tag="v1", pullRequest=4)]
    run = await cirrus.look_up(run_of(), session, api.url, None)
    event = run.event
    assert (event.title, event.author) == ("Count retries once", "octocat")
    assert event.message == "Count retries once\n\nThey were counted twice."
    assert (event.tag, event.pull_request, event.labels) == ("v1", 4, ("bug",))
    assert (event.private, event.default_branch) == (False, "main")
    assert (event.duration, event.started_at) == (94.0, NINE)
    assert event.committed_at == NINE - timedelta(minutes=1)
    assert event.tasks == ()  # a run keeps them itself
    test, lint = run.tasks
    assert (test.name, test.status, test.step, test.note) == ("test", Status.FAILURE, "pytest", "cache not found")
    assert (test.duration, test.started_at) == (50.0, NINE + timedelta(seconds=10))
    assert (lint.name, lint.status, lint.step) == ("lint", Status.SUCCESS, None)
    assert api.queries == ["Build"]


async def test_what_the_webhooks_said_is_never_replaced(api: GraphQLServer, session: Any) -> None:
    api.builds = [build_of("7", status="COMPLETED", tag="v1", pullRequest=4, pullRequestDraft=True)]
    said = {
        "status": Status.RUNNING,
        "branch": "dev",
        "title": "Ours",
        "message": "Ours, all of it",
        "author": "hubot",
        "pusher": "hubot",
        "labels": ("ours",),
        "private": True,
        "draft": False,
        "duration": 0.0,
        "pull_request": 5,
        "tag": "v2",
        "description": "ours",
        "started_at": NINE + timedelta(hours=1),
        "committed_at": NINE,
        "default_branch": "trunk",
        "pipeline": "Cirrus CI",
        "url": "https://ci.example.com/7",
        "restarted": True,
    }
    before = run_of(**said)
    assert await cirrus.look_up(before, session, api.url, None) == before


async def test_a_run_on_a_tag_gets_no_branch(api: GraphQLServer, session: Any) -> None:
    api.builds = [build_of("7")]
    run = await cirrus.look_up(run_of(branch=None, tag="v1"), session, api.url, None)
    assert (run.event.branch, run.event.tag) == (None, "v1")


@pytest.mark.parametrize(
    ("ours", "at", "theirs", "then", "kept"),
    [
        (Status.FAILURE, 60, "EXECUTING", 30, Status.FAILURE),
        (Status.RUNNING, 30, "FAILED", 60, Status.FAILURE),
        (Status.RUNNING, 90, "FAILED", 60, Status.RUNNING),
        (Status.RUNNING, None, "COMPLETED", 60, Status.SUCCESS),
        (Status.FAILURE, None, "EXECUTING", 60, Status.FAILURE),
        (Status.FAILURE, 60, "COMPLETED", 60, Status.FAILURE),
    ],
)
async def test_a_tasks_newer_state_wins_by_its_clock_else_by_rank(
    api: GraphQLServer, session: Any, ours: Status, at: int | None, theirs: str, then: int, kept: Status
) -> None:
    api.builds = [build_of("7", task_of("11", "test", theirs, at=then, firstFailedCommand={"name": "make"}))]
    changed = NINE + timedelta(seconds=at) if at is not None else None
    run = await cirrus.look_up(
        run_of(Task(id="11", name="test", status=ours, changed_at=changed)), session, api.url, None
    )
    (task,) = run.tasks
    assert task.status is kept
    assert task.step == "make"


async def test_a_task_that_was_run_again_is_listed_once(api: GraphQLServer, session: Any) -> None:
    old = task_of("11", "test", "FAILED")
    new = task_of("12", "test", "EXECUTING", creationTimestamp=old["creationTimestamp"] + 9)
    api.builds = [build_of("7", new, old, task_of("13", "test", "COMPLETED", localGroupId=1))]
    run = await cirrus.look_up(run_of(), session, api.url, None)
    assert [task.id for task in run.tasks] == ["12", "13"]


async def test_an_answer_older_than_a_rerun_does_not_bring_the_old_task_back(api: GraphQLServer, session: Any) -> None:
    api.builds = [build_of("7", task_of("11", "test", "FAILED", at=60), task_of("12", "lint", "FAILED", at=60))]
    for seconds, listed in ((61, ["13", "12"]), (1, ["13", "11", "12"])):  # a re-run; a twin of the same name
        other = Task(id="13", name="test", status=Status.RUNNING, created_at=NINE + timedelta(seconds=seconds))
        run = await cirrus.look_up(run_of(other), session, api.url, None)
        assert [task.id for task in run.tasks] == listed


async def test_a_run_known_from_its_tasks_alone_gets_its_status(api: GraphQLServer, session: Any) -> None:
    api.builds = [build_of("7", status="EXECUTING")]
    unseen = run_of(status=Status.UNKNOWN).with_(seen=False)
    assert (await cirrus.look_up(unseen, session, api.url, None)).status is Status.RUNNING
    said = run_of(status=Status.UNKNOWN)
    assert (await cirrus.look_up(said, session, api.url, None)).status is Status.UNKNOWN


async def test_tasks_known_from_webhooks_keep_their_order_and_come_first(api: GraphQLServer, session: Any) -> None:
    api.builds = [build_of("7", *(task_of(str(n), f"t{n}", "COMPLETED") for n in range(1, 5)))]
    known = (Task(id="3", name="t3", status=Status.SUCCESS), Task(id="9", name="gone", status=Status.SUCCESS))
    run = await cirrus.look_up(run_of(*known), session, api.url, None)
    assert [task.id for task in run.tasks] == ["3", "9", "1", "2", "4"]


async def test_a_failed_task_that_the_build_does_not_list_is_asked_for_alone(api: GraphQLServer, session: Any) -> None:
    api.builds = [build_of("7")]
    api.tasks = [task_of("11", "test", "FAILED", firstFailedCommand={"name": "make"})]
    known = [Task(id=name, name=name, status=Status.FAILURE) for name in ("11", "12", "13", "14", "15")]
    run = await cirrus.look_up(run_of(*known), session, api.url, None)
    assert [task.step for task in run.tasks] == ["make", None, None, None, None]
    assert api.queries == ["Build", "Task", "Task"]  # the second is unknown: no more are asked for


async def test_no_more_than_three_tasks_are_asked_for_alone(api: GraphQLServer, session: Any) -> None:
    api.builds = [build_of("7")]
    api.tasks = [task_of(name, name, "FAILED", firstFailedCommand={"name": "make"}) for name in "abcde"]
    run = await cirrus.look_up(
        run_of(*(Task(id=name, name=name, status=Status.FAILURE) for name in "abcde")), session, api.url, None
    )
    assert [task.step for task in run.tasks] == ["make"] * 3 + [None] * 2


async def test_a_failed_task_that_the_build_lists_is_not_asked_for_again(api: GraphQLServer, session: Any) -> None:
    api.builds = [build_of("7", task_of("11", "test", "FAILED"))]
    await cirrus.look_up(run_of(Task(id="11", name="test", status=Status.FAILURE)), session, api.url, None)
    assert api.queries == ["Build"]


async def test_a_build_that_the_api_refuses_to_show_is_sought_by_its_commit(api: GraphQLServer, session: Any) -> None:
    api.builds, api.break_field = [build_of("7")], "build"
    run = await cirrus.look_up(run_of(), session, api.url, None)
    assert run.event.author == "octocat"
    with pytest.raises(LookupFailed, match="no build today"):
        await cirrus.look_up(run_of(sha="0000"), session, api.url, None)


async def test_a_build_that_is_not_found_is_sought_by_its_commit(api: GraphQLServer, session: Any) -> None:
    later = build_of("9", buildCreatedTimestamp=1_767_259_000_000, changeMessage="Later\n\ntext")
    api.builds = [build_of("8"), later, build_of("10", changeIdInRepo="0000")]
    run = await cirrus.look_up(run_of(), session, api.url, None)
    assert api.queries == ["Build", "SearchBuilds"]
    assert (run.event.title, run.event.message) == ("Count retries once", "Later\n\ntext")
    # Another build of the commit tells nothing about this run.
    assert (run.event.author, run.event.duration, run.event.run) == (None, None, RunRef(id="7"))


async def test_without_build_and_commit_the_lookup_fails_in_words(api: GraphQLServer, session: Any) -> None:
    for run in (run_of(), run_of(sha=None), run_of(repository=None)):
        with pytest.raises(LookupFailed, match="knows no such build"):
            await cirrus.look_up(run, session, api.url, None)


async def test_runs_that_are_no_builds_are_not_asked_about(api: GraphQLServer, session: Any) -> None:
    audit = Run(key="a", event=Event(source="ci", type="cirrus", kind=Kind.AUDIT, run=RunRef(id="7")))
    nameless = Run(key="b", event=Event(source="ci", type="cirrus", kind=Kind.PIPELINE))
    for run in (audit, nameless):
        assert await cirrus.look_up(run, session, api.url, None) is run
    assert api.asked == []


async def test_one_task_can_be_fetched(api: GraphQLServer, session: Any) -> None:
    api.tasks = [task_of("11", "test", "PAUSED", notifications=[{"message": "press start"}])]
    task = await cirrus.fetch_task(session, api.url, None, "11")
    assert (task.id, task.status, task.note) == ("11", Status.WAITING, "press start")
    with pytest.raises(LookupFailed, match="no such task"):
        await cirrus.fetch_task(session, api.url, None, "12")


# -- the token


async def test_the_token_goes_along_only_when_there_is_one(api: GraphQLServer, session: Any) -> None:
    api.builds = [build_of("7")]
    for token in (None, "", TOKEN):
        await cirrus.look_up(run_of(), session, api.url, token)
    assert [headers.get("Authorization") for headers, _ in api.asked] == [None, None, f"Bearer {TOKEN}"]


async def test_a_token_that_no_header_can_hold_fails_the_lookup(api: GraphQLServer, session: Any) -> None:
    with pytest.raises(LookupFailed, match="cannot be reached") as failed:
        await cirrus.look_up(run_of(), session, api.url, "two\r\nlines")
    assert "lines" not in str(failed.value)


async def test_a_refused_token_is_said_in_the_apis_words(api: GraphQLServer, session: Any) -> None:
    api.token, api.builds = "another", [build_of("7")]
    with pytest.raises(LookupFailed, match="access denied"):
        await cirrus.look_up(run_of(), session, api.url, TOKEN)


# -- answers that are wrong


async def test_a_partial_answer_is_used_and_its_gaps_stay(api: GraphQLServer, session: Any) -> None:
    api.builds, api.break_field = [build_of("7", task_of("11", "test", "FAILED"))], "firstFailedCommand"
    run = await cirrus.look_up(run_of(), session, api.url, None)
    assert run.event.title == "Count retries once"
    assert [(task.id, task.step) for task in run.tasks] == [("11", None)]


async def test_errors_without_data_fail_the_lookup_with_the_apis_words(api: GraphQLServer, session: Any) -> None:
    api.builds, api.break_field = [build_of("7")], "changeMessage"
    with pytest.raises(LookupFailed, match="no changeMessage today"):
        await cirrus.look_up(run_of(), session, api.url, None)


LONG = b'{"data": {"build": {"id": "7", "branch": "' + b"x" * ANSWER_LIMIT + b'"}}}'


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, b"", "not as documented"),
        (200, b"<html>busy</html>", "not as documented"),
        (200, b"[]", "not as documented"),
        (200, b"null", "not as documented"),
        (200, b"{}", "knows no such build"),
        (200, b'{"data": 7}', "not as documented"),
        (200, b'{"data": {"build": "7"}}', "not as documented"),
        (200, b'{"data": {"build": {}}}', "not as documented"),
        (200, b'{"data": {"build": {"id": [7]}}}', "not as documented"),
        (200, b'{"data": {"build": {"id": "7", "status": 5}}}', "not as documented"),
        (200, b'{"data": {"build": {"id": "7", "tasks": {}}}}', "not as documented"),
        (200, b'{"errors": "no"}', "no reason given"),
        (200, b'{"errors": [{"message": ["no"]}], "data": null}', "no reason given"),
        (200, b"[" * 100_000, "not as documented"),
        (200, LONG, "more than 2097152 bytes"),
        (401, b"", "HTTP 401$"),
        (400, b'{"errors": [{"message": "what is Build?"}]}', "HTTP 400: what is Build"),
        (500, b"<html>oops</html>", "HTTP 500$"),
        (204, b"", "HTTP 204$"),
    ],
)
async def test_an_answer_that_is_wrong_fails_the_lookup(
    serve: Any, session: Any, status: int, body: bytes, said: str
) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, body=body, content_type="application/json")

    with pytest.raises(LookupFailed, match=said):
        await cirrus.look_up(run_of(), session, await serve(answer), TOKEN)


async def test_the_apis_words_are_kept_short_and_without_the_token(serve: Any, session: Any) -> None:
    async def answer(request: web.Request) -> web.Response:
        said = request.headers["Authorization"] + " is bad " + "x" * 9_000
        return web.json_response({"errors": [{"message": said}]})

    with pytest.raises(LookupFailed) as failed:
        await cirrus.look_up(run_of(), session, await serve(answer), TOKEN)
    assert TOKEN not in str(failed.value)
    assert len(str(failed.value)) < 300


async def test_a_redirect_is_not_followed(serve: Any, session: Any) -> None:
    paths = []

    async def answer(request: web.Request) -> web.Response:
        paths.append(request.path)
        raise web.HTTPTemporaryRedirect("/elsewhere")

    with pytest.raises(LookupFailed, match="HTTP 307"):
        await cirrus.look_up(run_of(), session, await serve(answer), TOKEN)
    assert paths == ["/graphql"]


async def test_an_inflated_answer_is_cut_at_the_same_length(serve: Any, session: Any) -> None:
    import gzip

    async def answer(_request: web.Request) -> web.Response:
        packed = gzip.compress(LONG * 4)
        return web.Response(body=packed, headers={"Content-Encoding": "gzip", "Content-Type": "application/json"})

    with pytest.raises(LookupFailed, match="more than"):
        await cirrus.look_up(run_of(), session, await serve(answer), None)


async def test_a_connection_that_breaks_fails_the_lookup(serve: Any, session: Any) -> None:
    async def hang_up(request: web.Request) -> web.Response:
        request.transport.close()
        return web.Response()

    with pytest.raises(LookupFailed, match="cannot be reached"):
        await cirrus.look_up(run_of(), session, await serve(hang_up), TOKEN)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/graphql", "nonsense", "http://[::1", "ftp://127.0.0.1/"])
async def test_an_address_that_leads_nowhere_fails_without_naming_it(session: Any, url: str) -> None:
    with pytest.raises(LookupFailed, match="cannot be reached") as failed:
        await cirrus.look_up(run_of(), session, url, TOKEN)
    assert TOKEN not in str(failed.value)
    assert url not in str(failed.value)


async def test_an_api_that_is_too_slow_fails_the_lookup_and_can_be_given_up(serve: Any) -> None:
    import aiohttp

    forever = asyncio.Event()

    async def sleep(_request: web.Request) -> web.Response:
        await forever.wait()
        return web.Response()

    url = await serve(sleep)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.05)) as session:
        with pytest.raises(LookupFailed, match="in time"):
            await cirrus.look_up(run_of(), session, url, None)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(cirrus.look_up(run_of(), session, url, None), 0.05)
    forever.set()
