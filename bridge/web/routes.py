"""How does a browser get the page? Routes, the login, and the stream that keeps the page as the chat is now.

Never decides what is shown (`bridge.web.page`) or who may see it (`bridge.web.login`).
Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from urllib.parse import parse_qs

from aiohttp import ClientConnectionResetError, web
from aiohttp_sse import EventSourceResponse, sse_response

from bridge.errors import StoreUnavailable
from bridge.store.base import Mute
from bridge.web import login, page
from bridge.web.feed import Bubble, Feed

_FORM_LIMIT = 4_096
_FORM_TIME = 10  # seconds
_SEND_TIME = 5  # seconds for one bubble: a reader who takes longer is cut off, comes back and sees the newest state
_MUTES_TIME = 3  # seconds
_PING = 15  # seconds: platforms cut what is silent for 55

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    # Other sites learn nothing. Not no-referrer: with it browsers send "Origin: null" with our own form's POST.
    "Referrer-Policy": "same-origin",
}
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


Mutes = Callable[[], Awaitable[Sequence[Mute]]]


async def _no_mutes() -> Sequence[Mute]:
    return ()


def add_routes(
    app: web.Application,
    feed: Feed,
    *,
    token: str | None,
    unlocked: bool,
    title: str = "bridge",
    mutes: Mutes = _no_mutes,
) -> None:
    """Serve the page. Without a token there is none, except when it is `unlocked` (a demo on loopback)."""
    if not token and not unlocked:
        return
    routes = _Routes(feed, None if unlocked else token, title, mutes)
    app.add_routes(
        [
            web.get("/", routes.home),
            web.get("/live", routes.live, allow_head=False),
            web.get("/static/{name}", _static),
            web.post("/login", routes.log_in),
            web.post("/logout", routes.log_out),
        ]
    )

    async def close(_app: web.Application) -> None:
        feed.close()  # an open stream would hold the shutdown until its time is over

    app.on_shutdown.append(close)


class _Routes:
    """What answers, for one feed and one token (None: open to all)."""

    def __init__(self, feed: Feed, token: str | None, title: str, mutes: Mutes) -> None:
        self._feed, self._token, self._title, self._mutes = feed, token, title, mutes

    async def home(self, request: web.Request) -> web.Response:
        if not self._may_see(request):
            return self._ask(wrong=False)
        logout = self._token is not None
        mutes: Sequence[Mute] | None = None
        try:
            async with asyncio.timeout(_MUTES_TIME):
                mutes = await self._mutes()
        except (StoreUnavailable, TimeoutError):
            pass  # the page says that they are not known
        now = datetime.now(UTC)
        return _html(page.home(self._feed.recent(), now, title=self._title, logout=logout, mutes=mutes))

    async def live(self, request: web.Request) -> web.StreamResponse:
        """Send every bubble of now, then each change, until the reader, the login or the server goes."""
        if not self._may_see(request):
            return web.Response(status=401, headers=_HEADERS | _CHALLENGE)
        with self._feed.subscribe() as bubbles:
            async with sse_response(request, headers=_HEADERS, ping_interval=_PING, send_timeout=_SEND_TIME) as stream:
                # The pings notice that the reader went away; without news the loop below never would.
                gone = asyncio.ensure_future(stream.wait())
                gone.add_done_callback(lambda _: bubbles.close())
                try:
                    # A page that was made before the stream began, or reconnects, lacks what came in between.
                    for bubble in self._feed.recent():
                        await _send(stream, bubble)
                    async for bubble in bubbles:
                        if not self._may_see(request):
                            break
                        await _send(stream, bubble)
                except (ClientConnectionResetError, ConnectionResetError, TimeoutError):
                    pass  # the tab was closed, or its line is dead
                finally:
                    gone.cancel()
        return stream

    async def log_in(self, request: web.Request) -> web.Response:
        if login.cross_site(request.headers, request.host):
            return _refused()
        given = await _posted_token(request)
        if self._token is not None and not login.right_token(given, self._token):
            return self._ask(wrong=True)
        answer = _see_page()
        if self._token is not None:
            _set_cookie(request, answer, login.issue(self._token, time.time()))
        return answer

    async def log_out(self, request: web.Request) -> web.Response:
        if login.cross_site(request.headers, request.host):
            return _refused()
        answer = _see_page()
        _set_cookie(request, answer, "")
        return answer

    def _may_see(self, request: web.Request) -> bool:
        if self._token is None:
            return True
        given = login.bearer(request.headers.get("Authorization", ""))
        if given is not None:
            return login.right_token(given, self._token)
        cookie = request.cookies.get(login.cookie_name(_secure(request)), "")
        return login.valid(cookie, self._token, time.time())

    def _ask(self, *, wrong: bool) -> web.Response:
        answer = _html(page.form(title=self._title, wrong=wrong), status=401)
        answer.headers.update(_CHALLENGE)
        return answer


_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="bridge"'}


async def _static(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    if name not in page.STATIC:
        raise web.HTTPNotFound
    caching = "public, max-age=31536000, immutable" if "v" in request.query else "no-cache"
    return web.Response(
        body=page.STATIC[name],
        content_type=_TYPES[name[name.rindex(".") :]],
        charset="utf-8",
        headers=_HEADERS | {"Cache-Control": caching},
    )


async def _send(stream: EventSourceResponse, bubble: Bubble) -> None:
    await stream.send(page.update(bubble, datetime.now(UTC)))


async def _posted_token(request: web.Request) -> str:
    """Return the form's token, or "" from whatever is no such form."""
    body = bytearray()
    try:
        async with asyncio.timeout(_FORM_TIME):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > _FORM_LIMIT:
                    return ""
        return parse_qs(body.decode("utf-8", "replace"), max_num_fields=4).get("token", [""])[0]
    except (TimeoutError, ValueError):
        return ""


def _secure(request: web.Request) -> bool:
    """Whether the browser speaks https, to us or to the platform in front. Who lies here harms his own cookie."""
    return request.secure or request.headers.get("X-Forwarded-Proto", "").split(",")[0].strip().lower() == "https"


def _set_cookie(request: web.Request, answer: web.Response, value: str) -> None:
    """Give the cookie, or with "" take it away."""
    secure = _secure(request)
    answer.set_cookie(
        login.cookie_name(secure),
        value,
        max_age=int(login.LIFETIME.total_seconds()) if value else 0,
        path="/",
        secure=secure,
        httponly=True,
        samesite="Lax",
    )


def _html(text: str, *, status: int = 200) -> web.Response:
    headers = _HEADERS | {"Cache-Control": "no-store"}
    return web.Response(text=text, status=status, content_type="text/html", headers=headers)


def _see_page() -> web.Response:
    return web.Response(status=303, headers=_HEADERS | {"Location": "/", "Cache-Control": "no-store"})


def _refused() -> web.Response:
    return web.Response(status=403, text="sent by another site's page\n", headers=_HEADERS)
