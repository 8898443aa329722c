"""A Telegram on loopback: one bot as its manual says, and badly on demand. `tests.fakes.base` says how to use it.

https://core.telegram.org/bots/api#making-requests
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from tests.fakes import telegram_reader
from tests.fakes.base import Call, FakeChat, Fault, Reply

TOKEN = "110201543:made-up_Secret"
BOT, CHAT, NEW_CHAT = 110201543, "-1001090000001", -1002090000002
_SHOWN = ("text", "parse_mode", "link_preview_options", "reply_markup")


def error(code: int, description: str, **parameters: Any) -> Fault:
    reply = _error(code, description, **parameters)
    return Fault("answer", status=reply.status, body=reply.body)


def ratelimited(after: float) -> Fault:
    return error(429, f"Too Many Requests: retry after {int(after)}", retry_after=int(after))


class FakeTelegram(FakeChat):
    """A bot that is in `CHAT`. `moved`: that group has become a supergroup, `NEW_CHAT`. It has the `topics` there."""

    def __init__(self) -> None:
        super().__init__()
        self.moved = False
        self.topics: set[int] = set()
        self.chat: dict[str, Any] = {"type": "supergroup", "title": "Builds"}
        self.member: dict[str, Any] = {"status": "member"}

    @property
    def options(self) -> dict[str, str]:
        return {"token": TOKEN, "chat": CHAT, "api_url": self.base}

    def limited(self, after: float) -> Fault:
        return ratelimited(after)

    def dead(self) -> Fault:
        return error(401, "Unauthorized")

    def refused(self) -> Fault:
        return error(400, "Bad Request: can't parse entities: made up")

    def edit_refused(self) -> Fault:
        return error(400, "Bad Request: message can't be edited")

    def name(self, request: web.Request) -> str:
        return request.path.rsplit("/", 1)[-1]

    def check(self, body: dict[str, Any], *, edit: bool) -> None:
        telegram_reader.check(body)

    def answer(self, call: Call) -> Reply:
        if not call.path.startswith(f"/bot{TOKEN}/"):
            return _error(401, "Unauthorized")
        if call.method == "getMe":
            return _good({"id": BOT, "is_bot": True, "username": "acme_bridge_bot"})
        known = str(NEW_CHAT) if self.moved else CHAT
        if str(call.body.get("chat_id")) != known:
            return self._elsewhere(str(call.body.get("chat_id")))
        match call.method:
            case "getChat":
                return _good({"id": int(known), **self.chat})
            case "getChatMember":
                return _good(self.member)
            case "sendMessage":
                return self._send(call.body)
            case "editMessageText":
                return self._edit(call.body)
        return _error(404, "Not Found")

    def _elsewhere(self, chat: str) -> Reply:
        if self.moved and chat == CHAT:
            return _error(400, "Bad Request: group chat was upgraded to a supergroup chat", migrate_to_chat_id=NEW_CHAT)
        return _error(400, "Bad Request: chat not found")

    def _send(self, body: dict[str, Any]) -> Reply:
        if why := self.valid(body):
            return _error(400, f"Bad Request: {why}")
        if body.get("message_thread_id") not in {None, *self.topics}:
            return _error(400, "Bad Request: message thread not found")
        answered = body.get("reply_parameters", {}).get("message_id")
        if answered is not None and str(answered) not in self.messages:
            return _error(400, "Bad Request: message to be replied not found")
        key = str(40 + len(self.messages))
        self.post(_shown(body), key=key, place=str(body["chat_id"]), thread=str(answered) if answered else None)
        return _good({"message_id": int(key)})

    def _edit(self, body: dict[str, Any]) -> Reply:
        if why := self.valid(body, edit=True):
            return _error(400, f"Bad Request: {why}")
        posted = self.messages.get(str(body.get("message_id")))
        if posted is None:
            return _error(400, "Bad Request: message to edit not found")
        if posted.body == _shown(body):
            return _error(400, "Bad Request: message is not modified: specified new message content is the same")
        self.edit(posted, _shown(body))
        return _good({"message_id": int(posted.id)})


def _good(result: dict[str, Any]) -> Reply:
    return Reply(200, {"ok": True, "result": result})


def _error(code: int, description: str, **parameters: Any) -> Reply:
    more = {"parameters": parameters} if parameters else {}
    return Reply(code, {"ok": False, "error_code": code, "description": description, **more})


def _shown(body: dict[str, Any]) -> dict[str, Any]:
    return {key: body[key] for key in _SHOWN if key in body}
