"""The first configuration that a user sees is one that works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from bridge.cli import bridge
from bridge.config import load
from bridge.destinations import DESTINATIONS
from bridge.event import Change, Event, Kind, Status
from bridge.render import Renderer, View
from bridge.render.samples import NOW
from bridge.route import route

EXAMPLE = """\
version: 1

server:
  public_url: https://bridge.example.com
  max_body: 25MiB
  retention: 30d

sources:
  cirrus:
    type: cirrus
    secret: ${CIRRUS_WEBHOOK_SECRET}
    api_token: ${CIRRUS_API_TOKEN:-}
  github:
    type: github
    secret: ["${GITHUB_SECRET}", "${GITHUB_SECRET_OLD}"]

destinations:
  builds: {type: slack, token: "${SLACK_BOT_TOKEN}", channel: "#builds"}
  legacy: {type: slack, url: "${SLACK_WEBHOOK_URL}"}
  oncall: {type: discord, url: "${DISCORD_WEBHOOK_URL}"}

people:
  octocat: {slack: U024BE7LH, discord: "80351110224678912", email: octocat@example.com}

rules:
  - name: main is broken or fixed
    match:
      repository: [acme/*, {not: acme/sandbox}]
      branch: [main, release/**]
      change: [broken, fixed]
    to: [builds, oncall]
    mention: author
  - name: every run, one living message
    match: {source: github, kind: pipeline, author: {not: "*[bot]"}}
    to: builds
    live: true

tests:
  - name: a red main reaches on-call
    event: {repository: acme/app, branch: main, status: failure, change: broken}
    expect: {to: [builds, oncall]}
"""
ENVIRON = {
    "CIRRUS_WEBHOOK_SECRET": "cirrus-made-up",
    "GITHUB_SECRET": "github-made-up",
    "GITHUB_SECRET_OLD": "github-made-up-old",
    "SLACK_BOT_TOKEN": "xoxb-made-up",
    "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/T000/B000/made-up",
    "DISCORD_WEBHOOK_URL": "https://discord.com/api/webhooks/1090000000000000001/made-up",
}
CONTRACT = Path(__file__).parents[1] / "../shared/contract.md"
LEGACY = "destinations.legacy: warning: no rule sends to this destination"


@pytest.fixture
def written(tmp_path: Path) -> str:
    path = tmp_path / "config.yaml"
    path.write_text(EXAMPLE, "utf-8")
    return str(path)


def called(*words: str) -> tuple[int, str]:
    answer = CliRunner(env={**ENVIRON, "NO_COLOR": "1"}).invoke(bridge, words)
    return answer.exit_code, answer.output


def test_it_is_checked_and_right(written: str) -> None:
    code, output = called("check", "--config", written)
    assert code == 0, output
    assert [line for line in output.splitlines() if "warning" in line and LEGACY not in line] == []


def test_its_own_test_passes(written: str) -> None:
    code, output = called("test", "--config", written)
    assert code == 0, output


def test_its_own_test_can_fail(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(EXAMPLE.replace("expect: {to: [builds, oncall]}", "expect: {to: [builds]}"), "utf-8")
    code, output = called("test", "--config", str(path))
    assert code == 1, output


def test_a_red_main_names_its_author_in_each_chat(written: str) -> None:
    from bridge.whom import ids, of_target

    config = load(written, ENVIRON)
    event = Event(
        source="github",
        type="github",
        kind=Kind.PIPELINE,
        status=Status.FAILURE,
        change=Change.BROKEN,
        repository="acme/app",
        branch="main",
        author="octocat",
    )
    told = {}
    for target in route(config.rules, event).targets:
        place = config.destinations[target.destination]
        module = DESTINATIONS[place.type]
        people = ids(of_target(target, event, config))
        view = View(event=event, mentions=people, now=NOW, live=target.live)
        message = Renderer(config.templates).render(target.template, view, place.type)
        told[target.destination] = str(module.payload(message, place.options))
    assert set(told) == {"builds", "oncall"}
    assert "<@U024BE7LH>" in told["builds"]
    assert "<@80351110224678912>" in told["oncall"]


@pytest.mark.skipif(not CONTRACT.exists(), reason="no ../shared")
def test_it_is_the_contract_s_own() -> None:
    (written,) = re.findall(r"(?s)```yaml\n(.*?)```", CONTRACT.read_text("utf-8"))
    bare = re.sub(r"(?m)\s+# .*$", "", written)
    assert bare.split() == EXAMPLE.split()
