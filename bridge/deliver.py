"""What is owed goes out: claim, render, send or edit, settle. One courier per destination: none waits for another.

A delivery of a living message says "show the newest state", not "make this edit": the courier loads the run when its
turn has come, and what it shows settles every older wish for the same message. Nothing here decides about retries:
that is `bridge.retry`, pure. https://microservices.io/patterns/data/transactional-outbox.html
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec.structs import replace

from bridge import codec, observe
from bridge.config import Config, DestinationConfig, Directory, SourceConfig
from bridge.destinations import DESTINATIONS, Destination, Finds
from bridge.destinations.base import Health, Receipt
from bridge.errors import (
    Dead,
    DeliveryError,
    LookupFailed,
    RateLimited,
    Rejected,
    StoreUnavailable,
    TemplateError,
    Transient,
    Unsure,
)
from bridge.event import ALL_CLEAR, Event, Run, Target
from bridge.fold import fill, newest_task, track_key
from bridge.lookups import LOOKUPS, LookupModule
from bridge.message import COLLECTED, Message
from bridge.mute import Mutes, why
from bridge.naming import Finder, Naming
from bridge.observe import log
from bridge.render import Renderer, View, plain
from bridge.retry import LONGEST_PAUSE, LONGEST_REST, Pace, Policy, Verdict, cause, decide, rest
from bridge.store.base import Along, Behind, Claimed, Condition, Limit, Limits, Settlement, Store
from bridge.store.rows import LONGEST_STEP
from bridge.turn import (
    after_failure,
    after_it,
    after_mute,
    all_clear,
    newest_of_each,
    ready_at,
    still,
    unsaid,
    waits_until,
)
from bridge.whom import Named, besides, ids, known, whom

if TYPE_CHECKING:
    import aiohttp

AT_ONCE = 4  # deliveries of one destination in flight, each of another run
POLL = 2.0  # seconds; the safety net under the wake-ups, and how soon another process's replay is seen
LEASE_BEYOND_TIMEOUT = timedelta(seconds=90)
HOLD_AT_MOST = 30.0  # seconds that a claimed delivery may wait for its rate limit before it is handed back
BREATH = 0.05  # seconds
FINISH_WITHIN = 5.0  # seconds for what is in flight when bridge stops
LOOKUP_WITHIN = 4.0  # seconds
LOOKUPS_KEPT = 2_000
SET_BACK = 5.0  # seconds from which on a clock was set and did not drift
STORE_AGAIN = 1.0  # seconds until a store that took nothing is asked again
AWAY_FOR = 10.0  # seconds that an API that failed is not asked again
ASKED_AT_MOST = 5  # messages said together whose reviewers and owners are asked for
PROBE = 60.0  # seconds between two requests to a destination that is dead


class Shown(msgspec.Struct, frozen=True):
    """A message as it now stands in a chat."""

    claimed: Claimed
    destination: str
    integration: str
    message: Message
    edited: bool
    at: datetime


async def wait(event: asyncio.Event, seconds: float) -> bool:
    """Return whether `event` was set within so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


class Paces:
    """`Limits` of this process alone. Destinations that count against one limit (one token) share it."""

    def __init__(self, steady: Callable[[], float] = time.monotonic) -> None:
        self._steady = steady
        self._paces: dict[str, Pace] = {}

    async def take(self, limits: Sequence[Limit]) -> float:
        paces, now = self._of(limits), self._steady()
        seconds = max((pace.wait(now) for pace in paces), default=0.0)
        if seconds <= 0:
            for pace in paces:
                pace.take(now)
        return seconds

    async def pause(self, limits: Sequence[Limit], seconds: float) -> None:
        for pace in self._of(limits):
            pace.pause(self._steady() + seconds)

    def _of(self, limits: Sequence[Limit]) -> list[Pace]:
        for limit in limits:
            pace = self._paces.setdefault(limit.key, Pace(limit.per_second, limit.burst))
            # Two destinations may share a limit and be configured differently: the slower one holds for both.
            pace.per_second = min(pace.per_second, limit.per_second)
            pace.burst = min(pace.burst, limit.burst)
        return [self._paces[key] for key in dict.fromkeys(limit.key for limit in limits)]


class Heard:
    """What other workers said of the destinations: asked for all of them at once, at most every POLL seconds."""

    def __init__(self, store: Store, steady: Callable[[], float]) -> None:
        self._store = store
        self._steady = steady
        self._known: dict[str, Condition] = {}
        self._again_at = float("-inf")

    async def of(self, destination: str) -> Condition | None:
        if self._store.limits is None:  # there is no other worker
            return None
        if self._steady() >= self._again_at:
            self._again_at = self._steady() + POLL
            self._known = await self._store.conditions()
        return self._known.get(destination)


