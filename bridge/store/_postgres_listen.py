"""Who tells a process that something became due, when another process took the webhook? LISTEN, on its own connection.

The connection is made anew when it is lost. A notification that is lost costs no more than the couriers' next look.
What holds for a session and not for a transaction lives on this connection: that this process delivers, and who leads.
https://www.postgresql.org/docs/current/sql-notify.html
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg

from bridge.errors import StoreUnavailable
from bridge.observe import log
from bridge.store._postgres_keys import WORKING
from bridge.store._postgres_wire import AWAY, connect, unavailable

if TYPE_CHECKING:
    from bridge.store._postgres_wire import Connection

T = TypeVar("T")

CHANNEL = "bridge_owed"
BEING_SENT = "SELECT EXISTS (SELECT 1 FROM deliveries WHERE state = 'sending')"
WAITED_FOR = """
    SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objsubid = 1
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                   AND (classid::bigint << 32) | objid::bigint = $1)
"""
ALONE_FOR = 2.0  # seconds
AGAIN = 1.0  # seconds until a lost connection is made anew
STILL_THERE = 15.0  # seconds; a connection that is cut silently is known to be lost so soon
TELL = "SELECT pg_notify('bridge_owed', $1 || name) FROM unnest($2::text[]) AS name"


class Ears:
    """Listens until `close`. `connection` is None while it is lost."""

    def __init__(self, url: str, heard: Callable[[str], None], *, working: bool) -> None:
        self.connection: Connection | None = None
        self._url = url
        self._heard = heard
        self._working = working
        self._me = secrets.token_hex(4) + " "  # notifications name who sent them: he has heard it already
        self._task: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        self._asking = asyncio.Lock()  # one question at a time is all that a connection takes

    async def open(self, recover: Callable[[], Awaitable[None]]) -> None:
        """Begin to listen. A worker that is the only one calls `recover` first. Raises StoreUnavailable."""
        try:
            self.connection = await self._connect(recover)
        except (asyncpg.PostgresError, *AWAY) as error:  # the server went away in the middle of it
            raise unavailable(error) from error
        self._task = asyncio.create_task(self._stay(), name="bridge-listen")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        connection, self.connection = self.connection, None
        if connection is not None:
            try:
                await connection.close(timeout=2)
            except (asyncpg.PostgresError, *AWAY):
                connection.terminate()

    def abandon(self) -> None:
        if self.connection is not None:
            self.connection.terminate()

    def telling(self, names: set[str]) -> tuple[str, list[str]]:
        """Return what `TELL` is asked with."""
        return self._me, sorted(names)

    async def ask(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do `work` on the connection that listens. Raises StoreUnavailable, also while it is lost."""
        async with self._asking:
            connection = self.connection
            if connection is None:
                raise StoreUnavailable("the database is not listened to now")
            try:
                return await work(connection)
            except (asyncpg.PostgresError, *AWAY) as error:
                connection.terminate()
                raise unavailable(error) from error

    async def _connect(self, recover: Callable[[], Awaitable[None]] | None = None) -> Connection:
        connection = await connect(self._url)
        try:
            if self._working:
                await _begin_to_work(connection, recover)
            self._lost.clear()
            connection.add_termination_listener(lambda _: self._lost.set())
            await connection.add_listener(CHANNEL, self._notified)
        except BaseException:
            connection.terminate()
            raise
        return connection

    def _notified(self, _connection: Any, _pid: int, _channel: str, payload: Any) -> None:
        if not payload.startswith(self._me):
            self._heard(payload.partition(" ")[2])

    async def _stay(self) -> None:
        while True:
            try:
                if self.connection is None:
                    self.connection = await self._connect()
                    log.info("store.listening")
                await self._until_lost(self.connection)
            except (StoreUnavailable, asyncpg.PostgresError, *AWAY) as error:
                log.warning("store.not_listening", error=str(error) if isinstance(error, StoreUnavailable) else "")
            lost, self.connection = self.connection, None
            if lost is not None:
                lost.terminate()
            await asyncio.sleep(AGAIN)

    async def _until_lost(self, connection: Connection) -> None:
        while not self._lost.is_set():
            try:
                async with asyncio.timeout(STILL_THERE):
                    await self._lost.wait()
            except TimeoutError:
                await self.ask(lambda connection: connection.execute("SELECT 1"))


async def _begin_to_work(connection: Connection, recover: Callable[[], Awaitable[None]] | None) -> None:
    """Hold the workers' lock as long as this session lives; who gets it alone, for as long as others need to come back
    after the database did, is alone."""
    if recover is not None and await connection.fetchval("SELECT pg_try_advisory_lock($1)", WORKING):
        if await connection.fetchval(BEING_SENT):
            await asyncio.sleep(ALONE_FOR)
            if not await connection.fetchval(WAITED_FOR, WORKING):
                await recover()
        await connection.execute(f"SELECT pg_advisory_lock_shared({WORKING}), pg_advisory_unlock({WORKING})")
        return
    await connection.execute(f"SELECT pg_advisory_lock_shared({WORKING})")
