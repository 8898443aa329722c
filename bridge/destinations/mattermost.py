"""Mattermost, by incoming webhook or as a bot.

A webhook is one address: posts, no edits, no threads. A bot's token posts to the channels that it is in, edits its
posts and answers in threads; a post that is sent again within half a minute is known by its `pending_post_id` and is
there once. Only our queue repeats a request.

https://developers.mattermost.com/integrate/webhooks/incoming/
https://developers.mattermost.com/api-documentation/#/operations/CreatePost · PatchPost · GetChannelByName
https://docs.mattermost.com/administration-guide/configure/rate-limiting-configuration-settings.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from pydantic import AfterValidator, Field, SecretStr, model_validator

from bridge import codec
from bridge.destinations import _either, _mattermost_text
from bridge.destinations._http import Answer, ask, header, judge_status, retry_after
from bridge.destinations.base import Bucket, DestinationOptions, Health, Receipt, digest, refusal, secret_of
from bridge.errors import Dead, DeliveryError, Gone, RateLimited, Rejected, Transient, Unreadable, Unsure
from bridge.message import Message
from bridge.units import Rate

if TYPE_CHECKING:
    import aiohttp

LABEL = "Mattermost"
PERSON = "mattermost"


# -- options

_COPY = "copy it from Integrations, Incoming Webhooks: https://chat.example.com/hooks/..."
_CHANNEL = re.compile(r"[#~]?(?:[a-z0-9][a-z0-9_-]*/)?[a-z0-9][a-z0-9._-]*|@[a-z0-9][a-z0-9._-]*")
_ID = re.compile(r"[a-z0-9]{26}")
_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def _site(value: str | None) -> str | None:
    return _either.site(value, "/api/v4")


def _channel(value: str | None) -> str | None:
    if value is not None and not _CHANNEL.fullmatch(value):
        raise ValueError(
            "channel is no channel: write its name as in its address, team/builds or builds, or its id (26 letters)"
        )
    return value


class Options(DestinationOptions):
    """Give `url` (an incoming webhook), or `site`, `token` and `channel` (a bot)."""

    url: SecretStr | None = Field(None, description="The address of an incoming webhook. It is a secret.")
    site: Annotated[str | None, AfterValidator(_site)] = Field(
        None, description="The server, `https://chat.example.com`, for a bot."
    )
    token: SecretStr | None = Field(None, description="The bot's access token.")
    channel: Annotated[str | None, AfterValidator(_channel)] = Field(
        None, description="Where to post: `builds`, `team/builds` or the channel's id. A webhook has one of its own."
    )
    find_people: bool = Field(
        False,
        description="Ask Mattermost by e-mail who is to be mentioned, where `people` does not say it; "
        "needs a bot that may see e-mail addresses.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Options:
        webhook = _either.one_way(self.url, self.site, self.token, self.channel)
        if webhook and self.find_people:
            raise ValueError("a webhook cannot be asked who people are, find_people needs site and token (a bot)")
        if webhook:
            _either.check_webhook(webhook, r"[A-Za-z0-9]+", LABEL, _COPY)
        elif (self.channel or "").startswith("@"):
            raise ValueError("a bot posts to channels, not to people: write a channel's name or id")
        return self

    def refuses(self, channel: str) -> str | None:
        if self.token and channel.startswith("@"):
            return "posts to channels, not to people"
        return refusal(_channel, channel)


def payload(message: Message, options: Options) -> dict[str, Any]:
    """Return the JSON of `message`; a bot's channel and thread are added when it is sent."""
    text, attachments = _mattermost_text.build(message)
    if options.token:
        return {"message": text, "props": {"attachments": attachments}}
    return {"text": text, "attachments": attachments} if attachments else {"text": text}


# -- what an answer means

