"""What does Cirrus CI say about builds, tasks and accounts? Never asks its API (`bridge.lookups.cirrus` does).

Payloads come in two forms: the documented one puts everything in a ``data`` object, the one really sent does not, and
has empty objects where an event has no task or no build. An account may also replace the payload by a GraphQL query
of its own, so every field can be missing, and the fields of the published schema can turn up anywhere. Only ids and
statuses have to make sense; an odd value elsewhere is left out.

Signature: ``X-Cirrus-Signature``, lower-case hex HMAC-SHA256 of the raw body. ``X-Cirrus-Timestamp`` (milliseconds) is
not signed.

https://cirrus-ci.org/api/#webhooks
https://github.com/cirruslabs/cirrus-webhooks-server
https://github.com/cirruslabs/cirrus-ci-web/blob/master/schema.gql
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import msgspec

from bridge.codec import clean, decode, first_line
from bridge.errors import Unreadable
from bridge.event import Event, Identity, Ignored, Inbound, Kind, RunRef, Status, Task
from bridge.verify import hmac_hex, require_hmac_hex

LABEL = "Cirrus CI"
SETUP = (
    "In Cirrus CI, open the settings page of the account or organization, paste {url} as the webhook URL "
    "and the source's secret as the secret token, and save."
)
CONTENT_TYPES = frozenset({"application/json"})
SIGNS = True
TOKEN_HEADERS: tuple[str, ...] = ()
STATUS: Mapping[str, Status] = {  # BuildStatus and TaskStatus of their schema
    "CREATED": Status.QUEUED,
    "TRIGGERED": Status.QUEUED,
    "SCHEDULED": Status.QUEUED,
    "NEEDS_APPROVAL": Status.WAITING,
    "PAUSED": Status.WAITING,
    "EXECUTING": Status.RUNNING,
    "COMPLETED": Status.SUCCESS,
    "FAILED": Status.FAILURE,
    "ERRORED": Status.ERROR,
    "ABORTED": Status.CANCELLED,
    "SKIPPED": Status.SKIPPED,
}

_EVENTS = {"build": Kind.PIPELINE, "task": Kind.TASK, "audit_event": Kind.AUDIT}
_NAMES = {kind: name for name, kind in _EVENTS.items()}
_PULL = re.compile(r"pull/([1-9]\d{0,8})")
_SITE = "https://cirrus-ci.com"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR_10000 = 253_402_300_800_000  # in milliseconds: what a datetime holds
_CLOCKS_DIFFER = timedelta(minutes=1)
_FOREVER = 10 * 365 * 86_400  # no build takes ten years: such a duration is a slip


class _Object(msgspec.Struct, rename="camel"):
    """An object of theirs. `Any` marks what is looked at by hand, so that an odd value costs only itself."""


class Repository(_Object):
    owner: Any = None
    name: Any = None
    is_private: Any = None
    default_branch: Any = None


class CirrusBuild(_Object):
    """The fields of a build that bridge reads, in webhooks and in answers of the API alike."""

    id: Any = None
    status: Any = None
    old_status: Any = None
    branch: Any = None
    tag: Any = None
    pull_request: Any = None
    pull_request_draft: Any = None
    pull_request_labels: Any = None
    change_id_in_repo: Any = None
    change_timestamp: Any = None
    change_message_title: Any = None
    change_message: Any = None
    duration_in_seconds: Any = None
    build_created_timestamp: Any = None
    notifications: Any = None
    user: Any = None  # webhooks say `user`, the API `initializer`
    initializer: Any = None
    repository: Repository | None = None
    tasks: list[CirrusTask] | None = None


class CirrusTask(_Object):
    """The fields of a task that bridge reads, in webhooks and in answers of the API alike."""

    id: Any = None
    name: Any = None
    status: Any = None
    local_group_id: Any = None
    status_timestamp: Any = None
    creation_timestamp: Any = None
    executing_timestamp: Any = None
    final_status_timestamp: Any = None
    duration_in_seconds: Any = None
    notifications: Any = None
    first_failed_command: Any = None
    repository: Repository | None = None
    build: CirrusBuild | None = None


class _Body(_Object):
    action: Any = None
    old_status: Any = msgspec.field(default=None, name="old_status")
    old_status_camel: Any = msgspec.field(default=None, name="oldStatus")
    repository: Repository | None = None
    build: CirrusBuild | None = None
    task: CirrusTask | None = None
    # -- audit events
    id: Any = None
    type: Any = None
    timestamp: Any = None
    actor: Any = None
    data: msgspec.Raw = msgspec.Raw()  # the documented envelope, or an audit event's details


class _Details(_Object):
    mutation_name: Any = None


def verify(inbound: Inbound, secrets: Sequence[str]) -> None:
    """Return if one of `secrets` signed the request, else raise Unauthorized."""
    require_hmac_hex(inbound.body, inbound.headers.get("x-cirrus-signature"), secrets)


def identify(inbound: Inbound) -> Identity:
    """Return the body's digest: Cirrus sends no delivery id.

    A build's body carries no time, so that a re-run can send the very bytes of the run before it. Tasks and audit
    events tell when they happened: equal bytes are the same delivery.
    """
    key = "sha256:" + hashlib.sha256(inbound.body).hexdigest()
    try:
        repeatable = _kind(inbound.headers, inbound.body) is Kind.PIPELINE
    except Unreadable:
        repeatable = False
    sent_at = _moment(inbound.headers.get("x-cirrus-timestamp", ""))
    # The time is not signed. One from the future, if believed, would hold back all that follows until then.
    if sent_at is not None and sent_at > inbound.received_at + _CLOCKS_DIFFER:
        sent_at = None
    return Identity(key=key, repeatable=repeatable, sent_at=sent_at if repeatable else None)


def normalise(inbound: Inbound) -> Event | Ignored:
    """Return the request in our words, or why it has nothing for chat; raise Unreadable."""
    body = _read(inbound.body)
    match _named(inbound.headers) or _shown(body):
        case Kind.PIPELINE:
            return _build_event(body, inbound.source)
        case Kind.TASK:
            return _task_event(body, inbound.source)
        case Kind.AUDIT:
            return _audit_event(body, inbound.source)
    name = first_line(inbound.headers.get("x-cirrus-event"), 100)
    return Ignored(f"unknown event {name!r}" if name else "neither a build, a task nor an audit event")


def sign(body: bytes, secret: str, *, delivery: str) -> dict[str, str]:
    """Return the headers of Cirrus, all but the timestamp. It sends no delivery id, so `delivery` is not used."""
    headers = {"Content-Type": "application/json", "X-Cirrus-Signature": hmac_hex(body, secret)}
    try:
        kind = _shown(_read(body))
    except Unreadable:
        kind = None
    return headers | ({"X-Cirrus-Event": _NAMES[kind]} if kind else {})


# -- which event


def _kind(headers: Mapping[str, str], body: bytes) -> Kind | None:
    return _named(headers) or _shown(_read(body))


def _named(headers: Mapping[str, str]) -> Kind | None:
    return _EVENTS.get(headers.get("x-cirrus-event", "").strip())


def _shown(body: _Body) -> Kind | None:
    """What kind of event a body without a known name looks like."""
    if body.task and body.task.id:
        return Kind.TASK
    if body.build and body.build.id:
        return Kind.PIPELINE
    return Kind.AUDIT if body.actor or body.type else None


def _read(raw: bytes) -> _Body:
    """Return the body with what its envelope holds, if it has one. An audit event's `data` is details, no envelope."""
    outer = decode(raw, _Body)
    if outer.type or outer.actor or not bytes(outer.data).startswith(b"{"):
        return outer
    inner = decode(bytes(outer.data), _Body)
    said = {name: value for name in inner.__struct_fields__ if (value := getattr(inner, name)) is not None}
    return msgspec.structs.replace(outer, **said | {"data": outer.data})


