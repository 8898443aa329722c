"""What the tests of many senders share: their bodies with golden events, forged signatures, odd values, real bodies.

`NAME/EVENT.CASE.json` is a body and `NAME/EVENT.CASE.event.json` what it becomes; `Sender` knows where they lie.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import strategies as st

from bridge.codec import dump
from bridge.errors import IngestError, Unauthorized
from bridge.event import Event, Ignored, Inbound
from bridge.fold import fold_run
from bridge.sources import SourceModule
from bridge.verify import REFUSED

HERE = Path(__file__).parent
SHARED = HERE.parents[1] / "../shared"
PAGES = HERE.parents[1] / "docs/sources"
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)

needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="no ../shared")


@dataclass(frozen=True)
class Sender:
    """A module, the header that names its events, and its folder of bodies."""

    name: str
    module: SourceModule
    event_header: str

    @cached_property
    def bodies(self) -> dict[str, Path]:
        files = sorted((HERE / self.name).glob("*.json"))
        return {path.stem: path for path in files if not path.name.endswith(".event.json")}

    @staticmethod
    def event(name: str) -> str:
        """Return the event of a body's file. A colon in it is a ``+`` in the file's name."""
        return name.split(".")[0].replace("+", ":")

    def inbound(self, event: str | None, body: bytes, **headers: str) -> Inbound:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Inbound(self.name, named | ({self.event_header: event} if event is not None else {}), body, NOW)

    def read(self, name: str, change: Callable[[Any], None] = lambda body: None) -> Event | Ignored:
        """Return what a body becomes, after `change` to it."""
        body = json.loads(self.bodies[name].read_bytes())
        change(body)
        return self.module.normalise(self.inbound(self.event(name), json.dumps(body).encode()))

    def event_of(self, name: str, change: Callable[[Any], None] = lambda body: None) -> Event:
        found = self.read(name, change)
        assert isinstance(found, Event)
        return found

    def golden(self, name: str) -> Any:
        return json.loads((HERE / self.name / f"{name}.event.json").read_bytes())

    def survives(self, event: str | None, body: bytes) -> Event | Ignored | None:
        """Normalise; nothing but IngestError may leave, and an event can be folded and stored."""
        try:
            found = self.module.normalise(self.inbound(event, body))
        except IngestError:
            return None
        if isinstance(found, Event):
            assert dump(found)
            assert fold_run(found, None).news
        return found

    def sent(self, body: bytes, secret: str = "s3cret", delivery: str = "d-1") -> Inbound:
        """Return the request with which the sender would send `body`."""
        headers = self.module.sign(body, secret, delivery=delivery)
        return Inbound(self.name, {name.lower(): value for name, value in headers.items()}, body, NOW)


def said(value: Event | Ignored) -> Any:
    """Return what a body became as JSON, without what it does not say."""
    return {"ignored": value.reason} if isinstance(value, Ignored) else _said(json.loads(dump(value)))


def _said(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    pairs = {key: _said(item) for key, item in value.items() if key not in ("restarted", "failures")}
    return {key: item for key, item in pairs.items() if item not in (None, [], "")}


# -- signatures --------------------------------------------------------------------------------------------------------


def refuses_forgeries(sender: Sender, body: bytes, header: str, prefix: str = "") -> None:
    """Assert that `header` is a hex signature of `body`, with rotation, and that nothing else passes for one."""
    good = sender.sent(body)
    for secrets in (["s3cret"], ["other", "s3cret"], ["s3cret", "other"], ["", "s3cret"]):
        sender.module.verify(good, secrets)
    _refused(sender, good, [[], [""], ["other"]])
    _refused(sender, sender.sent(body, ""), [[""], ["s3cret"]])
    signature = good.headers[header]
    assert signature.startswith(prefix)
    for forged in _forgeries(signature, prefix):
        _refused(sender, _with(good, header, forged), [["s3cret"]])
    for place in (0, len(body) // 2, len(body) - 1):
        flipped = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        _refused(sender, Inbound(good.source, good.headers, flipped, NOW), [["s3cret"]])


def _forgeries(good: str, prefix: str) -> Iterator[str | None]:
    digest = good.removeprefix(prefix)
    yield from (None, "", prefix, " ", digest[:-1], good[:-1], good + "0", good.upper() + "0", "sha1=" + digest)
    yield good[:-1] + ("0" if good[-1] != "0" else "1")
    yield from (prefix + odd for odd in ("é" * 64, "\udcff\udc80", "\x00" * 64, "a" * 100_000, "[]"))


def _with(request: Inbound, header: str, value: str | None) -> Inbound:
    """Return a request with `value` in `header`, and without the sender's other signatures."""
    headers = {name: kept for name, kept in request.headers.items() if name != header and "signature" not in name}
    return Inbound(request.source, headers | ({header: value} if value is not None else {}), request.body, NOW)


