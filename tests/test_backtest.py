"""`bridge backtest`: which messages would another configuration have added, dropped, moved or worded differently?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bridge.backtest import compare
from bridge.cli import bridge
from bridge.config import Config, load
from bridge.event import Event, Inbound, RunRef
from bridge.receive import Deciding, arrival_of, understand
from bridge.sources import SOURCES, Bound
from bridge.store import open_store
from bridge.store.base import Arrival, StoredEvent
from tests.arrivals import NOON, arrival, event, task
from tests.sources.common import HERE, SHARED

HEAD = """\
sources: {github: {type: github, secret: s}}
destinations:
  builds: {type: console}
  oncall: {type: console}
  team: {type: slack, token: t, channel: "#team"}
rules:
"""
BROKEN = "  - {name: broken, match: {branch: main, change: broken}, to: builds}\n"
LIVE = "  - {name: live, to: builds, live: true}\n"
LONG_AGO = ("--since", "9999d")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BRIDGE_CONFIG", raising=False)
    monkeypatch.delenv("BRIDGE_CONFIG_YAML", raising=False)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'bridge.db'}")
    return tmp_path


def written(folder: Path, name: str, rules: str, head: str = HEAD) -> Config:
    (folder / name).write_text(head + rules)
    return load(str(folder / name), {})


def keep(config: Config, arrivals: Iterable[Arrival]) -> None:
    """Let `config` be what was running when these came."""

    async def fill() -> None:
        store = await open_store("sqlite:///bridge.db")
        for one in arrivals:
            await store.accept(one, Deciding(config.rules))
        await store.close()

    asyncio.run(fill())


def recorded() -> list[StoredEvent]:
    async def look() -> list[StoredEvent]:
        store = await open_store("sqlite:///bridge.db")
        found = await store.events(limit=10_000)
        await store.close()
        return found[::-1]

    return asyncio.run(look())


def story() -> list[Arrival]:
    """Two days: run 1 passes, 2 and 3 fail, 4 passes, 5 fails; each is seen running before."""
    ends = ["success", "failure", "failure", "success", "failure"]
    arrivals = []
    for number, end in enumerate(ends, 1):
        for part, status in enumerate(("running", end)):
            arrivals.append(arrival(event(number, status), f"{number}.{part}", number * 36_000 + part * 60))
    return arrivals


def run(*words: str) -> Result:
    return CliRunner().invoke(bridge, ["backtest", "--config", "new.yaml", *LONG_AGO, *words], catch_exceptions=False)


def told(folder: Path, old: str, new: str, arrivals: Iterable[Arrival] | None = None, head: str = HEAD) -> Any:
    """Return the exit code and the differences between two lists of rules over the story."""
    keep(written(folder, "config.yaml", old), story() if arrivals is None else arrivals)
    written(folder, "new.yaml", new, head)
    done = run("--json")
    found = json.loads(done.output)
    places = [
        (one["how"], one["rules"], *(one[side] and one[side]["destination"] for side in ("from", "to")), one["count"])
        for one in found["differences"]
    ]
    return done.exit_code, places


# -- the four differences ----------------------------------------------------------------------------------------------


def test_an_unchanged_configuration_differs_in_nothing_and_exits_0(folder: Path) -> None:
    assert told(folder, BROKEN + LIVE, BROKEN + LIVE) == (0, [])


def test_what_a_candidate_says_more_is_added_with_its_days(folder: Path) -> None:
    keep(written(folder, "config.yaml", BROKEN), story())
    written(folder, "new.yaml", BROKEN + "  - {name: red, match: {status: unsuccessful}, to: oncall}\n")
    done = run("--json")
    found = json.loads(done.output)
    assert done.exit_code == 1
    assert found["messages"] == {"running": 2, "candidate": 5}
    assert found["differences"] == [
        {
            "how": "added",
            "rules": ["red"],
            "from": None,
            "to": {"destination": "oncall", "channel": None},
            "count": 3,
            "days": {"2026-01-02": 2, "2026-01-03": 1},
            "events": ["e4", "e6", "e10"],
        }
    ]


def test_what_a_candidate_keeps_to_itself_is_dropped(folder: Path) -> None:
    fewer = BROKEN.replace("branch: main", "repository: acme/other")
    assert told(folder, BROKEN, fewer) == (1, [("dropped", ["broken"], "builds", None, 2)])


def test_the_same_rule_at_another_destination_is_moved(folder: Path) -> None:
    assert told(folder, BROKEN, BROKEN.replace("builds", "oncall")) == (
        1,
        [("moved", ["broken"], "builds", "oncall", 2)],
    )


def test_a_destination_that_posts_to_another_channel_moves_its_messages(folder: Path) -> None:
    rules = BROKEN.replace("builds", "team")
    found = told(folder, rules, rules, head=HEAD.replace("#team", "#other"))
    assert found == (1, [("moved", ["broken"], "team", "team", 2)])


def test_the_same_message_in_other_words_is_worded_differently(folder: Path) -> None:
    keep(written(folder, "config.yaml", BROKEN), story())
    (folder / "elsewhere" / "templates").mkdir(parents=True)
    override = '{% extends "run.md.j2" %}{% block title %}Look here{% endblock %}'
    (folder / "elsewhere" / "templates" / "mine.md.j2").write_text(override)
    written(folder, "elsewhere/new.yaml", BROKEN.replace("to: builds", "to: builds, template: mine"))
    done = CliRunner().invoke(bridge, ["backtest", "--config", "elsewhere/new.yaml", *LONG_AGO])
    assert (done.exit_code, "worded       2  broken -> builds\n" in done.output) == (1, True)


def test_a_template_that_reads_the_same_is_no_difference(folder: Path) -> None:
    keep(written(folder, "config.yaml", BROKEN), story())
    (folder / "elsewhere" / "templates").mkdir(parents=True)
    (folder / "elsewhere" / "templates" / "run.md.j2").write_text(
        load(str(folder / "config.yaml"), {}).templates["run.md.j2"] + "{# a remark #}"
    )
    written(folder, "elsewhere/new.yaml", BROKEN)
    done = CliRunner().invoke(bridge, ["backtest", "--config", "elsewhere/new.yaml", *LONG_AGO])
    assert (done.exit_code, done.output.splitlines()[-1]) == (0, "no difference")


def test_who_is_mentioned_besides_is_another_wording(folder: Path) -> None:
    people = HEAD.replace("rules:", "people: {octocat: {slack: U024BE7LH}}\nrules:")
    keep(written(folder, "config.yaml", BROKEN.replace("builds", "team"), people), story())
    written(folder, "new.yaml", BROKEN.replace("to: builds", "to: team, mention: octocat"), people)
    assert "worded       2  broken -> team in #team\n" in run().output


# -- what counts as a message ------------------------------------------------------------------------------------------


def test_a_living_message_counts_once_and_its_edits_do_not(folder: Path) -> None:
    keep(written(folder, "config.yaml", LIVE), story())
    written(folder, "new.yaml", LIVE.replace(", live: true", ""))
    found = json.loads(run("--json").output)
    assert found["messages"] == {"running": 5, "candidate": 10}


def test_what_had_changed_is_taken_as_it_was_recorded_and_not_guessed_from_the_window(folder: Path) -> None:
    config = written(folder, "config.yaml", BROKEN)
    keep(config, story())
    late = [one for one in recorded() if one.event and one.event.run and one.event.run.number == 3]
    assert compare(config, config, late).running == 0  # still failing: that run 2 broke it is out of the window


def test_what_a_candidate_without_the_source_would_not_take_in_is_dropped(folder: Path) -> None:
    without = HEAD.replace("sources: {github: {type: github", "sources: {forge: {type: gitea")
    assert told(folder, BROKEN, BROKEN, head=without) == (1, [("dropped", ["broken"], "builds", None, 2)])


def test_two_runs_of_one_push_are_told_once_in_a_backtest_too(folder: Path) -> None:
    def one(run: str, **said: Any) -> Event:
        twin = RunRef(id=run, number=int(run), twin=True)
        return event(run, "failure", sha="c0ffee", **said).with_(run=twin)

    config = written(folder, "config.yaml", BROKEN)
    keep(config, [arrival(one("7"), "a"), arrival(one("8", pull_request=5), "b", 1)])
    assert compare(config, config, recorded()).running == 1


def test_what_was_never_understood_is_passed_over(folder: Path) -> None:
    odd = [arrival(None, "odd", problem="not JSON"), arrival(None, "ping", 1, problem="a ping", ignored=True)]
    assert told(folder, BROKEN, LIVE, odd) == (0, [])


# -- every fixture -----------------------------------------------------------------------------------------------------

SECRET = "whsec_YS1zZWNyZXQtb2YtdGhlLXRlc3RzIQ=="
ALL_KINDS = "[pipeline, task, deployment, push, change_request, release, alert, audit]"
EVERYTHING = f"""\
  - {{name: all, match: {{kind: {ALL_KINDS}}}, to: builds}}
  - {{name: unasked, to: [oncall, team], live: true, thread: true, mention: author}}
