"""Google Chat, by a space's webhook: posts cards, answers in the threads that it began. It cannot edit.

The address is all there is. Each request has an id made from the delivery's, and Google Chat answers the same id with
the message that is there already: what is sent again after an answer that was lost is told once. A thread is named by a
key of ours; when it is gone, Google Chat opens a new one by itself.

https://developers.google.com/workspace/chat/quickstart/webhooks
https://developers.google.com/workspace/chat/api/reference/rest/v1/spaces.messages/create
https://developers.google.com/workspace/chat/limits
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, Field, SecretStr

from bridge import codec
from bridge.destinations import _google_chat_card
from bridge.destinations._http import Answer, ask, header, judge_status, retry_after
from bridge.destinations.base import Bucket, DestinationOptions, Health, Receipt, digest, is_loopback
from bridge.errors import Dead, DeliveryError, Gone, RateLimited, Rejected, Transient, Unsure
from bridge.message import Message, text_of
from bridge.units import Rate

if TYPE_CHECKING:
    import aiohttp

LABEL = "Google Chat"
PERSON = "google_chat"


# -- options

_COPY = "copy it from the space's menu, Apps & integrations, Webhooks: https://chat.googleapis.com/v1/spaces/..."
_PATH = re.compile(r"(?:/[\w.~-]+)*/v1/(spaces/[\w.~-]+)/messages", re.ASCII)


def _webhook_address(value: SecretStr) -> SecretStr:
    url = value.get_secret_value().strip()
    if not codec.web_url(url) or not url.isascii():
        raise ValueError(f"url is no address, {_COPY}")
    parts = urlsplit(url)
    keys = set(parse_qs(parts.query, keep_blank_values=True))
    if not _PATH.fullmatch(parts.path) or parts.fragment:
        raise ValueError(f"url is no webhook of Google Chat, {_COPY}")
    if not {"key", "token"} <= keys:
        raise ValueError(
            "url has no key= or no token=, it was cut off: copy it whole, and in a shell put it into quotes"
        )
    if keys != {"key", "token"}:
        raise ValueError("url has more in it than key= and token=, leave that out: bridge names the thread itself")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError("url begins with http://, which shows its token to everyone on the way: use https://")
    return SecretStr(url)


class Options(DestinationOptions):
    """Give `url`, a space's webhook."""

    url: Annotated[SecretStr, AfterValidator(_webhook_address)] = Field(
        description="The address of a space's webhook. It is a secret."
    )


def payload(message: Message, options: Options) -> dict[str, Any]:
    """Return the JSON of `message`; its thread is added when it is sent."""
    return _google_chat_card.build(message)


# -- what an answer means

# https://cloud.google.com/apis/design/errors#handling_errors: `error.status`, the class, and what to do about it.
_WORDS: dict[str, tuple[type[DeliveryError], str]] = {
    "UNAUTHENTICATED": (Dead, "the webhook's address is wrong, copy it again from the space's Apps & integrations"),
    "PERMISSION_DENIED": (Dead, "the webhook may not post: it was removed, or an admin has switched apps off"),
    "NOT_FOUND": (Dead, "no such space or webhook, make a new one in the space's Apps & integrations"),
    "FAILED_PRECONDITION": (Dead, "the space takes no messages of webhooks, ask its managers"),
    "API_KEY_INVALID": (Dead, "the key in the webhook's address is wrong, copy it again"),
    "INVALID_ARGUMENT": (Rejected, "something in it is wrong"),
    "OUT_OF_RANGE": (Rejected, "something in it is too large"),
    "DEADLINE_EXCEEDED": (Unsure, "it did not end in time, the message may have arrived"),
    "ABORTED": (Transient, "something else was written at the same time"),
    "CANCELLED": (Transient, "the request was cut off"),
    "INTERNAL": (Transient, "it has failed"),
    "UNAVAILABLE": (Transient, "it is away"),
}


