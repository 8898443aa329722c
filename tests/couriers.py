"""Real couriers on a real store and a fake chat, with a clock that runs two hundred times as fast."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp

from bridge import deliver
from bridge.config import Config, DestinationConfig, SourceConfig
from bridge.config.report import Report
from bridge.config.templates import templates
from bridge.deliver import Couriers, Shown
from bridge.destinations.base import DestinationOptions
from bridge.destinations.slack import Options
from bridge.errors import StoreUnavailable
from bridge.event import Event
from bridge.receive import Deciding
from bridge.render import Renderer
from bridge.store import open_store
from bridge.store.base import Limits, Settlement, Store, StoredDelivery
from tests.arrivals import NOON, arrival
from tests.fakes.slack import TOKEN, FakeSlack

SHIPPED = templates(Path(__file__).parent / "nowhere", Report(""))


WITHIN = 30.0  # seconds: a guard for slow machines, never a measure


class Clock:
    """Time that passes `factor` times as fast: a minute of backoff is 0.3 s, and nothing has to know."""

    factor = 200.0

    def __init__(self) -> None:
        self._began = time.monotonic()

    def steady(self) -> float:
        return (time.monotonic() - self._began) * self.factor

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.steady())

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        return await deliver.wait(event, seconds / self.factor)


class Watched:
    """A store that tells when something was settled, and takes nothing while it is `away`."""

    def __init__(self, store: Store, limits: Limits | None = None) -> None:
        self._store = store
        self.limits = limits or store.limits
        self.news = asyncio.Event()
        self.away = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def settle(self, settlement: Settlement) -> None:
        if self.away:
            self.news.set()
            raise StoreUnavailable("the disk is full")
        await self._store.settle(settlement)
        self.news.set()


class Work:
    """A worker with its destinations; ``async with Work(tmp_path, builds=bot(slack)) as work``."""

    def __init__(
        self,
        folder: Path,
        *,
        dice: Callable[[], float] = lambda: 0.0,
        renderer: Callable[[], Renderer] | None = None,
        texts: dict[str, str] | None = None,
        sources: dict[str, SourceConfig] | None = None,
        limits: Callable[[Clock], Limits] | None = None,
        **destinations: DestinationOptions,
    ) -> None:
        self._folder = folder
        self.clock = Clock()
        self._limits = limits(self.clock) if limits is not None else None  # as if shared with other workers
        self.config = Config(
            sources=sources or {},
            destinations={
                name: DestinationConfig(name=name, type=_type(options), options=options)
                for name, options in destinations.items()
            },
            templates=SHIPPED | (texts or {}),
        )
        made = Renderer(self.config.templates)
        self._renderer = renderer or (lambda: made)
        self._dice = dice
        self._keys = 0
        self.shown: list[Shown] = []

    async def __aenter__(self) -> Work:
        self.store = Watched(await open_store(f"sqlite:///{self._folder}/bridge.db", worker=True), self._limits)
        self.session = aiohttp.ClientSession()
        self.couriers = Couriers(
            self.store,  # type: ignore[arg-type]
            self.session,
            lambda: self.config,
            self._renderer,
            now=self.clock.now,
            shown=self.shown.append,
            dice=self._dice,
            steady=self.clock.steady,
            wait=self.clock.wait,
        )
        await self.couriers.follow(self.config)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.couriers.stop()
        await self.session.close()
        await self.store.close()

    async def accept(self, decider: Deciding, *events: Event) -> None:
        for one in events:
            self._keys += 1
            at = (self.clock.now() - NOON).total_seconds()
            await self.store.accept(arrival(one, f"k{self._keys}", at), decider)

    async def until(self, true: Callable[[], Awaitable[object]], within: float = WITHIN) -> None:
        """Return as soon as `true()` holds; it is asked after every settlement."""
        async with asyncio.timeout(within):
            while True:
                self.store.news.clear()
                if await true():
                    return
                await self.store.news.wait()

    async def drained(self, within: float = WITHIN) -> list[StoredDelivery]:
        """Return all deliveries, the oldest first, once none waits."""

        async def nothing_waits() -> bool:
            return not any(one.waiting for one in (await self.store.depths()).values())

        await self.until(nothing_waits, within)
        return await self.all()

    async def all(self) -> list[StoredDelivery]:
        """Return all deliveries with what was tried, the oldest first."""
        found = [await self.store.delivery(one.id) for one in await self.store.deliveries(limit=9_999)]
        return [one for one in reversed(found) if one is not None]


def _type(options: DestinationOptions) -> str:
    """A destination's type is the name of the module that its options are from."""
    return type(options).__module__.rpartition(".")[2]


def bot(slack: FakeSlack, channel: str = "#builds", **options: Any) -> Options:
    return Options(token=TOKEN, channel=channel, api_url=slack.api_url, **options)  # type: ignore[arg-type]


def hook(slack: FakeSlack, **options: Any) -> Options:
    return Options(url=slack.webhook_url, **options)  # type: ignore[arg-type]


def texts(slack: FakeSlack) -> list[str]:
    """What stands in the chat: the text of every message as it is now, in the order of posting."""
    return [one.body["text"] for one in slack.messages.values()]


def outcomes(delivery: StoredDelivery) -> list[str]:
    return [one.outcome for one in delivery.history]
