"""What do all fake chats share? A server on loopback, faults on demand, and a book of what it was told.

It keeps every request (`calls`) and every message with its history (`messages`), refuses what the chat's validator
refuses (and remembers it in `invalid`, so that a test can fail), and takes faults from a queue, one per request::

    async with FakeDiscord() as chat:
        chat.faults += [chat.limited(2), accepted_then_connection_lost()]

A chat's own fake writes `answer` (what the chat does, by its manual, with `post` and `edit`), `check` (a validator that
somebody else wrote), and in its own form the faults that every chat has: `limited`, `dead`, `refused` and, where it has
them, `failed_with_200` and `edit_refused`. It knows no time and no network.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

ELSEWHERE = "/elsewhere"


class Invalid(Exception):
    """The message breaks a rule of the chat; the text says which."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it came in. `method` is what `FakeChat.name` makes of it, else HTTP's."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: dict[str, Any]
    raw: bytes = b""
    at: float = 0.0


@dataclass(slots=True)
class Posted:
    """A message as it stands in the chat, with all that it showed before."""

    place: str
    id: str
    thread: str | None
    body: dict[str, Any]
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the chat answers: an object is JSON, a text is text."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


# -- what can go wrong with one request


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one request. `accepted`: the chat does all the same what it is asked."""

    kind: str
    accepted: bool = False
    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    wait: asyncio.Event | float | None = None


def status(code: int, html: str = "<html><body>Sorry</body></html>") -> Fault:
    return Fault("answer", status=code, body=html, headers={"Content-Type": "text/html"})


def text_plain(text: str = "upstream says no", code: int = 200) -> Fault:
    return Fault("answer", status=code, body=text, headers={"Content-Type": "text/plain"})


def redirect(location: str = ELSEWHERE) -> Fault:
    return Fault("answer", status=302, body="", headers={"Location": location})


def accepted_then_connection_lost() -> Fault:
    return Fault("lost", accepted=True)


def lost_before_accept() -> Fault:
    return Fault("lost")


def slow(wait: asyncio.Event | float) -> Fault:
    """Takes the message, and answers only after the event (or so many seconds)."""
    return Fault("slow", accepted=True, wait=wait)


class FakeChat:
    """A chat on loopback."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.messages: dict[Any, Posted] = {}
        self.invalid: list[str] = []
        self.faults: deque[Fault] = deque()
        self.port = 0
        self._news = asyncio.Event()
        self._runner: web.AppRunner | None = None

    # -- what a chat's own fake says

    def answer(self, call: Call) -> Reply:
        """Do what the chat would do, and return what it would answer."""
        raise NotImplementedError

    def check(self, body: dict[str, Any], *, edit: bool) -> None:
        """Return if the chat would take `body`, else raise Invalid."""
        raise NotImplementedError

    def name(self, request: web.Request) -> str:
        """Return what a test calls this request."""
        return request.method

    def shown(self, call: Call, reply: Reply) -> Reply:
        """Return the reply in the form that this request's answers have."""
        return reply

    def limited(self, after: float) -> Fault:
        """Too many requests, in this chat's form."""
        raise NotImplementedError

    def dead(self) -> Fault:
        """The token was revoked or the webhook removed, in this chat's form."""
        raise NotImplementedError

    def refused(self) -> Fault:
        """This one message is bad, in this chat's form."""
        raise NotImplementedError

    def failed_with_200(self) -> Fault:
        """It did not work, says an answer whose status says that it did. By default it is not the chat's own."""
        return status(200)

    def edit_refused(self) -> Fault:
        """This message may not be edited (any more), in this chat's form."""
        raise NotImplementedError

    # -- what its `answer` uses

    def valid(self, body: dict[str, Any], *, edit: bool = False) -> str:
        """Return what is wrong with a body, nothing when it is good."""
        try:
            self.check(body, edit=edit)
        except Invalid as why:
            self.invalid.append(str(why))
            return str(why)
        return ""

    def post(self, body: dict[str, Any], *, key: Any, place: str = "", thread: str | None = None) -> Posted:
        """Keep a new message. `key` is how it is found again, and its id when it is a text."""
        posted = Posted(place, key if isinstance(key, str) else key[-1], thread, body, [body])
        self.messages[key] = posted
        return posted

    def edit(self, posted: Posted, body: dict[str, Any]) -> None:
        """Make a message show `body`."""
        posted.body = body
        posted.history.append(body)

    # -- where it is

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, port: int = 0) -> Self:
        app = web.Application(client_max_size=2**22)
        app.router.add_route("*", "/{tail:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def until(self, true: Callable[[], object], within: float = 5) -> None:
        """Return as soon as `true()` holds; it is asked after every request."""
        async with asyncio.timeout(within):
            while not true():
                self._news.clear()
                await self._news.wait()

    # -- one request

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        call = await self._note(request)
        if call.path == ELSEWHERE:
            return _response(Reply(200, "<html><body>welcome</body></html>", {"Content-Type": "text/html"}))
        fault = self.fault(call)
        if fault and not fault.accepted:
            return await self._bad(request, call, fault, Reply())
        reply = self.answer(call)
        self._news.set()
        fault = fault or self.late(call, reply)
        return await self._bad(request, call, fault, reply) if fault else _response(self.shown(call, reply))

    async def _note(self, request: web.Request) -> Call:
        raw = await request.read()
        body = _object(raw, request.content_type)
        headers, query = dict(request.headers), dict(request.query)
        call = Call(self.name(request), request.path, query, headers, body, raw, time.monotonic())
        self.calls.append(call)
        self._news.set()
        return call

    def fault(self, call: Call) -> Fault | None:
        """What goes wrong before the chat looks at the request, or with its answer."""
        return self.faults.popleft() if self.faults else None

    def late(self, call: Call, reply: Reply) -> Fault | None:
        """What goes wrong after the chat has done what it was asked."""
        return None

    async def _bad(self, request: web.Request, call: Call, fault: Fault, reply: Reply) -> web.StreamResponse:
        if fault.kind == "lost":
            if request.transport:
                request.transport.abort()
            return web.Response()
        if isinstance(fault.wait, asyncio.Event):
            await fault.wait.wait()
        elif fault.wait:
            await asyncio.sleep(fault.wait)
        own = Reply(fault.status, fault.body, fault.headers)
        return _response(self.shown(call, own if fault.kind == "answer" else reply))


def _object(raw: bytes, content_type: str) -> dict[str, Any]:
    """Return the body of a request where it is an object, as JSON or by what a form says."""
    if content_type != "application/json" or not raw:
        return {}
    found = json.loads(raw)
    return found if isinstance(found, dict) else {}


def _response(reply: Reply) -> web.Response:
    if isinstance(reply.body, dict | list):
        return web.json_response(reply.body, status=reply.status, headers=reply.headers)
    return web.Response(status=reply.status, text=reply.body or "", headers=reply.headers)
