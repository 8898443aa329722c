"""What does the store promise of an event that it has taken?"""

from __future__ import annotations

import asyncio

import pytest

from bridge.errors import StoreUnavailable
from bridge.event import Change
from bridge.receive import Deciding
from bridge.store.base import Store
from tests.arrivals import ALL, LEASE, LIVING, NOON, Failing, after, arrival, event, rule, settled, task
from tests.store.conftest import OpenStore, write


async def test_an_accepted_event_owes_one_delivery_to_each_destination(store: Store) -> None:
    accepted = await store.accept(arrival(event(1), "a"), Deciding([rule("builds", "oncall")]))
    assert (accepted.state, set(accepted.destinations)) == ("routed", {"builds", "oncall"})
    owed = await store.deliveries(limit=9)
    assert {(one.target.destination, one.event_id, one.state) for one in owed} == {
        ("builds", accepted.id, "pending"),
        ("oncall", accepted.id, "pending"),
    }


async def test_a_destination_that_is_owed_something_is_woken_after_the_commit(store: Store) -> None:
    woken: list[str] = []
    store.on_owed(woken.append)
    await store.accept(arrival(event(1), "a"), Deciding([rule("builds", "oncall")]))
    await store.accept(arrival(event(1), "a"), ALL)
    assert sorted(woken) == ["builds", "oncall"]


async def test_a_result_is_compared_with_the_one_before_on_its_track(store: Store) -> None:
    for number, status in enumerate(("success", "failure", "success"), 1):
        await store.accept(arrival(event(number, status), f"k{number}"), ALL)
    changes = [one.event.change for one in await store.events(limit=9) if one.event]
    assert changes == [Change.FIXED, Change.BROKEN, Change.STILL_PASSING]


async def test_the_run_the_track_and_the_deliveries_survive_a_restart(store: Store, reopen: OpenStore) -> None:
    await store.accept(arrival(event(1, "failure"), "a"), LIVING)
    await store.close()
    again = await reopen()
    await again.accept(arrival(event(2, "success"), "b"), LIVING)
    assert [one.event.change for one in await again.events(limit=9) if one.event] == [Change.FIXED, Change.BROKEN]
    assert len(await again.claim("builds", NOON, LEASE, 9)) == 2


async def test_an_event_that_a_bug_keeps_from_being_routed_is_stored_as_stuck(store: Store) -> None:
    accepted = await store.accept(arrival(event(1), "a"), Failing())
    assert (accepted.state, accepted.duplicate) == ("stuck", False)
    (kept,) = await store.events(limit=9, state="stuck")
    assert kept.event is not None
    assert kept.event.title == "run 1 running"
    assert "ZeroDivisionError" in kept.problem
    assert await store.deliveries(limit=9) == []


async def test_a_stuck_event_is_not_taken_twice(store: Store) -> None:
    first = await store.accept(arrival(event(1), "a"), Failing())
    again = await store.accept(arrival(event(1), "a"), ALL)
    assert (again.duplicate, again.id) == (True, first.id)


async def test_a_bug_in_the_second_step_leaves_nothing_behind_but_the_stuck_event(store: Store) -> None:
    class Half(Deciding):
        def second(self, first, track):  # type: ignore[no-untyped-def]
            decision = super().second(first, track)
            object.__setattr__(decision.targets[0], "mention", object())  # cannot be written down
            return decision

    accepted = await store.accept(arrival(event(1), "a"), Half([rule("builds")]))
    assert accepted.state == "stuck"
    assert [one.state for one in await store.events(limit=9)] == ["stuck"]
    assert await store.deliveries(limit=9) == []
    await store.accept(arrival(event(1), "b"), ALL)
    (owed,) = await store.claim("builds", NOON, LEASE, 9)
    assert owed.version == 1, "the run was not remembered by the failed try"


