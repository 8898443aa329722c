"""A webhook comes in: who is it, who signed it, what does it say; and then the store, before any answer.

The only place where a sender is answered. Whatever a stranger sends, he gets a 4xx in few words; whatever is correctly
signed gets a 2xx, because some senders disable a hook that answers with errors.
https://www.rfc-editor.org/rfc/rfc9457 (problem details)
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache, partial
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web

from bridge import codec, observe
from bridge.config import Config, SourceConfig
from bridge.door import problem
from bridge.errors import IngestError, StoreUnavailable, Unauthorized, Unreadable
from bridge.event import Event, Identity, Ignored, Inbound, Kind, Run, Target, Track
from bridge.fold import fold_failing_task, fold_run, fold_track, run_key, tell_once
from bridge.keys import PublishedKeys
from bridge.observe import log
from bridge.route import Index, Rule, route, steady
from bridge.store.base import NO_SOURCE, Accepted, Arrival, Decision, EventState, First, Store
from bridge.tally import Tallies
from bridge.verify import REFUSED, shows_token

READ_WITHIN = timedelta(seconds=10)
RETRY_AFTER = timedelta(seconds=30)
LARGE = 256 * 1024  # bytes; bodies of strangers are in memory until their signature is seen to be wrong,
LARGE_AT_ONCE = 8  # so only so many are read at a time that are larger
REMEMBERED = 1_000  # repositories (of each source and kind) whose rules are known without asking
JSON = {"Content-Type": "application/json; charset=utf-8"}
KEPT_HEADERS = frozenset({"content-type", "user-agent"})  # and those that begin with "x-"
NEVER_KEPT = re.compile("signature|token|secret|auth|forwarded|real-ip")


class Deciding:
    """Fold and route with one set of rules: what `bridge.store` asks inside its transaction, and `bridge explain`."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = rules
        self._index = Index(rules)
        self._asked: dict[tuple[object, ...], tuple[Rule, ...]] = {}

    def _rules_for(self, event: Event) -> tuple[Rule, ...]:
        """Return the rules worth asking, remembered by repository and the like."""
        key = steady(event)
        found = self._asked.get(key)
        if found is None:
            if len(self._asked) >= REMEMBERED:
                self._asked.clear()
            found = self._asked[key] = self._index.worth_asking(event)
        return found

    def run_key(self, event: Event) -> str | None:
        return run_key(event)

    def first(self, event: Event, run: Run | None, *, repeat: bool, sent_at: datetime | None) -> First:
        folded = fold_run(event, run, repeat=repeat, sent_at=sent_at)
        return First(folded.event, folded.run, folded.news, folded.moved, folded.track)

    def second(self, first: First, track: Track | None) -> Decision:
        if first.track is None or first.run is None or not first.event.status.finished:
            return self.told(first, track, None)
        if first.event.kind is Kind.TASK:
            event, run, after = fold_failing_task(first.event, first.run, track)
        else:
            event, run, after = fold_track(first.event, first.run, track, first.track)
        return self.told(msgspec.structs.replace(first, event=event, run=run), track, after)

    def told(self, first: First, track: Track | None, after: Track | None) -> Decision:
        """Return what is owed because of an event whose `change` is known; `after` is its track with its result."""
        event, run = first.event, first.run
        targets: dict[str, Target] = {}
        rules: tuple[str, ...] = ()
        if first.news:
            routing = route(self._rules_for(event), event)
            targets = {target.key: target for target in routing.targets}
            rules = routing.matched
        if first.track is not None and run is not None:
            targets, told = tell_once(event, run, after or track, first.track, targets)
            after = told or after
        if run is not None:
            targets, run = _follow(targets, run, event, news=first.news, moved=first.moved)
        state: EventState = ("routed" if rules or targets else "unrouted") if first.news else "unchanged"
        return Decision(event, run, after, state, rules, tuple(targets.values()))


