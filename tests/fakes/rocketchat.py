"""A Rocket.Chat on loopback: the API of a bot and an incoming webhook as their manual says, and badly on demand.
`tests.fakes.base` says how to use it.

https://developer.rocket.chat/apidocs/send-message
https://docs.rocket.chat/docs/integrations
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from tests.fakes.base import Call, FakeChat, Fault, Invalid, Reply

TOKEN, USER = "made-up-bot-token", "madeUpUser0000001"
WEBHOOK_PATH = "/hooks/madeUpHook00000001/made-up-secret"
ROOM, ARCHIVED, READ_ONLY = "roomBuilds0000001", "roomArchived00001", "roomReadOnly00001"
LONGEST = 5_000


def error(http: int, word: str) -> Fault:
    return Fault("answer", status=http, body=_words(word))


def _words(word: str) -> dict[str, Any]:
    return {"success": False, "error": f"Made up [{word}]", "errorType": word}


class FakeRocketChat(FakeChat):
    """A workspace with some rooms, a bot and a webhook."""

    def __init__(self) -> None:
        super().__init__()
        self.spared = {"chat.getMessage"}  # what meets no fault: it is asked after one
        self.rooms = {"builds": ROOM, "archived": ARCHIVED, "notices": READ_ONLY}

    @property
    def webhook_url(self) -> str:
        return self.base + WEBHOOK_PATH

    # -- what goes wrong

    def limited(self, after: float) -> Fault:
        text = (
            f"Error, too many requests. Please slow down. You must wait {int(after)} seconds before trying this again."
        )
        return Fault("answer", status=429, body={"success": False, "error": f"{text} [error-too-many-requests]"})

    def dead(self) -> Fault:
        return Fault("dead", status=401)

    def refused(self) -> Fault:
        return error(400, "error-message-size-exceeded")

    def failed_with_200(self) -> Fault:
        return Fault("answer", body={"success": False, "error": "made up"})

    def edit_refused(self) -> Fault:
        return error(400, "error-message-editing-blocked")

    # -- what it answers

    def name(self, request: web.Request) -> str:
        return "webhook" if request.path.startswith("/hooks/") else request.path.removeprefix("/api/v1/")

    def fault(self, call: Call) -> Fault | None:
        """Who is refused altogether is told so in one form by the API, and in another by a webhook."""
        fault = None if call.method in self.spared else super().fault(call)
        if fault is None or fault.kind != "dead":
            return fault
        reply = _no_hook() if call.method == "webhook" else _no_login()
        return Fault("answer", status=reply.status, body=reply.body)

    def check(self, body: dict[str, Any], *, edit: bool) -> None:
        check(body)

    def answer(self, call: Call) -> Reply:
        if call.method == "webhook":
            return self._webhook(call)
        if not call.path.startswith("/api/v1/"):
            return Reply(200, "<html>the web app</html>", {"Content-Type": "text/html"})
        if (call.headers.get("X-Auth-Token"), call.headers.get("X-User-Id")) != (TOKEN, USER):
            return _no_login()
        match call.method:
            case "me":
                return Reply(200, {"success": True, "_id": USER, "username": "bridge"})
            case "rooms.info":
                return self._room(call.query)
            case "chat.getMessage":
                return self._get(call.query.get("msgId", ""))
            case "chat.sendMessage":
                return self._send(call.body.get("message") or {})
            case "chat.update":
                return self._update(call.body)
        return Reply(404, "<html>not found</html>", {"Content-Type": "text/html"})

    def _room(self, query: dict[str, str]) -> Reply:
        known = self.rooms.get(query.get("roomName", "")) or query.get("roomId")
        name = next((name for name, room in self.rooms.items() if room == known), None)
        if name is None:
            return _bad("error-room-not-found")
        room = {"_id": known, "name": name, "archived": known == ARCHIVED, "ro": known == READ_ONLY}
        return Reply(200, {"success": True, "room": room})

    def _get(self, message: str) -> Reply:
        posted = self.messages.get(message)
        if posted is None:
            return Reply(400, {"success": False})
        return Reply(200, {"success": True, "message": {"_id": posted.id, "rid": posted.place}})

    def _send(self, message: dict[str, Any]) -> Reply:
        """A thread's first message is not looked for; a message of a known id is refused, in no word of its own."""
        if message.get("_id") in self.messages:
            return Reply(400, {"success": False, "error": "Cannot read properties of undefined"})
        room = message.get("rid")
        if room not in self.rooms.values():
            return _bad("error-invalid-room")
        if room == ARCHIVED:
            return _bad("room_is_archived")
        if self.valid(message):
            return _bad("error-message-size-exceeded")
        key = message.get("_id") or f"message{len(self.calls)}"
        self.post({"msg": message["msg"]}, key=key, place=room, thread=message.get("tmid"))
        return Reply(200, {"success": True, "message": {"_id": key, "rid": room, "msg": message["msg"]}})

    def _update(self, body: dict[str, Any]) -> Reply:
        if set(body) != {"roomId", "msgId", "text"}:
            return _bad("invalid-params")
        posted = self.messages.get(body["msgId"])
        if posted is None:
            return Reply(400, {"success": False, "error": f'No message found with the id of "{body["msgId"]}".'})
        if self.valid({"msg": body["text"]}, edit=True):
            return _bad("error-message-size-exceeded")
        self.edit(posted, {"msg": body["text"]})
        return Reply(200, {"success": True, "message": {"_id": posted.id}})

    def _webhook(self, call: Call) -> Reply:
        if call.path != WEBHOOK_PATH:
            return _no_hook()
        if self.valid(call.body):
            return _bad("invalid-params")
        self.post(call.body, key=f"message{len(self.calls)}", place=call.body.get("channel", ""))
        return Reply(200, {"success": True})


def _bad(word: str) -> Reply:
    return Reply(400, _words(word))


def _no_login() -> Reply:
    return Reply(401, {"status": "error", "message": "You must be logged in to do this."})


def _no_hook() -> Reply:
    return Reply(401, {"success": False, "error": "Invalid integration id or token provided."})


_BOT = {"_id", "rid", "msg", "tmid"}
_HOOK = {"text", "attachments", "parseUrls", "channel"}
_ATTACHMENT = set("color text title title_link author_name author_link author_icon image_url thumb_url fields".split())


def check(body: dict[str, Any]) -> None:
    """Return if Rocket.Chat would take `body`, else raise Invalid."""
    bot = "msg" in body
    _need(set(body) <= (_BOT if bot else _HOOK), f"unknown keys in {sorted(body)}")
    below = body.get("attachments", [])
    texts = [body.get("msg" if bot else "text"), *(one["text"] for one in below if "text" in one)]
    _need(all(isinstance(text, str) and text.strip() for text in texts), "a text is empty")
    whole = sum(len(str(text).encode("utf-16-le")) // 2 for text in texts)
    _need(whole <= LONGEST, f"{whole} characters")
    for one in body.get("attachments", []):
        _need(set(one) <= _ATTACHMENT, f"unknown keys in {sorted(one)}")


def _need(fits: object, text: str) -> None:
    if not fits:
        raise Invalid(text)
