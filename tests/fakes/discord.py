"""A Discord on loopback: one webhook as its manual says, and badly on demand.

It keeps every request (`calls`) and every message with its history (`messages`), refuses what the validator refuses
(and remembers it in `invalid`, so that a test can fail), and takes faults from a queue, one per request::

    async with FakeDiscord() as discord:
        discord.faults += [ratelimited(0.25), accepted_then_connection_lost()]
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.fakes.discord_validator import Invalid, check
from tests.fakes.slack import Fault, accepted_then_connection_lost, lost_before_accept, redirect, slow, status

__all__ = [
    "Fault",
    "accepted_then_connection_lost",
    "error",
    "lost_before_accept",
    "ratelimited",
    "redirect",
    "slow",
    "status",
]

ID = "1090000000000000001"
TOKEN = "made-up_Secret"


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it came in."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass(slots=True)
class Posted:
    """A message as it stands in the channel, or in a thread of it, with all that it showed before."""

    id: str
    thread: str | None
    body: dict[str, Any]
    history: list[dict[str, Any]] = field(default_factory=list)


def ratelimited(after: float, *, everywhere: bool = False) -> Fault:
    """The body tells it exactly, the header in whole seconds."""
    body = {"message": "You are being rate limited.", "retry_after": after, "global": everywhere}
    return Fault("answer", status=429, body=body, headers={"Retry-After": str(int(after) + 1)})


def error(http: int, code: int, **more: Any) -> Fault:
    return Fault("answer", status=http, body={"message": "made up", "code": code, **more})


class FakeDiscord:
    """A channel with one webhook. Threads are those in `threads`."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.messages: dict[str, Posted] = {}
        self.invalid: list[str] = []
        self.faults: deque[Fault] = deque()
        self.threads: set[str] = set()
        self.port = 0
        self._news = asyncio.Event()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/webhooks/{ID}/{TOKEN}"

    async def __aenter__(self) -> FakeDiscord:
        app = web.Application(client_max_size=2**22)
        app.router.add_route("*", "/api/webhooks/{id}/{token}", self._webhook)
        app.router.add_patch("/api/webhooks/{id}/{token}/messages/{message}", self._webhook)
        app.router.add_get("/elsewhere", self._page)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner:
            await self._runner.cleanup()

    async def until(self, true: Callable[[], object], within: float = 5) -> None:
        """Return as soon as `true()` holds; it is asked after every request."""
        async with asyncio.timeout(within):
            while not true():
                self._news.clear()
                await self._news.wait()

    async def _webhook(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        body = json.loads(text) if text else {}
        call = Call(request.method, request.path, dict(request.query), dict(request.headers), body)
        self.calls.append(call)
        fault = self.faults.popleft() if self.faults else None
        if fault and not fault.accepted:
            self._news.set()
            return await _bad(request, fault, None)
        http, answer = self._answer(request, call)
        self._news.set()
        if fault:
            return await _bad(request, fault, answer)
        return web.json_response(answer, status=http) if answer else web.Response(status=http)

    def _answer(self, request: web.Request, call: Call) -> tuple[int, dict[str, Any] | None]:
        if not request.headers.get("User-Agent", "").startswith("DiscordBot ("):
            return 403, {"message": "blocked", "code": 40333}
        if request.match_info["id"] != ID:
            return 404, {"message": "Unknown Webhook", "code": 10015}
        if request.match_info["token"] != TOKEN:
            return 401, {"message": "Invalid Webhook Token", "code": 50027}
        if call.query.get("thread_id") not in {None, *self.threads}:
            return 404, {"message": "Unknown Channel", "code": 10003}
        match call.method:
            case "GET":
                return 200, {"id": ID, "name": "bridge", "channel_id": "7", "token": TOKEN, "url": self.url}
            case "POST":
                return self._valid(call.body, edit=False) or self._post(call)
            case "PATCH":
                return self._valid(call.body, edit=True) or self._patch(request.match_info["message"], call)
        return 405, {"message": "405: Method Not Allowed", "code": 0}

    def _valid(self, body: dict[str, Any], *, edit: bool) -> tuple[int, dict[str, Any]] | None:
        try:
            check(body, edit=edit)
        except Invalid as why:
            self.invalid.append(str(why))
            return 400, {"code": 50035, "message": "Invalid Form Body", "errors": {}}
        return None

    def _post(self, call: Call) -> tuple[int, dict[str, Any] | None]:
        shown = _shown(call)
        posted = Posted(str(2_000 + len(self.messages)), call.query.get("thread_id"), shown, [shown])
        self.messages[posted.id] = posted
        # Without wait=true nobody learns what became of it.
        return (200, {"id": posted.id}) if call.query.get("wait") == "true" else (204, None)

    def _patch(self, message: str, call: Call) -> tuple[int, dict[str, Any]]:
        posted = self.messages.get(message)
        if posted is None or posted.thread != call.query.get("thread_id"):
            return 404, {"message": "Unknown Message", "code": 10008}
        posted.body = posted.body | _shown(call)  # what is not named stays
        posted.history.append(posted.body)
        return 200, {"id": posted.id}

    async def _page(self, request: web.Request) -> web.Response:
        return web.json_response({"id": "999"})


def _shown(call: Call) -> dict[str, Any]:
    """What of a body comes to be seen: buttons only when asked for."""
    dropped = set() if call.query.get("with_components") == "true" else {"components"}
    return {key: value for key, value in call.body.items() if key not in dropped}


async def _bad(request: web.Request, fault: Fault, answer: dict[str, Any] | None) -> web.StreamResponse:
    if fault.kind == "lost":
        if request.transport:
            request.transport.abort()
        return web.Response()
    if isinstance(fault.wait, asyncio.Event):
        await fault.wait.wait()
    if isinstance(fault.body, dict):
        return web.json_response(fault.body, status=fault.status, headers=fault.headers)
    if fault.kind == "answer":
        return web.Response(status=fault.status, text=str(fault.body), headers=fault.headers)
    return web.json_response(answer)
