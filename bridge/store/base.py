"""What bridge must never forget, and what it asks of the engine that remembers it.

One contract for every engine (`Store`); the plain data that crosses it stands here. Nothing here does I/O.

The life of a delivery::

    pending -> sending -> done | folded | dead | dropped
       ^          |
       +- again --+

`pending` waits until `due_at`. `sending` is leased to a worker; a lease that ends without an answer (a crash) makes the
delivery unsure. `folded`: a newer state of the same living message was shown instead;
or, shown as `muted`, somebody had silenced it. `dead`: given up, kept, can be
replayed. `dropped`: it may have arrived, and `when_unsure: drop` says not to send it again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

import msgspec

from bridge.event import Event, Identity, Run, Target, Track

EventState = Literal["routed", "unrouted", "unchanged", "ignored", "unreadable", "stuck"]
"""What became of an event: rules wanted it; none did; it told nothing new; it has nothing for chat; it could not be
parsed; routing it failed, which is a bug, and it is routed again when bridge starts."""

DeliveryState = Literal["pending", "sending", "done", "folded", "dead", "dropped", "muted"]
WAITING = ("pending", "sending")
UNTRIED = ("released", "waits")
"""The outcomes of what was handed back unsent; whether it is unsure stays, unless it is not even due: "waits"."""


class Arrival(msgspec.Struct, frozen=True):
    """A verified request on its way into the store.

    `event` None: correctly signed, but unreadable, or (`ignored`) with nothing for chat; `problem` says why.
    """

    source: str
    received_at: datetime
    headers: dict[str, str]
    body: bytes
    identity: Identity
    event: Event | None = None
    problem: str = ""
    ignored: bool = False


class First(msgspec.Struct, frozen=True):
    """The first half of a decision: what the run is now, and which track has to be asked."""

    event: Event
    run: Run | None
    news: bool
    moved: bool
    track: str | None


class Decision(msgspec.Struct, frozen=True):
    """What has to be remembered and done because of an event."""

    event: Event
    run: Run | None
    track: Track | None
    state: EventState
    rules: tuple[str, ...] = ()
    targets: tuple[Target, ...] = ()


class Decider(Protocol):
    """Fold and route, as the store asks for them inside its transaction. Both are pure."""

    def run_key(self, event: Event) -> str | None: ...

    def first(self, event: Event, run: Run | None, *, repeat: bool, sent_at: datetime | None) -> First: ...

    def second(self, first: First, track: Track | None) -> Decision: ...


class Accepted(msgspec.Struct, frozen=True):
    """The answer to an arrival, after it is durable. `duplicate`: `id` is that of the one seen before."""

    id: str
    duplicate: bool = False
    state: EventState = "unrouted"
    destinations: tuple[str, ...] = ()


class Behind(msgspec.Struct, frozen=True):
    """A delivery that waits in the same lane for the same message as one that gathers."""

    id: str
    event: Event
    target: Target
    created_at: datetime


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that one worker holds until `leased_until`.

    `event` is the event that caused it, merged; `run` the newest state of its run. `receipt` says where its living
    message is, `root` where its thread begins. `unsure`: an earlier lease ended without an answer. `behind`: where the
    target gathers, what waits to be said with it, the oldest first; of an unsure one, what may have been said with it.
    """

    id: str
    event: Event
    run: Run | None
    target: Target
    created_at: datetime
    attempts: int
    version: int
    receipt: dict[str, str] | None = None
    root: dict[str, str] | None = None
    shown: int = 0
    unsure: bool = False
    plain: bool = False  # the chat refused the rendered message before: send the plain one
    replayed: bool = False
    history: int = 0  # how many attempts were made, those that do not count included
    leased_until: datetime | None = None
    behind: tuple[Behind, ...] = ()


@dataclass(frozen=True, slots=True)
class Along:
    """What becomes of a delivery that was gathered by another one."""

    id: str
    state: DeliveryState
    text: str


