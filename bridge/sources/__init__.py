"""Who sends webhooks. One module each, all of the same form (`SourceModule`), none knows another.

A source turns one sender's requests into our events: it is pure, and nothing but IngestError leaves it. To add one,
write the module, its line below, a captured request with its golden event and a page in ``docs/sources/``
(``docs/adding-a-source.md``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from bridge.event import Event, Identity, Ignored, Inbound, Role, Status
from bridge.registry import Registry


class SourceModule(Protocol):
    """What a module in this folder has."""

    LABEL: str  # "GitHub"
    SETUP: str  # one plain sentence or two: where to click and what to paste; {url} is the address to give
    CONTENT_TYPES: frozenset[str]  # what the sender sends, without parameters

    @property
    def STATUS(self) -> Mapping[str, Status]:
        """Their words to ours; anything else is Status.UNKNOWN."""
        ...

    SIGNS: bool  # whether the sender can sign; one that cannot is known by a `token`
    TOKEN_HEADERS: tuple[str, ...]  # in lower case: where it can send a token as it is; () where it cannot

    def verify(self, inbound: Inbound, secrets: Sequence[str]) -> None:
        """Return if one of `secrets` signed the request, else raise Unauthorized. Tokens are not its business."""

    def identify(self, inbound: Inbound) -> Identity:
        """Return what makes this delivery the same as one seen before."""
        ...

    def normalise(self, inbound: Inbound) -> Event | Ignored:
        """Return the request in our words, or why it has nothing for chat; raise Unreadable."""
        ...

    def sign(self, body: bytes, secret: str, *, delivery: str) -> dict[str, str]:
        """Return the headers with which the sender would send `body`, the event's name guessed from the body."""
        ...


@runtime_checkable
class Bound(Protocol):
    """A module whose sources differ by their configuration."""

    Options: Any  # a pydantic model: the keys beside the common ones

    def bind(self, options: Any) -> SourceModule:
        """Return the source that `options` describe."""
        ...


@runtime_checkable
class Publishes(Protocol):
    """A module whose sender signs by keys that it publishes: without a secret they are fetched (`bridge.keys`)."""

    SIGNATURE: str  # the header with the signature, in lower case

    def keys_url(self, api_url: str | None) -> str:
        """Return where the keys stand, at the sender's own API or at `api_url`."""
        ...

    def keys(self, answer: bytes | str) -> tuple[str, ...]:
        """Return the keys that the answer names, as `verify` takes them; raise Unreadable where it names none."""
        ...


# A module is imported when a configuration names it. `make lint` has the type checker compare each with the Protocol.
SOURCES: Registry[SourceModule] = Registry(
    __name__,
    "alertmanager",
    "appveyor",
    "azure_devops",
    "bitbucket",
    "buildkite",
    "cdevents",
    "circleci",
    "cirrus",
    "drone",
    "forgejo",
    "generic",
    "gitea",
    "github",
    "gitlab",
    "gogs",
    "heroku",
    "jenkins",
    "netlify",
    "render",
    "semaphore",
    "standard",
    "travis",
    "vercel",
)

TELLS: Mapping[Role, frozenset[str]] = {
    Role.COMMITTER: frozenset("appveyor azure_devops circleci forgejo generic gitea github netlify travis".split()),
    Role.PUSHER: frozenset(
        "azure_devops buildkite circleci cirrus drone forgejo generic gitea github gitlab semaphore".split()
    ),
    Role.REVIEWERS: frozenset({"generic", "gitea"}),
    Role.OWNERS: frozenset(),
}
"""Which senders say of a run who has a role. Nearly all say who the author is."""
