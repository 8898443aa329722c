"""All chats as `test_every_chat` needs them: a new chat is one row here, its fake, and how the chat reads a message.

A destination type has several rows where it talks in several ways (Slack as a bot and by webhook).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bridge.destinations import DESTINATIONS, console
from bridge.destinations.base import DestinationOptions
from bridge.message import Message
from tests.fakes import (
    apprise,
    apprise_reader,
    discord_reader,
    discord_validator,
    google_chat_reader,
    google_chat_validator,
    mail,
    mail_reader,
    matrix_reader,
    matrix_validator,
    mattermost_reader,
    rocketchat,
    rocketchat_reader,
    slack_reader,
    slack_validator,
    teams_reader,
    teams_validator,
    telegram_reader,
    terminal_reader,
    webex,
    webex_reader,
    webhook,
    webhook_reader,
    webhook_validator,
    zulip_reader,
)
from tests.fakes.discord import FakeDiscord
from tests.fakes.google_chat import FakeGoogleChat
from tests.fakes.matrix import ROOM as MATRIX_ROOM
from tests.fakes.matrix import TOKEN as MATRIX_TOKEN
from tests.fakes.matrix import FakeMatrix
from tests.fakes.mattermost import CHANNEL as MATTERMOST_CHANNEL
from tests.fakes.mattermost import TOKEN as MATTERMOST_TOKEN
from tests.fakes.mattermost import FakeMattermost
from tests.fakes.mattermost import check as check_mattermost
from tests.fakes.slack import TOKEN, FakeSlack
from tests.fakes.teams import FakeTeams
from tests.fakes.telegram import FakeTelegram
from tests.fakes.terminal import FakeTerminal
from tests.fakes.webex import FakeWebex
from tests.fakes.zulip import FakeZulip


@dataclass(frozen=True, kw_only=True)
class Chat:
    """One way to talk to one chat.

    `form`: what `sent` gives, read as the chat reads it, without its words. `effects`: whom it calls, where it leads,
    and whatever else is more than text. `once`: a message that is sent twice is there once. `lacks`: the troubles (in
    `test_every_chat`) that this chat cannot have. `looks`: False where another row of this type looks the same.
    `asks_more`: not every request is a message or an edit.
    """

    name: str
    type: str
    fake: Callable[[], Any]
    options: Callable[[Any], dict[str, Any]]
    person: str
    form: Callable[[Any], Any]
    effects: Callable[[Any], set[str]]
    check: Callable[[Any], None] = lambda body: None
    write: Callable[[Message], Any] | None = None
    strange: tuple[str, ...] = ()
    can_edit: bool
    can_thread: bool
    once: bool = False
    looks: bool = True
    asks_more: bool = False
    lacks: frozenset[str] = field(default=frozenset())

    def made(self, fake: Any, **more: Any) -> DestinationOptions:
        """Return the options of a destination that talks to `fake`."""
        return DESTINATIONS[self.type].Options.model_validate(self.options(fake) | more)

    def sent(self, message: Message) -> Any:
        """Return what the chat would get, after its validator has seen it."""
        if self.write is not None:
            return self.write(message)
        body = DESTINATIONS[self.type].payload(message, self.made(self.fake()))
        self.check(body)
        return body


EVERYTHING = frozenset({"*"})

CHATS = [
    Chat(
        name="apprise",
        type="apprise",
        fake=apprise.FakeApprise,
        options=lambda fake: {"url": fake.url},
        person="octocat",
        form=apprise_reader.form,
        effects=apprise_reader.effects,
        check=apprise.check,
        strange=apprise_reader.STRANGE,
        can_edit=False,
        can_thread=False,
        lacks=frozenset({"failed with 200", "HTML with 200"}),  # Apprise's plugin for JSON takes any 200
    ),
    Chat(
        name="console",
        type="console",
        fake=FakeTerminal,
        options=lambda fake: {},
        person="octocat",
        form=terminal_reader.form,
        effects=terminal_reader.effects,
        write=lambda message: {"text": console.text(message, colour=True)},
        can_edit=True,
        can_thread=True,
        lacks=EVERYTHING,
    ),
    Chat(
        name="discord",
        type="discord",
        fake=FakeDiscord,
        options=lambda fake: {"url": fake.url},
        person="80351110224678912",
        form=discord_reader.form,
        effects=discord_reader.effects,
        check=discord_validator.check,
        strange=discord_reader.STRANGE,
        can_edit=True,
        can_thread=False,
    ),
    Chat(
        name="google_chat",
        type="google_chat",
        fake=FakeGoogleChat,
        options=lambda fake: {"url": fake.url},
        person="123456789012345678901",
        form=google_chat_reader.form,
        effects=google_chat_reader.effects,
        check=google_chat_validator.check,
        strange=google_chat_reader.STRANGE,
        can_edit=False,
        can_thread=True,
        once=True,
        lacks=frozenset({"thread gone"}),  # a thread that is gone is opened anew by itself
    ),
    Chat(
        name="matrix",
        type="matrix",
        fake=FakeMatrix,
        options=lambda fake: {"homeserver": fake.url, "token": MATRIX_TOKEN, "room": MATRIX_ROOM},
        person="@octocat:example.org",
        form=matrix_reader.form,
        effects=matrix_reader.effects,
        check=matrix_validator.check,
        strange=matrix_reader.STRANGE,
        can_edit=True,
        can_thread=True,
        once=True,
        asks_more=True,
    ),
    Chat(
        name="mattermost",
        type="mattermost",
        fake=FakeMattermost,
        options=lambda fake: {"site": fake.base, "token": MATTERMOST_TOKEN, "channel": MATTERMOST_CHANNEL},
        person="octocat",
        form=mattermost_reader.form,
        effects=mattermost_reader.effects,
        check=check_mattermost,
        strange=mattermost_reader.STRANGE,
        can_edit=True,
        can_thread=True,
        once=True,
        lacks=frozenset({"edit lost"}),  # an edit is a PUT, which aiohttp itself repeats
    ),
    Chat(
        name="mattermost-webhook",
        type="mattermost",
        fake=FakeMattermost,
        options=lambda fake: {"url": fake.webhook_url},
        person="octocat",
        form=mattermost_reader.form,
        effects=mattermost_reader.effects,
        check=check_mattermost,
        looks=False,
        can_edit=False,
        can_thread=False,
    ),
    Chat(
        name="rocketchat",
        type="rocketchat",
        fake=rocketchat.FakeRocketChat,
        options=lambda fake: {
            "site": fake.base,
            "token": rocketchat.TOKEN,
            "user_id": rocketchat.USER,
            "channel": rocketchat.ROOM,
        },
        person="octocat",
        form=rocketchat_reader.form,
        effects=rocketchat_reader.effects,
        check=rocketchat.check,
        strange=rocketchat_reader.STRANGE,
        can_edit=True,
        can_thread=True,
        once=True,
        asks_more=True,  # whether a message that was refused is there, and the first one of a thread
    ),
    Chat(
        name="rocketchat-webhook",
        type="rocketchat",
        fake=rocketchat.FakeRocketChat,
        options=lambda fake: {"url": fake.webhook_url},
        person="octocat",
        form=rocketchat_reader.form,
        effects=rocketchat_reader.effects,
        check=rocketchat.check,
        looks=False,
        can_edit=False,
        can_thread=False,
    ),
    Chat(
        name="slack",
        type="slack",
        fake=FakeSlack,
        options=lambda fake: {"token": TOKEN, "channel": "#builds", "api_url": fake.api_url},
        person="U024BE7LH",
        form=slack_reader.form,
        effects=slack_reader.effects,
        check=lambda body: slack_validator.check(body, update=True),  # an edit's limits are the narrower ones
        strange=slack_reader.STRANGE,
        can_edit=True,
        can_thread=True,
    ),
    Chat(
        name="slack-webhook",
        type="slack",
        fake=FakeSlack,
        options=lambda fake: {"url": fake.webhook_url},
        person="U024BE7LH",
        form=slack_reader.form,
        effects=slack_reader.effects,
        looks=False,
        can_edit=False,
        can_thread=False,
    ),
    Chat(
        name="teams",
        type="teams",
        fake=FakeTeams,
        options=lambda fake: {"url": fake.url},
        person="octocat@acme.example",
        form=teams_reader.form,
        effects=teams_reader.effects,
        check=teams_validator.check,
        strange=teams_reader.STRANGE,
        can_edit=False,
        can_thread=False,
    ),
    Chat(
        name="telegram",
        type="telegram",
        fake=FakeTelegram,
        options=lambda fake: fake.options,
        person="5550123",
        form=telegram_reader.form,
        effects=telegram_reader.effects,
        check=telegram_reader.check,
        strange=telegram_reader.STRANGE,
        can_edit=True,
        can_thread=True,
    ),
    Chat(
        name="webex",
        type="webex",
        fake=FakeWebex,
        options=lambda fake: {"token": webex.TOKEN, "room": webex.ROOM, "api_url": fake.api_url},
        person="octocat@example.com",
        form=webex_reader.form,
        effects=webex_reader.effects,
        check=webex.check,
        strange=webex_reader.STRANGE,
        can_edit=True,
        can_thread=True,
        lacks=frozenset({"edit lost"}),  # an edit is a PUT, which aiohttp itself repeats when its connection is lost
    ),
    Chat(
        name="webhook",
        type="webhook",
        fake=webhook.FakeWebhook,
        options=lambda fake: {"url": fake.url, "secret": webhook.SECRET},
        person="octocat",
        form=webhook_reader.form,
        effects=webhook_reader.effects,
        check=webhook_validator.check,
        can_edit=False,
        can_thread=False,
        once=True,  # by its id
        lacks=frozenset({"failed with 200", "HTML with 200"}),  # whatever is said with 200 is "thank you"
    ),
    Chat(
        name="webhook-cdevents",
        type="webhook",
        fake=webhook.FakeWebhook,
        options=lambda fake: {"url": fake.url, "secret": webhook.SECRET, "format": "cdevents"},
        person="octocat",
        form=webhook_reader.form,
        effects=webhook_reader.effects,
        check=webhook_validator.check,
        looks=False,
        can_edit=False,
        can_thread=False,
        once=True,
        lacks=frozenset({"failed with 200", "HTML with 200"}),
    ),
    Chat(
        name="email",
        type="email",
        fake=mail.FakeMail,
        options=lambda fake: {"smtp_url": fake.smtp_url, "from": mail.SENDER, "to": mail.TEAM},
        person="octocat@example.com",
        form=mail_reader.form,
        effects=mail_reader.effects,
        check=mail.check,
        strange=mail_reader.STRANGE,
        can_edit=False,
        can_thread=False,
        once=True,  # a mailbox shows a Message-ID once
        # It is no HTTP.
        lacks=frozenset({"failed with 200", "HTML with 200", "HTML with 502", "500 without a word", "redirect"}),
    ),
    Chat(
        name="zulip",
        type="zulip",
        fake=FakeZulip,
        options=lambda fake: fake.options,
        person="1234",
        form=zulip_reader.form,
        effects=zulip_reader.effects,
        check=zulip_reader.check,
        strange=zulip_reader.STRANGE,
        can_edit=True,
        can_thread=False,
    ),
]
