"""What does GitLab's REST API know of reviewers, and of CODEOWNERS and the files that it is asked about?

https://docs.gitlab.com/api/merge_requests/#get-single-mr · #list-merge-request-diffs
https://docs.gitlab.com/api/repository_files/#get-file-from-repository
https://docs.gitlab.com/api/commits/#get-commit-diff
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from bridge.event import Event
from bridge.lookups._http import Api, segment
from bridge.lookups.gitlab import API_URL, connected, project
from bridge.lookups.who._files import File, text_of
from bridge.owners import Form
from bridge.sources._values import first, inside, items, text

if TYPE_CHECKING:
    import aiohttp

FORM = Form.GITLAB
PLACES: tuple[str, ...] = ("CODEOWNERS", "docs/CODEOWNERS", ".gitlab/CODEOWNERS")
_PER_PAGE = 100
_PAGES = 3


class _MergeRequest(msgspec.Struct):
    reviewers: Any = None


def api(event: Event, session: aiohttp.ClientSession, api_url: str | None, token: str) -> Api:
    return connected(event, session, api_url or API_URL, token)


async def reviewers(event: Event, api: Api) -> tuple[str, ...]:
    asked = await api.get(f"{project(event)}/merge_requests/{event.pull_request}", _MergeRequest)
    told = (first(inside(one, "username"), inside(one, "name")) for one in items(asked.reviewers, 20))
    return tuple(name for name in told if name)


async def file(event: Event, api: Api, path: str, branch: str | None) -> str:
    found = await api.get(f"{project(event)}/repository/files/{segment(path)}", File, ref=branch or "HEAD")
    return text_of(found)


async def changed(event: Event, api: Api) -> tuple[str, ...]:
    of_request = event.pull_request is not None
    which = (
        f"merge_requests/{event.pull_request}/diffs" if of_request else f"repository/commits/{segment(event.sha)}/diff"
    )
    pages = await api.pages(f"{project(event)}/{which}", list[Any], at_most=_PAGES, per_page=_PER_PAGE)
    told = (text(inside(one, name)) for page in pages for one in page for name in ("new_path", "old_path"))
    return tuple(dict.fromkeys(path for path in told if path))
