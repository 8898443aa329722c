"""Slack, by incoming webhook or as a bot.

A webhook is the quick way: one address, one channel, no edits and no threads. A bot's token posts to any channel that
it is in, edits its messages and answers in threads. Only our queue repeats a request: slack_sdk's own retries are off,
because they post twice when an answer is lost.

https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
https://docs.slack.dev/reference/methods/chat.postMessage · chat.update · auth.test
https://docs.slack.dev/apis/web-api/rate-limits
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, SecretStr, model_validator

from bridge.codec import web_url
from bridge.destinations import _slack_blocks
from bridge.destinations._http import ask, connecting, header, judge_status, read, retry_after, sorting
from bridge.destinations.base import Bucket, DestinationOptions, Health, Receipt, digest, secret_of
from bridge.errors import Dead, DeliveryError, Gone, RateLimited, Rejected, Transient, Unsure
from bridge.message import Message
from bridge.units import Rate

if TYPE_CHECKING:
    import aiohttp
    from slack_sdk.web.async_client import AsyncWebClient

LABEL = "Slack"
PERSON = "slack"
EDITS = Rate(50 / 60)  # of a whole workspace
_CHANNEL_ID = re.compile(r"[CG][A-Z0-9]{7,20}")
_EMAIL_SCOPE = "users:read.email"
_MEMBER = re.compile(r"[UW][A-Z0-9]{5,30}")


# -- options


def _api_address(value: str) -> str:
    if not web_url(value):
        raise ValueError("api_url is no address, leave it out for https://slack.com/api/")
    return value.rstrip("/") + "/"


class Options(DestinationOptions):
    """Give `url` (an incoming webhook), or `token` and `channel` (a bot)."""

    url: SecretStr | None = Field(None, description="The address of an incoming webhook. It is a secret.")
    token: SecretStr | None = Field(None, description="The bot's token, `xoxb-...`, with the scope chat:write.")
    channel: str | None = Field(None, description="Where the bot posts: `#builds` or the channel's id.")
    find_people: bool = Field(
        False,
        description="Ask Slack by e-mail who is to be mentioned, where `people` does not say it; "
        "needs the scope users:read.email.",
    )
    api_url: Annotated[str, AfterValidator(_api_address)] = Field(
        "https://slack.com/api/", description="Another address of the Web API, for tests and proxies."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Options:
        url, token = secret_of(self.url), secret_of(self.token)
        if url and token:
            raise ValueError("give url (a webhook) or token and channel (a bot), not both")
        if url and self.find_people:
            raise ValueError("a webhook cannot be asked who people are, find_people needs token and channel (a bot)")
        if url:
            _check_webhook(url, self.channel)
        elif not token:
            raise ValueError("give url (an incoming webhook), or token and channel (a bot)")
        elif not self.channel:
            raise ValueError(
                'a token needs a channel, in quotes: channel: "#builds" (YAML takes a bare # for a comment)'
            )
        elif token.startswith("xapp-"):
            raise ValueError("this is an app-level token, take the bot token (xoxb-...) of OAuth & Permissions")
        elif not re.fullmatch(r"[!-~]+", token):
            raise ValueError("the token has spaces or letters that no token has, copy it again")
        return self

    def refuses(self, channel: str) -> str | None:
        own = "always posts to its own channel, only a destination with `token` and `channel` can choose"
        return own if self.url else None


def _check_webhook(url: str, channel: str | None) -> None:
    if not web_url(url):
        raise ValueError("url is no address, copy it from Incoming Webhooks: https://hooks.slack.com/services/...")
    if "/triggers/" in url:
        raise ValueError("url starts a workflow, take one of Incoming Webhooks: https://hooks.slack.com/services/...")
    if channel:
        raise ValueError("a webhook posts to the channel it was made for, leave channel out or use a bot's token")


def payload(message: Message, options: Options) -> dict[str, Any]:
    """Return the JSON of `message`; where it goes (channel, thread) is added when it is sent."""
    return _slack_blocks.build(message)


# -- what an answer means


_WAIT_LONG = 600.0  # message_limit_exceeded: the workspace has posted too much
_TRANSIENT = """
    internal_error fatal_error service_unavailable request_timeout team_added_to_org org_login_required
    external_channel_migrating update_failed streaming_state_conflict rollup_error
