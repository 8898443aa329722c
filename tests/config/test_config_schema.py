"""The JSON Schema agrees with the checks, and both with the examples."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from bridge.config import keys, load, schema
from bridge.config.report import Report
from bridge.config.yaml import Mapping, Node, Sequence, read

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WHOLE = (HERE / "whole.yaml").read_text()
EXAMPLE = (ROOT / "config.example.yaml").read_text("utf-8")
# A comment that begins with a key or a dash is an option that is switched off; sentences begin with a capital.
SWITCHED_ON = re.sub(r"(?m)^(\s*)# (\s*(?:- )?[a-z_]+:(?: .*)?|\s*- [a-z]+)$", r"\1\2", EXAMPLE)
NAMES = ("GITHUB_WEBHOOK_SECRET", "CIRRUS_WEBHOOK_SECRET", "SLACK_BOT_TOKEN", "NIGHTLY_TOKEN")
ENVIRON = dict.fromkeys(NAMES, "xoxb-secret") | {
    "SLACK_WEBHOOK_URL": "https://hooks.example/T1",
    "WEBEX_BOT_TOKEN": "made-up-token",
    "MATTERMOST_BOT_TOKEN": "made-up-token",
    "MATTERMOST_WEBHOOK_URL": "https://hooks.example/hooks/madeup",
    "MATRIX_TOKEN": "made-up-token",
    "ROCKETCHAT_TOKEN": "made-up-token",
    "SMTP_URL": "smtps://bridge%40example.com:made-up@mail.example.com",
    "TEAMS_WORKFLOW_URL": "https://hooks.example/workflows/1",
    "GOOGLE_CHAT_WEBHOOK_URL": "https://chat.googleapis.com/v1/spaces/AAAA/messages?key=made-up&token=made-up",
    "TELEGRAM_BOT_TOKEN": "110201543:made-up_Secret",
    "APPRISE_URL": "json://127.0.0.1/made-up",
    "RECEIVER_URL": "https://ci.example.com/bridge",
    "ZULIP_API_KEY": "madeUpSecretKey0123456789abcdef01",
    "WEBHOOK_SIGNING_SECRET": "whsec_bWFkZSB1cCBmb3IgdGVzdHMsIDMyIGJ5dGVzIQ==",
    "DISCORD_WEBHOOK_URL": "https://discord.com/api/webhooks/80351110224678912/abc",
}


def _plain(node: Node) -> Any:
    if isinstance(node, Mapping):
        return {key: _plain(entry.node) for key, entry in node.entries.items()}
    return [_plain(item) for item in node.items] if isinstance(node, Sequence) else node.value


def _errors(text: str) -> list[str]:
    validator = jsonschema.Draft202012Validator(schema())
    return [error.message for error in validator.iter_errors(_plain(read(text.encode(), Report(""))))]


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(schema())


def test_the_committed_schema_is_what_bridge_schema_prints():
    committed = (ROOT / "bridge" / "config.schema.json").read_text("utf-8")
    assert committed == json.dumps(schema(), indent=2, ensure_ascii=False) + "\n", (
        "run: bridge schema > bridge/config.schema.json"
    )


@pytest.mark.parametrize("text", [EXAMPLE, SWITCHED_ON, WHOLE, "version: 1\nx-any: [1]\nsources:\nrules:\n"])
def test_the_schema_takes_what_is_right(text):
    assert _errors(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "sevrer: {}",
        "sources: {a: {type: gihub}}",
        "sources: {a: {type: github, secert: x}}",
        "destinations: {a: {type: slack, chanel: x}}",
        "destinations: {a: {type: console, url: x}}",
        "destinations: {a: {type: console, timeout: soon}}",
        "destinations: {a: {type: console, when_unsure: resent}}",
        "people: {a: {slak: x}}",
        "rules: [{to: a}]",
        "rules: [{name: a}]",
        "rules: [{name: a, to: b, match: {status: failed}}]",
        "rules: [{name: a, to: b, match: {draft: yes}}]",
        "rules: [{name: a, to: b, match: {branch: {nto: x}}}]",
        "rules: [{name: a, to: b, settle: soon}]",
        "rules: [{name: a, to: {destination: b, tmplate: x}}]",
        "tests: [{name: a, event: {statu: x}, expect: {none: true}}]",
        "tests: [{name: a, event: {}, expect: {}}]",
        (HERE / "broken.yaml").read_text(),
    ],
)
def test_the_schema_refuses_what_is_wrong(text):
    assert _errors(text)


def test_every_key_says_what_it_means():
    def silent(node: Any, path: str) -> list[str]:
        if not isinstance(node, dict):
            return []
        within = [missing for key, value in node.items() for missing in silent(value, f"{path}.{key}")]
        properties = node.get("properties", {})
        return within + [f"{path}.{key}" for key, value in properties.items() if "description" not in value]

    fields = {f".$defs.{form}.{key}" for form in ("event", "step") for key in keys.EVENT}
    assert [path for path in silent(schema(), "") if path not in fields] == []


def test_the_example_is_right_without_any_environment(folder):
    (folder / "config.yaml").write_text(EXAMPLE)
    config = load(None, {})
    assert [str(warning) for warning in config.warnings] == [
        "config.yaml:22:1: sources: warning: no source, so nothing can come in"
    ]


def test_the_example_is_right_with_everything_switched_on(folder):
    (folder / "config.yaml").write_text(SWITCHED_ON)
    (folder / "people.csv").write_text("name,slack\nhubot,U0G9QF9C6\n")
    (folder / "rules").mkdir()
    (folder / "rules" / "team.yaml").write_text("- {name: a team's own, to: oncall}\n")
    config = load(None, ENVIRON)
    assert [warning.path for warning in config.warnings] == ["sources.trial.unsigned"]
    assert {source.type for source in config.sources.values()} == {"github", "cirrus", "generic"}


def _keys(node: Any) -> set[str]:
    if isinstance(node, list):
        return {key for item in node for key in _keys(item)}
    if not isinstance(node, dict):
        return set()
    return set(node.get("properties", {})) | {key for value in node.values() for key in _keys(value)}


def test_the_example_has_every_key():
    known = schema()
    for event in keys.EVENT:  # the fields of the event model: the tests show how they are written
        del known["$defs"]["event"]["properties"][event], known["$defs"]["step"]["properties"][event]
    known["properties"]["people"]["additionalProperties"] = {}  # a key for every chat, also for those to come
    assert [key for key in sorted(_keys(known)) if not re.search(rf"\b{key}:", SWITCHED_ON)] == []


def test_the_example_says_the_defaults():
    said = set(re.findall(r"(?m)^\s*# ([a-z_]+): (\S+)$", EXAMPLE))
    known = schema()
    tables = (known["$defs"]["destination_slack"], known["$defs"]["rule"], known["properties"]["server"])
    defaults = {
        (key, each["default"]) for table in tables for key, each in table["properties"].items() if "default" in each
    }
    written = {(key, str(value).lower() if isinstance(value, bool) else str(value)) for key, value in defaults}
    assert written - said == {("mention_when", "broken")}  # there it stands as a list
