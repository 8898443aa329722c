"""What does a webhook of Gogs say?

Pushes, tags, pull requests and releases: Gogs runs nothing and knows no commit statuses, so what it tells has no state.
Nothing here asks its API, and nothing but IngestError leaves it. The webhooks are read in `_gitea_forge`; who sent them
is settled in `_gitea_requests`.

Signatures and payloads: https://gogs.io/docs/features/webhook
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bridge.event import Event, Identity, Ignored, Inbound, Status
from bridge.sources import _gitea_forge as forge
from bridge.sources import _gitea_requests as requests

LABEL = "Gogs"
SETUP = (
    "In the repository or organization open Settings > Webhooks > Add a new webhook > Gogs, give {url} as the payload "
    "URL, application/json as the content type and the secret of this source. Choose “Let me choose what I need” and "
    "tick Push, Create, Delete, Pull Request and Release, or those of them that your rules name."
)
CONTENT_TYPES = frozenset({requests.JSON, requests.FORM})
SIGNS = True
TOKEN_HEADERS: tuple[str, ...] = ()
STATUS: Mapping[str, Status] = {}

_PREFIX = "x-gogs-"


def verify(inbound: Inbound, secrets: Sequence[str]) -> None:
    """Return if one of `secrets` signed the JSON, else raise Unauthorized."""
    requests.require_signed(inbound, secrets, _PREFIX)


def identify(inbound: Inbound) -> Identity:
    """Return the delivery's id. A redelivery by hand gets a new one, and says nothing new."""
    return requests.identity(inbound, _PREFIX)


def normalise(inbound: Inbound) -> Event | Ignored:
    """Return what the event named by X-Gogs-Event tells; raise Unreadable."""
    found = requests.read(inbound, _READERS, LABEL, _PREFIX)
    return found if isinstance(found, Ignored) else found.with_(type="gogs")


def sign(body: bytes, secret: str, *, delivery: str) -> dict[str, str]:
    """Return the headers with which Gogs would send `body`."""
    return requests.signed(body, secret, delivery, "X-Gogs-")


_READERS: dict[str, requests.Reader] = {
    "push": forge.push,
    "create": forge.tag_created,
    "delete": forge.ref_deleted,
    "pull_request": forge.pull_request,
    "release": forge.release,
}