_INVITE = "type /invite @bridge in the channel, or add the bot under Manage Members"
_CODES: dict[str, tuple[type[DeliveryError], str]] = {
    "api.context.session_expired.app_error": (Dead, "the token is wrong or was revoked, make a new one for the bot"),
    "api.context.permissions.app_error": (Dead, f"the bot may not post here: {_INVITE}"),
    "api.context.invalid_param.app_error": (Dead, "no such channel, look at channel"),
    "api.context.404.app_error": (Dead, "there is no Mattermost at this address, look at site"),
    "app.channel.get.existing.app_error": (Dead, "no such channel, look at channel"),
    "app.channel.get_by_name.missing.app_error": (Dead, "no such channel, or a private one that the bot is not in"),
    "app.team.get_by_name.missing.app_error": (Dead, "no such team, look at channel: team/channel"),
    "api.post.create_post.can_not_post_to_deleted.error": (Dead, "the channel is archived, choose another one"),
    "api.post.create_post.town_square_read_only": (Dead, "the channel is read-only, choose another one"),
    "web.incoming_webhook.invalid.app_error": (Dead, "the webhook was removed, make a new one under Integrations"),
    "web.incoming_webhook.disabled.app_error": (
        Dead,
        "incoming webhooks are switched off: System Console, Integrations, Integration Management",
    ),
    "web.incoming_webhook.channel.app_error": (Dead, "no such channel, look at channel or make a new webhook"),
    "web.incoming_webhook.channel_locked.app_error": (Dead, "the webhook is locked to its channel, leave channel out"),
    "web.incoming_webhook.permissions.app_error": (Dead, "who made the webhook may not post to the channel"),
    "web.incoming_webhook.user.app_error": (Dead, "who made the webhook is gone, make a new one"),
    "api.post.create_post.root_id.app_error": (Gone, "the thread is gone"),
    "api.post.create_post.channel_root_id.app_error": (Gone, "the thread is in another channel"),
    "app.post.get.app_error": (Gone, "the post was deleted"),
    "api.post.update_post.find.app_error": (Gone, "the post was deleted"),
    "api.post.update_post.permissions_details.app_error": (Gone, "the post was deleted"),
    "api.post.update_post.permissions_time_limit.app_error": (Gone, "the post is too old to be edited"),
    "api.post.update_post.system_message.app_error": (Gone, "the post cannot be edited"),
    "api.post.patch_post.can_not_update_post_in_deleted.error": (Gone, "the channel is archived"),
    "plugin.message_will_be_posted.dismiss_post": (Rejected, "a plugin of the server dismisses it"),
    "api.context.invalid_body_param.app_error": (Rejected, "a field is wrong"),
    "web.incoming_webhook.text.app_error": (Rejected, "empty"),
    "web.incoming_webhook.parse.app_error": (Rejected, "not the JSON that it expects"),
    "web.incoming_webhook.split_props_length.app_error": (Rejected, "too large"),
    "api.post.deduplicate_create_post.pending": (Transient, "it is still busy with the same post"),
    "api.post.deduplicate_create_post.failed_to_get": (Transient, "it cannot say whether the post is there"),
}
_BY_STATUS: dict[int, tuple[type[DeliveryError], str]] = {
    400: (Rejected, "a field is wrong"),
    401: (Dead, "the token is wrong or was revoked, make a new one for the bot"),
    403: (Dead, f"the bot may not post here: {_INVITE}"),
    404: (Dead, "no such channel or webhook"),
    501: (Dead, "the server's admin has switched this off"),
}


def judge(status: int, headers: Mapping[str, str], answer: Any) -> DeliveryError | None:
    """Return what an answer of the API means, None when it is good. `answer` is its JSON, None where it was none."""
    if status == 429:
        # Seconds until it counts anew; by its own manual there is no Retry-After, but a proxy may have one.
        after = (header(headers, "retry-after"), header(headers, "x-ratelimit-reset"))
        return RateLimited("mattermost asks to wait", retry_after(*after))
    known = answer if isinstance(answer, dict) else {}
    if 200 <= status < 300 and (isinstance(answer, list) or isinstance(known.get("id"), str)):
        return None
    word = _word(known.get("id"))
    if status >= 400 and word:
        return _judge_word(word, status)
    return judge_status("mattermost", status, word)


def judge_webhook(status: int, headers: Mapping[str, str], answer: Any, text: str) -> DeliveryError | None:
    """Return what a webhook's answer means, None for ``ok``."""
    if status == 200 and text.strip() == "ok":
        return None
    bad = judge(status, headers, answer)
    return bad or judge_status("mattermost", status)


