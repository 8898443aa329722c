"""What YAML does to people who do not expect it, told in plain words."""

from __future__ import annotations

import time

import pytest

from bridge.config.yaml import MAX_NODES
from bridge.event import Event, Kind
from bridge.route import judge

QUOTE = "put quotes around a value that begins with * & ! @ ` % | > or {{"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "    to: #general\n",
            '8:8: rules.1.to: nothing is written here: did `#general` become a comment? put it in quotes: "#general"',
        ),
        (
            "    to: [team, #general]\n",
            "8:9: the `[` that begins here is not closed with `]`: did `#…` become a comment? put it in quotes",
        ),
        ("    to: team\n    match: {branch: *}\n", f"9:21: {QUOTE}"),
        ("    to: team\n    match: {branch: **/x}\n", f"9:21: {QUOTE}"),
        ("    to: team\n    match: {author: {not: *[bot]}}\n", f"9:27: {QUOTE}"),
        (
            "    to: team\n    match: {branch: *-wip}\n",
            '9:21: rules.1.match.branch: there is no anchor `&-wip`; put a value that begins with * in quotes: "*-wip"',
        ),
        ("    to: team\n    mention: @octocat\n", f"9:14: {QUOTE}"),
        (
            "    to: team\n    template: {{ x }}\n",
            "9:16: rules.1.template: a key is plain text; put a value that begins with {{ or [ in quotes",
        ),
        ("    to: team\n    match: {branch: !main}\n", f"9:21: {QUOTE}"),
        (
            "    to: team\n    match: {branch: [!main , x]}\n",
            "9:22: rules.1.match.branch.0: `!main` is a YAML tag, which means nothing here; put a value that begins "
            'with ! in quotes, or write {not: "main"} to exclude',
        ),
        ("    to: team\n    match: {if: > 600}\n", f"9:17: {QUOTE}"),
        ("    to:\n\t- team\n", "9:1: a tab cannot indent YAML, use spaces"),
        ("    to: team: x\n", "8:13: a second `: ` in one line: put the value in quotes"),
        ("    to: - team\n", "8:9: a list that is written with - begins on a line of its own"),
        ('    to: "team\n', "8:9: the quote that begins here is never closed"),
        ('    to: "team" x\n', "8:16: text goes on after the closing quote; quote the whole value"),
        (
            '    to: team\n    match: {branch: "/v\\d+/"}\n',
            "9:24: a backslash in \"double quotes\" begins an escape, use 'single quotes' for a pattern",
        ),
        (
            "    to: team\n    match: {branch: [main, x}\n",
            "9:21: the `[` that begins here is not closed with `]`, or a value in it needs quotes",
        ),
        (
            "    to: [team, ${TEAM}]\n",
            "8:9: the `[` that begins here is not closed with `]`: ${NAME} needs quotes within [ ] and { }",
        ),
        (
            "    to: team\n   live: true\n",
            "9:4: this does not fit what stands before it, look at the indentation of this line and those above",
        ),
        ("    to: team\n    live: yes\n", "9:11: rules.1.live: `yes` is text in YAML 1.2, write true or false"),
        ("    to: team\n    on: push\n", "9:5: rules.1.on: unknown key, did you mean 'match'?"),
        (
            "    to: team\n    match: {branch: ~}\n",
            "9:21: rules.1.match.branch: nothing is written here; a value that begins with # or * needs quotes, and "
            "null is no value",
        ),
    ],
)
def test_traps_are_told_in_plain_words(rule, text, told):
    assert rule(text) == [f"config.yaml:{told}"]


@pytest.mark.parametrize("branch", ["1.10", "012", "09:30", "no", "on", "2026-01-01", "0x1F", "true", "1e3", "007"])
def test_what_looks_like_something_else_is_text_where_text_is_wanted(loading, branch):
    config = loading(
        f'sources: {{github: {{type: github, secret: "${{SECRET}}"}}}}\ndestinations: {{team: {{type: console}}}}\n'
        f"rules: [{{name: a, to: team, match: {{branch: {branch}}}}}]"
    )
    event = Event(source="github", type="github", kind=Kind.PIPELINE, branch=branch)
    assert judge(config.rules[0], event).matched


