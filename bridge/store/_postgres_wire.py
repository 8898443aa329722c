"""How is the PostgreSQL server reached, and what do its failures mean?

One pool of few connections. Whatever the server or the network does to us becomes StoreUnavailable, in words that hold
no address, user or password; a connection that failed is thrown away, so that a server that was started again, or
another one that took over, is found without a restart. https://magicstack.github.io/asyncpg/current/api/index.html
https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import asyncpg

from bridge.errors import StoreUnavailable
from bridge.observe import log

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]

T = TypeVar("T")

POOL = 5  # connections, beside one that accepts and one that listens: small databases allow twenty for all
CONNECT_WITHIN = timedelta(seconds=5)
ANSWER_WITHIN = timedelta(seconds=10)
CLOSE_WITHIN = 1.0  # seconds

# Every statement that is sent again and again looks rows up by an index. The planner, which sees small tables at first
# and keeps its plans, would read whole ones long after they have grown.
SETTINGS = """
    SET jit = off; SET plan_cache_mode = force_generic_plan;
    SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
    SET lock_timeout = '5s';
    SET idle_in_transaction_session_timeout = '30s';
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
"""

WORDS = {
    "0A000": "was changed under a prepared statement",  # by a migration
    "25006": "is read-only",
    "28000": "refuses this user",
    "28P01": "refuses this password",
    "3D000": "does not exist on that server",
    "40001": "could not take two changes at once",
    "40P01": "could not take two changes at once",
    "42501": "does not allow this user to do that",
    "53100": "has no space left on its disk",
    "53200": "has no memory left",
    "53300": "has no connection left for us",
    "55P03": "is locked by somebody else",
    "57014": "took too long to answer",
    "57P01": "is being shut down",
    "57P02": "is being started again",
    "57P03": "is starting or stopping",
}
UNDONE = (
    "40001",
    "40P01",
    "0A000",
)  # the transaction was taken back for certain and may go through at once when tried again
STILL_GOOD = (*UNDONE, "55P03", "57014", "53100")  # what is no fault of the connection

# Whatever the server or the network can do to us. asyncpg adds InternalClientError when a connection breaks halfway.
AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,  # TimeoutError is one
    EOFError,
    ssl.SSLError,
)


def is_the_servers(error: BaseException) -> bool:
    """Return whether the server or the way to it fails, and not one statement that asks for something impossible."""
    if isinstance(error, asyncpg.DataError | asyncpg.IntegrityConstraintViolationError):
        return False
    if isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError | TypeError):
        return False  # a value that cannot be sent
    if isinstance(error, asyncpg.PostgresError):
        kind = (error.sqlstate or "")[:2]
        return kind in ("08", "25", "28", "3D", "40", "53", "55", "57", "58", "F0", "XX") or error.sqlstate in WORDS
    return isinstance(error, AWAY)


def unavailable(error: BaseException) -> StoreUnavailable:
    """Return what to raise for `error`: words without address, user and password."""
    state = getattr(error, "sqlstate", None)
    if state:
        said = WORDS.get(state, "cannot be reached" if state.startswith("08") else f"fails ({type(error).__name__})")
        return StoreUnavailable(f"the database {said} [{state}]")
    if isinstance(error, TimeoutError):
        return StoreUnavailable("the database did not answer in time")
    if isinstance(error, ssl.SSLError | asyncpg.ClientConfigurationError):
        return StoreUnavailable(f"the database cannot be reached safely: {type(error).__name__}, check sslmode")
    return StoreUnavailable(f"the database cannot be reached ({type(error).__name__})")


def _given(url: str) -> dict[str, Any]:
    """Return what we add to the address, where it does not say so itself."""
    said = parse_qs(urlsplit(url).query)
    given: dict[str, Any] = {"timeout": CONNECT_WITHIN.total_seconds()}
    if "application_name" not in said:
        given["server_settings"] = {"application_name": "bridge"}
    if "target_session_attrs" not in said:
        given["target_session_attrs"] = "read-write"  # of several hosts the one that takes writes
    return given


async def connect(url: str, *, answer_within: timedelta | None = ANSWER_WITHIN) -> Connection:
    """Open a connection of its own. Raises StoreUnavailable."""
    try:
        connection: Connection = await asyncpg.connect(
            url, command_timeout=answer_within.total_seconds() if answer_within else None, **_given(url)
        )
        await connection.execute(SETTINGS)
    except (asyncpg.PostgresError, *AWAY) as error:
        raise unavailable(error) from error
    except ValueError as error:  # an address that asyncpg cannot read; its words would show it
        raise StoreUnavailable(
            "DATABASE_URL cannot be understood: write postgresql://USER:PASSWORD@HOST/NAME"
        ) from error
    return connection


@asynccontextmanager
async def alone(url: str) -> AsyncIterator[Connection]:
    """Lend a connection of its own for what may take long; what fails in the server becomes StoreUnavailable."""
    connection = await connect(url, answer_within=None)
    try:
        yield connection
    except Exception as error:
        if not is_the_servers(error):
            raise
        raise unavailable(error) from error
    finally:
        connection.terminate()
        await asyncio.sleep(0)  # the loop lets go of the socket with its next step


async def _leave(_connection: Any) -> None:
    """Between two uses there is nothing to reset: no transaction is open, nothing is set and nothing listened to."""


class Wire:
    """The pool, and what becomes of failures."""

    def __init__(self, url: str, *, size: int = POOL) -> None:
        self.url = url
        self._size = size
        self._pool: Pool | None = None

    async def open(self) -> None:
        """Raises StoreUnavailable."""
        try:
            self._pool = await asyncpg.create_pool(
                self.url,
                min_size=0,  # a pool that keeps some up tells of every try in an outage, with tracebacks
                max_size=self._size,
                command_timeout=ANSWER_WITHIN.total_seconds(),
                init=_settle_in,
                reset=_leave,
                **_given(self.url),
            )
        except (asyncpg.PostgresError, *AWAY) as error:
            raise unavailable(error) from error

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            async with asyncio.timeout(CLOSE_WITHIN):
                await pool.close()
        except (TimeoutError, asyncpg.PostgresError, *AWAY):  # then the other side finds out by itself
            pool.terminate()

    def abandon(self) -> None:
        """Cut all connections: who waits for an answer hears at once that there will be none."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.terminate()

    @asynccontextmanager
    async def line(self) -> AsyncIterator[Connection]:
        """Lend a connection; what fails in the server becomes StoreUnavailable, what fails in us stays what it is."""
        if self._pool is None:
            raise StoreUnavailable("the store is closed")
        pool, connection = self._pool, None
        try:
            connection = await pool.acquire(timeout=ANSWER_WITHIN.total_seconds())
            yield connection  # type: ignore[misc] # a proxy, which does the same
        except Exception as error:
            if not is_the_servers(error):
                raise
            if connection is not None and getattr(error, "sqlstate", None) not in STILL_GOOD:
                _cut(connection)
                await pool.expire_connections()  # the others may have ended with it: each is made anew before its use
            raise unavailable(error) from error
        finally:
            if connection is not None:
                await _release(pool, connection)

    async def ask(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do what only reads, or what may be done twice: once more when the connection broke under it."""
        try:
            async with self.line() as connection:
                return await work(connection)
        except StoreUnavailable as error:
            if not may_try_again(error):
                raise
        async with self.line() as connection:
            return await work(connection)

    async def change(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do `work` in one transaction; once more when it was taken back for certain."""
        for last in (False, True):
            try:
                async with self.line() as connection, connection.transaction():
                    return await work(connection)
            except StoreUnavailable as error:
                if last or getattr(error.__cause__, "sqlstate", None) not in UNDONE:
                    raise
        raise AssertionError("not reached")


def may_try_again(error: StoreUnavailable) -> bool:
    """Return whether a new connection may help at once: this one broke, or the other side took it back."""
    cause = error.__cause__
    state = getattr(cause, "sqlstate", None)
    if state is not None:
        return state.startswith("08") or state in (*UNDONE, "25006", "57P01", "57P02")
    return isinstance(cause, AWAY) and not isinstance(cause, TimeoutError)


def is_locked(error: StoreUnavailable) -> bool:
    """Return whether somebody else held a lock for too long."""
    return getattr(error.__cause__, "sqlstate", None) == "55P03"


async def _settle_in(connection: Connection) -> None:
    await connection.execute(SETTINGS)


def _cut(connection: Any) -> None:
    try:
        connection.terminate()
    except asyncpg.InterfaceError:  # the pool has noticed before us, and taken it back
        pass


async def _release(pool: Pool, connection: Any) -> None:
    try:
        await pool.release(connection, timeout=CONNECT_WITHIN.total_seconds())
    except (asyncpg.PostgresError, *AWAY) as error:  # it is gone anyway
        log.debug("store.connection_lost", error=type(error).__name__)
