"""What does Bitbucket Data Center (once Server) say? Pushes and pull requests; it sends no build statuses.

The bodies have nothing in common with Bitbucket Cloud's: names are in camel case, times are milliseconds or have no
colon in their zone, links are lists. Nothing but Unreadable leaves this file.

https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html
"""

from __future__ import annotations

from typing import Any, TypedDict

import msgspec

from bridge.codec import clean, decode
from bridge.errors import Unreadable
from bridge.event import Event, Ignored, Kind, RunRef
from bridge.sources._values import (
    address,
    facts,
    first,
    flag,
    inside,
    items,
    key,
    milliseconds,
    moment,
    pull_request,
    ref,
    text,
    whole_text,
)


class _Hook(msgspec.Struct, kw_only=True, rename="camel"):
    """The fields that bridge reads. `Any`: each is looked at by hand, so that an odd value costs only itself."""

    date: Any = None
    actor: Any = None
    repository: Any = None
    changes: Any = None
    commits: Any = None
    to_commit: Any = None
    pull_request: Any = None


class _Place(TypedDict):
    source: str
    type: str
    repository: str
    repository_url: str | None
    private: bool | None


def _place(source: str, repository: Any) -> _Place:
    name, public = _full_name(repository), flag(inside(repository, "public"))
    if name is None:
        raise Unreadable("repository.slug or repository.project.key is missing")
    return {
        "source": source,
        "type": "bitbucket",
        "repository": name,
        "repository_url": _page(repository),
        "private": None if public is None else not public,
    }


def _full_name(repository: Any) -> str | None:
    project, slug = text(inside(repository, "project", "key"), 200), text(inside(repository, "slug"), 200)
    return f"{project}/{slug}" if project and slug else None


def _page(value: Any) -> str | None:
    return address(inside(next(iter(items(inside(value, "links", "self"))), None), "href"))


def _login(user: Any) -> str | None:
    return first(*(inside(user, name) for name in ("name", "slug", "displayName")))


# -- pushes ------------------------------------------------------------------------------------------------------------

_ACTIONS = {"ADD": "created", "DELETE": "deleted", "UPDATE": "pushed"}
_SHOWN = 5


def refs_changed(source: str, body: bytes) -> Event | Ignored:
    """One push may move several refs: the message is about the first and names the others."""
    hook = decode(body, _Hook)
    place = _place(source, hook.repository)
    changes = items(hook.changes)
    if not changes:
        return Ignored("repo:refs_changed without a change of a branch or tag")
    change = changes[0]
    name = key(inside(change, "refId") or inside(change, "ref", "id"), "changes.0.refId")
    action = _ACTIONS.get(text(inside(change, "type")) or "", "pushed")
    before, after = (text(inside(change, hash_), 100) or "" for hash_ in ("fromHash", "toHash"))
    head = hook.to_commit if inside(hook.to_commit, "id") == after else None
    who = inside(head, "author")
    return Event(
        **place,
        **ref(name),
        kind=Kind.PUSH,
        sha=(before if action == "deleted" else after) or None,
        title=text(inside(head, "message")),
        message=whole_text(inside(head, "message")),
        author=_login(hook.actor),
        author_name=first(inside(who, "displayName"), inside(who, "name"), inside(hook.actor, "displayName")),
        author_email=first(inside(who, "emailAddress"), inside(hook.actor, "emailAddress")),
        committer=_login(inside(head, "committer")),
        committer_email=text(inside(head, "committer", "emailAddress")),
        pusher=_login(hook.actor),
        run=RunRef(id=f"{name}@{before}..{after}"),
        url=place["repository_url"],
        action=action,
        committed_at=milliseconds(inside(head, "committerTimestamp")),
        changed_at=moment(hook.date),
        facts=_facts(items(hook.commits), changes[1:]),
    )


def _facts(commits: list[Any], others: list[Any]) -> tuple[tuple[str, str], ...]:
    """The newest commits, where this version tells them (the newest first), and what else was pushed with them."""
    newest = [((text(inside(one, "id")) or "")[:7], text(inside(one, "message"))) for one in commits[:_SHOWN]]
    also = [text(inside(one, "ref", "displayId")) for one in others[:10]]
    return facts(*reversed(newest), ("also", ", ".join(name for name in also if name)))


# -- pull requests -----------------------------------------------------------------------------------------------------


def opened(source: str, body: bytes) -> Event:
    return _pull_request(source, body, "opened")


def reopened(source: str, body: bytes) -> Event:
    return _pull_request(source, body, "reopened")


def merged(source: str, body: bytes) -> Event:
    return _pull_request(source, body, "merged")


def declined(source: str, body: bytes) -> Event:
    return _pull_request(source, body, "declined")


def _pull_request(source: str, body: bytes, action: str) -> Event:
    """A pull request belongs to the repository that it goes into; the hook itself names none."""
    hook = decode(body, _Hook)
    pull = hook.pull_request
    count = pull_request(inside(pull, "id"))
    if not count:
        raise Unreadable("pullRequest.id is missing")
    head, into = inside(pull, "fromRef"), inside(pull, "toRef")
    author = inside(pull, "author", "user")
    theirs, ours = (_full_name(inside(one, "repository")) for one in (head, into))
    url = _page(pull)
    return Event(
        **_place(source, inside(into, "repository")),
        kind=Kind.CHANGE_REQUEST,
        branch=ref(inside(head, "id") or inside(head, "displayId"))["branch"],
        pull_request=count,
        draft=flag(inside(pull, "draft")),
        fork=theirs != ours if theirs and ours else None,
        sha=text(inside(head, "latestCommit"), 100),
        title=text(inside(pull, "title")),
        author=_login(author) or _login(hook.actor),
        author_name=text(inside(author, "displayName")),
        author_email=text(inside(author, "emailAddress")),
        reviewers=tuple(name for one in items(inside(pull, "reviewers"), 20) if (name := _login(inside(one, "user")))),
        run=RunRef(id=f"pull/{count}", url=url),
        url=url,
        action=action,
        description=clean(whole_text(inside(pull, "description")), 500),
        changed_at=milliseconds(inside(pull, "updatedDate")) or moment(hook.date),
    )
