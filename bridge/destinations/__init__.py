"""Where messages go. One module each, all of the same form (`DestinationModule`), none knows another.

`payload` and `judge` are pure: a message in, JSON out; an answer in, a typed error out. `open` gives the object that
talks. A module is imported when a configuration names it, and platforms' own libraries inside `open`, so that a start
and `bridge check` stay quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from bridge.destinations.base import Bucket, DestinationOptions, Health, Receipt
from bridge.message import Message
from bridge.registry import Registry

if TYPE_CHECKING:
    import aiohttp

__all__ = ["DESTINATIONS", "Destination", "DestinationModule", "Finds"]


class Destination(Protocol):
    """One configured place. Every method raises nothing but DeliveryError and what asyncio raises on cancellation."""

    can_edit: bool
    can_thread: bool

    def buckets(self, *, edit: bool, channel: str | None) -> tuple[Bucket, ...]:
        """Return the rate limits that one request counts against."""
        ...

    async def send(
        self, message: Message, *, channel: str | None, thread: Receipt | None, key: str | None = None
    ) -> Receipt:
        """Post a new message, in `thread`'s thread if given; return where it is.

        `key` is the same for every attempt at one delivery, also after a restart, and never another's: for chats that
        take a message once by a key of ours.
        """
        ...

    async def edit(self, message: Message, receipt: Receipt) -> Receipt:
        """Make the message at `receipt` show `message`."""
        ...

    async def check(self) -> Health:
        """Ask, without posting, whether this destination would take a message."""
        ...


@runtime_checkable
class Finds(Protocol):
    """A destination whose chat can be asked who has an e-mail address: those with the option `find_people`."""

    async def find(self, email: str) -> str | None:
        """Return the id in this chat, as under `people`, of who has that address; None where nobody has."""
        ...


class DestinationModule(Protocol):
    """What a module in this folder has."""

    LABEL: str  # "Slack"
    PERSON: str  # the key under `people` that holds its ids: "slack"

    @property  # read-only, so that a module's own subclass fits
    def Options(self) -> type[DestinationOptions]: ...  # noqa: N802, RUF100 - a class, by its name

    def payload(self, message: Message, options: Any) -> dict[str, Any]:
        """Return the JSON of `message`, within every limit of the platform."""
        ...

    def open(self, name: str, options: Any, session: aiohttp.ClientSession) -> Destination:
        """Return the destination that talks through `session`."""
        ...


DESTINATIONS: Registry[DestinationModule] = Registry(
    __name__,
    "apprise",
    "console",
    "discord",
    "email",
    "google_chat",
    "matrix",
    "mattermost",
    "rocketchat",
    "slack",
    "teams",
    "telegram",
    "webex",
    "webhook",
    "zulip",
)

if TYPE_CHECKING:  # here the type checker compares each module with the Protocol; a test compares the two lists
    from bridge.destinations import (
        apprise,
        console,
        discord,
        email,
        google_chat,
        matrix,
        mattermost,
        rocketchat,
        slack,
        teams,
        telegram,
        webex,
        webhook,
        zulip,
    )

    _FORM: list[DestinationModule] = [
        apprise,
        console,
        discord,
        email,
        google_chat,
        matrix,
        mattermost,
        rocketchat,
        slack,
        teams,
        telegram,
        webex,
        webhook,
        zulip,
    ]
