"""What does Netlify say about a deploy? Never takes a token of another algorithm than HS256.

Every event is a webhook of its own with the deploy as its body. The signature is a JWS whose claims hold the digest of
the body; it tells no time, so the store of seen deliveries is what stops a replay.

https://docs.netlify.com/deploy/deploy-notifications/
https://open-api.netlify.com/ (the deploy object)
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from bridge.codec import decode, dump, web_url
from bridge.errors import Unauthorized, Unreadable
from bridge.event import Event, Identity, Ignored, Inbound, Kind, RunRef, Status
from bridge.sources import _values as values
from bridge.verify import REFUSED, same

LABEL = "Netlify"
SETUP = (
    "In the site's Deploy notifications, add an HTTP POST request for each of “Deploy started”, “Deploy succeeded” and "
    "“Deploy failed”, with {url} as the address and the source's secret as the JWS secret token."
)
CONTENT_TYPES = frozenset({"application/json"})
SIGNS = True
TOKEN_HEADERS: tuple[str, ...] = ()
STATUS: Mapping[str, Status] = {
    "new": Status.QUEUED,
    "enqueued": Status.QUEUED,
    "pending_review": Status.WAITING,
    "building": Status.RUNNING,
    "uploading": Status.RUNNING,
    "uploaded": Status.RUNNING,
    "preparing": Status.RUNNING,
    "prepared": Status.RUNNING,
    "processing": Status.RUNNING,
    "ready": Status.SUCCESS,
    "error": Status.FAILURE,
    "rejected": Status.CANCELLED,
}

_SILENT = frozenset({"deploy_locked", "deploy_unlocked", "deploy_deleted", "submission_created"})
_STOPPED = re.compile(r"\bcancel+ed build\b", re.IGNORECASE)  # Netlify has no state of its own for it


class _Claims(msgspec.Struct):
    iss: Any = None
    sha256: Any = None


class _Header(msgspec.Struct):
    alg: Any = None


class _Deploy(msgspec.Struct):
    id: Any = None
    state: Any = None
    name: Any = None
    admin_url: Any = None
    deploy_ssl_url: Any = None
    deploy_url: Any = None
    branch: Any = None
    commit_ref: Any = None
    commit_url: Any = None
    title: Any = None
    committer: Any = None
    context: Any = None
    review_id: Any = None
    review_url: Any = None
    skipped: Any = None
    error_message: Any = None
    deploy_time: Any = None
    created_at: Any = None
    updated_at: Any = None


# -- who sent it


def verify(inbound: Inbound, secrets: Sequence[str]) -> None:
    """Return if one of `secrets` signed claims of Netlify's about this body, else raise Unauthorized."""
    try:
        signed, _, signature = inbound.headers.get("x-webhook-signature", "").encode("ascii").rpartition(b".")
        head, _, claims = signed.partition(b".")
        algorithm = msgspec.json.decode(_from_base64url(head), type=_Header).alg
        said = msgspec.json.decode(_from_base64url(claims), type=_Claims)
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise Unauthorized(REFUSED) from error
    fits = False
    for secret in secrets:
        if secret:
            fits |= same(signature, _base64url(hmac.digest(secret.encode(), signed, "sha256")))
    body = isinstance(said.sha256, str) and same(said.sha256, hashlib.sha256(inbound.body).hexdigest())
    if not (fits and body and algorithm == "HS256" and said.iss == "netlify"):
        raise Unauthorized(REFUSED)


def identify(inbound: Inbound) -> Identity:
    """Return the body's digest: Netlify sends no delivery id, and a deploy tells when it was updated."""
    return values.digest(inbound.body)


def sign(body: bytes, secret: str, *, delivery: str) -> dict[str, str]:
    """Return the headers of Netlify, the event's name from the state."""
    claims = {"iss": "netlify", "sha256": hashlib.sha256(body).hexdigest()}
    signed = b".".join(_base64url(dump(part)) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    signature = _base64url(hmac.digest(secret.encode(), signed, "sha256"))
    try:
        state = decode(body, _Deploy).state
    except Unreadable:
        state = None
    name = {"ready": "deploy_created", "error": "deploy_failed"}.get(str(state), "deploy_building")
    return {
        "Content-Type": "application/json",
        "X-Netlify-Event": name,
        "X-Webhook-Signature": b".".join((signed, signature)).decode(),
    }


def _base64url(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def _from_base64url(text: bytes) -> bytes:
    """Return what unpadded base64url holds; raise ValueError for anything else."""
    if not re.fullmatch(rb"[A-Za-z0-9_-]+", text):
        raise binascii.Error("no base64url")
    return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))


# -- what it says


def normalise(inbound: Inbound) -> Event | Ignored:
    """Return the state of the deploy; raise Unreadable."""
    name = inbound.headers.get("x-netlify-event", "").strip()
    if name in _SILENT:
        return Ignored(f"{name}: bridge tells of deploys that begin and end")
    deploy = decode(inbound.body, _Deploy)
    key = values.key(deploy.id, "id")
    admin, place = web_url(values.text(deploy.admin_url)), values.place(deploy.commit_url)
    pull = values.pull_request(deploy.review_id)
    page = web_url(f"{admin}/deploys/{quote(key, safe='')}") if admin else None
    if place["repository"] is None:
        place = values.place(deploy.review_url)
    status = _status(deploy)
    begun, told_at = values.moment(deploy.created_at), values.moment(deploy.updated_at)
    site = web_url(values.text(deploy.deploy_ssl_url)) or web_url(values.text(deploy.deploy_url))
    return Event(
        source=inbound.source,
        type="netlify",
        kind=Kind.DEPLOYMENT,
        status=status,
        **place,
        branch=values.text(deploy.branch),
        pull_request=pull,
        sha=values.text(deploy.commit_ref, 100),
        title=values.text(deploy.title),
        author=values.text(deploy.committer),
        committer=values.text(deploy.committer),
        pipeline=values.text(deploy.name) or LABEL,
        run=RunRef(id=key, url=page, unique=True),
        environment=values.text(deploy.context, 100),
        url=page,
        description=values.whole_text(deploy.error_message, 500) or values.unknown(deploy.state, STATUS),
        started_at=begun,
        finished_at=told_at if status.finished else None,
        duration=values.seconds(deploy.deploy_time),
        changed_at=told_at,
        facts=values.facts(("site", site if status is Status.SUCCESS else None)),
    )


def _status(deploy: _Deploy) -> Status:
    if deploy.skipped is True:
        return Status.SKIPPED
    if deploy.state == "error" and isinstance(deploy.error_message, str) and _STOPPED.search(deploy.error_message):
        return Status.CANCELLED
    return STATUS.get(deploy.state, Status.UNKNOWN) if isinstance(deploy.state, str) else Status.UNKNOWN
