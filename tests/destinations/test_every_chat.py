"""Every chat on every bad day, through the real queue: nothing is lost, and nothing said twice beyond `when_unsure`.

Each trouble is met by two destinations at once, one that resends what may have arrived and one that drops it. A message
is known by a marker that its event has in a name.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bridge.deliver import PROBE
from bridge.destinations import DESTINATIONS
from bridge.receive import Deciding
from bridge.store.base import Condition, StoredDelivery
from tests.arrivals import LIVING, event, rule, task
from tests.couriers import Work, outcomes
from tests.destinations import page
from tests.destinations.chats import CHATS, EVERYTHING, Chat
from tests.fakes.base import (
    Fault,
    Posted,
    accepted_then_connection_lost,
    lost_before_accept,
    redirect,
    slow,
    status,
)

pytestmark = pytest.mark.usefixtures("no_lease_ends")

THREADED = Deciding([rule("builds", live=True, thread=True)])
MARKS = ("alphaone", "betatwo", "gammathree")
ASKED = {"delivered", "edited", "unsure", "transient", "limited", "dead", "rejected", "gone"}  # each is one request


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """What goes wrong with one request, and what the queue may make of it."""

    fault: Callable[[Any], Fault]
    outcomes: frozenset[str]
    timeout: str = "10s"


def trouble(fault: Callable[[Any], Fault], words: str, **more: str) -> Trouble:
    return Trouble(fault=fault, outcomes=frozenset(words.split()), **more)


TROUBLES = {
    "limited": trouble(lambda chat: chat.limited(2), "limited"),
    "failed with 200": trouble(lambda chat: chat.failed_with_200(), "transient unsure"),
    "HTML with 200": trouble(lambda chat: status(200), "unsure"),
    "HTML with 502": trouble(lambda chat: status(502), "transient"),
    "500 without a word": trouble(lambda chat: status(500, ""), "transient"),
    "redirect": trouble(lambda chat: redirect(), "transient"),
    "lost before": trouble(lambda chat: lost_before_accept(), "unsure"),
    "lost after": trouble(lambda chat: accepted_then_connection_lost(), "unsure"),
    "slow": trouble(lambda chat: slow(asyncio.Event()), "unsure", timeout="1s"),
    "refused": trouble(lambda chat: chat.refused(), "rejected"),
}
EDIT_TROUBLES = {
    "limited": trouble(lambda chat: chat.limited(2), "limited"),
    "HTML with 502": trouble(lambda chat: status(502), "transient"),
    "edit lost": trouble(lambda chat: accepted_then_connection_lost(), "unsure"),
    "edit refused": trouble(lambda chat: chat.edit_refused(), "gone"),
}


ABILITIES = "What each can do"
POSTS, EDITS = "A post that fails", "An edit that fails"  # the headings of docs/chats.md
POST_COLUMNS = (*TROUBLES, "dead", "nobody there")


def meets(chat: Chat, name: str) -> bool:
    return not {name, *EVERYTHING} & chat.lacks


def cases(troubles: dict[str, Trouble], wanted: Callable[[Chat], bool] = lambda chat: True) -> Any:
    """All chats by all troubles that they can have."""
    return pytest.mark.parametrize(
        ("chat", "trouble"),
        [
            pytest.param(chat, troubles[name], id=f"{chat.name}-{name}")
            for chat in CHATS
            for name in troubles
            if wanted(chat) and meets(chat, name)
        ],
    )


def chats(name: str, wanted: Callable[[Chat], bool] = lambda chat: True) -> Any:
    found = [pytest.param(chat, id=chat.name) for chat in CHATS if wanted(chat) and meets(chat, name)]
    return pytest.mark.parametrize("chat", found)


@asynccontextmanager
async def working(folder: Path, chat: Chat, *names: str, **more: Any) -> AsyncIterator[tuple[Work, dict[str, Any]]]:
    """A worker with a destination, and a chat of its own, for each of `names`."""
    async with AsyncExitStack() as open_until_the_end:
        fakes = {name: await open_until_the_end.enter_async_context(chat.fake()) for name in names}
        unsure = {name: {"when_unsure": name} if name in ("resend", "drop") else {} for name in names}
        options = {name: chat.made(fakes[name], **unsure[name], **more) for name in names}
        yield await open_until_the_end.enter_async_context(Work(folder, **options)), fakes
        assert [fake.invalid for fake in fakes.values()] == [[] for _ in fakes]


def said(posted: Posted) -> str:
    return json.dumps(posted.body, default=str)


def shown(fake: Any, mark: str) -> int:
    """How many messages of the chat tell of the marked event."""
    return sum(mark in said(one) for one in fake.messages.values())


def mark_of(one: StoredDelivery) -> str:
    assert one.event is not None
    assert one.event.pipeline is not None
    return one.event.pipeline


async def accept(work: Work, *marks: str) -> None:
    """Let events come in that every destination is to tell, each as a post of its own."""
    everywhere = Deciding([rule(*work.config.destinations)])
    await work.accept(everywhere, *(event(number, "failure", pipeline=mark) for number, mark in enumerate(marks, 1)))


async def of(work: Work, destination: str) -> list[StoredDelivery]:
    return [one for one in await work.all() if one.target.destination == destination]


async def drained(work: Work, destination: str) -> list[StoredDelivery]:
    await work.drained()
    return await of(work, destination)


def test_every_kind_of_chat_is_here() -> None:
    assert {chat.type for chat in CHATS} == set(DESTINATIONS)
    assert len({chat.name for chat in CHATS}) == len(CHATS)


@pytest.mark.parametrize("chat", CHATS, ids=lambda chat: chat.name)
async def test_the_table_says_what_the_chat_can(chat: Chat) -> None:
    async with aiohttp.ClientSession() as session:
        place = DESTINATIONS[chat.type].open("builds", chat.made(chat.fake()), session)
    assert (place.can_edit, place.can_thread) == (chat.can_edit, chat.can_thread)


@pytest.mark.parametrize("chat", CHATS, ids=lambda chat: chat.name)
async def test_on_a_good_day_a_run_is_told_from_start_to_end(chat: Chat, tmp_path: Path) -> None:
    async with working(tmp_path, chat, "builds") as (work, fakes):
        for state in ("queued", "running", "success"):
            await work.accept(LIVING, event(1, state, pipeline=MARKS[0]))
            owed = await work.drained()
        posted = list(fakes["builds"].messages.values())
        assert [len(one.history) for one in posted] == ([3] if chat.can_edit else [1, 1])
        assert all(MARKS[0] in said(one) for one in posted)
        assert {one.state for one in owed} <= {"done", "folded"}


# -- a post that fails


@cases(TROUBLES)
async def test_a_trouble_loses_nothing_and_tells_nothing_twice(chat: Chat, trouble: Trouble, tmp_path: Path) -> None:
    async with working(tmp_path, chat, "resend", "drop", timeout=trouble.timeout) as (work, fakes):
        seen = conditions_seen(work)
        for fake in fakes.values():
            fake.faults.append(trouble.fault(fake))
        await accept(work, MARKS[0])
        await work.drained()
        await accept(work, *MARKS)  # the first of them is known
        first = {name: fate(shown(fake, MARKS[0])) for name, fake in fakes.items()}
        down = ", down" if False in seen["resend"] else ""
        words = first["resend"] if first["resend"] == first["drop"] else f"{first['resend']} / {first['drop']}"
        page.saw(POSTS, POST_COLUMNS, chat, name_of(trouble, TROUBLES), words + down)
        for name, fake in fakes.items():
            owed = await drained(work, name)
            tried = [outcome for one in owed for outcome in outcomes(one)]
            assert set(tried) & trouble.outcomes, f"it was noticed: {tried}"
            assert set(tried) <= trouble.outcomes | {"delivered", "released"}
            nothing_is_lost_or_told_twice(chat, fake, owed, drop=name == "drop")
            if not chat.asks_more:
                assert len(fake.calls) == sum(word in ASKED for word in tried), "only the queue repeats a request"
            # Who asks to wait, or refuses one message, answers.
            assert (False in seen[name]) == (not trouble.outcomes & {"limited", "rejected"})
        await what_was_dropped_can_be_replayed(work, fakes["drop"])
        assert all(one.ok for one in (await work.store.conditions()).values())


def conditions_seen(work: Work) -> dict[str, list[bool]]:
    """Return what will be told of each destination's health, as it is told."""
    told: dict[str, list[bool]] = {name: [] for name in work.config.destinations}
    report = work.store.report

    async def noted(destination: str, condition: Condition) -> None:
        told[destination].append(condition.ok)
        await report(destination, condition)

    work.store.report = noted  # type: ignore[attr-defined]
    return told


