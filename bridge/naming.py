"""Who is it, that a message is to notify? Asks what neither the event nor the configuration tells.

Two kinds of questions, each only for a message that mentions somebody, bounded in time, kept for a while and never
needed: a sender's API says who reviews and who owns what changed (`bridge.lookups.who`), a chat with ``find_people``
says who has an e-mail address. Whatever fails costs the mention and not the message. No address reaches a log.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from bridge import observe
from bridge.config import Config, SourceConfig
from bridge.destinations import Finds
from bridge.errors import Dead, DeliveryError, LookupFailed, RateLimited
from bridge.event import Event, Role
from bridge.lookups._http import Api, Refused
from bridge.lookups.who import WHO, WhoModule
from bridge.observe import log
from bridge.owners import Codeowners, parse

if TYPE_CHECKING:
    import aiohttp

V = TypeVar("V")

TOLD_WITHIN = 3.5  # seconds for all that a sender's API is asked
TOLD_FOR = 300.0  # seconds that its answer holds
TOLD_KEPT = 1_000
FILES_KEPT = 100
LARGEST_FILE = 1_000_000  # characters of CODEOWNERS
FOUND_WITHIN = 2.0  # seconds for everybody in one message
FOUND_FOR = 3_600.0
FOUND_KEPT = 2_000
FOUND_AT_ONCE = 10
AWAY_FOR = 60.0  # seconds that who failed is not asked again
FORBIDDEN_FOR = 3_600.0  # and who says that the token may not ask


class Kept(Generic[V]):
    """Answers that hold for a while. Each is asked for once: who asks meanwhile waits for the same answer."""

    def __init__(self, steady: Callable[[], float], *, seconds: float, most: int) -> None:
        self._steady = steady
        self._seconds = seconds
        self._most = most
        self._known: OrderedDict[Hashable, tuple[float, V]] = OrderedDict()
        self._asking: dict[Hashable, asyncio.Task[V]] = {}

    async def of(self, key: Hashable, ask: Callable[[], Awaitable[V]]) -> V:
        """Return the answer; raise what `ask` raises, which is not kept."""
        known = self._known.get(key)
        if known is not None and self._steady() < known[0]:
            return known[1]
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.create_task(self._ask(key, ask))
            asking.add_done_callback(lambda task: task.cancelled() or task.exception())  # when nobody waits any more
        return await asyncio.shield(asking)

    async def _ask(self, key: Hashable, ask: Callable[[], Awaitable[V]]) -> V:
        try:
            answer = await ask()
        finally:
            del self._asking[key]
        self._known[key] = (self._steady() + self._seconds, answer)
        self._known.move_to_end(key)
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        return answer


# -- a sender's API ----------------------------------------------------------------------------------------------------


class Naming:
    """Asks senders' APIs who reviews and who owns what changed."""

    def __init__(
        self, session: aiohttp.ClientSession, config: Callable[[], Config], steady: Callable[[], float] = time.monotonic
    ) -> None:
        self._session = session
        self._config = config
        self._steady = steady
        self._told: Kept[tuple[str, ...]] = Kept(steady, seconds=TOLD_FOR, most=TOLD_KEPT)
        self._files: Kept[Codeowners] = Kept(steady, seconds=TOLD_FOR, most=FILES_KEPT)
        self._away: dict[str, float] = {}  # until when a source's API, which just failed, is not asked

    async def told(self, event: Event, words: Iterable[str]) -> Event:
        """Return `event` with the reviewers and owners that `words` ask for, or as it is."""
        source = self._config().sources.get(event.source)
        who = WHO.get(source.type) if source is not None and source.type == event.type else None
        wanted = _missing(event, words)
        if source is None or who is None or not source.api_token or not wanted:
            return event
        if self._steady() < self._away.get(source.name, float("-inf")):
            return event
        found: dict[Role, tuple[str, ...]] = {}
        try:
            async with asyncio.timeout(TOLD_WITHIN):
                for role in wanted:
                    found[role] = await self._told.of(_key(role, event), partial(self._ask, role, event, source, who))
            observe.lookups.labels(source.name, "ok").inc()
        except (LookupFailed, TimeoutError) as error:
            self._failed(source, error)
        except Exception as error:  # a bug here must not hold a message back
            log.error("lookup.failed", source=source.name, error=type(error).__name__, exc_info=True)
        return event.with_(**{role.value: names for role, names in found.items()})

    def _failed(self, source: SourceConfig, error: LookupFailed | TimeoutError) -> None:
        slow = isinstance(error, TimeoutError)
        log.info("lookup.slow" if slow else "lookup.failed", source=source.name, reason=str(error))
        observe.lookups.labels(source.name, "slow" if slow else "failed").inc()
        if slow or (isinstance(error, LookupFailed) and error.away):
            self._away[source.name] = self._steady() + max(AWAY_FOR, getattr(error, "after", 0.0))

    async def _ask(self, role: Role, event: Event, source: SourceConfig, who: WhoModule) -> tuple[str, ...]:
        api = who.api(event, self._session, source.api_url, source.api_token or "")
        with suppress(Refused):  # there is no such pull request, or not for this token
            if role is Role.REVIEWERS:
                return await who.reviewers(event, api)
            return await self._owners(event, api, who)
        return ()

    async def _owners(self, event: Event, api: Api, who: WhoModule) -> tuple[str, ...]:
        branch = _branch(event)
        file = await self._files.of((event.source, event.repository, branch), lambda: _file(event, api, who, branch))
        if not file.sections:
            return ()
        paths: tuple[str, ...] | None = None
        with suppress(Refused):
            paths = await who.changed(event, api)
        return await asyncio.to_thread(file.of, paths or None)  # long lists take their time


