"""What does a webhook of Gitea say?

Runs and jobs of Gitea Actions (from 1.24 on) look like GitHub's, so that one message can follow a run. The state comes
from the object in the body and never from `action`. Nothing here asks Gitea's API, and nothing but IngestError leaves
it. What runs is read in `_gitea_runs`, what people do in `_gitea_forge`; who sent it is settled in `_gitea_requests`.

Signatures and payloads: https://docs.gitea.com/usage/webhooks
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bridge.event import Event, Identity, Ignored, Inbound, Status
from bridge.sources import _gitea_forge as forge
from bridge.sources import _gitea_requests as requests
from bridge.sources import _gitea_runs as runs
from bridge.sources import _gitea_words as words

LABEL = "Gitea"
SETUP = (
    "In the repository, organization or site administration open Settings > Webhooks > Add Webhook > Gitea, give {url} "
    "as the target URL, application/json as the content type and the secret of this source. Choose “Custom Events” and "
    "tick Workflow Run, Workflow Job, Push, Delete, Pull Request, Pull Request Labeled and Release, or those of them "
    "that your rules name."
)
CONTENT_TYPES = frozenset({requests.JSON, requests.FORM})
SIGNS = True
TOKEN_HEADERS: tuple[str, ...] = ()
STATUS: Mapping[str, Status] = words.STATUS

_PREFIX = "x-gitea-"


def verify(inbound: Inbound, secrets: Sequence[str]) -> None:
    """Return if one of `secrets` signed the JSON, else raise Unauthorized."""
    requests.require_signed(inbound, secrets, _PREFIX)


def identify(inbound: Inbound) -> Identity:
    """Return the delivery's id. A replay by hand gets a new one, and says nothing new of its run."""
    return requests.identity(inbound, _PREFIX)


def normalise(inbound: Inbound) -> Event | Ignored:
    """Return what the event named by X-Gitea-Event tells; raise Unreadable."""
    return requests.read(inbound, _READERS, LABEL, _PREFIX)


def sign(body: bytes, secret: str, *, delivery: str) -> dict[str, str]:
    """Return the headers with which Gitea would send `body`."""
    return requests.signed(body, secret, delivery, "X-Gitea-")


_READERS: dict[str, requests.Reader] = {
    "workflow_run": runs.workflow_run,
    "workflow_job": runs.workflow_job,
    "status": runs.status,
    "push": forge.push,
    "create": forge.ref_created,
    "delete": forge.branch_deleted,
    "pull_request": forge.pull_request,
    "pull_request_label": forge.pull_request,
    "release": forge.release,
}