def _follow(
    targets: dict[str, Target], run: Run, event: Event, *, news: bool, moved: bool
) -> tuple[dict[str, Target], Run]:
    """A living message, once opened, follows its run to the end, whatever the rule would say of the later states."""
    following = {target.key: target for target in run.following}
    # What another rule wants said at the same place and in the same form is said by the message that lives there.
    targets = {key: target.with_(live=True) if key in following else target for key, target in targets.items()}
    if moved:
        targets = {key: target for key, target in following.items() if key not in targets} | targets
    for key, target in tuple(targets.items()):
        if not target.live:
            continue
        opened = following.get(key)
        if opened is None:
            following[key] = target.with_(mention=())
            continue
        thread, answered = target.thread or opened.thread, opened.answered
        if news and event.change is not None and thread:
            # An edit notifies nobody: the result is said in the thread, too, and there whoever is to be named.
            reply = target.with_(live=False, thread=True, reply=True)
            targets[reply.key] = reply
            target = target.with_(mention=())
            answered = True
            following[key] = opened.with_(answered=True)
        # An edit makes no noise: it waits no longer than the first message, and in the same lane.
        sooner = min(opened, target, key=lambda one: one.patience)
        targets[key] = target.with_(
            thread=thread,
            answered=answered,
            wait=sooner.wait,
            until=sooner.until,
            queue=sooner.queue,
            why=sooner.why,
        )
    return targets, run.with_(following=tuple(following.values()))


class Read(msgspec.Struct, frozen=True):
    """What a verified request turned out to be, before the store has seen it."""

    identity: Identity
    event: Event | None = None
    ignored: str = ""
    problem: str = ""


def read(inbound: Inbound, source: SourceConfig) -> Read:
    """Return what a request says; raise Unauthorized when nobody we know signed it. Pure; also `bridge explain`'s eye.

    Not being able to read it is no error here: the event is kept with its problem.
    """
    if not source.unsigned:
        _verify(inbound, source)
    return understand(inbound, source)


def _verify(inbound: Inbound, source: SourceConfig) -> None:
    """Return if a secret has signed the request, or if it shows a token; where both are set, either will do."""
    module = source.module
    try:
        if source.tokens and shows_token(inbound.headers, inbound.path_token, source.tokens, module.TOKEN_HEADERS):
            return
        module.verify(inbound, source.secrets)
    except IngestError:
        raise
    except Exception as error:  # a bug in a source lets nobody in and tells a stranger nothing
        log.error("event.unverified", source=source.name, error=type(error).__name__, exc_info=True)
        raise Unauthorized(REFUSED) from error


def _identify(inbound: Inbound, source: SourceConfig) -> Identity:
    try:
        return source.module.identify(inbound)
    except Exception as error:  # a bug in a source must not lose the event
        log.error("event.unidentified", source=source.name, error=type(error).__name__, exc_info=True)
        return Identity(f"sha256:{hashlib.sha256(inbound.body).hexdigest()}")


def understand(inbound: Inbound, source: SourceConfig) -> Read:
    """Return what a request says, whoever signed it."""
    identity = _identify(inbound, source)
    try:
        found = source.module.normalise(inbound)
    except Unreadable as error:
        return Read(identity, problem=str(error))
    except IngestError:
        raise
    except Exception as error:  # a bug in a source must neither lose the event nor answer 5xx
        log.error("event.unreadable", source=source.name, error=type(error).__name__, exc_info=True)
        return Read(identity, problem=f"bridge failed to read it ({type(error).__name__}): please report this")
    if isinstance(found, Ignored):
        return Read(identity, ignored=found.reason)
    return Read(identity, event=found.with_(source=source.name, type=source.type, received_at=inbound.received_at))


def arrival_of(inbound: Inbound, found: Read) -> Arrival:
    """Return what the store is to accept: the request without its signature, tokens and secret, and what it says."""
    return Arrival(
        source=inbound.source,
        received_at=inbound.received_at,
        headers=_kept(inbound.headers),
        body=_blanked(inbound.body) if found.event is None or found.event.type in MAY_TELL_SECRETS else inbound.body,
        identity=found.identity,
        event=found.event,
        problem=found.problem or found.ignored,
        ignored=bool(found.ignored),
    )


