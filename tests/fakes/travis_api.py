"""Travis CI's API as far as it tells its public key: ``GET /config``, well or out of order.

https://docs.travis-ci.com/user/notifications/#verifying-webhook-requests
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from aiohttp import web


@dataclass
class TravisApi:
    """What it answers now, and how often it was asked. `silent`: it takes the question and never answers."""

    key: str = ""
    status: int = 200
    text: str | None = None  # in the place of its JSON
    silent: bool = False
    asked: int = 0
    accepted: list[str] = field(default_factory=list)  # the Accept of each question
    url: str = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.asked += 1
        self.accepted.append(request.headers.get("Accept", ""))
        if self.silent:
            await asyncio.Event().wait()
        if request.path != "/api/config":
            return web.Response(status=404)
        if self.status in (301, 302):
            return web.Response(status=self.status, headers={"Location": "/api/config"})
        if self.text is not None:
            return web.Response(status=self.status, text=self.text, content_type="text/html")
        config = {"host": "travis.example.com", "notifications": {"webhook": {"public_key": self.key}}}
        return web.json_response({"config": config}, status=self.status)
