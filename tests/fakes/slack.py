"""A Slack on loopback: the Web API and incoming webhooks as their manual says, and badly on demand.

It keeps every request (`calls`) and every message with its history (`messages`), refuses what the validator refuses
(and remembers it in `invalid`, so that a test can fail), and takes faults from a queue, one per request::

    async with FakeSlack() as slack:
        slack.faults += [ratelimited(2), accepted_then_connection_lost()]

As a process: ``python -m tests.fakes.slack --port 0 --log FILE`` prints its port and appends every accepted message to
FILE as a line of JSON, before it answers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from aiohttp import web

from tests.fakes.slack_validator import Invalid, check

TOKEN = "xoxb-made-up-token"
WEBHOOK_PATH = "/services/T000/B000/made-up-secret"


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it came in. `method` is ``chat.postMessage`` ... or ``webhook``."""

    method: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: float


@dataclass(slots=True)
class Posted:
    """A message as it stands in a channel, with all that it showed before."""

    channel: str
    ts: str
    thread_ts: str | None
    body: dict[str, Any]
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one request. `accepted`: the message is posted all the same."""

    kind: str
    accepted: bool = False
    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    wait: asyncio.Event | float | None = None


def ratelimited(after: object = 1) -> Fault:
    headers = {} if after is None else {"Retry-After": str(after)}
    return Fault("answer", status=429, body={"ok": False, "error": "ratelimited"}, headers=headers)


def error(code: str, **more: Any) -> Fault:
    """``ok: false`` from the Web API; a webhook says the code as text (give `status`)."""
    http = more.pop("status", 200)
    return Fault("answer", status=http, body={"ok": False, "error": code, **more})


def status(code: int, html: str = "<html><body>Sorry</body></html>") -> Fault:
    return Fault("answer", status=code, body=html, headers={"Content-Type": "text/html"})


def text_plain(text: str = "upstream says no", code: int = 200) -> Fault:
    return Fault("answer", status=code, body=text, headers={"Content-Type": "text/plain"})


def redirect(location: str) -> Fault:
    return Fault("answer", status=302, body="", headers={"Location": location})


def accepted_then_connection_lost() -> Fault:
    return Fault("lost", accepted=True)


def lost_before_accept() -> Fault:
    return Fault("lost")


def slow(wait: asyncio.Event | float) -> Fault:
    """Takes the message, and answers only after the event (or so many seconds)."""
    return Fault("slow", accepted=True, wait=wait)


class FakeSlack:
    """One workspace with one bot and one incoming webhook. Any channel exists, unless it is in `missing`."""

    def __init__(
        self, *, token: str = TOKEN, log: TextIO | None = None, rate_limit: float | None = None, lose_answers: int = 0
    ) -> None:
        self.token = token
        self.calls: list[Call] = []
        self.messages: dict[tuple[str, str], Posted] = {}
        self.invalid: list[str] = []
        self.faults: deque[Fault] = deque()
        self.missing: set[str] = set()
        self.port = 0
        self._log = log
        self._rate_limit = rate_limit
        self._lose_answers = lose_answers
        self._accepted = 0
        self._allowed_at: dict[str, float] = {}
        self._news = asyncio.Event()
        self._runner: web.AppRunner | None = None

    # -- where it is

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_url(self) -> str:
        return f"{self.url}/api/"

    @property
    def webhook_url(self) -> str:
        return self.url + WEBHOOK_PATH

    async def start(self, port: int = 0) -> FakeSlack:
        app = web.Application(client_max_size=2**22)
        app.router.add_post("/api/{method}", self._api)
        app.router.add_post("/services/{tail:.*}", self._webhook)
        app.router.add_get("/{tail:.*}", self._page)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()

    async def __aenter__(self) -> FakeSlack:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # -- what a test asks

    async def until(self, true: Callable[[], object], within: float = 5) -> None:
        """Return as soon as `true()` holds; it is asked after every request."""
        async with asyncio.timeout(within):
            while not true():
                self._news.clear()
                await self._news.wait()

    def in_channel(self, channel: str) -> list[Posted]:
        """Return the messages of a channel (``#builds`` or its id), oldest first."""
        return [one for one in self.messages.values() if one.channel == channel_id(channel)]

    # -- the Web API

    async def _api(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        body = await self._note(method, request)
        fault = self._fault(method, body)
        if fault and not fault.accepted:
            return await self._answer(request, fault)
        answer = self._judge(method, request, body)
        lost = fault or self._lost(answer)
        return await self._answer(request, lost, answer) if lost else web.json_response(answer)

    def _judge(self, method: str, request: web.Request, body: dict[str, Any]) -> dict[str, Any]:
        given = request.headers.get("Authorization")
        if given is None:
            return {"ok": False, "error": "not_authed"}
        if given != f"Bearer {self.token}":
            return {"ok": False, "error": "invalid_auth"}
        match method:
            case "auth.test":
                return {"ok": True, "url": f"{self.url}/", "team": "acme", "user": "bridge", "team_id": "T000"}
            case "chat.postMessage":
                return self._post(body)
            case "chat.update":
                return self._update(body)
        return {"ok": False, "error": "unknown_method"}

    def _post(self, body: dict[str, Any]) -> dict[str, Any]:
        wanted = body.get("channel") or ""
        thread = body.get("thread_ts")
        if not wanted or wanted in self.missing or wanted[0] not in "#C":
            return {"ok": False, "error": "channel_not_found"}
        channel = channel_id(wanted)
        if thread and (channel, thread) not in self.messages:
            return {"ok": False, "error": "cannot_reply_to_message"}
        return self._valid("chat.postMessage", body) or self._store(channel, body, thread)

    def _update(self, body: dict[str, Any]) -> dict[str, Any]:
        channel, ts = body.get("channel") or "", body.get("ts") or ""
        if not channel.startswith("C") or channel in self.missing:
            return {"ok": False, "error": "channel_not_found"}
        if (channel, ts) not in self.messages:
            return {"ok": False, "error": "message_not_found"}
        return self._valid("chat.update", body) or self._replace(self.messages[channel, ts], body)

    def _valid(self, method: str, body: dict[str, Any]) -> dict[str, Any] | None:
        try:
            check(body, update=method == "chat.update")
        except Invalid as why:
            self.invalid.append(str(why))
            return {"ok": False, "error": "invalid_blocks", "response_metadata": {"messages": [f"[ERROR] {why}"]}}
        return None

    def _store(self, channel: str, body: dict[str, Any], thread: str | None) -> dict[str, Any]:
        ts = f"{1_700_000_000 + len(self.messages)}.{len(self.messages):06d}"
        self.messages[channel, ts] = Posted(channel, ts, thread, body, [body])
        self._write("post", channel, ts, body)
        self._news.set()
        return {"ok": True, "channel": channel, "ts": ts, "message": {"text": body["text"]}}

    def _replace(self, posted: Posted, body: dict[str, Any]) -> dict[str, Any]:
        posted.body = body
        posted.history.append(body)
        self._write("update", posted.channel, posted.ts, body)
        self._news.set()
        return {"ok": True, "channel": posted.channel, "ts": posted.ts, "text": body["text"]}

    # -- incoming webhooks

    async def _webhook(self, request: web.Request) -> web.StreamResponse:
        body = await self._note("webhook", request)
        fault = self._fault("webhook", body)
        if fault and not fault.accepted:
            return await self._answer(request, fault)
        if request.path != WEBHOOK_PATH:
            return web.Response(status=404, text="no_service")
        if self._valid("webhook", body):
            return web.Response(status=400, text="invalid_blocks")
        self._store("webhook", body, None)
        lost = fault or self._lost({"ok": True, "ts": ""})
        return await self._answer(request, lost, "ok") if lost else web.Response(text="ok")

    async def _page(self, request: web.Request) -> web.Response:
        return web.Response(text="<html><body>welcome</body></html>", content_type="text/html")

    # -- what is common to both

    async def _note(self, method: str, request: web.Request) -> dict[str, Any]:
        text = await request.text()
        body = json.loads(text) if text and request.content_type == "application/json" else {}
        self.calls.append(Call(method, dict(request.headers), body, time.monotonic()))
        self._news.set()
        return body

    def _fault(self, method: str, body: dict[str, Any]) -> Fault | None:
        if self.faults:
            return self.faults.popleft()
        if not self._rate_limit or method == "auth.test":
            return None
        key = f"{method}:{body.get('channel') if method == 'chat.postMessage' else ''}"
        now = time.monotonic()
        if now < self._allowed_at.get(key, 0):
            return ratelimited(1)
        self._allowed_at[key] = now + 1 / self._rate_limit
        return None

    def _lost(self, answer: dict[str, Any]) -> Fault | None:
        """With `lose_answers`, every so many-th accepted message loses its answer."""
        if not self._lose_answers or not answer.get("ok") or "ts" not in answer:
            return None
        self._accepted += 1
        return accepted_then_connection_lost() if self._accepted % self._lose_answers == 0 else None

    async def _answer(self, request: web.Request, fault: Fault, answer: Any = None) -> web.StreamResponse:
        if fault.kind == "lost":
            if request.transport:
                request.transport.abort()
            return web.Response()
        if isinstance(fault.wait, asyncio.Event):
            await fault.wait.wait()
        elif fault.wait:
            await asyncio.sleep(fault.wait)
        body = fault.body if fault.kind == "answer" else answer
        if isinstance(body, dict) and request.path.startswith("/api/"):
            return web.json_response(body, status=fault.status, headers=fault.headers)
        text = body.get("error", "") if isinstance(body, dict) else str(body)
        return web.Response(status=fault.status, text=text, headers={"Content-Type": "text/html", **fault.headers})

    def _write(self, method: str, channel: str, ts: str, body: dict[str, Any]) -> None:
        if self._log:
            line = {"method": method, "channel": channel, "ts": ts, "body": body, "at": time.time()}
            self._log.write(json.dumps(line) + "\n")
            self._log.flush()


def channel_id(name: str) -> str:
    """Return the id that the fake gives to a channel's name; ids stay."""
    return "C" + name[1:].upper() if name.startswith("#") else name


async def _serve(options: argparse.Namespace) -> None:
    with Path(options.log).open("a", encoding="utf-8") as log:
        fake = FakeSlack(token=options.token, log=log, rate_limit=options.rate_limit, lose_answers=options.lose_answers)
        await fake.start(options.port)
        print(fake.port, flush=True)
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", required=True, help="every accepted message, one JSON object a line")
    parser.add_argument("--token", default=TOKEN)
    parser.add_argument("--rate-limit", type=float, help="posts per second and channel; edits per second altogether")
    parser.add_argument("--lose-answers", type=int, default=0, metavar="N", help="every Nth accepted message")
    try:
        asyncio.run(_serve(parser.parse_args()))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
