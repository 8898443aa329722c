"""What do the couriers promise? Real store, real Slack destination, a fake Slack that fails on demand."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import re
from collections import deque
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bridge import deliver, observe
from bridge.config import Person, SourceConfig
from bridge.errors import LookupFailed, StoreUnavailable
from bridge.event import Change, Run
from bridge.receive import Deciding
from bridge.render import Renderer
from bridge.route import Goal
from bridge.store import open_store
from bridge.store.base import Condition, Limit
from tests.altered import replace
from tests.arrivals import ALL, LEASE, LIVING, NOON, after, arrival, event, rule, task
from tests.couriers import SHIPPED, Clock, Work, bot, hook, outcomes, texts
from tests.fakes import slack as fake
from tests.fakes.slack import FakeSlack
from tests.running import until

pytestmark = pytest.mark.usefixtures("no_lease_ends")

THREADED = Deciding([rule("builds", live=True, thread=True)])
DOWN = 10_000  # faults: as good as for ever


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as chat:
        yield chat
        assert chat.invalid == []


@pytest.fixture
async def other() -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as chat:
        yield chat


def down(slack: FakeSlack, *, code: int = 503) -> None:
    slack.faults = deque([fake.status(code)] * DOWN)


# -- again


async def test_what_fails_is_tried_again_and_waits_longer_each_time(slack: FakeSlack, tmp_path: Path) -> None:
    slack.faults += [fake.status(500), fake.lost_before_accept(), fake.status(502), fake.status(503)]
    async with Work(tmp_path, builds=bot(slack)) as work:
        await work.accept(ALL, event(1))
        (one,) = await work.drained()
    assert (one.state, one.attempts) == ("done", 4)
    assert outcomes(one)[-1] == "delivered"
    times = [tried.at for tried in one.history]
    waits = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
    assert all(wait >= least for wait, least in zip(waits, [0.5, 1, 2, 4], strict=True))
    assert len(slack.messages) == 1


async def test_a_rate_limit_uses_up_no_attempt_and_its_time_is_kept(slack: FakeSlack, tmp_path: Path) -> None:
    slack.faults += [fake.ratelimited(20), fake.ratelimited(3)]
    async with Work(tmp_path, builds=bot(slack, attempts=1)) as work:
        await work.accept(ALL, event(1))
        (one,) = await work.drained()
    assert (one.state, one.attempts) == ("done", 0)
    limited = [tried for tried in one.history if tried.outcome == "limited"]
    assert len(limited) == 2
    assert (limited[1].at - limited[0].at).total_seconds() >= 20
    assert (one.history[-1].at - limited[1].at).total_seconds() >= 3


async def test_a_rate_limit_holds_the_others_of_its_channel_too(slack: FakeSlack, tmp_path: Path) -> None:
    slack.faults += [fake.ratelimited(20)]
    async with Work(tmp_path, builds=bot(slack)) as work:
        await work.accept(ALL, event(1))
        await slack.until(lambda: slack.calls)
        asked = work.clock.steady()
        await work.accept(ALL, *(event(n) for n in range(2, 6)))
        all_of_them = await work.drained()
        assert [one.state for one in all_of_them] == ["done"] * 5
        assert work.clock.steady() - asked >= 19
    assert len(slack.calls) == 6, "one refused request, and one for each message"


async def test_what_a_chat_allows_is_not_exceeded(slack: FakeSlack, tmp_path: Path) -> None:
    """A post a second and channel, five at once: ten messages take five seconds."""
    async with Work(tmp_path, builds=bot(slack)) as work:
        began = work.clock.steady()
        await work.accept(ALL, *(event(n) for n in range(10)))
        await work.drained()
        assert work.clock.steady() - began >= 4.9
    assert len(slack.calls) == 10


async def test_what_is_given_up_is_dead_with_its_reason_and_can_be_replayed(slack: FakeSlack, tmp_path: Path) -> None:
    down(slack)
    async with Work(tmp_path, builds=bot(slack, give_up_after="5m")) as work:
        await work.accept(ALL, event(1))
        (dead,) = await work.drained()
        assert dead.state == "dead"
        assert "given up after" in dead.text
        assert dead.attempts >= 2
        slack.faults.clear()
        await work.store.replay([dead.id], work.clock.now())
        _, again = await work.drained()
    assert again.state == "done"
    assert len(slack.messages) == 1


async def test_so_many_attempts_as_the_operator_says(slack: FakeSlack, tmp_path: Path) -> None:
    down(slack)
    async with Work(tmp_path, builds=bot(slack, attempts=3)) as work:
        await work.accept(ALL, event(1))
        (dead,) = await work.drained()
    assert (dead.state, dead.attempts, len(slack.calls)) == ("dead", 3, 3)


async def test_a_channel_that_a_rule_misspells_stops_no_other_channel(slack: FakeSlack, tmp_path: Path) -> None:
    slack.missing.add("#typo")
    wrong = replace(rule("builds"), to=(Goal(destination="builds", channel="#typo"),))
    async with Work(tmp_path, builds=bot(slack)) as work:
        await work.accept(Deciding([wrong]), event(1))
        await work.drained()
        await work.accept(ALL, event(2))
        dead, sent = await work.drained()
    assert (dead.state, sent.state) == ("dead", "done")


async def test_a_dead_destination_is_asked_again_after_a_minute(slack: FakeSlack, tmp_path: Path) -> None:
    slack.faults += [fake.error("is_archived")]
    async with Work(tmp_path, builds=bot(slack)) as work:
        began, courier = work.clock.steady(), work.couriers.couriers["builds"]
        await work.accept(ALL, event(1))
        await work.drained()
        assert began + deliver.PROBE <= courier._dead_until <= work.clock.steady() + deliver.PROBE
        courier._dead_until += 10_000  # however slow this machine is
        await work.accept(ALL, event(2))
        await work.drained()
        courier._dead_until = work.clock.steady()
        await work.accept(ALL, event(3))
        await work.drained()
        await work.accept(ALL, event(4))
        owed = await work.drained()
    assert [one.state for one in owed] == ["dead", "dead", "done", "done"]
    assert "is_archived" in owed[1].text
    assert "less than 60 s ago" in owed[1].text
    assert len(slack.calls) == 3, "of the second nobody was asked"


@pytest.mark.parametrize("word", ["token_revoked", "invalid_auth", "channel_not_found", "is_archived", "missing_scope"])
async def test_a_bad_destination_is_asked_once(slack: FakeSlack, tmp_path: Path, word: str) -> None:
    slack.faults += [fake.error(word)]
    async with Work(tmp_path, builds=bot(slack)) as work:
        await work.accept(ALL, event(1))
        (dead,) = await work.drained()
        assert work.couriers.couriers["builds"].condition.ok is False
    assert (dead.state, len(slack.calls)) == ("dead", 1)
    assert word in dead.text


async def test_a_message_that_the_chat_refuses_goes_out_plain(slack: FakeSlack, tmp_path: Path) -> None:
    slack.faults += [fake.error("invalid_blocks")]
    async with Work(tmp_path, builds=bot(slack)) as work:
        await work.accept(ALL, event(1, "failure"))
        (one,) = await work.drained()
    assert (one.state, outcomes(one)) == ("done", ["rejected", "delivered"])
    assert len(slack.messages) == 1
    assert slack.calls[0].body != slack.calls[1].body


async def test_a_plain_message_that_the_chat_refuses_is_dead(slack: FakeSlack, tmp_path: Path) -> None:
    slack.faults += [fake.error("invalid_blocks"), fake.error("invalid_blocks")]
    async with Work(tmp_path, builds=bot(slack)) as work:
        await work.accept(ALL, event(1))
        (one,) = await work.drained()
    assert (one.state, outcomes(one)) == ("dead", ["rejected", "rejected"])


# -- living messages


async def test_a_living_message_is_one_message_that_is_edited(slack: FakeSlack, tmp_path: Path) -> None:
    async with Work(tmp_path, builds=bot(slack)) as work:
        for status in ("queued", "running", "success"):
            await work.accept(LIVING, event(1, status))
            await work.drained()
    assert [call.method for call in slack.calls] == ["chat.postMessage", "chat.update", "chat.update"]
    (posted,) = slack.messages.values()
    assert ["queued" in body["text"] for body in posted.history] == [True, False, False]
    assert "passed" in posted.body["text"]


async def test_ten_updates_while_the_chat_is_down_become_one_edit_of_the_newest_state(
    slack: FakeSlack, tmp_path: Path
) -> None:
    async with Work(tmp_path, builds=bot(slack)) as work:
        await work.accept(LIVING, event(1, "queued"))
        await work.drained()
        down(slack)
        await work.accept(LIVING, event(1, "running"))
        await slack.until(lambda: len(slack.calls) >= 3)
        await work.accept(LIVING, *(task(1, f"t{n}", "success") for n in range(8)), event(1, "success"))
        tried = len(slack.calls)
        await slack.until(lambda: len(slack.calls) >= tried + 2)  # by now the one in flight knows of all ten
        slack.faults.clear()
        owed = await work.drained()
    (posted,) = slack.messages.values()
    assert len(posted.history) == 2, "the post and one edit"
    assert "passed" in posted.body["text"]
    assert [one.state for one in owed] == ["done", "done"] + ["folded"] * 9


async def test_what_waits_for_its_rate_limit_shows_what_came_meanwhile(slack: FakeSlack, tmp_path: Path) -> None:
    slack.faults += [fake.ratelimited(15)]
    async with Work(tmp_path, builds=bot(slack)) as work:
        await work.accept(LIVING, event(1, "queued"))
        await slack.until(lambda: slack.calls)
        await work.accept(LIVING, event(1, "success"))
        owed = await work.drained()
    assert [one.state for one in owed] == ["done", "folded"]
    (posted,) = slack.messages.values()
    assert (len(posted.history), "passed" in posted.body["text"]) == (1, True)


async def test_a_message_that_was_deleted_is_posted_anew_and_then_lives_there(slack: FakeSlack, tmp_path: Path) -> None:
    async with Work(tmp_path, builds=bot(slack)) as work:
        await work.accept(LIVING, event(1, "queued"))
        await work.drained()
        slack.messages.clear()
        await work.accept(LIVING, event(1, "running"))
        await work.drained()
        await work.accept(LIVING, event(1, "success"))
        owed = await work.drained()
    assert outcomes(owed[1]) == ["gone", "delivered"]
    (posted,) = slack.messages.values()
    assert len(posted.history) == 2
    assert "passed" in posted.body["text"]


async def test_an_edit_never_goes_back_whatever_fails(slack: FakeSlack, tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    kinds = [fake.status(500), fake.ratelimited(1), fake.lost_before_accept(), fake.accepted_then_connection_lost()]
    async with Work(tmp_path, dice=dice.random, builds=bot(slack)) as work:
        for number in range(20):
            if len(slack.faults) < 3 and dice.random() < 0.7:
                slack.faults.append(dice.choice(kinds))
            await work.accept(LIVING, task(1, f"t{number}", "success"))
            if dice.random() < 0.3:
                await work.drained()
        await work.accept(LIVING, event(1, "success"))
        await work.drained()
    for posted in slack.messages.values():
        done = [len(re.findall(r"\bt\d+\b", str(body))) for body in posted.history]
        assert done == sorted(done), f"seed {seed}"
    newest = list(slack.messages.values())[-1]
    assert "passed" in newest.body["text"], f"seed {seed}"


async def test_a_chat_that_cannot_edit_is_told_at_the_start_and_at_the_end(slack: FakeSlack, tmp_path: Path) -> None:
    async with Work(tmp_path, builds=hook(slack)) as work:
        for status in ("queued", "running", "success"):
            await work.accept(LIVING, event(1, status))
            await work.drained()
        await work.accept(LIVING, task(1, "late", "success"))
        owed = await work.drained()
    assert ["queued" in text for text in texts(slack)] == [True, False]
    assert "passed" in texts(slack)[1]
    assert [one.state for one in owed] == ["done", "folded", "done", "folded"]


async def test_a_new_attempt_is_told_again_where_nothing_can_be_edited(slack: FakeSlack, tmp_path: Path) -> None:
    async with Work(tmp_path, builds=hook(slack)) as work:
        for status, attempt in (("failure", 1), ("running", 2), ("success", 2)):
            await work.accept(LIVING, event(1, status, attempt=attempt))
            await work.drained()
    assert len(slack.messages) == 2
    assert "fixed" in texts(slack)[1] or "passed" in texts(slack)[1]


async def test_a_result_is_said_once_in_the_thread_of_its_living_message(slack: FakeSlack, tmp_path: Path) -> None:
    async with Work(tmp_path, builds=bot(slack)) as work:
        for status in ("queued", "running", "failure"):
            await work.accept(THREADED, event(1, status))
            await work.drained()
    root, reply = slack.messages.values()
    assert (root.thread, reply.thread) == (None, root.id)
    assert "broke" in reply.body["text"]


async def test_a_reply_whose_thread_is_gone_is_posted_in_the_channel(slack: FakeSlack, tmp_path: Path) -> None:
    answers = Deciding([rule("builds", thread=True)])
    async with Work(tmp_path, builds=bot(slack)) as work:
        await work.accept(answers, event(1, "queued"))
        await work.drained()
        slack.messages.clear()
        await work.accept(answers, event(1, "failure"))
        _, second = await work.drained()
    assert second.state == "done"
    (posted,) = slack.messages.values()
    assert posted.thread is None


# -- order, and one another


async def test_the_messages_of_one_run_never_overtake_each_other(slack: FakeSlack, tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    kinds = [fake.status(500), fake.ratelimited(1), fake.lost_before_accept()]
    words = ("queued", "running", "success")
    async with Work(tmp_path, dice=dice.random, builds=bot(slack, rate="50/s")) as work:
        slack.faults += [dice.choice(kinds) for _ in range(15)]
        await work.accept(ALL, *(event(n, word, title=f"run-{n}-{word}") for word in words for n in range(6)))
        owed = await work.drained()
    assert {one.state for one in owed} == {"done"}
    said = [re.search(r"run-(\d)-(\w+)", str(one.body)) for one in slack.messages.values()]
    for number in "012345":
        assert [found[2] for found in said if found and found[1] == number] == list(words), f"seed {seed}"


async def test_a_destination_that_hangs_does_not_delay_another(
    slack: FakeSlack, other: FakeSlack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "FINISH_WITHIN", 0.2)
    for_ever = asyncio.Event()
    slack.faults = deque([fake.slow(for_ever)] * DOWN)
    both = Deciding([rule("builds", "oncall")])
    async with Work(tmp_path, builds=bot(slack), oncall=bot(other, rate="50/s")) as work:
        await work.accept(both, *(event(n) for n in range(20)))
        await other.until(lambda: len(other.messages) == 20, 5)
        states = {one.target.destination: one.state for one in await work.all()}
        assert states["builds"] in ("sending", "pending")
        assert len(slack.calls) <= deliver.AT_ONCE
        for_ever.set()
        slack.faults.clear()


async def test_a_destination_that_is_down_is_asked_one_by_one(slack: FakeSlack, tmp_path: Path) -> None:
    down(slack)
    async with Work(tmp_path, builds=bot(slack, rate="50/s")) as work:
        await work.accept(ALL, *(event(n) for n in range(50)))
        began = work.clock.steady()
        await slack.until(lambda: len(slack.calls) >= 10, 20)
        assert work.clock.steady() - began > 5, "it rests, however many messages wait"
        slack.faults.clear()
        owed = await work.drained()
    assert {one.state for one in owed} == {"done"}


async def test_after_an_outage_the_oldest_is_told_first(slack: FakeSlack, tmp_path: Path) -> None:
    """Otherwise the last word in the channel would be that of an old run."""
    down(slack)
    async with Work(tmp_path, builds=bot(slack, rate="50/s")) as work:
        hasten, hastened = work.store.hasten, []

        async def noted(destination: str, now: datetime) -> None:
            hastened.append(destination)
            await hasten(destination, now)

        work.store.hasten = noted  # type: ignore[attr-defined]
        await work.accept(ALL, *(event(n, title=f"run {n}") for n in range(1, 9)))
        await slack.until(lambda: len(slack.calls) >= 12, 20)
        slack.faults.clear()
        await work.drained()
    told = [int(re.findall(r"run (\d)", str(one.body))[0]) for one in slack.messages.values()]
    assert sorted(told) == list(range(1, 9))
    assert sum(a > b for a, b in pairwise(told)) <= 1, "but for the one that was just being tried"
    assert hastened[:1] == ["builds"], "nobody waits for the end of his backoff"


async def test_two_destinations_on_one_limit_share_it_whatever_each_is_allowed() -> None:
    paces = deliver.Paces(lambda: 0.0)
    quick, slow = Limit("one", 50, 2), Limit("one", 1, 2)
    assert [await paces.take([slow]), await paces.take([quick])] == [0.0, 0.0]
    assert await paces.take([quick]) == 1.0, "at the pace of the slower"
    await paces.pause([quick], 100.0)
    assert await paces.take([slow]) == 100.0


async def test_a_request_that_counts_against_two_limits_takes_of_both_or_of_none() -> None:
    paces = deliver.Paces(lambda: 0.0)
    wide, narrow = Limit("workspace", 1, 3), Limit("channel", 0.5, 1)
    assert await paces.take([wide, narrow]) == 0.0
    assert [await paces.take([wide, narrow]) for _ in range(5)] == [2.0] * 5
    assert [await paces.take([wide]) for _ in range(3)] == [0.0, 0.0, 1.0]


class Away:
    """Shared limits that cannot be asked the first few times."""

    def __init__(self, clock: Clock, times: int) -> None:
        self._paces = deliver.Paces(clock.steady)
        self.times = times

    async def take(self, limits: Sequence[Limit]) -> float:
        if self.times:
            self.times -= 1
            raise StoreUnavailable("away")
        return await self._paces.take(limits)

    async def pause(self, limits: Sequence[Limit], seconds: float) -> None:
        raise StoreUnavailable("away")


async def test_nothing_is_sent_while_the_shared_limit_cannot_be_asked(slack: FakeSlack, tmp_path: Path) -> None:
    asked: list[Away] = []

    def away(clock: Clock) -> Away:
        asked.append(Away(clock, 5))
        return asked[0]

    async with Work(tmp_path, limits=away, builds=bot(slack)) as work:
        await work.accept(ALL, event(1))
        (one,) = await work.drained()
    assert (one.state, outcomes(one)) == ("done", ["delivered"])
    assert asked[0].times == 0, "it was asked until it answered"


async def test_a_429_is_heeded_though_the_shared_limit_cannot_be_told(slack: FakeSlack, tmp_path: Path) -> None:
    slack.faults += [fake.ratelimited(20)]
    async with Work(tmp_path, limits=lambda clock: Away(clock, 0), builds=bot(slack)) as work:
        await work.accept(ALL, event(1))

        async def limited() -> bool:
            return bool((await work.all())[0].history)

        await work.until(limited)
        await work.accept(ALL, event(2))
        first, second = await work.drained()
    assert [first.state, second.state] == ["done", "done"]
    assert (second.history[-1].at - first.history[0].at).total_seconds() >= 15, "the rest began just before"


# -- what other workers know


def unshared(clock: Clock) -> deliver.Paces:
    return deliver.Paces(clock.steady)


async def tell(folder: Path, condition: Condition) -> None:
    """Say how "builds" is, as another worker would."""
    other = await open_store(f"sqlite:///{folder}/bridge.db")
    await other.report("builds", condition)
    await other.close()


async def test_a_worker_rests_while_another_one_rests(slack: FakeSlack, tmp_path: Path) -> None:
    async with Work(tmp_path, limits=unshared, builds=bot(slack)) as work:
        rest_until = work.clock.now() + timedelta(seconds=29)
        down = Condition(ok=False, text="503", at=work.clock.now(), failures=6, rest_until=rest_until)
        await tell(tmp_path, down)
        await until(lambda: work.couriers.couriers["builds"].condition == down, every=0)
        await work.accept(ALL, event(1))
        (one,) = await work.drained()
        known = await work.store.conditions()
    assert one.history[0].at >= rest_until
    assert (known["builds"].ok, known["builds"].failures) == (True, 0), "its success is told"


async def test_a_rest_by_a_clock_that_is_wrong_is_no_longer_than_any(slack: FakeSlack, tmp_path: Path) -> None:
    await tell(tmp_path, Condition(ok=False, text="503", at=NOON, failures=6, rest_until=after(1_000_000)))
    async with Work(tmp_path, limits=unshared, builds=bot(slack)) as work:
        await work.accept(ALL, event(1))
        (one,) = await work.drained()
    assert after(15) < one.history[0].at < after(1_000)


async def test_one_by_one_while_another_worker_says_that_it_is_down(slack: FakeSlack, tmp_path: Path) -> None:
    await tell(tmp_path, Condition(ok=False, text="503", at=NOON, failures=1))
    slack.faults += [fake.slow(0.2)]
    async with Work(tmp_path, limits=unshared, builds=bot(slack)) as work:
        await work.accept(ALL, *(event(n) for n in range(1, 5)))
        await work.drained()
    first, second, *_ = [call.at for call in slack.calls]
    assert second - first >= 0.2


async def test_every_failure_is_told_and_of_the_successes_those_that_are_news(slack: FakeSlack, tmp_path: Path) -> None:
    slack.faults += [fake.status(503), fake.status(503)]
    told: list[tuple[bool, int, bool]] = []
    async with Work(tmp_path, builds=bot(slack)) as work:
        report = work.store.report

        async def noted(destination: str, condition: Condition) -> None:
            told.append((condition.ok, condition.failures, condition.rest_until is not None))
            await report(destination, condition)

        work.store.report = noted  # type: ignore[attr-defined]
        for number in range(1, 4):
            await work.accept(ALL, event(number))
            await work.drained()
    assert told == [(False, 1, True), (False, 2, True), (True, 0, False)]


async def test_a_condition_that_cannot_be_told_holds_nothing_up(slack: FakeSlack, tmp_path: Path) -> None:
    slack.faults += [fake.status(503)]
    async with Work(tmp_path, builds=bot(slack)) as work:

        async def away(destination: str, condition: Condition) -> None:
            raise StoreUnavailable("away")

        work.store.report = away  # type: ignore[attr-defined]
        await work.accept(ALL, event(1))
        (one,) = await work.drained()
    assert outcomes(one) == ["transient", "delivered"]


# -- unsure


async def test_an_answer_that_was_lost_means_sending_again(slack: FakeSlack, tmp_path: Path) -> None:
    slack.faults += [fake.accepted_then_connection_lost()]
    async with Work(tmp_path, builds=bot(slack)) as work:
        await work.accept(ALL, event(1))
        (one,) = await work.drained()
    assert (one.state, outcomes(one)) == ("done", ["unsure", "delivered"])
    assert len(slack.messages) == 2


async def test_an_answer_that_was_lost_means_dropping_where_the_operator_says_so(
    slack: FakeSlack, tmp_path: Path
) -> None:
    slack.faults += [fake.accepted_then_connection_lost()]
    async with Work(tmp_path, builds=bot(slack, when_unsure="drop")) as work:
        await work.accept(ALL, event(1))
        (one,) = await work.drained()
    assert (one.state, len(slack.messages)) == ("dropped", 1)
    assert "may have arrived" in one.text


async def test_a_state_that_may_have_arrived_is_not_said_again_by_the_next_wish_for_it(
    slack: FakeSlack, tmp_path: Path
) -> None:
    slack.faults += [fake.status(503), fake.accepted_then_connection_lost()]
    async with Work(tmp_path, builds=bot(slack, when_unsure="drop")) as work:
        await work.accept(LIVING, event(1, "queued"))
        await slack.until(lambda: slack.calls)
        await work.accept(LIVING, event(1, "running"), event(1, "failure"))
        owed = await work.drained()
    states = [one.state for one in owed]
    assert states.count("dropped") == 1, "whatever came meanwhile"
    assert set(states) <= {"done", "dropped", "folded"}
    assert len({one.body["text"] for one in slack.messages.values()}) == len(slack.messages), "no state twice"


async def test_an_edit_whose_answer_was_lost_is_made_again_whatever_the_operator_says(
    slack: FakeSlack, tmp_path: Path
) -> None:
    async with Work(tmp_path, builds=bot(slack, when_unsure="drop")) as work:
        await work.accept(LIVING, event(1, "queued"))
        await work.drained()
        slack.faults += [fake.accepted_then_connection_lost()]
        await work.accept(LIVING, event(1, "success"))
        _, edit = await work.drained()
    assert (edit.state, len(slack.messages)) == ("done", 1)


@pytest.mark.parametrize(("words", "state", "messages"), [("resend", "done", 1), ("drop", "dropped", 0)])
async def test_what_a_crash_left_in_the_middle_of_sending_is_unsure(
    slack: FakeSlack, tmp_path: Path, words: str, state: str, messages: int
) -> None:
    before = await open_store(f"sqlite:///{tmp_path}/bridge.db")
    await before.accept(arrival(event(1), "a"), ALL)
    await before.claim("builds", NOON, LEASE, 9)
    await before.close()
    async with Work(tmp_path, builds=bot(slack, when_unsure=words)) as work:
        (one,) = await work.drained()
    assert (one.state, len(slack.messages)) == (state, messages)


async def test_what_a_crash_may_have_shown_is_not_said_again_where_the_operator_says_drop(
    slack: FakeSlack, tmp_path: Path
) -> None:
    store = await open_store(f"sqlite:///{tmp_path}/bridge.db")
    await store.accept(arrival(event(1, "queued"), "a"), LIVING)
    await store.accept(arrival(event(1, "failure"), "b"), LIVING)
    await store.claim("builds", NOON, LEASE, 1)  # about to show the failure, and then killed
    await store.close()
    async with Work(tmp_path, builds=bot(slack, when_unsure="drop")) as work:
        owed = await work.drained()
    assert ([one.state for one in owed], texts(slack)) == (["dropped", "folded"], [])


async def test_the_end_of_a_run_is_dropped_too_where_nothing_can_be_edited(slack: FakeSlack, tmp_path: Path) -> None:
    async with Work(tmp_path, builds=hook(slack, when_unsure="drop")) as work:
        await work.accept(LIVING, event(1, "queued"))
        await work.drained()
    before = await open_store(f"sqlite:///{tmp_path}/bridge.db")
    await before.accept(arrival(event(1, "success"), "end"), LIVING)
    await before.claim("builds", NOON, LEASE, 9)
    await before.close()
    async with Work(tmp_path, builds=hook(slack, when_unsure="drop")) as work:
        _, end = await work.drained()
    assert (end.state, len(slack.messages)) == ("dropped", 1)


async def test_a_stop_hands_back_what_hangs_and_the_next_start_sends_it(
    slack: FakeSlack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "FINISH_WITHIN", 0.1)
    for_ever = asyncio.Event()
    slack.faults += [fake.slow(for_ever)]
    async with Work(tmp_path, builds=bot(slack)) as work:
        await work.accept(ALL, event(1), event(1, "success"))
        await slack.until(lambda: slack.messages)
    for_ever.set()
    kept = await open_store(f"sqlite:///{tmp_path}/bridge.db")
    assert [one.state for one in await kept.deliveries(limit=9)] == ["pending", "pending"]
    await kept.close()
    async with Work(tmp_path, builds=bot(slack)) as work:
        owed = await work.drained()
    assert [one.state for one in owed] == ["done", "done"]
    assert outcomes(owed[0]) == ["unsure", "delivered"]


async def test_a_stop_lets_what_is_in_flight_end(slack: FakeSlack, tmp_path: Path) -> None:
    answer = asyncio.Event()
    slack.faults += [fake.slow(answer)]
    async with Work(tmp_path, builds=bot(slack)) as work:
        await work.accept(ALL, event(1))
        await slack.until(lambda: slack.messages)
        stopping = asyncio.create_task(work.couriers.stop())
        await asyncio.sleep(0)
        answer.set()
        await stopping
        (one,) = await work.all()
    assert (one.state, len(slack.messages)) == ("done", 1)


async def test_what_was_said_in_the_chat_is_settled_once_the_store_takes_it(slack: FakeSlack, tmp_path: Path) -> None:
    async with Work(tmp_path, builds=bot(slack)) as work:
        work.store.away = True
        await work.accept(ALL, event(1))
        await slack.until(lambda: slack.messages)
        await work.store.news.wait()
        work.store.away = False
        (one,) = await work.drained()
    assert (one.state, len(slack.messages)) == ("done", 1)


# -- faults of our own


async def test_a_template_that_fails_goes_out_plain_and_is_counted(slack: FakeSlack, tmp_path: Path) -> None:
    counter = observe.template_errors.labels("run")
    before = counter._value.get()
    broken = {"run.md.j2": "{% block title %}{{ 1 / 0 }}{% endblock %}"}
    async with Work(tmp_path, texts=broken, builds=bot(slack)) as work:
        await work.accept(ALL, event(1, "failure"))
        (one,) = await work.drained()
    assert (one.state, counter._value.get() - before) == ("done", 1)
    assert "acme/app" in texts(slack)[0]


async def test_a_bug_on_the_way_loses_nothing(slack: FakeSlack, tmp_path: Path) -> None:
    good = Renderer(SHIPPED)
    bugs = deque([ZeroDivisionError("a bug"), KeyError("another")])

    def renderer() -> Renderer:
        if bugs:
            raise bugs.popleft()
        return good

    async with Work(tmp_path, renderer=renderer, builds=bot(slack)) as work:
        await work.accept(ALL, event(1))
        (one,) = await work.drained()
    assert (one.state, outcomes(one)) == ("done", ["transient", "transient", "delivered"])
    assert "please report this" in one.history[0].text


async def test_an_api_that_knows_one_run_not_is_asked_of_the_next_but_one_that_is_away_is_not(
    slack: FakeSlack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for away, wanted in ((False, ["1", "2"]), (True, ["1"])):
        asked: list[str] = []

        class Api:
            API_URL = "http://127.0.0.1:9/"
            NEEDS_TOKEN = False

            async def look_up(self, run: Run, *_: object, away: bool = away, asked: list[str] = asked) -> Run:
                asked.append(run.event.run.id if run.event.run else "")
                raise LookupFailed("no such build", away=away)

        monkeypatch.setattr(deliver, "LOOKUPS", {"github": Api()})
        sources = {"github": SourceConfig(name="github", type="github")}
        folder = tmp_path / str(away)
        folder.mkdir()
        async with Work(folder, builds=bot(slack), sources=sources) as work:
            for number in (1, 2):
                await work.accept(ALL, event(number, "failure"))
                await work.drained()
        assert asked == wanted


async def test_a_stop_in_the_middle_of_a_reload_leaves_no_courier_behind(slack: FakeSlack, tmp_path: Path) -> None:
    slack.faults += [fake.slow(asyncio.Event())]
    async with Work(tmp_path, builds=bot(slack)) as work:
        await work.accept(ALL, event(1))
        await slack.until(lambda: slack.calls)
        without = replace(work.config, destinations={})
        reload = asyncio.create_task(work.couriers.follow(without))
        await asyncio.sleep(0)
        reload.cancel()
        await work.couriers.stop()
        await asyncio.gather(reload, return_exceptions=True)
        (one,) = await work.all()
        assert one.state == "pending", "handed back, not left leased"
        await work.couriers.follow(work.config)
        assert work.couriers.couriers == {}, "what has stopped starts nothing more"


@pytest.fixture
async def silent_api() -> AsyncIterator[str]:
    """A sender's API that takes questions and never answers."""
    over = asyncio.Event()

    async def hang(_request: web.Request) -> web.Response:
        await over.wait()
        return web.Response()

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", hang)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/graphql"
    over.set()
    await runner.cleanup()