"""
_DEAD = """
    invalid_auth not_authed account_inactive token_revoked token_expired missing_scope not_allowed_token_type
    access_denied ekm_access_denied enterprise_is_restricted two_factor_setup_required app_access_restricted
    no_permission channel_not_found not_in_channel is_archived restricted_action restricted_action_read_only_channel
    restricted_action_thread_only_channel messages_tab_disabled team_not_found method_deprecated unknown_method
    no_service no_active_hooks no_team channel_is_archived invalid_token action_prohibited team_disabled
    posting_to_general_channel_denied
"""
_GONE = """
    message_not_found cant_update_message edit_window_closed is_inactive cannot_reply_to_message thread_not_found
    restricted_action_thread_locked restricted_action_non_threadable_channel users_not_found
"""
_REJECTED = """
    no_text msg_too_long msg_blocks_too_long too_many_attachments attachment_payload_limit_exceeded metadata_too_large
    markdown_text_conflict block_mismatch user_not_found invalid_payload invalid_blocks invalid_blocks_format
    invalid_attachments
"""
_CLASSES: dict[str, type[DeliveryError]] = {
    word: kind
    for words, kind in ((_TRANSIENT, Transient), (_DEAD, Dead), (_GONE, Gone), (_REJECTED, Rejected))
    for word in words.split()
}
_REJECTED_PREFIXES = ("invalid_metadata", "invalid_arg", "invalid_block")

# What to click. Words for an operator who has never seen Slack's error names.
_ADVICE = {
    "invalid_auth": "the token is wrong, copy it again from OAuth & Permissions of the Slack app",
    "not_authed": "no token arrived, look at the destination's token",
    "account_inactive": "the bot or its workspace was removed, install the Slack app again",
    "token_revoked": "the token was revoked, install the Slack app again and copy the new one",
    "token_expired": "the token has expired, turn token rotation off or copy a new one",
    "channel_not_found": "no such channel for this bot; write its name or id, and invite the bot if it is private",
    "not_in_channel": "the bot is not in the channel: type /invite @bridge there, or add the scope chat:write.public",
    "is_archived": "the channel is archived, choose another one",
    "channel_is_archived": "the channel is archived, choose another one",
    "no_service": "the webhook was removed, make a new one under Incoming Webhooks",
    "no_active_hooks": "the webhook was switched off, make a new one under Incoming Webhooks",
    "invalid_token": "the webhook's address is wrong, copy it again from Incoming Webhooks",
    "restricted_action": "the workspace does not let the bot post here, ask its admins",
    "action_prohibited": "the workspace does not let the webhook post here, ask its admins",
    "posting_to_general_channel_denied": "only admins may post to this channel, choose another one",
}


def judge_api(status: int, headers: Mapping[str, str], data: Any) -> DeliveryError | None:
    """Return what an answer of the Web API means, None when it is good. Its HTTP status alone says little."""
    known = data if isinstance(data, dict) else {}
    word = _word(known.get("error"))
    if status == 429 or word in ("ratelimited", "rate_limited"):
        return RateLimited("slack asks to wait", retry_after(header(headers, "retry-after")))
    if status == 200 and known.get("ok") is True:
        return None
    if status == 200 and word:
        return _judge_word(word, known)
    return judge_status("slack", status, word)


def judge_webhook(status: int, headers: Mapping[str, str], body: str) -> DeliveryError | None:
    """Return what a webhook's answer means, None for ``ok``."""
    if status == 429:
        return RateLimited("slack asks to wait", retry_after(header(headers, "retry-after")))
    if status == 200 and body.strip() == "ok":
        return None
    word = _word(body.strip())
    if status >= 400 and word in _CLASSES:
        return _judge_word(word, {})
    if status == 400 and word:
        return Rejected(f"slack refuses the message: {word}")
    if status in (403, 404, 410) and not body.lstrip().startswith("<"):
        return Dead(f"slack does not know the webhook (HTTP {status}), make a new one under Incoming Webhooks")
    return judge_status("slack", status, word)


