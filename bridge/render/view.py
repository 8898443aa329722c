"""What does a template see? One event with all that is known of its run, as names.

Every text of the event is tidied and hidden (`bridge.render.foreign`) here, and nowhere else. Never renders.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any
from urllib.parse import quote

import jinja2
from jinja2.runtime import Context
from msgspec.structs import asdict

from bridge.codec import web_url
from bridge.event import TASK_NAME, Change, Data, Digest, Event, Kind, RunRef, Status, Task
from bridge.render.foreign import Foreign, foreign, reveal, tidy
from bridge.render.forge import branch_url, commit_url, pull_request_name, pull_request_url
from bridge.units import ordinal, span

MAX_MANY = 500  # tasks, labels, facts

# How a state looks: emoji, colour of the stripe, and words that follow a name ("lint failed").
LOOKS: dict[Status, tuple[str, str, str]] = {
    Status.QUEUED: ("⚪", "#8c959f", "is queued"),
    Status.WAITING: ("🟠", "#e16f24", "waits for approval"),
    Status.RUNNING: ("🔵", "#218bff", "is running"),
    Status.SUCCESS: ("🟢", "#2da44e", "passed"),
    Status.FAILURE: ("🔴", "#cf222e", "failed"),
    Status.ERROR: ("💥", "#a40e26", "hit an error"),
    Status.TIMEOUT: ("⏱️", "#cf222e", "timed out"),
    Status.CANCELLED: ("⚫", "#57606a", "was cancelled"),
    Status.SKIPPED: ("⏭️", "#8c959f", "was skipped"),
    Status.UNKNOWN: ("❔", "#8b949e", "is in an unknown state"),
}
# What has no state of its own is shown by what it is.
_KIND_EMOJI = {
    Kind.PUSH: "📦",
    Kind.CHANGE_REQUEST: "🔀",
    Kind.RELEASE: "🏷️",
    Kind.AUDIT: "🛡️",
    Kind.ALERT: "🔔",
    Kind.DIGEST: "🗞️",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a template sees: one event with all that is known of its run."""

    event: Event
    tasks: tuple[Task, ...] = ()  # of the run, newest state
    rule: str = ""
    mentions: tuple[str, ...] = ()  # the chat's own ids
    now: datetime
    live: bool = False
    together: tuple[Event, ...] = ()  # all that this message speaks of, where it is more than one event


# Git allows 255 characters in a branch; a title line must hold a few names and stay one.
_LIMIT, _LIMITS = 250, {"title": 300, "message": 1_000, "description": 1_000, "note": 1_000, "text": 1_000}
_LINES = frozenset({"message", "description", "note"})
_URLS = frozenset({"url", "repository_url"})


class _Absent:
    """A run or task that is not there: false, and everything of it is None."""

    def __init__(self, shape: type[Data]) -> None:
        self._names = frozenset(shape.__struct_fields__)

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return ""

    def __getattr__(self, name: str) -> None:
        if name.startswith("_") or name not in self._names:
            raise AttributeError(name)


_NO_RUN, _NO_TASK = _Absent(RunRef), _Absent(Task)


_NO_TEXT = frozenset({type(None), bool, int, float, datetime, Kind, Status, Change})


def _fit(value: Any, name: str) -> Any:
    """Return `value` with every text in it tidied and hidden."""
    if isinstance(value, str) and not isinstance(value, Enum):
        if name in _URLS:
            address = web_url(value)
            return foreign(address) if address else None
        # An empty text is as good as none, so that a template asks once: {% if author %}.
        return foreign(tidy(value, _LIMITS.get(name, _LIMIT), lines=name in _LINES)) or None
    if isinstance(value, tuple):
        return tuple(one for one in (_fit(one, name) for one in value[:MAX_MANY]) if one is not None)
    if isinstance(value, Data):
        return value.with_(**_fits(value))
    return value if value is None or isinstance(value, Enum | bool | int | float | datetime) else None


def _fits(value: Data) -> dict[str, Any]:
    """Return the fields of `value` that have text in them, made fit."""
    return {name: _fit(one, name) for name, one in asdict(value).items() if type(one) not in _NO_TEXT}


def _fact_pairs(event: Event) -> tuple[tuple[str, str], ...]:
    pairs = [(_fit(label, "label"), _fit(text, "text")) for label, text in event.facts[:MAX_MANY]]
    return tuple((label or "", text) for label, text in pairs if text)


