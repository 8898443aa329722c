"""Do the sums come out? What the senders were promised, what the database says, and what the chat's book shows.

* every event that was answered is kept once, and nothing that was never sent is;
* each of its destinations has one delivery: accepted = done + folded + dead + dropped, by event and by destination;
* `done` is in the book; `folded` was shown by a newer state of the same message; nothing else is dead or dropped than
  where the configuration says so (`attempts: 3`, ``when_unsure: drop``);
* each living message ends with the newest step, and never goes back; the steps of a run come in order at each place;
* what stands twice in the book was sent again because of something that was done to it: the copy before was accepted
  while its answer could be lost. A kill explains no more than what one process can have under way at one destination;
* no log shows a traceback, a bug or a secret; no process ends by itself but where it has a reason.

Nothing here asks bridge.
"""

from __future__ import annotations

import bisect
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from bridge.deliver import AT_ONCE
from tests.chaos.database import DELIVERIES, EVENTS, NOBODYS, Database, first
from tests.chaos.faults import Fault
from tests.chaos.fleet import Ended, Fleet
from tests.chaos.senders import STEPS, Promises, kind_of, place_of
from tests.fakes.slack import TOKEN
from tests.running import SECRETS

MARK = re.compile(r"r(\d+)s(\d+)e")
NEVER = re.compile(
    rb'Traceback|"exception"|delivery\.bug|courier\.failed|store\.failed|request\.failed|background\.failed|event\.stuck'
    rb"|delivery\.unreadable|event\.unreadable|template\.failed|never retrieved|was never awaited|was destroyed but"
)
SECRET = re.compile(b"|".join(re.escape(secret.encode()) for secret in (TOKEN, *SECRETS.values())))
SHOWN_AT_MOST = 20  # problems of one kind

# Which faults can lose an answer or a lease, and how long before and after them, in seconds.
CAUSES: dict[str, tuple[float, float]] = {
    "answers cut off": (0.1, 0.2),
    "answers too late": (0.1, 1.0),
    "network refused": (0.2, 0.2),
    "network dropped": (0.2, 0.5),
    "worker stopped": (1.0, 1.0),
    "database restarted": (1.5, 1.5),
    "connections cut": (1.5, 1.5),
    "disk full": (1.5, 1.5),
    "clock forwards": (1.5, 1.5),
    "clock backwards": (1.5, 1.5),
    "killed": (2.0, 0.2),
}
SLOW = 0.4  # seconds: a slow answer is on its way for 0.3, and dies with a connection that is broken off meanwhile
PER_KILL = ("killed",)  # those that explain only so much
MAY_COME_LATE = ("worker stopped", "clock forwards", "clock backwards", "database restarted", "connections cut")
EXCUSES = {"database restarted", "connections cut", "disk full", "bad configuration"}  # for a process that ends


@dataclass
class Sums:
    """What came of a round. `problems` is what nobody can explain."""

    promised: int = 0
    wanted: int = 0  # deliveries that the rules owe for it
    by_state: Counter[str] = field(default_factory=Counter)
    by_place: dict[str, Counter[str]] = field(default_factory=dict)
    posts: int = 0
    edits: int = 0
    twice: Counter[str] = field(default_factory=Counter)  # by cause
    late: int = 0  # copies that came after a later step
    lost: int = 0
    again: int = 0  # requests that were answered "duplicate": the answer before was lost
    ended: int = 0  # processes that ended by themselves, with a reason
    problems: list[str] = field(default_factory=list)
    _counts: Counter[str] = field(default_factory=Counter)

    def problem(self, kind: str, text: str) -> None:
        self._counts[kind] += 1
        if self._counts[kind] <= SHOWN_AT_MOST:
            self.problems.append(f"{kind}: {text}")


@dataclass
class Entry:
    """A line of the book."""

    at: float
    edit: bool
    ts: int
    run: int
    step: int


