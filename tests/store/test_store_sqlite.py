"""What is SQLite's own: one file, one writer, group commit, plans, and everything that can be wrong with a file."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge.errors import StoreUnavailable
from bridge.store import _commit, _sqlite_deliver, _sqlite_look, open_store
from bridge.store._sqlite_memory import Memory
from bridge.store.base import Store
from tests.arrivals import ALL, LEASE, LIVING, NOON, arrival, event, settled

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bridge.db"


async def opened(path: Path, *, worker: bool = False) -> Store:
    return await open_store(f"sqlite:///{path}", worker=worker)


def python(code: str, *args: object, **more: object) -> subprocess.Popen[str]:
    """Run `code` in a process of its own, from the project's folder."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, args)],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        **more,  # type: ignore[call-overload]
    )


# -- one sync for all that waits


async def test_two_hundred_at_once_are_few_transactions(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commits: list[int] = []
    real = _commit.transaction

    def counting(db: sqlite3.Connection, batch: list[_commit.Job], *more: Any) -> None:
        commits.append(len(batch))
        real(db, batch, *more)

    monkeypatch.setattr(_commit, "transaction", counting)
    store = await opened(path)
    await asyncio.gather(*(store.accept(arrival(event(n), f"k{n}"), ALL) for n in range(200)))
    await store.close()
    assert sum(commits) == 200
    assert len(commits) <= 5


async def test_an_answer_is_on_the_disk_before_it_is_given(path: Path) -> None:
    """A process is killed at once after each answer: what it has answered is there."""
    code = """
        import asyncio, os, signal, sys
        from bridge.store import open_store
        from tests.arrivals import ALL, arrival, event

        async def main():
            store = await open_store("sqlite:///" + sys.argv[1])
            made = (store.accept(arrival(event(n), f"k{n}"), ALL) for n in range(50))
            for one in asyncio.as_completed(list(made)):
                os.write(1, ((await one).id + "\\n").encode())
                os.kill(os.getpid(), signal.SIGKILL)

        asyncio.run(main())
    """
    process = python(code, path)
    answered = process.communicate()[0].split()
    assert process.returncode == -signal.SIGKILL
    assert len(answered) == 1
    store = await opened(path)
    assert await store.event(answered[0]) is not None
    await store.close()


@pytest.mark.skipif(not Path("/usr/bin/strace").exists(), reason="no strace")
def test_every_answer_comes_after_a_sync(path: Path) -> None:
    code = """
        import asyncio, os, sys
        from bridge.store import open_store
        from tests.arrivals import ALL, arrival, event

        async def main():
            store = await open_store("sqlite:///" + sys.argv[1])
            for number in range(10):
                os.write(1, b"begin")
                await store.accept(arrival(event(number), f"k{number}"), ALL)
                os.write(1, b"answered")

        asyncio.run(main())
    """
    command = ["strace", "-f", "-e", "trace=fsync,fdatasync,write", "-o", f"{path}.trace", sys.executable, "-c"]
    ran = subprocess.run([*command, textwrap.dedent(code), str(path)], cwd=ROOT, check=False, capture_output=True)
    if b"Operation not permitted" in ran.stderr:
        pytest.skip("strace may not trace here")
    assert ran.returncode == 0, ran.stderr
    calls = Path(f"{path}.trace").read_text().splitlines()
    answers = [number for number, call in enumerate(calls) if '"answered' in call]
    begins = [number for number, call in enumerate(calls) if '"begin' in call]
    assert len(answers) == len(begins) == 10
    for begin, answer in zip(begins, answers, strict=True):
        assert any("sync(" in call for call in calls[begin:answer]), "an answer was given before the sync"


@pytest.mark.parametrize(("takes", "threads"), [(0.0001, {"MainThread"}), (0.01, {"bridge-sync_0"})])
async def test_one_event_alone_is_synced_without_a_thread_where_the_disk_is_quick(
    path: Path, monkeypatch: pytest.MonkeyPatch, takes: float, threads: set[str]
) -> None:
    synced: list[str] = []
    store = await opened(path)
    await store.accept(arrival(event(0), "first"), ALL)
    commit = store._commit  # type: ignore[attr-defined]
    monkeypatch.setattr(_commit, "_sync_file", lambda _: synced.append(threading.current_thread().name))
    commit._log.takes = takes
    await store.accept(arrival(event(1), "a"), ALL)
    assert set(synced) == threads
    commit._log.takes = takes
    await asyncio.gather(*(store.accept(arrival(event(n), f"k{n}"), ALL) for n in range(2, 9)))
    assert synced[-1] == "bridge-sync_0", "what many wait for holds up the loop"
    await store.close()


async def test_a_sync_without_a_thread_that_fails_is_no_answer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: int) -> None:
        raise OSError("the disk is gone")

    store = await opened(path)
    await store.accept(arrival(event(0), "first"), ALL)
    store._commit._log.takes = 0.0  # type: ignore[attr-defined]
    with monkeypatch.context() as patched:
        patched.setattr(_commit, "_sync_file", broken)
        with pytest.raises(StoreUnavailable, match="cannot be synced: the disk is gone"):
            await store.accept(arrival(event(1), "a"), ALL)
    await store.accept(arrival(event(2), "b"), ALL)
    await store.close()