class Receiver:
    """The route ``POST /webhooks/{source}``. `config` and `decider` are asked anew each time: they change on reload."""

    def __init__(
        self,
        store: Store,
        config: Callable[[], Config],
        decider: Callable[[], Deciding],
        now: Callable[[], datetime],
        tallies: Tallies,
        read_within: timedelta = READ_WITHIN,
        keys: PublishedKeys | None = None,
    ) -> None:
        self._store = store
        self._keys = keys
        self._config = config
        self._decider = decider
        self._now = now
        self._tallies = tallies
        self._read_within = read_within
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)

    async def handle(self, request: web.Request) -> web.Response:
        name = request.match_info["source"]
        config = self._config()
        source = config.sources.get(name)
        if source is None:
            self._tallies.count(NO_SOURCE, "unknown")
            return problem(HTTPStatus.NOT_FOUND, "no such source")
        try:
            _check_headers(request, source.module.CONTENT_TYPES)
            body = await _body(request, config.server.max_body, self._read_within, self._large)
        except _Refused as refused:
            return self._refuse(name, refused.status, refused.text)
        started = time.perf_counter()
        inbound = Inbound(name, _headers(request), body, self._now(), request.match_info.get("token"))
        try:
            found = await self._read(inbound, source)
        except Unauthorized as error:
            return self._refuse(name, HTTPStatus.UNAUTHORIZED, str(error))
        except IngestError as error:
            return self._refuse(name, HTTPStatus(error.status), str(error))
        response = await self._accept(inbound, found)
        observe.accept_latency.observe(time.perf_counter() - started)
        return response

    async def _read(self, inbound: Inbound, source: SourceConfig) -> Read:
        """Return `read`, with the keys that the sender publishes where the configuration gives none."""
        if source.publishes is None or self._keys is None:
            return read(inbound, source)
        if not inbound.headers.get(source.publishes.SIGNATURE):  # for this no key is needed
            raise Unauthorized(REFUSED)
        keys = await self._keys.of(source)
        try:
            return read(inbound, replace(source, secrets=keys))
        except Unauthorized:
            newer = await self._keys.newer(source, keys)
            if not newer:
                raise
        return read(inbound, replace(source, secrets=newer))

    async def _accept(self, inbound: Inbound, found: Read) -> web.Response:
        try:
            accepted = await self._store.accept(arrival_of(inbound, found), self._decider())
        except StoreUnavailable as error:
            log.error("store.unavailable", source=inbound.source, error=str(error))
            if found.ignored:
                return web.json_response({"status": "ignored", "reason": found.ignored})
            observe.events_invalid.labels(inbound.source, "store").inc()
            self._tallies.count(inbound.source, "store")
            return _later("the event cannot be kept now, send it again later")
        return self._answer(inbound.source, found, accepted)

    def _answer(self, source: str, found: Read, accepted: Accepted) -> web.Response:
        if found.ignored:
            status, code, answer = "ignored", 200, {"status": "ignored", "reason": found.ignored}
        elif accepted.duplicate:
            status, code, answer = "duplicate", 200, {"status": "duplicate", "id": accepted.id}
        elif found.event is None:
            status, code, answer = "unreadable", 202, {"status": "unreadable", "id": accepted.id}
        else:
            status, code, answer = "accepted", 202, {"id": accepted.id, "status": "accepted"}
        observe.events_received.labels(source, status).inc()
        repository = found.event.repository if found.event is not None and status == "accepted" else None
        self._tallies.count(source, accepted.state if status == "accepted" else status, repository, accepted.id)
        if status == "accepted" and accepted.state == "unrouted":
            observe.events_unrouted.labels(source).inc()
        reason = found.ignored or found.problem
        say = partial(log.info, reason=reason) if reason else observe.told
        destinations = list(accepted.destinations)
        say(f"event.{status}", source=source, event_id=accepted.id, state=accepted.state, destinations=destinations)
        return web.Response(body=codec.dump(answer), status=code, headers=JSON)

    def _refuse(self, source: str, status: HTTPStatus, text: str) -> web.Response:
        reason = {401: "signature", 408: "slow", 413: "size", 415: "type", 503: "key"}.get(status, "other")
        observe.events_invalid.labels(source, reason).inc()
        self._tallies.count(source, reason)
        log.info("event.refused", source=source, status=int(status), reason=text)
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            return _later(text)
        response = problem(status, text)
        if status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE):
            response.force_close()
        return response