def _missing(event: Event, words: Iterable[str]) -> list[Role]:
    asked = frozenset(words)
    wanted = []
    if Role.REVIEWERS in asked and not event.reviewers and event.pull_request is not None:
        wanted.append(Role.REVIEWERS)
    if Role.OWNERS in asked and not event.owners and (event.sha or event.pull_request is not None):
        wanted.append(Role.OWNERS)
    return wanted if event.repository else []


def _key(role: Role, event: Event) -> Hashable:
    return (role, event.source, event.repository, event.pull_request, event.sha, event.branch)


def _branch(event: Event) -> str | None:
    """Return the branch whose CODEOWNERS holds: a pull request cannot make owners of its own."""
    of_ours = event.branch is not None and not event.on_pull_request
    return event.branch if of_ours else event.default_branch


async def _file(event: Event, api: Api, who: WhoModule, branch: str | None) -> Codeowners:
    """Return the first CODEOWNERS that is there; an empty one where none is."""
    for path in who.PLACES:
        with suppress(Refused):
            text = await who.file(event, api, path, branch)
            return await asyncio.to_thread(parse, text[:LARGEST_FILE], who.FORM)
    return Codeowners()


# -- a chat ------------------------------------------------------------------------------------------------------------


class Finder:
    """Asks one chat who has an e-mail address. That nobody has it is kept, too."""

    def __init__(self, name: str, place: Finds, steady: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._place = place
        self._steady = steady
        self._found: Kept[str | None] = Kept(steady, seconds=FOUND_FOR, most=FOUND_KEPT)
        self._away_until = float("-inf")
        self._said = ""  # why the chat does not answer: said once, not with every message

    async def ids(self, emails: Iterable[str]) -> dict[str, str]:
        """Return the chat's id for each of `emails` that somebody has there."""
        wanted = list(dict.fromkeys(emails))[:FOUND_AT_ONCE]
        if not wanted or self._steady() < self._away_until:
            return {}
        answers: dict[str, str] = {}

        async def find(email: str) -> None:
            found = await self._found.of(email.lower(), lambda: self._ask(email))
            if found:
                answers[email] = found

        try:
            async with asyncio.timeout(FOUND_WITHIN):
                await asyncio.gather(*map(find, wanted))
        except DeliveryError as error:
            self._rest(str(error), _rest_of(error))
        except TimeoutError:
            self._rest("no answer in time", AWAY_FOR)
        except Exception as error:  # a bug here must not hold a message back
            log.error("people.not_found", destination=self._name, error=type(error).__name__, exc_info=True)
        return answers

    async def _ask(self, email: str) -> str | None:
        return await self._place.find(email)

    def _rest(self, why: str, seconds: float) -> None:
        self._away_until = self._steady() + seconds
        if why != self._said:
            self._said = why
            log.warning("people.not_found", destination=self._name, reason=why)


def _rest_of(error: DeliveryError) -> float:
    if isinstance(error, RateLimited):
        return error.after
    return FORBIDDEN_FOR if isinstance(error, Dead) else AWAY_FOR
