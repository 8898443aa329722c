"""Do two leaders, each with a connection of its own, tell what is due once, in every engine?"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from bridge.config import Config, DestinationConfig
from bridge.destinations import DESTINATIONS
from bridge.event import OWN
from bridge.occasions import Occasions
from bridge.receive import Deciding
from bridge.schedule import Schedule
from bridge.store.base import Mute, Settlement, Store
from tests.altered import replace
from tests.arrivals import LEASE, NOON, after, arrival, event, rule
from tests.store.conftest import OpenStore

HOUR = 3_600.0
RED = rule("builds", name="red")
DAILY = replace(rule("builds", name="day"), digest=Schedule())  # 09:00 UTC
CONFIG = Config(
    destinations={
        "builds": DestinationConfig(name="builds", type="console", options=DESTINATIONS["console"].Options())
    },
    rules=(RED, DAILY),
)


async def both_tell(reopen: OpenStore, at: float) -> list[str | None]:
    """Let two leaders look at once; return the titles of what was told, the oldest first."""
    stores = await asyncio.gather(reopen(), reopen())
    await asyncio.gather(*(Occasions(store, lambda: CONFIG, lambda: after(at)).tell() for store in stores))
    told = await stores[0].events(limit=10, source=OWN)
    return [one.event.title for one in reversed(told) if one.event]


async def test_a_digest_is_told_once(store: Store, reopen: OpenStore) -> None:
    await store.accept(arrival(event(1, "failure"), "k1"), Deciding([RED]))
    assert await both_tell(reopen, 23 * HOUR) == ["1 broke"]
    owed = [one for one in await store.deliveries(limit=10) if one.target.template == "digest"]
    assert [one.target.rules for one in owed] == [("day",)]


async def test_the_end_of_a_mute_is_told_once_and_counts_what_it_kept_quiet_alone(
    store: Store, reopen: OpenStore
) -> None:
    await store.mute(Mute(since=after(1), until=after(HOUR), repository="acme/app"))
    for run in range(13):
        await store.accept(arrival(event(run, "failure", branch=f"b{run}"), f"k{run}", 2), Deciding([RED]))
    for number, claimed in enumerate(await store.claim("builds", after(3), LEASE, 20)):
        by = "m1" if number else "m12"  # another one, whose name begins alike
        text = f"muted by {by} (acme/app) until 2026-01-01 13:00 UTC"
        await store.settle(Settlement(claimed.id, "folded", after(4), "muted", text, leased_until=claimed.leased_until))
    assert await both_tell(reopen, 2 * HOUR) == ["the mute of acme/app is over: 12 kept quiet"]
    (owed,) = await store.claim("builds", after(2 * HOUR), LEASE, 5)
    assert (owed.target.template, owed.event.digest.broke if owed.event.digest else None) == ("unmuted", 12)
    assert NOON + timedelta(hours=2) == owed.created_at