def context(view: View) -> dict[str, Any]:
    """Return the names of a template. None is what is unknown; a name that is missing here does not exist."""
    said = view.event
    tasks: tuple[Task, ...] = _fit(view.tasks or said.tasks, "tasks")
    event = said.with_(**_fits(said.with_(facts=(), tasks=())) | {"facts": _fact_pairs(said), "tasks": tasks})
    names: dict[str, Any] = asdict(event)
    names |= {
        "run": event.run or _NO_RUN,
        "task": event.task or _NO_TASK,
        "digest": event.digest or Digest(),
        "tasks": tasks,
        "failed": tuple(task for task in tasks if task.status.unsuccessful),
        "finished": tuple(task for task in tasks if task.status.finished),
        "failing_still": _fit(_failing_still(view), "task"),
        "number": event.run.number if event.run else None,
        "attempt": event.run.attempt if event.run else None,
        "rule": foreign(tidy(view.rule, _LIMIT)),
        "now": view.now,
        "live": view.live,
        "together": tuple(_event(one) for one in view.together[:MAX_MANY]),
        "emoji": emoji(view.event),
        "commit_url": _foreign_url(commit_url(view.event)),
        "branch_url": _foreign_url(branch_url(view.event)),
        "pull_request_url": _foreign_url(pull_request_url(view.event)),
        "pull_request_name": pull_request_name(view.event),
    }
    return names | {"event": event.with_(run=names["run"], task=names["task"])}


def _event(said: Event) -> Event:
    """Return another event that the message speaks of, as a template sees it."""
    event = said.with_(**_fits(said.with_(facts=(), tasks=())) | {"facts": (), "tasks": ()})
    return event.with_(run=event.run or _NO_RUN, task=event.task or _NO_TASK)


def _failing_still(view: View) -> tuple[str, ...]:
    """Return the tasks that failed in the result before, too, where others are new: who is not to blame for these."""
    event = view.event
    if event.change is not Change.STILL_FAILING or not event.newly_failing:
        return ()
    failed = (task for task in view.tasks or event.tasks if task.status.unsuccessful and not task.allowed)
    return tuple(dict.fromkeys(task.name for task in failed if task.name[:TASK_NAME] not in event.newly_failing))


def _foreign_url(address: str | None) -> Foreign | None:
    return foreign(address) if address else None


def emoji(event: Event) -> str:
    """Return the sign of an event's state; a repaired track and a thing without a state have their own."""
    if event.change is Change.FIXED:
        return "✅"
    if event.kind is Kind.DEPLOYMENT and event.status is Status.SUCCESS:
        return "🚀"
    if event.status is Status.UNKNOWN:
        return _KIND_EMOJI.get(event.kind, LOOKS[Status.UNKNOWN][0])
    return LOOKS[event.status][0]


# -- filters


def _duration(value: Any) -> str:
    """Seconds as people say them: ``2 min 14 s``. Nothing for what is unknown or no duration."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if not isinstance(seconds, int | float) or not 0 <= seconds < 10**9:
        return ""
    return span(timedelta(seconds=seconds))


@jinja2.pass_context
def _ago(context: Context, value: Any) -> str:
    """How long before `now`, in its largest unit: ``2 h ago``."""
    now = context.get("now")
    if not isinstance(value, datetime) or not isinstance(now, datetime) or value.tzinfo is None:
        return ""
    seconds = max(0, int((now - value).total_seconds()))
    return "just now" if seconds < 60 else f"{_rough(seconds)} ago"


@jinja2.pass_context
def _age(context: Context, value: Any) -> str:
    """How long it has been so, in its largest unit: ``2 h``."""
    now = context.get("now")
    if not isinstance(value, datetime) or not isinstance(now, datetime) or value.tzinfo is None:
        return ""
    return _rough(max(0, int((now - value).total_seconds())))


def _rough(seconds: int) -> str:
    unit = next((unit for unit in (86_400, 3_600, 60) if seconds >= unit), 1)
    return span(timedelta(seconds=seconds - seconds % unit))


def _time(value: Any) -> str:
    """A time in UTC: ``2026-11-05 14:03 UTC``."""
    if not isinstance(value, datetime) or value.tzinfo is None:
        return ""
    value = value.astimezone(UTC)
    return f"{value:%Y-%m-%d %H:%M} UTC"


def _short_sha(value: Any) -> str:
    """The first seven characters of a commit."""
    return value[:7] if isinstance(value, str) else ""


def _said(value: Any) -> str:
    """A state in words that follow a name: ``failed``, ``is running``."""
    return LOOKS[Status(value)][2] if value in LOOKS else ""


def _emoji_of(value: Any) -> str:
    """The sign of a state."""
    return LOOKS[Status(value)][0] if value in LOOKS else ""


def _ordinal(value: Any) -> str:
    """1st, 2nd, 3rd, 4th."""
    if not isinstance(value, int):
        return ""
    return ordinal(value)


def _tojson(value: Any) -> str:
    """JSON whose texts are still hidden, so that they are written for their place later."""
    return json.dumps(value, ensure_ascii=False, default=str)


def _urlencode(value: Any) -> Foreign:
    """A text as a part of an address."""
    return foreign(quote(reveal(str(value)), safe=""))


FILTERS: dict[str, Callable[..., Any]] = {
    "duration": _duration,
    "ago": _ago,
    "age": _age,
    "time": _time,
    "short_sha": _short_sha,
    "said": _said,
    "emoji": _emoji_of,
    "ordinal": _ordinal,
    "tojson": _tojson,
    "urlencode": _urlencode,
}
