"""Zulip, by a bot: posts to a topic of a channel, and edits what it posted while the organization allows it.

A topic is what other chats call a thread: all that is told of a branch or pull request is in one. After ten minutes, by
default, nobody may edit any more; what is to be edited then is posted anew, in the same topic. An answer that was lost
is unsure: Zulip knows no idempotency.

https://zulip.com/api/send-message · /update-message · /rest-error-handling
https://zulip.com/api/http-headers#rate-limiting-response-headers
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote, urlencode

from pydantic import AfterValidator, Field, SecretStr

from bridge import __version__
from bridge.codec import web_url
from bridge.destinations import _zulip_markdown, _zulip_topic
from bridge.destinations._http import ask, header, judge_status, retry_after
from bridge.destinations.base import Bucket, DestinationOptions, Health, Receipt, digest, refusal
from bridge.errors import Dead, DeliveryError, Gone, RateLimited, Rejected, Transient, Unsure
from bridge.message import Message
from bridge.units import Rate

if TYPE_CHECKING:
    import aiohttp

LABEL = "Zulip"
PERSON = "zulip"


# -- options


def _site(value: str) -> str:
    if not web_url(value) or "?" in value or "#" in value:
        raise ValueError("site is no address, write the organization's: https://acme.zulipchat.com")
    return value.rstrip("/").removesuffix("/api/v1")


def _email(value: str) -> str:
    if not re.fullmatch(r"[^@\s:]+@[^@\s:]+", value):
        raise ValueError("email is the bot's, from Personal settings, Bots: builds-bot@acme.zulipchat.com")
    return value


def _key(value: SecretStr) -> SecretStr:
    key = value.get_secret_value().strip()
    if not re.fullmatch(r"[A-Za-z0-9]{8,128}", key):
        raise ValueError("api_key has characters that no key has, copy it again from Personal settings, Bots")
    return SecretStr(key)


def _channel(value: str) -> str:
    name = value.strip().removeprefix("#")
    if not name or len(name) > 60:
        raise ValueError("channel is the name of a channel, of at most 60 characters")
    return name


def _topic(value: str | None) -> str | None:
    if value is not None and (wrong := _zulip_topic.problem(value)):
        raise ValueError(f"topic is a template that does not work: {wrong}")
    return value


class Options(DestinationOptions):
    """Give `site`, a bot's `email` and `api_key`, and `channel`."""

    site: Annotated[str, AfterValidator(_site)] = Field(description="The organization's address.")
    email: Annotated[str, AfterValidator(_email)] = Field(description="The bot's e-mail address.")
    api_key: Annotated[SecretStr, AfterValidator(_key)] = Field(description="The bot's API key.")
    channel: Annotated[str, AfterValidator(_channel)] = Field(description="The channel to post to, by its name.")
    topic: Annotated[str | None, AfterValidator(_topic)] = Field(
        None,
        description="The topic, a Jinja template; default: the repository with its pull request, branch or tag.",
    )
    find_people: bool = Field(
        False,
        description="Ask Zulip by e-mail who is to be mentioned, where `people` does not say it; "
        "needs no right of the bot's, but that it sees the addresses.",
    )

    def refuses(self, channel: str) -> str | None:
        return refusal(_channel, channel)


def payload(message: Message, options: Options) -> dict[str, Any]:
    """Return what is posted of `message`, as the fields of a form."""
    return {
        "type": "stream",  # what channels were called; servers of every age know it
        "to": options.channel,
        "topic": _zulip_topic.topic(options.topic or _zulip_topic.USUAL, message.event),
        "content": _zulip_markdown.build(message),
    }


# -- what an answer means

