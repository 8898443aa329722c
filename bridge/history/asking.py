"""How is a sender's API asked for its history? One question at a time, each bounded; the token goes nowhere else.

Nothing but LookupFailed leaves it, and Refused where only this one thing is refused. Nothing is asked twice, and no
address is followed that the API names: of its links only the cursor is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlencode, urlsplit

from bridge.codec import decode
from bridge.errors import LookupFailed, Unreadable
from bridge.lookups._http import TEXT_LIMIT, Answer, Refused, ask, require_answered, segment

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")

ANSWER_WITHIN = 30.0  # seconds; nobody waits for a message meanwhile, and a page of bodies is long
LINK_LIMIT = 4_000  # characters of a Link header that are read

__all__ = ["Answer", "Asker", "Refused", "posts_to", "segment"]


class Asker:
    """One API and how to speak to it. `name` is how messages call it; the token is in one of `headers`."""

    def __init__(self, name: str, session: aiohttp.ClientSession, api_url: str, headers: dict[str, str]) -> None:
        self.name = name
        self._session = session
        self._base = api_url.rstrip("/")
        self._headers = headers

    async def get(self, path: str, shape: type[T], **query: str | int) -> T:
        """Return the answer as `shape`."""
        return (await self.page(path, shape, **query))[0]

    async def page(self, path: str, shape: type[T], **query: str | int) -> tuple[T, Answer]:
        """Return the answer as `shape`, and as it came: where the next page is stands in its headers."""
        answer = await self._ask(path, query, None)
        require_answered(self.name, answer)
        try:
            return decode(answer.body, shape), answer
        except Unreadable as error:
            raise LookupFailed(f"{self.name} answered something that is not as documented: {error}") from error

    async def post(self, path: str) -> None:
        """Have something done that needs no more words than its path."""
        answer = await self._ask(path, {}, b"")
        if answer.status not in (200, 201, 202, 204):
            require_answered(self.name, answer)

    async def _ask(self, path: str, query: dict[str, str | int], data: bytes | None) -> Answer:
        url = self._base + path + ("?" + urlencode(query) if query else "")
        return await ask(
            self._session, self.name, url, headers=self._headers, data=data, within=ANSWER_WITHIN, keep=TEXT_LIMIT
        )


def posts_to(url: str, source: str) -> bool:
    """Return whether a webhook with this address is ours: ``.../webhooks/{source}``, perhaps with a token behind it."""
    try:
        path = urlsplit(url).path.rstrip("/")
    except ValueError:
        return False
    return path.endswith(f"/webhooks/{source}") or f"/webhooks/{source}/" in path
