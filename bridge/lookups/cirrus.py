"""What does Cirrus CI's GraphQL API know about a run beyond its webhooks? Asks, never changes anything there.

The API answers for public repositories without a token. Its schema calls milliseconds `Int`; they do not fit 32 bits
and are sent all the same. A build's `tasks` holds every re-run too: `bridge.sources.cirrus` keeps the newest of each.

https://cirrus-ci.org/api/
https://github.com/cirruslabs/cirrus-ci-web/blob/master/schema.gql
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from bridge.codec import decode, dump, first_line
from bridge.errors import LookupFailed, Unreadable
from bridge.event import Event, Kind, Run, Status, Task
from bridge.lookups._http import ask
from bridge.sources.cirrus import CirrusBuild, CirrusTask, event_of, task_of

if TYPE_CHECKING:
    import aiohttp

API_URL = "https://api.cirrus-ci.com/graphql"
NEEDS_TOKEN = False

_TASK_FIELDS = """
fragment TaskFields on Task {
  id name status localGroupId
  statusTimestamp creationTimestamp executingTimestamp finalStatusTimestamp durationInSeconds
  notifications { message }
  firstFailedCommand { name }
}
"""
_BUILD_FIELDS = """
fragment BuildFields on Build {
  id status branch tag pullRequest pullRequestDraft pullRequestLabels
  changeIdInRepo changeTimestamp changeMessageTitle changeMessage
  durationInSeconds buildCreatedTimestamp
  notifications { message }
  initializer { username }
  repository { owner name isPrivate defaultBranch }
  tasks { ...TaskFields }
}
"""
BUILD = "query Build($id: ID!) { build(id: $id) { ...BuildFields } }" + _BUILD_FIELDS + _TASK_FIELDS
TASK = "query Task($id: ID!) { task(id: $id) { ...TaskFields } }" + _TASK_FIELDS
SEARCH_BUILDS = (
    """
query SearchBuilds($owner: String!, $name: String!, $sha: String) {
  searchBuilds(repositoryOwner: $owner, repositoryName: $name, SHA: $sha) { ...BuildFields }
}
"""
    + _BUILD_FIELDS
    + _TASK_FIELDS
)
RECENT_BUILDS = (
    """
