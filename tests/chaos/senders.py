"""Who posts: signed senders that repeat a delivery until it is answered, and remember what they were promised.

Each sender is one connection with one request under way and works through runs of its own, step by step; so the order
in which the steps of a run were answered is the order of their numbers, and the memory is one number per run. Every
text of a step carries its mark, ``r12s3e``: run 12, step 3.
"""

from __future__ import annotations

import asyncio
import hmac
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.running import CIRRUS_SECRET, GITHUB_SECRET

PLACES = 4  # repositories, and so destinations, of each kind
KINDS = ("living", "each", "quiet", "living", "each", "living")  # what a sender's runs are for
STEPS = {"living": 6, "each": 5, "quiet": 6}
AGAIN_AFTER = 0.05  # seconds after a refusal or a lost connection
PATIENCE = 8.0  # seconds for an answer
STATUS = re.compile(rb"HTTP/1\.[01] (\d+)")
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclass
class Promises:
    """What the senders were told."""

    last: dict[int, int] = field(default_factory=dict)  # of each run, the last step that was answered
    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)  # answers that no rightly signed request may get

    @property
    def events(self) -> int:
        return self.answers["accepted"] + self.answers["duplicate"]


def kind_of(run: int) -> str:
    return KINDS[run % len(KINDS)]


def place_of(run: int) -> int:
    """Which of the repositories of its kind a run is in."""
    return run // len(KINDS) % PLACES


def request(run: int, step: int) -> bytes:
    """Return the signed request of a step, headers and all: the same bytes however often it is sent."""
    return _cirrus(run, step) if kind_of(run) == "each" else _github(run, step)