async def test_a_message_waits_for_a_lookup_only_so_long(
    slack: FakeSlack, tmp_path: Path, silent_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "LOOKUP_WITHIN", 0.1)
    source = SourceConfig(name="cirrus", type="cirrus", secrets=("made-up",), api_url=silent_api)
    build: dict[str, Any] = {"source": "cirrus", "attempt": None}
    async with Work(tmp_path, sources={"cirrus": source}, builds=bot(slack)) as work:
        await work.accept(ALL, *(event(str(n), "failure", **build).with_(type="cirrus") for n in range(5)))
        owed = await work.drained(5)
    assert {one.state for one in owed} == {"done"}


# -- the configuration changes


async def test_a_destination_that_is_changed_delivers_what_waits(
    slack: FakeSlack, other: FakeSlack, tmp_path: Path
) -> None:
    slack.faults += [fake.ratelimited(60)]
    async with Work(tmp_path, builds=bot(slack)) as work:
        await work.accept(ALL, event(1))
        await slack.until(lambda: slack.calls)
        moved = Work(tmp_path, builds=bot(other, "#elsewhere"))
        await work.couriers.follow(moved.config)
        await work.accept(ALL, event(2))
        await work.drained()
    assert slack.messages == {}
    assert len(other.messages) == 2


async def test_people_are_mentioned_when_something_broke_and_not_before(slack: FakeSlack, tmp_path: Path) -> None:
    telling = Deciding([rule("builds", mention=["octocat"], mention_when=[Change.BROKEN])])
    async with Work(tmp_path, builds=bot(slack)) as work:
        people = Person(name="octocat", ids={"slack": "U024BE7LH"})
        work.config = dataclasses.replace(work.config, people={"octocat": people})
        await work.accept(telling, event(1, "success"), event(2, "failure"))
        await work.drained()
    assert ["U024BE7LH" in str(one.body) for one in slack.messages.values()] == [False, True]
