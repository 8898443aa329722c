"""Webex, by a bot's token: posts to a space, edits what it posted, answers in threads.

Messages are Markdown and no cards: Webex edits the one and not the other, and a living message is worth more than a
frame. It takes about ten edits of one message, then a new one is posted. Only our queue repeats a request: Webex knows
no idempotency, so that an answer that was lost leaves it unsure. Mentions come from the configuration alone.

https://developer.webex.com/docs/api/v1/messages/create-a-message · edit-a-message
https://developer.webex.com/docs/basics#api-errors · #rate-limiting
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator, Field, SecretStr

from bridge.codec import web_url
from bridge.destinations import _webex_markdown
from bridge.destinations._http import ask, header, judge_status, retry_after
from bridge.destinations.base import Bucket, DestinationOptions, Health, Receipt, digest, is_loopback, refusal
from bridge.errors import Dead, DeliveryError, Gone, RateLimited, Rejected, Unsure
from bridge.message import Message
from bridge.units import Rate

if TYPE_CHECKING:
    import aiohttp

LABEL = "Webex"
PERSON = "webex"
WAIT = 15.0  # seconds, where Webex does not say how long


# -- options

_ROOM = re.compile(r"[A-Za-z0-9_=-]{20,200}")


def _token(value: SecretStr) -> SecretStr:
    token = value.get_secret_value().strip().removeprefix("Bearer ")
    if not re.fullmatch(r"[!-~]{8,}", token):
        raise ValueError("token is no bot's token, copy it from developer.webex.com, My Webex Apps")
    return SecretStr(token)


def _room(value: str) -> str:
    if not _ROOM.fullmatch(value):
        raise ValueError("room is a space's id (Y2lzY29...), not its name: docs/destinations/webex.md says where it is")
    return value


def _api_address(value: str) -> str:
    if not web_url(value) or "?" in value:
        raise ValueError("api_url is no address, leave it out for https://webexapis.com/v1")
    if value.startswith("http://") and not is_loopback(urlsplit(value).hostname or ""):
        raise ValueError("api_url begins with http://, which shows the token to everyone on the way: use https://")
    return value.rstrip("/")


class Options(DestinationOptions):
    """Give `token`, a bot's, and `room`, the id of a space that the bot was added to."""

    token: Annotated[SecretStr, AfterValidator(_token)] = Field(description="The bot's access token. It is a secret.")
    room: Annotated[str, AfterValidator(_room)] = Field(
        description="The id of the space, `Y2lzY29zcGFyazovL3VzL1JPT00...`."
    )
    api_url: Annotated[str, AfterValidator(_api_address)] = Field(
        "https://webexapis.com/v1", description="Another address of Webex's API, for FedRAMP, tests and proxies."
    )

    def refuses(self, channel: str) -> str | None:
        return refusal(_room, channel)


def payload(message: Message, options: Options) -> dict[str, Any]:
    """Return the JSON of `message`; the thread is added when it is sent."""
    return {"roomId": options.room, "markdown": _webex_markdown.build(message)}


# -- what an answer means

_ADD = "in the space: People, Add people, the bot's address; and compare the destination's room"


def judge(status: int, headers: Mapping[str, str], answer: Any) -> DeliveryError | None:
    """Return what an answer means, None when it is good. `answer` is its JSON, None where it was none."""
    known = answer if isinstance(answer, dict) else {}
    if status in (429, 423):
        asked = header(headers, "retry-after")
        return RateLimited("webex asks to wait", retry_after(asked, WAIT))
    if 200 <= status < 300 and isinstance(known.get("id"), str):
        return None
    if not {"message", "errors", "trackingId"} & known.keys():
        return judge_status("webex", status)
    shown = f"HTTP {status}{_tracking(known)}"
    match status:
        case 401:
            return Dead(
                f"webex does not know the token ({shown}): developer.webex.com, My Webex Apps, the bot, Regenerate"
            )
        case 403:
            return Dead(
                f"webex lets the bot not post here ({shown}): the space may be moderated; or add the bot {_ADD}"
            )
        case 404:
            return Dead(f"webex knows no such space, or the bot is not in it ({shown}): add the bot {_ADD}")
        case 400 | 415:
            return Rejected(f"webex refuses the message ({shown})")
    return judge_status("webex", status, _tracking(known).removeprefix(", "))


