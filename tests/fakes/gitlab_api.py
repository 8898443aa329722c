"""GitLab's REST API on loopback: the questions that bridge asks, answered as the manual says.

A project is asked for by its path as one segment, `acme%2Ftools%2Fapp`. Who shows no token is told 404, who shows a
wrong one 401. A log is plain text, and comes whole whether a part was asked for or not, unless `ranges` is set.

https://docs.gitlab.com/api/jobs/
https://docs.gitlab.com/api/commits/
https://docs.gitlab.com/api/merge_requests/
https://docs.gitlab.com/api/repository_files/
"""

from __future__ import annotations

import base64
import re
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from tests.fakes.rest_api import RestApi, page_of

SHA = "77aa" * 10


def job(number: int, name: str, status: str = "failed", **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "name": name,
        "stage": "test",
        "status": status,
        "failure_reason": "script_failure" if status == "failed" else None,
        "allow_failure": False,
        "created_at": "2026-11-20T09:00:00.000Z",
        "started_at": "2026-11-20T09:00:10.000Z",
        "finished_at": "2026-11-20T09:02:10.000Z",
        "duration": 120.0,
        "web_url": f"https://gitlab.com/acme/tools/app/-/jobs/{number}",
    } | more


def merge_request(iid: int, branch: str, *, sha: str = SHA, state: str = "opened", **more: Any) -> dict[str, Any]:
    return {
        "iid": iid,
        "state": state,
        "title": "Count retries once",
        "draft": False,
        "source_branch": branch,
        "sha": sha,
        "source_project_id": 5,
        "target_project_id": 5,
    } | more


class GitLabApi(RestApi):
    """One project, acme/tools/app."""

    prefix = "/api/v4"

    def __init__(self, token: str = "a-made-up-token") -> None:
        super().__init__(token)
        self.jobs: dict[int, list[dict[str, Any]]] = {}  # by pipeline
        self.traces: dict[int, bytes] = {}  # by job
        self.merge_requests: dict[str, list[dict[str, Any]]] = {}  # by commit
        self.requests: dict[int, dict[str, Any]] = {}  # merge requests by their number
        self.files: dict[tuple[str, str], str] = {}  # by ref and path
        self.changed: dict[str, list[str]] = {}  # the paths of a commit or, by `!7`, of a merge request
        self.ranges = False

    async def answer(self, request: web.Request, path: str) -> web.StreamResponse:
        shown = request.headers.get("PRIVATE-TOKEN", "")
        if shown and shown != self.token:
            return web.json_response({"message": "401 Unauthorized"}, status=401)
        rest = re.fullmatch(r"/projects/acme%2Ftools%2Fapp(/.+)", path)
        if not rest or not shown:
            return web.json_response({"message": "404 Project Not Found"}, status=404)
        if asked := re.fullmatch(r"/jobs/(\d+)/trace", rest[1]):
            return self._trace(request, self.traces.get(int(asked[1])))
        one = self._one(request, rest[1])
        if one is not None:
            return web.json_response(one)
        rows = self._rows(request, rest[1])
        if rows is None:
            return web.json_response({"message": "404 Not Found"}, status=404)
        page, link = page_of(request, rows, 20)
        return web.json_response(page, headers={"RateLimit-Remaining": "1999"} | link)

    def _trace(self, request: web.Request, trace: bytes | None) -> web.StreamResponse:
        if trace is None:
            return web.json_response({"message": "404 Not Found"}, status=404)
        part = re.fullmatch(r"bytes=-(\d+)", request.headers.get("Range", ""))
        if self.ranges and part and len(trace) > int(part[1]):
            return web.Response(status=206, body=trace[-int(part[1]) :], content_type="text/plain")
        return web.Response(body=trace, content_type="text/plain")

    def _one(self, request: web.Request, rest: str) -> dict[str, Any] | None:
        if asked := re.fullmatch(r"/merge_requests/(\d+)", rest):
            return self.requests.get(int(asked[1]))
        if asked := re.fullmatch(r"/repository/files/([^/]+)", rest):
            text = self.files.get((request.query.get("ref", ""), unquote(asked[1])))
            coded = None if text is None else base64.b64encode(text.encode()).decode()
            return None if coded is None else {"encoding": "base64", "content": coded}
        return None

    def _rows(self, request: web.Request, rest: str) -> list[dict[str, Any]] | None:
        if asked := re.fullmatch(r"/pipelines/(\d+)/jobs", rest):
            jobs = self.jobs.get(int(asked[1]))
            scope = request.query.getall("scope[]", [])
            return jobs if jobs is None or not scope else [one for one in jobs if one["status"] in scope]
        if asked := re.fullmatch(r"/repository/commits/([0-9a-f]+)/merge_requests", rest):
            return self.merge_requests.get(asked[1])
        of_commit = re.fullmatch(r"/repository/commits/([0-9a-f]+)/diff", rest)
        of_request = re.fullmatch(r"/merge_requests/(\d+)/diffs", rest)
        if of_commit or of_request:
            key = of_commit[1] if of_commit else f"!{of_request[1]}" if of_request else ""
            return [{"new_path": path, "old_path": path} for path in self.changed.get(key, [])]
        return None