def fate(count: int) -> str:
    return {0: "never", 1: "once"}.get(count, "twice")


def name_of(trouble: Trouble, troubles: dict[str, Trouble]) -> str:
    return next(name for name, one in troubles.items() if one is trouble)


def nothing_is_lost_or_told_twice(chat: Chat, fake: Any, owed: list[StoredDelivery], *, drop: bool) -> None:
    for one in owed:
        count, unsure = shown(fake, mark_of(one)), outcomes(one).count("unsure")
        if one.state == "dropped":
            assert drop
            assert unsure == 1
            assert "may have arrived" in one.text
            assert count <= 1
        else:
            assert one.state == "done"
            assert 1 <= count <= 1 + (0 if chat.once else unsure)


async def what_was_dropped_can_be_replayed(work: Work, fake: Any) -> None:
    dropped = [one for one in await of(work, "drop") if one.state == "dropped"]
    if not dropped:
        return
    assert (await work.store.depths())["drop"].dead == len(dropped), "it is counted"
    await work.store.replay([one.id for one in dropped], work.clock.now())
    await work.drained()
    assert all(shown(fake, mark_of(one)) >= 1 for one in dropped)


@chats("dead")
async def test_a_dead_token_is_asked_once_and_what_waits_can_be_replayed(chat: Chat, tmp_path: Path) -> None:
    async with working(tmp_path, chat, "resend", "drop") as (work, fakes):
        for fake in fakes.values():
            fake.faults.append(fake.dead())
        await accept(work, MARKS[0])
        dead = await work.drained()
        known = await work.store.conditions()
        assert [one.state for one in dead] == ["dead", "dead"]
        assert {name: one.ok for name, one in known.items()} == {"resend": False, "drop": False}
        assert all(one.text for one in known.values())
        assert chat.asks_more or [len(fake.calls) for fake in fakes.values()] == [1, 1]
        assert {name: depth.dead for name, depth in (await work.store.depths()).items()} == {"resend": 1, "drop": 1}
        page.saw(POSTS, POST_COLUMNS, chat, "dead", "kept, down")
        await work.store.replay([one.id for one in dead], work.clock.now())
        await work.drained()
        assert [shown(fake, MARKS[0]) for fake in fakes.values()] == [1, 1]
        assert all(one.ok for one in (await work.store.conditions()).values())


