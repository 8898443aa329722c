"""What of a request is kept: everything that helps to read it again, nothing that lets somebody in."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import parse_qs, quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.event import Identity, Inbound
from bridge.receive import MAY_TELL_SECRETS, Read, arrival_of
from tests.events import NINE, run_event


def kept(body: bytes) -> bytes:
    return arrival_of(Inbound("gitea", {}, body, NINE), Read(Identity("1"))).body


SECRETS = st.text(min_size=1).map(lambda text: "s3cret" + text)


@given(SECRETS, st.booleans(), st.sampled_from([(", ", ": "), (",", ":"), (" ,\n", " :\n ")]))
def test_a_secret_that_is_sent_in_the_body_is_not_kept(
    secret: str, ascii_only: bool, separators: tuple[str, str]
) -> None:
    sent = {"secret": secret, "ref": "refs/heads/main", "hook": {"config": {"secret": secret}}}
    body = kept(json.dumps(sent, ensure_ascii=ascii_only, separators=separators).encode("utf-8", "surrogatepass"))
    assert json.loads(body) == {"secret": "***", "ref": "refs/heads/main", "hook": {"config": {"secret": "***"}}}


@given(SECRETS.filter(lambda text: text.isprintable()), st.sampled_from([quote_plus, quote]))
def test_nor_is_it_in_a_form(secret: str, quoted: Callable[[str], str]) -> None:
    sent = {"secret": secret, "ref": "refs/heads/main & more"}
    body = kept(b"payload=" + quoted(json.dumps(sent)).encode() + b"&more=1")
    assert json.loads(parse_qs(body.decode())["payload"][0]) == sent | {"secret": "***"}
    assert body.endswith(b"&more=1")


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"a": "secret"}', b'{"secret": ""}', b'{"secret": 7}', b"\xff secret", b"secret=7"]
)
def test_all_else_is_kept_as_it_came(body: bytes) -> None:
    assert kept(body) == body


def test_a_body_that_breaks_off_in_its_secret_keeps_none_of_it() -> None:
    assert kept(b'{"secret": "s3cr') == b'{"secret": "***'
    assert kept(b'{"secret": "s3cr\\') == b'{"secret": "***\\'


@pytest.mark.parametrize("name", sorted(MAY_TELL_SECRETS))
def test_nor_when_it_can_be_read(name: str) -> None:
    found = Read(Identity("1"), event=run_event("success").with_(type=name))
    assert b"s3cret" not in arrival_of(Inbound(name, {}, b'{"secret": "s3cret"}', NINE), found).body
