"""What came while bridge was away? A sender's own history is put through the same door as its webhooks.

What bridge has not seen is read by the source, folded, routed and kept exactly as if it had been posted, but for the
signature, which history does not have. The key is that of the webhook: whichever comes second is a duplicate, also
while a server takes webhooks on the same database. The newest comes first, and what is history by then is told to
nobody: `Late`. Knows no sender: those are in `bridge.history`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bridge.config import SourceConfig
from bridge.errors import LookupFailed
from bridge.event import Event, Inbound, Run, Track
from bridge.history import HistoryModule, Hook, Redelivers, Sent
from bridge.history.asking import Asker
from bridge.receive import Read, arrival_of, understand
from bridge.store.base import Accepted, Decider, Decision, First, Store
from bridge.tally import Tallies
from bridge.units import span

REPOSITORIES = 100  # that are asked when none is named
HEARD_WITHIN = timedelta(days=30)
HEARD_EVENTS = 1_000


# -- what is told ------------------------------------------------------------------------------------------------------


class Late:
    """Decide as the running bridge does, but keep quiet about what is history: nobody is called for it any more.

    That is whatever belongs to a run that a later one of its track has overtaken. A message that lives already is still
    edited, which notifies nobody. `silent`: so with everything.
    """

    def __init__(self, decider: Decider, *, silent: bool = False) -> None:
        self._decider = decider
        self._silent = silent

    def run_key(self, event: Event) -> str | None:
        return self._decider.run_key(event)

    def first(self, event: Event, run: Run | None, *, repeat: bool, sent_at: datetime | None) -> First:
        return self._decider.first(event, run, repeat=repeat, sent_at=sent_at)

    def second(self, first: First, track: Track | None) -> Decision:
        decision = self._decider.second(first, track)
        return _hushed(first, decision) if self._silent or _overtaken(decision, track) else decision


def _overtaken(decision: Decision, track: Track | None) -> bool:
    event, run = decision.event, decision.run
    if event.overtaken_by is not None or (run is not None and run.event.overtaken_by is not None):
        return True
    # What is on no track itself, because it was cancelled or is under way: by the time of what ended since.
    at = (event.finished_at or event.changed_at) if event.change is None else None
    later = track.results[-1] if track and track.results else None
    mine = event.run.id if event.run else None
    return at is not None and later is not None and later.run != mine and later.at > at


def _hushed(first: First, decision: Decision) -> Decision:
    """Return the decision without what would be said anew: edits of living messages stay."""
    opened = first.run.following if first.run is not None else ()
    lives = {target.key for target in opened}
    edits = tuple(target.with_(mention=()) for target in decision.targets if target.live and target.key in lives)
    run = decision.run.with_(following=opened) if decision.run is not None else None
    state = "unchanged" if decision.state == "routed" and not edits else decision.state
    return Decision(decision.event, run, decision.track, state, decision.rules, edits)


# -- what was found ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Found:
    """What one webhook's history had, in numbers. `stopped` says why not all of it was looked at.

    `known` was here already. Of the rest so much was accepted (and of that, `told`: a message is owed), had nothing for
    chat, could not be read, could not be had any more, or was sent again; `missing` would be asked for.
    """

    place: str
    hook: str | None = None
    found: int = 0
    known: int = 0
    missing: int = 0
    accepted: int = 0
    told: int = 0
    ignored: int = 0
    unreadable: int = 0
    refused: int = 0
    redelivered: int = 0
    stopped: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How far to look, and what to do with what is missing."""

    since: datetime
    limit: int = 1_000
    dry_run: bool = False
    redeliver: bool = False


