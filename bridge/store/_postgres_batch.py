"""How do many share one commit? What waits while one batch is under way goes together in the next. No I/O."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from bridge.errors import StoreUnavailable
from bridge.observe import log

Work = TypeVar("Work")
Result = TypeVar("Result")

BATCH = 100  # three locks for each at most, and the server has some thousands for all processes


class Waiting(Generic[Work, Result]):
    """One who waits for his part of a batch."""

    __slots__ = ("_future", "work")

    def __init__(self, work: Work, future: asyncio.Future[Result]) -> None:
        self.work = work
        self._future = future

    @property
    def gone(self) -> bool:
        return self._future.done()

    def answer(self, result: Result) -> None:
        if not self._future.done():
            self._future.set_result(result)

    def fail(self, error: BaseException) -> None:
        if not self._future.done():
            self._future.set_exception(error)


class Batches(Generic[Work, Result]):
    """One batch in flight at a time, in the order of arrival.

    `do` answers those whom it has served and returns those who have to wait for the next batch.
    """

    def __init__(self, do: Callable[[list[Waiting[Work, Result]]], Awaitable[list[Waiting[Work, Result]]]]) -> None:
        self._do = do
        self._waiting: deque[Waiting[Work, Result]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def add(self, work: Work) -> Result:
        if self._closed:
            raise StoreUnavailable("the store is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._waiting.append(Waiting(work, future))
        if self._task is None:
            self._task = loop.create_task(self._run())
        return await future

    async def close(self) -> None:
        """Refuse what comes, and do what waits."""
        self._closed = True
        while self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            while batch := self._next():
                await self._serve(batch)
        finally:
            self._task = None

    def _next(self) -> list[Waiting[Work, Result]]:
        batch: list[Waiting[Work, Result]] = []
        while self._waiting and len(batch) < BATCH:
            waiting = self._waiting.popleft()
            if not waiting.gone:  # nobody waits for it any more
                batch.append(waiting)
        return batch

    async def _serve(self, batch: list[Waiting[Work, Result]]) -> None:
        try:
            self._waiting.extendleft(reversed(await self._do(batch)))
        except Exception as error:  # whatever it is, the next batch is served: else all callers would hang
            if not isinstance(error, StoreUnavailable):
                log.error("store.failed", error=type(error).__name__, exc_info=True)
                error = StoreUnavailable(f"the database takes no writes ({type(error).__name__})")
            for waiting in batch:
                waiting.fail(error)