class Settlement(msgspec.Struct, frozen=True):
    """What a worker says of a delivery that it held.

    `state` "pending" with `due_at` is a new try. `counts`: whether it used up an attempt. `receipt` is where the
    message is now; `forget` drops the one that was known. `shown` is the version of the run that it shows.
    `leased_until` is the claim's: a worker that has lost its lease changes nothing. None: whoever holds it.
    `along` are settled with it, those that still wait; `owe` is owed from then on for the same event in the same lane.
    """

    id: str
    state: DeliveryState
    at: datetime
    outcome: str  # delivered, edited, folded, limited, transient, unsure, gone, rejected, dead, ...
    text: str = ""
    due_at: datetime | None = None
    counts: bool = False
    receipt: dict[str, str] | None = None
    forget: bool = False
    shown: int | None = None
    plain: bool = False
    seconds: float = 0.0
    sent: bytes | None = None  # the message as it was sent, for view
    leased_until: datetime | None = None
    along: tuple[Along, ...] = ()
    owe: Target | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """An event as it is kept."""

    id: str
    source: str
    received_at: datetime
    state: EventState
    event: Event | None
    problem: str
    rules: tuple[str, ...]
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAttempt:
    """One try to deliver."""

    at: datetime
    outcome: str
    text: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDelivery:
    """A delivery as it is kept."""

    id: str
    event_id: str
    target: Target
    state: DeliveryState
    due_at: datetime
    created_at: datetime
    settled_at: datetime | None
    attempts: int
    text: str
    sent: bytes | None = None
    replayed: bool = False
    event: Event | None = None
    history: tuple[StoredAttempt, ...] = ()


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """How a destination is, as every worker sees it: what its last answer said.

    `failures` counts those in a row. `rest_until`: nobody asks it before.
    """

    ok: bool
    text: str
    at: datetime
    failures: int = 0
    rest_until: datetime | None = None


NO_SOURCE = ""
"""All the names together that strangers ask for and no source has."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How often a source was answered so, and when and with which event it was last.

    `answer`: the state of an event that was accepted, "duplicate", or why the request was refused. `repository`: of
    an accepted event, else "". `last_event`: its number, 0 when none was kept. What is written is of one day (UTC).
    """

    source: str
    answer: str
    repository: str
    times: int
    last_at: datetime
    last_event: int = 0


class Limit(msgspec.Struct, frozen=True):
    """A rate limit: `key` is shared by whoever counts against it, `per_second` refills it, `burst` fits in at once."""

    key: str
    per_second: float
    burst: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Mute:
    """Silence until a time: of a rule by its name, of repositories, of branches of repositories, or of everything.

    `repository` and `branch` are patterns as in a rule's match. `id` is given by the store.
    """

    rule: str = ""
    repository: str = ""
    branch: str = ""
    since: datetime
    until: datetime
    reason: str = ""
    id: str = ""

    @property
    def what(self) -> str:
        """The words that name it on the command line."""
        if self.rule:
            return self.rule
        return f"{self.repository}@{self.branch}" if self.branch else self.repository or EVERYTHING


EVERYTHING = "all"


class Limits(Protocol):
    """Rate limits that are counted in one place. Seconds are of that place's own steady clock."""

    async def take(self, limits: Sequence[Limit]) -> float:
        """Count one request against each of `limits` and return 0.0; or count nothing and return how long to wait."""
        ...

    async def pause(self, limits: Sequence[Limit], seconds: float) -> None:
        """Let nobody take from `limits` for so long: the chat has said so."""


Row = dict[str, str | int | float | bytes | None]
"""A row of a table by its columns' names, alike in every engine: what `bridge export` writes."""


@dataclass(frozen=True, slots=True)
class Depth:
    """How much waits for one destination, and since when."""

    waiting: int
    oldest: datetime | None
    dead: int


