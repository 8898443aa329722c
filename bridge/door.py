"""What does a caller hear whose request never reaches a route: broken HTTP, an expectation that nobody can meet?

aiohttp answers those by itself, outside every route and middleware: in plain text, with the caller's own bytes and its
own version, and with a traceback in the log for each. A `Door` is its connection with our answers instead. Never reads
a body and knows no route.
https://docs.aiohttp.org/en/stable/web_lowlevel.html
https://www.rfc-editor.org/rfc/rfc9457 (problem details)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web

from bridge.observe import log

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Door(web.RequestHandler):
    """One connection. Give it to ``loop.create_server``, with the `web.Server` of a runner."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no HTTP (400), or a bug (500), and close the connection. `message` quotes the caller."""
        if status < 500:
            log.info("request.broken", status=status, error=type(exc).__name__)
            response = problem(HTTPStatus(status), "this is no HTTP that bridge understands")
        else:
            log.error("request.failed", error=type(exc).__name__, exc_info=exc)
            response = problem(HTTPStatus(status), "a bug: it is logged")
        if request.writer.output_size > 0:
            raise ConnectionError("the answer is under way already")
        response.headers["Server"] = "bridge"
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer; an error that aiohttp raised outside our routes gets the form of all others first."""
        if isinstance(resp, web.HTTPException) and resp.status >= 400:
            resp = as_problem(resp)
        return await super().finish_response(request, resp, start_time)


def admit(handle: Handle) -> Handle:
    """Return what handles requests, with the odd ones answered first that would break aiohttp's own code.

    aiohttp quotes an expectation that it cannot meet, and fails to when it is no UTF-8.
    """

    async def checked(request: web.BaseRequest) -> web.StreamResponse:
        expected = request.headers.get("Expect")
        if expected and expected.lower() != "100-continue":
            return problem(HTTPStatus.EXPECTATION_FAILED, "nothing but 100-continue can be expected")
        return await handle(request)

    return checked


def problem(status: HTTPStatus, detail: str) -> web.Response:
    """Return an error as RFC 9457 has it; `detail` says nothing that helps a stranger."""
    return web.json_response(
        {"type": "about:blank", "title": status.phrase, "status": int(status), "detail": detail},
        status=int(status),
        content_type="application/problem+json",
    )


def as_problem(error: web.HTTPException) -> web.Response:
    """Return one of aiohttp's errors in our form."""
    response = problem(HTTPStatus(error.status), error.reason.lower())
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response
