"""Apprise, a library that speaks to 130 chats, behind the smallest server that can call it.

It has its own server, apprise-api, a Django site for a container; the library behind aiohttp is quicker than that.
https://github.com/caronc/apprise

    python -m benchmarks.rivals.apprise_server PORT CHAT_URL SECRET
"""

from __future__ import annotations

import hmac
import json
import sys

import apprise
from aiohttp import web

CHAT = apprise.Apprise()


async def notify(request: web.Request) -> web.Response:
    body = await request.read()
    right = "sha256=" + hmac.digest(sys.argv[3].encode(), body, "sha256").hex()
    if not hmac.compare_digest(right.encode(), request.headers.get("X-Hub-Signature-256", "").encode()):
        return web.Response(status=401)
    run = json.loads(body)["workflow_run"]
    told = await CHAT.async_notify(title=f"{run['name']} {run['conclusion']}", body=run["html_url"])
    return web.Response(status=202 if told else 424)


def main() -> None:
    CHAT.add(f"{sys.argv[2].replace('http://', 'json://')}/services/apprise")
    app = web.Application(client_max_size=25 * 1024 * 1024)
    app.router.add_post("/webhooks/github", notify)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)


if __name__ == "__main__":
    main()