@dataclass(slots=True, kw_only=True)
class Backfill:
    """The history of one source, asked through `ask`, on its way into `store`."""

    store: Store
    source: SourceConfig
    decider: Decider
    history: HistoryModule
    ask: Asker
    wanted: Wanted
    now: Callable[[], datetime]
    tallies: Tallies
    _left: int = field(init=False)
    _over: bool = field(default=False, init=False)  # nothing more is to be asked
    _asked: set[str] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self._left = self.wanted.limit

    async def places(self, places: Iterable[str]) -> AsyncIterator[Found]:
        """Yield what each webhook of these repositories had. Ends early when the API wants to be left alone."""
        for place in places:
            try:
                hooks = await self.history.hooks(self.ask, place, self.source.name)
            except LookupFailed as error:
                yield Found(place, stopped=self._stopped(error))
                if self._over:
                    return
                continue
            if not hooks:
                yield Found(place, stopped=_NO_HOOK.format(source=self.source.name))
            async for found in self.hooks(hooks):
                yield found
                if self._over:
                    return

    async def hooks(self, hooks: Iterable[Hook]) -> AsyncIterator[Found]:
        """Yield what each of these webhooks had; one that was asked before is not asked again."""
        for hook in hooks:
            if hook.path in self._asked:
                continue
            self._asked.add(hook.path)
            found = Found(hook.place, hook.path.strip("/"))
            try:
                await self._look_through(hook, found)
            except LookupFailed as error:
                found.stopped = self._stopped(error)
            yield found
            if self._over:
                return

    def _stopped(self, error: LookupFailed) -> str:
        """Return why one webhook could not be looked through. What went wrong with it alone says nothing of others."""
        self._over = error.away
        return _in_words(error)

    async def _look_through(self, hook: Hook, found: Found) -> None:
        done: set[str] = set()
        async with aclosing(self.history.sent(self.ask, hook, self.wanted.since)) as pages:  # type: ignore[type-var]
            async for page in pages:
                await self._take(hook, page[: self._left], found, done)
                self._left -= len(page)
                if self._left < 0:
                    found.stopped = f"--limit {self.wanted.limit} is reached: older ones were not looked at"
                    self._over = True
                    return

    async def _take(self, hook: Hook, page: list[Sent], found: Found, done: set[str]) -> None:
        keys = [understand(self._inbound(sent), self.source).identity.key for sent in page]
        known = await self.store.seen(self.source.name, keys)
        for sent, key in zip(page, keys, strict=True):
            if key in done:  # sent more than once
                continue
            done.add(key)
            found.found += 1
            if key in known:
                found.known += 1
            else:
                await self._close(hook, sent, found)

    async def _close(self, hook: Hook, sent: Sent, found: Found) -> None:
        """Do what is to be done about something that bridge has not seen."""
        if understand(self._inbound(sent), self.source).ignored:  # its headers tell: the body need not be fetched
            found.ignored += 1
            return
        if self.wanted.dry_run:
            found.missing += 1
            return
        try:
            if self.wanted.redeliver and isinstance(self.history, Redelivers):
                await self.history.redeliver(self.ask, hook, sent)
                found.redelivered += 1
                return
            whole = await self.history.fetch(self.ask, hook, sent)
        except LookupFailed as error:
            if error.away:
                raise
            found.refused += 1
            return
        await self._accept(whole, found)

    async def _accept(self, sent: Sent, found: Found) -> None:
        inbound = self._inbound(sent)
        read = understand(inbound, self.source)
        accepted = await self.store.accept(arrival_of(inbound, read), self.decider)
        answer = _count(found, read, accepted)
        repository = read.event.repository if read.event is not None else None
        self.tallies.count(self.source.name, answer, repository, "" if read.ignored else accepted.id)

    def _inbound(self, sent: Sent) -> Inbound:
        return Inbound(self.source.name, sent.headers, sent.body or b"", self.now())


def _count(found: Found, read: Read, accepted: Accepted) -> str:
    """Count what became of one, and return it in the words of the tallies."""
    if read.ignored:
        found.ignored += 1
        return "ignored"
    if accepted.duplicate:  # the server has just had it
        found.known += 1
        return "duplicate"
    if read.event is None:
        found.unreadable += 1
        return "unreadable"
    found.accepted += 1
    found.told += bool(accepted.destinations)
    return accepted.state


_NO_HOOK = (
    "neither it nor what is above it has a webhook that posts to /webhooks/{source}, as far as this api_token sees: "
    "name one with --hook"
)


def _in_words(error: LookupFailed) -> str:
    if error.after:
        return (
            f"{error}: run this again in {span(timedelta(seconds=error.after))}, what is here by then is not asked for"
        )
    return str(error)


async def heard_of(store: Store, source: str, now: datetime) -> list[str]:
    """Return the repositories that a source has spoken of lately."""
    told = [tally.repository for tally in await store.tallies(now - HEARD_WITHIN) if tally.source == source]
    events = await store.events(limit=HEARD_EVENTS, source=source)
    told += [stored.event.repository or "" for stored in events if stored.event is not None]
    by_name = {name.lower(): name for name in told if name}
    return sorted(by_name.values())[:REPOSITORIES]
