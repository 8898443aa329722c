"""The limit: an aiohttp server that reads the body, checks the HMAC, answers 202, and keeps nothing.

python -m benchmarks.bare PORT
"""

from __future__ import annotations

import hmac
import sys

from aiohttp import web

from benchmarks.bodies import SECRET


async def accept(request: web.Request) -> web.Response:
    body = await request.read()
    given = request.headers.get("X-Hub-Signature-256", request.headers.get("X-Cirrus-Signature", ""))
    right = hmac.digest(SECRET.encode(), body, "sha256").hex()
    if not hmac.compare_digest(right.encode(), given.removeprefix("sha256=").encode()):
        return web.json_response({"status": 401}, status=401)
    return web.json_response({"id": "e1", "status": "accepted"}, status=202)


def main() -> None:
    app = web.Application(client_max_size=25 * 1024 * 1024)
    app.router.add_post("/webhooks/{source}", accept)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)


if __name__ == "__main__":
    main()
