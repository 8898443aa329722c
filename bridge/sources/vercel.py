"""What does Vercel say about a deployment? Never asks its API.

The signature is HMAC-SHA1 of the raw body: all that Vercel offers. It bounds no replay, but the id in the body is
signed and stays over the retries. A deployment has no field for its state: the type of the event is all that tells it.

https://vercel.com/docs/webhooks
https://vercel.com/docs/webhooks/webhooks-api
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from bridge.codec import decode, web_url
from bridge.event import Event, Identity, Ignored, Inbound, Kind, RunRef, Status
from bridge.sources import _values as values
from bridge.verify import hmac_hex, require_hmac_hex

LABEL = "Vercel"
SETUP = (
    "In the team's Settings > Webhooks, create a webhook for {url} with the events Deployment Created, Succeeded, "
    "Error and Canceled, and give the secret that Vercel shows once to this source."
)
CONTENT_TYPES = frozenset({"application/json"})
SIGNS = True
TOKEN_HEADERS: tuple[str, ...] = ()
STATUS: Mapping[str, Status] = {  # what follows "deployment." in the type
    "created": Status.QUEUED,
    "succeeded": Status.SUCCESS,
    "ready": Status.SUCCESS,
    "promoted": Status.SUCCESS,
    "error": Status.FAILURE,
    "canceled": Status.CANCELLED,
}

_NO_STATE = frozenset({"check-rerequested", "cleanup", "integration", "checks"})
_SITES = {"github": "https://github.com", "gitlab": "https://gitlab.com", "bitbucket": "https://bitbucket.org"}
_WORD = re.compile(r"[a-z_-]{1,40}")


class _Deployment(msgspec.Struct):
    id: Any = None
    name: Any = None
    url: Any = None
    meta: Any = None


class _Links(msgspec.Struct):
    deployment: Any = None


class _Payload(msgspec.Struct):
    deployment: _Deployment | None = None
    links: _Links | None = None
    target: Any = None
    user: Any = None


class _Body(msgspec.Struct, rename="camel"):
    id: Any = None
    type: Any = None
    created_at: Any = None
    payload: _Payload | None = None


def verify(inbound: Inbound, secrets: Sequence[str]) -> None:
    """Return if one of `secrets` signed the request, else raise Unauthorized."""
    require_hmac_hex(inbound.body, inbound.headers.get("x-vercel-signature"), secrets, digest="sha1")


def identify(inbound: Inbound) -> Identity:
    """Return the id in the signed body, which stays the same when Vercel tries again."""
    return values.identified(inbound.body)


def normalise(inbound: Inbound) -> Event | Ignored:
    """Return the state of the deployment; raise Unreadable."""
    body = decode(inbound.body, _Body)
    named = values.text(body.type, 100)
    subject, _, word = (named or "").partition(".")
    if subject != "deployment" or not _WORD.fullmatch(word) or word in _NO_STATE:
        return Ignored(f"{named or 'an event without a type'}: bridge tells of the states of deployments")
    payload = body.payload or _Payload()
    deployment = payload.deployment or _Deployment()
    key = values.key(deployment.id, "payload.deployment.id")
    page = web_url(values.text(payload.links.deployment)) if payload.links else None
    host = values.text(deployment.url, 300)
    site = web_url(host if host and "://" in host else f"https://{host}") if host else None
    told_at = values.milliseconds(body.created_at)
    status = STATUS.get(word, Status.UNKNOWN)
    return Event(
        source=inbound.source,
        type="vercel",
        kind=Kind.DEPLOYMENT,
        status=status,
        **_commit(deployment.meta),
        pipeline=values.text(deployment.name) or LABEL,
        run=RunRef(id=key, url=page, unique=True),
        environment=values.text(payload.target, 100) or "preview",  # Vercel's null is what its pages call a preview
        url=page or site,
        action=word,
        description=word if word == "promoted" else values.unknown(word, STATUS),
        started_at=told_at if word == "created" else None,
        finished_at=told_at if status.finished and word != "promoted" else None,
        changed_at=told_at,
        facts=values.facts(("site", site if status is Status.SUCCESS else None)),
    )


def _commit(meta: Any) -> dict[str, Any]:
    """What `meta` says of the code: its keys begin with the forge's name."""
    keys = "".join(key for key in meta if isinstance(key, str) and "Commit" in key) if isinstance(meta, dict) else ""
    forge = next((name for name in _SITES if f"{name}Commit" in keys), "")

    def said(name: str) -> str | None:
        return values.text(values.inside(meta, forge + name))

    repository = said("ProjectPath") or _joined(said("CommitOrg") or said("Org"), said("CommitRepo") or said("Repo"))
    repository = repository or _joined(said("RepoOwner"), said("RepoSlug") or said("RepoName"))
    return {
        "repository": repository,
        "repository_url": web_url(f"{_SITES[forge]}/{repository}") if repository and forge else None,
        "branch": said("CommitRef"),
        "pull_request": values.pull_request(said("PrId")),
        "sha": said("CommitSha"),
        "title": said("CommitMessage"),
        "message": values.whole_text(values.inside(meta, f"{forge}CommitMessage")),
        "author": said("CommitAuthorLogin") or said("CommitAuthorName"),
        "author_name": said("CommitAuthorName"),
        "author_email": said("CommitAuthorEmail"),
    }


def _joined(owner: str | None, name: str | None) -> str | None:
    return f"{owner}/{name}" if owner and name else None


def sign(body: bytes, secret: str, *, delivery: str) -> dict[str, str]:
    """Return the headers of Vercel. The delivery's id is in the body, so `delivery` is not used."""
    return {"Content-Type": "application/json", "x-vercel-signature": hmac_hex(body, secret, "sha1")}
