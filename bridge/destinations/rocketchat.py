"""Rocket.Chat, by incoming webhook or as a bot.

A webhook is one address: posts, no edits, no threads. A bot's token posts to the rooms that it may see, edits the text
of its messages and answers in threads. It chooses the id of each message itself, so that one that is sent again is
there once: Rocket.Chat refuses the second, and then the first is looked for. Only our queue repeats a request.

https://developer.rocket.chat/apidocs/send-message · update-message · get-message · get-room-information
https://docs.rocket.chat/docs/integrations (incoming webhooks)
https://developer.rocket.chat/apidocs/rate-limiter
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, SecretStr, model_validator

from bridge.destinations import _either, _rocketchat_text
from bridge.destinations._http import ask, header, judge_status, retry_after
from bridge.destinations.base import Bucket, DestinationOptions, Health, Receipt, digest, refusal, secret_of
from bridge.errors import Dead, DeliveryError, Gone, RateLimited, Rejected, Transient, Unsure
from bridge.message import Message
from bridge.units import Rate

if TYPE_CHECKING:
    import aiohttp

LABEL = "Rocket.Chat"
PERSON = "rocketchat"
CALLS = Rate(10 / 60)  # of one user, for each method of the API


# -- options

_COPY = "copy it from Workspace, Integrations, Incoming: https://chat.example.com/hooks/ID/TOKEN"
_ROOM_ID = re.compile(r"[A-Za-z0-9]{17,64}|GENERAL")
_ROOM = re.compile(r"#?[^\s#@/?&]{1,120}")
_MESSAGE_ID = re.compile(r"[A-Za-z0-9]{1,64}")


def _site(value: str | None) -> str | None:
    return _either.site(value, "/api/v1")


def _channel(value: str | None) -> str | None:
    if value is not None and not _ROOM.fullmatch(value.removeprefix("@")):
        raise ValueError('channel is no room: write its name in quotes, "#builds", or its id')
    return value


class Options(DestinationOptions):
    """Give `url` (an incoming webhook), or `site`, `token` and `channel` (a bot)."""

    url: SecretStr | None = Field(None, description="The address of an incoming webhook. It is a secret.")
    site: Annotated[str | None, AfterValidator(_site)] = Field(
        None, description="The server, `https://chat.example.com`, for a bot."
    )
    token: SecretStr | None = Field(None, description="A personal access token of the bot.")
    user_id: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
        description="The bot's user id, which Rocket.Chat shows with the token and wants beside it.",
    )
    channel: Annotated[str | None, AfterValidator(_channel)] = Field(
        None, description="Where to post: `#builds` or the room's id. A webhook has one of its own."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Options:
        webhook = _either.one_way(self.url, self.site, self.token, self.channel)
        if webhook:
            _either.check_webhook(webhook, r"[A-Za-z0-9]+/[A-Za-z0-9_-]+", LABEL, _COPY)
        elif (self.channel or "").startswith("@"):
            raise ValueError('a bot posts to rooms, not to people: write a room\'s name, "#builds", or its id')
        return self

    def refuses(self, channel: str) -> str | None:
        if self.token and channel.startswith("@"):
            return "posts to rooms, not to people"
        return refusal(_channel, channel)


def payload(message: Message, options: Options) -> dict[str, Any]:
    """Return the JSON of `message`: of a bot its text, as an edit can change no more; of a webhook with a colour."""
    said, below = _rocketchat_text.own(message)
    first, rest = _rocketchat_text.build(message)
    if options.token:
        return {"msg": said or (f"{first}\n{rest}" if rest else first)}
    if not said and not below and rest:
        below = [{"color": _rocketchat_text.colour(message), "text": rest}]
    return {"text": said or first, "attachments": below, "parseUrls": False}


# -- what an answer means

_INVITE = "type /invite @bridge in the room"
_CODES: dict[str, tuple[type[DeliveryError], str]] = {
    "error-room-not-found": (Dead, f"no such room, or a private one that the bot is not in: {_INVITE}"),
    "error-invalid-room": (Dead, f"no such room, or a private one that the bot is not in: {_INVITE}"),
    "error-invalid-channel": (Dead, "no such room, look at channel"),
    "error-room-archived": (Dead, "the room is archived, choose another one"),
    "room_is_archived": (Dead, "the room is archived, choose another one"),
    "room_is_blocked": (Dead, "the room is blocked for the bot"),
    "room_is_read_only": (Dead, "the room is read-only, let the bot post there or choose another one"),
    "You_have_been_muted": (Dead, "the bot is muted in the room: type /unmute @bridge there"),
    "error-not-allowed": (Dead, f"the bot may not post here: {_INVITE}"),
    "error-action-not-allowed": (Dead, f"the bot may not post here: {_INVITE}"),
    "error-unauthorized": (Dead, "the bot's role lacks a permission: Workspace, Permissions"),
    "error-invalid-user": (Dead, "the bot was removed or is not active, look at Workspace, Users"),
    "totp-required": (Dead, "the token asks for a second factor: make one with Ignore Two Factor Authentication"),
    "error-message-editing-blocked": (Gone, "the message is too old to be edited"),
    "error-message-not-found": (Gone, "the message was deleted"),
    "error-invalid-message": (Gone, "the message was deleted"),
    "error-message-size-exceeded": (Rejected, "too large"),
    "invalid-params": (Rejected, "a field is wrong"),
    "error-invalid-params": (Rejected, "a field is wrong"),
}
_NO_LOGIN = "the token or user_id is wrong or was revoked, make a new one: the bot's My Account, Personal Access Tokens"
_WAIT = re.compile(r"wait (\d{1,6}) seconds?")


def judge(status: int, headers: Mapping[str, str], answer: Any) -> DeliveryError | None:
    """Return what an answer means, None when it is good: its status alone says little."""
    known = answer if isinstance(answer, dict) else {}
    said = known.get("error")
    word = _word(known)
    if status == 429 or word == "error-too-many-requests":
        seconds = _WAIT.search(said) if isinstance(said, str) else None
        after = (seconds and seconds[1], header(headers, "retry-after"))
        return RateLimited("rocket.chat asks to wait", retry_after(*after))
    if 200 <= status < 300 and known.get("success") is True:
        return None
    if word in _CODES and status < 500:
        kind, text = _CODES[word]
        return kind(f"rocket.chat {'refuses the message' if kind is Rejected else 'says'} ({word}): {text}")
    return _judge_rest(status, known, word)


def _judge_rest(status: int, known: Mapping[str, Any], word: str) -> DeliveryError:
    own = known.get("success") is False or known.get("status") == "error"
    said = known["error"] if own and isinstance(known.get("error"), str) else ""
    shown = f"HTTP {status}" + (f", {word}" if word else "")
    if said.lower().startswith("invalid integration id or token"):
        return Dead(f"rocket.chat does not know the webhook ({shown}), make a new one under Workspace, Integrations")
    if said.startswith("No message found"):
        return Gone(f"rocket.chat knows no such message ({shown})")
    if own and status == 401:
        return Dead(f"rocket.chat does not know the bot ({shown}): {_NO_LOGIN}")
    if own and status in (403, 404):
        return Dead(f"rocket.chat does not let the bot in ({shown}): {_INVITE}")
    if own and 400 <= status < 500:
        return Rejected(f"rocket.chat refuses the message ({shown})")
    if own and 200 <= status < 300:
        return Transient(f"rocket.chat says that it failed ({shown})")
    return judge_status("rocket.chat", status, word)


def _word(known: Mapping[str, Any]) -> str:
    """Rocket.Chat's word for an error, safe to show: a field, or in brackets at the end of a sentence."""
    kind, said = known.get("errorType"), known.get("error")
    text = said if isinstance(said, str) else ""
    found = re.search(r"\[([a-z][a-z-]{2,60})\]$", text[-64:])
    for one in (kind, found[1] if found else None, text):
        if isinstance(one, str) and (one in _CODES or re.fullmatch(r"(?:error|invalid)-[a-z-]{2,60}", one)):
            return one
    return ""


