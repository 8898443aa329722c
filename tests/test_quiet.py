"""The rows of docs/quiet.md over whole sequences, as `bridge test` runs them: what is said, when, and to whom.

Tests begin on a Monday at 12:00 UTC. A week of them runs in a moment: time is an argument.
"""

from __future__ import annotations

import os
from datetime import timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from bridge.cli.tests import outcome
from bridge.config import Config, load
from bridge.destinations import console
from bridge.event import Event, Kind, RunRef, Status, Task
from bridge.rehearse import START, Rehearsal

HEAD = """\
sources: {github: {type: github, secret: s}}
destinations: {builds: {type: console}, oncall: {type: console}}
people: {octocat: {slack: U024BE7LH}}
rules:
"""
RULES = {
    "settle": "{name: jobs, match: {kind: task, status: failure}, to: builds, settle: 20s}",
    "settle runs": "{name: runs, match: {kind: pipeline}, to: builds, settle: 20s}",
    "live": "{name: runs, match: {kind: pipeline}, to: builds, settle: 20s, live: true}",
    "digest": "{name: office, match: {change: [broken, fixed]}, to: builds, mention: octocat, hours: "
    "{days: mon-fri, from: '08:00', to: '18:00', zone: Europe/Oslo, outside: digest}}",
    "hold": "{name: office, match: {change: [broken, fixed]}, to: builds, mention: octocat, hours: "
    "{days: mon-fri, from: '08:00', to: '18:00', zone: Europe/Oslo, outside: hold}}",
    "drop": "{name: office, match: {change: [broken, fixed]}, to: builds, hours: "
    "{days: mon-fri, from: '08:00', to: '18:00', zone: Europe/Oslo, outside: drop}}",
    "repeat": "{name: main, match: {branch: main, change: [broken, fixed]}, to: builds, repeat: 4h}",
    "escalate": "{name: main, match: {branch: main, change: [broken, fixed]}, to: builds, "
    "escalate: {after: 2h, to: oncall, mention: octocat}}",
    "third": "{name: main, match: {branch: main, change: [broken, fixed]}, to: builds, "
    "after: {failures: 3}, repeat: 1h}",
}


def jobs(count: int) -> str:
    return ", ".join(f"{{at: +{number}s, task: 'test ({number})', status: failure}}" for number in range(count))


