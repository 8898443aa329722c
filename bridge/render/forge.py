"""Where does a forge show a commit, a branch, a pull request, and how are its pull requests written?

Addresses are made below the repository's page, and only where it is known which forge that is: by a site that everybody
knows, else because the forge itself has sent the event. Never guessed: what a CI system calls its repository may be
anywhere.

https://docs.github.com/en/get-started/writing-on-github/working-with-advanced-formatting/autolinked-references-and-urls
https://docs.gitlab.com/user/markdown/#gitlab-specific-references
https://learn.microsoft.com/en-us/azure/devops/project/wiki/markdown-guidance
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from bridge.codec import web_url
from bridge.event import Event


@dataclass(frozen=True, slots=True)
class Forge:
    """What follows the repository's page; `sign` stands before a pull request's number."""

    commit: str
    branch: str
    request: str
    sign: str = "#"
    noun: str = "pull request"


_GITHUB = Forge("/commit/{}", "/tree/{}", "/pull/{}")
_GITLAB = Forge("/-/commit/{}", "/-/tree/{}", "/-/merge_requests/{}", "!", "merge request")
_GITEA = Forge("/commit/{}", "/src/branch/{}", "/pulls/{}")
_GOGS = Forge("/commit/{}", "/src/{}", "/pulls/{}")
_BITBUCKET_CLOUD = Forge("/commits/{}", "/branch/{}", "/pull-requests/{}")
_BITBUCKET_SERVER = Forge("/commits/{}", "/browse?at=refs/heads/{}", "/pull-requests/{}")
_AZURE = Forge("/commit/{}", "?version=GB{}", "/pullrequest/{}", "!")

SITES = {
    "https://github.com/": _GITHUB,
    "https://gitlab.com/": _GITLAB,
    "https://bitbucket.org/": _BITBUCKET_CLOUD,
    "https://codeberg.org/": _GITEA,
    "https://gitea.com/": _GITEA,
    "https://dev.azure.com/": _AZURE,
}
"""Who knows the site knows the forge, whoever names it."""

SENDERS = {
    "github": _GITHUB,
    "gitlab": _GITLAB,
    "gitea": _GITEA,
    "forgejo": _GITEA,
    "gogs": _GOGS,
    "bitbucket": _BITBUCKET_SERVER,
    "azure_devops": _AZURE,
}
"""The forges themselves, on whatever site, by the type of their source."""

_WITHIN = {_BITBUCKET_SERVER: "/repos/", _AZURE: "/_git/"}
"""What the page of a repository holds. An address without it is another page, or of a repository elsewhere."""

_SHA = re.compile(r"[0-9a-fA-F]{7,64}")


def commit_url(event: Event) -> str | None:
    return _below(event, "commit", event.sha) if _SHA.fullmatch(event.sha or "") else None


def branch_url(event: Event) -> str | None:
    """Return the page of a branch of this repository: that of a fork is elsewhere."""
    return _below(event, "branch", event.branch) if event.branch and not event.fork else None


def pull_request_url(event: Event) -> str | None:
    return _below(event, "request", str(event.pull_request)) if event.pull_request else None


def pull_request_name(event: Event) -> str | None:
    """Return ``#7``, or ``!7`` where the forge writes it so."""
    return f"{_forge(event).sign}{event.pull_request}" if event.pull_request is not None else None


def noun(event: Event) -> str:
    """Return what the forge calls a pull request."""
    return _forge(event).noun


def _known(event: Event) -> Forge | None:
    address, sender = event.repository_url or "", SENDERS.get(event.type)
    if sender and address and _WITHIN.get(sender, "") not in address:
        sender = None
    return next((forge for site, forge in SITES.items() if address.startswith(site)), sender)


def _forge(event: Event) -> Forge:
    return _known(event) or _GITHUB


def _below(event: Event, page: str, name: str | None) -> str | None:
    address, forge = web_url(event.repository_url), _known(event)
    if not address or forge is None or set("?#") & set(address):
        return None
    home = address.rstrip("/").removesuffix("/browse")
    path: str = getattr(forge, page)
    return web_url(home + path.format(quote(name or "", safe="" if "?" in path else "/", errors="replace")))
