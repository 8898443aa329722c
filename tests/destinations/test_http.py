"""One request to a chat, and every way in which it can fail: whoever writes a chat need not think of them again."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import traceback
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from bridge.destinations._http import LONGEST_ANSWER, Answer, ask, header, judge_status, retry_after, sorting
from bridge.errors import Dead, DeliveryError, Rejected, Transient, Unsure

SECRET = "made-up-secret"
Handler = Callable[[web.Request], Any]


class Chat:
    """A server that does what the test says, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked: list[web.Request] = []
        self.url = ""
        self.handler: Handler = lambda request: web.Response(text="ok")

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        done = self.handler(request)
        return await done if asyncio.iscoroutine(done) else done


@pytest.fixture
async def chat() -> AsyncIterator[Chat]:
    chat, app = Chat(), web.Application()
    app.router.add_route("*", "/{tail:.*}", chat._handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    chat.url = f"http://127.0.0.1:{runner.addresses[0][1]}/{SECRET}"
    yield chat
    await runner.cleanup()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def asked(session: aiohttp.ClientSession, url: str, *, within: float = 1, **more: Any) -> Answer:
    return await ask(session, "POST", url, chat="acme", within=timedelta(seconds=within), **more)


async def failed(session: aiohttp.ClientSession, url: str, **more: Any) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        await asked(session, url, **more)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    return caught.value


async def test_an_answer_is_given_back_whatever_it_says(chat: Chat, session: aiohttp.ClientSession) -> None:
    chat.handler = lambda request: web.json_response({"a": 1}, status=418, headers={"X-Wait": "3"})
    got = await asked(session, chat.url, json={"text": "x"}, params={"q": "1"}, headers={"X-A": "b"})
    assert (got.status, got.object(), got.headers["x-wait"]) == (418, {"a": 1}, "3")
    (request,) = chat.asked
    assert (request.query["q"], request.headers["X-A"], request.content_type) == ("1", "b", "application/json")


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b"[" * 100_000, b"\xff", b"<html>"])
def test_what_is_no_json_object_is_none(body: bytes) -> None:
    assert Answer(200, {}, body).object() is None


def test_text_that_is_none_can_still_be_read() -> None:
    assert Answer(200, {}, b"ok\xff").text() == "ok\ufffd"


async def test_a_redirect_is_not_followed(chat: Chat, session: aiohttp.ClientSession) -> None:
    chat.handler = lambda request: web.Response(status=307, headers={"Location": "/elsewhere"})
    assert (await asked(session, chat.url)).status == 307
    assert len(chat.asked) == 1


async def test_an_answer_is_read_to_a_limit(chat: Chat, session: aiohttp.ClientSession) -> None:
    chat.handler = lambda request: web.Response(body=b'{"id": "' + b"x" * 2 * LONGEST_ANSWER + b'"}')
    got = await asked(session, chat.url)
    assert (len(got.body), got.object()) == (LONGEST_ANSWER, None)


async def test_what_is_lost_after_sending_may_have_arrived_and_is_not_sent_again(
    chat: Chat, session: aiohttp.ClientSession
) -> None:
    def lose(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    chat.handler = lose
    error = await failed(session, chat.url)
    assert isinstance(error, Unsure)
    assert str(error) == "the connection was lost (ServerDisconnectedError), the message may have arrived"
    assert len(chat.asked) == 1


async def test_half_an_answer_may_have_arrived(chat: Chat, session: aiohttp.ClientSession) -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"{")
        assert request.transport is not None
        request.transport.close()
        return response

    chat.handler = half
    assert isinstance(await failed(session, chat.url), Unsure)


