"""A broken file and everything that is said about it, in the order of the file."""

from __future__ import annotations

import pytest

BROKEN = """\
version: 2
sevrer: {}
server:
  public_url: bridge.example.com
  max_body: 25 potatoes
  retention: 0d
  trusted: 1
sources:
  "a b": {type: github, secret: "${SECRET}"}
  github: {type: gihub, secret: "${SECRET}"}
  lab: {type: gitlab, token: x}
  bare: {type: github}
  none:
  both: {type: cirrus, secret: "${SECRET}", unsigned: true}
  token: {type: cirrus, token: "${TOKEN}"}
  git: {secert: "${SECRET}"}
  cirrus: [1]
destinations:
  team: {type: slack}
  chat: {type: discord, url: "${URL}"}
  odd: {type: console, rate: fast, timeout: soon, attempts: 0, when_unsure: resent, chanel: x}
  count: {type: console, attempts: many}
  unset: {type: slack, url: "${NOT_SET}"}
people:
  octocat: {slack: "@octocat", slak: U1}
  nobody:
rules:
  - match: {branch: main}
    to: taem
  - name: one
    match: {source: [github, gitlab, githb, cirrus], brunch: main, label: []}
    to: [team, {destination: team, live: maybe, template: rum}, {channel: "#x"}, [team]]
    mention: [author, octocta]
    settle: 20s
  - name: one
    to: team
  - just text
  - name: two
    match: main
    stop: on
tests:
  - name: t
    event: {branch: main, status: failed, pull_request: x, draft: no, sourc: github}
    given: {change: broke}
    expect: {to: taem, rules: [won], none: false}
  - event: {}
    expect: {}
"""

TOLD = """\
1:10: version: this bridge reads version 1, write `version: 1`
2:1: sevrer: unknown key, did you mean 'server'?
4:15: server.public_url: write an address that begins with https:// or http://
5:13: server.max_body: '25 potatoes' is no size, write for example 25MiB
6:14: server.retention: write a duration of more than nothing and at most 3650d
7:3: server.trusted: unknown key, there are public_url, max_body, retention
9:3: sources.a b: a name has only letters, digits, `-`, `_` and `.`, at most 64
10:18: sources.github.type: unknown type 'gihub', did you mean 'github'?
11:15: sources.lab.type: 'gitlab' is not there yet, choose from cirrus, github
12:9: sources.bare: 'secret' is missing: write `secret: ${NAME}` (or `unsigned: true` to trust anyone)
13:8: sources.none: 'type' is missing, choose from cirrus, github
14:45: sources.both.unsigned: choose: a secret, or `unsigned: true` without one
15:25: sources.token.token: cirrus signs what it sends, write `secret` instead
16:8: sources.git: 'type' is missing, choose from cirrus, github
16:9: sources.git.secert: unknown key, did you mean 'secret'?
17:11: sources.cirrus: a list stands here, write `key: value` lines
19:9: destinations.team: give url (an incoming webhook), or token and channel (a bot)
20:16: destinations.chat.type: 'discord' is not there yet, choose from console, slack
21:30: destinations.odd.rate: 'fast' is no rate, write for example 1/s or 20/min
21:45: destinations.odd.timeout: 'soon' is no duration, write for example 20s, 5m or 24h
21:61: destinations.odd.attempts: write at least 1
21:77: destinations.odd.when_unsure: 'resent' is none of resend, drop, did you mean 'resend'?
21:85: destinations.odd.chanel: unknown key, there are type, rate, timeout, attempts, give_up_after, when_unsure
22:36: destinations.count.attempts: write a whole number
23:29: destinations.unset.url: environment variable NOT_SET is not set
25:20: people.octocat.slack: '@octocat' is no Slack ID, write the member ID (U024BE7LH): in Slack, the profile's ⋮ menu, Copy member ID
25:32: people.octocat.slak: unknown key, did you mean 'slack'?
28:5: rules.0: 'name' is missing: it is what `bridge explain` and the logs call the rule
29:9: rules.0.to: no destination named 'taem', did you mean 'team'?
31:30: rules.1.match.source.1: 'gitlab' is not there yet
31:38: rules.1.match.source.2: no source named 'githb', did you mean 'github'?
31:54: rules.1.match.brunch: unknown key, did you mean 'branch'?
31:75: rules.1.match.label: the list is empty
32:42: rules.1.to.1.live: write true or false
32:59: rules.1.to.1.template: no template 'rum', did you mean 'run'?
32:65: rules.1.to.2: 'destination' is missing: which one is this about?
32:82: rules.1.to.3: a list stands here, write text
33:23: rules.1.mention.1: nobody named 'octocta' under `people`, did you mean 'octocat'?
34:5: rules.1.settle: not yet: this version has no `settle`, remove it
35:11: rules.2.name: there is a rule 'one' at line 30 already, choose another name
37:5: rules.3: a rule is a mapping, it begins with `- name: ...`
38:5: rules.4: 'to' is missing: name a destination
39:12: rules.4.match: text stands here, write `key: value` lines
40:11: rules.4.stop: `on` is text in YAML 1.2, write true or false
43:35: tests.0.event.status: 'failed' is none of queued, waiting, running, success, failure, error, timeout, cancelled, skipped, unknown, did you mean 'failure'?
43:57: tests.0.event.pull_request: write a number
43:67: tests.0.event.draft: `no` is text in YAML 1.2, write true or false
43:71: tests.0.event.sourc: unknown key, did you mean 'source'?
44:21: tests.0.given.change: 'broke' is none of broken, still_failing, fixed, still_passing, did you mean 'broken'?
45:18: tests.0.expect.to: no destination named 'taem', did you mean 'team'?
45:32: tests.0.expect.rules.0: no rule named 'won', did you mean 'two'?
46:5: tests.1: 'name' is missing: what the test shows
47:13: tests.1.expect: nothing is expected: write `to`, `rules` or `none: true`
"""


