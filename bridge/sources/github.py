"""What does a webhook of GitHub say?

The state comes from the object in the body and never from `action`: a run that waits for an approval is sent as
action "requested" with a completed run, and deliveries come late, twice and out of order. Nothing here asks GitHub's
API, and nothing but IngestError leaves it. This file knows the request; what runs on GitHub is read in `_github_runs`,
what people do there in `_github_forge`, both with the words of `_github_words` from the fields in `_github_shapes`.

Signatures: https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
Payloads: https://docs.github.com/en/webhooks/webhook-events-and-payloads
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

from bridge.codec import decode, first_line, form_field
from bridge.errors import Unreadable
from bridge.event import Event, Identity, Ignored, Inbound, Status
from bridge.sources import _github_forge as forge
from bridge.sources import _github_runs as runs
from bridge.sources import _github_words as words
from bridge.verify import hmac_hex, require_hmac_hex

LABEL = "GitHub"

SETUP = (
    "In the repository or organization open Settings > Webhooks > Add webhook, give {url} as the payload URL, "
    "application/json as the content type and the secret of this source. Choose “Let me select individual events” and "
    "tick Workflow runs, Workflow jobs, Check suites, Check runs, Statuses, Deployments, Deployment statuses, Pushes, "
    "Pull requests and Releases, or those of them that your rules name."
)

_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"
CONTENT_TYPES: frozenset[str] = frozenset({_JSON, _FORM})
SIGNS = True
TOKEN_HEADERS: tuple[str, ...] = ()

STATUS: Mapping[str, Status] = words.STATUS

_SIGNATURE = "x-hub-signature-256"
_PREFIX = "sha256="


# -- who sent it -------------------------------------------------------------------------------------------------------


def verify(inbound: Inbound, secrets: Sequence[str]) -> None:
    """Return if one of `secrets` signed the raw body, JSON or form, else raise Unauthorized.

    The older X-Hub-Signature (SHA-1) that comes beside it is never looked at.
    """
    require_hmac_hex(inbound.body, inbound.headers.get(_SIGNATURE), secrets, prefix=_PREFIX)


def identify(inbound: Inbound) -> Identity:
    """Return the delivery's id: a redelivery by hand keeps it. GitHub never sends one thing twice as news."""
    delivery = inbound.headers.get("x-github-delivery", "")
    if 0 < len(delivery) <= 200 and all("!" <= char <= "~" for char in delivery):
        return Identity(delivery)
    return Identity("sha256:" + hashlib.sha256(inbound.body).hexdigest())


def sign(body: bytes, secret: str, *, delivery: str) -> dict[str, str]:
    """Return the headers with which GitHub would send `body`."""
    form = body.startswith(b"payload=")
    return {
        "Content-Type": _FORM if form else _JSON,
        "X-GitHub-Event": _guess(form_field(body, "payload") if form else body),
        "X-GitHub-Delivery": delivery,
        "X-Hub-Signature-256": _PREFIX + hmac_hex(body, secret),
    }


# A body's first key of these names its event: a deployment's body holds a workflow_run, a job's may hold a deployment.
_TELLING = {
    "zen": "ping",
    "deployment_status": "deployment_status",
    "workflow_job": "workflow_job",
    "workflow_job_run": "deployment_review",
    "reviewers": "deployment_review",
    "deployment": "deployment",
    "check_run": "check_run",
    "check_suite": "check_suite",
    "workflow_run": "workflow_run",
    "review": "pull_request_review",
    "pull_request": "pull_request",
    "release": "release",
    "merge_group": "merge_group",
    "context": "status",
    "ref_type": "create",
    "before": "push",
    "inputs": "workflow_dispatch",
}


def _guess(body: bytes) -> str:
    """Return the event's name for a body. What is no JSON goes as a run, so that one sees how it is refused."""
    try:
        keys = decode(body, dict[str, object]).keys()
    except Unreadable:
        return "workflow_run"
    return next((event for key, event in _TELLING.items() if key in keys), "unknown")


# -- what it says ------------------------------------------------------------------------------------------------------


def normalise(inbound: Inbound) -> Event | Ignored:
    """Return what the event named by X-GitHub-Event tells; raise Unreadable."""
    name = first_line(inbound.headers.get("x-github-event"), 60)
    if name is None:
        return Ignored("no X-GitHub-Event header, so this is no webhook of GitHub")
    if name == "ping":
        return Ignored("ping: the webhook is set up")
    read = _READERS.get(name)
    if read is None:
        return Ignored(f"{name}: bridge has nothing to say about it")
    return read(inbound.source, form_field(inbound.body, "payload") if _is_form(inbound) else inbound.body)


def _is_form(inbound: Inbound) -> bool:
    """A saved body comes without headers: then its beginning tells."""
    content_type = inbound.headers.get("content-type")
    if content_type is None:
        return inbound.body.startswith(b"payload=")
    return content_type.partition(";")[0].strip().lower() == _FORM


_READERS: dict[str, Callable[[str, bytes], Event | Ignored]] = {
    "workflow_run": runs.workflow_run,
    "workflow_job": runs.workflow_job,
    "check_suite": runs.check_suite,
    "check_run": runs.check_run,
    "status": runs.status,
    "deployment": runs.deployment,
    "deployment_status": runs.deployment_status,
    "push": forge.push,
    "pull_request": forge.pull_request,
    "release": forge.release,
}
