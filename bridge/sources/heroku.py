"""What does Heroku say about builds and releases? Never passes on the address of a build's log.

Events come as `create` with a pending object and as `update` with its end; the object's status is what counts. The log
address is signed in advance and thus a secret for a day: it is not read.

https://devcenter.heroku.com/articles/app-webhooks
https://devcenter.heroku.com/articles/webhook-events
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from bridge.codec import decode, web_url
from bridge.event import Event, Identity, Ignored, Inbound, Kind, RunRef, Status
from bridge.sources import _values as values
from bridge.verify import require_hmac_base64

LABEL = "Heroku"
SETUP = (
    "Run: heroku webhooks:add --app APP --include api:build,api:release --level sync --secret SECRET --url {url} "
    "with the source's secret as SECRET."
)
CONTENT_TYPES = frozenset({"application/json"})
SIGNS = True
TOKEN_HEADERS: tuple[str, ...] = ()
STATUS: Mapping[str, Status] = {
    "pending": Status.QUEUED,
    "succeeded": Status.SUCCESS,
    "failed": Status.FAILURE,
}

_KINDS = {"build": Kind.PIPELINE, "release": Kind.DEPLOYMENT}
_SITE = "https://dashboard.heroku.com/apps"


class _App(msgspec.Struct):
    name: Any = None


class _Slug(msgspec.Struct):
    commit: Any = None


class _Blob(msgspec.Struct):
    version: Any = None
    version_description: Any = None


class _User(msgspec.Struct):
    email: Any = None


class _Object(msgspec.Struct):
    """A build or a release."""

    id: Any = None
    status: Any = None
    app: _App | None = None
    user: _User | None = None
    stack: Any = None
    version: Any = None
    description: Any = None
    slug: _Slug | None = None
    source_blob: _Blob | None = None
    created_at: Any = None
    updated_at: Any = None


class _Body(msgspec.Struct):
    id: Any = None
    action: Any = None
    resource: Any = None
    actor: _User | None = None
    data: msgspec.Raw = msgspec.Raw()


def verify(inbound: Inbound, secrets: Sequence[str]) -> None:
    """Return if one of `secrets` signed the request, else raise Unauthorized."""
    require_hmac_base64(inbound.body, inbound.headers.get("heroku-webhook-hmac-sha256"), secrets)


def identify(inbound: Inbound) -> Identity:
    """Return the event's id in the signed body: it stays over the attempts, and is one for all webhooks of an app."""
    return values.identified(inbound.body)


def normalise(inbound: Inbound) -> Event | Ignored:
    """Return the state of the build or release; raise Unreadable."""
    body = decode(inbound.body, _Body)
    resource = values.text(body.resource, 100)
    kind = _KINDS.get(resource or "")
    if kind is None:
        return Ignored(f"{resource or 'an event without a resource'}: bridge tells of builds and releases")
    thing = decode(bytes(body.data) or b"{}", _Object)
    key = values.key(thing.id, "data.id")
    app = values.text(thing.app.name) if thing.app else None
    page = web_url(f"{_SITE}/{quote(app, safe='')}/activity/{resource}s/{quote(key, safe='')}") if app else None
    blob, release = thing.source_blob or _Blob(), kind is Kind.DEPLOYMENT
    number = values.whole(thing.version) if release else None
    status = STATUS.get(thing.status, Status.UNKNOWN) if isinstance(thing.status, str) else Status.UNKNOWN
    begun, told_at = values.moment(thing.created_at), values.moment(thing.updated_at)
    who = values.text(thing.user.email if thing.user else None) or values.text(body.actor.email if body.actor else None)
    return Event(
        source=inbound.source,
        type="heroku",
        kind=kind,
        status=status,
        sha=values.text(thing.slug.commit if thing.slug else blob.version, 100),
        title=values.text(thing.description if release else blob.version_description),
        author=who,
        author_email=who,
        pipeline=app or LABEL,
        run=RunRef(id=key, number=number, url=page),
        environment=app if release else None,
        url=page,
        action=values.text(body.action, 100),
        description=values.unknown(thing.status, STATUS),
        started_at=begun,
        finished_at=told_at if status.finished else None,
        duration=(values.between(begun, told_at) or None) if status.finished else None,
        changed_at=told_at,
        facts=values.facts(("version", f"v{number}" if number is not None else None), ("stack", thing.stack)),
    )


def sign(body: bytes, secret: str, *, delivery: str) -> dict[str, str]:
    """Return the headers of Heroku. The event's id is in the body, so `delivery` is not used."""
    digest = hmac.digest(secret.encode(), body, "sha256")
    return {"Content-Type": "application/json", "Heroku-Webhook-Hmac-SHA256": base64.b64encode(digest).decode()}