async def test_an_event_that_cannot_be_written_down_is_kept_by_its_body(store: Store) -> None:
    accepted = await store.accept(arrival(event(1, title="\ud800"), "a"), ALL)
    assert accepted.state == "stuck"
    kept = await store.event(accepted.id)
    assert kept is not None
    assert (kept.event, kept.body) == (None, b'{"made": "up"}')


async def test_a_bug_in_one_event_does_not_harm_those_that_arrive_with_it(store: Store) -> None:
    made = [arrival(event(number), f"k{number}") for number in range(20)]
    deciders = [Failing() if number % 5 == 0 else ALL for number in range(20)]
    answers = await asyncio.gather(*(store.accept(one, by) for one, by in zip(made, deciders, strict=True)))
    assert [one.state for one in answers] == ["stuck" if number % 5 == 0 else "routed" for number in range(20)]


@pytest.mark.parametrize("table", ["runs", "tracks"])
async def test_an_event_whose_run_or_track_cannot_be_read_back_is_stuck_until_it_can(
    store: Store, url: str, table: str
) -> None:
    """A newer bridge has written it, in a deploy or before it was taken back: the sender must not hear of that."""
    await store.accept(arrival(event(1, "failure"), "a"), ALL)
    kind = "bytea" if url.startswith("postgresql:") else "BLOB"
    write(url, f"UPDATE {table} SET {table[:-1]} = CAST('{{' AS {kind})")
    answers = [await store.accept(arrival(event(run, "success", attempt=2), f"b{run}"), ALL) for run in (1, 2)]
    assert "stuck" in [one.state for one in answers]
    assert (await store.accept(arrival(event(9, branch="other"), "c"), ALL)).state == "routed"
    write(url, f"DELETE FROM {table}")
    assert await store.route_stuck(ALL) == [one.state for one in answers].count("stuck")


async def test_route_stuck_routes_again_what_was_stuck(store: Store) -> None:
    woken: list[str] = []
    store.on_owed(woken.append)
    stuck = await store.accept(arrival(event(1, "failure"), "a"), Failing())
    assert await store.route_stuck(ALL) == 1
    healed = await store.event(stuck.id)
    assert healed is not None
    assert (healed.state, healed.problem, healed.rules) == ("routed", "", ("all",))
    assert healed.event is not None
    assert healed.event.change is Change.BROKEN
    assert woken == ["builds"]
    (owed,) = await store.claim("builds", NOON, LEASE, 9)
    assert owed.event.id == stuck.id
    assert await store.route_stuck(ALL) == 0


async def test_route_stuck_leaves_what_is_still_a_bug_where_it_is(store: Store) -> None:
    await store.accept(arrival(event(1), "a"), Failing())
    assert await store.route_stuck(Failing()) == 0
    assert [one.state for one in await store.events(limit=9)] == ["stuck"]


# -- the same delivery twice


async def test_the_same_key_is_a_duplicate_and_names_the_first(store: Store) -> None:
    first = await store.accept(arrival(event(1), "a"), ALL)
    again = await store.accept(arrival(event(1, "success"), "a"), ALL)
    assert (again.duplicate, again.id) == (True, first.id)
    assert len(await store.events(limit=9)) == 1
    assert len(await store.deliveries(limit=9)) == 1


async def test_the_same_key_at_once_speaks_once(store: Store) -> None:
    answers = await asyncio.gather(*(store.accept(arrival(event(1), "a"), ALL) for _ in range(20)))
    assert [one.duplicate for one in answers].count(False) == 1
    assert len({one.id for one in answers}) == 1
    assert len(await store.deliveries(limit=99)) == 1


async def test_the_same_key_from_two_sources_is_two_events(store: Store) -> None:
    one = await store.accept(arrival(event(1), "a"), ALL)
    two = await store.accept(arrival(event(1, source="mirror"), "a"), ALL)
    assert not two.duplicate
    assert one.id != two.id