ROWS = [
    # -- settle
    (
        "settle",
        "one job that fails is said as ever",
        "[{task: lint, status: failure}]",
        "{messages: 1, text: lint failed}",
    ),
    ("settle", "a matrix of forty is cut to what fits in forty seconds of it", f"[{jobs(40)}]", "{messages: 2}"),
    (
        "settle",
        "forty failing jobs within the window are one message",
        f"[{jobs(40).replace('s, task', 'ms, task')}]",
        "{messages: 1, text: [40 tasks failed, test (0), test (11), and 28 more]}",
    ),
    (
        "settle",
        "what fails after the message is gathered anew",
        "[{task: lint, status: failure}, {at: +21s, task: test, status: failure}, "
        "{at: +25s, task: e2e, status: failure}]",
        "{messages: 2, text: [lint failed, 2 tasks failed]}",
    ),
    (
        "settle",
        "jobs of two runs are two messages",
        "[{task: lint, status: failure, number: 1}, {at: +5s, task: lint, status: failure, number: 2}]",
        "{messages: 2}",
    ),
    (
        "settle runs",
        "a quick run is said once, as it ended",
        "[{status: queued}, {at: +1s, status: running}, {at: +9s, status: success}]",
        "{messages: 1, text: passed}",
    ),
    (
        "settle runs",
        "out of order, the run ends as it ended",
        "[{status: success, attempt: 1}, {at: +3s, status: running, attempt: 1}, "
        "{at: +4s, status: queued, attempt: 1}]",
        "{messages: 1, text: passed}",
    ),
    (
        "settle runs",
        "a re-run within the window is said with what it re-ran",
        "[{number: 1, status: failure}, {at: +5s, number: 1, attempt: 2, status: running}]",
        "{messages: 1, text: is running}",
    ),
    (
        "settle runs",
        "a run that is cancelled at once",
        "[{status: running}, {at: +2s, status: cancelled}]",
        "{messages: 1, text: was cancelled}",
    ),
    (
        "settle runs",
        "a force push cancels one run and begins another",
        "[{number: 1, status: running}, {at: +4s, number: 1, status: cancelled}, "
        "{at: +5s, number: 2, status: running}]",
        "{messages: 2, text: [was cancelled, is running]}",
    ),
    (
        "live",
        "a living message begins once",
        "[{status: queued}, {at: +5s, status: running}, {at: +90s, status: success}]",
        "{messages: 1}",
    ),
    # -- hours
    (
        "digest",
        "within the hours it is said at once",
        "[{change: broken}]",
        "{messages: 1, text: broke, mention: octocat}",
    ),
    (
        "digest",
        "a weekend is one message on Monday",
        "[{at: +4d6h, number: 1, status: failure}, {at: +5d, number: 2, status: success}, {at: +6d, branch: next, "
        "number: 3, status: failure}]",
        "{messages: 1, text: [3 things happened meanwhile, 2 went wrong, is fixed on main], mention: []}",
    ),
    (
        "digest",
        "each weekend has its own",
        "[{at: +4d6h, number: 1, status: failure}, {at: +11d6h, number: 2, status: success}]",
        "{messages: 2}",
    ),
    (
        "hold",
        "what is held goes out one by one",
        "[{at: +4d6h, number: 1, status: failure}, {at: +5d, number: 2, status: success}]",
        "{messages: 2, text: [broke on main, is fixed on main], mention: octocat}",
    ),
    ("drop", "what is dropped is not wanted", "[{at: +5d, status: failure}]", "{none: true, messages: 0}"),
    # -- repeat
    (
        "repeat",
        "it is said again every four hours, and quiet when it is fixed",
        "[{number: 1, status: failure}, {at: +9h, number: 2, status: success}, {at: +2d, number: 3, status: success}]",
        "{messages: 4, text: [broke, for 4 h, for 8 h, is fixed]}",
    ),
    (
        "repeat",
        "what is fixed in time is not said again",
        "[{number: 1, status: failure}, {at: +3h, number: 2, status: success}, {at: +2d, number: 3, status: success}]",
        "{messages: 2}",
    ),
    (
        "repeat",
        "one reminder, however often it fails, of the newest failure",
        "[{number: 1, status: failure}, {at: +1h, number: 2, status: failure}, {at: +5h, number: 3, status: success}]",
        "{messages: 3, text: 2 runs in a row}",
    ),
    (
        "repeat",
        "the re-run passes: nothing more",
        "[{number: 1, status: failure}, {at: +1h, number: 1, attempt: 2, status: success}, "
        "{at: +9h, number: 2, status: success}]",
        "{messages: 2}",
    ),
    (
        "repeat",
        "a cancelled run mends nothing",
        "[{number: 1, status: failure}, {at: +1h, number: 2, status: cancelled}, "
        "{at: +5h, number: 3, status: running}]",
        "{messages: 2, text: for 4 h}",
    ),
    (
        "repeat",
        "an older run that ends late mends nothing",
        "[{number: 2, status: failure}, {at: +1h, number: 1, status: success}, {at: +5h, number: 3, status: running}]",
        "{messages: 2, text: for 4 h}",
    ),
    (
        "repeat",
        "fixed and broken anew: it begins anew",
        "[{number: 1, status: failure}, {at: +1h, number: 2, status: success}, {at: +3h, number: 3, status: failure}, "
        "{at: +6h, number: 4, status: running}, {at: +8h, number: 5, status: running}]",
        "{messages: 4, text: for 4 h}",
    ),
    (
        "repeat",
        "a pull request from a fork is not our main",
        "[{number: 1, status: failure, fork: true, pull_request: 7}, {at: +9h, number: 2, status: running}]",
        "{none: true, messages: 0}",
    ),
    (
        "repeat",
        "an abandoned branch is not said again for ever",
        "[{number: 1, status: failure}, {at: +300d, number: 2, status: running}]",
        "{messages: 181}",
    ),
    (
        "third",
        "with `after`, it counts from the third failure",
        "[{number: 1, status: failure}, {at: +1h, number: 2, status: failure}, {at: +2h, number: 3, status: failure}, "
        "{at: +3h1m, number: 4, status: running}]",
        "{messages: 2, text: [is still failing on main for 3 h, 3 runs in a row]}",
    ),
    # -- escalate
    (
        "escalate",
        "what nobody mends is escalated once, and cleared when it is fixed",
        "[{number: 1, status: failure}, {at: +3h, number: 2, status: failure}, {at: +9h, number: 3, status: success}, "
        "{at: +1d, number: 4, status: success}]",
        "{messages: 4, to: [builds, oncall], text: [for 2 h, is fixed on main after 9 h], mention: octocat}",
    ),
    (
        "escalate",
        "the news that it is fixed is told, though nothing comes after it",
        "[{number: 1, status: failure}, {at: +9h, number: 3, status: success}]",
        "{messages: 4, text: after 9 h}",
    ),
    (
        "escalate",
        "what is mended in time is escalated to nobody",
        "[{number: 1, status: failure}, {at: +1h59m, number: 2, status: success}, "
        "{at: +1d, number: 3, status: success}]",
        "{messages: 2, to: builds, mention: []}",
    ),
    (
        "escalate",
        "two pipelines are two escalations",
        "[{number: 1, pipeline: build, status: failure}, {at: +1m, pipeline: docs, number: 2, status: failure}, "
        "{at: +3h, pipeline: other, number: 3, status: success}]",
        "{messages: 4}",
    ),
]