def test_every_problem_is_told_at_once_in_the_order_of_the_file(lines):
    told = lines(BROKEN)
    assert "\n".join(line.removeprefix("config.yaml:") for line in told) + "\n" == TOLD


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
        ("    to: team\n    match: {source: cirrus}\n", "9:21: rules.1.match.source: no source of type 'cirrus' is configured"),
        ("    to: team\n    template: run.md.j2\n", "9:15: rules.1.template: no template 'run.md.j2', write 'run'"),
        ("    to: team\n    mention: '@octocat'\n", "9:14: rules.1.mention: nobody named '@octocat' under `people`, did you mean 'octocat'?"),
        ("    to: team\n    match: {if: durtion > 5}\n", "9:17: rules.1.match.if: unknown name 'durtion', did you mean 'duration'?"),
        ("    to: team\n    match: {branch: '!main'}\n", "9:21: rules.1.match.branch: '!main': an exclamation mark is not the way to exclude, write {not: \"main\"}"),
        ("    to: team\n    match: {branch: {not: [a, '/b(/']}}\n", "9:31: rules.1.match.branch.not.1: '/b(/' is no pattern: missing ), unterminated subpattern at position 1"),
        ("    to: team\n    match: {branch: '/a{99999999999}/'}\n", "9:21: rules.1.match.branch: this is no pattern or expression"),
        ("    to: team\n    match: {if: 9**9**9**9 > 1}\n", "9:17: rules.1.match.if: calls and ** are not for conditions, compare names and use filters"),
        ("    to: team\n    hours: {days: mon-fri}\n", "9:5: rules.1.hours: not yet: this version has no `hours`, remove it"),
    ],
)  # fmt: skip
def test_a_rule_that_cannot_be_says_why(rule, text, told):
    assert rule(text) == [f"config.yaml:{told}"]


def test_a_secret_written_in_the_file_is_not_shown(lines):
    text = _source("secret: 4f2a9c1e8b7d6a5f4e3d") + "x-note: xoxb-4f2a9c1e8b7d6a5f4e3d\n"
    assert len(lines(text)) == 2
    assert "4f2a9c1e8b7d6a5f4e3d" not in "".join(lines(text))


def test_a_file_full_of_problems_stops_at_two_hundred(lines):
    assert len(lines("".join(f"k{i}: 1\n" for i in range(5_000)))) == 200


def test_several_destinations_need_rules(lines):
    text = "sources: {github: {type: github, secret: '${SECRET}'}}\ndestinations: {a: {type: console}, b: {type: console}}\n"
    assert lines(text) == ["config.yaml:1:1: rules: write rules: which of a, b is told of what?"]