class Enricher:
    """Asks senders' APIs for what their webhooks leave out; bounded in time, kept per state of a run, never needed."""

    def __init__(self, session: aiohttp.ClientSession, config: Callable[[], Config]) -> None:
        self._session = session
        self._config = config
        self._kept: OrderedDict[tuple[str, int, str], Run] = OrderedDict()
        self._asking: dict[tuple[str, int, str], asyncio.Task[None]] = {}
        self._away: dict[str, float] = {}  # until when a source's API, which just failed, is not asked

    async def enrich(self, run: Run) -> Run:
        """Return `run` with what the API adds, or as it is."""
        source = self._config().sources.get(run.event.source)
        lookup = LOOKUPS.get(source.type) if source is not None else None
        if source is None or lookup is None or not run.seen or source.type != run.event.type:
            return run
        if lookup.NEEDS_TOKEN and not source.api_token:
            return run
        key = (run.key, run.attempt, run.status.value)
        if key not in self._kept and time.monotonic() >= self._away.get(source.name, 0.0):
            asking = self._asking.get(key)
            if asking is None:
                asking = self._asking[key] = asyncio.create_task(self._ask(run, key, source, lookup))
            await asyncio.shield(asking)
        known = self._kept.get(key)
        return _joined(run, known) if known is not None else run

    async def _ask(self, run: Run, key: tuple[str, int, str], source: SourceConfig, lookup: LookupModule) -> None:
        result, away, after = "failed", False, 0.0
        try:
            async with asyncio.timeout(LOOKUP_WITHIN):
                self._kept[key] = await lookup.look_up(
                    run, self._session, source.api_url or lookup.API_URL, source.api_token
                )
            result = "ok"
        except LookupFailed as error:
            away, after = error.away, error.after
            log.info("lookup.failed", source=source.name, reason=str(error))
        except TimeoutError:
            result, away = "slow", True
            log.info("lookup.slow", source=source.name)
        except Exception as error:  # a bug in a lookup must not hold a message back
            log.error("lookup.failed", source=source.name, error=type(error).__name__, exc_info=True)
        finally:
            self._asking.pop(key, None)
        observe.lookups.labels(source.name, result).inc()
        if away:
            self._away[source.name] = time.monotonic() + max(AWAY_FOR, after)
        while len(self._kept) > LOOKUPS_KEPT:
            self._kept.popitem(last=False)


def _joined(run: Run, known: Run) -> Run:
    """Return the newest `run` with what a lookup said of it, now or some versions ago."""
    told = {task.id: task for task in known.tasks}
    newest = {task.id: newest_task(task, told.get(task.id, task)) for task in run.tasks}
    event = _filled(run.event, known.event)
    return run.with_(
        event=event.with_(duration=event.duration or known.event.duration),
        tasks=tuple((told | newest).values()),
    )


def _filled(event: Event, known: Event) -> Event:
    """Return `event` with what a lookup said of it, its facts after those of the webhook."""
    labels = dict(event.facts)
    more = tuple(fact for fact in known.facts if fact[0] not in labels)
    return fill(event, known).with_(author=_author(event, known), facts=event.facts + more)


def _author(event: Event, known: Event) -> str | None:
    """Return the login: a name stands in its place where the webhooks did not tell it."""
    told = event.author is not None and event.author != event.author_name
    return event.author if told else known.author or event.author


