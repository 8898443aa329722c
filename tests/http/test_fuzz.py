"""Rightly signed nonsense through the whole server: always a 2xx, always one of the four answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.http.conftest import Open
from tests.http.wire import FIXTURES, MAX_BODY, Answer, Client, Request, cirrus, github, running

GITHUB = sorted(path.stem for path in (FIXTURES / "github").glob("*.json") if not path.stem.endswith(".event"))
CIRRUS = sorted(path.stem for path in (FIXTURES / "cirrus").glob("*.http"))
EVENTS = sorted({name.partition(".")[0] for name in GITHUB})

KEYS = ("repository", "action", "sender", "build", "task", "data", "workflow_run", "id", "ref", "before", "after")

SAID = {"accepted": 202, "unreadable": 202, "ignored": 200, "duplicate": 200}

DEEP = 100_000
BODIES = {
    "nothing": b"",
    "a space": b" ",
    "half an object": b'{"workflow_run": {"id": 1',
    "no JSON": b"<xml/>",
    "null": b"null",
    "a number": b"1",
    "a string": b'"workflow_run"',
    "a list": b"[]",
    "two objects": b"{}{}",
    "1,000 lists": b"[" * 1_000 + b"]" * 1_000,
    "1,000 objects": b'{"a":' * 1_000 + b"1" + b"}" * 1_000,
    "100,000 lists": b"[" * DEEP + b"]" * DEEP,
    "100,000 lists left open": b"[" * DEEP,
    "100,000 objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "depth where the run should be": b'{"workflow_run":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "depth where the build should be": b'{"build": {"id":' + b"[" * DEEP + b"]" * DEEP + b"}}",
    "depth in the envelope": b'{"data":' + b'{"data":' * 5_000 + b"1" + b"}" * 5_001,
    "a number beyond all": b'{"workflow_run": {"id": 1e999999}, "build": {"id": 1e999999}}',
    "4,000 digits": b'{"workflow_run": {"id": %s}, "build": {"id": %s}}' % (b"9" * 4_000, b"9" * 4_000),
    "20,000 digits": b'{"workflow_run": {"id": %s}, "build": {"id": %s}}' % (b"9" * 20_000, b"9" * 20_000),
    "NaN": b'{"workflow_run": {"id": NaN}, "build": {"id": NaN}}',
    "Infinity": b'{"build": {"id": 1, "durationInSeconds": -Infinity}}',
    "keys twice": b'{"build": 1, "build": {"id": 1, "id": 2}, "action": 1, "action": "x", "workflow_run": 1}',
    "a lone surrogate": b'{"build": {"id": 1, "branch": "\\ud800"}, "action": "\\udfff"}',
    "a lone surrogate as a key": b'{"\\ud800": 1}',
    "invalid UTF-8": b'{"build": {"id": 1, "branch": "\xff\xfe\xed\xa0\x80"}}',
    "a byte order mark": b'\xef\xbb\xbf{"build": {"id": 1}}',
    "UTF-16": '{"build": {"id": 1}}'.encode("utf-16"),
    "UTF-32": '{"build": {"id": 1}}'.encode("utf-32"),
    "NUL": b'{"build": {"id": "a\\u0000b", "branch": "\\u0000"}}\x00',
    "nothing but NUL": b"\0" * 1_000,
    "10,000 keys": b"{" + b",".join(b'"k%d": 1' % number for number in range(10_000)) + b"}",
}

FORMS = {
    "nothing": b"",
    "no payload": b"a=b",
    "an empty payload": b"payload=",
    "100,000 fields": b"a=b&" * 100_000 + b"payload=%7B%7D",
    "100,000 payloads": b"payload=%7B%7D&" * 100_000,
    "100,000 escapes": b"payload=" + b"%5B" * 100_000,
    "broken escapes": b"payload=%zz%%%7&payload=%",
    "a payload in a payload": b"payload=" + quote_plus("payload=" + quote_plus('{"zen": "x"}')).encode(),
    "an equals sign in it": b"payload===%3D=\n=\r\n==",
    "bytes of nonsense": bytes(range(256)) * 10,
    "semicolons": b"payload=%7B%7D;payload=1",
}


def right(answer: Answer, what: object) -> None:
    """The answer to a signed request: one of four, with its status."""
    said = answer.json
    assert answer.status == SAID[said["status"]], (what, answer)
    assert "reason" in said if said["status"] == "ignored" else "id" in said, (what, answer)


async def all_right(client: Client, requests: Iterable[Request]) -> None:
    async for request, answer in client.all(requests):
        right(answer, request)


async def test_any_signed_body_is_answered_with_2xx(open_bridge: Open) -> None:
    client = await open_bridge(max_body=16 * MAX_BODY)
    github_events = ("workflow_run", "status", "push", "ping", "no_such_event", None)
    cirrus_events = ("build", "task", "audit_event", "no_such_event", None)
    named = [("github", "X-GitHub-Event", event) for event in github_events]
    named += [("cirrus", "X-Cirrus-Event", event) for event in cirrus_events]
    await all_right(
        client, (Request(body, to, {header: event}) for body in BODIES.values() for to, header, event in named)
    )


async def test_any_signed_form_is_answered_with_2xx_and_soon(open_bridge: Open) -> None:
    client = await open_bridge(max_body=64 * MAX_BODY)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    async with asyncio.timeout(5):
        await all_right(
            client,
            (
                Request(body, headers=form | {"X-GitHub-Event": event})
                for body in FORMS.values()
                for event in ("workflow_run", "ping", None)
            ),
        )


# -- a wrong type in every field ---------------------------------------------------------------------------------------

WRONG: tuple[Any, ...] = (
    None, True, -1, 0, 2**63, 2**64, 10**400, 1.5, -1e308, "", "x", "9" * 5_000, "\x00", "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00", "2026-13-45T99:99:99Z", [], {}, [[]], [None], ["x"], [{}], {"id": {}}, {"login": 1},
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything within a JSON value."""
    if path:
        yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*path, key))


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy of a JSON value with `new` at `path`; the field itself is gone when `new` is Ellipsis."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    if len(path) == 1 and new is ...:
        del copy[path[0]]
    else:
        copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy


