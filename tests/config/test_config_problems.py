"""A broken file and everything that is said about it, in the order of the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.destinations import DESTINATIONS
from bridge.sources import SOURCES

HERE = Path(__file__).parent


def test_every_problem_is_told_at_once_in_the_order_of_the_file(lines):
    told = lines((HERE / "broken.yaml").read_text())
    expected = (HERE / "broken.txt").read_text().splitlines()
    types = {", ".join(SOURCES): "SENDERS", ", ".join(DESTINATIONS): "CHATS"}
    assert [_without(line, types).removeprefix("config.yaml:") for line in told] == expected


def _without(line: str, types: dict[str, str]) -> str:
    """Leave out the list of types, which grows."""
    for names, word in types.items():
        line = line.replace(f"choose from {names}", f"choose from {word}")
    return line


def _source(rest: str) -> str:
    return f"sources: {{github: {{type: github, {rest}}}}}\ndestinations: {{team: {{type: console}}}}\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (_source("unsigned: true"), "1:44: sources.github.unsigned: warning: anyone who knows the address can send"),
        (_source("secret: 4f2a9c1e8b7d6a5f4e3d"), "1:42: sources.github.secret: warning: a secret is written in the"),
        (_source('secret: "${S:-4f2a9c1e8b7d6a5f4e3d}"'), ""),
        (_source("secret: short"), ""),
        (
            _source('secret: "${SECRET}", api_token: ghp_' + 20 * "a"),
            "1:66: sources.github.api_token: warning: a secret",
        ),
        (
            _source('secret: "${SECRET}", api_token: "${NONE:-}"').replace("github", "gogs"),
            "",
        ),
        (
            _source('secret: "${SECRET}", api_token: "${TOKEN}"').replace("github", "gogs"),
            "1:51: sources.gogs.api_token: warning: gogs has no API that bridge asks, so this token does nothing",
        ),
        (
            "sources:\ndestinations: {team: {type: console}}\n",
            "1:1: sources: warning: no source, so nothing can come in",
        ),
        (_source('secret: "${SECRET}"') + "rules: [{name: a, to: team}]\n", ""),
        (
            _source('secret: "${SECRET}"') + "rules: [{name: a, to: team, match: {source: {not: github}}}]\n",
            "1:11: sources.github: warning: no rule can match what this source sends",
        ),
        (
            'sources: {github: {type: github, secret: "${SECRET}"}}\n'
            "destinations: {a: {type: console}, b: {type: console}}\nrules: [{name: a, to: b}]\n",
            "2:16: destinations.a: warning: no rule sends to this destination",
        ),
        (
            "sources: {github: {type: github, secret: '${SECRET}'}}\npeople: {mona: {email: mona@example.com}}\n"
            "destinations: {a: {type: slack, url: '${URL}'}}\nrules: [{name: a, to: a, mention: mona}]\n",
            "4:35: rules.0.mention: warning: 'mona' has no slack id under `people`, so nobody is notified there",
        ),
        (
            "sources: {github: {type: github, secret: '${SECRET}'}}\n"
            "destinations: {a: {type: slack, url: https://hooks.slack.com/services/T1/B1/x}}\n",
            "2:38: destinations.a.url: warning: a secret is written in the file; put it into the environment and write",
        ),
    ],
)
def test_what_is_doubtful_is_a_warning(lines, text, told):
    found = lines(text)
    assert len(found) == bool(told)
    assert not told or found[0].startswith(f"config.yaml:{told}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("    match: {branch: main}\n", "7:5: rules.1: 'to' is missing: name a destination"),
        ("    to: []\n", "8:9: rules.1.to: the list is empty"),
        ("    to: team\n    to: bot\n", "9:5: rules.1.to: duplicate key, first at line 8"),
        (
            "    to: {destination: team, channel: '#x'}\n",
            "8:38: rules.1.to.channel: 'team' always posts to its own channel, only a destination with `token` and "
            "`channel` can choose",
        ),
        ("    to: team\n    match: {source: cirrus}\n", "9:21: rules.1.match.source: no source of type 'cirrus' is"),
        ("    to: team\n    template: run.md.j2\n", "9:15: rules.1.template: no template 'run.md.j2', write 'run'"),
        ("    to: team\n    mention: '@octocat'\n", "9:14: rules.1.mention: nobody named '@octocat' under "),
        ("    to: team\n    match: {if: durtion > 5}\n", "9:17: rules.1.match.if: unknown name 'durtion', did"),
        ("    to: team\n    match: {branch: '!main'}\n", "9:21: rules.1.match.branch: '!main': an exclamation mark "),
        (
            "    to: team\n    match: {branch: {not: [a, '/b(/']}}\n",
            "9:31: rules.1.match.branch.not.1: '/b(/' is no pattern",
        ),
        ("    to: team\n    match: {branch: '/a{99999999999}/'}\n", "9:21: rules.1.match.branch: this is no pattern"),
        (
            "    to: team\n    match: {if: 9**9**9**9 > 1}\n",
            "9:17: rules.1.match.if: calls and ** are not for conditions",
        ),
        ("    to: team\n    after: 3\n", "9:12: rules.1.after: write how many in a row: {failures: 3}"),
        ("    to: team\n    after: {failures: 1}\n", "9:23: rules.1.after.failures: write a number from 2 to 1,000"),
        ("    to: team\n    after: {failures: true}\n", "9:23: rules.1.after.failures: write a number from 2 to 1,000"),
        (
            "    to: team\n    flaky: ignored\n",
            "9:12: rules.1.flaky: 'ignored' is none of tell, ignore, did you mean 'ig",
        ),
        ("    to: team\n    mention_when: newly\n", "9:19: rules.1.mention_when: 'newly' is none of broken, still_f"),
        (
            "    to: team\n    hours: {from: 8:00, to: 18:00, zone: Europe/Olso}\n",
            "9:42: rules.1.hours.zone: there is no time zone 'Europe/Olso'",
        ),
    ],
)
def test_a_rule_that_cannot_be_says_why(rule, text, told):
    found = rule(text)
    assert len(found) == 1
    assert found[0].startswith(f"config.yaml:{told}")


def test_a_secret_written_in_the_file_is_not_shown(lines):
    text = _source("secret: 4f2a9c1e8b7d6a5f4e3d") + "x-note: xoxb-4f2a9c1e8b7d6a5f4e3d\n"
    assert len(lines(text)) == 2
    assert "4f2a9c1e8b7d6a5f4e3d" not in "".join(lines(text))


def test_a_file_full_of_problems_stops_at_two_hundred(lines):
    assert len(lines("".join(f"k{i}: 1\n" for i in range(5_000)))) == 200


def test_several_destinations_need_rules(lines):
    text = _source('secret: "${SECRET}"').replace("team: {", "a: {type: console}, b: {")
    example = "- {name: red main, match: {branch: main, change: [broken, fixed]}, to: a}"
    told = f"config.yaml:1:1: rules: write rules: which of a, b is told of what? for example `{example}`"
    assert lines(text) == [told]
    assert not lines(f"{text}\nrules:\n  {example}\n  - {{name: b, to: b}}")


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        ("    to: team\n", True),
        ("    to: team\n    match: {change: [broken, fixed]}\n", True),
        ("    to: team\n    match: {kind: pipeline, status: failure}\n", True),
        ("    to: bot\n    live: true\n", False),
        ("    to: [{destination: bot, live: true}, team]\n", True),
        ("    to: team\n    match: {change: fixed}\n", False),
        ("    to: team\n    match: {kind: task}\n", False),
        ("    to: team\n    match: {flaky: true}\n", False),
    ],
)
def test_a_rule_that_would_tell_half_of_what_is_flaky_is_warned_about(rule, text, warned):
    found = rule(f"    flaky: ignore\n{text}")
    assert [one.partition(", and that")[0] for one in found] == [
        "config.yaml:8:12: rules.1.flaky: warning: "
        "the failure is told before anybody knows that it passes when run again"
    ] * warned
    assert rule(f"    flaky: tell\n{text}") == []