def _judge_word(word: str, data: Mapping[str, Any]) -> DeliveryError:
    if word == "message_limit_exceeded":
        return RateLimited("the workspace has posted too many messages", _WAIT_LONG)
    kind = _CLASSES.get(word)
    if kind is Rejected or word.startswith(_REJECTED_PREFIXES):
        return Rejected(f"slack refuses the message: {word}{_details(data)}")
    if kind is None:  # a word of tomorrow: nothing is lost while it is tried again and shown
        return Transient(f"slack says {word}, which bridge does not know")
    if word == "missing_scope":
        return Dead(f"slack says missing_scope: {_scopes(data)}")
    advice = _ADVICE.get(word)
    return kind(f"slack says {word}: {advice}" if advice else f"slack says {word}")


def _word(value: Any) -> str:
    return value if isinstance(value, str) and re.fullmatch(r"[a-z][a-z0-9_]{1,63}", value) else ""


def _details(data: Mapping[str, Any]) -> str:
    """Which field Slack complains about. Its sentences name places, not our texts."""
    more = data.get("response_metadata")
    messages = more.get("messages") if isinstance(more, dict) else data.get("errors")
    if not isinstance(messages, list):
        return ""
    texts = [one for one in messages if isinstance(one, str)]
    return f" ({'; '.join(texts)[:300]})" if texts else ""


def _scopes(data: Mapping[str, Any]) -> str:
    needed, provided = (_scope_list(data.get(key)) for key in ("needed", "provided"))
    has = f" (it has {provided})" if provided else ""
    return f"add the scope {needed or 'chat:write'} under OAuth & Permissions and reinstall the app{has}"


def _scope_list(value: Any) -> str:
    return value if isinstance(value, str) and re.fullmatch(r"[a-z0-9_.:, -]{1,300}", value) else ""


# -- talking


# slack_sdk prints addresses and bodies on any logger that is not set above DEBUG.
_QUIET = logging.getLogger("bridge.destinations.slack.sdk")
_QUIET.setLevel(logging.WARNING)


def open(name: str, options: Options, session: aiohttp.ClientSession) -> Bot | Webhook:
    """Return the destination that talks through `session`."""
    return Bot(name, options, session) if options.token else Webhook(name, options, session)


_LONGEST_ANSWER = 1_000_000  # it repeats the message


class _Answer:
    """What slack_sdk asks of an answer, of one that was read to a limit."""

    def __init__(self, response: aiohttp.ClientResponse, body: bytes) -> None:
        self.status, self.headers, self.content_type = response.status, response.headers, response.content_type
        self._body = body

    async def text(self) -> str:
        return self._body.decode("utf-8", "replace")

    async def json(self) -> Any:
        return json.loads(self._body)


class _Line:
    """One request through the caller's session. slack_sdk takes it for a session, and so cannot follow redirects.

    It also remembers the answer's status, which slack_sdk loses when it stumbles over a body.
    """

    def __init__(self, session: aiohttp.ClientSession, timeout: timedelta) -> None:
        self._session = session
        self._timeout = timeout
        self.status: int | None = None
        self.headers: Mapping[str, str] = {}

    @property
    def closed(self) -> bool:
        return self._session.closed

    @asynccontextmanager
    async def request(self, method: str, url: str, **options: Any) -> AsyncIterator[_Answer]:
        options |= {"allow_redirects": False, "timeout": connecting(self._timeout)}
        del options["proxy"]  # the session knows about proxies, and about what needs none
        async with self._session.request(method, url, **options) as response:
            self.status, self.headers = response.status, response.headers
            yield _Answer(response, await read(response, _LONGEST_ANSWER))

    async def ask(self, talk: Callable[[], Awaitable[Any]]) -> Any:
        """Return what `talk` returns; every way in which a request can fail becomes one of our errors."""
        # A closed session is found here first: slack_sdk would open one of its own.
        async with sorting(self._session, "slack", self._timeout):
            return await self._understood(talk)

    async def _understood(self, talk: Callable[[], Awaitable[Any]]) -> Any:
        from slack_sdk.errors import SlackApiError

        try:
            return await talk()
        except SlackApiError as error:
            data = getattr(error.response, "data", None)
        except (AttributeError, TypeError, ValueError, RecursionError):
            # slack_sdk stumbles over a body that is no JSON object: then only the status is known.
            if self.status is None:
                raise
            data = None
        raise judge_api(self.status or 0, self.headers, data) or Unsure("slack's answer cannot be read") from None


