"""What does a sender say that signs by Standard Webhooks? Never asks anybody; reads what common names tell.

Svix and its customers, Replicate, OpenAI and many more sign this way; what the body means is their own. The
specification recommends `type`, `timestamp` and `data`. What looks like a run, a deployment or a release is one,
anything else is an alert with the event's type as its title, so that a rule without `kind` hears it.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
https://docs.svix.com/receiving/verifying-payloads/how-manual (the svix- headers)
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bridge.codec import decode
from bridge.event import Event, Identity, Inbound, Kind, RunRef, Status
from bridge.sources import _common_fields as common
from bridge.sources import _values as values
from bridge.verify import require_standard, standard_headers

LABEL = "Standard Webhooks"
SETUP = (
    "Give {url} as the webhook's address to the sender, and its signing secret (whsec_..., or whpk_... where it signs "
    "with a key of its own) to this source."
)
CONTENT_TYPES = frozenset({"application/json"})
SIGNS = True
TOKEN_HEADERS: tuple[str, ...] = ()
STATUS: Mapping[str, Status] = common.STATUS

_PREFIXES = ("webhook", "svix")  # Svix calls the same headers by its own name
_KINDS = (
    (re.compile(r"deploy(ment|s)?"), Kind.DEPLOYMENT),
    (re.compile(r"releases?"), Kind.RELEASE),
    (re.compile(r"builds?|pipelines?|workflows?|(workflow|pipeline)?_?runs?|jobs?|predictions?"), Kind.PIPELINE),
)


def verify(inbound: Inbound, secrets: Sequence[str]) -> None:
    """Return if one of `secrets` signed the request, and lately; else raise Unauthorized."""
    require_standard(inbound.headers, inbound.body, secrets, inbound.received_at, prefix=_prefix(inbound))


def identify(inbound: Inbound) -> Identity:
    """Return the signed id, which stays the same when the sender tries again."""
    key = values.identifier(inbound.headers.get(f"{_prefix(inbound)}-id"))
    return Identity(key) if key else values.digest(inbound.body)


def normalise(inbound: Inbound) -> Event:
    """Return what common names tell; raise Unreadable for what is no JSON."""
    body = decode(inbound.body, Any)
    inner = values.inside(body, "data")
    thing = inner if isinstance(inner, dict) else body
    named = values.first(*(values.inside(body, name) for name in ("type", "event_type", "eventType", "event")))
    parts = re.split(r"[./:]", (named or "").lower())
    last = parts[-1].replace("-", "_")
    own = common.word(thing)
    word = own or (last if last in STATUS else None)
    kind = next((kind for words, kind in _KINDS if any(words.fullmatch(part) for part in parts)), None)
    key = values.first(*(values.identifier(values.inside(thing, name)) for name in ("id", "run_id", "runId", "uuid")))
    if kind is None and key and own in STATUS:
        kind = Kind.PIPELINE  # it has an id and says how it stands: a run
    if key is None and kind in (Kind.PIPELINE, Kind.DEPLOYMENT):
        kind = Kind.ALERT  # nothing would join its beginning and its end
    said = common.fields(thing)
    stateful = kind in (Kind.PIPELINE, Kind.DEPLOYMENT)
    status = STATUS.get(word or "", Status.UNKNOWN)
    if not (stateful or status.finished or own):  # "invoice.created" is not queued
        status = Status.UNKNOWN
    event = Event(
        source=inbound.source,
        type="standard",
        kind=kind or Kind.ALERT,
        status=status,
        # Outside a run each delivery is news of its own.
        run=RunRef(id=key if key and stateful else identify(inbound).key, url=said.get("url"), unique=True),
        action=named,
        changed_at=values.moment(values.inside(body, "timestamp")),
    ).with_(**said)
    title = event.title or named or "a webhook without a type"
    return event.with_(title=title, description=event.description or values.unknown(word, STATUS))


def sign(body: bytes, secret: str, *, delivery: str) -> dict[str, str]:
    """Return the headers of the specification. The time is signed, so it is the present one."""
    now = datetime.now(UTC)
    return {"Content-Type": "application/json"} | standard_headers(body, secret, delivery=delivery, now=now)


def _prefix(inbound: Inbound) -> str:
    return next((name for name in _PREFIXES if f"{name}-signature" in inbound.headers), _PREFIXES[0])
