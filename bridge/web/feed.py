"""What do the chats show now? The newest state of each of the last messages, and who wants to hear of the next one.

Lives in the memory of one process, for people who look at the page: nothing here is durable, and nothing that delivers
waits for it. Never renders, never touches a socket. All calls come from the one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from operator import attrgetter

import msgspec
from msgspec.structs import replace

from bridge.message import Message

KEEP = 100


class Bubble(msgspec.Struct, frozen=True, kw_only=True):
    """One message as a reader of the chat sees it now. `key` stays the same while the message is edited."""

    key: str
    destination: str  # the configured name: "builds"
    integration: str  # the destination's type: "slack"
    message: Message
    posted_at: datetime
    changed_at: datetime
    edits: int  # how often it was edited
    thread: bool  # a reply in a thread
    event_id: str
    delivery_id: str
    repository: str | None
    rules: tuple[str, ...]


class Subscription:
    """The bubbles that changed since this reader took one. A slow reader skips old states, never the newest."""

    def __init__(self) -> None:
        self._waiting: dict[str, Bubble] = {}
        self._news = asyncio.Event()
        self._closed = False

    def put(self, bubble: Bubble) -> None:
        _newest(self._waiting, bubble)
        self._news.set()

    def close(self) -> None:
        """End the iteration, also for one who waits in it."""
        self._closed = True
        self._news.set()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Bubble:
        while not self._closed:
            if self._waiting:
                return self._waiting.pop(next(iter(self._waiting)))
            self._news.clear()
            await self._news.wait()
        raise StopAsyncIteration


class Feed:
    """The last messages by key, told to all who subscribed."""

    def __init__(self) -> None:
        self._bubbles: dict[str, Bubble] = {}  # the longest unchanged first
        self._readers: set[Subscription] = set()
        self._closed = False

    def publish(self, bubble: Bubble) -> None:
        """Take the newest state of a message; one that is known already was edited. Never blocks."""
        known = self._bubbles.get(bubble.key)
        if known:
            bubble = replace(bubble, posted_at=known.posted_at, edits=max(bubble.edits, known.edits + 1))
        _newest(self._bubbles, bubble)
        for reader in self._readers:
            reader.put(bubble)

    def recent(self) -> list[Bubble]:
        """Return the last messages in the order of the chat: oldest post first, wherever an edit came."""
        return sorted(self._bubbles.values(), key=attrgetter("posted_at"))

    @contextmanager
    def subscribe(self) -> Iterator[Subscription]:
        """Hear of every bubble from now on: ``with feed.subscribe() as bubbles: async for bubble in bubbles``."""
        reader = Subscription()
        if self._closed:
            reader.close()
        self._readers.add(reader)
        try:
            yield reader
        finally:
            self._readers.discard(reader)

    def close(self) -> None:
        """End all subscriptions, now and later: the server stops."""
        self._closed = True
        for reader in self._readers:
            reader.close()


def _newest(bubbles: dict[str, Bubble], bubble: Bubble) -> None:
    """Put `bubble` last, in place of its older state; beyond KEEP the longest unchanged one goes."""
    bubbles.pop(bubble.key, None)
    bubbles[bubble.key] = bubble
    if len(bubbles) > KEEP:
        del bubbles[next(iter(bubbles))]
