"""`include`: rules in files of their own."""

from __future__ import annotations

import base64
import gzip
import json

import pytest
from click.testing import CliRunner

from bridge.cli.config import config_group
from bridge.config import load, watched_paths
from bridge.config.trial import trial
from bridge.errors import ConfigError
from tests.altered import replace
from tests.config.conftest import ENVIRON, HEAD

MAIN = f"{HEAD}include: [rules/*.yaml]\n"


@pytest.fixture
def rules(folder):
    """Write files under rules/."""
    (folder / "rules").mkdir()

    def rules(**texts: str) -> None:
        for name, text in texts.items():
            (folder / "rules" / f"{name}.yaml").write_text(text)

    return rules


def test_the_rules_of_files_follow_in_the_order_of_their_names(loading, rules):
    rules(b="- {name: three, to: team}\n", a="- {name: one, to: team}\n- {name: two, to: bot}\n")
    assert [rule.name for rule in loading(MAIN).rules] == ["all", "one", "two", "three"]


def test_a_file_that_fits_twice_is_read_once(loading, rules):
    rules(a="- {name: one, to: team}\n")
    text = MAIN.replace("[rules/*.yaml]", "[rules/a.yaml, rules/*.yaml]")
    assert [rule.name for rule in loading(text).rules] == ["all", "one"]


def test_a_problem_is_told_at_its_place_in_its_file(lines, rules):
    rules(a="- {name: one, to: team}\n- name: two\n  to: taem\n", b="- {name: three, match: {brnch: x}, to: bot}\n")
    assert lines(MAIN) == [
        "rules/a.yaml:3:7: rules.1.to: no destination named 'taem', did you mean 'team'?",
        "rules/b.yaml:1:25: rules.0.match.brnch: unknown key, did you mean 'branch'?",
    ]


def test_names_are_unique_over_all_files(lines, rules):
    rules(a="- {name: one, to: team}\n- {name: all, to: team}\n", b="\n- {name: one, to: bot}\n")
    assert lines(MAIN) == [
        "rules/a.yaml:2:10: rules.1.name: there is a rule 'all' in config.yaml, line 6, already, choose another name",
        "rules/b.yaml:2:10: rules.0.name: there is a rule 'one' in rules/a.yaml, line 1, already, choose another name",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: one\nto: team\n", "rules/a.yaml:1:1: rules: write a list here, each item begins with `- name: ...`"),
        ("", "rules/a.yaml:1:1: the file is empty, write something or remove it"),
        ("- {name: one", "rules/a.yaml:1:3: "),
        ("- {name: one, to: '${NONE}'}", "rules/a.yaml:1:19: rules.0.to: environment variable NONE is not set"),
        ("- 7", "rules/a.yaml:1:3: rules.0: a rule is a mapping, it begins with `- name: ...`"),
    ],
)
def test_what_is_no_list_of_rules_is_told(lines, rules, text, told):
    rules(a=text)
    assert [line[: len(told)] for line in lines(MAIN)] == [told]


@pytest.mark.parametrize("named", ["rules/none.yaml", "ruls/*.yaml", '"\\0"', "rules"])
def test_what_fits_no_file_is_told_where_it_is_named(lines, rules, named):
    rules()
    told = lines(MAIN.replace("[rules/*.yaml]", named))
    start = "config.yaml:7:10: include: there is no file '"
    assert [line[: len(start)] for line in told] == [start]


def test_a_file_of_rules_that_is_no_text_is_told(lines, folder):
    (folder / "rules").mkdir()
    (folder / "rules" / "a.yaml").write_bytes(b"- \xff")
    assert lines(MAIN) == ["rules/a.yaml:1:3: this is not UTF-8, save the file as UTF-8"]


def test_included_rules_are_rules_enough_for_several_destinations(loading, rules):
    rules(a="- {name: one, to: [team, bot]}\n")
    text = MAIN.replace("rules:\n  - {name: all, to: [team, bot]}\n", "")
    assert [rule.name for rule in loading(text).rules] == ["one"]


def test_paths_are_relative_to_the_configuration(folder, rules):
    (folder / "etc" / "rules").mkdir(parents=True)
    (folder / "etc" / "config.yaml").write_text(MAIN)
    (folder / "etc" / "rules" / "a.yaml").write_text("- {name: one, to: taem}\n")
    with pytest.raises(ConfigError, match=r"^etc/rules/a\.yaml:1:19: "):
        load("etc/config.yaml", ENVIRON)


def test_a_secret_written_in_such_a_file_is_warned_about(lines, rules):
    rules(a="- {name: xoxb-12345, to: team}\n")
    assert [line.split(" a secret")[0] for line in lines(MAIN)] == ["rules/a.yaml:1:10: rules.0.name: warning:"]


def test_what_a_rule_cannot_render_is_told_at_the_rule(loading, rules):
    rules(a="- {name: one, to: team}\n", b="- {name: two, to: team}\n- {name: three, template: gone, to: bot}\n")
    with pytest.raises(ConfigError, match=r"rules/b\.yaml:2:27: rules\.1\.template: no template 'gone'"):
        loading(MAIN)
    rules(b="- {name: two, to: team}\n- {name: three, template: task, to: bot}\n")
    config = loading(MAIN)
    broken = replace(config, templates={name: text for name, text in config.templates.items() if name != "task.md.j2"})
    found = {(problem.file, problem.line, problem.path) for problem in trial(broken)}
    assert found == {("rules/b.yaml", 2, "rules.1")}


def test_a_reload_watches_the_files_those_to_come_and_their_secrets(loading, rules, folder):
    rules(a="- {name: one, to: team, if: '${file:word}'}\n")
    (folder / "config.yaml").write_text(MAIN.replace("[rules/*.yaml]", "[rules/*.yaml, more.yaml]"))
    watched = {path.as_posix() for path in watched_paths(None, ENVIRON)}
    assert watched == {"config.yaml", "templates", "rules/a.yaml", "more.yaml", "word"}


def test_pack_takes_them_along(loading, rules, monkeypatch, folder):
    rules(
        a='- name: "a: \\"quoted\\" \\u2028 \\U0001F600 # name"\n  match: {pull_request: 7, branch: 1.10, tag: "7"}\n'
        "  to: [team, {destination: bot, live: true}]\n",
        b="- name: two\n  match:\n    author: '${NOBODY:-x}'\n"
        "    if: |-\n      duration > 600\n      and attempt == 1\n"
        "  to: team\n",
    )
    unpacked = loading(MAIN)
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    packed = CliRunner().invoke(config_group, ["pack"]).stdout.strip()
    assert b"${SECRET}" in gzip.decompress(base64.b64decode(packed))
    (folder / "config.yaml").unlink()
    (folder / "rules" / "a.yaml").unlink()
    loaded = load(None, {**ENVIRON, "BRIDGE_CONFIG_YAML": packed})
    assert loaded.rules == unpacked.rules
    assert loaded.destinations == unpacked.destinations
    assert loaded.sources == unpacked.sources


def test_pack_refuses_what_it_cannot_take_along(folder):
    (folder / "config.yaml").write_text(MAIN)
    done = CliRunner().invoke(config_group, ["pack"])
    assert isinstance(done.exception, ConfigError)
    assert json.dumps(str(done.exception)).startswith('"config.yaml:7:11: include.0: there is no file')