@chats("dead")
async def test_a_dead_destination_is_asked_once_a_minute_and_what_comes_meanwhile_is_kept(
    chat: Chat, tmp_path: Path
) -> None:
    marks = [f"mark{number}end" for number in range(20)]
    async with working(tmp_path, chat, "resend") as (work, fakes):
        fake = fakes["resend"]
        fake.faults.extend([fake.dead()] * 100)
        began = work.clock.steady()
        await accept(work, marks[0])
        await work.drained()
        await accept(work, *marks)  # the first of them is known
        owed = await drained(work, "resend")
        minutes = 2 + (work.clock.steady() - began) / PROBE
        assert chat.asks_more or 1 <= len(fake.calls) <= minutes < len(marks)
        assert {one.state for one in owed} == {"dead"}
        assert (await work.store.depths())["resend"].dead == len(marks), "they are counted"
        fake.faults.clear()
        await work.store.replay([one.id for one in owed], work.clock.now())
        await work.drained()
        assert [shown(fake, mark) for mark in marks] == [1] * len(marks), "and asked for at once, by hand"


@chats("refused")
async def test_what_is_refused_as_plain_text_too_is_dead_and_the_others_go_out(chat: Chat, tmp_path: Path) -> None:
    async with working(tmp_path, chat, "resend") as (work, fakes):
        fake = fakes["resend"]
        fake.faults += [fake.refused(), fake.refused()]
        await accept(work, MARKS[0])
        await work.drained()
        await accept(work, *MARKS)
        dead, *others = await drained(work, "resend")
        assert (dead.state, outcomes(dead)) == ("dead", ["rejected", "rejected"])
        assert {one.state for one in others} == {"done"}
        await work.store.replay([dead.id], work.clock.now())
        await work.drained()
        assert [shown(fake, mark) for mark in MARKS] == [1, 1, 1]