# -- talking


def open(name: str, options: Options, session: aiohttp.ClientSession) -> Bot | Webhook:
    """Return the destination that talks through `session`."""
    return Bot(name, options, session) if options.token else Webhook(name, options, session)


class Bot:
    """A bot's token: posts, edits and answers in threads."""

    can_edit = True
    can_thread = True

    def __init__(self, name: str, options: Options, session: aiohttp.ClientSession) -> None:
        self.name = name
        self._options = options
        self._session = session
        self._token = secret_of(options.token)
        self._digest = digest(f"{options.site} {self._token}")
        self._rooms: dict[str, str] = {}

    def buckets(self, *, edit: bool, channel: str | None) -> tuple[Bucket, ...]:
        """Each method of the API has a limit of its own, whatever the room."""
        key = f"rocketchat:{self._digest}:{'edit' if edit else 'post'}"
        return (Bucket(key, self._options.rate or CALLS, burst=10),)

    async def send(
        self, message: Message, *, channel: str | None, thread: Receipt | None, key: str | None = None
    ) -> Receipt:
        body: dict[str, Any] = payload(message, self._options)
        if thread and _MESSAGE_ID.fullmatch(thread.get("id", "")):
            await self._must_be_there(thread["id"])
            body["tmid"] = thread["id"]
        body["rid"] = (thread or {}).get("room") if "tmid" in body else None
        body["rid"] = body["rid"] or await self._room_id(channel or self._options.channel or "")
        if key:
            body["_id"] = digest(f"{self._digest} {self.name} {key}", 24)
        try:
            answer = await self._call("POST", "chat.sendMessage", {"message": body}, edit=False)
        except Rejected:
            if not key or not await self._is_there(body["_id"], body["rid"]):
                raise
            return {"id": body["_id"], "room": body["rid"]}
        return self._receipt(answer, body["rid"])

    async def edit(self, message: Message, receipt: Receipt) -> Receipt:
        if not _MESSAGE_ID.fullmatch(receipt.get("id", "")) or not receipt.get("room"):
            raise Gone("there is no message to edit")
        body = {"roomId": receipt["room"], "msgId": receipt["id"], "text": payload(message, self._options)["msg"]}
        try:
            await self._call("POST", "chat.update", body, edit=True)
        except Dead as error:
            if "action-not-allowed" in str(error) or "error-not-allowed" in str(error):
                raise Gone(
                    "the message may not be edited: Workspace, Settings, Message, Allow Message Editing"
                ) from None
            raise
        return receipt

    async def check(self) -> Health:
        try:
            me = await self._call("GET", "me")
            room = await self._room(self._options.channel or "")
        except Unsure as error:
            return Health(False, str(error).split(",")[0])
        except DeliveryError as error:
            return Health(False, str(error))
        name = _name(room.get("fname") or room.get("name"))
        if room.get("archived") is True:
            return Health(False, f"token valid, but {name} is archived, choose another room")
        if room.get("ro") is True:
            return Health(
                True, f"token valid, bot {_name(me.get('username'))}; {name} is read-only: is the bot an owner?"
            )
        return Health(True, f"token valid, bot {_name(me.get('username'))}, room {name}")

    async def _must_be_there(self, message: str) -> None:
        """Raise Gone when a thread's first message is not there: Rocket.Chat would take an answer that nobody sees."""
        if not await self._is_there(message, None):
            raise Gone("the thread is gone")

    async def _is_there(self, message: str, room: str | None) -> bool:
        """Return whether a message exists; nothing was posted when this fails."""
        try:
            answer = await self._call("GET", "chat.getMessage", query={"msgId": message})
        except (Rejected, Gone, Dead):
            return False
        except Unsure as error:
            raise Transient(str(error).split(",")[0]) from None
        found = answer.get("message")
        return isinstance(found, dict) and found.get("t") != "rm" and room in (None, found.get("rid"))

    async def _room_id(self, given: str) -> str:
        """Return the id of a room; it is asked for once. Nothing was posted when this fails."""
        if _ROOM_ID.fullmatch(given):
            return given
        if given not in self._rooms:
            try:
                room = await self._room(given)
            except Unsure as error:
                raise Transient(str(error).split(",")[0]) from None
            self._rooms[given] = str(room["_id"])
        return self._rooms[given]

    async def _room(self, given: str) -> dict[str, Any]:
        query = {"roomId": given} if _ROOM_ID.fullmatch(given) else {"roomName": given.removeprefix("#")}
        room = (await self._call("GET", "rooms.info", query=query)).get("room")
        if not isinstance(room, dict) or not isinstance(room.get("_id"), str):
            raise Dead(f"rocket.chat has no room {given[:80]}: look at channel, or {_INVITE}")
        return room

    def _receipt(self, answer: Mapping[str, Any], room: str) -> Receipt:
        message = answer.get("message")
        found = message.get("_id") if isinstance(message, dict) else None
        if not isinstance(found, str) or not _MESSAGE_ID.fullmatch(found):
            raise Unsure("rocket.chat's answer does not say where the message is")
        return {"id": found, "room": room}

    async def _call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        query: dict[str, str] | None = None,
        edit: bool | None = None,
    ) -> dict[str, Any]:
        got = await ask(
            self._session,
            method,
            f"{self._options.site}/api/v1/{path}",
            chat="rocket.chat",
            within=self._options.timeout,
            json=body,
            params=query,
            headers={"X-Auth-Token": self._token}
            | ({"X-User-Id": self._options.user_id} if self._options.user_id else {}),
        )
        answer = got.object()
        bad = judge(got.status, got.headers, answer)
        if isinstance(bad, RateLimited) and edit is not None:
            bad.bucket = self.buckets(edit=edit, channel=None)[0].key
        if bad or answer is None:
            raise bad or judge_status("rocket.chat", got.status)
        return answer