class Courier:
    """Delivers for one destination until `stop`."""

    def __init__(
        self,
        config: DestinationConfig,
        destination: Destination,
        store: Store,
        *,
        renderer: Callable[[], Renderer],
        directory: Callable[[], Directory],
        naming: Naming,
        enricher: Enricher,
        limits: Limits,
        heard: Heard,
        mutes: Mutes,
        now: Callable[[], datetime],
        dice: Callable[[], float],
        shown: Callable[[Shown], None],
        steady: Callable[[], float],
        wait: Callable[[asyncio.Event, float], Awaitable[bool]],
    ) -> None:
        self.name = config.name
        self.config = config
        self.destination = destination
        self.condition: Condition | None = None  # the newest that this or another worker knows
        self._integration = config.type
        self._store = store
        self._renderer = renderer
        self._directory = directory
        self._naming = naming
        self._enricher = enricher
        self._limits = limits
        self._heard = heard
        self._mutes = mutes
        self._untold = False  # whether the other workers do not know the condition yet
        self._now = now
        self._dice = dice
        self._shown = shown
        self._steady = steady
        self._wait = wait
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._rest_until = 0.0
        self._dead_until = float("-inf")  # until when the destination, which said that it is dead, is not asked
        self._ahead: float | None = None  # how far the wall clock was before the steady one, when it was last looked at
        self._flying: dict[asyncio.Task[None], Claimed] = {}
        options = config.options
        self._timeout = options.timeout
        self._finder: Finder | None = None
        if getattr(options, "find_people", False) and isinstance(destination, Finds):
            self._finder = Finder(config.name, destination, steady)
        self._policy = Policy(options.give_up_after, options.attempts, options.when_unsure)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"courier {self.name}")

    def wake(self) -> None:
        self._wake.set()

    async def stop(self) -> None:
        """Claim nothing more and let what is in flight end; what does not end in time is handed back, as unsure."""
        self._stopping.set()
        self._wake.set()
        # The loop itself is waited for too: a claim that is cut off leaves deliveries leased that nobody holds.
        ending = {*self._flying, *filter(None, [self._task])}
        late = (await asyncio.wait(ending, timeout=FINISH_WITHIN))[1] if ending else set()
        hanging = [claimed for task, claimed in self._flying.items() if task in late]
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        await asyncio.gather(*(self._hand_back(claimed, "unsure") for claimed in hanging))

    async def _hand_back(self, claimed: Claimed, outcome: str) -> None:
        now = self._now()
        text = "bridge stopped before the answer; it may have arrived" if outcome == "unsure" else ""
        settlement = Settlement(claimed.id, "pending", now, outcome, text, now, leased_until=claimed.leased_until)
        try:
            await self._store.settle(settlement)
        except StoreUnavailable:  # then the lease ends by itself
            log.warning("store.unavailable", destination=self.name, delivery_id=claimed.id)

    # -- claiming ------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                claimed = await self._claim()
            except StoreUnavailable as error:
                log.warning("store.unavailable", destination=self.name, error=str(error))
                claimed = []
                self._rest(STORE_AGAIN)
            except Exception as error:  # a bug: say so and go on, what is owed stays owed
                log.error("courier.failed", destination=self.name, error=type(error).__name__, exc_info=True)
                claimed = []
                self._rest(STORE_AGAIN)
            if self._stopping.is_set():
                await asyncio.gather(*(self._hand_back(delivery, "released") for delivery in claimed))
                return
            for delivery in claimed:
                task = asyncio.create_task(self._deliver(delivery))
                self._flying[task] = delivery
                task.add_done_callback(self._landed)
            if not claimed:
                try:
                    await self._sleep()
                except Exception as error:  # the loop must never end by itself
                    log.error("courier.failed", destination=self.name, error=type(error).__name__, exc_info=True)
                    await self._wait(self._stopping, STORE_AGAIN)

    async def _claim(self) -> list[Claimed]:
        await self._hear()
        at_once = 1 if self._failures else AT_ONCE  # one by one while the destination is down
        free = at_once - len(self._flying)
        if free <= 0 or self._steady() < self._rest_until:
            return []
        lease = self._timeout + LEASE_BEYOND_TIMEOUT
        if not await self._clock_is_kept(lease):
            return []
        await self._mutes.read()
        # What must not be sent twice must be known to have been begun, whatever crashes.
        durable = self._policy.when_unsure == "drop"
        return await self._store.claim(self.name, self._now(), lease, free, durable=durable)

    async def _clock_is_kept(self, lease: timedelta) -> bool:
        """Return False while a clock that was set back has to be waited for.

        What was dated by the time before would wait until the clock is there again. So it is made due, also at the
        start, when nobody knows what the clock did; but first our own leases, which look endless now, are answered.
        """
        ahead = self._now().timestamp() - self._steady()
        if self._ahead is None or ahead < self._ahead - SET_BACK:
            if self._flying:
                return False
            await self._store.redate(self.name, self._now(), lease)
        self._ahead = ahead
        return True

    async def _hear(self) -> None:
        """Take over what another worker has learnt since; rest when it rests."""
        heard = await self._heard.of(self.name)
        if heard is None or (self.condition is not None and heard.at <= self.condition.at):
            return
        self.condition = heard
        observe.destination_up.labels(self.name).set(int(heard.ok))
        if heard.rest_until is not None:  # by another machine's clock, which may be wrong: no longer than ever
            self._rest(min(LONGEST_REST, heard.rest_until - self._now()).total_seconds())

    @property
    def _failures(self) -> int:
        return self.condition.failures if self.condition is not None else 0

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._flying.pop(task, None)
        self._wake.set()

    def _rest(self, seconds: float) -> None:
        self._rest_until = max(self._rest_until, self._steady() + seconds)

    async def _sleep(self) -> None:
        """Wait for a wake-up, the end of a rest, or the next delivery that becomes due."""
        seconds = POLL
        rest_for = self._rest_until - self._steady()
        if rest_for > 0:
            # Woken early there is nothing to do; a stop must still end it.
            await self._wait(self._stopping, min(rest_for, POLL))
            return
        if not self._flying:
            try:
                due = await self._store.next_due(self.name, self._now())
            except StoreUnavailable:
                due = None
            if due is not None:
                seconds = min(POLL, max(0.01, (due - self._now()).total_seconds()))
        await self._wait(self._wake, seconds)

    # -- one delivery --------------------------------------------------------------------------------------------------

    async def _deliver(self, claimed: Claimed) -> None:
        try:
            await self._attempt(claimed)
        except StoreUnavailable as error:  # it stays leased, and is tried again when the lease ends
            log.error("store.unavailable", destination=self.name, delivery_id=claimed.id, error=str(error))
            self._rest(STORE_AGAIN)
        except Exception as error:  # a bug on the way to the chat or back: nothing is lost, it is tried again
            log.error(
                "delivery.bug", destination=self.name, delivery_id=claimed.id, error=type(error).__name__, exc_info=True
            )
            fault = Transient(f"bridge failed to deliver it ({type(error).__name__}): please report this")
            await self._failed(claimed, fault, edit=False, seconds=0.0)

    async def _attempt(self, claimed: Claimed) -> None:
        if await self._waits(claimed):
            return
        if reason := self._needless(claimed):
            await self._settle(claimed, "folded", "folded", reason)
            return
        if claimed.behind and not claimed.replayed:
            wanted = tuple(one for one in claimed.behind if not unsaid(one.target, one.event, claimed.run))
            claimed = replace(claimed, behind=wanted)
        allowed = await self._wanted(claimed)
        if allowed is None:
            return
        claimed = allowed
        if claimed.unsure and not self._edits(claimed) and self._policy.when_unsure == "drop":
            text = "bridge stopped while sending; it may have arrived, and when_unsure is drop"
            await self._settle(
                claimed, "dropped", "unsure", text, shown=claimed.version, along=_along(claimed, "dropped")
            )
            return
        if reason := self._known_dead(claimed):
            await self._settle(claimed, "dead", "dead", reason, owe=after_failure(claimed.target, self._now()))
            return
        waited = await self._wait_for_pace(claimed)
        if waited is None:
            return
        if waited:
            claimed = await self._store.reload(claimed)
            if reason := self._needless(claimed):
                await self._settle(claimed, "folded", "folded", reason)
                return
            await self._mutes.read()
            allowed = await self._wanted(claimed)
            if allowed is None:
                return
            claimed = allowed
        await self._send(claimed)

    async def _waits(self, claimed: Claimed) -> bool:
        """Return whether it is not its turn yet, and hand it back. What waits long is asked so now and then."""
        if claimed.replayed:
            return False
        now = self._now()
        until = waits_until(claimed.target, claimed.created_at, now)
        if until is None:
            return False
        await self._wait_until(claimed, until)
        return True

    async def _wait_until(self, claimed: Claimed, until: datetime) -> None:
        now = self._now()
        due_at = min(until, now + LONGEST_STEP)
        await self._keep(claimed, Settlement(claimed.id, "pending", now, "waits", claimed.target.why, due_at))

    async def _wanted(self, claimed: Claimed) -> Claimed | None:
        """Return what is to be said now; None when there is nothing (any more, or yet), and it is settled so."""
        current = await self._current(claimed) if claimed.target.role else claimed
        return await self._unmuted(current) if current is not None else None

    async def _current(self, claimed: Claimed) -> Claimed | None:
        """Return a reminder and the like as its track stands now."""
        target, event = claimed.target, claimed.event
        if claimed.replayed:
            return replace(claimed, event=all_clear(event)) if target.role == ALL_CLEAR else claimed
        track = await self._store.track(track_key(event))
        match still(target, event, _newest(claimed), track, self._now()):
            case Event() as now:
                return replace(claimed, event=now)
            case datetime() as until:
                await self._wait_until(claimed, until)
            case reason:
                await self._settle(claimed, "folded", "folded", reason)  # what waits behind it may be of a later row
        return None

    async def _unmuted(self, claimed: Claimed) -> Claimed | None:
        """Return what may be sent; None when it is muted, and settled so.

        An edit makes no noise, but then names nobody. A replay is somebody's wish.
        """
        if claimed.replayed:
            return claimed
        target, role = claimed.target, claimed.target.role
        # Who mutes what is broken has seen to it: what is said again counts from when it is said.
        owed_at = _due_since(claimed) if role else claimed.created_at
        mute = self._mutes.of(target, claimed.event, owed_at)
        if mute is None and role:
            return claimed
        if mute is None:
            return replace(claimed, behind=self._unmuted_behind(claimed)) if claimed.behind else claimed
        if self._edits(claimed):
            return replace(claimed, target=claimed.target.with_(mention=()))
        along = _along(claimed, text=why(mute)) if role else ()
        owe = after_mute(target, mute.until, self._now()) if role else None
        await self._settle(claimed, "folded", "muted", why(mute), along=along, owe=owe)
        return None

    def _unmuted_behind(self, claimed: Claimed) -> tuple[Behind, ...]:
        """Return what is said with it. What is muted of that comes to its own turn, and is settled so."""
        return tuple(one for one in claimed.behind if self._mutes.of(one.target, one.event, one.created_at) is None)

    def _needless(self, claimed: Claimed) -> str:
        """Return why a wish is fulfilled already, or nothing."""
        if claimed.run is None or claimed.replayed:
            return ""
        if not claimed.target.live:
            return unsaid(claimed.target, claimed.event, claimed.run)
        if not self.destination.can_edit and _answered(claimed, claimed.run):
            return "cannot be edited: the end is told by an answer"
        if claimed.receipt is None:
            return ""
        if self.destination.can_edit:
            return "already shown" if claimed.shown >= claimed.run.version else ""
        if not claimed.run.status.finished:
            return "cannot be edited: told at the start and at the end"
        return "already told" if claimed.receipt.get("told") == _told(claimed.run) else ""

    def _known_dead(self, claimed: Claimed) -> str:
        """Return why there is no use in asking, or nothing. A replay always asks: somebody may have mended it."""
        if claimed.replayed or claimed.target.channel or self._steady() >= self._dead_until:
            return ""
        said = self.condition.text if self.condition is not None else "the destination is dead"
        return f"{said}; not sent, for it was said less than {PROBE:g} s ago"

    async def _wait_for_pace(self, claimed: Claimed) -> float | None:
        """Wait until the chat may be asked; return the seconds, or None when that is long and it was handed back."""
        limits = self._limits_of(claimed, edit=self._edits(claimed))
        began, waited = self._steady(), 0.0
        while (seconds := await self._take(limits)) > 0:
            waited = self._steady() - began  # the asking counts too: the lease goes on
            if waited + seconds > HOLD_AT_MOST or self._stopping.is_set():
                due_at = self._now() + timedelta(seconds=seconds)
                text = "waits for the rate limit"
                await self._keep(claimed, Settlement(claimed.id, "pending", self._now(), "released", text, due_at))
                self._rest(BREATH)  # what counts against another limit may go on, but not in a storm of claims
                return None
            if not await self._wait(self._stopping, seconds):
                waited += seconds
        return waited

    async def _take(self, limits: Sequence[Limit]) -> float:
        """Count one request; where nobody can say whether it is allowed, it waits: unlimited would cost all of them."""
        try:
            return await self._limits.take(limits)
        except StoreUnavailable as error:
            log.warning("store.unavailable", destination=self.name, error=str(error))
            return STORE_AGAIN

    def _limits_of(self, claimed: Claimed, *, edit: bool) -> list[Limit]:
        buckets = self.destination.buckets(edit=edit, channel=claimed.target.channel)
        return [Limit(bucket.key, bucket.rate.per_second, bucket.burst) for bucket in buckets]

    def _edits(self, claimed: Claimed) -> bool:
        return bool(claimed.target.live and claimed.receipt and self.destination.can_edit)

    async def _send(self, claimed: Claimed) -> None:
        run = await self._enricher.enrich(claimed.run) if claimed.run is not None else None
        message = self._render(claimed, await self._with_mentions(claimed, self._view(claimed, run)))
        edit = self._edits(claimed)
        if claimed.leased_until is not None and self._now() >= claimed.leased_until:
            # This process stood still, or the clock was set: another may have sent it, and more of its run, since.
            await self._keep(claimed, Settlement(claimed.id, "pending", self._now(), "released", "", self._now()))
            return
        started = time.perf_counter()
        try:
            receipt = await self._ask(claimed, message, edit=edit)
        except DeliveryError as error:
            await self._failed(claimed, error, edit=edit, seconds=time.perf_counter() - started)
            return
        seconds = time.perf_counter() - started
        observe.notification_latency.labels(self._integration).observe(seconds)
        observe.notifications.labels(self.name, self._integration, "edited" if edit else "posted").inc()
        recovered = self._failures > 0
        self._is(True, "answers")
        await self._delivered(claimed, message, receipt, edit=edit, seconds=seconds)
        await self._tell()
        if recovered:  # what failed while it was down goes out now, the oldest first
            await self._store.hasten(self.name, self._now())
            self.wake()

    async def _ask(self, claimed: Claimed, message: Message, *, edit: bool) -> Receipt:
        """Send or edit; raise DeliveryError and nothing else. A bug in a destination is Transient: nothing is lost."""
        observe.notification_requests.labels(self.name, self._integration).inc()
        try:
            async with asyncio.timeout((self._timeout + timedelta(seconds=5)).total_seconds()):
                if edit and claimed.receipt is not None:
                    return await self.destination.edit(message, claimed.receipt)
                threaded = claimed.root if claimed.target.thread and self.destination.can_thread else None
                if claimed.target.live:
                    threaded = None
                return await self.destination.send(
                    message, channel=claimed.target.channel, thread=threaded, key=_key(claimed)
                )
        except DeliveryError:
            raise
        except TimeoutError as error:
            raise Unsure("no answer in time") from error
        except Exception as error:
            log.error(
                "delivery.bug", destination=self.name, delivery_id=claimed.id, error=type(error).__name__, exc_info=True
            )
            raise Transient(f"bridge failed to send it ({type(error).__name__}): please report this") from error

    async def _delivered(
        self, claimed: Claimed, message: Message, receipt: Receipt, *, edit: bool, seconds: float
    ) -> None:
        version = claimed.run.version if claimed.run is not None else None
        if claimed.target.live and claimed.run is not None and not self.destination.can_edit:
            receipt = {**receipt, "told": _told(claimed.run)}
        now = self._now()
        await self._keep(
            claimed,
            Settlement(
                claimed.id,
                "done",
                now,
                "edited" if edit else "delivered",
                receipt.get("note", ""),
                receipt=receipt,
                shown=version if claimed.target.live else None,
                seconds=seconds,
                sent=codec.dump(replace(message, event=None)),
                along=_along(claimed),
                owe=after_it(claimed.target, now) if not claimed.replayed else None,
            ),
        )
        age = max(0.0, (now - _due_since(claimed)).total_seconds())
        observe.end_to_end_latency.labels(self.name).observe(age)
        observe.told(
            "delivery.edited" if edit else "delivery.done",
            destination=self.name,
            delivery_id=claimed.id,
            event_id=claimed.event.id,
            seconds=round(seconds, 3),
        )
        self._shown(Shown(claimed, self.name, self._integration, message, edit, now))

    async def _failed(self, claimed: Claimed, error: DeliveryError, *, edit: bool, seconds: float) -> None:
        observe.notification_requests_failed.labels(self.name, self._integration, cause(error)).inc()
        now = self._now()
        verdict = decide(
            error,
            now=now,
            created_at=_due_since(claimed),
            attempts=claimed.attempts,
            policy=self._policy,
            edit=edit,
            plain=claimed.plain,
            dice=self._dice(),
        )
        await self._hold_back(claimed, error, edit=edit)
        dropped = verdict.state == "dropped"
        await self._settle(
            claimed,
            verdict.state,
            verdict.outcome,
            verdict.text,
            verdict=verdict,
            shown=claimed.run.version if dropped and claimed.run is not None else None,
            seconds=seconds,
            along=_along(claimed, "dropped") if dropped else (),
            owe=after_failure(claimed.target, now) if verdict.state != "pending" and not claimed.replayed else None,
        )
        await self._tell()

    async def _hold_back(self, claimed: Claimed, error: DeliveryError, *, edit: bool) -> None:
        """Let the destination, or the rate limit that spoke, rest; note what it said."""
        if isinstance(error, RateLimited):
            after = min(max(0.0, error.after), LONGEST_PAUSE.total_seconds())
            try:
                await self._limits.pause(self._limits_of(claimed, edit=edit), after)
            except StoreUnavailable as failure:  # the others will hear it from the chat
                log.warning("store.unavailable", destination=self.name, error=str(failure))
                self._rest(after)
            if error.bucket is None:
                self._rest(after)
        elif isinstance(error, Transient | Unsure):
            seconds = rest(self._failures + 1).total_seconds() * (0.5 + self._dice() / 2)
            self._is(False, str(error), rests_for=seconds)
        elif isinstance(error, Dead):
            self._is(False, str(error))
            if not claimed.target.channel:  # a channel that a rule names may be wrong alone
                self._dead_until = self._steady() + PROBE
        elif isinstance(error, Rejected):
            self._is(True, "answers")

    def _is(self, ok: bool, text: str, *, rests_for: float = 0.0) -> None:
        now = self._now()
        if not ok or self.condition is None or not self.condition.ok:  # not every success is news
            self._untold = True
        rest_until = now + timedelta(seconds=rests_for) if rests_for else None
        failures = 0 if ok else self._failures + 1
        self.condition = Condition(ok=ok, text=text, at=now, failures=failures, rest_until=rest_until)
        if ok:
            self._dead_until = float("-inf")
        self._rest(rests_for)
        observe.destination_up.labels(self.name).set(int(ok))

    async def _tell(self) -> None:
        """Tell the other workers how the destination is, if it is news. They find out by themselves otherwise."""
        if not self._untold or self.condition is None:
            return
        self._untold = False
        try:
            await self._store.report(self.name, self.condition)
        except StoreUnavailable as error:
            log.warning("store.unavailable", destination=self.name, error=str(error))

    async def _settle(
        self,
        claimed: Claimed,
        state: str,
        outcome: str,
        text: str,
        *,
        verdict: Verdict | None = None,
        shown: int | None = None,
        seconds: float = 0,
        along: tuple[Along, ...] = (),
        owe: Target | None = None,
    ) -> None:
        """Settle what was not delivered. `shown`: the version that may have arrived, so that it is not said again."""
        final = state in ("dead", "dropped")
        if final:
            observe.notifications_failed.labels(self.name, self._integration, outcome).inc()
            log.error(
                f"delivery.{state}",
                destination=self.name,
                delivery_id=claimed.id,
                event_id=claimed.event.id,
                reason=text,
            )
        elif state == "pending":
            log.warning("delivery.again", destination=self.name, delivery_id=claimed.id, outcome=outcome, reason=text)
        else:
            observe.notifications_suppressed.labels(self.name, outcome).inc()
        await self._keep(
            claimed,
            Settlement(
                claimed.id,
                state,  # type: ignore[arg-type]
                self._now(),
                outcome,
                text,
                due_at=verdict.due_at if verdict else None,
                counts=bool(verdict and verdict.counts),
                forget=bool(verdict and verdict.forget),
                shown=shown if claimed.target.live else None,
                plain=bool(verdict and verdict.plain),
                seconds=seconds,
                along=along,
                owe=owe,
            ),
        )

    async def _keep(self, claimed: Claimed, settlement: Settlement) -> None:
        """Settle, again and again while the store takes nothing: what was said in the chat cannot be taken back."""
        settlement = replace(settlement, leased_until=claimed.leased_until)
        while True:
            try:
                return await self._store.settle(settlement)
            except StoreUnavailable as error:
                held = claimed.leased_until is not None and self._now() < claimed.leased_until
                if not held or self._stopping.is_set():
                    raise
                log.error("store.unavailable", destination=self.name, delivery_id=claimed.id, error=str(error))
                await self._wait(self._stopping, STORE_AGAIN)

    # -- rendering -----------------------------------------------------------------------------------------------------

    async def _with_mentions(self, claimed: Claimed, view: View) -> View:
        """Return `view` with the ids of whom the message mentions, and whatever is said with it: each of its own event.

        Not who is named by another message already.
        """
        directory, chat = self._directory(), DESTINATIONS[self._integration].PERSON
        named: list[Named] = []
        elsewhere: list[Named] = []
        first = claimed.event if claimed.behind else view.event
        owed = [(claimed.target, first), *((one.target, one.event) for one in claimed.behind)]
        asking = 0
        for target, event in owed:
            if not target.mention:
                continue
            asking += 1
            if asking <= ASKED_AT_MOST:
                event = await self._naming.told(event, (*target.mention, *target.named))
            if not claimed.behind:
                view = dataclasses.replace(view, event=event)
            named += whom(target.mention, event, directory, chat)
            elsewhere += whom(target.named, event, directory, chat)
        if self._finder is not None:
            found = await self._finder.ids(
                email for one in (*named, *elsewhere) if one.id is None for email in one.emails
            )
            named, elsewhere = [*known(named, found)], [*known(elsewhere, found)]
        return dataclasses.replace(view, mentions=ids(besides(named, elsewhere)))

    def _render(self, claimed: Claimed, view: View) -> Message:
        if claimed.plain:
            return plain(view)
        try:
            return self._renderer().render(claimed.target.template, view, self._integration)
        except TemplateError as error:
            observe.template_errors.labels(claimed.target.template).inc()
            log.error("template.failed", template=claimed.target.template, delivery_id=claimed.id, reason=str(error))
            return plain(view)

    def _view(self, claimed: Claimed, run: Run | None) -> View:
        target = claimed.target
        told = (claimed.event, *(one.event for one in claimed.behind))
        together, event = (newest_of_each(told), told[-1]) if not target.role else ((), claimed.event)
        if run is not None:
            event = run.event.with_(id=event.id) if target.live else _filled(event, run.event)
        return View(
            event=event,
            tasks=run.tasks if run is not None else (),
            rule=", ".join(target.rules),
            now=self._now(),
            live=target.live,
            together=together if len(together) > 1 or target.template == COLLECTED else (),
        )


