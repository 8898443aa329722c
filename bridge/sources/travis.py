"""What does a webhook of Travis CI say?

A form whose field `payload` is JSON. Travis tells a build's end, and its start where `on_start: always` is configured.
A build that is restarted keeps its id: only its times tell the attempts apart. Nothing here asks Travis's API.

Signature: ``Signature``, base64 of RSA PKCS#1 v1.5 with SHA-1 over the decoded `payload`. The public key stands at
KEYS_URL, from where `bridge.keys` fetches it, or is given as the source's secret (PEM). Neither a time nor a delivery
id is signed.

https://docs.travis-ci.com/user/notifications/#configuring-webhook-notifications
https://docs.travis-ci.com/user/notifications/#verifying-webhook-requests
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypedDict

import msgspec

from bridge.codec import decode, form_field, web_url
from bridge.errors import Unauthorized, Unreadable
from bridge.event import Event, Identity, Ignored, Inbound, Kind, RunRef, Status, Task
from bridge.sources import _values as values
from bridge.sources._values import inside, text
from bridge.verify import REFUSED

LABEL = "Travis CI"
SETUP = (
    "In .travis.yml name {url} under notifications.webhooks.urls, with on_start: always for messages that live from "
    "the start. No secret is needed: Travis's public key is fetched from its API, https://api.travis-ci.com/config."
)
CONTENT_TYPES = frozenset({"application/x-www-form-urlencoded"})
SIGNS = True
TOKEN_HEADERS: tuple[str, ...] = ()
SIGNATURE = "signature"
KEYS_URL = "https://api.travis-ci.com/config"
STATUS: Mapping[str, Status] = {
    # state
    "created": Status.QUEUED,
    "received": Status.QUEUED,
    "queued": Status.QUEUED,
    "started": Status.RUNNING,
    "passed": Status.SUCCESS,
    "failed": Status.FAILURE,
    "errored": Status.ERROR,
    "canceled": Status.CANCELLED,
    # status_message, where an old server sends no state
    "pending": Status.RUNNING,
    "fixed": Status.SUCCESS,
    "broken": Status.FAILURE,
    "still failing": Status.FAILURE,
}


# -- who sent it -------------------------------------------------------------------------------------------------------


def verify(inbound: Inbound, secrets: Sequence[str]) -> None:
    """Return if the payload was signed for one of `secrets`, public keys in PEM, else raise Unauthorized."""
    try:
        signature = base64.b64decode(inbound.headers.get(SIGNATURE, ""), validate=True)
        payload = _payload(inbound.body)
    except (binascii.Error, ValueError, Unreadable) as error:
        raise Unauthorized(REFUSED) from error
    if not any(_signed(payload, signature, pem) for pem in secrets if pem):
        raise Unauthorized(REFUSED)


def _signed(payload: bytes, signature: bytes, pem: str) -> bool:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA1

    key = _public_key(pem)
    if key is None:
        return False
    try:
        key.verify(signature, payload, PKCS1v15(), SHA1())  # noqa: S303 # Travis signs with nothing else
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


@lru_cache(maxsize=16)
def _public_key(pem: str) -> Any:
    """Return an RSA key, or None for what is none. A private key (of `bridge send` and tests) has its public half."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    private = _private_key(pem)
    if private is not None:
        return private.public_key()
    try:
        key = load_pem_public_key(_lines(pem))
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, RSAPublicKey) else None


def _private_key(pem: str) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if "PRIVATE KEY" not in pem:
        return None
    try:
        key = load_pem_private_key(_lines(pem), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, RSAPrivateKey) else None


def _lines(pem: str) -> bytes:
    """A key on one line, as environments and JSON hold it, has its line breaks written out."""
    return pem.replace("\\n", "\n").encode("utf-8", "replace")


def keys_url(api_url: str | None) -> str:
    """Return where the key stands. A server of one's own has it at its own API, /config."""
    base = (api_url or KEYS_URL).rstrip("/")
    return base if base.endswith("/config") else f"{base}/config"


class _Config(msgspec.Struct):
    config: Any = None


def keys(answer: bytes | str) -> tuple[str, ...]:
    """Return the public keys (PEM) that the answer of KEYS_URL names; raise Unreadable where it names none."""
    found = inside(decode(answer, _Config).config, "notifications", "webhook", "public_key")
    named = [found] if isinstance(found, str) else found[:10] if isinstance(found, list) else []
    pems = tuple(pem for pem in named if isinstance(pem, str) and _public_key(pem) is not None)
    if not pems:
        raise Unreadable("config.notifications.webhook.public_key is missing or no public key")
    return pems


def identify(inbound: Inbound) -> Identity:
    """Return the payload's digest: Travis sends no delivery id, and the same payload can be written as many forms."""
    try:
        signed = _payload(inbound.body)
    except Unreadable:
        signed = inbound.body
    return Identity("sha256:" + hashlib.sha256(signed).hexdigest())


def sign(body: bytes, secret: str, *, delivery: str) -> dict[str, str]:
    """Return the headers of Travis, signed where `secret` is a private key (PEM): with the public one nobody can."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA1

    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    key = _private_key(secret)
    if key is None:
        return headers
    try:
        signature = key.sign(_payload(body), PKCS1v15(), SHA1())  # noqa: S303 # as Travis does
    except Unreadable:
        return headers
    return headers | {"Signature": base64.b64encode(signature).decode()}


def _payload(body: bytes) -> bytes:
    """Return the JSON of the form's field, or a saved body that is bare JSON: the signature covers it either way."""
    return body if body.startswith(b"{") else form_field(body, "payload")


