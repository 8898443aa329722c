"""How is an event said in CDEvents, the vocabulary that delivery tools share?

A CDEvent in a CloudEvent, in structured mode. Its vocabulary has runs, tasks and deployed services, and of these not
every state; what it has no word for is a custom event of this tool (`dev.cdeventsx.bridge-...`), never a word that is
nearly right. A run there names neither branch nor commit: the event itself rides along in `customData`.

https://github.com/cdevents/spec/blob/main/continuous-integration.md · core.md · custom/README.md
https://github.com/cdevents/spec/blob/main/cloudevents-binding.md
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from bridge import codec
from bridge.codec import web_url
from bridge.destinations import _webhook_event
from bridge.destinations._plain import tidy
from bridge.event import Event, Kind, Status
from bridge.message import Message, shorten

TYPE = "application/cloudevents+json"
_VERSION = "0.5.0"  # of the specification
_OUTCOMES = {
    Status.SUCCESS: "success",
    Status.FAILURE: "failure",
    Status.TIMEOUT: "failure",  # it has no word of its own for it
    Status.ERROR: "error",
    Status.CANCELLED: "cancel",
}
_BEGUN = {Status.QUEUED: "queued", Status.RUNNING: "started"}
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)  # of what nobody has dated


def build(message: Message) -> dict[str, Any]:
    """Return the CloudEvent."""
    event = message.event
    known = _webhook_event.data(message)
    if event is None:
        return _cloud("message", "dev.cdeventsx.bridge-message.sent.0.1.0", _BEGINNING, {"id": "message"}, {}, known)
    type_, subject, content = _said(event)
    at = event.changed_at or event.finished_at or event.received_at or _BEGINNING
    return _cloud(_key(event), type_, at, subject, content, known, event.source)


def _cloud(
    key: str,
    type_: str,
    at: datetime,
    subject: dict[str, str],
    content: dict[str, Any],
    known: dict[str, Any],
    source: str = "",
) -> dict[str, Any]:
    place = "/bridge/" + quote(source, safe="")
    time = at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    context = {"specversion": _VERSION, "id": key, "source": place, "type": type_, "timestamp": time}
    return {
        "specversion": "1.0",
        "id": key,
        "source": place,
        "type": type_,
        "subject": subject["id"],
        "time": time,
        "datacontenttype": "application/json",
        "data": {
            "context": context,
            "subject": subject | {"content": content},
            "customData": known,
            "customDataContentType": "application/json",
        },
    }


def _key(event: Event) -> str:
    """The same for this news however often it is sent. The ids of events alone begin again with a new database."""
    at = event.received_at.isoformat() if event.received_at else ""
    parts = (event.source, event.id, at, event.run.attempt if event.run else None, event.status.value)
    return hashlib.sha256(codec.dump(parts)).hexdigest()[:32]


def _said(event: Event) -> tuple[str, dict[str, str], dict[str, Any]]:
    """Return type, subject and content."""
    if event.kind is Kind.PIPELINE and (predicate := _predicate(event.status)):
        content = _content(event, "pipelineName", event.pipeline)
        if predicate != "started" or content.keys() >= {"pipelineName", "uri"}:  # there it has to have both
            return f"dev.cdevents.pipelinerun.{predicate}.0.3.0", _run(event), content
    if event.kind is Kind.TASK and event.task and _predicate(event.status) in ("started", "finished"):
        content = _content(event, "taskName", event.task.name)
        content |= {"pipelineRun": _run(event)} if event.run else {}
        return f"dev.cdevents.taskrun.{_predicate(event.status)}.0.3.0", _subject(event, event.task.id), content
    artifact = _artifact(event)
    if event.kind is Kind.DEPLOYMENT and event.status is Status.SUCCESS and event.environment and artifact:
        content = {"environment": {"id": _word(event.environment)}, "artifactId": artifact}
        return "dev.cdevents.service.deployed.0.3.0", _subject(event, event.repository), content
    kind, status = event.kind.value.replace("_", ""), event.status.value
    return f"dev.cdeventsx.bridge-{kind}.{status}.0.1.0", _run(event), {}


def _predicate(status: Status) -> str | None:
    return "finished" if status in _OUTCOMES else _BEGUN.get(status)


def _content(event: Event, label: str, name: str | None) -> dict[str, Any]:
    found = {label: _word(name), "uri": web_url(event.url)}
    if event.status in _OUTCOMES:
        found |= {
            "outcome": _OUTCOMES[event.status],
            "errors": _word(event.description) if event.status.unsuccessful else None,
        }
    return {key: value for key, value in found.items() if value}


def _run(event: Event) -> dict[str, str]:
    """A run that is run again is another one: what is finished there stays finished."""
    run = event.run
    key = (f"{run.id}/{run.attempt}" if run.attempt and run.attempt > 1 else run.id) if run else None
    return _subject(event, key)


def _subject(event: Event, key: str | None) -> dict[str, str]:
    home = web_url(event.repository_url)
    return {"id": _word(key) or "unknown"} | ({"source": home} if home else {})


def _artifact(event: Event) -> str | None:
    """What was deployed, as a package URL of the commit or tag."""
    version = event.sha or event.tag
    if not event.repository or not version:
        return None
    path = "/".join(quote(_word(part), safe="") for part in event.repository.split("/") if part)
    return f"pkg:generic/{path}@{quote(_word(version), safe='')}" if path else None


def _word(value: str | None) -> str:
    return shorten(tidy(value or ""), 500).strip()
