"""`bridge test`: do tests of rules say what they should, of one event and of many, and which rules does none fire?"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bridge.cli import bridge
from bridge.config import load
from bridge.errors import ConfigError

DOCS = Path(__file__).parents[1] / "docs"
HEAD = """\
sources: {github: {type: github, secret: s}, gitlab: {type: gitlab, secret: t}}
destinations:
  builds: {type: console}
  team: {type: slack, token: t, channel: "#team"}
people: {octocat: {slack: U024BE7LH, email: octocat@example.com}}
rules:
  - {name: red, match: {branch: main, change: [broken, fixed]}, to: [builds, team], mention: author}
  - {name: live, match: {kind: pipeline, branch: "topic/**"}, to: builds, live: true}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BRIDGE_CONFIG", raising=False)
    monkeypatch.delenv("BRIDGE_CONFIG_YAML", raising=False)
    (tmp_path / "config.yaml").write_text(HEAD)
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(bridge, ["test", *words], catch_exceptions=False)


def faults(folder: Path, test: str) -> list[str]:
    """Return what one test, written without its name, finds wrong."""
    (folder / "one.yaml").write_text(f"tests:\n  - name: one\n{test}")
    found: list[Any] = json.loads(run("one.yaml", "--json").output)
    return list(found[0]["problems"])


STORY = """\
    event: {repository: acme/app, branch: main, author: octocat}
    events:
      - {number: 1, status: success}
      - {at: +5m, number: 2, status: failure, expect: {rules: red, messages: 2, mention: octocat}}
      - {at: +10m, number: 3, status: failure, expect: {none: true}}
      - {at: +1h, number: 4, status: success, expect: {to: [builds, team], mention: []}}
"""


def test_a_sequence_is_folded_with_what_came_before(folder: Path) -> None:
    assert faults(folder, STORY + "    expect: {messages: 4, rules: red}\n") == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("rules: red,", "rules: live,", "at +5 min: expected live to be matched, but it was not"),
        ("messages: 2", "messages: 1", "at +5 min: expected 1 messages, but there were 2"),
        ("mention: octocat", "mention: []", "at +5 min: octocat was mentioned, which was not expected"),
        ("mention: []", "mention: octocat", "at +1 h: expected octocat to be mentioned, but it was not"),
        ("{none: true}", "{to: team}", "at +10 min: expected team to be told, but it was not"),
        ("number: 3, status: failure", "number: 3, status: success", "at +10 min: expected that no rule matches"),
    ],
)
def test_what_is_expected_of_one_event_of_a_sequence_is_held_to_it(
    folder: Path, old: str, new: str, fault: str
) -> None:
    found = faults(folder, STORY.replace(old, new))
    assert any(one.startswith(fault) for one in found), found


def test_a_fault_names_the_line_of_its_event(folder: Path) -> None:
    (folder / "one.yaml").write_text(f"tests:\n  - name: one\n{STORY.replace('messages: 2', 'messages: 9')}")
    assert "one.yaml:6: at +5 min: expected 9 messages, but there were 2" in run("one.yaml").output


def test_a_living_message_is_one_message_whatever_the_run_comes_to(folder: Path) -> None:
    events = "[{status: queued}, {at: 1m, status: running}, {at: 2m, status: failure}]"
    test = f"    event: {{branch: topic/x, pipeline: build}}\n    events: {events}\n    expect: {{messages: 1}}\n"
    assert faults(folder, test) == []


def test_what_is_given_is_the_result_before_the_first(folder: Path) -> None:
    test = "    event: {branch: main}\n    given: {status: failure}\n    events: [{status: success}]\n"
    assert faults(folder, test + "    expect: {rules: red}\n") == []
    assert faults(folder, test.replace("failure", "success") + "    expect: {none: true}\n") == []


