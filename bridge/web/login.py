"""Who may see the page? Whoever has the admin token, or a cookie that was given for it.

The cookie is the time of the login and an HMAC of it with the token as the key: it tells nobody the token, needs no
store, and a new token ends every login. Pure: never looks at the clock and never answers a request.

Names with ``__Host-`` are kept by browsers to https, to this very host and to the path /:
https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/Set-Cookie#cookie_prefixes
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import urlsplit

LIFETIME = timedelta(hours=12)
_SKEW = 60  # seconds that the clock may have been set back since
_TIME = re.compile(r"[0-9]{1,12}", re.ASCII)


def right_token(given: str, token: str) -> bool:
    """Return whether `given` is `token`, in the same time for every wrong one."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), token.encode())


def issue(token: str, now: float) -> str:
    """Return the cookie for a login at `now` (seconds since 1970)."""
    when = str(int(now))
    return f"{when}.{_sign(token, when)}"


def valid(cookie: str, token: str, now: float) -> bool:
    """Return whether `cookie` was issued with `token`, and not too long ago."""
    when, _, signature = cookie.partition(".")
    if not _TIME.fullmatch(when) or not right_token(signature, _sign(token, when)):
        return False
    return -_SKEW <= now - int(when) < LIFETIME.total_seconds()


def bearer(header: str) -> str | None:
    """Return the token of an ``Authorization: Bearer`` header."""
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def cookie_name(secure: bool) -> str:
    return "__Host-bridge" if secure else "bridge"


def cross_site(headers: Mapping[str, str], host: str) -> bool:
    """Return whether another site's page made the browser send this.

    Browsers say so in Sec-Fetch-Site on https and loopback, and in Origin with every POST. Neither: no browser.
    """
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("Origin")
    return origin is not None and _host(origin) != host.lower()


def _host(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _sign(token: str, when: str) -> str:
    return hmac.new(token.encode(), b"bridge page, login at " + when.encode(), hashlib.sha256).hexdigest()
