"""What does a CDEvent say? Never follows its links, and guesses nothing of code that it does not name.

A CDEvent comes in a CloudEvent: in binary mode the body is the CDEvent, in structured mode it is the CloudEvent's
`data`. Both hold `context` and `subject`, which is all that is read; the ``ce-`` headers are needed by nobody. Nothing
is signed: the token is a Bearer token or the end of the address. A pipeline run names neither branch nor commit, but
senders put them into `customData`, which is read by common names.

https://github.com/cdevents/spec/blob/main/cloudevents-binding.md
https://github.com/cdevents/spec/blob/main/core.md
https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/http-protocol-binding.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from bridge.codec import decode, dump
from bridge.errors import Unauthorized, Unreadable
from bridge.event import Event, Identity, Ignored, Inbound, Kind, RunRef, Status, Task
from bridge.sources import _common_fields as common
from bridge.sources import _values as values
from bridge.verify import REFUSED

LABEL = "CDEvents"
SETUP = (
    "Give {url} as the CloudEvents sink to whatever sends CDEvents, with the source's token as a Bearer token, or with "
    "/ and the token at the end of the address."
)
CONTENT_TYPES = frozenset({"application/json", "application/cloudevents+json"})
SIGNS = False
TOKEN_HEADERS: tuple[str, ...] = ()
STATUS: Mapping[str, Status] = {
    # predicates of what runs
    "queued": Status.QUEUED,
    "started": Status.RUNNING,
    "skipped": Status.SKIPPED,
    # outcomes, once it is finished
    "success": Status.SUCCESS,
    "failure": Status.FAILURE,
    "error": Status.ERROR,
    "cancel": Status.CANCELLED,
    # predicates of services: they come when it is done
    "deployed": Status.SUCCESS,
    "upgraded": Status.SUCCESS,
    "rolledback": Status.SUCCESS,
    "removed": Status.SUCCESS,
    "published": Status.SUCCESS,
    # predicates of incidents
    "detected": Status.FAILURE,
    "reported": Status.FAILURE,
    "resolved": Status.SUCCESS,
}

_TYPE = re.compile(r"dev\.cdevents\.([a-z]{1,40})\.([a-z]{1,40})\..{1,40}")


class _Context(msgspec.Struct):
    id: Any = None
    source: Any = None
    type: Any = None
    timestamp: Any = None


class _Subject(msgspec.Struct):
    id: Any = None
    source: Any = None
    content: Any = None


class _CDEvent(msgspec.Struct, rename="camel"):
    context: _Context | None = None
    subject: msgspec.Raw = msgspec.Raw()  # an object here, a text in a CloudEvent
    custom_data: Any = None


class _Structured(msgspec.Struct):
    context: msgspec.Raw = msgspec.Raw()
    data: msgspec.Raw = msgspec.Raw()
    data_base64: Any = None
    type: Any = None


class _Told(msgspec.Struct):
    """An event taken apart."""

    event: Event  # with what all of them have
    subject: str
    predicate: str
    key: str  # of the subject
    content: Any
    context: _Context


def verify(inbound: Inbound, secrets: Sequence[str]) -> None:
    """Raise Unauthorized: no signature is defined."""
    raise Unauthorized(REFUSED)


def identify(inbound: Inbound) -> Identity:
    """Return the event's source and id, which are one over all tries, with its type: some senders count per type."""
    try:
        context = _read(inbound.body)[0]
    except Unreadable:
        return values.digest(inbound.body)
    if not isinstance(context.id, str) or not context.id:
        return values.digest(inbound.body)
    parts = [values.text(part) for part in (context.source, context.id, context.type)]
    return Identity("ce:" + hashlib.sha256(dump(parts)).hexdigest())


def normalise(inbound: Inbound) -> Event | Ignored:
    """Return what happened to the subject; raise Unreadable."""
    context, cdevent = _read(inbound.body)
    named = values.text(context.type, 200) or values.text(inbound.headers.get("ce-type"), 200)
    found = _TYPE.fullmatch(named or "")
    if found is None:
        return Ignored(f"{named or 'an event without a type'}: no CDEvent")
    name, predicate = found.groups()
    reader = _READERS.get(name)
    if reader is None:
        return Ignored(f"{name} {predicate}: bridge has nothing to say about it")
    subject = decode(bytes(cdevent.subject) or b"{}", _Subject)
    content = subject.content
    said = common.fields(cdevent.custom_data) | _named(content)
    event = Event(
        source=inbound.source,
        type="cdevents",
        kind=Kind.AUDIT,
        status=STATUS.get(predicate, Status.UNKNOWN),
        action=predicate,
        changed_at=values.moment(context.timestamp),
    ).with_(**said)
    told = _Told(event, name, predicate, _subject_key(subject, context), content, context)
    return reader(told)