async def test_what_was_committed_alone_is_not_done_again_because_the_database_is_locked_then(path: Path) -> None:
    """A job that fails has the others of its transaction done one by one, and another process may come in between."""
    await (await opened(path)).close()
    writer = _commit.GroupCommit(path, Memory())
    other = sqlite3.connect(path, isolation_level=None)
    done: list[str] = []

    def first(db: sqlite3.Connection) -> str:
        db.execute("INSERT INTO places (key, receipt, shown, updated_at) VALUES (hex(randomblob(8)), '', 0, 0)")
        return "first"

    def second(_: sqlite3.Connection) -> str:
        done.append("second")
        if len(done) == 1:
            raise ValueError("a bug")
        other.execute("BEGIN IMMEDIATE")
        asyncio.get_running_loop().call_later(0.02, other.execute, "ROLLBACK")
        raise ValueError("a bug")

    def meanwhile(db: sqlite3.Connection) -> None:
        db.rollback()  # lets the other process in
        second(db)

    jobs = (writer.write(first), writer.write(meanwhile), writer.write(lambda _: "third"))
    answers = await asyncio.gather(*jobs, return_exceptions=True)
    await writer.close()
    assert (answers[0], answers[2]) == ("first", "third")
    assert other.execute("SELECT count(*) FROM places").fetchone() == (1,)
    other.close()


