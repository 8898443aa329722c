"""Telegram, by a bot: posts to a chat or one topic of it, edits what it posted, and answers to it.

The bot's token is part of every address, so no address is ever told. An answer that was lost is unsure: Telegram knows
no idempotency. "Not modified" is what an edit was to reach, and so good. A group that becomes a supergroup has another
number from then on; Telegram names it, and it is used until the configuration says it, too.

https://core.telegram.org/bots/api#sendmessage · #editmessagetext · #responseparameters
https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, SecretStr

from bridge.codec import web_url
from bridge.destinations import _telegram_html
from bridge.destinations._http import ask, header, judge_status, retry_after
from bridge.destinations.base import Bucket, DestinationOptions, Health, Receipt, digest, refusal
from bridge.errors import Dead, DeliveryError, Gone, RateLimited, Rejected, Unsure
from bridge.message import Message
from bridge.units import Rate

if TYPE_CHECKING:
    import aiohttp

LABEL = "Telegram"
PERSON = "telegram"

# 30 a second for a bot, one a second in a chat, 20 a minute in a group; edits count too.
EVERYWHERE, PERSONAL, GROUP = Rate(30), Rate(1), Rate(0.3)


# -- options

_TOKEN = re.compile(r"[0-9]{3,20}:[A-Za-z0-9_-]{8,80}")
_CHAT = re.compile(r"-?[1-9][0-9]{0,19}|@[A-Za-z][A-Za-z0-9_]{3,31}")
_TOPIC = re.compile(r"[1-9][0-9]{0,18}")


def _token(value: SecretStr) -> SecretStr:
    token = value.get_secret_value().strip()
    if not _TOKEN.fullmatch(token):
        raise ValueError("this is no bot's token, copy it from @BotFather: 110201543:AAHd...")
    return SecretStr(token)


def _chat(value: str) -> str:
    if not _CHAT.fullmatch(value):
        raise ValueError('chat is a number in quotes ("-1001234567890") or the @name of a public group or channel')
    return value


def _topic(value: str | None) -> str | None:
    if value is not None and not _TOPIC.fullmatch(value):
        raise ValueError("topic is a number: the last but one in a message's link, https://t.me/c/CHAT/TOPIC/MESSAGE")
    return value


def _place(channel: str) -> tuple[str, str | None]:
    """Return the chat and the topic that a rule names: ``-1001234567890``, ``@acme_releases/45``. Raises ValueError."""
    chat, _, topic = channel.partition("/")
    return _chat(chat), _topic(topic) if topic or "/" in channel else None


def _api_address(value: str) -> str:
    if not web_url(value) or "?" in value:
        raise ValueError("api_url is no address, leave it out for https://api.telegram.org")
    return value.rstrip("/")


class Options(DestinationOptions):
    """Give `token` and `chat`; `topic` where the group has topics."""

    token: Annotated[SecretStr, AfterValidator(_token)] = Field(description="The bot's token, from @BotFather.")
    chat: Annotated[str, AfterValidator(_chat)] = Field(
        description="Where the bot posts: a chat's number, or the @name of a public group or channel."
    )
    topic: Annotated[str | None, AfterValidator(_topic)] = Field(
        None, description="A topic of that group, by its number."
    )
    api_url: Annotated[str, AfterValidator(_api_address)] = Field(
        "https://api.telegram.org", description="Another Bot API server, for one's own and for tests."
    )

    def refuses(self, channel: str) -> str | None:
        return refusal(_place, channel)


def payload(message: Message, options: Options) -> dict[str, Any]:
    """Return the JSON of `message`; where it goes is added when it is sent."""
    return {**_telegram_html.build(message), "parse_mode": "HTML", "link_preview_options": {"is_disabled": True}}


# -- what an answer means

# Beginnings and parts of Telegram's descriptions, in lower case. The first that is found counts.
_WORDS: tuple[tuple[str, type[DeliveryError], str], ...] = (
    ("message to edit not found", Gone, "the message was deleted"),
    ("message can't be edited", Gone, "the message may not be edited any more"),
    ("message_id_invalid", Gone, "the message is not there"),
    ("message identifier is not specified", Gone, "the message is not there"),
    ("message to be replied not found", Gone, "the message to answer was deleted"),
    ("message to reply not found", Gone, "the message to answer was deleted"),
    ("replied message not found", Gone, "the message to answer was deleted"),
    ("reply message not found", Gone, "the message to answer was deleted"),
    ("message thread not found", Dead, "no such topic, look at topic"),
    ("topic_deleted", Dead, "the topic was deleted, look at topic"),
    ("topic_closed", Dead, "the topic is closed, open it again or choose another one"),
    ("chat not found", Dead, "no such chat for this bot; look at chat, and add the bot to it"),
    ("peer_id_invalid", Dead, "no such chat for this bot; look at chat, and add the bot to it"),
    ("channel_private", Dead, "the bot is not in the channel, add it as an admin"),
    ("bot was kicked", Dead, "the bot was removed from the chat, add it again"),
    ("bot is not a member", Dead, "the bot is not in the chat, add it (to a channel: as an admin)"),
    ("bot was blocked", Dead, "the person has blocked the bot, who must unblock it"),
    ("user is deactivated", Dead, "the person's account is gone, choose another chat"),
    ("bot can't initiate conversation", Dead, "the person must open the bot and press Start first"),
    ("bots can't send messages to bots", Dead, "chat is a bot, choose another one"),
    ("need administrator rights", Dead, "make the bot an admin of the channel that may post messages"),
    ("chat_admin_required", Dead, "make the bot an admin of the chat"),
    ("not enough rights", Dead, "the bot may not post there, look at the chat's permissions"),
    ("have no rights", Dead, "the bot may not post there, look at the chat's permissions"),
    ("chat_write_forbidden", Dead, "the bot may not post there, look at the chat's permissions"),
    ("chat_restricted", Dead, "the bot may not post there, look at the chat's permissions"),
    ("chat_send_plain_forbidden", Dead, "the chat takes no text from the bot, look at its permissions"),
    ("group chat was upgraded", Dead, "the group became a supergroup and has another number, write that in chat"),
    ("group chat was deactivated", Dead, "the group is gone, choose another chat"),
    ("chat_id is empty", Dead, "look at chat"),
    ("can't parse entities", Rejected, "it cannot read the markup"),
    ("message is too long", Rejected, "too long"),
    ("message_too_long", Rejected, "too long"),
    ("entities_too_long", Rejected, "too much markup"),
    ("reply_markup_too_long", Rejected, "too many buttons"),
    ("message text is empty", Rejected, "empty"),
    ("text must be non-empty", Rejected, "empty"),
    ("strings must be encoded in utf-8", Rejected, "not UTF-8"),
    ("button_url_invalid", Rejected, "a button's address"),
    ("button url", Rejected, "a button's address"),
    ("wrong http url", Rejected, "a button's address"),
)


def judge(status: int, headers: Mapping[str, str], answer: Any) -> DeliveryError | None:
    """Return what an answer means, None when it is good. `answer` is its JSON, None where it was none."""
    known = answer if isinstance(answer, dict) else {}
    code = known.get("error_code", status)
    more = known.get("parameters")
    if status == 429 or code == 429:
        asked = more.get("retry_after") if isinstance(more, dict) else None
        return RateLimited("telegram asks to wait", retry_after(asked, header(headers, "retry-after")))
    if 200 <= status < 300 and known.get("ok") is True:
        return None
    said = known.get("description")
    if known.get("ok") is not False or not isinstance(said, str) or not isinstance(code, int) or code >= 500:
        return judge_status("telegram", code if isinstance(code, int) and code >= 400 else status)
    return _judge_words(code, said.lower())


def _judge_words(code: int, said: str) -> DeliveryError | None:
    if "message is not modified" in said:
        return None
    if code in (401, 404):  # a token that is none of Telegram's makes an address that is not there
        return Dead(f"telegram does not know the token ({code}), copy it again from @BotFather")
    for words, kind, text in _WORDS:
        if words in said:
            return kind(f"telegram refuses the message ({words}): {text}" if kind is Rejected else _told(words, text))
    if code == 403:
        return Dead("telegram forbids it (403), look at the bot's place in the chat")
    if code == 400:
        return Rejected(f"telegram refuses the message ({_word(said) or 400})")
    return judge_status("telegram", code)


def _told(words: str, text: str) -> str:
    return f"telegram says {words}: {text}"


def _word(said: str) -> str:
    """Return the name of an error, where the description is one: it may else repeat our texts."""
    found = re.fullmatch(r"bad request: ([a-z]+(?:_[a-z]+)+)", said)
    return found[1][:60] if found else ""


def _moved(answer: Any) -> str | None:
    """Return the number that a group has since it became a supergroup."""
    more = answer.get("parameters") if isinstance(answer, dict) else None
    number = more.get("migrate_to_chat_id") if isinstance(more, dict) else None
    return str(number) if isinstance(number, int) and not isinstance(number, bool) else None


# -- talking


def open(name: str, options: Options, session: aiohttp.ClientSession) -> Bot:
    """Return the destination that talks through `session`."""
    return Bot(name, options, session)


class Bot:
    """A bot in one chat, or wherever a rule sends it."""

    can_edit = True
    can_thread = True

    def __init__(self, name: str, options: Options, session: aiohttp.ClientSession) -> None:
        self.name = name
        self._options = options
        self._session = session
        self._address = f"{options.api_url}/bot{options.token.get_secret_value()}/"
        self._key = f"telegram:{digest(self._address)}"
        self._numbers: dict[str, str] = {}  # of groups that became supergroups

    def buckets(self, *, edit: bool, channel: str | None) -> tuple[Bucket, ...]:
        chat = (channel or self._options.chat).partition("/")[0]
        usual = PERSONAL if chat[:1].isdigit() else GROUP
        return (
            Bucket(f"{self._key}:{chat}", self._options.rate or usual, burst=2),
            Bucket(self._key, EVERYWHERE, burst=30),
        )

    async def send(
        self, message: Message, *, channel: str | None, thread: Receipt | None, key: str | None = None
    ) -> Receipt:
        chat, topic = self._where(channel)
        body = payload(message, self._options)
        if topic:
            body["message_thread_id"] = int(topic)
        if thread is not None:
            body["reply_parameters"] = {"message_id": _number(thread)}
            chat = thread.get("chat") or chat
        result = await self._post(chat, body)
        number = result.get("message_id")
        if not isinstance(number, int) or isinstance(number, bool):
            raise Unsure("the answer does not say where the message is, it may have arrived")
        return {"chat": self._numbers.get(chat, chat), "id": str(number)}

    def _where(self, channel: str | None) -> tuple[str, str | None]:
        """Return the chat and the topic; another chat has other topics."""
        if channel in (None, self._options.chat):
            return self._options.chat, self._options.topic
        try:
            return _place(channel)
        except ValueError:
            raise Dead(f"telegram has no such chat as the rule's channel {channel[:80]}") from None

    async def edit(self, message: Message, receipt: Receipt) -> Receipt:
        chat = receipt.get("chat", "")
        body = {"chat_id": chat, "message_id": _number(receipt), **payload(message, self._options)}
        answer, bad = await self._call("editMessageText", body, chat)
        if _moved(answer):
            raise Gone("the group became a supergroup, whose messages have other numbers")
        if bad:
            raise bad
        return receipt

    async def _post(self, chat: str, body: dict[str, Any]) -> dict[str, Any]:
        """Post to `chat`, and where it has become another one, there: nothing was posted to the old one."""
        where = self._numbers.get(chat, chat)
        answer, bad = await self._call("sendMessage", {"chat_id": where, **body}, chat)
        number = _moved(answer)
        if bad and number and number != where:
            self._numbers[chat] = number
            if "reply_parameters" in body:
                raise Gone("the group became a supergroup, whose messages have other numbers")
            answer, bad = await self._call("sendMessage", {"chat_id": number, **body}, chat)
        if bad:
            raise bad
        return _result(answer)

    async def check(self) -> Health:
        try:
            return await self._check()
        except Unsure as error:
            return Health(False, str(error).split(",")[0])
        except DeliveryError as error:
            return Health(False, str(error))

    async def _check(self) -> Health:
        me = await self._get("getMe", {})
        chat = await self._get("getChat", {"chat_id": self._options.chat})
        member: dict[str, Any] = {}
        if chat.get("type") != "private":  # a person has no members
            member = await self._get("getChatMember", {"chat_id": self._options.chat, "user_id": me.get("id")})
        who, where = _name(me.get("username")), _name(chat.get("title") or chat.get("username"))
        if wrong := _hindered(chat, member, topic=self._options.topic is not None):
            return Health(False, f"@{who} cannot post to {where}: {wrong}")
        topic = f", topic {self._options.topic}" if self._options.topic else ""
        return Health(True, f"bot @{who}, chat {where}{topic}")

    async def _get(self, method: str, body: dict[str, Any]) -> dict[str, Any]:
        answer, bad = await self._call(method, body, self._options.chat)
        if number := _moved(answer):
            raise Dead(f'the group became a supergroup, write chat: "{number}"')
        if bad:
            raise bad
        return _result(answer)

    async def _call(
        self, method: str, body: dict[str, Any], chat: str
    ) -> tuple[dict[str, Any] | None, DeliveryError | None]:
        """Return Telegram's answer and what it means; what is no answer becomes one of our errors."""
        got = await ask(
            self._session, "POST", self._address + method, chat="telegram", within=self._options.timeout, json=body
        )
        answer = got.object()
        bad = judge(got.status, got.headers, answer)
        if isinstance(bad, RateLimited) and chat not in self._numbers.values():
            bad.bucket = f"{self._key}:{chat}"
        return answer, bad


