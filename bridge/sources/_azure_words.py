"""Azure DevOps' words in ours: states and results, repositories by their addresses, refs, people.

Pure and forgiving: what is missing or odd becomes None. Nothing here knows one event.

https://learn.microsoft.com/en-us/azure/devops/service-hooks/events
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypedDict
from urllib.parse import unquote, urlsplit

import msgspec

from bridge.event import Event, Kind, Status
from bridge.sources import _values as values
from bridge.sources._values import address, first, inside, text

STATUS: Mapping[str, Status] = {  # in lower case: events differ in how they write them
    # the state of a run, stage or job
    "notstarted": Status.QUEUED,
    "waiting": Status.QUEUED,  # for an agent or a check; what waits for a human is told by an approval
    "inprogress": Status.RUNNING,
    "running": Status.RUNNING,
    "canceling": Status.RUNNING,
    # a result, once the state is "completed"; the status of a classic build
    "succeeded": Status.SUCCESS,
    "partiallysucceeded": Status.SUCCESS,
    "failed": Status.FAILURE,
    "canceled": Status.CANCELLED,
    "stopped": Status.CANCELLED,
    "skipped": Status.SKIPPED,
    "rejected": Status.FAILURE,  # also an approval's: the run ends by it
    # an approval
    "pending": Status.WAITING,
    "approved": Status.RUNNING,  # the run goes on
}

_NUANCES = {"partiallysucceeded": "partially succeeded", "canceling": "canceling", "rejected": "rejected"}
"""Words that say more than ours for them."""


def word(state: Any, result: Any = None) -> str | None:
    """Return the word that counts: a result only once the state is final."""
    said = text(state, 100)
    return text(result, 100) if (said or "completed").lower() == "completed" else said


def state(said: str | None) -> Status:
    return STATUS.get((said or "").lower(), Status.UNKNOWN)


def nuance(said: str | None) -> str | None:
    """Return what the word says beyond ours, or the word itself where we have none."""
    found = (said or "").lower()
    return _NUANCES.get(found) or (None if found in STATUS else said)


# -- a hook ------------------------------------------------------------------------------------------------------------


class Hook(msgspec.Struct, rename="camel"):
    """`Any` throughout, so that an odd value costs only itself."""

    id: Any = None
    event_type: Any = None
    message: Any = None
    resource: Any = None
    created_date: Any = None


def event(source: str, kind: Kind, **told: Any) -> Event:
    return Event(source=source, type="azure_devops", kind=kind, **told)


_LINK = re.compile(r"\]\((https?://[^\s()]+)\)")


def page(hook: Hook, *objects: Any) -> str | None:
    """Return the page of the first object that has one, else the first that the message links to."""
    for one in objects:
        if found := address(inside(one, "_links", "web", "href")):
            return found
    linked = _LINK.search(values.whole_text(inside(hook.message, "markdown")) or "")
    return address(linked[1]) if linked else None


def said(hook: Hook, told: str | None) -> str | None:
    """Return what the status alone does not say; where there is none, the message's own words."""
    if state(told) is Status.UNKNOWN:
        return first(told, inside(hook.message, "text"))
    return nuance(told)


# -- repositories ------------------------------------------------------------------------------------------------------

_API = "https://api.github.com/repos/"


def repository(url: Any) -> values.Place:
    """Return ``project/name`` and the page of an address: one that holds ``/_git/``, or another forge's.

    The project is left out where it is called like its repository.
    """
    line = text(url) or ""
    place = values.place("https://github.com/" + line.removeprefix(_API) if line.startswith(_API) else line)
    path, page = place["repository"], place["repository_url"]
    before, git, name = f"/{path or ''}".rpartition("/_git/")
    if not git:
        return place
    parts = [part for part in before.split("/") if part]
    alone = len(parts) < (1 if (urlsplit(page or "").hostname or "").endswith(".visualstudio.com") else 2)
    project = name if alone or parts[-1] == "DefaultCollection" else parts[-1]
    return {"repository": text(unquote(f"{project}/{name}", errors="replace")), "repository_url": page}


def named(repository_: Any, project: Any = None) -> values.Place:
    """Return the repository that a push, a pull request or a build names."""
    page = repository(first(inside(repository_, "remoteUrl"), inside(repository_, "url")))
    if "/_apis/" in (page["repository"] or ""):  # the API's address is no page
        page = {"repository": None, "repository_url": None}
    owner = first(inside(repository_, "project", "name"), inside(project, "name"))
    name, known = text(inside(repository_, "name")), text(inside(repository_, "id"))
    if inside(repository_, "type") == "GitHub":  # its id is its name
        return page if page["repository"] else repository(f"https://github.com/{known}")
    if owner and name and "/" not in name:
        return {**page, "repository": f"{owner}/{name}"}
    return page


def private(project: Any) -> bool | None:
    return {"private": True, "public": False}.get(first(inside(project, "visibility")) or "")


# -- refs --------------------------------------------------------------------------------------------------------------


class Ref(TypedDict):
    branch: str | None
    tag: str | None
    pull_request: int | None


_PULL = re.compile(r"refs/pull/([1-9][0-9]{0,8})/[a-z]+")


def ref(value: Any) -> Ref:
    """Return the branch, the tag or the pull request that a whole ref names."""
    name = text(value) or ""
    if pull := _PULL.fullmatch(name):
        return {"branch": None, "tag": None, "pull_request": int(pull[1])}
    return {**values.ref(name), "pull_request": None}


_VERSION = re.compile(r"L?G:(refs/[^:]+):([0-9a-f]{40,64})")


def version(value: Any) -> tuple[str | None, str | None]:
    """Return the (ref, sha) of a classic build's ``LG:refs/heads/main:SHA``."""
    found = _VERSION.fullmatch(text(value) or "")
    return (found[1], found[2]) if found else (None, None)


# -- people ------------------------------------------------------------------------------------------------------------


def person(*people: Any) -> str | None:
    """Return the name of the first that has one: Azure's logins are e-mail addresses, which nobody is called by."""
    return next((name for one in people if (name := first(inside(one, "displayName"), inside(one, "name")))), None)


def email(person_: Any) -> str | None:
    """Return somebody's e-mail address, be it his login."""
    found = first(inside(person_, "email"), inside(person_, "uniqueName"))
    return found if found and re.fullmatch(r"[^\s@\\]+@[^\s@\\]+", found) else None
