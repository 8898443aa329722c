"""A relay as anybody would write it: gidgethub checks and reads, aiohttp posts to the chat, within the request.

Keeps nothing: when the chat does not answer, the sender hears 500 and the event is gone.
https://gidgethub.readthedocs.io/ https://docs.aiohttp.org/

    python -m benchmarks.rivals.relay PORT CHAT_URL SECRET
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web
from gidgethub import ValidationFailure, sansio

CHAT = web.AppKey("chat", aiohttp.ClientSession)


async def relay(request: web.Request) -> web.Response:
    body = await request.read()
    try:
        event = sansio.Event.from_http(request.headers, body, secret=sys.argv[3])
    except ValidationFailure:
        return web.Response(status=401)
    run = event.data["workflow_run"]
    state = run["conclusion"] or run["status"]
    text = (
        f"<{run['html_url']}|{run['name']} {state} on {run['head_branch']}> · {event.data['repository']['full_name']}"
    )
    message = {"text": text, "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": text}}]}
    async with request.app[CHAT].post(f"{sys.argv[2]}/services/relay", json=message) as answer:
        return web.Response(status=202 if answer.status == 200 else 500)


async def chat(app: web.Application) -> AsyncIterator[None]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        app[CHAT] = session
        yield


def main() -> None:
    app = web.Application(client_max_size=25 * 1024 * 1024)
    app.router.add_post("/webhooks/github", relay)
    app.cleanup_ctx.append(chat)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)


if __name__ == "__main__":
    main()
