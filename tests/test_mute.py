"""Is what is muted kept quiet, never lost, and never told afterwards? By couriers and on the command line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bridge import observe
from bridge.cli import bridge
from bridge.config import Person
from bridge.errors import StoreUnavailable
from bridge.event import Change, Target
from bridge.mute import BELIEVED_FOR, KNOWN_FOR, Mutes, silenced, why
from bridge.receive import Deciding
from bridge.store import open_store
from bridge.store.base import Mute, StoredDelivery
from tests.arrivals import ALL, LIVING, NOON, after, arrival, event, rule
from tests.couriers import Work, bot, outcomes, texts
from tests.fakes import slack as fake
from tests.fakes.slack import FakeSlack
from tests.running import github_run

HOUR = 3_600.0


def mute(at: float = 0, until: float = HOUR, **words: str) -> Mute:
    return Mute(since=after(at), until=after(until), id="m1", **words)


def hushed(
    *mutes: Mute, rules: tuple[str, ...] = ("red",), owed_at: float = 1, now: float = 1, **said: Any
) -> Mute | None:
    return silenced(mutes, rules, event(1, "failure", **said), owed_at=after(owed_at), now=after(now))


# -- what a mute covers


@pytest.mark.parametrize(
    ("words", "covered"),
    [
        ({}, True),
        ({"rule": "red"}, True),
        ({"rule": "Red"}, False),
        ({"repository": "acme/app"}, True),
        ({"repository": "ACME/App"}, True),
        ({"repository": "acme/*"}, True),
        ({"repository": "acme/other"}, False),
        ({"repository": "acme/app", "branch": "main"}, True),
        ({"repository": "acme/app", "branch": "mai*"}, True),
        ({"repository": "acme/app", "branch": "spare"}, False),
        ({"repository": "acme/other", "branch": "main"}, False),
        ({"repository": "!acme/app"}, False),
        ({"repository": "/(/"}, False),
    ],
)
def test_a_mute_covers_what_its_words_say_and_no_more(words: dict[str, str], covered: bool) -> None:
    assert (hushed(mute(0, HOUR, **words)) is not None) is covered


def test_a_branch_of_a_fork_is_not_ours() -> None:
    ours = mute(repository="acme/app", branch="main")
    assert hushed(ours) == ours
    assert hushed(ours, fork=True) is None
    assert hushed(mute(repository="acme/app"), fork=True) is not None, "the repository is"


def test_what_two_rules_asked_for_is_told_while_one_may_speak() -> None:
    red, blue = mute(rule="red"), mute(rule="blue")
    assert hushed(red, rules=("red", "blue")) is None
    assert hushed(red, blue, rules=("red", "blue")) == red
    assert hushed(red, rules=()) is None


@pytest.mark.parametrize(
    ("owed_at", "now", "quiet"),
    [
        (-10, -5, True),  # by another machine's clock that is ahead
        (-10, 1, True),  # it waited when the mute began
        (-10, HOUR, False),  # it waited through all of it, and the mute is over
        (0, HOUR + 1, True),  # it came under the mute: not told afterwards
        (HOUR - 1, 9 * HOUR, True),
        (HOUR, HOUR, False),  # it came as the mute ended
    ],
)
def test_a_mute_holds_for_what_comes_and_for_what_waits_and_not_a_moment_longer(
    owed_at: float, now: float, quiet: bool
) -> None:
    assert (hushed(mute(), owed_at=owed_at, now=now) is not None) is quiet


def test_the_reason_is_told_in_words() -> None:
    assert why(mute(repository="acme/app", branch="main", reason="we release")) == (
        "muted by m1 (acme/app@main) until 2026-01-01 13:00 UTC: we release"
    )


# -- the couriers


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as chat:
        yield chat
        assert chat.invalid == []


def suppressed() -> float:
    labels = {"destination": "builds", "reason": "muted"}
    return observe.registry.get_sample_value("bridge_notifications_suppressed_total", labels) or 0.0


def states(owed: list[StoredDelivery]) -> list[str]:
    return [one.state for one in owed]


async def test_what_is_muted_is_kept_and_counted_and_not_sent(slack: FakeSlack, tmp_path: Path) -> None:
    before = suppressed()
    async with Work(tmp_path, builds=bot(slack)) as work:
        await work.store.mute(mute(until=1e6, reason="we know"))
        await work.accept(ALL, event(1, "failure"))
        (owed,) = await work.drained()
    assert (owed.state, outcomes(owed)) == ("muted", ["muted"])
    assert owed.text.startswith("muted by m1 (all) until 2026-01-13 01:46 UTC: we know")
    assert (texts(slack), suppressed() - before) == ([], 1)


async def test_a_mute_is_remembered_by_the_next_process(slack: FakeSlack, tmp_path: Path) -> None:
    async with Work(tmp_path, builds=bot(slack)) as work:
        await work.store.mute(mute(until=1e6))
    async with Work(tmp_path, builds=bot(slack)) as work:
        await work.accept(ALL, event(1, "failure"))
        assert states(await work.drained()) == ["muted"]


async def test_another_processs_mute_is_seen_within_seconds_and_so_is_its_end(slack: FakeSlack, tmp_path: Path) -> None:
    async with Work(tmp_path, builds=bot(slack)) as work:
        await work.accept(ALL, event(1, "failure"))
        await work.drained()
        other = await open_store(f"sqlite:///{tmp_path}/bridge.db")
        await other.mute(Mute(since=work.clock.now(), until=after(1e6)))
        await work.clock.wait(asyncio.Event(), BELIEVED_FOR)
        await work.accept(ALL, event(2, "failure"))
        await work.drained()
        await other.unmute(["m1"], work.clock.now())
        await other.close()
        await work.clock.wait(asyncio.Event(), BELIEVED_FOR)
        await work.accept(ALL, event(3, "failure"))
        assert states(await work.drained()) == ["done", "muted", "done"]


async def test_nothing_is_told_late_when_a_mute_has_ended_while_the_chat_was_down(
    slack: FakeSlack, tmp_path: Path
) -> None:
    async with Work(tmp_path, builds=bot(slack)) as work:
        await work.store.mute(mute(-10, -5))  # over since five seconds
        await work.store.accept(arrival(event(1, "failure"), "under it", -7), ALL)
        await work.store.accept(arrival(event(2, "failure"), "after it", -5), ALL)
        work.couriers.wake("builds")
        assert states(await work.drained()) == ["muted", "done"]


async def test_a_living_message_is_edited_on_and_names_nobody(slack: FakeSlack, tmp_path: Path) -> None:
    loud = Deciding([rule("builds", live=True, mention=["octocat"], mention_when=list(Change))])
    async with Work(tmp_path, builds=bot(slack)) as work:
        work.config.people["octocat"] = Person(name="octocat", ids={"slack": "U024BE7LH"})
        await work.accept(loud, event(1, "running"))
        await work.drained()
        await work.store.mute(mute(until=1e6))
        await work.clock.wait(asyncio.Event(), BELIEVED_FOR)
        await work.accept(loud, event(1, "failure"), event(2, "running"))
        owed = await work.drained()
    assert states(owed) == ["done", "done", "muted"]
    assert [outcomes(one) for one in owed] == [["delivered"], ["edited"], ["muted"]]
    (text,) = texts(slack)
    assert "broke on main" in text
    assert "U024BE7LH" not in json.dumps([one.body for one in slack.messages.values()])


async def test_a_run_that_ends_after_the_mute_is_told_as_it_stands(slack: FakeSlack, tmp_path: Path) -> None:
    async with Work(tmp_path, builds=bot(slack)) as work:
        await work.store.mute(mute(-10, 10_000))
        await work.accept(LIVING, event(1, "running"))
        await work.drained()
        await work.store.unmute(["m1"], work.clock.now())
        await work.clock.wait(asyncio.Event(), BELIEVED_FOR)
        await work.accept(LIVING, event(1, "failure"))
        assert states(await work.drained()) == ["muted", "done"]
    assert len(texts(slack)) == 1


async def test_a_living_message_that_was_deleted_is_not_posted_anew_under_a_mute(
    slack: FakeSlack, tmp_path: Path
) -> None:
    async with Work(tmp_path, builds=bot(slack)) as work:
        await work.accept(LIVING, event(1, "running"))
        await work.drained()
        await work.store.mute(mute(until=1e6))
        await work.clock.wait(asyncio.Event(), BELIEVED_FOR)
        slack.faults.append(fake.error("message_not_found"))
        await work.accept(LIVING, event(1, "failure"))
        owed = await work.drained()
    assert (owed[-1].state, outcomes(owed[-1])) == ("muted", ["gone", "muted"])
    assert len(texts(slack)) == 1


async def test_a_replay_is_somebodys_wish(slack: FakeSlack, tmp_path: Path) -> None:
    async with Work(tmp_path, builds=bot(slack)) as work:
        await work.store.mute(mute(until=1e6))
        await work.accept(ALL, event(1, "failure"))
        (owed,) = await work.drained()
        await work.store.replay([owed.id], work.clock.now())
        assert states(await work.drained()) == ["muted", "done"]


# -- what a process knows


class Kept:
    """A store of which only the mutes are asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.away = False
        self.said = [mute()]

    async def mutes(self, since: datetime) -> list[Mute]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.away:
            raise StoreUnavailable("away")
        return self.said


