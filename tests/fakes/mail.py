"""A mailbox on loopback: aiosmtpd, a mail server that others wrote, and badly on demand. See `tests.fakes.base`.

Every mail is one `Call`, with what it is told as `path`, and a fault is that of one mail. Mails are kept by their
Message-ID, as mailboxes do.
"""

from __future__ import annotations

import asyncio
import ssl
import time
import warnings
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from bridge.destinations import email
from tests.fakes.base import Call, FakeChat, Fault, Invalid

USER, PASSWORD = "bridge@example.com", "made-up/Secret"
SENDER, TEAM = "Bridge <bridge@example.com>", "team@example.com"


def reply(step: str, text: str) -> Fault:
    """What the server says to one mail at `step`: from, to or mail."""
    return Fault("answer", body=text, headers={"step": step})


class FakeMail(FakeChat):
    """A server that takes mail, from anybody or by login."""

    def __init__(self, *, login: bool = False, tls: ssl.SSLContext | None = None, from_start: bool = False) -> None:
        super().__init__()
        self.login = login
        self.tls = tls
        self.from_start = from_start
        self.refuses: dict[str, str] = {}
        self.sent: list[bytes] = []
        self._server: asyncio.Server | None = None

    @property
    def smtp_url(self) -> str:
        return f"smtp://127.0.0.1:{self.port or 25}"

    def limited(self, after: float) -> Fault:
        return reply("to", "421 4.7.0 made up: come back later, team@example.com")

    def dead(self) -> Fault:
        return reply("to", "550 5.1.1 made up: nobody of that name, team@example.com")

    def refused(self) -> Fault:
        return reply("mail", "554 5.7.1 made up: spam")

    async def start(self, port: int = 0) -> Self:
        made = asyncio.get_running_loop().create_server(
            self._speaker, "127.0.0.1", port, ssl=self.tls if self.from_start else None
        )
        self._server = await made
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        if self._server:
            self._server.close()

    def _speaker(self) -> SMTP:
        with warnings.catch_warnings(action="ignore"):  # it warns of logins that are not encrypted
            return SMTP(
                self,
                hostname="mail.example.com",
                tls_context=None if self.from_start else self.tls,
                require_starttls=bool(self.tls and not self.from_start),
                authenticator=self._knows,
                auth_required=self.login,
                auth_require_tls=False,
            )

    def _knows(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: Any) -> AuthResult:
        good = isinstance(given, LoginPassword) and given == LoginPassword(USER.encode(), PASSWORD.encode())
        return AuthResult(success=good, handled=False)

    # -- aiosmtpd asks at each step of a mail

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:  # noqa: N802, RUF100
        self.calls.append(Call("MAIL", address, {}, {}, {}, b"", time.monotonic()))
        session.fault = self.faults.popleft() if self.faults else None
        if told := self._told(session, "from"):
            return told
        envelope.mail_from = address
        return "250 2.1.0 OK"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:  # noqa: N802, RUF100
        told = self._told(session, "to") or self.refuses.get(address)
        if not told:
            envelope.rcpt_tos.append(address)
        return told or "250 2.1.5 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802, RUF100
        fault: Fault | None = session.fault
        if told := self._told(session, "mail"):
            return told
        if fault is None or fault.accepted:
            self._keep(envelope)
        self._news.set()
        if fault and fault.kind == "lost":
            server.transport.abort()
        if fault and isinstance(fault.wait, asyncio.Event):
            await fault.wait.wait()
        elif fault and fault.wait:
            await asyncio.sleep(fault.wait)
        return "250 2.0.0 OK"

    def _told(self, session: Any, step: str) -> str:
        fault: Fault | None = session.fault
        return str(fault.body) if fault and fault.kind == "answer" and fault.headers.get("step") == step else ""

    def _keep(self, envelope: Any) -> None:
        raw = bytes(envelope.content)
        self.sent.append(raw)
        try:
            mail = read(raw)
        except Invalid as why:
            self.invalid.append(str(why))
            return
        if not set(addresses(mail)) >= set(envelope.rcpt_tos):
            self.invalid.append("somebody gets it who is not named in it")
        if mail["Message-ID"] not in self.messages:
            run = str(mail["References"] or "")
            self.post(shown(mail), key=str(mail["Message-ID"]), place=",".join(envelope.rcpt_tos), thread=run)


def addresses(mail: EmailMessage) -> list[str]:
    return [one.addr_spec for key in ("To", "Cc") if mail[key] for one in mail[key].addresses]


def read(raw: bytes) -> EmailMessage:
    """Return a mail as a program that obeys the rules reads it, else raise Invalid."""
    raw.decode("ascii")
    mail: EmailMessage = message_from_bytes(raw, policy=default)  # type: ignore[assignment, arg-type, unused-ignore]
    for line in raw.split(b"\r\n"):
        if len(line) > 998 or b"\n" in line or b"\r" in line:
            raise Invalid("a line is too long or ends in another way")
    for part in mail.walk():
        for key, value in part.items():
            if part.defects or getattr(value, "defects", ()):
                raise Invalid(f"{key}: {part.defects} {getattr(value, 'defects', ())}")
    for key in ("From", "To", "Subject", "Message-ID", "Date", "Auto-Submitted"):
        if len(mail.get_all(key, [])) != 1:
            raise Invalid(f"{key} is there {len(mail.get_all(key, []))} times")
    known = {
        *("From", "To", "Cc", "Subject", "Message-ID", "Date", "In-Reply-To", "References", "Auto-Submitted"),
        *("X-Auto-Response-Suppress", "MIME-Version", "Content-Type"),
    }
    if set(mail.keys()) - known:
        raise Invalid(f"headers {set(mail.keys()) - known}")
    return mail


def shown(mail: EmailMessage) -> dict[str, Any]:
    """Return the parts of a mail, as `payload` has them."""
    plain, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain is not None
    assert html is not None
    return {
        "from": str(mail["From"]),
        "to": [one.addr_spec for one in mail["To"].addresses],
        "cc": [one.addr_spec for one in mail["Cc"].addresses] if mail["Cc"] else [],
        "subject": str(mail["Subject"]),
        "text": plain.get_content().replace("\r\n", "\n"),
        "html": html.get_content().replace("\r\n", "\n"),
    }


def check(body: dict[str, Any]) -> None:
    """Return if the mail that is made of `body` says what `body` says, and nothing else."""
    raw = email.written(body, {"Message-ID": "<made.up@example.com>", "Date": "Thu, 05 Nov 2026 14:03:00 +0000"})
    found = shown(read(raw))
    for key, value in body.items():
        if found[key] != value:
            raise Invalid(f"{key} is {found[key]!r} and not {value!r}")
    if len(body["html"].encode()) > 100_000:
        raise Invalid(f"Gmail clips {len(body['html'].encode())} bytes")