def sign(body: bytes, secret: str, *, delivery: str) -> dict[str, str]:
    """Return the headers of binary mode for a CDEvent, of structured mode for a CloudEvent."""
    try:
        context, _ = _read(body)
        if decode(body, _Structured).type is not None:
            return {"Content-Type": "application/cloudevents+json"}
    except Unreadable:
        context = _Context()
    said = {"ce-id": context.id, "ce-source": context.source, "ce-type": context.type, "ce-time": context.timestamp}
    headers = {"Content-Type": "application/json", "ce-specversion": "1.0"}
    safe = {name: value for name, value in said.items() if isinstance(value, str) and _HEADER.fullmatch(value)}
    return headers | safe


_HEADER = re.compile(r"[!-~]{1,300}")


# -- the envelope


def _read(body: bytes) -> tuple[_Context, _CDEvent]:
    """Return the CDEvent of either mode; raise Unreadable."""
    outer = decode(body, _Structured)
    inner = bytes(outer.data) if not bytes(outer.context) else b""
    if not inner and isinstance(outer.data_base64, str):
        try:
            inner = base64.b64decode(outer.data_base64, validate=True)
        except (binascii.Error, ValueError) as error:
            raise Unreadable("data_base64 is no base64") from error
    cdevent = decode(inner or body, _CDEvent)
    if cdevent.context is None:
        return _Context(type=outer.type), cdevent
    return cdevent.context, cdevent


def _subject_key(subject: _Subject, context: _Context) -> str:
    """An id is one within its source; a subject without a source is of the event's."""
    return _key(subject.id, subject.source, context)


def _key(value: Any, source: Any, context: _Context) -> str:
    found = values.key(value, "subject.id")
    return " ".join(part for part in (values.text(source) or values.text(context.source), found) if part)


def _named(content: Any) -> dict[str, Any]:
    """What the content says that means the same for every subject."""
    home = values.inside(content, "repository")
    place = values.place(values.inside(home, "viewUrl") or values.inside(home, "url"))
    name = values.identifier(values.inside(home, "id"))
    said: dict[str, Any] = {
        "repository": place["repository"] or (name if name and "/" in name else None),
        "repository_url": place["repository_url"],
        "environment": values.first(*(values.inside(content, "environment", part) for part in ("name", "id"))),
        "url": values.address(values.inside(content, "uri")),
        "description": values.first(values.inside(content, "errors"), values.inside(content, "reason")),
    }
    return {name: value for name, value in said.items() if value is not None}


# -- the subjects


def _run(told: _Told) -> Event:
    """A pipeline run, a build or a run of a test suite."""
    name = values.first(
        values.inside(told.content, "pipelineName"),
        values.inside(told.content, "testSuite", "name"),
        values.inside(told.content, "testSuite", "id"),
    )
    status, description = _state(told)
    event = told.event
    at = event.changed_at
    return event.with_(
        kind=Kind.PIPELINE,
        status=status,
        pipeline=name or event.pipeline or told.subject,
        run=RunRef(id=told.key, url=event.url, unique=True),
        description=description,
        started_at=at if status is Status.RUNNING else event.started_at,
        finished_at=at if status.finished else None,
        facts=values.facts(("artifact", values.inside(told.content, "artifactId"))),
    )


def _task(told: _Told) -> Event:
    """A task of a pipeline run, which is a run of its own without one; or a case of a suite's run, which never is."""
    of = next((ref for one in ("pipelineRun", "testSuiteRun") if (ref := values.inside(told.content, one))), None)
    name = values.first(
        values.inside(told.content, "taskName"),
        values.inside(told.content, "testCase", "name"),
        values.inside(told.content, "testCase", "id"),
    )
    event = _run(told).with_(facts=())
    joined = values.identifier(values.inside(of, "id")) is not None
    if not joined and told.subject == "taskrun":
        return event.with_(pipeline=name or event.pipeline)
    task = Task(
        id=told.key,
        name=name or told.subject,
        status=event.status,
        url=event.url,
        started_at=event.started_at,
        finished_at=event.finished_at,
        changed_at=event.changed_at,
        note=event.description,
    )
    key = _key(values.inside(of, "id"), values.inside(of, "source"), told.context) if joined else told.key
    run = RunRef(id=key, unique=True)
    return event.with_(kind=Kind.TASK, pipeline=told.event.pipeline, run=run, task=task)