@cache
def config(word: str, tests: str = "") -> Config:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "config.yaml"
        file.write_text(HEAD + f"  - {RULES[word]}\n" + tests)
        return load(str(file), os.environ)


@pytest.mark.parametrize(("word", "row", "events", "expect"), ROWS, ids=[f"{row[0]}: {row[1]}" for row in ROWS])
def test_a_row_of_the_tables(word: str, row: str, events: str, expect: str) -> None:
    event = "{repository: acme/app, branch: main, pipeline: build}"
    text = f"tests:\n  - name: {row!r}\n    event: {event}\n    events: {events}\n    expect: {expect}\n"
    (case,) = config(word, text.replace("ms, task", "s, task") if "ms, task" in text else text).tests
    if "ms, task" in text:  # all of them within the window
        steps = tuple(type(step)(event=step.event, at=step.at / 10) for step in case.steps)
        case = type(case)(name=case.name, event=case.event, expect=case.expect, steps=steps)
    assert [fault for _, fault in outcome(config(word), case).faults] == []


# -- when exactly ------------------------------------------------------------------------------------------------------


def run(number: int, status: str, hours: float, **said: Any) -> Event:
    at = START + timedelta(hours=hours)
    return Event(
        source="github",
        type="github",
        kind=Kind.PIPELINE,
        status=Status(status),
        repository="acme/app",
        branch="main",
        pipeline="build",
        run=RunRef(id=str(number), number=number, attempt=1),
        received_at=at,
        changed_at=at,
        **said,
    )


def told(word: str, *events: Event, monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, str]]:
    """Return what is said, and how many hours after the beginning."""
    found: list[tuple[float, str]] = []
    saying = Rehearsal._say

    def say(self: Any, wanted: Any, event: Any, of: Any, now: Any) -> None:
        saying(self, wanted, event, of, now)
        message = wanted[0].heard.said[-1][1]
        title = console.text(message, colour=False).split("\n")[0]
        found.append(((now - START).total_seconds() / 3600, title))

    monkeypatch.setattr(Rehearsal, "_say", say)
    rehearsal = Rehearsal(config(word))
    for one in events:
        rehearsal.hear(one)
    rehearsal.end()
    return found


DAY = 24.0
FRIDAY = 4 * DAY + 8  # 20:00 UTC


@pytest.mark.parametrize(
    ("weeks", "hour"),
    [
        (0, 7.0),  # winter: 08:00 in Oslo is 07:00 UTC
        (11, 6.0),  # the weekend to 30 March 2026, on which summer time begins
        (30, 6.0),
        (41, 7.0),  # the weekend to 26 October 2026, on which it ends
    ],
)
def test_a_weekend_is_told_on_monday_at_eight_by_the_clocks_of_the_zone(
    weeks: int, hour: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = weeks * 7 * DAY
    found = told("digest", run(1, "failure", begin + FRIDAY), monkeypatch=monkeypatch)
    assert [at for at, _ in found] == [begin + 6 * DAY + 12 + hour]


def test_a_week_of_reminders_comes_every_four_hours_and_takes_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    found = told("repeat", run(1, "failure", 0), run(2, "success", 7 * DAY - 1), monkeypatch=monkeypatch)
    assert [at for at, _ in found] == [4.0 * number for number in range(42)] + [7 * DAY - 1]


def test_an_escalation_comes_after_two_hours_and_the_news_that_it_is_fixed_within_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = told("escalate", run(1, "failure", 0), run(2, "success", 30), monkeypatch=monkeypatch)
    assert [(round(at, 1), title.partition(" on main")[0]) for at, title in found] == [
        (0.0, "▌ 🔴 build broke"),
        (2.0, "▌ 🔴 build is still failing"),
        (30.0, "▌ ✅ build is fixed"),
        (30.0, "▌ ✅ build is fixed"),
    ]
    assert found[-1][0] - 30 <= 1 / 60


def test_a_job_is_said_when_its_window_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    lint = run(1, "failure", 1, task=Task(id="lint", name="lint", status=Status.FAILURE)).with_(kind=Kind.TASK)
    found = told("settle", lint, monkeypatch=monkeypatch)
    assert [at for at, _ in found] == [1 + 20 / 3600]
