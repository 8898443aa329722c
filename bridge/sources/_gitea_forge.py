"""What people do on Gitea and its relatives: pushes, branches and tags, pull requests, releases.

Each function reads one webhook. Only here does `action` count, because these have no state of their own: it becomes
the event's action. Nothing but Unreadable leaves it.

https://docs.gitea.com/usage/webhooks
https://github.com/gogs/docs-api/blob/master/Repositories/Webhooks.md
"""

from __future__ import annotations

from typing import Any

import msgspec

from bridge.codec import clean, decode
from bridge.errors import Unreadable
from bridge.event import Event, Ignored, Kind, RunRef
from bridge.sources import _gitea_words as words
from bridge.sources._values import address, facts, first, flag, inside, items, key, moment, text, whole, whole_text

_SHOWN = 5


class _Hook(msgspec.Struct, kw_only=True):
    """The fields that bridge reads. `Any`: each is looked at by hand, so that an odd value costs only itself."""

    action: Any = None
    repository: Any = None
    sender: Any = None


class _PushHook(_Hook, kw_only=True):
    ref: Any = None
    before: Any = None
    after: Any = None
    compare_url: Any = None
    commits: Any = None
    total_commits: Any = None
    head_commit: Any = None
    pusher: Any = None


class _RefHook(_Hook, kw_only=True):
    """A branch or tag that was made or deleted."""

    ref: Any = None
    ref_type: Any = None
    sha: Any = None


class _PullRequestHook(_Hook, kw_only=True):
    number: Any = None
    pull_request: Any = None


class _ReleaseHook(_Hook, kw_only=True):
    release: Any = None


# -- commits -----------------------------------------------------------------------------------------------------------


def push(source: str, body: bytes) -> Event:
    hook = decode(body, _PushHook)
    place = words.place(source, hook.repository)
    name = key(hook.ref, "ref")
    before, after = text(hook.before, 100) or "", text(hook.after, 100) or ""
    where = words.ref_of(name)
    commits = items(hook.commits)
    head = _head(hook, after)
    action = _pushed(before, after)
    page = place["repository_url"]
    return Event(
        **place,
        **where,
        kind=Kind.PUSH,
        # An annotated tag is an object of its own: the commit is the one that it points at.
        sha=(before if action == "deleted" else where["tag"] and text(inside(head, "id"), 100)) or after or None,
        title=text(inside(head, "message")),
        message=whole_text(inside(head, "message")),
        author=words.login(hook.pusher, hook.sender),
        author_name=text(inside(head, "author", "name")),
        author_email=text(inside(head, "author", "email")),
        **words.committer(head),
        pusher=words.login(hook.pusher, hook.sender),
        run=RunRef(id=f"{name}@{before}..{after}"),
        url=page if action == "deleted" else address(hook.compare_url) or address(inside(head, "url")) or page,
        action=action,
        committed_at=moment(inside(head, "timestamp")),
        changed_at=moment(inside(hook.repository, "updated_at")),  # a ref may go from one commit to another twice
        facts=facts(("commits", _count(hook, commits)), *_newest(commits)),
    )


def _head(hook: _PushHook, after: str) -> Any:
    """Return the commit that the ref is at now. They list the newest first, and old versions have no `head_commit`."""
    if isinstance(hook.head_commit, dict):
        return hook.head_commit
    commits = items(hook.commits)
    return next((commit for commit in commits if inside(commit, "id") == after), next(iter(commits), None))


def _pushed(before: str, after: str) -> str:
    if _nothing_there(after):
        return "deleted"
    return "created" if _nothing_there(before) else "pushed"


def _nothing_there(sha: str) -> bool:
    return bool(sha) and not sha.strip("0")


def _count(hook: _PushHook, commits: list[Any]) -> int:
    return max(whole(hook.total_commits) or 0, len(commits))


def _newest(commits: list[Any]) -> list[tuple[str, Any]]:
    """Return the newest commits, the oldest of them first as people read them."""
    newest = reversed(commits[:_SHOWN])
    return [((text(inside(commit, "id")) or "")[:7], inside(commit, "message")) for commit in newest]


def branch_deleted(source: str, body: bytes) -> Event | Ignored:
    """Gitea deletes a branch without a push, but a tag with one."""
    hook = decode(body, _RefHook)
    if hook.ref_type == "tag":
        return Ignored("delete of a tag: the push tells the same")
    return _ref_event(source, hook, "deleted")


def ref_deleted(source: str, body: bytes) -> Event:
    """Gogs deletes branches and tags without a push."""
    return _ref_event(source, decode(body, _RefHook), "deleted")


