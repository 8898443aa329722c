"""What does a webhook of Drone say?

Drone tells each state of a build, with all stages and steps so far. A build that is restarted gets a number of its own,
so every run is its first attempt. Nothing here asks Drone's API. (Woodpecker, Drone's younger sister, has no webhooks.)

Signature: an HTTP signature of the draft by Cavage, ``Signature: keyId="hmac-key",algorithm="hmac-sha256",
signature="...",headers="date digest"``, also found as ``Authorization: Signature ...``. It covers the headers Date and
Digest and nothing else, so that the body counts only if it has that digest.

https://docs.drone.io/webhooks/overview/
https://github.com/drone/drone/blob/master/plugin/webhook/webhook.go
https://datatracker.ietf.org/doc/html/draft-cavage-http-signatures-10
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any, TypedDict

import msgspec

from bridge.codec import decode, web_url
from bridge.errors import Unauthorized, Unreadable
from bridge.event import Event, Identity, Ignored, Inbound, Kind, RunRef, Status, Task
from bridge.sources import _values as values
from bridge.sources._values import inside, text
from bridge.verify import CLOCKS_DIFFER, REFUSED, require_hmac_base64, same

LABEL = "Drone"
SETUP = (
    "Start the Drone server with DRONE_WEBHOOK_ENDPOINT={url}, DRONE_WEBHOOK_SECRET set to the source's secret, and "
    "DRONE_WEBHOOK_EVENTS=build:*."
)
CONTENT_TYPES = frozenset({"application/json"})
SIGNS = True
TOKEN_HEADERS: tuple[str, ...] = ()
STATUS: Mapping[str, Status] = {
    "pending": Status.QUEUED,
    "waiting_on_dependencies": Status.QUEUED,
    "blocked": Status.WAITING,
    "running": Status.RUNNING,
    "started": Status.RUNNING,  # the word of Drone's documentation
    "success": Status.SUCCESS,
    "failure": Status.FAILURE,
    "error": Status.ERROR,
    "killed": Status.CANCELLED,
    "declined": Status.CANCELLED,
    "skipped": Status.SKIPPED,
}

_PULL = re.compile(r"refs/(?:pull|pull-requests|merge-requests)/([1-9][0-9]{0,8})/(?:head|merge|from)")
_DEPLOYING = frozenset({"promote", "rollback"})


# -- who sent it -------------------------------------------------------------------------------------------------------


def verify(inbound: Inbound, secrets: Sequence[str]) -> None:
    """Return if one of `secrets` signed the Date, lately, and the Digest that the body has; else raise Unauthorized."""
    date, digest = inbound.headers.get("date", ""), inbound.headers.get("digest", "")
    given = _parameters(inbound.headers)
    names = given.get("headers", "").lower().split()
    if given.get("algorithm") != "hmac-sha256" or sorted(names) != ["date", "digest"]:
        raise Unauthorized(REFUSED)
    require_hmac_base64(_signed(names, date, digest), given.get("signature"), secrets)
    if not same(digest, _digest(inbound.body)):
        raise Unauthorized(REFUSED)
    sent = _http_date(date)
    if sent is None or abs(inbound.received_at - sent) > CLOCKS_DIFFER:
        raise Unauthorized(REFUSED)


_PARAMETER = re.compile(r'([a-zA-Z]{1,20})="([^"]{0,200})"')
_PARAMETERS = re.compile(rf"{_PARAMETER.pattern}(?:, ?{_PARAMETER.pattern}){{0,9}}")


def _parameters(headers: Mapping[str, str]) -> dict[str, str]:
    line = headers.get("signature")
    if line is None:
        scheme, _, line = headers.get("authorization", "").partition(" ")
        line = line if scheme.lower() == "signature" else ""
    return dict(_PARAMETER.findall(line)) if len(line) < 1_000 and _PARAMETERS.fullmatch(line) else {}


def _signed(names: Sequence[str], date: str, digest: str) -> bytes:
    lines = {"date": f"date: {date}", "digest": f"digest: {digest}"}
    return "\n".join(lines[name] for name in names).encode("utf-8", "surrogatepass")


def _digest(body: bytes) -> str:
    return "SHA-256=" + base64.b64encode(hashlib.sha256(body).digest()).decode()


def _http_date(line: str) -> datetime | None:
    if len(line) > 40 or not line.isascii():
        return None
    try:
        sent = parsedate_to_datetime(line)
        return sent.astimezone(UTC) if sent.tzinfo else sent.replace(tzinfo=UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def identify(inbound: Inbound) -> Identity:
    """Return the body's digest: Drone sends no delivery id. A build's body changes with its state, by its times."""
    return values.digest(inbound.body)


def sign(body: bytes, secret: str, *, delivery: str) -> dict[str, str]:
    """Return the headers with which Drone would send `body` now. It sends no delivery id."""
    return signed_at(body, secret, datetime.now(UTC))


def signed_at(body: bytes, secret: str, now: datetime) -> dict[str, str]:
    """Return the headers with which Drone would send `body` at `now`."""
    date, digest = format_datetime(now.replace(microsecond=0), usegmt=True), _digest(body)
    code = base64.b64encode(hmac.digest(secret.encode(), _signed(("date", "digest"), date, digest), "sha256")).decode()
    return {
        "Content-Type": "application/json",
        "X-Drone-Event": _named(body) or "build",
        "Date": date,
        "Digest": digest,
        "Signature": f'keyId="hmac-key",algorithm="hmac-sha256",signature="{code}",headers="date digest"',
    }


def _named(body: bytes) -> str | None:
    try:
        found = decode(body, _Body)
    except Unreadable:
        return None
    if found.build is not None:
        return "build"
    return "repo" if found.repo is not None else "user"


# -- what it says ------------------------------------------------------------------------------------------------------


class _Build(msgspec.Struct):
    id: Any = None
    number: Any = None
    parent: Any = None
    status: Any = None
    error: Any = None
    event: Any = None
    link: Any = None
    title: Any = None
    message: Any = None
    after: Any = None
    ref: Any = None
    source_repo: Any = None
    source: Any = None
    target: Any = None
    author_login: Any = None
    author_name: Any = None
    author_email: Any = None
    sender: Any = None
    cron: Any = None
    deploy_to: Any = None
    started: Any = None
    finished: Any = None
    created: Any = None
    updated: Any = None
    stages: Any = None


class _Body(msgspec.Struct):
    event: Any = None
    action: Any = None
    repo: Any = None
    build: _Build | None = None
    system: Any = None


def normalise(inbound: Inbound) -> Event | Ignored:
    """Return a build's state in our words, or why there is nothing for chat; raise Unreadable."""
    body = decode(inbound.body, _Body)
    if body.build is None:
        name = values.first(body.event, inbound.headers.get("x-drone-event")) or "unknown event"
        return Ignored(f"{name}: bridge tells of builds only")
    return _build_event(body, body.build, inbound.source)