def _tracking(answer: Mapping[str, Any]) -> str:
    """The number by which Cisco's support finds the request."""
    found = answer.get("trackingId")
    return f", {found}" if isinstance(found, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,64}", found) else ""


def _of_old(bad: DeliveryError, status: int, what: str) -> DeliveryError:
    """Return Gone for an answer about a message of ours that is there no more, or that may not be edited again."""
    lost = status in (400, 403, 404, 405, 409, 410) and isinstance(bad, Dead | Rejected)
    return Gone(f"{what} (HTTP {status})") if lost else bad


# -- talking


def open(name: str, options: Options, session: aiohttp.ClientSession) -> Bot:
    """Return the destination that talks through `session`."""
    return Bot(name, options, session)


class Bot:
    """A bot in a space."""

    can_edit = True
    can_thread = True

    def __init__(self, name: str, options: Options, session: aiohttp.ClientSession) -> None:
        self.name = name
        self._options = options
        self._session = session
        named = digest(options.token.get_secret_value())
        # Webex names no number. It counts by token, edits too, and says with a 429 when it was too much.
        self._bucket = Bucket(f"webex:{named}", options.rate or Rate(1), burst=5)

    def buckets(self, *, edit: bool, channel: str | None) -> tuple[Bucket, ...]:
        return (self._bucket,)

    async def send(
        self, message: Message, *, channel: str | None, thread: Receipt | None, key: str | None = None
    ) -> Receipt:
        body = payload(message, self._options)
        if channel is not None:
            body["roomId"] = _known_room(channel)
        parent = thread.get("id") if thread and thread.get("room") == body["roomId"] else None
        if parent:
            body["parentId"] = parent
        status, answer, bad = await self._call("POST", "/messages", body)
        if bad:
            raise _of_old(bad, status, "the thread is gone") if parent else bad
        return {"id": answer["id"], "room": body["roomId"]}

    async def edit(self, message: Message, receipt: Receipt) -> Receipt:
        if not receipt.get("id") or not receipt.get("room"):
            raise Gone("there is no message to edit")
        body = {**payload(message, self._options), "roomId": receipt["room"]}
        status, _, bad = await self._call("PUT", f"/messages/{quote(receipt['id'], safe='')}", body)
        if bad:
            raise _of_old(bad, status, "the message is gone, or was edited too often")
        return receipt

    async def check(self) -> Health:
        """Ask who the bot is, then whether it is in the space."""
        try:
            person = await self._get("/people/me")
            room = await self._get(f"/rooms/{quote(self._options.room, safe='')}")
        except Unsure as error:
            return Health(False, str(error).split(",")[0])
        except DeliveryError as error:
            return Health(False, str(error))
        if person.get("type") == "person":
            return Health(
                True, f"space {_name(room.get('title'))}, but the token is a person's, which ends after hours"
            )
        return Health(True, f"token valid, bot {_name(person.get('displayName'))}, space {_name(room.get('title'))}")

    async def _get(self, path: str) -> dict[str, Any]:
        _, answer, bad = await self._call("GET", path, None)
        if bad:
            raise bad
        return answer

    async def _call(
        self, method: str, path: str, body: dict[str, Any] | None
    ) -> tuple[int, dict[str, Any], DeliveryError | None]:
        """Return the status, Webex's answer and what it means."""
        got = await ask(
            self._session,
            method,
            self._options.api_url + path,
            chat="webex",
            within=self._options.timeout,
            json=body,
            headers={"Authorization": f"Bearer {self._options.token.get_secret_value()}"},
        )
        answer = got.object()
        return got.status, answer or {}, judge(got.status, got.headers, answer)


def _known_room(channel: str) -> str:
    if not _ROOM.fullmatch(channel):
        raise Dead("the rule's channel is no id of a space: write Y2lzY29..., as in the destination's room")
    return channel


def _name(value: Any) -> str:
    return value[:80] if isinstance(value, str) else "unknown"
