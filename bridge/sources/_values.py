"""What is an odd value worth? Reads single values of foreign JSON for the senders that are read by hand.

Whatever a value is, its field is filled or left out: nothing here raises but `key`, and nothing knows a sender.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict
from urllib.parse import urlsplit

import msgspec

from bridge.codec import clean, decode, first_line, web_url
from bridge.errors import Unreadable
from bridge.event import Identity, Status

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OLDEST = datetime(1980, 1, 1, tzinfo=UTC)  # Go and others write "no time" as the year 1 or 1970
_YEAR_10000 = 253_402_300_800_000  # in milliseconds: what a datetime holds
_FOREVER = 10 * 365 * 86_400  # nothing takes ten years: such a duration is a slip
_MOST = 10**15


def text(value: Any, limit: int = 1_000) -> str | None:
    """Return the first line of a text."""
    return first_line(value, limit) if isinstance(value, str) else None


def whole_text(value: Any, limit: int = 4_000) -> str | None:
    """Return a text with all its lines."""
    return clean(value, limit) if isinstance(value, str) else None


def identifier(value: Any) -> str | None:
    """Return an id, text or number, as text. A long text is told apart by its digest."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**30:
        return str(value)
    found = text(value, 1_000)
    return found if found is None or len(found) <= 200 else hashlib.sha256(found.encode("utf-8", "replace")).hexdigest()


def key(value: Any, path: str) -> str:
    """Return the id that nothing can be told without, at most 200 characters; raise Unreadable where it is none."""
    found = identifier(value)
    if found is None:
        raise Unreadable(f"{path} is missing or no id")
    return found


def first(*values: Any) -> str | None:
    """Return the first that is a text with something in it, as one line."""
    return next((found for value in values if (found := text(value))), None)


def flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def whole(value: Any) -> int | None:
    """Return a count or number that is not negative, also from a text."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 16:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST else None


def pull_request(value: Any) -> int | None:
    number = whole(value)
    return number if number and number < 10**9 else None


def seconds(value: Any, *, per_second: int = 1) -> float | None:
    """Return a duration. NaN and the infinities fail every comparison."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) / per_second if 0 <= value < _FOREVER * per_second else None


def between(start: datetime | None, end: datetime | None) -> float | None:
    return (end - start).total_seconds() if start and end and end >= start else None


def moment(value: Any) -> datetime | None:
    """Return a time written by ISO 8601; without a zone it is UTC."""
    if not isinstance(value, str) or len(value) > 50:
        return None
    try:
        parsed = datetime.fromisoformat(value)
        utc = parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return utc if utc > _OLDEST else None


def milliseconds(value: Any) -> datetime | None:
    """Return a time given as milliseconds since 1970."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _YEAR_10000:
        return None
    return _EPOCH + timedelta(milliseconds=int(value))


def inside(value: Any, *names: str) -> Any:
    """Return what lies under `names` in objects within objects, or None."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def items(value: Any, most: int = 1_000) -> list[Any]:
    """Return what a list holds."""
    return value[:most] if isinstance(value, list) else []


def address(value: Any) -> str | None:
    """Return an address that may be shown as a link."""
    return web_url(value) if isinstance(value, str) else None


def texts(value: Any, most: int = 20) -> tuple[str, ...]:
    """Return the texts of a list."""
    return tuple(found for one in value[:most] if (found := text(one, 200))) if isinstance(value, list) else ()


def facts(*pairs: tuple[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the pairs whose value says something."""
    said = ((label, str(value) if isinstance(value, int) else text(value)) for label, value in pairs if value)
    return tuple((label, value) for label, value in said if value)


def unknown(word: Any, known: Mapping[str, Status]) -> str | None:
    """Return a word of theirs that has none of ours, to be shown as it came."""
    return None if isinstance(word, str) and word in known else text(word, 100)


# -- code


class Ref(TypedDict):
    branch: str | None
    tag: str | None


def ref(value: Any) -> Ref:
    """Return the branch or tag that a ref names; a bare name is a branch."""
    name = text(value)
    if name and name.startswith("refs/tags/"):
        return {"branch": None, "tag": name.removeprefix("refs/tags/") or None}
    return {"branch": name.removeprefix("refs/heads/") or None if name else None, "tag": None}


class Place(TypedDict):
    repository: str | None
    repository_url: str | None


_SCP = re.compile(r"(?:[\w.-]+@)?([\w.-]+):(?!/)(.+)")  # git@host:owner/name.git
_FORGES = frozenset({"github.com", "gitlab.com", "bitbucket.org"})  # known to serve pages where they serve ssh


def place(url: Any) -> Place:
    """Return the repository that an address names: of a clone, of a page, or of a commit."""
    none: Place = {"repository": None, "repository_url": None}
    line = text(url)
    if not line:
        return none
    scp = None if "://" in line else _SCP.fullmatch(line)
    try:
        parts = urlsplit(f"ssh://{scp[1]}/{scp[2]}" if scp else line)
        host, scheme, path = (parts.hostname or "").lower(), parts.scheme, parts.path
        port = f":{parts.port}" if parts.port and scheme in ("http", "https") else ""
    except ValueError:
        return none
    path = re.split(r"/(?:-/)?(?:commits?|tree|pull|merge_requests)/", path)[0].strip("/").removesuffix(".git")
    if not host or "/" not in path:
        return none
    pages = scheme in ("http", "https") or host in _FORGES
    # Written anew: an address of a clone may hold a password.
    page = f"{scheme if scheme == 'http' else 'https'}://{host}{port}/{path}" if pages else None
    return {"repository": path, "repository_url": web_url(page)}


def digest(body: bytes) -> Identity:
    """Return what a delivery is known by where the sender gives no id."""
    return Identity("sha256:" + hashlib.sha256(body).hexdigest())


class _Id(msgspec.Struct):
    id: Any = None


def identified(body: bytes) -> Identity:
    """Return what a delivery is known by where the sender gives its id within the body."""
    try:
        found = identifier(decode(body, _Id).id)
    except Unreadable:
        found = None
    return Identity(found) if found else digest(body)
