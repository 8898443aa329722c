"""How is a sender's API asked? By bounded requests, never redirected, and for no longer than a look-up may take.

Nothing here knows a sender, and nothing but LookupFailed leaves it: with the API's name and what went wrong, never with
an address or a token. Nothing is asked twice: what failed is left out of the message.

https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
https://docs.gitlab.com/administration/settings/user_and_ip_rate_limits/#response-headers
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from bridge.codec import decode
from bridge.errors import LookupFailed, Unreadable
from bridge.event import Event, Run

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")

ANSWER_LIMIT = 2 * 1024 * 1024
TEXT_LIMIT = 16 * 1024 * 1024  # of a text whose end is wanted: so much is read, and no more kept than asked for
ANSWER_WITHIN = 2.0  # seconds for one request
ALL_WITHIN = 3.5  # seconds for all requests of one look-up: less than the worker waits, so that what came is kept
REST_AT_MOST = 3_600.0  # seconds that an API which is asked too often can have itself left alone
ELSEWHERE_REST = 300.0  # seconds until it is said again that a source has no right address to ask
REFUSED_REST = 60.0  # seconds that an API which refuses the token is left alone: some lock out who goes on


class Refused(LookupFailed):
    """The API is well and says no: there is no such thing, or not for this token. The rest can still be asked."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an API said. Names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Api:
    """The questions of one look-up to one API, within its time. Every method raises LookupFailed.

    `name` is how messages call it: "GitHub's API". `headers` go with every question: the token is in one of them.
    Paths begin with a slash; names of others in them go through `segment`.
    """

    def __init__(
        self, name: str, session: aiohttp.ClientSession, api_url: str, headers: Mapping[str, str] | None = None
    ) -> None:
        self._name = name
        self._session = session
        self._base = api_url.rstrip("/")
        self._headers = {"Accept": "application/json"} | dict(headers or {})
        self._until = time.monotonic() + ALL_WITHIN

    async def get(self, path: str, shape: type[T], **query: str | int) -> T:
        """Return the answer as `shape`. Refused where the API does not show it, else LookupFailed."""
        return self._read(await self._ask(path, query), shape)

    async def pages(self, path: str, shape: type[T], *, at_most: int, **query: str | int) -> list[T]:
        """Return the first pages, each as `shape`, for APIs that count pages and tell of the next one in `Link`.

        The address in `Link` is never asked: it could lead the token elsewhere.
        """
        found: list[T] = []
        while len(found) < at_most:
            answer = await self._ask(path, query | ({"page": len(found) + 1} if found else {}))
            found.append(self._read(answer, shape))
            if 'rel="next"' not in answer.headers.get("link", ""):
                break
        return found

    async def tail(self, path: str, keep: int) -> bytes:
        """Return the last `keep` bytes of a text, such as a log, whether the server can send these alone or not."""
        answer = await self._ask(path, {}, {"Accept": "*/*", "Range": f"bytes=-{keep}"}, keep)
        return answer.body

    def _read(self, answer: Answer, shape: type[T]) -> T:
        try:
            return decode(answer.body, shape)
        except Unreadable as error:
            raise LookupFailed(f"{self._name} answered something that is not as documented: {error}") from error

    async def _ask(
        self, path: str, query: Mapping[str, Any], headers: Mapping[str, str] | None = None, keep: int | None = None
    ) -> Answer:
        within = min(ANSWER_WITHIN, self._until - time.monotonic())
        if within <= 0:
            raise LookupFailed(f"{self._name} took too long with the questions before", away=True)
        url = self._base + path + ("?" + urlencode(query) if query else "")
        answer = await ask(
            self._session, self._name, url, headers=self._headers | dict(headers or {}), within=within, keep=keep
        )
        require_answered(self._name, answer)
        return answer


def segment(text: str | int | None) -> str:
    """Return a name of others as one segment of a path, which it can neither leave nor add to."""
    name = str(text) if text is not None else ""
    if name in ("", ".", ".."):
        raise LookupFailed("a name that no address can hold")
    return quote(name, safe="", errors="replace")


