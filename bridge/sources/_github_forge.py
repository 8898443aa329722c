"""What people do on GitHub: pushes, pull requests, releases.

Each function reads one webhook. Only here does `action` count, because these have no state of their own: it becomes
the event's action. Nothing but Unreadable leaves it.

https://docs.github.com/en/webhooks/webhook-events-and-payloads
"""

from __future__ import annotations

from bridge.codec import clean, decode, first_line, web_url
from bridge.event import Event, Ignored, Kind, RunRef
from bridge.sources import _github_shapes as shapes
from bridge.sources import _github_words as words


def push(source: str, body: bytes) -> Event:
    hook = decode(body, shapes.PushHook)
    place = words.place(source, hook.repository)
    page = place["repository_url"]
    head = hook.head_commit
    commits = hook.commits or []
    return Event(
        **place,
        **words.ref(hook.ref),
        **words.commit(head),
        kind=Kind.PUSH,
        sha=first_line(hook.before if hook.deleted else hook.after),
        title=first_line(head and head.message),
        author=words.first(hook.pusher and hook.pusher.name, *words.logins(hook.sender)),
        pusher=words.first(hook.pusher and hook.pusher.name, *words.logins(hook.sender)),
        run=RunRef(id=first_line(f"{hook.ref}@{hook.before}..{hook.after}") or ""),
        url=page if hook.deleted else web_url(hook.compare) or page,  # nothing can be compared with nothing
        action=_push_action(hook),
        changed_at=words.utc(hook.repository.pushed_at),  # a ref may go from one commit to another twice
        facts=words.facts(
            ("commits", str(len(commits)) if commits else None),
            *(((commit.id or "")[:7], commit.message) for commit in commits[-5:]),
        ),
    )


def _push_action(hook: shapes.PushHook) -> str:
    if hook.deleted:
        return "deleted"
    if hook.created:
        return "created"
    return "forced" if hook.forced else "pushed"


_PULL_REQUEST_ACTIONS = frozenset(["opened", "closed", "reopened", "ready_for_review", "converted_to_draft", "labeled"])


def pull_request(source: str, body: bytes) -> Event | Ignored:
    hook = decode(body, shapes.PullRequestHook)
    if hook.action not in _PULL_REQUEST_ACTIONS:
        return _nothing("pull_request", hook.action)
    pull = hook.pull_request
    head = pull.head or shapes.PullHead()
    url = web_url(pull.html_url)
    return Event(
        **words.place(source, hook.repository),
        kind=Kind.CHANGE_REQUEST,
        branch=first_line(head.ref),
        pull_request=pull.number,
        draft=pull.draft,
        fork=words.fork(head.repo, hook.repository),
        sha=first_line(head.sha),
        title=first_line(pull.title),
        author=words.first(*words.logins(pull.user, hook.sender)),
        reviewers=words.reviewers(pull, hook.repository),
        run=RunRef(id=f"pull/{pull.number}", url=url),
        labels=tuple(name for label in pull.labels or () if (name := first_line(label.name))),
        url=url,
        action="merged" if hook.action == "closed" and pull.merged else hook.action,
        description=clean(pull.body, 500),
        changed_at=words.utc(pull.updated_at),
        facts=words.facts(("label added", hook.label and hook.label.name)),
    )


def release(source: str, body: bytes) -> Event | Ignored:
    """`published` comes exactly once for each release and pre-release; all other actions only surround it."""
    hook = decode(body, shapes.ReleaseHook)
    if hook.action != "published":
        return _nothing("release", hook.action)
    release = hook.release
    url = web_url(release.html_url)
    return Event(
        **words.place(source, hook.repository),
        kind=Kind.RELEASE,
        tag=first_line(release.tag_name),
        draft=release.draft,
        title=words.first(release.name, release.tag_name),
        author=words.first(*words.logins(release.author, hook.sender)),
        run=RunRef(id=f"release/{release.id}", url=url),
        url=url,
        action=hook.action,
        description=clean(release.body, 500),
        changed_at=words.utc(release.published_at),
        facts=words.facts(("pre-release", "yes" if release.prerelease else None)),
    )


def _nothing(name: str, action: str | None) -> Ignored:
    return Ignored(f"{name} {first_line(action, 60) or 'without an action'}: bridge has nothing to say about it")
