"""What senders send: signed requests, ready for the wire. Made up; in shape and size like the real ones. Pure."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

SECRET = "a-secret-of-the-benchmark"
REPOSITORIES = 20
FIRST_RUN = 10_000_000
STATES = (("requested", "queued", None), ("in_progress", "in_progress", None), ("completed", "completed", "success"))

Requests = Iterator[tuple[int, bytes]]
"""A number that the message in the chat will show again, and the whole HTTP request."""


class Signed:
    """Bodies that differ only at their end: what they share is hashed once, so that the sender is not the brake."""

    def __init__(self, path: str, headers: str, signature: str, body: str) -> None:
        self._head = f"POST {path} HTTP/1.1\r\nHost: bridge\r\nContent-Type: application/json\r\n{headers}\r\n"
        self._signature = signature
        self._body = body.encode()
        self._hash = hmac.new(SECRET.encode(), self._body, hashlib.sha256)
        self.size = len(body)

    def request(self, number: int, end: str) -> bytes:
        last = end.encode()
        digest = self._hash.copy()
        digest.update(last)
        head = (
            f"{self._head}X-GitHub-Delivery: {number:012d}\r\n{self._signature}{digest.hexdigest()}\r\n"
            f"Content-Length: {len(self._body) + len(last)}\r\n\r\n"
        )
        return b"".join((head.encode(), self._body, last))


def github_runs(path: str = "/webhooks/github", *, numbers: Iterator[int] | None = None) -> Requests:
    """Yield whole runs of some repositories: queued, running, done."""
    shapes = [[_workflow_run(path, repository, *state) for state in STATES] for repository in range(REPOSITORIES)]
    for number in numbers or itertools.count(1):
        run, state = divmod(number, len(STATES))
        yield number, shapes[run % REPOSITORIES][state].request(number, _end(run, run % REPOSITORIES))


def github_results(path: str = "/webhooks/github", *, numbers: Iterator[int] | None = None) -> Requests:
    """Yield the results of runs, one of each run, so that each is a message of its own."""
    shapes = [_workflow_run(path, repository, *STATES[-1]) for repository in range(REPOSITORIES)]
    for number in numbers or itertools.count(1):
        yield number, shapes[number % REPOSITORIES].request(number, _end(number, number % REPOSITORIES))


def _end(run: int, repository: int) -> str:
    site = f"https://github.com/acme/service-{repository}/actions/runs/{FIRST_RUN + run}"
    return f'"run_number":{run},"id":{FIRST_RUN + run},"html_url":"{site}"}}}}'


def _workflow_run(path: str, number: int, action: str, status: str, conclusion: str | None) -> Signed:
    """GitHub's body is mostly addresses: every object links to all that belongs to it."""
    name = f"acme/service-{number}"
    api, site = f"https://api.github.com/repos/{name}", f"https://github.com/{name}"
    user = {"login": "octocat", "id": 583231, "node_id": "MDQ6VXNlcjU4MzIzMQ==", "type": "User", "site_admin": False}
    user |= {"html_url": "https://github.com/octocat", "avatar_url": "https://avatars.githubusercontent.com/u/583231"}
    user |= {f"{each}_url": f"https://api.github.com/users/octocat/{each}" for each in _USER}
    repository = {"id": 4000 + number, "name": f"service-{number}", "full_name": name, "private": False, "owner": user}
    repository |= {"html_url": site, "default_branch": "main", "description": "Counts parcels, twice when in doubt"}
    repository |= {f"{each}_url": f"{api}/{each}{{/other}}" for each in _REPOSITORY}
    run: dict[str, Any] = {
        "name": "CI",
        "display_title": "Count parcels twice",
        "event": "push",
        "status": status,
        "conclusion": conclusion,
        "run_attempt": 1,
        "head_branch": "main",
        "head_sha": "4f1d2c3b5a69788796a5b4c3d2e1f00112233445",
        "head_commit": {"message": "Count parcels twice", "author": {"name": "Octo Cat", "email": "octo@example.com"}},
        "actor": user,
        "triggering_actor": user,
        "pull_requests": [],
        "created_at": "2026-03-02T08:00:00Z",
        "run_started_at": "2026-03-02T08:00:00Z",
        "updated_at": f"2026-03-02T08:00:{len(status):02d}Z",
        "jobs_url": f"{api}/actions/runs/1/jobs",
        "logs_url": f"{api}/actions/runs/1/logs",
        "artifacts_url": f"{api}/actions/runs/1/artifacts",
        "repository": repository,
        "head_repository": repository,
    }
    body = {"action": action, "sender": user, "repository": repository, "workflow_run": run}
    headers = "User-Agent: GitHub-Hookshot/0000000\r\nAccept: */*\r\nX-GitHub-Event: workflow_run"
    text = json.dumps(body, separators=(",", ":"))[:-2] + ","
    return Signed(path, headers, "X-Hub-Signature-256: sha256=", text)


