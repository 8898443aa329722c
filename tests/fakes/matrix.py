"""A Matrix homeserver on loopback: a bot in rooms as the specification says, and badly on demand.

Faults meet what is sent (`PUT`); what bridge only asks is answered. `tests.fakes.base` says how to use it, and
`test_matrix_synapse.py` asks a real homeserver the same.

https://spec.matrix.org/latest/client-server-api/#sending-events-to-a-room
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from tests.fakes import matrix_validator
from tests.fakes.base import Call, FakeChat, Fault, Reply

TOKEN = "made-up_bot-token"
USER = "@bridge:example.org"
ROOM, ALIAS = "!builds:example.org", "#builds:example.org"
API = "/_matrix/client/v3/"


def error(http: int, code: str, **more: Any) -> Fault:
    return Fault("answer", status=http, body={"errcode": code, "error": "made up", **more})


class FakeMatrix(FakeChat):
    """A server with rooms; `state` is that of each room that the bot is in."""

    def __init__(self) -> None:
        super().__init__()
        self.user = USER
        self.state: dict[str, dict[str, Any]] = {ROOM: {}}
        self.sent: dict[tuple[str, str], str] = {}  # by room and txnId, as the server remembers them
        self._lost: set[str] = set()

    @property
    def url(self) -> str:
        return self.base

    def limited(self, after: float) -> Fault:
        body = {"errcode": "M_LIMIT_EXCEEDED", "error": "Too Many Requests", "retry_after_ms": int(after * 1_000)}
        return Fault("answer", status=429, body=body, headers={"Retry-After": str(int(after) + 1)})

    def dead(self) -> Fault:
        return error(401, "M_UNKNOWN_TOKEN", soft_logout=False)

    def refused(self) -> Fault:
        return error(413, "M_TOO_LARGE")

    def edit_refused(self) -> Fault:
        return error(400, "M_UNKNOWN")

    def check(self, body: dict[str, Any], *, edit: bool) -> None:
        matrix_validator.check(body)

    def fault(self, call: Call) -> Fault | None:
        fault = super().fault(call) if call.method == "PUT" else None
        if fault and fault.kind == "lost" and call.path not in self._lost:
            self._lost.add(call.path)
            self.faults.appendleft(fault)  # aiohttp repeats a PUT once by itself, and nobody would see what was lost
        return fault

    def answer(self, call: Call) -> Reply:
        if call.headers.get("Authorization") != f"Bearer {TOKEN}":
            return _error(401, "M_UNKNOWN_TOKEN")
        parts = [unquote(part) for part in call.path.removeprefix(API).split("/")]
        match call.method, parts:
            case "GET", ["account", "whoami"]:
                return Reply(200, {"user_id": self.user, "device_id": "MADEUP"})
            case "GET", ["directory", "room", alias]:
                return Reply(200, {"room_id": ROOM}) if alias == ALIAS else _error(404, "M_NOT_FOUND")
            case _, ["rooms", room, *_] if room not in self.state:
                return _error(403, "M_FORBIDDEN")
            case "GET", ["rooms", room, "state", kind]:
                found = self.state[room].get(kind)
                return _error(404, "M_NOT_FOUND") if found is None else Reply(200, found)
            case "GET", ["rooms", room, "event", event]:
                return self._event(room, event)
            case "PUT", ["rooms", room, "send", "m.room.message", txn]:
                return self._send(room, txn, call.body)
        return _error(404, "M_UNRECOGNIZED")

    def _event(self, room: str, event: str) -> Reply:
        """The event as it was sent: edits are events of their own."""
        posted = self.messages.get(event)
        if posted is None or posted.place != room:
            return _error(404, "M_NOT_FOUND")
        return Reply(200, {"event_id": event, "sender": USER, "content": posted.history[0], "room_id": room})

    def _send(self, room: str, txn: str, body: dict[str, Any]) -> Reply:
        if (room, txn) in self.sent:  # whatever the body is
            return Reply(200, {"event_id": self.sent[room, txn]})
        if self.valid(body):
            return _error(400, "M_BAD_JSON")
        relation = body.get("m.relates_to", {})
        if relation and relation["event_id"] not in self.messages:
            return _error(400, "M_UNKNOWN")
        event = f"$event{len(self.sent)}"
        self.sent[room, txn] = event
        if relation.get("rel_type") == "m.replace":
            self.edit(self.messages[relation["event_id"]], body["m.new_content"])
        else:
            self.post(body, key=event, place=room, thread=relation.get("event_id"))
        return Reply(200, {"event_id": event})


def _error(http: int, code: str) -> Reply:
    return Reply(http, {"errcode": code, "error": "made up"})