class Bot:
    """A bot's token: posts, edits and answers in threads."""

    can_edit = True
    can_thread = True

    def __init__(self, name: str, options: Options, session: aiohttp.ClientSession) -> None:
        self.name = name
        self._options = options
        self._session = session
        self._token = secret_of(options.token)
        self._key = f"slack:{digest(self._token)}"

    def buckets(self, *, edit: bool, channel: str | None) -> tuple[Bucket, ...]:
        """Posts are limited per channel, edits per workspace, all channels together."""
        if edit:
            return (Bucket(f"{self._key}:edit", EDITS, burst=10),)
        return (_post_bucket(self._key, channel or self._options.channel, self._options.rate),)

    async def send(
        self, message: Message, *, channel: str | None, thread: Receipt | None, key: str | None = None
    ) -> Receipt:
        body = payload(message, self._options) | {"channel": channel or self._options.channel}
        if thread and thread.get("ts"):
            body |= {"channel": thread.get("channel") or body["channel"], "thread_ts": thread["ts"]}
        answer = await self._limited("chat.postMessage", body, self.buckets(edit=False, channel=channel)[0])
        return self._receipt(answer, body["channel"])

    async def edit(self, message: Message, receipt: Receipt) -> Receipt:
        if not receipt.get("channel") or not receipt.get("ts"):
            raise Gone("there is no message to edit")
        body = payload(message, self._options) | {"channel": receipt["channel"], "ts": receipt["ts"]}
        # chat.update has no say in unfurling, and keeps attachments that are not named.
        del body["unfurl_links"], body["unfurl_media"]
        body.setdefault("attachments", [])
        answer = await self._limited("chat.update", body, self.buckets(edit=True, channel=None)[0])
        return self._receipt(answer, receipt["channel"])

    async def check(self) -> Health:
        try:
            data, headers = await self._call("auth.test", {})
        except DeliveryError as error:
            return Health(False, _of_question(error))
        scopes = {scope.strip() for scope in headers.get("x-oauth-scopes", "").split(",")} - {""}
        if scopes and "chat:write" not in scopes:
            return Health(False, f"token valid, but {_scopes({'needed': 'chat:write'})}")
        known = f"token valid, team {_name(data.get('team'))}, bot {_name(data.get('user'))}"
        channel = self._options.channel or ""
        if not _CHANNEL_ID.fullmatch(channel):
            health = Health(True, f"{known}; whether it is in {channel[:80]} is told for a channel's id (C...)")
        else:
            public = "chat:write.public" in scopes
            health = await self._member(known, channel, _name(data.get("user")), public=public)
        blind = self._options.find_people and scopes and _EMAIL_SCOPE not in scopes
        lacking = f"; find_people finds nobody: {_scopes({'needed': _EMAIL_SCOPE})}" if blind else ""
        return Health(health.ok, health.text + lacking)

    async def _member(self, known: str, channel: str, bot: str, *, public: bool) -> Health:
        """Ask for the channel; `public`: the bot may post to a public one without being in it."""
        try:
            data, _ = await self._call("conversations.info", {"channel": channel}, read=True)
        except DeliveryError as error:
            if "missing_scope" in str(error):
                return Health(True, f"{known}; with the scope channels:read it is told whether it is in the channel")
            return Health(False, f"{known}, but {_of_question(error)}")
        found = data.get("channel")
        found = found if isinstance(found, dict) else {}
        name = _name(found.get("name"))
        if found.get("is_archived") is True:
            return Health(False, f"{known}, but #{name} is archived, choose another one")
        if found.get("is_member") is False and (not public or found.get("is_private") is True):
            return Health(False, f"{known}, but it is not in #{name}: type /invite @{bot} there")
        return Health(True, f"{known}, channel #{name}")

    async def find(self, email: str) -> str | None:
        """Return the member ID of who has that address. https://docs.slack.dev/reference/methods/users.lookupByEmail"""
        try:
            data, _ = await self._call("users.lookupByEmail", {"email": email}, read=True)
        except Gone:
            return None
        user = data.get("user")
        known = user if isinstance(user, dict) else {}
        found = known.get("id")
        gone = known.get("deleted") or known.get("is_bot")
        return found if isinstance(found, str) and _MEMBER.fullmatch(found) and not gone else None

    async def _limited(self, method: str, body: dict[str, Any], bucket: Bucket) -> Mapping[str, Any]:
        """Call, and let only what shares this limit wait when Slack says so."""
        try:
            data, _ = await self._call(method, body)
        except RateLimited as error:
            if error.after != _WAIT_LONG:
                error.bucket = bucket.key
            raise
        return data

    async def _call(
        self, method: str, body: dict[str, Any], *, read: bool = False
    ) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        """Return Slack's answer. Methods that only read know no JSON: they are asked in the address."""
        line = _Line(self._session, self._options.timeout)
        client = _web_client(self._token, self._options.api_url, line)
        verb, given = ("GET", {"params": body}) if read else ("POST", {"json": body})
        answer = await line.ask(lambda: client.api_call(method, http_verb=verb, **given))
        return answer.data, line.headers

    def _receipt(self, answer: Mapping[str, Any], channel: str) -> Receipt:
        ts = answer.get("ts")
        if not isinstance(ts, str) or not ts:
            raise Unsure("slack's answer does not say where the message is")
        given = answer.get("channel")
        return {"channel": given if isinstance(given, str) and given else channel, "ts": ts}


