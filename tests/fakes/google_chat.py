"""A space of Google Chat on loopback with one webhook, and badly on demand: `tests.fakes.base` says how.

https://developers.google.com/workspace/chat/api/reference/rest/v1/spaces.messages/create
"""

from __future__ import annotations

from typing import Any

from tests.fakes import google_chat_validator
from tests.fakes.base import Call, FakeChat, Fault, Posted, Reply

PATH = "/v1/spaces/AAAAmadeup/messages"
KEY, TOKEN = "made-up-key", "made-up_Secret%2F%3D"
ANEW = "REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD"


def error(http: int, word: str, reason: str = "") -> Fault:
    return Fault("answer", status=http, body=_said(http, word, reason))


class FakeGoogleChat(FakeChat):
    """A space. A message that comes again under the id of its request is there once."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: dict[str, str] = {}
        self.requests: dict[str, str] = {}

    @property
    def url(self) -> str:
        return f"{self.base}{PATH}?key={KEY}&token={TOKEN}"

    def limited(self, after: float) -> Fault:
        """It does not say how long."""
        return error(429, "RESOURCE_EXHAUSTED")

    def dead(self) -> Fault:
        return error(404, "NOT_FOUND")

    def refused(self) -> Fault:
        return error(400, "INVALID_ARGUMENT")

    def check(self, body: dict[str, Any], *, edit: bool) -> None:
        google_chat_validator.check(body)

    def answer(self, call: Call) -> Reply:
        if call.path != PATH:
            return _refused(404, "NOT_FOUND")
        if call.query.get("key") != KEY:
            return Reply(400, _said(400, "INVALID_ARGUMENT", "API_KEY_INVALID"))
        if call.query.get("token") != "made-up_Secret/=":
            return _refused(403, "PERMISSION_DENIED")
        if call.method != "POST":
            return _refused(401, "UNAUTHENTICATED")
        if not call.body or self.valid(call.body):
            return _refused(400, "INVALID_ARGUMENT")
        request = call.query.get("requestId", "")
        known = self.messages.get(self.requests.get(request))
        return _shown(known or self._post(call, request))

    def _post(self, call: Call, request: str) -> Posted:
        wanted = (
            call.body.get("thread", {}).get("threadKey", "") if call.query.get("messageReplyOption") == ANEW else ""
        )
        root = self.threads.get(wanted)
        posted = self.post(call.body, key=f"m{len(self.messages)}", thread=root if root in self.messages else None)
        if posted.thread is None:
            self.threads[wanted] = posted.id
        self.requests[request] = posted.id
        return posted


def _shown(posted: Posted) -> Reply:
    thread = {"name": f"spaces/AAAAmadeup/threads/{posted.thread or posted.id}"}
    return Reply(200, {"name": f"spaces/AAAAmadeup/messages/{posted.id}", "thread": thread})


def _refused(http: int, word: str) -> Reply:
    return Reply(http, _said(http, word))


def _said(http: int, word: str, reason: str = "") -> dict[str, Any]:
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}] if reason else []
    return {"error": {"code": http, "message": "made up", "status": word, "details": details}}
