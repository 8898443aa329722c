"""`bridge check`, `schema`, `init` and `config pack`, as they are called."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from bridge.cli import COMMANDS
from bridge.cli.config import _annotation, check, config_group, init, schema
from bridge.config import load
from bridge.errors import Problem

RIGHT = """\
sources: {github: {type: github, secret: "${SECRET}"}}
destinations: {team: {type: console}, chat: {type: slack, url: "${URL}"}}
rules:
  - {name: a, to: [team, chat]}
  - {name: b, to: chat, match: {kind: [task, push]}}
"""


@pytest.fixture
def run(monkeypatch):
    for name in ("BRIDGE_CONFIG", "BRIDGE_CONFIG_YAML", "SLACK_WEBHOOK_URL", "DISCORD_WEBHOOK_URL", "WEBHOOK_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SECRET", "s")
    monkeypatch.setenv("URL", "https://hooks.example/T1")

    def run(command, *arguments: str) -> Result:
        return CliRunner().invoke(command, list(arguments))

    return run


def test_check_of_a_right_file_says_so_and_exits_0(run, folder):
    (folder / "config.yaml").write_text(RIGHT)
    done = run(check)
    assert (done.stdout, done.exit_code) == ("config.yaml is fine: 1 source, 2 destinations, 2 rules\n", 0)


def test_check_of_a_wrong_file_prints_every_problem_and_exits_2(run, folder):
    (folder / "mine.yaml").write_text(RIGHT.replace("[team, chat]", "[taem, chta]"))
    done = run(check, "--config", "mine.yaml")
    assert done.exit_code == 2
    assert done.stdout == (
        "mine.yaml:4:20: rules.0.to.0: no destination named 'taem', did you mean 'team'?\n"
        "mine.yaml:4:26: rules.0.to.1: no destination named 'chta', did you mean 'chat'?\n"
    )


def test_check_prints_warnings_and_exits_0(run, folder):
    (folder / "config.yaml").write_text(RIGHT.replace("[team, chat]", "[chat]"))
    done = run(check)
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "config.yaml:2:16: destinations.team: warning: no rule sends to this destination",
        "config.yaml is fine: 1 source, 2 destinations, 2 rules",
    ]


def test_check_prints_json(run, folder):
    (folder / "config.yaml").write_text(RIGHT.replace("[team, chat]", "team, lvie: 1"))
    done = run(check, "--json")
    assert done.exit_code == 2
    assert json.loads(done.stdout) == [
        {
            "file": "config.yaml",
            "line": 4,
            "column": 25,
            "path": "rules.0.lvie",
            "text": "unknown key, did you mean 'live'?",
            "warning": False,
        }
    ]


def test_check_of_a_right_file_prints_an_empty_json_array(run, folder):
    (folder / "config.yaml").write_text(RIGHT)
    assert json.loads(run(check, "--json").stdout) == []


def test_check_without_any_configuration_says_what_to_do(run):
    done = run(check)
    assert done.exit_code == 2
    assert "`bridge init` writes one to start from" in done.stdout


@pytest.mark.parametrize(
    ("template", "line"),
    [("a\n\n{{ repositry }}\n", 3), ("a\n{% if %}\n", 2), ("{{ title|shout }}\n", 1), ("\n{{ task.nam.x }}\n", 2)],
)
def test_check_tells_what_is_wrong_with_a_template_at_its_line(run, folder, template, line):
    (folder / "templates").mkdir()
    (folder / "templates" / "own.md.j2").write_text(template)
    (folder / "config.yaml").write_text(RIGHT)
    done = run(check)
    assert done.exit_code == 2
    assert done.stdout.startswith(f"templates/own.md.j2:{line}:1: ")


def test_check_renders_what_the_rules_send(run, folder):
    (folder / "templates" / "slack").mkdir(parents=True)
    (folder / "templates" / "slack" / "own.json.j2").write_text('{"text": {{ title }}}')
    (folder / "config.yaml").write_text(RIGHT.replace("to: chat", "to: chat, template: own"))
    done = run(check)
    assert done.exit_code == 2
    assert done.stdout.startswith("templates/slack/own.json.j2:1:1: ")


def test_init_writes_a_configuration_that_is_right(run, folder):
    done = run(init)
    assert done.exit_code == 0
    written = (folder / "config.yaml").read_text()
    assert written.startswith("# yaml-language-server: $schema=./bridge.schema.json\n")
    assert json.loads((folder / "bridge.schema.json").read_text())["title"] == "bridge configuration"
    assert not load(None, {"WEBHOOK_SECRET": "s", "SLACK_WEBHOOK_URL": "https://hooks.example/T1"}).warnings


def test_init_overwrites_nothing(run, folder):
    (folder / "config.yaml").write_text("mine")
    done = run(init)
    assert done.exit_code == 1
    assert (folder / "config.yaml").read_text() == "mine"
    assert not (folder / "bridge.schema.json").exists()


def test_init_leaves_a_schema_that_is_there(run, folder):
    (folder / "bridge.schema.json").write_text("mine")
    assert run(init, "other.yaml").exit_code == 0
    assert (folder / "bridge.schema.json").read_text() == "mine"


def test_init_into_a_folder_that_is_not_there_says_so(run):
    done = run(init, "none/config.yaml")
    assert done.exit_code == 1
    assert "cannot write none/config.yaml" in done.stderr


def test_pack_prints_what_the_variable_takes(run, folder):
    (folder / "config.yaml").write_text(RIGHT)
    packed = run(config_group, "pack").stdout
    assert len(packed.splitlines()) == 1
    (folder / "config.yaml").unlink()
    environ = {"SECRET": "s", "URL": "https://hooks.example/T1", "BRIDGE_CONFIG_YAML": packed}
    assert list(load(None, environ).destinations) == ["team", "chat"]


def test_pack_says_that_templates_stay_behind(run, folder):
    (folder / "config.yaml").write_text(RIGHT)
    (folder / "templates").mkdir()
    assert "templates/ does not travel along" in run(config_group, "pack", "config.yaml").stderr


def test_schema_prints_json(run):
    assert json.loads(run(schema).stdout)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_check_prints_annotations_for_a_workflow(run, folder):
    (folder / "config.yaml").write_text(RIGHT.replace("[team, chat]", "[taem, chat]"))
    done = run(check, "--format", "github")
    assert done.exit_code == 2
    told = "rules.0.to.0: no destination named 'taem', did you mean 'team'?"
    assert done.stdout.splitlines() == [f"::error file=config.yaml,line=4,col=20::{told}"]


def test_check_annotates_a_warning_as_one_and_exits_0(run, folder):
    (folder / "config.yaml").write_text(RIGHT.replace("[team, chat]", "[chat]"))
    done = run(check, "--format", "github", "--config", str(folder / "config.yaml"))
    assert done.exit_code == 0
    assert done.stdout.startswith("::warning file=config.yaml,line=2,col=16::destinations.team: no rule")


def test_an_annotation_ends_no_line_and_no_property_early():
    problem = Problem("a,b:c.yaml", 1, 2, "", "100%\n::stop-commands::x")
    said = "::error file=a%2Cb%3Ac.yaml,line=1,col=2::100%25%0A::stop-commands::x"
    assert _annotation(problem) == said


WORKFLOW = re.search(r"(?s)```yaml\n(.*?)```", (Path(__file__).parents[2] / "docs/ci.md").read_text("utf-8"))


def test_the_workflow_in_the_docs_runs_commands_that_are_there():
    assert WORKFLOW
    steps = yaml.safe_load(WORKFLOW[1])["jobs"]["check"]["steps"]
    called = [word for step in steps for word in re.findall(r"bridge ([a-z]+)", step.get("run", ""))]
    assert {"check", "test", "backtest"} <= set(called) <= set(COMMANDS)
    checks = [step["run"] for step in steps if "bridge check" in step.get("run", "")]
    assert [line for line in checks if "--format github" in line] == checks
