"""Where the configuration is looked for, and what comes of a right one."""

from __future__ import annotations

import base64
import gzip
import shutil
import subprocess
import sys
import tracemalloc
from datetime import timedelta
from pathlib import Path

import pytest

from bridge.config import load
from bridge.destinations import DESTINATIONS
from bridge.errors import ConfigError
from bridge.event import Change, Event, Kind
from bridge.route import Goal, route

ROOT = Path(__file__).parents[2]
WHOLE = (Path(__file__).parent / "whole.yaml").read_text()


def _named(name: str) -> str:
    return (
        f'sources: {{github: {{type: github, secret: "${{SECRET}}"}}}}\ndestinations: {{{name}: {{type: console}}}}\n'
    )


def _destination(path: str | None, **environ: str) -> str:
    return next(iter(load(path, {"SECRET": "s", **environ}).destinations))


@pytest.fixture
def everywhere(folder):
    for name in ("config", "option", "variable"):
        (folder / f"{name}.yaml").write_text(_named(name))
    return {
        "BRIDGE_CONFIG": "variable.yaml",
        "BRIDGE_CONFIG_YAML": _named("whole"),
        "SLACK_WEBHOOK_URL": "https://x.example",
    }


def test_the_option_wins(everywhere):
    assert _destination("option.yaml", **everywhere) == "option"


def test_then_the_variable_with_a_path(everywhere):
    assert _destination(None, **everywhere) == "variable"


def test_then_the_variable_with_the_whole_text_and_a_warning_about_the_file(everywhere):
    del everywhere["BRIDGE_CONFIG"]
    config = load(None, {"SECRET": "s", **everywhere})
    assert list(config.destinations) == ["whole"]
    assert [str(warning) for warning in config.warnings] == [
        "BRIDGE_CONFIG_YAML:1:1: warning: both this variable and ./config.yaml are there, the variable is used"
    ]


def test_then_the_file(everywhere):
    assert (
        _destination(None, SLACK_WEBHOOK_URL="https://x.example", BRIDGE_CONFIG="", BRIDGE_CONFIG_YAML="") == "config"
    )


def test_then_a_starter_from_the_environment():
    config = load(None, {"SLACK_WEBHOOK_URL": "https://hooks.example/T1", "WEBHOOK_SECRET": "s"})
    assert config.starter
    assert {source.type: source.secrets for source in config.sources.values()} == {"github": ("s",), "cirrus": ("s",)}
    assert config.secrets == {"s", "https://hooks.example/T1"}
    assert not config.warnings


@pytest.mark.parametrize(
    ("branch", "default", "pull_request", "told"),
    [("main", "main", None, 1), ("x", "main", None, 0), ("x", None, None, 1), ("main", "main", 7, 0)],
)
@pytest.mark.parametrize("text", [None, _named("only")])
def test_without_rules_broken_and_fixed_on_the_default_branch_are_told(
    loading, text, branch, default, pull_request, told
):
    if text:
        config = loading(text, {"SECRET": "s"})
    else:
        config = load(None, {"SLACK_WEBHOOK_URL": "https://hooks.example/T1", "WEBHOOK_SECRET": "s"})
    event = Event(source="github", type="github", kind=Kind.PIPELINE, branch=branch, default_branch=default)
    event = event.with_(pull_request=pull_request)
    assert len(route(config.rules, event.with_(change=Change.BROKEN)).targets) == told
    assert len(route(config.rules, event.with_(change=Change.FIXED)).targets) == told
    assert not route(config.rules, event.with_(change=Change.STILL_FAILING)).targets


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({}, "there is no configuration: `bridge init` writes one to start from, --config or BRIDGE_CONFIG names one"),
        ({"SLACK_WEBHOOK_URL": "https://x.example"}, "set WEBHOOK_SECRET too: the secret with"),
        ({"BRIDGE_CONFIG": "none.yaml"}, "none.yaml:1:1: there is no such file"),
        ({"BRIDGE_CONFIG": "."}, ".:1:1: this is a folder, name the file in it: config.yaml"),
        ({"BRIDGE_CONFIG": "a\0b"}, "cannot be read"),
        ({"BRIDGE_CONFIG_YAML": "H4sIAAAA"}, "the end is missing, copy all of what `bridge config pack` prints"),
        ({"BRIDGE_CONFIG_YAML": "H4sI!!"}, "this is not what `bridge config pack` prints, copy all of it"),
        ({"BRIDGE_CONFIG_YAML": "a: \udcff"}, "this is not UTF-8"),
    ],
)  # fmt: skip
def test_where_nothing_can_be_loaded_the_error_says_what_to_do(environ, told):
    with pytest.raises(ConfigError) as caught:
        load(None, environ)
    assert told in str(caught.value)


def test_the_starter_tells_every_chat_whose_address_is_set():
    environ = {"SLACK_WEBHOOK_URL": "https://hooks.example/T1", "WEBHOOK_SECRET": "s"}
    environ["DISCORD_WEBHOOK_URL"] = "https://discord.com/api/webhooks/1234567890/abc"
    if "discord" not in DESTINATIONS:
        with pytest.raises(ConfigError, match="not yet: this version cannot post to discord"):
            load(None, environ)
        return
    (rule,) = load(None, environ).rules
    assert [goal.destination for goal in rule.to] == ["slack", "discord"]