# -- the three events


def _build_event(body: _Body, source: str) -> Event:
    if body.build is None:
        raise Unreadable("build is missing")
    event = event_of(body.build, source, body.repository)
    old = body.old_status or body.old_status_camel or body.build.old_status
    left = STATUS.get(old, Status.UNKNOWN) if isinstance(old, str) else Status.UNKNOWN
    # An unknown word is no proof that a finished build began anew.
    begun = event.status is not Status.UNKNOWN and not event.status.finished
    return event.with_(action=_text(body.action, 100), restarted=left.finished and begun)


def _task_event(body: _Body, source: str) -> Event:
    if body.task is None:
        raise Unreadable("task is missing")
    build = body.build if body.build and body.build.id else body.task.build
    if build is None:
        raise Unreadable("the task's build is missing")
    task = task_of(body.task)
    return event_of(build, source, body.repository or body.task.repository).with_(
        kind=Kind.TASK,
        status=task.status,
        action=_text(body.action, 100),
        task=task,
        tasks=(),
        url=task.url,
        duration=task.duration,
        started_at=task.started_at,
        finished_at=task.finished_at,
        changed_at=task.changed_at,
        description=_unknown_word(body.task.status),
    )


def _audit_event(body: _Body, source: str) -> Event:
    who = _text(_inside(body.actor, "username"))
    what = _mutation(bytes(body.data)) or _text(body.type) or "audit event"
    return Event(
        source=source,
        type="cirrus",
        kind=Kind.AUDIT,
        repository=_full_name(body.repository),
        private=_flag(body.repository.is_private) if body.repository else None,
        run=RunRef(id=_id(body.id, "id")),
        title=f"{what} by {who}" if who else what,
        author=who,
        action=_text(body.action, 100),
        changed_at=_moment(body.timestamp),
    )


def _mutation(data: bytes) -> str | None:
    """The name of what was done: `data` is an object, or (as really sent) a string that holds one."""
    try:
        details = decode(decode(data, str) if data.startswith(b'"') else data, _Details)
    except Unreadable:
        return None
    return _text(details.mutation_name)


# -- their objects in our words


