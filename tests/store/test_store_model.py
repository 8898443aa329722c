"""Does every engine do, step by step, what a small model of it says? Whatever happens, in whatever order.

The model is what the contract of `bridge.store.base` means, in a hundred lines of lists and dicts; hypothesis finds the
sequence of arrivals, claims, settlements, replays, crashes and jumps of the clock on which an engine differs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bridge.event import Run, Target, Track
from bridge.receive import Deciding
from bridge.store import _postgres_listen, open_store
from bridge.store.accepting import Duplicate, Entry, Known, Seen, accepting
from bridge.store.base import UNTRIED, WAITING, Accepted, Along, Arrival, Claimed, Decision, First, Settlement, Store
from tests import arrivals, postgres
from tests.altered import replace
from tests.arrivals import LEASE, after

T = TypeVar("T")


class Patient(Deciding):
    """What is owed to `team` waits for more of its run, and what is owed to `digest` for more of all runs."""

    def told(self, first: First, track: Track | None, after: Track | None) -> Decision:
        decision = super().told(first, track, after)
        return replace(decision, targets=tuple(PATIENCE.get(one.destination, _same)(one) for one in decision.targets))


def _same(target: Target) -> Target:
    return target


PATIENCE = {
    "team": lambda target: target.with_(wait=20.0, gather=True),
    "digest": lambda target: target.with_(wait=7_000.0, gather=True, queue="all:hours"),
}
PLACES = ("builds", "oncall", "team", "digest")
RULES = Patient(
    [
        arrivals.rule("builds", live=True),
        arrivals.rule("oncall", name="results", status="finished"),
        arrivals.rule("team", name="together"),
        arrivals.rule("digest", name="all together"),
    ]
)
STEP = timedelta(minutes=45)  # what waits longer is looked at so often
MEMORY = Path("/dev/shm")  # no power fails here, and every step syncs
WORDS = ("queued", "running", "failure", "success")
HOUR = timedelta(hours=1)
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # a database is too slow to find the shortest example on
ANSWERS = st.tuples(
    st.sampled_from(["done", "done", "pending", "pending", "dead", "dropped"]),
    st.sampled_from(["transient", "unsure", "limited", "released", "waits", "gone"]),
    st.integers(0, 700),
    st.booleans(),
)


@dataclass
class Owed:
    """A delivery as the model knows it."""

    id: int
    event_id: int
    run: str
    target: Target
    version: int
    due_at: datetime
    state: str = "pending"
    leased_until: datetime | None = None
    attempts: int = 0
    unsure: bool = False
    replayed: bool = False
    last: int = 0  # of those that were said with it when it was claimed
    lost: bool = False  # its lease was over once: an engine may have taken it back since, or not yet

    @property
    def lane(self) -> tuple[str, str]:
        shared = self.target.queue and not self.replayed
        return "" if shared else self.run, self.target.destination

    @property
    def place(self) -> tuple[str, str]:
        return self.run, self.target.key


class Model:
    """What every engine must do, without an engine."""

    def __init__(self, number: Callable[[str], int]) -> None:
        self.number = number  # of a delivery of the engine
        self.seen: dict[str, Seen] = {}
        self.runs: dict[str, Run] = {}
        self.tracks: dict[str, Track] = {}
        self.owed: list[Owed] = []
        self.places: dict[tuple[str, str], tuple[dict[str, str], int]] = {}
        self.events = 0

    def accept(self, arrival: Arrival) -> tuple[bool, int]:
        """Return whether it is a duplicate, and the number of the event."""
        entry = self._decide(arrival)
        if isinstance(entry, Duplicate):
            return True, entry.event_id
        assert entry.run is not None
        self.events += 1
        self.seen[arrival.identity.key] = Seen(self.events, None, unreadable=False)
        self.runs[entry.run.key] = entry.run
        if entry.track is not None:
            self.tracks[entry.track.key] = entry.track
        for target, _ in entry.targets:
            self._owe(self.events, entry.run.key, target, entry.run.version, arrival.received_at)
        return False, self.events

    def _decide(self, arrival: Arrival) -> Entry | Duplicate:
        talk = accepting(arrival, RULES)
        run_key = next(talk)
        try:
            track = talk.send(Known(self.seen.get(arrival.identity.key), self.runs.get(run_key or "")))
            talk.send(self.tracks.get(track or ""))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        raise AssertionError("it asked a third time")

    def _owe(self, event_id: int, run: str, target: Target, version: int, at: datetime) -> None:
        due_at = at + min(timedelta(seconds=target.wait), STEP)
        self.owed.append(Owed(len(self.owed) + 1, event_id, run, target, version, due_at))

    def due(self, destination: str, now: datetime) -> tuple[set[int], set[int]]:
        """Return what must be given when it is asked for, and what may be: the first of each lane, when it is due or
        was lost, whatever the clock did. What was lost and is not over by a clock that was set back is left open."""
        until, never = now + LEASE, now + HOUR
        here = [one for one in self.owed if one.target.destination == destination and one.state in WAITING]
        first = {one.lane: one for one in reversed(here)}.values()
        over = {one.id for one in here if one.leased_until and not now <= one.leased_until <= max(never, until)}
        for one in here:
            one.lost |= one.id in over
        due = {one.id for one in first if one.state == "pending" and not now < one.due_at <= never}
        return due | {one.id for one in first if one.id in over}, {one.id for one in first if one.lost}

    def claim(self, number: int, now: datetime) -> Owed:
        one = self.owed[number - 1]
        one.unsure |= one.lost
        one.state, one.leased_until, one.lost = "sending", now + LEASE, False
        if one.target.live:
            one.version = max(one.version, self.runs[one.run].version)
        one.last = max(self.behind(one), default=number)
        return one

    def behind(self, one: Owed) -> list[int]:
        """Return what is said with it; when it is unsure, what may have been said with it."""
        if not one.target.gathers or one.replayed:
            return []
        place = (one.lane, one.target.key)
        waiting = [other.id for other in self.owed if (other.lane, other.target.key) == place and other.id > one.id]
        until = one.last if one.unsure else len(self.owed)
        return [
            number
            for number in waiting
            if number <= until and self.owed[number - 1].state == "pending" and not self.owed[number - 1].replayed
        ]

    def settle(self, number: int, settlement: Settlement) -> None:
        one = self.owed[number - 1]
        if one.state != "sending" or one.leased_until != settlement.leased_until:
            return
        waits = settlement.state == "pending"
        one.state, one.leased_until = settlement.state, None
        one.due_at = settlement.due_at or one.due_at
        one.attempts += settlement.counts
        one.unsure = one.unsure if settlement.outcome == "released" else waits and settlement.outcome == "unsure"
        if settlement.outcome in UNTRIED:
            return
        for along in settlement.along:
            other = self.owed[self.number(along.id) - 1]
            other.state = along.state if other.state == "pending" and other.lane == one.lane else other.state
        if settlement.owe is not None:
            self._owe(one.event_id, one.run, settlement.owe, one.version, settlement.at)
        if settlement.forget:
            self.places.pop(one.place, None)
        if settlement.receipt is not None and one.target.live:
            known = self.places.get(one.place, ({}, 0))[1]
            self.places[one.place] = (settlement.receipt, max(known, settlement.shown or 0))
        if one.target.live and settlement.shown is not None:
            for other in self.owed:
                if other.place == one.place and other.state == "pending" and other.id > one.id:
                    other.state = "folded" if other.version <= settlement.shown else other.state

    def replay(self, number: int, now: datetime) -> bool:
        one = self.owed[number - 1]
        if one.state in WAITING:
            return False
        self._owe(one.event_id, one.run, one.target, one.version, now)
        self.owed[-1].replayed, self.owed[-1].due_at = True, now
        if one.state in ("dead", "dropped"):
            one.state = "folded"
        return True

    def hasten(self, destination: str, now: datetime) -> None:
        for one in self.owed:
            if one.target.destination == destination and one.state == "pending" and one.attempts and one.due_at > now:
                one.due_at = now

    def next_due(self, destination: str, at: float) -> datetime | None:
        """When a courier has to be awake at the latest: the first in its lane becomes due, or a lease ends."""
        waiting = [one for one in self.owed if one.target.destination == destination and one.state in WAITING]
        first = [one for one in {one.lane: one for one in reversed(waiting)}.values() if not one.lost]
        later = [one.due_at for one in first if one.state == "pending" and one.due_at > after(at)]
        return min([*later, *(one.leased_until for one in waiting if one.leased_until and not one.lost)], default=None)

    def start_again(self) -> None:
        """Who starts alone gives back what was being sent."""
        for one in self.owed:
            if one.state == "sending":
                one.state, one.leased_until, one.unsure, one.lost = "pending", None, True, False


class Life(RuleBasedStateMachine):
    """A store that is written by a server that crashes, on a machine whose clock jumps, beside its model."""

    engine = ""

    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        if self.engine == "postgres":
            self.url, self.drop = postgres.fresh()
        else:
            folder = TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)
            self.url, self.drop = f"sqlite:///{folder.name}/bridge.db", folder.cleanup
        self.model = Model(self._number)
        self.now = 0.0
        self.keys = 0
        self.held: list[Claimed] = []
        self.names: dict[str, int] = {}  # the engine's numbers of events, and the model's
        self.store = self._open()

    def _open(self) -> Store:
        return self._do(open_store(self.url, worker=True))

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def _ids(self) -> list[str]:
        """Return the deliveries' ids, the oldest first: a sequence may leave numbers out, and the model does not."""
        return [one.id for one in reversed(self._do(self.store.deliveries(limit=9_999)))]

    def _number(self, delivery: str) -> int:
        return self._ids().index(delivery) + 1

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self._do(self.store.close())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()
            self.drop()

    @rule(number=st.integers(1, 3), word=st.sampled_from(WORDS), attempt=st.integers(1, 2), known=st.integers(0, 9))
    def accept(self, number: int, word: str, attempt: int, known: int) -> None:
        """One delivery in ten is one that was seen before, whatever it says."""
        self.keys += known > 0
        one = arrivals.arrival(arrivals.event(number, word, attempt=attempt), f"k{self.keys}", self.now)
        self._agree(self._do(self.store.accept(one, RULES)), one)

    def _agree(self, accepted: Accepted, one: Arrival) -> None:
        duplicate, number = self.model.accept(one)
        assert accepted.duplicate == duplicate
        assert self.names.setdefault(accepted.id, number) == number

    @rule(words=st.lists(st.tuples(st.integers(1, 3), st.sampled_from(WORDS)), min_size=2, max_size=6))
    def accept_many_at_once(self, words: list[tuple[int, str]]) -> None:
        """Those of one run are decided one after the other, in the order in which they came."""
        many = []
        for number, word in words:
            self.keys += 1
            many.append(arrivals.arrival(arrivals.event(number, word), f"k{self.keys}", self.now))
        given = self._do(_together(self.store, many))
        # The order is promised within a run, where it means something: the model takes the one that the engine took.
        taken = sorted(zip(given, many, strict=True), key=lambda pair: int(pair[0].id[1:]))
        for number in (1, 2, 3):
            of_run = [one for one in many if one.event and one.event.run and one.event.run.id == str(number)]
            assert [one for _, one in taken if one in of_run] == of_run
        for accepted, one in taken:
            self._agree(accepted, one)

    @rule(place=st.sampled_from(PLACES), limit=st.integers(1, 4))
    def claim(self, place: str, limit: int) -> None:
        found = self._do(self.store.claim(place, after(self.now), LEASE, limit))
        self._do(self.store.next_due(place, after(self.now)))  # as a courier does; what is learnt must not mislead
        due, open_ = self.model.due(place, after(self.now))
        numbers = [self._number(one.id) for one in found]
        assert set(numbers) <= due | open_, "what is not due, or not the first of its run, was claimed"
        assert len(set(numbers)) >= min(limit, len(due)), "what is due was left"
        for claimed, number in zip(found, numbers, strict=True):
            one = self.model.claim(number, after(self.now))
            assert self.names[claimed.event.id or ""] == one.event_id
            assert (claimed.unsure, claimed.attempts, claimed.run) == (
                one.unsure,
                one.attempts,
                self.model.runs[one.run],
            )
            assert [self._number(other.id) for other in claimed.behind] == self.model.behind(one)
            if one.target.live:
                assert (claimed.receipt, claimed.shown) == self.model.places.get(one.place, (None, 0))
        self.held += found

    @rule(place=st.sampled_from(PLACES), answers=st.lists(ANSWERS, min_size=1, max_size=4))
    def deliver(self, place: str, answers: list[tuple[str, str, int, bool]]) -> None:
        """A worker's usual turn. What it was not answered for stays held."""
        self.claim(place, len(answers))
        for claimed, answer in zip(self.held[-len(answers) :], answers, strict=False):
            self._settle(claimed, *answer)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), answer=ANSWERS)
    def settle(self, data: st.DataObject, answer: tuple[str, str, int, bool]) -> None:
        """Also by a worker whose lease ended long ago, and more than once."""
        self._settle(data.draw(st.sampled_from(self.held)), *answer)

    def _settle(self, claimed: Claimed, state: Any, outcome: str, wait: int, more: bool) -> None:
        if self.model.owed[self._number(claimed.id) - 1].lost:
            return  # nobody has claimed it since: an engine may still believe its first holder, or not any more
        shown = claimed.run.version if claimed.run and claimed.target.live and state == "done" else None
        ends = state in ("done", "dropped")
        again = {"due_at": after(self.now + wait), "counts": outcome in ("transient", "unsure")}
        settlement = arrivals.settled(
            claimed,
            state,
            self.now,
            outcome=outcome if state == "pending" else "delivered",
            shown=shown,
            receipt={"ts": str(self.now)} if shown else None,
            forget=outcome == "gone" and state == "pending",
            along=tuple(Along(one.id, "folded", f"with {claimed.id}") for one in claimed.behind) if ends else (),
            owe=claimed.target.with_(wait=100.0) if ends and more and claimed.target.gathers else None,
            **(again if state == "pending" else {}),
        )
        self._do(self.store.settle(settlement))
        self.model.settle(self._number(claimed.id), settlement)

    @precondition(lambda self: self.model.owed)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(1, len(self.model.owed)))
        done = self._do(self.store.replay([self._ids()[number - 1]], after(self.now)))
        assert bool(done) == self.model.replay(number, after(self.now))

    @rule(place=st.sampled_from(PLACES))
    def hasten(self, place: str) -> None:
        if any(one.lost for one in self.model.owed):
            return  # it is waiting in one engine and leased in another
        self._do(self.store.hasten(place, after(self.now)))
        self.model.hasten(place, after(self.now))

    @rule(seconds=st.sampled_from([1, 30, 101, 5_000, -50, -100_000]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def crash(self) -> None:
        """What was answered stays."""
        self._do(self.store.close())
        self.store = self._open()
        self.model.start_again()

    @invariant()
    def the_engine_is_as_the_model(self) -> None:
        if not hasattr(self, "store"):
            return
        found = self._do(self.store.deliveries(limit=9_999))
        assert [(_told(one.state), one.attempts, one.target) for one in reversed(found)] == [
            (_told(one.state), one.attempts, one.target) for one in self.model.owed
        ]
        depths = self._do(self.store.depths())
        assert sum(one.waiting for one in depths.values()) == sum(one.state in WAITING for one in self.model.owed)
        for place in PLACES:
            due, wanted = self._do(self.store.next_due(place, after(self.now))), self.model.next_due(place, self.now)
            assert wanted is None or (due is not None and due <= wanted), "a courier would sleep too long"


async def _together(store: Store, many: list[Arrival]) -> list[Any]:
    return await asyncio.gather(*(store.accept(one, RULES) for one in many))


def _told(state: str) -> str:
    """Whether a lost one still counts as sent, or waits again, shows when it is claimed."""
    return "waiting" if state in WAITING else state


@pytest.fixture(autouse=True)
def nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_postgres_listen, "ALONE_FOR", 0.0)


def live(engine: str, examples: int, steps: int) -> None:
    machine = type(f"Life on {engine}", (Life,), {"engine": engine})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None, phases=PHASES)
    )


def test_sqlite_does_what_the_model_says() -> None:
    live("sqlite", 25, 40)


def test_postgresql_does_what_the_model_says() -> None:
    live("postgres", 6, 25)
