"""Which senders say who committed, pushed and reviews: `TELLS` and the page are what the golden events show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bridge.event import Role
from bridge.sources import SOURCES, TELLS

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "people.md"
BY_HAND = {  # what no golden event can show: the fields are the operator's, or the events stand in a test of its own
    "generic": {Role.COMMITTER, Role.PUSHER, Role.REVIEWERS},
    "cirrus": {Role.PUSHER},
}
COMPARED = {"pipeline", "deployment"}  # whose results are broken or fixed, so that somebody is mentioned
ROLES = (Role.COMMITTER, Role.PUSHER, Role.REVIEWERS)


def shown(name: str, *kinds: str) -> set[Role]:
    """Return the roles that the sender's golden events of these kinds tell."""
    events = [json.loads(path.read_text()) for path in (HERE / name).glob("*.event.json")]
    return {role for role in ROLES for event in events if event.get(role) and (not kinds or event["kind"] in kinds)}


@pytest.mark.parametrize("name", SOURCES)
def test_who_is_told_of_a_run_is_what_the_check_believes(name: str) -> None:
    believed = {role for role in ROLES if name in TELLS[role]}
    assert believed == shown(name, *COMPARED) | BY_HAND.get(name, set())


def rows() -> dict[str, list[str]]:
    """Return the table of the page: by sender, what stands under committer, pusher and reviewers."""
    lines = (line.strip("| ").split(" | ") for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| `"))
    return {cells[0].strip("`"): cells[2:5] for cells in lines if len(cells) >= 6}


@pytest.mark.parametrize("name", SOURCES)
def test_the_page_says_which_sender_tells_whom(name: str) -> None:
    cells = rows()[name]
    told = {role for role, cell in zip(ROLES, cells, strict=True) if cell.startswith(("yes", "on "))}
    assert told == shown(name) | BY_HAND.get(name, set())