def event_of(build: CirrusBuild, source: str, repository: Repository | None = None) -> Event:
    """Return what `build` says, as an event of its pipeline; raise Unreadable without an id."""
    run = _id(build.id, "build.id")
    repo = repository if _full_name(repository) else build.repository or repository
    branch, tag = _text(build.branch), _text(build.tag)
    url = f"{_SITE}/build/{quote(run, safe='')}"
    return Event(
        source=source,
        type="cirrus",
        kind=Kind.PIPELINE,
        status=_status(build.status, "build.status"),
        repository=_full_name(repo),
        branch=None if tag else branch,
        tag=tag,
        default_branch=_text(repo.default_branch) if repo else None,
        pull_request=_pull_request(build.pull_request, branch),
        draft=_flag(build.pull_request_draft),
        private=_flag(repo.is_private) if repo else None,
        sha=_text(build.change_id_in_repo, 100),
        title=_text(build.change_message_title) or _text(build.change_message),
        message=clean(build.change_message) if isinstance(build.change_message, str) else None,
        author=_text(_inside(build.user, "username")) or _text(_inside(build.initializer, "username")),
        pusher=_text(_inside(build.user, "username")) or _text(_inside(build.initializer, "username")),
        pipeline=LABEL,
        run=RunRef(id=run, url=url),
        tasks=_newest(build.tasks or []),
        labels=_labels(build.pull_request_labels),
        url=url,
        description=_unknown_word(build.status) or _notes(build.notifications),
        committed_at=_moment(build.change_timestamp),
        started_at=_moment(build.build_created_timestamp),
        duration=_seconds(build.duration_in_seconds),
    )


def task_of(task: CirrusTask) -> Task:
    """Return `task` in our words; raise Unreadable without an id."""
    key = _id(task.id, "task.id")
    return Task(
        id=key,
        name=_text(task.name) or key,
        status=_status(task.status, "task.status"),
        url=f"{_SITE}/task/{quote(key, safe='')}",
        step=_text(_inside(task.first_failed_command, "name")),
        created_at=_moment(task.creation_timestamp),
        started_at=_moment(task.executing_timestamp),
        finished_at=_moment(task.final_status_timestamp),
        duration=_seconds(task.duration_in_seconds),
        changed_at=_moment(task.status_timestamp),
        note=_unknown_word(task.status) or _notes(task.notifications),
    )


def _newest(tasks: list[CirrusTask]) -> tuple[Task, ...]:
    """The tasks without those that were run again: a re-run is a new task of the same name and group."""
    newest: dict[tuple[str, str], Task] = {}
    for shape in tasks:
        if shape.id is None:  # a custom query that asks for names only
            continue
        task = task_of(shape)
        place = (str(shape.local_group_id) if shape.local_group_id is not None else task.id, task.name)
        known = newest.get(place)
        if known is None or (task.created_at or _EPOCH) >= (known.created_at or _EPOCH):
            newest[place] = task
    return tuple(newest.values())


# -- their values, whatever they are


def _id(value: Any, path: str) -> str:
    """Ids are numbers in webhooks and strings in the API."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**30:
        return str(value)
    text = _text(value)
    if text is None or len(text) > 100:
        raise Unreadable(f"{path} is missing or no id")
    return text


def _status(word: Any, path: str) -> Status:
    if word is not None and not isinstance(word, str):
        raise Unreadable(f"{path} is no text")
    return STATUS.get(word or "", Status.UNKNOWN)


def _unknown_word(word: Any) -> str | None:
    """A status that we do not know, to be shown as it came."""
    return None if word in STATUS else _text(word, 100)


def _text(value: Any, limit: int = 1_000) -> str | None:
    return first_line(value, limit) if isinstance(value, str) else None


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _inside(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _number(value: Any) -> float | None:
    """A number, also in a string. NaN and the infinities fail every comparison that the callers make."""
    if isinstance(value, str) and len(value) < 30:
        try:
            return float(value)
        except ValueError:
            return None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _moment(value: Any) -> datetime | None:
    """Milliseconds since 1970 as a time; None for what no calendar holds."""
    number = _number(value)
    if number is None or not 0 < number < _YEAR_10000:
        return None
    return _EPOCH + timedelta(milliseconds=int(number))


def _seconds(value: Any) -> float | None:
    number = _number(value)
    return float(number) if number is not None and 0 <= number < _FOREVER else None


def _pull_request(value: Any, branch: str | None) -> int | None:
    """The number given, else the one in a branch called ``pull/123``."""
    number = _number(value)
    if number is not None and 0 < number < 10**9:
        return int(number)
    found = _PULL.fullmatch(branch or "")
    return int(found[1]) if found else None


def _full_name(repository: Repository | None) -> str | None:
    if repository is None:
        return None
    owner, name = _text(repository.owner, 200), _text(repository.name, 200)
    return f"{owner}/{name}" if owner and name else None


def _labels(value: Any) -> tuple[str, ...]:
    labels = (_text(label, 100) for label in value[:50]) if isinstance(value, list) else ()
    return tuple(label for label in labels if label)


def _notes(value: Any) -> str | None:
    """What notifications say, in one text: they explain a status ("no available machine", "out of credits")."""
    said = [_text(_inside(each, "message")) for each in value[:10]] if isinstance(value, list) else []
    return clean("; ".join(text for text in said if text))
