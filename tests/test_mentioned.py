"""The right person, through the real server: a signed webhook comes in, and the chat shows whom it notifies."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fakes.github_api import GitHubApi, commit, pull
from tests.fakes.slack import TOKEN, FakeSlack
from tests.running import GITHUB_SECRET, post, serving, until

PEOPLE = """
people:
  octocat: {slack: U0OCTO01}
  mona: {slack: U0MONA01, email: mona@acme.example}
  hubot: {slack: U0HUBOT1, mention: false}
  dee: {email: dee@acme.example}
  eve: {slack: U0EVE001}
groups: {acme/docs: [eve, hubot]}
"""


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as chat:
        yield chat


@pytest.fixture
async def github() -> AsyncIterator[GitHubApi]:
    async with GitHubApi() as api:
        yield api


def config(folder: Path, slack: FakeSlack, github: GitHubApi) -> Path:
    """A rule for each word, told apart by the workflow's name; `twice` has two rules for one channel."""
    words = ("author", "committer", "pusher", "reviewers", "owners")
    rules = [f"  - {{name: {word}, match: {{pipeline: {word}}}, to: builds, mention: {word}}}" for word in words]
    rules += [
        "  - {name: first, match: {pipeline: twice}, to: builds, mention: author}",
        "  - {name: second, match: {pipeline: twice}, to: {destination: builds, template: task},"
        " mention: [pusher, committer, dee]}",
    ]
    path = folder / "config.yaml"
    path.write_text(
        f"""version: 1
sources:
  github: {{type: github, secret: {GITHUB_SECRET}, api_token: {github.token}, api_url: "{github.url}"}}
destinations:
  builds:
    type: slack
    token: {TOKEN}
    channel: "#builds"
    api_url: "{slack.api_url}"
    rate: 100/s
    find_people: true
{PEOPLE}
rules:
"""
        + "\n".join(rules)
        + "\n"
    )
    return path


def broken(number: int, workflow: str, **said: Any) -> bytes:
    """A failed run of a workflow, with everybody in it."""
    run = {
        "id": number,
        "name": workflow,
        "event": "push",
        "status": "completed",
        "conclusion": "failure",
        "run_number": number,
        "run_attempt": 1,
        "head_branch": "main",
        "head_sha": f"{number:040x}",
        "head_commit": {
            "message": f"change {number}",
            "author": {"name": "O. Cat", "email": "1+octocat@users.noreply.github.com"},
            "committer": {"name": "M. Lisa", "email": "Mona@acme.example"},
        },
        "actor": {"login": "octocat"},
    } | said
    repository = {"full_name": "acme/app", "html_url": "https://github.com/acme/app", "default_branch": "main"}
    return json.dumps({"action": "completed", "workflow_run": run, "repository": repository}).encode()


def mentioned(slack: FakeSlack) -> list[list[str]]:
    """Return whom each message notifies."""
    known = ("U0OCTO01", "U0MONA01", "U0HUBOT1", "U0DEE001", "U0EVE001")
    return [[one for one in known if f"<@{one}>" in json.dumps(posted.body)] for posted in slack.messages.values()]


async def test_each_word_notifies_the_right_person(slack: FakeSlack, github: GitHubApi, tmp_path: Path) -> None:
    slack.users["dee@acme.example"] = {"id": "U0DEE001"}
    github.files["main", ".github/CODEOWNERS"] = "* @octocat\n/docs/ @acme/docs\n"
    github.commits[f"{5:040x}"] = commit("octocat", files=("docs/start.md",))
    github.pulls = [pull(7, "acme/app", "fix", requested_reviewers=[{"login": "mona"}])]
    of_pull = {"event": "pull_request", "head_branch": "fix", "pull_requests": [{"number": 7}]}
    told = [
        (broken(1, "author", actor={"login": "OctoCat"}), [["U0OCTO01"]]),
        (broken(2, "committer"), [["U0MONA01"]]),
        (broken(3, "pusher", actor={"login": "eve"}), [["U0EVE001"]]),
        (broken(4, "reviewers", **of_pull), [["U0MONA01"]]),
        (broken(5, "owners"), [["U0EVE001"]]),
        (broken(6, "author", actor={"login": "hubot"}, head_branch="other"), [[]]),
        (broken(7, "author", actor={"login": "ghost"}, head_branch="third"), [[]]),
        (broken(8, "twice"), [["U0OCTO01"], ["U0MONA01", "U0DEE001"]]),
    ]
    async with serving(config(tmp_path, slack, github)) as server, aiohttp.ClientSession() as session:
        expected: list[list[str]] = []
        for body, whom in told:
            assert (await post(session, server.url, "github", body))[0] == 202
            expected += whom
            await until(lambda: len(slack.messages) == len(expected))  # noqa: B023 - it is awaited here
        assert mentioned(slack) == expected
        assert not any("hubot" in str(call.query) for call in slack.calls)
        assert "@acme.example" not in server.all_text
