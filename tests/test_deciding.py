"""What one event leads to, with the store's memory played by two dictionaries: fold, track, route, living messages."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.event import Change, Event, Kind, Run, Track
from bridge.receive import Deciding
from bridge.route import Goal, Rule, condition
from bridge.store.base import Decision
from tests.events import build_event, clock, run_event, task_event


def rule(name: str, *goals: Goal, **match: Any) -> Rule:
    return Rule(name=name, conditions=tuple(condition(key, value) for key, value in match.items()), to=goals)


class Decisions:
    """Decides one event after the other, as `bridge.store` has it decided."""

    def __init__(self, *rules: Rule) -> None:
        self.decider = Deciding(rules)
        self.runs: dict[str, Run] = {}
        self.tracks: dict[str, Track] = {}

    def add(self, event: Event, *, repeat: bool = False) -> Decision:
        key = self.decider.run_key(event)
        first = self.decider.first(event, self.runs.get(key or ""), repeat=repeat, sent_at=None)
        track = self.tracks.get(first.track) if first.track else None
        decision = self.decider.second(first, track)
        if decision.run is not None:
            self.runs[decision.run.key] = decision.run
        if decision.track is not None:
            self.tracks[decision.track.key] = decision.track
        return decision


def owed(decision: Decision) -> list[str]:
    """``builds run`` for a message, with ``live`` and ``reply`` where it is one."""
    return [
        " ".join([target.destination, target.template, *(["live"] * target.live), *(["reply"] * target.reply)])
        for target in decision.targets
    ]


LIVE = Goal(destination="builds", live=True)
STORY = [run_event("queued", 1), run_event("running", 2), run_event("failure", 3)]


# -- the contract's own rules ------------------------------------------------------------------------------------------


def _of_the_contract() -> Decisions:
    builds, oncall = (Goal(destination=name, mention=("author",)) for name in ("builds", "oncall"))
    return Decisions(
        rule(
            "main is broken or fixed",
            builds,
            oncall,
            repository=["acme/*", {"not": "acme/sandbox"}],
            branch=["main", "release/**"],
            change=["broken", "fixed"],
        ),
        rule("every run, one living message", LIVE, source="github", kind="pipeline", author={"not": "*[bot]"}),
    )


def test_a_whole_story_with_the_rules_of_the_contract() -> None:
    deciding = _of_the_contract()
    assert [owed(deciding.add(event)) for event in STORY] == [
        ["builds run live"],
        ["builds run live"],
        ["builds run live", "oncall run"],
    ]
    again = [deciding.add(run_event(status, i + 4, attempt=2)) for i, status in enumerate(["running", "success"])]
    assert [owed(decision) for decision in again] == [["builds run live"], ["builds run live", "oncall run"]]
    assert again[1].event.change is Change.FIXED
    assert again[1].rules == ("main is broken or fixed", "every run, one living message")


def test_a_mention_is_in_the_message_about_what_broke_and_in_no_other() -> None:
    deciding = _of_the_contract()
    mentions = [{target.mention for target in deciding.add(event).targets} for event in STORY]
    assert mentions == [{()}, {()}, {("author",)}]
    assert {target.mention for target in deciding.add(run_event("success", 9, attempt=2)).targets} == {()}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"branch": "release/1/x"}, ["builds run live", "oncall run"]),
        ({"branch": "topic"}, ["builds run live"]),
        ({"repository": "acme/sandbox"}, ["builds run live"]),
        ({"repository": "Acme/App", "author": "dependabot[bot]"}, ["builds run", "oncall run"]),
        ({"source": "elsewhere", "type": "cirrus"}, ["builds run", "oncall run"]),
        ({"fork": True}, ["builds run live"]),
        ({"kind": Kind.TASK}, []),
    ],
)
def test_each_condition_of_the_contracts_rules_holds(said: dict[str, Any], expected: list[str]) -> None:
    assert owed(_of_the_contract().add(run_event("failure", 1).with_(**said))) == expected


# -- living messages ---------------------------------------------------------------------------------------------------


def test_a_living_message_follows_its_run_to_the_end_whatever_the_rule_says_of_later_states() -> None:
    deciding = Decisions(rule("it runs", LIVE, status="running"))
    decisions = [deciding.add(event) for event in STORY]
    assert [owed(decision) for decision in decisions] == [[], ["builds run live"], ["builds run live"]]
    assert [decision.state for decision in decisions] == ["unrouted", "routed", "routed"]


def test_a_living_message_goes_on_in_the_next_attempt() -> None:
    deciding = Decisions(rule("it broke", LIVE, change="broken"))
    for event in STORY:
        deciding.add(event)
    assert owed(deciding.add(run_event("running", 4, attempt=2))) == ["builds run live"]


def test_tasks_move_the_living_message_of_their_run() -> None:
    deciding = Decisions(rule("every run", LIVE, kind="pipeline"))
    deciding.add(STORY[0])
    decision = deciding.add(task_event("1", "failure", 2))
    assert owed(decision) == ["builds run live"]
    assert decision.state == "routed", "no rule asked for the task itself, but a message shows it"


def test_no_living_message_is_opened_by_a_task_that_no_rule_wants() -> None:
    deciding = Decisions(rule("every run", LIVE, kind="pipeline"))
    assert owed(deciding.add(task_event("1", "running", 1))) == []


def test_a_late_fact_moves_the_living_message_and_is_no_news() -> None:
    deciding = Decisions(rule("every run", LIVE), rule("all", Goal(destination="log")))
    deciding.add(STORY[2])
    decision = deciding.add(run_event("running", 2, pull_request=7))
    assert (owed(decision), decision.state, decision.rules) == (["builds run live"], "unchanged", ())


def test_an_event_that_changes_nothing_owes_nothing() -> None:
    deciding = Decisions(rule("every run", LIVE), rule("all", Goal(destination="log")))
    for event in STORY:
        deciding.add(event)
    for event in STORY:
        decision = deciding.add(event)
        assert (owed(decision), decision.state) == ([], "unchanged")


def test_what_another_rule_wants_said_where_a_message_lives_is_said_by_that_message() -> None:
    deciding = Decisions(
        rule("it runs", LIVE, status="running"),
        rule("it failed", Goal(destination="builds", mention=("author",)), status="failure"),
    )
    deciding.add(STORY[1])
    (target,) = deciding.add(STORY[2]).targets
    assert (target.live, target.mention, target.rules) == (True, ("author",), ("it failed",))


def test_following_mentions_nobody_again() -> None:
    goal = Goal(destination="builds", live=True, mention=("author",))
    deciding = Decisions(rule("it broke", goal, change="broken"))
    for event in STORY:
        deciding.add(event)
    (target,) = deciding.add(run_event("success", 9, attempt=2)).targets
    assert (target.live, target.mention) == (True, ())


def test_two_messages_live_side_by_side() -> None:
    deciding = Decisions(rule("both", LIVE, Goal(destination="oncall", live=True, channel="#c")))
    deciding.add(STORY[0])
    decision = deciding.add(STORY[1])
    assert len(decision.targets) == 2
    assert decision.run is not None
    assert len(decision.run.following) == 2


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(STORY + [task_event("1", s, i) for i, s in enumerate(["running", "failure"])])))
def test_a_living_message_is_owed_exactly_when_its_run_looks_different(events: list[Event]) -> None:
    deciding = Decisions(rule("every run", LIVE, kind=["pipeline", "task"]))
    version = 0
    for event in events:
        decision = deciding.add(event)
        assert decision.run is not None
        assert bool(decision.targets) == (decision.run.version > version)
        version = decision.run.version


# -- threads -----------------------------------------------------------------------------------------------------------

THREADED = Goal(destination="builds", live=True, thread=True, mention=("author",))


def test_a_result_is_said_once_more_in_the_thread_because_edits_notify_nobody() -> None:
    deciding = Decisions(rule("every run", THREADED))
    decisions = [deciding.add(event) for event in STORY]
    assert [owed(decision) for decision in decisions] == [
        ["builds run live"],
        ["builds run live"],
        ["builds run live", "builds run reply"],
    ]
    reply = decisions[2].targets[1]
    assert (reply.thread, reply.live, reply.mention) == (True, False, ("author",))
    assert decisions[2].targets[0].key != reply.key
    assert decisions[2].run is not None
    assert [target.reply for target in decisions[2].run.following] == [False], "a reply is not followed"


def test_a_result_is_replied_also_where_the_rule_wanted_only_the_beginning() -> None:
    deciding = Decisions(rule("it runs", THREADED, status="running"))
    replies = [target for event in STORY for target in deciding.add(event).targets if target.reply]
    assert [reply.mention for reply in replies] == [()]


def test_a_living_message_knows_that_its_result_is_replied() -> None:
    deciding = Decisions(rule("every run", THREADED))
    events = [*STORY, task_event("1", "failure", 3)]
    assert [deciding.add(event).targets[0].answered for event in events] == [False, False, True, True]


@pytest.mark.parametrize("status", ["cancelled", "skipped", "unknown"])
def test_what_is_no_result_is_not_replied(status: str) -> None:
    deciding = Decisions(rule("every run", THREADED))
    assert owed(deciding.add(run_event(status, 1))) == ["builds run live"]


def test_the_same_result_is_replied_once() -> None:
    deciding = Decisions(rule("every run", THREADED))
    for event in STORY:
        deciding.add(event)
    newer = deciding.add(run_event("failure", 5, description="2 tests failed"))
    late = deciding.add(run_event("running", 2, title="Count retries once"))
    task = deciding.add(task_event("1", "failure", 3))
    assert [owed(decision) for decision in (newer, late, task)] == [["builds run live"]] * 3
    assert newer.run is not None
    assert newer.run.event.change is Change.BROKEN, "and the message still says what it meant"


def test_a_run_first_heard_of_at_its_end_is_told_once_and_names_its_author_there() -> None:
    deciding = Decisions(rule("runs", THREADED))
    (target,) = deciding.add(STORY[-1]).targets
    assert (target.live, target.reply, target.mention) == (True, False, ("author",))


def test_without_a_living_message_thread_only_says_where_the_message_goes() -> None:
    deciding = Decisions(rule("results", Goal(destination="builds", thread=True), status="finished"))
    (target,) = deciding.add(STORY[2]).targets
    assert (target.thread, target.reply) == (True, False)


# -- what is remembered ------------------------------------------------------------------------------------------------


def test_only_news_is_compared_on_the_track() -> None:
    deciding = Decisions()
    deciding.add(STORY[2])
    (track,) = deciding.tracks.values()
    assert deciding.add(STORY[2]).track is None
    assert deciding.tracks == {track.key: track}


def test_the_living_message_shows_the_change_until_the_run_goes_on() -> None:
    deciding = Decisions(rule("every run", LIVE))
    for event in STORY:
        decision = deciding.add(event)
    assert decision.run is not None
    assert (decision.run.event.change, decision.run.event.failing_since) == (Change.BROKEN, clock(3))
    decision = deciding.add(run_event("running", 4, attempt=2))
    assert decision.run is not None
    assert (decision.run.event.change, decision.run.event.failures) == (None, 0)


def test_a_rerun_with_the_very_same_bytes_is_told() -> None:
    deciding = Decisions(rule("all", Goal(destination="builds"), status="finished"))
    executing, completed = build_event("running", "queued"), build_event("success", "running")
    deciding.add(executing)
    assert owed(deciding.add(completed)) == ["builds run"]
    assert owed(deciding.add(completed, repeat=True)) == []
    deciding.add(build_event("running", "success"))
    decision = deciding.add(completed, repeat=True)
    assert (owed(decision), decision.event.change) == (["builds run"], Change.STILL_PASSING)


def test_an_event_without_a_run_is_routed_and_owes_no_more() -> None:
    deciding = Decisions(rule("all", Goal(destination="builds", live=True)))
    decision = deciding.add(run_event("failure", 1).with_(run=None))
    assert (owed(decision), decision.run, decision.state) == (["builds run"], None, "routed")


def test_a_push_is_told_once() -> None:
    deciding = Decisions(rule("pushes", Goal(destination="builds"), kind="push"))
    push = run_event("unknown", 1, kind=Kind.PUSH, action="pushed")
    assert [owed(deciding.add(push)) for _ in range(2)] == [["builds push"], []]
