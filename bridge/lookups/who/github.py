"""What does GitHub's REST API know of reviewers, and of CODEOWNERS and the files that it is asked about?

https://docs.github.com/en/rest/pulls/pulls#get-a-pull-request · #list-pull-requests-files
https://docs.github.com/en/rest/repos/contents#get-repository-content
https://docs.github.com/en/rest/commits/commits#get-a-commit
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from bridge.event import Event
from bridge.lookups._http import Api, segment
from bridge.lookups.github import API_URL, connected, place
from bridge.lookups.who._files import File, text_of
from bridge.owners import Form
from bridge.sources import _github_shapes as shapes
from bridge.sources import _github_words as words
from bridge.sources._values import inside, items, text

if TYPE_CHECKING:
    import aiohttp

FORM = Form.GITHUB
PLACES: tuple[str, ...] = (".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS")
_PER_PAGE = 100
_PAGES = 3


class _Commit(msgspec.Struct):
    files: Any = None


def api(event: Event, session: aiohttp.ClientSession, api_url: str | None, token: str) -> Api:
    return connected(event, session, api_url or API_URL, token)


async def reviewers(event: Event, api: Api) -> tuple[str, ...]:
    pull = await api.get(f"{place(event)}/pulls/{event.pull_request}", shapes.PullRequest)
    return words.reviewers(pull, shapes.Repository(full_name=event.repository))


async def file(event: Event, api: Api, path: str, branch: str | None) -> str:
    of = {"ref": branch} if branch else {}
    return text_of(await api.get(f"{place(event)}/contents/{path}", File, **of))


async def changed(event: Event, api: Api) -> tuple[str, ...]:
    if event.pull_request is not None:
        path = f"{place(event)}/pulls/{event.pull_request}/files"
        pages = await api.pages(path, list[Any], at_most=_PAGES, per_page=_PER_PAGE)
        return _paths([one for page in pages for one in page])
    commit = await api.get(f"{place(event)}/commits/{segment(event.sha)}", _Commit, per_page=_PER_PAGE)
    return _paths(items(commit.files))


def _paths(files: list[Any]) -> tuple[str, ...]:
    """What was renamed belongs to the owners of its old place as well."""
    told = (text(inside(one, name)) for one in files for name in ("filename", "previous_filename"))
    return tuple(path for path in told if path)
