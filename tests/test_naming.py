"""Who reviews and who owns what changed, asked of real servers on loopback; who has an e-mail address in a chat."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from bridge import naming, observe
from bridge.config import Config, SourceConfig
from bridge.destinations import mattermost, slack, zulip
from bridge.errors import Transient
from bridge.event import Event, Kind
from bridge.naming import AWAY_FOR, FORBIDDEN_FOR, FOUND_FOR, TOLD_FOR, Finder, Kept, Naming
from tests.fakes import mattermost as fake_mattermost
from tests.fakes.github_api import SHA, GitHubApi, commit, pull
from tests.fakes.gitlab_api import GitLabApi
from tests.fakes.mattermost import FakeMattermost
from tests.fakes.rest_api import RestApi, answering, bad_gateway
from tests.fakes.slack import TOKEN, FakeSlack, error, ratelimited
from tests.fakes.zulip import FakeZulip

OWNED = "* @acme/everyone\n*.py @octocat\n/docs/ mona@acme.example\n"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
async def github() -> AsyncIterator[GitHubApi]:
    async with GitHubApi() as api:
        yield api


@pytest.fixture
async def gitlab() -> AsyncIterator[GitLabApi]:
    async with GitLabApi() as api:
        yield api


@pytest.fixture
def clock() -> Clock:
    return Clock()


def asking(api: RestApi, session: aiohttp.ClientSession, clock: Clock, **more: Any) -> Naming:
    type_ = "github" if isinstance(api, GitHubApi) else "gitlab"
    said = {"type": type_, "api_url": api.url, "api_token": api.token} | more
    config = Config(sources={"code": SourceConfig(name="code", **said)})
    return Naming(session, lambda: config, clock)


def on_github(**said: Any) -> Event:
    known = {"repository": "acme/app", "branch": "main", "default_branch": "main", "sha": SHA}
    return Event(source="code", type="github", kind=Kind.PIPELINE, **(known | said))


def on_gitlab(**said: Any) -> Event:
    known = {"repository": "acme/tools/app", "branch": "main", "default_branch": "main", "sha": SHA}
    return Event(source="code", type="gitlab", kind=Kind.PIPELINE, **(known | said))


# -- owners


async def test_the_owners_of_what_the_commit_changed_are_told(github: GitHubApi, session: Any, clock: Clock) -> None:
    github.files["main", "CODEOWNERS"] = OWNED
    github.commits[SHA] = commit("octocat", files=("src/a.py", "docs/b.md"))
    told = await asking(github, session, clock).told(on_github(), ("owners",))
    assert told.owners == ("octocat", "mona@acme.example")


async def test_a_pull_requests_owners_are_of_all_its_files_by_the_file_on_the_default_branch(
    github: GitHubApi, session: Any, clock: Clock
) -> None:
    github.files["main", ".github/CODEOWNERS"] = OWNED
    github.files["fix", ".github/CODEOWNERS"] = "* @whoever-i-like\n"
    github.changed[7] = ["docs/b.md"]
    told = await asking(github, session, clock).told(on_github(branch="fix", pull_request=7), ("owners",))
    assert told.owners == ("mona@acme.example",)


async def test_where_the_files_are_not_told_the_owners_of_everything_are(
    github: GitHubApi, session: Any, clock: Clock
) -> None:
    github.files["main", "docs/CODEOWNERS"] = OWNED
    told = await asking(github, session, clock).told(on_github(), ("owners",))
    assert told.owners == ("acme/everyone",)


async def test_gitlabs_owners_are_those_of_each_section(gitlab: GitLabApi, session: Any, clock: Clock) -> None:
    gitlab.files["main", ".gitlab/CODEOWNERS"] = "* @octocat\n[Guides] @acme/docs\n/docs/\n"
    gitlab.changed[SHA] = ["docs/b.md"]
    gitlab.changed["!7"] = ["src/a.py"]
    names = asking(gitlab, session, clock)
    assert (await names.told(on_gitlab(), ("owners",))).owners == ("octocat", "acme/docs")
    assert (await names.told(on_gitlab(branch="fix", pull_request=7), ("owners",))).owners == ("octocat",)


async def test_without_a_codeowners_nobody_owns_anything(github: GitHubApi, session: Any, clock: Clock) -> None:
    names = asking(github, session, clock)
    assert (await names.told(on_github(), ("owners",))).owners == ()
    await names.told(on_github(), ("owners",))
    assert len(github.asked) == 3  # each place once, and kept


# -- reviewers


async def test_reviewers_are_asked_for_where_the_webhook_tells_none(
    github: GitHubApi, gitlab: GitLabApi, session: Any, clock: Clock
) -> None:
    asked = {"requested_reviewers": [{"login": "mona"}], "requested_teams": [{"slug": "api"}]}
    github.pulls = [pull(7, "acme/app", "fix", **asked)]
    gitlab.requests[7] = {"reviewers": [{"username": "mona", "name": "Mona Lisa"}]}
    one = await asking(github, session, clock).told(on_github(pull_request=7), ("reviewers",))
    other = await asking(gitlab, session, clock).told(on_gitlab(pull_request=7), ("reviewers",))
    assert (one.reviewers, other.reviewers) == (("mona", "acme/api"), ("mona",))


async def test_what_the_webhook_told_is_not_asked(github: GitHubApi, session: Any, clock: Clock) -> None:
    event = on_github(pull_request=7, reviewers=("mona",), owners=("x",))
    assert await asking(github, session, clock).told(event, ("reviewers", "owners")) == event
    assert github.asked == []


# -- never needed


@pytest.mark.parametrize(
    ("words", "more", "said"),
    [
        (("author", "committer", "pusher", "mona"), {}, {}),
        (("owners",), {"api_token": None}, {}),
        (("owners",), {}, {"sha": None}),
        (("owners",), {}, {"repository": None}),
        (("reviewers",), {}, {}),
        (("owners",), {"type": "buildkite"}, {}),
        (("owners",), {"api_url": None}, {"repository_url": "https://git.acme.example/acme/app"}),
    ],
    ids=["other words", "no token", "no commit", "no repository", "no pull request", "other type", "another server"],
)
async def test_nothing_is_asked_that_need_not_or_cannot_be(
    github: GitHubApi, session: Any, clock: Clock, words: Any, more: Any, said: Any
) -> None:
    event = on_github(**said)
    assert await asking(github, session, clock, **more).told(event, words) == event
    assert github.asked == []


async def test_answers_are_kept_for_some_minutes(github: GitHubApi, session: Any, clock: Clock) -> None:
    github.files["main", "CODEOWNERS"] = OWNED
    names = asking(github, session, clock)
    for at in (0.0, TOLD_FOR - 1):
        clock.now = at
        await names.told(on_github(), ("owners",))
    before = len(github.asked)
    clock.now = TOLD_FOR + 1
    await names.told(on_github(), ("owners",))
    assert (before, len(github.asked)) == (3, 6)  # two places and the commit


@pytest.mark.parametrize("fault", [bad_gateway(), answering(401), answering(200, "[]"), answering(200, {"content": 1})])
async def test_an_api_that_fails_costs_the_owners_and_nothing_else(
    github: GitHubApi, session: Any, clock: Clock, fault: Any
) -> None:
    github.always = fault
    assert await asking(github, session, clock).told(on_github(), ("owners",)) == on_github()


async def test_an_api_that_is_away_is_left_alone_for_a_while(github: GitHubApi, session: Any, clock: Clock) -> None:
    github.always = bad_gateway()
    names = asking(github, session, clock)
    for at in (0.0, AWAY_FOR - 1, AWAY_FOR + 1):
        clock.now = at
        await names.told(on_github(), ("owners",))
    assert len(github.asked) == 2


async def test_an_api_that_never_answers_holds_no_message_back(
    github: GitHubApi, session: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(naming, "TOLD_WITHIN", 0.05)
    github.always = github.silence
    assert await asking(github, session, clock).told(on_github(), ("owners",)) == on_github()


# -- who has an address


MEMBER = {"id": "U0MONA01", "deleted": False, "is_bot": False}


@pytest.fixture
async def chat() -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as running:
        running.users["mona@acme.example"] = MEMBER
        yield running


def finder(chat: FakeSlack, session: aiohttp.ClientSession, clock: Clock) -> Finder:
    options = slack.Options(token=TOKEN, channel="#builds", api_url=chat.api_url, find_people=True)  # type: ignore[arg-type]
    return Finder("builds", slack.Bot("builds", options, session), clock)


async def test_slack_is_asked_once_an_hour_who_has_an_address(chat: FakeSlack, session: Any, clock: Clock) -> None:
    who = finder(chat, session, clock)
    for at in (0.0, FOUND_FOR - 1, FOUND_FOR + 1):
        clock.now = at
        assert await who.ids(["Mona@acme.example"]) == {"Mona@acme.example": "U0MONA01"}
    assert [call.method for call in chat.calls] == ["users.lookupByEmail"] * 2


async def test_that_nobody_has_an_address_is_kept_too(chat: FakeSlack, session: Any, clock: Clock) -> None:
    who = finder(chat, session, clock)
    assert [await who.ids(["ghost@acme.example"]) for _ in range(2)] == [{}, {}]
    assert len(chat.calls) == 1


@pytest.mark.parametrize("user", [MEMBER | {"deleted": True}, MEMBER | {"is_bot": True}, {"id": "<!channel>"}, {}])
async def test_who_has_left_and_bots_are_nobody(chat: FakeSlack, session: Any, clock: Clock, user: Any) -> None:
    chat.users["mona@acme.example"] = user
    assert await finder(chat, session, clock).ids(["mona@acme.example"]) == {}


async def test_a_missing_scope_is_said_once_and_without_the_address(
    chat: FakeSlack, session: Any, clock: Clock
) -> None:
    chat.faults += [error("missing_scope", needed="users:read.email", provided="chat:write")] * 2
    who = finder(chat, session, clock)
    observe.configure("json", "info")  # whatever a test before has asked for
    with capture_logs() as lines:
        for at in (0.0, 1.0, FORBIDDEN_FOR + 1):
            clock.now = at
            assert await who.ids(["mona@acme.example"]) == {}
    assert len(chat.calls) == 2
    (line,) = lines
    assert "add the scope users:read.email" in line["reason"]
    assert "mona" not in str(line)


async def test_a_chat_that_asks_to_wait_is_left_alone_so_long(chat: FakeSlack, session: Any, clock: Clock) -> None:
    chat.faults.append(ratelimited(30))
    who = finder(chat, session, clock)
    found = []
    for at in (0.0, 29.0, 31.0):
        clock.now = at
        found.append(await who.ids(["mona@acme.example"]))
    assert found == [{}, {}, {"mona@acme.example": "U0MONA01"}]


async def test_who_cannot_be_found_costs_no_other(chat: FakeSlack, session: Any, clock: Clock) -> None:
    assert await finder(chat, session, clock).ids(["x@acme.example", "mona@acme.example"]) == {
        "mona@acme.example": "U0MONA01"
    }


async def test_a_chat_that_never_answers_holds_no_message_back(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming, "FOUND_WITHIN", 0.02)

    class Silent:
        asked = 0

        async def find(self, email: str) -> str | None:
            self.asked += 1
            await asyncio.Event().wait()
            return None

    silent = Silent()
    who = Finder("builds", silent, clock)
    assert [await who.ids(["mona@acme.example"]) for _ in range(2)] == [{}, {}]
    assert silent.asked == 1
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


async def test_mattermost_tells_the_user_name(session: Any) -> None:
    async with FakeMattermost() as chat:
        said = {"site": chat.base, "token": fake_mattermost.TOKEN, "channel": "acme/builds", "find_people": True}
        bot = mattermost.Bot("crew", mattermost.Options(**said), session)  # type: ignore[arg-type]
        chat.users["mona+ci@acme.example"] = {"id": "u1", "username": "mona", "delete_at": 0}
        chat.users["gone@acme.example"] = {"id": "u2", "username": "gone", "delete_at": 1}
        addresses = ("mona+ci@acme.example", "gone@acme.example", "ghost@acme.example")
        assert [await bot.find(one) for one in addresses] == ["mona", None, None]
        assert "finds nobody" not in (await bot.check()).text
        chat.hides_emails = True
        assert "find_people finds nobody" in (await bot.check()).text


async def test_zulip_tells_the_user_id(session: Any) -> None:
    async with FakeZulip() as chat:
        bot = zulip.Bot("talks", zulip.Options(**chat.options, find_people=True), session)  # type: ignore[arg-type]
        chat.users["mona@acme.example"] = {"user_id": 41, "is_active": True, "is_bot": False}
        chat.users["gone@acme.example"] = {"user_id": 42, "is_active": False, "is_bot": False}
        addresses = ("mona@acme.example", "gone@acme.example", "ghost@acme.example")
        assert [await bot.find(one) for one in addresses] == ["41", None, None]


async def test_doctor_says_which_scope_is_missing(chat: FakeSlack, session: Any) -> None:
    options = slack.Options(token=TOKEN, channel="#builds", api_url=chat.api_url, find_people=True)  # type: ignore[arg-type]
    chat.scopes = "chat:write"
    assert "users:read.email" in (await slack.Bot("builds", options, session).check()).text
    chat.scopes = "chat:write,users:read,users:read.email"
    assert "users:read.email" not in (await slack.Bot("builds", options, session).check()).text


# -- keeping


async def test_who_asks_meanwhile_waits_for_the_same_answer(clock: Clock) -> None:
    kept: Kept[int] = Kept(clock, seconds=60, most=2)
    gate, asked = asyncio.Event(), 0

    async def ask() -> int:
        nonlocal asked
        asked += 1
        await gate.wait()
        return asked

    both = asyncio.gather(kept.of("a", ask), kept.of("a", ask))
    await asyncio.sleep(0)
    gate.set()
    assert await both == [1, 1]


async def test_no_more_is_kept_than_was_said(clock: Clock) -> None:
    kept: Kept[int] = Kept(clock, seconds=60, most=2)
    asked: list[int] = []

    async def ask(number: int) -> int:
        asked.append(number)
        return number

    for number in (1, 2, 3, 3, 2, 1):
        await kept.of(number, lambda number=number: ask(number))
    assert asked == [1, 2, 3, 1]


async def test_a_failure_is_not_kept(clock: Clock) -> None:
    kept: Kept[int] = Kept(clock, seconds=60, most=2)
    answers = iter([Transient("not now"), 5])

    async def ask() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(Transient):
        await kept.of("a", ask)
    assert await kept.of("a", ask) == 5
