"""A GraphQL server on loopback that speaks the part of Cirrus CI's schema that bridge uses, and refuses the rest.

Execution and validation are graphql-core's: a query with a field, an argument or a type that the schema does not have
is answered with HTTP 400 and errors, as GraphQL over HTTP says. What it knows is the `builds` and `tasks` given.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from graphql import build_schema, graphql

# `Long`: the real schema says Int and sends milliseconds all the same, which graphql-core would not.
SDL = """
scalar Long
enum BuildStatus { CREATED NEEDS_APPROVAL TRIGGERED EXECUTING FAILED COMPLETED ABORTED ERRORED }
enum TaskStatus { CREATED TRIGGERED SCHEDULED EXECUTING ABORTED FAILED COMPLETED SKIPPED PAUSED }
type Notification { message: String! link: String }
type TaskCommand { name: String! }
type Person { username: String }
type Repository {
  owner: String! name: String! isPrivate: Boolean! defaultBranch: String!
  builds(first: Int): Builds!
}
type Builds { edges: [Edge!]! }
type Edge { node: Build! }
type Build {
  id: ID! status: BuildStatus! branch: String! tag: String
  pullRequest: Int pullRequestDraft: Boolean pullRequestLabels: [String!]!
  changeIdInRepo: String! changeTimestamp: Long! changeMessageTitle: String! changeMessage: String!
  durationInSeconds: Int buildCreatedTimestamp: Long! notifications: [Notification!]!
  initializer: Person repository: Repository! tasks: [Task!]!
}
type Task {
  id: ID! name: String! status: TaskStatus! localGroupId: Int!
  statusTimestamp: Long! creationTimestamp: Long! executingTimestamp: Long finalStatusTimestamp: Long
  durationInSeconds: Int! notifications: [Notification!]! firstFailedCommand: TaskCommand
}
type Query {
  build(id: ID!): Build
  task(id: ID!): Task
  searchBuilds(repositoryOwner: String!, repositoryName: String!, SHA: String): [Build!]
  ownerRepository(platform: String!, owner: String!, name: String!): Repository
}
"""
SCHEMA = build_schema(SDL)
BASE = 1_767_258_000_000  # 2026-01-01 09:00:00 UTC


def task_of(task_id: str, name: str, status: str, *, at: int = 60, **more: Any) -> dict[str, Any]:
    """A task that took its status `at` seconds after nine o'clock."""
    return {
        "id": task_id,
        "name": name,
        "status": status,
        "localGroupId": 0,
        "statusTimestamp": BASE + at * 1000,
        "creationTimestamp": BASE + 1000,
        "executingTimestamp": BASE + 10_000,
        "finalStatusTimestamp": None,
        "durationInSeconds": at - 10,
        "notifications": [],
        "firstFailedCommand": None,
    } | more


def build_of(build_id: str, *tasks: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A failed build of acme/app."""
    return {
        "id": build_id,
        "status": "FAILED",
        "branch": "main",
        "tag": None,
        "pullRequest": None,
        "pullRequestDraft": None,
        "pullRequestLabels": ["bug"],
        "changeIdInRepo": "77aa",
        "changeTimestamp": BASE - 60_000,
        "changeMessageTitle": "Count retries once",
        "changeMessage": "Count retries once\n\nThey were counted twice.",
        "durationInSeconds": 94,
        "buildCreatedTimestamp": BASE,
        "notifications": [],
        "initializer": {"username": "octocat"},
        "repository": {"owner": "acme", "name": "app", "isPrivate": False, "defaultBranch": "main"},
        "tasks": list(tasks),
    } | more


@dataclass
class GraphQLServer:
    """What the server knows, and what it was asked: (headers, decoded body) of each request."""

    builds: list[dict[str, Any]] = field(default_factory=list)
    tasks: list[dict[str, Any]] = field(default_factory=list)
    asked: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)
    token: str | None = None  # required when set
    break_field: str | None = None  # resolving this field fails: a partial answer
    url: str = ""

    async def handle(self, request: web.Request) -> web.Response:
        if request.content_type != "application/json":
            return web.json_response({"errors": [{"message": "send JSON"}]}, status=415)
        body = await request.json()
        self.asked.append((dict(request.headers), body))
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.json_response({"errors": [{"message": "access denied"}], "data": None})
        result = await graphql(
            SCHEMA, body["query"], self._root(), variable_values=body.get("variables"), field_resolver=self._field
        )
        return web.json_response(result.formatted, status=400 if result.errors and result.data is None else 200)

    @property
    def queries(self) -> list[str]:
        return [body["query"].split("(")[0].split()[-1] for _, body in self.asked]

    def _field(self, source: Any, info: Any, **arguments: Any) -> Any:
        if info.field_name == self.break_field:
            raise ValueError(f"no {self.break_field} today")
        value = source.get(info.field_name)
        return value(**arguments) if callable(value) else value

    def _root(self) -> dict[str, Any]:
        return {
            "build": lambda id: _by_id(self.builds, id),
            "task": lambda id: _by_id(self.tasks, id),
            "searchBuilds": self._search,
            "ownerRepository": self._repository,
        }

    def _search(self, repositoryOwner: str, repositoryName: str, SHA: str | None = None) -> Any:
        if SHA is None:
            raise ValueError("SHA is required here")
        return [b for b in self._of(repositoryOwner, repositoryName) if b["changeIdInRepo"] == SHA]

    def _repository(self, platform: str, owner: str, name: str) -> Any:
        builds = self._of(owner, name) if platform == "github" else []
        if not builds:
            return None
        edges = [{"node": build} for build in builds]
        return builds[0]["repository"] | {"builds": lambda first: {"edges": edges[:first]}}

    def _of(self, owner: str, name: str) -> list[dict[str, Any]]:
        return [b for b in self.builds if (b["repository"]["owner"], b["repository"]["name"]) == (owner, name)]


def _by_id(rows: list[dict[str, Any]], wanted: str) -> dict[str, Any] | None:
    return next((row for row in rows if row["id"] == wanted), None)