# -- what it says ------------------------------------------------------------------------------------------------------


class _Body(msgspec.Struct):
    id: Any = None
    number: Any = None
    state: Any = None
    status_message: Any = None
    type: Any = None
    branch: Any = None
    tag: Any = None
    pull_request: Any = None
    pull_request_number: Any = None
    pull_request_title: Any = None
    commit: Any = None
    head_commit: Any = None
    message: Any = None
    author_name: Any = None
    author_email: Any = None
    committer_name: Any = None
    committer_email: Any = None
    committed_at: Any = None
    started_at: Any = None
    finished_at: Any = None
    build_url: Any = None
    compare_url: Any = None
    repository: Any = None
    matrix: Any = None


def normalise(inbound: Inbound) -> Event | Ignored:
    """Return a build's state in our words, or why there is nothing for chat; raise Unreadable."""
    body = decode(_payload(inbound.body), _Body)
    if body.id is None and body.state is None:
        return Ignored("a payload without a build, so this is no webhook of Travis CI")
    word = _word(body)
    status = STATUS.get(word or "", Status.UNKNOWN)
    started = values.moment(body.started_at)
    finished = values.moment(body.finished_at) if status.finished else None
    url = web_url(text(body.build_url))
    return Event(
        **_commit(body),
        source=inbound.source,
        type="travis",
        kind=Kind.PIPELINE,
        status=status,
        repository=_full_name(body),
        repository_url=_repository_url(body),
        pipeline=LABEL,
        run=RunRef(id=values.key(body.id, "id"), number=values.whole(body.number), url=url),
        tasks=_tasks(body, url),
        url=url,
        description=values.unknown(word, STATUS),
        trigger=text(body.type),
        started_at=started,
        finished_at=finished,
        duration=values.between(started, finished),  # Travis's own is the sum over all jobs
        changed_at=finished or started,
        facts=values.facts(
            ("target branch", body.branch if _pull_request(body) else None),
            ("changes", web_url(text(body.compare_url))),
        ),
    )


def _word(body: _Body) -> str | None:
    """Return the state, or in its absence the message of a result, such as "Still Failing"."""
    said = text(body.state, 100)
    message = text(body.status_message, 100)
    return said or (message.lower() if message else None)


def _full_name(body: _Body) -> str | None:
    owner, name = text(inside(body.repository, "owner_name"), 200), text(inside(body.repository, "name"), 200)
    return f"{owner}/{name}" if owner and name else None


def _repository_url(body: _Body) -> str | None:
    """Return the repository's page, where the page of the changes stands under it: `repository.url` is a homepage."""
    name, compare = _full_name(body), web_url(text(body.compare_url)) or ""
    base, found, _ = compare.partition(f"/{name}/")
    return f"{base}/{name}" if name and found else None


def _pull_request(body: _Body) -> bool:
    return body.pull_request is True or body.type == "pull_request"


class _Commit(TypedDict):
    branch: str | None
    tag: str | None
    pull_request: int | None
    sha: str | None
    title: str | None
    message: str | None
    author: str | None
    author_name: str | None
    author_email: str | None
    committer: str | None
    committer_email: str | None
    committed_at: Any


def _commit(body: _Body) -> _Commit:
    """A pull request's `branch` is the one it goes into, and its `commit` a merge that nobody has made."""
    pull, tag, name = _pull_request(body), text(body.tag), text(body.author_name)
    return {
        "branch": None if pull or tag else text(body.branch),
        "tag": tag,
        "pull_request": values.pull_request(body.pull_request_number) if pull else None,
        "sha": values.first(body.head_commit if pull else None, body.commit),
        "title": values.first(body.pull_request_title if pull else None, body.message),
        "message": values.whole_text(body.message),
        "author": name,
        "author_name": name,
        "author_email": text(body.author_email),
        "committer": text(body.committer_name),
        "committer_email": text(body.committer_email),
        "committed_at": values.moment(body.committed_at),
    }


# -- its jobs ----------------------------------------------------------------------------------------------------------


def _tasks(body: _Body, url: str | None) -> tuple[Task, ...]:
    jobs = body.matrix[:1_000] if isinstance(body.matrix, list) else []
    site = (url or "").rpartition("/builds/")[0]
    return tuple(_task(job, site) for job in jobs if values.identifier(inside(job, "id")))


def _task(job: Any, site: str) -> Task:
    key = values.key(inside(job, "id"), "matrix.id")
    status = _job_status(inside(job, "state"), inside(job, "status"))
    started = values.moment(inside(job, "started_at"))
    finished = values.moment(inside(job, "finished_at")) if status.finished else None
    allowed = status.unsuccessful and inside(job, "allow_failure") is True
    return Task(
        id=key,
        name=values.first(inside(job, "config", "name"), inside(job, "number")) or key,
        status=status,
        url=web_url(f"{site}/jobs/{key}") if site else None,
        started_at=started,
        finished_at=finished,
        duration=values.between(started, finished),
        changed_at=finished or started,
        note="allowed to fail" if allowed else _odd(inside(job, "state")),
        allowed=allowed,
    )


def _job_status(state: Any, exit_status: Any) -> Status:
    """Return our word. Old servers call every job that ended `finished`: then its exit status tells."""
    if state == "finished":
        ended = {0: Status.SUCCESS, 1: Status.FAILURE}
        return ended.get(exit_status, Status.UNKNOWN) if isinstance(exit_status, int) else Status.UNKNOWN
    return STATUS.get(text(state) or "", Status.UNKNOWN)


def _odd(state: Any) -> str | None:
    return None if state == "finished" else values.unknown(state, STATUS)
