"""What does a webhook of GitLab say?

The body names itself by `object_kind` (system hooks by `event_name`), so X-Gitlab-Event is never asked. The state comes
from the object and never from an action: deliveries come late, and GitLab never sends one again by itself. Nothing here
asks GitLab's API, and nothing but IngestError leaves it. This file knows the request; what runs on GitLab is read in
`_gitlab_runs`, what people do there in `_gitlab_forge`, both with the words of `_gitlab_words`.

A request shows a token (X-Gitlab-Token), or since GitLab 19 it is signed by Standard Webhooks; then the time is signed
with it. Where bridge knows a signing token, a signature that is there has to be right: no token makes up for it.

https://docs.gitlab.com/user/project/integrations/webhooks/
https://docs.gitlab.com/user/project/integrations/webhook_events/
https://docs.gitlab.com/administration/system_hooks/
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from bridge.codec import decode
from bridge.errors import Unauthorized, Unreadable
from bridge.event import Event, Identity, Ignored, Inbound, Status
from bridge.sources import _gitlab_forge as forge
from bridge.sources import _gitlab_runs as runs
from bridge.sources import _gitlab_words as words
from bridge.sources._values import text
from bridge.verify import REFUSED, require_standard, shows_token, standard_headers

LABEL = "GitLab"
SETUP = (
    "In the project or group open Settings > Webhooks > Add new webhook and give {url} as the URL. From GitLab 19.0 on "
    "generate a signing token and make it this source's secret; before, put the source's token into Secret token. Tick "
    "Pipeline events, Job events, Deployment events, Push events, Tag push events, Merge request events and Releases "
    "events, or those of them that your rules name."
)
CONTENT_TYPES = frozenset({"application/json"})
SIGNS = True
TOKEN_HEADERS: tuple[str, ...] = ("x-gitlab-token",)

STATUS: Mapping[str, Status] = words.STATUS

_SIGNING = "whsec_"
_ID = re.compile(r"[!-~]{1,200}")


# -- who sent it -------------------------------------------------------------------------------------------------------


def verify(inbound: Inbound, secrets: Sequence[str]) -> None:
    """Return if one of `secrets` signed the request, else raise Unauthorized.

    A secret without ``whsec_`` cannot be a signing token: it is what GitLab calls the secret token, and sends as it is.
    """
    signing = [secret for secret in secrets if secret.startswith(_SIGNING)]
    if signing and "webhook-signature" in inbound.headers:
        require_standard(inbound.headers, inbound.body, signing, inbound.received_at)
        return
    plain = [secret for secret in secrets if secret not in signing]
    if not shows_token(inbound.headers, None, plain, TOKEN_HEADERS):
        raise Unauthorized(REFUSED)


def identify(inbound: Inbound) -> Identity:
    """Return the delivery's id, which is signed where anything is; older servers send none.

    X-Gitlab-Event-UUID is none: webhooks that set off each other share it.
    """
    for name in ("webhook-id", "idempotency-key"):
        if _ID.fullmatch(delivery := inbound.headers.get(name, "")):
            return Identity(delivery)
    return Identity("sha256:" + hashlib.sha256(inbound.body).hexdigest())


def sign(body: bytes, secret: str, *, delivery: str) -> dict[str, str]:
    """Return the headers with which GitLab would send `body`."""
    headers = {
        "Content-Type": "application/json",
        "X-Gitlab-Event": _header(body),
        "Idempotency-Key": delivery,
    }
    if secret.startswith(_SIGNING):
        return headers | standard_headers(body, secret, delivery=delivery, now=datetime.now(UTC))
    return headers | ({"X-Gitlab-Token": secret} if secret else {})


def _header(body: bytes) -> str:
    try:
        named = decode(body, _Named)
    except Unreadable:
        return "Pipeline Hook"
    kind = text(named.object_kind, 60)
    return _HEADERS.get(kind, f"{kind.title()} Hook") if kind else "System Hook"


_HEADERS = {"build": "Job Hook", "tag_push": "Tag Push Hook", "merge_request": "Merge Request Hook"}


# -- what it says ------------------------------------------------------------------------------------------------------


class _Named(msgspec.Struct):
    """What names a body."""

    object_kind: Any = None
    event_name: Any = None


def normalise(inbound: Inbound) -> Event | Ignored:
    """Return what the body tells; raise Unreadable."""
    named = decode(inbound.body, _Named)
    kind, event = text(named.object_kind, 60), text(named.event_name, 60)
    name = kind or event
    if name is None:
        return Ignored("neither object_kind nor event_name: no webhook of GitLab, or one with a template of its own")
    read = _READERS.get(name)
    if read is not None:
        return read(inbound.source, inbound.body)
    if kind is None:
        return forge.system(inbound.source, inbound.body)
    return Ignored(f"{name}: bridge has nothing to say about it")


_READERS: dict[str, Callable[[str, bytes], Event | Ignored]] = {
    "pipeline": runs.pipeline,
    "build": runs.job,
    "deployment": runs.deployment,
    "push": forge.push,
    "tag_push": forge.push,
    "merge_request": forge.merge_request,
    "release": forge.release,
}
