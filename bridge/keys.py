"""By which public keys does a sender sign that publishes them? Fetched, kept, and fetched again when they have changed.

Only who answers at the configured address is believed, never what a request names. A start waits for no key: until one
could be had, nobody can be told from a stranger and a sender is asked to come back. Nothing here verifies.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from bridge.config import Config, SourceConfig
from bridge.destinations.base import Health
from bridge.errors import KeyUnavailable, LookupFailed, Unreadable
from bridge.lookups import _http
from bridge.observe import log
from bridge.sources import Publishes

if TYPE_CHECKING:
    import aiohttp

FETCH_WITHIN = 4.0  # seconds: a sender may be waiting
MISSING_AGAIN = 30.0  # seconds until keys that could not be had are asked for again
CHANGED_AGAIN = 300.0  # seconds: so seldom can strangers, by wrong signatures, have known keys asked for again


class _Kept:
    """What is known of one address."""

    def __init__(self) -> None:
        self.keys: tuple[str, ...] = ()
        self.problem = "not asked yet"
        self.asked_at = float("-inf")
        self.asking: asyncio.Task[None] | None = None


class PublishedKeys:
    """The keys of every address that sources name, for one process."""

    def __init__(self, session: aiohttp.ClientSession, steady: Callable[[], float] = time.monotonic) -> None:
        self._session = session
        self._steady = steady
        self._addresses: dict[str, _Kept] = {}

    async def of(self, source: SourceConfig) -> tuple[str, ...]:
        """Return the keys of `source`; raise KeyUnavailable where none could be had yet."""
        kept = self._kept(source)
        if not kept.keys:
            await self._fetch(source, kept, MISSING_AGAIN)
        if not kept.keys:
            raise KeyUnavailable("the sender's public key is not known yet, send it again later")
        return kept.keys

    async def newer(self, source: SourceConfig, tried: tuple[str, ...]) -> tuple[str, ...]:
        """Return the keys where they are others than those `tried`, which did not fit a signature, else ()."""
        kept = self._kept(source)
        if kept.keys == tried:
            await self._fetch(source, kept, CHANGED_AGAIN)
        return kept.keys if kept.keys != tried else ()

    async def check(self, source: SourceConfig) -> Health:
        """Ask, if the keys are not known, and return whether they are, in plain words."""
        kept = self._kept(source)
        if not kept.keys:
            await self._fetch(source, kept, MISSING_AGAIN)
        if kept.keys:
            return Health(True, "its public key is fetched")
        return Health(False, f"no public key, so its webhooks are answered with 503: {kept.problem}")

    async def keep(self, config: Callable[[], Config]) -> None:
        """Fetch what is missing, for as long as the process lives: most senders do not come back."""
        while True:
            for source in tuple(config().sources.values()):
                if source.publishes and not self._kept(source).keys:
                    await self._fetch(source, self._kept(source), MISSING_AGAIN)
            await asyncio.sleep(MISSING_AGAIN)

    async def stop(self) -> None:
        """End what is being asked."""
        asking = [kept.asking for kept in self._addresses.values() if kept.asking is not None]
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    def _kept(self, source: SourceConfig) -> _Kept:
        return self._addresses.setdefault(_form(source).keys_url(source.api_url), _Kept())

    async def _fetch(self, source: SourceConfig, kept: _Kept, again: float) -> None:
        """Wait for an answer of the address, unless the last one is younger than `again` seconds. Raises nothing."""
        if kept.asking is None:
            if self._steady() < kept.asked_at + again:
                return
            kept.asked_at = self._steady()
            kept.asking = asyncio.create_task(self._ask(source, kept))
        await asyncio.wait([kept.asking])  # who waits may go away: what is asked goes on for the others

    async def _ask(self, source: SourceConfig, kept: _Kept) -> None:
        try:
            kept.keys, kept.problem = await self._answer(source, _form(source)), ""
            log.info("keys.fetched", source=source.name, keys=len(kept.keys))
        except (LookupFailed, Unreadable) as error:  # what was known before still holds
            kept.problem = str(error)
            log.warning("keys.failed", source=source.name, reason=kept.problem)
        except Exception as error:  # a bug must not leave a sender without an answer
            kept.problem = type(error).__name__
            log.error("keys.failed", source=source.name, error=kept.problem, exc_info=True)
        finally:
            kept.asking = None

    async def _answer(self, source: SourceConfig, form: Publishes) -> tuple[str, ...]:
        """Return the keys that stand there now. Raises LookupFailed or Unreadable."""
        name, url = f"{source.module.LABEL}'s API", form.keys_url(source.api_url)
        json = {"Accept": "application/json"}
        answer = await _http.ask(self._session, name, url, headers=json, within=FETCH_WITHIN)
        if answer.status != 200:
            raise LookupFailed(f"{name} answered HTTP {answer.status}")
        return form.keys(answer.body)


def _form(source: SourceConfig) -> Publishes:
    if source.publishes is None:
        raise ValueError(f"{source.name} has its secret from the configuration")
    return source.publishes
