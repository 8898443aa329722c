"""Whatever the file holds, load returns a Config or raises ConfigError, and nothing else."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.config import load, watched_paths
from bridge.config.keys import EVENT, EXPECT, GOAL, MATCH, RULE, SERVER, SOURCE, TEST, TOP
from bridge.errors import ConfigError

QUICK = settings(
    max_examples=int(os.environ.get("EXAMPLES", "120")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

WORDS = ("version: 1", "sources:", "  github:", "    type: github", "    secret: ${S}", "rules:", "  - name: a")
MARKS = (
    "\t ",
    "- ",
    "? ",
    "x: &a",
    "<<: *a",
    "*a",
    "[",
    "{",
    "]",
    "}",
    "'",
    '"',
    "|",
    "> ",
    "#",
    ": ",
    "!t",
    "---",
    "...",
)
ODD = (
    "    match:",
    "      branch: *",
    "!!python/object:os.system x",
    "%YAML 1.2",
    "${",
    "$$",
    "\ufeff",
    "\x85",
    "\u2028",
)
LINES = st.sampled_from(WORDS) | st.sampled_from(MARKS) | st.sampled_from(ODD)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        ["github", "cirrus", "slack", "console", "gitlab", "a", "team", "${S}", "${NONE}", "${file:/}", "${file:\0}"]
    ),
    st.sampled_from(
        ["/(/", "/a{9999999999}/", "[[a]", "**", "broken", "failure", "pipeline", "author", "1/s", "9e9/s"]
    ),
    st.sampled_from(
        ["9" * 400 + "s", "9" * 400 + "MiB", "9" * 5000, "{{", "a if", "1/0", "repository.x.y", "x" * 3000]
    ),
    st.sampled_from(["(" * 1500, "/" + "(" * 1500 + "/", "true", "https://x.example", "https://[", "U024BE7LH", "*a"]),
)
OTHER_KEYS = ("url", "api_url", "rate", "timeout", "attempts", "not", "slack", "team", "github", "x-y", "", "<<")
KEYS = st.sampled_from(sorted({*TOP, *SERVER, *SOURCE, *RULE, *GOAL, *MATCH, *TEST, *EVENT, *EXPECT, *OTHER_KEYS}))
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


def _mapping(*keys: str) -> Any:
    return st.fixed_dictionaries({}, optional=dict.fromkeys(keys, TREES))


SHAPED = st.fixed_dictionaries(
    {},
    optional={
        "version": TREES,
        "include": TREES,
        "people_from": TREES,
        "groups": st.dictionaries(KEYS, TREES, max_size=2) | TREES,
        "server": _mapping(*SERVER) | TREES,
        "sources": st.dictionaries(KEYS, _mapping(*SOURCE), max_size=2) | TREES,
        "destinations": st.dictionaries(
            KEYS, _mapping("type", "url", "token", "channel", "api_url", "rate", "timeout", "attempts"), max_size=2
        ),
        "people": st.dictionaries(KEYS, _mapping("slack", "email", "also", "mention"), max_size=2) | TREES,
        "rules": st.lists(_mapping(*RULE) | st.fixed_dictionaries({"match": _mapping(*MATCH)}), max_size=2) | TREES,
        "tests": st.lists(_mapping(*TEST) | st.fixed_dictionaries({"event": _mapping(*EVENT)}), max_size=2) | TREES,
    },
)


def _load(data: bytes) -> None:
    with open("config.yaml", "wb") as file:
        file.write(data)
    told = "no problem"
    try:
        load(None, {"S": "hunter2secret"})
    except ConfigError as error:
        told = str(error)
    assert told
    assert "hunter2" not in told
    assert all(len(line) < 1_000 for line in told.splitlines())
    watched_paths(None, {})


@given(st.binary(max_size=200))
@QUICK
def test_any_bytes(data):
    _load(data)


@given(st.lists(LINES, max_size=12), st.sampled_from(["\n", " ", ""]))
@QUICK
def test_any_pieces_of_yaml(pieces, between):
    _load(between.join(pieces).encode())


@given(SHAPED)
@QUICK
def test_any_values_under_the_right_keys(tree):
    _load(json.dumps(tree).encode())


@given(st.text(max_size=60))
@QUICK
def test_any_text_of_the_variable(text):
    try:
        load(None, {"BRIDGE_CONFIG_YAML": text})
    except ConfigError:
        pass


@pytest.mark.parametrize(
    "text",
    [
        "a: " * 300_000,
        "- " * 300_000,
        "? " * 300_000,
        "&a " * 100_000,
        "[" * 500_000,
        "'" * 500_000,
        "\n" * 900_000,
        "x: {" + "a, " * 150_000 + "}",
        "x-a: &a [" + "1, " * 90_000 + "]\nx-b: [*a, *a]\n",
        "rules: [" + "{}, " * 100_000 + "]",
        "rules: [{name: a, match: {if: '" + "(" * 2_000 + "'}}]",
        "rules: [{name: a, to: b, match: {branch: '/" + "(" * 100_000 + "/'}}]",
        "k" * 900_000 + ": 1",
        "version: " + "1" * 900_000,
    ],
    ids=lambda text: text[:20].replace("\n", "_"),
)
def test_large_and_deep_files_end_soon_and_in_words(text):
    _load(text.encode())
