"""What does a program get told of an event? The names that `--json` shows, and the message's words beside them.

The form is published: `bridge/event.schema.json`, which `bridge schema event` prints. Names are only ever added.
Never talks, and never grows beyond what Standard Webhooks advises (20 kB): lists are cut first, then texts.
"""

from __future__ import annotations

from typing import Any

from bridge import codec
from bridge.codec import web_url
from bridge.destinations import _plain
from bridge.event import Task
from bridge.message import Message, shorten

LARGEST = 20_000  # bytes
_TEXT, _WORDS, _SHORTER = 4_000, 1_000, 150
_ADDRESSES = frozenset({"url", "repository_url"})
_LISTS = ("tasks", "facts", "labels", "reviewers", "mentions")


def build(message: Message) -> dict[str, Any]:
    """Return the envelope of Standard Webhooks with the event in it."""
    event = message.event
    said = {"type": "message", "timestamp": None}
    if event is not None:
        said = {"type": f"{event.kind.value}.{event.status.value}", "timestamp": event.public()["received_at"]}
    return said | {"data": data(message)}


def data(message: Message) -> dict[str, Any]:
    """Return what is known of the event, in at most LARGEST bytes."""
    known: dict[str, Any] = {}
    if message.event is not None:
        known = message.event.public() | {"tasks": [_task(task) for task in message.event.tasks]}
    text = "\n".join(line for line in (_plain.title(message), *_plain.lines(message)) if line)
    whole = known | {"text": text, "mentions": list(message.mentions)}
    for name in _LISTS:
        whole[name] = whole.get(name, [])[:500]
    found: dict[str, Any] = _fit(whole, _WORDS) | {"text": shorten(_plain.tidy(text), _TEXT)}
    return found if message.event is not None else {name: found[name] for name in ("text", "mentions")}


def bounded(body: dict[str, Any]) -> dict[str, Any]:
    """Return `body`, an envelope with its data under `data` or deeper, as it is or cut until it is small enough."""
    known = _innermost(body)
    digest = known.get("digest") or {}
    while len(codec.dump(body)) > LARGEST and digest.get("repositories"):
        digest["repositories"] = digest["repositories"][: len(digest["repositories"]) // 2]
    for name in _LISTS:
        while len(codec.dump(body)) > LARGEST and known.get(name):
            known[name] = known[name][: len(known[name]) // 2]
    if len(codec.dump(body)) > LARGEST:
        known.update(_fit(known, _SHORTER))
    return body


def _innermost(body: dict[str, Any]) -> dict[str, Any]:
    inner = body["data"]
    found: dict[str, Any] = inner.get("customData", inner)
    return found


def _task(task: Task) -> dict[str, Any]:
    return {
        "name": task.name,
        "status": task.status.value,
        "url": task.url,
        "step": task.step,
        "duration": task.duration,
    }


def _fit(value: Any, limit: int, name: str = "") -> Any:
    """Return plain JSON in which every text can be encoded, is short, and is an address where one is promised."""
    if isinstance(value, dict):
        return {key: _fit(one, limit, key) for key, one in value.items()}
    if isinstance(value, list):
        return [_fit(one, limit, name) for one in value]
    if not isinstance(value, str):
        return value
    return web_url(value) if name in _ADDRESSES else shorten(_plain.tidy(value), limit)
