"""The feed keeps the newest state of each message, a bounded number of them, and waits for nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

from bridge.web import Bubble, Feed
from bridge.web.feed import KEEP
from tests.web.bubbles import AT, bubble, message


async def take(bubbles: AsyncIterator[Bubble], count: int) -> list[Bubble]:
    async with asyncio.timeout(5):
        return [await anext(bubbles) for _ in range(count)]


def test_a_message_is_kept_once_in_its_newest_state() -> None:
    feed = Feed()
    feed.publish(bubble(said=message("running")))
    feed.publish(bubble(said=message("failed")))
    assert [one.message.title[0].text for one in feed.recent()] == ["failed"]


def test_a_message_that_is_known_was_edited_and_keeps_its_place() -> None:
    feed = Feed()
    for minute in range(3):
        at = AT + timedelta(minutes=minute)
        feed.publish(bubble("living", posted_at=at, changed_at=at))
        feed.publish(bubble(f"other {minute}", posted_at=at + timedelta(seconds=1)))
    first = feed.recent()[0]
    assert (first.key, first.posted_at, first.edits) == ("living", AT, 2)
    assert first.changed_at == AT + timedelta(minutes=2)


def test_an_edit_count_of_the_sender_is_believed_when_it_is_higher() -> None:
    feed = Feed()
    feed.publish(bubble(edits=5))
    feed.publish(bubble(edits=9))
    assert feed.recent()[0].edits == 9


def test_only_the_last_messages_are_kept_and_the_longest_unchanged_goes_first() -> None:
    feed = Feed()
    feed.publish(bubble("living"))
    feed.publish(bubble("forgotten"))
    feed.publish(bubble("living"))
    for number in range(KEEP - 1):
        feed.publish(bubble(f"run {number}", posted_at=AT + timedelta(seconds=number)))
    keys = [one.key for one in feed.recent()]
    assert len(keys) == KEEP
    assert keys[0] == "living"
    assert "forgotten" not in keys


async def test_a_reader_hears_of_each_bubble_in_order() -> None:
    feed = Feed()
    feed.publish(bubble("before"))
    with feed.subscribe() as bubbles:
        feed.publish(bubble("a"))
        feed.publish(bubble("b"))
        assert [one.key for one in await take(bubbles, 2)] == ["a", "b"]


async def test_a_slow_reader_gets_the_newest_state_only() -> None:
    feed = Feed()
    with feed.subscribe() as bubbles:
        for number in range(5):
            feed.publish(bubble(said=message(f"{number} of 5 done")))
        feed.publish(bubble("last"))
        first, second = await take(bubbles, 2)
    assert first.message.title[0].text == "4 of 5 done"
    assert second.key == "last"


async def test_what_waits_for_a_slow_reader_is_bounded() -> None:
    feed = Feed()
    with feed.subscribe() as bubbles:
        for number in range(KEEP + 50):
            feed.publish(bubble(f"run {number}"))
        heard = await take(bubbles, KEEP)
        feed.publish(bubble("the end"))
        assert (await take(bubbles, 1))[0].key == "the end"
    assert [one.key for one in heard] == [f"run {number}" for number in range(50, KEEP + 50)]


async def test_closing_ends_those_who_wait_and_those_who_come_later() -> None:
    feed = Feed()
    with feed.subscribe() as bubbles:
        waiting = asyncio.create_task(anext(bubbles, None))
        await asyncio.sleep(0)
        feed.close()
        assert await asyncio.wait_for(waiting, 5) is None
    with feed.subscribe() as bubbles:
        assert await asyncio.wait_for(anext(bubbles, None), 5) is None
    feed.publish(bubble())  # what is still delivered while the server stops


async def test_a_reader_who_left_is_forgotten() -> None:
    feed = Feed()
    with feed.subscribe() as gone:
        pass
    feed.publish(bubble())
    gone.close()
    assert await anext(gone, None) is None
    assert not feed._readers
