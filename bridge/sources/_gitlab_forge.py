"""What people do on GitLab: pushes, merge requests, releases, and what system hooks tell of the instance.

Each function reads one webhook. Only here does `action` count, because these have no state of their own: it becomes
the event's action. Nothing but Unreadable leaves it.

https://docs.gitlab.com/user/project/integrations/webhook_events/
https://docs.gitlab.com/administration/system_hooks/
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from bridge.codec import clean, decode, first_line
from bridge.errors import Unreadable
from bridge.event import Event, Ignored, Kind, RunRef
from bridge.sources import _gitlab_words as words
from bridge.sources import _values as values
from bridge.sources._values import address, facts, first, flag, inside, items, text, whole

# -- pushes ------------------------------------------------------------------------------------------------------------


class _Push(msgspec.Struct):
    ref: Any = None
    before: Any = None
    after: Any = None
    checkout_sha: Any = None
    user_name: Any = None
    user_username: Any = None
    project: Any = None
    commits: Any = None
    total_commits_count: Any = None


def push(source: str, body: bytes) -> Event:
    """A push to a branch or of a tag."""
    hook = decode(body, _Push)
    place = words.place(source, hook.project)
    ref, before, after = text(hook.ref), text(hook.before), text(hook.after)
    if ref is None:
        raise Unreadable("ref is missing")
    at = values.ref(ref)
    deleted, created = _nothing_there(after), _nothing_there(before)
    sha = before if deleted else first(hook.checkout_sha, after)  # of an annotated tag `after` is the tag itself
    commits = items(hook.commits)
    head = None if deleted else _head(commits, sha)
    told = words.commit(head, sha)
    return Event(
        **place,
        **told,
        **at,
        kind=Kind.PUSH,
        title=words.title(head),
        author=first(hook.user_username, hook.user_name, told["author_name"]),
        pusher=first(hook.user_username, hook.user_name),
        run=RunRef(id=first_line(f"{ref}@{before}..{after}") or ""),
        url=_push_page(place, at, head, (before, after), alone=len(commits) == 1),
        action="deleted" if deleted else "created" if created else "pushed",
        facts=_commits(hook, commits),
    )


_NOTHING = re.compile(r"0{40}(?:0{24})?")


def _nothing_there(sha: str | None) -> bool:
    return bool(sha and _NOTHING.fullmatch(sha))


def _head(commits: list[Any], sha: str | None) -> Any:
    """Return the commit that was pushed, else the newest of those that are told."""
    return next((one for one in commits if inside(one, "id") == sha), commits[-1] if commits else None)


def _push_page(
    place: words.Place,
    at: values.Ref,
    head: Any,
    between: tuple[str | None, str | None],
    alone: bool,
) -> str | None:
    """Return the commit where there is one, else the comparison; nothing can be compared with nothing."""
    before, after = between
    if _nothing_there(after) or not before or not after:
        return place["repository_url"]
    if at["tag"]:
        return words.page(place, "tags/", at["tag"])
    if alone and (page := address(inside(head, "url"))):
        return page
    if _nothing_there(before):
        return words.page(place, "commits/", at["branch"]) if at["branch"] else place["repository_url"]
    return words.page(place, "compare/", f"{before}...{after}")


def _commits(hook: _Push, commits: list[Any]) -> tuple[tuple[str, str], ...]:
    """How many, and the newest five. GitLab sends twenty at most."""
    count = whole(hook.total_commits_count) or len(commits)
    newest = (((text(inside(one, "id")) or "")[:7], words.title(one)) for one in commits[-5:])
    return facts(("commits", str(count) if count else None), *newest)


# -- merge requests ----------------------------------------------------------------------------------------------------


class _MergeRequest(msgspec.Struct):
    object_attributes: Any = None
    user: Any = None
    project: Any = None
    labels: Any = None
    reviewers: Any = None
    changes: Any = None


_ACTIONS = {
    "open": "opened",
    "close": "closed",
    "reopen": "reopened",
    "merge": "merged",
    "approved": "approved",
    "unapproved": "unapproved",
}
_IID = re.compile(r"/merge_requests/([1-9][0-9]{0,17})/?")


def merge_request(source: str, body: bytes) -> Event | Ignored:
    hook = decode(body, _MergeRequest)
    asked = hook.object_attributes
    said = text(inside(asked, "action"), 60)
    action = _ACTIONS.get(said or "") or _updated(hook, said)
    if action is None:
        return _nothing("merge_request", said)
    place = words.place(source, hook.project or inside(asked, "target"))
    url = address(inside(asked, "url"))
    iid = whole(inside(asked, "iid")) or _in_address(url)
    if iid is None:
        raise Unreadable("object_attributes.iid is missing or no number")
    url = url or words.page(place, f"merge_requests/{iid}")
    told = words.commit(inside(asked, "last_commit"))
    labels = items(inside(asked, "labels"), 50) or items(hook.labels, 50)
    return Event(
        **place,
        kind=Kind.CHANGE_REQUEST,
        branch=text(inside(asked, "source_branch")),
        pull_request=iid,
        draft=_draft(asked),
        fork=_fork(asked),
        sha=told["sha"],
        title=text(inside(asked, "title")) or words.title(inside(asked, "last_commit")),
        author=words.author(hook.user),
        author_name=told["author_name"],
        author_email=told["author_email"],
        reviewers=tuple(name for one in items(hook.reviewers, 20) if (name := words.author(one))),
        run=RunRef(id=f"merge_request/{iid}", url=url),
        labels=tuple(name for label in labels if (name := text(inside(label, "title"), 100))),
        url=url,
        action=action,
        description=clean(values.whole_text(inside(asked, "description")), 500),
        changed_at=words.moment(inside(asked, "updated_at")),
    )


def _updated(hook: _MergeRequest, action: str | None) -> str | None:
    """Return what an update is, where it is worth telling. New commits are pushes, and told as such."""
    if action != "update":
        return None
    draft = inside(hook.changes, "draft") or inside(hook.changes, "work_in_progress")
    before, after = flag(inside(draft, "previous")), flag(inside(draft, "current"))
    if before is None or after is None:  # older servers only show it in the title
        title = inside(hook.changes, "title")
        before, after = (_drafted(inside(title, name)) for name in ("previous", "current"))
    if before is not None and after is not None and before != after:
        return "converted_to_draft" if after else "ready_for_review"
    return "labeled" if _added(inside(hook.changes, "labels")) else None


_DRAFT = re.compile(r"\s*(?:\[(?:draft|wip)\]|\(draft\)|(?:draft|wip):)", re.IGNORECASE)


def _drafted(title: Any) -> bool | None:
    return bool(_DRAFT.match(title)) if isinstance(title, str) else None


def _added(labels: Any) -> bool:
    before, after = (
        {text(inside(label, "title")) for label in items(inside(labels, name), 100)} for name in ("previous", "current")
    )
    return bool(after - before)


def _draft(asked: Any) -> bool | None:
    """Newer servers say draft, older ones work_in_progress, and both say it in the title."""
    for name in ("draft", "work_in_progress"):
        if (found := flag(inside(asked, name))) is not None:
            return found
    return _drafted(inside(asked, "title"))


def _fork(asked: Any) -> bool | None:
    source, target = whole(inside(asked, "source_project_id")), whole(inside(asked, "target_project_id"))
    return None if source is None or target is None else source != target


def _in_address(url: str | None) -> int | None:
    found = _IID.search(url or "")
    return int(found[1]) if found else None


# -- releases ----------------------------------------------------------------------------------------------------------


class _Release(msgspec.Struct):
    id: Any = None
    name: Any = None
    tag: Any = None
    description: Any = None
    created_at: Any = None
    released_at: Any = None
    project: Any = None
    url: Any = None
    action: Any = None
    commit: Any = None


def release(source: str, body: bytes) -> Event | Ignored:
    """`create` comes once for each release; `update` and `delete` only surround it."""
    hook = decode(body, _Release)
    if hook.action != "create":
        return _nothing("release", text(hook.action, 60))
    place = words.place(source, hook.project)
    told = words.commit(hook.commit)
    tag, url = text(hook.tag), address(hook.url)
    return Event(
        **place,
        **told,
        kind=Kind.RELEASE,
        tag=tag,
        title=first(hook.name, tag),
        author=told["author_name"],  # who made the release is not said
        run=RunRef(id=f"release/{first(tag) or values.key(hook.id, 'id')}", url=url),
        url=url or words.page(place, "releases"),
        action="published",
        description=clean(values.whole_text(hook.description), 500),
        changed_at=words.moment(hook.released_at) or words.moment(hook.created_at),
    )


# -- the instance ------------------------------------------------------------------------------------------------------


class _System(msgspec.Struct):
    """Who and what a system hook is about. Keys and e-mail addresses are never read."""

    event_name: Any = None
    updated_at: Any = None
    created_at: Any = None
    path_with_namespace: Any = None
    project_path_with_namespace: Any = None
    group_path: Any = None
    full_path: Any = None
    path: Any = None
    name: Any = None
    username: Any = None
    user_username: Any = None
    group_access: Any = None
    access_level: Any = None
    old_path_with_namespace: Any = None
    old_username: Any = None


def system(source: str, body: bytes) -> Event | Ignored:
    """What happened to projects, groups, people and keys of an instance or a group."""
    hook = decode(body, _System)
    name = text(hook.event_name, 60) or "system hook"
    if name == "repository_update":
        return Ignored("repository_update: its pushes are told one by one")
    repository = first(hook.path_with_namespace, hook.project_path_with_namespace)
    person = first(hook.user_username, hook.username)
    group = first(hook.group_path, hook.full_path)
    about = " in ".join(filter(None, (person, repository or group))) or first(hook.name, hook.path)
    changed = words.moment(hook.updated_at) or words.moment(hook.created_at)
    return Event(
        source=source,
        type="gitlab",
        kind=Kind.AUDIT,
        repository=repository,
        run=RunRef(id=f"{name}/{about or ''}"),
        title=f"{name.replace('_', ' ')}: {about}" if about else name.replace("_", " "),
        action=name,
        changed_at=changed,
        facts=facts(
            ("before", first(hook.old_path_with_namespace, hook.old_username)),
            ("access", first(hook.access_level, hook.group_access)),
        ),
    )


def _nothing(name: str, action: str | None) -> Ignored:
    return Ignored(f"{name} {action or 'without an action'}: bridge has nothing to say about it")
