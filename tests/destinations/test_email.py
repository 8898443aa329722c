"""E-mail: what each reply means, which options it takes, what goes over the wire, and who gets it."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bridge.destinations import email
from bridge.destinations.base import Health
from bridge.errors import Dead, DeliveryError, RateLimited, Rejected, Transient, Unsure
from bridge.event import Event, Kind, RunRef
from bridge.message import Bullets, Button, Code, Heading, Message, Paragraph, Quote, Span
from bridge.receive import Deciding
from tests.arrivals import event, rule
from tests.couriers import Work
from tests.fakes.base import accepted_then_connection_lost, lost_before_accept, slow
from tests.fakes.mail import PASSWORD, SENDER, TEAM, USER, FakeMail, check, read, reply

EVENT = Event(source="github", type="github", kind=Kind.PIPELINE, repository="acme/app", run=RunRef(id="41"))
MESSAGE = Message(title=(Span("🔴 CI broke on main · acme/app"),), event=EVENT)
BASE = {"smtp_url": "smtps://mail.example.com", "from": SENDER, "to": TEAM}


def made(fake: FakeMail, **more: Any) -> email.Mailbox:
    given = {"smtp_url": fake.smtp_url, "from": SENDER, "to": TEAM, "timeout": "2s"} | more
    return email.open("mail", email.Options.model_validate(given), None)  # type: ignore[arg-type]


async def post(place: email.Mailbox, message: Message = MESSAGE, **more: Any) -> dict[str, str]:
    return await place.send(message, **{"channel": None, "thread": None} | more)


def parts(message: Message, **more: Any) -> dict[str, Any]:
    found = email.payload(message, email.Options.model_validate(BASE | more))
    check(found)
    return found


# -- what a reply means

REPLIES: list[tuple[email.Step, int, str, type[DeliveryError], str]] = [
    ("connect", 554, "5.7.1 blocked", Dead, "takes no mail from this machine: use the server"),
    ("connect", 421, "too many", RateLimited, "asks to wait (421)"),
    ("starttls", 502, "", Dead, "smtps://"),
    ("starttls", 454, "4.7.0", RateLimited, "454 4.7.0"),
    ("login", 535, "5.7.8 no", Dead, "app password (535 5.7.8)"),
    ("login", 534, "", Dead, "app password"),
    ("login", 454, "4.3.0 later", Transient, "454 4.3.0"),
    ("from", 550, "5.7.1", Dead, "may this user send for it?"),
    ("from", 530, "5.7.0 auth", Dead, "wants a login (530 5.7.0)"),
    ("to", 550, "5.1.1 mallory@example.com", Dead, "compare them (550 5.1.1)"),
    ("to", 530, "", Dead, "wants a login"),
    ("to", 451, "4.7.1 greylisted", RateLimited, "451 4.7.1"),
    ("to", 452, "4.2.2 full", Transient, "452 4.2.2"),
    ("mail", 554, "5.7.1 spam", Rejected, "refuses the mail (554 5.7.1)"),
    ("mail", 552, "5.3.4 large", Rejected, "552 5.3.4"),
    ("mail", 451, "", Transient, "451"),
    ("mail", 421, "", RateLimited, "421"),
    ("mail", -1, "HTTP/1.1 400", Unsure, "may have arrived"),
    ("connect", -1, "HTTP/1.1 400", Transient, "no mail server: look at host and port"),
]


@pytest.mark.parametrize(("step", "code", "said", "kind", "words"), REPLIES)
def test_every_reply_has_its_meaning(
    step: email.Step, code: int, said: str, kind: type[DeliveryError], words: str
) -> None:
    found = email.judge(step, code, said)
    assert type(found) is kind
    assert words in str(found)
    assert "mallory" not in str(found)


def test_a_good_reply_is_good() -> None:
    assert [email.judge("mail", code, "") for code in (220, 250, 354)] == [None, None, None]


@pytest.mark.parametrize(
    ("codes", "kind"),
    [
        ([(550, "5.1.1"), (550, "5.1.1")], Dead),
        ([(550, "5.1.1"), (450, "4.2.1")], Transient),
        ([(450, "4.2.1"), (451, "4.7.1")], RateLimited),
        ([], Transient),
    ],
)
def test_while_one_may_be_taken_later_it_is_tried_again(
    codes: list[tuple[int, str]], kind: type[DeliveryError]
) -> None:
    assert type(email.judge_all(codes)) is kind


# -- options


@pytest.mark.parametrize(
    ("url", "host", "port", "tls", "user", "password"),
    [
        ("smtps://a%40b.example:p%2Fw@mail.example.com", "mail.example.com", 465, "start", "a@b.example", "p/w"),
        ("smtp://u:p@mail.example.com", "mail.example.com", 587, "starttls", "u", "p"),
        ("smtp://mail.example.com:2525", "mail.example.com", 2525, "starttls", "", ""),
        ("smtp://relay.internal?starttls=no", "relay.internal", 25, "none", "", ""),
        ("smtp://u:p@127.0.0.1:1025", "127.0.0.1", 1025, "none", "u", "p"),
        ("smtp://localhost:1025?starttls=yes", "localhost", 1025, "starttls", "", ""),
    ],
)
def test_an_address_says_how_to_talk(url: str, host: str, port: int, tls: Any, user: str, password: str) -> None:
    assert email.server(url) == email.Server(host, port, user, password, tls)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"smtp_url": "mail.example.com"}, "smtps://USER"),
        ({"smtp_url": "https://mail.example.com"}, "smtps://USER"),
        ({"smtp_url": "smtp://mail.example.com:99999"}, "smtps://USER"),
        ({"smtp_url": "smtp://mail.example.com/inbox"}, "smtps://USER"),
        ({"smtp_url": "smtp://a b@mail.example.com"}, "a user and a password, or neither"),
        ({"smtp_url": "smtp://mail.example.com?starttls=perhaps"}, "?starttls=no"),
        ({"smtp_url": "smtp://mail.example.com?verify=no"}, "smtps://USER"),
        ({"smtp_url": "smtp://u:s3cret@mail.example.com?starttls=no"}, "show the password"),
        ({"smtp_url": "smtp://[::1"}, "smtps://USER"),
        ({"from": "Bridge"}, "from is one address"),
        ({"from": "a@example.com\nBcc: b@example.com"}, "from is one address"),
        ({"from": "a@example.com, b@example.com"}, "from is one address"),
        ({"to": ""}, "to is an address or a list"),
        ({"to": []}, "to is an address or a list"),
        ({"to": ["Team <team@example.com>"]}, "without names"),
        ({"to": "a@example.com\r\nBcc: b@example.com"}, "to is an address"),
        ({"to": "ü@example.com"}, "to is an address"),
        ({"cc": "a@example.com"}, "Extra inputs"),
    ],
)
def test_a_wrong_option_is_refused_with_what_to_do(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        email.Options.model_validate(BASE | given)
    assert words in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_to_is_one_address_or_more() -> None:
    for one in ("a@example.com, b@example.com", ["a@example.com", "b@example.com", "a@example.com"]):
        assert email.Options.model_validate(BASE | {"to": one}).to == ("a@example.com", "b@example.com")


def test_destinations_of_one_login_share_its_limit() -> None:
    def key(url: str) -> str:
        place = email.open("x", email.Options.model_validate(BASE | {"smtp_url": url}), None)  # type: ignore[arg-type]
        return place.buckets(edit=False, channel=None)[0].key

    assert key("smtps://u:one@mail.example.com") == key("smtps://u:two@mail.example.com")
    assert key("smtps://u:one@mail.example.com") != key("smtps://v:one@mail.example.com")


# -- over the wire


async def test_a_mail_says_who_what_and_that_a_machine_wrote_it() -> None:
    async with FakeMail() as fake:
        receipt = await post(made(fake), key="d1-7")
    (raw,) = fake.sent
    mail = read(raw)
    assert (str(mail["From"]), str(mail["To"])) == (SENDER, TEAM)
    assert str(mail["Subject"]) == "🔴 CI broke on main · acme/app"
    assert (mail["Message-ID"], mail["Auto-Submitted"]) == (receipt["id"], "auto-generated")
    assert receipt["id"].endswith("@example.com>")
    assert mail.get_content_type() == "multipart/alternative"
    assert fake.invalid == []


async def test_the_mails_of_a_run_are_one_conversation_and_those_of_others_are_not() -> None:
    other = Message(title=MESSAGE.title, event=EVENT.with_(run=RunRef(id="42")))
    async with FakeMail() as fake:
        for number, message in enumerate((MESSAGE, MESSAGE, other, Message(title=(Span("x"),)))):
            await post(made(fake), message, key=f"d{number}")
    first, second, third, last = map(read, fake.sent)
    assert first["References"] == second["References"] != third["References"]
    assert first["References"] == first["In-Reply-To"]
    assert first["Message-ID"] != second["Message-ID"]
    assert last["References"] is None


async def test_a_mail_that_is_sent_again_has_the_same_id_and_one_without_a_key_has_not() -> None:
    async with FakeMail() as fake:
        fake.faults.append(accepted_then_connection_lost())
        place = made(fake)
        with pytest.raises(Unsure):
            await post(place, key="d1")
        receipts = [await post(place, key="d1"), await post(place), await post(place)]
    assert len(fake.sent) == 4
    assert len(fake.messages) == len({one["id"] for one in receipts}) == 3


async def test_who_is_mentioned_gets_a_copy_and_nobody_who_is_no_address() -> None:
    people = ("octocat@example.com", TEAM, "octocat@example.com", "x\nBcc: y@example.com", "everyone", "a@b@c")
    assert parts(Message(title=(), mentions=people))["cc"] == ["octocat@example.com"]
    async with FakeMail() as fake:
        await post(made(fake), Message(title=(), mentions=people))
    (posted,) = fake.messages.values()
    assert posted.place == f"{TEAM},octocat@example.com"


async def test_a_rule_may_name_other_addresses() -> None:
    async with FakeMail() as fake:
        await post(made(fake), channel="a@example.com, b@example.com")
        with pytest.raises(Dead, match="the rule's channel is no address"):
            await post(made(fake), channel="#builds")
    assert [one.body["to"] for one in fake.messages.values()] == [["a@example.com", "b@example.com"]]


async def test_what_some_refuse_is_delivered_to_the_others_and_said(tmp_path: Path) -> None:
    people = ["a@example.com", "b@example.com", "c@example.com"]
    async with FakeMail() as fake:
        fake.refuses["b@example.com"] = "550 5.1.1 nobody: b@example.com"
        options = {"smtp_url": fake.smtp_url, "from": SENDER, "to": people}
        async with Work(tmp_path, builds=email.Options.model_validate(options)) as work:
            await work.accept(Deciding([rule("builds")]), event(1, "failure"))
            (owed,) = await work.drained()
    assert [one.place for one in fake.messages.values()] == ["a@example.com,c@example.com"]
    assert owed.state == "done"
    assert owed.history[-1].text == "1 of 3 recipients refused: no. 2 (550 5.1.1)"


async def test_what_all_refuse_is_judged() -> None:
    async with FakeMail() as fake:
        fake.refuses |= {"a@example.com": "550 5.1.1 no", "b@example.com": "450 4.2.1 later"}
        with pytest.raises(Transient, match=r"450 4\.2\.1"):
            await post(made(fake, to=["a@example.com", "b@example.com"]))
        with pytest.raises(Dead, match="compare them"):
            await post(made(fake, to=["a@example.com"]))
    assert fake.messages == {}


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (accepted_then_connection_lost(), Unsure),
        (lost_before_accept(), Unsure),
        (slow(0.5), Unsure),
        (reply("mail", "451 4.3.0 x"), Transient),
        (reply("from", "553 5.1.8 x"), Dead),
        (reply("to", "421 4.7.0 x"), RateLimited),
    ],
)
async def test_only_after_it_was_handed_over_a_mail_may_have_arrived(fault: Any, kind: type[DeliveryError]) -> None:
    async with FakeMail() as fake:
        fake.faults.append(fault)
        with pytest.raises(kind) as caught:
            await post(made(fake, timeout="0.3s"))
    assert "example.com" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)


@pytest.mark.parametrize(
    ("greeting", "kind", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Transient, "no mail server"),
        (b"554 5.7.1 blocked\r\n", Dead, "takes no mail from this machine"),
        (b"421 4.3.2 shutting down\r\n", RateLimited, "421 4.3.2"),
        (b"", Transient, "no connection"),
        (None, Transient, "did not answer within 0.2 s"),
    ],
)
async def test_whoever_else_answers_has_taken_nothing(
    greeting: bytes | None, kind: type[DeliveryError], words: str
) -> None:
    done = asyncio.Event()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if greeting is None:
            await done.wait()
        writer.write(greeting or b"")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    options = {"smtp_url": f"smtp://127.0.0.1:{port}", "from": SENDER, "to": TEAM, "timeout": "0.2s"}
    place = email.open("x", email.Options.model_validate(options), None)  # type: ignore[arg-type]
    with pytest.raises(kind) as caught:
        await post(place)
    assert words in str(caught.value)
    done.set()
    server.close()


# -- login and encryption


def url(fake: FakeMail, *, scheme: str = "smtp", password: str = PASSWORD, more: str = "") -> str:
    return f"{scheme}://{USER.replace('@', '%40')}:{password.replace('/', '%2F')}@127.0.0.1:{fake.port}{more}"


async def test_a_login_is_used_and_a_wrong_one_is_said() -> None:
    async with FakeMail(login=True) as fake:
        await post(made(fake, smtp_url=url(fake)))
        with pytest.raises(Dead, match="app password"):
            await post(made(fake, smtp_url=url(fake, password="wrong")))
        with pytest.raises(Dead, match="wants a login"):
            await post(made(fake))
    assert len(fake.messages) == 1


async def test_a_login_where_none_is_offered_is_said() -> None:
    async with FakeMail() as fake:
        with pytest.raises(Dead, match="offers no STARTTLS"):
            await post(made(fake, smtp_url=url(fake, more="?starttls=yes")))


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's side of a certificate for 127.0.0.1 that is trusted."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.example.com")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (tmp_path / "cert.pem").write_bytes(made.public_bytes(pem))
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (tmp_path / "key.pem").write_bytes(key.private_bytes(pem, form, plain))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    return context


@pytest.mark.parametrize(("scheme", "more"), [("smtps", ""), ("smtp", "?starttls=yes")])
async def test_a_mail_goes_encrypted_and_only_to_whom_is_trusted(
    scheme: str, more: str, trusted: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeMail(login=True, tls=trusted, from_start=scheme == "smtps") as fake:
        address = url(fake, scheme=scheme, more=more)
        await post(made(fake, smtp_url=address))
        assert len(fake.messages) == 1
        monkeypatch.delenv("SSL_CERT_FILE")
        with pytest.raises(Transient, match="certificate is not trusted"):
            await post(made(fake, smtp_url=address))
    assert len(fake.messages) == 1


# -- check


async def test_check_offers_a_mail_and_takes_it_back() -> None:
    async with FakeMail(login=True) as fake:
        place = made(fake, smtp_url=url(fake), to=["a@example.com", "b@example.com"])
        assert await place.check() == Health(True, "login valid, mail is taken for 2")
        fake.refuses["b@example.com"] = "550 5.1.1 no"
        assert await place.check() == Health(False, "login valid, 1 of 2 recipients refused: no. 2 (550 5.1.1)")
        assert "app password" in (await made(fake, smtp_url=url(fake, password="wrong")).check()).text
    assert (fake.messages, fake.sent, fake.invalid) == ({}, [], [])
    assert (await place.check()).ok is False


# -- how it reads


def test_text_and_html_have_all_of_it() -> None:
    found = parts(
        Message(
            title=(Span("🔴 "), Span("CI broke", bold=True, link="https://ci.example.com/1")),
            body=(
                Heading((Span("h"),)),
                Paragraph((Span("p "), Span("i", italic=True), Span("s", strike=True), Span("a<b", code=True))),
                Bullets(((Span("one\ntwo"),), (Span("x", link="https://ci.example.com/x?a=1&b=2"),)), ordered=True),
                Quote((Span("q\nr"),)),
                Code("$ make\n\n# ok"),
            ),
            facts=(("Region", (Span("eu"),)),),
            footer=(Span("main"),),
            buttons=(Button("Open page", "https://ci.example.com/2"), Button("bad", "javascript:alert(1)")),
            colour="#cf222e",
        )
    )
    assert found["text"] == (
        "🔴 CI broke\n\nh\np isa<b\n1. one\n   two\n2. x\n> q\n> r\n    $ make\n\n    # ok\nRegion: eu\n\n"
        "Open: https://ci.example.com/1\nOpen page: https://ci.example.com/2\n\nmain\n"
    )
    for piece in (
        "<b>h</b>",
        "<i>i</i><s>s</s><code",
        "a&lt;b</code>",
        "<li>one<br>two</li>",
        'href="https://ci.example.com/x?a=1&amp;b=2"',
        "q<br>r</blockquote>",
        "$ make\n\n# ok</pre>",
        "border-left:4px solid #cf222e",
    ):
        assert piece in found["html"]
    assert "javascript" not in found["html"]


def test_the_words_of_a_button_and_the_name_of_a_fact_are_text() -> None:
    bad = '<b>x</b> www.evil.example "'
    found = parts(Message(title=(), buttons=(Button(bad, "https://ci.example.com/2"),), facts=((bad, (Span(bad),)),)))
    assert found["html"].count("&lt;b&gt;x&lt;/b&gt; www\u2060.evil.example") == 3
    assert "www." not in found["html"] + found["text"]


@given(title=st.text(min_size=1, max_size=300))
@settings(max_examples=150, deadline=None, database=None)
def test_a_subject_arrives_as_it_was(title: str) -> None:
    parts(Message(title=(Span(title),)))  # `check` compares


@pytest.mark.parametrize(
    "title", ["=?utf-8?q?=0ABcc=3A_mallory=40example=2Ecom?=", "a" * 199, "word  " * 40, "語" * 150]
)
def test_a_long_or_odd_subject_stays_one_header(title: str) -> None:
    found = parts(Message(title=(Span(title),)))
    assert found["subject"] == " ".join(title.split())
