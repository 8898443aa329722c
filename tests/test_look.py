"""Do `bridge events`, `deliveries`, `show` and `replay` answer in words, whatever is asked?"""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bridge.cli import bridge
from bridge.store import open_store
from tests.arrivals import ALL, LEASE, NOON, arrival, event, settled


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
