"""Discord, by a channel's webhook: posts, and edits what it posted.

The address is all there is: no bot, no token beside it. A webhook cannot open threads; it posts to its channel or, with
`thread_id`, to one thread of it. Only our queue repeats a request: an answer that was lost is unsure, for webhooks know
no idempotency.

https://docs.discord.com/developers/resources/webhook#execute-webhook · #edit-webhook-message
https://docs.discord.com/developers/topics/opcodes-and-status-codes#json
https://docs.discord.com/developers/topics/rate-limits
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from bridge import __version__, codec
from bridge.destinations import _discord_embed
from bridge.destinations._http import ask, header, judge_status, retry_after
from bridge.destinations.base import Bucket, DestinationOptions, Health, Receipt, digest, is_loopback
from bridge.errors import Dead, DeliveryError, Gone, RateLimited, Rejected, Transient, Unsure
from bridge.message import Message
from bridge.units import Rate

if TYPE_CHECKING:
    import aiohttp

LABEL = "Discord"
PERSON = "discord"


# -- options

_COPY = "copy it from Server Settings, Integrations, Webhooks: https://discord.com/api/webhooks/..."
_ADDRESS = re.compile(r"https?://[^/?#]+(?:/[\w.~-]+)*/webhooks/[0-9]+/[\w-]+", re.ASCII)
_SNOWFLAKE = re.compile(r"[1-9][0-9]{0,19}")


def _webhook_address(value: SecretStr) -> SecretStr:
    url = value.get_secret_value().strip().rstrip("/")
    if not codec.web_url(url):
        raise ValueError(f"url is no address, {_COPY}")
    if re.search(r"/(?:slack|github)$", url):
        raise ValueError("url ends with /slack or /github, leave that out: bridge speaks Discord's own form")
    if "?" in url:
        raise ValueError("url has a ? in it, leave that out; thread_id is a key of its own")
    if not _ADDRESS.fullmatch(url):
        raise ValueError(f"url is no webhook of Discord, {_COPY}")
    if url.startswith("http://") and not is_loopback(urlsplit(url).hostname or ""):
        raise ValueError(
            "url begins with http://, which shows the webhook's secret to everyone on the way: use https://"
        )
    return SecretStr(url)


def _thread(value: str | None) -> str | None:
    if value is not None and not _SNOWFLAKE.fullmatch(value):
        raise ValueError("thread_id is a number: in Discord, right-click the thread, Copy Thread ID (Developer Mode)")
    return value


class Options(DestinationOptions):
    """Give `url`, a channel's webhook."""

    url: Annotated[SecretStr, AfterValidator(_webhook_address)] = Field(
        description="The address of a channel's webhook. It is a secret."
    )
    thread_id: Annotated[str | None, AfterValidator(_thread)] = Field(
        None, description="A thread of that channel to post to; a forum's webhook needs one."
    )


def payload(message: Message, options: Options) -> dict[str, Any]:
    """Return the JSON of `message`; a thread is named in the address, not here."""
    return _discord_embed.build(message)


# -- what an answer means

# https://docs.discord.com/developers/topics/opcodes-and-status-codes#json: the class, and what to do about it.
_CODES: dict[int, tuple[type[DeliveryError], str]] = {
    10003: (Dead, "no such channel, or no such thread: look at thread_id, or make a new webhook"),
    10015: (Dead, "the webhook was removed, make a new one under Server Settings, Integrations"),
    50027: (Dead, "the webhook's address is wrong, copy it again from Server Settings, Integrations"),
    50001: (Dead, "the webhook has no access to the channel, make a new one"),
    50013: (Dead, "the webhook may not post here, ask the server's admins"),
    50008: (Dead, "nothing can be posted to this channel, choose another one"),
    50024: (Dead, "nothing can be posted to this kind of channel, choose another one"),
    50083: (Dead, "the thread is archived, open it again or choose another thread_id"),
    160005: (Dead, "the thread is locked, unlock it or choose another thread_id"),
    220001: (Dead, "the channel is a forum, write the thread_id of one of its posts"),
    10008: (Gone, "the message was deleted"),
    50005: (Gone, "the message belongs to another webhook"),
    30046: (Gone, "the message is too old for so many edits"),
    20009: (Rejected, "explicit content"),
    40005: (Rejected, "too large"),
    50006: (Rejected, "empty"),
    50035: (Rejected, "a field is wrong"),
    50109: (Rejected, "not the JSON that it expects"),
    240000: (Rejected, "its filter takes a link in it for harmful"),
    20016: (Transient, "the channel's slow mode"),
    20028: (Transient, "too many writes to the channel"),
    20029: (Transient, "too many writes to the server"),
    40062: (Transient, "it is limiting itself"),
    40333: (Transient, "its front door blocks the request"),
    130000: (Transient, "it is overloaded"),
}


def judge(status: int, headers: Mapping[str, str], answer: Any) -> DeliveryError | None:
    """Return what an answer means, None when it is good. `answer` is its JSON, None where it was none."""
    known = answer if isinstance(answer, dict) else {}
    if status == 429:
        # The body is exact, the header is rounded.
        return RateLimited(
            "discord asks to wait", retry_after(known.get("retry_after"), header(headers, "retry-after"))
        )
    if 200 <= status < 300 and isinstance(known.get("id"), str):
        return None
    code = known.get("code")
    if status < 500 and isinstance(code, int) and code in _CODES:
        return _judge_code(code, known)
    return _judge_rest(status, code if isinstance(code, int) else None)


