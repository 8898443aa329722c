"""A Discord on loopback: one webhook as its manual says, and badly on demand. `tests.fakes.base` says how to use it.

https://docs.discord.com/developers/resources/webhook#execute-webhook
"""

from __future__ import annotations

from typing import Any

from tests.fakes import discord_validator
from tests.fakes.base import (
    Call,
    FakeChat,
    Fault,
    Posted,
    Reply,
    accepted_then_connection_lost,
    lost_before_accept,
    redirect,
    slow,
    status,
)

__all__ = [
    "FakeDiscord",
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


def ratelimited(after: float, *, everywhere: bool = False) -> Fault:
    """The body tells it exactly, the header in whole seconds."""
    body = {"message": "You are being rate limited.", "retry_after": after, "global": everywhere}
    return Fault("answer", status=429, body=body, headers={"Retry-After": str(int(after) + 1)})


def error(http: int, code: int, **more: Any) -> Fault:
    return Fault("answer", status=http, body={"message": "made up", "code": code, **more})


class FakeDiscord(FakeChat):
    """A channel with one webhook. Threads are those in `threads`."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[str] = set()

    @property
    def url(self) -> str:
        return f"{self.base}/api/webhooks/{ID}/{TOKEN}"

    def limited(self, after: float) -> Fault:
        return ratelimited(after)

    def dead(self) -> Fault:
        return error(404, 10015)

    def refused(self) -> Fault:
        return error(400, 50035, errors={})

    def edit_refused(self) -> Fault:
        return error(400, 30046)

    def check(self, body: dict[str, Any], *, edit: bool) -> None:
        discord_validator.check(body, edit=edit)

    def answer(self, call: Call) -> Reply:
        given, token, *rest = call.path.removeprefix("/api/webhooks/").split("/")
        if not call.headers.get("User-Agent", "").startswith("DiscordBot ("):
            return _error(403, 40333)
        if given != ID:
            return _error(404, 10015)
        if token != TOKEN:
            return _error(401, 50027)
        if call.query.get("thread_id") not in {None, *self.threads}:
            return _error(404, 10003)
        match call.method:
            case "GET":
                return Reply(200, {"id": ID, "name": "bridge", "channel_id": "7", "token": TOKEN, "url": self.url})
            case "POST" if not rest:
                return self._post(call)
            case "PATCH" if rest:
                return self._patch(rest[-1], call)
        return _error(405, 0)

    def _post(self, call: Call) -> Reply:
        if self.valid(call.body):
            return _error(400, 50035)
        key = str(2_000 + len(self.messages))
        posted = self.post(_shown(call), key=key, thread=call.query.get("thread_id"))
        # Without wait=true nobody learns what became of it.
        return Reply(200, {"id": posted.id}) if call.query.get("wait") == "true" else Reply(204)

    def _patch(self, message: str, call: Call) -> Reply:
        if self.valid(call.body, edit=True):
            return _error(400, 50035)
        posted: Posted | None = self.messages.get(message)
        if posted is None or posted.thread != call.query.get("thread_id"):
            return _error(404, 10008)
        self.edit(posted, posted.body | _shown(call))  # what is not named stays
        return Reply(200, {"id": posted.id})


def _error(http: int, code: int) -> Reply:
    return Reply(http, {"message": "made up", "code": code})


def _shown(call: Call) -> dict[str, Any]:
    """What of a body comes to be seen: buttons only when asked for."""
    dropped = set() if call.query.get("with_components") == "true" else {"components"}
    return {key: value for key, value in call.body.items() if key not in dropped}
