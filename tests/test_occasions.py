"""Is what has its time told once: on time, late, by two leaders, after a restart? A week passes in a moment."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge.config import Config, DestinationConfig
from bridge.destinations import DESTINATIONS
from bridge.errors import StoreUnavailable
from bridge.event import OWN, Digest, Event, Identity, Kind
from bridge.mute import silenced
from bridge.occasions import Occasions
from bridge.receive import Deciding
from bridge.render import Renderer, View
from bridge.route import Rule, route
from bridge.schedule import Schedule
from bridge.store import open_store
from bridge.store.base import Arrival, Claimed, Mute, Settlement, Store, StoredEvent
from tests.altered import replace
from tests.arrivals import event, rule
from tests.hostile import TEMPLATES

MONDAY = datetime(2026, 3, 23, 8, tzinfo=UTC)  # 09:00 in Oslo; the clocks go forward in the night to Sunday
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
OSLO = Schedule(at=time(9), zone="Europe/Oslo")


def digest_rule(*to: str, name: str = "morning", schedule: Schedule = OSLO, **more: Any) -> Rule:
    return replace(rule(*to, name=name), digest=schedule, conditions=(), **more)


class World:
    """A store, what was configured, and a clock that stands until it is set."""

    def __init__(self, folder: Path, store: Store, *rules: Rule) -> None:
        self.url = f"sqlite:///{folder}/bridge.db"
        self.store = store
        self.at = MONDAY
        options = DESTINATIONS["console"].Options()
        places = {name: DestinationConfig(name=name, type="console", options=options) for name in ("builds", "oncall")}
        self.config = Config(destinations=places, rules=rules)
        self.occasions = self.leader()
        self._keys = 0

    def leader(self) -> Occasions:
        """Another process that leads, or this one after a restart."""
        return Occasions(self.store, lambda: self.config, lambda: self.at)

    async def came(self, status: str, at: datetime, run: int | None = None, **said: Any) -> None:
        self._keys += 1
        told = event(run or self._keys, status, finished_at=at, **said).with_(received_at=at)
        await self.store.accept(Arrival("github", at, {}, b"", Identity(f"k{self._keys}"), told), Deciding(self.rules))

    @property
    def rules(self) -> Sequence[Rule]:
        return self.config.rules

    async def tell(self, at: datetime, leader: Occasions | None = None) -> list[StoredEvent]:
        """Return what was told by the end of it, the oldest first."""
        self.at = at
        await (leader or self.occasions).tell()
        return await self.told()

    async def told(self) -> list[StoredEvent]:
        return (await self.store.events(limit=100, source=OWN))[::-1]


def said(one: StoredEvent) -> str:
    assert one.event is not None
    return f"{one.event.digest.rule if one.event.digest else ''}: {one.event.title}"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(f"sqlite:///{tmp_path}/bridge.db", worker=True)
    yield opened
    await opened.close()


@pytest.fixture
def world(tmp_path: Path, store: Store) -> World:
    return World(tmp_path, store, digest_rule("builds"))


# -- digests


async def test_a_week_is_told_morning_by_morning_also_when_the_clocks_change(world: World) -> None:
    at, told = MONDAY, []
    await world.tell(at - HOUR)
    while at < MONDAY + 8 * DAY:
        await world.came("failure" if at.hour % 5 else "success", at - timedelta(minutes=30), branch="main")
        before = len(await world.told())
        if len(await world.tell(at)) > before:
            told.append(at)
        at += HOUR
    hours = [one.hour for one in told]
    assert hours == [8] * 6 + [7] * 3, "09:00 by the clocks of Oslo, which went forward on Sunday"


async def test_a_digest_on_monday_is_about_the_week(tmp_path: Path, store: Store) -> None:
    weekly = Schedule(days=frozenset({0}), at=time(9), zone="Europe/Oslo")
    world = World(tmp_path, store, digest_rule("builds", schedule=weekly))
    await world.came("success", MONDAY - 8 * DAY, branch="main")
    await world.came("failure", MONDAY - 5 * DAY, branch="main")
    await world.came("failure", MONDAY - 3 * DAY, branch="release/2")
    (one,) = await world.tell(MONDAY)
    assert said(one) == "morning: 2 broke"
    assert one.event is not None
    assert one.event.digest is not None
    assert one.event.digest.period == "Mon 16 Mar 09:00 to Mon 23 Mar 09:00, Europe/Oslo"
    assert (one.event.digest.pulse.runs, one.event.digest.before.runs) == (2, 1)
    assert len(await world.tell(MONDAY + 6 * DAY)) == 1, "not before the next Monday"


async def test_it_is_owed_to_each_destination_of_its_rule_and_of_no_other(tmp_path: Path, store: Store) -> None:
    world = World(tmp_path, store, digest_rule("builds", "oncall"), rule("builds", name="red"))
    await world.came("failure", MONDAY - HOUR)
    await world.tell(MONDAY)
    owed = await store.deliveries(limit=10)
    assert [(one.target.destination, one.target.template, one.target.rules) for one in owed] == [
        ("oncall", "digest", ("morning",)),
        ("builds", "digest", ("morning",)),
        ("builds", "run", ("red",)),
    ]


async def test_two_leaders_tell_it_once(world: World) -> None:
    await world.came("failure", MONDAY - HOUR)
    other = world.leader()
    await world.tell(MONDAY)
    assert len(await world.tell(MONDAY, other)) == 1
    assert len(await world.store.deliveries(limit=10)) == 1


async def test_two_leaders_who_both_did_not_see_it_tell_it_once(world: World) -> None:
    await world.came("failure", MONDAY - HOUR)

    class Blind:
        def __getattr__(self, name: str) -> Any:
            return getattr(world.store, name)

        async def seen(self, *_: object) -> set[str]:
            return set()

    blind = Occasions(Blind(), lambda: world.config, lambda: world.at)  # type: ignore[arg-type]
    await world.tell(MONDAY)
    assert len(await world.tell(MONDAY, blind)) == 1


async def test_a_restart_at_nine_tells_it_once(world: World) -> None:
    await world.came("failure", MONDAY - HOUR)
    await world.tell(MONDAY)
    assert len(await world.tell(MONDAY, world.leader())) == 1
    assert len(await world.tell(MONDAY + 2 * HOUR, world.leader())) == 1


async def test_a_bridge_that_was_down_tells_the_newest_one_and_not_all(world: World) -> None:
    for day in range(10):
        await world.came("failure", MONDAY + day * DAY - HOUR, branch=f"b{day}")
    back = MONDAY + 9 * DAY + 3 * HOUR
    (one,) = await world.tell(back)
    assert one.event is not None
    assert one.event.digest is not None
    assert one.event.digest.until == MONDAY + 9 * DAY - HOUR, "09:00 summer time of that day"
    assert said(one) == "morning: 1 broke, 7 still broken", "of the eight that it can know of"


async def test_a_rule_that_comes_with_a_new_configuration_waits_for_its_time(world: World) -> None:
    await world.tell(MONDAY - HOUR)
    await world.came("failure", MONDAY - 2 * HOUR)
    later = replace(OSLO, at=time(8))
    world.config = replace(world.config, rules=(digest_rule("builds", schedule=later, name="new"),))
    assert await world.tell(MONDAY + HOUR) == []
    assert [said(one) for one in await world.tell(MONDAY + DAY)] == ["new: 1 still broken"]


async def test_an_empty_day_is_told_by_nobody_who_did_not_ask(tmp_path: Path, store: Store) -> None:
    world = World(tmp_path, store, digest_rule("builds"), digest_rule("oncall", name="asks", tells_empty=True))
    assert [said(one) for one in await world.tell(MONDAY)] == ["asks: no run ended"]


@pytest.mark.parametrize("empty", [True, False])
async def test_a_day_is_looked_through_once(world: World, empty: bool) -> None:
    asked = 0
    if not empty:
        await world.came("failure", MONDAY - HOUR)

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(world.store, name)

        def results(self, *given: Any) -> AsyncIterator[Event]:
            nonlocal asked
            asked += 1
            return world.store.results(*given)

    leader = Occasions(Counting(), lambda: world.config, lambda: world.at)  # type: ignore[arg-type]
    await world.tell(MONDAY, leader)
    await world.tell(MONDAY + HOUR, leader)
    assert asked == 1
    again = Occasions(Counting(), lambda: world.config, lambda: world.at)  # type: ignore[arg-type]
    await world.tell(MONDAY + HOUR, again)
    assert asked == (2 if empty else 1), "that it was told is known, that there was nothing to tell is not"


async def test_the_match_says_which_runs_it_looks_at(tmp_path: Path, store: Store) -> None:
    main = replace(digest_rule("builds"), conditions=rule("x", kind="pipeline", branch="main").conditions)
    world = World(tmp_path, store, main)
    await world.came("failure", MONDAY - HOUR, branch="main")
    await world.came("failure", MONDAY - HOUR, branch="topic")
    assert [said(one) for one in await world.tell(MONDAY)] == ["morning: 1 broke"]


async def test_what_a_bot_fixed_is_fixed_also_where_bots_are_left_out(tmp_path: Path, store: Store) -> None:
    people = replace(digest_rule("builds"), conditions=rule("x", kind="pipeline", bot=False).conditions)
    world = World(tmp_path, store, people)
    for branch in ("one", "two", "three"):
        await world.came("failure", MONDAY - 5 * HOUR, branch=branch)
    await world.came("success", MONDAY - 4 * HOUR, branch="one", author="dependabot[bot]")
    await world.came("failure", MONDAY - 3 * HOUR, branch="two", author="dependabot[bot]")
    await world.came("failure", MONDAY - 2 * HOUR, branch="four", author="dependabot[bot]")
    (one,) = await world.tell(MONDAY)
    assert said(one) == "morning: 2 broke, 1 fixed"
    assert one.event is not None
    assert one.event.digest is not None
    assert one.event.digest.pulse.runs == 3, "those of people"


async def test_more_results_than_are_read_at_once_are_all_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.store.rows.SLICE", 2)
    for hour in range(5):
        await world.came("success", MONDAY - (hour + 1) * HOUR)
    (one,) = await world.tell(MONDAY)
    assert one.event is not None
    assert one.event.digest is not None
    assert one.event.digest.pulse.runs == 5


async def test_a_store_that_is_away_is_asked_again(world: World) -> None:
    await world.came("failure", MONDAY - HOUR)

    class Away:
        away = True

        def __getattr__(self, name: str) -> Any:
            if self.away:
                raise StoreUnavailable("the disk is full")
            return getattr(world.store, name)

    store = Away()
    leader = Occasions(store, lambda: world.config, lambda: world.at)  # type: ignore[arg-type]
    with pytest.raises(StoreUnavailable):
        await world.tell(MONDAY, leader)
    store.away = False
    assert len(await world.tell(MONDAY, leader)) == 1


async def test_a_digest_that_cannot_be_made_keeps_no_other_one(tmp_path: Path, store: Store) -> None:
    broken = digest_rule("builds", name="broken", schedule=Schedule(zone="Europe/Oslo", at=time(9)))
    object.__setattr__(broken, "expression", 7)
    world = World(tmp_path, store, broken, digest_rule("builds"))
    await world.came("failure", MONDAY - HOUR)
    assert [said(one) for one in await world.tell(MONDAY)] == ["morning: 1 broke"]


async def test_a_digest_is_kept_quiet_by_a_mute_of_its_rule_or_of_everything(world: World) -> None:
    await world.came("failure", MONDAY - HOUR)
    (one,) = await world.tell(MONDAY)
    (owed,) = await world.store.deliveries(limit=1)

    def by(**words: str) -> Mute | None:
        known = [Mute(since=MONDAY, until=MONDAY + HOUR, id="m1", **words)]
        assert one.event is not None
        return silenced(known, owed.target.rules, one.event, owed_at=MONDAY, now=MONDAY)

    assert by() is not None
    assert by(rule="morning") is not None
    assert by(rule="other") is None
    assert by(repository="acme/app") is None, "it is about more than that"


def test_no_rule_hears_of_a_digest_but_its_own() -> None:
    rules = [digest_rule("builds"), digest_rule("builds", name="other"), rule("builds", name="all", kind="*")]
    own = Event(source=OWN, type=OWN, kind=Kind.DIGEST, digest=Digest(rule="other"))
    assert route(rules, own).matched == ("other",)
    refused = [verdict.failed for verdict in route(rules, own).verdicts if not verdict.matched]
    assert refused == ["it is bridge's own"] * 2
    assert route(rules, event(1, "failure")).matched == ("all",)
    verdict = route(rules, event(1, "failure")).verdicts[0]
    assert verdict.failed == "a digest, told every day at 09:00 (Europe/Oslo)"


# -- the end of a mute


RED = rule("builds", name="red")


async def muted(world: World, status: str, at: datetime, by: str, **said: Any) -> None:
    """A run whose message a mute kept quiet."""
    world.at = at
    await world.came(status, at, **said)
    for destination in world.config.destinations:
        for claimed in await world.store.claim(destination, at, HOUR, 10):
            await world.store.settle(settled_as(claimed, at, f"muted by {by} (acme/app) until 2026-03-23 10:00 UTC"))


def settled_as(claimed: Claimed, at: datetime, text: str) -> Settlement:
    return Settlement(claimed.id, "folded", at, "muted", text, leased_until=claimed.leased_until)


def mute(since: datetime, until: datetime, **words: str) -> Mute:
    return Mute(since=since, until=until, **({"repository": "acme/app", "reason": "we move house"} | words))


@pytest.fixture
def quiet(tmp_path: Path, store: Store) -> World:
    return World(tmp_path, store, RED)


async def test_the_end_of_a_mute_says_what_was_kept_quiet_and_is_failing_still(quiet: World) -> None:
    await quiet.store.mute(mute(MONDAY, MONDAY + 2 * HOUR))
    await muted(quiet, "failure", MONDAY + HOUR, "m1", branch="main")
    await muted(quiet, "failure", MONDAY + HOUR, "m1", branch="spare")
    quiet.config = replace(quiet.config, rules=())
    await quiet.came("failure", MONDAY + HOUR, branch="nobody was to be told of")
    quiet.config = replace(quiet.config, rules=(RED,))
    await muted(quiet, "success", MONDAY + HOUR * 1.5, "m1", branch="spare")
    assert await quiet.tell(MONDAY + 2 * HOUR) == [], "what came last may still be on its way"
    (one,) = await quiet.tell(MONDAY + 2 * HOUR + timedelta(minutes=1))
    assert one.event is not None
    assert one.event.title == "the mute of acme/app is over: 3 kept quiet"
    (owed,) = await quiet.store.deliveries(limit=1)
    assert (owed.target.destination, owed.target.template, owed.target.rules) == ("builds", "unmuted", ("red",))
    view = View(event=one.event, now=one.received_at)
    message = Renderer(TEMPLATES).render("unmuted", view, "console")
    text = json.dumps([str(message.title), str(message.body), str(message.footer)])
    assert "3 messages were" in text
    assert "1 of what they spoke of is" in text
    assert "build on main" in text
    assert "we move house" in text


async def test_it_is_told_once_whoever_leads(quiet: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await quiet.store.mute(mute(MONDAY, MONDAY + 2 * HOUR))
    await muted(quiet, "failure", MONDAY + HOUR, "m1")
    await quiet.tell(MONDAY + 3 * HOUR)
    monkeypatch.delattr(type(quiet.store), "results")  # nor is looked again what is failing
    for leader in (quiet.occasions, quiet.leader(), quiet.occasions):
        assert len(await quiet.tell(MONDAY + 3 * HOUR, leader)) == 1


async def test_a_mute_that_kept_nothing_quiet_ends_without_a_word(quiet: World) -> None:
    await quiet.store.mute(mute(MONDAY, MONDAY + 2 * HOUR))
    await quiet.came("failure", MONDAY + HOUR)
    assert await quiet.tell(MONDAY + 3 * HOUR) == []


async def test_a_mute_that_is_lifted_is_over(quiet: World) -> None:
    key = await quiet.store.mute(mute(MONDAY, MONDAY + 9 * HOUR))
    await muted(quiet, "failure", MONDAY + HOUR, "m1")
    assert await quiet.tell(MONDAY + 2 * HOUR) == []
    await quiet.store.unmute([key], MONDAY + 2 * HOUR)
    assert len(await quiet.tell(MONDAY + 3 * HOUR)) == 1


async def test_who_mutes_the_same_again_hears_of_both_at_the_last_end(quiet: World) -> None:
    await quiet.store.mute(mute(MONDAY, MONDAY + 2 * HOUR))
    await muted(quiet, "failure", MONDAY + HOUR, "m1")
    await quiet.store.mute(mute(MONDAY + HOUR * 1.5, MONDAY + 4 * HOUR))
    await muted(quiet, "failure", MONDAY + 3 * HOUR, "m2")
    assert await quiet.tell(MONDAY + 3 * HOUR) == []
    (one,) = await quiet.tell(MONDAY + 5 * HOUR)
    assert one.event is not None
    assert one.event.title == "the mute of acme/app is over: 2 kept quiet"


async def test_each_destination_hears_of_its_own_messages(quiet: World) -> None:
    quiet.config = replace(quiet.config, rules=(RED, rule("oncall", name="broken", change="broken")))
    await quiet.store.mute(mute(MONDAY, MONDAY + 2 * HOUR))
    for _ in range(2):
        await muted(quiet, "failure", MONDAY + HOUR, "m1")
    told = await quiet.tell(MONDAY + 3 * HOUR)
    counts = {one.event.digest.quiet for one in told if one.event and one.event.digest}
    assert counts == {1, 2}


async def test_a_destination_that_is_gone_is_not_told(quiet: World) -> None:
    await quiet.store.mute(mute(MONDAY, MONDAY + 2 * HOUR))
    await muted(quiet, "failure", MONDAY + HOUR, "m1")
    quiet.config = replace(quiet.config, destinations={})
    assert await quiet.tell(MONDAY + 3 * HOUR) == []


async def test_a_bridge_that_was_down_for_days_says_nothing_of_an_old_mute(quiet: World) -> None:
    await quiet.store.mute(mute(MONDAY, MONDAY + 2 * HOUR))
    await muted(quiet, "failure", MONDAY + HOUR, "m1")
    assert await quiet.tell(MONDAY + 3 * DAY) == []


async def test_what_a_wider_mute_keeps_quiet_is_not_told_through_the_narrow_one(quiet: World) -> None:
    """The line is a message of the same rules: `all` keeps it quiet, too, and says so when it ends."""
    await quiet.store.mute(mute(MONDAY, MONDAY + 2 * HOUR))
    await muted(quiet, "failure", MONDAY + HOUR, "m1")
    (one,) = await quiet.tell(MONDAY + 3 * HOUR)
    everything = Mute(since=MONDAY, until=MONDAY + DAY, id="m2")
    assert one.event is not None
    assert silenced([everything], ("red",), one.event, owed_at=quiet.at, now=quiet.at) == everything
