"""How do a hundred writers share one sync? Group commit for SQLite, on the event loop, with the sync in a thread.

Whatever waits is one transaction: its statements run on the loop (they take microseconds, and a thread that runs them
would fight with the loop for the interpreter), COMMIT only writes the log, and one ``fdatasync`` of the log in a thread
makes it durable. Only then those hear who asked for durability. What comes meanwhile is the next transaction. A few
events, on a disk that answers at once, are synced without the thread: a busy loop lets it wait longer than that takes.

A committed frame of the write-ahead log that was synced is what ``synchronous=FULL`` gives too; with ``NORMAL`` SQLite
leaves this one sync to us and keeps all others (before and after a checkpoint, and when the log begins anew).
https://www.sqlite.org/pragma.html#pragma_synchronous https://www.sqlite.org/wal.html
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from bridge.errors import StoreUnavailable
from bridge.observe import log

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], Any]

BATCH = 256
BUSY_TIMEOUT = timedelta(seconds=3)  # another process may hold the write lock so long; senders wait 10 s, two turns
BUSY_AGAIN = 0.005  # seconds
SYNC_WITHIN = 0.2  # seconds: until what nobody waits for is synced, too
FEW = 4  # events whose sync may hold up the loop
QUICK_SYNC = (
    0.0015  # seconds; a disk that lately took no longer is not worth a thread for them: it waits 5 ms for its turn
)
CHECKPOINT_AFTER = 1_000  # jobs
LONGEST_LOG = 16_000  # pages of 4 KiB; then commits are held for the moment that it takes to begin the log anew

_sync_file = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


def connect(path: Path, *, timeout: timedelta = BUSY_TIMEOUT) -> sqlite3.Connection:
    """Open a connection that any thread may use, one at a time."""
    db = sqlite3.connect(path, timeout=timeout.total_seconds(), isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
    except sqlite3.Error:
        db.close()
        raise
    return db


def connect_in_turn(path: Path) -> sqlite3.Connection:
    """As `connect`, in a thread and for a new file that others may open just now.

    Whoever gives it its write-ahead log must be alone, and there SQLite does not wait.
    """
    until = time.monotonic() + BUSY_TIMEOUT.total_seconds()
    while True:
        try:
            return connect(path)
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() >= until:
                raise
        time.sleep(BUSY_AGAIN)


class Job:
    """One piece of a transaction. It may run twice: alone, when another one of its batch has failed."""

    __slots__ = ("durable", "future", "since", "work")

    def __init__(self, work: Work, future: asyncio.Future[Any], since: float, *, durable: bool) -> None:
        self.work = work
        self.future = future
        self.since = since
        self.durable = durable


Answer = tuple[Job, Any, BaseException | None]


class Memory(Protocol):
    """What the jobs remember from one transaction to the next."""

    def begin(self, db: sqlite3.Connection) -> None:
        """A transaction begins: is what is remembered still true?"""

    def flush(self, db: sqlite3.Connection) -> None:
        """Write what is still to be written: the transaction ends."""

    def forget(self) -> None:
        """What was written is taken back."""


class GroupCommit:
    """The one writer of a file, for one event loop."""

    def __init__(self, path: Path, memory: Memory) -> None:
        self._path = path
        self._memory = memory
        self._loop = asyncio.get_running_loop()
        self._durable: deque[Job] = deque()
        self._quick: deque[Job] = deque()
        self._db: sqlite3.Connection | None = None
        self._log = _Log(path)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bridge-sync")
        self._syncing: asyncio.Future[None] | None = None
        self._turning: asyncio.Handle | None = None
        self._later: asyncio.TimerHandle | None = None  # the sync of what nobody waits for
        self._checkpointing: asyncio.Task[None] | None = None
        self._held = False
        self._written = 0
        self._idle = asyncio.Event()
        self._closed = False

    async def write(self, work: Callable[[sqlite3.Connection], T], *, durable: bool = True) -> T:
        """Run `work` in the next transaction; return once it is committed and, when `durable`, synced.

        Without `durable` it survives the end of this process at any moment, and a power failure a little later.
        """
        if self._closed:
            raise StoreUnavailable("the store is closed")
        job = Job(work, self._loop.create_future(), self._loop.time(), durable=durable)
        (self._durable if durable else self._quick).append(job)
        if self._turning is None:
            self._turning = self._loop.call_soon(self._turn)  # after all that the loop has at hand: they go together
        return await job.future  # type: ignore[no-any-return]

    def ask(self, question: Callable[[sqlite3.Connection], bool]) -> bool:
        """Return the answer as of the last transaction; False when nothing can be asked."""
        if self._db is None or self._closed:
            return False
        try:
            return question(self._db)
        except sqlite3.Error:
            return False

    async def close(self) -> None:
        """Do what waits, and let go of the file."""
        self._closed = True  # nothing may queue up behind the end: nobody would answer it
        while self._durable or self._quick or self._syncing is not None or self._turning is not None:
            self._idle.clear()
            await self._idle.wait()
        if self._later is not None:
            self._later.cancel()
        if self._checkpointing is not None:
            await asyncio.gather(self._checkpointing, return_exceptions=True)
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        with suppress(OSError):
            self._log.sync()
        if self._db is not None:
            self._db.close()  # the last one to leave writes the log back into the file
            self._db = None
        self._log.close()
        self._thread.shutdown()

    # -- one transaction -----------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        self._turning = None
        batch = [] if self._held else self._batch()
        if not batch:
            self._idle.set()
            return
        answers: list[Answer] = []
        try:
            if self._db is None:
                self._db = self._open()
            transaction(self._db, batch, self._memory, answers)
        except Exception as error:  # whatever it is, the writer lives on: else all callers would hang
            undone = batch[len(answers) :]
            if _is_busy(error) and self._loop.time() - min(job.since for job in undone) < BUSY_TIMEOUT.total_seconds():
                self._again(undone)
            else:
                self._failed(undone, error)
        if answers:
            self._committed(answers)
        self._next()

    def _batch(self) -> list[Job]:
        """Take what waits; what wants to be durable waits for the sync that is under way, and then goes together."""
        batch: list[Job] = []
        for jobs in (self._quick,) if self._syncing is not None else (self._durable, self._quick):
            while jobs and len(batch) < BATCH:
                job = jobs.popleft()
                if not job.future.cancelled():  # nobody waits for it: a claim made now would be held by nobody
                    batch.append(job)
        return batch

    def _open(self) -> sqlite3.Connection:
        db = connect(self._path, timeout=timedelta(0))  # waiting for a lock here would hold up the loop
        db.execute("PRAGMA wal_autocheckpoint = 0")
        if db.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
            db.execute("PRAGMA synchronous = NORMAL")
        else:  # a file system without shared memory: then SQLite syncs by itself
            self._log.close()
            self._log = _NoLog()
        return db

    def _again(self, batch: list[Job]) -> None:
        for job in reversed(batch):
            (self._durable if job.durable else self._quick).appendleft(job)
        self._turning = self._loop.call_later(BUSY_AGAIN, self._turn)

    def _failed(self, batch: list[Job], error: Exception) -> None:
        if not isinstance(error, sqlite3.Error | OSError):
            log.error("store.failed", error=type(error).__name__, exc_info=True)
        self._memory.forget()
        self._db = _give_up(self._db)
        failure = StoreUnavailable(f"the database takes no writes: {error}")
        _resolve([(job, None, failure) for job in batch])

    def _committed(self, answers: list[Answer]) -> None:
        self._written += len(answers)
        wait = [answer for answer in answers if answer[0].durable and answer[2] is None]
        _resolve([answer for answer in answers if not (answer[0].durable and answer[2] is None)])
        if wait:
            self._sync(wait)
        elif self._later is None and self._syncing is None:
            self._later = self._loop.call_later(SYNC_WITHIN, self._sync_late)
        if self._written >= CHECKPOINT_AFTER and self._checkpointing is None and not self._closed:
            self._written = 0
            self._checkpointing = self._loop.create_task(self._checkpoint())

    def _sync(self, answers: list[Answer]) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if len(answers) <= FEW and self._log.takes < QUICK_SYNC:
            self._synced_here(answers)
            return
        self._syncing = self._loop.run_in_executor(self._thread, self._log.sync)
        self._syncing.add_done_callback(partial(self._synced, answers))

    def _synced_here(self, answers: list[Answer]) -> None:
        done: asyncio.Future[None] = self._loop.create_future()
        try:
            self._log.sync()
        except OSError as error:
            done.set_exception(error)
        else:
            done.set_result(None)
        self._synced(answers, done)

    def _sync_late(self) -> None:
        self._later = None
        if self._syncing is None:
            self._sync([])

    def _synced(self, answers: list[Answer], done: asyncio.Future[None]) -> None:
        self._syncing = None
        error = done.exception()
        if error is not None:
            log.error("store.unsynced", error=str(error))
            failure = StoreUnavailable(f"the database cannot be synced: {error}")
            answers = [(job, None, failure) for job, _, _ in answers]
        _resolve(answers)
        self._next()

    def _next(self) -> None:
        waits = bool(self._quick) or (bool(self._durable) and self._syncing is None)
        if waits and self._turning is None and not self._held:
            self._turning = self._loop.call_soon(self._turn)
        elif not waits:
            self._idle.set()

    # -- the log -------------------------------------------------------------------------------------------------------

    async def _checkpoint(self) -> None:
        """Write the log back into the file, in a thread, while writing goes on; begin it anew when it is long."""
        try:
            pages, written_back = await asyncio.to_thread(_checkpoint, self._path, "PASSIVE")
            if pages < LONGEST_LOG or written_back < pages:  # somebody reads on in it: the moment would be a long one
                return
            self._held = True
            await asyncio.to_thread(_checkpoint, self._path, "RESTART")
        except sqlite3.Error as error:
            log.warning("store.checkpoint", error=str(error))
        finally:
            self._held = False
            self._checkpointing = None
            self._next()


class _Log:
    """The write-ahead log, as a file that can be synced. It carries no locks: to open and close it does no harm."""

    def __init__(self, path: Path) -> None:
        self._path = f"{path}-wal"
        self._file: int | None = None
        self.takes = 1.0  # seconds that a sync takes, as of late; the first ones are asked for in the thread

    def sync(self) -> None:
        if self._file is None or _other(self._file, self._path):
            self.close()
            self._file = os.open(self._path, os.O_RDWR)
            _sync_folder(os.path.dirname(self._path) or ".")
        began = time.perf_counter()
        _sync_file(self._file)
        took = time.perf_counter() - began
        # One that is slow counts at once, and quick ones only when there are several.
        self.takes = max(took, (3 * self.takes + took) / 4)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


class _NoLog(_Log):
    def __init__(self) -> None:
        super().__init__(Path())

    def sync(self) -> None:
        return


def _sync_folder(path: str) -> None:
    """A new file is durable when its name is, too."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _other(file: int, path: str) -> bool:
    """Return whether the file at `path` is another one by now."""
    return os.fstat(file).st_ino != os.stat(path).st_ino