def _later(text: str) -> web.Response:
    response = problem(HTTPStatus.SERVICE_UNAVAILABLE, text)
    response.headers["Retry-After"] = str(round(RETRY_AFTER.total_seconds()))
    return response


class _Refused(Exception):
    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def _check_headers(request: web.Request, content_types: frozenset[str]) -> None:
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        raise _Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Content-Encoding is not taken: the raw bytes are what is signed"
        )
    given = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if given not in content_types:
        raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"send {' or '.join(sorted(content_types))}")


async def _body(request: web.Request, limit: int, within: timedelta, large: asyncio.Semaphore) -> bytes:
    """Read the body, bounded in size and time: aiohttp itself never cuts a slow one."""
    if request.content_length is not None and request.content_length > limit:
        raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {limit} bytes")
    if request.content.is_eof() and request.content.exception() is None:  # it came with its head, as most do
        whole = request.content.read_nowait()
        if len(whole) > limit:
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {limit} bytes")
        return whole
    body = bytearray()
    in_turn = False
    try:
        async with asyncio.timeout(within.total_seconds()):
            async for chunk in request.content.iter_any():
                if not in_turn and len(body) + len(chunk) > LARGE:
                    in_turn = await large.acquire()
                body += chunk
                if len(body) > limit:
                    raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {limit} bytes")
    except TimeoutError as error:
        raise _Refused(HTTPStatus.REQUEST_TIMEOUT, "the body did not come in time") from error
    except (OSError, ValueError, web.RequestPayloadError) as error:
        raise _Refused(HTTPStatus.BAD_REQUEST, "the body could not be read") from error
    finally:
        if in_turn:
            large.release()
    return bytes(body)


def _headers(request: web.Request) -> dict[str, str]:
    """Return the headers by lower-case name; of one given twice, the first."""
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        headers.setdefault(name.lower(), value)
    return headers


def _kept(headers: Mapping[str, str]) -> dict[str, Any]:
    """Return the headers that are worth keeping: no signature, no token."""
    return {
        name: value[:300].encode("utf-8", "replace").decode()  # a byte that is no UTF-8 comes as a lone surrogate
        for name, value in headers.items()
        if _is_kept(name)
    }


@lru_cache(maxsize=500)
def _is_kept(name: str) -> bool:
    return (name.startswith("x-") or name in KEPT_HEADERS) and not NEVER_KEPT.search(name)


# The types whose senders may write it there; to look through the bodies of all took a fifteenth of an event's time.
MAY_TELL_SECRETS = frozenset({"gitea", "gogs", "forgejo", "generic"})
_SECRET = re.compile(rb'("secret"\s*:\s*")(?:[^"\\]|\\.)++', re.DOTALL)
_SECRET_IN_A_FORM = re.compile(
    rb"(%22secret%22(?:\+|%20)*%3a(?:\+|%20)*%22)(?:%5c(?:%..|.)|(?!%22)[^&%]|(?!%22)%)++", re.I
)


def _blanked(body: bytes) -> bytes:
    """Return the body as it may be kept: old versions of Gitea and Gogs send the secret in it."""
    if b"secret" not in body:
        return body
    return _SECRET_IN_A_FORM.sub(rb"\1***", _SECRET.sub(rb"\1***", body))
