"""Does `bridge backfill` bring what came while bridge was away, once, and tell only what still matters?"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner, Result

from bridge import config as configuration
from bridge.app import Bridge
from bridge.cli import bridge as command
from bridge.cli.backfill import _COUNTS, _COUNTS_AGAIN, _COUNTS_DRY, backfill
from bridge.event import Inbound
from bridge.history import HISTORIES, KEEP_NONE
from bridge.history.asking import posts_to
from bridge.receive import Deciding, arrival_of, read
from bridge.sources import SOURCES
from bridge.store import open_store
from bridge.store.base import StoredDelivery, StoredEvent
from tests.fakes import gitlab_hooks
from tests.fakes.github_hooks import TOKEN, FakeGitHub, hook
from tests.fakes.gitlab_hooks import FakeGitLab
from tests.fakes.slack import FakeSlack

HERE = "https://bridge.example.com/webhooks/github"
HOOKS = "/repos/acme/app/hooks"
SECRET = "a-made-up-secret"
NOW = datetime.now(UTC).replace(microsecond=0)
CONFIG = """
version: 1
sources:
  github: {{type: github, secret: a-made-up-secret, api_token: {token}, api_url: "{github}"}}
  gitlab: {{type: gitlab, token: a-made-up-secret, api_token: {gitlab_token}, api_url: "{gitlab}"}}
  bare: {{type: github, secret: a-made-up-secret}}
destinations:
  builds: {slack}
rules:
{rules}
"""
BROKEN_OR_FIXED = "  - {name: changes, match: {change: [broken, fixed]}, to: builds}"
LIVING = "  - {name: all, match: {kind: pipeline}, to: builds, live: true}"


def at(minute: int) -> str:
    """A time of today's, so many minutes after two hours ago."""
    return (NOW - timedelta(hours=2) + timedelta(minutes=minute)).isoformat().replace("+00:00", "Z")


def run(number: int, conclusion: str | None, *, status: str = "completed", minute: int | None = None) -> dict[str, Any]:
    """A workflow_run of acme/app on main; it ends ten minutes after the one before, if nothing else is said."""
    return {
        "action": status,
        "workflow_run": {
            "id": 9000 + number,
            "name": "CI",
            "event": "push",
            "status": status,
            "conclusion": conclusion,
            "run_number": number,
            "run_attempt": 1,
            "head_branch": "main",
            "head_sha": f"{number:040x}",
            "display_title": f"change {number}",
            "actor": {"login": "octocat"},
            "run_started_at": at(number * 10 - 5),
            "updated_at": at(number * 10 if minute is None else minute),
            "html_url": f"https://github.com/acme/app/actions/runs/{9000 + number}",
        },
        "repository": {"full_name": "acme/app", "html_url": "https://github.com/acme/app", "default_branch": "main"},
    }


def pipeline(number: int, status: str) -> dict[str, Any]:
    """A pipeline's webhook of acme/site, as GitLab's log has it."""
    return {
        "object_kind": "pipeline",
        "object_attributes": {
            "id": 300 + number,
            "iid": number,
            "ref": "main",
            "tag": False,
            "sha": f"{number:040x}",
            "status": status,
            "created_at": at(number * 10 - 5),
            "finished_at": at(number * 10),
        },
        "project": {"path_with_namespace": "acme/site", "web_url": "https://gitlab.example.com/acme/site"},
        "commit": {"id": f"{number:040x}", "message": "Move the page", "author": {"email": "[REDACTED]"}},
        "builds": [],
    }


@pytest.fixture
async def github() -> AsyncIterator[FakeGitHub]:
    async with FakeGitHub() as fake:
        fake.hooks[HOOKS] = [hook(3, "https://elsewhere.example.com/ci"), hook(7, HERE)]
        yield fake
        assert fake.tokens <= {f"Bearer {TOKEN}"}


@pytest.fixture
async def gitlab() -> AsyncIterator[FakeGitLab]:
    async with FakeGitLab() as fake:
        yield fake


@pytest.fixture
def quiet() -> Iterator[None]:
    """The command sets up logging for a process of its own."""
    root = logging.getLogger()
    before = root.handlers, root.level
    yield
    root.handlers, root.level = before


