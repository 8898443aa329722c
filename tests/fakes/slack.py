"""A Slack on loopback: the Web API and incoming webhooks as their manual says, and badly on demand. `tests.fakes.base`
says how to use it.

As a process: ``python -m tests.fakes.slack --port 0 --log FILE`` prints its port and appends every accepted message to
FILE as a line of JSON, before it answers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from pathlib import Path
from typing import Any, TextIO

from aiohttp import web

from tests.altered import replace
from tests.fakes import slack_validator
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
    text_plain,
)

__all__ = [
    "FakeSlack",
    "Fault",
    "Posted",
    "accepted_then_connection_lost",
    "channel_id",
    "error",
    "lost_before_accept",
    "ratelimited",
    "redirect",
    "slow",
    "status",
    "text_plain",
]

TOKEN = "xoxb-made-up-token"
WEBHOOK_PATH = "/services/T000/B000/made-up-secret"


def ratelimited(after: object = 1) -> Fault:
    headers = {} if after is None else {"Retry-After": str(after)}
    return Fault("answer", status=429, body={"ok": False, "error": "ratelimited"}, headers=headers)


def error(code: str, **more: Any) -> Fault:
    """``ok: false`` from the Web API; a webhook says the code as text (give `status`)."""
    http = more.pop("status", 200)
    return Fault("answer", status=http, body={"ok": False, "error": code, **more})


class FakeSlack(FakeChat):
    """One workspace with one bot and one incoming webhook. Any channel exists, unless it is in `missing`."""

    def __init__(
        self, *, token: str = TOKEN, log: TextIO | None = None, rate_limit: float | None = None, lose_answers: int = 0
    ) -> None:
        super().__init__()
        self.token = token
        self.missing: set[str] = set()
        self.channel: dict[str, Any] = {"is_member": True, "is_archived": False, "is_private": False}
        self.users: dict[str, dict[str, Any]] = {}  # by e-mail address
        self.scopes = ""
        self._log = log
        self._rate_limit = rate_limit
        self._lose_answers = lose_answers
        self._accepted = 0
        self._allowed_at: dict[str, float] = {}

    # -- where it is

    @property
    def url(self) -> str:
        return self.base

    @property
    def api_url(self) -> str:
        return f"{self.base}/api/"

    @property
    def webhook_url(self) -> str:
        return self.base + WEBHOOK_PATH

    def in_channel(self, channel: str) -> list[Posted]:
        """Return the messages of a channel (``#builds`` or its id), oldest first."""
        return [one for one in self.messages.values() if one.place == channel_id(channel)]

    # -- what goes wrong

    def limited(self, after: float) -> Fault:
        return ratelimited(after)

    def dead(self) -> Fault:
        return error("token_revoked")

    def refused(self) -> Fault:
        return error("invalid_blocks")

    def failed_with_200(self) -> Fault:
        return error("internal_error")

    def edit_refused(self) -> Fault:
        return error("edit_window_closed")

    def fault(self, call: Call) -> Fault | None:
        if self.faults:
            return self.faults.popleft()
        if not self._rate_limit or call.method in ("auth.test", "page"):
            return None
        key = f"{call.method}:{call.body.get('channel') if call.method == 'chat.postMessage' else ''}"
        now = time.monotonic()
        if now < self._allowed_at.get(key, 0):
            return ratelimited(1)
        self._allowed_at[key] = now + 1 / self._rate_limit
        return None

    def late(self, call: Call, reply: Reply) -> Fault | None:
        """With `lose_answers`, every so many-th accepted message loses its answer."""
        if not self._lose_answers or not ("ts" in reply.body or reply.body == "ok"):
            return None
        self._accepted += 1
        return accepted_then_connection_lost() if self._accepted % self._lose_answers == 0 else None

    # -- what it answers

    def name(self, request: web.Request) -> str:
        _, first, *rest = request.path.split("/")
        return {"api": rest[-1], "services": "webhook"}.get(first, "page") if rest else "page"

    def check(self, body: dict[str, Any], *, edit: bool) -> None:
        slack_validator.check(body, update=edit)

    def answer(self, call: Call) -> Reply:
        match call.method:
            case "page":
                return Reply(200, "<html><body>welcome</body></html>", {"Content-Type": "text/html"})
            case "webhook":
                return self._webhook(call)
        return Reply(200, self._judge(call), {"X-OAuth-Scopes": self.scopes} if self.scopes else {})

    def shown(self, call: Call, reply: Reply) -> Reply:
        """A webhook answers in a word, and what is an error is one by its status too."""
        if call.method != "webhook" or not isinstance(reply.body, dict):
            return reply
        word, headers = reply.body.get("error", ""), {"Content-Type": "text/html", **reply.headers}
        http = {200: 400 if word.startswith("invalid_") else 403}.get(reply.status, reply.status)
        return replace(reply, status=http, body=word, headers=headers)

    def _judge(self, call: Call) -> dict[str, Any]:
        given = call.headers.get("Authorization")
        if given is None:
            return {"ok": False, "error": "not_authed"}
        if given != f"Bearer {self.token}":
            return {"ok": False, "error": "invalid_auth"}
        match call.method:
            case "auth.test":
                return {"ok": True, "url": f"{self.url}/", "team": "acme", "user": "bridge", "team_id": "T000"}
            case "conversations.info":
                return self._channel(call.query.get("channel", ""))
            case "users.lookupByEmail":
                return self._found(call.query.get("email", ""))
            case "chat.postMessage":
                return self._post(call.body)
            case "chat.update":
                return self._update(call.body)
        return {"ok": False, "error": "unknown_method"}

    def _channel(self, channel: str) -> dict[str, Any]:
        if not channel.startswith("C") or channel in self.missing:
            return {"ok": False, "error": "channel_not_found"}
        return {"ok": True, "channel": {"id": channel, "name": "builds", **self.channel}}

    def _found(self, email: str) -> dict[str, Any]:
        user = self.users.get(email.lower())
        return {"ok": True, "user": user} if user else {"ok": False, "error": "users_not_found"}

    def _post(self, body: dict[str, Any]) -> dict[str, Any]:
        wanted = body.get("channel") or ""
        thread = body.get("thread_ts")
        if not wanted or wanted in self.missing or wanted[0] not in "#C":
            return {"ok": False, "error": "channel_not_found"}
        channel = channel_id(wanted)
        if thread and (channel, thread) not in self.messages:
            return {"ok": False, "error": "cannot_reply_to_message"}
        return self._bad_blocks(body) or self._store(channel, body, thread)

    def _update(self, body: dict[str, Any]) -> dict[str, Any]:
        channel, ts = body.get("channel") or "", body.get("ts") or ""
        if not channel.startswith("C") or channel in self.missing:
            return {"ok": False, "error": "channel_not_found"}
        if (channel, ts) not in self.messages:
            return {"ok": False, "error": "message_not_found"}
        return self._bad_blocks(body, edit=True) or self._replace(self.messages[channel, ts], body)

    def _bad_blocks(self, body: dict[str, Any], *, edit: bool = False) -> dict[str, Any] | None:
        why = self.valid(body, edit=edit)
        if not why:
            return None
        return {"ok": False, "error": "invalid_blocks", "response_metadata": {"messages": [f"[ERROR] {why}"]}}

    def _store(self, channel: str, body: dict[str, Any], thread: str | None) -> dict[str, Any]:
        ts = f"{1_700_000_000 + len(self.messages)}.{len(self.messages):06d}"
        self.post(body, key=(channel, ts), place=channel, thread=thread)
        self._write("post", channel, ts, body)
        return {"ok": True, "channel": channel, "ts": ts, "message": {"text": body["text"]}}

    def _replace(self, posted: Posted, body: dict[str, Any]) -> dict[str, Any]:
        self.edit(posted, body)
        self._write("update", posted.place, posted.id, body)
        return {"ok": True, "channel": posted.place, "ts": posted.id, "text": body["text"]}

    def _webhook(self, call: Call) -> Reply:
        if call.path != WEBHOOK_PATH:
            return Reply(404, "no_service")
        if self.valid(call.body):
            return Reply(400, "invalid_blocks")
        self._store("webhook", call.body, None)
        return Reply(200, "ok")

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