@pytest.mark.parametrize("begun", [False, True])
async def test_what_takes_too_long_may_have_arrived(chat: Chat, session: aiohttp.ClientSession, begun: bool) -> None:
    never = asyncio.Event()

    async def hang(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if begun:
            await response.prepare(request)
            await response.write(b"{")
        await never.wait()
        return response

    chat.handler = hang
    error = await failed(session, chat.url, within=0.05)
    assert isinstance(error, Unsure)
    assert str(error) == "acme did not answer within 0.05 s, the message may have arrived"
    never.set()


async def test_nobody_there_means_nothing_was_sent(session: aiohttp.ClientSession) -> None:
    with socket.socket() as unused:  # bound, not listening: refuses
        unused.bind(("127.0.0.1", 0))
        error = await failed(session, f"http://127.0.0.1:{unused.getsockname()[1]}/{SECRET}")
    assert isinstance(error, Transient)
    assert str(error) == "no connection to acme (Connection refused)"


async def test_a_connection_that_does_not_come_up_means_nothing_was_sent(chat: Chat) -> None:
    never = asyncio.Event()

    async def hang(request: web.Request) -> web.Response:
        await never.wait()
        return web.Response()

    chat.handler = hang
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
        first = asyncio.create_task(asked(session, chat.url, within=30))
        await asyncio.sleep(0)
        error = await failed(session, chat.url, within=0.05)  # there is one connection, and it is in use
        never.set()
        await first
    assert isinstance(error, Transient)
    assert str(error) == "no connection to acme (ConnectionTimeoutError)"


async def test_a_server_without_tls_is_no_connection(chat: Chat, session: aiohttp.ClientSession) -> None:
    error = await failed(session, chat.url.replace("http:", "https:"))
    assert isinstance(error, Transient)
    assert str(error) == "no connection to acme (ClientConnectorSSLError)"


@pytest.mark.parametrize(
    ("cause", "kind", "text"),
    [
        (
            aiohttp.ClientConnectorCertificateError(Any, ssl.SSLCertVerificationError()),  # type: ignore[arg-type]
            Transient,
            "no connection to acme (its certificate is not trusted)",
        ),
        (
            aiohttp.ClientHttpProxyError(Any, (), status=407),  # type: ignore[arg-type]
            Transient,
            "no connection to acme (ClientHttpProxyError)",
        ),
        (aiohttp.InvalidURL(SECRET), Dead, "the destination's address is no address"),
        (ConnectionResetError(SECRET), Unsure, "the connection was lost (ConnectionResetError)"),
    ],
)
async def test_each_kind_of_failure_has_its_class(
    session: aiohttp.ClientSession, cause: Exception, kind: type[DeliveryError], text: str
) -> None:
    with pytest.raises(DeliveryError) as caught:
        async with sorting(session, "acme", timedelta(seconds=1)):
            raise cause
    assert type(caught.value) is kind
    assert text in str(caught.value)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("url", ["", "http://", "ftp://chat.example/x", "http://[", "chat"])
async def test_what_is_no_address_is_dead(session: aiohttp.ClientSession, url: str) -> None:
    assert type(await failed(session, url)) is Dead


async def test_a_closed_session_asks_nobody(chat: Chat) -> None:
    session = aiohttp.ClientSession()
    await session.close()
    error = await failed(session, chat.url)
    assert isinstance(error, Transient)
    assert chat.asked == []


async def test_a_session_that_is_closed_meanwhile_is_a_shutdown(session: aiohttp.ClientSession) -> None:
    async def meanwhile() -> None:
        async with sorting(session, "acme", timedelta(seconds=1)):
            await session.close()
            await session.get("http://127.0.0.1:9/")

    with pytest.raises(Transient, match="shutting down"):
        await meanwhile()


async def test_a_bug_is_not_hidden(session: aiohttp.ClientSession) -> None:
    for bug in (RuntimeError("a bug"), KeyError("another")):
        with pytest.raises(type(bug)):
            async with sorting(session, "acme", timedelta(seconds=1)):
                raise bug


async def test_cancelling_is_not_swallowed(chat: Chat, session: aiohttp.ClientSession) -> None:
    begun, never = asyncio.Event(), asyncio.Event()

    async def hang(request: web.Request) -> web.Response:
        begun.set()
        await never.wait()
        return web.Response()

    chat.handler = hang
    task = asyncio.create_task(asked(session, chat.url, within=30))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    never.set()


async def test_no_log_tells_the_address(
    chat: Chat, session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await asked(session, chat.url)
    await failed(session, chat.url.replace("http:", "https:"))
    assert SECRET not in caplog.text


# -- what is the same whoever answers


@pytest.mark.parametrize(
    ("status", "kind"),
    [(200, Unsure), (204, Unsure), (302, Transient), (413, Rejected), (404, Transient), (502, Transient)],
)
def test_an_answer_of_nobody_we_know_is_judged_by_its_status(status: int, kind: type[DeliveryError]) -> None:
    judged = judge_status("acme", status, "code 7")
    assert type(judged) is kind
    assert f"HTTP {status}, code 7" in str(judged)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ((64.57,), 64.57),
        (("0.5",), 0.5),
        ((None, "7"), 7),
        (("soon", 3), 3),
        ((True, 2), 2),
        ((0,), 0.1),
        ((-1,), 0.1),
        ((10**9,), 3_600),
        ((10**400,), 30),
        (("nan", "inf"), 30),
        (({}, []), 30),
        ((), 30),
    ],
)
def test_how_long_to_wait_is_the_first_number_within_reason(given: tuple[Any, ...], seconds: float) -> None:
    assert retry_after(*given) == seconds


def test_a_header_is_found_however_it_is_written() -> None:
    assert header({"Retry-After": "3"}, "retry-after") == "3"
    assert header({}, "retry-after") is None