def known(seconds: list[float]) -> tuple[Kept, Mutes]:
    store = Kept()
    return store, Mutes(store, lambda: NOON, lambda: seconds[0])  # type: ignore[arg-type]


ASKED = Target(destination="builds", template="run", rules=("all",))


async def test_many_who_ask_at_once_hear_one_answer_and_nobody_an_old_one() -> None:
    seconds = [0.0]
    store, mutes = known(seconds)
    for time in (0.0, KNOWN_FOR / 2, KNOWN_FOR / 2 + BELIEVED_FOR):
        seconds[0] = time
        store.said = [mute(reason=f"at {time}")]
        told: list[str] = []

        async def ask(told: list[str] = told) -> None:
            await mutes.read()
            found = mutes.of(ASKED, event(1), NOON)
            told.append(found.reason if found else "")

        await asyncio.gather(*(ask() for _ in range(4)))
        assert told == [f"at {time if time > BELIEVED_FOR else 0.0}"] * 4
    assert store.asked == 2


async def test_mutes_are_read_again_beside_the_messages_before_anybody_has_to_wait_for_them() -> None:
    seconds = [0.0]
    store, mutes = known(seconds)
    await mutes.read()
    seconds[0], store.said = KNOWN_FOR, [mute(reason="new")]
    await mutes.read()
    assert mutes.of(ASKED, event(1), NOON) == mute(), "nobody waits"
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert mutes.of(ASKED, event(1), NOON) == mute(reason="new")
    assert store.asked == 2