async def test_a_long_read_holds_no_commit_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`bridge export` into a slow pipe, say: the log grows, and nobody waits a second to begin it anew."""
    modes: list[str] = []
    real = _commit._checkpoint

    def noting(path: Path, mode: str) -> tuple[int, int]:
        modes.append(mode)
        return real(path, mode)

    monkeypatch.setattr(_commit, "_checkpoint", noting)
    monkeypatch.setattr(_commit, "CHECKPOINT_AFTER", 10)
    monkeypatch.setattr(_commit, "LONGEST_LOG", 1)
    store = await opened(path)
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM events").fetchone()
    for n in range(40):
        await store.accept(arrival(event(n), f"k{n}"), ALL)
    while_read = list(modes)  # after it, the log may begin anew
    reader.close()
    await store.close()
    assert "PASSIVE" in while_read
    assert "RESTART" not in while_read


# -- plans


async def test_the_claim_uses_its_partial_indexes_and_scans_nothing(path: Path) -> None:
    await (await opened(path)).close()
    db = sqlite3.connect(path)
    numbers = {
        "CLAIM": ("builds", 0.0, 0.0, 4),
        "EXPIRE": ("builds", 0.0, 0.0),
        "NEXT_DUE": ("builds", 0.0),
        "NEXT_LEASE": ("builds",),
        "FOLD": (0.0, "", "lane", "message", 1, 1),
        "LATER": ("lane", "message", 1),
        "LOAD": (1,),
    }
    plans = {
        name: [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {getattr(_sqlite_deliver, name)}", values)]
        for name, values in numbers.items()
    }
    db.close()
    for name, steps in plans.items():
        assert not [step for step in steps if step.startswith("SCAN")], (name, steps)
    assert any("deliveries_due (destination=?" in step for step in plans["CLAIM"])
    assert any("deliveries_lane (lane=? AND id<?)" in step for step in plans["CLAIM"])
    assert any("deliveries_leased (destination=?" in step for step in plans["EXPIRE"])
    for name in ("FOLD", "LATER"):
        assert any("deliveries_lane (lane=? AND id>?)" in step for step in plans[name]), (name, plans[name])


async def test_forgetting_looks_through_no_table(path: Path) -> None:
    """It runs on the loop: with a hundred thousand deliveries kept, one look through them for each run takes 35 s."""
    await (await opened(path)).close()
    db = sqlite3.connect(path)
    statements = {name: text for name, text in vars(_sqlite_look).items() if name.startswith(("OLD_", "PURGE_"))}
    plans = {
        name: [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {text}", (0,) * text.count("?"))]
        for name, text in statements.items()
    }
    db.close()
    assert len(plans) == 10
    for name, steps in plans.items():
        assert not [step for step in steps if step.startswith("SCAN")], (name, steps)


async def test_a_long_history_does_not_slow_the_claim(path: Path) -> None:
    """What is settled is in no index that the claim reads: it looks at as many rows as there are waiting."""
    store = await opened(path)
    await asyncio.gather(*(store.accept(arrival(event(n), f"k{n}"), ALL) for n in range(300)))
    for held in await store.claim("builds", NOON, LEASE, 300):
        await store.settle(settled(held))
    await store.accept(arrival(event(999), "last"), ALL)
    await store.close()
    db = sqlite3.connect(path)
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    db.set_progress_handler(count, 1)
    found = db.execute(_sqlite_deliver.CLAIM, ("builds", NOON.timestamp(), NOON.timestamp() + 9, 4)).fetchall()
    db.close()
    assert len(found) == 1
    assert steps < 400, "a look at the 300 that are settled takes thousands"


# -- another process


async def test_a_locked_database_refuses_after_the_busy_timeout_and_recovers(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_commit, "BUSY_TIMEOUT", timedelta(milliseconds=50))
    store = await opened(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        await store.accept(arrival(event(1), "a"), ALL)
    with pytest.raises(StoreUnavailable):
        await store.ready()
    assert await store.events(limit=9) == [], "reading goes on"
    other.execute("ROLLBACK")
    other.close()
    await store.ready()
    assert not (await store.accept(arrival(event(1), "a"), ALL)).duplicate
    await store.close()


async def test_a_short_lock_is_waited_for(path: Path) -> None:
    store = await opened(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    accepting = asyncio.create_task(store.accept(arrival(event(1), "a"), ALL))
    await store.events(limit=1)  # a round trip through a thread: the writer stands before the lock by now
    other.execute("COMMIT")
    other.close()
    assert (await accepting).state == "routed"
    await store.close()


async def test_a_bug_in_the_writer_refuses_and_the_writer_lives_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await opened(path)
    with monkeypatch.context() as broken:
        broken.setattr(_commit, "transaction", lambda _db, _batch, _memory: 1 // 0)
        with pytest.raises(StoreUnavailable):
            await store.accept(arrival(event(1), "a"), ALL)
    assert (await store.accept(arrival(event(1), "a"), ALL)).state == "routed"
    await store.close()


# -- a full disk


async def test_a_full_disk_refuses_and_is_not_ready_and_recovers_without_a_restart(path: Path) -> None:
    code = """
        import asyncio, resource, signal, sys
        from bridge.errors import StoreUnavailable
        from bridge.store import open_store
        from tests.arrivals import ALL, arrival, event

        async def main():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            store = await open_store("sqlite:///" + sys.argv[1])
            await store.accept(arrival(event(1), "a"), ALL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
            for work in (store.accept(arrival(event(2), "b"), ALL), store.ready()):
                try:
                    await work
                except StoreUnavailable as error:
                    print("refused", error)
            print(len(await store.events(limit=9)), "to be read")
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            await store.ready()
            print((await store.accept(arrival(event(2), "b"), ALL)).duplicate)
            await store.close()

        asyncio.run(main())
    """
    said = python(code, path).communicate()[0].splitlines()
    assert [line.split(":")[0] for line in said] == ["refused the database takes no writes"] * 2 + [
        "1 to be read",
        "False",
    ]
    store = await opened(path)
    assert len(await store.events(limit=9)) == 2
    await store.close()


# -- a file that is none


async def test_a_database_that_cannot_be_opened_says_so_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"away/bridge\.db"):
        await opened(tmp_path / "away" / "bridge.db")
    with pytest.raises(StoreUnavailable, match="cannot open the database"):
        await opened(tmp_path)
    (tmp_path / "text.db").write_text("this is no database, but a text of some length. " * 100)
    with pytest.raises(StoreUnavailable, match="not a database"):
        await opened(tmp_path / "text.db")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_database_that_may_not_be_written_says_so(path: Path) -> None:
    await (await opened(path)).close()
    path.chmod(0o400)
    with pytest.raises(StoreUnavailable):
        await opened(path, worker=True)


async def test_two_processes_that_start_together_take_turns_at_the_schema(path: Path) -> None:
    stores = await asyncio.gather(*(opened(path, worker=True) for _ in range(4)))
    for store in stores:
        await store.ready()
        await store.close()


def test_a_new_file_that_many_open_at_once_lets_them_take_turns(tmp_path: Path) -> None:
    for number in range(10):
        ready = threading.Barrier(8)

        def opens(path: Path = tmp_path / f"{number}.db", ready: threading.Barrier = ready) -> None:
            ready.wait()
            _commit.connect_in_turn(path).close()

        with ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(opens) for _ in range(8)]:
                done.result()


async def test_what_cannot_be_read_back_is_dead_and_holds_nobody_up(path: Path) -> None:
    store = await opened(path)
    await store.accept(arrival(event(1), "a"), LIVING)
    await store.accept(arrival(event(2), "b"), LIVING)
    db = sqlite3.connect(path)
    db.execute("UPDATE deliveries SET target = '{}' WHERE id = 1")
    db.commit()
    db.close()
    (good,) = await store.claim("builds", NOON, LEASE, 9)
    assert good.event.title == "run 2 running"
    assert (await store.depths())["builds"].dead == 1
    await store.close()


async def test_a_claim_that_was_given_up_leaves_nothing_leased(path: Path) -> None:
    store = await opened(path)
    await store.accept(arrival(event(1), "a"), ALL)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    first = asyncio.create_task(store.ready())
    await asyncio.sleep(0)
    await store.events(limit=1)  # the writer waits for the lock with the first job
    claiming = asyncio.create_task(store.claim("builds", NOON, LEASE, 9))
    await asyncio.sleep(0)
    claiming.cancel()
    await asyncio.gather(claiming, return_exceptions=True)
    other.execute("COMMIT")
    other.close()
    await first
    assert len(await store.claim("builds", NOON, LEASE, 9)) == 1
    await store.close()
