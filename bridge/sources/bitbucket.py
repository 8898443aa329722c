"""What does a webhook of Bitbucket say, of Cloud or of Data Center?

Both sign the raw body with HMAC-SHA256, in a header whose name elsewhere means SHA-1, and name the event in
X-Event-Key; the bodies are read in `_bitbucket_cloud` and `_bitbucket_server`. Nothing here asks an API, and nothing
but IngestError leaves it.

Cloud: https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/ and .../event-payloads/
Data Center: https://confluence.atlassian.com/bitbucketserver/manage-webhooks-938025878.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bridge.codec import decode
from bridge.errors import Unreadable
from bridge.event import Event, Identity, Ignored, Inbound, Status
from bridge.sources import _bitbucket_cloud as cloud
from bridge.sources import _bitbucket_server as server
from bridge.sources._values import digest, text
from bridge.verify import hmac_hex, require_hmac_hex

LABEL = "Bitbucket"
SETUP = (
    "In the repository (or workspace, or project) open Repository settings > Webhooks > Add webhook, give {url} as the "
    "URL and the secret of this source, and choose Build status created and updated, Push, and Pull request created, "
    "merged and declined, or those of them that your rules name."
)
CONTENT_TYPES = frozenset({"application/json"})
SIGNS = True
TOKEN_HEADERS: tuple[str, ...] = ()
STATUS: Mapping[str, Status] = cloud.STATUS

_PREFIX = "sha256="
_DELIVERY = re.compile(r"[!-~]{1,200}")


def verify(inbound: Inbound, secrets: Sequence[str]) -> None:
    """Return if one of `secrets` signed the raw body, else raise Unauthorized."""
    require_hmac_hex(inbound.body, inbound.headers.get("x-hub-signature"), secrets, prefix=_PREFIX)


def identify(inbound: Inbound) -> Identity:
    """Return the request's id, which stays when it is tried again: Cloud's, else Data Center's, else a digest."""
    for name in ("x-request-uuid", "x-request-id"):
        if _DELIVERY.fullmatch(delivery := inbound.headers.get(name, "")):
            return Identity(delivery)
    return digest(inbound.body)


def normalise(inbound: Inbound) -> Event | Ignored:
    """Return what the event named by X-Event-Key tells; raise Unreadable."""
    name = text(inbound.headers.get("x-event-key"), 60)
    if name is None:
        return Ignored("no X-Event-Key header, so this is no webhook of Bitbucket")
    if name == "diagnostics:ping":
        return Ignored("ping: the webhook is set up")
    read = _READERS.get(name)
    if read is None:
        return Ignored(f"{name}: bridge has nothing to say about it")
    return read(inbound.source, inbound.body)


_READERS: dict[str, Callable[[str, bytes], Event | Ignored]] = {
    # Cloud
    "repo:commit_status_created": cloud.commit_status,
    "repo:commit_status_updated": cloud.commit_status,
    "repo:push": cloud.push,
    "pullrequest:created": cloud.opened,
    "pullrequest:fulfilled": cloud.merged,
    "pullrequest:rejected": cloud.declined,
    # Data Center
    "repo:refs_changed": server.refs_changed,
    "pr:opened": server.opened,
    "pr:reopened": server.reopened,
    "pr:merged": server.merged,
    "pr:declined": server.declined,
}


def sign(body: bytes, secret: str, *, delivery: str) -> dict[str, str]:
    """Return the headers with which Bitbucket would send `body`."""
    event = _guess(body)
    request = "X-Request-Id" if event.startswith(("pr:", "repo:refs", "diagnostics:")) else "X-Request-UUID"
    return {
        "Content-Type": "application/json",
        "X-Event-Key": event,
        request: delivery,
        "X-Hub-Signature": _PREFIX + hmac_hex(body, secret),
    }


_ENDED = {"MERGED": "pullrequest:fulfilled", "DECLINED": "pullrequest:rejected"}


def _guess(body: bytes) -> str:
    """Return the event's name for a body; Data Center's bodies hold it."""
    try:
        said = decode(body, dict[str, Any])
    except Unreadable:
        return "repo:push"
    if isinstance(event := said.get("eventKey"), str) and event in _READERS:
        return event
    if "commit_status" in said:
        return "repo:commit_status_updated"
    if isinstance(pull := said.get("pullrequest"), dict):
        return _ENDED.get(str(pull.get("state")), "pullrequest:created")
    return "diagnostics:ping" if "test" in said else "repo:push"
