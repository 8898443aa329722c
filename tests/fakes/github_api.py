"""GitHub's REST API on loopback: the questions that bridge asks, answered as the manual says.

Who shows no token, or a wrong one, is told 404 or 401; what a token may not see is 404 as well. A commit that only a
fork has is in no list of pull requests by commit, which is why bridge does not ask for that one.

https://docs.github.com/en/rest/actions/workflow-jobs
https://docs.github.com/en/rest/checks/runs
https://docs.github.com/en/rest/pulls/pulls
https://docs.github.com/en/rest/commits/commits
https://docs.github.com/en/rest/repos/contents
"""

from __future__ import annotations

import base64
import re
from typing import Any

from aiohttp import web

from tests.fakes.rest_api import RestApi, page_of

SHA = "77aa" * 10


def job(number: int, name: str, conclusion: str | None, *steps: tuple[str, str | None], **more: Any) -> dict[str, Any]:
    """A job of run 9001, as a webhook brings it as well."""
    return {
        "id": number,
        "run_id": 9001,
        "run_attempt": 1,
        "name": name,
        "status": "completed" if conclusion else "in_progress",
        "conclusion": conclusion,
        "html_url": f"https://github.com/acme/app/actions/runs/9001/job/{number}",
        "created_at": "2026-11-20T09:00:00Z",
        "started_at": "2026-11-20T09:00:10Z",
        "completed_at": "2026-11-20T09:02:10Z" if conclusion else None,
        "steps": [{"name": step, "conclusion": how, "number": at} for at, (step, how) in enumerate(steps, 1)],
    } | more


def annotation(path: str, line: int, message: str, level: str = "failure", **more: Any) -> dict[str, Any]:
    return {"path": path, "start_line": line, "annotation_level": level, "message": message, "title": ""} | more


def pull(number: int, fork: str, branch: str, *, sha: str = SHA, state: str = "open", **more: Any) -> dict[str, Any]:
    """A pull request into acme/app."""
    return {
        "number": number,
        "state": state,
        "title": "Count retries once",
        "draft": False,
        "labels": [{"name": "bug"}],
        "head": {"ref": branch, "sha": sha, "label": f"{fork.split('/')[0]}:{branch}", "repo": {"full_name": fork}},
        "base": {"ref": "main", "repo": {"full_name": "acme/app"}},
    } | more


def content(text: str) -> dict[str, Any]:
    """A file as JSON: lines of base64."""
    return {"type": "file", "encoding": "base64", "content": base64.encodebytes(text.encode()).decode()}


def commit(
    login: str | None, name: str = "Mona", email: str = "mona@example.com", files: tuple[str, ...] = ()
) -> dict[str, Any]:
    return {
        "sha": SHA,
        "author": {"login": login} if login else None,
        "commit": {"message": "Count retries once", "author": {"name": name, "email": email}},
        "files": [{"filename": path, "status": "modified"} for path in files],
    }


class GitHubApi(RestApi):
    """One repository, acme/app."""

    def __init__(self, token: str = "a-made-up-token") -> None:
        super().__init__(token)
        self.jobs: dict[tuple[int, int], list[dict[str, Any]]] = {}  # by run and attempt
        self.annotations: dict[int, list[dict[str, Any]]] = {}  # by check run
        self.pulls: list[dict[str, Any]] = []
        self.commits: dict[str, dict[str, Any]] = {}
        self.files: dict[tuple[str, str], str] = {}  # by branch (`` is the default one) and path
        self.changed: dict[int, list[str]] = {}  # the paths of a pull request

    async def answer(self, request: web.Request, path: str) -> web.StreamResponse:
        shown = request.headers.get("Authorization", "")
        if shown and shown != f"Bearer {self.token}":
            return web.json_response({"message": "Bad credentials"}, status=401)
        rest = re.fullmatch(r"/repos/acme/app(/.+)", path)
        found = self._found(request, rest[1]) if rest and shown else None
        if found is None:
            return web.json_response({"message": "Not Found"}, status=404)
        body, headers = found
        return web.json_response(body, headers={"x-ratelimit-remaining": "4999"} | headers)

    def _found(self, request: web.Request, rest: str) -> tuple[Any, dict[str, str]] | None:
        if asked := re.fullmatch(r"/actions/runs/(\d+)/attempts/(\d+)/jobs", rest):
            jobs = self.jobs.get((int(asked[1]), int(asked[2])))
            if jobs is None:
                return None
            page, link = page_of(request, jobs, 30)
            return {"total_count": len(jobs), "jobs": page}, link
        if asked := re.fullmatch(r"/check-runs/(\d+)/annotations", rest):
            rows = self.annotations.get(int(asked[1]))
            return None if rows is None else page_of(request, rows, 30)
        if rest == "/pulls":
            return page_of(request, [one for one in self.pulls if _listed(one, request)], 30)
        if asked := re.fullmatch(r"/pulls/(\d+)", rest):
            one = next((one for one in self.pulls if one["number"] == int(asked[1])), None)
            return None if one is None else (one, {})
        if asked := re.fullmatch(r"/pulls/(\d+)/files", rest):
            rows = [{"filename": path, "status": "modified"} for path in self.changed.get(int(asked[1]), [])]
            return page_of(request, rows, 30)
        if asked := re.fullmatch(r"/contents/(.+)", rest):
            text = self.files.get((request.query.get("ref", ""), asked[1]))
            return None if text is None else (content(text), {})
        if asked := re.fullmatch(r"/commits/([0-9a-f]+)", rest):
            one = self.commits.get(asked[1])
            return None if one is None else (one, {})
        return None


def _listed(one: dict[str, Any], request: web.Request) -> bool:
    """GitHub takes `head` only as `owner:branch`; anything else is no condition at all."""
    state, head = request.query.get("state", "open"), request.query.get("head", "")
    return state in ("all", one["state"]) and (":" not in head or one["head"]["label"] == head)