"""
TYPES = [name for name, module in SOURCES.items() if not isinstance(module, Bound) and (HERE / name).is_dir()]


def bodies(name: str) -> list[bytes]:
    shared = SHARED / "fixtures" / name
    files = [path for path in sorted((HERE / name).glob("*.json")) if not path.name.endswith(".event.json")]
    return [path.read_bytes() for path in (*files, *sorted(shared.glob("**/*.json"))) if path.is_file()]


@pytest.mark.parametrize("name", TYPES)
def test_an_unchanged_configuration_says_the_same_of_every_fixture(folder: Path, name: str) -> None:
    head = HEAD.replace("{github: {type: github, secret: s}}", f"{{{name}: {{type: {name}, unsigned: true}}}}")
    config = written(folder, "config.yaml", EVERYTHING, head)
    source = config.sources[name]
    arrivals = []
    for place, body in enumerate(bodies(name)):
        headers = {key.lower(): value for key, value in source.module.sign(body, SECRET, delivery=f"d{place}").items()}
        inbound = Inbound(name, headers, body, NOON + timedelta(minutes=place))
        arrivals.append(arrival_of(inbound, understand(inbound, source)))
    keep(config, arrivals)
    written(folder, "new.yaml", EVERYTHING, head)
    found = json.loads(run("--json").output)
    assert found["differences"] == []
    assert (found["messages"]["running"] > 0) is any(one.state == "routed" for one in recorded())


def test_without_a_candidate_it_is_wrong_usage(folder: Path) -> None:
    assert CliRunner().invoke(bridge, ["backtest"]).exit_code == 2


# -- what waits


def failing_jobs(count: int) -> list[Arrival]:
    return [arrival(task(1, f"test {number}", "failure"), f"j{number}", number) for number in range(count)]


def test_what_is_gathered_counts_once(folder: Path) -> None:
    jobs = "  - {name: jobs, match: {kind: task, status: failure}, to: builds%s}\n"
    running = written(folder, "config.yaml", jobs % "")
    candidate = written(folder, "new.yaml", jobs % ", settle: 20s")
    keep(running, failing_jobs(30))
    found = compare(running, candidate, recorded())
    assert (found.running, found.candidate) == (30, 2)  # the window of the second begins after the first's
    assert [(kind.how, sum(one.days.values())) for kind, one in found.differences.items()] == [("dropped", 28)]
    assert not compare(candidate, candidate, recorded()).differences


def test_what_is_said_again_and_escalated_counts_with_the_failure_that_it_is_of(folder: Path) -> None:
    quiet = "  - {name: red, match: {change: [broken, fixed]}, to: builds%s}\n"
    running = written(folder, "config.yaml", quiet % "")
    candidate = written(folder, "new.yaml", quiet % ", repeat: 4h, escalate: {after: 2h, to: oncall}")
    ends = [(1, "failure", 0.0), (2, "failure", 5.0), (3, "success", 9.0), (4, "failure", 10.0), (5, "success", 11.0)]
    keep(running, [arrival(event(run, word), f"k{run}", hours * 3600) for run, word, hours in ends])
    found = compare(running, candidate, recorded())
    assert (found.running, found.candidate) == (4, 8)
    added = {str(kind.after): (sum(one.days.values()), one.events) for kind, one in found.differences.items()}
    assert added == {"builds": (2, ["e1", "e1"]), "oncall": (2, ["e1", "e1"])}
    same = compare(candidate, candidate, recorded())
    assert (same.running, same.differences) == (8, {})
