"""What every sender's tests ask: golden events, odd signatures, odd values in every field, real bodies kept beside us.

A folder `NAME/` holds `CASE.json`, a body, and `CASE.event.json`, what becomes of it. No test stands here.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from bridge.codec import dump
from bridge.errors import IngestError, Unauthorized
from bridge.event import Event, Ignored, Inbound
from bridge.sources import SourceModule

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
HERE = Path(__file__).parent
SHARED = Path(__file__).parents[2] / "../shared"
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="no ../shared")


def inbound(body: Any, headers: Mapping[str, str] | None = None, *, now: datetime = NOW) -> Inbound:
    """Return a request with `body`, bytes or what becomes JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Inbound("ci", {name.lower(): value for name, value in (headers or {}).items()}, raw, now)


def event_of(module: SourceModule, body: Any, headers: Mapping[str, str] | None = None) -> Event:
    found = module.normalise(inbound(body, headers))
    assert isinstance(found, Event), found
    return found


def ignored(module: SourceModule, body: Any, headers: Mapping[str, str] | None = None) -> str:
    found = module.normalise(inbound(body, headers))
    assert isinstance(found, Ignored), found
    return found.reason


# -- golden events


def cases(name: str) -> list[str]:
    return sorted(path.stem for path in (HERE / name).glob("*.json") if not path.name.endswith(".event.json"))


def body_of(name: str, case: str) -> Any:
    return json.loads((HERE / name / f"{case}.json").read_bytes())


def golden_of(name: str, case: str) -> Any:
    return json.loads((HERE / name / f"{case}.event.json").read_bytes())


def said(found: Event | Ignored) -> Any:
    """Return what came out as a golden file holds it: JSON without what is not said."""
    return {"ignored": found.reason} if isinstance(found, Ignored) else _said(json.loads(dump(found)))


def _said(value: Any) -> Any:
    if isinstance(value, dict):
        told = {key: _said(item) for key, item in value.items() if key not in ("restarted", "failures")}
        return {key: item for key, item in told.items() if item not in (None, [], "")}
    return [_said(item) for item in value] if isinstance(value, list) else value


def essence(event: Event) -> dict[str, Any]:
    """Return of an event what the issue asks of every real body, and the status."""
    return {
        "kind": event.kind.value,
        "status": event.status.value,
        "repository": event.repository,
        "ref": event.tag or event.branch,
        "sha": event.sha,
        "author": event.author,
        "pull_request": event.pull_request,
        "url": event.url,
    }


# -- who signed it


def refuses(module: SourceModule, request: Inbound, *secrets: str) -> bool:
    """Return whether `request` is refused, by Unauthorized and nothing else."""
    try:
        module.verify(request, secrets)
    except Unauthorized:
        return True
    return False


ODD_SIGNATURES = [
    "",
    " ",
    "=",
    "v1=",
    "sha256=",
    ",",
    "zz",
    "0" * 64,
    "é" * 64,
    "\udcff" * 64,
    "\x00",
    "A" * 5_000,
    '"',
]


def odd_requests(request: Inbound, header: str) -> Iterator[Inbound]:
    """Yield `request` with each byte of a few flipped, and with its signature missing, cut, empty and odd."""
    for position in {0, len(request.body) // 2, len(request.body) - 1}:
        body = bytearray(request.body)
        body[position] ^= 1
        yield Inbound(request.source, request.headers, bytes(body), request.received_at)
    good = request.headers[header]
    flipped = good[:-7] + chr(ord(good[-7]) ^ 1) + good[-6:]
    yield _with(request, header, None)
    for value in [*ODD_SIGNATURES, flipped, good[:-1], good[: len(good) // 2]]:
        yield _with(request, header, value)


def _with(request: Inbound, header: str, value: str | None) -> Inbound:
    headers = {name: given for name, given in request.headers.items() if name != header}
    return Inbound(
        request.source, headers | ({header: value} if value is not None else {}), request.body, request.received_at
    )


def shared_vectors(source: str) -> list[dict[str, Any]]:
    """Return the signatures that others computed, or none where they are not at hand."""
    path = SHARED / "reference/signature-vectors.json"
    return [each for each in json.loads(path.read_bytes()) if each["source"] == source] if path.exists() else []


# -- hostile input

LEAVES = st.sampled_from(
    [None, True, False, 0, 7, -1, 1.5, 10**18, 10**40, -(10**40), 1e308, "", " ", "7", "-1", "text", "\x00\x1b[31m"]
    + ["2026-03-02T08:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "refs/tags/", "refs/heads/"]
    + ["http://[::1", "git@:x", "https://a/b", "x" * 5_000, "\ud800", "\u2028"]
)
ODD = LEAVES | st.lists(LEAVES, max_size=2) | st.dictionaries(st.sampled_from(["id", "name", "status"]), LEAVES)


@st.composite
def odd_bodies(draw: st.DrawFn, bodies: Iterable[Any]) -> Any:
    """One of `bodies` with up to four fields, wherever they are, that hold something odd or are not there."""
    body = copy.deepcopy(draw(st.sampled_from(list(bodies))))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.sampled_from(list(_places(body)) or [None]))
        if place is None:
            break
        owner, name = place
        if draw(st.booleans()) or not isinstance(owner, dict):
            owner[name] = draw(ODD)
        else:
            del owner[name]
    return body


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in pairs:
        yield value, name
        yield from _places(item)


BROKEN = [
    *(b"", b"null", b"[]", b"7", b'"x"', b"{", b'{"build":', b"[" * 50_000, b'{"a":' * 5_000, b"\xff\xfe", b'"\xed"'),
    b'{"id":' + b"9" * 5_000 + b"}",
    b'{"build": {"id": 1e999}}',
    b"payload",
    b"payload=",
    b"payload=%7B",
    b"payload=%zz%",
]


def nothing_but_ingest_errors(module: SourceModule, request: Inbound) -> None:
    """Ask everything of `module` that a request from outside makes it do."""
    assert 0 < len(module.identify(request).key) <= 300
    module.sign(request.body, "s3cret", delivery="d1")
    assert refuses(module, request, "s3cret")
    try:
        found = module.normalise(request)
    except IngestError:
        return
    if isinstance(found, Event):
        json.loads(dump(found))
        assert found.run is None or found.run.id
        for when in (found.changed_at, found.started_at, found.finished_at, found.committed_at):
            assert when is None or when.utcoffset() == timedelta(0)
