"""What if the wall clock is set while bridge runs, or a worker stands still for longer than its leases?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from bridge.render import Renderer
from tests.arrivals import ALL, event
from tests.couriers import SHIPPED, Clock, Work, bot, texts
from tests.fakes.slack import FakeSlack, ratelimited

SET_BACK = timedelta(minutes=40)  # less than the hour after which a date cannot be true


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as fake:
        yield fake


class Jumping(Clock):
    """A clock whose wall time can be set; the steady one stays."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.offset


def jumping(work: Work) -> Jumping:
    clock = work.clock = Jumping()
    return clock


async def test_what_was_owed_before_the_clock_was_set_back_does_not_wait_until_it_is_there_again(
    slack: FakeSlack, tmp_path: Path
) -> None:
    slack.faults.append(ratelimited(60))
    work = Work(tmp_path, builds=bot(slack))
    clock = jumping(work)
    clock.offset = SET_BACK
    async with work:
        await work.accept(ALL, event(1))
        await slack.until(lambda: slack.calls)
        clock.offset = timedelta(0)
        began = clock.steady()
        await work.drained()
    assert len(texts(slack)) == 1
    assert clock.steady() - began < SET_BACK.total_seconds() / 2


async def test_a_worker_that_starts_after_the_clock_was_set_back_does_not_wait_either(
    slack: FakeSlack, tmp_path: Path
) -> None:
    slack.faults.append(ratelimited(60))
    before = Work(tmp_path, builds=bot(slack))
    jumping(before).offset = SET_BACK
    async with before:
        await before.accept(ALL, event(1))
        await slack.until(lambda: slack.calls)
    async with Work(tmp_path, builds=bot(slack)) as work:
        await work.drained()
        assert work.clock.steady() < SET_BACK.total_seconds() / 2
    assert len(texts(slack)) == 1


async def test_a_worker_that_stood_still_beyond_its_lease_does_not_send(slack: FakeSlack, tmp_path: Path) -> None:
    """Another one has sent it since, and newer ones: its message would be a second one, its edit an older state."""
    made = Renderer(SHIPPED)
    seen: list[int] = []

    def renderer() -> Renderer:
        seen.append(len(slack.calls))
        if len(seen) == 1:
            clock.offset = timedelta(minutes=5)
        return made

    work = Work(tmp_path, renderer=renderer, builds=bot(slack))
    clock = jumping(work)
    async with work:
        await work.accept(ALL, event(1))
        await work.drained()
    assert seen == [0, 0], "rendered twice, and sent only once"
    assert len(slack.calls) == 1
