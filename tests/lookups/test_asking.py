"""How an API is asked, whichever it is: bounded, never elsewhere, and without its address or the token in an error."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from bridge.errors import LookupFailed
from bridge.event import Event, Kind, Run
from bridge.lookups import _http
from bridge.lookups._http import Api, Refused, in_turn, require_home, segment
from tests.fakes.rest_api import RestApi, answering, bad_gateway, hang_up, huge, page_of, redirect

TOKEN = "a-token-of-ours"


class Numbers(RestApi):
    """An API of the numbers from one to ten, and of one long text."""

    async def answer(self, request: web.Request, path: str) -> web.StreamResponse:
        if path == "/text":
            return web.Response(body=b"x" * 200_000 + b"the end")
        page, link = page_of(request, list(range(1, 11)), 4)
        return web.json_response(page, headers=link)


@pytest.fixture
async def server() -> AsyncIterator[Numbers]:
    async with Numbers() as running:
        yield running


@pytest.fixture
def api(server: Numbers, session: aiohttp.ClientSession) -> Api:
    return Api("Acme's API", session, server.url + "/", {"Authorization": f"Bearer {TOKEN}"})


async def failure(api: Api, path: str = "/numbers") -> LookupFailed:
    with pytest.raises(LookupFailed) as failed:
        await api.get(path, list[int])
    said = str(failed.value)
    assert "Acme's API" in said
    assert TOKEN not in said
    assert "127.0.0.1" not in said
    return failed.value


async def test_the_answer_is_read_by_its_shape_and_the_token_goes_along(api: Api, server: Numbers) -> None:
    assert await api.get("/numbers", list[int], per_page=2, name="a b&c") == [1, 2]
    (question,) = server.asked
    assert (question.method, question.path, question.query["name"]) == ("GET", "/numbers", "a b&c")
    assert question.headers["authorization"] == f"Bearer {TOKEN}"
    assert question.headers["accept-encoding"] == "identity"


async def test_pages_are_counted_and_the_address_of_the_next_is_never_asked(api: Api, server: Numbers) -> None:
    assert await api.pages("/numbers", list[int], at_most=9) == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]
    assert [question.query.get("page") for question in server.asked] == [None, "2", "3"]
    assert {question.path for question in server.asked} == {"/numbers"}


async def test_no_more_pages_are_asked_for_than_wanted(api: Api, server: Numbers) -> None:
    assert await api.pages("/numbers", list[int], at_most=2) == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert len(server.asked) == 2


async def test_of_a_long_text_the_end_is_kept(api: Api, server: Numbers) -> None:
    assert await api.tail("/text", 10) == b"xxxthe end"
    assert server.asked[0].headers["range"] == "bytes=-10"


async def test_a_text_without_end_is_not_read_for_ever(
    api: Api, server: Numbers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_http, "TEXT_LIMIT", 300_000)
    assert len(await api.tail("/text", 50)) == 50
    server.always = huge(400_000)
    with pytest.raises(LookupFailed, match="more than 300000 bytes"):
        await api.tail("/text", 50)


async def test_an_answer_that_is_too_long_fails(api: Api, server: Numbers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_http, "ANSWER_LIMIT", 100_000)
    server.always = huge(200_000)
    assert "more than 100000 bytes" in str(await failure(api))


async def test_a_redirect_is_not_followed(api: Api, server: Numbers) -> None:
    server.faults.append(redirect(server.url + "/elsewhere"))
    assert "HTTP 302" in str(await failure(api))
    assert server.paths == ["/numbers"]


async def test_what_is_no_json_or_of_another_shape_fails_without_its_words(api: Api, server: Numbers) -> None:
    for body in ("", "<html>secret</html>", '{"secret": 1}', '["secret"]', "[" * 100_000):
        server.faults.append(answering(200, body))
        assert "secret" not in str(await failure(api))


SAYS_NO = [
    (401, {}, LookupFailed, True, 60.0),
    (403, {}, Refused, False, 0.0),
    (404, {}, Refused, False, 0.0),
    (410, {}, Refused, False, 0.0),
    (416, {}, Refused, False, 0.0),
    (400, {}, LookupFailed, False, 0.0),
    (204, {}, LookupFailed, False, 0.0),
    (500, {}, LookupFailed, True, 0.0),
    (429, {}, LookupFailed, True, 0.0),
    (429, {"Retry-After": "40"}, LookupFailed, True, 40.0),
    (429, {"Retry-After": "999999"}, LookupFailed, True, 3600.0),
    (429, {"Retry-After": "soon"}, LookupFailed, True, 0.0),
    (429, {"RateLimit-Reset": "25"}, LookupFailed, True, 25.0),
    (403, {"Retry-After": "40"}, LookupFailed, True, 40.0),
    (403, {"x-ratelimit-remaining": "12", "x-ratelimit-reset": "40"}, Refused, False, 0.0),
    (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1"}, LookupFailed, True, 1.0),
]


@pytest.mark.parametrize(("status", "headers", "kind", "away", "after"), SAYS_NO)
async def test_an_api_that_says_no_tells_whether_and_for_how_long_it_is_left_alone(
    api: Api, server: Numbers, status: int, headers: dict[str, str], kind: type, away: bool, after: float
) -> None:
    server.faults.append(answering(status, {"message": f"no {TOKEN}"}, **headers))
    failed = await failure(api)
    assert (type(failed), failed.away, failed.after) == (kind, away, after)


@pytest.mark.parametrize("form", ["epoch", "date", "past"])
async def test_a_time_until_which_to_wait_is_told_in_several_forms(api: Api, server: Numbers, form: str) -> None:
    then = datetime.now(UTC) + timedelta(seconds=-100 if form == "past" else 100)
    headers = {"Retry-After": format_datetime(then, usegmt=True)}
    if form == "epoch":
        headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(time.time()) + 100)}
    server.faults.append(answering(403, {}, **headers))
    after = (await failure(api)).after
    assert after == 0.0 if form == "past" else 90 < after <= 101


async def test_a_gateways_page_says_that_the_api_is_away(api: Api, server: Numbers) -> None:
    server.faults.append(bad_gateway())
    failed = await failure(api)
    assert (failed.away, "HTTP 502" in str(failed)) == (True, True)


async def test_a_connection_that_breaks_says_that_the_api_is_away(api: Api, server: Numbers) -> None:
    server.always = hang_up
    assert (await failure(api)).away


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nonsense", "http://[::1", "ftp://127.0.0.1", "http://:x/"])
async def test_an_address_that_leads_nowhere_is_away_and_not_named(session: Any, url: str) -> None:
    assert (await failure(Api("Acme's API", session, url, {"A": TOKEN}))).away


async def test_a_token_that_no_header_can_hold_fails_the_lookup(session: Any, server: Numbers) -> None:
    await failure(Api("Acme's API", session, server.url, {"A": f"{TOKEN}\r\nB: c"}))
    assert server.asked == []


async def test_one_question_has_its_time_and_all_together_have_theirs(
    api: Api, server: Numbers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_http, "ANSWER_WITHIN", 0.05)
    server.faults.append(server.silence)
    failed = await failure(api)
    assert (failed.away, "in time" in str(failed)) == (True, True)
    assert await api.get("/numbers", list[int], per_page=1) == [1]
    monkeypatch.setattr(api, "_until", time.monotonic())
    assert (await failure(api)).away
    assert len(server.asked) == 2  # once the time is up nothing is asked


@pytest.mark.parametrize(
    ("name", "said"), [("a/b c", "a%2Fb%20c"), ("..%2f", "..%252f"), (7, "7"), ("x?y#z", "x%3Fy%23z")]
)
def test_a_foreign_name_is_one_segment_of_a_path(name: str | int, said: str) -> None:
    assert segment(name) == said


@pytest.mark.parametrize("name", ["", ".", "..", None])
def test_a_name_that_would_change_the_path_is_refused(name: str | None) -> None:
    with pytest.raises(LookupFailed):
        segment(name)


async def test_a_quoted_name_reaches_the_server_as_it_was_quoted(api: Api, server: Numbers) -> None:
    await api.get(f"/projects/{segment('acme/app@2;a=b')}", list[int])
    assert server.paths == ["/projects/acme%2Fapp%402%3Ba%3Db"]


# -- several questions of one look-up


def run_of(**fields: Any) -> Run:
    event = Event(source="code", type="github", kind=Kind.PIPELINE, **fields)
    return Run(key="r", event=event)


async def _title(_api: Api, run: Run) -> Run:
    return run.with_(event=run.event.with_(title="found"))


async def _nothing(_api: Api, run: Run) -> Run:
    return run


def _raising(error: LookupFailed) -> Any:
    async def part(_api: Api, _run: Run) -> Run:
        raise error

    return part


NO, AWAY = _raising(Refused("no")), _raising(LookupFailed("away", away=True))


async def test_a_part_that_is_refused_costs_the_others_nothing(api: Api) -> None:
    assert (await in_turn(run_of(), api, [NO, _title])).event.title == "found"


async def test_an_api_that_is_away_is_not_asked_for_the_rest_but_what_came_is_kept(api: Api) -> None:
    assert (await in_turn(run_of(), api, [_title, AWAY, NO])).event.title == "found"
    with pytest.raises(LookupFailed, match="away"):
        await in_turn(run_of(), api, [AWAY, _title])


async def test_where_nothing_came_the_failure_is_told(api: Api) -> None:
    with pytest.raises(Refused, match="no"):
        await in_turn(run_of(), api, [NO, _nothing])
    assert await in_turn(run_of(), api, [_nothing]) == run_of()


@pytest.mark.parametrize("url", [None, "https://git.example.com/acme/app", "https://github.com.example.com/a", "x"])
def test_a_default_address_is_not_asked_of_repositories_that_are_elsewhere(url: str | None) -> None:
    require_home(run_of(repository_url="https://GitHub.com/acme/app").event, "github.com")
    with pytest.raises(LookupFailed, match="set this source's api_url") as failed:
        require_home(run_of(repository_url=url).event, "github.com")
    assert failed.value.away
    assert failed.value.after > 10  # so that it is not said for every run
