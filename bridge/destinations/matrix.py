"""Matrix, by a bot's access token: posts to a room, edits what it posted, answers in threads.

A message is sent under a key of ours (`txnId`), which the server remembers for the token: what is sent again, even
after a restart, is there once. It stands as it was first sent, so that bridge looks, and edits it when it has become
another. Encrypted rooms are refused: the server would take plain text there, and everyone would think it was sealed.

https://spec.matrix.org/latest/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid
https://spec.matrix.org/latest/client-server-api/#event-replacements · #threading · #user-and-room-mentions
https://spec.matrix.org/latest/client-server-api/#standard-error-response
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator, Field, SecretStr

from bridge import __version__
from bridge.codec import web_url
from bridge.destinations import _matrix_html
from bridge.destinations._http import ask, header, judge_status, retry_after
from bridge.destinations.base import Bucket, DestinationOptions, Health, Receipt, digest, is_loopback, refusal
from bridge.errors import Dead, DeliveryError, Gone, RateLimited, Rejected, Transient, Unsure
from bridge.message import Message
from bridge.units import Rate

if TYPE_CHECKING:
    import aiohttp

LABEL = "Matrix"
PERSON = "matrix"
LOOK, GLANCE = timedelta(seconds=5), timedelta(seconds=2)  # for what is asked before a message, and after it


# -- options

_ROOM = re.compile(r"![^\s:/?#]{1,200}(?::[A-Za-z0-9.:\[\]-]{1,120})?")
_ALIAS = re.compile(r"#[^\s:]{1,200}:[A-Za-z0-9.:\[\]-]{1,120}")
_EVENT = re.compile(r"\$[^\s]{1,254}")


def _server(value: str) -> str:
    address = value.strip().rstrip("/")
    if not web_url(address) or "?" in address or "#" in address:
        raise ValueError("homeserver is no address, write the server's: https://matrix.example.org")
    if "/_matrix" in address:
        raise ValueError("homeserver ends before /_matrix: https://matrix.example.org")
    if address.startswith("http://") and not is_loopback(urlsplit(address).hostname or ""):
        raise ValueError("homeserver begins with http://, which shows the token to everyone on the way: use https://")
    return address


def _token(value: SecretStr) -> SecretStr:
    token = value.get_secret_value().strip().removeprefix("Bearer ")
    if not re.fullmatch(r"[!-~]{4,}", token):
        raise ValueError("token is no access token, docs/destinations/matrix.md says how to get one")
    return SecretStr(token)


def _room(value: str) -> str:
    if not _ROOM.fullmatch(value) and not _ALIAS.fullmatch(value):
        raise ValueError(
            "room is no room, write its id (!abc:example.org: Room Settings, Advanced, Internal room ID) "
            'or its address ("#builds:example.org", in quotes)'
        )
    return value


class Options(DestinationOptions):
    """Give `homeserver`, `token` (the bot's) and `room`."""

    homeserver: Annotated[str, AfterValidator(_server)] = Field(
        description="The address of the bot's server, `https://matrix.example.org`."
    )
    token: Annotated[SecretStr, AfterValidator(_token)] = Field(description="The bot's access token. It is a secret.")
    room: Annotated[str, AfterValidator(_room)] = Field(
        description="The room's id, `!abc:example.org`, or its address, `#builds:example.org`."
    )

    def refuses(self, channel: str) -> str | None:
        return refusal(_room, channel)


def payload(message: Message, options: Options) -> dict[str, Any]:
    """Return the content of `message`'s event; the room is named in the address, a thread is added when it is sent."""
    return _matrix_html.build(message)


# -- what an answer means

_NEW_TOKEN = "log the bot in again and write the new token"  # noqa: S105 - words for a person

# https://spec.matrix.org/latest/client-server-api/#common-error-codes: the class, and what to do about it.
_CODES: dict[str, tuple[type[DeliveryError], str]] = {
    "M_UNKNOWN_TOKEN": (Dead, f"the token is not valid any more, {_NEW_TOKEN}"),
    "M_MISSING_TOKEN": (Dead, f"it saw no token, {_NEW_TOKEN}; a proxy may have dropped it"),
    "M_USER_DEACTIVATED": (Dead, "the bot's account was closed, use another one"),
    "M_USER_LOCKED": (Dead, "the bot's account is locked, ask the server's admins"),
    "M_USER_SUSPENDED": (Dead, "the bot's account is suspended, ask the server's admins"),
    "M_CONSENT_NOT_GIVEN": (Dead, "log in as the bot once and agree to the server's terms"),
    "M_GUEST_ACCESS_FORBIDDEN": (Dead, "the bot is a guest, give it an account"),
    "M_FORBIDDEN": (
        Dead,
        "the bot is not in the room, or may not write there: invite it, let it join, "
        "and look at Room Settings, Roles & Permissions, Send messages",
    ),
    "M_NOT_FOUND": (Dead, "no such room, compare the destination's room"),
    "M_UNRECOGNIZED": (Dead, "homeserver is not its address for clients; .well-known/matrix/client says which it is"),
    "M_TOO_LARGE": (Rejected, "too large"),
    "M_BAD_JSON": (Rejected, "not the JSON that it expects"),
    "M_NOT_JSON": (Rejected, "not the JSON that it expects"),
    "M_INVALID_PARAM": (Rejected, "a field is wrong"),
    "M_MISSING_PARAM": (Rejected, "a field is missing"),
    "M_UNKNOWN": (Rejected, "it does not say why"),
    "M_RESOURCE_LIMIT_EXCEEDED": (Transient, "the server is over its own limits, ask its admins"),
}


def judge(status: int, headers: Mapping[str, str], answer: Any, *, wants: str = "event_id") -> DeliveryError | None:
    """Return what an answer means, None when it is good: then it has the text `wants`, if that is not empty."""
    known = answer if isinstance(answer, dict) else {}
    code = known.get("errcode")
    if status == 429 or code == "M_LIMIT_EXCEEDED":
        return RateLimited("matrix asks to wait", retry_after(_seconds(known), header(headers, "retry-after")))
    if 200 <= status < 300 and answer is not None and (not wants or isinstance(known.get(wants), str)):
        return None
    if not isinstance(code, str) or not re.fullmatch(r"[A-Z0-9_.]{1,60}", code):
        return judge_status("matrix", status)
    if code in _CODES and 400 <= status < 500:
        kind, text = _CODES[code]
        return kind(
            f"matrix refuses the message ({code}): {text}" if kind is Rejected else f"matrix says {code}: {text}"
        )
    return _judge_rest(status, code)


def _judge_rest(status: int, code: str) -> DeliveryError:
    """An answer in Matrix's form with a code that we do not know."""
    match status:
        case 401:
            return Dead(f"matrix does not take the token ({code}), {_NEW_TOKEN}")
        case 400:
            return Rejected(f"matrix refuses the message ({code})")
    return judge_status("matrix", status, code)


def _seconds(answer: Mapping[str, Any]) -> float | None:
    """The exact time to wait; the header beside it is in whole seconds."""
    given = answer.get("retry_after_ms")
    if not isinstance(given, int | float) or isinstance(given, bool) or not 0 <= given <= 10**9:
        return None
    return given / 1_000


# -- talking

_NOT_HERE = (
    "the bot is not in the room: invite it, and let it join (docs/destinations/matrix.md has the one line for that)"
)
_ENCRYPTED = (
    "the room is encrypted, and bridge writes in the clear: encryption cannot be switched off, "
    "so make a room without and name that one"
)
_NO_POWER = "the bot may not write: Room Settings, Roles & Permissions, Send messages, or give the bot more power"


def open(name: str, options: Options, session: aiohttp.ClientSession) -> Bot:
    """Return the destination that talks through `session`."""
    return Bot(name, options, session)


class Bot:
    """A bot in rooms."""

    can_edit = True
    can_thread = True

    def __init__(self, name: str, options: Options, session: aiohttp.ClientSession) -> None:
        self.name = name
        self._options = options
        self._session = session
        self._ids: dict[str, str] = {}  # of the rooms that are named by their addresses
        self._user = ""
        token = options.token.get_secret_value()
        self._digest = digest(f"{options.homeserver} {token}")
        # What Synapse allows one user unless its admin says more: everything that it sends counts, in all rooms.
        self._bucket = Bucket(f"matrix:{self._digest}", options.rate or Rate(0.2), burst=10)

    def buckets(self, *, edit: bool, channel: str | None) -> tuple[Bucket, ...]:
        return (self._bucket,)

    async def send(
        self, message: Message, *, channel: str | None, thread: Receipt | None, key: str | None = None
    ) -> Receipt:
        room = await self._room_id(channel or self._options.room)
        if await self._is_encrypted(room):
            raise Dead(_ENCRYPTED)
        content = payload(message, self._options)
        if thread:
            root = await self._own(thread)
            room, content["m.relates_to"] = thread["room"], _in_thread(root)
        event = await self._put(room, self._txn(key), content)
        receipt = {"room": room, "id": event}
        if key and await self._stands_otherwise(receipt, content):
            return await self.edit(message, receipt)
        return receipt

    async def edit(self, message: Message, receipt: Receipt) -> Receipt:
        event = await self._own(receipt)
        content = payload(message, self._options)
        edit = {
            "msgtype": content["msgtype"],
            "body": f"* {content['body']}",
            "m.mentions": {},  # those whom the edit calls anew: nobody
            "m.new_content": content,
            "m.relates_to": {"rel_type": "m.replace", "event_id": event},
        }
        try:
            # Never under a key of before: what goes back to how it was is an edit too.
            await self._put(receipt["room"], self._txn(None), edit)
        except Rejected as error:
            raise Gone(f"the message cannot be edited: {error}") from None
        return receipt

    async def check(self) -> Health:
        try:
            return await self._checked()
        except Unsure as error:
            return Health(False, str(error).split(",")[0])
        except DeliveryError as error:
            return Health(False, str(error))

    async def _checked(self) -> Health:
        me = await self._whoami()
        room = await self._room_id(self._options.room)
        try:
            encrypted = await self._is_encrypted(room)
        except Dead:
            return Health(False, f"{_NOT_HERE} (the bot is {me})")
        if encrypted:
            return Health(False, _ENCRYPTED)
        levels = await self._look(f"{_at(room)}/state/m.room.power_levels")
        if levels is not None and _power(levels, me) < _needed(levels):
            return Health(False, f"{_NO_POWER} (the bot is {me})")
        return Health(True, f"{me} in {self._options.room}, which is not encrypted")

    # -- asking

    async def _put(self, room: str, txn: str, content: dict[str, Any]) -> str:
        """Return the id of the event, new or the one that was sent under this key before."""
        path = f"{_at(room)}/send/m.room.message/{txn}"
        answer = await self._call("PUT", path, content, within=self._options.timeout, wants="event_id")
        return str(answer["event_id"])

    async def _room_id(self, name: str) -> str:
        if _ROOM.fullmatch(name):
            return name
        if not _ALIAS.fullmatch(name):
            raise Dead("a rule names a room that is neither an id (!abc:example.org) nor an address (#a:example.org)")
        if name not in self._ids:
            found = await self._look(f"directory/room/{quote(name, safe='')}")
            known = found.get("room_id") if found else None
            if not isinstance(known, str) or not _ROOM.fullmatch(known):
                raise Dead("matrix knows no room with this address, compare the destination's room")
            self._ids[name] = known
        return self._ids[name]

    async def _is_encrypted(self, room: str) -> bool:
        return await self._look(f"{_at(room)}/state/m.room.encryption") is not None

    async def _own(self, receipt: Receipt) -> str:
        """Return the id of a message of ours that is still there, else raise Gone.

        A server takes an edit of whatever there is, and clients show it only when it is the author's.
        """
        event, room = receipt.get("id", ""), receipt.get("room", "")
        if not _EVENT.fullmatch(event) or not _ROOM.fullmatch(room):
            raise Gone("there is no message to edit or to answer")
        try:
            stands = await self._event(room, event)
        except Dead as error:
            if "M_FORBIDDEN" not in str(error):
                raise
            raise Gone("the message cannot be seen any more") from None
        if stands is None or not isinstance(stands.get("content"), dict) or not stands["content"].get("msgtype"):
            raise Gone("the message was deleted")
        if stands.get("sender") != (self._user or await self._whoami()):
            raise Gone("the message belongs to another user: the token is that of a new bot")
        return event

    async def _event(self, room: str, event: str, within: timedelta = LOOK) -> dict[str, Any] | None:
        return await self._look(f"{_at(room)}/event/{quote(event, safe='')}", within)

    async def _stands_otherwise(self, receipt: Receipt, content: dict[str, Any]) -> bool:
        """Return whether the server knew the key, and shows what was sent then. What cannot be seen is as it is."""
        try:
            stands = await self._event(receipt["room"], receipt["id"], GLANCE)
        except DeliveryError:
            return False
        shown = stands.get("content") if stands else None
        return isinstance(shown, dict) and bool(shown.get("msgtype")) and shown != content

    async def _whoami(self) -> str:
        answer = await self._look("account/whoami")
        self._user = str((answer or {}).get("user_id", ""))
        return self._user

    async def _look(self, path: str, within: timedelta = LOOK) -> dict[str, Any] | None:
        """Return what is there, None where nothing is. Nothing is written, so that nothing can be unsure."""
        try:
            return await self._call("GET", path, None, within=min(within, self._options.timeout))
        except Unsure as error:
            raise Transient(str(error).split(", the message")[0]) from None
        except Dead as error:
            if "M_NOT_FOUND" not in str(error):
                raise
            return None

    async def _call(
        self, method: str, path: str, body: dict[str, Any] | None, *, within: timedelta, wants: str = ""
    ) -> dict[str, Any]:
        """Return Matrix's answer; every way in which a request can fail becomes one of our errors."""
        got = await ask(
            self._session,
            method,
            f"{self._options.homeserver}/_matrix/client/v3/{path}",
            chat="matrix",
            within=within,
            json=body,
            headers={
                "Authorization": f"Bearer {self._options.token.get_secret_value()}",
                "User-Agent": f"bridge/{__version__}",
            },
        )
        answer = got.object()
        bad = judge(got.status, got.headers, answer, wants=wants)
        if isinstance(bad, RateLimited):
            bad.bucket = self._bucket.key
        if bad or answer is None:
            raise bad or judge_status("matrix", got.status)
        return answer

    def _txn(self, key: str | None) -> str:
        """The server remembers it for this token; the name keeps apart what two destinations say of one event."""
        if not key:
            return f"bridge-{secrets.token_hex(16)}"
        return "bridge-" + hashlib.sha256(f"{self.name} {key}".encode()).hexdigest()[:32]


def _at(room: str) -> str:
    return f"rooms/{quote(room, safe='')}"


def _in_thread(root: str) -> dict[str, Any]:
    """The reply within is for clients without threads."""
    return {
        "rel_type": "m.thread",
        "event_id": root,
        "is_falling_back": True,
        "m.in_reply_to": {"event_id": root},
    }


def _power(levels: Mapping[str, Any], user: str) -> int:
    users = levels.get("users")
    own = users.get(user) if isinstance(users, dict) else None
    return next((one for one in (own, levels.get("users_default")) if isinstance(one, int)), 0)


def _needed(levels: Mapping[str, Any]) -> int:
    events = levels.get("events")
    own = events.get("m.room.message") if isinstance(events, dict) else None
    return next((one for one in (own, levels.get("events_default")) if isinstance(one, int)), 0)