def _number(receipt: Receipt) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,18}", receipt.get("id", "")) or not _CHAT.fullmatch(receipt.get("chat", "")):
        raise Gone("there is no such message")
    return int(receipt["id"])


def _result(answer: dict[str, Any] | None) -> dict[str, Any]:
    result = answer.get("result") if answer else None
    return result if isinstance(result, dict) else {}


def _hindered(chat: dict[str, Any], member: dict[str, Any], *, topic: bool) -> str:
    """Return what to click before the bot can post; nothing when it can."""
    match member.get("status"):
        case "left" | "kicked":
            return "it is not in the chat, add it there"
        case "restricted" if member.get("can_send_messages") is False:
            return "it is restricted, let it send messages in the chat's permissions"
        case "member" if chat.get("type") == "channel":
            return "make it an admin of the channel that may post messages"
        case "administrator" if chat.get("type") == "channel" and member.get("can_post_messages") is not True:
            return "let it post messages, in the channel's administrators"
        case "member" if _silent(chat.get("permissions")):
            return "the chat's permissions let nobody but admins write, make it one"
    if topic and chat.get("is_forum") is not True:
        return "the chat has no topics, leave topic out"
    return ""


def _silent(permissions: Any) -> bool:
    return isinstance(permissions, dict) and permissions.get("can_send_messages") is False


def _name(value: Any) -> str:
    return value[:80] if isinstance(value, str) else "unknown"
