"""What people do on Azure DevOps: pushes and pull requests.

Each function reads one event. A pull request's state comes from the object: an update and an attempt to
merge are sent whatever came of them. Nothing but Unreadable leaves it.

https://learn.microsoft.com/en-us/azure/devops/service-hooks/events#code
"""

from __future__ import annotations

import re

from bridge.codec import clean
from bridge.errors import Unreadable
from bridge.event import Event, Ignored, Kind, RunRef
from bridge.sources import _azure_words as words
from bridge.sources import _values as values
from bridge.sources._values import address, facts, inside, items, key, moment, text

_NOTHING = re.compile(r"0{40}(?:0{24})?")


def push(source: str, hook: words.Hook) -> Event:
    """A push; where it moves several refs, the first is told and the others are named beside it."""
    told = hook.resource
    moved = [one for one in items(inside(told, "refUpdates")) if text(inside(one, "name"))]
    if not moved:
        raise Unreadable("resource.refUpdates is missing")
    ref, before, after = (text(inside(moved[0], name)) for name in ("name", "oldObjectId", "newObjectId"))
    deleted, created = (bool(sha and _NOTHING.fullmatch(sha)) for sha in (after, before))
    repository = inside(told, "repository")
    place = words.named(repository)
    sha, home = before if deleted else after, place["repository_url"]
    commits = items(inside(told, "commits"))  # the newest first
    head = next((one for one in commits if inside(one, "commitId") == sha), None)
    author = inside(head, "author")
    return words.event(
        source,
        Kind.PUSH,
        **place,
        **values.ref(ref),
        default_branch=values.ref(inside(repository, "defaultBranch"))["branch"],
        private=words.private(inside(repository, "project")),
        sha=sha,
        title=text(inside(head, "comment")),
        message=values.whole_text(inside(head, "comment")),
        author=words.person(inside(told, "pushedBy"), author),
        author_name=text(inside(author, "name")),
        author_email=words.email(author or inside(told, "pushedBy")),
        committer=words.person(inside(head, "committer")),
        committer_email=words.email(inside(head, "committer")),
        pusher=words.person(inside(told, "pushedBy")),
        run=RunRef(id=key(f"{ref}@{before}..{after}", "refUpdates")),
        url=address(f"{home}/commit/{sha}") if home and sha and not deleted else home,
        action="deleted" if deleted else "created" if created else "pushed",
        committed_at=moment(inside(author, "date")),
        changed_at=moment(inside(told, "date")),
        facts=facts(
            ("commits", len(commits)),
            *(((text(inside(one, "commitId")) or "")[:7], inside(one, "comment")) for one in reversed(commits[:5])),
            ("also", ", ".join(text(inside(one, "name")) or "" for one in moved[1:6])),
        ),
    )


def pull_request(source: str, hook: words.Hook) -> Event | Ignored:
    """A pull request that was opened, or that an update shows to be merged or closed."""
    told = hook.resource
    status = text(inside(told, "status"), 60)
    opened = hook.event_type == "git.pullrequest.created"
    action = {"completed": "merged", "abandoned": "closed"}.get(status or "") or ("opened" if opened else None)
    if action is None:
        return Ignored(f"{hook.event_type} {status or 'without a status'}: bridge has nothing to say about it")
    asked = values.pull_request(inside(told, "pullRequestId"))
    if asked is None:
        raise Unreadable("resource.pullRequestId is missing or no number")
    repository = inside(told, "repository")
    place = words.named(repository)
    home = place["repository_url"]
    url = address(inside(told, "_links", "web", "href")) or (address(f"{home}/pullrequest/{asked}") if home else None)
    when = inside(told, "creationDate") if action == "opened" else inside(told, "closedDate")
    return words.event(
        source,
        Kind.CHANGE_REQUEST,
        **place,
        branch=values.ref(inside(told, "sourceRefName"))["branch"],
        default_branch=values.ref(inside(repository, "defaultBranch"))["branch"],
        pull_request=asked,
        draft=values.flag(inside(told, "isDraft")),
        fork=inside(told, "forkSource") is not None,
        private=words.private(inside(repository, "project")),
        sha=text(inside(told, "lastMergeSourceCommit", "commitId")),
        title=text(inside(told, "title")),
        author=words.person(inside(told, "createdBy")),
        author_email=words.email(inside(told, "createdBy")),
        reviewers=tuple(name for one in items(inside(told, "reviewers"), 20) if (name := words.person(one))),
        run=RunRef(id=f"pull/{asked}", url=url),
        labels=tuple(name for one in items(inside(told, "labels"), 50) if (name := text(inside(one, "name"), 100))),
        url=url,
        action=action,
        description=clean(values.whole_text(inside(told, "description")), 500),
        changed_at=moment(when) or moment(hook.created_date),
    )
