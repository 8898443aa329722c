"""What holds for every source, shown by its fixtures alone: goldens, signatures, replays, odd bodies, its page.

A new source needs no line here: its folder `NAME/` is found by its name. ``EVENT.CASE.json`` is a body and
``EVENT.CASE.event.json`` what it becomes; ``BRIDGE_GOLDEN=write`` writes those that are not there yet.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import IngestError, Unauthorized
from bridge.event import Inbound
from bridge.sources import SOURCES, Bound, SourceModule
from tests.altered import replace
from tests.sources.common import NOW, PAGES, Sender, said

MODULES: dict[str, Any] = {name: SOURCES[name] for name in SOURCES if not isinstance(SOURCES[name], Bound)}
SENDERS = {name: Sender(name, module, "") for name, module in MODULES.items()}
BODIES = [(name, body) for name, sender in SENDERS.items() for body in sender.bodies]
# Their bodies do not tell which event they are, or when they came: their own tests read them with the header.
BY_HEADER = {
    ("bitbucket", "pullrequest+updated.title"),
    *(("buildkite", body) for body in SENDERS["buildkite"].bodies if "build." in body or "eventbridge" in body),
    ("netlify", "deploy_locked.production"),
    ("standard", "invoice.paid"),
    *(("cirrus", body) for body in SENDERS["cirrus"].bodies),
}
BY_KEY = {"travis"}  # it signs with a private key, which its own test makes
SIGNING = sorted(name for name, module in MODULES.items() if module.SIGNS and name not in BY_KEY)
SECRET, OTHER = "whsec_YS1zZWNyZXQtb2YtdGhlLXRlc3RzIQ==", "whsec_YW5vdGhlci1zZWNyZXQtYWx0b2dldGhlciE="


def sent(name: str, body: bytes, secret: str = SECRET) -> Inbound:
    headers = MODULES[name].sign(body, secret, delivery="d-1")
    return Inbound(name, {key.lower(): value for key, value in headers.items()}, body, datetime.now(UTC))


def first_body(name: str) -> bytes:
    return next(iter(SENDERS[name].bodies.values())).read_bytes()


def refused(module: SourceModule, request: Inbound, *secrets: str) -> None:
    with pytest.raises(Unauthorized):
        module.verify(request, secrets)


def test_every_source_has_a_body() -> None:
    assert [name for name, sender in SENDERS.items() if not sender.bodies] == []


@pytest.mark.parametrize(("name", "body"), sorted(set(BODIES) - BY_HEADER))
def test_a_signed_body_becomes_its_golden_event(name: str, body: str) -> None:
    request = replace(sent(name, SENDERS[name].bodies[body].read_bytes()), received_at=NOW)
    found = said(MODULES[name].normalise(request))
    golden = SENDERS[name].bodies[body].with_suffix(".event.json")
    if os.environ.get("BRIDGE_GOLDEN") == "write" and not golden.exists():
        golden.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", "utf-8")
    assert found == SENDERS[name].golden(body)


@pytest.mark.parametrize("name", SIGNING)
def test_one_of_the_secrets_lets_a_signed_body_in(name: str) -> None:
    request = sent(name, first_body(name))
    for secrets in ((SECRET,), (OTHER, SECRET), (SECRET, OTHER)):
        MODULES[name].verify(request, secrets)


@pytest.mark.parametrize("name", SIGNING)
def test_a_missing_empty_cut_or_foreign_signature_lets_nobody_in(name: str) -> None:
    module, body = MODULES[name], first_body(name)
    good, foreign = sent(name, body), sent(name, body, OTHER)
    signature = {header: value for header, value in good.headers.items() if foreign.headers.get(header) != value}
    assert signature
    rest = {header: value for header, value in good.headers.items() if header not in signature}
    for change in ({}, dict.fromkeys(signature, ""), {header: value[:-4] for header, value in signature.items()}):
        refused(module, replace(good, headers=rest | change), SECRET)
    refused(module, foreign, SECRET)
    for secrets in ((), ("",), (OTHER,)):
        refused(module, good, *secrets)


@pytest.mark.parametrize("name", SIGNING)
def test_a_flipped_byte_lets_nobody_in(name: str) -> None:
    body = first_body(name)
    good = sent(name, body)
    for place in (0, len(body) // 2, len(body) - 1):
        flipped = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        refused(MODULES[name], replace(good, body=flipped), SECRET)


@pytest.mark.parametrize("name", sorted(set(MODULES) - set(SIGNING) - BY_KEY))
def test_who_cannot_sign_is_not_let_in_by_a_secret(name: str) -> None:
    refused(MODULES[name], sent(name, first_body(name)), SECRET)


@pytest.mark.parametrize("name", MODULES)
def test_the_same_delivery_twice_is_one(name: str) -> None:
    module, body = MODULES[name], first_body(name)
    assert module.identify(sent(name, body)) == module.identify(sent(name, body))
    assert module.identify(sent(name, body)).key


@pytest.mark.parametrize("name", MODULES)
@settings(max_examples=25)
@given(data=st.data())
def test_whatever_the_body_nothing_but_the_documented_errors_leaves(name: str, data: st.DataObject) -> None:
    body = data.draw(st.sampled_from(list(SENDERS[name].bodies.values()))).read_bytes()
    cut = data.draw(st.integers(0, len(body)))
    odd = data.draw(st.binary(max_size=20))
    raw = data.draw(st.sampled_from([body[:cut], body[:cut] + odd, odd + body[cut:], odd, b"[]", b"{}", b"null"]))
    request = replace(sent(name, body), body=raw)
    assert MODULES[name].identify(request).key
    with suppress(IngestError):
        MODULES[name].normalise(request)


@pytest.mark.parametrize("name", MODULES)
def test_the_page_names_every_word_of_the_sender(name: str) -> None:
    page = (PAGES / f"{name}.md").read_text("utf-8").lower()
    assert [word for word in MODULES[name].STATUS if f"`{word}`".lower() not in page] == []
