"""The long tail of chats, by Apprise: one service for each destination, one plain text for each message.

Apprise tells neither where a message is nor exactly why one failed: what it logs is read for a status. Its services
hand texts on as they are, so that whatever could mean something in any chat gives way to look-alikes here. It is an
extra (`pip install 'bridge[apprise]'`), imported when a configuration names it. It waits, sleeps and blocks: each
request has a thread of its own, which nothing waits for longer than `timeout`, and Apprise never repeats one.

https://appriseit.com/services/ · https://appriseit.com/library/
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, SecretStr

from bridge.destinations import _plain
from bridge.destinations._http import WAIT, judge_status
from bridge.destinations.base import Bucket, DestinationOptions, Health, Receipt, digest
from bridge.errors import Dead, DeliveryError, Gone, RateLimited, Rejected, Transient, Unsure
from bridge.event import Status
from bridge.message import Message, shorten
from bridge.units import Rate

if TYPE_CHECKING:
    import aiohttp
    from apprise import NotifyBase

LABEL = "Apprise"
PERSON = "console"  # a service that nobody knows has no ids: people are called by their names under `people`
LONGEST = 3_000
LONGEST_TITLE = 200
MOST_HANGING = 8  # threads of one destination that Apprise holds on to


# -- options


def _service(value: SecretStr) -> SecretStr:
    url = value.get_secret_value().strip()
    if not re.match(r"[A-Za-z][\w+-]*://", url):
        raise ValueError("url is no Apprise URL, find your service's at https://appriseit.com/services/")
    try:
        service = _instantiate(url)
    except ImportError:
        raise ValueError("Apprise is not installed: pip install 'bridge[apprise]'") from None
    if service is None:
        raise ValueError(
            "url is none that Apprise understands: no such service, or a part is missing or wrong, "
            "see https://appriseit.com/services/"
        )
    return SecretStr(url)


class Options(DestinationOptions):
    """Give `url`, one service's."""

    url: Annotated[SecretStr, AfterValidator(_service)] = Field(
        description="The Apprise URL of one service: SCHEME://... It is a secret."
    )


def _instantiate(url: str) -> NotifyBase | None:
    """Return Apprise's service, new: each keeps what it is about in itself. Raises ImportError."""
    for name in ("apprise", "urllib3"):  # they log addresses and texts; what is of use is read from the results
        logging.getLogger(name).propagate = False
    logging.getLogger("apprise").setLevel(logging.DEBUG)  # only there it says whether a connection came up
    import apprise

    asset = apprise.AppriseAsset(
        app_id="bridge",
        app_desc="bridge",
        async_mode=False,
        allow_templates=False,
        interpret_escapes=False,
        interpret_emojis=False,
        http_redirects=False,
        service_timeout=0,  # then it uses our thread and none of its own
        storage_mode=apprise.PersistentStoreMode.MEMORY,
    )
    return apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)


# -- how a message looks


def payload(message: Message, options: Options) -> dict[str, Any]:
    """Return title and body as plain text that means nothing more in any chat, and Apprise's type for the colour."""
    called = " ".join(dict.fromkeys("@" + "".join(_plain.tidy(name).split()) for name in message.mentions[:20]))
    said = (shorten(line, 600) for line in _plain.lines(message))
    body = shorten("\n".join(line for line in said if line.strip()), LONGEST)
    links = [_link(line) for line in _plain.links(message)]
    parts = [shorten(called, 500), harmless(body), *links[:5]]
    return {
        "title": harmless(shorten(_plain.title(message), LONGEST_TITLE)),
        "body": "\n".join(part for part in parts if part),
        "type": _TYPES.get(message.status, "info"),
    }


_TYPES = {
    Status.SUCCESS: "success",
    Status.WAITING: "warning",
    Status.FAILURE: "failure",
    Status.ERROR: "failure",
    Status.TIMEOUT: "failure",
}
_JOINER = "\u2060"  # is not seen, and parts what would be read as one
_LOOK_ALIKE = str.maketrans("<>*`~|", "‹›∗ˋ∼∣")
_EDGE_LINE = re.compile(r"\b_|_\b|__")
_CALL = re.compile(r"@(?=[^\s@])")
_MARK = re.compile(r"(?m)^(?=[ \t]*(?:[#\-+=]|\d+[.)]))")


def harmless(text: str) -> str:
    """Return `text` so that no chat reads a mention, a link, a tag or Markdown in it."""
    text = text.translate(_LOOK_ALIKE).replace("](", f"]{_JOINER}(").replace("://", f":{_JOINER}//")
    text = _CALL.sub("@" + _JOINER, text)
    text = _EDGE_LINE.sub(lambda found: "ˍ" * len(found[0]), text)
    return _MARK.sub(_JOINER, text)


def _link(line: str) -> str:
    """A button: its words are made harmless, its address has to stay one."""
    words, _, address = line.rpartition(": ")
    return f"{harmless(shorten(words, 80))}: {address}"


# -- what its result means