def _build_event(body: _Body, build: _Build, source: str) -> Event:
    repo = body.repo
    status = _status(build.status)
    started = _moment(build.started) or _moment(build.created)
    finished = _moment(build.finished) if status.finished else None
    url, link = _page(body, build), web_url(text(build.link))
    deploying = text(build.event) in _DEPLOYING
    return Event(
        **_commit(repo, build),
        source=source,
        type="drone",
        kind=Kind.DEPLOYMENT if deploying else Kind.PIPELINE,
        status=status,
        repository=text(inside(repo, "slug")),
        repository_url=web_url(text(inside(repo, "link"))),
        default_branch=text(inside(repo, "default_branch")),
        private=values.flag(inside(repo, "private")),
        pipeline=LABEL,
        run=RunRef(id=values.key(build.id, "build.id"), number=values.whole(build.number), attempt=1, url=url),
        tasks=_tasks(build, url),
        environment=text(build.deploy_to) if deploying else None,
        url=url or link,
        action=text(body.action, 100),
        description=text(build.error) or _nuance(build.status),
        trigger=text(build.event),
        started_at=started,
        finished_at=finished,
        duration=values.between(_moment(build.started), finished),
        changed_at=_changed(build, status),
        facts=values.facts(
            ("changes", link if url else None), ("cron", build.cron), ("restart of", values.whole(build.parent))
        ),
    )


