"""E-mail, by a server that takes it: one mail for each message, none is edited, those of a run make one conversation.

Whoever is mentioned gets a copy. A mail is told apart by its Message-ID, which is the same when the queue sends it
again; many mailboxes then show it once. What the server says is judged by the step at which it says it: a name refused
at login is another matter than a text refused at the end. A server's words are never shown, for they quote addresses.

https://www.rfc-editor.org/rfc/rfc5321#section-4.2 (replies) · https://www.rfc-editor.org/rfc/rfc3463 (their codes)
https://www.rfc-editor.org/rfc/rfc5322#section-3.6.4 (conversations) · https://www.rfc-editor.org/rfc/rfc3834 (robots)
https://aiosmtplib.readthedocs.io/
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import ssl
import uuid
from base64 import encodebytes
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.header import Header
from email.utils import format_datetime, parseaddr
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from bridge.destinations import _email_body
from bridge.destinations.base import Bucket, DestinationOptions, Health, Receipt, digest, is_loopback, refusal
from bridge.errors import Dead, DeliveryError, RateLimited, Rejected, Transient, Unsure
from bridge.fold import run_key
from bridge.message import Message
from bridge.units import Rate

if TYPE_CHECKING:
    import aiohttp
    import aiosmtplib

LABEL = "E-mail"
PERSON = "email"
WAIT = 60.0  # seconds: servers do not say how long
MAX_COPIES = 20


# -- options

_FORM = "smtps://USER:PASSWORD@HOST, or smtp://... for STARTTLS, with %40 for an @ in the user's name"
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Server:
    """What a smtp_url says. `tls`: from the start, by STARTTLS, or none."""

    host: str
    port: int
    user: str
    password: str
    tls: Literal["start", "starttls", "none"]


def server(url: str) -> Server:
    """Return what an smtp_url says; raise ValueError, without its words, where it is none."""
    try:
        parts = urlsplit(url)
        host, port, asked = parts.hostname or "", parts.port, parse_qs(parts.query, strict_parsing=bool(parts.query))
    except ValueError:
        raise ValueError(f"smtp_url is no address, write {_FORM}") from None
    rest = parts.path.strip("/") or parts.fragment or set(asked) - {"starttls"}
    if parts.scheme not in ("smtp", "smtps") or not re.fullmatch(r"[A-Za-z0-9.:_-]+", host) or rest or port == 0:
        raise ValueError(f"smtp_url is not of the form {_FORM}")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if bool(user) != bool(password):
        raise ValueError(f"smtp_url needs a user and a password, or neither: {_FORM}")
    if parts.scheme == "smtps":
        return Server(host, port or 465, user, password, "start")
    if _plain(asked, host):
        if password and not is_loopback(host):
            raise ValueError("starttls=no would show the password to everyone on the way, leave one of them out")
        return Server(host, port or 25, user, password, "none")
    return Server(host, port or 587, user, password, "starttls")


def _plain(asked: dict[str, list[str]], host: str) -> bool:
    wanted = asked.get("starttls", [""])[-1]
    if wanted not in ("", "yes", "no"):
        raise ValueError("smtp_url takes ?starttls=no, for a server inside that offers none, or nothing")
    return wanted == "no" or (not wanted and is_loopback(host))


def _smtp_url(value: SecretStr) -> SecretStr:
    server(value.get_secret_value().strip())
    return SecretStr(value.get_secret_value().strip())


def _sender(value: str) -> str:
    _, address = parseaddr(value)
    if (
        not _ADDRESS.fullmatch(address)
        or not re.fullmatch(r"[^\x00-\x1f\x7f]*", value)
        or not value.endswith((address, f"<{address}>"))
    ):
        raise ValueError("from is one address, bridge@example.com or Bridge <bridge@example.com>")
    return value


def _listed(value: Any) -> Any:
    return tuple(one.strip() for one in value.split(",")) if isinstance(value, str) else value


def _recipients(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value or not all(_ADDRESS.fullmatch(one) for one in value):
        raise ValueError("to is an address or a list of them: team@example.com, without names")
    return tuple(dict.fromkeys(value))


class Options(DestinationOptions):
    """Give `smtp_url`, `from` and `to`."""

    smtp_url: Annotated[SecretStr, AfterValidator(_smtp_url)] = Field(
        description="The server that takes mail: `smtps://USER:PASSWORD@HOST`, `smtp://` for STARTTLS. It is a secret."
    )
    sender: Annotated[str, AfterValidator(_sender)] = Field(
        alias="from", description="The address that mail comes from; `Bridge <bridge@example.com>` has a name, too."
    )
    to: Annotated[tuple[str, ...], BeforeValidator(_listed), AfterValidator(_recipients)] = Field(
        description="Who gets each mail: an address, or a list."
    )

    def refuses(self, channel: str) -> str | None:
        return refusal(lambda value: _recipients(_listed(value)), channel)


# -- the mail


def payload(message: Message, options: Options) -> dict[str, Any]:
    """Return the mail's parts; what tells it apart and when it is from is added when it is sent."""
    copies = [one for one in dict.fromkeys(message.mentions) if _ADDRESS.fullmatch(one) and one not in options.to]
    return {
        "from": options.sender,
        "to": list(options.to),
        "cc": copies[:MAX_COPIES],
        "subject": _email_body.subject(message),
        "text": _email_body.text(message),
        "html": _email_body.html(message),
    }


