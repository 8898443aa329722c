"""Signed webhooks in over HTTP, the sender's API asked, the message with what it said out: nothing between is faked."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bridge import config as configuration
from bridge import deliver
from bridge.app import Bridge
from bridge.sources import SOURCES
from tests.fakes import buildkite_api, circleci_api, github_api, gitlab_api
from tests.fakes.buildkite_api import BuildkiteApi
from tests.fakes.circleci_api import CircleciApi
from tests.fakes.github_api import GitHubApi
from tests.fakes.gitlab_api import GitLabApi
from tests.fakes.rest_api import RestApi, answering
from tests.fakes.slack import FakeSlack

SECRET = "a-made-up-secret"
RULES = """
version: 1
sources:
  code: {{type: {type}, secret: {secret}, api_url: "{api}"{token}}}
destinations:
  builds: {{type: slack, token: "{slack_token}", channel: "#builds", api_url: "{slack}"}}
people:
  octocat: {{slack: U024BE7LH}}
rules:
  - {{name: all, match: {{kind: pipeline}}, to: builds, mention: author}}
"""


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as fake:
        yield fake


@pytest.fixture
async def github() -> AsyncIterator[GitHubApi]:
    async with GitHubApi() as api:
        yield api


@pytest.fixture
async def gitlab() -> AsyncIterator[GitLabApi]:
    async with GitLabApi() as api:
        yield api


async def told(
    folder: Path,
    slack: FakeSlack,
    type_: str,
    api: RestApi,
    *bodies: dict[str, Any],
    token: bool = True,
    said: Sequence[int] = (1, 2, 3),
) -> str:
    """Post the bodies to a bridge of this source, one by one, and return what stands in the chat.

    `said`: how many messages there are after each of them.
    """
    path = folder / "config.yaml"
    written = f", api_token: {api.token}" if token else ""
    known = {"slack_token": slack.token, "slack": slack.api_url, "api": api.url, "token": written}
    path.write_text(RULES.format(type=type_, secret=SECRET, **known))
    environ = {"DATABASE_URL": f"sqlite:///{folder}/bridge.db"}
    bridge = Bridge(configuration.load(str(path), environ), config_path=str(path), environ=environ)
    await bridge.start("127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession() as session:
            for number, (body, wanted) in enumerate(zip(bodies, said, strict=False), 1):
                raw = json.dumps(body).encode()
                signed = SOURCES[type_].sign(raw, SECRET, delivery=f"d-{number}")
                url = f"http://127.0.0.1:{bridge.port}/webhooks/code"
                async with session.post(url, data=raw, headers=signed) as answer:
                    assert answer.status == 202
                await slack.until(lambda wanted=wanted: len(slack.messages) == wanted)
    finally:
        await bridge.stop()
    assert slack.invalid == []
    return "\n".join(json.dumps(message.body) for message in slack.messages.values())


def workflow_run(**more: Any) -> dict[str, Any]:
    """A failed run that a fork's pull request triggered."""
    return {
        "action": "completed",
        "workflow_run": {
            "id": 9001,
            "name": "CI",
            "run_number": 7,
            "run_attempt": 1,
            "event": "pull_request",
            "status": "completed",
            "conclusion": "failure",
            "head_branch": "fix",
            "head_sha": github_api.SHA,
            "head_repository": {"full_name": "hubot/app"},
            "pull_requests": [],
            "html_url": "https://github.com/acme/app/actions/runs/9001",
            "actor": {"login": "hubot"},
            "updated_at": "2026-11-20T09:05:00Z",
            **more,
        },
        "repository": {"full_name": "acme/app", "html_url": "https://github.com/acme/app"},
    }


def knows_all(github: GitHubApi) -> None:
    github.jobs[9001, 1] = [github_api.job(11, "unit", "failure", ("Run pytest", "failure"))]
    github.annotations[11] = [github_api.annotation("src/app.py", 12, "expected 3, got 4")]
    github.pulls = [github_api.pull(12, "hubot/app", "fix")]


async def test_a_forks_failed_run_is_told_with_its_pull_request_and_the_failing_step(
    tmp_path: Path, slack: FakeSlack, github: GitHubApi
) -> None:
    knows_all(github)
    text = await told(tmp_path, slack, "github", github, workflow_run())
    for word in ("#12", "unit", "Run pytest", "src/app.py:12: expected 3, got 4"):
        assert word in text
    assert len(github.asked) == 3


async def test_a_message_does_not_wait_for_the_webhook_of_the_job_that_failed(
    tmp_path: Path, slack: FakeSlack, github: GitHubApi
) -> None:
    knows_all(github)
    begun = {**github_api.job(11, "unit", None), "head_sha": github_api.SHA, "workflow_name": "CI"}
    started = workflow_run(status="in_progress", conclusion=None, updated_at="2026-11-20T09:00:00Z")
    job = {"action": "in_progress", "workflow_job": begun, "repository": started["repository"]}
    text = await told(tmp_path, slack, "github", github, started, job, workflow_run(), said=(1, 1, 2))
    assert "Run pytest" in text