query RecentBuilds($owner: String!, $name: String!, $count: Int!) {
  ownerRepository(platform: "github", owner: $owner, name: $name) {
    builds(first: $count) { edges { node { ...BuildFields } } }
  }
}
"""
    + _BUILD_FIELDS
    + _TASK_FIELDS
)

_TASKS_ASKED = 3  # single tasks that one lookup asks for
_COMMIT = frozenset({"title", "message", "committed_at"})  # what any build of the same commit can tell
_RANK = {Status.UNKNOWN: 0, Status.QUEUED: 0, Status.WAITING: 1, Status.RUNNING: 2}  # all others are final: 3


class _Edge(msgspec.Struct):
    node: CirrusBuild | None = None


class _Connection(msgspec.Struct):
    edges: list[_Edge | None] | None = None


class _Repository(msgspec.Struct):
    builds: _Connection | None = None


class _Data(msgspec.Struct, rename="camel"):
    build: CirrusBuild | None = None
    task: CirrusTask | None = None
    search_builds: list[CirrusBuild | None] | None = None
    owner_repository: _Repository | None = None


class _Answer(msgspec.Struct):
    data: _Data | None = None
    errors: Any = None


class _Refused(LookupFailed):
    """The API understood us and said no, in words."""


async def look_up(run: Run, session: aiohttp.ClientSession, api_url: str, token: str | None) -> Run:
    """Return `run` with what the API adds; what the webhooks said is never replaced. Raises LookupFailed."""
    if run.event.run is None or run.event.kind is not Kind.PIPELINE:
        return run
    ask = _Asker(session, api_url, token)
    found = await _find(run.event, run.event.run.id, ask)
    if found.run is None or found.run.id != run.event.run.id:
        return run.with_(event=_filled(run.event, found, _COMMIT))
    event = _filled(run.event, found)
    if not run.seen and event.status is Status.UNKNOWN:  # only tasks have spoken: the run's own state is a gap as well
        event = event.with_(status=found.status)
    tasks = _merged(run.tasks, found.tasks)
    return run.with_(event=event, tasks=await _explained(tasks, found.tasks, ask))


async def fetch_task(session: aiohttp.ClientSession, api_url: str, token: str | None, task_id: str) -> Task:
    """Return one task with its notifications and its failing command. Raises LookupFailed."""
    return await _Asker(session, api_url, token).task(task_id)


async def search_builds(
    session: aiohttp.ClientSession, api_url: str, token: str | None, owner: str, name: str, sha: str | None
) -> list[Event]:
    """Return the builds of one commit, newest first, each with its tasks. Raises LookupFailed."""
    return await _Asker(session, api_url, token).builds_of(owner, name, sha)


async def recent_builds(
    session: aiohttp.ClientSession, api_url: str, token: str | None, owner: str, name: str, count: int
) -> list[Event]:
    """Return the newest builds of a repository on GitHub, each with its tasks. Raises LookupFailed."""
    return await _Asker(session, api_url, token).recent(owner, name, count)


# -- what is asked


class _Asker:
    """One API and how to speak to it. Every method raises LookupFailed."""

    def __init__(self, session: aiohttp.ClientSession, api_url: str, token: str | None) -> None:
        self._session = session
        self._api_url = api_url
        self._token = token

    async def build(self, build_id: str) -> Event | None:
        data = await self._data(BUILD, {"id": build_id})
        return _events([data.build])[0] if data.build else None

    async def task(self, task_id: str) -> Task:
        data = await self._data(TASK, {"id": task_id})
        if data.task is None:
            raise LookupFailed("Cirrus CI knows no such task, or does not show it without a token")
        try:
            return task_of(data.task)
        except Unreadable as error:
            raise LookupFailed(f"Cirrus CI's answer is not as documented: {error}") from error

    async def builds_of(self, owner: str, name: str, sha: str | None) -> list[Event]:
        data = await self._data(SEARCH_BUILDS, {"owner": owner, "name": name, "sha": sha})
        return _events(data.search_builds or [])

    async def recent(self, owner: str, name: str, count: int) -> list[Event]:
        data = await self._data(RECENT_BUILDS, {"owner": owner, "name": name, "count": count})
        if data.owner_repository is None:
            raise LookupFailed("Cirrus CI knows no such repository, or does not show it without a token")
        builds = data.owner_repository.builds
        return _events(edge.node for edge in (builds.edges if builds else None) or [] if edge)

    async def _data(self, query: str, variables: dict[str, Any]) -> _Data:
        """Return what the API knows. Where it gives errors and data, the data is taken and the gaps stay."""
        status, body = await self._post(dump({"query": query, "variables": variables}))
        answer = self._read(status, body)
        said = self._first_error(answer)
        if status != 200:
            raise LookupFailed(f"Cirrus CI's API answered HTTP {status}" + (f": {said}" if said else ""))
        if answer is None:
            raise LookupFailed("Cirrus CI's API answered something that is not a GraphQL answer")
        if said and (answer.data is None or answer.data == _Data()):
            raise _Refused(f"Cirrus CI's API refused the query: {said}")
        return answer.data or _Data()

    async def _post(self, body: bytes) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        answer = await ask(self._session, "Cirrus CI's API", self._api_url, headers=headers, data=body)
        return answer.status, answer.body

    def _read(self, status: int, body: bytes) -> _Answer | None:
        """The answer; None for what is no JSON where the HTTP status says enough."""
        try:
            return decode(body, _Answer)
        except Unreadable as error:
            if status != 200:
                return None
            raise LookupFailed(f"Cirrus CI's answer is not as documented: {error}") from error

    def _first_error(self, answer: _Answer | None) -> str | None:
        """The API's own words for what is wrong, without the token in case it repeats it."""
        errors = answer.errors if answer else None
        if not errors:
            return None
        first = errors[0] if isinstance(errors, list) else errors
        said = first.get("message") if isinstance(first, dict) else None
        text = first_line(said, 200) if isinstance(said, str) else None
        return (text or "no reason given").replace(self._token or "\0", "***")


