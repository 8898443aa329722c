"""GitHub's webhooks and their deliveries on loopback, as its manual says: pages by a cursor, bodies one by one.

https://docs.github.com/en/rest/repos/webhooks
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Self

from aiohttp import web

TOKEN = "ghp_made-up-token"
NOW = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def hook(number: int, url: str) -> dict[str, Any]:
    return {"id": number, "name": "web", "active": True, "events": ["*"], "config": {"url": url, "secret": "********"}}


class FakeGitHub:
    """``hooks``: by the path that lists them. ``deliveries``: newest first, of any webhook."""

    def __init__(self) -> None:
        self.hooks: dict[str, list[dict[str, Any]]] = {}
        self.deliveries: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.tokens: set[str | None] = set()
        self.page = 2
        self.limited_after: int | None = None  # so many answers, then "slow down"
        self.next_link = "{url}?cursor=v1_{start}"
        self.redelivered: Callable[[dict[str, Any]], Awaitable[None]] | None = None
        self.url = ""

    def sent(self, guid: str, event: str, payload: Any, *, at: str = NOW, status: int = 502, **more: Any) -> None:
        """Something is sent now, before all that was sent so far in the list."""
        number = 10**15 + len(self.deliveries)
        said = {"id": number, "guid": guid, "delivered_at": at, "redelivery": False, "status_code": status}
        self.deliveries.insert(0, said | {"event": event, "payload": payload} | more)

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
        self.asked.append(f"{request.method} {request.path}")
        self.tokens.add(request.headers.get("Authorization"))
        if self.limited_after is not None and len(self.asked) > self.limited_after:
            reset = {"X-RateLimit-Remaining": "0", "Retry-After": "120"}
            return web.json_response({"message": "API rate limit exceeded"}, status=403, headers=reset)
        if request.path in self.hooks:
            return web.json_response(self.hooks[request.path])
        listing, _, rest = request.path.partition("/deliveries")
        owner, _, number = listing.rpartition("/")
        if not any(str(one["id"]) == number for one in self.hooks.get(owner, ())):
            return web.json_response({"message": "Not Found"}, status=404)
        if not rest:
            return self._list(request)
        return await self._one(rest.strip("/").split("/"))

    def _list(self, request: web.Request) -> web.Response:
        start = int(request.query.get("cursor", "v1_0").removeprefix("v1_"))
        some = self.deliveries[start : start + self.page]
        following = start + self.page
        more = following < len(self.deliveries)
        link = self.next_link.format(url=str(request.url.with_query({})), start=following)
        headers = {"Link": f'<{link}>; rel="next"'} if more else {}
        listed = [{key: value for key, value in one.items() if key not in ("payload", "headers")} for one in some]
        return web.json_response(listed, headers=headers)

    async def _one(self, path: list[str]) -> web.Response:
        one = next((one for one in self.deliveries if str(one["id"]) == path[0]), None)
        if one is None:
            return web.json_response({"message": "Not Found"}, status=404)
        if path[1:] == ["attempts"]:
            if self.redelivered is not None:
                await self.redelivered(one)
            return web.json_response({}, status=202)
        headers = {
            "Accept": "*/*",
            "Content-Type": "application/x-www-form-urlencoded",
            "X-GitHub-Delivery": one["guid"],
            "X-GitHub-Event": one["event"],
            "X-Hub-Signature-256": "sha256=" + "0" * 64,
        } | one.get("headers", {})
        whole = {"request": {"headers": headers, "payload": one["payload"]}, "response": {"headers": {}, "payload": ""}}
        return web.Response(text=json.dumps(whole | one), content_type="application/json")
