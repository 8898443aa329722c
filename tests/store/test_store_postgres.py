"""What is PostgreSQL's own: processes that do things at once, plans, the schema's versions, and a server that fails."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from bridge import codec
from bridge.errors import StoreUnavailable
from bridge.event import Change, Track
from bridge.receive import Deciding
from bridge.store import (
    _postgres_batch,
    _postgres_deliver,
    _postgres_keys,
    _postgres_listen,
    _postgres_wire,
    open_store,
)
from bridge.store import postgres as engine
from bridge.store._postgres_keys import WORKING, lock_statement, run_lock
from bridge.store.base import Accepted, Arrival, Store
from bridge.store.migrating import migration, migrations
from bridge.store.postgres import PostgresStore
from tests import postgres
from tests.arrivals import ALL, LEASE, LIVING, NOON, Failing, after, arrival, event, rule, settled, task
from tests.store.conftest import write


@pytest.fixture
async def pair(postgres_url: str) -> AsyncIterator[tuple[PostgresStore, PostgresStore]]:
    """Two processes on one database, as far as the server can tell."""
    one, two = [await PostgresStore.open(postgres_url) for _ in range(2)]
    yield one, two
    await one.close()
    await two.close()


@pytest.fixture
async def one(postgres_url: str) -> AsyncIterator[PostgresStore]:
    store = await PostgresStore.open(postgres_url)
    yield store
    await store.close()


async def asked(url: str, statement: str, *given: Any) -> list[Any]:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetch(statement, *given)
    finally:
        await connection.close()


async def no_lane_is_without_its_head(url: str) -> None:
    waiting = await asked(url, "SELECT lane, head FROM deliveries WHERE state IN ('pending', 'sending') ORDER BY id")
    known: set[str] = set()
    for row in waiting:
        assert row["head"] == (row["lane"] not in known), row
        known.add(row["lane"])


# -- several processes


Told = tuple[tuple[Change | None, str | None], ...]


async def told(store: Store, branch: str) -> Told:
    """What was said of the first and the second run of a branch: the change, and which result was known already."""
    found = {}
    for stored in await store.events(limit=9_999):
        if stored.event and stored.event.branch == branch and stored.event.run:
            found[stored.event.run.number] = (stored.event.change, stored.event.overtaken_by)
    return found[1], found[2]


def results(branch: str, words: tuple[str, str]) -> list[Arrival]:
    """The results of two runs of one branch."""
    return [
        arrival(event(f"{branch}-{number}", word, branch=branch, number=number), f"{branch} {number}")
        for number, word in enumerate(words, 1)
    ]


async def test_results_that_two_processes_take_at_once_are_compared_as_if_one_had_come_after_the_other(
    pair: tuple[PostgresStore, PostgresStore], postgres_url: str, tmp_path: Path
) -> None:
    dice = random.Random(3)
    possible: dict[tuple[str, str], set[Told]] = {}
    serial = await open_store(f"sqlite:///{tmp_path}/serial.db")
    for words in product(("success", "failure"), repeat=2):
        for order in (1, -1):
            branch = f"{words} {order}"
            for one in results(branch, words)[::order]:
                await serial.accept(one, ALL)
            possible.setdefault(words, set()).add(await told(serial, branch))
    await serial.close()
    for number in range(60):
        words = (dice.choice(("success", "failure")), dice.choice(("success", "failure")))
        stores = dice.sample(pair, 2)
        made = zip(stores, results(f"branch {number}", words), strict=True)
        await asyncio.gather(*(store.accept(one, ALL) for store, one in made))
        assert await told(pair[0], f"branch {number}") in possible[words]
    tracks = await asked(postgres_url, "SELECT track FROM tracks")
    assert [len(codec.load(row["track"], Track).results) for row in tracks] == [2] * 60


async def test_versions_of_a_run_are_counted_without_a_gap_by_two_processes(
    pair: tuple[PostgresStore, PostgresStore],
) -> None:
    await pair[0].accept(arrival(event(1), "begin"), LIVING)
    tasks = [arrival(task(1, f"t{number}", "running"), f"k{number}") for number in range(60)]
    await asyncio.gather(*(pair[place % 2].accept(one, LIVING) for place, one in enumerate(tasks)))
    (claimed,) = await pair[0].claim("builds", NOON, LEASE, 9)
    assert claimed.run is not None
    assert (claimed.run.version, len(claimed.run.tasks)) == (61, 60)


async def test_the_same_delivery_in_two_processes_at_once_speaks_once(
    pair: tuple[PostgresStore, PostgresStore],
) -> None:
    for number in range(20):
        made = arrival(event(number), f"k{number}")
        answers = await asyncio.gather(*(store.accept(made, ALL) for store in pair for _ in range(3)))
        assert [answer.duplicate for answer in answers].count(False) == 1
        assert len({answer.id for answer in answers}) == 1
    assert len(await pair[0].deliveries(limit=99)) == 20


async def test_whoever_ends_a_delivery_and_whoever_adds_to_its_lane_agree_on_the_next_one(
    pair: tuple[PostgresStore, PostgresStore], postgres_url: str
) -> None:
    one, two = pair
    await one.accept(arrival(task(1, "first", "running"), "first"), ALL_TASKS)
    for number in range(80):
        (held,) = await two.claim("builds", NOON, LEASE, 4)
        added = arrival(task(1, f"t{number}", "running"), f"k{number}")
        await asyncio.gather(two.settle(settled(held)), one.accept(added, ALL_TASKS))
    await no_lane_is_without_its_head(postgres_url)


ALL_TASKS = Deciding([rule("builds", kind="task")])


async def test_what_another_process_accepts_wakes_the_couriers_of_this_one(
    pair: tuple[PostgresStore, PostgresStore],
) -> None:
    one, two = pair
    woken: list[str] = []
    heard = asyncio.Event()
    two.on_owed(lambda name: (woken.append(name), heard.set()))  # type: ignore[func-returns-value]
    await one.accept(arrival(event(1), "a"), ALL)
    async with asyncio.timeout(5):
        await heard.wait()
    assert woken == ["builds"]


async def test_what_a_process_with_a_clock_ahead_takes_in_is_due_at_once(one: PostgresStore) -> None:
    ahead = (datetime.now(UTC) + timedelta(hours=1) - NOON).total_seconds()
    await one.accept(arrival(event(1), "1", ahead), ALL)
    assert len(await one.claim("builds", datetime.now(UTC) + timedelta(seconds=1), LEASE, 9)) == 1


async def test_while_a_destination_rests_no_worker_gets_anything_for_it(one: PostgresStore, postgres_url: str) -> None:
    await one.accept(arrival(event(1), "a"), ALL)
    write(
        postgres_url,
        "INSERT INTO health (destination, ok, text, at, failures, rest_until) "
        f"VALUES ('builds', 0, '', 0, 1, {after(10).timestamp()})",
    )
    assert await one.claim("builds", after(9), LEASE, 4) == []
    assert len(await one.claim("builds", after(10), LEASE, 4)) == 1


# -- one transaction for all that waits


async def test_two_hundred_at_once_are_few_transactions(one: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    real = one._accept

    async def counting(batch: list[Any]) -> list[Any]:
        sizes.append(len(batch))
        return await real(batch)

    monkeypatch.setattr(one._accepting, "_do", counting)
    await asyncio.gather(*(one.accept(arrival(event(n), f"k{n}"), ALL) for n in range(200)))
    assert sum(sizes) == 200
    assert len(sizes) <= 3


async def test_within_one_batch_later_arrivals_know_what_earlier_ones_changed(one: PostgresStore) -> None:
    words = ("queued", "running", "failure")
    made = [arrival(event(number, word), f"{number} {word}", number) for number in (1, 2) for word in words]
    answers = await asyncio.gather(*(one.accept(one_, LIVING) for one_ in [*made, *made]))
    assert [answer.duplicate for answer in answers] == [False] * 6 + [True] * 6
    assert [answer.id for answer in answers[6:]] == [answer.id for answer in answers[:6]]
    changes = [stored.event.change for stored in await one.events(limit=9) if stored.event]
    assert changes[0] is Change.STILL_FAILING
    assert changes.count(Change.BROKEN) == 1


async def test_an_arrival_that_cannot_be_written_fails_alone(one: PostgresStore, postgres_url: str) -> None:
    write(postgres_url, "ALTER TABLE runs ADD CONSTRAINT odd CHECK (key NOT LIKE '%|13')")
    try:
        answers = await asyncio.gather(
            *(one.accept(arrival(event(n), f"k{n}"), ALL) for n in range(12, 15)), return_exceptions=True
        )
    finally:
        write(postgres_url, "ALTER TABLE runs DROP CONSTRAINT odd")
    assert [isinstance(answer, BaseException) for answer in answers] == [False, True, False]


async def test_who_gave_up_waiting_is_not_served(one: PostgresStore) -> None:
    served: list[int] = []
    gate = asyncio.Event()

    async def do(batch: list[_postgres_batch.Waiting[int, None]]) -> list[_postgres_batch.Waiting[int, None]]:
        await gate.wait()
        served.extend(waiting.work for waiting in batch)
        for waiting in batch:
            waiting.answer(None)
        return []

    batches = _postgres_batch.Batches(do)
    tasks = [asyncio.create_task(batches.add(number)) for number in range(3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    late = asyncio.create_task(batches.add(9))
    await asyncio.sleep(0)
    late.cancel()
    gate.set()
    await asyncio.gather(*tasks, late, return_exceptions=True)
    await batches.close()
    assert served == [0, 1, 2]


# -- what senders choose


@pytest.mark.parametrize("odd", ["a\x00b", "\ud800", "n" * 5_000, "ü" * 2_000, "''; DROP TABLE runs; --"])
async def test_no_key_or_text_that_a_sender_chooses_is_refused(one: PostgresStore, odd: str) -> None:
    said = event(1, "failure", pipeline=odd, branch=odd)
    first = await one.accept(arrival(said.with_(title="fine"), odd), LIVING)
    again = await one.accept(arrival(said.with_(title="fine"), odd), LIVING)
    assert (again.duplicate, again.id) == (True, first.id)
    await one.accept(arrival(None, odd + "b", problem=odd), ALL)
    for held in await one.claim("builds", NOON, LEASE, 9):
        await one.settle(settled(held, "dead", outcome="dead", text=odd, receipt={"ts": odd}))
    assert await one.events(limit=9, source=odd) == []


def test_two_long_keys_that_begin_alike_stay_two() -> None:
    one, two = (_postgres_keys.fit_key("x" * 3_000 + end) for end in "ab")
    assert one != two
    assert len(one.encode()) <= _postgres_keys.LONGEST_KEY
    assert _postgres_keys.fit_key("acme/app") == "acme/app"
    assert _postgres_keys.fit_key("a\x00") != _postgres_keys.fit_key("a\ufffd")


def test_locks_are_taken_in_one_order_whatever_they_were_asked_in() -> None:
    numbers = [_postgres_keys.lock_number("run", str(number)) for number in range(9)]
    assert _postgres_keys.lock_statement(numbers) == _postgres_keys.lock_statement(reversed(numbers))
    assert _postgres_keys.lock_number("a", "bc") != _postgres_keys.lock_number("ab", "c")


# -- the schema


@pytest.fixture
def empty_url() -> Iterator[str]:
    made = postgres.databases().empty()
    yield made
    postgres.databases().drop(made)


NEXT = migrations("postgres")[-1].version + 1  # what a newer bridge would bring
ADDED = migration(NEXT, "-- readable from 1\nALTER TABLE runs ADD COLUMN colour text")
BROKEN_WITH = migration(NEXT + 1, f"-- readable from {NEXT + 1}\nALTER TABLE runs RENAME COLUMN colour TO color")


async def test_processes_that_start_together_take_turns_at_the_schema(empty_url: str) -> None:
    stores = await asyncio.gather(*(PostgresStore.open(empty_url, worker=True) for _ in range(4)))
    for store in stores:
        await store.ready()
        await store.close()
    assert [row[0] for row in await asked(empty_url, "SELECT version FROM schema_versions")] == [*range(1, NEXT)]


async def test_old_code_runs_on_a_schema_that_says_it_is_readable_from_there(empty_url: str) -> None:
    ours = migrations("postgres")
    await engine.migrate(empty_url, [*ours, ADDED])
    old = await PostgresStore.open(empty_url, worker=True)
    assert (await old.accept(arrival(event(1), "a"), ALL)).state == "routed"
    await old.close()
    assert [row[0] for row in await asked(empty_url, "SELECT max(version) FROM schema_versions")] == [NEXT]


async def test_old_code_is_refused_by_a_schema_that_it_cannot_read(empty_url: str) -> None:
    await engine.migrate(empty_url, [*migrations("postgres"), ADDED, BROKEN_WITH])
    with pytest.raises(StoreUnavailable, match="brought forward by a newer bridge"):
        await PostgresStore.open(empty_url)


async def test_new_code_brings_an_old_schema_forward_while_old_code_goes_on(empty_url: str) -> None:
    old = await PostgresStore.open(empty_url)
    await old.accept(arrival(event(1), "a"), ALL)
    await engine.migrate(empty_url, [*migrations("postgres"), ADDED])
    assert (await old.accept(arrival(event(2), "b"), ALL)).state == "routed"
    assert len(await old.claim("builds", NOON, LEASE, 9)) == 2
    await old.close()


async def test_a_step_that_fails_leaves_the_schema_as_it_was(empty_url: str) -> None:
    ours = migrations("postgres")
    wrong = migration(NEXT, "ALTER TABLE runs ADD COLUMN colour text; SELECT 1 / 0")
    with pytest.raises(asyncpg.PostgresError):
        await engine.migrate(empty_url, [*ours, wrong])
    await engine.migrate(empty_url, [*ours, ADDED])


def test_a_step_without_a_word_on_it_is_readable_by_nothing_older() -> None:
    assert migration(7, "ALTER TABLE runs ...").readable_from == 7
    assert all(step.readable_from <= step.version for step in migrations("postgres"))


# -- a server that fails


async def test_a_server_that_goes_away_during_the_start_is_told_in_words(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(*_: object) -> None:
        raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

    monkeypatch.setattr(_postgres_listen, "_begin_to_work", gone)
    with pytest.raises(StoreUnavailable):
        await PostgresStore.open(postgres_url, worker=True)


async def test_connections_that_the_server_ends_are_made_anew(one: PostgresStore, postgres_url: str) -> None:
    await one.accept(arrival(event(1), "a"), ALL)
    write(postgres_url, postgres.OTHERS_OUT)
    assert (await one.accept(arrival(event(2), "b"), ALL)).state == "routed"
    write(postgres_url, postgres.OTHERS_OUT)
    assert len(await one.events(limit=9)) == 2
    (first, _second) = await one.claim("builds", NOON, LEASE, 9)
    write(postgres_url, postgres.OTHERS_OUT)
    await one.settle(settled(first))
    assert [stored.id for stored in await one.deliveries(limit=9, state="done")] == [first.id]


async def test_a_commit_whose_answer_is_lost_is_a_refusal_and_the_sender_who_comes_again_is_known(
    one: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = asyncpg.Connection.execute

    async def cut(connection: Any, statement: str, *given: Any, **more: Any) -> Any:
        done = await real(connection, statement, *given, **more)
        if statement == "COMMIT":
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
        return done

    with monkeypatch.context() as broken:
        broken.setattr(asyncpg.Connection, "execute", cut)
        with pytest.raises(StoreUnavailable):
            await one.accept(arrival(event(1), "a"), ALL)
    assert (await one.accept(arrival(event(1), "a"), ALL)).duplicate
    assert len(await one.deliveries(limit=9)) == 1


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (asyncpg.ReadOnlySQLTransactionError("cannot execute INSERT"), "read-only"),
        (asyncpg.TooManyConnectionsError("sorry"), "no connection left"),
        (asyncpg.DiskFullError("no space at /var/lib/secret"), "no space left"),
        (asyncpg.CannotConnectNowError("starting up"), "starting"),
        (asyncpg.AdminShutdownError("terminating"), "shut down"),
        (asyncpg.LockNotAvailableError("lock"), "locked"),
        (asyncpg.QueryCanceledError("statement timeout"), "took too long"),
        (asyncpg.DeadlockDetectedError("deadlock"), "two changes at once"),
        (asyncpg.InvalidPasswordError('password authentication failed for user "secret"'), "password"),
        (TimeoutError(), "in time"),
        (ConnectionRefusedError(111, "Connect call failed ('secret', 5432)"), "reached"),
        (asyncpg.InterfaceError("connection is closed"), "reached"),
        (OSError("Multiple exceptions: secret"), "reached"),
    ],
)
def test_whatever_the_server_does_is_said_without_its_address(error: Exception, said: str) -> None:
    assert _postgres_wire.is_the_servers(error)
    text = str(_postgres_wire.unavailable(error))
    assert said in text
    assert "secret" not in text


@pytest.mark.parametrize("error", [ValueError("ours"), asyncpg.CheckViolationError("ours"), ZeroDivisionError()])
def test_what_is_our_own_fault_stays_what_it_is(error: Exception) -> None:
    assert not _postgres_wire.is_the_servers(error)


@pytest.mark.parametrize(
    "url", ["postgresql://bridge:hush@127.0.0.1:1/b", "postgres://bridge:hush@127.0.0.1:x/b", "postgresql://[::1/hush"]
)
async def test_an_address_that_leads_nowhere_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(StoreUnavailable) as refused:
        await PostgresStore.open(url)
    assert "hush" not in str(refused.value)
    assert "127.0.0.1" not in str(refused.value)


async def test_what_cannot_be_read_back_is_dead_and_the_next_of_its_lane_goes_on(
    one: PostgresStore, postgres_url: str
) -> None:
    await one.accept(arrival(event(1, "queued"), "a"), ALL)
    await one.accept(arrival(event(1, "running"), "b"), ALL)
    write(postgres_url, "UPDATE deliveries SET target = '{}' WHERE id = 1")
    assert await one.claim("builds", NOON, LEASE, 9) == []
    (good,) = await one.claim("builds", NOON, LEASE, 9)
    assert (good.id, (await one.depths())["builds"].dead) == ("d2", 1)


async def test_orphans_that_are_buried_leave_younger_ones_of_their_lane_a_head(
    one: PostgresStore, postgres_url: str
) -> None:
    await one.accept(arrival(event(1, "queued"), "a"), ALL)
    await one.accept(arrival(event(1, "running"), "b", 60), ALL)
    assert await one.bury(["oncall"], after(30), after(61)) == 1
    await no_lane_is_without_its_head(postgres_url)
    assert len(await one.claim("builds", after(61), LEASE, 9)) == 1


class Halfway:
    """A connection that lets `meanwhile` begin, and come to wait for it, before it names new heads."""

    def __init__(self, connection: Any, url: str, meanwhile: Coroutine[Any, Any, None]) -> None:
        self.fetch = connection.fetch
        self.task: asyncio.Task[None] | None = None
        self._connection, self._url, self._meanwhile = connection, url, meanwhile

    async def execute(self, statement: str, *given: Any) -> None:
        if statement == _postgres_deliver.PROMOTE:
            self.task = asyncio.create_task(self._meanwhile)
            while not self.task.done() and not await asked(self._url, "SELECT 1 FROM pg_locks WHERE NOT granted"):
                pass
        await self._connection.execute(statement, *given)


async def test_orphans_that_are_buried_while_the_head_of_their_lane_ends_elsewhere_leave_it_a_head(
    one: PostgresStore, postgres_url: str
) -> None:
    """In a deploy a worker of another configuration may still deliver what the leader knows no destination for."""
    for number, status in enumerate(("queued", "running", "success")):
        await one.accept(arrival(event(1, status), status, 30 * number), ALL)
    (held,) = await one.claim("builds", NOON, LEASE, 9)
    connection = await asyncpg.connect(postgres_url)
    async with connection.transaction():
        halfway: Any = Halfway(connection, postgres_url, one.settle(settled(held)))
        assert await engine._bury(halfway, ["oncall"], after(45).timestamp(), after(61).timestamp()) == 1
    await halfway.task
    await connection.close()
    await no_lane_is_without_its_head(postgres_url)
    assert [last.id for last in await one.claim("builds", after(61), LEASE, 9)] == ["d3"]


async def test_a_replay_behind_what_waits_is_not_overtaking_it(one: PostgresStore, postgres_url: str) -> None:
    await one.accept(arrival(event(1, "queued"), "a"), ALL)
    (first,) = await one.claim("builds", NOON, LEASE, 9)
    await one.settle(settled(first, "dead", outcome="dead"))
    await one.accept(arrival(event(1, "running"), "b"), ALL)
    (new,) = await one.replay([first.id], NOON)
    await no_lane_is_without_its_head(postgres_url)
    (second,) = await one.claim("builds", NOON, LEASE, 9)
    assert second.id != new


async def test_two_processes_route_a_stuck_event_once(pair: tuple[PostgresStore, PostgresStore]) -> None:
    await pair[0].accept(arrival(event(1), "a"), Failing())
    assert sum(await asyncio.gather(*(store.route_stuck(ALL) for store in pair))) == 1
    assert len(await pair[0].deliveries(limit=9)) == 1


# -- others in the way -------------------------------------------------------------------------------------------------


async def test_a_run_that_somebody_holds_is_in_nobody_elses_way(postgres_url: str) -> None:
    """A web that stands still within its transaction holds the locks of its runs: only these are refused."""
    store = await open_store(postgres_url)
    other = await asyncpg.connect(postgres_url)
    held = ALL.run_key(event(1))
    transaction = other.transaction()
    await transaction.start()
    await other.execute(lock_statement([run_lock(held, 0)]))
    await other.execute("SET lock_timeout = 0")
    for wire in (store._front,):  # type: ignore[attr-defined]
        async with wire.line() as connection:
            await connection.execute("SET lock_timeout = '100ms'")
    many = (store.accept(arrival(event(number), f"k{number}"), ALL) for number in (1, 2, 3))
    answers = await asyncio.gather(*many, return_exceptions=True)
    assert isinstance(answers[0], StoreUnavailable)
    assert [isinstance(answer, Accepted) for answer in answers[1:]] == [True, True]
    await transaction.rollback()
    await other.close()
    assert not (await store.accept(arrival(event(1), "k1"), ALL)).duplicate
    await store.close()


async def test_a_silent_database_is_let_go(postgres_url: str) -> None:
    """`abandon` ends what waits for an answer that does not come."""
    store = await open_store(postgres_url)
    other = await asyncpg.connect(postgres_url)
    await other.execute("BEGIN; LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
    accepting = asyncio.create_task(store.accept(arrival(event(1), "a"), ALL))
    while not await other.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
        await asyncio.sleep(0)
    store.abandon()
    with pytest.raises(StoreUnavailable):
        await accepting
    await store.close()
    await other.close()


async def test_a_worker_that_comes_before_the_others_are_back_takes_nothing_from_them(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_store(postgres_url)
    await store.accept(arrival(event(1), "a"), ALL)
    (held,) = await store.claim("builds", NOON, LEASE, 9)
    back = await asyncpg.connect(postgres_url)
    waiting = asyncio.Event()

    async def come_back(seconds: float) -> None:
        """The other worker reconnects while the new one listens whether he is alone."""
        if seconds == _postgres_listen.ALONE_FOR and not waiting.is_set():
            waiting.set()
            coming = asyncio.create_task(back.execute(f"SELECT pg_advisory_lock_shared({WORKING})"))
            looking = await asyncpg.connect(postgres_url)
            while not await looking.fetchval(_postgres_listen.WAITED_FOR, WORKING):
                await real(0)
            await looking.close()
            came.append(coming)
            return
        await real(seconds)

    came: list[asyncio.Task[str]] = []
    real = asyncio.sleep
    monkeypatch.setattr(_postgres_listen.asyncio, "sleep", come_back)
    new = await open_store(postgres_url, worker=True)
    monkeypatch.undo()
    await came[0]
    assert waiting.is_set()
    assert (await new.claim("builds", NOON, LEASE, 9)) == [], "somebody holds it"
    await store.settle(settled(held))
    assert [one.state for one in await store.deliveries(limit=9)] == ["done"]
    await back.close()
    await new.close()
    await store.close()
