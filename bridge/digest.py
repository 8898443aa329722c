"""What happened in a period, per repository: what broke, was fixed, is broken still, and how the runs did?

Told the results of runs one after another, in the order in which they came; keeps of each repository two rows of
durations, and of each track only what is broken or was fixed. Pure: no store, no clock. Which events are told to it is
the caller's choice.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import nlargest
from statistics import median
from zoneinfo import ZoneInfo

from bridge.event import Change, Digest, Event, Flaky, Kind, Pulse, Slow, Standing, Status, Trouble
from bridge.fold import track_key
from bridge.render.forge import pull_request_name

BEFORE = timedelta(days=7)
"""What a period is compared with; what broke earlier, and had no result since, is not known as broken any more."""

ROOM = 3_000  # characters for the repositories, with the addresses, that some chats count: no chat cuts this off
SHOWN = 3  # troubles of one kind that a message names
LISTED = 12  # troubles of one kind in one repository that are kept by name
SLOWEST = 3
FLAKIEST = 5


@dataclass(slots=True)
class _Count:
    """The runs of one repository that ended in one period."""

    runs: int = 0
    passed: int = 0
    durations: array[float] = field(default_factory=lambda: array("f"))

    def count(self, event: Event) -> None:
        self.runs += 1
        if event.status is Status.SUCCESS:
            self.passed += 1
            if (seconds := _seconds(event)) is not None:
                self.durations.append(seconds)


@dataclass(slots=True)
class _Track:
    """The runs of one track, as long as it is broken, or was fixed in the period."""

    name: str
    url: str | None
    began: datetime  # by our clock: whether it broke in the period
    since: datetime | None
    failures: int
    fixed_at: datetime | None = None

    def trouble(self) -> Trouble:
        return Trouble(self.name, self.url, self.since, self.fixed_at, self.failures)


@dataclass(slots=True)
class _Repository:
    name: str
    url: str | None = None
    now: _Count = field(default_factory=_Count)
    before: _Count = field(default_factory=_Count)
    tracks: dict[tuple[str, int | None], _Track] = field(default_factory=dict)
    flaky: Counter[str] = field(default_factory=Counter)
    slowest: list[Slow] = field(default_factory=list)


class Summary:
    """What is known of the period from `since` to `until` after the results so far."""

    def __init__(self, since: datetime, until: datetime) -> None:
        self.since = since
        self.until = until
        self._repositories: dict[str, _Repository] = {}

    def hear(self, event: Event, at: datetime, *, part: bool = True) -> None:
        """Take in an event that came `at` this time, from BEFORE the period on; what is no result says nothing.

        One that is no `part` of it (a bot's, say, where bots are left out) is not counted, and breaks nothing; but what
        was broken is fixed by whosesoever success.
        """
        if not is_result(event) or at >= self.until:
            return
        if not part:
            self._overhear(event, at)
            return
        name = event.repository or ""
        known = self._repositories.setdefault(name.lower(), _Repository(name))
        known.url = event.repository_url or known.url
        if at >= self.since:
            known.now.count(event)
            _note_slow(known, event)
        else:
            known.before.count(event)
        if event.overtaken_by is None:  # else a later result has said already how its track is
            self._follow(known, event, at)

    def _overhear(self, event: Event, at: datetime) -> None:
        known = self._repositories.get((event.repository or "").lower())
        if known is None or event.status.unsuccessful or event.overtaken_by is not None:
            return
        track = known.tracks.get((track_key(event), event.pull_request))
        if track is not None and track.fixed_at is None:
            self._follow(known, event, at)

    def _follow(self, known: _Repository, event: Event, at: datetime) -> None:
        key = (track_key(event), event.pull_request)
        track = known.tracks.get(key)
        if event.status.unsuccessful:
            if track is None or track.fixed_at is not None or event.change is Change.BROKEN:
                began = at if event.change is Change.BROKEN else event.failing_since or at
                track = known.tracks[key] = _Track("", None, began, event.failing_since, 0)
            track.name, track.url, track.failures = named(event), event.url, event.failures
        elif event.flaky:  # it was never broken: the same commit passed when it was run again
            known.tracks.pop(key, None)
            if at >= self.since:
                known.flaky.update(event.flaky_tasks or (named(event),))
        elif event.change is Change.FIXED and at >= self.since:
            fixed_at = event.finished_at or at
            known.tracks[key] = _Track(named(event), event.url, at, event.failing_since, event.failures, fixed_at)
        elif track is not None and track.fixed_at is None:
            del known.tracks[key]  # it was fixed before the period

    def digest(self) -> Digest:
        """Return what is to be told."""
        standings = [_standing(known, self.since) for known in self._repositories.values()]
        heard = [one for one in standings if one.pulse.runs or one.broken]
        shown = _fitting(sorted(heard, key=_weight))
        counts = self._repositories.values()
        return Digest(
            since=self.since,
            until=self.until,
            broke=_sum(self._repositories.values(), self.since, "broke"),
            still=_sum(self._repositories.values(), self.since, "still"),
            fixed=_sum(self._repositories.values(), self.since, "fixed"),
            repositories=tuple(shown),
            more=len(heard) - len(shown),
            more_broken=sum(bool(one.broken) for one in heard) - sum(bool(one.broken) for one in shown),
            pulse=_pulse([one.now for one in counts]),
            before=_pulse([one.before for one in counts]),
        )


def is_result(event: Event) -> bool:
    """Return whether an event says how a whole run or deployment ended, as it is compared with others."""
    return event.change is not None and event.kind in (Kind.PIPELINE, Kind.DEPLOYMENT) and event.status.finished


def headline(digest: Digest) -> str:
    """Return the shortest words for it: ``2 broke, 1 still broken, 3 fixed``."""
    counts = ((digest.broke, "broke"), (digest.still, "still broken"), (digest.fixed, "fixed"))
    said = ", ".join(f"{count:,} {word}" for count, word in counts if count)
    return said or ("nothing broke" if digest.pulse.runs else "no run ended")


def in_words(since: datetime, until: datetime, zone: str) -> str:
    """Return a period by the clocks of `zone`: ``Mon 23 Nov 09:00 to Tue 24 Nov 09:00, Europe/Oslo``."""
    clocks = ZoneInfo(zone)
    begin, end = (f"{at.astimezone(clocks):%a %-d %b %H:%M}" for at in (since, until))
    return f"{begin} to {end}, {zone}"


def named(event: Event) -> str:
    """Return what people call the track of a run: ``CI on main``."""
    if event.kind is Kind.DEPLOYMENT:
        return f"deployment to {event.environment}" if event.environment else event.pipeline or "deployment"
    ref = pull_request_name(event) or event.tag or event.branch
    return f"{event.pipeline or 'CI'} on {ref}" if ref else event.pipeline or "CI"


def _seconds(event: Event) -> float | None:
    seconds = event.duration
    if seconds is None and event.started_at and event.finished_at:
        seconds = (event.finished_at - event.started_at).total_seconds()
    return seconds if seconds is not None and 0 <= seconds < 10**9 else None


def _note_slow(known: _Repository, event: Event) -> None:
    seconds = _seconds(event)
    if seconds:
        found = [*known.slowest, Slow(named(event), seconds, event.url)]
        known.slowest = nlargest(SLOWEST, found, key=lambda one: one.duration)


def _kind(track: _Track, since: datetime) -> str:
    if track.fixed_at is not None:
        return "fixed"
    return "broke" if track.began >= since else "still"


def _sum(known: Iterable[_Repository], since: datetime, kind: str) -> int:
    return sum(_kind(track, since) == kind for one in known for track in one.tracks.values())


def _standing(known: _Repository, since: datetime) -> Standing:
    troubles: dict[str, list[Trouble]] = {"broke": [], "still": [], "fixed": []}
    for track in known.tracks.values():
        troubles[_kind(track, since)].append(track.trouble())
    return Standing(
        repository=known.name,
        url=known.url,
        **{kind: _oldest(found) for kind, found in troubles.items()},
        flaky=tuple(Flaky(name, times) for name, times in known.flaky.most_common(FLAKIEST)),
        slowest=tuple(known.slowest),
        pulse=_pulse([known.now]),
        before=_pulse([known.before]),
    )


def _oldest(found: list[Trouble]) -> tuple[Trouble, ...]:
    return tuple(sorted(found, key=lambda one: (one.since is None, one.since, one.name))[:LISTED])


def _pulse(counts: Sequence[_Count]) -> Pulse:
    durations = array("f")
    for one in counts:
        durations.extend(one.durations)
    return Pulse(
        runs=sum(one.runs for one in counts),
        passed=sum(one.passed for one in counts),
        median=round(median(durations), 1) if durations else None,
    )


def _weight(one: Standing) -> tuple[int, int, int, int, str]:
    """What is broken comes first, then what moved, then what is busy."""
    return -len(one.broken), -len(one.fixed), -len(one.flaky), -one.pulse.runs, one.repository


def _fitting(standings: Sequence[Standing]) -> list[Standing]:
    """Return as many as there is room for, at least one."""
    left = ROOM
    shown: list[Standing] = []
    for one in standings:
        left -= _room(one)
        if left < 0 and shown:
            break
        shown.append(one)
    return shown


def _room(one: Standing) -> int:
    """Return about how many characters a message needs for a repository."""
    named: list[Trouble | Slow] = [*one.broke[:SHOWN], *one.still[:SHOWN], *one.fixed[:SHOWN], *one.slowest[:1]]
    flaky = sum(len(task.name) + 12 for task in one.flaky)
    places = [(one.repository, one.url), *((trouble.name[:50], trouble.url) for trouble in named)]
    return 70 + flaky + sum(len(name) + len(url or "") + 25 for name, url in places)
