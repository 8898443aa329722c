"""CircleCI's API v2 as far as bridge asks it: a workflow, its jobs page by page, its pipeline.

https://circleci.com/docs/api/v2/
https://circleci.com/docs/guides/toolkit/api-developers-guide/#rate-limits
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from tests.fakes.rest_api import Answering, RestApi, answering


def job_of(job: str, status: str, **more: Any) -> dict[str, Any]:
    """A job of the list; one that ran took a minute from nine o'clock on."""
    ran = status in ("success", "failed", "timedout", "infrastructure_fail")
    return {
        "id": f"id-of-{job}",
        "name": job,
        "type": "build",
        "status": status,
        "job_number": 41,
        "started_at": "2026-03-02T09:00:00Z" if ran else None,
        "stopped_at": "2026-03-02T09:01:00Z" if ran else None,
        "dependencies": [],
        "project_slug": "gh/acme/app",
    } | more


def pipeline_of(login: str | None = "octocat", **vcs: Any) -> dict[str, Any]:
    """A pipeline that a push of `login` began; `vcs` is what it knows of the commit."""
    actor = {"login": login, "avatar_url": None} if login else None
    return {
        "id": "the-pipeline",
        "number": 25,
        "state": "created",
        "project_slug": "gh/acme/app",
        "trigger": {"type": "webhook", "received_at": "2026-03-02T08:59:00Z", "actor": actor},
        "vcs": {"provider_name": "GitHub", "revision": "77aa", "branch": "main"} | vcs,
    }


class CircleciApi(RestApi):
    """`known` is JSON by path. Lists come in pages of `page_size`, and the token of the next one is opaque."""

    prefix = "/api/v2"

    def __init__(self, token: str = "a-made-up-token") -> None:
        super().__init__(token)
        self.known: dict[str, Any] = {}
        self.page_size = 100

    def knows(self, workflow: str, jobs: list[Any], pipeline: dict[str, Any] | None = None) -> None:
        self.known |= {
            f"/workflow/{workflow}": {"id": workflow, "name": "build-and-test", "pipeline_id": "the-pipeline"},
            f"/workflow/{workflow}/job": {"items": jobs},
            "/pipeline/the-pipeline": pipeline_of() if pipeline is None else pipeline,
        }

    async def answer(self, request: web.Request, path: str) -> web.StreamResponse:
        if request.headers.get("Circle-Token") != self.token:
            return web.json_response({"message": "You must log in first."}, status=401)
        if path not in self.known:
            return web.json_response({"message": "Not found"}, status=404)
        found = self.known[path]
        return web.json_response(self._page(found["items"], request) if "items" in found else found)

    def _page(self, items: list[Any], request: web.Request) -> dict[str, Any]:
        start = int(request.query.get("page-token", "after-0").removeprefix("after-"))
        end = start + self.page_size
        return {"items": items[start:end], "next_page_token": f"after-{end}" if end < len(items) else None}


def limited(seconds: int) -> Answering:
    """A fault: too many questions."""
    return answering(429, {"message": "slow down"}, Retry_After=str(seconds))
