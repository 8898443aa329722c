"""``bridge cirrus builds``: what it prints, and how it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result
from graphql_server import GraphQLServer, build_of, task_of

from bridge.cli.cirrus import cirrus

TASKS = (
    task_of("11", "lint", "COMPLETED"),
    task_of("12", "test", "FAILED", localGroupId=1, firstFailedCommand={"name": "pytest"}),
)


@pytest.fixture
def command(api: GraphQLServer) -> Callable[..., Any]:
    """Run the command in a thread, for it opens an event loop of its own."""
    api.builds = [
        build_of("7", *TASKS),
        build_of(
            "8",
            status="COMPLETED",
            branch="v1",
            tag="v1",
            changeIdInRepo="88bb88bb88bb88bb",
            buildCreatedTimestamp=1_767_260_000_000,
        ),
    ]

    async def run(*arguments: str, env: dict[str, str] | None = None) -> Result:
        full = ["builds", *arguments, "--api-url", api.url]
        return await asyncio.to_thread(CliRunner().invoke, cirrus, full, env={"CIRRUS_API_TOKEN": None} | (env or {}))

    return run


async def test_builds_are_a_table_newest_first_with_tasks_and_what_failed(command: Any) -> None:
    result = await command("acme/app")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "STATUS   REF   COMMIT      TITLE               TASKS",
        "success  v1    88bb88bb88  Count retries once  -",
        "failure  main  77aa        Count retries once  lint success, test failure (pytest)",
    ]


async def test_a_commit_is_searched_for(command: Any, api: GraphQLServer) -> None:
    result = await command("acme/app", "--sha", "77aa", "--json")
    assert result.exit_code == 0
    (build,) = json.loads(result.stdout)
    assert (build["run"]["id"], build["status"], build["repository"]) == ("7", "failure", "acme/app")
    assert [task["name"] for task in build["tasks"]] == ["lint", "test"]
    assert api.queries == ["SearchBuilds"]


async def test_no_more_than_the_limit_are_shown(command: Any, api: GraphQLServer) -> None:
    assert len(json.loads((await command("acme/app", "--json", "--limit", "1")).stdout)) == 1
    api.builds = [build_of(str(n)) for n in range(5)]
    result = await command("acme/app", "--json", "--limit", "2", "--sha", "77aa")
    assert len(json.loads(result.stdout)) == 2


async def test_the_token_comes_from_the_environment_by_the_name_given(command: Any, api: GraphQLServer) -> None:
    await command("acme/app", env={"CIRRUS_API_TOKEN": "one"})
    await command("acme/app", "--token-env", "OTHER", env={"OTHER": "two"})
    await command("acme/app")
    assert [headers.get("Authorization") for headers, _ in api.asked] == ["Bearer one", "Bearer two", None]


async def test_nothing_found_is_said_and_exits_1(command: Any) -> None:
    result = await command("acme/app", "--sha", "0000", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (1, [])
    assert "no builds of acme/app at 0000" in result.stderr
    result = await command("acme/other")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no such repository" in result.stderr


async def test_an_api_that_refuses_is_quoted_and_exits_1(command: Any, api: GraphQLServer) -> None:
    api.token = "another"
    result = await command("acme/app")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "access denied" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [["app"], ["acme/app/x"], ["/app"], [], ["acme/app", "--limit", "0"], ["acme/app", "--api-url", "file:///etc"]],
)
def test_wrong_usage_exits_2(arguments: list[str]) -> None:
    result = CliRunner().invoke(cirrus, ["builds", *arguments])
    assert (result.exit_code, result.stdout) == (2, "")


async def test_foreign_text_cannot_steer_the_terminal(command: Any, api: GraphQLServer) -> None:
    api.builds = [build_of("7", changeMessageTitle="\x1b[2Jboo\nmore " + "x" * 500)]
    result = await command("acme/app")
    assert "\x1b" not in result.stdout
    assert len(result.stdout.splitlines()) == 2
