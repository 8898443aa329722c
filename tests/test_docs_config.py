"""docs/configuration.md names every key, and its examples are right."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from bridge.config import keys, load, schema
from bridge.route import KEYS

PAGE = (Path(__file__).parents[1] / "docs" / "configuration.md").read_text("utf-8")
PAGES = Path(__file__).parents[1] / "docs" / "sources"
ENVIRON = {"GITHUB_WEBHOOK_SECRET": "s", "SLACK_BOT_TOKEN": "xoxb-1"}


def _section(heading: str) -> str:
    level = heading.split(" ")[0]
    return re.split(rf"(?m)^#{{1,{len(level)}}} ", PAGE.split(f"\n{heading}\n")[1])[0]


def _rows(section: str) -> dict[str, str]:
    return dict(re.findall(r"(?m)^\| `([a-z_]+)` \| (.*) \|$", section))


@pytest.mark.parametrize(
    ("heading", "table"),
    [
        ("## The file", keys.TOP),
        ("## server", keys.SERVER),
        ("## sources", keys.SOURCE),
        ("## rules", keys.RULE),
        ("### digest", keys.DIGEST),
        ("### match", keys.MATCH),
        ("## tests", {**keys.TEST, **keys.EXPECT}),
    ],
)
def test_every_key_has_its_row_and_every_row_its_key(heading, table):
    rows = _rows(_section(heading).split("\n### ")[0])
    assert set(rows) == set(table)


def test_every_option_of_a_destination_has_its_row():
    forms = [form for name, form in schema()["$defs"].items() if name.startswith("destination_")]
    assert set(_rows(_section("## destinations"))) == {key for form in forms for key in form["properties"]}


def test_every_override_of_a_destination_and_field_of_an_event_is_named():
    for heading, table in (("### to", keys.GOAL), ("## tests", keys.EVENT)):
        assert [key for key in table if f"`{key}`" not in _section(heading)] == []


def test_the_defaults_are_the_schema_s():
    known = schema()
    tables: list[Any] = [known["properties"]["server"], *known["$defs"].values()]
    rows = re.findall(r"(?m)^\| `([a-z_]+)` \| .*? \| `([^`]+)` \| ", PAGE)
    defaults = {
        (key, str(value["default"]).lower())
        for form in tables
        for key, value in form.get("properties", {}).items()
        if "default" in value
    }
    assert sorted(defaults - {(key, value.lower()) for key, value in rows}) == []


def test_every_word_is_named():
    words = {str(word) for key in ("kind", "status", "change") for word in KEYS[key].words}
    assert [word for word in sorted(words) if f"`{word}`" not in _section("### match")] == []


def test_every_type_is_named():
    types = schema()["$defs"]["source"]["properties"]["type"]["enum"]
    assert {path.stem for path in PAGES.glob("*.md")} - {"README"} == set(types)
    chats = [name.removeprefix("destination_") for name in schema()["$defs"] if name.startswith("destination_")]
    assert [name for name in chats if f"`type: {name}`" not in _section("## destinations")] == []


def test_the_first_example_is_right(tmp_path):
    example = re.search(r"(?s)```yaml\n(.*?)```", PAGE)
    assert example
    (tmp_path / "config.yaml").write_text(example[1])
    assert load(str(tmp_path / "config.yaml"), ENVIRON).warnings == ()