def mutants(body: bytes) -> Iterator[bytes]:
    """The body with each of its fields wrong in turn: in one of the ways each time, over the fields in all of them."""
    value = json.loads(body)
    ways = (..., *WRONG)
    for number, path in enumerate(places(value)):
        for step in (0, 12):
            yield json.dumps(changed(value, path, ways[(number * 7 + step) % len(ways)])).encode()


async def test_a_wrong_type_in_any_field_of_github_is_answered_with_2xx(client: Client) -> None:
    await all_right(
        client,
        (
            Request(body, headers={"X-GitHub-Event": name.partition(".")[0]})
            for name in GITHUB
            for body in mutants(github(name))
        ),
    )


async def test_a_wrong_type_in_any_field_of_cirrus_is_answered_with_2xx(client: Client) -> None:
    saved = [cirrus(name) for name in CIRRUS]
    await all_right(client, (Request(body, "cirrus", dict(headers)) for raw, headers in saved for body in mutants(raw)))


# -- whatever hypothesis comes up with ---------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
HEADER = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60)
NAMES = ("Content-Type", "X-GitHub-Event", "X-GitHub-Delivery", "X-Cirrus-Event", "X-Cirrus-Timestamp", "User-Agent")
NAMES += ("Content-Encoding", "Accept", "Expect", "X-Request-Id", "X-Forwarded-For", "Cookie", "Origin", "If-Match")


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Request], Answer]]:
    """Send to one bridge, from outside of any loop: that is where hypothesis calls from."""
    with asyncio.Runner() as runner:
        client = runner.run(running(tmp_path_factory.mktemp("fuzz")))

        async def send(request: Request) -> Answer:
            return await client.request(
                "POST",
                f"/webhooks/{request.to}",
                client.signed(request.body, request.to, headers=request.headers),
                request.body,
            )

        yield lambda request: runner.run(send(request))
        runner.run(client.stop())


FEW = settings(max_examples=60, deadline=None)


@FEW
@given(body=st.binary(max_size=200), event=st.sampled_from([*EVENTS, "ping", ""]))
def test_any_bytes_of_github_are_answered_with_2xx(talk: Callable[[Request], Answer], body: bytes, event: str) -> None:
    right(talk(Request(body, headers={"X-GitHub-Event": event})), (body, event))


@FEW
@given(event=st.sampled_from(EVENTS), inner=JSON, more=st.dictionaries(st.sampled_from(KEYS), JSON, max_size=6))
def test_any_json_of_github_is_answered_with_2xx(
    talk: Callable[[Request], Answer], event: str, inner: Any, more: dict[str, Any]
) -> None:
    body = json.dumps({event: inner} | more).encode()
    right(talk(Request(body, headers={"X-GitHub-Event": event})), body)


@FEW
@given(body=st.dictionaries(st.sampled_from(KEYS), JSON, max_size=6), event=st.sampled_from(["build", "task", ""]))
def test_any_json_of_cirrus_is_answered_with_2xx(
    talk: Callable[[Request], Answer], body: dict[str, Any], event: str
) -> None:
    right(talk(Request(json.dumps(body).encode(), "cirrus", {"X-Cirrus-Event": event})), body)


@FEW
@given(headers=st.dictionaries(st.sampled_from(NAMES), HEADER, max_size=6), to=st.sampled_from(["github", "cirrus"]))
def test_any_header_is_answered_with_2xx_or_4xx(
    talk: Callable[[Request], Answer], headers: dict[str, str | None], to: str
) -> None:
    body = github() if to == "github" else cirrus()[0]
    answer = talk(Request(body, to, headers))
    if answer.status >= 400:
        assert answer.problem[0] in (400, 415, 417), headers
    else:
        right(answer, headers)


@FEW
@given(st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=100))
def test_any_signature_but_the_right_one_is_401(talk: Callable[[Request], Answer], signature: str) -> None:
    answer = talk(Request(github(), headers={"X-Hub-Signature-256": signature}))
    assert answer.problem[0] in (400, 401)  # 400: what no header may hold