def _github(run: int, step: int) -> bytes:
    repository = b"acme/%s-%d" % (kind_of(run).encode(), place_of(run))
    if 3 <= step <= 5:
        kind, body = b"workflow_job", _JOB % (run * 10 + step, run, run, step, repository)
    else:
        status, conclusion = {1: (b"queued", b"null"), 2: (b"in_progress", b"null")}.get(
            step, (b"completed", b'"failure"' if run // 7 % 2 else b'"success"')
        )
        kind, body = b"workflow_run", _RUN % (status, run, status, conclusion, run, run, run, step, repository)
    signature = hmac.digest(GITHUB_SECRET.encode(), body, "sha256").hex().encode()
    more = b"X-GitHub-Event: %s\r\nX-GitHub-Delivery: r%ds%d\r\nX-Hub-Signature-256: sha256=%s\r\n"
    return _post(b"github", more % (kind, run, step, signature), body)


def _cirrus(run: int, step: int) -> bytes:
    place = place_of(run)
    if 3 <= step <= 4:
        kind, body = b"task", _TASK % (place, run, run, step, run * 10 + step, run, step, 1_700_000_000_000 + step)
    else:
        status = {1: b"CREATED", 2: b"EXECUTING"}.get(step, b"FAILED" if run // 7 % 2 else b"COMPLETED")
        kind, body = b"build", _BUILD % (place, run, run, run, step, status)
    signature = hmac.digest(CIRRUS_SECRET.encode(), body, "sha256").hex().encode()
    more = b"X-Cirrus-Event: %s\r\nX-Cirrus-Signature: %s\r\nX-Cirrus-Timestamp: %d\r\n"
    return _post(b"cirrus", more % (kind, signature, 1_700_000_000_000 + step), body)


def _post(source: bytes, headers: bytes, body: bytes) -> bytes:
    head = (
        b"POST /webhooks/%s HTTP/1.1\r\nHost: bridge\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n"
    )
    return head % (source, headers, len(body)) + body


_RUN = (
    b'{"action":"%s","workflow_run":{"id":%d,"name":"CI","event":"push","status":"%s","conclusion":%s,"run_number":%d,'
    b'"run_attempt":1,"head_branch":"main","head_sha":"%040x","head_commit":{"message":"r%ds%de"},'
    b'"actor":{"login":"octocat"}},"repository":{"full_name":"%s"}}'
)
_JOB = (
    b'{"action":"completed","workflow_job":{"id":%d,"run_id":%d,"run_attempt":1,"name":"r%ds%de","status":"completed",'
    b'"conclusion":"success","head_branch":"main","workflow_name":"CI"},"repository":{"full_name":"%s"}}'
)
_BUILD = (
    b'{"action":"updated","repository":{"id":7,"owner":"acme","name":"each-%d"},"build":{"id":%d,"branch":"main",'
    b'"changeIdInRepo":"%040x","changeMessageTitle":"r%ds%de","status":"%s"},"task":{}}'
)
_TASK = (
    b'{"action":"updated","repository":{"id":7,"owner":"acme","name":"each-%d"},"build":{"id":%d,"branch":"main",'
    b'"changeMessageTitle":"r%ds%de","status":"EXECUTING"},"task":{"id":%d,"name":"r%ds%de","status":"COMPLETED",'
    b'"statusTimestamp":%d}}'
)


class Sender(asyncio.Protocol):
    """Posts one run after another, each request until it is answered."""

    def __init__(self, crowd: Crowd, number: int) -> None:
        self.done = asyncio.get_running_loop().create_future()
        self._crowd = crowd
        self._steps = crowd.steps(number)
        self._transport: asyncio.Transport | None = None
        self._answer = b""
        self._request = b""
        self._mark = (0, 0)
        self._next_at = time.monotonic() + crowd.dice.random() * crowd.interval
        self.waits_since: float | None = None

    async def live(self) -> None:
        """Connect, again and again, until there is nothing more to say."""
        loop = asyncio.get_running_loop()
        while not self.done.done():
            self._lost = loop.create_future()
            try:
                await loop.create_connection(lambda: self, "127.0.0.1", self._crowd.port())
            except OSError:
                await asyncio.sleep(AGAIN_AFTER)
                continue
            await self._lost
            if not self.done.done():
                await asyncio.sleep(AGAIN_AFTER)

    def give_up(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._answer = transport, b""
        self._post() if self._request else self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport, self.waits_since = None, None
        if not self._lost.done():
            self._lost.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, found, body = self._answer.partition(b"\r\n\r\n")
        size = LENGTH.search(head)
        if not found or (size and len(body) < int(size[1])):
            return
        status = STATUS.match(head)
        self._answer, self.waits_since = b"", None
        self._judge(int(status[1]) if status else 0, body)

    def _judge(self, status: int, body: bytes) -> None:
        promises = self._crowd.promises
        if (status, b'"accepted"' in body) == (202, True) or (status, b'"duplicate"' in body) == (200, True):
            promises.answers["accepted" if status == 202 else "duplicate"] += 1
            promises.last[self._mark[0]] = self._mark[1]
            self._request = b""
            self._go_on()
            return
        promises.answers[str(status)] += 1
        if status != 503:
            promises.wrong.append(f"{status} {body[:200]!r} for r{self._mark[0]}s{self._mark[1]}e")
        asyncio.get_running_loop().call_later(AGAIN_AFTER, self._post)

    def _go_on(self) -> None:
        mark = next(self._steps, None)
        if mark is None:
            self.done.set_result(None)
            self.give_up()
            return
        self._mark, self._request = mark, request(*mark)
        now = time.monotonic()
        self._next_at = max(self._next_at + self._crowd.interval, now - 1)  # what a fault held up is caught up with
        if self._next_at <= now:
            self._post()
        else:
            asyncio.get_running_loop().call_later(self._next_at - now, self._post)

    def _post(self) -> None:
        # Also called late, when the connection is another one or gone: then `connection_made` posts.
        if self._transport is not None and self.waits_since is None and self._request:
            self.waits_since = time.monotonic()
            self._transport.write(self._request)


class Crowd:
    """All senders of a round: together they post `per_second` until `enough`, each its last run to the end."""

    def __init__(self, size: int, per_second: float, dice: random.Random, ports: Callable[[], list[int]]) -> None:
        self.promises = Promises()
        self.dice = dice
        self.interval = size / per_second
        self.enough = False
        self._ports = ports
        self._size = size

    def port(self) -> int:
        return self.dice.choice(self._ports() or [9])  # nobody listens there

    def steps(self, number: int) -> Iterator[tuple[int, int]]:
        run = self._size + number
        while not self.enough:
            for step in range(1, STEPS[kind_of(run)] + 1):
                yield run, step
            run += self._size

    async def post(self) -> None:
        senders = [Sender(self, number) for number in range(self._size)]
        async with asyncio.TaskGroup() as group:
            impatient = group.create_task(self._hurry(senders))
            for living in [group.create_task(sender.live()) for sender in senders]:
                await living
            impatient.cancel()

    async def _hurry(self, senders: list[Sender]) -> None:
        while True:
            await asyncio.sleep(1)
            before = time.monotonic() - PATIENCE
            for sender in senders:
                if sender.waits_since is not None and sender.waits_since < before:
                    self.promises.answers["none"] += 1
                    sender.give_up()