def _state(told: _Told) -> tuple[Status, str | None]:
    """What finished has an outcome: without one nobody knows how it went."""
    if told.predicate != "finished":
        return told.event.status, told.event.description or values.unknown(told.predicate, STATUS)
    outcome = values.text(values.inside(told.content, "outcome"), 100)
    status = STATUS.get(outcome or "", Status.UNKNOWN)
    missing = None if outcome else "finished, the outcome was not sent"
    return status, told.event.description or values.unknown(outcome, STATUS) or missing


def _service(told: _Told) -> Event:
    """Each is news of its own: a service that is upgraded twice is in the same state afterwards."""
    artifact = values.text(values.inside(told.content, "artifactId"))
    event = told.event
    described = "rolled back" if told.predicate == "rolledback" else values.unknown(told.predicate, STATUS)
    return event.with_(
        kind=Kind.DEPLOYMENT,
        pipeline=event.pipeline or told.key.rpartition(" ")[2],
        run=_once(told),
        title=event.title or artifact,
        description=event.description or described or told.predicate,
        finished_at=event.changed_at if event.status.finished else None,
        facts=values.facts(("artifact", artifact)),
    )


def _approval(told: _Told) -> Event:
    """Somebody is asked to let a thing go on."""
    asks = told.predicate == "created"
    who = values.text(values.inside(told.content, "requestor"))
    page = values.address(values.inside(told.content, "approvalDetailsUrl"))
    return told.event.with_(
        kind=Kind.DEPLOYMENT,
        status=Status.WAITING if asks else Status.UNKNOWN,
        run=RunRef(id=told.key, url=page, unique=True),
        author=told.event.author or who,
        url=page or told.event.url,
        title=told.event.title or f"approval {told.key.rpartition(' ')[2]}",
        description="an approval is asked for" if asks else told.predicate,
        facts=values.facts(("for", values.inside(told.content, "resourceTargetUrl"))),
    )


def _incident(told: _Told) -> Event:
    event = told.event
    described = values.text(values.inside(told.content, "description"))
    return event.with_(
        kind=Kind.ALERT,
        run=RunRef(id=told.key, url=event.url, unique=True),
        title=event.title or described or f"incident {told.key.rpartition(' ')[2]}",
        description=event.description or described or values.unknown(told.predicate, STATUS),
        facts=values.facts(
            ("service", values.inside(told.content, "service", "id")),
            ("artifact", values.inside(told.content, "artifactId")),
        ),
    )


def _change(told: _Told) -> Event:
    event = told.event
    described = values.text(values.inside(told.content, "description"))
    number = values.pull_request(told.key.rpartition(" ")[2])
    return event.with_(
        kind=Kind.CHANGE_REQUEST,
        status=Status.UNKNOWN,
        pull_request=event.pull_request or number,
        run=RunRef(id=told.key, url=event.url, unique=True),
        title=event.title or described or told.key.rpartition(" ")[2],
    )


def _artifact(told: _Told) -> Event | Ignored:
    if told.predicate != "published":
        return Ignored(f"artifact {told.predicate}: bridge tells when it is published")
    return told.event.with_(kind=Kind.RELEASE, run=_once(told), title=told.key.rpartition(" ")[2])


def _once(told: _Told) -> RunRef:
    """A run of its own for what happens once."""
    event_id = values.identifier(told.context.id) or (told.event.changed_at or "")
    return RunRef(id=f"{told.key} {told.predicate} {event_id}", url=told.event.url)


_READERS: dict[str, Callable[[_Told], Event | Ignored]] = {
    "pipelinerun": _run,
    "build": _run,
    "testsuiterun": _run,
    "taskrun": _task,
    "testcaserun": _task,
    "service": _service,
    "approval": _approval,
    "incident": _incident,
    "change": _change,
    "artifact": _artifact,
}
