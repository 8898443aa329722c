"""A Webex on loopback: a bot in spaces as the manual says, and badly on demand. `tests.fakes.base` says how to use it.

https://developer.webex.com/docs/api/v1/messages
"""

from __future__ import annotations

from typing import Any

from tests.fakes.base import Call, FakeChat, Fault, Invalid, Reply

TOKEN = "made-up_bot-token"
ROOM = "Y2lzY29zcGFyazovL3VzL1JPT00vbWFkZS11cA"
LONGEST = 7_439
MOST_EDITS = 10


def error(http: int, **headers: str) -> Fault:
    return Fault("answer", status=http, body=_words(), headers=headers)


def _words() -> dict[str, Any]:
    return {"message": "made up", "errors": [{"description": "made up"}], "trackingId": "ROUTER_made-up"}


class FakeWebex(FakeChat):
    """Spaces with a bot in it."""

    def __init__(self) -> None:
        super().__init__()
        self.rooms = {ROOM}
        self.kind = "bot"

    @property
    def api_url(self) -> str:
        return f"{self.base}/v1"

    def limited(self, after: float) -> Fault:
        return error(429, **{"Retry-After": str(int(after))})

    def dead(self) -> Fault:
        return error(401)

    def refused(self) -> Fault:
        return error(400)

    def edit_refused(self) -> Fault:
        return error(400)

    def check(self, body: dict[str, Any], *, edit: bool) -> None:
        check(body, edit=edit)

    def answer(self, call: Call) -> Reply:
        if call.headers.get("Authorization") != f"Bearer {TOKEN}":
            return Reply(401, _words())
        _, _, kind, *rest = call.path.split("/")
        match call.method, kind, rest:
            case "GET", "people", ["me"]:
                return Reply(200, {"id": "me", "displayName": "bridge", "type": self.kind})
            case "GET", "rooms", [room]:
                return Reply(200, {"id": room, "title": "builds"}) if room in self.rooms else Reply(404, _words())
            case "POST", "messages", []:
                return self._post(call)
            case "PUT", "messages", [message]:
                return self._put(message, call)
        return Reply(405, _words())

    def _post(self, call: Call) -> Reply:
        parent = call.body.get("parentId")
        if call.body.get("roomId") not in self.rooms or parent not in {None, *self.messages}:
            return Reply(404, _words())
        if self.valid(call.body):
            return Reply(400, _words())
        posted = self.post(call.body, key=f"message-{len(self.messages) + len(self.calls)}", thread=parent)
        return Reply(200, {"id": posted.id, "roomId": call.body["roomId"]})

    def _put(self, message: str, call: Call) -> Reply:
        posted = self.messages.get(message)
        if posted is None:
            return Reply(404, _words())
        if self.valid(call.body, edit=True) or len(posted.history) > MOST_EDITS:
            return Reply(400, _words())
        self.edit(posted, call.body)
        return Reply(200, {"id": posted.id, "roomId": call.body["roomId"]})


def check(body: dict[str, Any], *, edit: bool = False) -> None:
    """Return if Webex would take `body`, else raise Invalid."""
    keys = {"roomId", "markdown"} | (set() if edit else {"parentId"})
    if not {"roomId", "markdown"} <= set(body) <= keys:
        raise Invalid(f"keys are {sorted(body)}")
    if not body["markdown"].strip():
        raise Invalid("empty")
    if len(body["markdown"].encode()) > LONGEST:
        raise Invalid(f"{len(body['markdown'].encode())} bytes")