def test_numbers_and_flags_keep_their_types(loading):
    config = loading(
        'sources: {github: {type: github, secret: "${SECRET}"}}\ndestinations: {team: {type: console}}\n'
        "rules: [{name: a, to: team, match: {pull_request: 12, draft: true, fork: false}}]"
    )
    event = Event(source="github", type="github", kind=Kind.PIPELINE, pull_request=12, draft=True, fork=False)
    assert judge(config.rules[0], event).matched
    assert not judge(config.rules[0], event.with_(pull_request=13)).matched


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "1:1: the file is empty, `bridge init` writes one to start from"),
        ("# only\n\n---\n  # comments\n", "1:1: the file is empty, `bridge init` writes one to start from"),
        (b"version: 1\nx-\xff: 1\n", "2:3: this is not UTF-8, save the file as UTF-8"),
        ("version: 1\nx-a: \x00\n", "2:6: the character U+0000 cannot stand in YAML, remove it"),
        ("version: 1\n---\nversion: 1\n", "2:1: one file is one document, remove this `---`"),
        ("%YAML 1.3\n---\nversion: 1\n", "1:1: this is YAML 1.2, remove the %YAML line"),
        (
            "- version: 1\n",
            "1:1: a configuration is a mapping: it begins with `version: 1` and has `sources:`, "
            "`destinations:`, `rules:`",
        ),
        ("x-a: &a [1, *a]\n", "1:13: x-a.1: `*a` stands within itself"),
        ("x-a: &a {b: {c: *a}}\n", "1:17: x-a.b.c: `*a` stands within itself"),
        ("? [a]\n: b\n", "1:3: a key is plain text; put a value that begins with {{ or [ in quotes"),
        ("x-a: " + "[" * 200_000, "1:56: nested more than 50 levels deep"),
        ("x-a: " + "{a: " * 100_000, "1:203: nested more than 50 levels deep"),
        ("x-a: " + "x" * 1024 * 1024, "1:1: a configuration has at most 1 MiB"),
    ],
)
def test_files_that_are_no_configuration_are_told_in_plain_words(lines, text, told):
    assert lines(text) == [f"config.yaml:{told}"]


def test_an_alias_bomb_ends_at_the_node_limit(lines):
    bomb = "x-0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"x-{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
    )
    began = time.perf_counter()
    assert [line.partition(": ")[2] for line in lines(bomb)] == [f"more than {MAX_NODES:,} values, aliases included"]
    assert time.perf_counter() - began < 5


def test_a_duplicate_key_is_told_with_both_lines(lines):
    text = "version: 1\nsources: {}\ndestinations: {}\nsources: {}\n"
    assert "config.yaml:4:1: sources: duplicate key, first at line 2" in lines(text)


def test_byte_order_mark_and_windows_line_ends_change_nothing(lines):
    text = b"\xef\xbb\xbfversion: 1\r\nsources:\r\n  github:\r\n    tpye: github\r\n"
    assert lines(text)[-1] == "config.yaml:4:5: sources.github.tpye: unknown key, did you mean 'type'?"


def test_anchors_aliases_and_merges_work(loading):
    config = loading("""\
x-slack: &slack {type: slack, token: "${TOKEN}"}
x-kept: {secret: "${NOBODY_SETS_THIS}"}
sources: {github: {type: github, secret: "${SECRET}"}}
destinations:
  one: {<<: *slack, channel: "#one"}
  two: {<<: [{channel: "#two"}, *slack, {channel: "#never"}]}
rules: [{name: a, to: [one, two]}]
""")
    assert [place.options.channel for place in config.destinations.values()] == ["#one", "#two"]


def test_a_merge_takes_only_mappings(lines):
    assert "config.yaml:1:11: x-a.<<: `<<` takes a mapping, or a list of mappings" in lines("x-a: {<<: 1}\n")
