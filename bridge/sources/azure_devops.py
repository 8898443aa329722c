"""What does a service hook of Azure DevOps say?

Nothing is signed: a hook shows a token as the password of Basic, as Bearer in a header that its owner sets, or in its
address. The body names itself by `eventType`. A run has one id in all its events, the build's, but some do not tell its
repository or its branch. Whoever sets up a hook may leave out the `resource`: then there is only the message's text,
and the status is unknown. Nothing here asks Azure's API, and nothing but IngestError leaves it. This file knows the
request; runs are read in `_azure_runs`, what people do in `_azure_forge`, both with the words of `_azure_words`.

https://learn.microsoft.com/en-us/azure/devops/service-hooks/services/webhooks
https://learn.microsoft.com/en-us/azure/devops/service-hooks/events
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from bridge.codec import decode
from bridge.errors import Unauthorized, Unreadable
from bridge.event import Event, Identity, Ignored, Inbound, Status
from bridge.sources import _azure_forge as forge
from bridge.sources import _azure_runs as runs
from bridge.sources import _azure_words as words
from bridge.sources._values import digest, text
from bridge.verify import REFUSED

LABEL = "Azure DevOps"
SETUP = (
    "In the project open Project settings > Service hooks > Create subscription > Web Hooks, choose the event, and "
    "give {url} as the URL and this source's token as the Basic authentication password, with all resource details. "
    "Make one subscription for each of: Build completed, Run state changed (state In progress), Run stage state "
    "changed, Run stage waiting for approval, Run stage approval completed, Code pushed, Pull request created, Pull "
    "request updated, or those of them that your rules name."
)
CONTENT_TYPES = frozenset({"application/json"})
SIGNS = False
TOKEN_HEADERS: tuple[str, ...] = ()

STATUS: Mapping[str, Status] = words.STATUS


# -- who sent it -------------------------------------------------------------------------------------------------------


def verify(inbound: Inbound, secrets: Sequence[str]) -> None:
    """Raise Unauthorized: Azure DevOps cannot sign. Its token is checked before this is asked."""
    raise Unauthorized(REFUSED)


_ID = re.compile(r"[!-~]{8,100}")


def identify(inbound: Inbound) -> Identity:
    """Return the event's id: two subscriptions to one event tell it twice, a retry keeps it.

    The type belongs to it: Azure's own samples share one id between events of different types.
    """
    try:
        hook = decode(inbound.body, words.Hook)
    except Unreadable:
        return digest(inbound.body)
    found = text(hook.id)
    if not found or not _ID.fullmatch(found):
        return digest(inbound.body)
    return Identity(f"{found}:{text(hook.event_type, 100) or ''}")


def sign(body: bytes, secret: str, *, delivery: str) -> dict[str, str]:
    """Return the headers with which Azure DevOps would send `body`: it signs nothing, and the id is in the body."""
    return {"Content-Type": "application/json; charset=utf-8"}


# -- what it says ------------------------------------------------------------------------------------------------------


def normalise(inbound: Inbound) -> Event | Ignored:
    """Return what the body tells; raise Unreadable."""
    hook = decode(inbound.body, words.Hook)
    name = text(hook.event_type, 100)
    if name is None:
        return Ignored("no eventType: no service hook of Azure DevOps")
    read = _READERS.get(name)
    if read is None:
        return Ignored(f"{name}: bridge has nothing to say about it")
    if hook.resource is None and read not in _TOLD_BY_THE_MESSAGE:
        return Ignored(f"{name} without its resource: let the subscription send all resource details")
    return read(inbound.source, hook)


_READERS: dict[str, Callable[[str, words.Hook], Event | Ignored]] = {
    "build.complete": runs.build,
    "ms.vss-pipelines.run-state-changed-event": runs.run_state,
    "ms.vss-pipelines.stage-state-changed-event": runs.stage_state,
    "ms.vss-pipelines.job-state-changed-event": runs.job_state,
    "ms.vss-pipelinechecks-events.approval-pending": runs.approval,
    "ms.vss-pipelinechecks-events.approval-completed": runs.approval,
    "git.push": forge.push,
    "git.pullrequest.created": forge.pull_request,
    "git.pullrequest.updated": forge.pull_request,
    "git.pullrequest.merged": forge.pull_request,
}
_TOLD_BY_THE_MESSAGE = (runs.build, runs.run_state)
"""Readers that can do without a `resource`: a run is found in the message's link."""
