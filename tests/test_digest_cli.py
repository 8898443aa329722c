"""`bridge digest` and what other commands say of digests: is it what would be told, and is nothing sent?"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bridge.cli import bridge
from bridge.config import load
from bridge.event import Event, Identity
from bridge.occasions import Occasions
from bridge.receive import Deciding
from bridge.store import open_store
from bridge.store.base import Arrival
from tests.arrivals import event, settled

NOW = datetime.now(UTC)  # the command has no other clock
CONFIG = """
version: 1
sources: {github: {type: github, secret: "${SECRET}"}}
destinations: {builds: {type: console}, oncall: {type: console}}
rules:
  - {name: good morning, match: {branch: main}, to: [builds, oncall], digest: {every: day, at: "%s"}}
  - {name: noon, to: builds, digest: {every: day, at: "%s", when_empty: say}}
  - {name: red, match: {change: broken}, to: builds}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration whose digests were due an hour ago, and a main that broke two hours ago."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECRET", "made-up-secret")
    monkeypatch.setenv("DATABASE_URL", "sqlite:///bridge.db")
    at = f"{NOW - timedelta(hours=1):%H:%M}"
    (tmp_path / "config.yaml").write_text(CONFIG % (at, at))
    asyncio.run(came(event(1, "failure", branch="main"), NOW - timedelta(hours=2)))
    return tmp_path


async def came(told: Event, at: datetime) -> None:
    store = await open_store("sqlite:///bridge.db")
    arrival = Arrival("github", at, {}, b"", Identity(f"k{at}"), told.with_(received_at=at))
    await store.accept(arrival, Deciding([]))
    await store.close()


def run(*words: str) -> Result:
    return CliRunner().invoke(bridge, [*words])


def test_the_one_that_was_due_last_is_printed_as_it_would_be_said() -> None:
    told = run("digest", "good morning")
    assert told.exit_code == 0
    assert "to builds (template digest; asked by: good morning)" in told.output
    assert "to oncall" in told.output
    assert told.output.count("🗞️ good morning: 1 broke") == 1, "once, for all places where it looks like this"
    assert "🔴 broke: build on main for 2 h" in told.output


def test_nothing_is_sent_or_written() -> None:
    run("digest")
    assert json.loads(run("deliveries", "--json").output) == []
    assert len(json.loads(run("events", "--json").output)) == 1


def test_the_one_under_way_begins_where_the_last_one_ended() -> None:
    told = run("digest", "good morning", "--now")
    assert "🗞️ good morning: 1 still broken" in told.output
    assert "no run · " not in told.output
    (shown,) = json.loads(run("digest", "good morning", "--now", "--json").output)
    assert (shown["broke"], shown["still"], shown["pulse"]["runs"], shown["empty"]) == (0, 1, 0, False)


def test_a_period_of_ones_choice() -> None:
    (shown,) = json.loads(run("digest", "noon", "--since", "3h", "--json").output)
    assert (shown["rule"], shown["broke"]) == ("noon", 1)


def test_without_a_name_all_are_printed() -> None:
    assert [one["rule"] for one in json.loads(run("digest", "--json").output)] == ["good morning", "noon"]


def test_what_is_empty_says_whether_it_would_be_told(folder: Path) -> None:
    (folder / "bridge.db").unlink()
    asyncio.run(came(event(1, "running"), NOW))
    told = run("digest").output
    assert "no run ended, and nothing is broken: nothing is told" in told
    assert "no run ended, and nothing is broken: one line is told" in told
    assert "🗞️ noon: no run ended" in told


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("red",), 2, "no rule 'red' has a `digest`"),
        (("good mornin",), 2, "did you mean 'good morning'?"),
        (("--now", "--since", "1d"), 2, "choose: --now, or --since"),
    ],
)
def test_what_cannot_be_is_told_in_words(words: tuple[str, ...], code: int, text: str) -> None:
    told = run("digest", *words)
    assert (told.exit_code, text in told.output) == (code, True), told.output


def test_without_a_digest_it_says_where_to_read(folder: Path) -> None:
    lines = [line for line in (folder / "config.yaml").read_text().splitlines() if "digest" not in line]
    (folder / "config.yaml").write_text("\n".join(lines))
    told = run("digest")
    assert (told.exit_code, "no rule has a `digest`" in told.output) == (1, True)


def test_the_rules_are_drawn_with_their_times() -> None:
    at = f"{NOW - timedelta(hours=1):%H:%M}"
    told = run("explain", "--rules").output
    assert f"digest every day at {at} (UTC); branch: main" in told
    assert f"digest every day at {at} (UTC); of every run and deployment" in told


def test_a_digest_that_was_told_is_shown_explained_and_replayed() -> None:
    async def tell() -> None:
        store = await open_store("sqlite:///bridge.db")
        config = load(None, {"SECRET": "made-up-secret"})
        await Occasions(store, lambda: config, lambda: NOW).tell()
        for destination in config.destinations:
            for claimed in await store.claim(destination, NOW, timedelta(minutes=1), 9):
                await store.settle(settled(claimed))
        await store.close()

    asyncio.run(tell())
    told = [one for one in json.loads(run("events", "--json").output) if one["source"] == "bridge"]
    assert [(one["kind"], one["title"]) for one in told] == [("digest", "1 broke"), ("digest", "1 broke")]
    shown = run("show", told[1]["id"]).output
    assert "digest: of the rule 'good morning', " in shown
    assert "; runs: 1, repositories: 1" in shown
    assert f"why: bridge explain {told[1]['id']}" in shown
    explained = run("explain", told[1]["id"])
    assert explained.exit_code == 0, explained.output
    assert "yes  good morning" in explained.output
    assert "no   noon" in explained.output
    owed = json.loads(run("deliveries", "--json", "--destination", "oncall").output)
    assert [one["state"] for one in owed] == ["done"]
    assert run("replay", owed[0]["id"]).exit_code == 0
    backtest = run("backtest", "--config", "config.yaml")
    assert (backtest.exit_code, "1 events" in backtest.output) == (0, True), backtest.output


def test_a_configuration_with_digests_is_checked() -> None:
    told = run("check")
    assert told.exit_code == 0, told.output


def test_no_test_has_to_fire_a_digest() -> None:
    told = json.loads(run("test", "--coverage", "--json").output)
    assert told["unfired"] == ["red"]
