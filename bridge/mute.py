"""Which mute keeps a message from being sent? Decided when its turn has come, and the mutes known in every process.

Never decides what is owed: a muted delivery is accepted, kept and settled like any other, so that "why did I not get
this?" has an answer. See docs/muting.md and docs/decisions/0018-muted-when-its-turn-has-come.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache

from bridge.errors import StoreUnavailable
from bridge.event import Event, Target
from bridge.observe import log
from bridge.route import Condition, MatchError, condition
from bridge.store.base import Mute, Store

KNOWN_FOR = 1.0  # seconds; then they are read again, beside the messages that come
BELIEVED_FOR = 2.0  # seconds; how soon another process's mute is seen: then a message waits until they are read
LOOKED_BACK = timedelta(days=30)  # what was owed under a mute that ended since is not told afterwards


def silenced(
    mutes: Sequence[Mute], rules: Sequence[str], event: Event, *, owed_at: datetime, now: datetime
) -> Mute | None:
    """Return the mute that keeps quiet what `rules` asked for because of `event`, or None.

    A mute holds for what comes while it lasts, whenever its turn comes, and for what waited when it began. What several
    rules have asked for is told as long as one of them may speak.
    """
    holding = [mute for mute in mutes if now < mute.until or mute.since <= owed_at < mute.until]
    for mute in holding:
        if not mute.rule and _covers(mute, event):
            return mute
    by_rule = {mute.rule: mute for mute in holding if mute.rule}
    return by_rule[rules[0]] if rules and all(rule in by_rule for rule in rules) else None


def _covers(mute: Mute, event: Event) -> bool:
    if not mute.repository:
        return True
    if mute.branch and event.fork:  # the "main" of somebody's fork is not ours
        return False
    wanted = [_condition("repository", mute.repository)]
    if mute.branch:
        wanted.append(_condition("branch", mute.branch))
    return all(one is not None and one.holds(event) for one in wanted)


@lru_cache(maxsize=1_000)
def _condition(key: str, text: str) -> Condition | None:
    """Return the pattern as a rule would read it; None, which matches nothing, for one that is none."""
    try:
        return condition(key, text)
    except MatchError:
        return None


def why(mute: Mute) -> str:
    """Return the words with which a delivery is kept that was not sent."""
    reason = f": {mute.reason}" if mute.reason else ""
    return f"muted by {mute.id} ({mute.what}) until {mute.until:%Y-%m-%d %H:%M} UTC{reason}"


class Mutes:
    """The mutes as one process knows them: read before messages are claimed, and believed for BELIEVED_FOR seconds."""

    def __init__(self, store: Store, now: Callable[[], datetime], steady: Callable[[], float]) -> None:
        self._store = store
        self._now = now
        self._steady = steady
        self._known: list[Mute] | None = None
        self._asked_at = float("-inf")
        self._asking: asyncio.Task[None] | None = None

    def of(self, target: Target, event: Event, owed_at: datetime) -> Mute | None:
        """As `silenced`, by what was last read."""
        return silenced(self._known, target.rules, event, owed_at=owed_at, now=self._now()) if self._known else None

    async def read(self) -> None:
        """Know what is muted, as of BELIEVED_FOR ago at most. Raises StoreUnavailable when it was never known."""
        age = self._steady() - self._asked_at
        if age < KNOWN_FOR:
            return
        if self._asking is None:  # one asks, and all who come meanwhile hear the answer
            self._asking = asyncio.create_task(self._ask(self._steady()))
            self._asking.add_done_callback(self._answered)
        if age >= BELIEVED_FOR:
            await asyncio.shield(self._asking)

    async def _ask(self, at: float) -> None:
        try:
            self._known = await self._store.mutes(self._now() - LOOKED_BACK)
        except StoreUnavailable as error:
            if self._known is None:
                raise
            log.warning("store.unavailable", error=str(error))
        self._asked_at = at

    def _answered(self, asking: asyncio.Task[None]) -> None:
        self._asking = None
        if not asking.cancelled():
            asking.exception()  # whoever waits for it hears it, and the next one asks again