def _key(claimed: Claimed) -> str:
    """Return what names a delivery for good. Its id alone begins again with a new database."""
    return f"{claimed.id}-{int(claimed.created_at.timestamp() * 1_000)}"


def _due_since(claimed: Claimed) -> datetime:
    """Return since when it could have been said."""
    return claimed.created_at if claimed.replayed else ready_at(claimed.target, claimed.created_at)


def _newest(claimed: Claimed) -> Event:
    return claimed.behind[-1].event if claimed.behind else claimed.event


def _along(claimed: Claimed, state: Literal["folded", "dropped"] = "folded", text: str = "") -> tuple[Along, ...]:
    """Return what becomes of all that was said with it."""
    return tuple(Along(one.id, state, text or f"said together with {claimed.id}") for one in claimed.behind)


def _told(run: Run) -> str:
    return f"{run.attempt}:{run.status}" if run.status.finished else "open"


def _answered(claimed: Claimed, run: Run) -> bool:
    """Return whether a reply says what a living message would say now: the result of its run, which had begun before.

    Where nothing is edited the result would be told by two posts. One that waits since before the result does not know
    of the reply; where both wait, the reply alone is sent, for it names whom the result concerns.
    """
    if not run.status.finished or run.event.change is None:
        return False
    return claimed.target.answered or (claimed.target.thread and claimed.event.change is None)