async def test_an_unreadable_request_is_kept_once_with_its_body(store: Store) -> None:
    first = await store.accept(arrival(None, "a", problem="not JSON"), ALL)
    again = await store.accept(arrival(None, "a", problem="not JSON"), ALL)
    assert (first.state, again.duplicate, again.id) == ("unreadable", True, first.id)
    kept = await store.event(first.id)
    assert kept is not None
    assert (kept.problem, kept.body) == ("not JSON", b'{"made": "up"}')


async def test_an_ignored_request_is_listed_without_its_body_and_remembered_by_no_key(store: Store) -> None:
    first = await store.accept(arrival(None, "a", problem="ping", ignored=True), ALL)
    kept = await store.event(first.id)
    assert kept is not None
    assert (kept.state, kept.body) == ("ignored", b"")
    assert not (await store.accept(arrival(event(1), "a"), ALL)).duplicate


async def test_a_repeatable_delivery_that_tells_nothing_new_is_a_duplicate(store: Store) -> None:
    said = event(1, "running", attempt=None)
    first = await store.accept(arrival(said, "same bytes", repeatable=True), ALL)
    again = await store.accept(arrival(said, "same bytes", repeatable=True), ALL)
    assert (again.duplicate, again.id) == (True, first.id)


async def test_a_repeatable_delivery_that_restarts_the_run_is_news(store: Store) -> None:
    restart = event(1, "running", attempt=None, restarted=True)
    await store.accept(arrival(restart, "running", 1, repeatable=True, sent=1), ALL)
    await store.accept(arrival(event(1, "failure", attempt=None), "failed", 2, repeatable=True, sent=2), ALL)
    again = await store.accept(arrival(restart, "running", 3, repeatable=True, sent=3), ALL)
    assert (again.duplicate, again.state) == (False, "routed")


async def test_a_repeatable_delivery_with_an_earlier_time_of_sending_is_a_replay(store: Store) -> None:
    restart = event(1, "running", attempt=None, restarted=True)
    first = await store.accept(arrival(restart, "running", 1, repeatable=True, sent=1), ALL)
    await store.accept(arrival(event(1, "failure", attempt=None), "failed", 2, repeatable=True, sent=2), ALL)
    replayed = await store.accept(arrival(restart, "running", 3, repeatable=True, sent=1), ALL)
    assert (replayed.duplicate, replayed.id) == (True, first.id)


# -- order and durability


async def test_ids_grow_even_when_the_clock_goes_back(store: Store) -> None:
    ids = [(await store.accept(arrival(event(n), f"k{n}", -3600 * n), ALL)).id for n in range(5)]
    numbers = [int(one.removeprefix("e")) for one in ids]
    assert numbers == sorted(set(numbers))


async def test_ids_are_never_given_twice_even_after_a_purge(store: Store, reopen: OpenStore) -> None:
    first = await store.accept(arrival(None, "a", problem="not JSON"), ALL)
    await store.purge(after(10), 100)
    await store.close()
    assert await (again := await reopen()).event(first.id) is None
    assert (await again.accept(arrival(None, "b", problem="not JSON"), ALL)).id != first.id


async def test_two_hundred_at_once_are_all_stored_and_owed_in_order_of_their_ids(store: Store) -> None:
    made = [arrival(task(1, f"t{number}", "running"), f"k{number}") for number in range(200)]
    answers = await asyncio.gather(*(store.accept(one, LIVING) for one in made))
    assert len({one.id for one in answers}) == 200
    assert len(await store.events(limit=999)) == 200


async def test_a_closed_store_refuses_at_once_and_does_not_hang(store: Store) -> None:
    waiting = [asyncio.create_task(store.accept(arrival(event(n), f"k{n}"), ALL)) for n in range(50)]
    await asyncio.sleep(0)
    await store.close()
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(not isinstance(one, BaseException) or isinstance(one, StoreUnavailable) for one in answers)
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.accept(arrival(event(99), "late"), ALL)


