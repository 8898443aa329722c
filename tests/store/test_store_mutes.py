"""Are mutes kept, ended, seen by every process, moved, and forgotten when they are long over?"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from click.testing import CliRunner

from bridge.cli import bridge
from bridge.store import open_store, sqlite
from bridge.store.base import Mute, Store
from bridge.store.migrating import migrations
from tests.altered import replace
from tests.arrivals import ALL, LEASE, NOON, after, arrival, event, settled
from tests.store.conftest import OpenStore

WHY = "muted by m1 (all) until 2026-01-01 13:00 UTC"


T = TypeVar("T")


def on(url: str, work: Callable[[Store], Awaitable[T]]) -> T:
    async def whole() -> T:
        store = await open_store(url)
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(whole())


def mute(at: float = 0, until: float = 3_600, **words: str) -> Mute:
    return Mute(since=after(at), until=after(until), **words)


async def test_a_mute_is_kept_word_by_word_over_a_restart(store: Store, reopen: OpenStore) -> None:
    told = [mute(rule="main is broken"), mute(repository="acme/*", branch="release/**", reason="we release"), mute()]
    ids = [await store.mute(one) for one in told]
    await store.close()
    found = await (await reopen()).mutes(NOON)
    assert found == [replace(one, id=key) for one, key in zip(told, ids, strict=True)]
    assert ids == ["m1", "m2", "m3"]


async def test_another_process_sees_and_ends_it(reopen: OpenStore) -> None:
    one, other = await reopen(), await reopen()
    await one.mute(mute(rule="noisy"))
    assert [found.rule for found in await other.mutes(NOON)] == ["noisy"]
    assert await other.unmute(["m1"], after(60)) == ["m1"]
    assert await one.mutes(after(60)) == []
    assert [found.until for found in await one.mutes(NOON)] == [after(60)], "that it held is still known"


async def test_the_same_words_again_set_a_new_end(store: Store) -> None:
    await store.mute(mute(0, 7_200, repository="acme/app"))
    await store.mute(mute(0, 7_200, repository="acme/app", branch="main"))
    await store.mute(mute(60, 600, repository="acme/app"))
    found = {one.id: (one.since, one.until) for one in await store.mutes(NOON)}
    assert found == {"m1": (NOON, after(60)), "m2": (NOON, after(7_200)), "m3": (after(60), after(600))}


async def test_only_what_still_holds_can_be_ended(store: Store) -> None:
    await store.mute(mute(0, 60))
    assert await store.unmute(["m1", "m2", "e1", "", "m\u0663", "m" + "9" * 30], after(61)) == []
    assert [one.until for one in await store.mutes(NOON)] == [after(60)]


async def test_odd_words_do_no_harm(store: Store) -> None:
    await store.mute(mute(rule="half \ud83d", reason="a \0 b'; DROP TABLE mutes"))
    (found,) = await store.mutes(NOON)
    assert (found.rule, found.reason) == ("half ?", "a  b'; DROP TABLE mutes")


async def test_a_mute_that_is_long_over_is_forgotten(store: Store) -> None:
    for until in (60, 70, 80, 9_999):
        await store.mute(mute(0, until, rule=f"rule {until}"))
    assert await store.purge(after(100), 2) == 2, "slice by slice"
    assert await store.purge(after(100), 2) == 1
    assert [one.rule for one in await store.mutes(NOON)] == ["rule 9999"]


async def test_a_muted_delivery_is_told_from_a_folded_one(store: Store) -> None:
    for number, text in ((1, WHY), (2, "already shown")):
        await store.accept(arrival(event(number, "failure"), f"k{number}", number), ALL)
        (held,) = await store.claim("builds", after(number), LEASE, 9)
        outcome = "muted" if text == WHY else "folded"
        await store.settle(settled(held, "folded", number, outcome=outcome, text=text))
    found = {one.id: one.state for one in await store.deliveries(limit=9)}
    assert found == {"d1": "muted", "d2": "folded"}
    assert [one.id for one in await store.deliveries(limit=9, state="muted")] == ["d1"]
    assert [one.id for one in await store.deliveries(limit=9, state="folded")] == ["d2"]
    (again,) = await store.replay(["d1"], after(9))
    assert [one.id for one in await store.claim("builds", after(9), LEASE, 9)] == [again]


async def test_what_a_chat_says_does_not_make_a_delivery_muted(store: Store) -> None:
    await store.accept(arrival(event(1, "failure"), "k"), ALL)
    (held,) = await store.claim("builds", NOON, LEASE, 9)
    await store.settle(settled(held, "dead", outcome="dead", text=WHY))
    assert [one.state for one in await store.deliveries(limit=9)] == ["dead"]
    assert await store.deliveries(limit=9, state="muted") == []


def test_mutes_move_with_everything_else(tmp_path: Path, postgres_url: str) -> None:
    told = [mute(0, 60), mute(repository="acme/app", reason="naïve 🙂")]
    old, new = f"sqlite:///{tmp_path}/old.db", f"sqlite:///{tmp_path}/new.db"

    async def fill(store: Store) -> None:
        for one in told:
            await store.mute(one)

    on(old, fill)
    steps = [(old, "export", "a"), (postgres_url, "import", "a"), (postgres_url, "export", "b"), (new, "import", "b")]
    for url, command, name in steps:
        done = CliRunner().invoke(bridge, [command, str(tmp_path / name)], env={"DATABASE_URL": url})
        assert done.exit_code == 0, done.output
    assert on(new, lambda store: store.mutes(NOON)) == [replace(one, id=f"m{n}") for n, one in enumerate(told, 1)]
    assert on(new, lambda store: store.mute(mute(rule="next"))) == "m3", "ids go on"


@pytest.mark.parametrize(("name", "version"), [("sqlite", 5), ("postgres", 3)])
def test_older_code_may_go_on_beside_the_new_table(name: str, version: int) -> None:
    (step,) = [one for one in migrations(name) if one.version == version]
    assert step.readable_from == 1


async def test_a_file_of_the_version_before_is_brought_up_to_date_and_keeps_what_it_had(tmp_path: Path) -> None:
    path = tmp_path / "bridge.db"
    db = sqlite3.connect(path, isolation_level=None)
    sqlite.migrate(db, migrations("sqlite")[:4])
    db.execute("INSERT INTO seen VALUES ('github', 'k', 1, NULL, 0)")
    db.close()
    store = await open_store(f"sqlite:///{path}")
    assert await store.mute(mute()) == "m1"
    assert await store.seen("github", ["k"]) == {"k"}
    await store.close()