def test_the_variable_may_hold_what_config_pack_prints(folder):
    packed = base64.b64encode(gzip.compress(_named("packed").encode())).decode()
    wrapped = "\n".join(packed[i : i + 60] for i in range(0, len(packed), 60))
    assert _destination(None, BRIDGE_CONFIG_YAML=wrapped) == "packed"


def test_a_packed_bomb_is_refused_without_unpacking_it():
    packed = base64.b64encode(gzip.compress(b"# " + b"x" * 50_000_000)).decode()
    tracemalloc.start()
    try:
        with pytest.raises(ConfigError, match="at most 1 MiB"):
            load(None, {"BRIDGE_CONFIG_YAML": packed})
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_own_templates_come_before_the_shipped_ones(loading, folder):
    (folder / "templates" / "slack").mkdir(parents=True)
    (folder / "templates" / "run.md.j2").write_text("mine")
    (folder / "templates" / "slack" / "run.json.j2").write_text("{}")
    config = loading(_named("team"))
    assert config.templates["run.md.j2"] == "mine"
    assert config.templates["slack/run.json.j2"] == "{}"
    assert config.templates["task.md.j2"] == (ROOT / "templates" / "task.md.j2").read_text()


def test_a_copy_of_the_shipped_templates_changes_nothing(loading, folder):
    shipped = loading(_named("team")).templates
    shutil.copytree(ROOT / "templates", folder / "templates")
    assert loading(_named("team")).templates == shipped


def test_templates_lie_beside_the_file_wherever_that_is(folder):
    (folder / "there" / "templates").mkdir(parents=True)
    (folder / "there" / "templates" / "own.md.j2").write_text("mine")
    (folder / "there" / "config.yaml").write_text(_named("team"))
    config = load("there/config.yaml", {"SECRET": "s"})
    assert config.templates["own.md.j2"] == "mine"
    assert config.folder == Path("there")


def test_templates_that_cannot_be_read_are_told_by_name(lines, folder):
    (folder / "templates").mkdir()
    (folder / "templates" / "bad.md.j2").write_bytes(b"\xff")
    (folder / "templates" / "large.md.j2").write_bytes(b"x" * 300_000)
    (folder / "templates" / "odd.j2").write_text("x")
    assert lines(_named("team")) == [
        "templates/bad.md.j2:1:1: this is not UTF-8, save the file as UTF-8",
        "templates/large.md.j2:1:1: a template has at most 256 KiB",
        "templates/odd.j2:1:1: warning: not used: a template is called NAME.md.j2, or slack/NAME.json.j2",
    ]


@pytest.fixture
def config(loading):
    names = ("CIRRUS_WEBHOOK_SECRET", "GITHUB_SECRET", "GITHUB_SECRET_OLD", "SLACK_BOT_TOKEN")
    environ = {name: f"xoxb-{name.lower()}" for name in names}
    return loading(WHOLE, environ | {"SLACK_WEBHOOK_URL": "https://hooks.example/T1"})


def test_the_server_section_is_read(config):
    assert config.server.public_url == "https://bridge.example.com"
    assert config.server.max_body == 1024 * 1024
    assert config.server.retention == timedelta(days=7)


def test_sources_are_read(config):
    assert config.sources["cirrus"].api_token is None
    assert config.sources["github"].secrets == ("xoxb-github_secret", "xoxb-github_secret_old")


def test_people_keep_ids_that_look_like_numbers(config):
    assert config.people["octocat"].ids == {
        "slack": "U024BE7LH",
        "discord": "80351110224678912",
        "email": "octocat@example.com",
    }


def test_rules_say_for_all_destinations_what_one_may_override(config):
    assert config.rules[0].to == (
        Goal(destination="builds", mention=("author",)),
        Goal(destination="oncall", template="task", mention=("octocat",), mention_when=(Change.BROKEN, Change.FIXED)),
    )
    assert config.rules[1].to == (Goal(destination="builds", channel="#live", live=True, thread=True),)
    assert [rule.stop for rule in config.rules] == [False, True]
    assert config.rule_lines == {"main is broken or fixed": 25, "every run, one living message": 32}


def test_tests_are_read(config):
    first, second = config.tests
    assert first.event == {
        "repository": "acme/app",
        "branch": "1.10",
        "status": "failure",
        "change": "broken",
        "pull_request": 12,
        "draft": False,
    }
    assert first.given == {"failures": 2}
    assert first.expect == {"to": ["builds", "oncall"], "rules": ["main is broken or fixed"]}
    assert (first.file, first.line) == ("config.yaml", 40)
    assert second.event == {"labels": ["a", "b"], "duration": 1.5}
    assert second.expect == {"to": [], "none": True}


def test_every_secret_is_known_and_none_is_shown(config):
    assert len(config.secrets) == 5
    shown = repr(config)
    assert not [secret for secret in config.secrets if secret in shown]


def test_loading_imports_no_network_library():
    script = (
        "import sys; from bridge.config import load\n"
        "load('config.example.yaml', {})\n"
        "print([name for name in ('aiohttp', 'slack_sdk', 'sqlite3') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_rule_that_no_event_can_fulfil_is_warned_about(folder):
    text = _named("here") + (
        "rules:\n"
        "  - {name: a, match: {task: lint}, to: here}\n"
        "  - {name: c, match: {kind: task, task: lint}, to: here}\n"
    )
    (folder / "config.yaml").write_text(text)
    warned = [str(one) for one in load(None, {"SECRET": "abcdefgh"}).warnings if "match" in one.path]
    assert [one.split(": ")[1] for one in warned] == ["rules.0.match.task"]
