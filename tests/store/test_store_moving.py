"""Does everything arrive when a store moves to another engine, and nothing at all of a file that is broken?"""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from click.testing import CliRunner, Result

from bridge.cli import bridge
from bridge.errors import StoreUnavailable
from bridge.event import Track
from bridge.receive import Deciding
from bridge.store import open_store
from bridge.store.base import Condition, Decision, First, Row, Store, Tally
from bridge.store.moving import CHUNK, chunks
from tests import postgres
from tests.altered import replace
from tests.arrivals import ALL, LEASE, LIVING, NOON, Failing, after, arrival, event, rule, settled, task

T = TypeVar("T")
PLACE = {"channel": "C1", "ts": "1.1"}
TRIED = [("dead", "dead"), ("dead", "rejected"), ("dropped", "unsure"), ("pending", "transient")]


def on(url: str, work: Callable[[Store], Awaitable[T]]) -> T:
    async def whole() -> T:
        store = await open_store(url)
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(whole())


async def fill(store: Store) -> None:
    """Something of everything: events and deliveries in all states, places, tries, what was seen, how it is."""
    await store.accept(arrival(event(1, "queued", title="naïve 🙂 title"), "living"), LIVING)
    (shown,) = await store.claim("builds", NOON, LEASE, 9)
    await store.settle(settled(shown, receipt=PLACE, shown=1, sent=b'{"title": "made up"}', seconds=0.25))
    for number, (state, outcome) in enumerate(TRIED, 2):
        await store.accept(arrival(event(number, "failure"), f"k{number}", number, repeatable=True, sent=1), ALL)
        (held,) = await store.claim("builds", after(number), LEASE, 9)
        more = {"due_at": after(500), "counts": True} if state == "pending" else {}
        await store.settle(settled(held, state, number, outcome=outcome, text="no", **more))  # type: ignore[arg-type]
    await store.accept(arrival(event(9, "running", branch="spare"), "sending", 6), ALL)
    assert [one.event.run for one in await store.claim("builds", after(7), LEASE, 9)] == [event(9).run]
    await store.accept(arrival(task(1, "t1", "running"), "task", 7), LIVING)
    await store.accept(arrival(None, "no", 8, problem="no JSON"), ALL)
    await store.accept(arrival(None, "ping", 9, problem="a ping", ignored=True), ALL)
    await store.accept(arrival(event(10), "bug", 10), Failing())
    await store.accept(arrival(event(11), "nobody", 11), LIVING.__class__([]))
    await store.replay([one.id for one in await store.deliveries(limit=1, state="dead")], after(12))
    await store.report("builds", Condition(ok=False, text="503", at=after(13), failures=2, rest_until=after(20)))
    await store.tally([Tally("github", "signature", "", 3, after(14)), Tally("github", "routed", "acme/é", 1, NOON, 1)])
    await store.ready()