class Webhook:
    """An incoming webhook: posts, and answers nothing but that it did."""

    can_edit = False
    can_thread = False

    def __init__(self, name: str, options: Options, session: aiohttp.ClientSession) -> None:
        self.name = name
        self._options = options
        self._session = session
        self._url = secret_of(options.url)
        self._bucket = Bucket(f"rocketchat:{digest(self._url)}", options.rate or Rate(1), burst=10)

    def buckets(self, *, edit: bool, channel: str | None) -> tuple[Bucket, ...]:
        return (self._bucket,)

    async def send(
        self, message: Message, *, channel: str | None, thread: Receipt | None, key: str | None = None
    ) -> Receipt:
        body = payload(message, self._options)
        where = channel or self._options.channel
        if where:
            body["channel"] = where
        got = await ask(self._session, "POST", self._url, chat="rocket.chat", within=self._options.timeout, json=body)
        bad = judge(got.status, got.headers, got.object())
        if bad:
            raise bad
        return {}

    async def edit(self, message: Message, receipt: Receipt) -> Receipt:
        raise Gone("a webhook's messages cannot be edited")

    async def check(self) -> Health:
        return Health(None, "incoming webhooks cannot be asked without posting")


def _name(value: Any) -> str:
    return value[:80] if isinstance(value, str) else "unknown"