def judge(status: int, headers: Mapping[str, str], answer: Any) -> DeliveryError | None:
    """Return what an answer means, None when it is good. `answer` is its JSON, None where it was none."""
    known = answer if isinstance(answer, dict) else {}
    word = _word(known.get("error"))
    if status == 429:
        return RateLimited("google_chat asks to wait", retry_after(header(headers, "retry-after")))
    if 200 <= status < 300 and isinstance(known.get("name"), str):
        return None
    if status == 409 and word == "ALREADY_EXISTS":  # the id of the request is nobody's but ours
        return None
    if status >= 400 and word in _WORDS:
        kind, text = _WORDS[word]
        said = f"refuses the message ({word})" if kind is Rejected else f"says {word}"
        return kind(f"google_chat {said}: {text}")
    return judge_status("google_chat", status, word)


def _word(error: Any) -> str:
    """Return Google's word for what is wrong: the reason among the details, where it is one that we know."""
    if not isinstance(error, dict):
        return ""
    details = error.get("details")
    reasons = [one.get("reason") for one in details if isinstance(one, dict)] if isinstance(details, list) else []
    found = next((one for one in reasons if isinstance(one, str) and one in _WORDS), error.get("status"))
    return found if isinstance(found, str) and re.fullmatch(r"[A-Z_]{1,40}", found) else ""


# -- talking

_KEY = re.compile(r"[\w-]{1,64}", re.ASCII)


def open(name: str, options: Options, session: aiohttp.ClientSession) -> Webhook:
    """Return the destination that talks through `session`."""
    return Webhook(name, options, session)


class Webhook:
    """A space's webhook."""

    can_edit = False
    can_thread = True

    def __init__(self, name: str, options: Options, session: aiohttp.ClientSession) -> None:
        self.name = name
        self._options = options
        self._session = session
        self._url = options.url.get_secret_value()
        space = _PATH.fullmatch(urlsplit(self._url).path)
        named = digest(space[1] if space else self._url)
        # 60 in a minute for a whole space, whoever writes, and one in a second for its webhooks.
        self._bucket = Bucket(f"google_chat:{named}", options.rate or Rate(1.0))

    def buckets(self, *, edit: bool, channel: str | None) -> tuple[Bucket, ...]:
        return (self._bucket,)

    async def send(
        self, message: Message, *, channel: str | None, thread: Receipt | None, key: str | None = None
    ) -> Receipt:
        request = _request_id(message, key)
        known = (thread or {}).get("thread", "")
        own = known if _KEY.fullmatch(known) else request
        # Without the option Google Chat takes no notice of the thread.
        query = f"requestId={request}&messageReplyOption=REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD"
        answer = await self._call({**payload(message, self._options), "thread": {"threadKey": own}}, query)
        bad = judge(answer.status, answer.headers, answer.object())
        if isinstance(bad, RateLimited):
            bad.bucket = self._bucket.key
        if bad:
            raise bad
        name = (answer.object() or {}).get("name")
        return {"thread": own, **({"name": name[:200]} if isinstance(name, str) else {})}

    async def edit(self, message: Message, receipt: Receipt) -> Receipt:
        raise Gone("what a webhook has posted cannot be edited")

    async def check(self) -> Health:
        """Ask with a message that has nothing in it, which is refused: by which words tells of the webhook."""
        try:
            answer = await self._call({}, "")
        except DeliveryError as error:
            return Health(False, str(error).split(",")[0])
        bad = judge(answer.status, answer.headers, answer.object())
        if isinstance(bad, Rejected) or bad is None:
            return Health(
                None, "google_chat answers and finds no fault with the webhook; only a message would prove it"
            )
        return Health(False, str(bad))

    async def _call(self, body: dict[str, Any], query: str) -> Answer:
        from yarl import URL

        return await ask(
            self._session,
            "POST",
            URL(self._url + (f"&{query}" if query else ""), encoded=True),  # the token stays as it was written
            chat="google_chat",
            within=self._options.timeout,
            body=codec.dump(body),
            headers={"Content-Type": "application/json; charset=utf-8"},
        )


def _request_id(message: Message, key: str | None) -> str:
    """Return the id under which a message is there once: of the delivery, and of what it tells.

    A delivery of a living message tells the newest state. With the delivery's key alone, its retry would be answered
    with the message that shows an older one.
    """
    if key is None:
        return str(uuid.uuid4())
    told = "\n".join((key, message.status.value, text_of(message.title)))
    return str(uuid.uuid5(uuid.NAMESPACE_URL, told.encode("utf-8", "replace").decode()))
