"""`${NAME}`, `${NAME:-default}`, `${file:...}` and `$$`."""

from __future__ import annotations

import pytest

from bridge.config import watched_paths

CHANNEL = """\
sources: {{github: {{type: github, secret: "${{SECRET}}"}}}}
destinations:
  team:
    type: slack
    token: ${{TOKEN}}
    channel: {channel}
"""


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("${NAME}", "builds"),
        ('"#${NAME}-${NAME}"', "#builds-builds"),
        ("${NOT_SET:-other}", "other"),
        ("${EMPTY:-other}", "other"),
        ("${NAME:-other}", "builds"),
        ("${NOT_SET:-a:-b $$ c}", "a:-b $$ c"),
        ('"$${NAME}"', "${NAME}"),
        ("a$b", "a$b"),
        ("a$$", "a$"),
        ("${file:name.txt}", "from a file"),
        ("${NASTY}", 'x: "y"\n- [z'),
        ("${NUMBER}", "0012"),
    ],
)
def test_a_reference_stands_for_its_value(loading, folder, written, value):
    (folder / "name.txt").write_text("from a file\n")
    environ = {
        "SECRET": "s", "TOKEN": "t", "NAME": "builds", "EMPTY": "", "NASTY": 'x: "y"\n- [z', "NUMBER": "0012",
    }  # fmt: skip
    config = loading(CHANNEL.format(channel=written), environ)
    assert config.destinations["team"].options.channel == value


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("${CHANEL}", "environment variable CHANEL is not set, did you mean 'CHANNEL'?"),
        ("${NOBODY}", "environment variable NOBODY is not set"),
        ('"${NAME"', "`${` is not closed with `}`; write $${ for the characters themselves"),
        ('"${}"', "write ${NAME}, ${NAME:-default} or ${file:/path}; $${ gives the characters themselves"),
        ('"${a b}"', "write ${NAME}, ${NAME:-default} or ${file:/path}; $${ gives the characters themselves"),
        ('"${A:-${B}}"', "write ${NAME}, ${NAME:-default} or ${file:/path}; $${ gives the characters themselves"),
        ("${file:none}", "there is no file none"),
        ("${file:.}", ". is no file"),
        ("${file:binary}", "binary is not UTF-8 text"),
        ("${file:large}", "large has more than 64 KiB, which is no secret"),
        ("${BYTES}", "environment variable BYTES is not UTF-8 text"),
    ],
)
def test_a_reference_without_a_value_is_told_at_its_place_alone(lines, folder, written, told):
    (folder / "binary").write_bytes(b"\xff\xfe")
    (folder / "large").write_bytes(b"x" * 70_000)
    environ = {"SECRET": "s", "TOKEN": "t", "CHANNEL": "c", "BYTES": "a\udcff"}
    assert lines(CHANNEL.format(channel=written), environ) == [f"config.yaml:6:14: destinations.team.channel: {told}"]


def test_an_empty_secret_is_refused(lines):
    text = 'sources: {github: {type: github, secret: "${EMPTY}"}}\ndestinations: {team: {type: console}}\n'
    assert lines(text) == ["config.yaml:1:42: sources.github.secret: ${EMPTY} is empty"]


def test_a_secret_that_may_be_empty_is_refused_when_it_is_the_only_one(lines):
    text = 'sources: {github: {type: github, secret: ["${NONE:-}"]}}\ndestinations: {team: {type: console}}\n'
    assert lines(text) == ["config.yaml:1:43: sources.github.secret.0: ${NONE:-} is empty"]


def test_the_old_secret_of_a_rotation_may_be_empty(loading):
    config = loading(
        'sources: {github: {type: github, secret: ["${SECRET}", "${OLD:-}"], api_token: "${NONE:-}"}}\n'
        "destinations: {team: {type: console}}\n"
    )
    assert config.sources["github"].secrets == ("s3cret-value",)
    assert config.sources["github"].api_token is None


@pytest.mark.parametrize(
    "text",
    [
        "server: {max_body: '${SECRET}', retention: '${SECRET}', public_url: '${SECRET}'}",
        "version: ${SECRET}",
        "rules: [{name: '${SECRET}', to: '${SECRET}', mention: '${SECRET}', live: '${SECRET}', template: '${SECRET}'}]",
        "rules: [{name: a, match: {status: '${SECRET}', if: '${SECRET}', branch: '!${SECRET}', draft: '${SECRET}'}}]",
        "sources: {a: {type: '${SECRET}', api_url: '${SECRET}'}}",
        "destinations: {a: {type: console, rate: '${SECRET}', timeout: '${SECRET}', when_unsure: '${SECRET}'}}",
        "destinations: {a: {type: slack, url: '${SECRET}'}}",
        "destinations: {a: {type: slack, token: 'x', channel: 'a', api_url: '${SECRET}', attempts: '${SECRET}'}}",
        "people: {a: {slack: '${SECRET}'}}",
        "tests: [{name: a, event: {status: '${SECRET}', source: '${SECRET}'}, expect: {to: '${SECRET}'}}]",
    ],
)
@pytest.mark.parametrize("value", ["hunter2", "/hunter2(/", "hunter2 ** {{", "hunter2\nhunter2" * 40])
def test_what_was_filled_in_is_never_shown(lines, text, value):
    told = lines(text, {"SECRET": value})
    assert told
    assert "hunter2" not in "\n".join(told)


def test_a_problem_with_what_was_filled_in_shows_the_reference(lines):
    text = CHANNEL.format(channel="c") + 'rules: [{name: a, to: "${WHERE}"}]\n'
    assert lines(text, {"SECRET": "s", "TOKEN": "t", "WHERE": "nowhere"}) == [
        "config.yaml:7:23: rules.0.to: no destination named '${WHERE}'"
    ]


def test_a_reload_watches_the_file_its_templates_and_its_secrets(loading, folder):
    (folder / "key").write_text("k")
    loading('sources: {github: {type: github, secret: "${file:key}"}}\ndestinations: {team: {type: console}}\n')
    watched = [path.name for path in watched_paths(None, {})]
    assert watched == ["config.yaml", "templates", "key"]


def test_a_reload_watches_a_file_that_is_not_there_yet():
    assert [path.name for path in watched_paths("later.yaml", {})] == ["later.yaml"]
