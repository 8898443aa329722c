"""What became of one request to a chat: an answer, or which of our errors?

The question after a failure is whether the message may have arrived. What never got a connection has not: Transient.
What was lost later may have: Unsure. What an answer means is its chat's own matter (`judge`); here is only what is the
same for all: the answers that are not the chat's own, and how long it asks to wait.

Never repeats a request, never follows a redirect, never reads an answer without end, and names no address: aiohttp's
errors have it in them, and it may be a secret, so that none of them is chained or quoted.

https://docs.aiohttp.org/en/stable/client_reference.html#client-exceptions
"""

from __future__ import annotations

import json as stdlib_json
import math
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from bridge import codec
from bridge.errors import Dead, DeliveryError, Rejected, Transient, Unreadable, Unsure

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

LONGEST_ANSWER = 256 * 1024
WAIT = 30.0  # seconds, where a chat asks to wait and does not say how long
LONGEST_WAIT = 3_600.0
_CONNECT = 0.7  # of the time that a request may take


class Answer(msgspec.Struct, frozen=True):
    """What a chat answered. `body` is its beginning where it is too long. `headers` know no upper and lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def object(self) -> dict[str, Any] | None:
        """Return the body's JSON object, None where it is none."""
        try:
            return codec.decode(self.body, dict)
        except Unreadable:
            return None

    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


async def ask(
    session: aiohttp.ClientSession,
    method: str,
    url: str | URL,
    *,
    chat: str,
    within: timedelta,
    json: Any = None,
    body: bytes | None = None,
    params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Return what `chat` ("discord") answers to one request, whatever it is; raise Transient, Unsure or Dead.

    `json` is sent as such. aiohttp itself repeats a GET or a PUT whose kept connection turns out to be closed, and no
    other: so a PUT has to be one that may come twice.
    """
    if json is not None:
        body, headers = _written(json), {"Content-Type": "application/json"} | dict(headers or {})
    async with sorting(session, chat, within):
        request = session.request(
            method,
            url,
            data=body,
            params=params,
            headers=headers,
            allow_redirects=False,
            timeout=connecting(within),
        )
        async with request as response:
            return Answer(response.status, response.headers, await read(response))


def _written(tree: Any) -> bytes:
    try:
        return codec.dump(tree)
    except (ValueError, OverflowError):  # half a character, or a number that is too large: a template may write them
        return stdlib_json.dumps(tree).encode()


def connecting(within: timedelta) -> aiohttp.ClientTimeout:
    """Return aiohttp's part of the time: a connection that does not come up in time has surely carried nothing."""
    import aiohttp

    return aiohttp.ClientTimeout(total=None, connect=within.total_seconds() * _CONNECT)


@asynccontextmanager
async def sorting(session: aiohttp.ClientSession, chat: str, within: timedelta) -> AsyncIterator[None]:
    """Give what happens inside its time, and turn every way in which a request can fail into one of our errors."""
    import asyncio

    import aiohttp

    if session.closed:
        raise Transient("bridge is shutting down")
    seconds = within.total_seconds()
    try:
        async with asyncio.timeout(seconds):
            yield
    except aiohttp.ClientConnectorCertificateError:
        raise Transient(f"no connection to {chat} (its certificate is not trusted)") from None
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError) as error:
        raise Transient(f"no connection to {chat} ({_reason(error)})") from None
    except TimeoutError:
        raise Unsure(f"{chat} did not answer within {seconds:g} s, the message may have arrived") from None
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
        raise Dead("the destination's address is no address") from None
    except (aiohttp.ClientError, OSError) as error:
        raise Unsure(f"the connection was lost ({type(error).__name__}), the message may have arrived") from None
    except RuntimeError:
        if not session.closed:
            raise
        raise Transient("bridge is shutting down") from None


def _reason(error: Exception) -> str:
    """Why there is no connection, without the address."""
    cause = getattr(error, "os_error", None)
    number = None if isinstance(cause, ssl.SSLError) else getattr(cause, "errno", None)  # OpenSSL counts by itself
    return os.strerror(number) if isinstance(number, int) and number > 0 else type(error).__name__


async def read(response: aiohttp.ClientResponse, longest: int = LONGEST_ANSWER) -> bytes:
    """Return the body, or its beginning: whoever answers in a chat's place cannot fill our memory."""
    body = b""
    while len(body) <= longest and (chunk := await response.content.read(longest)):
        body += chunk
    return body[:longest]


# -- what is the same whoever answers


def judge_status(chat: str, status: int, said: str = "") -> DeliveryError:
    """Return what a status means when the answer is not of `chat`'s own form: a proxy, a login page, an outage.

    `said` is a word or number that is safe to show.
    """
    shown = f"HTTP {status}" + (f", {said}" if said else "")
    if 200 <= status < 300:
        return Unsure(f"the answer ({shown}) is not one of {chat}'s, the message may have arrived")
    if 300 <= status < 400:
        return Transient(f"the address redirects ({shown}), which is not followed; write the final address")
    if status == 413:
        return Rejected(f"{chat} refuses the message: too large ({shown})")
    return Transient(f"{chat} answers {shown}")


def retry_after(*given: Any) -> float:
    """Return how many seconds to wait by the first of `given` that is a number, in a text or not; at most an hour."""
    for one in given:
        seconds = _number(one)
        if seconds is not None:
            return min(max(seconds, 0.1), LONGEST_WAIT)
    return WAIT


def header(headers: Mapping[str, str], name: str) -> str | None:
    """Return a header, however its name is written: `judge` is also asked with plain mappings."""
    return next((value for key, value in headers.items() if key.lower() == name), None)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
