"""What does the store promise a worker: lanes, leases, folding, replay?"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from bridge.event import Change, Track
from bridge.receive import Deciding
from bridge.store.base import Along, Claimed, Decision, First, Store
from tests.altered import replace
from tests.arrivals import ALL, LEASE, LIVING, NOON, after, arrival, event, rule, settled, task
from tests.store.conftest import OpenStore


async def accept(store: Store, decider: Deciding, *events: object, at: float = 0) -> None:
    for number, one in enumerate(events):
        await store.accept(arrival(one, f"{at}-{number}-{one.title}", at), decider)  # type: ignore[attr-defined, arg-type]


async def claim(store: Store, at: float = 0, limit: int = 9) -> list[Claimed]:
    """Claim, and ask for what comes next, as a courier does: what a store learns by that must not mislead it."""
    found = await store.claim("builds", after(at), LEASE, limit)
    await store.next_due("builds", after(at))
    return found


async def states(store: Store) -> list[str]:
    return [one.state for one in reversed(await store.deliveries(limit=999))]


# -- lanes


async def test_never_two_of_one_run_at_once_and_never_a_younger_one_first(store: Store) -> None:
    await accept(store, ALL, event(1, "queued"), event(2, "queued"), event(1, "running"), event(1, "success"))
    first, other = await claim(store)
    assert [first.event.title, other.event.title] == ["run 1 queued", "run 2 queued"]
    assert await claim(store) == []
    await store.settle(settled(first))
    (second,) = await claim(store)
    assert second.event.title == "run 1 running"


async def test_a_delivery_that_waits_for_its_next_try_holds_the_younger_ones_of_its_lane(store: Store) -> None:
    await accept(store, ALL, event(1, "queued"), event(1, "running"))
    (first,) = await claim(store)
    await store.settle(settled(first, "pending", outcome="transient", due_at=after(60), counts=True))
    assert await claim(store, 59) == []
    (again,) = await claim(store, 60)
    assert (again.id, again.attempts, again.history) == (first.id, 1, 1)


async def test_an_old_one_that_is_tried_again_goes_before_younger_ones(store: Store) -> None:
    await accept(store, ALL, event(1), at=0)
    (first,) = await claim(store)
    await store.settle(settled(first, "pending", outcome="transient", due_at=after(60), counts=True))
    await accept(store, ALL, *(event(number) for number in range(2, 6)), at=30)
    assert [one.event.title for one in await claim(store, 59, limit=1)] == ["run 2 running"]
    assert [one.event.title for one in await claim(store, 60, limit=1)] == ["run 1 running"]


async def test_one_destination_never_holds_another_of_the_same_run(store: Store) -> None:
    await accept(store, Deciding([rule("builds", "oncall")]), event(1, "queued"))
    assert len(await claim(store)) == 1
    assert len(await store.claim("oncall", NOON, LEASE, 9)) == 1


async def test_a_claim_takes_no_more_than_asked_and_the_oldest_first(store: Store) -> None:
    await accept(store, ALL, *(event(n) for n in range(5)))
    assert [one.event.title for one in await claim(store, limit=2)] == ["run 0 running", "run 1 running"]


async def test_what_is_due_later_is_told_by_next_due(store: Store) -> None:
    assert await store.next_due("builds", NOON) is None
    await accept(store, ALL, event(1))
    assert await store.next_due("builds", after(-1)) == NOON
    assert await store.next_due("builds", NOON) is None, "it is due already"
    (first,) = await claim(store)
    assert await store.next_due("builds", NOON) == after(100), "the end of the lease"
    await store.settle(settled(first, "pending", outcome="transient", due_at=after(7)))
    assert await store.next_due("builds", NOON) == after(7)


async def test_a_clock_that_went_back_holds_nothing_up(store: Store) -> None:
    await accept(store, ALL, event(1), at=10**6)
    assert len(await claim(store, 0)) == 1, "due in eleven days by a clock that was wrong"
    assert await claim(store, 5) == []


async def test_a_lease_dated_by_a_clock_that_went_back_ends(store: Store) -> None:
    await accept(store, ALL, event(1))
    await claim(store, 10**6)
    (again,) = await claim(store, 0)
    assert again.unsure


async def test_what_another_process_takes_in_is_found_by_one_that_had_nothing_to_do(
    store: Store, reopen: OpenStore
) -> None:
    other = await reopen(worker=True)
    await accept(store, ALL, event(1))
    (first,) = await claim(other)
    await other.settle(settled(first))
    assert await claim(other) == await claim(other) == []
    await accept(store, ALL, event(2))
    assert [one.event.title for one in await claim(other)] == ["run 2 running"]


# -- leases


async def test_a_lease_that_ends_without_an_answer_makes_the_delivery_unsure(store: Store) -> None:
    await accept(store, ALL, event(1))
    (first,) = await claim(store)
    assert not first.unsure
    assert await claim(store, 100) == []
    (again,) = await claim(store, 101)
    assert (again.id, again.unsure, again.attempts) == (first.id, True, 0)


async def test_a_settlement_after_a_lost_lease_changes_nothing(store: Store) -> None:
    await accept(store, LIVING, event(1))
    (lost,) = await claim(store)
    (held,) = await claim(store, 101)
    await store.settle(settled(lost, receipt={"ts": "1"}, shown=1))
    assert await states(store) == ["sending"]
    await store.settle(settled(held, "pending", outcome="transient", due_at=after(200), counts=True))
    await store.settle(settled(lost, "dead", outcome="dead"))
    kept = await store.delivery(held.id)
    assert kept is not None
    assert (kept.state, kept.attempts, [one.outcome for one in kept.history]) == ("pending", 1, ["transient"])
    (again,) = await claim(store, 200)
    assert again.receipt is None


async def test_the_first_of_two_settlements_holds(store: Store) -> None:
    await accept(store, ALL, event(1))
    (held,) = await claim(store)
    await store.settle(settled(held))
    await store.settle(settled(held, "dead", outcome="dead"))
    assert await states(store) == ["done"]


async def test_what_is_handed_back_unsent_is_no_attempt(store: Store) -> None:
    await accept(store, ALL, event(1))
    (first,) = await claim(store)
    await store.settle(settled(first, "pending", outcome="released", due_at=NOON))
    (again,) = await claim(store)
    assert (again.attempts, again.unsure) == (0, False)
    kept = await store.delivery(first.id)
    assert kept is not None
    assert kept.history == ()


async def test_what_is_handed_back_unsent_stays_as_unsure_as_it_was(store: Store) -> None:
    await accept(store, ALL, event(1))
    await claim(store)
    (unsure,) = await claim(store, 101)
    await store.settle(settled(unsure, "pending", outcome="released", due_at=after(101)))
    (again,) = await claim(store, 101)
    assert again.unsure


async def test_what_a_dead_worker_left_is_given_back_as_unsure_when_a_worker_opens_alone(
    store: Store, reopen: OpenStore
) -> None:
    await accept(store, ALL, event(1))
    await claim(store)
    await store.close()
    alone = await reopen(worker=True)
    (again,) = await claim(alone)
    assert again.unsure


async def test_a_worker_that_opens_beside_another_takes_nothing_from_it(reopen: OpenStore) -> None:
    one = await reopen(worker=True)
    await accept(one, ALL, event(1))
    await claim(one)
    two = await reopen(worker=True)
    assert await claim(two) == []


async def test_a_worker_that_starts_again_beside_a_younger_one_takes_nothing_from_it(reopen: OpenStore) -> None:
    one = await reopen(worker=True)
    two = await reopen(worker=True)
    await accept(two, ALL, event(1))
    await claim(two)
    await one.close()
    assert await claim(await reopen(worker=True)) == []


async def test_a_process_that_only_takes_webhooks_gives_nothing_back(store: Store, reopen: OpenStore) -> None:
    await accept(store, ALL, event(1))
    await claim(store)
    assert await claim(await reopen()) == []


async def test_two_workers_never_hold_the_same_delivery(reopen: OpenStore) -> None:
    one, two = await reopen(worker=True), await reopen(worker=True)
    await accept(one, ALL, *(event(n) for n in range(50)))
    taken = await asyncio.gather(*(claim(store, limit=3) for _ in range(10) for store in (one, two)))
    ids = [held.id for some in taken for held in some]
    assert len(ids) == len(set(ids)) == 50


# -- living messages


async def test_a_claim_brings_the_newest_state_of_its_run(store: Store) -> None:
    await accept(store, LIVING, event(1, "queued"), event(1, "running"))
    (first,) = await claim(store)
    assert first.run is not None
    assert (first.version, first.run.version, first.run.status) == (1, 2, "running")


async def test_what_a_living_message_shows_settles_the_older_wishes_for_it(store: Store) -> None:
    await accept(store, LIVING, event(1, "queued"), event(1, "running"), task(1, "lint", "success"))
    (first,) = await claim(store)
    await accept(store, LIVING, event(1, "success"), at=1)
    await store.settle(settled(first, receipt={"ts": "1"}, shown=first.run.version if first.run else 0))
    assert await states(store) == ["done", "folded", "folded", "pending"]
    (last,) = await claim(store, 2)
    assert (last.receipt, last.shown) == ({"ts": "1"}, 3)
    kept = await store.deliveries(limit=9, state="folded")
    assert {one.text for one in kept} == {f"shown by {first.id}"}


async def test_a_living_message_settles_no_wish_of_another_message_of_its_run(store: Store) -> None:
    threaded = Deciding([rule("builds", live=True, thread=True)])
    await accept(store, threaded, event(1, "queued"))
    (first,) = await claim(store)
    await store.settle(settled(first, receipt={"ts": "1"}, shown=1))
    await accept(store, threaded, event(1, "failure"), at=1)
    assert await states(store) == ["done", "pending", "pending"], "the edit, and the result in the thread"
    (edit,) = await claim(store, 2)
    await store.settle(settled(edit, receipt={"ts": "1"}, shown=99))
    (reply,) = await claim(store, 2)
    assert (reply.target.reply, reply.root) == (True, {"ts": "1"})


async def test_what_is_shown_only_grows(store: Store) -> None:
    await accept(store, LIVING, event(1, "queued"))
    (first,) = await claim(store)
    await store.settle(settled(first, receipt={"ts": "1"}, shown=5))
    await accept(store, LIVING, event(1, "running"), at=1)
    (second,) = await claim(store, 1)
    await store.settle(settled(second, receipt={"ts": "2"}, shown=2))
    await accept(store, LIVING, event(1, "success"), at=2)
    (third,) = await claim(store, 2)
    assert (third.shown, third.receipt) == (5, {"ts": "2"})


async def test_the_wishes_that_are_folded_leave_their_mentions(store: Store) -> None:
    everybody = tuple(Change)
    decider = Deciding(
        [
            rule("builds", live=True, mention=["octocat"], mention_when=[Change.BROKEN]),
            rule("builds", name="also", live=True, mention=["hubot"], mention_when=everybody, status="failure"),
        ]
    )
    await accept(store, decider, event(1, "queued"), event(1, "running"), event(1, "failure"))
    (first,) = await claim(store)
    assert first.target.mention == ("octocat", "hubot")
    assert (await store.reload(first)).target.mention == ("octocat", "hubot")


async def test_reload_brings_what_came_after_the_claim_and_keeps_the_lease(store: Store) -> None:
    await accept(store, LIVING, event(1, "queued"))
    (first,) = await claim(store)
    await accept(store, LIVING, event(1, "success"), at=1)
    newest = await store.reload(first)
    assert newest.run is not None
    assert (newest.run.status, newest.leased_until) == ("success", first.leased_until)


async def test_a_message_that_is_gone_is_forgotten_with_its_thread(store: Store) -> None:
    await accept(store, Deciding([rule("builds", live=True, thread=True)]), event(1, "queued"))
    (first,) = await claim(store)
    await store.settle(settled(first, receipt={"ts": "1"}, shown=1))
    await accept(store, Deciding([rule("builds", live=True, thread=True)]), event(1, "running"), at=1)
    (edit,) = await claim(store, 1)
    await store.settle(settled(edit, "pending", outcome="gone", due_at=after(1), forget=True))
    (anew,) = await claim(store, 1)
    assert (anew.receipt, anew.root, anew.shown) == (None, None, 0)


# -- replay


async def test_a_replay_is_a_new_delivery_and_the_old_one_stays_to_be_seen(store: Store) -> None:
    await accept(store, ALL, event(1))
    (first,) = await claim(store)
    await store.settle(settled(first, "dead", outcome="dead", text="the token was revoked"))
    (new,) = await store.replay([first.id], after(5))
    assert new != first.id
    old = await store.delivery(first.id)
    assert old is not None
    assert old.text == f"the token was revoked; replayed as {new}"
    assert [one.outcome for one in old.history] == ["dead"]
    (again,) = await claim(store, 5)
    assert (again.id, again.replayed, again.created_at, again.attempts) == (new, True, after(5), 0)
    assert (await store.depths())["builds"].dead == 0


async def test_a_delivery_that_still_waits_is_not_replayed(store: Store) -> None:
    await accept(store, ALL, event(1), event(2))
    (held,) = await claim(store, limit=1)
    ids = [one.id for one in await store.deliveries(limit=9)]
    assert await store.replay([*ids, "d999", "nonsense"], NOON) == []
    await store.settle(settled(held))
    assert len(await store.replay([held.id], NOON)) == 1


async def test_a_replay_wakes_its_destination(store: Store) -> None:
    await accept(store, ALL, event(1))
    (first,) = await claim(store)
    await store.settle(settled(first))
    woken: list[str] = []
    store.on_owed(woken.append)
    await store.replay([first.id], NOON)
    assert woken == ["builds"]


# -- seeing


async def test_depths_count_what_waits_and_what_is_dead(store: Store) -> None:
    await accept(store, Deciding([rule("builds", "oncall")]), event(1), event(2), at=3)
    held = await store.claim("builds", after(3), LEASE, 9)
    await store.settle(settled(held[0], "dead", outcome="dead"))
    await store.settle(settled(held[1], "dropped", outcome="unsure"))
    depths = await store.depths()
    assert (depths["builds"].waiting, depths["builds"].dead, depths["builds"].oldest) == (0, 2, None)
    assert (depths["oncall"].waiting, depths["oncall"].dead, depths["oncall"].oldest) == (2, 0, after(3))


async def test_lists_are_newest_first_and_bounded_and_chosen_by_their_keys(store: Store) -> None:
    for number in range(5):
        await accept(store, ALL, event(number), at=number)
    assert [one.event.title for one in await store.events(limit=2) if one.event] == ["run 4 running", "run 3 running"]
    assert len(await store.deliveries(limit=9, since=after(3))) == 2
    assert await store.deliveries(limit=9, destination="nobody") == []
    assert await store.events(limit=9, source="gitlab") == []


@pytest.mark.parametrize("state", ["done", "dead", "dropped", "folded"])
async def test_every_end_is_kept_with_its_text(store: Store, state: str) -> None:
    await accept(store, ALL, event(1))
    (held,) = await claim(store)
    await store.settle(settled(held, state, 5, text="why", seconds=0.25, sent=b"{}"))  # type: ignore[arg-type]
    kept = await store.delivery(held.id)
    assert kept is not None
    assert (kept.state, kept.text, kept.settled_at, kept.sent) == (state, "why", after(5), b"{}")
    assert kept.history[0].at - NOON == timedelta(seconds=5)


async def test_what_is_owed_to_a_destination_that_is_gone_is_given_up_and_can_be_replayed(store: Store) -> None:
    await store.accept(arrival(event(1), "a"), Deciding([rule("builds", "oncall")]))
    assert await store.bury(["builds"], after(-1), after(5)) == 0, "not before its time"
    assert await store.bury(["builds"], after(1), after(5)) == 1
    states = {one.target.destination: one.state for one in await store.deliveries(limit=9)}
    assert states == {"builds": "pending", "oncall": "dead"}
    (dead,) = await store.deliveries(limit=9, state="dead")
    assert await store.replay([dead.id], after(9)) != []


async def test_what_waits_for_a_new_try_can_be_made_due(store: Store) -> None:
    await store.accept(arrival(event(1), "a"), ALL)
    (claimed,) = await store.claim("builds", NOON, LEASE, 9)
    await store.settle(settled(claimed, "pending", outcome="transient", due_at=after(500), counts=True))
    assert await store.claim("builds", after(1), LEASE, 9) == []
    await store.hasten("builds", after(1))
    assert len(await store.claim("builds", after(1), LEASE, 9)) == 1


async def test_what_is_made_due_again_goes_in_the_order_in_which_it_came(store: Store) -> None:
    await accept(store, ALL, *(event(number) for number in range(1, 5)))
    for held in reversed(await claim(store)):
        await store.settle(settled(held, "pending", outcome="transient", due_at=after(500), counts=True))
    await accept(store, ALL, event(5), at=1)
    await store.hasten("builds", after(2))
    told = [held.event.title for _ in range(5) for held in await claim(store, 2, limit=1)]
    assert told == [f"run {number} running" for number in range(1, 6)]


async def test_what_a_clock_ahead_has_dated_can_be_made_due(store: Store) -> None:
    await accept(store, ALL, event(1), event(1, "success"), at=2_000)
    (lost,) = await claim(store, at=2_000)
    assert await claim(store, at=1) == []
    await store.redate("builds", after(1), LEASE)
    (again,) = await claim(store, at=2)
    assert (again.id, again.unsure) == (lost.id, True), "no lease is that long: who held it is gone"
    await store.settle(settled(again, at=2))
    assert len(await claim(store, at=3)) == 1


async def test_a_lease_that_may_be_held_is_left_alone_when_dates_are_mended(store: Store) -> None:
    await accept(store, ALL, event(1))
    assert len(await claim(store)) == 1
    await store.redate("builds", after(0), LEASE)
    assert await claim(store, at=1) == []


async def test_what_a_rule_lets_wait_is_not_old_before_it_is_due(store: Store) -> None:
    """Else every weekend would raise an alarm."""
    now = datetime.now(UTC)
    hour = timedelta(hours=1)

    class Later(Deciding):
        def told(self, first: First, track: Track | None, after: Track | None) -> Decision:
            decision = super().told(first, track, after)
            later = {"until": now + 9 * hour, "queue": "all:monday", "gather": True}
            return replace(decision, targets=tuple(one.with_(**later) for one in decision.targets))

    decider = Later([rule("builds")])
    for number in (1, 2):
        at = (now - 2 * hour - NOON).total_seconds()
        await store.accept(arrival(event(number), f"k{number}", at), decider)
    # The first was looked at; the second, behind it, was due by the column an hour ago.
    depth = (await store.depths())["builds"]
    (first,) = await store.claim("builds", now, LEASE, 4)
    at = (now - NOON).total_seconds()
    await store.settle(settled(first, "pending", at, outcome="waits", due_at=now + hour / 2))
    looked = (await store.depths())["builds"]
    assert (depth.waiting, looked.waiting, looked.oldest) == (2, 2, None)
    assert depth.oldest is not None
    assert abs(depth.oldest - (now - 2 * hour + timedelta(minutes=45))) < timedelta(seconds=5)


class Collecting(Deciding):
    """Whatever it owes waits for all runs in one lane."""

    def told(self, first: First, track: Track | None, after: Track | None) -> Decision:
        decision = super().told(first, track, after)
        shared = {"queue": "all:monday", "gather": True}
        return replace(decision, targets=tuple(one.with_(**shared) for one in decision.targets))


async def test_what_is_owed_again_stands_behind_what_waits_in_its_lane(store: Store) -> None:
    collecting = Collecting([rule("builds")])
    await accept(store, collecting, event(1), event(2))
    (head,) = await claim(store)
    assert [one.event.title for one in head.behind] == ["run 2 running"]
    await store.settle(settled(head, owe=head.target))  # and nothing along with it
    (second,) = await claim(store)
    assert (second.event.title, [one.event.title for one in second.behind]) == ("run 2 running", ["run 1 running"])
    assert await claim(store) == []
    await store.settle(settled(second))
    (again,) = await claim(store)
    assert (again.event.title, again.behind) == ("run 1 running", ())


async def test_what_is_owed_again_is_owed_once_and_only_by_who_holds_it(store: Store) -> None:
    collecting = Collecting([rule("builds")])
    await accept(store, collecting, event(1))
    (head,) = await claim(store)
    await store.settle(settled(head, owe=head.target))
    await store.settle(settled(head, owe=head.target))
    assert await states(store) == ["done", "pending"]


async def test_a_replay_waits_in_no_line(store: Store) -> None:
    collecting = Collecting([rule("builds")])
    await accept(store, collecting, event(1), event(2), event(3))
    (head,) = await claim(store)
    along = tuple(Along(one.id, "folded", "with it") for one in head.behind[:1])
    await store.settle(settled(head, along=along))
    await store.replay([along[0].id], after(1))
    found = await claim(store, 1)
    assert [(one.event.title, one.replayed, one.behind) for one in found] == [
        ("run 3 running", False, ()),
        ("run 2 running", True, ()),
    ]