class Couriers:
    """All couriers of this process; follows the configuration."""

    def __init__(
        self,
        store: Store,
        session: aiohttp.ClientSession,
        config: Callable[[], Config],
        renderer: Callable[[], Renderer],
        *,
        now: Callable[[], datetime],
        shown: Callable[[Shown], None],
        dice: Callable[[], float] = random.random,
        steady: Callable[[], float] = time.monotonic,
        wait: Callable[[asyncio.Event, float], Awaitable[bool]] = wait,
    ) -> None:
        self._store = store
        self._session = session
        self._config = config
        self._renderer = renderer
        self._now = now
        self._dice = dice
        self._shown = shown
        self._steady = steady
        self._wait = wait
        self._limits = store.limits or Paces(steady)
        self._heard = Heard(store, steady)
        self._mutes = Mutes(store, now, steady)
        self._enricher = Enricher(session, config)
        self._naming = Naming(session, config, steady)
        self.couriers: dict[str, Courier] = {}
        self._leaving: list[Courier] = []  # those that a reload is stopping
        self._stopped = False
        store.on_owed(self.wake)

    def wake(self, destination: str) -> None:
        courier = self.couriers.get(destination)
        if courier is not None:
            courier.wake()

    async def follow(self, config: Config) -> None:
        """Start, keep, replace and stop couriers so that there is one for each destination of `config`."""
        gone = [
            courier
            for name, courier in self.couriers.items()
            if name not in config.destinations or config.destinations[name] != courier.config
        ]
        for courier in gone:
            del self.couriers[courier.name]
            if courier.name not in config.destinations:
                log.warning("destination.removed", destination=courier.name)
        self._leaving += gone
        await asyncio.gather(*(courier.stop() for courier in gone))
        if self._stopped:
            return
        self._leaving = [courier for courier in self._leaving if courier not in gone]
        for name, destination in config.destinations.items():
            if name not in self.couriers:
                self.couriers[name] = self._courier(destination)
                self.couriers[name].start()

    def _courier(self, config: DestinationConfig) -> Courier:
        return Courier(
            config,
            DESTINATIONS[config.type].open(config.name, config.options, self._session),
            self._store,
            renderer=self._renderer,
            directory=lambda: self._config().directory,
            naming=self._naming,
            enricher=self._enricher,
            limits=self._limits,
            heard=self._heard,
            mutes=self._mutes,
            now=self._now,
            dice=self._dice,
            shown=self._shown,
            steady=self._steady,
            wait=self._wait,
        )

    async def check(self) -> dict[str, Health]:
        """Ask every destination, all at once, whether it answers."""
        names = list(self.couriers)
        answers = await asyncio.gather(*(self._check(self.couriers[name]) for name in names))
        return dict(zip(names, answers, strict=True))

    async def _check(self, courier: Courier) -> Health:
        try:
            async with asyncio.timeout(8):
                return await courier.destination.check()
        except TimeoutError:
            return Health(False, "does not answer within 8 s")
        except DeliveryError as error:
            return Health(False, str(error))

    async def stop(self) -> None:
        self._stopped = True
        couriers, self.couriers = [*self.couriers.values(), *self._leaving], {}
        await asyncio.gather(*(courier.stop() for courier in couriers))
