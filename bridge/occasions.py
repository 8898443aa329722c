"""What does bridge tell of itself, because of the time and not of an event? Digests, and that a mute is over.

Each becomes an event of bridge's own, accepted like any other: under a name that it can have only once, so that two
leaders, a crash and a restart tell it once, and with deliveries that are shown, muted and replayed. Never sends.
See docs/quiet.md and docs/decisions/0019-time-makes-events.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from bridge.config import Config
from bridge.digest import BEFORE, Summary, headline, in_words, is_result
from bridge.errors import StoreUnavailable
from bridge.event import OWN, Digest, Event, Identity, Kind, Run, Target, Track
from bridge.fold import track_key
from bridge.observe import log
from bridge.receive import Deciding
from bridge.render import UNMUTED
from bridge.route import Rule, hears
from bridge.schedule import Schedule, last_time, time_before
from bridge.store.base import Arrival, Decision, First, Mute, Store, StoredDelivery

ENDED_WITHIN = timedelta(days=1)  # a bridge that was down for longer says nothing of the mutes that ended meanwhile
AFTER_THE_END = timedelta(seconds=5)  # what came under a mute is kept quiet a little later
COUNTED = 10_000  # messages that a mute has kept quiet; more are not counted
LONGEST_MUTE = timedelta(days=30)  # how far back is asked what is failing still


class Occasions:
    """What has its time, and was it told? Asked now and then by the one process that leads."""

    def __init__(self, store: Store, config: Callable[[], Config], now: Callable[[], datetime]) -> None:
        self._store = store
        self._config = config
        self._now = now
        self._begins: dict[tuple[str, Schedule], datetime] | None = None  # None: it was never asked
        self._done: dict[tuple[str, Schedule], datetime] = {}
        self._over: set[str] = set()  # mutes whose end was told

    async def tell(self) -> None:
        """Accept what is due and was not told. Raises StoreUnavailable."""
        now = self._now()
        for rule, schedule in self._due(now):
            try:
                await self._tell_digest(rule, schedule, now)
            except StoreUnavailable:
                raise
            except Exception as error:  # a bug: the other digests are told all the same
                log.error("digest.failed", rule=rule.name, error=type(error).__name__, exc_info=True)
        mutes = await self._store.mutes(now - LONGEST_MUTE)
        held = {mute.what for mute in mutes if now < mute.until + AFTER_THE_END}
        for mute in mutes:
            if mute.id not in self._over and mute.what not in held and mute.until >= now - ENDED_WITHIN:
                await self._tell_end(mute, [one for one in mutes if one.what == mute.what], now)
                self._over.add(mute.id)

    def _due(self, now: datetime) -> list[tuple[Rule, Schedule]]:
        """Return the digests whose time has come since they were told last.

        One that was there when this process began may have been missed while none ran: its newest one is told. One that
        came with a new configuration begins with it.
        """
        known = [(rule, rule.digest) for rule in self._config().rules if rule.digest is not None]
        if self._begins is None:
            self._begins = {(rule.name, schedule): datetime.min.replace(tzinfo=now.tzinfo) for rule, schedule in known}
        self._begins = {key: self._begins.get(key, now) for key in ((rule.name, times) for rule, times in known)}
        return [
            (rule, schedule)
            for rule, schedule in known
            if self._begins[rule.name, schedule] < (at := last_time(schedule, now))
            and self._done.get((rule.name, schedule)) != at
        ]

    async def _tell_digest(self, rule: Rule, schedule: Schedule, now: datetime) -> None:
        until = last_time(schedule, now)
        name = f"digest|{rule.name}|{until:%Y-%m-%dT%H:%MZ}"
        if not await self._store.seen(OWN, [name]):
            digest = await digest_of(self._store, rule, time_before(schedule, until), until)
            if rule.tells_empty or not digest.empty:
                await self._accept(name, digest, Deciding(self._config().rules), now)
        self._done[rule.name, schedule] = until

    async def _tell_end(self, mute: Mute, alike: Sequence[Mute], now: datetime) -> None:
        """Tell each place where a mute kept something quiet that it is over.

        Who mutes the same again sets a new end: the mutes that went on without a gap are one, and the last one tells.
        """
        if any(one.since == mute.until for one in alike):
            return
        mutes = _one_after_another(mute, alike)
        kept = [delivery for one in mutes for delivery in await self._kept_by(one)]
        mute = replace(mute, since=mutes[-1].since)
        # An id begins again with a new database, a time does not.
        name = f"mute|{mute.id}|{mute.until.timestamp():.0f}"
        places = {
            f"{name}|{destination}|{channel or ''}": place
            for (destination, channel), place in _by_place(kept).items()
            if destination in self._config().destinations
        }
        for told in await self._store.seen(OWN, tuple(places)):
            del places[told]
        await self._tell_places(mute, places, now)

    async def _tell_places(self, mute: Mute, places: Mapping[str, _Place], now: datetime) -> None:
        """Tell each place, by the name of what it is told, how many messages it missed and what is failing now."""
        if not places:
            return
        async for event in self._store.results(max(mute.since, mute.until - LONGEST_MUTE), now):
            for place in places.values():
                place.hear(event)
        for name, place in places.items():
            digest = place.summary.digest().with_(
                since=mute.since, until=mute.until, mute=mute.what, reason=mute.reason, quiet=place.count
            )
            await self._accept(name, digest, _Owing(place.target()), now)

    async def _kept_by(self, mute: Mute) -> list[StoredDelivery]:
        return await self._store.deliveries(limit=COUNTED, like=f"muted by {mute.id} (%", settled=mute.since)

    async def _accept(self, name: str, digest: Digest, decider: Deciding | _Owing, now: datetime) -> None:
        event = own_event(digest).with_(received_at=now)
        accepted = await self._store.accept(Arrival(OWN, now, {}, b"", Identity(name), event), decider)
        if not accepted.duplicate:
            log.info("occasion.told", event_id=accepted.id, destinations=list(accepted.destinations))


def _one_after_another(mute: Mute, alike: Sequence[Mute]) -> list[Mute]:
    """Return `mute` and those of the same words that it continues, the newest first."""
    found = [mute]
    while before := next((one for one in alike if one.until == found[-1].since and one not in found), None):
        found.append(before)
    return found


@dataclass(slots=True)
class _Place:
    """What a mute has kept from one place: how much, of which rules and tracks."""

    destination: str
    channel: str | None
    summary: Summary
    count: int = 0
    rules: dict[str, None] = field(default_factory=dict)
    tracks: set[str] = field(default_factory=set)

    def add(self, delivery: StoredDelivery) -> None:
        self.count += 1
        self.rules |= dict.fromkeys(delivery.target.rules)
        if delivery.event is not None:
            self.tracks.add(track_key(delivery.event))

    def target(self) -> Target:
        rules = tuple(self.rules)
        return Target(destination=self.destination, template=UNMUTED, channel=self.channel, rules=rules)

    def hear(self, event: Event) -> None:
        if event.received_at is not None and is_result(event) and track_key(event) in self.tracks:
            self.summary.hear(event, event.received_at)


def _by_place(kept: Iterable[StoredDelivery]) -> dict[tuple[str, str | None], _Place]:
    known = list(kept)
    since = min((one.created_at for one in known), default=None)
    places: dict[tuple[str, str | None], _Place] = {}
    for one in known:
        where = (one.target.destination, one.target.channel)
        if since is not None and where not in places:
            places[where] = _Place(*where, Summary(since, datetime.max.replace(tzinfo=since.tzinfo)))
        places[where].add(one)
    return places


class _Owing:
    """A `Decider` for what no rule decides: one message to one place."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def run_key(self, _event: Event) -> str | None:
        return None

    def first(self, event: Event, run: Run | None, *, repeat: bool, sent_at: datetime | None) -> First:
        return First(event, None, news=True, moved=False, track=None)

    def second(self, first: First, track: Track | None) -> Decision:
        return Decision(first.event, None, None, "routed", self._target.rules, (self._target,))


def own_event(digest: Digest) -> Event:
    """Return the event that tells a digest."""
    title = headline(digest) if digest.rule else f"the mute of {digest.mute} is over: {digest.quiet:,} kept quiet"
    return Event(source=OWN, type=OWN, kind=Kind.DIGEST, title=title, digest=digest)


async def digest_of(store: Store, rule: Rule, since: datetime, until: datetime) -> Digest:
    """Return what happened between these times, of all that `rule` hears. Raises StoreUnavailable."""
    summary = Summary(since, until)
    async for event in store.results(since - BEFORE, until):
        if event.received_at is not None:
            summary.hear(event, event.received_at, part=hears(rule, event).matched)
    zone = rule.digest.zone if rule.digest is not None else "UTC"
    return summary.digest().with_(rule=rule.name, period=in_words(since, until, zone))
