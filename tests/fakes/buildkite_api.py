"""Buildkite's REST API as far as bridge asks it: a build with its jobs, and the build's annotations.

https://buildkite.com/docs/apis/rest-api/builds#get-a-build
https://buildkite.com/docs/apis/rest-api/annotations
https://buildkite.com/docs/apis/rest-api/limits
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from tests.fakes.rest_api import Answering, RestApi, answering, page_of

PATH = "/organizations/acme/pipelines/app/builds/12"
ANNOTATIONS = f"{PATH}/annotations"


def job_of(job: str, state: str, **more: Any) -> dict[str, Any]:
    """A command's job; one that ran took a minute from nine o'clock on."""
    ran = state in ("passed", "failed", "timed_out")
    return {
        "id": f"id-of-{job}",
        "type": "script",
        "name": job,
        "step_key": job,
        "state": state,
        "web_url": f"https://buildkite.com/acme/app/builds/12#id-of-{job}",
        "soft_failed": False,
        "exit_status": {"passed": 0, "failed": 2}.get(state),
        "created_at": "2026-03-02T08:59:00.000Z",
        "started_at": "2026-03-02T09:00:00.000Z" if ran else None,
        "finished_at": "2026-03-02T09:01:00.000Z" if ran else None,
        "retried_in_job_id": None,
    } | more


def annotation_of(context: str, style: str | None, html: str, **more: Any) -> dict[str, Any]:
    return {
        "id": context,
        "context": context,
        "style": style,
        "scope": "build",
        "priority": 3,
        "body_html": html,
    } | more


class BuildkiteApi(RestApi):
    """`known` is JSON by path, or a fault."""

    prefix = "/v2"

    def __init__(self, token: str = "a-made-up-token") -> None:
        super().__init__(token)
        self.known: dict[str, Any] = {}

    def knows(self, jobs: list[Any], annotations: list[Any] | None = None) -> None:
        build = {"id": "b12", "number": 12, "state": "failed", "web_url": "https://buildkite.com/acme/app/builds/12"}
        self.known |= {PATH: build | {"jobs": jobs}, ANNOTATIONS: annotations or []}

    async def answer(self, request: web.Request, path: str) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.json_response({"message": "Authentication required."}, status=401)
        if path not in self.known:
            return web.json_response({"message": "Not found"}, status=404)
        found = self.known[path]
        if callable(found):
            return await found(request)  # type: ignore[no-any-return]
        page, link = page_of(request, found, 30) if isinstance(found, list) else (found, {})
        return web.json_response(page, headers={"RateLimit-Remaining": "199"} | link)


def limited(seconds: int) -> Answering:
    """A fault: the organization has asked too much in this minute."""
    headers = {"RateLimit_Remaining": "0", "RateLimit_Limit": "200", "RateLimit_Reset": str(seconds)}
    return answering(429, {"message": "slow down"}, **headers)
