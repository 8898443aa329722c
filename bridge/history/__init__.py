"""What does a sender keep of what it has sent, so that what came while bridge was away can be had later?

One module per source type whose API tells it. A module asks, and never accepts anything: it knows no store and no rule.
What it returns are requests as the sender would have made them, newest first, but for the signature: GitHub and GitLab
keep no raw bytes. That they are the sender's own is known by whom they were fetched from, at `api_url` with the token.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from bridge.history.asking import Asker
from bridge.registry import Registry

if TYPE_CHECKING:
    import aiohttp


@dataclass(frozen=True, slots=True)
class Hook:
    """Where the API has the history of one webhook: `path`, below its address. `place` is the repository or group."""

    place: str
    path: str


@dataclass(frozen=True, slots=True)
class Sent:
    """One request as its sender keeps it. Headers by lower-case name, without what was redacted.

    `body` None: it has to be fetched one by one. `id` is the API's.
    """

    id: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None


class HistoryModule(Protocol):
    """What a module in this folder has. Every question may raise LookupFailed."""

    API_URL: str  # the documented address; `api_url` of the source replaces it
    PLACE: str  # what to write for a repository, and for what is above it
    NEEDS: str  # what the token must be allowed to do

    def asker(self, session: aiohttp.ClientSession, api_url: str | None, token: str) -> Asker:
        """Return how this API is asked."""
        ...

    def named(self, path: str) -> Hook | None:
        """Return the webhook of which somebody gave the path in the API; None where it is none."""
        ...

    async def hooks(self, ask: Asker, place: str, source: str) -> list[Hook]:
        """Return the webhooks of a repository, or of what is above it, that post to ``/webhooks/{source}``."""
        ...

    def sent(self, ask: Asker, hook: Hook, since: datetime) -> AsyncIterator[list[Sent]]:
        """Yield page by page what was sent since then, newest first."""
        ...

    async def fetch(self, ask: Asker, hook: Hook, sent: Sent) -> Sent:
        """Return `sent` with its body."""
        ...


@runtime_checkable
class Redelivers(Protocol):
    """A module whose sender sends again as much as one asks for."""

    async def redeliver(self, ask: Asker, hook: Hook, sent: Sent) -> None:
        """Have the sender send it once more, signed, to where the webhook points."""
        ...


HISTORIES: Registry[HistoryModule] = Registry(__name__, "github", "gitlab")

if TYPE_CHECKING:  # here the type checker compares each module with the Protocol
    from bridge.history import github, gitlab

    _FORM: list[HistoryModule] = [github, gitlab]

KEEP_NONE = {
    "alertmanager": "Alertmanager repeats by itself what still fires (repeat_interval)",
    "appveyor": "the next build tells how it stands",
    "azure_devops": "Azure DevOps shows them under Project settings > Service hooks > History, and sends none again",
    "bitbucket": "Cloud tries again by itself; what it gave up is under Repository settings > Webhooks > View requests",
    "buildkite": "open Settings > Notification Services, choose the webhook: its request log is there, not in the API",
    "cdevents": "a broker may keep them: let it send again what was not acknowledged",
    "circleci": "CircleCI sends again by itself what was not answered with 2xx",
    "cirrus": "its API has builds, not what was sent: `bridge cirrus builds OWNER/NAME` shows them",
    "drone": "it sends each once; the next build tells how it stands",
    "forgejo": "open Settings > Webhooks > Recent Deliveries and press Replay",
    "gitea": "open Settings > Webhooks > Recent Deliveries and press Replay",
    "gogs": "open Settings > Webhooks > Recent Deliveries and press Redelivery",
    "generic": "only this sender's manual can tell",
    "heroku": "with `level: sync` Heroku sends again by itself, for up to 72 hours",
    "jenkins": "the next build of a job tells how it stands",
    "netlify": "the next deploy tells how it stands",
    "render": "its page of the webhook shows what was sent",
    "semaphore": "allow retries in the notification; the next pipeline tells how it stands",
    "standard": "many senders of Standard Webhooks try again by themselves, or do so from a page of theirs",
    "travis": "the next build tells how it stands",
    "vercel": "Vercel sends again by itself for a day what was not answered with 2xx",
}
"""What other senders offer instead, by type."""