_USER = "followers following gists starred subscriptions organizations repos events received_events".split()
_REPOSITORY = (
    "forks keys collaborators teams hooks issue_events events assignees branches tags blobs git_tags git_refs trees "
    "statuses languages stargazers contributors subscribers subscription commits git_commits comments issue_comment "
    "contents compare merges archive downloads issues pulls milestones notifications labels releases deployments git "
    "ssh clone svn mirror environments secrets variables caches artifacts runners workflows dispatches rulesets "
    "topics traffic invitations autolinks pages projects properties codespaces"
).split()


def cirrus_tasks(path: str = "/webhooks/cirrus", *, numbers: Iterator[int] | None = None) -> Requests:
    """Yield tasks of builds, eight of each, as Cirrus CI sends them."""
    start = {
        "old_status": "EXECUTING",
        "action": "updated",
        "repository": {"id": 4611686018427001, "owner": "acme", "name": "app", "isPrivate": False},
    }
    build = (
        '"build":{"branch":"main","changeIdInRepo":"77aa77aa77aa77aa77aa77aa77aa77aa77aa77aa","changeTimestamp":'
        '1767258600000,"changeMessageTitle":"Count retries once (#40)","durationInSeconds":90,"status":"EXECUTING",'
        '"user":{"id":4611686018427201,"username":"octocat"},"id":%d},"task":{"name":"test (freebsd)",'
        '"nameAlias":"test","status":"COMPLETED","statusTimestamp":1767258700500,"creationTimestamp":1767258605000,'
        '"durationInSeconds":88,"uniqueLabels":["freebsd"],"automaticReRun":false,'
        '"instanceType":"CommunityContainer","notifications":[],"id":%d}}'
    )
    shared = Signed(
        path,
        "X-Cirrus-Event: task\r\nX-Cirrus-Timestamp: 1767258700999",
        "X-Cirrus-Signature: ",
        json.dumps(start, separators=(",", ":"))[:-1] + ",",
    )
    for number in numbers or itertools.count(1):
        yield number, shared.request(number, build % (FIRST_RUN + number // 8, FIRST_RUN + number))


def alerts(path: str = "/api/v2/alerts", *, numbers: Iterator[int] | None = None) -> Requests:
    """Yield the same results as alerts: Alertmanager takes nothing else, and nothing signed."""
    for number in numbers or itertools.count(1):
        repository = number % REPOSITORIES
        body = [
            {
                "labels": {"alertname": "CI", "repository": f"acme/service-{repository}", "run": str(number)},
                "annotations": {
                    "title": "Count parcels twice",
                    "url": f"https://github.com/acme/service-{repository}/actions/runs/{FIRST_RUN + number}",
                },
            }
        ]
        text = json.dumps(body, separators=(",", ":"))
        yield (
            number,
            f"POST {path} HTTP/1.1\r\nHost: alerts\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(text)}\r\n\r\n{text}".encode(),
        )


def size(requests: Callable[[], Requests]) -> float:
    """Return the size of one body in kilobytes."""
    return len(next(requests())[1].partition(b"\r\n\r\n")[2]) / 1000
