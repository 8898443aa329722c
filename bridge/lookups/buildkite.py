"""What does Buildkite's REST API know about a build beyond its webhooks? Asks, never changes anything there.

The webhooks of a build do not list its jobs, and nothing tells of annotations: what steps write onto the build's page,
often the very reason why it failed. Both are asked for once the build has ended, the jobs also while it is blocked. A
build is addressed by its organization, pipeline and number, as in the address of its page.

https://buildkite.com/docs/apis/rest-api/builds#get-a-build
https://buildkite.com/docs/apis/rest-api/annotations#list-annotations-for-a-build
https://buildkite.com/docs/apis/rest-api/limits
"""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Any

import msgspec

from bridge.errors import LookupFailed
from bridge.event import Event, Kind, Run, Status
from bridge.fold import fill_task
from bridge.lookups._http import Api, in_turn, segment
from bridge.sources import _values as values
from bridge.sources._buildkite_shapes import Build
from bridge.sources._values import text
from bridge.sources.buildkite import listed_jobs

if TYPE_CHECKING:
    import aiohttp

API_URL = "https://api.buildkite.com/v2"
NEEDS_TOKEN = True

_SHOWN = 2  # annotations of one build
_LINES = 3  # of one annotation
_TEXT_LIMIT = 240
_WORST_FIRST = ("error", "warning", None)  # what praises or informs is no reason of a failure


class _Annotation(msgspec.Struct):
    context: Any = None
    style: Any = None
    priority: Any = None
    body_html: Any = None


async def look_up(run: Run, session: aiohttp.ClientSession, api_url: str, token: str | None) -> Run:
    """Return `run` with what the API adds; what the webhooks said is never replaced. Raises LookupFailed."""
    if not token or run.event.run is None or run.event.kind is not Kind.PIPELINE:
        return run
    parts = [part for wanted, part in _PARTS if wanted(run)]
    return await in_turn(run, Api("Buildkite's API", session, api_url, {"Authorization": f"Bearer {token}"}), parts)


_PAGE = re.compile(r"https?://[^/?#]+/([^/?#]+)/([^/?#]+)/builds/([0-9]+)/?")


def _build(event: Event) -> str:
    """Return the build's path in the API, of which the build's page has all names."""
    page = (event.run.url if event.run else None) or event.url
    found = _PAGE.fullmatch(page or "")
    if found is None:
        raise LookupFailed("the address of the build's page does not name its pipeline")
    organization, pipeline, number = (segment(name) for name in found.groups())
    return f"/organizations/{organization}/pipelines/{pipeline}/builds/{number}"


# -- its jobs ----------------------------------------------------------------------------------------------------------


def _lacks_jobs(run: Run) -> bool:
    if not (run.status.finished or run.status is Status.WAITING):
        return False  # what runs is told by the webhooks, and an answer would be old at once
    return not run.tasks or (run.status.unsuccessful and not any(task.status.unsuccessful for task in run.tasks))


async def _with_jobs(api: Api, run: Run) -> Run:
    build = await api.get(_build(run.event), Build)
    if run.event.run is None or values.identifier(build.id) != run.event.run.id:
        raise LookupFailed("Buildkite's API answered with another build")
    found = {task.id: task for task in listed_jobs(build, run.event.url)}
    ours = {task.id: fill_task(task, found.get(task.id, task)) for task in run.tasks}
    return run.with_(tasks=tuple((found | ours).values()))


# -- its annotations ---------------------------------------------------------------------------------------------------


def _failed(run: Run) -> bool:
    return run.status.unsuccessful


async def _with_annotations(api: Api, run: Run) -> Run:
    told = await api.get(f"{_build(run.event)}/annotations", list[_Annotation])
    worst = sorted((one for one in told if one.style in _WORST_FIRST), key=_rank)
    facts = [(_label(one), said) for one in worst if (said := _said(one.body_html))][:_SHOWN]
    return run.with_(event=run.event.with_(facts=run.event.facts + tuple(facts)))


def _rank(one: _Annotation) -> tuple[int, int]:
    """Of one style Buildkite shows a higher priority first."""
    return _WORST_FIRST.index(one.style), -(values.whole(one.priority) or 0)


def _label(one: _Annotation) -> str:
    context = text(one.context, 60)
    return context if context and context != "default" else one.style or "annotation"


_TAG = re.compile(r"(<[a-z/!?][^<>]*>)", re.I)
_CELL = re.compile(r"</?t[dh]\b", re.I)
_INLINE = re.compile(r"</?(?:a|abbr|b|code|del|em|i|img|kbd|mark|s|samp|small|span|strong|sub|sup|tt|u)\b", re.I)
_UNSEEN = re.compile(r"<(/?)(?:script|style|title|template)\b", re.I)


def _said(html: Any) -> str | None:
    """Return the first lines of rendered HTML as plain text on one line."""
    if not isinstance(html, str):
        return None
    written, unseen = [], False
    for part in _TAG.split(html):
        if hidden := _UNSEEN.match(part):
            unseen = not hidden[1]
        elif _TAG.fullmatch(part):
            written.append(" " if _CELL.match(part) else "" if _INLINE.match(part) else "\n")
        elif not unseen:
            written.append(unescape(part))
    lines = [line for line in (text(" ".join(line.split())) for line in "".join(written).split("\n")) if line]
    return text(" · ".join(lines[:_LINES]), _TEXT_LIMIT)


_PARTS = (
    (_lacks_jobs, _with_jobs),
    (_failed, _with_annotations),
)