async def ask(
    session: aiohttp.ClientSession,
    name: str,
    url: str,
    *,
    headers: Mapping[str, str],
    data: bytes | None = None,
    within: float | None = None,
    keep: int | None = None,
) -> Answer:
    """Return what `url` answers to a GET, or to a POST of `data`, whatever its status. LookupFailed where nothing came.

    With `keep` a long answer is read and its last so many bytes are returned; without, a long answer fails.
    """
    import aiohttp
    from yarl import URL

    # Not compressed: what is read is what was sent, so the limit holds for both.
    sent = {"User-Agent": "bridge", "Accept-Encoding": "identity"} | dict(headers)
    options: dict[str, Any] = {} if within is None else {"timeout": aiohttp.ClientTimeout(total=within)}
    method = "GET" if data is None else "POST"
    try:
        address = URL(url, encoded=True)  # as it was written: a foreign name in it is quoted already
        async with session.request(
            method, address, data=data, headers=sent, allow_redirects=False, **options
        ) as response:
            chunks = response.content.iter_chunked(65_536)
            body = await (_whole(name, chunks) if keep is None else _end(name, chunks, keep))
            return Answer(response.status, {key.lower(): value for key, value in response.headers.items()}, body)
    except TimeoutError as error:
        raise LookupFailed(f"{name} did not answer in time", away=True) from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # The error's own words may hold the address or a header: its name is enough.
        raise LookupFailed(f"{name} cannot be reached ({type(error).__name__})", away=True) from None


async def _whole(name: str, chunks: AsyncIterator[bytes]) -> bytes:
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > ANSWER_LIMIT:
            raise LookupFailed(f"{name} answered more than {ANSWER_LIMIT} bytes")
    return bytes(body)


async def _end(name: str, chunks: AsyncIterator[bytes], keep: int) -> bytes:
    body, read = bytearray(), 0
    async for chunk in chunks:
        body += chunk
        read += len(chunk)
        if read > TEXT_LIMIT:
            raise LookupFailed(f"{name} answered more than {TEXT_LIMIT} bytes")
        del body[:-keep]
    return bytes(body)


# -- what an HTTP status means -----------------------------------------------------------------------------------------


def require_answered(name: str, answer: Answer) -> None:
    """Return if the API answered what it was asked for; raise Refused where only this is refused, else LookupFailed."""
    status = answer.status
    if status in (200, 206):
        return
    if _asked_too_often(answer):
        raise LookupFailed(f"{name} is asked too often (HTTP {status})", away=True, after=_rest(answer.headers))
    if status == 401:
        raise LookupFailed(f"{name} refuses the api_token (HTTP 401)", away=True, after=REFUSED_REST)
    if status == 403:
        raise Refused(f"{name} does not let this api_token see it (HTTP 403)")
    if status in (404, 410, 416):  # the last: a text that is empty has no end
        raise Refused(f"{name} knows no such thing, or does not show it to this api_token (HTTP {status})")
    raise LookupFailed(f"{name} answered HTTP {status}", away=status >= 500)


def _asked_too_often(answer: Answer) -> bool:
    if answer.status == 429:
        return True
    return answer.status == 403 and ("retry-after" in answer.headers or _remaining(answer.headers) == "0")


def _remaining(headers: Mapping[str, str]) -> str | None:
    return headers.get("x-ratelimit-remaining") or headers.get("ratelimit-remaining")


def _rest(headers: Mapping[str, str]) -> float:
    """Return for how many seconds the API wants to be left alone; 0 where it does not say."""
    seconds = _seconds(headers.get("retry-after"))
    if seconds is None:
        seconds = _seconds(headers.get("x-ratelimit-reset") or headers.get("ratelimit-reset"))
    return min(max(seconds or 0.0, 0.0), REST_AT_MOST)


_A_MOMENT = 1e8  # seconds: three years; a greater number is a time, not a span


def _seconds(value: str | None) -> float | None:
    """Return the seconds from now: they are told as such, as Unix time or as an HTTP date."""
    if value is None:
        return None
    if value.isascii() and value.isdigit() and len(value) < 16:
        return float(value) - (time.time() if float(value) > _A_MOMENT else 0.0)
    try:
        moment = parsedate_to_datetime(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()


# -- one look-up of several questions ----------------------------------------------------------------------------------

Part = Callable[[Api, Run], Awaitable[Run]]
"""Asks for one thing, if it is missing, and returns the run with it."""


async def in_turn(run: Run, api: Api, parts: Sequence[Part]) -> Run:
    """Return `run` with what the parts add: one that fails costs no other. LookupFailed where nothing was added."""
    told = run
    failed: LookupFailed | None = None
    for part in parts:
        try:
            told = await part(api, told)
        except Refused as error:
            failed = failed or error
        except LookupFailed as error:
            failed = error
            break  # an API that is slow or away is not asked for the rest
    if failed is not None and told == run:
        raise failed
    return told


def require_home(event: Event, home: str) -> None:
    """Return if the repository is at `home`, whose API is asked where none is configured; else raise LookupFailed.

    A token for a server of one's own must never be shown to another's, and what that says of a repository of the same
    name would be wrong.
    """
    host = urlsplit(event.repository_url or "").hostname
    if host != home:
        raise LookupFailed(
            f"the repository is at {host or 'an unknown address'}, not at {home}: set this source's api_url",
            away=True,
            after=ELSEWHERE_REST,
        )