def _judge_word(word: str, status: int) -> DeliveryError:
    if word in _CODES:
        kind, text = _CODES[word]
    elif word.startswith("model.post.is_valid."):
        kind, text = Rejected, "a field is wrong"
    elif status in _BY_STATUS:
        kind, text = _BY_STATUS[status]
    else:
        return judge_status("mattermost", status, word)
    said = f"refuses the message ({word})" if kind is Rejected else f"says {word}"
    return kind(f"mattermost {said}: {text}")


def _word(value: Any) -> str:
    """Mattermost's id of an error, safe to show: its sentences may have names in them."""
    return value if isinstance(value, str) and re.fullmatch(r"[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)+", value[:101]) else ""


# -- talking


def open(name: str, options: Options, session: aiohttp.ClientSession) -> Bot | Webhook:
    """Return the destination that talks through `session`."""
    return Bot(name, options, session) if options.token else Webhook(name, options, session)


class Bot:
    """A bot's token: posts, edits and answers in threads."""

    can_edit = True
    can_thread = True

    def __init__(self, name: str, options: Options, session: aiohttp.ClientSession) -> None:
        self.name = name
        self._options = options
        self._session = session
        self._token = secret_of(options.token)
        self._digest = digest(f"{options.site} {self._token}")
        # Off unless an admin turned it on; its default is then ten a second for each user, whatever is asked.
        self._bucket = Bucket(f"mattermost:{self._digest}", options.rate or Rate(10), burst=10)
        self._channels: dict[str, str] = {}

    def buckets(self, *, edit: bool, channel: str | None) -> tuple[Bucket, ...]:
        return (self._bucket,)

    async def send(
        self, message: Message, *, channel: str | None, thread: Receipt | None, key: str | None = None
    ) -> Receipt:
        body = payload(message, self._options)
        if thread and _ID.fullmatch(thread.get("id", "")):
            body["root_id"] = thread["id"]
        where = (thread or {}).get("channel") if "root_id" in body else None
        body["channel_id"] = where or await self._channel_id(channel or self._options.channel or "")
        if key:
            # The server remembers it for 30 s, whoever sends it: so it has to be ours alone.
            body["pending_post_id"] = digest(f"{self._digest} {self.name} {key}", 32)
        answer = await self._call("POST", "posts", body)
        if not _ID.fullmatch(answer["id"]):
            raise Unsure("mattermost's answer does not say where the post is")
        return {"id": answer["id"], "channel": body["channel_id"]}

    async def edit(self, message: Message, receipt: Receipt) -> Receipt:
        if not _ID.fullmatch(receipt.get("id", "")):
            raise Gone("there is no post to edit")
        try:
            await self._call("PUT", f"posts/{receipt['id']}/patch", payload(message, self._options))
        except Dead as error:
            if "api.context.permissions.app_error" in str(error):
                # Said of a post that is not there, too. Should the bot be out of the channel, the next post tells.
                raise Gone("the post is gone, or may not be edited") from None
            raise
        return receipt

    async def check(self) -> Health:
        try:
            me = await self._call("GET", "users/me")
            where = await self._channel_id(self._options.channel or "")
            channel = await self._call("GET", f"channels/{where}")
            if channel.get("delete_at"):
                return Health(
                    False, f"token valid, but {_CODES['api.post.create_post.can_not_post_to_deleted.error'][1]}"
                )
            health = await self._member(_name(me.get("username")), where, channel)
            return replace(health, text=health.text + await self._blind(me)) if health.ok else health
        except Unsure as error:
            return Health(False, str(error).split(",")[0])
        except DeliveryError as error:
            return Health(False, str(error))

    async def find(self, email: str) -> str | None:
        """Return the user name of who has that address. https://developers.mattermost.com/api-documentation/#/operations/GetUserByEmail"""
        answer = await self._ask("GET", f"users/email/{quote(email, '')}")
        if answer.status == 404:
            return None
        user = answer.object()
        bad = judge(answer.status, answer.headers, user)
        if bad or user is None:
            raise bad or judge_status("mattermost", answer.status)
        found = user.get("username")
        known = isinstance(found, str) and _USER.fullmatch(found) and not user.get("delete_at")
        return found if known else None

    async def _blind(self, me: Mapping[str, Any]) -> str:
        """Return, where nobody can be found by e-mail, what to do: whoever may ask at all finds himself."""
        email = me.get("email")
        if not self._options.find_people or not isinstance(email, str) or not email:
            return ""
        answer = await self._ask("GET", f"users/email/{quote(email, '')}")
        return (
            "; find_people finds nobody: show e-mail addresses, or make the bot an admin"
            if answer.status == 403
            else ""
        )

    async def _member(self, bot: str, where: str, channel: Mapping[str, Any]) -> Health:
        answer = await self._ask("GET", f"channels/{where}/members/me")
        title = _name(channel.get("display_name") or channel.get("name"))
        if answer.status in (403, 404):
            return Health(
                False, f"token valid, but the bot is not in {title}: type /invite @{bot} there, or use Manage Members"
            )
        return Health(True, f"token valid, bot {bot}, channel {title}")

    async def _channel_id(self, given: str) -> str:
        """Return the id of a channel; it is asked for once. Nothing was posted when this fails."""
        if _ID.fullmatch(given):
            return given
        if given not in self._channels:
            try:
                self._channels[given] = await self._find(given.lstrip("#~"))
            except Unsure as error:
                raise Transient(str(error).split(",")[0]) from None
        return self._channels[given]

    async def _find(self, given: str) -> str:
        team, _, name = given.rpartition("/")
        if team:
            found = await self._call("GET", f"teams/name/{quote(team, '')}/channels/name/{quote(name, '')}")
            return str(found["id"])
        ids = [one for one in [await self._in_team(team, name) for team in await self._teams()] if one]
        if not ids:
            raise Dead(f"mattermost has no channel {name[:80]} in the bot's teams: look at channel, or {_INVITE}")
        if len(ids) > 1:
            raise Dead(f"several teams have a channel {name[:80]}: write team/{name[:80]} as channel")
        return ids[0]

    async def _teams(self) -> list[str]:
        answer = await self._ask("GET", "users/me/teams")
        try:
            teams = codec.decode(answer.body, list)
        except Unreadable:
            teams = None
        bad = judge(answer.status, answer.headers, teams if teams is not None else answer.object())
        if bad or teams is None:
            raise bad or judge_status("mattermost", answer.status)
        return [one["id"] for one in teams[:20] if isinstance(one, dict) and _ID.fullmatch(str(one.get("id")))]

    async def _in_team(self, team: str, name: str) -> str | None:
        answer = await self._ask("GET", f"teams/{team}/channels/name/{quote(name, '')}")
        found = answer.object()
        bad = judge(answer.status, answer.headers, found)
        if isinstance(bad, Dead) and answer.status in (403, 404):
            return None
        if bad or found is None:
            raise bad or judge_status("mattermost", answer.status)
        return str(found["id"])

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        got = await self._ask(method, path, body)
        answer = got.object()
        bad = judge(got.status, got.headers, answer)
        if bad or answer is None:
            raise bad or judge_status("mattermost", got.status)
        return answer

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Answer:
        return await ask(
            self._session,
            method,
            f"{self._options.site}/api/v4/{path}",
            chat="mattermost",
            within=self._options.timeout,
            json=body,
            headers={"Authorization": f"Bearer {self._token}"},
        )