async def test_without_a_token_the_message_goes_out_and_nothing_is_asked(
    tmp_path: Path, slack: FakeSlack, github: GitHubApi
) -> None:
    knows_all(github)
    text = await told(tmp_path, slack, "github", github, workflow_run(), token=False)
    assert "acme/app" in text
    assert "Run pytest" not in text
    assert github.asked == []


async def test_an_api_that_is_asked_too_often_is_left_alone_and_the_messages_go_out(
    tmp_path: Path, slack: FakeSlack, github: GitHubApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "AWAY_FOR", 0.0)  # so that only GitHub's own word counts
    github.always = answering(403, {"message": "API rate limit exceeded"}, Retry_After="600")
    runs = [workflow_run(id=9000 + number, run_number=number) for number in (1, 2, 3)]
    text = await told(tmp_path, slack, "github", github, *runs)
    assert text.count("https://github.com/acme/app/actions/runs/900") >= 3
    assert len(github.asked) == 1


async def test_the_login_that_github_knows_is_shown_and_mentioned(
    tmp_path: Path, slack: FakeSlack, github: GitHubApi
) -> None:
    github.commits[github_api.SHA] = github_api.commit("octocat")
    suite = {
        "action": "completed",
        "check_suite": {
            "id": 77,
            "app": {"slug": "acme-checks", "name": "Acme checks"},
            "status": "completed",
            "conclusion": "failure",
            "head_branch": "main",
            "head_sha": github_api.SHA,
            "head_commit": {"message": "Count", "author": {"name": "Mona", "email": "mona@example.com"}},
            "pull_requests": [],
            "updated_at": "2026-11-20T09:05:00Z",
        },
        "repository": workflow_run()["repository"],
    }
    text = await told(tmp_path, slack, "github", github, suite)
    assert "by octocat" in text
    assert "U024BE7LH" in text


async def test_a_failed_pipeline_is_told_with_the_command_and_the_end_of_the_log(
    tmp_path: Path, slack: FakeSlack, gitlab: GitLabApi
) -> None:
    gitlab.traces[11] = (
        b"\x1b[0K\x1b[32;1m$ pytest -q\x1b[0;m\n\x1b[31mE assert 3 == 4\x1b[0m\nERROR: Job failed: exit code 1\n"
    )
    pipeline = {
        "object_kind": "pipeline",
        "object_attributes": {
            "id": 52,
            "iid": 4,
            "ref": "main",
            "sha": gitlab_api.SHA,
            "status": "failed",
            "source": "push",
            "created_at": "2026-11-20 09:00:00 UTC",
            "finished_at": "2026-11-20 09:05:00 UTC",
        },
        "user": {"username": "mona"},
        "project": {"path_with_namespace": "acme/tools/app", "web_url": "https://git.example.com/acme/tools/app"},
        "commit": {"id": gitlab_api.SHA, "message": "Count retries once"},
        "builds": [{"id": 11, "name": "unit", "status": "failed", "failure_reason": "script_failure"}],
    }
    text = await told(tmp_path, slack, "gitlab", gitlab, pipeline)
    for word in ("unit", "pytest -q", "E assert 3 == 4"):
        assert word in text
    assert "script failure" not in text
    assert gitlab.paths == ["/projects/acme%2Ftools%2Fapp/jobs/11/trace"]


def saved(name: str) -> Any:
    return json.loads((Path(__file__).parents[1] / "sources" / f"{name}.json").read_text())


async def test_a_failed_workflow_is_told_with_the_job_that_failed_and_who_started_it(
    tmp_path: Path, slack: FakeSlack
) -> None:
    workflow = saved("circleci/workflow.failed")
    async with CircleciApi() as api:
        api.knows(workflow["workflow"]["id"], [circleci_api.job_of("unit", "failed", job_number=42)])
        text = await told(tmp_path, slack, "circleci", api, workflow)
    for word in ("unit", workflow["workflow"]["url"] + "/jobs/42", "Mona Lisa", "started by", "octocat"):
        assert word in text


async def test_a_failed_build_is_told_with_its_failed_job_and_why_beside_what_its_webhook_said(
    tmp_path: Path, slack: FakeSlack
) -> None:
    build = saved("buildkite/build.5_failed")
    build["build"] |= {"id": "b12", "web_url": "https://buildkite.com/acme/app/builds/12"}
    build["build"]["rebuilt_from"] = {"number": 11}
    async with BuildkiteApi() as api:
        annotation = buildkite_api.annotation_of("junit", "error", "<p>3 tests <b>failed</b></p>")
        api.knows([buildkite_api.job_of("unit", "failed")], [annotation])
        text = await told(tmp_path, slack, "buildkite", api, build)
    for word in ("unit", "exit status 2", "rebuild of", "#11", "junit", "3 tests failed"):
        assert word in text
