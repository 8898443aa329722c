"""`repeat` and `escalate`: what stays broken is said again, and to somebody else, until it is fixed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge import turn
from bridge.event import ALL_CLEAR, ESCALATION, REMINDER, Change, Event, Target
from bridge.fold import failing, fold_run, fold_track, track_key
from bridge.hours import Hours, zone
from bridge.receive import Deciding
from bridge.route import Escalation, Goal, Rule, condition, route
from bridge.store.base import Mute
from tests import arrivals
from tests.arrivals import NOON, after
from tests.couriers import Clock, Work, bot, texts
from tests.fakes.slack import FakeSlack

pytestmark = pytest.mark.usefixtures("no_lease_ends")


@pytest.fixture(autouse=True)
def quicker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Clock, "factor", 2_000.0)


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as fake:
        yield fake


def rule(repeat: float = 0.0, *, name: str = "main", escalate: float = 0.0, **more: Any) -> Rule:
    change = condition("change", more.pop("change", ["broken", "fixed"]))
    called = Escalation(after=escalate, to=(Goal(destination="oncall", mention=("octocat",)),)) if escalate else None
    goal = Goal(destination="builds", repeat=repeat)
    return Rule(name=name, conditions=(change,), to=(goal,), escalate=called, **more)


async def said(work: Work, number: int) -> None:
    async def enough() -> bool:
        return sum(one.state == "done" for one in await work.store.deliveries(limit=99)) >= number

    await work.until(enough)


async def test_what_stays_broken_is_said_again_until_it_is_fixed(slack: FakeSlack, tmp_path: Path) -> None:
    decider = Deciding([rule(600.0)])
    async with Work(tmp_path, builds=bot(slack)) as work:
        await work.accept(decider, arrivals.event(1, "failure"))
        await said(work, 3)
        await work.accept(decider, arrivals.event(2, "success"))
        found = await work.drained()
    told = texts(slack)
    assert told[0] == "🔴 build broke on main · acme/app"
    assert {one.partition(" for ")[0] for one in told[1:3]} == {"🔴 build is still failing on main"}
    assert told[-1] == "✅ build is fixed on main · acme/app"
    assert (found[-1].state, found[-1].text) in {("folded", "fixed meanwhile"), ("done", "")}
    assert any(one.text == "fixed meanwhile" for one in found)


async def test_one_track_has_one_reminder_however_often_it_fails(slack: FakeSlack, tmp_path: Path) -> None:
    decider = Deciding([rule(3_600.0, change=["broken", "still_failing"])])
    async with Work(tmp_path, builds=bot(slack)) as work:
        await work.accept(decider, *(arrivals.event(number, "failure") for number in (1, 2, 3)))
        await said(work, 4)
        found = await work.all()
        await work.accept(decider, arrivals.event(4, "success"))
        await work.drained()
    reminders = [one for one in found if one.target.role == REMINDER]
    assert [one.state for one in reminders] == ["done", "folded", "folded", "pending"]
    assert sum("still failing" in one for one in texts(slack)) == 1
    assert "3 runs in a row" in str(list(slack.messages.values())[3].body)


async def test_it_is_escalated_once_and_who_was_told_hears_that_it_is_fixed(slack: FakeSlack, tmp_path: Path) -> None:
    decider = Deciding([rule(escalate=600.0, change="broken")])
    async with Work(tmp_path, builds=bot(slack), oncall=bot(slack, "#oncall")) as work:
        await work.accept(decider, arrivals.event(1, "failure"))
        await said(work, 2)
        await work.accept(decider, arrivals.event(2, "failure"), arrivals.event(3, "success"))
        found = await work.drained()
    assert [one.target.destination for one in found if one.state == "done"] == ["builds", "oncall", "oncall"]
    assert [text.rpartition(" for ")[0] or text.rpartition(" after ")[0] for text in texts(slack)[1:]] == [
        "🔴 build is still failing on main",
        "✅ build is fixed on main",
    ]


async def test_what_is_fixed_in_time_is_escalated_to_nobody(slack: FakeSlack, tmp_path: Path) -> None:
    decider = Deciding([rule(escalate=3_600.0, change="broken")])
    async with Work(tmp_path, builds=bot(slack), oncall=bot(slack, "#oncall")) as work:
        await work.accept(decider, arrivals.event(1, "failure"), arrivals.event(2, "success"))
        found = await work.drained()
    assert [(one.target.destination, one.state, one.text) for one in found] == [
        ("builds", "done", ""),
        ("oncall", "folded", "fixed meanwhile"),
    ]


async def test_a_mute_is_a_claim_and_when_it_ends_it_is_escalated_after_all(slack: FakeSlack, tmp_path: Path) -> None:
    decider = Deciding([rule(escalate=600.0, change="broken")])
    async with Work(tmp_path, builds=bot(slack), oncall=bot(slack, "#oncall")) as work:
        since = work.clock.now()
        until = since + timedelta(hours=2)
        claim = Mute(repository="acme/app", branch="main", since=since, until=until, reason="octocat is on it")
        await work.store.mute(claim)
        await work.accept(decider, arrivals.event(1, "failure"))
        await said(work, 1)
        found = await work.all()
        await work.accept(decider, arrivals.event(2, "success"))
        await work.drained()
    told = [(one.target.destination, one.target.role, one.state) for one in found if one.state != "pending"]
    assert told == [("builds", "", "muted"), ("oncall", ESCALATION, "muted"), ("oncall", ESCALATION, "done")]
    assert next(one.settled_at for one in found if one.state == "done") >= until


def settled(**said: Any) -> Event:
    return arrivals.event(1, "failure", change=Change.BROKEN, received_at=NOON, **said)


def roles(*rules: Rule, event: Event | None = None) -> list[tuple[str, str]]:
    return [(one.destination, one.role) for one in route(rules, event or settled()).targets]


def test_only_a_failing_result_is_said_again_and_only_a_new_one_escalated() -> None:
    asked = rule(60.0, escalate=60.0, change=["broken", "still_failing", "fixed"])
    assert roles(asked) == [("builds", ""), ("builds", REMINDER), ("oncall", ESCALATION)]
    assert roles(asked, event=settled().with_(change=Change.STILL_FAILING)) == [("builds", ""), ("builds", REMINDER)]
    assert roles(asked, event=arrivals.event(2, "success", change=Change.FIXED)) == [("builds", "")]


def test_a_reminder_keeps_to_the_hours_of_its_rule_and_an_escalation_does_not() -> None:
    office = Hours(days=frozenset({0}), start=480, end=1080, zone=zone("Europe/Oslo"), outside="hold")  # Mondays
    held = route([rule(3_600.0, escalate=60.0, hours=office)], settled()).targets
    monday = office.begins(NOON)
    assert [one.until for one in held] == [monday, monday + timedelta(hours=1), None]
    again = turn.after_it(held[1], monday + timedelta(hours=9, minutes=30))
    assert again is not None
    assert again.until == office.begins(monday + timedelta(hours=11))


def test_the_hours_are_kept_as_one_word() -> None:
    office = Hours(days=frozenset({0, 4}), start=480, end=1080, zone=zone("Europe/Oslo"))
    assert Hours.of(office.code) == office


class Branch:
    """A track, and what a failure on it says."""

    def __init__(self) -> None:
        self.track: Any = None
        self.events: list[Event] = []

    def ends(self, number: int, word: str, **said: Any) -> Branch:
        at = after(60.0 * len(self.events))
        folded = fold_run(arrivals.event(number, word, received_at=at, finished_at=at, **said), None)
        assert folded.run is not None
        event, _, self.track = fold_track(folded.event, folded.run, self.track, track_key(folded.event))
        self.events.append(event)
        return self

    def row(self, of: int = 0) -> int | None:
        found = failing(self.events[of], self.track)
        return found[1] if found else None


FAILURE = Target(destination="builds", template="reminder", role=REMINDER)


@pytest.mark.parametrize(
    ("branch", "row"),
    [
        (Branch().ends(1, "failure"), 1),
        (Branch().ends(1, "failure").ends(2, "failure"), 2),
        (Branch().ends(1, "failure").ends(2, "cancelled"), 1),
        (Branch().ends(1, "failure").ends(2, "success"), None),
        (Branch().ends(2, "failure").ends(1, "success"), 1),  # the older run came late
        (Branch().ends(2, "failure").ends(1, "failure"), 2),
        (Branch().ends(1, "failure").ends(1, "success", attempt=2), None),  # the re-run passed
        (Branch().ends(1, "failure").ends(1, "failure", attempt=2), 2),
        # Broken anew: that row has a reminder of its own.
        (Branch().ends(1, "failure").ends(2, "success").ends(3, "failure"), None),
    ],
)
def test_a_row_of_failures_lasts_until_a_success_in_the_order_of_runs(branch: Branch, row: int | None) -> None:
    assert branch.row() == row
    told = turn.still(FAILURE, branch.events[0], branch.events[-1], branch.track, NOON)
    assert told == "fixed meanwhile" if row is None else isinstance(told, Event) and told.failures == row


def test_who_was_escalated_to_waits_until_it_is_fixed_and_not_longer_than_anybody_reads() -> None:
    clear = FAILURE.with_(role=ALL_CLEAR)
    branch = Branch().ends(1, "failure")
    event = branch.events[0]
    assert turn.still(clear, event, event, branch.track, NOON) == NOON + timedelta(minutes=1)
    assert turn.still(clear, event, event, branch.track, NOON + timedelta(days=31)) == "not said after 30 days"
    assert turn.still(clear, event, event, None, NOON) == "fixed, and broken anew"
    fixed = turn.still(clear, event, event, branch.ends(2, "success").track, NOON)
    assert isinstance(fixed, Event)
    assert (fixed.change, fixed.status.value) == (Change.FIXED, "success")
    assert turn.still(clear, event, event, branch.ends(3, "failure").track, NOON) == "fixed, and broken anew"


def test_a_reminder_that_was_given_up_is_followed_by_the_next_and_an_escalation_by_nothing() -> None:
    reminder = FAILURE.with_(again=60.0, wait=60.0)
    assert turn.after_failure(reminder, NOON) == reminder
    assert turn.after_failure(FAILURE.with_(role=ESCALATION), NOON) is None
    assert turn.after_it(FAILURE.with_(role=ALL_CLEAR), NOON) is None
