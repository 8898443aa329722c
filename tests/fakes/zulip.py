"""A Zulip on loopback: one bot as its manual says, and badly on demand. `tests.fakes.base` says how to use it.

https://zulip.com/api/send-message
"""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import parse_qsl, unquote

from aiohttp import web

from tests.fakes import zulip_reader
from tests.fakes.base import Call, FakeChat, Fault, Reply

EMAIL, KEY, CHANNEL = "builds-bot@acme.example", "madeUpSecretKey0123456789abcdef01", "builds"


def error(http: int, text: str, code: str = "BAD_REQUEST", **more: Any) -> Fault:
    return Fault("answer", status=http, body={"result": "error", "msg": text, "code": code, **more})


def ratelimited(after: float) -> Fault:
    fault = error(429, "API usage exceeded rate limit", "RATE_LIMIT_HIT", **{"retry-after": after})
    return Fault("answer", status=429, body=fault.body, headers={"Retry-After": str(after)})


class FakeZulip(FakeChat):
    """An organization with one bot and one channel. `too_late`: nothing may be edited any more."""

    def __init__(self) -> None:
        super().__init__()
        self.too_late = False
        self.users: dict[str, dict[str, Any]] = {}  # by e-mail address
        self.me: dict[str, Any] = {"full_name": "Builds", "is_bot": True, "is_active": True}

    @property
    def options(self) -> dict[str, str]:
        return {"site": self.base, "email": EMAIL, "api_key": KEY, "channel": CHANNEL}

    def limited(self, after: float) -> Fault:
        return ratelimited(after)

    def dead(self) -> Fault:
        return error(401, "Invalid API key", "INVALID_API_KEY")

    def refused(self) -> Fault:
        return error(400, "Message must not be empty")

    def failed_with_200(self) -> Fault:
        return Fault("answer", status=200, body={"result": "partially_completed", "code": "REQUEST_TIMEOUT"})

    def edit_refused(self) -> Fault:
        return error(400, "The time limit for editing this message has passed")

    def name(self, request: web.Request) -> str:
        return f"{request.method} {request.path.removeprefix('/api/v1/').split('/')[0]}"

    def check(self, body: dict[str, Any], *, edit: bool) -> None:
        zulip_reader.check(body)

    def answer(self, call: Call) -> Reply:
        if call.headers.get("Authorization") != "Basic " + base64.b64encode(f"{EMAIL}:{KEY}".encode()).decode():
            return _error("Invalid API key", 401, "INVALID_API_KEY")
        form = dict(parse_qsl(call.raw.decode(), keep_blank_values=True, strict_parsing=bool(call.raw)))
        match call.method:
            case "GET users":
                return self._user(unquote(call.path.rsplit("/", 1)[-1]))
            case "GET get_stream_id":
                known = call.query.get("stream") == CHANNEL
                return _good(stream_id=7) if known else _error("Invalid channel name 'made up'")
            case "POST messages":
                return self._send(form)
            case "PATCH messages":
                return self._edit(call.path.rsplit("/", 1)[-1], form)
        return _error("Not found", 404)

    def _user(self, name: str) -> Reply:
        if name == "me":
            return _good(**self.me)
        user = self.users.get(name.lower())
        return _good(user=user) if user else _error("No such user")

    def _send(self, form: dict[str, str]) -> Reply:
        if why := self.valid(form):
            return _error(why)
        if form["to"] != CHANNEL:
            return _error("Channel 'made up' does not exist", 400, "STREAM_DOES_NOT_EXIST")
        key = str(900 + len(self.messages))
        self.post({"content": form["content"]}, key=key, place=form["topic"])
        return _good(id=int(key))

    def _edit(self, message: str, form: dict[str, str]) -> Reply:
        if why := self.valid(form, edit=True):
            return _error(why)
        posted = self.messages.get(message)
        if posted is None:
            return _error("Invalid message(s)")
        if self.too_late:
            return _error("The time limit for editing this message has passed")
        self.edit(posted, form)
        return _good()


def _good(**more: Any) -> Reply:
    return Reply(200, {"result": "success", "msg": "", **more})


def _error(text: str, http: int = 400, code: str = "BAD_REQUEST") -> Reply:
    return Reply(http, {"result": "error", "msg": text, "code": code})