class Place:
    """A bridge's configuration and database, and the commands in them."""

    def __init__(self, folder: Path, github: FakeGitHub, gitlab: FakeGitLab, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = folder / "config.yaml"
        self.url = f"sqlite:///{folder}/bridge.db"
        self._fakes = {"github": github.url, "gitlab": f"{gitlab.url}/api/v4", "token": TOKEN}
        monkeypatch.setenv("DATABASE_URL", self.url)
        monkeypatch.setenv("BRIDGE_CONFIG", str(self.path))
        self.configure(BROKEN_OR_FIXED)

    def configure(self, rules: str, slack: str = '{type: slack, url: "http://127.0.0.1:9/services/T/B/x"}') -> None:
        known = self._fakes | {"gitlab_token": gitlab_hooks.TOKEN}
        self.path.write_text(CONFIG.format(**known, slack=slack, rules=rules))

    async def backfill(self, *words: str) -> Result:
        result = await asyncio.to_thread(CliRunner().invoke, command, ["backfill", *words])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert TOKEN not in result.output
        assert gitlab_hooks.TOKEN not in result.output
        return result

    async def counts(self, *words: str, exit_code: int = 0) -> dict[str, Any]:
        """Return what is told of the only webhook."""
        result = await self.backfill(*words, "--json")
        assert result.exit_code == exit_code, result.output
        (row,) = json.loads(result.stdout)
        return {name: value for name, value in row.items() if value not in (0, None)}

    async def make(self) -> None:
        await (await open_store(self.url)).close()

    async def live(self, body: dict[str, Any], delivery: str, source: str = "github") -> None:
        """A webhook comes while bridge runs."""
        raw = json.dumps(body).encode()
        loaded = configuration.load(str(self.path), {})
        headers = {key.lower(): value for key, value in SOURCES[source].sign(raw, SECRET, delivery=delivery).items()}
        inbound = Inbound(source, headers, raw, datetime.now(UTC))
        store = await open_store(self.url)
        found = read(inbound, loaded.sources[source])
        await store.accept(arrival_of(inbound, found), Deciding(loaded.rules))
        await store.close()

    async def kept(self) -> tuple[list[StoredEvent], list[StoredDelivery]]:
        """Return events and deliveries, newest first."""
        store = await open_store(self.url)
        found = await store.events(limit=100), await store.deliveries(limit=100)
        await store.close()
        return found

    async def owed(self) -> list[int | None]:
        """Return for which runs, by number, a message is owed."""
        _, deliveries = await self.kept()
        return [one.event.run.number for one in reversed(deliveries) if one.event and one.event.run]


@pytest.fixture
async def place(
    tmp_path: Path, github: FakeGitHub, gitlab: FakeGitLab, monkeypatch: pytest.MonkeyPatch, quiet: None
) -> Place:
    place = Place(tmp_path, github, gitlab, monkeypatch)
    await place.make()
    return place


def bodies(github: FakeGitHub) -> list[str]:
    """Return the requests for single deliveries."""
    return [path for path in github.asked if "/deliveries/" in path]


# -- the whole way -----------------------------------------------------------------------------------------------------


async def test_what_came_while_bridge_was_down_arrives_once(place: Place, github: FakeGitHub) -> None:
    github.sent("one", "workflow_run", run(1, None, status="in_progress", minute=6))
    github.sent("two", "workflow_run", run(1, "failure"))
    async with FakeSlack() as slack, aiohttp.ClientSession() as session:
        place.configure(
            BROKEN_OR_FIXED, f'{{type: slack, token: {slack.token}, channel: "#builds", api_url: "{slack.api_url}"}}'
        )
        environ = {"DATABASE_URL": place.url}
        bridge = Bridge(configuration.load(str(place.path), environ), config_path=str(place.path), environ=environ)
        await bridge.start("127.0.0.1", 0)
        try:
            assert await place.counts("github", "acme/app") == {
                "source": "github",
                "place": "acme/app",
                "hook": "repos/acme/app/hooks/7",
                "found": 2,
                "accepted": 2,
                "told": 1,
            }
            await slack.until(lambda: len(slack.messages) == 1)
            assert (await place.counts("github", "acme/app"))["known"] == 2
            raw = json.dumps(run(1, "failure")).encode()
            headers = SOURCES["github"].sign(raw, SECRET, delivery="two")
            url = f"http://127.0.0.1:{bridge.port}/webhooks/github"
            async with session.post(url, data=raw, headers=headers) as answer:
                assert (await answer.json())["status"] == "duplicate"
        finally:
            await bridge.stop()
        (message,) = slack.messages.values()
        assert "CI" in message.body["text"]
    assert len(bodies(github)) == 2, "what is here is not asked for again"


async def test_redelivery_lets_github_post_it_signed(place: Place, github: FakeGitHub) -> None:
    github.sent("one", "workflow_run", run(1, "failure"))
    environ = {"DATABASE_URL": place.url}
    bridge = Bridge(configuration.load(str(place.path), environ), config_path=str(place.path), environ=environ)
    await bridge.start("127.0.0.1", 0)
    answers: list[int] = []

    async def post(delivery: dict[str, Any]) -> None:
        raw = json.dumps(delivery["payload"]).encode()
        headers = SOURCES["github"].sign(raw, SECRET, delivery=delivery["guid"])
        url = f"http://127.0.0.1:{bridge.port}/webhooks/github"
        async with aiohttp.ClientSession() as session, session.post(url, data=raw, headers=headers) as answer:
            answers.append(answer.status)

    github.redelivered = post
    try:
        found = await place.counts("github", "acme/app", "--redeliver")
        assert (found["found"], found["redelivered"], answers) == (1, 1, [202])
        assert (await place.counts("github", "acme/app", "--redeliver"))["known"] == 1
    finally:
        await bridge.stop()


# -- what is told ------------------------------------------------------------------------------------------------------


async def test_of_a_branch_only_the_newest_result_is_told(place: Place, github: FakeGitHub) -> None:
    await place.live(run(1, "success"), "before")
    for number, conclusion in ((2, "failure"), (3, "success"), (4, "failure")):
        github.sent(f"missed-{number}", "workflow_run", run(number, conclusion))
    assert (await place.counts("github", "acme/app"))["accepted"] == 3
    assert await place.owed() == [4]


async def test_what_is_as_it_was_before_is_not_told(place: Place, github: FakeGitHub) -> None:
    await place.live(run(1, "success"), "before")
    github.sent("missed-2", "workflow_run", run(2, "failure"))
    github.sent("missed-3", "workflow_run", run(3, "success"))
    await place.counts("github", "acme/app")
    assert await place.owed() == []


async def test_what_was_overtaken_meanwhile_is_kept_and_told_to_nobody(place: Place, github: FakeGitHub) -> None:
    github.sent("missed", "workflow_run", run(2, "failure"))
    await place.live(run(3, "success"), "after")
    assert await place.counts("github", "acme/app", "--json") == {
        "source": "github",
        "place": "acme/app",
        "hook": "repos/acme/app/hooks/7",
        "found": 1,
        "accepted": 1,
    }
    events, deliveries = await place.kept()
    assert (events[0].state, events[0].rules, deliveries) == ("unchanged", ("changes",), [])
    await place.live(run(4, "success"), "last")
    assert await place.owed() == [], "the failure stands where it belongs, before #3"


async def test_an_overtaken_run_opens_no_living_message(place: Place, github: FakeGitHub) -> None:
    place.configure(LIVING)
    github.sent("cancelled", "workflow_run", run(1, "cancelled"))
    github.sent("failed", "workflow_run", run(2, "failure"))
    github.sent("passed", "workflow_run", run(3, "success"))
    await place.counts("github", "acme/app")
    assert await place.owed() == [3]


async def test_a_message_that_was_not_opened_is_not_followed(place: Place, github: FakeGitHub) -> None:
    place.configure("  - {name: failures, match: {status: failure}, to: builds, live: true}")
    github.sent("failed", "workflow_run", run(2, "failure"))
    github.sent("passed", "workflow_run", run(3, "success"))
    await place.counts("github", "acme/app")
    await place.live(run(2, "success", minute=50), "corrected")
    assert await place.owed() == []


async def test_a_job_of_an_overtaken_run_is_told_to_nobody(place: Place, github: FakeGitHub) -> None:
    place.configure("  - {name: jobs, match: {kind: task, status: failure}, to: builds}")
    for number in (1, 2):
        job = {"id": number, "run_id": 9000 + number, "run_attempt": 1, "name": "test", "head_branch": "main"}
        job |= {"status": "completed", "conclusion": "failure", "workflow_name": "CI", "completed_at": at(number * 10)}
        body = {"action": "completed", "workflow_job": job, "repository": run(1, None)["repository"]}
        github.sent(f"job-{number}", "workflow_job", body)
        github.sent(f"run-{number}", "workflow_run", run(number, "failure"))
    assert (await place.counts("github", "acme/app"))["accepted"] == 4
    assert await place.owed() == [2]


async def test_a_message_that_lives_is_edited_to_its_end(place: Place, github: FakeGitHub) -> None:
    place.configure(LIVING)
    await place.live(run(1, None, status="in_progress", minute=6), "seen")
    github.sent("missed", "workflow_run", run(1, "failure"))
    await place.live(run(2, "success"), "later")
    await place.counts("github", "acme/app")
    assert await place.owed() == [1, 2, 1]


async def test_a_later_end_of_an_earlier_run_does_not_hush_the_newest(place: Place, github: FakeGitHub) -> None:
    await place.live(run(1, "success", minute=59), "slow")
    github.sent("quick", "workflow_run", run(2, "failure"))
    await place.counts("github", "acme/app")
    assert await place.owed() == [2]


async def test_silent_tells_nobody_but_knows_from_then_on(place: Place, github: FakeGitHub) -> None:
    github.sent("missed", "workflow_run", run(1, "failure"))
    assert (await place.counts("github", "acme/app", "--silent"))["accepted"] == 1
    assert await place.owed() == []
    await place.live(run(2, "failure"), "next")
    assert await place.owed() == [], "it is still failing, not broken"
    await place.live(run(3, "success"), "then")
    assert await place.owed() == [3]


# -- what is asked -----------------------------------------------------------------------------------------------------


async def test_a_dry_run_asks_for_no_body_and_keeps_nothing(place: Place, github: FakeGitHub) -> None:
    await place.live(run(1, "failure"), "here")
    github.sent("here", "workflow_run", run(1, "failure"))
    github.sent("missed", "workflow_run", run(2, "failure"))
    found = await place.counts("github", "acme/app", "--dry-run")
    assert (found["found"], found["known"], found["missing"]) == (2, 1, 1)
    assert bodies(github) == []
    assert len((await place.kept())[0]) == 1


async def test_what_has_nothing_for_chat_is_not_fetched(place: Place, github: FakeGitHub) -> None:
    github.sent("star", "star", {"action": "created"})
    assert (await place.counts("github", "acme/app"))["ignored"] == 1
    assert bodies(github) == []


async def test_one_delivery_that_was_sent_twice_is_one(place: Place, github: FakeGitHub) -> None:
    github.sent("same", "workflow_run", run(1, "failure"))
    github.sent("same", "workflow_run", run(1, "failure"), redelivery=True)
    found = await place.counts("github", "acme/app")
    assert (found["found"], found["accepted"]) == (1, 1)


async def test_nothing_older_than_asked_for_is_looked_at(place: Place, github: FakeGitHub) -> None:
    for number in range(1, 7):
        long_ago = NOW - timedelta(hours=10 - number)
        sent_at = long_ago.isoformat().replace("+00:00", "Z")
        github.sent(f"missed-{number}", "workflow_run", run(number, "failure"), at=sent_at)
    assert (await place.counts("github", "acme/app", "--since", "5h30m"))["found"] == 2
    assert sum(path.endswith("/deliveries") for path in github.asked) == 2, "the page that begins too early is the last"


@pytest.mark.parametrize("again", ["{url}?cursor=v1_0", "{url}?cursor=v1_{start}"])
async def test_no_history_is_followed_for_ever(place: Place, github: FakeGitHub, again: str) -> None:
    for number in range(1, 9):
        github.sent(f"missed-{number}", "workflow_run", run(number, "failure"))
    github.next_link = again
    found = await place.counts("github", "acme/app", "--limit", "5", exit_code=1)
    assert "--limit 5 is reached" in found["stopped"]
    assert sum(path.endswith("/deliveries") for path in github.asked) == 3


async def test_an_address_that_the_api_names_is_not_followed(place: Place, github: FakeGitHub) -> None:
    async with FakeGitHub() as elsewhere:
        for number in range(1, 4):
            github.sent(f"missed-{number}", "workflow_run", run(number, "failure"))
        github.next_link = elsewhere.url + "/steal?cursor=v1_{start}"
        assert (await place.counts("github", "acme/app"))["accepted"] == 3
        assert elsewhere.asked == []


async def test_an_api_that_is_asked_too_often_is_left_alone(place: Place, github: FakeGitHub) -> None:
    for number in range(1, 4):
        github.sent(f"missed-{number}", "workflow_run", run(number, "failure"))
    github.hooks["/repos/acme/site/hooks"] = [hook(8, HERE)]
    github.limited_after = 3
    found = await place.counts("github", "acme/app", "acme/site", exit_code=1)
    assert found["stopped"].startswith("GitHub's API is asked too often (HTTP 403): run this again in 2 min")
    assert (found["accepted"], len(github.asked)) == (1, 4), "what has come is kept, and nothing more is asked"
    github.limited_after = None
    assert (await place.counts("github", "acme/app"))["accepted"] == 2


async def test_without_a_repository_those_heard_of_are_asked(place: Place, github: FakeGitHub) -> None:
    result = await place.backfill("github")
    assert (result.exit_code, "OWNER/NAME" in result.output) == (2, True)
    await place.live(run(1, "failure"), "here")
    github.sent("missed", "workflow_run", run(2, "failure"))
    assert (await place.counts("github"))["accepted"] == 1


async def test_a_webhook_of_the_organization_is_asked_once(place: Place, github: FakeGitHub) -> None:
    github.hooks = {
        "/repos/acme/app/hooks": [],
        "/repos/acme/site/hooks": [hook(3, "https://elsewhere.example.com/")],
        "/orgs/acme/hooks": [hook(9, HERE + "/")],
    }
    github.sent("missed", "workflow_run", run(1, "failure"))
    found = await place.counts("github", "acme/app", "acme/site", "acme")
    assert (found["place"], found["hook"], found["accepted"]) == ("acme", "orgs/acme/hooks/9", 1)


async def test_a_webhook_behind_another_address_is_named_by_its_path(place: Place, github: FakeGitHub) -> None:
    github.hooks[HOOKS] = [hook(7, "https://proxy.example.com/in")]
    github.sent("missed", "workflow_run", run(1, "failure"))
    found = await place.counts("github", "acme/app", exit_code=1)
    assert "--hook" in found["stopped"]
    found = await place.counts("github", "--hook", "repos/acme/app/hooks/7")
    assert (found["place"], found["accepted"]) == ("acme/app", 1)
    assert (await place.backfill("github", "--hook", "https://github.com/acme/app")).exit_code == 2


async def test_one_repository_that_is_refused_costs_no_other(place: Place, github: FakeGitHub) -> None:
    github.sent("missed", "workflow_run", run(1, "failure"))
    result = await place.backfill("github", "acme/gone", "acme/app", "--json")
    gone, app = json.loads(result.stdout)
    assert (result.exit_code, app["accepted"]) == (1, 1)
    assert "knows no such thing, or does not show it" in gone["stopped"]


async def test_the_table_is_for_people(place: Place, github: FakeGitHub) -> None:
    github.sent("missed", "workflow_run", run(1, "failure"))
    result = await place.backfill("github", "acme/app")
    head, row, *rest = result.output.splitlines()
    assert head.split() == [
        *("repository", "webhook", "found", "known", "accepted", "told", "ignored", "unreadable", "refused")
    ]
    assert row.split() == ["acme/app", "repos/acme/app/hooks/7", "1", "0", "1", "1", "0", "0", "0"]
    assert rest == ["1 to be told: a running bridge does it within seconds"]


# -- what may come back ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [None, [], "", "nonsense", 7, '"'])
async def test_a_body_that_is_gone_is_counted(place: Place, github: FakeGitHub, payload: Any) -> None:
    github.sent("gone", "workflow_run", payload)
    assert (await place.counts("github", "acme/app"))["refused"] == 1
    assert (await place.kept())[0] == []


async def test_one_odd_answer_costs_no_other_delivery(place: Place, github: FakeGitHub) -> None:
    github.sent("missed", "workflow_run", run(1, "failure"))
    github.sent("odd", "workflow_run", run(2, "failure"), request=5)
    found = await place.counts("github", "acme/app")
    assert (found["refused"], found["accepted"]) == (1, 1)


async def test_a_body_that_nobody_understands_is_kept_and_tried_again(place: Place, github: FakeGitHub) -> None:
    github.sent("odd", "workflow_run", {"workflow_run": 1})
    assert (await place.counts("github", "acme/app"))["unreadable"] == 1
    assert [event.state for event in (await place.kept())[0]] == ["unreadable"]
    assert (await place.counts("github", "acme/app"))["known"] == 1, "and is not kept twice"
    github.deliveries[0]["payload"] = run(1, "failure")
    assert (await place.counts("github", "acme/app"))["accepted"] == 1


async def test_a_body_told_as_text_is_read(place: Place, github: FakeGitHub) -> None:
    github.sent("text", "workflow_run", json.dumps(run(1, "failure")))
    assert (await place.counts("github", "acme/app"))["accepted"] == 1


async def test_signatures_are_not_kept(place: Place, github: FakeGitHub) -> None:
    github.sent("missed", "workflow_run", run(1, "failure"))
    await place.counts("github", "acme/app")
    ((event,), _) = await place.kept()
    assert event.headers["x-github-delivery"] == "missed"
    assert not any("signature" in name for name in event.headers)


@pytest.mark.parametrize(
    "deliveries",
    [
        pytest.param([{"id": "x"}], id="no id"),
        pytest.param([{"id": 1, "guid": 5}], id="no guid"),
        pytest.param([{"id": 1, "guid": "g", "delivered_at": {}}], id="no time"),
        pytest.param([[]], id="no delivery"),
        pytest.param([None, 1], id="nothing"),
    ],
)
async def test_an_answer_that_is_not_as_documented_ends_in_words(
    place: Place, github: FakeGitHub, deliveries: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from aiohttp import web

    monkeypatch.setattr(github, "_list", lambda _request: web.json_response(deliveries))
    found = await place.counts("github", "acme/app", exit_code=1)
    assert found["stopped"].startswith("GitHub's API")


# -- what is wrong with the question -----------------------------------------------------------------------------------


async def test_a_source_without_a_token_is_told_what_it_needs(place: Place) -> None:
    result = await place.backfill("bare", "acme/app")
    assert result.exit_code == 2
    assert "sources.bare has no api_token" in result.output
    assert "Webhooks" in result.output
    result = await place.backfill("github", "acme/app", "--token-env", "NOT_SET")
    assert (result.exit_code, "$NOT_SET is not set" in result.output) == (2, True)


async def test_a_token_with_more_rights_can_be_given_by_hand(
    place: Place, github: FakeGitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BY_HAND", "another-made-up-token")
    github.sent("missed", "workflow_run", run(1, "failure"))
    assert (await place.counts("github", "acme/app", "--token-env", "BY_HAND"))["accepted"] == 1
    assert github.tokens == {"Bearer another-made-up-token"}
    github.tokens.clear()


def test_who_is_said_to_keep_none_is_a_sender_without_a_history() -> None:
    assert set(KEEP_NONE) <= set(SOURCES) - set(HISTORIES)


@pytest.mark.parametrize("type_", sorted(KEEP_NONE))
async def test_a_sender_without_a_history_has_words_of_its_own(place: Place, type_: str, tmp_path: Path) -> None:
    place.path.write_text(
        f"version: 1\nsources: {{other: {{type: {type_}, unsigned: true}}}}\n"
        "destinations: {here: {type: console}}\nrules: [{name: all, to: here}]\n"
    )
    result = await place.backfill("other")
    assert result.exit_code == 2, result.output
    assert KEEP_NONE[type_].split()[0] in result.output


async def test_gitlab_is_not_asked_to_send_again(place: Place) -> None:
    result = await place.backfill("gitlab", "acme/site", "--redeliver")
    assert (result.exit_code, "leave --redeliver out" in result.output) == (2, True)


@pytest.mark.parametrize(
    ("url", "ours"),
    [
        (HERE, True),
        (HERE + "/", True),
        ("https://x.example.com/prefix/webhooks/github?a=b", True),
        (HERE + "/a-token", True),
        ("https://bridge.example.com/webhooks/github2", False),
        ("https://bridge.example.com/?u=/webhooks/github", False),
        ("http://[", False),
        ("", False),
    ],
)
def test_a_webhook_is_ours_by_its_path(url: str, ours: bool) -> None:
    assert posts_to(url, "github") is ours


# -- GitLab ------------------------------------------------------------------------------------------------------------

PROJECT = "/projects/acme%2Fsite"
LOG = f"{PROJECT}/hooks/5"


async def test_gitlabs_log_is_accepted_like_its_webhooks(place: Place, gitlab: FakeGitLab) -> None:
    gitlab.answers[f"{PROJECT}/hooks"] = [{"id": 5, "url": "https://bridge.example.com/webhooks/gitlab"}]
    await place.live(pipeline(1, "success"), "key-1", "gitlab")
    for number in range(1, 25):
        gitlab.sent(LOG, pipeline(number, "failed" if number > 1 else "success"), f"key-{number}")
    found = await place.counts("gitlab", "acme/site")
    assert (found["hook"], found["found"], found["known"], found["accepted"]) == (LOG.strip("/"), 24, 1, 23)
    assert await place.owed() == [24]
    assert (await place.counts("gitlab", "acme/site"))["known"] == 24
    assert gitlab.asked.count(f"{LOG}/events") == 6


async def test_gitlabs_log_without_keys_or_bodies(place: Place, gitlab: FakeGitLab) -> None:
    gitlab.answers[f"{PROJECT}/hooks"] = [{"id": 5, "url": "https://bridge.example.com/webhooks/gitlab"}]
    gitlab.sent(LOG, pipeline(1, "failed"), None)
    gitlab.sent(LOG, pipeline(2, "failed"), "[REDACTED]")
    gitlab.sent(LOG, pipeline(3, "failed"), "[REDACTED]")
    gitlab.sent(LOG, {"oversize": True}, "long")
    found = await place.counts("gitlab", "acme/site")
    assert (found["accepted"], found["refused"]) == (3, 1), "what is redacted is no key"
    assert (await place.counts("gitlab", "acme/site"))["known"] == 3


async def test_gitlabs_log_ends_where_it_is_told_to(place: Place, gitlab: FakeGitLab) -> None:
    gitlab.answers[f"{PROJECT}/hooks"] = [{"id": 5, "url": "https://bridge.example.com/webhooks/gitlab"}]
    gitlab.sent(LOG, pipeline(1, "failed"), "old", created_at="2026-01-01T09:00:00.000+01:00")
    gitlab.sent(LOG, pipeline(2, "failed"), "new", created_at=at(20))
    assert (await place.counts("gitlab", "acme/site"))["found"] == 1


async def test_a_group_sends_for_its_projects(place: Place, gitlab: FakeGitLab) -> None:
    gitlab.answers["/projects/acme%2Fweb%2Fsite/hooks"] = []
    gitlab.answers["/groups/acme/hooks"] = [{"id": 6, "url": "https://bridge.example.com/webhooks/gitlab"}]
    gitlab.sent("/groups/acme/hooks/6", pipeline(1, "failed"), "key")
    found = await place.counts("gitlab", "acme/web/site")
    assert (found["place"], found["accepted"]) == ("acme", 1)


def with_pipelines(gitlab: FakeGitLab) -> None:
    """acme/site had a pipeline for a branch and one for a merge request."""
    gitlab.answers[PROJECT] = {
        "id": 42,
        "path_with_namespace": "acme/site",
        "web_url": "https://gitlab.example.com/acme/site",
        "default_branch": "main",
        "visibility": "private",
    }
    gitlab.answers[f"{PROJECT}/merge_requests/3"] = {
        "iid": 3,
        "title": "Move the page",
        "source_branch": "move",
        "target_branch": "main",
        "source_project_id": 42,
        "target_project_id": 42,
    }
    listed = []
    for number, ref in ((501, "main"), (502, "refs/merge-requests/3/head")):
        one = {"id": number, "iid": number - 500, "status": "failed", "ref": ref, "sha": "c" * 40, "updated_at": at(5)}
        listed.insert(0, one)
        gitlab.answers[f"{PROJECT}/pipelines/{number}"] = one | {
            "tag": False,
            "user": {"username": "octocat"},
            "web_url": f"https://gitlab.example.com/acme/site/-/pipelines/{number}",
            "created_at": at(1),
            "finished_at": at(5),
            "duration": 200,
            "detailed_status": {"text": "failed"},
        }
        gitlab.answers[f"{PROJECT}/pipelines/{number}/jobs"] = [
            {
                "id": number * 10,
                "name": "rspec",
                "stage": "test",
                "status": "failed",
                "failure_reason": "script_failure",
                "created_at": at(1),
                "started_at": at(2),
                "finished_at": at(5),
                "duration": 180.5,
                "commit": {"id": "c" * 40, "title": "Move the page", "message": "Move the page\n", "author_name": "Oc"},
            }
        ]
    gitlab.answers[f"{PROJECT}/pipelines"] = listed


def refuse_hooks(gitlab: FakeGitLab) -> None:
    gitlab.statuses[f"{PROJECT}/hooks"] = 403


def show_no_log(gitlab: FakeGitLab) -> None:
    gitlab.answers[f"{PROJECT}/hooks"] = [{"id": 5, "url": "https://bridge.example.com/webhooks/gitlab"}]


@pytest.mark.parametrize("without", [refuse_hooks, show_no_log])
async def test_without_a_log_pipelines_are_told_as_their_webhooks_would(
    place: Place, gitlab: FakeGitLab, without: Callable[[FakeGitLab], None]
) -> None:
    with_pipelines(gitlab)
    without(gitlab)
    assert (await place.counts("gitlab", "acme/site"))["accepted"] == 2
    (first, second), _ = await place.kept()
    branch, request = first.event, second.event
    assert branch is not None
    assert request is not None
    assert (branch.repository, branch.branch, branch.author, branch.sha) == ("acme/site", "main", "octocat", "c" * 40)
    assert (branch.title, branch.duration, branch.private, branch.change) == ("Move the page", 200, True, "broken")
    assert branch.run is not None
    assert (branch.run.id, branch.run.number, branch.url) == ("501", 1, branch.run.url)
    assert [(task.name, task.status, task.duration) for task in branch.tasks] == [("rspec", "failure", 180.5)]
    assert (request.pull_request, request.branch, request.fork) == (3, "move", False)
    before = len(gitlab.asked)
    assert (await place.counts("gitlab", "acme/site"))["known"] == 2
    assert not any("/pipelines/" in path for path in gitlab.asked[before:]), "a state that is here is not asked for"


async def test_a_pipeline_that_goes_on_is_news(place: Place, gitlab: FakeGitLab) -> None:
    with_pipelines(gitlab)
    refuse_hooks(gitlab)
    await place.counts("gitlab", "acme/site")
    for one in (gitlab.answers[f"{PROJECT}/pipelines"][1], gitlab.answers[f"{PROJECT}/pipelines/501"]):
        one.update(status="success", updated_at=at(9), finished_at=at(9))
    gitlab.answers[f"{PROJECT}/pipelines/501/jobs"][0].update(id=9_999, created_at=at(7), finished_at=at(9))
    found = await place.counts("gitlab", "acme/site")
    assert (found["known"], found["accepted"], found["told"]) == (1, 1, 1)


# -- its page ----------------------------------------------------------------------------------------------------------

PAGE = (Path(__file__).parents[1] / "docs/backfill.md").read_text("utf-8")


def test_the_page_names_every_option_and_column() -> None:
    options = {name for param in backfill.params for name in param.opts if name.startswith("--")}
    assert {name for name in options if name not in PAGE} == {"--config"}
    assert {column for column in (*_COUNTS, *_COUNTS_DRY, *_COUNTS_AGAIN) if f"| `{column}` |" not in PAGE} == set()


def test_the_commands_of_the_page_are_right() -> None:
    lines = [line.partition("#")[0].split()[2:] for line in PAGE.splitlines() if line.startswith("bridge backfill ")]
    assert len(lines) == 6
    for words in lines:
        asked = backfill.make_context("backfill", words).params
        history = HISTORIES[asked["source"]]
        assert all(history.named(path) for path in asked["paths"])
