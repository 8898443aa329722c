"""What does a webhook of Forgejo (Codeberg) say?

Forgejo tells of a run of its Actions once it has ended, with how the workflow's run before it ended. All else is as
Gitea's, and Gitea's and GitHub's headers come beside its own. Nothing here asks Forgejo's API, and nothing but
IngestError leaves it. What runs is read in `_gitea_runs`, what people do in `_gitea_forge`; who sent it is settled in
`_gitea_requests`.

Signatures and payloads: https://forgejo.org/docs/latest/user/webhooks/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bridge.event import Event, Identity, Ignored, Inbound, Status
from bridge.sources import _gitea_forge as forge
from bridge.sources import _gitea_requests as requests
from bridge.sources import _gitea_runs as runs

LABEL = "Forgejo"
SETUP = (
    "In the repository, organization or site administration open Settings > Webhooks > Add webhook > Forgejo, give "
    "{url} as the target URL, application/json as the content type and the secret of this source. Choose “Custom "
    "events” and tick the Actions run events, Push, Delete, Pull request, Pull request labels and Releases, or those "
    "of them that your rules name."
)
CONTENT_TYPES = frozenset({requests.JSON, requests.FORM})
SIGNS = True
TOKEN_HEADERS: tuple[str, ...] = ()
STATUS: Mapping[str, Status] = runs.FORGEJO_STATUS

_PREFIXES = ("x-forgejo-", "x-gitea-")
"""Whose headers count: old versions sent Gitea's only, with the same signature."""


def verify(inbound: Inbound, secrets: Sequence[str]) -> None:
    """Return if one of `secrets` signed the JSON, else raise Unauthorized."""
    requests.require_signed(inbound, secrets, *_PREFIXES)


def identify(inbound: Inbound) -> Identity:
    """Return the delivery's id. A replay by hand gets a new one, and says nothing new of its run."""
    return requests.identity(inbound, *_PREFIXES)


def normalise(inbound: Inbound) -> Event | Ignored:
    """Return what the event named by X-Forgejo-Event tells; raise Unreadable."""
    found = requests.read(inbound, _READERS, LABEL, *_PREFIXES)
    return found if isinstance(found, Ignored) else found.with_(type="forgejo")


def sign(body: bytes, secret: str, *, delivery: str) -> dict[str, str]:
    """Return the headers with which Forgejo would send `body`."""
    return requests.signed(body, secret, delivery, "X-Gitea-", "X-Forgejo-")


_READERS: dict[str, requests.Reader] = {
    "action_run_failure": runs.action_run,
    "action_run_recover": runs.action_run,
    "action_run_success": runs.action_run,
    "status": runs.status,
    "push": forge.push,
    "create": forge.ref_created,
    "delete": forge.branch_deleted,
    "pull_request": forge.pull_request,
    "pull_request_label": forge.pull_request,
    "release": forge.release,
}
