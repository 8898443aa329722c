"""What happens when PostgreSQL is stopped, fails over, throws us out, is locked, full, or not there at all?

A server of its own: these tests stop it. Nothing here restarts bridge: that is the point.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import asyncpg
import pytest

from bridge.errors import StoreUnavailable
from bridge.store import open_store
from bridge.store.base import Accepted, Limit, Store
from tests.arrivals import ALL, LEASE, LIVING, NOON, after, arrival, event, settled, task
from tests.fakes.slack import TOKEN
from tests.postgres import Databases, PostgresServer
from tests.running import Server, write_config

T = TypeVar("T")

CONNECTIONS = 30
TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = $1"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    made = PostgresServer(max_connections=str(CONNECTIONS)).start()
    yield made
    made.close()


@pytest.fixture(scope="module")
def databases(server: PostgresServer) -> Databases:
    return Databases(server.url)


@pytest.fixture
def address(databases: Databases) -> Iterator[str]:
    url = databases.migrated()
    yield url
    databases.drop(url)


@pytest.fixture
async def store(address: str) -> AsyncIterator[Store]:
    opened = await open_store(address, worker=True)
    yield opened
    await opened.close()


@asynccontextmanager
async def stopped(server: PostgresServer) -> AsyncIterator[None]:
    await asyncio.to_thread(server.stop, "immediate")
    try:
        yield
    finally:
        await asyncio.to_thread(server.start)


async def insist(work: Callable[[], Awaitable[T]], within: float = 20) -> T:
    """Do `work` again and again while the store is unavailable, as a sender or a courier would."""
    async with asyncio.timeout(within):
        while True:
            try:
                return await work()
            except StoreUnavailable:
                await asyncio.sleep(0.01)


async def accept(store: Store, number: int) -> Accepted:
    return await store.accept(arrival(event(number), f"k{number}", number), ALL)


async def titles(store: Store) -> list[str]:
    return sorted(one.event.title or "" for one in await store.events(limit=9_999) if one.event)


async def test_a_server_that_crashed_is_found_again_and_nothing_accepted_is_lost(
    store: Store, server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    await asyncio.gather(*(accept(store, number) for number in range(4)))
    held, *_ = await store.claim("builds", NOON, LEASE, 1)
    await accept(store, 4)  # which is synced, and with it the claim
    assert await store.lead() is True
    assert store.limits is not None
    async with stopped(server):
        for work in (
            accept(store, 5),
            store.settle(settled(held)),
            store.claim("builds", NOON, LEASE, 1),
            store.ready(),
            store.limits.take([Limit("one", 1)]),
            store.limits.pause([Limit("one", 1)], 1),
            store.conditions(),
            store.lead(),
            store.deliveries(limit=1),
        ):
            with pytest.raises(StoreUnavailable) as caught:
                await work
            assert "127.0.0.1" not in str(caught.value)
    assert (await insist(lambda: accept(store, 5))).destinations == ("builds",)
    assert await titles(store) == [f"run {number} running" for number in range(6)]
    await store.settle(settled(held))
    assert (await store.delivery(held.id)).state == "done"  # type: ignore[union-attr]
    assert caplog.text == "", "asyncpg tells nobody"


async def test_what_other_processes_take_is_heard_again_after_an_outage(
    store: Store, server: PostgresServer, address: str
) -> None:
    woken = asyncio.Event()
    store.on_owed(lambda _: woken.set())
    async with stopped(server):
        pass
    assert await insist(store.lead) is True, "it listens, and leads again"
    woken.clear()
    other = await open_store(address)
    await accept(other, 1)
    async with asyncio.timeout(10):
        await woken.wait()
    await other.close()


async def test_a_server_that_became_read_only_is_left_and_taken_again(store: Store, server: PostgresServer) -> None:
    await accept(store, 1)
    server.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    server.execute("SELECT pg_reload_conf()")
    try:
        refused = 0
        while not refused:
            try:
                await accept(store, 100 + random.randrange(1_000_000))
            except StoreUnavailable:
                refused += 1
        with pytest.raises(StoreUnavailable):
            await store.ready()
    finally:
        server.execute("ALTER SYSTEM RESET default_transaction_read_only")
        server.execute("SELECT pg_reload_conf()")
    assert (await insist(lambda: accept(store, 2))).state == "routed"
    await insist(store.ready)


async def test_connections_that_are_thrown_out_at_any_moment_cost_nothing(
    store: Store, address: str, server: PostgresServer
) -> None:
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    name = address.rpartition("/")[2]
    done = asyncio.Event()

    async def throw_out() -> None:
        connection = await asyncpg.connect(server.url)
        for _ in range(20):  # on a slow machine nobody would ever get through if this went on
            await connection.execute("SELECT pg_sleep($1 / 1000.0)".replace("$1", str(dice.randrange(40))))
            await connection.fetch(TERMINATE, name)
        await connection.close()

    async def send(number: int) -> str:
        """As a sender that tries again with the same delivery id."""
        one = arrival(task(number % 4, f"t{number}", "success"), f"k{number}", number)
        return (await insist(lambda: store.accept(one, LIVING))).id

    shown: dict[str, int] = {}

    async def deliver() -> None:
        while not done.is_set():
            for held in await insist(lambda: store.claim("builds", after(50), LEASE, 4)):
                assert held.run is not None
                if held.shown < held.run.version:
                    assert held.run.version > shown.get(held.run.key, 0), f"seed {seed}: an edit went back"
                    shown[held.run.key] = held.run.version
                settlement = settled(held, at=50, receipt={"ts": held.run.key}, shown=held.run.version)
                await insist(lambda settlement=settlement: store.settle(settlement))  # type: ignore[misc]
            await asyncio.sleep(0)

    throwing, delivering = asyncio.create_task(throw_out()), asyncio.create_task(deliver())
    ids: list[str] = []
    for first in range(0, 80, 8):
        ids += await asyncio.gather(*(send(number) for number in range(first, first + 8)))
    done.set()
    await asyncio.gather(throwing, delivering)
    assert len(set(ids)) == 80, f"seed {seed}"
    kept = await insist(lambda: store.events(limit=9_999))
    assert sorted(one.id for one in kept) == sorted(ids), f"seed {seed}: none lost, none twice"


async def test_no_connection_left_is_said_and_got_over(store: Store, server: PostgresServer, address: str) -> None:
    await accept(store, 1)
    async with AsyncExitStack() as held:

        async def hold() -> None:
            connection = await asyncpg.connect(address)
            held.push_async_callback(connection.close)

        with pytest.raises(asyncpg.TooManyConnectionsError):
            await asyncio.gather(*(hold() for _ in range(CONNECTIONS)))
        assert (await accept(store, 2)).state == "routed", "what it has, it keeps"
        with pytest.raises(StoreUnavailable, match="no connection left"):
            await open_store(address)
    other = await insist(lambda: open_store(address))
    assert (await accept(other, 3)).state == "routed"
    await other.close()


@pytest.mark.parametrize("role", ["all", "web", "worker"])
async def test_a_server_that_is_not_there_is_said_at_the_start_and_ends_it(tmp_path: Path, role: str) -> None:
    """The platform starts it again, and its log says why."""
    config = write_config(tmp_path, f'destinations:\n  one: {{type: slack, token: {TOKEN}, channel: "#c"}}\n')
    url = "postgresql://someone:made-up-password@127.0.0.1:9/bridge"
    server = await Server.start(config, "--role", role, environ={"DATABASE_URL": url}, listens=False)
    assert await server.ended() == 1
    assert "the database cannot be reached" in server.all_text
    for hidden in ("Traceback", "made-up-password", "someone", "127.0.0.1:9"):
        assert hidden not in server.all_text


@pytest.mark.slow
async def test_a_table_that_is_locked_for_long_is_an_answer_in_time(store: Store, address: str) -> None:
    """A sender waits ten seconds: he hears 503 before."""
    await accept(store, 1)
    connection = await asyncpg.connect(address)
    async with connection.transaction():
        await connection.execute("LOCK TABLE deliveries, events IN ACCESS EXCLUSIVE MODE")
        async with asyncio.timeout(9):
            with pytest.raises(StoreUnavailable, match="locked"):
                await accept(store, 2)
    assert (await insist(lambda: accept(store, 2))).state == "routed"
    await connection.close()


@pytest.mark.slow
async def test_a_server_that_is_silent_is_given_up_and_found_again(address: str) -> None:
    """A machine that vanishes closes no connection."""
    silent = asyncio.Event()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(65_536):
                if silent.is_set():
                    await silent_for_ever()
                writer.write(chunk)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def silent_for_ever() -> None:
        while silent.is_set():
            await asyncio.sleep(0.05)
        raise OSError

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", int(address.split(":")[-1].split("/")[0]))
        await asyncio.gather(pass_on(reader, back), pass_on(there, writer))

    proxy = await asyncio.start_server(meet, "127.0.0.1", 0)
    port = proxy.sockets[0].getsockname()[1]
    store = await open_store(f"postgresql://bridge@127.0.0.1:{port}/{address.rpartition('/')[2]}")
    await accept(store, 1)
    silent.set()
    async with asyncio.timeout(15):
        with pytest.raises(StoreUnavailable, match="in time"):
            await accept(store, 2)
    silent.clear()
    assert (await insist(lambda: accept(store, 2), 40)).state == "routed"
    await store.close()
    proxy.close()