def _judge_code(code: int, answer: Mapping[str, Any]) -> DeliveryError:
    kind, text = _CODES[code]
    if kind is Rejected:
        return Rejected(f"discord refuses the message ({code}): {text}{_details(answer.get('errors'))}")
    return kind(f"discord says {code}: {text}")


def _judge_rest(status: int, code: int | None) -> DeliveryError:
    """An answer without a code that we know. Without any code it is not Discord's own: a proxy, an outage."""
    said = f"code {code}" if code else ""
    shown = f"HTTP {status}" + (f", {said}" if said else "")
    if code is not None and status in (401, 403, 404):
        return Dead(f"discord does not know the webhook ({shown}), make a new one under Server Settings, Integrations")
    if code is not None and status == 400:
        return Rejected(f"discord refuses the message ({shown})")
    return judge_status("discord", status, said)


def _details(errors: Any) -> str:
    """Which fields Discord complains about: places and its words for what is wrong, none of our texts."""
    found = list(dict.fromkeys(_faults(errors, ())))[:5]
    return f" ({'; '.join(found)})" if found else ""


def _faults(errors: Any, path: tuple[str, ...]) -> Iterator[str]:
    if not isinstance(errors, dict) or len(path) > 8:
        return
    for one in errors.get("_errors", ()) if isinstance(errors.get("_errors"), list) else ():
        word = one.get("code") if isinstance(one, dict) else None
        if isinstance(word, str) and re.fullmatch(r"[A-Z0-9_]{1,60}", word):
            yield f"{'.'.join(path)}: {word}" if path else word
    for key, inner in errors.items():
        if re.fullmatch(r"[a-z0-9_]{1,30}", key):
            yield from _faults(inner, (*path, key))


# -- talking

_AGENT = f"DiscordBot (bridge, {__version__})"  # without one of this form, its front door may refuse


def open(name: str, options: Options, session: aiohttp.ClientSession) -> Webhook:
    """Return the destination that talks through `session`."""
    return Webhook(name, options, session)


class Webhook:
    """A channel's webhook."""

    can_edit = True
    can_thread = False

    def __init__(self, name: str, options: Options, session: aiohttp.ClientSession) -> None:
        self.name = name
        self._options = options
        self._session = session
        self._url = options.url.get_secret_value()
        named = digest(self._url)
        # Headers allow 5 in 2 s. Only a 429 tells of the other limit: 30 in a minute, edits too, for a whole channel.
        self._bucket = Bucket(f"discord:{named}", options.rate or Rate(0.5), burst=5)

    def buckets(self, *, edit: bool, channel: str | None) -> tuple[Bucket, ...]:
        return (self._bucket,)

    async def send(
        self, message: Message, *, channel: str | None, thread: Receipt | None, key: str | None = None
    ) -> Receipt:
        where = self._options.thread_id
        # Without wait=true Discord answers before it has the message, and neither tells its id nor what is wrong.
        answer = await self._call("POST", "", {"wait": "true", **_query(where)}, payload(message, self._options))
        return {"id": answer["id"], **({"thread_id": where} if where else {})}

    async def edit(self, message: Message, receipt: Receipt) -> Receipt:
        if not _SNOWFLAKE.fullmatch(receipt.get("id", "")):
            raise Gone("there is no message to edit")
        # What a PATCH does not name stays as it was; the name and picture cannot be changed.
        body = {"content": "", "components": [], **payload(message, self._options)}
        body = {key: value for key, value in body.items() if key not in ("username", "avatar_url")}
        await self._call("PATCH", f"/messages/{receipt['id']}", _query(receipt.get("thread_id")), body)
        return receipt

    async def check(self) -> Health:
        try:
            answer = await self._call("GET", "", {}, None)
        except Unsure as error:
            return Health(False, str(error).split(",")[0])
        except DeliveryError as error:
            return Health(False, str(error))
        thread = f", thread {self._options.thread_id}" if self._options.thread_id else ""
        return Health(True, f"webhook {_name(answer.get('name'))}, channel {_name(answer.get('channel_id'))}{thread}")

    async def _call(self, method: str, path: str, query: dict[str, str], body: dict[str, Any] | None) -> dict[str, Any]:
        """Return Discord's answer; every way in which a request can fail becomes one of our errors."""
        got = await ask(
            self._session,
            method,
            self._url + path,
            chat="discord",
            within=self._options.timeout,
            params=query,
            json=body,
            headers={"User-Agent": _AGENT},
        )
        answer = got.object()
        bad = judge(got.status, got.headers, answer)
        if isinstance(bad, RateLimited) and (answer is None or answer.get("global") is not True):
            bad.bucket = self._bucket.key
        if bad or answer is None:
            raise bad or judge_status("discord", got.status)
        return answer


def _query(thread_id: str | None) -> dict[str, str]:
    """Buttons come only with `with_components`; those of a webhook that no app owns can only be links."""
    return {"with_components": "true", **({"thread_id": thread_id} if thread_id else {})}


def _name(value: Any) -> str:
    return value[:80] if isinstance(value, str) else "unknown"
