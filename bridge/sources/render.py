"""What does Render say about deploys, builds and servers? Never asks its API, which alone knows branch and commit.

Requests are signed by Standard Webhooks and thin: a type, a time, the service and at an end its status. Begin and end
of one deploy carry ids of their own and nothing joins them, so each is told for itself.

https://render.com/docs/webhooks
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from bridge.codec import decode
from bridge.event import Event, Identity, Ignored, Inbound, Kind, RunRef, Status
from bridge.sources import _values as values
from bridge.verify import require_standard, standard_headers

LABEL = "Render"
SETUP = (
    "In the workspace's Integrations > Webhooks, create a webhook for {url} with the events of deploys and builds, and "
    "give its signing secret (whsec_...) to this source."
)
CONTENT_TYPES = frozenset({"application/json"})
SIGNS = True
TOKEN_HEADERS: tuple[str, ...] = ()
STATUS: Mapping[str, Status] = {
    "started": Status.RUNNING,  # how the type of a beginning ends
    "succeeded": Status.SUCCESS,
    "failed": Status.FAILURE,
    "canceled": Status.CANCELLED,
}

_SERVER = {
    "server_failed": Status.FAILURE,
    "server_hardware_failure": Status.FAILURE,
    "image_pull_failed": Status.FAILURE,
    "server_available": Status.SUCCESS,
}


class _Data(msgspec.Struct, rename="camel"):
    id: Any = None
    service_id: Any = None
    service_name: Any = None
    status: Any = None


class _Body(msgspec.Struct):
    type: Any = None
    timestamp: Any = None
    data: _Data | None = None


def verify(inbound: Inbound, secrets: Sequence[str]) -> None:
    """Return if one of `secrets` signed the request, and lately; else raise Unauthorized."""
    require_standard(inbound.headers, inbound.body, secrets, inbound.received_at)


def identify(inbound: Inbound) -> Identity:
    """Return the signed id, which stays the same when Render tries again."""
    key = values.identifier(inbound.headers.get("webhook-id"))
    return Identity(key) if key else values.digest(inbound.body)


def normalise(inbound: Inbound) -> Event | Ignored:
    """Return what began, ended or fell over; raise Unreadable."""
    body = decode(inbound.body, _Body)
    named, data = values.text(body.type, 100) or "", body.data or _Data()
    service = values.identifier(data.service_id)
    told_at = values.moment(body.timestamp)
    subject, _, last = named.rpartition("_")
    event = Event(
        source=inbound.source,
        type="render",
        kind=Kind.ALERT,
        pipeline=values.text(data.service_name) or service or LABEL,
        run=RunRef(id=values.identifier(data.id) or identify(inbound).key),
        action=named or None,
        changed_at=told_at,
        facts=values.facts(("service", service)),
    )
    if named in _SERVER:
        # What is over is said of what it was: "server failed is resolved".
        what = "server failed" if named == "server_available" else named.replace("_", " ")
        title = f"{values.text(data.service_name) or service or 'a service'}: {what}"
        # One run per service: what fails and what is there again are one story.
        run = RunRef(id=f"{service}/server") if service else event.run
        return event.with_(status=_SERVER[named], title=title, run=run)
    if not subject or last not in ("started", "ended"):
        return Ignored(
            f"{named or 'an event without a type'}: bridge tells of deploys, builds, jobs and failing servers"
        )
    deploys = subject == "deploy"
    word = "started" if last == "started" else values.text(data.status, 100)
    status = STATUS.get(word or "", Status.UNKNOWN)
    return event.with_(
        kind=Kind.DEPLOYMENT if deploys else Kind.PIPELINE,
        status=status,
        environment=event.pipeline if deploys else None,
        # A service builds, deploys and runs jobs: results are compared with those of the same.
        pipeline=event.pipeline if deploys else f"{event.pipeline} {subject.replace('_', ' ')}",
        description=values.unknown(word, STATUS) or (None if word else "ended, the status was not sent"),
        started_at=told_at if last == "started" else None,
        finished_at=told_at if last == "ended" else None,
    )


def sign(body: bytes, secret: str, *, delivery: str) -> dict[str, str]:
    """Return the headers of Render. The time is signed, so it is the present one."""
    now = datetime.now(UTC)
    return {"Content-Type": "application/json"} | standard_headers(body, secret, delivery=delivery, now=now)