def _moment(value: Any) -> datetime | None:
    """Return Unix seconds as a time; 0 is none."""
    count = values.whole(value)
    return values.milliseconds(count * 1_000) if count is not None else None


def _changed(build: _Build, status: Status) -> datetime | None:
    """Return when the build took its state. `updated` alone does not tell: Drone does not always move it."""
    own = build.finished if status.finished else build.started if status is Status.RUNNING else build.created
    return max(filter(None, (_moment(own), _moment(build.updated))), default=None)


def _status(word: Any) -> Status:
    return STATUS.get(text(word) or "", Status.UNKNOWN)


def _nuance(word: Any) -> str | None:
    return "declined" if word == "declined" else values.unknown(word, STATUS)


def _page(body: _Body, build: _Build) -> str | None:
    """Return the build's page. Its `link` leads to the forge; and old servers do not say where they are."""
    link, slug = web_url(text(inside(body.system, "link"))), text(inside(body.repo, "slug"))
    number = values.whole(build.number)
    return web_url(f"{link.rstrip('/')}/{slug}/{number}") if link and slug and number is not None else None


class _Commit(TypedDict):
    branch: str | None
    tag: str | None
    pull_request: int | None
    fork: bool | None
    sha: str | None
    title: str | None
    message: str | None
    author: str | None
    author_name: str | None
    author_email: str | None
    pusher: str | None


def _commit(repo: Any, build: _Build) -> _Commit:
    """`source` and `target` are the branches of a pull request, and the same branch twice elsewhere."""
    ref = text(build.ref) or ""
    tag = values.ref(ref)["tag"]
    pull = _PULL.fullmatch(ref)
    head, base = text(build.source_repo), text(inside(repo, "slug"))
    login, name = text(build.author_login), text(build.author_name)
    return {
        "branch": None if tag else values.first(build.source, build.target),
        "tag": tag,
        "pull_request": int(pull[1]) if pull else None,
        "fork": head.lower() != base.lower() if head and base else None,
        "sha": text(build.after, 100),
        "title": values.first(build.title, build.message),
        "message": values.whole_text(build.message),
        "author": login or name,
        "author_name": name,
        "author_email": text(build.author_email),
        "pusher": None if text(build.cron) else text(build.sender),
    }


# -- its stages --------------------------------------------------------------------------------------------------------


def _tasks(build: _Build, url: str | None) -> tuple[Task, ...]:
    stages = build.stages[:1_000] if isinstance(build.stages, list) else []
    return tuple(_task(stage, url) for stage in stages if values.identifier(inside(stage, "id")))


def _task(stage: Any, url: str | None) -> Task:
    key = values.key(inside(stage, "id"), "build.stages.id")
    status = _status(inside(stage, "status"))
    started = _moment(inside(stage, "started"))
    stopped = _moment(inside(stage, "stopped")) if status.finished else None
    number = values.whole(inside(stage, "number"))
    return Task(
        id=key,
        name=text(inside(stage, "name")) or key,
        status=status,
        url=web_url(f"{url}/{number}/1") if url and number is not None else None,
        step=_failed_step(inside(stage, "steps")),
        started_at=started,
        finished_at=stopped,
        duration=values.between(started, stopped),
        changed_at=stopped or _moment(inside(stage, "updated")) or started,
        note=text(inside(stage, "error")) or _nuance(inside(stage, "status")),
    )


def _failed_step(steps: Any) -> str | None:
    """Return the step that failed first, other than those that may fail."""
    for step in steps[:1_000] if isinstance(steps, list) else []:
        if _status(inside(step, "status")).unsuccessful and inside(step, "errignore") is not True:
            return text(inside(step, "name"))
    return None
