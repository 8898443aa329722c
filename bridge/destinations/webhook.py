"""A program of somebody's own: a signed request for each message, by Standard Webhooks.

The body is the event as JSON (`format: event`, by a published schema) or as a CDEvent. The id stays the same however
often a message is sent, so that a receiver can tell what it has. Whatever it answers with 2xx is taken: what the
answer says is not read. Never follows a redirect, for another address has not been trusted with events.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
https://github.com/cloudevents/spec/blob/main/cloudevents/http-webhook.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr

from bridge import __version__, codec
from bridge.destinations import _webhook_cdevents, _webhook_event
from bridge.destinations._http import ask, header, judge_status, retry_after
from bridge.destinations.base import Bucket, DestinationOptions, Health, Receipt, digest
from bridge.errors import Dead, DeliveryError, Gone, RateLimited, Rejected, Transient, Unsure
from bridge.message import Message
from bridge.units import Rate
from bridge.verify import standard_headers

if TYPE_CHECKING:
    import aiohttp

LABEL = "a webhook"
PERSON = "console"  # a program knows nobody by an id: it gets the names under `people`


# -- options

_MAKE = 'make one with: echo "whsec_$(openssl rand -base64 32)"'


def _address(value: SecretStr) -> SecretStr:
    url = value.get_secret_value().strip()
    if not codec.web_url(url):
        raise ValueError("url is no address, write https://HOST/PATH, where your program listens")
    if re.match(r"https?://[^/?#]*@", url):
        raise ValueError("url has a name or password in it, leave that out: requests are signed")
    return SecretStr(url)


def _whsec(value: SecretStr) -> SecretStr:
    text = value.get_secret_value().strip()
    if not text.startswith("whsec_"):
        raise ValueError(f"secret does not begin with whsec_, {_MAKE}")
    key = text.removeprefix("whsec_")
    try:
        length = len(base64.b64decode(key + "=" * (-len(key) % 4), validate=True))
    except (binascii.Error, ValueError):
        raise ValueError(f"what follows whsec_ in secret is no base64, {_MAKE}") from None
    if not 24 <= length <= 64:
        raise ValueError(f"secret is {length} bytes and has to be 24 to 64, {_MAKE}")
    return SecretStr(text)


class Options(DestinationOptions):
    """Give `url` and `secret`."""

    url: Annotated[SecretStr, AfterValidator(_address)] = Field(
        description="Where your program listens. It is kept out of logs, for many addresses have a key in them."
    )
    secret: Annotated[SecretStr, AfterValidator(_whsec)] = Field(
        description="What requests are signed with: `whsec_` and base64 of 24 to 64 random bytes."
    )
    format: Literal["event", "cdevents"] = Field(
        "event", description="The body: bridge's own JSON (`bridge schema event`) or a CDEvent."
    )


def payload(message: Message, options: Options) -> dict[str, Any]:
    """Return the body."""
    form = _webhook_cdevents if options.format == "cdevents" else _webhook_event
    return _webhook_event.bounded(form.build(message))


# -- what an answer means


def judge(status: int, headers: Mapping[str, str], answer: Any = None) -> DeliveryError | None:
    """Return what an answer means, None when it is good. Only the status and Retry-After say anything."""
    if 200 <= status < 300:
        return None
    wait = header(headers, "retry-after")
    if status == 429 or (status == 503 and wait is not None):
        return RateLimited("the receiver asks to wait", retry_after(wait))
    if status == 410:
        return Dead("the receiver says that this address is gone (HTTP 410): ask its owner for the new one")
    if status in (401, 403):
        return Dead(f"the receiver refuses the signature (HTTP {status}): compare the secret on both sides")
    if status in (400, 415, 422):
        return Rejected(f"the receiver refuses the message (HTTP {status}): its own log says why")
    if status in (404, 405):  # it may be being deployed: tried again, and shown
        return Transient(f"nothing takes a POST at that address (HTTP {status}): look at the path of url")
    return judge_status("the receiver", status)


# -- talking


def open(name: str, options: Options, session: aiohttp.ClientSession) -> Webhook:
    """Return the destination that talks through `session`."""
    return Webhook(name, options, session)


class Webhook:
    """A program that listens at one address. It is told each time anew: what it makes of that is its own."""

    can_edit = False
    can_thread = False

    def __init__(self, name: str, options: Options, session: aiohttp.ClientSession) -> None:
        self.name = name
        self._options = options
        self._session = session
        self._url = options.url.get_secret_value()
        named = digest(self._url)
        self._bucket = Bucket(f"webhook:{named}", options.rate or Rate(10), burst=20)

    def buckets(self, *, edit: bool, channel: str | None) -> tuple[Bucket, ...]:
        return (self._bucket,)

    async def send(
        self, message: Message, *, channel: str | None, thread: Receipt | None, key: str | None = None
    ) -> Receipt:
        body = codec.dump(payload(message, self._options))
        delivery = self._id(message, key)
        secret = self._options.secret.get_secret_value()
        cdevents = self._options.format == "cdevents"
        answer = await ask(
            self._session,
            "POST",
            self._url,
            chat="the receiver",
            within=self._options.timeout,
            body=body,
            headers={
                "Content-Type": _webhook_cdevents.TYPE if cdevents else "application/json",
                "User-Agent": f"bridge/{__version__}",
                **standard_headers(body, secret, delivery=delivery, now=datetime.now(UTC)),
            },
        )
        if bad := judge(answer.status, answer.headers):
            raise bad
        return {"id": delivery}

    async def edit(self, message: Message, receipt: Receipt) -> Receipt:
        raise Gone("what a webhook was told cannot be changed")

    async def check(self) -> Health:
        """Ask for nothing: whoever answers, whatever it is, is there. Only a message shows whether it is taken."""
        try:
            answer = await ask(self._session, "HEAD", self._url, chat="the receiver", within=self._options.timeout)
        except Unsure as error:
            return Health(False, str(error).split(",")[0])
        except DeliveryError as error:
            return Health(False, str(error))
        if answer.status == 410 or 300 <= answer.status < 400:
            return Health(False, str(judge(answer.status, {})))
        return Health(None, f"somebody answers there (HTTP {answer.status}); only a message shows whether it is taken")

    def _id(self, message: Message, key: str | None) -> str:
        """The same for every try of one message, and another one where a late try tells what has come of the run since.

        A receiver that has the first would else pass over the second, which is all that it gets.
        """
        event = message.event
        attempt = event.run.attempt if event and event.run else None
        told = (self.name, key or secrets.token_hex(16), event.status.value if event else "", attempt)
        return "msg_" + hashlib.sha256(codec.dump(told)).hexdigest()[:32]
