"""Who sent a request of Gitea or one of its relatives, and which event does it name?

All of them sign the JSON with HMAC-SHA256 and write the digest as bare hex. A webhook that is set to send forms signs
the JSON inside of the form and not the form. They send GitHub's headers as well, which are never looked at: the address
that a request came to says whose it is. Without a secret they send empty signatures, and an empty one never verifies.
Nothing here reads what a body says, but for `guess`, which names a saved one.

https://docs.gitea.com/usage/webhooks
https://github.com/go-gitea/gitea/blob/main/services/webhook/deliver.go
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bridge.codec import decode, form_field
from bridge.errors import Unauthorized, Unreadable
from bridge.event import Event, Identity, Ignored, Inbound
from bridge.sources._values import digest, text
from bridge.verify import REFUSED, hmac_hex, require_hmac_hex

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"

Reader = Callable[[str, bytes], Event | Ignored]

_DELIVERY = re.compile(r"[!-~]{1,200}")


def require_signed(inbound: Inbound, secrets: Sequence[str], *prefixes: str) -> None:
    """Return if one of `secrets` signed the JSON, else raise Unauthorized. `prefixes` begin their headers' names."""
    try:
        body = payload(inbound)
    except Unreadable as error:
        raise Unauthorized(REFUSED) from error
    require_hmac_hex(body, _header(inbound.headers, "signature", prefixes), secrets)


def identity(inbound: Inbound, *prefixes: str) -> Identity:
    """Return the delivery's id, else the body's digest. Nothing is ever sent twice as news."""
    delivery = _header(inbound.headers, "delivery", prefixes)
    if _DELIVERY.fullmatch(delivery):
        return Identity(delivery)
    return digest(inbound.body)


def read(inbound: Inbound, readers: Mapping[str, Reader], label: str, *prefixes: str) -> Event | Ignored:
    """Return what the event that the headers name tells; raise Unreadable."""
    # Newer events may have a name in the finer header only.
    name = text(_header(inbound.headers, "event", prefixes) or _header(inbound.headers, "event-type", prefixes), 60)
    if name is None:
        return Ignored(f"no {prefixes[0].title()}Event header, so this is no webhook of {label}")
    reader = readers.get(name)
    if reader is None:
        return Ignored(f"{name}: bridge has nothing to say about it")
    return reader(inbound.source, payload(inbound))


def payload(inbound: Inbound) -> bytes:
    """Return the JSON, also out of a form. A saved body comes without headers: then its beginning tells."""
    content_type = inbound.headers.get("content-type")
    form = inbound.body.startswith(b"payload=")
    if content_type is not None:
        form = content_type.partition(";")[0].strip().lower() == FORM
    return form_field(inbound.body, "payload") if form else inbound.body


def signed(body: bytes, secret: str, delivery: str, *names: str) -> dict[str, str]:
    """Return the headers with which `body` would be sent. `names` begin them: ``X-Gitea-``."""
    form = body.startswith(b"payload=")
    json = form_field(body, "payload") if form else body
    event, signature = guess(json), hmac_hex(json, secret)
    headers = {"Content-Type": FORM if form else JSON}
    for name in names:
        headers |= {f"{name}Event": event, f"{name}Delivery": delivery, f"{name}Signature": signature}
    return headers


# A body's first key of these names its event: the hook of a run may hold its pull request.
_TELLING = {
    "workflow_job": "workflow_job",
    "workflow_run": "workflow_run",
    "release": "release",
    "pull_request": "pull_request",
    "context": "status",
    "pusher_type": "delete",
    "ref_type": "create",
    "before": "push",
}


def guess(body: bytes) -> str:
    """Return the event's name for a body. What is no JSON goes as a push, so that one sees how it is refused."""
    try:
        said = decode(body, dict[str, Any])
    except Unreadable:
        return "push"
    if isinstance(said.get("run"), dict):
        return f"action_run_{text(said.get('action'), 20)}"
    return next((event for key, event in _TELLING.items() if said.get(key) is not None), "unknown")


def _header(headers: Mapping[str, str], name: str, prefixes: Sequence[str]) -> str:
    """Return the first of a header's names that says something."""
    return next((value for prefix in prefixes if (value := headers.get(prefix + name, "").strip())), "")