def _checkpoint(path: Path, mode: str) -> tuple[int, int]:
    """Return how many pages the log had, and how many of them are in the file now."""
    db = sqlite3.connect(path, timeout=1.0, isolation_level=None)
    try:
        _, pages, written_back = db.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
    finally:
        db.close()
    return int(pages), int(written_back)


def transaction(db: sqlite3.Connection, batch: list[Job], memory: Memory, answers: list[Answer]) -> None:
    """Do all jobs, commit, and add their answers. A job that raises is undone alone, and each of the others is then a
    transaction of its own. An error of the engine is raised: what is not answered then, the rest of `batch`, is undone.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        memory.begin(db)
        done: list[Answer] = [(job, job.work(db), None) for job in batch]
        memory.flush(db)
        db.execute("COMMIT")
    except Exception as error:
        memory.forget()
        if db.in_transaction:
            db.execute("ROLLBACK")
        if is_engines(error):
            raise
        if len(batch) == 1:
            answers.append((batch[0], None, error))
            return
    else:
        answers += done
        return
    for job in batch:
        transaction(db, [job], memory, answers)


def is_engines(error: Exception) -> bool:
    """Return whether the database itself fails, and not one job that asks it for something impossible."""
    one_jobs = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, sqlite3.InterfaceError)
    return isinstance(error, sqlite3.Error) and not isinstance(error, one_jobs)


def _is_busy(error: Exception) -> bool:
    return isinstance(error, sqlite3.OperationalError) and (error.sqlite_errorcode or 0) & 0xFF == sqlite3.SQLITE_BUSY


def _give_up(db: sqlite3.Connection | None) -> sqlite3.Connection | None:
    """Leave the failed transaction; a connection that cannot even do that is closed and made anew."""
    if db is None:
        return None
    try:
        if db.in_transaction:
            db.execute("ROLLBACK")
    except sqlite3.Error:
        db.close()
        return None
    return db


def _resolve(answers: list[Answer]) -> None:
    for job, result, error in answers:
        if job.future.done():
            continue
        if error is not None:
            job.future.set_exception(error)
        else:
            job.future.set_result(result)