def written(parts: Mapping[str, Any], headers: Mapping[str, str]) -> bytes:
    """Return the mail as it goes over the wire: short 7-bit lines, so that every server takes it.

    By hand: the standard library's new way of folding a long subject adds spaces to it.
    """
    name, address = parseaddr(parts["from"])
    boundary = "=_" + hashlib.sha256(parts["html"].encode()).hexdigest()[:32]  # base64 has no underscore
    head = {
        "From": f"{_worded(name)} <{address}>" if name else address,
        "To": ",\n ".join(parts["to"]),
        **({"Cc": ",\n ".join(parts["cc"])} if parts["cc"] else {}),
        "Subject": _worded(parts["subject"], len("Subject: ")),
        **headers,
        # No server answers such a mail with "I am on holiday".
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "All",
        "MIME-Version": "1.0",
        "Content-Type": f'multipart/alternative; boundary="{boundary}"',
    }
    lines = [f"{key}: {value}" for key, value in head.items()]
    for kind, text in (("plain", parts["text"]), ("html", parts["html"])):
        lines += ["", f"--{boundary}", f"Content-Type: text/{kind}; charset=utf-8", "Content-Transfer-Encoding: base64"]
        lines += ["", encodebytes(text.replace("\n", "\r\n").encode()).decode().rstrip("\n")]
    return "\n".join([*lines, f"--{boundary}--", ""]).replace("\n", "\r\n").encode("ascii")


def _worded(text: str, before: int = 0) -> str:
    """Return text as a header has it. Always encoded: what looks like an encoded word may be a stranger's."""
    return Header(text, "utf-8", maxlinelen=75, continuation_ws=" ").encode(splitchars="", maxlinelen=75 - before)


def identity(key: str | None, parts: Mapping[str, Any]) -> str:
    """Return the Message-ID: the same for the same delivery, and for no other."""
    if key is None:  # nothing says that it is the same
        return f"<{uuid.uuid4().hex}@{_domain(parts)}>"
    return _id("mail", parts, key, *parts["to"], *parts["cc"])


def conversation(message: Message, parts: Mapping[str, Any]) -> str | None:
    """Return the id that all mails of a run refer to. No mail has it; mail programs gather them by it all the same."""
    key = run_key(message.event) if message.event else None
    return _id("run", parts, key) if key else None


def _id(kind: str, parts: Mapping[str, Any], *of: str) -> str:
    named = hashlib.sha256("\0".join(of).encode("utf-8", "replace")).hexdigest()[:32]
    return f"<{kind}.{named}@{_domain(parts)}>"


def _domain(parts: Mapping[str, Any]) -> str:
    return str(parseaddr(parts["from"])[1].rpartition("@")[2])


# -- what a reply means

Step = Literal["connect", "starttls", "login", "from", "to", "mail"]
_WORDS: dict[Step, tuple[type[DeliveryError], str]] = {
    "connect": (Dead, "takes no mail from this machine: use the server that your provider names for sending"),
    "starttls": (Dead, "offers no STARTTLS: write smtps:// or another port, or ?starttls=no for a server inside"),
    "login": (Dead, "refuses user and password of smtp_url; Google and others want an app password"),
    "from": (Dead, "refuses the address of `from`: may this user send for it?"),
    "to": (Dead, "refuses every address of `to`, compare them"),
    "mail": (Rejected, "refuses the mail"),
}
_CODE = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})\b")