def _web_client(token: str, api_url: str, line: _Line) -> AsyncWebClient:
    from slack_sdk.web.async_client import AsyncWebClient

    session: Any = line
    return AsyncWebClient(token=token, base_url=api_url, session=session, retry_handlers=[], logger=_QUIET)


class Webhook:
    """An incoming webhook: posts to its channel, and answers nothing but ``ok``."""

    can_edit = False
    can_thread = False

    def __init__(self, name: str, options: Options, session: aiohttp.ClientSession) -> None:
        self.name = name
        self._options = options
        self._session = session
        self._url = secret_of(options.url)
        self._key = f"slack:{digest(self._url)}"

    def buckets(self, *, edit: bool, channel: str | None) -> tuple[Bucket, ...]:
        return (_post_bucket(self._key, None, self._options.rate),)

    async def send(
        self, message: Message, *, channel: str | None, thread: Receipt | None, key: str | None = None
    ) -> Receipt:
        # Not by slack_sdk, which adds nothing here but a tenth of what a message costs, and logs addresses.
        answer = await ask(
            self._session,
            "POST",
            self._url,
            chat="slack",
            within=self._options.timeout,
            json=payload(message, self._options),
        )
        error = judge_webhook(answer.status, answer.headers, answer.text())
        if error:
            raise error
        return {}

    async def edit(self, message: Message, receipt: Receipt) -> Receipt:
        raise Gone("a webhook's messages cannot be edited")

    async def check(self) -> Health:
        return Health(None, "incoming webhooks cannot be asked without posting")


def _of_question(error: DeliveryError) -> str:
    """Return what an error says where nothing was posted, and so nothing may have arrived."""
    return str(error).removesuffix(", the message may have arrived")


def _post_bucket(key: str, channel: str | None, rate: Rate | None) -> Bucket:
    return Bucket(f"{key}:post:{channel or ''}", rate or Rate(1), burst=5)


def _name(value: Any) -> str:
    return value[:80] if isinstance(value, str) else "unknown"
