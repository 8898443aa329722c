"""Netlify's webhooks: golden events of the bodies in ``netlify/``, forged tokens, and what no body may do."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import Unauthorized
from bridge.sources import netlify
from bridge.verify import REFUSED
from tests.sources import common, thin

SENDER = common.Sender("netlify", netlify, "x-netlify-event")


@pytest.mark.parametrize("name", SENDER.bodies)
def test_each_body_becomes_its_golden_event(name: str) -> None:
    thin.becomes_its_golden(SENDER, name)


def test_the_page_has_every_word() -> None:
    assert thin.page_table("netlify") == {word: status.value for word, status in netlify.STATUS.items()}


BODY = SENDER.bodies["deploy_created.production"].read_bytes()


def token(claims: object, header: object = None, secret: bytes = b"s3cret", algorithm: str = "sha256") -> str:
    """Return a token as anybody might make it."""
    parts = [json.dumps(part).encode() for part in (header or {"alg": "HS256", "typ": "JWT"}, claims)]
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = base64.urlsafe_b64encode(hmac.digest(secret, signed, algorithm)).rstrip(b"=")
    return (signed + b"." + signature).decode()


CLAIMS = {"iss": "netlify", "sha256": hashlib.sha256(BODY).hexdigest()}


def test_only_a_token_about_this_body_by_one_of_the_secrets_verifies() -> None:
    common.refuses_forgeries(SENDER, BODY, "x-webhook-signature")


def test_a_token_made_by_hand_verifies() -> None:
    netlify.verify(SENDER.inbound(None, BODY, x_webhook_signature=token(CLAIMS)), ["s3cret"])


@pytest.mark.parametrize(
    "forged",
    [
        token(CLAIMS, {"alg": "none"}),
        token(CLAIMS, {"alg": "HS512"}, algorithm="sha512"),
        token(CLAIMS, {"alg": "HS512"}),
        token(CLAIMS, {"typ": "JWT"}),
        token(CLAIMS, ["HS256"]),
        token(CLAIMS, secret=b"other"),
        token(CLAIMS | {"iss": "somebody"}),
        token(CLAIMS | {"iss": None}),
        token(CLAIMS | {"sha256": hashlib.sha256(b"other").hexdigest()}),
        token(CLAIMS | {"sha256": ""}),
        token(CLAIMS | {"sha256": ["x"]}),
        token({"iss": "netlify"}),
        token([]),
        token(CLAIMS).rpartition(".")[0] + ".",
        token(CLAIMS).rpartition(".")[0],
        "." + token(CLAIMS),
        token(CLAIMS) + "=",
        "..",
        "a.b.c",
    ],
)
def test_a_token_that_says_anything_else_is_refused(forged: str) -> None:
    with pytest.raises(Unauthorized, match=REFUSED):
        netlify.verify(SENDER.inbound(None, BODY, x_webhook_signature=forged), ["s3cret"])


@pytest.mark.parametrize(("word", "status"), [*netlify.STATUS.items(), ("melting", "unknown"), (None, "unknown")])
def test_the_state_of_the_deploy_tells_and_never_the_events_name(word: str | None, status: str) -> None:
    for name in ("deploy_created.production", "deploy_building.production"):
        event = SENDER.event_of(name, lambda body: body.update(state=word))
        assert event.status == status
        assert event.description == (word if status == "unknown" else None)


def test_a_deploy_that_was_skipped_is_no_success() -> None:
    assert SENDER.event_of("deploy_created.production", lambda body: body.update(skipped=True)).status == "skipped"


def test_a_deploy_is_one_run_from_its_begin_to_its_end_in_any_order() -> None:
    names = ("deploy_building.production", "deploy_created.production")
    assert thin.folded(SENDER, *names).state == ("success", 1)
    late = thin.folded(SENDER, *reversed(names))
    assert (late.state, late.news) == (("success", 1), [True, False])


def test_a_deploy_is_one_run_though_only_its_end_names_the_commit() -> None:
    silent = dict.fromkeys(("commit_ref", "commit_url", "title", "committer"))
    run = thin.Folding(
        SENDER.event_of("deploy_building.production", lambda body: body.update(silent)),
        SENDER.event_of("deploy_created.production"),
    )
    assert run.news == [True, True]


def test_the_same_bytes_are_the_same_delivery() -> None:
    keys = {netlify.identify(SENDER.sent(path.read_bytes())).key for path in SENDER.bodies.values()}
    assert len(keys) == len(SENDER.bodies)


NEEDED = frozenset({"id"})


@pytest.mark.parametrize("name", ["deploy_created.production", "deploy_failed.preview"])
def test_a_wrong_value_costs_only_its_field(name: str) -> None:
    common.takes_odd_values(SENDER, name, NEEDED)


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(data=st.data())
def test_nothing_but_ingest_errors_leaves_the_source(data: st.DataObject) -> None:
    common.takes_any_json(SENDER, data)


REAL = {
    "deploy_building.json": {
        "branch": "master",
        "status": "running",
        "url": "https://app.netlify.com/sites/objective-jepsen-35fbb2/deploys/5b78192ac9659217dbf7c9aa",
    },
    "deploy_failed.json": {
        "branch": "master",
        "status": "failure",
        "url": "https://app.netlify.com/sites/objective-jepsen-35fbb2/deploys/5b64d77c02ed83730664c2f6",
    },
}


@common.needs_shared
def test_every_real_body_tells_what_stands_in_it() -> None:
    assert common.real("netlify") == set(REAL)
    for file, expected in REAL.items():
        thin.reads(SENDER, file, expected)