def judge(step: Step, code: int, said: str) -> DeliveryError | None:
    """Return what a reply means at this step, None when it is good. Of what was `said` only the code is shown."""
    if 200 <= code < 400:
        return None
    exact = shown(code, said)
    if 400 <= code < 500:
        # 4.7: policy, which is too much at once, or a stranger who is to come back later.
        if code == 421 or " 4.7." in exact:
            return RateLimited(f"the mail server asks to wait ({exact})", WAIT)
        return Transient(f"the mail server cannot take it now ({exact})")
    if not 500 <= code < 600:
        return Unsure(f"no mail server answers so ({code}), it may have arrived") if step == "mail" else _no_server()
    if code == 530 and step in ("from", "to"):
        return Dead(f"the mail server wants a login ({exact}): write user and password into smtp_url")
    kind, words = _WORDS[step]
    return kind(f"the mail server {words} ({exact})")


def shown(code: int, said: str) -> str:
    """Return a reply's code, with the exact one where its words begin with it."""
    exact = _CODE.match(said)
    return f"{code} {exact[1]}" if exact else str(code)


def judge_all(refused: Iterable[tuple[int, str]]) -> DeliveryError:
    """Return what it means that every recipient was refused: while one may be taken later, it is tried again."""
    found = [bad for code, said in refused if (bad := judge("to", code, said))]
    for kind in (RateLimited, Transient):
        if later := next((bad for bad in found if isinstance(bad, kind)), None):
            return later
    return found[0] if found else _no_server()


def _no_server() -> Transient:
    return Transient("what answers is no mail server: look at host and port of smtp_url")


# -- talking


def open(name: str, options: Options, session: aiohttp.ClientSession) -> Mailbox:
    """Return the destination; mail goes past `session`."""
    return Mailbox(name, options)


