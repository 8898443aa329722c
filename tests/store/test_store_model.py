"""Whatever happens in whatever order, is every delivery accounted for, and does none overtake another of its lane?"""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bridge.receive import Deciding
from bridge.store import open_store
from bridge.store.base import WAITING, Accepted, Claimed, Store, StoredDelivery
from tests import arrivals
from tests.arrivals import LEASE, after

RULES = Deciding([arrivals.rule("builds", live=True), arrivals.rule("oncall", name="results", status="finished")])
MEMORY = Path("/dev/shm")  # no power fails here, and every step syncs
WORDS = ("queued", "running", "failure", "success")


class Life(RuleBasedStateMachine):
    """A database that is written by a server that crashes, on a machine whose clock jumps."""

    @initialize()
    def begin(self) -> None:
        self.folder = TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)
        self.loop = asyncio.new_event_loop()
        self.now = 0.0
        self.store = self._open()
        self.keys = 0
        self.owed = 0
        self.seen: dict[str, str] = {}
        self.held: dict[str, Claimed] = {}
        self.ended: dict[str, str] = {}

    def _open(self) -> Store:
        url = f"sqlite:///{Path(self.folder.name)}/bridge.db"
        return self.loop.run_until_complete(open_store(url, worker=True))

    def _do(self, work):  # type: ignore[no-untyped-def]
        return self.loop.run_until_complete(work)

    def _all(self) -> list[StoredDelivery]:
        return self._do(self.store.deliveries(limit=9_999))  # type: ignore[no-any-return]

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self._do(self.store.close())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()
            self.folder.cleanup()

    @rule(number=st.integers(1, 3), word=st.sampled_from(WORDS), attempt=st.integers(1, 2))
    def accept(self, number: int, word: str, attempt: int) -> None:
        before = len(self._all())
        self.keys += 1
        one = arrivals.arrival(arrivals.event(number, word, attempt=attempt), f"k{self.keys}", self.now)
        accepted: Accepted = self._do(self.store.accept(one, RULES))
        assert not accepted.duplicate
        self.seen[f"k{self.keys}"] = accepted.id
        self.owed += len(self._all()) - before
        assert len(self._all()) - before == len(accepted.destinations)

    @precondition(lambda self: self.seen)
    @rule(data=st.data())
    def accept_again(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.seen)))
        accepted = self._do(self.store.accept(arrivals.arrival(arrivals.event(1), key, self.now), RULES))
        assert (accepted.duplicate, accepted.id) == (True, self.seen[key])

    @rule(place=st.sampled_from(["builds", "oncall"]), limit=st.integers(1, 4))
    def claim(self, place: str, limit: int) -> None:
        waiting = {one.id: one for one in self._all() if one.state in WAITING}
        for claimed in self._do(self.store.claim(place, after(self.now), LEASE, limit)):
            assert claimed.run is not None
            lane = [
                one
                for one in waiting.values()
                if one.target.destination == place
                and one.event
                and one.event.run
                and one.event.run.id in claimed.run.key
            ]
            oldest = min(lane, key=lambda one: int(one.id.removeprefix("d")))
            assert claimed.id == oldest.id, "a younger delivery overtook an older one of its lane"
            if claimed.id in self.held:
                assert claimed.unsure, "a delivery that was held is given to another without a word"
            self.held[claimed.id] = claimed

    @precondition(lambda self: self.held)
    @rule(data=st.data(), state=st.sampled_from(["done", "pending", "dead", "dropped"]), wait=st.integers(0, 700))
    def settle(self, data: st.DataObject, state: str, wait: int) -> None:
        claimed = self.held.pop(data.draw(st.sampled_from(sorted(self.held))))
        shown = claimed.run.version if claimed.run and claimed.target.live and state == "done" else None
        more = {"due_at": after(self.now + wait), "outcome": "transient"} if state == "pending" else {}
        self._do(
            self.store.settle(
                arrivals.settled(claimed, state, self.now, shown=shown, receipt={"ts": "1"} if shown else None, **more)  # type: ignore[arg-type]
            )
        )

    @precondition(lambda self: any(state in ("dead", "dropped") for state in self.ended.values()))
    @rule()
    def replay(self) -> None:
        dead = [name for name, state in self.ended.items() if state in ("dead", "dropped")]
        new = self._do(self.store.replay(dead[:1], after(self.now)))
        assert len(new) == 1
        self.owed += 1
        self.ended.pop(dead[0])

    @rule(seconds=st.sampled_from([1, 30, 101, 5_000, -50, -100_000]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def crash(self) -> None:
        """What was held is held by nobody; what was answered stays."""
        self._do(self.store.close())
        self.store = self._open()
        assert not [one for one in self._all() if one.state == "sending"]

    @invariant()
    def everything_is_accounted_for(self) -> None:
        if not hasattr(self, "store"):
            return
        found = self._all()
        assert len(found) == self.owed
        for one in found:
            if one.state not in WAITING:
                known = self.ended.setdefault(one.id, one.state)
                assert one.state in (known, "folded"), f"{one.id} was {known} and is {one.state}"
        assert {one.id for one in found if one.state not in WAITING} >= self.ended.keys(), "an end was taken back"
        depths = self._do(self.store.depths())
        assert sum(one.waiting for one in depths.values()) == sum(one.state in WAITING for one in found)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=12, stateful_step_count=40, deadline=None)
