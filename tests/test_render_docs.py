"""The page about templates names everything, and its examples work."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from bridge.destinations import DESTINATIONS
from bridge.event import Change, Kind, Status
from bridge.render import Renderer
from bridge.render.samples import full, views
from bridge.render.sandbox import JINJA_FILTERS
from bridge.render.view import FILTERS, context
from tests.hostile import TEMPLATES

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "templates.md").read_text()
EXAMPLES = re.findall(r"`templates/([\w./]+)`[^\n]*:\n\n```jinja\n(.*?)```", PAGE, re.DOTALL)


def test_every_name_is_documented() -> None:
    names = PAGE.partition("## Names")[2].partition("## Filters")[0]
    assert set(context(next(views()))) <= set(re.findall(r"`(\w+)`", names))


def test_every_filter_is_documented() -> None:
    filters = PAGE.partition("## Filters")[2]
    assert set(FILTERS) <= set(re.findall(r"\\\|(\w+)`", filters))
    assert set(JINJA_FILTERS) <= set(filters.split("`abs ")[1].split("`")[0].split()) | {"abs"}


def test_there_are_examples() -> None:
    assert [name for name, _ in EXAMPLES] == ["run.md.j2", "short.md.j2", "slack/run.json.j2"]


@pytest.mark.parametrize(("name", "text"), EXAMPLES)
def test_examples_work(name: str, text: str) -> None:
    renderer = Renderer(TEMPLATES | {name: text, f"shipped/{name}": TEMPLATES.get(name, "")})
    assert renderer.problems() == []
    view = full(Kind.PIPELINE, Status.FAILURE, Change.BROKEN)
    message = renderer.render(Path(name).name.partition(".")[0], view, "slack")
    body = DESTINATIONS["slack"].payload(message, None)
    assert body["text"]


@pytest.mark.parametrize("page", ["slack", "console"])
def test_examples_of_destinations_are_options(page: str) -> None:
    for text in re.findall(
        r"```yaml\ndestinations:\n(.*?)```", (DOCS / "destinations" / f"{page}.md").read_text(), re.DOTALL
    ):
        (given,) = yaml.safe_load(text).values()
        kind = given.pop("type")
        given = {
            key: value.replace("${SLACK_WEBHOOK_URL}", "https://hooks.slack.com/services/x")
            for key, value in given.items()
        }
        assert DESTINATIONS[kind].Options(**given)