_CODES: dict[str, tuple[type[DeliveryError], str]] = {
    "INVALID_API_KEY": (Dead, "copy email and api_key again from Personal settings, Bots"),
    "UNAUTHORIZED": (Dead, "copy email and api_key again from Personal settings, Bots"),
    "USER_DEACTIVATED": (Dead, "the bot was deactivated, reactivate it under Personal settings, Bots"),
    "REALM_DEACTIVATED": (Dead, "the organization was deactivated, look at site"),
    "NONEXISTENT_SUBDOMAIN": (Dead, "no such organization, look at site"),
    "STREAM_DOES_NOT_EXIST": (Dead, "no such channel for this bot; look at channel, and subscribe the bot to it"),
    "STREAM_WILDCARD_MENTION_NOT_ALLOWED": (Rejected, "a mention of everybody"),
    "TOPIC_WILDCARD_MENTION_NOT_ALLOWED": (Rejected, "a mention of everybody"),
}
# Parts of its sentences, in lower case, for what has no code of its own. The first that is found counts.
_WORDS: tuple[tuple[str, type[DeliveryError], str], ...] = (
    ("invalid message", Gone, "the message was deleted"),
    ("no such user", Gone, "nobody has that address"),
    ("time limit for editing", Gone, "it is too late to edit the message"),
    ("permission to edit this message", Gone, "the message may not be edited"),
    ("turned off message editing", Gone, "messages may not be edited in this organization"),
    ("invalid api key", Dead, "copy email and api_key again from Personal settings, Bots"),
    ("malformed api key", Dead, "copy email and api_key again from Personal settings, Bots"),
    ("account is deactivated", Dead, "the bot was deactivated, reactivate it under Personal settings, Bots"),
    ("not associated with this subdomain", Dead, "the bot belongs to another organization, look at site"),
    ("invalid channel name", Dead, "no such channel for this bot; look at channel, and subscribe the bot to it"),
    ("invalid stream name", Dead, "no such channel for this bot; look at channel, and subscribe the bot to it"),
    ("not authorized to send", Dead, "the bot may not post to the channel, look at the channel's permissions"),
    ("topics are required", Dead, "the organization wants a topic, look at topic"),
    ("topic can't be empty", Dead, "the organization wants a topic, look at topic"),
    ("permission to mention", Rejected, "a mention that the bot may not make"),
    ("permission to use", Rejected, "a mention that the bot may not make"),
    ("must not be empty", Rejected, "empty"),
    ("null bytes", Rejected, "a character that it does not take"),
    ("too long", Rejected, "too long"),
)


def judge(status: int, headers: Mapping[str, str], answer: Any, *, edit: bool = False) -> DeliveryError | None:
    """Return what an answer means, None when it is good. `answer` is its JSON, None where it was none."""
    known = answer if isinstance(answer, dict) else {}
    code, said = known.get("code"), known.get("msg")
    if status == 429 or code == "RATE_LIMIT_HIT":
        # Both may be fractions.
        return RateLimited("zulip asks to wait", retry_after(known.get("retry-after"), header(headers, "retry-after")))
    if 200 <= status < 300 and known.get("result") == "success":
        return None
    if known.get("result") != "error" or not isinstance(said, str) or status >= 500:
        return judge_status("zulip", status)
    if isinstance(code, str) and code in _CODES:
        return _told(*_CODES[code], code)
    for words, kind, text in _WORDS:
        if words in said.lower():
            return _told(kind, text, words)
    return _judge_rest(status, edit)


def _told(kind: type[DeliveryError], text: str, said: str) -> DeliveryError:
    return kind(f"zulip refuses the message ({said}): {text}" if kind is Rejected else f"zulip says {said}: {text}")


def _judge_rest(status: int, edit: bool) -> DeliveryError:
    """A sentence that we have never seen, which may repeat our texts."""
    if status in (401, 403):
        return Dead(f"zulip refuses the bot (HTTP {status}), look at email, api_key and the channel's permissions")
    if status == 404:
        return Dead("zulip knows no such address (HTTP 404), look at site")
    if status == 400:
        return Gone("the message may not be edited") if edit else Rejected("zulip refuses the message (HTTP 400)")
    return Transient(f"zulip answers HTTP {status}")


