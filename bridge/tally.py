"""How often was each source answered, and how? Counted in memory while it answers, and written down a moment later.

What was refused is kept nowhere else. A request waits for none of this and writes nothing itself. Of what strangers
send nothing is kept but how often they came: one row for each source, reason and day, however many they are; names that
no source has are one row together. A process that is killed loses what it has counted since the last write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from bridge.errors import StoreUnavailable
from bridge.observe import log
from bridge.store.base import Store, Tally
from bridge.store.rows import DAY, moment, number

SOON = timedelta(seconds=1)  # after the first that is counted, so that who has just sent something finds it
SELDOM = timedelta(seconds=10)  # from one write to the next
MOST = 1_000  # rows that wait to be written, in 4 ms; then repositories are not told apart any more
LONGEST = 200  # letters of a repository's name

Key = tuple[int, str, str, str]  # the day, the source, the answer, the repository


class Tallies:
    """The counts of one process. `stop` writes the last of them."""

    def __init__(
        self, store: Store, now: Callable[[], datetime], soon: timedelta = SOON, seldom: timedelta = SELDOM
    ) -> None:
        self._store = store
        self._now = now
        self._soon = soon.total_seconds()
        self._seldom = seldom.total_seconds()
        self._counted: dict[Key, tuple[int, float, str]] = {}  # how often, when last, which event last
        self._written_at = float("-inf")  # by the loop's clock
        self._keeping: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()

    def count(self, source: str, answer: str, repository: str | None = None, event_id: str = "") -> None:
        """Count one answer. `event_id`: of the event that is kept of it, if one is."""
        at = self._now().timestamp()
        key = (int(at // DAY), source, answer, _fit(repository) if repository else "")
        if key not in self._counted and len(self._counted) >= MOST:
            key = (*key[:3], "")
        self._add(key, 1, at, event_id)
        if self._keeping is None and not self._ending.is_set():
            self._keeping = asyncio.get_running_loop().create_task(self._keep())

    def _add(self, key: Key, times: int, at: float, event_id: str) -> None:
        before = self._counted.get(key)
        if before is not None:
            times, event_id = times + before[0], event_id or before[2]
        self._counted[key] = (times, at, event_id)

    async def stop(self) -> None:
        """Write what is left, if the store takes it."""
        self._ending.set()
        if self._keeping is not None:
            await self._keeping
        await self._write()

    async def _keep(self) -> None:
        """Write until nothing is left to be written, which is soon, or for as long as the store is away."""
        loop = asyncio.get_running_loop()
        while self._counted and not self._ending.is_set():
            try:
                async with asyncio.timeout(max(self._soon, self._written_at + self._seldom - loop.time())):
                    await self._ending.wait()
            except TimeoutError:
                await self._write()
                self._written_at = loop.time()
        self._keeping = None

    async def _write(self) -> None:
        counted, self._counted = self._counted, {}
        if not counted:
            return
        rows = [Tally(*key[1:], times, moment(at), number(event_id)) for key, (times, at, event_id) in counted.items()]
        try:
            await self._store.tally(rows)
        except StoreUnavailable as error:
            log.info("tally.waits", error=str(error))
            newer, self._counted = self._counted, counted
            for key, (times, at, event_id) in newer.items():
                self._add(key, times, at, event_id)
        except Exception as error:  # a bug: what cannot be written must not be tried for ever
            log.error("tally.lost", error=type(error).__name__, exc_info=True)


def _fit(repository: str) -> str:
    """Return a name that every engine can hold."""
    if not repository.isprintable():  # a NUL, half a pair of surrogates
        repository = "".join(letter if letter.isprintable() else "\ufffd" for letter in repository)
    return repository[:LONGEST]