def test_each_text_has_to_stand_in_a_message(folder: Path) -> None:
    test = "    event: {branch: main, change: broken, pipeline: nightly, title: Count twice}\n    expect: {text: %s}\n"
    assert faults(folder, test % "[nightly, Count twice]") == []
    (fault,) = faults(folder, test % "[nightly, Count thrice]")
    assert fault.startswith("expected a message with 'Count thrice', but the titles were: ")


def test_no_message_is_expected_by_a_number_too(folder: Path) -> None:
    assert faults(folder, "    event: {branch: other, change: broken}\n    expect: {messages: 0, mention: []}\n") == []


# -- payloads ----------------------------------------------------------------------------------------------------------


def body(conclusion: str) -> str:
    return json.dumps(
        {
            "action": "completed",
            "workflow_run": {
                "id": 7,
                "name": "build",
                "run_number": 7,
                "run_attempt": 1,
                "status": "completed",
                "conclusion": conclusion,
                "head_branch": "main",
                "head_sha": "c0ffee",
                "event": "push",
            },
            "repository": {"full_name": "acme/app", "default_branch": "main"},
        }
    )


def test_a_payload_is_read_beside_its_file_and_its_fields_can_be_replaced(folder: Path) -> None:
    (folder / "mine").mkdir()
    (folder / "mine" / "red.json").write_text(body("failure"))
    tests = """\
tests:
  - {name: as it came, payload: red.json, event: {source: github}, expect: {rules: red}}
  - {name: elsewhere, payload: red.json, event: {branch: other}, expect: {none: true}}
  - name: twice
    events: [{payload: red.json}, {at: +1h, payload: red.json, number: 8, status: success}]
    expect: {none: true}
"""
    (folder / "mine" / "rules_test.yaml").write_text(tests)
    found = json.loads(run("mine/rules_test.yaml", "--json").output)
    assert [one["problems"] for one in found[:2]] == [[], []]
    assert found[2]["problems"] == ["expected that no rule matches, but red did"]


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("gone.json", "gone.json cannot be read: No such file or directory"),
        ("odd.json", "odd.json tells no event: "),
        ("ping.json", "ping.json tells no event: "),
    ],
)
def test_a_payload_that_tells_no_event_fails_its_test_in_words(folder: Path, name: str, fault: str) -> None:
    (folder / "odd.json").write_text("no JSON")
    (folder / "ping.json").write_text('{"zen": "Keep it logically awesome.", "hook_id": 1}')
    (found,) = faults(folder, f"    payload: {name}\n    expect: {{none: true}}\n")
    assert found.startswith(fault)


# -- coverage ----------------------------------------------------------------------------------------------------------


def test_coverage_names_the_rules_that_no_test_fires(folder: Path) -> None:
    (folder / "one.yaml").write_text(f"tests:\n  - name: one\n{STORY}")
    done = run("one.yaml", "--coverage")
    assert done.exit_code == 1
    assert done.output.splitlines()[-2:] == ["no test fires the rule: live", "1 of 2 rules are fired by tests"]
    assert json.loads(run("one.yaml", "--coverage", "--json").output)["unfired"] == ["live"]


def test_coverage_of_all_exits_0_and_counts_the_configuration_s_own_tests(folder: Path) -> None:
    (folder / "one.yaml").write_text(f"tests:\n  - name: one\n{STORY}")
    own = "tests: [{name: own, event: {branch: topic/x, status: running}, expect: {rules: live}}]\n"
    (folder / "config.yaml").write_text(HEAD + own)
    assert run("one.yaml", "--coverage").exit_code == 0
    assert run("one.yaml").output.splitlines() == ["ok    own", "ok    one", "2 passed, 0 failed"]