@chats("nobody there")
async def test_while_nobody_is_there_everything_waits(chat: Chat, tmp_path: Path) -> None:
    async with working(tmp_path, chat, "resend", "drop") as (work, fakes):
        for fake in fakes.values():
            await fake.stop()
        await accept(work, *MARKS)

        async def both_are_down() -> bool:
            known = await work.store.conditions()
            return [one.ok for one in known.values()] == [False, False]

        await work.until(both_are_down)
        for fake in fakes.values():
            await fake.start(fake.port)
        owed = await work.drained()
        assert {one.state for one in owed} == {"done"}
        assert "unsure" not in {word for one in owed for word in outcomes(one)}, "nothing can have arrived"
        assert [shown(fake, mark) for fake in fakes.values() for mark in MARKS] == [1] * 6
        page.saw(POSTS, POST_COLUMNS, chat, "nobody there", "once, down")


@chats("many troubles")
async def test_many_troubles_lose_nothing_and_tell_nothing_twice(chat: Chat, tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    names = [name for name in TROUBLES if name not in ("slow", "refused") and meets(chat, name)]
    marks = [f"mark{number}end" for number in range(12)]
    async with working(tmp_path, chat, "resend", "drop") as (work, fakes):
        for fake in fakes.values():
            fake.faults.extend(TROUBLES[dice.choice(names)].fault(fake) for _ in range(8))
        await accept(work, *marks)
        await work.drained()
        for name, fake in fakes.items():
            nothing_is_lost_or_told_twice(chat, fake, await of(work, name), drop=name == "drop")
        await what_was_dropped_can_be_replayed(work, fakes["drop"])
        assert min(shown(fake, mark) for fake in fakes.values() for mark in marks) >= 1, f"seed {seed}"


# -- an edit or an answer that fails


@cases(EDIT_TROUBLES, lambda chat: chat.can_edit)
async def test_an_edit_in_trouble_ends_with_the_newest_state(chat: Chat, trouble: Trouble, tmp_path: Path) -> None:
    living = Deciding([rule("resend", "drop", live=True)])
    async with working(tmp_path, chat, "resend", "drop") as (work, fakes):
        await work.accept(living, event(1, "queued", pipeline=MARKS[0]))
        await work.drained()
        for fake in fakes.values():
            fake.faults.append(trouble.fault(fake))
        await work.accept(living, event(1, "success", pipeline=MARKS[0]))
        owed = await work.drained()
        assert {one.state for one in owed} == {"done"}, "an edit is safe to repeat, whatever when_unsure says"
        for fake in fakes.values():
            posted = list(fake.messages.values())
            assert len(posted) == (2 if "gone" in trouble.outcomes else 1)
            assert "passed" in said(posted[-1])
        words = "told anew" if len(posted) > 1 else "edited"
        page.saw(EDITS, tuple(EDIT_TROUBLES), chat, name_of(trouble, EDIT_TROUBLES), words)
        assert all(set(outcomes(one)) & trouble.outcomes for one in owed[2:])


def test_the_page_says_what_each_chat_can() -> None:
    known = page.cells(ABILITIES)
    words = {
        (chat.name, column): "yes" if able else "no"
        for chat in CHATS
        for column, able in (("edits", chat.can_edit), ("threads", chat.can_thread), ("a key of ours", chat.once))
    }
    assert {cell: text for cell, text in known.items() if cell[1] != "what it is"} == words
    pages = {text.rpartition("(")[2].rstrip(")") for (_, column), text in known.items() if column == "what it is"}
    assert pages == {f"destinations/{kind}.md" for kind in DESTINATIONS}
    assert all((page.PAGE.parent / one).is_file() for one in pages)


def test_the_page_knows_every_chat_and_every_trouble() -> None:
    for title, columns, wanted in (
        (POSTS, POST_COLUMNS, lambda chat: True),
        (EDITS, tuple(EDIT_TROUBLES), lambda chat: chat.can_edit),
    ):
        known = {cell for cell, text in page.cells(title).items() if text != page.NONE}
        assert known == {(chat.name, one) for chat in CHATS for one in columns if wanted(chat) and meets(chat, one)}


@chats("deleted", lambda chat: chat.can_edit)
async def test_a_message_that_was_deleted_is_posted_anew(chat: Chat, tmp_path: Path) -> None:
    async with working(tmp_path, chat, "builds") as (work, fakes):
        await work.accept(LIVING, event(1, "queued", pipeline=MARKS[0]))
        await work.drained()
        fakes["builds"].messages.clear()
        for state in ("running", "success"):
            await work.accept(LIVING, event(1, state, pipeline=MARKS[0]))
            owed = await work.drained()
        (posted,) = fakes["builds"].messages.values()
        assert len(posted.history) == 2
        assert "passed" in said(posted)
        assert outcomes(owed[1]) == ["gone", "delivered"]


@chats("thread", lambda chat: chat.can_thread)
async def test_a_result_is_said_in_the_thread_of_its_message(chat: Chat, tmp_path: Path) -> None:
    async with working(tmp_path, chat, "builds") as (work, fakes):
        for state in ("queued", "failure"):
            await work.accept(THREADED, event(1, state, pipeline=MARKS[0]))
            await work.drained()
        root, reply = fakes["builds"].messages.values()
        assert (root.thread, reply.thread) == (None, root.id)


@chats("answers", lambda chat: not chat.can_edit)
async def test_where_nothing_is_edited_an_answer_tells_the_end_alone(chat: Chat, tmp_path: Path) -> None:
    async with working(tmp_path, chat, "builds") as (work, fakes):
        for state in ("queued", "running", "failure"):
            await work.accept(THREADED, event(1, state, pipeline=MARKS[0]))
            await work.drained()
        await work.accept(THREADED, task(1, "lint", "failure"))  # a job's news comes after the end
        await work.drained()
        root, answer = fakes["builds"].messages.values()
        if chat.can_thread:
            assert (root.thread, answer.thread) == (None, root.id)


@chats("answers", lambda chat: not chat.can_edit)
async def test_a_run_that_ended_while_nothing_went_out_is_told_by_one_message(chat: Chat, tmp_path: Path) -> None:
    async with working(tmp_path, chat, "builds") as (work, fakes):
        await fakes["builds"].stop()
        for state in ("queued", "running", "failure"):
            await work.accept(THREADED, event(1, state, pipeline=MARKS[0]))
        await work.accept(THREADED, task(1, "lint", "failure"))
        await fakes["builds"].start(fakes["builds"].port)
        await work.drained()
        assert len(fakes["builds"].messages) == 1


@chats("answers", lambda chat: not chat.can_edit)
async def test_a_run_without_a_result_is_told_at_its_end_all_the_same(chat: Chat, tmp_path: Path) -> None:
    async with working(tmp_path, chat, "builds") as (work, fakes):
        for state in ("queued", "cancelled"):
            await work.accept(THREADED, event(1, state, pipeline=MARKS[0]))
            await work.drained()
        assert len(fakes["builds"].messages) == 2


@chats("thread gone", lambda chat: chat.can_thread)
async def test_an_answer_to_a_thread_that_is_gone_is_said_in_the_channel(chat: Chat, tmp_path: Path) -> None:
    answers = Deciding([rule("builds", thread=True)])
    async with working(tmp_path, chat, "builds") as (work, fakes):
        await work.accept(answers, event(1, "queued", pipeline=MARKS[0]))
        await work.drained()
        fakes["builds"].messages.clear()
        await work.accept(answers, event(1, "failure", pipeline=MARKS[0]))
        _, second = await work.drained()
        (posted,) = fakes["builds"].messages.values()
        assert (second.state, posted.thread) == ("done", None)
        assert outcomes(second) == ["gone", "delivered"]


@pytest.mark.parametrize("chat", [one for one in CHATS if "*" not in one.lacks], ids=lambda chat: chat.name)
async def test_a_replay_of_what_was_delivered_is_posted_again(chat: Chat, tmp_path: Path) -> None:
    async with working(tmp_path, chat, "builds") as (work, fakes):
        await accept(work, MARKS[0])
        done = [one.id for one in await work.drained()]
        await work.store.replay(done, work.clock.now())
        await work.drained()
        assert shown(fakes["builds"], MARKS[0]) == 2
