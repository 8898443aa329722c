"""Who reviews, and who owns what changed? One module per sender whose API tells it to a token.

Asked only when a rule mentions ``reviewers`` or ``owners``, in the worker; `bridge.naming` gives it a time limit, keeps
the answers for some minutes and does without them. Nothing is changed there. What a webhook says of the reviewers is
not asked again.

Gitea and Forgejo are not asked: their code owners are regular expressions, which whoever writes the file could make
slow, and both make the owners reviewers of the pull request, which their webhooks tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from bridge.event import Event
from bridge.owners import Form
from bridge.registry import Registry

if TYPE_CHECKING:
    import aiohttp

    from bridge.lookups._http import Api


class WhoModule(Protocol):
    """What a module in this folder has. Every function raises LookupFailed; Refused where there is no such thing."""

    FORM: Form
    PLACES: tuple[str, ...]  # where CODEOWNERS may be, in the order in which the forge looks

    def api(self, event: Event, session: aiohttp.ClientSession, api_url: str | None, token: str) -> Api:
        """Return the API of the event's repository."""
        ...

    async def reviewers(self, event: Event, api: Api) -> tuple[str, ...]:
        """Return who is asked to review the event's pull request."""
        ...

    async def file(self, event: Event, api: Api, path: str, branch: str | None) -> str:
        """Return a file of the repository as text; of its default branch where `branch` is None."""
        ...

    async def changed(self, event: Event, api: Api) -> tuple[str, ...]:
        """Return the paths that the pull request changes, else the commit: the first hundreds."""
        ...


WHO: Registry[WhoModule] = Registry(__name__, "github", "gitlab")

if TYPE_CHECKING:  # here the type checker compares each module with the Protocol; a test compares the two lists
    from bridge.lookups.who import github, gitlab

    _FORM: list[WhoModule] = [github, gitlab]