# -- files that are wrong ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("tests: [{name: a, event: {}, expect: {to: taem}}]", "1:43: tests.0.expect.to: no destination named 'taem'"),
        ("tests: [{name: a, expect: {to: team}}]", "1:9: tests.0: 'event' is missing"),
        ("tests: [{name: a, event: {}}]", "1:9: tests.0: 'expect' is missing"),
        ("tests: [{name: a, events: [{at: soon}], expect: {}}]", "tests.0.events.0.at: 'soon' is no duration"),
        ("tests: [{name: a, events: [{at: 9999w}]}]", "tests.0.events.0.at: a test lasts at most 3660 days"),
        ("tests: [{name: a, events: [{status: success}]}]", "1:9: tests.0: 'expect' is missing"),
        ("tests: [{name: a, events: []}]", "tests.0.events: the list is empty"),
        ("tests: [{name: a, events: [3]}]", "tests.0.events.0: text stands here"),
        ("tests: [{name: a, event: {}, expect: {messages: many}}]", "tests.0.expect.messages: write a number"),
        ("tests: [{name: a, event: {}, expect: {mention: nobody}}]", "no person named 'nobody'"),
        ("tests: [{name: a, payload: [], expect: {none: true}}]", "tests.0.payload: a list stands here"),
        ("rules: []", "1:1: rules: unknown key"),
        ("3", "write a list here"),
    ],
)
def test_what_is_wrong_in_a_file_of_tests_is_told_at_its_place(folder: Path, text: str, problem: str) -> None:
    from bridge.config.cases import read_cases

    (folder / "one.yaml").write_text(text)
    with pytest.raises(ConfigError) as raised:
        read_cases(folder / "one.yaml", load("config.yaml", {}))
    assert problem in str(raised.value)


def test_a_file_that_is_not_there_is_told_in_words(folder: Path) -> None:
    from bridge.config.cases import read_cases

    with pytest.raises(ConfigError, match=r"gone\.yaml:1:1: cannot be read: No such file"):
        read_cases(folder / "gone.yaml", load("config.yaml", {}))


# -- the page ----------------------------------------------------------------------------------------------------------


def test_the_examples_of_the_page_pass(folder: Path) -> None:
    page = (DOCS / "testing-rules.md").read_text("utf-8")
    config, *tests = re.findall(r"(?s)```yaml\n(.*?)```", page)
    (folder / "config.yaml").write_text(config)
    (folder / "payloads").mkdir()
    (folder / "payloads" / "red.json").write_text(body("failure"))
    for number, text in enumerate(tests):
        (folder / f"{number}.yaml").write_text(text)
    done = run(*(f"{number}.yaml" for number in range(len(tests))), "--coverage")
    assert (done.exit_code, tests != []) == (0, True), done.output


# -- digests

DIGEST = """\
  - {name: monday, match: {branch: main}, to: team, digest: {every: week, zone: Europe/Oslo}}
"""
WEEK = """\
    event: {repository: acme/app, branch: main}
    events:
      - {number: 1, status: success, expect: {messages: 0}}
      - {at: 2d, number: 2, status: failure, expect: {messages: %s, text: [broke, "monday: 1 broke"]}}
      - {at: %s, number: 3, status: success}
"""


def test_a_digest_on_monday_comes_of_the_event_before_it(folder: Path) -> None:
    (folder / "config.yaml").write_text(HEAD + DIGEST)
    assert faults(folder, WEEK % (3, "6d20h")) == [], "nine o'clock of the Monday after, in Oslo"
    assert faults(folder, WEEK % (3, "6d19h59m"))[0].startswith("at +2 d: expected 3 messages, but there were 2")


def test_a_week_without_a_result_has_no_digest_and_one_that_asks_for_it_has(folder: Path) -> None:
    (folder / "config.yaml").write_text(HEAD + DIGEST)
    quiet = """\
    event: {repository: acme/app, branch: main, status: queued}
    events: [{number: 1}, {at: 15d, number: 2}]
    expect: {messages: %s}
"""
    assert faults(folder, quiet % 0) == []
    (folder / "config.yaml").write_text((HEAD + DIGEST).replace("every: week", "every: week, when_empty: say"))
    assert faults(folder, quiet % 2) == []