class Mailbox:
    """Some addresses. A mail cannot be edited; all mails of a run are one conversation, with `thread` or without."""

    can_edit = False
    can_thread = False

    def __init__(self, name: str, options: Options) -> None:
        self.name = name
        self._options = options
        self._server = server(options.smtp_url.get_secret_value())
        named = digest(f"{self._server.user}@{self._server.host}")
        # What is allowed is each server's own; those for sending count by user and by the hour.
        self._bucket = Bucket(f"email:{named}", options.rate or Rate(1), burst=10)

    def buckets(self, *, edit: bool, channel: str | None) -> tuple[Bucket, ...]:
        return (self._bucket,)

    async def send(
        self, message: Message, *, channel: str | None, thread: Receipt | None, key: str | None = None
    ) -> Receipt:
        parts = payload(message, self._options)
        if channel is not None:
            parts["to"] = _addressed(channel)
        known = identity(key, parts)
        headers = {"Message-ID": known, "Date": format_datetime(datetime.now(UTC))}
        if run := conversation(message, parts):
            headers |= {"In-Reply-To": run, "References": run}
        note = await self._hand_over(parts, written(parts, headers))
        return {"id": known} | ({"note": note} if note else {})

    async def edit(self, message: Message, receipt: Receipt) -> Receipt:
        raise Rejected("a mail cannot be edited")

    async def check(self) -> Health:
        """Log in and offer a mail to every recipient, and take it back."""
        try:
            async with self._connected() as talk:
                refused = await talk.envelope(self._options.sender, self._options.to)
                await talk.take_back()
        except DeliveryError as error:
            return Health(False, str(error))
        note = _refused(refused, len(self._options.to))
        login = "login valid" if self._server.user else "no login"
        return Health(not refused, f"{login}, {note or f'mail is taken for {len(self._options.to)}'}")

    async def _hand_over(self, parts: Mapping[str, Any], mail: bytes) -> str:
        """Send; return who was refused, in words, nothing when nobody was."""
        people = [*parts["to"], *parts["cc"]]
        async with self._connected() as talk:
            refused = await talk.envelope(parts["from"], people)
            await talk.mail(mail)
        return _refused(refused, len(people))

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[_Talk]:
        """Give a conversation with the server within its time; every failure becomes one of our errors."""
        import aiosmtplib

        seconds = self._options.timeout.total_seconds()
        host = socket.gethostname()
        talk = _Talk(
            aiosmtplib.SMTP(
                hostname=self._server.host,
                port=self._server.port,
                local_hostname=host if re.fullmatch(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", host) else "[127.0.0.1]",
                use_tls=self._server.tls == "start",
                start_tls=False,
                timeout=None,  # one time for all of it, below
            )
        )
        try:
            async with asyncio.timeout(seconds):
                await talk.begin(self._server)
                yield talk
        except (TimeoutError, aiosmtplib.SMTPTimeoutError):
            words = f"the mail server did not answer within {seconds:g} s"
            raise (Unsure(f"{words}, the mail may have arrived") if talk.handed else Transient(words)) from None
        except aiosmtplib.SMTPResponseException as error:  # also greetings and what is not of a mail server's form
            raise judge(talk.step, error.code, error.message) or _no_server() from None
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise _lost(talk, error) from None
        finally:
            talk.end()


def _lost(talk: _Talk, error: Exception) -> DeliveryError:
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    word = type(cause).__name__
    if talk.handed:
        return Unsure(f"the connection was lost ({word}), the mail may have arrived")
    if isinstance(cause, ssl.SSLCertVerificationError):
        return Transient("no connection to the mail server (its certificate is not trusted)")
    if talk.step == "connect":
        return Transient(f"no connection to the mail server ({word})")
    return Transient(f"the connection was lost before the mail was sent ({word})")


def _addressed(channel: str) -> list[str]:
    try:
        return list(_recipients(_listed(channel)))
    except ValueError:
        raise Dead("the rule's channel is no address: write team@example.com, or several with commas") from None


def _refused(refused: Mapping[int, str], of: int) -> str:
    """Who was refused, by place and code: addresses are people's."""
    if not refused:
        return ""
    which = ", ".join(f"no. {number} ({code})" for number, code in list(refused.items())[:10])
    return f"{len(refused)} of {of} recipients refused: {which}"


class _Talk:
    """One connection. `step` is where it is; `handed`: the mail is on its way, so that a silence may mean anything."""

    def __init__(self, smtp: aiosmtplib.SMTP) -> None:
        self._smtp = smtp
        self.step: Step = "connect"
        self.handed = False

    async def begin(self, to: Server) -> None:
        import aiosmtplib

        await self._smtp.connect()
        await self._smtp.ehlo()
        if to.tls == "starttls":
            self.step = "starttls"
            if not self._smtp.supports_extension("starttls"):
                raise Dead(f"the mail server {_WORDS['starttls'][1]}")
            await self._smtp.starttls()
            await self._smtp.ehlo()
        if to.user:
            self.step = "login"
            try:
                await self._smtp.login(to.user, to.password)
            except (aiosmtplib.SMTPResponseException, ConnectionError, aiosmtplib.SMTPTimeoutError):
                raise
            except (aiosmtplib.SMTPException, ValueError):
                raise Dead(
                    "the mail server offers no login here: write smtps://, or leave user and password out"
                ) from None

    async def envelope(self, sender: str, people: Iterable[str]) -> dict[int, str]:
        """Offer a mail; return the codes of those that were refused, by place. Raises where all were."""
        import aiosmtplib

        self.step = "from"
        await self._smtp.mail(parseaddr(sender)[1])
        self.step = "to"
        refused: dict[int, tuple[int, str]] = {}
        everybody = list(people)
        for number, one in enumerate(everybody, 1):
            try:
                await self._smtp.rcpt(one)
            except aiosmtplib.SMTPRecipientRefused as error:
                refused[number] = (error.code, error.message)
        if len(refused) == len(everybody):
            raise judge_all(refused.values())
        return {number: shown(code, said) for number, (code, said) in refused.items()}

    async def mail(self, mail: bytes) -> None:
        """Hand the mail over. A refusal after this is the mail's."""
        self.step = "mail"
        self.handed = True
        await self._smtp.data(mail)

    async def take_back(self) -> None:
        await self._smtp.rset()

    def end(self) -> None:
        """Hang up. The server has said what there was to say, and a farewell could only fail."""
        self._smtp.close()