def _refused(sender: Sender, request: Inbound, tries: Sequence[Sequence[str]]) -> None:
    for secrets in tries:
        with pytest.raises(Unauthorized, match=REFUSED):
            sender.module.verify(request, secrets)


def form(body: bytes) -> bytes:
    return b"payload=" + quote_plus(body).encode()


# -- odd values --------------------------------------------------------------------------------------------------------

WRONG: tuple[Any, ...] = (None, True, -1.5, 10**400, "\ud800", [[]], {"id": {}})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where something stands in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


def put(body: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a copy of `body` with `value` at `path`."""
    changed = copy.copy(body)
    changed[path[0]] = value if len(path) == 1 else put(body[path[0]], path[1:], value)
    return changed


def lines_of(event: Event) -> list[str]:
    """Return the texts of an event that are meant to be one line."""
    task = event.task
    lines = [event.repository, event.branch, event.tag, event.title, event.author, event.author_name, event.sha]
    lines += [event.author_email, event.pipeline, event.environment, event.url, event.trigger, *event.labels]
    lines += [task.name, task.step, task.note] if task else []
    lines += [text for _, text in event.facts]
    return [line for line in lines if line]


def takes_odd_values(sender: Sender, name: str, named: frozenset[str | int]) -> None:
    """Assert that a wrong value in any field costs at most that field, but for those in `named`: these may cost all."""
    body = json.loads(sender.bodies[name].read_bytes())
    event = sender.event(name)
    for path in places(body):
        for value in WRONG:
            found = sender.survives(event, json.dumps(put(body, path, value)).encode())
            assert found is not None or path[-1] in named, (path, value)
        long = sender.survives(event, json.dumps(put(body, path, "a\x00\x1b[2J\u2028b\r\nc" + "d" * 9000)).encode())
        for line in lines_of(long) if isinstance(long, Event) else ():
            assert len(line.splitlines()) == 1
            assert "\x1b" not in line
            assert len(line) <= 2000


def takes_any_json(sender: Sender, data: st.DataObject) -> None:
    """Assert that whatever stands in a field, or in the place of the body, nothing but IngestError leaves."""
    name = data.draw(st.sampled_from(sorted(sender.bodies)))
    body = json.loads(sender.bodies[name].read_bytes())
    path = data.draw(st.sampled_from([(), *places(body)]))
    value = data.draw(JSON)
    changed = put(body, path, value) if path else value
    raw = data.draw(st.just(json.dumps(changed).encode()) | st.binary(max_size=50))
    request = sender.sent(raw, delivery=data.draw(st.text(max_size=5)))
    assert sender.module.identify(request).key
    sender.survives(sender.event(name), raw)


# -- real bodies -------------------------------------------------------------------------------------------------------

TOLD = ("repository", "branch", "tag", "sha", "status", "author", "pull_request", "url")


def real(folder: str) -> set[str]:
    """Return the names of the real bodies of a sender."""
    return {path.name for path in (SHARED / "fixtures" / folder).glob("*.json")}


def tells(sender: Sender, folder: str, file: str, event: str, expected: Mapping[str, Any] | str) -> None:
    """Assert that a real body, signed, becomes the event that `expected` reads in it, or is ignored with its words."""
    body = (SHARED / "fixtures" / folder / file).read_bytes()
    sender.module.verify(sender.sent(body), ["s3cret"])
    found = sender.module.normalise(sender.inbound(event, body))
    if isinstance(expected, str):
        assert isinstance(found, Ignored)
        assert expected in found.reason
        return
    assert isinstance(found, Event)
    silent = dict.fromkeys(TOLD) | {"status": "unknown"}
    assert {name: getattr(found, name) for name in TOLD} == silent | dict(expected)


def vectors(source: str) -> list[dict[str, Any]]:
    """Return the published signatures of a sender."""
    known = json.loads((SHARED / "reference/signature-vectors.json").read_bytes())
    return [vector for vector in known if vector["source"] == source]