def _events(builds: Iterable[CirrusBuild | None]) -> list[Event]:
    """Builds in our words, newest first."""
    try:
        events = [event_of(build, "cirrus") for build in builds if build is not None]
    except Unreadable as error:
        raise LookupFailed(f"Cirrus CI's answer is not as documented: {error}") from error
    return sorted(events, key=_age, reverse=True)


def _age(event: Event) -> float:
    when = event.started_at or event.committed_at
    return when.timestamp() if when else 0.0


# -- what is made of it


async def _find(event: Event, build_id: str, ask: _Asker) -> Event:
    """Return the run's build, else a build of the same commit."""
    reason = LookupFailed("Cirrus CI knows no such build, or does not show it without a token")
    try:
        if build := await ask.build(build_id):
            return build
    except _Refused as refused:
        reason = refused
    owner, _, name = (event.repository or "").partition("/")
    others = await ask.builds_of(owner, name, event.sha) if name and event.sha else []
    if not others:
        raise reason
    return next((other for other in others if other.run and other.run.id == build_id), others[0])


def _filled(event: Event, found: Event, only: frozenset[str] | None = None) -> Event:
    """Return `event` with its gaps filled. Its state is the webhooks' alone: an answer may be older than they are."""
    gaps = {
        name: value
        for name in Event.__struct_fields__
        if (only is None or name in only) and getattr(event, name) in (None, ())
        if (value := getattr(found, name)) not in (None, ())
    }
    gaps.pop("tasks", None)  # a run keeps its tasks itself
    if event.tag or event.branch:  # a run is on a branch or on a tag: the webhook's word decides which
        gaps.pop("branch", None)
    return event.with_(**gaps)


def _merged(known: tuple[Task, ...], found: tuple[Task, ...]) -> tuple[Task, ...]:
    """Return all tasks of both, `known` in its order, each with whichever state is the newer one."""
    answers = {task.id: task for task in found}
    ours = {task.id for task in known}
    both = tuple(_newer(task, answers[task.id]) if task.id in answers else task for task in known)
    return both + tuple(task for task in found if task.id not in ours and not _run_again(task, known))


def _run_again(task: Task, known: tuple[Task, ...]) -> bool:
    """Whether one of `known` is a re-run of `task`: an answer may be older than the re-run's first webhook."""
    ended = task.changed_at
    return any(other.name == task.name and other.created_at and ended and other.created_at > ended for other in known)


def _newer(known: Task, found: Task) -> Task:
    """Return `known` with its gaps filled, and with the answer's state if that is the newer one."""
    newer = _overtakes(found, known)
    first, second = (found, known) if newer else (known, found)
    gaps = {name: getattr(second, name) for name in Task.__struct_fields__ if getattr(first, name) is None}
    return first.with_(**gaps)


def _overtakes(found: Task, known: Task) -> bool:
    if found.changed_at and known.changed_at and found.changed_at != known.changed_at:
        return found.changed_at > known.changed_at
    return _RANK.get(found.status, 3) > _RANK.get(known.status, 3)


async def _explained(tasks: tuple[Task, ...], found: tuple[Task, ...], ask: _Asker) -> tuple[Task, ...]:
    """Return `tasks`, those that failed and that the build did not list (any more) asked for one by one."""
    listed = {task.id for task in found}
    missing = [task for task in tasks if task.status.unsuccessful and not task.step and task.id not in listed]
    answers = []
    for task in missing[:_TASKS_ASKED]:
        try:
            answers.append(await ask.task(task.id))
        except LookupFailed:
            break  # the build's own answer is worth showing without it
    return _merged(tasks, tuple(answers))
