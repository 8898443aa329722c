"""What does Jenkins' Notification plugin say about a build? Never asks Jenkins, never reads log or parameters.

The plugin sends a body at each phase of a build and signs none: the token goes into the address, as the password of
Basic or as its last part. `status` is there from the end on, `duration` from the last phase on. Parameters and the log
may hold secrets and are not read.

https://plugins.jenkins.io/notification/
https://github.com/jenkinsci/notification-plugin
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import msgspec

from bridge.codec import decode, web_url
from bridge.errors import Unauthorized, Unreadable
from bridge.event import Event, Identity, Inbound, Kind, RunRef, Status
from bridge.sources import _values as values
from bridge.verify import REFUSED

LABEL = "Jenkins"
SETUP = (
    "Install the Notification plugin, open the job's configuration, add an endpoint under Job Notifications with "
    "format JSON, protocol HTTP, event All Events and {url} followed by / and the source's token as its URL."
)
CONTENT_TYPES = frozenset({"application/json"})
SIGNS = False
TOKEN_HEADERS: tuple[str, ...] = ()
STATUS: Mapping[str, Status] = {
    # phase, until the build has ended
    "QUEUED": Status.QUEUED,
    "STARTED": Status.RUNNING,
    # status, from then on
    "SUCCESS": Status.SUCCESS,
    "UNSTABLE": Status.SUCCESS,
    "FAILURE": Status.FAILURE,
    "ABORTED": Status.CANCELLED,
    "NOT_BUILT": Status.SKIPPED,
}

_WITH_RESULT = frozenset({"COMPLETED", "FINALIZED", "NONE"})  # NONE: told by a step of the pipeline
_REMOTE = re.compile(r"(?:refs/remotes/)?(?:origin/)?(.+)")
_PULL = re.compile(r"PR-([1-9]\d{0,8})")


class _Scm(msgspec.Struct):
    url: Any = None
    branch: Any = None
    commit: Any = None
    culprits: Any = None


class _Build(msgspec.Struct):
    full_url: Any = None
    number: Any = None
    phase: Any = None
    status: Any = None
    url: Any = None
    display_name: Any = None
    timestamp: Any = None
    duration: Any = None
    notes: Any = None
    scm: _Scm | None = None
    test_summary: Any = None


class _Body(msgspec.Struct):
    name: Any = None
    url: Any = None
    build: _Build | None = None


def verify(inbound: Inbound, secrets: Sequence[str]) -> None:
    """Raise Unauthorized: the plugin cannot sign."""
    raise Unauthorized(REFUSED)


def identify(inbound: Inbound) -> Identity:
    """Return the body's digest: it names build and phase, which come once each."""
    return values.digest(inbound.body)


def normalise(inbound: Inbound) -> Event:
    """Return the state of the build; raise Unreadable."""
    body = decode(inbound.body, _Body)
    build = body.build
    if build is None:
        raise Unreadable("build is missing")
    page = web_url(values.text(build.full_url))
    key = page or values.key(build.url, "build.full_url")
    scm = build.scm or _Scm()
    ref = _ref(scm.branch)
    pipeline, pull = _pipeline(_job(body), ref["branch"])
    word = _word(build)
    status = STATUS.get(word or "", Status.UNKNOWN)
    culprits = values.texts(scm.culprits)
    told_at = values.milliseconds(build.timestamp)
    return Event(
        source=inbound.source,
        type="jenkins",
        kind=Kind.PIPELINE,
        status=status,
        **values.place(scm.url),
        **ref,
        pull_request=pull,
        sha=values.text(scm.commit, 100),
        author=culprits[0] if len(culprits) == 1 else None,
        pipeline=pipeline,
        # A build that is run again gets a new number, so there is one attempt only. Before the checkout of a pipeline
        # nobody knows the repository.
        run=RunRef(id=key, number=values.whole(build.number), attempt=1, url=page, unique=True),
        url=page,
        action=values.text(build.phase, 100),
        description=_description(word, build),
        started_at=told_at if word == "STARTED" else None,
        finished_at=told_at if build.phase == "COMPLETED" else None,
        duration=values.seconds(build.duration, per_second=1_000) or None,
        changed_at=told_at,
        facts=values.facts(
            ("tests", _tests(build.test_summary)),
            ("culprits", ", ".join(culprits) if len(culprits) > 1 else None),
            ("notes", build.notes),
        ),
    )


def sign(body: bytes, secret: str, *, delivery: str) -> dict[str, str]:
    """Return the headers of the plugin, which signs nothing."""
    return {"Content-Type": "application/json;charset=UTF-8"}


def _ref(value: Any) -> values.Ref:
    """The branch without the remote's name, or the tag."""
    name = values.text(value)
    found = _REMOTE.fullmatch(name) if name and not name.startswith("refs/tags/") else None
    return values.ref(found[1] if found else name)


def _pipeline(job: str | None, branch: str | None) -> tuple[str | None, int | None]:
    """The pipeline's name and the pull request: a multibranch pipeline has a job per branch, or one called PR-7."""
    parents, _, last = (job or "").rpartition("/")
    pull = _PULL.fullmatch(last)
    if pull:
        return parents or job, int(pull[1])
    if job and branch and job.endswith(f"/{branch}"):
        return job.removesuffix(f"/{branch}"), None
    return job, None


def _word(build: _Build) -> str | None:
    """A result that is set while the build still runs, or in a phase that we do not know, is not its end."""
    phase, status = values.text(build.phase, 100), values.text(build.status, 100)
    return status if status is not None and (phase is None or phase in _WITH_RESULT) else phase


def _description(word: str | None, build: _Build) -> str | None:
    if word == "UNSTABLE":
        return "unstable: " + (_tests(build.test_summary) or "it was built, and tests or checks complain")
    return values.unknown(word, STATUS)


def _tests(summary: Any) -> str | None:
    total, failed = values.whole(values.inside(summary, "total")), values.whole(values.inside(summary, "failed"))
    if not total or failed is None:
        return None
    return f"{failed} of {total} tests failed" if failed else f"{total} tests passed"


def _job(body: _Body) -> str | None:
    """The job with its folders: ``job/tools/job/app/`` is tools/app, and a branch's name is escaped twice."""
    path = values.text(body.url)
    parts = re.findall(r"(?:^|/)job/([^/]+)", path) if path else []
    names = [unquote(unquote(part)) for part in parts]
    return values.text("/".join(names)) or values.text(body.name)
