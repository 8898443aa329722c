"""What does Bitbucket Cloud say? Build statuses of commits, pushes, pull requests.

A build status is all that a webhook tells of a build, be it of Bitbucket Pipelines or of another system: it belongs to
a commit and a key, is changed in place and begins anew when a build of the commit is run again. The commit is the run
and each of its builds a task of it. Nothing but Unreadable
leaves this file.

https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypedDict

import msgspec

from bridge.codec import clean, decode
from bridge.errors import Unreadable
from bridge.event import Event, Ignored, Kind, RunRef, Status, Task
from bridge.sources._values import (
    address,
    facts,
    first,
    flag,
    inside,
    items,
    key,
    moment,
    pull_request,
    text,
    unknown,
    whole,
    whole_text,
)

STATUS: Mapping[str, Status] = {
    "INPROGRESS": Status.RUNNING,
    "SUCCESSFUL": Status.SUCCESS,
    "FAILED": Status.FAILURE,
    "STOPPED": Status.CANCELLED,
}


class _Hook(msgspec.Struct, kw_only=True):
    """The fields that bridge reads. `Any`: each is looked at by hand, so that an odd value costs only itself."""

    repository: Any = None
    actor: Any = None
    commit_status: Any = None
    push: Any = None
    pullrequest: Any = None


class _Place(TypedDict):
    source: str
    type: str
    repository: str
    repository_url: str | None
    default_branch: str | None
    private: bool | None


def _place(source: str, repository: Any) -> _Place:
    name = text(inside(repository, "full_name"), 300)
    if name is None:
        raise Unreadable("repository.full_name is missing")
    return {
        "source": source,
        "type": "bitbucket",
        "repository": name,
        "repository_url": _page(repository),
        "default_branch": text(inside(repository, "mainbranch", "name")),
        "private": flag(inside(repository, "is_private")),
    }


def _page(value: Any) -> str | None:
    return address(inside(value, "links", "html", "href"))


def _login(user: Any) -> str | None:
    """Return how people call the account: only teams and old bodies have a `username`."""
    return first(*(inside(user, name) for name in ("username", "nickname", "display_name")))


_RAW = re.compile(r"([^<>]*)<([^<>\s]+@[^<>\s]+)>")


class _Author(TypedDict):
    author: str | None
    author_name: str | None
    author_email: str | None


def _author(author: Any, actor: Any = None) -> _Author:
    """Return who made a commit: the account where Bitbucket knows it, else the name that git has, else the actor."""
    raw = text(inside(author, "raw")) or ""
    found = _RAW.fullmatch(raw)
    name, email = (text(found[1]), found[2]) if found else (raw or None, None)
    return {
        "author": first(_login(inside(author, "user")), _login(author), name, _login(actor)),
        "author_name": name or text(inside(author, "user", "display_name")),
        "author_email": email,
    }


# -- builds ------------------------------------------------------------------------------------------------------------


def commit_status(source: str, body: bytes) -> Event:
    hook = decode(body, _Hook)
    said = hook.commit_status
    commit = inside(said, "commit")
    state = text(inside(said, "state"), 100)
    status = STATUS.get(state or "", Status.UNKNOWN)
    sha = _sha(said)
    changed = moment(inside(said, "updated_on")) or moment(inside(said, "created_on"))
    branch = text(inside(said, "refname"))
    pipeline, count = _named(first(inside(said, "name"), inside(said, "key")), branch, inside(said, "url"))
    url = address(inside(said, "url"))
    name = key(inside(said, "key"), "commit_status.key")
    task = Task(
        id=name,
        name=pipeline or name,
        status=status,
        url=url,
        # The status keeps its creation when the build is run again days later: so no duration, and this beginning.
        started_at=changed if status is Status.RUNNING else None,
        finished_at=changed if status.finished else None,
        changed_at=changed,
        note=unknown(state, STATUS) or text(inside(said, "description")),
    )
    return Event(
        **_place(source, hook.repository),
        **_author(inside(commit, "author"), hook.actor),
        kind=Kind.PIPELINE,
        status=status,
        branch=branch,
        sha=sha,
        title=text(inside(commit, "message")),
        message=whole_text(inside(commit, "message")),
        pipeline=pipeline,
        # Nothing holds the builds of a commit together but the commit itself.
        run=RunRef(id=f"commit/{sha}", number=count, url=_page(commit) or url, of_tasks=True),
        tasks=(task,),
        url=url or _page(commit),
        description=task.note,
        committed_at=moment(inside(commit, "date")),
        started_at=task.started_at,
        finished_at=task.finished_at,
        changed_at=changed,
    )


def _sha(status: Any) -> str:
    """Return the commit: old bodies name it only in a link."""
    link = text(inside(status, "links", "commit", "href")) or ""
    return key(first(inside(status, "commit", "hash"), link.rpartition("/commit/")[2]), "commit_status.commit.hash")


_COUNTED = re.compile(r"(?:(Pipeline) #([0-9]{1,9})(?: for (.{1,300}))?|(.{1,300}?)[ :]*#([0-9]{1,9}))")
_RESULT = re.compile(r"/results/([0-9]{1,9})(?:/|$)")


def _named(name: str | None, branch: str | None, url: Any) -> tuple[str | None, int | None]:
    """Return the build's name and its run's number, which stands in the name: the next run is of the same build.

    Bitbucket Pipelines says "Pipeline #41 for main", Jenkins "app » main #41".
    """
    result = _RESULT.search(text(url) or "")
    found = _COUNTED.fullmatch(name or "")
    if found is None:
        return name, whole(result[1]) if result else None
    if found[4]:
        return found[4], whole(found[5])
    what = found[3] if found[3] != branch else None
    return f"{found[1]} for {what}" if what else found[1], whole(found[2])


# -- pushes ------------------------------------------------------------------------------------------------------------

_SHOWN = 5


def push(source: str, body: bytes) -> Event | Ignored:
    """One push may move several refs: the message is about the first and names the others."""
    hook = decode(body, _Hook)
    place = _place(source, hook.repository)
    changes = items(inside(hook.push, "changes"))
    if not changes:
        return Ignored("repo:push without a change of a branch or tag")
    change = changes[0]
    new, old = inside(change, "new"), inside(change, "old")
    action = _pushed(change)
    ref = old if action == "deleted" else new
    name = key(inside(ref, "name"), "push.changes.0.new.name")
    target, tag = inside(ref, "target"), inside(ref, "type") == "tag"
    page = place["repository_url"]
    before, after = (text(inside(one, "target", "hash"), 100) or "" for one in (old, new))
    who = _author(inside(target, "author"))
    return Event(
        **place,
        kind=Kind.PUSH,
        branch=None if tag else name,
        tag=name if tag else None,
        sha=text(inside(target, "hash"), 100),
        title=text(inside(target, "message")),
        message=whole_text(inside(target, "message")),
        author=_login(hook.actor) or who["author"],
        author_name=who["author_name"],
        author_email=who["author_email"],
        pusher=_login(hook.actor),
        run=RunRef(id=f"{'tag' if tag else 'branch'}/{name}@{before}..{after}"),
        url=page if action == "deleted" else _page(change) or _page(new) or page,
        action=action,
        committed_at=moment(inside(target, "date")),
        facts=_facts(change, changes[1:]),
    )


def _pushed(change: Any) -> str:
    if flag(inside(change, "closed")) or inside(change, "new") is None:
        return "deleted"
    if flag(inside(change, "created")) or inside(change, "old") is None:
        return "created"
    return "forced" if flag(inside(change, "forced")) else "pushed"


def _facts(change: Any, others: list[Any]) -> tuple[tuple[str, str], ...]:
    """The number of commits, the newest of them (they list the newest first), and what else was pushed with them."""
    commits = items(inside(change, "commits"))
    count = f"{len(commits)}{'+' if inside(change, 'truncated') is True else ''}" if commits else None
    newest = [((text(inside(one, "hash")) or "")[:7], text(inside(one, "message"))) for one in commits[:_SHOWN]]
    also = [text(inside(inside(one, "new") or inside(one, "old"), "name")) for one in others[:10]]
    return facts(("commits", count), *reversed(newest), ("also", ", ".join(name for name in also if name)))


# -- pull requests -----------------------------------------------------------------------------------------------------


def opened(source: str, body: bytes) -> Event:
    return _pull_request(source, body, "opened")


def merged(source: str, body: bytes) -> Event:
    return _pull_request(source, body, "merged")


def declined(source: str, body: bytes) -> Event:
    return _pull_request(source, body, "declined")


def _pull_request(source: str, body: bytes, action: str) -> Event:
    hook = decode(body, _Hook)
    pull = hook.pullrequest
    count = pull_request(inside(pull, "id"))
    if not count:
        raise Unreadable("pullrequest.id is missing")
    head, author = inside(pull, "source"), inside(pull, "author")
    theirs, ours = (text(inside(one, "repository", "full_name")) for one in (head, inside(pull, "destination")))
    said = inside(pull, "reason") if action == "declined" else inside(pull, "description")
    url = _page(pull)
    return Event(
        **_place(source, hook.repository),
        kind=Kind.CHANGE_REQUEST,
        branch=text(inside(head, "branch", "name")),
        pull_request=count,
        draft=flag(inside(pull, "draft")),
        fork=theirs != ours if theirs and ours else None,
        sha=text(inside(head, "commit", "hash"), 100),
        title=text(inside(pull, "title")),
        author=_login(author) or _login(hook.actor),
        author_name=text(inside(author, "display_name")),
        reviewers=tuple(name for one in items(inside(pull, "reviewers"), 20) if (name := _login(one))),
        run=RunRef(id=f"pull/{count}", url=url),
        url=url,
        action=action,
        description=clean(whole_text(said), 500),
        changed_at=moment(inside(pull, "updated_on")),
    )
