"""Do `bridge events`, `deliveries`, `show` and `replay` answer in words, whatever is asked?"""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bridge.cli import bridge
from bridge.cli.look import lines_of
from bridge.hours import Hours, days, zone
from bridge.receive import Deciding
from bridge.route import Goal, Rule, condition
from bridge.store import open_store
from tests.arrivals import ALL, LEASE, NOON, arrival, event, settled
from tests.events import run_event


async def fill(path: Path) -> None:
    """Three runs: the first delivered, the second dead, the third waiting; and one body that nobody understood."""
    store = await open_store(f"sqlite:///{path}")
    for number in (1, 2, 3):
        await store.accept(arrival(event(number, "failure"), f"k{number}"), ALL)
    await store.accept(arrival(None, "odd", problem="not JSON"), ALL)
    first, second, _ = await store.claim("builds", NOON, LEASE, 9)
    await store.settle(settled(first))
    await store.settle(settled(second, "dead", outcome="dead", text="the token was revoked"))
    await store.close()


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "bridge.db"
    asyncio.run(fill(path))
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{path}")
    return path


def run(*words: str) -> Result:
    return CliRunner().invoke(bridge, words, catch_exceptions=False)


@pytest.mark.usefixtures("database")
def test_events_are_listed_newest_first_with_the_names_of_the_model() -> None:
    found = json.loads(run("events", "--json", "--limit", "3").output)
    assert [one["id"] for one in found] == ["e4", "e3", "e2"]
    assert (found[0]["state"], found[0]["reason"]) == ("unreadable", "not JSON")
    assert (found[1]["repository"], found[1]["run"]["number"], found[1]["change"]) == ("acme/app", 3, "still_failing")


@pytest.mark.usefixtures("database")
def test_deliveries_are_chosen_by_their_state() -> None:
    found = json.loads(run("deliveries", "--json", "--state", "dead").output)
    assert [(one["id"], one["event_id"], one["reason"]) for one in found] == [("d2", "e2", "the token was revoked")]


@pytest.mark.usefixtures("database")
def test_show_tells_what_was_tried_and_gives_the_body_back() -> None:
    shown = json.loads(run("show", "e2", "--json").output)
    assert [one["history"][0]["outcome"] for one in shown["deliveries"]] == ["dead"]
    assert run("show", "e4", "--body").output == '{"made": "up"}'


@pytest.mark.usefixtures("database")
def test_replay_delivers_the_dead_again_and_says_no_when_there_is_none() -> None:
    assert json.loads(run("replay", "--dead", "--json").output) == ["d4"]
    again = run("replay", "--dead", "--json")
    assert (again.exit_code, json.loads(again.output)) == (1, [])


@pytest.mark.usefixtures("database")
def test_replays_of_an_event_do_not_multiply(database: Path) -> None:
    async def deliver_all() -> None:
        store = await open_store(f"sqlite:///{database}")
        for claimed in await store.claim("builds", NOON + timedelta(days=9_999), LEASE, 9):
            await store.settle(settled(claimed))
        await store.close()

    for wanted in (["d4"], ["d5"], ["d6"]):
        assert json.loads(run("replay", "e1", "--json").output) == wanted
        asyncio.run(deliver_all())


@pytest.mark.usefixtures("database")
def test_replay_of_an_event_takes_all_of_its_deliveries_that_are_settled() -> None:
    assert json.loads(run("replay", "e1", "e3", "d1", "--json").output) == ["d4"]


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("name", ["d1x", "dd", "e\u00b2", "e9", "d9", "x", "\u0663"])
def test_an_id_that_nobody_has_is_a_no(name: str) -> None:
    assert run("show", name).exit_code == 1
    assert run("replay", name).exit_code == 1


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("since", ["99999999d", "9999999999999w", "yesterday", "-1d"])
def test_a_time_that_makes_no_sense_is_wrong_usage(since: str) -> None:
    assert run("events", "--since", since).exit_code == 2


def test_a_database_that_is_not_there_is_not_made_by_looking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/mistyped.db")
    for command in (["events"], ["deliveries"], ["show", "e1"], ["replay", "d1"], ["export"]):
        result = CliRunner().invoke(bridge, command)
        assert result.exit_code == 1
        assert "there is no database" in result.output
    assert not (tmp_path / "mistyped.db").exists()


def test_people_read_no_python() -> None:
    event = run_event(
        "failure", 3, attempt=2, url="https://ci.example.com/1", duration=134.2, draft=False, private=True
    )
    event = event.with_(labels=("bug", "parcels"), facts=(("fork", "mona/app"), ("tests", "3 failed")))
    lines = list(lines_of(event, without=("source",)))
    assert {
        "status: failure",
        "private: true",
        "run: #41, attempt 2, id 7001",
        "labels: bug, parcels",
        "facts: fork: mona/app; tests: 3 failed",
        "duration: 134.2 s (2 min 14 s)",
    } <= set(lines)
    assert not any(line.startswith("source:") or "{" in line or "[" in line for line in lines)


@pytest.mark.parametrize("duration", [10.0**300, -5.0, float("inf"), float("nan")])
def test_an_odd_duration_is_shown_as_it_came(duration: float) -> None:
    assert f"duration: {duration}" in list(lines_of(run_event("failure", 3, duration=duration)))


def test_a_runs_page_is_shown_where_it_is_another_than_the_events() -> None:
    event = run_event("failure", 3, url="https://ci.example.com/1")
    assert event.run
    told = event.with_(run=event.run.with_(url="https://ci.example.com/2"))
    assert "run: #41, attempt 1, https://ci.example.com/2, id 7001" in list(lines_of(told))


async def _noted(path: Path) -> None:
    """A message that most, but not all, have got: its receipt says who has not."""
    store = await open_store(f"sqlite:///{path}")
    await store.accept(arrival(event(1, "failure"), "k1"), ALL)
    (first,) = await store.claim("builds", NOON, LEASE, 1)
    await store.settle(settled(first, text=NOTE))
    await store.close()


NOTE = "1 of 3 addresses was refused: 550"


def test_show_tells_what_a_chat_noted_of_a_message_that_it_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(_noted(tmp_path / "bridge.db"))
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'bridge.db'}")
    assert f"  {NOTE}\n" in run("show", "d1").output
    shown = json.loads(run("show", "d1", "--json").output)
    assert NOTE in json.dumps(shown)


def test_what_waits_says_why_and_until_when(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for days is due sooner in the database, where it is only looked at."""
    patient = Rule(
        name="office",
        conditions=(condition("kind", "pipeline"),),
        to=(Goal(destination="builds"),),
        hours=Hours(days=days("mon"), start=480, end=1080, zone=zone("Europe/Oslo"), outside="hold"),
    )

    async def owe() -> None:
        store = await open_store(f"sqlite:///{tmp_path}/bridge.db")
        await store.accept(arrival(event(1, "failure"), "k1"), Deciding([patient]))
        await store.close()

    asyncio.run(owe())
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/bridge.db")
    assert "held until Mon 08:00 Europe/Oslo (2026-01-05 07:00:00 UTC)" in run("deliveries").output
    assert "due: 2026-01-05T07:00:00.000Z, held until Mon 08:00 Europe/Oslo" in run("show", "d1").output
    (found,) = json.loads(run("deliveries", "--json").output)
    assert (found["due_at"], found["waits"]) == ("2026-01-05T07:00:00.000Z", "held until Mon 08:00 Europe/Oslo")