_STATUS = re.compile(r"\berror=(\d{3})\b")
_NEVER_SENT = re.compile(
    r"Failed to establish a new connection|NameResolutionError|Failed to resolve|ConnectTimeout|NewConnectionError"
    r"|CERTIFICATE_VERIFY_FAILED|Connection refused"
)
_LOST = re.compile(r"connection error|Socket Exception|timed? ?out", re.IGNORECASE)


def judge(said: Sequence[str]) -> DeliveryError:
    """Return what a failure means by the lines that Apprise logged of it. None of them is shown."""
    whole = "\n".join(said)
    found = _STATUS.findall(whole)
    if found:
        return _judge_status(int(found[-1]))
    if _NEVER_SENT.search(whole):
        return Transient("no connection to the service")
    if _LOST.search(whole):
        return Unsure("the connection was lost, the message may have arrived")
    return Transient("Apprise could not send the message and does not say why")


def _judge_status(status: int) -> DeliveryError:
    if status == 429:
        return RateLimited("the service asks to wait", WAIT)  # Apprise does not tell how long
    if status in (401, 403, 404, 410):
        return Dead(f"the service refuses the key or knows no such address (HTTP {status}): make a new url for it")
    if status in (400, 413, 415, 422):
        return Rejected(f"the service refuses the message (HTTP {status})")
    if 200 <= status < 300:
        return Transient(f"the service's answer (HTTP {status}) says that it failed")
    return judge_status("the service", status)


# -- talking


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request."""

    ok: bool
    said: tuple[str, ...]


def open(name: str, options: Options, session: aiohttp.ClientSession) -> Service:
    """Return the destination. It has connections of its own."""
    return Service(name, options)


class Service:
    """One service of Apprise's."""

    can_edit = False
    can_thread = False

    def __init__(self, name: str, options: Options) -> None:
        self.name = name
        self._options = options
        self._url = options.url.get_secret_value()
        self._threads: list[threading.Thread] = []
        named = digest(self._url)
        self._bucket = Bucket(f"apprise:{named}", options.rate or self._usual_rate(), burst=5)

    def _usual_rate(self) -> Rate:
        """What Apprise keeps to itself: so many seconds from one request to the next."""
        service = _instantiate(self._url)
        seconds = float(getattr(service, "request_rate_per_sec", 0) or 0)
        return Rate(1 / max(seconds, 0.1))

    def buckets(self, *, edit: bool, channel: str | None) -> tuple[Bucket, ...]:
        return (self._bucket,)

    async def send(
        self, message: Message, *, channel: str | None, thread: Receipt | None, key: str | None = None
    ) -> Receipt:
        seconds = self._options.timeout.total_seconds()
        try:
            async with asyncio.timeout(seconds):
                outcome = await self._asked(payload(message, self._options))
        except TimeoutError:
            raise Unsure(f"the service did not answer within {seconds:g} s, the message may have arrived") from None
        if not outcome.ok:
            raise judge(outcome.said)
        return {}

    async def edit(self, message: Message, receipt: Receipt) -> Receipt:
        raise Gone("Apprise edits nothing")

    async def check(self) -> Health:
        service = _instantiate(self._url)
        if service is None:
            return Health(False, "Apprise does not understand url (any more)")
        return Health(None, f"{_plain.tidy(str(service.service_name))}; only a message shows whether it arrives")

    def _asked(self, body: dict[str, Any]) -> asyncio.Future[Outcome]:
        """Ask in a thread that nobody waits for at the end: a service that hangs cannot hold bridge up."""
        self._threads = [one for one in self._threads if one.is_alive()]
        if len(self._threads) >= MOST_HANGING:
            raise Transient(f"{MOST_HANGING} earlier requests to the service still hang")
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Outcome] = loop.create_future()

        def settle(outcome: Outcome) -> None:
            if not answered.done():
                answered.set_result(outcome)

        def work() -> None:
            outcome = _notify(self._url, body, self._options.timeout.total_seconds())
            try:
                loop.call_soon_threadsafe(settle, outcome)
            except RuntimeError:
                pass  # bridge has ended meanwhile

        thread = threading.Thread(target=work, name=f"apprise {self.name}", daemon=True)
        self._threads.append(thread)
        thread.start()
        return answered


def _notify(url: str, body: dict[str, Any], seconds: float) -> Outcome:
    """Have Apprise send it, once, as one message; return what it says. Nothing is raised: a plugin may do anything."""
    try:
        import apprise

        service: Any = _instantiate(url)
        if service is None:
            return Outcome(False, ())
        service.socket_connect_timeout = service.socket_read_timeout = seconds
        service.retry = 0
        service.redirects = False
        service.overflow_mode = apprise.OverflowMode.TRUNCATE
        one = apprise.Apprise(asset=service.asset)
        one.add(service)
        result = one.notify(
            body=body["body"] or body["title"] or "…",
            title=body["title"] if body["body"] else "",
            notify_type=body["type"],
            body_format=apprise.NotifyFormat.TEXT,
            log_level=logging.DEBUG,
        )
        said = (line.message for of in result.results for attempt in of.attempts for line in attempt)
        return Outcome(bool(result), tuple(said))
    except Exception as error:  # what 170 plugins may raise: told by its class, for its text may have the address in it
        return Outcome(False, (type(error).__name__,))