@pytest.fixture
def full(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/full.db"
    on(url, fill)
    return url


@pytest.fixture
def empty(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/empty.db"


def run(url: str, *arguments: str, **more: Any) -> Result:
    return CliRunner().invoke(bridge, arguments, env={"DATABASE_URL": url, "NO_COLOR": "1"}, **more)


def rows(url: str) -> list[tuple[str, Row]]:
    async def read(store: Store) -> list[tuple[str, Row]]:
        return [item async for item in store.export()]

    return in_order(on(url, read))


def in_order(rows: list[tuple[str, Row]]) -> list[tuple[str, Row]]:
    return sorted(rows, key=lambda item: (item[0], json.dumps(item[1], default=str, sort_keys=True)))


def moved(row: tuple[str, Row]) -> tuple[str, Row]:
    table, values = row
    if table == "deliveries" and values["state"] == "sending":
        values = values | {"state": "pending", "leased_until": None, "unsure": 1}
    return table, values


@pytest.mark.parametrize("name", ["all.jsonl", "all.jsonl.zst"])
def test_every_row_moves_to_postgresql_and_back_as_it_is(
    full: str, empty: str, postgres_url: str, tmp_path: Path, name: str
) -> None:
    there, back = str(tmp_path / name), str(tmp_path / f"back-{name}")
    for url, command, file in [
        (full, "export", there),
        (postgres_url, "import", there),
        (postgres_url, "export", back),
        (empty, "import", back),
    ]:
        done = run(url, command, file)
        assert (done.exit_code, done.exception) == (0, None), done.output
        assert "deliveries           8" in done.stderr
    before = rows(full)
    assert {table for table, _ in before} >= {"events", "seen", "runs", "tracks", "places", "deliveries", "attempts"}
    states = {values["state"] for table, values in before if table == "deliveries"}
    assert states == {"pending", "sending", "done", "folded", "dead", "dropped"}
    expected = [moved(row) for row in before]
    assert rows(postgres_url) == sorted(
        expected, key=lambda item: (item[0], json.dumps(item[1], default=str, sort_keys=True))
    )
    assert rows(empty) == rows(postgres_url)


def test_a_living_message_goes_on_being_edited_after_the_move(full: str, postgres_url: str, tmp_path: Path) -> None:
    file = str(tmp_path / "all.jsonl")
    assert run(full, "export", file).exit_code == 0
    assert run(postgres_url, "import", file).exit_code == 0

    async def go_on(store: Store) -> None:
        held = await store.claim("builds", after(30), LEASE, 9)
        unsure = [one for one in held if one.unsure]
        assert [one.event.run for one in unsure] == [event(9).run]
        (living,) = [one for one in held if one.target.live]
        assert (living.receipt, living.shown, living.run and living.run.version) == (PLACE, 1, 2)
        await store.settle(settled(living, receipt=PLACE, shown=2, at=31))
        again = await store.accept(arrival(event(1, "success"), "later", 32), LIVING)
        assert int(again.id[1:]) == 12, "ids go on"
        (edit,) = await store.claim("builds", after(33), LEASE, 9)
        assert (edit.receipt, edit.shown, edit.run and edit.run.version) == (PLACE, 2, 3)
        seen = await store.accept(arrival(event(1, "queued"), "living", 40), LIVING)
        assert (seen.duplicate, seen.id) == (True, "e1")

    on(postgres_url, go_on)


def test_ids_that_were_given_are_not_given_again_though_their_rows_are_gone(
    full: str, url: str, empty: str, tmp_path: Path
) -> None:
    def gone(store: Any) -> Awaitable[int]:
        return store.purge(after(10_000_000), 500)  # type: ignore[no-any-return]

    async def next_one(store: Store) -> str:
        return (await store.accept(arrival(event(50), "next", 50), ALL)).id

    file = str(tmp_path / "all.jsonl")
    on(full, gone)
    assert run(full, "export", file).exit_code == 0
    target = url if url.startswith("postgres") else empty
    assert run(target, "import", file).exit_code == 0
    assert on(target, next_one) == on(full, next_one)


def test_an_export_is_for_its_owner_alone(full: str, tmp_path: Path) -> None:
    file = tmp_path / "all.jsonl"
    file.touch(mode=0o644)
    assert run(full, "export", str(file)).exit_code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_an_export_says_what_it_is_first_and_how_much_it_was_last(full: str) -> None:
    done = run(full, "export")
    first, *_, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert {"bridge": "export", "format": 1, "engine": "SQLite"}.items() <= first.items()
    assert last["end"]["deliveries"] == 8
    assert json.loads(run(full, "export", "--json").stderr)["deliveries"] == 8


def test_an_export_is_of_one_moment_though_writing_goes_on(url: str) -> None:
    async def read(store: Store) -> dict[str, int]:
        await fill(store)
        counts: dict[str, int] = {}
        async for table, _ in store.export():
            counts[table] = counts.get(table, 0) + 1
            if counts == {"events": 1}:
                await store.accept(arrival(event(77), "meanwhile", 77), ALL)
        return counts

    counts = on(url, read)
    assert (counts["events"], counts["deliveries"]) == (11, 8)


# -- what is refused


def cut(text: bytes) -> bytes:
    return text[: len(text) // 2]


BREAKS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut in a line": (cut, "cut"),
    "the last line is gone": (lambda text: b"".join(text.splitlines(keepends=True)[:-1]), "cut"),
    "a row is gone": (lambda text: b"".join((lines := text.splitlines(keepends=True))[:3] + lines[4:]), "other counts"),
    "something behind the end": (lambda text: text + b'{"table": "runs", "row": {}}\n', "follows the end"),
    "another file": (lambda text: b"hello\n" + text, "no export of bridge"),
    "nothing": (lambda text: b"", "cut"),
    "JSON, but not ours": (lambda text: b'{"a": 1}\n' + text, "is not what bridge export writes"),
    "a list": (lambda text: text + b"[]\n", "no row"),
    "deep": (lambda text: b"[" * 100_000 + b"\n", "no export of bridge"),
    "from the future": (lambda text: text.replace(b'"format":1', b'"format":2'), "cannot read"),
    "a table of theirs": (lambda text: text.replace(b'"table":"tracks"', b'"table":"users"'), "no table 'users'"),
    "a column of theirs": (lambda text: text.replace(b'"shown":', b'"shown) --":'), "no column"),
    "a state of theirs": (lambda text: text.replace(b'"state":"dropped"', b'"state":"lost"'), ""),
    "a list in a column": (lambda text: text.replace(b'"shown":1', b'"shown":[1]'), "no column can hold"),
    "no base64": (lambda text: text.replace(b'{"base64":"', b'{"base64":"!'), "no column holds"),
    "endless": (lambda text: text.replace(b'"shown":1', b'"shown":1e999'), "no column can hold"),
    "large": (lambda text: text.replace(b'"shown":1', b'"shown":' + b"9" * 30), ""),
    "a word for a number": (lambda text: text.replace(b'"shown":1', b'"shown":"one"'), ""),
    "a counter of theirs": (lambda text: text.replace(b'"name":"events"', b'"name":"pg_class"'), "a counter"),
    "twice the same": (lambda text: text.replace(b'"id":2,', b'"id":1,'), ""),
}


@pytest.mark.parametrize("what", BREAKS)
def test_a_broken_file_changes_nothing_and_says_why(full: str, url: str, tmp_path: Path, what: str) -> None:
    file = tmp_path / "all.jsonl"
    assert run(full, "export", str(file)).exit_code == 0
    change, words = BREAKS[what]
    text = file.read_bytes()
    assert change(text) != text
    file.write_bytes(change(text))
    refused = run(url, "import", str(file))
    assert refused.exit_code == 1
    assert isinstance(refused.exception, StoreUnavailable)
    assert words in str(refused.exception)
    assert [row for row in rows(url) if row[0] != "counters"] == []


def test_a_compressed_file_that_is_cut_changes_nothing(full: str, empty: str, tmp_path: Path) -> None:
    file = tmp_path / "all.jsonl.zst"
    assert run(full, "export", str(file)).exit_code == 0
    for broken in (cut(file.read_bytes()), b"not zstd at all", file.read_bytes()[:-1]):
        file.write_bytes(broken)
        refused = run(empty, "import", str(file))
        assert refused.exit_code == 1
        assert "cut" in str(refused.exception)
        assert [row for row in rows(empty) if row[0] != "counters"] == []


def test_a_database_that_is_not_empty_takes_nothing(full: str, url: str, tmp_path: Path) -> None:
    file = str(tmp_path / "all.jsonl")
    assert run(full, "export", file).exit_code == 0
    on(url, lambda store: store.accept(arrival(event(1), "first"), ALL))
    before = rows(url)
    refused = run(url, "import", file)
    assert refused.exit_code == 1
    assert "not empty" in str(refused.exception)
    assert rows(url) == before


def test_a_file_that_is_not_there_is_named(empty: str, full: str, tmp_path: Path) -> None:
    missing = run(empty, "import", str(tmp_path / "none.jsonl"))
    assert (missing.exit_code, "cannot read" in missing.output) == (1, True)
    nowhere = run(full, "export", str(tmp_path / "no" / "where.jsonl"))
    assert (nowhere.exit_code, "cannot write" in nowhere.output) == (1, True)


async def test_rows_are_written_so_many_at_a_time(tmp_path: Path) -> None:
    async def many() -> Any:
        for number in range(2 * CHUNK + 1):
            yield "events", {"id": number}
        yield "runs", {"key": "a"}

    assert [(table, len(chunk)) async for table, chunk in chunks(many())] == [
        ("events", CHUNK),
        ("events", CHUNK),
        ("events", 1),
        ("runs", 1),
    ]


class Collecting(Deciding):
    """What it owes waits for all runs in one lane, or beside its run, whose key PostgreSQL cannot take."""

    def told(self, first: First, track: Track | None, after: Track | None) -> Decision:
        decision = super().told(first, track, after)
        queues = {"builds": {"queue": "all:monday", "gather": True}, "oncall": {"queue": "run:held"}}
        return replace(decision, targets=tuple(one.with_(**queues[one.destination]) for one in decision.targets))


def test_what_waits_in_a_lane_of_its_own_waits_there_after_moving(empty: str, tmp_path: Path) -> None:
    async def owe(store: Store) -> None:
        for number in (1, 2):
            odd = event(f"odd\0{number}", "failure", pipeline="é" * 400)
            await store.accept(arrival(odd, f"k{number}"), Collecting([rule("builds", "oncall")]))

    on(empty, owe)
    assert run(empty, "export", str(tmp_path / "out.jsonl")).exit_code == 0
    url, drop = postgres.fresh()
    assert run(url, "import", str(tmp_path / "out.jsonl")).exit_code == 0

    async def look(store: Store) -> tuple[list[int], int]:
        more = event("odd\0" + "1", "success", attempt=2, pipeline="é" * 400)
        await store.accept(arrival(more, "k3"), Collecting([rule("builds", "oncall")]))
        builds = await store.claim("builds", NOON, LEASE, 9)
        return [len(one.behind) for one in builds], len(await store.claim("oncall", NOON, LEASE, 9))

    assert on(url, look) == ([2], 2)
    drop()
