"""GitLab's log of webhooks, and its pipelines, on loopback, as its manual says: numbered pages, at most 20 events.

https://docs.gitlab.com/api/project_webhooks/
https://docs.gitlab.com/api/pipelines/
"""

from __future__ import annotations

from typing import Any, Self

from aiohttp import web

TOKEN = "glpat-made-up-token"


class FakeGitLab:
    """``answers``: by path, as it was sent (``%2F`` and all). Lists come in pages; what is missing is 404."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.statuses: dict[str, int] = {}
        self.asked: list[str] = []
        self.url = ""

    def sent(self, path: str, body: dict[str, Any], key: str | None, **more: Any) -> None:
        """Something is sent by the webhook at `path` now."""
        headers = {"Content-Type": "application/json", "X-Gitlab-Token": "[REDACTED]", "X-Gitlab-Event": "Some Hook"}
        events = self.answers.setdefault(f"{path}/events", [])
        event = {"id": len(events) + 1, "url": "https://bridge.example.com/", "trigger": "pipeline_hooks"} | more
        event["request_headers"] = headers | ({"Idempotency-Key": key} if key else {})
        events.insert(0, event | {"request_data": body, "response_status": "internal error"})

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        path = request.raw_path.partition("?")[0].removeprefix("/api/v4")
        self.asked.append(path)
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({"message": "401 Unauthorized"}, status=401)
        found = self.answers.get(path)
        status = self.statuses.get(path, 200 if found is not None else 404)
        if status != 200:
            return web.json_response({"message": f"{status}"}, status=status)
        if isinstance(found, list):
            size, number = int(request.query.get("per_page", "20")), int(request.query.get("page", "1"))
            if path.endswith("/events") and size > 20:
                return web.json_response({"error": "per_page does not have a valid value"}, status=400)
            found = found[(number - 1) * size : number * size]
        return web.json_response(found)