async def test_a_store_that_is_away_changes_nothing_of_what_is_known() -> None:
    seconds = [0.0]
    store, mutes = known(seconds)
    store.away = True
    with pytest.raises(StoreUnavailable):  # better late than into a silence
        await mutes.read()
    store.away = False
    await mutes.read()
    store.away, seconds[0] = True, KNOWN_FOR
    await mutes.read()
    assert mutes.of(ASKED, event(1), NOON) == mute()


# -- the command line

RULES = """
sources:
  github: {type: github, secret: "It's a secret"}
destinations:
  screen: {type: console}
rules:
  - {name: every result, match: {status: finished}, to: screen}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "config.yaml").write_text("version: 1\n" + RULES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/bridge.db")
    asyncio.run(_fill())
    return tmp_path


async def _fill() -> None:
    store = await open_store("sqlite:///bridge.db")
    await store.close()


def run(*words: str, **more: Any) -> Result:
    return CliRunner().invoke(bridge, words, **more)


def listed() -> list[dict[str, Any]]:
    return json.loads(run("mutes", "--json").stdout)  # type: ignore[no-any-return]


@pytest.mark.usefixtures("here")
def test_mute_mutes_and_unmute_by_words_and_by_id() -> None:
    assert run("mute", "every result", "2h", "--reason", " we\nrelease ").exit_code == 0
    assert run("mute", "acme/*@release/**", "30m").exit_code == 0
    assert run("mute", "all", "1h").exit_code == 0
    found = listed()
    assert [one["what"] for one in found] == ["all", "acme/*@release/**", "every result"], "newest first"
    assert (found[2]["rule"], found[2]["reason"], found[2]["muted"]) == ("every result", "we\nrelease", 0)
    lasts = datetime.fromisoformat(found[2]["until"]) - datetime.now(UTC)
    assert timedelta(minutes=119) < lasts <= timedelta(hours=2)
    assert "we·release" in run("mutes").stdout
    assert json.loads(run("unmute", "m2", "--json").stdout) == ["m2"]
    assert run("unmute", "every result").stdout == "no longer muted: m1\n"
    assert [one["id"] for one in listed()] == ["m3"]
    assert run("unmute", "every result").exit_code == 1
    assert run("mute", "acme/app", "1h").exit_code == 0
    assert run("unmute", "all").stdout == "no longer muted: m3, m4\n"
    assert (listed(), run("mutes").exit_code) == ([], 0)
    assert len(json.loads(run("mutes", "--all", "--json").stdout)) == 4


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("every resul", "1h"), "did you mean 'every result'?"),
        (("acme/app@", "1h"), "no rule"),
        (("!acme/app", "1h"), "exclamation mark"),
        (("acme/app", "soon"), "no duration"),
        (("acme/app", "0s"), "at most 365d"),
        (("acme/app", "366d"), "at most 365d"),
        (("acme/app", "9" * 40 + "w"), "too long"),
        (("acme/app",), "DURATION"),
    ],
)
def test_wrong_words_end_with_2_and_say_what_is_right(words: tuple[str, ...], said: str) -> None:
    done = run("mute", *words)
    assert (done.exit_code, said in done.stderr, listed()) == (2, True, []), done.stderr


def test_a_broken_configuration_does_not_keep_a_repository_from_being_muted(here: Path) -> None:
    (here / "config.yaml").write_text("rules: [")
    assert run("mute", "acme/app", "1h").exit_code == 0
    assert run("mute", "all", "1h").exit_code == 0
    assert run("mute", "every result", "1h").exit_code != 0


def test_a_repository_that_nobody_has_heard_of_is_muted_with_a_hint(here: Path) -> None:
    async def fill() -> None:
        from bridge.store.base import Tally

        store = await open_store(f"sqlite:///{here}/bridge.db")
        await store.tally([Tally("github", "routed", "acme/app", 1, datetime.now(UTC))])
        await store.close()

    asyncio.run(fill())
    assert "did you mean 'acme/app'?" in run("mute", "acme/ap", "1h").stderr
    assert run("mute", "acme/*", "1h").stderr == ""


@pytest.mark.usefixtures("here")
def test_a_muted_message_answers_why_it_was_not_sent() -> None:
    async def fill() -> None:
        store = await open_store("sqlite:///bridge.db")
        now = datetime.now(UTC)
        await store.mute(Mute(since=now - timedelta(hours=1), until=now + timedelta(hours=1)))
        at = (now - NOON).total_seconds()
        await store.accept(arrival(event(1, "failure"), "k", at), ALL)
        (held,) = await store.claim("builds", now, timedelta(seconds=60), 1)
        from bridge.store.base import Settlement

        (known,) = await store.mutes(now)
        await store.settle(Settlement(held.id, "folded", now, "muted", why(known)))
        await store.close()

    asyncio.run(fill())
    (found,) = json.loads(run("deliveries", "--state", "muted", "--json").stdout)
    assert (found["state"], found["reason"][:18]) == ("muted", "muted by m1 (all) ")
    assert "to builds: muted\n" in run("show", "e1").stdout
    assert listed()[0]["muted"] == 1


@pytest.mark.usefixtures("here")
def test_explain_says_what_would_be_kept_quiet_now(tmp_path: Path) -> None:
    body = github_run(7, "completed", "failure")
    (tmp_path / "body.json").write_bytes(body)
    words = ("explain", "--source", "github", "--header", "X-GitHub-Event=workflow_run", "body.json")
    assert [one["muted"] for one in json.loads(run(*words, "--json").stdout)["messages"]] == [None]
    assert run("mute", "every result", "1h").exit_code == 0
    (message,) = json.loads(run(*words, "--json").stdout)["messages"]
    assert message["muted"].startswith("muted by m1 (every result) until ")
    assert "not sent now: muted by m1" in run(*words).stdout