class Store(Protocol):
    """One memory. Every method is one transaction; those that write are synced before they return.

    All raise StoreUnavailable when the engine cannot do it now.
    """

    async def accept(self, arrival: Arrival, decider: Decider) -> Accepted: ...

    async def route_stuck(self, decider: Decider) -> int:
        """Route again what a bug has kept from being routed; return how many are done."""
        ...

    async def claim(
        self, destination: str, now: datetime, lease: timedelta, limit: int, *, durable: bool = False
    ) -> list[Claimed]:
        """Lease what is due to this worker. A claim survives the end of the worker at any moment.

        `durable`: the end of the machine or the database server, too. Without it such a claim may be forgotten, and
        then what was being sent is sent again without being called unsure.
        """
        ...

    async def settle(self, settlement: Settlement) -> None: ...

    async def reload(self, claimed: Claimed) -> Claimed:
        """Return `claimed` with the newest state of its run."""
        ...

    async def track(self, key: str) -> Track | None:
        """Return what is known of the results on a track."""
        ...

    async def hasten(self, destination: str, now: datetime) -> None:
        """Make due what waits for a new try: the destination answers again."""

    async def redate(self, destination: str, now: datetime, lease: timedelta) -> None:
        """Make due whatever waits, and end leases that no `lease` explains: a clock was ahead, and is set back."""

    async def next_due(self, destination: str, now: datetime) -> datetime | None:
        """Return when the next one becomes due that is not due yet, or a lease ends."""
        ...

    async def ready(self) -> None:
        """Return if the store takes writes."""

    async def events(self, *, limit: int, **where: Any) -> list[StoredEvent]: ...

    def results(self, since: datetime, until: datetime) -> AsyncIterator[Event]:
        """Yield the recorded events that tell a result (their `change` is known), from `since` to before `until`, in
        the order of their arrival. Slice by slice: neither memory nor anybody who waits notices how many they are."""
        ...

    async def deliveries(self, *, limit: int, **where: Any) -> list[StoredDelivery]: ...

    async def event(self, event_id: str) -> StoredEvent | None: ...

    async def seen(self, source: str, keys: Sequence[str]) -> set[str]:
        """Return which of `keys` would be duplicates. One that could not be read is none: it may be readable now."""
        ...

    async def delivery(self, delivery_id: str) -> StoredDelivery | None: ...

    async def replay(self, delivery_ids: Sequence[str], now: datetime) -> list[str]: ...

    async def bury(self, known: Sequence[str], before: datetime, now: datetime) -> int:
        """Give up what was owed before `before` to a destination that is not `known` any more; return how many."""
        ...

    async def purge(self, before: datetime, limit: int) -> int: ...

    async def depths(self) -> dict[str, Depth]: ...

    async def tally(self, tallies: Sequence[Tally]) -> None:
        """Add to what is counted of the day of each; there is at most one of a day, source, answer and repository."""

    async def tallies(self, since: datetime) -> list[Tally]:
        """Return what was counted, all days added up, from the day (UTC) of `since` on."""
        ...

    async def mute(self, mute: Mute) -> str:
        """Keep a mute and return its id. One of the same words that still holds ends where this one begins."""
        ...

    async def unmute(self, mute_ids: Sequence[str], now: datetime) -> list[str]:
        """End mutes now and return the ids of those that still held."""
        ...

    async def mutes(self, since: datetime) -> list[Mute]:
        """Return the mutes that hold, and those that ended after `since`, the oldest first."""
        ...

    async def report(self, destination: str, condition: Condition) -> None:
        """Keep how a destination is, for every worker and for view."""

    async def conditions(self) -> dict[str, Condition]:
        """Return how the destinations are, by name: those that were asked at least once."""
        ...

    @property
    def limits(self) -> Limits | None:
        """The rate limits that all workers on this store share; None: there is one worker, it counts by itself."""
        ...

    async def lead(self) -> bool:
        """Return whether the timers (purge, routing again) are this process's task: one at a time has it."""
        ...

    def export(self) -> AsyncIterator[tuple[str, Row]]:
        """Yield every row of every table with the table's name, all as of one moment."""
        ...

    async def restore(self, rows: AsyncIterator[tuple[str, Row]]) -> dict[str, int]:
        """Write what `export` gave into an empty store, ids and all; return the rows by table.

        What was being sent is unsure then. Raises StoreUnavailable when the store is not empty.
        """
        ...

    def on_owed(self, wake: Callable[[str], None]) -> None:
        """Call `wake` with a destination's name whenever something became due for it."""

    def abandon(self) -> None:
        """Let go of the engine at once: whatever waits for it fails, and `close` has nothing to wait for."""

    async def close(self) -> None: ...