# -- talking


def open(name: str, options: Options, session: aiohttp.ClientSession) -> Bot:
    """Return the destination that talks through `session`."""
    return Bot(name, options, session)


class Bot:
    """A bot of one organization."""

    can_edit = True
    can_thread = False  # a topic is the thread, whatever a rule says

    def __init__(self, name: str, options: Options, session: aiohttp.ClientSession) -> None:
        self.name = name
        self._options = options
        self._session = session
        named = digest(f"{options.site} {options.email}")
        # 200 requests a minute, of whatever kind.
        self._bucket = Bucket(f"zulip:{named}", options.rate or Rate(3), burst=10)
        whole = f"{options.email}:{options.api_key.get_secret_value()}"
        self._headers = {
            "Authorization": "Basic " + base64.b64encode(whole.encode()).decode(),
            "User-Agent": f"bridge/{__version__}",
        }

    def buckets(self, *, edit: bool, channel: str | None) -> tuple[Bucket, ...]:
        return (self._bucket,)

    async def send(
        self, message: Message, *, channel: str | None, thread: Receipt | None, key: str | None = None
    ) -> Receipt:
        form = payload(message, self._options)
        if channel:
            form["to"] = channel.removeprefix("#")
        answer = await self._call("POST", "messages", form)
        number = answer.get("id")
        if not isinstance(number, int) or isinstance(number, bool):
            raise Unsure("the answer does not say where the message is, it may have arrived")
        return {"id": str(number)}

    async def edit(self, message: Message, receipt: Receipt) -> Receipt:
        if not re.fullmatch(r"[1-9][0-9]{0,19}", receipt.get("id", "")):
            raise Gone("there is no message to edit")
        # It stays in its topic: moving it would leave what others answered behind.
        content = payload(message, self._options)["content"]
        await self._call("PATCH", f"messages/{receipt['id']}", {"content": content}, edit=True)
        return receipt

    async def check(self) -> Health:
        try:
            me = await self._call("GET", "users/me", None)
            await self._call("GET", "get_stream_id", None, {"stream": self._options.channel})
        except Unsure as error:
            return Health(False, str(error).split(",")[0])
        except DeliveryError as error:
            return Health(False, str(error))
        if me.get("is_active") is False:
            return Health(False, "the bot was deactivated, reactivate it under Personal settings, Bots")
        return Health(True, f"bot {_name(me.get('full_name'))}, channel {self._options.channel}")

    async def find(self, email: str) -> str | None:
        """Return the user id of who has that address. https://zulip.com/api/get-user-by-email"""
        try:
            answer = await self._call("GET", f"users/{quote(email, '')}", None)
        except Gone:
            return None
        user = answer.get("user")
        known = user if isinstance(user, dict) else {}
        number = known.get("user_id")
        gone = known.get("is_active") is False or known.get("is_bot") is True
        return str(number) if isinstance(number, int) and number > 0 and not gone else None

    async def _call(
        self,
        method: str,
        path: str,
        form: dict[str, Any] | None,
        query: dict[str, str] | None = None,
        *,
        edit: bool = False,
    ) -> dict[str, Any]:
        """Return Zulip's answer; every way in which a request can fail becomes one of our errors."""
        got = await ask(
            self._session,
            method,
            f"{self._options.site}/api/v1/{path}",
            chat="zulip",
            within=self._options.timeout,
            body=urlencode(form, errors="replace").encode() if form is not None else None,
            params=query,
            headers=self._headers | ({"Content-Type": "application/x-www-form-urlencoded"} if form is not None else {}),
        )
        answer = got.object()
        bad = judge(got.status, got.headers, answer, edit=edit)
        if isinstance(bad, RateLimited):
            bad.bucket = self._bucket.key
        if bad or answer is None:
            raise bad or judge_status("zulip", got.status)
        return answer


def _name(value: Any) -> str:
    return value[:80] if isinstance(value, str) else "unknown"
