"""The page over HTTP: who gets it, with which headers, and the stream that follows the chat."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from http.cookies import SimpleCookie
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer

from bridge.errors import StoreUnavailable
from bridge.store.base import Mute
from bridge.web import Feed, add_routes, login
from tests.web.bubbles import AT, bubble, message

TOKEN = "an-admin-token"
Client = TestClient[web.Request, web.Application]


class Server(TestServer):
    """A server that runs like the real one: a reader who leaves cancels no handler."""

    async def _make_runner(self, **_: Any) -> web.AppRunner:
        return web.AppRunner(self.app, shutdown_timeout=4)


@asynccontextmanager
async def serving(
    feed: Feed, *, token: str | None = TOKEN, unlocked: bool = False, **more: Any
) -> AsyncIterator[Client]:
    app = web.Application()
    add_routes(app, feed, token=token, unlocked=unlocked, **more)
    async with TestClient(Server(app)) as client:
        yield client


async def next_event(stream: ClientResponse) -> str:
    """Return the text of the next server-sent event; "" at the end."""
    lines: list[str] = []
    async with asyncio.timeout(5):
        while line := (await stream.content.readline()).decode():
            if line == "\r\n" and lines:
                return "\n".join(lines)
            if line.startswith("data: "):
                lines.append(line[6:].rstrip("\r\n"))
    return ""


# -- who gets it


@pytest.mark.parametrize("token", [None, ""])
async def test_without_a_token_there_is_no_page(token: str | None) -> None:
    async with serving(Feed(), token=token) as client:
        for method, path in (("GET", "/"), ("GET", "/live"), ("GET", "/static/bridge.js"), ("POST", "/login")):
            assert (await client.request(method, path)).status == 404


async def test_an_unlocked_page_asks_for_nothing() -> None:
    feed = Feed()
    feed.publish(bubble())
    async with serving(feed, token=None, unlocked=True) as client:
        answer = await client.get("/")
        assert answer.status == 200
        text = await answer.text()
        assert "CI broke on main" in text
        assert "Log out" not in text


async def test_a_stranger_sees_the_form_and_no_message() -> None:
    feed = Feed()
    feed.publish(bubble())
    async with serving(feed) as client:
        answer = await client.get("/")
        assert answer.status == 401
        text = await answer.text()
        assert 'action="/login"' in text
        assert "CI broke on main" not in text
        stream = await client.get("/live")
        assert stream.status == 401
        assert await stream.text() == ""


async def test_the_right_token_opens_the_page_with_its_messages_in_the_first_html() -> None:
    feed = Feed()
    feed.publish(bubble())
    async with serving(feed) as client:
        answer = await client.post("/login", data={"token": TOKEN}, allow_redirects=False)
        assert (answer.status, answer.headers["Location"]) == (303, "/")
        assert TOKEN not in str(answer.headers)
        shown = await client.get("/")
        assert shown.status == 200
        assert "CI broke on main" in await shown.text()


@pytest.mark.parametrize(
    "form",
    [
        b"",
        b"token=",
        b"token=wrong",
        b"token=an-admin-toke%6e%00",
        b"TOKEN=an-admin-token",
        b"token=%ff",
        b"\xff\xfe",
        b"&".join([b"a=b"] * 50) + b"&token=an-admin-token",
        b"x" * 100_000 + b"&token=an-admin-token",
    ],
)
async def test_a_wrong_token_asks_again(form: bytes) -> None:
    async with serving(Feed()) as client:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = await client.post("/login", data=form, headers=headers)
        assert answer.status == 401
        assert "not the token" in await answer.text()
        assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("path", ["/login", "/logout"])
@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}])
async def test_another_sites_form_is_refused(path: str, headers: dict[str, str]) -> None:
    async with serving(Feed()) as client:
        answer = await client.post(path, data={"token": TOKEN}, headers=headers, allow_redirects=False)
        assert answer.status == 403
        assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    ("authorization", "status"),
    [(f"Bearer {TOKEN}", 200), ("Bearer wrong", 401), ("Bearer \udcff", 401), (f"Basic {TOKEN}", 401)],
)
async def test_a_bearer_token_opens_the_page(authorization: str, status: int) -> None:
    async with serving(Feed()) as client:
        assert (await client.get("/", headers={"Authorization": authorization})).status == status


HOUR = 3_600
COOKIES = {
    "empty": lambda now: "",
    "no cookie of ours": lambda now: "x",
    "the token itself": lambda now: TOKEN,
    "no signature": lambda now: f"{int(now)}.{'0' * 64}",
    "of another token": lambda now: login.issue("another", now),
    "too old": lambda now: login.issue(TOKEN, now - 13 * HOUR),
    "of tomorrow": lambda now: login.issue(TOKEN, now + 13 * HOUR),
    "an escape": lambda now: '"\\377',
    "no cookie at all": lambda now: "a=b; ; =;;",
}


@pytest.mark.parametrize("kind", COOKIES)
async def test_forged_and_old_cookies_are_refused(kind: str) -> None:
    cookie = COOKIES[kind](time.time())
    async with serving(Feed()) as client:
        assert (await client.get("/", headers={"Cookie": f"bridge={cookie}"})).status == 401
        assert (await client.get("/live", headers={"Cookie": f"bridge={cookie}"})).status == 401


async def test_a_cookie_of_https_is_secure_and_bound_to_its_host() -> None:
    async with serving(Feed()) as client:
        headers = {"X-Forwarded-Proto": "https"}
        answer = await client.post("/login", data={"token": TOKEN}, headers=headers, allow_redirects=False)
        cookie = SimpleCookie(answer.headers["Set-Cookie"])["__Host-bridge"]
        assert (cookie["secure"], cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, True, "Lax", "/")
        assert cookie["max-age"] == "43200"
        given = {"Cookie": f"__Host-bridge={cookie.value}"}
        assert (await client.get("/", headers=headers | given)).status == 200
        # On http anybody could have set it: then it opens nothing.
        assert (await client.get("/", headers=given)).status == 401


async def test_a_cookie_of_http_is_hidden_from_scripts() -> None:
    async with serving(Feed()) as client:
        answer = await client.post("/login", data={"token": TOKEN}, allow_redirects=False)
        cookie = SimpleCookie(answer.headers["Set-Cookie"])["bridge"]
        assert (cookie["secure"], cookie["httponly"], cookie["samesite"]) == ("", True, "Lax")


async def test_logging_out_takes_the_cookie_away() -> None:
    async with serving(Feed()) as client:
        await client.post("/login", data={"token": TOKEN})
        assert (await client.post("/logout", allow_redirects=False)).status == 303
        assert (await client.get("/")).status == 401


# -- with which headers


@pytest.mark.parametrize("unlocked", [True, False])
@pytest.mark.parametrize("path", ["/", "/live", "/static/bridge.js", "/static/bridge.css"])
async def test_every_answer_forbids_what_the_page_does_not_need(path: str, unlocked: bool) -> None:
    async with serving(Feed(), unlocked=unlocked) as client, client.get(path) as answer:
        headers = answer.headers
        policy = dict(rule.split(" ", 1) for rule in headers["Content-Security-Policy"].split("; "))
        assert policy == {
            "default-src": "'none'",
            "script-src": "'self'",
            "style-src": "'self'",
            "img-src": "'self'",
            "connect-src": "'self'",
            "form-action": "'self'",
            "base-uri": "'none'",
            "frame-ancestors": "'none'",
        }
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"


async def test_pages_are_kept_nowhere() -> None:
    async with serving(Feed()) as client:
        assert (await client.get("/")).headers["Cache-Control"] == "no-store"
        await client.post("/login", data={"token": TOKEN})
        assert (await client.get("/")).headers["Cache-Control"] == "no-store"


async def test_static_files_are_served_and_nothing_else() -> None:
    async with serving(Feed()) as client:
        script = await client.get("/static/bridge.js?v=1")
        assert (script.status, script.content_type) == (200, "text/javascript")
        assert "immutable" in script.headers["Cache-Control"]
        assert "immutable" not in (await client.get("/static/bridge.css")).headers["Cache-Control"]
        for path in ("/static/", "/static/page.py", "/static/..%2fpage.py", "/static/%00"):
            assert (await client.get(path)).status == 404


# -- the stream


async def test_the_stream_sends_what_is_there_and_then_what_is_published() -> None:
    feed = Feed()
    feed.publish(bubble("first"))
    async with serving(feed, token=None, unlocked=True) as client, client.get("/live") as stream:
        assert stream.content_type == "text/event-stream"
        assert "CI broke on main" in await next_event(stream)
        feed.publish(bubble("first", message("CI is <fixed>\r\non main"), changed_at=AT + timedelta(minutes=1)))
        event = await next_event(stream)
        assert "CI is &lt;fixed&gt;\non main" in event
        assert "edited" in event


async def test_the_stream_ends_when_the_server_stops() -> None:
    feed = Feed()
    async with serving(feed, token=None, unlocked=True) as client:
        stream = await client.get("/live")
        started = time.monotonic()
        await client.server.close()
        assert time.monotonic() - started < 2
        assert await next_event(stream) == ""
    assert not feed._readers


async def test_a_reader_who_leaves_is_forgotten_at_the_next_bubbles() -> None:
    feed = Feed()
    async with serving(feed, token=None, unlocked=True) as client:
        stream = await client.get("/live")
        assert len(feed._readers) == 1
        stream.close()
        async with asyncio.timeout(5):
            while feed._readers:
                feed.publish(bubble())
                await asyncio.sleep(0)


async def test_a_reader_who_leaves_in_silence_is_forgotten_at_the_next_ping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.web.routes._PING", 0.01)
    feed = Feed()
    async with serving(feed, token=None, unlocked=True) as client:
        stream = await client.get("/live")
        assert len(feed._readers) == 1
        stream.close()
        async with asyncio.timeout(5):
            while feed._readers:
                await asyncio.sleep(0)


async def test_a_stream_does_not_outlive_its_login(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = Feed()
    async with serving(feed) as client:
        await client.post("/login", data={"token": TOKEN})
        stream = await client.get("/live")
        monkeypatch.setattr("bridge.web.login.LIFETIME", timedelta(0))
        feed.publish(bubble())
        assert await next_event(stream) == ""


# -- what is muted


async def test_what_is_muted_is_asked_when_the_page_is_loaded_and_only_by_who_may_see_it() -> None:
    asked = 0

    async def mutes() -> list[Mute]:
        nonlocal asked
        asked += 1
        return [Mute(rule="red", since=AT, until=AT, id="m1")]

    async with serving(Feed(), mutes=mutes) as client:
        assert "<strong>red" not in await (await client.get("/")).text()
        assert asked == 0
        answer = await client.get("/", headers={"Authorization": f"Bearer {TOKEN}"})
        assert "<strong>red</strong> is muted" in await answer.text()


async def test_a_database_that_is_away_takes_no_page_away() -> None:
    async def away() -> list[Mute]:
        raise StoreUnavailable("the disk is full")

    async with serving(Feed(), unlocked=True, mutes=away) as client:
        answer = await client.get("/")
        assert (answer.status, "is not known now" in await answer.text()) == (200, True)
