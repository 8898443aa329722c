"""The limit: an aiohttp server that reads the body, checks the HMAC, answers 202, and keeps nothing. And its steps up.

``--step read`` also parses the body into an event and compresses it. ``--step keep FILE`` also keeps that in one row of
SQLite, synced before the answer, many events to a sync: the least that anything does which loses nothing. Both with
bridge's own code, and without all that makes it bridge: runs, rules, duplicates, what is owed, metrics and a log.

python -m benchmarks.bare PORT [--step read | --step keep FILE]
"""

from __future__ import annotations

import hmac
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from benchmarks.bodies import SECRET

Keep = Callable[[web.Request, bytes], Awaitable[None]]

TABLE = "CREATE TABLE events (id INTEGER PRIMARY KEY, received_at REAL, event BLOB, body BLOB) STRICT"
ROW = "INSERT INTO events (received_at, event, body) VALUES (?, ?, ?)"


async def _nothing(_request: web.Request, _body: bytes) -> None:
    pass


def reading() -> Callable[[web.Request, bytes], tuple[float, bytes, bytes]]:
    """Return what makes a row of a request."""
    from bridge import codec
    from bridge.event import Event, Inbound
    from bridge.sources import SOURCES
    from bridge.store.rows import compress

    github = SOURCES["github"]

    def read(request: web.Request, body: bytes) -> tuple[float, bytes, bytes]:
        now = datetime.now(UTC)
        headers = {name.lower(): value for name, value in request.headers.items()}
        event = github.normalise(Inbound("github", headers, body, now))
        if not isinstance(event, Event):
            raise TypeError("the load sends runs")
        return now.timestamp(), codec.dump(event), compress(body)

    return read


def keeping(step: str, path: str) -> Keep:
    """Return what is done with each event before the answer."""
    if step == "":
        return _nothing
    read = reading()
    if step == "read":

        async def only_read(request: web.Request, body: bytes) -> None:
            read(request, body)

        return only_read
    from bridge.store._commit import GroupCommit, connect

    db = connect(Path(path))
    db.execute(TABLE)
    db.close()
    rows = _Rows()
    commit: list[GroupCommit] = []

    async def keep(request: web.Request, body: bytes) -> None:
        row = read(request, body)
        if not commit:  # within the loop
            commit.append(GroupCommit(Path(path), rows))
        await commit[0].write(lambda _: rows.waiting.append(row))

    return keep


class _Rows:
    """What a transaction has yet to write."""

    def __init__(self) -> None:
        self.waiting: list[tuple[float, bytes, bytes]] = []

    def begin(self, db: sqlite3.Connection) -> None:
        pass

    def flush(self, db: sqlite3.Connection) -> None:
        db.executemany(ROW, self.waiting)
        self.waiting.clear()

    def forget(self) -> None:
        self.waiting.clear()


def main() -> None:
    port, step, path = ([*sys.argv[1:2], *sys.argv[3:], "", ""])[:3]
    keep = keeping(step, path)

    async def accept(request: web.Request) -> web.Response:
        body = await request.read()
        given = request.headers.get("X-Hub-Signature-256", request.headers.get("X-Cirrus-Signature", ""))
        right = hmac.digest(SECRET.encode(), body, "sha256").hex()
        if not hmac.compare_digest(right.encode(), given.removeprefix("sha256=").encode()):
            return web.json_response({"status": 401}, status=401)
        await keep(request, body)
        return web.json_response({"id": "e1", "status": "accepted"}, status=202)

    app = web.Application(client_max_size=25 * 1024 * 1024)
    app.router.add_post("/webhooks/{source}", accept)
    web.run_app(app, host="127.0.0.1", port=int(port), access_log=None, print=None)


if __name__ == "__main__":
    main()
