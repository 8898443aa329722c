"""What do the fake APIs of senders share? A server on loopback, a book of what it was asked, and faults on demand.

A fault stands for one answer, the next one; `always` stands for all. What the API itself says is in `answer`, by its
manual, for one sender. Nothing here knows a time or a network.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from aiohttp import web

Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Question:
    """One request as it came in; `path` as it was written, with its escapes."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]  # names in lower case


class RestApi:
    """An API that shows what it has to who shows the token."""

    prefix = ""  # of every path, where the API has one

    def __init__(self, token: str = "a-made-up-token") -> None:
        self.token = token
        self.asked: list[Question] = []
        self.faults: deque[Answering] = deque()
        self.always: Answering | None = None
        self.url = ""
        self._over = asyncio.Event()

    async def answer(self, request: web.Request, path: str) -> web.StreamResponse:
        raise NotImplementedError

    @property
    def paths(self) -> list[str]:
        return [question.path for question in self.asked]

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}{self.prefix}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._over.set()
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append(Question(request.method, path.removeprefix(self.prefix), dict(request.query), headers))
        fault = self.faults.popleft() if self.faults else self.always
        if fault is not None:
            return await fault(request)
        if request.method != "GET" or not path.startswith(self.prefix):
            return web.json_response({"message": "Not Found"}, status=404)
        return await self.answer(request, path.removeprefix(self.prefix))

    async def silence(self, _request: web.Request) -> web.StreamResponse:
        """A fault: the question is taken and never answered."""
        await self._over.wait()
        return web.Response()


def page_of(request: web.Request, rows: Sequence[Any], default: int) -> tuple[list[Any], dict[str, str]]:
    """Return the page that was asked for, and the `Link` header that tells of the next one."""
    size = min(int(request.query.get("per_page", default)), 100)
    number = int(request.query.get("page", 1))
    more = len(rows) > number * size
    # The address of the next page is a trap: it must be counted up, not followed.
    link = {"Link": '<http://127.0.0.1:9/elsewhere?page=2>; rel="next", <http://127.0.0.1:9/>; rel="last"'}
    return list(rows[(number - 1) * size : number * size]), link if more else {}


def answering(status: int, body: Any = None, **headers: str) -> Answering:
    """A fault: this answer, an object as JSON."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(body, bytes | str):
            raw = body.encode() if isinstance(body, str) else body
            return web.Response(status=status, body=raw, headers={"Content-Type": "text/html"} | named)
        return web.json_response(body, status=status, headers=named)

    return answer


def bad_gateway() -> Answering:
    return answering(502, "<html><body>502 Bad Gateway</body></html>")


def redirect(to: str) -> Answering:
    return answering(302, "", Location=to)


def huge(size: int, begin: bytes = b"[") -> Answering:
    """A fault: an answer that does not say its length and goes on for `size` bytes."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        async for chunk in _chunks(begin, size):
            try:
                await response.write(chunk)
            except ConnectionError:  # the other side has had enough
                break
        return response

    return answer


async def _chunks(begin: bytes, size: int) -> AsyncIterator[bytes]:
    yield begin
    for _ in range(size // 65_536 + 1):
        yield b" " * 65_536


async def hang_up(request: web.Request) -> web.StreamResponse:
    """A fault: the connection ends without an answer."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()