class Causes:
    """Explains why something was sent again."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        faults = list(faults)
        slow = [fault for fault in faults if fault.kind == "network slow"]

        def since(fault: Fault) -> float:
            """Return from when on an answer may have been on its way that the fault has cut off."""
            held = fault.kind == "network refused" and any(one.start <= fault.start <= one.end + SLOW for one in slow)
            return fault.start - SLOW if held else fault.start

        self._windows = {
            kind: sorted(
                (since(fault) - before, fault.end + after, number)
                for number, fault in enumerate(faults)
                if fault.kind == kind
            )
            for kind, (before, after) in CAUSES.items()
        }
        self._used: Counter[tuple[int, str]] = Counter()

    def of(self, at: float, place: str) -> str | None:
        """Return what was done to a request that the chat took at `at`, and whose answer did not count."""
        for kind, windows in self._windows.items():
            # Windows of one kind are few and short: look at all that have begun.
            for start, end, number in windows[max(0, bisect.bisect(windows, (at, 0.0, 0)) - 16) :]:
                if start <= at <= end and (kind not in PER_KILL or self._used[number, place] < AT_ONCE):
                    self._used[number, place] += 1
                    return kind
        return None


async def reconcile(folder: Path, database: Database, promises: Promises, faults: list[Fault], fleet: Fleet) -> Sums:
    sums = Sums(promised=sum(promises.last.values()), again=promises.answers["duplicate"])
    states = await _memory(database, promises, sums)
    book = read_book(folder / "book")
    causes = Causes(faults)
    for place, entries in sorted(book.items()):
        if place.startswith("living"):
            living(place, entries, promises, causes, sums)
        else:
            each(place, entries, causes, sums)
    shown(states, book, sums)
    logs(folder / "logs", sums)
    endings(fleet.plant.ended, faults, sums)
    for text in (*promises.wrong, *fleet.late):
        sums.problem("wrong answer", text)
    if promises.answers["accepted"] + promises.answers["duplicate"] != sums.promised:
        sums.problem("harness", "the senders cannot count")
    return sums


# -- the database against the promises

States = dict[tuple[str, int, int], str]  # of each delivery: its destination, run and step


def destinations(run: int) -> list[str]:
    """Return which destinations the rules name for the steps of a run."""
    kind, place = kind_of(run), place_of(run)
    more = {0: ["drop"], 1: ["brittle"]}.get(place, []) if kind == "each" else []
    return [] if kind == "quiet" else [f"{kind}-{place}", *more]


async def _memory(database: Database, promises: Promises, sums: Sums) -> States:
    marks: dict[int, tuple[int, int]] = {}
    counted: Counter[tuple[int, int]] = Counter()
    async for number, state, text in database.rows(EVENTS):
        mark = _mark(text)
        marks[number] = mark
        counted[mark] += 1
        if state not in ("routed", "unrouted") or (state == "unrouted") != (not destinations(mark[0])):
            sums.problem("event", f"r{mark[0]}s{mark[1]}e is {state}")
    for run, last in promises.last.items():
        if last != STEPS[kind_of(run)]:
            sums.problem("harness", f"run {run} ended at step {last}")
        for step in range(1, last + 1):
            found = counted.pop((run, step), 0)
            sums.wanted += len(destinations(run))
            if found != 1:
                sums.lost += not found
                sums.problem("lost event" if not found else "event kept twice", f"r{run}s{step}e is kept {found} times")
    for (run, step), found in counted.items():
        sums.problem("invented event", f"r{run}s{step}e is kept {found} times, and was never answered")
    return await _deliveries(database, promises, marks, sums)


async def _deliveries(database: Database, promises: Promises, marks: dict[int, tuple[int, int]], sums: Sums) -> States:
    states: States = {}
    if nobodys := await first(database, NOBODYS):
        sums.problem("delivery", f"{nobodys} deliveries belong to no event")
    async for number, place, state, text in database.rows(DELIVERIES):
        run, step = marks.get(number, (0, 0))
        if (place, run, step) in states:
            sums.problem("delivery", f"r{run}s{step}e is owed to {place} twice")
        states[place, run, step] = state
        sums.by_state[state] += 1
        sums.by_place.setdefault(place, Counter())[state] += 1
        allowed = {"drop": "dropped", "brittle": "dead"}.get(place, "folded" if place.startswith("living") else "")
        if state not in ("done", allowed):
            sums.problem("delivery", f"r{run}s{step}e at {place} is {state}: {text}")
    for run, last in promises.last.items():
        for place in destinations(run):
            for step in range(1, last + 1):
                if (place, run, step) not in states:
                    sums.lost += 1
                    sums.problem("lost delivery", f"r{run}s{step}e is not owed to {place}")
    if len(states) != sums.wanted:
        sums.problem("sum", f"{sums.wanted} deliveries are owed, {len(states)} are kept")
    return states


def _mark(text: bytes | str | None) -> tuple[int, int]:
    """The newest mark in a stored event: it may repeat what was said before."""
    plain = text.decode() if isinstance(text, bytes) else text or ""
    return max(((int(run), int(step)) for run, step in MARK.findall(plain)), default=(0, 0))


# -- the book against both

Book = dict[str, list[Entry]]


def read_book(path: Path) -> Book:
    book: Book = defaultdict(list)
    with path.open() as lines:
        for line in lines:
            at, method, channel, ts, run, step = line.split()
            book[channel.lower()].append(Entry(float(at), method == "edit", int(ts), int(run), int(step)))
    return book


def living(place: str, entries: list[Entry], promises: Promises, causes: Causes, sums: Sums) -> None:
    """One message per run, edited: never backwards, at the end the newest step."""
    messages: dict[int, Entry] = {}  # by ts, as it stands
    posts: dict[int, list[Entry]] = defaultdict(list)  # of a run
    for entry in entries:
        before = messages.get(entry.ts)
        if before is not None and (entry.run != before.run or entry.step < before.step):
            sums.problem("backwards", f"{place} {entry.ts}: step {before.step} became {entry.step} of run {entry.run}")
        messages[entry.ts] = entry
        sums.edits += entry.edit
        if not entry.edit:
            sums.posts += 1
            posts[entry.run].append(entry)
    for run, mine in posts.items():
        _explain(place, mine, causes, sums)
        newest = max(messages[post.ts].step for post in mine)
        if newest != promises.last.get(run):
            sums.problem("stale", f"{place} shows step {newest} of run {run}, not {promises.last.get(run)}")


def each(place: str, entries: list[Entry], causes: Causes, sums: Sums) -> None:
    """A message per step, in order; what comes twice is explained."""
    sums.posts += len(entries)
    newest: dict[int, int] = {}  # step of each run
    copies: dict[tuple[int, int], list[Entry]] = defaultdict(list)
    late: set[tuple[int, int]] = set()
    for entry in entries:
        mine = copies[entry.run, entry.step]
        mine.append(entry)
        step = newest.get(entry.run, 0)
        if entry.step > step:
            newest[entry.run] = entry.step
        elif entry.step < step and len(mine) == 1:
            sums.problem("order", f"{place}: step {entry.step} of run {entry.run} came after {step}")
        elif entry.step < step:
            late.add((entry.run, entry.step))
    for (run, step), mine in copies.items():
        if len(mine) == 1:
            continue
        if place == "drop":
            sums.problem("twice", f"r{run}s{step}e is {len(mine)} times at {place}, which drops")
        kinds = _explain(place, mine, causes, sums)
        sums.late += (run, step) in late
        if (run, step) in late and not set(kinds) & set(MAY_COME_LATE):
            sums.problem("late copy", f"{place}: r{run}s{step}e again after a later step, because of {kinds}")


def _explain(place: str, copies: list[Entry], causes: Causes, sums: Sums) -> list[str]:
    """Every copy but the last must have had a reason to be sent again."""
    found = []
    for copy, following in pairwise(copies):
        kind = causes.of(copy.at, place)
        if kind is None:
            text = f"r{copy.run}s{copy.step}e at {place}, at {copy.at:.3f} and {following.at:.3f}"
            sums.problem("twice without a cause", text)
        else:
            sums.twice[kind] += 1
            found.append(kind)
    return found


def shown(states: States, book: Book, sums: Sums) -> None:
    """What the database calls done or folded was shown; what the book shows was owed."""
    steps = {place: {(entry.run, entry.step) for entry in entries} for place, entries in book.items()}
    newest: dict[tuple[str, int], int] = {}
    for place, marks in steps.items():
        for run, step in marks:
            newest[place, run] = max(step, newest.get((place, run), 0))
            if (place, run, step) not in states:
                sums.problem("invented message", f"r{run}s{step}e at {place}")
    for (place, run, step), state in states.items():
        if place.startswith("living"):
            there = newest.get((place, run), 0) >= step
        else:
            there = (run, step) in steps.get(place, ())
        if not there and state in ("done", "folded"):
            sums.lost += 1
            sums.problem("lost message", f"r{run}s{step}e at {place} is {state}, and nobody saw it")


# -- what the processes said and did


def logs(folder: Path, sums: Sums) -> None:
    for path in sorted(folder.iterdir()):
        with path.open("rb") as lines:
            for line in lines:
                if NEVER.search(line):
                    sums.problem("log", f"{path.name}: {line.decode(errors='replace').strip()[:2000]}")
                if SECRET.search(line):
                    sums.problem("secret", f"{path.name} shows one")


def endings(ended: list[Ended], faults: list[Fault], sums: Sums) -> None:
    """A process may end by itself when its database or its configuration is not there, and then with words."""
    for one in ended:
        excused = any(
            fault.kind in EXCUSES and fault.start - 0.5 <= one.at <= fault.end + 10 for fault in faults
        ) and one.code in (1, 2)
        sums.ended += excused
        if not excused:
            sums.problem("ended", f"{one.slot} ended with {one.code}")
