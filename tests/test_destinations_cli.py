"""Does `bridge destinations` show which chat is down, why, and what is kept for it?"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bridge.cli import bridge
from bridge.receive import Deciding
from bridge.store import open_store
from bridge.store.base import Condition
from tests.arrivals import LEASE, NOON, after, arrival, event, rule, settled

CONFIG = """
version: 1
sources: {github: {type: github, secret: made-up}}
destinations: {quiet: {type: console}, builds: {type: console}, oncall: {type: console}}
rules: [{name: all, to: [builds, oncall, quiet]}]
"""
SAID = "slack says token_revoked: make\nanother"


async def fill(path: Path) -> None:
    """`builds` answers and one delivery waits; `oncall` is down with one dead; `old` is gone and left one behind."""
    store = await open_store(f"sqlite:///{path}")
    for number in (1, 2):
        await store.accept(arrival(event(number), f"k{number}"), Deciding([rule("builds", "oncall")]))
    await store.accept(arrival(event(3), "k3"), Deciding([rule("old")]))
    first, *_ = await store.claim("builds", NOON, LEASE, 1)
    await store.settle(settled(first))
    first, *_ = await store.claim("oncall", NOON, LEASE, 1)
    await store.settle(settled(first, "dead", outcome="dead", text=SAID))
    await store.report("builds", Condition(ok=True, text="answers", at=NOON))
    await store.report("oncall", Condition(ok=False, text=SAID, at=NOON, failures=3, rest_until=after(9)))
    await store.report("forgotten", Condition(ok=False, text=SAID, at=NOON))
    await store.close()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "config.yaml").write_text(CONFIG)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'bridge.db'}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(bridge, ["destinations", *words], catch_exceptions=False)


def test_what_is_down_comes_first_with_its_reason_and_what_is_kept(folder: Path) -> None:
    asyncio.run(fill(folder / "bridge.db"))
    done = run()
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith("oncall (console): DOWN, last asked ")
    assert lines[0].endswith(" ago, 3 times without success")
    assert lines[1] == "  slack says token_revoked: make·another", "on one line, whatever a chat said"
    assert lines[2].startswith("  1 waiting, the oldest for ")
    assert lines[3] == "  1 given up; once it is mended: bridge replay --dead --destination oncall"
    assert lines[4] == "quiet (console): not asked yet"
    assert lines[5].startswith("builds (console): answers, since ")
    assert lines[7] == "old: no longer in the configuration"
    assert len(lines) == 9


def test_the_same_as_json(folder: Path) -> None:
    asyncio.run(fill(folder / "bridge.db"))
    found: list[dict[str, Any]] = json.loads(run("--json").stdout)
    assert [one["destination"] for one in found] == ["oncall", "quiet", "builds", "old"]
    assert found[0] == {
        "destination": "oncall",
        "type": "console",
        "ok": False,
        "reason": SAID,
        "at": "2026-01-01T12:00:00.000Z",
        "failures": 3,
        "rest_until": "2026-01-01T12:00:09.000Z",
        "waiting": 1,
        "oldest_at": "2026-01-01T12:00:00.000Z",
        "dead": 1,
    }
    assert (found[1]["ok"], found[2]["reason"], found[3]["type"]) == (None, None, None)
    assert len(json.loads(run("--json", "--limit", "1").stdout)) == 1


def test_a_configuration_that_is_wrong_is_said(folder: Path) -> None:
    (folder / "config.yaml").write_text("version: 1\ndestinations: {builds: {type: slak}}\n")
    done = CliRunner().invoke(bridge, ["destinations"])
    assert "slak" in str(done.exception)


def test_without_a_database_it_says_where_to_run(folder: Path) -> None:
    done = run()
    assert done.exit_code == 1
    assert "there is no database" in done.stderr