async def test_readers_see_whole_transactions_while_the_writer_works(store: Store) -> None:
    both = Deciding([rule("builds", "oncall")])
    writing = asyncio.gather(*(store.accept(arrival(event(n), f"k{n}"), both) for n in range(300)))
    while not writing.done():
        owed = await store.deliveries(limit=9_999)
        assert len(owed) % 2 == 0
    await writing
    assert len(await store.deliveries(limit=9_999)) == 600


async def test_what_is_settled_and_old_is_forgotten_in_bounded_slices(store: Store) -> None:
    for number in range(30):
        await store.accept(arrival(event(number), f"k{number}"), ALL)
    for one in await store.claim("builds", NOON, LEASE, 99):
        await store.settle(settled(one, at=1))
    first = await store.purge(after(3600), 10)
    assert len(await store.deliveries(limit=99)) == 20
    assert 10 <= first <= 50
    while await store.purge(after(3600), 10):
        pass
    assert await store.deliveries(limit=99) == []
    assert await store.events(limit=99) == []


async def test_purge_keeps_what_waits_with_its_event_and_what_is_stuck(store: Store) -> None:
    waiting = await store.accept(arrival(event(1), "a"), ALL)
    stuck = await store.accept(arrival(event(2), "b"), Failing())
    await store.accept(arrival(None, "c", problem="not JSON"), ALL)
    while await store.purge(after(10**8), 100):
        pass
    assert {one.id for one in await store.events(limit=9)} == {waiting.id, stuck.id}
    (owed,) = await store.claim("builds", after(10**8), LEASE, 9)
    assert owed.run is not None, "the run of a delivery that waits is kept with it"


async def test_a_delivery_stays_known_as_seen_long_after_its_event_is_forgotten(store: Store) -> None:
    first = await store.accept(arrival(None, "a", problem="not JSON"), ALL)
    while await store.purge(after(30 * 86_400), 100):
        pass
    assert await store.event(first.id) is None
    assert (await store.accept(arrival(None, "a", 40 * 86_400, problem="not JSON"), ALL)).duplicate


async def test_an_id_that_nobody_has_is_not_found(store: Store) -> None:
    for odd in ("", "e", "e0", "d1", "e-1", "e" + "9" * 30, "' OR 1=1"):
        assert await store.event(odd) is None
        assert await store.delivery(odd) is None


async def test_a_redelivery_of_what_could_not_be_read_is_welcome_once_it_can(store: Store) -> None:
    first = await store.accept(arrival(None, "a", problem="a field was odd"), ALL)
    assert (await store.accept(arrival(None, "a", problem="a field was odd"), ALL)).duplicate
    healed = await store.accept(arrival(event(1), "a"), ALL)
    assert (first.state, healed.state, healed.duplicate) == ("unreadable", "routed", False)
    assert (await store.accept(arrival(event(1), "a"), ALL)).duplicate


async def test_repeatable_bytes_with_their_time_left_out_are_the_ones_seen_before(store: Store) -> None:
    await store.accept(arrival(event(1, "failure", attempt=None), "a", repeatable=True, sent=1), ALL)
    await store.accept(arrival(event(1, "running", attempt=None, restarted=True), "b", repeatable=True, sent=2), ALL)
    assert (await store.accept(arrival(event(1, "failure", attempt=None), "a", repeatable=True), ALL)).duplicate


async def test_an_event_that_cannot_be_read_back_does_not_hide_the_others(store: Store, url: str) -> None:
    await store.accept(arrival(event(1), "a"), ALL)
    await store.accept(arrival(event(2), "b"), ALL)
    empty = r"'\x7b7d'" if url.startswith("postgresql:") else "X'7b7d'"
    write(url, f"UPDATE events SET event = {empty} WHERE id = 1")
    assert [one.event is None for one in await store.events(limit=9)] == [False, True]