class Webhook:
    """An incoming webhook: posts, and answers nothing but ``ok``."""

    can_edit = False
    can_thread = False

    def __init__(self, name: str, options: Options, session: aiohttp.ClientSession) -> None:
        self.name = name
        self._options = options
        self._session = session
        self._url = secret_of(options.url)
        self._bucket = Bucket(f"mattermost:{digest(self._url)}", options.rate or Rate(10), burst=10)

    def buckets(self, *, edit: bool, channel: str | None) -> tuple[Bucket, ...]:
        return (self._bucket,)

    async def send(
        self, message: Message, *, channel: str | None, thread: Receipt | None, key: str | None = None
    ) -> Receipt:
        body = payload(message, self._options)
        where = channel or self._options.channel
        if where:
            body["channel"] = where.lstrip("#~")
        got = await ask(self._session, "POST", self._url, chat="mattermost", within=self._options.timeout, json=body)
        bad = judge_webhook(got.status, got.headers, got.object(), got.text())
        if bad:
            raise bad
        return {}

    async def edit(self, message: Message, receipt: Receipt) -> Receipt:
        raise Gone("a webhook's posts cannot be edited")

    async def check(self) -> Health:
        return Health(None, "incoming webhooks cannot be asked without posting")


def _name(value: Any) -> str:
    return value[:80] if isinstance(value, str) else "unknown"