def tag_created(source: str, body: bytes) -> Event | Ignored:
    """Gogs makes a tag without a push, but a branch with one."""
    hook = decode(body, _RefHook)
    if hook.ref_type != "tag":
        return ref_created(source, body)
    return _ref_event(source, hook, "created")


def ref_created(source: str, body: bytes) -> Ignored:
    """Gitea makes branches and tags with a push."""
    return Ignored("create: the push tells the same with its commits")


def _ref_event(source: str, hook: _RefHook, action: str) -> Event:
    place = words.place(source, hook.repository)
    name, sha = key(hook.ref, "ref"), text(hook.sha, 100)
    tag = hook.ref_type == "tag"
    return Event(
        **place,
        kind=Kind.PUSH,
        branch=None if tag else name,
        tag=name if tag else None,
        sha=sha,
        author=words.login(hook.sender),
        run=RunRef(id=f"{'tag' if tag else 'branch'}/{name}@{sha or action}"),
        url=place["repository_url"],
        action=action,
        changed_at=moment(inside(hook.repository, "updated_at")),
    )


# -- pull requests and releases ----------------------------------------------------------------------------------------

_PULL_REQUEST_ACTIONS = {
    "opened": "opened",
    "closed": "closed",
    "reopened": "reopened",
    "label_updated": "labeled",
    "labeled": "labeled",
}


def pull_request(source: str, body: bytes) -> Event | Ignored:
    hook = decode(body, _PullRequestHook)
    action = _PULL_REQUEST_ACTIONS.get(text(hook.action) or "")
    if action is None:
        return _nothing("pull_request", hook.action)
    pull = hook.pull_request
    count = whole(hook.number) or whole(inside(pull, "number"))
    if not isinstance(pull, dict) or not count:
        raise Unreadable("pull_request or its number is missing")
    url = address(inside(pull, "html_url"))
    return Event(
        **words.place(source, hook.repository),
        kind=Kind.CHANGE_REQUEST,
        branch=first(inside(pull, "head", "ref"), inside(pull, "head_branch")),  # Gogs: head_branch
        pull_request=count,
        draft=flag(inside(pull, "draft")),
        fork=_fork(pull, hook.repository),
        sha=text(inside(pull, "head", "sha"), 100),
        title=text(inside(pull, "title")),
        author=words.login(inside(pull, "user"), hook.sender),
        author_name=text(inside(pull, "user", "full_name")),
        author_email=text(inside(pull, "user", "email")),
        reviewers=words.reviewers(pull, hook.repository),
        run=RunRef(id=f"pull/{count}", url=url),
        labels=tuple(name for label in items(inside(pull, "labels")) if (name := text(inside(label, "name")))),
        url=url,
        action="merged" if action == "closed" and flag(inside(pull, "merged")) else action,
        description=clean(whole_text(inside(pull, "body")), 500),
        changed_at=moment(inside(pull, "updated_at")),
    )


def _fork(pull: Any, repository: Any) -> bool | None:
    head = inside(pull, "head", "repo") or inside(pull, "head_repo")
    if head is not None:
        return words.fork(head, repository)
    theirs, ours = whole(inside(pull, "head", "repo_id")), whole(inside(pull, "base", "repo_id"))
    return theirs != ours if theirs and ours else None


def release(source: str, body: bytes) -> Event | Ignored:
    hook = decode(body, _ReleaseHook)
    if hook.action != "published":
        return _nothing("release", hook.action)
    said = hook.release
    place = words.place(source, hook.repository)
    page = place["repository_url"]
    url = address(inside(said, "html_url")) or (address(f"{page}/releases") if page else None)  # Gogs has no html_url
    return Event(
        **place,
        kind=Kind.RELEASE,
        tag=text(inside(said, "tag_name")),
        draft=flag(inside(said, "draft")),
        title=first(inside(said, "name"), inside(said, "tag_name")),
        author=words.login(inside(said, "author"), hook.sender),
        author_name=text(inside(said, "author", "full_name")),
        author_email=text(inside(said, "author", "email")),
        run=RunRef(id="release/" + key(inside(said, "id"), "release.id"), url=url),
        url=url,
        action="published",
        description=clean(whole_text(inside(said, "body")), 500),
        changed_at=moment(inside(said, "published_at")) or moment(inside(said, "created_at")),
        facts=facts(("pre-release", "yes" if inside(said, "prerelease") is True else None)),
    )


def _nothing(name: str, action: Any) -> Ignored:
    return Ignored(f"{name} {text(action, 60) or 'without an action'}: bridge has nothing to say about it")
