"""What Buildkite's API adds to a build, and what it must never do to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bridge.errors import LookupFailed
from bridge.event import Event, Kind, Run, RunRef, Status, Task
from bridge.lookups import _http, buildkite
from tests.fakes.buildkite_api import ANNOTATIONS, PATH, BuildkiteApi, annotation_of, job_of, limited
from tests.fakes.rest_api import Answering, answering, bad_gateway, hang_up, huge, redirect

PAGE = "https://buildkite.com/acme/app/builds/12"


@pytest.fixture
async def api() -> AsyncIterator[BuildkiteApi]:
    async with BuildkiteApi() as opened:
        opened.knows([job_of("build", "passed"), job_of("test", "failed")])
        yield opened


def run_of(*tasks: Task, page: str | None = PAGE, **fields: Any) -> Run:
    """A build as its webhook leaves it."""
    said = {"status": Status.FAILURE, "repository": "acme/app", "branch": "main", "sha": "77aa", "url": page} | fields
    event = Event(source="ci", type="buildkite", kind=Kind.PIPELINE, run=RunRef(id="b12", number=12, url=page), **said)
    return Run(key="ci|b12", event=event, seen=True, version=3, tasks=tasks)


async def look_up(api: BuildkiteApi, session: Any, run: Run, token: str | None = "a-made-up-token") -> Run:
    return await buildkite.look_up(run, session, api.url, token)


# -- its jobs ----------------------------------------------------------------------------------------------------------


async def test_the_jobs_of_a_build_are_its_tasks_and_say_how_they_ended(api: BuildkiteApi, session: Any) -> None:
    build, test = (await look_up(api, session, run_of())).tasks
    assert (build.name, build.status, build.note, build.duration) == ("build", Status.SUCCESS, None, 60.0)
    assert (test.name, test.status, test.note) == ("test", Status.FAILURE, "exit status 2")
    assert test.url == f"{PAGE}#id-of-test"


async def test_wait_steps_and_retried_jobs_are_not_listed(api: BuildkiteApi, session: Any) -> None:
    old = job_of("old", "failed", retried_in_job_id="id-of-test")
    api.knows([old, job_of("wait", "passed", type="waiter"), job_of("test", "passed")])
    assert [task.name for task in (await look_up(api, session, run_of())).tasks] == ["test"]


async def test_a_blocked_build_shows_what_it_waits_for(api: BuildkiteApi, session: Any) -> None:
    api.knows([job_of("build", "passed"), job_of("release?", "blocked", type="manual")])
    tasks = (await look_up(api, session, run_of(status=Status.WAITING))).tasks
    assert [(task.name, task.status) for task in tasks] == [("build", Status.SUCCESS), ("release?", Status.WAITING)]


@pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING, Status.UNKNOWN])
async def test_of_a_build_that_goes_on_nothing_is_asked(api: BuildkiteApi, session: Any, status: Status) -> None:
    assert await look_up(api, session, run_of(status=status)) == run_of(status=status)
    assert api.paths == []


async def test_jobs_are_not_asked_for_where_the_webhooks_told_which_failed(api: BuildkiteApi, session: Any) -> None:
    told = Task(id="id-of-test", name="test", status=Status.FAILURE)
    assert (await look_up(api, session, run_of(told))).tasks == (told,)
    assert api.paths == [ANNOTATIONS]
    passed = Task(id="id-of-build", name="ours", status=Status.SUCCESS)
    build, test = (await look_up(api, session, run_of(passed))).tasks
    assert (build.name, build.url, test.status) == ("ours", f"{PAGE}#id-of-build", Status.FAILURE)


async def test_another_build_of_that_number_is_not_believed(api: BuildkiteApi, session: Any) -> None:
    api.known[PATH]["id"] = "another"
    with pytest.raises(LookupFailed, match="another build"):
        await look_up(api, session, run_of())


# -- its annotations ---------------------------------------------------------------------------------------------------


async def facts(api: BuildkiteApi, session: Any, *annotations: dict[str, Any], **fields: Any) -> list[tuple[str, str]]:
    api.knows([job_of("test", "failed")], list(annotations))
    return list((await look_up(api, session, run_of(**fields))).event.facts)


async def test_the_worst_annotations_come_first_and_two_are_shown(api: BuildkiteApi, session: Any) -> None:
    found = await facts(
        api,
        session,
        annotation_of("coverage", "info", "<p>Coverage 81%</p>"),
        annotation_of("lint", "warning", "<p>4 warnings</p>"),
        annotation_of("flaky", "error", "<p>1 flaky test</p>"),
        annotation_of("junit", "error", "<p>3 tests failed</p>", priority=9),
        annotation_of("done", "success", "<p>Well done</p>"),
    )
    assert found == [("junit", "3 tests failed"), ("flaky", "1 flaky test")]


async def test_an_annotation_without_a_name_is_called_by_its_style(api: BuildkiteApi, session: Any) -> None:
    found = await facts(api, session, annotation_of("default", "error", "A"), annotation_of("default", None, "B"))
    assert found == [("error", "A"), ("annotation", "B")]


@pytest.mark.parametrize(
    ("html", "said"),
    [
        ("<h1>Tests</h1>\n<p><b>3</b> of <i>7</i> failed</p>", "Tests · 3 of 7 failed"),
        ("<ul><li>one</li><li>two</li><li>three</li><li>four</li></ul>", "one · two · three"),
        ("<pre><code>E   assert 1 == 2\nE   nothing\n</code></pre>", "E assert 1 == 2 · E nothing"),
        ("<table><tr><th>job</th><td>lint</td></tr><tr><td>x</td></tr></table>", "job lint · x"),
        ('<a href="artifact://x.html">report</a> &lt;@everyone&gt; &amp; more', "report <@everyone> & more"),
        ("<style>p {color: red}</style><p>seen</p><script>alert(1)</script>", "seen"),
        ("<!-- hidden --><p>a<br>b</p>", "a · b"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("<p>" + "long " * 100 + "</p>", ("long " * 100)[:239] + "…"),
        ("", None),
        ("<p> </p><img src=x>", None),
        ("<script>", None),
        (7, None),
        (None, None),
    ],
)
async def test_html_becomes_a_few_plain_lines(api: BuildkiteApi, session: Any, html: Any, said: str | None) -> None:
    found = await facts(api, session, annotation_of("junit", "error", html))
    assert found == ([("junit", said)] if said else [])


@pytest.mark.parametrize(
    "html", ["<" * 500_000, "<p" * 250_000, "<!--" * 100_000, "&#x" * 150_000, "<script>" * 60_000]
)
async def test_hostile_html_takes_no_time(api: BuildkiteApi, session: Any, html: str) -> None:
    assert len(await facts(api, session, annotation_of("junit", "error", html))) <= 1


async def test_annotations_are_asked_for_only_where_a_build_failed(api: BuildkiteApi, session: Any) -> None:
    for status in (Status.SUCCESS, Status.CANCELLED, Status.WAITING):
        assert not await facts(api, session, annotation_of("junit", "error", "A"), status=status)
    assert ANNOTATIONS not in api.paths


async def test_facts_of_the_webhook_stay_before_the_annotations(api: BuildkiteApi, session: Any) -> None:
    found = await facts(api, session, annotation_of("junit", "error", "A"), facts=(("rebuild of", "#11"),))
    assert found == [("rebuild of", "#11"), ("junit", "A")]


# -- what it must not do -----------------------------------------------------------------------------------------------


async def test_what_the_webhooks_said_is_never_replaced(api: BuildkiteApi, session: Any) -> None:
    api.known[PATH] |= {"message": "Theirs", "branch": "dev", "state": "passed", "web_url": "https://x.example.com"}
    ours = Task(id="id-of-test", name="our test", status=Status.TIMEOUT, url="https://ci.example.com/1", note="ours")
    before = run_of(ours, title="Ours", author="octocat", status=Status.CANCELLED)
    assert await look_up(api, session, before) == before


async def test_nothing_is_asked_without_a_token_or_a_run(api: BuildkiteApi, session: Any) -> None:
    without = run_of().with_(event=run_of().event.with_(run=None))
    for run, token in ((run_of(), None), (run_of(), ""), (without, "t")):
        assert await look_up(api, session, run, token) == run
    assert api.paths == []


async def test_the_token_is_a_bearers(api: BuildkiteApi, session: Any) -> None:
    await look_up(api, session, run_of())
    assert [question.headers["authorization"] for question in api.asked] == [f"Bearer {api.token}"] * 2


@pytest.mark.parametrize(
    "page", [None, "https://buildkite.com/acme/app", "https://buildkite.com/acme/../builds/12", "https://[", "x"]
)
async def test_a_page_that_names_no_build_is_not_asked_for(api: BuildkiteApi, session: Any, page: str | None) -> None:
    with pytest.raises(LookupFailed):
        await look_up(api, session, run_of(page=page))
    assert api.paths == []


async def test_odd_names_stay_segments_of_the_path(api: BuildkiteApi, session: Any) -> None:
    with pytest.raises(LookupFailed):
        await look_up(api, session, run_of(page="https://buildkite.com/a%2e%2e/b c/builds/12"))
    assert api.paths[0] == "/organizations/a%252e%252e/pipelines/b%20c/builds/12"


# -- when the API has a bad day ----------------------------------------------------------------------------------------


async def test_without_the_annotations_the_jobs_are_told_all_the_same(api: BuildkiteApi, session: Any) -> None:
    for fault in (bad_gateway(), answering(200, "<html>"), limited(3), answering(403, {})):
        api.known[ANNOTATIONS] = fault
        assert len((await look_up(api, session, run_of())).tasks) == 2


async def test_without_the_jobs_the_annotations_are_told_all_the_same(api: BuildkiteApi, session: Any) -> None:
    api.knows([], [annotation_of("junit", "error", "A")])
    del api.known[PATH]
    run = await look_up(api, session, run_of())
    assert (run.tasks, run.event.facts) == ((), (("junit", "A"),))


async def test_too_many_questions_leave_the_api_alone_until_its_next_window(api: BuildkiteApi, session: Any) -> None:
    api.always = limited(42)
    with pytest.raises(LookupFailed, match="asked too often") as caught:
        await look_up(api, session, run_of())
    assert (caught.value.away, caught.value.after) == (True, 42.0)
    assert len(api.asked) == 1


@pytest.mark.parametrize(
    "fault",
    [
        bad_gateway(),
        answering(404, {"message": "Not found"}),
        answering(401, {"message": "a-made-up-token is no token"}),
        answering(200, "<h1>Be right back</h1>"),
        answering(200, "[" * 100_000),
        answering(200, "null"),
        redirect("http://127.0.0.1:9/elsewhere"),
        huge(_http.ANSWER_LIMIT),
        hang_up,
    ],
)
async def test_an_api_out_of_order_is_a_look_up_that_failed_and_shows_no_token(
    api: BuildkiteApi, session: Any, fault: Answering
) -> None:
    api.always = fault
    with pytest.raises(LookupFailed) as caught:
        await look_up(api, session, run_of())
    assert "a-made-up-token" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)


async def test_a_wrong_token_is_told_as_such(api: BuildkiteApi, session: Any) -> None:
    with pytest.raises(LookupFailed, match="refuses the api_token") as caught:
        await look_up(api, session, run_of(), "another")
    assert caught.value.away


async def test_a_silent_api_holds_the_message_for_a_bounded_time(
    api: BuildkiteApi, session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_http, "ANSWER_WITHIN", 0.05)
    api.always = api.silence
    with pytest.raises(LookupFailed, match="in time") as caught:
        await look_up(api, session, run_of())
    assert caught.value.away
    assert len(api.asked) == 1


ODD: tuple[Any, ...] = (None, True, -1, 1.5, "", "\ud800", [], [[]], {}, {"id": {}}, [None], 10**40)


@pytest.mark.parametrize("odd", ODD)
async def test_an_odd_value_costs_only_itself(api: BuildkiteApi, session: Any, odd: Any) -> None:
    good, note = job_of("test", "failed"), annotation_of("junit", "error", "A")
    for name in good:
        if name not in ("id", "type", "retried_in_job_id"):
            api.knows([good | {name: odd}], [note])
            run = await look_up(api, session, run_of())
            assert ([task.id for task in run.tasks], run.event.facts) == (["id-of-test"], (("junit", "A"),))
    for name in note:
        api.knows([good, odd], [note | {name: odd}])
        assert [task.id for task in (await look_up(api, session, run_of())).tasks] == ["id-of-test"]
